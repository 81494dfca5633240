/*
 * pager_test.c: transfers between objects and a simulated disk that fails: the state of the pages afterwards.
 */
#include "vm/vm_pager.h"
#include "file/transfer.h"
#include "vm/lru.h"
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/odd_store.h"
#include "support/pages.h"
#include "support/memory_store.h"
#include "vm/vm_meter.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define FILE_PAGES 64

static struct vm_object *object;

static void begin(struct sim_params params)
{
    one_file_boot(&params, test_disk(ptoa(FILE_PAGES) - 100, VM_PAGE_SIZE, params.seed), RW);
    object = test_object(file.vnode);
}

static void end(void)
{
    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    vm_object_deallocate(object);
    one_file_end();
}

/* Page pindex of the file as it must read: zeros beyond the end. */
static void expected(vm_pindex_t pindex, uint8_t bytes[VM_PAGE_SIZE])
{
    for (uint32_t i = 0; i < VM_PAGE_SIZE; i++)
        bytes[i] = ptoa(pindex) + i < sim_disk_size(disk) ? test_byte(ptoa(pindex) + i) : 0;
}

static bool page_as_on_disk(vm_pindex_t pindex)
{
    uint8_t bytes[VM_PAGE_SIZE];
    expected(pindex, bytes);
    vm_lock(&object->lock);
    struct vm_page *m = vm_page_lookup(object, pindex);
    bool same = m != NULL && (m->flags & PG_VALID) != 0 &&
                memcmp(sim_frame(vm_page_frame(m)), bytes, VM_PAGE_SIZE) == 0;
    vm_unlock(&object->lock);
    return same;
}

static void busy_run(struct vm_page **m, vm_pindex_t start, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        m[i] = test_page_busy(object, start + i);
}

