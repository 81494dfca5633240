/*
 * vm_prefault.c: mapping pages ahead of the faults that would come next.
 *
 *   neighbours   va ██▓▓▓▓▓▓#      resident pages after the faulting one, up to the mark of read-ahead; or,
 *                                  if there are none, those before it that were read with it: a stream that
 *                                  goes down
 *   arrived      va ██  ▓    ▓  ▓  pages that the pager read one by one, wherever they lie in the entry
 *
 * The page with the mark (#) must be touched to start the next window, so it is never mapped ahead. Pages are
 * busy while they are entered, so that others can have the object's lock while the machine works. Nothing
 * here fails: a page that the machine leaves out will fault.
 *
 * Locks: (M) shared, (O). Does not do: reading (vm_fault.c, the pager).
 */
#include "vm/vm_prefault.h"
#include "vm/pmap.h"
#include "vm/vm_pager.h"

/* At most so many pages for one fault: */
#define PREFAULT_RESIDENT 16 /* neighbours of a page that was found resident */
#define PREFAULT_AHEAD    64 /* neighbours of a page that was read together with them */
#define PREFAULT_ARRIVED  32 /* pages that the pager read one by one */

/* Has the pager not yet found out what kind of stream the entry has? (M) shared. */
static bool stream_young(const struct vm_map_entry *entry, const struct vm_object *object)
    FL_REQUIRES(object->lock)
{
    const struct pagerops *ops = vm_pager_ops(object);
    return ops->readahead_young != NULL && ops->readahead_young(&entry->stream);
}

/* How many pages after the one at va may be mapped. (M) shared. */
static uint32_t prefault_limit(const struct vm_map_entry *entry, const struct vm_object *object,
                               vm_offset_t va, vm_pindex_t pindex, bool ahead) FL_REQUIRES(object->lock)
{
    uint64_t limit = PREFAULT_RESIDENT;
    if (ahead)
        limit = stream_young(entry, object) ? READAHEAD_LOOK : PREFAULT_AHEAD;
    if (vm_map_entry_behavior(entry) == MAP_BEHAV_RANDOM || pindex >= object->size)
        return 0;
    uint64_t mapped = atop(entry->end - va) - 1, there = object->size - pindex - 1;
    limit = limit < mapped ? limit : mapped;
    return (uint32_t)(limit < there ? limit : there);
}

/* m[0 … limit): the resident neighbours from pindex + 1 on, which become busy. Returns how many. */
static uint32_t prefault_collect(struct vm_object *object, vm_pindex_t pindex, uint32_t limit, bool ahead,
                                 struct vm_page **m) FL_REQUIRES(object->lock)
{
    uint32_t n = 0;
    while (n < limit) {
        struct vm_page *p = vm_page_lookup(object, pindex + 1 + n);
        if (p == NULL || (p->flags & (PG_VALID | PG_BUSY | PG_READAHEAD | PG_TESTED)) != PG_VALID)
            break;
        if (ahead && (p->flags & PG_AHEAD) == 0) /* used before: the stream goes the other way */
            break;
        vm_page_xbusy(p);
        m[n++] = p;
    }
    return n;
}

/*
 * The n pages are mapped, and not busy any more. `seen`: they count as used from now on, because their first
 * use will not fault. (O) of their object.
 */
static void prefault_done(struct vm_page **m, uint32_t n, bool seen)
{
    for (uint32_t i = 0; i < n; i++) {
        if (seen)
            m[i]->flags &= (uint16_t)~PG_AHEAD;
        vm_page_xunbusy(m[i]);
    }
}

/*
 * How many pages just below the one at va were read ahead, not used, and may be mapped, if the page above was
 * used. (M) shared.
 */
