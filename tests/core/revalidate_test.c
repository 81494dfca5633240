/*
 * revalidate_test.c: files that changed behind the VM's back: what
 * mappings show then, which pages stay, and what is reported.
 */
#include "support/one_file.h"
#include "vm/vm_page.h"
#include "file/vnode_pager.h"
#include "lib/errno.h"
#include "support/odd_store.h"
#include "support/memory_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NPAGES 8
#define NEW    0xab

static vm_offset_t shared, private;

static void begin(uint64_t seed)
{
    struct sim_params params = test_params(seed);
    params.torture.copy_first = seed % 2;
    one_file_boot(&params, test_disk(ptoa(NPAGES), VM_PAGE_SIZE, seed), RW);
    shared = test_mmap(map, &file, FL_MAP_SHARED, NPAGES);
    private = test_mmap(map, &file, FL_MAP_PRIVATE, NPAGES);
}

static unsigned revalidate(bool own)
{
    unsigned what;
    assert_int_equal(fl_vnode_revalidate(file.vnode, own, &what), 0);
    return what;
}

static void change(uint64_t offset)
{
    const uint8_t byte = NEW;
    sim_disk_write(disk, offset, &byte, 1);
}

static uint8_t read_byte(uint64_t offset)
{
    uint8_t byte = 0;
    struct fl_iovec piece = {&byte, 1};
    struct fl_iocb iocb = {.offset = offset};
    assert_int_equal(fl_vnode_read(file.vnode, &piece, 1, &iocb), 1);
    return byte;
}

static uint64_t page_ins(void)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    return stats.page_ins;
}

static void touch_all(void)
{
    for (uint64_t i = 0; i < NPAGES; i++) {
        (void)test_load8(map, shared + ptoa(i));
        (void)test_load8(map, private + ptoa(i));
    }
}

static void nothing_changed_nothing_goes(void **state)
{
    (void)state;
    begin(1);
    touch_all();
    uint64_t before = page_ins();
    assert_int_equal(revalidate(false), 0);
    touch_all();
    assert_int_equal(page_ins(), before);
    one_file_end();
}

static void what_is_clean_is_read_anew(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2; seed++) {
        begin(seed);
        touch_all();
        test_store8(map, private + ptoa(2) + 1, 7); /* a private copy from now on */
        change(ptoa(1) + 5);
        change(ptoa(2) + 5);
        assert_int_equal(test_load8(map, shared + ptoa(1) + 5), test_byte(ptoa(1) + 5));
        assert_int_equal(revalidate(false), FL_CHANGED | FL_CHANGED_BYTES);
        assert_int_equal(test_load8(map, shared + ptoa(1) + 5), NEW);
        assert_int_equal(test_load8(map, private + ptoa(1) + 5), NEW);
        assert_int_equal(read_byte(ptoa(2) + 5), NEW);
        assert_int_equal(test_load8(map, private + ptoa(2) + 5), test_byte(ptoa(2) + 5));
        assert_int_equal(test_load8(map, private + ptoa(2) + 1), 7);
        assert_int_equal(revalidate(false), 0);
        one_file_end();
    }
}

static void the_length_is_known_anew(void **state)
{
    (void)state;
    begin(3);
    uint8_t byte;
    touch_all();
    sim_disk_truncate(disk, ptoa(2) + 10);
    assert_int_equal(revalidate(false), FL_CHANGED | FL_CHANGED_BYTES);
    assert_int_equal(sim_load(map, shared + ptoa(3), &byte, 1, NULL), -ENXIO);
    assert_int_equal(test_load8(map, shared + ptoa(2) + 10), 0);
    change(ptoa(6) - 1);
    assert_int_equal(revalidate(false), FL_CHANGED | FL_CHANGED_BYTES);
    assert_int_equal(test_load8(map, shared + ptoa(6) - 1), NEW);
    assert_int_equal(test_load8(map, shared + ptoa(3)), 0);
    one_file_end();
}

