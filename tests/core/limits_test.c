/*
 * limits_test.c: what a space may have (fl_space_set_limits), call by call, with the errors of Linux; what is
 * locked as a whole (mlockall); where mmap looks for a place; and the gap that a stack keeps.
 */
#include "lib/errno.h"
#include "support/one_file.h"
#include "vm/vm_map.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define P    ((vm_offset_t)VM_PAGE_SIZE)
#define ANON (FL_MAP_PRIVATE | FL_MAP_ANONYMOUS)
#define AT   ((vm_offset_t)0x40000000)
#define HEAP ((vm_offset_t)0x10000000)

static int setup(void **state)
{
    struct sim_params params = test_params(test_seed(5));

    (void)state;
    one_file_boot(&params, test_disk(16 * P, 4096, 1), RW);
    fl_space_set_brk(map, HEAP, HEAP + 64 * P);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    one_file_end();
    return 0;
}

static int64_t mmap_at(vm_offset_t addr, vm_pindex_t npages, int prot, int flags)
{
    bool anonymous = flags & FL_MAP_ANONYMOUS;

    return fl_sys_mmap(map, addr, ptoa(npages), prot, flags | (addr != 0 ? FL_MAP_FIXED : 0),
                       anonymous ? NULL : &file, 0);
}

/* Each limit as given; the others as in a new space. */
static void limit(uint64_t as, uint64_t data, uint64_t memlock)
{
    struct fl_space_limits limits;

    fl_space_get_limits(map, &limits);
    limits.as_bytes = as;
    limits.data_bytes = data;
    limits.memlock_bytes = memlock;
    fl_space_set_limits(map, &limits);
}

static void expect_usage(vm_pindex_t all, vm_pindex_t data, vm_pindex_t locked)
{
    struct fl_space_usage usage;

    fl_space_usage(map, &usage);
    assert_int_equal(usage.as_bytes, ptoa(all));
    assert_int_equal(usage.data_bytes, ptoa(data));
    assert_int_equal(usage.memlock_bytes, ptoa(locked));
    vm_map_check(map);
}

static vm_pindex_t resident(vm_offset_t addr, vm_pindex_t npages)
{
    unsigned char vec[64];
    vm_pindex_t n = 0;

    assert_int_equal(fl_sys_mincore(map, addr, ptoa(npages), vec), 0);
    for (vm_pindex_t i = 0; i < npages; i++)
        n += vec[i] & 1;
    return n;
}

/* ---- RLIMIT_AS ----------------------------------------------------------------------------------------- */

static void mappings_are_limited(void **state)
{
    (void)state;
    limit(10 * P + 4095, FL_NO_LIMIT, FL_NO_LIMIT); /* a part of a page does not count */
    assert_int_equal(mmap_at(AT, 6, PROT_RW, ANON), AT);
    assert_int_equal(mmap_at(0, 5, VM_PROT_NONE, FL_MAP_SHARED), -ENOMEM);
    assert_int_equal(mmap_at(AT + 8 * P, 4, VM_PROT_READ, FL_MAP_PRIVATE), AT + 8 * P);
    assert_int_equal(mmap_at(AT + 20 * P, 1, PROT_RW, ANON), -ENOMEM);
    expect_usage(10, 6, 0);
    /* What is replaced does not count. */
    assert_int_equal(mmap_at(AT + 2 * P, 4, PROT_RW, ANON), AT + 2 * P);
    assert_int_equal(mmap_at(AT + 5 * P, 2, PROT_RW, ANON), -ENOMEM);
    expect_usage(10, 6, 0);
    assert_int_equal(fl_sys_brk(map, HEAP + P), HEAP);
    assert_int_equal(fl_sys_mremap(map, AT, 6 * P, 7 * P, FL_MREMAP_MAYMOVE, 0), -ENOMEM);
    assert_int_equal(fl_sys_mremap(map, AT, 6 * P, 6 * P, FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED, AT + 32 * P),
                     AT + 32 * P);
    assert_int_equal(fl_sys_mremap(map, AT + 32 * P, P, P, FL_MREMAP_MAYMOVE | FL_MREMAP_DONTUNMAP, 0),
                     -ENOMEM);
    assert_int_equal(fl_sys_munmap(map, AT + 8 * P, P), 0);
    assert_int_equal(fl_sys_brk(map, HEAP + P), HEAP + P);
    expect_usage(10, 7, 0);
    limit(2 * P, FL_NO_LIMIT, FL_NO_LIMIT); /* takes nothing away, */
    expect_usage(10, 7, 0);
    assert_int_equal(fl_sys_brk(map, HEAP), HEAP); /* and does not keep from giving back */
    assert_int_equal(mmap_at(AT + 32 * P, 1, PROT_RW, ANON), -ENOMEM);
}

