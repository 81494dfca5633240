/*
 * scenes.c: what a program sees after several calls: bytes, files,
 * residency, stacks. Each scene says what must hold on every machine.
 */
#include "conformance/scene.h"
#include "conformance/suite.h"
#include <errno.h>
#include <faultline/vm.h>
#include <string.h>

#define ANON (FL_MAP_PRIVATE | FL_MAP_ANONYMOUS)

static uint8_t get(struct driver *d, uint64_t addr)
{
    uint8_t byte = 0xee;

    EXPECT(d->load(d, addr, &byte, 1), 0);
    return byte;
}

static void put(struct driver *d, uint64_t addr, uint8_t byte)
{
    EXPECT(d->store(d, addr, &byte, 1), 0);
}

static uint8_t in_file(struct driver *d, int file, uint64_t off)
{
    uint8_t byte = 0xee;

    EXPECT(d->file_read(d, file, off, &byte, 1), 0);
    return byte;
}

static void map_at(struct driver *d, uint64_t page, uint64_t npages, int flags, int handle,
                   uint64_t off_pages)
{
    EXPECT(d->mmap(d, P(page), P(npages), RW, flags | FL_MAP_FIXED, handle, P(off_pages)), P(page));
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void shared_reaches_file(struct driver *d)
{
    map_at(d, 1, 4, FL_MAP_SHARED, 0, 2);
    map_at(d, 16, 4, FL_MAP_SHARED, 0, 2);
    EXPECT(get(d, P(2) + 7), driver_file_byte(0, P(3) + 7));
    put(d, P(2) + 7, 0x5a);
    EXPECT(get(d, P(17) + 7), 0x5a);
    EXPECT(d->msync(d, P(1), P(4), FL_MS_SYNC), 0);
    EXPECT(in_file(d, 0, P(3) + 7), 0x5a);
}

static void private_stays_private(struct driver *d)
{
    map_at(d, 1, 4, FL_MAP_PRIVATE, 0, 0);
    map_at(d, 16, 4, FL_MAP_SHARED, 0, 0);
    map_at(d, 32, 4, FL_MAP_PRIVATE, 0, 0);
    put(d, P(1), 0x11);
    EXPECT(get(d, P(16)), driver_file_byte(0, 0));
    EXPECT(get(d, P(32)), driver_file_byte(0, 0));
    EXPECT(d->msync(d, P(1), P(4), FL_MS_SYNC), 0);
    EXPECT(in_file(d, 0, 0), driver_file_byte(0, 0));
}

/* A private page that was never written shows later writes to the file; a written one does not. */
static void private_shows_file_until_written(struct driver *d)
{
    map_at(d, 1, 2, FL_MAP_PRIVATE, 0, 0);
    map_at(d, 16, 2, FL_MAP_SHARED, 0, 0);
    EXPECT(get(d, P(1)), driver_file_byte(0, 0));
    put(d, P(2), 0x22);
    put(d, P(16), 0x33);
    put(d, P(17) + 1, 0x44);
    EXPECT(get(d, P(1)), 0x33);
    EXPECT(get(d, P(2)), 0x22);
    EXPECT(get(d, P(2) + 1), driver_file_byte(0, P(1) + 1));
    EXPECT(d->madvise(d, P(1), P(2), FL_MADV_DONTNEED), 0);
    EXPECT(get(d, P(2) + 1), 0x44);
}

static void zeros_behind_the_end(struct driver *d)
{
    uint8_t page[DRIVER_PAGE];
    uint64_t size = driver_file_size(1), i;

    map_at(d, 1, 2, FL_MAP_SHARED, 1, size / DRIVER_PAGE);
    EXPECT(d->load(d, P(1), page, sizeof(page)), 0);
    for (i = 0; i < sizeof(page); i++)
        EXPECT(page[i], i < size % DRIVER_PAGE ? driver_file_byte(1, size - size % DRIVER_PAGE + i) : 0);
    EXPECT(d->load(d, P(2), page, 1), -ENXIO);
    put(d, P(1) + size % DRIVER_PAGE, 0x77);
    EXPECT(d->msync(d, P(1), P(1), FL_MS_SYNC), 0);
    EXPECT(d->file_read(d, 1, size, page, 1), -EINVAL); /* the length of the file stays */
}

static void truncation_takes_pages(struct driver *d)
{
    uint8_t byte = 1;

    map_at(d, 1, 4, FL_MAP_SHARED, 0, 0);
    map_at(d, 16, 4, FL_MAP_PRIVATE, 0, 0);
    put(d, P(1) + 200, 0x11);
    put(d, P(2), 0x22);
    put(d, P(17), 0x33);
    EXPECT(d->set_size(d, 0, 100), 0);
    EXPECT(d->load(d, P(2), &byte, 1), -ENXIO);
    EXPECT(d->store(d, P(2), &byte, 1), -ENXIO);
    EXPECT(d->load(d, P(17), &byte, 1), -ENXIO); /* also private copies */
    EXPECT(get(d, P(1) + 99), driver_file_byte(0, 99));
    EXPECT(get(d, P(1) + 200), 0);
    EXPECT(d->set_size(d, 0, P(8)), 0);
    EXPECT(get(d, P(1) + 200), 0);
    EXPECT(get(d, P(2)), 0);
    EXPECT(get(d, P(17)), 0);
}

static void survives_unmap(struct driver *d)
{
    map_at(d, 1, 4, FL_MAP_SHARED, 1, 1);
    put(d, P(3), 0x99);
    EXPECT(d->munmap(d, P(1), P(4)), 0);
    map_at(d, 9, 4, FL_MAP_SHARED, 1, 1);
    EXPECT(get(d, P(11)), 0x99);
    EXPECT(d->msync(d, P(9), P(4), FL_MS_SYNC), 0);
    EXPECT(in_file(d, 1, P(3)), 0x99);
}

/* More pages than a small machine's memory: each keeps what was stored. */
static void more_than_memory(struct driver *d)
{
    uint64_t i, round;

    for (i = 0; i < 12; i++)
        map_at(d, i * 60, 60, FL_MAP_SHARED, 0, 0);
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 60; i++)
            put(d, P(((i + round) % 12) * 60 + i), (uint8_t)(i + round));
        for (i = 0; i < 60; i++)
            EXPECT(get(d, P(((i + round + 5) % 12) * 60 + i)), (uint8_t)(i + round));
    }
}

