/*
 * syscall_test.c: the system calls one by one: every bad argument that Linux's manual pages name, stacks,
 * brk, what each piece of advice does, and what a failing allocation leaves behind.
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

#define P     ((vm_offset_t)VM_PAGE_SIZE)
#define START TEST_SPACE_START
#define END   TEST_SPACE_END
#define RW    (VM_PROT_READ | VM_PROT_WRITE)
#define ANON  (FL_MAP_PRIVATE | FL_MAP_ANONYMOUS)

static struct vm_map *map;
static struct sim_disk *disk;
static struct fl_file rdwr, rdonly, wronly;

static int setup(void **state)
{
    struct sim_params params = test_params(test_seed(7));

    (void)state;
    test_boot(&params);
    map = test_space();
    disk = sim_disk_create(16 * P, 1);
    test_fill(disk);
    rdwr = test_file(disk, FL_FREAD | FL_FWRITE);
    rdonly = (struct fl_file){rdwr.vnode, FL_FREAD, 0};
    wronly = (struct fl_file){rdwr.vnode, FL_FWRITE, 0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fl_vm_check();
    fl_space_destroy(map);
    assert_int_equal(fl_vnode_close(rdwr.vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
    return 0;
}

static vm_offset_t must_map(vm_offset_t addr, vm_offset_t len, int prot, int flags,
                            const struct fl_file *file, vm_ooffset_t offset)
{
    int64_t got = fl_sys_mmap(map, addr, len, prot, flags, file, offset);

    assert_true(got > 0);
    vm_map_check(map);
    return (vm_offset_t)got;
}

static bool is_mapped(vm_offset_t va)
{
    struct fl_region region;

    return fl_space_region(map, va, &region) == 0 && region.start <= va;
}

/* ---- mmap -------------------------------------------------------------------------------------------- */

static void test_mmap_errors(void **state)
{
    const vm_offset_t at = 0x40000000;

    (void)state;
    assert_int_equal(fl_sys_mmap(map, 0, 0, RW, ANON, NULL, 0), -EINVAL);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, ANON, NULL, 1), -EINVAL);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, FL_MAP_ANONYMOUS, NULL, 0), -EINVAL);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, FL_MAP_ANONYMOUS | FL_MAP_SHARED_VALIDATE, NULL, 0), -EINVAL);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, 0, &rdwr, 0), -EINVAL);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, FL_MAP_PRIVATE, &rdwr, 0xfff), -EINVAL);
    assert_int_equal(fl_sys_mmap(map, at + 1, P, RW, ANON | FL_MAP_FIXED, NULL, 0), -EINVAL);
    assert_int_equal(fl_sys_mmap(map, at + 1, P, RW, ANON | FL_MAP_FIXED_NOREPLACE, NULL, 0), -EINVAL);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, FL_MAP_SHARED | FL_MAP_ANONYMOUS | FL_MAP_GROWSDOWN, NULL, 0),
                     -EINVAL);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, FL_MAP_PRIVATE | FL_MAP_GROWSDOWN, &rdwr, 0), -EINVAL);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, FL_MAP_PRIVATE, NULL, 0), -EBADF);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, FL_MAP_SHARED, &rdonly, 0), -EACCES);
    assert_int_equal(fl_sys_mmap(map, 0, P, VM_PROT_READ, FL_MAP_PRIVATE, &wronly, 0), -EACCES);
    assert_int_equal(fl_sys_mmap(map, 0, P, VM_PROT_WRITE, FL_MAP_SHARED, &wronly, 0), -EACCES);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, FL_MAP_SHARED_VALIDATE | 0x80000, &rdwr, 0), -EOPNOTSUPP);
    assert_int_equal(fl_sys_mmap(map, 0, 2 * P, RW, FL_MAP_SHARED, &rdwr, UINT64_MAX - P + 1), -EOVERFLOW);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, FL_MAP_SHARED, &rdwr, (uint64_t)INT64_MAX - P + 1),
                     -EOVERFLOW);
    assert_int_equal(fl_sys_mmap(map, 0, SIZE_MAX, RW, ANON, NULL, 0), -ENOMEM);
    assert_int_equal(fl_sys_mmap(map, 0, END - START + P, RW, ANON, NULL, 0), -ENOMEM);
    assert_int_equal(fl_sys_mmap(map, END, P, RW, ANON | FL_MAP_FIXED, NULL, 0), -ENOMEM);
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, ANON | FL_MAP_FIXED, NULL, 0), -ENOMEM);
    must_map(at, 2 * P, RW, ANON | FL_MAP_FIXED, NULL, 0);
    assert_int_equal(fl_sys_mmap(map, at + P, P, RW, ANON | FL_MAP_FIXED_NOREPLACE, NULL, 0), -EEXIST);
    sim_disk_faults(disk)->fail_size_nth = 1;
    assert_int_equal(fl_sys_mmap(map, 0, P, RW, FL_MAP_SHARED, &rdwr, 0), -EIO);
}

