/*
 * vm_object.c: memory objects: how they begin and end, their references, removing their pages, and removing
 * the clean copies above them.
 *
 *   vm_object_allocate ─▶ referenced ─▶ vm_object_deallocate ─▶ vm_object_terminate
 *                                            │ anonymous: the last reference ends it, then its backing object
 *                                            └ kept by its pager: the pager ends it, with vm_object_destroy
 *
 *   remove_above walks the tree of shadows over an object, parents first, with a reference to one at a time:
 *
 *        object ◀── s ◀── t         next: the first child, else the next sibling, else the parent's next one
 *               ◀── u               (under (R); a reference to a shadow keeps all objects behind it)
 *
 * Invariants OB1 … OB6: vm_object.h. Locks: (O), (R) as there; vm_objects_lock, for the list of all objects,
 * is taken with no other lock held. Only the checkers then take (O).
 *
 * Removal waits for pages that are busy, in write-back or read: their owners finish without waiting for us.
 * It never waits for a held page (vm_page.h).
 *
 * Does not do: transfers and writing dirty pages (vm_pager.h), finding mappings (vm_rmap.c).
 */
#include "vm/vm_object.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_harvest.h"
#include "vm/vm_pager.h"
#include "vm/vm_reserv.h"
#include "vm/vm_rmap.h"

#define REMOVE_BATCH 64         /* pages unmapped and freed together */
#define SHADOW_DEPTH (1u << 20) /* no chain is longer: checkers only */

enum remove_mode {
    REMOVE_ALL,     /* all pages */
    REMOVE_DISCARD, /* all pages; a held one stays and becomes zeros */
    REMOVE_CLEAN,   /* not those that are dirty, wired, held or read */
    REMOVE_COPIES,  /* clean copies (PG_COPY) only */
    REMOVE_ABOVE,   /* all pages but those that a fault is going to fill: busy and not valid */
};

static struct vm_zone vm_object_zone;
static struct vm_lock vm_objects_lock;
static struct vm_object *vm_objects FL_GUARDED_BY(vm_objects_lock);

void vm_object_startup(void)
{
    vm_zone_init(&vm_object_zone, "vm object", sizeof(struct vm_object));
    __builtin_memset(&vm_objects_lock, 0, sizeof vm_objects_lock);
    vm_lock(&vm_objects_lock);
    vm_objects = NULL;
    vm_unlock(&vm_objects_lock);
}

/* ---- birth --------------------------------------------------------------------------------------------- */

static int _vm_object_allocate(enum vm_object_type type, vm_pindex_t size, void *handle,
                               struct vm_object *object)
{
    int error = machine_object_init(&object->machine);
    if (error != 0)
        return error;
    object->type = (uint8_t)type;
    object->size = size;
    object->handle = handle;
    atomic_store(&object->ref_count, 1);
    vm_rmap_object_init(object);

    vm_lock(&vm_objects_lock);
    object->all_next = vm_objects;
    if (vm_objects != NULL)
        vm_objects->all_prev = object;
    vm_objects = object;
    vm_unlock(&vm_objects_lock);
    return 0;
}

struct vm_object *vm_object_allocate(enum vm_object_type type, vm_pindex_t size, void *handle)
{
    KASSERT((type == OBJT_SWAP) == (handle == NULL), "OB5");
    struct vm_object *object = vm_zone_alloc(&vm_object_zone);
    if (object == NULL)
        return NULL;
    if (_vm_object_allocate(type, size, handle, object) != 0) {
        vm_zone_free(&vm_object_zone, object);
        return NULL;
    }
    return object;
}