/* ---- anonymous memory ---------------------------------------------------------------------------------- */

static void anonymous_is_zero(struct driver *d)
{
    map_at(d, 1, 4, ANON, -1, 0);
    EXPECT(get(d, P(2) + 9), 0);
    put(d, P(2) + 9, 1);
    EXPECT(get(d, P(2) + 9), 1);
    EXPECT(get(d, P(2) + 8), 0);
    EXPECT(d->madvise(d, P(1), P(4), FL_MADV_DONTNEED), 0);
    EXPECT(get(d, P(2) + 9), 0);
    map_at(d, 2, 1, ANON, -1, 0);
    EXPECT(get(d, P(2) + 9), 0);
}

static void stack_grows(struct driver *d)
{
    struct driver_region region;
    uint8_t byte;

    EXPECT(d->mmap(d, P(600), P(2), RW, ANON | FL_MAP_GROWSDOWN | FL_MAP_FIXED, -1, 0), P(600));
    put(d, P(599) + 100, 0x12);
    EXPECT(get(d, P(599) + 100), 0x12);
    put(d, P(590), 0x34);
    EXPECT(d->region(d, P(590), &region), true);
    EXPECT(region.start, P(590));
    EXPECT(region.end, P(602));
    EXPECT(d->load(d, P(602), &byte, 1), -EFAULT);
    map_at(d, 400, 1, ANON, -1, 0);
    EXPECT(d->load(d, P(401), &byte, 1), -EFAULT); /* never up to another mapping */
}

/* ---- moving -------------------------------------------------------------------------------------------- */

static void move_keeps_bytes(struct driver *d)
{
    map_at(d, 1, 4, ANON, -1, 0);
    map_at(d, 16, 4, FL_MAP_PRIVATE, 0, 4);
    put(d, P(2), 0x21);
    put(d, P(17), 0x22);
    EXPECT(d->mremap(d, P(1), P(4), P(6), FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED, P(100)), P(100));
    EXPECT(d->mremap(d, P(16), P(4), P(6), FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED, P(200)), P(200));
    EXPECT(get(d, P(101)), 0x21);
    EXPECT(get(d, P(105)), 0);
    EXPECT(get(d, P(201)), 0x22);
    EXPECT(get(d, P(202)), driver_file_byte(0, P(6)));
    EXPECT(get(d, P(205)), driver_file_byte(0, P(9)));
    put(d, P(205), 0x23);
    EXPECT(in_file(d, 0, P(9)), driver_file_byte(0, P(9)));
}

static void copy_of_shared(struct driver *d)
{
    uint64_t at = DRIVER_WINDOW_BYTES - P(4);

    map_at(d, 1, 4, FL_MAP_SHARED | FL_MAP_ANONYMOUS, -1, 0);
    EXPECT(d->mremap(d, P(1), 0, P(4), FL_MREMAP_MAYMOVE, 0), at);
    put(d, P(2), 0x31);
    EXPECT(get(d, at + P(1)), 0x31);
    put(d, at + P(2), 0x32);
    EXPECT(get(d, P(3)), 0x32);
}

/* ---- protections, residency ---------------------------------------------------------------------------- */

static void protection_changes(struct driver *d)
{
    uint8_t byte = 7;

    map_at(d, 1, 3, FL_MAP_SHARED, 0, 0);
    put(d, P(2), 0x41);
    EXPECT(d->mprotect(d, P(2), P(1), VM_PROT_READ), 0);
    EXPECT(d->store(d, P(2), &byte, 1), -EACCES);
    EXPECT(get(d, P(2)), 0x41);
    EXPECT(d->mprotect(d, P(2), P(1), VM_PROT_NONE), 0);
    EXPECT(d->load(d, P(2), &byte, 1), -EACCES);
    put(d, P(1), 0x42);
    put(d, P(3), 0x43);
    EXPECT(d->mprotect(d, P(1), P(3), RW), 0);
    EXPECT(get(d, P(2)), 0x41);
    put(d, P(2), 0x44);
}

