/*
 * flusher_test.c: dirty pages that are written without an fsync: by age,
 * by their share of memory, and by writers that are throttled.
 */
#include "file/flusher.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/pages.h"
#include "file/vnode_pager.h"
#include "vm/vm_harvest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define FILE_PAGES 600
#define MS         UINT64_C(1000000)

static vm_offset_t va;

static void begin(struct sim_params params)
{
    params.nframes = 1024;
    one_file_boot(&params, sim_disk_create(ptoa(FILE_PAGES), params.seed), RW);
    va = test_mmap(map, &file, FL_MAP_SHARED, FILE_PAGES);
    assert_int_equal(fl_sys_madvise(map, va, ptoa(FILE_PAGES), FL_MADV_RANDOM), 0); /* each store faults */
}

static struct sim_params expiring(uint64_t seed, uint64_t expire_ns)
{
    struct sim_params params = test_params(seed);
    params.dirty_expire_ns = expire_ns;
    return params;
}

/* Of the whole VM. */
static uint64_t dirty_pages(void)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    return stats.dirty;
}

static void dirty(vm_pindex_t start, vm_pindex_t end_pindex)
{
    for (vm_pindex_t i = start; i < end_pindex; i++)
        test_store8(map, va + ptoa(i), 1);
    struct vm_object *object = file.vnode->object;
    vm_lock(&object->lock); /* neighbours of a page that faulted may be stored to without a fault */
    vm_harvest(object, 0, UINT64_MAX, 0);
    vm_unlock(&object->lock);
}

/* ---- by age -------------------------------------------------------------------------------------------- */

static void what_is_old_is_written(void **state)
{
    (void)state;
    begin(expiring(1, 50 * MS));
    dirty(0, 5);
    sim_sleep_ns(40 * MS);
    assert_true(dirty_pages() == 5 && disk_byte(0) == 0);
    sim_sleep_ns(15 * MS);
    assert_true(dirty_pages() == 0 && disk_byte(0) == 1 && disk_byte(ptoa(4)) == 1);
    assert_int_equal(file.vnode->i_state, I_DIRTY); /* it is mapped */
    /* And again, after the flusher had nothing to do. */
    dirty(2, 3);
    sim_sleep_ns(60 * MS);
    assert_int_equal(dirty_pages(), 0);
    one_file_end();
}

/* A file that is written all the time is written back too. */
static void a_busy_file_is_written_too(void **state)
{
    (void)state;
    begin(expiring(2, 10 * MS));
    for (uint32_t i = 0; i < 100; i++) {
        dirty(i % 8, i % 8 + 1);
        sim_sleep_ns(MS);
    }
    uint64_t writes = sim_disk_counts(disk).pages_written;
    assert_true(writes >= 5 * 4 && writes < 100 + 8);
    one_file_end();
}

static void what_others_wrote_is_left(void **state)
{
    (void)state;
    begin(expiring(3, 10 * MS));
    dirty(0, 5);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    uint64_t writes = sim_disk_counts(disk).writes;
    sim_sleep_ns(30 * MS);
    assert_int_equal(sim_disk_counts(disk).writes, writes);
    assert_int_equal(file.vnode->i_state, I_DIRTY); /* it is mapped */
    one_file_end();
}

/* ---- by share ------------------------------------------------------------------------------------------ */

static void what_is_too_much_is_written(void **state)
{
    (void)state;
    struct sim_params params = expiring(4, 10000 * MS);
    params.dirty_background = 100;
    params.dirty_max = 300;
    begin(params);
    for (vm_pindex_t i = 0; i < 100; i++) /* not adjacent: the flusher would write neighbours along */
        dirty(2 * i, 2 * i + 1);
    sim_sleep_ns(10 * MS);
    assert_int_equal(sim_disk_counts(disk).writes, 0);
    for (vm_pindex_t i = 100; i < 150; i++)
        dirty(2 * i, 2 * i + 1);
    sim_sleep_ns(10 * MS);
    assert_true(dirty_pages() <= 100 && dirty_pages() > 40); /* so much, and no more */
    one_file_end();
}

static void who_dirties_too_much_writes(void **state)
{
    (void)state;
    struct sim_params params = test_params(5);
    params.dirty_background = 50;
    params.dirty_max = 100;
    params.no_flusher = true;
    begin(params);
    for (vm_pindex_t i = 0; i < FILE_PAGES; i++) {
        dirty(i, i + 1);
        assert_true(dirty_pages() <= 100);
    }
    assert_true(sim_disk_counts(disk).pages_written > FILE_PAGES - 101);
    one_file_end();
}

