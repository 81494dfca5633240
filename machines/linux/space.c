/*
 * space.c: the window of addresses, what is attached where in it, and with which rights.
 *
 *     LINUX_WINDOW_START                                                        LINUX_WINDOW_END
 *     | reserved | memfd + object's stretch, registered | reserved | memfd … |  reserved |
 *       PROT_NONE                                         PROT_NONE
 *
 * Reserved ranges are anonymous and PROT_NONE, and each costs one of the kernel's areas. An attached range
 * becomes accessible only after it is registered with userfaultfd: before that, an access would find a hole
 * of the memfd and read zeros. For the same reason it is not inherited by fork (MADV_DONTFORK): a child has
 * no registration, so it gets SIGSEGV instead of wrong bytes.
 *
 * A range is attached as a free view (views.c), or registered for the notification of every store: where the
 * core asks for that, where no record is left for a free view, and with the thread engine everywhere,
 * because system calls would fail on a frozen range. A free view is frozen by taking the right to write from
 * its areas; the kernel keeps what it knows of stores.
 *
 * There is one space, because a process has one. Locks: linux_views_lock over every change of what is
 * attached; the core holds the map's, except for machine_writenotify and freezing.
 */
#include "space.h"
#include "linux_syscall.h"
#include "memfd.h"
#include "uffd.h"
#include "views.h"
#include "zap.h"

#include <errno.h>
#include <sys/mman.h>

struct machine_space {
    vm_offset_t start, end;
    bool used;
};

static struct machine_space process_space;

