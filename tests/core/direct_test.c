/*
 * direct_test.c: reads and writes past the cache, beside an array of bytes: what they move, what the cache
 * and mappings show before and after, and what is left when they fail.
 */
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/pages.h"
#include "vm/vm_page.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NPAGES  200
#define LEN_MAX ptoa(NPAGES)

static vm_offset_t shared;
static uint8_t buf[LEN_MAX], model[LEN_MAX];

static void begin(struct sim_params params, uint64_t len_bytes, uint32_t block_bytes)
{
    one_file_boot(&params, test_disk(len_bytes, block_bytes, params.seed), RW);
    shared = test_mmap(map, &file, FL_MAP_SHARED, NPAGES);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void a_read_leaves_nothing_in_the_cache(void **state)
{
    (void)state;
    uint64_t len = ptoa(150) + 300;
    for (uint32_t block = 512; block <= VM_PAGE_SIZE; block *= 2) {
        begin(test_params(1), len, block);
        assert_int_equal(read_at(0, buf, LEN_MAX, FL_IOCB_DIRECT), len); /* short, at the file's end */
        expect_fill(0, buf, len);
        assert_int_equal(read_at(block, buf, 3 * block, FL_IOCB_DIRECT), 3 * block);
        expect_fill(block, buf, 3 * block);
        for (vm_pindex_t i = 0; i < 151; i++)
            assert_int_equal(page_flags(i), 0);
        assert_int_equal(read_at(ptoa(160), buf, block, FL_IOCB_DIRECT), 0);
        one_file_end();
    }
}

static void what_is_not_aligned_is_refused(void **state)
{
    (void)state;
    begin(test_params(2), ptoa(4), 1024);
    assert_int_equal(read_at(512, buf, 1024, FL_IOCB_DIRECT), -EINVAL);
    assert_int_equal(read_at(1024, buf, 512, FL_IOCB_DIRECT), -EINVAL);
    assert_int_equal(write_at(512, buf, 1024, FL_IOCB_DIRECT), -EINVAL);
    assert_int_equal(write_at(1024, buf, 1000, FL_IOCB_DIRECT), -EINVAL);
    sim_disk_faults(disk)->fail_truncate_nth = 1;
    assert_int_equal(write_at(ptoa(8) + 512, buf, 1024, FL_IOCB_DIRECT), -EINVAL);
    /* a write that fails does not make the file longer */
    assert_int_equal(sim_disk_faults(disk)->fail_truncate_nth, 1);
    sim_disk_faults(disk)->fail_truncate_nth = 0;
    assert_int_equal(read_at(0, buf, 1024, 0x80), -EINVAL);
    assert_int_equal(write_at(0, buf, 1024, 0x80), -EINVAL);
    assert_int_equal(read_at(1024, buf, 1024, FL_IOCB_DIRECT), 1024);
    one_file_end();
}

static void a_read_sees_what_is_dirty(void **state)
{
    (void)state;
    begin(test_params(3), ptoa(8), 512);
    uint8_t byte = 9;
    test_store8(map, shared + ptoa(1) + 7, 8);
    assert_int_equal(write_at(ptoa(2) + 7, &byte, 1, 0), 1);
    assert_int_equal(read_at(ptoa(1), buf, ptoa(2), FL_IOCB_DIRECT), ptoa(2));
    assert_true(buf[7] == 8 && buf[ptoa(1) + 7] == 9);
    sim_disk_faults(disk)->fail_write_nth = 1;
    test_store8(map, shared + ptoa(1) + 7, 7);
    assert_int_equal(read_at(ptoa(1), buf, 512, FL_IOCB_DIRECT), -EIO);
    assert_int_equal(read_at(ptoa(1), buf, 512, FL_IOCB_DIRECT), 512);
    assert_int_equal(buf[7], 7);
    one_file_end();
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void a_write_is_seen_everywhere(void **state)
{
    (void)state;
    begin(test_params(4), ptoa(100), 512);
    for (uint64_t i = 0; i < 100; i++)
        (void)test_load8(map, shared + ptoa(i));
    test_store8(map, shared + ptoa(10) + 3, 7); /* in a block that is overwritten */
    test_store8(map, shared + ptoa(90) + 3, 7); /* and in one that is not */
    memset(buf, 1, sizeof buf);
    assert_int_equal(write_at(ptoa(10), buf, ptoa(80) + 512, FL_IOCB_DIRECT), ptoa(80) + 512);
    assert_true(disk_byte(ptoa(10)) == 1 && disk_byte(ptoa(90) + 511) == 1 &&
                disk_byte(ptoa(90) + 512) == test_byte(ptoa(90) + 512));
    for (uint64_t i = 10; i < 90; i++)
        assert_int_equal(test_load8(map, shared + ptoa(i) + 3), 1);
    assert_true(test_load8(map, shared + ptoa(9)) == test_byte(ptoa(9)) &&
                test_load8(map, shared + ptoa(90) + 3) == 1);
    assert_int_equal(read_at(ptoa(90) + 512, buf, 512, 0), 512);
    expect_fill(ptoa(90) + 512, buf, 512);
    one_file_end();
}

/* A private mapping may show a clean copy of the file's page; a direct write must show through it. */
static void a_write_is_seen_through_private_mappings(void **state)
{
    (void)state;
    struct sim_params params = test_params(12);
    params.torture.copy_first = true;
    begin(params, ptoa(8), 512);
    int64_t va = fl_sys_mmap(map, 0, ptoa(8), PROT_RW, FL_MAP_PRIVATE, &file, 0);
    assert_true(va > 0);
    vm_offset_t private = (vm_offset_t)va;
    test_store8(map, private + ptoa(1), 9); /* a private copy of its own */
    assert_int_equal(test_load8(map, private + ptoa(2)), test_byte(ptoa(2)));
    memset(buf, 1, sizeof buf);
    assert_int_equal(write_at(ptoa(1), buf, ptoa(3), FL_IOCB_DIRECT), ptoa(3));
    assert_true(test_load8(map, private + ptoa(1)) == 9 && test_load8(map, private + ptoa(2)) == 1);
    one_file_end();
}

static void a_write_makes_the_file_longer(void **state)
{
    (void)state;
    begin(test_params(5), 1000, 512);
    test_store8(map, shared + 1500, 9); /* beyond the end of the file */
    memset(buf, 1, sizeof buf);
    assert_int_equal(write_at(2048, buf, 1024, FL_IOCB_DIRECT), 1024);
    assert_int_equal(sim_disk_size(disk), 3072);
    assert_true(test_load8(map, shared + 999) == test_byte(999) && test_load8(map, shared + 1500) == 0 &&
                test_load8(map, shared + 2048) == 1 && test_load8(map, shared + 3072) == 0);
    struct fl_iovec iov = {buf, ptoa(2)};
    struct fl_iocb iocb = {.flags = FL_IOCB_DIRECT | FL_IOCB_APPEND | FL_IOCB_DSYNC};
    uint64_t flushes = sim_disk_counts(disk).flushes;
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &iocb), ptoa(2));
    assert_int_equal(iocb.offset, 3072 + ptoa(2));
    assert_int_equal(sim_disk_counts(disk).flushes, flushes + 1);
    assert_int_equal(sim_disk_size(disk), 3072 + ptoa(2));
    assert_int_equal(test_load8(map, shared + 3072 + ptoa(2) - 1), 1);
    sim_disk_faults(disk)->max_len_bytes = ptoa(3);
    assert_int_equal(write_at(ptoa(3), buf, 512, FL_IOCB_DIRECT), -ENOSPC);
    assert_int_equal(sim_disk_size(disk), 3072 + ptoa(2));
    one_file_end();
}

