/*
 * harvest_test.c: dirty and referenced bits as the machine sim reports them, late or not; and the pages that
 * it enters by itself (MM1), with what keeps it from them.
 *
 * The core is on, but has no part in it: pages, mappings and faults are the test's own, so an access that
 * traps ends with -EFAULT. At the end a small core of the test's own (struct toy) writes back and evicts pages
 * that other fibers store to: in the right order it loses nothing, and each wrong order loses something.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "sim/sched.h"
#include "support/boot.h"

#define NPAGES   8
#define AT       ((vm_offset_t)0x1000000)
#define RW       (VM_PROT_READ | VM_PROT_WRITE)
#define REF      MACHINE_REFERENCED
#define DIRTY    MACHINE_DIRTY
#define BOTH     (MACHINE_REFERENCED | MACHINE_DIRTY)
#define VA(page) (AT + ptoa(page))

static struct vm_map *map;
static struct machine_space *space;
static void *object;
static const vm_frame_t frames[NPAGES] = {200, 207, 203, 209, 204, 212, 205, 201};
static bool resident[NPAGES];

static struct machine_run run_of(vm_pindex_t page, uint32_t npages)
{
    return (struct machine_run){.object = object, .pindex = page, .npages = npages, .frame = &frames[page]};
}

static void up(struct sim_torture torture)
{
    struct sim_params params = test_params(test_seed(31));

    params.torture = torture;
    params.no_flusher = true;
    test_boot(&params);
    map = test_space();
    space = fl_space_machine(map);
    assert_int_equal(machine_object_init(&object), 0);
    memset(resident, 0, sizeof(resident));
}

static void attach(vm_prot_t prot, unsigned flags)
{
    assert_int_equal(machine_attach(space, VA(0), VA(NPAGES), prot, object, 0, flags), 0);
}

static void fill(vm_pindex_t page, uint32_t npages, int byte)
{
    struct machine_run run = run_of(page, npages);
    void *addr[NPAGES];

    assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_FILL, false, addr), 0);
    for (uint32_t i = 0; i < npages; i++)
        memset(addr[i], byte, VM_PAGE_SIZE);
    machine_window_put(&run, MACHINE_WINDOW_FILL, addr, true);
    for (uint32_t i = 0; i < npages; i++)
        resident[page + i] = true;
}

static void enter(vm_pindex_t page, uint32_t npages, vm_prot_t prot, unsigned flags)
{
    struct machine_run run = run_of(page, npages);
    uint32_t done;

    assert_int_equal(machine_map(space, VA(page), &run, prot, flags, &done), 0);
    assert_int_equal(done, npages);
    for (uint32_t i = 0; i < npages; i++)
        resident[page + i] = true;
}

static void release(vm_pindex_t page)
{
    struct machine_run run = run_of(page, 1);

    machine_release(&run);
    resident[page] = false;
}

static void down(void)
{
    machine_unmap(space, VA(0), VA(NPAGES), 0, NULL);
    machine_detach(space, VA(0), VA(NPAGES));
    machine_sync(space);
    for (vm_pindex_t page = 0; page < NPAGES; page++) {
        if (resident[page])
            release(page);
    }
    machine_object_fini(object);
    fl_space_destroy(map);
    sim_shutdown();
}

/* ---- accesses on a chosen CPU ---------------------------------------------------------------- */

static void on_cpu(uint32_t cpu)
{
    while (sched_cpu() != cpu)
        sim_yield();
}

static int load(uint32_t cpu, vm_pindex_t page)
{
    uint8_t byte;

    on_cpu(cpu);
    return sim_load(map, VA(page) + 1, &byte, 1, NULL);
}

static int store(uint32_t cpu, vm_pindex_t page)
{
    const uint8_t byte = 42;

    on_cpu(cpu);
    return sim_store(map, VA(page) + 2, &byte, 1, NULL);
}

