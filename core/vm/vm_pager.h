/*
 * vm_pager.h: the pager of an object: where its pages come from, and where dirty ones go.
 *
 *   vm_fault, vm_prefault, vm_page,              pagertab[object->type]
 *   vm_object, vm_pageout, vm_map    ────▶  ┌─ OBJT_DEFAULT   vm_pager.c: anonymous memory; no source, no home
 *                                           └─ OBJT_VNODE     file/vnode_pager.c: a file
 *
 * A pager is a row of operations. An operation that a pager does not have is NULL, and means what is said
 * there. A row is registered when the VM boots; nothing else in core/vm knows what kinds of pagers exist.
 *
 * Context. (O) means: called with the object's lock held, and it is held on return; "released in between"
 * says so where it is not kept. "No lock" means none of the core's. Any operation without (O) may sleep.
 * (struct pagerops and pagertab: FreeBSD 2.1; struct address_space_operations: Linux.)
 */
#ifndef CORE_VM_VM_PAGER_H
#define CORE_VM_VM_PAGER_H

#include "lib/errseq.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"

/*
 * What a fault tells the pager of the stream of accesses that it belongs to. The pager may let go of the map
 * to do more: it sets `map` to NULL then, and looks at `stream` no more.
 */
struct readahead_control {
    struct vm_object *object;        /* with a pip of the caller's */
    struct vm_pager_stream *stream;  /* what the pager remembers of it */
    enum vm_behavior behavior;       /* what madvise said */
    struct vm_map *map;              /* whose entry has `stream`, held shared; NULL: not a mapping's stream */
    uint32_t behind, ahead;          /* out: neighbours that are worth reading in the same transfer */
};

/* Pages that may be mapped ahead of a fault while the pager still learns what the stream is. */
#define READAHEAD_LOOK 2

/* Transfers that page-out collects, to start them together. The pager's own; all zero is an empty one. */
struct vm_pager_plug {
    uintptr_t own[3];
};

struct pagerops {
    /* ---- the object ---- */

    /*
     * The object of `handle`, the pager's name for the source, with a reference for the caller, who is going
     * to use its first `size` pages. No lock. NULL: no memory.
     */
    struct vm_object *(*alloc)(void *handle, vm_pindex_t size);
    /*
     * A pager that keeps its objects has one reference to each itself. first_reference: the first other one
     * was taken. (O). last_reference: the last other one was dropped; the object may end by it. No lock.
     * NULL: an object ends with its last reference.
     */
    void (*first_reference)(struct vm_object *object);
    void (*last_reference)(struct vm_object *object);
    /*
     * The source may have changed its length: object->size becomes what it is now, and pages beyond it go. No
     * lock; the caller has a reference. Errors: the source's. NULL: the object's size is its mappings' alone,
     * and what lies beyond it in a chain is looked for below.
     */
    int (*setsize)(struct vm_object *object);

    /* ---- absent pages ---- */

