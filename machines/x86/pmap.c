/*
 * pmap.c: x86-64 page tables: making, changing and forgetting entries. pmap.h has the drawing, the
 * lock and the invariants.
 *
 * All functions use two walks. pmap_allocpte goes down to one leaf and makes the tables that are
 * missing; pmap_next_pt finds the next page table in a range and jumps over what has none. A range is
 * handled one page table, or superpage, at a time. What changes a part of a superpage demotes it first.
 */
#include "pmap.h"

#include "pmap_machine.h"
#include "superpage.h"

#define PMAP_ENOMEM 12 /* Linux's number: this file has no C library to ask */

pt_entry_t *pmap_entries(const struct pmap_table *table)
{
    return pmap_machine_pointer(table->pa);
}

/* The table gets one more valid entry. */
static void pmap_use_pt(struct pmap_table *table)
{
    PMAP_ASSERT(table->wire_count < X86_PT_NENTRIES, "PT1");
    table->wire_count++;
}

/*
 * The table at `level` on the way to va loses `count` valid entries. When it is empty it is unlinked
 * from its parent, which may become empty, too. The table waits in pm_free: a processor may have
 * read the link just before.
 */
static void pmap_unuse_pt(struct pmap *pmap, vm_offset_t va, struct pmap_table *path[], unsigned level,
                          uint32_t count) FL_REQUIRES(pmap->pm_lock)
{
    struct pmap_table *table = path[level];

    PMAP_ASSERT(table->wire_count >= count, "PT1");
    table->wire_count -= count;
    while (table->wire_count == 0 && level < X86_PT_LEVELS) {
        struct pmap_table *parent = path[level + 1];

        pte_store(&pmap_entries(parent)[pt_index(va, level + 1)], 0);
        table->next = pmap->pm_free;
        pmap->pm_free = table;
        parent->wire_count--;
        table = parent;
        level++;
    }
}

/*
 * Goes down to the page table for va; path[level]: the table of each level on the way. path[1] is NULL if
 * there is a superpage. Returns false when an entry on the way is not valid; *missing: its level.
 */
static bool pmap_lookup_pt(struct pmap *pmap, vm_offset_t va, struct pmap_table *path[], unsigned *missing)
    FL_REQUIRES(pmap->pm_lock)
{
    struct pmap_table *table = pmap->pm_root;

    path[X86_PT_LEVELS] = table;
    for (unsigned level = X86_PT_LEVELS; level > 1; level--) {
        pt_entry_t entry = pte_load(&pmap_entries(table)[pt_index(va, level)]);

        if (!(entry & X86_PG_V)) {
            *missing = level;
            return false;
        }
        table = (entry & X86_PG_PS) ? NULL : pmap_machine_table(entry & X86_PG_FRAME);
        path[level - 1] = table;
    }
    return true;
}

/* The superpage at va: its entry. */
static pt_entry_t *pmap_pde(struct pmap_table *path[], vm_offset_t va)
{
    return &pmap_entries(path[2])[pt_index(va, 2)];
}

/*
 * The entry for va in a page table that is there, with its table; NULL: there is none, or a superpage. What
 * most calls need, and it looks at no descriptor on the way.
 */
static pt_entry_t *pmap_find_pte(struct pmap *pmap, vm_offset_t va, struct pmap_table **pt)
    FL_REQUIRES(pmap->pm_lock)
{
    pt_entry_t entry = pmap->pm_root->pa | X86_PG_V;

    for (unsigned level = X86_PT_LEVELS; level > 1; level--) {
        entry = pte_load((pt_entry_t *)pmap_machine_pointer(entry & X86_PG_FRAME) + pt_index(va, level));
        if ((entry & (X86_PG_V | X86_PG_PS)) != X86_PG_V)
            return NULL;
    }
    *pt = pmap_machine_table(entry & X86_PG_FRAME);
    return (pt_entry_t *)pmap_machine_pointer(entry & X86_PG_FRAME) + pt_index(va, 1);
}

/* Returns the leaf entry for va, and makes the tables on the way; or a superpage's, then path[1] is NULL.
 * NULL: no memory; no empty table stays behind (PT2). */
