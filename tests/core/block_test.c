/*
 * block_test.c: random bios through plugs, beside an array of bytes and a naive model of how they merge.
 *
 *   bios of one round:  extents of a file, none of which overlap ─▶ in any order ─▶ plug ─▶ shelf store
 *
 * The shelf is a store in memory that notes every request it gets, has bad bytes, and ends a transfer within
 * submit, in wait, or by a fiber some time later.
 */
#include "file/block.h"
#include "lib/errno.h"
#include "support/boot.h"
#include "vm/vm_meter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLOCK      512
#define FILE_PAGES 600
#define NBIOS      60 /* fit into a plug */
#define NOTES      256

/* ---- the shelf ----------------------------------------------------------------------------------------- */

enum shelf_when {
    SHELF_IN_SUBMIT,
    SHELF_IN_WAIT,
    SHELF_LATER,
    SHELF_WHENS,
};

struct note {
    enum store_op op;
    uint64_t offset, len_bytes;
    unsigned flags;
};

struct shelf {
    struct store store;
    enum shelf_when when;
    uint8_t bytes[FILE_PAGES * VM_PAGE_SIZE];
    uint64_t bad_start, bad_end;
    struct store_request *pending[NOTES]; /* SHELF_IN_WAIT, SHELF_LATER */
    struct note note[NOTES];
    uint32_t nnotes, batches;
    bool stop;
};

static struct shelf shelf[2];
static struct prng prng;

static void shelf_transfer(struct shelf *s, struct store_request *request)
{
    bool bad = request->offset < s->bad_end && s->bad_start < request->offset + request->len_bytes;
    for (uint32_t i = 0; i < request->npages; i++) {
        size_t start, n = store_request_piece(request, i, &start);
        uint8_t *memory = (uint8_t *)request->addr[i] + start;
        uint8_t *file = s->bytes + trunc_page(request->offset) + ptoa(i) + start;
        if (bad && request->op == STORE_READ)
            memset(memory, 0xee, n);
        else if (!bad)
            memcpy(request->op == STORE_READ ? memory : file, request->op == STORE_READ ? file : memory, n);
    }
    request->done(request, bad ? -EIO : 0);
}

static void shelf_submit(struct store *store, struct store_request *request)
{
    struct shelf *s = (struct shelf *)store;
    uint32_t i = 0;
    assert_true(s->nnotes < NOTES);
    s->note[s->nnotes++] = (struct note){request->op, request->offset, request->len_bytes, request->flags};
    sim_yield();
    if (s->when == SHELF_IN_SUBMIT) {
        shelf_transfer(s, request);
        sim_yield();
        return;
    }
    while (s->pending[i] != NULL)
        assert_true(++i < NOTES);
    s->pending[i] = request;
}

static void shelf_submit_batch(struct store *store, struct store_request **request, uint32_t n)
{
    assert_true(n > 1);
    ((struct shelf *)store)->batches++;
    for (uint32_t i = 0; i < n; i++)
        shelf_submit(store, request[i]);
}

static bool shelf_take(struct shelf *s, uint32_t i)
{
    struct store_request *request = s->pending[i];
    s->pending[i] = NULL;
    if (request != NULL)
        shelf_transfer(s, request);
    return request != NULL;
}

static void shelf_wait(struct store *store, struct store_request *request)
{
    struct shelf *s = (struct shelf *)store;
    for (uint32_t i = 0; i < NOTES; i++) {
        while (s->pending[i] == request && s->when == SHELF_LATER)
            sim_sleep_ns(1000);
        if (s->pending[i] == request)
            (void)shelf_take(s, i);
    }
}

static void shelf_fiber(void *arg)
{
    struct shelf *s = arg;
    bool any = true;
    while (any || !s->stop) {
        any = false;
        for (uint32_t k = 0; k < NOTES; k++)
            any = shelf_take(s, (uint32_t)prng_below(&prng, NOTES)) || any;
        for (uint32_t i = 0; i < NOTES; i++)
            any = any || s->pending[i] != NULL;
        sim_sleep_ns(500);
    }
}

static const struct store_ops shelf_ops = {
    .name = "shelf",
    .submit = shelf_submit,
    .submit_batch = shelf_submit_batch,
    .wait = shelf_wait,
};
static const struct store_ops shelf_plain_ops = {
    .name = "shelf, no batches",
    .submit = shelf_submit,
    .wait = shelf_wait,
};

/* ---- bios ---------------------------------------------------------------------------------------------- */

