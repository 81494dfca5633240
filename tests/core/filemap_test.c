/*
 * filemap_test.c: reads and writes through the page cache, beside an array of the bytes that the file must
 * have: alone, with errors, and with several fibers that read, write, map, sync, punch and truncate at once.
 *
 *   file:  | stripes: 700 bytes of each fiber in turn … |BASE  the tail fiber's: it moves the file's end |
 *
 * A fiber changes only its own bytes, so it always knows what they are. But it shares every page with the
 * others, even the page in which the stripes end and the tail begins.
 */
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/pages.h"
#include "vm/vm_page.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void begin_blocks(struct sim_params params, uint64_t len_bytes, uint32_t block_bytes)
{
    one_file_boot(&params, test_disk(len_bytes, block_bytes, params.seed), RW);
}

static void begin(struct sim_params params, uint64_t len_bytes)
{
    begin_blocks(params, len_bytes, VM_PAGE_SIZE);
}

static vm_offset_t map_file(int flags, uint64_t len_bytes)
{
    return test_mmap(map, &file, flags, atop(round_page(len_bytes)));
}

static void expect_all(uint8_t byte, const uint8_t *buf, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++)
        assert_int_equal(buf[i], byte);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void reads_end_where_the_file_ends(void **state)
{
    (void)state;
    static uint8_t buf[100 * VM_PAGE_SIZE];
    uint64_t len = 70 * VM_PAGE_SIZE + 123;
    begin(test_params(1), len);
    assert_int_equal(read_at(0, buf, sizeof buf, 0), len);
    expect_fill(0, buf, len);
    assert_int_equal(read_at(len - 5, buf, 100, 0), 5);
    expect_fill(len - 5, buf, 5);
    assert_int_equal(read_at(len, buf, 100, 0), 0);
    assert_int_equal(read_at(UINT64_MAX - 3, buf, 100, 0), 0);
    assert_int_equal(read_at(7, buf, 0, 0), 0);
    one_file_end();
}

static void reads_fill_pieces_of_memory(void **state)
{
    (void)state;
    static uint8_t a[3], b[9000], c[4096];
    begin(test_params(2), ptoa(20));
    struct fl_iovec iov[] = {{a, sizeof a}, {NULL, 0}, {b, sizeof b}, {c, sizeof c}};
    assert_int_equal(fl_vnode_read(file.vnode, iov, 4, &(struct fl_iocb){.offset = 4090}), 13099);
    expect_fill(4090, a, sizeof a);
    expect_fill(4093, b, sizeof b);
    expect_fill(13093, c, sizeof c);
    iov[2].base = NULL; /* nothing is resident there: only the pages before it were read */
    assert_int_equal(fl_vnode_read(file.vnode, iov, 4, &(struct fl_iocb){.offset = 4090}), 3);
    assert_int_equal(fl_vnode_read(file.vnode, iov + 2, 1, &(struct fl_iocb){.offset = 4090}), -EFAULT);
    iov[3].len_bytes = SIZE_MAX;
    assert_int_equal(fl_vnode_read(file.vnode, iov, 4, &(struct fl_iocb){.offset = 0}), -EINVAL);
    one_file_end();
}

static void a_stream_is_read_ahead(void **state)
{
    (void)state;
    static uint8_t buf[VM_PAGE_SIZE];
    begin(test_params(3), ptoa(200));
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(read_at(ptoa(i), buf, sizeof buf, 0), sizeof buf);
        expect_fill(ptoa(i), buf, sizeof buf);
    }
    assert_true(sim_disk_counts(disk).reads < 20);
    assert_int_equal(sim_disk_counts(disk).pages_read, 200); /* each once */
    one_file_end();
}

static bool resident(vm_pindex_t pindex)
{
    struct vm_object *object = test_object(file.vnode);
    vm_lock(&object->lock);
    bool there = vm_page_lookup(object, pindex) != NULL;
    vm_unlock(&object->lock);
    vm_object_deallocate(object);
    return there;
}