static int reserve(vm_offset_t start, vm_offset_t end, int fixed)
{
    long addr = linux_syscall(SYS_mmap, start, end - start, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
    return linux_syscall_failed(addr) ? (int)addr : 0;
}

int linux_window_reserve(void)
{
    int error = reserve(LINUX_WINDOW_START, LINUX_WINDOW_END, MAP_FIXED_NOREPLACE);
    if (error == -EEXIST)
        linux_machine_set_error("something else lies in the window of addresses that Faultline needs");
    else if (error != 0)
        linux_machine_set_error(
            "cannot reserve addresses: lift the limit on address space (ulimit -v unlimited)");
    process_space.used = false;
    return error;
}

void linux_window_unreserve(void)
{
    /* Cannot fail: no area is split. */
    (void)linux_syscall(SYS_munmap, LINUX_WINDOW_START, LINUX_WINDOW_END - LINUX_WINDOW_START);
}

int machine_space_create(vm_offset_t start, vm_offset_t end, struct machine_space **space)
{
    if (process_space.used)
        return -EOPNOTSUPP;
    if (start < LINUX_WINDOW_START || end > LINUX_WINDOW_END || start >= end)
        return -ENOMEM;
    process_space = (struct machine_space){.start = start, .end = end, .used = true};
    *space = &process_space;
    return 0;
}

void machine_space_destroy(struct machine_space *space)
{
    space->used = false;
}

static int host_prot(vm_prot_t prot)
{
    return prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* Lets [start, end) show the memfd from `offset` on, without rights. Errors: -ENOMEM, nothing has changed. */
static int show(vm_offset_t start, vm_offset_t end, uint64_t offset)
{
    long addr = linux_syscall(SYS_mmap, start, end - start, PROT_NONE, MAP_SHARED | MAP_FIXED,
                              linux_memfd_fd(), offset);
    return linux_syscall_failed(addr) ? -ENOMEM : 0;
}

static int set_rights(vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    return linux_syscall(SYS_mprotect, start, end - start, host_prot(prot)) == 0 ? 0 : -ENOMEM;
}

/* Makes the range accessible that show() has made. It is one area of exactly [start, end), so no call here
 * splits an area, and each fails only when the kernel has no memory for a few words. */
static int open_view(vm_offset_t start, vm_offset_t end, vm_prot_t prot, enum linux_uffd_kind kind)
{
    if (linux_syscall(SYS_madvise, start, end - start, MADV_DONTFORK) != 0 ||
        linux_uffd_register(start, end, kind) != 0)
        return -ENOMEM;
    return prot == VM_PROT_NONE ? 0 : set_rights(start, end, prot);
}

static int attach(vm_offset_t start, vm_offset_t end, vm_prot_t prot, uint64_t offset, bool notify,
                  bool *changed) FL_REQUIRES(linux_views_lock)
{
    struct linux_view view = {
        .start = start, .end = end, .offset = offset, .tracked = (prot & VM_PROT_WRITE) != 0};

    *changed = false;
    notify = notify || !linux_views_has_room(start, end);
    if (!linux_views_can_cut(start, end) || show(start, end, offset) != 0)
        return -ENOMEM;
    *changed = true;
    linux_views_cut(start, end);
    int error =
        open_view(start, end, notify ? prot : VM_PROT_NONE, notify ? LINUX_UFFD_NOTIFY : LINUX_UFFD_FREE);
    if (error != 0 || notify)
        return error;
    error = linux_views_add(&view);
    return error != 0 || prot == VM_PROT_NONE ? error : set_rights(start, end, prot);
}

int machine_attach(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
                   void *object, vm_pindex_t pindex, unsigned flags)
{
    bool changed;

    if (start < space->start || end > space->end)
        machine_panic("machine_attach outside of the space");
    if (pindex >= LINUX_OBJECT_PAGES || atop(end - start) > LINUX_OBJECT_PAGES - pindex)
        return -ENOMEM; /* beyond the object's stretch: docs/design.md */
    linux_zap_flush();  /* pending ranges are of what was attached before */
    machine_lock(&linux_views_lock);
    int error = attach(start, end, prot, linux_memfd_offset(object, pindex),
                       (flags & MACHINE_ATTACH_WRITENOTIFY) != 0, &changed);
    machine_unlock(&linux_views_lock);
    /* What was attached before cannot be restored without more memory. So nothing is:
     * SIGSEGV, never wrong bytes. */
    if (error != 0 && changed)
        machine_detach(space, start, end);
    return error;
}

/* Registers part of a free view for the notification of every store. Errors: -ENOMEM, nothing has changed. */
static int notify_view(const struct linux_view *part, vm_prot_t prot)
{
    int error = -ENOMEM;

    machine_lock(&linux_views_lock);
    if (linux_views_can_cut(part->start, part->end))
        error = show(part->start, part->end, part->offset);
    if (error == 0) {
        linux_views_cut(part->start, part->end);
        if (open_view(part->start, part->end, prot, LINUX_UFFD_NOTIFY) != 0)
            machine_panic("the kernel has no memory for a view of a mapped file");
    }
    machine_unlock(&linux_views_lock);
    return error;
}

/*
 * What is no free view is registered so already, and stays mapped. A concurrent machine_map finds the range
 * unregistered, and waits for linux_views_lock. A concurrent access of the program finds it without rights,
 * and comes to the core.
 */
int machine_writenotify(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
                        void *object, vm_pindex_t pindex)
{
    struct linux_view part;
    int error = 0;

    (void)space;
    (void)object;
    (void)pindex;
    for (vm_offset_t at = start; error == 0 && at < end && linux_views_next(at, end, &part); at = part.end)
        error = notify_view(&part, prot);
    return error;
}

static int reserve_over(vm_offset_t start, vm_offset_t end)
{
    return reserve(start, end, MAP_FIXED);
}

/* Keeps the kernel from entering the page again. It may be marked, or was touched by the program just now. */
static void bar(vm_offset_t va)
{
    while (linux_uffd_poison(va) == -EEXIST && linux_uffd_writeprotect(va, VM_PAGE_SIZE, false) == 0) {
        linux_zap(va, va + VM_PAGE_SIZE);
        linux_zap_flush();
    }
}

/* Makes a range inaccessible that stays registered. */
static void hide(vm_offset_t start, vm_offset_t end)
{
    struct linux_view part;

    linux_zap(start, end);
    linux_zap_flush();
    for (vm_offset_t at = start; at < end && linux_views_next(at, end, &part); at = part.end) {
        if (set_rights(part.start, part.end, VM_PROT_NONE) == 0)
            continue;
        for (vm_offset_t va = part.start; va < part.end; va += VM_PAGE_SIZE)
            bar(va);
    }
}

/*
 * At the limit on areas the kernel refuses a new area even when it would replace many. Whole areas can be
 * unmapped even then. A range that would split an area stays, without mappings: it is still registered, and
 * the core answers every fault in it with -EFAULT. So does one that would split a free view when no record is
 * left for the second half.
 */
void machine_detach(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    (void)space;
    machine_lock(&linux_views_lock);
    bool cut = linux_views_can_cut(start, end),
         replaced = cut && linux_zap_replace(start, end, reserve_over) == 0;
    bool unmapped = replaced || (cut && linux_syscall(SYS_munmap, start, end - start) == 0);
    if (unmapped)
        linux_views_cut(start, end);
    machine_unlock(&linux_views_lock);
    if (!unmapped)
        hide(start, end);
    else if (!replaced && reserve(start, end, MAP_FIXED_NOREPLACE) != 0)
        machine_log("a range of managed addresses was lost to another mapping");
}

/* ---- rights -------------------------------------------------------------------------------------------- */

/* A free view that loses the right to write stays tracked: what was stored to before is still reported. */
int machine_protect(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    int error = 0;

    (void)space;
    if ((prot & VM_PROT_WRITE) != 0) {
        machine_lock(&linux_views_lock);
        error = linux_views_track(start, end);
        machine_unlock(&linux_views_lock);
    }
    return error != 0 ? error : set_rights(start, end, prot);
}

/* Sets the rights of the free views in [start, end). *stop: where it failed, or the end. */
static int set_free_rights(vm_offset_t start, vm_offset_t end, vm_prot_t prot, vm_offset_t *stop)
{
    struct linux_view part;
    int error = 0;

    for (*stop = start; error == 0 && *stop < end && linux_views_next(*stop, end, &part); *stop = part.end)
        error = set_rights(part.start, part.end, prot);
    return error;
}

int machine_freeze(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    vm_offset_t stop;

    if ((prot & VM_PROT_WRITE) == 0 ||
        set_free_rights(start, end, prot & (vm_prot_t)~VM_PROT_WRITE, &stop) == 0)
        return 0;
    machine_thaw(space, start, stop, prot);
    return -ENOMEM;
}

/* The areas of a frozen range end where it does, so no area is split. */
void machine_thaw(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    vm_offset_t stop;

    (void)space;
    if ((prot & VM_PROT_WRITE) != 0 && set_free_rights(start, end, prot, &stop) != 0)
        machine_panic("the kernel does not give a right back that was taken");
}
