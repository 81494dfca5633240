/*
 * mmap_freebsd_test.c: FreeBSD 11's rules for mmap. Each test names the rule of the seed that it holds the
 * call to ("sys_mmap", "vn_mmap" and so on in the walkthrough of that call).
 */
#include <faultline/freebsd.h>
#include "lib/errno.h"
#include "support/one_file.h"
#include "vm/vm_map.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define P      ((vm_offset_t)VM_PAGE_SIZE)
#define FILE_P 16
#define TEXT   ((vm_offset_t)0x200000)
#define DATA   ((vm_offset_t)0x400000)
#define HEAP   (64 * P) /* the most that the data segment may have */
#define BEHIND (DATA + HEAP)

#define SHARED  FL_FREEBSD_MAP_SHARED
#define PRIVATE FL_FREEBSD_MAP_PRIVATE
#define FIXED   FL_FREEBSD_MAP_FIXED
#define ANON    FL_FREEBSD_MAP_ANON
#define STACK   FL_FREEBSD_MAP_STACK
#define GUARD   FL_FREEBSD_MAP_GUARD
#define EXCL    FL_FREEBSD_MAP_EXCL

static struct fl_freebsd_process process;
static struct fl_file opened;
static struct fl_freebsd_file fd;

static int setup(void **state)
{
    struct sim_params params = test_params(test_seed(11));

    (void)state;
    one_file_boot(&params, test_disk(FILE_P * P, 4096, 1), RW);
    process = (struct fl_freebsd_process){
        .text_start = TEXT, .data_start = DATA, .data_max_bytes = HEAP, .osrel = 1102000};
    opened = file;
    fd = (struct fl_freebsd_file){&opened, VM_PROT_ALL};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vm_map_check(map);
    one_file_end();
    return 0;
}

static int64_t of_file(vm_offset_t addr, size_t len, int prot, int flags, vm_ooffset_t offset)
{
    return fl_sys_mmap_freebsd(map, &process, addr, len, prot, flags, &fd, offset);
}

static int64_t of_memory(vm_offset_t addr, size_t len, int prot, int flags)
{
    return fl_sys_mmap_freebsd(map, &process, addr, len, prot, flags, NULL, 0);
}

static struct fl_region region_at(vm_offset_t va)
{
    struct fl_region region;

    assert_int_equal(fl_space_region(map, va, &region), 0);
    assert_true(region.start <= va);
    return region;
}

/* ---- sys_mmap: "Enforces mmap's constraints for old binaries and/or anonymous mappings" ---------------- */

static void anonymous_memory_has_no_file_and_no_offset(void **state)
{
    (void)state;
    assert_int_equal(of_file(0, P, PROT_RW, ANON, 0), -EINVAL);
    assert_int_equal(fl_sys_mmap_freebsd(map, &process, 0, P, PROT_RW, ANON, NULL, P), -EINVAL);
    assert_int_equal(of_memory(0, P, PROT_RW, ANON), BEHIND);
    assert_false(region_at(BEHIND).shared); /* without a type it is private */
    assert_int_equal(of_memory(0, P, PROT_RW, ANON | SHARED), BEHIND + P);
    assert_true(region_at(BEHIND + P).shared);
    assert_int_equal(of_memory(0, P, PROT_RW, SHARED), -EBADF);
}

static void old_binaries_may_map_nothing(void **state)
{
    (void)state;
    assert_int_equal(of_memory(TEXT, 0, PROT_RW, ANON), -EINVAL);
    process.osrel = FL_FREEBSD_OSREL_MAP_ANON;
    assert_int_equal(of_memory(TEXT, 0, PROT_RW, ANON), -EINVAL);
    process.osrel--;
    assert_int_equal(of_memory(DATA + HEAP + P, 0, PROT_RW, ANON), DATA + HEAP + P);
    /* A fixed address is a page's all the same. */
    assert_int_equal(of_memory(0x10000000 + 8, 0, PROT_RW, ANON | FIXED), -EINVAL);
    assert_int_equal(map->nentries, 0);
    process = (struct fl_freebsd_process){.aout = true, .data_start = DATA, .osrel = 1102000};
    assert_int_equal(of_memory(0, 0, PROT_RW, ANON), DATA);
    assert_int_equal(map->nentries, 0);
}

