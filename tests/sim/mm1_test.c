/*
 * mm1_test.c: resident pages that the machine sim enters by itself (MM1), what keeps it from them, and the
 * mistakes that it catches there.
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

/* ---- MM1 ------------------------------------------------------------------------------------- */

/* Each delay, on a machine that enters pages by itself whenever it may. */
static void each_delay_mm1(void (*fn)(struct sim_torture torture))
{
    for (unsigned i = 0; i < 4; i++)
        fn((struct sim_torture){
            .stale_tlb = i & 1, .late_bits = (i & 2) != 0, .enters_itself_permille = 1000});
}

static void enters_resident_pages(struct sim_torture torture)
{
    bare_up(torture);
    bare_attach(RW, 0);
    assert_int_equal(bare_load(0, 0), -EFAULT);
    bare_fill(0, 2, 7);
    uint64_t traps = sim_stats().traps;
    assert_int_equal(bare_load(0, 0), 0);
    assert_int_equal(test_load8(bare.map, VA(0) + 5), 7);
    assert_int_equal(bare_store(0, 0), 0);
    assert_int_equal(bare_store(1, 0), 0);
    assert_int_equal(sim_stats().self_enters, 1);
    assert_int_equal(bare_store(1, 1), 0);
    assert_int_equal(sim_stats().traps, traps);
    assert_int_equal(bare_load(0, 2), -EFAULT); /* it is absent */
    bare_enter(2, 1, VM_PROT_READ, 0);
    assert_int_equal(bare_store(0, 2), 0); /* and resident from the first mapping on */
    assert_int_equal(bare_harvest(0, DIRTY) & DIRTY, DIRTY);
    bare_release(0); /* not unmapped, no machine_sync */
    assert_int_equal(sim_stats().unharvested_released, 0);
    assert_int_equal(bare_load(0, 0), -EFAULT);
    assert_int_equal(bare_store(1, 0), -EFAULT);
    bare_down();
}

static void test_enters_itself(void **state)
{
    (void)state;
    each_delay_mm1(enters_resident_pages);
}

/* Where it may not: WRITENOTIFY, rights beyond the attachment's, a wired mapping, another page's mapping. */
static void test_enters_not(void **state)
{
    (void)state;
    struct sim_torture torture = {.enters_itself_permille = 1000};

    bare_up(torture);
    bare_attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    bare_fill(0, 1, 7);
    assert_int_equal(bare_load(0, 0), -EFAULT);
    bare_attach(VM_PROT_READ, 0);
    assert_int_equal(bare_load(0, 0), 0);
    assert_int_equal(bare_store(0, 0), -EFAULT);
    assert_int_equal(machine_protect(bare.space, VA(0), VA(1), RW), 0);
    assert_int_equal(bare_store(0, 0), 0);
    assert_int_equal(sim_execute(bare.map, VA(0)), -EFAULT);
    bare_attach(RW, 0);
    bare_enter(2, 1, VM_PROT_READ, MACHINE_MAP_WIRED);
    assert_int_equal(bare_store(0, 2), -EFAULT);
    assert_int_equal(bare_load(0, 2), 0);
    assert_int_equal(sim_stats().self_enters, 2);
    sim_torture()->enters_itself_permille = 0;
    bare_fill(3, 1, 7);
    assert_int_equal(bare_load(0, 3), -EFAULT);
    bare_down();
}

/* A page behind the object is mapped where the object has a page of its own by now. */
static void test_leaves_another_pages_mapping(void **state)
{
    (void)state;
    const vm_frame_t frame = 220;
    struct machine_run run = {.pindex = 5, .npages = 1, .frame = &frame};
    uint32_t done;

    bare_up((struct sim_torture){.enters_itself_permille = 1000});
    bare_attach(RW, 0);
    assert_int_equal(machine_object_init(&run.object), 0);
    assert_int_equal(machine_map(bare.space, VA(0), &run, VM_PROT_READ, 0, &done), 0);
    bare_fill(0, 1, 7);
    assert_int_equal(bare_store(0, 0), -EFAULT);
    assert_int_equal(bare_load(0, 0), 0);
    assert_int_equal(sim_frame_mappings(frame), 1);
    machine_unmap(bare.space, VA(0), VA(1), 0, NULL);
    machine_sync(bare.space);
    assert_int_equal(bare_store(0, 0), 0);
    machine_release(&run);
    machine_object_fini(run.object);
    bare_down();
}

