/*
 * truncate_test.c: files that are shortened, lengthened and punched: what
 * their mappings show then, and what a failed call leaves.
 */
#include "file/truncate.h"
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/odd_store.h"
#include "support/pages.h"
#include "support/memory_store.h"
#include "vm/vm_page.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NPAGES 16

static vm_offset_t shared, private;

static void begin_blocks(struct sim_params params, uint64_t len_bytes, uint32_t block_bytes)
{
    one_file_boot(&params, test_disk(len_bytes, block_bytes, params.seed), RW);
    shared = test_mmap(map, &file, FL_MAP_SHARED, NPAGES);
    private = test_mmap(map, &file, FL_MAP_PRIVATE, NPAGES);
}

static void begin(struct sim_params params, uint64_t len_bytes)
{
    begin_blocks(params, len_bytes, VM_PAGE_SIZE);
}

static int load(vm_offset_t va, uint8_t *byte)
{
    return sim_load(map, va, byte, 1, NULL);
}

static bool mapped(vm_offset_t va)
{
    vm_frame_t frame;
    vm_prot_t prot;
    bool wired;
    return sim_mapped(fl_space_machine(map), va, &frame, &prot, &wired);
}

/* ---- length -------------------------------------------------------------------------------------------- */

static void what_is_cut_off_is_gone_everywhere(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2; seed++) {
        struct sim_params params = test_params(1);
        params.torture.copy_first = seed;
        begin(params, ptoa(8));
        uint8_t byte;
        for (uint64_t i = 0; i < 8; i++) {
            test_store8(map, private + ptoa(i) + 1, 1);
            test_store8(map, shared + ptoa(i), 2);
        }
        assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(2) + 100), 0);
        assert_int_equal(sim_disk_size(disk), ptoa(2) + 100);
        for (uint64_t i = 3; i < 8; i++) {
            assert_false(mapped(shared + ptoa(i)) || mapped(private + ptoa(i)));
            assert_int_equal(load(shared + ptoa(i), &byte), -ENXIO);
            assert_int_equal(load(private + ptoa(i), &byte), -ENXIO);
        }
        assert_int_equal(test_load8(map, shared + ptoa(2)), 2);
        assert_int_equal(test_load8(map, shared + ptoa(2) + 99), test_byte(ptoa(2) + 99));
        assert_int_equal(test_load8(map, shared + ptoa(2) + 100), 0);
        assert_int_equal(test_load8(map, private + ptoa(2) + 1), 1);

        assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(8)), 0); /* the bytes that come back are zeros */
        for (uint64_t at = ptoa(2) + 100; at < ptoa(8); at += 100)
            assert_int_equal(test_load8(map, shared + at), 0);
        assert_int_equal(test_load8(map, private + ptoa(5) + 1), 0);
        assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
        assert_true(disk_byte(ptoa(2)) == 2 && disk_byte(ptoa(2) + 100) == 0 && disk_byte(ptoa(7)) == 0);
        one_file_end();
    }
}

static void to_nothing_and_back(void **state)
{
    (void)state;
    begin(test_params(2), ptoa(4));
    uint8_t byte;
    test_store8(map, shared, 1);
    assert_int_equal(fl_vnode_truncate(file.vnode, 0), 0);
    assert_int_equal(load(shared, &byte), -ENXIO);
    assert_int_equal(fl_vnode_truncate(file.vnode, 1), 0);
    assert_int_equal(test_load8(map, shared), 0);
    assert_int_equal(fl_vnode_truncate(file.vnode, (uint64_t)INT64_MAX + 1), -EFBIG);
    assert_int_equal(fl_vnode_truncate(file.vnode, 1), 0);
    one_file_end();
}

static void what_was_stored_behind_the_end_is_not_the_files(void **state)
{
    (void)state;
    begin(test_params(3), 100);
    test_store8(map, shared + 100, 9);
    assert_int_equal(fl_vnode_truncate(file.vnode, 200), 0);
    assert_int_equal(test_load8(map, shared + 100), 0);
    test_store8(map, shared + 100, 8);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_int_equal(disk_byte(100), 8);
    one_file_end();
}

