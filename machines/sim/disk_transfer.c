/*
 * disk_transfer.c: transfers of simulated disks, and the fiber that completes them.
 *
 *   disk_transfer_create (latency drawn) ─▶ listed ─▶ due: bytes move, done() ─▶ off the list, waiters woken
 *
 * A request belongs to its caller and may be gone when done() returns, so waiters look for its serial number.
 */
#include "disk_fiber.h"
#include "disk_state.h"
#include "sched.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DISK_READ_GARBAGE 0xee /* what a failed read leaves in the buffers */

static struct {
    struct disk_transfer *first; /* in order of submission */
    uint64_t serial;
    bool stopping;
    struct fiber *fiber;
} disks;

/* ---- moving bytes ---------------------------------------------------------------------------- */

struct disk_piece disk_request_piece(const struct store_request *request, uint32_t i)
{
    size_t start, len_bytes = store_request_piece(request, i, &start);

    return (struct disk_piece){
        .offset = trunc_page(request->offset) + ptoa(i) + start,
        .bytes = (uint8_t *)request->addr[i] + start,
        .len_bytes = len_bytes,
    };
}

uint64_t disk_latency(struct sim_disk *disk)
{
    return prng_range(&disk->prng, disk->faults.latency_min_ns, disk->faults.latency_max_ns);
}

int disk_error(struct sim_disk *disk)
{
    disk->counts.failures++;
    return disk->faults.error != 0 ? disk->faults.error : -EIO;
}

bool disk_nth(uint32_t *nth)
{
    return *nth > 0 && --*nth == 0;
}

static int disk_read_pages(struct sim_disk *disk, const struct store_request *request)
{
    struct sim_disk_faults *faults = &disk->faults;
    uint64_t end = request->offset + request->len_bytes;
    bool fails = disk_nth(&faults->fail_read_nth) || prng_chance(&disk->prng, faults->fail_read_permille) ||
                 (request->offset < faults->bad_read_end && faults->bad_read_start < end);

    for (uint32_t i = 0; i < request->npages; i++) {
        struct disk_piece piece = disk_request_piece(request, i);

        if (fails)
            memset(piece.bytes, DISK_READ_GARBAGE, piece.len_bytes);
        else
            image_read(&disk->current, piece.offset, piece.bytes, piece.len_bytes);
    }
    return fails ? disk_error(disk) : 0;
}

/* A torn write leaves some sectors; they are cached like those of any write. */
static void disk_write_piece(struct sim_disk *disk, struct disk_piece piece, bool torn)
{
    size_t len_bytes = image_trim(&disk->current, piece.offset, piece.len_bytes);
    uint8_t page[VM_PAGE_SIZE];

    if (len_bytes == 0)
        return;
    if (torn)
        image_write_torn(&disk->current, piece.offset, piece.bytes, len_bytes, &disk->prng, 500);
    else
        image_write(&disk->current, piece.offset, piece.bytes, len_bytes);
    image_read(&disk->current, piece.offset, page, len_bytes);
    disk_cache(disk, piece.offset, page, len_bytes);
}

static int disk_write_pages(struct sim_disk *disk, const struct store_request *request)
{
    struct sim_disk_faults *faults = &disk->faults;
    uint64_t end = request->offset + request->len_bytes;
    bool fails = disk_nth(&faults->fail_write_nth) || prng_chance(&disk->prng, faults->fail_write_permille) ||
                 (request->offset < faults->bad_write_end && faults->bad_write_start < end);
    size_t inside = image_trim(&disk->current, request->offset, request->len_bytes);
    int full = fails ? 0 : disk_space_take(disk, request->offset, inside);

    if (full != 0) {
        disk->counts.failures++;
        return full;
    }
    for (uint32_t i = 0; i < request->npages; i++) {
        if (!fails || faults->torn)
            disk_write_piece(disk, disk_request_piece(request, i), fails);
    }
    return fails ? disk_error(disk) : 0;
}

/* ---- transfers ------------------------------------------------------------------------------- */

/* Moves the bytes and calls done(). The transfer stays on the list until then, so that
 * waiters wait for that. */
void disk_transfer_complete(struct disk_transfer *t)
{
    struct store_request *request = t->request;
    struct sim_disk *disk = t->disk;
    bool write = request->op == STORE_WRITE;
    int error = write ? disk_write_pages(disk, request) : disk_read_pages(disk, request);
    struct disk_transfer **link = &disks.first;

    t->moved = true;
    disk->counts.in_flight--;
    sim_event(EVENT_TRANSFER, request->offset, (uint64_t)write << 32 | (uint32_t)-error);
    if (write)
        disk_moment(disk);
    request->done(request, error);
    while (*link != t)
        link = &(*link)->next;
    *link = t->next;
    free(t);
    sched_wake(&disks.first);
}

struct disk_transfer *disk_transfer_create(struct sim_disk *disk, struct store_request *request)
{
    struct disk_transfer *t = calloc(1, sizeof(*t));
    struct disk_transfer **link = &disks.first;

    if (t == NULL)
        sim_panic("the host has no memory for a transfer");
    *t = (struct disk_transfer){.serial = ++disks.serial, .disk = disk, .request = request};
    t->due_ns = sim.now_ns + disk_latency(disk);
    request->store_private[0] = t->serial;
    while (*link != NULL)
        link = &(*link)->next;
    *link = t;
    return t;
}

void disk_transfer_start(void)
{
    sched_wake(&disks.fiber);
    sim_preempt();
}

static bool disk_transfer_listed(uint64_t serial)
{
    for (const struct disk_transfer *t = disks.first; t != NULL; t = t->next) {
        if (t->serial == serial)
            return true;
    }
    return false;
}

void disk_transfer_wait(uint64_t serial)
{
    while (disk_transfer_listed(serial))
        sched_sleep(&disks.first, UINT64_MAX);
}

const struct disk_transfer *disk_transfer_first(void)
{
    return disks.first;
}

/* ---- the fiber ------------------------------------------------------------------------------- */

/* Returns the transfer that is due first; NULL: none is in flight. */
static struct disk_transfer *disk_transfer_next(void)
{
    struct disk_transfer *next = NULL;

    for (struct disk_transfer *t = disks.first; t != NULL; t = t->next) {
        if (!t->moved && t->due_ns != UINT64_MAX && (next == NULL || t->due_ns < next->due_ns))
            next = t;
    }
    return next;
}

static void disk_fiber_main(void *arg)
{
    (void)arg;
    while (!disks.stopping) {
        struct disk_transfer *t = disk_transfer_next();

        if (t == NULL)
            sched_sleep(&disks.fiber, UINT64_MAX);
        else if (t->due_ns > sim.now_ns)
            sched_sleep(&disks.fiber, t->due_ns);
        else
            disk_transfer_complete(t);
    }
}

void disk_fiber_start(void)
{
    disks.stopping = false;
    disks.fiber = sched_daemon("disk", disk_fiber_main, NULL);
}

void disk_fiber_drain(void)
{
    while (disks.first != NULL)
        sched_sleep(&disks.first, UINT64_MAX);
}

void disk_fiber_stop(void)
{
    disk_fiber_drain();
    disks.stopping = true;
    sched_wake(&disks.fiber);
    sched_join(disks.fiber);
    disks.serial = 0;
    disk_store_check_closed();
}
