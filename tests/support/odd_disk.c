/*
 * odd_disk.c: see odd_disk.h.
 *
 *   waiting:  submit ─▶ list ─ wait, the first that finds it ─▶ moved by the disk ─▶ done
 *                                others that wait sleep until it is off the list
 *
 * One host thread runs all fibers, so the list needs no lock.
 */
#include "support/odd_disk.h"
#include "sim/sim.h"
#include <stdlib.h>

#define ODD_POLL_NS 1000 /* simulated */

struct odd_disk;

struct odd_transfer {
    struct odd_transfer *next;
    struct store_request *request;
    struct store_request inner; /* what the disk moves */
    bool taken, done;
    int error;
};

struct odd_disk {
    struct store store;  /* first */
    struct store *inner; /* the disk's */
    struct odd_transfer *first;
};

static struct odd_disk *odd_of(struct store *store)
{
    return (struct odd_disk *)store;
}

static void inner_done(struct store_request *inner, int error)
{
    struct odd_transfer *t = (struct odd_transfer *)((char *)inner - offsetof(struct odd_transfer, inner));

    t->error = error;
    t->done = true;
}

/* Has the disk do it, and returns when it has. */
static int transfer(struct odd_disk *odd, struct odd_transfer *t)
{
    t->inner = *t->request;
    t->inner.done = inner_done;
    odd->inner->ops->submit(odd->inner, &t->inner);
    while (!t->done)
        odd->inner->ops->wait(odd->inner, &t->inner);
    return t->error;
}

static void odd_submit_now(struct store *store, struct store_request *request)
{
    struct odd_transfer t = {.request = request};

    request->done(request, transfer(odd_of(store), &t));
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

static struct odd_transfer *find(struct odd_disk *odd, const struct store_request *request)
{
    struct odd_transfer *t = odd->first;

    while (t != NULL && t->request != request)
        t = t->next;
    return t;
}

/* A request that is not in the list has ended; one at its address may be another's by then, and ends as
 * well. */
static void odd_wait(struct store *store, struct store_request *request)
{
    struct odd_disk *odd = odd_of(store);
    struct odd_transfer *t = find(odd, request), **link = &odd->first;

    if (t == NULL)
        return;
    if (t->taken) {
        while ((t = find(odd, request)) != NULL && t->taken)
            sim_sleep_ns(ODD_POLL_NS);
        return;
    }
    t->taken = true;
    (void)transfer(odd, t);
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
    struct odd_disk *odd = odd_of(store);

    if (odd->first != NULL)
        machine_panic("odd_disk: closed with transfers that nobody waited for");
    odd->inner->ops->close(odd->inner);
    free(odd);
}

static const struct store_ops now_ops = {
    .name = "odd disk, in submit",
    .submit = odd_submit_now,
    .size = odd_size,
    .flush = odd_flush,
    .close = odd_close,
    .truncate = odd_truncate,
    .punch = odd_punch,
    .allocate = odd_allocate,
    .room = odd_room,
};

static const struct store_ops later_ops = {
    .name = "odd disk, in wait",
    .submit = odd_submit_later,
    .wait = odd_wait,
    .size = odd_size,
    .flush = odd_flush,
    .close = odd_close,
    .truncate = odd_truncate,
    .punch = odd_punch,
    .allocate = odd_allocate,
    .room = odd_room,
};

struct store *odd_disk_open(struct sim_disk *disk, enum odd_store_when when)
{
    struct odd_disk *odd = calloc(1, sizeof(*odd));

    if (odd == NULL)
        abort();
    odd->inner = sim_disk_open(disk, false);
    odd->store = *odd->inner;
    odd->store.ops = when == ODD_IN_SUBMIT ? &now_ops : &later_ops;
    return &odd->store;
}
