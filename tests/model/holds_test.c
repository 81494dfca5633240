/*
 * holds_test.c: system calls that stay in progress for as long as they like, with memory in one mapping of
 * one file, while other threads do to it what a program may do.
 *
 *   fiber:  caller   hold a range ─▶ find it, store, look again … many steps later ─▶ let go
 *           caller   the same, elsewhere or there
 *           meddler  punch, write, sync, advise …, and in every other seed: cut off, grow, unmap and map
 *                    anew, end the file's last mapping as a hand-over to another kernel does
 *
 * A fiber that waits for a hold waits for a caller that waits for it, and a caller that sleeps while it holds
 * pages blocks everything: the machine sim panics on both deadlocks. A caller finds the pages that it holds,
 * unless they were cut off or unmapped; and in the end nothing is left over. FAULTLINE_SEED=n runs one seed.
 */
#include "model/seeds.h"
#include "support/boot.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SEEDS       120
#define FIRST_SEED  1
#define SECONDS_MAX 60
#define PAGES       24
#define CALLERS     3
#define MEDDLERS    3
#define STEPS       120
#define HELD_MAX    4

static struct {
    struct sim_disk *disk;
    struct fl_file file;
    struct vm_map *map;
    vm_offset_t at; /* of the mapping, for good */
    bool all;       /* also calls that unmap held memory */
    uint64_t seed;
    uint32_t left; /* fibers that still run */
    bool wrong;
} world;

static void complain(const char *what, int64_t result)
{
    fprintf(stderr, "holds_test: seed %" PRIu64 ": %s: %" PRId64 "\n", world.seed, what, result);
    world.wrong = true;
}

/* The result of a call must be 0 or `allowed`. */
static void expect(const char *what, int64_t result, int64_t allowed)
{
    if (result < 0 && result != allowed)
        complain(what, result);
}

/* The same for an access, which must succeed unless the memory may be unmapped. */
static void expect_access(const char *what, int error)
{
    bool taken = error == -EFAULT || error == -EACCES || error == -ENXIO;

    expect(what, error, world.all && taken ? error : 0);
}

/* ---- who holds ----------------------------------------------------------------------------------------- */

/* The held page as the host's kernel finds it. NULL: it is not mapped any more. */
static uint8_t *find(const struct fl_hold *hold, vm_offset_t va, uint32_t i)
{
    const struct vm_page *m = hold->page[i];
    vm_frame_t frame;
    vm_prot_t prot;
    bool wired;

    if (m->object == NULL)
        return NULL;
    if (sim_mapped(fl_space_machine(world.map), va + ptoa(i), &frame, &prot, &wired) &&
        frame != vm_page_frame(m))
        return NULL;
    return sim_frame(vm_page_frame(m));
}

static void touch_held(const struct fl_hold *hold, vm_offset_t va, struct prng *r)
{
    uint32_t i = (uint32_t)prng_below(r, hold->npages);
    uint8_t *bytes = find(hold, va, i);

    if (bytes != NULL && hold->access == VM_PROT_WRITE)
        bytes[prng_below(r, VM_PAGE_SIZE)] = (uint8_t)prng_next(r);
    if (bytes == NULL && !world.all)
        complain("a held page is not mapped any more, although nothing unmapped it", -EFAULT);
}

static void call(struct prng *r)
{
    vm_pindex_t first = prng_below(r, PAGES);
    uint32_t npages = 1 + (uint32_t)prng_below(r, PAGES - first < HELD_MAX ? PAGES - first : HELD_MAX);
    vm_prot_t access = prng_chance(r, 700) ? VM_PROT_WRITE : VM_PROT_READ;
    struct fl_hold hold;
    int error = fl_hold(world.map, world.at + ptoa(first), ptoa(npages), access, &hold);
    uint64_t steps = prng_below(r, 40);

    if (error != -EAGAIN || npages == 1)
        expect_access("hold", error);
    while (error == 0 && steps-- > 0) {
        touch_held(&hold, world.at + ptoa(first), r);
        sim_yield();
    }
    fl_unhold(&hold);
}

static void caller(void *arg)
{
    struct prng r;

    prng_init(&r, world.seed * 100 + (uintptr_t)arg);
    for (unsigned i = 0; i < STEPS && !world.wrong; i++)
        call(&r);
    world.left--;
}

/* ---- who meddles --------------------------------------------------------------------------------------- */

static void read_or_write(struct prng *r, bool write)
{
    static uint8_t bytes[MEDDLERS + 1][3 * VM_PAGE_SIZE];
    struct fl_iovec iov = {bytes[prng_below(r, MEDDLERS)], 1 + prng_below(r, sizeof(bytes[0]) - 1)};
    struct fl_iocb iocb = {.offset = prng_below(r, ptoa(PAGES) - iov.len_bytes)};

    if (write)
        expect("write", fl_vnode_write(world.file.vnode, &iov, 1, &iocb), 0);
    else
        expect("read", fl_vnode_read(world.file.vnode, &iov, 1, &iocb), 0);
}

