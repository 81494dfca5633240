/*
 * pmap_machine.h: how machines/x86/pmap.c reaches the simulated physical memory (pmap.h says
 * what each function owes).
 */
#ifndef MACHINES_SIM_PMAP_MACHINE_H
#define MACHINES_SIM_PMAP_MACHINE_H

#include "frame.h"

/* A store is known to an entry that the machine entered by itself, and that goes now (written.h). */
void space_self_written(struct pmap *pmap, vm_offset_t va);

/* Drops the TLBs' entries of the 512 pages from va on. */
void space_promoting(struct pmap *pmap, vm_offset_t va);

static inline void pmap_machine_promoting(struct pmap *pmap, vm_offset_t va)
{
    space_promoting(pmap, va);
}

static inline pt_entry_t *pmap_machine_pointer(uint64_t pa)
{
    return (pt_entry_t *)(void *)(physmem.bytes + pa);
}

static inline struct pmap_table *pmap_machine_table(uint64_t pa)
{
    return &physmem.table[atop(pa) - sim.params.nframes];
}

static inline struct pmap_table *pmap_machine_table_alloc(void)
{
    struct pmap_table *table = physmem.table_free;

    if (table == NULL)
        return NULL;
    physmem.table_free = table->next;
    __builtin_memset(pmap_machine_pointer(table->pa), 0, VM_PAGE_SIZE);
    sim.stats.ntables++;
    return table;
}

static inline void pmap_machine_table_free(struct pmap_table *table)
{
    for (unsigned i = 0; i < X86_PT_NENTRIES; i++)
        if (pmap_machine_pointer(table->pa)[i] != 0)
            sim_panic("PT5: a page table is freed whose entry %u is %#llx", i,
                      (unsigned long long)pmap_machine_pointer(table->pa)[i]);
    __builtin_memset(pmap_machine_pointer(table->pa), SIM_POISON, VM_PAGE_SIZE);
    table->next = physmem.table_free;
    physmem.table_free = table;
    sim.stats.ntables--;
}

static inline uint64_t pmap_machine_frame_pa(vm_frame_t frame)
{
    return ptoa(frame);
}

static inline void pmap_machine_pte_changed(struct pmap *pmap, vm_offset_t va, pt_entry_t was, pt_entry_t is)
{
    const pt_entry_t written = X86_PG_V | X86_PG_SELF | X86_PG_M;

    if ((was & written) == written)
        space_self_written(pmap, va);
    if (was & X86_PG_V)
        physmem.frame[atop(was & X86_PG_FRAME)].nptes--;
    if (is & X86_PG_V)
        physmem.frame[atop(is & X86_PG_FRAME)].nptes++;
}

#endif
