/*
 * readahead.h: reading before it is asked for: one engine for reads and faults.
 *
 *   sequential   window k, being read     window k + 1, in flight     window k + 2
 *                #========================#===========================#==================
 *   strided      =     =     #     =     =     =     #     =      runs of pages, the same distance apart
 *
 * '#' is the mark, PG_READAHEAD: a touch there starts what comes next, and only then waits for its own page.
 * So a sequential reader always has two windows in flight, and a strided one many single requests. Windows
 * start small, double, and are capped.
 *
 * A stream is recognised by where its misses fall (file_ra_state, one in each map entry and one in each
 * vnode): a miss that follows the last one is sequential; runs of one or more misses that begin the same
 * distance apart, forwards or backwards, are strided; and pages that are there just before a miss tell of a
 * stream that others are interleaved with. What fits nothing is read alone; a mapping's, for a while, with
 * what lies around it.
 * (ondemand_readahead of the Linux seed; vm_fault_additional_pages of FreeBSD 2.1.)
 */
#ifndef CORE_FILE_READAHEAD_H
#define CORE_FILE_READAHEAD_H

#include "vm/vm_pager.h"

struct blk_plug; /* file/block.h */

/* `max`: pages of one window, 1 … MACHINE_RUN_MAX; 0: chosen. */
void readahead_startup(uint32_t max);

/* The operations readahead, readahead_mark, readahead_young and readahead_arrived of the vnode's pager. */
FL_NODISCARD bool page_cache_sync_readahead(struct readahead_control *ractl, vm_pindex_t pindex,
                                            uint32_t npages) FL_REQUIRES(ractl->object->lock);
void page_cache_async_readahead(struct readahead_control *ractl, struct vm_page *m)
    FL_REQUIRES(ractl->object->lock);
FL_NODISCARD bool readahead_young(const struct vm_pager_stream *stream);
FL_NODISCARD uint32_t readahead_arrived(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                        struct vm_page **m, uint32_t max);
/*
 * Starts to read the absent pages of [start, end) (MADV_WILLNEED), as far as the read-ahead's share of memory
 * goes: *share pages, less what was begun on return. With a plug the transfers wait there; NULL: they start.
 * No lock held; the caller has a reference.
 */
void force_page_cache_readahead(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, uint32_t *share,
                                struct blk_plug *plug);
/* The longest window, in pages. */
FL_NODISCARD uint32_t readahead_window(void);
/* The most that is worth reading ahead for one call, in pages. */
FL_NODISCARD uint32_t readahead_share(void);
/* Makes room for npages that are about to be read ahead. No lock held. */
void readahead_make_room(uint32_t npages);

#endif
