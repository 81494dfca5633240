/*
 * blist_test.c: the free map of slots against a plain array of bytes, which is searched from its beginning.
 *
 * The model says which slot a next-fit allocation takes, not only whether there is one, so every answer is
 * compared exactly: in all short sequences over a few slots, for every pattern of free slots around a word's
 * and a node's end, and in long random sequences over many sizes.
 */
#include "lib/blist.h"
#include "support/boot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct model {
    struct blist *bl;
    uint8_t *is_free; /* nslots_max of them */
    uint64_t nslots, nslots_max, navail, cursor;
};

static void model_init(struct model *model, uint64_t nslots_max)
{
    void *memory = calloc(1, blist_bytes(nslots_max));
    assert_non_null(memory);
    *model = (struct model){.bl = blist_init(memory, nslots_max), .nslots_max = nslots_max};
    model->is_free = calloc(1, nslots_max + 1);
    assert_non_null(model->is_free);
}

static void model_fini(struct model *model)
{
    free(model->bl);
    free(model->is_free);
}

static bool model_all(const struct model *model, uint64_t slot, uint64_t count, bool is_free)
{
    for (uint64_t i = slot; i < slot + count; i++)
        if (model->is_free[i] != is_free)
            return false;
    return true;
}

/* The first run that begins in [start, end), or BLIST_NONE. */
static uint64_t model_find(const struct model *model, uint64_t start, uint64_t end, uint32_t count)
{
    while (start < end) {
        const uint8_t *next = memchr(model->is_free + start, true, end - start);
        if (next == NULL)
            break;
        uint64_t slot = (uint64_t)(next - model->is_free);
        if (slot + count <= model->nslots && model_all(model, slot, count, true))
            return slot;
        start = slot + 1;
    }
    return BLIST_NONE;
}

static void model_set(struct model *model, uint64_t slot, uint64_t count, bool is_free)
{
    memset(model->is_free + slot, is_free, count);
    model->navail += is_free ? count : -count;
}

static uint64_t both_alloc(struct model *model, uint32_t count)
{
    uint64_t slot = model_find(model, model->cursor, model->nslots, count);
    if (slot == BLIST_NONE)
        slot = model_find(model, 0, model->cursor, count);
    assert_int_equal(blist_alloc(model->bl, count), slot);
    if (slot != BLIST_NONE) {
        model_set(model, slot, count, false);
        model->cursor = slot + count;
    }
    assert_int_equal(blist_avail(model->bl), model->navail);
    return slot;
}

static void both_free(struct model *model, uint64_t slot, uint32_t count)
{
    blist_free(model->bl, slot, count);
    model_set(model, slot, count, true);
    assert_int_equal(blist_avail(model->bl), model->navail);
}

static void both_grow(struct model *model, uint64_t nslots)
{
    blist_grow(model->bl, nslots);
    model_set(model, model->nslots, nslots - model->nslots, true);
    model->nslots = nslots;
    assert_int_equal(blist_avail(model->bl), model->navail);
}

/* ---- exhaustively -------------------------------------------------------------------------------------- */

#define FEW 5 /* slots */
#define OPS (FEW + FEW * (FEW + 1) / 2 + 1)

/* Operation `op` of OPS: an allocation of op + 1 slots, the free of one of the runs, or growth by a slot.
 * False: it is not allowed now. */
static bool few_op(struct model *model, uint32_t op)
{
    if (op < FEW) {
        (void)both_alloc(model, op + 1);
        return true;
    }
    op -= FEW;
    for (uint32_t count = 1; count <= FEW; count++)
        for (uint32_t slot = 0; slot + count <= FEW; slot++)
            if (op-- == 0) {
                bool allowed = slot + count <= model->nslots && model_all(model, slot, count, false);
                if (allowed)
                    both_free(model, slot, count);
                return allowed;
            }
    if (model->nslots == FEW)
        return false;
    both_grow(model, model->nslots + 1);
    return true;
}

