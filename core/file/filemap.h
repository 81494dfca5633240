/*
 * filemap.h: a file's pages for read and write: what the calls of vm.h and the removal of pages share.
 */
#ifndef CORE_FILE_FILEMAP_H
#define CORE_FILE_FILEMAP_H

#include "vm/vm_object.h"

struct vnode;

#define FILEMAP_RETRY 1 /* not an error: look again */

#define KIOCB_FLAGS (FL_IOCB_APPEND | FL_IOCB_DIRECT | FL_IOCB_DSYNC) /* that are known */

/* A read or a write on its way. */
struct kiocb {
    struct vnode *vnode;
    struct vm_object *object;
    vm_ooffset_t pos;
    uint32_t memory_tries; /* in a row */
};

/*
 * The vnode's object, made on first use; its pip keeps the pages' transfers in order. The caller has a
 * reference to the vnode. No lock held. Errors: -ENOMEM.
 */
FL_NODISCARD int kiocb_init(struct kiocb *iocb, struct vnode *vnode, vm_ooffset_t pos);
void kiocb_done(struct kiocb *iocb);

/* The file's length in bytes, as last known. No lock held. */
FL_NODISCARD uint64_t i_size_read(struct vnode *vnode);

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/*
 * The page at pindex, made busy, not in write-back; valid, or with buffers; NULL: it is not there. (O)
 * held on entry and return, released while it waits for whoever has the page.
 */
FL_NODISCARD struct vm_page *find_lock_page(struct vm_object *object, vm_pindex_t pindex)
    FL_REQUIRES(object->lock);

/*
 * *m: a busy page without bytes for pindex, which is absent. FILEMAP_RETRY: something changed. (O) held on
 * entry and return, perhaps released in between. Errors: -ENOMEM.
 */
FL_NODISCARD int filemap_alloc_page(struct kiocb *iocb, vm_pindex_t pindex, struct vm_page **m)
    FL_REQUIRES(iocb->object->lock);
/*
 * Reads m, which is busy and new, or has buffers and is not valid. (O) held on entry and return, released in
 * between; on failure a new m is gone. Errors: the store's, -ENOMEM.
 */
FL_NODISCARD int filemap_read_page(struct kiocb *iocb, struct vm_page *m) FL_REQUIRES(iocb->object->lock);

#endif
