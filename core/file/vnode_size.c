/*
 * vnode_size.c: a file's length.
 *
 *   fl_vnode_setsize, shorter  store->size ─▶ vnode_newsize ─▶ truncate_pagecache
 *   fl_vnode_setsize, longer   store->size ─▶ tail_lock ─▶ tail zero ─▶ vnode_newsize ─▶ tail_unlock
 *                                          ─▶ truncate_forget_tail
 *   fl_vnode_truncate, longer  tail_lock ─▶ tail zero ─▶ store->truncate ─▶ vnode_newsize ─▶ tail_unlock
 *   fl_vnode_truncate, shorter tail_lock ─▶ vnode_newsize ─▶ unmap_mapping_range ─▶ transfers end
 *                                        ─▶ store->truncate ─▶ tail zero ─▶ truncate_inode_pages_range
 *                                        └ refused: the length as it was, and every page is still there
 *
 * The order when a file becomes shorter. First no page beyond the end comes in, is mapped or begins to be
 * written (WB2); then the transfers that were under way end. So no write of an old page reaches the store
 * after it was cut, where it would make the file long again. Then the store is cut, and then the pages go.
 * When a file becomes longer, the store grows first, so that a page beyond the old end has its place;
 * meanwhile the page of the old end is at rest.
 *
 * Bytes behind the file's end in its last page may be anything, since mappings can store there.
 *
 * Locks: vn_lock around each change; (V) → (O). Stores are called with neither (V) nor (O).
 */
#include "file/vnode_size.h"
#include "file/filemap.h"
#include "file/truncate.h"
#include "file/vnode_space.h"
#include "lib/errno.h"
#include <faultline/vm.h>

/* ---- the length as the VM knows it --------------------------------------------------------------------- */

uint64_t vnode_newsize(struct vnode *vnode, uint64_t size_bytes)
{
    vnode_may_have_holes(vnode); /* before a program can store to the new pages */
    vm_lock(&vnode->lock);
    struct vm_object *object = vnode->object;
    uint64_t old_bytes = vnode->size_bytes;
    if (object != NULL) {
        vm_lock(&object->lock);
        if (size_bytes < old_bytes)
            vnode_space_forget(object);
        object->size = size_pages(size_bytes); /* from now on no fault enters a page beyond it */
        vnode->size_bytes = size_bytes;
        vm_unlock(&object->lock);
    } else {
        vnode->size_bytes = size_bytes;
    }
    vm_unlock(&vnode->lock);
    return old_bytes;
}

/* ---- the page of the end ------------------------------------------------------------------------------- */

/*
 * The page in which a file of size_bytes ends neither comes in nor is written until tail_unlock. Otherwise a
 * write-back would zero what it takes to lie behind the end (vnode_clean_tail), and a read would find
 * whatever the store has there at the moment. *m: the page, busy. NULL: it is not there. What lies behind it,
 * up to page `end`, does not come in either; snapshots have copies of it, and of that page. vn_lock held, no
 * lock. Errors, and nothing is locked: as vm_object_preserve, truncate_get_page.
 */
static int tail_lock(struct vm_object *object, uint64_t size_bytes, vm_pindex_t end, struct vm_page **m)
{
    vm_pindex_t pindex = atop(size_bytes);
    vm_lock(&object->lock);
    filemap_invalidate_lock(object, pindex, end);
    vm_unlock(&object->lock);
    int error = vm_object_preserve(object, pindex, end);
    if (error == 0)
        error = truncate_get_page(object, pindex, m);
    if (error != 0)
        filemap_invalidate_unlock(object);
    return error;
}