static pt_entry_t *pmap_allocpte(struct pmap *pmap, vm_offset_t va, struct pmap_table *path[])
    FL_REQUIRES(pmap->pm_lock)
{
    unsigned level;

    while (!pmap_lookup_pt(pmap, va, path, &level)) {
        struct pmap_table *table = pmap_machine_table_alloc();

        if (table == NULL) {
            if (level < X86_PT_LEVELS && path[level]->wire_count == 0)
                pmap_unuse_pt(pmap, va, path, level, 0);
            return NULL;
        }
        table->wire_count = 0;
        table->kept = NULL;
        pmap_use_pt(path[level]);
        pte_store(&pmap_entries(path[level])[pt_index(va, level)], pmap_pt_link(table));
    }
    return path[1] == NULL ? pmap_pde(path, va) : &pmap_entries(path[1])[pt_index(va, 1)];
}

/*
 * Finds the first page table, or superpage, in [*va, end) and sets *va to where it begins. path: the tables
 * on the way to it, with NULL as path[1] of a superpage; *stop: where its addresses, or the range, end.
 * Returns false if there is none.
 */
static bool pmap_next_pt(struct pmap *pmap, vm_offset_t *va, vm_offset_t end, struct pmap_table *path[],
                         vm_offset_t *stop) FL_REQUIRES(pmap->pm_lock)
{
    while (*va < end) {
        unsigned level = 1;
        bool found = pmap_lookup_pt(pmap, *va, path, &level);
        uint64_t span = pt_entry_span(found ? 2 : level);
        vm_offset_t next = (*va & ~(span - 1)) + span;

        if (found) {
            *stop = next < end ? next : end;
            return true;
        }
        if (next <= *va)
            break; /* the top of the address space */
        *va = next;
    }
    return false;
}

static pt_entry_t pmap_make_pte(vm_frame_t frame, vm_prot_t prot, pt_entry_t also)
{
    pt_entry_t pte = pmap_machine_frame_pa(frame) | X86_PG_V | X86_PG_U | also;

    if (prot & VM_PROT_WRITE)
        pte |= X86_PG_RW;
    if (!(prot & VM_PROT_EXECUTE))
        pte |= X86_PG_NX;
    return pte;
}

int pmap_pinit(struct pmap *pmap)
{
    *pmap = (struct pmap){.pm_root = pmap_machine_table_alloc()};
    if (pmap->pm_root == NULL)
        return -PMAP_ENOMEM;
    pmap->pm_root->wire_count = 0;
    pmap->pm_root->kept = NULL;
    return 0;
}

void pmap_release_tables(struct pmap *pmap)
{
    PMAP_ASSERT(pmap->resident_count == 0, "PT4");
    PMAP_ASSERT(pmap->pm_root->wire_count == 0, "PT2");
    pmap_free_pt_pages(pmap);
    pmap_machine_table_free(pmap->pm_root);
    pmap->pm_root = NULL;
}

/* Whether the superpage's entry says of va's page what `fresh` does, but for what it may know of its use. */
static bool pmap_same_in_superpage(pt_entry_t pde, vm_offset_t va, pt_entry_t fresh)
{
    const pt_entry_t used = X86_PG_A | X86_PG_M;

    return (pte_of_page(pde, va) & ~used) == ((fresh & ~used) | X86_PG_PS);
}

/* The way to an entry that pmap_find_pte does not find, and which becomes one of a page table: *pt. NULL: no
 * memory; or a superpage says already what `fresh` does: *was. */
static pt_entry_t *pmap_make_way(struct pmap *pmap, vm_offset_t va, pt_entry_t fresh, struct pmap_table **pt,
                                 pt_entry_t *was) FL_REQUIRES(pmap->pm_lock)
{
    struct pmap_table *path[X86_PT_LEVELS + 1];
    pt_entry_t *pte = pmap_allocpte(pmap, va, path);

    if (pte == NULL)
        return NULL;
    if (path[1] == NULL) {
        if (pmap_same_in_superpage(pte_load(pte), va, fresh)) {
            *was = pte_of_page(pte_load(pte), va);
            return NULL;
        }
        pmap_demote(pmap, va, path);
        pte = &pmap_entries(path[1])[pt_index(va, 1)];
    }
    *pt = path[1];
    return pte;
}

/* Whether entry i of the table says of its page what `fresh`, which is entry `index`, says of its own, but
 * for what the processor has noted. */
