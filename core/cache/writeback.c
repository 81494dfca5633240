/*
 * writeback.c: dirty pages of a file back to its store.
 *
 *   filemap_write_and_wait_range
 *     filemap_fdatawrite_range
 *       tag_pages_for_writeback     dirty ─▶ to-write, so that what is dirtied from now on is another time's
 *       write_cache_pages           for each run of to-write neighbours: writeback_run
 *     filemap_fdatawait_range       writes that others had begun
 *   pageout_cluster ─▶ writeback_run
 *
 *   writeback_run: write-protect ─▶ clean ─▶ PG_WRITEBACK ─▶ (O) dropped ─▶ vm_pager_put_pages
 *
 * A page that is held for a system call may be written by it through a mapping that must stay: it is written,
 * and stays dirty.
 * Invariant: W1 a page in write-back is valid. A page that is not dirty, and not held, has no writable
 * mapping: that is what the write protection is for.
 * Locks: (O), dropped for every transfer. Waiting for busy pages and for others' writes: their owners never
 * wait for us.
 *
 * Does not do: deciding when (msync, vrele, the page daemon); flushing the store.
 */
#include "cache/writeback.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/vm_pager.h"
#include "vm/vm_rmap.h"
#include "vm/vnode_pager.h"

#define PAGEOUT_CLUSTER 16 /* dirty neighbours that the page daemon writes along, on each side */

#define DIRTY_SHARE 4 /* a writer writes back when more than this part of all pages is dirty and of files, */
#define DIRTY_OWN   8 /* and its file has more than this part of that: others' dirty pages are not its work */

struct writeback_run {
    struct vm_page *m[MACHINE_RUN_MAX]; /* neighbours */
    uint32_t n;
    bool held; /* all of them are; else none is */
};

/* May m be written now, in a run of held pages or in one of others? (O). */
static bool writeback_ready(const struct vm_page *m, bool held)
{
    return m != NULL && (m->flags & (PG_DIRTY | PG_BUSY | PG_WRITEBACK)) == PG_DIRTY &&
           (m->hold_count > 0) == held;
}

/* Writes the run. (O) on entry and return, released in between; the caller has a pip. */
static int writeback_run(struct vm_object *object, struct writeback_run *run) REQUIRES(object->lock)
{
    vm_pindex_t start = run->m[0]->pindex;
    if (!run->held)
        vm_rmap_wrprotect(object, start, start + run->n);
    for (uint32_t i = 0; i < run->n; i++) {
        KASSERT((run->m[i]->flags & PG_VALID) != 0, "W1");
        if (!run->held)
            vm_page_undirty(run->m[i]);
        vm_radix_clear_mark(&object->pages, run->m[i], RADIX_TOWRITE);
        vm_page_writeback_start(run->m[i]);
    }
    vm_unlock(&object->lock);
    int error = vm_pager_put_pages(object, run->m, run->n);
    vm_lock(&object->lock);
    return error;
}

/* ---- for msync and the end of a file ------------------------------------------------------------------- */

/* (O). */
static void tag_pages_for_writeback(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct vm_page *m;
    while (start < end && (m = vm_radix_lookup_mark(&object->pages, start, RADIX_DIRTY)) != NULL &&
           m->pindex < end) {
        vm_radix_set_mark(&object->pages, m, RADIX_TOWRITE);
        start = m->pindex + 1;
    }
}

/* The run of to-write pages that begins with m, which is ready. (O). */
static void writeback_collect(struct vm_object *object, struct vm_page *m, vm_pindex_t end,
                              struct writeback_run *run)
{
    run->held = m->hold_count > 0;
    run->m[0] = m;
    run->n = 1;
    while (run->n < MACHINE_RUN_MAX && run->m[0]->pindex + run->n < end) {
        m = vm_page_lookup(object, run->m[0]->pindex + run->n);
        if (!writeback_ready(m, run->held) || !vm_radix_get_mark(&object->pages, m, RADIX_TOWRITE))
            break;
        run->m[run->n++] = m;
    }
}

/*
 * Writes the to-write pages of [start, end). Goes on after an error, returns the first. (O) on entry and
 * return, released in between.
 */
