/*
 * frames_test.c: frames that the host uses: how many it gets, as a number (fl_frames_take) or as neighbours
 * (fl_frames_alloc), what the VM does without them, and who hears when they come back.
 */
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/pages.h"
#include "vm/vm_pageout.h"
#include "vm/vm_reserv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

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

/* ---- certain frames ----------------------------------------------------------------------------------- */

#define ORDERS VM_PHYS_ORDERS

static vm_frame_t alloc(uint32_t order)
{
    vm_frame_t frame;
    assert_int_equal(fl_frames_alloc(order, &frame), 0);
    assert_int_equal(frame % (1u << order), 0);
    return frame;
}

/* Allocates single frames until there is none. Returns how many, in frame[]. */
static uint32_t alloc_all(vm_frame_t *frame)
{
    uint32_t n = 0;
    while (fl_frames_alloc(0, &frame[n]) == 0)
        n++;
    return n;
}

static void free_all(const vm_frame_t *frame, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        fl_frames_free(frame[i], 0);
}

/* How many blocks of each order are free, of the frames that were ever used. */
static void free_blocks(uint32_t nblocks[ORDERS])
{
    vm_lock(&vm_phys.lock);
    for (uint32_t order = 0; order < ORDERS; order++)
        nblocks[order] = vm_phys.nblocks[order];
    vm_unlock(&vm_phys.lock);
}

/* Blocks of all sizes are aligned, apart from each other, counted, and become what they were. */
static void blocks_of_all_orders(void **state)
{
    (void)state;
    for (uint32_t superpages = 0; superpages <= 1; superpages++) {
        struct sim_params params = test_params(test_seed(42));
        params.nframes = 2048;
        params.superpages = superpages != 0;
        one_file_boot(&params, test_disk(ptoa(1), VM_PAGE_SIZE, params.seed), RW);
        vm_frame_t first[ORDERS];
        static uint8_t used[2048];
        memset(used, 0, sizeof used);
        fl_frames_free(alloc(9), 9);
        fl_frames_free(alloc(8), 8);
        uint32_t before[ORDERS], after[ORDERS];
        free_blocks(before);
        uint64_t free = now().free, wired = now().wired;
        for (uint32_t order = 0; order < ORDERS; order++) {
            first[order] = alloc(order);
            for (uint32_t i = 0; i < 1u << order; i++) {
                assert_int_equal(used[first[order] + i]++, 0);
                assert_null(*fl_frames_owner(first[order] + i));
                *fl_frames_owner(first[order] + i) = &used[first[order] + i];
            }
        }
        assert_int_equal(now().taken, (1u << ORDERS) - 1);
        assert_int_equal(now().free, free - now().taken);
        assert_int_equal(now().wired, wired);
        fl_vm_check();
        for (uint32_t order = 0; order < ORDERS; order++) {
            for (uint32_t i = 0; i < 1u << order; i++)
                assert_ptr_equal(*fl_frames_owner(first[order] + i), &used[first[order] + i]);
            fl_frames_free(first[order], order);
            fl_vm_check();
        }
        assert_int_equal(now().taken, 0);
        free_blocks(after);
        vm_lock(&vm_phys.lock);
        assert_int_equal(vm_phys_listed(), free); /* those that were fresh before are in blocks now */
        vm_unlock(&vm_phys.lock);
        for (uint32_t order = 0; order < ORDERS - 1; order++)
            assert_int_equal(after[order], before[order]);
        vm_frame_t frame;
        assert_int_equal(fl_frames_alloc(ORDERS, &frame), -EINVAL);
        assert_int_equal(fl_frames_alloc(UINT32_MAX, &frame), -EINVAL);
        one_file_end();
    }
}

/* A block may be freed in parts, and its last part joins the others. */
static void parts_of_a_block(void **state)
{
    (void)state;
    begin(false);
    uint32_t before[ORDERS], after[ORDERS];
    fl_frames_free(alloc(4), 4);
    free_blocks(before);
    vm_frame_t frame = alloc(4);
    fl_frames_free(frame + 8, 3);
    fl_frames_free(frame + 1, 0);
    fl_vm_check();
    fl_frames_free(frame + 4, 2);
    fl_frames_free(frame + 2, 1);
    assert_int_equal(now().taken, 1);
    fl_frames_free(frame, 0);
    free_blocks(after);
    assert_memory_equal(before, after, sizeof before);
    one_file_end();
}

