/*
 * writeback.c: write-back: dirty pages of a file go to its store.
 *
 *   sync_blockdev, vfs_fsync_range ─▶ filemap_write_and_wait_range
 *     __filemap_fdatawrite_range
 *       do_writepages
 *         blk_start_plug
 *         write_cache_pages
 *           tag_pages_for_writeback   dirty ─▶ to-write: pages dirtied from now on are left for the next call
 *           writeback_batch           for runs of neighbours, several at a time
 *         blk_finish_plug
 *     filemap_fdatawait_range         also for writes that other threads started
 *
 *   writeback_batch   vm_harvest_clean ─▶ undirty ─▶ PG_WRITEBACK ─▶ (O) released
 *                     ─▶ transfer_writepages for each run, or block_write_full_page
 *
 * A system call may store into a page that it holds, through a mapping that must stay. Such a page is written
 * and stays dirty; WB_SYNC_NONE passes over it, because the write would gain nothing. Of any other page the
 * dirty bits start anew before it becomes clean: a store from then on makes it dirty again.
 *
 * Invariants WB1, WB2: writeback.h.
 * Locks: (O), released for every transfer.
 * Loops: a busy page and a write of another thread are waited for after everything in the plug was started;
 * their owners never wait for this thread then.
 *
 * Does not do: deciding when (msync, fsync, the flusher, page-out).
 */
#include "file/writeback.h"
#include "file/block.h"
#include "file/buffer.h"
#include "file/transfer.h"
#include "file/vnode.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/vm_harvest.h"
#include "vm/vm_pager.h"
#include "vm/vm_rmap.h"
#include <faultline/vm.h>

/* Transfers under way at a time: more than keep a disk busy, and not so many that they take all windows. */
#define WRITEBACK_DEPTH 32
/* Runs of a batch. One shoot-down serves them all, but the last runs wait until the first have started. */
#define WRITEBACK_RUNS 32
/* Pages by index, in runs of neighbours, which become clean together. A page with buffers is alone in one. */
struct writeback_batch {
    struct vm_page *m[MACHINE_RUN_MAX];
    uint32_t n;
    bool held; /* all of them are held; else none is */
};

/* ---- which pages --------------------------------------------------------------------------------------- */

/*
 * May a system call store into m at any moment, through a mapping that must stay? Not if nothing maps the
 * page. Asked once for each page, because holds are let go without (O). (O).
 */
static bool writeback_held(const struct vm_page *m)
{
    return m->hold_count > 0 && vm_rmap_mapped(m->object, m->pindex, m->pindex + 1);
}

/*
 * May m be written now: dirty, not busy, not in write-back, and not
 * behind the end, where a truncation works (WB2)? (O).
 */
static bool writeback_ready(const struct vm_page *m)
{
    return m != NULL && (m->flags & (PG_DIRTY | PG_BUSY | PG_WRITEBACK)) == PG_DIRTY &&
           m->pindex < m->object->size;
}

/* May m be written in the batch that begins with `first`? Pages with buffers are written one by one. (O). */
static bool writeback_joins(const struct vm_page *first, const struct vm_page *m, bool held)
{
    return writeback_ready(m) && (m->hold_count > 0) == held && !page_has_buffers(m) &&
           !page_has_buffers(first);
}

/* ---- a batch ------------------------------------------------------------------------------------------- */

/* When enough transfers are under way, waits for the oldest one of all files. No lock held. */
static void writeback_throttle(struct blk_plug *plug)
{
    if (transfers_active() < WRITEBACK_DEPTH)
        return;
    blk_finish_plug(plug);
    /* False: they have ended meanwhile, or other threads wait for them. */
    (void)!transfer_wait_any();
}

/* Puts the pages in write-back. A store into one from now on makes it dirty again. (O). */
static void writeback_begin(struct vm_object *object, struct writeback_batch *batch) FL_REQUIRES(object->lock)
{
    if (!batch->held)
        vm_harvest_clean(object, batch->m, batch->n);
    for (uint32_t i = 0; i < batch->n; i++) {
        KASSERT((batch->m[i]->flags & (PG_VALID | PG_PRIVATE)) != 0, "WB1");
        KASSERT(batch->m[i]->pindex < object->size, "WB2");
        if (!batch->held)
            vm_page_undirty(batch->m[i]);
        vm_radix_clear_mark(&object->pages, batch->m[i], RADIX_TOWRITE);
        vm_page_writeback_start(batch->m[i]);
    }
}