static int shadow_make(struct vm_object **object, vm_pindex_t *pindex, vm_pindex_t length, bool snapshot)
{
    /* Before the shadow has a page: a copy in it must go before its original is stored to (PG_COPIED). */
    vm_lock(&(*object)->lock);
    int error = vm_object_writenotify(*object);
    if (error == 0)
        atomic_store_explicit(&(*object)->shadowed, true, memory_order_relaxed);
    vm_unlock(&(*object)->lock);
    if (error != 0)
        return error;
    struct vm_object *shadow = vm_object_allocate(OBJT_SWAP, length, NULL);
    if (shadow == NULL)
        return -ENOMEM;
    shadow->backing_object = *object;
    shadow->backing_pindex = *pindex;
    shadow->snapshot = snapshot;
    shadow->writenotify = true;
    vm_rmap_shadow_link(shadow);
    *object = shadow;
    *pindex = 0;
    return 0;
}

int vm_object_shadow(struct vm_object **object, vm_pindex_t *pindex, vm_pindex_t length)
{
    return shadow_make(object, pindex, length, false);
}

int vm_object_snapshot(struct vm_object **object, vm_pindex_t *pindex, vm_pindex_t length)
{
    vm_pindex_t at = *pindex;
    struct vm_object *source = vm_object_bottom(*object, &at);
    if (vm_pager_bounded(source)) {
        vm_lock(&source->lock);
        vm_pindex_t there = at < source->size ? source->size - at : 0;
        vm_unlock(&source->lock);
        length = length < there ? length : there;
    }
    return shadow_make(object, pindex, length, true);
}

/* ---- references ---------------------------------------------------------------------------------------- */

void vm_object_reference_locked(struct vm_object *object)
{
    uint32_t refs = atomic_fetch_add(&object->ref_count, 1);
    KASSERT(refs > 0 && !object->dead, "OB2");
    if (refs == 1 && vm_pager_ops(object)->first_reference != NULL)
        vm_pager_ops(object)->first_reference(object);
}

void vm_object_reference(struct vm_object *object)
{
    vm_lock(&object->lock);
    vm_object_reference_locked(object);
    vm_unlock(&object->lock);
}

void vm_object_pip_add(struct vm_object *object)
{
    object->paging_in_progress++;
}

void vm_object_pip_wakeup(struct vm_object *object)
{
    KASSERT(object->paging_in_progress > 0, "OB6");
    object->paging_in_progress--;
    if (object->paging_in_progress == 0 && object->pip_wanted) {
        object->pip_wanted = false;
        machine_wake(&object->paging_in_progress);
    }
}

void vm_object_pip_wait(struct vm_object *object)
{
    while (object->paging_in_progress != 0) {
        if (vm_pager_wait(object, 0, UINT64_MAX)) /* a transfer that no other thread may drive */
            continue;
        object->pip_wanted = true;
        vm_sleep(&object->paging_in_progress, &object->lock);
    }
}

/*
 * Frees the object and all that it has. Only two can still find it: the page daemon, by its pages, and a walk
 * over shadows, which leaves an object with ref_count 0 alone. The lock ends with the object. The reference
 * to the backing object becomes the caller's.
 */
static void vm_object_terminate(struct vm_object *object) FL_RELEASE(object->lock)
{
    object->dead = true;
    vm_object_pip_wait(object);
    vm_object_page_remove(object, 0, UINT64_MAX, false);
    vm_object_pip_wait(object); /* the page daemon may have added one meanwhile */
    KASSERT(object->resident_count == 0 && object->paging_in_progress == 0, "OB6");
    vm_unlock(&object->lock);

    vm_reserv_break_all(object);
    if (object->backing_object != NULL)
        vm_rmap_shadow_unlink(object);
    vm_lock(&vm_objects_lock);
    if (object->all_prev != NULL)
        object->all_prev->all_next = object->all_next;
    else
        vm_objects = object->all_next;
    if (object->all_next != NULL)
        object->all_next->all_prev = object->all_prev;
    vm_unlock(&vm_objects_lock);
    machine_object_fini(object->machine);
    vm_zone_free(&vm_object_zone, object);
}

