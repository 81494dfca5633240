/*
 * vm_map_lookup.c: what a fault is to use: entry, object, page index and rights; and the changes to the map
 * that a fault makes on its way.
 *
 *     (M) shared:     entry ─▶ allowed? ─▶ ready? ────────────────────────────────────▶ object, pindex, prot
 *                                            │ no: no object yet, a write without shadow, a stack's gap
 *     (M) exclusive:                         └─▶ look again ─▶ grow, allocate, shadow ─▶ downgrade ─▶ ⤴
 *
 * When an entry's object changes, the machine is told first, which ends the old mappings, and then reverse
 * mapping. Faults cannot enter a mapping in between, because they need (M).
 *
 * Invariants: AM4, AM5, AM7 (vm_map.h). Lock order: (M) → (O) → (R).
 * Does not do: pages (vm_fault.c).
 */
#include "vm/vm_map_entry.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_commit.h"
#include "vm/vm_page.h"
#include "vm/vm_pager.h"
#include "vm/vm_reserv.h"
#include "vm/vm_rmap.h"

/* Whether the entry must change, under (M) exclusive, before the access, which its protection allows. */
static bool vm_map_entry_needs_change(const struct vm_map_entry *entry, vm_prot_t access)
{
    if (entry->object == NULL)
        return true;
    return (access & VM_PROT_WRITE) != 0 && (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0;
}

/* *entry: the one that va lies in, if it allows the access. Errors: -EFAULT, -EACCES. */
static int vm_map_lookup_allowed(struct vm_map *map, vm_offset_t va, vm_prot_t access,
                                 struct vm_map_entry **entry) FL_REQUIRES_SHARED(map->lock)
{
    if (!vm_map_lookup_entry(map, va, entry))
        return -EFAULT;
    if (((*entry)->eflags & MAP_ENTRY_RESERVED) != 0)
        return -EFAULT;
    if ((access & ~vm_map_prot_rights((*entry)->protection)) != 0)
        return -EACCES;
    return 0;
}

/* The stack whose gap va lies in, or NULL. `below` is the last entry before va. */
static struct vm_map_entry *vm_map_stack_above(struct vm_map *map, struct vm_map_entry *below)
{
    struct vm_map_entry *stack = below->next;

    return stack != &map->header && (stack->eflags & MAP_ENTRY_GROWS_DOWN) != 0 ? stack : NULL;
}

/*
 * Gives the entry another object. The caller's reference to it becomes the entry's, and the entry's reference
 * to the old one the caller's. Errors: -ENOMEM, nothing changed.
 */
static int vm_map_entry_set_object(struct vm_map *map, struct vm_map_entry *entry, struct vm_object *object,
                                   vm_pindex_t pindex) FL_REQUIRES(map->lock)
{
    int error = vm_map_attach(map, entry->start, entry->end, entry, object, pindex);

    if (error != 0)
        return error;
    if (entry->object != NULL) {
        machine_sync(map->space);
        vm_rmap_remove(entry);
    }
    entry->object = object;
    entry->pindex = pindex;
    vm_rmap_insert(entry);
    return 0;
}

/*
 * The index of the entry's first page in an object of its own. A stack's object has room below, so that the
 * stack stays one entry as it grows. Where there are reservations, a large entry's pages lie in them as its
 * addresses lie in superpages, so that a full one can be mapped by one entry. (pg_color, FreeBSD 11.)
 */
static vm_pindex_t vm_map_entry_first(const struct vm_map_entry *entry)
{
    vm_pindex_t npages = vm_map_entry_npages(entry);

    if ((entry->eflags & MAP_ENTRY_GROWS_DOWN) != 0)
        return npages < atop(VM_STACK_LIMIT) ? atop(VM_STACK_LIMIT) - npages : 0;
    return vm_reserv_used() && npages >= VM_LEVEL_0_NPAGES ? atop(entry->start) % VM_LEVEL_0_NPAGES : 0;
}

/* Gives an untouched entry its object. */
static int vm_map_entry_allocate(struct vm_map *map, struct vm_map_entry *entry) FL_REQUIRES(map->lock)
{
    vm_pindex_t first = vm_map_entry_first(entry);
    struct vm_object *object;
    int error;

    object = vm_object_allocate(OBJT_SWAP, first + vm_map_entry_npages(entry), NULL);
    if (object == NULL)
        return -ENOMEM;
    error = vm_map_entry_set_object(map, entry, object, first);
    if (error != 0)
        vm_object_drop(object); /* it has no pages */
    else
        entry->eflags &= (uint8_t)~MAP_ENTRY_NO_ROOM;
    return error;
}

/* The first write to a private mapping of a file, or after a fork: puts a shadow in front of the object. */
static int vm_map_entry_shadow(struct vm_map *map, struct vm_map_entry *entry) FL_REQUIRES(map->lock)
{
    struct vm_object *old = entry->object, *shadow = old;
    vm_pindex_t pindex = entry->pindex;

    /* What a fork shared has become the entry's own: no other entry and no shadow refers to it any more. */
    if (!vm_pager_bounded(old) && atomic_load(&old->ref_count) == 1) {
        entry->eflags &= (uint8_t)~MAP_ENTRY_NEEDS_COPY;
        return 0;
    }
    /* The shadow takes over the entry's reference. Until the entry shows the shadow it needs another one, or
     * the end of another space could collapse the two, and end what the entry shows. */
    vm_object_reference(old);
    int error = vm_object_shadow(&shadow, &pindex, vm_map_entry_npages(entry));

    if (error == 0) {
        error = vm_map_entry_set_object(map, entry, shadow, pindex);
        if (error != 0) {
            vm_object_drop(shadow); /* it is empty, and drops what it took over: the entry has the other */
            return error;
        }
        entry->eflags &= (uint8_t)~MAP_ENTRY_NEEDS_COPY;
    }
    vm_object_drop(old); /* the shadow has one, or has looked past it, because it has no pages */
    return error;
}

/* Changes the map so that the access can go on. Errors: as vm_map_lookup. */
static int vm_map_lookup_change(struct vm_map *map, vm_offset_t va, vm_prot_t access,
                                struct vm_map_entry **entry) FL_REQUIRES(map->lock)
{
    int error = vm_map_lookup_allowed(map, va, access, entry);

    if (error == -EFAULT && vm_map_stack_above(map, *entry) != NULL && (*entry)->end <= va) {
        error = vm_map_growstack(map, va);
        if (error == 0)
            error = vm_map_lookup_allowed(map, va, access, entry);
    }
    if (error == 0 && (*entry)->object == NULL)
        error = vm_map_entry_allocate(map, *entry);
    if (error == 0 && vm_map_entry_needs_change(*entry, access))
        error = vm_map_entry_shadow(map, *entry);
    KASSERT(map->dead == NULL, "AM8");
    return error;
}

int vm_map_lookup(struct vm_map *map, vm_offset_t va, vm_prot_t access, struct vm_map_entry **entry,
                  struct vm_object **object, vm_pindex_t *pindex, vm_prot_t *prot, bool *wired)
{
    int error;

    vm_map_lock_read(map);
    error = vm_map_lookup_allowed(map, va, access, entry);
    if (error == -EACCES ||
        (error == -EFAULT && ((*entry)->end > va || vm_map_stack_above(map, *entry) == NULL))) {
        vm_map_unlock_read(map);
        return error;
    }
    if (error != 0 || vm_map_entry_needs_change(*entry, access)) {
        vm_map_unlock_read(map);
        vm_map_lock(map);
        error = vm_map_lookup_change(map, va, access, entry);
        if (error != 0) {
            vm_map_unlock(map);
            return error;
        }
        vm_rwlock_downgrade(&map->lock);
    }
    *object = (*entry)->object;
    *pindex = vm_map_entry_pindex(*entry, va);
    *prot = vm_map_entry_rights(*entry);
    *wired = (*entry)->wired_count != 0;
    return 0;
}

vm_prot_t vm_map_entry_rights(const struct vm_map_entry *entry)
{
    vm_prot_t rights = vm_map_prot_rights(entry->protection);
    return (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0 ? rights & (vm_prot_t)~VM_PROT_WRITE : rights;
}

enum vm_behavior vm_map_entry_behavior(const struct vm_map_entry *entry)
{
    return (enum vm_behavior)entry->behavior;
}

/* ---- stacks ------------------------------------------------------------------------------------------- */

/* The stack's entry grows down to start. If it has an object, that has room below which was never used. */
static int vm_map_growstack_extend(struct vm_map *map, struct vm_map_entry *stack, vm_offset_t start)
    FL_REQUIRES(map->lock)
{
    vm_pindex_t npages = atop(stack->start - start);
    int error = 0;

    if (stack->object != NULL)
        error = vm_map_attach(map, start, stack->start, stack, stack->object, stack->pindex - npages);
    if (error != 0)
        return error;
    vm_map_entry_resize(map, stack, start, stack->end, stack->object == NULL ? 0 : stack->pindex - npages);
    vm_map_simplify_entry(map, stack);
    return 0;
}

/* The end of the stack, of which `entry` is the lowest part: growth of a wired one is an entry of its own. */
static vm_offset_t vm_map_stack_end(const struct vm_map *map, const struct vm_map_entry *entry)
{
    const struct vm_map_entry *next = entry->next;

    while (next != &map->header && next->start == entry->end && (next->eflags & MAP_ENTRY_GROWS_DOWN) != 0) {
        entry = next;
        next = entry->next;
    }
    return entry->end;
}

/*
 * Whether the stack may grow down to start. `below`: the last entry below it, or the header. Linux's rules:
 * the stack's limit, the space's, and the guard gap to what is accessible below, unless that is a stack too.
 * (acct_stack_growth, expand_downwards, Linux.)
 */
static bool vm_map_growstack_allowed(struct vm_map *map, const struct vm_map_entry *below,
                                     const struct vm_map_entry *stack, vm_offset_t start)
    FL_REQUIRES_SHARED(map->lock)
{
    if (vm_map_stack_end(map, stack) - start > map->limits.stack_bytes)
        return false;
    if (!may_expand_vm(map, false, stack->start - start))
        return false;
    return below == &map->header || below->protection == VM_PROT_NONE ||
           (below->eflags & MAP_ENTRY_GROWS_DOWN) != 0 || start - below->end >= VM_STACK_GUARD_GAP;
}

/* Grows the stack, whose lowest part is `stack`, down to start. Errors: -ENOMEM. */
static int vm_map_growstack_to(struct vm_map *map, struct vm_map_entry *stack, vm_offset_t start)
    FL_REQUIRES(map->lock)
{
    /* The growth of a wired stack is not wired, so it becomes an entry of its own. */
    if ((stack->eflags & MAP_ENTRY_IN_TRANSITION) == 0 && stack->wired_count == 0 &&
        (stack->object == NULL ||
         ((stack->eflags & MAP_ENTRY_NO_ROOM) == 0 && stack->pindex >= atop(stack->start - start))))
        return vm_map_growstack_extend(map, stack, start);
    return vm_map_insert(map, NULL, 0, start, stack->start, stack->protection, stack->max_protection,
                         MAP_ENTRY_COW | MAP_ENTRY_GROWS_DOWN | MAP_INSERT_BEHAVIOR(stack->behavior) |
                             MAP_INSERT_INHERIT(stack->inheritance));
}

int vm_map_growstack(struct vm_map *map, vm_offset_t va)
{
    vm_offset_t start = trunc_page(va);
    struct vm_map_entry *below, *stack;

    if (va < map->min_offset || vm_map_lookup_entry(map, va, &below))
        return -EFAULT;
    stack = vm_map_stack_above(map, below);
    if (stack == NULL || !vm_map_growstack_allowed(map, below, stack, start))
        return -EFAULT;
    vm_pindex_t promise = stack->committed ? atop(stack->start - start) : 0;
    if (!vm_commit_reserve(promise))
        return -ENOMEM;
    int error = vm_map_growstack_to(map, stack, start);
    vm_commit_release(promise);
    return error;
}

/* ---- resident pages ----------------------------------------------------------------------------------- */

/*
 * Pages of one call. More would make mmap of a large resident file slow, for pages that may never be touched.
 */
#define PMAP_ENTER_MAX 256

/*
 * m[]: the next neighbours at or after *pindex that may be entered, at most max. Returns how many, 0 at the
 * end; *pindex moves behind them. A page with the read-ahead mark is left out: its first use must fault,
 * because that starts the next window.
 */
static uint32_t vm_map_pmap_batch(struct vm_object *object, vm_pindex_t *pindex, vm_pindex_t end,
                                  struct vm_page **m, uint32_t max) FL_REQUIRES(object->lock)
{
    uint32_t n = 0;
    struct vm_page *p;

    for (p = vm_page_find_least(object, *pindex); p != NULL && p->pindex < end && n < max;
         p = vm_page_find_least(object, p->pindex + 1)) {
        bool usable = (p->flags & (PG_VALID | PG_BUSY | PG_READAHEAD)) == PG_VALID;

        if (n > 0 && (!usable || p->pindex != m[n - 1]->pindex + 1))
            break;
        *pindex = p->pindex + 1;
        if (usable)
            m[n++] = p;
    }
    return n;
}

void vm_map_pmap_enter(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end)
{
    struct vm_object *object = entry->object;
    vm_prot_t prot = vm_map_entry_rights(entry);
    struct vm_page *m[PMAP_ENTER_MAX];
    uint32_t budget = PMAP_ENTER_MAX, n;
    vm_pindex_t pindex, last;

    if (object == NULL || prot == VM_PROT_NONE)
        return;
    pindex = vm_map_entry_pindex(entry, start);
    last = vm_map_entry_pindex(entry, end);
    vm_lock(&object->lock);
    if (object->writenotify)
        prot &= (vm_prot_t)~VM_PROT_WRITE;
    while (budget > 0 && (n = vm_map_pmap_batch(object, &pindex, last, m, budget)) > 0) {
        pmap_enter_object(map, entry->start + ptoa(m[0]->pindex - entry->pindex), m, n, prot);
        budget -= n;
    }
    vm_unlock(&object->lock);
}
