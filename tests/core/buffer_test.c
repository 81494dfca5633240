/*
 * buffer_test.c: pages of which some blocks are in memory, some dirty and some absent, beside a naive model.
 * It knows each byte of the file, and of each block whether it is up to date and whether it is dirty; so the
 * test knows what the disk must transfer, to the byte.
 *
 *   model   bytes[]      what the file is
 *           disk[]       what has been written of it
 *           known[block] up to date, dirty: what the page's buffer heads must say
 */
#include "file/buffer.h"
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

#define NPAGES 12
#define LEN    (ptoa(NPAGES) - 700) /* ends inside a block, whatever its size */

static vm_offset_t shared_at; /* 0: not mapped yet */

static void begin(struct sim_params params, uint64_t len_bytes, uint32_t block_bytes)
{
    one_file_boot(&params, test_disk(len_bytes, block_bytes, params.seed), RW);
    shared_at = 0;
}

/* The file's mapping. From its first use on, pages in memory have all of their bytes. */
static vm_offset_t shared(void)
{
    if (shared_at == 0)
        shared_at = test_mmap(map, &file, FL_MAP_SHARED, NPAGES);
    return shared_at;
}

static uint64_t bytes_read(void)
{
    return sim_disk_counts(disk).bytes_read;
}

static uint64_t bytes_written(void)
{
    return sim_disk_counts(disk).bytes_written;
}

static uint8_t ones[VM_PAGE_SIZE], page[VM_PAGE_SIZE];

/* ---- one page ------------------------------------------------------------------------------------------ */

static void whole_blocks_are_not_read(void **state)
{
    (void)state;
    for (uint32_t block = 512; block < VM_PAGE_SIZE; block *= 2) {
        begin(test_params(1), LEN, block);
        assert_int_equal(write_at(block, ones, block, 0), block);
        assert_int_equal(bytes_read(), 0);
        assert_int_equal(page_flags(0) & (PG_VALID | PG_PRIVATE | PG_DIRTY | PG_BUSY), PG_PRIVATE | PG_DIRTY);
        assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
        assert_int_equal(bytes_written(), block);
        assert_true(disk_byte(block - 1) == test_byte(block - 1) && disk_byte(block) == 1 &&
                    disk_byte(2 * block) == test_byte(2 * block));
        /* reads the other blocks, and only those */
        assert_int_equal(read_at(0, page, VM_PAGE_SIZE, 0), VM_PAGE_SIZE);
        assert_int_equal(bytes_read(), VM_PAGE_SIZE - block);
        assert_true(page[block - 1] == test_byte(block - 1) && page[block] == 1);
        assert_int_equal(page_flags(0) & (PG_VALID | PG_PRIVATE | PG_DIRTY), PG_VALID);
        one_file_end();
    }
}

static void blocks_in_part_are_read_alone(void **state)
{
    (void)state;
    begin(test_params(2), LEN, 512);
    assert_int_equal(write_at(1000, ones, 1100, 0), 1100); /* blocks 1 and 4 in part */
    assert_int_equal(bytes_read(), 1024);
    assert_int_equal(sim_disk_counts(disk).reads, 2);
    assert_int_equal(write_at(600, ones, 10, 0), 10); /* that block is up to date now */
    assert_int_equal(bytes_read(), 1024);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_int_equal(bytes_written(), 4 * 512);
    assert_int_equal(sim_disk_counts(disk).writes, 1); /* adjacent blocks in one transfer */
    assert_true(disk_byte(999) == test_byte(999) && disk_byte(1000) == 1 && disk_byte(2099) == 1 &&
                disk_byte(2100) == test_byte(2100) && disk_byte(600) == 1);
    one_file_end();
}