/* The writer of a file with few dirty pages is not throttled for a file with many. */
static void others_dirty_pages_are_not_its_work(void **state)
{
    (void)state;
    struct sim_params params = test_params(6);
    params.dirty_background = 50;
    params.dirty_max = 100;
    params.no_flusher = true;
    begin(params);
    struct sim_disk *small = sim_disk_create(ptoa(4), 66);
    struct fl_file little = test_file(small, RW);
    struct vm_object *object = vnode_pager_alloc(file.vnode, FILE_PAGES);
    for (vm_pindex_t i = 0; i < 200; i++) /* past the limit at which writers are throttled */
        test_page(object, i, 1, PG_DIRTY);
    int64_t at = fl_sys_mmap(map, 0, ptoa(4), PROT_RW, FL_MAP_SHARED, &little, 0);
    assert_true(at > 0);
    test_store8(map, (vm_offset_t)at, 1);
    assert_int_equal(sim_disk_counts(small).writes, 0);
    assert_int_equal(sim_disk_counts(disk).writes, 0);
    assert_int_equal(fl_sys_munmap(map, (vm_offset_t)at, ptoa(4)), 0);
    assert_int_equal(fl_vnode_close(little.vnode), 0);
    vm_object_deallocate(object);
    one_file_end();
    sim_disk_destroy(small);
}

/* ---- trouble ------------------------------------------------------------------------------------------- */

static void a_broken_disk_is_not_hammered(void **state)
{
    (void)state;
    struct sim_params params = expiring(7, 100 * MS);
    params.dirty_background = 10;
    begin(params);
    sim_disk_faults(disk)->fail_write_permille = 1000;
    dirty(0, 40);
    sim_sleep_ns(1000 * MS);
    for (vm_pindex_t i = 0; i < 40; i++)
        assert_true(test_page_flags(vnode_object(file.vnode), i) & (PG_DIRTY | PG_WRITEBACK));
    uint64_t writes = sim_disk_counts(disk).writes;
    assert_true(writes > 0 && writes < 40 * 50); /* a try each 50 ms */
    sim_disk_faults(disk)->fail_write_permille = 0;
    sim_sleep_ns(250 * MS);
    assert_true(dirty_pages() == 0 && disk_byte(ptoa(39)) == 1);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &file.told), -EIO); /* the error must reach a caller */
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &file.told), 0);
    one_file_end();
}

static void a_held_page_is_left_until_it_is_let_go(void **state)
{
    (void)state;
    struct fl_hold hold;
    struct sim_params params = expiring(8, 10 * MS);
    params.dirty_background = 1;
    begin(params);
    assert_int_equal(fl_hold(map, va, 3 * VM_PAGE_SIZE, VM_PROT_WRITE, &hold), 0);
    sim_sleep_ns(100 * MS);
    assert_int_equal(dirty_pages(), 3);
    fl_unhold(&hold);
    sim_sleep_ns(25 * MS);
    assert_int_equal(dirty_pages(), 0);
    one_file_end();
}

/* The last close reports what was lost, even while the flusher was writing the file. */
static void a_file_ends_under_the_flusher(void **state)
{
    (void)state;
    begin(expiring(9, 10 * MS));
    struct sim_disk *slow = sim_disk_create(ptoa(4), 99);
    sim_disk_faults(slow)->latency_min_ns = sim_disk_faults(slow)->latency_max_ns = 20 * MS;
    struct fl_file ending = test_file(slow, RW);
    int64_t at = fl_sys_mmap(map, 0, ptoa(4), PROT_RW, FL_MAP_SHARED, &ending, 0);
    assert_true(at > 0);
    test_store8(map, (vm_offset_t)at, 1);
    sim_disk_faults(slow)->fail_write_permille = 1000;
    sim_sleep_ns(15 * MS);
    assert_true(ending.vnode->i_state & I_SYNC);
    assert_int_equal(fl_sys_munmap(map, (vm_offset_t)at, ptoa(4)), 0);
    assert_int_equal(fl_vnode_close(ending.vnode), -EIO);
    assert_int_equal(sim_disk_counts(slow).in_flight, 0);
    one_file_end();
    sim_disk_destroy(slow);
}

static void stopping_does_not_wait_for_age(void **state)
{
    (void)state;
    begin(expiring(10, 100000 * MS));
    dirty(0, 5);
    uint64_t before = machine_time_ns();
    fl_vm_stop();
    sim_settle();
    assert_true(machine_time_ns() - before < 1000 * MS);
    sim_sleep_ns(200000 * MS);
    assert_int_equal(dirty_pages(), 5); /* it is gone */
    one_file_end();
}

