/*
 * flusher.c: the list of files with dirty pages, the thread that writes them, and the brake.
 *
 *   vm_page_dirty ─▶ __mark_inode_dirty ─▶ the list
 *
 *   fl_writeback_run ─┬─▶ wb_check_background   while more than dirty_background_thresh pages are dirty
 *                     └─▶ wb_check_old          files that became dirty more than expire_ns ago
 *                           └─▶ writeback_single_inode ─▶ do_writepages, wait ─▶ off the list, or to its tail
 *
 *   vm_fault, generic_perform_write ─▶ balance_dirty_pages ─▶ wb_wakeup; do_writepages of a chunk
 *
 * A visit begins with all pages that are dirty in the file. It ends when they are written, or when few enough
 * pages of all files are dirty. A page that fails is dirty again, so its file stays on the list and gets its
 * next visit after expire_ns; a background round without progress is followed by a pause. A file stays on the
 * list when other threads have written its pages: the next visit notices, and also drives to their ends the
 * writes that no thread waits for.
 *
 * Invariants WB3 … WB5: flusher.h. Locks: (O) → (W). The flusher holds none while it writes.
 * Loops: a round visits each file once.
 */
#include "file/flusher.h"
#include "file/vnode_space.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/vm_harvest.h"
#include "vm/vm_rmap.h"
#include <faultline/vm.h>

/* One part in so many of all pages may be dirty, of files, before the flusher writes. */
#define BACKGROUND_SHARE 10
/* One part in so many may be dirty before a thread that dirties one more writes, too … */
#define DIRTY_SHARE 4
/* … if its file has more than one part in so many of these: it does not write other files' pages. */
#define DIRTY_OWN     8
#define BALANCE_CHUNK 256 /* pages that it writes at a time */

#define EXPIRE_NS UINT64_C(5000000000)
/* Between two rounds, at most: so that old files are written together. */
#define INTERVAL_NS UINT64_C(1000000000)

struct vm_lock wb_lock; /* (W); its address is the flusher's channel */

uint32_t dirty_background_thresh;
static uint32_t dirty_max;   /* (c) pages */
static uint64_t expire_ns;   /* (c) age at which a file is written */
static uint64_t interval_ns; /* (c) between two rounds */
/* The flusher is awake, or about to be woken. Set anywhere, cleared under (W). */
static _Atomic bool wb_wanted;

static struct {
    struct vnode *first, *last; /* the list, by dirtied_when, the oldest first */
    bool stop;
    bool idle;                 /* the flusher sleeps, and a first dirty page is to wake it */
    uint64_t old_round;        /* ns: when it may look for old files again */
    uint64_t background_round; /* ns: when it may write again because too much is dirty */
} wb FL_GUARDED_BY(wb_lock);

int flusher_startup(uint32_t nframes, uint32_t background, uint32_t max, uint64_t expire)
{
    wb_lock = (struct vm_lock){0};
    __builtin_memset(&wb, 0, sizeof wb);
    atomic_store(&wb_wanted, false);
    if (max == 0)
        max = nframes / DIRTY_SHARE;
    if (background == 0)
        background = nframes / BACKGROUND_SHARE < max ? nframes / BACKGROUND_SHARE : max;
    if (background > max || max > nframes)
        return -EINVAL;
    dirty_background_thresh = background;
    dirty_max = max;
    expire_ns = expire == 0 ? EXPIRE_NS : expire;
    interval_ns = expire_ns / 2 < INTERVAL_NS ? expire_ns / 2 : INTERVAL_NS;
    return 0;
}

/* ---- the list ------------------------------------------------------------------------------------------ */

/* (W). */
static void list_remove(struct vnode *vnode) FL_REQUIRES(wb_lock)
{
    if (vnode->dirty_prev != NULL)
        vnode->dirty_prev->dirty_next = vnode->dirty_next;
    else
        wb.first = vnode->dirty_next;
    if (vnode->dirty_next != NULL)
        vnode->dirty_next->dirty_prev = vnode->dirty_prev;
    else
        wb.last = vnode->dirty_prev;
    vnode->dirty_next = vnode->dirty_prev = NULL;
    vnode->i_state &= (uint8_t)~I_DIRTY;
}

/* To the tail of the list, as dirty from now on. (W). */
static void redirty_tail(struct vnode *vnode) FL_REQUIRES(wb_lock)
{
    if (vnode->i_state & I_DIRTY)
        list_remove(vnode);
    vnode->i_state |= I_DIRTY;
    vnode->dirtied_when = machine_time_ns();
    vnode->dirty_prev = wb.last;
    if (wb.last != NULL)
        wb.last->dirty_next = vnode;
    else
        wb.first = vnode;
    wb.last = vnode;
}