static void a_fault_reads_what_is_missing(void **state)
{
    (void)state;
    begin(test_params(3), LEN, 512);
    assert_int_equal(write_at(512, ones, 512, 0), 512);
    assert_int_equal(write_at(2048, ones, 512, 0), 512);
    assert_int_equal(test_load8(map, shared()), test_byte(0));
    assert_int_equal(bytes_read(), VM_PAGE_SIZE - 1024);
    assert_int_equal(sim_disk_counts(disk).reads, 3); /* three runs of blocks */
    assert_true(test_load8(map, shared() + 512) == 1 && test_load8(map, shared() + 2048) == 1);
    /* Only two blocks of the page are dirty: a load must not make the mapping writable. */
    assert_int_equal(page_flags(0) & (PG_VALID | PG_PRIVATE | PG_DIRTY), PG_VALID | PG_PRIVATE | PG_DIRTY);
    test_store8(map, shared() + 3000, 7);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_int_equal(disk_byte(3000), 7);
    assert_int_equal(page_flags(0) & (PG_VALID | PG_PRIVATE | PG_DIRTY), PG_VALID);
    one_file_end();
}

static void a_page_all_of_whose_blocks_are_dirty_is_one_like_others(void **state)
{
    (void)state;
    begin(test_params(4), LEN, 1024);
    for (uint64_t at = 0; at < ptoa(3); at += 1024)
        assert_int_equal(write_at(at, ones, 1024, 0), 1024);
    for (vm_pindex_t i = 0; i < 3; i++)
        assert_int_equal(page_flags(i) & (PG_VALID | PG_PRIVATE | PG_DIRTY), PG_VALID | PG_DIRTY);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_int_equal(sim_disk_counts(disk).writes, 1);
    assert_int_equal(bytes_read(), 0);
    one_file_end();
}

/* A file that ends inside a page, and inside a block of it. */
static void behind_the_end_nothing_is_read_or_written(void **state)
{
    (void)state;
    uint64_t len = ptoa(1) + 1300;
    begin(test_params(5), len, 512);
    assert_int_equal(write_at(ptoa(1), ones, 512, 0), 512);
    assert_int_equal(read_at(ptoa(1), page, VM_PAGE_SIZE, 0), 1300);
    assert_int_equal(bytes_read(), 1024);
    assert_int_equal(test_load8(map, shared() + ptoa(1) + 1300), 0);
    assert_int_equal(write_at(len + 300, ones, 600, 0), 600); /* makes the file longer, with a gap */
    assert_int_equal(sim_disk_size(disk), len + 900);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_true(disk_byte(len - 1) == test_byte(len - 1) && disk_byte(len) == 0 &&
                disk_byte(len + 299) == 0 && disk_byte(len + 300) == 1 && disk_byte(len + 899) == 1);
    one_file_end();
}

/* The frame of the page, which is resident. */
static uint8_t *frame_of(vm_pindex_t pindex)
{
    struct vm_object *object = test_object(file.vnode);
    vm_lock(&object->lock);
    uint8_t *bytes = sim_frame(vm_page_frame(vm_page_lookup(object, pindex)));
    vm_unlock(&object->lock);
    vm_object_deallocate(object);
    return bytes;
}

/* A copy that stops early may leave any bytes in the rest. */
static void what_is_not_up_to_date_means_nothing(void **state)
{
    (void)state;
    for (uint32_t grows = 0; grows < 2; grows++) {
        uint64_t len = grows ? 1024 : 1100;
        begin(test_params(14), len, 512);
        assert_int_equal(write_at(0, ones, 512, 0), 512);
        memset(frame_of(0) + 512, 0xee, VM_PAGE_SIZE - 512);
        if (grows)
            assert_int_equal(write_at(len, ones, 10, 0), 10);
        for (uint32_t i = 0; i < VM_PAGE_SIZE; i++) {
            uint8_t expect = i < 512 ? 1 : i < len ? test_byte(i) : grows && i < len + 10;
            assert_int_equal(test_load8(map, shared() + i), expect);
        }
        one_file_end();
    }
}

