/*
 * forks.c: what the spaces see after a fork: bytes, errors, the map. Each scene says what must hold on every
 * machine that has several spaces.
 */
#include "conformance/scene.h"
#include "conformance/suite.h"
#include <errno.h>
#include <faultline/vm.h>

#define ANON   (FL_MAP_PRIVATE | FL_MAP_ANONYMOUS)
#define PARENT 0
#define CHILD  1
#define OTHER  2

static uint8_t get(struct driver *d, uint64_t addr)
{
    uint8_t byte = 0xee;

    EXPECT(d->load(d, addr, &byte, 1), 0);
    return byte;
}

static int touch(struct driver *d, uint64_t addr)
{
    uint8_t byte;

    return d->load(d, addr, &byte, 1);
}

static void put(struct driver *d, uint64_t addr, uint8_t byte)
{
    EXPECT(d->store(d, addr, &byte, 1), 0);
}

static void map_at(struct driver *d, uint64_t page, uint64_t npages, int flags, int handle)
{
    EXPECT(d->mmap(d, P(page), P(npages), RW, flags | FL_MAP_FIXED, handle, 0), P(page));
}

static void go_to(struct driver *d, unsigned space)
{
    EXPECT(driver_enter(d, space), 0);
}

static enum fl_inherit inherit(struct driver *d, uint64_t addr)
{
    struct driver_region region = {.start = UINT64_MAX};

    EXPECT(d->region(d, addr, &region) && region.start <= addr, true);
    return region.inherit;
}

static void which_spaces_there_are(struct driver *d)
{
    EXPECT(driver_exit(d, PARENT), -ESRCH); /* the last one */
    EXPECT(driver_enter(d, CHILD), -ESRCH);
    EXPECT(driver_fork(d, CHILD), 0);
    EXPECT(driver_fork(d, CHILD), -EEXIST);
    EXPECT(driver_exit(d, PARENT), 0);
    EXPECT(d->space, CHILD);
    EXPECT(driver_fork(d, PARENT), 0);
    EXPECT(driver_exit(d, OTHER), -ESRCH);
}

static void private_is_copied(struct driver *d)
{
    map_at(d, 1, 4, ANON, -1);
    put(d, P(1), 1);
    put(d, P(2), 2);
    EXPECT(driver_fork(d, CHILD), 0);
    put(d, P(1), 11);
    put(d, P(3), 13);
    go_to(d, CHILD);
    EXPECT(get(d, P(1)), 1);
    EXPECT(get(d, P(3)), 0);
    put(d, P(2), 22);
    put(d, P(4), 24);
    go_to(d, PARENT);
    EXPECT(get(d, P(1)), 11);
    EXPECT(get(d, P(2)), 2);
    EXPECT(get(d, P(4)), 0);
    EXPECT(driver_exit(d, PARENT), 0);
    EXPECT(get(d, P(1)), 1);
    EXPECT(get(d, P(2)), 22);
    EXPECT(get(d, P(4)), 24);
}

static void shared_is_shared(struct driver *d)
{
    map_at(d, 1, 4, FL_MAP_SHARED | FL_MAP_ANONYMOUS, -1);
    map_at(d, 8, 4, FL_MAP_SHARED, 0);
    put(d, P(1), 1);
    EXPECT(driver_fork(d, CHILD), 0);
    put(d, P(2), 2);
    put(d, P(9), 9);
    go_to(d, CHILD);
    EXPECT(get(d, P(1)), 1);
    EXPECT(get(d, P(2)), 2);
    EXPECT(get(d, P(9)), 9);
    put(d, P(3), 3);
    EXPECT(driver_exit(d, CHILD), 0);
    EXPECT(get(d, P(3)), 3);
}