static bool pmap_alike(const struct pmap_table *pt, unsigned i, pt_entry_t fresh, unsigned index)
{
    const pt_entry_t noted = X86_PG_A | X86_PG_M;

    return ((pte_load(&pmap_entries(pt)[i]) ^ (fresh + ptoa((uint64_t)i) - ptoa((uint64_t)index))) &
            ~noted) == 0;
}

/*
 * The page table is full, and `fresh` is its newest entry, for va: perhaps it becomes a superpage. Not if its
 * first or its last entry differs: so a range that is entered anew page by page is looked at once.
 */
static void pmap_table_full(struct pmap *pmap, vm_offset_t va, const struct pmap_table *pt, pt_entry_t fresh)
    FL_REQUIRES(pmap->pm_lock)
{
    struct pmap_table *path[X86_PT_LEVELS + 1];
    unsigned missing;

    if (!pmap_alike(pt, 0, fresh, pt_index(va, 1)) ||
        !pmap_alike(pt, X86_PT_NENTRIES - 1, fresh, pt_index(va, 1)))
        return;
    if (pmap_lookup_pt(pmap, va, path, &missing) && path[1] != NULL)
        pmap_promote(pmap, va, path);
}

int pmap_enter_pte_locked(struct pmap *pmap, vm_offset_t va, vm_frame_t frame, vm_prot_t prot,
                          pt_entry_t also, pt_entry_t *was)
{
    pt_entry_t fresh = pmap_make_pte(frame, prot, also);
    struct pmap_table *pt;
    pt_entry_t *pte = pmap_find_pte(pmap, va, &pt);

    *was = 0;
    if (pte == NULL)
        pte = pmap_make_way(pmap, va, fresh, &pt, was);
    if (pte == NULL)
        return *was != 0 ? 0 : -PMAP_ENOMEM;
    *was = pte_load_store(pte, fresh);
    if (!(*was & X86_PG_V)) {
        pmap_use_pt(pt);
        pmap->resident_count++;
    } else if (((*was ^ fresh) & X86_PG_FRAME) == 0) {
        pte_set_bits(pte, *was & (((*was ^ fresh) & X86_PG_SELF) ? X86_PG_A : X86_PG_A | X86_PG_M));
    }
    pmap_machine_pte_changed(pmap, va, *was, fresh);
    if (pt->wire_count == X86_PT_NENTRIES)
        pmap_table_full(pmap, va, pt, fresh);
    return 0;
}

int pmap_enter_pte(struct pmap *pmap, vm_offset_t va, vm_frame_t frame, vm_prot_t prot, pt_entry_t also,
                   pt_entry_t *was)
{
    machine_lock(&pmap->pm_lock);
    int error = pmap_enter_pte_locked(pmap, va, frame, prot, also, was);
    machine_unlock(&pmap->pm_lock);
    return error;
}

bool pmap_enter_quick_locked(struct pmap *pmap, vm_offset_t va, vm_frame_t frame, vm_prot_t prot,
                             pt_entry_t also)
{
    pt_entry_t fresh = pmap_make_pte(frame, prot, also);
    struct pmap_table *pt;
    bool entered = false;

    machine_lock(&pmap->pm_lock);
    pt_entry_t *pte = pmap_find_pte(pmap, va, &pt);
    if (pte != NULL && !(pte_load(pte) & X86_PG_V)) {
        pte_store(pte, fresh);
        pmap_use_pt(pt);
        pmap->resident_count++;
        pmap_machine_pte_changed(pmap, va, 0, fresh);
        entered = true;
        if (pt->wire_count == X86_PT_NENTRIES)
            pmap_table_full(pmap, va, pt, fresh);
    }
    machine_unlock(&pmap->pm_lock);
    return entered;
}

/* Returns whether there was an entry; *bits (may be NULL) as for pmap_remove. */
static bool pmap_remove_pte(struct pmap *pmap, vm_offset_t va, pt_entry_t *pte, uint8_t *bits)
    FL_REQUIRES(pmap->pm_lock)
{
    if (!(pte_load(pte) & X86_PG_V))
        return false;
    pt_entry_t was = pte_load_store(pte, 0);
    if (bits != NULL && (was & (X86_PG_M | X86_PG_SELF)) == X86_PG_M)
        *bits |= MACHINE_DIRTY;
    pmap_machine_pte_changed(pmap, va, was, 0);
    return true;
}