static void a_truncation_that_fails_leaves_the_length(void **state)
{
    (void)state;
    begin(test_params(4), ptoa(8));
    sim_disk_faults(disk)->fail_truncate_nth = 1;
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(2)), -EIO);
    assert_int_equal(test_load8(map, shared + ptoa(7)), test_byte(ptoa(7)));
    sim_disk_faults(disk)->fail_truncate_nth = 1;
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(10)), -EIO);
    uint8_t byte;
    assert_int_equal(load(shared + ptoa(9), &byte), -ENXIO);
    sim_disk_faults(disk)->fail_size_nth = 1;
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(2)), -EIO);
    sim_disk_faults(disk)->max_len_bytes = ptoa(9);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(10)), -ENOSPC);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(9)), 0);
    one_file_end();
}

/* The truncation failed: dirty pages beyond the end that it asked for are still there, and are written. */
static void a_truncation_that_is_refused_loses_nothing(void **state)
{
    (void)state;
    for (uint32_t block = 512; block <= VM_PAGE_SIZE; block *= 8) {
        begin_blocks(test_params(11), ptoa(8), block);
        uint8_t bytes[600];
        struct fl_iovec iov = {bytes, sizeof bytes};
        memset(bytes, 3, sizeof bytes);
        for (uint64_t i = 1; i < 8; i++)
            test_store8(map, shared + ptoa(i) + 100, 2);
        test_store8(map, private + ptoa(6), 4);
        assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &(struct fl_iocb){.offset = 2048}),
                         sizeof bytes);
        sim_disk_faults(disk)->fail_truncate_nth = 1;
        assert_int_equal(fl_vnode_truncate(file.vnode, 2100), -EIO);
        for (uint64_t i = 1; i < 8; i++)
            assert_int_equal(test_load8(map, shared + ptoa(i) + 100), 2);
        assert_true(test_load8(map, shared + 2100) == 3 && test_load8(map, private + ptoa(6)) == 4);
        assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
        assert_true(disk_byte(2647) == 3 && disk_byte(2648) == test_byte(2648) &&
                    disk_byte(ptoa(7) + 100) == 2);
        assert_int_equal(fl_vnode_truncate(file.vnode, 2100), 0);
        assert_int_equal(sim_disk_size(disk), 2100);
        one_file_end();
    }
}

static void a_store_that_cannot_says_so(void **state)
{
    (void)state;
    struct sim_params params = test_params(5);
    uint8_t bytes[8192] = {1};
    struct fl_iovec iov = {bytes, sizeof bytes};
    test_boot(&params);
    struct vnode *vnode;
    assert_int_equal(fl_vnode_open(odd_store(memory_store_pattern(2), ODD_IN_SUBMIT), &vnode), 0);
    assert_int_equal(fl_vnode_truncate(vnode, 1), -EOPNOTSUPP);
    assert_int_equal(fl_vnode_punch(vnode, 0, 1), -EOPNOTSUPP);
    /* up to its end */
    assert_int_equal(fl_vnode_write(vnode, &iov, 1, &(struct fl_iocb){.offset = VM_PAGE_SIZE}), VM_PAGE_SIZE);
    assert_int_equal(fl_vnode_write(vnode, &iov, 1, &(struct fl_iocb){.offset = ptoa(2)}), -EOPNOTSUPP);
    assert_int_equal(fl_vnode_close(vnode), 0);
    sim_shutdown();
}

/* ---- holes --------------------------------------------------------------------------------------------- */

static void a_copy_of_a_page_that_is_cut_shows_it(void **state)
{
    (void)state;
    struct sim_params params = test_params(10);
    params.torture.copy_first = true; /* a private mapping that has pages of its own shows copies */
    begin(params, ptoa(8));
    test_store8(map, private + ptoa(7), 1);
    for (uint64_t at = 0; at < ptoa(7); at += VM_PAGE_SIZE)
        assert_int_equal(test_load8(map, private + at + 500), test_byte(at + 500));
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(1) + 400, 200), 0);
    assert_int_equal(test_load8(map, private + ptoa(1) + 500), 0);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(3) + 400), 0);
    assert_int_equal(test_load8(map, private + ptoa(3) + 500), 0);
    assert_int_equal(test_load8(map, private + ptoa(2) + 500), test_byte(ptoa(2) + 500));
    one_file_end();
}

