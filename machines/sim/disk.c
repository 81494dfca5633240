/*
 * disk.c: simulated disks; disk.h has the drawing.
 *
 *   transfer: submit (latency drawn) ─▶ in the list ─▶ due: bytes move, done() ─▶ out of it, waiters woken
 *   a write that is done: in the current image at once, and a copy in the cache until a flush, or until the
 *   cache is full, makes it durable
 *
 * A request belongs to its caller and may be gone when done() returns, so waiters look for its serial number.
 */
#include "disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "computer.h"
#include "disk_fiber.h"
#include "sched.h"

#define DISK_CACHE_MAX    4096 /* writes; a full cache makes its oldest durable */
#define DISK_LATENCY_MIN  20000
#define DISK_LATENCY_MAX  200000
#define DISK_FLUSH_NS     500000
#define DISK_READ_GARBAGE 0xee /* what a failed read leaves in the buffers */

struct image {
    uint8_t *bytes;
    uint64_t len_bytes, capacity;
};

/* A write that is done but not durable. */
struct cached_write {
    struct cached_write *next; /* younger */
    uint64_t serial;
    uint64_t offset;
    size_t len_bytes;
    uint8_t bytes[];
};

struct sim_disk {
    uint64_t key;
    uint32_t block_bytes; /* of stores that are opened from now on */
    struct prng prng;
    struct image current, durable;
    bool thin;
    struct image space; /* of a thin disk: a byte for each page, 1: it has space */
    struct cached_write *oldest, **youngest;
    uint32_t ncached;
    uint64_t serial; /* of the last cached write */
    struct sim_disk_faults faults;
    struct sim_disk_counts counts;
    uint32_t nstores;
    unsigned changed; /* STORE_*: what happened behind the VM's back since that was taken last */
    void (*hook)(struct sim_disk *disk, void *arg);
    void *hook_arg;
};

struct disk_store {
    struct store store; /* first */
    struct sim_disk *disk;
};

struct transfer {
    struct transfer *next;
    uint64_t serial;
    uint64_t due_ns;
    struct sim_disk *disk;
    struct store_request *request; /* may be gone once `moved` */
    bool moved;
};

static struct {
    struct transfer *first; /* in order of submission */
    uint64_t serial;
    uint32_t nstores;
    bool stopping;
    struct fiber *fiber;
} disks;

/* ---- images ---------------------------------------------------------------------------------- */

static void image_resize(struct image *image, uint64_t len_bytes)
{
    if (len_bytes > image->capacity) {
        uint64_t capacity = len_bytes > 2 * image->capacity ? len_bytes : 2 * image->capacity;

        image->bytes = realloc(image->bytes, capacity);
        if (image->bytes == NULL)
            sim_panic("the host has no memory for a disk of %llu bytes", (unsigned long long)len_bytes);
        image->capacity = capacity;
    }
    if (len_bytes > image->len_bytes)
        memset(image->bytes + image->len_bytes, 0, len_bytes - image->len_bytes);
    image->len_bytes = len_bytes;
}

/* Returns how much of [offset, offset + len_bytes) lies within the image. */
static size_t image_trim(const struct image *image, uint64_t offset, size_t len_bytes)
{
    if (offset >= image->len_bytes)
        return 0;
    return image->len_bytes - offset < len_bytes ? (size_t)(image->len_bytes - offset) : len_bytes;
}

static void image_read(const struct image *image, uint64_t offset, void *buf, size_t len_bytes)
{
    size_t inside = image_trim(image, offset, len_bytes);

    if (inside > 0)
        memcpy(buf, image->bytes + offset, inside);
    memset((char *)buf + inside, 0, len_bytes - inside);
}

static void image_write(struct image *image, uint64_t offset, const void *buf, size_t len_bytes)
{
    size_t inside = image_trim(image, offset, len_bytes);

    if (inside > 0)
        memcpy(image->bytes + offset, buf, inside);
}

