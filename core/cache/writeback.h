/*
 * writeback.h: dirty pages of a file back to its store.
 *
 *   dirty ──write-protect, undirty, PG_WRITEBACK──▶ store ──▶ clean
 *     ▲───────────── failed: dirty again, PG_WRITEERROR ◀──┘
 *
 * Walks the radix tree's dirty marks only. Runs of neighbours go as one transfer.
 */
#ifndef CORE_CACHE_WRITEBACK_H
#define CORE_CACHE_WRITEBACK_H

#include "vm/vm_object.h"

/*
 * Writes the pages of [start, end) of a file object that are dirty now, and waits for these writes. Goes on
 * after an error and returns the first. A page dirtied meanwhile is left for the next time (to-write mark),
 * so a busy writer cannot hold it for ever. No lock held.
 */
FL_NODISCARD int filemap_write_and_wait_range(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/*
 * filemap_write_and_wait_range of the vnode's object, NULL: none yet, and the store's flush: what was written
 * there is on stable storage. Also tells of write-backs that failed since somebody was told last. No lock
 * held.
 */
FL_NODISCARD int vfs_fsync_range(struct vnode *vnode, struct vm_object *object, vm_pindex_t start,
                                 vm_pindex_t end);
/*
 * For writers: when too many pages of files are dirty and the object has its share of them, writes those of
 * the object. Errors are remembered with its vnode. No lock held.
 */
void balance_dirty_pages(struct vm_object *object);
/*
 * For the page daemon: writes m, which is dirty, and the dirty neighbours around it, as one transfer. (O)
 * held on entry, not on return. Errors: the store's.
 */
FL_NODISCARD int pageout_cluster(struct vm_page *m);

#endif
