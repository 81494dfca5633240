/*
 * writeback.h: dirty pages of a file back to its store.
 *
 *   dirty ──write-protect, undirty, PG_WRITEBACK──▶ store ──▶ clean
 *     ▲───────────── failed: dirty again, PG_WRITEERROR ◀──┘    the error is the vnode's (wb_err)
 *
 * Walks the radix tree's marks only: dirty, or to-write. Runs of neighbours go as one transfer; many
 * transfers are on their way at a time.
 *
 * All are called with no lock held unless they say otherwise, by someone who has a reference to the vnode or
 * the object.
 * Errors of writes: those of the vnode's that failed during the call, whosever they were: what was written
 * may not be there. Whether somebody is told of them elsewhere does not matter here; vfs_fsync_range is
 * where cursors (errseq.h) come in.
 */
#ifndef CORE_FILE_WRITEBACK_H
#define CORE_FILE_WRITEBACK_H

#include "lib/errseq.h"
#include "vm/vm_object.h"

struct blk_plug;
struct vnode;

enum writeback_sync_modes {
    WB_SYNC_NONE, /* what is busy, in write-back or held is passed over */
    WB_SYNC_ALL,  /* all that is dirty when it begins is written, in a write that begins later */
};

/* What to write. (struct writeback_control, Linux.) */
struct writeback_control {
    enum writeback_sync_modes sync_mode;
    vm_pindex_t range_start, range_end; /* pages [range_start, range_end) */
    bool range_cyclic;                  /* all of the file instead, from where such a write stopped last */
    bool spare_failed; /* pages whose last write failed are left to others, who do not do it at each store */
    uint32_t nr_to_write; /* pages, of WB_SYNC_NONE: counted down; that many, and what is left of a run */
};

/* Starts the writes; waits only where it must to get on, or where enough are on their way. */
void do_writepages(struct vm_object *object, struct writeback_control *wbc);
/* The same of [start, end); WB_SYNC_NONE starts to write what is dirty and not in use. */
void __filemap_fdatawrite_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end,
                                enum writeback_sync_modes sync_mode);
/* Waits for the writes of pages of [start, end) that are on their way. */
void filemap_fdatawait_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/* An error of a write-back of the vnode since vnode->wb_failures was `before`; 0: none. */
FL_NODISCARD int filemap_check_errors(struct vnode *vnode, uint32_t before);
/*
 * Writes the pages of [start, end) that are dirty now, and waits for these writes. A page that is dirtied
 * meanwhile is left for the next time (to-write mark), so a busy writer cannot hold it for ever.
 */
FL_NODISCARD int filemap_write_and_wait_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/* The same of all pages of the vnode's object, if it has one. */
FL_NODISCARD int sync_blockdev(struct vnode *vnode);
/*
 * filemap_write_and_wait_range of the vnode's object, NULL: none yet, and the store's flush: what was written
 * there is on stable storage. Tells `since` also of write-backs that failed before; NULL: nobody.
 */
FL_NODISCARD int vfs_fsync_range(struct vnode *vnode, struct vm_object *object, vm_pindex_t start,
                                 vm_pindex_t end, errseq_t *since);
/*
 * For the page daemon: starts to write m, which is dirty and nobody's, and the dirty neighbours around it, as
 * one transfer. Returns how many pages: each goes to the head of the inactive queue, if it is on it, when it
 * is clean. (O) held on entry, not on return.
 */
FL_NODISCARD uint32_t pageout_cluster(struct vm_page *m, struct blk_plug *plug);

#endif
