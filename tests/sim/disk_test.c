/*
 * disk_test.c: the simulated disk as a store: bytes against a plain array,
 * order, failures, and every outcome of a power cut.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/boot.h"

#define NPAGES   16
#define LAST_LEN 1234 /* bytes of the last page that are in the file */
#define LEN      ((uint64_t)(NPAGES - 1) * VM_PAGE_SIZE + LAST_LEN)

/* A request with its own pages. */
struct io {
    struct store_request request;
    uint8_t page[8][VM_PAGE_SIZE];
    void *addr[8];
    int error;
    bool done;
};

static struct prng prng;
static struct sim_disk *disk;
static struct store *store;
static uint64_t finish_order[64], nfinished;

static void io_done(struct store_request *request, int error)
{
    struct io *io = (struct io *)request;

    assert_false(io->done);
    io->error = error;
    io->done = true;
    finish_order[nfinished++ % 64] = request->offset;
}

static struct store_request *io_make(struct io *io, enum store_op op, uint64_t offset, uint64_t len_bytes,
                                     unsigned flags)
{
    for (unsigned i = 0; i < 8; i++)
        io->addr[i] = io->page[i];
    io->done = false;
    io->request =
        (struct store_request){.op = op,
                               .flags = flags,
                               .offset = offset,
                               .len_bytes = len_bytes,
                               .npages = (uint32_t)(atop(offset + len_bytes - 1) - atop(offset) + 1),
                               .addr = io->addr,
                               .done = io_done};
    return &io->request;
}

static void io_start(struct io *io, enum store_op op, uint64_t pindex, uint32_t npages, unsigned flags)
{
    store->ops->submit(store, io_make(io, op, ptoa(pindex), ptoa(npages), flags));
}

static int io_finish(struct io *io)
{
    store->ops->wait(store, &io->request);
    assert_true(io->done);
    return io->error;
}

static void io_random(struct io *io)
{
    for (size_t i = 0; i < sizeof(io->page); i++)
        ((uint8_t *)io->page)[i] = (uint8_t)prng_next(&prng);
}

static void up(uint64_t seed)
{
    struct sim_params params = test_params(seed);

    params.torture.preempt_permille = 100;
    sim_machine_init(&params);
    prng_init(&prng, seed);
    disk = sim_disk_create(LEN, seed);
    test_fill(disk);
    store = sim_disk_open(disk, false);
    nfinished = 0;
}

