/*
 * vm_rmap.c: reverse mapping: each object's interval tree of entries, and the walk through its shadows.
 *
 *     object->entries (by pindex; rmap_max_end: the largest end index in a subtree)
 *          [0,8)
 *         ╱     ╲
 *     [0,2)     [4,64)     a walk for pages [5,6) visits [0,8) and [4,64), and skips subtrees that end before
 *
 *     object ──shadow_head──▶ shadow: its page i shows our page i + backing_pindex, unless it has its own
 *
 * An entry of a shadow may show the shadow's own page instead. To unmap that costs one fault, and nothing
 * else. Its referenced and dirty bits are passed over where the machine can tell them apart.
 *
 * Invariants AM5, AM12, AM13: vm_rmap.h. Lock: (R), taken here. A walk holds (O) of the object too. It needs
 * no lock of the shadows, because a shadow's size does not change, and its place only under (R) exclusive.
 *
 * Does not do: lists of mappings.
 */
#include "vm/vm_rmap.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_map_entry.h"
#include "vm/vm_page.h"

struct vm_rwlock vm_rmap_lock;
uint64_t vm_rmap_shadow_moves;

#define rmap_entry(n) tree_entry(n, struct vm_map_entry, rmap_node)

static vm_pindex_t entry_pindex_end(const struct vm_map_entry *entry)
{
    return entry->pindex + atop(entry->end - entry->start);
}

/* ---- the tree ----------------------------------------------------------------------------------------- */

static vm_pindex_t rmap_max_end_of(const struct tree_node *node) FL_REQUIRES_SHARED(vm_rmap_lock)
{
    vm_pindex_t max = entry_pindex_end(rmap_entry(node));

    if (node->left != NULL && rmap_entry(node->left)->rmap_max_end > max)
        max = rmap_entry(node->left)->rmap_max_end;
    if (node->right != NULL && rmap_entry(node->right)->rmap_max_end > max)
        max = rmap_entry(node->right)->rmap_max_end;
    return max;
}

static void rmap_summarize(struct tree_node *node) FL_REQUIRES(vm_rmap_lock)
{
    rmap_entry(node)->rmap_max_end = rmap_max_end_of(node);
}

void vm_rmap_object_init(struct vm_object *object)
{
    struct tree *tree = &object->entries;

    tree->summarize = rmap_summarize;
}

static void rmap_tree_insert(struct vm_map_entry *entry) FL_REQUIRES(vm_rmap_lock)
{
    struct tree *tree = &entry->object->entries;
    struct tree_node *node = tree->root, *parent = NULL;
    bool left = true;

    while (node != NULL) {
        parent = node;
        left = entry->pindex < rmap_entry(node)->pindex;
        node = left ? node->left : node->right;
    }
    tree_insert(tree, &entry->rmap_node, parent, left);
}

void vm_rmap_insert(struct vm_map_entry *entry)
{
    vm_rwlock_write(&vm_rmap_lock);
    rmap_tree_insert(entry);
    vm_rwlock_write_done(&vm_rmap_lock);
}

void vm_rmap_remove(struct vm_map_entry *entry)
{
    vm_rwlock_write(&vm_rmap_lock);
    tree_remove(&entry->object->entries, &entry->rmap_node);
    vm_rwlock_write_done(&vm_rmap_lock);
}

static void rmap_set_range(struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end, vm_pindex_t pindex)
{
    entry->start = start;
    entry->end = end;
    entry->pindex = pindex;
}

void vm_rmap_resize(struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end, vm_pindex_t pindex)
{
    struct vm_object *object = entry->object;

    if (object == NULL) {
        rmap_set_range(entry, start, end, pindex); /* it is in no tree, so (M) is enough */
        return;
    }
    vm_rwlock_write(&vm_rmap_lock);
    if (entry->pindex == pindex) {
        rmap_set_range(entry, start, end, pindex);
        tree_update(&object->entries, &entry->rmap_node);
    } else {
        tree_remove(&object->entries, &entry->rmap_node);
        rmap_set_range(entry, start, end, pindex);
        rmap_tree_insert(entry);
    }
    vm_rwlock_write_done(&vm_rmap_lock);
}

