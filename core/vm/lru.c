/*
 * lru.c: moves of pages between the page queues, in batches. (mm/swap.c, Linux.)
 *
 *   activate_page ─▶ lru_defer ─▶ lru_pvecs[slot of the thread].pvec[LRU_ACTIVATE]
 *                                     │ full, or lru_add_drain
 *                                     ▼ (Q) once
 *                    pagevec_lru_move_fn ─▶ del_page_from_lru_list, add_page_to_lru_list
 *
 *   vm_page.lru      where the page belongs: changes at once, under (O); all decisions go by it
 *   vm_page.lru_op   what a batch has still to do so that the queues agree with `lru`
 *   vm_page.queue    where the page is: changes with the batch, under (Q), without (O)
 *
 *   calls in turn       lru_op       batches with an entry for the page
 *   activate_page       ACTIVATE     ACTIVATE
 *   deactivate_page     DEACTIVATE   ACTIVATE, DEACTIVATE     the first is stale now, and does nothing
 *   a drain             none         -
 *
 * An entry counts while the page's lru_op is the batch's kind. A drain takes it under (Q): lru_op becomes
 * none, so two entries of one kind move the page once.
 *
 * PG2 holds because lru_op is set under (O) with release order, after the change of the page that it stands
 * for, and taken with acquire order: the drain sees a page that has an object and is not wired. Code that
 * changes either clears lru_op first, under (Q) (vm_page_wire, vm_page_free).
 *
 * Locks: (O), then (L), then (Q). Does not do: choosing pages (vm_pageout.c); references: an entry has none.
 */
#include "vm/lru.h"
#include "lib/kassert.h"
#include "vm/vm_meter.h"
#include "vm/vm_pager.h"

#define PAGEVEC_SIZE 31
#define LRU_SLOTS    8

/* vm_page.lru_op, in the order in which a slot's batches are drained */
enum lru_op {
    LRU_NONE,
    LRU_ADD,
    LRU_ROTATE,
    LRU_DEACTIVATE_FILE,
    LRU_DEACTIVATE,
    LRU_LAZYFREE,
    LRU_ACTIVATE,
    LRU_OPS,
};

/* Where each kind of batch puts its pages. */
static const struct {
    enum vm_page_queue queue;
    bool head;
} lru_place[LRU_OPS] = {
    [LRU_ADD] = {PQ_INACTIVE, false},
    [LRU_ROTATE] = {PQ_INACTIVE, true},
    [LRU_DEACTIVATE_FILE] = {PQ_INACTIVE, true},
    [LRU_DEACTIVATE] = {PQ_INACTIVE, false},
    [LRU_LAZYFREE] = {PQ_INACTIVE, true},
    [LRU_ACTIVATE] = {PQ_ACTIVE, false},
};

struct pagevec {
    uint32_t n;
    uint32_t page[PAGEVEC_SIZE]; /* page numbers, in the order of the calls */
};

static struct lru_slot {
    _Alignas(64) struct vm_lock lock; /* (L) */
    struct pagevec pvec[LRU_OPS];     /* (L) */
} lru_pvecs[LRU_SLOTS];

void lru_startup(void)
{
    __builtin_memset(lru_pvecs, 0, sizeof lru_pvecs);
}

/* The slot of the calling thread. */
static struct lru_slot *lru_slot(void)
{
    return &lru_pvecs[machine_self() * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (LRU_SLOTS - 1)];
}
_Static_assert((LRU_SLOTS & (LRU_SLOTS - 1)) == 0, "a mask");

/* ---- draining ------------------------------------------------------------------------------------------ */

static void add_page_to_lru_list(struct vm_page *m, enum lru_op op) FL_REQUIRES(vm_queues.lock)
{
    if (lru_place[op].head)
        vm_page_enqueue_head(m, lru_place[op].queue);
    else
        vm_page_enqueue(m, lru_place[op].queue);
}

static void del_page_from_lru_list(struct vm_page *m) FL_REQUIRES(vm_queues.lock)
{
    vm_page_remque(m);
}

/* Takes the entry. True: it still counts, and the caller moves the page. */
static bool lru_take(struct vm_page *m, enum lru_op op) FL_REQUIRES(vm_queues.lock)
{
    uint8_t want = (uint8_t)op;
    return atomic_compare_exchange_strong_explicit(&m->lru_op, &want, LRU_NONE, memory_order_acquire,
                                                   memory_order_relaxed);
}