/* Addresses that the host set aside are not the space's. */
static void reserved_addresses_do_not_count(void **state)
{
    (void)state;
    limit(P, FL_NO_LIMIT, FL_NO_LIMIT);
    assert_int_equal(fl_space_reserve(map, AT, AT + 8 * P), 0);
    expect_usage(0, 0, 0);
    assert_int_equal(mmap_at(AT + 2 * P, 1, PROT_RW, ANON), AT + 2 * P);
    expect_usage(1, 1, 0);
    assert_int_equal(mmap_at(AT + 4 * P, 1, PROT_RW, ANON), -ENOMEM);
}

static void a_stack_grows_within_the_limits(void **state)
{
    struct fl_space_limits limits;

    (void)state;
    assert_int_equal(mmap_at(AT, 2, PROT_RW, ANON | FL_MAP_GROWSDOWN), AT);
    expect_usage(2, 0, 0);
    limit(10 * P, FL_NO_LIMIT, FL_NO_LIMIT);
    test_store8(map, AT - 8 * P, 1);
    assert_int_equal(sim_store(map, AT - 9 * P, "x", 1, NULL), -EFAULT);
    limit(FL_NO_LIMIT, 0, FL_NO_LIMIT); /* a stack is no data */
    test_store8(map, AT - 9 * P, 1);
    fl_space_get_limits(map, &limits);
    limits.stack_bytes = 16 * P;
    fl_space_set_limits(map, &limits);
    test_store8(map, AT - 14 * P, 1);
    assert_int_equal(sim_store(map, AT - 15 * P, "x", 1, NULL), -EFAULT);
    expect_usage(16, 0, 0);
    limits.stack_bytes = FL_NO_LIMIT; /* more than its object has room for */
    fl_space_set_limits(map, &limits);
    test_store8(map, AT - 3 * VM_STACK_LIMIT, 2);
    test_store8(map, AT - 3 * VM_STACK_LIMIT - 5 * P, 3);
    assert_int_equal(test_load8(map, AT - 14 * P), 1);
    expect_usage(2 + atop(3 * VM_STACK_LIMIT) + 5, 0, 0);
}

/* The growth of a locked stack is not locked, but it belongs to the stack: it does not evade the limit. */
static void a_locked_stack_is_limited_too(void **state)
{
    struct fl_space_limits limits;

    (void)state;
    assert_int_equal(mmap_at(AT, 2, PROT_RW, ANON | FL_MAP_GROWSDOWN), AT);
    assert_int_equal(fl_sys_mlock(map, AT, 2 * P), 0);
    fl_space_get_limits(map, &limits);
    limits.stack_bytes = 8 * P;
    fl_space_set_limits(map, &limits);
    for (vm_offset_t va = AT - P; va >= AT - 6 * P; va -= P)
        test_store8(map, va, 1);
    assert_int_equal(sim_store(map, AT - 7 * P, "x", 1, NULL), -EFAULT);
    expect_usage(8, 0, 2);
}

/* ---- RLIMIT_DATA --------------------------------------------------------------------------------------- */

static void data_is_limited(void **state)
{
    (void)state;
    limit(FL_NO_LIMIT, 4 * P, FL_NO_LIMIT);
    assert_int_equal(mmap_at(AT, 3, PROT_RW, ANON), AT);
    assert_int_equal(mmap_at(AT + 8 * P, 2, PROT_RW, FL_MAP_PRIVATE), -ENOMEM);
    assert_int_equal(mmap_at(AT + 8 * P, 2, PROT_RW, FL_MAP_SHARED), AT + 8 * P);
    assert_int_equal(mmap_at(AT + 16 * P, 2, VM_PROT_READ, FL_MAP_PRIVATE), AT + 16 * P);
    assert_int_equal(fl_sys_brk(map, HEAP + P), HEAP + P);
    assert_int_equal(fl_sys_brk(map, HEAP + P + 1), HEAP + P);
    expect_usage(8, 4, 0);
    /* Memory that becomes data; what is data already does not count again. */
    assert_int_equal(fl_sys_mprotect(map, AT + 16 * P, P, PROT_RW), -ENOMEM);
    assert_int_equal(fl_sys_mprotect(map, AT, 3 * P, PROT_RW | VM_PROT_EXECUTE), 0);
    assert_int_equal(fl_sys_mprotect(map, AT, P, VM_PROT_READ), 0);
    assert_int_equal(fl_sys_mprotect(map, AT + 16 * P, 2 * P, PROT_RW), -ENOMEM);
    assert_int_equal(fl_sys_mprotect(map, AT + 17 * P, P, PROT_RW), 0);
    expect_usage(8, 4, 0);
    assert_int_equal(fl_sys_mremap(map, AT + P, 2 * P, 3 * P, FL_MREMAP_MAYMOVE, 0), -ENOMEM);
    assert_int_equal(fl_sys_mremap(map, AT, P, 9 * P, FL_MREMAP_MAYMOVE, 0) > 0, true); /* read-only */
    expect_usage(16, 4, 0);
}

