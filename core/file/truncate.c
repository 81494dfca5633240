/*
 * truncate.c: removal of a file's pages.
 *
 *   truncate_inode_pages_range   unmap_mapping_range            all mappings in one walk
 *                                truncate_idle_pages            pages that are free to go, in batches
 *                                  truncate_inode_batch           with one shoot-down each
 *                                truncate_lock_page             the others, one by one, after a wait
 *                                  truncate_inode_page
 *                                vm_object_remove_above         what shadows hold of them
 *   truncate_pagecache           the file is shorter: that, and the last page's tail
 *   truncate_forget_tail         the file is longer: what was the last page, unless it is dirty
 *   punch_pagecache              a hole: partial pages zeroed, whole ones removed unless they are held
 *   punch_held_pages             those become zeros when the store has its hole
 *
 * No removal waits for a hold (vm_page.h). Of a hole a held page stays, mapped, as zeros: the file goes on
 * having it, and the system call must find it. A page that is cut off leaves its mappings and the object; the
 * frame is left to the call. Invalidation leaves pages that are held or wired as they are.
 *
 * Locks: (O), released to wait and to zero. The object lives as long as its vnode.
 * Loops: nothing comes in behind a walk, so each turn follows the progress of the owner of one page.
 *
 * Does not do: the length itself and the store (vnode_size.c, punch.c).
 */
#include "file/truncate.h"
#include "file/buffer.h"
#include "file/filemap.h"
#include "file/vnode.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_harvest.h"
#include "vm/vm_pager.h"
#include "vm/vm_rmap.h"

#define TRUNCATE_BATCH 64 /* pages unmapped and freed together */

/* ---- whole pages --------------------------------------------------------------------------------------- */

/* Pages on their way out: busy, by index. */
struct truncate_batch {
    struct vm_page *m[TRUNCATE_BATCH];
    uint32_t n;
};

void unmap_mapping_range(struct vm_object *object, vm_ooffset_t holebegin, uint64_t holelen)
{
    vm_pindex_t end = holelen == 0 ? UINT64_MAX : range_end(holebegin, holelen);
    vm_lock(&object->lock);
    vm_harvest_unmap(object, atop(holebegin), end);
    vm_unlock(&object->lock);
}

/* Busy m loses its buffers, dirtiness and wiring. Nothing maps it. (O). */
static void truncate_cleanup_page(struct vm_page *m)
{
    if (page_has_buffers(m))
        block_invalidatepage(m, 0);
    vm_page_undirty(m);
    while (m->wire_count > 0)
        vm_page_unwire(m, PQ_INACTIVE);
}

/* Busy m goes, and so do its mappings. (O). */
static void truncate_inode_page(struct vm_object *object, struct vm_page *m) FL_REQUIRES(object->lock)
{
    vm_rmap_unmap(object, m->pindex, m->pindex + 1, 0, NULL);
    truncate_cleanup_page(m);
    vm_page_free(m);
}

/* The pages of the batch go: unmapped with one shoot-down for all, and freed in runs of neighbours. (O). */
static void truncate_inode_batch(struct truncate_batch *batch)
{
    bool clean = true;
    for (uint32_t i = 0; i < batch->n; i++)
        clean = clean && (batch->m[i]->flags & PG_DIRTY) == 0;
    vm_rmap_unmap_pages(batch->m, batch->n, clean ? MACHINE_UNMAP_RELEASE : 0, NULL);
    for (uint32_t i = 0; i < batch->n; i++)
        truncate_cleanup_page(batch->m[i]);
    vm_page_free_batch(batch->m, batch->n);
    batch->n = 0;
}

/* Is m in a use that ends soon: busy, in write-back, or being read? (O). */
static bool truncate_must_wait(const struct vm_page *m)
{
    return (m->flags & (PG_BUSY | PG_WRITEBACK)) || m->readers > 0;
}

/* The pages of [start, end) that need not be waited for go; held ones only with `held`. (O). */
static void truncate_idle_pages(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, bool held)
    FL_REQUIRES(object->lock)
{
    struct truncate_batch batch = {.n = 0};
    struct vm_page *m;
    while (start < end && (m = vm_page_find_least(object, start)) != NULL && m->pindex < end) {
        start = m->pindex + 1;
        if (truncate_must_wait(m) || (m->hold_count > 0 && !held))
            continue;
        vm_page_xbusy(m);
        batch.m[batch.n++] = m;
        if (batch.n == TRUNCATE_BATCH)
            truncate_inode_batch(&batch);
    }
    truncate_inode_batch(&batch);
}

