/*
 * vnode_pager.c: the pager of files: the vnode's object, its length, where its pages lie in the store, and the
 * row of pagertab.
 *
 *   vm_fault, vm_pageout ─▶ pagertab[OBJT_VNODE] ─┬─ here               object, length, has a page
 *                                                 ├─ transfer.c         pages in and out
 *                                                 ├─ readahead.c        windows, the mark
 *                                                 ├─ buffer.c           parts of pages
 *                                                 ├─ writeback.c, flusher.c   dirty pages
 *                                                 └─ vnode_space.c      space on the disk
 *
 * Locks: (V) → (O). Stores are called with neither.
 *
 * Does not do: noticing that a file was written past the VM (revalidate.c). Its length is asked when a fault
 * or a mapping goes beyond what is known, or by fl_vnode_setsize.
 */
#include "file/vnode_pager.h"
#include "file/buffer.h"
#include "file/flusher.h"
#include "file/readahead.h"
#include "file/transfer.h"
#include "file/truncate.h"
#include "file/vnode_space.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "vm/pmap.h"
#include "vm/vm_pager.h"
#include <faultline/vm.h>

/* ---- the object ---------------------------------------------------------------------------------------- */

/* The object with a reference for the caller, or NULL: there is none yet. (V). */
static struct vm_object *vnode_object(struct vnode *vnode)
{
    if (vnode->object != NULL)
        vm_object_reference(vnode->object);
    return vnode->object;
}

struct vm_object *vnode_pager_object(struct vnode *vnode)
{
    vm_lock(&vnode->lock);
    struct vm_object *object = vnode->object;
    vm_unlock(&vnode->lock);
    return object;
}

/*
 * Makes the vnode's object, unless another thread did so meanwhile. No lock held: the machine may sleep over
 * it. NULL: no memory.
 */
static struct vm_object *vnode_object_make(struct vnode *vnode)
{
    struct vm_object *fresh = vm_object_allocate(OBJT_VNODE, 0, vnode);
    if (fresh == NULL)
        return NULL;
    vm_lock(&vnode->lock);
    bool ours = vnode->object == NULL;
    if (ours) {
        vnode->object = fresh; /* with the reference that it was born with */
        vm_lock(&fresh->lock);
        fresh->size = size_pages(vnode->size_bytes);
        vm_unlock(&fresh->lock);
    }
    struct vm_object *object = vnode_object(vnode);
    vm_unlock(&vnode->lock);
    if (!ours)
        vm_object_destroy(fresh);
    return object;
}

struct vm_object *vnode_pager_alloc(void *handle, vm_pindex_t size)
{
    struct vnode *vnode = handle;
    vm_lock(&vnode->lock);
    struct vm_object *object = vnode_object(vnode);
    vm_unlock(&vnode->lock);
    if (object == NULL)
        object = vnode_object_make(vnode);
    if (object == NULL)
        return NULL;
    vm_lock(&object->lock);
    bool beyond = size > object->size;
    vm_unlock(&object->lock);
    if (beyond && vnode_pager_setsize(vnode) != 0)
        machine_log(
            "faultline: a store could not say how long it is; the fault that needs to know will ask again");
    return object;
}

bool vnode_pager_haspage(struct vm_object *object, vm_pindex_t pindex, uint32_t *before, uint32_t *after)
{
    if (pindex >= object->size) {
        *before = *after = 0;
        return false;
    }
    vm_pindex_t behind = object->size - pindex - 1;
    *before = pindex < MACHINE_RUN_MAX ? (uint32_t)pindex : MACHINE_RUN_MAX - 1;
    *after = behind < MACHINE_RUN_MAX ? (uint32_t)behind : MACHINE_RUN_MAX - 1;
    return true;
}

int vnode_pager_clean_tail(struct vm_object *object, struct vm_page **m, uint32_t count)
{
    vm_lock(&object->lock);
    uint64_t size_bytes = vm_object_vnode(object)->size_bytes;
    vm_pindex_t first = m[0]->pindex, last = atop(size_bytes);
    vm_unlock(&object->lock);
    if ((size_bytes & VM_PAGE_MASK) == 0 || last < first || last - first >= count)
        return 0;
    return pmap_zero_page_area(m[last - first], (uint32_t)(size_bytes & VM_PAGE_MASK),
                               (uint32_t)VM_PAGE_SIZE);
}

void vnode_pager_strategy(struct transfer *transfer, struct blk_plug *plug)
{
    struct vnode *vnode = vm_object_vnode(transfer->object);
    struct bio *bio = &transfer->bio;
    bio->offset = ptoa(transfer->pindex);
    bio->len_bytes = ptoa(transfer->npages);
    bio->npages = transfer->npages;
    bio->addr = transfer->addr;
    bio->store = bio->op == STORE_READ ? vnode->store : atomic_load(&vnode->writer);
    if (bio->store == NULL) /* dirty pages of a file that nobody opened for writing */
        bio_endio(bio, -EBADF);
    else
        submit_bio(bio, plug);
}

void vnode_pager_seterror(struct vnode *vnode, int error)
{
    errseq_set(&vnode->wb_err, error);
    atomic_fetch_add(&vnode->wb_failures, 1);
}

/* ---- the length ---------------------------------------------------------------------------------------- */