/* Returns what a harvest says of one page. */
static unsigned harvest(vm_pindex_t page, unsigned clear)
{
    uint8_t bits = 0;

    machine_harvest(space, VA(page), VA(page + 1), clear, &bits);
    return bits;
}

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

        up(torture);
        attach(RW, MACHINE_ATTACH_WRITENOTIFY);
        enter(0, 5, RW, 0);
        assert_int_equal(load(0, 0), 0);
        assert_int_equal(store(0, 1), 0);
        assert_int_equal(load(0, 3), 0);
        assert_int_equal(store(1, 3), 0);
        assert_int_equal(store(1, 4), 0); /* beyond the range */
        machine_harvest(space, VA(0), VA(4), clear, bits);
        assert_int_equal(bits[2], MACHINE_WRITABLE); /* what was set stays, and nothing is added */
        bits[2] = 0;
        machine_sync(space);
        machine_harvest(space, VA(0), VA(4), BOTH, again);
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(bits[i], said[i]);
            assert_int_equal(again[i], said[i] & ~clear);
        }
        assert_int_equal(harvest(4, 0), BOTH);
        down();
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
    up(torture);
    attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    enter(0, 1, RW, 0);
    assert_int_equal(store(1, 0), 0);
    assert_int_equal(harvest(0, BOTH), BOTH);
    assert_int_equal(store(1, 0), 0);
    assert_int_equal(harvest(0, BOTH) & DIRTY, torture.late_bits ? 0 : DIRTY);
    machine_sync(space);
    assert_int_equal(harvest(0, BOTH) & DIRTY, 0);
    assert_int_equal(store(1, 0), 0);
    assert_int_equal(harvest(0, BOTH), BOTH);
    machine_sync(space);
    assert_int_equal(load(1, 0), 0);
    assert_int_equal(harvest(0, BOTH), REF);
    assert_int_equal(store(1, 0), 0); /* through the entry that the load made */
    assert_int_equal(harvest(0, REF) & DIRTY, DIRTY);
    assert_int_equal(store(1, 0), 0);
    machine_sync(space);
    assert_int_equal(harvest(0, 0) & DIRTY, DIRTY); /* it was not cleared */
    down();
}

static void test_store_after_harvest(void **state)
{
    (void)state;
    each_delay(store_after_harvest);
}

static void unmap_reports(struct sim_torture torture)
{
    uint8_t bits[3] = {0, 0, REF};

    up(torture);
    attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    enter(0, 4, RW, 0);
    assert_int_equal(load(0, 0), 0);
    assert_int_equal(store(1, 1), 0);
    assert_int_equal(store(1, 2), 0);
    assert_int_equal(store(0, 3), 0);
    assert_int_equal(harvest(2, BOTH), BOTH);
    machine_sync(space);
    machine_unmap(space, VA(0), VA(3), 0, bits);
    assert_int_equal(bits[1], torture.late_bits ? 0 : DIRTY);
    for (vm_pindex_t page = 0; page < 3; page++)
        assert_int_equal(machine_query(space, VA(page)), 0);
    machine_sync(space);
    assert_int_equal(bits[0], 0);
    assert_int_equal(bits[1], DIRTY);
    assert_int_equal(bits[2], REF);
    bits[1] = 0;
    machine_sync(space); /* once is enough */
    assert_int_equal(bits[1], 0);
    machine_unmap(space, VA(3), VA(4), 0, NULL);
    machine_sync(space);
    enter(3, 1, RW, 0);
    assert_int_equal(harvest(3, BOTH), 0); /* that was the old mapping's */
    down();
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
        up((struct sim_torture){.stale_tlb = true, .late_bits = late != 0});
        attach(RW, MACHINE_ATTACH_WRITENOTIFY);
        enter(0, 1, RW, 0);
        assert_int_equal(load(1, 0), 0);
        machine_unmap(space, VA(0), VA(1), 0, &bits);
        assert_int_equal(store(1, 0), late ? 0 : -EFAULT);
        assert_int_equal(bits, 0);
        machine_sync(space);
        assert_int_equal(bits, late ? DIRTY : 0);
        assert_int_equal(store(1, 0), -EFAULT); /* MO2 */
        down();
    }
}

static void sync_again_and_again(void *arg)
{
    const bool *stop = arg;

    while (!*stop)
        machine_sync(space);
}

/* While machine_unmap is at work, another thread's machine_sync completes its bits too early. */
static void test_sync_while_unmapping(void **state)
{
    (void)state;
    for (unsigned round = 1; round <= 50; round++) {
        uint8_t bits[NPAGES] = {0};
        bool stop = false;

        up((struct sim_torture){.late_bits = true, .preempt_permille = 20 * round});
        attach(RW, MACHINE_ATTACH_WRITENOTIFY);
        enter(0, NPAGES, RW, 0);
        sim_run("sync", sync_again_and_again, &stop);
        for (vm_pindex_t page = 0; page < NPAGES; page++)
            assert_int_equal(store((uint32_t)page % 2, page), 0);
        machine_unmap(space, VA(0), VA(NPAGES), 0, bits);
        machine_sync(space);
        for (vm_pindex_t page = 0; page < NPAGES; page++)
            assert_int_equal(bits[page], DIRTY);
        stop = true;
        sim_join_all();
        down();
    }
}

