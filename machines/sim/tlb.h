/*
 * tlb.h: each CPU's translation lookaside buffer.
 *
 *   (space, va) ─▶ set ─▶ 4 entries {frame, rights, modified, late}    the seed chooses a full set's victim
 *                                                               │
 *                              page table ◀── harvest, eviction, drop
 *
 * An entry is a copy of a page-table entry from when it was loaded: of one page's, or of a superpage's. It
 * outlives changes of the page table, as a demotion, until it is dropped; with stale_tlb only machine_sync
 * does that. With late_bits it alone knows of its loads and stores, until they are written back (cpu.h). A
 * superpage's entry has no late bits: the walk sets them at once. frame.c checks, when a frame is released,
 * that no TLB has it any more.
 */
#ifndef MACHINES_SIM_TLB_H
#define MACHINES_SIM_TLB_H

#include "space.h"

struct tlb_entry {
    struct machine_space *space; /* NULL: the entry is free */
    uint64_t vpn;                /* the first of npages */
    vm_frame_t frame;            /* the first of npages */
    uint32_t npages;             /* 1 or X86_PT_NENTRIES */
    vm_prot_t prot;
    bool modified;   /* the modified bit is set here or in the page table: a store need not set it again */
    bool self;       /* it was loaded from an entry that the machine entered by itself (X86_PG_SELF) */
    pt_entry_t late; /* X86_PG_A, _M: bits that the page table does not have yet */
};

/* Returns the frame of va, which is one of the entry's addresses. */
static inline vm_frame_t tlb_frame(const struct tlb_entry *entry, vm_offset_t va)
{
    return entry->frame + (vm_frame_t)(atop(va) - entry->vpn);
}

void tlb_reset(void);
FL_NODISCARD struct tlb_entry *tlb_lookup(uint32_t cpu, struct machine_space *space, vm_offset_t va);
void tlb_insert(uint32_t cpu, const struct tlb_entry *entry);
/* Brings the late bits of the range's entries, in every CPU's TLB, into the page table. The entries stay. */
void tlb_write_back(struct machine_space *space, vm_offset_t start, vm_offset_t end);
/* Drops an entry, whose late bits are written back. */
void tlb_drop(struct tlb_entry *entry);
/* Drop the entries of the range, or of the space, from every CPU's TLB. */
void tlb_drop_range(struct machine_space *space, vm_offset_t start, vm_offset_t end);
void tlb_drop_space(struct machine_space *space);
/* Drops the frame's entries that were loaded from what the machine entered by itself. */
void tlb_drop_self(vm_frame_t frame);
/* Whether any CPU's TLB has an entry for the frame; *cpu and *va: which CPU, and for which address. */
FL_NODISCARD bool tlb_has_frame(vm_frame_t frame, uint32_t *cpu, vm_offset_t *va);

#endif