static void test_mmap_places(void **state)
{
    (void)state;
    assert_int_equal(must_map(0, 3 * P - 1, RW, ANON, NULL, 0), END - 3 * P);
    assert_int_equal(must_map(0, P, VM_PROT_READ, ANON, NULL, 0), END - 4 * P);
    assert_int_equal(must_map(0x500fff, P, RW, ANON, NULL, 0), 0x500000); /* the page of the hint */
    assert_int_equal(must_map(0x500000, P, VM_PROT_READ, ANON, NULL, 0), END - 5 * P); /* taken */
    assert_int_equal(must_map(P, P, RW, ANON, NULL, 0), START);                        /* below the space */
    assert_int_equal(must_map(0xfff, P, RW, ANON, NULL, 0), END - 6 * P);              /* no hint at all */
    assert_int_equal(must_map(END, P, RW, ANON, NULL, 0), END - 7 * P);
    /* Private anonymous neighbours of one kind are one entry; others are not. */
    assert_int_equal(fl_sys_munmap(map, START, END - START), 0);
    must_map(0x500000, P, RW, ANON, NULL, 0);
    must_map(0x502000, P, RW, ANON, NULL, 0);
    must_map(0x501000, P, RW, ANON, NULL, 0);
    assert_int_equal(map->nentries, 1);
    must_map(0x503000, P, VM_PROT_READ, ANON, NULL, 0);
    assert_int_equal(map->nentries, 2);
    assert_int_equal(fl_sys_mprotect(map, 0x503000, P, RW), 0);
    assert_int_equal(map->nentries, 1);
}

/* Adjacent mappings that one object can back stay one entry, touched or not. */
static void test_coalesce(void **state)
{
    (void)state;
    for (vm_offset_t va = 0x500000; va < 0x510000; va += P) {
        must_map(va, P, RW, ANON | FL_MAP_FIXED, NULL, 0);
        test_store8(map, va, 1);
    }
    assert_int_equal(map->nentries, 1);
    /* The old contents must not show through. */
    assert_int_equal(fl_sys_munmap(map, 0x508000, 0x8000), 0);
    must_map(0x508000, 0x8000, RW, ANON | FL_MAP_FIXED, NULL, 0);
    for (vm_offset_t va = 0x500000; va < 0x510000; va += P)
        assert_int_equal(test_load8(map, va), va < 0x508000);
}

/*
 * A mapping that continues a neighbour of its kind makes that one longer, from either side: no memory is
 * needed, so no lack of it can be told.
 */
static void test_merge_before_allocation(void **state)
{
    const vm_offset_t anon = 0x500000, shared = 0x600000, private = 0x700000;
    uint32_t *nth = &sim_torture()->fail_alloc_nth;

    (void)state;
    must_map(anon + 4 * P, P, RW, ANON | FL_MAP_FIXED, NULL, 0);
    must_map(shared + 4 * P, P, RW, FL_MAP_SHARED | FL_MAP_FIXED, &rdwr, 4 * P);
    must_map(private + 4 * P, P, RW, FL_MAP_PRIVATE | FL_MAP_FIXED, &rdwr, 4 * P);
    fl_space_set_brk(map, 0x10000000, 0x20000000);
    assert_int_equal(fl_sys_brk(map, 0x10000000 + P), 0x10000000 + P);
    for (int touched = 0; touched < 2; touched++) {
        vm_offset_t up = touched ? 6 * P : 5 * P, down = touched ? 2 * P : 3 * P;

        *nth = 1;
        must_map(anon + up, P, RW, ANON | FL_MAP_FIXED, NULL, 0);
        must_map(shared + up, P, RW, FL_MAP_SHARED | FL_MAP_FIXED, &rdwr, up);
        must_map(shared + down, P, RW, FL_MAP_SHARED | FL_MAP_FIXED, &rdwr, down);
        must_map(private + up, P, RW, FL_MAP_PRIVATE | FL_MAP_FIXED, &rdwr, up);
        must_map(private + down, P, RW, FL_MAP_PRIVATE | FL_MAP_FIXED, &rdwr, down);
        assert_int_equal(fl_sys_brk(map, 0x10000000 + (2 + (vm_offset_t)touched) * P),
                         0x10000000 + (2 + (vm_offset_t)touched) * P);
        assert_int_equal(*nth, 1);
        *nth = 0;
        assert_int_equal(map->nentries, 4);
        test_store8(map, anon + 4 * P, 1);
        test_store8(map, shared + down, 2);
        assert_int_equal(test_load8(map, private + down), 2);
        assert_int_equal(test_load8(map, private + up), test_byte(up));
        test_store8(map, 0x10000000, 3);
    }
    /* The machine has no memory for it: the neighbour is as long as before. */
    sim_torture()->fail_map_nth = 1;
    assert_int_equal(fl_sys_mmap(map, shared + 7 * P, P, RW, FL_MAP_SHARED | FL_MAP_FIXED, &rdwr, 7 * P),
                     -ENOMEM);
    assert_false(is_mapped(shared + 7 * P));
    fl_vm_check();
}

