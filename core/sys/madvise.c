/*
 * madvise.c: madvise: what a program expects of a range.
 *
 *     kept in the entry      NORMAL SEQUENTIAL RANDOM                vm_map_behave
 *                            DONTFORK DOFORK WIPEONFORK KEEPONFORK   vm_map_inherit, which fork asks later
 *     done now               WILLNEED DONTNEED FREE COLD PAGEOUT     step by step through the range (range.h)
 *                            POPULATE_READ POPULATE_WRITE REMOVE
 *     accepted, no effect    HUGEPAGE NOHUGEPAGE DONTDUMP DODUMP     no huge pages or core dumps here
 *
 * Errors and their order are Linux's. A gap gives -ENOMEM after the rest is done, except when populating; any
 * other error ends the call. Locks: (O), and those of the functions that it calls; none is held between
 * steps.
 */
#include <faultline/vm.h>
#include "file/vnode.h"
#include "vm/lru.h"
#include "file/readahead.h"
#include "file/truncate.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "sys/range.h"
#include "vm/vm_harvest.h"
#include "vm/vm_page.h"
#include "vm/vm_pager.h"
#include "vm/vm_rmap.h"

/* Advice of the Linux ABI that changes nothing here. */
#define MADV_HUGEPAGE   14
#define MADV_NOHUGEPAGE 15
#define MADV_DONTDUMP   16
#define MADV_DODUMP     17

static vm_pindex_t range_npages(const struct sys_range *range)
{
    return atop(range->end - range->start);
}

static int madvise_willneed(const struct sys_range *range)
{
    vm_pindex_t pindex;
    struct vm_object *file = sys_range_file(range, &pindex);

    uint32_t share = readahead_share();

    if (file != NULL && vm_pager_keeps(file)) {
        readahead_make_room(range_npages(range) < share ? (uint32_t)range_npages(range) : share);
        force_page_cache_readahead(file, pindex, pindex + range_npages(range), &share, NULL);
    }
    return 0;
}

/* The object's resident pages become the page daemon's next victims. */
static void madvise_deactivate(struct vm_object *object, vm_pindex_t pindex, vm_pindex_t npages)
{
    struct vm_page *m;

    vm_lock(&object->lock);
    vm_harvest(object, pindex, pindex + npages, MACHINE_REFERENCED); /* earlier use does not count */
    for (m = vm_page_find_least(object, pindex); m != NULL && m->pindex - pindex < npages;
         m = vm_page_find_least(object, m->pindex + 1)) {
        if ((m->flags & (PG_VALID | PG_BUSY)) == PG_VALID)
            deactivate_page(m);
    }
    vm_unlock(&object->lock);
}

static int madvise_cold(const struct sys_range *range)
{
    struct vm_object *object = range->object;
    vm_pindex_t pindex = range->pindex;

    if ((range->eflags & MAP_ENTRY_WIRED) != 0)
        return -EINVAL;
    if (object != NULL)
        vm_object_reference(object);
    for (; object != NULL; object = vm_object_next(object, &pindex))
        madvise_deactivate(object, pindex, range_npages(range));
    return 0;
}

/*
 * Throws the pages' bytes away: zeros show afterwards, or the pages of the backing object. Snapshots keep
 * them: no page comes in meanwhile that a snapshot which begins now would miss. Errors: -ENOMEM, those of
 * swap; nothing changed.
 */
static int madvise_page_discard(struct vm_object *object, vm_pindex_t pindex, vm_pindex_t npages)
{
    vm_lock(&object->lock);
    while (object->invalidate_end != 0)
        vm_sleep(&object->invalidate_start, &object->lock);
    filemap_invalidate_lock(object, pindex, pindex + npages);
    vm_unlock(&object->lock);
    int error = vm_object_preserve(object, pindex, pindex + npages);
    vm_lock(&object->lock);
    if (error == 0 && object->backing_object == NULL)
        vm_object_page_discard(object, pindex, pindex + npages);
    else if (error == 0)
        vm_object_page_remove(object, pindex, pindex + npages, false);
    vm_unlock(&object->lock);
    filemap_invalidate_unlock(object);
    return error;
}

