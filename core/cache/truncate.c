/*
 * truncate.c: pages that go because the file's bytes go.
 *
 *   fl_vnode_truncate, shorter     size ─▶ truncate_inode_pages_range ─▶ tail_lock ─▶ store->truncate
 *                                            unmap_mapping_range ─▶ unmap_mapping_pages ─▶ vm_rmap_unmap
 *                                            vm_object_page_remove, vm_object_remove_above
 *   fl_vnode_truncate, longer      store->truncate ─▶ pagecache_isize_extended (old tail zero) ─▶ size
 *   fl_vnode_punch                 write back ─▶ filemap_invalidate_lock ─▶ partial pages zero, others gone
 *                                            ─▶ store->punch ─▶ filemap_invalidate_unlock
 *
 *   somebody will read past us    ─▶ fl_vnode_sync        dirty ─▶ store
 *   somebody will write past us   ─▶ fl_vnode_sync ─▶ (the write) ─▶ fl_vnode_invalidate clean ─▶ forgotten
 *
 * The order when a file becomes shorter: first nothing comes in beyond the end, then what is there goes, and
 * with it every transfer; so no write of an old page meets the store after it was cut, where it would make
 * the file long again. When it becomes longer: the store first, so that a page beyond the old end has a
 * place.
 *
 * What is dirtied between fl_vnode_sync and fl_vnode_invalidate is newer than the write, or as new: it stays.
 * Locks: vn_lock around what changes the file; (V) → (O). The object lives as long as the vnode, to which the
 * caller has a reference.
 *
 * Does not do: fl_vnode_invalidate leaves pages that are wired or held; they keep what they have.
 * (invalidate_inode_pages2_range, Linux.)
 */
#include "cache/truncate.h"
#include "cache/filemap.h"
#include "cache/writeback.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_rmap.h"
#include "vm/vnode_pager.h"
#include <faultline/vm.h>

/* [offset, offset + len_bytes) in whole pages, cut at the end of all offsets. */
static vm_pindex_t range_end(vm_ooffset_t offset, uint64_t len_bytes)
{
    uint64_t last = len_bytes == 0 ? offset : offset + (len_bytes - 1);
    return last < offset ? UINT64_MAX : atop(last) + 1;
}

/* How many pages a file of so many bytes has. */
static vm_pindex_t pages_of(uint64_t size_bytes)
{
    return atop(size_bytes) + ((size_bytes & VM_PAGE_MASK) != 0);
}

/* ---- removing ------------------------------------------------------------------------------------------ */

/* (O). */
static void unmap_mapping_pages(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    vm_rmap_unmap(object, start, end, 0);
}

void unmap_mapping_range(struct vm_object *object, vm_ooffset_t holebegin, uint64_t holelen)
{
    vm_pindex_t end = holelen == 0 ? UINT64_MAX : range_end(holebegin, holelen);
    vm_lock(&object->lock);
    unmap_mapping_pages(object, atop(holebegin), end);
    vm_unlock(&object->lock);
}

/*
 * Pages [start, end) go, whoever has them: all mappings in one walk, then page by page. What shadows hold of
 * them goes too, or the clean copies only.
 */
static void truncate_inode_pages_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                       bool copies_only)
{
    if (start >= end)
        return;
    unmap_mapping_range(object, ptoa(start), end == UINT64_MAX ? 0 : ptoa(end - start));
    vm_lock(&object->lock);
    vm_object_page_remove(object, start, end, false);
    vm_unlock(&object->lock);
    vm_object_remove_above(object, start, end, copies_only);
}

/* Bytes [start, end) of m, which is busy and valid, become zeros, in the clean copies above, too. */
static int zero_busy_page(struct vm_object *object, struct vm_page *m, uint32_t start, uint32_t end)
{
    int error = pmap_zero_page_area(m, start, end);
    vm_object_remove_above(object, m->pindex, m->pindex + 1, true);
    return error;
}

/*
 * Bytes [start, end) of page pindex become zeros, if it is there. dirty: the store still has others. No lock
 * held.
 */
static int zero_partial_page(struct vm_object *object, vm_pindex_t pindex, uint32_t start, uint32_t end,
                             bool dirty)
{
    vm_lock(&object->lock);
    struct vm_page *m = find_lock_page(object, pindex);
    vm_unlock(&object->lock);
    if (m == NULL)
        return 0;
    int error = zero_busy_page(object, m, start, end);
    vm_lock(&object->lock);
    if (dirty)
        vm_page_dirty(m);
    vm_page_xunbusy(m);
    vm_unlock(&object->lock);
    return error;
}

/* The file ends, or ended, inside a page: what follows in it becomes zero. */
static int zero_tail(struct vm_object *object, uint64_t size_bytes)
{
    uint32_t start = (uint32_t)(size_bytes & VM_PAGE_MASK);
    return start == 0 ? 0 : zero_partial_page(object, atop(size_bytes), start, (uint32_t)VM_PAGE_SIZE, false);
}