/* The next window is requested before the current one ends, wherever reads begin and end around its mark. */
static void large_reads_are_read_ahead_too(void **state)
{
    (void)state;
    static uint8_t buf[ptoa(5)];
    begin(test_params(3), ptoa(200));
    for (uint64_t i = 0; i < 200; i += 5) {
        assert_int_equal(read_at(ptoa(i), buf, sizeof buf, 0), sizeof buf);
        expect_fill(ptoa(i), buf, sizeof buf);
        /* All pages of the next read; one read alone is no stream yet. */
        assert_true(i == 0 || i + 5 == 200 || resident(i + 9));
        sim_sleep_ns(1000000); /* so that the window is resident and its mark lies in the middle of a batch */
    }
    assert_true(sim_disk_counts(disk).reads < 20);
    one_file_end();
}

static void one_call_may_move_more_than_memory_holds(void **state)
{
    (void)state;
    uint64_t len = ptoa(1500);
    uint8_t *buf = malloc(len);
    struct sim_params params = test_params(6);
    assert_non_null(buf);
    params.nframes = 32;
    /* nothing is read ahead: each page waits for memory by itself */
    params.torture.window_busy_permille = 1000;
    begin(params, len);
    assert_int_equal(read_at(0, buf, len, 0), len);
    expect_fill(0, buf, len);
    memset(buf, 3, len);
    assert_int_equal(write_at(0, buf, len, 0), len);
    memset(buf, 0, len);
    assert_int_equal(read_at(0, buf, len, 0), len);
    expect_all(3, buf, len);
    free(buf);
    one_file_end();
}

static void a_read_error_fails_that_read_only(void **state)
{
    (void)state;
    static uint8_t buf[ptoa(40)];
    begin(test_params(4), ptoa(40));
    sim_disk_faults(disk)->bad_read_start = ptoa(21);
    sim_disk_faults(disk)->bad_read_end = ptoa(22);
    assert_int_equal(read_at(0, buf, sizeof buf, 0), ptoa(21)); /* the bytes before the error */
    expect_fill(0, buf, ptoa(21));
    assert_int_equal(read_at(ptoa(21) + 5, buf, 10, 0), -EIO);
    assert_int_equal(read_at(ptoa(22), buf, ptoa(4), 0), ptoa(4));
    expect_fill(ptoa(22), buf, ptoa(4));
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    assert_int_equal(read_at(ptoa(21), buf, 10, 0), 10);
    expect_fill(ptoa(21), buf, 10);
    one_file_end();
}

static void a_file_that_grew_behind_our_back_is_longer(void **state)
{
    (void)state;
    uint8_t buf[100];
    begin(test_params(5), 1000);
    assert_int_equal(read_at(990, buf, 100, 0), 10);
    memset(buf, 7, sizeof buf);
    sim_disk_write(disk, 1000, buf, 50);
    assert_int_equal(read_at(990, buf, 100, 0), 60);
    expect_fill(990, buf, 10);
    expect_all(7, buf + 10, 50);
    sim_disk_truncate(disk, 995);
    fl_vnode_invalidate(file.vnode, 0, VM_PAGE_SIZE);
    assert_int_equal(fl_vnode_setsize(file.vnode), 0);
    assert_int_equal(read_at(990, buf, 100, 0), 5);
    one_file_end();
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void a_page_that_is_overwritten_whole_is_not_read(void **state)
{
    (void)state;
    static uint8_t buf[ptoa(8)];
    begin(test_params(10), ptoa(20) + 100);
    memset(buf, 1, sizeof buf);
    assert_int_equal(write_at(ptoa(4), buf, ptoa(8), 0), ptoa(8));
    assert_int_equal(write_at(ptoa(20), buf, 100, 0), 100); /* whole, up to the end of the file */
    assert_int_equal(write_at(ptoa(20), buf, 150, 0), 150);
    assert_int_equal(sim_disk_counts(disk).pages_read, 0);
    assert_int_equal(write_at(ptoa(2) + 10, buf, 20, 0), 20);
    assert_int_equal(sim_disk_counts(disk).pages_read, 1);
    assert_int_equal(read_at(ptoa(2), buf, 100, 0), 100);
    expect_fill(ptoa(2), buf, 10);
    expect_all(1, buf + 10, 20);
    expect_fill(ptoa(2) + 30, buf + 30, 70);
    one_file_end();
}

static void mappings_show_what_is_written(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct sim_params params = test_params(11);
        params.torture.copy_first = seed & 1; /* a private mapping shows copies, or the file's own pages */
        begin(params, ptoa(8));
        vm_offset_t shared = map_file(FL_MAP_SHARED, ptoa(8)), private = map_file(FL_MAP_PRIVATE, ptoa(8));
        test_store8(map, private + ptoa(1), 99); /* creates the shadow object, with one private page */
        assert_int_equal(test_load8(map, shared + 10), test_byte(10));
        assert_int_equal(test_load8(map, private + 10), test_byte(10));
        if (seed & 2)
            test_store8(map, shared + 11, 5);
        uint8_t byte = 77;
        assert_int_equal(write_at(10, &byte, 1, 0), 1);
        assert_int_equal(write_at(ptoa(1), &byte, 1, 0), 1);
        assert_int_equal(test_load8(map, shared + 10), 77);
        assert_int_equal(test_load8(map, private + 10), 77);
        assert_int_equal(test_load8(map, shared + 11), seed & 2 ? 5 : test_byte(11));
        assert_int_equal(test_load8(map, private + ptoa(1)), 99);
        test_store8(map, shared + 12, 6);
        assert_int_equal(read_at(12, &byte, 1, 0), 1);
        assert_int_equal(byte, 6);
        one_file_end();
    }
}