static void down(void)
{
    store->ops->close(store);
    sim_machine_fini();
    sim_disk_destroy(disk);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static uint8_t model[NPAGES * VM_PAGE_SIZE]; /* zero beyond LEN, for ever */

static void read_and_compare(struct io *io, uint64_t pindex, uint32_t npages)
{
    memset(io->page, 0x55, sizeof(io->page));
    io_start(io, STORE_READ, pindex, npages, prng_chance(&prng, 500) ? STORE_REQUEST_WAIT : 0);
    assert_int_equal(io_finish(io), 0);
    for (uint32_t i = 0; i < npages; i++) {
        if (pindex + i < NPAGES)
            assert_memory_equal(io->page[i], model + ptoa(pindex + i), VM_PAGE_SIZE);
        else
            assert_int_equal(io->page[i][0] | io->page[i][VM_PAGE_SIZE - 1], 0);
    }
}

static void test_bytes(void **state)
{
    (void)state;
    static struct io io;

    up(test_seed(1));
    memset(model, 0, sizeof(model));
    sim_disk_read(disk, 0, model, LEN);
    for (uint64_t i = 0; i < LEN; i++)
        assert_int_equal(model[i], test_byte(i));
    for (uint64_t round = test_rounds(300); round > 0; round--) {
        uint64_t pindex = prng_below(&prng, NPAGES);
        uint32_t npages = (uint32_t)prng_range(&prng, 1, 8);

        if (prng_chance(&prng, 500)) {
            read_and_compare(&io, pindex, npages);
            continue;
        }
        io_random(&io);
        io_start(&io, STORE_WRITE, pindex, npages, 0);
        assert_int_equal(io_finish(&io), 0);
        for (uint32_t i = 0; i < npages && pindex + i < NPAGES; i++)
            memcpy(model + ptoa(pindex + i), io.page[i], VM_PAGE_SIZE);
        memset(model + LEN, 0, sizeof(model) - LEN);
    }
    uint64_t len_bytes;
    assert_int_equal(store->ops->size(store, &len_bytes), 0);
    assert_int_equal(len_bytes, LEN);
    down();
}

/* The disk with smaller blocks, opened anew. */
static void set_block(uint32_t block_bytes)
{
    store->ops->close(store);
    sim_disk_set_block(disk, block_bytes);
    store = sim_disk_open(disk, false);
    assert_int_equal(store->block_bytes, block_bytes);
}

/* One transfer of blocks changes its own bytes, and no others, on the disk and in memory. */
static void block_step(struct io *io, uint32_t block)
{
    uint64_t offset = prng_below(&prng, (NPAGES - 4) * VM_PAGE_SIZE / block) * block;
    uint64_t len_bytes = prng_range(&prng, 1, 4 * VM_PAGE_SIZE / block) * block;
    uint8_t *memory = (uint8_t *)io->page + offset % VM_PAGE_SIZE, before[sizeof io->page];
    bool write = prng_chance(&prng, 500);

    if (prng_chance(&prng, 200))
        offset += ptoa(3); /* around the end */
    io_random(io);
    memcpy(before, io->page, sizeof before);
    store->ops->submit(store, io_make(io, write ? STORE_WRITE : STORE_READ, offset, len_bytes,
                                      prng_chance(&prng, 500) ? STORE_REQUEST_WAIT : 0));
    assert_int_equal(io_finish(io), 0);
    for (uint64_t i = 0; i < len_bytes; i++) {
        uint64_t at = offset + i;
        if (!write)
            assert_int_equal(memory[i], at < LEN ? model[at] : 0);
        else if (at < LEN)
            model[at] = memory[i];
        memory[i] = before[memory + i - (uint8_t *)io->page];
    }
    assert_memory_equal(io->page, before, sizeof before);
}

static void test_blocks(void **state)
{
    (void)state;
    static struct io io;
    static uint8_t bytes[LEN];

    for (uint32_t block = SIM_SECTOR_SIZE; block <= VM_PAGE_SIZE; block *= 2) {
        up(test_seed(block));
        set_block(block);
        sim_disk_read(disk, 0, model, LEN);
        for (uint64_t round = test_rounds(300); round > 0; round--)
            block_step(&io, block);
        sim_disk_read(disk, 0, bytes, LEN);
        assert_memory_equal(bytes, model, LEN);
        struct sim_disk *copy = sim_disk_snapshot(disk);
        struct store *other = sim_disk_open(copy, true);
        assert_int_equal(other->block_bytes, block);
        other->ops->close(other);
        sim_disk_destroy(copy);
        down();
    }
}

/* Resized behind the VM's back, shorter and longer: the bytes that were cut off do not come back. */
static void test_truncate(void **state)
{
    (void)state;
    static struct io io;
    uint8_t byte;

    up(test_seed(2));
    io_random(&io);
    io_start(&io, STORE_WRITE, 4, 1, 0);
    assert_int_equal(io_finish(&io), 0);
    sim_disk_truncate(disk, ptoa(4) + 10);
    assert_int_equal(sim_disk_size(disk), ptoa(4) + 10);
    sim_disk_truncate(disk, ptoa(6));
    sim_disk_read(disk, ptoa(4) + 9, &byte, 1);
    assert_int_equal(byte, io.page[0][9]);
    sim_disk_read(disk, ptoa(4) + 10, &byte, 1);
    assert_int_equal(byte, 0);
    assert_int_equal(store->ops->flush(store), 0);
    struct sim_disk *cut = sim_disk_power_cut(disk, 1);
    sim_disk_read(cut, ptoa(4) + 10, &byte, 1);
    assert_int_equal(byte, 0);
    sim_disk_destroy(cut);
    down();
}

/* ---- time and order -------------------------------------------------------------------------- */

static struct io many[NPAGES];

static void wait_for_one(void *arg)
{
    assert_int_equal(io_finish(arg), 0);
}

static void test_many_at_once(void **state)
{
    (void)state;
    bool in_order = true;

    up(test_seed(3));
    uint64_t before = machine_time_ns();
    for (unsigned i = 0; i < NPAGES; i++)
        io_start(&many[i], STORE_READ, i, 1, 0);
    assert_true(sim_disk_counts(disk).in_flight > 0);
    for (unsigned i = 0; i < 2 * NPAGES; i++) /* two fibers wait for each request */
        sim_run("wait", wait_for_one, &many[i % NPAGES]);
    sim_join_all();
    assert_int_equal(sim_disk_counts(disk).in_flight, 0);
    assert_int_equal(sim_disk_counts(disk).reads, NPAGES);
    assert_true(machine_time_ns() - before >= sim_disk_faults(disk)->latency_min_ns);
    assert_int_equal(nfinished, NPAGES);
    for (unsigned i = 1; i < NPAGES; i++)
        in_order = in_order && finish_order[i] > finish_order[i - 1];
    assert_false(in_order);
    for (unsigned i = 0; i < NPAGES; i++)
        assert_int_equal(many[i].page[0][0], test_byte(ptoa(i)));
    down();
}

/* A batch reaches the disk at one moment, and its transfers end in any order. */
static void test_batch(void **state)
{
    (void)state;
    struct store_request *request[NPAGES];
    bool in_order = true;

    up(test_seed(10));
    for (unsigned i = 0; i < NPAGES; i++)
        request[i] = io_make(&many[i], STORE_READ, ptoa(i), VM_PAGE_SIZE, 0);
    uint64_t before = machine_time_ns();
    store->ops->submit_batch(store, request, NPAGES);
    for (unsigned i = 0; i < NPAGES; i++)
        assert_int_equal(io_finish(&many[i]), 0);
    assert_true(machine_time_ns() - before <= sim_disk_faults(disk)->latency_max_ns + 20000);
    for (unsigned i = 1; i < NPAGES; i++)
        in_order = in_order && finish_order[i] > finish_order[i - 1];
    assert_false(in_order);
    assert_int_equal(nfinished, NPAGES);
    assert_int_equal(sim_disk_counts(disk).reads, NPAGES);
    assert_int_equal(sim_disk_counts(disk).batches, 1);
    for (unsigned i = 0; i < NPAGES; i++)
        assert_int_equal(many[i].page[0][7], i == NPAGES - 1 && 7 >= LAST_LEN ? 0 : test_byte(ptoa(i) + 7));
    down();
}

static uint64_t run_once(uint64_t seed)
{
    up(seed);
    for (unsigned i = 0; i < NPAGES; i++) {
        io_random(&many[i]);
        io_start(&many[i], i % 2 ? STORE_READ : STORE_WRITE, i, 1, i % 3 ? 0 : STORE_REQUEST_WAIT);
    }
    for (unsigned i = 0; i < NPAGES; i++)
        assert_int_equal(io_finish(&many[i]), 0);
    uint64_t hash = sim_hash();
    down();
    return hash;
}

static void test_one_seed_one_run(void **state)
{
    (void)state;
    uint64_t seed = test_seed(4);

    assert_true(run_once(seed) == run_once(seed));
    assert_true(run_once(seed) != run_once(seed + 1));
}

/* ---- failures -------------------------------------------------------------------------------- */

static void test_failures(void **state)
{
    (void)state;
    static struct io io;
    uint64_t len_bytes;
    uint8_t before[VM_PAGE_SIZE], after[VM_PAGE_SIZE];

    up(test_seed(5));
    struct sim_disk_faults *faults = sim_disk_faults(disk);
    faults->fail_read_nth = 2;
    for (int i = 1; i <= 3; i++) {
        io_start(&io, STORE_READ, 0, 1, 0);
        assert_int_equal(io_finish(&io), i == 2 ? -EIO : 0);
        assert_int_equal(io.page[0][0] == test_byte(0), i != 2); /* a failed read leaves garbage */
    }
    faults->fail_write_nth = 1;
    faults->error = -ENOSPC;
    sim_disk_read(disk, 0, before, VM_PAGE_SIZE);
    io_random(&io);
    io_start(&io, STORE_WRITE, 0, 1, 0);
    assert_int_equal(io_finish(&io), -ENOSPC);
    sim_disk_read(disk, 0, after, VM_PAGE_SIZE);
    assert_memory_equal(before, after, VM_PAGE_SIZE);
    faults->error = 0;
    faults->bad_read_start = ptoa(3) + 100;
    faults->bad_read_end = ptoa(3) + 101;
    for (uint64_t pindex = 2; pindex <= 4; pindex++) {
        io_start(&io, STORE_READ, pindex, 1, 0);
        assert_int_equal(io_finish(&io), pindex == 3 ? -EIO : 0);
    }
    faults->fail_size_nth = 1;
    assert_int_equal(store->ops->size(store, &len_bytes), -EIO);
    faults->fail_flush_nth = 1;
    assert_int_equal(store->ops->flush(store), -EIO);
    faults->fail_read_permille = 1000;
    io_start(&io, STORE_READ, 8, 1, 0);
    assert_int_equal(io_finish(&io), -EIO);
    assert_int_equal(sim_disk_counts(disk).failures, 6);
    down();
}

static void count_moment(struct sim_disk *which, void *arg)
{
    assert_ptr_equal(which, disk);
    ++*(unsigned *)arg;
}

/* ---- power cuts ------------------------------------------------------------------------------ */

/*
 * Which of three versions of its page each sector of the image has, as a
 * bit mask of all versions that were seen.
 */
static unsigned versions_seen(const struct sim_disk *image, uint8_t version[][VM_PAGE_SIZE],
                              unsigned nversions)
{
    uint8_t sector[SIM_SECTOR_SIZE];
    unsigned seen = 0;

    for (size_t at = 0; at < VM_PAGE_SIZE; at += SIM_SECTOR_SIZE) {
        unsigned v = 0;

        sim_disk_read(image, at, sector, sizeof(sector));
        while (v < nversions && memcmp(sector, version[v] + at, sizeof(sector)) != 0)
            v++;
        assert_true(v < nversions);
        seen |= 1u << v;
    }
    return seen;
}

/*
 * A page that was flushed, written again, and is being written a third
 * time: a power cut leaves any of the three, sector by sector.
 */
static void test_power_cut(void **state)
{
    (void)state;
    static struct io first, second;
    static uint8_t version[3][VM_PAGE_SIZE];
    unsigned seen = 0, torn = 0;

    up(test_seed(6));
    sim_disk_read(disk, 0, version[0], VM_PAGE_SIZE);
    io_random(&first);
    memcpy(version[1], first.page[0], VM_PAGE_SIZE);
    io_start(&first, STORE_WRITE, 0, 1, 0);
    assert_int_equal(io_finish(&first), 0);
    io_random(&second);
    memcpy(version[2], second.page[0], VM_PAGE_SIZE);
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 100000000;
    io_start(&second, STORE_WRITE, 0, 1, 0);
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_disk *cut = sim_disk_power_cut(disk, seed);
        unsigned v = versions_seen(cut, version, 3);

        seen |= v;
        torn += (v & (v - 1)) != 0;
        sim_disk_destroy(cut);
    }
    assert_int_equal(seen, 7);
    assert_true(torn > 0);
    assert_int_equal(io_finish(&second), 0);
    assert_int_equal(store->ops->flush(store), 0);
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim_disk *cut = sim_disk_power_cut(disk, seed);

        assert_int_equal(versions_seen(cut, version, 3), 4); /* the flush promised it */
        sim_disk_destroy(cut);
    }
    struct sim_disk *copy = sim_disk_snapshot(disk);
    assert_int_equal(versions_seen(copy, version, 3), 4);
    assert_int_equal(sim_disk_size(copy), LEN);
    sim_disk_destroy(copy);
    down();
}

