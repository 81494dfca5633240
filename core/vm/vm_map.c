/*
 * vm_map.c: the entries of an address space: finding, inserting, splitting, merging, moving and deleting.
 *
 *     header ⇄ [start,end) ⇄ [start,end) ⇄ [start,end) ⇄ header     sorted list; adj_free: the gap behind
 *                       ╲        │        ╱
 *                    a balanced tree by start; max_free: the largest adj_free in a subtree
 *
 *     mmap        ─▶ vm_map_insert    ─▶ merge, else entry_create, entry_link, simplify, pmap_enter
 *     munmap      ─▶ vm_map_delete    ─▶ clip, unmap, rmap_remove, entry_unlink ─▶ map->dead
 *
 * When a mapping is deleted, the machine unmaps it and machine_sync returns; only then does the entry leave
 * reverse mapping. So a page for which reverse mapping finds no entry is not mapped. A new entry is in
 * reverse mapping before its first page is mapped.
 *
 * Invariants: AM1 … AM8, AM10 (vm_map.h). Lock order: (M) → (O) → (R).
 *
 * Does not do: free places (vm_map_find.c), limits (vm_map_limit.c), protections (vm_map_protect.c), wiring
 * (vm_map_wire.c), what a fault looks up (vm_map_lookup.c), the map as a whole (vm_map_space.c).
 */
#include "vm/vm_map_entry.h"
#include "vm/vm_commit.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/vm_fault.h"
#include "vm/vm_harvest.h"
#include "vm/vm_rmap.h"
#include "vm/vm_pager.h"
#include <stdatomic.h>

#define node_entry(n) tree_entry(n, struct vm_map_entry, node)

static struct vm_zone vm_map_entry_zone;
static _Atomic uint64_t entries_now, entries_peak;

/* ---- an entry's life and place ------------------------------------------------------------------------ */

void vm_map_entry_zone_startup(void)
{
    vm_zone_init(&vm_map_entry_zone, "vm_map_entry", sizeof(struct vm_map_entry));
    atomic_store(&entries_now, 0);
    atomic_store(&entries_peak, 0);
}

struct vm_map_entry *vm_map_entry_create(struct vm_map *map)
{
    struct vm_map_entry *entry = vm_zone_alloc(&vm_map_entry_zone);

    if (entry != NULL)
        entry->map = map;
    return entry;
}

void vm_map_entry_dispose(struct vm_map_entry *entry)
{
    vm_zone_free(&vm_map_entry_zone, entry);
}

uint64_t vm_map_entries_now(void)
{
    return atomic_load_explicit(&entries_now, memory_order_relaxed);
}

uint64_t vm_map_entries_peak(void)
{
    return atomic_load_explicit(&entries_peak, memory_order_relaxed);
}

void vm_map_entry_set_max_free(struct tree_node *node)
{
    struct vm_map_entry *entry = node_entry(node);
    vm_offset_t max = entry->adj_free;

    if (node->left != NULL && node_entry(node->left)->max_free > max)
        max = node_entry(node->left)->max_free;
    if (node->right != NULL && node_entry(node->right)->max_free > max)
        max = node_entry(node->right)->max_free;
    entry->max_free = max;
}

/* The gap after `entry`, which may be the header, changed. The header is in no tree. */
static void vm_map_entry_set_adj_free(struct vm_map *map, struct vm_map_entry *entry) FL_REQUIRES(map->lock)
{
    vm_offset_t adj_free = vm_map_entry_free_behind(entry);

    if (entry->adj_free == adj_free)
        return;
    entry->adj_free = adj_free;
    if (entry != &map->header)
        tree_update(&map->tree, &entry->node);
}

void vm_map_entry_link(struct vm_map *map, struct vm_map_entry *after, struct vm_map_entry *entry)
{
    struct vm_map_entry *next = after->next;
    uint64_t now, peak;

    KASSERT(entry->start < entry->end && after->end <= entry->start && entry->end <= next->start, "AM1");
    entry->prev = after;
    entry->next = next;
    after->next = next->prev = entry;
    entry->adj_free = vm_map_entry_free_behind(entry);
    if (after != &map->header && after->node.right == NULL)
        tree_insert(&map->tree, &entry->node, &after->node, false);
    else if (next != &map->header)
        tree_insert(&map->tree, &entry->node, &next->node, true);
    else
        tree_insert(&map->tree, &entry->node, NULL, true);
    vm_map_entry_set_adj_free(map, after);
    map->nentries++;
    vm_map_entry_account(map, entry, entry->end - entry->start);

    now = atomic_fetch_add_explicit(&entries_now, 1, memory_order_relaxed) + 1;
    peak = atomic_load_explicit(&entries_peak, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak(&entries_peak, &peak, now))
        ;
}

