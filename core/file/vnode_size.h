/*
 * vnode_size.h: a file's length: taken over from the store, or changed together with it.
 *
 * The length of an open file changes here only. Locks: vn_lock, then (V) → (O).
 */
#ifndef CORE_FILE_VNODE_SIZE_H
#define CORE_FILE_VNODE_SIZE_H

#include "file/vnode.h"

/*
 * The length becomes size_bytes, as far as the VM knows; pages and store are the caller's business. Returns
 * the length before. vn_lock held, no lock. (vnode_pager_setsize, FreeBSD.)
 */
uint64_t vnode_newsize(struct vnode *vnode, uint64_t size_bytes) FL_EXCLUDES(vnode->lock);
/*
 * fl_vnode_setsize with vn_lock held: asks the store for the length. The object of a longer file grows. Of a
 * shorter one, the pages beyond the end are unmapped and freed, and the tail of the last page becomes zeros.
 * Errors: the store's; -ENOMEM.
 */
FL_NODISCARD int vnode_setsize_locked(struct vnode *vnode);
/*
 * The file becomes len_bytes long, longer or shorter, and so does its
 * store. vn_lock held. Errors: as fl_vnode_truncate.
 */
FL_NODISCARD int vnode_truncate(struct vnode *vnode, uint64_t len_bytes);

#endif
