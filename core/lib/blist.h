/*
 * blist.h: the free map of a space of slots, such as those of a swap file: a radix tree of bitmaps.
 *
 *   level 2            [first best last]         a node sums up the 16 below it: the free run that it
 *   level 1      [f b l]  [f b l]  …  [f b l]    begins with, its longest one, and the one that it
 *   level 0   [f b l][f b l] … [f b l]           ends with, each counted up to 32
 *   words     |0110…|1111…| … |0000…|            bit set: the slot is free; 64 slots a word
 *
 * A run of up to 32 slots lies in one word or in two neighbours. So `best` says whether a node has one of
 * `count` slots inside; the `last` of a node and the `first` of the next say whether one lies across both. An
 * allocation finds a run exactly when there is one, and looks at no more than 16 nodes of each level on its
 * way up, and again on its way down.
 *
 * Allocation is next-fit: it takes the first run at or behind the end of the previous one, and begins again
 * at slot 0 when there is none. So what is allocated one after the other lies together.
 *
 * Invariants: BL1 a slot that is freed exists and is in use, and one that is allocated is free. BL2 `avail`
 * is the number of free slots. BL3 a node says what the words below it say. BL4 the space never shrinks,
 * stays within what its memory was made for, and has no free slot behind its end. BL5 a run has 1 to
 * BLIST_RUN_MAX slots.
 *
 * Lock: none of its own; the caller's guards the whole map. Does not do: shrinking, runs of more than 32
 * slots, saying who owns a slot. (subr_blist, BSD.)
 */
#ifndef CORE_LIB_BLIST_H
#define CORE_LIB_BLIST_H

#include <faultline/types.h>

#define BLIST_RUN_MAX 32
#define BLIST_NONE    UINT64_MAX

struct blist; /* in memory of the caller */

/* Returns how many bytes a map of at most nslots slots takes. */
FL_NODISCARD size_t blist_bytes(uint64_t nslots);
/*
 * Makes a map in blist_bytes(nslots) bytes of memory, which are zeroed and 8-byte aligned. No slot exists
 * before blist_grow. Memory is touched only as slots come into being.
 */
FL_NODISCARD struct blist *blist_init(void *memory, uint64_t nslots);
/* The slots [0, nslots) exist now; new ones are free. nslots is at least what it was, and at most what the
 * map was made for. O(new slots). */
void blist_grow(struct blist *bl, uint64_t nslots);
/* Returns the first slot of a run of `count` slots, which are in use now; 1 <= count <= BLIST_RUN_MAX.
 * BLIST_NONE: there is no such run. O(log n). */
FL_NODISCARD uint64_t blist_alloc(struct blist *bl, uint32_t count);
/* Frees [slot, slot + count), all of which are in use; they need not have been allocated together. O(log n +
 * count). */
void blist_free(struct blist *bl, uint64_t slot, uint32_t count);
/* Returns how many slots are free. */
FL_NODISCARD uint64_t blist_avail(const struct blist *bl);
/* Returns how many nodes all allocations so far have looked at. For tests. */
FL_NODISCARD uint64_t blist_visits(const struct blist *bl);
/* Panics unless BL2, BL3 and BL4 hold. O(n). */
void blist_check(const struct blist *bl);

#endif
