/*
 * pageout_test.c: the page daemon: which pages it frees, which it writes,
 * which it leaves alone, and when memory is exhausted.
 */
#include "vm/vm_pageout.h"
#include "vm/lru.h"
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/odd_store.h"
#include "support/depth.h"
#include "support/pages.h"
#include "support/memory_store.h"
#include "vm/vm_meter.h"
#include "vm/vm_phys.h"
#include "file/transfer.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct vm_object *object;

static void begin(struct sim_params params, vm_pindex_t file_pages)
{
    one_file_boot(&params, test_disk(ptoa(file_pages), VM_PAGE_SIZE, params.seed), RW);
    object = test_object(file.vnode);
}

static void end(void)
{
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    vm_object_deallocate(object);
    one_file_end();
}

static void inactive(struct vm_object *o, vm_pindex_t pindex)
{
    vm_lock(&o->lock);
    deactivate_page(vm_page_lookup(o, pindex));
    vm_unlock(&o->lock);
}

static void inactive_pages(struct vm_object *o, vm_pindex_t start, vm_pindex_t count, unsigned flags)
{
    for (vm_pindex_t i = start; i < start + count; i++) {
        test_page(o, i, (uint8_t)i, flags);
        inactive(o, i);
    }
}

static bool there(vm_pindex_t pindex)
{
    return test_page_flags(object, pindex) != 0;
}

static uint32_t free_now(void)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    return (uint32_t)stats.free;
}

/* ---- marks --------------------------------------------------------------------------------------------- */

static void marks_fit_or_are_refused(void **state)
{
    (void)state;
    struct vm_pageout_params before = vm_pageout;
    assert_int_equal(vm_pageout_startup(15, 0, 0, 0, 0), -EINVAL);
    assert_int_equal(vm_pageout_startup(100, 10, 10, 20, 0), -EINVAL);
    assert_int_equal(vm_pageout_startup(100, 5, 20, 20, 0), -EINVAL);
    assert_int_equal(vm_pageout_startup(100, 5, 20, 100, 0), -EINVAL);
    for (uint32_t nframes = 16; nframes < 5000000; nframes += nframes / 7) {
        assert_int_equal(vm_pageout_startup(nframes, 0, 0, 0, 0), 0);
        assert_true(vm_pageout.free_reserved >= 2 && vm_pageout.free_reserved < vm_pageout.free_min);
        assert_true(vm_pageout.free_min < vm_pageout.free_target && vm_pageout.free_target < nframes);
        /* most of the budget is for use */
        assert_true(nframes < 256 || vm_pageout.free_target < nframes / 8);
    }
    assert_int_equal(vm_pageout_startup(100, 3, 10, 20, 0), 0);
    assert_true(vm_pageout.free_reserved == 3 && vm_pageout.free_min == 10 && vm_pageout.free_target == 20);
    vm_pageout = before;
}

/*
 * Makes passes until they have freed n pages, with time for write-back in between; few passes must be enough.
 */
static uint32_t scan_until_freed(uint32_t n, uint32_t target)
{
    uint32_t freed = 0;
    for (uint32_t pass = 0; pass < 10 && freed < n; pass++) {
        freed += vm_pageout_scan(target);
        sim_sleep_ns(10000000);
    }
    return freed;
}

/* ---- one pass ------------------------------------------------------------------------------------------ */

static void the_oldest_clean_pages_go_first(void **state)
{
    (void)state;
    begin(test_params(1), 256);
    inactive_pages(object, 100, 50, 0);
    inactive_pages(object, 0, 50, 0);
    assert_true(fl_sys_mmap(map, 0, ptoa(256), PROT_RW, FL_MAP_SHARED, &file, 0) > 0);
    uint64_t unmaps = sim_stats().unmaps;
    assert_int_equal(vm_pageout_scan(free_now() + 70), 70);
    for (vm_pindex_t i = 0; i < 50; i++) {
        assert_false(there(100 + i));
        assert_int_equal(there(i), i >= 20);
    }
    assert_true(sim_stats().unmaps - unmaps <= 4); /* neighbours as runs, in few batches */
    assert_int_equal(vm_counted(&vm_cnt.evictions), 70);
    assert_int_equal(vm_pageout_scan(1), 0);
    end();
}