/* Late bits reach the page table when their TLB entry is evicted: one page, at addresses of one TLB set. */
static void test_eviction(void **state)
{
    (void)state;
    struct machine_run run;
    uint32_t done;
    uint8_t byte;

    up((struct sim_torture){.late_bits = true});
    attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    enter(0, 1, RW, 0);
    run = run_of(0, 1);
    for (unsigned i = 1; i <= 8; i++) {
        vm_offset_t va = VA(16 * i);

        assert_int_equal(machine_attach(space, va, va + VM_PAGE_SIZE, RW, object, 0, 1), 0);
        assert_int_equal(machine_map(space, va, &run, VM_PROT_READ, 0, &done), 0);
    }
    assert_int_equal(store(0, 0), 0);
    assert_int_equal(machine_query(space, VA(0)), MACHINE_MAPPED | MACHINE_WRITABLE);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(sim_load(map, VA(16 * (1 + i % 8)), &byte, 1, NULL), 0);
    assert_int_equal(machine_query(space, VA(0)), MACHINE_MAPPED | MACHINE_WRITABLE | BOTH);
    machine_unmap(space, VA(1), VA(16 * 8 + 1), 0, NULL);
    machine_detach(space, VA(1), VA(16 * 8 + 1));
    down();
}

/* MO6: what the machine forgets, or protects from everything, is reported nevertheless. */
static void forgotten_is_reported(struct sim_torture torture)
{
    uint8_t bits[3] = {0};

    up(torture);
    attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    enter(0, 3, RW, 0);
    assert_int_equal(store(0, 0), 0);
    assert_int_equal(store(1, 1), 0);
    assert_int_equal(load(1, 2), 0);
    sim_torture()->forgetful_permille = 1000;
    for (int i = 0; i < 20; i++)
        machine_wake(bits);
    sim_torture()->forgetful_permille = 0;
    assert_int_equal(sim_stats().forgotten, 3);
    assert_int_equal(harvest(0, 0), DIRTY);
    assert_int_equal(harvest(0, DIRTY), DIRTY);
    assert_int_equal(harvest(0, DIRTY), 0);
    machine_unmap(space, VA(0), VA(3), 0, bits);
    machine_sync(space);
    assert_int_equal(bits[0], 0);
    assert_int_equal(bits[1], DIRTY);
    assert_int_equal(bits[2], 0);
    assert_int_equal(harvest(1, 0), 0);
    enter(0, 1, RW, 0);
    assert_int_equal(store(1, 0), 0);
    assert_int_equal(machine_protect(space, VA(0), VA(1), VM_PROT_NONE), 0);
    assert_int_equal(harvest(0, 0), DIRTY);
    down();
}

static void test_forgotten(void **state)
{
    (void)state;
    each_delay(forgotten_is_reported);
}

static void test_map_dirty(void **state)
{
    (void)state;
    up((struct sim_torture){0});
    attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    enter(0, 1, RW, MACHINE_MAP_DIRTY);
    enter(1, 1, RW, MACHINE_MAP_DIRTY | MACHINE_MAP_QUICK);
    enter(2, 1, VM_PROT_READ, MACHINE_MAP_DIRTY);
    enter(3, 1, RW, 0);
    assert_int_equal(harvest(0, DIRTY), DIRTY);
    assert_int_equal(harvest(1, DIRTY), DIRTY);
    assert_int_equal(harvest(2, DIRTY), 0);
    assert_int_equal(harvest(3, DIRTY), 0);
    assert_int_equal(harvest(0, DIRTY), 0);
    assert_int_equal(store(0, 0), 0);
    assert_int_equal(harvest(0, DIRTY), BOTH);
    down();
}

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
    up(torture);
    attach(RW, 0);
    assert_int_equal(load(0, 0), -EFAULT);
    fill(0, 2, 7);
    uint64_t traps = sim_stats().traps;
    assert_int_equal(load(0, 0), 0);
    assert_int_equal(test_load8(map, VA(0) + 5), 7);
    assert_int_equal(store(0, 0), 0);
    assert_int_equal(store(1, 0), 0);
    assert_int_equal(sim_stats().self_enters, 1);
    assert_int_equal(store(1, 1), 0);
    assert_int_equal(sim_stats().traps, traps);
    assert_int_equal(load(0, 2), -EFAULT); /* it is absent */
    enter(2, 1, VM_PROT_READ, 0);
    assert_int_equal(store(0, 2), 0); /* and resident from the first mapping on */
    assert_int_equal(harvest(0, DIRTY) & DIRTY, DIRTY);
    release(0); /* not unmapped, no machine_sync */
    assert_int_equal(sim_stats().unharvested_released, 0);
    assert_int_equal(load(0, 0), -EFAULT);
    assert_int_equal(store(1, 0), -EFAULT);
    down();
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

    up(torture);
    attach(RW, MACHINE_ATTACH_WRITENOTIFY);
    fill(0, 1, 7);
    assert_int_equal(load(0, 0), -EFAULT);
    attach(VM_PROT_READ, 0);
    assert_int_equal(load(0, 0), 0);
    assert_int_equal(store(0, 0), -EFAULT);
    assert_int_equal(machine_protect(space, VA(0), VA(1), RW), 0);
    assert_int_equal(store(0, 0), 0);
    assert_int_equal(sim_execute(map, VA(0)), -EFAULT);
    attach(RW, 0);
    enter(2, 1, VM_PROT_READ, MACHINE_MAP_WIRED);
    assert_int_equal(store(0, 2), -EFAULT);
    assert_int_equal(load(0, 2), 0);
    assert_int_equal(sim_stats().self_enters, 2);
    sim_torture()->enters_itself_permille = 0;
    fill(3, 1, 7);
    assert_int_equal(load(0, 3), -EFAULT);
    down();
}

