/*
 * vm_map_protect.c: protections, behaviours and inheritance of ranges (mprotect, madvise).
 *
 *     [start ──────────────── end)
 *     ├ clip ─ change ─ … ─ clip ┤    then neighbours that became equal merge again
 *
 * As on Linux, the part before the place that fails is changed.
 * Invariants: AM3, AM7, AM11 (vm_map.h). Lock: (M).
 * Does not do: wiring, with one exception: private pages that were wired read-only and may now be written are
 * wired again, as copies of their own.
 */
#include "vm/vm_map_entry.h"
#include "vm/vm_commit.h"
#include "lib/errno.h"
#include "vm/vm_fault.h"
#include "vm/vm_harvest.h"

/*
 * A wired private entry becomes writable: its wired pages may belong to the backing object, and the copies
 * must be wired instead.
 */
static bool vm_map_protect_needs_rewire(const struct vm_map_entry *entry, vm_prot_t prot)
{
    return entry->wired_count != 0 && (entry->eflags & MAP_ENTRY_COW) != 0 &&
           (entry->protection & VM_PROT_WRITE) == 0 && (prot & VM_PROT_WRITE) != 0;
}

/*
 * The rights of an entry with an object. A walk of reverse mapping reads them, with (R) shared. When the
 * machine fails, stores that were stopped (vm_map_entry_settle) go on.
 */
static int vm_map_protect_object(struct vm_map *map, struct vm_map_entry *entry, struct vm_object *object,
                                 vm_prot_t prot) FL_REQUIRES(map->lock, object->lock)
{
    vm_prot_t old = entry->protection;

    if (prot & VM_PROT_WRITE)
        vm_freeze_wait(object); /* stores may go on */
    else
        vm_map_entry_settle(map, entry, object);
    vm_rwlock_write(&vm_rmap_lock);
    int error = machine_protect(map->space, entry->start, entry->end, vm_map_prot_rights(prot));
    if (error == 0)
        entry->protection = prot;
    else
        machine_thaw(map->space, entry->start, entry->end, vm_map_prot_rights(old));
    vm_rwlock_write_done(&vm_rmap_lock);
    vm_map_entry_mark(entry, object);
    return error;
}

/* The entry becomes data (vm_map_is_data), of which there would be too much. */
static bool vm_map_protect_exceeds(const struct vm_map *map, const struct vm_map_entry *entry, vm_prot_t prot)
    FL_REQUIRES_SHARED(map->lock)
{
    uint64_t len = entry->end - entry->start;

    return vm_map_is_data(entry->eflags, prot) && !vm_map_is_data(entry->eflags, entry->protection) &&
           !may_expand_vm(map, true, len) && may_expand_vm(map, false, len);
}

static int vm_map_protect_entry(struct vm_map *map, struct vm_map_entry *entry, vm_prot_t prot, bool *rewire)
    FL_REQUIRES(map->lock)
{
    struct vm_object *object = entry->object;
    bool wire = vm_map_protect_needs_rewire(entry, prot);
    int error = 0;

    if (entry->protection == prot)
        return 0;
    if (vm_map_protect_exceeds(map, entry, prot))
        return -ENOMEM;
    vm_pindex_t promise =
        !entry->committed && vm_commit_covers(entry->eflags, prot, object) ? vm_map_entry_npages(entry) : 0;
    if (!vm_commit_reserve(promise))
        return -ENOMEM;
    vm_map_entry_account(map, entry, entry->start - entry->end);
    if (object != NULL) {
        vm_lock(&object->lock);
        error = vm_map_protect_object(map, entry, object, prot);
        vm_unlock(&object->lock);
    } else {
        entry->protection = prot;
    }
    entry->committed |= error == 0 && promise > 0;
    vm_map_entry_account(map, entry, entry->end - entry->start);
    vm_commit_release(promise);
    if (error != 0)
        return error;
    if (wire) {
        vm_fault_unwire(map, entry, entry->start, entry->end);
        /* wired_count stays: the range goes into transition (AM11). */
        entry->eflags &= (uint8_t)~MAP_ENTRY_WIRED;
        *rewire = true;
    }
    return 0;
}