/* The pages move; the old place shows what the mapping shows without them. */
static void test_mremap_dontunmap(void **state)
{
    const int leave = FL_MREMAP_MAYMOVE | FL_MREMAP_DONTUNMAP;
    vm_offset_t a = must_map(0x500000, 4 * P, RW, ANON | FL_MAP_LOCKED, NULL, 0), to;
    vm_offset_t p = must_map(0x600000, 4 * P, RW, FL_MAP_PRIVATE, &rdwr, 0);
    vm_offset_t s = must_map(0x700000, 4 * P, RW, FL_MAP_SHARED, &rdwr, 0);
    struct fl_region region;

    (void)state;
    test_store8(map, a + P, 1);
    test_store8(map, p + P, 2);
    to = (vm_offset_t)fl_sys_mremap(map, a, 4 * P, 4 * P, leave, 0);
    assert_int_equal(test_load8(map, to + P), 1);
    assert_int_equal(test_load8(map, a + P), 0);
    assert_int_equal(fl_space_region(map, to, &region), 0);
    assert_true(region.wired);
    assert_int_equal(fl_space_region(map, a, &region), 0);
    assert_false(region.wired);
    to = 0x900000;
    assert_int_equal(fl_sys_mremap(map, p + P, 2 * P, 2 * P, leave | FL_MREMAP_FIXED, to), to);
    assert_int_equal(test_load8(map, to), 2);
    assert_int_equal(test_load8(map, p + P), test_byte(P));
    test_store8(map, p + P, 3);
    assert_int_equal(test_load8(map, to), 2);
    to = (vm_offset_t)fl_sys_mremap(map, s, 4 * P, 4 * P, leave, 0);
    test_store8(map, to, 4);
    assert_int_equal(test_load8(map, s), 4);
    vm_map_check(map);
}

/* Each allocation fails in turn: the mapping is in one place, with all its bytes, or in both. */
static void test_mremap_dontunmap_fails(void **state)
{
    const int leave = FL_MREMAP_MAYMOVE | FL_MREMAP_DONTUNMAP | FL_MREMAP_FIXED;
    const vm_offset_t from = 0x500000, to = 0x600000;

    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        uint32_t *nth = kind % 2 == 0 ? &sim_torture()->fail_alloc_nth : &sim_torture()->fail_map_nth;
        bool fired = true;

        for (uint32_t n = 1; fired; n++) {
            must_map(from, 4 * P, RW, FL_MAP_FIXED | (kind < 2 ? ANON : FL_MAP_PRIVATE),
                     kind < 2 ? NULL : &rdwr, 0);
            test_store8(map, from + P, 1);
            *nth = n;
            int64_t got = fl_sys_mremap(map, from + P, 2 * P, 2 * P, leave, to);
            fired = *nth == 0;
            *nth = 0;
            vm_map_check(map);
            assert_true(got == -ENOMEM || got == (int64_t)to);
            assert_int_equal(test_load8(map, got < 0 ? from + P : to), 1);
            assert_int_equal(test_load8(map, from + 2 * P), kind < 2 ? 0 : test_byte(2 * P));
            assert_int_equal(fl_sys_munmap(map, START, END - START), 0);
        }
    }
}

/* Private pages that no mapping can reach any more are freed, though the rest of their mapping stays. */
static void test_munmap_frees(void **state)
{
    vm_offset_t a = must_map(0x500000, 8 * P, RW, ANON, NULL, 0);
    struct fl_vm_stats before, after;

    (void)state;
    for (vm_offset_t va = a; va < a + 8 * P; va += P)
        test_store8(map, va, 1);
    fl_vm_stats(&before);
    assert_int_equal(fl_sys_munmap(map, a + 2 * P, 5 * P), 0);
    fl_vm_stats(&after);
    assert_int_equal(after.free, before.free + 5);
    assert_int_equal(test_load8(map, a + 7 * P), 1);
}

/* ---- the other calls' errors ------------------------------------------------------------------------- */

