/*
 * transfer.c: transfers between an object's pages and its store: the
 * windows that they go through, and what becomes of the pages.
 *
 *   transfer_get_pages    window FILL ─▶ submit_bio ─▶ wait ─▶ window closed ─▶ valid, or freed
 *   transfer_readahead    window FILL ─▶ object->inflight ─▶ submit_bio …… transfer_async_done
 *   transfer_writepages   window READ ─▶ object->inflight ─▶ submit_bio …… transfer_async_done
 *
 * The life of an asynchronous transfer. `waiters` counts its submission, which may be in a plug for a while,
 * and every thread in transfer_wait. The last of them to leave after the transfer has finished frees it.
 * bio_wait may be called once `submitted` is set; the transfer may finish before that.
 *
 * Invariants PR1 … PR3: transfer.h. Locks: (O) → (I) → (X). A thread that holds (I) may only try (O).
 *
 * Does not do: which pages (vm/vm_fault.c, readahead.c, writeback.c),
 * sorting and merging (block.c), parts of pages (buffer.c).
 */
#include "file/transfer.h"
#include "file/vnode.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/lru.h"
#include "vm/pmap.h"
#include "vm/vm_meter.h"

/* Older transfers that a write waits for to get a window, before it waits for its own. */
#define WRITEPAGES_TRIES 16

static struct vm_zone transfer_zone;
static _Atomic uint32_t transfers; /* under way */

static struct vm_lock transfer_list_lock; /* (I) */
static struct {
    struct transfer *newest, *oldest; /* all asynchronous transfers */
} transfer_list FL_GUARDED_BY(transfer_list_lock);

void transfer_startup(void)
{
    vm_zone_init(&transfer_zone, "transfer", sizeof(struct transfer));
    atomic_store(&transfers, 0);
    transfer_list_lock = (struct vm_lock){0};
    __builtin_memset(&transfer_list, 0, sizeof transfer_list);
}

uint32_t transfers_active(void)
{
    return atomic_load(&transfers);
}

/* ---- requests ------------------------------------------------------------------------------------------ */

/* A transfer of m[0 … count), neighbours of the object. NULL: no memory. */
static struct transfer *request_alloc(struct vm_object *object, struct vm_page **m, uint32_t count,
                                      enum store_op op)
{
    KASSERT(count >= 1 && count <= MACHINE_RUN_MAX, "PR2");
    struct transfer *req = vm_zone_alloc(&transfer_zone);
    if (req == NULL)
        return NULL;
    req->object = object;
    req->bio.op = op;
    req->pindex = m[0]->pindex;
    req->npages = count;
    for (uint32_t i = 0; i < count; i++) {
        KASSERT(m[i]->object == object && m[i]->pindex == req->pindex + i, "PG1");
        req->frame[i] = vm_page_frame(m[i]);
    }
    return req;
}

static struct machine_run request_run(const struct transfer *req)
{
    return (struct machine_run){
        .object = req->object->machine,
        .pindex = req->pindex,
        .npages = req->npages,
        .frame = req->frame,
    };
}

/*
 * Hands the request to its store, by way of the plug; NULL: at once. When this returns the request may have
 * ended, and may have been freed unless the caller counts in `waiters` or waits for it.
 * (vnode_pager_strategy, FreeBSD.)
 */
static void request_start(struct transfer *req, struct blk_plug *plug)
{
    struct vnode *vnode = vm_object_vnode(req->object);
    struct bio *bio = &req->bio;
    atomic_fetch_add(&transfers, 1);
    bio->offset = ptoa(req->pindex);
    bio->len_bytes = ptoa(req->npages);
    bio->npages = req->npages;
    bio->addr = req->addr;
    bio->store = bio->op == STORE_READ ? vnode->store : atomic_load(&vnode->writer);
    if (bio->store == NULL) /* dirty pages of a file that was never opened for writing */
        bio_endio(bio, -EBADF);
    else
        submit_bio(bio, plug);
}

/* Counts the end of a transfer. */
static void request_count(const struct transfer *req, int error)
{
    atomic_fetch_sub(&transfers, 1);
    if (error != 0)
        vm_count(&vm_cnt.io_errors, 1);
    else
        vm_count(req->bio.op == STORE_READ ? &vm_cnt.page_ins : &vm_cnt.write_backs, req->npages);
}

/* Returns when the request is finished. No lock held; the request stays for the caller. */
static void request_wait(struct transfer *req)
{
    vm_lock(&req->lock);
    while (!req->submitted)
        vm_sleep(&req->lock, &req->lock);
    bool finished = req->finished;
    vm_unlock(&req->lock);
    if (!finished)
        bio_wait(&req->bio);
    vm_lock(&req->lock);
    while (!req->finished)
        vm_sleep(&req->lock, &req->lock);
    vm_unlock(&req->lock);
}

