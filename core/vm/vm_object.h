/*
 * vm_object.h: a memory object: an array of pages with a source. The cached pages of a file and the private
 * pages of a mapping are the same thing. (vm_object, Mach and the BSDs; address_space, Linux.)
 *
 *     entry ──▶ shadow (private pages) ──backing_object──▶ a file's object ──handle──▶ its pager
 *                  ▲                                             │
 *                  └──────────────── shadow_head ────────────────┘   the list of all its shadows
 *
 * A page is looked for in the shadow, then in the object behind it at pindex + backing_pindex, and so on.
 *
 * Locks. (O) the object's own; along a chain, the shadow's before its backing object's. (R) vm_rmap_lock
 * (vm_rmap.h). (F) vm_phys.lock. (c) constant.
 *
 * Invariants: OB1 resident_count is the number of pages in `pages`. OB2 an object with ref_count 0 has no
 * pages and no entries, and gets no reference again. OB3 a page's pindex is below `size`, except while a
 * truncation removes it. OB4 a chain ends, and its objects live as long as a shadow stands over them. OB5 an
 * object has a handle unless it is OBJT_SWAP; then it has no backing object. Only objects of OBJT_VNODE
 * are written back. OB6 an object that ends has no page and no pip left.
 *
 * Collapse. Each fork that is followed by a store puts an object in front. When a backing object has a single
 * reference left, that of its only shadow, the shadow takes over its pages and its place; and when a shadow
 * has pages of its own for all that the backing object has, it looks past it (vm_object_collapse.c).
 */
#ifndef CORE_VM_VM_OBJECT_H
#define CORE_VM_VM_OBJECT_H

#include "lib/tree.h"
#include "vm/vm_phys.h"
#include "vm/vm_radix.h"
#include <stdatomic.h>

extern struct vm_rwlock vm_rmap_lock; /* (R) */

enum vm_object_type {
    OBJT_SWAP,  /* anonymous memory: zero-filled, or a shadow */
    OBJT_VNODE, /* a file */
    OBJT_SHMEM, /* a file without a store, whose pages are anonymous memory */
    OBJT_COUNT,
};

struct vm_page;

struct vm_object {
    struct vm_lock lock; /* (O) */
    uint8_t type;        /* (c) enum vm_object_type */
    bool dead;           /* (O) it is being terminated */
    /*
     * Shadows stand over it, or did; set under (O). They may have clean copies of pages that are not resident
     * any more, so a page that comes back is born PG_COPIED.
     */
    _Atomic bool shadowed;
    bool pip_wanted; /* (O) a thread sleeps until paging_in_progress is 0 */
    /*
     * (O) A store into a clean page must fault, because the core has to act first: shadows may have copies of
     * the page, or it may lack space. Once set it stays. (vma_wants_writenotify, Linux.)
     */
    bool writenotify;
    bool freeze_wanted; /* (O) a thread sleeps until nothing is frozen */
    /* (c) a shadow that keeps what it shows: it gets its own copy before a page behind it changes */
    bool snapshot;
    bool covered; /* (O) … and that is so: vm_object_cover has been called for all that is behind it */
    /*
     * References of entries, shadows, and the pager. It never grows from 0. It falls under (O), or with no
     * lock if it was not one of the last; it grows under (O), or from at least 1 under (R).
     */
    _Atomic uint32_t ref_count;
    uint32_t resident_count; /* (O) pages */
    uint32_t dirty_count;    /* (O) those of them that are dirty; counted if the pager can write them */
    /* (O) pips: users that need the object while they work without its lock; its address is the channel */
    uint32_t paging_in_progress;
    uint32_t generation;   /* (O) grows with every page that comes or goes */
    vm_pindex_t size;      /* (O) in pages */
    struct vm_radix pages; /* (O) */
    /*
     * (O) Absent pages of [invalidate_start, invalidate_end) stay absent while the source's bytes change
     * below them. The first field's address is the channel.
     */
    vm_pindex_t invalidate_start, invalidate_end;
    /* (O) Stores into pages [freeze_start, freeze_end) wait (vm_harvest.h). The first one is the channel. */
    vm_pindex_t freeze_start, freeze_end;
    void *handle; /* (c) the pager's name for the source; OBJT_SWAP: NULL */
    /* Changes under (O) and (R) exclusive, so either is enough to read them. */
    struct vm_object *backing_object;
    vm_pindex_t backing_pindex; /* page 0 of this object is this page of the backing object */
    void *machine;              /* (c) the machine's own (machine_object_init) */
    void *inflight;             /* (O) the pager's own: transfers that no thread waits for yet */
    struct tree swap;           /* (O) not OBJT_VNODE: swap_pager.c's own, where absent pages are */
    uint64_t reserv_hint FL_GUARDED_BY(vm_phys.lock); /* (F) vm_reserv.c's own */

