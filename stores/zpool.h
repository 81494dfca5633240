/*
 * zpool.h: memory for compressed pages: pieces of a few hundred bytes, packed into frames of the budget.
 *
 *   arena    | chunk 0 | chunk 1 | not in use | chunk 3 | never used ……………
 *
 *   chunk    |header| piece | piece | free ─▶ | piece | … | never used |rest|        16 KiB, 4 frames
 *                             └ all of one size: as many fit as are in it
 *
 *   class n: the chunks that hold n pieces each, and have room ─▶ chunk ⇄ chunk ⇄ chunk
 *
 * A piece of len bytes goes to the class of the largest n of which it still fits: so the classes are as close
 * together as chunks of this size allow, and nothing is left at a chunk's end. Large pieces waste up to 15 %,
 * a piece of 1,300 bytes on average 4 %.
 *
 * A chunk takes its frames from the budget when its first piece comes (fl_frames_take), and gives them back,
 * with its memory, when its last piece goes. The arena is only addresses until then.
 *
 * Lock: the caller's guards the whole pool. Does not do: moving pieces together when many chunks are half
 * empty; saying what the oldest piece is. (zsmalloc, Linux.)
 */
#ifndef STORES_ZPOOL_H
#define STORES_ZPOOL_H

#include <faultline/types.h>

#define ZPOOL_PIECE_MAX 3072 /* bytes; a page that is larger, compressed, is not worth its place */
#define ZPOOL_CLASSES   512
#define ZPOOL_NONE      UINT64_MAX

struct zpool {
    unsigned char *arena;         /* constant */
    uint32_t nchunks_max;         /* constant */
    uint32_t fresh;               /* chunks from here on were never used */
    uint32_t nchunks;             /* that have frames now */
    uint32_t nunused;             /* chunks before `fresh` that have none */
    uint32_t *unused;             /* … their numbers */
    uint32_t head[ZPOOL_CLASSES]; /* class n: a chunk with room, + 1; 0: there is none */
};

/* An empty pool that never has more than max_bytes in frames. Errors: -EINVAL (max_bytes is less than a
 * chunk), -ENOMEM (no addresses). */
FL_NODISCARD int zpool_init(struct zpool *pool, uint64_t max_bytes);
/* Gives everything back; pieces need not have been freed. */
void zpool_fini(struct zpool *pool);
/* Keeps a copy of the len bytes, 1 <= len <= ZPOOL_PIECE_MAX. Returns its handle, or ZPOOL_NONE: the pool is
 * full, or has no frames. */
FL_NODISCARD uint64_t zpool_put(struct zpool *pool, const void *bytes, size_t len);
/* Returns where the piece is, until it is freed, and how long it is. */
FL_NODISCARD const void *zpool_piece(const struct zpool *pool, uint64_t handle);
static inline size_t zpool_piece_len(uint64_t handle)
{
    return handle & 0xffff;
}
void zpool_free(struct zpool *pool, uint64_t handle);
/* Returns how many frames the pool has. */
FL_NODISCARD uint64_t zpool_frames(const struct zpool *pool);

#endif
