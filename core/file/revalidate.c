/*
 * revalidate.c: files that are changed past the VM, by programs that do not run on it.
 *
 *   fl_vnode_revalidate ─▶ store->changed? ─ no ─▶ done
 *                             │ yes
 *                          vn_lock ─▶ taken ─▶ length ─▶ clean pages, and clean copies of them, are forgotten
 *                                                 └ unknown    └ some are held: vnode->stale, next call
 *
 * A dirty page is newer than the file, and stays; that it replaces what another program wrote into the same
 * page is told to the caller. Nobody is waited for but transfers that are under way: a hold lasts as long
 * as a system call.
 *
 * Locks: vn_lock, (O). No lock is held on entry.
 *
 * Does not do: finding out that something changed (store_ops.changed), or when to ask (the host).
 */
#include "file/truncate.h"
#include "vm/vm_page.h"
#include "file/vnode_pager.h"
#include "file/vnode_space.h"
#include <faultline/store.h>
#include <faultline/vm.h>

_Static_assert(FL_CHANGED == STORE_CHANGED && FL_CHANGED_BYTES == STORE_REWRITTEN &&
                   FL_CHANGED_OVERWRITTEN == STORE_OVERWRITTEN,
               "handed on as they are");

/* Does a page remain that is not newer than the file? (O). */
static bool clean_page_left(struct vm_object *object)
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
    struct vm_object *object = vnode_pager_object(vnode);
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

static int store_changed(struct vnode *vnode, enum store_ask how, unsigned *what)
{
    struct store *writer = atomic_load(&vnode->writer), *store = writer != NULL ? writer : vnode->store;
    *what = 0;
    return store->ops->changed == NULL ? 0 : store->ops->changed(store, how, what);
}

/* vn_lock held. `stale` is true before the change is taken: who looks meanwhile waits for us. */
static int revalidate_locked(struct vnode *vnode, unsigned *what)
{
    atomic_store(&vnode->stale, true);
    int error = store_changed(vnode, STORE_TAKE, what);
    if (error != 0)
        return error;
    vnode_pager_holes(vnode, true); /* there may be some now */
    error = vnode_pager_setsize_locked(vnode);
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