/* m, from tail_lock, gets zeros behind the end; clean copies of it go. Errors: -ENOMEM. */
static int tail_zero(struct vm_object *object, struct vm_page *m, uint64_t size_bytes)
{
    uint32_t start = (uint32_t)(size_bytes & VM_PAGE_MASK);
    vm_pindex_t pindex = atop(size_bytes);
    if (m == NULL && start != 0)
        vm_object_remove_above(object, pindex, pindex + 1, true);
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

/* ---- changes of the length ----------------------------------------------------------------------------- */

/*
 * Another program made the file longer. Until its last page has forgotten what lay behind the old end, it is
 * not written: with the new length, a write-back would take that for the file's. Errors: -ENOMEM.
 */
static int setsize_longer(struct vnode *vnode, uint64_t new_bytes)
{
    uint64_t old_bytes = vnode->size_bytes;
    struct vm_object *object = vnode_object(vnode);
    if (object == NULL) {
        (void)vnode_newsize(vnode, new_bytes);
        if ((object = vnode_object(vnode)) == NULL) /* else it was made meanwhile */
            return 0;
    }
    struct vm_page *m;
    int error = tail_lock(object, old_bytes, atop(old_bytes) + 1, &m);
    if (error != 0)
        return error;
    error = tail_zero(object, m, old_bytes);
    (void)vnode_newsize(vnode, new_bytes);
    tail_unlock(object, m);
    truncate_forget_tail(object, old_bytes);
    return error;
}

int vnode_setsize_locked(struct vnode *vnode)
{
    uint64_t new_bytes;
    int error = vnode->store->ops->size(vnode->store, &new_bytes);
    if (error != 0)
        return error;
    if (new_bytes > vnode->size_bytes)
        return setsize_longer(vnode, new_bytes);
    uint64_t old_bytes = vnode_newsize(vnode, new_bytes);
    struct vm_object *object = vnode_object(vnode);
    return object == NULL || new_bytes == old_bytes ? 0 : truncate_pagecache(object, new_bytes);
}

/* No pages are in the way: the store's length changes, and then ours. */
static int truncate_without_pages(struct vnode *vnode, struct store *store, uint64_t len_bytes)
{
    int error = store->ops->truncate(store, len_bytes);
    if (error == 0)
        (void)vnode_newsize(vnode, len_bytes);
    return error;
}

/*
 * The file becomes longer. What a program stored behind the old end becomes
 * zeros. None of that is on its way to the store while the store grows, which
 * would take it for the file's. Errors, and nothing has changed: the store's,
 * -ENOMEM. (pagecache_isize_extended, Linux.)
 */
static int vnode_grow(struct vnode *vnode, struct vm_object *object, struct store *store, uint64_t len_bytes)
{
    struct vm_page *m;
    int error = tail_lock(object, vnode->size_bytes, atop(vnode->size_bytes) + 1, &m);
    if (error != 0)
        return error;
    error = tail_zero(object, m, vnode->size_bytes);
    if (error == 0)
        error = truncate_without_pages(vnode, store, len_bytes);
    tail_unlock(object, m);
    return error;
}

/*
 * Waits until no page from `start` on, which lie behind the object's end, is busy or in write-back; nothing
 * new begins there (WB2). Owners of such pages do not wait for the file's last page meanwhile.
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
 * The file becomes shorter. The store is cut while the pages are still there,
 * out of reach behind the end: so they are what they were when the store
 * refuses. Errors: the store's, and nothing has changed; -ENOMEM: of the tail.
 */
static int vnode_cut(struct vnode *vnode, struct vm_object *object, struct store *store, uint64_t len_bytes)
{
    struct vm_page *m;
    /* Or write-back would clean a tail that may stay. */
    int error = tail_lock(object, len_bytes, UINT64_MAX, &m);
    if (error != 0)
        return error;
    uint64_t old_bytes = vnode_newsize(vnode, len_bytes);
    unmap_mapping_range(object, round_page(len_bytes), 0);
    truncate_wait_idle(object, atop(len_bytes) + 1);
    error = store->ops->truncate(store, len_bytes);
    bool cut = error == 0;
    if (cut)
        error = tail_zero(object, m, len_bytes);
    else
        (void)vnode_newsize(vnode, old_bytes);
    tail_unlock(object, m);
    if (cut)
        truncate_inode_pages_range(object, size_pages(len_bytes), UINT64_MAX);
    return error;
}

int vnode_truncate(struct vnode *vnode, uint64_t len_bytes)
{
    struct store *store = atomic_load(&vnode->writer);
    struct vm_object *object = vnode_object(vnode);
    if (store == NULL)
        return -EBADF;
    if (store->ops->truncate == NULL)
        return -EOPNOTSUPP;
    if (len_bytes > INT64_MAX)
        return -EFBIG;
    if (object == NULL)
        return truncate_without_pages(vnode, store, len_bytes);
    return len_bytes > vnode->size_bytes ? vnode_grow(vnode, object, store, len_bytes)
                                         : vnode_cut(vnode, object, store, len_bytes);
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

int fl_vnode_setsize(struct vnode *vnode)
{
    vn_lock(vnode);
    int error = vnode_setsize_locked(vnode);
    vn_unlock(vnode);
    return error;
}

/* Asks the store first: another program may have made the file longer than is known. */
static int vnode_set_length(struct vnode *vnode, uint64_t len_bytes, bool longer_only)
{
    vn_lock(vnode);
    int error = vnode_setsize_locked(vnode);
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