/*
 * The first page of [start, end), made busy once its last use has
 * ended. NULL: there is none. (O), released in between.
 */
static struct vm_page *truncate_lock_page(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock)
{
    struct vm_page *m;
    while ((m = vm_page_find_least(object, start)) != NULL && m->pindex < end) {
        if (!truncate_must_wait(m)) {
            vm_page_xbusy(m);
            return m;
        }
        vm_page_busy_sleep(m);
    }
    return NULL;
}

/* What the pager has of pages [start, end) elsewhere goes, where no store does that. (O). */
static void truncate_freespace(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock)
{
    if (vm_pager_ops(object)->freespace != NULL)
        vm_pager_ops(object)->freespace(object, start, end);
}

void truncate_inode_pages_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct vm_page *m;
    if (start >= end)
        return;
    unmap_mapping_range(object, ptoa(start), end == UINT64_MAX ? 0 : ptoa(end - start));
    vm_lock(&object->lock);
    truncate_idle_pages(object, start, end, true);
    while ((m = truncate_lock_page(object, start, end)) != NULL)
        truncate_inode_page(object, m);
    truncate_freespace(object, start, end);
    vm_unlock(&object->lock);
    vm_object_remove_above(object, start, end, false);
}

bool invalidate_inode_pages2_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    vm_lock(&object->lock);
    vm_object_page_remove(object, start, end, true);
    struct vm_page *m = vm_page_find_least(object, start);
    bool gone = m == NULL || m->pindex >= end;
    vm_unlock(&object->lock);
    vm_object_remove_above(object, start, end, true);
    return gone;
}

/* ---- absent pages -------------------------------------------------------------------------------------- */

void filemap_invalidate_lock(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    KASSERT(object->invalidate_end == 0, "VN4");
    object->invalidate_start = start;
    object->invalidate_end = end;
}

void filemap_invalidate_unlock(struct vm_object *object)
{
    vm_lock(&object->lock);
    object->invalidate_start = object->invalidate_end = 0;
    vm_unlock(&object->lock);
    machine_wake(&object->invalidate_start);
}

/* ---- parts of pages ------------------------------------------------------------------------------------ */

/*
 * Bytes [start, end) of busy m become zeros, and it has no clean copies above it; snapshots keep its bytes.
 * No lock held. Errors: -ENOMEM.
 */
static int zero_busy_page(struct vm_object *object, struct vm_page *m, uint32_t start, uint32_t end)
{
    vm_lock(&object->lock);
    int error = vm_object_invalidate_copies(object, m);
    vm_unlock(&object->lock);
    return error != 0 ? error : pmap_zero_page_area(m, start, end);
}

/* Busy m goes back. */
static void unlock_page(struct vm_object *object, struct vm_page *m)
{
    vm_lock(&object->lock);
    vm_page_xunbusy(m);
    vm_unlock(&object->lock);
}

int truncate_get_page(struct vm_object *object, vm_pindex_t pindex, struct vm_page **m)
{
    uint32_t tries = 0;
    int error = 0;
    vm_lock(&object->lock);
    while ((*m = find_lock_page(object, pindex)) == NULL && error == 0 && !vm_pager_keeps(object) &&
           vm_pager_has_page(object, pindex, NULL, NULL) && !vm_pager_hole(object, pindex))
        error = ++tries < FILEMAP_TRIES ? vm_object_page_in(object, pindex) : -ENOMEM;
    vm_unlock(&object->lock);
    return error;
}

/* The same; and where *m is NULL, there are no clean copies of the page either. */
static int get_partial_page(struct vm_object *object, vm_pindex_t pindex, struct vm_page **m)
{
    int error = truncate_get_page(object, pindex, m);
    if (error == 0 && *m == NULL)
        vm_object_remove_above(object, pindex, pindex + 1, true);
    return error;
}

int truncate_partial_page(struct vm_object *object, struct vm_page *m, uint32_t start)
{
    int error = zero_busy_page(object, m, start, (uint32_t)VM_PAGE_SIZE);
    vm_lock(&object->lock);
    if (page_has_buffers(m))
        block_invalidatepage(m, start);
    if (!vm_pager_keeps(object)) /* what swap space has is not cut */
        vm_page_dirty(m);
    vm_unlock(&object->lock);
    return error;
}

