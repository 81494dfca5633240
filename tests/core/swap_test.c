/*
 * swap_test.c: anonymous memory that is larger than memory, with a disk for swap.
 *
 *   what it costs     neighbours go and come together, zeros need no slot, a slot ends with its page or when
 *                     that is stored to
 *   what goes wrong   no slot is free, a write fails, a read fails: the access says so, and no byte is wrong
 *   the Nth transfer  each one fails in turn, in a random run beside a model of plain bytes
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "support/boot.h"
#include "support/seed.h"
#include "vm/swap_pager.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define BASE   ((vm_offset_t)0x10000000)
#define VA(p)  (BASE + ptoa((vm_pindex_t)(p)))
#define NPAGES 400 /* in many tests: of the memory that is written, 4 times what the computer has */

static struct vm_map *map;

static void begin(struct sim_params params, uint32_t nframes, uint32_t swap_pages)
{
    params.nframes = nframes;
    params.swap_pages = swap_pages;
    test_boot(&params);
    map = test_space();
}

static void map_pages(uint32_t first, uint32_t npages)
{
    assert_int_equal(fl_sys_mmap(map, VA(first), ptoa((vm_pindex_t)npages), VM_PROT_READ | VM_PROT_WRITE,
                                 FL_MAP_PRIVATE | FL_MAP_ANONYMOUS | FL_MAP_FIXED, NULL, 0),
                     (int64_t)VA(first));
}

static void unmap_pages(uint32_t first, uint32_t npages)
{
    assert_int_equal(fl_sys_munmap(map, VA(first), ptoa((vm_pindex_t)npages)), 0);
}

static void end(void)
{
    sim_vm_check();
    fl_space_destroy(map);
    sim_shutdown();
}

static struct fl_vm_stats stats(void)
{
    struct fl_vm_stats now;
    fl_vm_stats(&now);
    return now;
}

static uint64_t slots_in_use(void)
{
    struct fl_vm_stats now = stats();
    return now.swap_pages - now.swap_free;
}

/* Each page differs from the others and from itself at another time. */
static uint8_t stamp(uint32_t page, uint32_t turn)
{
    return (uint8_t)(1 + (page * 7 + turn * 31) % 255);
}

static void store_pages(uint32_t npages, uint32_t turn)
{
    for (uint32_t p = 0; p < npages; p++)
        test_store8(map, VA(p) + p, stamp(p, turn));
}

static void expect_pages(uint32_t npages, uint32_t turn)
{
    for (uint32_t p = 0; p < npages; p++)
        assert_int_equal(test_load8(map, VA(p) + p), stamp(p, turn));
}

static void page_out(uint32_t first, uint32_t npages)
{
    assert_int_equal(fl_sys_madvise(map, VA(first), ptoa((vm_pindex_t)npages), FL_MADV_PAGEOUT), 0);
}

/* ---- what it costs ------------------------------------------------------------------------------------- */

static void more_than_memory(void **state)
{
    (void)state;
    begin(test_params(1), 100, 1000);
    map_pages(0, NPAGES);
    for (uint32_t turn = 0; turn < 3; turn++) {
        store_pages(NPAGES, turn);
        expect_pages(NPAGES, turn);
    }
    assert_true(slots_in_use() >= NPAGES - 100 && slots_in_use() <= NPAGES);
    unmap_pages(0, NPAGES / 2);
    assert_true(slots_in_use() <= NPAGES / 2);
    unmap_pages(NPAGES / 2, NPAGES / 2);
    assert_int_equal(slots_in_use(), 0);
    end();
}

/* Neighbours are written and read in few transfers. */
static void neighbours_together(void **state)
{
    (void)state;
    begin(test_params(2), 256, 1000);
    map_pages(0, 128);
    store_pages(128, 0);
    struct sim_disk_counts before = sim_disk_counts(sim_swap_disk());
    page_out(0, 128);
    struct sim_disk_counts written = sim_disk_counts(sim_swap_disk());
    assert_int_equal(slots_in_use(), 128);
    assert_true(written.writes - before.writes <= 128 / 16);
    expect_pages(128, 0);
    struct sim_disk_counts read = sim_disk_counts(sim_swap_disk());
    assert_true(read.reads - written.reads <= 128 / 8);
    end();
}

