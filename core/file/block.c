/*
 * block.c: the block layer: block.h has the picture.
 *
 *   blk_finish_plug   for each store: take its bios ─▶ sort ─▶ merge neighbours ─▶ submit_batch ─▶ started
 *   a merged request  blk_request_done ─ 0 ─▶ end_io of each bio
 *                                      └ error ─▶ each bio alone (bio_alone_done ─▶ end_io)
 *   bio_wait          the end of the merged request ─▶ if it failed, the end of the bio that goes alone now
 *
 * A merged request has memory of its own. It lives until all its bios have ended and no thread waits for it:
 * `refs` counts both. Without memory for it the bios go unmerged.
 *
 * Invariants BI1, BI2: block.h.
 * Locks: (B) blk_lock, taken for merged requests only, with no other
 * lock held. A waiter sleeps on its request's address.
 *
 * Does not do: which pages, and what becomes of them (transfer.c, buffer.c, direct.c); ordering between bios:
 * a thread that needs one bio before another waits in between.
 */
#include "file/block.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/vm_meter.h"

#define BLK_PLUG_MAX 64 /* bios in a plug */

struct blk_request {
    struct store_request store;
    struct bio *first; /* (c) its bios by offset, chained by next */
    uint32_t refs;     /* (B) bios that have not ended, threads in bio_wait, and the thread that splits it */
    bool over;         /* (B) the store is done with it, and its bios have ended or were started alone */
    void *addr[MACHINE_RUN_MAX];
};

/* One store's bios on their way out of a plug. */
struct blk_batch {
    struct bio *bio[BLK_PLUG_MAX];
    struct store_request *request[BLK_PLUG_MAX];
    uint32_t nbios, nrequests;
};

static struct vm_lock blk_lock; /* (B) */
static struct vm_zone blk_zone;

void blk_startup(void)
{
    blk_lock = (struct vm_lock){0};
    vm_zone_init(&blk_zone, "merged request", sizeof(struct blk_request));
}

/* ---- a bio alone --------------------------------------------------------------------------------------- */

/* Drops one of the request's refs; the last one frees it. */
static void blk_request_release(struct blk_request *req)
{
    vm_lock(&blk_lock);
    KASSERT(req->refs > 0, "BI2");
    bool last = --req->refs == 0;
    vm_unlock(&blk_lock);
    if (last)
        vm_zone_free(&blk_zone, req);
}

/* A bio's own request has ended; it may have been part of a merged one before. Any thread, no lock held. */
static void bio_alone_done(struct store_request *store, int error)
{
    struct bio *bio = (struct bio *)((char *)store - offsetof(struct bio, own));
    struct blk_request *req = bio->request; /* no other thread changes it now */
    if (req != NULL) {
        vm_lock(&blk_lock);
        bio->request = NULL;
        vm_unlock(&blk_lock);
        blk_request_release(req);
    }
    bio->end_io(bio, error);
}

/* The bio's own request. wait: the caller waits for it at once. */
static struct store_request *bio_alone(struct bio *bio, bool wait)
{
    bio->own = (struct store_request){
        .op = bio->op,
        .flags = wait ? STORE_REQUEST_WAIT : 0,
        .offset = bio->offset,
        .len_bytes = bio->len_bytes,
        .npages = bio->npages,
        .addr = bio->addr,
        .done = bio_alone_done,
    };
    return &bio->own;
}

/* ---- merged requests ----------------------------------------------------------------------------------- */

/*
 * The request failed: each bio is tried alone, so that only the bios that fail get the error. Without
 * STORE_REQUEST_WAIT, because the thread that ends a request does not wait for the bios.
 */
static void blk_request_split(struct blk_request *req)
{
    struct bio *next;
    vm_lock(&blk_lock);
    req->refs++; /* this function's */
    vm_unlock(&blk_lock);
    for (struct bio *bio = req->first; bio != NULL; bio = next) {
        next = bio->next; /* the bio may be its owner's again once it is submitted */
        vm_count(&vm_cnt.requests, 1);
        bio->store->ops->submit(bio->store, bio_alone(bio, false));
    }
    vm_lock(&blk_lock);
    req->over = true;
    vm_unlock(&blk_lock);
    machine_wake(req);
    blk_request_release(req);
}

