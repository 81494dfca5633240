/*
 * vm_fault.c: the page fault: from an address that the machine could not translate to a page mapped there.
 *
 *   vm_fault_hold
 *     vm_fault_attempt                     again while it returns VM_FAULT_RETRY
 *       vm_fault_lookup                    entry, object, rights; a first private write makes the shadow here
 *       vm_fault_allocate                  a write needs space in the source first: get it, retry
 *       vm_fault_soft_fast                 the page is resident and can be mapped as it is: done
 *       vm_fault_zero_fast                 memory that was never touched, where there is a direct map: done
 *       vm_fault_walk                      down the chain of objects; on success fs->m is busy and valid
 *         vm_fault_readahead_mark          the page has read-ahead's mark: start the next window, retry
 *         vm_fault_busy                    another thread has the page busy: sleep, retry
 *         vm_fault_getpages                the pager has the page: read it, with neighbours
 *         vm_fault_zero_fill               the chain ends: make a page of zeros
 *       vm_fault_copy                      copy up: a private write, or the machine cannot map the page here
 *       vm_fault_drop_copies               a write makes the clean copies of the page stale: drop them
 *       vm_fault_relookup                  take (M) again: did the map change meanwhile?
 *       vm_fault_enter                     dirty, map, wire, hold and activate the page
 *
 * What a fault does, by where it finds the page and what the access is:
 *
 *   found in         access   the machine can map it      it cannot
 *   first object     read     map, without write where    -
 *                             stores must be told
 *   first object     write    dirty, map with write       -
 *   backing object   read     map without write           copy up as PG_COPY, map without write
 *   backing object   write    copy up, dirty, map with write
 *   nowhere          any      zero fill in the first object
 *
 * The first object is the one that the entry refers to. Before the walk goes below it, it allocates the page
 * there (fs->first_m): as long as that page is busy, no other thread copies the same page up.
 *
 * Locks: (M) shared from vm_fault_lookup on; the fault releases it before all I/O, object windows and sleep.
 * (O) hand over hand down the chain, the shadow first. The fault keeps its page busy while it takes (M)
 * again: so no thread may wait for a busy page with (M) held.
 *
 * Invariants: FT1 a page that is not busy is valid, or its pager keeps parts of it (PG_PRIVATE). FT2 a page
 * that is about to be written has no clean copies above it, and stays busy while they are dropped. FT3 the
 * pages that vm_fault_unwire unwires lie in the entry. FT4 lookup_still_valid is set while the fault holds
 * (M), and only then.
 *
 * VM_FAULT_NOWAIT: the fault takes the page only as it is: valid, not busy, and in the first object or in one
 * whose pages the machine can map here (vm_fault_at_once). It leaves everything else to a fault that may
 * sleep (vm_hold.c).
 *
 * Retries: each one follows a sleep for the progress of another thread, or a change of the map; nothing
 * spins. The tries for memory are counted (VM_FAULT_TRIES).
 *
 * Does not do: choosing victims (vm_pageout.c), sizing read-ahead (the pager), mapping more than the page
 * itself (vm_prefault.c), reverse mapping (vm_rmap.c).
 */
#include "vm/vm_fault.h"
#include <faultline/vm.h>
#include "vm/lru.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_harvest.h"
#include "vm/vm_meter.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_phys.h"
#include "vm/vm_prefault.h"
#include "vm/vm_prefaultd.h"
#include "vm/vm_rmap.h"

/* Not an error: look everything up again. */
#define VM_FAULT_RETRY 1
/* Tries of a fault that finds memory free again and again, but never gets a page. */
#define VM_FAULT_TRIES 64
/* Pages in one read that a fault waits for. */
#define VM_FAULT_READ 64

struct faultstate {
    /* What is asked. */
    struct vm_map *map;
    vm_offset_t va; /* page-aligned */
    vm_prot_t access;
    unsigned flags; /* VM_FAULT_* */
    struct vm_page **hold;
    uint32_t memory_tries;
    bool asked_ahead; /* the pager was asked to start read-ahead for this fault */
    bool followed;    /* the prefault daemon maps what comes behind the page */
    bool has_space;   /* the pager was asked for the page's space, and gave it */

    /* What the map says. It is current while lookup_still_valid is set, and then (M) is held shared. */
    bool lookup_still_valid;
    uint32_t timestamp; /* of the map at the lookup */
    struct vm_map_entry *entry;
    vm_prot_t prot;
    bool wired;

    /* Where the page belongs. The slow path has a reference to the object, and a pip. */
    struct vm_object *first_object;
    vm_pindex_t first_pindex;
    struct vm_page *first_m; /* busy, or NULL */
    bool pip;                /* the fault still has its pip of first_object */

    /* Where the walk is in the chain; with a pip if that is below first_object. */
    struct vm_object *object;
    vm_pindex_t pindex;
    struct vm_page *m; /* busy, or NULL */

    /* An object that has more dirty pages than it should, with a reference; or NULL. */
    struct vm_object *dirtied;
    /* An object whose page replaced_pindex is new in front of another one's, with a reference; or NULL. */
    struct vm_object *replaced;
    vm_pindex_t replaced_pindex;

    /* For the statistics. */
    bool paged_in, copied, zeroed;
};

/*
 * Takes (M) shared. A field says from now on that it is held (FT4), which the compiler's analysis of locks
 * cannot follow: so this function and the next two hide the lock from it.
 */