/* The source of a write, and the destination of a read, may be a page of the same file. */
static void memory_may_be_a_page_of_the_file(void **state)
{
    (void)state;
    struct fl_hold hold;
    uint8_t buf[100];
    begin(test_params(12), ptoa(4));
    vm_offset_t va = map_file(FL_MAP_SHARED, ptoa(4));
    assert_int_equal(fl_hold(map, va, VM_PAGE_SIZE, VM_PROT_WRITE, &hold), 0);
    uint8_t *bytes = sim_frame(vm_page_frame(hold.page[0]));
    assert_int_equal(write_at(200, bytes, 100, 0), 100);
    assert_int_equal(read_at(ptoa(1), bytes + 300, 100, 0), 100);
    fl_unhold(&hold);
    assert_int_equal(sim_load(map, va + 200, buf, 100, NULL), 0);
    expect_fill(0, buf, 100);
    assert_int_equal(sim_load(map, va + 300, buf, 100, NULL), 0);
    expect_fill(ptoa(1), buf, 100);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    sim_disk_read(disk, 200, buf, 100);
    expect_fill(0, buf, 100);
    one_file_end();
}

static void a_write_makes_the_file_longer(void **state)
{
    (void)state;
    static uint8_t buf[ptoa(4)];
    begin(test_params(13), 1000);
    vm_offset_t va = map_file(FL_MAP_SHARED, ptoa(8));
    test_store8(map, va + 1000, 9); /* beyond the end: never in the file */
    test_store8(map, va + 1500, 9);
    memset(buf, 1, sizeof buf);
    assert_int_equal(write_at(1002, buf, 10, 0), 10);
    assert_int_equal(sim_disk_size(disk), 1012);
    assert_int_equal(test_load8(map, va + 1000), 0);
    assert_int_equal(write_at(ptoa(2) + 100, buf, ptoa(2), 0), ptoa(2));
    assert_int_equal(sim_disk_size(disk), ptoa(4) + 100);
    assert_int_equal(fl_vnode_fsync(file.vnode, FL_FSYNC_DATA, NULL), 0);
    sim_disk_read(disk, 0, buf, sizeof buf);
    expect_fill(0, buf, 1000);
    expect_all(0, buf + 1000, 2);
    expect_all(1, buf + 1002, 10);
    expect_all(0, buf + 1012, ptoa(2) + 100 - 1012);
    expect_all(1, buf + ptoa(2) + 100, ptoa(2) - 100);
    assert_int_equal(fl_vnode_fsync(file.vnode, 2, NULL), -EINVAL);
    one_file_end();
}

