/*
 * disk_store.c: the store over a simulated disk. Each operation checks what the core owes it, takes its
 * simulated time, and fails when it is told to (sim_disk_faults).
 *
 *   submit ─▶ disk_accept ─┬─▶ disk_transfer_start: the fiber completes it; wait sleeps until then
 *                          └─▶ disk_transfer_complete within submit, by chance, when the caller waits
 */
#include "disk_state.h"
#include "sched.h"

#include <errno.h>
#include <stdlib.h>

#define DISK_FLUSH_NS 500000

struct disk_store {
    struct store store; /* first */
    struct sim_disk *disk;
};

static uint32_t open_stores; /* of all disks */

/* Puts the request in flight. */
static struct disk_transfer *disk_accept(struct disk_store *store, struct store_request *request)
{
    struct sim_disk *disk = store->disk;
    bool write = request->op == STORE_WRITE;
    uint64_t mask = store->store.block_bytes - 1, start = request->offset & VM_PAGE_MASK;

    if (request->npages < 1 || request->npages > MACHINE_RUN_MAX || request->len_bytes == 0 ||
        ((request->offset | request->len_bytes) & mask) != 0 ||
        atop(round_page(start + request->len_bytes)) != request->npages)
        sim_panic("store submit: %llu bytes, %u pages at %#llx", (unsigned long long)request->len_bytes,
                  request->npages, (unsigned long long)request->offset);
    if (write && store->store.read_only)
        sim_panic("store submit: a write to a read-only store");
    disk->counts.reads += !write;
    disk->counts.writes += write;
    *(write ? &disk->counts.pages_written : &disk->counts.pages_read) += request->npages;
    *(write ? &disk->counts.bytes_written : &disk->counts.bytes_read) += request->len_bytes;
    disk->counts.in_flight++;
    return disk_transfer_create(disk, request);
}

static void disk_submit(struct store *store, struct store_request *request)
{
    struct sim_disk *disk = ((struct disk_store *)store)->disk;

    sched_assert_no_locks("store submit");
    struct disk_transfer *t = disk_accept((struct disk_store *)store, request);
    if (request->op == STORE_WRITE)
        disk_moment(disk);
    if ((request->flags & STORE_REQUEST_WAIT) && prng_chance(&disk->prng, 500)) {
        uint64_t due_ns = t->due_ns;

        t->due_ns = UINT64_MAX; /* not for the disk fiber */
        if (due_ns > sim.now_ns)
            sim_sleep_ns(due_ns - sim.now_ns);
        disk_transfer_complete(t);
        return;
    }
    disk_transfer_start();
}

/* All arrive at the same moment, so that the disk may take them in any order. */
static void disk_submit_batch(struct store *store, struct store_request **request, uint32_t n)
{
    struct sim_disk *disk = ((struct disk_store *)store)->disk;
    bool write = false;

    sched_assert_no_locks("store submit_batch");
    for (uint32_t i = 0; i < n; i++) {
        write = write || request[i]->op == STORE_WRITE;
        (void)disk_accept((struct disk_store *)store, request[i]);
    }
    disk->counts.batches++;
    if (write)
        disk_moment(disk);
    disk_transfer_start();
}

static void disk_wait(struct store *store, struct store_request *request)
{
    uint64_t serial = request->store_private[0];

    (void)store;
    sched_assert_no_locks("store wait");
    disk_transfer_wait(serial);
}

static int disk_size(struct store *store, uint64_t *len_bytes)
{
    struct sim_disk *disk = ((struct disk_store *)store)->disk;

    sim_preempt();
    if (disk_nth(&disk->faults.fail_size_nth))
        return disk_error(disk);
    *len_bytes = disk->current.len_bytes;
    return 0;
}

static int disk_flush(struct store *store)
{
    struct sim_disk *disk = ((struct disk_store *)store)->disk;
    uint64_t serial = disk->serial;

    disk->counts.flushes++;
    sim_sleep_ns(DISK_FLUSH_NS);
    if (disk_nth(&disk->faults.fail_flush_nth))
        return disk_error(disk);
    while (disk->oldest != NULL && disk->oldest->serial <= serial)
        disk_destage(disk);
    disk_moment(disk);
    return 0;
}

/* A change of the file itself takes time, and is durable when it returns, as if a file
 * system had logged it. */
static int disk_change(struct disk_store *store, uint32_t *fail_nth)
{
    sched_assert_no_locks("store truncate, punch or allocate");
    if (store->store.read_only)
        sim_panic("store truncate, punch or allocate: the store is read-only");
    sim_sleep_ns(disk_latency(store->disk));
    return disk_nth(fail_nth) ? disk_error(store->disk) : 0;
}

static int disk_truncate(struct store *store, uint64_t len_bytes)
{
    struct sim_disk *disk = ((struct disk_store *)store)->disk;
    int error = disk_change((struct disk_store *)store, &disk->faults.fail_truncate_nth);

    if (error != 0)
        return error;
    if (disk->faults.max_len_bytes != 0 && len_bytes > disk->faults.max_len_bytes &&
        len_bytes > disk->current.len_bytes)
        return -ENOSPC;
    disk_resize(disk, len_bytes);
    return 0;
}

static int disk_punch(struct store *store, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct sim_disk *disk = ((struct disk_store *)store)->disk;
    int error = disk_change((struct disk_store *)store, &disk->faults.fail_punch_nth);

    if (error != 0)
        return error;
    disk_zero(disk, offset, len_bytes);
    return 0;
}

static int disk_changed(struct store *store, enum store_ask how, unsigned *what)
{
    struct sim_disk *disk = ((struct disk_store *)store)->disk;

    *what = how == STORE_FORGET ? 0 : disk->changed;
    if (how != STORE_LOOK)
        disk->changed = 0;
    return 0;
}

static int disk_allocate(struct store *store, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct sim_disk *disk = ((struct disk_store *)store)->disk;
    int error = disk_change((struct disk_store *)store, &disk->faults.fail_allocate_nth);

    disk->counts.allocations++;
    return error != 0 ? error : disk_space_take(disk, offset, len_bytes);
}

static uint64_t disk_room(struct store *store)
{
    struct sim_disk *disk = ((struct disk_store *)store)->disk;

    sim_preempt();
    if (!disk->thin || sim_disk_space(disk) >= atop(round_page(disk->current.len_bytes)))
        return STORE_ROOM_NO_HOLES;
    return ptoa(disk->faults.room_pages);
}

static void disk_close(struct store *store)
{
    ((struct disk_store *)store)->disk->nstores--;
    open_stores--;
    free(store);
}

static const struct store_ops disk_ops = {
    .name = "sim disk",
    .submit = disk_submit,
    .submit_batch = disk_submit_batch,
    .wait = disk_wait,
    .size = disk_size,
    .flush = disk_flush,
    .close = disk_close,
    .truncate = disk_truncate,
    .punch = disk_punch,
    .changed = disk_changed,
    .allocate = disk_allocate,
    .room = disk_room,
};

struct store *sim_disk_open(struct sim_disk *disk, bool read_only)
{
    struct disk_store *store = calloc(1, sizeof(*store));

    if (store == NULL)
        sim_panic("the host has no memory for a store");
    *store = (struct disk_store){
        .store = {.ops = &disk_ops,
                  .read_only = read_only,
                  .block_bytes = disk->block_bytes,
                  .key = {1, disk->key}},
        .disk = disk,
    };
    if (disk->nstores++ == 0)
        disk->changed = 0;
    open_stores++;
    return &store->store;
}

void disk_store_check_closed(void)
{
    if (open_stores > 0)
        sim_panic("leak: %u stores are open", open_stores);
}