/* Where each second frame is in use, there are single frames and no neighbours, until they are freed. */
static void fragments_are_no_block(void **state)
{
    (void)state;
    begin(false);
    vm_frame_t frame[NFRAMES], block;
    uint32_t n = alloc_all(frame), odd = 0;
    for (uint32_t i = 0; i < n; i++)
        if (frame[i] % 2 != 0)
            fl_frames_free(frame[i], 0);
    assert_true(now().free > NFRAMES / 3);
    for (uint32_t order = 4; order < ORDERS; order++) /* the reserve's half is in smaller blocks */
        assert_int_equal(fl_frames_alloc(order, &block), -ENOMEM);
    assert_int_equal(fl_frames_wait(), 0); /* at once: there are frames */
    fl_vm_check();
    for (uint32_t i = 0; i < n; i++)
        if (frame[i] % 2 == 0)
            fl_frames_free(frame[i], 0);
        else
            odd++;
    assert_true(odd > NFRAMES / 3);
    fl_frames_free(alloc(7), 7);
    one_file_end();
}

/* The frames that a reservation keeps without using them are to be had, in blocks too. */
static void reservations_break(void **state)
{
    (void)state;
    begin(true); /* memory is two reservations */
    const uint64_t stretch = ptoa(VM_LEVEL_0_NPAGES);
    vm_offset_t heap = test_mmap(map, NULL, FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, 3 * VM_LEVEL_0_NPAGES);
    vm_offset_t used[2] = {(heap + stretch - 1) / stretch * stretch + ptoa(300)};
    used[1] = used[0] + stretch;
    test_store8(map, used[0], 7);
    test_store8(map, used[1], 8);
    vm_lock(&vm_phys.lock);
    assert_int_equal(vm_phys_listed(), 0);
    vm_unlock(&vm_phys.lock);
    vm_frame_t block[2], none;
    assert_int_equal(fl_frames_alloc(9, &none), -ENOMEM); /* breaks nothing: neither has so many */
    vm_lock(&vm_phys.lock);
    assert_int_equal(vm_phys_listed(), 0);
    vm_unlock(&vm_phys.lock);
    for (uint32_t i = 0; i < 2; i++) {
        block[i] = alloc(8);
        fl_vm_check();
    }
    assert_true(block[0] / VM_LEVEL_0_NPAGES != block[1] / VM_LEVEL_0_NPAGES);
    static vm_frame_t frame[1024];
    uint32_t n = alloc_all(frame);
    assert_int_equal(now().free, RESERVED / 2); /* none is kept from the host */
    fl_vm_check();
    free_all(frame, n);
    fl_frames_free(block[0], 8);
    fl_frames_free(block[1], 8);
    assert_int_equal(test_load8(map, used[0]), 7);
    assert_int_equal(test_load8(map, used[1]), 8);
    one_file_end();
}

/* The host gets all but half of the reserve. The daemon hears of it, and makes room; a wait ends with it. */
static void until_there_are_none(void **state)
{
    (void)state;
    begin(false);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(test_load8(map, view + ptoa(i)), test_byte(ptoa(i)));
    vm_frame_t frame[NFRAMES];
    uint32_t n = alloc_all(frame);
    assert_int_equal(now().free, RESERVED / 2);
    fl_vm_check();
    uint64_t evictions = now().evictions;
    assert_int_equal(fl_frames_wait(), 0); /* a clean page of the file goes */
    assert_true(now().evictions > evictions);
    assert_int_equal(fl_frames_alloc(0, &frame[n]), 0);
    for (uint32_t i = 0; i < 10000 && now().free < vm_pageout.free_min; i++)
        sim_yield();
    assert_true(now().free >= vm_pageout.free_min);
    free_all(frame, n + 1);
    one_file_end();
}

