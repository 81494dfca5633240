/*
 * prefetch.c: reads everything that a program is about to touch, and that is absent, at once.
 *
 *   ranges of addresses ─▶ mapped parts (range.h) ─▶ the file's absent pages ─▶ one plug ─▶ the store
 *
 * The pages may be single, and lie anywhere: the plug hands the store all requests together, so that one
 * thread keeps every part of a device busy. A page that is wanted twice is read once.
 *
 * An object ends only when its transfers have ended, and those in the plug have not even started. So the
 * references to the objects are kept until the plug is empty: dropping the last one earlier would wait for
 * ever.
 *
 * Locks: those of its parts; none is held between them. Does not do: waiting for the transfers that it
 * starts.
 */
#include <faultline/vm.h>
#include "file/block.h"
#include "file/readahead.h"
#include "lib/errno.h"
#include "sys/range.h"

#define PREFETCH_HELD 16 /* objects at a time */

struct prefetch {
    struct blk_plug plug;
    struct vm_object *held[PREFETCH_HELD]; /* with references: the objects of the plug's transfers */
    uint32_t nheld;
    uint32_t share; /* pages that may still be read ahead */
};

/* [*start, *end): the pages that the piece touches. False: it ends beyond 2^64. */
static bool prefetch_pages(const struct fl_iovec *iov, vm_offset_t *start, vm_offset_t *end)
{
    *start = trunc_page((vm_offset_t)iov->base);
    return sys_range_end(*start, iov->len_bytes + ((vm_offset_t)iov->base & VM_PAGE_MASK), end) &&
           iov->len_bytes <= SIZE_MAX - VM_PAGE_SIZE;
}

/* Starts the plug's transfers, and drops the references. */
static void prefetch_flush(struct prefetch *prefetch)
{
    blk_finish_plug(&prefetch->plug);
    while (prefetch->nheld > 0)
        vm_object_deallocate(prefetch->held[--prefetch->nheld]);
}

/* The range's reference becomes the plug's, unless that has one to the same object. */
static void prefetch_hold(struct prefetch *prefetch, struct sys_range *range)
{
    if (prefetch->nheld > 0 && prefetch->held[prefetch->nheld - 1] == range->object) {
        sys_range_done(range);
        return;
    }
    if (prefetch->nheld == PREFETCH_HELD)
        prefetch_flush(prefetch);
    prefetch->held[prefetch->nheld++] = range->object;
}

/* Puts reads of the range's absent pages into the plug; takes over the range's reference. */
static void prefetch_range(struct prefetch *prefetch, struct sys_range *range)
{
    vm_pindex_t pindex;
    struct vm_object *file = sys_range_file(range, &pindex);
    if (file == NULL || !vm_pager_keeps(file)) {
        sys_range_done(range);
        return;
    }
    force_page_cache_readahead(file, pindex, pindex + atop(range->end - range->start), &prefetch->share,
                               &prefetch->plug);
    prefetch_hold(prefetch, range);
}

int fl_sys_prefetch(struct vm_map *map, const struct fl_iovec *iov, uint32_t niov)
{
    struct prefetch prefetch = {.share = readahead_share()};
    vm_offset_t start, end;
    uint64_t total = 0;
    for (uint32_t i = 0; i < niov; i++) {
        if (!prefetch_pages(&iov[i], &start, &end))
            return -EINVAL;
        total += total < prefetch.share ? atop(end - start) : 0;
    }
    readahead_make_room(total < prefetch.share ? (uint32_t)total : prefetch.share);
    blk_start_plug(&prefetch.plug);
    for (uint32_t i = 0; i < niov && prefetch.share > 0; i++) {
        struct sys_walk walk = {.map = map};
        struct sys_range range;
        if (!prefetch_pages(&iov[i], &walk.va, &walk.end))
            continue; /* the caller has changed it since the check: it is skipped */
        while (prefetch.share > 0 && sys_walk_next(&walk, &range))
            prefetch_range(&prefetch, &range);
    }
    prefetch_flush(&prefetch);
    return 0;
}