/* Writes each sector of the bytes with a chance of `permille` in a thousand. */
static void image_write_torn(struct image *image, uint64_t offset, const uint8_t *buf, size_t len_bytes,
                             struct prng *prng, uint32_t permille)
{
    for (size_t at = 0; at < len_bytes; at += SIM_SECTOR_SIZE) {
        size_t piece = len_bytes - at < SIM_SECTOR_SIZE ? len_bytes - at : SIM_SECTOR_SIZE;

        if (prng_chance(prng, permille))
            image_write(image, offset + at, buf + at, piece);
    }
}

/* ---- space ----------------------------------------------------------------------------------- */

/* Takes the space from the pages that lie wholly in [offset, end). */
static void space_free(struct sim_disk *disk, uint64_t offset, uint64_t end)
{
    for (uint64_t i = atop(round_page(offset)); i < atop(end) && i < disk->space.len_bytes; i++) {
        disk->faults.room_pages += disk->space.bytes[i];
        disk->space.bytes[i] = 0;
    }
}

/* Gives space to all pages that the bytes touch, or to none: -ENOSPC. */
static int space_take(struct sim_disk *disk, uint64_t offset, uint64_t len_bytes)
{
    uint64_t first = atop(offset), end = atop(round_page(offset + len_bytes)), lack = 0;

    if (!disk->thin || len_bytes == 0)
        return 0;
    if (end > disk->space.len_bytes)
        image_resize(&disk->space, end);
    for (uint64_t i = first; i < end; i++)
        lack += !disk->space.bytes[i];
    if (lack > disk->faults.room_pages)
        return -ENOSPC;
    disk->faults.room_pages -= lack;
    memset(disk->space.bytes + first, 1, end - first);
    return 0;
}

void sim_disk_make_thin(struct sim_disk *disk, uint64_t room_pages)
{
    disk->thin = true;
    disk->faults.room_pages = room_pages;
}

uint64_t sim_disk_space(const struct sim_disk *disk)
{
    uint64_t npages = 0;

    for (uint64_t i = 0; i < disk->space.len_bytes; i++)
        npages += disk->space.bytes[i];
    return npages;
}

/* A request's part in one of its pages. */
struct piece {
    uint64_t offset; /* in the file */
    uint8_t *bytes;
    size_t len_bytes;
};

static struct piece request_piece(const struct store_request *request, uint32_t i)
{
    size_t start, len_bytes = store_request_piece(request, i, &start);

    return (struct piece){
        .offset = trunc_page(request->offset) + ptoa(i) + start,
        .bytes = (uint8_t *)request->addr[i] + start,
        .len_bytes = len_bytes,
    };
}

/* ---- the disk and its cache ------------------------------------------------------------------ */

static struct sim_disk *disk_create(uint64_t key, uint64_t seed)
{
    struct sim_disk *disk = calloc(1, sizeof(*disk));

    if (disk == NULL)
        sim_panic("the host has no memory for a disk");
    disk->key = key;
    prng_init(&disk->prng, seed);
    disk->block_bytes = VM_PAGE_SIZE;
    disk->youngest = &disk->oldest;
    disk->faults.latency_min_ns = DISK_LATENCY_MIN;
    disk->faults.latency_max_ns = DISK_LATENCY_MAX;
    return disk;
}

struct sim_disk *sim_disk_create(uint64_t len_bytes, uint64_t seed)
{
    struct sim_disk *disk = disk_create(prng_mix(seed + 1), seed);

    sim_disk_truncate(disk, len_bytes);
    return disk;
}

/* The oldest cached write becomes durable. */
static void disk_destage(struct sim_disk *disk)
{
    struct cached_write *write = disk->oldest;

    image_write(&disk->durable, write->offset, write->bytes, write->len_bytes);
    disk->oldest = write->next;
    if (disk->oldest == NULL)
        disk->youngest = &disk->oldest;
    disk->ncached--;
    free(write);
}

