/*
 * handover.c: a managed file becomes the kernel's while the program runs, because
 * a child of fork must see the same bytes, or another process uses the file.
 *
 *   handover_file ─▶ gate_shut ─▶ gate_wake_sleepers ─▶ regions_shut: no store reaches the pages
 *                 ─▶ calls bypass the cache, cache_drain ─▶ fl_vnode_sync
 *                 ─▶ each region: region_leave ─▶ fl_vnode_sync
 *                 ─▶ each region: region_arrive, the kernel's mapping ─▶ gate_open
 *
 *   region      protected by    the kernel's mapping
 *   shared      PROT_NONE       of the file, at the same address
 *   private     PROT_READ       made elsewhere, written pages copied in, then moved
 *   anonymous   PROT_READ       the same: anonymous, or, what is shared, of a memfd
 *
 * Anonymous memory (--anon) goes the same way, a range at a time, without what concerns a file. All shared
 * regions that go at the same time become one memfd, in which a page lies at its address, so the parts of a
 * mapping that mprotect has split stay one memory. Two mappings of one shared memory (mremap of length 0)
 * part.
 *
 * All regions of the file are shut before the first one is handed over. Otherwise a store through one
 * of them could be overwritten by a page that is still dirty in another. From then on no thread can
 * change the bytes. A thread that touches them gets SIGSEGV, and waits in the signal handler until
 * the gate is open (gate_waited); a system call fails with EFAULT, and trap.c makes it again.
 *
 * No page may become dirty once the kernel's mapping is there, since its write-back would
 * overwrite what is stored through that mapping. So the hand-over waits for calls that are in
 * the cache (file_cache_enter). A write fault that began before the gate was shut may dirty
 * its page after the first sync, but not after the region is gone: hence the second sync. A call
 * that bypasses the cache waits until the gate is open (file_io.c), or that sync could undo its write.
 *
 * Lock: (S) throughout. Threads that meet the hand-over wait at the gate (gate.c).
 *
 * Does not do: manage the file again. It stays the kernel's as long as the process lives.
 */
#include "handover.h"
#include "eligible.h"
#include "file_idle.h"
#include "gate.h"
#include "registry.h"
#include "window.h"
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* ---- the regions ----------------------------------------------------------------------------------- */

/* Fills in at most `most` managed regions of the file, unless region is NULL. Returns how many there are. */
static size_t regions_of(const struct file *file, struct fl_region *region, size_t most)
{
    struct fl_region at;
    size_t n = 0;

    for (vm_offset_t va = LINUX_WINDOW_START; fl_space_region(fl_space(), va, &at) == 0; va = at.end) {
        if (at.reserved || at.vnode != file->vnode)
            continue;
        if (region != NULL && n < most)
            region[n] = at;
        n++;
    }
    return n;
}

/* The same of anonymous regions, cut to [start, end); shared: only those that are. */
static size_t regions_anonymous(vm_offset_t start, vm_offset_t end, bool shared, struct fl_region *region,
                                size_t most)
{
    struct fl_region at;
    size_t n = 0;

    for (vm_offset_t va = start; fl_space_region(fl_space(), va, &at) == 0 && at.start < end; va = at.end) {
        if (!at.anonymous || (shared && (!at.shared || at.inherit == FL_INHERIT_NONE)))
            continue;
        if (region != NULL && n < most) {
            region[n] = at;
            region[n].start = at.start > start ? at.start : start;
            region[n].end = at.end < end ? at.end : end;
        }
        n++;
    }
    return n;
}

/* Whether the region's pages are copied; those of a file that are shared are written to it. */
static bool region_is_copied(const struct fl_region *region)
{
    return !region->shared || region->anonymous;
}

/*
 * No thread changes the bytes from now on. A region that is copied is readable meanwhile, even one
 * that may not be read: another thread that reads it only misses a fault.
 */
static int region_shut(const struct fl_region *region)
{
    size_t len = region->end - region->start;
    bool copied = region_is_copied(region);
    int error = 0;

    if (copied && (region->prot & VM_PROT_READ) == 0)
        error = fl_sys_mprotect(fl_space(), region->start, len, PROT_READ);
    if (error == 0)
        error = (int)linux_syscall(SYS_mprotect, region->start, len, copied ? PROT_READ : PROT_NONE);
    return error;
}

static void region_open(const struct fl_region *region)
{
    size_t len = region->end - region->start;

    if (region_is_copied(region) && (region->prot & VM_PROT_READ) == 0)
        (void)!fl_sys_mprotect(fl_space(), region->start, len, region->prot);
    else
        linux_syscall(SYS_mprotect, region->start, len, region->prot);
}

/*
 * Copies a page, unless a truncation has removed it. Not by hold.c, which may take (S). Errors: of fl_hold.
 */