void __mark_inode_dirty(struct vnode *vnode, bool silent)
{
    bool wake = false;
    vm_lock(&wb_lock);
    /* A silent mapping may have dirtied other pages before: the next visit is put off for so long only. */
    uint64_t now = machine_time_ns();
    bool listed = (vnode->i_state & I_DIRTY) != 0;
    bool due = listed && silent && now >= vnode->harvested_when + expire_ns;
    if (!listed)
        vnode->harvested_when = now;
    if ((vnode->i_state & I_FREEING) == 0 && !due) {
        redirty_tail(vnode);
        wake = wb.idle;
        wb.idle = false;
    }
    vm_unlock(&wb_lock);
    if (wake)
        machine_wake(&wb_lock);
}

void inode_wait_for_writeback(struct vnode *vnode)
{
    vm_lock(&wb_lock);
    vnode->i_state |= I_FREEING;
    if (vnode->i_state & I_DIRTY)
        list_remove(vnode);
    while (vnode->i_state & I_SYNC)
        vm_sleep(vnode, &wb_lock);
    vm_unlock(&wb_lock);
}

/* ---- a visit ------------------------------------------------------------------------------------------- */

/*
 * Ends a visit. whole: it went through all of the file, or something failed, so that the next visit can wait.
 */
static void inode_sync_complete(struct vnode *vnode, struct vm_object *object, bool whole)
{
    vm_lock(&object->lock);
    bool clean = object->dirty_count == 0 && !vm_rmap_silent(object, 0, UINT64_MAX) &&
                 vm_radix_lookup_mark(&object->pages, 0, RADIX_WRITEBACK) == NULL;
    vm_lock(&wb_lock);
    vnode->i_state &= (uint8_t)~I_SYNC;
    if (vnode->i_state & I_FREEING) {
        machine_wake(vnode);
    } else if (clean) {
        KASSERT((vnode->i_state & I_DIRTY) != 0, "WB5");
        list_remove(vnode);
    } else if (whole) {
        redirty_tail(vnode);
    }
    vm_unlock(&wb_lock);
    vm_unlock(&object->lock);
}

/*
 * Looks for pages that became dirty without a fault. Returns whether
 * the file had dirty pages before that.
 */
static bool inode_harvest(struct vm_object *object)
{
    vnode_space_watch(object);
    vm_lock(&object->lock);
    bool dirty = object->dirty_count > 0;
    vm_unlock(&object->lock);
    vm_harvest_silent(object, 0, UINT64_MAX);
    return dirty;
}

/*
 * A visit: writes at most nr pages of the file, and waits for them. If it is because the file is old, and all
 * that is dirty was found just now, it is as if the file became dirty now. Returns whether it made progress:
 * pages were written, and none failed. (W) held on entry and return, released in between.
 */
static bool writeback_single_inode(struct vnode *vnode, uint32_t nr, bool old) FL_REQUIRES(wb_lock)
{
    struct writeback_control wbc = {.sync_mode = WB_SYNC_NONE, .range_cyclic = true, .nr_to_write = nr};
    vnode->i_state |= I_SYNC;
    vnode->harvested_when = machine_time_ns();
    vm_unlock(&wb_lock);
    struct vm_object *object = vnode_object(vnode);
    uint32_t before = atomic_load(&vnode->wb_failures);
    if (inode_harvest(object) || !old)
        do_writepages(object, &wbc);
    filemap_fdatawait_range(object, 0, UINT64_MAX);
    bool failed = filemap_check_errors(vnode, before) != 0;
    inode_sync_complete(vnode, object, wbc.nr_to_write > 0 || failed);
    vm_lock(&wb_lock);
    return wbc.nr_to_write < nr && !failed;
}

/* ---- the flusher --------------------------------------------------------------------------------------- */

/* How many pages are dirty beyond the background limit. */
static uint32_t dirty_excess(void)
{
    uint32_t dirty = atomic_load_explicit(&vm_page_dirty_count, memory_order_relaxed);
    return dirty > dirty_background_thresh ? dirty - dirty_background_thresh : 0;
}

/*
 * Visits the files that are on the list now, the oldest first, until few enough pages are dirty; and then
 * goes on to half of that limit, so that there are few large rounds instead of one for each page that becomes
 * dirty. (W), released in between.
 */
