/*
 * space_test.c: files with holes on a disk that gets full: which call is
 * told, when, and that nothing is lost.
 */
#include "vm/lru.h"
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/odd_store.h"
#include "support/pages.h"
#include "vm/vm_pageout.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PAGES 2048

static vm_offset_t at;

/* A file of PAGES pages, all holes, mapped; the disk has room for `room` pages. */
static void begin(uint64_t seed, uint64_t room)
{
    struct sim_params params = test_params(seed);
    struct sim_disk *thin = sim_disk_create(ptoa(PAGES), seed);
    sim_disk_make_thin(thin, room);
    one_file_boot(&params, thin, RW);
    at = test_mmap(map, &file, FL_MAP_SHARED, PAGES);
    assert_int_equal(fl_sys_madvise(map, at, ptoa(PAGES), FL_MADV_RANDOM), 0); /* each store faults */
}

static void end(void)
{
    *sim_disk_faults(disk) = (struct sim_disk_faults){.room_pages = PAGES};
    one_file_end();
}

static uint8_t value(vm_pindex_t pindex)
{
    return (uint8_t)(1 + pindex % 255);
}

static int store(vm_pindex_t pindex)
{
    uint8_t byte = value(pindex);
    return sim_store(map, at + ptoa(pindex), &byte, 1, NULL);
}

static int sync_all(void)
{
    return fl_sys_msync(map, at, ptoa(PAGES), FL_MS_SYNC);
}

/* ---- a store to a hole --------------------------------------------------------------------------------- */

static void a_full_disk_is_told_to_the_store(void **state)
{
    (void)state;
    begin(1, 100);
    for (vm_pindex_t i = 0; i < 100; i++)
        assert_int_equal(store(2 * i), 0);
    assert_int_equal(store(777), -ENOSPC);
    assert_int_equal(test_load8(map, at + ptoa(777)), 0); /* reads need no space */
    assert_int_equal(store(777), -ENOSPC);                /* nor can it be written now */
    assert_int_equal(store(42), 0);
    struct fl_hold hold;
    assert_int_equal(fl_hold(map, at + ptoa(500), ptoa(1), VM_PROT_WRITE, &hold), -ENOSPC);
    assert_int_equal(fl_hold(map, at + ptoa(500), ptoa(1), VM_PROT_READ, &hold), 0);
    fl_unhold(&hold);
    assert_int_equal(sync_all(), 0); /* pages with allocated space are written */
    for (vm_pindex_t i = 0; i < 100; i++)
        assert_int_equal(disk_byte(ptoa(2 * i)), value(2 * i));
    sim_disk_faults(disk)->room_pages = 1;
    assert_int_equal(store(777), 0);
    assert_int_equal(store(779), -ENOSPC);
    end();
}

/* The last pages of a disk are allocated one by one, although a stream allocates many at a time. */
static void a_stream_gets_the_last_page(void **state)
{
    (void)state;
    for (uint64_t room = 90; room < 110; room++) {
        begin(2, room);
        for (vm_pindex_t i = 0; i < room; i++)
            assert_int_equal(store(i), 0);
        assert_int_equal(store(room), -ENOSPC);
        assert_int_equal(sim_disk_space(disk), room);
        end();
    }
}

static void a_stream_asks_seldom_and_others_take_no_more_than_they_need(void **state)
{
    (void)state;
    begin(3, PAGES);
    uint64_t before = sim_disk_counts(disk).allocations;
    for (vm_pindex_t i = 0; i < 1024; i++)
        for (vm_pindex_t stream = 0; stream < 2; stream++)
            assert_int_equal(store(stream * 1024 + i), 0);
    assert_true(sim_disk_counts(disk).allocations - before <= 26);
    end();
    begin(3, PAGES);
    for (vm_pindex_t i = 0; i < 200; i++)
        assert_int_equal(store(i * 7 % 200 * 10), 0);
    assert_int_equal(sim_disk_space(disk), 200);
    end();
}

/* Where each page has its space, the store is not asked; until there may be holes again. */
static void a_file_without_holes_costs_nothing(void **state)
{
    (void)state;
    begin(4, PAGES);
    uint64_t len = ptoa(PAGES);
    assert_int_equal(fl_vnode_allocate(file.vnode, 0, &len), 0);
    uint64_t before = sim_disk_counts(disk).allocations;
    for (vm_pindex_t i = 0; i < PAGES; i += 3)
        assert_int_equal(store(i), 0);
    assert_int_equal(sim_disk_counts(disk).allocations, before);
    assert_int_equal(atomic_load(&file.vnode->holes), 0);

    sim_disk_faults(disk)->room_pages = 0;
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(10), ptoa(4)), 0);
    for (vm_pindex_t i = 10; i < 14; i++)
        assert_int_equal(store(i), 0); /* the space that the hole had */
    sim_disk_faults(disk)->room_pages = 0;
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(PAGES - 5)), 0);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(PAGES)), 0);
    sim_disk_faults(disk)->room_pages = 2;
    assert_int_equal(store(PAGES - 1), 0);
    assert_int_equal(store(PAGES - 3), 0);
    assert_int_equal(store(PAGES - 5), -ENOSPC);
    assert_int_equal(store(PAGES - 6), 0);
    end();
}

