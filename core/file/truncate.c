/*
 * truncate.c: pages that go because the file's bytes go.
 *
 *   fl_vnode_truncate, shorter     tail_lock ─▶ size ─▶ unmap_mapping_range ─▶ transfers over
 *                                            ─▶ store->truncate ─▶ tail zero ─▶ truncate_inode_pages_range
 *                                            └ refused: size as it was, and everything is there
 *   truncate_inode_pages_range     unmap_mapping_range ─▶ unmap_mapping_pages ─▶ vm_rmap_unmap
 *                                  truncate_idle_pages ─▶ truncate_inode_batch      those that are not busy
 *                                  truncate_inode_page                              each that was waited for
 *                                    truncate_cleanup_page ─▶ unmap_mapping_page, do_invalidatepage
 *                                    delete_from_page_cache
 *                                  vm_object_remove_above
 *   fl_vnode_truncate, longer      tail_lock ─▶ tail zero ─▶ store->truncate ─▶ size
 *   fl_vnode_punch                 write back ─▶ filemap_invalidate_lock ─▶ partial pages zero, others gone,
 *                                            but those that are held ─▶ store->punch ─▶ punch_held: zero
 *                                            ─▶ filemap_invalidate_unlock
 *
 *   somebody will read past us    ─▶ fl_vnode_sync        dirty ─▶ store
 *   somebody will write past us   ─▶ fl_vnode_sync ─▶ (the write) ─▶ fl_vnode_invalidate clean ─▶ forgotten
 *
 * The order when a file becomes shorter: first nothing comes in beyond the end, is mapped there or begins
 * to be written (W2), then what was on its way ends; so no write of an old page meets the store after it
 * was cut, where it would make the file long again. Then the store is cut, then the pages go. When it
 * becomes longer: the store first, so that a page beyond the old end has a place; while the old end's page
 * is at rest.
 *
 * A page that a system call holds is waited for by nobody (vm_page.h). Of a hole it stays, and stays mapped,
 * and becomes zeros: the file goes on having it, and the call must find it. What is cut off loses its
 * mapping, as it must, and leaves the object; its frame is left to the call.
 *
 * What is dirtied between fl_vnode_sync and fl_vnode_invalidate is newer than the write, or as new: it stays.
 * Locks: vn_lock around what changes the file; (V) → (O). The object lives as long as the vnode, to which the
 * caller has a reference.
 *
 * Does not do: fl_vnode_invalidate leaves pages that are wired or held; they keep what they have.
 * (invalidate_inode_pages2_range, Linux.)
 */
#include "file/truncate.h"
#include "file/buffer.h"
#include "file/filemap.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_rmap.h"
#include "file/vnode_pager.h"
#include "file/vnode_space.h"
#include <faultline/vm.h>

#define TRUNCATE_BATCH 64 /* pages unmapped and freed together */

/* [offset, offset + len_bytes) in whole pages, cut at the end of all offsets. */
static vm_pindex_t range_end(vm_ooffset_t offset, uint64_t len_bytes)
{
    uint64_t last = len_bytes == 0 ? offset : offset + (len_bytes - 1);
    return last < offset ? UINT64_MAX : atop(last) + 1;
}

/* ---- removing ------------------------------------------------------------------------------------------ */

/* Pages on their way out: busy, by index. */
struct truncate_batch {
    struct vm_page *m[TRUNCATE_BATCH];
    uint32_t n;
};

/* (O). */
static void unmap_mapping_pages(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock)
{
    vm_rmap_unmap(object, start, end, 0);
}

/* (O). */
static void unmap_mapping_page(struct vm_page *m)
{
    struct vm_object *object = m->object;
    vm_lock_assert(&object->lock);
    unmap_mapping_pages(object, m->pindex, m->pindex + 1);
}

void unmap_mapping_range(struct vm_object *object, vm_ooffset_t holebegin, uint64_t holelen)
{
    vm_pindex_t end = holelen == 0 ? UINT64_MAX : range_end(holebegin, holelen);
    vm_lock(&object->lock);
    unmap_mapping_pages(object, atop(holebegin), end);
    vm_unlock(&object->lock);
}

/* Bytes [offset, VM_PAGE_SIZE) of busy m are no more the file's. (O). */
static void do_invalidatepage(struct vm_page *m, uint32_t offset)
{
    block_invalidatepage(m, offset);
}

