/*
 * frames_test.c: frames that the host takes out of the budget: how many it gets, what the VM does without
 * them, and who hears when they come back.
 */
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/pages.h"
#include "vm/vm_pageout.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NFRAMES  256
#define RESERVED 20
#define PAGES    NFRAMES /* of the file: more than memory has, once frames are taken */

static vm_offset_t view;

static void begin(bool superpages)
{
    struct sim_params params = test_params(test_seed(41));
    params.nframes = superpages ? 1024 : NFRAMES;
    params.free_reserved = RESERVED;
    params.superpages = superpages;
    one_file_boot(&params, test_disk(ptoa(PAGES), VM_PAGE_SIZE, params.seed), RW);
    test_fill(disk);
    view = test_mmap(map, &file, FL_MAP_SHARED, PAGES);
}

static struct fl_vm_stats now(void)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    return stats;
}

/* Takes all that the host may have, one at a time. */
static uint32_t take_all(void)
{
    uint32_t n = 0;
    while (fl_frames_take(1) == 0)
        n++;
    return n;
}

static void taken_frames_are_counted(void **state)
{
    (void)state;
    for (uint32_t superpages = 0; superpages <= 1; superpages++) {
        begin(superpages != 0);
        (void)test_load8(map, view); /* with superpages: a reservation of 512 frames */
        struct fl_vm_stats before = now();
        assert_int_equal(before.taken, 0);
        assert_int_equal(fl_frames_take(50), 0);
        assert_int_equal(fl_frames_take(7), 0);
        assert_int_equal(now().taken, 57);
        assert_int_equal(now().free, before.free - 57);
        assert_int_equal(now().wired, before.wired);
        assert_true(now().peak_used >= 57);
        fl_vm_check();
        fl_frames_give(50);
        assert_int_equal(now().taken, 7);
        fl_frames_give(7);
        assert_int_equal(now().free, before.free);
        one_file_end();
    }
}

/* The host gets half of page-out's reserve, and not more. */
static void half_of_the_reserve_is_left(void **state)
{
    (void)state;
    begin(false);
    uint64_t free = now().free;
    assert_int_equal(fl_frames_take((uint32_t)free - RESERVED / 2 + 1), -ENOMEM);
    assert_int_equal(fl_frames_take(UINT32_MAX), -ENOMEM);
    assert_int_equal(now().taken, 0); /* all or none */
    uint32_t n = take_all();
    assert_int_equal(n, free - RESERVED / 2);
    assert_int_equal(now().free, RESERVED / 2);
    fl_vm_check();
    fl_frames_give(n);
    one_file_end();
}

/* The file has more pages than are left: each is right, and the daemon makes room. */
static void the_vm_lives_in_the_rest(void **state)
{
    (void)state;
    begin(false);
    assert_int_equal(fl_frames_take(NFRAMES / 2), 0);
    for (uint64_t i = 0; i < PAGES; i++)
        assert_int_equal(test_load8(map, view + ptoa(i) + i), test_byte(ptoa(i) + i));
    assert_true(now().active + now().inactive <= NFRAMES / 2 - RESERVED);
    fl_vm_check();
    fl_frames_give(NFRAMES / 2);
    one_file_end();
}

/* Taking frames wakes the page daemon, when few are left. */
static void the_daemon_hears_of_it(void **state)
{
    (void)state;
    begin(false);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(test_load8(map, view + ptoa(i)), test_byte(ptoa(i)));
    uint32_t n = take_all();
    for (uint32_t i = 0; i < 10000 && now().free < vm_pageout.free_min; i++)
        sim_yield();
    assert_true(now().free >= vm_pageout.free_min);
    fl_frames_give(n);
    one_file_end();
}

static void load_one(void *arg)
{
    *(uint8_t *)arg = test_load8(map, view);
}

/*
 * A fault that waits for memory goes on when the host gives frames back. It waits, and does not fail, because
 * the one page that there is may become free: it is busy.
 */
static void a_waiting_fault_gets_them(void **state)
{
    (void)state;
    begin(false);
    assert_int_equal(test_load8(map, view + ptoa(1)), test_byte(ptoa(1)));
    struct vm_object *object = test_object(file.vnode);
    vm_lock(&object->lock);
    struct vm_page *m = vm_page_lookup(object, 1);
    vm_page_xbusy(m);
    vm_unlock(&object->lock);
    uint32_t n = take_all();
    uint8_t byte = 0;
    sim_run("loader", load_one, &byte);
    for (uint32_t i = 0; i < 100; i++)
        sim_yield();
    uint64_t waited = machine_time_ns();
    fl_frames_give(n);
    sim_join_all();
    assert_int_equal(byte, test_byte(0));
    assert_true(machine_time_ns() - waited < 1000000); /* it was woken, and did not look again by itself */
    vm_lock(&object->lock);
    vm_page_xunbusy(m);
    vm_unlock(&object->lock);
    vm_object_deallocate(object);
    one_file_end();
}

static void taking_can_be_made_to_fail(void **state)
{
    (void)state;
    begin(false);
    sim_torture()->fail_alloc_nth = 2;
    assert_int_equal(fl_frames_take(1), 0);
    assert_int_equal(fl_frames_take(1), -ENOMEM);
    assert_int_equal(fl_frames_take(1), 0);
    assert_int_equal(now().taken, 2);
    fl_frames_give(2);
    one_file_end();
}

static void give_too_many(void *arg)
{
    (void)arg;
    assert_int_equal(fl_frames_take(3), 0);
    fl_frames_give(4);
}

static void keep_some(void *arg)
{
    (void)arg;
    assert_int_equal(fl_frames_take(3), 0);
    one_file_end();
}

static void mistakes_panic(void **state)
{
    (void)state;
    begin(false);
    assert_true(test_panics(give_too_many, NULL, "PH5"));
    assert_true(test_panics(keep_some, NULL, "leak: 253 pages are free, 256 were after boot"));
    one_file_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken_frames_are_counted),
        cmocka_unit_test(half_of_the_reserve_is_left),
        cmocka_unit_test(the_vm_lives_in_the_rest),
        cmocka_unit_test(the_daemon_hears_of_it),
        cmocka_unit_test(a_waiting_fault_gets_them),
        cmocka_unit_test(taking_can_be_made_to_fail),
        cmocka_unit_test(mistakes_panic),
    };
    return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}
