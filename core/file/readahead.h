/*
 * readahead.h: reading before it is asked for: one engine for reads and faults.
 *
 *   sequential   window k, being read     window k + 1, in flight     window k + 2
 *                #========================#===========================#==================
 *   strided      =     =     #     =     =     =     #     =      runs of pages, the same distance apart
 *
 * '#' is the mark, PG_READAHEAD: a touch there starts what comes next, and only then waits for its own page.
 * So a sequential reader always has two windows in flight, and a strided one many single requests. Windows
 * start small, double, and are capped.
 *
 * A stream is recognised by where its misses fall (file_ra_state, one in each map entry and one in each
 * vnode): a miss that follows the last one is sequential; runs of one or more misses that begin the same
 * distance apart, forwards or backwards, are strided; and pages that are there just before a miss tell of a
 * stream that others are interleaved with. What fits nothing is read alone; a mapping's, for a while, with
 * what lies around it.
 * (ondemand_readahead of the Linux seed; vm_fault_additional_pages of FreeBSD 2.1.)
 */
#ifndef CORE_FILE_READAHEAD_H
#define CORE_FILE_READAHEAD_H

#include "vm/vm_map.h"

struct blk_plug; /* file/block.h */

/* Whose stream it is, and what came of a look at it. */
struct readahead_control {
    struct vm_object *object; /* a file's, with a pip of the caller's */
    struct file_ra_state *ra;
    enum vm_behavior behavior;
    /*
     * The map whose entry has ra, held shared, of a fault; NULL as soon as it was let go of, and for reads.
     */
    struct vm_map *map;
    /* A fault's miss that fits nothing: so many neighbours are worth reading in the same transfer. */
    uint32_t behind, ahead;
};

/* `max`: pages of one window, 1 … MACHINE_RUN_MAX; 0: chosen. */
void readahead_startup(uint32_t max);

/*
 * Page pindex, the first of npages that are wanted, is absent. True: reads are on their way, or would be if
 * there were memory, of this page too, and the locks were let go of meanwhile: the caller looks again, and
 * reads by itself what is absent even then. False: it does so at once; no lock was let go of.
 * (O) held on entry and return; (M) not on return when true.
 */
FL_NODISCARD bool page_cache_sync_readahead(struct readahead_control *ractl, vm_pindex_t pindex,
                                            uint32_t npages) FL_REQUIRES(ractl->object->lock);
/*
 * The mark, page m, was touched: it goes, and what comes after the windows that are there is started. (O)
 * held on entry and return, released in between; (M) not on return.
 */
void page_cache_async_readahead(struct readahead_control *ractl, struct vm_page *m)
    FL_REQUIRES(ractl->object->lock);
/*
 * Is the stream so young that no more than READAHEAD_LOOK pages should be mapped ahead of a fault, keeping
 * their PG_AHEAD? So its faults show whether it is the sequential one that it was taken for. (O), and (M)
 * for an entry's.
 */
FL_NODISCARD bool readahead_young(const struct file_ra_state *ra);
#define READAHEAD_LOOK 2
/*
 * Starts to read the absent pages of [start, end) (MADV_WILLNEED), as far as the read-ahead's share of memory
 * goes: *share pages, less what was begun on return. With a plug the transfers wait there; NULL: they start.
 * No lock held; the caller has a reference.
 */
void force_page_cache_readahead(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, uint32_t *share,
                                struct blk_plug *plug);
/*
 * Pages of [start, end) that were read ahead by themselves, have come, and were not touched yet: busy, in
 * m[0 … max). Returns how many. Each is told once. They may be mapped all at once: whoever asked for them,
 * a prefetch or a stride, is about to touch them. (O).
 */
FL_NODISCARD uint32_t readahead_arrived(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                        struct vm_page **m, uint32_t max);
/* The longest window, in pages. */
FL_NODISCARD uint32_t readahead_window(void);
/* The most that is worth reading ahead for one call, in pages. */
FL_NODISCARD uint32_t readahead_share(void);
/* Makes room for npages that are about to be read ahead. No lock held. */
void readahead_make_room(uint32_t npages);

#endif
