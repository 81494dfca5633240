/*
 * disk.c: simulated disks: the disk itself; disk.h has the drawing, and disk_state.h lists the other files.
 *
 *   a write that is done ─┬─▶ current image
 *                         └─▶ cache: oldest ─▶ … ─▶ youngest ──flush, or the cache is full──▶ durable image
 */
#include "disk_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DISK_CACHE_MAX   4096 /* writes; a full cache makes its oldest durable */
#define DISK_LATENCY_MIN 20000
#define DISK_LATENCY_MAX 200000

/* ---- space ----------------------------------------------------------------------------------- */

/* Takes the space from the pages that lie wholly in [offset, end). */
static void space_free(struct sim_disk *disk, uint64_t offset, uint64_t end)
{
    for (uint64_t i = atop(round_page(offset)); i < atop(end) && i < disk->space.len_bytes; i++) {
        disk->faults.room_pages += disk->space.bytes[i];
        disk->space.bytes[i] = 0;
    }
}

int disk_space_take(struct sim_disk *disk, uint64_t offset, uint64_t len_bytes)
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

/* ---- the disk and its cache ------------------------------------------------------------------ */

struct sim_disk *disk_create(uint64_t key, uint64_t seed)
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

void disk_destage(struct sim_disk *disk)
{
    struct cached_write *write = disk->oldest;

    image_write(&disk->durable, write->offset, write->bytes, write->len_bytes);
    disk->oldest = write->next;
    if (disk->oldest == NULL)
        disk->youngest = &disk->oldest;
    disk->ncached--;
    free(write);
}

void disk_cache(struct sim_disk *disk, uint64_t offset, const void *buf, size_t len_bytes)
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

void disk_moment(struct sim_disk *disk)
{
    if (disk->hook != NULL)
        disk->hook(disk, disk->hook_arg);
}

void sim_disk_read(const struct sim_disk *disk, uint64_t offset, void *buf, size_t len_bytes)
{
    image_read(&disk->current, offset, buf, len_bytes);
}

void disk_resize(struct sim_disk *disk, uint64_t len_bytes)
{
    while (disk->oldest != NULL)
        disk_destage(disk); /* or a write would come back when the file grows again */
    space_free(disk, len_bytes, UINT64_MAX);
    image_resize(&disk->current, len_bytes);
    image_resize(&disk->durable, len_bytes);
}

void disk_zero(struct sim_disk *disk, uint64_t offset, uint64_t len_bytes)
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
