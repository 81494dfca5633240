/*
 * writeback_test.c: dirty pages are written to a simulated disk: which
 * ones, in which runs, and what a failure leaves.
 */
#include "file/writeback.h"
#include "file/block.h"
#include "file/flusher.h"
#include "lib/errno.h"
#include "support/boot.h"
#include "support/depth.h"
#include "support/pages.h"
#include "vm/vm_meter.h"
#include "vm/vm_pager.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define FILE_PAGES 600

static struct sim_disk *disk;
static struct fl_file file;
static struct vm_object *object;

static struct blk_plug plug;

static void begin(struct sim_params params)
{
    params.nframes = 1024;
    params.no_flusher = true;
    blk_start_plug(&plug);
    disk = sim_disk_create(ptoa(FILE_PAGES), params.seed);
    test_boot(&params);
    file = test_file(disk, FL_FREAD | FL_FWRITE);
    object = test_object(file.vnode);
}

static void end(int closing)
{
    vm_object_deallocate(object);
    assert_int_equal(fl_vnode_close(file.vnode), closing);
    sim_shutdown();
    sim_disk_destroy(disk);
}

static uint8_t on_disk(vm_pindex_t pindex)
{
    uint8_t first, last;
    sim_disk_read(disk, ptoa(pindex), &first, 1);
    sim_disk_read(disk, ptoa(pindex) + VM_PAGE_SIZE - 1, &last, 1);
    assert_int_equal(first, last);
    return first;
}

static void dirty_run(vm_pindex_t start, uint32_t count, uint8_t byte)
{
    for (uint32_t i = 0; i < count; i++)
        test_page(object, start + i, byte, PG_DIRTY);
}

static bool is_dirty(vm_pindex_t pindex)
{
    return (test_page_flags(object, pindex) & PG_DIRTY) != 0;
}

/* ---- one writer ---------------------------------------------------------------------------------------- */

/* A mapping of the whole file: a held page may be stored to through it. */
static struct vm_map *show(void)
{
    struct vm_map *map = test_space();
    assert_true(fl_sys_mmap(map, 0, ptoa(FILE_PAGES), VM_PROT_READ | VM_PROT_WRITE, FL_MAP_SHARED, &file, 0) >
                0);
    return map;
}

static void neighbours_go_as_one_transfer(void **state)
{
    (void)state;
    begin(test_params(1));
    dirty_run(10, 300, 1); /* 256 and 44 */
    dirty_run(400, 1, 2);
    test_page(object, 401, 9, 0);
    dirty_run(402, 2, 3);
    assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), 0);
    assert_int_equal(sim_disk_counts(disk).writes, 4);
    assert_int_equal(sim_disk_counts(disk).pages_written, 303);
    assert_true(on_disk(10) == 1 && on_disk(309) == 1 && on_disk(400) == 2 && on_disk(401) == 0 &&
                on_disk(403) == 3);
    assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), 0);
    assert_int_equal(sim_disk_counts(disk).writes, 4); /* nothing is dirty any more */
    end(0);
}

static void an_error_does_not_stop_the_rest(void **state)
{
    (void)state;
    begin(test_params(2));
    dirty_run(10, 2, 1);
    dirty_run(20, 2, 2);
    dirty_run(30, 2, 3);
    sim_disk_faults(disk)->bad_write_start = ptoa(21);
    sim_disk_faults(disk)->bad_write_end = ptoa(22);
    assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), -EIO);
    assert_true(on_disk(11) == 1 && on_disk(31) == 3);
    assert_true(!is_dirty(10) && is_dirty(20) && is_dirty(21) && !is_dirty(30));
    assert_int_equal(filemap_write_and_wait_range(object, 0, 20), 0); /* the bad page is not in the range */
    assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), -EIO);
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), 0);
    assert_true(on_disk(20) == 2 && on_disk(21) == 2 && !is_dirty(21));
    end(0);
}

static void the_last_close_says_what_was_lost(void **state)
{
    (void)state;
    begin(test_params(3));
    dirty_run(10, 1, 1);
    sim_disk_faults(disk)->fail_write_permille = 1000;
    end(-EIO);
}

