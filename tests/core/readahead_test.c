/*
 * readahead_test.c: streams of every kind through mappings and reads, measured by the disk's counters: how
 * many requests, how many pages that were never touched, and how often a page was resident, or its read in
 * flight, before it was touched.
 */
#include "file/readahead.h"
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/odd_store.h"
#include "support/pages.h"
#include "support/memory_store.h"
#include "vm/vm_page.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX  64 /* readahead_max of these tests */
#define INIT 16 /* the first window */

enum way {
    MAPPED,
    READ,
    WAYS,
};

static struct vm_object *object;
static vm_offset_t va;
static enum way way;
static struct {
    /* there: resident, or its read in flight, before it was touched */
    uint64_t touched, there, pages, requests;
} seen;

static void open_file(struct sim_params params, vm_pindex_t npages, enum way how)
{
    params.readahead_max = MAX;
    one_file_boot(&params, test_disk(ptoa(npages), VM_PAGE_SIZE, params.seed), FL_FREAD);
    int64_t at = fl_sys_mmap(map, 0, ptoa(npages), VM_PROT_READ, FL_MAP_SHARED, &file, 0);
    assert_true(at > 0);
    va = (vm_offset_t)at;
    object = test_object(file.vnode);
    way = how;
    memset(&seen, 0, sizeof seen);
}

static void begin(uint32_t nframes, vm_pindex_t npages, enum way how)
{
    struct sim_params params = test_params(test_seed(11));
    params.nframes = nframes;
    open_file(params, npages, how);
}

static void end(void)
{
    vm_object_deallocate(object);
    one_file_end();
}

static bool there(vm_pindex_t pindex)
{
    vm_lock(&object->lock);
    bool is = vm_page_lookup(object, pindex) != NULL;
    vm_unlock(&object->lock);
    return is;
}

/*
 * Reads one byte of the page as a program would. Returns 0 or the error,
 * which would be a signal in a program.
 */
static int access_page(vm_pindex_t pindex, uint8_t *byte)
{
    size_t done;
    if (way == MAPPED)
        return sim_load(map, va + ptoa(pindex), byte, 1, &done);
    struct fl_iovec iov = {byte, 1};
    int64_t n = fl_vnode_read(file.vnode, &iov, 1, &(struct fl_iocb){.offset = ptoa(pindex)});
    return n == 1 ? 0 : (int)n;
}

static void touch(vm_pindex_t pindex)
{
    uint8_t byte;
    seen.touched++;
    seen.there += there(pindex);
    assert_int_equal(access_page(pindex, &byte), 0);
    assert_int_equal(byte, test_byte(ptoa(pindex)));
}

static void look(void)
{
    sim_sleep_ns(100000000); /* reads in flight end */
    seen.pages = sim_disk_counts(disk).pages_read;
    seen.requests = sim_disk_counts(disk).reads;
}

/* ---- sequential ---------------------------------------------------------------------------------------- */

static void a_sequential_stream_needs_few_requests(void **state)
{
    (void)state;
    for (enum way how = MAPPED; how < WAYS; how++) {
        begin(512, 2000, how);
        for (vm_pindex_t i = 0; i < 2000; i++)
            touch(i);
        look();
        assert_int_equal(seen.pages, 2000);
        assert_in_range(seen.requests, 2000 / MAX, 2000 / MAX + 6);
        assert_in_range(seen.there, 1998, 2000);
        end();
    }
}

/* How many pages from pindex on are resident. */
static vm_pindex_t frontier(vm_pindex_t pindex)
{
    vm_pindex_t n = 0;
    while (there(pindex + n))
        n++;
    return n;
}

static void windows_start_small_double_and_are_capped(void **state)
{
    (void)state;
    for (enum way how = MAPPED; how < WAYS; how++) {
        vm_pindex_t grown[100], last, n = 0;
        begin(1024, 1000, how);
        touch(0);
        assert_int_equal(frontier(0), 1); /* alone, it is no stream */
        last = 1;
        for (vm_pindex_t i = 1; i < 600; i++) {
            touch(i);
            vm_pindex_t now = i + frontier(i);
            if (now > last)
                grown[n++] = now - last;
            last = now;
            assert_true(now - i <= 3 * MAX);                    /* two windows, and what is left of one */
            assert_true(n < 4 || now == 1000 || now - i > MAX); /* one at least is in flight */
        }
        assert_int_equal(grown[0], INIT + 2 * INIT);
        for (vm_pindex_t i = 1; i < n; i++)
            assert_true(grown[i] <= 2 * MAX);
        assert_int_equal(grown[n - 1], MAX);
        end();
    }
}

