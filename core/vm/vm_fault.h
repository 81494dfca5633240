/*
 * vm_fault.h: the page fault, and what else brings a page in for an address.
 *
 *   fl_fault (trap), mlock, madvise ─▶ vm_fault ──────┐
 *   fl_hold (a system call of the host) ──────────────┴─▶ vm_fault_hold ─▶ pmap_enter
 *
 * vm_fault.c draws the steps. Does not do: holding a range of pages (vm_hold.c).
 */
#ifndef CORE_VM_VM_FAULT_H
#define CORE_VM_VM_FAULT_H

#include "vm/vm_map.h"

/* What a fault is to do besides mapping the page. */
#define VM_FAULT_NORMAL 0x0
/* Wire the page; its mapping is MACHINE_MAP_WIRED. */
#define VM_FAULT_WIRE 0x1
/* Hold the page and return it in *hold. The caller is not throttled for a page that it dirties. */
#define VM_FAULT_HOLD 0x2
/* Do not sleep, because the caller holds other pages: VM_FAULT_WOULD_SLEEP instead. */
#define VM_FAULT_NOWAIT 0x4
/* The caller tries again: the statistics have counted this fault. */
#define VM_FAULT_AGAIN 0x8

/*
 * Not an error: the fault would have to sleep for a busy page, for memory, for a transfer, for the end of a
 * truncation, or until dirty pages are written. Waiting for a lock is no sleep: no thread sleeps for these
 * with a lock held.
 */
#define VM_FAULT_WOULD_SLEEP 2

/*
 * Brings in the page of va and maps it with the rights for `access`. No lock held. Returns 0: try the access
 * again; or VM_FAULT_WOULD_SLEEP, with VM_FAULT_NOWAIT only. Errors: as fl_fault (vm.h). vm_fault is
 * vm_fault_hold without a page to hold.
 */
FL_NODISCARD int vm_fault(struct vm_map *map, vm_offset_t va, vm_prot_t access, unsigned flags);
FL_NODISCARD int vm_fault_hold(struct vm_map *map, vm_offset_t va, vm_prot_t access, unsigned flags,
                               struct vm_page **hold);

/* Unwires the pages of [start, end), which VM_FAULT_WIRE has wired; the range lies in the entry. */
void vm_fault_unwire(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end)
    FL_REQUIRES(map->lock);

#endif
