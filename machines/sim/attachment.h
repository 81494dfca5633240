/*
 * attachment.h: what the core said is attached where in a space.
 *
 *   sorted:   [start, end) ─▶ object from pindex, with at most prot  (AM7: as the map's entries)
 *
 * The page tables do not need it: it is here so that each mapping can be checked against it, and for MM1.
 * Nothing here switches fibers.
 */
#ifndef MACHINES_SIM_ATTACHMENT_H
#define MACHINES_SIM_ATTACHMENT_H

#include "space.h"

/* Returns the index of the first attachment that ends after va. */
FL_NODISCARD uint32_t attachment_find(const struct machine_space *space, vm_offset_t va);
/* Adds *fresh at the index `at`, which attachment_find returned. */
void attachment_insert(struct machine_space *space, uint32_t at, const struct sim_attachment *fresh);
/* Splits the attachments at the ends of [start, end). Returns the index of the first one in the range. */
FL_NODISCARD uint32_t attachment_split_range(struct machine_space *space, vm_offset_t start, vm_offset_t end);
/* Joins neighbours in and around [start, end) that say the same. */
void attachment_merge(struct machine_space *space, vm_offset_t start, vm_offset_t end);
/* Deletes what is attached in [start, end). Panics if some of it is frozen. */
void attachment_clear(struct machine_space *space, vm_offset_t start, vm_offset_t end);

#endif