/*
 * Two blocks of a page are in flight in one batch: a power cut leaves either, both or none, and nothing else.
 */
static void test_power_cut_of_blocks(void **state)
{
    (void)state;
    static struct io io[2];
    struct store_request *request[2];
    uint8_t before[VM_PAGE_SIZE], after[VM_PAGE_SIZE];
    unsigned seen = 0, moments = 0;

    up(test_seed(11));
    set_block(SIM_SECTOR_SIZE);
    sim_disk_read(disk, ptoa(3), before, VM_PAGE_SIZE);
    sim_disk_faults(disk)->latency_min_ns = sim_disk_faults(disk)->latency_max_ns = 100000000;
    for (unsigned i = 0; i < 2; i++) {
        io_random(&io[i]);
        request[i] = io_make(&io[i], STORE_WRITE, ptoa(3) + 1024 + 2048 * i, SIM_SECTOR_SIZE, 0);
    }
    sim_disk_on_write(disk, count_moment, &moments);
    store->ops->submit_batch(store, request, 2);
    assert_int_equal(moments, 1);
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct sim_disk *cut = sim_disk_power_cut(disk, seed);
        unsigned landed = 0;

        sim_disk_read(cut, ptoa(3), after, VM_PAGE_SIZE);
        for (unsigned i = 0; i < 2; i++) {
            size_t at = 1024 + 2048 * i;
            if (memcmp(after + at, io[i].page[0] + at, SIM_SECTOR_SIZE) == 0) {
                landed |= 1u << i;
                memcpy(after + at, before + at, SIM_SECTOR_SIZE);
            }
        }
        assert_memory_equal(after, before, VM_PAGE_SIZE);
        seen |= 1u << landed;
        sim_disk_destroy(cut);
    }
    assert_int_equal(seen, 15);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(io_finish(&io[i]), 0);
    assert_int_equal(moments, 3);
    sim_disk_on_write(disk, NULL, NULL);
    down();
}

