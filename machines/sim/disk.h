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

/*
 * Faults to inject. Every field may be changed at any time. A field `nth` counts down: 1 fails the next
 * transfer of its kind, 0 fails none; it is 0 again once it has failed one.
 */
struct sim_disk_faults {
    uint32_t fail_read_nth, fail_write_nth, fail_flush_nth, fail_size_nth;
    uint32_t fail_truncate_nth, fail_punch_nth, fail_allocate_nth;
    uint32_t fail_read_permille, fail_write_permille;
    uint64_t bad_read_start, bad_read_end;   /* reads that touch these bytes fail */
    uint64_t bad_write_start, bad_write_end; /* the same for writes */
    uint64_t max_len_bytes;                  /* the file cannot be longer: -ENOSPC; 0: no limit */
    uint64_t room_pages;                     /* of a thin disk: pages that can still get space */
    int error;                               /* of a failed transfer, negative; 0: -EIO */
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

/* Makes a disk of len_bytes zeros. `seed` draws its latencies and chances, and its store key: two disks of
 * one seed are one file. */
struct sim_disk *sim_disk_create(uint64_t len_bytes, uint64_t seed);
/* Frees the disk. Context: no store is open on it. */
void sim_disk_destroy(struct sim_disk *disk);
/* Sets the smallest transfer of stores that are opened from now on: a power of two from SIM_SECTOR_SIZE to a
 * page. A new disk has a page. */
void sim_disk_set_block(struct sim_disk *disk, uint32_t block_bytes);
/*
 * Makes the whole disk a hole. A page gets space when it is first written or allocated, and loses it when it
 * is punched or cut off. When room_pages are used up, writes and allocations fail with -ENOSPC. Copies of the
 * disk, and writes behind the VM's back, do without.
 */
void sim_disk_make_thin(struct sim_disk *disk, uint64_t room_pages);
/* Returns how many pages of a thin disk have space. */
uint64_t sim_disk_space(const struct sim_disk *disk);
/* Returns a new store over the disk, for fl_vnode_open, whose vnode closes it. */
struct store *sim_disk_open(struct sim_disk *disk, bool read_only);
struct sim_disk_faults *sim_disk_faults(struct sim_disk *disk);
struct sim_disk_counts sim_disk_counts(const struct sim_disk *disk);

/* ---- behind the VM's back: no time passes, nothing fails; writes and sizes are durable at once --------- */

/* Beyond the end it reads zeros. */
void sim_disk_read(const struct sim_disk *disk, uint64_t offset, void *buf, size_t len_bytes);
/* A write beyond the end extends the file. */
void sim_disk_write(struct sim_disk *disk, uint64_t offset, const void *buf, size_t len_bytes);
uint64_t sim_disk_size(const struct sim_disk *disk);
/* Cuts the file off, or extends it with zeros. */
void sim_disk_truncate(struct sim_disk *disk, uint64_t len_bytes);
/* Makes [offset, offset + len_bytes) zeros. */
void sim_disk_punch(struct sim_disk *disk, uint64_t offset, uint64_t len_bytes);

/* ---- power -------------------------------------------------------------------------------------------- */

/* Returns a new disk with what a power cut at this moment leaves, drawn from `seed`. The old one lives on: a
 * test can branch at every write. */
struct sim_disk *sim_disk_power_cut(const struct sim_disk *disk, uint64_t seed);
/*
 * Calls fn for each piece that such a cut may leave or lose: every write that is not durable, page by page;
 * first the cached ones, oldest first, then those in flight. The bytes are valid during the call. In whatever
 * order the disk works, every byte after the cut is the durable one or one of these.
 */
typedef void sim_disk_unsafe_fn(uint64_t offset, const uint8_t *bytes, size_t len_bytes, void *arg);
void sim_disk_unsafe(const struct sim_disk *disk, sim_disk_unsafe_fn *fn, void *arg);
/*
 * The same as sim_disk_power_cut, but exactly those pieces landed, in the order of sim_disk_unsafe, whose bit
 * in `landed` is set. The first piece is bit 0; those after bit 63 are lost. 0: the durable image.
 */
struct sim_disk *sim_disk_power_cut_landed(const struct sim_disk *disk, uint64_t landed);
/* Returns a new disk whose bytes are what reads of the old one see now. */
struct sim_disk *sim_disk_snapshot(const struct sim_disk *disk);
/*
 * From now on calls hook at each moment at which a power cut would leave something new: a write was
 * submitted, a write was done, a flush was done. NULL: at none.
 */
void sim_disk_on_write(struct sim_disk *disk, void (*hook)(struct sim_disk *disk, void *arg), void *arg);

#endif