/* Busy m is nobody's but the cache's; mapped: perhaps not yet. (O). */
static void truncate_cleanup_page(struct vm_page *m, bool mapped)
{
    if (mapped)
        unmap_mapping_page(m);
    if (page_has_buffers(m))
        do_invalidatepage(m, 0);
    vm_page_undirty(m);
    while (m->wire_count > 0)
        vm_page_unwire(m, PQ_INACTIVE);
}

/* Neighbours go to the machine as one run. (O). */
static void delete_from_page_cache_batch(struct truncate_batch *batch)
{
    vm_page_free_batch(batch->m, batch->n);
    batch->n = 0;
}

/* (O). */
static void delete_from_page_cache(struct vm_page *m)
{
    vm_page_free(m);
}

/* Busy m goes, wherever it is mapped. (O). */
static void truncate_inode_page(struct vm_page *m)
{
    truncate_cleanup_page(m, true);
    delete_from_page_cache(m);
}

/* The pages of the batch go: unmapped with one shoot-down for all. (O). */
static void truncate_inode_batch(struct truncate_batch *batch)
{
    bool clean = true;
    for (uint32_t i = 0; i < batch->n; i++)
        clean = clean && (batch->m[i]->flags & PG_DIRTY) == 0;
    vm_rmap_unmap_pages(batch->m, batch->n, clean ? MACHINE_UNMAP_RELEASE : 0);
    for (uint32_t i = 0; i < batch->n; i++)
        truncate_cleanup_page(batch->m[i], false);
    delete_from_page_cache_batch(batch);
}

/* Does somebody have m who is soon done with it? (O). */
static bool truncate_must_wait(const struct vm_page *m)
{
    return (m->flags & (PG_BUSY | PG_WRITEBACK)) || m->readers > 0;
}

/* The pages of [start, end) that nobody has busy go, held ones if `held` says so. (O). */
static void truncate_idle_pages(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, bool held)
{
    struct truncate_batch batch = {.n = 0};
    struct vm_page *m;
    while (start < end && (m = vm_page_find_least(object, start)) != NULL && m->pindex < end) {
        start = m->pindex + 1;
        if (truncate_must_wait(m) || (m->hold_count > 0 && !held))
            continue;
        vm_page_xbusy(m);
        batch.m[batch.n++] = m;
        if (batch.n == TRUNCATE_BATCH)
            truncate_inode_batch(&batch);
    }
    truncate_inode_batch(&batch);
}

/*
 * The first page of [start, end), busy, after whoever has it has let it go; NULL: there is none. (O),
 * released in between.
 */
static struct vm_page *truncate_lock_page(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock)
{
    struct vm_page *m;
    while ((m = vm_page_find_least(object, start)) != NULL && m->pindex < end) {
        if (!truncate_must_wait(m)) {
            vm_page_xbusy(m);
            return m;
        }
        vm_page_busy_sleep(m);
    }
    return NULL;
}

/*
 * Pages [start, end) go, whoever has them: all mappings in one walk, then page by page, at last those that
 * are somebody's. What shadows hold of them goes too.
 */
static void truncate_inode_pages_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct vm_page *m;
    if (start >= end)
        return;
    unmap_mapping_range(object, ptoa(start), end == UINT64_MAX ? 0 : ptoa(end - start));
    vm_lock(&object->lock);
    truncate_idle_pages(object, start, end, true);
    while ((m = truncate_lock_page(object, start, end)) != NULL)
        truncate_inode_page(m);
    vm_unlock(&object->lock);
    vm_object_remove_above(object, start, end, false);
}

bool invalidate_inode_pages2_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    vm_lock(&object->lock);
    vm_object_page_remove(object, start, end, true);
    struct vm_page *m = vm_page_find_least(object, start);
    bool gone = m == NULL || m->pindex >= end;
    vm_unlock(&object->lock);
    vm_object_remove_above(object, start, end, true);
    return gone;
}

/* ---- parts of pages ------------------------------------------------------------------------------------ */

/* Bytes [start, end) of m, which is busy, become zeros, in the clean copies above, too. */
static int zero_busy_page(struct vm_object *object, struct vm_page *m, uint32_t start, uint32_t end)
{
    int error = pmap_zero_page_area(m, start, end);
    vm_object_remove_above(object, m->pindex, m->pindex + 1, true);
    return error;
}

/* The file ends at byte `start` of busy m: the rest of it becomes zeros, whose blocks nobody writes. */
static int truncate_partial_page(struct vm_object *object, struct vm_page *m, uint32_t start)
{
    int error = zero_busy_page(object, m, start, (uint32_t)VM_PAGE_SIZE);
    vm_lock(&object->lock);
    if (page_has_buffers(m))
        do_invalidatepage(m, start);
    vm_unlock(&object->lock);
    return error;
}