/* A page behind the object is mapped where the object has a page of its own by now. */
static void test_leaves_another_pages_mapping(void **state)
{
    (void)state;
    const vm_frame_t frame = 220;
    struct machine_run run = {.pindex = 5, .npages = 1, .frame = &frame};
    uint32_t done;

    up((struct sim_torture){.enters_itself_permille = 1000});
    attach(RW, 0);
    assert_int_equal(machine_object_init(&run.object), 0);
    assert_int_equal(machine_map(space, VA(0), &run, VM_PROT_READ, 0, &done), 0);
    fill(0, 1, 7);
    assert_int_equal(store(0, 0), -EFAULT);
    assert_int_equal(load(0, 0), 0);
    assert_int_equal(sim_frame_mappings(frame), 1);
    machine_unmap(space, VA(0), VA(1), 0, NULL);
    machine_sync(space);
    assert_int_equal(store(0, 0), 0);
    machine_release(&run);
    machine_object_fini(run.object);
    down();
}

/* A page is resident from the put of a FILL that is kept, and not while one is filled. */
static void test_enters_when_filled(void **state)
{
    (void)state;
    struct machine_run run = run_of(0, 1);
    void *addr;

    up((struct sim_torture){.enters_itself_permille = 1000});
    attach(RW, 0);
    for (int keep = 0; keep < 3; keep++) {
        assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr), 0);
        resident[0] = true;
        assert_int_equal(load(0, 0), -EFAULT);
        memset(addr, 7, VM_PAGE_SIZE);
        machine_window_put(&run, MACHINE_WINDOW_FILL, &addr, keep > 0);
        if (keep != 1) /* the second time nobody looks, and it is filled once more */
            assert_int_equal(load(0, 0), keep ? 0 : -EFAULT);
    }
    down();
}

/* Many pages, so that some have the same hash: each is found as long as it is there. */
static void test_finds_each_page(void **state)
{
    (void)state;
    vm_frame_t frame[100];
    void *addr[100];
    uint8_t byte;

    up((struct sim_torture){.enters_itself_permille = 1000});
    assert_int_equal(machine_attach(space, VA(0), VA(100), VM_PROT_READ, object, 0, 0), 0);
    for (vm_pindex_t page = 0; page < 100; page++)
        frame[page] = (vm_frame_t)(100 + page * 7 % 100);
    struct machine_run all = {.object = object, .npages = 100, .frame = frame};
    assert_int_equal(machine_window_get(&all, MACHINE_WINDOW_FILL, false, addr), 0);
    for (vm_pindex_t page = 0; page < 100; page++)
        memset(addr[page], (int)page, VM_PAGE_SIZE);
    machine_window_put(&all, MACHINE_WINDOW_FILL, addr, true);
    bool gone[100] = {false};
    for (vm_pindex_t round = 0; round < 100; round++) {
        const vm_pindex_t next = round * 37 % 100;
        struct machine_run one = {.object = object, .pindex = next, .npages = 1, .frame = &frame[next]};

        for (vm_pindex_t page = 0; page < 100; page++) {
            int error = sim_load(map, VA(page), &byte, 1, NULL);

            assert_int_equal(error, gone[page] ? -EFAULT : 0);
            assert_true(error != 0 || byte == page);
        }
        machine_release(&one);
        gone[next] = true;
    }
    machine_detach(space, VA(0), VA(100));
    down();
}

