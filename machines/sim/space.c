/*
 * space.c: the spaces and mappings of machine.h over machines/x86/pmap.c, with the core's side of the
 * contract checked at each call.
 *
 * TLBs: unmap, protect and wrprotect leave TLB entries to machine_sync when stale_tlb is set; otherwise
 * they drop them at once. What takes effect when it returns (attach, detach, a replaced or forgotten
 * mapping) drops them itself.
 */
#include "space.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "attachment.h"
#include "pmap_machine.h"
#include "sched.h"
#include "tlb.h"

static struct machine_space *spaces; /* newest first */
static uint64_t space_ids;

/* ---- spaces ---------------------------------------------------------------------------------- */

int machine_space_create(vm_offset_t start, vm_offset_t end, struct machine_space **space)
{
    sim_preempt();
    if (sim_fail_map())
        return -ENOMEM;
    struct machine_space *fresh = calloc(1, sizeof(*fresh));
    if (fresh == NULL)
        return -ENOMEM;
    if (pmap_pinit(&fresh->pmap) != 0) {
        free(fresh);
        return -ENOMEM;
    }
    fresh->id = ++space_ids;
    fresh->start = start;
    fresh->end = end;
    fresh->next = spaces;
    spaces = fresh;
    *space = fresh;
    return 0;
}

void machine_space_destroy(struct machine_space *space)
{
    struct machine_space **link = &spaces;

    sim_preempt();
    if (space->nattachments > 0)
        sim_panic("space %llu is destroyed with %u ranges attached", (unsigned long long)space->id,
                  space->nattachments);
    tlb_drop_space(space);
    pmap_check(&space->pmap);
    pmap_release_tables(&space->pmap);
    while (*link != space)
        link = &(*link)->next;
    *link = space->next;
    free(space->attachment);
    written_fini(&space->written);
    free(space);
}

void space_fini(void)
{
    if (spaces != NULL)
        sim_panic("leak: space %llu was not destroyed", (unsigned long long)spaces->id);
    space_ids = 0;
}

/* ---- CO1 -------------------------------------------------------------------------------------- */

void space_call_begin(struct machine_space *space, struct space_call *call, vm_offset_t start,
                      vm_offset_t end, bool exclusive)
{
    if (start >= end || ((start | end) & VM_PAGE_MASK) != 0 || start < space->start || end > space->end)
        sim_panic("CO1: a call for [%#llx, %#llx), which is no range of the space", (unsigned long long)start,
                  (unsigned long long)end);
    *call = (struct space_call){.start = start, .end = end, .exclusive = exclusive, .next = space->calls};
    for (const struct space_call *other = space->calls; other != NULL; other = other->next) {
        if (other->start < end && start < other->end && (exclusive || other->exclusive))
            sim_panic("CO1: two calls at once for [%#llx, %#llx)", (unsigned long long)start,
                      (unsigned long long)end);
    }
    space->calls = call;
    sim_preempt();
}

void space_call_end(struct machine_space *space, struct space_call *call)
{
    struct space_call **link = &space->calls;

    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    sim_preempt();
}

/* ---- attaching ------------------------------------------------------------------------------- */

/* What is attached in [start, end) ends, with its mappings. */
static void space_detach(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    attachment_clear(space, start, end);
    pmap_remove(&space->pmap, start, end, NULL);
    tlb_drop_range(space, start, end);
    sim.stats.unharvested_detached +=
        written_clear(&space->written, start, end, WRITTEN_BY_CORE | WRITTEN_BY_MM1);
}

int machine_attach(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
                   void *object, vm_pindex_t pindex, unsigned flags)
{
    struct sim_attachment fresh = {
        .start = start, .end = end, .prot = prot, .object = object, .pindex = pindex, .flags = flags};
    struct space_call call;

    if (object == NULL)
        sim_panic("machine_attach: no object");
    if (sim_fail_map())
        return -ENOMEM;
    space_call_begin(space, &call, start, end, true);
    space_detach(space, start, end);
    attachment_insert(space, attachment_find(space, start), &fresh);
    space_call_end(space, &call);
    return 0;
}

void machine_detach(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    struct space_call call;

    space_call_begin(space, &call, start, end, true);
    space_detach(space, start, end);
    space_call_end(space, &call);
}

/* Mappings in [start, end) lost rights: without stale_tlb the TLBs forget them now. */
static void space_restricted(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    if (!sim.params.torture.stale_tlb)
        tlb_drop_range(space, start, end);
}

/* Forgets every mapping in [start, end). */
static void space_forget_range(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    for (vm_offset_t va = start; pmap_next_mapped(&space->pmap, va, end, &va); va += VM_PAGE_SIZE)
        space_forget(space, va);
}

int machine_protect(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    struct space_call call;

    if (sim_fail_map())
        return -ENOMEM;
    space_call_begin(space, &call, start, end, false);
    for (uint32_t at = attachment_split_range(space, start, end);
         at < space->nattachments && space->attachment[at].start < end; at++) {
        space->attachment[at].prot = prot;
        space->attachment[at].frozen = false;
    }
    if (prot & VM_PROT_READ)
        pmap_protect(&space->pmap, start, end, prot);
    else
        space_forget_range(space, start, end);
    space_restricted(space, start, end);
    space_call_end(space, &call);
    return 0;
}

