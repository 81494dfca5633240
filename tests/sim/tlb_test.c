/*
 * tlb_test.c: the TLBs against a plain list of what was ever put in; and stale entries under the real core:
 * they stay until machine_sync, and a frame that is released before that is caught.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "sim/tlb.h"
#include "support/boot.h"

/* ---- the model: for each CPU, space and page the last entry put in, unless it was dropped since  */

#define NCPUS   3
#define NSPACES 2
#define NVPNS   200

struct model_entry {
    bool live; /* may be in the TLB; if it is not live, it must not be */
    vm_frame_t frame;
};

static struct model_entry model[NCPUS][NSPACES][NVPNS];
static char space_name[NSPACES]; /* spaces are only compared, never dereferenced */
static struct prng prng;

static struct machine_space *space_of(uint64_t i)
{
    return (struct machine_space *)(void *)&space_name[i];
}

static unsigned compare(void)
{
    unsigned hits = 0;

    for (uint32_t cpu = 0; cpu < NCPUS; cpu++) {
        for (unsigned s = 0; s < NSPACES; s++) {
            for (unsigned vpn = 0; vpn < NVPNS; vpn++) {
                const struct tlb_entry *entry = tlb_lookup(cpu, space_of(s), ptoa(vpn) + 123);

                if (entry == NULL)
                    continue;
                hits++;
                assert_true(model[cpu][s][vpn].live);
                assert_int_equal(entry->frame, model[cpu][s][vpn].frame);
            }
        }
    }
    return hits;
}

static void compare_frame(vm_frame_t frame)
{
    bool found = false;
    uint32_t cpu;
    vm_offset_t va;

    for (unsigned i = 0; i < NCPUS * NSPACES * NVPNS; i++) {
        const struct tlb_entry *entry =
            tlb_lookup(i / (NSPACES * NVPNS), space_of(i / NVPNS % NSPACES), ptoa(i % NVPNS));

        found = found || (entry != NULL && entry->frame == frame);
    }
    assert_int_equal(tlb_has_frame(frame, &cpu, &va), found);
}

static void drop_range(unsigned s)
{
    uint64_t start = prng_below(&prng, NVPNS), end = prng_range(&prng, start, NVPNS);

    if (prng_chance(&prng, 100)) {
        tlb_drop_space(space_of(s));
        start = 0;
        end = NVPNS;
    } else {
        tlb_drop_range(space_of(s), ptoa(start), ptoa(end));
    }
    for (uint32_t cpu = 0; cpu < NCPUS; cpu++) {
        for (uint64_t vpn = start; vpn < end; vpn++)
            model[cpu][s][vpn].live = false;
    }
}

static void test_model(void **state)
{
    (void)state;
    struct sim_params params = test_params(test_seed(1));
    unsigned most = 0;

    params.ncpus = NCPUS;
    sim_machine_init(&params);
    prng_init(&prng, params.seed);
    memset(model, 0, sizeof(model));
    for (uint64_t round = test_rounds(4000); round > 0; round--) {
        uint32_t cpu = (uint32_t)prng_below(&prng, NCPUS);
        uint64_t s = prng_below(&prng, NSPACES), vpn = prng_below(&prng, NVPNS);
        struct tlb_entry entry = {
            .space = space_of(s), .vpn = vpn, .frame = (vm_frame_t)prng_below(&prng, 50), .npages = 1};

        if (prng_chance(&prng, 50)) {
            drop_range((unsigned)s);
        } else {
            tlb_insert(cpu, &entry);
            model[cpu][s][vpn] = (struct model_entry){.live = true, .frame = entry.frame};
            assert_non_null(tlb_lookup(cpu, entry.space, ptoa(vpn)));
        }
        if (round % 16 == 0) {
            unsigned hits = compare();

            most = hits > most ? hits : most;
            compare_frame((vm_frame_t)prng_below(&prng, 50));
        }
    }
    assert_true(most > NCPUS * 40 && most <= NCPUS * 64);
    tlb_reset();
    sim_machine_fini();
}

/* ---- under the core -------------------------------------------------------------------------- */

static struct vm_map *map;
static vm_offset_t at;

static void up(bool stale)
{
    struct sim_params params = test_params(test_seed(2));

    params.ncpus = 1;
    params.torture.stale_tlb = stale;
    test_boot(&params);
    map = test_space();
    int64_t va = fl_sys_mmap(map, 0, ptoa(4), VM_PROT_READ | VM_PROT_WRITE, FL_MAP_PRIVATE | FL_MAP_ANONYMOUS,
                             NULL, 0);
    assert_true(va > 0);
    at = (vm_offset_t)va;
}

static void down(void)
{
    fl_space_destroy(map);
    sim_shutdown();
}

