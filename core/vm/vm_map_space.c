/*
 * vm_map_space.c: the map as a whole: how it begins and ends, its lock, the deleted entries that are freed
 * when the lock is released, and waiting for entries in transition.
 *
 *   vm_map_delete ──▶ map->dead ──vm_map_unlock──▶ references to objects dropped, entries freed
 *                     with (M)                     without any lock: the last reference may write and sleep
 *
 * Invariants: AM8, AM9 (vm_map.h).
 * Locks: (M); vm_maps_lock, for the list of all maps, a leaf; map->transition_lock (T), a leaf.
 *
 * Does not do: entries (vm_map.c).
 */
#include "vm/vm_map_entry.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/vm_commit.h"
#include "vm/vm_prefaultd.h"
#include "vm/vm_rmap.h"

static struct vm_zone vm_map_zone;
static struct vm_lock vm_maps_lock;
static struct vm_map *vm_maps FL_GUARDED_BY(vm_maps_lock);

void vm_map_startup(void)
{
    __builtin_memset(&vm_maps_lock, 0, sizeof(vm_maps_lock));
    __builtin_memset(&vm_rmap_lock, 0, sizeof(vm_rmap_lock));
    vm_lock(&vm_maps_lock);
    vm_maps = NULL;
    vm_unlock(&vm_maps_lock);
    vm_zone_init(&vm_map_zone, "vm_map", sizeof(struct vm_map));
    vm_map_entry_zone_startup();
}

int vm_map_create(vm_offset_t min, vm_offset_t max, struct vm_map **map)
{
    struct vm_map *new = vm_zone_alloc(&vm_map_zone);
    int error;

    if (new == NULL)
        return -ENOMEM;
    error = machine_space_create(min, max, &new->space);
    if (error != 0) {
        vm_zone_free(&vm_map_zone, new);
        return error;
    }
    new->min_offset = min;
    new->max_offset = new->mmap_base = max;
    new->limits = (struct fl_space_limits){FL_NO_LIMIT, FL_NO_LIMIT, VM_STACK_LIMIT, FL_NO_LIMIT};
    new->tree.summarize = vm_map_entry_set_max_free;
    new->header.map = new;
    new->header.next = new->header.prev = &new->header;
    new->header.start = max;
    new->header.end = min;
    new->header.adj_free = max - min;

    vm_lock(&vm_maps_lock);
    new->all_next = vm_maps;
    vm_maps = new;
    vm_unlock(&vm_maps_lock);
    *map = new;
    return 0;
}

void vm_map_destroy(struct vm_map *map)
{
    struct vm_map **link;
    int error;

    vm_prefaultd_forget(map);
    vm_map_lock(map);
    error = vm_map_delete(map, map->min_offset, map->max_offset);
    /* No entry crosses the map's ends, so no clip needed memory. */
    KASSERT(error == 0 && map->nentries == 0, "AM6");
    vm_map_unlock(map);

    vm_lock(&vm_maps_lock);
    for (link = &vm_maps; *link != map; link = &(*link)->all_next)
        KASSERT(*link != NULL, "AM9");
    *link = map->all_next;
    vm_unlock(&vm_maps_lock);
    machine_space_destroy(map->space);
    vm_rwlock_destroy(&map->lock);
    vm_zone_free(&vm_map_zone, map);
}

/* ---- the lock ----------------------------------------------------------------------------------------- */

void vm_map_lock(struct vm_map *map)
{
    vm_rwlock_write(&map->lock);
    map->timestamp++;
}

/*
 * Drops a deleted entry's reference, and frees the entry. Other entries may keep the object of a private
 * mapping alive: the pages of the deleted range are freed all the same, if nothing shows them any more.
 * Shared memory keeps its pages as long as it has a reference. No lock held.
 */
static void vm_map_entry_release(struct vm_map_entry *entry)
{
    struct vm_object *object = entry->object;

    if (object != NULL) {
        vm_pindex_t end = entry->pindex + vm_map_entry_npages(entry);

        if ((entry->eflags & MAP_ENTRY_COW) != 0 && object->type == OBJT_SWAP &&
            !vm_rmap_mapped(object, entry->pindex, end)) {
            vm_lock(&object->lock);
            vm_object_page_remove(object, entry->pindex, end, false);
            vm_unlock(&object->lock);
        }
        vm_object_deallocate(object);
    }
    vm_map_entry_dispose(entry);
}

static void vm_map_process_deferred(struct vm_map_entry *dead)
{
    while (dead != NULL) {
        struct vm_map_entry *next = dead->next;

        vm_map_entry_release(dead);
        dead = next;
    }
}

void vm_map_unlock(struct vm_map *map)
{
    struct vm_map_entry *dead = map->dead;

    map->dead = NULL;
    vm_rwlock_write_done(&map->lock);
    vm_map_process_deferred(dead);
}

void vm_map_lock_read(struct vm_map *map)
{
    vm_rwlock_read(&map->lock);
}

void vm_map_unlock_read(struct vm_map *map)
{
    vm_rwlock_read_done(&map->lock);
}

/* ---- transition --------------------------------------------------------------------------------------- */

static bool vm_map_in_transition(struct vm_map *map, vm_offset_t start, vm_offset_t end)
    FL_REQUIRES_SHARED(map->lock)
{
    struct vm_map_entry *entry;

    for (entry = vm_map_first_after(map, start); entry != &map->header && entry->start < end;
         entry = entry->next) {
        if ((entry->eflags & MAP_ENTRY_IN_TRANSITION) != 0)
            return true;
    }
    return false;
}

/*
 * The count is read with (M) held, and changes only with (M) exclusive: so no change after our release of (M)
 * is missed. The loop ends, because a thread that wires a range finishes without waiting for other
 * transitions.
 */
void vm_map_wait_transition(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
    while (vm_map_in_transition(map, start, end)) {
        uint32_t before;

        vm_lock(&map->transition_lock);
        before = map->transitions;
        vm_unlock(&map->transition_lock);
        vm_map_unlock(map);
        vm_lock(&map->transition_lock);
        while (map->transitions == before)
            vm_sleep(map, &map->transition_lock);
        vm_unlock(&map->transition_lock);
        vm_map_lock(map);
    }
}

void vm_map_wakeup_transition(struct vm_map *map)
{
    vm_lock(&map->transition_lock);
    map->transitions++;
    vm_unlock(&map->transition_lock);
    machine_wake(map);
}

void vm_map_check_all(void)
{
    struct vm_map *map;

    vm_lock(&vm_maps_lock);
    map = vm_maps;
    vm_unlock(&vm_maps_lock);
    uint64_t committed = vm_object_check_promised(), limit;
    for (; map != NULL; map = map->all_next) {
        vm_map_check(map);
        committed += vm_map_check_committed(map);
    }
    KASSERT(committed == vm_committed(&limit), "CM1");
}
