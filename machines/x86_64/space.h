/* space.h: an address space of this machine: page tables, and which CPUs may have parts of them in their
 * TLBs. */
#ifndef MACHINES_X86_64_SPACE_H
#define MACHINES_X86_64_SPACE_H

#include "cpu.h"
#include "x86/pmap.h"

struct machine_space {
    struct pmap pmap;
    uint64_t cpus; /* atomic: those whose cr3 has these tables, by number */
    struct spinlock lock;
    vm_offset_t stale_start,
        stale_end;     /* (lock) where TLBs may know more than the tables; empty: start >= end */
    uint32_t flushing; /* (lock) calls of machine_sync that have taken a range, and still flush it */
};

/* ---- tlb.c ---- */

/*
 * On return no CPU has anything of [start, end) of the space in its TLB, nor of the tables above it. Context:
 * interrupts on, no spin lock held; also under the core's locks and pm_lock.
 */
void tlb_shootdown(struct machine_space *space, vm_offset_t start, vm_offset_t end);
/* On return no CPU has the space's tables in its cr3. No thread uses the space any more. */
void tlb_drop_space(struct machine_space *space);
/* The same for the kernel's addresses, on all CPUs. Interrupts on. */
void tlb_shootdown_kernel(vm_offset_t start, vm_offset_t end);
/* The interrupt. */
void tlb_shootdown_intr(void);

/* space.c: the calling CPU's cr3 becomes the space's, or the kernel's (NULL). */
void space_switch(struct machine_space *space);

#endif