static void a_short_copy_counts_whole_blocks(void **state)
{
    (void)state;
    begin(test_params(15), LEN, 512);
    struct fl_iovec iov[] = {{ones, 600}, {NULL, 1448}};
    struct fl_iocb iocb = {.offset = 1024};
    assert_int_equal(fl_vnode_write(file.vnode, iov, 2, &iocb), 512);
    assert_int_equal(iocb.offset, 1536);
    assert_int_equal(fl_vnode_write(file.vnode, iov + 1, 1, &iocb), -EFAULT);
    iocb.offset = ptoa(1);
    iov[0].len_bytes = 500;
    assert_int_equal(fl_vnode_write(file.vnode, iov, 2, &iocb), -EFAULT); /* of a page that is freed again */
    iocb.offset = 1000; /* in a block that is up to date, every byte is kept */
    iov[0].len_bytes = 100;
    iov[1].len_bytes = 100;
    assert_int_equal(fl_vnode_write(file.vnode, iov, 2, &iocb), 100);
    assert_int_equal(read_at(0, page, VM_PAGE_SIZE, 0), VM_PAGE_SIZE);
    for (uint32_t i = 0; i < VM_PAGE_SIZE; i++)
        assert_int_equal(page[i], i >= 1000 && i < 1536 ? 1 : test_byte(i));
    assert_int_equal(read_at(ptoa(1), page, VM_PAGE_SIZE, 0), VM_PAGE_SIZE);
    assert_int_equal(page[0], test_byte(ptoa(1)));
    one_file_end();
}

/* The holder of a page may write it at any time, so all of its blocks stay dirty. */
static void a_held_page_stays_dirty_as_a_whole(void **state)
{
    (void)state;
    struct fl_hold hold;
    begin(test_params(16), LEN, 512);
    assert_int_equal(write_at(512, ones, 512, 0), 512);
    assert_int_equal(fl_hold(map, shared(), 1, VM_PROT_WRITE, &hold), 0);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    sim_frame(vm_page_frame(hold.page[0]))[3000] = 77;
    fl_unhold(&hold);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_true(disk_byte(3000) == 77 && disk_byte(512) == 1);
    one_file_end();
}

/*
 * The store became longer behind the VM's back: bytes that a program
 * stored beyond the end that the VM knows stay out of it.
 */
static void what_lies_behind_the_end_never_gets_out(void **state)
{
    (void)state;
    begin(test_params(17), 1100, 512);
    assert_int_equal(write_at(0, ones, 512, 0), 512);
    assert_int_equal(test_load8(map, shared()), 1);
    assert_int_equal(write_at(1024, ones, 10, 0), 10);
    test_store8(map, shared() + 1200, 9);
    sim_disk_truncate(disk, 2000);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_true(disk_byte(1200) == 0 && disk_byte(1024) == 1);
    one_file_end();
}

static void a_page_written_in_part_goes_for_others(void **state)
{
    (void)state;
    begin(test_params(6), LEN, 512);
    assert_int_equal(write_at(512, ones, 512, 0), 512);
    assert_int_equal(fl_sys_madvise(map, shared(), VM_PAGE_SIZE, FL_MADV_PAGEOUT), 0);
    assert_int_equal(page_flags(0), 0);
    assert_int_equal(bytes_written(), 512);
    assert_int_equal(test_load8(map, shared() + 512), 1);
    unsigned char vec[2];
    assert_int_equal(write_at(ptoa(1), ones, 512, 0), 512);
    assert_int_equal(fl_sys_mincore(map, shared(), ptoa(2), vec), 0);
    assert_true((vec[0] & 1) && (vec[1] & 1)); /* the file is mapped: all of the page was read */
    struct fl_hold hold;
    assert_int_equal(fl_hold(map, shared() + ptoa(1), 1, VM_PROT_READ, &hold), 0);
    assert_int_equal(sim_frame(vm_page_frame(hold.page[0]))[512], test_byte(ptoa(1) + 512));
    fl_unhold(&hold);
    one_file_end();
}

/* ---- what is cut off ----------------------------------------------------------------------------------- */

static void what_is_cut_off_is_not_written(void **state)
{
    (void)state;
    begin(test_params(7), LEN, 512);
    assert_int_equal(write_at(512, ones, 2048, 0), 2048); /* blocks 1 … 4 */
    assert_int_equal(fl_vnode_truncate(file.vnode, 1100), 0);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_int_equal(bytes_written(), 1024); /* 1 and 2 */
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(2)), 0);
    assert_int_equal(write_at(ptoa(1), ones, 2048, 0), 2048);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(1) + 500), 0);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(2)), 0); /* the store reads as zeros there already */
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_int_equal(bytes_written(), 1024 + 512);
    assert_true(test_load8(map, shared() + ptoa(1) + 499) == 1 &&
                test_load8(map, shared() + ptoa(1) + 500) == 0);
    assert_int_equal(read_at(0, page, VM_PAGE_SIZE, 0), VM_PAGE_SIZE);
    for (uint32_t i = 0; i < VM_PAGE_SIZE; i++)
        assert_int_equal(page[i], i < 512 ? test_byte(i) : i < 1100 ? 1 : 0);
    one_file_end();
}

