/*
 * shmem_test.c: files without a store (fl_vnode_anonymous): what they take, where their pages go, and what
 * happens when there is no room.
 *
 *   what it is        calls and mappings show the same bytes; forks share it; it ends with its vnode
 *   what it costs     holes nothing; slots end with what they hold; the length is promised
 *   what goes wrong   swap is full, a transfer fails, the Nth allocation fails: the call says so, and each
 *                     byte is as before or as it was to become
 *
 * tests/model/anonymous_files_test.c compares them with a model. Here is what that cannot see.
 */
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/pages.h"
#include "vm/vm_commit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* `file` and `map` are one_file.h's; the file has no disk. */
static void begin(const struct sim_params *params, uint64_t len_bytes)
{
    test_boot(params);
    map = test_space();
    file = (struct fl_file){.mode = RW};
    assert_int_equal(fl_vnode_anonymous(len_bytes, &file.vnode), 0);
}

static void end(void)
{
    sim_vm_check();
    fl_space_destroy(map);
    assert_int_equal(fl_vnode_close(file.vnode), 0);
    sim_shutdown();
}

static struct sim_params params_of(uint64_t seed, uint32_t nframes, uint32_t swap_pages)
{
    struct sim_params params = test_params(test_seed(seed));
    params.nframes = nframes;
    params.swap_pages = swap_pages;
    return params;
}

static struct fl_vm_stats stats(void)
{
    struct fl_vm_stats now;
    fl_vm_stats(&now);
    return now;
}

static uint64_t slots_in_use(void)
{
    return stats().swap_pages - stats().swap_free;
}

static uint64_t pages_in_use(void)
{
    return stats().nframes - stats().free;
}

static uint8_t stamp(uint64_t page)
{
    return (uint8_t)(1 + page * 7 % 255);
}

static void write_stamps(uint64_t first, uint64_t npages)
{
    uint8_t page[VM_PAGE_SIZE];
    for (uint64_t p = first; p < first + npages; p++) {
        memset(page, stamp(p), sizeof page);
        assert_int_equal(write_at(ptoa(p), page, sizeof page, 0), VM_PAGE_SIZE);
    }
}

static void expect_bytes(uint64_t offset, uint64_t len_bytes, uint8_t byte)
{
    uint8_t page[VM_PAGE_SIZE];
    for (uint64_t n; len_bytes > 0; offset += n, len_bytes -= n) {
        n = len_bytes < sizeof page ? len_bytes : sizeof page;
        assert_int_equal(read_at(offset, page, n, 0), (int64_t)n);
        for (uint64_t i = 0; i < n; i++)
            assert_int_equal(page[i], byte);
    }
}

static void expect_stamps(uint64_t first, uint64_t npages)
{
    for (uint64_t p = first; p < first + npages; p++)
        expect_bytes(ptoa(p), VM_PAGE_SIZE, stamp(p));
}

static void page_out(vm_offset_t va, uint64_t npages)
{
    assert_int_equal(fl_sys_madvise(map, va, ptoa(npages), FL_MADV_PAGEOUT), 0);
}

/* ---- what it is ---------------------------------------------------------------------------------------- */

static void calls_and_mappings(void **state)
{
    (void)state;
    struct sim_params params = params_of(51, 256, 0);
    begin(&params, 3 * VM_PAGE_SIZE + 100);
    assert_int_equal(fl_vnode_size(file.vnode), 3 * VM_PAGE_SIZE + 100);
    expect_bytes(0, 3 * VM_PAGE_SIZE + 100, 0);
    assert_int_equal(write_at(5000, "hello", 5, 0), 5);
    vm_offset_t shared = test_mmap(map, &file, FL_MAP_SHARED, 4);
    vm_offset_t private = test_mmap(map, &file, FL_MAP_PRIVATE, 4);
    assert_int_equal(test_load8(map, shared + 5000), 'h');
    assert_int_equal(test_load8(map, private + 5004), 'o');
    test_store8(map, shared + 5000, 'j');
    test_store8(map, private + 5001, 'i');
    expect_bytes(5001, 1, 'e');
    test_store8(map, shared + 5000, 'k');
    assert_int_equal(test_load8(map, private + 5000), 'j'); /* its page was copied before */
    uint8_t byte;
    assert_int_equal(sim_load(map, shared + ptoa(4), &byte, 1, NULL), -EFAULT);
    assert_int_equal(fl_vnode_truncate(file.vnode, 5001), 0);
    assert_int_equal(sim_load(map, shared + ptoa(2), &byte, 1, NULL), -ENXIO);
    assert_int_equal(fl_vnode_extend(file.vnode, ptoa(2)), 0);
    assert_int_equal(fl_vnode_size(file.vnode), ptoa(2));
    expect_bytes(5000, 1, 'k');
    expect_bytes(5001, ptoa(2) - 5001, 0);
    struct fl_region region;
    assert_int_equal(fl_space_region(map, shared, &region), 0);
    assert_ptr_equal(region.vnode, file.vnode);
    assert_true(region.shared && !region.anonymous && region.offset == 0);
    end();
}