/* A bio with its memory: whole pages, also the bytes that it does not transfer. */
struct io {
    struct bio bio;
    uint32_t ended, begun;
    int error;
    void *addr[MACHINE_RUN_MAX];
};

static struct io io[NBIOS];
static uint32_t nios;
/*
 * The memory of page p of the file on shelf s, twice: two bios that share
 * a page of the file need different memory.
 */
static uint8_t memory[2][2][FILE_PAGES][VM_PAGE_SIZE], before[2][2][FILE_PAGES][VM_PAGE_SIZE];
static uint8_t model[2][FILE_PAGES * VM_PAGE_SIZE];

static void io_end(struct bio *bio, int error)
{
    struct io *i = (struct io *)bio;
    i->ended++;
    i->error = error;
}

static void io_started(struct bio *bio)
{
    ((struct io *)bio)->begun++;
}

static void io_make(uint32_t which, enum store_op op, uint64_t offset, uint64_t len_bytes, uint32_t copy)
{
    struct io *i = &io[nios++];
    vm_pindex_t first = atop(offset);
    *i = (struct io){.bio = {.store = &shelf[which].store,
                             .op = op,
                             .offset = offset,
                             .len_bytes = len_bytes,
                             .npages = (uint32_t)(atop(offset + len_bytes - 1) - first + 1),
                             .addr = i->addr,
                             .end_io = io_end,
                             .started = io_started}};
    for (uint32_t p = 0; p < i->bio.npages; p++)
        i->addr[p] = memory[which][copy][first + p];
}

/* Extents of one shelf's file, long and short, that mostly touch. */
static void ios_make(uint32_t which, uint32_t max)
{
    uint64_t block = prng_below(&prng, 8), len;
    for (uint32_t n = 0; n < max; n++) {
        if (prng_chance(&prng, 250))
            block += prng_below(&prng, 12);
        if (prng_chance(&prng, 600))
            block = (block + 7) / 8 * 8; /* whole pages are the rule */
        len = prng_chance(&prng, 600) ? 8 * prng_range(&prng, 1, prng_chance(&prng, 50) ? 200 : 8)
                                      : prng_range(&prng, 1, 20);
        if ((block + len) * BLOCK > sizeof shelf[0].bytes)
            return;
        io_make(which, prng_chance(&prng, 300) ? STORE_WRITE : STORE_READ, block * BLOCK, len * BLOCK,
                prng_chance(&prng, 200));
        block += len;
    }
}

static bool io_is_bad(const struct io *i)
{
    const struct shelf *s = (struct shelf *)i->bio.store;
    return i->bio.offset < s->bad_end && s->bad_start < i->bio.offset + i->bio.len_bytes;
}

/* ---- the model ----------------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const struct io *x = *(struct io *const *)a, *y = *(struct io *const *)b;
    if (x->bio.op != y->bio.op)
        return x->bio.op < y->bio.op ? -1 : 1;
    return x->bio.offset < y->bio.offset ? -1 : 1;
}

/* The memory that the page in which they meet must have if one request is to serve both. */
static bool model_joins(const struct io *a, const struct io *b, uint64_t start)
{
    uint64_t at = a->bio.offset + a->bio.len_bytes, end = b->bio.offset + b->bio.len_bytes;
    if (a->bio.op != b->bio.op || at != b->bio.offset)
        return false;
    if (at % VM_PAGE_SIZE != 0 && a->addr[a->bio.npages - 1] != b->addr[0])
        return false;
    return atop(end - 1) - atop(start) < MACHINE_RUN_MAX;
}

/* The requests that shelf `which` must get, in order. */
static uint32_t model_requests(uint32_t which, struct note *note)
{
    struct io *sorted[NBIOS];
    uint32_t n = 0, count = 0;
    for (uint32_t i = 0; i < nios; i++)
        if (io[i].bio.store == &shelf[which].store)
            sorted[n++] = &io[i];
    qsort(sorted, n, sizeof sorted[0], by_place);
    for (uint32_t i = 0; i < n; i++) {
        const struct bio *bio = &sorted[i]->bio;
        if (count > 0 && model_joins(sorted[i - 1], sorted[i], note[count - 1].offset))
            note[count - 1].len_bytes += bio->len_bytes;
        else
            note[count++] = (struct note){bio->op, bio->offset, bio->len_bytes, 0};
    }
    return count;
}

