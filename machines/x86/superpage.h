/*
 * superpage.h: promotion of a full page table to one entry of 2 MiB, and demotion.
 *
 *   PD  | … | ──▶ PT | 512 entries, alike, of neighbouring frames |
 *                ║  pmap_promote                  ▲
 *                ▼                                ║ pmap_demote, when the entries are to differ
 *   PD  | … |PS|, and the PT waits in the PD's list of kept tables
 *
 * Such frames are what a full reservation of the core has (core/vm/vm_reserv.h). The tables do not ask for
 * it: what is promoted is what the 512 entries say, and a demotion says it again. So no caller of pmap.h
 * notices, except by REFERENCED, which becomes one guess for all of the pages:
 *
 *   - A page that was referenced before the promotion makes all of them referenced.
 *   - A harvest reports the one bit for each page that it is asked about, and leaves it. After 512 such
 *     answers the bit is cleared: each page had its turn.
 *
 * DIRTY stays exact. A page that may be written and is clean is not promoted: its first store must be
 * reported, and must not make 511 neighbours dirty. A harvest that clears DIRTY demotes first.
 * (pmap_promote_pde and pmap_demote_pde, FreeBSD 11; Navarro et al., OSDI 2002.)
 *
 * Invariants:
 *   SP1  A superpage's first frame is aligned to 2 MiB, it is modified if it may be written, and the core
 *        entered it (not X86_PG_SELF).
 *   SP2  Beside each superpage its PD keeps a page table: so a demotion needs no memory.
 *   SP3  pmap.superpages is their number.
 *
 * Lock: pm_lock. Does not do: deciding when (pmap.c), placing pages so that they qualify (the core).
 */
#ifndef MACHINES_X86_SUPERPAGE_H
#define MACHINES_X86_SUPERPAGE_H

#include "pmap.h"

/* Asserts PT1 … PT4, SP1 … SP3. Always on: wrong page tables lead to wrong bytes. */
#define PMAP_ASSERT(cond, invariant)                                                                         \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            machine_panic("invariant " invariant " broken: " #cond);                                         \
    } while (0)

/* Returns the table's entries. */
pt_entry_t *pmap_entries(const struct pmap_table *table);

/* path: the tables on the way to va. The page table is full; if its entries are alike, it becomes a
 * superpage, and path[1] is no longer in use. */
void pmap_promote(struct pmap *pmap, vm_offset_t va, struct pmap_table *path[]) FL_REQUIRES(pmap->pm_lock);
/* The superpage at va becomes a page table, path[1], with 512 entries that say the same. */
void pmap_demote(struct pmap *pmap, vm_offset_t va, struct pmap_table *path[]) FL_REQUIRES(pmap->pm_lock);
/*
 * Removes the superpage at va. Its entry in path[2] is not valid any more, and still counted. Its table goes
 * to pm_free. bits, for 512 pages, as for pmap_remove.
 */
void pmap_remove_superpage(struct pmap *pmap, vm_offset_t va, struct pmap_table *path[], uint8_t *bits)
    FL_REQUIRES(pmap->pm_lock);
/* Returns MACHINE_REFERENCED and _DIRTY of each of npages pages in the superpage at va. With clear_referenced
 * these are answers that count. */
FL_NODISCARD uint8_t pmap_harvest_superpage(vm_offset_t va, struct pmap_table *path[], uint32_t npages,
                                            bool clear_referenced);
/* Asserts SP1 and SP2 of the superpage that is entry i of the PD. Context: nothing else runs. */
void pmap_check_superpage(const struct pmap_table *pd, unsigned i);

#endif
