/*
 * flusher.c: the list of files with dirty pages, the thread that writes them, and the brake on those who make
 * more.
 *
 *   vm_page_dirty ─▶ __mark_inode_dirty ─▶ b_dirty
 *
 *   fl_writeback_run ─▶ wb_workfn ─┬─▶ wb_check_background   while more than dirty_background is dirty
 *                                  └─▶ wb_check_old          what is dirty since dirty_expire
 *                                        └─▶ writeback_single_inode ─▶ do_writepages, wait, off the list or
 *                                                                      to its tail
 *
 *   vm_fault, generic_perform_write ─▶ balance_dirty_pages ─▶ wb_wakeup; do_writepages of a chunk
 *
 * A visit begins with all that is dirty in the file, and ends when that is written, or when little enough is
 * dirty in all. What fails is dirty again, so the file stays on the list and gets its next visit after
 * dirty_expire; a round for the share's sake that got nowhere is followed by a pause.
 * A file stays on the list when others have written its pages: the next visit finds that out, and also drives
 * to their ends the writes that nobody waits for.
 *
 * Invariants W3, W4: flusher.h. W5 only the flusher takes a vnode off the list that has not ended, and only
 * when it has no dirty page and none in write-back.
 * Locks: (O) → (W). The flusher holds none while it writes. Loops: a round visits each file once.
 */
#include "file/flusher.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "file/vnode_pager.h"
#include <faultline/vm.h>

/* The flusher writes when more than this part of all pages is dirty and of files; */
#define BACKGROUND_SHARE 10
/* who dirties one more writes when more than this part is, … */
#define DIRTY_SHARE 4
/* … and his file has more than this part of that: others' dirty pages are not his work. */
#define DIRTY_OWN     8
#define BALANCE_CHUNK 256 /* pages that he writes at a time */

#define EXPIRE_NS UINT64_C(5000000000)
/* Between two rounds, at most: so that old files are written together. */
#define INTERVAL_NS UINT64_C(1000000000)

uint32_t dirty_background_thresh;

static struct {
    struct vm_lock lock;        /* (W); its address is the flusher's channel */
    struct vnode *first, *last; /* (W) b_dirty: by dirtied_when, the oldest first */
    uint64_t expire_ns;         /* (c) */
    uint64_t interval_ns;       /* (c) */
    uint32_t max;               /* (c) pages */
    bool stop;                  /* (W) */
    bool idle;                  /* (W) the flusher sleeps, and only a first dirty page wakes it */
    uint64_t old_round;         /* (W) when it may look for old files again */
    uint64_t background_round;  /* (W) … write for the share's sake again */
    _Atomic bool wanted;        /* set anywhere, cleared under (W): the flusher is awake, or will be */
} wb;

int flusher_startup(uint32_t nframes, uint32_t background, uint32_t max, uint64_t expire_ns)
{
    __builtin_memset(&wb, 0, sizeof wb);
    if (max == 0)
        max = nframes / DIRTY_SHARE;
    if (background == 0)
        background = nframes / BACKGROUND_SHARE < max ? nframes / BACKGROUND_SHARE : max;
    if (background > max || max > nframes)
        return -EINVAL;
    dirty_background_thresh = background;
    wb.max = max;
    wb.expire_ns = expire_ns == 0 ? EXPIRE_NS : expire_ns;
    wb.interval_ns = wb.expire_ns / 2 < INTERVAL_NS ? wb.expire_ns / 2 : INTERVAL_NS;
    return 0;
}

/* ---- the list ------------------------------------------------------------------------------------------ */

static void list_remove(struct vnode *vnode) FL_REQUIRES(wb.lock)
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

/* On the list, as dirty from now on. */
static void redirty_tail(struct vnode *vnode) FL_REQUIRES(wb.lock)
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

void __mark_inode_dirty(struct vnode *vnode)
{
    bool wake = false;
    vm_lock(&wb.lock);
    if ((vnode->i_state & I_FREEING) == 0) {
        redirty_tail(vnode);
        wake = wb.idle;
        wb.idle = false;
    }
    vm_unlock(&wb.lock);
    if (wake)
        machine_wake(&wb.lock);
}

void inode_wait_for_writeback(struct vnode *vnode)
{
    vm_lock(&wb.lock);
    vnode->i_state |= I_FREEING;
    if (vnode->i_state & I_DIRTY)
        list_remove(vnode);
    while (vnode->i_state & I_SYNC)
        vm_sleep(vnode, &wb.lock);
    vm_unlock(&wb.lock);
}

/* ---- a visit ------------------------------------------------------------------------------------------- */

/* The visit is over; `whole`: it had time for all of the file, or more time does not help. */
static void inode_sync_complete(struct vnode *vnode, struct vm_object *object, bool whole)
{
    vm_lock(&object->lock);
    bool clean = object->dirty_count == 0 && vm_radix_lookup_mark(&object->pages, 0, RADIX_WRITEBACK) == NULL;
    vm_lock(&wb.lock);
    vnode->i_state &= (uint8_t)~I_SYNC;
    if (vnode->i_state & I_FREEING) {
        machine_wake(vnode);
    } else if (clean) {
        KASSERT((vnode->i_state & I_DIRTY) != 0, "W5");
        list_remove(vnode);
    } else if (whole) {
        redirty_tail(vnode);
    }
    vm_unlock(&wb.lock);
    vm_unlock(&object->lock);
}

/*
 * Writes at most nr pages of the file, and waits for them. Whether it got somewhere: something was written,
 * and nothing failed. (W) on entry and return, released in between.
 */
