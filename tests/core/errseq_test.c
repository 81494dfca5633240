/*
 * errseq_test.c: an error sequence, whose cursors are each told of an error once.
 *
 * The model keeps every error ever set, whether any cursor was told of it, and how far each cursor is. A
 * cursor is told of the last error if it has not been told of it. Of two errors in a row that no cursor was
 * told of, only the second counts.
 */
#include "lib/errseq.h"
#include "lib/errno.h"
#include "support/boot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void without_an_error_no_cursor_is_told(void **state)
{
    (void)state;
    _Atomic errseq_t errseq = 0;
    errseq_t cursor = errseq_sample(&errseq);
    assert_int_equal(errseq_check_and_advance(&errseq, &cursor), 0);
    assert_int_equal(errseq_last(&errseq), 0);
}

static void each_hears_once(void **state)
{
    (void)state;
    _Atomic errseq_t errseq = 0;
    errseq_t a = errseq_sample(&errseq), b = errseq_sample(&errseq);
    errseq_set(&errseq, -EIO);
    assert_int_equal(errseq_check_and_advance(&errseq, &a), -EIO);
    assert_int_equal(errseq_check_and_advance(&errseq, &a), 0);
    assert_int_equal(errseq_check_and_advance(&errseq, &b), -EIO);
    assert_int_equal(errseq_check_and_advance(&errseq, &b), 0);
    errseq_set(&errseq, -EIO); /* the same error number, but a new error */
    assert_int_equal(errseq_check_and_advance(&errseq, &b), -EIO);
    errseq_set(&errseq, -ENOSPC);
    assert_int_equal(errseq_check_and_advance(&errseq, &a), -ENOSPC);
    assert_int_equal(errseq_check_and_advance(&errseq, &a), 0);
    assert_int_equal(errseq_last(&errseq), -ENOSPC);
}

static void an_unreported_error_waits_for_a_cursor(void **state)
{
    (void)state;
    _Atomic errseq_t errseq = 0;
    errseq_set(&errseq, -EIO);
    errseq_t late = errseq_sample(&errseq), other = errseq_sample(&errseq);
    assert_int_equal(errseq_check_and_advance(&errseq, &late), -EIO);
    errseq_t later = errseq_sample(&errseq);
    assert_int_equal(errseq_check_and_advance(&errseq, &later), 0);
    assert_int_equal(errseq_check_and_advance(&errseq, &other), -EIO);
}

static void the_older_of_two_cursors(void **state)
{
    (void)state;
    _Atomic errseq_t errseq = 0;
    errseq_t before = 0, first = 0, second = 0;
    errseq_set(&errseq, -EIO);
    assert_int_equal(errseq_check_and_advance(&errseq, &first), -EIO);
    errseq_set(&errseq, -EIO);
    assert_int_equal(errseq_check_and_advance(&errseq, &second), -EIO);
    assert_int_equal(errseq_older(before, second), before);
    assert_int_equal(errseq_older(second, before), before);
    assert_int_equal(errseq_older(first, second), first);
    assert_int_equal(errseq_older(second, first), first);
    assert_int_equal(errseq_older(first, first), first);
}

/*
 * After 2^19 errors that a cursor was told of, a cursor that was told of none is still older, and still told.
 */
static void the_counter_wraps(void **state)
{
    (void)state;
    _Atomic errseq_t errseq = 0;
    errseq_t listener = 0, sleeper = 0;
    for (uint32_t i = 0; i < (1u << 19) + 10; i++) {
        if (i == (1u << 18) + 100)
            assert_int_equal(errseq_check_and_advance(&errseq, &sleeper), -EIO);
        errseq_set(&errseq, -EIO);
        assert_int_equal(errseq_check_and_advance(&errseq, &listener), -EIO);
    }
    assert_int_equal(errseq_older(sleeper, listener), sleeper);
    assert_int_equal(errseq_check_and_advance(&errseq, &sleeper), -EIO);
    assert_int_equal(errseq_check_and_advance(&errseq, &sleeper), 0);
}

/* ---- against a model ----------------------------------------------------------------------------------- */

#define CURSORS 12

struct model {
    uint64_t count; /* errors; those that no cursor can tell apart count as one */
    int last;
    bool told;               /* whether any cursor was told of the last error */
    uint64_t heard[CURSORS]; /* how many of them */
};

static void model_set(struct model *model, int error)
{
    if (model->count == 0 || model->told)
        model->count++;
    model->last = error;
    model->told = false;
}

static int model_check(struct model *model, uint32_t i)
{
    if (model->heard[i] == model->count)
        return 0;
    model->heard[i] = model->count;
    model->told = true;
    return model->last;
}

/* A new cursor: it counts as told of every error that any cursor was told of. 0: told of none. */
static void model_sample(struct model *model, uint32_t i)
{
    model->heard[i] = model->told ? model->count : 0;
}

static void many_cursors_and_random_errors(void **state)
{
    (void)state;
    static const int errors[] = {-EIO, -ENOSPC, -ENOMEM, -4095, -1};
    struct prng prng;
    prng_init(&prng, test_seed(1));
    for (uint64_t round = 0; round < test_rounds(200); round++) {
        struct model model = {.count = 0};
        _Atomic errseq_t errseq = 0;
        errseq_t cursor[CURSORS] = {0};
        for (uint32_t step = 0; step < 300; step++) {
            uint32_t i = (uint32_t)prng_below(&prng, CURSORS);
            if (prng_chance(&prng, 300)) {
                int error = errors[prng_below(&prng, 5)];
                errseq_set(&errseq, error);
                model_set(&model, error);
            } else if (prng_chance(&prng, 200)) {
                cursor[i] = errseq_sample(&errseq);
                model_sample(&model, i);
            } else {
                assert_int_equal(errseq_check_and_advance(&errseq, &cursor[i]), model_check(&model, i));
            }
            uint32_t j = (uint32_t)prng_below(&prng, CURSORS);
            errseq_t older = model.heard[i] <= model.heard[j] ? cursor[i] : cursor[j];
            assert_int_equal(errseq_older(cursor[i], cursor[j]), older);
            assert_int_equal(errseq_last(&errseq), model.last);
        }
    }
}

static void set_a_bad_one(void *arg)
{
    _Atomic errseq_t errseq = 0;
    errseq_set(&errseq, *(int *)arg);
}

static void an_error_is_negative_and_small(void **state)
{
    (void)state;
    int bad[] = {0, 5, -4096};
    for (uint32_t i = 0; i < 3; i++)
        assert_true(test_panics(set_a_bad_one, &bad[i], "ES1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_error_no_cursor_is_told),
        cmocka_unit_test(each_hears_once),
        cmocka_unit_test(an_unreported_error_waits_for_a_cursor),
        cmocka_unit_test(the_older_of_two_cursors),
        cmocka_unit_test(the_counter_wraps),
        cmocka_unit_test(many_cursors_and_random_errors),
        cmocka_unit_test(an_error_is_negative_and_small),
    };
    return cmocka_run_group_tests_name("errseq", tests, NULL, NULL);
}