/* A held page cannot be freed, because a system call uses its address: the write updates it and the disk. */
static void through_pages_that_must_stay(void **state)
{
    (void)state;
    struct fl_hold hold;
    begin(test_params(6), ptoa(8), 512);
    assert_int_equal(fl_hold(map, shared + ptoa(1), 1, VM_PROT_WRITE, &hold), 0);
    memset(buf, 1, sizeof buf);
    assert_int_equal(write_at(512, buf, ptoa(3), FL_IOCB_DIRECT), ptoa(3));
    assert_true(disk_byte(511) == test_byte(511) && disk_byte(512) == 1 && disk_byte(ptoa(1) + 5) == 1 &&
                disk_byte(ptoa(3) + 511) == 1);
    assert_int_equal(sim_frame(vm_page_frame(hold.page[0]))[5], 1);
    fl_unhold(&hold);
    assert_int_equal(fl_sys_mlock(map, shared + ptoa(5), VM_PAGE_SIZE), 0);
    assert_int_equal(write_at(ptoa(5), buf, 512, FL_IOCB_DIRECT), 512);
    assert_true(test_load8(map, shared + ptoa(5)) == 1 && disk_byte(ptoa(5)) == 1);
    one_file_end();
}

/* The caller's memory may be pages of the file itself. */
static void memory_may_be_a_page_of_the_file(void **state)
{
    (void)state;
    struct fl_hold hold;
    begin(test_params(7), ptoa(8), 512);
    assert_int_equal(fl_hold(map, shared, VM_PAGE_SIZE, VM_PROT_WRITE, &hold), 0);
    uint8_t *bytes = sim_frame(vm_page_frame(hold.page[0]));
    assert_int_equal(write_at(ptoa(2), bytes, 1024, FL_IOCB_DIRECT), 1024);
    assert_int_equal(read_at(ptoa(3), bytes + 1024, 512, FL_IOCB_DIRECT), 512);
    fl_unhold(&hold);
    expect_fill(0, bytes, 1024);
    expect_fill(ptoa(3), bytes + 1024, 512);
    assert_true(disk_byte(ptoa(2) + 100) == test_byte(100));
    one_file_end();
}

