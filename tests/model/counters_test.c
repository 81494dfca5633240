/*
 * counters_test.c: no store is lost: fibers in several address spaces add to counters in one file, while its
 * pages are paged out, written back, advised away and unmapped under them.
 *
 *   space 0: | file, shared |  fiber 0, fiber 1       counter c of page p: how often a fiber added to it
 *   space 1: | file, shared |  fiber 2, fiber 3       in the end memory, and after msync the disk, know them
 *
 * The file's mapping in a space changes under its fibers: pages of it are read-only for a moment, move away
 * and back, or are unmapped and mapped again. Then an addition fails and is made again. A system call adds as
 * the host's kernel does: to the frame that it finds mapped, while it holds the page.
 */
#include "sim/sim.h"
#include "support/boot.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define FIBERS       4
#define SPACES       2
#define FILE_PAGES   160
#define PER_PAGE     4
#define STEPS        600
#define SEEDS        250
#define FRAMES       96
#define COUNTER_STEP (VM_PAGE_SIZE / PER_PAGE)
#define AWAY         ((vm_offset_t)0x40000000)

static struct {
    struct vm_map *map[SPACES];
    vm_offset_t at[SPACES];
    struct fl_file file;
    bool changing[SPACES]; /* a fiber changes the space's mappings */
    uint64_t sum[FILE_PAGES * PER_PAGE];
} counters;

struct adder {
    unsigned space;
    struct prng r;
};

/* Is the page read-only, or somewhere else, for the moment? */
static bool is_changing(int error)
{
    return error == -EACCES || error == -EFAULT;
}

static void add_somewhere(struct adder *adder)
{
    uint64_t i = prng_below(&adder->r, FILE_PAGES * PER_PAGE), by = 1 + prng_below(&adder->r, 1000);
    int error =
        sim_fetch_add(counters.map[adder->space], counters.at[adder->space] + i * COUNTER_STEP, by, NULL);

    assert_true(error == 0 || is_changing(error));
    if (error == 0)
        counters.sum[i] += by;
}

/* Adds to the counter as a system call of the host: to what is mapped, without a fault. */
static void add_by_a_call(struct adder *adder)
{
    struct vm_map *map = counters.map[adder->space];
    uint64_t i = prng_below(&adder->r, FILE_PAGES * PER_PAGE);
    vm_offset_t va = counters.at[adder->space] + i * COUNTER_STEP;
    struct fl_hold hold;
    vm_frame_t frame;
    vm_prot_t prot;
    bool wired;
    int error = fl_hold(map, va, 8, VM_PROT_WRITE, &hold);

    assert_true(error == 0 || is_changing(error) || error == -EAGAIN || error == -ENOMEM);
    if (error != 0)
        return;
    sim_sleep_ns(prng_below(&adder->r, 2000));
    if (sim_mapped(fl_space_machine(map), trunc_page(va), &frame, &prot, &wired) &&
        (prot & VM_PROT_WRITE) != 0) {
        ++*(uint64_t *)(void *)(sim_frame(frame) + (va & VM_PAGE_MASK));
        counters.sum[i]++;
    }
    fl_unhold(&hold);
}

/* ---- what happens to the mappings meanwhile ------------------------------------------------------------ */

/* A private mapping of the file's first pages copies their bytes, and never changes the file. */
static void map_privately(struct vm_map *map)
{
    vm_offset_t va = test_mmap(map, &counters.file, FL_MAP_PRIVATE, 8);

    test_store8(map, va + 5, 1);
    assert_int_equal(fl_sys_munmap(map, va, ptoa(8)), 0);
}

static void make_read_only(struct vm_map *map, vm_offset_t va, uint64_t len_bytes)
{
    assert_int_equal(fl_sys_mprotect(map, va, len_bytes, VM_PROT_READ), 0);
    sim_yield();
    assert_int_equal(fl_sys_mprotect(map, va, len_bytes, VM_PROT_READ | VM_PROT_WRITE), 0);
}

/* Moves pages away, adds to one of them there, and moves them back. */
static void move(struct adder *adder, vm_offset_t va, uint64_t len_bytes)
{
    struct vm_map *map = counters.map[adder->space];
    uint64_t i = (va - counters.at[adder->space]) / COUNTER_STEP;
    int64_t to = fl_sys_mremap(map, va, len_bytes, len_bytes, FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED, AWAY);

    if (to == -EFAULT) /* several mappings, because they differ in their rights */
        return;
    assert_int_equal(to, AWAY);
    assert_int_equal(sim_fetch_add(map, AWAY, 1, NULL), 0);
    counters.sum[i]++;
    to = fl_sys_mremap(map, AWAY, len_bytes, len_bytes, FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED, va);
    assert_int_equal(to, va);
}

static void map_anew(struct vm_map *map, vm_offset_t va, uint64_t len_bytes, uint64_t offset)
{
    assert_int_equal(fl_sys_munmap(map, va, len_bytes), 0);
    sim_yield();
    assert_int_equal(fl_sys_mmap(map, va, len_bytes, VM_PROT_READ | VM_PROT_WRITE,
                                 FL_MAP_SHARED | FL_MAP_FIXED, &counters.file, offset),
                     va);
}

