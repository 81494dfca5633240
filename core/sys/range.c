/*
 * range.c: the steps of range.h.
 *
 *     sys_walk_next ─▶ (M) shared: the first entry after va, cut to [va, end), and a reference ─▶ unlocked
 *
 * Locks: (M) shared, then (O), in sys_walk_next only.
 */
#include "sys/range.h"
#include "file/vnode.h"
#include "vm/vm_fault.h"

bool sys_walk_next(struct sys_walk *walk, struct sys_range *range)
{
    struct vm_map *map = walk->map;
    struct vm_map_entry *entry;
    bool found;

    vm_map_lock_read(map);
    entry = vm_map_first_after(map, walk->va);
    while (entry != &map->header && (entry->eflags & MAP_ENTRY_RESERVED) != 0)
        entry = entry->next;
    found = walk->va < walk->end && entry != &map->header && entry->start < walk->end;
    if (found) {
        range->start = entry->start > walk->va ? entry->start : walk->va;
        range->end = entry->end < walk->end ? entry->end : walk->end;
        range->object = entry->object;
        range->pindex = vm_map_entry_pindex(entry, range->start);
        range->protection = entry->protection;
        range->max_protection = entry->max_protection;
        range->eflags = entry->eflags;
        if (range->object != NULL)
            vm_object_reference(range->object);
    }
    vm_map_unlock_read(map);
    if (walk->va < (found ? range->start : walk->end))
        walk->gap = true;
    walk->va = found ? range->end : walk->end;
    return found;
}

void sys_range_done(struct sys_range *range)
{
    if (range->object != NULL)
        vm_object_deallocate(range->object);
    range->object = NULL;
}

struct vm_object *sys_range_file(const struct sys_range *range, vm_pindex_t *pindex)
{
    struct vm_object *object;

    *pindex = range->pindex;
    object = vm_object_bottom(range->object, pindex);
    return object != NULL && vm_object_is_file(object) ? object : NULL;
}

bool sys_range_end(vm_offset_t addr, size_t len_bytes, vm_offset_t *end)
{
    vm_offset_t size = round_page((vm_offset_t)len_bytes);

    *end = addr + size;
    return size >= len_bytes && *end >= addr;
}

int sys_populate(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t access)
{
    vm_offset_t va;
    int error = 0;

    for (va = start; va < end && error == 0; va += VM_PAGE_SIZE)
        error = vm_fault(map, va, access, VM_FAULT_NORMAL);
    return error;
}

void mm_populate(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t access, bool wire)
{
    if (wire)
        (void)!vm_map_wire(map, start, end, VM_MAP_WIRE_REACHABLE);
    else if (access != VM_PROT_NONE)
        (void)!sys_populate(map, start, end, access);
}
