/*
 * concurrent_test.c: several fibers in one address space at once, each in
 * a window of its own, and each against its own model.
 *
 *   space: | window 0 | window 1 | …      fiber i: random operations in window i, on files of its own
 *                    └── all ──┴─▶ one file that all fibers map and read, and none writes
 *
 * Beside them a keeper has frames of its own, as a kernel does (fl_frames_alloc).
 *
 * This tests what they share: the map and its lock, the page queues, the page daemon, the reverse maps, the
 * allocators. FAULTLINE_SEED=n runs one seed.
 */
#include "model/model.h"
#include "model/oracle.h"
#include "model/seeds.h"
#include "model/sim_driver.h"
#include "support/boot.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FIBERS_MAX      4
#define OPS_EACH        250
#define SEEDS           60
#define FIRST_SEED      1
#define SECONDS_MAX     60
#define PRINTED_AT_MOST 12 /* operations before a difference */

struct worker {
    struct oracle oracle;
    struct prng r;
    enum op_mix mix;
    struct op last[PRINTED_AT_MOST];
    uint32_t ran;
    bool same, done;
};

static bool is_shared_file(const struct op *op)
{
    return op->kind == OP_SET_SIZE && op->handle == DRIVER_FILES - 1;
}

static void work(void *arg)
{
    struct worker *worker = arg;

    worker->same = true;
    while (worker->same && worker->ran < OPS_EACH) {
        struct op *op = &worker->last[worker->ran++ % PRINTED_AT_MOST];

        op_draw(op, &worker->r, worker->oracle.model, worker->mix);
        if (!is_shared_file(op))
            worker->same = oracle_step(&worker->oracle, op);
        sim_yield();
    }
    if (worker->same)
        worker->same = oracle_finish(&worker->oracle);
    worker->done = true;
}

#define KEPT_MAX 8

/* Allocates and frees blocks of frames, an eighth of them at most, until all workers have ended. */
struct keeper {
    struct prng r;
    uint32_t frames_max;
    const struct worker *worker;
    unsigned nworkers;
};

static bool all_done(const struct keeper *keeper)
{
    for (unsigned i = 0; i < keeper->nworkers; i++)
        if (!keeper->worker[i].done)
            return false;
    return true;
}

static void keep(void *arg)
{
    struct keeper *keeper = arg;
    vm_frame_t frame[KEPT_MAX];
    uint32_t order[KEPT_MAX], n = 0;

    while (!all_done(keeper) || n > 0) {
        uint32_t try = (uint32_t)prng_below(&keeper->r, 10);
        bool grow = !all_done(keeper) && n < KEPT_MAX && prng_chance(&keeper->r, 550);

        if (grow && (1u << try) * KEPT_MAX <= keeper->frames_max && fl_frames_alloc(try, &frame[n]) == 0) {
            *fl_frames_owner(frame[n]) = keeper;
            order[n++] = try;
        } else if (!grow && n > 0) {
            if (*fl_frames_owner(frame[--n]) != keeper)
                abort();
            fl_frames_free(frame[n], order[n]);
        }
        sim_yield();
    }
}

static void report(const struct worker *worker, uint64_t seed, unsigned fiber)
{
    uint32_t i;

    fprintf(stderr, "concurrent_test: seed %" PRIu64 ", fiber %u, operation %u: %s\n", seed, fiber,
            worker->ran, worker->oracle.difference);
    for (i = worker->ran > PRINTED_AT_MOST ? worker->ran - PRINTED_AT_MOST : 0; i < worker->ran; i++)
        op_print(&worker->last[i % PRINTED_AT_MOST], stderr);
}

static struct sim_params draw_computer(uint64_t seed)
{
    struct sim_params params = test_params_hostile(seed);

    params.nframes = seed % 2 == 0 ? 2048 : 256;
    if (params.torture.preempt_permille < 20)
        params.torture.preempt_permille = 20;
    return params;
}

static bool run(uint64_t seed)
{
    struct sim_params params = draw_computer(seed);
    unsigned n = 2 + (unsigned)(seed % (FIBERS_MAX - 1)), i;
    struct worker *worker = calloc(n, sizeof(*worker));
    struct driver *slice[FIBERS_MAX];
    struct keeper keeper = {.frames_max = params.nframes / 8, .worker = worker, .nworkers = n};
    bool same = true;

    if (worker == NULL)
        abort();
    sim_slices_create(&params, n, slice);
    for (i = 0; i < n; i++) {
        prng_init(&worker[i].r, seed * FIBERS_MAX + i);
        worker[i].oracle = (struct oracle){.subject = slice[i], .max_pinned = params.nframes / 3 / n};
        worker[i].oracle.model = worker[i].oracle.reference = model_driver_create();
        worker[i].oracle.check_every = 1;
        worker[i].mix = (seed + i) % 2 == 0 ? OP_MIX_MAPS : OP_MIX_FILES;
        sim_run("worker", work, &worker[i]);
    }
    prng_init(&keeper.r, seed);
    sim_run("keeper", keep, &keeper);
    sim_join_all();
    for (i = 0; i < n; i++) {
        if (!worker[i].same)
            report(&worker[i], seed, i);
        same &= worker[i].same;
    }
    if (same) {
        for (i = 0; i < n; i++)
            worker[i].oracle.model->destroy(worker[i].oracle.model);
        sim_slices_destroy(n, slice); /* checks everything, and looks for leaks */
    }
    free(worker);
    return same;
}

int main(void)
{
    return seeds_run("concurrent_test", FIRST_SEED, SEEDS, SECONDS_MAX, run);
}