/* The loader of a.out binaries gave anonymous memory an offset. */
static void old_binaries_may_give_memory_an_offset(void **state)
{
    (void)state;
    process.aout = true;
    assert_int_equal(fl_sys_mmap_freebsd(map, &process, 0, P, PROT_RW, ANON, NULL, 3 * P + 5), BEHIND);
    assert_int_equal(test_load8(map, BEHIND), 0);
}

/* Since release 11 a mapping of a file says whether it is shared. */
static void a_file_is_mapped_shared_or_private(void **state)
{
    (void)state;
    assert_int_equal(of_file(0, P, VM_PROT_READ, 0, 0), -EINVAL);
    process.osrel = FL_FREEBSD_OSREL_MAP_FSTRICT - 1;
    assert_int_equal(of_file(0, P, PROT_RW, 0, 0), BEHIND);
    assert_false(region_at(BEHIND).shared);
}

/* ---- sys_mmap: "Checks flags for illegal bits or invalid settings" ------------------------------------- */

static void illegal_flags_are_refused(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 24; bit++) {
        const int known = 0x6e73 | 0xe0000 | 0x0060; /* 0x60: of old releases, ignored */
        int flag = 1 << bit;

        if ((flag & known) == 0)
            assert_int_equal(of_file(0, P, VM_PROT_READ, PRIVATE | flag, 0), -EINVAL);
    }
    assert_true(of_file(0, P, VM_PROT_READ, PRIVATE | 0x60, 0) > 0);
    assert_true(of_file(0, P, VM_PROT_READ,
                        PRIVATE | FL_FREEBSD_MAP_NOSYNC | FL_FREEBSD_MAP_NOCORE |
                            FL_FREEBSD_MAP_HASSEMAPHORE | FL_FREEBSD_MAP_PREFAULT_READ,
                        0) > 0);
    assert_int_equal(of_file(0, P, VM_PROT_READ, SHARED | PRIVATE, 0), -EINVAL);
    assert_int_equal(of_file(0, P, 8, SHARED, 0), -EINVAL);
    assert_int_equal(of_memory(0, P, PROT_RW, ANON | EXCL), -EINVAL);
}

static void a_fixed_place_may_have_to_be_free(void **state)
{
    const vm_offset_t at = 0x10000000;

    (void)state;
    assert_int_equal(of_memory(at, 2 * P, PROT_RW, ANON | FIXED | EXCL), at);
    assert_int_equal(of_memory(at + P, P, PROT_RW, ANON | FIXED | EXCL), -ENOMEM);
    test_store8(map, at + P, 7);
    assert_int_equal(of_memory(at + P, P, PROT_RW, ANON | FIXED), at + P);
    assert_int_equal(test_load8(map, at + P), 0);
}

static void a_guard_is_nothing_but_a_place(void **state)
{
    (void)state;
    assert_int_equal(of_memory(0, P, VM_PROT_READ, GUARD), -EINVAL);
    assert_int_equal(of_memory(0, P, VM_PROT_NONE, GUARD | ANON), -EINVAL);
    assert_int_equal(of_memory(0, P, VM_PROT_NONE, GUARD | PRIVATE), -EINVAL);
    assert_int_equal(of_file(0, P, VM_PROT_NONE, GUARD, 0), -EINVAL);
    assert_int_equal(of_memory(0, 3 * P, VM_PROT_NONE, GUARD), BEHIND);
    assert_int_equal(fl_sys_mprotect(map, BEHIND, P, VM_PROT_READ), -EACCES);
    assert_int_equal(of_memory(0, P, PROT_RW, ANON), BEHIND + 3 * P);
}

