/*
 * prefaultd_test.c: the prefault daemon: it maps what a stream has read ahead, has room for a few wishes, and
 * leaves a map that ends, a mapping that goes and a VM that halts.
 */
#include "vm/vm_prefaultd.h"
#include "support/one_file.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NPAGES 1024
#define MS     UINT64_C(1000000)

static vm_offset_t shared;

static void begin(struct sim_params params)
{
    params.nframes = 512;
    one_file_boot(&params, test_disk(ptoa(NPAGES), VM_PAGE_SIZE, params.seed), RW);
    shared = test_mmap(map, &file, FL_MAP_SHARED, NPAGES);
}

/* Pages [start, end) in order, as a program does that works on each for a while. */
static void read_on(vm_pindex_t start, vm_pindex_t end, uint64_t work_ns)
{
    for (vm_pindex_t i = start; i < end; i++) {
        assert_int_equal(test_load8(map, shared + ptoa(i)), test_byte(ptoa(i)));
        if (work_ns > 0)
            sim_sleep_ns(work_ns);
    }
}

static uint64_t faults(void)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    return stats.faults;
}

static bool wish(vm_pindex_t start, vm_pindex_t end)
{
    vm_map_lock_read(map);
    bool taken = vm_prefaultd_wakeup(map, shared + ptoa(start), shared + ptoa(end));
    vm_map_unlock_read(map);
    return taken;
}

/* ---- serving ------------------------------------------------------------------------------------------- */

/* A stream that works on its pages meets a fault at each mark, and hardly another one. */
static void a_stream_finds_its_pages_mapped(void **state)
{
    (void)state;
    begin(test_params(1));
    read_on(0, NPAGES / 2, 20000);
    uint64_t before = faults();
    read_on(NPAGES / 2, NPAGES, 20000);
    assert_true(faults() - before < NPAGES / 2 / 16);
    one_file_end();
}

static void every_byte_is_right(uint64_t seed)
{
    struct prng prng;
    prng_init(&prng, seed);
    begin(test_params_hostile(seed));
    for (vm_pindex_t at = 0, end; at < NPAGES; at = end) {
        end = at + prng_range(&prng, 1, 300);
        end = end < NPAGES ? end : NPAGES;
        read_on(at, end, prng_chance(&prng, 500) ? prng_below(&prng, 20000) : 0);
    }
    one_file_end();
}

static void streams_under_torture(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < test_rounds(20); i++)
        every_byte_is_right(test_seed(100 + i));
}

/* ---- wishes -------------------------------------------------------------------------------------------- */

static void there_is_room_for_a_few_wishes(void **state)
{
    (void)state;
    uint32_t n = 0;
    begin(test_params(2));
    sim_settle(); /* the daemon sleeps; nothing runs until this fiber waits */
    while (n < 1000 && wish(n, n + 1))
        n++;
    assert_true(n >= 4 && n < 100);
    sim_settle();
    assert_true(wish(0, 1));
    one_file_end();
}

/* Beside nonsense: where nothing is mapped, beyond the file's end, and of no page. */
static void pointless_wishes_are_harmless(void **state)
{
    (void)state;
    begin(test_params(3));
    sim_settle();
    assert_true(wish(NPAGES, NPAGES + 100) && wish(NPAGES - 1, NPAGES + 100) && wish(5, 5) && wish(7, 6));
    assert_int_equal(fl_sys_mprotect(map, shared, ptoa(4), VM_PROT_NONE), 0);
    assert_true(wish(0, 8));
    sim_settle();
    assert_int_equal(fl_sys_mprotect(map, shared, ptoa(4), PROT_RW), 0);
    read_on(0, 20, 0);
    one_file_end();
}

static void forgotten_wishes_are_not_served(void **state)
{
    (void)state;
    begin(test_params(4));
    sim_settle();
    assert_true(wish(0, NPAGES) && wish(0, NPAGES));
    vm_prefaultd_forget(map);
    vm_prefaultd_forget(map);
    sim_settle();
    assert_true(wish(0, 1));
    one_file_end();
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

static void begin_stream(uint64_t seed, struct prng *prng)
{
    prng_init(prng, seed);
    begin(test_params_hostile(seed));
    uint64_t work_ns = prng_below(prng, 20000);
    vm_pindex_t npages = prng_range(prng, 100, 400);
    read_on(0, npages, work_ns);
    (void)!wish(npages, NPAGES);
    if (prng_chance(prng, 500))
        sim_sleep_ns(prng_below(prng, 1 * MS));
}

/* one_file_end destroys the space while the daemon may be at work in it. */
static void a_map_ends_while_it_is_served(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < test_rounds(60); i++) {
        struct prng prng;
        begin_stream(test_seed(200 + i), &prng);
        fl_space_destroy(map);
        map = test_space();
        one_file_end();
    }
}

/* What is mapped there instead shows none of the file's pages. */
static void a_mapping_goes_while_it_is_served(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < test_rounds(60); i++) {
        struct prng prng;
        begin_stream(test_seed(300 + i), &prng);
        int64_t va = fl_sys_mmap(map, shared, ptoa(NPAGES), PROT_RW,
                                 FL_MAP_PRIVATE | FL_MAP_ANONYMOUS | FL_MAP_FIXED, NULL, 0);
        assert_int_equal(va, shared);
        for (vm_pindex_t p = 100; p < NPAGES; p += prng_range(&prng, 1, 40))
            assert_int_equal(test_load8(map, shared + ptoa(p)), 0);
        one_file_end();
    }
}

/* Stores beside the daemon, which maps pages as clean. */
static void stores_beside_the_daemon_are_known(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < test_rounds(30); i++) {
        struct prng prng;
        uint64_t seed = test_seed(400 + i);
        prng_init(&prng, seed);
        begin(test_params_hostile(seed));
        for (vm_pindex_t p = 0; p < NPAGES; p++)
            test_store8(map, shared + ptoa(p), (uint8_t)(p + 1));
        assert_int_equal(fl_sys_msync(map, shared, ptoa(NPAGES), FL_MS_SYNC), 0);
        for (vm_pindex_t p = 0; p < NPAGES; p++)
            assert_int_equal(disk_byte(ptoa(p)), (uint8_t)(p + 1));
        one_file_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_finds_its_pages_mapped),
        cmocka_unit_test(streams_under_torture),
        cmocka_unit_test(there_is_room_for_a_few_wishes),
        cmocka_unit_test(pointless_wishes_are_harmless),
        cmocka_unit_test(forgotten_wishes_are_not_served),
        cmocka_unit_test(a_map_ends_while_it_is_served),
        cmocka_unit_test(a_mapping_goes_while_it_is_served),
        cmocka_unit_test(stores_beside_the_daemon_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