/* A stream never waits for a window that follows another. */
static void the_next_window_is_in_flight_before_this_one_is_waited_for(void **state)
{
    (void)state;
    begin(1024, 1000, MAPPED);
    touch(0);
    touch(1);
    assert_true(there(1 + INIT));
    for (vm_pindex_t i = 2; i < 600; i++) {
        touch(i);
        assert_true(there(i + INIT));
    }
    end();
}

static void advice_sequential_reads_ahead_from_the_first_miss(void **state)
{
    (void)state;
    begin(512, 400, MAPPED);
    assert_int_equal(fl_sys_madvise(map, va, ptoa(400), FL_MADV_SEQUENTIAL), 0);
    touch(100);
    assert_true(there(100 + INIT));
    assert_false(there(99));
    end();
    begin(512, 400, READ);
    assert_int_equal(fl_vnode_fadvise(file.vnode, 0, 0, FL_FADV_SEQUENTIAL), 0);
    touch(100);
    assert_true(there(100 + INIT));
    end();
}

static void interleaved_streams_do_not_disturb_each_other(void **state)
{
    (void)state;
    static const uint32_t streams[] = {2, 3, 4, 7};
    for (enum way how = MAPPED; how < WAYS; how++) {
        for (size_t s = 0; s < sizeof streams / sizeof *streams; s++) {
            vm_pindex_t n = streams[s], len = 1400 / n, apart = len + 10 * s; /* equally far apart, too */
            begin(4096, apart * n, how);
            for (vm_pindex_t i = 0; i < len; i++)
                for (vm_pindex_t k = 0; k < n; k++)
                    touch(k * apart + i);
            look();
            assert_in_range(seen.pages, n * len, n * len + n * 3 * MAX);
            assert_in_range(seen.requests, n, n * (len / MAX + 24));
            assert_true(seen.there >= seen.touched - n * 12);
            end();
        }
    }
}

/* ---- strided ------------------------------------------------------------------------------------------- */

/* nruns runs of `run` pages, one every `stride` pages, forwards or backwards. */
static void touch_strided(vm_pindex_t start, uint32_t stride, uint32_t run, uint32_t nruns, bool backwards)
{
    for (uint32_t i = 0; i < nruns; i++)
        for (uint32_t k = 0; k < run; k++)
            touch(start + (vm_pindex_t)(backwards ? nruns - 1 - i : i) * stride + k);
}

static void strides_read_what_is_touched_and_are_ahead(void **state)
{
    (void)state;
    static const uint32_t strides[] = {2, 3, 4, 7, 8, 16, 17, 31, 64};
    for (size_t s = 0; s < sizeof strides / sizeof *strides; s++) {
        for (int variant = 0; variant < 2 * WAYS; variant++) {
            uint32_t stride = strides[s];
            begin(512, stride * 200, (enum way)(variant / 2));
            touch_strided(0, stride, 1, 200, variant % 2);
            look();
            assert_in_range(seen.pages, 200, 200 + 48);
            assert_int_equal(seen.requests, seen.pages); /* a page alone is a request alone */
            assert_true(seen.there >= 200 - 3);
            end();
        }
    }
}

static void runs_every_so_many_pages_are_strided_too(void **state)
{
    (void)state;
    static const uint32_t pattern[][2] = {{8, 2}, {16, 3}, {64, 4}, {64, 8}, {40, 12}};
    for (size_t s = 0; s < sizeof pattern / sizeof *pattern; s++) {
        for (int variant = 0; variant < 2 * WAYS; variant++) {
            uint32_t stride = pattern[s][0], run = pattern[s][1];
            begin(1024, stride * 100, (enum way)(variant / 2));
            touch_strided(5, stride, run, 99, variant % 2);
            look();
            /* Two runs are taken for sequential streams, one is probed. */
            assert_in_range(seen.pages, 99 * run, 99 * run + 2 * 3 * INIT + 64);
            assert_true(seen.there >= 99 * run - 8 - 2 * run);
            end();
        }
    }
}

static void a_stream_backwards_comes_in_large_requests(void **state)
{
    (void)state;
    for (enum way how = MAPPED; how < WAYS; how++) {
        begin(2048, 1000, how);
        for (vm_pindex_t i = 1000; i-- > 0;)
            touch(i);
        look();
        assert_int_equal(seen.pages, 1000);
        assert_in_range(seen.requests, 1000 / MAX, 1000 / (MAX / 2) + 12);
        assert_true(seen.there >= 1000 - 3);
        end();
    }
}

/* After each pass the reader jumps back, and takes the pages beside those of the pass before. */
static void passes_over_a_stride_stay_strided(void **state)
{
    (void)state;
    begin(256, 16 * 100, MAPPED);
    for (uint32_t pass = 0; pass < 4; pass++)
        touch_strided(pass, 16, 1, 100, false);
    look();
    assert_in_range(seen.pages, 400, 400 + 4 * 48);
    assert_true(seen.there >= 400 - 4 * 3);
    end();
}

