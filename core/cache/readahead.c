/*
 * readahead.c: reading before it is asked for. The picture and the idea are in readahead.h.
 *
 * Locks: (e) of file_ra_state; (O) around the allocation of a window's pages, dropped to make room and
 * to submit.
 * Does not do: the transfer itself and its completion (vm_pager.c), mapping what came (vm_fault_prefault).
 */
#include "cache/readahead.h"
#include "lib/kassert.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_phys.h"

#define READAHEAD_INIT   16 /* pages of a new stream's first window */
#define READAHEAD_AROUND 16 /* pages read around a miss that continues nothing; a power of two */
#define READAHEAD_DEPTH                                                                                      \
    2 /* windows in flight ahead of the one that is read: one alone leaves the disk idle */
#define READAHEAD_MISSES 32 /* such misses in a row until only single pages are read */

static uint32_t readahead_max; /* (c) */

void readahead_startup(uint32_t max)
{
    readahead_max = max == 0 || max > MACHINE_RUN_MAX ? 64 : max;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Does the miss continue what this mapping read last? */
static bool readahead_continues(const struct file_ra_state *ra, vm_pindex_t pindex)
{
    if (ra->size == 0)
        return pindex == 0;
    return pindex == ra->prev + 1 || pindex == ra->start + ra->size;
}

bool page_cache_sync_readahead(struct file_ra_state *ra, enum vm_behavior behavior, vm_pindex_t pindex,
                               uint32_t *behind, uint32_t *ahead)
{
    *behind = *ahead = 0;
    if (behavior == MAP_BEHAV_RANDOM)
        return false;
    bool sequential = behavior == MAP_BEHAV_SEQUENTIAL || readahead_continues(ra, pindex);
    ra->prev = pindex;
    if (sequential) {
        ra->misses = 0;
        ra->size = min_u32(ra->size < READAHEAD_INIT ? READAHEAD_INIT : ra->size * 2, readahead_max);
        ra->start = pindex;
        *ahead = ra->size - 1;
        return true;
    }
    uint32_t around = min_u32(READAHEAD_AROUND, readahead_max);
    if (ra->misses >= READAHEAD_MISSES || (around & (around - 1)) != 0)
        around = 1;
    ra->misses += ra->misses < READAHEAD_MISSES;
    *behind = (uint32_t)(pindex & (around - 1));
    *ahead = around - 1 - *behind;
    ra->start = pindex - *behind;
    ra->size = around;
    return false;
}

/* Makes room for a window, so that the daemon need not be awake in time: the reader pays for its own
 * reading. No lock held. */
static void readahead_make_room(uint32_t npages)
{
    vm_lock(&vm_phys.lock);
    bool low = vm_phys.free_count < vm_pageout.free_min + npages;
    vm_unlock(&vm_phys.lock);
    if (low)
        (void)vm_pageout_scan(vm_pageout.free_min +
                              npages); /* how many it freed matters only to those who cannot go on without */
}

/* Busy pages for the absent neighbours from `start` on, at most max, inside the file. Returns how many.
 * (O). */
static uint32_t readahead_alloc(struct vm_object *object, vm_pindex_t start, uint32_t max, struct vm_page **m)
{
    uint32_t n = 0;
    while (n < max && start + n < object->size && vm_page_lookup(object, start + n) == NULL &&
           !vm_object_invalidating(object, start + n) &&
           (m[n] = vm_page_alloc(object, start + n, VM_ALLOC_READAHEAD)) != NULL)
        n++;
    return n;
}

/*
 * Starts to read what is absent of [start, end), in transfers of at most a window. `mark`: the first
 * page is the mark. Gives up when memory is short: it is advice, and not worth
 * making others wait. (O) held on entry and return, released in between; the caller has a pip.
 */
static void readahead_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, bool mark)
    REQUIRES(object->lock)
{
    struct vm_page *m[MACHINE_RUN_MAX];
    while (start < end && start < object->size) {
        uint32_t max = end - start < readahead_max ? (uint32_t)(end - start) : readahead_max;
        uint32_t n = readahead_alloc(object, start, max, m);
        if (n == 0) {
            if (vm_page_lookup(object, start) == NULL)
                return;
            start++;
            continue;
        }
        start += n;
        if (mark)
            m[0]->flags |= PG_READAHEAD;
        mark = false;
        vm_unlock(&object->lock);
        vm_pager_readahead(object, m, n);
        vm_lock(&object->lock);
    }
}

/*
 * The first absent page behind pindex: what is there, or on its way, is this stream's current window and what was
 * read ahead of it. (O).
 */
static vm_pindex_t readahead_end(const struct vm_object *object, vm_pindex_t pindex)
{
    vm_pindex_t end = pindex + 1, limit = pindex + (READAHEAD_DEPTH + 1) * (vm_pindex_t)readahead_max;
    while (end < limit && vm_page_lookup(object, end) != NULL)
        end++;
    return end;
}

void page_cache_async_readahead(struct vm_object *object, vm_pindex_t pindex)
{
    for (uint32_t i = 0; i < READAHEAD_DEPTH; i++) {
        vm_pindex_t start = readahead_end(object, pindex);
        uint32_t size = min_u32((uint32_t)(start - pindex) * 2, readahead_max);
        if (start >= object->size || start - pindex > READAHEAD_DEPTH * (vm_pindex_t)readahead_max)
            return;
        vm_unlock(&object->lock);
        readahead_make_room(size);
        vm_lock(&object->lock);
        readahead_range(object, start, start + size, true);
    }
}

void force_page_cache_readahead(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    vm_lock(&object->lock);
    vm_object_pip_add(object);
    readahead_range(object, start, end, false);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
}
