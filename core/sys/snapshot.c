/*
 * snapshot.c: fl_sys_snapshot: a copy of a mapped range that stays as it is. The arguments are checked here;
 * vm_map_snapshot does it. Lock: (M), taken there.
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "sys/range.h"

int64_t fl_sys_snapshot(struct vm_map *map, vm_offset_t addr, size_t len_bytes)
{
    vm_offset_t end, copy;
    if ((addr & VM_PAGE_MASK) != 0 || len_bytes == 0 || !sys_range_end(addr, len_bytes, &end))
        return -EINVAL;
    int error = vm_map_snapshot(map, addr, end, &copy);
    return error != 0 ? error : (int64_t)copy;
}
