/*
 * vm_page.h: one descriptor for each physical page, and the queues that page-out works on.
 *
 *                     vm_page_alloc                    fault done
 *        free (vm_phys) ─────────▶ busy, in its object ──────────▶ active ⇄ inactive
 *             ▲                                                       │ wire      │ clean, not referenced
 *             │                                                       ▼           │
 *             └──────────────────────── vm_page_free ◀──── wired (no queue)       │
 *             └────────────────────────────────────────────────── page daemon ◀───┘
 *
 *        held: a system call of the program's uses it. Whoever frees it waits for nobody:
 *          in its object ── vm_page_free ──▶ orphan (no object, no bytes) ── last vm_page_unhold ──▶ free
 *
 * Locks. (O) the page's object's lock. (Q) the page queues' lock, vm_page_queue_lock. (F) vm_phys's lock.
 * (c) constant. A page's identity (object, pindex) changes only under (O), and only while the page is busy
 * and in no queue: so whoever holds (Q) and finds the page in a queue may read `object` and try (not wait
 * for) its lock. What a page's queue is to be changes under (O) alone (`lru`); what it is follows in batches,
 * under (Q) alone (`lru_op`, `queue`; vm/lru.h).
 *
 * Holds. A hold lasts as long as a system call of the program, which may be for ever: so nobody waits for one
 * (docs/locking.md). What is held is neither paged out nor write-protected. What the program itself asks for
 * happens at once: a hole becomes zeros in the page where it is; what is cut off, unmapped or dropped takes
 * its page out of its object, and the page, an orphan then, is left to its last user (Linux: a page's last
 * reference). New holds are taken under (O) of the page's object; they are given back with no lock, because
 * the object may be gone by then: one atomic word says who frees the page (vm_page_unhold).
 *
 * Invariants: P1 a page is in the radix tree of its object at its pindex, or has no object. P2 a page on a
 * queue, or with a lru_op, has an object, PL_LRU and wire_count 0. P3 a page without an object is free,
 * or busy on its way in or out, or an orphan. P4 dirty implies valid, or PG_PRIVATE. P5 PG_WRITEBACK implies
 * not free, and is cleared by whoever set it. P6 a free page is on no queue, not wired, not held, not read,
 * not dirty; an orphan too, but for its holds. P7
 * the marks RADIX_DIRTY and RADIX_WRITEBACK of a page say what its flags PG_DIRTY and PG_WRITEBACK say.
 * P8 the queues' links, heads, tails and counts agree with the pages, and a page without a lru_op is on
 * the queue that its PL_LRU and PL_ACTIVE say. P9 the wire, hold and reader counts never wrap.
 *
 * Does not do: bytes (pmap.h), mappings (vm_rmap.h).
 */
#ifndef CORE_VM_VM_PAGE_H
#define CORE_VM_VM_PAGE_H

#include "lib/lock.h"
#include <faultline/machine.h>
#include <stdatomic.h>

struct vm_object;

#define VM_PAGE_NONE UINT32_MAX

enum vm_page_queue {
    PQ_NONE,
    PQ_INACTIVE,
    PQ_ACTIVE,
    PQ_COUNT,
};

/* vm_page.flags, all (O) */
#define PG_BUSY       0x01  /* exclusively somebody's: identity and bytes are in change (vm_page_xbusy) */
#define PG_WANTED     0x02  /* somebody sleeps on it until it is not busy, in write-back, or read */
#define PG_VALID      0x04  /* the bytes are the object's */
#define PG_DIRTY      0x08  /* newer than the store; anonymous: newer than zeros, until MADV_FREE */
#define PG_WRITEBACK  0x10  /* a write to the store is on its way */
#define PG_READAHEAD  0x20  /* the mark: whoever touches it starts the next read-ahead window */
#define PG_INFLIGHT   0x40  /* busy or in write-back by a transfer that whoever needs the page drives */
#define PG_COPY       0x80  /* a clean copy of the backing object's page, where machine_can_map said no */
#define PG_COPIED     0x100 /* such copies of this page may exist above it */
#define PG_WRITEERROR 0x200 /* the last write failed: still dirty, tried again; msync reports it */
#define PG_TESTED                                                                                            \
    0x400 /* the page daemon unmapped it to see whether a fault brings it back: not mapped ahead of one */
#define PG_AHEAD                                                                                             \
    0x800 /* came along with a read and was not touched since, as far as is known: a first touch is no sign of reuse */
