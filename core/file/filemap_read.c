/*
 * filemap_read.c: reading a file through its pages, which are those that mappings show.
 *
 *   fl_vnode_read ─▶ generic_file_read_iter
 *     generic_file_direct_read            FL_IOCB_DIRECT: past the pages (direct.c)
 *     filemap_read                        until enough is read, or the file ends
 *       filemap_get_pages
 *         filemap_get_read_batch          valid pages that are there; up to a mark of read-ahead
 *         page_cache_sync_readahead       the first page is absent: reads more with it; then the batch again
 *         filemap_create_page             still absent: that one page, so that its error is ours
 *         filemap_readahead               the mark: the next window
 *         filemap_update_page             busy: waits; or written in part: reads the blocks that are missing
 *       copy_page_to_iter
 *
 * A page that is being read counts a reader: so it stays in memory, and may be mapped and written meanwhile.
 * The copy is made without a lock: it may sleep, and takes no fault.
 *
 * Locks: vn_lock, (V), (O).
 * Loops: each turn follows the progress of another thread with the page, or new memory.
 * Does not do: a read that is one step for other threads' writes (as on Linux).
 */
#include "file/buffer.h"
#include "file/direct.h"
#include "file/filemap.h"
#include "file/iov_iter.h"
#include "file/readahead.h"
#include "file/vnode.h"
#include "lib/errno.h"
#include "vm/lru.h"
#include "vm/pmap.h"
#include "vm/vm_pager.h"
#include <faultline/vm.h>

#define FILEMAP_BATCH 64 /* pages that one copy takes together */
_Static_assert(FILEMAP_BATCH <= PMAP_BATCH, "one copy, one run");

/* Neighbours by index; each counts a reader (vm_page.readers). */
struct pagevec {
    struct vm_page *m[FILEMAP_BATCH];
    uint32_t n;
};

/* ---- pages to read ------------------------------------------------------------------------------------- */

/* (O). */
static void pagevec_add(struct pagevec *pvec, struct vm_page *m)
{
    vm_page_reader_add(m);
    pvec->m[pvec->n++] = m;
}

/* The pages were read: they count as used, each page of a stream of small reads once. (O). */
static void pagevec_release(struct kiocb *iocb, struct pagevec *pvec) FL_REQUIRES(iocb->object->lock)
{
    struct vnode *vnode = iocb->vnode;
    for (uint32_t i = 0; i < pvec->n; i++) {
        struct vm_page *m = pvec->m[i];
        if (m->pindex != vnode->prev_read)
            mark_page_accessed(m);
        vnode->prev_read = m->pindex;
    }
    release_pages(pvec->m, pvec->n);
}

/*
 * pvec: the pages from pindex on that are valid and not busy, at most max, up to a page with the mark of
 * read-ahead. Returns the last of them; or, when pvec is empty, the page at pindex, which is busy or not
 * valid; NULL: that is absent. (O).
 */
