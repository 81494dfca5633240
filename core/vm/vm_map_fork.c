/*
 * vm_map_fork.c: a copy of an address space (vmspace_fork, FreeBSD; dup_mmap, Linux).
 *
 *   parent's entry                          child's entry
 *   reserved                                the same
 *   VM_INHERIT_NONE                         none
 *   VM_INHERIT_ZERO, private anonymous      untouched memory
 *   untouched (no object)                   untouched memory
 *   shared                                  the same object
 *   private                                 the same object. Both are NEEDS_COPY from now on: the next store
 *                                           through either puts a shadow of its own in front
 *   private, wired or held                  a shadow of the child's with copies of the parent's pages, made
 *                                           at once. The parent's pages stay where they are
 *
 * Why wired and held pages are copied. The parent's next store would move its entry to a new page. A wired
 * page promises that no store faults, and a system call that holds a page goes on storing into that very
 * page, which the child would see.
 *
 *   (M) of the parent: all entries   ─▶ unlocked: copies of pinned pages ─▶ (M): leave transition
 *   the pinned ones in transition       (windows, page-ins)
 *
 * The child has what the parent's threads stored before the call. A store that another thread makes meanwhile
 * is in the child or not, page by page, as on other systems.
 *
 * Locks: (M) of the parent, then (M) of the child, which no other thread knows; (O); (R).
 * Loops: a copy of a page waits for the end of its transfer (vm_page_busy_sleep), with no lock held.
 *
 * vm_map_snapshot: a copy of a range at another place of the same map, by the same steps, that can only be read:
 *
 *   entry                                   its copy in the snapshot
 *   untouched                               an empty object: zeros
 *   private anonymous                       as above
 *   shared, or private over a file          a shadow that keeps what it shows (vm_object_snapshot.c)
 *   a snapshot                              the same object
 *
 *   (M): entries, all in transition ─▶ unlocked: copies of pinned pages; what is behind the shadows is covered
 *   ─▶ (M): leave transition
 *
 * vm_map_renew: MADV_DONTNEED of memory that was forked: its pages may be the other space's, too.
 *
 * Does not do: threads, files and signals: they are the host's. Wiring: the child's memory is not wired.
 */
#include "vm/vm_map_entry.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/lru.h"
#include "vm/pmap.h"
#include "vm/vm_harvest.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_rmap.h"

/* How entries are copied. All zero: as for the child of a fork. */
struct fork_how {
    vm_offset_t delta; /* what is at va comes to va + delta */
    bool snapshot;     /* the copies can only be read, and keep also what is shared, or a file's */
};

/* What a copy in the same place has of an entry's flags, for vm_map_insert. */
static unsigned entry_kept(const struct vm_map_entry *entry)
{
    unsigned kept = entry->eflags & ~(unsigned)(MAP_ENTRY_WIRED | MAP_ENTRY_IN_TRANSITION);
    return kept | MAP_INSERT_BEHAVIOR(entry->behavior) | MAP_INSERT_INHERIT(entry->inheritance);
}

/* What the copy has of an entry's flags, for vm_map_insert. */
static unsigned fork_eflags(const struct vm_map_entry *entry, const struct fork_how *how)
{
    /* All of a snapshot is in transition until it is complete: other threads may find it already. */
    if (how->snapshot)
        return MAP_ENTRY_COW | MAP_ENTRY_SNAPSHOT | MAP_ENTRY_IN_TRANSITION;
    return entry_kept(entry);
}

/* The copy: the object from pindex on, whose reference is the entry's. Errors: as vm_map_insert. */
static int fork_insert(struct vm_map *child, const struct vm_map_entry *entry, const struct fork_how *how,
                       struct vm_object *object, vm_pindex_t pindex, unsigned eflags) FL_REQUIRES(child->lock)
{
    vm_prot_t prot = how->snapshot ? VM_PROT_READ : entry->protection;
    vm_prot_t max = how->snapshot ? VM_PROT_READ : entry->max_protection;
    int error = vm_map_insert(child, object, pindex, entry->start + how->delta, entry->end + how->delta, prot,
                              max, eflags);
    if (error != 0 && object != NULL)
        vm_object_drop(object);
    return error;
}

/* Must the entry's private pages stay the parent's? */
static bool entry_pinned(const struct vm_map_entry *entry)
{
    struct vm_object *object = entry->object;
    vm_pindex_t end = entry->pindex + vm_map_entry_npages(entry);
    if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
        return false; /* its pages are not its own */
    vm_lock(&object->lock);
    bool pinned = vm_page_find_pinned(object, entry->pindex, end, true) != NULL;
    vm_unlock(&object->lock);
    return pinned || entry->wired_count > 0;
}

