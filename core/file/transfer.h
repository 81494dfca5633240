/*
 * transfer.h: one transfer of a run of pages between memory and a store.
 *
 *   transfer_get_pages ─┐                                    ┌─ synchronous: the caller's, which waits
 *   transfer_readahead ─┼─▶ struct transfer: pages, windows, bio ─┤
 *   transfer_writepages ┘                                    └─ asynchronous: on object->inflight, until
 *                                                               transfer_wait drives it, or it just ends
 *
 * States of a page in a read: busy ─▶ busy + inflight ─▶ (done) valid, busy ─▶ not busy; or (failed) freed.
 * In an asynchronous write: write-back ─▶ write-back + inflight ─▶ (done) clean; or (failed) dirty.
 *
 * Locks: (O) → (I) transfer_list.lock → (q) transfer->lock. Windows are opened and bios submitted with no
 * lock held. The functions serve the vnode's row of pagertab (vm/vm_pager.h).
 */
#ifndef CORE_FILE_TRANSFER_H
#define CORE_FILE_TRANSFER_H

#include "file/block.h"
#include "vm/vm_object.h"

struct transfer {
    struct bio bio;
    struct vm_object *object;
    struct transfer *next, *prev;         /* (O) object->inflight, oldest first; the oldest's prev is
                                                     the newest */
    struct transfer *all_next, *all_prev; /* (I) every asynchronous request */
    struct vm_lock lock;                  /* (q) guards error, finished; its address is the channel */
    vm_pindex_t pindex;
    uint32_t npages;
    /* (O) threads that need the request to stay: those in transfer_wait, and the one that submits it; the
       last one frees it */
    uint32_t waiters;
    bool submitted; /* (q) bio_wait may be called */
    int error;      /* (q) */
    bool finished;  /* (q) */
    vm_frame_t frame[MACHINE_RUN_MAX];
    void *addr[MACHINE_RUN_MAX];
};

void transfer_startup(void);

/*
 * Reads m[0 … count), busy neighbours of one object, of which m[reqpage] is the one that is needed. The
 * object has a pip; no lock held on entry and return. On success all are valid, m[reqpage] stays busy, the
 * others are not busy and on the inactive queue. On failure the others are freed, m[reqpage] stays busy and
 * not valid. Errors: -EIO (or what the store said), -ENXIO beyond the end, -ENOMEM.
 */
FL_NODISCARD int transfer_get_pages(struct vm_object *object, struct vm_page **m, uint32_t count,
                                    uint32_t reqpage);

/*
 * Starts to read m[0 … count), busy neighbours, and returns; the transfer goes into the plug, or, NULL,
 * starts at once. Takes its own pip. When there is no window or memory, frees the pages and forgets it: it
 * was a wish.
 */
void transfer_readahead(struct vm_object *object, struct vm_page **m, uint32_t count, struct blk_plug *plug);

/*
 * Waits for the oldest transfer in flight that moves one of the pages [start, end), and drives it. False:
 * there is none. (O) held on entry and return, released in between. A transfer that is in a plug ends only
 * after the plug's owner has finished that: the caller must not wait for one in its own.
 */
FL_NODISCARD bool transfer_wait(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);

/*
 * Starts to write m[0 … count), neighbours of one object that are valid, PG_WRITEBACK, undirtied and
 * write-protected by the caller; the transfer goes into the plug, or, NULL, starts at once. It takes its own
 * pip and hangs on object->inflight, so that a thread that sleeps for one of the pages drives it. At its end
 * the pages leave write-back, clean (rotate_reclaimable_page), or dirty again with PG_WRITEERROR, and the
 * error is the vnode's. When there is no window for one more, finishes the plug and waits for older
 * transfers; when there are none, or no memory, waits for this one. No lock held.
 */
void transfer_writepages(struct vm_object *object, struct vm_page **m, uint32_t count, struct blk_plug *plug);

/* Transfers of any kind that are on their way now: a hint. */
FL_NODISCARD uint32_t transfers_active(void);
/*
 * Waits for the oldest of the transfers that nobody need wait for, whoever began it, so that its pages and
 * windows become usable. False: there is none but in plugs, or their objects are locked. No lock held.
 */
FL_NODISCARD bool transfer_wait_any(void);

#endif
