/*
 * filemap_write.c: writing a file through its pages, which are those that mappings show.
 *
 *   fl_vnode_write ─▶ generic_file_write_iter   one at a time (vn_lock)
 *     __generic_file_write_iter
 *       generic_file_direct_write         FL_IOCB_DIRECT: past the pages, which are written back and removed
 *       generic_perform_write             page by page
 *         write_begin                     the store long enough; the page busy, with the bytes that stay
 *           simple_write_begin            all of the page's other bytes
 *           blkdev_write_begin            a store with smaller blocks: only blocks overwritten in part
 *         copy_page_from_iter_atomic
 *         generic_write_end               longer; dirty (simple_write_end, block_write_end); not busy
 *         balance_dirty_pages
 *     generic_write_sync                  FL_IOCB_DSYNC
 *
 * A page that is written is busy, so that no read copies it half-written; and not in
 * write-back, which would zero the new bytes behind the old end (vnode_clean_tail).
 * The copy is made without a lock: it may sleep, and takes no fault.
 *
 * Bytes behind the file's end in its last page may be anything, since mappings can store there. A write that
 * makes the file longer overwrites them, if it begins within the file, or zeroes them (write_skip).
 *
 * The store is longer from write_begin on; the file's length grows in generic_write_end, when the bytes are
 * there. No thread asks the store meanwhile, for that takes vn_lock. The page of the old end is busy
 * meanwhile, or kept out of memory, so that nothing behind that end is on its way to the store.
 *
 * Locks: vn_lock, (V), (O).
 * Loops: each turn follows the progress of another thread with the page, or new memory.
 */
#include "file/buffer.h"
#include "file/direct.h"
#include "file/filemap.h"
#include "file/flusher.h"
#include "file/iov_iter.h"
#include "file/truncate.h"
#include "file/vnode_size.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/lru.h"
#include "vm/pmap.h"
#include "vm/vm_pager.h"
#include <faultline/vm.h>

/* A write on its way. vn_lock is held, so no other thread changes the length. */
struct write_state {
    struct kiocb iocb;
    unsigned flags; /* FL_IOCB_* */
    struct store *store;
    vm_ooffset_t end;         /* offset behind the last byte to write */
    uint32_t block_bytes;     /* of the file */
    uint64_t store_len_bytes; /* the store's length: size_bytes, or more while the file becomes longer */
    struct vm_page *m;        /* the page at hand, busy; or NULL */
    uint32_t start, len;      /* the bytes of it that are written */
};

/*
 * Makes the store long enough for the bytes of the page at hand, and if possible for all bytes to come.
 * Errors: the store's, -EOPNOTSUPP.
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
    if (error != 0)
        w->store_len_bytes = w->iocb.vnode->size_bytes;
    return error;
}

/* ---- a page to write into ------------------------------------------------------------------------------ */

/* Does the write overwrite all bytes of the page at hand that lie within the file? vn_lock held. */
static bool write_whole(const struct write_state *w)
{
    uint64_t page = ptoa(w->m->pindex);
    return w->start == 0 && page + w->len >= min_u64(page + VM_PAGE_SIZE, w->iocb.vnode->size_bytes);
}

/*
 * w->m, new and busy, gets the bytes that the write does not overwrite. On failure it is gone. (O), released
 * in between. Errors: the store's, -ENOMEM.
 */
static int simple_write_begin(struct write_state *w, struct iov_iter *iter) FL_REQUIRES(w->iocb.object->lock)
{
    bool inside = ptoa(w->m->pindex) < w->iocb.vnode->size_bytes;
    if (inside && (!write_whole(w) || vm_object_snapshotted(w->iocb.object))) /* it keeps the old bytes */
        return filemap_read_page(&w->iocb, w->m);
    vm_unlock(&w->iocb.object->lock);
    int error = 0;
    /* That does not make it valid: after a short copy the zeros would not be the file's bytes. */
    if (w->len < VM_PAGE_SIZE || iov_iter_single_seg_count(iter) < VM_PAGE_SIZE)
        error = pmap_zero_page(w->m);
    vm_lock(&w->iocb.object->lock);
    if (error != 0)
        vm_page_free(w->m);
    return error;
}

/* Busy m was not written: it goes back if it is valid or has dirty blocks, and is freed otherwise. (O). */
static void write_forget_page(struct vm_page *m)
{
    bool released = !page_has_buffers(m) || (m->flags & PG_VALID) || try_to_release_page(m);
    if ((m->flags & PG_VALID) || !released) {
        lru_cache_add(m);
        vm_page_xunbusy(m);
    } else {
        vm_page_free(m);
    }
}