/* Every sequence of 5 operations, in a space that begins with 3 slots and may grow to 5. */
static void all_short_sequences(void **state)
{
    (void)state;
    uint32_t nsequences = 1, depth = 5;
    for (uint32_t i = 0; i < depth; i++)
        nsequences *= OPS;
    struct model model;
    model_init(&model, FEW);
    size_t bytes = blist_bytes(FEW);
    for (uint32_t sequence = 0; sequence < nsequences; sequence++) {
        memset(model.bl, 0, bytes);
        memset(model.is_free, 0, FEW);
        model = (struct model){blist_init(model.bl, FEW), model.is_free, .nslots_max = FEW};
        both_grow(&model, FEW - 2);
        bool allowed = true;
        for (uint32_t i = 0, ops = sequence; i < depth && allowed; i++, ops /= OPS)
            allowed = few_op(&model, ops % OPS);
        if (allowed)
            blist_check(model.bl);
    }
    model_fini(&model);
}

#define WINDOW 8 /* slots */

/* All slots are in use. Frees those of the pattern, from `at` on, and puts the cursor on `cursor`. */
static void window_set(struct model *model, uint64_t at, uint32_t pattern, uint64_t cursor)
{
    both_free(model, cursor - 1, 1);
    assert_int_equal(both_alloc(model, 1), cursor - 1);
    for (uint32_t i = 0; i < WINDOW; i++)
        if (pattern >> i & 1)
            both_free(model, at + i, 1);
}

/* Every pattern of free slots in a window, every length of a run, cursors before, in and behind it. */
static void all_patterns_at(struct model *model, uint64_t at)
{
    for (uint32_t pattern = 0; pattern < 1u << WINDOW; pattern++)
        for (uint32_t count = 1; count <= WINDOW; count++)
            for (uint64_t cursor = at; cursor <= at + WINDOW; cursor += 1 + (count & 1)) {
                window_set(model, at, pattern, cursor);
                (void)both_alloc(model, count);
                while (model->navail > 0) /* all in use again */
                    (void)both_alloc(model, 1);
            }
}

static void all_patterns_at_borders(void **state)
{
    (void)state;
    /* In a word; at a word's end; at the end of a node of level 1 (16 words), and of level 2 (256 words). */
    static const uint64_t border[] = {32, 64, 1024, 16384};
    for (uint32_t i = 0; i < sizeof border / sizeof *border; i++) {
        struct model model;
        model_init(&model, border[i] + WINDOW);
        both_grow(&model, border[i] + WINDOW);
        for (uint32_t count = 32; count >= 1; count /= 2)
            while (both_alloc(&model, count) != BLIST_NONE)
                ;
        all_patterns_at(&model, border[i] - WINDOW / 2); /* not the last slots */
        all_patterns_at(&model, border[i]);              /* the last slots */
        blist_check(model.bl);
        model_fini(&model);
    }
}

/* ---- at random ----------------------------------------------------------------------------------------- */

/* Frees a run of at most 40 slots that are in use, if there is one where the dice fall. */
static void random_free(struct model *model, struct prng *prng)
{
    uint64_t slot = prng_below(prng, model->nslots);
    uint32_t count = 0, most = (uint32_t)prng_range(prng, 1, 40);
    while (count < most && slot + count < model->nslots && !model->is_free[slot + count])
        count++;
    if (count > 0)
        both_free(model, slot, count);
}

static void random_space(struct prng *prng, uint64_t nslots_max, uint64_t nsteps)
{
    struct model model;
    model_init(&model, nslots_max);
    both_grow(&model, prng_range(prng, 1, nslots_max));
    uint32_t full = (uint32_t)prng_range(prng, 300, 700); /* how full it gets */
    for (uint64_t step = 0; step < nsteps; step++) {
        if (prng_chance(prng, 2))
            both_grow(&model, prng_range(prng, model.nslots, model.nslots_max));
        else if (prng_chance(prng, full))
            (void)both_alloc(&model, (uint32_t)prng_range(prng, 1, prng_chance(prng, 500) ? 32 : 4));
        else
            random_free(&model, prng);
        if (step % 64 == 0)
            blist_check(model.bl);
    }
    model_fini(&model);
}

static void random_operations(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(7));
    for (uint64_t round = 0; round < test_rounds(200); round++) {
        static const uint64_t most[] = {80, 300, 2500, 6000};
        random_space(&prng, prng_range(&prng, 1, most[round % 4]), 1500);
    }
}

