/*
 * revalidate.c: files that programs read and write past the VM.
 *
 *   a program will read past us    ─▶ fl_vnode_sync       dirty pages are written
 *   a program will write past us   ─▶ fl_vnode_sync ─▶ (the write) ─▶ fl_vnode_invalidate       clean ones go
 *
 *   a program may have written     ─▶ fl_vnode_revalidate ─▶ store->changed? ─ no ─▶ done
 *                                                               │ yes
 *       vn_lock ─▶ STORE_TAKE ─▶ length ─▶ clean pages, and clean copies of them, are forgotten
 *                                   └ unknown   └ some are held: vnode->stale, and the next call goes on
 *
 * A dirty page is newer than the file, or as new, and stays. That it replaces what
 * another program wrote into the same page is told to the caller. Only transfers
 * that are under way are waited for: a hold lasts as long as a system call.
 *
 * Locks: vn_lock, (O). No lock is held on entry.
 *
 * Does not do: finding out that a file has changed (store_ops.changed), or when to ask (the host).
 */
#include "file/truncate.h"
#include "file/vnode_size.h"
#include "file/vnode_space.h"
#include "file/writeback.h"
#include <faultline/store.h>
#include <faultline/vm.h>

_Static_assert(FL_CHANGED == STORE_CHANGED && FL_CHANGED_BYTES == STORE_REWRITTEN &&
                   FL_CHANGED_OVERWRITTEN == STORE_OVERWRITTEN,
               "handed on as they are");

/* ---- a change that has happened ------------------------------------------------------------------------ */

/* Is there a page that is not dirty, and so may be older than the file? (O). */
static bool clean_page_left(struct vm_object *object) FL_REQUIRES(object->lock)
{
    vm_pindex_t next = 0;
    struct vm_page *m;
    while ((m = vm_page_find_least(object, next)) != NULL) {
        if ((m->flags & PG_DIRTY) == 0)
            return true;
        if (m->pindex == UINT64_MAX)
            break;
        next = m->pindex + 1;
    }
    return false;
}

/* vn_lock held. Returns whether dirty pages remain. */
static bool vnode_forget_clean(struct vnode *vnode)
{
    struct vm_object *object = vnode_object(vnode);
    if (object == NULL || invalidate_inode_pages2_range(object, 0, UINT64_MAX)) {
        atomic_store(&vnode->stale, false);
        return false;
    }
    vm_lock(&object->lock);
    atomic_store(&vnode->stale, clean_page_left(object));
    bool dirty = object->dirty_count > 0;
    vm_unlock(&object->lock);
    return dirty;
}

/* *what: STORE_*, 0 where the store cannot say. Errors: the store's. */
static int store_changed(struct vnode *vnode, enum store_ask how, unsigned *what)
{
    struct store *store = fl_vnode_store(vnode);
    *what = 0;
    return store->ops->changed == NULL ? 0 : store->ops->changed(store, how, what);
}

/*
 * vn_lock held. `stale` is set before the change is taken: a thread that sees it meanwhile waits for vn_lock.
 */
static int revalidate_locked(struct vnode *vnode, unsigned *what)
{
    atomic_store(&vnode->stale, true);
    int error = store_changed(vnode, STORE_TAKE, what);
    if (error != 0)
        return error;
    vnode_space_invalidate(vnode);
    error = vnode_setsize_locked(vnode);
    if (error == 0 && vnode_forget_clean(vnode) && (*what & FL_CHANGED_BYTES) != 0)
        *what |= FL_CHANGED_OVERWRITTEN;
    if (atomic_load(&vnode->stale))
        *what |= FL_CHANGED_LATER;
    return error;
}

int fl_vnode_revalidate(struct vnode *vnode, bool own, unsigned *what)
{
    int error = store_changed(vnode, own ? STORE_FORGET : STORE_LOOK, what);
    if (error != 0 || own || (*what == 0 && !atomic_load(&vnode->stale)))
        return error;
    vn_lock(vnode);
    error = revalidate_locked(vnode, what);
    vn_unlock(vnode);
    return error;
}

/* ---- around a read or a write that the host makes itself ----------------------------------------------- */

int fl_vnode_sync(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct vm_object *object = vnode_object(vnode);
    if (object == NULL)
        return 0;
    return filemap_write_and_wait_range(object, atop(offset), range_end(offset, len_bytes));
}

void fl_vnode_invalidate(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct vm_object *object = vnode_object(vnode);
    if (object != NULL) /* pages that stay are dirty, wired or held */
        (void)!invalidate_inode_pages2_range(object, atop(offset), range_end(offset, len_bytes));
}