static void pages_in_use_stay(void **state)
{
    (void)state;
    begin(test_params(2), 256);
    inactive_pages(object, 0, 8, 0);
    vm_lock(&object->lock);
    struct vm_page *busy = vm_page_lookup(object, 1), *held = vm_page_lookup(object, 2),
                   *wired = vm_page_lookup(object, 3);
    vm_page_xbusy(busy);
    vm_page_hold(held);
    vm_page_wire(wired);
    vm_unlock(&object->lock);
    assert_int_equal(vm_pageout_scan(256), 5);
    assert_true(there(1) && there(2) && there(3));
    vm_lock(&object->lock);
    assert_int_equal(vm_pageout_scan(256), 0); /* nor with the object locked, which may be by the caller */
    vm_page_xunbusy(busy);
    vm_page_unhold(held);
    vm_page_unwire(wired, PQ_INACTIVE);
    vm_unlock(&object->lock);
    assert_int_equal(vm_pageout_scan(256), 3);
    end();
}

static void dirty_pages_are_written_first(void **state)
{
    (void)state;
    uint32_t clean = 0;
    uint8_t byte;
    begin(test_params(3), 256);
    inactive_pages(object, 0, 100, PG_DIRTY);
    uint32_t target = free_now() + 20;
    (void)vm_pageout_scan(target);
    for (vm_pindex_t i = 0; i < 100; i++)
        clean += (test_page_flags(object, i) & PG_DIRTY) == 0;
    assert_true(clean >= 20 && clean < 90); /* as many as the target asks for, and their neighbours */
    assert_true(free_now() >= target || scan_until_freed(20, target) >= 20);
    for (vm_pindex_t i = 0; i < 100; i++) {
        sim_disk_read(disk, ptoa(i), &byte, 1);
        assert_true(there(i) || byte == (uint8_t)i); /* nothing is lost */
    }
    end();
}

static void clean_pages_go_before_dirty_ones_are_written(void **state)
{
    (void)state;
    begin(test_params(4), 256);
    inactive_pages(object, 0, 30, PG_DIRTY);
    inactive_pages(object, 30, 60, 0);
    assert_int_equal(vm_pageout_scan(free_now() + 50), 50);
    assert_int_equal(sim_disk_counts(disk).writes, 0);
    end();
}

static void a_write_that_fails_loses_nothing(void **state)
{
    (void)state;
    begin(test_params(5), 256);
    sim_disk_faults(disk)->fail_write_permille = 1000;
    inactive_pages(object, 0, 100, PG_DIRTY);
    assert_int_equal(vm_pageout_scan(256), 0);
    assert_true(sim_disk_counts(disk).writes > 0 && sim_disk_counts(disk).writes < 200);
    for (vm_pindex_t i = 0; i < 100; i++)
        assert_true(test_page_is(object, i, (uint8_t)i) &&
                    (test_page_flags(object, i) & (PG_DIRTY | PG_WRITEBACK)));
    sim_disk_faults(disk)->fail_write_permille = 0;
    assert_true(scan_until_freed(1, 256) > 0);
    end();
}

static void failing_pages_do_not_stand_in_the_way(void **state)
{
    (void)state;
    begin(test_params(14), 256);
    sim_disk_faults(disk)->fail_write_permille = 1000;
    inactive_pages(object, 0, 80, PG_DIRTY);
    inactive_pages(object, 100, 20, 0);
    assert_int_equal(vm_pageout_scan(256), 20);
    end();
}

static void the_daemon_keeps_pages_free(void **state)
{
    (void)state;
    begin(test_params(15), 256);
    sim_sleep_ns(1000000); /* it is asleep by now */
    vm_pindex_t n = 0;
    for (; free_now() > vm_pageout.free_min; n++)
        inactive_pages(object, n, 1, 0);
    inactive_pages(object, n, 1, 0); /* wakes it */
    sim_sleep_ns(10000000);
    assert_true(free_now() >= vm_pageout.free_target);
    end();
}