static void a_stack_may_be_read_and_written(void **state)
{
    (void)state;
    assert_int_equal(of_file(0, 8 * P, PROT_RW, STACK, 0), -EINVAL);
    assert_int_equal(of_memory(0, 8 * P, VM_PROT_READ, STACK), -EINVAL);
    assert_int_equal(of_memory(0, P, PROT_RW, STACK), -EINVAL); /* nothing but its guard */
    assert_int_equal(of_memory(0, 8 * P, PROT_RW, STACK), BEHIND);
    for (vm_offset_t va = BEHIND + 7 * P; va > BEHIND; va -= P)
        test_store8(map, va, 1);
    assert_int_equal(sim_store(map, BEHIND, "x", 1, NULL), -EACCES);
}

/* ---- sys_mmap: "Aligns the file position on a page boundary and adds its remainder modulo PAGE_SIZE" --- */

static void an_offset_within_a_page_is_rounded_down(void **state)
{
    vm_offset_t at = (vm_offset_t)of_file(0, P, VM_PROT_READ, SHARED, 3 * P + 100);

    (void)state;
    assert_int_equal(at, BEHIND + 100);
    for (vm_offset_t i = 0; i < P; i += 257)
        assert_int_equal(test_load8(map, at + i), test_byte(3 * P + 100 + i));
    /* The length has grown by the remainder, so the mapping has two pages. */
    assert_int_equal(region_at(at).end, BEHIND + 2 * P);
    assert_int_equal(region_at(at).offset, 3 * P);
    assert_int_equal(of_file(0, P - 100, VM_PROT_READ, PRIVATE, 100), BEHIND + 2 * P + 100);
    assert_int_equal(region_at(BEHIND + 2 * P).end, BEHIND + 3 * P);
}

/* "Sets addr + pageoff as the retval": a fixed address must have the offset's remainder. */
static void a_fixed_address_has_the_offsets_remainder(void **state)
{
    const vm_offset_t at = 0x10000000;

    (void)state;
    assert_int_equal(of_file(at, P, VM_PROT_READ, SHARED | FIXED, 100), -EINVAL);
    assert_int_equal(of_file(at + 100, P, VM_PROT_READ, SHARED | FIXED, 0), -EINVAL);
    assert_int_equal(of_file(at + 100, P, VM_PROT_READ, SHARED | FIXED, 5 * P + 100), at + 100);
    assert_int_equal(test_load8(map, at + 100), test_byte(5 * P + 100));
    assert_int_equal(region_at(at).start, at);
}

static void lengths_are_rounded_up(void **state)
{
    (void)state;
    assert_int_equal(of_memory(0, 1, PROT_RW, ANON), BEHIND);
    assert_int_equal(of_memory(0, P + 1, VM_PROT_READ, ANON), BEHIND + P);
    assert_int_equal(region_at(BEHIND + P).end, BEHIND + 3 * P);
    assert_int_equal(of_memory(0, SIZE_MAX, PROT_RW, ANON), -ENOMEM);
    assert_int_equal(of_file(0, SIZE_MAX - P, VM_PROT_READ, SHARED, P - 1), -ENOMEM);
    assert_int_equal(of_file(0, P, VM_PROT_READ, SHARED, (vm_ooffset_t)INT64_MAX - P + 2), -EINVAL);
    assert_int_equal(of_file(0, P, VM_PROT_READ, SHARED, (vm_ooffset_t)1 << 63), -EINVAL);
}

/* ---- sys_mmap: "Checks if alignment >= 12 bits and fits inside a void pointer" ------------------------- */