static void zeros_cost_nothing(void **state)
{
    (void)state;
    begin(test_params(3), 256, 64);
    map_pages(0, 128);
    store_pages(128, 0);
    for (uint32_t p = 0; p < 128; p++)
        test_store8(map, VA(p) + p, p % 2 == 0 ? 0 : stamp(p, 0));
    page_out(0, 128); /* half of it is zeros, for which there would be no room */
    page_out(0, 128);
    assert_int_equal(slots_in_use(), 64);
    struct sim_disk_counts before = sim_disk_counts(sim_swap_disk());
    for (uint32_t p = 0; p < 128; p++)
        assert_int_equal(test_load8(map, VA(p) + p), p % 2 == 0 ? 0 : stamp(p, 0));
    assert_true(sim_disk_counts(sim_swap_disk()).reads - before.reads <= 64);
    end();
}

/* A page that is read keeps its slot, and needs no write to go again; one that is stored to loses it. */
static void a_store_ends_the_slot(void **state)
{
    (void)state;
    begin(test_params(4), 256, 1000);
    map_pages(0, 64);
    store_pages(64, 0);
    page_out(0, 64);
    expect_pages(64, 0);
    assert_int_equal(slots_in_use(), 64);
    struct sim_disk_counts before = sim_disk_counts(sim_swap_disk());
    page_out(0, 64);
    assert_int_equal(sim_disk_counts(sim_swap_disk()).writes, before.writes);
    store_pages(32, 1);
    page_out(0, 64);
    expect_pages(32, 1);
    assert_int_equal(slots_in_use(), 64);
    assert_int_equal(fl_sys_madvise(map, VA(0), ptoa(16), FL_MADV_DONTNEED), 0);
    assert_int_equal(slots_in_use(), 48);
    assert_int_equal(test_load8(map, VA(3) + 3), 0);
    assert_int_equal(fl_sys_madvise(map, VA(16), ptoa(16), FL_MADV_FREE), 0);
    assert_int_equal(slots_in_use(), 32);
    end();
}

/* The shadow takes over the slots of an object that has no other user. */
static void collapse_moves_slots(void **state)
{
    (void)state;
    struct vm_map *parent = NULL;
    begin(test_params(5), 256, 1000);
    map_pages(0, 64);
    store_pages(64, 0);
    for (uint32_t generation = 0; generation < 20; generation++) {
        page_out(0, 64);
        parent = map;
        assert_int_equal(fl_space_fork(parent, &map), 0);
        test_store8(map, VA(generation) + generation, stamp(generation, 1));
        fl_space_destroy(parent);
    }
    page_out(0, 64);
    expect_pages(20, 1);
    for (uint32_t p = 20; p < 64; p++)
        assert_int_equal(test_load8(map, VA(p) + p), stamp(p, 0));
    assert_int_equal(slots_in_use(), 64);
    end();
}

/* ---- what goes wrong ----------------------------------------------------------------------------------- */

/* Stores until one is refused, and returns how many were not. */
static uint32_t store_until_refused(uint32_t npages, int refusal)
{
    for (uint32_t p = 0; p < npages; p++) {
        uint8_t byte = stamp(p, 0);
        int error = sim_store(map, VA(p) + p, &byte, 1, NULL);
        if (error == 0)
            continue;
        assert_int_equal(error, refusal);
        return p;
    }
    return npages;
}

static void full_swap_is_an_error(void **state)
{
    (void)state;
    begin(test_params(6), 64, 100);
    map_pages(0, NPAGES);
    uint32_t stored = store_until_refused(NPAGES, -ENOMEM);
    assert_true(stored >= 100 && stored < 164);
    expect_pages(stored, 0);
    expect_pages(30, 0); /* they change places with others that are in memory, and most of them stay */
    struct sim_disk_counts before = sim_disk_counts(sim_swap_disk());
    expect_pages(30, 0);
    assert_true(sim_disk_counts(sim_swap_disk()).reads - before.reads <= 20);
    unmap_pages(0, 50);
    for (uint32_t p = stored; p < stored + 30; p++)
        test_store8(map, VA(p) + p, stamp(p, 0));
    for (uint32_t p = 50; p < stored + 30; p++)
        assert_int_equal(test_load8(map, VA(p) + p), stamp(p, 0));
    end();
}

