/*
 * transfer.h: one transfer of a run of pages between memory and a store.
 *
 *   transfer_get_pages ──┐                                         ┌─ synchronous: its caller waits for it
 *   transfer_readahead ──┼─▶ struct transfer: pages, window, bio ──┤
 *   transfer_writepages ─┘                                         └─ asynchronous: on object->inflight until
 *                                                                     it ends; transfer_wait may drive it
 *
 * A page in a read:   busy ─▶ busy + inflight ─▶ valid and not busy; or, when the read failed, freed
 * In an async write:  write-back ─▶ write-back + inflight ─▶ clean; or, when the write failed, dirty
 *
 * Locks: (O) → (I) transfer_list_lock → (X) transfer->lock. Windows are opened and bios submitted with no
 * lock held.
 * Invariants: PR1 a transfer on object->inflight has a pip of its object,
 * and its pages are busy, or in write-back, with PG_INFLIGHT. PR2 a transfer
 * ends once. PR3 a transfer is not freed while a thread waits for it.
 */
#ifndef CORE_FILE_TRANSFER_H
#define CORE_FILE_TRANSFER_H

#include "file/block.h"
#include "vm/vm_object.h"

struct transfer {
    struct bio bio; /* the first field: end_io finds the transfer by it */
    struct vm_object *object;
    struct transfer *next, *prev;         /* (O) object->inflight, oldest first; its prev is the newest */
    struct transfer *all_next, *all_prev; /* (I) the list of all asynchronous transfers */
    struct vm_lock lock;                  /* (X); its address is the channel */
    vm_pindex_t pindex;                   /* of its first page */
    uint32_t npages;
    /* (O) Threads in transfer_wait, and the submission until the store has it. The last of them frees it. */
    uint32_t waiters;
    bool submitted; /* (X) bio_wait may be called */
    int error;      /* (X) */
    bool finished;  /* (X) */
    vm_frame_t frame[MACHINE_RUN_MAX];
    void *addr[MACHINE_RUN_MAX];
};

void transfer_startup(void);

/*
 * Reads m[0 … count), busy neighbours of one object, of which m[reqpage] is the page that is needed. The
 * object has a pip; no lock held on entry and return. On success all are valid; m[reqpage] stays busy, and
 * the others are not busy and on the inactive queue. On failure the others are freed, and m[reqpage] stays
 * busy and not valid. Errors: the store's; -ENXIO beyond the end; -ENOMEM.
 */
FL_NODISCARD int transfer_get_pages(struct vm_object *object, struct vm_page **m, uint32_t count,
                                    uint32_t reqpage) FL_EXCLUDES(object->lock);

/*
 * Starts to read m[0 … count), busy neighbours, and returns. The transfer
 * goes into the plug; NULL: it starts at once. It takes its own pip. Without
 * a window or memory the pages are freed, and nothing is read. No lock held.
 */
void transfer_readahead(struct vm_object *object, struct vm_page **m, uint32_t count, struct blk_plug *plug)
    FL_EXCLUDES(object->lock);

/*
 * Waits for the oldest transfer in flight that moves one of the pages [start, end), and drives it. False:
 * there is none. (O) held on entry and return, released in between. A transfer in a plug ends only after the
 * plug's owner has finished the plug: the caller must not wait for one in its own.
 */
FL_NODISCARD bool transfer_wait(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);

/*
 * Starts to write m[0 … count), neighbours of one object that the caller has undirtied, after
 * vm_harvest_clean, and put in write-back; they are valid. The transfer goes into the plug; NULL: it starts
 * at once. It takes its own pip and is on object->inflight, so that a thread that sleeps for one of the pages
 * drives it. At its end the pages leave write-back: clean (rotate_reclaimable_page), or dirty again with
 * PG_WRITEERROR, and the vnode has the error. Without a window for one more transfer, finishes the plug and
 * waits for older ones; when there is none, or no memory, writes in smaller pieces and at last synchronously.
 * No lock held.
 */
void transfer_writepages(struct vm_object *object, struct vm_page **m, uint32_t count, struct blk_plug *plug)
    FL_EXCLUDES(object->lock);

/* Transfers of any kind that are under way: a hint. Any lock. */
FL_NODISCARD uint32_t transfers_active(void);
/*
 * Waits for the oldest asynchronous transfer of any object, so that its pages and its window become usable.
 * False: there is none, or each is in a plug or its object is locked. No lock held.
 */
FL_NODISCARD bool transfer_wait_any(void);

#endif