/* Changes the entries from `entry`, which contains *stop, up to `end`. *stop: where the changed part ends. */
static int vm_map_protect_range(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t end,
                                vm_prot_t prot, vm_offset_t *stop, bool *rewire) FL_REQUIRES(map->lock)
{
    while (*stop < end) {
        int error;

        if (entry == &map->header || entry->start > *stop || (entry->eflags & MAP_ENTRY_RESERVED) != 0)
            return -ENOMEM;
        if ((prot & ~entry->max_protection) != 0)
            return -EACCES;
        error = vm_map_protect_entry(map, entry, prot, rewire);
        if (error != 0)
            return error;
        *stop = entry->end;
        entry = entry->next;
    }
    return 0;
}

static void vm_map_set_transition(struct vm_map *map, vm_offset_t start, vm_offset_t end)
    FL_REQUIRES(map->lock)
{
    struct vm_map_entry *entry = vm_map_first_after(map, start);

    for (; entry != &map->header && entry->start < end; entry = entry->next)
        entry->eflags |= MAP_ENTRY_IN_TRANSITION;
}

int vm_map_protect(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
    struct vm_map_entry *first;
    vm_offset_t stop = start;
    bool rewire = false;
    int error, wire_error = 0;

    vm_map_lock(map);
    vm_map_wait_transition(map, start, end);
    error = vm_map_clip_range(map, start, end, &first);
    if (error == 0) {
        error = vm_map_protect_range(map, first, end, prot, &stop, &rewire);
        machine_sync(map->space);
        if (rewire)
            vm_map_set_transition(map, start, stop);
        vm_map_simplify_range(map, start, end);
    }
    vm_map_unlock(map);
    if (rewire)
        wire_error = vm_map_wire_pages(map, start, stop, VM_MAP_WIRE_REACHABLE);
    /* The protection is changed, but the range could not be wired again. */
    if (error == 0 && wire_error != 0)
        error = -ENOMEM;
    return error;
}

/* Advice that is kept in entries. It changes only with which neighbours they merge. */
struct entry_advice {
    uint8_t behavior;
    uint8_t inherit, no_inherit; /* VM_INHERIT_*: set, cleared */
    bool behaves;                /* `behavior` is to be set */
};

static int vm_map_advise(struct vm_map *map, vm_offset_t start, vm_offset_t end,
                         const struct entry_advice *advice)
{
    vm_offset_t covered = start;
    struct vm_map_entry *entry;
    bool gap = false;
    int error;

    vm_map_lock(map);
    vm_map_wait_transition(map, start, end);
    error = vm_map_clip_range(map, start, end, &entry);
    for (; error == 0 && entry != &map->header && entry->start < end; entry = entry->next) {
        if ((entry->eflags & MAP_ENTRY_RESERVED) != 0)
            continue; /* reserved addresses count as a gap */
        gap |= entry->start > covered;
        covered = entry->end;
        if (advice->behaves)
            entry->behavior = advice->behavior;
        entry->inheritance = (uint8_t)((entry->inheritance & ~advice->no_inherit) | advice->inherit);
    }
    if (error == 0)
        vm_map_simplify_range(map, start, end);
    vm_map_unlock(map);
    if (error == 0 && (gap || covered < end))
        error = -ENOMEM;
    return error;
}

int vm_map_behave(struct vm_map *map, vm_offset_t start, vm_offset_t end, enum vm_behavior behavior)
{
    struct entry_advice advice = {.behavior = (uint8_t)behavior, .behaves = true};

    return vm_map_advise(map, start, end, &advice);
}

int vm_map_inherit(struct vm_map *map, vm_offset_t start, vm_offset_t end, unsigned flag, bool set)
{
    struct entry_advice advice = {.inherit = (uint8_t)(set ? flag : 0), .no_inherit = (uint8_t)flag};

    return vm_map_advise(map, start, end, &advice);
}