static void private_file(struct driver *d)
{
    map_at(d, 1, 4, FL_MAP_PRIVATE, 0);
    map_at(d, 8, 4, FL_MAP_SHARED, 0);
    put(d, P(1), 1);
    EXPECT(driver_fork(d, CHILD), 0);
    put(d, P(8), 8);
    put(d, P(9), 9);
    EXPECT(get(d, P(1)), 1);
    EXPECT(get(d, P(2)), 9);
    put(d, P(3), 3);
    go_to(d, CHILD);
    EXPECT(get(d, P(1)), 1);
    EXPECT(get(d, P(2)), 9);
    EXPECT(get(d, P(3)), driver_file_byte(0, P(2)));
    EXPECT(d->madvise(d, P(1), P(4), FL_MADV_DONTNEED), 0);
    EXPECT(get(d, P(1)), 8);
    go_to(d, PARENT);
    EXPECT(get(d, P(1)), 1);
    EXPECT(get(d, P(3)), 3);
}

static void truncation_takes_all_copies(struct driver *d)
{
    map_at(d, 1, 4, FL_MAP_PRIVATE, 0);
    put(d, P(3), 3);
    EXPECT(driver_fork(d, CHILD), 0);
    go_to(d, CHILD);
    put(d, P(4), 4);
    EXPECT(driver_fork(d, OTHER), 0);
    EXPECT(d->truncate(d, 0, P(2)), 0);
    EXPECT(touch(d, P(3)), -ENXIO);
    EXPECT(touch(d, P(4)), -ENXIO);
    EXPECT(d->truncate(d, 0, P(8)), 0);
    EXPECT(get(d, P(4)), 0);
    go_to(d, OTHER);
    EXPECT(get(d, P(4)), 0);
    go_to(d, PARENT);
    EXPECT(get(d, P(3)), 0);
}

static void what_is_not_inherited(struct driver *d)
{
    map_at(d, 1, 6, ANON, -1);
    put(d, P(2), 2);
    put(d, P(4), 4);
    EXPECT(d->madvise(d, P(1), P(2), FL_MADV_DONTFORK), 0);
    EXPECT(d->madvise(d, P(4), P(2), FL_MADV_WIPEONFORK), 0);
    EXPECT(driver_fork(d, CHILD), 0);
    EXPECT(get(d, P(2)), 2);
    EXPECT(get(d, P(4)), 4);
    go_to(d, CHILD);
    EXPECT(touch(d, P(1)), -EFAULT);
    EXPECT(touch(d, P(2)), -EFAULT);
    EXPECT(get(d, P(3)), 0);
    EXPECT(get(d, P(4)), 0);
    EXPECT(inherit(d, P(4)), FL_INHERIT_ZERO);
    EXPECT(inherit(d, P(3)), FL_INHERIT_COPY);
    put(d, P(4), 44);
    put(d, P(5), 55);
    EXPECT(d->madvise(d, P(5), P(1), FL_MADV_KEEPONFORK), 0);
    EXPECT(driver_fork(d, OTHER), 0); /* the advice is inherited */
    go_to(d, OTHER);
    EXPECT(get(d, P(4)), 0);
    EXPECT(get(d, P(5)), 55);
    go_to(d, PARENT);
    EXPECT(d->madvise(d, P(1), P(2), FL_MADV_DOFORK), 0);
    EXPECT(driver_exit(d, CHILD), 0);
    EXPECT(driver_fork(d, CHILD), 0);
    go_to(d, CHILD);
    EXPECT(get(d, P(2)), 2);
}

/* The child's pages are not locked, so that it may give them up. */
static void locks_stay_with_the_parent(struct driver *d)
{
    map_at(d, 1, 4, ANON, -1);
    put(d, P(1), 1);
    EXPECT(d->mlock(d, P(1), P(4)), 0);
    EXPECT(driver_fork(d, CHILD), 0);
    EXPECT(d->madvise(d, P(1), P(4), FL_MADV_DONTNEED), -EINVAL);
    go_to(d, CHILD);
    EXPECT(get(d, P(1)), 1);
    put(d, P(2), 2);
    EXPECT(d->madvise(d, P(1), P(4), FL_MADV_DONTNEED), 0);
    EXPECT(get(d, P(1)), 0);
    go_to(d, PARENT);
    EXPECT(get(d, P(1)), 1);
    EXPECT(get(d, P(2)), 0);
}