/* Bytes [start, end) of busy m become zeros, and are to be written; it is let go. No lock held. */
static int zero_locked_page(struct vm_object *object, struct vm_page *m, uint32_t start, uint32_t end)
{
    vm_lock(&object->lock); /* whoever waits for m says so in its flags */
    bool valid = (m->flags & PG_VALID) != 0;
    vm_unlock(&object->lock);
    /* Blocks that were never read must not come in as they are in the store now. */
    int error = valid ? 0 : block_read_full_page(m);
    if (error == 0)
        error = zero_busy_page(object, m, start, end);
    vm_lock(&object->lock);
    if (m->flags & PG_VALID)
        vm_page_dirty(m);
    vm_page_xunbusy(m);
    vm_unlock(&object->lock);
    return error;
}

/* Bytes [start, end) of page pindex become zeros, if it is there, and are to be written. No lock held. */
static int zero_partial_page(struct vm_object *object, vm_pindex_t pindex, uint32_t start, uint32_t end)
{
    vm_lock(&object->lock);
    struct vm_page *m = find_lock_page(object, pindex);
    vm_unlock(&object->lock);
    return m == NULL ? 0 : zero_locked_page(object, m, start, end);
}

/* The file ends, or ended, inside a page: what follows in it becomes zero. */
static int zero_tail(struct vm_object *object, uint64_t size_bytes)
{
    uint32_t start = (uint32_t)(size_bytes & VM_PAGE_MASK);
    if (start == 0)
        return 0;
    vm_lock(&object->lock);
    struct vm_page *m = find_lock_page(object, atop(size_bytes));
    vm_unlock(&object->lock);
    if (m == NULL)
        return 0;
    int error = truncate_partial_page(object, m, start);
    vm_lock(&object->lock);
    vm_page_xunbusy(m);
    vm_unlock(&object->lock);
    return error;
}

int truncate_pagecache(struct vm_object *object, uint64_t new_bytes)
{
    truncate_inode_pages_range(object, size_pages(new_bytes), UINT64_MAX);
    return zero_tail(object, new_bytes);
}

int truncate_forget_tail(struct vm_object *object, uint64_t old_bytes)
{
    vm_pindex_t pindex = atop(old_bytes);
    if ((old_bytes & VM_PAGE_MASK) == 0)
        return 0;
    int error = zero_tail(object, old_bytes);
    vm_lock(&object->lock);
    vm_object_page_remove(object, pindex, pindex + 1, true);
    vm_unlock(&object->lock);
    vm_object_remove_above(object, pindex, pindex + 1, true);
    return error;
}

/* ---- keeping out --------------------------------------------------------------------------------------- */

void filemap_invalidate_lock(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    KASSERT(object->invalidate_end == 0, "V4");
    object->invalidate_start = start;
    object->invalidate_end = end;
}

void filemap_invalidate_unlock(struct vm_object *object)
{
    vm_lock(&object->lock);
    object->invalidate_start = object->invalidate_end = 0;
    vm_unlock(&object->lock);
    machine_wake(&object->invalidate_start);
}

/* ---- the file's length --------------------------------------------------------------------------------- */

/*
 * The page in which a file of size_bytes ends neither comes in nor is written until tail_unlock: write-back
 * zeroes what it believes to lie behind the end (vnode_pager_clean_tail), and makes the file as long as the
 * store says at the moment. The page, busy, or NULL: it is not there. No lock held.
 */
static struct vm_page *tail_lock(struct vm_object *object, uint64_t size_bytes)
{
    vm_pindex_t pindex = atop(size_bytes);
    vm_lock(&object->lock);
    filemap_invalidate_lock(object, pindex, pindex + 1);
    struct vm_page *m = find_lock_page(object, pindex);
    vm_unlock(&object->lock);
    return m;
}

/* The same page, m, gets zeros behind the end. Errors: -ENOMEM. */
static int tail_zero(struct vm_object *object, struct vm_page *m, uint64_t size_bytes)
{
    uint32_t start = (uint32_t)(size_bytes & VM_PAGE_MASK);
    return m == NULL || start == 0 ? 0 : truncate_partial_page(object, m, start);
}

static void tail_unlock(struct vm_object *object, struct vm_page *m)
{
    if (m != NULL) {
        vm_lock(&object->lock);
        vm_page_xunbusy(m);
        vm_unlock(&object->lock);
    }
    filemap_invalidate_unlock(object);
}

