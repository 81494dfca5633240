/*
 * memory_store.c: see memory_store.h.
 */
#include "support/memory_store.h"
#include <faultline/types.h>

#include <errno.h>
#include <faultline/types.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 512

struct memory_store {
    struct store store; /* first */
    uint64_t len_bytes;
    uint8_t *bytes; /* len_bytes, or NULL: page i is full of the byte i */
};

/* How many of the len_bytes at offset lie in the file. */
static size_t in_file(const struct memory_store *memory, uint64_t offset, size_t len_bytes)
{
    if (offset >= memory->len_bytes)
        return 0;
    return memory->len_bytes - offset < len_bytes ? (size_t)(memory->len_bytes - offset) : len_bytes;
}

static void submit(struct store *store, struct store_request *request)
{
    struct memory_store *memory = (struct memory_store *)store;

    for (uint32_t i = 0; i < request->npages; i++) {
        size_t start, len_bytes = store_request_piece(request, i, &start);
        uint64_t page = trunc_page(request->offset) + ptoa(i);
        size_t n = in_file(memory, page + start, len_bytes);
        uint8_t *bytes = (uint8_t *)request->addr[i] + start;

        if (memory->bytes == NULL && request->op == STORE_READ)
            memset(bytes, (int)atop(page), len_bytes);
        if (memory->bytes == NULL)
            continue;
        if (request->op == STORE_WRITE) {
            memcpy(memory->bytes + page + start, bytes, n);
        } else {
            memcpy(bytes, memory->bytes + page + start, n);
            memset(bytes + n, 0, len_bytes - n);
        }
    }
    request->done(request, 0);
}

static int size(struct store *store, uint64_t *len_bytes)
{
    *len_bytes = ((struct memory_store *)store)->len_bytes;
    return 0;
}

static int flush(struct store *store)
{
    (void)store;
    return 0;
}

static int truncate_to(struct store *store, uint64_t len_bytes)
{
    struct memory_store *memory = (struct memory_store *)store;

    if (memory->bytes == NULL)
        return -EOPNOTSUPP;
    uint8_t *bytes = calloc(1, len_bytes + 1);
    if (bytes == NULL)
        abort();
    memcpy(bytes, memory->bytes, in_file(memory, 0, len_bytes));
    free(memory->bytes);
    memory->bytes = bytes;
    memory->len_bytes = len_bytes;
    return 0;
}

static int punch(struct store *store, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct memory_store *memory = (struct memory_store *)store;

    if (memory->bytes == NULL)
        return -EOPNOTSUPP;
    memset(memory->bytes + offset, 0, in_file(memory, offset, len_bytes));
    return 0;
}

static void close_store(struct store *store)
{
    free(((struct memory_store *)store)->bytes);
    free(store);
}

static const struct store_ops memory_store_ops = {
    .name = "memory",
    .submit = submit,
    .size = size,
    .flush = flush,
    .close = close_store,
    .truncate = truncate_to,
    .punch = punch,
};

static struct memory_store *create(uint64_t len_bytes)
{
    struct memory_store *memory = calloc(1, sizeof(*memory));

    if (memory == NULL)
        abort();
    memory->store.ops = &memory_store_ops;
    memory->len_bytes = len_bytes;
    return memory;
}

struct store *memory_store_pattern(uint32_t npages)
{
    return &create(ptoa(npages))->store;
}

struct store *memory_store_zeros(uint64_t len_bytes)
{
    struct memory_store *memory = create(len_bytes);

    memory->store.block_bytes = BLOCK_BYTES;
    memory->bytes = calloc(1, len_bytes + 1);
    if (memory->bytes == NULL)
        abort();
    return &memory->store;
}
