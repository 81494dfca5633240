/*
 * mremap.c: mremap: a mapping shrinks, grows or moves.
 *
 *     shrink    |=====xxxxx|               the tail is deleted
 *     in place  |=====+++++|               the growth is inserted behind it, where that is free
 *     move      |=====| ─▶ |=====+++++|    the growth is inserted at the new place, then the mapping moves;
 *                                          so a failure has one step to undo
 *     copy      |=====| ─▶ |=====|         old length 0 of a shared mapping: the same pages, mapped once more
 *     leave     |=====| ─▶ |     ||=====|  FL_MREMAP_DONTUNMAP: the pages move, and the old place is mapped
 *                                          anew: it shows the file, or zeros
 *
 * One mapping of Linux may be several entries here: private memory that was touched in parts has an object
 * for each part. So a run of entries that continue each other counts as one mapping. A snapshot does not
 * grow: what is behind it was not in it.
 *
 * Lock: (M) exclusive for all of it; the growth of a locked mapping is faulted in afterwards. Errors and
 * their order are Linux's. Does not do: several mappings at once, as Linux since 6.17.
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "sys/range.h"
#include "vm/vm_commit.h"

struct mremap {
    struct vm_map *map;
    vm_offset_t from, old_size, to, new_size; /* page-aligned */
    int flags;
    vm_offset_t run_end; /* the end of the run of entries that starts at `from` */
    bool wired, shared, snapshot;
    bool data;                    /* vm_map_is_data */
    bool committed;               /* what is mapped more is promised (vm_commit_covers), … */
    vm_pindex_t promised;         /* … and so many pages are reserved for that, until the call ends */
    vm_offset_t grown, grown_end; /* out: [grown, grown_end) is new, and must be locked if the mapping is */
};

/*
 * The object at the bottom of the entry's chain, and the index there of the entry's start. NULL: untouched
 * anonymous memory.
 */
static struct vm_object *mremap_bottom(const struct vm_map_entry *entry, vm_pindex_t *pindex)
{
    *pindex = entry->pindex;
    return vm_object_bottom(entry->object, pindex);
}

static bool mremap_private_anonymous(const struct vm_map_entry *entry)
{
    vm_pindex_t pindex;
    const struct vm_object *bottom = mremap_bottom(entry, &pindex);

    return (entry->eflags & MAP_ENTRY_COW) != 0 && (bottom == NULL || bottom->type == OBJT_SWAP);
}

/* Whether the two would be one mapping on Linux. */
static bool mremap_continues(const struct vm_map_entry *prev, const struct vm_map_entry *next)
{
    unsigned ignored = MAP_ENTRY_NEEDS_COPY | MAP_ENTRY_NO_ROOM;
    vm_pindex_t prev_pindex, next_pindex;

    if (prev->end != next->start || ((prev->eflags ^ next->eflags) & ~ignored) != 0 ||
        prev->protection != next->protection || prev->max_protection != next->max_protection ||
        prev->behavior != next->behavior || prev->inheritance != next->inheritance)
        return false;
    if (mremap_private_anonymous(prev) && mremap_private_anonymous(next))
        return true;
    return mremap_bottom(prev, &prev_pindex) == mremap_bottom(next, &next_pindex) &&
           prev_pindex + atop(prev->end - prev->start) == next_pindex;
}

/*
 * Finds the mapping at r->from: r->run_end, ->wired, ->shared. It keeps no pointer to an entry, because every
 * change of the map may split or merge entries. Errors: -EFAULT.
 */
static int mremap_lookup(struct mremap *r) FL_REQUIRES(r->map->lock)
{
    struct vm_map_entry *entry, *end = &r->map->header;

    if (!vm_map_lookup_entry(r->map, r->from, &entry) || (entry->eflags & MAP_ENTRY_RESERVED) != 0)
        return -EFAULT;
    r->wired = entry->wired_count != 0;
    r->shared = (entry->eflags & MAP_ENTRY_COW) == 0;
    r->snapshot = (entry->eflags & MAP_ENTRY_SNAPSHOT) != 0;
    r->data = vm_map_is_data(entry->eflags, entry->protection);
    r->committed = vm_commit_covers(entry->eflags, entry->protection, entry->object);
    for (; entry->next != end && entry->end - r->from < r->old_size; entry = entry->next) {
        if (!mremap_continues(entry, entry->next))
            break;
    }
    /* One entry more: growth in place must know whether the mapping ends where the caller says. */
    if (entry->next != end && mremap_continues(entry, entry->next))
        entry = entry->next;
    r->run_end = entry->end;
    return 0;
}

/*
 * What an entry must show that continues the mapping `distance` bytes behind va: *object, with a reference,
 * or NULL; *pindex; *eflags. Errors: -EINVAL, beyond the largest offset.
 */