/* Allocations that follow each other are neighbours, also after something before them was freed. */
static void successive_runs_are_neighbours(void **state)
{
    (void)state;
    struct model model;
    model_init(&model, 1000);
    both_grow(&model, 1000);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(both_alloc(&model, 8), i * 8);
    both_free(&model, 8, 16);
    assert_int_equal(both_alloc(&model, 8), 80);
    assert_int_equal(both_alloc(&model, 3), 88);
    model_fini(&model);
}

/* ---- cost ---------------------------------------------------------------------------------------------- */

static unsigned levels(uint64_t nslots)
{
    unsigned n = 1;
    for (uint64_t nodes = (nslots + 63) / 64; nodes > 1; nodes = (nodes + 15) / 16)
        n++;
    return n;
}

/* The most nodes that one allocation looks at when the only free run is anywhere in a space of nslots. */
static uint64_t most_visits(struct prng *prng, uint64_t nslots)
{
    void *memory = calloc(1, blist_bytes(nslots));
    assert_non_null(memory);
    struct blist *bl = blist_init(memory, nslots);
    uint64_t most = 0;
    blist_grow(bl, nslots);
    while (blist_alloc(bl, 32) != BLIST_NONE)
        ;
    assert_int_equal(blist_avail(bl), 0);
    for (uint32_t i = 0; i < 2000; i++) {
        uint32_t count = (uint32_t)prng_range(prng, 1, 31);
        uint64_t slot = prng_below(prng, nslots - count);
        blist_free(bl, slot, count);
        for (uint32_t more = 0; more <= 1; more++) { /* one too many: there is none */
            uint64_t before = blist_visits(bl);
            assert_int_equal(blist_alloc(bl, count + 1 - more), more ? slot : BLIST_NONE);
            uint64_t visits = blist_visits(bl) - before;
            most = visits > most ? visits : most;
        }
    }
    free(memory);
    return most;
}

/* 16 nodes up and 16 down at each level, behind the cursor and from slot 0 on, and one part of a word. */
static void an_allocation_visits_few_nodes(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(8));
    for (uint64_t nslots = 1 << 10; nslots <= 1 << 22; nslots <<= 4) {
        uint64_t most = most_visits(&prng, nslots);
        assert_in_range(most, 1, 4 * 16 * levels(nslots) + 1);
    }
}

/* ---- mistakes ------------------------------------------------------------------------------------------ */

static struct blist *small_space(void)
{
    static uint64_t memory[200];
    assert_true(blist_bytes(200) <= sizeof memory);
    struct blist *bl = blist_init(memory, 200);
    blist_grow(bl, 150);
    return bl;
}

static void free_twice(void *arg)
{
    (void)arg;
    struct blist *bl = small_space();
    uint64_t slot = blist_alloc(bl, 8);
    blist_free(bl, slot, 8);
    blist_free(bl, slot + 7, 1);
}

static void free_behind_the_end(void *arg)
{
    (void)arg;
    blist_free(small_space(), 150, 1);
}

static void shrink(void *arg)
{
    (void)arg;
    blist_grow(small_space(), 149);
}

static void grow_too_far(void *arg)
{
    (void)arg;
    blist_grow(small_space(), 201);
}

static void alloc_too_many(void *arg)
{
    (void)arg;
    assert_int_equal(blist_alloc(small_space(), 33), 0);
}

static void mistakes_panic(void **state)
{
    (void)state;
    assert_true(test_panics(free_twice, NULL, "BL1"));
    assert_true(test_panics(free_behind_the_end, NULL, "BL1"));
    assert_true(test_panics(shrink, NULL, "BL4"));
    assert_true(test_panics(grow_too_far, NULL, "BL4"));
    assert_true(test_panics(alloc_too_many, NULL, "BL5"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_short_sequences),
        cmocka_unit_test(all_patterns_at_borders),
        cmocka_unit_test(random_operations),
        cmocka_unit_test(successive_runs_are_neighbours),
        cmocka_unit_test(an_allocation_visits_few_nodes),
        cmocka_unit_test(mistakes_panic),
    };
    return cmocka_run_group_tests_name("blist", tests, NULL, NULL);
}