/* machine_unmap and machine_wrprotect do not keep it from entering, and its stores are the harvest's. */
static void unmapped_is_entered_again(struct sim_torture torture)
{
    uint8_t bits = 0;

    up(torture);
    attach(RW, 0);
    fill(0, 2, 7);
    assert_int_equal(store(1, 0), 0);
    machine_unmap(space, VA(0), VA(1), 0, &bits);
    machine_sync(space);
    assert_int_equal(bits, 0);
    assert_int_equal(machine_query(space, VA(0)), 0);
    assert_int_equal(load(0, 0), 0);
    assert_int_equal(harvest(0, 0), BOTH);
    assert_int_equal(harvest(0, BOTH), BOTH);
    machine_sync(space);
    assert_int_equal(harvest(0, BOTH), 0);
    machine_wrprotect(space, VA(0), VA(1));
    machine_sync(space);
    uint64_t traps = sim_stats().traps;
    assert_int_equal(store(1, 0), 0);
    assert_int_equal(sim_stats().traps, traps);
    machine_sync(space);
    assert_int_equal(harvest(0, DIRTY), BOTH);
    down();
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

    up(torture);
    attach(RW, 0);
    enter(0, 1, RW, 0);
    assert_int_equal(store(0, 0), 0); /* the core's */
    machine_wrprotect(space, VA(0), VA(1));
    machine_sync(space);
    assert_int_equal(store(0, 0), 0); /* the machine's */
    assert_int_equal(sim_stats().self_enters, 1);
    machine_unmap(space, VA(0), VA(1), 0, &bits);
    machine_sync(space);
    assert_int_equal(bits, DIRTY);
    assert_int_equal(harvest(0, DIRTY), DIRTY);
    assert_int_equal(harvest(0, DIRTY), 0);
    assert_int_equal(store(1, 0), 0); /* the machine's */
    enter(0, 1, RW, 0);
    bits = 0;
    machine_unmap(space, VA(0), VA(1), 0, &bits);
    machine_sync(space);
    assert_int_equal(bits, 0);
    assert_int_equal(harvest(0, DIRTY), DIRTY);
    assert_int_equal(store(1, 0), 0); /* the machine's */
    enter(0, 1, RW, 0);
    assert_int_equal(store(1, 0), 0); /* the core's, and the TLB had the machine's */
    machine_unmap(space, VA(0), VA(1), 0, &bits);
    machine_sync(space);
    assert_int_equal(bits, DIRTY);
    down();
}

static void test_changes_hands(void **state)
{
    (void)state;
    each_delay_mm1(changes_hands);
}

/* ---- freezing -------------------------------------------------------------------------------- */

static void freeze(vm_pindex_t start, vm_pindex_t end)
{
    assert_int_equal(machine_freeze(space, VA(start), VA(end), RW), 0);
}

static void frozen_keeps_stores_out(struct sim_torture torture)
{
    struct sim_attachment a;

    up(torture);
    attach(RW, 0);
    fill(0, 4, 7);
    assert_int_equal(store(0, 1), 0);
    assert_int_equal(store(1, 1), 0);
    sim_torture()->fail_map_nth = 1;
    assert_int_equal(machine_freeze(space, VA(1), VA(3), RW), -ENOMEM);
    assert_int_equal(store(0, 1), 0);
    freeze(1, 3);
    assert_int_equal(store(0, 1), -EFAULT);
    assert_int_equal(store(1, 1), -EFAULT);
    assert_int_equal(store(1, 2), -EFAULT);
    assert_int_equal(load(0, 1), 0);
    assert_int_equal(load(0, 2), 0);
    assert_int_equal(store(0, 2), -EFAULT);
    assert_int_equal(store(0, 0), 0);
    assert_int_equal(store(0, 3), 0);
    assert_int_equal(harvest(1, DIRTY) & DIRTY, DIRTY);
    assert_int_equal(harvest(2, DIRTY) & DIRTY, 0);
    release(2);
    machine_thaw(space, VA(1), VA(3), RW);
    assert_int_equal(store(0, 1), 0);
    assert_int_equal(store(1, 1), 0);
    assert_int_equal(load(1, 2), -EFAULT);
    assert_true(sim_attached(space, VA(1), &a));
    assert_true(a.start == VA(0) && a.end == VA(NPAGES)); /* in one piece again */
    freeze(1, 3);
    freeze(3, 4);
    machine_thaw(space, VA(1), VA(3), RW);
    assert_int_equal(store(0, 1), 0);
    assert_int_equal(store(0, 3), -EFAULT); /* its neighbour is frozen still */
    machine_thaw(space, VA(3), VA(4), RW);
    down();
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
        up((struct sim_torture){.enters_itself_permille = i % 2 ? 1000 : 0});
        attach(RW, 0);
        enter(0, 1, RW, 0);
        for (unsigned round = 0; round < 4; round++) {
            freeze(0, 1);
            stored[i % 2] += store(0, 0) == 0;
            assert_int_equal(load(1, 0), 0);
            machine_thaw(space, VA(0), VA(1), RW);
            enter(0, 1, RW, 0);
        }
        down();
    }
    assert_int_equal(stored[0], 80);
    assert_true(stored[1] > 0 && stored[1] < 80);
}

static void writenotify(struct sim_torture torture)
{
    struct sim_attachment a;

    up(torture);
    attach(RW, 0);
    fill(0, 4, 7);
    assert_int_equal(store(0, 1), 0);
    assert_int_equal(store(1, 2), 0);
    freeze(1, 3);
    assert_int_equal(harvest(1, DIRTY) & DIRTY, DIRTY);
    assert_int_equal(harvest(2, DIRTY) & DIRTY, DIRTY);
    sim_torture()->fail_map_nth = 1;
    assert_int_equal(machine_writenotify(space, VA(1), VA(3), RW, object, 1), -ENOMEM);
    assert_true(sim_attached(space, VA(1), &a) && a.frozen && a.flags == 0);
    assert_int_equal(machine_writenotify(space, VA(1), VA(3), RW, object, 1), 0);
    assert_true(sim_attached(space, VA(1), &a) && !a.frozen && a.flags == MACHINE_ATTACH_WRITENOTIFY);
    for (uint32_t cpu = 0; cpu < 2; cpu++) {
        for (vm_pindex_t page = 0; page < 4; page++) {
            assert_int_equal(load(cpu, page), page == 1 || page == 2 ? -EFAULT : 0);
            assert_int_equal(store(cpu, page), page == 1 || page == 2 ? -EFAULT : 0);
        }
    }
    enter(1, 1, VM_PROT_READ, 0);
    assert_int_equal(store(0, 1), -EFAULT); /* the first store faults */
    enter(1, 1, RW, 0);
    assert_int_equal(store(0, 1), 0);
    down();
}

