/*
 * vm_page.h: one descriptor for each physical page, and the queues of pages that page-out works on.
 *
 *          vm_page_alloc                   fault or read done
 *   free ────────────────▶ busy, in its object ─────────────▶ active ⇄ inactive   (or wired: on no queue)
 *    ▲                                                           │         │
 *    │                               truncation, end of object   │         │ page daemon: clean,
 *    │                                                           │         │ not referenced
 *    └──────────────────── vm_page_free ◀────────────────────────┴─────────┘
 *                               │ held                              last vm_page_unhold
 *                               └──────▶ orphan: no object, no bytes ──────────────────▶ free
 *
 * Locks. A field's comment names the lock that guards it: (O) the lock of the page's object; (Q) the lock of
 * the queues, vm_queues.lock; (F) vm_phys.lock; (c) none, constant after boot. Clang cannot name a lock that
 * lies in a structure for a field (faultline/thread_safety.h). So functions assert (O) when they run, and the
 * compiler checks (Q) and (F) where a function needs them.
 *
 * A page's identity (object, pindex) changes only under (O), and only while the page is busy and on no queue.
 * So a thread that holds (Q) and finds a page on a queue may read its `object`, and may try that object's
 * lock, but not wait for it. The queue that a page belongs on changes under (O) alone (`lru`). The queue that
 * it is on follows later, in batches, under (Q) alone (`lru_op`, `queue`; vm/lru.h).
 *
 * Holds. A page is held while a system call of the program uses it, which may be for ever. So no thread waits
 * for a hold (docs/locking.md). A held page is not evicted, and keeps its mappings. What the program itself
 * asks for happens at once. A hole that it punches becomes zeros in the held page, which stays where it is. A
 * page that it cuts off, unmaps or drops leaves its object; it is an orphan then, and its frame is left to
 * the last hold (in Linux, to the page's last reference). A hold is taken under (O) of the page's object. It
 * is given back with no lock, because the object may be gone by then: one atomic word says who frees the
 * frame (vm_page_unhold).
 *
 * Invariants:
 *   PG1 A page is in the radix tree of its object at its pindex, or has no object.
 *   PG2 A page on a queue, or with an operation that a batch has still to do (lru_op), has an object and
 *       PL_LRU, and is not wired.
 *   PG3 A page without an object is free, or busy on its way in or out, or an orphan, or the host's (PH6). An
 *       orphan has only holds and their mark VM_HOLD_ORPHAN, which no page in an object has. A page is made
 *       busy by one owner.
 *   PG4 A dirty page is valid, or the pager keeps parts of it (PG_PRIVATE).
 *   PG5 A page in write-back is not free. The code that began the write-back ends it.
 *   PG6 A free page is on no queue, in no batch that counts, not wired, held, read or dirty, and the
 *       pager keeps nothing of it. The same is true of an orphan, but for its holds.
 *   PG7 A page's radix marks RADIX_DIRTY and RADIX_WRITEBACK say what PG_DIRTY and PG_WRITEBACK say, in an
 *       object whose pager keeps its pages (vm_pager_keeps). Elsewhere nothing looks for marked pages: there
 *       are none.
 *   PG8 The queues' links, heads, tails and counts agree with the pages. A page without a lru_op is on
 *       the queue that its PL_LRU and PL_ACTIVE name.
 *   PG9 The counts of wirings, holds and readers never wrap.
 *   PM1 A page that is mapped with the write right is dirty, with every part that the pager keeps of it, or
 *       its object has no `writenotify`, and a harvest finds the store.
 *   PM2 A page that is mapped is valid.
 *
 * Does not do: bytes (pmap.h), mappings (vm_rmap.h), choosing pages to free (vm_pageout.h).
 */
#ifndef CORE_VM_VM_PAGE_H
#define CORE_VM_VM_PAGE_H

#include "lib/lock.h"
#include <faultline/machine.h>
#include <stdatomic.h>

struct vm_object;

/* No page, where a page number (a frame) is kept in 32 bits. */
#define VM_PAGE_NONE UINT32_MAX

enum vm_page_queue {
    PQ_NONE,
    PQ_INACTIVE,
    PQ_ACTIVE,
    PQ_COUNT,
};