static void appends_go_to_the_end(void **state)
{
    (void)state;
    uint8_t buf[100];
    begin(test_params(19), 1000);
    memset(buf, 1, sizeof buf);
    struct fl_iovec iov = {buf, 100};
    struct fl_iocb iocb = {.offset = 7, .flags = FL_IOCB_APPEND};
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &iocb), 100);
    assert_int_equal(iocb.offset, 1100);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    sim_disk_write(disk, 1100, buf, 50); /* another fiber made it longer */
    memset(buf, 2, sizeof buf);
    iocb.offset = 0;
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &iocb), 100);
    assert_int_equal(iocb.offset, 1250);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_int_equal(sim_disk_size(disk), 1250);
    sim_disk_read(disk, 1149, buf, 3);
    assert_true(buf[0] == 1 && buf[1] == 2 && buf[2] == 2);
    sim_disk_faults(disk)->fail_size_nth = 1;
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &iocb), -EIO);
    assert_int_equal(iocb.offset, 1250);
    assert_int_equal(read_at(0, buf, 10, 0), 10);
    iocb.flags |= 0x100;
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &iocb), -EINVAL);
    assert_int_equal(fl_vnode_read(file.vnode, &iov, 1, &iocb), -EINVAL);
    one_file_end();
}

static void append_some(void *arg)
{
    struct fl_iovec iov = {arg, 3};
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &(struct fl_iocb){.flags = FL_IOCB_APPEND}), 3);
}

/* Each append stays in one piece, and none overwrites another. */
static void appends_do_not_meet(void **state)
{
    (void)state;
    static uint8_t buf[3 * 600];
    begin_blocks(test_params_hostile(20), 0, SIM_SECTOR_SIZE);
    uint32_t count[3] = {0};
    for (uint32_t i = 0; i < 3; i++)
        sim_run("append", append_some, (void *)(uintptr_t)(i == 0 ? "aaa" : i == 1 ? "bbb" : "ccc"));
    sim_join_all();
    assert_int_equal(read_at(0, buf, sizeof buf, 0), sizeof buf);
    for (uint32_t i = 0; i < sizeof buf; i += 3) {
        assert_true(buf[i] >= 'a' && buf[i] <= 'c' && buf[i] == buf[i + 1] && buf[i] == buf[i + 2]);
        count[buf[i] - 'a']++;
    }
    assert_true(count[0] == 200 && count[1] == 200 && count[2] == 200);
    one_file_end();
}

static uint8_t durable_byte(uint64_t offset)
{
    struct sim_disk *cut = sim_disk_power_cut(disk, 1);
    uint8_t byte;
    sim_disk_read(cut, offset, &byte, 1);
    sim_disk_destroy(cut);
    return byte;
}

static void a_synchronous_write_is_there_after_a_power_cut(void **state)
{
    (void)state;
    uint8_t byte = 42;
    struct fl_iovec iov = {&byte, 1};
    begin_blocks(test_params(21), ptoa(8), SIM_SECTOR_SIZE);
    vm_offset_t va = map_file(FL_MAP_SHARED, ptoa(8));
    test_store8(map, va + ptoa(5), 7);
    struct fl_iocb iocb = {.offset = ptoa(2) + 5, .flags = FL_IOCB_DSYNC};
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &iocb), 1);
    assert_int_equal(iocb.offset, ptoa(2) + 6);
    assert_int_equal(durable_byte(ptoa(2) + 5), 42);
    /* The caller asked for no more; but the file is mapped, so its pages have no buffers (whole_pages). */
    assert_int_equal(sim_disk_counts(disk).bytes_written, VM_PAGE_SIZE);
    sim_disk_faults(disk)->fail_write_nth = 1;
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &iocb), -EIO);
    sim_disk_faults(disk)->fail_flush_nth = 1;
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &iocb), -EIO);
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &iocb), 1);
    one_file_end();
}

