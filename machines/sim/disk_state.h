/*
 * disk_state.h: a simulated disk from within: what its files share.
 *
 *     disk.c           the disk, its write cache, its space, and changes behind the VM's back
 *     disk_image.c     an array of bytes
 *     disk_power.c     what a power cut leaves
 *     disk_transfer.c  transfers: the list of those in flight, the bytes that they move, the fiber
 *     disk_store.c     the store (store.h) over a disk
 */
#ifndef MACHINES_SIM_DISK_STATE_H
#define MACHINES_SIM_DISK_STATE_H

#include "computer.h"
#include "disk.h"
#include "disk_image.h"

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
    struct disk_image current, durable;
    bool thin;
    struct disk_image space; /* of a thin disk: a byte for each page, 1: it has space */
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

/* A request's part in one of its pages. */
struct disk_piece {
    uint64_t offset; /* in the file */
    uint8_t *bytes;
    size_t len_bytes;
};

/* ---- disk.c -------------------------------------------------------------------------------------------- */

/* Makes an empty disk. */
struct sim_disk *disk_create(uint64_t key, uint64_t seed);
/* The oldest cached write becomes durable. */
void disk_destage(struct sim_disk *disk);
/* Adds a write to the cache. */
void disk_cache(struct sim_disk *disk, uint64_t offset, const void *buf, size_t len_bytes);
/* Change the file's length, or make a range zeros: at once, and durably. */
void disk_resize(struct sim_disk *disk, uint64_t len_bytes);
void disk_zero(struct sim_disk *disk, uint64_t offset, uint64_t len_bytes);
/* Gives space to all pages that the bytes touch, or to none: -ENOSPC. */
FL_NODISCARD int disk_space_take(struct sim_disk *disk, uint64_t offset, uint64_t len_bytes);
/* A power cut at this moment would leave something new: calls the hook of sim_disk_on_write. */
void disk_moment(struct sim_disk *disk);

/* ---- disk_transfer.c ----------------------------------------------------------------------------------- */

struct disk_transfer {
    struct disk_transfer *next;
    uint64_t serial;
    uint64_t due_ns;
    struct sim_disk *disk;
    struct store_request *request; /* may be gone once `moved` */
    bool moved;
};

/* Draws the time that a transfer takes. */
FL_NODISCARD uint64_t disk_latency(struct sim_disk *disk);
/* Counts a failure, and returns its error. */
FL_NODISCARD int disk_error(struct sim_disk *disk);
/* Counts down; true: this one fails. */
FL_NODISCARD bool disk_nth(uint32_t *nth);
/* Returns the request's part in page i. */
struct disk_piece disk_request_piece(const struct store_request *request, uint32_t i);
/* Puts the request in flight. */
struct disk_transfer *disk_transfer_create(struct sim_disk *disk, struct store_request *request);
/* Lets the fiber see new transfers; other fibers run meanwhile. */
void disk_transfer_start(void);
/* Moves the bytes and calls done() now. The transfer is not the fiber's: its due_ns is UINT64_MAX. */
void disk_transfer_complete(struct disk_transfer *t);
/* Sleeps until the transfer of that serial number is done. */
void disk_transfer_wait(uint64_t serial);
/* Returns the first transfer in flight, in the order of submission. */
const struct disk_transfer *disk_transfer_first(void);

/* ---- disk_store.c -------------------------------------------------------------------------------------- */

/* Panics if a store is open. */
void disk_store_check_closed(void);

#endif