    /* Reverse mapping (vm_rmap.h): the tree of vm_map_entry.rmap_node, by pindex. */
    struct tree entries FL_GUARDED_BY(vm_rmap_lock);
    struct vm_object *shadow_head FL_GUARDED_BY(vm_rmap_lock); /* shadows over this object */
    /* Neighbours on the backing object's list. */
    struct vm_object *shadow_next FL_GUARDED_BY(vm_rmap_lock);
    struct vm_object *shadow_prev FL_GUARDED_BY(vm_rmap_lock);

    struct vm_object *all_next, *all_prev; /* (vm_objects_lock, in vm_object.c) every object, for checkers */
};

/* Whether page pindex, if it is absent, must stay absent now. */
static inline bool vm_object_invalidating(const struct vm_object *object, vm_pindex_t pindex)
    FL_REQUIRES(object->lock)
{
    return pindex >= object->invalidate_start && pindex < object->invalidate_end;
}

/* Context: boot. */
void vm_object_startup(void);
/*
 * A new object of `size` pages with one reference, or NULL: no memory. The handle is NULL for OBJT_SWAP,
 * and only then.
 */
FL_NODISCARD struct vm_object *vm_object_allocate(enum vm_object_type type, vm_pindex_t size, void *handle);
/*
 * One more reference: the caller has one already, or holds a lock that keeps one. Takes (O); _locked: does
 * not.
 */
void vm_object_reference(struct vm_object *object);
void vm_object_reference_locked(struct vm_object *object) FL_REQUIRES(object->lock);
/*
 * Drops a reference. The last one terminates an anonymous object: waits for its transfers, frees its pages,
 * whose bytes are lost, and drops the reference to its backing object. An object that its pager keeps is
 * ended by the pager (pagerops.last_reference). No lock held: it may sleep. NULL: does nothing.
 */
void vm_object_deallocate(struct vm_object *object);

/*
 * The same, with (M) held: leaves chains as they are. The reference is not the last one, or the object has no
 * pages, so that it does not sleep.
 */
void vm_object_drop(struct vm_object *object);

/*
 * Terminates an object to which its pager has the only reference. Dirty pages were written before, or are
 * lost. No lock held.
 */
void vm_object_destroy(struct vm_object *object);

/* A pip (paging_in_progress) keeps the object from being terminated while its lock is not held. */
void vm_object_pip_add(struct vm_object *object) FL_REQUIRES(object->lock);
void vm_object_pip_wakeup(struct vm_object *object) FL_REQUIRES(object->lock);
/* Returns when there is no pip. (O) is released in between. */
void vm_object_pip_wait(struct vm_object *object) FL_REQUIRES(object->lock);

/*
 * Puts a new anonymous object of `length` pages in front. In: *object and *pindex are what a mapping shows.
 * Out: the shadow, and 0; the reference to the old object is the shadow's now. No lock of an object held.
 * Errors: -ENOMEM, nothing changed.
 */
FL_NODISCARD int vm_object_shadow(struct vm_object **object, vm_pindex_t *pindex, vm_pindex_t length);

/*
 * The same, and the shadow is a snapshot (vm_object_snapshot.c). It is as long as `length` and the source at
 * the end of the chain allow: what comes behind the source's end later is not in it. It is not covered yet.
 */
FL_NODISCARD int vm_object_snapshot(struct vm_object **object, vm_pindex_t *pindex, vm_pindex_t length);

/*
 * The object at the end of the chain, and in *pindex the index there of what was *pindex in `object`. A file
 * stays what it is as long as the caller has its reference to `object`; anonymous memory at the end may be
 * taken over meanwhile, so then the pointer is good for a look at its type only. NULL: NULL. Takes (R)
 * shared.
 */
FL_NODISCARD struct vm_object *vm_object_bottom(struct vm_object *object, vm_pindex_t *pindex);
/* The backing object, with a reference for the caller, or NULL. *pindex becomes the index there. */
FL_NODISCARD struct vm_object *vm_object_backing(struct vm_object *object, vm_pindex_t *pindex)
    FL_EXCLUDES(object->lock);
/* The same, as a step down a chain: the caller's reference to `object` is dropped. No lock held. */
FL_NODISCARD struct vm_object *vm_object_next(struct vm_object *object, vm_pindex_t *pindex);

/*
 * Makes the chain below the object shorter as far as that is possible now: not where a page is in a use that
 * has not ended, or there is no memory; a later call goes on. No lock held; the caller has a reference.
 * (vm_object_collapse, FreeBSD.)
 */
void vm_object_collapse(struct vm_object *object);
/*
 * A store has put a page of the shadow's own, pindex, in front of one behind it. That one is freed if it was
 * the last of all shadows to do so. No lock held; the caller has a reference.
 */
void vm_object_page_replaced(struct vm_object *shadow, vm_pindex_t pindex);
/* Takes a reference to the first of `shadow` and its later siblings that is not about to end. NULL: none. */
FL_NODISCARD struct vm_object *vm_object_shadow_reference(struct vm_object *shadow)
    FL_REQUIRES_SHARED(vm_rmap_lock);

