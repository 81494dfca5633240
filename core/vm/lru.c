/*
 * lru.c: the page queues' changes, in batches. (mm/swap.c, Linux.)
 *
 *   activate_page ─▶ lru_defer ─▶ lru_pvecs[slot of the thread].pvec[LRU_ACTIVATE]
 *                                     │ full, or lru_add_drain
 *                                     ▼ one (Q)
 *                    pagevec_lru_move_fn ─▶ del_page_from_lru_list, add_page_to_lru_list
 *
 *   vm_page.lru     where the page belongs: changes at once, under (O); what everybody decides by
 *   vm_page.lru_op  what a batch has still to do so that the queues say the same
 *   vm_page.queue   where it is: changes with the batch, under (Q), without (O)
 *
 *                     lru_op      batches with an entry for the page
 *   activate_page     ACTIVATE    ACTIVATE
 *   deactivate_page   DEACTIVATE  ACTIVATE, DEACTIVATE     the first is stale from now on, and does nothing
 *   a flush           none        -
 *
 * An entry counts while the page's lru_op is the batch's kind; whoever takes it (Q) makes lru_op none, so two
 * entries of one kind move the page once. It is set under (O), after what it stands for was written, and
 * taken with acquire order: so the flush sees a page with an object and unwired, and neither changes before
 * who changes it has cleared lru_op, under (Q) (vm_page_wire, vm_page_free). That is P2.
 *
 * Locks: (O) → (L) → (Q). Does not do: choosing (vm_pageout.c); references: an entry has none.
 */
#include "vm/lru.h"
#include "lib/kassert.h"
#include "vm/vm_meter.h"
#include "vm/vm_pager.h"

#define PAGEVEC_SIZE 31
#define LRU_SLOTS    8

/* vm_page.lru_op, in the order in which they are drained */
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
    uint32_t page[PAGEVEC_SIZE]; /* numbers; in the order of the calls */
};

static struct lru_slot {
    _Alignas(64) struct vm_lock lock; /* (L) */
    struct pagevec pvec[LRU_OPS];     /* (L) */
} lru_pvecs[LRU_SLOTS];

void lru_startup(void)
{
    __builtin_memset(lru_pvecs, 0, sizeof lru_pvecs);
}

static struct lru_slot *lru_slot(void)
{
    return &lru_pvecs[machine_self() * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (LRU_SLOTS - 1)];
}
_Static_assert((LRU_SLOTS & (LRU_SLOTS - 1)) == 0, "a mask");

/* ---- flushing ------------------------------------------------------------------------------------------ */

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

/* Is the entry still what is to be done with m? Then nobody else does it. */
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

static void __pagevec_lru_add(struct pagevec *pvec)
{
    if (pvec->n == 0)
        return;
    vm_lock(&vm_queues.lock);
    for (uint32_t i = 0; i < pvec->n; i++)
        __pagevec_lru_add_fn(vm_page_of(pvec->page[i]));
    vm_unlock(&vm_queues.lock);
    pvec->n = 0;
}

/* What goes to the head goes there last page first, so that neighbours stand in their order. */
static void pagevec_lru_move_fn(struct pagevec *pvec, enum lru_op op)
{
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
    pagevec_lru_move_fn(&slot->pvec[LRU_ACTIVATE], LRU_ACTIVATE);
}

static void lru_slot_drain(struct lru_slot *slot)
{
    vm_lock(&slot->lock);
    __pagevec_lru_add(&slot->pvec[LRU_ADD]);
    for (enum lru_op op = LRU_ROTATE; op < LRU_ACTIVATE; op++)
        pagevec_lru_move_fn(&slot->pvec[op], op);
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

/* False: it was the last one that fits. */
static bool pagevec_add(struct pagevec *pvec, const struct vm_page *m)
{
    pvec->page[pvec->n++] = vm_page_frame(m);
    return pvec->n < PAGEVEC_SIZE;
}

/* An entry for m in the thread's batch of this kind. */
static void lru_collect(struct vm_page *m, enum lru_op op)
{
    struct lru_slot *slot = lru_slot();
    struct pagevec *pvec = &slot->pvec[op];

    vm_lock(&slot->lock);
    if (!pagevec_add(pvec, m)) {
        if (op == LRU_ADD)
            __pagevec_lru_add(pvec);
        else
            pagevec_lru_move_fn(pvec, op);
    }
    vm_unlock(&slot->lock);
}

/* m, whose `lru` says so already, goes where op says, with others. (O). */
static void lru_defer(struct vm_page *m, enum lru_op op)
{
    if (atomic_load_explicit(&m->lru_op, memory_order_relaxed) == op)
        return; /* some batch has it; or its flush takes it now, and puts it where we want it */
    atomic_store_explicit(&m->lru_op, (uint8_t)op, memory_order_release);
    lru_collect(m, op);
}

/* Is m to be moved at all? A wired page is on no queue; a new one comes by lru_cache_add. (O). */
static bool page_lru(const struct vm_page *m)
{
    vm_lock_assert(&m->object->lock);
    return (m->lru & PL_LRU) != 0;
}

static void lru_clear(struct vm_page *m, uint8_t bits)
{
    m->lru &= (uint8_t)~bits;
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
    lru_clear(m, PL_REFERENCED | PL_RECLAIM);
    m->lru |= PL_LRU | PL_ACTIVE;
    lru_defer(m, LRU_ACTIVATE);
}

void deactivate_page(struct vm_page *m)
{
    if (!page_lru(m))
        return;
    bool active = (m->lru & PL_ACTIVE) != 0;
    lru_clear(m, PL_ACTIVE | PL_REFERENCED);
    if (active)
        lru_defer(m, LRU_DEACTIVATE);
}

void deactivate_file_page(struct vm_page *m)
{
    if (!page_lru(m))
        return;
    lru_clear(m, PL_ACTIVE | PL_REFERENCED);
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
    lru_clear(m, PL_ACTIVE | PL_REFERENCED);
    lru_defer(m, LRU_LAZYFREE);
}

void rotate_reclaimable_page(struct vm_page *m)
{
    if (!page_lru(m) || (m->lru & PL_ACTIVE) != 0 || (m->flags & PG_DIRTY) != 0)
        return;
    lru_defer(m, LRU_ROTATE);
}

/* Who frees m, or wires it, waits for (Q); who moves it elsewhere has set lru_op, or sets it after us. */
bool lru_pass_over(struct vm_page *m)
{
    uint8_t none = LRU_NONE;
    KASSERT(m->queue == PQ_INACTIVE, "P8");
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
