/*
 * map.c: entering and forgetting mappings: what a pmap does, with the kernel's page tables as the hardware.
 *
 *     the page's bytes are     in a slot ──UFFDIO_COPY──▶ in the memfd and mapped     (a whole run at once)
 *                              in the memfd ──UFFDIO_CONTINUE──▶ mapped               (a whole run at once)
 *                              mapped, write-protected ──UFFDIO_WRITEPROTECT──▶ mapped writable
 *
 * In a free view (views.c) the last two are the kernel's own work, and here they are nothing at all.
 *
 * The common fault of one page is one call. Whether the page is mapped already is known from the
 * processor's fault code, which the fault handlers leave in linux_fault_mapped. It is a hint: when it is
 * wrong, the access faults again.
 *
 * The kernel enters pages only inside one of its areas. An area may end in the middle of a run where a part
 * of a view is frozen, and is unregistered for a moment while a view changes its kind (machine_writenotify).
 * Then the call says ENOENT, and the run is entered page by page.
 *
 * Locks: none of its own. The core holds the object's, so no page of the run is released meanwhile.
 */
#include "bounce.h"
#include "fault.h"
#include "linux_syscall.h"
#include "memfd.h"
#include "space.h"
#include "uffd.h"
#include "views.h"
#include "zap.h"

#include <errno.h>
#include <stdio.h>

#define MAP_SCATTERED 4 /* pages: runs up to this length are unmapped together before they are released */
#define MAP_TRIES     8 /* for a page whose view is changing its kind; it does so once */

bool machine_can_map(void *entry_object, void *page_object)
{
    return entry_object == page_object; /* one of the kernel's areas shows one stretch of the memfd */
}

void machine_rename(const struct machine_run *run, void *object, vm_pindex_t pindex)
{
    (void)run;
    (void)object;
    (void)pindex;
    /* machine_can_map says no, so the core copies instead. */
    machine_panic("a page's bytes lie in its object's memfd, and cannot become another object's");
}

_Noreturn static void panic_errno(const char *what, vm_offset_t va, int error)
{
    char message[160];

    (void)snprintf(message, sizeof(message), "%s at %#lx: error %d", what, (unsigned long)va, -error);
    machine_panic(message);
}

/* The kernel has woken the threads that waited for the pages [va, va + len_bytes). */
static void woken(vm_offset_t va, size_t len_bytes)
{
    if (linux_fault_asleep - va < len_bytes)
        linux_fault_asleep = 0;
}

/* Changes the right to write of pages that are mapped already. */
static int remap(vm_offset_t va, size_t len_bytes, bool writable)
{
    int error = linux_uffd_writeprotect(va, len_bytes, !writable);
    if (error != 0 && error != -ENOMEM)
        panic_errno("userfaultfd does not change rights", va, error);
    if (error == 0 && writable)
        woken(va, len_bytes);
    return error;
}

/* Where a run is entered: npages pages from va on, in a view of one kind. */
struct place {
    vm_offset_t va;
    uint32_t npages;
    bool free, tracked; /* of the view */
};

static struct place place_of(vm_offset_t va, uint32_t npages)
{
    struct place place = {.va = va, .npages = npages};
    struct linux_view part;

    if (!linux_views_next(va, va + ptoa(npages), &part))
        return place;
    place.free = part.start == va;
    place.tracked = place.free && part.tracked;
    place.npages = (uint32_t)atop((place.free ? part.end : part.start) - va);
    return place;
}

/* Enters pages whose bytes are in the memfd. *done: how many bytes, from the first. Errors: -ENOENT (not
 * registered, or more than one area), -ENOMEM. */
static int map_resident(vm_offset_t va, size_t len_bytes, bool writable, unsigned flags, size_t *done)
{
    if (writable && len_bytes == VM_PAGE_SIZE && va == linux_fault_mapped) {
        *done = len_bytes;
        return remap(va, len_bytes, true);
    }
    for (*done = 0; *done < len_bytes;) {
        size_t mapped;
        int error = linux_uffd_continue(va + *done, len_bytes - *done, writable, &mapped);
        woken(va + *done, mapped);
        *done += mapped;
        if (error == -EEXIST) {
            if ((flags & MACHINE_MAP_QUICK) == 0)
                error = remap(va + *done, VM_PAGE_SIZE, writable);
            else
                error = 0;
            if (error == 0)
                *done += VM_PAGE_SIZE;
        }
        if (error == -ENOMEM || error == -ENOENT)
            return error;
        if (error != 0)
            panic_errno("userfaultfd does not map", va + *done, error);
    }
    return 0;
}

/* The memfd has a page there already, because the page was filled anew. The bytes are written to it, and the
 * next round maps it. */
static int overwrite(uint64_t offset, void *addr)
{
    size_t done;
    int error = linux_memfd_write(offset, addr, VM_PAGE_SIZE, &done);

    if (error == 0)
        linux_bounce_moved(addr, 1);
    else
        linux_bounce_unclaim(addr, 1);
    return error;
}

