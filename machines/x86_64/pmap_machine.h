/*
 * pmap_machine.h: how machines/x86/pmap.c reaches this computer's memory (pmap.h says what each function
 * owes).
 *
 * A table page is a frame of the VM; the frame's owner word leads to its struct pmap_table. Tables that were
 * freed are all zero, and some of them wait here for their next use.
 */
#ifndef MACHINES_X86_64_PMAP_MACHINE_H
#define MACHINES_X86_64_PMAP_MACHINE_H

#include <faultline/vm.h>

#include "kernel.h"
#include "x86/pmap.h"

/* A zeroed table page with its descriptor, pa set; NULL: no memory. */
FL_NODISCARD struct pmap_table *table_alloc(void);
/* The table's entries are all zero. */
void table_free(struct pmap_table *table);
/* No TLB has any of the 512 pages from va on. */
void space_promoting(struct pmap *pmap, vm_offset_t va);

static inline pt_entry_t *pmap_machine_pointer(uint64_t pa)
{
    return phys_to_virt(pa);
}

static inline struct pmap_table *pmap_machine_table(uint64_t pa)
{
    return *fl_frames_owner((vm_frame_t)atop(pa - frames_pa));
}

static inline struct pmap_table *pmap_machine_table_alloc(void)
{
    return table_alloc();
}

static inline void pmap_machine_table_free(struct pmap_table *table)
{
    table_free(table);
}

static inline uint64_t pmap_machine_frame_pa(vm_frame_t frame)
{
    return frame_to_phys(frame);
}

static inline void pmap_machine_pte_changed(struct pmap *pmap, vm_offset_t va, pt_entry_t was, pt_entry_t is)
{
    (void)pmap;
    (void)va;
    (void)was;
    (void)is;
}

static inline void pmap_machine_promoting(struct pmap *pmap, vm_offset_t va)
{
    space_promoting(pmap, va);
}

#endif
