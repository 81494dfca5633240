/*
 * vm_rmap.h: reverse mapping: from a page to every address where it may be mapped.
 *
 *   object ──entries (interval tree by pindex)──▶ map entries ──▶ (space, va)
 *     └──shadow_head──▶ shadows over it ──▶ their entries …       only where machine_can_map
 *
 * The core keeps no list of mappings. A walk finds the addresses where they could be; telling the machine to
 * unmap an address where nothing is mapped is harmless.
 *
 * Invariants: AM5 an entry with an object is in the object's tree, once, from before its first mapping until
 * after its last. AM12 rmap_max_end is exact, and the tree is in order. AM13 a shadow is on its backing
 * object's list.
 *
 * Lock: (R) vm_rmap_lock, reader/writer, after (O) and before the machine's locks. One for the whole VM: only
 * mmap, munmap and similar calls take it exclusively. (vma_interval_tree, Linux, instead of the BSDs' pv
 * lists.)
 */
#ifndef CORE_VM_VM_RMAP_H
#define CORE_VM_VM_RMAP_H

#include "vm/vm_map.h"

/* An empty tree, and no shadows; the object is new and zeroed. */
void vm_rmap_object_init(struct vm_object *object);
/* Puts the entry into its object's tree / takes it out. (M) exclusive; takes (R). */
void vm_rmap_insert(struct vm_map_entry *entry) FL_EXCLUDES(vm_rmap_lock);
void vm_rmap_remove(struct vm_map_entry *entry) FL_EXCLUDES(vm_rmap_lock);
/*
 * The entry becomes [start, end) from page pindex of its object on. A walk sees either the old values or the
 * new ones. (M) exclusive; takes (R) if the entry has an object.
 */
void vm_rmap_resize(struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end, vm_pindex_t pindex)
    FL_EXCLUDES(vm_rmap_lock);
/* Puts the shadow on the list of its backing object / takes it off. Takes (R). */
void vm_rmap_shadow_link(struct vm_object *shadow) FL_EXCLUDES(vm_rmap_lock);
void vm_rmap_shadow_unlink(struct vm_object *shadow) FL_EXCLUDES(vm_rmap_lock);
/*
 * The shadow passes by its backing object, `backing`: from now on it stands over the object behind that, if
 * there is one. On that one's list it comes next after `backing`, so that a walk from shadow to shadow which
 * has not come to it yet still does. (O) of the shadow and of `backing`. Takes (R).
 */
void vm_rmap_shadow_bypass(struct vm_object *shadow, struct vm_object *backing) FL_EXCLUDES(vm_rmap_lock);
/* (R) how often that was done */
extern uint64_t vm_rmap_shadow_moves;
/* Whether an entry or a shadow may show one of the object's pages [start, end). Takes (R) shared. */
FL_NODISCARD bool vm_rmap_mapped(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_EXCLUDES(vm_rmap_lock);

/*
 * The following act on pages [start, end) of the object, or on the pages m[0 … npages) of one object,
 * wherever they may be mapped. Called with (O) held; they take (R) shared. All that take something away end
 * with machine_sync of each space that they touched, after which no CPU uses the old mappings.
 */

/*
 * Ends the mappings. bits[i] |= MACHINE_DIRTY if page start + i was stored to, as machine_unmap says; at most
 * MACHINE_RUN_MAX pages then. NULL: nobody cares. flags: MACHINE_UNMAP_*.
 */
void vm_rmap_unmap(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, unsigned flags,
                   uint8_t *bits) FL_REQUIRES(object->lock);
/* Ends the mappings through shadows, which may be of their own pages. */
void vm_rmap_unmap_shadows(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);
/*
 * vm_rmap_unmap of pages in any order. Neighbours are unmapped as one range, and all ranges share one
 * machine_sync, so that a machine can make one call, or one TLB shoot-down, of many. bits[i]: of m[i].
 */
void vm_rmap_unmap_pages(struct vm_page *const *m, uint32_t npages, unsigned flags, uint8_t *bits);
/* Takes the write right from the mappings. */
void vm_rmap_wrprotect(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);
/*
 * machine_harvest of the pages: bits[i] |= what is known of page start + i. At most MACHINE_RUN_MAX pages.
 */
void vm_rmap_harvest(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, unsigned clear,
                     uint8_t *bits) FL_REQUIRES(object->lock);
/* Can a program store into a clean page of [start, end) without a fault? */
FL_NODISCARD bool vm_rmap_silent(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);
/* machine_freeze, machine_thaw where that is so. Errors: -ENOMEM, nothing is frozen. */
FL_NODISCARD int vm_rmap_freeze(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);
void vm_rmap_thaw(struct vm_object *object, vm_pindex_t start, vm_pindex_t end) FL_REQUIRES(object->lock);
/*
 * machine_writenotify of all mappings but those that are attached so. All are frozen. Errors: -ENOMEM, some
 * are frozen still.
 */
FL_NODISCARD int vm_rmap_writenotify(struct vm_object *object) FL_REQUIRES(object->lock);
/*
 * Enters valid page m where entries of its object show it: for writing if all of it is dirty and it has no
 * copies. A wish: without memory the machine leaves it out.
 */
void vm_rmap_enter(struct vm_page *m);

/* Panics unless AM5, AM12 and AM13 hold for the object. Takes (R) shared. */
void vm_rmap_check(struct vm_object *object);

#endif
