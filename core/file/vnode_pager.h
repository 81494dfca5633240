/*
 * vnode_pager.h: the pager of files: the row of pagertab through which core/vm calls core/file.
 */
#ifndef CORE_FILE_VNODE_PAGER_H
#define CORE_FILE_VNODE_PAGER_H

#include "file/vnode.h"

/* Registers the row. Context: boot. */
void vnode_pager_startup(void);

/*
 * The object of `handle`, a vnode, made on first use; its size is the file's. One reference for the caller,
 * who is going to use the first `size` pages: when the file is shorter than that as far as is known, asks the
 * store. No lock held. NULL: no memory.
 */
FL_NODISCARD struct vm_object *vnode_pager_alloc(void *handle, vm_pindex_t size);
/* The operations of these names, for all pagers whose objects have a vnode. */
void vnode_pager_first_reference(struct vm_object *object);
void vnode_pager_last_reference(struct vm_object *object);
FL_NODISCARD int vnode_pager_setsize(struct vm_object *object);

#endif