/*
 * There is more room than pages can be dirty, so nothing is allocated ahead. Then others fill the disk: only
 * few pages have no space; they stay dirty and are written later, and stores fail from then on.
 */
static void a_disk_with_much_room_is_left_alone(void **state)
{
    (void)state;
    begin(11, UINT32_MAX);
    for (vm_pindex_t i = 0; i < 1000; i++)
        assert_int_equal(store(i), 0);
    assert_int_equal(sim_disk_counts(disk).allocations, 0);
    assert_int_equal(sync_all(), 0);
    sim_disk_faults(disk)->room_pages = 0;
    vm_pindex_t n = 1000;
    while (n < PAGES && store(n) == 0)
        n++;
    assert_true(n - 1000 < SPACE_CREDIT);
    assert_int_equal(store(n), -ENOSPC);
    assert_int_equal(sync_all(), -ENOSPC);
    assert_int_equal(store(10), 0); /* has its space */
    sim_disk_faults(disk)->room_pages = PAGES;
    assert_int_equal(store(n), 0);
    (void)!sync_all(); /* whether a write failed since the last time */
    assert_int_equal(sync_all(), 0);
    for (vm_pindex_t i = 0; i <= n; i++)
        assert_int_equal(disk_byte(ptoa(i)), value(i));
    end();
}

/* What a private mapping writes never goes to the disk. */
static void a_private_store_needs_no_space(void **state)
{
    (void)state;
    begin(5, 0);
    vm_offset_t private = (vm_offset_t)fl_sys_mmap(map, 0, ptoa(4), PROT_RW, FL_MAP_PRIVATE, &file, 0);
    test_store8(map, private, 1);
    assert_int_equal(store(0), -ENOSPC);
    end();
}

static void part_of_a_write_that_has_room_is_told(void **state)
{
    (void)state;
    begin(6, 10);
    uint64_t len = ptoa(16);
    assert_int_equal(fl_vnode_allocate(file.vnode, ptoa(PAGES) - ptoa(2), &len), 0);
    assert_true(len == ptoa(8)); /* half of the pages had room */
    len = ptoa(3);
    assert_int_equal(fl_vnode_allocate(file.vnode, 0, &len), 0);
    assert_true(len == ptoa(1));
    sim_disk_faults(disk)->room_pages = 0;
    len = 5;
    assert_int_equal(fl_vnode_allocate(file.vnode, ptoa(5), &len), -ENOSPC);
    assert_true(len == 5);
    assert_int_equal(fl_vnode_allocate(file.vnode, UINT64_MAX - 2, &len), -EINVAL);
    end();
}

/* ---- memory full of what cannot be written ------------------------------------------------------------- */

/* Stores to one page after another until a store fails. Returns how many succeeded. */
static vm_pindex_t store_until(int *error)
{
    vm_pindex_t i = 0;
    while (i < PAGES && (*error = store(i)) == 0)
        i++;
    return i;
}

