/*
 * crash_test.c: crash branching: random runs of writes, stores and promises, with the power cut at every
 * write that the disks are given.
 *
 *   seed ─▶ computer, operations ─▶ core and model, step by step (oracle.h)
 *                                     └─ the disks ─ at each write, flush ─▶ every cut there could be
 *
 * In every second run the disks fail writes and flushes: an fsync that fails promises nothing, and a later
 * one that succeeds does. In the end, when the disks work again, nothing was lost.
 *
 * FAULTLINE_SEED=n runs the sequence of that seed only; --replay FILE runs
 * the operations that a failure printed.
 */
#include "model/ledger.h"
#include "model/model.h"
#include "model/runner.h"
#include "model/sim_oracle.h"
#include "support/boot.h"
#include <malloc.h>

#define OPS_WANTED     24000 /* calls on files */
#define DISK_BYTES_MAX (1 << 20)

struct crash {
    struct ledger *ledger;
};

static struct sim_params draw_computer(uint64_t seed)
{
    struct sim_params params = seed % 4 == 0 ? test_params(seed) : test_params_hostile(seed);

    params.nframes = seed % 3 == 0 ? 512 : 96;
    params.dirty_expire_ns = seed % 5 == 0 ? 0 : 100000 << seed % 7;
    params.no_flusher = seed % 7 == 0;
    return params;
}

static void calm(struct oracle *oracle)
{
    int f;

    for (f = 0; f < DRIVER_FILES; f++) {
        struct sim_disk_faults *faults = sim_disk_faults(sim_driver_disk(oracle->subject, f));

        faults->fail_write_permille = faults->fail_flush_nth = 0;
    }
}

static void set_write_errors(struct oracle *oracle, struct prng *r)
{
    int f;

    oracle->write_errors = true;
    oracle->calm = calm;
    /*
     * A punched hole that fails, or a direct write, may have been made in
     * part, which the model cannot follow.
     */
    oracle->subject->has &= ~(unsigned)(DRIVER_HAS_PUNCH | DRIVER_HAS_DIRECT | DRIVER_HAS_REMOVE);
    for (f = 0; f < DRIVER_FILES; f++) {
        struct sim_disk_faults *faults = sim_disk_faults(sim_driver_disk(oracle->subject, f));

        faults->fail_write_permille = (uint32_t)prng_below(r, 200);
        faults->fail_flush_nth = (uint32_t)prng_below(r, 10);
        faults->torn = prng_chance(r, 500);
    }
}

static void setup(struct oracle *oracle, uint64_t seed, void *arg)
{
    struct sim_params params = draw_computer(seed);
    struct crash *crash = arg;
    struct prng r;

    prng_init(&r, seed);
    sim_oracle_setup(oracle, &params, sim_files_draw(seed));
    oracle->check_every = 16;
    crash->ledger = ledger_create(oracle, seed);
    if (seed % 2 == 0)
        set_write_errors(oracle, &r);
}

static void teardown(struct oracle *oracle, void *arg)
{
    struct crash *crash = arg;

    oracle->subject->destroy(oracle->subject);
    ledger_destroy(crash->ledger);
    oracle->model->destroy(oracle->model);
}

int main(int argc, char **argv)
{
    struct crash crash = {.ledger = NULL};

    (void)mallopt(M_MMAP_THRESHOLD,
                  /* thousands of disks are allocated and freed: not each by two system calls */
                  DISK_BYTES_MAX);
    struct sequence sequence = {
        .name = "crash_test", .setup = setup, .teardown = teardown, .arg = &crash, .mix = OP_MIX_SYNCS};

    return runner_main(&sequence, test_budget(OPS_WANTED), argc, argv);
}
