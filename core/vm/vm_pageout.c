/*
 * vm_pageout.c: the page daemon, and what a thread does that finds no free page.
 *
 *   pagedaemon_wakeup ─▶ vm_pageout_loop ─┐
 *   vm_wait, vm_pageout_scan ─────────────┴─▶ pageout_pass ─▶ scan_active     when inactive is short
 *                                                          └▶ scan_inactive   free, or launder
 *
 *   batch: up to PAGEOUT_BATCH pages of one object from the head of a queue, moved to its tail
 *
 *           head                                     tail
 *   queue    a1 a2 a3 b1 a4 …      a's object locked ─▶ b1 a4 … a1 a2 a3
 *
 * Pages of one object that became inactive one after the other are mostly neighbours: they are unmapped and
 * freed as runs. A pass looks at each page of a queue at most once. A dirty file page is passed over while
 * clean ones are found, and written when they are rare: many at a time, as many as are wanted free. It comes
 * back to the head of the queue when it is clean (rotate_reclaimable_page), and the next pass frees it.
 * A pass with `force` takes what is referenced too: for those who would get nothing else.
 * A page whose write failed is tried again, PAGEOUT_RETRIES of them in a pass. When memory is full of them,
 * vm_wait says what the write said: whoever wanted a page is told so, and may go on when there is space
 * again.
 *
 * Invariant: D1 the daemon frees only pages that are clean, not busy, wired, held or in write-back.
 * Locks: (Q) to pick, then the object's lock is tried; (O) → (R), (Q). (D) pagedaemon.lock, a leaf: taken
 * with any core lock held. Any number of threads may be in a pass. vm_wait ends: it counts its fruitless
 * passes, and waits for others a bounded number of times.
 *
 * Does not do: swap. A dirty anonymous page has no place to go, and stays active.
 */
#include "vm/vm_pageout.h"
#include "vm/lru.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_meter.h"
#include "vm/vm_pager.h"
#include "vm/vm_phys.h"
#include "vm/vm_rmap.h"
#include <faultline/vm.h>

#define PAGEOUT_BATCH     64
#define PAGEOUT_SPINS     8 /* tries, one after the other, before it waits a little between them */
#define PAGEOUT_LITTLE_NS 20000
#define PAGEOUT_TRIES     64 /* at the lock of the object whose page is next */
#define PAGEOUT_NFRAMES   16 /* fewer frames are no VM */
#define PAGEOUT_PAUSE_NS                                                                                     \
    10000000 /* after a pass that got nowhere; and how long vm_wait sleeps at most before it looks again */
#define PAGEOUT_FRUITLESS 2   /* passes in a row that end vm_wait when nothing is on its way */
#define PAGEOUT_DEPTH     64  /* transfers on their way beside which page-out begins no more */
#define PAGEOUT_PATIENCE  500 /* passes in a row that free nothing, even while something is: 5 s */
#define PAGEOUT_DIRTY_LAG                                                                                    \
    32 /* dirty pages passed over for each clean one found, roughly, before one is written */
#define PAGEOUT_RETRIES 16 /* of writes that failed before, in a pass: what fails for good costs no more */
#define PAGEOUT_AGING   3  /* passes in a row that only found out what is in use, before one takes what is */

struct vm_pageout_params vm_pageout;

static struct {
    struct vm_lock lock; /* (D); its address is the daemon's channel */
    bool stop;           /* (D) */
    _Atomic bool wanted; /* set anywhere, cleared under (D): the daemon is awake, or will be */
} pagedaemon;

/* One pass, and what came of it. */
struct pageout_pass {
    uint32_t target; /* free pages to reach */
    bool force;
    uint32_t freed, laundered; /* pages */
    uint32_t aged;             /* pages that came nearer to being freed */
    uint32_t passed_over;      /* dirty ones */
    uint32_t transient;        /* pages that are somebody's for the moment */
    uint32_t retried;          /* writes of pages whose last one failed */
    int write_error;           /* what that said; 0: it met none */
    struct vm_pager_plug plug; /* writes that are to go together */
};

struct pageout_batch {
    struct vm_object *object; /* locked */
    struct vm_page *m[PAGEOUT_BATCH];
    uint32_t n;
};

/* ---- marks --------------------------------------------------------------------------------------------- */

static uint32_t clamp(uint32_t n, uint32_t low, uint32_t high)
{
    return n < low ? low : n > high ? high : n;
}

/*
 * Pages between low and high water. Where memory has room for it, such that the daemon is awake before the
 * next read-ahead window finds too little: what a stream's reader must free itself, it does not read.
 */
