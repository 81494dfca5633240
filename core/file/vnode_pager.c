/*
 * vnode_pager.c: the pager of files: a vnode's object, and the row of pagertab.
 *
 *   vm_fault, vm_pageout ─▶ pagertab[OBJT_VNODE] ─┬─ here                     the object; has it a page?
 *                                                 ├─ transfer.c               pages in and out
 *                                                 ├─ readahead.c              windows, the mark
 *                                                 ├─ buffer.c                 parts of pages
 *                                                 ├─ writeback.c, flusher.c   dirty pages
 *                                                 ├─ vnode_size.c             the length
 *                                                 └─ vnode_space.c            space on the disk
 *
 * Everything else in core/file is below this file, and nothing there includes it but shmem.c, a pager of its
 * own. The functions of the row that stand here give a function of core/file the arguments that the table
 * has.
 *
 * Locks: (V) → (O).
 */
#include "file/vnode_pager.h"
#include "file/block.h"
#include "file/buffer.h"
#include "file/flusher.h"
#include "file/readahead.h"
#include "file/transfer.h"
#include "file/vnode_space.h"
#include "file/writeback.h"
#include "vm/vm_pager.h"
#include "vm/vm_rmap.h"
#include <faultline/vm.h>

/* ---- the object ---------------------------------------------------------------------------------------- */

/* The object, with a reference for the caller. NULL: there is none yet. (V). */
static struct vm_object *object_reference(struct vnode *vnode) FL_REQUIRES(vnode->lock)
{
    if (vnode->object != NULL)
        vm_object_reference(vnode->object);
    return vnode->object;
}

/*
 * Makes the vnode's object, unless another thread did so meanwhile, and takes a reference to it. No lock
 * held: the machine may sleep. NULL: no memory.
 */
static struct vm_object *object_make(struct vnode *vnode)
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
    struct vm_object *object = object_reference(vnode);
    vm_unlock(&vnode->lock);
    if (!ours)
        vm_object_destroy(fresh);
    return object;
}

struct vm_object *vnode_pager_alloc(void *handle, vm_pindex_t size)
{
    struct vnode *vnode = handle;
    vm_lock(&vnode->lock);
    struct vm_object *object = object_reference(vnode);
    vm_unlock(&vnode->lock);
    if (object == NULL)
        object = object_make(vnode);
    if (object == NULL)
        return NULL;
    vm_lock(&object->lock);
    bool beyond = size > object->size;
    vm_unlock(&object->lock);
    if (beyond && fl_vnode_setsize(vnode) != 0)
        machine_log(
            "faultline: a store could not say how long it is; the next fault beyond the end asks again");
    return object;
}

/* ---- the row of pagertab ------------------------------------------------------------------------------- */

void vnode_pager_first_reference(struct vm_object *object)
{
    fl_vnode_ref(vm_object_vnode(object));
}

void vnode_pager_last_reference(struct vm_object *object)
{
    /* Like close(2) after a failed write-back: no cursor is left that could be told. */
    if (fl_vnode_close(vm_object_vnode(object)) != 0)
        machine_log("faultline: a file's last mapping went, and its dirty pages could not be written");
}

int vnode_pager_setsize(struct vm_object *object)
{
    return fl_vnode_setsize(vm_object_vnode(object));
}

static bool vnode_pager_haspage(struct vm_object *object, vm_pindex_t pindex, uint32_t *before,
                                uint32_t *after) FL_REQUIRES(object->lock)
{
    if (pindex >= object->size)
        return false;
    if (before == NULL)
        return true;
    vm_pindex_t behind = object->size - pindex - 1;
    *before = pindex < MACHINE_RUN_MAX ? (uint32_t)pindex : MACHINE_RUN_MAX - 1;
    *after = behind < MACHINE_RUN_MAX ? (uint32_t)behind : MACHINE_RUN_MAX - 1;
    return true;
}

static void vnode_pager_mark_dirty(struct vm_object *object) FL_REQUIRES(object->lock)
{
    __mark_inode_dirty(vm_object_vnode(object), vm_rmap_silent(object, 0, UINT64_MAX));
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
_Static_assert(sizeof(struct blk_plug) <= sizeof(struct vm_pager_plug), "a vm_pager_plug holds one");

static errseq_t vnode_pager_sample_errors(const struct vm_object *object)
{
    return errseq_sample(&vm_object_vnode(object)->wb_err);
}

/* (V) keeps two threads from advancing one cursor together. */
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
    .setsize = vnode_pager_setsize,
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
    .mark_dirty = vnode_pager_mark_dirty,
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