static void test_munmap_mprotect_errors(void **state)
{
    vm_offset_t a = must_map(0x500000, 4 * P, RW, ANON, NULL, 0);
    vm_offset_t f = must_map(0x600000, 4 * P, VM_PROT_READ, FL_MAP_SHARED, &rdonly, 0);

    (void)state;
    assert_int_equal(fl_sys_munmap(map, a + 1, P), -EINVAL);
    assert_int_equal(fl_sys_munmap(map, a, 0), -EINVAL);
    assert_int_equal(fl_sys_munmap(map, a, SIZE_MAX), -EINVAL);
    assert_int_equal(fl_sys_munmap(map, END, P), -EINVAL);
    assert_int_equal(fl_sys_munmap(map, 0x700000, P), 0); /* nothing there */
    assert_int_equal(fl_sys_mprotect(map, a + 1, P, RW), -EINVAL);
    assert_int_equal(fl_sys_mprotect(map, a, P, 0x40), -EINVAL);
    assert_int_equal(fl_sys_mprotect(map, a, P, RW | 0x01000000 | 0x02000000), -EINVAL);
    assert_int_equal(fl_sys_mprotect(map, a, P, RW | 0x01000000), -EINVAL); /* GROWSDOWN, and no stack */
    assert_int_equal(fl_sys_mprotect(map, a, 0, RW), 0);
    assert_int_equal(fl_sys_mprotect(map, a, SIZE_MAX, RW), -ENOMEM);
    assert_int_equal(fl_sys_mprotect(map, 0x700000, P, RW), -ENOMEM);
    assert_int_equal(fl_sys_mprotect(map, f, P, RW), -EACCES);
    /* The part before the gap is changed. */
    assert_int_equal(fl_sys_mprotect(map, a + 2 * P, 4 * P, VM_PROT_READ), -ENOMEM);
    assert_int_equal(sim_store(map, a + 2 * P, "x", 1, NULL), -EACCES);
    assert_int_equal(sim_store(map, a + P, "x", 1, NULL), 0);
}

static void test_mremap_errors(void **state)
{
    const int may = FL_MREMAP_MAYMOVE, fixed = FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED;
    vm_offset_t a = must_map(0x500000, 4 * P, RW, ANON, NULL, 0), b = a + 4 * P;

    (void)state;
    must_map(b, 4 * P, RW, FL_MAP_PRIVATE, &rdwr, 0);
    assert_int_equal(fl_sys_mremap(map, a + 1, P, P, 0, 0), -EINVAL);
    assert_int_equal(fl_sys_mremap(map, a, P, P, 8, 0), -EINVAL);
    assert_int_equal(fl_sys_mremap(map, a, P, P, FL_MREMAP_FIXED, 0), -EINVAL);
    assert_int_equal(fl_sys_mremap(map, a, P, P, FL_MREMAP_DONTUNMAP, 0), -EINVAL);
    assert_int_equal(fl_sys_mremap(map, a, P, 2 * P, may | FL_MREMAP_DONTUNMAP, 0), -EINVAL);
    assert_int_equal(fl_sys_mremap(map, a, 6 * P, 6 * P, may | FL_MREMAP_DONTUNMAP, 0), -EFAULT);
    assert_int_equal(fl_sys_mremap(map, a, P, 0, 0, 0), -EINVAL);
    assert_int_equal(fl_sys_mremap(map, a, P, SIZE_MAX, may, 0), -EINVAL);
    assert_int_equal(fl_sys_mremap(map, a, 4 * P, 4 * P, fixed, 0x900001), -EINVAL);
    assert_int_equal(fl_sys_mremap(map, a, 4 * P, 4 * P, fixed, END - P), -EINVAL);
    assert_int_equal(fl_sys_mremap(map, a, 4 * P, 4 * P, fixed, a + P), -EINVAL);
    assert_int_equal(fl_sys_mremap(map, a, 0, P, may, 0), -EINVAL);
    assert_int_equal(fl_sys_mremap(map, 0x900000, P, 2 * P, may, 0), -EFAULT);
    assert_int_equal(fl_sys_mremap(map, a, 6 * P, 8 * P, may, 0), -EFAULT);
    assert_int_equal(fl_sys_mremap(map, a, 4 * P, 5 * P, 0, 0), -ENOMEM);
    assert_int_equal(fl_sys_mremap(map, a, 4 * P, END, may, 0), -ENOMEM);
    assert_int_equal(fl_sys_mremap(map, b, 4 * P, (size_t)INT64_MAX, may, 0), -ENOMEM);
    assert_int_equal(fl_sys_mremap(map, a, 4 * P, 4 * P, 0, 0), a);
}

