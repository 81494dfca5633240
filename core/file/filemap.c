/*
 * filemap.c: reading a file through its pages, which are those that mappings show; and getting such a page.
 *
 *   generic_file_read_iter
 *     generic_file_direct_read            FL_IOCB_DIRECT: past the pages (direct.c)
 *     filemap_read                        until enough, or the end
 *       filemap_get_pages
 *         filemap_get_read_batch          what is there, and stays; not behind the mark of read-ahead
 *         page_cache_sync_readahead       when nothing is: how much to read along; then the batch again
 *         filemap_create_page             when still nothing is: one page, so that its error is ours
 *         filemap_readahead               the mark: the next window
 *         filemap_update_page             not read yet: waits, or reads the blocks that are missing
 *       copy_page_to_iter
 *
 * A page that is read has a reader more: it stays, and may be mapped and written meanwhile. Without a lock:
 * the copy may sleep, and takes no fault.
 *
 * Locks: vn_lock, (V), (O). Loops: each turn follows somebody else's progress with the page, or new memory.
 * Does not do: writing (filemap_write.c); reading and writing as one step for other readers (as on Linux).
 */
#include "file/filemap.h"
#include "file/buffer.h"
#include "file/direct.h"
#include "file/iov_iter.h"
#include "vm/lru.h"
#include "file/readahead.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "file/vnode_pager.h"
#include <faultline/vm.h>

#define FILEMAP_BATCH 64 /* pages that one copy takes together */
#define FILEMAP_TRIES 64 /* for memory that is free again and again, but never for us */
_Static_assert(FILEMAP_BATCH <= PMAP_BATCH, "one copy, one run");

/* Neighbours, which stay (vm_page.readers). */
struct pagevec {
    struct vm_page *m[FILEMAP_BATCH];
    uint32_t n;
};

uint64_t i_size_read(struct vnode *vnode)
{
    vm_lock(&vnode->lock);
    uint64_t size_bytes = vnode->size_bytes;
    vm_unlock(&vnode->lock);
    return size_bytes;
}

/* The vnode's object, made on first use. No lock held. Errors: -ENOMEM. */
static int kiocb_object(struct kiocb *iocb, struct vnode *vnode, vm_ooffset_t pos)
{
    *iocb = (struct kiocb){.vnode = vnode, .object = vnode_pager_object(vnode), .pos = pos};
    if (iocb->object == NULL) {
        iocb->object = vm_pager_allocate(OBJT_VNODE, vnode, 0);
        if (iocb->object == NULL)
            return -ENOMEM;
        vm_object_deallocate(iocb->object); /* it lives as long as the vnode, which the caller has */
    }
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
static int filemap_nomem(struct kiocb *iocb) FL_REQUIRES(iocb->object->lock)
{
    vm_unlock(&iocb->object->lock);
    int error = vm_wait();
    vm_lock(&iocb->object->lock);
    if (error != 0)
        return error;
    return ++iocb->memory_tries < FILEMAP_TRIES ? FILEMAP_RETRY : -ENOMEM;
}

int filemap_alloc_page(struct kiocb *iocb, vm_pindex_t pindex, struct vm_page **m)
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

/* ---- reading ------------------------------------------------------------------------------------------- */

/* (O). */
static void pagevec_add(struct pagevec *pvec, struct vm_page *m)
{
    vm_page_reader_add(m);
    pvec->m[pvec->n++] = m;
}

/* (O). */
static void pagevec_release(struct kiocb *iocb, struct pagevec *pvec)
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
 * The pages from pindex on that are there, valid and nobody's, at most max, up to a mark of read-ahead.
 * Returns the last page looked at, which may be somebody's when pvec is empty; NULL: there is none. (O).
 */
static struct vm_page *filemap_get_read_batch(struct kiocb *iocb, vm_pindex_t pindex, uint32_t max,
                                              struct pagevec *pvec)
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

/* For the stream of the vnode's reads. (O). */
static struct readahead_control filemap_ractl(const struct kiocb *iocb)
{
    return (struct readahead_control){
        .object = iocb->object,
        .stream = &iocb->vnode->stream_read,
        .behavior = (enum vm_behavior)iocb->vnode->ra_behavior,
    };
}

/* The mark was reached: the window after this one is asked for. (O), released in between. */
static void filemap_readahead(struct kiocb *iocb,
                              struct vm_page *m) FL_NO_THREAD_SAFETY_ANALYSIS /* the lock by another name */
{
    struct readahead_control ractl = filemap_ractl(iocb);
    page_cache_async_readahead(&ractl, m);
}

/* One page is read by ourselves, so that we hear of its error. (O), released in between. */
static int filemap_create_page(struct kiocb *iocb, vm_pindex_t pindex, struct pagevec *pvec)
    FL_REQUIRES(iocb->object->lock)
{
    struct vm_page *m;
    if (pindex >= iocb->object->size)
        return -ENXIO; /* cut off meanwhile */
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
 * Page m is somebody's, or on its way: waits. Or it was written in part and never read: reads the rest. (O),
 * released in between.
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

/* True: read-ahead was started, and it is worth a second look. (O), released in between. */
static bool filemap_sync_readahead(struct kiocb *iocb, vm_pindex_t pindex, uint32_t npages)
    FL_NO_THREAD_SAFETY_ANALYSIS /* the lock by another name */
{
    struct readahead_control ractl = filemap_ractl(iocb);
    return page_cache_sync_readahead(&ractl, pindex, npages);
}

/* One look. `tried`: read-ahead was asked for this page and did not bring it. (O), released in between. */
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
        if (pvec->n == 0) /* it was free to go, so it may be gone */
            return FILEMAP_RETRY;
    }
    return pvec->n > 0 ? 0 : filemap_update_page(iocb, last);
}