/* What a store does elsewhere: accepted here, and nothing is transferred. */
static void calls_about_the_disk(void **state)
{
    (void)state;
    struct sim_params params = params_of(52, 256, 100);
    begin(&params, 0);
    uint8_t bytes[100] = {1, 2, 3};
    uint64_t len_bytes = ptoa(10);
    fl_errseq_t since = fl_vnode_errseq(file.vnode);
    assert_int_equal(write_at(77, bytes, sizeof bytes, FL_IOCB_DIRECT | FL_IOCB_DSYNC), sizeof bytes);
    assert_int_equal(write_at(0, bytes, sizeof bytes, FL_IOCB_APPEND), sizeof bytes);
    assert_int_equal(read_at(177, bytes, sizeof bytes, FL_IOCB_DIRECT), sizeof bytes);
    assert_int_equal(bytes[2], 3);
    assert_int_equal(fl_vnode_size(file.vnode), 277);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &since), 0);
    assert_int_equal(fl_vnode_sync(file.vnode, 0, ptoa(1)), 0);
    assert_int_equal(fl_vnode_sync_range(file.vnode, 0, 0, 7, &since), 0);
    assert_int_equal(fl_vnode_write_error(file.vnode), 0);
    assert_int_equal(fl_vnode_allocate(file.vnode, 0, &len_bytes), 0);
    assert_int_equal(len_bytes, ptoa(10));
    fl_vnode_invalidate(file.vnode, 0, ptoa(1)); /* it has no other copy, so nothing is forgotten */
    unsigned what;
    assert_int_equal(fl_vnode_revalidate(file.vnode, false, &what), 0);
    assert_int_equal(what, 0);
    for (int advice = FL_FADV_NORMAL; advice <= FL_FADV_NOREUSE; advice++)
        assert_int_equal(fl_vnode_fadvise(file.vnode, 0, 0, advice), 0);
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, 1);
    test_store8(map, va, 9);
    assert_int_equal(fl_sys_msync(map, va, ptoa(1), FL_MS_SYNC), 0);
    assert_int_equal(fl_sys_madvise(map, va, ptoa(1), FL_MADV_WILLNEED), 0);
    struct fl_iovec iov = {(void *)va, ptoa(1)};
    assert_int_equal(fl_sys_prefetch(map, &iov, 1), 0);
    expect_bytes(177 + 2, 1, 3);
    expect_bytes(0, 1, 9);
    assert_int_equal(stats().dirty, 0); /* nothing is to be written back */
    assert_int_equal(slots_in_use(), 0);
    assert_int_equal(fl_sys_madvise(map, va, ptoa(1), FL_MADV_REMOVE), 0);
    expect_bytes(0, 277, 0);
    end();
}

static void forks_share_it(void **state)
{
    (void)state;
    struct sim_params params = params_of(53, 64, 400);
    begin(&params, ptoa(100));
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, 100);
    struct vm_map *child;
    assert_int_equal(fl_space_fork(map, &child), 0);
    for (uint64_t p = 0; p < 100; p++) /* more than memory has */
        test_store8(p % 2 == 0 ? map : child, va + ptoa(p), stamp(p));
    for (uint64_t p = 0; p < 100; p++)
        assert_int_equal(test_load8(p % 2 == 0 ? child : map, va + ptoa(p)), stamp(p));
    assert_true(slots_in_use() > 30);
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(10), ptoa(50)), 0);
    assert_int_equal(test_load8(child, va + ptoa(20)), 0);
    fl_space_destroy(child);
    assert_int_equal(test_load8(map, va + ptoa(99)), stamp(99));
    end();
}

