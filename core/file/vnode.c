/*
 * vnode.c: what every part of core/file asks of a vnode: its object, length, block size, errors, and the lock
 * of those that change it. vnode.h has the picture, the locks and the invariants.
 *
 * Does not do: opening and ending (vnode_hash.c), changes of the length (vnode_size.c).
 */
#include "file/vnode.h"
#include "vm/pmap.h"
#include <faultline/vm.h>

struct vm_object *vnode_object(struct vnode *vnode)
{
    vm_lock(&vnode->lock);
    struct vm_object *object = vnode->object;
    vm_unlock(&vnode->lock);
    return object;
}

void vnode_seterror(struct vnode *vnode, int error)
{
    errseq_set(&vnode->wb_err, error);
    atomic_fetch_add(&vnode->wb_failures, 1);
}

void vnode_may_have_holes(struct vnode *vnode)
{
    const struct store *writer = atomic_load(&vnode->writer);
    if (writer != NULL && writer->ops->allocate != NULL)
        atomic_fetch_add(&vnode->holes, 1);
}

/* ---- length and block ---------------------------------------------------------------------------------- */

uint64_t i_size_read(struct vnode *vnode)
{
    vm_lock(&vnode->lock);
    uint64_t size_bytes = vnode->size_bytes;
    vm_unlock(&vnode->lock);
    return size_bytes;
}

static uint32_t store_block(const struct store *store)
{
    return store->block_bytes == 0 ? VM_PAGE_SIZE : store->block_bytes;
}

uint32_t i_blocksize(struct vnode *vnode)
{
    const struct store *writer = atomic_load(&vnode->writer);
    uint32_t reads = store_block(vnode->store), writes = writer == NULL ? reads : store_block(writer);
    return reads > writes ? reads : writes;
}

int vnode_clean_tail(struct vm_object *object, struct vm_page **m, uint32_t count)
{
    vm_lock(&object->lock);
    uint64_t size_bytes = vm_object_vnode(object)->size_bytes;
    vm_pindex_t first = m[0]->pindex, last = atop(size_bytes);
    vm_unlock(&object->lock);
    uint32_t tail = (uint32_t)(size_bytes & VM_PAGE_MASK);
    if (tail == 0 || last < first || last - first >= count)
        return 0;
    return pmap_zero_page_area(m[last - first], tail, (uint32_t)VM_PAGE_SIZE);
}

/* ---- one at a time ------------------------------------------------------------------------------------- */

void vn_lock(struct vnode *vnode)
{
    vm_lock(&vnode->lock);
    while (vnode->locked)
        vm_sleep(&vnode->locked, &vnode->lock);
    vnode->locked = true;
    vm_unlock(&vnode->lock);
}

void vn_unlock(struct vnode *vnode)
{
    vm_lock(&vnode->lock);
    vnode->locked = false;
    vm_unlock(&vnode->lock);
    machine_wake(&vnode->locked);
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

void fl_vnode_ref(struct vnode *vnode)
{
    uint32_t refs = atomic_fetch_add(&vnode->ref_count, 1);
    KASSERT(refs > 0, "VN1");
}

struct store *fl_vnode_store(struct vnode *vnode)
{
    struct store *writer = atomic_load(&vnode->writer);
    return writer != NULL ? writer : vnode->store;
}

uint64_t fl_vnode_size(struct vnode *vnode)
{
    return i_size_read(vnode);
}

fl_errseq_t fl_vnode_errseq(struct vnode *vnode)
{
    return errseq_sample(&vnode->wb_err);
}
