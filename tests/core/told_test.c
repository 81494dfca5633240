/*
 * told_test.c: who is told of a failed write-back: each descriptor and each mapping, once, whichever of them
 * wrote. The page stays dirty and is written once the disk works again.
 */
#include "file/writeback.h"
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/pages.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define FILE_PAGES 32

static struct fl_file other;

static void begin(struct sim_params params)
{
    params.no_flusher = true;
    one_file_boot(&params, test_disk(ptoa(FILE_PAGES), VM_PAGE_SIZE, params.seed), RW);
    other = test_file(disk, RW);
}

static void end(void)
{
    assert_int_equal(fl_vnode_close(other.vnode), 0);
    one_file_end();
}

static vm_offset_t map_file(const struct fl_file *by, vm_pindex_t npages)
{
    return test_mmap(map, by, FL_MAP_SHARED, npages);
}

static int msync(vm_offset_t va, vm_pindex_t npages)
{
    return fl_sys_msync(map, va, ptoa(npages), FL_MS_SYNC);
}

/* A page becomes dirty and its background write-back fails; the disk works again afterwards. */
static void fail_in_background(vm_offset_t va, int error)
{
    test_store8(map, va, 1);
    *sim_disk_faults(disk) = (struct sim_disk_faults){.fail_write_permille = 1000, .error = error};
    assert_int_equal(fl_vnode_sync_range(file.vnode, 0, 0, FL_SYNC_FILE_RANGE_WRITE, NULL), 0);
    filemap_fdatawait_range(vnode_object(file.vnode), 0, FILE_PAGES);
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
}

static bool is_dirty(vm_pindex_t pindex)
{
    return (test_page_flags(vnode_object(file.vnode), pindex) & PG_DIRTY) != 0;
}

/* ---- descriptors --------------------------------------------------------------------------------------- */

static void each_descriptor_is_told_once(void **state)
{
    (void)state;
    begin(test_params(1));
    vm_offset_t va = map_file(&file, 4);
    fail_in_background(va, -ENOSPC);
    assert_true(is_dirty(0) && disk_byte(0) == test_byte(0));
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &file.told), -ENOSPC);
    assert_true(!is_dirty(0) && disk_byte(0) == 1); /* told of the first try; the second succeeded */
    assert_int_equal(fl_vnode_fsync(file.vnode, FL_FSYNC_DATA, &file.told), 0);
    assert_int_equal(fl_vnode_fsync(other.vnode, FL_FSYNC_DATA, &other.told), -ENOSPC);
    assert_int_equal(fl_vnode_fsync(other.vnode, 0, &other.told), 0);
    assert_int_equal(fl_vnode_fsync(other.vnode, 0, NULL), 0);
    assert_int_equal(fl_vnode_fsync(other.vnode, 2, &other.told), -EINVAL);
    assert_int_equal(msync(va, 4), -ENOSPC); /* a mapping is told like a descriptor */
    assert_int_equal(msync(va, 4), 0);
    end();
}

static void a_later_open_is_told_of_an_unreported_error(void **state)
{
    (void)state;
    begin(test_params(2));
    fail_in_background(map_file(&file, 4), -EIO);
    fl_errseq_t later = fl_vnode_errseq(file.vnode);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &later), -EIO);
    fl_errseq_t too_late = fl_vnode_errseq(file.vnode);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &too_late), 0);
    end();
}

static void a_failure_of_the_call_itself_is_told_by_it(void **state)
{
    (void)state;
    begin(test_params(3));
    vm_offset_t va = map_file(&file, 4);
    test_store8(map, va, 1);
    sim_disk_faults(disk)->fail_write_permille = 1000;
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &file.told), -EIO);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &file.told), -EIO); /* tried again, failed again */
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), -EIO);
    assert_true(is_dirty(0));
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    /* errors of other callers are not reported to it */
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_true(!is_dirty(0) && disk_byte(0) == 1);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &file.told), -EIO);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &file.told), 0);
    end();
}

static void a_failed_flush_is_told_to_all(void **state)
{
    (void)state;
    begin(test_params(4));
    vm_offset_t va = map_file(&file, 4);
    test_store8(map, va, 1);
    sim_disk_faults(disk)->fail_flush_nth = 1;
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &file.told), -EIO);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &file.told), 0);
    assert_int_equal(fl_vnode_fsync(other.vnode, 0, &other.told), -EIO);
    assert_int_equal(msync(va, 4), -EIO);
    assert_int_equal(msync(va, 4), 0);
    end();
}

