/*
 * space.c: address spaces as the host of the core sees them: creating and destroying them, their limits,
 * setting ranges aside that the VM must not use, and listing what is mapped. Locks: (M); (O) below it.
 */
#include <faultline/vm.h>
#include "file/vnode.h"
#include "lib/errno.h"
#include "vm/swap_pager.h"
#include "vm/vm_map.h"

int fl_space_create(vm_offset_t start, vm_offset_t end, struct vm_map **map)
{
    if (((start | end) & VM_PAGE_MASK) != 0 || start >= end)
        return -EINVAL;
    return vm_map_create(start, end, map);
}

int fl_space_fork(struct vm_map *map, struct vm_map **child)
{
    return vmspace_fork(map, child);
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

void fl_space_set_mmap_base(struct vm_map *map, vm_offset_t base)
{
    vm_map_lock(map);
    map->mmap_base = trunc_page(base);
    vm_map_unlock(map);
}

void fl_space_set_limits(struct vm_map *map, const struct fl_space_limits *limits)
{
    vm_map_lock(map);
    map->limits = *limits;
    vm_map_unlock(map);
}

void fl_space_get_limits(struct vm_map *map, struct fl_space_limits *limits)
{
    vm_map_lock_read(map);
    *limits = map->limits;
    vm_map_unlock_read(map);
}

void fl_space_usage(struct vm_map *map, struct fl_space_usage *usage)
{
    vm_map_lock_read(map);
    *usage = (struct fl_space_usage){map->size_bytes, map->data_bytes, map->locked_bytes};
    vm_map_unlock_read(map);
}

int fl_space_reserve(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
    int error;

    vm_map_lock(map);
    error = vm_map_insert(map, NULL, 0, start, end, VM_PROT_NONE, VM_PROT_NONE, MAP_ENTRY_RESERVED);
    vm_map_unlock(map);
    return error;
}

/* The file at the end of the entry's chain, and the entry's offset in it. (M) shared. */
static void region_source(const struct vm_map_entry *entry, struct fl_region *region)
{
    vm_pindex_t pindex = entry->pindex;
    const struct vm_object *object = vm_object_bottom(entry->object, &pindex);

    region->vnode = object != NULL && vm_object_is_file(object) ? vm_object_vnode(object) : NULL;
    region->offset = region->vnode != NULL ? ptoa(pindex) : 0;
}

static enum fl_inherit region_inherit(const struct vm_map_entry *entry)
{
    if ((entry->inheritance & VM_INHERIT_NONE) != 0)
        return FL_INHERIT_NONE;
    if ((entry->inheritance & VM_INHERIT_ZERO) != 0)
        return FL_INHERIT_ZERO;
    return (entry->eflags & MAP_ENTRY_COW) != 0 ? FL_INHERIT_COPY : FL_INHERIT_SHARE;
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
        region->inherit = region_inherit(entry);
        region_source(entry, region);
        region->anonymous = region->vnode == NULL && !region->reserved;
    }
    vm_map_unlock_read(map);
    return error;
}

/*
 * *pindex: the first page at or behind it that the shadow has, in memory or in swap space; clean copies of
 * pages behind it are not counted. False: there is none. (O).
 */
static bool shadow_own_page(const struct vm_object *object, vm_pindex_t *pindex) FL_REQUIRES(object->lock)
{
    vm_pindex_t swapped = *pindex;
    bool found = swap_pager_next(object, &swapped);
    const struct vm_page *m = vm_page_find_least(object, *pindex);
    while (m != NULL && ((m->flags & PG_VALID) == 0 || (m->flags & PG_COPY) != 0))
        m = vm_page_find_least(object, m->pindex + 1);
    if (m != NULL && (!found || m->pindex < swapped)) {
        found = true;
        swapped = m->pindex;
    }
    *pindex = swapped;
    return found;
}

/* *found: the first page of [start, end), which lies in the entry, that the entry's own shadow has. False:
 * there is none. (M) shared. */
static bool entry_private_page(const struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end,
                               vm_offset_t *found)
{
    struct vm_object *object = entry->object;
    const vm_pindex_t first = entry->pindex + atop(start - entry->start);
    const vm_pindex_t last = entry->pindex + atop(end - entry->start);
    vm_pindex_t own = first;

    if (object == NULL || (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0 ||
        ((entry->eflags & MAP_ENTRY_COW) == 0 && vm_object_is_file(object)))
        return false;
    vm_lock(&object->lock);
    bool has = shadow_own_page(object, &own) && own < last;
    if (has)
        *found = start + ptoa(own - first);
    vm_unlock(&object->lock);
    return has;
}

int fl_space_private_page(struct vm_map *map, vm_offset_t va, vm_offset_t end, vm_offset_t *found)
{
    const struct vm_map_entry *entry;
    int error = -ENOENT;

    vm_map_lock_read(map);
    for (entry = vm_map_first_after(map, va); error != 0 && entry != &map->header && entry->start < end;
         entry = entry->next) {
        vm_offset_t from = entry->start > va ? entry->start : va;
        vm_offset_t to = entry->end < end ? entry->end : end;

        if (entry_private_page(entry, from, to, found))
            error = 0;
    }
    vm_map_unlock_read(map);
    return error;
}