#define PG_PRIVATE 0x2000 /* the pager keeps parts of it: perhaps not valid, and yet not busy */

/* vm_page.lru, all (O) */
#define PL_LRU        0x1 /* on a queue, or on its way there */
#define PL_ACTIVE     0x2 /* and that is the active one */
#define PL_REFERENCED 0x4 /* used once since it came there (mark_page_accessed) */
#define PL_RECLAIM    0x8 /* page-out waits for its write-back: the next victim when that is over */

struct vm_page {
    struct vm_object *object; /* (O) */
    vm_pindex_t pindex;       /* (O) */
    uint32_t q_next;          /* (Q) page numbers; on the free lists (F) */
    uint32_t q_prev;          /* (Q), (F) */
    /* What has one lock is one word: a compiler may read neighbours along, and TSan sees it. */
    uint16_t flags;      /* (O) PG_* */
    uint16_t wire_count; /* (O) mlock: not paged out, mappings may still come and go */
    uint32_t private;    /* (O) PG_PRIVATE: the pager's own */
    uint8_t lru;         /* (O) PL_* */
    uint8_t readers;     /* (O) copies of its bytes that the core is making: whoever frees it waits */
    /* Grows under (O), falls with no lock: system calls that use it, | VM_HOLD_ORPHAN */
    _Atomic uint16_t hold_count;
    uint8_t queue;          /* (Q) enum vm_page_queue */
    uint8_t order;          /* (F) of the free block that the page heads; VM_PHYS_NOFREE otherwise */
    _Atomic uint8_t lru_op; /* set (O), taken (Q): what a batch has still to do with the page (vm/lru.h) */
    uint8_t pad;
};
#define VM_HOLD_ORPHAN UINT16_C(0x8000) /* it left its object: the last hold frees it */
_Static_assert(sizeof(struct vm_page) == 40,
               "page + radix nodes + reservation stay below 72 bytes for each page");

struct vm_page_queues {
    struct vm_lock lock; /* (Q) */
    struct {
        uint32_t head, tail; /* page numbers; head is the oldest */
        uint32_t count;
    } q[PQ_COUNT];  /* (Q) */
    uint32_t wired; /* (Q) pages with a wire_count, which are on no queue */
};

extern struct vm_page *vm_page_array; /* (c) [vm_page_count] */
extern uint32_t vm_page_count;        /* (c) */
extern struct vm_page_queues vm_queues;

/* Lays out the descriptors in the metadata memory; all pages are free afterwards. Errors: -ENOMEM. */
FL_NODISCARD int vm_page_startup(uint32_t nframes, bool superpages);

static inline vm_frame_t vm_page_frame(const struct vm_page *m)
{
    return (vm_frame_t)(m - vm_page_array);
}
static inline struct vm_page *vm_page_of(vm_frame_t frame)
{
    return &vm_page_array[frame];
}

/* ---- allocation. Callers hold the object's lock. ----------------------------------------------------- */

#define VM_ALLOC_NORMAL    0x0 /* fails when only the reserve is left */
#define VM_ALLOC_SYSTEM    0x1 /* page-out itself: may use the reserve */
#define VM_ALLOC_READAHEAD 0x2 /* fails as soon as the page daemon has work */

/*
 * A page for (object, pindex), which has none: busy, not valid, inserted in the object. NULL: no page (the
 * caller unlocks and calls vm_wait), or no memory for the radix tree. Wakes the page daemon when free pages
 * are below low water. Takes it from a reservation, else from vm_phys, else breaks a reservation
 * (freebsd11-page-fault.md).
 */
FL_NODISCARD struct vm_page *vm_page_alloc(struct vm_object *object, vm_pindex_t pindex, unsigned req);

/*
 * Takes a busy, unwired page without mappings, which nobody reads, out of its object and queue, gives its
 * bytes back (machine_release) and frees it; one that is held becomes an orphan. Wakes its waiters.
 */
void vm_page_free(struct vm_page *m);
/* vm_page_free for npages pages, sorted or not; neighbours go to the machine as one run. All of one
 * object. */
void vm_page_free_batch(struct vm_page **pages, uint32_t npages);
/* vm_page_free_batch for pages whose bytes the machine has back already (pmap_release). */
void vm_page_free_released(struct vm_page **pages, uint32_t npages);

