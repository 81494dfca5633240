/*
 * vm_page.c: the life of a physical page: where it comes from, which object it belongs to, who waits for it,
 * which queue it is on.
 *
 *   vm_page_alloc
 *     (F)  vm_reserv_alloc_page, else vm_phys_alloc_pages, else vm_reserv_reclaim_inactive
 *     (O)  vm_page_insert ─▶ vm_radix_insert
 *
 *   vm_page_free
 *     (O)  pmap_release ─▶ off the queue ─▶ vm_page_remove ─▶ held? an orphan: vm_page_unhold frees it
 *     (F)  vm_reserv_free_page, else vm_phys_free_pages
 *
 * A page's bytes and mappings go (pmap_release) before its frame can be used again. The reserve: an
 * allocation of VM_ALLOC_NORMAL leaves vm_pageout.free_reserved pages, one for read-ahead leaves free_min.
 * Page-out itself may have the last one, or it could never free any.
 *
 * Invariants PG1 … PG9 and locks: vm_page.h. Lock order here: (O), then (Q) or (F), never both of these at
 * once. Moves between the queues go through batches (vm/lru.c). Freeing and wiring take a page off the queues
 * for good: they do it at once, and clear what a batch has still to do with the page.
 *
 * Does not do: choosing pages to free (vm_pageout.c), sleeping for memory (vm_wait).
 */
#include "vm/vm_page.h"
#include "vm/lru.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/pmap.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_reserv.h"

#define LOOKUP_BATCH 64 /* pages looked up together; a fault may run on a small stack */

struct vm_page *vm_page_array;
uint32_t vm_page_count;
struct vm_page_queues vm_queues;
_Atomic uint32_t vm_page_dirty_count;

/* ---- startup ----------------------------------------------------------------------------------------- */

int vm_page_startup(uint32_t nframes, bool superpages)
{
    vm_meter_startup();
    vm_page_count = 0;
    atomic_store(&vm_page_dirty_count, 0);
    __builtin_memset(&vm_queues, 0, sizeof vm_queues);
    for (int queue = 0; queue < PQ_COUNT; queue++)
        vm_queues.q[queue].head = vm_queues.q[queue].tail = VM_PAGE_NONE;
    lru_startup();

    vm_page_array = vm_meta_alloc("page descriptors", (size_t)nframes * sizeof(struct vm_page), 64);
    if (vm_page_array == NULL)
        return -ENOMEM;
    vm_page_count = nframes;
    vm_phys_init(nframes);
    return vm_reserv_init(nframes, superpages);
}

/* ---- allocation -------------------------------------------------------------------------------------- */

/* How many free pages an allocation with `req` leaves. */
static uint32_t reserve_for(unsigned req)
{
    if ((req & VM_ALLOC_SYSTEM) != 0)
        return 0;
    return (req & VM_ALLOC_READAHEAD) != 0 ? vm_pageout.free_min : vm_pageout.free_reserved;
}

/* A free frame for (object, pindex), or NULL. *low: the page daemon should run. Takes (F). */
static struct vm_page *frame_alloc(struct vm_object *object, vm_pindex_t pindex, unsigned req, bool *low)
{
    struct vm_page *m = NULL;

    vm_lock(&vm_phys.lock);
    if (vm_phys.free_count > reserve_for(req)) {
        m = vm_reserv_alloc_page(object, pindex);
        if (m == NULL) {
            m = vm_phys_alloc_pages(0);
            if (m == NULL && vm_reserv_reclaim_inactive(0))
                m = vm_phys_alloc_pages(0);
            KASSERT(m != NULL, "PH3");
            vm_phys_freecnt_adj(-1);
        }
    }
    *low = vm_phys.free_count < vm_pageout.free_wakeup;
    vm_unlock(&vm_phys.lock);
    return m;
}

/* Frees frames that have no object and no bytes. Takes (F); wakes threads that wait for memory. */
static void frames_free(struct vm_page **pages, uint32_t npages)
{
    vm_lock(&vm_phys.lock);
    for (uint32_t i = 0; i < npages; i++) {
        if (vm_reserv_free_page(pages[i]))
            continue;
        vm_phys_free_pages(pages[i], 0);
        vm_phys_freecnt_adj(1);
    }
    bool wanted = vm_phys.waiters != 0;
    vm_unlock(&vm_phys.lock);
    if (wanted)
        machine_wake(&vm_phys);
}