static void a_hole_is_zeros(void **state)
{
    (void)state;
    begin(test_params(6), ptoa(8) + 50);
    test_store8(map, private + ptoa(3), 7); /* a private copy, which stays */
    test_store8(map, shared + ptoa(1) + 5, 8);
    test_store8(map, shared + ptoa(5) + 5, 9);
    assert_int_equal(test_load8(map, private + ptoa(4)), test_byte(ptoa(4)));
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(1) + 10, ptoa(4)), 0);
    assert_int_equal(test_load8(map, shared + ptoa(1) + 5), 8);
    for (uint64_t at = ptoa(1) + 10; at < ptoa(5) + 10; at += 5)
        assert_int_equal(test_load8(map, shared + at), 0);
    assert_int_equal(test_load8(map, shared + ptoa(5) + 10), test_byte(ptoa(5) + 10));
    assert_int_equal(test_load8(map, private + ptoa(3)), 7);
    assert_int_equal(test_load8(map, private + ptoa(4)), 0);
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(8) + 10, 1000), 0); /* ends with the file */
    assert_int_equal(sim_disk_size(disk), ptoa(8) + 50);
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(9), 1000), 0);
    assert_int_equal(fl_vnode_punch(file.vnode, 0, 0), -EINVAL);
    assert_int_equal(fl_vnode_punch(file.vnode, 5, UINT64_MAX), -EINVAL);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_true(disk_byte(ptoa(1) + 5) == 8 && disk_byte(ptoa(1) + 10) == 0 && disk_byte(ptoa(3)) == 0 &&
                disk_byte(ptoa(5) + 5) == 0 && disk_byte(ptoa(8) + 9) == test_byte(ptoa(8) + 9) &&
                disk_byte(ptoa(8) + 10) == 0);
    one_file_end();
}

static void a_punch_that_fails_loses_nothing(void **state)
{
    (void)state;
    begin(test_params(7), ptoa(8));
    test_store8(map, shared + ptoa(2), 7);
    sim_disk_faults(disk)->fail_punch_nth = 1;
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(1), ptoa(3)), -EIO);
    assert_int_equal(test_load8(map, shared + ptoa(2)), 7);
    (void)test_load8(map, shared + ptoa(6));
    /* for a part of a page: old bytes or zeros, and no change later */
    sim_disk_faults(disk)->fail_punch_nth = 1;
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(6), 100), -EIO);
    uint8_t byte = test_load8(map, shared + ptoa(6) + 5);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_int_equal(disk_byte(ptoa(6) + 5), byte);
    test_store8(map, shared + ptoa(2), 6);
    sim_disk_faults(disk)->fail_write_nth = 1;
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(1), ptoa(3)), -EIO);
    assert_int_equal(test_load8(map, shared + ptoa(2)), 6);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0); /* the error of that write was reported */
    assert_int_equal(disk_byte(ptoa(2)), 6);
    one_file_end();
}

/* ---- races --------------------------------------------------------------------------------------------- */

static bool stop;

static void touch(void *arg)
{
    struct prng prng;
    uint8_t byte = 1;
    prng_init(&prng, (uintptr_t)arg);
    while (!stop) {
        vm_offset_t va = (prng_chance(&prng, 500) ? shared : private) + prng_below(&prng, ptoa(NPAGES));
        int error = prng_chance(&prng, 500) ? sim_store(map, va, &byte, 1, NULL) : load(va, &byte);
        assert_true(error == 0 || error == -ENXIO);
        sim_yield();
    }
}

static void write_back(void *arg)
{
    (void)arg;
    while (!stop) {
        assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
        sim_sleep_ns(50000);
    }
}

/* Only truncations change the length, whatever transfers of the last page are in flight. */
static void nothing_is_mapped_beyond_the_end(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20; i++) {
        uint64_t seed = test_seed(100 + i), rounds = test_rounds(60);
        struct sim_params params = test_params_hostile(seed);
        struct prng prng;
        prng_init(&prng, seed);
        begin(params, ptoa(NPAGES));
        stop = false;
        sim_run("touch", touch, (void *)(uintptr_t)(seed * 2 + 1));
        sim_run("touch", touch, (void *)(uintptr_t)(seed * 2 + 2));
        sim_run("write back", write_back, NULL);
        for (uint64_t round = 0; round < rounds; round++) {
            uint64_t len = prng_below(&prng, ptoa(NPAGES));
            assert_int_equal(fl_vnode_truncate(file.vnode, len), 0);
            assert_int_equal(sim_disk_size(disk), len);
            for (uint64_t at = round_page(len); at < ptoa(NPAGES); at += VM_PAGE_SIZE)
                assert_false(mapped(shared + at) || mapped(private + at));
            sim_sleep_ns(prng_below(&prng, 300000));
            assert_int_equal(sim_disk_size(disk), len);
        }
        stop = true;
        sim_join_all();
        one_file_end();
    }
}