static int page_copy(void *to, vm_offset_t va)
{
    struct fl_hold hold;
    int error = fl_hold(fl_space(), va, VM_PAGE_SIZE, VM_PROT_READ, &hold);

    if (error == -ENXIO)
        return 0;
    if (error == 0)
        memcpy(to, (const void *)va, VM_PAGE_SIZE);
    fl_unhold(&hold);
    return error;
}

/*
 * The kernel's mapping of the same bytes, at any address. fd: of what is behind
 * the region: the file, a memfd, or -1. Errors: of mmap(2), fl_hold.
 */
static long region_copy(const struct fl_region *region, int fd)
{
    size_t len = region->end - region->start;
    int flags = MAP_NORESERVE | (region->shared ? MAP_SHARED : MAP_PRIVATE) | (fd < 0 ? MAP_ANONYMOUS : 0);
    uint64_t offset = region->anonymous && fd >= 0 ? region->start - LINUX_WINDOW_START : region->offset;
    long copy = linux_syscall(SYS_mmap, 0, len, PROT_READ | PROT_WRITE, flags, fd, offset);
    int error = 0;

    if (linux_syscall_failed(copy))
        return copy;
    for (vm_offset_t va = region->start;
         error == 0 && fl_space_private_page(fl_space(), va, region->end, &va) == 0; va += VM_PAGE_SIZE)
        error = page_copy((void *)((vm_offset_t)copy + (va - region->start)), va);
    if (error == 0)
        error = (int)linux_syscall(SYS_mprotect, copy, len, region->prot);
    if (error == 0)
        return copy;
    linux_syscall(SYS_munmap, copy, len);
    return error;
}

/*
 * The region is reserved for the kernel from now on, which maps nothing there yet. Errors: of
 * fl_sys_munmap; -ENOMEM: the region may be gone. In the zone it stays reserved as it is removed.
 */
static int region_leave(const struct fl_region *region) FL_REQUIRES(shim_lock)
{
    int error = (int)window_remove(region->start, region->end);

    return error != 0 || zone_has(region->start) ? error : window_reserve(region->start, region->end);
}

/*
 * The region becomes the kernel's own mapping of the file, or, unless that is 0, the one
 * made at `copy`, which moves here. Errors: of mmap(2): nothing is mapped here then.
 */
static int region_arrive(const struct fl_region *region, const struct file *file, vm_offset_t copy)
    FL_REQUIRES(shim_lock)
{
    size_t len = region->end - region->start;
    long r;

    if (copy != 0)
        r = linux_syscall(SYS_mremap, copy, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, region->start);
    else
        r = linux_syscall(SYS_mmap, region->start, len, region->prot, MAP_SHARED | MAP_FIXED, file->fd,
                          region->offset);
    if (linux_syscall_failed(r)) {
        (void)!window_remove(region->start, region->end);
        return (int)r;
    }
    if (region->shared)
        eligible_left_shared();
    if (region->inherit == FL_INHERIT_NONE)
        linux_syscall(SYS_madvise, region->start, len, MADV_DONTFORK);
    return region->wired ? (int)linux_syscall(SYS_mlock, region->start, len) : 0;
}

/* ---- the file -------------------------------------------------------------------------------------- */

/* One hand-over. */
struct handover {
    struct file *file; /* NULL: of anonymous memory */
    enum left_reason reason;
    int memfd; /* of what is anonymous and shared, or -1 */
    size_t n;
    struct fl_region *region; /* [n] the gate's list */
    vm_offset_t *copy;        /* [n] the kernel's mapping of a copy of the region's bytes, or 0 */
};

static int regions_shut(const struct handover *handover)
{
    int error = 0;

    for (size_t i = 0; error == 0 && i < handover->n; i++)
        error = region_shut(&handover->region[i]);
    return error;
}

/* Waits for calls that are in the cache: transfers and copies, which do not wait for the program. */
static void cache_drain(struct file *file)
{
    const struct timespec moment = {0, 100000};

    file->bypass = true;
    while (file->in_cache != 0)
        linux_syscall(SYS_nanosleep, &moment, NULL);
}

static int regions_copy(struct handover *handover)
{
    for (size_t i = 0; i < handover->n; i++) {
        const struct fl_region *region = &handover->region[i];
        long copy;

        if (!region_is_copied(region))
            continue;
        copy = region_copy(region, !region->anonymous ? handover->file->fd
                                   : region->shared   ? handover->memfd
                                                      : -1);
        if (copy < 0)
            return (int)copy;
        handover->copy[i] = (vm_offset_t)copy;
    }
    return 0;
}

