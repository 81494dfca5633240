/*
 * filemap.c: reading and writing a file through its pages, which are those that mappings show.
 *
 *   generic_file_read_iter
 *     filemap_read                        until enough, or the end
 *       filemap_get_pages
 *         filemap_get_read_batch          what is there, held; not behind the mark of read-ahead
 *         page_cache_sync_readahead       when nothing is: how much to read along; then the batch again
 *         filemap_create_page             when still nothing is: one page, so that its error is ours
 *         filemap_readahead               the mark: the next window
 *         filemap_update_page             not read yet: waits, and looks again
 *       copy_page_to_iter
 *
 *   generic_file_write_iter               one at a time (vn_lock)
 *     __generic_file_write_iter
 *       generic_perform_write             page by page
 *         write_begin                     the store long enough; the page busy, with what is not overwritten
 *         copy_page_from_iter_atomic
 *         write_end                       longer, dirty, not busy
 *         balance_dirty_pages
 *
 * A page that is read is held: it stays, and may be mapped and written meanwhile. A page that is written is
 * busy, so that nobody copies it half-written; and not in write-back, so that what is zeroed behind the old
 * end (vnode_pager_clean_tail) is not the new bytes. Both without a lock: the copy may sleep, and takes no
 * fault.
 *
 * Bytes behind the file's end in its last page may be anything, since mappings can store there. Whatever
 * makes the file longer overwrites them (a write that begins within the file) or zeroes them
 * (pagecache_isize_extended).
 *
 * The file's length is known as longer (write_end) when the bytes are there, while the store is longer from
 * write_begin on; nobody asks it meanwhile, for that takes vn_lock.
 *
 * Locks: vn_lock, (V), (O). Loops: each turn follows somebody else's progress with the page, or new memory.
 * Does not do: direct I/O; reading and writing as one step for other readers (as on Linux).
 */
#include "cache/filemap.h"
#include "cache/iov_iter.h"
#include "cache/readahead.h"
#include "cache/truncate.h"
#include "cache/writeback.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vnode_pager.h"
#include <faultline/vm.h>

#define FILEMAP_BATCH 32 /* pages that one copy takes together */
#define FILEMAP_TRIES 64 /* for memory that is free again and again, but never for us */
#define FILEMAP_RETRY 1  /* not an error: look again */
_Static_assert(FILEMAP_BATCH <= PMAP_BATCH, "one copy, one run");

/* A read or a write on its way. */
struct kiocb {
    struct vnode *vnode;
    struct vm_object *object;
    vm_ooffset_t pos;
    uint32_t memory_tries; /* in a row */
};

/* Neighbours, held. */
struct pagevec {
    struct vm_page *m[FILEMAP_BATCH];
    uint32_t n;
};

