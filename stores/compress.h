/*
 * compress.h: the compressed tier: a store that keeps pages compressed in memory, in front of another store.
 *
 *   the core ─▶ compress ─┬─ one word repeated ─────────────▶ the word
 *                         ├─ compresses to 3/4 or less ─────▶ zpool: frames of the budget
 *                         │                                     │ writeback of the oldest, when it is full
 *                         │                                     ▼
 *                         └─ does not ──────────────────────▶ the store below: a swap file
 *
 * For a swap space: what is held in memory is lost with the process, and `flush` cannot change that. The
 * memory comes out of the VM's budget (fl_frames_take). The pool is full when it is at its bound, or when no
 * frame can be had. (zswap, Linux.)
 */
#ifndef STORES_COMPRESS_H
#define STORES_COMPRESS_H

#include <faultline/store.h>

/*
 * Opens the tier in front of `below`, which belongs to it from then on, and is as long as it is now. A
 * transfer is of whole pages; `discard` frees what is held. pool_max_bytes: of memory for compressed pages;
 * the table, 17 bytes a page, and buffers of some 300 KB (1.6 MB for a pool of 128 MiB) come in addition.
 *
 * Context: the VM is booted. fl_vm_halt, which closes a swap space, may close it. Errors, and the caller
 * still owns the store below: -EINVAL (its length is not of whole pages, 0, or more than 16 TiB; a pool of
 * less than 16 KiB), -EACCES (it is read_only), -ENOMEM (no addresses, or no frames for the buffers), those
 * of its `size`.
 */
FL_NODISCARD int compress_open(struct store *below, uint64_t pool_max_bytes, struct store **store);

/* What the tier does. Pages; "now" at the moment of the call, the others only grow. */
struct compress_stats {
    uint64_t words;      /* now: pages of one word */
    uint64_t pieces;     /* now: other pages that are held … */
    uint64_t bytes;      /* now: … how many bytes they are, compressed */
    uint64_t frames;     /* now: of the budget, for all of it */
    uint64_t dense;      /* pages that went below because they do not compress */
    uint64_t full;       /* … because there was no room, and writeback made none */
    uint64_t writebacks; /* pages that writeback wrote below */
};
void compress_stats(struct store *store, struct compress_stats *stats);
/* Panics unless the tier's invariants hold (compress_slots.h). Context: no transfer is under way. */
void compress_check(struct store *store);

#endif
