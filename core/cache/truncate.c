/*
 * truncate.c: a file and its pages, when somebody reads or writes the file past the VM (read, write, fsync of
 * a host's own).
 *
 *     somebody will read   ─▶ fl_vnode_sync        dirty ─▶ store
 *     somebody will write  ─▶ fl_vnode_sync ─▶ (the write) ─▶ fl_vnode_invalidate clean ─▶ forgotten
 *
 * Both are for the pages that a range of bytes touches. What is dirtied between the two calls is newer than
 * the write, or as new: it stays. Locks: (V) → (O). The object lives as long as the vnode, to which the
 * caller has a reference.
 *
 * Does not do: pages that are wired or held; they keep what they have. (invalidate_inode_pages2_range,
 * Linux.)
 */
#include "cache/writeback.h"
#include "lib/errno.h"
#include "vm/vnode_pager.h"
#include <faultline/vm.h>

/* The vnode's object, or NULL: nothing of the file was ever mapped. */
static struct vm_object *vnode_object_alive(struct vnode *vnode)
{
    vm_lock(&vnode->lock);
    struct vm_object *object = vnode->object;
    vm_unlock(&vnode->lock);
    return object;
}

/* [offset, offset + len_bytes) in whole pages, cut at the end of all offsets. */
static vm_pindex_t range_end(vm_ooffset_t offset, uint64_t len_bytes)
{
    uint64_t last = len_bytes == 0 ? offset : offset + (len_bytes - 1);
    return last < offset ? UINT64_MAX : atop(last) + 1;
}

int fl_vnode_sync(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct vm_object *object = vnode_object_alive(vnode);
    return object == NULL ? 0
                          : filemap_write_and_wait_range(object, atop(offset), range_end(offset, len_bytes));
}

void fl_vnode_invalidate(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct vm_object *object = vnode_object_alive(vnode);
    vm_pindex_t start = atop(offset), end = range_end(offset, len_bytes);
    if (object == NULL)
        return;
    vm_lock(&object->lock);
    vm_object_page_remove(object, start, end, true);
    vm_unlock(&object->lock);
    vm_object_remove_above(object, start, end, true);
}