/* vm_page.flags, all (O) */
#define PG_BUSY       0x01   /* one thread or transfer owns it: its identity and bytes may be changing */
#define PG_WANTED     0x02   /* a thread sleeps on it until it is not busy, in write-back or read */
#define PG_VALID      0x04   /* the bytes are the object's */
#define PG_DIRTY      0x08   /* newer than the source; anonymous: newer than zeros, until MADV_FREE */
#define PG_WRITEBACK  0x10   /* it is being written to the source */
#define PG_READAHEAD  0x20   /* the mark of read-ahead: its first use starts the next window */
#define PG_INFLIGHT   0x40   /* no thread waits for its transfer: one that needs the page drives it */
#define PG_COPY       0x80   /* a clean copy of the backing object's page, where machine_can_map said no */
#define PG_COPIED     0x100  /* such copies of this page may exist above it */
#define PG_WRITEERROR 0x200  /* the last write failed: dirty still, written again; msync reports it */
#define PG_TESTED     0x400  /* page-out looks whether a fault brings it back: never mapped ahead of one */
#define PG_AHEAD      0x800  /* read together with others, no use known since: the first use is expected */
#define PG_PRIVATE    0x2000 /* the pager keeps parts of it: it may be neither busy nor valid */

/* vm_page.lru, all (O) */
#define PL_LRU        0x1  /* it belongs on a queue */
#define PL_ACTIVE     0x2  /* … and that is the active one */
#define PL_REFERENCED 0x4  /* used once since it came there (mark_page_accessed) */
#define PL_RECLAIM    0x8  /* page-out waits for its write-back: it is the next victim afterwards */
#define PL_YOUNG      0x10 /* used through a mapping since page-out looked: vm_harvest found it */
/* A stream has used it, and will not again: until a fault or a read, no use counts. */
#define PL_PASSED 0x20

struct vm_page {
    struct vm_object *object; /* (O) */
    union {
        vm_pindex_t pindex; /* (O) */
        void *owner;        /* of a frame of the host's (vm_frames.c): its own word */
    };
    /* (Q) neighbours on the queue, by page number; (F) in vm_phys's free lists */
    uint32_t q_next;
    uint32_t q_prev;
    /* The fields of one word have one lock: a compiler may read all of them for one, and TSan sees that. */
    uint16_t flags;      /* (O) PG_* */
    uint16_t wire_count; /* (O) mlock: not evicted, though mappings may come and go */
    uint32_t private;    /* (O) the pager's own, with PG_PRIVATE */
    uint8_t lru;         /* (O) PL_* */
    uint8_t readers;     /* (O) copies of its bytes that the core is making */
    /* Grows under (O), falls with no lock: system calls that use the page, | VM_HOLD_ORPHAN */
    _Atomic uint16_t hold_count;
    uint8_t queue; /* (Q) enum vm_page_queue */
    uint8_t order; /* (F) of the free block that the page heads; VM_PHYS_NOFREE or _HOST otherwise */
    /* Set under (O), taken under (Q): what a batch has still to do with the page (vm/lru.h) */
    _Atomic uint8_t lru_op;
    uint8_t stamp; /* (O) its queue's clock when it came to the tail; of a page at the head an older one */
};
#define VM_HOLD_ORPHAN UINT16_C(0x8000) /* the page left its object: the last hold frees it */
_Static_assert(sizeof(struct vm_page) == 40, "page + radix nodes + reservation: less than 72 bytes a page");

#define VM_QUEUE_TICKS 16

struct vm_page_queues {
    struct vm_lock lock; /* (Q) */
    struct {
        uint32_t head, tail; /* page numbers; head is the oldest */
        uint32_t count;      /* pages */
        uint32_t fresh;      /* pages that came to the tail since the last tick of the clock */
        /*
         * Ticks VM_QUEUE_TICKS times while as many pages come to the tail as the queue has. So it tells which
         * of two pages came first, roughly, without a look at the queue. Read without (Q).
         */
        _Atomic uint8_t clock;
    } q[PQ_COUNT];  /* (Q) */
    uint32_t wired; /* (Q) pages with a wire_count, which are on no queue */
};