/*
 * As simple_write_begin, of a store with smaller blocks: w->m is new
 * or has buffers. (O), released in between.
 */
static int blkdev_write_begin(struct write_state *w) FL_REQUIRES(w->iocb.object->lock)
{
    vm_unlock(&w->iocb.object->lock);
    int error = block_write_begin(w->m, w->start, w->len);
    vm_lock(&w->iocb.object->lock);
    if (error == -ENOMEM && !page_has_buffers(w->m)) /* without buffers: reads all of it */
        return filemap_read_page(&w->iocb, w->m);
    if (error != 0)
        write_forget_page(w->m);
    return error;
}

/*
 * Reads the bytes of w->m that the write does not overwrite, if they are missing. On failure w->m is gone.
 * (O), released in between. Errors: the store's, -ENOMEM.
 */
static int write_prepare(struct write_state *w, struct iov_iter *iter) FL_REQUIRES(w->iocb.object->lock)
{
    if (w->m->flags & PG_VALID)
        return 0;
    bool outside = ptoa(w->m->pindex) >= w->iocb.vnode->size_bytes;
    bool blocks = w->block_bytes < VM_PAGE_SIZE && !write_whole(w) && !outside && !w->iocb.vnode->whole_pages;
    return page_has_buffers(w->m) || blocks ? blkdev_write_begin(w) : simple_write_begin(w, iter);
}

/* w->m: the page at pindex, busy and prepared. (O), released in between. Errors: the store's, -ENOMEM. */
static int grab_cache_page_write_begin(struct write_state *w, vm_pindex_t pindex, struct iov_iter *iter)
    FL_REQUIRES(w->iocb.object->lock)
{
    int error;
    do {
        error = 0;
        w->m = find_lock_page(w->iocb.object, pindex);
        if (w->m == NULL)
            error = filemap_alloc_page(&w->iocb, pindex, &w->m);
        if (error == 0)
            error = write_prepare(w, iter);
    } while (error == FILEMAP_RETRY);
    if (error != 0)
        w->m = NULL;
    return error;
}

/* The page at hand is not written. No lock held but vn_lock. */
static void write_abort(struct write_state *w)
{
    struct vm_object *object = w->iocb.object;
    vm_lock(&object->lock);
    write_forget_page(w->m);
    vm_unlock(&object->lock);
    w->m = NULL;
}

/*
 * w->m: the page at iocb.pos, busy, without clean copies above it (FT2); the store is long enough. No lock
 * held but vn_lock. Errors: of growing, of reading, -ENOMEM.
 */
static int write_begin(struct write_state *w, struct iov_iter *iter)
{
    w->start = (uint32_t)(w->iocb.pos & VM_PAGE_MASK);
    w->len = (uint32_t)min_u64(VM_PAGE_SIZE - w->start, iter->count);
    /* In the page of the old end, if the file grows: the store grows when the page is busy. */
    bool last_page = ptoa(atop(w->iocb.pos)) < w->iocb.vnode->size_bytes;
    int error = last_page ? 0 : write_grow(w);
    if (error != 0)
        return error;
    vm_lock(&w->iocb.object->lock);
    error = grab_cache_page_write_begin(w, atop(w->iocb.pos), iter);
    bool copied = error == 0 && (w->m->flags & PG_COPIED) != 0;
    /* Releases (O); the page stays, because it is busy. */
    if (copied)
        error = vm_object_invalidate_copies(w->iocb.object, w->m);
    KASSERT(error != 0 || (w->m->flags & (PG_BUSY | PG_COPIED)) == PG_BUSY, "FT2");
    if (copied && error != 0) {
        write_forget_page(w->m);
        w->m = NULL;
    }
    vm_unlock(&w->iocb.object->lock);
    if (error == 0 && last_page) {
        error = write_grow(w);
        if (error != 0)
            write_abort(w);
    }
    return error;
}

/* ---- a page that was written into ---------------------------------------------------------------------- */

/* `copied` of len bytes were written to m, which has no buffers. Returns how many of them count. (O). */
static uint32_t simple_write_end(struct vm_page *m, uint32_t len, uint32_t copied)
{
    if (copied < len && (m->flags & PG_VALID) == 0)
        return 0; /* the rest was to be overwritten, and was not read */
    if (copied > 0) {
        m->flags |= PG_VALID;
        vm_page_dirty(m);
    }
    return copied;
}

