/*
 * vm_map_wire.c: wiring of ranges (mlock): the pages are faulted in, and stay in memory.
 *
 *     (M): clip, IN_TRANSITION, wired_count = 1 ─▶ unlocked: vm_fault of each page ─▶ (M): WIRED, or undone
 *
 *     wired_count  WIRED  IN_TRANSITION
 *          0         -          -         not wired
 *          1         -          x         its pages are being wired
 *          1         x          x         was wired before, and lies in a range that is being wired
 *          1         x          -         wired
 *
 * An entry in transition is not split, moved, merged or deleted (AM10): those operations wait in
 * vm_map_wait_transition. vm_map_wire marks its whole range in one hold of (M), and does not wait for
 * transitions afterwards. So two of them cannot wait for each other.
 *
 * Invariants: AM10, AM11 (vm_map.h). Lock: (M), not held during faults.
 * Does not do: locking on fault (MLOCK_ONFAULT, Linux): a machine that enters pages by itself (MM1,
 * machine.h) does not tell of each first touch.
 */
#include "vm/vm_map_entry.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/vm_fault.h"

/* Whether all of the range is mapped, and not reserved. */
static bool vm_map_range_covered(struct vm_map *map, vm_offset_t start, vm_offset_t end)
    FL_REQUIRES_SHARED(map->lock)
{
    struct vm_map_entry *entry = vm_map_first_after(map, start);

    for (; start < end; start = entry->end, entry = entry->next) {
        if (entry == &map->header || entry->start > start || (entry->eflags & MAP_ENTRY_RESERVED) != 0)
            return false;
    }
    return true;
}

/* The access that brings in the page which the program will use: a private writable page is copied now. */
static vm_prot_t vm_map_wire_access(const struct vm_map_entry *entry)
{
    if ((entry->eflags & MAP_ENTRY_COW) != 0 && (entry->protection & VM_PROT_WRITE) != 0)
        return VM_PROT_WRITE;
    return VM_PROT_READ;
}

/* Wires [start, end). *done: the end of what is wired. flags: as vm_map_wire. */
static int vm_map_wire_faults(struct vm_map *map, vm_offset_t start, vm_offset_t end, unsigned flags,
                              vm_offset_t *done)
{
    vm_offset_t va, stop;

    for (*done = start; *done < end; *done = stop) {
        struct vm_map_entry *entry;
        vm_prot_t access;
        bool touch, wire;

        vm_map_lock_read(map);
        entry = vm_map_first_after(map, *done);
        KASSERT(entry->start <= *done && (entry->eflags & MAP_ENTRY_IN_TRANSITION) != 0, "AM10");
        stop = entry->end < end ? entry->end : end;
        access = vm_map_wire_access(entry);
        touch = entry->wired_count != 0; /* mprotect's range may have unwired entries in between */
        wire = touch && (entry->eflags & MAP_ENTRY_WIRED) == 0;
        vm_map_unlock_read(map);
        for (va = *done; touch && va < stop; va += VM_PAGE_SIZE) {
            /*
             * Pages that are wired already are touched too: mlock must fail if they cannot be reached any
             * more.
             */
            int error = vm_fault(map, va, access, wire ? VM_FAULT_WIRE : VM_FAULT_NORMAL);

            if (error != 0 && (error == -ENOMEM || (flags & VM_MAP_WIRE_REACHABLE) == 0)) {
                *done = va;
                return error == -ENOMEM ? -EAGAIN : error;
            }
        }
    }
    return 0;
}

/* The entry's wired_count, and the map's locked_bytes with it. */
static void vm_map_entry_set_wired(struct vm_map *map, struct vm_map_entry *entry, uint8_t count)
    FL_REQUIRES(map->lock)
{
    vm_map_entry_account(map, entry, entry->start - entry->end);
    entry->wired_count = count;
    vm_map_entry_account(map, entry, entry->end - entry->start);
}

/*
 * Ends the entry's transition. If the wiring failed, its pages up to `done` are unwired, and so is the entry.
 */
static void vm_map_wire_finish(struct vm_map *map, struct vm_map_entry *entry, bool failed, vm_offset_t done)
    FL_REQUIRES(map->lock)
{
    if (entry->wired_count != 0 && (entry->eflags & MAP_ENTRY_WIRED) == 0) {
        if (!failed) {
            entry->eflags |= MAP_ENTRY_WIRED;
        } else {
            if (done > entry->start)
                vm_fault_unwire(map, entry, entry->start, done < entry->end ? done : entry->end);
            vm_map_entry_set_wired(map, entry, 0);
        }
    }
    entry->eflags &= (uint8_t)~MAP_ENTRY_IN_TRANSITION;
}