static void test_sync_and_advice_errors(void **state)
{
    vm_offset_t a = must_map(0x500000, 4 * P, RW, ANON, NULL, 0);
    vm_offset_t f = must_map(0x600000, 4 * P, RW, FL_MAP_SHARED, &rdwr, 14 * P);
    vm_offset_t ro = must_map(0x700000, P, VM_PROT_READ, FL_MAP_SHARED, &rdonly, 0);

    (void)state;
    assert_int_equal(fl_sys_msync(map, a + 1, P, FL_MS_SYNC), -EINVAL);
    assert_int_equal(fl_sys_msync(map, a, P, 8), -EINVAL);
    assert_int_equal(fl_sys_msync(map, a, P, FL_MS_SYNC | FL_MS_ASYNC), -EINVAL);
    assert_int_equal(fl_sys_msync(map, a, SIZE_MAX, FL_MS_SYNC), -ENOMEM);
    assert_int_equal(fl_sys_msync(map, a, 5 * P, FL_MS_SYNC), -ENOMEM);
    assert_int_equal(fl_sys_msync(map, a, 0, FL_MS_SYNC), 0);
    test_store8(map, f, 1);
    sim_disk_faults(disk)->fail_write_nth = 1;
    assert_int_equal(fl_sys_msync(map, f, P, FL_MS_SYNC), -EIO);
    assert_int_equal(test_load8(map, f), 1);
    assert_int_equal(fl_sys_msync(map, f, P, FL_MS_SYNC), 0);
    sim_disk_faults(disk)->fail_flush_nth = 1;
    assert_int_equal(fl_sys_msync(map, f, P, FL_MS_SYNC), -EIO);

    assert_int_equal(fl_sys_madvise(map, a, P, 77), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, a + 1, P, FL_MADV_NORMAL), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, a, SIZE_MAX, FL_MADV_NORMAL), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, a, 5 * P, FL_MADV_RANDOM), -ENOMEM);
    assert_int_equal(fl_sys_madvise(map, a, 5 * P, FL_MADV_WILLNEED), -ENOMEM);
    assert_int_equal(fl_sys_madvise(map, a, 0, FL_MADV_DONTNEED), 0);
    assert_int_equal(fl_sys_madvise(map, a, P, FL_MADV_REMOVE), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, ro, P, FL_MADV_REMOVE), -EACCES);
    sim_disk_faults(disk)->fail_punch_nth = 1;
    assert_int_equal(fl_sys_madvise(map, f, P, FL_MADV_REMOVE), -EIO);
    assert_int_equal(fl_sys_madvise(map, ro, P, FL_MADV_POPULATE_WRITE), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, f, 4 * P, FL_MADV_POPULATE_READ), -EFAULT); /* beyond the end */
    assert_int_equal(fl_sys_madvise(map, f, 2 * P, FL_MADV_DONTFORK), 0);

    assert_int_equal(fl_sys_mlock(map, a, P), 0);
    assert_int_equal(fl_sys_msync(map, a, P, FL_MS_INVALIDATE), -EBUSY);
    assert_int_equal(fl_sys_madvise(map, a, P, FL_MADV_DONTNEED), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, a, P, FL_MADV_COLD), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, a, P, FL_MADV_PAGEOUT), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, a, P, FL_MADV_FREE), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, a, P, FL_MADV_REMOVE), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, f, P, FL_MADV_FREE), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, a + P, P, FL_MADV_FREE), 0);
    assert_int_equal(fl_sys_madvise(map, a + P, 4 * P, FL_MADV_FREE), -ENOMEM);
    assert_int_equal(fl_sys_madvise(map, f, P, FL_MADV_WIPEONFORK), -EINVAL);
    assert_int_equal(fl_sys_madvise(map, f, P, FL_MADV_KEEPONFORK), 0);
}

static void test_madvise_remove(void **state)
{
    vm_offset_t a = must_map(0x500000, 4 * P, RW, FL_MAP_SHARED | FL_MAP_ANONYMOUS, NULL, 0);
    vm_offset_t f = must_map(0x600000, 4 * P, RW, FL_MAP_SHARED, &rdwr, 2 * P);
    uint8_t byte;

    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        test_store8(map, a + i * P, 1);
        test_store8(map, f + i * P, 1);
    }
    assert_int_equal(fl_sys_madvise(map, f + P, 2 * P, FL_MADV_REMOVE), 0);
    assert_int_equal(fl_sys_madvise(map, a + P, 2 * P, FL_MADV_REMOVE), 0);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(test_load8(map, a + i * P), i == 0 || i == 3);
        assert_int_equal(test_load8(map, f + i * P), i == 0 || i == 3);
    }
    assert_int_equal(test_load8(map, f + P + 100), 0);
    sim_disk_read(disk, 3 * P + 100, &byte, 1); /* of the file: a hole */
    assert_int_equal(byte, 0);
    /* a gap, after what is mapped */
    assert_int_equal(fl_sys_madvise(map, f, 8 * P, FL_MADV_REMOVE), -ENOMEM);
    assert_int_equal(test_load8(map, f), 0);
}