static void alignments_are_checked(void **state)
{
    (void)state;
    for (int n = 2; n < 256; n++) {
        int64_t at = of_memory(0, P, PROT_RW, ANON | FL_FREEBSD_MAP_ALIGNED(n));

        if (n < 12 || n > 63)
            assert_int_equal(at, -EINVAL);
        else if (n < 47)
            assert_int_equal((vm_offset_t)at & (((vm_offset_t)1 << n) - 1), 0);
        else
            assert_true(at == -ENOMEM); /* the space has none */
        assert_int_equal(fl_sys_munmap(map, TEST_SPACE_START, TEST_SPACE_END - TEST_SPACE_START), 0);
    }
}

/* The lowest place that fits and is aligned, also where a lower one that is free is not. */
static void an_aligned_place_is_the_lowest(void **state)
{
    const vm_offset_t step = (vm_offset_t)1 << 16;
    vm_offset_t first = (BEHIND + step - 1) & ~(step - 1);

    (void)state;
    for (vm_offset_t at = first; at < first + 4 * step; at += step)
        assert_int_equal(of_memory(0, P, PROT_RW, ANON | FL_FREEBSD_MAP_ALIGNED(16)), at);
    assert_int_equal(of_memory(0, P, PROT_RW, ANON), BEHIND == first ? first + P : BEHIND);
    assert_int_equal(of_memory(0, 14 * P, VM_PROT_READ, ANON | FL_FREEBSD_MAP_ALIGNED(13)), first + 2 * P);
    assert_int_equal(of_memory(0, P, PROT_RW, ANON | FL_FREEBSD_MAP_ALIGNED_SUPER) % (2 << 20), 0);
    /* Outside the space. */
    assert_int_equal(of_memory(P, P, PROT_RW, ANON | FIXED | FL_FREEBSD_MAP_ALIGNED(16)), -EINVAL);
}

/* ---- sys_mmap: "Checks that the mapping fits inside user VM space" ------------------------------------- */

static void fixed_mappings_lie_in_the_space(void **state)
{
    (void)state;
    assert_int_equal(of_memory(TEST_SPACE_START - P, P, PROT_RW, ANON | FIXED), -EINVAL);
    assert_int_equal(of_memory(TEST_SPACE_END, P, PROT_RW, ANON | FIXED), -EINVAL);
    assert_int_equal(of_memory(TEST_SPACE_END - P, 2 * P, PROT_RW, ANON | FIXED), -EINVAL);
    assert_int_equal(of_memory(UINT64_MAX - P + 1, 2 * P, PROT_RW, ANON | FIXED), -EINVAL);
    assert_int_equal(of_memory(TEST_SPACE_START, P, PROT_RW, ANON | FIXED), TEST_SPACE_START);
    assert_int_equal(of_memory(0, TEST_SPACE_END, PROT_RW, ANON), -ENOMEM);
}

static void low_memory_can_be_asked_for(void **state)
{
    const int low = ANON | FL_FREEBSD_MAP_32BIT;
    const vm_offset_t end = (vm_offset_t)1 << 31;

    (void)state;
    assert_int_equal(of_memory(0x7fff0000, 4 * P, PROT_RW, low), 0x7fff0000);
    assert_int_equal(of_memory(0x100000000, P, PROT_RW, low), TEST_SPACE_START); /* a hint that is too high */
    /* Taken, and behind it there is no room below 2 GiB. */
    assert_int_equal(of_memory(0x7fff0000, 16 * P, PROT_RW, low), TEST_SPACE_START + P);
    assert_int_equal(of_memory(DATA, P, PROT_RW, low), DATA); /* does not move behind the data segment */
    assert_int_equal(of_memory(end - P, 2 * P, PROT_RW, low | FIXED), -EINVAL);
    assert_int_equal(of_memory(0, end, PROT_RW, low), -ENOMEM);
}

/* ---- sys_mmap: "Moves the hint to the end of a largest possible data segment" -------------------------- */

