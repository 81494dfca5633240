/*
 * mlock.c: mlock and munlock: pages that stay in memory.
 *
 * Addresses are rounded to pages, as on Linux. Two differences: an mlock that fails locks nothing, and the
 * limit on locked memory (RLIMIT_MEMLOCK, Linux) is the host's business. Locks: those of vm_map_wire.
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "sys/range.h"

/* [*start, *end): the whole pages that the range touches. False: they end beyond 2^64. */
static bool mlock_round(vm_offset_t addr, size_t len_bytes, vm_offset_t *start, vm_offset_t *end)
{
    size_t head = (size_t)(addr & VM_PAGE_MASK);

    *start = trunc_page(addr);
    return len_bytes + head >= len_bytes && sys_range_end(*start, len_bytes + head, end);
}

int fl_sys_mlock(struct vm_map *map, vm_offset_t addr, size_t len_bytes)
{
    vm_offset_t start, end;
    int error;

    if (!mlock_round(addr, len_bytes, &start, &end))
        return -EINVAL;
    if (start == end)
        return 0;
    error = vm_map_wire(map, start, end);
    /*
     * Where an access would raise a signal, mlock says -ENOMEM. Without memory for the pages it says -EAGAIN.
     */
    return error == 0 || error == -EAGAIN ? error : -ENOMEM;
}

int fl_sys_munlock(struct vm_map *map, vm_offset_t addr, size_t len_bytes)
{
    vm_offset_t start, end;

    if (!mlock_round(addr, len_bytes, &start, &end))
        return -EINVAL;
    if (start == end)
        return 0;
    return vm_map_unwire(map, start, end);
}