/* ---- mappings ------------------------------------------------------------------------------------------ */

static void each_mapping_is_told_once(void **state)
{
    (void)state;
    begin(test_params(5));
    vm_offset_t first = map_file(&file, 8), second = map_file(&other, 8);
    fail_in_background(first, -EIO);
    assert_int_equal(msync(second, 8), -EIO);
    assert_int_equal(msync(second, 8), 0);
    assert_int_equal(msync(first + ptoa(4), 4), -EIO); /* of the mapping, not of the range */
    assert_int_equal(msync(first, 8), 0);
    end();
}

static void a_mapping_starts_with_what_its_descriptor_was_told(void **state)
{
    (void)state;
    begin(test_params(6));
    fail_in_background(map_file(&file, 4), -EIO);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &file.told), -EIO);
    assert_int_equal(msync(map_file(&file, 4), 4), 0);
    assert_int_equal(msync(map_file(&other, 4), 4), -EIO);
    end();
}

/*
 * A mapping is split and merged: an error that neither half was told of is still told, and an error that one
 * half was told of counts as told to the whole.
 */
static void parts_of_a_mapping(void **state)
{
    (void)state;
    begin(test_params(7));
    vm_offset_t va = map_file(&file, 8);
    fail_in_background(va, -EIO);
    assert_int_equal(fl_sys_mprotect(map, va + ptoa(4), ptoa(4), VM_PROT_READ), 0);
    assert_int_equal(msync(va, 4), -EIO);
    assert_int_equal(msync(va, 4), 0);
    assert_int_equal(fl_sys_mprotect(map, va + ptoa(4), ptoa(4), PROT_RW), 0); /* one again */
    assert_int_equal(msync(va, 8), -EIO);
    assert_int_equal(msync(va, 8), 0);
    fail_in_background(va, -EIO);
    int64_t to = fl_sys_mremap(map, va, ptoa(8), ptoa(12), FL_MREMAP_MAYMOVE, 0);
    assert_true(to > 0);
    assert_int_equal(msync((vm_offset_t)to, 12), -EIO);
    assert_int_equal(msync((vm_offset_t)to, 12), 0);
    sim_vm_check();
    end();
}

static void asynchronous_msync_starts_and_does_not_wait(void **state)
{
    (void)state;
    begin(test_params(8));
    vm_offset_t va = map_file(&file, 4);
    test_store8(map, va, 1);
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 1000000;
    uint64_t start = machine_time_ns();
    assert_int_equal(fl_sys_msync(map, va, ptoa(4), FL_MS_ASYNC), 0);
    assert_true(machine_time_ns() - start < 1000000);
    assert_int_equal(sim_disk_counts(disk).writes, 1);
    sim_sleep_ns(2000000);
    assert_true(!is_dirty(0) && disk_byte(0) == 1);
    end();
}

/* ---- sync_file_range ----------------------------------------------------------------------------------- */

#define WAIT_BEFORE FL_SYNC_FILE_RANGE_WAIT_BEFORE
#define WRITE       FL_SYNC_FILE_RANGE_WRITE
#define WAIT_AFTER  FL_SYNC_FILE_RANGE_WAIT_AFTER

static int sync_range(uint64_t offset, uint64_t len_bytes, unsigned flags)
{
    return fl_vnode_sync_range(file.vnode, offset, len_bytes, flags, &file.told);
}