void vm_rmap_shadow_link(struct vm_object *shadow)
{
    struct vm_object *backing = shadow->backing_object;

    vm_rwlock_write(&vm_rmap_lock);
    shadow->shadow_prev = NULL;
    shadow->shadow_next = backing->shadow_head;
    if (shadow->shadow_next != NULL)
        shadow->shadow_next->shadow_prev = shadow;
    backing->shadow_head = shadow;
    vm_rwlock_write_done(&vm_rmap_lock);
}

static void shadow_unlink(struct vm_object *shadow) FL_REQUIRES(vm_rmap_lock)
{
    if (shadow->shadow_prev != NULL)
        shadow->shadow_prev->shadow_next = shadow->shadow_next;
    else
        shadow->backing_object->shadow_head = shadow->shadow_next;
    if (shadow->shadow_next != NULL)
        shadow->shadow_next->shadow_prev = shadow->shadow_prev;
    shadow->shadow_next = shadow->shadow_prev = NULL;
}

void vm_rmap_shadow_unlink(struct vm_object *shadow)
{
    vm_rwlock_write(&vm_rmap_lock);
    shadow_unlink(shadow);
    vm_rwlock_write_done(&vm_rmap_lock);
}

void vm_rmap_shadow_bypass(struct vm_object *shadow, struct vm_object *backing)
{
    vm_rwlock_write(&vm_rmap_lock);
    vm_rmap_shadow_moves++;
    shadow_unlink(shadow);
    shadow->backing_object = backing->backing_object;
    shadow->backing_pindex += backing->backing_pindex;
    if (backing->backing_object != NULL) {
        shadow->shadow_prev = backing;
        shadow->shadow_next = backing->shadow_next;
        if (backing->shadow_next != NULL)
            backing->shadow_next->shadow_prev = shadow;
        backing->shadow_next = shadow;
    } else {
        shadow->backing_pindex = 0;
    }
    vm_rwlock_write_done(&vm_rmap_lock);
}

/* ---- the walk ----------------------------------------------------------------------------------------- */