static void cut_in_vain(void *arg)
{
    (void)arg;
    while (!stop) {
        sim_disk_faults(disk)->fail_truncate_nth = 1;
        assert_int_equal(fl_vnode_truncate(file.vnode, 100), -EIO);
        sim_sleep_ns(50000);
    }
}

/* Until the truncation has succeeded, no access sees the shorter file. */
static void a_refused_truncation_is_never_seen(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 10; i++) {
        uint64_t seed = test_seed(900 + i), rounds = test_rounds(200);
        struct sim_params params = test_params_hostile(seed);
        struct prng prng;
        uint8_t byte, seen;
        uint8_t model[NPAGES] = {0};
        prng_init(&prng, seed);
        begin_blocks(params, ptoa(NPAGES), SIM_SECTOR_SIZE);
        stop = false;
        sim_run("cut", cut_in_vain, NULL);
        for (uint64_t round = 0; round < rounds; round++) {
            uint64_t pindex = prng_below(&prng, NPAGES), at = ptoa(pindex) + 512;
            struct fl_iovec iov = {&byte, 1};
            byte = model[pindex];
            if (byte != 0 && prng_chance(&prng, 300)) {
                assert_int_equal(load(shared + at, &seen), 0);
                assert_int_equal(seen, byte);
            }
            byte = model[pindex] = (uint8_t)prng_range(&prng, 1, 255);
            if (prng_chance(&prng, 500))
                assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &(struct fl_iocb){.offset = at}), 1);
            else
                assert_int_equal(sim_store(map, shared + at, &byte, 1, NULL), 0);
            if (prng_chance(&prng, 300))
                assert_int_equal(fl_sys_madvise(map, shared, ptoa(NPAGES), FL_MADV_PAGEOUT), 0);
        }
        stop = true;
        sim_join_all();
        assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
        for (uint64_t p = 0; p < NPAGES; p++)
            assert_int_equal(disk_byte(ptoa(p) + 512), model[p] != 0 ? model[p] : test_byte(ptoa(p) + 512));
        one_file_end();
    }
}

/* Dirties the first page and pages it out, so that it is read and written all the time. */
static void churn(void *arg)
{
    uint8_t byte = 0;
    (void)arg;
    while (!stop) {
        assert_int_equal(sim_store(map, shared, &byte, 1, NULL), 0);
        byte++;
        if (byte % 4 == 0)
            assert_int_equal(fl_sys_madvise(map, shared, VM_PAGE_SIZE, FL_MADV_PAGEOUT), 0);
        sim_yield();
    }
}

/* Write-back zeroes the bytes beyond the end that it knows, and never bytes that are in the file by then. */
static void what_a_file_grows_by_stays(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20; i++) {
        struct sim_params params = test_params_hostile(test_seed(500 + i));
        uint8_t byte, model[VM_PAGE_SIZE];
        uint64_t rounds = test_rounds(100), len = 100;
        struct fl_iovec iov = {&byte, 1};
        params.torture.preempt_permille = 300;
        begin(params, len);
        stop = false;
        sim_run("churn", churn, NULL);
        sim_run("write back", write_back, NULL);
        for (uint64_t round = 0; round < rounds; round++, len++) {
            byte = model[len] = (uint8_t)(round + 1);
            if (round % 2 == 0) {
                assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &(struct fl_iocb){.offset = len}), 1);
            } else {
                assert_int_equal(fl_vnode_truncate(file.vnode, len + 1), 0);
                test_store8(map, shared + len, byte);
            }
            sim_sleep_ns(round * 997 % 300000);
            for (uint64_t at = 100; at <= len; at++)
                assert_int_equal(test_load8(map, shared + at), model[at]);
        }
        stop = true;
        sim_join_all();
        one_file_end();
    }
}

/*
 * Another program makes the file longer. What a mapping stored behind the old end is not in the file,
 * whenever the page is written, thrown out and read again.
 */
static void what_others_make_longer_has_no_old_tail(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 150; i++) {
        struct sim_params params = test_params_hostile(test_seed(700 + i));
        params.torture.preempt_permille = 300;
        begin(params, 100);
        stop = false;
        sim_run("write back", write_back, NULL);
        for (uint64_t len = 100; len + 200 < VM_PAGE_SIZE; len += 200) {
            test_store8(map, shared + len + 50, 9);
            sim_disk_truncate(disk, len + 200);
            assert_int_equal(fl_vnode_setsize(file.vnode), 0);
            assert_int_equal(test_load8(map, shared + len + 50), 0);
            assert_int_equal(fl_sys_madvise(map, shared, VM_PAGE_SIZE, FL_MADV_PAGEOUT), 0);
            assert_int_equal(test_load8(map, shared + len + 50), 0);
            sim_sleep_ns(len * 997 % 300000);
        }
        stop = true;
        sim_join_all();
        one_file_end();
    }
}

