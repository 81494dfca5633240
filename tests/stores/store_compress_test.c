/*
 * store_compress_test.c: the compressed tier in front of a store that counts and fails (below_store.h): what
 * is held and what goes below, against an array of what each page is; room, frames, writeback; each I/O
 * failing; threads; and how much text it holds.
 */
#include "compress.h"
#include "stores/below_store.h"
#include "support/require.h"
#include "support/seed.h"

#include <faultline/faultline.h>
#include <faultline/types.h>
#include <faultline/vm.h>

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define LIMIT  ((size_t)32 << 20)
#define SLOTS  600                   /* of most tests: three blocks of the table */
#define POOL   ((uint64_t)256 << 10) /* bytes; far less than what the slots could hold */
#define RUN    32
#define THREAD 4

/* ---- pages that are known by a number ------------------------------------------------------------------ */

enum page_kind { ZERO, WORD, TEXT, HALF, DENSE, KINDS };

/* Number n is a page of kind n % KINDS. Reads as zeros: number 0. */
static void page_make(uint32_t n, unsigned char *page)
{
    static const char *const words[] = {"page ", "of ",    "memory ", "is ",    "written ", "the ",
                                        "swap ", "which ", "before ", "comes ", "again ",   "\n"};
    unsigned seed = n * 2654435761u + 1;
    memset(page, 0, VM_PAGE_SIZE);
    if (n % KINDS == WORD)
        for (size_t i = 0; i < VM_PAGE_SIZE; i += 8)
            memcpy(page + i, &n, sizeof n);
    if (n % KINDS == TEXT)
        for (size_t at = 0; at < VM_PAGE_SIZE - 8;)
            at += strlen(strcpy((char *)page + at, words[(unsigned)rand_r(&seed) % 12]));
    size_t noise = n % KINDS == DENSE ? VM_PAGE_SIZE : n % KINDS == HALF ? VM_PAGE_SIZE / 2 : 0;
    uint64_t word = (uint64_t)n * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < noise; i += sizeof word) {
        word ^= word << 13, word ^= word >> 7, word ^= word << 17;
        memcpy(page + i, &word, sizeof word);
    }
}

static void pages_make(const uint32_t *n, uint32_t count, unsigned char *pages)
{
    for (uint32_t i = 0; i < count; i++)
        page_make(n[i], pages + ptoa(i));
}

static bool page_is(uint32_t n, const unsigned char *page)
{
    unsigned char right[VM_PAGE_SIZE];
    page_make(n, right);
    return memcmp(page, right, VM_PAGE_SIZE) == 0;
}

/* ---- a tier -------------------------------------------------------------------------------------------- */

static struct below_store *below;
static struct store *tier;
static unsigned char pages[RUN * VM_PAGE_SIZE] __attribute__((aligned(4096)));

static void begin(uint64_t slots, uint64_t pool, bool slow)
{
    below = below_store(slots, slow);
    assert_int_equal(compress_open(&below->store, pool, &tier), 0);
}

static uint64_t frames_taken(void)
{
    struct fl_vm_stats vm;
    fl_vm_stats(&vm);
    return vm.taken;
}

static struct compress_stats stats(void)
{
    struct compress_stats now;
    compress_stats(tier, &now);
    return now;
}

/* All that the tier has is counted; at the end all of it is given back. */
static void check(void)
{
    compress_check(tier);
    assert_int_equal(frames_taken(), stats().frames);
    assert_true(stats().bytes <= ptoa(stats().frames));
}

static void end(void)
{
    check();
    tier->ops->discard(tier, 0, ptoa(below->npages));
    assert_int_equal(stats().words + stats().pieces + stats().bytes, 0);
    check();
    tier->ops->close(tier);
    assert_int_equal(frames_taken(), 0);
}

static int write_page(uint64_t slot, uint32_t n)
{
    page_make(n, pages);
    return store_transfer(tier, STORE_WRITE, slot, 1, pages);
}

/* Frames for the host's part of the budget except `left`. */
static uint32_t take_all_but(uint32_t left)
{
    uint32_t n = 0;
    while (fl_frames_take(1) == 0)
        n++;
    if (left > n)
        abort();
    fl_frames_give(left);
    return n - left;
}

/* ---- what goes where ----------------------------------------------------------------------------------- */