void vm_map_entry_unlink(struct vm_map *map, struct vm_map_entry *entry)
{
    struct vm_map_entry *prev = entry->prev;

    tree_remove(&map->tree, &entry->node);
    prev->next = entry->next;
    entry->next->prev = prev;
    vm_map_entry_set_adj_free(map, prev);
    map->nentries--;
    vm_map_entry_account(map, entry, entry->start - entry->end);
    atomic_fetch_sub_explicit(&entries_now, 1, memory_order_relaxed);
}

void vm_map_entry_resize(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end,
                         vm_pindex_t pindex)
{
    KASSERT(start < end && entry->prev->end <= start && end <= entry->next->start, "AM1");
    vm_map_entry_account(map, entry, (end - start) - (entry->end - entry->start));
    vm_rmap_resize(entry, start, end, pindex);
    vm_map_entry_set_adj_free(map, entry);
    vm_map_entry_set_adj_free(map, entry->prev);
}

/* ---- finding ------------------------------------------------------------------------------------------ */

bool vm_map_lookup_entry(struct vm_map *map, vm_offset_t va, struct vm_map_entry **entry)
{
    struct tree_node *node = map->tree.root;
    struct vm_map_entry *below = &map->header;

    while (node != NULL) {
        struct vm_map_entry *e = node_entry(node);

        if (va < e->start) {
            node = node->left;
        } else {
            below = e;
            if (va < e->end) {
                *entry = e;
                return true;
            }
            node = node->right;
        }
    }
    *entry = below;
    return false;
}

struct vm_map_entry *vm_map_first_after(struct vm_map *map, vm_offset_t va)
{
    struct vm_map_entry *entry;

    return vm_map_lookup_entry(map, va, &entry) ? entry : entry->next;
}

/* ---- splitting and merging ---------------------------------------------------------------------------- */

/*
 * Splits the entry at addr; the new entry is the lower or the upper half. It enters reverse mapping before
 * the old one shrinks. In between both cover the half, so a walk visits it twice; in the other order a walk
 * would miss it.
 */
static int vm_map_clip(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t addr, bool new_is_lower)
    FL_REQUIRES(map->lock)
{
    struct vm_map_entry *half = vm_map_entry_create(map);
    vm_pindex_t upper_pindex = entry->object == NULL ? 0 : vm_map_entry_pindex(entry, addr);

    vm_rwlock_assert_write(&map->lock);
    if (half == NULL)
        return -ENOMEM;
    half->start = new_is_lower ? entry->start : addr;
    half->end = new_is_lower ? addr : entry->end;
    half->object = entry->object;
    half->pindex = new_is_lower ? entry->pindex : upper_pindex;
    half->protection = entry->protection;
    half->max_protection = entry->max_protection;
    half->eflags = entry->eflags;
    half->behavior = entry->behavior;
    half->inheritance = entry->inheritance;
    half->wired_count = entry->wired_count;
    half->writenotify = entry->writenotify;
    half->attached = entry->attached;
    half->committed = entry->committed;
    half->wb_told = entry->wb_told;
    half->stream = entry->stream;
    if ((entry->eflags & MAP_ENTRY_GROWS_DOWN) != 0)
        (new_is_lower ? entry : half)->eflags |= MAP_ENTRY_NO_ROOM;
    if (half->object != NULL) {
        vm_object_reference(half->object);
        vm_rmap_insert(half);
    }
    if (new_is_lower) {
        vm_map_entry_resize(map, entry, addr, entry->end, upper_pindex);
        vm_map_entry_link(map, entry->prev, half);
    } else {
        vm_map_entry_resize(map, entry, entry->start, addr, entry->pindex);
        vm_map_entry_link(map, entry, half);
    }
    return 0;
}

