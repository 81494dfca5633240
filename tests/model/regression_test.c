/*
 * regression_test.c: sequences that the oracle found and shrunk. Each was
 * once a difference between the core and the model.
 */
#include "model/model.h"
#include "model/sequence.h"
#include "model/sim_oracle.h"
#include "support/boot.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void setup(struct oracle *oracle, uint64_t seed, void *arg)
{
    struct sim_params params = test_params(seed);

    (void)arg;
    oracle->model = oracle->reference = model_driver_create();
    oracle->subject = sim_driver_create(&params);
}

/* Runs the operations, which must show no difference. */
static void run(const struct op *op, uint32_t nops)
{
    struct sequence sequence = {
        .name = "regression_test", .setup = setup, .teardown = sim_oracle_teardown, .seed = test_seed(1)};

    sequence_init(&sequence);
    memcpy(sequence.record->op, op, nops * sizeof(*op));
    sequence.record->nops = nops;
    if (!sequence_run(&sequence, false)) {
        sequence_print(&sequence, stderr);
        fail();
    }
    sequence_fini(&sequence);
}
#define RUN(...)                                                                                             \
    do {                                                                                                     \
        const struct op ops_[] = {__VA_ARGS__};                                                              \
        run(ops_, sizeof(ops_) / sizeof(ops_[0]));                                                           \
    } while (0)

#define PAGE DRIVER_PAGE
#define RW   (VM_PROT_READ | VM_PROT_WRITE)

/* Bytes that were stored beyond the end of the file were in the file when it grew. */
static void test_store_behind_end_then_grow(void **state)
{
    (void)state;
    RUN({OP_MMAP, .addr = DRIVER_ANY, .len = 4 * PAGE, .prot = RW, .flags = FL_MAP_SHARED, .handle = 0},
        {OP_SET_SIZE, .handle = 0, .len = 3 * PAGE + 100},
        {OP_STORE, .addr = DRIVER_WINDOW_BYTES - PAGE, .len = 4000, .value = 1},
        {OP_SET_SIZE, .handle = 0, .len = 8 * PAGE},
        {OP_LOAD, .addr = DRIVER_WINDOW_BYTES - PAGE, .len = PAGE});
}

/* The same, but the page was written back in between, and read again. */
static void test_store_behind_end_then_sync_and_grow(void **state)
{
    (void)state;
    RUN({OP_MMAP, .addr = DRIVER_ANY, .len = 4 * PAGE, .prot = RW, .flags = FL_MAP_SHARED, .handle = 0},
        {OP_SET_SIZE, .handle = 0, .len = 3 * PAGE + 100},
        {OP_STORE, .addr = DRIVER_WINDOW_BYTES - PAGE, .len = 4000, .value = 1},
        {OP_MSYNC, .addr = DRIVER_WINDOW_BYTES - 4 * PAGE, .len = 4 * PAGE, .flags = FL_MS_SYNC},
        {OP_SET_SIZE, .handle = 0, .len = 8 * PAGE},
        {OP_LOAD, .addr = DRIVER_WINDOW_BYTES - PAGE, .len = PAGE});
}

/* mlock of locked pages returned 0, although they could not be accessed any more. */
static void test_mlock_of_locked_unreachable(void **state)
{
    (void)state;
    RUN({OP_MMAP, .addr = DRIVER_ANY, .len = 2 * PAGE, .prot = RW, .flags = FL_MAP_SHARED | FL_MAP_LOCKED,
         .handle = 0},
        {OP_MPROTECT, .addr = DRIVER_WINDOW_BYTES - 2 * PAGE, .len = PAGE, .prot = VM_PROT_NONE},
        {OP_MLOCK, .addr = DRIVER_WINDOW_BYTES - 2 * PAGE, .len = PAGE});
}

/* MADV_POPULATE_READ of a write-only mapping read it. */
static void test_populate_read_of_write_only(void **state)
{
    (void)state;
    RUN({OP_MMAP, .addr = DRIVER_ANY, .len = 2 * PAGE, .prot = VM_PROT_WRITE, .flags = FL_MAP_SHARED,
         .handle = 0},
        {OP_MADVISE, .addr = DRIVER_WINDOW_BYTES - 2 * PAGE, .len = PAGE, .flags = FL_MADV_POPULATE_READ});
}

/* mremap to a place that overlaps its source, which is not mapped: it returned the second error. */
static void test_mremap_onto_itself_unmapped(void **state)
{
    (void)state;
    RUN({OP_MREMAP, .addr = 8 * PAGE, .addr2 = 7 * PAGE, .len2 = 6 * PAGE,
         .flags = FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED});
}

/* MADV_REMOVE of private anonymous memory returned one error before the first touch and another after it. */
static void test_remove_from_touched_anonymous(void **state)
{
    (void)state;
    RUN({OP_MMAP, .addr = DRIVER_ANY, .len = 2 * PAGE, .prot = RW, .flags = FL_MAP_PRIVATE | FL_MAP_ANONYMOUS,
         .handle = -1},
        {OP_STORE, .addr = DRIVER_WINDOW_BYTES - PAGE, .len = 9, .value = 1},
        {OP_MADVISE, .addr = DRIVER_WINDOW_BYTES - PAGE, .len = PAGE, .flags = FL_MADV_REMOVE});
}

/* … and asked whether the mapping is writable, not whether it may become so. */
static void test_remove_through_read_only_mapping(void **state)
{
    (void)state;
    RUN({OP_MMAP, .addr = DRIVER_ANY, .len = 2 * PAGE, .prot = VM_PROT_READ, .flags = FL_MAP_SHARED,
         .handle = 0},
        {OP_MADVISE, .addr = DRIVER_WINDOW_BYTES - PAGE, .len = PAGE, .flags = FL_MADV_REMOVE},
        {OP_LOAD, .addr = DRIVER_WINDOW_BYTES - 2 * PAGE, .len = 2 * PAGE});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_behind_end_then_grow),
        cmocka_unit_test(test_store_behind_end_then_sync_and_grow),
        cmocka_unit_test(test_mlock_of_locked_unreachable),
        cmocka_unit_test(test_populate_read_of_write_only),
        cmocka_unit_test(test_mremap_onto_itself_unmapped),
        cmocka_unit_test(test_remove_from_touched_anonymous),
        cmocka_unit_test(test_remove_through_read_only_mapping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
