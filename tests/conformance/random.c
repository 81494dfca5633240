/* random.c: see random.h. */
#include "conformance/random.h"
#include "model/model.h"
#include "model/runner.h"
#include "support/seed.h"

#define SYNCS_COST 4 /* calls on real files cost that much more: some of them wait for a real disk */
/* Pages: a little less than the memory of these machines. With forks, half of that. */
#define MAX_PINNED 70

struct pair {
    struct driver *(*create)(void);
    struct driver *(*reference)(void);
    uint64_t max_pinned;
};

uint64_t random_seed;

static void setup(struct oracle *oracle, uint64_t seed, void *arg)
{
    struct pair *pair = arg;

    random_seed = seed;
    oracle->model = oracle->reference = model_driver_create();
    if (pair->reference != NULL)
        oracle->reference = pair->reference();
    oracle->subject = pair->create();
    oracle->max_pinned = pair->max_pinned;
}

static void teardown(struct oracle *oracle, void *arg)
{
    (void)arg;
    oracle->subject->destroy(oracle->subject);
    if (oracle->reference != oracle->model)
        oracle->reference->destroy(oracle->reference);
    oracle->model->destroy(oracle->model);
}

int random_run(const char *name, struct driver *(*create)(void), struct driver *(*reference)(void),
               uint64_t nops, int argc, char **argv)
{
    struct pair pair = {.create = create, .reference = reference, .max_pinned = MAX_PINNED};
    struct sequence sequence = {.name = name, .setup = setup, .teardown = teardown, .arg = &pair};
    int status = runner_main(&sequence, test_budget(nops), argc, argv);

    if (status != 0 || argc > 1)
        return status;
    sequence.mix = OP_MIX_FILES;
    return runner_main(&sequence, test_budget(nops / SYNCS_COST), argc, argv);
}

int random_forks_run(const char *name, struct driver *(*create)(void), struct driver *(*reference)(void),
                     uint64_t nops, int argc, char **argv)
{
    struct pair pair = {.create = create, .reference = reference, .max_pinned = MAX_PINNED / 2};
    struct sequence sequence = {
        .name = name, .setup = setup, .teardown = teardown, .arg = &pair, .mix = OP_MIX_FORKS};

    return runner_main(&sequence, test_budget(nops), argc, argv);
}
