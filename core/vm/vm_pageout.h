/*
 * vm_pageout.h: page-out: keeps between free_min and free_target pages free.
 *
 *      ┌──────── referenced ────────┐
 *      ▼                            │
 *   active ── not referenced ──▶ inactive ── clean ──▶ unmapped and freed
 *                                   ▲  └──── dirty ──▶ write-back ─┐
 *                                   └────── clean, at the head ◀───┘
 *
 * Whether a page was referenced is what a harvest says, and the uses that the core has seen itself
 * (mark_page_accessed). A dirty page that cannot be written anywhere, because it is anonymous and there is no
 * swap, is skipped.
 *
 * Locks: (Q) is held to pick pages; their object's lock is tried, and never waited for.
 */
#ifndef CORE_VM_VM_PAGEOUT_H
#define CORE_VM_VM_PAGEOUT_H

#include "vm/vm_page.h"

/* Numbers of free pages: free_reserved < free_min <= free_wakeup < free_target < nframes. */
struct vm_pageout_params {
    uint32_t free_reserved; /* left to page-out itself */
    uint32_t free_min;      /* read-ahead stops here */
    uint32_t free_target;   /* the daemon frees until so many are free */
    /* Below it the daemon is woken. It lies halfway from free_min to free_target, so that the daemon works
       beside the program, and read-ahead need not wait for it. */
    uint32_t free_wakeup;
};
extern struct vm_pageout_params vm_pageout; /* (c) after boot */

/*
 * Sets vm_pageout from `reserved`, `min` and `target`, in pages; each that is 0 is chosen here. `window`: the
 * pages that read-ahead asks for at a time. Errors: -EINVAL unless reserved < min < target < nframes, or if
 * nframes is too small for a VM. Context: boot.
 */
FL_NODISCARD int vm_pageout_startup(uint32_t nframes, uint32_t reserved, uint32_t min, uint32_t target,
                                    uint32_t window);

/* Fewer pages are free than the daemon frees. Takes (F). */
FL_NODISCARD bool vm_pageout_is_short(void);

/* The page daemon is to work. Context: any of the core's locks may be held, but not the daemon's own. */
void pagedaemon_wakeup(void);

/*
 * No page could be allocated: waits until pages are free, and does a share of the work itself. No lock held.
 * Returns 0: try again. Errors, when whole passes have freed nothing and nothing is on its way that could
 * become free: what the last write said (-ENOSPC, -EIO …), when some of the dirty pages could not be written;
 * -ENOMEM when all pages are wired, held, or dirty with no place to be written to.
 */
FL_NODISCARD int vm_wait(void);

/* One pass: frees until `target` pages are free. Returns how many it freed. No lock held. */
uint32_t vm_pageout_scan(uint32_t target);

/* The page daemon: returns after vm_pageout_stop. Context: a thread of its own (fl_pageout_run). */
void vm_pageout_loop(void);
void vm_pageout_stop(void);

/* Sleeps a little: a large object may be locked for as long as it takes to prepare a read-ahead window. */
void vm_pageout_pause(void);

#endif