/* A page is resident from the put of a FILL that is kept, and not while one is filled. */
static void test_enters_when_filled(void **state)
{
    (void)state;
    void *addr;

    bare_up((struct sim_torture){.enters_itself_permille = 1000});
    bare_attach(RW, 0);
    struct machine_run run = bare_run(0, 1);
    for (int keep = 0; keep < 3; keep++) {
        assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr), 0);
        bare.resident[0] = true;
        assert_int_equal(bare_load(0, 0), -EFAULT);
        memset(addr, 7, VM_PAGE_SIZE);
        machine_window_put(&run, MACHINE_WINDOW_FILL, &addr, keep > 0);
        if (keep != 1) /* the second time nobody looks, and it is filled once more */
            assert_int_equal(bare_load(0, 0), keep ? 0 : -EFAULT);
    }
    bare_down();
}

/* Many pages, so that some have the same hash: each is found as long as it is there. */
static void test_finds_each_page(void **state)
{
    (void)state;
    vm_frame_t frame[100];
    void *addr[100];
    uint8_t byte;

    bare_up((struct sim_torture){.enters_itself_permille = 1000});
    assert_int_equal(machine_attach(bare.space, VA(0), VA(100), VM_PROT_READ, bare.object, 0, 0), 0);
    for (vm_pindex_t page = 0; page < 100; page++)
        frame[page] = (vm_frame_t)(100 + page * 7 % 100);
    struct machine_run all = {.object = bare.object, .npages = 100, .frame = frame};
    assert_int_equal(machine_window_get(&all, MACHINE_WINDOW_FILL, false, addr), 0);
    for (vm_pindex_t page = 0; page < 100; page++)
        memset(addr[page], (int)page, VM_PAGE_SIZE);
    machine_window_put(&all, MACHINE_WINDOW_FILL, addr, true);
    bool gone[100] = {false};
    for (vm_pindex_t round = 0; round < 100; round++) {
        const vm_pindex_t next = round * 37 % 100;
        struct machine_run one = {.object = bare.object, .pindex = next, .npages = 1, .frame = &frame[next]};

        for (vm_pindex_t page = 0; page < 100; page++) {
            int error = sim_load(bare.map, VA(page), &byte, 1, NULL);

            assert_int_equal(error, gone[page] ? -EFAULT : 0);
            assert_true(error != 0 || byte == page);
        }
        machine_release(&one);
        gone[next] = true;
    }
    machine_detach(bare.space, VA(0), VA(100));
    bare_down();
}

/* machine_unmap and machine_wrprotect do not keep it from entering, and its stores are the harvest's. */
static void unmapped_is_entered_again(struct sim_torture torture)
{
    uint8_t bits = 0;

    bare_up(torture);
    bare_attach(RW, 0);
    bare_fill(0, 2, 7);
    assert_int_equal(bare_store(1, 0), 0);
    machine_unmap(bare.space, VA(0), VA(1), 0, &bits);
    machine_sync(bare.space);
    assert_int_equal(bits, 0);
    assert_int_equal(machine_query(bare.space, VA(0)), 0);
    assert_int_equal(bare_load(0, 0), 0);
    assert_int_equal(bare_harvest(0, 0), BOTH);
    assert_int_equal(bare_harvest(0, BOTH), BOTH);
    machine_sync(bare.space);
    assert_int_equal(bare_harvest(0, BOTH), 0);
    machine_wrprotect(bare.space, VA(0), VA(1));
    machine_sync(bare.space);
    uint64_t traps = sim_stats().traps;
    assert_int_equal(bare_store(1, 0), 0);
    assert_int_equal(sim_stats().traps, traps);
    machine_sync(bare.space);
    assert_int_equal(bare_harvest(0, DIRTY), BOTH);
    bare_down();
}