static void __pagevec_lru_add_fn(struct vm_page *m) FL_REQUIRES(vm_queues.lock)
{
    if (lru_take(m, LRU_ADD))
        add_page_to_lru_list(m, LRU_ADD);
}

static void __pagevec_lru_add(struct lru_slot *slot) FL_REQUIRES(slot->lock)
{
    struct pagevec *pvec = &slot->pvec[LRU_ADD];

    if (pvec->n == 0)
        return;
    vm_lock(&vm_queues.lock);
    for (uint32_t i = 0; i < pvec->n; i++)
        __pagevec_lru_add_fn(vm_page_of(pvec->page[i]));
    vm_unlock(&vm_queues.lock);
    pvec->n = 0;
}

/* A batch that goes to the head of a queue is moved last page first, so that the pages keep their order. */
static void pagevec_lru_move_fn(struct lru_slot *slot, enum lru_op op) FL_REQUIRES(slot->lock)
{
    struct pagevec *pvec = &slot->pvec[op];

    if (pvec->n == 0)
        return;
    vm_lock(&vm_queues.lock);
    for (uint32_t i = 0; i < pvec->n; i++) {
        struct vm_page *m = vm_page_of(pvec->page[lru_place[op].head ? pvec->n - 1 - i : i]);
        if (!lru_take(m, op))
            continue;
        del_page_from_lru_list(m);
        add_page_to_lru_list(m, op);
    }
    vm_unlock(&vm_queues.lock);
    pvec->n = 0;
}

static void activate_page_drain(struct lru_slot *slot) FL_REQUIRES(slot->lock)
{
    pagevec_lru_move_fn(slot, LRU_ACTIVATE);
}

static void lru_slot_drain(struct lru_slot *slot)
{
    vm_lock(&slot->lock);
    __pagevec_lru_add(slot);
    for (enum lru_op op = LRU_ROTATE; op < LRU_ACTIVATE; op++)
        pagevec_lru_move_fn(slot, op);
    activate_page_drain(slot);
    vm_unlock(&slot->lock);
}

void lru_add_drain(void)
{
    lru_slot_drain(lru_slot());
}

void lru_add_drain_all(void)
{
    for (uint32_t i = 0; i < LRU_SLOTS; i++)
        lru_slot_drain(&lru_pvecs[i]);
}

/* ---- collecting ---------------------------------------------------------------------------------------- */

/* False: the batch is full now. */
static bool pagevec_add(struct lru_slot *slot, enum lru_op op, const struct vm_page *m)
    FL_REQUIRES(slot->lock)
{
    struct pagevec *pvec = &slot->pvec[op];

    pvec->page[pvec->n++] = vm_page_frame(m);
    return pvec->n < PAGEVEC_SIZE;
}

/* Puts an entry for m into the thread's batch of this kind, and drains the batch when it is full. */
static void lru_collect(struct vm_page *m, enum lru_op op)
{
    struct lru_slot *slot = lru_slot();

    vm_lock(&slot->lock);
    if (!pagevec_add(slot, op, m)) {
        if (op == LRU_ADD)
            __pagevec_lru_add(slot);
        else
            pagevec_lru_move_fn(slot, op);
    }
    vm_unlock(&slot->lock);
}

/* Does m belong on a queue? Otherwise it is new, or wired. Asserts (O). */
static bool page_lru(const struct vm_page *m) FL_ASSERT_CAPABILITY(m->object->lock)
{
    vm_lock_assert(&m->object->lock);
    return (m->lru & PL_LRU) != 0;
}

static void lru_clear(struct vm_page *m, uint8_t bits) FL_REQUIRES(m->object->lock)
{
    m->lru &= (uint8_t)~bits;
}

/* m, whose `lru` says so already, goes where op says, together with others. */
static void lru_defer(struct vm_page *m, enum lru_op op) FL_REQUIRES(m->object->lock)
{
    if (atomic_load_explicit(&m->lru_op, memory_order_relaxed) == op)
        return; /* a batch has it; or a drain takes it at this moment, and puts it in the same place */
    m->stamp = vm_queues.q[lru_place[op].queue].clock;
    if (lru_place[op].head)
        m->stamp = (uint8_t)(m->stamp - VM_QUEUE_TICKS);
    atomic_store_explicit(&m->lru_op, (uint8_t)op, memory_order_release);
    lru_collect(m, op);
}