/* Where in the file and in memory byte `at` of the bio is. */
static void model_check(void)
{
    for (uint32_t i = 0; i < nios; i++) {
        const struct bio *bio = &io[i].bio;
        uint32_t which = bio->store == &shelf[1].store;
        assert_int_equal(io[i].ended, 1);
        assert_int_equal(io[i].begun, 1);
        assert_int_equal(io[i].error, io_is_bad(&io[i]) ? -EIO : 0);
        for (uint64_t at = bio->offset; at < bio->offset + bio->len_bytes; at += BLOCK) {
            uint8_t *bytes = (uint8_t *)io[i].addr[atop(at) - atop(bio->offset)] + at % VM_PAGE_SIZE;
            bool same = memcmp(bytes, model[which] + at, BLOCK) == 0;
            if (bio->op == STORE_READ)
                assert_int_equal(same, !io_is_bad(&io[i]));
            if (bio->op == STORE_WRITE && !io_is_bad(&io[i]))
                memcpy(model[which] + at, bytes, BLOCK);
            if (bio->op == STORE_READ) /* what is left of `before` was in no bio */
                memcpy((uint8_t *)before + (bytes - (uint8_t *)memory), bytes, BLOCK);
        }
    }
    assert_memory_equal(memory, before, sizeof memory);
    for (uint32_t which = 0; which < 2; which++)
        assert_memory_equal(shelf[which].bytes, model[which], sizeof model[which]);
}

/* ---- rounds -------------------------------------------------------------------------------------------- */

static void fill(void *bytes, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i += 8) {
        uint64_t word = prng_next(&prng);
        memcpy((uint8_t *)bytes + i, &word, 8);
    }
}

static void shelf_begin(struct shelf *s, enum shelf_when when)
{
    memset(s->pending, 0, sizeof s->pending);
    s->store.ops = prng_chance(&prng, 700) ? &shelf_ops : &shelf_plain_ops;
    s->store.block_bytes = BLOCK;
    s->when = when;
    s->nnotes = s->batches = 0;
    s->stop = false;
    s->bad_start = s->bad_end = 0;
    if (when == SHELF_LATER)
        sim_run("shelf", shelf_fiber, s);
}

static void io_waiter(void *arg)
{
    struct io *i = arg;
    bio_wait(&i->bio);
    while (i->ended == 0)
        sim_sleep_ns(1000);
}

/* Bios go into plugs in any order, and several fibers wait for each. */
static void ios_run(uint32_t waiters)
{
    struct blk_plug plug;
    struct io *order[NBIOS];
    blk_start_plug(&plug);
    for (uint32_t i = 0; i < nios; i++) {
        uint32_t at = (uint32_t)prng_below(&prng, i + 1);
        order[i] = order[at];
        order[at] = &io[i];
    }
    for (uint32_t i = 0; i < nios; i++)
        submit_bio(&order[i]->bio, &plug);
    for (uint32_t i = 0; i < nios; i++)
        assert_true(order[i]->ended == 0 && order[i]->begun == 0);
    blk_finish_plug(&plug);
    assert_int_equal(plug.count, 0);
    for (uint32_t i = 0; i < nios; i++)
        for (uint32_t k = 0; k < waiters && i < 20; k++)
            sim_run("waits", io_waiter, order[i]);
    for (uint32_t i = 0; i < nios; i++)
        io_waiter(order[i]);
    shelf[0].stop = shelf[1].stop = true;
    sim_join_all();
}

static void notes_check(void)
{
    uint64_t total = 0;
    for (uint32_t which = 0; which < 2; which++) {
        struct note want[NBIOS];
        uint32_t n = model_requests(which, want);
        struct shelf *s = &shelf[which];
        total += n;
        assert_int_equal(s->nnotes, n);
        assert_int_equal(s->batches, n > 1 && s->store.ops == &shelf_ops);
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(s->note[i].op, want[i].op);
            assert_int_equal(s->note[i].offset, want[i].offset);
            assert_int_equal(s->note[i].len_bytes, want[i].len_bytes);
        }
    }
    assert_int_equal(vm_counted(&vm_cnt.requests), total);
    assert_int_equal(vm_counted(&vm_cnt.merges), nios - total);
}

static void round_begin(uint64_t seed)
{
    struct sim_params params = test_params(seed);
    prng_init(&prng, seed);
    params.torture.preempt_permille = (uint32_t)prng_below(&prng, 3) * 200;
    test_boot(&params);
    nios = 0;
    for (uint32_t which = 0; which < 2; which++)
        shelf_begin(&shelf[which], (enum shelf_when)prng_below(&prng, SHELF_WHENS));
}

