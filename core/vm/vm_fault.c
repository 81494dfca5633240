/*
 * vm_fault.c: the page fault: from an address that the machine could not translate to a page that is
 * mapped there.
 *
 *   vm_fault_hold
 *     vm_fault_attempt                     again while it says VM_FAULT_RETRY
 *       vm_map_lookup                      entry, object, rights; makes the shadow on the first private
 *       write
 *       vm_fault_allocate                  a file's page that may lie in a hole is written: space, retry
 *       vm_fault_soft_fast                 the page is there and may be mapped as it is: done
 *       vm_fault_walk                      down the chain of objects; on success m is busy and valid
 *         vm_fault_readahead_mark          the mark was touched: next window, retry
 *         vm_fault_busy                    somebody else's page: sleep, retry
 *         vm_fault_getpages                the pager's turn, with neighbours
 *         vm_fault_zero_fill               the end of an anonymous chain
 *       vm_fault_copy                      private write, or a page that cannot be mapped through this
 *       entry
 *       vm_fault_drop_copies               a write makes the clean copies above it stale
 *       vm_fault_relookup                  was the map changed while it was unlocked?
 *       vm_fault_enter                     dirty, wire, hold, map, activate
 *
 * The cases, by where the page is found and what the access is:
 *
 *   found in         access   the machine can map it      it cannot
 *   first object     read     map without write           -
 *   first object     write    dirty, map with write       -
 *   backing object   read     map without write           copy up as PG_COPY, map without write
 *   backing object   write    copy up, dirty, map with write
 *   nowhere          any      zero fill in the first object
 *
 * first_m is a busy page in the first object that keeps others from copying the same page up at the same
 * time.
 *
 * Locks: (M) shared from vm_map_lookup on, dropped for every I/O, window and sleep; (O) hand over hand down
 * the chain, the shadow first. A busy page is held while (M) is taken again: so nobody may wait for a busy
 * page with (M) held. VM_FAULT_NOWAIT: the page is taken as it is, valid and not busy, in the first object or
 * where it may be mapped from (vm_fault_at_once); everything else is left to a fault that may sleep
 * (vm_hold.c). Retries: each one follows a sleep on somebody else's progress, or a change of the map; nothing
 * here spins. The tries for memory are counted.
 *
 * Does not do: choosing victims (vm_pageout.c), sizes of read-ahead (readahead.c), mapping more than the page
 * itself (vm_prefault.c), reverse mapping (vm_rmap.c).
 */
#include "vm/vm_fault.h"
#include <faultline/vm.h>
#include "vm/lru.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_meter.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_phys.h"
#include "vm/vm_prefault.h"
#include "vm/vm_rmap.h"

#define VM_FAULT_RETRY 1  /* not an error: look everything up again */
#define VM_FAULT_TRIES 64 /* of a fault that finds memory free again and again, but never for itself */
#define VM_FAULT_READ  64 /* pages in one read that a fault waits for */

struct faultstate {
    /* what is asked */
    struct vm_map *map;
    vm_offset_t va; /* page-aligned */
    vm_prot_t access;
    unsigned flags;
    struct vm_page **hold;
    uint32_t memory_tries;
    bool asked_ahead; /* read-ahead was asked what this miss is worth */
    bool has_space;   /* the store was asked for the page's space, and gave it */
    /* what the map says; valid while lookup_still_valid, then (M) is held shared */
    bool lookup_still_valid;
    uint32_t timestamp;
    struct vm_map_entry *entry;
    vm_prot_t prot;
    bool wired;
    /* where the page belongs, with a reference and a pip once the slow path began */
    struct vm_object *first_object;
    vm_pindex_t first_pindex;
    struct vm_page *first_m; /* busy, or NULL */
    bool pip;                /* its pip is still ours */
    /* where we are in the chain; a pip when object != first_object */
    struct vm_object *object;
    vm_pindex_t pindex;
    struct vm_page *m;         /* busy, or NULL */
    struct vm_object *dirtied; /* with a reference: it has more dirty pages than it should; or NULL */
    /* for the statistics */
    bool paged_in, copied, zeroed;
};

