/*
 * vm_pager.h: the pager of an object: where its pages come from, and where its dirty pages go.
 *
 *   vm_fault, vm_prefault, vm_page,      pagertab[object->type]
 *   vm_object, vm_pageout, vm_map   ───▶   ├─ OBJT_SWAP      swap_pager.c: anonymous memory
 *                                          ├─ OBJT_VNODE     file/vnode_pager.c: a file
 *                                          └─ OBJT_SHMEM     file/shmem.c: a file of anonymous memory
 *
 * A pager is a row of operations. NULL stands for an operation that a pager does not have; each one says what
 * that means. Rows are registered at boot; nothing else in core/vm knows which kinds of pagers there are.
 *
 * Context of the operations. "(O)": called with the object's lock held, which is held on return; "(O),
 * released in between" where it is not kept throughout. "No lock": none of the core's is held. An operation
 * without (O) may sleep. (struct pagerops and pagertab, FreeBSD 2.1; struct address_space_operations, Linux.)
 *
 * Invariant: OB7 a type of objects gets its pager once.
 */
#ifndef CORE_VM_VM_PAGER_H
#define CORE_VM_VM_PAGER_H

#include "lib/errseq.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"

/*
 * What a fault tells the pager about the stream of accesses that it belongs to. The pager may release the map
 * in order to do more: then it sets `map` to NULL, and reads `stream` no more.
 */
struct readahead_control {
    struct vm_object *object;       /* with a pip of the caller's */
    struct vm_pager_stream *stream; /* what the pager remembers of the stream */
    enum vm_behavior behavior;      /* what madvise said */
    struct vm_map *map;             /* whose entry has `stream`, held shared; NULL: no mapping has it */
    uint32_t behind, ahead;         /* out: neighbours that are worth reading in the same transfer */
};

/* Pages that may be mapped ahead of a fault while the pager is still finding out what the stream is. */
#define READAHEAD_LOOK 2

/* Transfers that page-out collects in order to start them together. The pager's own; all zero: none. */
struct vm_pager_plug {
    uintptr_t own[3];
};

struct pagerops {
    /* ---- the object ---- */

    /*
     * The object for `handle`, the pager's name of a source, with a reference for the caller, who is going to
     * use its first `size` pages. No lock. Returns NULL if there is no memory.
     */
    struct vm_object *(*alloc)(void *handle, vm_pindex_t size);
    /*
     * For a pager that keeps its objects, by one reference of its own to each. first_reference: another one
     * was taken, the first. (O). last_reference: the last other one was dropped, so the object may end. No
     * lock. NULL: an object ends with its last reference.
     */
    void (*first_reference)(struct vm_object *object);
    void (*last_reference)(struct vm_object *object);
    /*
     * The source's length may have changed: sets object->size to it, and removes the pages beyond. No lock;
     * the caller has a reference. Errors: the source's. NULL: only mappings give the object its size, and a
     * page beyond it is looked for further down the chain.
     */
    int (*setsize)(struct vm_object *object);
    /* Pages that the source has promised (vm_commit.h). Context: nothing else runs. NULL: none. */
    uint64_t (*promised)(const struct vm_object *object);

    /* ---- absent pages ---- */