static void test_unmapped_is_entered_again(void **state)
{
    (void)state;
    each_delay_mm1(unmapped_is_entered_again);
}

/* The core's mapping becomes the machine's and back: each store is reported, and by the right call. */
static void changes_hands(struct sim_torture torture)
{
    uint8_t bits = 0;

    bare_up(torture);
    bare_attach(RW, 0);
    bare_enter(0, 1, RW, 0);
    assert_int_equal(bare_store(0, 0), 0); /* the core's */
    machine_wrprotect(bare.space, VA(0), VA(1));
    machine_sync(bare.space);
    assert_int_equal(bare_store(0, 0), 0); /* the machine's */
    assert_int_equal(sim_stats().self_enters, 1);
    machine_unmap(bare.space, VA(0), VA(1), 0, &bits);
    machine_sync(bare.space);
    assert_int_equal(bits, DIRTY);
    assert_int_equal(bare_harvest(0, DIRTY), DIRTY);
    assert_int_equal(bare_harvest(0, DIRTY), 0);
    assert_int_equal(bare_store(1, 0), 0); /* the machine's */
    bare_enter(0, 1, RW, 0);
    bits = 0;
    machine_unmap(bare.space, VA(0), VA(1), 0, &bits);
    machine_sync(bare.space);
    assert_int_equal(bits, 0);
    assert_int_equal(bare_harvest(0, DIRTY), DIRTY);
    assert_int_equal(bare_store(1, 0), 0); /* the machine's */
    bare_enter(0, 1, RW, 0);
    assert_int_equal(bare_store(1, 0), 0); /* the core's, and the TLB had the machine's */
    machine_unmap(bare.space, VA(0), VA(1), 0, &bits);
    machine_sync(bare.space);
    assert_int_equal(bits, DIRTY);
    bare_down();
}

static void test_changes_hands(void **state)
{
    (void)state;
    each_delay_mm1(changes_hands);
}

/* ---- freezing -------------------------------------------------------------------------------- */

static void frozen_keeps_stores_out(struct sim_torture torture)
{
    struct sim_attachment a;

    bare_up(torture);
    bare_attach(RW, 0);
    bare_fill(0, 4, 7);
    assert_int_equal(bare_store(0, 1), 0);
    assert_int_equal(bare_store(1, 1), 0);
    sim_torture()->fail_map_nth = 1;
    assert_int_equal(machine_freeze(bare.space, VA(1), VA(3), RW), -ENOMEM);
    assert_int_equal(bare_store(0, 1), 0);
    bare_freeze(1, 3);
    assert_int_equal(bare_store(0, 1), -EFAULT);
    assert_int_equal(bare_store(1, 1), -EFAULT);
    assert_int_equal(bare_store(1, 2), -EFAULT);
    assert_int_equal(bare_load(0, 1), 0);
    assert_int_equal(bare_load(0, 2), 0);
    assert_int_equal(bare_store(0, 2), -EFAULT);
    assert_int_equal(bare_store(0, 0), 0);
    assert_int_equal(bare_store(0, 3), 0);
    assert_int_equal(bare_harvest(1, DIRTY) & DIRTY, DIRTY);
    assert_int_equal(bare_harvest(2, DIRTY) & DIRTY, 0);
    bare_release(2);
    machine_thaw(bare.space, VA(1), VA(3), RW);
    assert_int_equal(bare_store(0, 1), 0);
    assert_int_equal(bare_store(1, 1), 0);
    assert_int_equal(bare_load(1, 2), -EFAULT);
    assert_true(sim_attached(bare.space, VA(1), &a));
    assert_true(a.start == VA(0) && a.end == VA(NPAGES)); /* in one piece again */
    bare_freeze(1, 3);
    bare_freeze(3, 4);
    machine_thaw(bare.space, VA(1), VA(3), RW);
    assert_int_equal(bare_store(0, 1), 0);
    assert_int_equal(bare_store(0, 3), -EFAULT); /* its neighbour is frozen still */
    machine_thaw(bare.space, VA(3), VA(4), RW);
    bare_down();
}

