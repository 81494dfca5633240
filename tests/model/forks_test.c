/*
 * forks_test.c: several address spaces on the machine sim against the naive model: random sequences of forks,
 * ends of spaces, and all else that a program does in each, every observable after every operation.
 *
 *   seed ─▶ configuration and operations      half of the computers have a fraction of the memory that the
 *                                             spaces use, and a disk for swap
 *
 * FAULTLINE_SEED=n runs the sequence of that seed only; --replay FILE runs the operations that a failure
 * printed.
 */
#include "model/runner.h"
#include "model/sim_oracle.h"
#include "support/boot.h"

#define OPS_WANTED 220000
#define SWAP_PAGES 8192 /* more than all spaces use */

static void setup(struct oracle *oracle, uint64_t seed, void *arg)
{
    struct sim_params params = sim_oracle_params(seed);
    bool swap = seed / 2 % 2 != 0; /* beside the torture that sim_oracle_params chooses by the seed */

    (void)arg;
    params.nframes = swap ? 96 + (uint32_t)(seed % 5) * 40 : 2048;
    params.swap_pages = swap ? SWAP_PAGES : 0;
    sim_oracle_setup(oracle, &params, sim_files_draw(seed));
    oracle->check_every = seed % 16 == 0 ? 1 : 8;
}

int main(int argc, char **argv)
{
    struct sequence sequence = {
        .name = "forks_test", .setup = setup, .teardown = sim_oracle_teardown, .mix = OP_MIX_FORKS};

    return runner_main(&sequence, test_budget(OPS_WANTED), argc, argv);
}
