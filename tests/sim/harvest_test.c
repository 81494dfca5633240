/*
 * harvest_test.c: dirty and referenced bits as the machine sim reports them, in time or late.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/bare.h"
#include "support/boot.h"

#define REF   MACHINE_REFERENCED
#define DIRTY MACHINE_DIRTY
#define BOTH  (MACHINE_REFERENCED | MACHINE_DIRTY)

/* Calls fn under each combination of the tortures that delay something. */
static void each_delay(void (*fn)(struct sim_torture torture))
{
    for (unsigned i = 0; i < 4; i++)
        fn((struct sim_torture){.stale_tlb = i & 1, .late_bits = (i & 2) != 0});
}

/* ---- harvests and unmappings ----------------------------------------------------------------- */

static void range_is_harvested(struct sim_torture torture)
{
    const unsigned said[4] = {REF, BOTH, 0, BOTH};

    for (unsigned clear = 0; clear <= BOTH; clear++) {
        uint8_t bits[4] = {0, 0, MACHINE_WRITABLE, 0}, again[4] = {0};

        bare_up(torture);
        bare_attach(RW, MACHINE_ATTACH_WRITENOTIFY);
        bare_enter(0, 5, RW, 0);
        assert_int_equal(bare_load(0, 0), 0);
        assert_int_equal(bare_store(0, 1), 0);
        assert_int_equal(bare_load(0, 3), 0);
        assert_int_equal(bare_store(1, 3), 0);
        assert_int_equal(bare_store(1, 4), 0); /* beyond the range */
        machine_harvest(bare.space, VA(0), VA(4), clear, bits);
        assert_int_equal(bits[2], MACHINE_WRITABLE); /* what was set stays, and nothing is added */
        bits[2] = 0;
        machine_sync(bare.space);
        machine_harvest(bare.space, VA(0), VA(4), BOTH, again);
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(bits[i], said[i]);
            assert_int_equal(again[i], said[i] & ~clear);
        }
        assert_int_equal(bare_harvest(4, 0), BOTH);
        bare_down();
    }
}

static void test_harvest(void **state)
{
    (void)state;
    each_delay(range_is_harvested);
}

/* A store between the harvest and machine_sync is reported, or not if the bits are late; later ones are. */
static void store_after_harvest(struct sim_torture torture)
{
    bare_up(torture);
    bare_attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    bare_enter(0, 1, RW, 0);
    assert_int_equal(bare_store(1, 0), 0);
    assert_int_equal(bare_harvest(0, BOTH), BOTH);
    assert_int_equal(bare_store(1, 0), 0);
    assert_int_equal(bare_harvest(0, BOTH) & DIRTY, torture.late_bits ? 0 : DIRTY);
    machine_sync(bare.space);
    assert_int_equal(bare_harvest(0, BOTH) & DIRTY, 0);
    assert_int_equal(bare_store(1, 0), 0);
    assert_int_equal(bare_harvest(0, BOTH), BOTH);
    machine_sync(bare.space);
    assert_int_equal(bare_load(1, 0), 0);
    assert_int_equal(bare_harvest(0, BOTH), REF);
    assert_int_equal(bare_store(1, 0), 0); /* through the entry that the load made */
    assert_int_equal(bare_harvest(0, REF) & DIRTY, DIRTY);
    assert_int_equal(bare_store(1, 0), 0);
    machine_sync(bare.space);
    assert_int_equal(bare_harvest(0, 0) & DIRTY, DIRTY); /* it was not cleared */
    bare_down();
}

static void test_store_after_harvest(void **state)
{
    (void)state;
    each_delay(store_after_harvest);
}

static void unmap_reports(struct sim_torture torture)
{
    uint8_t bits[3] = {0, 0, REF};

    bare_up(torture);
    bare_attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    bare_enter(0, 4, RW, 0);
    assert_int_equal(bare_load(0, 0), 0);
    assert_int_equal(bare_store(1, 1), 0);
    assert_int_equal(bare_store(1, 2), 0);
    assert_int_equal(bare_store(0, 3), 0);
    assert_int_equal(bare_harvest(2, BOTH), BOTH);
    machine_sync(bare.space);
    machine_unmap(bare.space, VA(0), VA(3), 0, bits);
    assert_int_equal(bits[1], torture.late_bits ? 0 : DIRTY);
    for (vm_pindex_t page = 0; page < 3; page++)
        assert_int_equal(machine_query(bare.space, VA(page)), 0);
    machine_sync(bare.space);
    assert_int_equal(bits[0], 0);
    assert_int_equal(bits[1], DIRTY);
    assert_int_equal(bits[2], REF);
    bits[1] = 0;
    machine_sync(bare.space); /* once is enough */
    assert_int_equal(bits[1], 0);
    machine_unmap(bare.space, VA(3), VA(4), 0, NULL);
    machine_sync(bare.space);
    bare_enter(3, 1, RW, 0);
    assert_int_equal(bare_harvest(3, BOTH), 0); /* that was the old mapping's */
    bare_down();
}

static void test_unmap(void **state)
{
    (void)state;
    each_delay(unmap_reports);
}

/* A store between the unmapping and machine_sync, through an entry that a load has made. */
static void test_store_after_unmap(void **state)
{
    (void)state;
    uint8_t bits = 0;

    for (int late = 0; late < 2; late++) {
        bare_up((struct sim_torture){.stale_tlb = true, .late_bits = late != 0});
        bare_attach(RW, MACHINE_ATTACH_WRITENOTIFY);
        bare_enter(0, 1, RW, 0);
        assert_int_equal(bare_load(1, 0), 0);
        machine_unmap(bare.space, VA(0), VA(1), 0, &bits);
        assert_int_equal(bare_store(1, 0), late ? 0 : -EFAULT);
        assert_int_equal(bits, 0);
        machine_sync(bare.space);
        assert_int_equal(bits, late ? DIRTY : 0);
        assert_int_equal(bare_store(1, 0), -EFAULT); /* MO2 */
        bare_down();
    }
}

