/*
 * tlb.h: each CPU's translation lookaside buffer.
 *
 *   (space, va) ─▶ set ─▶ 4 entries {frame, rights, modified}    a full set's victim is chosen by the seed
 *
 * An entry is a copy of a page-table entry from when it was loaded. It outlives changes of the page table
 * until it is dropped; with stale_tlb only machine_sync does that. frame.c checks, when a frame is released,
 * that no TLB has it any more.
 */
#ifndef MACHINES_SIM_TLB_H
#define MACHINES_SIM_TLB_H

#include "computer.h"

struct tlb_entry {
    struct machine_space *space; /* NULL: the entry is free */
    uint64_t vpn;
    vm_frame_t frame;
    vm_prot_t prot;
    bool modified; /* the page table's modified bit is set, so a store need not set it again */
};

void tlb_reset(void);
FL_NODISCARD struct tlb_entry *tlb_lookup(uint32_t cpu, struct machine_space *space, vm_offset_t va);
void tlb_insert(uint32_t cpu, const struct tlb_entry *entry);
/* Drop the entries of the range, or of the space, from every CPU's TLB. */
void tlb_drop_range(struct machine_space *space, vm_offset_t start, vm_offset_t end);
void tlb_drop_space(struct machine_space *space);
/* Whether any CPU's TLB has an entry for the frame; *cpu and *va: which CPU, and for which address. */
FL_NODISCARD bool tlb_has_frame(vm_frame_t frame, uint32_t *cpu, vm_offset_t *va);

#endif
