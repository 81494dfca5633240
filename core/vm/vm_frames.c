/*
 * vm_frames.c: frames of the budget that the host uses for memory of its own.
 *
 *   budget   | pages of objects ……… | taken by the host | free ……………………… |
 *                                                        └ reserve: faults stop here ─┐
 *                                          fl_frames_take stops halfway down ─────────┘ page-out's own
 *
 * A compressed tier in front of swap is such memory. Page-out itself fills it: it takes frames there in order
 * to free more of them. So it may go on when faults have to wait for free pages. The other half of the
 * reserve is left for page-out's other work.
 *
 * What is taken is a number. The frames stay on the lists of vm_phys, and free_count is less by as many. So
 * an allocation that free_count allows finds a frame (PH3).
 *
 * Invariants PH3, PH5, lock (F): vm_phys.h. Does not do: the memory itself, which is the host's.
 */
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/vm_pageout.h"
#include "vm/vm_phys.h"
#include <faultline/vm.h>

int fl_frames_take(uint32_t n)
{
    if (vm_meta_fails("host frames"))
        return -ENOMEM;
    vm_lock(&vm_phys.lock);
    uint32_t floor = vm_pageout.free_reserved / 2;
    bool enough = vm_phys.free_count >= floor && n <= vm_phys.free_count - floor;
    if (enough) {
        vm_phys.taken += n;
        vm_phys_freecnt_adj(-(int32_t)n);
    }
    bool low = vm_phys.free_count < vm_pageout.free_wakeup;
    vm_unlock(&vm_phys.lock);
    if (low)
        pagedaemon_wakeup();
    return enough ? 0 : -ENOMEM;
}

void fl_frames_give(uint32_t n)
{
    vm_lock(&vm_phys.lock);
    KASSERT(n <= vm_phys.taken, "PH5");
    vm_phys.taken -= n;
    vm_phys_freecnt_adj((int32_t)n);
    bool wanted = vm_phys.waiters != 0;
    vm_unlock(&vm_phys.lock);
    if (wanted)
        machine_wake(&vm_phys);
}
