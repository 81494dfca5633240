/*
 * oracle_test.c: the oracle itself: a mistake planted in the model is found by random operations, and the
 * sequence shrinks to a few that still show it. An oracle that cannot fail proves nothing.
 */
#include "model/model.h"
#include "model/shrink.h"
#include "model/sim_oracle.h"
#include "support/boot.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define SEEDS_AT_MOST  40
#define SHRUNK_AT_MOST 6
#define OPS            200

static void setup(struct oracle *oracle, uint64_t seed, void *arg)
{
    struct sim_params params = test_params(seed);

    params.nframes = 2048;
    oracle->model = oracle->reference = model_driver_create();
    oracle->subject = sim_driver_create(&params);
    model_set_bug(oracle->model, *(const enum model_bug *)arg);
}

static void expect_found(enum model_bug bug, enum op_mix mix)
{
    struct sequence sequence = {.name = "oracle_test",
                                .setup = setup,
                                .teardown = sim_oracle_teardown,
                                .arg = &bug,
                                .seed = 1,
                                .mix = mix};
    bool found = false;
    uint64_t s;

    sequence_init(&sequence);
    for (s = 0; s < SEEDS_AT_MOST && !found; s++) {
        sequence.seed = test_seed(1) + s;
        found = !sequence_draw(&sequence, OPS, true);
    }
    assert_true(found);
    sequence_shrink(&sequence);
    assert_true(sequence.record->nops <= SHRUNK_AT_MOST);
    assert_false(sequence_run(&sequence, true));
    bug = MODEL_BUG_NONE;
    assert_true(sequence_run(&sequence, true)); /* the planted mistake caused the difference */
    sequence_fini(&sequence);
}

static void test_finds_lost_store(void **state)
{
    (void)state;
    expect_found(MODEL_BUG_LOST_STORE, OP_MIX_MAPS);
}

static void test_finds_page_that_stays(void **state)
{
    (void)state;
    expect_found(MODEL_BUG_STALE_COPY, OP_MIX_MAPS);
}

static void test_finds_wrong_errno(void **state)
{
    (void)state;
    expect_found(MODEL_BUG_WRONG_ERRNO, OP_MIX_MAPS);
}

static void test_finds_wrong_offset(void **state)
{
    (void)state;
    expect_found(MODEL_BUG_OFFSET_BY_PAGE, OP_MIX_MAPS);
}

static void test_finds_short_write(void **state)
{
    (void)state;
    expect_found(MODEL_BUG_SHORT_WRITE, OP_MIX_FILES);
}

static void test_finds_stale_tail(void **state)
{
    (void)state;
    expect_found(MODEL_BUG_STALE_TAIL, OP_MIX_FILES);
}

static void test_finds_forked_byte(void **state)
{
    (void)state;
    expect_found(MODEL_BUG_FORKED_BYTE, OP_MIX_FORKS);
}

/* What is printed can be read back, operation by operation. */
static void test_print_and_read(void **state)
{
    struct sequence sequence = {.name = "oracle_test"};
    char path[] = "/tmp/faultline-oracle-XXXXXX";
    struct driver *model = model_driver_create();
    static struct op drawn[64];
    struct prng r;
    int i, fd = mkstemp(path);
    FILE *out = fdopen(fd, "w");

    (void)state;
    assert_non_null(out);
    sequence_init(&sequence);
    prng_init(&r, 7);
    for (i = 0; i < 64; i++) {
        op_draw(&drawn[i], &r, model, (enum op_mix)(i % 4));
        sequence.record->op[i] = drawn[i];
    }
    sequence.record->nops = 64;
    sequence_print(&sequence, out);
    fclose(out);
    assert_true(sequence_read(&sequence, path));
    assert_int_equal(sequence.record->nops, 64);
    assert_memory_equal(sequence.record->op, drawn, sizeof(drawn));
    unlink(path);
    model->destroy(model);
    sequence_fini(&sequence);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_lost_store),  cmocka_unit_test(test_finds_page_that_stays),
        cmocka_unit_test(test_finds_wrong_errno), cmocka_unit_test(test_finds_wrong_offset),
        cmocka_unit_test(test_finds_short_write), cmocka_unit_test(test_finds_stale_tail),
        cmocka_unit_test(test_finds_forked_byte), cmocka_unit_test(test_print_and_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
