/*
 * bounce.c: the bounce buffers: a pool of page-sized slots in one stretch of memory.
 *
 *                       FILL put(keep)                        claim … moved (UFFDIO_COPY, map.c)
 *     free ─▶ in a window ───────────▶ kept, on the list ─────────────────────────▶ free
 *      ▲          │  ▲                     │   │  ▲
 *      │          │  └── READ/EDIT of it ──┘   └──┴─ moving (flush: pwrite to the memfd) ─▶ free
 *      └── put ───┘
 *
 * A page's bytes are in the slot that keeps them, or in the memfd when no slot does.
 *
 *   BB1  slot_of[frame] names the slot exactly while it is kept for that frame.
 *   BB2  A slot is free if and only if it is in no window, not kept and not moving.
 *   BB3  Kept slots that are in no window and not moving are on the list, oldest first. They can
 *        be flushed at any time.
 *
 * Who gets slots. Transfers with nowait (read-ahead and write-behind) get the smaller half: their slots come
 * back only when a thread needs one of their pages. Write-behind, which can wait for older transfers, gets
 * only a part of that half, because read-ahead that finds no slot is given up. A window of theirs is never on
 * a kept slot, for which other threads may have to wait. Threads that wait for slots stand in line, so that
 * small requests do not starve a large one. The last few slots are reserved for a thread that has a window
 * already: it asks for one page more, then closes both. Without them, threads that each have one window and
 * want another would wait for each other.
 *
 * Lock: pool_lock, a leaf of the machine's own, not held across a system call. A mover waits for no other
 * thread, so the core may wait for a move under its locks.
 *
 * Does not do: windows as the core knows them (window.c), mapping (map.c).
 */
#include "bounce.h"
#include "linux_syscall.h"
#include "memfd.h"
#include "views.h"

#include <errno.h>
#include <sys/mman.h>

#define HUGE_PAGE (2L << 20)
#define FLUSH_MAX 16 /* pages written in one go when slots run short */

enum {
    SLOT_KEPT = 0x01,   /* keeps a page's bytes: BB1 */
    SLOT_WINDOW = 0x02, /* in an open window, one at a time */
    SLOT_MOVING = 0x04, /* on its way into the memfd */
    SLOT_LISTED = 0x08, /* on the list of kept ones */
    SLOT_AHEAD = 0x10,  /* in a window of a read ahead */
    SLOT_BEHIND = 0x20, /* in a window of a write behind */
};

struct slot {
    uint64_t offset;     /* kept: where in the memfd the bytes belong */
    uint64_t owner;      /* in a window: machine_self() of the thread that opened it; 0: unknown (nowait) */
    vm_frame_t frame;    /* kept: the frame whose bytes they are */
    uint16_t next, prev; /* on the list */
    uint8_t flags;
};

#define NO_SLOT UINT16_MAX

static struct machine_lock pool_lock;
static struct {
    /* Constant while the pool is open. */
    char *base;
    uint32_t nslots;
    uint32_t reserve; /* slots that only a thread's second window may take */
    size_t table_len_bytes;
    struct slot *slot FL_PT_GUARDED_BY(pool_lock);
    uint64_t *free FL_PT_GUARDED_BY(pool_lock); /* a bit for each slot */
    uint16_t *slot_of; /* for each frame 1 + its slot, or 0; changed under the lock, read without */

    uint32_t nfree FL_GUARDED_BY(pool_lock);
    uint32_t nahead FL_GUARDED_BY(pool_lock);
    uint32_t nbehind FL_GUARDED_BY(pool_lock);
    uint32_t peak FL_GUARDED_BY(pool_lock);
    uint32_t waiters FL_GUARDED_BY(pool_lock);
    /* The line of waiters: it is empty when the two are equal. */
    uint64_t next_ticket FL_GUARDED_BY(pool_lock);
    uint64_t serving FL_GUARDED_BY(pool_lock);
    uint16_t oldest FL_GUARDED_BY(pool_lock);
    uint16_t newest FL_GUARDED_BY(pool_lock);
} pool;

/* Releases the lock while it sleeps. */
static void pool_sleep(void) FL_REQUIRES(pool_lock)
{
    pool.waiters++;
    (void)machine_wait(&pool, &pool_lock, UINT64_MAX);
    pool.waiters--;
}

