/*
 * mlock.c: mlock and munlock: pages that stay in memory.
 *
 * Addresses are rounded to pages, as on Linux. Differences: nothing stays locked when mlock fails; there is
 * no RLIMIT_MEMLOCK here, the host has it.
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "sys/range.h"

/* [*start, *end): the whole pages around the range. False: beyond 2^64. */
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
    /* What the access would say as a signal, mlock says as -ENOMEM; no memory to lock is -EAGAIN. */
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