/* Whether the pager has a reference of its own, and ends the object itself. */
static bool pager_keeps(const struct vm_object *object)
{
    return vm_pager_ops(object)->last_reference != NULL;
}

/* Drops one reference to an object that its pager keeps; not the pager's own. */
static void vm_object_pager_deallocate(struct vm_object *object) FL_RELEASE(object->lock)
{
    uint32_t refs = atomic_fetch_sub(&object->ref_count, 1);
    KASSERT(refs > 1, "VN3");
    vm_unlock(&object->lock);
    if (refs == 2)
        vm_pager_ops(object)->last_reference(object);
}

/*
 * Drops a reference without the lock, unless it may be the last one (beside the pager's), or the last but a
 * shadow's, which may collapse then. False: it may be.
 */
static bool vm_object_unreference(struct vm_object *object)
{
    bool shadowed = atomic_load_explicit(&object->shadowed, memory_order_relaxed);
    uint32_t last = pager_keeps(object) || shadowed ? 2 : 1, refs = atomic_load(&object->ref_count);
    while (refs > last) /* ends: an attempt fails only because another thread's succeeded */
        if (atomic_compare_exchange_weak(&object->ref_count, &refs, refs - 1))
            return true;
    return false;
}

struct vm_object *vm_object_shadow_reference(struct vm_object *shadow)
{
    for (; shadow != NULL; shadow = shadow->shadow_next) {
        uint32_t refs = atomic_load(&shadow->ref_count);
        while (refs != 0) /* ends: an attempt fails only because another thread's succeeded */
            if (atomic_compare_exchange_weak(&shadow->ref_count, &refs, refs + 1))
                return shadow;
    }
    return NULL;
}

/* A shadow over the anonymous object, if that has a single reference left. With a reference. NULL: none. */
static struct vm_object *last_shadow(struct vm_object *object) FL_REQUIRES(object->lock)
{
    if (atomic_load(&object->ref_count) != 1 ||
        !atomic_load_explicit(&object->shadowed, memory_order_relaxed))
        return NULL;
    vm_rwlock_read(&vm_rmap_lock);
    struct vm_object *shadow = vm_object_shadow_reference(object->shadow_head);
    vm_rwlock_read_done(&vm_rmap_lock);
    return shadow;
}

/*
 * Drops a reference. Returns the next object to which the caller has a reference to drop, or NULL: the
 * backing object of one that ended, or, with `collapse`, a shadow that has taken over what it could.
 */
static struct vm_object *vm_object_dereference(struct vm_object *object, bool collapse)
{
    if (vm_object_unreference(object))
        return NULL;
    vm_lock(&object->lock);
    if (pager_keeps(object)) {
        vm_object_pager_deallocate(object);
        return NULL;
    }
    uint32_t refs = atomic_fetch_sub(&object->ref_count, 1);
    KASSERT(refs > 0, "OB2");
    if (refs > 1) {
        struct vm_object *shadow = collapse ? last_shadow(object) : NULL;
        vm_unlock(&object->lock);
        if (shadow != NULL)
            vm_object_collapse(shadow);
        return shadow;
    }
    struct vm_object *backing = object->backing_object;
    vm_object_terminate(object);
    return backing;
}

void vm_object_deallocate(struct vm_object *object)
{
    while (object != NULL)
        object = vm_object_dereference(object, true);
}

void vm_object_drop(struct vm_object *object)
{
    while (object != NULL)
        object = vm_object_dereference(object, false);
}

void vm_object_destroy(struct vm_object *object)
{
    vm_lock(&object->lock);
    KASSERT(atomic_load(&object->ref_count) == 1, "VN3");
    atomic_store(&object->ref_count, 0);
    vm_object_terminate(object);
}

/* ---- chains -------------------------------------------------------------------------------------------- */