uint64_t vnode_pager_newsize(struct vnode *vnode, uint64_t size_bytes)
{
    vnode_may_have_holes(vnode); /* before anybody can store to the new pages */
    vm_lock(&vnode->lock);
    struct vm_object *object = vnode->object;
    uint64_t old_bytes = vnode->size_bytes;
    if (object != NULL) {
        vm_lock(&object->lock);
        if (size_bytes < old_bytes)
            vnode_space_forget(vnode);
        object->size = size_pages(size_bytes); /* no fault enters a page beyond it from now on */
        vnode->size_bytes = size_bytes;
        vm_unlock(&object->lock);
    } else {
        vnode->size_bytes = size_bytes;
    }
    vm_unlock(&vnode->lock);
    return old_bytes;
}

int vnode_pager_setsize_locked(struct vnode *vnode)
{
    uint64_t new_bytes;
    int error = vnode->store->ops->size(vnode->store, &new_bytes);
    if (error != 0)
        return error;
    uint64_t old_bytes = vnode_pager_newsize(vnode, new_bytes);
    struct vm_object *object = vnode_pager_object(vnode);
    if (object == NULL || new_bytes == old_bytes)
        return 0;
    return new_bytes > old_bytes ? truncate_forget_tail(object, old_bytes)
                                 : truncate_pagecache(object, new_bytes);
}

int vnode_pager_setsize(struct vnode *vnode)
{
    vn_lock(vnode);
    int error = vnode_pager_setsize_locked(vnode);
    vn_unlock(vnode);
    return error;
}

int fl_vnode_setsize(struct vnode *vnode)
{
    return vnode_pager_setsize(vnode);
}

/* ---- the row of pagertab ------------------------------------------------------------------------------- */

static void vnode_pager_first_reference(struct vm_object *object)
{
    vref(vm_object_vnode(object));
}

static void vnode_pager_last_reference(struct vm_object *object)
{
    /* As after close(2) of a file with a failed write-back, there is nobody left to tell but the log. */
    if (vrele(vm_object_vnode(object)) != 0)
        machine_log("faultline: a file's last mapping went, and its dirty pages could not be written");
}

static int vnode_pager_setsize_object(struct vm_object *object)
{
    return vnode_pager_setsize(vm_object_vnode(object));
}

static void vnode_pager_first_dirty(struct vm_object *object)
{
    __mark_inode_dirty(vm_object_vnode(object));
}

static void vnode_pager_invalidatepage(struct vm_page *m)
{
    block_invalidatepage(m, 0);
}

static int vnode_pager_page_mkwrite(struct vm_object *object, vm_pindex_t pindex)
{
    return vnode_pager_allocate(vm_object_vnode(object), pindex);
}

static uint32_t vnode_pager_launder(struct vm_page *m, struct vm_pager_plug *plug)
{
    return pageout_cluster(m, (struct blk_plug *)plug);
}

static void vnode_pager_unplug(struct vm_pager_plug *plug)
{
    blk_finish_plug((struct blk_plug *)plug);
}
_Static_assert(sizeof(struct blk_plug) <= sizeof(struct vm_pager_plug), "one lies in the other");

static errseq_t vnode_pager_sample_errors(const struct vm_object *object)
{
    return errseq_sample(&vm_object_vnode(object)->wb_err);
}

static int vnode_pager_check_errors(struct vm_object *object, errseq_t *since)
{
    struct vnode *vnode = vm_object_vnode(object);
    vm_lock(&vnode->lock);
    int error = errseq_check_and_advance(&vnode->wb_err, since);
    vm_unlock(&vnode->lock);
    return error;
}

static int vnode_pager_last_error(const struct vm_object *object)
{
    return errseq_last(&vm_object_vnode(object)->wb_err);
}

static const struct pagerops vnodepagerops = {
    .alloc = vnode_pager_alloc,
    .first_reference = vnode_pager_first_reference,
    .last_reference = vnode_pager_last_reference,
    .setsize = vnode_pager_setsize_object,
    .haspage = vnode_pager_haspage,
    .getpages = transfer_get_pages,
    .wait = transfer_wait,
    .readahead = page_cache_sync_readahead,
    .readahead_mark = page_cache_async_readahead,
    .readahead_young = readahead_young,
    .readahead_arrived = readahead_arrived,
    .readpage = block_read_full_page,
    .set_page_dirty = __set_page_dirty_buffers,
    .releasepage = try_to_release_page,
    .invalidatepage = vnode_pager_invalidatepage,
    .check_page = buffer_check,
    .first_dirty = vnode_pager_first_dirty,
    .lacks_space = vnode_pager_lacks_space,
    .page_mkwrite = vnode_pager_page_mkwrite,
    .dirty_exceeded = balance_dirty_writes,
    .balance_dirty = balance_dirty_pages,
    .launder = vnode_pager_launder,
    .unplug = vnode_pager_unplug,
    .active = transfers_active,
    .wait_any = transfer_wait_any,
    .sample_errors = vnode_pager_sample_errors,
    .check_errors = vnode_pager_check_errors,
    .last_error = vnode_pager_last_error,
};

void vnode_pager_startup(void)
{
    vm_pager_register(OBJT_VNODE, &vnodepagerops);
}
