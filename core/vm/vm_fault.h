/*
 * vm_fault.h: the page fault.
 */
#ifndef CORE_VM_VM_FAULT_H
#define CORE_VM_VM_FAULT_H

#include "vm/vm_map.h"

#define VM_FAULT_NORMAL 0x0
#define VM_FAULT_WIRE   0x1 /* wire the page; its mapping is MACHINE_MAP_WIRED */
#define VM_FAULT_HOLD   0x2 /* hold it, and return it in *hold; nobody is throttled */
#define VM_FAULT_NOWAIT 0x4 /* and do not sleep: for who holds other pages already */
#define VM_FAULT_AGAIN  0x8 /* the statistics have counted it */

/*
 * With VM_FAULT_NOWAIT, and not an error: it would have to wait for a page, memory, a transfer, the end of a
 * truncation, or for the flusher. Locks are not sleep: their holders wait for none of these.
 */
#define VM_FAULT_WOULD_SLEEP 2

/* Errors as fl_fault (vm.h). No lock held. vm_fault is vm_fault_hold without a page to hold. */
FL_NODISCARD int vm_fault(struct vm_map *map, vm_offset_t va, vm_prot_t access, unsigned flags);
FL_NODISCARD int vm_fault_hold(struct vm_map *map, vm_offset_t va, vm_prot_t access, unsigned flags,
                               struct vm_page **hold);

/* Undoes VM_FAULT_WIRE for the pages of [start, end) of the entry. (M) exclusive. */
void vm_fault_unwire(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end);

#endif