/* Blocks of a mapped page are discarded. Once the file is long again, the program may store there. */
static void a_mapping_may_store_where_blocks_were(void **state)
{
    (void)state;
    begin(test_params(8), LEN, 512);
    assert_int_equal(write_at(512, ones, 512, 0), 512);
    test_store8(map, shared() + 100, 5); /* reads the page, and makes the mapping writable */
    assert_int_equal(fl_vnode_truncate(file.vnode, 600), 0);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(1)), 0);
    test_store8(map, shared() + 3000, 6);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_true(disk_byte(100) == 5 && disk_byte(599) == 1 && disk_byte(600) == 0 && disk_byte(3000) == 6);
    one_file_end();
}

static void a_hole_in_a_page_written_in_part(void **state)
{
    (void)state;
    begin(test_params(9), LEN, 512);
    assert_int_equal(write_at(512, ones, 512, 0), 512);
    assert_int_equal(fl_vnode_punch(file.vnode, 700, 1500), 0);
    assert_int_equal(read_at(0, page, VM_PAGE_SIZE, 0), VM_PAGE_SIZE);
    for (uint32_t i = 0; i < VM_PAGE_SIZE; i++)
        assert_int_equal(page[i], i >= 700 && i < 2200 ? 0 : i >= 512 && i < 700 ? 1 : test_byte(i));
    one_file_end();
}

static void punch(void *arg)
{
    (void)arg;
    assert_int_equal(fl_vnode_punch(file.vnode, 700, 1500), 0);
}

/* Blocks that were never read are not read from the store while it punches the hole. */
static void a_hole_while_others_read(void **state)
{
    (void)state;
    for (uint64_t delay = 0; delay < 40; delay++) {
        begin(test_params(delay), LEN, 512);
        assert_int_equal(write_at(512, ones, 512, 0), 512);
        sim_run("punch", punch, NULL);
        sim_sleep_ns(delay * 10000);
        (void)test_load8(map, shared());
        sim_join_all();
        for (uint32_t i = 0; i < VM_PAGE_SIZE; i++)
            assert_int_equal(test_load8(map, shared() + i), i >= 700 && i < 2200  ? 0
                                                            : i >= 512 && i < 700 ? 1
                                                                                  : test_byte(i));
        one_file_end();
    }
}

/* ---- failures ------------------------------------------------------------------------------------------ */

/* A page that cannot be completed is written and goes when the file is mapped: the access meets the error. */
static void a_failed_read_is_met_by_the_mapping(void **state)
{
    (void)state;
    begin(test_params(16), LEN, 512);
    assert_int_equal(write_at(512, ones, 512, 0), 512);
    sim_disk_faults(disk)->bad_read_start = 2048;
    sim_disk_faults(disk)->bad_read_end = 2049;
    uint8_t byte;
    assert_int_equal(sim_load(map, shared(), &byte, 1, NULL), -EIO);
    assert_int_equal(disk_byte(512), 1);
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    assert_int_equal(test_load8(map, shared() + 512), 1);
    one_file_end();
}

static void a_failed_read_leaves_the_dirty_blocks(void **state)
{
    (void)state;
    begin(test_params(10), LEN, 512);
    assert_int_equal(write_at(512, ones, 512, 0), 512);
    sim_disk_faults(disk)->bad_read_start = 2048;
    sim_disk_faults(disk)->bad_read_end = 2049;
    assert_int_equal(read_at(0, page, 10, 0), -EIO);
    assert_int_equal(write_at(2050, ones, 5, 0), -EIO);
    assert_int_equal(write_at(ptoa(1) + 5, ones, 5, 0), 5);
    assert_int_equal(page_flags(0) & (PG_VALID | PG_PRIVATE | PG_DIRTY | PG_BUSY), PG_PRIVATE | PG_DIRTY);
    assert_int_equal(write_at(2048, ones, 512, 0), 512); /* a block that is not read cannot fail */
    assert_int_equal(read_at(0, page, VM_PAGE_SIZE, 0), VM_PAGE_SIZE);
    assert_true(page[0] == test_byte(0) && page[512] == 1 && page[2048] == 1);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_true(disk_byte(512) == 1 && disk_byte(2048) == 1 && disk_byte(2560) == test_byte(2560));
    one_file_end();
}