/* ---- mappings -------------------------------------------------------------------------------- */

bool machine_can_map(void *entry_object, void *page_object)
{
    sim_preempt();
    if (entry_object == page_object)
        sim_panic("machine_can_map: asked about one object and itself");
    return !sim.params.torture.copy_first;
}

/*
 * AM7, MO1: a mapped page belongs to the attached object, or to an object behind it, and then it cannot be
 * written. Neighbours that were attached one by one may be mapped in one run.
 */
static void space_check_map(struct machine_space *space, vm_offset_t va, void *object, vm_pindex_t pindex,
                            vm_prot_t prot)
{
    const unsigned long long at = va;
    struct sim_attachment a;

    if (!sim_attached(space, va, &a))
        sim_panic("AM7: a page is mapped at %#llx, where nothing is attached", at);
    if ((prot & ~a.prot) != 0 || prot == VM_PROT_NONE)
        sim_panic("MO1: rights %#x are mapped at %#llx, where at most %#x may be", prot, at, a.prot);
    if (object == a.object) {
        if (pindex != a.pindex + atop(va - a.start))
            sim_panic("AM7: page %llu is mapped at %#llx, where another page of its object belongs",
                      (unsigned long long)pindex, at);
    } else if (prot & VM_PROT_WRITE) {
        sim_panic("MO1: a backing object's page is mapped at %#llx so that it can be written", at);
    } else if (sim.params.torture.copy_first) {
        sim_panic("machine_can_map said no, and the page is mapped at %#llx nevertheless", at);
    }
}

/* Returns the page-table bits for what the core says of a mapping. */
static pt_entry_t space_map_bits(vm_prot_t prot, unsigned flags)
{
    pt_entry_t also = (flags & MACHINE_MAP_WIRED) ? X86_PG_W : 0;

    if ((flags & MACHINE_MAP_DIRTY) && (prot & VM_PROT_WRITE))
        also |= X86_PG_M; /* a store need not set it */
    return also;
}

/* One page of machine_map. */
static int space_map_page(struct machine_space *space, vm_offset_t va, vm_frame_t frame, vm_prot_t prot,
                          unsigned flags)
{
    const pt_entry_t also = space_map_bits(prot, flags);
    pt_entry_t was;

    if ((flags & MACHINE_MAP_QUICK) && !(flags & MACHINE_MAP_WIRED)) {
        if (!pmap_enter_quick_locked(&space->pmap, va, frame, prot, also))
            return 0; /* it was a hint */
    } else {
        int error = pmap_enter_pte(&space->pmap, va, frame, prot, also, &was);

        if (error != 0)
            return error;
        if ((was & X86_PG_V) &&
            (atop(was & X86_PG_FRAME) != frame || (pte_prot(was) & ~prot) != 0 || (was & X86_PG_SELF)))
            tlb_drop_range(space, va, va + VM_PAGE_SIZE);
    }
    sim.stats.maps++;
    sim_event(EVENT_MAP, va, frame);
    return 0;
}

int machine_map(struct machine_space *space, vm_offset_t va, const struct machine_run *run, vm_prot_t prot,
                unsigned flags, uint32_t *done)
{
    struct space_call call;
    int error = 0;

    *done = 0;
    if (run->npages < 1 || run->npages > MACHINE_RUN_MAX)
        sim_panic("machine_map: a run of %u pages", run->npages);
    space_call_begin(space, &call, va, va + ptoa(run->npages), false);
    while (*done < run->npages) {
        space_check_map(space, va + ptoa(*done), run->object, run->pindex + *done, prot);
        if (sim_fail_map()) {
            error = -ENOMEM;
            break;
        }
        frame_bind(run->frame[*done], run->object, run->pindex + *done);
        physmem.frame[run->frame[*done]].filled = true;
        error = space_map_page(space, va + ptoa(*done), run->frame[*done], prot, flags);
        if (error != 0)
            break;
        ++*done;
    }
    space_call_end(space, &call);
    return error;
}

/* Removes the mappings in [start, end); bits[i] |= MACHINE_DIRTY as machine_unmap says. */
static void space_unmap(struct machine_space *space, vm_offset_t start, vm_offset_t end, uint8_t *bits)
{
    pmap_remove(&space->pmap, start, end, bits);
    if (bits != NULL)
        written_report(&space->written, start, end, WRITTEN_BY_CORE, bits);
    (void)written_clear(&space->written, start, end, WRITTEN_BY_CORE);
    space_restricted(space, start, end);
}

void machine_unmap(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned flags,
                   uint8_t *bits)
{
    struct space_call call;

    (void)flags; /* MACHINE_UNMAP_RELEASE would allow to put it off */
    space_call_begin(space, &call, start, end, false);
    sim.stats.unmaps++;
    sim_event(EVENT_UNMAP, start, end);
    if (bits != NULL && sim.params.torture.late_bits) {
        struct written_unmap *unmap = written_unmap_begin(&space->written, start, end, bits);

        space_unmap(space, start, end, unmap->removed);
        unmap->under_way = false;
    } else {
        tlb_write_back(space, start, end);
        space_unmap(space, start, end, bits);
    }
    space_call_end(space, &call);
}