/* What one side gives up, moves, unmaps or protects, the other one keeps as it is. */
static void calls_are_of_one_space(struct driver *d)
{
    map_at(d, 1, 8, ANON, -1);
    for (uint64_t i = 1; i <= 8; i++)
        put(d, P(i), (uint8_t)i);
    EXPECT(driver_fork(d, CHILD), 0);
    EXPECT(d->madvise(d, P(1), P(1), FL_MADV_DONTNEED), 0);
    EXPECT(d->munmap(d, P(2), P(1)), 0);
    EXPECT(d->mprotect(d, P(3), P(1), VM_PROT_READ), 0);
    EXPECT(d->mremap(d, P(4), P(2), P(3), FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED, P(32)), P(32));
    EXPECT(d->madvise(d, P(7), P(1), FL_MADV_PAGEOUT), 0);
    EXPECT(get(d, P(1)), 0);
    EXPECT(get(d, P(33)), 5);
    EXPECT(get(d, P(34)), 0);
    put(d, P(33), 55);
    EXPECT(d->store(d, P(3), "x", 1), -EACCES);
    go_to(d, CHILD);
    for (uint64_t i = 1; i <= 8; i++) {
        EXPECT(get(d, P(i)), i);
        put(d, P(i), (uint8_t)(i + 100));
    }
    EXPECT(touch(d, P(32)), -EFAULT);
    go_to(d, PARENT);
    EXPECT(touch(d, P(2)), -EFAULT);
    EXPECT(get(d, P(3)), 3);
    EXPECT(get(d, P(32)), 4);
    EXPECT(get(d, P(33)), 55);
    EXPECT(get(d, P(7)), 7);
}

/* A page that may be freed is the other side's as it was. */
static void freed_by_one_side(struct driver *d)
{
    map_at(d, 1, 4, ANON, -1);
    put(d, P(1), 1);
    put(d, P(2), 2);
    EXPECT(driver_fork(d, CHILD), 0);
    go_to(d, CHILD);
    EXPECT(d->madvise(d, P(1), P(4), FL_MADV_FREE), 0);
    put(d, P(2), 22);
    EXPECT(d->madvise(d, P(1), P(4), FL_MADV_PAGEOUT), 0);
    EXPECT(get(d, P(1)) <= 1, true);
    EXPECT(get(d, P(2)), 22);
    go_to(d, PARENT);
    EXPECT(get(d, P(1)), 1);
    EXPECT(get(d, P(2)), 2);
}

/* Each generation stores to one page and ends the one before. */
static void generations(struct driver *d)
{
    map_at(d, 1, 4, ANON, -1);
    for (unsigned i = 0; i < 100; i++) {
        EXPECT(driver_fork(d, (i + 1) % 2), 0);
        if (i % 3 == 0)
            put(d, P(2), 200);
        go_to(d, (i + 1) % 2);
        put(d, P(1 + i % 4), (uint8_t)i);
        EXPECT(driver_exit(d, i % 2), 0);
    }
    for (uint64_t i = 0; i < 4; i++)
        EXPECT(get(d, P(1 + i)), 96 + i);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static const struct scene forks[] = {
    {SCENE(which_spaces_there_are)},
    {SCENE(private_is_copied)},
    {SCENE(shared_is_shared)},
    {SCENE(private_file)},
    {SCENE(truncation_takes_all_copies)},
    {SCENE(what_is_not_inherited)},
    {SCENE(locks_stay_with_the_parent)},
    {SCENE(calls_are_of_one_space)},
    {SCENE(freed_by_one_side)},
    {SCENE(generations)},
};

int suite_forks(struct driver *(*create)(void))
{
    return scenes_run(create, forks, sizeof(forks) / sizeof(forks[0]));
}