/* The heap by itself, without what is mapped elsewhere. */
static void the_heap_is_limited(void **state)
{
    (void)state;
    limit(FL_NO_LIMIT, 2 * P + 100, FL_NO_LIMIT);
    assert_int_equal(fl_sys_brk(map, HEAP + 2 * P + 101), HEAP);
    assert_int_equal(fl_sys_brk(map, HEAP + 2 * P), HEAP + 2 * P);
    assert_int_equal(fl_sys_brk(map, HEAP + 2 * P + 100), HEAP + 2 * P); /* a third page of data */
    expect_usage(2, 2, 0);
}

/* ---- RLIMIT_MEMLOCK ------------------------------------------------------------------------------------ */

static void locked_memory_is_limited(void **state)
{
    (void)state;
    assert_int_equal(mmap_at(AT, 16, PROT_RW, ANON), AT);
    limit(FL_NO_LIMIT, FL_NO_LIMIT, 0);
    assert_int_equal(fl_sys_mlock(map, AT, P), -EPERM);
    assert_int_equal(fl_sys_mlockall(map, FL_MCL_FUTURE), -EPERM);
    assert_int_equal(mmap_at(0, 1, PROT_RW, ANON | FL_MAP_LOCKED), -EPERM);
    limit(FL_NO_LIMIT, FL_NO_LIMIT, 4 * P);
    assert_int_equal(fl_sys_mlock(map, AT, 5 * P), -ENOMEM);
    assert_int_equal(fl_sys_mlock2(map, AT, 3 * P, FL_MLOCK_ONFAULT), 0);
    assert_int_equal(fl_sys_mlock2(map, AT, 3 * P, 2), -EINVAL);
    assert_int_equal(fl_sys_mlock(map, AT + P, 3 * P), 0); /* two of them are locked already */
    expect_usage(16, 16, 4);
    assert_int_equal(mmap_at(AT + 32 * P, 1, PROT_RW, ANON | FL_MAP_LOCKED), -EAGAIN);
    assert_int_equal(fl_sys_munlock(map, AT, 2 * P), 0);
    assert_int_equal(mmap_at(AT + 32 * P, 1, PROT_RW, ANON | FL_MAP_LOCKED), AT + 32 * P);
    assert_int_equal(fl_sys_mremap(map, AT + 32 * P, P, 3 * P, FL_MREMAP_MAYMOVE, 0), -EAGAIN);
    assert_int_equal(fl_sys_mremap(map, AT + 32 * P, P, 2 * P, FL_MREMAP_MAYMOVE, 0), AT + 32 * P);
    expect_usage(18, 18, 4);
    assert_int_equal(resident(AT + 32 * P, 2), 2);
    assert_int_equal(fl_sys_mlockall(map, FL_MCL_CURRENT), -ENOMEM);
    expect_usage(18, 18, 4);
    limit(FL_NO_LIMIT, FL_NO_LIMIT, 18 * P);
    assert_int_equal(fl_sys_mlockall(map, FL_MCL_CURRENT), 0);
    expect_usage(18, 18, 18);
}

