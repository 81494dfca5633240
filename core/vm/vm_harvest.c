/*
 * vm_harvest.c: what the machine knows of the use of an object's pages, brought into the page descriptors.
 *
 *   resident   ··█·██··|······|█·······|      stretches of HARVEST_SPAN pages; one without a resident page
 *   looked at    └───┘          └┘            costs nothing
 *
 * A stretch is looked at from its first resident page on. Bits of absent pages mean nothing: a machine may
 * count what it knows nothing of as dirty.
 *
 * Invariant HV1: vm_harvest.h. Locks: (O), then (R).
 */
#include "vm/vm_harvest.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/vm_page.h"
#include "vm/vm_rmap.h"

#define HARVEST_SPAN  MACHINE_RUN_MAX
#define HARVEST_TURN  (16 * MACHINE_RUN_MAX) /* pages that are looked at before others may have the object */
#define HARVEST_PAGES 64                     /* looked up together; a fault may run on a small stack */

/* What a harvest says of page m. A page that is not valid is mapped nowhere. (O) of its object. */
static void page_harvested(struct vm_page *m, unsigned bits)
{
    if ((m->flags & PG_VALID) == 0)
        return;
    if (bits & MACHINE_DIRTY)
        vm_page_dirty(m);
    if ((bits & MACHINE_REFERENCED) && (m->lru & PL_LRU))
        m->lru |= PL_YOUNG;
}

/* bits[i]: what is known of page start + i. Tells the resident pages of [start, end). */
static void stretch_harvested(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                              const uint8_t *bits) FL_REQUIRES(object->lock)
{
    struct vm_page *m[HARVEST_PAGES];
    uint32_t n = HARVEST_PAGES;
    for (vm_pindex_t at = start; n == HARVEST_PAGES; at = m[n - 1]->pindex + 1) {
        n = vm_page_lookup_range(object, at, end, m, HARVEST_PAGES);
        for (uint32_t i = 0; i < n; i++)
            if (bits[m[i]->pindex - start] != 0)
                page_harvested(m[i], bits[m[i]->pindex - start]);
        if (n == 0)
            break;
    }
}

/*
 * The next stretch of [start, end) with resident pages: [*first, returned), at most HARVEST_SPAN pages, the
 * first of them resident. Returns `start` if there is none.
 */
static vm_pindex_t next_stretch(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                vm_pindex_t *first) FL_REQUIRES(object->lock)
{
    const struct vm_page *m = start < end ? vm_page_find_least(object, start) : NULL;
    if (m == NULL || m->pindex >= end)
        return start;
    vm_pindex_t stop = (m->pindex | (HARVEST_SPAN - 1)) + 1;
    *first = m->pindex;
    return stop < end && stop != 0 ? stop : end;
}

/* vm_harvest of one stretch, at most HARVEST_SPAN pages. */
static void harvest_stretch(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, unsigned clear)
    FL_REQUIRES(object->lock)
{
    uint8_t bits[HARVEST_SPAN] = {0};
    vm_rmap_harvest(object, start, end, clear, bits);
    stretch_harvested(object, start, end, bits);
}

/*
 * harvest_stretch that clears MACHINE_REFERENCED: a machine may have to forget mappings for it, so the pages
 * that must stay mapped are left out.
 */
static void harvest_references(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, unsigned clear)
    FL_REQUIRES(object->lock)
{
    struct vm_page *m;
    for (; start < end && (m = vm_page_find_pinned(object, start, end, true)) != NULL; start = m->pindex + 1)
        if (start < m->pindex)
            harvest_stretch(object, start, m->pindex, clear);
    if (start < end)
        harvest_stretch(object, start, end, clear);
}

void vm_harvest(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, unsigned clear)
{
    vm_pindex_t stop, first;
    for (; (stop = next_stretch(object, start, end, &first)) != start; start = stop) {
        if (clear & MACHINE_REFERENCED)
            harvest_references(object, first, stop, clear);
        else
            harvest_stretch(object, first, stop, clear);
    }
}

void vm_harvest_silent(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    for (bool more = true; more && start < end;) {
        vm_lock(&object->lock);
        more = vm_rmap_silent(object, start, end);
        const struct vm_page *m = more ? vm_page_find_least(object, start) : NULL;
        more = m != NULL && m->pindex < end;
        if (more) {
            vm_pindex_t first = m->pindex;
            start = end - first > HARVEST_TURN ? first + HARVEST_TURN : end;
            vm_harvest(object, first, start, 0);
        }
        vm_unlock(&object->lock);
    }
}