static void test_stale_until_sync(void **state)
{
    (void)state;
    up(true);
    struct machine_space *space = fl_space_machine(map);
    test_store8(map, at, 42);
    assert_int_equal(test_load8(map, at), 42);
    uint64_t traps = sim_stats().traps;
    machine_unmap(space, at, at + VM_PAGE_SIZE, 0, NULL);
    assert_int_equal(machine_query(space, at), 0);
    test_store8(map, at, 43); /* through the old entry: no trap, and the same page */
    assert_int_equal(sim_stats().traps, traps);
    assert_true(sim_stats().tlb_stale_uses > 0);
    machine_sync(space);
    assert_int_equal(test_load8(map, at), 43);
    assert_int_equal(sim_stats().traps, traps + 1);
    down();
}

static void test_fresh_without_torture(void **state)
{
    (void)state;
    up(false);
    struct machine_space *space = fl_space_machine(map);
    test_store8(map, at, 42);
    uint64_t traps = sim_stats().traps;
    machine_unmap(space, at, at + VM_PAGE_SIZE, 0, NULL);
    assert_int_equal(test_load8(map, at), 42);
    assert_int_equal(sim_stats().traps, traps + 1);
    assert_int_equal(sim_stats().tlb_stale_uses, 0);
    down();
}

static void test_errors_of_accesses(void **state)
{
    (void)state;
    uint8_t buf[64] = {0};
    size_t done;

    up(true);
    assert_int_equal(fl_sys_mprotect(map, at + VM_PAGE_SIZE, VM_PAGE_SIZE, VM_PROT_READ), 0);
    assert_int_equal(sim_store(map, at + VM_PAGE_SIZE - 10, buf, sizeof(buf), &done), -EACCES);
    assert_int_equal(done, 10);
    assert_int_equal(sim_load(map, at + VM_PAGE_SIZE - 10, buf, sizeof(buf), &done), 0);
    assert_int_equal(done, sizeof(buf));
    assert_int_equal(fl_sys_munmap(map, at + ptoa(3), VM_PAGE_SIZE), 0);
    assert_int_equal(sim_load(map, at + ptoa(3) - 1, buf, 2, &done), -EFAULT);
    assert_int_equal(done, 1);
    assert_int_equal(sim_load(map, UINT64_MAX - 100, buf, 1, NULL), -EFAULT);
    assert_int_equal(sim_execute(map, at), -EACCES);
    down();
}

static void add_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++)
        assert_int_equal(sim_fetch_add(map, at + 8, 3, NULL), 0);
}

/* Atomic adds of many fibers, on several CPUs, while mappings vanish: none is lost. */
static void test_fetch_add(void **state)
{
    (void)state;
    uint64_t sum;
    uint64_t seed = test_seed(3);

    for (uint64_t round = 0; round < 10; round++) {
        struct sim_params params = test_params_hostile(seed + round);

        test_boot(&params);
        map = test_space();
        int64_t va = fl_sys_mmap(map, 0, ptoa(1), VM_PROT_READ | VM_PROT_WRITE,
                                 FL_MAP_PRIVATE | FL_MAP_ANONYMOUS, NULL, 0);
        assert_true(va > 0);
        at = (vm_offset_t)va;
        for (int i = 0; i < 6; i++)
            sim_run("add", add_many, NULL);
        sim_join_all();
        assert_int_equal(sim_fetch_add(map, at + 8, 0, &sum), 0);
        assert_int_equal(sum, 6 * 100 * 3);
        down();
    }
}

/* ---- what the sim catches -------------------------------------------------------------------- */

static void release_without_sync(void *arg)
{
    vm_frame_t frame;
    vm_prot_t prot;
    bool wired;

    (void)arg;
    up(true);
    test_store8(map, at, 42);
    struct machine_space *space = fl_space_machine(map);
    assert_true(sim_mapped(space, at, &frame, &prot, &wired));
    struct sim_attachment a;
    assert_true(sim_attached(space, at, &a));
    struct machine_run run = {
        .object = a.object, .pindex = a.pindex + atop(at - a.start), .npages = 1, .frame = &frame};
    machine_unmap(space, at, at + VM_PAGE_SIZE, MACHINE_UNMAP_RELEASE, NULL);
    machine_release(&run);
}

static void forget_space(void *arg)
{
    (void)arg;
    up(true);
    test_store8(map, at, 42);
    sim_shutdown();
}

static void test_catches(void **state)
{
    (void)state;
    assert_true(test_panics(release_without_sync, NULL, "machine_sync is owed"));
    assert_true(test_panics(forget_space, NULL, "leak"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_stale_until_sync),
        cmocka_unit_test(test_fresh_without_torture),
        cmocka_unit_test(test_errors_of_accesses),
        cmocka_unit_test(test_fetch_add),
        cmocka_unit_test(test_catches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
