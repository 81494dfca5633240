/*
 * files_test.c: read, write, truncate and the other calls on files, beside
 * mappings of the same files, on the machine sim against the naive model: every
 * observable after every operation, the disk's bytes after every promise.
 *
 *   seed ─▶ configuration (memory, CPUs, tortures, the disks' blocks, when transfers end) and operations
 *
 * FAULTLINE_SEED=n runs the sequence of that seed only; --replay FILE runs
 * the operations that a failure printed.
 */
#include "model/runner.h"
#include "model/sim_oracle.h"
#include "support/boot.h"

#define OPS_WANTED 200000 /* calls on files */

/* Less memory than in model_test: dirty pages must be evicted for others. */
static void setup(struct oracle *oracle, uint64_t seed, void *arg)
{
    struct sim_params params = sim_oracle_params(seed);

    (void)arg;
    params.nframes = seed % 2 == 0 ? 1024 : 96;
    params.dirty_expire_ns = seed % 5 == 0 ? 0 : 100000 << seed % 7;
    sim_oracle_setup(oracle, &params, sim_files_draw(seed));
    oracle->check_every = seed % 16 == 0 ? 1 : 8;
}

int main(int argc, char **argv)
{
    struct sequence sequence = {
        .name = "files_test", .setup = setup, .teardown = sim_oracle_teardown, .mix = OP_MIX_FILES};

    return runner_main(&sequence, test_budget(OPS_WANTED), argc, argv);
}