/* Any thread, no lock held. */
static void blk_request_done(struct store_request *store, int error)
{
    struct blk_request *req = (struct blk_request *)store;
    struct bio *first = req->first, *next;
    if (error != 0) {
        blk_request_split(req);
        return;
    }
    vm_lock(&blk_lock);
    KASSERT(!req->over, "BI1");
    for (struct bio *bio = first; bio != NULL; bio = bio->next) {
        KASSERT(bio->request == req, "BI2");
        bio->request = NULL;
        req->refs--;
    }
    req->over = true;
    bool last = req->refs == 0;
    vm_unlock(&blk_lock);
    if (last)
        vm_zone_free(&blk_zone, req);
    else
        machine_wake(req); /* the address only: the last waiter may have freed the request */
    for (struct bio *bio = first; bio != NULL; bio = next) {
        next = bio->next;
        bio->end_io(bio, 0);
    }
}

/* Does b begin where a ends? If that is inside a page, both must mean the same frame. */
static bool bio_touches(const struct bio *a, const struct bio *b)
{
    uint64_t end = a->offset + a->len_bytes;
    return a->op == b->op && b->offset == end &&
           ((end & VM_PAGE_MASK) == 0 || a->addr[a->npages - 1] == b->addr[0]);
}

/* How many of bio[0 … n), which are sorted, fit into one request. *npages: the pages that these touch. */
static uint32_t blk_mergeable(struct bio **bio, uint32_t n, uint32_t *npages)
{
    uint32_t i = 1;
    *npages = bio[0]->npages;
    while (i < n && bio_touches(bio[i - 1], bio[i])) {
        uint32_t sum = *npages + bio[i]->npages - ((bio[i]->offset & VM_PAGE_MASK) != 0);
        if (sum > MACHINE_RUN_MAX)
            break;
        *npages = sum;
        i++;
    }
    return i;
}

/* One request for bio[0 … n), which touch each other and npages pages. NULL: no memory. */
static struct blk_request *blk_request_merge(struct bio **bio, uint32_t n, uint32_t npages)
{
    struct blk_request *req = vm_zone_alloc(&blk_zone);
    if (req == NULL)
        return NULL;
    uint64_t start = trunc_page(bio[0]->offset);
    for (uint32_t i = 0; i < n; i++) {
        bio[i]->merged = true;
        bio[i]->request = req;
        bio[i]->next = i + 1 < n ? bio[i + 1] : NULL;
        __builtin_memcpy(&req->addr[atop(bio[i]->offset - start)], bio[i]->addr,
                         bio[i]->npages * sizeof(void *));
        req->store.len_bytes += bio[i]->len_bytes;
    }
    req->store.op = bio[0]->op;
    req->store.offset = bio[0]->offset;
    req->store.npages = npages;
    req->store.addr = req->addr;
    req->store.done = blk_request_done;
    req->first = bio[0];
    req->refs = n;
    return req;
}

/* ---- plugs --------------------------------------------------------------------------------------------- */

void blk_start_plug(struct blk_plug *plug)
{
    *plug = (struct blk_plug){0};
}

static void blk_plug_add(struct blk_plug *plug, struct bio *bio)
{
    bio->next = NULL;
    if (plug->last != NULL)
        plug->last->next = bio;
    else
        plug->first = bio;
    plug->last = bio;
    plug->count++;
}

/* Moves the bios of one store, that of the first bio, from the plug to the batch. */
static void blk_batch_take(struct blk_batch *batch, struct blk_plug *plug)
{
    struct store *store = plug->first->store;
    struct bio *bio = plug->first;
    uint32_t count = plug->count;
    blk_start_plug(plug);
    batch->nbios = batch->nrequests = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct bio *next = bio->next;
        bio->next = NULL;
        if (bio->store == store)
            batch->bio[batch->nbios++] = bio;
        else
            blk_plug_add(plug, bio);
        bio = next;
    }
}

static bool bio_before(const struct bio *a, const struct bio *b)
{
    return a->op != b->op ? a->op < b->op : a->offset < b->offset;
}

/* By insertion: most bios come in order. */
static void blk_batch_sort(struct blk_batch *batch)
{
    for (uint32_t i = 1; i < batch->nbios; i++) {
        struct bio *bio = batch->bio[i];
        uint32_t at = i;
        for (; at > 0 && bio_before(bio, batch->bio[at - 1]); at--)
            batch->bio[at] = batch->bio[at - 1];
        batch->bio[at] = bio;
    }
}

