/*
 * space.c: address spaces as a host sees them: made, ended, listed, and ranges set aside for somebody else.
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "vm/vm_map.h"

int fl_space_create(vm_offset_t start, vm_offset_t end, struct vm_map **map)
{
    if (((start | end) & VM_PAGE_MASK) != 0 || start >= end)
        return -EINVAL;
    return vm_map_create(start, end, map);
}

void fl_space_destroy(struct vm_map *map)
{
    vm_map_destroy(map);
}

struct machine_space *fl_space_machine(struct vm_map *map)
{
    return map->space;
}

void fl_space_set_brk(struct vm_map *map, vm_offset_t start, vm_offset_t limit)
{
    vm_map_lock(map);
    map->brk_start = map->brk = start;
    map->brk_limit = limit;
    vm_map_unlock(map);
}

int fl_space_reserve(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
    int error;

    vm_map_lock(map);
    error = vm_map_insert(map, NULL, 0, start, end, VM_PROT_NONE, VM_PROT_NONE, MAP_ENTRY_RESERVED);
    vm_map_unlock(map);
    return error;
}

/* Who is at the bottom of the entry's chain. */
static void region_source(const struct vm_map_entry *entry, struct fl_region *region)
{
    const struct vm_object *object = entry->object;
    vm_pindex_t pindex = entry->pindex;

    while (object != NULL && object->backing_object != NULL) {
        pindex += object->backing_pindex;
        object = object->backing_object;
    }
    region->vnode = object != NULL && object->type == OBJT_VNODE ? object->vnode : NULL;
    region->offset = region->vnode != NULL ? ptoa(pindex) : 0;
}

int fl_space_region(struct vm_map *map, vm_offset_t va, struct fl_region *region)
{
    const struct vm_map_entry *entry;
    int error = 0;

    vm_map_lock_read(map);
    entry = vm_map_first_after(map, va);
    if (entry == &map->header) {
        error = -ENOENT;
    } else {
        region->start = entry->start;
        region->end = entry->end;
        region->prot = entry->protection;
        region->max_prot = entry->max_protection;
        region->reserved = (entry->eflags & MAP_ENTRY_RESERVED) != 0;
        region->shared = (entry->eflags & (MAP_ENTRY_COW | MAP_ENTRY_RESERVED)) == 0;
        region->wired = (entry->eflags & MAP_ENTRY_WIRED) != 0;
        region_source(entry, region);
        region->anonymous = region->vnode == NULL && !region->reserved;
    }
    vm_map_unlock_read(map);
    return error;
}
