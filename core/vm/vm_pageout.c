/*
 * vm_pageout.c: the page daemon, and what a thread does that finds no free page.
 *
 *   pagedaemon_wakeup ─▶ vm_pageout_loop ─┐
 *   vm_wait, vm_pageout_scan ─────────────┴─▶ pageout_pass ─▶ scan_active     when too few are inactive
 *                                                          └▶ scan_inactive   free, or launder
 *
 * A pass looks at each page of a queue about once, in batches of neighbours (vm_pageout_batch.h).
 *
 * A pass leaves dirty pages alone while it finds clean ones, and launders them when clean ones are rare: many
 * at a time, as many as are wanted free. A laundered page comes back to the head of the queue when it is
 * clean (rotate_reclaimable_page), and the next pass frees it.
 *
 * Dirty and referenced are what a harvest says (vm_harvest.h). Where a program can store without a fault, the
 * stretch is frozen from the harvest to the release of its victims.
 *
 * A pass with `force` takes referenced pages too. It follows passes that freed nothing.
 *
 * A page whose last write failed is written again, PAGEOUT_RETRIES of them in a pass. When memory is full of
 * such pages, vm_wait returns the error of the write: the thread that wanted a page hears it, and may go on
 * when the source has space again.
 *
 * Invariant: PD1 the daemon frees only pages that are clean, not busy, wired, held, read or in write-back.
 *
 * Locks: (Q) to pick pages, then their object's lock is tried; (O), then (R) or (Q). (D) pagedaemon_lock, a
 * leaf. Any number of threads may be in a pass. vm_wait ends: it counts its fruitless passes, and waits for
 * others a bounded number of times.
 *
 * Does not do: the writing itself, which is the pagers'. A dirty page that its pager has no place for stays
 * active.
 */
#include "vm/vm_pageout.h"
#include "vm/lru.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_harvest.h"
#include "vm/vm_meter.h"
#include "vm/vm_pageout_batch.h"
#include "vm/vm_pager.h"
#include "vm/vm_phys.h"
#include "vm/vm_rmap.h"
#include <faultline/vm.h>

/* Fewer frames are no VM. */
#define PAGEOUT_NFRAMES 16

#define PAGEOUT_LITTLE_NS 20000

/* A pass begins no more transfers when so many are on their way. */
#define PAGEOUT_DEPTH 64
/* About so many dirty pages are passed over for each clean one found, before one is laundered. */
#define PAGEOUT_DIRTY_LAG 32
/* Writes that failed before, in a pass: pages that can never be written cost no more. */
#define PAGEOUT_RETRIES 16

/* Passes in a row that only found out what is in use, before one takes pages that are in use. */
#define PAGEOUT_AGING 3
/* Fruitless passes in a row that end vm_wait when nothing is on its way. */
#define PAGEOUT_FRUITLESS 2
/* Passes in a row that free nothing, which end vm_wait even while something is on its way: 5 s. */
#define PAGEOUT_PATIENCE 500
/* The daemon's sleep after a pass that freed nothing; the longest sleep in vm_wait before it looks again. */
#define PAGEOUT_PAUSE_NS 10000000

struct vm_pageout_params vm_pageout;

static struct vm_lock pagedaemon_lock; /* (D); its address is the daemon's channel */
static bool pagedaemon_stop FL_GUARDED_BY(pagedaemon_lock);
/* The daemon is awake, or will be. Set and cleared under (D); read without it before the daemon is woken. */
static _Atomic bool pagedaemon_wanted;

/* One pass, and what came of it; in pages. */
struct pageout_pass {
    uint32_t target; /* free pages to reach */
    bool force;
    uint32_t freed, laundered;
    uint32_t aged;             /* came nearer to being freed */
    uint32_t passed_over;      /* dirty ones */
    uint32_t transient;        /* busy, in write-back, or of a locked object */
    uint32_t retried;          /* written again after a failed write */
    int write_error;           /* what the failed writes said; 0: there was none */
    struct vm_pager_plug plug; /* writes that are to start together */
};