/*
 * `copied` bytes, perhaps none, were written to the page at hand, which goes back. Those that count are the
 * file's now, and the position advances by them. No lock held but vn_lock.
 */
static void generic_write_end(struct write_state *w, uint64_t copied)
{
    struct vm_object *object = w->iocb.object;
    vm_lock(&object->lock);
    copied = page_has_buffers(w->m) ? block_write_end(w->m, w->start, w->len, (uint32_t)copied)
                                    : simple_write_end(w->m, w->len, (uint32_t)copied);
    w->iocb.pos += copied;
    if (copied > 0 && w->iocb.pos > w->iocb.vnode->size_bytes) {
        vm_unlock(&object->lock);
        (void)vnode_newsize(w->iocb.vnode, w->iocb.pos);
        vm_lock(&object->lock);
    }
    if (copied > 0) {
        mark_page_accessed(w->m);
        vm_page_xunbusy(w->m);
    } else {
        write_forget_page(w->m);
    }
    vm_unlock(&object->lock);
    w->m = NULL;
}

/*
 * Writes from iocb.pos, which advances, until the iterator ends. No
 * lock held but vn_lock. Errors: as write_begin, -EFAULT.
 */
static int generic_perform_write(struct write_state *w, struct iov_iter *iter)
{
    int error = 0;
    while (error == 0 && iter->count > 0) {
        uint64_t copied;
        error = write_begin(w, iter);
        if (error != 0)
            break;
        error = copy_page_from_iter_atomic(w->m, w->start, w->len, iter, &copied);
        generic_write_end(w, copied);
        balance_dirty_pages(w->iocb.object);
    }
    return error;
}

/* ---- past the pages ------------------------------------------------------------------------------------ */

/*
 * One piece, of w->len bytes. FILEMAP_RETRY: some pages of it cannot be removed, and the write must go
 * through them. Errors: of growing, of write-back, of the store, -EFAULT, -ENOMEM.
 */
static int direct_write_piece(struct write_state *w, struct iov_iter *iter)
{
    struct vm_object *object = w->iocb.object;
    vm_pindex_t first = atop(w->iocb.pos), end = range_end(w->iocb.pos, w->len);
    int error = filemap_write_and_wait_range(object, first, end);
    if (error != 0)
        return error;
    vm_lock(&object->lock);
    filemap_invalidate_lock(object, first, end);
    vm_unlock(&object->lock);
    error = vm_object_preserve(object, first, end);
    bool gone = error != 0 || invalidate_inode_pages2_range(object, first, end);
    if (gone && error == 0)
        error = write_grow(w);
    if (gone && error == 0)
        error = blkdev_direct_IO(&w->iocb, iter, STORE_WRITE, w->len);
    /* The length is known before the page of the old end can come in. */
    if (w->iocb.pos > w->iocb.vnode->size_bytes)
        (void)vnode_newsize(w->iocb.vnode, w->iocb.pos);
    filemap_invalidate_unlock(object);
    return gone ? error : FILEMAP_RETRY;
}

/* Where a page cannot be removed: writes through the pages, and then writes these back. */
static int direct_write_fallback(struct write_state *w, struct iov_iter *iter)
{
    vm_ooffset_t start = w->iocb.pos;
    int error = generic_perform_write(w, iter);
    uint64_t written = w->iocb.pos - start;
    int synced = 0;
    if (written > 0)
        synced = filemap_write_and_wait_range(w->iocb.object, atop(start), range_end(start, written));
    return error != 0 ? error : synced;
}

/* Writes past the pages until the iterator ends. No lock held but vn_lock. Errors: as direct_write_piece. */
static int generic_file_direct_write(struct write_state *w, struct iov_iter *iter)
{
    int error = 0;
    while (error == 0 && iter->count > 0) {
        w->len = (uint32_t)min_u64(DIRECT_PAGES * VM_PAGE_SIZE - (w->iocb.pos & VM_PAGE_MASK), iter->count);
        error = direct_write_piece(w, iter);
        if (error == FILEMAP_RETRY)
            return direct_write_fallback(w, iter);
    }
    return error;
}

/* ---- a whole write ------------------------------------------------------------------------------------- */

/*
 * Sets up w: where the write begins, and how many bytes may be written; the iterator is cut to these. vn_lock
 * held. Errors: -EBADF; -EINVAL (alignment); -EFBIG, at the largest offset; the store's.
 */
