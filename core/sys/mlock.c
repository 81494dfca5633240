/*
 * mlock.c: mlock, mlockall and their opposites: pages that stay in memory.
 *
 *     mlock        a range, all of it or nothing          vm_map_wire
 *     mlockall     CURRENT: what is mapped, as far as     vm_map_wire_all
 *                  its pages can be had
 *                  FUTURE: what is mapped later           map->wire_future: mmap and brk wire it
 *
 * Addresses are rounded to pages, as on Linux, and errors are Linux's. Two differences: an mlock that fails
 * locks nothing, and what is to be locked when it is touched (MLOCK_ONFAULT, MCL_ONFAULT) is brought in now.
 * Locks: those of vm_map_wire.
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

/* May the space lock anything? (can_do_mlock, Linux.) */
static bool can_do_mlock(struct vm_map *map)
{
    struct fl_space_limits limits;

    fl_space_get_limits(map, &limits);
    return limits.memlock_bytes != 0;
}

int fl_sys_mlock(struct vm_map *map, vm_offset_t addr, size_t len_bytes)
{
    return fl_sys_mlock2(map, addr, len_bytes, 0);
}

int fl_sys_mlock2(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int flags)
{
    vm_offset_t start, end;
    int error;

    if ((flags & ~FL_MLOCK_ONFAULT) != 0)
        return -EINVAL;
    if (!can_do_mlock(map))
        return -EPERM;
    if (!mlock_round(addr, len_bytes, &start, &end))
        return -EINVAL;
    if (start == end)
        return 0;
    error = vm_map_wire(map, start, end, 0);
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

int fl_sys_mlockall(struct vm_map *map, int flags)
{
    bool current = (flags & FL_MCL_CURRENT) != 0, fits;

    if ((flags & ~(FL_MCL_CURRENT | FL_MCL_FUTURE | FL_MCL_ONFAULT)) != 0 ||
        (flags & (FL_MCL_CURRENT | FL_MCL_FUTURE)) == 0)
        return -EINVAL;
    if (!can_do_mlock(map))
        return -EPERM;
    vm_map_lock(map);
    fits = !current || mlock_future_ok(map, map->size_bytes - map->locked_bytes);
    if (fits)
        map->wire_future = (flags & FL_MCL_FUTURE) != 0;
    vm_map_unlock(map);
    if (!fits)
        return -ENOMEM;
    return current ? vm_map_wire_all(map) : 0;
}

int fl_sys_munlockall(struct vm_map *map)
{
    int error;

    vm_map_lock(map);
    map->wire_future = false;
    vm_map_unlock(map);
    error = vm_map_unwire(map, map->min_offset, map->max_offset);
    return error == -ENOMEM ? 0 : error; /* a gap: nothing is clipped, so no memory is needed */
}
