/*
 * drop_behind.h: what a long stream has passed is what page-out takes first, so that a scan of a large file
 * does not put out what is in use.
 *
 *      start              end - DROP_LAG      end        the file
 *   ─────┼───────────────────────┼─────────────┼───────▶
 *        ├─ kept ─┤├─ dropped ───┤ not yet     └ the mark of read-ahead that was touched last
 *         DROP_LONG
 *
 * The first part of a stream is kept like any other page, so a small file that is read once is there
 * when it is read again. Of what follows each page goes to the head of the inactive queue when it is
 * passed, the last one foremost: so, while memory is full, a stream uses again what it used before, and
 * what older streams left stays. A stream that becomes long inside what another passed reads it again;
 * if the other is less than memory ahead of it, that may fit, and is kept from then on. (Drop-behind: Linux before 2.6; cf.
 * MRU for loops, Chou and DeWitt 1985.)
 *
 * Locks: (O). Of each object VM_STREAMS streams are followed; the shortest gives way to a new one.
 */
#ifndef CORE_FILE_DROP_BEHIND_H
#define CORE_FILE_DROP_BEHIND_H

#include "vm/vm_object.h"

/* A stream touches read-ahead's mark at pindex: it has used what lies before. (O). */
void drop_behind(struct vm_object *object, vm_pindex_t pindex);

#endif