static uint32_t headroom(uint32_t nframes, uint32_t window)
{
    uint32_t windows = 3 * window, pages = clamp(nframes / 32, 8, 4096);
    return windows > pages && windows <= nframes / 8 ? windows : pages;
}

int vm_pageout_startup(uint32_t nframes, uint32_t reserved, uint32_t min, uint32_t target, uint32_t window)
{
    __builtin_memset(&pagedaemon, 0, sizeof pagedaemon);
    if (reserved == 0)
        reserved = clamp(nframes / 256, 2, 64);
    if (min == 0)
        min = reserved + clamp(nframes / 64, 4, 1024);
    if (target == 0)
        target = min + headroom(nframes, window);
    if (nframes < PAGEOUT_NFRAMES || reserved >= min || min >= target || target >= nframes)
        return -EINVAL;
    vm_pageout = (struct vm_pageout_params){
        .free_reserved = reserved,
        .free_min = min,
        .free_target = target,
        .free_wakeup = min + (target - min) / 2,
    };
    return 0;
}

static uint32_t free_pages(void)
{
    vm_lock(&vm_phys.lock);
    uint32_t n = vm_phys.free_count;
    vm_unlock(&vm_phys.lock);
    return n;
}

/* ---- picking ------------------------------------------------------------------------------------------- */

static void requeue(struct vm_page *m) FL_REQUIRES(vm_queues.lock)
{
    enum vm_page_queue queue = (enum vm_page_queue)m->queue;
    vm_page_dequeue(m);
    vm_page_enqueue(m, queue);
}

/*
 * Takes the pages of the locked object that stand together at the head, moving them to the tail. A dirty
 * inactive page makes a batch alone. No page is taken twice, though others may have made the queue
 * shorter than max.
 */
static void batch_fill(struct pageout_batch *batch, enum vm_page_queue queue, uint32_t max)
    FL_REQUIRES(vm_queues.lock)
{
    if (max > vm_queues.q[queue].count)
        max = vm_queues.q[queue].count;
    while (batch->n < max) {
        struct vm_page *m = vm_page_of(vm_queues.q[queue].head);
        if (m->object != batch->object) /* its flags are somebody else's, then */
            break;
        bool dirty = queue == PQ_INACTIVE && (m->flags & PG_DIRTY) != 0;
        if (dirty && batch->n > 0)
            break;
        batch->m[batch->n++] = m;
        requeue(m);
        if (dirty)
            break;
    }
}

/*
 * Page m at the head of the queue is somebody's: what stands behind it comes first. A page of the
 * inactive queue comes back to its place before the next pass. *rotate: lru_passed_over is to be called.
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
 * One try at the head of the queue. False: its object is locked by somebody; then, on the last try, the
 * page is passed over. Otherwise batch->n says how many pages were taken, 0: the queue is empty.
 */
static bool batch_try(struct pageout_batch *batch, enum vm_page_queue queue, uint32_t max,
                      bool last) FL_NO_THREAD_SAFETY_ANALYSIS /* the lock is kept when a field says so */
{
    struct vm_page *rotate = NULL;
    bool taken = true;
    vm_lock(&vm_queues.lock);
    uint32_t head = vm_queues.q[queue].head;
    if (head != VM_PAGE_NONE) {
        struct vm_page *m = vm_page_of(head);
        batch->object = m->object;
        taken = vm_trylock(&batch->object->lock);
        if (taken)
            batch_fill(batch, queue, max);
        else if (last)
            pass_over(m, queue, &rotate);
    }
    vm_unlock(&vm_queues.lock);
    if (rotate != NULL)
        lru_passed_over(rotate);
    return taken;
}

/* Who has the lock of a large file's object may have it for as long as a window takes to be made. */
static void pageout_pause(void)
{
    vm_lock(&pagedaemon.lock);
    (void)vm_sleep_until(&pagedaemon.stop, &pagedaemon.lock, machine_time_ns() + PAGEOUT_LITTLE_NS);
    vm_unlock(&pagedaemon.lock);
}

/*
 * A batch of at most `max` pages from the head of the queue. Returns how many pages were looked at, 0: the
 * queue is empty. batch->n may be 0 nevertheless: the object was somebody's. Otherwise batch->object is
 * locked.
 *
 * Faults hold an object's lock for moments only, so it is tried some times before the page is passed over:
 * with one large file every page has the same lock, and to pass them all over would spoil their order.
 */