/* Nothing can be freed: whoever waits is told. */
static void a_hopeless_wait_ends(void **state)
{
    (void)state;
    begin(false);
    vm_frame_t frame[NFRAMES];
    uint32_t n = alloc_all(frame);
    assert_int_equal(fl_frames_wait(), -ENOMEM);
    uint8_t byte;
    assert_int_equal(sim_load(map, view, &byte, 1, NULL), -ENOMEM); /* so is a fault */
    free_all(frame, n);
    assert_int_equal(test_load8(map, view), test_byte(0));
    one_file_end();
}

static void wait_one(void *arg)
{
    *(int *)arg = fl_frames_wait();
}

/* A frame that is freed wakes who waits for one. A busy page keeps the wait from being hopeless. */
static void freeing_ends_a_wait(void **state)
{
    (void)state;
    begin(false);
    assert_int_equal(test_load8(map, view + ptoa(1)), test_byte(ptoa(1)));
    struct vm_object *object = test_object(file.vnode);
    vm_lock(&object->lock);
    struct vm_page *m = vm_page_lookup(object, 1);
    vm_page_xbusy(m);
    vm_unlock(&object->lock);
    vm_frame_t frame[NFRAMES];
    uint32_t n = alloc_all(frame);
    int error = 1;
    sim_run("waiter", wait_one, &error);
    for (uint32_t i = 0; i < 100; i++)
        sim_yield();
    assert_int_equal(error, 1);
    uint64_t waited = machine_time_ns();
    free_all(frame, n);
    sim_join_all();
    assert_int_equal(error, 0);
    assert_true(machine_time_ns() - waited < 1000000);
    vm_lock(&object->lock);
    vm_page_xunbusy(m);
    vm_unlock(&object->lock);
    vm_object_deallocate(object);
    one_file_end();
}

static void allocating_can_be_made_to_fail(void **state)
{
    (void)state;
    begin(false);
    vm_frame_t frame;
    sim_torture()->fail_alloc_nth = 2;
    vm_frame_t block = alloc(3);
    assert_int_equal(fl_frames_alloc(3, &frame), -ENOMEM);
    assert_int_equal(now().taken, 8);
    fl_frames_free(block, 3);
    one_file_end();
}

/*
 * Several threads at once, with no lock and under an object's, as a machine's page tables are allocated. The
 * word of each frame says whose it is.
 */
#define KEEPERS    3
#define BLOCKS_MAX 40

static struct keeper {
    struct prng r;
    struct vm_object *object;
    struct {
        vm_frame_t first;
        uint32_t order;
    } block[BLOCKS_MAX];
    uint32_t nblocks;
    uint32_t got, refused;
} keeper[KEEPERS];

static void keeper_alloc(struct keeper *k)
{
    uint32_t order = prng_chance(&k->r, 600) ? 0 : (uint32_t)prng_below(&k->r, ORDERS);
    bool locked = prng_chance(&k->r, 300);
    vm_frame_t frame;
    if (locked)
        vm_lock(&k->object->lock);
    int error = fl_frames_alloc(order, &frame);
    if (locked)
        vm_unlock(&k->object->lock);
    k->got += error == 0;
    k->refused += error != 0;
    if (error != 0)
        return;
    for (uint32_t i = 0; i < 1u << order; i++) {
        assert_null(*fl_frames_owner(frame + i));
        *fl_frames_owner(frame + i) = k;
    }
    k->block[k->nblocks].first = frame;
    k->block[k->nblocks++].order = order;
}

static void keeper_free(struct keeper *k, uint32_t b)
{
    vm_frame_t first = k->block[b].first;
    uint32_t order = k->block[b].order;
    for (uint32_t i = 0; i < 1u << order; i++)
        assert_ptr_equal(*fl_frames_owner(first + i), k);
    fl_frames_free(first, order);
    k->block[b] = k->block[--k->nblocks];
}

static void keep(void *arg)
{
    struct keeper *k = arg;
    for (uint64_t i = 0; i < test_rounds(400); i++) {
        bool grow = prng_chance(&k->r, i / 50 % 2 == 0 ? 800 : 300);
        if (k->nblocks == 0 || (grow && k->nblocks < BLOCKS_MAX))
            keeper_alloc(k);
        else
            keeper_free(k, (uint32_t)prng_below(&k->r, k->nblocks));
        vm_pindex_t pindex = prng_below(&k->r, PAGES);
        uint8_t byte;
        /* The keepers may have all there is. */
        int error = sim_load(map, view + ptoa(pindex), &byte, 1, NULL);
        assert_true(error == -ENOMEM || (error == 0 && byte == test_byte(ptoa(pindex))));
        if (i % 32 == 0)
            sim_yield();
    }
    while (k->nblocks > 0)
        keeper_free(k, 0);
}

