/*
 * calls.c: read, write, truncate and the other calls on files, on files that are mapped: every errno, and
 * what the mappings and the file show afterwards. Each scene says what must hold on every machine.
 */
#include "conformance/scene.h"
#include "conformance/suite.h"
#include <errno.h>
#include <faultline/vm.h>
#include <string.h>

#define RDWR   0 /* handles: of file 0, */
#define RDWR1  1 /* of file 1 */
#define RDONLY 2
#define WRONLY 4 /* of file 1 */

static int64_t get(struct driver *d, uint64_t addr)
{
    uint8_t byte = 0xee;
    int error = d->load(d, addr, &byte, 1);

    return error != 0 ? error : byte;
}

static int put(struct driver *d, uint64_t addr, uint8_t byte)
{
    return d->store(d, addr, &byte, 1);
}

static int64_t in_file(struct driver *d, int file, uint64_t off)
{
    uint8_t byte = 0xee;
    int error = d->file_read(d, file, off, &byte, 1);

    return error != 0 ? error : byte;
}

static int64_t fill(struct driver *d, int handle, uint64_t off, uint8_t byte, size_t len, unsigned flags)
{
    static uint8_t bytes[8 * DRIVER_PAGE];
    struct fl_iovec iov[3] = {{bytes, len / 3}, {bytes, 0}, {bytes, len - len / 3}};

    memset(bytes, byte, sizeof(bytes));
    return d->write(d, handle, iov, 3, off, flags);
}

/* The result of a read of len bytes; *byte: the last byte that it read. */
static int64_t last_of(struct driver *d, int handle, uint64_t off, size_t len, uint8_t *byte)
{
    static uint8_t bytes[8 * DRIVER_PAGE];
    struct fl_iovec iov[2] = {{bytes, len / 2}, {bytes + len / 2, len - len / 2}};
    int64_t n = d->read(d, handle, iov, 2, off, 0);

    *byte = n > 0 ? bytes[n - 1] : 0xee;
    return n;
}

static void map(struct driver *d, uint64_t page, uint64_t npages, int flags, int handle)
{
    EXPECT(d->mmap(d, P(page), P(npages), RW, flags | FL_MAP_FIXED, handle, 0), P(page));
}

/* ---- errors -------------------------------------------------------------------------------------------- */

static void modes(struct driver *d)
{
    uint8_t byte;

    EXPECT(last_of(d, WRONLY, 0, 5, &byte), -EBADF);
    EXPECT(fill(d, RDONLY, 0, 1, 5, 0), -EBADF);
    EXPECT(d->truncate(d, RDONLY, 5), -EINVAL);
    EXPECT(d->punch(d, RDONLY, 0, 5), -EBADF);
    EXPECT(d->fsync(d, RDONLY, 0), 0);
    EXPECT(d->fsync(d, WRONLY, FL_FSYNC_DATA), 0);
    EXPECT(fill(d, WRONLY, 0, 1, 5, 0), 5);
    EXPECT(in_file(d, 0, 0), driver_file_byte(0, 0));
}