/* The part before the place that fails is changed. */
static void protection_up_to_a_hole(struct driver *d)
{
    uint8_t byte = 7;

    map_at(d, 1, 2, ANON, -1, 0);
    EXPECT(d->mprotect(d, P(1), P(4), VM_PROT_READ), -ENOMEM);
    EXPECT(d->store(d, P(1), &byte, 1), -EACCES);
}

static void locked_is_resident(struct driver *d)
{
    unsigned char vec[8];
    uint64_t i;

    map_at(d, 1, 8, FL_MAP_SHARED, 0, 0);
    map_at(d, 16, 8, ANON, -1, 0);
    EXPECT(d->mincore(d, P(16), P(8), vec), 0);
    for (i = 0; i < 8; i++)
        EXPECT(vec[i] & 1, 0);
    EXPECT(d->mlock(d, P(1), P(8)), 0);
    EXPECT(d->mlock(d, P(16), P(8)), 0);
    EXPECT(d->mincore(d, P(1), P(8), vec), 0);
    for (i = 0; i < 8; i++)
        EXPECT(vec[i] & 1, 1);
    EXPECT(d->mincore(d, P(16), P(8), vec), 0);
    for (i = 0; i < 8; i++)
        EXPECT(vec[i] & 1, 1);
    EXPECT(d->munlock(d, P(1), P(8)), 0);
    EXPECT(d->munmap(d, P(16), P(8)), 0); /* locked memory may be unmapped */
}

static void populate_is_resident(struct driver *d)
{
    unsigned char vec[8];
    uint64_t i;

    EXPECT(d->mmap(d, P(1), P(8), RW, ANON | FL_MAP_FIXED | FL_MAP_POPULATE, -1, 0), P(1));
    EXPECT(d->mincore(d, P(1), P(8), vec), 0);
    for (i = 0; i < 8; i++)
        EXPECT(vec[i] & 1, 1);
}

static void highest_gap_first(struct driver *d)
{
    uint64_t top = DRIVER_WINDOW_BYTES;

    EXPECT(d->mmap(d, DRIVER_ANY, P(4), RW, ANON, -1, 0), top - P(4));
    EXPECT(d->mmap(d, DRIVER_ANY, P(2), RW, ANON, -1, 0), top - P(6));
    EXPECT(d->mmap(d, DRIVER_ANY, P(4), RW, ANON, -1, 0), top - P(10));
    EXPECT(d->munmap(d, top - P(6), P(2)), 0);
    EXPECT(d->mmap(d, DRIVER_ANY, P(3), RW, ANON, -1, 0), top - P(13));
    EXPECT(d->mmap(d, DRIVER_ANY, P(2), RW, ANON, -1, 0), top - P(6));
    EXPECT(d->mmap(d, DRIVER_ANY, DRIVER_WINDOW_BYTES - P(12), RW, ANON | FL_MAP_NORESERVE, -1, 0), -ENOMEM);
}

static void break_moves(struct driver *d)
{
    uint8_t byte;

    if (!(d->has & DRIVER_HAS_BRK))
        return;
    EXPECT(d->brk(d, 0), DRIVER_BRK_START);
    EXPECT(d->brk(d, DRIVER_BRK_START + 100), DRIVER_BRK_START + 100);
    EXPECT(get(d, DRIVER_BRK_START + 99), 0);
    put(d, DRIVER_BRK_START, 0x51);
    EXPECT(d->load(d, DRIVER_BRK_START + P(1), &byte, 1), -EFAULT);
    EXPECT(d->brk(d, DRIVER_BRK_LIMIT + 1), DRIVER_BRK_START + 100);
    EXPECT(d->brk(d, DRIVER_BRK_START + P(3)), DRIVER_BRK_START + P(3));
    EXPECT(get(d, DRIVER_BRK_START), 0x51);
    EXPECT(d->brk(d, DRIVER_BRK_START), DRIVER_BRK_START);
    EXPECT(d->load(d, DRIVER_BRK_START, &byte, 1), -EFAULT);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static const struct scene scenes[] = {
    {SCENE(shared_reaches_file)},
    {SCENE(private_stays_private)},
    {SCENE(private_shows_file_until_written)},
    {SCENE(zeros_behind_the_end)},
    {SCENE(truncation_takes_pages)},
    {SCENE(survives_unmap)},
    {SCENE(more_than_memory)},
    {SCENE(anonymous_is_zero)},
    {SCENE(stack_grows)},
    {SCENE(move_keeps_bytes)},
    {SCENE(copy_of_shared)},
    {SCENE(protection_changes)},
    {SCENE(protection_up_to_a_hole)},
    {SCENE(locked_is_resident)},
    {SCENE(populate_is_resident)},
    {SCENE(highest_gap_first)},
    {SCENE(break_moves)},
};

int suite_scenes(struct driver *(*create)(void))
{
    return scenes_run(create, scenes, sizeof(scenes) / sizeof(scenes[0]));
}