static uint32_t prefault_below(const struct vm_map_entry *entry, struct vm_object *object, vm_offset_t va,
                               vm_pindex_t pindex) FL_REQUIRES(object->lock)
{
    uint32_t n = 0;
    vm_pindex_t most = atop(va - entry->start);
    const struct vm_page *p = vm_page_lookup(object, pindex + 1);
    if (p == NULL || (p->flags & (PG_VALID | PG_AHEAD)) != PG_VALID)
        return 0; /* it does not come from above */
    most = most < PREFAULT_AHEAD ? most : PREFAULT_AHEAD;
    while (n < most && (p = vm_page_lookup(object, pindex - n - 1)) != NULL &&
           (p->flags & (PG_VALID | PG_BUSY | PG_READAHEAD | PG_TESTED | PG_AHEAD)) == (PG_VALID | PG_AHEAD))
        n++;
    return n;
}

/* The rights of pages that nobody has stored to yet. (M) shared. */
static vm_prot_t prefault_prot(const struct vm_map_entry *entry, const struct vm_object *object,
                               vm_prot_t prot) FL_REQUIRES(object->lock)
{
    bool told = entry->writenotify || object->writenotify;
    return told ? prot & (vm_prot_t)~VM_PROT_WRITE : prot;
}

static void prefault_neighbours(struct vm_map_entry *entry, struct vm_object *object, vm_offset_t va,
                                vm_pindex_t pindex, vm_prot_t prot, bool ahead) FL_REQUIRES(object->lock)
{
    struct vm_page *m[PREFAULT_AHEAD];
    bool seen = !ahead || !stream_young(entry, object);
    uint32_t limit = prefault_limit(entry, object, va, pindex, ahead);
    prot = prefault_prot(entry, object, prot);
    uint32_t n = prefault_collect(object, pindex, limit, ahead, m), down = 0;
    if (n == 0 && ahead) {
        down = prefault_below(entry, object, va, pindex);
        n = prefault_collect(object, pindex - down - 1, down, ahead, m);
    }
    if (n == 0)
        return;
    vm_unlock(&object->lock);
    pmap_enter_object(entry->map, down > 0 ? va - ptoa(down) : va + VM_PAGE_SIZE, m, n, prot);
    vm_lock(&object->lock);
    prefault_done(m, n, seen);
}

uint32_t vm_fault_prefault_ahead(struct vm_map_entry *entry, struct vm_object *object, vm_offset_t va,
                                 vm_pindex_t pindex, vm_offset_t end)
{
    struct vm_page *m[PREFAULT_AHEAD];
    vm_offset_t stop = end < entry->end ? end : entry->end;
    vm_pindex_t left = atop(stop - va), there = pindex < object->size ? object->size - pindex : 0;
    uint64_t limit = left < there ? left : there;
    limit = limit < PREFAULT_AHEAD ? limit : PREFAULT_AHEAD;
    vm_prot_t prot = prefault_prot(entry, object, vm_map_entry_rights(entry));
    uint32_t n = prefault_collect(object, pindex - 1, (uint32_t)limit, true, m);
    if (n == 0)
        return 0;
    vm_unlock(&object->lock);
    pmap_enter_object(entry->map, va, m, n, prot);
    vm_lock(&object->lock);
    prefault_done(m, n, true);
    return n;
}

static void prefault_arrived(struct vm_map_entry *entry, struct vm_object *object, vm_prot_t prot)
    FL_REQUIRES(object->lock)
{
    struct vm_page *m[PREFAULT_ARRIVED];
    vm_pindex_t end = vm_map_entry_pindex(entry, entry->end);
    end = end < object->size ? end : object->size;
    prot = prefault_prot(entry, object, prot);
    uint32_t n = vm_pager_ops(object)->readahead_arrived(object, entry->pindex, end, m, PREFAULT_ARRIVED);
    if (n == 0)
        return;
    vm_unlock(&object->lock);
    for (uint32_t i = 0; i < n; i++)
        pmap_enter_object(entry->map, entry->start + ptoa(m[i]->pindex - entry->pindex), &m[i], 1, prot);
    vm_lock(&object->lock);
    prefault_done(m, n, true);
}

void vm_fault_prefault(struct vm_map_entry *entry, struct vm_object *object, vm_offset_t va,
                       vm_pindex_t pindex, vm_prot_t prot, bool ahead)
{
    prefault_neighbours(entry, object, va, pindex, prot, ahead);
    if (ahead && vm_pager_ops(object)->readahead_arrived != NULL)
        prefault_arrived(entry, object, prot);
}
