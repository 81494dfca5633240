/*
 * vm_object_collapse.c: short chains: what a chain of shadows does not need any more leaves it.
 *
 *   collapse: the backing object has one reference, its only shadow's
 *
 *      S: a . .          S: a b .                 S: a b .
 *      B: x b .   ──▶    B: x . .    ──▶  B ends  │
 *      C: u v w          C: u v w                 C: u v w
 *      S takes b, which it lacks; x is hidden for ever; S takes B's place over C
 *
 *   bypass: others refer to B too, and S has a page of its own for each of B's
 *
 *      S: a b ──┐                     S: a b ──┐
 *      B: x y ◀─┴─ T      ──▶         B: x y ◀──── T
 *      C: u v w                       C: u v w ◀┘
 *
 *   one page: each shadow of B has a page of its own in front of B's page x, which no one sees any more. A
 *   store after a fork makes the last of them (vm_object_page_replaced), and x is freed at once: so a fork
 *   never costs more memory than two spaces that were made apart.
 *
 * Where the machine binds a page's bytes to its object (machine_can_map), a page cannot move: its bytes are
 * copied, with the locks released.
 *
 * A step is possible while no fault is at work in either object (pip), nothing is frozen, and no page that
 * matters is busy, in write-back, wired, held or being read. If it is not, the chain stays as it is; the
 * reference that the other user drops afterwards brings the next try. What was moved until then is right
 * where it is: S has it in front of B.
 *
 * Locks: (O) of S, then (O) of B; (R) exclusive for the change of place. One page: (O) of one object at a
 * time. Loops: each turn moves or frees a page, or ends an object; a fault that adds one ends the collapse
 * (pip).
 *
 * Does not do: the collapse of files, which their pager keeps. (vm_object_collapse, vm_object_qcollapse and
 * the bypass case, FreeBSD.)
 */
#include "vm/vm_object.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/lru.h"
#include "vm/vm_pager.h"
#include "vm/vm_reserv.h"
#include "vm/vm_rmap.h"

/* A shadow and its backing object, both locked. */
struct collapse {
    struct vm_object *object, *backing;
};

static void collapse_unlock(struct collapse *c) FL_NO_THREAD_SAFETY_ANALYSIS /* what collapse_lock locked */
{
    vm_unlock(&c->backing->lock);
    vm_unlock(&c->object->lock);
}

/* Are both objects idle, so that only the caller changes them? */
static bool collapse_idle(const struct collapse *c) FL_REQUIRES(c->object->lock, c->backing->lock)
{
    const struct vm_object *object = c->object, *backing = c->backing;
    return object->paging_in_progress == 0 && backing->paging_in_progress == 0 && object->freeze_end == 0 &&
           backing->freeze_end == 0;
}

/*
 * Locks the object and what backs it. False, and nothing is locked: nothing does, a pager keeps that, or one
 * of the two is in use.
 */
static bool collapse_lock(struct collapse *c) FL_NO_THREAD_SAFETY_ANALYSIS /* true: locked */
{
    vm_lock(&c->object->lock);
    c->backing = c->object->backing_object;
    if (c->backing == NULL || vm_pager_bounded(c->backing)) {
        vm_unlock(&c->object->lock);
        return false;
    }
    vm_lock(&c->backing->lock);
    if (collapse_idle(c))
        return true;
    collapse_unlock(c);
    return false;
}

/* Has the shadow a page of its own at pindex, in memory or in its source, which hides what is behind? */
static bool shadow_has_own(struct vm_object *shadow, vm_pindex_t pindex) FL_REQUIRES(shadow->lock)
{
    const struct vm_page *own = vm_page_lookup(shadow, pindex);
    if (own == NULL)
        return vm_pager_has_page(shadow, pindex, NULL, NULL);
    return (own->flags & (PG_VALID | PG_COPY)) == PG_VALID;
}

/* Is page m in a use that a collapse does not wait for? (O) of its object. */
static bool page_in_use(const struct vm_page *m)
{
    return (m->flags & (PG_BUSY | PG_WRITEBACK)) != 0 || m->wire_count > 0 || m->hold_count > 0 ||
           m->readers > 0;
}

/*
 * The first page of the backing object that its shadow can show, from that one's `from` on, or NULL. *pindex:
 * its index in the shadow.
 */
static struct vm_page *first_shown(const struct collapse *c, vm_pindex_t from, vm_pindex_t *pindex)
    FL_REQUIRES(c->object->lock, c->backing->lock)
{
    vm_pindex_t base = c->object->backing_pindex;
    struct vm_page *m = vm_page_find_least(c->backing, from > base ? from : base);
    if (m == NULL || m->pindex - base >= c->object->size)
        return NULL;
    *pindex = m->pindex - base;
    return m;
}

