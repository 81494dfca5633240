/*
 * memory.c: the store in ordinary memory: len_bytes zeros at first. It is for tests and examples, and is
 * itself the shortest example of a store.
 *
 *   fl_store_memory ─▶ submit: copy, done ─▶ close: gone
 *
 * All the work is done inside submit, so there is no wait. The bytes do not count against the memory limit:
 * they stand for the disk. Lock: each store's `lock`, a leaf, held around every transfer, because the bytes
 * move when the file becomes longer. Memory behind the file's end is zeros.
 */
#include "linux_machine.h"
#include "linux_pool.h"
#include "linux_syscall.h"
#include "stores.h"

#include <errno.h>
#include <faultline/faultline.h>
#include <faultline/machine.h>
#include <faultline/store.h>
#include <sys/mman.h>

#define MEMORY_BLOCK 512 /* bytes; any number would do */

struct store_memory {
    struct store store;
    struct machine_lock lock;
    unsigned char *bytes;  /* (lock) */
    size_t len_bytes;      /* (lock) */
    size_t capacity_bytes; /* (lock) whole pages, at least one */
};

static void memory_submit(struct store *store, struct store_request *request)
{
    struct store_memory *memory = (struct store_memory *)store;
    machine_lock(&memory->lock);
    for (uint32_t i = 0; i < request->npages; i++) {
        size_t start, len = store_request_piece(request, i, &start);
        unsigned char *bytes = (unsigned char *)request->addr[i] + start;
        uint64_t offset = trunc_page(request->offset) + ptoa(i) + start;
        size_t n = store_trim(memory->len_bytes, offset, len);
        if (request->op == STORE_READ) {
            __builtin_memcpy(bytes, memory->bytes + offset, n);
            __builtin_memset(bytes + n, 0, len - n);
        } else {
            __builtin_memcpy(memory->bytes + offset, bytes, n);
        }
    }
    machine_unlock(&memory->lock);
    request->done(request, 0);
}

static int memory_size(struct store *store, uint64_t *len_bytes)
{
    struct store_memory *memory = (struct store_memory *)store;
    machine_lock(&memory->lock);
    *len_bytes = memory->len_bytes;
    machine_unlock(&memory->lock);
    return 0;
}

/* Makes room for len_bytes. */
static int memory_reserve(struct store_memory *memory, uint64_t len_bytes) FL_REQUIRES(memory->lock)
{
    if (len_bytes <= memory->capacity_bytes)
        return 0;
    if (len_bytes > PTRDIFF_MAX - VM_PAGE_SIZE)
        return -EFBIG;
    long bytes = linux_syscall(SYS_mremap, memory->bytes, memory->capacity_bytes, round_page(len_bytes),
                               MREMAP_MAYMOVE);
    if (linux_syscall_failed(bytes))
        return -ENOSPC;
    memory->bytes = (unsigned char *)bytes;
    memory->capacity_bytes = round_page(len_bytes);
    return 0;
}

static int memory_truncate(struct store *store, uint64_t len_bytes)
{
    struct store_memory *memory = (struct store_memory *)store;
    machine_lock(&memory->lock);
    int error = memory_reserve(memory, len_bytes);
    if (error == 0) {
        if (len_bytes < memory->len_bytes)
            __builtin_memset(memory->bytes + len_bytes, 0, memory->len_bytes - len_bytes);
        memory->len_bytes = len_bytes;
    }
    machine_unlock(&memory->lock);
    return error;
}

static int memory_punch(struct store *store, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct store_memory *memory = (struct store_memory *)store;
    machine_lock(&memory->lock);
    __builtin_memset(memory->bytes + offset, 0, store_trim(memory->len_bytes, offset, len_bytes));
    machine_unlock(&memory->lock);
    return 0;
}

static int memory_flush(struct store *store)
{
    (void)store; /* there is nothing more stable than memory here */
    return 0;
}

static void memory_close(struct store *store)
{
    struct store_memory *memory = (struct store_memory *)store;
    linux_syscall(SYS_munmap, memory->bytes, memory->capacity_bytes);
    linux_pool_free(memory);
}

static const struct store_ops memory_ops = {
    .name = "memory",
    .submit = memory_submit,
    .size = memory_size,
    .flush = memory_flush,
    .close = memory_close,
    .truncate = memory_truncate,
    .punch = memory_punch,
};

static int memory_create(size_t len_bytes, struct store **store)
{
    _Static_assert(sizeof(struct store_memory) <= LINUX_POOL_BLOCK, "a store fits into a block");
    struct store_memory *memory = linux_pool_alloc();
    if (memory == NULL)
        return -ENOMEM;
    long bytes = linux_syscall(SYS_mmap, NULL, round_page(len_bytes), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (linux_syscall_failed(bytes)) {
        linux_pool_free(memory);
        return (int)bytes;
    }
    memory->store.ops = &memory_ops;
    memory->store.block_bytes = MEMORY_BLOCK;
    memory->bytes = (unsigned char *)bytes;
    memory->len_bytes = len_bytes;
    memory->capacity_bytes = round_page(len_bytes);
    *store = &memory->store;
    return 0;
}

int fl_store_memory(size_t len_bytes, struct store **store)
{
    if (len_bytes == 0 || len_bytes > SIZE_MAX - VM_PAGE_SIZE)
        return -EINVAL;
    sigset_t saved;
    linux_signals_block(&saved);
    int error = memory_create(len_bytes, store);
    linux_signals_restore(&saved);
    return error;
}