/* ---- synchronous --------------------------------------------------------------------------------------- */

/* Any thread, no lock held; perhaps inside the store's submit. */
static void transfer_sync_done(struct bio *bio, int error)
{
    struct transfer *req = (struct transfer *)bio;
    request_count(req, error);
    vm_lock(&req->lock);
    KASSERT(!req->finished, "PR2");
    req->error = error;
    req->finished = true;
    bool wake = req->submitted; /* before that the caller does not sleep yet */
    vm_unlock(&req->lock);
    if (wake)
        machine_wake(&req->lock);
}

/* One transfer of m[0 … count), from its beginning to its end. No lock held. Errors: the store's, -ENOMEM. */
static int transfer_sync(struct vm_object *object, struct vm_page **m, uint32_t count, enum store_op op)
{
    enum machine_window how = op == STORE_READ ? MACHINE_WINDOW_FILL : MACHINE_WINDOW_READ;
    struct transfer *req = request_alloc(object, m, count, op);
    if (req == NULL)
        return -ENOMEM;
    struct machine_run run = request_run(req);
    int error = pmap_window_get(&run, how, false, req->addr);
    if (error == 0) {
        req->bio.wait = true;
        req->bio.end_io = transfer_sync_done;
        request_start(req, NULL);
        vm_lock(&req->lock);
        req->submitted = true;
        vm_unlock(&req->lock);
        request_wait(req);
        error = req->error;
        pmap_window_put(&run, how, req->addr, error == 0);
    }
    vm_zone_free(&transfer_zone, req);
    return error;
}

/* Frees the pages other than m[reqpage]. No lock held. */
static void get_pages_forget(struct vm_object *object, struct vm_page **m, uint32_t count, uint32_t reqpage)
{
    vm_lock(&object->lock);
    for (uint32_t i = 0; i < count; i++)
        if (i != reqpage)
            vm_page_free(m[i]);
    vm_unlock(&object->lock);
}

int transfer_get_pages(struct vm_object *object, struct vm_page **m, uint32_t count, uint32_t reqpage)
{
    vm_lock(&object->lock);
    bool there = m[reqpage]->pindex < object->size;
    vm_unlock(&object->lock);

    int error = there ? transfer_sync(object, m, count, STORE_READ) : -ENXIO;
    if (error != 0 && count > 1) {
        /* The neighbours may be what the store cannot read: the needed page is tried alone. */
        get_pages_forget(object, m, count, reqpage);
        m += reqpage;
        count = 1;
        reqpage = 0;
        if (there)
            error = transfer_sync(object, m, 1, STORE_READ);
    }
    if (error != 0)
        return error;
    vm_count(&vm_cnt.readahead, count - 1);
    vm_lock(&object->lock);
    for (uint32_t i = 0; i < count; i++) {
        m[i]->flags |= PG_VALID;
        if (i == reqpage)
            continue;
        m[i]->flags |= PG_AHEAD;
        lru_cache_add(m[i]);
        vm_page_xunbusy(m[i]);
    }
    vm_unlock(&object->lock);
    return 0;
}

/*
 * Writes m[0 … count): in one transfer, or in several when the machine has no window for so many pages at
 * once (-ENOMEM). Goes on after an error. No lock held. Errors: the first one, the store's or -ENOMEM.
 */
static int put_pages(struct vm_object *object, struct vm_page **m, uint32_t count)
{
    int error = transfer_sync(object, m, count, STORE_WRITE);
    if (error != -ENOMEM || count == 1)
        return error;
    int first = put_pages(object, m, count / 2);
    int second = put_pages(object, m + count / 2, count - count / 2);
    return first != 0 ? first : second;
}

/* The page leaves write-back. (O). */
static void put_page_done(struct vm_page *m, int error)
{
    m->flags &= (uint16_t)~PG_WRITEERROR;
    if (error != 0) {
        vm_page_dirty(m);
        m->flags |= PG_WRITEERROR;
    }
    vm_page_writeback_done(m);
    if (error == 0)
        rotate_reclaimable_page(m);
}

/* The pages leave write-back. No lock held. */
static void put_pages_done(struct vm_object *object, struct vm_page **m, uint32_t count, int error)
{
    if (error != 0) /* before PG_WRITEERROR, so that a thread that sees the flag finds the error */
        vnode_seterror(vm_object_vnode(object), error);
    vm_lock(&object->lock);
    for (uint32_t i = 0; i < count; i++)
        put_page_done(m[i], error);
    vm_unlock(&object->lock);
}

