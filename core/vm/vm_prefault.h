/*
 * vm_prefault.h: what a fault maps besides its own page: pages that are there and will be touched next.
 */
#ifndef CORE_VM_VM_PREFAULT_H
#define CORE_VM_VM_PREFAULT_H

#include "vm/vm_map.h"

/*
 * Page pindex of the entry's own object was mapped at va by a read: enters, with at most prot and never
 * writable, what comes with it. `ahead`: it was read, now or before, along with others. (M) shared; (O)
 * held on entry and return, released in between.
 */
void vm_fault_prefault(struct vm_map_entry *entry, struct vm_object *object, vm_offset_t va,
                       vm_pindex_t pindex, vm_prot_t prot, bool ahead) FL_REQUIRES(object->lock);

#endif