/*
 * Copies page m of the backing object to pindex of the shadow, where none is. The locks are released
 * meanwhile. Errors: -ENOMEM.
 */
static int collapse_copy(struct collapse *c, struct vm_page *m, vm_pindex_t pindex)
    FL_REQUIRES(c->object->lock, c->backing->lock)
{
    struct vm_page *copy = vm_page_alloc(c->object, pindex, VM_ALLOC_NORMAL);
    if (copy == NULL)
        return -ENOMEM;
    vm_page_xbusy(m);
    vm_object_pip_add(c->object);
    vm_object_pip_add(c->backing);
    vm_unlock(&c->backing->lock);
    vm_unlock(&c->object->lock);
    int error = vm_page_copy(m, copy);
    vm_lock(&c->object->lock);
    vm_lock(&c->backing->lock);
    vm_object_pip_wakeup(c->object);
    vm_object_pip_wakeup(c->backing);
    vm_page_xunbusy(m);
    if (error != 0) {
        vm_page_free(copy);
        return error;
    }
    vm_page_dirty(copy);
    activate_page(copy);
    vm_page_xunbusy(copy);
    vm_object_page_remove(c->backing, m->pindex, m->pindex + 1, false);
    return 0;
}

/* The shadow, which has no page at pindex, takes over page m. Errors: -ENOMEM. */
static int collapse_take(struct collapse *c, struct vm_page *m, vm_pindex_t pindex)
    FL_REQUIRES(c->object->lock, c->backing->lock)
{
    if (vm_pager_has_page(c->backing, m->pindex, NULL, NULL))
        vm_page_dirty(m); /* gives up what the source has: the page moves without it */
    if (!machine_can_map(c->object->machine, c->backing->machine))
        return collapse_copy(c, m, pindex);
    vm_page_xbusy(m);
    int error = vm_page_rename(m, c->object, pindex);
    vm_page_xunbusy(m);
    return error;
}

/*
 * Moves what the shadow lacks out of the backing object, and frees what it hides. False: not all of it, or
 * one of the two is in use now. Both are locked.
 */
static bool collapse_pages(struct collapse *c) FL_REQUIRES(c->object->lock, c->backing->lock)
{
    vm_pindex_t pindex;
    struct vm_page *m;
    /* Pages that come from elsewhere may not lie in the stretch of a reservation (vm_reserv.h). */
    vm_reserv_break_all(c->object);
    vm_reserv_break_all(c->backing);
    while ((m = first_shown(c, 0, &pindex)) != NULL) {
        struct vm_page *own = vm_page_lookup(c->object, pindex);
        if (page_in_use(m) || (own != NULL && (own->flags & (PG_BUSY | PG_VALID)) != PG_VALID))
            return false;
        bool copy = (m->flags & PG_COPY) != 0; /* of a page behind, which the shadow finds by itself */
        bool hidden = own != NULL || vm_pager_has_page(c->object, pindex, NULL, NULL);
        if (!hidden && !copy && collapse_take(c, m, pindex) != 0)
            return false;
        if (hidden || copy) {
            if (!copy && own != NULL && (own->flags & PG_COPY))
                vm_page_dirty(own); /* a copy of m, which it outlives */
            vm_object_page_remove(c->backing, m->pindex, m->pindex + 1, false);
        }
        if (!collapse_idle(c) || atomic_load(&c->backing->ref_count) != 1)
            return false;
    }
    const struct pagerops *ops = vm_pager_ops(c->backing);
    return ops->takeover == NULL || ops->takeover(c->object, c->backing) == 0;
}

/*
 * The shadow stands in the place of its backing object, of which it has all that matters. That one loses its
 * only reference, and ends. Both are unlocked: from then on another thread may collapse the shadow with what
 * is behind, which must not seem to have a single reference, the backing object's.
 */
static void collapse_end(struct collapse *c) FL_NO_THREAD_SAFETY_ANALYSIS /* unlocks both */
{
    struct vm_object *backing = c->backing, *behind = backing->backing_object;
    if (behind != NULL)
        vm_object_reference(behind); /* the shadow's; the backing object drops its own as it ends */
    vm_rmap_shadow_bypass(c->object, backing);
    collapse_unlock(c);
    vm_object_drop(backing);
}

/* Has the shadow a page of its own for each one of the backing object that it could show? Both are locked. */
static bool all_hidden(const struct collapse *c) FL_REQUIRES(c->object->lock, c->backing->lock)
{
    vm_pindex_t pindex;
    struct vm_page *m;
    if (c->object->resident_count < c->backing->resident_count || c->backing->swap.root != NULL)
        return false; /* what is in swap is not looked at: a later try may find it in memory, or gone */
    for (vm_pindex_t from = 0; (m = first_shown(c, from, &pindex)) != NULL; from = m->pindex + 1) {
        bool hidden = (m->flags & PG_COPY) != 0 || shadow_has_own(c->object, pindex);
        if (!hidden)
            return false;
    }
    return true;
}

