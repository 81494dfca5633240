/* mm1.c: resident pages that the hardware enters by itself, and what keeps it from them: machine_freeze,
 * machine_thaw and machine_writenotify. mm1.h has the drawing. */
#include "mm1.h"

#include <errno.h>

#include "attachment.h"
#include "cpu.h"
#include "frame.h"

/* ---- entering and releasing ------------------------------------------------------------------ */

/* Returns the attachment's rights that MM1 may use now. */
static vm_prot_t mm1_prot(const struct sim_attachment *a)
{
    if (a->flags & MACHINE_ATTACH_WRITENOTIFY)
        return VM_PROT_NONE;
    return a->frozen ? a->prot & (vm_prot_t)~VM_PROT_WRITE : a->prot;
}

/* The hardware takes no lock: between two switches of fibers no function of pmap.c is at work. */
bool mm1_enter(struct machine_space *space, vm_offset_t va, vm_prot_t access) FL_NO_THREAD_SAFETY_ANALYSIS
{
    const pt_entry_t *pte = cpu_walk(space, va);
    pt_entry_t was = pte != NULL ? pte_of_page(pte_load(pte), va) : 0;
    struct sim_attachment a;
    vm_frame_t frame;

    va = trunc_page(va);
    if (!sim_attached(space, va, &a) || (access & ~mm1_prot(&a)) != 0 ||
        !frame_lookup(a.object, a.pindex + atop(va - a.start), &frame) ||
        !prng_chance(&sim.prng, sim.params.torture.enters_itself_permille))
        return false;
    if (was & X86_PG_V) {
        bool ours = (was & X86_PG_SELF) != 0;

        if (atop(was & X86_PG_FRAME) != frame || (was & X86_PG_W))
            return false;
        if ((access & ~pte_prot(was)) == 0)
            return ours; /* only this CPU's TLB was out of date */
        if (!ours)
            space_forget(space, va);
    }
    if (pmap_enter_pte_locked(&space->pmap, va, frame, mm1_prot(&a), X86_PG_SELF, &was) != 0)
        return false;
    sim.stats.self_enters++;
    sim_event(EVENT_MAP, va, ~(uint64_t)frame);
    return true;
}

static void mm1_release_at(struct machine_space *space, vm_offset_t va,
                           vm_frame_t frame) FL_NO_THREAD_SAFETY_ANALYSIS
{
    const pt_entry_t *pte = cpu_walk(space, va);

    if (pte != NULL && (*pte & X86_PG_SELF) && atop(*pte & X86_PG_FRAME) == frame)
        pmap_remove_locked(&space->pmap, va, va + VM_PAGE_SIZE, NULL);
    tlb_drop_self(frame);
    sim.stats.unharvested_released +=
        written_clear(&space->written, va, va + VM_PAGE_SIZE, WRITTEN_BY_CORE | WRITTEN_BY_MM1);
}

void mm1_release(void *object, vm_pindex_t pindex, vm_frame_t frame)
{
    for (struct machine_space *space = space_first(); space != NULL; space = space->next) {
        for (uint32_t i = 0; i < space->nattachments; i++) {
            const struct sim_attachment a = space->attachment[i];

            if (a.object == object && pindex >= a.pindex && pindex - a.pindex < atop(a.end - a.start))
                mm1_release_at(space, a.start + ptoa(pindex - a.pindex), frame);
        }
    }
}

/* ---- freezing -------------------------------------------------------------------------------- */

/* Checks that what is attached in [start, end) has the rights `prot`, and sets its state. */
static void mm1_set_frozen(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
                           bool frozen)
{
    uint32_t i = attachment_split_range(space, start, end);

    for (; i < space->nattachments && space->attachment[i].start < end; i++) {
        struct sim_attachment *a = &space->attachment[i];

        if (a->prot != prot)
            sim_panic("a range is frozen or thawed with rights %#x, and is attached with %#x", prot, a->prot);
        a->frozen = frozen;
    }
}

/* Takes the right to write from what the machine entered in [start, end), or from everything that is not
 * wired. */
static void mm1_restrict(struct machine_space *space, vm_offset_t start, vm_offset_t end, bool everything)
{
    vm_offset_t va = start;

    for (; pmap_next_mapped(&space->pmap, va, end, &va); va += VM_PAGE_SIZE) {
        pt_entry_t pte = pmap_extract(&space->pmap, va);

        if ((pte & X86_PG_SELF) || (everything && !(pte & X86_PG_W)))
            pmap_protect(&space->pmap, va, va + VM_PAGE_SIZE, VM_PROT_ALL & (vm_prot_t)~VM_PROT_WRITE);
    }
    tlb_drop_range(space, start, end);
}

/* On a machine that uses MM1 the call may reach further than it must, to mappings that the core entered, as
 * on Linux. Any mapping that is not wired may be forgotten: so that is allowed, and not to be relied on. */
static bool mm1_reaches_further(void)
{
    return prng_chance(&sim.prng, sim.params.torture.enters_itself_permille != 0 ? 500 : 0);
}

int machine_freeze(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    struct space_call call;

    if (sim_fail_map())
        return -ENOMEM;
    space_call_begin(space, &call, start, end, false);
    mm1_set_frozen(space, start, end, prot, true);
    mm1_restrict(space, start, end, mm1_reaches_further());
    space_call_end(space, &call);
    return 0;
}

void machine_thaw(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    struct space_call call;

    space_call_begin(space, &call, start, end, false);
    mm1_set_frozen(space, start, end, prot, false);
    attachment_merge(space, start, end);
    space_call_end(space, &call);
}

/* Forgets what the machine entered in [start, end): the core finds it again by a fault. */
static void mm1_forget(struct machine_space *space, vm_offset_t start, vm_offset_t end)
{
    vm_offset_t va = start;

    for (; pmap_next_mapped(&space->pmap, va, end, &va); va += VM_PAGE_SIZE) {
        pt_entry_t pte = pmap_extract(&space->pmap, va);

        if (pte & X86_PG_SELF)
            space_forget(space, va);
    }
    tlb_drop_range(space, start, end);
}

int machine_writenotify(struct machine_space *space, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
                        void *object, vm_pindex_t pindex)
{
    struct space_call call;
    struct sim_attachment a;

    if (sim_fail_map())
        return -ENOMEM;
    space_call_begin(space, &call, start, end, false);
    for (vm_offset_t at = start; at < end && sim_attached(space, at, &a); at = a.end) {
        if (a.object != object || a.pindex + atop(at - a.start) != pindex + atop(at - start))
            sim_panic("machine_writenotify: something else is attached at %#llx", (unsigned long long)at);
    }
    mm1_set_frozen(space, start, end, prot, false);
    for (uint32_t i = attachment_find(space, start);
         i < space->nattachments && space->attachment[i].start < end; i++)
        space->attachment[i].flags |= MACHINE_ATTACH_WRITENOTIFY;
    if (written_clear(&space->written, start, end, WRITTEN_BY_MM1) > 0)
        sim_panic("MO6: machine_writenotify at %#llx, and a store is there that was not harvested",
                  (unsigned long long)start);
    mm1_forget(space, start, end);
    /* What was harvested, and not cleared. */
    (void)written_clear(&space->written, start, end, WRITTEN_BY_MM1);
    space_call_end(space, &call);
    return 0;
}