    /*
     * Does the source have page pindex? *before and *after: how many neighbours on each side the same
     * transfer can bring; 0 on entry, and left so if it does not. Both pointers are NULL where only the page
     * matters: then neighbours are not looked for. (O). NULL: no.
     */
    bool (*haspage)(struct vm_object *object, vm_pindex_t pindex, uint32_t *before, uint32_t *after);
    /* Is page pindex, which the source has, zeros that are kept nowhere? (O). NULL: no. */
    bool (*hole)(struct vm_object *object, vm_pindex_t pindex);
    /* As vm_pager_get_pages. NULL: -ENXIO. */
    int (*getpages)(struct vm_object *object, struct vm_page **m, uint32_t count, uint32_t reqpage);
    /*
     * Waits for the oldest transfer in flight that moves one of the pages [start, end), and drives it if it
     * would not end otherwise. False: there is none. (O), released in between. NULL: there never is one.
     */
    bool (*wait)(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
    /*
     * Page pindex, the first of npages that are wanted, is absent. True: transfers were started, for this
     * page too if there was memory, with the locks released: the caller looks again, and reads a page that is
     * absent even then. False: nothing was done; the caller reads the page at once, with ractl->behind and
     * ractl->ahead neighbours. (M) shared and (O); when true, (O) was released in between, and (M) is not
     * held any more. NULL: false.
     */
    bool (*readahead)(struct readahead_control *ractl, vm_pindex_t pindex, uint32_t npages);
    /*
     * Page m has the mark of read-ahead, and is used: clears the mark, and starts the next window. (M) shared
     * and (O); (O) is released in between, and (M) is not held any more.
     */
    void (*readahead_mark)(struct readahead_control *ractl, struct vm_page *m);
    /* Is the pager still finding out what the stream is (READAHEAD_LOOK)? (O). NULL: no. */
    bool (*readahead_young)(const struct vm_pager_stream *stream);
    /*
     * Collects pages of [start, end) that the pager read one by one for accesses that it expects soon, and
     * that have arrived and were not used yet. They become busy, in m[0 … max), each once. Returns how many.
     * (O). NULL: none.
     */
    uint32_t (*readahead_arrived)(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                  struct vm_page **m, uint32_t max);

    /*
     * The bytes of pages [start, end) are not wanted any more: gives up what the source has of them, but for
     * pages that are busy or in write-back. (O). NULL: nothing; the source's bytes change by other ways.
     */
    void (*freespace)(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
    /* Page m has become dirty: what the source has of it is worth nothing any more. (O). NULL: nothing. */
    void (*unswapped)(struct vm_page *m);
    /*
     * The shadow is about to take the place of `backing`, of which it is the only user: what the source has
     * of pages that the shadow shows, and has not itself, becomes the shadow's. (O) of both. Errors: -ENOMEM;
     * a later call goes on. NULL: nothing is there.
     */
    int (*takeover)(struct vm_object *shadow, struct vm_object *backing);

    /* ---- pages of which the pager keeps parts (PG_PRIVATE) ---- */

    /* Busy m becomes valid: reads what it lacks. No lock. Errors: the source's, -ENOMEM; m is as before. */
    int (*readpage)(struct vm_page *m);
    /* All parts of valid m become dirty; the caller marks the page itself. (O). */
    void (*set_page_dirty)(struct vm_page *m);
    /* Gives up the parts of m, unless one is dirty. False: it did not. (O). */
    bool (*releasepage)(struct vm_page *m);
    /* Busy m is about to go: gives up its parts, dirty or not. (O). */
    void (*invalidatepage)(struct vm_page *m);
    /* Panics unless the pager's invariants are true of m. Context: nothing else runs. */
    void (*check_page)(const struct vm_page *m);

    /*
     * ---- dirty pages of a source that is kept: they are counted, and written after a while. All NULL:
     * dirty pages are written by page-out only, if at all. ----
     */

    /* The object has its first dirty page, or a mapping that makes pages dirty without a fault. (O). */
    void (*mark_dirty)(struct vm_object *object);
    /* Must page pindex get space in the source (page_mkwrite) before it may become dirty? (O). */
    bool (*lacks_space)(struct vm_object *object, vm_pindex_t pindex);
    /* Gets the space. No lock; the caller has a reference. Errors: -ENOSPC, -EDQUOT, -EIO. */
    int (*page_mkwrite)(struct vm_object *object, vm_pindex_t pindex);
    /* Would balance_dirty write now? Wakes the thread that writes dirty pages, if there are too many. (O). */
    bool (*dirty_exceeded)(const struct vm_object *object);
    /* The caller has dirtied a page: writes some, if far too many are dirty. No lock; it has a reference. */
    void (*balance_dirty)(struct vm_object *object);

    /* ---- page-out ---- */

    /*
     * Starts to write m and dirty neighbours, or collects them in the plug. m is dirty, not busy and not in
     * write-back. Each page becomes the next victim when it is clean. Returns how many pages. (O) on entry,
     * and released on return.
     */
    uint32_t (*launder)(struct vm_page *m, struct vm_pager_plug *plug);
    /* Can no page be written now, for want of space in the source? Any lock may be held. NULL: it can. */
    bool (*full)(void);
    /* Starts what is in the plug, and empties it. No lock. */
    void (*unplug)(struct vm_pager_plug *plug);
    /* How many transfers of all its objects are on their way: a hint. Any lock may be held. */
    uint32_t (*active)(void);
    /*
     * Waits for the oldest transfer of any object for which no other thread waits. False: there is none, but
     * in plugs or of objects that are locked. No lock.
     */
    bool (*wait_any)(void);

    /* ---- errors of writes. A mapping has a cursor, which says what it was told (errseq.h). ---- */

    /* A cursor that was told of all errors up to now. Any lock may be held. */
    errseq_t (*sample_errors)(const struct vm_object *object);
    /* The first error that the cursor was not told of, or 0; now it was. (M) held, shared at least. */
    int (*check_errors)(struct vm_object *object, errseq_t *since);
    /* What the last write that failed said, or 0. Any lock may be held. */
    int (*last_error)(const struct vm_object *object);
};

/* (c) after boot */
extern const struct pagerops *pagertab[OBJT_COUNT];

static inline const struct pagerops *vm_pager_ops(const struct vm_object *object)
{
    return pagertab[object->type];
}

/* No type has a pager. Context: boot. */
void vm_pager_startup(void);
/* Objects of this type have this pager from now on. Context: boot, after vm_pager_startup. */
void vm_pager_register(enum vm_object_type type, const struct pagerops *ops);

/* The type's alloc. */
FL_NODISCARD struct vm_object *vm_pager_allocate(enum vm_object_type type, void *handle, vm_pindex_t size);
/* The object's haspage. False: *before and *after, unless they are NULL, are 0. */
FL_NODISCARD bool vm_pager_has_page(struct vm_object *object, vm_pindex_t pindex, uint32_t *before,
                                    uint32_t *after) FL_REQUIRES(object->lock);
/* The object's hole. */
FL_NODISCARD bool vm_pager_hole(struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(object->lock);
/*
 * Does the absent page pindex, when it comes in, give its place in the source to another page if no place is
 * free?
 */
FL_NODISCARD bool vm_pager_exchanges(struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(object->lock);
/*
 * How the absent page pindex is to be allocated, VM_ALLOC_*. Where no dirty page can be written, one that
 * gives up its place makes room for another: it may use the reserve.
 */
FL_NODISCARD unsigned vm_pager_alloc_class(struct vm_object *object, vm_pindex_t pindex)
    FL_REQUIRES(object->lock);
/*
 * Reads m[0 … count), busy neighbours of the object, of which m[reqpage] is the one that the caller needs.
 * The caller has a pip; no lock held. Afterwards m[reqpage] is busy still. On success all pages are valid,
 * and the others are inactive and not busy. On failure m[reqpage] is not valid, and the others are freed.
 * Errors: the source's (-EIO …), -ENXIO beyond its end, -ENOMEM.
 */
FL_NODISCARD int vm_pager_get_pages(struct vm_object *object, struct vm_page **m, uint32_t count,
                                    uint32_t reqpage) FL_EXCLUDES(object->lock);
/* The object's wait. */
FL_NODISCARD bool vm_pager_wait(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);

/* Does the length of a source end the object? An access beyond it fails, unless setsize finds more. */
static inline bool vm_pager_bounded(const struct vm_object *object)
{
    return vm_pager_ops(object)->setsize != NULL;
}

/* Have dirty pages of the object a place that they can be written to now? */
static inline bool vm_pager_home(const struct vm_object *object)
{
    const struct pagerops *ops = vm_pager_ops(object);
    return ops->launder != NULL && (ops->full == NULL || !ops->full());
}

/* Are dirty pages of the object counted, and written after a while, because the source outlives it? */
static inline bool vm_pager_keeps(const struct vm_object *object)
{
    return vm_pager_ops(object)->mark_dirty != NULL;
}

/* ---- all pagers together, for page-out: unplug, active and wait_any of each. No lock held. ---- */

void vm_pager_unplug(struct vm_pager_plug *plug);
FL_NODISCARD uint32_t vm_pager_active(void);
FL_NODISCARD bool vm_pager_wait_any(void);

#endif
