/*
 * flusher.h: which files have dirty pages, the thread that writes
 * them, and the brake on threads that dirty more.
 *
 *   first page dirty ─▶ list by dirtied_when ──old, or too much is dirty──▶ flusher ─▶ do_writepages
 *                            ▲────────────── still dirty: as if from now on ────────────┘
 *
 *   dirty pages   0 ────────── background ─────────────────── max ──────────────▶
 *                 old ones     the flusher writes             a thread that dirties more writes, too
 *
 * Locks: (W) wb_lock, after (O); only the machine's locks are taken with it held. The flusher has no
 * reference to the vnode that it writes: it sets I_SYNC, and the end of a vnode waits until that is gone.
 * A file with a mapping through which pages become dirty without a fault is always on the list: each visit
 * begins with a harvest (vm_harvest.h), and so does a turn at all files when too much is dirty.
 *
 * Invariants: WB3 a vnode is on the list exactly when its state says I_DIRTY, and whenever it has dirty
 * pages, unless it ends (I_FREEING). WB4 the list is in the order of dirtied_when. WB5 only the flusher takes
 * a vnode that has not ended off the list, and only when no page of it is dirty or in write-back, or can
 * become dirty without a fault.
 * (fs/fs-writeback.c and mm/page-writeback.c, Linux: the names are theirs.)
 */
#ifndef CORE_FILE_FLUSHER_H
#define CORE_FILE_FLUSHER_H

#include "file/vnode.h"
#include "vm/vm_object.h"

/* vnode.i_state */
#define I_DIRTY   0x1 /* on the list */
#define I_SYNC    0x2 /* the flusher is writing it */
#define I_FREEING 0x4 /* it ends: off the list for good */

/*
 * The limits are in pages, the age in ns; 0: chosen for nframes pages. Context: boot. Errors: -EINVAL: not
 * background <= max <= nframes.
 */
FL_NODISCARD int flusher_startup(uint32_t nframes, uint32_t background, uint32_t max, uint64_t expire_ns);
/*
 * The vnode's first page became dirty, or pages of it become dirty without a fault from now on (`silent`:
 * there is such a mapping). (O) of its object.
 */
void __mark_inode_dirty(struct vnode *vnode, bool silent) FL_EXCLUDES(wb_lock);
/* The vnode ends: when this returns the flusher is not writing it, and never will again. No lock held. */
void inode_wait_for_writeback(struct vnode *vnode) FL_EXCLUDES(wb_lock);

/* Wakes the flusher, because too many pages are dirty. Any lock but (W). */
void wb_wakeup(void) FL_EXCLUDES(wb_lock);
/* Makes fl_writeback_run return soon. */
void flusher_stop(void) FL_EXCLUDES(wb_lock);

/* (c) Dirty pages of files beyond which the flusher writes. */
extern uint32_t dirty_background_thresh;

/* May balance_dirty_pages have something to do? Any lock. */
static inline bool dirty_pages_over(void)
{
    return atomic_load_explicit(&vm_page_dirty_count, memory_order_relaxed) > dirty_background_thresh;
}
/*
 * The caller has dirtied a page of the object. Beyond `background`, wakes the flusher. Beyond `max`, if the
 * object has its share of the dirty pages, writes some of the object's. A page that fails stays dirty, and
 * fsync tells. No lock held; the caller has a reference.
 */
void balance_dirty_pages(struct vm_object *object) FL_EXCLUDES(object->lock);
/* Wakes the flusher, and does not sleep: returns whether balance_dirty_pages would write. (O). */
FL_NODISCARD bool balance_dirty_writes(const struct vm_object *object) FL_REQUIRES(object->lock);

/* WB3, WB4. Context: nothing else runs. */
void flusher_check(void);

#endif