static void test_freeze(void **state)
{
    (void)state;
    each_delay_mm1(frozen_keeps_stores_out);
}

/* A mapping of the core's that may be stored to stays so, or not: the core cannot count on either. Without
 * MM1 it stays. */
static void test_freeze_and_the_cores_mappings(void **state)
{
    (void)state;
    unsigned stored[2] = {0};

    for (unsigned i = 0; i < 40; i++) {
        bare_up((struct sim_torture){.enters_itself_permille = i % 2 ? 1000 : 0});
        bare_attach(RW, 0);
        bare_enter(0, 1, RW, 0);
        for (unsigned round = 0; round < 4; round++) {
            bare_freeze(0, 1);
            stored[i % 2] += bare_store(0, 0) == 0;
            assert_int_equal(bare_load(1, 0), 0);
            machine_thaw(bare.space, VA(0), VA(1), RW);
            bare_enter(0, 1, RW, 0);
        }
        bare_down();
    }
    assert_int_equal(stored[0], 80);
    assert_true(stored[1] > 0 && stored[1] < 80);
}

static void writenotify(struct sim_torture torture)
{
    struct sim_attachment a;

    bare_up(torture);
    bare_attach(RW, 0);
    bare_fill(0, 4, 7);
    assert_int_equal(bare_store(0, 1), 0);
    assert_int_equal(bare_store(1, 2), 0);
    bare_freeze(1, 3);
    assert_int_equal(bare_harvest(1, DIRTY) & DIRTY, DIRTY);
    assert_int_equal(bare_harvest(2, DIRTY) & DIRTY, DIRTY);
    sim_torture()->fail_map_nth = 1;
    assert_int_equal(machine_writenotify(bare.space, VA(1), VA(3), RW, bare.object, 1), -ENOMEM);
    assert_true(sim_attached(bare.space, VA(1), &a) && a.frozen && a.flags == 0);
    assert_int_equal(machine_writenotify(bare.space, VA(1), VA(3), RW, bare.object, 1), 0);
    assert_true(sim_attached(bare.space, VA(1), &a) && !a.frozen && a.flags == MACHINE_ATTACH_WRITENOTIFY);
    for (uint32_t cpu = 0; cpu < 2; cpu++) {
        for (vm_pindex_t page = 0; page < 4; page++) {
            assert_int_equal(bare_load(cpu, page), page == 1 || page == 2 ? -EFAULT : 0);
            assert_int_equal(bare_store(cpu, page), page == 1 || page == 2 ? -EFAULT : 0);
        }
    }
    bare_enter(1, 1, VM_PROT_READ, 0);
    assert_int_equal(bare_store(0, 1), -EFAULT); /* the first store faults */
    bare_enter(1, 1, RW, 0);
    assert_int_equal(bare_store(0, 1), 0);
    bare_down();
}

static void test_writenotify(void **state)
{
    (void)state;
    each_delay_mm1(writenotify);
}

/* ---- stores that no harvest took ------------------------------------------------------------- */

static void unharvested(struct sim_torture torture)
{
    bare_up(torture);
    bare_attach(RW, 0);
    bare_fill(0, NPAGES, 7);
    for (vm_pindex_t page = 0; page < 7; page++)
        assert_int_equal(bare_store((uint32_t)page % 2, page), 0);
    assert_int_equal(bare_load(0, 7), 0);
    assert_int_equal(bare_harvest(1, BOTH), BOTH);
    assert_int_equal(bare_harvest(2, REF), BOTH); /* not cleared */
    assert_int_equal(bare_harvest(3, BOTH), BOTH);
    assert_int_equal(bare_harvest(4, BOTH), BOTH);
    machine_sync(bare.space);
    assert_int_equal(bare_store(0, 3), 0); /* the gap: it was clean, and is stored to before the release */
    machine_unmap(bare.space, VA(0), VA(1), 0, NULL);
    machine_sync(bare.space);
    for (vm_pindex_t page = 0; page < 4; page++)
        bare_release(page);
    bare_release(7);
    assert_int_equal(sim_stats().unharvested_released, 3); /* 0, 2 and 3 */
    assert_int_equal(sim_stats().unharvested_detached, 0);
    machine_detach(bare.space, VA(0), VA(NPAGES));
    assert_int_equal(sim_stats().unharvested_detached, 2); /* 5 and 6 */
    machine_sync(bare.space);
    for (vm_pindex_t page = 4; page < 7; page++)
        bare_release(page);
    assert_int_equal(sim_stats().unharvested_released, 3);
    bare_down();
}

