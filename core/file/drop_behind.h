/*
 * drop_behind.h: page-out takes first what a long stream has passed, so that a scan of a large file does not
 * evict pages that are in use.
 *
 *      start              end - DROP_LAG      end        the file
 *   ─────┼───────────────────────┼─────────────┼───────▶
 *        ├─ kept ─┤├─ dropped ───┤ not yet     └ the mark of read-ahead that was touched last
 *         memory / DROP_LONG
 *
 * The first part of a stream is kept like any other page, so that a small file that is read once is still
 * there when it is read again. Each later page goes to the head of the inactive queue when the stream has
 * passed it, so that the page passed last is evicted first. While memory is full a stream so reuses its own
 * pages, and pages that older streams left stay.
 *
 * A stream that becomes long inside the part that another stream has passed
 * reads it again. If the other stream is ahead of it by less than memory,
 * the part may fit into memory: the vnode's pages are kept from then on.
 * (Drop-behind: Linux before 2.6. Compare MRU for loops: Chou and DeWitt 1985.)
 *
 * Locks: (O). DROP_STREAMS streams of each vnode are followed; a new one replaces the shortest.
 */
#ifndef CORE_FILE_DROP_BEHIND_H
#define CORE_FILE_DROP_BEHIND_H

#include "vm/vm_object.h"

/* A stream touches the mark of read-ahead at pindex: it has used the pages before. (O). */
void drop_behind(struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(object->lock);

#endif