struct vm_object *vm_object_bottom(struct vm_object *object, vm_pindex_t *pindex)
{
    vm_rwlock_read(&vm_rmap_lock);
    while (object != NULL && object->backing_object != NULL) {
        *pindex += object->backing_pindex;
        object = object->backing_object;
    }
    vm_rwlock_read_done(&vm_rmap_lock);
    return object;
}

struct vm_object *vm_object_backing(struct vm_object *object, vm_pindex_t *pindex)
{
    vm_lock(&object->lock);
    struct vm_object *backing = object->backing_object;
    *pindex += object->backing_pindex;
    if (backing != NULL)
        vm_object_reference(backing);
    vm_unlock(&object->lock);
    return backing;
}

struct vm_object *vm_object_next(struct vm_object *object, vm_pindex_t *pindex)
{
    struct vm_object *backing = vm_object_backing(object, pindex);
    vm_object_deallocate(object);
    return backing;
}

/* ---- removing pages ------------------------------------------------------------------------------------ */

struct remove_batch {
    struct vm_page *m[REMOVE_BATCH]; /* busy, of one object, by rising index */
    uint32_t n;
    bool clean_only;
};

/*
 * The batch's pages are unmapped, and are to go only if they are clean: those that were stored to until then
 * stay.
 */
static void remove_spare_dirty(struct remove_batch *batch, const uint8_t *bits)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < batch->n; i++) {
        if ((bits[i] & MACHINE_DIRTY) == 0) {
            batch->m[n++] = batch->m[i];
            continue;
        }
        vm_page_dirty(batch->m[i]);
        vm_page_xunbusy(batch->m[i]);
    }
    batch->n = n;
}

/* Unmaps and frees the batch's pages, neighbours together. */
static void remove_flush(struct vm_object *object, struct remove_batch *batch) FL_REQUIRES(object->lock)
{
    uint8_t bits[REMOVE_BATCH] = {0};
    bool clean = true;
    for (uint32_t i = 0; i < batch->n; i++)
        clean = clean && (batch->m[i]->flags & PG_DIRTY) == 0;
    vm_rmap_unmap_pages(batch->m, batch->n, clean ? MACHINE_UNMAP_RELEASE : 0, bits);
    if (batch->clean_only)
        remove_spare_dirty(batch, bits);
    for (uint32_t i = 0; i < batch->n; i++) {
        if (batch->m[i]->flags & PG_DIRTY)
            vm_page_undirty(batch->m[i]);
        if (batch->m[i]->flags & PG_PRIVATE)
            vm_pager_ops(object)->invalidatepage(batch->m[i]);
        while (batch->m[i]->wire_count > 0)
            vm_page_unwire(batch->m[i], PQ_INACTIVE);
    }
    if (batch->n > 0)
        vm_page_free_batch(batch->m, batch->n);
    batch->n = 0;
}

enum remove_verdict { REMOVE_SKIP, REMOVE_TAKE, REMOVE_ZERO, REMOVE_WAIT };

/* What is to be done with page m now. (O). */
static enum remove_verdict remove_judge(struct vm_object *object, const struct vm_page *m,
                                        enum remove_mode mode) FL_REQUIRES(object->lock)
{
    if (mode == REMOVE_COPIES && (m->flags & PG_COPY) == 0)
        return REMOVE_SKIP;
    /*
     * Its owner may be waiting for a page behind it, even for one that our caller has busy. It will find
     * there what is true after the removal. The owner of one that is being read from swap waits for that.
     */
    if (mode == REMOVE_ABOVE && (m->flags & (PG_BUSY | PG_VALID)) == PG_BUSY &&
        !vm_pager_has_page(object, m->pindex, NULL, NULL))
        return REMOVE_SKIP;
    if (m->flags & (PG_BUSY | PG_WRITEBACK))
        return REMOVE_WAIT;
    bool used = m->hold_count > 0 || m->readers > 0 || m->wire_count > 0 || (m->flags & PG_DIRTY);
    if (mode == REMOVE_CLEAN && used)
        return REMOVE_SKIP;
    if (m->readers > 0)
        return REMOVE_WAIT;
    return mode == REMOVE_DISCARD && m->hold_count > 0 ? REMOVE_ZERO : REMOVE_TAKE;
}