/* A stride is forgotten when the stream changes. */
static void a_stride_that_becomes_sequential_is_one(void **state)
{
    (void)state;
    begin(1024, 4000, MAPPED);
    touch_strided(0, 10, 1, 50, false);
    for (vm_pindex_t i = 2000; i < 2400; i++)
        touch(i);
    look();
    assert_in_range(seen.pages, 450, 450 + 48 + 3 * MAX);
    assert_in_range(seen.requests, 50, 50 + 48 + 20);
    end();
}

/* ---- random -------------------------------------------------------------------------------------------- */

static void random_reads_bring_what_is_touched(void **state)
{
    (void)state;
    for (int variant = 0; variant < 3; variant++) { /* mapped with and without advice, read */
        struct prng prng;
        uint64_t allowed = variant == 0 ? 30 * (INIT - 1) + 4 * 48 : variant == 1 ? 0 : 48;
        begin(1024, 4096, variant == 2 ? READ : MAPPED);
        prng_init(&prng, test_seed(5));
        if (variant == 1)
            assert_int_equal(fl_sys_madvise(map, va, ptoa(4096), FL_MADV_RANDOM), 0);
        for (int i = 0; i < 3000; i++) /* a quarter of the file is there, by chance */
            touch(prng_range(&prng, 0, 4095));
        look();
        assert_in_range(seen.pages, seen.touched - seen.there, seen.touched - seen.there + allowed);
        end();
    }
}

/* ---- trouble ------------------------------------------------------------------------------------------- */

static void errors_in_read_ahead_do_no_harm(void **state)
{
    (void)state;
    for (enum way how = MAPPED; how < WAYS; how++) {
        uint8_t byte;
        begin(512, 600, how);
        sim_disk_faults(disk)->bad_read_start = ptoa(100);
        sim_disk_faults(disk)->bad_read_end = ptoa(103);
        for (vm_pindex_t i = 0; i < 600; i++) {
            if (i < 100 || i >= 103)
                touch(i);
            else
                assert_int_equal(access_page(i, &byte), -EIO);
        }
        *sim_disk_faults(disk) = (struct sim_disk_faults){0};
        for (vm_pindex_t i = 100; i < 103; i++)
            touch(i);
        end();
    }
}

/* Each transfer fails in turn: at most one access gets the error, and the next one succeeds. */
static void the_nth_transfer_fails(void **state)
{
    (void)state;
    for (uint32_t nth = 1; nth < 12; nth++) {
        int failed = 0;
        uint8_t byte;
        begin(512, 300, nth % 2 ? MAPPED : READ);
        sim_disk_faults(disk)->fail_read_nth = nth;
        for (vm_pindex_t i = 0; i < 300; i++) {
            if (access_page(i, &byte) != 0) {
                failed++;
                assert_int_equal(access_page(i, &byte), 0);
            }
            assert_int_equal(byte, test_byte(ptoa(i)));
        }
        assert_in_range(failed, 0, 1);
        end();
    }
}

static void the_nth_allocation_fails(void **state)
{
    (void)state;
    uint32_t nth = 0;
    bool fired = true;
    while (fired) {
        uint8_t byte;
        begin(512, 200, ++nth % 2 ? MAPPED : READ);
        touch(0); /* the space and the file have their memory */
        sim_torture()->fail_alloc_nth = nth;
        for (vm_pindex_t i = 1; i < 200; i += i < 100 ? 1 : 5) {
            int error = access_page(i, &byte);
            assert_true(error == 0 || error == -ENOMEM);
            if (error == 0)
                assert_int_equal(byte, test_byte(ptoa(i)));
        }
        fired = sim_torture()->fail_alloc_nth == 0;
        sim_torture()->fail_alloc_nth = 0;
        end();
        if (nth == 60)
            break; /* later allocations are no different */
    }
}

static void short_memory_reads_on_without_it(void **state)
{
    (void)state;
    for (enum way how = MAPPED; how < WAYS; how++) {
        struct sim_params params = test_params(test_seed(12));
        params.nframes = 32;
        params.torture.window_busy_permille = 300;
        open_file(params, 500, how);
        for (vm_pindex_t i = 0; i < 500; i++)
            touch(i);
        touch_strided(0, 7, 1, 70, false);
        touch_strided(0, 7, 1, 70, true);
        end();
    }
}

/*
 * One kind of store transfers nothing until a caller waits; the other does everything before submit returns.
 */