/* A mapping keeps it, without a name or a descriptor. */
static void it_ends_with_its_last_user(void **state)
{
    (void)state;
    struct sim_params params = params_of(54, 64, 400);
    begin(&params, ptoa(100));
    struct fl_file other = {.mode = RW};
    assert_int_equal(fl_vnode_anonymous(ptoa(100), &other.vnode), 0);
    uint64_t used = pages_in_use();
    vm_offset_t va = test_mmap(map, &other, FL_MAP_SHARED, 100);
    assert_int_equal(fl_vnode_close(other.vnode), 0);
    for (uint64_t p = 0; p < 100; p++)
        test_store8(map, va + ptoa(p), stamp(p));
    for (uint64_t p = 0; p < 100; p++)
        assert_int_equal(test_load8(map, va + ptoa(p)), stamp(p));
    assert_true(slots_in_use() > 30);
    assert_int_equal(fl_sys_munmap(map, va, ptoa(100)), 0);
    assert_int_equal(slots_in_use(), 0);
    assert_int_equal(pages_in_use(), used);
    end();
}

/* A snapshot keeps what was, in memory or in swap, also of holes. */
static void snapshots_of_it(void **state)
{
    (void)state;
    struct sim_params params = params_of(55, 256, 400);
    begin(&params, ptoa(30));
    write_stamps(0, 20);
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, 30);
    (void)test_load8(map, va);
    page_out(va, 10);
    int64_t copy = fl_sys_snapshot(map, va, ptoa(30));
    assert_true(copy > 0);
    test_store8(map, va + ptoa(25), 1);
    write_stamps(21, 1);
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(3), ptoa(10)), 0);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(1) + 7), 0);
    for (uint64_t p = 0; p < 30; p++)
        assert_int_equal(test_load8(map, (vm_offset_t)copy + ptoa(p) + 9), p < 20 ? stamp(p) : 0);
    end();
}

/* ---- what it costs ------------------------------------------------------------------------------------- */

static void holes_take_nothing(void **state)
{
    (void)state;
    struct sim_params params = params_of(56, 64, 100);
    begin(&params, UINT64_C(1) << 40);
    uint64_t used = pages_in_use();
    write_stamps(1000000, 1);
    assert_int_equal(pages_in_use(), used + 1);
    for (uint64_t p = 0; p < 500; p++) /* what was only read goes without a slot */
        expect_bytes(ptoa(p), 10, 0);
    assert_true(slots_in_use() <= 1);
    uint64_t zeros = stats().faults_zero, minor = stats().faults_minor, ins = stats().page_ins;
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, 1000);
    test_store8(map, va + ptoa(700), 1);
    assert_int_equal(stats().faults_zero, zeros + 1);
    assert_int_equal(stats().faults_minor, minor + 1);
    assert_int_equal(stats().page_ins, ins);
    assert_int_equal(fl_vnode_truncate(file.vnode, 0), 0);
    assert_int_equal(slots_in_use(), 0);
    assert_int_equal(pages_in_use(), used);
    assert_int_equal(fl_vnode_truncate(file.vnode, (uint64_t)INT64_MAX + 1), -EFBIG);
    struct vnode *none;
    assert_int_equal(fl_vnode_anonymous(UINT64_MAX, &none), -EFBIG);
    end();
}

static void more_than_memory(void **state)
{
    (void)state;
    struct sim_params params = params_of(57, 100, 1000);
    begin(&params, 0);
    for (uint32_t turn = 0; turn < 2; turn++) {
        write_stamps(0, 400);
        expect_stamps(0, 400);
    }
    assert_true(slots_in_use() >= 300 && slots_in_use() <= 400);
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(100), ptoa(200)), 0);
    assert_true(slots_in_use() <= 200);
    expect_stamps(0, 100);
    expect_bytes(ptoa(100), ptoa(200), 0);
    expect_stamps(300, 100);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(50)), 0);
    assert_true(slots_in_use() <= 50);
    assert_int_equal(fl_vnode_extend(file.vnode, ptoa(400)), 0);
    expect_stamps(0, 50);
    expect_bytes(ptoa(50), ptoa(350), 0);
    end();
}