/*
 * Fills held page m with zeros. What the system call that holds it stores meanwhile counts as later. False:
 * no memory. (O) is released in between.
 */
static bool remove_zero(struct vm_object *object, struct vm_page *m) FL_REQUIRES(object->lock)
{
    vm_page_xbusy(m);
    vm_unlock(&object->lock);
    bool zeroed = pmap_zero_page_area(m, 0, (uint32_t)VM_PAGE_SIZE) == 0;
    vm_lock(&object->lock);
    vm_page_xunbusy(m);
    return zeroed;
}

static void remove_take(struct vm_object *object, struct remove_batch *batch, struct vm_page *m)
    FL_REQUIRES(object->lock)
{
    vm_page_xbusy(m);
    batch->m[batch->n++] = m;
    if (batch->n == REMOVE_BATCH)
        remove_flush(object, batch);
}

/* Removes the pages of [start, end) that `mode` says. (O) is released while it waits. */
static void vm_object_remove_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                   enum remove_mode mode) FL_REQUIRES(object->lock)
{
    struct remove_batch batch = {.clean_only = mode == REMOVE_CLEAN};
    struct vm_page *m;
    vm_pindex_t pindex = start;
    while (pindex < end && (m = vm_page_find_least(object, pindex)) != NULL && m->pindex < end) {
        enum remove_verdict verdict = remove_judge(object, m, mode);
        pindex = m->pindex;
        if (verdict == REMOVE_WAIT || verdict == REMOVE_ZERO)
            remove_flush(object, &batch); /* no thread may wait for our busy pages while we wait */
        if (verdict == REMOVE_WAIT) {
            vm_page_busy_sleep(m);
            continue;
        }
        pindex++;
        if (verdict == REMOVE_ZERO && !remove_zero(object, m))
            verdict = REMOVE_TAKE; /* like a page that is unmapped; (O) is held since it was last busy */
        if (verdict == REMOVE_TAKE)
            remove_take(object, &batch, m);
    }
    remove_flush(object, &batch);
    if (mode != REMOVE_CLEAN && mode != REMOVE_COPIES && vm_pager_ops(object)->freespace != NULL)
        vm_pager_ops(object)->freespace(object, start, end);
}

/*
 * The end of the stretch [start, …) in which no page is busy or in write-back; page `start` is not. So its
 * removal waits for nothing: while a range is frozen, threads with (M) may be waiting for the thaw, and the
 * owner of a busy page for (M).
 */
static vm_pindex_t remove_clean_stretch(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock)
{
    vm_pindex_t stop = (start | (MACHINE_RUN_MAX - 1)) + 1, next = start + 1;
    struct vm_page *m;
    stop = stop < end && stop != 0 ? stop : end;
    while (next < stop && (m = vm_page_find_least(object, next)) != NULL && m->pindex < stop) {
        if (m->flags & (PG_BUSY | PG_WRITEBACK))
            return m->pindex;
        next = m->pindex + 1;
    }
    return stop;
}

/*
 * Removes the clean pages of the stretch [start, stop). Where a program could store into one unnoticed, it is
 * frozen meanwhile; if that is not possible, only its first page is, or nothing goes. Returns where to go on.
 */
static vm_pindex_t remove_clean_frozen(struct vm_object *object, vm_pindex_t start, vm_pindex_t stop)
    FL_REQUIRES(object->lock)
{
    bool silent = vm_rmap_silent(object, start, stop);
    if (silent && !vm_freeze(object, start, stop)) {
        stop = start + 1;
        if (!vm_freeze(object, start, stop))
            return stop;
    }
    vm_harvest(object, start, stop, 0);
    vm_object_remove_range(object, start, stop, REMOVE_CLEAN);
    if (silent)
        vm_thaw(object);
    return stop;
}