static void arguments(struct driver *d)
{
    EXPECT(d->punch(d, RDWR, 0, 0), -EINVAL);
    EXPECT(d->sync_range(d, RDWR, 0, 0, 8), -EINVAL);
    EXPECT(d->sync_range(d, RDWR, 0, 0, 7), 0);
    EXPECT(d->fadvise(d, RDWR, 0, 0, 6), -EINVAL);
    EXPECT(d->fadvise(d, RDWR, 0, 0, FL_FADV_DONTNEED), 0);
    EXPECT(d->fadvise(d, RDWR, P(1000), P(1), FL_FADV_WILLNEED), 0);
    EXPECT(fill(d, RDWR, P(1), 1, 0, 0), 0);
    EXPECT(d->punch(d, RDWR, P(90), P(2)), 0); /* beyond the end: nothing */
    EXPECT(d->file_size(d, 0), driver_file_size(0));
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

static void reads_end(struct driver *d)
{
    uint64_t size = driver_file_size(1);
    uint8_t byte;

    EXPECT(last_of(d, RDWR1, size - 3, 100, &byte), 3);
    EXPECT(byte, driver_file_byte(1, size - 1));
    EXPECT(last_of(d, RDWR1, size, 100, &byte), 0);
    EXPECT(last_of(d, RDWR1, P(2000), 100, &byte), 0);
}

static void writes_grow(struct driver *d)
{
    uint64_t size = driver_file_size(1);

    map(d, 1, 60, FL_MAP_SHARED, RDWR1);
    EXPECT(put(d, P(1) + size + 9, 0x11), 0); /* beyond the end, in the last page */
    EXPECT(fill(d, RDWR1, P(50) + 10, 0x22, 600, 0), 600);
    EXPECT(d->file_size(d, 1), P(50) + 610);
    EXPECT(get(d, P(1) + size + 9), 0);
    EXPECT(get(d, P(49)), 0);
    EXPECT(get(d, P(51) + 9), 0);
    EXPECT(get(d, P(51) + 10), 0x22);
    EXPECT(get(d, P(51) + 610), 0);
    EXPECT(get(d, P(52)), -ENXIO);
    EXPECT(d->fsync(d, RDWR1, 0), 0);
    EXPECT(in_file(d, 1, P(50) + 609), 0x22);
    EXPECT(in_file(d, 1, size + 9), 0);
}

static void appends(struct driver *d)
{
    uint64_t size = driver_file_size(1);

    if (!(d->has & DRIVER_HAS_DSYNC))
        return;
    EXPECT(fill(d, RDWR1, 0, 0x33, 5000, FL_IOCB_APPEND), 5000);
    EXPECT(d->file_size(d, 1), size + 5000);
    EXPECT(fill(d, RDWR1, 7, 0x34, 10, FL_IOCB_APPEND | FL_IOCB_DSYNC), 10);
    EXPECT(in_file(d, 1, size + 5009), 0x34);
    EXPECT(in_file(d, 1, 7), driver_file_byte(1, 7));
    EXPECT(fill(d, RDWR1, 7, 0x35, 1, FL_IOCB_DSYNC), 1);
    EXPECT(in_file(d, 1, 7), 0x35);
}

static void truncations(struct driver *d)
{
    uint8_t byte;

    map(d, 1, 20, FL_MAP_SHARED, RDWR);
    map(d, 30, 20, FL_MAP_PRIVATE, RDWR);
    EXPECT(put(d, P(5) + 500, 0x41), 0);
    EXPECT(put(d, P(34) + 500, 0x42), 0);
    EXPECT(put(d, P(38), 0x43), 0);
    EXPECT(fill(d, RDWR, P(3), 0x44, P(3), 0), P(3));
    EXPECT(d->truncate(d, RDWR, P(4) + 100), 0);
    EXPECT(get(d, P(5) + 99), 0x44);
    EXPECT(get(d, P(5) + 100), 0);
    EXPECT(get(d, P(6)), -ENXIO);
    EXPECT(get(d, P(38)), -ENXIO);
    EXPECT(get(d, P(34) + 500), 0x42); /* a private copy of the page in which the file ends */
    EXPECT(last_of(d, RDWR, P(4), P(1), &byte), 100);
    EXPECT(d->truncate(d, RDWR, P(12)), 0);
    EXPECT(get(d, P(5) + 100), 0);
    EXPECT(get(d, P(38)), 0);
    EXPECT(last_of(d, RDWR, P(4) + 100, P(1), &byte), P(1));
    EXPECT(byte, 0);
    EXPECT(d->truncate(d, RDWR, 0), 0);
    EXPECT(get(d, P(1)), -ENXIO);
    EXPECT(last_of(d, RDWR, 0, 1, &byte), 0);
}

/* ---- one truth ----------------------------------------------------------------------------------------- */

static void calls_and_mappings_agree(struct driver *d)
{
    uint8_t byte;

    map(d, 1, 8, FL_MAP_SHARED, RDWR);
    map(d, 20, 8, FL_MAP_SHARED, RDWR);
    map(d, 40, 8, FL_MAP_PRIVATE, RDWR);
    EXPECT(put(d, P(42), 0x51), 0);
    EXPECT(get(d, P(43)), driver_file_byte(0, P(3)));
    EXPECT(put(d, P(3) + 7, 0x52), 0);
    EXPECT(last_of(d, RDONLY, P(2), 8, &byte), 8);
    EXPECT(byte, 0x52);
    EXPECT(fill(d, RDWR, P(2) + 7, 0x53, P(3), 0), P(3));
    EXPECT(get(d, P(3) + 7), 0x53);
    EXPECT(get(d, P(22) + 6), driver_file_byte(0, P(2) + 6));
    EXPECT(get(d, P(25) + 6), 0x53);
    EXPECT(get(d, P(42) + 8), driver_file_byte(0, P(2) + 8)); /* written to: shows its own copy */
    EXPECT(get(d, P(43)), 0x53);                              /* not written to: shows the file */
    EXPECT(d->madvise(d, P(1), P(8), FL_MADV_PAGEOUT), 0);
    EXPECT(last_of(d, RDONLY, P(2), P(2), &byte), P(2));
    EXPECT(byte, 0x53);
    EXPECT(d->fadvise(d, RDWR, 0, 0, FL_FADV_DONTNEED), 0);
    EXPECT(get(d, P(25) + 6), 0x53);
}

static void holes(struct driver *d)
{
    uint8_t byte;

    map(d, 1, 10, FL_MAP_SHARED, RDWR);
    map(d, 20, 10, FL_MAP_PRIVATE, RDWR);
    EXPECT(put(d, P(4), 0x61), 0);
    EXPECT(put(d, P(23) + 1, 0x62), 0);
    EXPECT(d->punch(d, RDWR, P(2) + 100, P(2)), 0);
    EXPECT(get(d, P(3) + 99), driver_file_byte(0, P(2) + 99));
    EXPECT(get(d, P(3) + 100), 0);
    EXPECT(get(d, P(4)), 0);
    EXPECT(get(d, P(5) + 99), 0);
    EXPECT(get(d, P(5) + 100), driver_file_byte(0, P(4) + 100));
    EXPECT(get(d, P(23) + 1), 0x62);
    EXPECT(get(d, P(24)), 0);
    EXPECT(last_of(d, RDWR, P(2), 101, &byte), 101);
    EXPECT(byte, 0);
    EXPECT(d->fsync(d, RDWR, 0), 0);
    EXPECT(in_file(d, 0, P(3)), 0);
    EXPECT(d->file_size(d, 0), driver_file_size(0));
    if (!(d->has & DRIVER_HAS_REMOVE))
        return;
    EXPECT(put(d, P(8), 0x63), 0);
    EXPECT(d->madvise(d, P(8), P(1), FL_MADV_REMOVE), 0);
    EXPECT(last_of(d, RDWR, P(7), 1, &byte), 1);
    EXPECT(byte, 0);
}

static void syncs_reach_the_file(struct driver *d)
{
    map(d, 1, 10, FL_MAP_SHARED, RDWR);
    EXPECT(put(d, P(2), 0x71), 0);
    EXPECT(fill(d, RDWR, P(3), 0x72, P(1), 0), P(1));
    EXPECT(d->sync_range(d, RDWR, P(1), 1, 7), 0);
    EXPECT(in_file(d, 0, P(1)), 0x71);
    EXPECT(d->msync(d, P(4), P(1), FL_MS_SYNC), 0);
    EXPECT(in_file(d, 0, P(3)), 0x72);
    EXPECT(put(d, P(7), 0x73), 0);
    EXPECT(d->fsync(d, RDONLY, FL_FSYNC_DATA), 0);
    EXPECT(in_file(d, 0, P(6)), 0x73);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static const struct scene call_scenes[] = {
    {SCENE(modes)},
    {SCENE(arguments)},
    {SCENE(reads_end)},
    {SCENE(writes_grow)},
    {SCENE(appends)},
    {SCENE(truncations)},
    {SCENE(calls_and_mappings_agree)},
    {SCENE(holes)},
    {SCENE(syncs_reach_the_file)},
};

int suite_calls(struct driver *(*create)(void))
{
    return scenes_run(create, call_scenes, sizeof(call_scenes) / sizeof(call_scenes[0]));
}
