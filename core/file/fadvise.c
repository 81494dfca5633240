/*
 * fadvise.c: what a program expects of a file that it reads through fl_vnode_read.
 *
 *     kept in the vnode      NORMAL SEQUENTIAL RANDOM     how far fl_vnode_read reads ahead
 *     done now               WILLNEED                     force_page_cache_readahead
 *                            DONTNEED                     write-back begins ─▶ invalidate_mapping_pages
 *     accepted, no effect    NOREUSE
 *
 * WILLNEED is about every page that the bytes touch, DONTNEED about those that lie wholly within them.
 * Locks: (O); none is held on entry.
 * (mm/fadvise.c, Linux.)
 */
#include "file/filemap.h"
#include "file/readahead.h"
#include "file/vnode.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "vm/lru.h"
#include "vm/pmap.h"
#include "vm/vm_rmap.h"
#include <faultline/vm.h>

/* May m go: is it clean, in no use, and mapped nowhere? (O). */
static bool page_unused(struct vm_object *object, const struct vm_page *m) FL_REQUIRES(object->lock)
{
    return (m->flags & (PG_VALID | PG_BUSY | PG_DIRTY | PG_WRITEBACK | PG_PRIVATE)) == PG_VALID &&
           m->wire_count == 0 && m->hold_count == 0 && m->readers == 0 &&
           !vm_rmap_mapped(object, m->pindex, m->pindex + 1);
}

/*
 * Makes up to PMAP_BATCH pages that may go busy, from *pindex on, up to end; the others are not wanted soon.
 * Returns how many. *pindex: where it stopped. (O).
 */
static uint32_t invalidate_collect(struct vm_object *object, vm_pindex_t *pindex, vm_pindex_t end,
                                   struct vm_page *victim[PMAP_BATCH]) FL_REQUIRES(object->lock)
{
    uint32_t n = 0;
    struct vm_page *m;
    while (n < PMAP_BATCH && (m = vm_page_find_least(object, *pindex)) != NULL && m->pindex < end) {
        *pindex = m->pindex + 1;
        if (page_unused(object, m)) {
            vm_page_xbusy(m);
            victim[n++] = m;
        } else if ((m->flags & PG_BUSY) == 0) {
            deactivate_file_page(m);
        }
    }
    return n;
}

/* Frees the pages of [start, end) that are clean, unused and not mapped. No lock held. */
static void invalidate_mapping_pages(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct vm_page *victim[PMAP_BATCH];
    uint32_t n;
    do {
        vm_lock(&object->lock);
        n = invalidate_collect(object, &start, end, victim);
        vm_page_free_batch(victim, n);
        vm_unlock(&object->lock);
    } while (n == PMAP_BATCH);
}

static void fadvise_dontneed(struct vm_object *object, uint64_t size_bytes, vm_ooffset_t start,
                             vm_ooffset_t end)
{
    vm_pindex_t first = atop(start) + ((start & VM_PAGE_MASK) != 0);
    vm_pindex_t last = end >= size_bytes ? UINT64_MAX : atop(end);
    if (first >= last)
        return;
    __filemap_fdatawrite_range(object, first, last, WB_SYNC_NONE);
    invalidate_mapping_pages(object, first, last);
}

static void fadvise_willneed(struct vm_object *object, uint64_t size_bytes, vm_ooffset_t start,
                             vm_ooffset_t end)
{
    uint32_t share = readahead_share();
    end = min_u64(end, size_bytes);
    if (start >= end || !vm_pager_keeps(object))
        return;
    vm_pindex_t first = atop(start), last = atop(end - 1) + 1;
    readahead_make_room(last - first < share ? (uint32_t)(last - first) : share);
    force_page_cache_readahead(object, first, last, &share, NULL);
}

/* The stream of fl_vnode_read is read ahead like this from now on. */
static void fadvise_behave(struct kiocb *iocb, enum vm_behavior behavior)
{
    vm_lock(&iocb->object->lock);
    iocb->vnode->ra_behavior = (uint8_t)behavior;
    vm_unlock(&iocb->object->lock);
}

int fl_vnode_fadvise(struct vnode *vnode, vm_ooffset_t offset, uint64_t len_bytes, int advice)
{
    struct kiocb iocb;
    if (advice < FL_FADV_NORMAL || advice > FL_FADV_NOREUSE)
        return -EINVAL;
    if (advice == FL_FADV_NOREUSE || kiocb_init(&iocb, vnode, offset) != 0)
        return 0; /* without memory for the object there are no pages that the advice could be about */
    uint64_t size_bytes = i_size_read(vnode);
    vm_ooffset_t end = len_bytes == 0 || offset + len_bytes < offset ? UINT64_MAX : offset + len_bytes;
    switch (advice) {
    case FL_FADV_WILLNEED:
        fadvise_willneed(iocb.object, size_bytes, offset, end);
        break;
    case FL_FADV_DONTNEED:
        fadvise_dontneed(iocb.object, size_bytes, offset, end);
        break;
    case FL_FADV_RANDOM:
        fadvise_behave(&iocb, MAP_BEHAV_RANDOM);
        break;
    case FL_FADV_SEQUENTIAL:
        fadvise_behave(&iocb, MAP_BEHAV_SEQUENTIAL);
        break;
    default:
        fadvise_behave(&iocb, MAP_BEHAV_NORMAL);
    }
    kiocb_done(&iocb);
    return 0;
}