/* Before the first region was handed over: everything is as before. */
static void regions_open(struct handover *handover)
{
    for (size_t i = 0; i < handover->n; i++) {
        const struct fl_region *region = &handover->region[i];

        if (handover->copy[i] != 0)
            linux_syscall(SYS_munmap, handover->copy[i], region->end - region->start);
        region_open(region);
    }
}

/*
 * The point of no return: the core forgets the regions. If the kernel then has no memory for a mapping,
 * nothing is mapped there, and an access is SIGSEGV, never wrong bytes. Errors: the first one.
 */
static int regions_move(struct handover *handover) FL_REQUIRES(shim_lock)
{
    int first = 0;
    int error;

    for (size_t i = 0; i < handover->n; i++) {
        error = region_leave(&handover->region[i]);
        first = first != 0 ? first : error;
    }
    error = handover->file != NULL ? fl_vnode_sync(handover->file->vnode, 0, UINT64_MAX) : 0;
    first = first != 0 ? first : error;
    for (size_t i = 0; i < handover->n; i++) {
        error = region_arrive(&handover->region[i], handover->file, handover->copy[i]);
        if (error == 0)
            stats_left(handover->reason, handover->region[i].end - handover->region[i].start);
        first = first != 0 ? first : error;
    }
    return first;
}

/*
 * The gate is shut. If the file's dirty pages cannot be written, all of its
 * regions stay managed, since the kernel's mappings would show other bytes.
 */
static int file_move(struct handover *handover) FL_REQUIRES(shim_lock)
{
    bool bypass = handover->file->bypass;
    int error = regions_shut(handover);

    cache_drain(handover->file);
    if (error == 0)
        error = fl_vnode_sync(handover->file->vnode, 0, UINT64_MAX);
    if (error == 0)
        error = regions_copy(handover);
    if (error == 0)
        return regions_move(handover);
    regions_open(handover);
    handover->file->bypass = bypass;
    return error;
}

int handover_file(struct file *file, enum left_reason reason)
{
    struct handover handover = {.file = file, .reason = reason, .memfd = -1, .n = regions_of(file, NULL, 0)};
    size_t len = (handover.n + 1) * sizeof *handover.copy;
    int error = gate_list(handover.n, &handover.region);
    long memory = shim_memory(len);

    if (linux_syscall_failed(memory))
        return (int)memory;
    handover.copy = (vm_offset_t *)memory;
    registry_hand_over_begins(file->dev, file->ino);
    if (error == 0) {
        handover.n = regions_of(file, handover.region, handover.n);
        gate_shut(handover.n);
        gate_wake_sleepers();
        error = file_move(&handover);
        gate_open();
    }
    shim_memory_free(handover.copy, len);
    if (error == 0)
        registry_hand_over(file->dev, file->ino);
    file_unmapped_push(file);
    return error;
}

/* ---- anonymous memory ------------------------------------------------------------------------------ */

/* A memfd in which there is a place for each address of the window. Errors: of memfd_create(2). */
static int memfd_open(void)
{
    int fd = (int)linux_syscall(SYS_memfd_create, "shared", MFD_CLOEXEC);
    int error = fd < 0 ? fd : (int)linux_syscall(SYS_ftruncate, fd, LINUX_WINDOW_END - LINUX_WINDOW_START);

    if (fd >= 0 && error != 0)
        linux_syscall(SYS_close, fd);
    return error != 0 ? error : fd;
}

/* The gate is shut. Errors: as handover_anonymous. */
static int anonymous_move(struct handover *handover) FL_REQUIRES(shim_lock)
{
    int error = regions_shut(handover);

    if (error == 0)
        error = regions_copy(handover);
    if (error == 0)
        return regions_move(handover);
    regions_open(handover);
    return error;
}

int handover_anonymous(vm_offset_t start, vm_offset_t end, bool shared, enum left_reason reason)
{
    struct handover handover = {.reason = reason, .n = regions_anonymous(start, end, shared, NULL, 0)};
    size_t len = (handover.n + 1) * sizeof *handover.copy;
    int error = handover.n != 0 ? gate_list(handover.n, &handover.region) : 0;
    long memory;

    if (handover.n == 0 || error != 0)
        return error;
    memory = shim_memory(len);
    if (linux_syscall_failed(memory))
        return (int)memory;
    handover.copy = (vm_offset_t *)memory;
    handover.memfd = memfd_open();
    if (handover.memfd >= 0) {
        handover.n = regions_anonymous(start, end, shared, handover.region, handover.n);
        gate_shut(handover.n);
        gate_wake_sleepers();
        error = anonymous_move(&handover);
        gate_open();
        linux_syscall(SYS_close, handover.memfd);
    } else {
        error = handover.memfd;
    }
    shim_memory_free(handover.copy, len);
    return error;
}
