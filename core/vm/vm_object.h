/*
 * vm_object.h: a memory object: an array of pages with a source. The page cache of a file, and the
 * shadow of
 * a private mapping: the same thing.
 *
 *     entry ──▶ shadow (private pages) ──backing_object──▶ file object ──vnode──▶ store
 *                 ▲ shadow_head list of the backing object runs back up
 *
 * A page is looked for in the shadow, then in what backs it, at pindex + backing_pindex.
 *
 * Locks. (O) the object's lock; along a chain, the shadow before what backs it. (R) vm_rmap_lock
 * (vm_rmap.h).
 * (c) constant. Context for functions: those with _locked are called with (O) held.
 * Invariants: O1 resident_count is the number of pages in `pages`. O2 an object with ref_count 0 has no
 * pages
 * and no entries. O3 a page's pindex is < size, except while a truncation removes it. O4 a chain ends, and
 * its objects are alive as long as a shadow stands over them. O5 type VNODE has a vnode and no backing
 * object.
 *
 * A clean copy that is busy without being valid is left alone when copies are dropped: it is not a copy yet.
 * One that is held goes as any other: the system call must not read what is not the file's any more, and
 * nobody waits for a hold (vm_page.h).
 *
 * Does not do: vm_object_collapse (comes with swap); until then a chain is as long as the history of forks
 * and private writes made it.
 */
#ifndef CORE_VM_VM_OBJECT_H
#define CORE_VM_VM_OBJECT_H

#include "lib/tree.h"
#include "vm/vm_radix.h"
#include <stdatomic.h>

struct transfer; /* the pager's own */

enum vm_object_type {
    OBJT_DEFAULT, /* anonymous: zero-filled, or a shadow */
    OBJT_VNODE,   /* a file */
    OBJT_COUNT,
};

struct vm_object {
    struct vm_lock lock;
    uint8_t type;    /* (c) enum vm_object_type */
    bool dead;       /* (O) being terminated */
    bool shadowed;   /* (O) shadows stand or stood over it: they may hold clean copies of pages that are
                                  not resident any more, so that a page that comes back is born PG_COPIED */
    bool pip_wanted; /* (O) somebody sleeps until paging_in_progress is 0 */
    /* entries, shadows, the vnode. From 0 it never grows; it falls under (O), and grows under (O), or from
       1 up under (R) */
    _Atomic uint32_t ref_count;
    uint32_t resident_count; /* (O) */
    uint32_t dirty_count;    /* (O) of them, dirty; counted for files only */
    /* (O) transfers and faults that need it to stay (pip); its address is the channel */
    uint32_t paging_in_progress;
    uint32_t generation;   /* (O) grows with every page that comes or goes */
    vm_pindex_t size;      /* (O) in pages */
    struct vm_radix pages; /* (O) */
    /* (O) a file's absent pages [invalidate_start, invalidate_end) stay absent, while its bytes there change
       below the cache (file/truncate.h); the field's address is the channel */
    vm_pindex_t invalidate_start, invalidate_end;
    void *handle;                     /* (c) the pager's name for the source: of OBJT_VNODE the vnode */
    struct vm_object *backing_object; /* (c) */
    /* (c) this object's page 0 is page backing_pindex of the backing object */
    vm_pindex_t backing_pindex;
    void *machine;             /* (c) machine_object_init */
    struct transfer *inflight; /* (O) the pager's: transfers that no thread waits for yet */
    uint64_t reserv_hint;      /* (F) vm_reserv's own */
    /* (R) reverse mapping */
    struct tree entries;                         /* vm_map_entry.rmap_node by pindex */
    struct vm_object *shadow_head;               /* shadows over this object */
    struct vm_object *shadow_next, *shadow_prev; /* on the backing object's list */
    struct vm_object *all_next, *all_prev;       /* (vm_objects_lock) every object, for checkers */
};

/* May an absent page of the object be brought in now? (O). */
static inline bool vm_object_invalidating(const struct vm_object *object, vm_pindex_t pindex)
{
    return pindex >= object->invalidate_start && pindex < object->invalidate_end;
}

void vm_object_startup(void);
/* A new object of `size` pages with one reference. NULL: no memory. */
FL_NODISCARD struct vm_object *vm_object_allocate(enum vm_object_type type, vm_pindex_t size, void *handle);
void vm_object_reference(struct vm_object *object);
void vm_object_reference_locked(struct vm_object *object) FL_REQUIRES(object->lock);
/*
 * Drops a reference; the last one terminates it: waits for transfers, frees its pages, then lets go of what
 * backs it. Anonymous pages are lost with it, as they should be. A file's object is terminated by its
 * vnode,
 * after its pages were written.
 */
void vm_object_deallocate(struct vm_object *object);

/*
 * Ends a vnode's object, to which the vnode has the only reference; its dirty pages were written, or are
 * lost. No lock held.
 */
void vm_object_destroy(struct vm_object *object);

/* pip: keeps the object from being terminated while its lock is not held. */
void vm_object_pip_add(struct vm_object *object) FL_REQUIRES(object->lock);
void vm_object_pip_wakeup(struct vm_object *object) FL_REQUIRES(object->lock);
void vm_object_pip_wait(struct vm_object *object) FL_REQUIRES(object->lock);

/*
 * Puts a new anonymous object in front: on entry *object / *pindex are what the mapping shows, of `length`
 * pages; on success they are the shadow and 0, and the reference to the old object is the shadow's. Errors:
 * -ENOMEM, nothing changed.
 */
FL_NODISCARD int vm_object_shadow(struct vm_object **object, vm_pindex_t *pindex, vm_pindex_t length);

/*
 * Unmaps and frees the pages [start, end), waiting for busy ones, for those in write-back and for readers;
 * dirty ones too: what they had is gone (truncation, invalidation). Held ones are left to their last user.
 * `clean_only` leaves dirty, wired and held ones.
 */
void vm_object_page_remove(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, bool clean_only);

/*
 * The bytes of pages [start, end) of an object with nothing behind it become zeros: as vm_object_page_remove,
 * but a page that is held becomes zeros where it is, for the system call must go on finding it.
 */
void vm_object_page_discard(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);

/*
 * Drops the clean copies (PG_COPY) of page pindex that shadows over `object` hold. Called when the page is
 * about to be written. (O) of `object` held on entry and return, and released in between: the caller looks
 * everything up again when it returns true.
 */
FL_NODISCARD bool vm_object_invalidate_copies(struct vm_object *object, vm_pindex_t pindex)
    FL_REQUIRES(object->lock);

/*
 * A file became shorter: unmaps and frees whatever the shadows over `object` hold of its pages [start,
 * end),
 * private copies too: an access there is one beyond the end of the file. With `copies_only`, the clean
 * copies
 * alone. No lock held; the caller has a reference or a pip.
 */
void vm_object_remove_above(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, bool copies_only);

void vm_object_check(struct vm_object *object); /* O1 … O5 and its radix tree */
void vm_object_check_all(void);

#endif
