/*
 * zpool.c: memory for compressed pages: chunks of pieces of one size (zpool.h).
 *
 *   handle   | chunk (32 bits) | piece (16) | length (16) |
 *
 *   put ─▶ class ─▶ a chunk with room, else one without frames ─▶ a freed piece, else the next fresh one
 *   free ─▶ the chunk's list of free pieces ─▶ the last one: madvise, fl_frames_give
 *
 * A chunk is on its class's list exactly when it has room. Lock: the caller's.
 */
#include "zpool.h"
#include "linux_syscall.h"

#include <errno.h>
#include <faultline/vm.h>
#include <sys/mman.h>

#define CHUNK_BYTES  16384u
#define CHUNK_FRAMES (CHUNK_BYTES / (uint32_t)VM_PAGE_SIZE)
#define PIECE_MIN    32u
#define PIECE_NONE   UINT16_MAX

struct chunk {
    uint32_t next, prev; /* on the class's list: chunk number + 1; 0: none */
    uint16_t npieces;    /* its class */
    uint16_t nused;
    uint16_t free;  /* the first freed piece, whose first bytes name the next one; PIECE_NONE: none */
    uint16_t fresh; /* pieces from here on were never used */
};
#define CHUNK_ROOM (CHUNK_BYTES - (uint32_t)sizeof(struct chunk))
_Static_assert(CHUNK_ROOM / PIECE_MIN < ZPOOL_CLASSES, "the smallest piece has a class");

static struct chunk *chunk_at(const struct zpool *pool, uint32_t number)
{
    return (struct chunk *)(pool->arena + (size_t)number * CHUNK_BYTES);
}

static uint32_t chunk_number(const struct zpool *pool, const struct chunk *chunk)
{
    return (uint32_t)((size_t)((const unsigned char *)chunk - pool->arena) / CHUNK_BYTES);
}

/* How many pieces of len bytes, which begin at multiples of 8, a chunk holds. */
static uint32_t class_of(size_t len)
{
    uint32_t size = ((uint32_t)len + 7) & ~7u;
    return CHUNK_ROOM / (size < PIECE_MIN ? PIECE_MIN : size);
}

static unsigned char *piece_at(struct chunk *chunk, uint32_t piece)
{
    uint32_t size = CHUNK_ROOM / chunk->npieces & ~7u;
    return (unsigned char *)(chunk + 1) + (size_t)piece * size;
}

/* ---- chunks -------------------------------------------------------------------------------------------- */

static void class_insert(struct zpool *pool, struct chunk *chunk)
{
    uint32_t *head = &pool->head[chunk->npieces];
    chunk->prev = 0;
    chunk->next = *head;
    *head = chunk_number(pool, chunk) + 1;
    if (chunk->next != 0)
        chunk_at(pool, chunk->next - 1)->prev = *head;
}

static void class_remove(struct zpool *pool, struct chunk *chunk)
{
    if (chunk->prev == 0)
        pool->head[chunk->npieces] = chunk->next;
    else
        chunk_at(pool, chunk->prev - 1)->next = chunk->next;
    if (chunk->next != 0)
        chunk_at(pool, chunk->next - 1)->prev = chunk->prev;
}

/* A chunk with room for pieces of class npieces, on its list. NULL: the pool is full, or has no frames. */
static struct chunk *chunk_make(struct zpool *pool, uint32_t npieces)
{
    if (pool->nchunks == pool->nchunks_max || fl_frames_take(CHUNK_FRAMES) != 0)
        return NULL;
    uint32_t number = pool->nunused > 0 ? pool->unused[--pool->nunused] : pool->fresh++;
    struct chunk *chunk = chunk_at(pool, number);
    pool->nchunks++;
    *chunk = (struct chunk){.npieces = (uint16_t)npieces, .free = PIECE_NONE};
    class_insert(pool, chunk);
    return chunk;
}

/* The chunk, on its list, has no piece left. If the kernel keeps its memory (locked by mlockall), it stays
 * there. */
static void chunk_release(struct zpool *pool, struct chunk *chunk)
{
    class_remove(pool, chunk);
    if (linux_syscall(SYS_madvise, chunk, CHUNK_BYTES, MADV_DONTNEED) != 0) {
        class_insert(pool, chunk);
        return;
    }
    pool->unused[pool->nunused++] = chunk_number(pool, chunk);
    pool->nchunks--;
    fl_frames_give(CHUNK_FRAMES);
}

/* ---- pieces -------------------------------------------------------------------------------------------- */

uint64_t zpool_put(struct zpool *pool, const void *bytes, size_t len)
{
    uint32_t npieces = class_of(len), head = pool->head[npieces];
    struct chunk *chunk = head != 0 ? chunk_at(pool, head - 1) : chunk_make(pool, npieces);
    if (chunk == NULL)
        return ZPOOL_NONE;
    uint16_t piece = chunk->free;
    if (piece == PIECE_NONE)
        piece = chunk->fresh++;
    else
        __builtin_memcpy(&chunk->free, piece_at(chunk, piece), sizeof chunk->free);
    __builtin_memcpy(piece_at(chunk, piece), bytes, len);
    if (++chunk->nused == chunk->npieces)
        class_remove(pool, chunk);
    return (uint64_t)chunk_number(pool, chunk) << 32 | (uint64_t)piece << 16 | len;
}

const void *zpool_piece(const struct zpool *pool, uint64_t handle)
{
    return piece_at(chunk_at(pool, (uint32_t)(handle >> 32)), handle >> 16 & 0xffff);
}

void zpool_free(struct zpool *pool, uint64_t handle)
{
    struct chunk *chunk = chunk_at(pool, (uint32_t)(handle >> 32));
    uint16_t piece = handle >> 16 & 0xffff;
    __builtin_memcpy(piece_at(chunk, piece), &chunk->free, sizeof chunk->free);
    chunk->free = piece;
    if (chunk->nused-- == chunk->npieces)
        class_insert(pool, chunk);
    if (chunk->nused == 0)
        chunk_release(pool, chunk);
}

uint64_t zpool_frames(const struct zpool *pool)
{
    return (uint64_t)pool->nchunks * CHUNK_FRAMES;
}

/* ---- the pool ------------------------------------------------------------------------------------------ */

static size_t pool_bytes(uint32_t nchunks_max)
{
    return (size_t)nchunks_max * (CHUNK_BYTES + sizeof(uint32_t));
}

int zpool_init(struct zpool *pool, uint64_t max_bytes)
{
    if (max_bytes < CHUNK_BYTES || max_bytes / CHUNK_BYTES >= UINT32_MAX)
        return -EINVAL;
    uint32_t nchunks_max = (uint32_t)(max_bytes / CHUNK_BYTES);
    long arena = linux_syscall(SYS_mmap, NULL, pool_bytes(nchunks_max), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (linux_syscall_failed(arena))
        return -ENOMEM;
    /* A huge page would take 512 frames where four are counted. Without huge pages the call fails. */
    linux_syscall(SYS_madvise, arena, pool_bytes(nchunks_max), MADV_NOHUGEPAGE);
    __builtin_memset(pool, 0, sizeof *pool);
    pool->arena = (unsigned char *)arena;
    pool->nchunks_max = nchunks_max;
    pool->unused = (uint32_t *)(pool->arena + (size_t)nchunks_max * CHUNK_BYTES);
    return 0;
}

void zpool_fini(struct zpool *pool)
{
    linux_syscall(SYS_munmap, pool->arena, pool_bytes(pool->nchunks_max));
    fl_frames_give((uint32_t)zpool_frames(pool));
}
