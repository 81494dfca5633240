/*
 * vm_object_snapshot.c: snapshots: shadows that keep what they show, whatever becomes of the object behind.
 *
 *   a mapping shares F ──▶ F: a b c        S, the snapshot, has no page yet: it shows F's
 *                          ▲
 *   its snapshot ───────▶ S: . . .
 *
 *   a store into b         F: a B c        first S gets b, then the store goes on
 *                          S: . b .        b is S's own: it can go to swap
 *
 * An ordinary shadow shows the object's present bytes until it is stored to itself. A snapshot is never
 * stored to, and takes a page when the page behind it is: copy on write, made by the other side.
 *
 *   who changes a page of F                       what comes first
 *   a store through a mapping, a write            the page is busy and PG_COPIED: vm_object_invalidate_copies
 *   a write of a whole page that is absent        the page is read (vm_object_snapshotted), then the same
 *   direct I/O, truncation, a hole                vm_object_preserve, for absent pages too
 *   a system call that has held it for long       vm_object_cover, when the snapshot begins
 *   another process                               nothing: it is not seen
 *
 * Invariant SN1: from vm_object_cover on, a page behind that a mapped snapshot shows and that is not busy is
 * PG_COPIED, or the snapshot has a page of its own, in memory or in swap. A page that comes in is born
 * PG_COPIED. A page that changes is busy, or kept absent meanwhile.
 *
 * The owner of a busy page of a snapshot waits for no page behind it (vm_fault_forget_first). So the owner of
 * that one may wait for the snapshot's.
 *
 * Locks: (O), the snapshot's before those behind it; (R) below. Copies are made with none.
 * Loops: each turn follows the end of another thread's work on the page, or new memory.
 *
 * Does not do: entries (vm_map_snapshot.c). The end of a snapshot: it is a shadow, and ends, or takes over
 * the anonymous object behind it, as any other.
 */
#include "vm/vm_object.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/lru.h"
#include "vm/vm_harvest.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_rmap.h"

bool vm_object_snapshotted(struct vm_object *object)
{
    bool found = false;
    vm_rwlock_read(&vm_rmap_lock);
    const struct vm_object *at = object->shadow_head;
    while (at != NULL && !found) {
        found = at->snapshot;
        if (at->shadow_head != NULL) {
            at = at->shadow_head;
            continue;
        }
        while (at != object && at->shadow_next == NULL)
            at = at->backing_object;
        at = at == object ? NULL : at->shadow_next;
    }
    vm_rwlock_read_done(&vm_rmap_lock);
    return found;
}

int vm_object_page_in(struct vm_object *object, vm_pindex_t pindex)
{
    struct vm_page *m = vm_page_alloc(object, pindex, vm_pager_alloc_class(object, pindex));
    vm_unlock(&object->lock);
    int error = m == NULL ? vm_wait() : vm_pager_get_pages(object, &m, 1, 0);
    vm_lock(&object->lock);
    if (m == NULL)
        return error;
    if (error != 0) {
        vm_page_free(m);
        return error;
    }
    activate_page(m);
    vm_page_xunbusy(m);
    return 0;
}

/* ---- a page that a snapshot shows is about to change -------------------------------------------------- */

/*
 * Has the object page pindex itself for good, m or in its source? A clean page that is not in the source is a
 * copy of what is behind, of a page or of none (zeros), and page-out may drop it.
 */
static bool page_own(struct vm_object *object, vm_pindex_t pindex, const struct vm_page *m)
    FL_REQUIRES(object->lock)
{
    if (m != NULL && (m->flags & PG_DIRTY) != 0)
        return true;
    return vm_pager_has_page(object, pindex, NULL, NULL);
}

/* Has an object between the snapshot and the page's object a page of its own in front of it? */
static bool snapshot_hidden(struct vm_object *snapshot, vm_pindex_t pindex, const struct vm_object *object)
    FL_REQUIRES(snapshot->lock) FL_NO_THREAD_SAFETY_ANALYSIS /* goes from lock to lock */
{
    struct vm_object *last = snapshot, *at;
    bool hidden = false;
    while (!hidden && (at = last->backing_object) != object && at != NULL) {
        pindex += last->backing_pindex;
        vm_lock(&at->lock);
        if (last != snapshot)
            vm_unlock(&last->lock);
        hidden = page_own(at, pindex, vm_page_lookup(at, pindex));
        last = at;
    }
    hidden = hidden || last->backing_object == NULL;
    if (last != snapshot)
        vm_unlock(&last->lock);
    return hidden;
}