static uint32_t batch_pick(struct pageout_batch *batch, enum vm_page_queue queue, uint32_t max)
{
    batch->n = 0;
    max = max < PAGEOUT_BATCH ? max : PAGEOUT_BATCH;
    for (uint32_t tries = 1; tries <= PAGEOUT_TRIES; tries++) {
        if (batch_try(batch, queue, max, tries == PAGEOUT_TRIES))
            return batch->n;
        if (tries >= PAGEOUT_SPINS)
            pageout_pause();
    }
    return 1;
}

static uint32_t queue_count(enum vm_page_queue queue)
{
    vm_lock(&vm_queues.lock);
    uint32_t n = vm_queues.q[queue].count;
    vm_unlock(&vm_queues.lock);
    return n;
}

/* Is m somebody's for the moment, so that it is left alone? (O). */
static bool page_in_use(struct pageout_pass *pass, const struct vm_page *m)
{
    if ((m->flags & (PG_BUSY | PG_WRITEBACK)) || m->pindex >= m->object->size) { /* W2 */
        pass->transient++;
        return true;
    }
    return m->hold_count > 0 || m->readers > 0;
}

/* ---- the inactive queue -------------------------------------------------------------------------------- */

/*
 * Unmaps and frees the victims, which are busy. The machine gives their bytes back without the object's lock,
 * so that faults on other pages of the file do not wait for it. (O) held on entry and return.
 */
static void free_victims(struct pageout_pass *pass, struct vm_object *object, struct vm_page **m, uint32_t n)
    FL_REQUIRES(object->lock)
{
    if (n == 0)
        return;
    vm_rmap_unmap_pages(m, n, MACHINE_UNMAP_RELEASE);
    vm_object_pip_add(object);
    vm_unlock(&object->lock);
    pmap_release(object, m, n);
    vm_lock(&object->lock);
    vm_page_free_released(m, n);
    vm_object_pip_wakeup(object);
    pass->freed += n;
    vm_count(&vm_cnt.evictions, n);
}

/*
 * A clean page that nobody has: is it to go? (O). One use is what it came for; who is used once more
 * after a look at it (PG_TESTED) is active. On a machine that cannot tell, only a fault is a reference,
 * and it has made the page active already.
 */
static bool inactive_victim(struct pageout_pass *pass, struct vm_page *m)
{
    if ((m->lru & PL_ACTIVE) != 0) /* a batch has it */
        return false;
    if (pass->force || (vm_rmap_referenced(m) & MACHINE_REFERENCED) == 0)
        return true;
    if (m->flags & PG_TESTED)
        activate_page(m);
    else
        m->flags |= PG_TESTED;
    pass->aged++;
    return false;
}

/* Enough is being written: waits for the oldest of it, whosever it is. No lock held. */
static void launder_throttle(struct pageout_pass *pass)
{
    if (vm_pager_active() < PAGEOUT_DEPTH)
        return;
    vm_pager_unplug(&pass->plug);
    (void)!vm_pager_wait_any();
}

/*
 * m is dirty, and alone in its batch: its write begins, and it comes back to the head of the queue,
 * clean. (O) on entry, not on return.
 */
static void launder(struct pageout_pass *pass, struct vm_page *m)
    FL_NO_THREAD_SAFETY_ANALYSIS /* launder releases the lock of the object that m has now */
{
    struct vm_object *object = m->object;
    bool spared = !pass->force && pass->passed_over < pass->freed + PAGEOUT_DIRTY_LAG;
    bool homeless = page_homeless(m);
    bool failed = !homeless && (m->flags & PG_WRITEERROR) != 0;
    if (failed) {
        pass->write_error = vm_pager_ops(object)->last_error(object);
        spared = spared || pass->retried >= PAGEOUT_RETRIES;
    }
    if (!homeless && !spared && !page_in_use(pass, m)) {
        pass->retried += failed;
        uint32_t npages = vm_pager_ops(object)->launder(m, &pass->plug);
        pass->laundered += failed ? 0 : npages; /* what fails again and again is no progress */
        launder_throttle(pass);
        return;
    }
    if (homeless && m->hold_count == 0)
        activate_page(m);
    pass->passed_over += spared;
    vm_unlock(&object->lock);
}