static void test_mincore_mlock_errors(void **state)
{
    vm_offset_t a = must_map(0x500000, 4 * P, RW, ANON, NULL, 0);
    vm_offset_t none = must_map(0x600000, P, VM_PROT_NONE, ANON, NULL, 0);
    vm_offset_t f = must_map(0x700000, 4 * P, VM_PROT_READ, FL_MAP_SHARED, &rdwr, 14 * P);
    unsigned char vec[8];

    (void)state;
    assert_int_equal(fl_sys_mincore(map, a + 1, P, vec), -EINVAL);
    assert_int_equal(fl_sys_mincore(map, a, P, NULL), -EFAULT);
    assert_int_equal(fl_sys_mincore(map, a, 5 * P, vec), -ENOMEM);
    assert_int_equal(fl_sys_mincore(map, a, SIZE_MAX, vec), -ENOMEM);
    assert_int_equal(fl_sys_mincore(map, a, 0, NULL), 0);
    assert_int_equal(fl_sys_mlock(map, UINT64_MAX - P, 4 * P), -EINVAL);
    assert_int_equal(fl_sys_munlock(map, UINT64_MAX - P, 4 * P), -EINVAL);
    assert_int_equal(fl_sys_mlock(map, a, 5 * P), -ENOMEM);
    assert_int_equal(fl_sys_munlock(map, a, 5 * P), -ENOMEM);
    assert_int_equal(fl_sys_mlock(map, none, P), -ENOMEM);
    assert_int_equal(fl_sys_mlock(map, f, 4 * P), -ENOMEM); /* beyond the end */
    assert_int_equal(fl_sys_mlock(map, a, 0), 0);
    test_store8(map, a + P, 1);
    assert_int_equal(fl_sys_mincore(map, a, 4 * P, vec), 0);
    assert_memory_equal(vec, "\0\1\0\0", 4);
}

/* More than there are frames: it fails, is undone, and the machine goes on. */
static void test_mlock_too_much(void **state)
{
    vm_offset_t a = must_map(0x500000, 1000 * P, RW, ANON, NULL, 0);
    struct fl_vm_stats stats;

    (void)state;
    assert_int_equal(fl_sys_mlock(map, a, 1000 * P), -EAGAIN);
    fl_vm_stats(&stats);
    assert_int_equal(stats.wired, 0);
    vm_map_check(map);
    assert_int_equal(fl_sys_munmap(map, a, 1000 * P), 0);
    a = must_map(0x500000, 100 * P, RW, ANON | FL_MAP_LOCKED, NULL, 0);
    fl_vm_stats(&stats);
    assert_int_equal(stats.wired, 100);
    assert_int_equal(fl_sys_mremap(map, a, 100 * P, 120 * P, 0, 0), a); /* the new pages are locked too */
    fl_vm_stats(&stats);
    assert_int_equal(stats.wired, 120);
    assert_int_equal(fl_sys_munmap(map, a, 120 * P), 0);
    fl_vm_stats(&stats);
    assert_int_equal(stats.wired, 0);
}

/* A page that was locked read-only and may be written now: its copy is locked, the file's page no more. */
static void test_mprotect_rewires(void **state)
{
    vm_offset_t a = must_map(0x500000, 4 * P, VM_PROT_READ, FL_MAP_PRIVATE, &rdwr, 0);
    struct fl_vm_stats stats;

    (void)state;
    assert_int_equal(fl_sys_mlock(map, a, 4 * P), 0);
    assert_int_equal(fl_sys_mprotect(map, a + P, 2 * P, RW), 0);
    fl_vm_stats(&stats);
    assert_int_equal(stats.wired, 4);
    test_store8(map, a + P, 1);
    assert_int_equal(test_load8(map, a + 2 * P), test_byte(2 * P));
    fl_vm_stats(&stats);
    assert_int_equal(stats.wired, 4);
    assert_int_equal(fl_sys_munlock(map, a, 4 * P), 0);
    fl_vm_stats(&stats);
    assert_int_equal(stats.wired, 0);
}

/* ---- stacks and brk ---------------------------------------------------------------------------------- */

static void test_growstack(void **state)
{
    const vm_offset_t top = 0x40000000, guard = VM_STACK_GUARD_GAP;
    vm_offset_t stack = must_map(top - P, P, RW, ANON | FL_MAP_GROWSDOWN | FL_MAP_FIXED, NULL, 0);
    struct fl_region region;

    (void)state;
    test_store8(map, stack, 1);
    for (vm_offset_t va = stack; va > top - 100 * P; va -= P)
        test_store8(map, va - 1, 2);    /* a page at a time … */
    test_store8(map, top - 200 * P, 3); /* … and a leap */
    assert_int_equal(fl_space_region(map, 0, &region), 0);
    assert_int_equal(region.start, top - 200 * P);
    assert_int_equal(region.end, top);
    assert_int_equal(map->nentries, 1);
    assert_int_equal(test_load8(map, stack), 1);
    assert_int_equal(sim_store(map, top - VM_STACK_LIMIT - 1, "x", 1, NULL), -EFAULT);
    /* Closer to an accessible mapping than the guard gap: the stack does not grow. */
    must_map(top - 300 * P - guard, P, RW, ANON | FL_MAP_FIXED, NULL, 0);
    assert_int_equal(sim_store(map, top - 300 * P, "x", 1, NULL), -EFAULT);
    test_store8(map, top - 299 * P, 1);
    vm_map_check(map);
}