static uint64_t i_size_read(struct vnode *vnode)
{
    vm_lock(&vnode->lock);
    uint64_t size_bytes = vnode->size_bytes;
    vm_unlock(&vnode->lock);
    return size_bytes;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The vnode's object, made on first use; its pip keeps the pages' transfers in order. */
static int kiocb_init(struct kiocb *iocb, struct vnode *vnode, vm_ooffset_t pos)
{
    *iocb = (struct kiocb){.vnode = vnode, .object = vnode_pager_object(vnode), .pos = pos};
    if (iocb->object == NULL) {
        iocb->object = vm_pager_allocate(OBJT_VNODE, vnode, 0);
        if (iocb->object == NULL)
            return -ENOMEM;
        vm_object_deallocate(iocb->object); /* it lives as long as the vnode, which the caller has */
    }
    vm_lock(&iocb->object->lock);
    vm_object_pip_add(iocb->object);
    vm_unlock(&iocb->object->lock);
    return 0;
}

static void kiocb_done(struct kiocb *iocb)
{
    vm_lock(&iocb->object->lock);
    vm_object_pip_wakeup(iocb->object);
    vm_unlock(&iocb->object->lock);
}

/* ---- getting a page ------------------------------------------------------------------------------------ */

struct vm_page *find_lock_page(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *m;
    while ((m = vm_page_lookup(object, pindex)) != NULL && (m->flags & (PG_BUSY | PG_WRITEBACK)))
        vm_page_busy_sleep(m);
    if (m != NULL)
        vm_page_xbusy(m);
    return m;
}

/* There is no page for us. (O) held on entry and return, released in between. */
static int filemap_nomem(struct kiocb *iocb) REQUIRES(iocb->object->lock)
{
    vm_unlock(&iocb->object->lock);
    int error = vm_wait();
    vm_lock(&iocb->object->lock);
    if (error != 0)
        return error;
    return ++iocb->memory_tries < FILEMAP_TRIES ? FILEMAP_RETRY : -ENOMEM;
}

/*
 * *m: a busy page without bytes for pindex, which is absent. FILEMAP_RETRY: something changed. (O) held on
 * entry and return, perhaps released in between.
 */
static int filemap_alloc_page(struct kiocb *iocb, vm_pindex_t pindex, struct vm_page **m)
    REQUIRES(iocb->object->lock)
{
    if (vm_object_invalidating(iocb->object, pindex)) {
        vm_sleep(&iocb->object->invalidate_start, &iocb->object->lock);
        return FILEMAP_RETRY;
    }
    *m = vm_page_alloc(iocb->object, pindex, VM_ALLOC_NORMAL);
    if (*m == NULL)
        return filemap_nomem(iocb);
    iocb->memory_tries = 0;
    return 0;
}

/*
 * Reads m, which is busy and absent so far. (O) on entry and return, released in between; on failure m is
 * gone.
 */
static int filemap_read_page(struct kiocb *iocb, struct vm_page *m) REQUIRES(iocb->object->lock)
{
    vm_unlock(&iocb->object->lock);
    int error = vm_pager_get_pages(iocb->object, &m, 1, 0);
    vm_lock(&iocb->object->lock);
    if (error != 0)
        vm_page_free(m);
    return error;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

/* (O). */
static void pagevec_add(struct pagevec *pvec, struct vm_page *m)
{
    vm_page_hold(m);
    pvec->m[pvec->n++] = m;
}

static void pagevec_release(struct kiocb *iocb, struct pagevec *pvec)
{
    struct vnode *vnode = iocb->vnode;
    vm_lock(&iocb->object->lock);
    for (uint32_t i = 0; i < pvec->n; i++) {
        struct vm_page *m = pvec->m[i];
        if (m->pindex != vnode->prev_read)
            mark_page_accessed(m);
        vnode->prev_read = m->pindex;
        vm_page_unhold(m);
    }
    vm_unlock(&iocb->object->lock);
}

/*
 * The pages from pindex on that are there, valid and nobody's, at most max, up to a mark of read-ahead.
 * Returns the last page looked at, which may be somebody's when pvec is empty; NULL: there is none. (O).
 */
static struct vm_page *filemap_get_read_batch(struct kiocb *iocb, vm_pindex_t pindex, uint32_t max,
                                              struct pagevec *pvec)
{
    struct vm_page *m, *last = NULL;
    pvec->n = 0;
    while (pvec->n < max && (m = vm_page_lookup(iocb->object, pindex + pvec->n)) != NULL) {
        bool uptodate = (m->flags & (PG_VALID | PG_BUSY)) == PG_VALID;
        if (uptodate || last == NULL)
            last = m;
        if (!uptodate)
            break;
        pagevec_add(pvec, m);
        if (m->flags & PG_READAHEAD)
            break;
    }
    return last;
}

/*
 * Starts to read from pindex on: as much as is asked for, or what the stream is worth. (O), released in
 * between.
 */
static void filemap_sync_readahead(struct kiocb *iocb, vm_pindex_t pindex, uint32_t npages)
    REQUIRES(iocb->object->lock)
{
    uint32_t behind, ahead;
    bool next = page_cache_sync_readahead(&iocb->vnode->ra, MAP_BEHAV_NORMAL, pindex, &behind, &ahead);
    vm_pindex_t end = pindex + 1 + (ahead < npages - 1 ? npages - 1 : ahead);
    if (behind == 0 && end == pindex + 1)
        return; /* a single page: filemap_create_page */
    vm_unlock(&iocb->object->lock);
    force_page_cache_readahead(iocb->object, pindex - behind, end);
    vm_lock(&iocb->object->lock);
    if (next)
        page_cache_async_readahead(iocb->object, pindex); /* twice as much as this one */
}

/* The mark was reached: the window after this one is asked for. (O), released in between. */
static void filemap_readahead(struct kiocb *iocb, struct vm_page *m) REQUIRES(iocb->object->lock)
{
    m->flags &= (uint16_t)~PG_READAHEAD;
    page_cache_async_readahead(iocb->object, m->pindex);
}

/* One page is read by ourselves, so that we hear of its error. (O), released in between. */
static int filemap_create_page(struct kiocb *iocb, vm_pindex_t pindex, struct pagevec *pvec)
    REQUIRES(iocb->object->lock)
{
    struct vm_page *m;
    if (pindex >= iocb->object->size)
        return -ENXIO; /* cut off meanwhile */
    int error = filemap_alloc_page(iocb, pindex, &m);
    if (error == 0)
        error = filemap_read_page(iocb, m);
    if (error != 0)
        return error;
    m->flags |= PG_AHEAD;
    vm_page_deactivate(m);
    vm_page_xunbusy(m);
    pagevec_add(pvec, m);
    return 0;
}

/* Page m is somebody's, or on its way: waits. (O), released in between. */
static int filemap_update_page(struct vm_page *m)
{
    vm_page_busy_sleep(m);
    return FILEMAP_RETRY;
}

/* One look. `tried`: read-ahead was asked for this page and did not bring it. (O), released in between. */
static int filemap_get_pages_once(struct kiocb *iocb, uint32_t npages, bool *tried, struct pagevec *pvec)
    REQUIRES(iocb->object->lock)
{
    vm_pindex_t pindex = atop(iocb->pos);
    uint32_t max = npages < FILEMAP_BATCH ? npages : FILEMAP_BATCH;
    struct vm_page *last = filemap_get_read_batch(iocb, pindex, max, pvec);
    if (last == NULL && !*tried) {
        *tried = true;
        filemap_sync_readahead(iocb, pindex, npages);
        last = filemap_get_read_batch(iocb, pindex, max, pvec);
    }
    if (last == NULL)
        return filemap_create_page(iocb, pindex, pvec);
    if (last->flags & PG_READAHEAD) {
        filemap_readahead(iocb, last);
        if (pvec->n == 0) /* not held, so it may be gone */
            return FILEMAP_RETRY;
    }
    return pvec->n > 0 ? 0 : filemap_update_page(last);
}

/*
 * pvec becomes one page or more from iocb->pos on, of the npages that are wanted, valid and held. Errors:
 * -ENXIO beyond the end; the store's; -ENOMEM. No lock held.
 */
static int filemap_get_pages(struct kiocb *iocb, uint64_t npages, struct pagevec *pvec)
{
    uint32_t want = npages < MACHINE_RUN_MAX ? (uint32_t)npages : MACHINE_RUN_MAX;
    bool tried = false;
    int error;
    vm_lock(&iocb->object->lock);
    do {
        error = filemap_get_pages_once(iocb, want, &tried, pvec);
    } while (error == FILEMAP_RETRY);
    vm_unlock(&iocb->object->lock);
    return error;
}

/* Is there something to read at iocb->pos? Asks the store when the known length does not do. */
static int filemap_end(struct kiocb *iocb, uint64_t count, bool *end)
{
    uint64_t size_bytes = i_size_read(iocb->vnode);
    int error = 0;
    if (size_bytes < count || iocb->pos > size_bytes - count) {
        error = vnode_pager_setsize(iocb->vnode);
        size_bytes = i_size_read(iocb->vnode);
    }
    *end = iocb->pos >= size_bytes;
    return error;
}

/* Copies what the held pages have of what is wanted and lies within the file. */
static int filemap_copy(struct kiocb *iocb, struct pagevec *pvec, struct iov_iter *iter)
{
    uint32_t start = (uint32_t)(iocb->pos & VM_PAGE_MASK);
    uint64_t size_bytes = i_size_read(iocb->vnode), copied = 0;
    uint64_t len_bytes = min_u64(ptoa(pvec->n) - start, iter->count);
    if (iocb->pos >= size_bytes)
        return -ENXIO;
    len_bytes = min_u64(len_bytes, size_bytes - iocb->pos);
    int error = copy_page_to_iter(pvec->m, pvec->n, start, len_bytes, iter, &copied);
    iocb->pos += copied;
    return error;
}

static int64_t filemap_read(struct kiocb *iocb, struct iov_iter *iter)
{
    vm_ooffset_t start = iocb->pos;
    struct pagevec pvec;
    bool end;
    int error = filemap_end(iocb, iter->count, &end);
    while (error == 0 && !end && iter->count > 0) {
        uint64_t left = min_u64(iter->count, i_size_read(iocb->vnode) - iocb->pos);
        error = filemap_get_pages(iocb, atop((iocb->pos & VM_PAGE_MASK) + left + VM_PAGE_MASK), &pvec);
        if (error == 0) {
            error = filemap_copy(iocb, &pvec, iter);
            pagevec_release(iocb, &pvec);
        }
        if (error == -ENXIO) { /* the file became shorter: is this its end? */
            error = filemap_end(iocb, UINT64_MAX, &end);
            error = error == 0 && !end ? -EIO : error;
        }
        end = end || iocb->pos >= i_size_read(iocb->vnode);
    }
    return iocb->pos > start ? (int64_t)(iocb->pos - start) : error;
}

static int64_t generic_file_read_iter(struct vnode *vnode, struct iov_iter *iter, vm_ooffset_t pos)
{
    struct kiocb iocb;
    int error = kiocb_init(&iocb, vnode, pos);
    if (error != 0)
        return error;
    int64_t result = filemap_read(&iocb, iter);
    kiocb_done(&iocb);
    return result;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

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

int64_t fl_vnode_read(struct vnode *vnode, const struct fl_iovec *iov, uint32_t niov, vm_ooffset_t offset)
{
    struct iov_iter iter;
    int error = iov_iter_init(&iter, iov, niov);
    if (error != 0 || iter.count == 0)
        return error;
    return generic_file_read_iter(vnode, &iter, offset);
}

int64_t fl_vnode_write(struct vnode *vnode, const struct fl_iovec *iov, uint32_t niov, vm_ooffset_t offset)
{
    struct iov_iter iter;
    int error = iov_iter_init(&iter, iov, niov);
    if (error != 0 || iter.count == 0)
        return error;
    return generic_file_write_iter(vnode, &iter, offset);
}