static void a_hint_in_the_data_segment_moves_behind_it(void **state)
{
    (void)state;
    assert_int_equal(of_memory(TEXT, P, PROT_RW, ANON), BEHIND);
    assert_int_equal(of_memory(DATA + HEAP - 1, P, VM_PROT_READ, ANON), BEHIND + P);
    assert_int_equal(of_memory(TEXT - P, P, PROT_RW, ANON), TEXT - P); /* below the text */
    assert_int_equal(of_memory(BEHIND + 9 * P, P, PROT_RW, ANON), BEHIND + 9 * P);
    assert_int_equal(of_memory(BEHIND + 9 * P, P, VM_PROT_READ, ANON), BEHIND + 10 * P); /* upwards */
    assert_int_equal(of_memory(BEHIND + 20 * P + 1, P, PROT_RW, ANON), BEHIND + 21 * P); /* rounded up */
    assert_int_equal(of_memory(DATA, P, PROT_RW, ANON | FIXED), DATA); /* a fixed place is taken */
    /* Nothing at or above the hint: from behind the data segment on. */
    assert_int_equal(of_memory(TEST_SPACE_END - P, 2 * P, PROT_RW, ANON), BEHIND + 2 * P);
}

/* ---- fget_mmap, vn_mmap: "protections are cut by the mount and by the file's capability" --------------- */

static void the_descriptor_must_have_the_rights(void **state)
{
    (void)state;
    fd.cap_rights = VM_PROT_READ;
    assert_int_equal(of_file(0, P, PROT_RW, SHARED, 0), -EPERM);
    assert_int_equal(of_file(0, P, VM_PROT_EXECUTE, PRIVATE, 0), -EPERM);
    assert_int_equal(of_file(0, P, PROT_RW, PRIVATE, 0), BEHIND); /* stores go to copies */
    assert_int_equal(region_at(BEHIND).max_prot, PROT_RW);
    assert_int_equal(of_file(0, P, VM_PROT_READ, SHARED, 0), BEHIND + P);
    assert_int_equal(region_at(BEHIND + P).max_prot, VM_PROT_READ);
    assert_int_equal(fl_sys_mprotect(map, BEHIND + P, P, PROT_RW), -EACCES);
    assert_int_equal(fl_sys_mprotect(map, BEHIND, P, VM_PROT_READ | VM_PROT_EXECUTE), -EACCES);
    fd.cap_rights = VM_PROT_WRITE;
    assert_int_equal(of_file(0, P, VM_PROT_READ, PRIVATE, 0), -EPERM);
    opened.vnode = NULL;
    assert_int_equal(of_file(0, P, VM_PROT_READ, PRIVATE, 0), -EBADF);
}

static void a_mount_may_forbid_execution(void **state)
{
    (void)state;
    opened.mode |= FL_FNOEXEC;
    assert_int_equal(of_file(0, P, VM_PROT_READ | VM_PROT_EXECUTE, PRIVATE, 0), -EACCES);
    assert_int_equal(of_file(0, P, VM_PROT_READ, PRIVATE, 0), BEHIND);
    assert_int_equal(region_at(BEHIND).max_prot, PROT_RW);
    assert_int_equal(fl_sys_mprotect(map, BEHIND, P, VM_PROT_EXECUTE), -EACCES);
    /* Linux has the same rule, with another error. */
    assert_int_equal(fl_sys_mmap(map, 0, P, VM_PROT_EXECUTE, FL_MAP_PRIVATE, &opened, 0), -EPERM);
    vm_offset_t at = (vm_offset_t)fl_sys_mmap(map, 0, P, VM_PROT_READ, FL_MAP_SHARED, &opened, 0);
    assert_int_equal(region_at(at).max_prot, PROT_RW);
}

static void the_open_mode_limits_the_mapping(void **state)
{
    (void)state;
    opened.mode = FL_FREAD;
    assert_int_equal(of_file(0, P, PROT_RW, SHARED, 0), -EACCES);
    assert_int_equal(of_file(0, P, VM_PROT_READ, SHARED, 0), BEHIND);
    assert_int_equal(region_at(BEHIND).max_prot, VM_PROT_READ | VM_PROT_EXECUTE);
    assert_int_equal(of_file(0, P, PROT_RW, PRIVATE, 0), BEHIND + P);
    assert_int_equal(region_at(BEHIND + P).max_prot, VM_PROT_ALL);
    opened.mode = FL_FWRITE;
    assert_int_equal(of_file(0, P, VM_PROT_READ, SHARED, 0), -EACCES);
}