/*
 * The file becomes longer, store and all. What a program stored behind the old end becomes zeros; nothing
 * of it is on its way to the store when that becomes longer, and so would take it. Errors, nothing
 * changed: the store's, -ENOMEM.
 */
static int pagecache_isize_extended(struct vnode *vnode, struct vm_object *object, struct store *store,
                                    uint64_t new_bytes)
{
    struct vm_page *m = tail_lock(object, vnode->size_bytes);
    int error = tail_zero(object, m, vnode->size_bytes);
    if (error == 0)
        error = store->ops->truncate(store, new_bytes);
    if (error == 0)
        (void)vnode_pager_newsize(vnode, new_bytes);
    tail_unlock(object, m);
    return error;
}

static int vnode_extend(struct vnode *vnode, struct store *store, uint64_t len_bytes)
{
    struct vm_object *object = vnode_pager_object(vnode);
    if (object != NULL)
        return pagecache_isize_extended(vnode, object, store, len_bytes);
    int error = store->ops->truncate(store, len_bytes);
    if (error == 0)
        (void)vnode_pager_newsize(vnode, len_bytes);
    return error;
}

/*
 * Nothing is on its way to or from pages from `start` on, which lie behind the object's end: so nothing
 * begins either (W2). Whoever has one of them busy or in write-back does not wait for the file's last page
 * meanwhile.
 */
static void truncate_wait_idle(struct vm_object *object, vm_pindex_t start)
{
    struct vm_page *m;
    vm_lock(&object->lock);
    while ((m = vm_page_find_least(object, start)) != NULL) {
        start = m->pindex;
        if (m->flags & (PG_BUSY | PG_WRITEBACK))
            vm_page_busy_sleep(m);
        else if (start++ == UINT64_MAX)
            break;
    }
    vm_unlock(&object->lock);
}

/*
 * The store is cut while the pages are still there, out of reach behind the end: when it refuses they are
 * what they were.
 */
static int vnode_cut_object(struct vnode *vnode, struct vm_object *object, struct store *store,
                            uint64_t len_bytes)
{
    struct vm_page *m = tail_lock(object, len_bytes); /* or write-back would clean a tail that may stay */
    uint64_t old_bytes = vnode_pager_newsize(vnode, len_bytes);
    unmap_mapping_range(object, round_page(len_bytes), 0);
    truncate_wait_idle(object, atop(len_bytes) + 1);
    int error = store->ops->truncate(store, len_bytes);
    bool cut = error == 0;
    if (cut)
        error = tail_zero(object, m, len_bytes);
    else
        (void)vnode_pager_newsize(vnode, old_bytes);
    tail_unlock(object, m);
    if (cut)
        truncate_inode_pages_range(object, size_pages(len_bytes), UINT64_MAX);
    return error;
}

static int vnode_cut(struct vnode *vnode, struct store *store, uint64_t len_bytes)
{
    struct vm_object *object = vnode_pager_object(vnode);
    if (object != NULL)
        return vnode_cut_object(vnode, object, store, len_bytes);
    int error = store->ops->truncate(store, len_bytes);
    if (error == 0)
        (void)vnode_pager_newsize(vnode, len_bytes);
    return error;
}

int vnode_truncate(struct vnode *vnode, uint64_t len_bytes)
{
    struct store *store = atomic_load(&vnode->writer);
    if (store == NULL)
        return -EBADF;
    if (store->ops->truncate == NULL)
        return -EOPNOTSUPP;
    if (len_bytes > INT64_MAX)
        return -EFBIG;
    return len_bytes > vnode->size_bytes ? vnode_extend(vnode, store, len_bytes)
                                         : vnode_cut(vnode, store, len_bytes);
}

/* What is known may be old: a file that others made longer is not to be taken for one that ends here. */
static int vnode_set_length(struct vnode *vnode, uint64_t len_bytes, bool longer_only)
{
    vn_lock(vnode);
    int error = vnode_pager_setsize_locked(vnode);
    if (error == 0 && (!longer_only || len_bytes > vnode->size_bytes))
        error = vnode_truncate(vnode, len_bytes);
    vn_unlock(vnode);
    return error;
}

int fl_vnode_truncate(struct vnode *vnode, uint64_t len_bytes)
{
    return vnode_set_length(vnode, len_bytes, false);
}

int fl_vnode_extend(struct vnode *vnode, uint64_t len_bytes)
{
    return vnode_set_length(vnode, len_bytes, true);
}

/* ---- holes --------------------------------------------------------------------------------------------- */

