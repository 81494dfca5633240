/*
 * odd_store.c: transfers that end within submit, or not before somebody waits.
 */
#include "support/odd_store.h"
#include "support/boot.h"

#include <stdlib.h>
#include <string.h>

#define ODD_PENDING 64

struct odd {
    struct store store;
    uint32_t npages;
    struct store_request *pending[ODD_PENDING];
};

static void odd_transfer(struct store_request *request)
{
    for (uint32_t i = 0; request->op == STORE_READ && i < request->npages; i++)
        memset(request->addr[i], (int)(atop(request->offset) + i), VM_PAGE_SIZE);
    request->done(request, 0);
}

static void odd_submit_now(struct store *store, struct store_request *request)
{
    (void)store;
    sim_sleep_ns(10000);
    odd_transfer(request);
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
        odd_transfer(request);
        return;
    }
}

static int odd_size(struct store *store, uint64_t *len_bytes)
{
    *len_bytes = ptoa(((struct odd *)store)->npages);
    return 0;
}

static int odd_flush(struct store *store)
{
    (void)store;
    return 0;
}

static void odd_close(struct store *store)
{
    free(store);
}

static const struct store_ops now_ops = {
    .name = "odd, in submit",
    .submit = odd_submit_now,
    .size = odd_size,
    .flush = odd_flush,
    .close = odd_close,
};

static const struct store_ops later_ops = {
    .name = "odd, in wait",
    .submit = odd_submit_later,
    .wait = odd_wait,
    .size = odd_size,
    .flush = odd_flush,
    .close = odd_close,
};

struct store *odd_store(uint32_t npages, enum odd_store_when when)
{
    struct odd *odd = calloc(1, sizeof *odd);
    if (odd == NULL)
        abort();
    odd->store.ops = when == ODD_IN_SUBMIT ? &now_ops : &later_ops;
    odd->npages = npages;
    return &odd->store;
}
