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
#ifndef CORE_CACHE_LRU_H
#define CORE_CACHE_LRU_H

#include "vm/vm_page.h"

void lru_startup(void);

/* All with the page's object locked (O), the page wired or not (a wired one stays off the queues). */
void lru_cache_add(struct vm_page *m);           /* new: inactive, at the tail */
void activate_page(struct vm_page *m);           /* active, at the tail */
void deactivate_page(struct vm_page *m);         /* active → inactive, at the tail (MADV_COLD) */
void deactivate_file_page(struct vm_page *m);    /* not wanted any more: inactive, at the head unless dirty */
void mark_page_lazyfree(struct vm_page *m);      /* MADV_FREE: inactive, at the head */
void rotate_reclaimable_page(struct vm_page *m); /* its write-back is over: inactive, at the head */

/* Does what the calling thread's slot has collected / what all have. No lock but (O)s held. */
void lru_add_drain(void);
void lru_add_drain_all(void);

/* Lets go of npages holds; those that nobody has any more and that are not in an object are freed. (O). */
void release_pages(struct vm_page **pages, uint32_t npages);

#endif