static bool grown, touched;

static void grow(void *arg)
{
    (void)arg;
    assert_int_equal(fl_vnode_truncate(file.vnode, 2000), 0);
    grown = true;
}

static void touch_tail(void *arg)
{
    (void)arg;
    test_store8(map, shared, 9);
    touched = true;
}

/*
 * The page in which the old end lies is absent when a file grows, and must not come in before the new length
 * is known: its write-back would zero the bytes beyond the old end, which are in the file by then. The growth
 * is stopped between its look for the page and the new length, for which it needs the vnode's lock.
 */
static void the_old_ends_page_stays_out_until_the_new_end_is_known(void **state)
{
    (void)state;
    begin(test_params(12), 100);
    struct vm_object *object = test_object(file.vnode);
    grown = touched = false;
    sim_run("grow", grow, NULL);
    sim_sleep_ns(1000); /* makes the disk's file longer, which takes a while */
    assert_int_equal(sim_disk_size(disk), 100);
    vm_lock(&file.vnode->lock);
    sim_sleep_ns(1000000); /* it is longer, and the truncation waits for the vnode's lock */
    assert_int_equal(sim_disk_size(disk), 2000);
    assert_int_equal(file.vnode->size_bytes, 100);
    sim_run("touch", touch_tail, NULL);
    sim_sleep_ns(5000000);
    assert_false(touched || grown);
    vm_unlock(&file.vnode->lock);
    sim_join_all();
    assert_true(touched && grown);
    assert_int_equal(file.vnode->size_bytes, 2000);
    vm_object_deallocate(object);
    one_file_end();
}

static void cut(void *arg)
{
    (void)arg;
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(2)), 0);
}

static void sync_all(void *arg)
{
    (void)arg;
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
}

/* A write of pages that were cut off would make a real file long again. */
static void nothing_is_on_its_way_to_what_is_cut_off(void **state)
{
    (void)state;
    begin(test_params(13), ptoa(8));
    test_store8(map, shared + ptoa(5), 1);
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 5000000;
    sim_run("sync", sync_all, NULL);
    sim_sleep_ns(100000);
    assert_true(sim_disk_counts(disk).in_flight > 0);
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 20000;
    sim_run("cut", cut, NULL);
    while (sim_disk_size(disk) == ptoa(8))
        sim_sleep_ns(5000);
    assert_int_equal(sim_disk_counts(disk).in_flight, 0);
    sim_join_all();
    assert_int_equal(sim_disk_size(disk), ptoa(2));
    one_file_end();
}

static void grow_by_write(void *arg)
{
    uint8_t byte = 1;
    struct fl_iovec iov = {&byte, 1};
    struct fl_iocb iocb = {.offset = *(uint64_t *)arg};
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &iocb), 1);
}

/*
 * A program may store beyond the end while the last page is in write-back. Bytes in flight would be in the
 * file as soon as the disk's file is longer, so none may be.
 */
static void nothing_is_on_its_way_to_where_a_file_grows(void **state)
{
    (void)state;
    for (uint64_t way = 0; way < 4; way++) {
        uint64_t at = way == 0 ? 100 : way == 1 ? 1500 : ptoa(3);
        begin(test_params(14), 100);
        test_store8(map, shared, 1);
        sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 5000000;
        sim_run("sync", sync_all, NULL);
        sim_sleep_ns(100000);
        assert_int_equal(sim_disk_counts(disk).in_flight, 1);
        test_store8(map, shared + 101, 9);
        sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 20000;
        sim_run("grow", way == 3 ? grow : grow_by_write, &at);
        while (sim_disk_size(disk) == 100)
            sim_sleep_ns(5000);
        assert_int_equal(sim_disk_counts(disk).in_flight, 0);
        sim_join_all();
        assert_int_equal(disk_byte(101), 0);
        /* overwritten, or still beyond the end */
        assert_true(test_load8(map, shared + 101) == 0 || way == 0);
        one_file_end();
    }
}

static void learn_size(void *arg)
{
    (void)arg;
    assert_int_equal(fl_vnode_setsize(file.vnode), 0);
}