static void keepers_beside_faults(void **state)
{
    (void)state;
    for (uint64_t seed = test_seed(43); seed < test_seed(43) + 6; seed++) {
        struct sim_params params = test_params_hostile(seed);
        params.nframes = seed % 2 == 0 ? 512 : 1536;
        params.superpages = seed % 3 != 0;
        one_file_boot(&params, test_disk(ptoa(PAGES), VM_PAGE_SIZE, params.seed), RW);
        test_fill(disk);
        view = test_mmap(map, &file, FL_MAP_SHARED, PAGES);
        for (uint32_t i = 0; i < KEEPERS; i++) {
            keeper[i] = (struct keeper){.object = test_object(file.vnode)};
            prng_init(&keeper[i].r, seed * KEEPERS + i);
            sim_run("keeper", keep, &keeper[i]);
        }
        for (uint32_t i = 0; i < 20; i++) {
            sim_sleep_ns(100000);
            sim_vm_check();
        }
        sim_join_all();
        for (uint32_t i = 0; i < KEEPERS; i++) {
            assert_true(keeper[i].got > 0 && keeper[i].refused > 0);
            vm_object_deallocate(keeper[i].object);
        }
        assert_int_equal(now().taken, 0);
        one_file_end();
    }
}

/* ---- mistakes ----------------------------------------------------------------------------------------- */

static void free_twice(void *arg)
{
    (void)arg;
    vm_frame_t frame = alloc(1);
    fl_frames_free(frame, 1);
    fl_frames_free(frame, 1);
}

static void free_a_page(void *arg)
{
    (void)arg;
    (void)test_load8(map, view);
    struct vm_object *object = test_object(file.vnode);
    vm_lock(&object->lock);
    vm_frame_t frame = vm_page_frame(vm_page_lookup(object, 0));
    vm_unlock(&object->lock);
    fl_frames_free(frame, 0);
}

static void free_too_much(void *arg)
{
    (void)arg;
    vm_frame_t frame = alloc(1);
    fl_frames_free(frame, 2);
}

static void ask_for_no_owner(void *arg)
{
    (void)arg;
    vm_frame_t frame = alloc(0);
    fl_frames_free(frame, 0);
    (void)!fl_frames_owner(frame);
}

static void lose_a_mark(void *arg)
{
    (void)arg;
    vm_page_of(alloc(0))->order = VM_PHYS_NOFREE;
    fl_vm_check();
}

/* The VM may end, as the stack that ends it is allocated; only the machine of the tests wants all back. */
static void keep_a_block(void *arg)
{
    (void)arg;
    (void)alloc(2);
    one_file_end();
}

static void allocated_frames_panic(void **state)
{
    (void)state;
    begin(false);
    assert_true(test_panics(free_twice, NULL, "PH6"));
    assert_true(test_panics(free_a_page, NULL, "PH6"));
    assert_true(test_panics(free_too_much, NULL, "PH6"));
    assert_true(test_panics(ask_for_no_owner, NULL, "PH6"));
    assert_true(test_panics(lose_a_mark, NULL, "PH6"));
    assert_true(test_panics(keep_a_block, NULL, "leak: 252 pages are free, 256 were after boot"));
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
        cmocka_unit_test(blocks_of_all_orders),
        cmocka_unit_test(parts_of_a_block),
        cmocka_unit_test(fragments_are_no_block),
        cmocka_unit_test(reservations_break),
        cmocka_unit_test(until_there_are_none),
        cmocka_unit_test(a_hopeless_wait_ends),
        cmocka_unit_test(freeing_ends_a_wait),
        cmocka_unit_test(allocating_can_be_made_to_fail),
        cmocka_unit_test(keepers_beside_faults),
        cmocka_unit_test(allocated_frames_panic),
    };
    return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}