/* ---- asynchronous -------------------------------------------------------------------------------------- */

/* (O). */
static void async_link(struct vm_object *object, struct transfer *req) FL_REQUIRES(object->lock)
{
    struct transfer *oldest = object->inflight;
    req->next = NULL;
    req->prev = oldest != NULL ? oldest->prev : req;
    if (oldest != NULL) {
        oldest->prev->next = req;
        oldest->prev = req;
    } else {
        object->inflight = req;
    }
    vm_lock(&transfer_list_lock);
    req->all_next = transfer_list.newest;
    if (req->all_next != NULL)
        req->all_next->all_prev = req;
    else
        transfer_list.oldest = req;
    transfer_list.newest = req;
    vm_unlock(&transfer_list_lock);
}

/* (O). */
static void async_unlink(struct vm_object *object, struct transfer *req) FL_REQUIRES(object->lock)
{
    struct transfer *oldest = object->inflight;
    if (req == oldest)
        object->inflight = req->next;
    else
        req->prev->next = req->next;
    if (req->next != NULL)
        req->next->prev = req->prev; /* if req is the oldest: the newest, as the prev of the new oldest */
    else if (req != oldest)
        oldest->prev = req->prev;
    vm_lock(&transfer_list_lock);
    if (req->all_prev != NULL)
        req->all_prev->all_next = req->all_next;
    else
        transfer_list.newest = req->all_next;
    if (req->all_next != NULL)
        req->all_next->all_prev = req->all_prev;
    else
        transfer_list.oldest = req->all_prev;
    vm_unlock(&transfer_list_lock);
}

/* A page of a read that has ended becomes valid and not busy, or goes. (O). */
static void async_read_done(struct vm_page *m, int error)
{
    if (error != 0) {
        vm_page_free(m);
        return;
    }
    m->flags |= PG_VALID | PG_AHEAD;
    lru_cache_add(m);
    vm_page_xunbusy(m);
}

/* The request has ended: its pages leave it. (O). */
static void async_pages(struct transfer *req, int error)
{
    uint16_t in_transfer = PG_INFLIGHT | (req->bio.op == STORE_READ ? PG_BUSY : PG_WRITEBACK);
    for (uint32_t i = 0; i < req->npages; i++) {
        struct vm_page *m = vm_page_of(req->frame[i]);
        KASSERT((m->flags & in_transfer) == in_transfer, "PR1");
        m->flags &= (uint16_t)~PG_INFLIGHT;
        if (req->bio.op == STORE_READ)
            async_read_done(m, error);
        else
            put_page_done(m, error);
    }
}

static enum machine_window request_window(const struct transfer *req)
{
    return req->bio.op == STORE_READ ? MACHINE_WINDOW_FILL : MACHINE_WINDOW_READ;
}

/* Any thread, no lock held; perhaps inside the store's submit. */
static void transfer_async_done(struct bio *bio, int error)
{
    struct transfer *req = (struct transfer *)bio;
    struct vm_object *object = req->object;
    struct machine_run run = request_run(req);
    request_count(req, error);
    if (error == 0 && req->bio.op == STORE_READ)
        vm_count(&vm_cnt.readahead, req->npages);
    if (error != 0 && req->bio.op == STORE_WRITE)
        vnode_seterror(vm_object_vnode(object), error);

    vm_lock(&object->lock);
    pmap_window_put(&run, request_window(req), req->addr, error == 0);
    async_pages(req, error);
    async_unlink(object, req);
    vm_lock(&req->lock);
    KASSERT(!req->finished, "PR2");
    req->error = error;
    req->finished = true;
    vm_unlock(&req->lock);
    if (req->waiters > 0)
        machine_wake(&req->lock);
    else
        vm_zone_free(&transfer_zone, req);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
}

/* A thread that waited, or the submission, needs the request no more. (O). */
static void async_release(struct transfer *req)
{
    KASSERT(req->waiters > 0, "PR3");
    req->waiters--;
    if (req->waiters == 0 && req->finished) /* set under (O), too */
        vm_zone_free(&transfer_zone, req);
}

/* The store has the request: threads that sleep for it can drive it now. No lock held. */
static void transfer_async_started(struct bio *bio)
{
    struct transfer *req = (struct transfer *)bio;
    struct vm_object *object = req->object;
    vm_lock(&object->lock);
    vm_lock(&req->lock);
    req->submitted = true;
    vm_unlock(&req->lock);
    if (req->waiters > 1)
        machine_wake(&req->lock);
    async_release(req);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
}

/*
 * Submits the request, whose window is open. A thread that has been sleeping for one of the pages is woken
 * (vm_page_inflight): now it has to wait for the request, or no thread might drive it. No lock held.
 */