static void a_failed_write_leaves_that_block_dirty(void **state)
{
    (void)state;
    begin(test_params(11), LEN, 512);
    fl_errseq_t since = fl_vnode_errseq(file.vnode);
    assert_int_equal(write_at(0, ones, 512, 0), 512);
    assert_int_equal(write_at(1024, ones, 512, 0), 512);
    sim_disk_faults(disk)->bad_write_start = 1024;
    sim_disk_faults(disk)->bad_write_end = 1025;
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &since), -EIO);
    assert_int_equal(page_flags(0) & (PG_DIRTY | PG_WRITEERROR), PG_DIRTY | PG_WRITEERROR);
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    uint64_t before = bytes_written();
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, &since), 0);
    assert_int_equal(bytes_written() - before, 512); /* the other one was written */
    assert_true(disk_byte(0) == 1 && disk_byte(1024) == 1 && disk_byte(512) == test_byte(512));
    one_file_end();
}

static bool in_memory_or_read(uint64_t allocations)
{
    begin(test_params(12), LEN, 512);
    sim_torture()->fail_alloc_nth = (uint32_t)allocations;
    int64_t result = write_at(600, ones, 100, 0);
    bool fired = sim_torture()->fail_alloc_nth == 0;
    *sim_torture() = (struct sim_torture){0};
    assert_true(result == 100 || result == -ENOMEM);
    assert_int_equal(read_at(0, page, VM_PAGE_SIZE, 0), VM_PAGE_SIZE);
    for (uint32_t i = 0; i < VM_PAGE_SIZE; i++)
        assert_int_equal(page[i], result == 100 && i >= 600 && i < 700 ? 1 : test_byte(i));
    one_file_end();
    return fired;
}

/* Without memory for buffer heads the whole page is read. */
static void without_memory_for_buffers(void **state)
{
    (void)state;
    uint64_t n = 1;
    while (in_memory_or_read(n))
        n++;
    assert_true(n > 8); /* at least one page's buffer heads */
}

static void windows_that_fail(void **state)
{
    (void)state;
    for (uint32_t n = 1; n < 8; n++) {
        begin(test_params(13), LEN, 1024);
        assert_int_equal(write_at(1024, ones, 1024, 0), 1024);
        sim_torture()->fail_map_nth = n;
        int64_t wrote = write_at(2048 + 100, ones, 100, 0);
        int64_t got = read_at(0, page, VM_PAGE_SIZE, 0);
        (void)!fl_vnode_fsync(file.vnode, 0, NULL);
        *sim_torture() = (struct sim_torture){0};
        assert_true((wrote == 100 || wrote == -ENOMEM) && (got == VM_PAGE_SIZE || got == -ENOMEM));
        assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
        assert_true(disk_byte(1024) == 1 && disk_byte(2048 + 100) == (wrote == 100 ? 1 : test_byte(2148)));
        one_file_end();
    }
}

/* ---- at random ----------------------------------------------------------------------------------------- */

/*
 * One thread, and no read-ahead: the model knows which blocks are in memory. From its first mapping on the
 * file's pages have all of their bytes, and the mapping makes pages dirty as a whole.
 */
static struct {
    uint32_t block;
    bool mapped;
    uint8_t bytes[ptoa(NPAGES)];
    uint64_t len;
    bool there[ptoa(NPAGES) / 512], dirty[ptoa(NPAGES) / 512];
    bool present[NPAGES], plain[NPAGES]; /* plain: valid, and clean or dirty as a whole */
    uint64_t read, written;              /* bytes that the disk must have transferred */
} model;

static void page_set(vm_pindex_t pindex, bool *state, bool to)
{
    for (uint64_t b = 0; b < VM_PAGE_SIZE / model.block; b++)
        state[ptoa(pindex) / model.block + b] = to;
}

static uint32_t page_count(vm_pindex_t pindex, const bool *state)
{
    uint32_t n = 0;
    for (uint64_t b = 0; b < VM_PAGE_SIZE / model.block; b++)
        n += state[ptoa(pindex) / model.block + b];
    return n;
}

