/*
 * disk.h: a simulated disk that is one file, and the store (store.h) over it.
 *
 *   submit ─▶ in flight ──latency, reordered──▶ current image ──flush──▶ durable image
 *                 │ done()                      (what reads see)        (what a power cut leaves)
 *                 └ each 512-byte sector of what is in flight or not flushed may or may not
 *                   have landed when the power goes
 *
 * A disk lives outside the simulated computer: it is made before sim_boot and looked at after sim_shutdown.
 * Transfers, also failed ones, take simulated time and are completed by a fiber of the machine's.
 */
#ifndef MACHINES_SIM_DISK_H
#define MACHINES_SIM_DISK_H

#include <faultline/store.h>

#define SIM_SECTOR_SIZE 512

struct sim_disk;

/* Every field may be changed at any time. A countdown `nth`: 1 fails the next transfer of the kind, 0 none;
 * it is 0 again once it fired. */
struct sim_disk_faults {
    uint32_t fail_read_nth, fail_write_nth, fail_flush_nth, fail_size_nth, fail_truncate_nth, fail_punch_nth,
        fail_allocate_nth; /* countdowns */
    uint32_t fail_read_permille, fail_write_permille;
    uint64_t bad_read_start, bad_read_end;   /* reads that touch these bytes fail */
    uint64_t bad_write_start, bad_write_end; /* the same for writes */
    uint64_t max_len_bytes;                  /* the file cannot be longer: -ENOSPC; 0: no limit */
    uint64_t room_pages;                     /* of a thin disk: that can still get their space */
    int error;                               /* what a failed one says, negative; 0: -EIO */
    bool torn;                               /* a failed write leaves some of its sectors */
    uint64_t latency_min_ns, latency_max_ns; /* of a transfer */
};

struct sim_disk_counts {
    uint64_t reads, writes; /* requests submitted */
    uint64_t batches;       /* of several of them */
    uint64_t pages_read, pages_written;
    uint64_t bytes_read, bytes_written;
    uint64_t flushes, failures, allocations;
    uint64_t in_flight; /* now */
};

/* A disk of len_bytes zeros. Its latencies and chances come from `seed`, its store key too: two disks of one
 * seed are one file. */
struct sim_disk *sim_disk_create(uint64_t len_bytes, uint64_t seed);
/* No store is open on it. */
void sim_disk_destroy(struct sim_disk *disk);
/* The smallest transfer of stores that are opened from now on: a power of two from SIM_SECTOR_SIZE to a page,
 * as which it was born. */
void sim_disk_set_block(struct sim_disk *disk, uint32_t block_bytes);
/*
 * All of it becomes a hole: a page has its space with its first write or when it is allocated, until it is
 * punched or cut off, and where there is none (sim_disk_faults, room_pages) the one and the other say
 * -ENOSPC. Not inherited by copies, nor by what is written behind the VM's back.
 */
void sim_disk_make_thin(struct sim_disk *disk, uint64_t room_pages);
/* How many pages of a thin disk have their space. */
uint64_t sim_disk_space(const struct sim_disk *disk);
/* A store over the disk, for fl_vnode_open, which closes it. */
struct store *sim_disk_open(struct sim_disk *disk, bool read_only);
struct sim_disk_faults *sim_disk_faults(struct sim_disk *disk);
struct sim_disk_counts sim_disk_counts(const struct sim_disk *disk);

/* ---- behind the VM's back: at once, no time passes, nothing fails. Writes and sizes are durable. ---- */

void sim_disk_read(const struct sim_disk *disk, uint64_t offset, void *buf,
                   size_t len_bytes); /* zeros beyond the end */
void sim_disk_write(struct sim_disk *disk, uint64_t offset, const void *buf,
                    size_t len_bytes); /* extends it */
uint64_t sim_disk_size(const struct sim_disk *disk);
void sim_disk_truncate(struct sim_disk *disk, uint64_t len_bytes); /* or extends it with zeros */

void sim_disk_punch(struct sim_disk *disk, uint64_t offset, uint64_t len_bytes); /* zeros there */

/* ---- power ---- */

/* A new disk with what a power cut at this moment leaves, chosen by `seed`. The old one lives on: a run can
 * be branched at every write. */
struct sim_disk *sim_disk_power_cut(const struct sim_disk *disk, uint64_t seed);
/*
 * What such a cut may leave or lose: fn hears of each write that is not durable, page by page, cached ones from
 * the oldest on, then those in flight. Its bytes are there for the length of the call. Every byte that any
 * order of the disk's may leave is the durable one or one of these.
 */
typedef void sim_disk_unsafe_fn(uint64_t offset, const uint8_t *bytes, size_t len_bytes, void *arg);
void sim_disk_unsafe(const struct sim_disk *disk, sim_disk_unsafe_fn *fn, void *arg);
/* The same as sim_disk_power_cut, where exactly those landed, in this order, whose bit is set; the first is bit
 * 0, those behind bit 63 are lost. 0: the durable image. */
struct sim_disk *sim_disk_power_cut_landed(const struct sim_disk *disk, uint64_t landed);
/* Every byte of the new disk is what reads of the old one see now. */
struct sim_disk *sim_disk_snapshot(const struct sim_disk *disk);
/* Calls hook at each moment where the power could go and the outcome would differ: a write was submitted, a
 * write was done, a flush was done. NULL: no longer. */
void sim_disk_on_write(struct sim_disk *disk, void (*hook)(struct sim_disk *disk, void *arg), void *arg);

#endif