static void a_failed_read_is_told(void **state)
{
    (void)state;
    uint8_t byte;
    begin(test_params(7), 256, 1000);
    map_pages(0, 64);
    store_pages(64, 0);
    page_out(0, 64);
    struct sim_disk_faults *faults = sim_disk_faults(sim_swap_disk());
    faults->bad_read_start = ptoa(10);
    faults->bad_read_end = ptoa(11);
    uint32_t failed = 0;
    for (uint32_t p = 0; p < 64; p++) {
        int error = sim_load(map, VA(p) + p, &byte, 1, NULL);
        failed += error != 0;
        if (error == 0)
            assert_int_equal(byte, stamp(p, 0));
        else
            assert_int_equal(error, -EIO);
    }
    assert_int_equal(failed, 1);
    *faults = (struct sim_disk_faults){0};
    expect_pages(64, 0);
    end();
}

static void a_failed_write_loses_nothing(void **state)
{
    (void)state;
    begin(test_params(8), 100, 1000);
    map_pages(0, NPAGES);
    sim_disk_faults(sim_swap_disk())->fail_write_permille = 1000;
    uint32_t stored = store_until_refused(NPAGES, -EIO);
    assert_true(stored >= 32 && stored < 100);
    sim_disk_faults(sim_swap_disk())->fail_write_permille = 0;
    store_pages(NPAGES, 0);
    expect_pages(NPAGES, 0);
    end();
}

/* ---- the Nth transfer ---------------------------------------------------------------------------------- */

#define SMALL 120 /* pages, with 48 frames */

static void random_step(struct prng *prng, uint8_t *model)
{
    uint32_t p = (uint32_t)prng_below(prng, SMALL), n = 1 + (uint32_t)prng_below(prng, 12);
    uint8_t byte = (uint8_t)prng_below(prng, 256);
    n = p + n > SMALL ? SMALL - p : n;
    switch (prng_below(prng, 12)) {
    case 0:
        page_out(p, n);
        break;
    case 1:
        assert_int_equal(fl_sys_madvise(map, VA(p), ptoa((vm_pindex_t)n), FL_MADV_DONTNEED), 0);
        memset(model + p, 0, n);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        for (uint32_t i = p; i < p + n; i++)
            if (sim_store(map, VA(i), &byte, 1, NULL) == 0)
                model[i] = byte;
        break;
    default:
        for (uint32_t i = p; i < p + n; i++)
            if (sim_load(map, VA(i), &byte, 1, NULL) == 0)
                assert_int_equal(byte, model[i]);
    }
}

/* A random run in which one transfer fails: the nth read or the nth write. */
static bool failing_run(uint64_t seed, uint32_t nth, bool write)
{
    uint8_t model[SMALL] = {0};
    struct prng prng;
    struct sim_params params = test_params_hostile(seed);
    prng_init(&prng, seed);
    begin(params, 48, prng_chance(&prng, 500) ? 60 : 200);
    map_pages(0, SMALL);
    struct sim_disk_faults *faults = sim_disk_faults(sim_swap_disk());
    *(write ? &faults->fail_write_nth : &faults->fail_read_nth) = nth;
    for (uint32_t i = 0; i < 200; i++)
        random_step(&prng, model);
    bool failed = *(write ? &faults->fail_write_nth : &faults->fail_read_nth) == 0;
    *faults = (struct sim_disk_faults){0};
    for (uint32_t p = 0; p < SMALL; p++) {
        uint8_t byte = 0;
        int error = sim_load(map, VA(p), &byte, 1, NULL);
        if (error != 0 && model[p] == 0)
            assert_int_equal(error, -ENOMEM); /* it may be a new page, for which a full swap has no room */
        else
            assert_int_equal(error, 0);
        assert_int_equal(byte, model[p]);
    }
    end();
    return failed;
}

static void each_transfer_fails_in_turn(void **state)
{
    (void)state;
    uint64_t seed = test_seed(0x5ba9), rounds = test_rounds(test_budget(200));
    uint32_t nth[2] = {1, 1}, ended = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        bool write = i % 2 != 0;
        (void)test_seed(seed + i / 64);
        bool failed = failing_run(seed + i / 64, nth[write], write);
        nth[write] = failed ? nth[write] + 1 : 1;
        ended += !failed;
    }
    assert_true(ended < rounds / 4 || rounds < 8); /* most runs have so many transfers */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_than_memory),
        cmocka_unit_test(neighbours_together),
        cmocka_unit_test(zeros_cost_nothing),
        cmocka_unit_test(a_store_ends_the_slot),
        cmocka_unit_test(collapse_moves_slots),
        cmocka_unit_test(full_swap_is_an_error),
        cmocka_unit_test(a_failed_read_is_told),
        cmocka_unit_test(a_failed_write_loses_nothing),
        cmocka_unit_test(each_transfer_fails_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