static void async_submit(struct vm_object *object, struct vm_page **m, struct transfer *req,
                         struct blk_plug *plug)
{
    req->bio.end_io = transfer_async_done;
    req->bio.started = transfer_async_started;
    req->waiters = 1; /* until it has started */
    vm_lock(&object->lock);
    for (uint32_t i = 0; i < req->npages; i++)
        vm_page_inflight(m[i]);
    vm_object_pip_add(object); /* until it has ended */
    vm_object_pip_add(object); /* until it has started */
    async_link(object, req);
    vm_unlock(&object->lock);
    request_start(req, plug);
}

void transfer_readahead(struct vm_object *object, struct vm_page **m, uint32_t count, struct blk_plug *plug)
{
    struct transfer *req = request_alloc(object, m, count, STORE_READ);
    if (req != NULL) {
        struct machine_run run = request_run(req);
        if (pmap_window_get(&run, MACHINE_WINDOW_FILL, true, req->addr) == 0) {
            async_submit(object, m, req, plug);
            return;
        }
        vm_zone_free(&transfer_zone, req);
    }
    vm_lock(&object->lock);
    vm_page_free_batch(m, count);
    vm_unlock(&object->lock);
}

/*
 * Starts to write m[0 … count), if there is memory and a window at once. No lock held. Errors: -EAGAIN, there
 * will be a window when another closes; -ENOMEM.
 */
static int writepages_start(struct vm_object *object, struct vm_page **m, uint32_t count,
                            struct blk_plug *plug)
{
    struct transfer *req = request_alloc(object, m, count, STORE_WRITE);
    if (req == NULL)
        return -ENOMEM;
    struct machine_run run = request_run(req);
    int error = pmap_window_get(&run, MACHINE_WINDOW_READ, true, req->addr);
    if (error == 0)
        async_submit(object, m, req, plug);
    else
        vm_zone_free(&transfer_zone, req);
    return error;
}

/*
 * The same, which cannot fail to start: after older transfers, in pieces, and at last synchronously. Loops:
 * each try waits for a transfer, and each piece is smaller.
 */
static void writepages(struct vm_object *object, struct vm_page **m, uint32_t count, struct blk_plug *plug)
{
    int error = writepages_start(object, m, count, plug);
    for (uint32_t tries = 0; error == -EAGAIN && tries < WRITEPAGES_TRIES; tries++) {
        if (plug != NULL)
            blk_finish_plug(plug);
        if (!transfer_wait_any())
            break;
        error = writepages_start(object, m, count, plug);
    }
    if (error == -ENOMEM && count > 1) {
        writepages(object, m, count / 2, plug);
        writepages(object, m + count / 2, count - count / 2, plug);
    } else if (error != 0) {
        if (plug != NULL)
            blk_finish_plug(plug);
        put_pages_done(object, m, count, put_pages(object, m, count));
    }
}

void transfer_writepages(struct vm_object *object, struct vm_page **m, uint32_t count, struct blk_plug *plug)
{
    int error = vnode_clean_tail(object, m, count);
    if (error == 0)
        writepages(object, m, count, plug);
    else
        put_pages_done(object, m, count, error);
}

/* Waits for a request on object->inflight. (O) held on entry and return, released in between. */
static void async_wait(struct vm_object *object, struct transfer *req) FL_REQUIRES(object->lock)
{
    req->waiters++;
    vm_unlock(&object->lock);
    request_wait(req);
    vm_lock(&object->lock);
    async_release(req);
}

bool transfer_wait(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
    struct transfer *req = object->inflight;
    while (req != NULL && (end <= req->pindex || req->pindex + req->npages <= start))
        req = req->next;
    if (req != NULL)
        async_wait(object, req);
    return req != NULL;
}

/* Has the store the request? One in a plug must be started by the plug's owner, perhaps our caller. */
static bool request_submitted(struct transfer *req)
{
    vm_lock(&req->lock);
    bool submitted = req->submitted;
    vm_unlock(&req->lock);
    return submitted;
}

bool transfer_wait_any(void)
{
    vm_lock(&transfer_list_lock);
    for (struct transfer *req = transfer_list.oldest; req != NULL; req = req->all_prev) {
        struct vm_object *object = req->object; /* the request on the list has a pip of it */
        if (!request_submitted(req) || !vm_trylock(&object->lock))
            continue;
        vm_unlock(&transfer_list_lock);
        vm_object_pip_add(object);
        async_wait(object, req);
        vm_object_pip_wakeup(object);
        vm_unlock(&object->lock);
        return true;
    }
    vm_unlock(&transfer_list_lock);
    return false;
}