/* The pages that are clean, and in no use. (O) is released while it waits. */
static void vm_object_remove_clean(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock)
{
    struct vm_page *m;
    while (start < end && (m = vm_page_find_least(object, start)) != NULL && m->pindex < end) {
        start = m->pindex;
        if (m->flags & (PG_BUSY | PG_WRITEBACK))
            vm_page_busy_sleep(m);
        else if (object->freeze_end != 0)
            vm_freeze_wait(object);
        else
            start = remove_clean_frozen(object, start, remove_clean_stretch(object, start, end));
    }
}

void vm_object_page_remove(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, bool clean_only)
{
    if (clean_only)
        vm_object_remove_clean(object, start, end);
    else
        vm_object_remove_range(object, start, end, REMOVE_ALL);
}

void vm_object_page_discard(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    KASSERT(object->backing_object == NULL, "OB4");
    vm_object_remove_range(object, start, end, REMOVE_DISCARD);
}

/* ---- shadows ------------------------------------------------------------------------------------------- */

struct vm_object *vm_shadow_walk_next(struct vm_shadow_walk *walk)
{
    struct vm_object *last = walk->at, *next;
    vm_rwlock_read(&vm_rmap_lock);
    if (walk->moves != vm_rmap_shadow_moves) {
        walk->at = walk->root;
        walk->offset = 0;
        walk->moves = vm_rmap_shadow_moves;
    }
    next = vm_object_shadow_reference(walk->at->shadow_head);
    for (struct vm_object *up = walk->at; next == NULL && up != walk->root; up = up->backing_object) {
        walk->offset -= up->backing_pindex;
        next = vm_object_shadow_reference(up->shadow_next);
    }
    if (next != NULL)
        walk->offset += next->backing_pindex;
    walk->at = next;
    vm_rwlock_read_done(&vm_rmap_lock);
    if (last != walk->root)
        vm_object_deallocate(last);
    return next;
}

void vm_shadow_walk_end(struct vm_shadow_walk *walk)
{
    if (walk->at != walk->root)
        vm_object_deallocate(walk->at);
    walk->at = NULL;
}

/*
 * vm_object_remove_range for all shadows over the object; start and end are indices in the object. No lock
 * held.
 */
static void remove_above(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, enum remove_mode mode)
{
    struct vm_shadow_walk walk = vm_shadow_walk_of(object);
    struct vm_object *shadow;
    while ((shadow = vm_shadow_walk_next(&walk)) != NULL) {
        if (end <= walk.offset)
            continue;
        vm_lock(&shadow->lock);
        vm_object_remove_range(shadow, start > walk.offset ? start - walk.offset : 0, end - walk.offset,
                               shadow->snapshot ? REMOVE_COPIES : mode);
        vm_unlock(&shadow->lock);
    }
}

void vm_object_remove_above(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, bool copies_only)
{
    remove_above(object, start, end, copies_only ? REMOVE_COPIES : REMOVE_ABOVE);
}

/*
 * Gives the snapshots over the object copies of busy m. A page that is not valid is about to be overwritten
 * as a whole: then there was no snapshot when its owner looked, and one that begins now waits for it. No lock
 * held. Errors: -ENOMEM.
 */
static int keep_above(struct vm_object *object, struct vm_page *m)
{
    struct vm_shadow_walk walk = vm_shadow_walk_of(object);
    struct vm_object *shadow;
    int error = 0;
    while ((shadow = vm_shadow_walk_next(&walk)) != NULL && error == 0)
        if (shadow->snapshot && m->pindex >= walk.offset)
            error = vm_snapshot_keep(shadow, m->pindex - walk.offset, m);
    if (shadow != NULL)
        vm_shadow_walk_end(&walk);
    return error;
}