/* The same where another program makes it longer: what is in flight has the old end. */
static void nothing_is_on_its_way_when_a_new_end_is_learnt(void **state)
{
    (void)state;
    begin(test_params(15), 100);
    test_store8(map, shared, 1);
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 5000000;
    sim_run("sync", sync_all, NULL);
    sim_sleep_ns(100000);
    assert_int_equal(sim_disk_counts(disk).in_flight, 1);
    test_store8(map, shared + 101, 9);
    sim_disk_truncate(disk, 2000);
    sim_run("learn", learn_size, NULL);
    while (file.vnode->size_bytes == 100)
        sim_sleep_ns(5000);
    assert_int_equal(sim_disk_counts(disk).in_flight, 0);
    sim_join_all();
    assert_int_equal(test_load8(map, shared + 101), 0);
    one_file_end();
}

static int late_result;

static void load_late(void *arg)
{
    (void)arg;
    uint8_t byte;
    late_result = load(shared + ptoa(7), &byte);
}

/* Page 7, beyond the end already, is still being copied to a reader: the truncation waits for the copy. */
static void a_page_that_is_about_to_go_is_not_mapped(void **state)
{
    (void)state;
    begin(test_params(9), ptoa(8));
    (void)test_load8(map, shared + ptoa(7));
    struct vm_object *object = test_object(file.vnode);
    vm_lock(&object->lock);
    struct vm_page *m = vm_page_lookup(object, 7);
    vm_page_reader_add(m);
    vm_unlock(&object->lock);
    sim_run("cut", cut, NULL);
    sim_sleep_ns(5000000);
    assert_true(test_page_flags(object, 7) & PG_VALID);
    late_result = 1;
    sim_run("late", load_late, NULL);
    sim_sleep_ns(5000000);
    assert_int_equal(late_result, 1); /* waits until the end is decided */
    assert_false(mapped(shared + ptoa(7)));
    vm_lock(&object->lock);
    vm_page_reader_drop(m);
    vm_unlock(&object->lock);
    sim_join_all();
    vm_object_deallocate(object);
    assert_int_equal(late_result, -ENXIO);
    one_file_end();
}

static void unmapping_a_range_leaves_the_pages(void **state)
{
    (void)state;
    begin(test_params(8), ptoa(8));
    for (uint64_t i = 0; i < 8; i++)
        test_store8(map, shared + ptoa(i), (uint8_t)i);
    struct vm_object *object = test_object(file.vnode);
    unmap_mapping_range(object, ptoa(2) + 1, ptoa(2)); /* touches pages 2, 3 and 4 */
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(mapped(shared + ptoa(i)), i < 2 || i > 4);
    unmap_mapping_range(object, ptoa(6), 0);
    assert_true(mapped(shared + ptoa(5)) && !mapped(shared + ptoa(6)) && !mapped(shared + ptoa(7)));
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(test_load8(map, shared + ptoa(i)), i);
    vm_object_deallocate(object);
    one_file_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_cut_off_is_gone_everywhere),
        cmocka_unit_test(to_nothing_and_back),
        cmocka_unit_test(what_was_stored_behind_the_end_is_not_the_files),
        cmocka_unit_test(a_truncation_that_fails_leaves_the_length),
        cmocka_unit_test(a_truncation_that_is_refused_loses_nothing),
        cmocka_unit_test(a_store_that_cannot_says_so),
        cmocka_unit_test(a_copy_of_a_page_that_is_cut_shows_it),
        cmocka_unit_test(a_hole_is_zeros),
        cmocka_unit_test(a_punch_that_fails_loses_nothing),
        cmocka_unit_test(nothing_is_mapped_beyond_the_end),
        cmocka_unit_test(a_refused_truncation_is_never_seen),
        cmocka_unit_test(what_a_file_grows_by_stays),
        cmocka_unit_test(what_others_make_longer_has_no_old_tail),
        cmocka_unit_test(the_old_ends_page_stays_out_until_the_new_end_is_known),
        cmocka_unit_test(nothing_is_on_its_way_to_what_is_cut_off),
        cmocka_unit_test(nothing_is_on_its_way_to_where_a_file_grows),
        cmocka_unit_test(nothing_is_on_its_way_when_a_new_end_is_learnt),
        cmocka_unit_test(a_page_that_is_about_to_go_is_not_mapped),
        cmocka_unit_test(unmapping_a_range_leaves_the_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
