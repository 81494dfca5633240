/*
 * vm_map_snapshot.c: a copy of a range at another place of the same map, which can only be read, and stays
 * what it is.
 *
 *   entry                                its copy in the snapshot
 *   untouched                            an empty object: zeros
 *   with an object                       a shadow over that, which keeps what it shows (vm_object_snapshot.c)
 *   of a snapshot                        the same object
 *
 *   (M): entries, all in transition ─▶ unlocked: what is behind the shadows is covered ─▶ (M): the end of
 *   the transition
 *
 * The original stays as it is, and goes on with its own pages: the snapshot gets the copies. So when the
 * snapshot is given up nothing has to be put together again, as it has after a fork. The copies are
 * NEEDS_COPY, so a fork shares them, wired or not. Every page of a snapshot may have to be copied one day:
 * all of it is promised (vm_commit.h).
 *
 * Locks: (M), then (O), (R). No thread sees a snapshot change: until it is complete its entries are in
 * transition, and its address is known to nobody.
 *
 * Loops: a try fails only because another thread has cut a file off meanwhile.
 */
#include "vm/vm_map_entry.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/vm_commit.h"

/* Is all of [start, end) mapped, and can it be read? Errors: -ENOMEM, -EACCES. */
static int snapshot_check(struct vm_map *map, vm_offset_t start, vm_offset_t end)
    FL_REQUIRES_SHARED(map->lock)
{
    const struct vm_map_entry *entry = vm_map_first_after(map, start);
    for (vm_offset_t va = start; va < end; va = entry->end, entry = entry->next) {
        if (entry == &map->header || entry->start > va || (entry->eflags & MAP_ENTRY_RESERVED) != 0)
            return -ENOMEM;
        if (vm_map_prot_rights(entry->protection) == VM_PROT_NONE)
            return -EACCES;
    }
    return 0;
}

/* *object, from *pindex on: what the copy of the entry shows, with a reference. Errors: -ENOMEM. */
static int snapshot_object(const struct vm_map_entry *entry, struct vm_object **object, vm_pindex_t *pindex)
{
    vm_pindex_t npages = vm_map_entry_npages(entry);
    *object = entry->object;
    *pindex = entry->pindex;
    if (*object == NULL) {
        *pindex = 0;
        *object = vm_object_allocate(OBJT_SWAP, npages, NULL);
        return *object == NULL ? -ENOMEM : 0;
    }
    vm_object_reference(*object);
    if ((entry->eflags & MAP_ENTRY_SNAPSHOT) != 0)
        return 0;
    int error = vm_object_snapshot(object, pindex, npages);
    if (error != 0)
        vm_object_drop(*object);
    return error;
}

/*
 * Copies the entries of [start, end), which are clipped, to where `delta` says. Errors: -ENOMEM; a part is.
 */
static int snapshot_entries(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t delta)
    FL_REQUIRES(map->lock)
{
    const unsigned eflags = MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY | MAP_ENTRY_SNAPSHOT |
                            MAP_ENTRY_IN_TRANSITION | MAP_INSERT_COMMITTED;
    int error = 0;
    for (vm_offset_t va = start, stop; error == 0 && va < end; va = stop) {
        const struct vm_map_entry *entry = vm_map_first_after(map, va);
        struct vm_object *object;
        vm_pindex_t pindex;
        stop = entry->end;
        error = snapshot_object(entry, &object, &pindex);
        if (error != 0)
            break;
        error =
            vm_map_insert(map, object, pindex, va + delta, stop + delta, VM_PROT_READ, VM_PROT_READ, eflags);
        if (error != 0)
            vm_object_drop(object);
    }
    return error;
}

/*
 * The snapshot's entries in [start, end) leave transition, and stay or go. Those of the original, `delta`
 * bytes before, merge again.
 */
static void snapshot_end(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t delta, bool stay)
    FL_REQUIRES(map->lock)
{
    struct vm_map_entry *entry = vm_map_first_after(map, start);
    for (; entry != &map->header && entry->start < end; entry = entry->next)
        entry->eflags &= (uint8_t)~MAP_ENTRY_IN_TRANSITION;
    vm_map_wakeup_transition(map);
    int error = stay ? 0 : vm_map_delete(map, start, end);
    KASSERT(error == 0, "AM10"); /* no entry is clipped */
    if (stay)
        vm_map_simplify_range(map, start, end);
    vm_map_simplify_range(map, start - delta, end - delta);
}

/* *copy: where the snapshot begins, all of it in transition. Errors: as vm_map_snapshot; nothing is there. */
static int snapshot_begin(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t *copy)
    FL_REQUIRES(map->lock)
{
    struct vm_map_entry *first;
    vm_map_wait_transition(map, start, end);
    int error = snapshot_check(map, start, end);
    if (error == 0)
        error = get_unmapped_area(map, 0, end - start, copy);
    if (error == 0 && (!may_expand_vm(map, false, end - start) || !vm_commit_reserve(atop(end - start))))
        error = -ENOMEM;
    if (error != 0)
        return error;
    error = vm_map_clip_range(map, start, end, &first);
    if (error == 0) {
        error = snapshot_entries(map, start, end, *copy - start);
        if (error != 0)
            snapshot_end(map, *copy, *copy + (end - start), *copy - start, false);
    }
    vm_commit_release(atop(end - start));
    return error;
}

/* The object of the entry at va, with a reference; *stop: where the entry ends. (M) is taken. */
static struct vm_object *snapshot_at(struct vm_map *map, vm_offset_t va, vm_offset_t *stop)
{
    struct vm_map_entry *entry;
    vm_map_lock_read(map);
    bool found = vm_map_lookup_entry(map, va, &entry);
    KASSERT(found && entry->object != NULL && (entry->eflags & MAP_ENTRY_IN_TRANSITION) != 0, "AM10");
    struct vm_object *object = entry->object;
    vm_object_reference(object);
    *stop = entry->end;
    vm_map_unlock_read(map);
    return object;
}

/* One try. Errors: as vm_map_snapshot; -ENXIO, a file became shorter meanwhile. */
static int snapshot_try(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t *copy)
{
    vm_map_lock(map);
    int error = snapshot_begin(map, start, end, copy);
    vm_map_unlock(map);
    if (error != 0)
        return error;
    vm_offset_t copy_end = *copy + (end - start);
    for (vm_offset_t va = *copy, stop; error == 0 && va < copy_end; va = stop) {
        struct vm_object *object = snapshot_at(map, va, &stop);
        error = vm_object_cover(object);
        vm_object_deallocate(object);
    }
    vm_map_lock(map);
    snapshot_end(map, *copy, copy_end, *copy - start, error == 0);
    vm_map_unlock(map);
    return error;
}

int vm_map_snapshot(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t *copy)
{
    int error;
    do
        error = snapshot_try(map, start, end, copy);
    while (error == -ENXIO);
    return error;
}