struct vm_page *vm_page_alloc(struct vm_object *object, vm_pindex_t pindex, unsigned req)
{
    bool low;
    struct vm_page *m = frame_alloc(object, pindex, req, &low);

    if (low)
        pagedaemon_wakeup();
    if (m == NULL)
        return NULL;
    KASSERT(m->object == NULL && m->flags == 0 && m->queue == PQ_NONE && m->wire_count == 0, "PG6");
    KASSERT(m->lru == 0 && m->hold_count == 0, "PG6");
    bool shadowed = atomic_load_explicit(&object->shadowed, memory_order_relaxed);
    m->flags = shadowed ? PG_BUSY | PG_COPIED : PG_BUSY;
    if (vm_page_insert(m, object, pindex) != 0) {
        m->flags = 0; /* the page was never in use: there are no bytes to release */
        frames_free(&m, 1);
        return NULL;
    }
    return m;
}

/* Wakes the threads that sleep on m. */
static void page_wakeup(struct vm_page *m)
{
    if ((m->flags & PG_WANTED) != 0) {
        m->flags &= (uint16_t)~PG_WANTED;
        machine_wake(m);
    }
}

void vm_page_free(struct vm_page *m)
{
    vm_page_free_batch(&m, 1);
}

/*
 * Takes the pages off the queues and out of the batches, for good. Many were never on a queue: (Q) is taken
 * from the first one that may be.
 */
static void pages_remque(struct vm_page **pages, uint32_t npages)
{
    uint32_t i = 0;
    while (i < npages && pages[i]->lru == 0)
        i++;
    if (i == npages)
        return;
    vm_lock(&vm_queues.lock);
    for (; i < npages; i++) {
        atomic_store_explicit(&pages[i]->lru_op, 0, memory_order_relaxed);
        vm_page_remque(pages[i]);
        pages[i]->lru = 0;
    }
    vm_unlock(&vm_queues.lock);
}

/*
 * m has left its object, so no thread can hold it anew. True: it is held, and the last vm_page_unhold frees
 * it. False: the caller does. The holds and the mark are one word: either this function finds no hold left,
 * or the last vm_page_unhold finds the mark.
 */
static bool page_orphan(struct vm_page *m)
{
    if (atomic_load_explicit(&m->hold_count, memory_order_acquire) == 0)
        return false;
    if (atomic_fetch_or_explicit(&m->hold_count, VM_HOLD_ORPHAN, memory_order_acq_rel) != 0)
        return true;
    /* The last hold went between the two steps, without the mark. */
    atomic_store_explicit(&m->hold_count, 0, memory_order_relaxed);
    return false;
}

void vm_page_free_released(struct vm_page **pages, uint32_t npages)
{
    if (npages == 0)
        return;
    struct vm_object *object = pages[0]->object;
    for (uint32_t i = 0; i < npages; i++) {
        const struct vm_page *m = pages[i];
        KASSERT(m->object == object && (m->flags & PG_BUSY) != 0, "PG3");
        KASSERT((m->flags & PG_WRITEBACK) == 0, "PG5");
        KASSERT((m->flags & PG_PRIVATE) == 0, "PG6");
        KASSERT(m->wire_count == 0 && m->readers == 0, "PG6");
    }

    pages_remque(pages, npages);
    uint32_t n = 0;
    for (uint32_t i = 0; i < npages; i++) {
        struct vm_page *m = pages[i];
        vm_page_remove(m);
        page_wakeup(m); /* the sleepers look again under (O), and find it gone */
        m->flags = 0;
        if (!page_orphan(m))
            pages[n++] = m;
    }
    if (n > 0)
        frames_free(pages, n);
}

void vm_page_free_batch(struct vm_page **pages, uint32_t npages)
{
    if (npages == 0)
        return;
    pmap_release(pages[0]->object, pages, npages);
    vm_page_free_released(pages, npages);
}

/* A page of the object has become dirty, or clean. */
static void count_dirty(struct vm_object *object, bool dirty) FL_REQUIRES(object->lock)
{
    if (!vm_pager_keeps(object))
        return;
    object->dirty_count += dirty ? 1 : UINT32_MAX;
    if (dirty && object->dirty_count == 1)
        vm_pager_ops(object)->mark_dirty(object);
    atomic_fetch_add_explicit(&vm_page_dirty_count, dirty ? 1 : UINT32_MAX, memory_order_relaxed);
}

