/*
 * commit_test.c: promised memory: what counts, and that a strict computer keeps what it promises.
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "support/boot.h"
#include "vm/vm_commit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define BASE  ((vm_offset_t)0x10000000)
#define VA(p) (BASE + ptoa((vm_pindex_t)(p)))
#define RW    (VM_PROT_READ | VM_PROT_WRITE)
#define ANON  (FL_MAP_PRIVATE | FL_MAP_ANONYMOUS | FL_MAP_FIXED)

static struct vm_map *map;

static void begin(uint64_t seed, uint32_t nframes, uint32_t swap_pages, bool hostile)
{
    struct sim_params params = hostile ? test_params_hostile(seed) : test_params(seed);
    params.nframes = nframes;
    params.swap_pages = swap_pages;
    params.overcommit = FL_OVERCOMMIT_STRICT;
    test_boot(&params);
    map = test_space();
}

static void end(void)
{
    sim_vm_check();
    fl_space_destroy(map);
    sim_shutdown();
}

static int map_pages(uint32_t first, uint32_t npages, int prot, int flags)
{
    int64_t got = fl_sys_mmap(map, VA(first), ptoa((vm_pindex_t)npages), prot, flags, NULL, 0);
    return got < 0 ? (int)got : 0;
}

static uint64_t committed(void)
{
    uint64_t limit;
    return vm_committed(&limit);
}

static uint32_t limit(void)
{
    uint64_t most;
    (void)!vm_committed(&most);
    return (uint32_t)most;
}

static void what_counts(void **state)
{
    (void)state;
    struct vm_map *child;
    begin(1, 256, 100, false);
    assert_int_equal(map_pages(0, 10, RW, ANON), 0);
    assert_int_equal(committed(), 10);
    assert_int_equal(map_pages(10, 10, VM_PROT_READ, ANON), 0);
    assert_int_equal(map_pages(20, 10, VM_PROT_NONE, ANON), 0);
    assert_int_equal(committed(), 10);
    assert_int_equal(map_pages(30, 10, VM_PROT_READ, FL_MAP_SHARED | FL_MAP_ANONYMOUS | FL_MAP_FIXED), 0);
    assert_int_equal(committed(), 20);
    /* What was writable once may have bytes of its own. */
    assert_int_equal(fl_sys_mprotect(map, VA(0), ptoa(10), VM_PROT_READ), 0);
    assert_int_equal(committed(), 20);
    assert_int_equal(fl_sys_mprotect(map, VA(10), ptoa(20), RW), 0);
    assert_int_equal(committed(), 40);
    assert_int_equal(fl_space_fork(map, &child), 0);
    assert_int_equal(committed(), 80);
    sim_vm_check();
    fl_space_destroy(child);
    assert_int_equal(fl_sys_munmap(map, VA(5), ptoa(10)), 0);
    assert_int_equal(committed(), 30);
    assert_int_equal(fl_sys_mremap(map, VA(30), ptoa(10), ptoa(20), 0, 0), (int64_t)VA(30));
    assert_int_equal(committed(), 40);
    end();
}

static void what_is_refused(void **state)
{
    (void)state;
    struct vm_map *child;
    begin(2, 256, 100, false);
    uint32_t most = limit();
    assert_true(most > 300 && most < 356);
    fl_space_set_brk(map, VA(5000), VA(6000));
    assert_int_equal(map_pages(0, most + 1, RW, ANON), -ENOMEM);
    assert_int_equal(map_pages(0, most - 5, RW, ANON), 0);
    assert_int_equal(map_pages(1000, 6, RW, ANON), -ENOMEM);
    assert_int_equal(map_pages(1000, 6, VM_PROT_READ, ANON), 0);
    assert_int_equal(fl_sys_mprotect(map, VA(1000), ptoa(6), RW), -ENOMEM);
    assert_int_equal(fl_sys_mprotect(map, VA(1000), ptoa(5), RW), 0);
    assert_int_equal(fl_sys_mremap(map, VA(0), ptoa(most - 5), ptoa(most - 4), FL_MREMAP_MAYMOVE, 0),
                     -ENOMEM);
    assert_int_equal(fl_sys_brk(map, VA(5001)), VA(5000));
    assert_int_equal(fl_space_fork(map, &child), -ENOMEM);
    assert_int_equal(committed(), most);
    assert_int_equal(fl_sys_munmap(map, VA(0), ptoa(most / 2 + 5)), 0);
    assert_int_equal(fl_space_fork(map, &child), 0);
    fl_space_destroy(child);
    end();
}

/* Whatever was promised can be filled, in two spaces at once, with every page written. */
static void what_is_promised_is_there(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < test_budget(40); seed++) {
        struct vm_map *child;
        begin(seed, 128, seed % 3 == 0 ? 0 : 300, seed % 2 != 0);
        uint32_t half = limit() / 2;
        assert_int_equal(map_pages(0, half, RW, ANON), 0);
        for (uint32_t p = 0; p < half; p++)
            test_store8(map, VA(p), (uint8_t)p);
        assert_int_equal(fl_space_fork(map, &child), 0);
        for (uint32_t p = 0; p < half; p++) {
            test_store8(child, VA(p), (uint8_t)(p + 1));
            test_store8(map, VA(half - 1 - p), (uint8_t)(half - 1 - p + 2));
        }
        for (uint32_t p = 0; p < half; p++) {
            assert_int_equal(test_load8(child, VA(p)), (uint8_t)(p + 1));
            assert_int_equal(test_load8(map, VA(p)), (uint8_t)(p + 2));
        }
        fl_space_destroy(child);
        end();
    }
}

static void lazy_promises_anything(void **state)
{
    (void)state;
    struct sim_params params = test_params(4);
    test_boot(&params);
    map = test_space();
    assert_int_equal(map_pages(0, 1 << 20, RW, ANON), 0);
    assert_int_equal(committed(), 1 << 20);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_counts),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(what_is_promised_is_there),
        cmocka_unit_test(lazy_promises_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