/* ---- marks --------------------------------------------------------------------------------------------- */

static uint32_t clamp(uint32_t n, uint32_t low, uint32_t high)
{
    return n < low ? low : n > high ? high : n;
}

/*
 * Pages between free_min and free_target. Where memory has room for it, they are enough for the daemon to be
 * awake before the next read-ahead window finds too few: a stream's reader that must free pages does not
 * read.
 */
static uint32_t headroom(uint32_t nframes, uint32_t window)
{
    uint32_t windows = 3 * window, pages = clamp(nframes / 32, 8, 4096);
    return windows > pages && windows <= nframes / 8 ? windows : pages;
}

int vm_pageout_startup(uint32_t nframes, uint32_t reserved, uint32_t min, uint32_t target, uint32_t window)
{
    __builtin_memset(&pagedaemon_lock, 0, sizeof pagedaemon_lock);
    vm_lock(&pagedaemon_lock);
    pagedaemon_stop = false;
    vm_unlock(&pagedaemon_lock);
    atomic_store(&pagedaemon_wanted, false);
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

bool vm_pageout_is_short(void)
{
    return free_pages() < vm_pageout.free_target;
}

void vm_pageout_pause(void)
{
    vm_lock(&pagedaemon_lock);
    (void)vm_sleep_until(&pagedaemon_stop, &pagedaemon_lock, machine_time_ns() + PAGEOUT_LITTLE_NS);
    vm_unlock(&pagedaemon_lock);
}

/* ---- what is in use ------------------------------------------------------------------------------------ */

static uint32_t queue_count(enum vm_page_queue queue)
{
    vm_lock(&vm_queues.lock);
    uint32_t n = vm_queues.q[queue].count;
    vm_unlock(&vm_queues.lock);
    return n;
}

/* Is page m of the object in use, so that it is left alone? */
static bool page_in_use(struct pageout_pass *pass, const struct vm_object *object, const struct vm_page *m)
    FL_REQUIRES(object->lock)
{
    if ((m->flags & (PG_BUSY | PG_WRITEBACK)) || m->pindex >= object->size) { /* WB2 */
        pass->transient++;
        return true;
    }
    return m->hold_count > 0 || m->readers > 0;
}

/* ---- the inactive queue -------------------------------------------------------------------------------- */

/*
 * The pages m[0 … n) are busy and unmapped; bits as vm_rmap_unmap_pages found them. Those that were stored to
 * go back. Returns how many are left in m.
 */
static uint32_t spare_dirty(struct vm_page **m, uint32_t n, const uint8_t *bits)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < n; i++) {
        if ((bits[i] & MACHINE_DIRTY) == 0) {
            m[left++] = m[i];
            continue;
        }
        vm_page_dirty(m[i]);
        vm_page_xunbusy(m[i]);
    }
    return left;
}

/*
 * Unmaps and frees the victims m[0 … n), which are busy. The machine gives their bytes back with (O)
 * released, so that faults on other pages of the object do not wait for it.
 */