static void anonymous_pages_have_no_place_to_go(void **state)
{
    (void)state;
    begin(test_params(6), 256);
    struct vm_object *anonymous = vm_object_allocate(OBJT_SWAP, 256, NULL);
    assert_non_null(anonymous);
    inactive_pages(anonymous, 0, 20, PG_DIRTY);
    inactive_pages(anonymous, 20, 20, PG_COPY); /* these pages can be read again */
    inactive_pages(anonymous, 40, 20, 0);       /* and so can pages of zeros */
    assert_int_equal(vm_pageout_scan(256), 40);
    lru_add_drain_all();
    for (vm_pindex_t i = 0; i < 20; i++) {
        assert_true(test_page_is(anonymous, i, (uint8_t)i));
        assert_int_equal(vm_page_lookup(anonymous, i)->queue, PQ_ACTIVE);
    }
    vm_object_deallocate(anonymous);
    end();
}

/* ---- advice that pages are not needed ------------------------------------------------------------------ */

/* The pages [start, end) still have their bytes, or read as zeros. */
static void check_pages(vm_offset_t va, uint32_t start, uint32_t end, bool there_still)
{
    for (uint32_t i = start; i < end; i++)
        assert_int_equal(test_load8(map, va + ptoa(i)), there_still ? i + 1 : 0);
}

static void freed_advice_is_taken_when_memory_is_wanted(void **state)
{
    (void)state;
    begin(test_params(16), 16);
    int64_t at = fl_sys_mmap(map, 0, ptoa(60), PROT_RW, FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, NULL, 0);
    vm_offset_t va = (vm_offset_t)at;
    assert_true(at > 0);
    for (uint32_t i = 0; i < 60; i++)
        test_store8(map, va + ptoa(i), (uint8_t)(i + 1));
    assert_int_equal(fl_sys_madvise(map, va, ptoa(40), FL_MADV_FREE), 0);
    check_pages(va, 20, 60, true); /* memory is not short */
    for (uint32_t i = 10; i < 20; i++)
        test_store8(map, va + ptoa(i), (uint8_t)(i + 1)); /* the store cancels MADV_FREE */
    assert_int_equal(fl_sys_madvise(map, va + ptoa(20), ptoa(20), FL_MADV_FREE), 0);
    assert_int_equal(scan_until_freed(30, 256), 30);
    check_pages(va, 0, 10, false);
    check_pages(va, 10, 20, true);
    check_pages(va, 20, 40, false);
    check_pages(va, 40, 60, true);
    end();
}

/* A page that MADV_FREE makes reclaimable is neither held, nor locked, nor a file's. */
static void freed_advice_is_for_private_anonymous_pages(void **state)
{
    (void)state;
    struct fl_hold hold;
    begin(test_params(17), 16);
    int64_t shared = fl_sys_mmap(map, 0, ptoa(4), PROT_RW, FL_MAP_SHARED | FL_MAP_ANONYMOUS, NULL, 0);
    int64_t private = fl_sys_mmap(map, 0, ptoa(4), PROT_RW, FL_MAP_PRIVATE, &file, 0);
    int64_t own = fl_sys_mmap(map, 0, ptoa(4), PROT_RW, FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, NULL, 0);
    assert_true(shared > 0 && private > 0 && own > 0);
    assert_int_equal(fl_sys_madvise(map, (vm_offset_t)shared, ptoa(4), FL_MADV_FREE), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, (vm_offset_t) private, ptoa(4), FL_MADV_FREE), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, (vm_offset_t)own, ptoa(4), FL_MADV_FREE), 0); /* untouched */
    test_store8(map, (vm_offset_t)own, 7);
    assert_int_equal(fl_hold(map, (vm_offset_t)own, 1, VM_PROT_WRITE, &hold), 0);
    assert_int_equal(fl_sys_madvise(map, (vm_offset_t)own, ptoa(4), FL_MADV_FREE), 0);
    (void)scan_until_freed(1, 256);
    fl_unhold(&hold);
    assert_int_equal(test_load8(map, (vm_offset_t)own), 7);
    assert_int_equal(fl_sys_mlock(map, (vm_offset_t)own, ptoa(1)), 0);
    assert_int_equal(fl_sys_madvise(map, (vm_offset_t)own, ptoa(1), FL_MADV_FREE), -EINVAL);
    end();
}