/* Page m of the object has become dirty, or clean: its count and marks say so, where there is write-back
 * (PG7). */
static void tell_dirty(struct vm_object *object, struct vm_page *m, bool dirty) FL_REQUIRES(object->lock)
{
    count_dirty(object, dirty);
    if (!vm_pager_keeps(object))
        return;
    if (dirty)
        vm_radix_set_mark(&object->pages, m, RADIX_DIRTY);
    else
        vm_radix_clear_mark(&object->pages, m, RADIX_DIRTY);
}

/* ---- identity ---------------------------------------------------------------------------------------- */

int vm_page_insert(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex)
{
    vm_lock_assert(&object->lock);
    KASSERT(m->object == NULL && (m->flags & PG_BUSY) != 0, "PG1");
    m->object = object;
    m->pindex = pindex;
    int rc = vm_radix_insert(&object->pages, m);
    if (rc != 0) {
        m->object = NULL;
        return rc;
    }
    object->resident_count++;
    object->generation++;
    return 0;
}

void vm_page_remove(struct vm_page *m)
{
    struct vm_object *object = m->object;

    vm_lock_assert(&object->lock);
    KASSERT((m->flags & PG_BUSY) != 0 && m->lru == 0, "PG2");
    vm_radix_remove(&object->pages, m);
    if ((m->flags & PG_DIRTY) != 0)
        count_dirty(object, false);
    object->resident_count--;
    object->generation++;
    m->object = NULL;
}

int vm_page_rename(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex)
{
    vm_pindex_t old = m->pindex;
    bool dirty = (m->flags & PG_DIRTY) != 0, active = (m->lru & PL_ACTIVE) != 0;

    vm_lock_assert(&object->lock);
    KASSERT((m->flags & (PG_BUSY | PG_WRITEBACK | PG_PRIVATE)) == PG_BUSY && m->wire_count == 0, "PG1");
    m->pindex = pindex;
    /* Before it leaves the other tree, which needs no memory. */
    int error = vm_radix_insert(&object->pages, m);
    m->pindex = old;
    if (error != 0)
        return error;
    pmap_rename(m, object, pindex);
    pages_remque(&m, 1);
    vm_page_remove(m);
    m->object = object;
    m->pindex = pindex;
    object->resident_count++;
    object->generation++;
    if (atomic_load_explicit(&object->shadowed, memory_order_relaxed))
        m->flags |= PG_COPIED; /* as a page that comes back */
    if (dirty)
        tell_dirty(object, m, true);
    if (active)
        activate_page(m);
    else
        lru_cache_add(m);
    return 0;
}

struct vm_page *vm_page_lookup(const struct vm_object *object, vm_pindex_t pindex)
{
    return vm_radix_lookup(&object->pages, pindex);
}

struct vm_page *vm_page_find_least(const struct vm_object *object, vm_pindex_t pindex)
{
    return vm_radix_lookup_ge(&object->pages, pindex);
}

uint32_t vm_page_lookup_range(const struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                              struct vm_page **m, uint32_t max)
{
    return vm_radix_lookup_range(&object->pages, start, end, m, max);
}

struct vm_page *vm_page_find_pinned(const struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                    bool wired)
{
    struct vm_page *m[LOOKUP_BATCH];
    uint32_t n = LOOKUP_BATCH;

    for (vm_pindex_t at = start; n == LOOKUP_BATCH; at = m[n - 1]->pindex + 1) {
        n = vm_page_lookup_range(object, at, end, m, LOOKUP_BATCH);
        for (uint32_t i = 0; i < n; i++)
            if (m[i]->hold_count > 0 || (wired && m[i]->wire_count > 0))
                return m[i];
        if (n == 0)
            break;
    }
    return NULL;
}

/* ---- busy -------------------------------------------------------------------------------------------- */

void vm_page_xbusy(struct vm_page *m)
{
    vm_lock_assert(&m->object->lock);
    KASSERT((m->flags & PG_BUSY) == 0, "PG3");
    m->flags |= PG_BUSY;
}

void vm_page_xunbusy(struct vm_page *m)
{
    vm_lock_assert(&m->object->lock);
    KASSERT((m->flags & PG_BUSY) != 0, "PG3");
    /* While a read is in flight, the page belongs to the pager. */
    KASSERT((m->flags & (PG_INFLIGHT | PG_WRITEBACK)) != PG_INFLIGHT, "PR1");
    m->flags &= (uint16_t)~PG_BUSY;
    page_wakeup(m);
}

