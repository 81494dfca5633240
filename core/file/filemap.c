/*
 * filemap.c: a page of a file for a read or a write: found, or allocated and read.
 *
 *   find_lock_page       there: waits until it is neither busy nor in write-back, and makes it busy
 *   filemap_alloc_page   absent: allocates it; waits while the page must stay absent, or for memory
 *   filemap_read_page    new: the pager reads all of it; written in part: the blocks that are missing
 *
 * Locks: (O), released to wait and to read.
 * Does not do: which pages a call needs, and copying (filemap_read.c, filemap_write.c).
 */
#include "file/filemap.h"
#include "file/buffer.h"
#include "file/vnode.h"
#include "lib/errno.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"

/* The flags that are known. */
#define KIOCB_FLAGS (FL_IOCB_APPEND | FL_IOCB_DIRECT | FL_IOCB_DSYNC)

int kiocb_check(const struct fl_iocb *iocb, const struct fl_iovec *iov, uint32_t niov, struct iov_iter *iter)
{
    int error = iov_iter_init(iter, iov, niov);
    return error == 0 && (iocb->flags & ~(unsigned)KIOCB_FLAGS) != 0 ? -EINVAL : error;
}

int kiocb_object(struct kiocb *iocb, struct vnode *vnode, vm_ooffset_t pos)
{
    struct vm_object *object = vnode_object(vnode);
    if (object == NULL) {
        object = vm_pager_allocate(OBJT_VNODE, vnode, 0);
        if (object == NULL)
            return -ENOMEM;
        vm_object_deallocate(object); /* it lives as long as the vnode, to which the caller has a reference */
    }
    *iocb = (struct kiocb){.vnode = vnode, .object = object, .pos = pos};
    return 0;
}

int kiocb_init(struct kiocb *iocb, struct vnode *vnode, vm_ooffset_t pos)
{
    int error = kiocb_object(iocb, vnode, pos);
    if (error != 0)
        return error;
    vm_lock(&iocb->object->lock);
    vm_object_pip_add(iocb->object);
    vm_unlock(&iocb->object->lock);
    return 0;
}

void kiocb_done(struct kiocb *iocb)
{
    vm_lock(&iocb->object->lock);
    vm_object_pip_wakeup(iocb->object);
    vm_unlock(&iocb->object->lock);
}

struct vm_page *find_lock_page(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *m;
    while ((m = vm_page_lookup(object, pindex)) != NULL && (m->flags & (PG_BUSY | PG_WRITEBACK)))
        vm_page_busy_sleep(m);
    if (m != NULL)
        vm_page_xbusy(m);
    return m;
}

/*
 * No page is free for pindex: waits for memory. (O) held on entry and return, released in between. Errors: of
 * vm_wait.
 */
static int filemap_nomem(struct kiocb *iocb, vm_pindex_t pindex) FL_REQUIRES(iocb->object->lock)
{
    struct vm_object *object = iocb->object;
    vm_lock_assert(&object->lock); /* tells the compiler that this is iocb->object */
    bool exchange = vm_pager_exchanges(object, pindex);
    vm_unlock(&iocb->object->lock);
    int error = vm_wait();
    vm_lock(&iocb->object->lock);
    if (error != 0 && !exchange)
        return error;
    return ++iocb->tries < FILEMAP_TRIES ? FILEMAP_RETRY : -ENOMEM;
}

int filemap_alloc_page(struct kiocb *iocb, vm_pindex_t pindex, struct vm_page **m)
{
    struct vm_object *object = iocb->object;
    vm_lock_assert(&object->lock); /* tells the compiler that this is iocb->object */
    if (vm_object_invalidating(object, pindex)) {
        vm_sleep(&object->invalidate_start, &object->lock);
        return FILEMAP_RETRY;
    }
    *m = vm_page_alloc(object, pindex, vm_pager_alloc_class(object, pindex));
    if (*m == NULL)
        return filemap_nomem(iocb, pindex);
    iocb->tries = 0;
    return 0;
}

int filemap_read_page(struct kiocb *iocb, struct vm_page *m)
{
    bool fresh = !page_has_buffers(m);
    vm_unlock(&iocb->object->lock);
    int error = fresh ? vm_pager_get_pages(iocb->object, &m, 1, 0) : block_read_full_page(m);
    vm_lock(&iocb->object->lock);
    if (error != 0 && fresh)
        vm_page_free(m);
    return error;
}