/* Frees the pages that are clean and not in use. */
static void madvise_page_remove(struct vm_object *object, vm_pindex_t pindex, vm_pindex_t npages)
{
    vm_lock(&object->lock);
    vm_object_page_remove(object, pindex, pindex + npages, true);
    vm_unlock(&object->lock);
}

/*
 * Has the private range pages that a fork shares with another space? Then they must stay, and the range is
 * mapped anew instead.
 */
static bool range_has_forked(const struct sys_range *range)
{
    struct vm_object *object = range->object;
    vm_pindex_t pindex = 0;
    bool file = vm_object_is_file(vm_object_bottom(object, &pindex));

    if ((range->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
        return object->type == OBJT_SWAP;
    vm_lock(&object->lock);
    bool forked = object->backing_object != NULL && (!file || object->backing_object->type == OBJT_SWAP);
    vm_unlock(&object->lock);
    return forked;
}

/*
 * Private pages are thrown away, so that the file, or zeros, show again. Shared pages belong to the file too:
 * they only become candidates for page-out.
 */
static int madvise_dontneed(struct vm_map *map, const struct sys_range *range)
{
    struct vm_object *object = range->object;

    if ((range->eflags & MAP_ENTRY_WIRED) != 0)
        return -EINVAL;
    if (object == NULL)
        return 0;
    if ((range->eflags & MAP_ENTRY_COW) == 0 || object->type != OBJT_SWAP ||
        (range->eflags & MAP_ENTRY_SNAPSHOT) != 0) /* which stays what it is */
        madvise_deactivate(object, range->pindex, range_npages(range));
    else if (range_has_forked(range))
        return vm_map_renew(map, range->start, range->end);
    else
        return madvise_page_discard(object, range->pindex, range_npages(range));
    return 0;
}

/*
 * Pages [start, end), of each of which page_may_be_lazy is true, become clean, so that page-out may evict
 * them, and earlier use does not count. A store into one from now on makes it dirty again.
 */
static void lazyfree_run(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock)
{
    if (start == end)
        return;
    vm_harvest(object, start, end, MACHINE_REFERENCED | MACHINE_DIRTY);
    if (object->writenotify)
        vm_rmap_wrprotect(object, start, end);
    for (vm_pindex_t pindex = start; pindex < end; pindex++) {
        struct vm_page *m = vm_page_lookup(object, pindex);
        m->flags &= (uint16_t)~PG_TESTED;
        vm_page_undirty(m);
        mark_page_lazyfree(m);
    }
}

/* A held page must keep its rights, a wired one stays in memory, and a busy one may be being written. (O). */
static bool page_may_be_lazy(const struct vm_page *m)
{
    return (m->flags & (PG_VALID | PG_BUSY)) == PG_VALID && m->hold_count == 0 && m->wire_count == 0;
}

static void madvise_lazyfree(struct vm_object *object, vm_pindex_t pindex, vm_pindex_t npages)
{
    vm_pindex_t start = pindex, end = pindex;
    struct vm_page *m;

    vm_lock(&object->lock);
    if (vm_object_snapshotted(object)) {
        vm_unlock(&object->lock);
        return;
    }
    for (m = vm_page_find_least(object, pindex); m != NULL && m->pindex - pindex < npages;
         m = vm_page_find_least(object, m->pindex + 1)) {
        if (!page_may_be_lazy(m))
            continue;
        if (m->pindex != end) {
            lazyfree_run(object, start, end);
            start = m->pindex;
        }
        end = m->pindex + 1;
    }
    lazyfree_run(object, start, end);
    if (vm_pager_ops(object)->freespace != NULL)
        vm_pager_ops(object)->freespace(object, pindex, pindex + npages);
    vm_unlock(&object->lock);
}

/*
 * Page-out may free private anonymous pages from now on, and zeros show then. A page into which the program
 * stores again is kept as any other. Nothing is done if a fork shares the pages, or has pages behind them
 * that would show instead of zeros; or if a snapshot shows them.
 */
static int madvise_free(const struct sys_range *range)
{
    vm_pindex_t pindex;

    if ((range->eflags & MAP_ENTRY_WIRED) != 0 || (range->eflags & MAP_ENTRY_COW) == 0 ||
        sys_range_file(range, &pindex) != NULL)
        return -EINVAL;
    if (range->object != NULL && !range_has_forked(range))
        madvise_lazyfree(range->object, range->pindex, range_npages(range));
    return 0;
}

/* Starts to write dirty m and its neighbours. */
static void madvise_launder(struct vm_object *object, struct vm_page *m, struct vm_pager_plug *plug)
    FL_RELEASE(object->lock) FL_NO_THREAD_SAFETY_ANALYSIS /* the pager unlocks, through its table */
{
    (void)vm_pager_ops(object)->launder(m, plug);
}

/*
 * Writes the dirty pages of anonymous memory to swap, as far as there is room and no thread uses them. A page
 * that cannot be written stays.
 */
static void madvise_swap_out(struct vm_object *object, vm_pindex_t pindex, vm_pindex_t npages)
{
    struct vm_pager_plug plug = {0};

    madvise_deactivate(object, pindex, npages); /* the pager writes inactive neighbours together */
    vm_lock(&object->lock);
    vm_harvest(object, pindex, pindex + npages, 0);
    for (vm_pindex_t at = pindex; at < pindex + npages; at++) {
        struct vm_page *m = vm_page_lookup(object, at);

        if (m == NULL ||
            (m->flags & (PG_BUSY | PG_WRITEBACK | PG_VALID | PG_DIRTY)) != (PG_VALID | PG_DIRTY) ||
            m->wire_count > 0 || m->hold_count > 0 || !vm_pager_home(object))
            continue;
        madvise_launder(object, m, &plug);
        vm_lock(&object->lock);
    }
    vm_unlock(&object->lock);
    vm_pager_unplug(&plug);
}

/* Writes the range's dirty pages, to their file or to swap, and frees what is clean then. */
static int madvise_pageout(const struct sys_range *range)
{
    struct vm_object *object = range->object;
    vm_pindex_t pindex = range->pindex, npages = range_npages(range);
    int error = 0;

    if ((range->eflags & MAP_ENTRY_WIRED) != 0)
        return -EINVAL;
    if (object != NULL)
        vm_object_reference(object);
    for (; object != NULL; object = vm_object_next(object, &pindex)) {
        bool shared = (range->eflags & MAP_ENTRY_COW) == 0;
        if (vm_pager_keeps(object) && shared)
            error = filemap_write_and_wait_range(object, pindex, pindex + npages);
        else if (!vm_object_is_file(object) || shared)
            madvise_swap_out(object, pindex, npages);
        madvise_page_remove(object, pindex, npages);
    }
    return error;
}

/*
 * Removes the bytes of the range from what is mapped there: a hole is punched in a file. The checks are
 * Linux's.
 */
static int madvise_remove(const struct sys_range *range)
{
    bool private = (range->eflags & MAP_ENTRY_COW) != 0;
    vm_pindex_t pindex;

    if ((range->eflags & (MAP_ENTRY_WIRED | MAP_ENTRY_GROWS_DOWN)) != 0 || range->object == NULL)
        return -EINVAL;
    if (private && sys_range_file(range, &pindex) == NULL)
        return -EINVAL; /* anonymous */
    if (private || (range->max_protection & VM_PROT_WRITE) == 0)
        return -EACCES;
    if (vm_object_is_file(range->object))
        return fl_vnode_punch(vm_object_vnode(range->object), ptoa(range->pindex), ptoa(range_npages(range)));
    return madvise_page_discard(range->object, range->pindex, range_npages(range)); /* shared: zeros again */
}

static int madvise_populate(struct vm_map *map, const struct sys_range *range, vm_prot_t access)
{
    int error;

    if ((range->protection & access) == 0)
        return -EINVAL; /* write-only counts as asked, though x86-64 lets the page be read */
    error = sys_populate(map, range->start, range->end, access);
    switch (error) {
    case -EACCES:
        return -EINVAL;
    case -EFAULT:
        return -ENOMEM; /* it was unmapped meanwhile */
    case -ENXIO:
    case -EIO:
    case -ENOSPC:
    case -EDQUOT:
        return -EFAULT;
    default:
        return error;
    }
}

/* As on Linux: WIPEONFORK of a file or of shared memory is an error, and KEEPONFORK is none. */
static int madvise_inherit(struct vm_map *map, const struct sys_range *range, int advice)
{
    bool wipe = advice == FL_MADV_WIPEONFORK || advice == FL_MADV_KEEPONFORK;
    bool set = advice == FL_MADV_WIPEONFORK || advice == FL_MADV_DONTFORK;
    vm_pindex_t pindex;

    if (advice == FL_MADV_WIPEONFORK &&
        ((range->eflags & MAP_ENTRY_COW) == 0 || sys_range_file(range, &pindex) != NULL))
        return -EINVAL;
    return vm_map_inherit(map, range->start, range->end, wipe ? VM_INHERIT_ZERO : VM_INHERIT_NONE, set);
}

static bool madvise_populates(int advice)
{
    return advice == FL_MADV_POPULATE_READ || advice == FL_MADV_POPULATE_WRITE;
}

static int madvise_range(struct vm_map *map, const struct sys_range *range, int advice)
{
    switch (advice) {
    case FL_MADV_WILLNEED:
        return madvise_willneed(range);
    case FL_MADV_DONTNEED:
        return madvise_dontneed(map, range);
    case FL_MADV_FREE:
        return madvise_free(range);
    case FL_MADV_REMOVE:
        return madvise_remove(range);
    case FL_MADV_COLD:
        return madvise_cold(range);
    case FL_MADV_PAGEOUT:
        return madvise_pageout(range);
    case FL_MADV_POPULATE_READ:
        return madvise_populate(map, range, VM_PROT_READ);
    case FL_MADV_POPULATE_WRITE:
        return madvise_populate(map, range, VM_PROT_WRITE);
    case FL_MADV_DONTFORK:
    case FL_MADV_DOFORK:
    case FL_MADV_WIPEONFORK:
    case FL_MADV_KEEPONFORK:
        return madvise_inherit(map, range, advice);
    default: /* MADV_HUGEPAGE … MADV_DODUMP: only a gap is an error */
        return 0;
    }
}

static bool madvise_known(int advice)
{
    switch (advice) {
    case FL_MADV_NORMAL:
    case FL_MADV_RANDOM:
    case FL_MADV_SEQUENTIAL:
    case FL_MADV_WILLNEED:
    case FL_MADV_DONTNEED:
    case FL_MADV_FREE:
    case FL_MADV_REMOVE:
    case FL_MADV_DONTFORK:
    case FL_MADV_DOFORK:
    case FL_MADV_WIPEONFORK:
    case FL_MADV_KEEPONFORK:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case FL_MADV_COLD:
    case FL_MADV_PAGEOUT:
    case FL_MADV_POPULATE_READ:
    case FL_MADV_POPULATE_WRITE:
        return true;
    default:
        return false;
    }
}

static enum vm_behavior madvise_behavior(int advice)
{
    if (advice == FL_MADV_RANDOM)
        return MAP_BEHAV_RANDOM;
    return advice == FL_MADV_SEQUENTIAL ? MAP_BEHAV_SEQUENTIAL : MAP_BEHAV_NORMAL;
}

int fl_sys_madvise(struct vm_map *map, vm_offset_t addr, size_t len_bytes, int advice)
{
    struct sys_walk walk = {.map = map, .va = addr};
    struct sys_range range;
    int error = 0;

    if (!madvise_known(advice) || (addr & VM_PAGE_MASK) != 0 || !sys_range_end(addr, len_bytes, &walk.end))
        return -EINVAL;
    if (walk.end == addr)
        return 0;
    if (advice == FL_MADV_NORMAL || advice == FL_MADV_RANDOM || advice == FL_MADV_SEQUENTIAL)
        return vm_map_behave(map, addr, walk.end, madvise_behavior(advice));
    while (error == 0 && sys_walk_next(&walk, &range)) {
        if (!walk.gap || !madvise_populates(advice)) /* populating ends at the first gap */
            error = madvise_range(map, &range, advice);
        sys_range_done(&range);
    }
    return error == 0 && walk.gap ? -ENOMEM : error;
}
