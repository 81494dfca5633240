/*
 * pmap.h: one address space's x86-64 page tables, for every machine that has them: bare metal and
 * the simulated computer.
 *
 *   pm_root ─▶ PML4 ─▶ PDP ─▶ PD ─▶ PT ─▶ frame
 *               │       │      │     │
 *               └───────┴──────┴─────┴─ beside each table page a struct pmap_table: how many of its
 *                                       entries are valid; at 0 it is unlinked and waits in pm_free
 *
 * There are no lists of mappings: the core knows which pages are mapped where (its vm_rmap). Processors walk
 * the tables without any lock. (pmap.c, FreeBSD 2.1 and 11.)
 *
 * Lock: pm_lock, a leaf, one for each pmap: every change of the tables is made under it. Context: all
 * functions may be called under the core's locks.
 *
 * Invariants:
 *   PT1  A table's wire_count is the number of its valid entries.
 *   PT2  Only the root may be empty.
 *   PT3  A table that was unlinked is not reused before pmap_free_pt_pages or pmap_free_pt_list, which the
 *        machine calls when no processor can still be walking it.
 *   PT4  resident_count is the number of pages that are mapped.
 *   PT5  A table that is given back has no entry that is not 0: so it need not be zeroed before its next use.
 *
 * A page table that is full, of neighbouring frames, becomes one entry of 2 MiB, and a table again when its
 * entries are to differ (superpage.h). No caller notices.
 *
 * Does not do: TLBs (the machine's, at machine_sync).
 *
 * A machine that uses it has a header pmap_machine.h in its include path, with these inline functions:
 *
 *   pt_entry_t *pmap_machine_pointer(uint64_t pa)            where the core sees the table page at pa
 *   struct pmap_table *pmap_machine_table(uint64_t pa)       the descriptor of the table page at pa
 *   struct pmap_table *pmap_machine_table_alloc(void)        a zeroed table page, its pa set; NULL: none
 *   void pmap_machine_table_free(struct pmap_table *table)   takes it back
 *   uint64_t pmap_machine_frame_pa(vm_frame_t frame)         where the frame lies in physical memory
 *   void pmap_machine_pte_changed(struct pmap *pmap, vm_offset_t va, pt_entry_t was, pt_entry_t is)
 *                                                            the leaf of va changed: to count mappings
 *   void pmap_machine_promoting(struct pmap *pmap, vm_offset_t va)   the 512 pages from va on may become a
 *                                                            superpage: no TLB has any of them on return
 */
#ifndef MACHINES_X86_PMAP_H
#define MACHINES_X86_PMAP_H

#include <faultline/machine.h>

#include "pte.h"

/* One page of a page table. The machine keeps these, one for each page of its pool. */
struct pmap_table {
    uint64_t pa;             /* constant */
    uint32_t wire_count;     /* (pm_lock) of its pmap */
    struct pmap_table *next; /* (pm_lock) on pm_free, or on a PD's list `kept`; otherwise the machine's */
    struct pmap_table *kept; /* (pm_lock) of a PD: the page tables of its superpages */
    uint32_t kept_index;     /* (pm_lock) on that list: of the superpage in the PD */
    uint32_t answers; /* (pm_lock) on that list: pages of which a harvest said that they are referenced */
};

struct pmap {
    struct machine_lock pm_lock;
    struct pmap_table *pm_root; /* constant */
    struct pmap_table *pm_free; /* (pm_lock) unlinked tables: PT3 */
    uint64_t resident_count;    /* (pm_lock) */
    uint64_t superpages;        /* (pm_lock) */
};

/* Makes empty tables. Errors: -ENOMEM. */
FL_NODISCARD int pmap_pinit(struct pmap *pmap);
/* Frees the tables. Context: nothing is mapped, and no processor walks them any more. */
void pmap_release_tables(struct pmap *pmap);

/*
 * Enters the frame at va. also: X86_PG_W, _M, _SELF. If the same frame is mapped there, rights and software's
 * bits become the new ones, and accessed and modified stay; but modified does not where X86_PG_SELF changes.
 * Another frame is replaced. *was: the entry as it was before, so that the machine knows what its TLBs may
 * hold. Errors: -ENOMEM, and nothing changed.
 */
FL_NODISCARD int pmap_enter_pte(struct pmap *pmap, vm_offset_t va, vm_frame_t frame, vm_prot_t prot,
                                pt_entry_t also, pt_entry_t *was);
FL_NODISCARD int pmap_enter_pte_locked(struct pmap *pmap, vm_offset_t va, vm_frame_t frame, vm_prot_t prot,
                                       pt_entry_t also, pt_entry_t *was) FL_REQUIRES(pmap->pm_lock);
/* Enters the frame at va only where that is cheap. Returns false, and nothing changed, if something is mapped
 * there or if it would take a new table page. */
FL_NODISCARD bool pmap_enter_quick_locked(struct pmap *pmap, vm_offset_t va, vm_frame_t frame, vm_prot_t prot,
                                          pt_entry_t also);

/* Forgets what is mapped in [start, end), wired or not. bits[i] |= MACHINE_DIRTY if page i's entry had
 * X86_PG_M and not X86_PG_SELF. bits may be NULL. */
void pmap_remove(struct pmap *pmap, vm_offset_t start, vm_offset_t end, uint8_t *bits);
void pmap_remove_locked(struct pmap *pmap, vm_offset_t start, vm_offset_t end, uint8_t *bits)
    FL_REQUIRES(pmap->pm_lock);
/* Takes the rights that are not in prot from [start, end). The hardware has no "valid but not readable", so
 * without VM_PROT_READ it is pmap_remove. */
void pmap_protect(struct pmap *pmap, vm_offset_t start, vm_offset_t end, vm_prot_t prot);

/* Returns the leaf entry of va's page, with X86_PG_PS if it is a superpage's; 0: it is not valid. */
FL_NODISCARD pt_entry_t pmap_extract(struct pmap *pmap, vm_offset_t va);
/* *va: the first page in [start, end) with a valid leaf entry. Returns false if there is none. */
FL_NODISCARD bool pmap_next_mapped(struct pmap *pmap, vm_offset_t start, vm_offset_t end, vm_offset_t *va);

/*
 * bits[i] |= MACHINE_REFERENCED and MACHINE_DIRTY of page i of [start, end); those in `clear` are cleared in
 * the entries. A TLB may go on using a page without setting its bits again, until the machine drops it.
 * (pmap_ts_referenced, pmap_is_modified and pmap_clear_modify, FreeBSD, for a range.)
 */
void pmap_harvest(struct pmap *pmap, vm_offset_t start, vm_offset_t end, unsigned clear, uint8_t *bits);

/* Gives the unlinked tables back to the machine (PT3). Context: no processor walks with
 * what it read before. */
void pmap_free_pt_pages(struct pmap *pmap);
/* The same in two steps: the tables that are unlinked by now, by `next`; and, once no processor walks with
 * what it read before that, their end. Others that are unlinked in between wait for their own turn. */
struct pmap_table *pmap_take_pt_list(struct pmap *pmap);
void pmap_free_pt_list(struct pmap_table *list);
/* Asserts PT1, PT2, PT4, SP1, SP2 and SP3. Context: nothing else runs. */
void pmap_check(struct pmap *pmap);

/* Returns what links the page table from its PD. The leaves hold the rights: the levels above allow all. */
static inline pt_entry_t pmap_pt_link(const struct pmap_table *table)
{
    return table->pa | X86_PG_V | X86_PG_RW | X86_PG_U;
}

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
