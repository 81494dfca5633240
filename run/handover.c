/*
 * handover.c: a managed file becomes the kernel's while the program runs, because
 * a child of fork must see the same bytes, or another process uses the file.
 *
 *   handover_file ─▶ gate_shut ─▶ futexes_wake ─▶ regions_shut: no store reaches the pages
 *                 ─▶ calls bypass the cache, cache_drain ─▶ fl_vnode_sync
 *                 ─▶ each region: region_leave ─▶ fl_vnode_sync
 *                 ─▶ each region: region_arrive, the kernel's mapping ─▶ gate_open
 *
 *   region      protected by    the kernel's mapping
 *   shared      PROT_NONE       of the file, at the same address
 *   private     PROT_READ       made elsewhere, written pages copied in, then moved
 *
 * All regions of the file are shut before the first one is handed over. Otherwise a store through one
 * of them could be overwritten by a page that is still dirty in another. From then on no thread can
 * change the bytes. A thread that touches them gets SIGSEGV, and waits in the signal handler until
 * the gate is open (handover_waited); a system call fails with EFAULT, and trap.c makes it again.
 *
 * No page may become dirty once the kernel's mapping is there, since its write-back would
 * overwrite what is stored through that mapping. So the hand-over waits for calls that are in
 * the cache (file_cache_enter). A write fault that began before the gate was shut may dirty
 * its page after the first sync, but not after the region is gone: hence the second sync.
 *
 * A thread that sleeps on a futex in the memory sleeps on the core's page, and a later
 * wake-up goes to the kernel's page. So such a thread is woken, looks again, and waits at the
 * gate. The addresses stand in slot[]. A thread writes its slot before it looks at the gate,
 * and the gate is shut before the slots are read, so that one of the two sees the other.
 *
 * Lock: (S) throughout; the gate and the slots are atomics.
 *
 * Does not do: manage the file again. It stays the kernel's as long as the process lives.
 */
#include "handover.h"
#include "eligible.h"
#include "file_idle.h"
#include "registry.h"
#include "window.h"
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define GATE_LOOK_NS 10000000 /* a thread at the gate looks again: a signal may swallow a wake-up */
#define FUTEX_SLOTS  512      /* threads that sleep in managed memory */
#define FUTEX_ROUNDS 1000     /* of a millisecond each: a woken thread needs a processor to leave its slot */

static struct {
    _Atomic uint32_t shut; /* a futex: 1 while regions are handed over */
    /* Never unmapped: a thread at the gate may read it late. */
    struct fl_region *_Atomic region;
    _Atomic size_t nregions;
    size_t room FL_GUARDED_BY(shim_lock); /* of region[] */
    _Atomic unsigned count;               /* changes when it is shut and when it opens */
} gate;

static _Atomic vm_offset_t slot[FUTEX_SLOTS]; /* where a thread waits on a futex, or 0 */

unsigned handover_count(void)
{
    return gate.count;
}

/* ---- the gate -------------------------------------------------------------------------------------- */

static bool gate_has(vm_offset_t va)
{
    size_t n = gate.nregions; /* read first: a list that grows is a new one, at another address */
    const struct fl_region *region = gate.region;
    bool has = false;

    for (size_t i = 0; !has && i < n; i++)
        has = va >= region[i].start && va < region[i].end;
    return has;
}

bool handover_waited(vm_offset_t va)
{
    const struct timespec moment = {0, GATE_LOOK_NS};
    bool waited = false;

    while (gate.shut != 0 && gate_has(va)) {
        waited = true;
        linux_syscall(SYS_futex, &gate.shut, FUTEX_WAIT_PRIVATE, 1, &moment, NULL, 0);
    }
    return waited;
}

/* Room for n regions in the gate's list. Errors: of mmap. */
static int gate_room(size_t n) FL_REQUIRES(shim_lock)
{
    long memory;

    if (n <= gate.room)
        return 0;
    n *= 2;
    memory = shim_memory(n * sizeof(struct fl_region));
    if (linux_syscall_failed(memory))
        return (int)memory;
    gate.region = (struct fl_region *)memory;
    gate.room = n;
    return 0;
}

static void gate_shut(size_t n)
{
    gate.nregions = n;
    gate.count++;
    gate.shut = 1;
}