static void a_full_disk_takes_what_fits(void **state)
{
    (void)state;
    static uint8_t buf[ptoa(8)];
    begin(test_params(14), 1000);
    sim_disk_faults(disk)->max_len_bytes = ptoa(3);
    memset(buf, 1, sizeof buf);
    assert_int_equal(write_at(500, buf, ptoa(8), 0), ptoa(3) - 500);
    assert_int_equal(sim_disk_size(disk), ptoa(3));
    assert_int_equal(write_at(ptoa(3), buf, 10, 0), -ENOSPC);
    assert_int_equal(write_at(ptoa(30), buf, 10, 0), -ENOSPC);
    assert_int_equal(write_at(ptoa(2), buf, 10, 0), 10);
    assert_int_equal(write_at(INT64_MAX, buf, 10, 0), -EFBIG);
    assert_int_equal(read_at(0, buf, sizeof buf, 0), ptoa(3));
    expect_fill(0, buf, 500);
    expect_all(1, buf + 500, ptoa(3) - 500);
    one_file_end();
}

static void bad_memory_ends_a_write(void **state)
{
    (void)state;
    static uint8_t buf[ptoa(3)];
    begin(test_params(15), 1000);
    memset(buf, 1, sizeof buf);
    struct fl_iovec iov[] = {{buf, 100}, {NULL, ptoa(4)}};
    assert_int_equal(fl_vnode_write(file.vnode, iov, 2, &(struct fl_iocb){.offset = 950}), 100);
    assert_int_equal(sim_disk_size(disk), 1050); /* the file is as long as what was written */
    assert_int_equal(fl_vnode_write(file.vnode, iov + 1, 1, &(struct fl_iocb){.offset = 5000}), -EFAULT);
    assert_int_equal(sim_disk_size(disk), 1050);
    assert_int_equal(read_at(0, buf, sizeof buf, 0), 1050);
    expect_fill(0, buf, 950);
    expect_all(1, buf + 950, 100);
    one_file_end();
    begin(test_params(15), ptoa(2)); /* a page that was never read, half overwritten: the rest is unchanged */
    struct fl_iovec half[] = {{buf, 2048}, {NULL, 2048}};
    assert_int_equal(fl_vnode_write(file.vnode, half, 2, &(struct fl_iocb){.offset = ptoa(1)}), -EFAULT);
    assert_int_equal(read_at(0, buf, sizeof buf, 0), ptoa(2));
    expect_fill(0, buf, ptoa(2));
    one_file_end();
}

static void a_read_only_file_is_not_written(void **state)
{
    (void)state;
    uint8_t byte = 1;
    struct sim_params params = test_params(16);
    one_file_boot(&params, sim_disk_create(1000, 16), FL_FREAD);
    assert_int_equal(write_at(0, &byte, 1, 0), -EBADF);
    assert_int_equal(fl_vnode_truncate(file.vnode, 0), -EBADF);
    assert_int_equal(fl_vnode_punch(file.vnode, 0, 10), -EBADF);
    assert_int_equal(read_at(0, &byte, 1, 0), 1);
    one_file_end();
}

static void a_write_back_error_is_told_once_and_the_page_stays_dirty(void **state)
{
    (void)state;
    uint8_t byte = 42;
    begin(test_params(17), ptoa(8));
    assert_int_equal(write_at(ptoa(3), &byte, 1, 0), 1);
    sim_disk_faults(disk)->fail_write_nth = 1;
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), -EIO);
    struct vm_object *object = test_object(file.vnode);
    assert_true(test_page_flags(object, 3) & PG_DIRTY);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_false(test_page_flags(object, 3) & PG_DIRTY);
    vm_object_deallocate(object);
    sim_disk_read(disk, ptoa(3), &byte, 1);
    assert_int_equal(byte, 42);
    assert_int_equal(write_at(ptoa(3), &byte, 1, 0), 1);
    sim_disk_faults(disk)->fail_flush_nth = 1;
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), -EIO);
    one_file_end();
}

static void a_writer_writes_back_itself(void **state)
{
    (void)state;
    static uint8_t buf[VM_PAGE_SIZE];
    begin(test_params(18), 0);
    for (uint64_t i = 0; i < 1000; i++) {
        memset(buf, (int)i, sizeof buf);
        assert_int_equal(write_at(ptoa(i), buf, sizeof buf, 0), sizeof buf);
        assert_true(atomic_load(&vm_page_dirty_count) <= 256 / 4 + 1);
    }
    assert_true(sim_disk_counts(disk).writes < 60);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(read_at(ptoa(i), buf, sizeof buf, 0), sizeof buf);
        expect_all((uint8_t)i, buf, sizeof buf);
    }
    one_file_end();
}

