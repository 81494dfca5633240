/*
 * vm_hold.c: pages that a system call of the host is going to touch, kept resident and mapped while it
 * runs.
 *
 *   fl_hold ─▶ vm_fault_hold(VM_FAULT_HOLD) for each page ─▶ hold_count + 1 ─▶ (the system call) ─▶ fl_unhold
 *
 * A held page is neither paged out nor write-protected (vm_page.h, hold_count), so the host's kernel,
 * which cannot take our faults, finds it. What holds cannot stop is the
 * program itself: unmapping or truncating what it handed to a system call ends as under any kernel.
 * (vm_fault_quick_hold_pages, FreeBSD 11.)
 */
#include "lib/errno.h"
#include "vm/vm_fault.h"
#include <faultline/vm.h>

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
    for (vm_offset_t at = start; at <= last; at += VM_PAGE_SIZE) {
        struct vm_page *m = NULL;
        int error = vm_fault_hold(map, at, access, VM_FAULT_HOLD, &m);
        if (error != 0) {
            fl_unhold(hold);
            return error;
        }
        hold->page[hold->npages++] = m;
    }
    return 0;
}

void fl_unhold(struct fl_hold *hold)
{
    for (uint32_t i = 0; i < hold->npages; i++) {
        struct vm_page *m = hold->page[i];
        struct vm_object *object = m->object; /* stays: a held page keeps its identity */
        vm_lock(&object->lock);
        vm_page_unhold(m);
        vm_unlock(&object->lock);
    }
    hold->npages = 0;
}
