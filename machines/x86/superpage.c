/* superpage.c: promotion and demotion; superpage.h has the drawing, the invariants and the lock. */
#include "superpage.h"

#include "pmap_machine.h"

/* ---- kept page tables ------------------------------------------------------------------------ */

static void pmap_keep_pt(struct pmap_table *pd, struct pmap_table *pt, unsigned index)
{
    pt->kept_index = index;
    pt->answers = 0;
    pt->next = pd->kept;
    pd->kept = pt;
}

/* Returns the link to the table that is kept for entry `index` of the PD. There are few. */
static struct pmap_table **pmap_kept_link(struct pmap_table *pd, unsigned index)
{
    struct pmap_table **link = &pd->kept;

    while (*link != NULL && (*link)->kept_index != index)
        link = &(*link)->next;
    PMAP_ASSERT(*link != NULL, "SP2");
    return link;
}

static struct pmap_table *pmap_take_kept_pt(struct pmap_table *pd, unsigned index)
{
    struct pmap_table **link = pmap_kept_link(pd, index), *pt = *link;

    *link = pt->next;
    return pt;
}

/* ---- promotion ------------------------------------------------------------------------------- */

/*
 * The entry of 2 MiB that says what the table's 512 entries say; 0: there is none. They differ in X86_PG_A at
 * most.
 */
static pt_entry_t pmap_superpage_of(const struct pmap_table *pt)
{
    pt_entry_t *pte = pmap_entries(pt);
    const pt_entry_t first = pte_load(&pte[0]) & ~X86_PG_A;
    pt_entry_t referenced = 0;

    /* most tables are out of the question at the first look */
    if ((first & X86_PG_FRAME & (X86_SUPERPAGE - 1)) != 0 || (first & X86_PG_SELF) ||
        (first & (X86_PG_RW | X86_PG_M)) == X86_PG_RW)
        return 0;
    for (unsigned i = 0; i < X86_PT_NENTRIES; i++) {
        pt_entry_t entry = pte_load(&pte[i]);

        if ((entry & ~X86_PG_A) != (first | ptoa((uint64_t)i)))
            return 0;
        referenced |= entry & X86_PG_A;
    }
    return first | referenced | X86_PG_PS;
}

/*
 * Processors go on meanwhile. A store cannot be lost: what may be written is modified already, and the rest
 * cannot be written, once no TLB knows an older entry.
 */
void pmap_promote(struct pmap *pmap, vm_offset_t va, struct pmap_table *path[])
{
    const unsigned index = pt_index(va, 2);

    if (pmap_superpage_of(path[1]) == 0)
        return;
    pmap_machine_promoting(pmap, va & ~(X86_SUPERPAGE - 1));
    pt_entry_t pde = pmap_superpage_of(path[1]);
    if (pde == 0)
        return; /* a TLB had a bit that the table did not have */
    pmap_keep_pt(path[2], path[1], index);
    pte_store(&pmap_entries(path[2])[index], pde);
    pmap->superpages++;
}

/* ---- demotion and removal -------------------------------------------------------------------- */

void pmap_demote(struct pmap *pmap, vm_offset_t va, struct pmap_table *path[])
{
    pt_entry_t *pde = &pmap_entries(path[2])[pt_index(va, 2)];
    const pt_entry_t entry = pte_load(pde) & ~X86_PG_PS;
    struct pmap_table *pt = pmap_take_kept_pt(path[2], pt_index(va, 2));

    for (unsigned i = 0; i < X86_PT_NENTRIES; i++)
        pte_store(&pmap_entries(pt)[i], entry | ptoa((uint64_t)i));
    pte_store(pde, pmap_pt_link(pt));
    path[1] = pt;
    pmap->superpages--;
}

void pmap_remove_superpage(struct pmap *pmap, vm_offset_t va, struct pmap_table *path[], uint8_t *bits)
{
    pt_entry_t was = pte_load_store(&pmap_entries(path[2])[pt_index(va, 2)], 0);
    struct pmap_table *pt = pmap_take_kept_pt(path[2], pt_index(va, 2));

    for (unsigned i = 0; i < X86_PT_NENTRIES; i++) {
        vm_offset_t at = va + ptoa((uint64_t)i);

        if (bits != NULL && (was & X86_PG_M))
            bits[i] |= MACHINE_DIRTY;
        pmap_machine_pte_changed(pmap, at, pte_of_page(was, at), 0);
    }
    __builtin_memset(pmap_entries(pt), 0, VM_PAGE_SIZE); /* PT5: it said what the superpage did */
    pt->wire_count = 0;
    pt->next = pmap->pm_free;
    pmap->pm_free = pt;
    pmap->superpages--;
}

/* ---- harvest --------------------------------------------------------------------------------- */

uint8_t pmap_harvest_superpage(vm_offset_t va, struct pmap_table *path[], uint32_t npages,
                               bool clear_referenced)
{
    pt_entry_t *pde = &pmap_entries(path[2])[pt_index(va, 2)];
    const pt_entry_t entry = pte_load(pde);
    uint8_t bits = (entry & X86_PG_M) ? MACHINE_DIRTY : 0;

    if (!(entry & X86_PG_A))
        return bits;
    if (clear_referenced) {
        struct pmap_table *pt = *pmap_kept_link(path[2], pt_index(va, 2));

        pt->answers += npages;
        if (pt->answers >= X86_PT_NENTRIES) {
            pte_clear_bits(pde, X86_PG_A);
            pt->answers = 0;
        }
    }
    return bits | MACHINE_REFERENCED;
}

/* ---- checks ---------------------------------------------------------------------------------- */

void pmap_check_superpage(const struct pmap_table *pd, unsigned i)
{
    const pt_entry_t pde = pmap_entries(pd)[i];
    unsigned n = 0;

    PMAP_ASSERT((pde & X86_PG_FRAME & (X86_SUPERPAGE - 1)) == 0 && !(pde & X86_PG_SELF), "SP1");
    PMAP_ASSERT((pde & (X86_PG_RW | X86_PG_M)) != X86_PG_RW, "SP1");
    for (const struct pmap_table *pt = pd->kept; pt != NULL; pt = pt->next)
        n += pt->kept_index == i;
    PMAP_ASSERT(n == 1, "SP2");
}
