/*
 * readahead.h: reading before it is asked for.
 *
 *   window k, being read     window k + 1, in flight     window k + 2
 *   #========================#===========================#==================
 *
 * '#' is the mark, PG_READAHEAD, on a window's first page: a touch there starts the window after next, and only
 * then waits for its own. So a sequential reader always has two windows in flight. Windows double up to
 * readahead_max. A stream is recognised by where its
 * misses fall (file_ra_state, one in each map entry); which pages exist already says where its next
 * window starts, so that streams that are interleaved
 * in one mapping do not disturb each other. A mapping whose misses continue nothing reads around them,
 * and after many such misses single pages only.
 * (ondemand_readahead of the Linux seed; vm_fault_additional_pages of FreeBSD 2.1.)
 */
#ifndef CORE_CACHE_READAHEAD_H
#define CORE_CACHE_READAHEAD_H

#include "vm/vm_map.h"

/* `max`: pages of one window, 1 … MACHINE_RUN_MAX; 0: chosen. */
void readahead_startup(uint32_t max);

/*
 * A fault missed page pindex of the file object: how many pages before and after it are worth reading in
 * the same transfer. Advances ra. True when the stream is
 * sequential, so that the window after these should be asked for at once. (M) shared, (O).
 */
FL_NODISCARD bool page_cache_sync_readahead(struct file_ra_state *ra, enum vm_behavior behavior,
                                            vm_pindex_t pindex, uint32_t *behind, uint32_t *ahead);
/* Starts to read the window of absent pages that comes next after pindex, with the mark on its first page.
 * (O) held on entry and return, released in between;
 * the caller has a pip. */
void page_cache_async_readahead(struct vm_object *object, vm_pindex_t pindex) REQUIRES(object->lock);
/* Reads the absent pages of [start, end) asynchronously (MADV_WILLNEED). No lock held; the caller has a
 * reference. */
void force_page_cache_readahead(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);

#endif