/*
 * The entry's private memory is the child's too from now on: the next store must put a shadow in front.
 * Errors: -ENOMEM.
 */
static int entry_needs_copy(struct vm_map *map, struct vm_map_entry *entry) FL_REQUIRES(map->lock)
{
    struct vm_object *object = entry->object;
    if ((entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
        return 0;
    vm_lock(&object->lock);
    int error = vm_object_writenotify(object);
    if (error == 0) {
        entry->eflags |= MAP_ENTRY_NEEDS_COPY;
        entry->writenotify = true; /* which is true of the attachment now */
        vm_rwlock_read(&vm_rmap_lock);
        machine_wrprotect(map->space, entry->start, entry->end); /* vmspace_fork ends with machine_sync */
        vm_rwlock_read_done(&vm_rmap_lock);
    }
    vm_unlock(&object->lock);
    return error;
}

/* Does a snapshot of what the entry shows have to keep it, because not only the entry's owner changes it? */
static bool entry_changes(const struct vm_map_entry *entry)
{
    vm_pindex_t pindex = 0;
    if ((entry->eflags & MAP_ENTRY_SNAPSHOT) != 0)
        return false;
    return (entry->eflags & MAP_ENTRY_COW) == 0 || vm_pager_bounded(vm_object_bottom(entry->object, &pindex));
}

/* A shadow for the copy over the object, whose reference it takes over on success. Errors: -ENOMEM. */
static int fork_shadow(const struct vm_map_entry *entry, const struct fork_how *how,
                       struct vm_object **object, vm_pindex_t *pindex)
{
    vm_pindex_t npages = vm_map_entry_npages(entry);
    if (how->snapshot && entry_changes(entry))
        return vm_object_snapshot(object, pindex, npages);
    return vm_object_shadow(object, pindex, npages);
}

/* The copy gets an empty shadow over what is behind the entry's pages, which are copied later. */
static int fork_pinned(struct vm_map_entry *entry, const struct fork_how *how, struct vm_map *child)
    FL_REQUIRES(child->lock)
{
    vm_pindex_t npages = vm_map_entry_npages(entry), pindex = entry->pindex;
    struct vm_object *object, *backing;
    vm_object_reference(entry->object);
    object = backing = vm_object_next(entry->object, &pindex);
    int error = 0;
    if (backing != NULL)
        error = fork_shadow(entry, how, &object, &pindex);
    else if ((object = vm_object_allocate(OBJT_DEFAULT, npages, NULL)) == NULL)
        error = -ENOMEM;
    if (error != 0) {
        if (backing != NULL)
            vm_object_drop(backing);
        return error;
    }
    /* The child's is in transition, too, so that it does not merge with neighbours before it is filled. */
    error = fork_insert(child, entry, how, object, 0, fork_eflags(entry, how) | MAP_ENTRY_IN_TRANSITION);
    if (error == 0)
        entry->eflags |= MAP_ENTRY_IN_TRANSITION;
    return error;
}

/* The copy shows the entry's object, or for a snapshot a shadow that keeps it. Errors: -ENOMEM. */
static int fork_object(struct vm_map_entry *entry, const struct fork_how *how, struct vm_map *child,
                       unsigned eflags) FL_REQUIRES(child->lock)
{
    struct vm_object *object = entry->object;
    vm_pindex_t pindex = entry->pindex;
    vm_object_reference(object);
    if (how->snapshot && entry_changes(entry)) {
        int error = fork_shadow(entry, how, &object, &pindex);
        if (error != 0) {
            vm_object_drop(object);
            return error;
        }
    }
    return fork_insert(child, entry, how, object, pindex, eflags);
}

/* A snapshot of untouched memory: zeros. Errors: -ENOMEM. */
static int fork_zeros(const struct vm_map_entry *entry, const struct fork_how *how, struct vm_map *child)
    FL_REQUIRES(child->lock)
{
    struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, vm_map_entry_npages(entry), NULL);
    if (object == NULL)
        return -ENOMEM;
    return fork_insert(child, entry, how, object, 0, fork_eflags(entry, how) | MAP_ENTRY_NEEDS_COPY);
}

/* One entry. Errors: -ENOMEM. */
static int fork_entry(struct vm_map *parent, struct vm_map_entry *entry, const struct fork_how *how,
                      struct vm_map *child) FL_REQUIRES(parent->lock, child->lock)
{
    bool private = (entry->eflags & MAP_ENTRY_COW) != 0;
    unsigned eflags = fork_eflags(entry, how);
    unsigned inheritance = how->snapshot ? 0 : entry->inheritance;
    if ((inheritance & VM_INHERIT_NONE) != 0)
        return 0;
    if (entry->object == NULL && how->snapshot)
        return fork_zeros(entry, how, child);
    if (entry->object == NULL || (inheritance & VM_INHERIT_ZERO) != 0)
        return fork_insert(child, entry, how, NULL, 0, eflags & ~(unsigned)MAP_ENTRY_NEEDS_COPY);
    if (private && entry_pinned(entry))
        return fork_pinned(entry, how, child);
    if (private) {
        int error = entry_needs_copy(parent, entry);
        if (error != 0)
            return error;
    }
    return fork_object(entry, how, child, private || how->snapshot ? eflags | MAP_ENTRY_NEEDS_COPY : eflags);
}

/* ---- copies of pinned pages --------------------------------------------------------------------------- */

/*
 * Page `pindex` of `to`, which is the caller's alone, becomes a copy of m. (O) of m's object is released in
 * between; a pip keeps that. Errors: -ENOMEM.
 */
static int copy_page(struct vm_object *from, struct vm_page *m, struct vm_object *to, vm_pindex_t pindex)
    FL_REQUIRES(from->lock)
{
    struct vm_page *copy;
    int error = 0;
    vm_page_xbusy(m);
    vm_unlock(&from->lock);
    vm_lock(&to->lock);
    while ((copy = vm_page_alloc(to, pindex, VM_ALLOC_NORMAL)) == NULL && error == 0) {
        vm_unlock(&to->lock);
        error = vm_wait();
        vm_lock(&to->lock);
    }
    vm_unlock(&to->lock);
    if (copy != NULL)
        error = vm_page_copy(m, copy);
    vm_lock(&to->lock);
    if (copy != NULL && error == 0) {
        vm_page_dirty(copy);
        activate_page(copy);
        vm_page_xunbusy(copy);
    } else if (copy != NULL) {
        vm_page_free(copy);
    }
    vm_unlock(&to->lock);
    vm_lock(&from->lock);
    vm_page_xunbusy(m);
    return error;
}

/*
 * Copies the pages that `from` has in [start, start + npages), in memory or in its source, to `to`, from page
 * 0 on. Errors: -ENOMEM, the pager's.
 */
static int copy_pages(struct vm_object *from, vm_pindex_t start, vm_pindex_t npages, struct vm_object *to)
{
    vm_pindex_t at = start;
    uint32_t before, after;
    int error = 0;
    vm_lock(&from->lock);
    vm_object_pip_add(from);
    while (error == 0 && at - start < npages) {
        struct vm_page *m = vm_page_lookup(from, at);
        if (m == NULL && vm_pager_has_page(from, at, &before, &after)) {
            error = vm_object_page_in(from, at);
        } else if (m != NULL && (m->flags & PG_BUSY) != 0) {
            vm_page_busy_sleep(m);
        } else {
            if (m != NULL && (m->flags & (PG_VALID | PG_COPY)) == PG_VALID)
                error = copy_page(from, m, to, at - start);
            at++;
        }
    }
    vm_object_pip_wakeup(from);
    vm_unlock(&from->lock);
    return error;
}

/* A copy that is to be completed. It is in transition, so it stays as it was when the map was locked. */
struct fork_copy {
    vm_offset_t start, end;
    struct vm_object *object; /* with a reference */
    bool pinned;              /* fork_pinned made it */
};

/*
 * *copy: the first one that ends after va, and starts before `end`. False: there is none. Those of private
 * entries that fork_pinned did not make are NEEDS_COPY.
 */
static bool fork_next(struct vm_map *child, vm_offset_t va, vm_offset_t end, struct fork_copy *copy)
{
    vm_map_lock_read(child);
    const struct vm_map_entry *entry = vm_map_first_after(child, va);
    while (entry != &child->header && entry->start < end &&
           ((entry->eflags & MAP_ENTRY_IN_TRANSITION) == 0 || entry->object == NULL))
        entry = entry->next;
    bool found = entry != &child->header && entry->start < end;
    if (found) {
        *copy = (struct fork_copy){.start = entry->start, .end = entry->end, .object = entry->object};
        copy->pinned = (entry->eflags & MAP_ENTRY_NEEDS_COPY) == 0;
        vm_object_reference(copy->object);
    }
    vm_map_unlock_read(child);
    return found;
}

/* Copies the parent's pages for the copy. The parent's entry stays as it is: it is in transition. */
static int fork_copy_pinned(struct vm_map *parent, const struct fork_copy *copy, vm_offset_t delta)
{
    struct vm_map_entry *entry;
    vm_offset_t start = copy->start - delta;
    vm_map_lock_read(parent);
    bool found = vm_map_lookup_entry(parent, start, &entry);
    KASSERT(found && entry->start == start && entry->end == copy->end - delta, "AM10");
    struct vm_object *from = entry->object;
    vm_pindex_t pindex = entry->pindex;
    vm_object_reference(from);
    vm_map_unlock_read(parent);
    int error = copy_pages(from, pindex, atop(copy->end - copy->start), copy->object);
    vm_object_deallocate(from);
    return error;
}

/*
 * Completes the copies in [start, end) of the child, with no lock held. Errors: -ENOMEM; as vm_object_cover,
 * the pager's.
 */
static int fork_copies(struct vm_map *parent, struct vm_map *child, const struct fork_how *how,
                       vm_offset_t start, vm_offset_t end)
{
    struct fork_copy copy;
    int error = 0;
    for (vm_offset_t va = start; error == 0 && fork_next(child, va, end, &copy); va = copy.end) {
        if (copy.pinned)
            error = fork_copy_pinned(parent, &copy, how->delta);
        if (error == 0 && how->snapshot)
            error = vm_object_cover(copy.object);
        vm_object_deallocate(copy.object);
    }
    return error;
}

/* The copies in [start, end) of the child, and the parent's entries that are pinned, leave transition. */
static void fork_end_transition(struct vm_map *parent, struct vm_map *child, const struct fork_how *how,
                                vm_offset_t start, vm_offset_t end) FL_REQUIRES(parent->lock, child->lock)
{
    struct vm_map_entry *copy = vm_map_first_after(child, start), *entry;
    for (; copy != &child->header && copy->start < end; copy = copy->next) {
        if ((copy->eflags & MAP_ENTRY_IN_TRANSITION) == 0)
            continue;
        bool pinned = copy->object != NULL && (copy->eflags & MAP_ENTRY_NEEDS_COPY) == 0;
        copy->eflags &= (uint8_t)~MAP_ENTRY_IN_TRANSITION;
        if (pinned && vm_map_lookup_entry(parent, copy->start - how->delta, &entry))
            entry->eflags &= (uint8_t)~MAP_ENTRY_IN_TRANSITION;
        /* A fork shares the copies of a snapshot from now on, wired ones too: nothing stores into them. */
        if (pinned && how->snapshot)
            copy->eflags |= MAP_ENTRY_NEEDS_COPY;
    }
    vm_map_wakeup_transition(parent);
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static int fork_entries(struct vm_map *parent, struct vm_map *child) FL_REQUIRES(parent->lock, child->lock)
{
    const struct fork_how how = {0};
    int error = 0;
    struct vm_map_entry *entry = parent->header.next;
    for (; error == 0 && entry != &parent->header; entry = entry->next)
        error = fork_entry(parent, entry, &how, child);
    child->brk_start = parent->brk_start;
    child->brk = parent->brk;
    child->brk_limit = parent->brk_limit;
    machine_sync(parent->space);
    vm_map_simplify_range(parent, parent->min_offset, parent->max_offset);
    return error;
}

/* Completes what fork_entries began. Also after an error: entries are in transition. */
static int fork_finish(struct vm_map *parent, struct vm_map *child)
{
    const struct fork_how how = {0};
    vm_offset_t start = parent->min_offset, end = parent->max_offset;
    struct fork_copy copy;
    if (!fork_next(child, start, end, &copy))
        return 0;
    vm_object_deallocate(copy.object);
    int error = fork_copies(parent, child, &how, start, end);
    vm_map_lock(parent);
    vm_map_lock(child);
    fork_end_transition(parent, child, &how, start, end);
    vm_map_simplify_range(parent, start, end);
    vm_map_simplify_range(child, start, end);
    vm_map_unlock(child);
    vm_map_unlock(parent);
    return error;
}

int vmspace_fork(struct vm_map *parent, struct vm_map **child)
{
    struct vm_map *map;
    int error = vm_map_create(parent->min_offset, parent->max_offset, &map);
    if (error != 0)
        return error;
    vm_map_lock(parent);
    vm_map_wait_transition(parent, parent->min_offset, parent->max_offset);
    vm_map_lock(map);
    error = fork_entries(parent, map);
    vm_map_unlock(map);
    vm_map_unlock(parent);
    int copied = fork_finish(parent, map);
    error = error != 0 ? error : copied;
    if (error != 0)
        vm_map_destroy(map);
    else
        *child = map;
    return error;
}

/* ---- snapshots ---------------------------------------------------------------------------------------- */

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

/* Copies the entries of [start, end), which are clipped. Errors: -ENOMEM; a part is copied then. */
static int snapshot_entries(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t delta)
    FL_REQUIRES(map->lock)
{
    const struct fork_how how = {.delta = delta, .snapshot = true};
    int error = 0;
    for (vm_offset_t va = start; error == 0 && va < end;) {
        struct vm_map_entry *entry = vm_map_first_after(map, va);
        va = entry->end;
        error = fork_entry(map, entry, &how, map);
    }
    machine_sync(map->space);
    return error;
}

/* Takes the copies in [start, end) out of transition, and keeps them, or not. The source is simplified. */
static void snapshot_end(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t delta, bool keep)
    FL_REQUIRES(map->lock)
{
    const struct fork_how how = {.delta = delta, .snapshot = true};
    fork_end_transition(map, map, &how, start, end);
    if (keep)
        vm_map_simplify_range(map, start, end);
    int error = keep ? 0 : vm_map_delete(map, start, end);
    KASSERT(error == 0, "AM10"); /* no entry is clipped */
    vm_map_simplify_range(map, start - delta, end - delta);
}

/* *copy: where the copy begins, all of it in transition. Errors: as vm_map_snapshot; nothing is there. */
static int snapshot_begin(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t *copy)
    FL_REQUIRES(map->lock)
{
    struct vm_map_entry *first;
    vm_map_wait_transition(map, start, end);
    int error = snapshot_check(map, start, end);
    if (error == 0)
        error = vm_map_findspace_topdown(map, end - start, copy);
    if (error == 0)
        error = vm_map_clip_range(map, start, end, &first);
    if (error != 0)
        return error;
    error = snapshot_entries(map, start, end, *copy - start);
    if (error != 0)
        snapshot_end(map, *copy, *copy + (end - start), *copy - start, false);
    return error;
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
    const struct fork_how how = {.delta = *copy - start, .snapshot = true};
    error = fork_copies(map, map, &how, *copy, copy_end);
    vm_map_lock(map);
    snapshot_end(map, *copy, copy_end, how.delta, error == 0);
    vm_map_unlock(map);
    return error;
}

int vm_map_snapshot(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t *copy)
{
    int error;
    do
        error = snapshot_try(map, start, end, copy);
    while (error == -ENXIO); /* each turn another thread has cut the file off */
    return error;
}

/* ---- after a fork ------------------------------------------------------------------------------------- */

/* Maps the private entry's range anew. */
static int renew_entry(struct vm_map *map, const struct vm_map_entry *entry) FL_REQUIRES(map->lock)
{
    const struct vm_map_entry old = *entry;
    vm_pindex_t pindex = old.pindex;
    unsigned eflags = entry_kept(&old) & ~(unsigned)(MAP_ENTRY_NEEDS_COPY | MAP_ENTRY_NO_ROOM);
    struct vm_object *source = vm_object_bottom(old.object, &pindex);
    if (vm_pager_bounded(source)) {
        vm_object_reference(source);
        eflags |= MAP_ENTRY_NEEDS_COPY;
    } else {
        source = NULL;
    }
    int error = vm_map_delete(map, old.start, old.end);
    if (error == 0)
        error = vm_map_insert(map, source, pindex, old.start, old.end, old.protection, old.max_protection,
                              eflags);
    if (error != 0 && source != NULL)
        vm_object_drop(source);
    return error;
}

int vm_map_renew(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
    struct vm_map_entry *entry;
    vm_map_lock(map);
    vm_map_wait_transition(map, start, end);
    int error = vm_map_clip_range(map, start, end, &entry);
    while (error == 0 && entry != &map->header && entry->start < end) {
        vm_offset_t stop = entry->end;
        if ((entry->eflags & MAP_ENTRY_COW) != 0 && entry->object != NULL)
            error = renew_entry(map, entry);
        entry = vm_map_first_after(map, stop);
    }
    vm_map_unlock(map);
    return error;
}
