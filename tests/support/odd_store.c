/*
 * odd_store.c: see odd_store.h.
 *
 *   ODD_IN_WAIT:  submit ─▶ list ─ the first wait ─▶ moved by the inner store ─▶ done ─▶ off the list
 *                                ─ later waits sleep until it is off the list
 *
 * One host thread runs all fibers, so the list needs no lock.
 */
#include "support/odd_store.h"
#include "sim/sim.h"
#include <stdlib.h>

#define ODD_SUBMIT_NS 10000 /* simulated */
#define ODD_POLL_NS   1000

struct odd_transfer {
    struct odd_transfer *next;
    struct store_request *request;
    struct store_request inner; /* what the inner store moves */
    bool taken, done;
    int error;
};

struct odd_store {
    struct store store; /* first */
    struct store_ops ops;
    struct store *inner;
    struct odd_transfer *first;
};

static struct odd_store *odd_of(struct store *store)
{
    return (struct odd_store *)store;
}

static void inner_done(struct store_request *inner, int error)
{
    struct odd_transfer *t = (struct odd_transfer *)((char *)inner - offsetof(struct odd_transfer, inner));

    t->error = error;
    t->done = true;
}

/* Returns when the inner store has moved the bytes. */
static void transfer(struct odd_store *odd, struct odd_transfer *t)
{
    t->inner = *t->request;
    t->inner.done = inner_done;
    odd->inner->ops->submit(odd->inner, &t->inner);
    while (!t->done)
        odd->inner->ops->wait(odd->inner, &t->inner);
}

static void odd_submit_now(struct store *store, struct store_request *request)
{
    struct odd_transfer t = {.request = request};

    sim_sleep_ns(ODD_SUBMIT_NS);
    transfer(odd_of(store), &t);
    request->done(request, t.error);
    sim_sleep_ns(ODD_SUBMIT_NS);
}

static void odd_submit_later(struct store *store, struct store_request *request)
{
    struct odd_transfer *t = calloc(1, sizeof(*t));

    if (t == NULL)
        abort();
    t->request = request;
    t->next = odd_of(store)->first;
    odd_of(store)->first = t;
}

static struct odd_transfer *find(struct odd_store *odd, const struct store_request *request)
{
    struct odd_transfer *t = odd->first;

    while (t != NULL && t->request != request)
        t = t->next;
    return t;
}

/*
 * A request that is not in the list has ended. Its address may hold a new
 * request by then, which ends as well.
 */
static void odd_wait(struct store *store, struct store_request *request)
{
    struct odd_store *odd = odd_of(store);
    struct odd_transfer *t = find(odd, request), **link = &odd->first;

    if (t == NULL)
        return;
    if (t->taken) {
        while ((t = find(odd, request)) != NULL && t->taken)
            sim_sleep_ns(ODD_POLL_NS);
        return;
    }
    t->taken = true;
    transfer(odd, t);
    request->done(request, t->error);
    while (*link != t)
        link = &(*link)->next;
    *link = t->next;
    free(t);
}

static int odd_size(struct store *store, uint64_t *len_bytes)
{
    return odd_of(store)->inner->ops->size(odd_of(store)->inner, len_bytes);
}

static int odd_flush(struct store *store)
{
    return odd_of(store)->inner->ops->flush(odd_of(store)->inner);
}

static int odd_truncate(struct store *store, uint64_t len_bytes)
{
    return odd_of(store)->inner->ops->truncate(odd_of(store)->inner, len_bytes);
}

static int odd_punch(struct store *store, vm_ooffset_t offset, uint64_t len_bytes)
{
    return odd_of(store)->inner->ops->punch(odd_of(store)->inner, offset, len_bytes);
}

static int odd_allocate(struct store *store, vm_ooffset_t offset, uint64_t len_bytes)
{
    return odd_of(store)->inner->ops->allocate(odd_of(store)->inner, offset, len_bytes);
}

static uint64_t odd_room(struct store *store)
{
    return odd_of(store)->inner->ops->room(odd_of(store)->inner);
}

static void odd_close(struct store *store)
{
    struct odd_store *odd = odd_of(store);

    if (odd->first != NULL)
        machine_panic("odd_store: closed before every transfer was waited for");
    odd->inner->ops->close(odd->inner);
    free(odd);
}

struct store *odd_store(struct store *inner, enum odd_store_when when)
{
    struct odd_store *odd = calloc(1, sizeof(*odd));
    bool now = when == ODD_IN_SUBMIT;

    if (odd == NULL)
        abort();
    odd->inner = inner;
    odd->ops = (struct store_ops){
        .name = now ? "odd, in submit" : "odd, in wait",
        .submit = now ? odd_submit_now : odd_submit_later,
        .wait = now ? NULL : odd_wait,
        .size = odd_size,
        .flush = odd_flush,
        .close = odd_close,
        .truncate = inner->ops->truncate != NULL ? odd_truncate : NULL,
        .punch = inner->ops->punch != NULL ? odd_punch : NULL,
        .allocate = inner->ops->allocate != NULL ? odd_allocate : NULL,
        .room = inner->ops->room != NULL ? odd_room : NULL,
    };
    odd->store = *inner;
    odd->store.ops = &odd->ops;
    return &odd->store;
}