static void sync_again_and_again(void *arg)
{
    const bool *stop = arg;

    while (!*stop)
        machine_sync(bare.space);
}

/* While machine_unmap is at work, another thread's machine_sync completes its bits too early. */
static void test_sync_while_unmapping(void **state)
{
    (void)state;
    for (unsigned round = 1; round <= 50; round++) {
        uint8_t bits[NPAGES] = {0};
        bool stop = false;

        bare_up((struct sim_torture){.late_bits = true, .preempt_permille = 20 * round});
        bare_attach(RW, MACHINE_ATTACH_WRITENOTIFY);
        bare_enter(0, NPAGES, RW, 0);
        sim_run("sync", sync_again_and_again, &stop);
        for (vm_pindex_t page = 0; page < NPAGES; page++)
            assert_int_equal(bare_store((uint32_t)page % 2, page), 0);
        machine_unmap(bare.space, VA(0), VA(NPAGES), 0, bits);
        machine_sync(bare.space);
        for (vm_pindex_t page = 0; page < NPAGES; page++)
            assert_int_equal(bits[page], DIRTY);
        stop = true;
        sim_join_all();
        bare_down();
    }
}

/* Late bits reach the page table when their TLB entry is evicted: one page, at addresses of one TLB set. */
static void test_eviction(void **state)
{
    (void)state;
    uint32_t done;
    uint8_t byte;

    bare_up((struct sim_torture){.late_bits = true});
    bare_attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    bare_enter(0, 1, RW, 0);
    struct machine_run run = bare_run(0, 1);
    for (unsigned i = 1; i <= 8; i++) {
        vm_offset_t va = VA(16 * i);

        assert_int_equal(
            machine_attach(bare.space, va, va + VM_PAGE_SIZE, RW, bare.object, 0, MACHINE_ATTACH_WRITENOTIFY),
            0);
        assert_int_equal(machine_map(bare.space, va, &run, VM_PROT_READ, 0, &done), 0);
    }
    assert_int_equal(bare_store(0, 0), 0);
    assert_int_equal(machine_query(bare.space, VA(0)), MACHINE_MAPPED | MACHINE_WRITABLE);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(sim_load(bare.map, VA(16 * (1 + i % 8)), &byte, 1, NULL), 0);
    assert_int_equal(machine_query(bare.space, VA(0)), MACHINE_MAPPED | MACHINE_WRITABLE | BOTH);
    machine_unmap(bare.space, VA(1), VA(16 * 8 + 1), 0, NULL);
    machine_detach(bare.space, VA(1), VA(16 * 8 + 1));
    bare_down();
}

/* MO6: what the machine forgets, or protects from everything, is reported nevertheless. */
static void forgotten_is_reported(struct sim_torture torture)
{
    uint8_t bits[3] = {0};

    bare_up(torture);
    bare_attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    bare_enter(0, 3, RW, 0);
    assert_int_equal(bare_store(0, 0), 0);
    assert_int_equal(bare_store(1, 1), 0);
    assert_int_equal(bare_load(1, 2), 0);
    sim_torture()->forgetful_permille = 1000;
    for (int i = 0; i < 20; i++)
        machine_wake(bits);
    sim_torture()->forgetful_permille = 0;
    assert_int_equal(sim_stats().forgotten, 3);
    assert_int_equal(bare_harvest(0, 0), DIRTY);
    assert_int_equal(bare_harvest(0, DIRTY), DIRTY);
    assert_int_equal(bare_harvest(0, DIRTY), 0);
    machine_unmap(bare.space, VA(0), VA(3), 0, bits);
    machine_sync(bare.space);
    assert_int_equal(bits[0], 0);
    assert_int_equal(bits[1], DIRTY);
    assert_int_equal(bits[2], 0);
    assert_int_equal(bare_harvest(1, 0), 0);
    bare_enter(0, 1, RW, 0);
    assert_int_equal(bare_store(1, 0), 0);
    assert_int_equal(machine_protect(bare.space, VA(0), VA(1), VM_PROT_NONE), 0);
    assert_int_equal(bare_harvest(0, 0), DIRTY);
    bare_down();
}

static void test_forgotten(void **state)
{
    (void)state;
    each_delay(forgotten_is_reported);
}

static void test_map_dirty(void **state)
{
    (void)state;
    bare_up((struct sim_torture){0});
    bare_attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    bare_enter(0, 1, RW, MACHINE_MAP_DIRTY);
    bare_enter(1, 1, RW, MACHINE_MAP_DIRTY | MACHINE_MAP_QUICK);
    bare_enter(2, 1, VM_PROT_READ, MACHINE_MAP_DIRTY);
    bare_enter(3, 1, RW, 0);
    assert_int_equal(bare_harvest(0, DIRTY), DIRTY);
    assert_int_equal(bare_harvest(1, DIRTY), DIRTY);
    assert_int_equal(bare_harvest(2, DIRTY), 0);
    assert_int_equal(bare_harvest(3, DIRTY), 0);
    assert_int_equal(bare_harvest(0, DIRTY), 0);
    assert_int_equal(bare_store(0, 0), 0);
    assert_int_equal(bare_harvest(0, DIRTY), BOTH);
    bare_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_harvest),
        cmocka_unit_test(test_store_after_harvest),
        cmocka_unit_test(test_unmap),
        cmocka_unit_test(test_store_after_unmap),
        cmocka_unit_test(test_sync_while_unmapping),
        cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_map_dirty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