/* Enters claimed pages, whose bytes are in the slots from addr on, and ends the claim. *done: how many, from
 * the first. Errors: -ENOENT, -ENOMEM. */
static int map_kept(const struct place *place, uint64_t offset, void *addr, bool writable, uint32_t *done)
{
    size_t copied = 0, len_bytes = ptoa(place->npages);
    int error = linux_views_mark_others(place->va, place->tracked, offset, len_bytes);

    if (error == 0)
        error = linux_uffd_copy(place->va, addr, len_bytes, writable, &copied);
    woken(place->va, copied);
    *done = (uint32_t)atop(copied);
    if (error == -EEXIST) {
        error = overwrite(offset + copied, (char *)addr + copied);
        copied += VM_PAGE_SIZE;
    } else if (error != 0 && error != -ENOMEM && error != -ENOENT) {
        panic_errno("userfaultfd does not copy", place->va + copied, error);
    }
    if (*done > 0)
        linux_bounce_moved(addr, *done);
    if (copied < len_bytes)
        linux_bounce_unclaim((char *)addr + copied, place->npages - (uint32_t)atop(copied));
    return error;
}

static uint32_t resident_neighbours(const struct machine_run *run, uint32_t first, uint32_t max)
{
    uint32_t n = 0;

    while (n < max && !linux_bounce_kept(run->frame[first + n]))
        n++;
    return n;
}

/* Enters pages of the run from page `first` on, as many as one call can. *done: how many. Errors: -ENOENT
 * (the place is not what it was), -ENOMEM. */
static int map_some(const struct machine_run *run, uint32_t first, struct place place, bool writable,
                    unsigned flags, uint32_t *done)
{
    struct machine_run part = *run;
    size_t bytes;
    void *addr;
    uint32_t n = resident_neighbours(run, first, place.npages);

    *done = n;
    if (n > 0 && place.free)
        return 0;
    if (n > 0) {
        int error = map_resident(place.va, ptoa(n), writable, flags, &bytes);
        *done = (uint32_t)atop(bytes);
        return error;
    }
    part.npages = first + place.npages;
    place.npages = linux_bounce_claim(&part, first, &addr);
    if (place.npages == 0)
        return 0;
    return map_kept(&place, linux_memfd_offset(run->object, run->pindex + first), addr, writable, done);
}

int machine_map(struct machine_space *space, vm_offset_t va, const struct machine_run *run, vm_prot_t prot,
                unsigned flags, uint32_t *done)
{
    /* A page that can be stored to at once counts as stored to, or its first store would go unnoticed. */
    bool writable = (prot & VM_PROT_WRITE) != 0 && (flags & MACHINE_MAP_DIRTY) != 0;
    unsigned tries = 0; /* that entered nothing */
    int error = 0;

    (void)space;
    for (*done = 0; *done < run->npages && error == 0;) {
        uint32_t entered;
        struct place place = place_of(va + ptoa(*done), tries == 0 ? run->npages - *done : 1);
        error = map_some(run, *done, place, writable, flags, &entered);
        *done += entered;
        tries = error == -ENOENT && entered == 0 ? tries + 1 : 0;
        if (tries > MAP_TRIES)
            panic_errno("nothing is attached", place.va, error);
        if (error == -ENOENT)
            error = 0;
        if (tries > 1) { /* until machine_writenotify is done */
            machine_lock(&linux_views_lock);
            machine_unlock(&linux_views_lock);
        }
    }
    return error;
}

/* The core knows of the stores that faulted, and asks no others of this call: the bits stay as they are. */
void machine_unmap(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned flags,
                   uint8_t *bits)
{
    (void)space;
    (void)bits;
    /*
     * machine_release punches the pages out of the memfd, and so out of every mapping. But each punch of a
     * mapped page interrupts the other CPUs, which for scattered pages costs more than everything else.
     */
    if ((flags & MACHINE_UNMAP_RELEASE) != 0 && end - start > ptoa(MAP_SCATTERED))
        return;
    linux_zap(start, end);
}

static void wrprotect(vm_offset_t start, vm_offset_t end)
{
    int error = linux_uffd_writeprotect(start, end - start, true);

    if (error == -ENOENT)
        return; /* nothing is attached there */
    if (error == -ENOMEM)
        linux_zap(start, end); /* no page table for the marks: unmapped does as well */
    else if (error != 0)
        panic_errno("userfaultfd does not write-protect", start, error);
}

/* In a free view a store never faults for want of this right. */
void machine_wrprotect(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    struct linux_view part;

    (void)space;
    for (vm_offset_t at = start; at < end; at = part.end) {
        if (!linux_views_next(at, end, &part))
            part.start = part.end = end;
        if (at < part.start)
            wrprotect(at, part.start);
    }
}

void machine_sync(struct machine_space *space)
{
    (void)space; /* the kernel flushes every TLB before its calls return */
    linux_zap_flush();
}