    /*
     * Whether the source has page pindex; *before and *after: how many neighbours on each side one transfer
     * may bring too. (O). NULL: it has none.
     */
    bool (*haspage)(struct vm_object *object, vm_pindex_t pindex, uint32_t *before, uint32_t *after);
    /* Behind vm_pager_get_pages. NULL: -ENXIO. */
    int (*getpages)(struct vm_object *object, struct vm_page **m, uint32_t count, uint32_t reqpage);
    /*
     * Waits for the oldest transfer in flight that moves one of the pages [start, end), and drives it, if it
     * would not end otherwise. False: there is none. (O), released in between. NULL: there never is one.
     */
    bool (*wait)(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
    /*
     * Page pindex, the first of npages that are wanted, is absent. True: transfers were started, of this page
     * too if there was memory, and the locks were released meanwhile: the caller looks again, and reads by
     * itself what is absent even then. False: it does so at once, with ractl->behind and ->ahead neighbours;
     * nothing was released. (O), released in between when true; (M) not held on return then. NULL: false.
     */
    bool (*readahead)(struct readahead_control *ractl, vm_pindex_t pindex, uint32_t npages);
    /*
     * The mark of read-ahead, page m, was touched: it goes, and the next window is started. (O), released in
     * between; (M) not held on return.
     */
    void (*readahead_mark)(struct readahead_control *ractl, struct vm_page *m);
    /* May no more than READAHEAD_LOOK pages be mapped ahead of the stream's faults? (O). NULL: no. */
    bool (*readahead_young)(const struct vm_pager_stream *stream);
    /*
     * Pages of [start, end) that were read by themselves for an access that is expected soon, have come, and
     * were not touched yet: busy, in m[0 … max), each once. Returns how many. (O). NULL: none.
     */
    uint32_t (*readahead_arrived)(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                  struct vm_page **m, uint32_t max);

    /* ---- pages of which the pager keeps parts (PG_PRIVATE) ---- */

    /* Busy m becomes valid: what it lacks is read. No lock. Errors: the source's, -ENOMEM; m is as before. */
    int (*readpage)(struct vm_page *m);
    /* All of valid m becomes dirty; the caller marks the page itself. (O). */
    void (*set_page_dirty)(struct vm_page *m);
    /* Gives up what it keeps of m, unless a part is dirty. False: not now. (O). */
    bool (*releasepage)(struct vm_page *m);
    /* Busy m goes: what it keeps of m goes, dirty or not. (O). */
    void (*invalidatepage)(struct vm_page *m);
    /* The pager's invariants of m. Context: nothing else runs. */
    void (*check_page)(const struct vm_page *m);

    /* ---- dirty pages. NULL, all of them: they have no home, and stay in memory. ---- */

    /* The object has its first dirty page. (O). */
    void (*first_dirty)(struct vm_object *object);
    /* Must page pindex get space in the source (page_mkwrite) before it may become dirty? (O). */
    bool (*lacks_space)(struct vm_object *object, vm_pindex_t pindex);
    /* It gets its space. No lock; the caller has a reference. Errors: -ENOSPC, -EDQUOT, -EIO. */
    int (*page_mkwrite)(struct vm_object *object, vm_pindex_t pindex);
    /* Wakes who writes dirty pages, if there are too many, and says whether balance_dirty would write. (O). */
    bool (*dirty_exceeded)(const struct vm_object *object);
    /* The caller has dirtied a page: writes some, if there are far too many. No lock; has a reference. */
    void (*balance_dirty)(struct vm_object *object);

    /* ---- page-out ---- */

    /*
     * Starts to write m, which is dirty, not busy and not in write-back, and dirty neighbours, or collects
     * them in the plug. Each becomes the next victim when it is clean. Returns how many pages. (O) on entry,
     * not on return.
     */
    uint32_t (*launder)(struct vm_page *m, struct vm_pager_plug *plug);
    /* Starts what the plug holds; it is empty then. No lock. */
    void (*unplug)(struct vm_pager_plug *plug);
    /* Transfers of all its objects that are on their way: a hint. Any lock. */
    uint32_t (*active)(void);
    /*
     * Waits for the oldest transfer, of any object, that no other thread waits for. False: there is none but
     * in plugs, or their objects are locked. No lock.
     */
    bool (*wait_any)(void);

    /* ---- errors of writes. A mapping has a cursor of those that it was told of (errseq.h). ---- */

    /* A cursor that was told of all errors until now. Any lock. */
    errseq_t (*sample_errors)(const struct vm_object *object);
    /* The first error that `since` was not told of; it is afterwards. (M) shared at least. */
    int (*check_errors)(struct vm_object *object, errseq_t *since);
    /* What the last write that failed said, or 0. Any lock. */
    int (*last_error)(const struct vm_object *object);
};

/* (c) after boot */
extern const struct pagerops *pagertab[OBJT_COUNT];

static inline const struct pagerops *vm_pager_ops(const struct vm_object *object)
{
    return pagertab[object->type];
}

/* No pager but that of anonymous memory. Context: boot. */
void vm_pager_startup(void);
/* Objects of this type have this pager from now on. Context: boot. */
void vm_pager_register(enum vm_object_type type, const struct pagerops *ops);

/* alloc of the type's pager. */
FL_NODISCARD struct vm_object *vm_pager_allocate(enum vm_object_type type, void *handle, vm_pindex_t size);
FL_NODISCARD bool vm_pager_has_page(struct vm_object *object, vm_pindex_t pindex, uint32_t *before,
                                    uint32_t *after);
/*
 * Reads m[0 … count), busy neighbours of one object, of which m[reqpage] is the one that is needed. The
 * object has a pip; no lock held. On success all are valid, m[reqpage] stays busy, the others are not busy and
 * on the inactive queue. On failure the others are freed, m[reqpage] stays busy and not valid. Errors: -EIO
 * (or what the source said), -ENXIO beyond the end, -ENOMEM.
 */
FL_NODISCARD int vm_pager_get_pages(struct vm_object *object, struct vm_page **m, uint32_t count,
                                    uint32_t reqpage);
/* wait of the object's pager. */
FL_NODISCARD bool vm_pager_wait(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);

/* Has the object a source whose length ends it? An access beyond is an error, unless setsize finds more. */
static inline bool vm_pager_bounded(const struct vm_object *object)
{
    return vm_pager_ops(object)->setsize != NULL;
}

/* Have dirty pages of the object a place to be written to? */
static inline bool vm_pager_home(const struct vm_object *object)
{
    return vm_pager_ops(object)->launder != NULL;
}

/* ---- all pagers together, for page-out. No lock held. ---- */

void vm_pager_unplug(struct vm_pager_plug *plug);
FL_NODISCARD uint32_t vm_pager_active(void);
FL_NODISCARD bool vm_pager_wait_any(void);

#endif