/* The lower part of a stack is unmapped and grows again: it must not show what it held. */
static void test_growstack_again(void **state)
{
    const vm_offset_t top = 0x40000000;

    (void)state;
    must_map(top - P, P, RW, ANON | FL_MAP_GROWSDOWN | FL_MAP_FIXED, NULL, 0);
    for (int i = 1; i <= 8; i++)
        test_store8(map, top - (vm_offset_t)i * P, (uint8_t)i);
    assert_int_equal(fl_sys_munmap(map, top - 8 * P, 6 * P), 0);
    for (int i = 3; i <= 8; i++)
        assert_int_equal(test_load8(map, top - (vm_offset_t)i * P), 0);
    assert_int_equal(test_load8(map, top - 2 * P), 2);
    vm_map_check(map);
    assert_int_equal(fl_sys_mprotect(map, top - P, P, VM_PROT_READ | 0x01000000), 0); /* PROT_GROWSDOWN */
    assert_int_equal(sim_store(map, top - P, "x", 1, NULL), -EACCES);
}

static void test_brk(void **state)
{
    const vm_offset_t heap = 0x10000000;

    (void)state;
    fl_space_set_brk(map, heap + 100, heap + 64 * P);
    assert_int_equal(fl_sys_brk(map, 0), heap + 100);
    assert_int_equal(fl_sys_brk(map, heap + 3 * P + 1), heap + 3 * P + 1);
    assert_true(is_mapped(heap + 3 * P) && !is_mapped(heap + 4 * P));
    for (vm_offset_t end = heap + 4 * P; end <= heap + 40 * P; end += P) {
        assert_int_equal(fl_sys_brk(map, end), end);
        test_store8(map, end - 1, 1);
    }
    assert_int_equal(map->nentries, 1);
    assert_int_equal(fl_sys_brk(map, heap + 65 * P), heap + 40 * P); /* beyond the limit */
    must_map(heap + 50 * P, P, RW, ANON | FL_MAP_FIXED, NULL, 0);
    assert_int_equal(fl_sys_brk(map, heap + 50 * P), heap + 40 * P); /* a page's distance */
    assert_int_equal(fl_sys_brk(map, heap + 49 * P), heap + 49 * P);
    assert_int_equal(fl_sys_brk(map, heap + 2 * P), heap + 2 * P);
    assert_int_equal(fl_sys_brk(map, heap + 40 * P), heap + 40 * P);
    assert_int_equal(test_load8(map, heap + 10 * P - 1), 0); /* pages that were freed are zeros again */
    vm_map_check(map);
}

/* ---- advice, and places that are taken ----------------------------------------------------------------- */

static void test_advice(void **state)
{
    vm_offset_t s = must_map(0x500000, 8 * P, RW, FL_MAP_SHARED, &rdwr, 0);
    vm_offset_t p = must_map(0x600000, 8 * P, RW, FL_MAP_PRIVATE, &rdwr, 0);
    unsigned char vec[8];

    (void)state;
    test_store8(map, s, 1);
    test_store8(map, p, 2);
    assert_int_equal(fl_sys_madvise(map, s, P, FL_MADV_DONTNEED), 0);
    assert_int_equal(fl_sys_madvise(map, p, P, FL_MADV_DONTNEED), 0);
    assert_int_equal(test_load8(map, s), 1); /* the file's, and stays */
    assert_int_equal(test_load8(map, p), 1); /* the private page was discarded, the file's page shows */
    assert_int_equal(fl_sys_madvise(map, s, 8 * P, FL_MADV_POPULATE_READ), 0);
    assert_int_equal(fl_sys_mincore(map, s, 8 * P, vec), 0);
    assert_memory_equal(vec, "\1\1\1\1\1\1\1\1", 8);
    assert_int_equal(fl_sys_munmap(map, p, 8 * P), 0);
    assert_int_equal(fl_sys_madvise(map, s, 8 * P, FL_MADV_PAGEOUT), 0);
    assert_int_equal(fl_sys_mincore(map, s, 8 * P, vec), 0);
    assert_memory_equal(vec, "\0\0\0\0\0\0\0\0", 8);
    assert_int_equal(test_load8(map, s), 1);
    must_map(s, 8 * P, VM_PROT_READ, FL_MAP_SHARED | FL_MAP_FIXED | FL_MAP_POPULATE, &rdwr, 0);
    assert_int_equal(fl_sys_mincore(map, s, 8 * P, vec), 0);
    assert_memory_equal(vec, "\1\1\1\1\1\1\1\1", 8);
}