void vm_page_inflight(struct vm_page *m)
{
    vm_lock_assert(&m->object->lock);
    KASSERT((m->flags & (PG_BUSY | PG_WRITEBACK)) != 0 && (m->flags & PG_INFLIGHT) == 0, "PG3");
    m->flags |= PG_INFLIGHT;
    page_wakeup(m);
}

void vm_page_busy_sleep(struct vm_page *m)
{
    struct vm_object *object = m->object;

    vm_lock_assert(&object->lock);
    m->flags |= PG_WANTED;
    if ((m->flags & PG_INFLIGHT) != 0)
        (void)!vm_pager_wait(object, m->pindex, m->pindex + 1); /* false: the transfer has ended already */
    else
        vm_sleep(m, &object->lock);
}

/* ---- dirtiness and write-back ------------------------------------------------------------------------ */

void vm_page_dirty(struct vm_page *m)
{
    KASSERT((m->flags & PG_VALID) != 0, "PG4");
    if (m->flags & PG_PRIVATE)
        vm_pager_ops(m->object)->set_page_dirty(m);
    __set_page_dirty(m);
}

void __set_page_dirty(struct vm_page *m)
{
    KASSERT((m->flags & (PG_VALID | PG_PRIVATE)) != 0, "PG4");
    m->flags &= (uint16_t)~PG_COPY;
    if ((m->flags & PG_DIRTY) != 0)
        return;
    vm_lock_assert(&m->object->lock);
    m->flags |= PG_DIRTY;
    if (vm_pager_ops(m->object)->unswapped != NULL)
        vm_pager_ops(m->object)->unswapped(m);
    tell_dirty(m->object, m, true);
}

void vm_page_undirty(struct vm_page *m)
{
    vm_lock_assert(&m->object->lock);
    if ((m->flags & PG_DIRTY) == 0)
        return;
    m->flags &= (uint16_t)~PG_DIRTY;
    tell_dirty(m->object, m, false);
}

void vm_page_writeback_start(struct vm_page *m)
{
    vm_lock_assert(&m->object->lock);
    KASSERT((m->flags & PG_WRITEBACK) == 0 && (m->flags & (PG_VALID | PG_PRIVATE)) != 0, "PG5");
    m->flags |= PG_WRITEBACK;
    if (vm_pager_keeps(m->object))
        vm_radix_set_mark(&m->object->pages, m, RADIX_WRITEBACK);
}

void vm_page_writeback_done(struct vm_page *m)
{
    vm_lock_assert(&m->object->lock);
    KASSERT((m->flags & PG_WRITEBACK) != 0, "PG5");
    m->flags &= (uint16_t)~PG_WRITEBACK;
    if (vm_pager_keeps(m->object))
        vm_radix_clear_mark(&m->object->pages, m, RADIX_WRITEBACK);
    if ((m->lru & PL_RECLAIM) != 0) {
        m->lru &= (uint8_t)~PL_RECLAIM;
        rotate_reclaimable_page(m);
    }
    page_wakeup(m);
}

/* ---- queues ------------------------------------------------------------------------------------------ */

/* FreeBSD locks a single page here; (Q) is one lock for all queues. */
void vm_page_lock(struct vm_page *m)
{
    (void)m;
    vm_lock(&vm_queues.lock);
}

void vm_page_unlock(struct vm_page *m)
{
    (void)m;
    vm_unlock(&vm_queues.lock);
}

void vm_page_enqueue(struct vm_page *m, enum vm_page_queue queue)
{
    uint32_t tail = vm_queues.q[queue].tail;

    KASSERT(queue != PQ_NONE && m->queue == PQ_NONE, "PG8");
    KASSERT(m->object != NULL && m->wire_count == 0, "PG2");
    m->queue = (uint8_t)queue;
    m->q_prev = tail;
    m->q_next = VM_PAGE_NONE;
    if (tail == VM_PAGE_NONE)
        vm_queues.q[queue].head = vm_page_frame(m);
    else
        vm_page_array[tail].q_next = vm_page_frame(m);
    vm_queues.q[queue].tail = vm_page_frame(m);
    vm_queues.q[queue].count++;
    if (++vm_queues.q[queue].fresh * VM_QUEUE_TICKS >= vm_queues.q[queue].count) {
        vm_queues.q[queue].fresh = 0;
        vm_queues.q[queue].clock++;
    }
}