/* One request for each run of bios that touch each other. */
static void blk_batch_merge(struct blk_batch *batch)
{
    for (uint32_t i = 0, n, npages; i < batch->nbios; i += n) {
        struct blk_request *req = NULL;
        n = blk_mergeable(batch->bio + i, batch->nbios - i, &npages);
        if (n > 1)
            req = blk_request_merge(batch->bio + i, n, npages);
        if (req != NULL)
            batch->request[batch->nrequests++] = &req->store;
        for (uint32_t k = 0; req == NULL && k < n; k++)
            batch->request[batch->nrequests++] = bio_alone(batch->bio[i + k], false);
    }
    vm_count(&vm_cnt.requests, batch->nrequests);
    vm_count(&vm_cnt.merges, batch->nbios - batch->nrequests);
}

/*
 * A batch of one request is submitted as if it were alone: with
 * STORE_REQUEST_WAIT, if its owner waits at once.
 */
static void blk_batch_wait(struct blk_batch *batch)
{
    if (batch->nrequests != 1)
        return;
    for (uint32_t i = 0; i < batch->nbios; i++)
        if (batch->bio[i]->wait)
            batch->request[0]->flags = STORE_REQUEST_WAIT;
}

/* Only bios that have `started` are looked at after they were submitted: the others may be gone. */
static void blk_batch_keep_started(struct blk_batch *batch)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < batch->nbios; i++)
        if (batch->bio[i]->started != NULL)
            batch->bio[n++] = batch->bio[i];
    batch->nbios = n;
}

static void blk_batch_submit(struct blk_batch *batch, struct store *store)
{
    const struct store_ops *ops = store->ops;
    if (ops->submit_batch != NULL && batch->nrequests > 1) {
        ops->submit_batch(store, batch->request, batch->nrequests);
        return;
    }
    for (uint32_t i = 0; i < batch->nrequests; i++)
        ops->submit(store, batch->request[i]);
}

void blk_finish_plug(struct blk_plug *plug)
{
    struct blk_batch batch;
    while (plug->count > 0) {
        struct store *store = plug->first->store;
        blk_batch_take(&batch, plug);
        blk_batch_sort(&batch);
        blk_batch_merge(&batch);
        blk_batch_wait(&batch);
        blk_batch_keep_started(&batch);
        blk_batch_submit(&batch, store);
        for (uint32_t i = 0; i < batch.nbios; i++)
            batch.bio[i]->started(batch.bio[i]);
    }
}

/* ---- bios ---------------------------------------------------------------------------------------------- */

void submit_bio(struct bio *bio, struct blk_plug *plug)
{
    KASSERT(bio->npages >= 1 && bio->npages <= MACHINE_RUN_MAX, "PR2");
    bio->next = NULL;
    bio->merged = false;
    bio->request = NULL;
    if (plug == NULL) {
        void (*started)(struct bio *) = bio->started;
        vm_count(&vm_cnt.requests, 1);
        bio->store->ops->submit(bio->store, bio_alone(bio, bio->wait));
        if (started != NULL)
            started(bio);
        return;
    }
    if (plug->count == BLK_PLUG_MAX)
        blk_finish_plug(plug);
    blk_plug_add(plug, bio);
}

void bio_endio(struct bio *bio, int error)
{
    void (*started)(struct bio *) = bio->started;
    bio->merged = false;
    bio->request = NULL;
    bio->end_io(bio, error);
    if (started != NULL)
        started(bio);
}

/* Waits for the end of the store's request, or drives it; a store without `wait` needs neither. */
static void store_wait(struct store *store, struct store_request *request)
{
    if (store->ops->wait != NULL)
        store->ops->wait(store, request);
}

/* Waits for a merged bio: for its request, and if that failed, for the bio alone. */
static void bio_wait_merged(struct bio *bio)
{
    vm_lock(&blk_lock);
    struct blk_request *req = bio->request;
    if (req == NULL) { /* the bio has ended */
        vm_unlock(&blk_lock);
        return;
    }
    req->refs++;
    bool over = req->over;
    vm_unlock(&blk_lock);
    if (!over)
        store_wait(bio->store, &req->store);
    vm_lock(&blk_lock);
    while (!req->over)
        vm_sleep(req, &blk_lock);
    bool alone = bio->request != NULL;
    vm_unlock(&blk_lock);
    if (alone)
        store_wait(bio->store, &bio->own);
    blk_request_release(req);
}

void bio_wait(struct bio *bio)
{
    if (bio->merged)
        bio_wait_merged(bio);
    else
        store_wait(bio->store, &bio->own);
}
