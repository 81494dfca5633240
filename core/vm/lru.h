/*
 * lru.h: moves of pages between the page queues, in batches: the queues' lock is taken once for many pages.
 *
 *   lru_cache_add, activate_page, deactivate_page, deactivate_file_page, mark_page_lazyfree,
 *   rotate_reclaimable_page ─▶ pagevec of (slot, kind) ──full, or lru_add_drain──▶ the queues, under (Q)
 *
 * Linux has these batches for each CPU; here a thread hashes to one of LRU_SLOTS slots, each with a lock (L).
 * A page in a batch has no reference. Its descriptor says what a batch has still to do with it (lru_op). Code
 * that takes the page off the queues for good clears that, and a stale entry of a batch then does nothing.
 *
 * Locks: (O), then (L), then (Q). (mm/swap.c, Linux; vm_batchqueue, FreeBSD.)
 */
#ifndef CORE_VM_LRU_H
#define CORE_VM_LRU_H

#include "vm/vm_page.h"

/* Empties all batches. Context: boot. */
void lru_startup(void);

/*
 * Where a page is to go. (O) of its object held; the functions assert it when they move the page. A wired
 * page is on no queue, so they do nothing with one. A page that is on a queue, or on its way to one, is not
 * new.
 */

/* A new page: inactive, at the tail. Nothing if the page is not new. */
void lru_cache_add(struct vm_page *m);
/* Active, at the tail, whether the page is new or not. */
void activate_page(struct vm_page *m);
/* From active to inactive, at the tail (MADV_COLD). Its use is forgotten. */
void deactivate_page(struct vm_page *m);
/* Not wanted any more: inactive, at the head; if it must be written, at the tail until it is. */
void deactivate_file_page(struct vm_page *m);
/* MADV_FREE: inactive, at the head. */
void mark_page_lazyfree(struct vm_page *m);
/* Its write-back has ended: if it is inactive and clean, to the head. */
void rotate_reclaimable_page(struct vm_page *m);

/*
 * Page-out found m at the head of the inactive queue, and could not lock its object. m goes to the tail for
 * now, and back to the head when the batches are drained. This takes two steps, because a batch is not filled
 * under (Q): the first one moves m, and says whether the caller is to call the second one after releasing
 * (Q). (O) is not needed, because m is on a queue.
 */
FL_NODISCARD bool lru_pass_over(struct vm_page *m) FL_REQUIRES(vm_queues.lock);
void lru_passed_over(struct vm_page *m) FL_EXCLUDES(vm_queues.lock);

/* Is m dirty, with no place that it can be written to? Then page-out need not look at it. (O) held. */
FL_NODISCARD bool page_homeless(const struct vm_page *m);

/*
 * A fault or a read has used m, new or not. (O) held. What that means:
 *
 *   inactive, not used before              PL_REFERENCED
 *   inactive, PL_REFERENCED or PG_TESTED   active
 *   active                                 PL_REFERENCED: another round there; no queue changes
 *   homeless                               active
 *
 * The first use of a page that was read together with others (PG_AHEAD) does not count: it was read for that.
 */
void mark_page_accessed(struct vm_page *m);

/* Drain the batches of the calling thread's slot, or of all slots. No lock of the core's is held but (O). */
void lru_add_drain(void);
void lru_add_drain_all(void);

/* Drops one reader of each of pages[0 … npages) of one object; their queues do not change. (O) held. */
void release_pages(struct vm_page **pages, uint32_t npages);

#endif