static void disk_cache(struct sim_disk *disk, uint64_t offset, const void *buf, size_t len_bytes)
{
    struct cached_write *write = malloc(sizeof(*write) + len_bytes);

    if (write == NULL)
        sim_panic("the host has no memory for a cached write");
    *write = (struct cached_write){.serial = ++disk->serial, .offset = offset, .len_bytes = len_bytes};
    memcpy(write->bytes, buf, len_bytes);
    *disk->youngest = write;
    disk->youngest = &write->next;
    if (++disk->ncached > DISK_CACHE_MAX)
        disk_destage(disk);
}

void sim_disk_destroy(struct sim_disk *disk)
{
    if (disk->nstores > 0)
        sim_panic("leak: a disk is destroyed with %u stores open on it", disk->nstores);
    while (disk->oldest != NULL)
        disk_destage(disk);
    free(disk->current.bytes);
    free(disk->durable.bytes);
    free(disk->space.bytes);
    free(disk);
}

void sim_disk_set_block(struct sim_disk *disk, uint32_t block_bytes)
{
    if (block_bytes < SIM_SECTOR_SIZE || block_bytes > VM_PAGE_SIZE || (block_bytes & (block_bytes - 1)) != 0)
        sim_panic("a disk with blocks of %u bytes", block_bytes);
    disk->block_bytes = block_bytes;
}

struct sim_disk_faults *sim_disk_faults(struct sim_disk *disk)
{
    return &disk->faults;
}

struct sim_disk_counts sim_disk_counts(const struct sim_disk *disk)
{
    return disk->counts;
}

void sim_disk_on_write(struct sim_disk *disk, void (*hook)(struct sim_disk *disk, void *arg), void *arg)
{
    disk->hook = hook;
    disk->hook_arg = arg;
}

static void disk_moment(struct sim_disk *disk)
{
    if (disk->hook != NULL)
        disk->hook(disk, disk->hook_arg);
}

void sim_disk_read(const struct sim_disk *disk, uint64_t offset, void *buf, size_t len_bytes)
{
    image_read(&disk->current, offset, buf, len_bytes);
}

static void disk_resize(struct sim_disk *disk, uint64_t len_bytes)
{
    while (disk->oldest != NULL)
        disk_destage(disk); /* or a write would come back when the file grows again */
    space_free(disk, len_bytes, UINT64_MAX);
    image_resize(&disk->current, len_bytes);
    image_resize(&disk->durable, len_bytes);
}

static void disk_zero(struct sim_disk *disk, uint64_t offset, uint64_t len_bytes)
{
    while (disk->oldest != NULL)
        disk_destage(disk); /* or an older write would fill the hole when it is flushed */
    len_bytes = image_trim(&disk->current, offset, len_bytes);
    if (len_bytes == 0)
        return;
    memset(disk->current.bytes + offset, 0, len_bytes);
    memset(disk->durable.bytes + offset, 0, len_bytes);
    space_free(disk, offset, offset + len_bytes);
}

void sim_disk_write(struct sim_disk *disk, uint64_t offset, const void *buf, size_t len_bytes)
{
    if (offset + len_bytes > disk->current.len_bytes)
        disk_resize(disk, offset + len_bytes);
    disk->changed |= STORE_CHANGED | STORE_REWRITTEN;
    while (disk->oldest != NULL)
        disk_destage(disk); /* or an older write would cover this one when it is flushed */
    image_write(&disk->current, offset, buf, len_bytes);
    image_write(&disk->durable, offset, buf, len_bytes);
}

uint64_t sim_disk_size(const struct sim_disk *disk)
{
    return disk->current.len_bytes;
}

void sim_disk_truncate(struct sim_disk *disk, uint64_t len_bytes)
{
    disk_resize(disk, len_bytes);
    disk->changed |= STORE_CHANGED | STORE_REWRITTEN;
}

void sim_disk_punch(struct sim_disk *disk, uint64_t offset, uint64_t len_bytes)
{
    disk_zero(disk, offset, len_bytes);
    disk->changed |= STORE_CHANGED | STORE_REWRITTEN;
}

/* ---- power ----------------------------------------------------------------------------------- */