/* ---- references ---------------------------------------------------------------------------------------- */

/* Half of a mapping is used again and again: a pass must free the other half. */
static void used_pages_stay(bool enters_itself)
{
    struct sim_params params = test_params(7);
    params.torture.enters_itself_permille = enters_itself ? 1000 : 0;
    params.torture.forgetful_permille = 0;
    begin(params, 100);
    int64_t va = fl_sys_mmap(map, 0, ptoa(100), PROT_RW, FL_MAP_SHARED, &file, 0);
    assert_true(va > 0);
    assert_int_equal(fl_sys_madvise(map, (vm_offset_t)va, ptoa(100), FL_MADV_RANDOM), 0);
    for (uint32_t i = 0; i < 100; i++) /* not a stream, whose pages count as used once */
        test_load8(map, (vm_offset_t)va + ptoa(i * 37 % 100));
    uint32_t gone[2] = {0, 0};
    for (uint32_t pass = 0; pass < 12; pass++) {
        for (uint32_t i = 0; i < 50; i++)
            test_load8(map, (vm_offset_t)va + ptoa(i * 13 % 50));
        uint64_t before = vm_counted(&vm_cnt.page_ins);
        vm_pageout_scan(free_now() + 5);
        for (uint32_t i = 0; i < 50; i++)
            test_load8(map, (vm_offset_t)va + ptoa(i * 13 % 50));
        gone[0] += (uint32_t)(vm_counted(&vm_cnt.page_ins) - before);
    }
    for (uint32_t i = 50; i < 100; i++)
        gone[1] += !there(i);
    print_message("%u of the unused pages went, %u of the used ones\n", gone[1], gone[0]);
    assert_true(gone[1] >= 20);
    assert_true(gone[0] <= gone[1] / 4);
    assert_true(enters_itself || vm_counted(&vm_cnt.reactivations) > 0);
    end();
}

static void used_pages_stay_where_the_machine_sees_it(void **state)
{
    (void)state;
    used_pages_stay(false);
}

static void used_pages_stay_where_a_fault_is_the_reference(void **state)
{
    (void)state;
    used_pages_stay(true);
}

/* ---- for want of a page -------------------------------------------------------------------------------- */

static void waiting_ends_without_hope(void **state)
{
    (void)state;
    struct sim_params params = test_params(8);
    params.nframes = 64;
    begin(params, 64);
    struct vm_object *anonymous = vm_object_allocate(OBJT_SWAP, 256, NULL);
    assert_non_null(anonymous);
    assert_int_equal(vm_wait(), 0);
    vm_pindex_t n = 0;
    while (free_now() > vm_pageout.free_reserved)
        test_page(anonymous, n++, 1, PG_DIRTY);
    assert_int_equal(vm_wait(), -ENOMEM);
    vm_object_deallocate(anonymous);
    assert_int_equal(vm_wait(), 0);
    end();
}

static void waiting_takes_what_is_referenced_at_last(void **state)
{
    (void)state;
    struct sim_params params = test_params(9);
    params.nframes = 64;
    begin(params, 64);
    int64_t va = fl_sys_mmap(map, 0, ptoa(64), PROT_RW, FL_MAP_SHARED, &file, 0);
    struct vm_object *anonymous = vm_object_allocate(OBJT_SWAP, 256, NULL);
    assert_true(va > 0 && anonymous != NULL);
    for (vm_pindex_t n = 0; n < 40; n++)
        test_page(anonymous, n, 1, PG_DIRTY);
    for (uint32_t i = 0; i < 1000; i++) /* more pages than frames: each load must find a free one */
        test_load8(map, (vm_offset_t)va + ptoa(i * 7 % 64));
    vm_object_deallocate(anonymous);
    end();
}