void vm_page_enqueue_head(struct vm_page *m, enum vm_page_queue queue)
{
    uint32_t head = vm_queues.q[queue].head;

    KASSERT(queue != PQ_NONE && m->queue == PQ_NONE, "PG8");
    KASSERT(m->object != NULL && m->wire_count == 0, "PG2");
    m->queue = (uint8_t)queue;
    m->q_prev = VM_PAGE_NONE;
    m->q_next = head;
    if (head == VM_PAGE_NONE)
        vm_queues.q[queue].tail = vm_page_frame(m);
    else
        vm_page_array[head].q_prev = vm_page_frame(m);
    vm_queues.q[queue].head = vm_page_frame(m);
    vm_queues.q[queue].count++;
}

void vm_page_dequeue(struct vm_page *m)
{
    unsigned queue = m->queue;

    KASSERT(queue != PQ_NONE && vm_queues.q[queue].count > 0, "PG8");
    if (m->q_prev == VM_PAGE_NONE)
        vm_queues.q[queue].head = m->q_next;
    else
        vm_page_array[m->q_prev].q_next = m->q_next;
    if (m->q_next == VM_PAGE_NONE)
        vm_queues.q[queue].tail = m->q_prev;
    else
        vm_page_array[m->q_next].q_prev = m->q_prev;
    vm_queues.q[queue].count--;
    m->queue = PQ_NONE;
}

void vm_page_remque(struct vm_page *m)
{
    if (m->queue != PQ_NONE)
        vm_page_dequeue(m);
}

/* ---- wiring and holding ------------------------------------------------------------------------------ */

void vm_page_wire(struct vm_page *m)
{
    KASSERT(m->wire_count < UINT16_MAX, "PG9");
    if (m->wire_count > 0) {
        m->wire_count++;
        return;
    }
    /* Off its queue before it counts as wired: page-out may find it at the head, fail to lock its object, and
       move it to the tail, where a wired page has no place (PG2). */
    vm_page_lock(m);
    atomic_store_explicit(&m->lru_op, 0, memory_order_relaxed);
    vm_page_remque(m);
    m->lru = 0;
    m->wire_count = 1;
    vm_queues.wired++;
    vm_page_unlock(m);
}

void vm_page_unwire(struct vm_page *m, enum vm_page_queue queue)
{
    KASSERT(m->wire_count > 0, "PG9");
    if (--m->wire_count > 0)
        return;
    vm_page_lock(m);
    vm_queues.wired--;
    if (queue != PQ_NONE) {
        m->lru = queue == PQ_ACTIVE ? PL_LRU | PL_ACTIVE : PL_LRU;
        vm_page_enqueue(m, queue);
    }
    vm_page_unlock(m);
}

void vm_page_reader_add(struct vm_page *m)
{
    KASSERT(m->readers < VM_READERS_MAX, "PG9");
    m->readers++;
}

void vm_page_reader_drop(struct vm_page *m)
{
    KASSERT(m->readers > 0, "PG9");
    if (--m->readers == 0 || m->readers == VM_READERS_MAX - 1)
        page_wakeup(m);
}

void vm_page_hold(struct vm_page *m)
{
    uint16_t holds = atomic_fetch_add_explicit(&m->hold_count, 1, memory_order_relaxed);
    KASSERT(holds < VM_HOLD_ORPHAN - 1, "PG9");
}

void vm_page_unhold(struct vm_page *m)
{
    uint16_t holds = atomic_fetch_sub_explicit(&m->hold_count, 1, memory_order_acq_rel);
    KASSERT((holds & ~VM_HOLD_ORPHAN) != 0, "PG9");
    if (holds == (VM_HOLD_ORPHAN | 1)) {
        atomic_store_explicit(&m->hold_count, 0, memory_order_relaxed);
        frames_free(&m, 1);
    }
}

/* ---- bytes ------------------------------------------------------------------------------------------- */

/* Busy m has its bytes now. Being busy, it stays in its object; the lock is for sleepers that set flags. */
static void page_set_valid(struct vm_page *m)
{
    struct vm_object *object = m->object;

    vm_lock(&object->lock);
    m->flags |= PG_VALID;
    vm_unlock(&object->lock);
}

