/* sim_oracle.c: see sim_oracle.h. */
#include "model/sim_oracle.h"
#include "model/model.h"
#include "support/boot.h"

struct sim_params sim_oracle_params(uint64_t seed)
{
    struct sim_params params = seed % 4 == 0 ? test_params(seed) : test_params_hostile(seed);

    if (seed % 8 == 3) {
        params.torture.copy_first = true;
        params.torture.enters_itself_permille = 1000;
    }
    return params;
}

void sim_oracle_setup(struct oracle *oracle, const struct sim_params *params, struct sim_files files)
{
    oracle->model = oracle->reference = model_driver_create();
    oracle->subject = sim_driver_create_on(params, files);
    if (files.block_bytes != 0)
        model_set_block(oracle->model, files.block_bytes);
    oracle->max_pinned = params->nframes / 3;
}

void sim_oracle_teardown(struct oracle *oracle, void *arg)
{
    (void)arg;
    oracle->subject->destroy(oracle->subject);
    oracle->model->destroy(oracle->model);
}