void pmap_remove_locked(struct pmap *pmap, vm_offset_t start, vm_offset_t end, uint8_t *bits)
{
    struct pmap_table *path[X86_PT_LEVELS + 1];
    vm_offset_t stop;

    for (vm_offset_t va = start; pmap_next_pt(pmap, &va, end, path, &stop); va = stop) {
        uint32_t count = 0;

        if (path[1] == NULL && stop - va == X86_SUPERPAGE) {
            pmap_remove_superpage(pmap, va, path, bits != NULL ? &bits[atop(va - start)] : NULL);
            pmap->resident_count -= X86_PT_NENTRIES;
            pmap_unuse_pt(pmap, va, path, 2, 1);
            continue;
        }
        if (path[1] == NULL)
            pmap_demote(pmap, va, path);
        for (vm_offset_t at = va; at < stop; at += VM_PAGE_SIZE) {
            uint8_t *page_bits = bits != NULL ? &bits[atop(at - start)] : NULL;

            count += pmap_remove_pte(pmap, at, &pmap_entries(path[1])[pt_index(at, 1)], page_bits);
        }
        pmap->resident_count -= count;
        pmap_unuse_pt(pmap, va, path, 1, count);
    }
}

void pmap_remove(struct pmap *pmap, vm_offset_t start, vm_offset_t end, uint8_t *bits)
{
    machine_lock(&pmap->pm_lock);
    pmap_remove_locked(pmap, start, end, bits);
    machine_unlock(&pmap->pm_lock);
}

static void pmap_protect_pte(pt_entry_t *pte, vm_prot_t prot)
{
    if (!(pte_load(pte) & X86_PG_V))
        return;
    if (!(prot & VM_PROT_WRITE))
        pte_clear_bits(pte, X86_PG_RW);
    if (!(prot & VM_PROT_EXECUTE))
        pte_set_bits(pte, X86_PG_NX);
}

/* Takes rights from [va, stop) of the superpage there. Returns false if that takes a page table. */
static bool pmap_protect_superpage(pt_entry_t *pde, vm_offset_t va, vm_offset_t stop, vm_prot_t prot)
{
    const vm_prot_t lost = pte_prot(pte_load(pde)) & ~prot;

    if (lost != VM_PROT_NONE && stop - va < X86_SUPERPAGE)
        return false;
    pmap_protect_pte(pde, prot);
    return true;
}

void pmap_protect(struct pmap *pmap, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    struct pmap_table *path[X86_PT_LEVELS + 1];
    vm_offset_t stop;

    if (!(prot & VM_PROT_READ)) {
        pmap_remove(pmap, start, end, NULL);
        return;
    }
    machine_lock(&pmap->pm_lock);
    for (vm_offset_t va = start; pmap_next_pt(pmap, &va, end, path, &stop); va = stop) {
        if (path[1] == NULL) {
            if (pmap_protect_superpage(pmap_pde(path, va), va, stop, prot))
                continue;
            pmap_demote(pmap, va, path);
        }
        for (vm_offset_t at = va; at < stop; at += VM_PAGE_SIZE)
            pmap_protect_pte(&pmap_entries(path[1])[pt_index(at, 1)], prot);
    }
    machine_unlock(&pmap->pm_lock);
}

static void pmap_harvest_pte(pt_entry_t *pte, pt_entry_t clear, uint8_t *bits)
{
    pt_entry_t entry = pte_load(pte);

    if (!(entry & X86_PG_V))
        return;
    if (entry & clear)
        entry = pte_clear_bits(pte, clear);
    if (entry & X86_PG_A)
        *bits |= MACHINE_REFERENCED;
    if (entry & X86_PG_M)
        *bits |= MACHINE_DIRTY;
}

/* Reports of [va, stop) of the superpage there. Returns false if that takes a page table. */
static bool pmap_harvest_part(vm_offset_t va, vm_offset_t stop, struct pmap_table *path[], unsigned clear,
                              uint8_t *bits)
{
    const uint32_t npages = (uint32_t)atop(stop - va);

    if ((clear & MACHINE_DIRTY) && (pte_load(pmap_pde(path, va)) & X86_PG_M))
        return false;
    uint8_t found = pmap_harvest_superpage(va, path, npages, (clear & MACHINE_REFERENCED) != 0);
    for (uint32_t i = 0; i < npages; i++)
        bits[i] |= found;
    return true;
}

