/*
 * brk.c: brk: the end of the heap.
 *
 *     brk_start ──────── brk ─ ─ ─ ─ ─ brk_limit     [brk_start, round_page(brk)): private anonymous memory
 *
 * As on Linux, the heap stays one page away from what is mapped above it, and a call that is refused returns
 * the old break. Lock: (M).
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "vm/vm_map.h"

/* Maps [old_end, new_end), the new part of the heap. Errors: -ENOMEM. */
static int brk_grow(struct vm_map *map, vm_offset_t old_end, vm_offset_t new_end) FL_REQUIRES(map->lock)
{
    vm_offset_t limit = new_end + VM_PAGE_SIZE;
    const struct vm_map_entry *above = vm_map_first_after(map, old_end);

    if (above != &map->header && above->start < limit)
        return -ENOMEM;
    return vm_map_insert(map, NULL, 0, old_end, new_end, VM_PROT_READ | VM_PROT_WRITE, VM_PROT_ALL,
                         MAP_ENTRY_COW);
}

vm_offset_t fl_sys_brk(struct vm_map *map, vm_offset_t addr)
{
    vm_offset_t old_end, new_end, result;
    int error = 0;

    vm_map_lock(map);
    old_end = round_page(map->brk);
    new_end = round_page(addr);
    if (addr < map->brk_start || addr > map->brk_limit)
        error = -ENOMEM;
    else if (new_end < old_end)
        error = vm_map_delete(map, new_end, old_end);
    else if (new_end > old_end)
        error = brk_grow(map, old_end, new_end);
    if (error == 0)
        map->brk = addr;
    result = map->brk;
    vm_map_unlock(map);
    return result;
}
