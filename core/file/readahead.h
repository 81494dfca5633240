/*
 * readahead.h: reading before it is asked for: one engine for reads and faults.
 *
 *   sequential   window k, being read     window k + 1, in flight     window k + 2
 *                #========================#===========================#==================
 *   strided      =     =     #     =     =     =     #     =      runs of pages, the same distance apart
 *
 * '#' is the mark, PG_READAHEAD: a touch there starts the next window first, and only then waits for its own
 * page. So a sequential reader always has two windows in flight, and a strided one many single requests.
 * Windows start small, double, and have a largest size.
 *
 * A stream is recognised by where its misses fall; each map entry remembers one stream, and each vnode one
 * for its reads (struct vm_pager_stream). A miss that follows the last one is sequential. Runs of one or more
 * misses that begin the same distance apart, forwards or backwards, are strided. Pages that are resident just
 * before a miss are the trace of a stream that is interleaved with others. A miss that fits none of these is
 * read alone; in a mapping, for a while, with the pages around it. (ondemand_readahead, Linux;
 * vm_fault_additional_pages, FreeBSD 2.1.)
 */
#ifndef CORE_FILE_READAHEAD_H
#define CORE_FILE_READAHEAD_H

#include "vm/vm_pager.h"

struct blk_plug; /* file/block.h */

/* max: pages of the largest window, 1 … MACHINE_RUN_MAX; 0: chosen. Context: boot. */
void readahead_startup(uint32_t max);

/*
 * The operations readahead, readahead_mark, readahead_young and readahead_arrived of the pager of files;
 * vm_pager.h says what they do.
 */
FL_NODISCARD bool page_cache_sync_readahead(struct readahead_control *ractl, vm_pindex_t pindex,
                                            uint32_t npages) FL_REQUIRES(ractl->object->lock);
void page_cache_async_readahead(struct readahead_control *ractl, struct vm_page *m)
    FL_REQUIRES(ractl->object->lock);
FL_NODISCARD bool readahead_young(const struct vm_pager_stream *stream);
FL_NODISCARD uint32_t readahead_arrived(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                        struct vm_page **m, uint32_t max) FL_REQUIRES(object->lock);
/*
 * Starts to read the absent pages of [start, end) (MADV_WILLNEED), at most *share pages, and counts *share
 * down by the pages that it started; 0: memory is short. The transfers go into the plug; NULL: they start at
 * once. No lock held; the caller has a reference.
 */
void force_page_cache_readahead(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, uint32_t *share,
                                struct blk_plug *plug) FL_EXCLUDES(object->lock);
/* The largest window, in pages. */
FL_NODISCARD uint32_t readahead_window(void);
/* How many pages are worth reading ahead for one call. */
FL_NODISCARD uint32_t readahead_share(void);
/*
 * Evicts pages if memory is too short for npages that are about to be read ahead, so that the reader pays for
 * its own reading and page-out need not be awake in time. No lock held.
 */
void readahead_make_room(uint32_t npages);

#endif
