/*
 * vm_pager.h: moving an object's pages between memory and its source.
 *
 *   vm_pager_get_pages ──▶ pagertab[object->type] ──▶ vnode_pager ──▶ store
 *
 * A transfer is a vm_pager_request: a run of pages of one object, their windows, and a bio. A synchronous one
 * belongs to the caller; an asynchronous one hangs on object->inflight until somebody needs one of its pages,
 * and is then driven by that thread (vm_pager_wait).
 * Locks: (O) → (I) vm_pager_async.lock → (q) request->lock. Windows are opened and bios submitted with no
 * lock held.
 * States of a page in a read: busy ─▶ busy + inflight ─▶ (done) valid, busy ─▶ not busy; or (failed) freed.
 * In an asynchronous write: write-back ─▶ write-back + inflight ─▶ (done) clean; or (failed) dirty.
 */
#ifndef CORE_VM_VM_PAGER_H
#define CORE_VM_VM_PAGER_H

#include "file/block.h"
#include "vm/vm_object.h"

struct vm_pager_request {
    struct bio bio;
    struct vm_object *object;
    struct vm_pager_request *next, *prev;         /* (O) object->inflight, oldest first; the oldest's prev is
                                                     the newest */
    struct vm_pager_request *all_next, *all_prev; /* (I) every asynchronous request */
    struct vm_lock lock;                          /* (q) guards error, finished; its address is the channel */
    vm_pindex_t pindex;
    uint32_t npages;
    /* (O) threads that need the request to stay: those in vm_pager_wait, and the one that submits it; the
       last one frees it */
    uint32_t waiters;
    bool submitted; /* (q) bio_wait may be called */
    int error;      /* (q) */
    bool finished;  /* (q) */
    vm_frame_t frame[MACHINE_RUN_MAX];
    void *addr[MACHINE_RUN_MAX];
};

/* One kind of source. */
struct pagerops {
    struct vm_object *(*alloc)(struct vnode *vnode, vm_pindex_t size);
    bool (*haspage)(struct vm_object *object, vm_pindex_t pindex, uint32_t *before, uint32_t *after);
    /* starts the transfer, or puts it into the plug; bio.end_io says when it is over */
    void (*strategy)(struct vm_pager_request *request, struct blk_plug *plug);
};

void vm_pager_startup(void);

/*
 * The object of the vnode with a reference for the caller, made if there is none (vnode_pager_alloc). NULL:
 * no memory.
 */
FL_NODISCARD struct vm_object *vm_pager_allocate(enum vm_object_type type, struct vnode *vnode,
                                                 vm_pindex_t size);

/*
 * Whether the source has page pindex; *before and *after: how many neighbours on each side one transfer may
 * bring too. (O) held.
 */
FL_NODISCARD bool vm_pager_has_page(struct vm_object *object, vm_pindex_t pindex, uint32_t *before,
                                    uint32_t *after);

/*
 * Reads m[0 … count), busy neighbours of one object, of which m[reqpage] is the one that is needed. The
 * object has a pip; no lock held on entry and return. On success all are valid, m[reqpage] stays busy, the
 * others are not busy and on the inactive queue. On failure the others are freed, m[reqpage] stays busy and
 * not valid. Errors: -EIO (or what the store said), -ENXIO beyond the end, -ENOMEM.
 */
FL_NODISCARD int vm_pager_get_pages(struct vm_object *object, struct vm_page **m, uint32_t count,
                                    uint32_t reqpage);

/*
 * Starts to read m[0 … count), busy neighbours, and returns; the transfer goes into the plug, or, NULL,
 * starts at once. Takes its own pip. When there is no window or memory, frees the pages and forgets it: it
 * was a wish.
 */
void vm_pager_readahead(struct vm_object *object, struct vm_page **m, uint32_t count, struct blk_plug *plug);

/*
 * Returns when the transfer in flight that covers pindex, if any, is over. (O) held on entry and return,
 * released in between. One that is in a plug still is over when its owner has finished that: not the caller's
 * own.
 */
void vm_pager_wait(struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(object->lock);

/*
 * Writes m[0 … count), neighbours of one object that are valid, PG_WRITEBACK, undirtied and write-protected
 * by the caller. No lock held on entry and return. Afterwards PG_WRITEBACK is clear; on failure they are
 * dirty again, with PG_WRITEERROR. Errors: the store's.
 */
FL_NODISCARD int vm_pager_put_pages(struct vm_object *object, struct vm_page **m, uint32_t count);

/*
 * vm_pager_put_pages without the wait: the transfer goes into the plug, or, NULL, starts at once. It takes
 * its own pip and hangs on object->inflight, so that whoever sleeps for one of the pages drives it; at its
 * end the pages leave write-back (rotate_reclaimable_page), or are dirty again with PG_WRITEERROR and the
 * error is the vnode's. When there is no window for one more, finishes the plug and waits for older
 * transfers; when there are none, or no memory, waits for this one.
 */
void vm_pager_writepages(struct vm_object *object, struct vm_page **m, uint32_t count, struct blk_plug *plug);

/* Transfers of any kind that are on their way now: a hint. */
FL_NODISCARD uint32_t vm_pager_active(void);
/*
 * Waits for the oldest of the transfers that nobody need wait for, whoever began it, so that its pages and
 * windows become usable. False: there is none but in plugs, or their objects are locked. No lock held.
 */
FL_NODISCARD bool vm_pager_wait_any(void);

#endif
