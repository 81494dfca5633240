/* below_store.c: an array of pages as a store (below_store.h). */
#include "stores/below_store.h"
#include <faultline/types.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BELOW_WAITS, BELOW_ENDED }; /* store_private[0] */

static struct below_store *below_of(struct store *store)
{
    return (struct below_store *)store;
}

/* Counts the transfer. Returns whether it is to fail. Lock. */
static bool below_count(struct below_store *below, const struct store_request *request)
{
    below->transfers++;
    below->last_npages = request->npages;
    if (request->op == STORE_READ)
        below->pages_read += request->npages;
    else
        below->pages_written += request->npages;
    return below->transfers == below->fail_nth ||
           (below->fail_of_n > 0 && (unsigned)rand_r(&below->seed) % below->fail_of_n == 0);
}

/* Lock. */
static int below_move(struct below_store *below, const struct store_request *request)
{
    if (below_count(below, request))
        return -EIO;
    if (atop(request->offset) + request->npages > below->npages)
        abort();
    for (uint32_t i = 0; i < request->npages; i++) {
        unsigned char *page = below->bytes + request->offset + ptoa(i);
        if (request->op == STORE_READ)
            memcpy(request->addr[i], page, VM_PAGE_SIZE);
        else
            memcpy(page, request->addr[i], VM_PAGE_SIZE);
    }
    return 0;
}

static void below_submit(struct store *store, struct store_request *request)
{
    struct below_store *below = below_of(store);
    if (below->hook != NULL && request->op == STORE_WRITE)
        below->hook(below, request);
    pthread_mutex_lock(&below->lock);
    request->store_private[0] = BELOW_WAITS;
    if (below->slow) {
        while (below->nqueued == BELOW_QUEUE)
            pthread_cond_wait(&below->changed, &below->lock);
        below->queue[below->nqueued++] = request;
        pthread_cond_broadcast(&below->changed);
        pthread_mutex_unlock(&below->lock);
        return;
    }
    int error = below_move(below, request);
    request->store_private[0] = BELOW_ENDED;
    pthread_mutex_unlock(&below->lock);
    if (below->hook != NULL && request->op == STORE_READ)
        below->hook(below, request);
    request->done(request, error);
}

/* The thread of a slow store: any of the transfers that are queued, until it is closed. */
static void *below_thread(void *arg)
{
    struct below_store *below = arg;
    pthread_mutex_lock(&below->lock);
    while (!below->closing || below->nqueued > 0) {
        if (below->nqueued == 0) {
            pthread_cond_wait(&below->changed, &below->lock);
            continue;
        }
        unsigned i = (unsigned)rand_r(&below->seed) % below->nqueued;
        struct store_request *request = below->queue[i];
        below->queue[i] = below->queue[--below->nqueued];
        int error = below_move(below, request);
        pthread_mutex_unlock(&below->lock);
        request->done(request, error);
        pthread_mutex_lock(&below->lock);
        request->store_private[0] = BELOW_ENDED;
        pthread_cond_broadcast(&below->changed);
    }
    pthread_mutex_unlock(&below->lock);
    return NULL;
}

static void below_wait(struct store *store, struct store_request *request)
{
    struct below_store *below = below_of(store);
    pthread_mutex_lock(&below->lock);
    while (request->store_private[0] == BELOW_WAITS)
        pthread_cond_wait(&below->changed, &below->lock);
    pthread_mutex_unlock(&below->lock);
}

static int below_size(struct store *store, uint64_t *len_bytes)
{
    *len_bytes = ptoa(below_of(store)->npages);
    return 0;
}

static int below_flush(struct store *store)
{
    (void)store;
    return 0;
}

static void below_close(struct store *store)
{
    struct below_store *below = below_of(store);
    if (below->slow) {
        pthread_mutex_lock(&below->lock);
        below->closing = true;
        pthread_cond_broadcast(&below->changed);
        pthread_mutex_unlock(&below->lock);
        pthread_join(below->thread, NULL);
    }
    free(below->bytes);
    free(below);
}

static const struct store_ops below_ops = {
    .name = "below",
    .submit = below_submit,
    .wait = below_wait,
    .size = below_size,
    .flush = below_flush,
    .close = below_close,
};

struct below_store *below_store(uint64_t npages, bool slow)
{
    struct below_store *below = calloc(1, sizeof *below);
    if (below == NULL || (below->bytes = calloc(npages, VM_PAGE_SIZE)) == NULL)
        abort();
    below->store.ops = &below_ops;
    below->npages = npages;
    below->slow = slow;
    pthread_mutex_init(&below->lock, NULL);
    pthread_cond_init(&below->changed, NULL);
    if (slow && pthread_create(&below->thread, NULL, below_thread, below) != 0)
        abort();
    return below;
}

struct transfer {
    struct store_request request;
    int error;
};

static void transfer_done(struct store_request *request, int error)
{
    ((struct transfer *)request)->error = error;
}

int store_transfer(struct store *store, enum store_op op, uint64_t page, uint32_t npages, void *bytes)
{
    void *addr[256];
    for (uint32_t i = 0; i < npages; i++)
        addr[i] = (char *)bytes + ptoa((size_t)i);
    struct transfer t = {
        .request = {.op = op,
                    .flags = STORE_REQUEST_WAIT,
                    .offset = ptoa(page),
                    .len_bytes = ptoa((uint64_t)npages),
                    .npages = npages,
                    .addr = addr,
                    .done = transfer_done},
        .error = 1,
    };
    store->ops->submit(store, &t.request);
    if (store->ops->wait != NULL)
        store->ops->wait(store, &t.request);
    if (t.request.npages != npages || t.request.addr != addr || t.request.offset != ptoa(page) ||
        t.request.len_bytes != ptoa((uint64_t)npages))
        abort(); /* the request is not as it was */
    return t.error;
}