void lru_cache_add(struct vm_page *m)
{
    if (page_lru(m) || m->wire_count > 0)
        return;
    m->lru |= PL_LRU;
    lru_defer(m, LRU_ADD);
}

void activate_page(struct vm_page *m)
{
    if ((m->lru & PL_ACTIVE) != 0 || m->wire_count > 0)
        return;
    if (page_lru(m))
        vm_count(&vm_cnt.reactivations, 1);
    m->flags &= (uint16_t)~PG_TESTED;
    lru_clear(m, PL_REFERENCED | PL_YOUNG | PL_PASSED | PL_RECLAIM);
    m->lru |= PL_LRU | PL_ACTIVE;
    lru_defer(m, LRU_ACTIVATE);
}

void deactivate_page(struct vm_page *m)
{
    if (!page_lru(m))
        return;
    bool active = (m->lru & PL_ACTIVE) != 0;
    lru_clear(m, PL_ACTIVE | PL_REFERENCED | PL_YOUNG | PL_PASSED);
    if (active)
        lru_defer(m, LRU_DEACTIVATE);
}

void deactivate_file_page(struct vm_page *m)
{
    if (!page_lru(m))
        return;
    lru_clear(m, PL_ACTIVE | PL_REFERENCED | PL_YOUNG | PL_PASSED);
    if ((m->flags & (PG_DIRTY | PG_WRITEBACK)) == 0) {
        lru_defer(m, LRU_DEACTIVATE_FILE);
        return;
    }
    m->lru |= PL_RECLAIM;
    lru_defer(m, LRU_DEACTIVATE);
}

void mark_page_lazyfree(struct vm_page *m)
{
    if (!page_lru(m))
        return;
    lru_clear(m, PL_ACTIVE | PL_REFERENCED | PL_YOUNG | PL_PASSED);
    lru_defer(m, LRU_LAZYFREE);
}

void rotate_reclaimable_page(struct vm_page *m)
{
    if (!page_lru(m) || (m->lru & PL_ACTIVE) != 0 || (m->flags & PG_DIRTY) != 0)
        return;
    lru_defer(m, LRU_ROTATE);
}

/*
 * A thread that frees or wires m waits for (Q). One that moves m elsewhere has set lru_op already, and then
 * this does not; or it sets lru_op afterwards, and the entry for LRU_ROTATE is stale.
 */
bool lru_pass_over(struct vm_page *m)
{
    uint8_t none = LRU_NONE;
    KASSERT(m->queue == PQ_INACTIVE, "PG8");
    vm_page_dequeue(m);
    vm_page_enqueue(m, PQ_INACTIVE);
    return atomic_compare_exchange_strong_explicit(&m->lru_op, &none, LRU_ROTATE, memory_order_release,
                                                   memory_order_relaxed);
}

void lru_passed_over(struct vm_page *m)
{
    lru_collect(m, LRU_ROTATE);
}

/* ---- use ----------------------------------------------------------------------------------------------- */

bool page_homeless(const struct vm_page *m)
{
    return (m->flags & PG_DIRTY) != 0 && !vm_pager_home(m->object);
}

void mark_page_accessed(struct vm_page *m)
{
    bool tested = (m->flags & PG_TESTED) != 0, ahead = (m->flags & PG_AHEAD) != 0;

    m->flags &= (uint16_t) ~(PG_AHEAD | PG_TESTED);
    m->lru &= (uint8_t)~PL_PASSED;
    if ((m->lru & PL_ACTIVE) != 0) {
        m->lru |= PL_REFERENCED;
    } else if (tested || page_homeless(m) || (m->lru & PL_REFERENCED) != 0) {
        activate_page(m);
    } else {
        lru_cache_add(m);
        m->lru |= ahead || m->wire_count > 0 ? 0 : PL_REFERENCED;
    }
}

void release_pages(struct vm_page **pages, uint32_t npages)
{
    for (uint32_t i = 0; i < npages; i++)
        vm_page_reader_drop(pages[i]);
}
