/*
 * vm_hold.c: pages that a system call of the host is going to touch, kept resident and mapped while it
 * runs.
 *
 *   fl_hold ─▶ hold_pass: each page, without sleep ── all of them ─▶ held ─▶ (the system call) ─▶ fl_unhold
 *       ▲          │ one would sleep
 *       │          ▼
 *       │      all let go ─▶ hold_fault_in: that one and those behind it, not held, sleeping as need be
 *       └──────────┘ again, HOLD_PASSES times; then -EAGAIN. A single page may be slept for: nothing is held.
 *
 * A held page is neither paged out nor write-protected (vm_page.h), so the host's kernel, which cannot take
 * our faults, finds it. A hold lasts as long as a system call of the program; so two rules keep it from
 * stopping anybody else (docs/locking.md):
 *
 *   - Who holds pages does not sleep for another one: not for whoever reads it in, punches, truncates or
 *     frees memory, any of whom might want the pages that are held already.
 *   - Nobody waits for a held page. What the program does to its own memory and files beside the call happens
 *     at once, and the page is left to its last user.
 *
 * So a hold does not promise that the memory stays: a program that unmaps or cuts off what it handed to a
 * system call gets what it gets under any kernel.
 *
 * Does not do: throttling of who dirties a held page, but for what hold_fault_in does before.
 * (vm_fault_quick_hold_pages, FreeBSD 11: whose first part does not sleep either, but keeps what it has.)
 */
#include "lib/errno.h"
#include "vm/vm_fault.h"
#include "vm/vm_page.h"
#include <faultline/vm.h>

#define HOLD_PASSES                                                                                          \
    4 /* what was faulted in may be gone again before it is held: memory is short, or others punch */

/*
 * Holds the pages from hold->npages on, up to npages. Errors: as fl_fault; VM_FAULT_WOULD_SLEEP if flags say
 * so.
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

/* All pages at once, or none. */
static int hold_pass(struct vm_map *map, vm_offset_t start, size_t npages, unsigned flags,
                     struct fl_hold *hold)
{
    int error = hold_pages(map, start, npages, VM_FAULT_NOWAIT | flags, hold);
    if (error < 0)
        fl_unhold(hold);
    return error;
}

/* The pages of [at, end) come in, and may go again. */
static int hold_fault_in(struct vm_map *map, vm_offset_t at, vm_offset_t end, vm_prot_t access)
{
    int error = 0;
    for (; error == 0 && at < end; at += VM_PAGE_SIZE)
        error = vm_fault(map, at, access, VM_FAULT_NORMAL);
    return error;
}

static int hold_range(struct vm_map *map, vm_offset_t start, size_t npages, struct fl_hold *hold)
{
    for (unsigned pass = 0; pass < HOLD_PASSES; pass++) {
        int error = hold_pass(map, start, npages, pass == 0 ? 0 : VM_FAULT_AGAIN, hold);
        if (error != VM_FAULT_WOULD_SLEEP)
            return error;
        vm_offset_t at = start + ptoa(hold->npages);
        fl_unhold(hold);
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