int vm_map_clip_start(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t addr)
{
    if (addr <= entry->start || addr >= entry->end)
        return 0;
    return vm_map_clip(map, entry, addr, true);
}

int vm_map_clip_end(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t addr)
{
    if (addr <= entry->start || addr >= entry->end)
        return 0;
    return vm_map_clip(map, entry, addr, false);
}

int vm_map_clip_range(struct vm_map *map, vm_offset_t start, vm_offset_t end, struct vm_map_entry **first)
{
    struct vm_map_entry *entry = vm_map_first_after(map, start);
    struct vm_map_entry *last;
    int error;

    *first = entry;
    if (entry == &map->header || entry->start >= end)
        return 0;
    error = vm_map_clip_start(map, entry, start);
    if (error != 0)
        return error;
    if (vm_map_lookup_entry(map, end - 1, &last))
        error = vm_map_clip_end(map, last, end);
    if (error != 0)
        vm_map_simplify_entry(map, entry);
    return error;
}

/*
 * Whether two entries are alike in all but addresses and objects, so that they may become one. NO_ROOM does
 * not count: it says only that the upper one was split from a stack.
 */
static bool vm_map_entry_same_kind(const struct vm_map_entry *a, const struct vm_map_entry *b)
{
    return a->protection == b->protection && a->max_protection == b->max_protection &&
           ((a->eflags ^ b->eflags) & ~MAP_ENTRY_NO_ROOM) == 0 &&
           (a->eflags & MAP_ENTRY_IN_TRANSITION) == 0 && a->behavior == b->behavior &&
           a->committed == b->committed && a->inheritance == b->inheritance &&
           a->wired_count == b->wired_count;
}

bool vm_map_entry_mergeable(const struct vm_map_entry *prev, const struct vm_map_entry *next)
{
    if (prev->end != next->start || prev->object != next->object || !vm_map_entry_same_kind(prev, next))
        return false;
    return prev->object == NULL || prev->pindex + vm_map_entry_npages(prev) == next->pindex;
}

/*
 * `entry` takes over the addresses of its neighbour `gone`, which is freed with its reference to the object.
 */
static void vm_map_entry_absorb(struct vm_map *map, struct vm_map_entry *entry, struct vm_map_entry *gone)
    FL_REQUIRES(map->lock)
{
    bool below = gone->end == entry->start;

    vm_rwlock_assert_write(&map->lock);
    entry->wb_told = errseq_older(entry->wb_told, gone->wb_told); /* better told twice than never */
    vm_map_entry_unlink(map, gone);
    if (below)
        vm_map_entry_resize(map, entry, gone->start, entry->end, gone->pindex);
    else
        vm_map_entry_resize(map, entry, entry->start, gone->end, entry->pindex);
    if (gone->object != NULL) {
        vm_rmap_remove(gone);
        vm_object_drop(gone->object); /* not the last reference: `entry` has one */
    }
    if (below) {
        entry->stream = gone->stream; /* a stream comes from below */
        entry->eflags = gone->eflags; /* the same but for NO_ROOM, and the lower one's is right */
    }
    vm_map_entry_dispose(gone);
}

void vm_map_simplify_entry(struct vm_map *map, struct vm_map_entry *entry)
{
    if (entry->prev != &map->header && vm_map_entry_mergeable(entry->prev, entry))
        vm_map_entry_absorb(map, entry, entry->prev);
    if (entry->next != &map->header && vm_map_entry_mergeable(entry, entry->next))
        vm_map_entry_absorb(map, entry, entry->next);
}

void vm_map_simplify_range(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
    struct vm_map_entry *entry = vm_map_first_after(map, start);

    for (; entry != &map->header && entry->start < end; entry = entry->next)
        vm_map_simplify_entry(map, entry);
    if (entry != &map->header)
        vm_map_simplify_entry(map, entry);
}

/* ---- inserting ---------------------------------------------------------------------------------------- */

/*
 * New private anonymous memory that continues touched memory of its kind makes that one's object longer, if
 * the object ends there. So a heap that grows page by page stays one entry. Beyond its size an object never
 * had pages, so zeros show. (vm_object_coalesce, FreeBSD.)
 */
