/*
 * filemap_write.c: writing a file through its pages, which are those that mappings show.
 *
 *   generic_file_write_iter               one at a time (vn_lock)
 *     __generic_file_write_iter
 *       generic_perform_write             page by page
 *         write_begin                     the store long enough; the page busy, with what is not overwritten
 *         copy_page_from_iter_atomic
 *         write_end                       longer, dirty, not busy
 *         balance_dirty_pages
 *
 * A page that is written is busy, so that nobody copies it half-written; and not in write-back, so that what
 * is zeroed behind the old end (vnode_pager_clean_tail) is not the new bytes. Without a lock: the copy may
 * sleep, and takes no fault.
 *
 * Bytes behind the file's end in its last page may be anything, since mappings can store there. Whatever
 * makes the file longer overwrites them (a write that begins within the file) or zeroes them
 * (pagecache_isize_extended).
 *
 * The file's length is known as longer (write_end) when the bytes are there, while the store is longer from
 * write_begin on; nobody asks it meanwhile, for that takes vn_lock.
 *
 * Locks: vn_lock, (V), (O). Loops: each turn follows somebody else's progress with the page, or new memory.
 */
#include "cache/filemap.h"
#include "cache/iov_iter.h"
#include "cache/truncate.h"
#include "cache/writeback.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vnode_pager.h"
#include <faultline/vm.h>

/* A write on its way. vn_lock is held, so the length stays. */
struct write_state {
    struct kiocb iocb;
    struct store *store;
    vm_ooffset_t end;         /* of all that is to be written */
    uint64_t store_len_bytes; /* how long the store is; size_bytes, or more while we make the file longer */
    struct vm_page *m;        /* the page at hand: busy, or NULL */
    uint32_t start, len;      /* what is written of it */
};

/*
 * The store has room for the page at hand: for all that is to come, if it can be. Errors: the store's,
 * -EOPNOTSUPP.
 */
static int write_grow(struct write_state *w)
{
    vm_ooffset_t chunk_end = w->iocb.pos + w->len;
    if (chunk_end <= w->store_len_bytes)
        return 0;
    if (w->store->ops->truncate == NULL)
        return -EOPNOTSUPP;
    w->store_len_bytes = w->end;
    int error = w->store->ops->truncate(w->store, w->end);
    if ((error == -ENOSPC || error == -EFBIG) && chunk_end < w->end) {
        w->store_len_bytes = chunk_end;
        error = w->store->ops->truncate(w->store, chunk_end);
    }
    if (error != 0) {
        w->store_len_bytes = w->iocb.vnode->size_bytes;
        return error;
    }
    bool behind = w->iocb.pos > w->iocb.vnode->size_bytes; /* zeros between */
    return behind ? pagecache_isize_extended(w->iocb.vnode, w->iocb.pos) : 0;
}

/* w->m, new and busy, gets the bytes that the write leaves as they are. (O), released in between. */
static int write_prepare(struct write_state *w, struct iov_iter *iter) REQUIRES(w->iocb.object->lock)
{
    uint64_t size_bytes = w->iocb.vnode->size_bytes, page = ptoa(w->m->pindex);
    bool whole = w->start == 0 && page + w->len >= min_u64(page + VM_PAGE_SIZE, size_bytes);
    if (!whole && page < size_bytes)
        return filemap_read_page(&w->iocb, w->m);
    vm_unlock(&w->iocb.object->lock);
    int error = 0;
    /* Not valid by that: what a short copy leaves of them is not the file's. */
    if (w->len < VM_PAGE_SIZE || iov_iter_single_seg_count(iter) < VM_PAGE_SIZE)
        error = pmap_zero_page(w->m);
    vm_lock(&w->iocb.object->lock);
    if (error != 0)
        vm_page_free(w->m);
    return error;
}

/* w->m becomes the busy page at pindex, as write_begin says. (O), released in between. */
static int grab_cache_page_write_begin(struct write_state *w, vm_pindex_t pindex, struct iov_iter *iter)
    REQUIRES(w->iocb.object->lock)
{
    int error;
    do {
        error = 0;
        w->m = find_lock_page(w->iocb.object, pindex);
        if (w->m == NULL) {
            error = filemap_alloc_page(&w->iocb, pindex, &w->m);
            if (error == 0)
                error = write_prepare(w, iter);
        }
    } while (error == FILEMAP_RETRY);
    if (error != 0)
        w->m = NULL;
    return error;
}