/* A flush promises nothing about a write that was not done when it began. */
static void flush_meanwhile(void *arg)
{
    (void)arg;
    assert_int_equal(store->ops->flush(store), 0);
}

static void test_flush_is_no_time_machine(void **state)
{
    (void)state;
    static struct io io;
    static uint8_t version[2][VM_PAGE_SIZE];
    unsigned seen = 0;

    up(test_seed(7));
    sim_torture()->preempt_permille = 0;
    sim_disk_read(disk, 0, version[0], VM_PAGE_SIZE);
    io_random(&io);
    memcpy(version[1], io.page[0], VM_PAGE_SIZE);
    sim_run("flush", flush_meanwhile, NULL);
    sim_sleep_ns(1000); /* it has begun */
    io_start(&io, STORE_WRITE, 0, 1, 0);
    assert_int_equal(io_finish(&io), 0);
    sim_join_all();
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim_disk *cut = sim_disk_power_cut(disk, seed);

        seen |= versions_seen(cut, version, 2);
        sim_disk_destroy(cut);
    }
    assert_int_equal(seen, 3);
    down();
}

static void test_moments(void **state)
{
    (void)state;
    static struct io io;
    unsigned moments = 0;

    up(test_seed(8));
    sim_disk_on_write(disk, count_moment, &moments);
    io_start(&io, STORE_READ, 0, 1, 0);
    assert_int_equal(io_finish(&io), 0);
    assert_int_equal(moments, 0);
    io_start(&io, STORE_WRITE, 0, 1, 0);
    assert_int_equal(io_finish(&io), 0);
    assert_int_equal(moments, 2);
    assert_int_equal(store->ops->flush(store), 0);
    assert_int_equal(moments, 3);
    down();
}

/* ---- what the disk catches ------------------------------------------------------------------- */

static void write_read_only(void *arg)
{
    static struct io io;

    (void)arg;
    up(9);
    store->read_only = true;
    io_start(&io, STORE_WRITE, 0, 1, 0);
}

static void leave_open(void *arg)
{
    (void)arg;
    up(9);
    sim_machine_fini();
}

static void submit_under_lock(void *arg)
{
    static struct io io;
    static struct machine_lock lock;

    (void)arg;
    up(9);
    machine_lock(&lock);
    io_start(&io, STORE_READ, 0, 1, 0);
}

static void test_catches(void **state)
{
    (void)state;
    assert_true(test_panics(write_read_only, NULL, "read-only"));
    assert_true(test_panics(leave_open, NULL, "leak: 1 stores"));
    assert_true(test_panics(submit_under_lock, NULL, "CO3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_truncate),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_one_seed_one_run),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_power_cut),
        cmocka_unit_test(test_power_cut_of_blocks),
        cmocka_unit_test(test_flush_is_no_time_machine),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_catches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