/* ---- vm_mmap_object: what was mapped is the file ------------------------------------------------------- */

static void shared_and_private_mappings_show_the_file(void **state)
{
    vm_offset_t shared = (vm_offset_t)of_file(0, 4 * P, PROT_RW, SHARED, 0);
    vm_offset_t private = (vm_offset_t)of_file(0, 4 * P, PROT_RW, PRIVATE, 0);

    (void)state;
    test_store8(map, private, 0x11);
    test_store8(map, shared + P, 0x22);
    assert_int_equal(test_load8(map, shared), test_byte(0));
    assert_int_equal(test_load8(map, private + P), 0x22);
    assert_int_equal(fl_sys_mlockall(map, FL_MCL_FUTURE), 0);
    vm_offset_t locked = (vm_offset_t)of_file(0, 2 * P, PROT_RW, PRIVATE, 100);
    assert_true(region_at(locked).wired);
    assert_int_equal(fl_sys_munlockall(map), 0);
}

static void limits_count(void **state)
{
    struct fl_space_limits limits = {4 * P, FL_NO_LIMIT, FL_NO_LIMIT, FL_NO_LIMIT};

    (void)state;
    fl_space_set_limits(map, &limits);
    assert_int_equal(of_file(0, 4 * P, VM_PROT_READ, SHARED, 1), -ENOMEM); /* five pages */
    assert_int_equal(of_memory(0, 4 * P, PROT_RW, ANON), BEHIND);
    assert_int_equal(of_memory(BEHIND + P, P, PROT_RW, ANON | FIXED), BEHIND + P);
    assert_int_equal(of_memory(0, P, PROT_RW, ANON), -ENOMEM);
}

/* Each allocation of a stack fails in turn: either all of it is there, or nothing. */
static void a_stack_is_mapped_as_a_whole(void **state)
{
    bool failed;

    (void)state;
    for (uint32_t n = 1;; n++) {
        sim_torture()->fail_alloc_nth = n;
        int64_t at = of_memory(0, 8 * P, PROT_RW, STACK);
        failed = sim_torture()->fail_alloc_nth == 0;
        sim_torture()->fail_alloc_nth = 0;
        assert_int_equal(map->nentries, at > 0 ? 2 : 0);
        if (!failed)
            break;
        assert_int_equal(at, -ENOMEM);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(anonymous_memory_has_no_file_and_no_offset),
        TEST(old_binaries_may_map_nothing),
        TEST(old_binaries_may_give_memory_an_offset),
        TEST(a_file_is_mapped_shared_or_private),
        TEST(illegal_flags_are_refused),
        TEST(a_fixed_place_may_have_to_be_free),
        TEST(a_guard_is_nothing_but_a_place),
        TEST(a_stack_may_be_read_and_written),
        TEST(an_offset_within_a_page_is_rounded_down),
        TEST(a_fixed_address_has_the_offsets_remainder),
        TEST(lengths_are_rounded_up),
        TEST(alignments_are_checked),
        TEST(an_aligned_place_is_the_lowest),
        TEST(fixed_mappings_lie_in_the_space),
        TEST(low_memory_can_be_asked_for),
        TEST(a_hint_in_the_data_segment_moves_behind_it),
        TEST(the_descriptor_must_have_the_rights),
        TEST(a_mount_may_forbid_execution),
        TEST(the_open_mode_limits_the_mapping),
        TEST(shared_and_private_mappings_show_the_file),
        TEST(limits_count),
        TEST(a_stack_is_mapped_as_a_whole),
    };

    return cmocka_run_group_tests_name("mmap_freebsd", tests, NULL, NULL);
}