/*
 * pvec becomes one page or more from iocb->pos on, of the npages that are wanted, valid, and which stay.
 * Errors: -ENXIO beyond the end; the store's; -ENOMEM. (O) held on entry and return, perhaps released in
 * between.
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

/*
 * How many of the count bytes at iocb->pos the file has. Asks the store when the known length does not do.
 * (O) held on entry and return, perhaps released in between.
 */
static int filemap_left(struct kiocb *iocb, uint64_t count, uint64_t *left) FL_REQUIRES(iocb->object->lock)
{
    uint64_t size_bytes = iocb->vnode->size_bytes;
    int error = 0;
    if (size_bytes < count || iocb->pos > size_bytes - count) {
        vm_unlock(&iocb->object->lock);
        error = vnode_pager_setsize(iocb->vnode);
        vm_lock(&iocb->object->lock);
        size_bytes = iocb->vnode->size_bytes;
    }
    *left = iocb->pos < size_bytes ? min_u64(count, size_bytes - iocb->pos) : 0;
    return error;
}

/* Copies what the pages have of the `left` bytes that are wanted. (O), released meanwhile. */
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
 * The file became shorter, and the pages at iocb->pos are gone: is this its end? (O) held on entry and
 * return, released in between.
 */
static int filemap_cut(struct kiocb *iocb, uint64_t *left) FL_REQUIRES(iocb->object->lock)
{
    int error = filemap_left(iocb, UINT64_MAX, left);
    if (error == 0 && *left > 0 && ++iocb->memory_tries == FILEMAP_TRIES) /* or was to, and did not */
        return -EIO;
    return error;
}

/* In one hold of (O) up to each copy and in one from there to the next: they are few, and short. */
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
    if (ki->flags & FL_IOCB_DIRECT) {
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
    int error = iov_iter_init(&iter, iov, niov);
    if (error == 0 && (iocb->flags & ~(unsigned)KIOCB_FLAGS) != 0)
        error = -EINVAL;
    if (error != 0 || iter.count == 0)
        return error;
    int64_t result = generic_file_read_iter(vnode, &iter, iocb);
    if (result > 0)
        iocb->offset += (uint64_t)result;
    return result;
}
