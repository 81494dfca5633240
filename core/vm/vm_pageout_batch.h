/*
 * vm_pageout_batch.h: the pages that page-out looks at together: up to PAGEOUT_BATCH pages of one object that
 * belong on one queue and lie in one stretch of the object, around the page at the queue's head.
 *
 *           head                              tail
 *   queue    a7 b1 a3 c9 a4 …   stretch of a7 ─▶   b1 c9 … a3 a4 a7
 *
 * So the hand of this clock sweeps stretches: one harvest and one unmapping serve many neighbours. The pages
 * move to the queue's tail. Pages that came to the queue, or were looked at, a short while ago are left out
 * (vm_page.stamp), so the order stays roughly that in which the pages came.
 */
#ifndef CORE_VM_VM_PAGEOUT_BATCH_H
#define CORE_VM_VM_PAGEOUT_BATCH_H

#include "vm/vm_object.h"
#include "vm/vm_page.h"

/* Pages in a batch, and the stretch of the object that they lie in. */
#define PAGEOUT_BATCH   128
#define PAGEOUT_STRETCH MACHINE_RUN_MAX

struct pageout_batch {
    struct vm_object *object;         /* locked once the batch is picked; NULL: the queue was empty */
    vm_pindex_t pindex;               /* of the page that was at the head */
    vm_pindex_t start, end;           /* the batch's pages lie in [start, end) */
    struct vm_page *m[PAGEOUT_BATCH]; /* in any order */
    uint32_t n;                       /* pages in m */
    uint32_t seen; /* pages of the queue that it stands for: n, or 1 that was passed over */
};

/* Does page m belong on the queue? (O) of its object. */
static inline bool page_on_queue(const struct vm_page *m, enum vm_page_queue queue)
{
    return (m->lru & PL_LRU) != 0 && ((m->lru & PL_ACTIVE) != 0) == (queue == PQ_ACTIVE);
}

/*
 * Picks a batch of at most `max` pages around the head of the queue; an empty one if that page is about to
 * move elsewhere. True: batch->object is locked. False: the queue is empty (batch->object is NULL), or a page
 * was passed over.
 */
FL_NODISCARD bool pageout_batch_pick(struct pageout_batch *batch, enum vm_page_queue queue, uint32_t max)
    FL_TRY_ACQUIRE(true, batch->object->lock);

#endif