static void test_writenotify(void **state)
{
    (void)state;
    each_delay_mm1(writenotify);
}

/* ---- stores that no harvest took ------------------------------------------------------------- */

static void unharvested(struct sim_torture torture)
{
    up(torture);
    attach(RW, 0);
    fill(0, NPAGES, 7);
    for (vm_pindex_t page = 0; page < 7; page++)
        assert_int_equal(store((uint32_t)page % 2, page), 0);
    assert_int_equal(load(0, 7), 0);
    assert_int_equal(harvest(1, BOTH), BOTH);
    assert_int_equal(harvest(2, REF), BOTH); /* not cleared */
    assert_int_equal(harvest(3, BOTH), BOTH);
    assert_int_equal(harvest(4, BOTH), BOTH);
    machine_sync(space);
    assert_int_equal(store(0, 3), 0); /* the gap: it was clean, and is stored to before the release */
    machine_unmap(space, VA(0), VA(1), 0, NULL);
    machine_sync(space);
    for (vm_pindex_t page = 0; page < 4; page++)
        release(page);
    release(7);
    assert_int_equal(sim_stats().unharvested_released, 3); /* 0, 2 and 3 */
    assert_int_equal(sim_stats().unharvested_detached, 0);
    machine_detach(space, VA(0), VA(NPAGES));
    assert_int_equal(sim_stats().unharvested_detached, 2); /* 5 and 6 */
    machine_sync(space);
    for (vm_pindex_t page = 4; page < 7; page++)
        release(page);
    assert_int_equal(sim_stats().unharvested_released, 3);
    down();
}

static void test_unharvested(void **state)
{
    (void)state;
    each_delay_mm1(unharvested);
}

/* ---- what the sim catches -------------------------------------------------------------------- */

static void frozen_range(void)
{
    up((struct sim_torture){.enters_itself_permille = 1000});
    attach(RW, 0);
    fill(0, 4, 7);
    freeze(1, 3);
}

static void freeze_twice(void *arg)
{
    (void)arg;
    frozen_range();
    freeze(2, 4);
}

static void thaw_more(void *arg)
{
    (void)arg;
    frozen_range();
    machine_thaw(space, VA(1), VA(4), RW);
}

static void freeze_with_other_rights(void *arg)
{
    (void)arg;
    frozen_range();
    (void)!machine_freeze(space, VA(4), VA(5), VM_PROT_READ);
}

static void freeze_a_hole(void *arg)
{
    (void)arg;
    frozen_range();
    (void)!machine_freeze(space, VA(NPAGES - 1), VA(NPAGES + 1), RW);
}

static void detach_frozen(void *arg)
{
    (void)arg;
    frozen_range();
    machine_detach(space, VA(0), VA(NPAGES));
}

static void protect_frozen(void *arg)
{
    (void)arg;
    frozen_range();
    (void)!machine_protect(space, VA(2), VA(3), VM_PROT_READ);
}

static void writenotify_not_frozen(void *arg)
{
    (void)arg;
    frozen_range();
    (void)!machine_writenotify(space, VA(2), VA(4), RW, object, 2);
}

static void writenotify_of_another_page(void *arg)
{
    (void)arg;
    frozen_range();
    (void)!machine_writenotify(space, VA(1), VA(3), RW, object, 2);
}

static void writenotify_not_harvested(void *arg)
{
    (void)arg;
    up((struct sim_torture){.enters_itself_permille = 1000, .late_bits = true});
    attach(RW, 0);
    fill(0, 4, 7);
    assert_int_equal(store(1, 1), 0);
    freeze(1, 3);
    (void)!machine_writenotify(space, VA(1), VA(3), RW, object, 1);
}

static void harvest_too_much(void *arg)
{
    static uint8_t bits[MACHINE_RUN_MAX + 1];

    (void)arg;
    frozen_range();
    machine_harvest(space, VA(0), VA(MACHINE_RUN_MAX + 1), 0, bits);
}

/* MO2 still holds for what the core entered. */
static void release_what_the_core_mapped(void *arg)
{
    (void)arg;
    frozen_range();
    enter(0, 1, RW, 0);
    release(0);
}