/* Pages that are in swap when they are cut or punched in part; the last page, with bytes behind the end. */
static void parts_of_pages_in_swap(void **state)
{
    (void)state;
    struct sim_params params = params_of(58, 256, 100);
    begin(&params, ptoa(4) + 100);
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, 5);
    write_stamps(0, 4);
    test_store8(map, va + ptoa(4) + 99, 5);
    test_store8(map, va + ptoa(4) + 200, 6); /* behind the end */
    page_out(va, 5);
    assert_int_equal(slots_in_use(), 5);
    assert_int_equal(fl_vnode_extend(file.vnode, ptoa(5)), 0);
    expect_bytes(ptoa(4) + 99, 1, 5);
    expect_bytes(ptoa(4) + 100, VM_PAGE_SIZE - 100, 0);
    page_out(va, 5);
    assert_int_equal(fl_vnode_punch(file.vnode, 100, 200), 0);
    page_out(va, 5);
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(1) + 100, ptoa(1)), 0);
    page_out(va, 5);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(3) + 10), 0);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(4)), 0);
    page_out(va, 4);
    expect_bytes(0, 100, stamp(0));
    expect_bytes(100, 200, 0);
    expect_bytes(300, VM_PAGE_SIZE - 300, stamp(0));
    expect_bytes(ptoa(1), 100, stamp(1));
    expect_bytes(ptoa(1) + 100, VM_PAGE_SIZE, 0);
    expect_bytes(ptoa(2) + 100, VM_PAGE_SIZE - 100, stamp(2));
    expect_bytes(ptoa(3), 10, stamp(3));
    expect_bytes(ptoa(3) + 10, VM_PAGE_SIZE - 10, 0);
    end();
}

static uint64_t committed(void)
{
    uint64_t limit;
    return vm_committed(&limit);
}

/* Its length is promised, and a mapping of it promises nothing more. */
static void a_strict_computer(void **state)
{
    (void)state;
    struct sim_params params = params_of(59, 128, 100);
    params.overcommit = FL_OVERCOMMIT_STRICT;
    begin(&params, 10);
    uint64_t limit;
    assert_int_equal(vm_committed(&limit), 1);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(limit) + 1), -ENOSPC);
    assert_int_equal(fl_vnode_size(file.vnode), 10);
    struct vnode *other;
    assert_int_equal(fl_vnode_anonymous(ptoa(limit), &other), -ENOSPC);
    assert_int_equal(fl_vnode_anonymous(ptoa(limit - 1), &other), 0);
    uint8_t bytes[3 * VM_PAGE_SIZE] = {1};
    assert_int_equal(write_at(0, bytes, sizeof bytes, 0), VM_PAGE_SIZE); /* as much as there is room for */
    assert_int_equal(write_at(ptoa(1), bytes, 1, 0), -ENOSPC);
    assert_int_equal(fl_vnode_close(other), 0);
    assert_int_equal(committed(), 1);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(limit)), 0);
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, limit);
    assert_int_equal(committed(), limit);
    for (uint64_t p = 0; p < limit; p++) /* what was promised is there */
        test_store8(map, va + ptoa(p), stamp(p));
    for (uint64_t p = 0; p < limit; p++)
        assert_int_equal(test_load8(map, va + ptoa(p)), stamp(p));
    sim_vm_check();
    assert_int_equal(fl_vnode_truncate(file.vnode, 1), 0);
    assert_int_equal(committed(), 1);
    end();
}

/* ---- what goes wrong ----------------------------------------------------------------------------------- */

/* With swap and memory full, what was written can be read, by calls and through mappings; more is refused. */
static void full_swap_is_an_error(void **state)
{
    (void)state;
    struct sim_params params = params_of(60, 64, 100);
    begin(&params, ptoa(400));
    uint8_t page[VM_PAGE_SIZE];
    uint64_t written = 0;
    int64_t result;
    memset(page, stamp(0), sizeof page);
    while ((result = write_at(ptoa(written), page, sizeof page, 0)) == VM_PAGE_SIZE)
        memset(page, stamp(++written), sizeof page);
    assert_int_equal(result, -ENOMEM);
    assert_true(written >= 100 && written < 164);
    expect_stamps(0, written);
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, 400);
    for (uint64_t p = 0; p < written; p++)
        assert_int_equal(test_load8(map, va + ptoa(p)), stamp(p));
    uint8_t byte = 1;
    assert_int_equal(sim_store(map, va + ptoa(written + 50), &byte, 1, NULL), -ENOMEM);
    assert_int_equal(fl_vnode_punch(file.vnode, 0, ptoa(50)), 0);
    write_stamps(written, 30);
    expect_stamps(50, written - 20);
    end();
}

