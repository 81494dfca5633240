/*
 * linux_pool.c: small blocks of memory (linux_pool.h).
 *
 *   chunk (64 KiB, mmap)   | block | block | block | …
 *   free ─▶ block ─▶ block ─▶ NULL
 *
 * Chunks are never given back: there are as many blocks as files were ever open at the same time, and the
 * next files use them again. Lock: pool_lock, innermost; only the kernel is called with it held.
 */
#include "linux_pool.h"
#include "linux_syscall.h"

#include <faultline/machine.h>
#include <sys/mman.h>

#define POOL_CHUNK ((size_t)64 << 10)

static struct machine_lock pool_lock;

struct pool_block {
    struct pool_block *next FL_GUARDED_BY(pool_lock);
    unsigned char rest[LINUX_POOL_BLOCK - sizeof(void *)];
};

static struct pool_block *pool_free FL_GUARDED_BY(pool_lock);

static bool pool_grow(void) FL_REQUIRES(pool_lock)
{
    long chunk =
        linux_syscall(SYS_mmap, NULL, POOL_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (linux_syscall_failed(chunk))
        return false;
    struct pool_block *block = (struct pool_block *)chunk;
    for (size_t i = 0; i < POOL_CHUNK / LINUX_POOL_BLOCK; i++) {
        block[i].next = pool_free;
        pool_free = &block[i];
    }
    return true;
}

void *linux_pool_alloc(void)
{
    machine_lock(&pool_lock);
    struct pool_block *block = NULL;
    if (pool_free != NULL || pool_grow()) {
        block = pool_free;
        pool_free = block->next;
    }
    machine_unlock(&pool_lock);
    if (block != NULL)
        __builtin_memset(block, 0, sizeof(*block));
    return block;
}

void linux_pool_free(void *address)
{
    struct pool_block *block = address;
    machine_lock(&pool_lock);
    block->next = pool_free;
    pool_free = block;
    machine_unlock(&pool_lock);
}