/* A dirty page is newer than the file. It stays, and the conflict with the other writer is reported. */
static void what_is_dirty_stays_and_is_told(void **state)
{
    (void)state;
    begin(4);
    uint8_t byte;
    touch_all();
    test_store8(map, shared + ptoa(1), 7);
    change(ptoa(1) + 1);
    change(ptoa(3));
    assert_int_equal(revalidate(false), FL_CHANGED | FL_CHANGED_BYTES | FL_CHANGED_OVERWRITTEN);
    assert_int_equal(test_load8(map, shared + ptoa(1)), 7);
    assert_int_equal(test_load8(map, shared + ptoa(3)), NEW);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    sim_disk_read(disk, ptoa(1), &byte, 1);
    assert_int_equal(byte, 7);
    one_file_end();
}

/*
 * A system call of the host holds the page: the revalidation does not wait
 * for it, and the first one after the hold removes the page.
 */
static void what_is_held_goes_at_the_next_call(void **state)
{
    (void)state;
    begin(5);
    struct fl_hold hold;
    touch_all();
    assert_int_equal(fl_hold(map, shared + ptoa(1), 10, VM_PROT_READ, &hold), 0);
    change(ptoa(1));
    assert_int_equal(revalidate(false), FL_CHANGED | FL_CHANGED_BYTES | FL_CHANGED_LATER);
    assert_int_equal(revalidate(false), FL_CHANGED_LATER);
    fl_unhold(&hold);
    assert_int_equal(revalidate(false), 0);
    assert_int_equal(test_load8(map, shared + ptoa(1)), NEW);
    uint64_t before = page_ins();
    assert_int_equal(revalidate(false), 0);
    assert_int_equal(test_load8(map, shared + ptoa(1)), NEW);
    assert_int_equal(page_ins(), before);
    one_file_end();
}

static void a_change_of_the_callers_own_is_none(void **state)
{
    (void)state;
    begin(6);
    touch_all();
    uint64_t before = page_ins();
    change(ptoa(1));
    assert_int_equal(revalidate(true), 0);
    assert_int_equal(revalidate(false), 0);
    touch_all();
    assert_int_equal(page_ins(), before);
    one_file_end();
}

static void a_store_that_only_the_vm_changes_is_not_asked(void **state)
{
    (void)state;
    begin(7);
    struct fl_file odd = {.mode = FL_FREAD};
    unsigned what = 99;
    assert_int_equal(fl_vnode_open(odd_store(memory_store_pattern(2), ODD_IN_SUBMIT), &odd.vnode), 0);
    assert_int_equal(fl_vnode_revalidate(odd.vnode, false, &what), 0);
    assert_int_equal(what, 0);
    assert_int_equal(fl_vnode_close(odd.vnode), 0);
    one_file_end();
}

static void a_length_that_cannot_be_had_is_an_error(void **state)
{
    (void)state;
    begin(8);
    unsigned what;
    touch_all();
    change(ptoa(1));
    sim_disk_faults(disk)->fail_size_nth = 1;
    assert_int_equal(fl_vnode_revalidate(file.vnode, false, &what), -EIO);
    assert_int_equal(fl_vnode_revalidate(file.vnode, false, &what), 0);
    assert_int_equal(test_load8(map, shared + ptoa(1)), NEW);
    one_file_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changed_nothing_goes),
        cmocka_unit_test(what_is_clean_is_read_anew),
        cmocka_unit_test(the_length_is_known_anew),
        cmocka_unit_test(what_is_dirty_stays_and_is_told),
        cmocka_unit_test(what_is_held_goes_at_the_next_call),
        cmocka_unit_test(a_change_of_the_callers_own_is_none),
        cmocka_unit_test(a_store_that_only_the_vm_changes_is_not_asked),
        cmocka_unit_test(a_length_that_cannot_be_had_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