static void pages_go_where_they_belong(void **state)
{
    (void)state;
    begin(SLOTS, POOL, false);
    uint64_t own = stats().frames;
    assert_true(own > 0);
    for (uint32_t kind = 0; kind < KINDS; kind++)
        assert_int_equal(write_page(kind, KINDS + kind), 0);
    assert_int_equal(stats().words, 2);
    assert_int_equal(stats().pieces, 2);
    assert_int_equal(stats().dense, 1);
    assert_int_equal(below->transfers, 1);
    assert_int_equal(stats().frames, own + 1 + 2 * 4); /* a block, and a chunk for each size */
    check();
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        assert_int_equal(store_transfer(tier, STORE_READ, kind, 1, pages), 0);
        assert_true(page_is(KINDS + kind, pages));
    }
    assert_int_equal(below->pages_read, 1);
    /* Written anew with another kind, each of them is that. */
    for (uint32_t kind = 0; kind < KINDS; kind++)
        assert_int_equal(write_page(kind, 2 * KINDS + (kind + 2) % KINDS), 0);
    assert_int_equal(stats().words + stats().pieces, 4);
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        assert_int_equal(store_transfer(tier, STORE_READ, kind, 1, pages), 0);
        assert_true(page_is(2 * KINDS + (kind + 2) % KINDS, pages));
    }
    tier->ops->discard(tier, 0, ptoa(2));
    assert_int_equal(stats().words, 2); /* of TEXT, HALF, DENSE, ZERO, WORD the last three are left */
    assert_int_equal(stats().pieces, 0);
    end();
}

/* Of a run, what lies between the first and the last page that do not compress is one transfer. */
static void a_run_is_one_transfer_below(void **state)
{
    (void)state;
    static const uint32_t n[] = {TEXT, ZERO, DENSE, TEXT + KINDS, WORD, DENSE + KINDS, HALF};
    begin(SLOTS, POOL, false);
    pages_make(n, 7, pages);
    assert_int_equal(store_transfer(tier, STORE_WRITE, 238, 7, pages), 0); /* across two blocks */
    assert_int_equal(below->transfers, 1);
    assert_int_equal(below->last_npages, 4);
    memset(pages, 0xee, sizeof pages);
    assert_int_equal(store_transfer(tier, STORE_READ, 238, 7, pages), 0);
    assert_int_equal(below->transfers, 2);
    assert_int_equal(below->last_npages, 4);
    for (uint32_t i = 0; i < 7; i++)
        assert_true(page_is(n[i], pages + ptoa(i)));
    end();
}

/* ---- against a model ----------------------------------------------------------------------------------- */

#define ANY UINT32_MAX /* the write failed, or the slot was discarded: nobody may ask */

struct model {
    uint32_t n[SLOTS];
    uint32_t next;
    unsigned seed;
    uint64_t failed;
    uint64_t transfers; /* below, without those of the look at the end */
};

static uint32_t model_random(struct model *m, uint32_t end)
{
    return (uint32_t)rand_r(&m->seed) % end;
}

static void model_write(struct model *m, uint32_t slot, uint32_t count, unsigned char *bytes)
{
    uint32_t n[RUN];
    uint32_t one_kind = model_random(m, 2 * KINDS); /* half of the runs are of one kind */
    for (uint32_t i = 0; i < count; i++) {
        n[i] = ++m->next * KINDS;
        n[i] += one_kind < KINDS ? one_kind : model_random(m, KINDS);
    }
    pages_make(n, count, bytes);
    int error = store_transfer(tier, STORE_WRITE, slot, count, bytes);
    require(error == 0 || error == -EIO, "a write");
    m->failed += error != 0;
    for (uint32_t i = 0; i < count; i++)
        m->n[slot + i] = error == 0 ? n[i] : ANY;
}

static void model_read(struct model *m, uint32_t slot, uint32_t count, unsigned char *bytes)
{
    for (uint32_t i = 0; i < count; i++)
        if (m->n[slot + i] == ANY)
            count = i;
    if (count == 0)
        return;
    memset(bytes, 0xee, ptoa(count));
    int error = store_transfer(tier, STORE_READ, slot, count, bytes);
    require(error == 0 || error == -EIO, "a read");
    m->failed += error != 0;
    for (uint32_t i = 0; error == 0 && i < count; i++)
        require(page_is(m->n[slot + i], bytes + ptoa(i)), "the page's bytes");
}

static void model_discard(struct model *m, uint32_t slot, uint32_t count)
{
    tier->ops->discard(tier, ptoa((uint64_t)slot), ptoa((uint64_t)count));
    for (uint32_t i = 0; i < count; i++)
        m->n[slot + i] = ANY;
}