static void no_swap_at_all(void **state)
{
    (void)state;
    struct sim_params params = params_of(61, 64, 0);
    begin(&params, ptoa(400));
    uint8_t page[VM_PAGE_SIZE];
    uint64_t written = 0;
    memset(page, stamp(0), sizeof page);
    while (write_at(ptoa(written), page, sizeof page, 0) == VM_PAGE_SIZE)
        memset(page, stamp(++written), sizeof page);
    assert_true(written > 32 && written < 64);
    expect_stamps(0, written);
    assert_int_equal(fl_vnode_truncate(file.vnode, 0), 0);
    write_stamps(0, written);
    end();
}

/* A page of which a part is to become zeros cannot be read: the call says so, and nothing has changed. */
static void a_failed_read_is_told(void **state)
{
    (void)state;
    struct sim_params params = params_of(62, 256, 100);
    begin(&params, ptoa(4));
    write_stamps(0, 4);
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, 4);
    (void)test_load8(map, va);
    page_out(va, 4);
    sim_disk_faults(sim_swap_disk())->fail_read_permille = 1000;
    uint8_t byte;
    assert_int_equal(read_at(0, &byte, 1, 0), -EIO);
    assert_int_equal(sim_load(map, va, &byte, 1, NULL), -EIO);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(2) + 1), -EIO);
    assert_int_equal(fl_vnode_punch(file.vnode, 1, 10), -EIO);
    assert_int_equal(fl_vnode_size(file.vnode), ptoa(4));
    *sim_disk_faults(sim_swap_disk()) = (struct sim_disk_faults){0};
    expect_stamps(0, 4);
    end();
}

static void a_failed_write_loses_nothing(void **state)
{
    (void)state;
    struct sim_params params = params_of(63, 64, 400);
    begin(&params, ptoa(200));
    sim_disk_faults(sim_swap_disk())->fail_write_permille = 1000;
    uint8_t page[VM_PAGE_SIZE];
    uint64_t written = 0;
    int64_t result;
    memset(page, stamp(0), sizeof page);
    while ((result = write_at(ptoa(written), page, sizeof page, 0)) == VM_PAGE_SIZE)
        memset(page, stamp(++written), sizeof page);
    assert_int_equal(result, -EIO);
    *sim_disk_faults(sim_swap_disk()) = (struct sim_disk_faults){0};
    write_stamps(written, 200 - written);
    expect_stamps(0, 200);
    end();
}

/* ---- the Nth failure ----------------------------------------------------------------------------------- */

#define SMALL 60 /* pages, with 32 frames */

static struct {
    uint8_t bytes[SMALL * VM_PAGE_SIZE]; /* zeros behind the end */
    uint64_t size;
} model;

enum failure { FAIL_ALLOC, FAIL_MAP, FAIL_READ, FAIL_WRITE, FAILURES };

static uint32_t *failure_nth(enum failure what)
{
    struct sim_disk_faults *faults = sim_disk_faults(sim_swap_disk());
    switch (what) {
    case FAIL_ALLOC:
        return &sim_torture()->fail_alloc_nth;
    case FAIL_MAP:
        return &sim_torture()->fail_map_nth;
    case FAIL_READ:
        return &faults->fail_read_nth;
    default:
        return &faults->fail_write_nth;
    }
}

/*
 * Bytes [start, end) were to become `byte`, and those behind `length` zeros; the call may have failed before
 * or in the middle. Each byte must be the old or the new one, and is taken over.
 */
