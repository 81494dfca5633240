/*
 * writeback.h: write-back: dirty pages of a file go to its store.
 *
 *   dirty ──vm_harvest_clean, undirtied, PG_WRITEBACK──▶ store ──▶ clean
 *     ▲─────────────── failed: dirty again, PG_WRITEERROR ──┘      the error is the vnode's (wb_err)
 *
 * It walks the radix tree's marks only: dirty, or to-write. Runs of neighbours go as one transfer; many
 * transfers are under way at a time.
 *
 * Context: no lock held unless a function says otherwise; the caller has a reference to the vnode or the
 * object.
 * Errors: any write-back error of this file during the call, also of writes that other threads started,
 * because the caller needs to know whether the pages reached the store. Only vfs_fsync_range uses cursors
 * (errseq.h).
 * Invariants: WB1 a page in write-back is valid, or has buffers. WB2 no write begins of a page behind its
 * object's end: a truncation is at work there, and may give the page back.
 * (mm/filemap.c and mm/page-writeback.c, Linux: the names are theirs.)
 */
#ifndef CORE_FILE_WRITEBACK_H
#define CORE_FILE_WRITEBACK_H

#include "lib/errseq.h"
#include "vm/vm_object.h"

struct blk_plug;
struct vnode;

enum writeback_sync_modes {
    WB_SYNC_NONE, /* passes over pages that are busy, in write-back or held */
    WB_SYNC_ALL,  /* writes all pages that are dirty when it begins, also those that are in write-back then */
};

/* What to write. (struct writeback_control, Linux.) */
struct writeback_control {
    enum writeback_sync_modes sync_mode;
    vm_pindex_t range_start, range_end; /* pages [range_start, range_end) */
    bool range_cyclic;                  /* the whole file instead, from where such a write stopped last */
    bool spare_failed;                  /* passes over pages whose last write failed */
    uint32_t nr_to_write; /* WB_SYNC_NONE: pages, counted down; a run of neighbours may go beyond */
};

/* Starts the writes. Waits only where it cannot go on otherwise, or while enough transfers are under way. */
void do_writepages(struct vm_object *object, struct writeback_control *wbc);
/* The same of pages [start, end), without a limit. */
void __filemap_fdatawrite_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                enum writeback_sync_modes sync_mode);
/* Waits for each page of [start, end) that is in write-back. */
void filemap_fdatawait_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/* The error of a write-back of the vnode since vnode->wb_failures was `before`. 0: none failed. Any lock. */
FL_NODISCARD int filemap_check_errors(struct vnode *vnode, uint32_t before);
/*
 * Writes the pages of [start, end) that are dirty now, and waits for these
 * writes. A page that becomes dirty meanwhile is left for the next call (to-write
 * mark), so that a program that keeps storing cannot delay it for ever.
 */
FL_NODISCARD int filemap_write_and_wait_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/* The same of all pages of the vnode. */
FL_NODISCARD int sync_blockdev(struct vnode *vnode);
/*
 * filemap_write_and_wait_range of the vnode's object (NULL: none yet), and the store's flush: the bytes are
 * on stable storage. Also returns an error of an earlier write-back that `since` was not told of, and tells
 * it. since NULL: only errors during the call.
 */
FL_NODISCARD int vfs_fsync_range(struct vnode *vnode, struct vm_object *object, vm_pindex_t start,
                                 vm_pindex_t end, errseq_t *since);
/*
 * For page-out: starts to write m, which is dirty, not busy, not in write-back and not held, and its dirty
 * neighbours, as one transfer. Returns how many pages. When a page is clean it goes to the head of the
 * inactive queue, if it is on a queue. (O) held on entry, not on return.
 */
FL_NODISCARD uint32_t pageout_cluster(struct vm_page *m, struct blk_plug *plug);

#endif