/* ---- failures ------------------------------------------------------------------------------------------ */

static void bad_memory_moves_whole_blocks(void **state)
{
    (void)state;
    begin(test_params(8), ptoa(8), 512);
    memset(buf, 1, sizeof buf);
    struct fl_iovec iov[] = {{buf, 1400}, {NULL, 648}};
    struct fl_iocb iocb = {.offset = 512, .flags = FL_IOCB_DIRECT};
    assert_int_equal(fl_vnode_write(file.vnode, iov, 2, &iocb), 1024);
    assert_int_equal(iocb.offset, 1536);
    assert_true(disk_byte(1535) == 1 && disk_byte(1536) == test_byte(1536));
    assert_int_equal(
        fl_vnode_write(file.vnode, iov + 1, 1, &(struct fl_iocb){.offset = 0, .flags = FL_IOCB_DIRECT}),
        -EINVAL);
    struct fl_iovec more[] = {{buf, ptoa(1) + 100}, {NULL, ptoa(4) - 100}}; /* in the second page of many */
    iocb = (struct fl_iocb){.offset = 0, .flags = FL_IOCB_DIRECT};
    assert_int_equal(fl_vnode_write(file.vnode, more, 2, &iocb), ptoa(1));
    iov[1].len_bytes = 512;
    iocb = (struct fl_iocb){.offset = ptoa(8), .flags = FL_IOCB_DIRECT};
    assert_int_equal(fl_vnode_write(file.vnode, iov + 1, 1, &iocb), -EFAULT);
    assert_int_equal(sim_disk_size(disk), ptoa(8)); /* the file is as long as what was written */
    iov[0].len_bytes = 1536;
    iocb.offset = 0;
    assert_int_equal(fl_vnode_read(file.vnode, iov, 2, &iocb), 1536);
    assert_int_equal(fl_vnode_read(file.vnode, iov + 1, 1, &iocb), -EFAULT);
    one_file_end();
}

static void errors_are_the_calls_own(void **state)
{
    (void)state;
    begin(test_params(9), ptoa(180), 4096);
    sim_disk_faults(disk)->bad_read_start = ptoa(100);
    sim_disk_faults(disk)->bad_read_end = ptoa(101);
    int64_t got = read_at(0, buf, ptoa(180), FL_IOCB_DIRECT);
    assert_true(got > 0 && got <= (int64_t)ptoa(100));
    expect_fill(0, buf, (size_t)got);
    assert_int_equal(read_at(ptoa(100), buf, ptoa(1), FL_IOCB_DIRECT), -EIO);
    sim_disk_faults(disk)->fail_write_nth = 1;
    fl_errseq_t since = fl_vnode_errseq(file.vnode);
    assert_int_equal(write_at(0, buf, ptoa(1), FL_IOCB_DIRECT), -EIO);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &since), 0); /* the writer was told already */
    one_file_end();
}

/* Every allocation, mapping and window may fail: each byte is then the old one or the new one. */
static void nothing_is_lost_for_want_of_memory(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < 2; kind++) {
        bool fired = true;
        for (uint32_t n = 1; fired; n++) {
            begin(test_params(10), ptoa(20), 512);
            memset(buf, 1, ptoa(12));
            struct fl_iovec iov[] = {{buf, 100}, {buf, ptoa(3)}, {buf, ptoa(3) - 100}};
            struct fl_iocb iocb = {.offset = ptoa(2), .flags = FL_IOCB_DIRECT};
            *(kind == 0 ? &sim_torture()->fail_alloc_nth : &sim_torture()->fail_map_nth) = n;
            int64_t wrote = fl_vnode_write(file.vnode, iov, 3, &iocb);
            int64_t got = read_at(ptoa(4), buf, ptoa(2), FL_IOCB_DIRECT);
            fired = sim_torture()->fail_alloc_nth + sim_torture()->fail_map_nth == 0;
            *sim_torture() = (struct sim_torture){0};
            assert_true(wrote == ptoa(6) || wrote == -ENOMEM);
            assert_true(got == ptoa(2) || got == -ENOMEM);
            assert_int_equal(read_at(0, buf, ptoa(20), 0), ptoa(20));
            for (uint64_t i = 0; i < ptoa(20); i++)
                assert_int_equal(buf[i], wrote > 0 && i >= ptoa(2) && i < ptoa(8) ? 1 : test_byte(i));
            one_file_end();
        }
    }
}