/* Lets all waiters look again. */
static void pool_wakeup(void) FL_REQUIRES(pool_lock)
{
    if (pool.waiters > 0)
        machine_wake(&pool);
}

static char *slot_addr(uint32_t i)
{
    return pool.base + ptoa(i);
}

static uint32_t slot_at(const void *addr)
{
    return (uint32_t)atop((uint64_t)((const char *)addr - pool.base));
}

/*
 * Maps the buffers' memory, in huge pages where there are any: a device then gets a megabyte in one piece and
 * not in 256, which some transfer two and a half times as fast. It is populated, so that a window never
 * faults, and not inherited, so that a fork does not turn the buffers into copies under a transfer. Returns
 * the address or a negative errno.
 */
static long buffers_map(size_t len_bytes)
{
    long start = linux_syscall(SYS_mmap, 0, len_bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (linux_syscall_failed(start))
        return start;
    long base = (start + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    if (base > start)
        (void)linux_syscall(SYS_munmap, start, base - start);
    if (base < start + HUGE_PAGE)
        (void)linux_syscall(SYS_munmap, base + (long)len_bytes, start + HUGE_PAGE - base);
    (void)linux_syscall(SYS_madvise, base, len_bytes, MADV_HUGEPAGE); /* or small pages */
    long error = linux_syscall(SYS_madvise, base, len_bytes, MADV_DONTFORK);
    if (error == 0)
        error = linux_syscall(SYS_madvise, base, len_bytes, MADV_POPULATE_WRITE);
    if (error == 0)
        return base;
    (void)linux_syscall(SYS_munmap, base, len_bytes);
    return error;
}

int linux_bounce_open(size_t buffer_len_bytes, uint32_t nframes)
{
    uint64_t nslots = atop(buffer_len_bytes);

    if (nslots < LINUX_BOUNCE_MIN_SLOTS || nslots > LINUX_BOUNCE_MAX_SLOTS)
        return -EINVAL;
    size_t slots_len = nslots * sizeof(struct slot), free_len = (nslots + 63) / 64 * sizeof(uint64_t);
    pool.table_len_bytes = slots_len + free_len + (size_t)nframes * sizeof(uint16_t);
    long base = buffers_map(ptoa(nslots));
    if (linux_syscall_failed(base))
        return -ENOMEM;
    long table = linux_syscall(SYS_mmap, 0, pool.table_len_bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (linux_syscall_failed(table)) {
        (void)linux_syscall(SYS_munmap, base, ptoa(nslots));
        return -ENOMEM;
    }
    pool.base = (char *)base;
    pool.slot = (struct slot *)table;
    pool.free = (uint64_t *)((char *)table + slots_len);
    pool.slot_of = (uint16_t *)((char *)table + slots_len + free_len);
    pool.nslots = (uint32_t)nslots;
    pool.reserve = 1 + pool.nslots / 64;
    machine_lock(&pool_lock);
    pool.nfree = pool.nslots;
    pool.nahead = pool.nbehind = pool.peak = 0;
    pool.next_ticket = pool.serving = 1;
    pool.oldest = pool.newest = NO_SLOT;
    for (uint32_t i = 0; i < pool.nslots; i++)
        pool.free[i / 64] |= (uint64_t)1 << i % 64;
    machine_unlock(&pool_lock);
    return 0;
}

void linux_bounce_close(void)
{
    if (pool.base == NULL)
        return;
    (void)linux_syscall(SYS_munmap, pool.base, ptoa(pool.nslots));
    (void)linux_syscall(SYS_munmap, pool.slot, pool.table_len_bytes);
    pool.base = NULL;
}

uint64_t linux_buffer_peak_bytes(void)
{
    machine_lock(&pool_lock);
    uint64_t peak = ptoa(pool.peak);
    machine_unlock(&pool_lock);
    return peak;
}

bool linux_bounce_kept(vm_frame_t frame)
{
    return __atomic_load_n(&pool.slot_of[frame], __ATOMIC_ACQUIRE) != 0;
}

/* ---- slots --------------------------------------------------------------------------------------------- */

static void list_append(uint32_t i) FL_REQUIRES(pool_lock)
{
    struct slot *slot = &pool.slot[i];

    slot->flags |= SLOT_LISTED;
    slot->next = NO_SLOT;
    slot->prev = pool.newest;
    if (pool.newest == NO_SLOT)
        pool.oldest = (uint16_t)i;
    else
        pool.slot[pool.newest].next = (uint16_t)i;
    pool.newest = (uint16_t)i;
}

static void list_remove(uint32_t i) FL_REQUIRES(pool_lock)
{
    struct slot *slot = &pool.slot[i];

    if ((slot->flags & SLOT_LISTED) == 0)
        return;
    slot->flags &= (uint8_t)~SLOT_LISTED;
    if (slot->prev == NO_SLOT)
        pool.oldest = slot->next;
    else
        pool.slot[slot->prev].next = slot->next;
    if (slot->next == NO_SLOT)
        pool.newest = slot->prev;
    else
        pool.slot[slot->next].prev = slot->prev;
}

/* The slot changed: puts it on the list or makes it free, as BB2 and BB3 say, and wakes all waiters. */
static void slot_settle(uint32_t i) FL_REQUIRES(pool_lock)
{
    struct slot *slot = &pool.slot[i];

    if ((slot->flags & (SLOT_WINDOW | SLOT_MOVING)) == 0) {
        if ((slot->flags & SLOT_KEPT) != 0) {
            if ((slot->flags & SLOT_LISTED) == 0)
                list_append(i);
        } else {
            pool.free[i / 64] |= (uint64_t)1 << i % 64;
            pool.nfree++;
        }
    }
    pool_wakeup();
}

/* The slot does not keep the page's bytes any more. */
static void slot_forget(uint32_t i) FL_REQUIRES(pool_lock)
{
    struct slot *slot = &pool.slot[i];

    __atomic_store_n(&pool.slot_of[slot->frame], 0, __ATOMIC_RELEASE);
    slot->flags &= (uint8_t)~SLOT_KEPT;
    list_remove(i);
}

/* Returns the slot that keeps the frame's bytes, or NO_SLOT. Sleeps while it moves. */
static uint32_t slot_kept(vm_frame_t frame) FL_REQUIRES(pool_lock)
{
    for (;;) {
        uint16_t of = pool.slot_of[frame];
        if (of == 0)
            return NO_SLOT;
        if ((pool.slot[of - 1].flags & SLOT_MOVING) == 0)
            return of - 1u;
        pool_sleep();
    }
}

/* ---- moving kept pages into the memfd ----------------------------------------------------------------- */

uint32_t linux_bounce_claim(const struct machine_run *run, uint32_t first, void **addr)
{
    uint32_t n = 0;

    machine_lock(&pool_lock);
    uint32_t i = slot_kept(run->frame[first]);
    if (i != NO_SLOT) {
        *addr = slot_addr(i);
        do {
            pool.slot[i + n].flags |= SLOT_MOVING;
            list_remove(i + n);
            n++;
        } while (first + n < run->npages && pool.slot_of[run->frame[first + n]] == i + n + 1 &&
                 (pool.slot[i + n].flags & SLOT_MOVING) == 0);
    }
    machine_unlock(&pool_lock);
    return n;
}

static void claim_end(void *addr, uint32_t npages, bool moved)
{
    uint32_t first = slot_at(addr);

    machine_lock(&pool_lock);
    for (uint32_t i = first; i < first + npages; i++) {
        pool.slot[i].flags &= (uint8_t)~SLOT_MOVING;
        if (moved)
            slot_forget(i);
        slot_settle(i);
    }
    machine_unlock(&pool_lock);
}

void linux_bounce_moved(void *addr, uint32_t npages)
{
    claim_end(addr, npages, true);
}

void linux_bounce_unclaim(void *addr, uint32_t npages)
{
    claim_end(addr, npages, false);
}

/* Writes kept pages to the memfd: slot i, and those behind it as long as they continue each other there.
 * Releases the lock meanwhile. */
static int flush(uint32_t i) FL_REQUIRES(pool_lock)
{
    uint32_t n = 0;
    uint64_t offset = pool.slot[i].offset;

    do {
        pool.slot[i + n].flags |= SLOT_MOVING;
        list_remove(i + n);
        n++;
    } while (n < FLUSH_MAX && i + n < pool.nslots && (pool.slot[i + n].flags & SLOT_LISTED) != 0 &&
             pool.slot[i + n].offset == offset + ptoa(n));
    machine_unlock(&pool_lock);
    size_t written = 0;
    int error = linux_views_insert_begin(offset, ptoa(n));
    if (error == 0) {
        error = linux_memfd_write(offset, slot_addr(i), ptoa(n), &written);
        linux_views_insert_end();
    }
    /* What is in the memfd may be stored to there, so after an error, too, it is not kept here any more. */
    uint32_t moved = (uint32_t)atop(written);
    claim_end(slot_addr(i), moved, true);
    claim_end(slot_addr(i + moved), n - moved, false);
    machine_lock(&pool_lock);
    return error;
}

int linux_bounce_flush(vm_frame_t frame, bool nowait)
{
    int error = 0;

    if (!linux_bounce_kept(frame))
        return 0;
    machine_lock(&pool_lock);
    for (uint32_t i = slot_kept(frame); i != NO_SLOT && error == 0; i = slot_kept(frame)) {
        if ((pool.slot[i].flags & SLOT_WINDOW) == 0)
            error = flush(i);
        else if (nowait)
            error = -EAGAIN;
        else
            pool_sleep();
    }
    machine_unlock(&pool_lock);
    return error;
}

/* ---- giving out slots --------------------------------------------------------------------------------- */

/* Returns the first of npages contiguous free slots, or NO_SLOT. */
static uint32_t find_run(uint32_t npages) FL_REQUIRES(pool_lock)
{
    uint32_t run = 0;

    for (uint32_t i = 0; i < pool.nslots;) {
        if (pool.free[i / 64] == 0 || (pool.free[i / 64] >> i % 64 & 1) == 0) {
            run = 0;
            i = pool.free[i / 64] >> i % 64 == 0 ? (i / 64 + 1) * 64 : i + 1;
            continue;
        }
        i++;
        if (++run == npages)
            return i - npages;
    }
    return NO_SLOT;
}

static void take(uint32_t npages, enum linux_bounce_user user, void **addr) FL_REQUIRES(pool_lock)
{
    static const uint8_t flags[] = {
        [LINUX_BOUNCE_WAITS] = SLOT_WINDOW,
        [LINUX_BOUNCE_AHEAD] = SLOT_WINDOW | SLOT_AHEAD,
        [LINUX_BOUNCE_BEHIND] = SLOT_WINDOW | SLOT_BEHIND,
    };
    uint32_t first = find_run(npages);

    for (uint32_t n = 0; n < npages; n++) {
        uint32_t i = first != NO_SLOT ? first + n : find_run(1);
        pool.free[i / 64] &= ~((uint64_t)1 << i % 64);
        pool.slot[i] = (struct slot){
            .owner = user == LINUX_BOUNCE_WAITS ? machine_self() : 0,
            .next = NO_SLOT,
            .prev = NO_SLOT,
            .flags = flags[user],
        };
        addr[n] = slot_addr(i);
    }
    pool.nfree -= npages;
    pool.nahead += user == LINUX_BOUNCE_AHEAD ? npages : 0;
    pool.nbehind += user == LINUX_BOUNCE_BEHIND ? npages : 0;
    if (pool.nslots - pool.nfree > pool.peak)
        pool.peak = pool.nslots - pool.nfree;
}

/* Whether the thread has a window open. Only asked when slots are scarce. */
static bool has_window(uint64_t self) FL_REQUIRES(pool_lock)
{
    for (uint32_t i = 0; i < pool.nslots; i++) {
        if ((pool.slot[i].flags & SLOT_WINDOW) != 0 && pool.slot[i].owner == self)
            return true;
    }
    return false;
}

/* Returns the most slots that one window of LINUX_BOUNCE_WAITS may have; of the other
 * kinds, all windows together. */
static uint32_t share(enum linux_bounce_user user)
{
    uint32_t unwaited = pool.nslots / 2 - pool.reserve;

    if (user == LINUX_BOUNCE_WAITS)
        return pool.nslots / 2;
    return user == LINUX_BOUNCE_AHEAD ? unwaited : unwaited * 5 / 8;
}

/* Whether npages more fit into the share. */
static bool share_allows(enum linux_bounce_user user, uint32_t npages) FL_REQUIRES(pool_lock)
{
    if (pool.nahead + pool.nbehind + npages > share(LINUX_BOUNCE_AHEAD))
        return false;
    return user != LINUX_BOUNCE_BEHIND || pool.nbehind + npages <= share(user);
}

int linux_bounce_alloc(uint32_t npages, enum linux_bounce_user user, void **addr)
{
    bool nowait = user != LINUX_BOUNCE_WAITS, second = false;
    uint64_t ticket = 0;
    int error = 0;

    if (npages > share(user))
        return -ENOMEM;
    machine_lock(&pool_lock);
    for (;;) {
        bool in_turn = second || (ticket != 0 ? ticket == pool.serving : pool.serving == pool.next_ticket);
        uint32_t spare = second ? 0 : pool.reserve;
        if (nowait && (!in_turn || !share_allows(user, npages))) {
            error = -EAGAIN;
            break;
        }
        if (in_turn && pool.nfree >= npages + spare &&
            (pool.oldest == NO_SLOT || find_run(npages) != NO_SLOT)) {
            take(npages, user, addr);
            break;
        }
        if (in_turn && pool.oldest != NO_SLOT) {
            error = flush(pool.oldest);
            if (error != 0)
                break;
        } else if (nowait) {
            error = -EAGAIN;
            break;
        } else if (ticket == 0 && !second) {
            second = has_window(machine_self());
            ticket = second ? 0 : pool.next_ticket++;
        } else {
            pool_sleep();
        }
    }
    if (ticket != 0) {
        pool.serving++;
        pool_wakeup();
    }
    machine_unlock(&pool_lock);
    return error;
}

int linux_bounce_borrow(vm_frame_t frame, void **addr)
{
    int error = -ENOENT;

    machine_lock(&pool_lock);
    for (;;) {
        uint32_t i = slot_kept(frame);
        if (i == NO_SLOT)
            break;
        if ((pool.slot[i].flags & SLOT_WINDOW) == 0) {
            list_remove(i);
            pool.slot[i].flags |= SLOT_WINDOW;
            pool.slot[i].owner = machine_self();
            *addr = slot_addr(i);
            error = 0;
            break;
        }
        pool_sleep();
    }
    machine_unlock(&pool_lock);
    return error;
}

bool linux_bounce_borrowed(const void *addr)
{
    machine_lock(&pool_lock);
    bool kept = (pool.slot[slot_at(addr)].flags & SLOT_KEPT) != 0;
    machine_unlock(&pool_lock);
    return kept;
}

void linux_bounce_close_window(void **addr, uint32_t npages, const struct machine_run *keep)
{
    machine_lock(&pool_lock);
    for (uint32_t n = 0; n < npages; n++) {
        uint32_t i = slot_at(addr[n]);
        struct slot *slot = &pool.slot[i];
        pool.nahead -= (slot->flags & SLOT_AHEAD) != 0;
        pool.nbehind -= (slot->flags & SLOT_BEHIND) != 0;
        slot->flags &= (uint8_t) ~(SLOT_WINDOW | SLOT_AHEAD | SLOT_BEHIND);
        if (keep != NULL) {
            uint16_t *of = &pool.slot_of[keep->frame[n]];
            if (*of != 0) { /* filled anew before it was mapped */
                uint32_t old = *of - 1u;
                slot_forget(old);
                slot_settle(old);
            }
            slot->frame = keep->frame[n];
            slot->offset = linux_memfd_offset(keep->object, keep->pindex + n);
            slot->flags |= SLOT_KEPT;
            __atomic_store_n(of, (uint16_t)(i + 1), __ATOMIC_RELEASE);
        }
        slot_settle(i);
    }
    machine_unlock(&pool_lock);
}

void linux_bounce_discard(vm_frame_t frame)
{
    if (!linux_bounce_kept(frame))
        return;
    machine_lock(&pool_lock);
    uint32_t i = slot_kept(frame);
    if (i != NO_SLOT) {
        slot_forget(i);
        slot_settle(i);
    }
    machine_unlock(&pool_lock);
}
