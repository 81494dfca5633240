/*
 * vnode_pager.h: the pager of files: a vnode's object and its length. Its row of pagertab, with which core/vm
 * calls core/file, is in vnode_pager.c.
 */
#ifndef CORE_FILE_VNODE_PAGER_H
#define CORE_FILE_VNODE_PAGER_H

#include "file/transfer.h"
#include "file/vnode.h"

void vnode_pager_startup(void);

/*
 * The object, created on first use; its size is the file's. One reference for the caller, who is going to use
 * `size` pages: when the file is shorter than that as far as is known, asks the store anew. No lock held.
 * NULL: no memory.
 */
FL_NODISCARD struct vm_object *vnode_pager_alloc(void *handle, vm_pindex_t size);
FL_NODISCARD bool vnode_pager_haspage(struct vm_object *object, vm_pindex_t pindex, uint32_t *before,
                                      uint32_t *after);
/* A write-back of the vnode's pages, or a flush of its store, failed: told to each cursor once. Any lock. */
void vnode_pager_seterror(struct vnode *vnode, int error);
/*
 * m[0 … count) are about to be written: zeroes what lies behind the file's end in its last page, if it is
 * among them. A store that has grown meanwhile, unknown to the VM, would take it for the file's. No lock
 * held; the pages are in write-back. Errors: -ENOMEM (no window).
 */
FL_NODISCARD int vnode_pager_clean_tail(struct vm_object *object, struct vm_page **m, uint32_t count);
/* Fills in the request's bio and submits it. */
void vnode_pager_strategy(struct transfer *transfer, struct blk_plug *plug);
/* The object, which lives as long as the vnode, or NULL: there is none yet. No lock held. */
FL_NODISCARD struct vm_object *vnode_pager_object(struct vnode *vnode);
/* The length becomes known. Returns the one before. vn_lock held, or nobody else knows the vnode; no lock. */
uint64_t vnode_pager_newsize(struct vnode *vnode, uint64_t size_bytes);
/*
 * Reads the length from the store: a longer file's object grows; of a shorter one, everything beyond the end
 * is unmapped and freed and the last page's tail is zeroed. No lock held. Errors: the store's.
 * (vnode_pager_setsize, FreeBSD.)
 */
FL_NODISCARD int vnode_pager_setsize(struct vnode *vnode);
/* The same by someone who has vn_lock. */
FL_NODISCARD int vnode_pager_setsize_locked(struct vnode *vnode);

#endif