int vm_page_zero_fill(struct vm_page *m)
{
    int rc = pmap_zero_page(m);

    if (rc == 0)
        page_set_valid(m);
    return rc;
}

int vm_page_copy(struct vm_page *src, struct vm_page *dst)
{
    int rc = pmap_copy_page(src, dst);

    if (rc == 0)
        page_set_valid(dst);
    return rc;
}

/* ---- checks ------------------------------------------------------------------------------------------ */

/* The queue that the page belongs on. */
static enum vm_page_queue queue_of(const struct vm_page *m)
{
    if ((m->lru & PL_LRU) == 0)
        return PQ_NONE;
    return (m->lru & PL_ACTIVE) != 0 ? PQ_ACTIVE : PQ_INACTIVE;
}

static void page_check_in_object(const struct vm_page *m)
{
    const struct vm_radix *pages = &m->object->pages;

    KASSERT(vm_page_lookup(m->object, m->pindex) == m, "PG1");
    KASSERT((m->hold_count & VM_HOLD_ORPHAN) == 0, "PG3");
    KASSERT(m->lru == 0 || m->wire_count == 0, "PG2");
    KASSERT(m->lru_op == 0 && m->queue == queue_of(m), "PG8");
    KASSERT((m->flags & PG_DIRTY) == 0 || (m->flags & (PG_VALID | PG_PRIVATE)) != 0, "PG4");
    if (m->flags & PG_PRIVATE)
        vm_pager_ops(m->object)->check_page(m);
    const bool keeps = vm_pager_keeps(m->object);
    KASSERT(vm_radix_get_mark(pages, m, RADIX_DIRTY) == (keeps && (m->flags & PG_DIRTY)), "PG7");
    KASSERT(vm_radix_get_mark(pages, m, RADIX_WRITEBACK) == (keeps && (m->flags & PG_WRITEBACK)), "PG7");
    KASSERT(m->order == VM_PHYS_NOFREE, "PG3");
}

static void queue_check(enum vm_page_queue queue)
{
    uint32_t count = 0, prev = VM_PAGE_NONE;

    for (uint32_t frame = vm_queues.q[queue].head; frame != VM_PAGE_NONE; frame = vm_page_of(frame)->q_next) {
        const struct vm_page *m = vm_page_of(frame);
        KASSERT(m->queue == queue && m->q_prev == prev && m->object != NULL, "PG8");
        prev = frame;
        count++;
        KASSERT(count <= vm_queues.q[queue].count, "PG8");
    }
    KASSERT(vm_queues.q[queue].tail == prev && vm_queues.q[queue].count == count, "PG8");
}

void vm_page_check_all(void)
{
    lru_add_drain_all();
    vm_lock(&vm_phys.lock);
    vm_frame_t fresh = vm_phys.fresh;
    vm_unlock(&vm_phys.lock);
    uint32_t free = vm_page_count - fresh, queued = 0, wired = 0;
    for (vm_frame_t frame = 0; frame < fresh; frame++) {
        const struct vm_page *m = vm_page_of(frame);
        queued += m->queue != PQ_NONE;
        wired += m->wire_count != 0;
        if (m->object != NULL) {
            page_check_in_object(m);
        } else if ((m->flags & PG_BUSY) == 0) {
            bool orphan = m->hold_count != 0;
            KASSERT(m->queue == PQ_NONE && m->wire_count == 0 && m->readers == 0 && m->flags == 0, "PG6");
            KASSERT(m->lru == 0 && m->lru_op == 0, "PG6");
            KASSERT(!orphan || (m->hold_count > VM_HOLD_ORPHAN && m->order == VM_PHYS_NOFREE), "PG3");
            free += !orphan && m->order != VM_PHYS_HOST;
        }
    }
    vm_lock(&vm_phys.lock);
    KASSERT(free == vm_phys.free_count + vm_phys.taken, "PG3");
    vm_unlock(&vm_phys.lock);
    KASSERT(queued == vm_queues.q[PQ_ACTIVE].count + vm_queues.q[PQ_INACTIVE].count, "PG8");
    KASSERT(wired == vm_queues.wired, "PG8");
    queue_check(PQ_ACTIVE);
    queue_check(PQ_INACTIVE);
    vm_phys_check();
    vm_reserv_check();
}