/* When every block is up to date, and none or all are dirty, the page needs no buffer heads. */
static void page_settle(vm_pindex_t pindex)
{
    uint32_t all = (uint32_t)VM_PAGE_SIZE / model.block, dirty = page_count(pindex, model.dirty);
    model.plain[pindex] = page_count(pindex, model.there) == all && (dirty == 0 || dirty == all);
}

/* Bytes of block b are written: all, or a part. */
static void model_write_block(uint64_t b, bool whole)
{
    if (!whole && !model.there[b])
        model.read += model.block;
    model.there[b] = model.dirty[b] = true;
}

/* All of the page that holds `at` is read. */
static void model_fill(uint64_t at)
{
    for (uint64_t b = trunc_page(at); b < trunc_page(at) + VM_PAGE_SIZE; b += model.block) {
        if (!model.there[b / model.block] && b < model.len)
            model.read += model.block;
        model.there[b / model.block] = true;
    }
    page_settle(atop(at));
}

/* Bytes [from, to) of one page. */
static void model_write_page(vm_pindex_t pindex, uint64_t from, uint64_t to)
{
    uint64_t file_end = ptoa(pindex + 1) < model.len ? ptoa(pindex + 1) : model.len;
    bool whole = from == ptoa(pindex) && to == file_end && !model.present[pindex];
    if (model.mapped && !whole && !model.present[pindex]) { /* read as a whole, also behind the end */
        page_set(pindex, model.there, true);
        page_settle(pindex);
        model.read += VM_PAGE_SIZE;
    }
    model.present[pindex] = true;
    if (model.plain[pindex] || whole) {
        page_set(pindex, model.there, true);
        page_set(pindex, model.dirty, true);
    }
    for (uint64_t b = from / model.block; b * model.block < to && !whole; b++)
        model_write_block(b, from <= b * model.block && (b + 1) * model.block <= to);
    page_settle(pindex);
}

static void model_write(uint64_t at, uint64_t len_bytes, uint8_t byte)
{
    for (uint64_t from = at, to; from < at + len_bytes; from = to) {
        to = trunc_page(from) + VM_PAGE_SIZE;
        if (to > at + len_bytes)
            to = at + len_bytes;
        model_write_page(atop(from), from, to);
    }
    memset(model.bytes + at, byte, len_bytes);
}

/* The file is mapped: what the pages in memory lack is read. */
static void model_map(void)
{
    model.mapped = true;
    for (vm_pindex_t p = 0; p < NPAGES; p++)
        if (model.present[p])
            model_fill(ptoa(p));
}

static void model_store(uint64_t at, uint8_t byte)
{
    page_set(atop(at), model.dirty, true);
    page_settle(atop(at));
    model.bytes[at] = byte;
}

static void model_sync(void)
{
    for (vm_pindex_t p = 0; p < NPAGES; p++) {
        bool whole = model.plain[p];
        for (uint64_t b = ptoa(p) / model.block; b < ptoa(p + 1) / model.block; b++)
            if (model.dirty[b] && (whole || b * model.block < model.len))
                model.written += model.block;
        page_set(p, model.dirty, false);
        page_settle(p);
    }
}

static void op_write(struct prng *prng)
{
    static uint8_t buf[2 * VM_PAGE_SIZE];
    uint64_t at = prng_below(prng, model.len), len = prng_range(prng, 1, 3000);
    if (prng_chance(prng, 400)) { /* whole blocks */
        at -= at % model.block;
        len = model.block * prng_range(prng, 1, 3);
    }
    if (len > model.len - at)
        len = model.len - at;
    uint8_t byte = (uint8_t)prng_range(prng, 1, 255);
    memset(buf, byte, len);
    assert_int_equal(write_at(at, buf, len, 0), len);
    model_write(at, len, byte);
}

/*
 * The first read of a page that is not resident may bring its neighbours
 * too, so the test makes only reads whose effect the model knows.
 */
static void op_read(struct prng *prng)
{
    uint64_t at = prng_below(prng, model.len);
    uint8_t byte;
    if (!model.present[atop(at)])
        return;
    if (!model.mapped || prng_chance(prng, 500))
        assert_int_equal(read_at(at, &byte, 1, 0), 1);
    else
        byte = test_load8(map, shared() + at);
    model_fill(at);
    assert_int_equal(byte, model.bytes[at]);
}

