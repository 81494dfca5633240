/*
 * vm_pageout.h: the page daemon: keeps between free_min and free_target pages free.
 *
 *   active ──not referenced──▶ inactive ──clean──▶ unmapped, freed
 *      ▲───referenced again─────┘    └──dirty──▶ write-back ─▶ inactive again
 *
 * Where the machine cannot tell whether a page was referenced, a page that becomes inactive is unmapped,
 * and
 * a fault that finds it there is the reference (as VMS and Mach did). A page with no place to go
 * (anonymous,
 * without swap) is skipped.
 * Locks: (Q) is held to pick, then the page's object's lock is tried, never waited for.
 */
#ifndef CORE_VM_VM_PAGEOUT_H
#define CORE_VM_VM_PAGEOUT_H

#include "vm/vm_page.h"

struct vm_pageout_params {
    uint32_t free_reserved, free_min, free_target; /* pages; reserved < min < target < nframes */
    uint32_t free_wakeup; /* halfway from min to target: below it the daemon is woken, so that it works beside
                             the program, and read-ahead, which stops at min, does not have to wait for it */
};
extern struct vm_pageout_params vm_pageout;

/*
 * Pages; 0: chosen. `window`: pages that one read-ahead asks for at a time. Errors: -EINVAL: not reserved < min
 * < target < nframes, or too few frames.
 */
FL_NODISCARD int vm_pageout_startup(uint32_t nframes, uint32_t reserved, uint32_t min, uint32_t target,
                                    uint32_t window);
void pagedaemon_wakeup(void);
/*
 * A page allocation failed: waits until pages were freed, doing a share of the work itself. No lock
 * held. 0:
 * try again. Else whole passes freed nothing, and nothing is being written that could become free: the error
 * of the last write, -ENOSPC, -EIO …, when dirty pages of files are among what cannot go, as they could not
 * be written; -ENOMEM: all is dirty without a place to go, wired, or held.
 */
FL_NODISCARD int vm_wait(void);
/* One pass: frees until `target` pages are free. Returns the number freed. No lock held. */
uint32_t vm_pageout_scan(uint32_t target);
void vm_pageout_loop(void); /* fl_pageout_run */
void vm_pageout_stop(void);

#endif