/* (O) of the batch's object on entry, not on return. */
static void inactive_batch(struct pageout_pass *pass, struct pageout_batch *batch)
    FL_NO_THREAD_SAFETY_ANALYSIS /* the lock is found through batch */
{
    struct vm_page *victim[PAGEOUT_BATCH];
    uint32_t n = 0;
    for (uint32_t i = 0; i < batch->n; i++) {
        struct vm_page *m = batch->m[i];
        if (m->flags & PG_DIRTY) {
            KASSERT(batch->n == 1, "D1");
            launder(pass, m);
            return;
        }
        if (page_in_use(pass, m) || !inactive_victim(pass, m))
            continue;
        KASSERT(m->wire_count == 0 && m->hold_count == 0, "D1");
        if ((m->flags & PG_PRIVATE) && !vm_pager_ops(m->object)->releasepage(m))
            continue;
        vm_page_xbusy(m);
        victim[n++] = m;
    }
    free_victims(pass, batch->object, victim, n);
    vm_unlock(&batch->object->lock);
}

static void scan_inactive(struct pageout_pass *pass)
{
    struct pageout_batch batch;
    uint32_t left = queue_count(PQ_INACTIVE), free, seen;
    while (left > 0 && (free = free_pages()) + pass->laundered < pass->target) {
        uint32_t max = pass->target - free;
        seen = batch_pick(&batch, PQ_INACTIVE, max < left ? max : left);
        if (seen == 0)
            return;
        left -= seen;
        if (batch.n > 0)
            inactive_batch(pass, &batch);
        else
            pass->transient++;
    }
}

/* ---- the active queue ---------------------------------------------------------------------------------- */

/* Is m, which is active, not in use any more? Who was used since the last look has another round. (O). */
static bool active_aged(struct pageout_pass *pass, struct vm_page *m, unsigned seen)
{
    bool referenced = (seen & MACHINE_REFERENCED) != 0 || (m->lru & PL_REFERENCED) != 0;
    m->lru &= (uint8_t)~PL_REFERENCED;
    pass->aged++;
    return !referenced || pass->force;
}

/*
 * Makes the pages inactive, where their next use brings them back. Where the machine cannot tell, they are
 * unmapped, and the next fault is the use. (O).
 */
static void deactivate(struct vm_page **m, uint32_t n, bool unmap)
{
    if (unmap)
        vm_rmap_unmap_pages(m, n, 0);
    for (uint32_t i = 0; i < n; i++) {
        deactivate_page(m[i]);
        m[i]->flags |= PG_TESTED;
    }
    lru_add_drain();
}

/* (O) of the batch's object on entry, not on return. */
static void active_batch(struct pageout_pass *pass, struct pageout_batch *batch)
    FL_NO_THREAD_SAFETY_ANALYSIS /* the lock is found through batch */
{
    struct vm_page *old[PAGEOUT_BATCH];
    uint32_t n = 0;
    bool unknown = false;
    for (uint32_t i = 0; i < batch->n; i++) {
        struct vm_page *m = batch->m[i];
        if (page_in_use(pass, m) || page_homeless(m) || (m->lru & PL_ACTIVE) == 0)
            continue;
        unsigned seen = vm_rmap_referenced(m);
        unknown = unknown || (seen & MACHINE_REFERENCED_UNKNOWN) != 0;
        if (active_aged(pass, m, seen))
            old[n++] = m;
    }
    deactivate(old, n, unknown);
    vm_unlock(&batch->object->lock);
}

/* Refills the inactive queue: up to a third of both, and what is missing of the target. */
static void scan_active(struct pageout_pass *pass)
{
    struct pageout_batch batch;
    uint32_t left = queue_count(PQ_ACTIVE), free = free_pages();
    if (free >= pass->target)
        return;
    uint32_t want = (left + queue_count(PQ_INACTIVE)) / 3 + (pass->target - free);
    uint32_t have;
    while (left > 0 && (have = queue_count(PQ_INACTIVE)) < want) {
        uint32_t seen = batch_pick(&batch, PQ_ACTIVE, want - have < left ? want - have : left);
        if (seen == 0)
            return;
        left -= seen;
        if (batch.n > 0)
            active_batch(pass, &batch);
        else
            pass->transient++;
    }
}

/* ---- passes -------------------------------------------------------------------------------------------- */

static struct pageout_pass pageout_pass(uint32_t target, bool force)
{
    struct pageout_pass pass = {.target = target, .force = force};
    lru_add_drain_all();
    scan_active(&pass);
    scan_inactive(&pass);
    vm_pager_unplug(&pass.plug);
    return pass;
}

/* Did it free a page, or bring one nearer to it? */
static bool pass_fruitful(const struct pageout_pass *pass)
{
    return pass->freed > 0 || pass->laundered > 0 || (pass->aged > 0 && !pass->force);
}

uint32_t vm_pageout_scan(uint32_t target)
{
    return pageout_pass(target, false).freed;
}