static void all_memory_is_locked(void **state)
{
    const int all = FL_MCL_CURRENT | FL_MCL_FUTURE | FL_MCL_ONFAULT;
    int64_t at;

    (void)state;
    assert_int_equal(fl_sys_mlockall(map, 0), -EINVAL);
    assert_int_equal(fl_sys_mlockall(map, FL_MCL_ONFAULT), -EINVAL);
    assert_int_equal(fl_sys_mlockall(map, all | 8), -EINVAL);
    assert_int_equal(mmap_at(AT, 4, PROT_RW, ANON), AT);
    assert_int_equal(mmap_at(AT + 8 * P, 4, VM_PROT_NONE, ANON), AT + 8 * P);
    assert_int_equal(mmap_at(AT + 16 * P, 20, PROT_RW, FL_MAP_SHARED), AT + 16 * P); /* 4 beyond its end */
    assert_int_equal(fl_space_reserve(map, AT + 64 * P, AT + 65 * P), 0);
    assert_int_equal(fl_sys_mlockall(map, FL_MCL_CURRENT), 0);
    expect_usage(28, 4, 28);
    assert_int_equal(resident(AT, 4), 4);
    assert_int_equal(resident(AT + 8 * P, 4), 0);
    assert_int_equal(resident(AT + 16 * P, 20), 16);
    assert_int_equal(fl_sys_madvise(map, AT + 8 * P, P, FL_MADV_DONTNEED), -EINVAL);
    /* Memory without rights is locked when it may be written. */
    assert_int_equal(fl_sys_mprotect(map, AT + 8 * P, 2 * P, PROT_RW), 0);
    assert_int_equal(resident(AT + 8 * P, 4), 2);
    assert_int_equal(mmap_at(AT + 40 * P, 1, PROT_RW, ANON), AT + 40 * P); /* not MCL_FUTURE */
    expect_usage(29, 7, 28);

    assert_int_equal(fl_sys_mlockall(map, FL_MCL_FUTURE), 0);
    at = mmap_at(0, 3, PROT_RW, ANON);
    assert_int_equal(resident((vm_offset_t)at, 3), 3);
    assert_int_equal(fl_sys_brk(map, HEAP + 2 * P), HEAP + 2 * P);
    assert_int_equal(resident(HEAP, 2), 2);
    expect_usage(34, 12, 33);
    limit(FL_NO_LIMIT, FL_NO_LIMIT, 34 * P);
    assert_int_equal(mmap_at(0, 2, PROT_RW, ANON), -EAGAIN);
    assert_int_equal(fl_sys_brk(map, HEAP + 4 * P), HEAP + 2 * P);
    /* Who does not ask for the lock is not told that it may not lock. */
    limit(FL_NO_LIMIT, FL_NO_LIMIT, 0);
    assert_int_equal(mmap_at(0, 2, PROT_RW, ANON), -EAGAIN);
    limit(FL_NO_LIMIT, FL_NO_LIMIT, 34 * P);
    assert_int_equal(fl_sys_munlockall(map), 0);
    expect_usage(34, 12, 0);
    assert_true(mmap_at(0, 2, PROT_RW, ANON) > 0);
    expect_usage(36, 14, 0);
    assert_int_equal(fl_sys_mlockall(map, FL_MCL_FUTURE), 0);
    limit(FL_NO_LIMIT, FL_NO_LIMIT, FL_NO_LIMIT);
    assert_int_equal(fl_sys_mlockall(map, FL_MCL_CURRENT), 0); /* not FUTURE any more */
    assert_true(mmap_at(0, 2, PROT_RW, ANON) > 0);
    expect_usage(38, 16, 36);
}

/* A child has its parent's limits and places, and nothing of it is locked, nor will be. */
static void a_child_has_its_parents_limits(void **state)
{
    struct fl_space_limits limits = {30 * P, 20 * P, 16 * P, 10 * P}, got;
    struct fl_space_usage usage;
    struct vm_map *child;

    (void)state;
    fl_space_set_mmap_base(map, AT + 64 * P);
    assert_int_equal(mmap_at(AT, 4, PROT_RW, ANON), AT);
    assert_int_equal(mmap_at(AT + 8 * P, 2, PROT_RW, FL_MAP_SHARED), AT + 8 * P);
    test_store8(map, AT, 1);
    fl_space_set_limits(map, &limits);
    assert_int_equal(fl_sys_mlockall(map, FL_MCL_CURRENT | FL_MCL_FUTURE), 0);
    assert_int_equal(fl_space_fork(map, &child), 0);
    fl_space_get_limits(child, &got);
    assert_memory_equal(&got, &limits, sizeof(got));
    fl_space_usage(child, &usage);
    assert_int_equal(usage.as_bytes, 6 * P);
    assert_int_equal(usage.data_bytes, 4 * P);
    assert_int_equal(usage.memlock_bytes, 0);
    assert_int_equal(fl_sys_mmap(child, 0, 11 * P, VM_PROT_READ, ANON, NULL, 0), AT + 53 * P);
    fl_space_usage(child, &usage);
    assert_int_equal(usage.memlock_bytes, 0);
    vm_map_check(child);
    fl_space_destroy(child);
}

/* Too much for the machine: it is said, and all that was not locked before is unlocked again. */
static void more_than_memory_cannot_be_locked(void **state)
{
    struct fl_vm_stats stats;

    (void)state;
    assert_int_equal(mmap_at(AT, 4, PROT_RW, ANON | FL_MAP_LOCKED), AT);
    assert_int_equal(mmap_at(AT + 8 * P, 1000, PROT_RW, ANON), AT + 8 * P);
    assert_int_equal(fl_sys_mlockall(map, FL_MCL_CURRENT), -EAGAIN);
    expect_usage(1004, 1004, 4);
    fl_vm_stats(&stats);
    assert_int_equal(stats.wired, 4);
}