static void vm_map_entry_coalesce(struct vm_map_entry *prev, struct vm_map_entry *entry)
{
    struct vm_object *object = prev->object;
    vm_pindex_t pindex;

    if (entry->object != NULL || prev->end != entry->start || object == NULL ||
        !vm_map_entry_is_private_anonymous(entry) || !vm_map_entry_is_private_anonymous(prev) ||
        !vm_map_entry_same_kind(prev, entry) || (entry->eflags & MAP_ENTRY_GROWS_DOWN) != 0)
        return;
    pindex = prev->pindex + vm_map_entry_npages(prev);
    vm_lock(&object->lock);
    if (object->size == pindex) {
        object->size += vm_map_entry_npages(entry);
        vm_object_reference_locked(object);
        entry->object = object;
        entry->pindex = pindex;
    }
    vm_unlock(&object->lock);
}

void vm_map_entry_mark(const struct vm_map_entry *entry, struct vm_object *object)
{
    bool silent = (entry->protection & VM_PROT_WRITE) != 0 && !entry->writenotify && !object->writenotify;

    if (silent && vm_pager_ops(object)->mark_dirty != NULL)
        vm_pager_ops(object)->mark_dirty(object);
}

static int vm_map_attach_locked(struct vm_map *map, vm_offset_t start, vm_offset_t end,
                                struct vm_map_entry *entry, struct vm_object *object, vm_pindex_t pindex)
    FL_REQUIRES(map->lock, object->lock)
{
    vm_prot_t rights = vm_map_prot_rights(entry->protection);
    bool notify = entry->writenotify && object == entry->object; /* a shadow says so itself */
    vm_freeze_wait(object);
    unsigned flags = notify || object->writenotify ? MACHINE_ATTACH_WRITENOTIFY : 0;
    vm_rwlock_write(&vm_rmap_lock);
    int error = machine_attach(map->space, start, end, rights, object->machine, pindex, flags);
    vm_rwlock_write_done(&vm_rmap_lock);
    if (error == 0) {
        entry->attached = true;
        vm_map_entry_mark(entry, object);
    }
    return error;
}

int vm_map_attach(struct vm_map *map, vm_offset_t start, vm_offset_t end, struct vm_map_entry *entry,
                  struct vm_object *object, vm_pindex_t pindex)
{
    vm_lock(&object->lock);
    int error = vm_map_attach_locked(map, start, end, entry, object, pindex);
    vm_unlock(&object->lock);
    return error;
}

static int vm_map_entry_attach(struct vm_map *map, struct vm_map_entry *entry) FL_REQUIRES(map->lock)
{
    if (entry->object == NULL)
        return 0; /* untouched: the first fault makes an object and attaches it. Reserved: never attached */
    return vm_map_attach(map, entry->start, entry->end, entry, entry->object, entry->pindex);
}

/* The neighbour that the entry, which is in no list, can be merged into: `prev` or its next one; or NULL. */
static struct vm_map_entry *vm_map_merge_into(const struct vm_map *map, struct vm_map_entry *prev,
                                              const struct vm_map_entry *entry)
{
    struct vm_map_entry *next = prev->next;

    if (prev != &map->header && vm_map_entry_mergeable(prev, entry))
        return prev;
    return next != &map->header && vm_map_entry_mergeable(entry, next) ? next : NULL;
}

/*
 * The neighbour becomes longer by the new entry, whose reference to the object it drops. A machine that
 * enters pages itself may take stores once the range is attached, so reverse mapping learns of it under the
 * same (O). Errors: -ENOMEM, nothing changed.
 */
static int vm_map_entry_expand(struct vm_map *map, struct vm_map_entry *neighbour,
                               const struct vm_map_entry *entry) FL_REQUIRES(map->lock)
{
    bool below = entry->end == neighbour->start;
    vm_offset_t start = below ? entry->start : neighbour->start, end = below ? neighbour->end : entry->end;
    vm_pindex_t pindex = below ? entry->pindex : neighbour->pindex;
    struct vm_object *object = entry->object;
    int error = 0;

    if (object == NULL) {
        vm_map_entry_resize(map, neighbour, start, end, pindex);
        return 0;
    }
    vm_lock(&object->lock);
    error = vm_map_attach_locked(map, entry->start, entry->end, neighbour, object, entry->pindex);
    if (error == 0)
        vm_map_entry_resize(map, neighbour, start, end, pindex);
    vm_unlock(&object->lock);
    if (error != 0)
        return error;
    neighbour->wb_told = errseq_older(neighbour->wb_told, entry->wb_told); /* better told twice than never */
    vm_object_drop(object); /* not the last reference: the neighbour has one */
    return 0;
}