void vm_harvest_unmap(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    vm_pindex_t at = start, stop, first;
    for (; (stop = next_stretch(object, at, end, &first)) != at; at = stop) {
        uint8_t bits[HARVEST_SPAN] = {0};
        vm_rmap_unmap(object, first, stop, 0, bits);
        stretch_harvested(object, first, stop, bits);
    }
    vm_rmap_unmap_shadows(object, start, end); /* where the object has no page */
}

void vm_harvest_clean(struct vm_object *object, struct vm_page *const *m, uint32_t npages)
{
    for (uint32_t i = 0, end; i < npages; i = end) {
        vm_pindex_t start = m[i]->pindex;
        for (end = i + 1; end < npages && m[end]->pindex - start < HARVEST_SPAN;)
            end++;
        harvest_stretch(object, start, m[end - 1]->pindex + 1, MACHINE_DIRTY);
        if (object->writenotify)
            vm_rmap_wrprotect(object, start, m[end - 1]->pindex + 1);
    }
}

void vm_harvest_assume(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct vm_page *m;
    while (start < end && (m = vm_page_find_least(object, start)) != NULL && m->pindex < end) {
        page_harvested(m, MACHINE_DIRTY);
        start = m->pindex + 1;
    }
}

/* ---- freezing ------------------------------------------------------------------------------------------ */

bool vm_freeze(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    if (object->freeze_end != 0 || vm_page_find_pinned(object, start, end, false) != NULL)
        return false;
    if (vm_rmap_freeze(object, start, end) != 0)
        return false;
    object->freeze_start = start;
    object->freeze_end = end;
    return true;
}

/* The mappings are thawed already: wakes the threads that wait. */
static void freeze_done(struct vm_object *object) FL_REQUIRES(object->lock)
{
    object->freeze_start = object->freeze_end = 0;
    if (object->freeze_wanted) {
        object->freeze_wanted = false;
        machine_wake(&object->freeze_start);
    }
}

void vm_thaw(struct vm_object *object)
{
    KASSERT(object->freeze_end != 0, "HV1");
    vm_rmap_thaw(object, object->freeze_start, object->freeze_end);
    freeze_done(object);
}

void vm_freeze_wait(struct vm_object *object)
{
    while (object->freeze_end != 0) {
        object->freeze_wanted = true;
        vm_sleep(&object->freeze_start, &object->lock);
    }
}

void vm_wrprotect_unheld(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct vm_page *m = vm_page_find_least(object, start);
    for (; m != NULL && m->pindex < end; m = vm_page_find_least(object, m->pindex + 1)) {
        if (m->hold_count == 0 || (m->flags & (PG_DIRTY | PG_COPIED)) != PG_DIRTY)
            continue;
        if (start < m->pindex)
            vm_rmap_wrprotect(object, start, m->pindex);
        start = m->pindex + 1;
    }
    if (start < end)
        vm_rmap_wrprotect(object, start, end);
}

/*
 * Enters held and wired pages again, which the machine may have forgotten: a system call that holds a page
 * may sleep for long before it touches it.
 */
static void enter_pinned(struct vm_object *object) FL_REQUIRES(object->lock)
{
    struct vm_page *m;
    for (vm_pindex_t at = 0; (m = vm_page_find_pinned(object, at, UINT64_MAX, true)) != NULL;
         at = m->pindex + 1)
        if (m->flags & PG_VALID)
            vm_rmap_enter(m);
}

/* Stops all stores, brings their traces into the descriptors, and gives the mappings their new kind. */
int vm_object_writenotify(struct vm_object *object)
{
    vm_freeze_wait(object);
    if (object->writenotify)
        return 0;
    int error = vm_rmap_freeze(object, 0, UINT64_MAX);
    if (error != 0)
        return error;
    vm_wrprotect_unheld(object, 0, UINT64_MAX);
    vm_harvest(object, 0, UINT64_MAX, MACHINE_DIRTY);
    error = vm_rmap_writenotify(object);
    if (error == 0)
        object->writenotify = true;
    else
        vm_rmap_thaw(object, 0, UINT64_MAX);
    enter_pinned(object);
    return error;
}
