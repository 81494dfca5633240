/*
 * anonymous_files_test.c: files without a store (fl_vnode_anonymous) on the machine sim against the naive
 * model: calls on files, mappings and forks, every observable after every operation.
 *
 *   seed ─▶ configuration and operations      half of the computers have a fraction of the memory that the
 *                                             files and spaces use, and a disk for swap
 *
 * FAULTLINE_SEED=n runs the sequence of that seed only; --replay FILE runs the operations that a failure
 * printed.
 */
#include "model/runner.h"
#include "model/sim_oracle.h"
#include "support/boot.h"

#define OPS_WANTED 120000
#define SWAP_PAGES 8192 /* more than all of it */

static void setup(struct oracle *oracle, uint64_t seed, void *arg)
{
    struct sim_params params = sim_oracle_params(seed);
    bool swap = seed / 2 % 2 != 0; /* beside the torture that sim_oracle_params chooses by the seed */

    (void)arg;
    params.nframes = swap ? 96 + (uint32_t)(seed % 5) * 40 : 2048;
    params.swap_pages = swap ? SWAP_PAGES : 0;
    params.superpages = seed % 3 == 0;
    sim_oracle_setup(oracle, &params, (struct sim_files){.anonymous = true});
    oracle->check_every = seed % 16 == 0 ? 1 : 8;
}

int main(int argc, char **argv)
{
    struct sequence files = {
        .name = "anonymous_files_test", .setup = setup, .teardown = sim_oracle_teardown, .mix = OP_MIX_FILES};
    struct sequence forks = files;

    forks.mix = OP_MIX_FORKS;
    int failed = runner_main(&files, test_budget(OPS_WANTED), argc, argv);
    return failed != 0 ? failed : runner_main(&forks, test_budget(OPS_WANTED), argc, argv);
}