void pmap_harvest(struct pmap *pmap, vm_offset_t start, vm_offset_t end, unsigned clear, uint8_t *bits)
{
    const pt_entry_t pte_clear =
        ((clear & MACHINE_REFERENCED) ? X86_PG_A : 0) | ((clear & MACHINE_DIRTY) ? X86_PG_M : 0);
    struct pmap_table *path[X86_PT_LEVELS + 1];
    vm_offset_t stop;

    machine_lock(&pmap->pm_lock);
    for (vm_offset_t va = start; pmap_next_pt(pmap, &va, end, path, &stop); va = stop) {
        if (path[1] == NULL) {
            if (pmap_harvest_part(va, stop, path, clear, &bits[atop(va - start)]))
                continue;
            pmap_demote(pmap, va, path);
        }
        for (vm_offset_t at = va; at < stop; at += VM_PAGE_SIZE)
            pmap_harvest_pte(&pmap_entries(path[1])[pt_index(at, 1)], pte_clear, &bits[atop(at - start)]);
    }
    machine_unlock(&pmap->pm_lock);
}

pt_entry_t pmap_extract(struct pmap *pmap, vm_offset_t va)
{
    struct pmap_table *path[X86_PT_LEVELS + 1];
    pt_entry_t entry = 0;
    unsigned missing;

    machine_lock(&pmap->pm_lock);
    if (pmap_lookup_pt(pmap, va, path, &missing))
        entry = path[1] == NULL ? pte_of_page(pte_load(pmap_pde(path, va)), va)
                                : pte_load(&pmap_entries(path[1])[pt_index(va, 1)]);
    machine_unlock(&pmap->pm_lock);
    return (entry & X86_PG_V) ? entry : 0;
}

bool pmap_next_mapped(struct pmap *pmap, vm_offset_t start, vm_offset_t end, vm_offset_t *va)
{
    struct pmap_table *path[X86_PT_LEVELS + 1];
    vm_offset_t stop;
    bool found = false;

    machine_lock(&pmap->pm_lock);
    for (vm_offset_t at = start; !found && pmap_next_pt(pmap, &at, end, path, &stop); at = stop) {
        for (; at < stop && !found; at += VM_PAGE_SIZE) {
            found = path[1] == NULL || (pte_load(&pmap_entries(path[1])[pt_index(at, 1)]) & X86_PG_V) != 0;
            *va = at;
        }
    }
    machine_unlock(&pmap->pm_lock);
    return found;
}

struct pmap_table *pmap_take_pt_list(struct pmap *pmap)
{
    machine_lock(&pmap->pm_lock);
    struct pmap_table *list = pmap->pm_free;
    pmap->pm_free = NULL;
    machine_unlock(&pmap->pm_lock);
    return list;
}

void pmap_free_pt_list(struct pmap_table *list)
{
    while (list != NULL) {
        struct pmap_table *next = list->next;

        pmap_machine_table_free(list);
        list = next;
    }
}

void pmap_free_pt_pages(struct pmap *pmap)
{
    pmap_free_pt_list(pmap_take_pt_list(pmap));
}

/* Checks the table and those below it, and returns how many pages they map; *superpages grows. The
 * recursion is four levels deep. */
static uint64_t pmap_check_table(const struct pmap_table *table, unsigned level, uint64_t *superpages)
{
    const pt_entry_t *entry = pmap_entries(table);
    uint32_t valid = 0;
    uint64_t pages = 0;

    for (unsigned i = 0; i < X86_PT_NENTRIES; i++) {
        if (!(entry[i] & X86_PG_V))
            continue;
        valid++;
        if (level == 1) {
            pages++;
        } else if (entry[i] & X86_PG_PS) {
            PMAP_ASSERT(level == 2, "SP1");
            pmap_check_superpage(table, i);
            pages += X86_PT_NENTRIES;
            ++*superpages;
        } else {
            pages += pmap_check_table(pmap_machine_table(entry[i] & X86_PG_FRAME), level - 1, superpages);
        }
    }
    PMAP_ASSERT(valid == table->wire_count, "PT1");
    PMAP_ASSERT(valid > 0 || level == X86_PT_LEVELS, "PT2");
    return pages;
}

void pmap_check(struct pmap *pmap)
{
    uint64_t superpages = 0;

    PMAP_ASSERT(pmap_check_table(pmap->pm_root, X86_PT_LEVELS, &superpages) == pmap->resident_count, "PT4");
    PMAP_ASSERT(superpages == pmap->superpages, "SP3");
}
