/*
 * pmap_machine.h: how machines/x86/pmap.c reaches the simulated physical memory (pmap.h says
 * what each function owes).
 */
#ifndef MACHINES_SIM_PMAP_MACHINE_H
#define MACHINES_SIM_PMAP_MACHINE_H

#include "frame.h"

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
    __builtin_memset(pmap_machine_pointer(table->pa), SIM_POISON, VM_PAGE_SIZE);
    table->next = physmem.table_free;
    physmem.table_free = table;
    sim.stats.ntables--;
}

static inline uint64_t pmap_machine_frame_pa(vm_frame_t frame)
{
    return ptoa(frame);
}

static inline void pmap_machine_pte_changed(pt_entry_t was, pt_entry_t is)
{
    if (was & X86_PG_V)
        physmem.frame[atop(was & X86_PG_FRAME)].nptes--;
    if (is & X86_PG_V)
        physmem.frame[atop(is & X86_PG_FRAME)].nptes++;
}

#endif
