/*
 * prefetch_test.c: fl_sys_prefetch: the reads of all ranges are in flight together when the call returns,
 * whatever the ranges are; and nothing is lost when they cannot be.
 */
#include "file/readahead.h"
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

#define NPAGES  4096
#define ADDRESS 32 /* ranges that a program passes in one call */

static vm_offset_t va;

static void begin(struct sim_params params)
{
    one_file_boot(&params, test_disk(ptoa(NPAGES), VM_PAGE_SIZE, params.seed), RW);
    va = test_mmap(map, &file, FL_MAP_SHARED, NPAGES);
}

static struct fl_iovec range(vm_offset_t at, size_t len_bytes)
{
    return (struct fl_iovec){(void *)at, len_bytes};
}

/* n different pages, far from each other. */
static void scattered(struct fl_iovec *iov, vm_pindex_t *page, uint32_t n, uint64_t seed)
{
    struct prng prng;
    prng_init(&prng, seed);
    for (uint32_t i = 0; i < n; i++) {
        page[i] = i * (NPAGES / n) + prng_range(&prng, 0, NPAGES / n - 3);
        iov[i] = range(va + ptoa(page[i]) + prng_range(&prng, 0, 4095), 1);
    }
}

static void scattered_pages_go_to_the_store_together(void **state)
{
    (void)state;
    struct fl_iovec iov[ADDRESS];
    vm_pindex_t page[ADDRESS];
    begin(test_params(1));
    scattered(iov, page, ADDRESS, test_seed(1));
    assert_int_equal(fl_sys_prefetch(map, iov, ADDRESS), 0);
    assert_int_equal(sim_disk_counts(disk).batches, 1);
    assert_int_equal(sim_disk_counts(disk).reads, ADDRESS);
    for (uint32_t i = 0; i < ADDRESS; i++)
        assert_int_equal(test_load8(map, va + ptoa(page[i])), test_byte(ptoa(page[i])));
    assert_int_equal(sim_disk_counts(disk).pages_read, ADDRESS); /* those pages, and no others */
    assert_int_equal(fl_sys_prefetch(map, iov, ADDRESS), 0);     /* they are resident */
    assert_int_equal(sim_disk_counts(disk).reads, ADDRESS);
    one_file_end();
}

static uint64_t faults(void)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    return stats.faults;
}

/*
 * The first fault maps every page that was read, as far as its page table
 * exists; another mapping of the file is not touched.
 */
static void one_fault_is_enough_for_what_has_come(void **state)
{
    (void)state;
    begin(test_params(9));
    vm_offset_t beside = test_mmap(map, &file, FL_MAP_SHARED, NPAGES),
                table = (va + (2 << 20) - 1) & ~(vm_offset_t)((2 << 20) - 1);
    for (int advice = FL_MADV_NORMAL; advice <= FL_MADV_RANDOM; advice++) {
        struct fl_iovec iov[ADDRESS];
        vm_pindex_t first = atop(table - va) + (vm_pindex_t)advice;
        for (uint32_t i = 0; i < ADDRESS; i++)
            iov[i] = range(va + ptoa(first + i * 15), 1);
        assert_int_equal(fl_sys_madvise(map, va, ptoa(NPAGES), advice), 0);
        assert_int_equal(fl_sys_prefetch(map, iov, ADDRESS), 0);
        sim_sleep_ns(100000000);
        uint64_t before = faults();
        for (uint32_t i = 0; i < ADDRESS; i++)
            assert_int_equal(test_load8(map, va + ptoa(first + i * 15)), test_byte(ptoa(first + i * 15)));
        assert_int_equal(faults(), before + 1);
        assert_int_equal(test_load8(map, beside + ptoa(first)), test_byte(ptoa(first)));
        assert_int_equal(faults(), before + 2);
        /* No fault: the harvest tells. */
        test_store8(map, va + ptoa(first + 15), test_byte(ptoa(first + 15)));
        assert_int_equal(faults(), before + 2);
    }
    one_file_end();
}

static void neighbours_become_one_request(void **state)
{
    (void)state;
    struct fl_iovec iov[8];
    begin(test_params(2));
    for (uint32_t i = 0; i < 8; i++) /* backwards, in pieces, one of them twice */
        iov[i] = range(va + ptoa(100 + (7 - i) * 2), ptoa(2));
    iov[0] = iov[1];
    assert_int_equal(fl_sys_prefetch(map, iov, 8), 0);
    sim_sleep_ns(100000000);
    assert_int_equal(sim_disk_counts(disk).reads, 1);
    assert_int_equal(sim_disk_counts(disk).pages_read, 14);
    one_file_end();
}