/*
 * Starts to write the batch. throttle: waits while enough transfers are under way. (O) held on entry and
 * return, released in between; the caller has a pip.
 */
static void writeback_batch(struct vm_object *object, struct writeback_batch *batch, struct blk_plug *plug,
                            bool throttle) FL_REQUIRES(object->lock)
{
    writeback_begin(object, batch);
    bool blocks = page_has_buffers(batch->m[0]);
    vm_unlock(&object->lock);
    if (blocks) /* an error becomes the page's and the vnode's, as with transfer_writepages */
        (void)!block_write_full_page(batch->m[0]);
    for (uint32_t i = 0, end; i < batch->n && !blocks; i = end) {
        for (end = i + 1; end < batch->n && batch->m[end]->pindex == batch->m[i]->pindex + (end - i);)
            end++;
        if (throttle)
            writeback_throttle(plug);
        transfer_writepages(object, batch->m + i, end - i, plug);
    }
    vm_lock(&object->lock);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* Marks the pages of [start, end) that are dirty now as to-write. (O). */
static void tag_pages_for_writeback(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock)
{
    struct vm_page *m;
    while (start < end && (m = vm_radix_lookup_mark(&object->pages, start, RADIX_DIRTY)) != NULL &&
           m->pindex < end) {
        vm_radix_set_mark(&object->pages, m, RADIX_TOWRITE);
        start = m->pindex + 1;
    }
}

/* Is m one of the pages that failed, which wbc passes over? (O). */
static bool writeback_spares(const struct writeback_control *wbc, const struct vm_page *m)
{
    return wbc->spare_failed && (m->flags & PG_WRITEERROR) != 0;
}

/*
 * batch: m, which is ready, and after it pages up to index `end` that have wbc's mark; at most nr_to_write,
 * and then only neighbours, which cost hardly more. (O).
 */
static void writeback_collect(struct vm_object *object, const struct writeback_control *wbc,
                              struct vm_page *m, vm_pindex_t end, struct writeback_batch *batch)
    FL_REQUIRES(object->lock)
{
    bool all = wbc->sync_mode == WB_SYNC_ALL;
    enum vm_radix_mark mark = all ? RADIX_TOWRITE : RADIX_DIRTY;
    uint32_t runs = 1, most = all ? UINT32_MAX : wbc->nr_to_write;
    batch->m[0] = m;
    for (batch->n = 1; batch->n < MACHINE_RUN_MAX; batch->n++) {
        vm_pindex_t next = batch->m[batch->n - 1]->pindex + 1;
        m = next < end ? vm_radix_lookup_mark(&object->pages, next, mark) : NULL;
        if (m == NULL || m->pindex >= end || !writeback_joins(batch->m[0], m, batch->held) ||
            writeback_spares(wbc, m))
            return;
        runs += m->pindex != next;
        if (runs > WRITEBACK_RUNS || (batch->n >= most && m->pindex != next))
            return;
        batch->m[batch->n] = m;
    }
}

/*
 * m has the to-write mark and cannot be written now: waits for its owner, or takes the mark off. The plug is
 * finished before any wait, because the owner may be waiting for a page in it. (O), released in between.
 */
static void writeback_not_ready(struct vm_object *object, struct vm_page *m, struct blk_plug *plug)
    FL_REQUIRES(object->lock)
{
    if ((m->flags & (PG_BUSY | PG_WRITEBACK)) == 0) { /* another thread has written it since it was tagged */
        vm_radix_clear_mark(&object->pages, m, RADIX_TOWRITE);
    } else if (plug->count > 0) {
        vm_unlock(&object->lock);
        blk_finish_plug(plug);
        vm_lock(&object->lock);
    } else {
        vm_page_busy_sleep(m);
    }
}

/*
 * Writes what wbc says of pages [start, end). (O) held on entry and return, released in between. Loops:
 * `start` moves on, except while the owner of one page is waited for.
 */
static void write_cache_pages(struct vm_object *object, struct writeback_control *wbc, vm_pindex_t start,
                              vm_pindex_t end, struct blk_plug *plug) FL_REQUIRES(object->lock)
{
    bool all = wbc->sync_mode == WB_SYNC_ALL;
    enum vm_radix_mark mark = all ? RADIX_TOWRITE : RADIX_DIRTY;
    struct writeback_batch batch;
    struct vm_page *m;
    if (all)
        tag_pages_for_writeback(object, start, end);
    while (start < end && (all || wbc->nr_to_write > 0) &&
           (m = vm_radix_lookup_mark(&object->pages, start, mark)) != NULL && m->pindex < end) {
        start = m->pindex;
        if (writeback_spares(wbc, m)) {
            start++;
            wbc->nr_to_write--; /* a limit on the pages looked at, too: all of the file may have failed */
            continue;
        }
        batch.held = writeback_held(m);
        if (!writeback_ready(m) || (batch.held && !all)) {
            if (all)
                writeback_not_ready(object, m, plug);
            else
                start++;
            continue;
        }
        writeback_collect(object, wbc, m, end, &batch);
        start = batch.m[batch.n - 1]->pindex + 1;
        wbc->nr_to_write -= batch.n < wbc->nr_to_write ? batch.n : wbc->nr_to_write;
        writeback_batch(object, &batch, plug, true);
    }
    vm_object_vnode(object)->writeback_index = start;
}

void do_writepages(struct vm_object *object, struct writeback_control *wbc)
{
    struct blk_plug plug;
    vm_lock(&object->lock);
    vm_object_pip_add(object);
    vm_pindex_t index = vm_object_vnode(object)->writeback_index;
    blk_start_plug(&plug);
    if (wbc->range_cyclic) {
        write_cache_pages(object, wbc, index, UINT64_MAX, &plug);
        if (wbc->nr_to_write > 0)
            write_cache_pages(object, wbc, 0, index, &plug);
    } else {
        write_cache_pages(object, wbc, wbc->range_start, wbc->range_end, &plug);
    }
    vm_unlock(&object->lock);
    blk_finish_plug(&plug);
    vm_lock(&object->lock);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
}

void __filemap_fdatawrite_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                enum writeback_sync_modes sync_mode)
{
    struct writeback_control wbc = {
        .sync_mode = sync_mode,
        .range_start = start,
        .range_end = end,
        .nr_to_write = UINT32_MAX,
    };
    if (!vm_pager_keeps(object))
        return;
    vm_harvest_silent(object, start, end);
    do_writepages(object, &wbc);
}