/*
 * Unmaps and frees the pages [start, end), dirty ones too, whose bytes are lost (truncation, invalidation).
 * Waits for busy pages, for those in write-back and for those that are read. A held page leaves the object as
 * an orphan (vm_page.h). `clean_only` leaves dirty, wired, held and read pages where they are. (O) is
 * released in between.
 */
void vm_object_page_remove(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, bool clean_only)
    FL_REQUIRES(object->lock);

/*
 * The bytes of pages [start, end) of an object without backing object become zeros. As vm_object_page_remove,
 * but a held page stays and is filled with zeros, because the system call that holds it must still find it.
 * (O) is released in between.
 */
void vm_object_page_discard(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);

/*
 * Busy page m of the object is about to be written: drops the clean copies (PG_COPY) that shadows over the
 * object have of it, and gives each snapshot that shows it a copy of its own. m is not PG_COPIED afterwards.
 * (O) is released in between. Errors: -ENOMEM, of a snapshot's copy; m must not be written then.
 *
 * A copy that is busy and not valid yet is left alone: it is no copy yet, and its owner will read the page as
 * it is then. A held copy goes like any other: the system call must not read bytes that the source has no
 * more.
 */
FL_NODISCARD int vm_object_invalidate_copies(struct vm_object *object, struct vm_page *m)
    FL_REQUIRES(object->lock);

/*
 * The source became shorter: unmaps and frees the pages that shadows over `object` have for its pages [start,
 * end), private ones too, because an access there lies beyond the end now. copies_only, and of snapshots
 * always: only the clean copies. No lock held; the caller has a reference or a pip.
 */
void vm_object_remove_above(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, bool copies_only);

/*
 * A walk through the tree of shadows over `root`, parents first. Starts as {.root = root, .at = root, .moves
 * = UINT64_MAX}. The caller has a reference to the root, or a pip.
 */
struct vm_shadow_walk {
    struct vm_object *root;
    struct vm_object *at; /* with a reference of the walk's, unless it is root */
    vm_pindex_t offset;   /* the index in root of at's page 0 */
    uint64_t moves;       /* vm_rmap_shadow_moves when the walk began */
};
/* A walk that begins. It has no number of moves yet, so its first step starts at the root. */
static inline struct vm_shadow_walk vm_shadow_walk_of(struct vm_object *root)
{
    return (struct vm_shadow_walk){.root = root, .at = root, .moves = UINT64_MAX};
}
/*
 * The next shadow. NULL: the walk is over. It starts again, and meets shadows again, when one has moved in
 * any tree meanwhile: those behind a shadow that moved would be left out. Each start needs another collapse,
 * which makes a chain shorter. No lock held.
 */
FL_NODISCARD struct vm_object *vm_shadow_walk_next(struct vm_shadow_walk *walk);
/* Ends a walk that did not come to its end. No lock held. */
void vm_shadow_walk_end(struct vm_shadow_walk *walk);

/* ---- snapshots: vm_object_snapshot.c ------------------------------------------------------------------ */

/* Is there a snapshot over the object? */
FL_NODISCARD bool vm_object_snapshotted(struct vm_object *object) FL_REQUIRES(object->lock);
/*
 * Busy and valid page m, of an object behind the snapshot, is about to change. If it shows at pindex of the
 * snapshot, that gets a copy of its own. No lock held; the caller has a reference. Errors: -ENOMEM.
 */
FL_NODISCARD int vm_snapshot_keep(struct vm_object *snapshot, vm_pindex_t pindex, struct vm_page *m);
/*
 * From now on no page behind the snapshot changes before the snapshot has its copy. Does nothing for other
 * objects, and if that is so already. No lock held; the caller has a reference. Errors: -ENOMEM; -ENXIO, the
 * source became shorter since the snapshot was made, so that it is of no use.
 */
FL_NODISCARD int vm_object_cover(struct vm_object *snapshot);
/*
 * Pages [start, end) of the object are about to change past their pages, or to go, so that they show zeros or
 * nothing: the snapshots over it get copies of those that they show, resident or not. The caller keeps absent
 * pages absent meanwhile (invalidate_start), or a snapshot that begins now may miss it. No lock held; the
 * caller has a reference. Errors: -ENOMEM; the source's.
 */
FL_NODISCARD int vm_object_preserve(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/*
 * Brings in the absent page at pindex, which the object's pager has, or waits for memory: the caller looks
 * again. (O) is released in between; a pip keeps the object. Errors: the pager's, -ENOMEM.
 */
FL_NODISCARD int vm_object_page_in(struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(object->lock);
/* Panics unless SN1 holds for the snapshot and what is directly behind it. */
void vm_snapshot_check(struct vm_object *snapshot) FL_REQUIRES(snapshot->lock);

/*
 * Panics unless OB1 … OB5 hold, and RX1 … RX3 for its pages. Takes (O), (R) shared. _all: for every object.
 */
void vm_object_check(struct vm_object *object);
void vm_object_check_all(void);
/* How many pages the objects' pagers have promised, together (CM1). Context: nothing else runs. */
FL_NODISCARD uint64_t vm_object_check_promised(void);

#endif