static void what_is_no_file_is_passed_over(void **state)
{
    (void)state;
    begin(test_params(3));
    int64_t anonymous = fl_sys_mmap(map, 0, ptoa(4), VM_PROT_READ | VM_PROT_WRITE,
                                    FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, NULL, 0);
    assert_true(anonymous > 0);
    assert_int_equal(fl_sys_munmap(map, va + ptoa(10), ptoa(5)), 0);
    struct fl_iovec iov[] = {
        range((vm_offset_t)anonymous, ptoa(4)), range(va + ptoa(8), ptoa(9)), range(TEST_SPACE_END, ptoa(3)),
        range(va + ptoa(100), 0), /* touches nothing */
    };
    assert_int_equal(fl_sys_prefetch(map, iov, 4), 0);
    sim_sleep_ns(100000000);
    assert_int_equal(sim_disk_counts(disk).pages_read, 4); /* 8, 9, 15, 16 */
    assert_int_equal(fl_sys_prefetch(map, iov, 0), 0);
    struct fl_iovec around[] = {range(va, 1), range(UINT64_MAX - 3, 100)};
    assert_int_equal(fl_sys_prefetch(map, around, 2), -EINVAL);
    around[1] = range(va, SIZE_MAX);
    assert_int_equal(fl_sys_prefetch(map, around, 2), -EINVAL);
    assert_int_equal(sim_disk_counts(disk).pages_read, 4);
    one_file_end();
}

static void private_mappings_are_read_through(void **state)
{
    (void)state;
    begin(test_params(4));
    vm_offset_t own = test_mmap(map, &file, FL_MAP_PRIVATE, NPAGES);
    test_store8(map, own + ptoa(50), 77); /* the mapping has a shadow object now */
    struct fl_iovec iov = range(own + ptoa(50), ptoa(10));
    uint64_t before = sim_disk_counts(disk).pages_read;
    assert_int_equal(fl_sys_prefetch(map, &iov, 1), 0);
    sim_sleep_ns(100000000);
    assert_in_range(sim_disk_counts(disk).pages_read, before + 9, before + 10);
    assert_int_equal(test_load8(map, own + ptoa(50)), 77);
    assert_int_equal(test_load8(map, own + ptoa(51)), test_byte(ptoa(51)));
    one_file_end();
}

static void advice_willneed_is_the_same(void **state)
{
    (void)state;
    begin(test_params(5));
    assert_int_equal(fl_sys_madvise(map, va + ptoa(7), ptoa(40), FL_MADV_WILLNEED), 0);
    sim_sleep_ns(100000000);
    assert_int_equal(sim_disk_counts(disk).pages_read, 40);
    for (uint32_t i = 7; i < 47; i++)
        assert_int_equal(test_load8(map, va + ptoa(i)), test_byte(ptoa(i)));
    assert_int_equal(sim_disk_counts(disk).pages_read, 40);
    one_file_end();
}

/* It is advice: it takes only its share of memory, and pages in use stay resident. */
static void more_than_memory_is_not_read(void **state)
{
    (void)state;
    begin(test_params(6)); /* 256 frames */
    struct fl_iovec iov = range(va, ptoa(NPAGES));
    assert_int_equal(fl_sys_prefetch(map, &iov, 1), 0);
    sim_sleep_ns(100000000);
    assert_in_range(sim_disk_counts(disk).pages_read, 32, 256 / 4);
    assert_int_equal(test_load8(map, va + ptoa(NPAGES - 1)), test_byte(ptoa(NPAGES - 1)));
    one_file_end();
}

static void errors_are_told_to_who_touches(void **state)
{
    (void)state;
    uint8_t byte;
    size_t done;
    struct fl_iovec iov[ADDRESS];
    vm_pindex_t page[ADDRESS];
    begin(test_params(7));
    scattered(iov, page, ADDRESS, test_seed(2));
    sim_disk_faults(disk)->bad_read_start = ptoa(page[5]);
    sim_disk_faults(disk)->bad_read_end = ptoa(page[5] + 1);
    assert_int_equal(fl_sys_prefetch(map, iov, ADDRESS), 0);
    for (uint32_t i = 0; i < ADDRESS; i++)
        assert_int_equal(sim_load(map, va + ptoa(page[i]), &byte, 1, &done), i == 5 ? -EIO : 0);
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    assert_int_equal(test_load8(map, va + ptoa(page[5])), test_byte(ptoa(page[5])));
    one_file_end();
}

