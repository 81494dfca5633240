/*
 * vm_hold.c: holding the pages of a range while a system call of the host uses them: they stay resident and
 * mapped as long as it runs.
 *
 *   fl_hold ─▶ hold_pass: hold each page, without sleep ── all are held ─▶ (the system call) ─▶ fl_unhold
 *                  ▲    │ a fault would sleep
 *                  │    ▼
 *                  │   unhold all; hold_fault_in: bring in that page and those after it, sleeping, not held
 *                  │    │
 *                  └────┘ at most HOLD_PASSES times, then -EAGAIN
 *
 * A single page is held by a fault that may sleep when the passes are used up: then no other page is held.
 *
 * A held page is not evicted, and keeps its mappings (vm_page.h). So the host's kernel, which cannot take a
 * fault of the VM, finds it mapped. A hold lasts as long as a system call of the program, which may be for
 * ever. Two rules keep it from stopping others (docs/locking.md):
 *
 *   - A thread that holds pages does not sleep to get another one. The thread that it would wait for, because
 *     that one reads the page in, punches, truncates or frees memory, may want the pages that are held.
 *   - No thread waits for a held page. What the program does to its own memory and files during the system
 *     call happens at once, and the frame is left to the hold.
 *
 * So a hold does not promise that the memory stays: a program that unmaps or cuts off the memory which it has
 * handed to a system call gets what it would get under any kernel.
 *
 * Does not do: throttling of a caller that dirties a held page. Only hold_fault_in's faults are throttled.
 * (vm_fault_quick_hold_pages, FreeBSD 11: its first part does not sleep either, but keeps the pages it has.)
 */
#include "lib/errno.h"
#include "vm/vm_fault.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include <faultline/vm.h>

/* A page that was faulted in may be gone before it is held: memory is short, or another thread punches. */
#define HOLD_PASSES 4

/*
 * Holds the pages [hold->npages, npages) of the range that begins at start; hold->npages counts those that
 * are held, on failure too. Errors: as fl_fault. VM_FAULT_WOULD_SLEEP, if flags have VM_FAULT_NOWAIT.
 */
static int hold_pages(struct vm_map *map, vm_offset_t start, size_t npages, unsigned flags,
                      struct fl_hold *hold)
{
    int error = 0;
    while (error == 0 && hold->npages < npages) {
        struct vm_page *m = NULL;
        error = vm_fault_hold(map, start + ptoa(hold->npages), hold->access, VM_FAULT_HOLD | flags, &m);
        if (error == 0)
            hold->page[hold->npages++] = m;
    }
    return error;
}

/*
 * Holds all pages without sleep. After VM_FAULT_WOULD_SLEEP the first hold->npages pages are held; after an
 * error, none.
 */
static int hold_pass(struct vm_map *map, vm_offset_t start, size_t npages, unsigned flags,
                     struct fl_hold *hold)
{
    int error = hold_pages(map, start, npages, VM_FAULT_NOWAIT | flags, hold);
    if (error < 0)
        fl_unhold(hold);
    return error;
}

/* Brings the pages of [at, end) in. They may be gone again by the time it returns. */
static int hold_fault_in(struct vm_map *map, vm_offset_t at, vm_offset_t end, vm_prot_t access)
{
    int error = 0;
    for (; error == 0 && at < end; at += VM_PAGE_SIZE)
        error = vm_fault(map, at, access, VM_FAULT_NORMAL);
    return error;
}

/* The passes. After an error, no page is held. */
static int hold_range(struct vm_map *map, vm_offset_t start, size_t npages, struct fl_hold *hold)
{
    for (unsigned pass = 0; pass < HOLD_PASSES; pass++) {
        int error = hold_pass(map, start, npages, pass == 0 ? 0 : VM_FAULT_AGAIN, hold);
        if (error != VM_FAULT_WOULD_SLEEP)
            return error;
        vm_offset_t at = start + ptoa(hold->npages);
        fl_unhold(hold);
        /* What came in may be gone again because reads in flight, which no thread drives, fill memory. */
        if (pass > 0 && vm_pageout_is_short())
            (void)!vm_pager_wait_any();
        error = hold_fault_in(map, at, start + ptoa(npages), hold->access);
        if (error != 0)
            return error;
    }
    return npages > 1 ? -EAGAIN : hold_pages(map, start, npages, VM_FAULT_AGAIN, hold);
}

int fl_hold(struct vm_map *map, vm_offset_t va, size_t len_bytes, vm_prot_t access, struct fl_hold *hold)
{
    hold->npages = 0;
    hold->access = access;
    if (len_bytes == 0)
        return 0;
    if (va + len_bytes < va)
        return -EFAULT;
    vm_offset_t start = trunc_page(va), last = trunc_page(va + len_bytes - 1);
    if (atop(last - start) >= FL_HOLD_MAX)
        return -EINVAL;
    return hold_range(map, start, atop(last - start) + 1, hold);
}

void fl_unhold(struct fl_hold *hold)
{
    for (uint32_t i = 0; i < hold->npages; i++)
        vm_page_unhold(hold->page[i]);
    hold->npages = 0;
}