/* Not an error: memory is free again. */
#define SNAPSHOT_RETRY 1
/* Tries of a copy that finds memory free again and again, but never gets a page. */
#define SNAPSHOT_TRIES 64

/*
 * The snapshot, which has no page there, gets a copy of busy m. (O) is released meanwhile. Errors: -ENOMEM;
 * SNAPSHOT_RETRY.
 */
static int snapshot_copy(struct vm_object *snapshot, vm_pindex_t pindex, struct vm_page *m)
    FL_REQUIRES(snapshot->lock)
{
    struct vm_page *copy = vm_page_alloc(snapshot, pindex, VM_ALLOC_NORMAL);
    vm_unlock(&snapshot->lock);
    int error = copy != NULL ? vm_page_copy(m, copy) : vm_wait();
    vm_lock(&snapshot->lock);
    if (copy == NULL)
        return error != 0 ? error : SNAPSHOT_RETRY;
    if (error != 0) {
        vm_page_free(copy);
        return error;
    }
    vm_page_dirty(copy);
    lru_cache_add(copy);
    /* Where m was mapped through the snapshot, the next access finds the copy. */
    vm_rmap_unmap(snapshot, pindex, pindex + 1, 0, NULL);
    vm_page_xunbusy(copy);
    return 0;
}

int vm_snapshot_keep(struct vm_object *snapshot, vm_pindex_t pindex, struct vm_page *m)
{
    uint32_t tries = 0;
    int error = SNAPSHOT_RETRY;
    vm_lock(&snapshot->lock);
    vm_object_pip_add(snapshot);
    while (error == SNAPSHOT_RETRY) {
        struct vm_page *own = pindex < snapshot->size ? vm_page_lookup(snapshot, pindex) : NULL;
        if (own != NULL && (own->flags & PG_BUSY) != 0) {
            vm_page_busy_sleep(own); /* whose owner does not wait for m */
        } else if (pindex >= snapshot->size || page_own(snapshot, pindex, own) ||
                   snapshot_hidden(snapshot, pindex, m->object)) {
            error = 0;
        } else if (own != NULL) {
            vm_page_dirty(own); /* the clean copy of m is the snapshot's own from now on */
            error = 0;
        } else {
            error = snapshot_copy(snapshot, pindex, m);
            if (error == SNAPSHOT_RETRY && ++tries == SNAPSHOT_TRIES)
                error = -ENOMEM;
        }
    }
    vm_object_pip_wakeup(snapshot);
    vm_unlock(&snapshot->lock);
    return error;
}

/* ---- the beginning of a snapshot ---------------------------------------------------------------------- */

/* A system call may be storing into held m, and no fault would tell: the snapshots get their copies now. */
static int cover_held(struct vm_object *object, struct vm_page *m) FL_REQUIRES(object->lock)
{
    vm_page_xbusy(m);
    int error = vm_object_invalidate_copies(object, m);
    vm_page_xunbusy(m);
    return error;
}

/* Marks the resident pages [start, end), so that the next store into each is told. Errors: -ENOMEM. */
static int cover_pages(struct vm_object *object, vm_pindex_t start, vm_pindex_t end) FL_REQUIRES(object->lock)
{
    struct vm_page *m;
    int error = 0;
    while (error == 0 && start < end && (m = vm_page_find_least(object, start)) != NULL && m->pindex < end) {
        start = m->pindex;
        if ((m->flags & PG_BUSY) != 0) {
            vm_page_busy_sleep(m); /* its owner may be changing it */
            continue;
        }
        start++;
        /* Given up by MADV_FREE: it stays now, because it must not become zeros later. */
        if (!vm_pager_bounded(object) && (m->flags & PG_COPY) == 0 && !page_own(object, m->pindex, m))
            vm_page_dirty(m);
        if ((m->flags & PG_COPIED) != 0)
            continue;
        if (m->hold_count > 0 && (m->flags & PG_DIRTY) != 0)
            error = cover_held(object, m);
        else
            m->flags |= PG_COPIED;
    }
    return error;
}

/* Pages [start, end) of an object behind a snapshot. No lock held. Errors: as vm_object_cover. */
static int cover_object(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    vm_lock(&object->lock);
    vm_object_pip_add(object);
    int error = cover_pages(object, start, end);
    /* A change past the pages that began before the snapshot was there has not preserved its pages. */
    while (error == 0 && object->invalidate_start < end && start < object->invalidate_end)
        vm_sleep(&object->invalidate_start, &object->lock);
    if (error == 0 && vm_pager_bounded(object) && start < end && end > object->size)
        error = -ENXIO;
    if (error == 0)
        vm_wrprotect_unheld(object, start, end);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
    return error;
}

