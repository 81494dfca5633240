/*
 * vnode_pager.h: the vnode: a file as the VM knows it, and the pager of its object.
 *
 *   store key ─▶ vnode (one for a file) ─▶ object (one for a vnode, while anything maps it or pages remain)
 *
 * Locks. (V) vnode->lock, before (O). (H) vnode_hash_lock, before (V).
 * The vnode's object holds no reference to the vnode; the vnode holds one to the object. Each mapping's object reference comes with a vnode reference,
 * taken by vm_mmap_vnode and dropped when the object's last mapping entry goes.
 */
#ifndef CORE_VM_VNODE_PAGER_H
#define CORE_VM_VNODE_PAGER_H

#include "vm/vm_pager.h"

struct vnode {
    struct vm_lock lock;
    struct store *store;       /* (c) owned */
    struct vm_object *object;  /* (V) or NULL; with a reference */
    uint64_t size_bytes;       /* (O of the object, else V) the file's length as last known */
    uint32_t ref_count;        /* (H) */
    int write_error;           /* (V) of a write-back that nobody was told of yet; 0: none */
    struct vnode *hash_next;   /* (H) */
};

void vnode_pager_startup(void);

/* Behind fl_vnode_open and its kin (vm.h). */
FL_NODISCARD int vnode_open(struct store *store, struct vnode **vnode);
void vref(struct vnode *vnode);
FL_NODISCARD int vrele(struct vnode *vnode);

/* The object, created on first use; sets its size from vnode->size_bytes. One reference for the caller. NULL: no memory. */
FL_NODISCARD struct vm_object *vnode_pager_alloc(struct vnode *vnode, vm_pindex_t size);
FL_NODISCARD bool vnode_pager_haspage(struct vm_object *object, vm_pindex_t pindex, uint32_t *before, uint32_t *after);
/* Fills in the request's store part and submits it. */
void vnode_pager_strategy(struct vm_pager_request *request);
/* Reads the length from the store: a longer file's object grows; of a shorter one, everything beyond the end is unmapped and freed and the last page's tail
 * is zeroed. No lock held. Errors: the store's. (vnode_pager_setsize, FreeBSD.) */
FL_NODISCARD int vnode_pager_setsize(struct vnode *vnode);

#endif
