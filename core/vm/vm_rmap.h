/*
 * vm_rmap.h: reverse mapping: from a page to every address where it may be mapped.
 *
 *   object ──entries (interval tree by pindex)──▶ map entries ──▶ (space, va)
 *     └──shadow_head──▶ shadows over it ──▶ their entries …       only where machine_can_map
 *
 * The core keeps no list of mappings; this finds where they could be. Calls to the machine for an
 * address where nothing is mapped are harmless.
 * Lock: (R) vm_rmap_lock, reader/writer, after object locks, before the machine's. One for the whole VM:
 * writers are mmap, munmap and their kin.
 * (vma_interval_tree of the Linux seed's unmap_mapping_range_tree; pv lists are what it replaces.)
 */
#ifndef CORE_VM_VM_RMAP_H
#define CORE_VM_VM_RMAP_H

#include "vm/vm_map.h"

extern struct vm_rwlock vm_rmap_lock; /* (R) */

void vm_rmap_object_init(struct vm_object *object);
/* Called with (M) exclusive; take (R). */
void vm_rmap_insert(struct vm_map_entry *entry);
void vm_rmap_remove(struct vm_map_entry *entry);
/* The entry becomes [start, end) from pindex on: start, end and pindex change in one step for whoever
 * walks the tree. (M) exclusive; takes (R). */
void vm_rmap_resize(struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end, vm_pindex_t pindex);
/* Whether an entry or a shadow may show one of the object's pages [start, end). Takes (R) shared. */
FL_NODISCARD bool vm_rmap_mapped(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/* The shadow hangs itself over its backing object / lets go. Take (R). */
void vm_rmap_shadow_link(struct vm_object *shadow);
void vm_rmap_shadow_unlink(struct vm_object *shadow);

/*
 * Each takes (R) shared, is called with the object's lock held, and acts on pages [start, end) of the
 * object wherever they may be mapped.
 * All but vm_rmap_referenced end with machine_sync of each space that was touched.
 */
void vm_rmap_unmap(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                   unsigned flags); /* MACHINE_UNMAP_* */
/*
 * vm_rmap_unmap for the pages m[0 … npages) of one object, in any order: neighbours as one range, and one
 * machine_sync for all of them, so that a machine can make one call, or one TLB shoot-down, of many.
 */
void vm_rmap_unmap_pages(struct vm_page *const *m, uint32_t npages, unsigned flags);
void vm_rmap_wrprotect(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/* The same for the pages m[0 … npages) of one object, npages >= 1, as vm_rmap_unmap_pages. */
void vm_rmap_wrprotect_pages(struct vm_page *const *m, uint32_t npages);
/* MACHINE_REFERENCED when one of the mappings was used, | MACHINE_REFERENCED_UNKNOWN, | MACHINE_MAPPED,
 * | MACHINE_DIRTY. Clears what it reads. */
FL_NODISCARD unsigned vm_rmap_referenced(struct vm_page *m);

void vm_rmap_check(struct vm_object *object); /* the interval tree agrees with its entries */

#endif