static void failing_writes(int error, enum odd_store_when when)
{
    struct sim_params params = test_params(7);
    struct fl_hold hold;
    uint8_t byte = 0;
    int said;
    disk = sim_disk_create(ptoa(PAGES), 7);
    test_boot(&params);
    file = (struct fl_file){.mode = RW};
    assert_int_equal(fl_vnode_open(odd_store(sim_disk_open(disk, false), when), &file.vnode), 0);
    map = test_space();
    at = (vm_offset_t)fl_sys_mmap(map, 0, ptoa(PAGES), PROT_RW, FL_MAP_SHARED, &file, 0);
    vm_offset_t anonymous =
        (vm_offset_t)fl_sys_mmap(map, 0, ptoa(PAGES), PROT_RW, FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, NULL, 0);
    fl_errseq_t since = fl_vnode_errseq(file.vnode);
    struct sim_disk_faults *faults = sim_disk_faults(disk);
    faults->fail_write_permille = 1000;
    faults->error = error;

    assert_int_equal(fl_vnode_write_error(file.vnode), 0);
    vm_pindex_t n = store_until(&said);
    assert_true(n > 100 && n < 256);
    assert_int_equal(said, error);
    assert_int_equal(fl_vnode_write_error(file.vnode), error);
    assert_int_equal(store(n), error); /* again and again */
    assert_int_equal(sim_load(map, at + ptoa(PAGES - 1), &byte, 1, NULL), error);
    assert_int_equal(sim_store(map, anonymous, &byte, 1, NULL), error);
    assert_int_equal(fl_hold(map, at + ptoa(n), 1, VM_PROT_WRITE, &hold), error);
    struct fl_iocb iocb = {.offset = ptoa(n)};
    assert_int_equal(fl_vnode_write(file.vnode, &(struct fl_iovec){&byte, 1}, 1, &iocb), error);
    assert_int_equal(fl_vnode_read(file.vnode, &(struct fl_iovec){&byte, 1}, 1, &iocb), error);
    assert_int_equal(store(3), 0); /* a resident dirty page can be stored to */
    assert_int_equal(sync_all(), error);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &since), error);

    *faults = (struct sim_disk_faults){0};
    for (vm_pindex_t i = n; i < PAGES; i++)
        assert_int_equal(store(i), 0);
    (void)!sync_all(); /* whether a write failed since the last time */
    assert_int_equal(sync_all(), 0);
    assert_int_equal(fl_vnode_write_error(file.vnode), 0);
    for (vm_pindex_t i = 0; i < PAGES; i++)
        assert_int_equal(disk_byte(ptoa(i)), value(i));
    fl_space_destroy(map);
    assert_int_equal(fl_vnode_close(file.vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
}

static void what_writes_say_is_said_when_memory_is_full_of_them(void **state)
{
    (void)state;
    failing_writes(-EIO, ODD_IN_SUBMIT);
    failing_writes(-ENOSPC, ODD_IN_SUBMIT);
    failing_writes(-ENOSPC, ODD_IN_WAIT);
    failing_writes(-EDQUOT, ODD_IN_WAIT);
}

/* One file cannot be written, but memory is not full of its pages, so other files are not affected. */
static void a_file_that_fails_does_not_stop_another(void **state)
{
    (void)state;
    begin(8, PAGES);
    struct sim_disk *other = sim_disk_create(ptoa(PAGES), 9);
    struct fl_file well = test_file(other, RW);
    vm_offset_t there = (vm_offset_t)fl_sys_mmap(map, 0, ptoa(PAGES), PROT_RW, FL_MAP_SHARED, &well, 0);
    sim_disk_faults(disk)->fail_write_permille = 1000;
    for (vm_pindex_t i = 0; i < 100; i++)
        assert_int_equal(store(i), 0);
    for (vm_pindex_t i = 0; i < PAGES; i++)
        test_store8(map, there + ptoa(i), value(i));
    assert_int_equal(fl_vnode_write_error(well.vnode), 0);
    sim_disk_faults(disk)->fail_write_permille = 0;
    (void)!sync_all();
    assert_int_equal(sync_all(), 0);
    for (vm_pindex_t i = 0; i < 100; i++)
        assert_int_equal(disk_byte(ptoa(i)), value(i));
    assert_int_equal(fl_sys_munmap(map, there, ptoa(PAGES)), 0);
    assert_int_equal(fl_vnode_close(well.vnode), 0);
    end();
    sim_disk_destroy(other);
}

/* If no write failed, private pages fill memory, and the error says so. */
static void private_pages_are_not_blamed_on_the_disk(void **state)
{
    (void)state;
    begin(10, PAGES);
    vm_offset_t anonymous =
        (vm_offset_t)fl_sys_mmap(map, 0, ptoa(PAGES), PROT_RW, FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, NULL, 0);
    uint8_t byte = 1;
    int error = 0;
    for (vm_pindex_t i = 0; i < PAGES && error == 0; i++)
        error = sim_store(map, anonymous + ptoa(i), &byte, 1, NULL);
    assert_int_equal(error, -ENOMEM);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_is_told_to_the_store),
        cmocka_unit_test(a_stream_gets_the_last_page),
        cmocka_unit_test(a_stream_asks_seldom_and_others_take_no_more_than_they_need),
        cmocka_unit_test(a_file_without_holes_costs_nothing),
        cmocka_unit_test(a_disk_with_much_room_is_left_alone),
        cmocka_unit_test(a_private_store_needs_no_space),
        cmocka_unit_test(part_of_a_write_that_has_room_is_told),
        cmocka_unit_test(what_writes_say_is_said_when_memory_is_full_of_them),
        cmocka_unit_test(a_file_that_fails_does_not_stop_another),
        cmocka_unit_test(private_pages_are_not_blamed_on_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