static void test_reserve(void **state)
{
    const vm_offset_t at = 0x500000;

    (void)state;
    assert_int_equal(fl_space_reserve(map, at + 1, at + P), -EINVAL);
    assert_int_equal(fl_space_reserve(map, at, at + 4 * P), 0);
    assert_int_equal(fl_space_reserve(map, at + 3 * P, at + 5 * P), -EEXIST);
    assert_int_equal(sim_load(map, at, (char[1]){0}, 1, NULL), -EFAULT);
    assert_int_equal(fl_sys_mprotect(map, at, P, RW), -ENOMEM);
    assert_int_equal(fl_sys_mremap(map, at, P, 2 * P, 1, 0), -EFAULT);
    assert_int_equal(fl_sys_mlock(map, at, P), -ENOMEM);
    assert_int_not_equal(must_map(at, P, RW, ANON, NULL, 0), at); /* not handed out … */
    must_map(at + P, P, RW, ANON | FL_MAP_FIXED, NULL, 0);        /* … unless the caller insists */
    assert_int_equal(fl_sys_munmap(map, at, 4 * P), 0);
    assert_false(is_mapped(at) || is_mapped(at + 3 * P));
}

/* ---- the Nth allocation fails ------------------------------------------------------------------------ */

/*
 * Needs every kind of allocation. Each call succeeds, or returns -ENOMEM
 * or -EAGAIN and leaves a map that passes its check.
 */
static void nth_sequence(void)
{
    vm_offset_t a = 0x500000;
    uint8_t byte;
    int64_t got;

    got = fl_sys_mmap(map, a, 8 * P, RW, FL_MAP_PRIVATE | FL_MAP_FIXED, &rdwr, 0);
    assert_true(got == (int64_t)a || got == -ENOMEM);
    vm_map_check(map);
    if (got < 0)
        return;
    const int results[] = {
        sim_store(map, a + 2 * P, "x", 1, NULL),
        fl_sys_mprotect(map, a + 3 * P, P, VM_PROT_READ),
        fl_sys_mlock(map, a + 4 * P, 2 * P),
        fl_sys_madvise(map, a + P, 3 * P, FL_MADV_RANDOM),
        (int)(fl_sys_mremap(map, a + 4 * P, P, 2 * P, FL_MREMAP_MAYMOVE, 0) >> 63) * ENOMEM,
        (int)(fl_sys_mmap(map, 0, 4 * P, RW, ANON, NULL, 0) >> 63) * ENOMEM,
        (int)(fl_sys_mremap(map, a + 2 * P, P, P, FL_MREMAP_MAYMOVE | FL_MREMAP_DONTUNMAP, 0) >> 63) * ENOMEM,
        fl_sys_mlockall(map, FL_MCL_CURRENT | FL_MCL_FUTURE),
        (int)(fl_sys_mmap(map, 0, 2 * P, VM_PROT_READ, ANON, NULL, 0) >> 63) * ENOMEM,
        fl_sys_munlockall(map),
        fl_sys_munmap(map, a + P, P),
    };
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++)
        assert_true(results[i] == 0 || results[i] == -ENOMEM || results[i] == -EAGAIN);
    vm_map_check(map);
    got = sim_load(map, a + 6 * P, &byte, 1, NULL);
    assert_true((got == 0 && byte == test_byte(6 * P)) || got == -ENOMEM);
}

static void test_fail_nth(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        uint32_t *nth = kind == 0 ? &sim_torture()->fail_alloc_nth : &sim_torture()->fail_map_nth;
        uint32_t n = 0;

        do {
            *nth = ++n;
            nth_sequence();
            bool fired = *nth == 0;
            *nth = 0;
            assert_int_equal(fl_sys_munmap(map, START, END - START), 0);
            fl_vm_check();
            if (!fired)
                break;
        } while (n < 1000);
        assert_true(n > 5 && n < 1000);
        print_message("%u points of failure\n", n - 1);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mmap_errors),
        TEST(test_mmap_places),
        TEST(test_coalesce),
        TEST(test_merge_before_allocation),
        TEST(test_mremap_dontunmap),
        TEST(test_mremap_dontunmap_fails),
        TEST(test_munmap_frees),
        TEST(test_munmap_mprotect_errors),
        TEST(test_mremap_errors),
        TEST(test_sync_and_advice_errors),
        TEST(test_madvise_remove),
        TEST(test_mincore_mlock_errors),
        TEST(test_mlock_too_much),
        TEST(test_mprotect_rewires),
        TEST(test_growstack),
        TEST(test_growstack_again),
        TEST(test_brk),
        TEST(test_advice),
        TEST(test_reserve),
        TEST(test_fail_nth),
    };

    return cmocka_run_group_tests_name("syscall", tests, NULL, NULL);
}
