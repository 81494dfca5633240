/*
 * vm_pageout_batch.c: which pages page-out looks at next.
 *
 *   (Q)  the page at the head ─▶ its object's lock is tried ─▶ (O)  the stretch ─▶ (Q)  to the tail
 *
 * Which pages are due. A queue's clock ticks VM_QUEUE_TICKS times while as many pages come to its tail as it
 * has. A page is due before it comes to the head when it came, or was looked at, so many ticks ago:
 *
 *   active                          half of the queue's length
 *   inactive                        three quarters
 *   read ahead and not used yet     all of it: it waits for its use
 *
 * Locks: (Q), then the object's lock is tried; (O), then (Q).
 * Loops: each try follows a moment in which another thread had the object.
 */
#include "vm/vm_pageout_batch.h"
#include "lib/kassert.h"
#include "vm/lru.h"
#include "vm/vm_pageout.h"

/* Tries to lock the object of the next page; after the first PAGEOUT_SPINS it waits between them. */
#define PAGEOUT_TRIES 64
#define PAGEOUT_SPINS 8

/* Ticks of the queue's clock. */
#define PAGEOUT_DUE          (VM_QUEUE_TICKS / 2)
#define PAGEOUT_DUE_INACTIVE (VM_QUEUE_TICKS * 3 / 4)

#define BATCH_LOOKUP 64 /* pages that are looked up together */

/* From its place on its queue to the tail. */
static void requeue(struct vm_page *m) FL_REQUIRES(vm_queues.lock)
{
    enum vm_page_queue queue = (enum vm_page_queue)m->queue;
    vm_page_dequeue(m);
    vm_page_enqueue(m, queue);
}

/*
 * May page m, on the queue, be looked at before it comes to the head? `now`: the queue's clock. A page that
 * was read ahead waits for its use.
 */
static bool page_due(const struct vm_page *m, enum vm_page_queue queue, uint8_t now)
{
    uint8_t due = queue == PQ_ACTIVE      ? PAGEOUT_DUE
                  : (m->flags & PG_AHEAD) ? VM_QUEUE_TICKS
                                          : PAGEOUT_DUE_INACTIVE;
    return (uint8_t)(now - m->stamp) >= due;
}

/* Adds pages [start, end) that are due on the queue, as long as the batch has fewer than `max`. */
static void batch_add(struct pageout_batch *batch, enum vm_page_queue queue, vm_pindex_t start,
                      vm_pindex_t end, uint32_t max) FL_REQUIRES(batch->object->lock)
{
    struct vm_page *m[BATCH_LOOKUP];
    uint8_t now = vm_queues.q[queue].clock;
    for (uint32_t n = BATCH_LOOKUP; n == BATCH_LOOKUP && batch->n < max; start = m[n - 1]->pindex + 1) {
        n = vm_page_lookup_range(batch->object, start, end, m, BATCH_LOOKUP);
        for (uint32_t i = 0; i < n && batch->n < max; i++) {
            vm_pindex_t pindex = m[i]->pindex;
            if (!page_on_queue(m[i], queue) || (pindex != batch->pindex && !page_due(m[i], queue, now)))
                continue;
            batch->start = pindex < batch->start ? pindex : batch->start;
            batch->end = pindex >= batch->end ? pindex + 1 : batch->end;
            batch->m[batch->n++] = m[i];
        }
        if (n == 0)
            break;
    }
}

/*
 * Takes up to `max` pages of the queue in the stretch around batch->pindex: from there on, then before it.
 */
static void batch_collect(struct pageout_batch *batch, enum vm_page_queue queue, uint32_t max)
    FL_REQUIRES(batch->object->lock)
{
    vm_pindex_t start = batch->pindex & ~(vm_pindex_t)(PAGEOUT_STRETCH - 1);
    batch->n = 0;
    batch->start = UINT64_MAX;
    batch->end = 0;
    batch_add(batch, queue, batch->pindex, start + PAGEOUT_STRETCH, max);
    batch_add(batch, queue, start, batch->pindex, max);
    batch->seen = batch->n > 0 ? batch->n : 1;
}

/* The batch's pages go to the queue's tail. */
static void batch_requeue(const struct pageout_batch *batch, enum vm_page_queue queue)
    FL_REQUIRES(batch->object->lock)
{
    for (uint32_t i = 0; i < batch->n; i++)
        batch->m[i]->stamp = vm_queues.q[queue].clock;
    vm_lock(&vm_queues.lock);
    for (uint32_t i = 0; i < batch->n; i++)
        if (batch->m[i]->queue == queue)
            requeue(batch->m[i]);
    vm_unlock(&vm_queues.lock);
}

/*
 * The object of page m, at the head of the queue, stays locked: m goes behind the other pages. On the
 * inactive queue it comes back to the head before the next pass; *rotate: the caller is to call
 * lru_passed_over.
 */
static void pass_over(struct vm_page *m, enum vm_page_queue queue, struct vm_page **rotate)
    FL_REQUIRES(vm_queues.lock)
{
    if (queue == PQ_ACTIVE)
        requeue(m);
    else if (lru_pass_over(m))
        *rotate = m;
}

/*
 * One try at the head of the queue, for an empty batch. False: batch->object is NULL if the queue is empty;
 * otherwise another thread has it locked, and on the last try the page is passed over.
 */
static bool batch_try(struct pageout_batch *batch, enum vm_page_queue queue, bool last)
    FL_TRY_ACQUIRE(true, batch->object->lock)
{
    struct vm_page *rotate = NULL;
    bool taken = false;
    vm_lock(&vm_queues.lock);
    uint32_t head = vm_queues.q[queue].head;
    if (head != VM_PAGE_NONE) {
        struct vm_page *m = vm_page_of(head);
        batch->object = m->object;
        taken = vm_trylock(&batch->object->lock);
        if (taken) {
            batch->pindex = m->pindex;
            requeue(m);
        } else if (last) {
            pass_over(m, queue, &rotate);
        }
    }
    vm_unlock(&vm_queues.lock);
    if (rotate != NULL)
        lru_passed_over(rotate);
    return taken;
}

/*
 * Faults hold an object's lock for moments only, so it is tried some times before the page is passed over:
 * with one large object every page has the same lock, and to pass them all over would spoil their order.
 */
bool pageout_batch_pick(struct pageout_batch *batch, enum vm_page_queue queue, uint32_t max)
{
    max = max < PAGEOUT_BATCH ? max : PAGEOUT_BATCH;
    for (uint32_t tries = 1; tries <= PAGEOUT_TRIES; tries++) {
        batch->object = NULL;
        batch->n = batch->seen = 0;
        if (batch_try(batch, queue, tries == PAGEOUT_TRIES)) {
            batch_collect(batch, queue, max);
            batch_requeue(batch, queue);
            return true;
        }
        if (batch->object == NULL)
            return false;
        if (tries >= PAGEOUT_SPINS)
            vm_pageout_pause();
    }
    batch->seen = 1;
    return false;
}
