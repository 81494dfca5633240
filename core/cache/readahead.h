/*
 * readahead.h: reading before it is asked for.
 *
 *        |<----- size ----->|
 *   -----#==================|---   window [start, start + size); '#' is the mark: a touch there asks for the next window
 *
 * Sequential streams get windows that double up to the limit, always one ahead of the reader; anything else gets what vm_fault_additional_pages finds around it.
 * State: struct file_ra_state, one in each map entry (vm_map.h).
 */
#ifndef CORE_CACHE_READAHEAD_H
#define CORE_CACHE_READAHEAD_H

#include "vm/vm_map.h"

extern uint32_t readahead_max; /* (c) pages */

/*
 * A fault missed page pindex of the file object: how many pages before and after it are worth reading in the same transfer. Advances ra.
 * (O) held. *behind + 1 + *ahead <= readahead_max.
 */
void page_cache_sync_readahead(struct file_ra_state *ra, enum vm_behavior behavior, struct vm_object *object,
                               vm_pindex_t pindex, uint32_t *behind, uint32_t *ahead);
/* A fault touched the mark at pindex: starts the next window. (O) held on entry and return, released in between. */
void page_cache_async_readahead(struct file_ra_state *ra, enum vm_behavior behavior, struct vm_object *object,
                                vm_pindex_t pindex) REQUIRES(object->lock);
/* Reads the absent pages of [start, end) asynchronously (MADV_WILLNEED, fl_prefetch). No lock held. */
void force_page_cache_readahead(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);

#endif