/* One operation on some of the slots [start, end). */
static void model_step(struct model *m, uint32_t start, uint32_t end, unsigned char *bytes)
{
    uint32_t slot = start + model_random(m, end - start);
    uint32_t count = 1 + model_random(m, end - slot < RUN ? end - slot : RUN);
    uint32_t what = model_random(m, 10);
    if (what < 4)
        model_write(m, slot, count, bytes);
    else if (what < 9)
        model_read(m, slot, count, bytes);
    else
        model_discard(m, slot, count);
}

static void model_run(struct model *m, uint32_t steps)
{
    for (uint32_t i = 0; i < steps; i++) {
        model_step(m, 0, SLOTS, pages);
        if (i % 64 == 0)
            check();
    }
    uint64_t failed = m->failed;
    m->transfers = below->transfers;
    below->fail_of_n = 0;
    below->fail_nth = 0;
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        model_read(m, slot, 1, pages);
    assert_int_equal(m->failed, failed);
}

static void random_operations_match_a_model(void **state)
{
    (void)state;
    struct model m = {.seed = (unsigned)test_seed((uint64_t)time(NULL))};
    uint32_t steps = (uint32_t)test_budget(3000);
    for (uint32_t round = 0; round < 6; round++) {
        /* In two rounds the frames are gone before the pool is full. */
        uint32_t all = round % 3 != 1 ? 0 : take_all_but(150);
        memset(m.n, 0, sizeof m.n);
        begin(SLOTS, round % 3 == 1 ? 16 * POOL : POOL, round % 2 == 1);
        below->fail_of_n = round % 3 == 2 ? 20 : 0;
        m.failed = 0;
        if (all == 0) {
            model_run(&m, steps);
        } else {
            for (uint32_t i = 0; i < steps; i++)
                model_step(&m, 0, SLOTS, pages);
            compress_check(tier);
            assert_int_equal(frames_taken(), all + stats().frames);
        }
        assert_true((m.failed > 0) == (round % 3 == 2));
        assert_true(stats().writebacks > 0 && stats().dense > 0);
        fl_frames_give(all);
        end();
    }
}

/* ---- room ---------------------------------------------------------------------------------------------- */

static uint64_t order[SLOTS];
static uint32_t norder;

static void note_write(struct below_store *store, const struct store_request *request)
{
    (void)store;
    for (uint32_t i = 0; i < request->npages; i++)
        order[norder++] = atop(request->offset) + i;
}

/* When the pool is full its oldest pages go below, many at a time, and come back from there. */
static void the_oldest_go_below_when_it_is_full(void **state)
{
    (void)state;
    begin(SLOTS, POOL, false);
    below->hook = note_write;
    norder = 0;
    for (uint32_t i = 0; i < SLOTS; i++)
        assert_int_equal(write_page(i, KINDS * i + TEXT), 0);
    assert_true(norder > 2 * RUN && norder < SLOTS);
    assert_int_equal(stats().writebacks, norder);
    assert_int_equal(below->transfers, (norder + RUN - 1) / RUN);
    for (uint32_t i = 0; i < norder; i++)
        assert_int_equal(order[i], i);
    assert_int_equal(stats().full, 0);
    assert_true(stats().frames * VM_PAGE_SIZE <= POOL + ptoa(SLOTS / 240 + 1) + (1 << 20));
    below->hook = NULL;
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_int_equal(store_transfer(tier, STORE_READ, i, 1, pages), 0);
        assert_true(page_is(KINDS * i + TEXT, pages));
    }
    assert_int_equal(below->pages_read, norder);
    end();
}

/* Without a frame, pages go through, and what is held stays right. */
static void without_frames_pages_go_through(void **state)
{
    (void)state;
    for (uint32_t left = 0; left < 12; left++) {
        begin(SLOTS, POOL, false);
        uint32_t all = take_all_but(left);
        for (uint32_t i = 0; i < 200; i++)
            assert_int_equal(write_page(i, KINDS * i + i % 3), 0);
        compress_check(tier);
        assert_int_equal(frames_taken(), all + stats().frames);
        assert_true(left > 0 || stats().full == 200);
        for (uint32_t i = 0; i < 200; i++) {
            assert_int_equal(store_transfer(tier, STORE_READ, i, 1, pages), 0);
            assert_true(page_is(KINDS * i + i % 3, pages));
        }
        fl_frames_give(all);
        end();
    }
}

