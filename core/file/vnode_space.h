/*
 * vnode_space.h: whether a page that becomes dirty has its space on the disk (vnode_space.c has the picture).
 */
#ifndef CORE_FILE_VNODE_SPACE_H
#define CORE_FILE_VNODE_SPACE_H

#include "file/vnode.h"

/*
 * Page pindex becomes dirty: may it find the disk full, so that it needs vnode_pager_allocate first? A dirty
 * page had its space when it became so; of one with buffer heads that may be true of some blocks only. (O).
 */
FL_NODISCARD bool vnode_pager_lacks_space(struct vm_object *object, vm_pindex_t pindex);
/*
 * The page gets its space in the store, if it has none, and so do those that a stream of stores is about to
 * go to; or the store has more room than all that can be dirty, and is left alone for the next SPACE_CREDIT
 * pages. No lock held; the caller has a reference. A hole that is punched meanwhile stays one; a file that is
 * cut meanwhile may keep space behind its end until it is cut again. Errors: -ENOSPC, -EDQUOT, -EIO.
 * (page_mkwrite, Linux.)
 */
FL_NODISCARD int vnode_pager_allocate(struct vnode *vnode, vm_pindex_t pindex);
/* The file may have holes that it did not have; `cut`: also where it had its space. No (O) held. */
void vnode_pager_holes(struct vnode *vnode, bool cut);
/* The file may have holes, if its store can say so and give space. Any lock. */
void vnode_may_have_holes(struct vnode *vnode);
/* No stretch is known to have its space any more. (O). */
void vnode_space_forget(struct vnode *vnode);

#endif
