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
 *   unlocked:           (M) of the parent: all entries     unlocked: copies of      (M): leave
 *   chains made short ─▶ the pinned ones in transition ─▶ pinned pages (page-ins) ─▶ transition
 *
 * The child has what the parent's threads stored before the call. A store that another thread makes meanwhile
 * is in the child or not, page by page, as on other systems.
 *
 * Locks: (M) of the parent, then (M) of the child, which no other thread knows; (O); (R).
 * Loops: a copy of a page waits for the end of its transfer (vm_page_busy_sleep), with no lock held.
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
#include "vm/vm_commit.h"
#include "vm/vm_harvest.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_rmap.h"

/* What the child has of an entry's flags, for vm_map_insert. */
static unsigned fork_eflags(const struct vm_map_entry *entry)
{
    unsigned kept = entry->eflags & ~(unsigned)(MAP_ENTRY_WIRED | MAP_ENTRY_IN_TRANSITION);
    return kept | MAP_INSERT_BEHAVIOR(entry->behavior) | MAP_INSERT_INHERIT(entry->inheritance) |
           (entry->committed ? MAP_INSERT_COMMITTED : 0);
}

/* The child's entry: the object from pindex on, whose reference is the entry's. Errors: as vm_map_insert. */
static int fork_insert(struct vm_map *child, const struct vm_map_entry *entry, struct vm_object *object,
                       vm_pindex_t pindex, unsigned eflags) FL_REQUIRES(child->lock)
{
    int error = vm_map_insert(child, object, pindex, entry->start, entry->end, entry->protection,
                              entry->max_protection, eflags);
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

/* The child gets an empty shadow over what is behind the entry's pages, which are copied later. */
static int fork_pinned(struct vm_map_entry *entry, struct vm_map *child) FL_REQUIRES(child->lock)
{
    vm_pindex_t npages = vm_map_entry_npages(entry), pindex = entry->pindex;
    struct vm_object *object, *backing;
    vm_object_reference(entry->object);
    object = backing = vm_object_next(entry->object, &pindex);
    int error = 0;
    if (backing != NULL)
        error = vm_object_shadow(&object, &pindex, npages);
    else if ((object = vm_object_allocate(OBJT_SWAP, npages, NULL)) == NULL)
        error = -ENOMEM;
    if (error != 0) {
        if (backing != NULL)
            vm_object_drop(backing);
        return error;
    }
    /* The child's is in transition, too, so that it does not merge with neighbours before it is filled. */
    error = fork_insert(child, entry, object, 0, fork_eflags(entry) | MAP_ENTRY_IN_TRANSITION);
    if (error == 0)
        entry->eflags |= MAP_ENTRY_IN_TRANSITION;
    return error;
}

/* One entry. Errors: -ENOMEM. */
static int fork_entry(struct vm_map *parent, struct vm_map_entry *entry, struct vm_map *child)
    FL_REQUIRES(parent->lock, child->lock)
{
    struct vm_object *object = entry->object;
    bool private = (entry->eflags & MAP_ENTRY_COW) != 0;
    unsigned eflags = fork_eflags(entry);
    if ((entry->inheritance & VM_INHERIT_NONE) != 0)
        return 0;
    if (object == NULL || (entry->inheritance & VM_INHERIT_ZERO) != 0)
        return fork_insert(child, entry, NULL, 0, eflags & ~(unsigned)MAP_ENTRY_NEEDS_COPY);
    if (private && entry_pinned(entry))
        return fork_pinned(entry, child);
    if (private) {
        int error = entry_needs_copy(parent, entry);
        if (error != 0)
            return error;
        eflags |= MAP_ENTRY_NEEDS_COPY;
    }
    vm_object_reference(object);
    return fork_insert(child, entry, object, entry->pindex, eflags);
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
    int error = 0;
    vm_lock(&from->lock);
    vm_object_pip_add(from);
    while (error == 0 && at - start < npages) {
        struct vm_page *m = vm_page_lookup(from, at);
        if (m == NULL && vm_pager_has_page(from, at, NULL, NULL)) {
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

/* Copies the parent's pages for the child's entry. The parent's stays as it is: it is in transition. */
static int fork_copy(struct vm_map *parent, const struct vm_map_entry *copy)
{
    struct vm_map_entry *entry;
    vm_map_lock_read(parent);
    bool found = vm_map_lookup_entry(parent, copy->start, &entry);
    KASSERT(found && entry->start == copy->start && entry->end == copy->end, "AM10");
    struct vm_object *from = entry->object;
    vm_pindex_t pindex = entry->pindex;
    vm_object_reference(from);
    vm_map_unlock_read(parent);
    int error = copy_pages(from, pindex, vm_map_entry_npages(copy), copy->object);
    vm_object_deallocate(from);
    return error;
}

/* The child's entries that fork_pinned made, and the parent's at the same places, leave transition. */
static void fork_end_transition(struct vm_map *parent, struct vm_map *child)
    FL_REQUIRES(parent->lock, child->lock)
{
    struct vm_map_entry *copy, *entry;
    for (copy = child->header.next; copy != &child->header; copy = copy->next) {
        if ((copy->eflags & MAP_ENTRY_IN_TRANSITION) == 0)
            continue;
        copy->eflags &= (uint8_t)~MAP_ENTRY_IN_TRANSITION;
        if (vm_map_lookup_entry(parent, copy->start, &entry))
            entry->eflags &= (uint8_t)~MAP_ENTRY_IN_TRANSITION;
    }
    vm_map_simplify_range(parent, parent->min_offset, parent->max_offset);
    vm_map_simplify_range(child, child->min_offset, child->max_offset);
    vm_map_wakeup_transition(parent);
}

/* Copies what fork_pinned left, with no lock held, and ends the transition. No other thread has the child. */
static int fork_copies(struct vm_map *parent, struct vm_map *child)
{
    const struct vm_map_entry *entry;
    bool any = false;
    int error = 0;
    for (entry = child->header.next; entry != &child->header; entry = entry->next) {
        if ((entry->eflags & MAP_ENTRY_IN_TRANSITION) == 0)
            continue;
        any = true;
        error = error == 0 ? fork_copy(parent, entry) : error;
    }
    if (!any)
        return 0;
    vm_map_lock(parent);
    vm_map_lock(child);
    fork_end_transition(parent, child);
    vm_map_unlock(child);
    vm_map_unlock(parent);
    return error;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

/* How many pages of the child's are promised to it. */
static vm_pindex_t fork_promise(const struct vm_map *parent) FL_REQUIRES_SHARED(parent->lock)
{
    vm_pindex_t npages = 0;
    for (const struct vm_map_entry *entry = parent->header.next; entry != &parent->header;
         entry = entry->next)
        if (entry->committed && (entry->inheritance & VM_INHERIT_NONE) == 0)
            npages += vm_map_entry_npages(entry);
    return npages;
}

static int fork_entries(struct vm_map *parent, struct vm_map *child) FL_REQUIRES(parent->lock, child->lock)
{
    vm_pindex_t promise = fork_promise(parent);
    int error = vm_commit_reserve(promise) ? 0 : -ENOMEM;
    if (error != 0)
        return error;
    struct vm_map_entry *entry = parent->header.next;
    for (; error == 0 && entry != &parent->header; entry = entry->next)
        error = fork_entry(parent, entry, child);
    child->limits = parent->limits;
    child->mmap_base = parent->mmap_base;
    child->brk_start = parent->brk_start;
    child->brk = parent->brk;
    child->brk_limit = parent->brk_limit;
    machine_sync(parent->space);
    vm_map_simplify_range(parent, parent->min_offset, parent->max_offset);
    vm_commit_release(promise);
    return error;
}

/*
 * The object of the first private entry from *va on that stands over anonymous memory, with a reference; *va:
 * the entry's end. NULL: there is none.
 */
static struct vm_object *next_chain(struct vm_map *map, vm_offset_t *va)
{
    struct vm_object *object = NULL;
    vm_map_lock_read(map);
    vm_rwlock_read(&vm_rmap_lock);
    struct vm_map_entry *entry = vm_map_first_after(map, *va);
    for (; object == NULL && entry != &map->header; entry = entry->next) {
        *va = entry->end;
        if ((entry->eflags & (MAP_ENTRY_COW | MAP_ENTRY_NEEDS_COPY)) == MAP_ENTRY_COW &&
            entry->object != NULL && entry->object->backing_object != NULL &&
            entry->object->backing_object->type == OBJT_SWAP)
            object = entry->object;
    }
    vm_rwlock_read_done(&vm_rmap_lock);
    if (object != NULL)
        vm_object_reference(object);
    vm_map_unlock_read(map);
    return object;
}

/*
 * Makes the space's chains short before the fork makes them longer. The end of another space does that too,
 * but the children of a server may stay.
 */
static void fork_shorten(struct vm_map *map)
{
    vm_offset_t va = map->min_offset;
    struct vm_object *object;
    while ((object = next_chain(map, &va)) != NULL) {
        vm_object_collapse(object);
        vm_object_deallocate(object);
    }
}

int vmspace_fork(struct vm_map *parent, struct vm_map **child)
{
    struct vm_map *map;
    int error = vm_map_create(parent->min_offset, parent->max_offset, &map);
    if (error != 0)
        return error;
    fork_shorten(parent);
    vm_map_lock(parent);
    vm_map_wait_transition(parent, parent->min_offset, parent->max_offset);
    vm_map_lock(map);
    error = fork_entries(parent, map);
    vm_map_unlock(map);
    vm_map_unlock(parent);
    int copied = fork_copies(parent, map); /* also after an error: it ends the transition */
    error = error != 0 ? error : copied;
    if (error != 0)
        vm_map_destroy(map);
    else
        *child = map;
    return error;
}

/* ---- after a fork ------------------------------------------------------------------------------------- */

/* Maps the private entry's range anew. */
static int renew_entry(struct vm_map *map, const struct vm_map_entry *entry) FL_REQUIRES(map->lock)
{
    const struct vm_map_entry old = *entry;
    vm_pindex_t pindex = old.pindex;
    unsigned eflags = fork_eflags(&old) & ~(unsigned)(MAP_ENTRY_NEEDS_COPY | MAP_ENTRY_NO_ROOM);
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