/* When the store below takes nothing, what is held stays, and only the write that finds no room fails. */
static void a_full_store_below_loses_nothing(void **state)
{
    (void)state;
    uint32_t held[SLOTS], nheld = 0;
    begin(SLOTS, POOL, false);
    below->fail_of_n = 1;
    for (uint32_t i = 0; i < SLOTS; i++) {
        int error = write_page(i, KINDS * i + TEXT);
        assert_true(error == 0 || error == -EIO);
        if (error == 0)
            held[nheld++] = i;
    }
    assert_true(nheld > 100 && nheld < SLOTS);
    assert_int_equal(stats().pieces, nheld);
    assert_int_equal(stats().full, SLOTS - nheld);
    for (uint32_t i = 0; i < nheld; i++) {
        assert_int_equal(store_transfer(tier, STORE_READ, held[i], 1, pages), 0);
        assert_true(page_is(KINDS * held[i] + TEXT, pages));
    }
    end();
}

static void *write_dense(void *arg)
{
    unsigned char page[VM_PAGE_SIZE];
    page_make(DENSE, page);
    require(store_transfer(tier, STORE_WRITE, 2, 1, page) == 0, "the write of another thread");
    *(_Atomic bool *)arg = true;
    return NULL;
}

static _Atomic bool dense_written;
static pthread_t other_thread;

/* While slots 0 to 31 are written below: 0 is written anew, 1 discarded, 2 written anew with what does not
 * compress, which has to wait, 3 read, 4 discarded and written anew. */
static void meddle(struct below_store *store, const struct store_request *request)
{
    static unsigned char page[VM_PAGE_SIZE] __attribute__((aligned(4096)));
    if (request->npages == 1)
        return;
    store->hook = NULL;
    tier->ops->discard(tier, ptoa(40), ptoa(20)); /* room: this thread is in the midst of writeback */
    page_make(KINDS * 1000 + TEXT, page);
    require(store_transfer(tier, STORE_WRITE, 0, 1, page) == 0, "the write of a page that goes below");
    tier->ops->discard(tier, ptoa(1), ptoa(1));
    dense_written = false;
    require(pthread_create(&other_thread, NULL, write_dense, &dense_written) == 0, "a thread");
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    require(!dense_written, "two writes of one page below at a time");
    require(store_transfer(tier, STORE_READ, 3, 1, page) == 0, "the read of a page that goes below");
    require(page_is(KINDS * 3 + TEXT, page), "the page that was read");
    tier->ops->discard(tier, ptoa(4), ptoa(1));
    page_make(KINDS * 1001 + TEXT, page);
    require(store_transfer(tier, STORE_WRITE, 4, 1, page) == 0, "the write of a discarded page");
}

static void pages_change_while_they_go_below(void **state)
{
    (void)state;
    for (uint32_t fails = 0; fails <= 1; fails++) {
        begin(SLOTS, POOL, false);
        below->hook = meddle;
        below->fail_nth = fails; /* the writeback itself: the others come after it */
        uint32_t n = 0;
        while (below->hook != NULL)
            assert_int_equal(write_page(n, KINDS * n + TEXT), 0), n++;
        pthread_join(other_thread, NULL);
        check();
        for (uint32_t i = 0; i < n; i++) {
            uint32_t right = KINDS * i + TEXT;
            right = i == 0 ? KINDS * 1000 + TEXT : i == 2 ? DENSE : i == 4 ? KINDS * 1001 + TEXT : right;
            assert_int_equal(store_transfer(tier, STORE_READ, i, 1, pages), 0);
            assert_true(i == 1 || (i >= 40 && i < 60) || page_is(right, pages));
        }
        end();
    }
}

/* Slots 0 and 2 are below, and 1 is the oldest that is held, in the middle of a read of all three. */
static const uint32_t three[] = {DENSE, KINDS * 2000 + TEXT, DENSE + KINDS};

static void read_three(void)
{
    unsigned char *bytes = aligned_alloc(VM_PAGE_SIZE, 3 * VM_PAGE_SIZE);
    require(bytes != NULL, "memory");
    memset(bytes, 0xee, ptoa(3));
    require(store_transfer(tier, STORE_READ, 0, 3, bytes) == 0, "a read of three pages");
    for (uint32_t i = 0; i < 3; i++)
        require(page_is(three[i], bytes + ptoa(i)), "one of three pages");
    free(bytes);
}

static void begin_three(void)
{
    begin(SLOTS, POOL, false);
    pages_make(three, 3, pages);
    page_make(TEXT, pages + ptoa(1)); /* what is below in its place is not what it is afterwards */
    assert_int_equal(store_transfer(tier, STORE_WRITE, 0, 3, pages), 0);
    assert_int_equal(write_page(1, three[1]), 0);
}