static void a_held_page_is_written_and_stays_dirty(void **state)
{
    (void)state;
    begin(test_params(4));
    struct vm_map *map = show();
    dirty_run(10, 3, 1);
    vm_lock(&object->lock);
    vm_page_hold(vm_page_lookup(object, 11));
    vm_unlock(&object->lock);
    assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), 0);
    assert_true(on_disk(10) == 1 && on_disk(11) == 1 && on_disk(12) == 1);
    assert_true(!is_dirty(10) && is_dirty(11) && !is_dirty(12));
    fl_space_destroy(map); /* it is mapped nowhere any more: the call that holds it cannot store into it */
    assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), 0);
    assert_false(is_dirty(11));
    vm_lock(&object->lock);
    vm_page_unhold(vm_page_lookup(object, 11));
    vm_unlock(&object->lock);
    end(0);
}

static void the_daemons_cluster_is_bounded(void **state)
    FL_NO_THREAD_SAFETY_ANALYSIS /* pageout_cluster returns without the lock */
{
    (void)state;
    begin(test_params(5));
    dirty_run(100, 100, 1);
    vm_lock(&object->lock);
    assert_int_equal(pageout_cluster(vm_page_lookup(object, 150), &plug), 33);
    assert_int_equal(sim_disk_counts(disk).writes, 0); /* collected */
    blk_finish_plug(&plug);
    assert_int_equal(sim_disk_counts(disk).writes, 1);
    assert_int_equal(sim_disk_counts(disk).pages_written, 33);
    assert_true(is_dirty(133) && !is_dirty(134) && !is_dirty(166) && is_dirty(167));
    vm_lock(&object->lock);
    vm_page_hold(vm_page_lookup(object, 102));
    /* from the first page up to a held one */
    assert_int_equal(pageout_cluster(vm_page_lookup(object, 100), &plug), 2);
    blk_finish_plug(&plug);
    assert_int_equal(sim_disk_counts(disk).pages_written, 35);
    vm_lock(&object->lock);
    vm_page_unhold(vm_page_lookup(object, 102));
    vm_unlock(&object->lock);
    end(0);
}

/* ---- depth --------------------------------------------------------------------------------------------- */

static void scattered_pages_are_written_together(void **state)
{
    (void)state;
    begin(test_params(10));
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 1000000;
    depth_watch(disk);
    for (vm_pindex_t i = 0; i < FILE_PAGES; i += 2)
        dirty_run(i, 1, 1);
    uint64_t start = machine_time_ns();
    assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), 0);
    assert_true(machine_time_ns() - start < 300 * UINT64_C(1000000) / 16);
    assert_true(depth_most() >= 32 && depth_most() <= 128); /* many, and not all */
    for (vm_pindex_t i = 0; i < FILE_PAGES; i += 2)
        assert_true(on_disk(i) == 1 && !is_dirty(i));
    depth_unwatch(disk);
    end(0);
}

static void asynchronous_write_back_does_not_wait(void **state)
{
    (void)state;
    begin(test_params(11));
    struct vm_map *map = show();
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 1000000;
    dirty_run(10, 20, 1);
    vm_lock(&object->lock);
    vm_page_hold(vm_page_lookup(object, 15));
    vm_unlock(&object->lock);
    uint64_t start = machine_time_ns();
    __filemap_fdatawrite_range(object, 0, UINT64_MAX, WB_SYNC_NONE);
    __filemap_fdatawrite_range(object, 0, UINT64_MAX, WB_SYNC_NONE); /* nothing is left to start */
    assert_true(machine_time_ns() - start < 1000000);
    assert_int_equal(sim_disk_counts(disk).pages_written, 19);
    assert_true(is_dirty(15) && !is_dirty(14));
    filemap_fdatawait_range(object, 0, FILE_PAGES);
    assert_true(on_disk(10) == 1 && on_disk(29) == 1 && on_disk(15) == 0);
    vm_lock(&object->lock);
    vm_page_unhold(vm_page_lookup(object, 15));
    vm_unlock(&object->lock);
    fl_space_destroy(map);
    end(0);
}

/*
 * A write-back that stops early continues where it stopped, and starts again at the beginning after the end.
 */