static void the_nth_failure_does_no_harm(void **state)
{
    (void)state;
    bool fired = true;
    for (uint32_t nth = 1; fired; nth++) {
        struct fl_iovec iov[ADDRESS];
        vm_pindex_t page[ADDRESS];
        begin(test_params(8));
        scattered(iov, page, ADDRESS, test_seed(3));
        sim_torture()->fail_alloc_nth = nth;
        assert_int_equal(fl_sys_prefetch(map, iov, ADDRESS), 0);
        fired = sim_torture()->fail_alloc_nth == 0;
        sim_torture()->fail_alloc_nth = 0;
        for (uint32_t i = 0; i < ADDRESS; i++)
            assert_int_equal(test_load8(map, va + ptoa(page[i])), test_byte(ptoa(page[i])));
        one_file_end();
    }
}

/* ---- with others --------------------------------------------------------------------------------------- */

static struct {
    uint64_t seed;
    bool stop;
} others;

/* Maps and unmaps a file of its own, which ends with its mapping, perhaps during a prefetch of it. */
static void comes_and_goes(void *arg)
{
    struct sim_disk *own = sim_disk_create(ptoa(64), others.seed + 1000);
    vm_offset_t *at = arg;
    for (int i = 0; i < 30; i++) {
        struct fl_file mine = test_file(own, FL_FREAD);
        int64_t result =
            fl_sys_mmap(map, *at, ptoa(64), VM_PROT_READ, FL_MAP_SHARED | FL_MAP_FIXED, &mine, 0);
        assert_int_equal(result, *at);
        assert_int_equal(fl_vnode_close(mine.vnode), 0);
        sim_sleep_ns(30000);
        assert_int_equal(fl_sys_munmap(map, *at, ptoa(64)), 0);
    }
    others.stop = true;
    sim_sleep_ns(100000000); /* the flusher and the last close are done with it */
    sim_disk_destroy(own);
}

static void asks_ahead(void *arg)
{
    vm_offset_t *at = arg;
    struct prng prng;
    prng_init(&prng, others.seed);
    while (!others.stop) {
        struct fl_iovec iov[24];
        for (uint32_t i = 0; i < 24; i++) {
            bool own = prng_chance(&prng, 500);
            iov[i] = range(own ? *at + ptoa(prng_range(&prng, 0, 63)) : va + ptoa(prng_range(&prng, 0, 3000)),
                           prng_range(&prng, 1, ptoa(3)));
        }
        assert_int_equal(fl_sys_prefetch(map, iov, 24), 0);
        vm_pindex_t page = prng_range(&prng, 0, 3000);
        assert_int_equal(test_load8(map, va + ptoa(page)), test_byte(ptoa(page)));
    }
}

static void mappings_may_end_meanwhile(void **state)
{
    (void)state;
    uint64_t first = test_seed(700), rounds = test_rounds(12);
    for (uint64_t seed = first; seed < first + rounds; seed++) {
        struct sim_params params = test_params_hostile(test_seed(seed));
        params.nframes = 200;
        begin(params);
        vm_offset_t at = va - ptoa(NPAGES);
        others.seed = seed;
        others.stop = false;
        sim_run("maps", comes_and_goes, &at);
        sim_run("asks", asks_ahead, &at);
        sim_run("asks", asks_ahead, &at);
        sim_join_all();
        sim_settle();
        one_file_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scattered_pages_go_to_the_store_together),
        cmocka_unit_test(one_fault_is_enough_for_what_has_come),
        cmocka_unit_test(neighbours_become_one_request),
        cmocka_unit_test(what_is_no_file_is_passed_over),
        cmocka_unit_test(private_mappings_are_read_through),
        cmocka_unit_test(advice_willneed_is_the_same),
        cmocka_unit_test(more_than_memory_is_not_read),
        cmocka_unit_test(errors_are_told_to_who_touches),
        cmocka_unit_test(the_nth_failure_does_no_harm),
        cmocka_unit_test(mappings_may_end_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