static void fill_the_pool(void)
{
    static unsigned char page[VM_PAGE_SIZE] __attribute__((aligned(4096)));
    for (uint32_t i = 10; stats().writebacks == 0; i++) {
        page_make(KINDS * i + TEXT, page);
        require(store_transfer(tier, STORE_WRITE, i, 1, page) == 0, "a write that fills the pool");
    }
}

static void fill_in_a_read(struct below_store *store, const struct store_request *request)
{
    if (request->op == STORE_READ) {
        store->hook = NULL;
        fill_the_pool();
    }
}

/* While two of the three pages are read from below, writeback begins. */
static void writeback_leaves_what_a_read_will_fill(void **state)
{
    (void)state;
    begin_three();
    below->hook = fill_in_a_read;
    read_three();
    assert_true(stats().writebacks > 0);
    read_three();
    end();
}

static _Atomic bool reading;

static void *read_in_a_writeback(void *arg)
{
    (void)arg;
    read_three();
    return NULL;
}

/* The writeback waits until the read has come as far as the store below, and the read until its end. */
static void read_meets_writeback(struct below_store *store, const struct store_request *request)
{
    (void)store;
    if (request->op == STORE_READ) {
        reading = true;
        while (stats().writebacks == 0)
            sched_yield();
    } else if (!reading) {
        require(pthread_create(&other_thread, NULL, read_in_a_writeback, NULL) == 0, "a thread");
        while (!reading)
            sched_yield();
    }
}

/* While writeback has the page in the middle, the read comes, which is longer. */
static void writeback_keeps_what_a_read_has_found(void **state)
{
    (void)state;
    begin_three();
    reading = false;
    below->hook = read_meets_writeback;
    fill_the_pool();
    pthread_join(other_thread, NULL);
    below->hook = NULL;
    read_three();
    end();
}

/* ---- failures ------------------------------------------------------------------------------------------ */

/* A fixed course of operations; the nth transfer below fails. Returns whether there was one. */
static bool course(uint64_t nth)
{
    struct model m = {.seed = 7};
    begin(SLOTS, POOL, false);
    below->fail_nth = nth;
    model_run(&m, 400);
    bool failed = m.transfers >= nth;
    /* A writeback that fails is no error of the program's transfer. */
    assert_true(m.failed <= (failed ? 1u : 0u));
    end();
    return failed;
}

static void each_transfer_below_may_fail(void **state)
{
    (void)state;
    uint64_t nth = 1;
    while (course(nth))
        nth += 1 + nth / test_budget(16);
    assert_true(nth > 100);
}

static int size_fails(struct store *store, uint64_t *len_bytes)
{
    (void)store;
    (void)len_bytes;
    return -EIO;
}

static void errors_of_opening(void **state)
{
    (void)state;
    struct store_ops ops;
    below = below_store(SLOTS, false);
    assert_int_equal(compress_open(&below->store, 0, &tier), -EINVAL);
    assert_int_equal(compress_open(&below->store, 16383, &tier), -EINVAL);
    below->store.read_only = true;
    assert_int_equal(compress_open(&below->store, POOL, &tier), -EACCES);
    below->store.read_only = false;
    below->npages = 0;
    assert_int_equal(compress_open(&below->store, POOL, &tier), -EINVAL);
    below->npages = SLOTS;
    ops = *below->store.ops;
    ops.size = size_fails;
    const struct store_ops *right = below->store.ops;
    below->store.ops = &ops;
    assert_int_equal(compress_open(&below->store, POOL, &tier), -EIO);
    below->store.ops = right;
    assert_int_equal(compress_open(&below->store, (uint64_t)1 << 60, &tier), -EINVAL);
    uint32_t all = take_all_but(10);
    assert_int_equal(compress_open(&below->store, POOL, &tier), -ENOMEM);
    fl_frames_give(all);
    assert_int_equal(frames_taken(), 0);
    assert_int_equal(compress_open(&below->store, POOL, &tier), 0);
    end();
}

