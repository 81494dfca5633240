/*
 * odd_store.c: transfers that end within submit, or not before somebody waits.
 */
#include "support/odd_store.h"
#include "support/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ODD_PENDING 256
#define ODD_BLOCK   512

struct odd {
    struct store store;
    uint64_t len_bytes;
    uint8_t *bytes; /* len_bytes, or NULL: page i is full of the byte i */
    struct store_request *pending[ODD_PENDING];
};

/* How many of the len_bytes at offset lie in the file. */
static size_t odd_trim(const struct odd *odd, uint64_t offset, size_t len_bytes)
{
    if (offset >= odd->len_bytes)
        return 0;
    return odd->len_bytes - offset < len_bytes ? (size_t)(odd->len_bytes - offset) : len_bytes;
}

static void odd_transfer(struct odd *odd, struct store_request *request)
{
    for (uint32_t i = 0; i < request->npages; i++) {
        size_t start, len_bytes = store_request_piece(request, i, &start);
        uint64_t page = trunc_page(request->offset) + ptoa(i);
        size_t n = odd_trim(odd, page + start, len_bytes);
        uint8_t *bytes = (uint8_t *)request->addr[i] + start;
        if (odd->bytes == NULL && request->op == STORE_READ)
            memset(bytes, (int)atop(page), len_bytes);
        if (odd->bytes == NULL)
            continue;
        if (request->op == STORE_WRITE) {
            memcpy(odd->bytes + page + start, bytes, n);
        } else {
            memcpy(bytes, odd->bytes + page + start, n);
            memset(bytes + n, 0, len_bytes - n);
        }
    }
    request->done(request, 0);
}

static void odd_submit_now(struct store *store, struct store_request *request)
{
    sim_sleep_ns(10000);
    odd_transfer((struct odd *)store, request);
    sim_sleep_ns(10000);
}

static void odd_submit_later(struct store *store, struct store_request *request)
{
    struct odd *odd = (struct odd *)store;
    uint32_t i = 0;
    while (odd->pending[i] != NULL)
        if (++i == ODD_PENDING)
            machine_panic("odd_store: more transfers at once than a test has use for");
    odd->pending[i] = request;
}

static void odd_wait(struct store *store, struct store_request *request)
{
    struct odd *odd = (struct odd *)store;
    for (uint32_t i = 0; i < ODD_PENDING; i++) {
        if (odd->pending[i] != request)
            continue;
        odd->pending[i] = NULL;
        odd_transfer(odd, request);
        return;
    }
}

static int odd_size(struct store *store, uint64_t *len_bytes)
{
    *len_bytes = ((struct odd *)store)->len_bytes;
    return 0;
}

static int odd_flush(struct store *store)
{
    (void)store;
    return 0;
}

static int odd_truncate(struct store *store, uint64_t len_bytes)
{
    struct odd *odd = (struct odd *)store;
    if (odd->bytes == NULL)
        return -EOPNOTSUPP;
    uint8_t *bytes = calloc(1, len_bytes + 1);
    if (bytes == NULL)
        abort();
    memcpy(bytes, odd->bytes, odd_trim(odd, 0, len_bytes));
    free(odd->bytes);
    odd->bytes = bytes;
    odd->len_bytes = len_bytes;
    return 0;
}

static int odd_punch(struct store *store, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct odd *odd = (struct odd *)store;
    if (odd->bytes == NULL)
        return -EOPNOTSUPP;
    memset(odd->bytes + offset, 0, odd_trim(odd, offset, len_bytes));
    return 0;
}

static void odd_close(struct store *store)
{
    free(((struct odd *)store)->bytes);
    free(store);
}

static const struct store_ops now_ops = {
    .name = "odd, in submit",
    .submit = odd_submit_now,
    .size = odd_size,
    .flush = odd_flush,
    .close = odd_close,
    .truncate = odd_truncate,
    .punch = odd_punch,
};

static const struct store_ops later_ops = {
    .name = "odd, in wait",
    .submit = odd_submit_later,
    .wait = odd_wait,
    .size = odd_size,
    .flush = odd_flush,
    .close = odd_close,
    .truncate = odd_truncate,
    .punch = odd_punch,
};

static struct odd *odd_create(uint64_t len_bytes, enum odd_store_when when)
{
    struct odd *odd = calloc(1, sizeof *odd);
    if (odd == NULL)
        abort();
    odd->store.ops = when == ODD_IN_SUBMIT ? &now_ops : &later_ops;
    odd->len_bytes = len_bytes;
    return odd;
}

struct store *odd_store(uint32_t npages, enum odd_store_when when)
{
    return &odd_create(ptoa(npages), when)->store;
}

struct store *odd_store_sized(uint64_t len_bytes, enum odd_store_when when)
{
    struct odd *odd = odd_create(len_bytes, when);
    odd->store.block_bytes = ODD_BLOCK;
    odd->bytes = calloc(1, len_bytes + 1);
    if (odd->bytes == NULL)
        abort();
    return &odd->store;
}