/* A private mapping of the file, which copies its bytes and never changes it. */
static void look_privately(struct prng *r)
{
    uint8_t byte;
    int64_t va =
        fl_sys_mmap(world.map, 0, ptoa(PAGES), VM_PROT_READ | VM_PROT_WRITE, FL_MAP_PRIVATE, &world.file, 0);

    expect("mmap", va, 0);
    for (unsigned i = 0; va > 0 && i < 5; i++) {
        vm_offset_t at = (vm_offset_t)va + prng_below(r, ptoa(PAGES));
        expect_access("load", sim_load(world.map, at, &byte, 1, NULL));
        if (prng_chance(r, 300))
            expect_access("store", sim_store(world.map, at, &byte, 1, NULL));
    }
    if (va > 0)
        expect("munmap", fl_sys_munmap(world.map, (vm_offset_t)va, ptoa(PAGES)), 0);
}

static void meddle(struct prng *r)
{
    vm_pindex_t first = prng_below(r, PAGES);
    vm_offset_t va = world.at + ptoa(first);
    uint64_t len = ptoa(1 + prng_below(r, PAGES - first));
    uint8_t byte = (uint8_t)prng_next(r);

    switch (prng_below(r, 9)) {
    case 0:
    case 1:
        expect("punch", fl_vnode_punch(world.file.vnode, prng_below(r, ptoa(PAGES)), 1 + prng_below(r, len)),
               0);
        break;
    case 2:
        read_or_write(r, true);
        break;
    case 3:
        read_or_write(r, false);
        break;
    case 4:
        expect("fsync", fl_vnode_fsync(world.file.vnode, 0, NULL), 0);
        break;
    case 5:
        expect("msync", fl_sys_msync(world.map, va, len, FL_MS_SYNC | FL_MS_INVALIDATE),
               world.all ? -ENOMEM : 0);
        break;
    case 6:
        expect("madvise",
               fl_sys_madvise(world.map, va, len, prng_chance(r, 500) ? FL_MADV_PAGEOUT : FL_MADV_DONTNEED),
               world.all ? -ENOMEM : 0);
        break;
    case 7:
        look_privately(r);
        break;
    default:
        expect_access("store", sim_store(world.map, va, &byte, 1, NULL));
        break;
    }
}

/* Operations that unmap the memory of calls in progress. */
static void take_away(struct prng *r)
{
    vm_pindex_t first = prng_below(r, PAGES);
    vm_offset_t va = world.at + ptoa(first);
    uint64_t len = ptoa(PAGES - first);
    int64_t at;

    switch (prng_below(r, 4)) {
    case 0:
        expect("truncate", fl_vnode_truncate(world.file.vnode, prng_below(r, ptoa(PAGES))), 0);
        break;
    case 1: /* as a hand-over does: written, unmapped, and another kernel's for a while */
        expect("msync", fl_sys_msync(world.map, va, len, FL_MS_SYNC), -ENOMEM);
        expect("munmap", fl_sys_munmap(world.map, va, len), 0);
        sim_yield();
        break;
    case 2:
        expect("mprotect", fl_sys_mprotect(world.map, va, len, VM_PROT_READ), -ENOMEM);
        break;
    default:
        break;
    }
    expect("truncate", fl_vnode_truncate(world.file.vnode, ptoa(PAGES)), 0);
    at = fl_sys_mmap(world.map, va, len, VM_PROT_READ | VM_PROT_WRITE, FL_MAP_SHARED | FL_MAP_FIXED,
                     &world.file, ptoa(first));
    expect("mmap", at, 0);
}

static void meddler(void *arg)
{
    struct prng r;

    prng_init(&r, world.seed * 200 + (uintptr_t)arg);
    for (unsigned i = 0; i < STEPS && !world.wrong; i++) {
        if (world.all && prng_chance(&r, 200))
            take_away(&r);
        else
            meddle(&r);
        sim_yield();
    }
    world.left--;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static void begin(uint64_t seed)
{
    struct sim_params params = test_params_hostile(seed);
    int64_t at;

    params.nframes = seed % 4 < 2 ? 256 : 80;
    params.torture.preempt_permille += 20;
    world.seed = seed;
    world.all = seed % 2 == 1;
    world.disk = sim_disk_create(ptoa(PAGES), seed);
    sim_disk_set_block(world.disk, seed % 3 == 0 ? 512 : (uint32_t)VM_PAGE_SIZE);
    test_fill(world.disk);
    test_boot(&params);
    world.map = test_space();
    world.file = test_file(world.disk, FL_FREAD | FL_FWRITE);
    at = fl_sys_mmap(world.map, 0, ptoa(PAGES), VM_PROT_READ | VM_PROT_WRITE, FL_MAP_SHARED, &world.file, 0);
    if (at < 0)
        abort();
    world.at = (vm_offset_t)at;
}

static bool run(uint64_t seed)
{
    begin(seed);
    world.left = CALLERS + MEDDLERS;
    for (uintptr_t i = 0; i < CALLERS; i++)
        sim_run("caller", caller, (void *)i);
    for (uintptr_t i = 0; i < MEDDLERS; i++)
        sim_run("meddler", meddler, (void *)i);
    while (world.left > 0 && !world.wrong) {
        sim_sleep_ns(200000);
        if (!world.all) /* pages are beyond the end while a truncation sleeps (OB3) */
            sim_vm_check();
    }
    if (world.wrong)
        return false;
    sim_join_all();
    sim_vm_check();
    fl_space_destroy(world.map);
    if (fl_vnode_close(world.file.vnode) != 0)
        return false;
    sim_shutdown();
    sim_disk_destroy(world.disk);
    return true;
}

int main(void)
{
    return seeds_run("holds_test", FIRST_SEED, SEEDS, SECONDS_MAX, run);
}
