/*
 * filemap.h: the pages of a file for read and write: a call on its way (kiocb), and how it gets a page.
 *
 * A page that a mapping shows and a page that a read or a write uses are the same one.
 * (mm/filemap.c, Linux: the names are its.)
 */
#ifndef CORE_FILE_FILEMAP_H
#define CORE_FILE_FILEMAP_H

#include "file/iov_iter.h"
#include "vm/vm_object.h"

struct vnode;

#define FILEMAP_RETRY 1  /* no error: something has changed, so look again */
#define FILEMAP_TRIES 64 /* turns without a new page, after which a call gives up */

/* A read or a write on its way. One thread's. */
struct kiocb {
    struct vnode *vnode;
    struct vm_object *object;
    vm_ooffset_t pos;
    /* Turns in a row that brought no new page, because other threads took the memory or cut the file. */
    uint32_t tries;
};

/*
 * Checks the arguments of a read or a write, and puts the iterator at the first byte. Errors: -EINVAL: a flag
 * that is not known, or as iov_iter_init.
 */
FL_NODISCARD int kiocb_check(const struct fl_iocb *iocb, const struct fl_iovec *iov, uint32_t niov,
                             struct iov_iter *iter);
/*
 * Begins at offset pos: makes the vnode's object if this is its first use, and takes a pip of it, which keeps
 * it until kiocb_done. The caller has a reference to the vnode. No lock held. Errors: -ENOMEM.
 */
FL_NODISCARD int kiocb_init(struct kiocb *iocb, struct vnode *vnode, vm_ooffset_t pos);
/* The same without the pip, which the caller takes before it uses the object's pages. */
FL_NODISCARD int kiocb_object(struct kiocb *iocb, struct vnode *vnode, vm_ooffset_t pos);
void kiocb_done(struct kiocb *iocb) FL_EXCLUDES(iocb->object->lock);

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/*
 * The page at pindex, made busy: not in write-back, and valid or with buffers. NULL: it is absent. (O) held
 * on entry and return, released while another thread has the page busy.
 */
FL_NODISCARD struct vm_page *find_lock_page(struct vm_object *object, vm_pindex_t pindex)
    FL_REQUIRES(object->lock);
/*
 * *m: a new page for pindex, which is absent: busy, not valid, its bytes unknown. FILEMAP_RETRY: something
 * has changed. (O) held on entry and return, perhaps released in between. Errors: -ENOMEM.
 */
FL_NODISCARD int filemap_alloc_page(struct kiocb *iocb, vm_pindex_t pindex, struct vm_page **m)
    FL_REQUIRES(iocb->object->lock);
/*
 * Reads busy m, which is new, or has buffers and is not valid. (O) held on entry and return, released in
 * between. On failure a new m is gone. Errors: the store's, -ENOMEM.
 */
FL_NODISCARD int filemap_read_page(struct kiocb *iocb, struct vm_page *m) FL_REQUIRES(iocb->object->lock);

#endif
