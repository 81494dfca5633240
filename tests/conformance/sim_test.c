/*
 * sim_test.c: the suite on the machine sim, and random operations on it and on the real kernel side by side.
 */
#include "conformance/random.h"
#include "conformance/suite.h"
#include "model/sim_driver.h"
#include "support/boot.h"
#include <stdlib.h>

#define OPS_WANTED 20000 /* of each mix */

static struct driver *create(void)
{
    struct sim_params params = test_params_hostile(test_seed(1));

    return sim_driver_create(&params);
}

int main(int argc, char **argv)
{
    int failed = argc > 1 ? 0 : suite_run(create);

    if (failed != 0)
        return EXIT_FAILURE;
    return random_run("conformance_sim_test", create, native_driver_create, OPS_WANTED, argc, argv);
}