/* Puts a page into (object, pindex) / takes it out, not touching its queue. Errors: -ENOMEM. */
FL_NODISCARD int vm_page_insert(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex);
void vm_page_remove(struct vm_page *m);

/* The page at pindex, busy or not, or NULL. */
FL_NODISCARD struct vm_page *vm_page_lookup(const struct vm_object *object, vm_pindex_t pindex);
/* The page with the least index >= pindex, or NULL. */
FL_NODISCARD struct vm_page *vm_page_find_least(const struct vm_object *object, vm_pindex_t pindex);

/* ---- busy. Callers hold the object's lock. ----------------------------------------------------------- */
void vm_page_xbusy(struct vm_page *m);   /* the page was not busy */
void vm_page_xunbusy(struct vm_page *m); /* wakes whoever waits */
/* A transfer that nobody waits for, a read of the busy page or a write of the one in write-back, is about to
 * start. Whoever sleeps for the page looks again, and drives it: with some stores it would not end
 * otherwise. */
void vm_page_inflight(struct vm_page *m);
/* Sleeps, with the object unlocked meanwhile, until the page's state changed; drives its transfer if one
 * is in flight. The caller looks everything up again. */
void vm_page_busy_sleep(struct vm_page *m);

/* Dirty pages of files, of all objects together (vm_object.dirty_count). What writers are throttled by. */
extern _Atomic uint32_t vm_page_dirty_files;

/* ---- dirtiness. Callers hold the object's lock. ------------------------------------------------------ */
/* Sets PG_DIRTY and the radix mark; PG_COPY goes. All of the valid page: with buffer heads, each of them. */
void vm_page_dirty(struct vm_page *m);
void __set_page_dirty(struct vm_page *m); /* the same, for who has said of its buffer heads which are dirty */
void vm_page_undirty(struct vm_page *m);  /* clears both; the caller has write-protected every mapping */

/* ---- write-back. Callers hold the object's lock. ----------------------------------------------------- */
void vm_page_writeback_start(struct vm_page *m); /* sets PG_WRITEBACK and the radix mark */
void vm_page_writeback_done(struct vm_page *m);  /* clears both and wakes whoever waits */

/* ---- queues: the lists themselves. Who has a page to move goes through vm/lru.h. ------------------- */
void vm_page_lock(struct vm_page *m) FL_ACQUIRE(vm_queues.lock);
void vm_page_unlock(struct vm_page *m) FL_RELEASE(vm_queues.lock);
/* From no queue to this one's tail / head / from the queue it is on / the same, if it is on one. */
void vm_page_enqueue(struct vm_page *m, enum vm_page_queue queue) FL_REQUIRES(vm_queues.lock);
void vm_page_enqueue_head(struct vm_page *m, enum vm_page_queue queue) FL_REQUIRES(vm_queues.lock);
void vm_page_dequeue(struct vm_page *m) FL_REQUIRES(vm_queues.lock);
void vm_page_remque(struct vm_page *m) FL_REQUIRES(vm_queues.lock);

/* ---- wiring, reading and holding. Callers hold the object's lock, but for the unhold. ----------------- */
void vm_page_wire(struct vm_page *m);                             /* off its queue while wire_count > 0 */
void vm_page_unwire(struct vm_page *m, enum vm_page_queue queue); /* the last one puts it on queue */
/*
 * The core copies the page's bytes to somebody, with (O) released: the page stays as it is meanwhile, which
 * is short and waits for nobody; so whoever frees it may wait (vm_page_busy_sleep). At most VM_READERS_MAX.
 */
#define VM_READERS_MAX UINT8_MAX
void vm_page_reader_add(struct vm_page *m);
void vm_page_reader_drop(struct vm_page *m);
void vm_page_hold(struct vm_page *m);
/* No lock needed. The last one frees an orphan. */
void vm_page_unhold(struct vm_page *m);

/* ---- bytes. The page is busy; no lock held. ---------------------------------------------------------- */
/* m becomes zeros / dst (busy too) what src is; and valid. Errors: -ENOMEM (no window). */
FL_NODISCARD int vm_page_zero_fill(struct vm_page *m);
FL_NODISCARD int vm_page_copy(struct vm_page *src, struct vm_page *dst);

/*
 * Drains the batches; P1 … P9 for every page, and vm_phys_check, vm_reserv_check. Context: nothing else runs.
 */
void vm_page_check_all(void);

#endif
