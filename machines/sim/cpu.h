/* cpu.h: what a simulated CPU's hardware does without an access: it walks page tables. */
#ifndef MACHINES_SIM_CPU_H
#define MACHINES_SIM_CPU_H

#include "space.h"
#include "tlb.h"

/* Returns the leaf entry for va, perhaps a superpage's; NULL: a table on the way is missing. Takes no
 * lock. */
FL_NODISCARD pt_entry_t *cpu_walk(struct machine_space *space, vm_offset_t va);
/* The bits that only this TLB entry knows of go to the page table; or, when that has another mapping by now,
 * to what the space knows of stores (written.h). */
void cpu_write_back(const struct tlb_entry *entry);

#endif
