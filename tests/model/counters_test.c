/*
 * counters_test.c: no store is lost: fibers in several address spaces add to counters in one file, while its
 * pages are paged out, written back, advised away and unmapped under them.
 *
 *   space 0: | file, shared |  fiber 0, fiber 1       counter c of page p: how often a fiber added to it
 *   space 1: | file, shared |  fiber 2, fiber 3       in the end memory, and after msync the disk, know them
 */
#include "sim/sim.h"
#include "support/boot.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define FIBERS       4
#define SPACES       2
#define FILE_PAGES   160
#define PER_PAGE     4
#define STEPS        600
#define SEEDS        60
#define FRAMES       96
#define COUNTER_STEP (VM_PAGE_SIZE / PER_PAGE)

static struct {
    struct vm_map *map[SPACES];
    vm_offset_t at[SPACES];
    struct fl_file file;
    uint64_t sum[FILE_PAGES * PER_PAGE];
} counters;

struct adder {
    unsigned space;
    struct prng r;
};

static void add_somewhere(struct adder *adder)
{
    uint64_t i = prng_below(&adder->r, FILE_PAGES * PER_PAGE), by = 1 + prng_below(&adder->r, 1000);

    assert_int_equal(
        sim_fetch_add(counters.map[adder->space], counters.at[adder->space] + i * COUNTER_STEP, by, NULL), 0);
    counters.sum[i] += by;
}

static void disturb(struct adder *adder)
{
    struct vm_map *map = counters.map[adder->space];
    vm_offset_t va = counters.at[adder->space] + ptoa(prng_below(&adder->r, FILE_PAGES));
    uint64_t len_bytes = counters.at[adder->space] + ptoa(FILE_PAGES) - va;

    switch (prng_below(&adder->r, 5)) {
    case 0:
        assert_int_equal(fl_sys_msync(map, va, len_bytes, FL_MS_SYNC), 0);
        break;
    case 1:
        assert_int_equal(fl_sys_madvise(map, va, len_bytes, FL_MADV_PAGEOUT), 0);
        break;
    case 2:
        assert_int_equal(fl_sys_madvise(map, va, len_bytes, FL_MADV_DONTNEED), 0);
        break;
    case 3:
        assert_int_equal(
            fl_sys_mprotect(map, va, VM_PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE | VM_PROT_EXECUTE), 0);
        break;
    default: /* a private mapping of the page copies its bytes, and never changes the file */
        va = (vm_offset_t)fl_sys_mmap(map, 0, ptoa(8), VM_PROT_READ | VM_PROT_WRITE, FL_MAP_PRIVATE,
                                      &counters.file, 0);
        test_store8(map, va + 5, 1);
        assert_int_equal(fl_sys_munmap(map, va, ptoa(8)), 0);
        break;
    }
}

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
        int64_t at;

        counters.map[s] = test_space();
        at = fl_sys_mmap(counters.map[s], 0, ptoa(FILE_PAGES), VM_PROT_READ | VM_PROT_WRITE, FL_MAP_SHARED,
                         &counters.file, 0);
        assert_true(at > 0);
        counters.at[s] = (vm_offset_t)at;
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
    uint64_t first = test_seed(1), rounds = test_rounds(getenv("FAULTLINE_SEED") != NULL ? 1 : SEEDS), i;

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