static int mremap_source(const struct vm_map_entry *entry, vm_offset_t va, vm_offset_t distance,
                         struct vm_object **object, vm_pindex_t *pindex, unsigned *eflags)
{
    *eflags = (entry->eflags & (MAP_ENTRY_COW | MAP_ENTRY_GROWS_DOWN)) |
              MAP_INSERT_BEHAVIOR(entry->behavior) | MAP_INSERT_INHERIT(entry->inheritance);
    *object = mremap_bottom(entry, pindex);
    if (mremap_private_anonymous(entry)) {
        *object = NULL;
        return 0;
    }
    *pindex += atop(va - entry->start) + atop(distance);
    if (*pindex > atop(INT64_MAX))
        return -EINVAL;
    if ((*eflags & MAP_ENTRY_COW) != 0)
        *eflags |= MAP_ENTRY_NEEDS_COPY;
    vm_object_reference(*object);
    return 0;
}

/*
 * Maps [start, end), which is free, to what lies `distance` bytes behind `from` in the mapping there, perhaps
 * beyond its present end. Errors: -EINVAL, -ENOMEM.
 */
static int mremap_insert(struct mremap *r, vm_offset_t start, vm_offset_t end, vm_offset_t from,
                         vm_offset_t distance) FL_REQUIRES(r->map->lock)
{
    struct vm_map_entry *entry = vm_map_first_after(r->map, from);
    struct vm_object *object;
    vm_pindex_t pindex;
    unsigned eflags;
    int error = mremap_source(entry, from, distance, &object, &pindex, &eflags);

    if (error != 0)
        return error;
    error =
        vm_map_insert(r->map, object, pindex, start, end, entry->protection, entry->max_protection, eflags);
    if (error != 0 && object != NULL)
        vm_object_drop(object); /* not the last reference: the mapping at `from` has one */
    return error;
}

/* Finds r->to, or makes it free if it is fixed. Errors: -ENOMEM. */
static int mremap_place(struct mremap *r) FL_REQUIRES(r->map->lock)
{
    if ((r->flags & FL_MREMAP_FIXED) == 0)
        return get_unmapped_area(r->map, 0, r->new_size, &r->to);
    return vm_map_delete(r->map, r->to, r->to + r->new_size);
}

/*
 * The mapping has moved to r->to, and its old place is mapped anew, unlocked. Without memory for that the
 * mapping moves back; without memory even for that it stays where it is.
 */
static int mremap_leave(struct mremap *r) FL_REQUIRES(r->map->lock)
{
    vm_offset_t end = r->from + r->old_size;
    int error = mremap_insert(r, r->from, end, r->to, 0);

    if (error != 0)
        (void)!vm_map_relocate(r->map, r->to, r->old_size, r->from);
    return error;
}

/* Whether the space may have what comes. Errors: -EAGAIN, -ENOMEM. */
static int mremap_limits(struct mremap *r) FL_REQUIRES(r->map->lock)
{
    bool leaves = (r->flags & FL_MREMAP_DONTUNMAP) != 0;
    uint64_t more = r->new_size > r->old_size ? r->new_size - r->old_size : 0;

    if (more == 0 && !leaves)
        return 0;
    if (r->wired && !mlock_future_ok(r->map, more))
        return -EAGAIN;
    more = leaves ? r->new_size : more;
    if (!may_expand_vm(r->map, r->data, more))
        return -ENOMEM;
    if (r->committed && r->promised == 0 && !vm_commit_reserve(atop(more)))
        return -ENOMEM;
    r->promised = r->committed ? atop(more) : 0;
    return 0;
}

/*
 * Moves the mapping. As on Linux, what was mapped at a fixed place is gone even if a limit ends the call
 * then. To undo the growth may need memory too, if it merged with a neighbour and must be split
 * off again. Without memory it stays mapped; the old mapping is whole in any case.
 */
static int mremap_move(struct mremap *r) FL_REQUIRES(r->map->lock)
{
    int error = mremap_place(r), ignored = 0;
    vm_offset_t grown = r->to + r->old_size, grown_end = r->to + r->new_size;

    if (error == 0)
        error = mremap_limits(r);
    if (error == 0 && grown < grown_end)
        error = mremap_insert(r, grown, grown_end, r->from, r->old_size);
    if (error != 0)
        return error;
    if (r->old_size > 0)
        error = vm_map_relocate(r->map, r->from, r->old_size, r->to);
    if (error != 0) {
        if (grown < grown_end)
            ignored = vm_map_delete(r->map, grown, grown_end);
        (void)ignored;
        return error;
    }
    r->grown = grown;
    r->grown_end = grown_end;
    return (r->flags & FL_MREMAP_DONTUNMAP) != 0 ? mremap_leave(r) : 0;
}

/* Whether the mapping ends at r->old_size, and the space behind it is free for the growth. */
static bool mremap_fits(const struct mremap *r) FL_REQUIRES(r->map->lock)
{
    vm_offset_t end = r->from + r->old_size, delta = r->new_size - r->old_size;
    struct vm_map_entry *next;

    if (r->run_end != end)
        return false;
    next = vm_map_first_after(r->map, end);
    return next->start >= end && next->start - end >= delta;
}

