/*
 * vnode_space.h: whether a page that becomes dirty has its space on the disk. vnode_space.c has the picture.
 */
#ifndef CORE_FILE_VNODE_SPACE_H
#define CORE_FILE_VNODE_SPACE_H

#include "file/vnode.h"

/*
 * Page pindex is about to become dirty: may it find the disk full, so that it needs vnode_pager_allocate
 * first? A page that is dirty had its space when it became so; a dirty page with buffer heads may have it for
 * some blocks only. Counts the vnode's credit down. (O).
 */
FL_NODISCARD bool vnode_pager_lacks_space(struct vm_object *object, vm_pindex_t pindex)
    FL_REQUIRES(object->lock);
/*
 * Gives page pindex its space in the store, if it has none, and also the pages that a stream
 * of stores is about to reach. A store that has more room than all that can be dirty is left
 * alone for the next pages instead. No lock held; the caller has a reference. A hole that is
 * punched meanwhile stays one; a file that is cut meanwhile may keep space behind its end
 * until it is cut again. Errors: -ENOSPC, -EDQUOT, -EIO. (page_mkwrite, Linux.)
 */
FL_NODISCARD int vnode_pager_allocate(struct vnode *vnode, vm_pindex_t pindex);
/*
 * Is the disk so full that a page which became dirty unnoticed may find no space? Then each first store must
 * be told. Asks the store. No lock held; the caller has a reference.
 */
FL_NODISCARD bool vnode_pager_space_scarce(struct vm_object *object);
/*
 * Asks again while pages of the object can become dirty without a fault, and makes them fault if so. No lock
 * held; the object lives.
 */
void vnode_space_watch(struct vm_object *object);
/* The file may have holes where it had its space. (V) and (O) are not held. */
void vnode_space_invalidate(struct vnode *vnode) FL_EXCLUDES(vnode->lock);
/* No stretch of the object's vnode is known to have its space any more. (O). */
void vnode_space_forget(struct vm_object *object) FL_REQUIRES(object->lock);

#endif
