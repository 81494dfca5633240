/*
 * map_race_test.c: many threads of one space at once, on a hostile machine. Each has pages of its own, whose
 * contents it knows. All of them also unmap, protect, lock and move mappings in a part that they share;
 * there, every result is allowed but a panic, a hang, or a map that fails its check.
 *
 *     | own of 0 | own of 1 | own of 2 | … |            shared by all             |
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "support/boot.h"
#include "support/seed.h"
#include "vm/vm_map.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NTHREADS 4
#define OWN      6  /* pages of each thread */
#define COMMON   24 /* pages that all threads use */
#define BASE     ((vm_offset_t)0x100000)
#define SHARED   (BASE + ptoa(NTHREADS * OWN))
#define RW       (VM_PROT_READ | VM_PROT_WRITE)

static struct vm_map *map;
static struct sim_disk *disk;
static struct fl_file file;

struct thread {
    struct prng prng;
    vm_offset_t own;
    uint32_t steps;
    uint8_t byte[OWN]; /* what the page's first byte is */
};

static uint32_t below(struct thread *t, uint32_t bound)
{
    return (uint32_t)prng_below(&t->prng, bound);
}

/* One page of the thread's own is read, written, unmapped and mapped again, locked, moved away and back. */
static void step_own(struct thread *t)
{
    uint32_t i = below(t, OWN);
    vm_offset_t va = t->own + ptoa(i);
    int64_t away;

    switch (below(t, 5)) {
    case 0:
        assert_int_equal(
            fl_sys_mmap(map, va, VM_PAGE_SIZE, RW, FL_MAP_PRIVATE | FL_MAP_ANONYMOUS | FL_MAP_FIXED, NULL, 0),
            va);
        t->byte[i] = 0;
        break;
    case 1:
        assert_int_equal(fl_sys_mlock(map, va, 1), 0);
        assert_int_equal(fl_sys_mprotect(map, va, 1, VM_PROT_READ), 0);
        assert_int_equal(fl_sys_munlock(map, va, 1), 0);
        assert_int_equal(fl_sys_mprotect(map, va, 1, RW), 0);
        break;
    case 2:
        away = fl_sys_mremap(map, va, VM_PAGE_SIZE, 2 * VM_PAGE_SIZE, FL_MREMAP_MAYMOVE, 0);
        /* no room; or the neighbouring page was unmapped, and it grew in place */
        if (away < 0 || (vm_offset_t)away == va)
            break;
        assert_int_equal(test_load8(map, (vm_offset_t)away), t->byte[i]);
        assert_int_equal(fl_sys_mremap(map, (vm_offset_t)away, 2 * VM_PAGE_SIZE, VM_PAGE_SIZE,
                                       FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED, va),
                         va);
        break;
    default:
        t->byte[i] = (uint8_t)below(t, 256);
        test_store8(map, va, t->byte[i]);
    }
    assert_int_equal(test_load8(map, va), t->byte[i]);
}

static bool expected(int64_t got)
{
    switch (got) {
    case -ENOMEM:
    case -EAGAIN:
    case -EACCES:
    case -EFAULT:
    case -EINVAL:
    case -EBUSY:
    case -ENXIO:
        return true;
    default:
        return got >= 0;
    }
}

static void step_common(struct thread *t)
{
    vm_offset_t va = SHARED + ptoa(below(t, COMMON)), len = ptoa(1 + below(t, 6));
    int prot = below(t, 4) ? RW : (int)below(t, 4),
        flags = FL_MAP_FIXED | (below(t, 2) ? FL_MAP_PRIVATE : FL_MAP_SHARED);
    uint8_t byte = 1;
    int64_t got = 0;

    if (va + len > SHARED + ptoa(COMMON))
        len = SHARED + ptoa(COMMON) - va;
    switch (below(t, 12)) {
    case 0:
        got = fl_sys_munmap(map, va, len);
        break;
    case 1:
        got = fl_sys_mprotect(map, va, len, prot);
        break;
    case 2:
    case 9:
        got = fl_sys_mlock(map, va, len);
        break;
    case 3:
        got = fl_sys_munlock(map, va, len);
        break;
    case 4:
        got = fl_sys_madvise(map, va, len, (int)below(t, 5));
        break;
    case 5:
        got = fl_sys_msync(map, va, len, FL_MS_SYNC);
        break;
    case 6:
    case 7:
        got = sim_store(map, va, &byte, 1, NULL);
        break;
    case 8:
        got = sim_load(map, va, &byte, 1, NULL);
        break;
    default:
        got = fl_sys_mmap(map, va, len, RW, flags, &file, ptoa(below(t, 10)));
    }
    assert_true(expected(got));
}

static void run_thread(void *arg)
{
    struct thread *t = arg;

    for (uint32_t i = 0; i < t->steps; i++) {
        if (below(t, 2))
            step_own(t);
        else
            step_common(t);
    }
}

static void race(uint64_t seed)
{
    struct sim_params params = test_params_hostile(seed);
    struct thread thread[NTHREADS];
    struct fl_vm_stats stats;

    params.nframes = 512;
    test_boot(&params);
    assert_int_equal(fl_space_create(BASE, SHARED + ptoa(COMMON + 64), &map), 0);
    disk = sim_disk_create(ptoa(16), seed);
    file = test_file(disk, FL_FREAD | FL_FWRITE);
    for (uint32_t i = 0; i < NTHREADS; i++) {
        thread[i] = (struct thread){.own = BASE + ptoa(i * OWN), .steps = 200};
        prng_init(&thread[i].prng, seed * NTHREADS + i);
        assert_int_equal(fl_sys_mmap(map, thread[i].own, ptoa(OWN), RW,
                                     FL_MAP_PRIVATE | FL_MAP_ANONYMOUS | FL_MAP_FIXED, NULL, 0),
                         thread[i].own);
    }
    for (uint32_t i = 0; i < NTHREADS; i++)
        sim_run("race", run_thread, &thread[i]);
    sim_join_all();
    sim_vm_check();
    fl_space_destroy(map);
    fl_vm_stats(&stats);
    assert_int_equal(stats.wired, 0);
    assert_int_equal(fl_vnode_close(file.vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
}

static void test_race(void **state)
{
    uint64_t seed = test_seed(0x5ace), rounds = test_rounds(20);

    (void)state;
    for (uint64_t i = 0; i < rounds; i++) {
        print_message("seed %#llx\n", (unsigned long long)(seed + i));
        race(seed + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_race),
    };

    return cmocka_run_group_tests_name("map_race", tests, NULL, NULL);
}