struct sim_disk *sim_disk_snapshot(const struct sim_disk *disk)
{
    struct sim_disk *copy = disk_create(prng_mix(disk->key), disk->key);

    copy->block_bytes = disk->block_bytes;
    sim_disk_write(copy, 0, disk->current.bytes, disk->current.len_bytes);
    return copy;
}

void sim_disk_unsafe(const struct sim_disk *disk, sim_disk_unsafe_fn *fn, void *arg)
{
    for (const struct cached_write *write = disk->oldest; write != NULL; write = write->next)
        fn(write->offset, write->bytes, write->len_bytes, arg);
    for (const struct transfer *t = disks.first; t != NULL; t = t->next) {
        if (t->disk != disk || t->moved || t->request->op != STORE_WRITE)
            continue;
        for (uint32_t i = 0; i < t->request->npages; i++) {
            struct piece piece = request_piece(t->request, i);

            fn(piece.offset, piece.bytes, piece.len_bytes, arg);
        }
    }
}

/* A power cut: the durable image, and over it the unsafe pieces that landed. */
struct power_cut {
    struct sim_disk *cut;
    uint32_t permille; /* of the sectors land */
    uint64_t landed;   /* bit i: piece i landed */
    uint32_t npieces;
};

static void power_cut_begin(struct power_cut *pc, const struct sim_disk *disk, uint64_t seed)
{
    pc->cut = disk_create(prng_mix(disk->key ^ seed), seed);
    pc->cut->block_bytes = disk->block_bytes;
    image_resize(&pc->cut->current, disk->durable.len_bytes);
    image_write(&pc->cut->current, 0, disk->durable.bytes, disk->durable.len_bytes);
}

static struct sim_disk *power_cut_end(struct power_cut *pc)
{
    image_resize(&pc->cut->durable, pc->cut->current.len_bytes);
    image_write(&pc->cut->durable, 0, pc->cut->current.bytes, pc->cut->current.len_bytes);
    return pc->cut;
}

static void piece_tear(uint64_t offset, const uint8_t *bytes, size_t len_bytes, void *arg)
{
    struct power_cut *pc = arg;

    image_write_torn(&pc->cut->current, offset, bytes, len_bytes, &pc->cut->prng, pc->permille);
}

static void piece_land(uint64_t offset, const uint8_t *bytes, size_t len_bytes, void *arg)
{
    struct power_cut *pc = arg;

    if (pc->landed >> pc->npieces++ & 1)
        image_write(&pc->cut->current, offset, bytes, len_bytes);
}

struct sim_disk *sim_disk_power_cut(const struct sim_disk *disk, uint64_t seed)
{
    struct power_cut pc = {.cut = NULL};

    power_cut_begin(&pc, disk, seed);
    /* One bias for each cut, so that all, none, and everything between occurs. */
    pc.permille = (uint32_t)prng_below(&pc.cut->prng, 5) * 250;
    sim_disk_unsafe(disk, piece_tear, &pc);
    return power_cut_end(&pc);
}

struct sim_disk *sim_disk_power_cut_landed(const struct sim_disk *disk, uint64_t landed)
{
    struct power_cut pc = {.landed = landed};

    power_cut_begin(&pc, disk, landed);
    sim_disk_unsafe(disk, piece_land, &pc);
    return power_cut_end(&pc);
}

/* ---- transfers ------------------------------------------------------------------------------- */

static uint64_t disk_latency(struct sim_disk *disk)
{
    return prng_range(&disk->prng, disk->faults.latency_min_ns, disk->faults.latency_max_ns);
}

static int disk_error(struct sim_disk *disk)
{
    disk->counts.failures++;
    return disk->faults.error != 0 ? disk->faults.error : -EIO;
}

static bool disk_nth(uint32_t *nth)
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
        struct piece piece = request_piece(request, i);

        if (fails)
            memset(piece.bytes, DISK_READ_GARBAGE, piece.len_bytes);
        else
            image_read(&disk->current, piece.offset, piece.bytes, piece.len_bytes);
    }
    return fails ? disk_error(disk) : 0;
}