/* Puts a copy of the new entry behind `prev`; *entry: the copy. Errors: -ENOMEM, nothing changed. */
static int vm_map_insert_entry(struct vm_map *map, struct vm_map_entry *prev, const struct vm_map_entry *new,
                               struct vm_map_entry **entry) FL_REQUIRES(map->lock)
{
    struct vm_map_entry *copy = vm_map_entry_create(map);
    int error;

    if (copy == NULL)
        return -ENOMEM;
    *copy = *new;
    /* Before it is attached: a machine that enters pages itself may take stores from that moment on. */
    if (copy->object != NULL)
        vm_rmap_insert(copy);
    error = vm_map_entry_attach(map, copy);
    if (error != 0) {
        if (copy->object != NULL)
            vm_rmap_remove(copy);
        vm_map_entry_dispose(copy);
        return error;
    }
    vm_map_entry_link(map, prev, copy);
    *entry = copy;
    return 0;
}

int vm_map_insert(struct vm_map *map, struct vm_object *object, vm_pindex_t pindex, vm_offset_t start,
                  vm_offset_t end, vm_prot_t prot, vm_prot_t max, unsigned eflags)
{
    struct vm_map_entry *prev, *entry;
    int error;

    if (start < map->min_offset || end > map->max_offset || start >= end ||
        ((start | end) & VM_PAGE_MASK) != 0)
        return -EINVAL;
    if (vm_map_lookup_entry(map, start, &prev) || prev->next->start < end)
        return -EEXIST;
    struct vm_map_entry new = {
        .map = map,
        .start = start,
        .end = end,
        .object = object,
        .pindex = object == NULL ? 0 : pindex,
        .protection = prot,
        .max_protection = max,
        .eflags = (uint8_t)(object == NULL ? eflags & ~MAP_ENTRY_NEEDS_COPY : eflags),
        .behavior = (uint8_t)(eflags >> 8),
        .inheritance = (uint8_t)(eflags >> 16),
        .committed = (eflags & MAP_INSERT_COMMITTED) != 0 || vm_commit_covers(eflags, prot, object),
    };
    if (object != NULL && vm_pager_ops(object)->sample_errors != NULL)
        new.wb_told = vm_pager_ops(object)->sample_errors(object);
    new.writenotify = (new.eflags &MAP_ENTRY_NEEDS_COPY) != 0;
    if (prev != &map->header)
        vm_map_entry_coalesce(prev, &new);
    entry = vm_map_merge_into(map, prev, &new);
    error =
        entry != NULL ? vm_map_entry_expand(map, entry, &new) : vm_map_insert_entry(map, prev, &new, &entry);
    if (error != 0) {
        /* A reference from coalescing, not the last one; that the object is longer now does no harm. */
        if (new.object != object)
            vm_object_drop(new.object);
        return error;
    }
    vm_map_simplify_entry(map, entry);
    vm_map_pmap_enter(map, entry, start, end);
    return 0;
}

/* ---- deleting and moving ------------------------------------------------------------------------------ */

void vm_map_entry_settle(struct vm_map *map, struct vm_map_entry *entry, struct vm_object *object)
{
    vm_pindex_t end = entry->pindex + vm_map_entry_npages(entry);

    vm_freeze_wait(object);
    if ((entry->protection & VM_PROT_WRITE) == 0 || entry->writenotify || object->writenotify)
        return; /* what was stored came by faults */
    vm_rwlock_write(&vm_rmap_lock);
    int error = machine_freeze(map->space, entry->start, entry->end, vm_map_prot_rights(entry->protection));
    machine_wrprotect(map->space, entry->start, entry->end);
    machine_sync(map->space);
    vm_rwlock_write_done(&vm_rmap_lock);
    vm_harvest(object, entry->pindex, end, MACHINE_DIRTY);
    if (error != 0)
        vm_harvest_assume(object, entry->pindex, end);
}