static void take_over(uint64_t start, uint64_t end_, uint8_t byte, bool failed)
{
    static uint8_t now[SMALL * VM_PAGE_SIZE];
    uint64_t size = fl_vnode_size(file.vnode);
    uint32_t nth[FAILURES];
    assert_true(size <= sizeof now);
    memset(now, 0, sizeof now);
    for (int what = 0; what < FAILURES; what++) { /* the look is none of the run */
        nth[what] = *failure_nth(what);
        *failure_nth(what) = 0;
    }
    assert_int_equal(read_at(0, now, size, 0), (int64_t)size);
    for (int what = 0; what < FAILURES; what++)
        *failure_nth(what) = nth[what];
    bool right = true;
    for (uint64_t i = 0; i < size; i++) {
        uint8_t old = i < model.size ? model.bytes[i] : 0;
        bool within = i >= start && i < end_;
        right = right && (now[i] == (within ? byte : old) || (within && failed && now[i] == old));
    }
    assert_true(right);
    memcpy(model.bytes, now, sizeof now);
    model.size = size;
}

static void random_step(struct prng *prng, struct vm_map *space, vm_offset_t va)
{
    static uint8_t buffer[6 * VM_PAGE_SIZE];
    uint64_t at = prng_below(prng, sizeof model.bytes - sizeof buffer),
             n = 1 + prng_below(prng, sizeof buffer);
    uint8_t byte = (uint8_t)(1 + prng_below(prng, 255));
    int64_t result;
    switch (prng_below(prng, 12)) {
    case 0:
        (void)!fl_sys_madvise(space, va, ptoa(SMALL), FL_MADV_PAGEOUT);
        break;
    case 1:
        result = fl_vnode_punch(file.vnode, at, n);
        take_over(at, at + n, 0, result != 0);
        break;
    case 2:
        result = fl_vnode_truncate(file.vnode, at);
        if (result == 0)
            assert_int_equal(fl_vnode_size(file.vnode), at);
        take_over(0, 0, 0, result != 0);
        break;
    case 3:
    case 4:
    case 5:
        memset(buffer, byte, n);
        result = write_at(at, buffer, n, 0);
        take_over(at, result < 0 ? at + n : at + (uint64_t)result, byte, result < 0);
        break;
    case 6:
    case 7:
    case 8:
        if (at < model.size && sim_store(space, va + at, &byte, 1, NULL) == 0)
            model.bytes[at] = byte;
        break;
    default:
        if (at < model.size && sim_load(space, va + at, &byte, 1, NULL) == 0)
            assert_int_equal(byte, model.bytes[at]);
    }
}

/* A random run in which the nth allocation, mapping or transfer fails. Returns whether there was an nth. */
static bool failing_run(uint64_t seed, enum failure what, uint32_t nth)
{
    struct sim_params params = test_params_hostile(seed);
    struct vm_map *child;
    struct prng prng;
    prng_init(&prng, seed);
    params.nframes = 32;
    params.swap_pages = 200;
    begin(&params, 0);
    memset(&model, 0, sizeof model);
    vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, SMALL);
    assert_int_equal(fl_space_fork(map, &child), 0);
    *failure_nth(what) = nth;
    for (uint32_t i = 0; i < 60; i++)
        random_step(&prng, i % 2 == 0 ? map : child, va);
    bool failed = *failure_nth(what) == 0;
    *failure_nth(what) = 0;
    take_over(0, 0, 0, false);
    sim_vm_check();
    fl_space_destroy(child);
    end();
    return failed;
}

static void each_fails_in_turn(void **state)
{
    (void)state;
    uint64_t seed = test_seed(0x5e3), rounds = test_rounds(test_budget(160));
    uint32_t nth[FAILURES] = {1, 1, 1, 1}, ended = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        enum failure what = (enum failure)(i % FAILURES);
        (void)test_seed(seed + i / 64);
        bool failed = failing_run(seed + i / 64, what, nth[what]);
        nth[what] = failed ? nth[what] + 1 : 1;
        ended += !failed;
    }
    assert_true(ended < rounds / 2 || rounds < 8);
}

/* An object, a store and a vnode are made, or nothing is. */
static void making_one_fails_in_turn(void **state)
{
    (void)state;
    struct sim_params params = params_of(64, 64, 0);
    begin(&params, 0);
    bool failed = true;
    for (uint32_t nth = 1; failed; nth++) {
        struct vnode *vnode;
        sim_torture()->fail_alloc_nth = nth;
        int error = fl_vnode_anonymous(ptoa(10), &vnode);
        failed = sim_torture()->fail_alloc_nth == 0;
        sim_torture()->fail_alloc_nth = 0;
        assert_int_equal(error, failed ? -ENOMEM : 0);
        if (error == 0)
            assert_int_equal(fl_vnode_close(vnode), 0);
        assert_int_equal(committed(), 0);
        sim_vm_check();
        assert_true(nth < 20);
    }
    end();
}

