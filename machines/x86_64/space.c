/*
 * space.c: the spaces and mappings of machine.h over machines/x86/pmap.c.
 *
 * The hardware looks only at page tables, so the rights of an attachment are no business of this machine, and
 * what attaching and freezing are here, core/lib/machine_default.c says.
 *
 * What takes effect at once (machine_detach, a mapping that another replaces) flushes TLBs at once. The rest
 * waits in the space's stale range for machine_sync.
 */
#include "space.h"

#include <faultline/vm.h>
#include <linux/errno.h>

#include "kernel.h"
#include "kmem.h"
#include "machdep.h"
#include "pmap_machine.h"

/* ---- spaces ------------------------------------------------------------------------------------------- */

int machine_space_create(vm_offset_t start, vm_offset_t end, struct machine_space **space)
{
    struct machine_space *fresh = kmalloc(sizeof(*fresh));

    (void)start;
    (void)end; /* what lies outside is not entered */
    if (fresh == NULL)
        return -ENOMEM;
    if (pmap_pinit(&fresh->pmap) != 0) {
        kfree(fresh);
        return -ENOMEM;
    }
    pmap_pinit_kernel(phys_to_virt(fresh->pmap.pm_root->pa));
    fresh->stale_start = UINT64_MAX;
    *space = fresh;
    return 0;
}

void machine_space_destroy(struct machine_space *space)
{
    tlb_drop_space(space);
    pmap_release_kernel(phys_to_virt(space->pmap.pm_root->pa));
    pmap_release_tables(&space->pmap);
    kfree(space);
}

void space_switch(struct machine_space *space)
{
    struct cpu *cpu = curcpu();
    struct machine_space *old = cpu->space;
    const uint64_t bit = UINT64_C(1) << cpu->id;

    if (space == old)
        return;
    if (space != NULL)
        __atomic_fetch_or(&space->cpus, bit, __ATOMIC_SEQ_CST);
    cpu->space = space;
    load_cr3(space != NULL ? space->pmap.pm_root->pa : kernel_pml4_pa);
    if (old != NULL)
        __atomic_fetch_and(&old->cpus, ~bit, __ATOMIC_SEQ_CST);
}

/* ---- TLBs --------------------------------------------------------------------------------------------- */

/* TLBs may know more of [start, end) than the tables, until machine_sync. */
static void space_stale(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    uint64_t flags = spin_lock(&space->lock);

    if (start < space->stale_start)
        space->stale_start = start;
    if (end > space->stale_end)
        space->stale_end = end;
    spin_unlock(&space->lock, flags);
}

/*
 * Page tables that were unlinked are taken before the flush, which is then one for them (PT3): others may be
 * unlinked meanwhile, and a processor may walk those still. A flush of any page drops what a processor knows
 * of tables' places.
 */
void machine_sync(struct machine_space *space)
{
    uint64_t flags = spin_lock(&space->lock);
    vm_offset_t start = space->stale_start, end = space->stale_end;

    if (space->flushing > 0) {
        start = 0; /* a part of what the caller waits for another thread may be flushing now: so do it, too */
        end = UINT64_MAX;
    }
    const bool flush = start < end;
    space->flushing += flush;
    space->stale_start = UINT64_MAX;
    space->stale_end = 0;
    spin_unlock(&space->lock, flags);
    if (!flush)
        return;
    struct pmap_table *tables = space->pmap.pm_free != NULL ? pmap_take_pt_list(&space->pmap) : NULL;
    tlb_shootdown(space, start, end);
    flags = spin_lock(&space->lock);
    space->flushing--;
    spin_unlock(&space->lock, flags);
    pmap_free_pt_list(tables);
}

void space_promoting(struct pmap *pmap, vm_offset_t va)
{
    struct machine_space *space = (void *)((char *)pmap - offsetof(struct machine_space, pmap));

    tlb_shootdown(space, va, va + X86_SUPERPAGE);
}

/* ---- ranges ------------------------------------------------------------------------------------------- */

void machine_detach(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    const uint64_t before = space->pmap.resident_count;

    pmap_remove(&space->pmap, start, end, NULL);
    if (space->pmap.resident_count != before || space->pmap.pm_free != NULL) {
        space_stale(space, start, end);
        machine_sync(space);
    }
}

int machine_protect(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    pmap_protect(&space->pmap, start, end, prot);
    space_stale(space, start, end);
    return 0;
}

/* ---- mappings ----------------------------------------------------------------------------------------- */

/* Returns the page-table bits for what the core says of a mapping. */
static pt_entry_t map_bits(vm_prot_t prot, unsigned flags)
{
    pt_entry_t also = (flags & MACHINE_MAP_WIRED) ? X86_PG_W : 0;

    if ((flags & MACHINE_MAP_DIRTY) && (prot & VM_PROT_WRITE))
        also |= X86_PG_M; /* a store need not set it */
    return also;
}

static int map_page(struct machine_space *space, vm_offset_t va, vm_frame_t frame, vm_prot_t prot,
                    unsigned flags)
{
    const pt_entry_t also = map_bits(prot, flags);
    pt_entry_t was;

    if ((flags & (MACHINE_MAP_QUICK | MACHINE_MAP_WIRED)) == MACHINE_MAP_QUICK) {
        const bool entered = pmap_enter_quick_locked(&space->pmap, va, frame, prot, also);

        (void)entered; /* it was a hint */
        return 0;
    }
    int error = pmap_enter_pte(&space->pmap, va, frame, prot, also, &was);
    if (error != 0)
        return error;
    if ((was & X86_PG_V) && ((was & X86_PG_FRAME) != frame_to_phys(frame) || (pte_prot(was) & ~prot) != 0))
        tlb_shootdown(space, va, va + VM_PAGE_SIZE);
    return 0;
}

int machine_map(struct machine_space *space, vm_offset_t va, const struct machine_run *run, vm_prot_t prot,
                unsigned flags, uint32_t *done)
{
    for (*done = 0; *done < run->npages; ++*done) {
        int error = map_page(space, va + ptoa((uint64_t)*done), run->frame[*done], prot, flags);

        if (error != 0)
            return error;
    }
    return 0;
}

void machine_harvest(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned clear,
                     uint8_t *bits)
{
    pmap_harvest(&space->pmap, start, end, clear, bits);
    if (clear != 0)
        space_stale(space, start, end);
}

void machine_unmap(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned flags,
                   uint8_t *bits)
{
    (void)flags;
    pmap_remove(&space->pmap, start, end, bits);
    space_stale(space, start, end);
}

unsigned machine_query(struct machine_space *space, vm_offset_t va)
{
    const pt_entry_t pte = pmap_extract(&space->pmap, trunc_page(va));

    if (pte == 0)
        return 0;
    return MACHINE_MAPPED | ((pte & X86_PG_RW) ? MACHINE_WRITABLE : 0) |
           ((pte & X86_PG_M) ? MACHINE_DIRTY : 0) | ((pte & X86_PG_A) ? MACHINE_REFERENCED : 0);
}
