/*
 * vm_frames.c: frames of the budget that the host uses for memory of its own.
 *
 *   budget   | pages of objects ……… | the host's | free ………………………………… |
 *                                                 └ reserve: faults stop here ─┐
 *                                          the host stops halfway down ────────┘ page-out's own
 *
 * There are two kinds. A host without physical memory says how many frames its memory is worth
 * (fl_frames_take): a compressed tier in front of swap does. These are a number. They stay on the lists of
 * vm_phys, and free_count is less by as many, so an allocation that free_count allows finds a frame (PH3). A
 * kernel needs certain ones, and neighbours (fl_frames_alloc): its stacks, page tables and heap. These leave
 * the lists, and vm_page.order says whose they are.
 *
 * Page-out itself needs both, in order to free more: it fills the compressed tier, and a kernel's driver may
 * need memory for a write. So the host may go on when faults have to wait for free pages. The other half of
 * the reserve is left for page-out's other work.
 *
 * Page tables are allocated under the core's locks, so nothing here sleeps. Who got none waits when it holds
 * no lock any more (fl_frames_wait).
 *
 * Invariants PH3, PH5, PH6, lock (F): vm_phys.h. Does not do: the memory itself, which is the host's; moving
 * pages so that frames become neighbours.
 */
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/vm_pageout.h"
#include "vm/vm_reserv.h"
#include <faultline/vm.h>

/* ---- a number --------------------------------------------------------------------------------------- */

/* May the host have n frames more? */
static bool frames_left(uint32_t n) FL_REQUIRES(vm_phys.lock)
{
    uint32_t floor = vm_pageout.free_reserved / 2;
    return vm_phys.free_count >= floor && n <= vm_phys.free_count - floor;
}

/* The host has freed frames: who waits for memory looks again. */
static void frames_freed(void) FL_RELEASE(vm_phys.lock)
{
    bool wanted = vm_phys.waiters != 0;
    vm_unlock(&vm_phys.lock);
    if (wanted)
        machine_wake(&vm_phys);
}

/* The host has got frames, or there were too few. */
static void frames_used(void) FL_RELEASE(vm_phys.lock)
{
    bool low = vm_phys.free_count < vm_pageout.free_wakeup;
    vm_unlock(&vm_phys.lock);
    if (low)
        pagedaemon_wakeup();
}

int fl_frames_take(uint32_t n)
{
    if (vm_meta_fails("host frames"))
        return -ENOMEM;
    vm_lock(&vm_phys.lock);
    bool enough = frames_left(n);
    if (enough) {
        vm_phys.taken += n;
        vm_phys_freecnt_adj(-(int32_t)n);
    }
    frames_used();
    return enough ? 0 : -ENOMEM;
}

void fl_frames_give(uint32_t n)
{
    vm_lock(&vm_phys.lock);
    KASSERT(n <= vm_phys.taken, "PH5");
    vm_phys.taken -= n;
    vm_phys_freecnt_adj((int32_t)n);
    frames_freed();
}

/* ---- certain frames --------------------------------------------------------------------------------- */

/* The first page of 2^order that are the host's now. NULL: too few are free, or no neighbours. */
static struct vm_page *block_alloc(unsigned order) FL_REQUIRES(vm_phys.lock)
{
    if (!frames_left(1u << order))
        return NULL;
    struct vm_page *m = vm_phys_alloc_pages(order);
    if (m == NULL && vm_reserv_reclaim_inactive(order))
        m = vm_phys_alloc_pages(order);
    if (m == NULL)
        return NULL;
    for (uint32_t i = 0; i < 1u << order; i++) {
        KASSERT(m[i].object == NULL && m[i].flags == 0 && m[i].hold_count == 0, "PG6");
        m[i].order = VM_PHYS_HOST;
        m[i].owner = NULL;
    }
    vm_phys.allocated += 1u << order;
    vm_phys_freecnt_adj(-(int32_t)(1u << order));
    return m;
}

int fl_frames_alloc(uint32_t order, vm_frame_t *frame)
{
    if (order >= VM_PHYS_ORDERS)
        return -EINVAL;
    if (vm_meta_fails("host frames"))
        return -ENOMEM;
    vm_lock(&vm_phys.lock);
    struct vm_page *m = block_alloc(order);
    frames_used();
    if (m == NULL)
        return -ENOMEM;
    *frame = vm_page_frame(m);
    return 0;
}

void fl_frames_free(vm_frame_t frame, uint32_t order)
{
    struct vm_page *m = vm_page_of(frame);

    vm_lock(&vm_phys.lock);
    KASSERT(order < VM_PHYS_ORDERS && frame + (1u << order) <= vm_phys.fresh, "PH6");
    for (uint32_t i = 0; i < 1u << order; i++) {
        KASSERT(m[i].order == VM_PHYS_HOST, "PH6");
        m[i].order = VM_PHYS_NOFREE;
    }
    vm_phys.allocated -= 1u << order;
    vm_phys_free_pages(m, order);
    vm_phys_freecnt_adj((int32_t)(1u << order));
    frames_freed();
}

void **fl_frames_owner(vm_frame_t frame)
{
    struct vm_page *m = vm_page_of(frame);

    KASSERT(frame < vm_page_count && m->order == VM_PHYS_HOST, "PH6");
    return &m->owner;
}

int fl_frames_wait(void)
{
    return vm_wait();
}