static int write_cache_pages(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    REQUIRES(object->lock)
{
    struct writeback_run run;
    struct vm_page *m;
    int first_error = 0;
    while (start < end && (m = vm_radix_lookup_mark(&object->pages, start, RADIX_TOWRITE)) != NULL &&
           m->pindex < end) {
        start = m->pindex;
        if (m->flags & (PG_BUSY | PG_WRITEBACK)) {
            vm_page_busy_sleep(m);
            /* ends: nobody is busy for ever, and the mark goes with the next write, whosever it is */
            continue;
        }
        if ((m->flags & PG_DIRTY) == 0) { /* written by the page daemon since it was tagged */
            vm_radix_clear_mark(&object->pages, m, RADIX_TOWRITE);
            continue;
        }
        writeback_collect(object, m, end, &run);
        start += run.n;
        int error = writeback_run(object, &run);
        if (first_error == 0)
            first_error = error;
    }
    return first_error;
}

static int filemap_fdatawrite_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    REQUIRES(object->lock)
{
    tag_pages_for_writeback(object, start, end);
    return write_cache_pages(object, start, end);
}

/* Waits for the writes of pages of [start, end) that are on their way. Each page is waited for once. */
static void filemap_fdatawait_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    REQUIRES(object->lock)
{
    struct vm_page *m;
    while (start < end && (m = vm_radix_lookup_mark(&object->pages, start, RADIX_WRITEBACK)) != NULL &&
           m->pindex < end) {
        start = m->pindex;
        while ((m = vm_page_lookup(object, start)) != NULL && (m->flags & PG_WRITEBACK))
            vm_page_busy_sleep(m);
        start++;
    }
}

/* Whether a page of [start, end) could not be written. (O). */
static bool filemap_check_errors(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct vm_page *m;
    while (start < end && (m = vm_radix_lookup_mark(&object->pages, start, RADIX_DIRTY)) != NULL &&
           m->pindex < end) {
        if (m->flags & PG_WRITEERROR)
            return true;
        start = m->pindex + 1;
    }
    return false;
}

int filemap_write_and_wait_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    KASSERT(object->type == OBJT_VNODE, "O5");
    vm_lock(&object->lock);
    vm_object_pip_add(object);
    int error = filemap_fdatawrite_range(object, start, end);
    filemap_fdatawait_range(object, start, end);
    /* Somebody else's write, under way when we came, may have failed: its page was not ours to write. */
    bool failed = filemap_check_errors(object, start, end);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
    if (!failed)
        return error;
    int remembered = vnode_pager_takeerror(object->vnode);
    if (error != 0)
        return error;
    return remembered != 0 ? remembered : -EIO;
}

int vfs_fsync_range(struct vnode *vnode, struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct store *store = atomic_load(&vnode->writer);
    int error = object == NULL ? 0 : filemap_write_and_wait_range(object, start, end);
    if (error == 0 && store != NULL) /* without a writable store nothing was ever written */
        error = store->ops->flush(store);
    int seen = vnode_pager_takeerror(vnode);
    return error != 0 ? error : seen;
}

/* ---- for writers --------------------------------------------------------------------------------------- */

/* (O). */
static bool over_dirty_share(const struct vm_object *object)
{
    uint32_t limit = vm_page_count / DIRTY_SHARE;
    return atomic_load_explicit(&vm_page_dirty_files, memory_order_relaxed) > limit &&
           object->dirty_count > limit / DIRTY_OWN;
}

void balance_dirty_pages(struct vm_object *object)
{
    vm_lock(&object->lock);
    if (over_dirty_share(object)) {
        vm_object_pip_add(object);
        /* What fails is dirty again and remembered with the vnode (vm_pager_put_pages): fsync tells. */
        (void)filemap_fdatawrite_range(object, 0, UINT64_MAX);
        vm_object_pip_wakeup(object);
    }
    vm_unlock(&object->lock);
}

/* ---- for the page daemon ------------------------------------------------------------------------------- */

/* The dirty neighbours of m, at most PAGEOUT_CLUSTER on each side, and m. (O). */
static void cluster_collect(struct vm_object *object, struct vm_page *m, struct writeback_run *run)
{
    vm_pindex_t first = m->pindex, end = m->pindex + 1;
    while (first > 0 && m->pindex - first < PAGEOUT_CLUSTER &&
           writeback_ready(vm_page_lookup(object, first - 1), false))
        first--;
    while (end - m->pindex <= PAGEOUT_CLUSTER && writeback_ready(vm_page_lookup(object, end), false))
        end++;
    run->held = false;
    for (run->n = 0; first + run->n < end; run->n++)
        run->m[run->n] = vm_page_lookup(object, first + run->n);
}

int pageout_cluster(struct vm_page *m)
{
    struct vm_object *object = m->object;
    struct writeback_run run;
    vm_lock_assert(&object->lock);
    KASSERT(writeback_ready(m, false), "W1");
    cluster_collect(object, m, &run);
    vm_object_pip_add(object);
    int error = writeback_run(object, &run);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
    return error;
}