static void vm_fault_lock_map(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* a field says so */
{
    KASSERT(!fs->lookup_still_valid, "FT4");
    vm_map_lock_read(fs->map);
    fs->lookup_still_valid = true;
}

/* Releases (M) if it is held, which vm_map_unlock_read asserts. */
static void vm_fault_unlock_map(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* a field says so */
{
    if (fs->lookup_still_valid) {
        vm_map_unlock_read(fs->map);
        fs->lookup_still_valid = false;
    }
}

/*
 * Asks the map what va means: *object and *pindex, fs->entry, ->prot and ->wired. Errors: as vm_map_lookup.
 * On success (M) is held shared.
 */
static int vm_fault_lookup(struct faultstate *fs, struct vm_object **object,
                           vm_pindex_t *pindex) FL_NO_THREAD_SAFETY_ANALYSIS /* a field says so */
{
    KASSERT(!fs->lookup_still_valid, "FT4");
    int error = vm_map_lookup(fs->map, fs->va, fs->access, &fs->entry, object, pindex, &fs->prot, &fs->wired);
    if (error != 0)
        return error;
    fs->lookup_still_valid = true;
    fs->timestamp = fs->map->timestamp;
    return 0;
}

/* Gives busy page m back: it stays if it has bytes of its object, and is freed if not. (O) of its object. */
static void vm_fault_release_page(struct vm_page *m)
{
    if ((m->flags & (PG_VALID | PG_PRIVATE)) == 0) {
        vm_page_free(m);
        return;
    }
    lru_cache_add(m);
    vm_page_xunbusy(m);
}

/* Unlocks the object, and drops the walk's pip if it is below the first one. */
static void vm_fault_leave_object(struct faultstate *fs, struct vm_object *object) FL_RELEASE(object->lock)
{
    if (object != fs->first_object)
        vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
}

/*
 * Drops everything that an attempt took, whether it succeeded or not. No object lock held. Where the map was
 * unlocked meanwhile, the reference may be the last one, which must not be dropped with (M) held. A fault
 * that must not sleep has never unlocked the map; there the entry's reference keeps the object.
 */
static void vm_fault_cleanup(struct faultstate *fs)
{
    struct vm_object *object = fs->object, *first = fs->first_object;
    if (fs->m != NULL) {
        vm_lock(&object->lock);
        vm_fault_release_page(fs->m);
        vm_fault_leave_object(fs, object);
    }
    if (fs->pip) {
        vm_lock(&first->lock);
        if (fs->first_m != NULL)
            vm_fault_release_page(fs->first_m);
        vm_object_pip_wakeup(first);
        vm_unlock(&first->lock);
    }
    if (fs->flags & VM_FAULT_NOWAIT)
        vm_object_drop(first);
    vm_fault_unlock_map(fs);
    if ((fs->flags & VM_FAULT_NOWAIT) == 0)
        vm_object_deallocate(first);
}

/* ---- the end of a fault: the page is there ------------------------------------------------------------ */

/*
 * Is all of page m dirty? A page of which the pager keeps parts may have clean ones, unless this access has
 * just dirtied it.
 */
static bool vm_fault_dirty(const struct faultstate *fs, const struct vm_page *m)
{
    bool parts_clean = (m->flags & PG_PRIVATE) != 0 && (fs->access & VM_PROT_WRITE) == 0;
    return (m->flags & PG_DIRTY) != 0 && !parts_clean;
}

/*
 * The rights with which page m of the object may be entered now. Where stores must be told: write only if all
 * of the page is dirty (PM1).
 */
static vm_prot_t vm_fault_prot(const struct faultstate *fs, const struct vm_object *object,
                               const struct vm_page *m) FL_REQUIRES(object->lock)
{
    bool write = (fs->access & VM_PROT_WRITE) != 0, told = fs->entry->writenotify || object->writenotify;
    KASSERT((m->flags & PG_VALID) != 0, "PM2");
    KASSERT(!write || (m->flags & PG_DIRTY) != 0, "PM1");
    bool dirty = vm_fault_dirty(fs, m) && (m->flags & PG_COPIED) == 0;
    if (object != fs->first_object || (told && !dirty))
        return fs->prot & (vm_prot_t)~VM_PROT_WRITE;
    return fs->prot;
}

/*
 * Enters page m, which is `dirty` or not, at fs->va. (M) shared, and (O) of its object unless m is busy. For
 * a write, m is dirty, in the first object, and has no copies above it. Errors: as pmap_enter.
 */
static int vm_fault_map(struct faultstate *fs, struct vm_page *m, vm_prot_t prot, bool dirty)
{
    unsigned map_flags = fs->wired || (fs->flags & VM_FAULT_WIRE) ? MACHINE_MAP_WIRED : 0;
    return pmap_enter(fs->map, fs->va, m, prot, dirty ? map_flags | MACHINE_MAP_DIRTY : map_flags);
}

/*
 * Page m was used. It is mapped from now on, so the core may not see its next use: a page that was asked for
 * by itself is active until page-out has looked at it. Of a page that was read ahead one use is expected: its
 * uses count as those of any other page (mark_page_accessed). (O) of its object.
 */
static void vm_fault_accessed(struct vm_page *m)
{
    if ((m->flags & PG_AHEAD) != 0 || (m->lru & PL_ACTIVE) != 0)
        mark_page_accessed(m);
    else
        activate_page(m);
}

/*
 * Page m of the object is mapped: wires, holds and activates it, and maps neighbours. (M) shared. (O) is
 * released in between.
 */
static void vm_fault_mapped(struct faultstate *fs, struct vm_object *object, struct vm_page *m)
    FL_REQUIRES(object->lock)
{
    bool write = (fs->access & VM_PROT_WRITE) != 0;
    if (fs->flags & VM_FAULT_WIRE)
        vm_page_wire(m);
    if (fs->hold != NULL) {
        vm_page_hold(m);
        *fs->hold = m;
    }
    bool ahead = fs->paged_in || (m->flags & PG_AHEAD) != 0; /* its neighbours were read with it */
    vm_fault_accessed(m);
    if (m->flags & PG_BUSY)
        vm_page_xunbusy(m);
    bool throttled = write && (fs->flags & VM_FAULT_HOLD) == 0;
    if (throttled && vm_pager_keeps(object) && vm_pager_ops(object)->dirty_exceeded(object)) {
        vm_object_reference_locked(object);
        fs->dirtied = object;
    }
    /* Only pages of the first object: it may have pages of its own in front of those of an object below. A
     * new page of zeros has no neighbours that came with it. */
    bool told = fs->entry->writenotify || object->writenotify; /* each page's first store faults anyway */
    if (object == fs->first_object && !(write && told) && !fs->followed && !fs->zeroed &&
        (fs->flags & (VM_FAULT_WIRE | VM_FAULT_HOLD)) == 0)
        vm_fault_prefault(fs->entry, object, fs->va, m->pindex, fs->prot, ahead);
}

/* Does this write dirty a page of the first object that may lack space in the object's source? */
static bool vm_fault_lacks_space(const struct faultstate *fs, struct vm_object *object)
    FL_REQUIRES(object->lock)
{
    return (fs->access & VM_PROT_WRITE) && !fs->has_space && vm_pager_keeps(object) &&
           fs->first_pindex < object->size && vm_pager_ops(object)->lacks_space(object, fs->first_pindex);
}

/*
 * The pager gets space for the page of the first object, or the fault fails: the access that needs the space
 * is the one that hears that there is none, as with a kernel.
 */
static int vm_fault_allocate(struct faultstate *fs, struct vm_object *object) FL_RELEASE(object->lock)
{
    vm_object_reference_locked(object);
    vm_unlock(&object->lock);
    vm_fault_unlock_map(fs);
    int error = vm_pager_ops(object)->page_mkwrite(object, fs->first_pindex);
    vm_object_deallocate(object);
    fs->has_space = true; /* the fault asks once, even if the space is taken away again meanwhile */
    return error == 0 ? VM_FAULT_RETRY : error;
}

/*
 * Can the fault be served without sleep by what the walk finds in this object: page m, or NULL for none? A
 * fault that dirties a page which has a home may have to wait until others are written.
 */
static bool vm_fault_at_once(const struct faultstate *fs, const struct vm_object *object,
                             const struct vm_page *m) FL_REQUIRES(object->lock)
{
    bool first = object == fs->first_object, write = (fs->access & VM_PROT_WRITE) != 0;
    if (m == NULL)
        return object->backing_object != NULL && !write && !vm_object_invalidating(object, fs->pindex);
    if ((m->flags & (PG_VALID | PG_BUSY | PG_READAHEAD)) != PG_VALID)
        return false;
    if (!first)
        return !write && machine_can_map(fs->first_object->machine, object->machine);
    if (!write)
        return true;
    return (m->flags & PG_COPIED) == 0 && (!vm_pager_keeps(object) || (m->flags & PG_DIRTY) ||
                                           !vm_pager_ops(object)->dirty_exceeded(object));
}

static int vm_fault_would_sleep(struct faultstate *fs, struct vm_object *object) FL_RELEASE(object->lock)
{
    vm_fault_leave_object(fs, object);
    return VM_FAULT_WOULD_SLEEP;
}

/*
 * The common case: the page is in the first object, valid and not busy, and only the mapping is missing.
 * True: *error is the fault's result; (O) was released in between. False: nothing was done. m: the page. (M)
 * shared, and kept.
 */
static bool vm_fault_soft_fast(struct faultstate *fs, struct vm_object *object, struct vm_page *m, int *error)
    FL_REQUIRES(object->lock)
{
    if ((m->flags & (PG_VALID | PG_BUSY | PG_READAHEAD)) != PG_VALID)
        return false;
    if (fs->first_pindex >= object->size) /* a truncation is about to remove it */
        return false;
    if ((fs->access & VM_PROT_WRITE) && (m->flags & PG_COPIED))
        return false;
    if ((fs->flags & VM_FAULT_NOWAIT) && !vm_fault_at_once(fs, object, m))
        return false;
    if (fs->access & VM_PROT_WRITE)
        vm_page_dirty(m);
    *error = vm_fault_map(fs, m, vm_fault_prot(fs, object, m), vm_fault_dirty(fs, m));
    if (*error == 0)
        vm_fault_mapped(fs, object, m);
    return true;
}

/* May the absent page be a new one of zeros, without a look at anything that sleeps? */
static bool vm_fault_untouched(const struct faultstate *fs, struct vm_object *object)
    FL_REQUIRES(object->lock)
{
    return pmap_direct_map != NULL && object->backing_object == NULL && !vm_pager_bounded(object) &&
           !vm_pager_keeps(object) && fs->first_pindex < object->size && !fs->wired &&
           (fs->flags & (VM_FAULT_NOWAIT | VM_FAULT_WIRE)) == 0 &&
           !atomic_load_explicit(&object->shadowed, memory_order_relaxed) &&
           !vm_object_invalidating(object, fs->first_pindex) &&
           !vm_pager_has_page(object, fs->first_pindex, NULL, NULL);
}

/*
 * The other common case: memory that nobody has touched yet. The page is made and mapped with (M) kept, since
 * its bytes are reached without a window. True and false as vm_fault_soft_fast; the page is absent.
 */
static bool vm_fault_zero_fast(struct faultstate *fs, struct vm_object *object, int *error)
    FL_REQUIRES(object->lock)
{
    if (!vm_fault_untouched(fs, object))
        return false;
    struct vm_page *m = vm_page_alloc(object, fs->first_pindex, VM_ALLOC_NORMAL);
    if (m == NULL)
        return false;
    vm_unlock(&object->lock); /* the page is busy, and other threads have their own */
    __builtin_memset(pmap_direct(m), 0, VM_PAGE_SIZE);
    vm_lock(&object->lock);
    /* vm_page_dirty, of a page that no pager has or keeps */
    m->flags |= (fs->access & VM_PROT_WRITE) ? PG_VALID | PG_DIRTY : PG_VALID;
    fs->zeroed = true;
    *error = vm_fault_map(fs, m, vm_fault_prot(fs, object, m), vm_fault_dirty(fs, m));
    if (*error == 0)
        vm_fault_mapped(fs, object, m);
    else
        vm_fault_release_page(m);
    return true;
}

/* A store into a page that is frozen (vm_harvest.h): waits for the thaw. */
static int vm_fault_frozen(struct faultstate *fs, struct vm_object *object) FL_RELEASE(object->lock)
{
    if (fs->flags & VM_FAULT_NOWAIT) {
        vm_unlock(&object->lock);
        vm_fault_unlock_map(fs);
        return VM_FAULT_WOULD_SLEEP;
    }
    vm_object_reference_locked(object);
    vm_fault_unlock_map(fs);
    vm_freeze_wait(object);
    vm_unlock(&object->lock);
    vm_object_deallocate(object);
    return VM_FAULT_RETRY;
}

/* ---- the walk ----------------------------------------------------------------------------------------- */

/* No page could be allocated for the object: waits for memory. */
static int vm_fault_nomem(struct faultstate *fs, struct vm_object *object) FL_RELEASE(object->lock)
{
    if (fs->flags & VM_FAULT_NOWAIT)
        return vm_fault_would_sleep(fs, object);
    bool exchange = vm_pager_exchanges(object, fs->pindex);
    vm_fault_leave_object(fs, object);
    vm_fault_unlock_map(fs);
    int error = vm_wait();
    if (error != 0 && !exchange)
        return error;
    /* There are free pages, and yet this fault got none: other threads were faster, or there is no memory for
       the radix tree, which vm_wait cannot see. */
    return ++fs->memory_tries < VM_FAULT_TRIES ? VM_FAULT_RETRY : -ENOMEM;
}

/*
 * The fault is about to wait for a page below the first object: nobody may have to wait for its own page
 * there meanwhile (vm_object_snapshot.c). No object lock held.
 */
static void vm_fault_forget_first(struct faultstate *fs)
{
    struct vm_object *first = fs->first_object;
    if (fs->first_m == NULL)
        return;
    vm_lock(&first->lock);
    vm_page_free(fs->first_m);
    vm_unlock(&first->lock);
    fs->first_m = NULL;
}

/* The same with the lock of the object that the walk is in, which is released in between. */
static void vm_fault_forget_first_locked(struct faultstate *fs, struct vm_object *object)
    FL_REQUIRES(object->lock)
{
    if (fs->first_m == NULL)
        return;
    vm_unlock(&object->lock);
    vm_fault_forget_first(fs);
    vm_lock(&object->lock);
}

/* Must a fault wait for page m: is it busy, or must its write-back end first? (O). */
static bool vm_fault_must_wait(const struct vm_page *m)
{
    return (m->flags & PG_BUSY) != 0 || (m->flags & (PG_VALID | PG_WRITEBACK)) == PG_WRITEBACK;
}

/* vm_fault_must_wait is true of the object's page: waits for a change. */
static int vm_fault_busy(struct faultstate *fs, struct vm_object *object) FL_RELEASE(object->lock)
{
    vm_fault_unlock_map(fs);
    vm_fault_forget_first_locked(fs, object);
    struct vm_page *m = vm_page_lookup(object, fs->pindex);
    if (m != NULL && vm_fault_must_wait(m))
        vm_page_busy_sleep(m);
    vm_fault_leave_object(fs, object);
    return VM_FAULT_RETRY;
}

/* What the pager needs to know of the fault's stream. (M) shared. */
static struct readahead_control vm_fault_ractl(const struct faultstate *fs, struct vm_object *object)
{
    return (struct readahead_control){
        .object = object,
        .stream = &fs->entry->stream,
        .behavior = vm_map_entry_behavior(fs->entry),
        .map = fs->map,
    };
}

/* Page m has read-ahead's mark: the pager starts the next window before the fault waits for this one. */
static int vm_fault_readahead_mark(struct faultstate *fs, struct vm_object *object, struct vm_page *m)
    FL_RELEASE(object->lock)
{
    struct readahead_control ractl = vm_fault_ractl(fs, object);
    /* The pages behind the mark are there or in flight; this fault maps the marked one only. */
    bool young = vm_pager_ops(object)->readahead_young(&fs->entry->stream);
    if ((fs->flags & VM_FAULT_HOLD) == 0 && object == fs->first_object && !young)
        fs->followed =
            vm_prefaultd_wakeup(fs->map, fs->va + VM_PAGE_SIZE, fs->va + ptoa(2 * MACHINE_RUN_MAX));
    vm_pager_ops(object)->readahead_mark(&ractl, m);
    fs->lookup_still_valid = false; /* the pager has released (M) */
    vm_fault_leave_object(fs, object);
    return VM_FAULT_RETRY;
}

/*
 * Is there something at a neighbour's place: a page, or an invalidation that must find none?
 * (vm_fault_page_lookup, FreeBSD 2.1.)
 */
static bool vm_fault_page_lookup(struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(object->lock)
{
    return vm_page_lookup(object, pindex) != NULL || vm_object_invalidating(object, pindex);
}

/*
 * Allocates the neighbours of fs->m that are worth reading in the same transfer, as ractl says. Returns the
 * number of pages in marray: all busy, in the order of their indices, marray[*reqpage] being fs->m.
 * (vm_fault_additional_pages, FreeBSD 2.1.)
 */
static uint32_t vm_fault_additional_pages(struct faultstate *fs, struct vm_object *object,
                                          const struct readahead_control *ractl,
                                          struct vm_page *marray[VM_FAULT_READ], uint32_t *reqpage)
    FL_REQUIRES(object->lock)
{
    uint32_t before, after, behind = ractl->behind, ahead = ractl->ahead, n = 0;
    struct vm_page *m;
    (void)!vm_pager_has_page(object, fs->pindex, &before, &after); /* if it has not, both are 0 */
    behind = behind < before ? behind : before;
    while (n < behind && n < VM_FAULT_READ / 2 && !vm_fault_page_lookup(object, fs->pindex - n - 1) &&
           (m = vm_page_alloc(object, fs->pindex - n - 1, VM_ALLOC_READAHEAD)) != NULL)
        marray[n++] = m;
    for (uint32_t i = 0; i < n / 2; i++) { /* they came nearest first */
        m = marray[i];
        marray[i] = marray[n - 1 - i];
        marray[n - 1 - i] = m;
    }
    *reqpage = n;
    marray[n++] = fs->m;
    ahead = ahead < after ? ahead : after;
    while (n - *reqpage - 1 < ahead && n < VM_FAULT_READ &&
           !vm_fault_page_lookup(object, fs->pindex + (n - *reqpage)) &&
           (m = vm_page_alloc(object, fs->pindex + (n - *reqpage), VM_ALLOC_READAHEAD)) != NULL)
        marray[n++] = m;
    return n;
}

/*
 * Asks the pager, once in a fault, to start the windows that the absent page belongs to. True: it did, and
 * has released (O) in between, and (M).
 */
static bool vm_fault_readahead(struct faultstate *fs, struct vm_object *object,
                               struct readahead_control *ractl) FL_REQUIRES(object->lock)
{
    const struct pagerops *ops = vm_pager_ops(object);
    if (fs->asked_ahead || ops->readahead == NULL)
        return false;
    fs->asked_ahead = true;
    return ops->readahead(ractl, fs->pindex, 1);
}

/*
 * The page is absent, and the object's pager has it. If it belongs to a stream, the pager starts its window
 * and the next one before anything waits. Any other page is read here, and so is one that no window brought.
 * On success fs->m is busy and valid.
 */
static int vm_fault_getpages(struct faultstate *fs, struct vm_object *object) FL_RELEASE(object->lock)
{
    struct vm_page *marray[VM_FAULT_READ];
    struct readahead_control ractl = vm_fault_ractl(fs, object);
    uint32_t reqpage;
    if (vm_fault_readahead(fs, object, &ractl)) {
        fs->lookup_still_valid = false;
        fs->paged_in = true;
        vm_fault_leave_object(fs, object);
        return VM_FAULT_RETRY;
    }
    fs->m = vm_page_alloc(object, fs->pindex, vm_pager_alloc_class(object, fs->pindex));
    if (fs->m == NULL)
        return vm_fault_nomem(fs, object);
    bool hole = vm_pager_hole(object, fs->pindex);
    uint32_t count = vm_fault_additional_pages(fs, object, &ractl, marray, &reqpage);
    vm_fault_unlock_map(fs);
    vm_unlock(&object->lock);
    int error = vm_pager_get_pages(object, marray, count, reqpage);
    if (error == 0) {
        fs->paged_in = fs->paged_in || !hole;
        fs->zeroed = hole;
        return 0;
    }
    vm_lock(&object->lock);
    vm_page_free(fs->m);
    fs->m = NULL;
    vm_fault_leave_object(fs, object);
    /* -ENXIO: the source became shorter, or claims so. Another try finds out (vm_fault_beyond). */
    return error == -ENXIO && ++fs->memory_tries < VM_FAULT_TRIES ? VM_FAULT_RETRY : error;
}

/* This object ends the chain: fs->first_m becomes a page of zeros, and the fault's page. */
static int vm_fault_zero_fill(struct faultstate *fs, struct vm_object *object) FL_RELEASE(object->lock)
{
    vm_fault_leave_object(fs, object);
    vm_fault_unlock_map(fs);
    fs->object = fs->first_object;
    fs->pindex = fs->first_pindex;
    fs->m = fs->first_m;
    fs->first_m = NULL;
    fs->zeroed = true;
    return vm_page_zero_fill(fs->m);
}

/*
 * The page lies beyond the object's end. Where the source's length decides that, the pager asks for its
 * present length; otherwise this is memory whose mapping became longer than itself (mremap).
 */
static int vm_fault_beyond(struct faultstate *fs, struct vm_object *object) FL_RELEASE(object->lock)
{
    /* The fault's reference to the first object keeps the objects below it alive. */
    vm_fault_leave_object(fs, object);
    vm_fault_unlock_map(fs);
    vm_fault_forget_first(fs);
    if (!vm_pager_bounded(object))
        return -ENXIO;
    int error = vm_pager_ops(object)->setsize(object);
    if (error != 0)
        return error;
    vm_lock(&object->lock);
    bool inside = fs->pindex < object->size;
    vm_unlock(&object->lock);
    return inside ? VM_FAULT_RETRY : -ENXIO;
}

/* The absent page must stay absent while the source changes below it (vm_object.invalidate_start): waits. */
static int vm_fault_invalidating(struct faultstate *fs, struct vm_object *object) FL_RELEASE(object->lock)
{
    vm_fault_unlock_map(fs);
    vm_fault_forget_first_locked(fs, object);
    if (vm_object_invalidating(object, fs->pindex))
        vm_sleep(&object->invalidate_start, &object->lock);
    vm_fault_leave_object(fs, object);
    return VM_FAULT_RETRY;
}

/* Steps from the object to `next`, which backs it. fs->first_m stays busy in the first object. */
static void vm_fault_next_object(struct faultstate *fs, struct vm_object *object, struct vm_object *next)
    FL_RELEASE(object->lock) FL_ACQUIRE(next->lock)
{
    fs->pindex += object->backing_pindex;
    vm_lock(&next->lock);
    vm_object_pip_add(next);
    vm_fault_leave_object(fs, object);
    fs->object = next;
}

/* Busy fs->m has only parts of its bytes: the pager reads the rest. No object lock held. */
static int vm_fault_readpage(struct faultstate *fs)
{
    vm_fault_unlock_map(fs);
    int error = vm_pager_ops(fs->object)->readpage(fs->m);
    fs->paged_in = error == 0;
    return error;
}

/* The walk has found page m in the object. On success fs->m is that page, busy and valid. */
static int vm_fault_found(struct faultstate *fs, struct vm_object *object, struct vm_page *m)
    FL_RELEASE(object->lock)
{
    if (m->flags & PG_READAHEAD)
        return vm_fault_readahead_mark(fs, object, m);
    bool valid = (m->flags & PG_VALID) != 0;
    if (vm_fault_must_wait(m))
        return vm_fault_busy(fs, object);
    KASSERT(valid || (m->flags & PG_PRIVATE), "FT1");
    vm_page_xbusy(m);
    fs->m = m;
    vm_unlock(&object->lock);
    return valid ? 0 : vm_fault_readpage(fs);
}

/*
 * Down the chain from the first object, which is locked on entry; no object is on return. m: the page there,
 * or NULL. On success fs->m, in fs->object, is busy and valid, and if that is not the first object,
 * fs->first_m is busy there.
 */
static int vm_fault_walk(struct faultstate *fs, struct vm_object *object, struct vm_page *m)
    FL_RELEASE(object->lock) FL_NO_THREAD_SAFETY_ANALYSIS /* goes from lock to lock */
{
    vm_lock_assert(&object->lock);
    bool nowait = (fs->flags & VM_FAULT_NOWAIT) != 0;
    for (struct vm_object *next;; object = next) {
        bool bounded = vm_pager_bounded(object);
        if ((bounded || object == fs->first_object) && fs->pindex >= object->size) {
            /* Also when the page is there: a truncation is about to remove it. */
            return nowait && bounded ? vm_fault_would_sleep(fs, object) : vm_fault_beyond(fs, object);
        }
        if (object != fs->first_object)
            m = vm_page_lookup(object, fs->pindex);
        if (nowait && !vm_fault_at_once(fs, object, m))
            return vm_fault_would_sleep(fs, object);
        if (m != NULL)
            return vm_fault_found(fs, object, m);
        if (vm_object_invalidating(object, fs->pindex))
            return vm_fault_invalidating(fs, object);
        if (vm_pager_has_page(object, fs->pindex, NULL, NULL))
            return vm_fault_getpages(fs, object);
        if (object == fs->first_object) {
            fs->first_m = vm_page_alloc(object, fs->pindex, VM_ALLOC_NORMAL);
            if (fs->first_m == NULL)
                return vm_fault_nomem(fs, object);
        }
        next = object->backing_object;
        if (next == NULL)
            return vm_fault_zero_fill(fs, object);
        vm_fault_next_object(fs, object, next);
    }
}

/* ---- copy --------------------------------------------------------------------------------------------- */

/* The machine maps the backing object's page as it is: the page for a copy is not needed. */
static void vm_fault_no_copy(struct faultstate *fs)
{
    vm_lock(&fs->first_object->lock);
    vm_page_free(fs->first_m);
    vm_unlock(&fs->first_object->lock);
    fs->first_m = NULL;
    fs->prot &= (vm_prot_t)~VM_PROT_WRITE;
}

/*
 * A clean copy of fs->m is about to be made. From now on a write to the original must fault, so that it can
 * drop the copy.
 */
static void vm_fault_mark_copied(struct faultstate *fs)
{
    vm_lock(&fs->object->lock);
    if (fs->m->flags & PG_DIRTY)
        vm_rmap_wrprotect(fs->object, fs->pindex, fs->pindex + 1);
    fs->m->flags |= PG_COPIED;
    vm_unlock(&fs->object->lock);
}

/* The copy is made: the fault gives the original back, and goes on with fs->first_m in the first object. */
static void vm_fault_take_copy(struct faultstate *fs)
{
    struct vm_object *object = fs->object, *first = fs->first_object;
    /* Before the original may be stored to: whoever does that must know the copy for one. */
    vm_lock(&first->lock);
    if ((fs->access & VM_PROT_WRITE) == 0)
        fs->first_m->flags |= PG_COPY;
    vm_unlock(&first->lock);
    vm_lock(&object->lock);
    if (fs->wired && fs->m->wire_count > 0)
        vm_page_unwire(fs->m, PQ_ACTIVE);
    vm_fault_accessed(fs->m);
    vm_page_xunbusy(fs->m);
    vm_fault_leave_object(fs, object);

    fs->object = first;
    fs->pindex = fs->first_pindex;
    fs->m = fs->first_m;
    fs->first_m = NULL;
    vm_lock(&first->lock);
    if (fs->wired && (fs->flags & VM_FAULT_WIRE) == 0)
        vm_page_wire(fs->m);
    if ((fs->access & VM_PROT_WRITE) != 0 && fs->replaced == NULL && !vm_pager_bounded(object)) {
        vm_object_reference_locked(first);
        fs->replaced = first;
        fs->replaced_pindex = fs->first_pindex;
    }
    vm_unlock(&first->lock);
    fs->copied = true;
}

/*
 * If fs->m was found below the first object: copies it up, or has it mapped there without the write right.
 * Errors: as vm_page_copy.
 */
static int vm_fault_copy(struct faultstate *fs)
{
    if (fs->object == fs->first_object)
        return 0;
    bool write = (fs->access & VM_PROT_WRITE) != 0;
    if (!write && machine_can_map(fs->first_object->machine, fs->object->machine)) {
        vm_fault_no_copy(fs);
        return 0;
    }
    vm_fault_unlock_map(fs);
    if (!write)
        vm_fault_mark_copied(fs);
    int error = vm_page_copy(fs->m, fs->first_m);
    if (error != 0)
        return error;
    vm_fault_take_copy(fs);
    return 0;
}

/*
 * fs->m is about to be written: drops the clean copies of it above, and gives snapshots theirs. The page is
 * busy, so it stays where it is meanwhile and gets no new copies. (M) goes first: a copy may be busy too, and
 * its owner may be about to take (M). Errors: -ENOMEM.
 */
static int vm_fault_drop_copies(struct faultstate *fs)
{
    struct vm_object *object = fs->object;
    int error = 0;
    if ((fs->access & VM_PROT_WRITE) == 0)
        return 0;
    vm_lock(&object->lock);
    if (fs->m->flags & PG_COPIED) {
        vm_fault_unlock_map(fs);
        error = vm_object_invalidate_copies(object, fs->m);
        KASSERT(fs->m->object == object && (fs->m->flags & PG_BUSY) != 0, "FT2");
    }
    vm_unlock(&object->lock);
    return error;
}

/* ---- enter -------------------------------------------------------------------------------------------- */

/*
 * Takes (M) shared again if it was released. VM_FAULT_RETRY: the address does not mean what it did; the
 * rights may have changed in any case. Errors: as vm_map_lookup, without (M).
 */
static int vm_fault_relookup(struct faultstate *fs)
{
    if (fs->lookup_still_valid)
        return 0;
    vm_fault_lock_map(fs);
    if (fs->map->timestamp == fs->timestamp)
        return 0;
    vm_fault_unlock_map(fs);

    struct vm_object *object;
    vm_pindex_t pindex;
    int error = vm_fault_lookup(fs, &object, &pindex);
    if (error != 0)
        return error;
    return object == fs->first_object && pindex == fs->first_pindex ? 0 : VM_FAULT_RETRY;
}

/* Maps busy fs->m, with (O) released meanwhile, and gives it back. (M) shared. Errors: as pmap_enter. */
static int vm_fault_enter(struct faultstate *fs)
{
    struct vm_object *object = fs->object;
    struct vm_page *m = fs->m;
    bool write = (fs->access & VM_PROT_WRITE) != 0;
    vm_lock(&object->lock);
    if (vm_pager_bounded(object) && fs->pindex >= object->size) {
        /* A truncation is about to remove the page: vm_fault_beyond waits for its end. */
        vm_unlock(&object->lock);
        return VM_FAULT_RETRY;
    }
    KASSERT(!write || (m->flags & PG_COPIED) == 0, "FT2");
    if (write)
        vm_page_dirty(m);
    vm_prot_t prot = vm_fault_prot(fs, object, m);
    bool dirty = vm_fault_dirty(fs, m);
    vm_unlock(&object->lock);

    int error = vm_fault_map(fs, m, prot, dirty);
    if (error != 0)
        return error;
    vm_lock(&object->lock);
    vm_fault_mapped(fs, object, m);
    fs->m = NULL;
    /* The fault has the object's lock for the last time, so it drops its pip here and not in the cleanup. */
    vm_object_pip_wakeup(object);
    fs->pip = object != fs->first_object;
    vm_unlock(&object->lock);
    return 0;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static void vm_fault_count(const struct faultstate *fs, int error)
{
    if (error == VM_FAULT_WOULD_SLEEP || (fs->flags & VM_FAULT_AGAIN))
        return;
    vm_count(&vm_cnt.faults, 1);
    if (error == 0 && !fs->paged_in)
        vm_count(&vm_cnt.faults_minor, 1);
    if (fs->copied)
        vm_count(&vm_cnt.faults_cow, 1);
    if (fs->zeroed)
        vm_count(&vm_cnt.faults_zero, 1);
}

/*
 * One attempt. Returns 0, a negative errno, VM_FAULT_RETRY or VM_FAULT_WOULD_SLEEP. No lock held on entry and
 * return.
 */
static int vm_fault_attempt(struct faultstate *fs)
{
    int error = vm_fault_lookup(fs, &fs->first_object, &fs->first_pindex);
    if (error != 0)
        return error;
    struct vm_object *object = fs->object = fs->first_object;
    fs->pindex = fs->first_pindex;
    fs->m = fs->first_m = NULL;

    vm_lock(&object->lock);
    if ((fs->access & VM_PROT_WRITE) && vm_frozen(object, fs->first_pindex))
        return vm_fault_frozen(fs, object);
    if (vm_fault_lacks_space(fs, object))
        return vm_fault_allocate(fs, object);
    struct vm_page *m = vm_page_lookup(object, fs->first_pindex);
    if (m != NULL ? vm_fault_soft_fast(fs, object, m, &error) : vm_fault_zero_fast(fs, object, &error)) {
        vm_unlock(&object->lock);
        vm_fault_unlock_map(fs);
        return error;
    }
    vm_object_reference_locked(object);
    vm_object_pip_add(object);
    fs->pip = true;
    error = vm_fault_walk(fs, object, m);
    if (error == 0)
        error = vm_fault_copy(fs);
    if (error == 0)
        error = vm_fault_drop_copies(fs);
    if (error == 0)
        error = vm_fault_relookup(fs);
    if (error == 0)
        error = vm_fault_enter(fs);
    vm_fault_cleanup(fs);
    return error;
}

int vm_fault_hold(struct vm_map *map, vm_offset_t va, vm_prot_t access, unsigned flags, struct vm_page **hold)
{
    struct faultstate fs = {
        .map = map,
        .va = trunc_page(va),
        .access = access,
        .flags = flags,
        .hold = hold,
    };
    int error;
    do {
        error = vm_fault_attempt(&fs);
    } while (error == VM_FAULT_RETRY);
    vm_fault_count(&fs, error);
    if (fs.dirtied != NULL) {
        vm_pager_ops(fs.dirtied)->balance_dirty(fs.dirtied);
        vm_object_deallocate(fs.dirtied);
    }
    if (fs.replaced != NULL) {
        vm_object_page_replaced(fs.replaced, fs.replaced_pindex);
        vm_object_deallocate(fs.replaced);
    }
    return error;
}

int vm_fault(struct vm_map *map, vm_offset_t va, vm_prot_t access, unsigned flags)
{
    return vm_fault_hold(map, va, access, flags, NULL);
}

int fl_fault(struct vm_map *map, vm_offset_t va, vm_prot_t access)
{
    return vm_fault(map, va, access, VM_FAULT_NORMAL);
}

/* ---- unwiring ----------------------------------------------------------------------------------------- */

/* Unwires the page that shows at pindex of the object, which may be in an object that backs it. */
static void vm_fault_unwire_page(struct vm_object *object, vm_pindex_t pindex)
    FL_RELEASE(object->lock) FL_NO_THREAD_SAFETY_ANALYSIS /* goes from lock to lock */
{
    vm_lock_assert(&object->lock);
    struct vm_page *m;
    while ((m = vm_page_lookup(object, pindex)) == NULL && object->backing_object != NULL) {
        struct vm_object *next = object->backing_object;
        pindex += object->backing_pindex;
        vm_lock(&next->lock);
        vm_unlock(&object->lock);
        object = next;
    }
    /* The page may be gone, or a new one: a truncation unwires what it removes. */
    if (m != NULL && m->wire_count > 0)
        vm_page_unwire(m, PQ_ACTIVE);
    vm_unlock(&object->lock);
}

void vm_fault_unwire(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end)
{
    KASSERT(entry->map == map && entry->start <= start && end <= entry->end, "FT3");
    struct vm_object *object = entry->object;
    if (object == NULL)
        return;
    for (vm_offset_t va = start; va < end; va += VM_PAGE_SIZE) {
        vm_lock(&object->lock);
        vm_fault_unwire_page(object, vm_map_entry_pindex(entry, va));
    }
}