static void unbusy(struct vm_page *m, bool keep)
{
    vm_lock(&object->lock);
    if (keep)
        vm_page_xunbusy(m);
    else
        vm_page_free(m);
    vm_unlock(&object->lock);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void a_read_brings_its_neighbours(void **state)
{
    (void)state;
    struct vm_page *m[16];
    begin(test_params(1));
    busy_run(m, 48, 16);
    assert_int_equal(vm_pager_get_pages(object, m, 16, 5), 0);
    assert_int_equal(sim_disk_counts(disk).reads, 1);
    for (vm_pindex_t i = 48; i < 64; i++) {
        assert_true(page_as_on_disk(i)); /* the file ends in page 63 */
        assert_int_equal(test_page_flags(object, i) & PG_BUSY, i == 53 ? PG_BUSY : 0);
        assert_int_equal(vm_page_lookup(object, i)->lru, i == 53 ? 0 : PL_LRU);
    }
    unbusy(m[5], true);
    assert_int_equal(vm_counted(&vm_cnt.page_ins), 16);
    assert_int_equal(vm_counted(&vm_cnt.readahead), 15);
    end();
}

static void a_bad_neighbour_is_not_the_needed_pages_trouble(void **state)
{
    (void)state;
    struct vm_page *m[8];
    begin(test_params(2));
    sim_disk_faults(disk)->bad_read_start = ptoa(10);
    sim_disk_faults(disk)->bad_read_end = ptoa(11);
    busy_run(m, 8, 8);
    assert_int_equal(vm_pager_get_pages(object, m, 8, 4), 0);
    for (vm_pindex_t i = 8; i < 16; i++)
        assert_int_equal(test_page_flags(object, i) != 0, i == 12);
    assert_true(page_as_on_disk(12));
    assert_int_equal(vm_counted(&vm_cnt.io_errors), 1);
    unbusy(m[4], true);
    end();
}

static void a_bad_page_stays_busy_and_invalid(void **state)
{
    (void)state;
    struct vm_page *m[8];
    begin(test_params(3));
    sim_disk_faults(disk)->bad_read_start = ptoa(10) + 4000;
    sim_disk_faults(disk)->bad_read_end = ptoa(10) + 4001;
    busy_run(m, 8, 8);
    assert_int_equal(vm_pager_get_pages(object, m, 8, 2), -EIO);
    assert_int_equal(test_page_flags(object, 10), PG_BUSY);
    assert_int_equal(object->resident_count, 1);
    unbusy(m[2], false);
    end();
}

static void beyond_the_end_there_is_nothing(void **state)
{
    (void)state;
    struct vm_page *m;
    uint32_t before, after;
    begin(test_params(4));
    vm_lock(&object->lock);
    assert_true(vm_pager_has_page(object, FILE_PAGES - 1, &before, &after));
    assert_true(before == FILE_PAGES - 1 && after == 0);
    assert_true(vm_pager_has_page(object, 0, &before, &after));
    assert_true(before == 0 && after == FILE_PAGES - 1);
    assert_false(vm_pager_has_page(object, FILE_PAGES, &before, &after));
    vm_unlock(&object->lock);
    m = test_page_busy(object, FILE_PAGES);
    assert_int_equal(vm_pager_get_pages(object, &m, 1, 0), -ENXIO);
    unbusy(m, false);

    struct vm_object *anonymous = vm_pager_allocate(OBJT_SWAP, NULL, 4);
    m = test_page_busy(anonymous, 1);
    assert_int_equal(vm_pager_get_pages(anonymous, &m, 1, 0), -ENXIO);
    vm_lock(&anonymous->lock);
    vm_page_free(m);
    vm_unlock(&anonymous->lock);
    vm_object_deallocate(anonymous);
    end();
}

static void no_memory_is_no_disaster(void **state)
{
    (void)state;
    struct vm_page *m[4];
    begin(test_params(5));
    busy_run(m, 4, 4);
    sim_torture()->fail_alloc_nth = 1; /* the request for all four; the one for the needed page succeeds */
    assert_int_equal(vm_pager_get_pages(object, m, 4, 1), 0);
    assert_int_equal(object->resident_count, 1);
    unbusy(m[1], true);

    sim_torture()->fail_map_nth = 1; /* no window */
    busy_run(m, 8, 1);
    assert_int_equal(vm_pager_get_pages(object, m, 1, 0), -ENOMEM);
    assert_int_equal(test_page_flags(object, 8), PG_BUSY);
    unbusy(m[0], false);
    assert_int_equal(vm_counted(&vm_cnt.io_errors), 0);
    end();
}

/* ---- reading ahead ------------------------------------------------------------------------------------- */

static void a_read_ahead_is_driven_by_who_needs_it(void **state)
{
    (void)state;
    struct vm_page *m[8];
    begin(test_params(6));
    busy_run(m, 16, 8);
    transfer_readahead(object, m, 8, NULL);
    vm_lock(&object->lock);
    assert_true((m[3]->flags & (PG_BUSY | PG_INFLIGHT)) == (PG_BUSY | PG_INFLIGHT));
    assert_true(transfer_wait(object, 19, 20));
    assert_true(vm_page_lookup(object, 19) == m[3] &&
                (m[3]->flags & (PG_VALID | PG_BUSY | PG_INFLIGHT)) == PG_VALID && m[3]->lru == PL_LRU);
    assert_null(object->inflight);
    assert_int_equal(object->paging_in_progress, 0);
    vm_unlock(&object->lock);
    for (vm_pindex_t i = 16; i < 24; i++)
        assert_true(page_as_on_disk(i));
    assert_int_equal(transfers_active(), 0);
    end();
}

static void a_failed_read_ahead_leaves_nothing(void **state)
{
    (void)state;
    struct vm_page *m[8];
    begin(test_params(7));
    sim_disk_faults(disk)->fail_read_nth = 1;
    busy_run(m, 16, 8);
    transfer_readahead(object, m, 8, NULL);
    vm_lock(&object->lock);
    assert_true(transfer_wait(object, 16, 17));
    assert_int_equal(object->resident_count, 0);
    vm_unlock(&object->lock);
    assert_int_equal(vm_counted(&vm_cnt.io_errors), 1);

    /* read-ahead is optional: without a window there is no read */
    sim_torture()->window_busy_permille = 1000;
    busy_run(m, 16, 8);
    transfer_readahead(object, m, 8, NULL);
    assert_int_equal(object->resident_count, 0);
    assert_int_equal(sim_disk_counts(disk).reads, 1);
    end();
}

static void an_object_ends_with_a_read_under_way(void **state)
{
    (void)state;
    struct vm_page *m[8];
    begin(test_params(8));
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 50000000;
    busy_run(m, 0, 8);
    transfer_readahead(object, m, 8, NULL);
    busy_run(m, 8, 8);
    transfer_readahead(object, m, 8, NULL);
    assert_true(transfers_active() == 2);
    end();
}

static void any_read_can_be_waited_for(void **state)
{
    (void)state;
    struct vm_page *m[4];
    begin(test_params(9));
    assert_false(transfer_wait_any());
    busy_run(m, 0, 4);
    transfer_readahead(object, m, 4, NULL);
    assert_true(transfer_wait_any());
    assert_true(page_as_on_disk(3));
    assert_false(transfer_wait_any());
    end();
}

struct odd_reader {
    struct vm_object *object;
    vm_pindex_t pindex;
    uint64_t delay_ns;
};

/* Needs a page while another fiber reads it ahead, at every moment of the read. */
static void odd_reader(void *arg)
{
    struct odd_reader *r = arg;
    struct vm_page *m;
    sim_sleep_ns(r->delay_ns);
    vm_lock(&r->object->lock);
    while ((m = vm_page_lookup(r->object, r->pindex)) != NULL && (m->flags & PG_BUSY))
        vm_page_busy_sleep(m);
    vm_unlock(&r->object->lock);
    assert_true(test_page_is(r->object, r->pindex, (uint8_t)r->pindex));
}

static void a_read_ahead_may_end_whenever_the_store_likes(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 20; round++) {
        struct sim_params params = test_params(round);
        struct odd_reader r[4];
        struct vm_page *m[8];
        struct vnode *vnode;
        params.torture.preempt_permille = 100;
        test_boot(&params);
        struct store *store = odd_store(memory_store_pattern(32), round % 2 ? ODD_IN_SUBMIT : ODD_IN_WAIT);
        assert_int_equal(fl_vnode_open(store, &vnode), 0);
        struct vm_object *odd = test_object(vnode);
        for (uint32_t i = 0; i < 8; i++)
            m[i] = test_page_busy(odd, 16 + i);
        for (uint32_t i = 0; i < 4; i++) {
            r[i] = (struct odd_reader){odd, 16 + i, 3000 * i};
            sim_run("reader", odd_reader, &r[i]);
        }
        transfer_readahead(odd, m, 8, NULL);
        sim_join_all();
        assert_int_equal(transfers_active(), 0);
        vm_object_deallocate(odd);
        assert_int_equal(fl_vnode_close(vnode), 0);
        sim_shutdown();
    }
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* What write-back does to a page before it calls the pager. */
static void put_run(struct vm_page **m, vm_pindex_t start, uint32_t count, uint8_t byte)
{
    for (uint32_t i = 0; i < count; i++) {
        m[i] = test_page(object, start + i, byte, PG_DIRTY);
        vm_lock(&object->lock);
        vm_page_undirty(m[i]);
        vm_page_writeback_start(m[i]);
        vm_unlock(&object->lock);
    }
}

static void put_and_wait(struct vm_page **m, uint32_t count)
{
    transfer_writepages(object, m, count, NULL);
    while (transfer_wait_any())
        ;
    assert_int_equal(transfers_active(), 0);
}

static void a_write_reaches_the_disk(void **state)
{
    (void)state;
    struct vm_page *m[4];
    uint8_t byte;
    begin(test_params(10));
    put_run(m, FILE_PAGES - 4, 4, 0x77);
    put_and_wait(m, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(m[i]->flags, PG_VALID);
    sim_disk_read(disk, sim_disk_size(disk) - 1, &byte, 1);
    assert_int_equal(byte, 0x77);
    /* bytes beyond the end do not reach the disk */
    assert_int_equal(sim_disk_size(disk), ptoa(FILE_PAGES) - 100);
    assert_int_equal(vm_counted(&vm_cnt.write_backs), 4);
    end();
}

static void a_failed_write_leaves_the_pages_dirty(void **state)
{
    (void)state;
    struct vm_page *m[4];
    begin(test_params(11));
    sim_disk_faults(disk)->fail_write_nth = 1;
    sim_disk_faults(disk)->error = -ENOSPC;
    put_run(m, 0, 4, 0x66);
    put_and_wait(m, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(m[i]->flags, PG_VALID | PG_DIRTY | PG_WRITEERROR);
    assert_int_equal(errseq_check_and_advance(&file.vnode->wb_err, &file.told), -ENOSPC);
    assert_int_equal(errseq_check_and_advance(&file.vnode->wb_err, &file.told), 0);

    vm_lock(&object->lock);
    for (uint32_t i = 0; i < 4; i++) {
        vm_page_undirty(m[i]);
        vm_page_writeback_start(m[i]);
    }
    vm_unlock(&object->lock);
    put_and_wait(m, 4);
    assert_int_equal(m[2]->flags, PG_VALID);
    end();
}

/* ---- writing, and not waiting for it ------------------------------------------------------------------ */

static void an_async_write_is_driven_by_who_needs_the_page(void **state)
{
    (void)state;
    struct vm_page *m[4];
    uint8_t byte;
    begin(test_params(13));
    put_run(m, FILE_PAGES - 4, 4, 0x55);
    transfer_writepages(object, m, 4, NULL);
    assert_int_equal(m[1]->flags, PG_VALID | PG_WRITEBACK | PG_INFLIGHT);
    assert_int_equal(transfers_active(), 1);
    vm_lock(&object->lock);
    vm_page_busy_sleep(m[3]);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(m[i]->flags & ~PG_WANTED, PG_VALID);
    assert_null(object->inflight);
    assert_int_equal(object->paging_in_progress, 0);
    vm_unlock(&object->lock);
    sim_disk_read(disk, sim_disk_size(disk) - 1, &byte, 1);
    assert_int_equal(byte, 0x55);
    assert_int_equal(sim_disk_size(disk), ptoa(FILE_PAGES) - 100);
    assert_int_equal(vm_counted(&vm_cnt.write_backs), 4);
    assert_int_equal(transfers_active(), 0);
    end();
}

static void a_failed_async_write_leaves_the_pages_dirty(void **state)
{
    (void)state;
    struct vm_page *m[8];
    struct blk_plug plug;
    begin(test_params(14));
    sim_disk_faults(disk)->bad_write_start = ptoa(5);
    sim_disk_faults(disk)->bad_write_end = ptoa(5) + 1;
    put_run(m, 0, 8, 0x44);
    blk_start_plug(&plug);
    transfer_writepages(object, m, 4, &plug);
    transfer_writepages(object, m + 4, 4, &plug); /* these touch: one request, of which half is bad */
    assert_int_equal(sim_disk_counts(disk).writes, 0);
    blk_finish_plug(&plug);
    assert_int_equal(sim_disk_counts(disk).writes, 1);
    while (transfer_wait_any())
        continue;
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(m[i]->flags, i < 4 ? PG_VALID : PG_VALID | PG_DIRTY | PG_WRITEERROR);
    assert_int_equal(errseq_check_and_advance(&file.vnode->wb_err, &file.told), -EIO);
    assert_int_equal(vm_counted(&vm_cnt.io_errors), 1);
    assert_int_equal(vm_counted(&vm_cnt.merges), 1);

    *sim_disk_faults(disk) = (struct sim_disk_faults){0};
    for (uint32_t i = 4; i < 8; i++) {
        vm_lock(&object->lock);
        vm_page_undirty(m[i]);
        vm_page_writeback_start(m[i]);
        vm_unlock(&object->lock);
    }
    transfer_writepages(object, m + 4, 4, NULL);
    assert_true(transfer_wait_any());
    assert_int_equal(m[5]->flags, PG_VALID);
    end();
}

/*
 * There is no window at first, none for so many pages, or no memory for a
 * request: the pages are written nevertheless.
 */
static void an_async_write_always_happens(void **state)
{
    (void)state;
    struct vm_page *m[16];
    struct blk_plug plug;
    uint8_t byte;
    for (uint32_t how = 0; how < 6; how++) {
        begin(test_params(15 + how));
        put_run(m, 8, 16, (uint8_t)(0x80 + how));
        blk_start_plug(&plug);
        if (how < 2)
            sim_torture()->window_busy_permille = how == 0 ? 1000 : 500;
        else if (how < 4)
            sim_torture()->fail_map_nth = how - 1;
        else
            sim_torture()->fail_alloc_nth = how - 3;
        for (uint32_t i = 0; i < 16; i += 4)
            transfer_writepages(object, m + i, 4, &plug);
        blk_finish_plug(&plug);
        while (transfer_wait_any())
            continue;
        for (uint32_t i = 0; i < 16; i++) {
            assert_int_equal(m[i]->flags, PG_VALID);
            sim_disk_read(disk, ptoa(8 + i) + 7, &byte, 1);
            assert_int_equal(byte, 0x80 + how);
        }
        end();
    }
}

/* Dirty pages of a file that is not open for writing stay dirty. */
static void an_async_write_without_a_writer(void **state)
{
    (void)state;
    struct vm_page *m[2];
    struct sim_params params = test_params(21);
    one_file_boot(&params, sim_disk_create(ptoa(FILE_PAGES), 21), FL_FREAD);
    object = test_object(file.vnode);
    put_run(m, 0, 2, 1);
    transfer_writepages(object, m, 2, NULL);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(m[i]->flags, PG_VALID | PG_DIRTY | PG_WRITEERROR);
    assert_int_equal(transfers_active(), 0);
    assert_int_equal(errseq_check_and_advance(&file.vnode->wb_err, &file.told), -EBADF);
    vm_lock(&object->lock);
    for (uint32_t i = 0; i < 2; i++)
        vm_page_undirty(m[i]);
    vm_unlock(&object->lock);
    end();
}

/* Waits for a page that another fiber writes, at every moment of the write. */
static void odd_write_waiter(void *arg)
{
    struct odd_reader *r = arg;
    struct vm_page *m;
    sim_sleep_ns(r->delay_ns);
    vm_lock(&r->object->lock);
    while ((m = vm_page_lookup(r->object, r->pindex)) != NULL && (m->flags & PG_WRITEBACK))
        vm_page_busy_sleep(m);
    vm_unlock(&r->object->lock);
}

/*
 * Fibers wait for a page before its request exists, while it is in the plug, and after it was started. With a
 * store that transfers nothing until a caller waits, the sleepers themselves must wait for the request.
 */
static void an_async_write_may_end_whenever_the_store_likes(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 60; round++) {
        struct sim_params params = test_params(round);
        struct odd_reader r[8];
        struct vm_page *m[8];
        struct vnode *vnode;
        struct blk_plug plug;
        params.torture.preempt_permille = 200;
        test_boot(&params);
        struct store *store =
            odd_store(memory_store_zeros(ptoa(32)), round % 2 ? ODD_IN_SUBMIT : ODD_IN_WAIT);
        assert_int_equal(fl_vnode_open(store, &vnode), 0);
        object = test_object(vnode);
        put_run(m, 16, 8, (uint8_t)round);
        for (uint32_t i = 0; i < 8; i++) {
            r[i] = (struct odd_reader){object, 16 + i, 1500 * i};
            sim_run("waiter", odd_write_waiter, &r[i]);
        }
        blk_start_plug(&plug);
        sim_sleep_ns(2000);
        for (uint32_t i = 0; i < 8; i += 2) {
            transfer_writepages(object, m + i, 2, &plug);
            sim_sleep_ns(1000);
        }
        blk_finish_plug(&plug);
        sim_join_all();
        assert_int_equal(transfers_active(), 0);
        assert_int_equal(vm_counted(&vm_cnt.requests), 1);
        for (uint32_t i = 0; i < 8; i++) {
            assert_int_equal(m[i]->flags & ~PG_WANTED, PG_VALID);
            vm_lock(&object->lock);
            vm_page_xbusy(m[i]);
            vm_page_free(m[i]);
            vm_unlock(&object->lock);
            m[i] = test_page_busy(object, 16 + i);
            assert_int_equal(vm_pager_get_pages(object, m + i, 1, 0), 0);
            unbusy(m[i], true);
            assert_true(test_page_is(object, 16 + i, (uint8_t)round));
        }
        vm_object_deallocate(object);
        assert_int_equal(fl_vnode_close(vnode), 0);
        sim_shutdown();
    }
}

/* ---- all at once --------------------------------------------------------------------------------------- */

#define READERS 6

struct reader {
    struct prng prng;
    uint32_t rounds, good, bad;
};

/* The page, which is read if it is not resident; NULL: the read failed. (O) held, released in between. */
static struct vm_page *reader_get(struct reader *r, vm_pindex_t pindex) FL_REQUIRES(object->lock)
{
    struct vm_page *m;
    while ((m = vm_page_lookup(object, pindex)) != NULL && (m->flags & PG_BUSY))
        vm_page_busy_sleep(m);
    if (m != NULL)
        return m;
    m = vm_page_alloc(object, pindex, VM_ALLOC_NORMAL);
    if (m == NULL)
        return NULL;
    vm_object_pip_add(object);
    vm_unlock(&object->lock);
    int error = vm_pager_get_pages(object, &m, 1, 0);
    vm_lock(&object->lock);
    vm_object_pip_wakeup(object);
    if (error != 0) {
        vm_page_free(m);
        r->bad++;
        return NULL;
    }
    deactivate_page(m);
    vm_page_xunbusy(m);
    return m;
}

static void reader_ahead(struct reader *r)
{
    struct vm_page *m[8];
    vm_pindex_t start = prng_below(&r->prng, FILE_PAGES - 8);
    uint32_t n = 0;
    vm_lock(&object->lock);
    while (n < 8 && vm_page_lookup(object, start + n) == NULL &&
           (m[n] = vm_page_alloc(object, start + n, VM_ALLOC_READAHEAD)) != NULL)
        n++;
    vm_unlock(&object->lock);
    if (n > 0)
        transfer_readahead(object, m, n, NULL);
}

static void reader_main(void *arg)
{
    struct reader *r = arg;
    for (uint32_t i = 0; i < r->rounds; i++) {
        uint8_t bytes[VM_PAGE_SIZE];
        vm_pindex_t pindex = prng_below(&r->prng, FILE_PAGES);
        if (prng_chance(&r->prng, 300))
            reader_ahead(r);
        expected(pindex, bytes);
        vm_lock(&object->lock);
        struct vm_page *m = reader_get(r, pindex);
        if (m != NULL) {
            assert_memory_equal(sim_frame(vm_page_frame(m)), bytes, VM_PAGE_SIZE);
            r->good++;
        }
        if (prng_chance(&r->prng, 200))
            vm_object_page_remove(object, pindex, pindex + 4, true);
        vm_unlock(&object->lock);
    }
}

static void many_readers_of_a_failing_disk(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(12));
    for (uint64_t round = 0; round < test_rounds(8); round++) {
        struct reader reader[READERS];
        uint32_t good = 0;
        begin(test_params_hostile(prng_next(&prng)));
        sim_disk_faults(disk)->fail_read_permille = 100;
        for (uint32_t i = 0; i < READERS; i++) {
            reader[i] = (struct reader){.rounds = 100};
            prng_init(&reader[i].prng, prng_next(&prng));
            sim_run("reader", reader_main, &reader[i]);
        }
        sim_join_all();
        for (uint32_t i = 0; i < READERS; i++)
            good += reader[i].good;
        assert_true(good > READERS * 50);
        while (transfer_wait_any())
            continue;
        assert_int_equal(transfers_active(), 0);
        assert_int_equal(object->paging_in_progress, 0);
        vm_object_check_all();
        end();
    }
}

/* ---- a read ahead, between its pages and its submission ----------------------------------------------- */

struct ahead {
    struct vm_map *map;
    vm_offset_t at;
};

#define AHEAD_PAGES 32

static void ahead_advise(void *arg)
{
    struct ahead *a = arg;
    assert_int_equal(fl_sys_madvise(a->map, a->at, ptoa(AHEAD_PAGES), FL_MADV_WILLNEED), 0);
}

static void ahead_touch(void *arg)
{
    struct ahead *a = arg;
    for (uint32_t i = 0; i < AHEAD_PAGES; i++)
        assert_int_equal(test_load8(a->map, a->at + ptoa(i)), i);
}

/*
 * A fault that finds a page which is to be read ahead, but whose read has not begun, sleeps for the page.
 * Then the read begins, and only the sleeper can wait for its request, so it must be woken. With a store that
 * transfers nothing until a caller waits, it would sleep for ever.
 */
static void who_sleeps_before_a_read_ahead_begins_drives_it(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim_params params = test_params(seed);
        params.torture.preempt_permille = 300;
        test_boot(&params);
        struct fl_file mapped = {.mode = FL_FREAD};
        assert_int_equal(
            fl_vnode_open(odd_store(memory_store_pattern(AHEAD_PAGES), ODD_IN_WAIT), &mapped.vnode), 0);
        struct ahead a = {.map = test_space()};
        int64_t at = fl_sys_mmap(a.map, 0, ptoa(AHEAD_PAGES), VM_PROT_READ, FL_MAP_SHARED, &mapped, 0);
        assert_true(at > 0);
        a.at = (vm_offset_t)at;
        sim_run("advises", ahead_advise, &a);
        sim_run("touches", ahead_touch, &a);
        sim_join_all();
        fl_space_destroy(a.map);
        assert_int_equal(fl_vnode_close(mapped.vnode), 0);
        sim_shutdown();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_brings_its_neighbours),
        cmocka_unit_test(a_bad_neighbour_is_not_the_needed_pages_trouble),
        cmocka_unit_test(a_bad_page_stays_busy_and_invalid),
        cmocka_unit_test(beyond_the_end_there_is_nothing),
        cmocka_unit_test(no_memory_is_no_disaster),
        cmocka_unit_test(a_read_ahead_is_driven_by_who_needs_it),
        cmocka_unit_test(a_failed_read_ahead_leaves_nothing),
        cmocka_unit_test(an_object_ends_with_a_read_under_way),
        cmocka_unit_test(any_read_can_be_waited_for),
        cmocka_unit_test(a_read_ahead_may_end_whenever_the_store_likes),
        cmocka_unit_test(a_write_reaches_the_disk),
        cmocka_unit_test(a_failed_write_leaves_the_pages_dirty),
        cmocka_unit_test(an_async_write_is_driven_by_who_needs_the_page),
        cmocka_unit_test(a_failed_async_write_leaves_the_pages_dirty),
        cmocka_unit_test(an_async_write_always_happens),
        cmocka_unit_test(an_async_write_without_a_writer),
        cmocka_unit_test(an_async_write_may_end_whenever_the_store_likes),
        cmocka_unit_test(many_readers_of_a_failing_disk),
        cmocka_unit_test(who_sleeps_before_a_read_ahead_begins_drives_it),
    };
    return cmocka_run_group_tests_name("pager", tests, NULL, NULL);
}