static void test_unharvested(void **state)
{
    (void)state;
    each_delay_mm1(unharvested);
}

/* ---- what the sim catches -------------------------------------------------------------------- */

static void frozen_range(void)
{
    bare_up((struct sim_torture){.enters_itself_permille = 1000});
    bare_attach(RW, 0);
    bare_fill(0, 4, 7);
    bare_freeze(1, 3);
}

static void freeze_with_other_rights(void *arg)
{
    (void)arg;
    frozen_range();
    (void)!machine_freeze(bare.space, VA(4), VA(5), VM_PROT_READ);
}

static void writenotify_of_another_page(void *arg)
{
    (void)arg;
    frozen_range();
    (void)!machine_writenotify(bare.space, VA(1), VA(3), RW, bare.object, 2);
}

static void harvest_too_much(void *arg)
{
    static uint8_t bits[MACHINE_RUN_MAX + 1];

    (void)arg;
    frozen_range();
    machine_harvest(bare.space, VA(0), VA(MACHINE_RUN_MAX + 1), 0, bits);
}

/* MO2 still holds for what the core entered. */
static void release_what_the_core_mapped(void *arg)
{
    (void)arg;
    frozen_range();
    bare_enter(0, 1, RW, 0);
    bare_release(0);
}

static void release_before_sync(void *arg)
{
    (void)arg;
    bare_up((struct sim_torture){.enters_itself_permille = 1000, .stale_tlb = true});
    bare_attach(RW, 0);
    bare_enter(0, 1, RW, 0);
    assert_int_equal(bare_load(1, 0), 0);
    machine_unmap(bare.space, VA(0), VA(1), 0, NULL);
    assert_int_equal(bare_load(0, 0), 0); /* the machine's own, on the other CPU */
    bare_release(0);
}

static void fill_what_programs_see(void *arg)
{
    (void)arg;
    frozen_range();
    assert_int_equal(bare_load(0, 0), 0);
    bare_fill(0, 1, 8);
}

static void two_frames_of_one_page(void *arg)
{
    (void)arg;
    frozen_range();
    struct machine_run run = {.object = bare.object, .pindex = 1, .npages = 1, .frame = &bare.frames[5]};
    void *addr;
    (void)!machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr);
}

static void test_catches(void **state)
{
    (void)state;
    assert_true(test_panics(freeze_with_other_rights, NULL, "with rights"));
    assert_true(test_panics(writenotify_of_another_page, NULL, "something else is attached"));
    assert_true(test_panics(harvest_too_much, NULL, "a range of 257 pages"));
    assert_true(test_panics(release_what_the_core_mapped, NULL, "MO2"));
    assert_true(test_panics(release_before_sync, NULL, "machine_sync is owed"));
    assert_true(test_panics(fill_what_programs_see, NULL, "MO4"));
    assert_true(test_panics(two_frames_of_one_page, NULL, "MO4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enters_itself),
        cmocka_unit_test(test_enters_not),
        cmocka_unit_test(test_leaves_another_pages_mapping),
        cmocka_unit_test(test_enters_when_filled),
        cmocka_unit_test(test_finds_each_page),
        cmocka_unit_test(test_unmapped_is_entered_again),
        cmocka_unit_test(test_changes_hands),
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_freeze_and_the_cores_mappings),
        cmocka_unit_test(test_writenotify),
        cmocka_unit_test(test_unharvested),
        cmocka_unit_test(test_catches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