int vm_object_cover(struct vm_object *snapshot)
{
    vm_lock(&snapshot->lock);
    bool covered = !snapshot->snapshot || snapshot->covered;
    vm_unlock(&snapshot->lock);
    if (covered)
        return 0;
    vm_pindex_t pindex = 0;
    int error = 0;
    vm_object_reference(snapshot);
    struct vm_object *object = vm_object_next(snapshot, &pindex);
    for (; object != NULL && error == 0; object = vm_object_next(object, &pindex))
        error = cover_object(object, pindex, pindex + snapshot->size);
    if (object != NULL)
        vm_object_deallocate(object);
    vm_lock(&snapshot->lock);
    snapshot->covered = error == 0;
    vm_unlock(&snapshot->lock);
    return error;
}

/* ---- changes past the pages --------------------------------------------------------------------------- */

/* Page pindex of the object, resident or in its source, goes to the snapshots that show it. */
static int preserve_page(struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(object->lock)
{
    for (;;) {
        struct vm_page *m = vm_page_lookup(object, pindex);
        int error = 0;
        if (m == NULL && !vm_pager_has_page(object, pindex, NULL, NULL))
            return 0; /* zeros, or nothing, and that is what it will be */
        if (m == NULL) {
            error = vm_object_page_in(object, pindex);
        } else if ((m->flags & PG_BUSY) != 0) {
            vm_page_busy_sleep(m);
        } else {
            vm_page_xbusy(m);
            error = vm_object_invalidate_copies(object, m);
            vm_page_xunbusy(m);
            return error;
        }
        if (error != 0)
            return error;
    }
}

/* Has the object page pindex itself? No lock held. */
static bool object_own(struct vm_object *object, vm_pindex_t pindex)
{
    vm_lock(&object->lock);
    bool own = page_own(object, pindex, vm_page_lookup(object, pindex));
    vm_unlock(&object->lock);
    return own;
}

/*
 * Page pindex of the snapshot, which lies over `root`. It may show one of an object in between, which a
 * truncation of the root takes, too. No lock held.
 */
static int preserve_shown(struct vm_object *snapshot, vm_pindex_t pindex, const struct vm_object *root)
{
    if (object_own(snapshot, pindex))
        return 0;
    vm_object_reference(snapshot);
    struct vm_object *object = vm_object_next(snapshot, &pindex);
    while (object != NULL && object != root && !object_own(object, pindex))
        object = vm_object_next(object, &pindex);
    if (object == NULL)
        return 0; /* the snapshot has left the root */
    vm_lock(&object->lock);
    vm_object_pip_add(object);
    int error = preserve_page(object, pindex);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
    vm_object_deallocate(object);
    return error;
}

/* Pages [start, end) of the snapshot, as far as it has so many. No lock held. */
static int preserve_for(struct vm_object *snapshot, vm_pindex_t start, vm_pindex_t end,
                        const struct vm_object *root)
{
    int error = 0;
    end = end < snapshot->size ? end : snapshot->size;
    for (; error == 0 && start < end; start++)
        error = preserve_shown(snapshot, start, root);
    return error;
}

int vm_object_preserve(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct vm_shadow_walk walk = vm_shadow_walk_of(object);
    struct vm_object *shadow;
    int error = 0;
    while ((shadow = vm_shadow_walk_next(&walk)) != NULL && error == 0)
        if (shadow->snapshot && end > walk.offset)
            error = preserve_for(shadow, start > walk.offset ? start - walk.offset : 0, end - walk.offset,
                                 object);
    if (shadow != NULL)
        vm_shadow_walk_end(&walk);
    return error;
}

/* ---- checking ----------------------------------------------------------------------------------------- */

void vm_snapshot_check(struct vm_object *snapshot)
{
    struct vm_object *behind = snapshot->backing_object;
    if (!snapshot->covered || behind == NULL)
        return;
    vm_lock(&behind->lock);
    vm_pindex_t base = snapshot->backing_pindex;
    struct vm_page *m = vm_page_find_least(behind, base);
    for (; m != NULL && m->pindex - base < snapshot->size; m = vm_page_find_least(behind, m->pindex + 1)) {
        vm_pindex_t pindex = m->pindex - base;
        bool own = page_own(snapshot, pindex, vm_page_lookup(snapshot, pindex));
        bool kept = own || (m->flags & (PG_BUSY | PG_COPIED)) != 0;
        KASSERT(kept || !vm_rmap_mapped(snapshot, pindex, pindex + 1), "SN1");
    }
    vm_unlock(&behind->lock);
}