/*
 * The file ends, or ended, at size_bytes: what follows in that page
 * becomes zeros. No lock held. Errors: -ENOMEM; of truncate_get_page.
 */
static int zero_tail(struct vm_object *object, uint64_t size_bytes)
{
    uint32_t start = (uint32_t)(size_bytes & VM_PAGE_MASK);
    struct vm_page *m = NULL;
    int error = start == 0 ? 0 : get_partial_page(object, atop(size_bytes), &m);
    if (m == NULL)
        return error;
    error = truncate_partial_page(object, m, start);
    unlock_page(object, m);
    return error;
}

int truncate_pagecache(struct vm_object *object, uint64_t new_bytes)
{
    truncate_inode_pages_range(object, size_pages(new_bytes), UINT64_MAX);
    return zero_tail(object, new_bytes);
}

void truncate_forget_tail(struct vm_object *object, uint64_t old_bytes)
{
    vm_pindex_t pindex = atop(old_bytes);
    if ((old_bytes & VM_PAGE_MASK) == 0)
        return;
    vm_lock(&object->lock);
    vm_object_page_remove(object, pindex, pindex + 1, true);
    vm_unlock(&object->lock);
    vm_object_remove_above(object, pindex, pindex + 1, true);
}

/* ---- holes --------------------------------------------------------------------------------------------- */

/*
 * Bytes [start, end) of busy m become zeros, and are to be written; m
 * goes back. No lock held. Errors: -ENOMEM; the store's.
 */
static int zero_locked_page(struct vm_object *object, struct vm_page *m, uint32_t start, uint32_t end)
{
    vm_lock(&object->lock); /* a thread that waits for m sets a flag */
    bool valid = (m->flags & PG_VALID) != 0;
    vm_unlock(&object->lock);
    /* Blocks that were never read are read first: the store will have other bytes there. */
    int error = valid ? 0 : block_read_full_page(m);
    if (error == 0)
        error = zero_busy_page(object, m, start, end);
    vm_lock(&object->lock);
    if (m->flags & PG_VALID)
        vm_page_dirty(m);
    vm_page_xunbusy(m);
    vm_unlock(&object->lock);
    return error;
}

/* The same of page pindex, if it is there. */
static int zero_partial_page(struct vm_object *object, vm_pindex_t pindex, uint32_t start, uint32_t end)
{
    struct vm_page *m;
    int error = get_partial_page(object, pindex, &m);
    return m == NULL ? error : zero_locked_page(object, m, start, end);
}

/* Pages [start, end) go, after their last use has ended; held ones stay. No lock held. */
static void punch_unheld_pages(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct vm_page *m;
    vm_lock(&object->lock);
    truncate_idle_pages(object, start, end, false);
    for (vm_pindex_t at = start; (m = truncate_lock_page(object, at, end)) != NULL;) {
        at = m->pindex + 1; /* no page comes in behind the walk */
        if (m->hold_count > 0)
            vm_page_xunbusy(m);
        else
            truncate_inode_page(object, m);
    }
    truncate_freespace(object, start, end);
    vm_unlock(&object->lock);
}

int punch_pagecache(struct vm_object *object, uint64_t start, uint64_t end)
{
    vm_pindex_t first = atop(start), last = atop(end);
    uint32_t head = (uint32_t)(start & VM_PAGE_MASK), tail = (uint32_t)(end & VM_PAGE_MASK);
    if (head != 0 && first == last)
        return zero_partial_page(object, first, head, tail);
    int error = 0;
    if (head != 0)
        error = zero_partial_page(object, first++, head, (uint32_t)VM_PAGE_SIZE);
    if (error == 0 && tail != 0)
        error = zero_partial_page(object, last, 0, tail);
    if (error == 0 && first < last) {
        punch_unheld_pages(object, first, last);
        vm_object_remove_above(object, first, last, true);
    }
    return error;
}

int punch_held_pages(struct vm_object *object, uint64_t start, uint64_t end)
{
    vm_pindex_t next = atop(start + VM_PAGE_MASK), last = atop(end);
    struct vm_page *m;
    int error = 0;
    vm_lock(&object->lock);
    while ((m = truncate_lock_page(object, next, last)) != NULL) {
        next = m->pindex + 1;
        vm_unlock(&object->lock);
        int failed = zero_locked_page(object, m, 0, (uint32_t)VM_PAGE_SIZE);
        error = error != 0 ? error : failed;
        vm_lock(&object->lock);
    }
    vm_unlock(&object->lock);
    return error;
}
