/*
 * vm_prefault.h: mapping more than the faulting page: resident pages that will probably be touched next.
 */
#ifndef CORE_VM_VM_PREFAULT_H
#define CORE_VM_VM_PREFAULT_H

#include "vm/vm_map.h"

/*
 * A fault has mapped page pindex of the entry's own object at va. Maps pages that go with it, with at most
 * the rights `prot`, and without the write right where stores must be told. `ahead`: the page was read
 * together with others, by this fault or before. (M) shared; (O) is released in between.
 */
void vm_fault_prefault(struct vm_map_entry *entry, struct vm_object *object, vm_offset_t va,
                       vm_pindex_t pindex, vm_prot_t prot, bool ahead) FL_REQUIRES(object->lock);

/*
 * Maps the pages of a stream from pindex on, which shows at va, before `end`: as many valid neighbours as
 * were read ahead and not used yet, up to a page with the mark of read-ahead. Returns how many, from that
 * page on. (M) shared; (O) is released in between.
 */
FL_NODISCARD uint32_t vm_fault_prefault_ahead(struct vm_map_entry *entry, struct vm_object *object,
                                              vm_offset_t va, vm_pindex_t pindex, vm_offset_t end)
    FL_REQUIRES(object->lock);

#endif