/* ---- many at once -------------------------------------------------------------------------------------- */

#define STRIPES 3
#define STRIPE  700
#define BASE    (STRIPE * STRIPES * 40 + 321) /* not at a page's edge */
#define TAIL    (24 * VM_PAGE_SIZE)
#define LEN_MAX (BASE + TAIL)

static struct {
    uint8_t bytes[LEN_MAX]; /* the bytes that the file must have; each fiber changes its own */
    uint64_t len_bytes;     /* the tail fiber's */
    vm_offset_t shared, private;
    uint32_t rounds;
    bool errors; /* transfers may fail */
    bool done;   /* tells the prober to stop */
} model;

struct worker {
    struct prng prng;
    uint32_t id; /* STRIPES: the tail's */
};

static bool owned(const struct worker *w, uint64_t offset)
{
    uint32_t owner = offset < BASE ? (uint32_t)(offset / STRIPE % STRIPES) : STRIPES;
    return owner == w->id;
}

/* Failures that the test injected. */
static bool excused(int64_t error)
{
    return model.errors && error == -EIO;
}

/*
 * Part of the worker's bytes in the file: at most one stripe for the
 * fibers of the stripes. False: it has none.
 */
static bool own_piece(struct worker *w, uint64_t *offset, uint64_t *len)
{
    uint64_t start, end;
    if (w->id < STRIPES) {
        uint64_t k = prng_below(&w->prng, (BASE - STRIPE * STRIPES) / (STRIPE * STRIPES));
        start = (k * STRIPES + w->id) * STRIPE;
        end = start + STRIPE;
    } else {
        start = BASE;
        end = model.len_bytes;
    }
    if (start == end)
        return false;
    *offset = prng_range(&w->prng, start, end - 1);
    *len = prng_range(&w->prng, 1, end - *offset);
    return true;
}

static void expect_bytes(const struct worker *w, uint64_t offset, const uint8_t *buf, size_t len,
                         const char *how)
{
    for (size_t i = 0; i < len; i++) {
        if (!owned(w, offset + i) || buf[i] == model.bytes[offset + i])
            continue;
        fprintf(stderr, "%s: byte %llu (page %llu + %llu) is %#x and ought to be %#x; fiber %u, base %u\n",
                how, (unsigned long long)(offset + i), (unsigned long long)atop(offset + i),
                (unsigned long long)((offset + i) & VM_PAGE_MASK), buf[i], model.bytes[offset + i], w->id,
                (unsigned)BASE);
        abort();
    }
}

/* Reads any range into two pieces of memory, and compares the worker's bytes. */
static void op_read(struct worker *w, uint8_t *buf)
{
    uint64_t limit = w->id == STRIPES ? model.len_bytes : BASE;
    uint64_t offset = prng_below(&w->prng, limit), len = prng_range(&w->prng, 1, LEN_MAX - offset);
    uint64_t first = prng_range(&w->prng, 0, len);
    struct fl_iovec iov[] = {{buf, first}, {buf + first, len - first}};
    int64_t got = fl_vnode_read(file.vnode, iov, 2, &(struct fl_iocb){.offset = offset});
    if (excused(got))
        return;
    assert_true(got > 0);
    if (!model.errors && offset + (uint64_t)got < BASE)
        assert_int_equal(got, len);
    if (!model.errors && w->id == STRIPES)
        assert_int_equal(got, offset + len < model.len_bytes ? len : model.len_bytes - offset);
    expect_bytes(w, offset, buf, (size_t)got, "read");
}