/* ---- waiting ------------------------------------------------------------------------------------------- */

/* Waits once for each page of [start, end) in write-back. (O), released in between. */
static void filemap_wait_writeback(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock)
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

void filemap_fdatawait_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    vm_lock(&object->lock);
    vm_object_pip_add(object);
    filemap_wait_writeback(object, start, end);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
}

/*
 * Pages that are dirty again would not tell: another thread may be writing one of them a second time at this
 * moment, and that write may fail, too.
 */
int filemap_check_errors(struct vnode *vnode, uint32_t before)
{
    return atomic_load(&vnode->wb_failures) == before ? 0 : errseq_last(&vnode->wb_err);
}

int filemap_write_and_wait_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    uint32_t before = atomic_load(&vm_object_vnode(object)->wb_failures);
    __filemap_fdatawrite_range(object, start, end, WB_SYNC_ALL);
    filemap_fdatawait_range(object, start, end);
    return filemap_check_errors(vm_object_vnode(object), before);
}

/* ---- a file as a whole --------------------------------------------------------------------------------- */

int sync_blockdev(struct vnode *vnode)
{
    struct vm_object *object = vnode_object(vnode);
    return object == NULL ? 0 : filemap_write_and_wait_range(object, 0, UINT64_MAX);
}

int vfs_fsync_range(struct vnode *vnode, struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                    errseq_t *since)
{
    struct store *store = atomic_load(&vnode->writer);
    int error = object == NULL ? 0 : filemap_write_and_wait_range(object, start, end);
    if (error == 0 && store != NULL) { /* without a writable store nothing was ever written */
        error = store->ops->flush(store);
        if (error != 0) /* the store returns it once, and every cursor must be told */
            vnode_seterror(vnode, error);
    }
    int told = since == NULL ? 0 : errseq_check_and_advance(&vnode->wb_err, since);
    return error != 0 ? error : told;
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

/* Is there a page with the mark whose last write failed? (O). */
static bool any_write_failed(struct vm_object *object, enum vm_radix_mark mark) FL_REQUIRES(object->lock)
{
    struct vm_page *m = vm_radix_lookup_mark(&object->pages, 0, mark);
    while (m != NULL && (m->flags & PG_WRITEERROR) == 0)
        m = vm_radix_lookup_mark(&object->pages, m->pindex + 1, mark);
    return m != NULL;
}

int fl_vnode_write_error(struct vnode *vnode)
{
    struct vm_object *object = vnode_object(vnode);
    int error = errseq_last(&vnode->wb_err);
    if (object == NULL || error == 0)
        return 0;
    vm_lock(&object->lock);
    /* A page that failed is dirty, or in write-back once more. */
    bool failed = any_write_failed(object, RADIX_DIRTY) || any_write_failed(object, RADIX_WRITEBACK);
    vm_unlock(&object->lock);
    return failed ? error : 0;
}

int fl_vnode_fsync(struct vnode *vnode, unsigned flags, fl_errseq_t *since)
{
    if ((flags & ~(unsigned)FL_FSYNC_DATA) != 0)
        return -EINVAL;
    return vfs_fsync_range(vnode, vnode_object(vnode), 0, UINT64_MAX, since);
}

#define SYNC_FILE_RANGE_WRITE_AND_WAIT                                                                       \
    (FL_SYNC_FILE_RANGE_WAIT_BEFORE | FL_SYNC_FILE_RANGE_WRITE | FL_SYNC_FILE_RANGE_WAIT_AFTER)

/* Pages [start, end) of the vnode. flags: FL_SYNC_FILE_RANGE_*. Errors: of write-back, during the call. */
static int sync_file_range(struct vnode *vnode, vm_pindex_t start, vm_pindex_t end, unsigned flags)
{
    struct vm_object *object = vnode_object(vnode);
    uint32_t before = atomic_load(&vnode->wb_failures);
    if (object == NULL)
        return 0;
    if (flags & FL_SYNC_FILE_RANGE_WAIT_BEFORE)
        filemap_fdatawait_range(object, start, end);
    /* With all three flags it writes whatever is dirty, also pages that are busy or in write-back now. */
    bool all = (flags & SYNC_FILE_RANGE_WRITE_AND_WAIT) == SYNC_FILE_RANGE_WRITE_AND_WAIT;
    if (flags & FL_SYNC_FILE_RANGE_WRITE)
        __filemap_fdatawrite_range(object, start, end, all ? WB_SYNC_ALL : WB_SYNC_NONE);
    if (flags & FL_SYNC_FILE_RANGE_WAIT_AFTER)
        filemap_fdatawait_range(object, start, end);
    return filemap_check_errors(vnode, before);
}

int fl_vnode_sync_range(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes, unsigned flags,
                        fl_errseq_t *since)
{
    vm_ooffset_t last = len_bytes == 0 ? UINT64_MAX : offset + len_bytes - 1;
    if ((flags & ~(unsigned)SYNC_FILE_RANGE_WRITE_AND_WAIT) != 0 || last < offset)
        return -EINVAL;
    int error = sync_file_range(vnode, atop(offset), len_bytes == 0 ? UINT64_MAX : atop(last) + 1, flags);
    bool waited = (flags & (FL_SYNC_FILE_RANGE_WAIT_BEFORE | FL_SYNC_FILE_RANGE_WAIT_AFTER)) != 0;
    if (!waited)
        return 0;
    return since == NULL ? error : errseq_check_and_advance(&vnode->wb_err, since);
}

/* ---- for page-out -------------------------------------------------------------------------------------- */

#define PAGEOUT_CLUSTER 16 /* dirty neighbours on each side that page-out writes, too */

/* batch: m and its dirty neighbours, at most PAGEOUT_CLUSTER on each side. (O). */
static void cluster_collect(struct vm_object *object, struct vm_page *m, struct writeback_batch *batch)
    FL_REQUIRES(object->lock)
{
    vm_pindex_t first = m->pindex, end = m->pindex + 1;
    while (first > 0 && m->pindex - first < PAGEOUT_CLUSTER &&
           writeback_joins(m, vm_page_lookup(object, first - 1), false))
        first--;
    while (end - m->pindex <= PAGEOUT_CLUSTER && writeback_joins(m, vm_page_lookup(object, end), false))
        end++;
    batch->held = false;
    for (batch->n = 0; first + batch->n < end; batch->n++)
        batch->m[batch->n] = vm_page_lookup(object, first + batch->n);
}

uint32_t pageout_cluster(struct vm_page *m, struct blk_plug *plug)
{
    struct vm_object *object = m->object;
    struct writeback_batch batch;
    vm_lock_assert(&object->lock);
    KASSERT(writeback_ready(m) && m->hold_count == 0, "WB1");
    cluster_collect(object, m, &batch);
    vm_object_pip_add(object);
    for (uint32_t i = 0; i < batch.n; i++)
        if ((batch.m[i]->lru & PL_LRU) != 0) /* a neighbour may be wired */
            batch.m[i]->lru |= PL_RECLAIM;
    writeback_batch(object, &batch, plug, false);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
    return batch.n;
}