static void waiting_drives_reads_that_have_no_waiter(void **state)
{
    (void)state;
    struct sim_params params = test_params(10);
    struct vnode *vnode;
    struct vm_page *m[16];
    params.nframes = 64;
    test_boot(&params);
    assert_int_equal(fl_vnode_open(odd_store(memory_store_pattern(64), ODD_IN_WAIT), &vnode), 0);
    struct vm_object *odd = test_object(vnode), *anonymous = vm_object_allocate(OBJT_SWAP, 256, NULL);
    assert_non_null(anonymous);
    for (uint32_t i = 0; i < 16; i++)
        m[i] = test_page_busy(odd, i);
    transfer_readahead(odd, m, 16, NULL);
    for (vm_pindex_t n = 0; free_now() > vm_pageout.free_reserved; n++)
        test_page(anonymous, n, 1, PG_DIRTY);
    assert_int_equal(vm_wait(), 0); /* its pages are the only ones that can be freed */
    vm_object_deallocate(anonymous);
    vm_object_deallocate(odd);
    assert_int_equal(fl_vnode_close(vnode), 0);
    sim_shutdown();
}

static void waiting_for_a_busy_page_is_bounded(void **state)
{
    (void)state;
    struct sim_params params = test_params(11);
    params.nframes = 64;
    begin(params, 64);
    struct vm_object *anonymous = vm_object_allocate(OBJT_SWAP, 256, NULL);
    assert_non_null(anonymous);
    struct vm_page *busy = test_page(object, 0, 1, 0);
    vm_lock(&object->lock);
    vm_page_xbusy(busy); /* held by the test itself, which never releases it */
    vm_unlock(&object->lock);
    for (vm_pindex_t n = 0; free_now() > vm_pageout.free_reserved; n++)
        test_page(anonymous, n, 1, PG_DIRTY);
    assert_int_equal(vm_wait(), -ENOMEM);
    vm_lock(&object->lock);
    vm_page_xunbusy(busy);
    vm_unlock(&object->lock);
    vm_object_deallocate(anonymous);
    end();
}

/* ---- everything ---------------------------------------------------------------------------------------- */

#define LOAD_PAGES 256
#define LOADERS    5

struct loader {
    struct prng prng;
    struct vm_map *map;
    vm_offset_t va;
    uint32_t number;
    uint8_t *model; /* this loader's byte of each page: at its own offset */
};

/*
 * Each loader has a byte of its own in every page, so all of them write
 * all pages, and each knows what it must read.
 */
static void loader_main(void *arg)
{
    struct loader *l = arg;
    for (uint32_t i = 0; i < 250; i++) {
        vm_pindex_t page = prng_chance(&l->prng, 500) ? prng_below(&l->prng, LOAD_PAGES) : i % LOAD_PAGES;
        vm_offset_t at = l->va + ptoa(page) + l->number * 700;
        assert_int_equal(test_load8(l->map, at), l->model[page]);
        if (prng_chance(&l->prng, 400)) {
            l->model[page] = (uint8_t)prng_next(&l->prng);
            test_store8(l->map, at, l->model[page]);
        }
        if (prng_chance(&l->prng, 10)) {
            int error = fl_sys_msync(l->map, l->va, ptoa(LOAD_PAGES), FL_MS_SYNC);
            assert_true(error == 0 || error == -EIO);
        }
    }
}

