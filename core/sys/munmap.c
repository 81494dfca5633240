/*
 * munmap.c: munmap: removes the mappings of a range. Gaps are no error, as on Linux. Lock: (M).
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "sys/range.h"

int fl_sys_munmap(struct vm_map *map, vm_offset_t addr, size_t len_bytes)
{
    vm_offset_t end;
    int error;

    if ((addr & VM_PAGE_MASK) != 0 || len_bytes == 0)
        return -EINVAL;
    if (!sys_range_end(addr, len_bytes, &end) || end > map->max_offset)
        return -EINVAL;
    vm_map_lock(map);
    error = vm_map_delete(map, addr, end);
    vm_map_unlock(map);
    return error;
}
