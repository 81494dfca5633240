/*
 * swap_pager.h: the pager of anonymous memory: dirty pages go to slots of the swap space, and come back. So
 * do those of files without a store (file/shmem.c).
 *
 *   object ──swap (tree by index)──▶ block of SWAP_META_PAGES neighbours ──slot[]──▶ swap space (a store)
 *
 *   a page                     its slot
 *   never written              none: an absent page is zeros, or what is behind the object
 *   being written              the one that is written to
 *   clean, or absent           where its bytes are; SWAP_ZERO: they are zeros, and nothing was written
 *   dirty                      none: what was stored is newer
 *
 * Invariants: SW1 a slot in use belongs to one page of one object; the number of slots in use is the number
 * that the objects have. SW2 a dirty page that is not in write-back has no slot. SW3 a block has a slot. SW4
 * a transfer moves at most a cluster.
 *
 * Locks: (O) for an object's blocks; then (K) swap_space.lock, a leaf, for the free slots. (swap_pager,
 * FreeBSD.)
 *
 * Does not do: choosing pages (vm_pageout.c), compression (a store can do that), taking swap away again.
 */
#ifndef CORE_VM_SWAP_PAGER_H
#define CORE_VM_SWAP_PAGER_H

#include "vm/vm_object.h"

struct readahead_control;
struct vm_pager_plug;

/* Context: boot, after vm_pager_startup. */
void swap_pager_startup(void);

/*
 * Bytes of metadata memory for a swap space of nslots pages: the free map, and the blocks if the pages that
 * are swapped out lie together in groups of 4 or more. Where they lie thinner, some stay in memory.
 */
FL_NODISCARD size_t swap_pager_meta_size(uint64_t nslots);

/* Slots of the swap space, and how many of them are free. Any lock. 0, 0: there is none. */
void swap_pager_count(uint64_t *nslots, uint64_t *nfree);
/* Returns the error of the last write that failed; 0: none has. Any lock. */
FL_NODISCARD int swap_pager_error(void);

/* *pindex: the first page at or behind *pindex that has a slot. False: there is none. (O). */
FL_NODISCARD bool swap_pager_next(const struct vm_object *object, vm_pindex_t *pindex)
    FL_REQUIRES(object->lock);

/* ---- the operations of its row of pagertab (vm_pager.h), also for pages of files (file/shmem.c) ---- */

FL_NODISCARD bool swap_pager_haspage(struct vm_object *object, vm_pindex_t pindex, uint32_t *before,
                                     uint32_t *after) FL_REQUIRES(object->lock);
FL_NODISCARD int swap_pager_getpages(struct vm_object *object, struct vm_page **m, uint32_t count,
                                     uint32_t reqpage);
/* No window: the fault reads the page itself, with the neighbours that were written with it. */
FL_NODISCARD bool swap_pager_readahead(struct readahead_control *ractl, vm_pindex_t pindex, uint32_t npages);
void swap_pager_freespace(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
    FL_REQUIRES(object->lock);
void swap_pager_unswapped(struct vm_page *m);
FL_NODISCARD uint32_t swap_pager_launder(struct vm_page *m, struct vm_pager_plug *plug);
FL_NODISCARD bool swap_pager_full(void);
FL_NODISCARD int swap_pager_last_error(const struct vm_object *object);

/* ---- the space ---- */

/* Closes the swap space, of which all slots are free. Context: fl_vm_halt. */
void swap_pager_shutdown(void);

/* Panics unless SW2 and SW3 hold for the object. Returns how many slots it has. (O). */
FL_NODISCARD uint64_t swap_pager_check(struct vm_object *object) FL_REQUIRES(object->lock);
/* Panics unless `nslots`, of all objects, are in use (SW1). Context: nothing else runs. */
void swap_pager_check_space(uint64_t nslots);

#endif