static void release_before_sync(void *arg)
{
    (void)arg;
    up((struct sim_torture){.enters_itself_permille = 1000, .stale_tlb = true});
    attach(RW, 0);
    enter(0, 1, RW, 0);
    assert_int_equal(load(1, 0), 0);
    machine_unmap(space, VA(0), VA(1), 0, NULL);
    assert_int_equal(load(0, 0), 0); /* the machine's own, on the other CPU */
    release(0);
}

static void fill_what_programs_see(void *arg)
{
    (void)arg;
    frozen_range();
    assert_int_equal(load(0, 0), 0);
    fill(0, 1, 8);
}

static void two_frames_of_one_page(void *arg)
{
    (void)arg;
    frozen_range();
    struct machine_run run = {.object = object, .pindex = 1, .npages = 1, .frame = &frames[5]};
    void *addr;
    (void)!machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr);
}

static void test_catches(void **state)
{
    (void)state;
    assert_true(test_panics(freeze_twice, NULL, "frozen already"));
    assert_true(test_panics(thaw_more, NULL, "is not frozen"));
    assert_true(test_panics(freeze_with_other_rights, NULL, "with rights"));
    assert_true(test_panics(freeze_a_hole, NULL, "nothing is attached"));
    assert_true(test_panics(detach_frozen, NULL, "is detached or replaced"));
    assert_true(test_panics(protect_frozen, NULL, "machine_protect of a frozen range"));
    assert_true(test_panics(writenotify_not_frozen, NULL, "is not frozen"));
    assert_true(test_panics(writenotify_of_another_page, NULL, "something else is attached"));
    assert_true(test_panics(writenotify_not_harvested, NULL, "MO6"));
    assert_true(test_panics(harvest_too_much, NULL, "a range of 257 pages"));
    assert_true(test_panics(release_what_the_core_mapped, NULL, "MO2"));
    assert_true(test_panics(release_before_sync, NULL, "machine_sync is owed"));
    assert_true(test_panics(fill_what_programs_see, NULL, "MO4"));
    assert_true(test_panics(two_frames_of_one_page, NULL, "MO4"));
}

/* ---- a small core, in the right order and in wrong ones -------------------------------------- */

#define NWRITERS 3

enum toy_mistake {
    TOY_RIGHT,
    TOY_NO_FREEZE,        /* evicts what the harvest found clean, without freezing it */
    TOY_NO_UNMAP_BITS,    /* looks at the harvest alone */
    TOY_BITS_BEFORE_SYNC, /* looks at the unmapping's bits before machine_sync */
    TOY_COPY_BEFORE_SYNC, /* writes a dirty page back between the harvest and machine_sync */
};

static struct toy {
    enum toy_mistake mistake;
    struct machine_lock lock; /* of what follows */
    struct prng prng;
    bool present[NPAGES], busy[NPAGES], dirty[NPAGES];
    uint64_t disk[NPAGES][NWRITERS];
    uint32_t writers;       /* that have not ended */
    uint64_t lost, evicted; /* stores; pages */
} toy;

/* Reads the page in; perhaps maps it. */
static void toy_fault(vm_pindex_t page)
{
    struct machine_run run = run_of(page, 1);
    void *addr;

    machine_lock(&toy.lock);
    bool mine = !toy.present[page] && !toy.busy[page];
    toy.busy[page] = toy.busy[page] || mine;
    bool enters = prng_chance(&toy.prng, 500);
    uint32_t done;
    if (toy.present[page] && enters)
        assert_int_equal(machine_map(space, VA(page), &run, RW, 0, &done), 0);
    machine_unlock(&toy.lock);
    if (!mine)
        return;
    assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr), 0);
    memset(addr, 0, VM_PAGE_SIZE);
    memcpy(addr, toy.disk[page], sizeof(toy.disk[page]));
    machine_window_put(&run, MACHINE_WINDOW_FILL, &addr, true);
    machine_lock(&toy.lock);
    toy.busy[page] = false;
    toy.present[page] = true;
    machine_unlock(&toy.lock);
}

/* Each writer has a word in each page, which it adds to, and which only it changes. */
static void toy_writer(void *arg)
{
    const uint64_t me = (uint64_t)(uintptr_t)arg;
    uint64_t mine[NPAGES] = {0}, word;

    for (int i = 0; i < 150; i++) {
        vm_pindex_t page = prng_below(&toy.prng, NPAGES);
        vm_offset_t va = VA(page) + me * sizeof(word);

        while (sim_load(map, va, &word, sizeof(word), NULL) != 0)
            toy_fault(page);
        if (word != mine[page])
            toy.lost++;
        mine[page] = word + 1;
        while (sim_store(map, va, &mine[page], sizeof(word), NULL) != 0)
            toy_fault(page);
    }
    toy.writers--;
}

