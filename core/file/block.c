/*
 * block.c: the block layer: block.h has the picture.
 *
 *   blk_finish_plug   for each store: take its bios ─▶ sort ─▶ merge neighbours ─▶ submit_batch ─▶ started
 *   a merged request  blk_request_done ─ 0 ─▶ end_io of each bio
 *                                      └ error ─▶ each bio alone (bio_alone_done ─▶ end_io)
 *   bio_wait          the merged request's end ─▶ if the bio goes alone now, that one's
 *
 * A merged request has memory of its own. It lives until all its bios have ended and nobody waits for it:
 * `refs` counts both. When there is no memory the bios go unmerged.
 *
 * Invariants: K1 a bio ends once. K2 bio->request of a merged bio is its request exactly until the bio ends.
 * Locks: (B) blk.lock, taken for merged requests only, with no other lock held. A waiter sleeps on its
 * request.
 *
 * Does not do: which pages and what becomes of them (vm_pager.c, buffer.c, direct.c); ordering between bios:
 * who needs one before another waits in between.
 */
#include "file/block.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/vm_meter.h"

#define BLK_PLUG_MAX 64 /* bios in a plug */

struct blk_request {
    struct store_request store;
    struct bio *first; /* (c) its bios by offset, chained by next */
    uint32_t refs;     /* (B) bios that have not ended, threads in bio_wait, and the one that splits it */
    bool over;         /* (B) the store is done with it, and its bios have ended or were started alone */
    void *addr[MACHINE_RUN_MAX];
};

/* One store's bios on their way out of a plug. */
struct blk_batch {
    struct bio *bio[BLK_PLUG_MAX];
    struct store_request *request[BLK_PLUG_MAX];
    uint32_t nbios, nrequests;
};

static struct {
    struct vm_lock lock; /* (B) */
    struct vm_zone zone;
} blk;

void blk_startup(void)
{
    __builtin_memset(&blk, 0, sizeof blk);
    vm_zone_init(&blk.zone, "merged request", sizeof(struct blk_request));
}

/* ---- a bio alone --------------------------------------------------------------------------------------- */

/* One of those that keep the request is gone. */
static void blk_request_release(struct blk_request *req)
{
    vm_lock(&blk.lock);
    KASSERT(req->refs > 0, "K2");
    bool last = --req->refs == 0;
    vm_unlock(&blk.lock);
    if (last)
        vm_zone_free(&blk.zone, req);
}

static void bio_alone_done(struct store_request *store, int error)
{
    struct bio *bio = (struct bio *)((char *)store - offsetof(struct bio, own));
    struct blk_request *req = bio->request; /* nobody but us changes it now */
    if (req != NULL) {
        vm_lock(&blk.lock);
        bio->request = NULL;
        vm_unlock(&blk.lock);
        blk_request_release(req);
    }
    bio->end_io(bio, error);
}

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
 * The request failed: each bio is tried alone, so that only those hear of it whose trouble it is. Not with
 * STORE_REQUEST_WAIT: whoever calls this has other things to do.
 */
static void blk_request_split(struct blk_request *req)
{
    struct bio *next;
    vm_lock(&blk.lock);
    req->refs++; /* ours */
    vm_unlock(&blk.lock);
    for (struct bio *bio = req->first; bio != NULL; bio = next) {
        next = bio->next; /* the bio may be its owner's when it was submitted */
        vm_count(&vm_cnt.requests, 1);
        bio->store->ops->submit(bio->store, bio_alone(bio, false));
    }
    vm_lock(&blk.lock);
    req->over = true;
    vm_unlock(&blk.lock);
    machine_wake(req);
    blk_request_release(req);
}

static void blk_request_done(struct store_request *store, int error)
{
    struct blk_request *req = (struct blk_request *)store;
    struct bio *first = req->first, *next;
    if (error != 0) {
        blk_request_split(req);
        return;
    }
    vm_lock(&blk.lock);
    KASSERT(!req->over, "K1");
    for (struct bio *bio = first; bio != NULL; bio = bio->next) {
        KASSERT(bio->request == req, "K2");
        bio->request = NULL;
        req->refs--;
    }
    req->over = true;
    bool last = req->refs == 0;
    vm_unlock(&blk.lock);
    if (last)
        vm_zone_free(&blk.zone, req);
    else
        machine_wake(req); /* an address, no more: who waited may have freed it */
    for (struct bio *bio = first; bio != NULL; bio = next) {
        next = bio->next;
        bio->end_io(bio, 0);
    }
}

/* Does b go on where a ends? Within a page only if the bytes are in the same one. */
static bool bio_touches(const struct bio *a, const struct bio *b)
{
    uint64_t end = a->offset + a->len_bytes;
    return a->op == b->op && b->offset == end &&
           ((end & VM_PAGE_MASK) == 0 || a->addr[a->npages - 1] == b->addr[0]);
}

/* How many of bio[0 … n), sorted, fit into one request; *npages: the pages that they touch. */
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

/* One request of bio[0 … n), which touch npages pages. NULL: no memory. */
static struct blk_request *blk_request_merge(struct bio **bio, uint32_t n, uint32_t npages)
{
    struct blk_request *req = vm_zone_alloc(&blk.zone);
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

/* Takes the bios of the first one's store out of the plug. */
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

/* By insertion: most come in order. */
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

/* A batch of one request is as good as its own submit, if somebody waits for that at once. */
static void blk_batch_wait(struct blk_batch *batch)
{
    if (batch->nrequests != 1)
        return;
    for (uint32_t i = 0; i < batch->nbios; i++)
        if (batch->bio[i]->wait)
            batch->request[0]->flags = STORE_REQUEST_WAIT;
}

/* Only the bios that have `started` are still there after they were submitted. */
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
    KASSERT(bio->npages >= 1 && bio->npages <= MACHINE_RUN_MAX, "R2");
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

static void store_wait(struct store *store, struct store_request *request)
{
    if (store->ops->wait != NULL)
        store->ops->wait(store, request);
}

/* The bio was merged: its request's end, then, if that failed, its own. */
static void bio_wait_merged(struct bio *bio)
{
    vm_lock(&blk.lock);
    struct blk_request *req = bio->request;
    if (req == NULL) { /* the bio has ended */
        vm_unlock(&blk.lock);
        return;
    }
    req->refs++;
    bool over = req->over;
    vm_unlock(&blk.lock);
    if (!over)
        store_wait(bio->store, &req->store);
    vm_lock(&blk.lock);
    while (!req->over)
        vm_sleep(req, &blk.lock);
    bool alone = bio->request != NULL;
    vm_unlock(&blk.lock);
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