static void gate_open(void)
{
    gate.nregions = 0;
    gate.shut = 0;
    gate.count++;
    linux_syscall(SYS_futex, &gate.shut, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* Without memory for the list the gate stays open: then a thread may find nothing there for a moment. */
void handover_replace_begin(vm_offset_t start, vm_offset_t end)
{
    if (gate_room(1) != 0)
        return;
    gate.region[0] = (struct fl_region){.start = start, .end = end};
    gate_shut(1);
}

void handover_replace_end(void)
{
    gate_open();
}

/* ---- futexes --------------------------------------------------------------------------------------- */

int handover_futex_begin(vm_offset_t va)
{
    for (;;) { /* each turn another thread took the slot, or a hand-over ended */
        int taken = HANDOVER_NO_SLOT;

        for (int i = 0; i < FUTEX_SLOTS && taken < 0; i++) {
            int at = (int)((va / 64 + (unsigned)i) % FUTEX_SLOTS);
            vm_offset_t none = 0;

            if (slot[at] == 0 && atomic_compare_exchange_strong(&slot[at], &none, va))
                taken = at;
        }
        if (gate.shut == 0 || !gate_has(va))
            return taken;
        if (taken >= 0)
            slot[taken] = 0;
        (void)handover_waited(va);
    }
}

void handover_futex_end(int taken)
{
    if (taken >= 0)
        slot[taken] = 0;
}

/* Wakes the threads that sleep on futexes in the regions, until none does. The gate is shut. */
static void futexes_wake(void)
{
    const struct timespec moment = {0, 1000000};
    bool any = true;

    for (int round = 0; any && round < FUTEX_ROUNDS; round++) {
        any = false;
        for (int i = 0; i < FUTEX_SLOTS; i++) {
            vm_offset_t va = slot[i];

            if (va == 0 || !gate_has(va))
                continue;
            any = true;
            linux_syscall(SYS_futex, va, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
            linux_syscall(SYS_futex, va, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
        }
        if (any)
            linux_syscall(SYS_nanosleep, &moment, NULL);
    }
}

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

/*
 * No thread changes the bytes from now on. A private region is readable while it is copied,
 * even one that may not be read: another thread that reads it meanwhile only misses a fault.
 */
static int region_shut(const struct fl_region *region)
{
    size_t len = region->end - region->start;
    int error = 0;

    if (!region->shared && (region->prot & VM_PROT_READ) == 0)
        error = fl_sys_mprotect(fl_space(), region->start, len, PROT_READ);
    if (error == 0)
        error = (int)linux_syscall(SYS_mprotect, region->start, len, region->shared ? PROT_NONE : PROT_READ);
    return error;
}

static void region_open(const struct fl_region *region)
{
    size_t len = region->end - region->start;

    if (!region->shared && (region->prot & VM_PROT_READ) == 0)
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

/* The kernel's private mapping of the same bytes, at any address. Errors: of mmap(2), fl_hold. */
static long region_copy(const struct fl_region *region, const struct file *file)
{
    size_t len = region->end - region->start;
    long copy = linux_syscall(SYS_mmap, 0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file->fd,
                              region->offset);
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

/* One hand-over. Arrays are in the order of gate.region. */
struct handover {
    struct file *file;
    enum left_reason reason;
    size_t n;
    vm_offset_t *copy; /* [n] the kernel's private mapping of the same bytes, or 0 */
};

static int regions_shut(const struct handover *handover)
{
    int error = 0;

    for (size_t i = 0; error == 0 && i < handover->n; i++)
        error = region_shut(&gate.region[i]);
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
        long copy = gate.region[i].shared ? 0 : region_copy(&gate.region[i], handover->file);

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
        const struct fl_region *region = &gate.region[i];

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
        error = region_leave(&gate.region[i]);
        first = first != 0 ? first : error;
    }
    error = fl_vnode_sync(handover->file->vnode, 0, UINT64_MAX);
    first = first != 0 ? first : error;
    for (size_t i = 0; i < handover->n; i++) {
        error = region_arrive(&gate.region[i], handover->file, handover->copy[i]);
        if (error == 0)
            stats_left(handover->reason, gate.region[i].end - gate.region[i].start);
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
    struct handover handover = {.file = file, .reason = reason, .n = regions_of(file, NULL, 0)};
    size_t len = (handover.n + 1) * sizeof *handover.copy;
    int error = gate_room(handover.n);
    long memory = shim_memory(len);

    if (linux_syscall_failed(memory))
        return (int)memory;
    handover.copy = (vm_offset_t *)memory;
    registry_hand_over_begins(file->dev, file->ino);
    if (error == 0) {
        handover.n = regions_of(file, gate.region, handover.n);
        gate_shut(handover.n);
        futexes_wake();
        error = file_move(&handover);
        gate_open();
    }
    shim_memory_free(handover.copy, len);
    if (error == 0)
        registry_hand_over(file->dev, file->ino);
    file_unmapped_push(file);
    return error;
}

void handover_fork_child(void)
{
    gate.shut = 0;
    gate.nregions = 0;
    memset(slot, 0, sizeof slot);
}