static void op_write(struct worker *w, uint8_t *buf)
{
    uint64_t offset, len, done = 0;
    if (w->id == STRIPES && (model.len_bytes == BASE || prng_chance(&w->prng, 300))) {
        offset = prng_range(&w->prng, BASE, LEN_MAX - 1); /* may make it longer, with a hole */
        len = prng_range(&w->prng, 1, LEN_MAX - offset);
    } else if (!own_piece(w, &offset, &len)) {
        return;
    }
    uint8_t byte = (uint8_t)prng_range(&w->prng, 1, 255);
    memset(buf, byte, len);
    while (done < len) {
        int64_t n = write_at(offset + done, buf + done, len - done, 0);
        assert_true(n > 0 || excused(n));
        done += n > 0 ? (uint64_t)n : 0;
    }
    memset(model.bytes + offset, byte, len);
    if (offset + len > model.len_bytes)
        model.len_bytes = offset + len;
}

static void op_load(struct worker *w, uint8_t *buf, vm_offset_t va, const char *how)
{
    uint64_t offset, len;
    if (!own_piece(w, &offset, &len))
        return;
    int error = sim_load(map, va + offset, buf, len, NULL);
    if (excused(error))
        return;
    assert_int_equal(error, 0);
    expect_bytes(w, offset, buf, len, how);
}

static void op_store(struct worker *w, uint8_t *buf)
{
    uint64_t offset, len;
    size_t done = 0, n;
    if (!own_piece(w, &offset, &len))
        return;
    uint8_t byte = (uint8_t)prng_range(&w->prng, 1, 255);
    memset(buf, byte, len);
    while (done < len) {
        int error = sim_store(map, model.shared + offset + done, buf, len - done, &n);
        assert_true(error == 0 || excused(error));
        done += n;
    }
    memset(model.bytes + offset, byte, len);
}

static void op_punch(struct worker *w)
{
    uint64_t offset, len;
    if (!own_piece(w, &offset, &len))
        return;
    int error;
    do {
        error = fl_vnode_punch(file.vnode, offset, len);
        assert_true(error == 0 || excused(error));
    } while (error != 0);
    memset(model.bytes + offset, 0, len);
}

static void op_sync(struct worker *w)
{
    int error = prng_chance(&w->prng, 500)
                    ? fl_vnode_fsync(file.vnode, 0, NULL)
                    : fl_sys_msync(map, model.shared, round_page(model.len_bytes), FL_MS_SYNC);
    assert_true(error == 0 || excused(error));
}

/* No page beyond the end is mapped. This holds in every race, as long as no fiber moves the end. */
static void expect_unmapped_beyond(uint64_t len_bytes)
{
    struct machine_space *space = fl_space_machine(map);
    vm_frame_t frame;
    vm_prot_t prot;
    bool wired;
    for (uint64_t at = round_page(len_bytes); at < round_page(LEN_MAX); at += VM_PAGE_SIZE) {
        assert_false(sim_mapped(space, model.shared + at, &frame, &prot, &wired));
        assert_false(sim_mapped(space, model.private + at, &frame, &prot, &wired));
    }
}

static void op_truncate(struct worker *w)
{
    uint64_t len = prng_chance(&w->prng, 100) ? BASE : prng_range(&w->prng, BASE, LEN_MAX);
    assert_int_equal(fl_vnode_truncate(file.vnode, len), 0);
    expect_unmapped_beyond(len);
    assert_int_equal(sim_disk_size(disk), len);
    if (len < model.len_bytes)
        memset(model.bytes + len, 0, model.len_bytes - len);
    model.len_bytes = len;
}

static void work(void *arg)
{
    struct worker *w = arg;
    uint8_t *buf = malloc(LEN_MAX);
    assert_non_null(buf);
    for (uint32_t i = 0; i < model.rounds; i++) {
        uint32_t op = (uint32_t)prng_below(&w->prng, 100);
        if (op < 25)
            op_read(w, buf);
        else if (op < 50)
            op_write(w, buf);
        else if (op < 65)
            op_load(w, buf, model.shared, "shared load");
        else if (op < 72)
            op_load(w, buf, model.private, "private load");
        else if (op < 87)
            op_store(w, buf);
        else if (op < 92)
            op_punch(w);
        else if (op < 95)
            op_sync(w);
        else if (w->id == STRIPES)
            op_truncate(w);
    }
    free(buf);
}