static int mremap_grow(struct mremap *r) FL_REQUIRES(r->map->lock)
{
    vm_offset_t end = r->from + r->old_size, new_end = r->from + r->new_size;
    int error = mremap_limits(r);

    if (error != 0)
        return error;
    if (!mremap_fits(r))
        return (r->flags & FL_MREMAP_MAYMOVE) != 0 ? mremap_move(r) : -ENOMEM;
    r->to = r->from;
    r->grown = end;
    r->grown_end = new_end;
    return mremap_insert(r, end, new_end, r->from, r->old_size);
}

/* Cuts the mapping down to r->new_size. */
static int mremap_shrink(struct mremap *r) FL_REQUIRES(r->map->lock)
{
    vm_offset_t start = r->from + r->new_size, end = r->from + r->old_size;
    int error;

    if (end < start || end > r->map->max_offset)
        return -EINVAL;
    error = vm_map_delete(r->map, start, end);
    if (error == 0)
        r->old_size = r->new_size;
    return error;
}

static int mremap_check_fixed(const struct mremap *r)
{
    vm_offset_t size = r->new_size;

    if ((r->to & VM_PAGE_MASK) != 0 || r->to < r->map->min_offset || size > r->map->max_offset ||
        r->to > r->map->max_offset - size)
        return -EINVAL;
    /* A copy (old length 0) onto its original: Linux unmaps that first, and then finds nothing to copy. */
    if (r->old_size == 0 && r->to == r->from)
        return -EFAULT;
    return r->from + r->old_size > r->to && r->to + size > r->from ? -EINVAL : 0;
}

/* Decides which of them it is, and does it. */
static int mremap_locked(struct mremap *r) FL_REQUIRES(r->map->lock)
{
    bool fixed = (r->flags & FL_MREMAP_FIXED) != 0, leaves = (r->flags & FL_MREMAP_DONTUNMAP) != 0;
    int error = fixed ? mremap_check_fixed(r) : 0;

    if (error == 0)
        error = mremap_lookup(r);
    if (error != 0)
        return error;
    if (r->old_size == 0 && !r->shared)
        return -EINVAL;
    if (!fixed && !leaves && r->old_size >= r->new_size) {
        r->to = r->from;
        return r->old_size > r->new_size ? mremap_shrink(r) : 0;
    }
    if (r->old_size > r->run_end - r->from)
        return -EFAULT;
    if (r->snapshot && (r->new_size > r->old_size || leaves))
        return -EINVAL;
    if (r->old_size > r->new_size)
        error = mremap_shrink(r);
    if (error != 0)
        return error;
    return fixed || leaves ? mremap_move(r) : mremap_grow(r);
}

/*
 * Waits until nothing in the ranges that will change is in transition. While it waits for one range, a
 * transition may start in the other: so it repeats until (M) was not released.
 */
static void mremap_settle(struct mremap *r) FL_REQUIRES(r->map->lock)
{
    uint32_t timestamp;

    do {
        timestamp = r->map->timestamp;
        vm_map_wait_transition(r->map, r->from, r->from + r->old_size);
        if ((r->flags & FL_MREMAP_FIXED) != 0)
            vm_map_wait_transition(r->map, r->to, r->to + r->new_size);
    } while (timestamp != r->map->timestamp);
}

int64_t fl_sys_mremap(struct vm_map *map, vm_offset_t old_addr, size_t old_len_bytes, size_t new_len_bytes,
                      int flags, vm_offset_t new_addr)
{
    struct mremap r = {.map = map, .from = old_addr, .to = new_addr, .flags = flags};
    int error;

    r.old_size = round_page((vm_offset_t)old_len_bytes);
    r.new_size = round_page((vm_offset_t)new_len_bytes);
    if ((flags & ~(FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED | FL_MREMAP_DONTUNMAP)) != 0)
        return -EINVAL;
    if ((flags & (FL_MREMAP_FIXED | FL_MREMAP_DONTUNMAP)) != 0 && (flags & FL_MREMAP_MAYMOVE) == 0)
        return -EINVAL;
    if ((flags & FL_MREMAP_DONTUNMAP) != 0 && r.old_size != r.new_size)
        return -EINVAL;
    if ((old_addr & VM_PAGE_MASK) != 0 || r.new_size == 0)
        return -EINVAL;
    vm_map_lock(r.map);
    mremap_settle(&r);
    error = mremap_locked(&r);
    vm_commit_release(r.promised);
    vm_map_unlock(r.map);
    if (error != 0)
        return error;
    if (r.grown < r.grown_end)
        mm_populate(map, r.grown, r.grown_end, VM_PROT_NONE, r.wired);
    return (int64_t)r.to;
}