static struct vm_page *filemap_get_read_batch(struct kiocb *iocb, vm_pindex_t pindex, uint32_t max,
                                              struct pagevec *pvec) FL_REQUIRES(iocb->object->lock)
{
    struct vm_page *m, *last = NULL;
    pvec->n = 0;
    while (pvec->n < max && (m = vm_page_lookup(iocb->object, pindex + pvec->n)) != NULL) {
        bool uptodate = (m->flags & (PG_VALID | PG_BUSY)) == PG_VALID && m->readers < VM_READERS_MAX;
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

/* For the stream of fl_vnode_read. (O). */
static struct readahead_control filemap_ractl(const struct kiocb *iocb) FL_REQUIRES(iocb->object->lock)
{
    return (struct readahead_control){
        .object = iocb->object,
        .stream = &iocb->vnode->stream_read,
        .behavior = (enum vm_behavior)iocb->vnode->ra_behavior,
    };
}

/* The mark, page m, was reached: starts the next window. (O), released in between. */
static void filemap_readahead(struct kiocb *iocb, struct vm_page *m) FL_REQUIRES(iocb->object->lock)
{
    struct readahead_control ractl = filemap_ractl(iocb);
    vm_lock_assert(&ractl.object->lock); /* tells the compiler that this is iocb->object */
    page_cache_async_readahead(&ractl, m);
}

/*
 * Reads the page at pindex alone, so that its error is this call's. pvec: the page. (O), released in between.
 */
static int filemap_create_page(struct kiocb *iocb, vm_pindex_t pindex, struct pagevec *pvec)
    FL_REQUIRES(iocb->object->lock)
{
    struct vm_page *m;
    if (pindex >= iocb->object->size)
        return -ENXIO; /* it was cut off meanwhile */
    int error = filemap_alloc_page(iocb, pindex, &m);
    if (error == 0)
        error = filemap_read_page(iocb, m);
    if (error != 0)
        return error;
    lru_cache_add(m);
    vm_page_xunbusy(m);
    pagevec_add(pvec, m);
    return 0;
}

/*
 * m is busy, in write-back, or has too many readers: waits. Or it was written in part and never read: reads
 * the rest. (O), released in between.
 */
static int filemap_update_page(struct kiocb *iocb, struct vm_page *m) FL_REQUIRES(iocb->object->lock)
{
    if ((m->flags & (PG_BUSY | PG_WRITEBACK)) || m->readers == VM_READERS_MAX) {
        vm_page_busy_sleep(m);
        return FILEMAP_RETRY;
    }
    vm_page_xbusy(m);
    int error = filemap_read_page(iocb, m);
    vm_page_xunbusy(m);
    return error != 0 ? error : FILEMAP_RETRY;
}

/*
 * Page pindex is absent. True: read-ahead was started, and a second
 * look is worth it. (O), released in between.
 */
static bool filemap_sync_readahead(struct kiocb *iocb, vm_pindex_t pindex, uint32_t npages)
    FL_REQUIRES(iocb->object->lock)
{
    struct readahead_control ractl = filemap_ractl(iocb);
    vm_lock_assert(&ractl.object->lock); /* tells the compiler that this is iocb->object */
    return vm_pager_ops(ractl.object)->readahead(&ractl, pindex, npages);
}

/*
 * One look at the page of iocb->pos. *tried: read-ahead was asked for
 * it, and did not bring it. (O), released in between.
 */
static int filemap_get_pages_once(struct kiocb *iocb, uint32_t npages, bool *tried, struct pagevec *pvec)
    FL_REQUIRES(iocb->object->lock)
{
    vm_pindex_t pindex = atop(iocb->pos);
    uint32_t max = npages < FILEMAP_BATCH ? npages : FILEMAP_BATCH;
    struct vm_page *last = filemap_get_read_batch(iocb, pindex, max, pvec);
    if (last == NULL && !*tried) {
        *tried = true;
        if (filemap_sync_readahead(iocb, pindex, npages))
            last = filemap_get_read_batch(iocb, pindex, max, pvec);
    }
    if (last == NULL)
        return filemap_create_page(iocb, pindex, pvec);
    if (last->flags & PG_READAHEAD) {
        filemap_readahead(iocb, last);
        if (pvec->n == 0) /* no reader was counted, so the page may be gone */
            return FILEMAP_RETRY;
    }
    return pvec->n > 0 ? 0 : filemap_update_page(iocb, last);
}

/*
 * pvec: one page or more from iocb->pos on, valid, of the npages that are wanted. (O) held on entry and
 * return, perhaps released in between. Errors: -ENXIO beyond the end; the store's; -ENOMEM.
 */
static int filemap_get_pages(struct kiocb *iocb, uint64_t npages, struct pagevec *pvec)
    FL_REQUIRES(iocb->object->lock)
{
    uint32_t want = npages < MACHINE_RUN_MAX ? (uint32_t)npages : MACHINE_RUN_MAX;
    bool tried = false;
    int error;
    do {
        error = filemap_get_pages_once(iocb, want, &tried, pvec);
    } while (error == FILEMAP_RETRY);
    return error;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

/*
 * *left: how many of the count bytes at iocb->pos the file has. Asks the store when the known length is too
 * short.
 * (O) held on entry and return, perhaps released in between. Errors: as fl_vnode_setsize.
 */
static int filemap_left(struct kiocb *iocb, uint64_t count, uint64_t *left) FL_REQUIRES(iocb->object->lock)
{
    uint64_t size_bytes = iocb->vnode->size_bytes;
    int error = 0;
    if (size_bytes < count || iocb->pos > size_bytes - count) {
        vm_unlock(&iocb->object->lock);
        error = fl_vnode_setsize(iocb->vnode);
        vm_lock(&iocb->object->lock);
        size_bytes = iocb->vnode->size_bytes;
    }
    *left = iocb->pos < size_bytes ? min_u64(count, size_bytes - iocb->pos) : 0;
    return error;
}

/*
 * Copies what the pages have of the `left` bytes that are wanted. (O) held on entry and return, released
 * meanwhile. Errors: -ENXIO, the file has become shorter; -EFAULT; -ENOMEM.
 */
static int filemap_copy(struct kiocb *iocb, struct pagevec *pvec, struct iov_iter *iter, uint64_t left)
    FL_REQUIRES(iocb->object->lock)
{
    uint32_t start = (uint32_t)(iocb->pos & VM_PAGE_MASK);
    uint64_t size_bytes = iocb->vnode->size_bytes, copied = 0;
    if (iocb->pos >= size_bytes)
        return -ENXIO;
    left = min_u64(min_u64(left, ptoa(pvec->n) - start), size_bytes - iocb->pos);
    vm_unlock(&iocb->object->lock);
    int error = copy_page_to_iter(pvec->m, pvec->n, start, left, iter, &copied);
    iocb->pos += copied;
    vm_lock(&iocb->object->lock);
    return error;
}

/*
 * The file has become shorter, and the page at iocb->pos is gone. *left: what the file has there now. (O)
 * held on entry and return, released in between. Errors: as filemap_left; -EIO.
 */
static int filemap_cut(struct kiocb *iocb, uint64_t *left) FL_REQUIRES(iocb->object->lock)
{
    int error = filemap_left(iocb, UINT64_MAX, left);
    if (error == 0 && *left > 0 && ++iocb->tries == FILEMAP_TRIES)
        return -EIO;
    return error;
}

/*
 * Keeps (O) from each copy to the next: these steps are few and short. (O), released in between. Returns how
 * many bytes were read, or an error.
 */
static int64_t filemap_read(struct kiocb *iocb, struct iov_iter *iter) FL_REQUIRES(iocb->object->lock)
{
    vm_ooffset_t start = iocb->pos;
    struct pagevec pvec;
    uint64_t left;
    int error = filemap_left(iocb, iter->count, &left);
    while (error == 0 && left > 0) {
        error = filemap_get_pages(iocb, atop((iocb->pos & VM_PAGE_MASK) + left + VM_PAGE_MASK), &pvec);
        if (error == 0) {
            error = filemap_copy(iocb, &pvec, iter, left);
            pagevec_release(iocb, &pvec);
        }
        if (iter->count == 0)
            break;
        if (error == -ENXIO)
            error = filemap_cut(iocb, &left);
        uint64_t size_bytes = iocb->vnode->size_bytes;
        left = iocb->pos < size_bytes ? min_u64(iter->count, size_bytes - iocb->pos) : 0;
    }
    return iocb->pos > start ? (int64_t)(iocb->pos - start) : error;
}

static int64_t generic_file_read_iter(struct vnode *vnode, struct iov_iter *iter, struct fl_iocb *ki)
{
    struct kiocb iocb;
    int64_t result;
    int error = kiocb_object(&iocb, vnode, ki->offset);
    if (error != 0)
        return error;
    vm_lock(&iocb.object->lock);
    vm_object_pip_add(iocb.object);
    if ((ki->flags & FL_IOCB_DIRECT) && vm_pager_keeps(iocb.object)) {
        vm_unlock(&iocb.object->lock);
        result = generic_file_direct_read(&iocb, iter);
        vm_lock(&iocb.object->lock);
    } else {
        result = filemap_read(&iocb, iter);
    }
    vm_object_pip_wakeup(iocb.object);
    vm_unlock(&iocb.object->lock);
    return result;
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

int64_t fl_vnode_read(struct vnode *vnode, const struct fl_iovec *iov, uint32_t niov, struct fl_iocb *iocb)
{
    struct iov_iter iter;
    int error = kiocb_check(iocb, iov, niov, &iter);
    if (error != 0 || iter.count == 0)
        return error;
    int64_t result = generic_file_read_iter(vnode, &iter, iocb);
    if (result > 0)
        iocb->offset += (uint64_t)result;
    return result;
}