/* ---- threads ------------------------------------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    struct model model;
    uint32_t number;
};

/* Thread i has every fourth piece of 5 slots, so that neighbours are others'. */
static void *work(void *arg)
{
    struct worker *w = arg;
    unsigned char *bytes = aligned_alloc(VM_PAGE_SIZE, RUN * VM_PAGE_SIZE);
    require(bytes != NULL, "memory");
    for (uint32_t i = 0; i < test_budget(4000); i++) {
        uint32_t start = (model_random(&w->model, SLOTS / 5 / THREAD) * THREAD + w->number) * 5;
        model_step(&w->model, start, start + 5, bytes);
    }
    free(bytes);
    return NULL;
}

static void threads_keep_their_pages(void **state)
{
    (void)state;
    static struct worker worker[THREAD];
    for (uint32_t slow = 0; slow <= 1; slow++) {
        begin(SLOTS, POOL / 2, slow != 0);
        for (uint32_t i = 0; i < THREAD; i++) {
            worker[i] =
                (struct worker){.number = i, .model.seed = (unsigned)test_seed((uint64_t)time(NULL)) + i};
            assert_int_equal(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
        }
        for (uint32_t i = 0; i < THREAD; i++)
            pthread_join(worker[i].thread, NULL);
        assert_true(stats().writebacks > 0);
        check();
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            model_read(&worker[slot / 5 % THREAD].model, slot, 1, pages);
        end();
    }
}

/* ---- how much it holds --------------------------------------------------------------------------------- */

/* A line of a log as programs write them. */
static size_t log_line(char *line, unsigned *seed)
{
    static const char *const what[] = {"GET /index.html", "GET /images/logo.png", "POST /api/v1/orders",
                                       "GET /api/v1/orders"};
    return (size_t)sprintf(line, "10.1.%d.%d - - [28/Nov/2026:10:%02d:%02d +0000] \"%s HTTP/1.1\" %d %d\n",
                           rand_r(seed) % 256, rand_r(seed) % 256, rand_r(seed) % 60, rand_r(seed) % 60,
                           what[rand_r(seed) % 4], rand_r(seed) % 10 ? 200 : 404, rand_r(seed) % 20000);
}

static void log_page(unsigned char *page, unsigned *seed)
{
    static char text[2 * VM_PAGE_SIZE];
    static size_t len;
    while (len < VM_PAGE_SIZE)
        len += log_line(text + len, seed);
    memcpy(page, text, VM_PAGE_SIZE);
    len -= VM_PAGE_SIZE;
    memmove(text, text + VM_PAGE_SIZE, len);
}

/* Three times the limit of text lies in three quarters of it, with all that the tier needs beside. */
static void text_of_three_times_the_limit_needs_no_disk(void **state)
{
    (void)state;
    uint64_t npages = atop(3 * LIMIT);
    unsigned seed = 1;
    begin(npages, LIMIT, false);
    for (uint64_t i = 0; i < npages; i += RUN) {
        for (uint32_t j = 0; j < RUN; j++)
            log_page(pages + ptoa(j), &seed);
        assert_int_equal(store_transfer(tier, STORE_WRITE, i, RUN, pages), 0);
    }
    check();
    struct compress_stats now = stats();
    printf("%llu MiB of a log in %llu frames: %.2f to 1; pieces alone %.2f to 1\n",
           (unsigned long long)(npages >> 8), (unsigned long long)now.frames,
           (double)npages / (double)now.frames, (double)(npages * VM_PAGE_SIZE) / (double)now.bytes);
    assert_int_equal(below->transfers, 0);
    assert_true(ptoa(now.frames) <= LIMIT / 4 * 3);
    end();
}

static int setup(void **state)
{
    (void)state;
    struct fl_options options = {.memory_limit_bytes = 2 * LIMIT};
    return fl_init(&options);
}

static int teardown(void **state)
{
    (void)state;
    return fl_shutdown();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_go_where_they_belong),
        cmocka_unit_test(a_run_is_one_transfer_below),
        cmocka_unit_test(random_operations_match_a_model),
        cmocka_unit_test(the_oldest_go_below_when_it_is_full),
        cmocka_unit_test(without_frames_pages_go_through),
        cmocka_unit_test(a_full_store_below_loses_nothing),
        cmocka_unit_test(pages_change_while_they_go_below),
        cmocka_unit_test(writeback_leaves_what_a_read_will_fill),
        cmocka_unit_test(writeback_keeps_what_a_read_has_found),
        cmocka_unit_test(each_transfer_below_may_fail),
        cmocka_unit_test(errors_of_opening),
        cmocka_unit_test(threads_keep_their_pages),
        cmocka_unit_test(text_of_three_times_the_limit_needs_no_disk),
    };
    return cmocka_run_group_tests_name("compress", tests, setup, teardown);
}