extern struct vm_page *vm_page_array; /* (c) [vm_page_count] */
extern uint32_t vm_page_count;        /* (c) */
extern struct vm_page_queues vm_queues;

/*
 * Dirty pages of all objects whose dirty pages have a home, together (vm_object.dirty_count). No lock;
 * writers are throttled by it.
 */
extern _Atomic uint32_t vm_page_dirty_count;

/*
 * Lays out the descriptors of nframes pages in the metadata memory; all pages are free afterwards. Errors:
 * -ENOMEM. Context: boot.
 */
FL_NODISCARD int vm_page_startup(uint32_t nframes, bool superpages);

static inline vm_frame_t vm_page_frame(const struct vm_page *m)
{
    return (vm_frame_t)(m - vm_page_array);
}
static inline struct vm_page *vm_page_of(vm_frame_t frame)
{
    return &vm_page_array[frame];
}

/* ---- allocation and identity. (O) held. --------------------------------------------------------------- */

#define VM_ALLOC_NORMAL    0x0 /* leaves the reserve, vm_pageout.free_reserved pages */
#define VM_ALLOC_SYSTEM    0x1 /* for what lets page-out go on: may take the last page */
#define VM_ALLOC_READAHEAD 0x2 /* leaves vm_pageout.free_min pages */

/*
 * A new page at pindex of the object, where none is: busy, not valid. NULL: no page is free (the caller
 * unlocks and calls vm_wait), or no memory for the radix tree. Wakes the page daemon when fewer than
 * vm_pageout.free_wakeup pages are free. Takes the frame from a reservation, or from vm_phys, or breaks a
 * reservation. (vm_page_alloc, FreeBSD 11.)
 */
FL_NODISCARD struct vm_page *vm_page_alloc(struct vm_object *object, vm_pindex_t pindex, unsigned req);

/*
 * Takes busy page m out of its object and off its queue, gives its bytes back to the machine and frees the
 * frame; a held page becomes an orphan. The page is not wired, mapped, in write-back or read. Wakes threads
 * that sleep on it, which find it gone.
 */
void vm_page_free(struct vm_page *m);
/*
 * vm_page_free for pages[0 … npages) of one object, in any order; neighbours go to the machine as one run.
 * Overwrites the array.
 */
void vm_page_free_batch(struct vm_page **pages, uint32_t npages);
/* vm_page_free_batch for pages whose bytes the machine has back already (pmap_release). */
void vm_page_free_released(struct vm_page **pages, uint32_t npages);

/* Puts busy page m at pindex of the object, where none is. Its queue does not change. Errors: -ENOMEM. */
FL_NODISCARD int vm_page_insert(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex);
/* Takes busy page m, which belongs on no queue, out of its object. */
void vm_page_remove(struct vm_page *m);

/*
 * Busy m, in no write-back and not wired, becomes page pindex of `object`, where none is, with its frame,
 * bytes, dirtiness and holds. Mappings through entries of `object` stay right. (O) of both objects, of which
 * the machine can map the one's pages for the other. Errors: -ENOMEM, nothing changed. (vm_page_rename, BSD.)
 */
FL_NODISCARD int vm_page_rename(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex);

/* The page at pindex, busy or not, or NULL. */
FL_NODISCARD struct vm_page *vm_page_lookup(const struct vm_object *object, vm_pindex_t pindex);
/* The page with the least index >= pindex, or NULL. */
FL_NODISCARD struct vm_page *vm_page_find_least(const struct vm_object *object, vm_pindex_t pindex);

/* m[0 … max): the first pages of [start, end), by rising index. Returns how many. */
FL_NODISCARD uint32_t vm_page_lookup_range(const struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                           struct vm_page **m, uint32_t max);

/* The first page of [start, end) that is held or, with `wired`, wired. NULL: none. */
FL_NODISCARD struct vm_page *vm_page_find_pinned(const struct vm_object *object, vm_pindex_t start,
                                                 vm_pindex_t end, bool wired);

/* ---- busy. (O) held. ---------------------------------------------------------------------------------- */