static void toy_copy(void)
{
    for (vm_pindex_t page = 0; page < NPAGES; page++) {
        if (toy.dirty[page] && toy.present[page])
            memcpy(toy.disk[page], sim_frame(frames[page]), sizeof(toy.disk[page]));
        toy.dirty[page] = toy.dirty[page] && !toy.present[page];
    }
}

static void toy_note(uint8_t *bits)
{
    for (vm_pindex_t page = 0; page < NPAGES; page++) {
        toy.dirty[page] = toy.dirty[page] || (bits[page] & DIRTY);
        bits[page] = 0;
    }
}

static void toy_write_back(void)
{
    uint8_t bits[NPAGES] = {0};

    machine_harvest(space, VA(0), VA(NPAGES), DIRTY, bits);
    toy_note(bits);
    if (toy.mistake == TOY_COPY_BEFORE_SYNC) {
        toy_copy();
        sim_sleep_ns(10000); /* the disk is slow */
    }
    machine_sync(space);
    toy_copy();
}

/* Finds out, in a frozen range, which pages are dirty, and unmaps them all. */
static void toy_unmap(void)
{
    const unsigned clear = prng_chance(&toy.prng, 500) ? DIRTY : 0;
    uint8_t bits[NPAGES] = {0}, late[NPAGES] = {0};

    machine_harvest(space, VA(0), VA(NPAGES), clear, bits);
    toy_note(bits);
    machine_unmap(space, VA(0), VA(NPAGES), 0, late);
    if (toy.mistake == TOY_BITS_BEFORE_SYNC)
        memcpy(bits, late, sizeof(bits));
    machine_sync(space);
    if (toy.mistake != TOY_BITS_BEFORE_SYNC)
        memcpy(bits, late, sizeof(bits));
    if (toy.mistake != TOY_NO_UNMAP_BITS)
        toy_note(bits);
}

static void toy_evict(void)
{
    if (toy.mistake != TOY_NO_FREEZE)
        freeze(0, NPAGES);
    toy_unmap();
    for (vm_pindex_t page = 0; page < NPAGES; page++) {
        struct machine_run run = run_of(page, 1);

        if (!toy.present[page] || toy.dirty[page])
            continue;
        machine_release(&run);
        toy.present[page] = false;
        toy.evicted++;
    }
    if (toy.mistake != TOY_NO_FREEZE)
        machine_thaw(space, VA(0), VA(NPAGES), RW);
}

static void toy_daemon(void *arg)
{
    (void)arg;
    while (toy.writers > 0) {
        machine_lock(&toy.lock);
        if (prng_chance(&toy.prng, 500))
            toy_write_back();
        else
            toy_evict();
        machine_unlock(&toy.lock);
        sim_sleep_ns(prng_below(&toy.prng, 20000));
    }
}

static void toy_run(uint64_t seed, enum toy_mistake mistake)
{
    struct sim_params params = test_params_hostile(seed);

    params.torture.enters_itself_permille = (uint32_t)(seed % 4 * 333);
    params.torture.late_bits = seed % 3 != 0;
    params.torture.preempt_permille += 50;
    params.no_flusher = true;
    test_boot(&params);
    map = test_space();
    space = fl_space_machine(map);
    assert_int_equal(machine_object_init(&object), 0);
    attach(RW, 0);
    toy = (struct toy){.mistake = mistake, .writers = NWRITERS};
    prng_init(&toy.prng, seed);
    for (uintptr_t i = 0; i < NWRITERS; i++)
        sim_run("writer", toy_writer, (void *)i);
    sim_run("daemon", toy_daemon, NULL);
    sim_join_all();
    toy.lost += sim_stats().unharvested_released;
    memcpy(resident, toy.present, sizeof(resident));
    down();
}

/* Returns what is lost in `runs` runs, until something is. */
static uint64_t toy_runs(uint64_t seed, enum toy_mistake mistake, uint64_t runs)
{
    uint64_t lost = 0, evicted = 0;

    for (uint64_t i = 0; i < runs && lost == 0; i++) {
        toy_run(seed + i, mistake);
        if (toy.lost > 0)
            print_message("mistake %u: seed %#llx lost %llu\n", mistake, (unsigned long long)(seed + i),
                          (unsigned long long)toy.lost);
        lost += toy.lost;
        evicted += toy.evicted;
    }
    assert_true(evicted > 0);
    return lost;
}

static void test_nothing_is_lost(void **state)
{
    (void)state;
    assert_int_equal(toy_runs(test_seed(32), TOY_RIGHT, test_rounds(300)), 0);
}

static void test_mistakes_lose(void **state)
{
    (void)state;
    for (enum toy_mistake mistake = TOY_NO_FREEZE; mistake <= TOY_COPY_BEFORE_SYNC; mistake++)
        assert_true(toy_runs(test_seed(33), mistake, 5000) > 0);
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
        cmocka_unit_test(test_nothing_is_lost),
        cmocka_unit_test(test_mistakes_lose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
