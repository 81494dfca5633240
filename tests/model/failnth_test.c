/*
 * failnth_test.c: fail the Nth allocation, mapping, read, write, flush, query of the length, and any other
 * operation of a store, for every N; with forks also each transfer of swap.
 *
 *   for each scene and each kind of failure, N = 1, 2, …:
 *       boot ─▶ the Nth fails ─▶ scene: succeeds, or says why ─▶ checked ─▶ the scene again: succeeds
 *            ─▶ destroy: nothing is left over
 *   until a scene ends before its Nth
 */
#include "model/sim_driver.h"
#include "support/boot.h"
#include <errno.h>
#include <faultline/vm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define P(n)  ((n)*DRIVER_PAGE)
#define RW    (VM_PROT_READ | VM_PROT_WRITE)
#define ANON  (FL_MAP_PRIVATE | FL_MAP_ANONYMOUS)
#define N_MAX 2000 /* no scene has so many operations of one kind */

/* Returns from the scene with the error. */
#define TRY(call)                                                                                            \
    do {                                                                                                     \
        int64_t result_ = (call);                                                                            \
        if (result_ < 0)                                                                                     \
            return (int)result_;                                                                             \
    } while (0)

/* ---- scenes: each works on an empty window, however often ---------------------------------------------- */

static int put(struct driver *d, uint64_t addr, uint8_t byte)
{
    return d->store(d, addr, &byte, 1);
}

/* Loads a byte that is known. */
static int expect(struct driver *d, uint64_t addr, uint8_t byte)
{
    uint8_t got;

    TRY(d->load(d, addr, &got, 1));
    assert_int_equal(got, byte);
    return 0;
}