int truncate_pagecache(struct vm_object *object, uint64_t new_bytes)
{
    truncate_inode_pages_range(object, pages_of(new_bytes), UINT64_MAX, false);
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

/* Absent pages [start, end) stay absent until the unlock; what is resident is the caller's business. (O). */
static void filemap_invalidate_lock(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    KASSERT(object->invalidate_end == 0, "V4");
    object->invalidate_start = start;
    object->invalidate_end = end;
}

static void filemap_invalidate_unlock(struct vm_object *object)
{
    vm_lock(&object->lock);
    object->invalidate_start = object->invalidate_end = 0;
    vm_unlock(&object->lock);
    machine_wake(&object->invalidate_start);
}

/* ---- the file's length --------------------------------------------------------------------------------- */

/*
 * The page in which a file of size_bytes ends gets zeros behind the end, and then neither comes in nor is
 * written until tail_unlock: write-back zeroes what it believes to lie behind the end
 * (vnode_pager_clean_tail), and makes the file as long as the store says at the moment. *m: the page, or
 * NULL: it is not there. No lock held.
 */
static int tail_lock(struct vm_object *object, uint64_t size_bytes, struct vm_page **m)
{
    vm_pindex_t pindex = atop(size_bytes);
    uint32_t tail = (uint32_t)(size_bytes & VM_PAGE_MASK);
    vm_lock(&object->lock);
    filemap_invalidate_lock(object, pindex, pindex + 1);
    *m = find_lock_page(object, pindex);
    vm_unlock(&object->lock);
    return *m == NULL || tail == 0 ? 0 : zero_busy_page(object, *m, tail, (uint32_t)VM_PAGE_SIZE);
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

int pagecache_isize_extended(struct vnode *vnode, uint64_t new_bytes)
{
    struct vm_object *object = vnode_pager_object(vnode);
    struct vm_page *m;
    int error = 0;
    if (object != NULL)
        error = tail_lock(object, vnode->size_bytes, &m);
    if (error == 0)
        (void)vnode_pager_newsize(vnode, new_bytes);
    if (object != NULL)
        tail_unlock(object, m);
    return error;
}

static int vnode_extend(struct vnode *vnode, struct store *store, uint64_t len_bytes)
{
    int error = store->ops->truncate(store, len_bytes);
    return error != 0 ? error : pagecache_isize_extended(vnode, len_bytes);
}

/* When the store refuses, it is longer than we know: whoever goes beyond what we know asks it. */
static int vnode_cut(struct vnode *vnode, struct store *store, uint64_t len_bytes)
{
    (void)vnode_pager_newsize(vnode, len_bytes);
    struct vm_object *object = vnode_pager_object(vnode);
    if (object == NULL)
        return store->ops->truncate(store, len_bytes);
    struct vm_page *m;
    truncate_inode_pages_range(object, pages_of(len_bytes), UINT64_MAX, false);
    int error = tail_lock(object, len_bytes, &m);
    int cut = store->ops->truncate(store, len_bytes);
    tail_unlock(object, m);
    return cut != 0 ? cut : error;
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

int fl_vnode_truncate(struct vnode *vnode, uint64_t len_bytes)
{
    vn_lock(vnode);
    /* What is known may be old: a file that others made longer is not to be taken for one that ends here. */
    int error = vnode_pager_setsize_locked(vnode);
    if (error == 0)
        error = vnode_truncate(vnode, len_bytes);
    vn_unlock(vnode);
    return error;
}

/* ---- holes --------------------------------------------------------------------------------------------- */

/* Bytes [start, end) of the object's resident pages become zeros, or their pages go. */
static int punch_pagecache(struct vm_object *object, uint64_t start, uint64_t end)
{
    vm_pindex_t first = atop(start), last = atop(end);
    uint32_t head = (uint32_t)(start & VM_PAGE_MASK), tail = (uint32_t)(end & VM_PAGE_MASK);
    if (head != 0 && first == last)
        return zero_partial_page(object, first, head, tail, true);
    int error = 0;
    if (head != 0)
        error = zero_partial_page(object, first++, head, (uint32_t)VM_PAGE_SIZE, true);
    if (error == 0 && tail != 0)
        error = zero_partial_page(object, last, 0, tail, true);
    if (error == 0)
        truncate_inode_pages_range(object, first, last, true);
    return error;
}

/*
 * The dirty pages are written first, so that nothing is lost when the store then refuses. A write-back of a
 * page that is only partly in the hole may pass the punch: it writes zeros there, too.
 */
static int vnode_punch(struct vnode *vnode, struct store *store, uint64_t start, uint64_t end)
{
    struct vm_object *object = vnode_pager_object(vnode);
    if (object == NULL)
        return store->ops->punch(store, start, end - start);
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
    vm_pindex_t start = atop(offset), end = range_end(offset, len_bytes);
    if (object == NULL)
        return;
    vm_lock(&object->lock);
    vm_object_page_remove(object, start, end, true);
    vm_unlock(&object->lock);
    vm_object_remove_above(object, start, end, true);
}

int fl_vnode_fsync(struct vnode *vnode, unsigned flags, fl_errseq_t *since)
{
    (void)since;
    if ((flags & ~(unsigned)FL_FSYNC_DATA) != 0)
        return -EINVAL;
    return vfs_fsync_range(vnode, vnode_pager_object(vnode), 0, UINT64_MAX);
}