static void a_bounded_write_goes_round(void **state)
{
    (void)state;
    begin(test_params(12));
    for (vm_pindex_t i = 0; i < 40; i += 2)
        dirty_run(i, 1, 1);
    for (uint32_t round = 0; round < 4; round++) {
        struct writeback_control wbc = {.range_cyclic = true, .nr_to_write = 5};
        dirty_run(100 + 2 * round, 1, 2); /* new dirty pages behind the old ones */
        do_writepages(object, &wbc);
        assert_int_equal(wbc.nr_to_write, 0);
        filemap_fdatawait_range(object, 0, FILE_PAGES);
        for (vm_pindex_t i = 0; i < 40; i += 2)
            assert_int_equal(is_dirty(i), i >= 10 * (round + 1));
    }
    test_page_write(object, 2, 3);
    struct writeback_control wbc = {.range_cyclic = true, .nr_to_write = 5};
    do_writepages(object, &wbc);
    filemap_fdatawait_range(object, 0, FILE_PAGES);
    assert_int_equal(wbc.nr_to_write, 0);
    assert_true(on_disk(2) == 3 && on_disk(106) == 2);
    end(0);
}

/* Whether the nth allocation, or the nth call of the machine, failed. */
static bool sync_with_failure(bool map, uint32_t nth)
{
    begin(test_params(13));
    uint32_t *countdown = map ? &sim_torture()->fail_map_nth : &sim_torture()->fail_alloc_nth;
    dirty_run(10, 20, 1);
    dirty_run(50, 1, 1);
    *countdown = nth;
    int error = filemap_write_and_wait_range(object, 0, FILE_PAGES);
    bool came = *countdown == 0;
    *countdown = 0;
    assert_true(error == 0 || (came && error == -ENOMEM));
    for (vm_pindex_t i = 10; i < 30; i++)
        assert_true(is_dirty(i) ? error != 0 : on_disk(i) == 1);
    assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), 0);
    assert_true(on_disk(10) == 1 && on_disk(29) == 1 && on_disk(50) == 1);
    end(0);
    return came;
}

/* The pages are written nevertheless, or they stay dirty and the call returns the error. */
static void no_memory_loses_nothing(void **state)
{
    (void)state;
    for (uint32_t map = 0; map < 2; map++) {
        uint32_t nth = 1;
        while (sync_with_failure(map, nth))
            nth++;
        assert_true(nth > 1);
    }
}

/* ---- several ------------------------------------------------------------------------------------------- */

static int others_result;

static void write_all(void *arg)
{
    (void)arg;
    others_result = filemap_write_and_wait_range(object, 0, FILE_PAGES);
}

static void a_failure_of_another_writer_is_told(void **state)
{
    (void)state;
    begin(test_params(6));
    dirty_run(10, 2, 1);
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 10000000;
    sim_disk_faults(disk)->fail_write_nth = 1;
    sim_run("writer", write_all, NULL);
    sim_sleep_ns(1000000);
    assert_true(test_page_flags(object, 10) & PG_WRITEBACK);
    /* had nothing to write itself */
    assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), -EIO);
    assert_int_equal(sim_disk_counts(disk).writes, 1);
    sim_join_all();
    assert_int_equal(others_result, -EIO);
    end(0); /* the second try succeeds */
    assert_int_equal(others_result, -EIO);
}

static bool dirtying;

static void dirty_on(void *arg)
{
    (void)arg;
    for (uint8_t byte = 1; dirtying; byte++) {
        test_page_write(object, 10 + byte % 8, byte);
        sim_sleep_ns(1000);
    }
}

static void a_busy_writer_does_not_hold_it_for_ever(void **state)
{
    (void)state;
    begin(test_params(7));
    dirty_run(10, 8, 1);
    dirtying = true;
    sim_run("dirtying", dirty_on, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        uint64_t before = sim_disk_counts(disk).pages_written;
        assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), 0);
        assert_true(sim_disk_counts(disk).pages_written - before <= 8);
    }
    dirtying = false;
    sim_join_all();
    end(0);
}

/* ---- against a model ----------------------------------------------------------------------------------- */

struct model {
    uint8_t page[FILE_PAGES]; /* what each page is full of */
    uint8_t disk[FILE_PAGES]; /* what must be on the disk */
    bool there[FILE_PAGES];
};

static void model_write(struct model *model, struct prng *prng)
{
    vm_pindex_t start = prng_below(prng, FILE_PAGES), count = 1 + prng_below(prng, 40);
    uint8_t byte = (uint8_t)prng_next(prng);
    for (vm_pindex_t i = start; i < start + count && i < FILE_PAGES; i++) {
        if (model->there[i])
            test_page_write(object, i, byte);
        else
            test_page(object, i, byte, PG_DIRTY);
        model->there[i] = true;
        model->page[i] = byte;
    }
}

/*
 * A failed write may or may not have reached the disk: the model takes over what the disk has, and checks
 * that only the written pages changed.
 */