static int shared_file(struct driver *d)
{
    uint8_t on_disk;

    TRY(d->mmap(d, DRIVER_ANY, P(8), RW, FL_MAP_SHARED, 0, P(1)));
    TRY(d->mmap(d, P(16), P(8), RW, FL_MAP_SHARED | FL_MAP_FIXED, 0, P(1)));
    TRY(put(d, P(17) + 3, 0x41));
    TRY(put(d, P(18) + 3, 0x42));
    TRY(expect(d, DRIVER_WINDOW_BYTES - P(7) + 3, 0x41));
    TRY(d->mprotect(d, P(17), P(2), VM_PROT_READ));
    TRY(d->madvise(d, P(20), P(2), FL_MADV_RANDOM));
    TRY(d->msync(d, P(16), P(8), FL_MS_SYNC));
    TRY(d->file_read(d, 0, P(2) + 3, &on_disk, 1));
    assert_int_equal(on_disk, 0x41);
    TRY(d->munmap(d, P(19), P(1)));
    TRY(expect(d, P(18) + 3, 0x42));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

static int private_file(struct driver *d)
{
    TRY(d->mmap(d, P(1), P(10), RW, FL_MAP_PRIVATE | FL_MAP_FIXED, 3, 0));
    TRY(expect(d, P(2), driver_file_byte(2, P(1))));
    TRY(put(d, P(2), 0x51));
    TRY(put(d, P(9), 0x52));
    TRY(expect(d, P(2) + 1, driver_file_byte(2, P(1) + 1)));
    TRY(d->munmap(d, P(4), P(2)));
    TRY(d->mremap(d, P(1), P(3), P(6), FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED, P(40)));
    TRY(expect(d, P(41), 0x51));
    TRY(expect(d, P(45), driver_file_byte(2, P(5))));
    TRY(d->madvise(d, P(40), P(6), FL_MADV_DONTNEED));
    TRY(expect(d, P(41), driver_file_byte(2, P(1))));
    TRY(expect(d, P(9), 0x52));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

static int anonymous(struct driver *d)
{
    TRY(d->mmap(d, P(60), P(20), RW, ANON | FL_MAP_FIXED, -1, 0));
    TRY(put(d, P(62), 1));
    TRY(put(d, P(70), 2));
    TRY(expect(d, P(63), 0));
    TRY(d->mmap(d, P(64), P(4), VM_PROT_READ, FL_MAP_SHARED | FL_MAP_ANONYMOUS | FL_MAP_FIXED, -1, 0));
    TRY(expect(d, P(65), 0));
    TRY(d->mprotect(d, P(62), P(4), RW));
    TRY(put(d, P(65), 3));
    TRY(expect(d, P(70), 2));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

static int locked(struct driver *d)
{
    unsigned char vec[8];

    TRY(d->mmap(d, P(1), P(8), RW, FL_MAP_PRIVATE | FL_MAP_FIXED, 3, 0));
    TRY(d->mlock(d, P(2), P(4)));
    TRY(d->mincore(d, P(2), P(4), vec));
    assert_int_equal(vec[0] & vec[1] & vec[2] & vec[3] & 1, 1);
    TRY(put(d, P(3), 0x61));
    TRY(d->mprotect(d, P(4), P(2), VM_PROT_READ));
    TRY(d->mprotect(d, P(4), P(2), RW));
    TRY(d->munlock(d, P(3), P(1)));
    TRY(expect(d, P(3), 0x61));
    TRY(d->mmap(d, P(20), P(4), RW, ANON | FL_MAP_FIXED | FL_MAP_LOCKED, -1, 0));
    TRY(d->mremap(d, P(20), P(4), P(6), FL_MREMAP_MAYMOVE, 0));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

static int moving(struct driver *d)
{
    TRY(d->mmap(d, P(1), P(8), RW, FL_MAP_SHARED | FL_MAP_FIXED, 1, 0));
    TRY(d->mmap(d, P(30), P(8), RW, ANON | FL_MAP_FIXED, -1, 0));
    TRY(put(d, P(2), 0x71));
    TRY(put(d, P(31), 0x72));
    TRY(d->mremap(d, P(1), P(8), P(12), 0, 0));
    TRY(d->mremap(d, P(3), P(4), P(4), FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED, P(33)));
    TRY(d->mremap(d, P(30), P(3), P(20), FL_MREMAP_MAYMOVE, 0));
    TRY(expect(d, DRIVER_WINDOW_BYTES - P(19), 0x72));
    TRY(d->mremap(d, P(1), 0, P(2), FL_MREMAP_MAYMOVE, 0));
    TRY(expect(d, DRIVER_WINDOW_BYTES - P(21), 0x71));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

/*
 * A system call holds pages of a file, of a private mapping and of
 * anonymous memory, and stays in progress during the rest.
 */
static int held(struct driver *d)
{
    int slot;

    for (slot = 0; slot < DRIVER_HOLDS; slot++)
        d->unhold(d, slot);
    TRY(d->set_size(d, 1, P(20)));
    TRY(d->mmap(d, P(1), P(10), RW, FL_MAP_SHARED | FL_MAP_FIXED, 1, 0));
    TRY(d->mmap(d, P(20), P(10), RW, FL_MAP_PRIVATE | FL_MAP_FIXED, 1, P(2)));
    TRY(d->mmap(d, P(40), P(4), RW, ANON | FL_MAP_FIXED, -1, 0));
    TRY(d->hold(d, 0, P(2) + 5, P(3), VM_PROT_WRITE));
    TRY(d->hold(d, 1, P(21), P(2), VM_PROT_WRITE));
    TRY(d->hold(d, 2, P(40), P(2), VM_PROT_READ));
    TRY(d->punch(d, 1, P(1), P(3)));
    TRY(d->held_store(d, 0, P(3), "x", 1));
    TRY(expect(d, P(3), 'x'));
    TRY(d->msync(d, P(1), P(10), FL_MS_SYNC));
    TRY(d->madvise(d, P(40), P(4), FL_MADV_DONTNEED));
    TRY(d->truncate(d, 1, P(1)));
    TRY(d->truncate(d, 1, P(20)));
    TRY(expect(d, P(3), 0));
    TRY(d->munmap(d, 0, DRIVER_WINDOW_BYTES));
    d->unhold(d, 1);
    return 0; /* the other holds stay, also during the next scene or the end */
}

static int cut_off(struct driver *d)
{
    TRY(d->set_size(d, 1, P(40) + 123));
    TRY(d->mmap(d, P(1), P(50), RW, FL_MAP_SHARED | FL_MAP_FIXED, 1, 0));
    TRY(d->mmap(d, P(100), P(50), RW, FL_MAP_PRIVATE | FL_MAP_FIXED, 1, 0));
    TRY(put(d, P(41) + 200, 0x81));
    TRY(put(d, P(30), 0x82));
    TRY(put(d, P(130), 0x83));
    TRY(d->set_size(d, 1, P(20) + 5));
    TRY(d->set_size(d, 1, P(44)));
    TRY(expect(d, P(41) + 200, 0));
    TRY(expect(d, P(30), 0));
    TRY(expect(d, P(130), 0));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

static int heap(struct driver *d)
{
    if (d->brk(d, DRIVER_BRK_START + P(3)) != DRIVER_BRK_START + P(3))
        return -ENOMEM; /* this is how it fails */
    TRY(put(d, DRIVER_BRK_START + P(1), 0x91));
    if (d->brk(d, DRIVER_BRK_START + P(9)) != DRIVER_BRK_START + P(9))
        return -ENOMEM;
    TRY(expect(d, DRIVER_BRK_START + P(1), 0x91));
    return d->brk(d, DRIVER_BRK_START) == DRIVER_BRK_START ? 0 : -ENOMEM;
}

/*
 * Writes everything, as a program does: the rest after a short write is
 * written again, which returns the error.
 */
static int write_all(struct driver *d, int handle, uint64_t off, uint8_t byte, size_t len, unsigned flags)
{
    static uint8_t bytes[16 * DRIVER_PAGE];
    struct fl_iovec iov[2];
    size_t done = 0;

    memset(bytes, byte, len);
    while (done < len) {
        iov[0] = (struct fl_iovec){bytes + done, (len - done) / 2};
        iov[1] = (struct fl_iovec){bytes + done + iov[0].len_bytes, len - done - iov[0].len_bytes};
        int64_t n = d->write(d, handle, iov, 2, flags & FL_IOCB_APPEND ? 0 : off + done, flags);
        TRY(n);
        assert_true(n > 0 && (size_t)n <= len - done);
        done += (size_t)n;
    }
    return 0;
}

/* Reads everything, and compares it. */
static int expect_read(struct driver *d, int handle, uint64_t off, uint8_t byte, size_t len, unsigned flags)
{
    static uint8_t bytes[16 * DRIVER_PAGE];
    size_t done = 0, i;

    while (done < len) {
        struct fl_iovec iov = {bytes + done, len - done};
        int64_t n = d->read(d, handle, &iov, 1, off + done, flags);
        TRY(n);
        assert_true(n > 0 && (size_t)n <= len - done);
        done += (size_t)n;
    }
    for (i = 0; i < len; i++)
        assert_int_equal(bytes[i], byte);
    return 0;
}

static int written(struct driver *d)
{
    TRY(d->set_size(d, 0, P(20) + 100));
    TRY(d->mmap(d, P(1), P(30), RW, FL_MAP_SHARED | FL_MAP_FIXED, 0, 0));
    TRY(put(d, P(3), 0xa0));
    TRY(put(d, P(21) + 3000, 0xa1)); /* beyond the end */
    TRY(write_all(d, 0, 700, 0xa2, P(6), 0));
    TRY(expect(d, P(3), 0xa2));
    TRY(write_all(d, 0, P(22) + 5, 0xa3, 3000, 0));
    TRY(expect(d, P(21) + 3000, 0));
    TRY(write_all(d, 0, 0, 0xa4, 5000, FL_IOCB_APPEND));
    TRY(write_all(d, 0, P(10) + 512, 0xa5, 512, FL_IOCB_DSYNC));
    TRY(expect_read(d, 0, P(10) + 512, 0xa5, 512, 0));
    TRY(expect_read(d, 0, 700, 0xa2, P(6), 0));
    TRY(d->fsync(d, 0, 0));
    TRY(expect_read(d, 0, P(22) + 3005, 0xa4, 5000, 0));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

static int truncated(struct driver *d)
{
    TRY(d->truncate(d, 1, P(30)));
    TRY(d->mmap(d, P(1), P(40), RW, FL_MAP_SHARED | FL_MAP_FIXED, 1, 0));
    TRY(d->mmap(d, P(100), P(40), RW, FL_MAP_PRIVATE | FL_MAP_FIXED, 1, 0));
    TRY(put(d, P(20) + 50, 0xb0));
    TRY(put(d, P(20) + 3000, 0xb1));
    TRY(put(d, P(125), 0xb2));
    TRY(write_all(d, 1, P(15) + 600, 0xb3, P(2), 0));
    TRY(d->truncate(d, 1, P(19) + 1000));
    TRY(expect(d, P(20) + 50, 0xb0));
    TRY(d->truncate(d, 1, P(35)));
    TRY(expect(d, P(20) + 3000, 0));
    TRY(expect(d, P(125), 0));
    TRY(expect_read(d, 1, P(19) + 1000, 0, P(10), 0));
    TRY(expect_read(d, 1, P(15) + 600, 0xb3, P(2), 0));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

static int punched(struct driver *d)
{
    TRY(d->set_size(d, 0, P(40)));
    TRY(d->mmap(d, P(1), P(40), RW, FL_MAP_SHARED | FL_MAP_FIXED, 0, 0));
    TRY(write_all(d, 0, P(4), 0xc0, P(8), 0));
    TRY(put(d, P(20), 0xc1));
    TRY(d->punch(d, 0, P(5) + 100, P(3)));
    TRY(expect_read(d, 0, P(4), 0xc0, P(1) + 100, 0));
    TRY(expect_read(d, 0, P(5) + 100, 0, P(3), 0));
    TRY(expect_read(d, 0, P(8) + 100, 0xc0, P(3), 0));
    TRY(d->madvise(d, P(20), P(2), FL_MADV_REMOVE));
    TRY(expect(d, P(20), 0));
    TRY(d->fsync(d, 0, 0));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

static int direct(struct driver *d)
{
    TRY(d->set_size(d, 0, P(40)));
    TRY(d->mmap(d, P(1), P(40), RW, FL_MAP_SHARED | FL_MAP_FIXED, 0, 0));
    TRY(put(d, P(5), 0xd0));
    TRY(write_all(d, 0, P(8), 0xd1, P(6), 0));
    TRY(expect_read(d, 0, P(8), 0xd1, P(6), FL_IOCB_DIRECT));
    TRY(write_all(d, 0, P(9), 0xd2, P(2), FL_IOCB_DIRECT));
    TRY(expect(d, P(10), 0xd2));
    TRY(expect(d, P(12), 0xd1));
    TRY(write_all(d, 0, P(40), 0xd3, P(4), FL_IOCB_DIRECT));
    TRY(expect_read(d, 0, P(40), 0xd3, P(4), 0));
    TRY(expect(d, P(5), 0xd0));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

static int advised(struct driver *d)
{
    TRY(d->set_size(d, 1, P(60)));
    TRY(d->mmap(d, P(1), P(60), RW, FL_MAP_SHARED | FL_MAP_FIXED, 1, 0));
    TRY(d->prefetch(d, P(3), P(6), P(30), P(20)));
    TRY(d->fadvise(d, 1, P(10), P(30), FL_FADV_WILLNEED));
    TRY(put(d, P(7), 0xe0));
    TRY(write_all(d, 1, P(50), 0xe1, P(4), 0));
    TRY(d->sync_range(d, 1, P(50), P(2), 7));
    TRY(d->fadvise(d, 1, 0, 0, FL_FADV_DONTNEED));
    TRY(d->fadvise(d, 1, 0, 0, FL_FADV_SEQUENTIAL));
    TRY(expect(d, P(7), 0xe0));
    TRY(expect_read(d, 1, P(50), 0xe1, P(4), 0));
    TRY(d->fsync(d, 1, FL_FSYNC_DATA));
    TRY(d->fadvise(d, 1, 0, 0, FL_FADV_NORMAL));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

/* ---- several spaces, and swap -------------------------------------------------------------------------- */

/* What a scene that failed has left is space 0 alone. */
static void end_children(struct driver *d)
{
    if (!d->lives[0])
        assert_int_equal(driver_fork(d, 0), 0);
    assert_int_equal(driver_enter(d, 0), 0);
    for (unsigned space = 1; space < DRIVER_SPACES; space++)
        if (d->lives[space])
            assert_int_equal(driver_exit(d, space), 0);
}

static int forked(struct driver *d)
{
    TRY(d->mmap(d, P(1), P(8), RW, ANON | FL_MAP_FIXED, -1, 0));
    TRY(d->mmap(d, P(20), P(6), RW, FL_MAP_PRIVATE | FL_MAP_FIXED, 3, 0));
    TRY(d->mmap(d, P(30), P(4), RW, FL_MAP_SHARED | FL_MAP_ANONYMOUS | FL_MAP_FIXED, -1, 0));
    TRY(put(d, P(1), 0x11));
    TRY(put(d, P(21), 0x12));
    TRY(put(d, P(30), 0x13));
    TRY(d->madvise(d, P(6), P(1), FL_MADV_DONTFORK));
    TRY(d->madvise(d, P(7), P(1), FL_MADV_WIPEONFORK));
    TRY(put(d, P(7), 0x14));
    TRY(driver_fork(d, 1));
    TRY(put(d, P(1), 0x21));
    TRY(put(d, P(22), 0x22));
    TRY(driver_enter(d, 1));
    TRY(expect(d, P(1), 0x11));
    TRY(expect(d, P(7), 0));
    TRY(put(d, P(2), 0x31));
    TRY(put(d, P(31), 0x32));
    TRY(driver_fork(d, 2));
    TRY(d->madvise(d, P(1), P(1), FL_MADV_DONTNEED));
    TRY(expect(d, P(1), 0));
    TRY(d->mremap(d, P(20), P(3), P(3), FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED, P(40)));
    TRY(expect(d, P(42), driver_file_byte(2, P(2))));
    TRY(driver_exit(d, 1));
    TRY(expect(d, P(31), 0x32));
    TRY(expect(d, P(22), 0x22));
    TRY(driver_enter(d, 2));
    TRY(expect(d, P(1), 0x11));
    TRY(put(d, P(21), 0x41));
    TRY(expect(d, P(2), 0x31));
    TRY(driver_exit(d, 2));
    TRY(expect(d, P(21), 0x12));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

/* Locked pages, and pages that a call holds, are copied at once. */
static int forked_pinned(struct driver *d)
{
    d->unhold(d, 0);
    TRY(d->mmap(d, P(1), P(8), RW, ANON | FL_MAP_FIXED, -1, 0));
    TRY(d->mmap(d, P(20), P(4), RW, FL_MAP_PRIVATE | FL_MAP_FIXED, 3, 0));
    TRY(put(d, P(2), 0x51));
    TRY(d->mlock(d, P(1), P(4)));
    TRY(d->hold(d, 0, P(20), P(2), VM_PROT_WRITE));
    TRY(driver_fork(d, 1));
    TRY(put(d, P(2), 0x52));
    TRY(d->held_store(d, 0, P(20), "h", 1));
    TRY(expect(d, P(20), 'h'));
    TRY(driver_enter(d, 1));
    TRY(expect(d, P(2), 0x51));
    TRY(expect(d, P(20), driver_file_byte(2, 0)));
    TRY(driver_exit(d, 0)); /* the call in progress keeps its page */
    TRY(driver_fork(d, 0));
    TRY(driver_exit(d, 1));
    TRY(expect(d, P(2), 0x51));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

/* More than memory, in two spaces: each page goes to swap and comes back. */
static int swapped(struct driver *d)
{
    const uint64_t n = 56;

    TRY(d->mmap(d, P(1), P(n), RW, ANON | FL_MAP_FIXED, -1, 0));
    for (uint64_t i = 1; i <= n; i++)
        TRY(put(d, P(i), (uint8_t)i));
    TRY(d->madvise(d, P(1), P(n), FL_MADV_PAGEOUT));
    TRY(driver_fork(d, 1));
    for (uint64_t i = 1; i <= n; i += 7)
        TRY(put(d, P(i), (uint8_t)(i + 100)));
    TRY(driver_enter(d, 1));
    for (uint64_t i = 1; i <= n; i++)
        TRY(expect(d, P(i), (uint8_t)i));
    TRY(put(d, P(2), 0x61));
    TRY(d->madvise(d, P(1), P(n), FL_MADV_PAGEOUT));
    TRY(driver_exit(d, 0)); /* what is left of the child's chain takes over pages and slots */
    TRY(expect(d, P(2), 0x61));
    TRY(expect(d, P(1), 1));
    TRY(driver_fork(d, 0));
    TRY(driver_exit(d, 1));
    for (uint64_t i = 3; i <= n; i++)
        TRY(expect(d, P(i), (uint8_t)i));
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES);
}

/* ---- failures ------------------------------------------------------------------------------------------ */

struct failure {
    const char *name;
    uint32_t *(*countdown)(struct driver *d, int file);
    bool (*allows)(int error);
    bool per_file; /* each file's disk has a countdown of its own */
    bool swap;     /* and swap's */
};

static uint32_t *alloc_countdown(struct driver *d, int file)
{
    (void)d;
    (void)file;
    return &sim_torture()->fail_alloc_nth;
}

static uint32_t *map_countdown(struct driver *d, int file)
{
    (void)d;
    (void)file;
    return &sim_torture()->fail_map_nth;
}

#define SWAP DRIVER_FILES /* as a file's number */

static struct sim_disk *disk_of(struct driver *d, int file)
{
    return file == SWAP ? sim_swap_disk() : sim_driver_disk(d, file);
}

static uint32_t *read_countdown(struct driver *d, int file)
{
    return &sim_disk_faults(disk_of(d, file))->fail_read_nth;
}

static uint32_t *write_countdown(struct driver *d, int file)
{
    return &sim_disk_faults(disk_of(d, file))->fail_write_nth;
}

static uint32_t *flush_countdown(struct driver *d, int file)
{
    return &sim_disk_faults(sim_driver_disk(d, file))->fail_flush_nth;
}

static uint32_t *size_countdown(struct driver *d, int file)
{
    return &sim_disk_faults(sim_driver_disk(d, file))->fail_size_nth;
}

static uint32_t *truncate_countdown(struct driver *d, int file)
{
    return &sim_disk_faults(sim_driver_disk(d, file))->fail_truncate_nth;
}

static uint32_t *punch_countdown(struct driver *d, int file)
{
    return &sim_disk_faults(sim_driver_disk(d, file))->fail_punch_nth;
}

static uint32_t *allocate_countdown(struct driver *d, int file)
{
    return &sim_disk_faults(sim_driver_disk(d, file))->fail_allocate_nth;
}

static bool is_no_memory(int error)
{
    return error == -ENOMEM || error == -EAGAIN;
}

/* mlock says EAGAIN or ENOMEM where it could not read. */
static bool is_io_error(int error)
{
    return error == -EIO || is_no_memory(error);
}

static const struct failure failures[] = {
    {"allocation", alloc_countdown, is_no_memory, false, false},
    {"mapping", map_countdown, is_no_memory, false, false},
    {"read", read_countdown, is_io_error, true, true},
    {"write", write_countdown, is_io_error, true, true},
    {"flush", flush_countdown, is_io_error, true, false},
    {"size", size_countdown, is_io_error, true, false},
    {"truncate", truncate_countdown, is_io_error, true, false},
    {"punch", punch_countdown, is_io_error, true, false},
    {"allocate", allocate_countdown, is_io_error, true, false},
};

/* Also reports failed writes to each descriptor, so that its next mapping is not told of them. */
static void restart(struct driver *d)
{
    end_children(d);
    for (int handle = 0; handle < DRIVER_HANDLES; handle++)
        (void)d->fsync(d, handle, 0);
    assert_int_equal(d->munmap(d, 0, DRIVER_WINDOW_BYTES), 0);
    assert_int_equal(d->brk(d, DRIVER_BRK_START), DRIVER_BRK_START);
}

struct computer {
    uint32_t block_bytes; /* of its disks; 0: a page */
    bool enters_itself;   /* resident pages (MM1), and its bits come late */
    bool copy_first;      /* pages cannot move from object to object */
    uint32_t nframes;     /* 0: plenty */
    uint32_t swap_pages;  /* 0: there is no swap */
};

/* Returns whether the nth failure came. */
static bool fail_nth(int (*scene)(struct driver *d), const struct computer *computer,
                     const struct failure *failure, int file, uint32_t n)
{
    struct sim_params params = test_params(test_seed(1));
    struct sim_files files = {.block_bytes = computer->block_bytes,
                              .thin = failure->countdown == allocate_countdown};
    params.torture.enters_itself_permille = computer->enters_itself ? 1000 : 0;
    params.torture.late_bits = computer->enters_itself;
    params.torture.copy_first = computer->copy_first;
    params.nframes = computer->nframes;
    params.swap_pages = computer->swap_pages;
    struct driver *d = sim_driver_create_on(&params, files);
    uint32_t *countdown = failure->countdown(d, file);
    bool came;
    int error;

    *countdown = n;
    error = scene(d);
    came = *countdown == 0;
    *countdown = 0;
    if (error != 0 && !(came && failure->allows(error))) {
        print_error("%s %u failed: the scene said %d\n", failure->name, n, error);
        fail();
    }
    d->check(d);
    restart(d);
    error = scene(d);
    if (error != 0) {
        print_error("after %s %u had failed, the scene said %d\n", failure->name, n, error);
        fail();
    }
    d->check(d);
    restart(d);
    d->destroy(d);
    return came;
}

static void fail_all(int (*scene)(struct driver *d), const struct computer *computer)
{
    unsigned f, total = 0;
    int file;
    uint32_t n;

    for (f = 0; f < sizeof(failures) / sizeof(failures[0]); f++) {
        for (file = 0; file < (failures[f].per_file ? DRIVER_FILES + 1 : 1); file++) {
            if (file == SWAP && (computer->swap_pages == 0 || !failures[f].swap))
                continue;
            for (n = 1; fail_nth(scene, computer, &failures[f], file, n); n++)
                assert_true(n < N_MAX);
            total += n - 1;
        }
    }
    print_message("%u failures\n", total);
    assert_true(total > 0);
}

static void fail_on_each_computer(int (*scene)(struct driver *d))
{
    fail_all(scene, &(struct computer){.block_bytes = 0});
    fail_all(scene, &(struct computer){.block_bytes = 512});
    fail_all(scene, &(struct computer){.enters_itself = true});
}

/* With less memory than the scenes use, where pages can move from object to object, and where not. */
static void fail_on_each_swap(int (*scene)(struct driver *d))
{
    fail_all(scene, &(struct computer){.nframes = 48, .swap_pages = 500});
    fail_all(scene,
             &(struct computer){.nframes = 48, .swap_pages = 500, .copy_first = true, .enters_itself = true});
}

static void fail_with_and_without_swap(int (*scene)(struct driver *d))
{
    fail_all(scene, &(struct computer){.block_bytes = 0});
    fail_all(scene, &(struct computer){.copy_first = true});
    fail_on_each_swap(scene);
}

#define TEST(scene, on)                                                                                      \
    static void test_##scene(void **state)                                                                   \
    {                                                                                                        \
        (void)state;                                                                                         \
        on(scene);                                                                                           \
    }
TEST(shared_file, fail_on_each_computer)
TEST(private_file, fail_on_each_computer)
TEST(anonymous, fail_on_each_computer)
TEST(locked, fail_on_each_computer)
TEST(moving, fail_on_each_computer)
TEST(cut_off, fail_on_each_computer)
TEST(held, fail_on_each_computer)
TEST(heap, fail_on_each_computer)
TEST(written, fail_on_each_computer)
TEST(truncated, fail_on_each_computer)
TEST(punched, fail_on_each_computer)
TEST(direct, fail_on_each_computer)
TEST(advised, fail_on_each_computer)
TEST(forked, fail_with_and_without_swap)
TEST(forked_pinned, fail_with_and_without_swap)
TEST(swapped, fail_on_each_swap)

/* A write that fails: msync says so, the page stays dirty, and the next msync writes it. */
static void test_write_error_keeps_page_dirty(void **state)
{
    struct sim_params params = test_params(test_seed(1));
    struct driver *d = sim_driver_create(&params);
    uint8_t on_disk;

    (void)state;
    assert_int_equal(d->mmap(d, P(1), P(4), RW, FL_MAP_SHARED | FL_MAP_FIXED, 0, 0), P(1));
    assert_int_equal(put(d, P(2), 0x77), 0);
    sim_disk_faults(sim_driver_disk(d, 0))->fail_write_nth = 1;
    assert_int_equal(d->msync(d, P(1), P(4), FL_MS_SYNC), -EIO);
    assert_int_equal(d->file_read(d, 0, P(1), &on_disk, 1), 0);
    assert_int_equal(on_disk, driver_file_byte(0, P(1)));
    assert_int_equal(expect(d, P(2), 0x77), 0);
    assert_int_equal(d->msync(d, P(1), P(4), FL_MS_SYNC), 0);
    assert_int_equal(d->file_read(d, 0, P(1), &on_disk, 1), 0);
    assert_int_equal(on_disk, 0x77);
    d->destroy(d);
}

/* A read that fails is a SIGBUS for this access; the next access reads again. */
static void test_read_error_is_one_access(void **state)
{
    struct sim_params params = test_params(test_seed(1));
    struct driver *d = sim_driver_create(&params);
    uint8_t byte;

    (void)state;
    assert_int_equal(d->mmap(d, P(1), P(4), RW, FL_MAP_SHARED | FL_MAP_FIXED, 0, 0), P(1));
    sim_disk_faults(sim_driver_disk(d, 0))->bad_read_start = P(2);
    sim_disk_faults(sim_driver_disk(d, 0))->bad_read_end = P(2) + 1;
    assert_int_equal(d->load(d, P(3), &byte, 1), -EIO);
    assert_int_equal(expect(d, P(2), driver_file_byte(0, P(1))), 0);
    assert_int_equal(expect(d, P(4), driver_file_byte(0, P(3))), 0);
    sim_disk_faults(sim_driver_disk(d, 0))->bad_read_end = 0;
    assert_int_equal(expect(d, P(3), driver_file_byte(0, P(2))), 0);
    d->destroy(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_file),
        cmocka_unit_test(test_private_file),
        cmocka_unit_test(test_anonymous),
        cmocka_unit_test(test_locked),
        cmocka_unit_test(test_moving),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_heap),
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_punched),
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_advised),
        cmocka_unit_test(test_forked),
        cmocka_unit_test(test_forked_pinned),
        cmocka_unit_test(test_swapped),
        cmocka_unit_test(test_write_error_keeps_page_dirty),
        cmocka_unit_test(test_read_error_is_one_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
