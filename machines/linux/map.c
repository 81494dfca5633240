/*
 * map.c: entering and forgetting mappings: what a pmap does, with the kernel's page tables as the hardware.
 *
 *     the page's bytes are     in a slot ──UFFDIO_COPY──▶ in the memfd and mapped     (a whole run at once)
 *                              in the memfd ──UFFDIO_CONTINUE──▶ mapped               (a whole run at once)
 *                              mapped, write-protected ──UFFDIO_WRITEPROTECT──▶ mapped writable
 *
 * The common fault of one page is one call. Whether the page is mapped already is known from the
 * processor's fault code, which the fault handlers leave in linux_fault_mapped. It is a hint: when it is
 * wrong, the access faults again.
 *
 * Locks: none of its own. The core holds the object's, so no page of the run is released meanwhile.
 */
#include "bounce.h"
#include "fault.h"
#include "linux_syscall.h"
#include "memfd.h"
#include "space.h"
#include "uffd.h"
#include "zap.h"

#include <errno.h>
#include <stdio.h>

#define MAP_SCATTERED 4 /* pages: runs up to this length are unmapped together before they are released */

bool machine_can_map(void *entry_object, void *page_object)
{
    return entry_object == page_object; /* one of the kernel's areas shows one stretch of the memfd */
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

/* Enters pages whose bytes are in the memfd. *done: how many bytes, from the first. */
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
        if (error == -ENOMEM)
            return error;
        if (error != 0)
            panic_errno("userfaultfd does not map", va + *done, error);
    }
    return 0;
}

/* Enters pages whose bytes are in slots, and frees the slots. */
static int map_kept(vm_offset_t va, uint64_t offset, void *addr, uint32_t npages, bool writable,
                    uint32_t *done)
{
    size_t copied;
    int error = linux_uffd_copy(va, addr, ptoa(npages), writable, &copied);

    woken(va, copied);
    *done = (uint32_t)atop(copied);
    if (error == -EEXIST) {
        /* The memfd has a page there already, because the page was filled anew. The bytes are written to it,
         * and the next round maps it. */
        error = linux_memfd_write(offset + copied, (char *)addr + copied, VM_PAGE_SIZE);
        if (error == 0)
            linux_bounce_moved((char *)addr + copied, 1);
        else
            linux_bounce_unclaim((char *)addr + copied, 1);
        copied += VM_PAGE_SIZE;
    } else if (error != 0 && error != -ENOMEM) {
        panic_errno("userfaultfd does not copy", va + copied, error);
    }
    if (*done > 0)
        linux_bounce_moved(addr, *done);
    if (copied < ptoa(npages))
        linux_bounce_unclaim((char *)addr + copied, npages - (uint32_t)atop(copied));
    return error;
}

static uint32_t resident_neighbours(const struct machine_run *run, uint32_t first)
{
    uint32_t n = 0;

    while (first + n < run->npages && !linux_bounce_kept(run->frame[first + n]))
        n++;
    return n;
}

int machine_map(struct machine_space *space, vm_offset_t va, const struct machine_run *run, vm_prot_t prot,
                unsigned flags, uint32_t *done)
{
    bool writable = (prot & VM_PROT_WRITE) != 0;
    int error = 0;

    (void)space;
    for (*done = 0; *done < run->npages && error == 0;) {
        vm_offset_t at = va + ptoa(*done);
        uint32_t n = resident_neighbours(run, *done), entered = 0;
        if (n > 0) {
            size_t bytes;
            error = map_resident(at, ptoa(n), writable, flags, &bytes);
            entered = (uint32_t)atop(bytes);
        } else {
            void *addr;
            n = linux_bounce_claim(run, *done, &addr);
            if (n > 0)
                error = map_kept(at, linux_memfd_offset(run->object, run->pindex + *done), addr, n, writable,
                                 &entered);
        }
        *done += entered;
    }
    return error;
}

void machine_unmap(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned flags)
{
    (void)space;
    /*
     * machine_release punches the pages out of the memfd, and so out of every mapping. But each punch of a
     * mapped page interrupts the other CPUs, which for scattered pages costs more than everything else.
     */
    if ((flags & MACHINE_UNMAP_RELEASE) != 0 && end - start > ptoa(MAP_SCATTERED))
        return;
    linux_zap(start, end);
}

void machine_wrprotect(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    int error = linux_uffd_writeprotect(start, end - start, true);

    if (error == -ENOENT)
        return; /* nothing is attached there */
    if (error == -ENOMEM)
        machine_unmap(space, start, end, 0); /* no page table for the marks: unmapped does as well */
    else if (error != 0)
        panic_errno("userfaultfd does not write-protect", start, error);
}

/* The kernel's page tables cannot be read cheaply. So a page may be mapped, and may have been referenced. */
unsigned machine_query(struct machine_space *space, vm_offset_t va)
{
    (void)space;
    (void)va;
    return MACHINE_REFERENCED_UNKNOWN | MACHINE_MAPPED;
}

unsigned machine_harvest(struct machine_space *space, vm_offset_t va)
{
    return machine_query(space, va);
}

void machine_sync(struct machine_space *space)
{
    (void)space; /* the kernel flushes every TLB before its calls return */
    linux_zap_flush();
}