static void stores_may_be_odd(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2 * WAYS; variant++) {
        struct sim_params params = test_params(test_seed(13));
        struct store *store = odd_store(memory_store_pattern(200), variant % 2 ? ODD_IN_WAIT : ODD_IN_SUBMIT);
        struct fl_file odd = {.mode = FL_FREAD};
        struct fl_iovec all = {NULL, ptoa(200)};
        params.nframes = 128;
        test_boot(&params);
        map = test_space();
        assert_int_equal(fl_vnode_open(store, &odd.vnode), 0);
        all.base = (void *)fl_sys_mmap(map, 0, ptoa(200), VM_PROT_READ, FL_MAP_SHARED, &odd, 0);
        for (int pass = 0; pass < 3; pass++) {
            assert_int_equal(fl_sys_prefetch(map, &all, 1), 0);
            for (uint32_t i = 0; i < 200; i += pass == 1 ? 9 : 1) {
                uint32_t page = pass == 2 ? 199 - i : i;
                uint8_t byte = 0;
                struct fl_iovec iov = {&byte, 1};
                if (variant / 2 == MAPPED)
                    byte = test_load8(map, (vm_offset_t)all.base + ptoa(page));
                else
                    assert_int_equal(
                        fl_vnode_read(odd.vnode, &iov, 1, &(struct fl_iocb){.offset = ptoa(page)}), 1);
                assert_int_equal(byte, (uint8_t)page);
            }
        }
        fl_space_destroy(map);
        assert_int_equal(fl_vnode_close(odd.vnode), 0);
        sim_shutdown();
    }
}

/* ---- everything at once -------------------------------------------------------------------------------- */

#define MIXED_PAGES 900

/* An independent reader of the shared mapping: one stream for a while, then another. */
static void mixed_reader(void *arg)
{
    struct prng prng;
    prng_init(&prng, *(uint64_t *)arg);
    for (uint64_t round = 0; round < 12; round++) {
        int64_t step = (int64_t)prng_range(&prng, 0, 40) - 20;
        int64_t at = (int64_t)prng_range(&prng, 0, MIXED_PAGES - 1);
        bool mapped = prng_chance(&prng, 500);
        struct fl_iovec range = {(void *)(va + ptoa((uint64_t)at)), prng_range(&prng, 1, ptoa(30))};
        if (prng_chance(&prng, 200))
            assert_int_equal(fl_sys_prefetch(map, &range, 1), 0);
        if (prng_chance(&prng, 200))
            assert_int_equal(fl_vnode_fadvise(file.vnode, ptoa((uint64_t)at), ptoa(100),
                                              (int)prng_range(&prng, FL_FADV_NORMAL, FL_FADV_NOREUSE)),
                             0);
        for (int i = 0; i < 40 && at >= 0 && at < MIXED_PAGES; i++, at += step) {
            uint8_t byte;
            struct fl_iovec iov = {&byte, 1};
            if (mapped)
                byte = test_load8(map, va + ptoa((uint64_t)at));
            else
                assert_int_equal(
                    fl_vnode_read(file.vnode, &iov, 1, &(struct fl_iocb){.offset = ptoa((uint64_t)at)}), 1);
            assert_int_equal(byte, test_byte(ptoa((uint64_t)at)));
            if (step == 0)
                at = (int64_t)prng_range(&prng, 0, MIXED_PAGES - 1);
        }
    }
}

static void readers_of_all_kinds_share_a_file(void **state)
{
    (void)state;
    uint64_t first = test_seed(4000), rounds = test_rounds(12);
    for (uint64_t seed = first; seed < first + rounds; seed++) {
        uint64_t own[5];
        struct sim_params params = test_params_hostile(test_seed(seed));
        params.nframes = 200;
        open_file(params, MIXED_PAGES, MAPPED);
        for (uint64_t i = 0; i < 5; i++) {
            own[i] = seed * 8 + i;
            sim_run("reader", mixed_reader, &own[i]);
        }
        sim_join_all();
        sim_settle();
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequential_stream_needs_few_requests),
        cmocka_unit_test(windows_start_small_double_and_are_capped),
        cmocka_unit_test(the_next_window_is_in_flight_before_this_one_is_waited_for),
        cmocka_unit_test(advice_sequential_reads_ahead_from_the_first_miss),
        cmocka_unit_test(interleaved_streams_do_not_disturb_each_other),
        cmocka_unit_test(strides_read_what_is_touched_and_are_ahead),
        cmocka_unit_test(runs_every_so_many_pages_are_strided_too),
        cmocka_unit_test(a_stream_backwards_comes_in_large_requests),
        cmocka_unit_test(passes_over_a_stride_stay_strided),
        cmocka_unit_test(a_stride_that_becomes_sequential_is_one),
        cmocka_unit_test(random_reads_bring_what_is_touched),
        cmocka_unit_test(errors_in_read_ahead_do_no_harm),
        cmocka_unit_test(the_nth_transfer_fails),
        cmocka_unit_test(the_nth_allocation_fails),
        cmocka_unit_test(short_memory_reads_on_without_it),
        cmocka_unit_test(stores_may_be_odd),
        cmocka_unit_test(readers_of_all_kinds_share_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