/* The lowest entry of the subtree that overlaps [start, end), or NULL. */
static struct vm_map_entry *rmap_first_below(struct tree_node *node, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES_SHARED(vm_rmap_lock)
{
    while (node != NULL) {
        struct vm_map_entry *entry = rmap_entry(node);

        if (node->left != NULL && rmap_entry(node->left)->rmap_max_end > start)
            node = node->left;
        else if (entry->pindex >= end)
            return NULL;
        else if (entry_pindex_end(entry) > start)
            return entry;
        else
            node = node->right;
    }
    return NULL;
}

/*
 * The next entry after `entry` that overlaps [start, end), or NULL. If the right subtree reaches beyond
 * `start` and yet has no overlap, it starts at or after `end`, as does everything after it.
 */
static struct vm_map_entry *rmap_next(struct vm_map_entry *entry, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES_SHARED(vm_rmap_lock)
{
    struct tree_node *node = &entry->rmap_node;

    for (;;) {
        if (node->right != NULL && rmap_entry(node->right)->rmap_max_end > start)
            return rmap_first_below(node->right, start, end);
        while (node->parent != NULL && node->parent->right == node)
            node = node->parent;
        node = node->parent;
        if (node == NULL || rmap_entry(node)->pindex >= end)
            return NULL;
        if (entry_pindex_end(rmap_entry(node)) > start)
            return rmap_entry(node);
    }
}

struct rmap_walk {
    /* pindex: of the page at `start`, in walk->object. */
    void (*visit)(struct rmap_walk *walk, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end,
                  vm_pindex_t pindex);
    struct vm_object *object;      /* the pages are its own */
    bool shadows;                  /* visits entries of its shadows too */
    bool through_shadow;           /* the visited entry shows a shadow of `object` */
    unsigned flags;                /* visit_unmap: MACHINE_UNMAP_*; visit_harvest: what starts anew */
    uint8_t *bits;                 /* out: MACHINE_* of the pages from `base` on; NULL: not wanted */
    vm_pindex_t base;              /* with bits */
    int error;                     /* visit_freeze, visit_writenotify: out */
    struct machine_space *touched; /* needs machine_sync before another space is touched, and at the end */
};

/*
 * Visits the entries that show pages [start, end) of `level`, which is walk->object or a shadow above it;
 * level's page 0 is page `offset` of walk->object. Calls itself once for each shadow on the way up. So the
 * recursion is as deep as the longest chain of shadows.
 */
static void rmap_walk_level(struct rmap_walk *walk, struct vm_object *level, vm_pindex_t start,
                            vm_pindex_t end, vm_pindex_t offset) FL_REQUIRES_SHARED(vm_rmap_lock)
{
    struct vm_map_entry *entry;
    struct vm_object *shadow;

    walk->through_shadow = level != walk->object;
    for (entry = rmap_first_below(level->entries.root, start, end); entry != NULL;
         entry = rmap_next(entry, start, end)) {
        vm_pindex_t first = entry->pindex > start ? entry->pindex : start;
        vm_pindex_t stop = entry_pindex_end(entry) < end ? entry_pindex_end(entry) : end;

        walk->visit(walk, entry, entry->start + ptoa(first - entry->pindex),
                    entry->start + ptoa(stop - entry->pindex), first + offset);
    }
    if (!walk->shadows)
        return;
    for (shadow = level->shadow_head; shadow != NULL; shadow = shadow->shadow_next) {
        vm_pindex_t base = shadow->backing_pindex;
        vm_pindex_t first = start > base ? start - base : 0;
        vm_pindex_t stop = end > base ? end - base : 0;

        if (stop > shadow->size)
            stop = shadow->size;
        /* If the machine cannot map our page over this shadow, it cannot over the shadows above it either. */
        if (first < stop && machine_can_map(shadow->machine, walk->object->machine))
            rmap_walk_level(walk, shadow, first, stop, offset + base);
    }
}

static void rmap_walk(struct rmap_walk *walk, vm_pindex_t start, vm_pindex_t end)
{
    vm_rwlock_read(&vm_rmap_lock);
    rmap_walk_level(walk, walk->object, start, end, 0);
    if (walk->touched != NULL)
        machine_sync(walk->touched);
    vm_rwlock_read_done(&vm_rmap_lock);
}

static void rmap_touch(struct rmap_walk *walk, struct machine_space *space)
{
    if (walk->touched != NULL && walk->touched != space)
        machine_sync(walk->touched);
    walk->touched = space;
}

/*
 * Where the bits of the page at pindex go. NULL: nobody wants them. A mapping through a shadow may be that of
 * the shadow's own page; our page is never stored to through a shadow, so such bits would be wrong.
 */
static uint8_t *rmap_bits(const struct rmap_walk *walk, vm_pindex_t pindex)
{
    return walk->bits == NULL || walk->through_shadow ? NULL : walk->bits + (pindex - walk->base);
}

/* ---- unmapping ---------------------------------------------------------------------------------------- */

static void visit_unmap(struct rmap_walk *walk, struct vm_map_entry *entry, vm_offset_t start,
                        vm_offset_t end, vm_pindex_t pindex)
{
    machine_unmap(entry->map->space, start, end, walk->flags, rmap_bits(walk, pindex));
    rmap_touch(walk, entry->map->space);
}

void vm_rmap_unmap(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, unsigned flags,
                   uint8_t *bits)
{
    struct rmap_walk walk = {.visit = visit_unmap, .object = object, .shadows = true, .base = start};

    walk.flags = flags;
    walk.bits = bits;
    rmap_walk(&walk, start, end);
}

static void visit_unmap_shadow(struct rmap_walk *walk, struct vm_map_entry *entry, vm_offset_t start,
                               vm_offset_t end, vm_pindex_t pindex)
{
    if (walk->through_shadow)
        visit_unmap(walk, entry, start, end, pindex);
}

void vm_rmap_unmap_shadows(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct rmap_walk walk = {.visit = visit_unmap_shadow, .object = object, .shadows = true};

    rmap_walk(&walk, start, end);
}

/* rmap_walk for each run of neighbours among m[0 … npages), under one hold of (R). bits[i]: of m[i]. */
static void rmap_walk_pages(struct rmap_walk *walk, struct vm_page *const *m, uint32_t npages, uint8_t *bits)
{
    vm_rwlock_read(&vm_rmap_lock);
    for (uint32_t i = 0, end; i < npages; i = end) {
        for (end = i + 1; end < npages && m[end]->pindex == m[i]->pindex + (end - i);)
            end++;
        walk->bits = bits == NULL ? NULL : bits + i;
        walk->base = m[i]->pindex;
        rmap_walk_level(walk, walk->object, m[i]->pindex, m[i]->pindex + (end - i), 0);
    }
    if (walk->touched != NULL)
        machine_sync(walk->touched);
    vm_rwlock_read_done(&vm_rmap_lock);
}

void vm_rmap_unmap_pages(struct vm_page *const *m, uint32_t npages, unsigned flags, uint8_t *bits)
{
    if (npages == 0)
        return;
    struct rmap_walk walk = {.visit = visit_unmap, .object = m[0]->object, .shadows = true, .flags = flags};

    rmap_walk_pages(&walk, m, npages, bits);
}

/* ---- rights ------------------------------------------------------------------------------------------- */

static void visit_wrprotect(struct rmap_walk *walk, struct vm_map_entry *entry, vm_offset_t start,
                            vm_offset_t end, vm_pindex_t pindex)
{
    (void)pindex;
    machine_wrprotect(entry->map->space, start, end);
    rmap_touch(walk, entry->map->space);
}

/* Shadows are left out: a page is never writable through a shadow, because a write there makes a copy. */
void vm_rmap_wrprotect(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct rmap_walk walk = {.visit = visit_wrprotect, .object = object, .shadows = false};

    rmap_walk(&walk, start, end);
}

/* May a program store into clean pages through the entry without a fault? (O) of its object. */
static bool rmap_silent(const struct vm_object *object, const struct vm_map_entry *entry)
    FL_REQUIRES(object->lock)
{
    return (entry->protection & VM_PROT_WRITE) != 0 && !entry->writenotify && !object->writenotify;
}

bool vm_rmap_silent(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    bool silent = false;

    if (object->writenotify)
        return false;
    vm_rwlock_read(&vm_rmap_lock);
    struct vm_map_entry *entry = rmap_first_below(object->entries.root, start, end);
    for (; entry != NULL && !silent; entry = rmap_next(entry, start, end))
        silent = rmap_silent(object, entry);
    vm_rwlock_read_done(&vm_rmap_lock);
    return silent;
}

static void visit_freeze(struct rmap_walk *walk, struct vm_map_entry *entry, vm_offset_t start,
                         vm_offset_t end, vm_pindex_t pindex) FL_NO_THREAD_SAFETY_ANALYSIS
{
    (void)pindex;
    if (walk->error == 0 && rmap_silent(walk->object, entry))
        walk->error = machine_freeze(entry->map->space, start, end, vm_map_prot_rights(entry->protection));
}

static void visit_thaw(struct rmap_walk *walk, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end,
                       vm_pindex_t pindex) FL_NO_THREAD_SAFETY_ANALYSIS
{
    (void)pindex;
    if (rmap_silent(walk->object, entry))
        machine_thaw(entry->map->space, start, end, vm_map_prot_rights(entry->protection));
}

int vm_rmap_freeze(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct rmap_walk walk = {.visit = visit_freeze, .object = object, .shadows = false};

    rmap_walk(&walk, start, end);
    if (walk.error != 0)
        vm_rmap_thaw(object, start, end); /* of those that are not frozen, too: that is harmless */
    return walk.error;
}

void vm_rmap_thaw(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct rmap_walk walk = {.visit = visit_thaw, .object = object, .shadows = false};

    rmap_walk(&walk, start, end);
}

static void visit_writenotify(struct rmap_walk *walk, struct vm_map_entry *entry, vm_offset_t start,
                              vm_offset_t end, vm_pindex_t pindex) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (walk->error == 0 && !entry->writenotify)
        walk->error =
            machine_writenotify(entry->map->space, start, end, vm_map_prot_rights(entry->protection),
                                walk->object->machine, pindex);
}

int vm_rmap_writenotify(struct vm_object *object)
{
    struct rmap_walk walk = {.visit = visit_writenotify, .object = object, .shadows = false};

    rmap_walk(&walk, 0, UINT64_MAX);
    return walk.error;
}

/* Enters the page at pindex of the object. */
static void visit_enter(struct rmap_walk *walk, struct vm_map_entry *entry, vm_offset_t start,
                        vm_offset_t end, vm_pindex_t pindex) FL_NO_THREAD_SAFETY_ANALYSIS
{
    struct vm_page *m = vm_page_lookup(walk->object, pindex);
    bool dirty = (m->flags & (PG_DIRTY | PG_PRIVATE | PG_COPIED)) == PG_DIRTY && !entry->writenotify;
    vm_prot_t prot = vm_map_prot_rights(entry->protection);

    (void)end;
    if (!entry->attached || prot == VM_PROT_NONE)
        return;
    (void)!pmap_enter(entry->map, start, m, dirty ? prot : prot & (vm_prot_t)~VM_PROT_WRITE,
                      (dirty ? MACHINE_MAP_DIRTY : 0) | (entry->wired_count > 0 ? MACHINE_MAP_WIRED : 0));
}

void vm_rmap_enter(struct vm_page *m)
{
    struct rmap_walk walk = {.visit = visit_enter, .object = m->object, .shadows = false};

    rmap_walk(&walk, m->pindex, m->pindex + 1);
}

/* ---- what the machine knows --------------------------------------------------------------------------- */

static void visit_harvest(struct rmap_walk *walk, struct vm_map_entry *entry, vm_offset_t start,
                          vm_offset_t end, vm_pindex_t pindex)
{
    uint8_t *bits = rmap_bits(walk, pindex), seen[MACHINE_RUN_MAX];
    vm_pindex_t npages = atop(end - start);

    if (bits != NULL) {
        machine_harvest(entry->map->space, start, end, walk->flags, bits);
    } else {
        /* Of a mapping through a shadow only the reference counts. */
        __builtin_memset(seen, 0, npages);
        machine_harvest(entry->map->space, start, end, walk->flags & MACHINE_REFERENCED, seen);
        for (vm_pindex_t i = 0; i < npages; i++)
            walk->bits[pindex - walk->base + i] |= seen[i] & MACHINE_REFERENCED;
    }
    if (walk->flags != 0)
        rmap_touch(walk, entry->map->space);
}

void vm_rmap_harvest(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, unsigned clear,
                     uint8_t *bits)
{
    struct rmap_walk walk = {.visit = visit_harvest,
                             .object = object,
                             .shadows = true,
                             .flags = clear,
                             .bits = bits,
                             .base = start};

    rmap_walk(&walk, start, end);
}

bool vm_rmap_mapped(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    bool mapped;

    vm_rwlock_read(&vm_rmap_lock);
    mapped = object->shadow_head != NULL || rmap_first_below(object->entries.root, start, end) != NULL;
    vm_rwlock_read_done(&vm_rmap_lock);
    return mapped;
}

/* ---- checking ----------------------------------------------------------------------------------------- */

static bool rmap_same(const struct tree_node *node) FL_REQUIRES_SHARED(vm_rmap_lock)
{
    return rmap_entry(node)->rmap_max_end == rmap_max_end_of(node);
}

void vm_rmap_check(struct vm_object *object)
{
    const struct tree_node *node, *prev = NULL;
    const struct vm_object *shadow, *last = NULL;

    vm_rwlock_read(&vm_rmap_lock);
    tree_check(&object->entries, rmap_same);
    for (node = tree_first(&object->entries); node != NULL; prev = node, node = tree_next(node)) {
        KASSERT(rmap_entry(node)->object == object, "AM5");
        KASSERT(prev == NULL || rmap_entry(prev)->pindex <= rmap_entry(node)->pindex, "AM12");
    }
    for (shadow = object->shadow_head; shadow != NULL; last = shadow, shadow = shadow->shadow_next)
        KASSERT(shadow->backing_object == object && shadow->shadow_prev == last, "AM13");
    vm_rwlock_read_done(&vm_rmap_lock);
}
