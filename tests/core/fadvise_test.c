/*
 * fadvise_test.c: advice on files: which pages it reads, which it frees, and which stay.
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

#define NPAGES 200

static void begin(uint64_t len_bytes)
{
    struct sim_params params = test_params(test_seed(21));
    params.nframes = 512;
    one_file_boot(&params, test_disk(len_bytes, VM_PAGE_SIZE, params.seed), RW);
}

static int advise(vm_ooffset_t offset, uint64_t len_bytes, int advice)
{
    return fl_vnode_fadvise(file.vnode, offset, len_bytes, advice);
}

static void read_page(vm_pindex_t pindex)
{
    static uint8_t buf[VM_PAGE_SIZE];
    struct fl_iovec iov = {buf, sizeof buf};
    assert_true(fl_vnode_read(file.vnode, &iov, 1, &(struct fl_iocb){.offset = ptoa(pindex)}) > 0);
    assert_int_equal(buf[0], test_byte(ptoa(pindex)));
}

static void write_byte(vm_ooffset_t offset, uint8_t byte)
{
    struct fl_iovec iov = {&byte, 1};
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &(struct fl_iocb){.offset = offset}), 1);
}

/* How many of the pages [start, end) are resident. */
static uint32_t resident(vm_pindex_t start, vm_pindex_t end_page)
{
    struct vm_object *object = test_object(file.vnode);
    uint32_t n = 0;
    for (vm_pindex_t i = start; i < end_page; i++)
        n += test_page_flags(object, i) != 0;
    vm_object_deallocate(object);
    return n;
}

static void settle(void)
{
    sim_sleep_ns(100000000);
}

static void only_known_advice_is_taken(void **state)
{
    (void)state;
    begin(ptoa(NPAGES));
    assert_int_equal(advise(0, 0, -1), -EINVAL);
    assert_int_equal(advise(0, 0, FL_FADV_NOREUSE + 1), -EINVAL);
    for (int advice = FL_FADV_NORMAL; advice <= FL_FADV_NOREUSE; advice++) {
        assert_int_equal(advise(0, 0, advice), 0);
        assert_int_equal(advise(UINT64_MAX - 5, 100, advice), 0); /* to the end of all offsets */
        assert_int_equal(advise(ptoa(NPAGES + 10), ptoa(3), advice), 0);
    }
    settle();
    one_file_end();
}

static void willneed_brings_the_pages_that_the_bytes_touch(void **state)
{
    (void)state;
    begin(ptoa(NPAGES) - 100);
    assert_int_equal(advise(ptoa(20) + 5, ptoa(9), FL_FADV_WILLNEED), 0); /* touches ten pages */
    settle();
    assert_int_equal(sim_disk_counts(disk).pages_read, 10);
    assert_int_equal(resident(20, 30), 10);
    assert_int_equal(advise(ptoa(NPAGES - 30), 0, FL_FADV_WILLNEED), 0);
    settle();
    assert_int_equal(resident(NPAGES - 30, NPAGES), 30);
    assert_int_equal(resident(0, NPAGES), 40);
    for (vm_pindex_t i = 20; i < 30; i++)
        read_page(i);
    assert_int_equal(sim_disk_counts(disk).pages_read, 40);
    one_file_end();
}

static void dontneed_forgets_whole_pages(void **state)
{
    (void)state;
    begin(ptoa(NPAGES) - 100);
    for (vm_pindex_t i = 0; i < NPAGES; i++)
        read_page(i);
    assert_int_equal(resident(0, NPAGES), NPAGES);
    assert_int_equal(advise(ptoa(10) + 1, ptoa(5), FL_FADV_DONTNEED), 0); /* 11 … 14 lie in it */
    assert_int_equal(resident(0, NPAGES), NPAGES - 4);
    assert_int_equal(resident(11, 15), 0);
    /* the last one's end */
    assert_int_equal(advise(ptoa(150), ptoa(NPAGES - 150) - 100, FL_FADV_DONTNEED), 0);
    assert_int_equal(resident(150, NPAGES), 0);
    assert_int_equal(advise(0, 0, FL_FADV_DONTNEED), 0);
    assert_int_equal(resident(0, NPAGES), 0);
    read_page(12);
    one_file_end();
}

static void dontneed_writes_what_is_dirty_and_keeps_what_is_mapped(void **state)
{
    (void)state;
    begin(ptoa(NPAGES));
    for (vm_pindex_t i = 0; i < NPAGES; i++)
        read_page(i);
    int64_t va = fl_sys_mmap(map, 0, ptoa(10), VM_PROT_READ, FL_MAP_SHARED, &file, ptoa(50));
    assert_true(va > 0);
    write_byte(ptoa(7), 99);
    assert_int_equal(advise(0, 0, FL_FADV_DONTNEED), 0);
    assert_int_equal(resident(50, 60), 10);
    assert_int_equal(resident(0, NPAGES), 10 + resident(7, 8)); /* it may still be in write-back */
    settle();
    assert_int_equal(disk_byte(ptoa(7)), 99);
    assert_int_equal(advise(0, 0, FL_FADV_DONTNEED), 0);
    assert_int_equal(resident(7, 8), 0);
    assert_int_equal(test_load8(map, (vm_offset_t)va), test_byte(ptoa(50)));
    assert_int_equal(fl_sys_munmap(map, (vm_offset_t)va, ptoa(10)), 0);
    assert_int_equal(advise(0, 0, FL_FADV_DONTNEED), 0);
    assert_int_equal(resident(0, NPAGES), 0);
    one_file_end();
}

static void a_failed_write_is_not_forgotten(void **state)
{
    (void)state;
    begin(ptoa(NPAGES));
    write_byte(ptoa(3) + 1, 42);
    sim_disk_faults(disk)->fail_write_permille = 1000;
    assert_int_equal(advise(0, 0, FL_FADV_DONTNEED), 0);
    settle();
    assert_int_equal(advise(0, 0, FL_FADV_DONTNEED), 0);
    settle();
    assert_int_equal(resident(3, 4), 1);
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    fl_errseq_t told = 0;
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &told), -EIO); /* of the writes that failed */
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &told), 0);
    assert_int_equal(disk_byte(ptoa(3) + 1), 42);
    one_file_end();
}

static void random_is_not_read_ahead_and_normal_is(void **state)
{
    (void)state;
    begin(ptoa(NPAGES));
    assert_int_equal(advise(0, 0, FL_FADV_RANDOM), 0);
    for (vm_pindex_t i = 0; i < 40; i++)
        read_page(i);
    assert_int_equal(sim_disk_counts(disk).reads, 40);
    assert_int_equal(sim_disk_counts(disk).pages_read, 40);
    assert_int_equal(advise(0, 0, FL_FADV_NORMAL), 0);
    for (vm_pindex_t i = 40; i < 160; i++)
        read_page(i);
    assert_true(sim_disk_counts(disk).reads < 40 + 12);
    one_file_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_known_advice_is_taken),
        cmocka_unit_test(willneed_brings_the_pages_that_the_bytes_touch),
        cmocka_unit_test(dontneed_forgets_whole_pages),
        cmocka_unit_test(dontneed_writes_what_is_dirty_and_keeps_what_is_mapped),
        cmocka_unit_test(a_failed_write_is_not_forgotten),
        cmocka_unit_test(random_is_not_read_ahead_and_normal_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