static bool writeback_single_inode(struct vnode *vnode, uint32_t nr) FL_REQUIRES(wb.lock)
{
    struct writeback_control wbc = {.sync_mode = WB_SYNC_NONE, .range_cyclic = true, .nr_to_write = nr};
    vnode->i_state |= I_SYNC;
    vm_unlock(&wb.lock);
    struct vm_object *object = vnode_pager_object(vnode);
    uint32_t before = atomic_load(&vnode->wb_failures);
    do_writepages(object, &wbc);
    filemap_fdatawait_range(object, 0, UINT64_MAX);
    bool failed = filemap_check_errors(vnode, before) != 0;
    inode_sync_complete(vnode, object, wbc.nr_to_write > 0 || failed);
    vm_lock(&wb.lock);
    return wbc.nr_to_write < nr && !failed;
}

/* ---- the flusher --------------------------------------------------------------------------------------- */

static uint32_t dirty_excess(void)
{
    uint32_t dirty = atomic_load_explicit(&vm_page_dirty_files, memory_order_relaxed);
    return dirty > dirty_background_thresh ? dirty - dirty_background_thresh : 0;
}

/*
 * The files on the list now, the oldest first, until little enough is dirty; and then half of that, so that there
 * are few large turns instead of one for each page that somebody dirties.
 */
static void wb_check_background(uint64_t now) FL_REQUIRES(wb.lock)
{
    uint32_t excess;
    bool progress = false;
    if (now < wb.background_round)
        return;
    atomic_store(&wb.wanted, false);
    while (!wb.stop && wb.first != NULL && wb.first->dirtied_when <= now && (excess = dirty_excess()) > 0)
        progress |= writeback_single_inode(wb.first, excess + dirty_background_thresh / 2);
    /* What is dirty now is held, busy or broken: it will be for a while. */
    if (!progress && dirty_excess() > 0)
        wb.background_round = now + wb.interval_ns;
}

static void wb_check_old(uint64_t now) FL_REQUIRES(wb.lock)
{
    if (now < wb.old_round || now < wb.expire_ns)
        return;
    while (!wb.stop && wb.first != NULL && wb.first->dirtied_when <= now - wb.expire_ns) {
        /* What fails gets its next visit when it is old again. */
        (void)writeback_single_inode(wb.first, UINT32_MAX);
        wb.old_round = now + wb.interval_ns;
    }
}

/* Until when there is nothing to do, unless it is woken. */
static uint64_t wb_deadline(void) FL_REQUIRES(wb.lock)
{
    if (wb.first == NULL)
        return UINT64_MAX;
    uint64_t old = wb.first->dirtied_when + wb.expire_ns;
    uint64_t next = old > wb.old_round ? old : wb.old_round;
    bool background = atomic_load(&wb.wanted) || dirty_excess() > 0;
    return background && wb.background_round < next ? wb.background_round : next;
}

static void wb_workfn(void)
{
    vm_lock(&wb.lock);
    while (!wb.stop) {
        uint64_t now = machine_time_ns();
        wb_check_background(now);
        wb_check_old(now);
        uint64_t deadline = wb_deadline();
        bool wanted = atomic_load(&wb.wanted) && now >= wb.background_round;
        if (wb.stop || wanted || deadline <= machine_time_ns())
            continue;
        wb.idle = wb.first == NULL;
        (void)vm_sleep_until(&wb.lock, &wb.lock, deadline);
        wb.idle = false;
    }
    vm_unlock(&wb.lock);
}

void wb_wakeup(void)
{
    if (atomic_load_explicit(&wb.wanted, memory_order_relaxed))
        return;
    vm_lock(&wb.lock); /* the flusher looks at `wanted` under it before it sleeps */
    atomic_store(&wb.wanted, true);
    vm_unlock(&wb.lock);
    machine_wake(&wb.lock);
}

void flusher_stop(void)
{
    vm_lock(&wb.lock);
    wb.stop = true;
    vm_unlock(&wb.lock);
    machine_wake(&wb.lock);
}

/* ---- the brake ----------------------------------------------------------------------------------------- */

/* (O). */
static bool over_dirty_share(const struct vm_object *object)
{
    return atomic_load_explicit(&vm_page_dirty_files, memory_order_relaxed) > wb.max &&
           object->dirty_count > wb.max / DIRTY_OWN;
}

bool balance_dirty_writes(const struct vm_object *object)
{
    if (!dirty_pages_over())
        return false;
    wb_wakeup();
    return over_dirty_share(object);
}

void balance_dirty_pages(struct vm_object *object)
{
    struct writeback_control wbc = {.sync_mode = WB_SYNC_NONE,
                                    .range_cyclic = true,
                                    .spare_failed =
                                        true, /* or the page just stored to might never stay writable */
                                    .nr_to_write = BALANCE_CHUNK};
    if (!dirty_pages_over())
        return;
    vm_lock(&object->lock);
    bool writes = balance_dirty_writes(object);
    vm_unlock(&object->lock);
    if (writes)
        do_writepages(object, &wbc);
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

void fl_writeback_run(void)
{
    wb_workfn();
}

void flusher_check(void)
{
    vm_lock(&wb.lock);
    const struct vnode *prev = NULL;
    for (const struct vnode *vnode = wb.first; vnode != NULL; prev = vnode, vnode = vnode->dirty_next) {
        KASSERT((vnode->i_state & (I_DIRTY | I_FREEING)) == I_DIRTY && vnode->dirty_prev == prev, "W3");
        KASSERT(prev == NULL || prev->dirtied_when <= vnode->dirtied_when, "W4");
    }
    KASSERT(wb.last == prev, "W3");
    vm_unlock(&wb.lock);
}