static void a_computer_with_few_pages(void **state)
{
    (void)state;
    struct sim_params params = test_params(11);
    params.nframes = 20;
    begin(params, ptoa(150), 1024);
    assert_int_equal(read_at(0, buf, ptoa(150), FL_IOCB_DIRECT), ptoa(150));
    expect_fill(0, buf, ptoa(150));
    memset(buf, 1, sizeof buf);
    assert_int_equal(write_at(1024, buf, ptoa(149), FL_IOCB_DIRECT), ptoa(149));
    assert_true(disk_byte(1023) == test_byte(1023) && disk_byte(1024) == 1 &&
                disk_byte(ptoa(149) + 1023) == 1);
    one_file_end();
}

/* ---- at random ----------------------------------------------------------------------------------------- */

static struct {
    uint64_t len;
    uint32_t block;
    bool done;
} at_random;

/* Reads and writes of all kinds in turn, while other fibers touch the same pages. */
static void step(struct prng *prng, uint64_t seed)
{
    bool direct = prng_chance(prng, 500), write = prng_chance(prng, 500);
    uint64_t unit = direct ? at_random.block : 1;
    uint64_t at = prng_below(prng, at_random.len) / unit * unit;
    uint64_t len = prng_range(prng, 1, direct ? 40 : 20000) * unit;
    unsigned flags = direct ? FL_IOCB_DIRECT : 0;
    if (len > LEN_MAX - at)
        len = (LEN_MAX - at) / unit * unit;
    if (write) {
        memset(buf, (int)prng_range(prng, 1, 255), len);
        assert_int_equal(write_at(at, buf, len, flags), len);
        memcpy(model + at, buf, len);
        at_random.len = at + len > at_random.len ? at + len : at_random.len;
        return;
    }
    if (len > at_random.len - at && !direct)
        len = at_random.len - at;
    int64_t expect = (int64_t)(len > at_random.len - at ? at_random.len - at : len);
    assert_int_equal(read_at(at, buf, len, flags), expect);
    if (memcmp(buf, model + at, (size_t)expect) != 0) {
        fprintf(stderr, "seed %llu: a %s read of [%llu, +%lld)\n", (unsigned long long)seed,
                direct ? "direct" : "plain", (unsigned long long)at, (long long)expect);
        abort();
    }
}

static void touch(void *arg)
{
    struct prng prng;
    uint8_t byte;
    prng_init(&prng, (uintptr_t)arg);
    while (!at_random.done) {
        int error = sim_load(map, shared + prng_below(&prng, LEN_MAX), &byte, 1, NULL);
        assert_true(error == 0 || error == -ENXIO);
        if (prng_chance(&prng, 100))
            assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
        sim_yield();
    }
}

static void direct_and_not(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 24; i++) {
        uint64_t seed = test_seed(700 + i), rounds = test_rounds(60);
        struct sim_params params = test_params_hostile(seed);
        struct prng prng;
        prng_init(&prng, seed);
        params.nframes = 96;
        at_random.block = SIM_SECTOR_SIZE << seed % 4;
        at_random.len = ptoa(60) + 100;
        at_random.done = false;
        begin(params, at_random.len, at_random.block);
        memset(model, 0, sizeof model);
        sim_disk_read(disk, 0, model, at_random.len);
        sim_run("touch", touch, (void *)(uintptr_t)(seed * 2 + 1));
        sim_run("touch", touch, (void *)(uintptr_t)(seed * 2 + 2));
        for (uint64_t round = 0; round < rounds; round++)
            step(&prng, seed);
        at_random.done = true;
        sim_join_all();
        assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
        assert_int_equal(sim_disk_size(disk), at_random.len);
        sim_disk_read(disk, 0, buf, at_random.len);
        assert_memory_equal(buf, model, at_random.len);
        one_file_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_leaves_nothing_in_the_cache),
        cmocka_unit_test(what_is_not_aligned_is_refused),
        cmocka_unit_test(a_read_sees_what_is_dirty),
        cmocka_unit_test(a_write_is_seen_everywhere),
        cmocka_unit_test(a_write_is_seen_through_private_mappings),
        cmocka_unit_test(a_write_makes_the_file_longer),
        cmocka_unit_test(through_pages_that_must_stay),
        cmocka_unit_test(memory_may_be_a_page_of_the_file),
        cmocka_unit_test(bad_memory_moves_whole_blocks),
        cmocka_unit_test(errors_are_the_calls_own),
        cmocka_unit_test(nothing_is_lost_for_want_of_memory),
        cmocka_unit_test(a_computer_with_few_pages),
        cmocka_unit_test(direct_and_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
