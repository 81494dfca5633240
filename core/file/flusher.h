/*
 * flusher.h: which files have dirty pages, and who writes them when nobody asks.
 *
 *   first page dirty ─▶ b_dirty, by dirtied_when ──old, or too much is dirty──▶ flusher ─▶ do_writepages
 *                            ▲──────────── still dirty: as if from now on ──────────┘
 *
 *   pages     0 ──────── dirty_background ──────────── dirty_max ──────────▶
 *             by age     the flusher writes            so does whoever dirties more
 *
 * Lock: (W) wb.lock, a leaf but for the machine's; after (O). A vnode is found on the list without a
 * reference to it: I_SYNC is what its end waits for.
 * Invariants: W3 a vnode is on the list when its state says I_DIRTY, and whenever it has dirty pages, but
 * for one that ends (I_FREEING). W4 the list is in the order of dirtied_when.
 * (fs/fs-writeback.c and mm/page-writeback.c, Linux: the names are theirs.)
 */
#ifndef CORE_FILE_FLUSHER_H
#define CORE_FILE_FLUSHER_H

#include "vm/vm_object.h"

struct vnode;

/* vnode.i_state */
#define I_DIRTY   0x1 /* on the list */
#define I_SYNC    0x2 /* the flusher is at it */
#define I_FREEING 0x4 /* ends: on no list any more */

/*
 * Pages, and ns; 0: chosen for nframes pages. Errors: -EINVAL: not background <= max <= nframes.
 */
FL_NODISCARD int flusher_startup(uint32_t nframes, uint32_t background, uint32_t max, uint64_t expire_ns);
/* The vnode's first page became dirty. (O) of its object. */
void __mark_inode_dirty(struct vnode *vnode);
/* The vnode ends: the flusher is not at it, and never will be again. No lock held. */
void inode_wait_for_writeback(struct vnode *vnode);

/* Wakes the flusher to write what is too much. Any lock. */
void wb_wakeup(void);
/* Makes fl_writeback_run return soon. */
void flusher_stop(void);

/* Pages of files that may be dirty before anybody does something about it. Set at boot. */
extern uint32_t dirty_background_thresh;

/* Is balance_dirty_pages worth a call? */
static inline bool dirty_pages_over(void)
{
    return atomic_load_explicit(&vm_page_dirty_files, memory_order_relaxed) > dirty_background_thresh;
}
/*
 * Somebody has dirtied a page of the object: when too much is dirty, wakes the flusher, and when far too much
 * is and the object has its share of it, writes some of the object. What fails stays dirty and is told by
 * fsync. No lock held; the caller has a reference.
 */
void balance_dirty_pages(struct vm_object *object);
/*
 * The same, for who must not sleep: wakes the flusher, and says whether balance_dirty_pages would write. (O).
 */
FL_NODISCARD bool balance_dirty_writes(const struct vm_object *object);

void flusher_check(void); /* W3, W4. Context: nothing else runs. */

#endif