/* The caller becomes the owner of page m, which is not busy. */
void vm_page_xbusy(struct vm_page *m);
/* The owner gives the page back. Wakes threads that sleep on it. */
void vm_page_xunbusy(struct vm_page *m);
/*
 * A transfer for which no thread waits is about to start: a read of busy page m, or a write of m, which is in
 * write-back. Threads that sleep on the page wake and drive the transfer: with some sources it would not end
 * otherwise.
 */
void vm_page_inflight(struct vm_page *m);
/*
 * Sleeps on page m, which is busy, in write-back or read, until its state may have changed; drives its
 * transfer if one is in flight. (O) is released in between, so the page may be gone: the caller looks
 * everything up again.
 */
void vm_page_busy_sleep(struct vm_page *m);

/* ---- dirty. (O) held. --------------------------------------------------------------------------------- */

/* All of valid page m becomes dirty, with the parts that the pager keeps. It is no clean copy any more. */
void vm_page_dirty(struct vm_page *m);
/* The same for a page of which the pager has marked the dirty parts itself. */
void __set_page_dirty(struct vm_page *m);
/* The page becomes clean, after vm_harvest_clean; or it is about to go. */
void vm_page_undirty(struct vm_page *m);

/* ---- write-back. (O) held. ---------------------------------------------------------------------------- */

/* Begins: sets PG_WRITEBACK and the radix mark. */
void vm_page_writeback_start(struct vm_page *m);
/* Ends: clears both, and wakes threads that sleep on the page. With PL_RECLAIM it is the next victim. */
void vm_page_writeback_done(struct vm_page *m);

/* ---- the queues themselves. A caller that has a page to move goes through vm/lru.h. -------------------- */

/* (Q). (FreeBSD has a lock for each page here.) */
void vm_page_lock(struct vm_page *m) FL_ACQUIRE(vm_queues.lock);
void vm_page_unlock(struct vm_page *m) FL_RELEASE(vm_queues.lock);
/* From no queue to the tail, or the head, of this one. */
void vm_page_enqueue(struct vm_page *m, enum vm_page_queue queue) FL_REQUIRES(vm_queues.lock);
void vm_page_enqueue_head(struct vm_page *m, enum vm_page_queue queue) FL_REQUIRES(vm_queues.lock);
/* Off the queue that it is on. */
void vm_page_dequeue(struct vm_page *m) FL_REQUIRES(vm_queues.lock);
/* Off the queue that it is on, if it is on one. */
void vm_page_remque(struct vm_page *m) FL_REQUIRES(vm_queues.lock);

/* ---- wired, read, held. (O) held, but for vm_page_unhold. ---------------------------------------------- */

/* Wires the page once more. A wired page is on no queue. */
void vm_page_wire(struct vm_page *m);
/* Undoes one vm_page_wire. The last one puts the page on `queue`, or on none (PQ_NONE). */
void vm_page_unwire(struct vm_page *m, enum vm_page_queue queue);

/*
 * The core is going to copy the page's bytes with (O) released: until the reader is dropped the page is not
 * freed. A copy is short and waits for nothing, so a thread that frees the page may wait for it
 * (vm_page_busy_sleep). At most VM_READERS_MAX at a time.
 */
#define VM_READERS_MAX UINT8_MAX
void vm_page_reader_add(struct vm_page *m);
void vm_page_reader_drop(struct vm_page *m);

/* A system call of the program is going to use the page. */
void vm_page_hold(struct vm_page *m);
/* It does not any more. The last one frees an orphan. Context: any thread, no lock needed. */
void vm_page_unhold(struct vm_page *m);

/* ---- bytes. The pages are busy; no lock held. ---------------------------------------------------------- */

/* The page becomes zeros, and valid. Errors: -ENOMEM (no object window). */
FL_NODISCARD int vm_page_zero_fill(struct vm_page *m);
/* dst becomes a copy of src, and valid. Errors: -ENOMEM (no object window). */
FL_NODISCARD int vm_page_copy(struct vm_page *src, struct vm_page *dst);

/*
 * Panics unless PG1 … PG9 are true of every page; calls vm_phys_check and vm_reserv_check. Does what the
 * batches have collected first. Context: nothing else runs.
 */
void vm_page_check_all(void);

#endif