/* ---- several threads ----------------------------------------------------------------------------------- */

#define THREADS 3
#define PART    30 /* pages of the file that one thread writes */

static struct worker {
    struct prng prng;
    vm_offset_t va; /* of its part */
    uint64_t start; /* offset */
    uint8_t byte[PART];
} worker[THREADS];

/* Each thread has pages of its own, written through a mapping and by calls, and punches them. */
static void work(void *arg)
{
    struct worker *w = arg;
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t p = (uint32_t)prng_below(&w->prng, PART);
        uint8_t byte = (uint8_t)prng_below(&w->prng, 256);
        switch (prng_below(&w->prng, 5)) {
        case 0:
            assert_int_equal(fl_vnode_punch(file.vnode, w->start + ptoa(p), VM_PAGE_SIZE), 0);
            w->byte[p] = 0;
            break;
        case 1:
            assert_int_equal(write_at(w->start + ptoa(p) + 9, &byte, 1, 0), 1);
            w->byte[p] = byte;
            break;
        case 2:
            test_store8(map, w->va + ptoa(p) + 9, byte);
            w->byte[p] = byte;
            break;
        case 3:
            assert_int_equal(read_at(w->start + ptoa(p) + 9, &byte, 1, 0), 1);
            assert_int_equal(byte, w->byte[p]);
            break;
        default:
            assert_int_equal(test_load8(map, w->va + ptoa(p) + 9), w->byte[p]);
        }
    }
}

/* Cuts and extends the file behind their parts. */
static void resize(void *arg)
{
    struct prng *prng = arg;
    for (uint32_t i = 0; i < 50; i++) {
        uint64_t len_bytes = ptoa(THREADS * PART) + prng_below(prng, ptoa(20));
        assert_int_equal(fl_vnode_truncate(file.vnode, len_bytes), 0);
        uint8_t byte = 7;
        assert_int_equal(write_at(len_bytes + 5000, &byte, 1, 0), 1);
        expect_bytes(len_bytes, 5000, 0);
    }
}

static void threads_share_it(void **state)
{
    (void)state;
    uint64_t first = test_seed(66);
    for (uint64_t seed = first; seed < first + 8; seed++) {
        struct sim_params params = test_params_hostile(seed);
        params.nframes = 64;
        params.swap_pages = 400;
        begin(&params, ptoa(THREADS * PART));
        vm_offset_t va = test_mmap(map, &file, FL_MAP_SHARED, THREADS * PART);
        for (uint32_t i = 0; i < THREADS; i++) {
            worker[i] = (struct worker){.va = va + ptoa(i * PART), .start = ptoa(i * PART)};
            prng_init(&worker[i].prng, seed * THREADS + i);
            sim_run("worker", work, &worker[i]);
        }
        struct prng prng;
        prng_init(&prng, seed);
        sim_run("resizer", resize, &prng);
        for (uint32_t i = 0; i < 20; i++) {
            sim_sleep_ns(200000);
            sim_vm_check();
        }
        sim_join_all();
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_and_mappings),
        cmocka_unit_test(calls_about_the_disk),
        cmocka_unit_test(forks_share_it),
        cmocka_unit_test(it_ends_with_its_last_user),
        cmocka_unit_test(snapshots_of_it),
        cmocka_unit_test(holes_take_nothing),
        cmocka_unit_test(more_than_memory),
        cmocka_unit_test(parts_of_pages_in_swap),
        cmocka_unit_test(a_strict_computer),
        cmocka_unit_test(full_swap_is_an_error),
        cmocka_unit_test(no_swap_at_all),
        cmocka_unit_test(a_failed_read_is_told),
        cmocka_unit_test(a_failed_write_loses_nothing),
        cmocka_unit_test(each_fails_in_turn),
        cmocka_unit_test(making_one_fails_in_turn),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests_name("shmem", tests, NULL, NULL);
}