/* The shadow looks past its backing object, to which others refer too. Both are unlocked. */
static void collapse_bypass(struct collapse *c) FL_NO_THREAD_SAFETY_ANALYSIS /* unlocks both */
{
    struct vm_object *behind = c->backing->backing_object;
    if (behind != NULL)
        vm_object_reference(behind);
    vm_rmap_shadow_bypass(c->object, c->backing);
    collapse_unlock(c);
    vm_object_drop(c->backing);
}

/* One step. False: there is nothing to be done now. */
static bool collapse_step(struct vm_object *object) FL_NO_THREAD_SAFETY_ANALYSIS /* goes from lock to lock */
{
    struct collapse c = {.object = object};
    if (!collapse_lock(&c))
        return false;
    bool alone = atomic_load(&c.backing->ref_count) == 1;
    bool done = alone ? collapse_pages(&c) : all_hidden(&c);
    if (!done)
        collapse_unlock(&c);
    else if (alone)
        collapse_end(&c);
    else
        collapse_bypass(&c);
    return done;
}

void vm_object_collapse(struct vm_object *object)
{
    while (collapse_step(object)) /* each step makes the chain shorter */
        ;
}

/* ---- one page ----------------------------------------------------------------------------------------- */

#define REPLACED_SHADOWS 4 /* looked at in one fault; more are left to the collapse */

/* The shadows over the object, each with a reference. Returns how many, or REPLACED_SHADOWS + 1: more. */
static uint32_t all_shadows(struct vm_object *object, struct vm_object *shadow[REPLACED_SHADOWS + 1])
{
    uint32_t n = 0;
    vm_rwlock_read(&vm_rmap_lock);
    struct vm_object *next = vm_object_shadow_reference(object->shadow_head);
    for (; next != NULL && n <= REPLACED_SHADOWS; next = vm_object_shadow_reference(next->shadow_next)) {
        shadow[n++] = next;
        if (n > REPLACED_SHADOWS)
            break;
    }
    vm_rwlock_read_done(&vm_rmap_lock);
    return n;
}

/* Has the shadow a page of its own, which stays, in front of the backing object's page pindex? */
static bool shadow_hides(struct vm_object *shadow, const struct vm_object *backing, vm_pindex_t pindex)
{
    vm_lock(&shadow->lock);
    vm_pindex_t at = pindex - shadow->backing_pindex; /* or beyond the size, if it lies before the shadow */
    bool hides = shadow->backing_object == backing && (at >= shadow->size || shadow_has_own(shadow, at));
    vm_unlock(&shadow->lock);
    return hides;
}

/*
 * Has the object no other references than the caller's and those of the n shadows? The caller keeps these: so
 * none of them ends meanwhile, and leaves its number to somebody else, an entry for one.
 */
static bool shadows_only(const struct vm_object *object, struct vm_object *const *shadow, uint32_t n)
    FL_REQUIRES(object->lock)
{
    vm_rwlock_read(&vm_rmap_lock);
    bool only = atomic_load(&object->ref_count) == n + 1;
    for (uint32_t i = 0; i < n; i++)
        only = only && shadow[i]->backing_object == object;
    vm_rwlock_read_done(&vm_rmap_lock);
    return only;
}

/* Frees page pindex of the object, if nobody but the n shadows, which hide it, refers to the object. */
static void free_hidden(struct vm_object *object, vm_pindex_t pindex, struct vm_object *const *shadow,
                        uint32_t n)
{
    vm_lock(&object->lock);
    struct vm_page *m = vm_page_lookup(object, pindex);
    if (shadows_only(object, shadow, n) && object->paging_in_progress == 0 && object->freeze_end == 0 &&
        (m == NULL || !page_in_use(m))) {
        if (m != NULL)
            vm_object_page_remove(object, pindex, pindex + 1, false);
        if (vm_pager_ops(object)->freespace != NULL)
            vm_pager_ops(object)->freespace(object, pindex, pindex + 1);
    }
    vm_unlock(&object->lock);
}

void vm_object_page_replaced(struct vm_object *shadow, vm_pindex_t pindex)
{
    struct vm_object *over[REPLACED_SHADOWS + 1], *object;
    object = vm_object_backing(shadow, &pindex);
    if (object == NULL)
        return;
    uint32_t n = vm_pager_bounded(object) ? 0 : all_shadows(object, over), nhiding = 0;
    while (nhiding < n && n <= REPLACED_SHADOWS && shadow_hides(over[nhiding], object, pindex))
        nhiding++;
    if (n > 0 && nhiding == n)
        free_hidden(object, pindex, over, n);
    for (uint32_t i = 0; i < n; i++)
        vm_object_drop(over[i]);
    vm_object_deallocate(object);
}
