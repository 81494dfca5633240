/*
 * vm_harvest.h: what the machine knows of the use of an object's pages, brought into the page descriptors.
 *
 *   page tables:  referenced, dirty ──vm_harvest──▶ vm_page: PL_YOUNG, PG_DIRTY
 *
 *   who decides by dirtiness                      what it does first
 *   write-back, before it looks for dirty pages   vm_harvest
 *   write-back, before it copies the bytes        vm_harvest_clean
 *   page-out, removal of clean pages              vm_freeze, vm_harvest … release … vm_thaw
 *   munmap, mremap, mprotect                      stores stopped, then vm_harvest
 *
 * The gap. A page that a harvest finds clean can be stored to before it is released, and the store would be
 * lost. A fault would tell of it if unmapping the page kept programs from it; but a machine may enter
 * resident pages itself (MM1, machine.h). So the core freezes the range first: from then on a store into it
 * faults, and the fault waits for the thaw. Objects with `writenotify` need none of this: a store into one of
 * their clean pages always faults, and the fault marks the page.
 *
 *   frozen range      one at a time for each object: [freeze_start, freeze_end)
 *   a store           vm_fault sleeps on it, with no lock
 *   a change of the object's mappings   waits for the thaw, with (M): a freeze ends without (M)
 *   a hold            a range with held pages is not frozen: their system calls may be storing
 *
 * Locks: (O), then (R). (pmap_is_modified, pmap_ts_referenced, FreeBSD.)
 * A mapping of an object without `writenotify` is attached without MACHINE_ATTACH_WRITENOTIFY, unless it is
 * private. Invariant: HV1 one range of an object is frozen at a time.
 *
 * Does not do: choosing pages to write or free.
 */
#ifndef CORE_VM_VM_HARVEST_H
#define CORE_VM_VM_HARVEST_H

#include "vm/vm_object.h"

struct vm_page;

/*
 * Brings what the machine knows of the resident pages [start, end) into their descriptors: those that were
 * stored to are dirty, those that were used through a mapping are PL_YOUNG. The bits in `clear` start anew
 * (MACHINE_REFERENCED, MACHINE_DIRTY); with MACHINE_REFERENCED held and wired pages are left out. Costs a
 * look at the page tables around resident pages only.
 */
void vm_harvest(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, unsigned clear)
    FL_REQUIRES(object->lock);
/*
 * The same, where programs can store into pages without a fault, and nothing starts anew. No lock held: a
 * large object is not locked for long. Every store that was made before the call is known afterwards.
 */
void vm_harvest_silent(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_EXCLUDES(object->lock);
/*
 * Unmaps the pages [start, end), and brings what the machine knew of them into their descriptors. Where it
 * enters pages itself (MM1) they may be mapped again.
 */
void vm_harvest_unmap(struct vm_object *object, vm_pindex_t start, vm_pindex_t end) FL_REQUIRES(object->lock);
/*
 * The pages m[0 … npages), which rise by index, are about to become clean: a store from now on makes them
 * dirty again, by a fault or in a later harvest. What was stored before is in their bytes, and they are
 * dirty.
 */
void vm_harvest_clean(struct vm_object *object, struct vm_page *const *m, uint32_t npages)
    FL_REQUIRES(object->lock);

/*
 * Marks the resident pages [start, end) dirty, because the machine cannot stop the stores that a harvest
 * would have to tell of.
 */
void vm_harvest_assume(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);

/*
 * Keeps stores out of pages [start, end) until vm_thaw. False: nothing is frozen, because another range is,
 * a page in it is held, or the machine has no memory; then the range's pages must stay.
 */
FL_NODISCARD bool vm_freeze(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);
/* Ends it, and wakes the threads that wait for it. */
void vm_thaw(struct vm_object *object) FL_REQUIRES(object->lock);
/* Is page pindex frozen? */
static inline bool vm_frozen(const struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(object->lock)
{
    return pindex >= object->freeze_start && pindex < object->freeze_end;
}
/*
 * Takes the right to write from all mappings of pages [start, end), but from those of held dirty pages into
 * which a system call may be storing: the pages are dirty, and have no copies above them.
 */
void vm_wrprotect_unheld(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);
/* Returns when nothing of the object is frozen. (O) is released in between. */
void vm_freeze_wait(struct vm_object *object) FL_REQUIRES(object->lock);

/*
 * A store into a clean page of the object must fault from now on (object->writenotify), because the core has
 * to act before it succeeds. (O) is released in between. Errors: -ENOMEM; nothing changed for the caller.
 */
FL_NODISCARD int vm_object_writenotify(struct vm_object *object) FL_REQUIRES(object->lock);

#endif