/* ---- the daemon ---------------------------------------------------------------------------------------- */

void pagedaemon_wakeup(void)
{
    if (atomic_load_explicit(&pagedaemon.wanted, memory_order_relaxed))
        return;
    vm_lock(&pagedaemon.lock); /* the daemon looks at `wanted` under it before it sleeps */
    atomic_store(&pagedaemon.wanted, true);
    vm_unlock(&pagedaemon.lock);
    machine_wake(&pagedaemon.lock);
}

/*
 * Passes until there is enough, or until one got nowhere that takes whatever it can get: that is the one
 * after a pass that got nowhere, or after some that only found out what is in use.
 */
static bool pagedaemon_work(void)
{
    uint32_t aging = 0;
    bool force = false;
    while (free_pages() < vm_pageout.free_target) {
        vm_lock(&pagedaemon.lock);
        bool stop = pagedaemon.stop;
        vm_unlock(&pagedaemon.lock);
        if (stop)
            return true;
        struct pageout_pass pass = pageout_pass(vm_pageout.free_target, force);
        if (pass.freed == 0 && pass.laundered > 0)
            (void)!vm_pager_wait_any(); /* what is written comes back to be freed; none: it is there already */
        if (!pass_fruitful(&pass) && force)
            return false;
        aging = pass.freed + pass.laundered > 0 ? 0 : aging + 1;
        force = !pass_fruitful(&pass) || aging > PAGEOUT_AGING;
    }
    return true;
}

void vm_pageout_loop(void)
{
    vm_lock(&pagedaemon.lock);
    while (!pagedaemon.stop) {
        if (!atomic_load(&pagedaemon.wanted)) {
            vm_sleep(&pagedaemon.lock, &pagedaemon.lock);
            continue;
        }
        vm_unlock(&pagedaemon.lock);
        bool enough = pagedaemon_work();
        vm_lock(&pagedaemon.lock);
        if (!enough && !pagedaemon.stop) /* `wanted` stays, so that nobody wakes it before its time */
            (void)vm_sleep_until(&pagedaemon.lock, &pagedaemon.lock, machine_time_ns() + PAGEOUT_PAUSE_NS);
        atomic_store(&pagedaemon.wanted, false);
    }
    vm_unlock(&pagedaemon.lock);
}

void vm_pageout_stop(void)
{
    vm_lock(&pagedaemon.lock);
    pagedaemon.stop = true;
    vm_unlock(&pagedaemon.lock);
    machine_wake(&pagedaemon.lock);
}

/* ---- for want of a page -------------------------------------------------------------------------------- */

/* Sleeps until a page is freed, or a while. */
static void wait_for_free(void)
{
    vm_lock(&vm_phys.lock);
    if (vm_phys.free_count <= vm_pageout.free_reserved) {
        vm_phys.waiters++;
        (void)vm_sleep_until(&vm_phys, &vm_phys.lock, machine_time_ns() + PAGEOUT_PAUSE_NS);
        vm_phys.waiters--;
    }
    vm_unlock(&vm_phys.lock);
}

/*
 * The pass that was the last one freed nothing. What cannot be written is the reason, if there is any such.
 */
static int vm_wait_result(const struct pageout_pass *pass)
{
    if (free_pages() > vm_pageout.free_reserved)
        return 0;
    return pass->write_error != 0 ? pass->write_error : -ENOMEM;
}

int vm_wait(void)
{
    uint32_t target = clamp(vm_pageout.free_reserved + PAGEOUT_BATCH, 1, vm_pageout.free_min);
    uint32_t fruitless = 0, aging = 0, patience = PAGEOUT_PATIENCE;
    while (free_pages() <= vm_pageout.free_reserved) {
        struct pageout_pass pass = pageout_pass(target, fruitless > 0 || aging > PAGEOUT_AGING);
        if (pass.freed > 0) { /* others may have taken them: then they got on */
            patience = PAGEOUT_PATIENCE;
            continue;
        }
        aging += pass.aged > 0;
        fruitless = pass_fruitful(&pass) ? 0 : fruitless + 1;
        bool idle = fruitless >= PAGEOUT_FRUITLESS && vm_pager_active() == 0 && pass.transient == 0;
        if (patience-- == 0 || idle)
            return vm_wait_result(&pass);
        if ((fruitless >= PAGEOUT_FRUITLESS || pass.laundered > 0) && !vm_pager_wait_any())
            wait_for_free();
    }
    return 0; /* there were free pages: gone again by now is no failure, the caller comes back */
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

void fl_pageout_run(void)
{
    vm_pageout_loop();
}
