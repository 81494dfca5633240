/*
 * lru.h: batches of page-queue operations, so that the queues' lock is taken once for many pages.
 *
 *   lru_cache_add, activate_page, deactivate_page, deactivate_file_page, mark_page_lazyfree,
 *   rotate_reclaimable_page ─▶ pagevec of (slot, kind) ──full, or lru_add_drain──▶ the queues, under (Q)
 *
 * "Per CPU" is per slot: a thread hashes to one of LRU_SLOTS, whose lock (L) is a leaf above (Q) only. A page
 * in a batch has no reference: its descriptor says what is still to be done with it (lru_op), and whoever
 * takes the page off the queues for good clears that; a stale entry of a batch then does nothing.
 * (mm/swap.c, Linux; vm_batchqueue, FreeBSD.)
 *
 * Locks: (O) → (L) → (Q).
 */
#ifndef CORE_VM_LRU_H
#define CORE_VM_LRU_H

#include "vm/vm_page.h"

void lru_startup(void);

/* All with the page's object locked (O); nothing happens to a wired page: it has no place in the queues. */
void lru_cache_add(struct vm_page *m);   /* new: inactive, at the tail; nothing if it is not new */
void activate_page(struct vm_page *m);   /* active, at the tail, new or not */
void deactivate_page(struct vm_page *m); /* active → inactive, at the tail (MADV_COLD); forgets its use */
void deactivate_file_page(struct vm_page *m);    /* not wanted: inactive, at the head; dirty: at the tail */
void mark_page_lazyfree(struct vm_page *m);      /* MADV_FREE: inactive, at the head */
void rotate_reclaimable_page(struct vm_page *m); /* its write-back is over: if inactive, to the head */

/*
 * m is inactive, and page-out had it and could not have its object: it goes behind the others for now,
 * and back to the head with the next drain. In two steps, for a batch is not filled under (Q): the first
 * says whether the second is to be called, and needs no (O) because m is on a queue.
 */
FL_NODISCARD bool lru_pass_over(struct vm_page *m) FL_REQUIRES(vm_queues.lock);
void lru_passed_over(struct vm_page *m);

/* Is m dirty, without a place to be written to? Page-out need not look at it. (O). */
FL_NODISCARD bool page_homeless(const struct vm_page *m);

/*
 * A fault or a read has used m, new or not. Inactive and never used: PL_REFERENCED. Inactive and
 * PL_REFERENCED, or tested by page-out: active. Active: PL_REFERENCED, which gives it another round there,
 * and no queue is touched. The first use of what was read along with others (PG_AHEAD) is what it was read
 * for, and no sign. What has no place to go, a dirty anonymous page, is active at once. (O).
 */
void mark_page_accessed(struct vm_page *m);

/* Does what the calling thread's slot has collected / what all have. No lock but (O)s held. */
void lru_add_drain(void);
void lru_add_drain_all(void);

/* One reader less of each of npages pages of one object, which stay where they are. (O); takes no other. */
void release_pages(struct vm_page **pages, uint32_t npages);

#endif
