/*
 * pmap.h: one address space's x86-64 page tables, for every machine that has them: bare metal and the
 * simulated computer.
 *
 *   pm_root ─▶ PML4 ─▶ PDP ─▶ PD ─▶ PT ─▶ frame           struct pmap_table beside each table page: how many
 * of its entries are valid; 0: it is unlinked and waits in pm_free
 *
 * The core knows which pages are mapped where (its vm_rmap); here are no lists of mappings. Processors walk
 * the tables without any lock.
 *
 * Lock: pm_lock, a leaf, one for each pmap: all that changes tables. Context: under the core's locks.
 * Invariants: X1 a table's wire_count is the number of its valid entries. X2 only the root may be empty. X3 a
 * table that was unlinked is not reused before pmap_free_pt_pages, which the machine calls when no processor
 * can still be walking it. X4 resident_count is the number of valid leaf entries.
 *
 * Does not do: TLBs (the machine's, at machine_sync), superpages.
 *
 * A machine that uses it has a header pmap_machine.h in its include path with these inline functions:
 *   pt_entry_t *pmap_machine_pointer(uint64_t pa)           where the core of the machine sees the table page
 * at pa struct pmap_table *pmap_machine_table(uint64_t pa)      the descriptor of the table page at pa struct
 * pmap_table *pmap_machine_table_alloc(void)       a zeroed table page with its pa set, or NULL: none left
 *   void pmap_machine_table_free(struct pmap_table *table)
 *   uint64_t pmap_machine_frame_pa(vm_frame_t frame)        where the core's frame lies in physical memory
 *   void pmap_machine_pte_changed(pt_entry_t was, pt_entry_t is)   a leaf came, went or changed: for a
 * machine that keeps books
 */
#ifndef MACHINES_X86_PMAP_H
#define MACHINES_X86_PMAP_H

#include <faultline/machine.h>

#include "pte.h"

/* One page of a page table. The machine keeps these, one for each page of its pool. */
struct pmap_table {
    uint64_t pa;             /* constant */
    uint32_t wire_count;     /* pm_lock of its pmap */
    struct pmap_table *next; /* pm_lock, on pm_free; else the machine's */
};

struct pmap {
    struct machine_lock pm_lock;
    struct pmap_table *pm_root; /* constant */
    struct pmap_table *pm_free; /* pm_lock: unlinked, X3 */
    uint64_t resident_count;    /* pm_lock */
};

/* Empty tables. Errors: -ENOMEM. */
FL_NODISCARD int pmap_pinit(struct pmap *pmap);
/* Frees the tables. Nothing is mapped and no processor walks them any more. */
void pmap_release_tables(struct pmap *pmap);

/*
 * Enters the frame at va. The same frame there: rights and wiring become the new ones, accessed and modified
 * stay. Another frame: replaced. *was is the entry as it was before, so that the machine knows what its TLBs
 * may hold. Errors: -ENOMEM, nothing changed.
 */
FL_NODISCARD int pmap_enter_pte(struct pmap *pmap, vm_offset_t va, vm_frame_t frame, vm_prot_t prot,
                                bool wired, pt_entry_t *was);
/* The same as a wish: false, and nothing changed, if something is mapped there or it would take a new table
 * page. */
FL_NODISCARD bool pmap_enter_quick_locked(struct pmap *pmap, vm_offset_t va, vm_frame_t frame,
                                          vm_prot_t prot);

/* Forgets what is mapped in [start, end), wired or not. */
void pmap_remove(struct pmap *pmap, vm_offset_t start, vm_offset_t end);
/* Takes the rights that are not in prot from [start, end). The hardware has no "valid but not readable":
 * without VM_PROT_READ, as pmap_remove. */
void pmap_protect(struct pmap *pmap, vm_offset_t start, vm_offset_t end, vm_prot_t prot);

/* The leaf entry at va as it is now; 0: not valid. */
FL_NODISCARD pt_entry_t pmap_extract(struct pmap *pmap, vm_offset_t va);
/* The first address in [start, end) with a valid leaf entry. False: none. */
FL_NODISCARD bool pmap_next_mapped(struct pmap *pmap, vm_offset_t start, vm_offset_t end, vm_offset_t *va);

FL_NODISCARD bool pmap_is_referenced(struct pmap *pmap, vm_offset_t va);
/* … and clears it. A TLB may go on using the page without setting it again: referenced is a guess. */
FL_NODISCARD bool pmap_ts_referenced(struct pmap *pmap, vm_offset_t va);
FL_NODISCARD bool pmap_is_modified(struct pmap *pmap, vm_offset_t va);
/* pmap_is_modified, and clears it. If it says true, the machine drops va from all TLBs before it believes the
 * bit again. */
FL_NODISCARD bool pmap_clear_modify(struct pmap *pmap, vm_offset_t va);

/* No processor walks with what it read before: the unlinked tables go back to the machine. X3 */
void pmap_free_pt_pages(struct pmap *pmap);
/* X1, X2, X4. Context: nothing else runs. */
void pmap_check(struct pmap *pmap);

static inline vm_prot_t pte_prot(pt_entry_t pte)
{
    vm_prot_t prot = VM_PROT_NONE;

    if (pte & X86_PG_V)
        prot |= VM_PROT_READ;
    if ((pte & X86_PG_V) && (pte & X86_PG_RW))
        prot |= VM_PROT_WRITE;
    if ((pte & X86_PG_V) && !(pte & X86_PG_NX))
        prot |= VM_PROT_EXECUTE;
    return prot;
}

#endif