/* One fiber of a space at a time changes its mappings: the others would change what is not there. */
static void change_mappings(struct adder *adder, vm_offset_t va, uint64_t len_bytes)
{
    struct vm_map *map = counters.map[adder->space];

    if (counters.changing[adder->space])
        return;
    counters.changing[adder->space] = true;
    switch (prng_below(&adder->r, 6)) {
    case 0:
        make_read_only(map, va, len_bytes);
        break;
    case 1:
        move(adder, va, len_bytes);
        break;
    case 2:
        map_anew(map, va, len_bytes, va - counters.at[adder->space]);
        break;
    case 3:
    case 4:
        map_privately(map);
        break;
    default:
        assert_int_equal(fl_sys_mprotect(map, va, len_bytes, VM_PROT_READ | VM_PROT_WRITE | VM_PROT_EXECUTE),
                         0);
        break;
    }
    counters.changing[adder->space] = false;
}

static void disturb(struct adder *adder)
{
    struct vm_map *map = counters.map[adder->space];
    vm_pindex_t page = prng_below(&adder->r, FILE_PAGES);
    vm_offset_t va = counters.at[adder->space] + ptoa(page);
    uint64_t len_bytes = ptoa(1 + prng_below(&adder->r, FILE_PAGES - page));
    int error = 0;

    switch (prng_below(&adder->r, 9)) {
    case 0:
        error = fl_sys_msync(map, va, len_bytes, FL_MS_SYNC);
        break;
    case 1:
        error = fl_sys_madvise(map, va, len_bytes, FL_MADV_PAGEOUT);
        break;
    case 2:
        error = fl_sys_madvise(map, va, len_bytes, FL_MADV_DONTNEED);
        break;
    case 3:
        assert_int_equal(fl_vnode_fsync(counters.file.vnode, 0, NULL), 0);
        break;
    case 4:
        fl_vnode_invalidate(counters.file.vnode, ptoa(page), len_bytes);
        break;
    case 5:
        add_by_a_call(adder);
        break;
    default:
        change_mappings(adder, va, len_bytes);
        break;
    }
    assert_true(error == 0 || error == -ENOMEM); /* a part of it was somewhere else for a moment */
}

/* ---- a run --------------------------------------------------------------------------------------------- */

static void add(void *arg)
{
    struct adder *adder = arg;
    int step;

    for (step = 0; step < STEPS; step++) {
        if (prng_below(&adder->r, 20) == 0)
            disturb(adder);
        else
            add_somewhere(adder);
    }
}

static void start(uint64_t seed, struct sim_disk *disk)
{
    struct sim_params params = test_params_hostile(seed);
    unsigned s;

    params.nframes = FRAMES;
    test_boot(&params);
    counters.file = test_file(disk, FL_FREAD | FL_FWRITE);
    for (s = 0; s < SPACES; s++) {
        counters.map[s] = test_space();
        counters.at[s] = test_mmap(counters.map[s], &counters.file, FL_MAP_SHARED, FILE_PAGES);
    }
}

static void compare(struct sim_disk *disk)
{
    uint64_t i, in_memory, on_disk;
    unsigned s;

    for (i = 0; i < FILE_PAGES * PER_PAGE; i++) {
        for (s = 0; s < SPACES; s++) {
            assert_int_equal(
                sim_load(counters.map[s], counters.at[s] + i * COUNTER_STEP, &in_memory, 8, NULL), 0);
            assert_int_equal(in_memory, counters.sum[i]);
        }
    }
    assert_int_equal(fl_sys_msync(counters.map[0], counters.at[0], ptoa(FILE_PAGES), FL_MS_SYNC), 0);
    for (i = 0; i < FILE_PAGES * PER_PAGE; i++) {
        sim_disk_read(disk, i * COUNTER_STEP, &on_disk, 8);
        assert_int_equal(on_disk, counters.sum[i]);
    }
}

static void run(uint64_t seed)
{
    struct sim_disk *disk = sim_disk_create(ptoa(FILE_PAGES), seed);
    struct adder adder[FIBERS];
    struct fl_vm_stats stats;
    unsigned i;

    __builtin_memset(&counters, 0, sizeof(counters));
    start(seed, disk);
    for (i = 0; i < FIBERS; i++) {
        adder[i].space = i % SPACES;
        prng_init(&adder[i].r, seed * FIBERS + i);
        sim_run("adder", add, &adder[i]);
    }
    sim_join_all();
    fl_vm_stats(&stats);
    assert_true(stats.evictions > 0 && stats.write_backs > 0); /* otherwise this test shows nothing */
    compare(disk);
    for (i = 0; i < SPACES; i++)
        fl_space_destroy(counters.map[i]);
    assert_int_equal(fl_vnode_close(counters.file.vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
}

static void test_no_store_is_lost(void **state)
{
    uint64_t first = test_seed(1),
             rounds = test_rounds(getenv("FAULTLINE_SEED") != NULL ? 1 : test_budget(SEEDS)), i;

    (void)state;
    for (i = 0; i < rounds; i++)
        run(first + i); /* prints the seed if it panics */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_store_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