static void load_round(uint64_t seed, uint32_t nframes, uint32_t fail_write_permille)
{
    static uint8_t model[LOADERS][LOAD_PAGES];
    struct loader loader[LOADERS];
    struct prng prng;
    struct sim_params params = test_params_hostile(seed);
    prng_init(&prng, seed);
    params.nframes = nframes;
    begin(params, LOAD_PAGES);
    sim_disk_faults(disk)->fail_write_permille = fail_write_permille;
    for (uint32_t i = 0; i < LOADERS; i++) {
        int64_t va = fl_sys_mmap(map, 0, ptoa(LOAD_PAGES), PROT_RW, FL_MAP_SHARED, &file, 0);
        assert_true(va > 0);
        loader[i] = (struct loader){.map = map, .va = (vm_offset_t)va, .number = i, .model = model[i]};
        prng_init(&loader[i].prng, prng_next(&prng));
        for (vm_pindex_t page = 0; page < LOAD_PAGES; page++)
            model[i][page] = test_byte(ptoa(page) + i * 700);
        sim_run("loader", loader_main, &loader[i]);
    }
    sim_join_all();
    sim_vm_check();
    assert_true(vm_counted(&vm_cnt.evictions) > LOAD_PAGES);
    sim_disk_faults(disk)->fail_write_permille = 0;
    end();
}

static void a_load_several_times_the_memory(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(12));
    for (uint64_t round = 0; round < test_rounds(6); round++)
        load_round(prng_next(&prng), (uint32_t)prng_range(&prng, 40, 128), 0);
}

static void the_same_over_a_disk_that_fails(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(13));
    for (uint64_t round = 0; round < test_rounds(6); round++)
        load_round(prng_next(&prng), (uint32_t)prng_range(&prng, 64, 128), 50);
}

/* Scattered dirty pages, four times the memory: many are in write-back at a time. */
static void scattered_dirty_pages_are_written_with_depth(void **state)
{
    (void)state;
    struct sim_params params = test_params(14);
    params.nframes = 512;
    params.dirty_background = params.dirty_max = 512; /* only page-out writes */
    begin(params, 2048);
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 200000;
    depth_watch(disk);
    int64_t va = fl_sys_mmap(map, 0, ptoa(2048), PROT_RW, FL_MAP_SHARED, &file, 0);
    assert_true(va > 0);
    assert_int_equal(fl_sys_madvise(map, (vm_offset_t)va, ptoa(2048), FL_MADV_RANDOM), 0);
    uint64_t start = machine_time_ns();
    for (uint64_t i = 0; i < 2048; i++)
        test_store8(map, (vm_offset_t)va + ptoa(i * 1021 % 2048), 1);
    uint64_t took = machine_time_ns() - start;
    assert_true(depth_most() >= 8);
    /* each store reads its page by itself; the write-back is in flight beside that */
    assert_true(took < 2048 * UINT64_C(200000) * 5 / 4);
    depth_unwatch(disk);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_fit_or_are_refused),
        cmocka_unit_test(the_oldest_clean_pages_go_first),
        cmocka_unit_test(pages_in_use_stay),
        cmocka_unit_test(dirty_pages_are_written_first),
        cmocka_unit_test(clean_pages_go_before_dirty_ones_are_written),
        cmocka_unit_test(a_write_that_fails_loses_nothing),
        cmocka_unit_test(failing_pages_do_not_stand_in_the_way),
        cmocka_unit_test(the_daemon_keeps_pages_free),
        cmocka_unit_test(anonymous_pages_have_no_place_to_go),
        cmocka_unit_test(freed_advice_is_taken_when_memory_is_wanted),
        cmocka_unit_test(freed_advice_is_for_private_anonymous_pages),
        cmocka_unit_test(used_pages_stay_where_the_machine_sees_it),
        cmocka_unit_test(used_pages_stay_where_a_fault_is_the_reference),
        cmocka_unit_test(waiting_ends_without_hope),
        cmocka_unit_test(waiting_takes_what_is_referenced_at_last),
        cmocka_unit_test(waiting_drives_reads_that_have_no_waiter),
        cmocka_unit_test(waiting_for_a_busy_page_is_bounded),
        cmocka_unit_test(a_load_several_times_the_memory),
        cmocka_unit_test(the_same_over_a_disk_that_fails),
        cmocka_unit_test(scattered_dirty_pages_are_written_with_depth),
    };
    return cmocka_run_group_tests_name("pageout", tests, NULL, NULL);
}