static void random_bios(void **state)
{
    (void)state;
    uint64_t seed = test_seed(1);
    for (uint32_t which = 0; which < 2; which++) {
        fill(shelf[which].bytes, sizeof shelf[which].bytes);
        memcpy(model[which], shelf[which].bytes, sizeof model[which]);
    }
    for (uint64_t round = 0; round < test_rounds(150); round++) {
        round_begin(seed + round);
        fill(memory, sizeof memory);
        memcpy(before, memory, sizeof memory);
        uint32_t both = (uint32_t)prng_below(&prng, NBIOS);
        ios_make(0, NBIOS - both);
        ios_make(1, both);
        if (round % 3 == 1) {
            shelf[0].bad_start = prng_below(&prng, ptoa(100));
            shelf[0].bad_end = shelf[0].bad_start + prng_range(&prng, 1, 2 * BLOCK);
        }
        if (round % 3 == 2)
            sim_torture()->fail_alloc_permille = 500;
        ios_run((uint32_t)prng_below(&prng, 3));
        model_check();
        if (round % 3 == 0)
            notes_check();
        sim_torture()->fail_alloc_permille = 0;
        sim_shutdown();
    }
}

/* Each of 16 adjacent bios is bad once: only it gets the error, and the 15 others get their bytes. */
static void an_error_is_its_own_bios(void **state)
{
    (void)state;
    for (uint32_t bad = 0; bad < 16; bad++) {
        round_begin(bad);
        fill(memory[0][0], 16 * sizeof memory[0][0][0]);
        shelf[0].bad_start = ptoa(bad) + 17;
        shelf[0].bad_end = shelf[0].bad_start + 1;
        for (uint32_t i = 0; i < 16; i++)
            io_make(0, bad % 2 ? STORE_WRITE : STORE_READ, ptoa(i), VM_PAGE_SIZE, 0);
        ios_run(2);
        for (uint32_t i = 0; i < 16; i++) {
            assert_int_equal(io[i].error, i == bad ? -EIO : 0);
            assert_int_equal(memcmp(memory[0][0][i], shelf[0].bytes + ptoa(i), VM_PAGE_SIZE) == 0, i != bad);
        }
        assert_int_equal(shelf[0].nnotes, 17);
        sim_shutdown();
    }
}

/* At 64 bios and more the plug flushes itself, and nothing is left in it. */
static void a_full_plug_finishes(void **state)
{
    (void)state;
    static struct io many[100];
    struct blk_plug plug;
    round_begin(3);
    blk_start_plug(&plug);
    for (uint32_t i = 0; i < 100; i++) {
        nios = 0;
        io_make(0, STORE_READ, ptoa(3 * i), VM_PAGE_SIZE, 0);
        many[i] = io[0];
        many[i].bio.addr = many[i].addr;
        submit_bio(&many[i].bio, &plug);
        assert_int_equal(many[0].begun, i >= 64);
    }
    blk_finish_plug(&plug);
    for (uint32_t i = 0; i < 100; i++) {
        io_waiter(&many[i]);
        assert_int_equal(many[i].begun, 1);
    }
    shelf[0].stop = shelf[1].stop = true;
    sim_join_all();
    assert_int_equal(shelf[0].nnotes, 100);
    sim_shutdown();
}

/* A caller that waits at once may have the work done in submit, unless there is other work to start. */
static void waiting_is_said_of_one_request_only(void **state)
{
    (void)state;
    struct blk_plug plug;
    for (uint32_t apart = 0; apart < 2; apart++) {
        round_begin(4);
        io_make(0, STORE_READ, 0, VM_PAGE_SIZE, 0);
        io_make(0, STORE_READ, ptoa(1 + apart), VM_PAGE_SIZE, 0);
        io[1].bio.wait = true;
        blk_start_plug(&plug);
        submit_bio(&io[0].bio, &plug);
        submit_bio(&io[1].bio, &plug);
        blk_finish_plug(&plug);
        io_waiter(&io[0]);
        io_waiter(&io[1]);
        shelf[0].stop = shelf[1].stop = true;
        sim_join_all();
        assert_int_equal(shelf[0].nnotes, 1 + apart);
        for (uint32_t i = 0; i <= apart; i++)
            assert_int_equal(shelf[0].note[i].flags, apart ? 0 : STORE_REQUEST_WAIT);
        sim_shutdown();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_bios),
        cmocka_unit_test(an_error_is_its_own_bios),
        cmocka_unit_test(a_full_plug_finishes),
        cmocka_unit_test(waiting_is_said_of_one_request_only),
    };
    return cmocka_run_group_tests_name("block", tests, NULL, NULL);
}
