/*
 * brk.c: brk: the end of the heap.
 *
 *     brk_start ──────── brk ─ ─ ─ ─ ─ brk_limit     [brk_start, round_page(brk)): private anonymous memory
 *
 * As on Linux, the heap stays one page away from what is mapped above it, and from the guard gap of a stack
 * there; and a call that is refused returns the old break. Lock: (M); none while the growth is filled.
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "sys/range.h"
#include "vm/vm_commit.h"

#define BRK_PROT (VM_PROT_READ | VM_PROT_WRITE)

/*
 * Maps [start, end), the new part of the heap. Where it continues the heap, that becomes longer, and nothing
 * is allocated (vm_map_insert). Errors: -ENOMEM, -EAGAIN; nothing changed.
 */
static int do_brk_flags(struct vm_map *map, vm_offset_t start, vm_offset_t end) FL_REQUIRES(map->lock)
{
    const struct vm_map_entry *above = vm_map_first_after(map, start);
    vm_offset_t distance = above == &map->header ? 0 : VM_PAGE_SIZE;

    if (vm_start_gap(above) < end + distance)
        return -ENOMEM;
    if (map->wire_future && !mlock_future_ok(map, end - start))
        return -EAGAIN;
    if (!may_expand_vm(map, vm_map_is_data(MAP_ENTRY_COW, BRK_PROT), end - start))
        return -ENOMEM;
    if (!vm_commit_reserve(atop(end - start)))
        return -ENOMEM;
    int error = vm_map_insert(map, NULL, 0, start, end, BRK_PROT, VM_PROT_ALL, MAP_ENTRY_COW);
    vm_commit_release(atop(end - start));
    return error;
}

vm_offset_t fl_sys_brk(struct vm_map *map, vm_offset_t addr)
{
    vm_offset_t old_end, new_end, result;
    bool wire = false;
    int error = 0;

    vm_map_lock(map);
    old_end = round_page(map->brk);
    new_end = round_page(addr);
    if (addr < map->brk_start || addr > map->brk_limit || addr - map->brk_start > map->limits.data_bytes)
        error = -ENOMEM;
    else if (new_end < old_end)
        error = vm_map_delete(map, new_end, old_end);
    else if (new_end > old_end)
        error = do_brk_flags(map, old_end, new_end);
    if (error == 0) {
        wire = map->wire_future && new_end > old_end;
        map->brk = addr;
    }
    result = map->brk;
    vm_map_unlock(map);
    if (wire)
        mm_populate(map, old_end, new_end, VM_PROT_NONE, true);
    return result;
}