static int generic_write_checks(struct write_state *w, struct iov_iter *iter)
{
    struct vnode *vnode = w->iocb.vnode;
    bool append = (w->flags & FL_IOCB_APPEND) != 0;
    w->store = atomic_load(&vnode->writer);
    if (w->store == NULL)
        return -EBADF;
    w->block_bytes = i_blocksize(vnode);
    int error = append ? vnode_setsize_locked(vnode) : 0;
    if (error != 0)
        return error;
    if (append)
        w->iocb.pos = vnode->size_bytes;
    if ((w->flags & FL_IOCB_DIRECT) && ((w->iocb.pos | iter->count) & (w->block_bytes - 1)) != 0)
        return -EINVAL;
    if (w->iocb.pos >= INT64_MAX)
        return -EFBIG;
    iter->count = min_u64(iter->count, (uint64_t)INT64_MAX - w->iocb.pos);
    w->end = w->iocb.pos + iter->count;
    if (w->end > vnode->size_bytes && !append)
        error = vnode_setsize_locked(vnode);
    w->store_len_bytes = vnode->size_bytes;
    return error;
}

/*
 * The write begins behind the end: makes the file as long as that, with
 * zeros. Errors: as write_grow, -ENOMEM.
 */
static int write_skip(struct write_state *w)
{
    if (w->store->ops->truncate == NULL)
        return -EOPNOTSUPP;
    int error = vnode_truncate(w->iocb.vnode, w->iocb.pos);
    w->store_len_bytes = w->iocb.vnode->size_bytes;
    return error;
}

/* Returns how many bytes were written, which end at iocb.pos; or an error. vn_lock held. */
static int64_t __generic_file_write_iter(struct write_state *w, struct iov_iter *iter)
{
    int error = generic_write_checks(w, iter);
    if (error != 0)
        return error;
    vm_ooffset_t start = w->iocb.pos;
    uint64_t old_bytes = w->iocb.vnode->size_bytes;
    if (start > old_bytes)
        error = write_skip(w);
    bool direct = (w->flags & FL_IOCB_DIRECT) != 0;
    if (error == 0)
        error = direct ? generic_file_direct_write(w, iter) : generic_perform_write(w, iter);
    bool none = w->iocb.pos == start;
    uint64_t size_bytes = none ? old_bytes : w->iocb.vnode->size_bytes;
    /* A store that was made longer than the write got is cut again. If that fails, zeros stay at its end. */
    if (size_bytes < w->store_len_bytes)
        (void)!vnode_truncate(w->iocb.vnode, size_bytes);
    return none ? error : (int64_t)(w->iocb.pos - start);
}

/* Puts the `written` bytes before iocb.pos on stable storage. Errors: of write-back, of the store's flush. */
static int generic_write_sync(const struct write_state *w, int64_t written)
{
    vm_ooffset_t start = w->iocb.pos - (uint64_t)written;
    vm_pindex_t end = range_end(start, (uint64_t)written);
    return vfs_fsync_range(w->iocb.vnode, w->iocb.object, atop(start), end, NULL);
}

static int64_t generic_file_write_iter(struct vnode *vnode, struct iov_iter *iter, struct fl_iocb *iocb)
{
    struct write_state w = {.flags = iocb->flags};
    int error = kiocb_init(&w.iocb, vnode, iocb->offset);
    if (error != 0)
        return error;
    if (!vm_pager_keeps(w.iocb.object)) /* there is nothing past the pages */
        w.flags &= ~(unsigned)FL_IOCB_DIRECT;
    vn_lock(vnode);
    int64_t result = __generic_file_write_iter(&w, iter);
    vn_unlock(vnode);
    if (result > 0)
        iocb->offset = w.iocb.pos;
    if (result > 0 && (w.flags & FL_IOCB_DSYNC)) {
        error = generic_write_sync(&w, result);
        result = error != 0 ? error : result;
    }
    kiocb_done(&w.iocb);
    return result;
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

int64_t fl_vnode_write(struct vnode *vnode, const struct fl_iovec *iov, uint32_t niov, struct fl_iocb *iocb)
{
    struct iov_iter iter;
    int error = kiocb_check(iocb, iov, niov, &iter);
    if (error != 0 || iter.count == 0)
        return error;
    return generic_file_write_iter(vnode, &iter, iocb);
}