static void free_victims(struct pageout_pass *pass, struct vm_object *object, struct vm_page **m, uint32_t n)
    FL_REQUIRES(object->lock)
{
    uint8_t bits[PAGEOUT_BATCH] = {0};
    vm_rmap_unmap_pages(m, n, MACHINE_UNMAP_RELEASE, bits);
    n = spare_dirty(m, n, bits);
    if (n == 0)
        return;
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
 * Is page m, which is not in use, to go? The first use of a page is expected; one that is used again after
 * page-out has looked at it (PG_TESTED) becomes active. *again: m has had its first use, and is to be
 * unmapped, so that the next one shows. (O) of its object.
 */
static bool inactive_victim(struct pageout_pass *pass, struct vm_page *m, bool *again)
{
    *again = false;
    if ((m->lru & PL_ACTIVE) != 0) /* a batch is going to move it */
        return false;
    if (pass->force || (m->lru & PL_YOUNG) == 0 || (m->lru & PL_PASSED) != 0)
        return true;
    pass->aged++;
    if (m->flags & PG_TESTED) {
        activate_page(m);
        return false;
    }
    m->lru &= (uint8_t)~PL_YOUNG;
    m->flags |= PG_TESTED;
    *again = true;
    return false;
}

/* If PAGEOUT_DEPTH transfers are on their way, waits for the oldest of all. No lock held. */
static void launder_throttle(struct pageout_pass *pass)
{
    if (vm_pager_active() < PAGEOUT_DEPTH)
        return;
    vm_pager_unplug(&pass->plug);
    (void)!vm_pager_wait_any();
}

/* Begins to write m, with neighbours. Returns how many pages. */
static uint32_t launder_start(struct pageout_pass *pass, struct vm_object *object, struct vm_page *m)
    FL_RELEASE(object->lock) FL_NO_THREAD_SAFETY_ANALYSIS /* the pager releases it, behind a pointer */
{
    vm_lock_assert(&object->lock);
    return vm_pager_ops(object)->launder(m, &pass->plug);
}

/*
 * Page m of the object is dirty. Begins to write it, unless clean pages are there to be found, or it cannot
 * be written. It comes back to the head of the queue when it is clean. (O), released in between.
 */
static void launder(struct pageout_pass *pass, struct vm_object *object, struct vm_page *m)
    FL_REQUIRES(object->lock)
{
    bool spared = !pass->force && pass->passed_over < pass->freed + PAGEOUT_DIRTY_LAG;
    bool homeless = page_homeless(m);
    bool failed = !homeless && (m->flags & PG_WRITEERROR) != 0;
    if (failed) {
        pass->write_error = vm_pager_ops(object)->last_error(object);
        spared = spared || pass->retried >= PAGEOUT_RETRIES;
    }
    if (!homeless && !spared && !page_in_use(pass, object, m)) {
        pass->retried += failed;
        uint32_t npages = launder_start(pass, object, m);
        pass->laundered += failed ? 0 : npages; /* a write that fails again and again is no progress */
        launder_throttle(pass);
        vm_lock(&object->lock);
        return;
    }
    if (homeless && m->hold_count == 0)
        activate_page(m);
    pass->passed_over += spared;
}

/*
 * Launders the inactive pages [start, end) that are dirty and were not used lately. (O), released in between;
 * a pip keeps the object.
 */
static void launder_stretch(struct pageout_pass *pass, struct vm_object *object, vm_pindex_t start,
                            vm_pindex_t end) FL_REQUIRES(object->lock)
{
    struct vm_page *m;
    vm_object_pip_add(object);
    while (start < end && (m = vm_page_find_least(object, start)) != NULL && m->pindex < end) {
        start = m->pindex + 1;
        bool young = (m->lru & PL_YOUNG) != 0 && !pass->force;
        if ((m->flags & (PG_DIRTY | PG_WRITEBACK)) == PG_DIRTY && page_on_queue(m, PQ_INACTIVE) && !young)
            launder(pass, object, m);
    }
    vm_object_pip_wakeup(object);
}

/*
 * Keeps stores out of the batch's pages where they would not be noticed; *frozen: it did. If it cannot, the
 * batch becomes the page that was at the head of the queue, or empty. (O).
 */
static void batch_freeze(struct pageout_pass *pass, struct vm_object *object, struct pageout_batch *batch,
                         bool *frozen) FL_REQUIRES(object->lock)
{
    *frozen = false;
    if (!vm_rmap_silent(object, batch->start, batch->end))
        return;
    *frozen = vm_freeze(object, batch->start, batch->end);
    if (*frozen)
        return;
    *frozen = batch->m[0]->pindex == batch->pindex && vm_freeze(object, batch->pindex, batch->pindex + 1);
    batch->n = *frozen;
    batch->start = batch->pindex;
    batch->end = batch->pindex + 1;
    pass->transient += !*frozen;
}

/*
 * Picks the batch's victims, which become busy; pages that were used for the first time since page-out looked
 * are unmapped. Returns how many victims. (O).
 */
static uint32_t inactive_victims(struct pageout_pass *pass, struct vm_object *object,
                                 const struct pageout_batch *batch, struct vm_page **victim)
    FL_REQUIRES(object->lock)
{
    struct vm_page *again[PAGEOUT_BATCH];
    uint8_t bits[PAGEOUT_BATCH] = {0};
    uint32_t n = 0, nagain = 0;
    for (uint32_t i = 0; i < batch->n; i++) {
        struct vm_page *m = batch->m[i];
        bool used_once;
        if (page_in_use(pass, object, m) || page_homeless(m))
            continue;
        bool go = inactive_victim(pass, m, &used_once);
        if (used_once)
            again[nagain++] = m;
        if (!go || (m->flags & PG_DIRTY))
            continue;
        KASSERT(m->wire_count == 0 && m->hold_count == 0, "PD1");
        if ((m->flags & PG_PRIVATE) && !vm_pager_ops(object)->releasepage(m))
            continue;
        vm_page_xbusy(m);
        victim[n++] = m;
    }
    vm_rmap_unmap_pages(again, nagain, 0, bits);
    for (uint32_t i = 0; i < nagain; i++)
        if (bits[i] & MACHINE_DIRTY)
            vm_page_dirty(again[i]);
    return n;
}

/* Frees what it can of the batch, and launders what is dirty. */
static void inactive_batch(struct pageout_pass *pass, struct vm_object *object, struct pageout_batch *batch)
    FL_RELEASE(object->lock)
{
    struct vm_page *victim[PAGEOUT_BATCH];
    bool frozen = false;
    if (batch->n > 0)
        batch_freeze(pass, object, batch, &frozen);
    if (batch->n > 0) {
        vm_harvest(object, batch->start, batch->end, 0);
        uint32_t n = inactive_victims(pass, object, batch, victim);
        free_victims(pass, object, victim, n);
        if (frozen)
            vm_thaw(object);
        launder_stretch(pass, object, batch->start, batch->end);
    }
    vm_unlock(&object->lock);
}

static void scan_inactive(struct pageout_pass *pass)
{
    struct pageout_batch batch;
    uint32_t left = queue_count(PQ_INACTIVE), free;
    while (left > 0 && (free = free_pages()) + pass->laundered < pass->target) {
        uint32_t max = pass->target - free;
        if (pageout_batch_pick(&batch, PQ_INACTIVE, max < left ? max : left))
            inactive_batch(pass, batch.object, &batch);
        else if (batch.object != NULL)
            pass->transient++;
        else
            return;
        left -= batch.seen < left ? batch.seen : left;
    }
}

/* ---- the active queue ---------------------------------------------------------------------------------- */

/* Is active page m to become inactive? One that was used since the last look stays. (O) of its object. */
static bool active_aged(struct pageout_pass *pass, struct vm_page *m)
{
    bool referenced = (m->lru & (PL_YOUNG | PL_REFERENCED)) != 0;
    m->lru &= (uint8_t) ~(PL_YOUNG | PL_REFERENCED);
    pass->aged++;
    return !referenced || pass->force;
}

/* Makes pages of the batch inactive that were not used since the last look. */
static void active_batch(struct pageout_pass *pass, struct vm_object *object,
                         const struct pageout_batch *batch) FL_RELEASE(object->lock)
{
    if (batch->n > 0)
        vm_harvest(object, batch->start, batch->end, MACHINE_REFERENCED);
    for (uint32_t i = 0; i < batch->n; i++) {
        struct vm_page *m = batch->m[i];
        if (page_in_use(pass, object, m) || page_homeless(m) || !active_aged(pass, m))
            continue;
        deactivate_page(m);
        m->flags |= PG_TESTED;
    }
    lru_add_drain();
    vm_unlock(&object->lock);
}

/* Refills the inactive queue: up to a third of both queues, and as many more as are missing to the target. */
static void scan_active(struct pageout_pass *pass)
{
    struct pageout_batch batch;
    uint32_t left = queue_count(PQ_ACTIVE), free = free_pages();
    if (free >= pass->target)
        return;
    uint32_t want = (left + queue_count(PQ_INACTIVE)) / 3 + (pass->target - free);
    uint32_t have;
    while (left > 0 && (have = queue_count(PQ_INACTIVE)) < want) {
        if (pageout_batch_pick(&batch, PQ_ACTIVE, want - have < left ? want - have : left))
            active_batch(pass, batch.object, &batch);
        else if (batch.object != NULL)
            pass->transient++;
        else
            return;
        left -= batch.seen < left ? batch.seen : left;
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

/* Did the pass free pages, or bring some nearer to it? */
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
    if (atomic_load_explicit(&pagedaemon_wanted, memory_order_relaxed))
        return;
    vm_lock(&pagedaemon_lock); /* the daemon looks at pagedaemon_wanted under it before it sleeps */
    atomic_store(&pagedaemon_wanted, true);
    vm_unlock(&pagedaemon_lock);
    machine_wake(&pagedaemon_lock);
}

/*
 * Passes until enough pages are free (true), or until a pass with `force` was fruitless (false). A pass has
 * `force` after a fruitless one, or after PAGEOUT_AGING that only found out what is in use.
 */
static bool pagedaemon_work(void)
{
    uint32_t aging = 0;
    bool force = false;
    while (free_pages() < vm_pageout.free_target) {
        vm_lock(&pagedaemon_lock);
        bool stop = pagedaemon_stop;
        vm_unlock(&pagedaemon_lock);
        if (stop)
            return true;
        struct pageout_pass pass = pageout_pass(vm_pageout.free_target, force);
        if (pass.freed == 0 && pass.laundered > 0)
            (void)!vm_pager_wait_any(); /* pages that were written can be freed; false: they can be already */
        if (!pass_fruitful(&pass) && force)
            return false;
        aging = pass.freed + pass.laundered > 0 ? 0 : aging + 1;
        force = !pass_fruitful(&pass) || aging > PAGEOUT_AGING;
    }
    return true;
}

void vm_pageout_loop(void)
{
    vm_lock(&pagedaemon_lock);
    while (!pagedaemon_stop) {
        if (!atomic_load(&pagedaemon_wanted)) {
            vm_sleep(&pagedaemon_lock, &pagedaemon_lock);
            continue;
        }
        vm_unlock(&pagedaemon_lock);
        bool enough = pagedaemon_work();
        vm_lock(&pagedaemon_lock);
        if (!enough && !pagedaemon_stop) /* pagedaemon_wanted stays set, so that no thread wakes it early */
            (void)vm_sleep_until(&pagedaemon_lock, &pagedaemon_lock, machine_time_ns() + PAGEOUT_PAUSE_NS);
        atomic_store(&pagedaemon_wanted, false);
    }
    vm_unlock(&pagedaemon_lock);
}

void vm_pageout_stop(void)
{
    vm_lock(&pagedaemon_lock);
    pagedaemon_stop = true;
    vm_unlock(&pagedaemon_lock);
    machine_wake(&pagedaemon_lock);
}

/* ---- waiting for a page -------------------------------------------------------------------------------- */

/* Sleeps until pages are freed, PAGEOUT_PAUSE_NS at most. */
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

/* The last pass freed nothing. If it met pages that could not be written, they are the reason. */
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
        if (pass.freed > 0) { /* if other threads have taken the pages, those made progress */
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
    return 0; /* pages were free: if they are gone again, the caller comes back */
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

void fl_pageout_run(void)
{
    vm_pageout_loop();
}