/* Pages [start, end) go, after whoever has them busy, but not those that are held. No lock held. */
static void punch_unheld_pages(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct vm_page *m;
    vm_lock(&object->lock);
    truncate_idle_pages(object, start, end, false);
    while ((m = truncate_lock_page(object, start, end)) != NULL) {
        start = m->pindex + 1; /* nothing comes in behind us */
        if (m->hold_count > 0)
            vm_page_xunbusy(m);
        else
            truncate_inode_page(m);
    }
    vm_unlock(&object->lock);
}

/*
 * The pages of [start, end) that are left, for they were held: a system call may have such a page's address
 * for as long as it likes, and must find it. So it becomes zeros where it is, dirty, because what the call
 * stores into it is newer than the hole. No lock held. Errors: -ENOMEM; the store has its hole.
 */
static int punch_held_pages(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct vm_page *m;
    int error = 0;
    vm_lock(&object->lock);
    while ((m = truncate_lock_page(object, start, end)) != NULL) {
        start = m->pindex + 1;
        vm_unlock(&object->lock);
        int failed = zero_locked_page(object, m, 0, (uint32_t)VM_PAGE_SIZE);
        error = error != 0 ? error : failed;
        vm_lock(&object->lock);
    }
    vm_unlock(&object->lock);
    return error;
}

/*
 * Bytes [start, end) of the object's resident pages become zeros, or their pages go, but those that are held.
 */
static int punch_pagecache(struct vm_object *object, uint64_t start, uint64_t end)
{
    vm_pindex_t first = atop(start), last = atop(end);
    uint32_t head = (uint32_t)(start & VM_PAGE_MASK), tail = (uint32_t)(end & VM_PAGE_MASK);
    if (head != 0 && first == last)
        return zero_partial_page(object, first, head, tail);
    int error = 0;
    if (head != 0)
        error = zero_partial_page(object, first++, head, (uint32_t)VM_PAGE_SIZE);
    if (error == 0 && tail != 0)
        error = zero_partial_page(object, last, 0, tail);
    if (error == 0 && first < last) {
        punch_unheld_pages(object, first, last);
        vm_object_remove_above(object, first, last, true);
    }
    return error;
}

/*
 * The dirty pages are written first, so that nothing is lost when the store then refuses. A write-back of a
 * page that is only partly in the hole may pass the punch: it writes zeros there, too. One of a held page,
 * which writes old bytes then, is followed by one of zeros.
 */
static int vnode_punch(struct vnode *vnode, struct store *store, uint64_t start, uint64_t end)
{
    struct vm_object *object = vnode_pager_object(vnode);
    if (object == NULL) {
        int punched = store->ops->punch(store, start, end - start);
        vnode_pager_holes(vnode, true);
        return punched;
    }
    vm_pindex_t first = atop(start), last = range_end(start, end - start);
    int error = filemap_write_and_wait_range(object, first, last);
    if (error != 0)
        return error;
    vm_lock(&object->lock);
    filemap_invalidate_lock(object, first, last);
    vm_unlock(&object->lock);
    error = punch_pagecache(object, start, end);
    if (error == 0)
        error = store->ops->punch(store, start, end - start);
    if (error == 0)
        error = punch_held_pages(object, atop(start + VM_PAGE_MASK), atop(end));
    vnode_pager_holes(vnode, true);
    filemap_invalidate_unlock(object);
    return error;
}

static int vnode_punch_locked(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct store *store = atomic_load(&vnode->writer);
    if (store == NULL)
        return -EBADF;
    if (store->ops->punch == NULL)
        return -EOPNOTSUPP;
    int error = vnode_pager_setsize_locked(vnode);
    if (error != 0 || offset >= vnode->size_bytes)
        return error;
    uint64_t left = vnode->size_bytes - offset;
    return vnode_punch(vnode, store, offset, offset + (len_bytes < left ? len_bytes : left));
}

int fl_vnode_punch(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes)
{
    if (len_bytes == 0 || offset + len_bytes < offset)
        return -EINVAL;
    vn_lock(vnode);
    int error = vnode_punch_locked(vnode, offset, len_bytes);
    vn_unlock(vnode);
    return error;
}

/* ---- around a host's own reads and writes -------------------------------------------------------------- */

int fl_vnode_sync(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct vm_object *object = vnode_pager_object(vnode);
    return object == NULL ? 0
                          : filemap_write_and_wait_range(object, atop(offset), range_end(offset, len_bytes));
}

void fl_vnode_invalidate(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct vm_object *object = vnode_pager_object(vnode);
    if (object != NULL)
        (void)!invalidate_inode_pages2_range(object, atop(offset), range_end(offset, len_bytes));
}