/* Unmaps and detaches the entry's range in the machine. The caller calls machine_sync afterwards. */
static void vm_map_entry_detach(struct vm_map *map, struct vm_map_entry *entry) FL_REQUIRES(map->lock)
{
    struct vm_object *object = entry->object;

    if (object == NULL)
        return;
    vm_lock(&object->lock);
    vm_map_entry_settle(map, entry, object);
    vm_rwlock_write(&vm_rmap_lock); /* as in vm_map_attach */
    machine_unmap(map->space, entry->start, entry->end, 0, NULL);
    machine_detach(map->space, entry->start, entry->end);
    entry->attached = false;
    vm_rwlock_write_done(&vm_rmap_lock);
    vm_unlock(&object->lock);
}

/* Takes the entry, whose range is not mapped any more, out of the map; vm_map_unlock frees it. */
static void vm_map_entry_delete(struct vm_map *map, struct vm_map_entry *entry) FL_REQUIRES(map->lock)
{
    if (entry->object != NULL)
        vm_rmap_remove(entry);
    vm_map_entry_unlink(map, entry);
    entry->next = map->dead;
    map->dead = entry;
}

int vm_map_delete(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
    struct vm_map_entry *first, *entry, *next;
    int error;

    vm_map_wait_transition(map, start, end);
    error = vm_map_clip_range(map, start, end, &first);
    if (error != 0 || first == &map->header || first->start >= end)
        return error;
    for (entry = first; entry != &map->header && entry->start < end; entry = entry->next) {
        if (entry->wired_count != 0)
            vm_fault_unwire(map, entry, entry->start, entry->end);
        vm_map_entry_detach(map, entry);
    }
    machine_sync(map->space);
    for (entry = first; entry != &map->header && entry->start < end; entry = next) {
        next = entry->next;
        vm_map_entry_delete(map, entry);
    }
    return 0;
}

/* Detaches the entries from `first` up to `stop` at their new places, and undoes the clips. */
static void vm_map_relocate_undo(struct vm_map *map, struct vm_map_entry *first, struct vm_map_entry *stop,
                                 vm_offset_t delta, vm_offset_t end) FL_REQUIRES(map->lock)
{
    vm_offset_t start = first->start;
    struct vm_map_entry *entry;

    for (entry = first; entry != stop; entry = entry->next) {
        if (entry->object != NULL)
            machine_detach(map->space, entry->start + delta, entry->end + delta);
    }
    machine_sync(map->space);
    vm_map_simplify_range(map, start, end);
}

/* Reverse mapping knows the entry's new place, which is attached. */
static void vm_map_entry_arrived(struct vm_map_entry *entry)
{
    if (entry->object == NULL)
        return;
    vm_lock(&entry->object->lock);
    entry->attached = true;
    vm_unlock(&entry->object->lock);
}

/* The new places are attached before the old ones are detached, so a failure leaves everything as it was. */
int vm_map_relocate(struct vm_map *map, vm_offset_t old, vm_offset_t length, vm_offset_t new_start)
{
    struct vm_map_entry *first, *entry, *next, *after;
    vm_offset_t delta = new_start - old, end = old + length;
    int error = vm_map_clip_range(map, old, end, &first);

    if (error != 0)
        return error;
    for (entry = first; entry != &map->header && entry->start < end; entry = entry->next) {
        KASSERT((entry->eflags & MAP_ENTRY_IN_TRANSITION) == 0, "AM10");
        if (entry->object != NULL)
            error = vm_map_attach(map, entry->start + delta, entry->end + delta, entry, entry->object,
                                  entry->pindex);
        if (error != 0) {
            vm_map_relocate_undo(map, first, entry, delta, end);
            return error;
        }
    }
    for (entry = first; entry != &map->header && entry->start < end; entry = entry->next)
        vm_map_entry_detach(map, entry);
    machine_sync(map->space);
    for (entry = first; entry != &map->header && entry->start < end; entry = next) {
        next = entry->next;
        vm_map_entry_unlink(map, entry);
        vm_rmap_resize(entry, entry->start + delta, entry->end + delta, entry->pindex);
        vm_map_entry_arrived(entry);
        if (vm_map_lookup_entry(map, entry->start, &after))
            machine_panic("invariant AM1 broken: vm_map_relocate onto a mapping");
        vm_map_entry_link(map, after, entry);
    }
    vm_map_simplify_range(map, new_start, new_start + length);
    return 0;
}