int vm_map_wire_pages(struct vm_map *map, vm_offset_t start, vm_offset_t end, unsigned flags)
{
    struct vm_map_entry *entry;
    vm_offset_t done;
    int error = vm_map_wire_faults(map, start, end, flags, &done);

    vm_map_lock(map);
    for (entry = vm_map_first_after(map, start); entry != &map->header && entry->start < end;
         entry = entry->next)
        vm_map_wire_finish(map, entry, error != 0, done);
    vm_map_simplify_range(map, start, end);
    vm_map_wakeup_transition(map);
    vm_map_unlock(map);
    return error;
}

/* How much of [start, end) is not wired yet. */
static uint64_t vm_map_unwired_bytes(struct vm_map *map, vm_offset_t start, vm_offset_t end)
    FL_REQUIRES_SHARED(map->lock)
{
    struct vm_map_entry *entry = vm_map_first_after(map, start);
    uint64_t bytes = 0;

    for (; entry != &map->header && entry->start < end; entry = entry->next) {
        vm_offset_t from = entry->start > start ? entry->start : start;
        vm_offset_t to = entry->end < end ? entry->end : end;

        if (entry->wired_count == 0)
            bytes += to - from;
    }
    return bytes;
}

/* The entries from `entry` up to `end` go into transition, to be wired by vm_map_wire_pages. */
static void vm_map_wire_begin(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t end)
    FL_REQUIRES(map->lock)
{
    for (; entry != &map->header && entry->start < end; entry = entry->next) {
        if (entry->wired_count == 0)
            vm_map_entry_set_wired(map, entry, 1);
        entry->eflags |= MAP_ENTRY_IN_TRANSITION;
    }
}

int vm_map_wire(struct vm_map *map, vm_offset_t start, vm_offset_t end, unsigned flags)
{
    struct vm_map_entry *entry;
    int error;

    vm_map_lock(map);
    vm_map_wait_transition(map, start, end);
    error = vm_map_range_covered(map, start, end) ? 0 : -ENOMEM;
    if (error == 0 && !mlock_future_ok(map, vm_map_unwired_bytes(map, start, end)))
        error = -ENOMEM;
    if (error == 0)
        error = vm_map_clip_range(map, start, end, &entry);
    if (error != 0) {
        vm_map_unlock(map);
        return error;
    }
    vm_map_wire_begin(map, entry, end);
    vm_map_unlock(map);
    return vm_map_wire_pages(map, start, end, flags);
}

/* [*start, *end): the first mapping at or behind *start, which is not in transition. False: there is none. */
static bool vm_map_next_mapping(struct vm_map *map, vm_offset_t *start, vm_offset_t *end)
    FL_REQUIRES(map->lock)
{
    struct vm_map_entry *entry;

    vm_map_wait_transition(map, *start, map->max_offset);
    entry = vm_map_first_after(map, *start);
    while (entry != &map->header && (entry->eflags & MAP_ENTRY_RESERVED) != 0)
        entry = entry->next;
    if (entry == &map->header)
        return false;
    *start = entry->start > *start ? entry->start : *start;
    *end = entry->end;
    return true;
}

/* One mapping after the other: between two of them the map may change. */
int vm_map_wire_all(struct vm_map *map)
{
    struct vm_map_entry *entry;
    vm_offset_t start = map->min_offset, end;
    int error;

    for (;;) {
        vm_map_lock(map);
        if (!vm_map_next_mapping(map, &start, &end)) {
            vm_map_unlock(map);
            return 0;
        }
        error = vm_map_clip_range(map, start, end, &entry);
        if (error == 0)
            vm_map_wire_begin(map, entry, end);
        vm_map_unlock(map);
        if (error == 0)
            error = vm_map_wire_pages(map, start, end, VM_MAP_WIRE_REACHABLE);
        if (error != 0)
            return -EAGAIN;
        start = end;
    }
}

int vm_map_unwire(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
    struct vm_map_entry *entry;
    bool covered;
    int error;

    vm_map_lock(map);
    vm_map_wait_transition(map, start, end);
    covered = vm_map_range_covered(map, start, end);
    error = vm_map_clip_range(map, start, end, &entry);
    for (; error == 0 && entry != &map->header && entry->start < end; entry = entry->next) {
        if (entry->wired_count == 0)
            continue;
        vm_fault_unwire(map, entry, entry->start, entry->end);
        vm_map_entry_set_wired(map, entry, 0);
        entry->eflags &= (uint8_t)~MAP_ENTRY_WIRED;
    }
    if (error == 0)
        vm_map_simplify_range(map, start, end);
    vm_map_unlock(map);
    return error == 0 && !covered ? -ENOMEM : error;
}