/* A torn write leaves some sectors; they are cached like those of any write. */
static void disk_write_piece(struct sim_disk *disk, struct piece piece, bool torn)
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
    int full = fails ? 0 : space_take(disk, request->offset, inside);

    if (full != 0) {
        disk->counts.failures++;
        return full;
    }
    for (uint32_t i = 0; i < request->npages; i++) {
        if (!fails || faults->torn)
            disk_write_piece(disk, request_piece(request, i), fails);
    }
    return fails ? disk_error(disk) : 0;
}

/* Moves the bytes and calls done(). The transfer stays on the list until then, so that
 * waiters wait for that. */
static void transfer_complete(struct transfer *t)
{
    struct store_request *request = t->request;
    struct sim_disk *disk = t->disk;
    bool write = request->op == STORE_WRITE;
    int error = write ? disk_write_pages(disk, request) : disk_read_pages(disk, request);
    struct transfer **link = &disks.first;

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

static struct transfer *transfer_create(struct sim_disk *disk, struct store_request *request)
{
    struct transfer *t = calloc(1, sizeof(*t));
    struct transfer **link = &disks.first;

    if (t == NULL)
        sim_panic("the host has no memory for a transfer");
    *t = (struct transfer){.serial = ++disks.serial, .disk = disk, .request = request};
    t->due_ns = sim.now_ns + disk_latency(disk);
    request->store_private[0] = t->serial;
    while (*link != NULL)
        link = &(*link)->next;
    *link = t;
    return t;
}

/* Puts the request in flight. */
static struct transfer *disk_accept(struct disk_store *store, struct store_request *request)
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
    return transfer_create(disk, request);
}

static void disk_submit(struct store *store, struct store_request *request)
{
    struct sim_disk *disk = ((struct disk_store *)store)->disk;

    sched_assert_no_locks("store submit");
    struct transfer *t = disk_accept((struct disk_store *)store, request);
    if (request->op == STORE_WRITE)
        disk_moment(disk);
    if ((request->flags & STORE_REQUEST_WAIT) && prng_chance(&disk->prng, 500)) {
        uint64_t due_ns = t->due_ns;

        t->due_ns = UINT64_MAX; /* not for the disk fiber */
        if (due_ns > sim.now_ns)
            sim_sleep_ns(due_ns - sim.now_ns);
        transfer_complete(t);
        return;
    }
    sched_wake(&disks.fiber);
    sim_preempt();
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
    sched_wake(&disks.fiber);
    sim_preempt();
}

static bool transfer_listed(uint64_t serial)
{
    for (const struct transfer *t = disks.first; t != NULL; t = t->next) {
        if (t->serial == serial)
            return true;
    }
    return false;
}

static void disk_wait(struct store *store, struct store_request *request)
{
    uint64_t serial = request->store_private[0];

    (void)store;
    sched_assert_no_locks("store wait");
    while (transfer_listed(serial))
        sched_sleep(&disks.first, UINT64_MAX);
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
    return error != 0 ? error : space_take(disk, offset, len_bytes);
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
    disks.nstores--;
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
    disks.nstores++;
    return &store->store;
}

/* ---- the fiber ------------------------------------------------------------------------------- */

/* Returns the transfer that is due first; NULL: none is in flight. */
static struct transfer *transfer_next(void)
{
    struct transfer *next = NULL;

    for (struct transfer *t = disks.first; t != NULL; t = t->next) {
        if (!t->moved && t->due_ns != UINT64_MAX && (next == NULL || t->due_ns < next->due_ns))
            next = t;
    }
    return next;
}

static void disk_fiber_main(void *arg)
{
    (void)arg;
    while (!disks.stopping) {
        struct transfer *t = transfer_next();

        if (t == NULL)
            sched_sleep(&disks.fiber, UINT64_MAX);
        else if (t->due_ns > sim.now_ns)
            sched_sleep(&disks.fiber, t->due_ns);
        else
            transfer_complete(t);
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
    if (disks.nstores > 0)
        sim_panic("leak: %u stores are open", disks.nstores);
}