/* A store that may be without a fault: what is written next tells of it. */
static void op_store(struct prng *prng)
{
    uint64_t at = prng_below(prng, model.len);
    uint8_t byte = (uint8_t)prng_range(prng, 1, 255);
    if (!model.mapped || !model.present[atop(at)])
        return;
    test_store8(map, shared() + at, byte);
    model_store(at, byte);
}

static void op_forget(struct prng *prng)
{
    uint64_t at = trunc_page(prng_below(prng, model.len));
    assert_int_equal(fl_vnode_sync(file.vnode, 0, model.len), 0);
    model_sync();
    fl_vnode_invalidate(file.vnode, at, VM_PAGE_SIZE);
    page_set(atop(at), model.there, false);
    model.present[atop(at)] = model.plain[atop(at)] = false;
}

static void model_expect(uint64_t seed, uint64_t round)
{
    if (bytes_read() == model.read && bytes_written() == model.written)
        return;
    fprintf(stderr,
            "seed %llu, round %llu, blocks of %u: read %llu, ought to %llu; written %llu, ought to %llu\n",
            (unsigned long long)seed, (unsigned long long)round, model.block,
            (unsigned long long)bytes_read(), (unsigned long long)model.read,
            (unsigned long long)bytes_written(), (unsigned long long)model.written);
    abort();
}

static void random_blocks(uint64_t seed, uint32_t block)
{
    struct prng prng;
    uint64_t rounds = test_rounds(300);
    prng_init(&prng, seed);
    memset(&model, 0, sizeof model);
    model.block = block;
    model.len = LEN;
    begin(test_params(seed), LEN, block);
    sim_disk_read(disk, 0, model.bytes, LEN);
    for (uint64_t round = 0; round < rounds; round++) {
        uint32_t op = (uint32_t)prng_below(&prng, 100);
        if (round == rounds / 2) {
            (void)shared();
            model_map();
        }
        if (op < 55) {
            op_write(&prng);
        } else if (op < 70) {
            op_read(&prng);
        } else if (op < 80) {
            op_store(&prng);
        } else if (op < 90) {
            assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
            model_sync();
        } else {
            op_forget(&prng);
        }
        sim_vm_check();
        model_expect(seed, round);
    }
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    for (uint64_t at = 0; at < LEN; at++)
        assert_int_equal(disk_byte(at), model.bytes[at]);
    one_file_end();
}

/* Where a block is a page there are no parts, and pages are read and written whole. */
static void no_byte_too_many(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 12; i++)
        random_blocks(test_seed(300 + i), SIM_SECTOR_SIZE << i % 3);
}

int main(void)
{
    memset(ones, 1, sizeof ones);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_blocks_are_not_read),
        cmocka_unit_test(blocks_in_part_are_read_alone),
        cmocka_unit_test(a_fault_reads_what_is_missing),
        cmocka_unit_test(a_page_all_of_whose_blocks_are_dirty_is_one_like_others),
        cmocka_unit_test(behind_the_end_nothing_is_read_or_written),
        cmocka_unit_test(what_is_not_up_to_date_means_nothing),
        cmocka_unit_test(a_short_copy_counts_whole_blocks),
        cmocka_unit_test(a_held_page_stays_dirty_as_a_whole),
        cmocka_unit_test(what_lies_behind_the_end_never_gets_out),
        cmocka_unit_test(a_page_written_in_part_goes_for_others),
        cmocka_unit_test(what_is_cut_off_is_not_written),
        cmocka_unit_test(a_mapping_may_store_where_blocks_were),
        cmocka_unit_test(a_hole_in_a_page_written_in_part),
        cmocka_unit_test(a_hole_while_others_read),
        cmocka_unit_test(a_failed_read_is_met_by_the_mapping),
        cmocka_unit_test(a_failed_read_leaves_the_dirty_blocks),
        cmocka_unit_test(a_failed_write_leaves_that_block_dirty),
        cmocka_unit_test(without_memory_for_buffers),
        cmocka_unit_test(windows_that_fail),
        cmocka_unit_test(no_byte_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
