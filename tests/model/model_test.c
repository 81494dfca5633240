/*
 * model_test.c: the core on the machine sim against the naive model: random sequences, every observable after every operation.
 *
 *   seed ─▶ configuration (memory, CPUs, tortures) and operations
 *
 * FAULTLINE_SEED=n runs the sequence of that seed only; --replay FILE runs the operations that a failure printed.
 */
#include "model/model.h"
#include "model/shrink.h"
#include "model/sim_driver.h"
#include "support/boot.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OPS_PER_SEQUENCE 400
#define OPS_WANTED       220000
#define FIRST_SEED       1

/* Every fourth sequence is peaceful, the rest hostile; half of them have less memory than the files need. */
static struct sim_params draw_computer(uint64_t seed)
{
    struct sim_params params = seed % 4 == 0 ? test_params(seed) : test_params_hostile(seed);

    params.nframes = seed % 2 == 0 ? 2048 : 128;
    if (seed % 8 == 3)
        params.torture.copy_first = params.torture.referenced_unknown = true; /* as on linux */
    return params;
}

static void setup(struct oracle *oracle, uint64_t seed, void *arg)
{
    struct sim_params params = draw_computer(seed);

    (void)arg;
    oracle->model = oracle->reference = model_driver_create();
    oracle->subject = sim_driver_create(&params);
    oracle->max_pinned = params.nframes / 3;
    oracle->check_every = seed % 16 == 0 ? 1 : 8;
}

static void teardown(struct oracle *oracle, void *arg)
{
    (void)arg;
    oracle->subject->destroy(oracle->subject);
    oracle->model->destroy(oracle->model);
}

static int fail(struct sequence *sequence)
{
    fprintf(stderr, "%s: seed %" PRIu64 " failed at operation %u: %s\n", sequence->name, sequence->seed,
            sequence->record->failed_at, sequence->record->difference);
    sequence_shrink(sequence);
    (void)sequence_run(sequence, false); /* its last words, for the reader */
    sequence_print(sequence, stderr);
    return EXIT_FAILURE;
}

static int replay(struct sequence *sequence, const char *path)
{
    if (!sequence_read(sequence, path)) {
        fprintf(stderr, "%s: no operations in %s\n", sequence->name, path);
        return EXIT_FAILURE;
    }
    if (sequence_run(sequence, false))
        return EXIT_SUCCESS;
    fprintf(stderr, "%s: %s\n", sequence->name, sequence->record->difference);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct sequence sequence = {.name = "model_test", .setup = setup, .teardown = teardown};
    uint64_t first = test_seed(FIRST_SEED), rounds = getenv("FAULTLINE_SEED") != NULL ? 1 : UINT64_MAX,
             ran = 0;

    rounds = test_rounds(rounds);
    sequence_init(&sequence);
    sequence.seed = first;
    if (argc == 3 && strcmp(argv[1], "--replay") == 0)
        return replay(&sequence, argv[2]);
    for (; sequence.seed - first < rounds && ran < OPS_WANTED; sequence.seed++) {
        if (!sequence_draw(&sequence, OPS_PER_SEQUENCE, false))
            return fail(&sequence);
        ran += sequence.record->ran;
    }
    printf("%" PRIu64 " operations in %" PRIu64 " sequences, no difference\n", ran, sequence.seed - first);
    sequence_fini(&sequence);
    return EXIT_SUCCESS;
}