static void wb_check_background(uint64_t now) FL_REQUIRES(wb_lock)
{
    uint32_t excess;
    bool progress = false;
    if (now < wb.background_round)
        return;
    atomic_store(&wb_wanted, false);
    while (!wb.stop && wb.first != NULL && wb.first->dirtied_when <= now && (excess = dirty_excess()) > 0)
        progress |= writeback_single_inode(wb.first, excess + dirty_background_thresh / 2, false);
    /* The pages that are dirty now are held or busy, or their writes fail: that lasts a while. */
    if (!progress && dirty_excess() > 0)
        wb.background_round = now + interval_ns;
}

/* Visits the files that have been dirty for expire_ns. (W), released in between. */
static void wb_check_old(uint64_t now) FL_REQUIRES(wb_lock)
{
    if (now < wb.old_round || now < expire_ns)
        return;
    while (!wb.stop && wb.first != NULL && wb.first->dirtied_when <= now - expire_ns) {
        /* A file whose writes fail gets its next visit when it is old again. */
        (void)writeback_single_inode(wb.first, UINT32_MAX, true);
        wb.old_round = now + interval_ns;
    }
}

/* Until when (ns) there is nothing to do, unless the flusher is woken. (W). */
static uint64_t wb_deadline(void) FL_REQUIRES(wb_lock)
{
    if (wb.first == NULL)
        return UINT64_MAX;
    uint64_t old = wb.first->dirtied_when + expire_ns;
    uint64_t next = old > wb.old_round ? old : wb.old_round;
    bool background = atomic_load(&wb_wanted) || dirty_excess() > 0;
    return background && wb.background_round < next ? wb.background_round : next;
}

/* (wb_workfn, Linux.) */
void fl_writeback_run(void)
{
    vm_lock(&wb_lock);
    while (!wb.stop) {
        uint64_t now = machine_time_ns();
        wb_check_background(now);
        wb_check_old(now);
        uint64_t deadline = wb_deadline();
        bool wanted = atomic_load(&wb_wanted) && now >= wb.background_round;
        if (wb.stop || wanted || deadline <= machine_time_ns())
            continue;
        wb.idle = wb.first == NULL;
        (void)vm_sleep_until(&wb_lock, &wb_lock, deadline);
        wb.idle = false;
    }
    vm_unlock(&wb_lock);
}

void wb_wakeup(void)
{
    if (atomic_load_explicit(&wb_wanted, memory_order_relaxed))
        return;
    vm_lock(&wb_lock); /* the flusher looks at wb_wanted under it before it sleeps */
    atomic_store(&wb_wanted, true);
    vm_unlock(&wb_lock);
    machine_wake(&wb_lock);
}

void flusher_stop(void)
{
    vm_lock(&wb_lock);
    wb.stop = true;
    vm_unlock(&wb_lock);
    machine_wake(&wb_lock);
}

/* ---- the brake ----------------------------------------------------------------------------------------- */

bool balance_dirty_writes(const struct vm_object *object)
{
    if (!dirty_pages_over())
        return false;
    wb_wakeup();
    return atomic_load_explicit(&vm_page_dirty_count, memory_order_relaxed) > dirty_max &&
           object->dirty_count > dirty_max / DIRTY_OWN;
}

void balance_dirty_pages(struct vm_object *object)
{
    /* A page that failed is spared: to write it again after each store would never let it stay writable. */
    struct writeback_control wbc = {
        .sync_mode = WB_SYNC_NONE, .range_cyclic = true, .spare_failed = true, .nr_to_write = BALANCE_CHUNK};
    if (!dirty_pages_over())
        return;
    vm_lock(&object->lock);
    bool writes = balance_dirty_writes(object);
    vm_unlock(&object->lock);
    if (writes)
        do_writepages(object, &wbc);
}

/* ---- checks -------------------------------------------------------------------------------------------- */

void flusher_check(void)
{
    vm_lock(&wb_lock);
    const struct vnode *prev = NULL;
    for (const struct vnode *vnode = wb.first; vnode != NULL; prev = vnode, vnode = vnode->dirty_next) {
        KASSERT((vnode->i_state & (I_DIRTY | I_FREEING)) == I_DIRTY && vnode->dirty_prev == prev, "WB3");
        KASSERT(prev == NULL || prev->dirtied_when <= vnode->dirtied_when, "WB4");
    }
    KASSERT(wb.last == prev, "WB3");
    vm_unlock(&wb_lock);
}