static void numbers_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct sim_params params = test_params(11);
    params.dirty_background = 100;
    params.dirty_max = 50;
    assert_int_equal(sim_boot(&params), -EINVAL);
    params.dirty_background = 0;
    params.dirty_max = 257;
    assert_int_equal(sim_boot(&params), -EINVAL);
    params.dirty_max = 1; /* background: dirty pages stay below that */
    test_boot(&params);
    assert_int_equal(dirty_background_thresh, 1);
    sim_shutdown();
}

static void break_the_list(void *arg)
{
    begin(expiring(12, 100000 * MS));
    dirty(0, 1);
    if (*(int *)arg == 3)
        file.vnode->i_state |= I_FREEING;
    struct sim_disk *second = sim_disk_create(ptoa(4), 122);
    struct fl_file later = test_file(second, RW);
    int64_t at = fl_sys_mmap(map, 0, ptoa(4), PROT_RW, FL_MAP_SHARED, &later, 0);
    test_store8(map, (vm_offset_t)at, 1);
    if (*(int *)arg == 4)
        later.vnode->dirtied_when = file.vnode->dirtied_when - 1;
    fl_vm_check();
}

static void the_checker_sees_a_broken_list(void **state)
{
    (void)state;
    int which = 3;
    assert_true(test_panics(break_the_list, &which, "WB3"));
    which = 4;
    assert_true(test_panics(break_the_list, &which, "WB4"));
}

/* ---- many ---------------------------------------------------------------------------------------------- */

#define FILES 6

static struct sim_disk *disks[FILES];

/* Opens a file, stores to it through a mapping, closes it; the stores are on the disk then. */
static void worker_main(void *arg)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)(uintptr_t)arg);
    for (uint32_t i = 0; i < 25; i++) {
        uint32_t n = (uint32_t)prng_below(&prng, FILES);
        struct fl_file own = test_file(disks[n], RW);
        int64_t at = fl_sys_mmap(map, 0, ptoa(40), PROT_RW, FL_MAP_SHARED, &own, 0);
        if (at > 0) {
            for (uint32_t k = 0; k < 10; k++) {
                uint8_t byte = (uint8_t)prng_next(&prng);
                (void)!sim_store(map, (vm_offset_t)at + ptoa(prng_below(&prng, 40)), &byte, 1, NULL);
                if (prng_chance(&prng, 100))
                    sim_sleep_ns(prng_below(&prng, 20000));
            }
            while (fl_sys_munmap(map, (vm_offset_t)at, ptoa(40)) != 0)
                continue;
        }
        (void)!fl_vnode_close(own.vnode);
    }
}

static void many_files_come_and_go(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(13));
    for (uint64_t round = 0; round < test_rounds(8); round++) {
        struct sim_params params = test_params_hostile(prng_next(&prng));
        params.dirty_background = (uint32_t)prng_below(&prng, 40);
        params.dirty_max = params.dirty_background + (uint32_t)prng_below(&prng, 40);
        for (uint32_t i = 0; i < FILES; i++) {
            disks[i] = sim_disk_create(ptoa(40), prng_next(&prng));
            sim_disk_faults(disks[i])->fail_write_permille = prng_chance(&prng, 300) ? 200 : 0;
        }
        begin(params);
        for (uint32_t i = 0; i < 4; i++)
            sim_run("worker", worker_main, (void *)(uintptr_t)(prng_next(&prng) | 1));
        sim_join_all();
        one_file_end();
        for (uint32_t i = 0; i < FILES; i++)
            sim_disk_destroy(disks[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_old_is_written),
        cmocka_unit_test(a_busy_file_is_written_too),
        cmocka_unit_test(what_others_wrote_is_left),
        cmocka_unit_test(what_is_too_much_is_written),
        cmocka_unit_test(who_dirties_too_much_writes),
        cmocka_unit_test(others_dirty_pages_are_not_its_work),
        cmocka_unit_test(a_broken_disk_is_not_hammered),
        cmocka_unit_test(a_held_page_is_left_until_it_is_let_go),
        cmocka_unit_test(a_file_ends_under_the_flusher),
        cmocka_unit_test(stopping_does_not_wait_for_age),
        cmocka_unit_test(numbers_that_do_not_fit_are_refused),
        cmocka_unit_test(the_checker_sees_a_broken_list),
        cmocka_unit_test(many_files_come_and_go),
    };
    return cmocka_run_group_tests_name("flusher", tests, NULL, NULL);
}