/* Loads from the tail, which gives bytes or -ENXIO, wherever its end is; and stores beyond the end. */
static void probe(void *arg)
{
    struct worker *w = arg;
    uint8_t byte;
    while (!model.done) {
        uint64_t at = round_page(BASE) + prng_below(&w->prng, round_page(LEN_MAX) - round_page(BASE));
        int error =
            sim_load(map, (prng_chance(&w->prng, 500) ? model.shared : model.private) + at, &byte, 1, NULL);
        assert_true(error == 0 || error == -ENXIO || excused(error));
        sim_sleep_ns(prng_below(&w->prng, 100000));
    }
}

static void expect_disk(void)
{
    uint8_t *buf = malloc(LEN_MAX);
    assert_non_null(buf);
    assert_int_equal(sim_disk_size(disk), model.len_bytes);
    sim_disk_read(disk, 0, buf, model.len_bytes);
    for (uint64_t i = 0; i < model.len_bytes; i++)
        if (buf[i] != model.bytes[i]) {
            fprintf(stderr, "disk: byte %llu is %#x and ought to be %#x; base %u\n", (unsigned long long)i,
                    buf[i], model.bytes[i], (unsigned)BASE);
            abort();
        }
    free(buf);
}

static void mix(uint64_t seed, bool errors)
{
    struct sim_params params = test_params_hostile(seed);
    struct worker w[STRIPES + 2];
    params.nframes = 64; /* less than the file */
    begin_blocks(params, BASE, SIM_SECTOR_SIZE << seed % 4);
    model.rounds = (uint32_t)test_rounds(60);
    model.len_bytes = BASE;
    model.errors = errors;
    model.done = false;
    memset(model.bytes, 0, sizeof model.bytes);
    sim_disk_read(disk, 0, model.bytes, BASE);
    model.shared = map_file(FL_MAP_SHARED, LEN_MAX);
    model.private = map_file(FL_MAP_PRIVATE, LEN_MAX);
    if (errors)
        sim_disk_faults(disk)->fail_read_permille = sim_disk_faults(disk)->fail_write_permille = 30;
    for (uint32_t i = 0; i < STRIPES + 2; i++) {
        w[i].id = i;
        prng_init(&w[i].prng, seed * 97 + i);
    }
    sim_run("prober", probe, &w[STRIPES + 1]);
    for (uint32_t i = 0; i < STRIPES; i++)
        sim_run("stripe", work, &w[i]);
    work(&w[STRIPES]);
    model.done = true;
    sim_join_all();
    sim_disk_faults(disk)->fail_read_permille = sim_disk_faults(disk)->fail_write_permille = 0;
    (void)!fl_vnode_fsync(file.vnode, 0, NULL); /* reports what failed before */
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    expect_disk();
    one_file_end();
}

static void random_mix(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 30; i++)
        mix(test_seed(1000 + i), false);
}

static void random_mix_with_errors(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20; i++)
        mix(test_seed(2000 + i), true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_end_where_the_file_ends),
        cmocka_unit_test(reads_fill_pieces_of_memory),
        cmocka_unit_test(a_stream_is_read_ahead),
        cmocka_unit_test(large_reads_are_read_ahead_too),
        cmocka_unit_test(one_call_may_move_more_than_memory_holds),
        cmocka_unit_test(a_read_error_fails_that_read_only),
        cmocka_unit_test(a_file_that_grew_behind_our_back_is_longer),
        cmocka_unit_test(a_page_that_is_overwritten_whole_is_not_read),
        cmocka_unit_test(mappings_show_what_is_written),
        cmocka_unit_test(memory_may_be_a_page_of_the_file),
        cmocka_unit_test(a_write_makes_the_file_longer),
        cmocka_unit_test(appends_go_to_the_end),
        cmocka_unit_test(appends_do_not_meet),
        cmocka_unit_test(a_synchronous_write_is_there_after_a_power_cut),
        cmocka_unit_test(a_full_disk_takes_what_fits),
        cmocka_unit_test(bad_memory_ends_a_write),
        cmocka_unit_test(a_read_only_file_is_not_written),
        cmocka_unit_test(a_write_back_error_is_told_once_and_the_page_stays_dirty),
        cmocka_unit_test(a_writer_writes_back_itself),
        cmocka_unit_test(random_mix),
        cmocka_unit_test(random_mix_with_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