int vm_object_invalidate_copies(struct vm_object *object, struct vm_page *m)
{
    int error = 0;
    bool valid = (m->flags & PG_VALID) != 0;
    vm_rwlock_read(&vm_rmap_lock);
    bool shadowed = object->shadow_head != NULL;
    vm_rwlock_read_done(&vm_rmap_lock);
    if (shadowed) {
        vm_object_pip_add(object);
        vm_unlock(&object->lock);
        error = valid ? keep_above(object, m) : 0;
        if (error == 0)
            remove_above(object, m->pindex, m->pindex + 1, REMOVE_COPIES);
        vm_lock(&object->lock);
        vm_object_pip_wakeup(object);
    }
    if (error == 0)
        m->flags &= (uint16_t)~PG_COPIED;
    return error;
}

/* ---- checks -------------------------------------------------------------------------------------------- */

/* OB4. The references of the shadows keep the chain. */
static void vm_object_check_chain(const struct vm_object *object)
{
    uint32_t depth = 0;
    for (const struct vm_object *o = object->backing_object; o != NULL; o = o->backing_object) {
        KASSERT(++depth < SHADOW_DEPTH, "OB4");
        KASSERT(atomic_load(&o->ref_count) > 0 && !o->dead, "OB4");
    }
}

void vm_object_check(struct vm_object *object)
{
    vm_lock(&object->lock);
    uint32_t resident = 0, dirty = 0;
    vm_pindex_t last = 0;
    for (struct vm_page *m = vm_page_find_least(object, 0); m != NULL;
         m = vm_page_find_least(object, last + 1)) {
        KASSERT(m->object == object, "PG1");
        KASSERT(m->pindex < object->size, "OB3");
        resident++;
        dirty += (m->flags & PG_DIRTY) != 0;
        last = m->pindex;
        if (last == UINT64_MAX)
            break;
    }
    KASSERT(resident == object->resident_count, "OB1");
    KASSERT(dirty == object->dirty_count || !vm_pager_keeps(object), "PG7");
    uint32_t refs = atomic_load(&object->ref_count);
    vm_rwlock_read(&vm_rmap_lock);
    KASSERT(refs > 0 || (resident == 0 && object->entries.root == NULL), "OB2");
    vm_rwlock_read_done(&vm_rmap_lock);
    KASSERT(object->type == OBJT_SWAP || (object->handle != NULL && object->backing_object == NULL), "OB5");
    vm_object_check_chain(object);
    vm_snapshot_check(object);
    vm_radix_check(&object->pages);
    vm_unlock(&object->lock);
}

uint64_t vm_object_check_promised(void)
{
    uint64_t npages = 0;
    vm_lock(&vm_objects_lock);
    for (struct vm_object *object = vm_objects; object != NULL; object = object->all_next)
        npages += vm_pager_ops(object)->promised != NULL ? vm_pager_ops(object)->promised(object) : 0;
    vm_unlock(&vm_objects_lock);
    return npages;
}

void fl_vm_resident(uint64_t *anonymous, uint64_t *file)
{
    *anonymous = *file = 0;
    vm_lock(&vm_objects_lock);
    for (struct vm_object *object = vm_objects; object != NULL; object = object->all_next) {
        vm_lock(&object->lock);
        *(vm_pager_keeps(object) ? file : anonymous) += object->resident_count;
        vm_unlock(&object->lock);
    }
    vm_unlock(&vm_objects_lock);
}

void vm_object_check_all(void)
{
    uint64_t nslots = 0;
    vm_lock(&vm_objects_lock);
    for (struct vm_object *object = vm_objects; object != NULL; object = object->all_next) {
        vm_object_check(object);
        vm_lock(&object->lock);
        nslots += swap_pager_check(object);
        vm_unlock(&object->lock);
    }
    vm_unlock(&vm_objects_lock);
    swap_pager_check_space(nslots);
}