void machine_wrprotect(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    struct space_call call;

    space_call_begin(space, &call, start, end, false);
    pmap_protect(&space->pmap, start, end, VM_PROT_ALL & (vm_prot_t)~VM_PROT_WRITE);
    space_restricted(space, start, end);
    space_call_end(space, &call);
}

unsigned machine_query(struct machine_space *space, vm_offset_t va)
{
    sim_preempt();
    pt_entry_t pte = pmap_extract(&space->pmap, trunc_page(va));
    unsigned answer = 0;

    if (pte == 0)
        return 0;
    answer |= MACHINE_MAPPED;
    if (pte & X86_PG_RW)
        answer |= MACHINE_WRITABLE;
    if (pte & X86_PG_M)
        answer |= MACHINE_DIRTY;
    if (pte & X86_PG_A)
        answer |= MACHINE_REFERENCED;
    return answer;
}

void machine_harvest(struct machine_space *space, vm_offset_t start, vm_offset_t end, unsigned clear,
                     uint8_t *bits)
{
    const uint32_t npages = (uint32_t)atop(end - start);
    uint8_t found[MACHINE_RUN_MAX] = {0};
    struct space_call call;

    if (npages > MACHINE_RUN_MAX)
        sim_panic("machine_harvest: a range of %u pages", npages);
    space_call_begin(space, &call, start, end, false);
    tlb_write_back(space, start, end);
    pmap_harvest(&space->pmap, start, end, clear, found);
    written_report(&space->written, start, end, WRITTEN_BY_CORE | WRITTEN_BY_MM1, found);
    if (clear & MACHINE_DIRTY)
        (void)written_clear(&space->written, start, end, WRITTEN_BY_CORE | WRITTEN_BY_MM1);
    for (uint32_t i = 0; i < npages; i++) {
        if ((found[i] & clear & MACHINE_DIRTY) && !sim.params.torture.late_bits)
            tlb_drop_range(space, start + ptoa(i), start + ptoa(i + 1));
        bits[i] |= found[i];
    }
    space_call_end(space, &call);
}

void machine_sync(struct machine_space *space)
{
    sim_preempt();
    sim.stats.syncs++;
    tlb_drop_space(space);
    written_sync(&space->written);
    pmap_free_pt_pages(&space->pmap);
}

bool sim_mapped(struct machine_space *space, vm_offset_t va, vm_frame_t *frame, vm_prot_t *prot, bool *wired)
{
    pt_entry_t pte = pmap_extract(&space->pmap, trunc_page(va));

    *frame = (vm_frame_t)atop(pte & X86_PG_FRAME);
    *prot = pte_prot(pte);
    *wired = (pte & X86_PG_W) != 0;
    return pte != 0;
}

/* ---- forgetful ------------------------------------------------------------------------------- */

struct machine_space *space_first(void)
{
    return spaces;
}

/* As mm1_enter it takes no lock. */
void space_forget(struct machine_space *space, vm_offset_t va) FL_NO_THREAD_SAFETY_ANALYSIS
{
    uint8_t bits = 0;

    tlb_drop_range(space, va, va + VM_PAGE_SIZE);
    pmap_remove_locked(&space->pmap, va, va + VM_PAGE_SIZE, &bits);
    if (bits & MACHINE_DIRTY)
        written_note(&space->written, va, WRITTEN_BY_CORE);
}

static struct machine_space *space_of(struct pmap *pmap)
{
    return (struct machine_space *)(void *)((char *)pmap - offsetof(struct machine_space, pmap));
}

void space_self_written(struct pmap *pmap, vm_offset_t va)
{
    written_note(&space_of(pmap)->written, va, WRITTEN_BY_MM1);
}

void space_promoting(struct pmap *pmap, vm_offset_t va)
{
    tlb_drop_range(space_of(pmap), va, va + X86_SUPERPAGE);
}

uint64_t sim_superpages(struct machine_space *space)
{
    return space->pmap.superpages;
}

void space_forget_one(void)
{
    struct machine_space *space = spaces;
    uint32_t nspaces = 0;
    vm_offset_t va;

    for (; space != NULL; space = space->next)
        nspaces++;
    if (nspaces == 0)
        return;
    space = spaces;
    for (uint64_t pick = prng_below(&sim.prng, nspaces); pick > 0; pick--)
        space = space->next;
    if (space->nattachments == 0)
        return;
    const struct sim_attachment *a = &space->attachment[prng_below(&sim.prng, space->nattachments)];
    vm_offset_t from = a->start + ptoa(prng_below(&sim.prng, atop(a->end - a->start)));
    if (!pmap_next_mapped(&space->pmap, from, a->end, &va) &&
        !pmap_next_mapped(&space->pmap, a->start, a->end, &va))
        return;
    if (pmap_extract(&space->pmap, va) & X86_PG_W)
        return;
    space_forget(space, va);
    sim.stats.forgotten++;
    sim_event(EVENT_FORGET, space->id, va);
}