static void
vm_fault_unlock_map(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* whether (M) is held is a field */
{
    if (fs->lookup_still_valid) {
        vm_map_unlock_read(fs->map);
        fs->lookup_still_valid = false;
    }
}

/* Gives back a busy page: one with bytes of the object stays, one without goes. (O) of its object. */
static void vm_fault_release_page(struct vm_page *m)
{
    if ((m->flags & (PG_VALID | PG_PRIVATE)) == 0) {
        vm_page_free(m);
        return;
    }
    lru_cache_add(m);
    vm_page_xunbusy(m);
}

/* Leaves the object that the walk stands in, which is locked. */
static void
vm_fault_leave_object(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* the lock is found through fs */
{
    if (fs->object != fs->first_object)
        vm_object_pip_wakeup(fs->object);
    vm_unlock(&fs->object->lock);
}

/*
 * Drops everything that an attempt took, success or not. No object lock held. The reference may be the last
 * one if the map was unlocked meanwhile; but who must not sleep never unlocked it, and the entry has one,
 * too.
 */
static void
vm_fault_cleanup(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* the locks are found through fs */
{
    if (fs->m != NULL) {
        vm_lock(&fs->object->lock);
        vm_fault_release_page(fs->m);
        vm_fault_leave_object(fs);
    }
    if (fs->pip) {
        vm_lock(&fs->first_object->lock);
        if (fs->first_m != NULL)
            vm_fault_release_page(fs->first_m);
        vm_object_pip_wakeup(fs->first_object);
        vm_unlock(&fs->first_object->lock);
    }
    if (fs->flags & VM_FAULT_NOWAIT)
        vm_object_deallocate(fs->first_object);
    vm_fault_unlock_map(fs);
    if ((fs->flags & VM_FAULT_NOWAIT) == 0)
        vm_object_deallocate(fs->first_object);
}

/* ---- the end of a fault: the page is there ------------------------------------------------------------ */

/* The rights that the page may be entered with now: writing only if all of it is dirty (N1). (O). */
static vm_prot_t vm_fault_prot(const struct faultstate *fs, const struct vm_page *m)
{
    KASSERT((m->flags & PG_VALID) != 0, "N2");
    KASSERT((fs->access & VM_PROT_WRITE) == 0 || (m->flags & PG_DIRTY) != 0, "N1");
    vm_prot_t prot = fs->prot;
    bool blocks = (m->flags & PG_PRIVATE) && (fs->access & VM_PROT_WRITE) == 0; /* some may be clean */
    if (m->object != fs->first_object || (m->flags & (PG_DIRTY | PG_COPIED)) != PG_DIRTY || blocks)
        prot &= (vm_prot_t)~VM_PROT_WRITE;
    return prot;
}

/* Enters page m as the access wants it: dirty, if it writes. (M) shared; (O), or m is busy and the caller has
 * made it dirty. For a write, m is in the first object and has no copies above it. */
static int vm_fault_map(struct faultstate *fs, struct vm_page *m, vm_prot_t prot)
{
    unsigned map_flags = fs->wired || (fs->flags & VM_FAULT_WIRE) ? MACHINE_MAP_WIRED : 0;
    return pmap_enter(fs->map, fs->va, m, prot, map_flags);
}

/*
 * m is mapped, so its next use is seen by the machine, or by nobody: what was asked for by itself counts as
 * in use until page-out has looked. A page of a stream is used once. (O).
 */
static void vm_fault_accessed(struct vm_page *m)
{
    if ((m->flags & PG_AHEAD) != 0 || (m->lru & PL_ACTIVE) != 0)
        mark_page_accessed(m);
    else
        activate_page(m);
}

/* Page m of `object` is mapped: wires, holds, activates it, and enters neighbours. (M) shared; (O) held on
 * entry and return, released in between. */
static void vm_fault_mapped(struct faultstate *fs, struct vm_object *object, struct vm_page *m)
    FL_REQUIRES(object->lock)
{
    if (fs->flags & VM_FAULT_WIRE)
        vm_page_wire(m);
    if (fs->hold != NULL) {
        vm_page_hold(m);
        *fs->hold = m;
    }
    bool ahead = fs->paged_in || (m->flags & PG_AHEAD) != 0; /* what was read along with it is wanted too */
    vm_fault_accessed(m);
    if (m->flags & PG_BUSY)
        vm_page_xunbusy(m);
    bool throttled = (fs->access & VM_PROT_WRITE) && (fs->flags & VM_FAULT_HOLD) == 0;
    if (throttled && vm_pager_home(object) && vm_pager_ops(object)->dirty_exceeded(object)) {
        vm_object_reference_locked(object);
        fs->dirtied = object;
    }
    /* Only pages of the first object: of one below, the first object may have its own. */
    if (object == fs->first_object && (fs->access & VM_PROT_WRITE) == 0 &&
        (fs->flags & (VM_FAULT_WIRE | VM_FAULT_HOLD)) == 0)
        vm_fault_prefault(fs->entry, object, fs->va, m->pindex, fs->prot, ahead);
}

/* Is a page about to become dirty that may have no space in its source? (O) of first_object. */
static bool vm_fault_lacks_space(const struct faultstate *fs)
{
    struct vm_object *object = fs->first_object;
    return (fs->access & VM_PROT_WRITE) && !fs->has_space && vm_pager_home(object) &&
           fs->first_pindex < object->size && vm_pager_ops(object)->lacks_space(object, fs->first_pindex);
}

/*
 * The source gives it the space, or the fault fails: it is the store that needs more space that learns of a
 * full disk, as with the kernel. (O) of first_object on entry, not on return.
 */
static int
vm_fault_allocate(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* the lock is found through fs */
{
    struct vm_object *object = fs->first_object;
    vm_object_reference_locked(object);
    vm_unlock(&object->lock);
    vm_fault_unlock_map(fs);
    int error = vm_pager_ops(object)->page_mkwrite(object, fs->first_pindex);
    vm_object_deallocate(object);
    fs->has_space = true; /* also where a truncation or a punch took it again: one question for one fault */
    return error == 0 ? VM_FAULT_RETRY : error;
}

/*
 * Can the fault be served with page m of the object that the walk stands in, or NULL, as it is, without
 * sleep? (O). Whoever makes a file's page dirty may have to write others first.
 */
static bool vm_fault_at_once(const struct faultstate *fs, const struct vm_page *m)
{
    bool first = fs->object == fs->first_object, write = (fs->access & VM_PROT_WRITE) != 0;
    if (m == NULL)
        return fs->object->backing_object != NULL && !write &&
               !vm_object_invalidating(fs->object, fs->pindex);
    if ((m->flags & (PG_VALID | PG_BUSY | PG_READAHEAD)) != PG_VALID)
        return false;
    if (!first)
        return !write && machine_can_map(fs->first_object->machine, fs->object->machine);
    if (!write)
        return true;
    return (m->flags & PG_COPIED) == 0 && (!vm_pager_home(fs->object) || (m->flags & PG_DIRTY) ||
                                           !vm_pager_ops(fs->object)->dirty_exceeded(fs->object));
}

/* (O) of fs->object on entry, not on return. */
static int vm_fault_would_sleep(struct faultstate *fs)
{
    vm_fault_leave_object(fs);
    return VM_FAULT_WOULD_SLEEP;
}

/*
 * The common case: the page is in the first object, valid, nobody's, and nothing but the mapping lacks.
 * (M) shared and (O) of first_object, both kept when
 * it returns false; when true, *error is the fault's result.
 */
static bool vm_fault_soft_fast(struct faultstate *fs,
                               int *error) FL_NO_THREAD_SAFETY_ANALYSIS /* the lock is found through fs */
{
    struct vm_page *m = vm_page_lookup(fs->first_object, fs->first_pindex);
    if (m == NULL || (m->flags & (PG_VALID | PG_BUSY | PG_READAHEAD)) != PG_VALID)
        return false;
    if (fs->first_pindex >= fs->first_object->size) /* a truncation is about to remove it */
        return false;
    if ((fs->access & VM_PROT_WRITE) && (m->flags & PG_COPIED))
        return false;
    if ((fs->flags & VM_FAULT_NOWAIT) && !vm_fault_at_once(fs, m))
        return false;
    if (fs->access & VM_PROT_WRITE)
        vm_page_dirty(m);
    *error = vm_fault_map(fs, m, vm_fault_prot(fs, m));
    if (*error == 0)
        vm_fault_mapped(fs, fs->first_object, m);
    return true;
}

/* ---- the walk ----------------------------------------------------------------------------------------- */

/* No page for us. (O) of fs->object on entry, not on return. */
static int vm_fault_nomem(struct faultstate *fs)
{
    if (fs->flags & VM_FAULT_NOWAIT)
        return vm_fault_would_sleep(fs);
    vm_fault_leave_object(fs);
    vm_fault_unlock_map(fs);
    int error = vm_wait();
    if (error != 0)
        return error;
    /* There are free pages, and yet we got none: others were faster, or metadata ran out, which vm_wait
     * cannot see. */
    return ++fs->memory_tries < VM_FAULT_TRIES ? VM_FAULT_RETRY : -ENOMEM;
}

/* Page m is busy: waits until it is not, whatever it is then. (O) of fs->object on entry, not on return. */
static int vm_fault_busy(struct faultstate *fs, struct vm_page *m)
{
    vm_fault_unlock_map(fs);
    vm_page_busy_sleep(m);
    vm_fault_leave_object(fs);
    return VM_FAULT_RETRY;
}

/* For fs->pindex of the object that the walk stands in. (M) shared. */
static struct readahead_control vm_fault_ractl(const struct faultstate *fs)
{
    return (struct readahead_control){
        .object = fs->object,
        .stream = &fs->entry->stream,
        .behavior = vm_map_entry_behavior(fs->entry),
        .map = fs->map,
    };
}

/* The mark of read-ahead was touched: asks for the next window before waiting for this one. (O) on
 * entry, not on return. */
static int vm_fault_readahead_mark(struct faultstate *fs, struct vm_page *m)
    FL_NO_THREAD_SAFETY_ANALYSIS /* the lock is found through fs */
{
    struct readahead_control ractl = vm_fault_ractl(fs);
    vm_pager_ops(fs->object)->readahead_mark(&ractl, m);
    fs->lookup_still_valid = false;
    vm_fault_leave_object(fs);
    return VM_FAULT_RETRY;
}

/* A busy page for an absent neighbour, or NULL: it is there, or memory is short. (O). */
static struct vm_page *vm_fault_page_lookup(struct vm_object *object, vm_pindex_t pindex)
{
    if (vm_page_lookup(object, pindex) != NULL || vm_object_invalidating(object, pindex))
        return NULL;
    return vm_page_alloc(object, pindex, VM_ALLOC_READAHEAD);
}

/*
 * Collects the neighbours that are worth reading in the same transfer, as ractl says: marray becomes busy
 * pages in order, fs->m among them at *reqpage. Returns how many. (O). (freebsd21-page-fault.md.)
 */
static uint32_t vm_fault_additional_pages(struct faultstate *fs, const struct readahead_control *ractl,
                                          struct vm_page *marray[VM_FAULT_READ], uint32_t *reqpage)
{
    uint32_t before, after, behind = ractl->behind, ahead = ractl->ahead, n = 0;
    struct vm_page *m;
    if (!vm_pager_has_page(fs->object, fs->pindex, &before, &after))
        before = after = 0;
    behind = behind < before ? behind : before;
    while (n < behind && n < VM_FAULT_READ / 2 &&
           (m = vm_fault_page_lookup(fs->object, fs->pindex - n - 1)) != NULL)
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
           (m = vm_fault_page_lookup(fs->object, fs->pindex + (n - *reqpage))) != NULL)
        marray[n++] = m;
    return n;
}

/* Starts the windows that the absent page belongs to. True: it did, and the locks were released. (O). */
static bool vm_fault_readahead(struct faultstate *fs, struct readahead_control *ractl)
{
    const struct pagerops *ops = vm_pager_ops(fs->object);
    if (fs->asked_ahead || ops->readahead == NULL)
        return false;
    fs->asked_ahead = true;
    return ops->readahead(ractl, fs->pindex, 1);
}

/*
 * The page is absent, and the pager has it. A stream's comes with its window, which is started, and the next
 * one too, before anything waits; any other is read here, and so is one that no window brought. (O) on entry,
 * not on return. On success fs->m is busy.
 */
static int
vm_fault_getpages(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* the lock is found through fs */
{
    struct vm_page *marray[VM_FAULT_READ];
    struct readahead_control ractl = vm_fault_ractl(fs);
    uint32_t reqpage;
    if (vm_fault_readahead(fs, &ractl)) {
        fs->lookup_still_valid = false;
        fs->paged_in = true;
        vm_fault_leave_object(fs);
        return VM_FAULT_RETRY;
    }
    fs->m = vm_page_alloc(fs->object, fs->pindex, VM_ALLOC_NORMAL);
    if (fs->m == NULL)
        return vm_fault_nomem(fs);
    uint32_t count = vm_fault_additional_pages(fs, &ractl, marray, &reqpage);
    vm_fault_unlock_map(fs);
    vm_unlock(&fs->object->lock);
    int error = vm_pager_get_pages(fs->object, marray, count, reqpage);
    if (error == 0) {
        fs->paged_in = true;
        return 0;
    }
    vm_lock(&fs->object->lock);
    vm_page_free(fs->m);
    fs->m = NULL;
    vm_fault_leave_object(fs);
    /* The source is about to end before the page: vm_fault_beyond finds out. Or the source says so itself. */
    return error == -ENXIO && ++fs->memory_tries < VM_FAULT_TRIES ? VM_FAULT_RETRY : error;
}

/* The chain ends: fs->first_m becomes a page of zeros. (O) of the last object on entry, not on return. */
static int vm_fault_zero_fill(struct faultstate *fs)
{
    vm_fault_leave_object(fs);
    vm_fault_unlock_map(fs);
    fs->object = fs->first_object;
    fs->pindex = fs->first_pindex;
    fs->m = fs->first_m;
    fs->first_m = NULL;
    fs->zeroed = true;
    return vm_page_zero_fill(fs->m);
}

/*
 * The page lies beyond the end of the object: of its source as last known, so it asks how long that is now;
 * or of shared memory whose mapping mremap made longer. (O) on entry, not on return.
 */
static int vm_fault_beyond(struct faultstate *fs)
{
    struct vm_object *object = fs->object; /* our reference to the first object keeps the chain below it */
    vm_fault_leave_object(fs);
    vm_fault_unlock_map(fs);
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

/* The source changes there (vm_object.invalidate_start): waits. (O) on entry, not on return. */
static int
vm_fault_invalidating(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* the lock is found through fs */
{
    vm_fault_unlock_map(fs);
    vm_sleep(&fs->object->invalidate_start, &fs->object->lock);
    vm_fault_leave_object(fs);
    return VM_FAULT_RETRY;
}

/* Steps from fs->object, whose lock is held, to what backs it, and keeps the page made for the first
 * object. */
static void vm_fault_next_object(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* hand over hand */
{
    struct vm_object *next = fs->object->backing_object;
    fs->pindex += fs->object->backing_pindex;
    vm_lock(&next->lock);
    vm_object_pip_add(next);
    vm_fault_leave_object(fs);
    fs->object = next;
}

/* fs->m, which is busy, was written in part and never read: now the rest is. No object lock held. */
static int vm_fault_readpage(struct faultstate *fs)
{
    vm_fault_unlock_map(fs);
    int error = vm_pager_ops(fs->object)->readpage(fs->m);
    fs->paged_in = error == 0;
    return error;
}

/* Page m was found: ours, busy, when 0 is returned. (O) on entry, not on return. */
static int vm_fault_found(struct faultstate *fs,
                          struct vm_page *m) FL_NO_THREAD_SAFETY_ANALYSIS /* through fs */
{
    if (m->flags & PG_READAHEAD)
        return vm_fault_readahead_mark(fs, m);
    bool valid = (m->flags & PG_VALID) != 0;
    if ((m->flags & PG_BUSY) || (!valid && (m->flags & PG_WRITEBACK)))
        return vm_fault_busy(fs, m);
    KASSERT(valid || (m->flags & PG_PRIVATE), "F1");
    vm_page_xbusy(m);
    fs->m = m;
    vm_unlock(&fs->object->lock);
    return valid ? 0 : vm_fault_readpage(fs);
}

/*
 * Down the chain from the first object, whose lock is held on entry and no lock on return. 0: fs->m, in
 * fs->object, is busy and valid, and fs->first_m
 * is busy if that is not the first object.
 */
static int vm_fault_walk(struct faultstate *fs)
{
    for (;;) {
        bool bounded = vm_pager_bounded(fs->object), nowait = (fs->flags & VM_FAULT_NOWAIT) != 0;
        uint32_t before, after;
        if ((bounded || fs->object == fs->first_object) && fs->pindex >= fs->object->size) {
            /* Also when the page is there: a truncation is about to remove it. */
            return nowait && bounded ? vm_fault_would_sleep(fs) : vm_fault_beyond(fs);
        }
        struct vm_page *m = vm_page_lookup(fs->object, fs->pindex);
        if (nowait && !vm_fault_at_once(fs, m))
            return vm_fault_would_sleep(fs);
        if (m != NULL)
            return vm_fault_found(fs, m);
        if (vm_object_invalidating(fs->object, fs->pindex))
            return vm_fault_invalidating(fs);
        if (vm_pager_has_page(fs->object, fs->pindex, &before, &after))
            return vm_fault_getpages(fs);
        if (fs->object == fs->first_object) {
            fs->first_m = vm_page_alloc(fs->object, fs->pindex, VM_ALLOC_NORMAL);
            if (fs->first_m == NULL)
                return vm_fault_nomem(fs);
        }
        if (fs->object->backing_object == NULL)
            return vm_fault_zero_fill(fs);
        vm_fault_next_object(fs);
    }
}

/* ---- copy --------------------------------------------------------------------------------------------- */

/* The backing page is mapped as it is: the place kept for a copy is not needed. */
static void vm_fault_no_copy(struct faultstate *fs)
{
    vm_lock(&fs->first_object->lock);
    vm_page_free(fs->first_m);
    vm_unlock(&fs->first_object->lock);
    fs->first_m = NULL;
    fs->prot &= (vm_prot_t)~VM_PROT_WRITE;
}

/* A clean copy is about to be made of fs->m: whoever writes the original from now on must fault, and
 * will drop the copy. */
static void vm_fault_mark_copied(struct faultstate *fs)
{
    vm_lock(&fs->object->lock);
    if (fs->m->flags & PG_DIRTY)
        vm_rmap_wrprotect(fs->object, fs->pindex, fs->pindex + 1);
    fs->m->flags |= PG_COPIED;
    vm_unlock(&fs->object->lock);
}

/* The copy is made: fs->first_m becomes the fault's page, the original goes back. */
static void
vm_fault_take_copy(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* the locks are found through fs */
{
    vm_lock(&fs->object->lock);
    if (fs->wired && fs->m->wire_count > 0)
        vm_page_unwire(fs->m, PQ_ACTIVE);
    vm_fault_accessed(fs->m);
    vm_page_xunbusy(fs->m);
    vm_fault_leave_object(fs);

    fs->object = fs->first_object;
    fs->pindex = fs->first_pindex;
    fs->m = fs->first_m;
    fs->first_m = NULL;
    vm_lock(&fs->object->lock);
    if ((fs->access & VM_PROT_WRITE) == 0)
        fs->m->flags |= PG_COPY;
    if (fs->wired && (fs->flags & VM_FAULT_WIRE) == 0)
        vm_page_wire(fs->m);
    vm_unlock(&fs->object->lock);
    fs->copied = true;
}

/* fs->m was found below the first object: copies it up, or sees to it that it is mapped without the
 * write right. */
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
 * fs->m is about to be written: clean copies of it above go. It is busy, so it stays what it is meanwhile,
 * and gets no new ones. One of the copies may be busy itself, and its owner on the way to (M).
 */
static void vm_fault_drop_copies(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* through fs */
{
    if ((fs->access & VM_PROT_WRITE) == 0)
        return;
    vm_lock(&fs->object->lock);
    if (fs->m->flags & PG_COPIED) {
        vm_fault_unlock_map(fs);
        if (vm_object_invalidate_copies(fs->object, fs->pindex))
            KASSERT(fs->m->object == fs->object && (fs->m->flags & PG_BUSY) != 0, "F2");
    }
    vm_unlock(&fs->object->lock);
}

/* ---- enter -------------------------------------------------------------------------------------------- */

/* Takes (M) shared again if it was dropped, and asks whether the address still means what it did. */
static int
vm_fault_relookup(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* whether (M) is held is a field */
{
    if (fs->lookup_still_valid)
        return 0;
    vm_map_lock_read(fs->map);
    fs->lookup_still_valid = true;
    if (fs->map->timestamp == fs->timestamp)
        return 0;
    vm_fault_unlock_map(fs);

    struct vm_object *object;
    vm_pindex_t pindex;
    int error =
        vm_map_lookup(fs->map, fs->va, fs->access, &fs->entry, &object, &pindex, &fs->prot, &fs->wired);
    if (error != 0)
        return error;
    fs->lookup_still_valid = true;
    fs->timestamp = fs->map->timestamp;
    return object == fs->first_object && pindex == fs->first_pindex ? 0 : VM_FAULT_RETRY;
}

/* Maps fs->m, which is busy, without (O), and lets it go. (M) shared. */
static int
vm_fault_enter(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* the lock is found through fs */
{
    struct vm_object *object = fs->object;
    struct vm_page *m = fs->m;
    vm_lock(&object->lock);
    if (vm_pager_bounded(object) && fs->pindex >= object->size) {
        vm_unlock(&object->lock);
        return VM_FAULT_RETRY; /* about to be cut while we read: vm_fault_beyond waits for the outcome */
    }
    KASSERT((fs->access & VM_PROT_WRITE) == 0 || (m->flags & PG_COPIED) == 0, "F2");
    if (fs->access & VM_PROT_WRITE)
        vm_page_dirty(m);
    vm_prot_t prot = vm_fault_prot(fs, m);
    vm_unlock(&object->lock);

    int error = vm_fault_map(fs, m, prot);
    if (error != 0)
        return error;
    vm_lock(&object->lock);
    vm_fault_mapped(fs, object, m);
    fs->m = NULL;
    /* The fault's last hold on either object's lock: what cleanup would do in one more is done in this. */
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

/* One try. 0, a negative errno, VM_FAULT_RETRY or _WOULD_SLEEP. No lock held on entry and return. */
static int
vm_fault_attempt(struct faultstate *fs) FL_NO_THREAD_SAFETY_ANALYSIS /* whether (M) is held is a field */
{
    int error = vm_map_lookup(fs->map, fs->va, fs->access, &fs->entry, &fs->first_object, &fs->first_pindex,
                              &fs->prot, &fs->wired);
    if (error != 0)
        return error;
    fs->lookup_still_valid = true;
    fs->timestamp = fs->map->timestamp;
    fs->object = fs->first_object;
    fs->pindex = fs->first_pindex;
    fs->m = fs->first_m = NULL;

    vm_lock(&fs->first_object->lock);
    if (vm_fault_lacks_space(fs))
        return vm_fault_allocate(fs);
    if (vm_fault_soft_fast(fs, &error)) {
        vm_unlock(&fs->first_object->lock);
        vm_fault_unlock_map(fs);
        return error;
    }
    vm_object_reference_locked(fs->first_object);
    vm_object_pip_add(fs->first_object);
    fs->pip = true;
    error = vm_fault_walk(fs);
    if (error == 0)
        error = vm_fault_copy(fs);
    if (error == 0)
        vm_fault_drop_copies(fs);
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

/* The wired page that shows at pindex of the object: in it or below. Unwires it. */
static void vm_fault_unwire_page(struct vm_object *object,
                                 vm_pindex_t pindex) FL_NO_THREAD_SAFETY_ANALYSIS /* hand over hand */
{
    vm_lock(&object->lock);
    struct vm_page *m;
    while ((m = vm_page_lookup(object, pindex)) == NULL && object->backing_object != NULL) {
        struct vm_object *next = object->backing_object;
        pindex += object->backing_pindex;
        vm_lock(&next->lock);
        vm_unlock(&object->lock);
        object = next;
    }
    /* It may be gone: a truncation unwires what it removes. */
    if (m != NULL && m->wire_count > 0)
        vm_page_unwire(m, PQ_ACTIVE);
    vm_unlock(&object->lock);
}

void vm_fault_unwire(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end)
{
    KASSERT(entry->map == map && entry->start <= start && end <= entry->end, "F3");
    if (entry->object == NULL)
        return;
    for (vm_offset_t va = start; va < end; va += VM_PAGE_SIZE)
        vm_fault_unwire_page(entry->object, entry->pindex + atop(va - entry->start));
}
