/*
 * punch.c: a hole in a file: its bytes become zeros, and its space goes back to the disk.
 *
 *   fl_vnode_punch   write back ─▶ filemap_invalidate_lock ─▶ partial pages zeroed, whole ones removed
 *                    ─▶ store->punch ─▶ held pages zeroed ─▶ filemap_invalidate_unlock
 *
 * Dirty pages are written first, so that nothing is lost when the store then refuses. A write-back of a page
 * that is only partly in the hole may come after the punch: it writes zeros there, too. One of a held page
 * may still write old bytes: the page is zeroed afterwards, and dirty, so that a write of zeros follows.
 *
 * Locks: vn_lock. The store is called with no other lock held.
 */
#include "file/truncate.h"
#include "file/vnode_size.h"
#include "file/vnode_space.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include <faultline/vm.h>

/*
 * Bytes [start, end) of a file that has an object. vn_lock held. Errors: of write-back; the store's; -ENOMEM.
 */
static int punch_object(struct vm_object *object, struct store *store, uint64_t start, uint64_t end)
{
    vm_pindex_t first = atop(start), last = range_end(start, end - start);
    int error = filemap_write_and_wait_range(object, first, last);
    if (error != 0)
        return error;
    vm_lock(&object->lock);
    filemap_invalidate_lock(object, first, last);
    vm_unlock(&object->lock);
    error = vm_object_preserve(object, first, last);
    if (error == 0)
        error = punch_pagecache(object, start, end);
    if (error == 0)
        error = store->ops->punch(store, start, end - start);
    if (error == 0)
        error = punch_held_pages(object, start, end);
    vnode_space_invalidate(vm_object_vnode(object));
    filemap_invalidate_unlock(object);
    return error;
}

/* vn_lock held. */
static int vnode_punch(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct store *store = atomic_load(&vnode->writer);
    if (store == NULL)
        return -EBADF;
    if (store->ops->punch == NULL)
        return -EOPNOTSUPP;
    int error = vnode_setsize_locked(vnode);
    if (error != 0 || offset >= vnode->size_bytes)
        return error;
    uint64_t left = vnode->size_bytes - offset, len = len_bytes < left ? len_bytes : left;
    struct vm_object *object = vnode_object(vnode);
    if (object != NULL)
        return punch_object(object, store, offset, offset + len);
    error = store->ops->punch(store, offset, len);
    vnode_space_invalidate(vnode);
    return error;
}

int fl_vnode_punch(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes)
{
    if (len_bytes == 0 || offset + len_bytes < offset)
        return -EINVAL;
    vn_lock(vnode);
    int error = vnode_punch(vnode, offset, len_bytes);
    vn_unlock(vnode);
    return error;
}