/* ---- places -------------------------------------------------------------------------------------------- */

/* Downwards from mmap_base; above it only when there is no place below. */
static void places_are_looked_for_below_the_base(void **state)
{
    const vm_offset_t base = AT + 64 * P;

    (void)state;
    fl_space_set_mmap_base(map, base + 17); /* its page */
    assert_int_equal(mmap_at(0, 4, PROT_RW, ANON), base - 4 * P);
    assert_int_equal(fl_sys_mmap(map, base + 8 * P, P, PROT_RW, ANON, NULL, 0), base + 8 * P); /* a hint */
    assert_int_equal(mmap_at(0, 2, VM_PROT_READ, ANON), base - 6 * P);
    assert_int_equal(fl_space_reserve(map, TEST_SPACE_START, base - 8 * P), 0);
    assert_int_equal(mmap_at(0, 3, PROT_RW, FL_MAP_SHARED), base); /* none below: bottom-up */
    /* The next gap that is wide enough. */
    assert_int_equal(mmap_at(0, 6, PROT_RW, FL_MAP_SHARED), base + 9 * P);
    assert_int_equal(mmap_at(0, 2, PROT_RW, FL_MAP_SHARED), base - 8 * P);
    assert_int_equal(fl_sys_mremap(map, base, 3 * P, 6 * P, FL_MREMAP_MAYMOVE, 0), base);
    assert_int_equal(fl_sys_mremap(map, base, 6 * P, 9 * P, FL_MREMAP_MAYMOVE, 0), base + 15 * P);
    fl_space_set_mmap_base(map, 0);
    assert_int_equal(mmap_at(0, 6, PROT_RW, FL_MAP_SHARED), base);
    vm_map_check(map);
}

/* No place is chosen, nor a hint taken, that a stack needs for its growth; the caller may insist. */
static void a_stack_keeps_its_gap(void **state)
{
    const vm_offset_t gap = VM_STACK_GUARD_GAP;
    int64_t at;

    (void)state;
    assert_int_equal(mmap_at(AT, 2, PROT_RW, ANON | FL_MAP_GROWSDOWN), AT);
    fl_space_set_mmap_base(map, AT);
    assert_int_equal(mmap_at(0, 1, PROT_RW, ANON), AT - gap - P);
    at = fl_sys_mmap(map, AT - 10 * P, P, PROT_RW, ANON, NULL, 0);
    assert_int_equal(at, AT - gap - 2 * P);
    assert_int_equal(fl_sys_mmap(map, AT - gap, P, PROT_RW, ANON, NULL, 0), AT - gap - 3 * P);
    vm_map_check(map);
    assert_int_equal(sim_store(map, AT - 1, "x", 1, NULL), -EFAULT); /* the gap has its last page already */
    assert_int_equal(fl_sys_munmap(map, AT - gap - 3 * P, 3 * P), 0);
    assert_int_equal(mmap_at(0, 1, PROT_RW, ANON), AT - gap - P);
    assert_int_equal(fl_sys_munmap(map, AT - gap - P, P), 0);
    test_store8(map, AT - 4 * P, 1);
    assert_int_equal(mmap_at(0, 1, PROT_RW, ANON), AT - 4 * P - gap - P);
    assert_int_equal(mmap_at(AT - 10 * P, 1, PROT_RW, ANON), AT - 10 * P); /* fixed */
    assert_int_equal(sim_store(map, AT - 5 * P, "x", 1, NULL), -EFAULT);
    /* Nor may the heap come closer. */
    fl_space_set_brk(map, AT - 8 * P - gap, AT);
    assert_int_equal(fl_sys_brk(map, AT - 4 * P - gap), AT - 8 * P - gap);
    vm_map_check(map);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mappings_are_limited),
        TEST(reserved_addresses_do_not_count),
        TEST(a_stack_grows_within_the_limits),
        TEST(a_locked_stack_is_limited_too),
        TEST(data_is_limited),
        TEST(the_heap_is_limited),
        TEST(locked_memory_is_limited),
        TEST(all_memory_is_locked),
        TEST(a_child_has_its_parents_limits),
        TEST(more_than_memory_cannot_be_locked),
        TEST(places_are_looked_for_below_the_base),
        TEST(a_stack_keeps_its_gap),
    };

    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
