/*
 * model_test.c: the core on the machine sim against the naive model:
 * random sequences, every observable after every operation.
 *
 *   seed ─▶ configuration (memory, CPUs, tortures) and operations
 *
 * FAULTLINE_SEED=n runs the sequence of that seed only; --replay FILE runs
 * the operations that a failure printed.
 */
#include "model/runner.h"
#include "model/sim_oracle.h"
#include "support/boot.h"

#define OPS_WANTED 220000

/* Half of the computers have less memory than the files need. */
static void setup(struct oracle *oracle, uint64_t seed, void *arg)
{
    struct sim_params params = sim_oracle_params(seed);

    (void)arg;
    params.nframes = seed % 2 == 0 ? 2048 : 128;
    sim_oracle_setup(oracle, &params, sim_files_draw(seed));
    oracle->check_every = seed % 16 == 0 ? 1 : 8;
}

int main(int argc, char **argv)
{
    struct sequence sequence = {.name = "model_test", .setup = setup, .teardown = sim_oracle_teardown};

    return runner_main(&sequence, OPS_WANTED, argc, argv);
}
