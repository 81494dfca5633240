/*
 * highmem.h: a computer that maps only a part of its memory directly (sim_params.highmem): what the core's
 * kmap needs of the machine.
 *
 *   a memfd:       | frames 0 … ndirect-1 |       high memory        | page tables |
 *                          │        │                  │
 *   the core sees: | direct map |  | slots, and each CPU's local slots |       each a page, or nothing
 *   the sim sees:  | all of it, as the hardware does |
 *
 * The core gets no other address of a frame, so a wrong one ends with SIGSEGV. Each slot has a page-table
 * entry, and one mark for the TLBs of all CPUs: which frame some TLB may show there. The host's page tables
 * show what the mark says.
 *
 *   set_pte_at ─▶ entry valid, in a TLB ──pte_clear──▶ not valid, and with stale_tlb still in a TLB
 *                                                        └──flush_tlb──▶ in no TLB ─▶ set_pte_at again
 *
 * It panics when a slot is set while a TLB still has an entry of it: an access there could reach the old
 * frame (MO2).
 */
#ifndef MACHINES_SIM_HIGHMEM_H
#define MACHINES_SIM_HIGHMEM_H

#include "computer.h"

#define SIM_KMAP_SLOTS 512u

/* Makes memory of that length, of which the core sees a part. Returns where the sim sees all of it. */
uint8_t *highmem_init(size_t len_bytes);
void highmem_fini(void);
/* Where the core may see the frame by the direct map; NULL: it is in high memory. */
FL_NODISCARD void *highmem_direct(vm_frame_t frame);
/* Panics unless the core sees the frame at addr, by the direct map or in a slot. */
void highmem_check(vm_frame_t frame, const void *addr);

#endif