static void model_sync(struct model *model, struct prng *prng)
{
    vm_pindex_t start = prng_below(prng, FILE_PAGES), stop = start + prng_below(prng, FILE_PAGES - start + 1);
    int error = filemap_write_and_wait_range(object, start, stop);
    for (vm_pindex_t i = 0; i < FILE_PAGES; i++) {
        bool inside = i >= start && i < stop;
        if (inside && model->there[i] && !is_dirty(i))
            model->disk[i] = model->page[i];
        assert_true(error != 0 || !inside || !model->there[i] || !is_dirty(i));
        if (inside && is_dirty(i))
            assert_true(on_disk(i) == model->disk[i] || on_disk(i) == model->page[i]);
        else
            assert_int_equal(on_disk(i), model->disk[i]);
    }
}

static void random_writes_and_syncs(void **state)
{
    (void)state;
    static struct model model;
    struct prng prng;
    prng_init(&prng, test_seed(8));
    begin(test_params_hostile(prng_next(&prng)));
    memset(&model, 0, sizeof model);
    for (uint64_t round = 0; round < test_rounds(60); round++) {
        sim_disk_faults(disk)->fail_write_permille = prng_chance(&prng, 300) ? 300 : 0;
        model_write(&model, &prng);
        if (prng_chance(&prng, 500))
            model_sync(&model, &prng);
        vm_object_check_all();
    }
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    assert_int_equal(filemap_write_and_wait_range(object, 0, FILE_PAGES), 0);
    for (vm_pindex_t i = 0; i < FILE_PAGES; i++)
        assert_int_equal(on_disk(i), model.page[i]);
    end(0);
}

struct racer {
    struct prng prng;
    uint8_t *last; /* what this racer wrote last: to its own pages */
    vm_pindex_t first;
};

static void racer_main(void *arg)
{
    struct racer *r = arg;
    for (uint32_t i = 0; i < 60; i++) {
        vm_pindex_t own = prng_below(&r->prng, 20);
        r->last[own] = (uint8_t)prng_next(&r->prng);
        if (test_page_flags(object, r->first + own) == 0)
            test_page(object, r->first + own, r->last[own], PG_DIRTY);
        else
            test_page_write(object, r->first + own, r->last[own]);
        if (prng_chance(&r->prng, 200)) {
            vm_pindex_t start = prng_below(&r->prng, 100);
            if (filemap_write_and_wait_range(object, start, start + 30) == 0)
                sim_yield();
        }
    }
    while (filemap_write_and_wait_range(object, r->first, r->first + 20) != 0)
        continue;
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(on_disk(r->first + i), r->last[i]);
}

/*
 * Adjacent pages of several writers, so that their runs meet. The pages
 * that one of them has synced are on the disk.
 */
static void several_writers_of_neighbours(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(9));
    for (uint64_t round = 0; round < test_rounds(6); round++) {
        struct racer racer[5];
        uint8_t last[5][20] = {{0}};
        begin(test_params_hostile(prng_next(&prng)));
        sim_disk_faults(disk)->fail_write_permille = 100;
        for (uint32_t i = 0; i < 5; i++) {
            racer[i] = (struct racer){.last = last[i], .first = 20 * (vm_pindex_t)i};
            prng_init(&racer[i].prng, prng_next(&prng));
            sim_run("racer", racer_main, &racer[i]);
        }
        sim_join_all();
        sim_disk_faults(disk)->fail_write_permille = 0;
        end(0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_go_as_one_transfer),
        cmocka_unit_test(an_error_does_not_stop_the_rest),
        cmocka_unit_test(the_last_close_says_what_was_lost),
        cmocka_unit_test(a_held_page_is_written_and_stays_dirty),
        cmocka_unit_test(the_daemons_cluster_is_bounded),
        cmocka_unit_test(scattered_pages_are_written_together),
        cmocka_unit_test(asynchronous_write_back_does_not_wait),
        cmocka_unit_test(a_bounded_write_goes_round),
        cmocka_unit_test(no_memory_loses_nothing),
        cmocka_unit_test(a_failure_of_another_writer_is_told),
        cmocka_unit_test(a_busy_writer_does_not_hold_it_for_ever),
        cmocka_unit_test(random_writes_and_syncs),
        cmocka_unit_test(several_writers_of_neighbours),
    };
    return cmocka_run_group_tests_name("writeback", tests, NULL, NULL);
}