/* The page at hand goes back: with its bytes, or without. */
static void write_put_page(struct write_state *w, bool written)
{
    struct vm_object *object = w->iocb.object;
    vm_lock(&object->lock);
    if (written) {
        w->m->flags |= PG_VALID;
        w->m->flags &= (uint16_t) ~(PG_AHEAD | PG_TESTED);
        vm_page_dirty(w->m);
        vm_page_activate(w->m);
        vm_page_xunbusy(w->m);
    } else if (w->m->flags & PG_VALID) {
        vm_page_deactivate(w->m);
        vm_page_xunbusy(w->m);
    } else {
        vm_page_free(w->m);
    }
    vm_unlock(&object->lock);
    w->m = NULL;
}

/* The page at iocb.pos, busy, without clean copies above it. Errors: of growing, of reading, -ENOMEM. */
static int write_begin(struct write_state *w, struct iov_iter *iter)
{
    w->start = (uint32_t)(w->iocb.pos & VM_PAGE_MASK);
    w->len = (uint32_t)min_u64(VM_PAGE_SIZE - w->start, iter->count);
    int error = write_grow(w);
    if (error != 0)
        return error;
    vm_lock(&w->iocb.object->lock);
    error = grab_cache_page_write_begin(w, atop(w->iocb.pos), iter);
    if (error == 0 && (w->m->flags & PG_COPIED) &&
        vm_object_invalidate_copies(w->iocb.object,
                                    w->m->pindex)) /* releases (O); the page is busy, so it stays */
        KASSERT((w->m->flags & (PG_BUSY | PG_COPIED)) == PG_BUSY, "F2");
    vm_unlock(&w->iocb.object->lock);
    return error;
}

/* `copied` bytes were written to the page at hand. Returns how many of them count. */
static uint64_t write_end(struct write_state *w, uint64_t copied)
{
    if (copied < w->len && (w->m->flags & PG_VALID) == 0)
        copied = 0; /* the rest of the page was never read */
    vm_ooffset_t pos = w->iocb.pos + copied;
    if (copied > 0 && pos > w->iocb.vnode->size_bytes)
        (void)vnode_pager_newsize(w->iocb.vnode, pos);
    write_put_page(w, copied > 0);
    w->iocb.pos = pos;
    return copied;
}

static int generic_perform_write(struct write_state *w, struct iov_iter *iter)
{
    int error = 0;
    while (error == 0 && iter->count > 0) {
        uint64_t copied;
        error = write_begin(w, iter);
        if (error != 0)
            break;
        error = copy_page_from_iter_atomic(w->m, w->start, w->len, iter, &copied);
        (void)write_end(w, copied);
        balance_dirty_pages(w->iocb.object);
    }
    return error;
}

/* What may be written, of what is asked: a file has an end. */
static int generic_write_checks(struct write_state *w, struct iov_iter *iter)
{
    struct vnode *vnode = w->iocb.vnode;
    w->store = atomic_load(&vnode->writer);
    if (w->store == NULL)
        return -EBADF;
    if (w->iocb.pos >= INT64_MAX)
        return -EFBIG;
    iter->count = min_u64(iter->count, (uint64_t)INT64_MAX - w->iocb.pos);
    w->end = w->iocb.pos + iter->count;
    int error = w->end > vnode->size_bytes ? vnode_pager_setsize_locked(vnode) : 0;
    w->store_len_bytes = vnode->size_bytes;
    return error;
}

/* vn_lock held. */
static int64_t __generic_file_write_iter(struct write_state *w, struct iov_iter *iter)
{
    vm_ooffset_t start = w->iocb.pos;
    int error = generic_write_checks(w, iter);
    if (error != 0)
        return error;
    uint64_t old_bytes = w->iocb.vnode->size_bytes;
    error = generic_perform_write(w, iter);
    bool none = w->iocb.pos == start;
    uint64_t size_bytes = none ? old_bytes : w->iocb.vnode->size_bytes;
    /* What was made longer than was written is cut again; if that fails too, it is zeros that stay. */
    if (size_bytes < w->store_len_bytes)
        (void)!vnode_truncate(w->iocb.vnode, size_bytes);
    return none ? error : (int64_t)(w->iocb.pos - start);
}

static int64_t generic_file_write_iter(struct vnode *vnode, struct iov_iter *iter, vm_ooffset_t pos)
{
    struct write_state w = {.m = NULL};
    int error = kiocb_init(&w.iocb, vnode, pos);
    if (error != 0)
        return error;
    vn_lock(vnode);
    int64_t result = __generic_file_write_iter(&w, iter);
    vn_unlock(vnode);
    kiocb_done(&w.iocb);
    return result;
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

int64_t fl_vnode_write(struct vnode *vnode, const struct fl_iovec *iov, uint32_t niov, struct fl_iocb *iocb)
{
    struct iov_iter iter;
    int error = iov_iter_init(&iter, iov, niov);
    if (error != 0 || iter.count == 0)
        return error;
    int64_t result = generic_file_write_iter(vnode, &iter, iocb->offset);
    if (result > 0)
        iocb->offset += (uint64_t)result;
    return result;
}