static void ranges_are_started_and_waited_for(void **state)
{
    (void)state;
    begin(test_params(9));
    vm_offset_t va = map_file(&file, 8);
    assert_int_equal(sync_range(0, 0, 8), -EINVAL);
    assert_int_equal(sync_range(UINT64_MAX - 10, 100, WRITE), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, va, ptoa(8), FL_MADV_RANDOM), 0); /* each store faults */
    for (vm_pindex_t i = 0; i < 8; i++)
        test_store8(map, va + ptoa(i), 1);
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 1000000;
    assert_int_equal(sync_range(ptoa(1) + 5, VM_PAGE_SIZE, WRITE), 0); /* two pages, not waited for */
    assert_true(is_dirty(0) && !is_dirty(1) && !is_dirty(2) && is_dirty(3));
    assert_true(disk_byte(ptoa(1)) == test_byte(ptoa(1)));
    assert_int_equal(sync_range(ptoa(1), ptoa(2), WAIT_BEFORE), 0);
    assert_true(disk_byte(ptoa(1)) == 1 && disk_byte(ptoa(2)) == 1 && is_dirty(3));
    assert_int_equal(sync_range(ptoa(3), ptoa(1), WAIT_BEFORE | WRITE | WAIT_AFTER), 0);
    assert_true(disk_byte(ptoa(3)) == 1 && is_dirty(4));
    assert_int_equal(sync_range(0, 0, WRITE), 0);
    for (vm_pindex_t i = 0; i < 8; i++)
        assert_true(!is_dirty(i));
    assert_int_equal(sync_range(0, 0, WAIT_AFTER), 0);
    assert_int_equal(disk_byte(ptoa(7)), 1);
    assert_int_equal(sim_disk_counts(disk).flushes, 0); /* no promise */
    end();
}

static void ranges_that_fail_are_told_by_who_waits(void **state)
{
    (void)state;
    begin(test_params(10));
    vm_offset_t va = map_file(&file, 8);
    test_store8(map, va, 1);
    sim_disk_faults(disk)->fail_write_permille = 1000;
    sim_disk_faults(disk)->error = -ENOSPC;
    assert_int_equal(sync_range(0, 0, WRITE), 0);
    assert_int_equal(sync_range(0, 0, WAIT_BEFORE), -ENOSPC);
    assert_int_equal(sync_range(0, 0, WAIT_BEFORE), 0);
    assert_int_equal(fl_vnode_sync_range(file.vnode, 0, 0, WRITE | WAIT_AFTER, NULL), -ENOSPC);
    assert_true(is_dirty(0));
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    assert_int_equal(fl_vnode_sync_range(file.vnode, 0, 0, WRITE | WAIT_AFTER, NULL), 0);
    assert_true(!is_dirty(0) && disk_byte(0) == 1);
    end();
}

/* ---- against a model ----------------------------------------------------------------------------------- */

#define LISTENERS 6

/*
 * Random writes fail or succeed, whichever caller started them. Each listener, a descriptor or a mapping, is
 * told exactly when a write failed since it was last told.
 */
static void many_listeners(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(11));
    for (uint64_t round = 0; round < test_rounds(20); round++) {
        fl_errseq_t told[LISTENERS] = {0};
        vm_offset_t va[LISTENERS];
        bool due[2][LISTENERS] = {{false}};
        begin(test_params(prng_next(&prng)));
        for (uint32_t i = 0; i < LISTENERS; i++)
            va[i] = map_file(&file, FILE_PAGES);
        for (uint32_t step = 0; step < 60; step++) {
            uint32_t i = (uint32_t)prng_below(&prng, LISTENERS);
            if (prng_chance(&prng, 300)) {
                fail_in_background(va[i] + ptoa(prng_below(&prng, FILE_PAGES)), -EIO);
                memset(due, true, sizeof due);
            } else if (prng_chance(&prng, 500)) {
                assert_int_equal(fl_vnode_fsync(file.vnode, 0, &told[i]), due[0][i] ? -EIO : 0);
                due[0][i] = false;
            } else {
                assert_int_equal(msync(va[i], FILE_PAGES), due[1][i] ? -EIO : 0);
                due[1][i] = false;
            }
        }
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_descriptor_is_told_once),
        cmocka_unit_test(a_later_open_is_told_of_an_unreported_error),
        cmocka_unit_test(a_failure_of_the_call_itself_is_told_by_it),
        cmocka_unit_test(a_failed_flush_is_told_to_all),
        cmocka_unit_test(each_mapping_is_told_once),
        cmocka_unit_test(a_mapping_starts_with_what_its_descriptor_was_told),
        cmocka_unit_test(parts_of_a_mapping),
        cmocka_unit_test(asynchronous_msync_starts_and_does_not_wait),
        cmocka_unit_test(ranges_are_started_and_waited_for),
        cmocka_unit_test(ranges_that_fail_are_told_by_who_waits),
        cmocka_unit_test(many_listeners),
    };
    return cmocka_run_group_tests_name("told", tests, NULL, NULL);
}
