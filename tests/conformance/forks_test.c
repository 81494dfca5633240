/*
 * forks_test.c: several address spaces: the scenes of forks on the real kernel, whose spaces are processes,
 * and on the machine sim; then random operations on both side by side. sim has a disk for swap, and in every
 * second sequence less memory than the spaces use.
 */
#include "conformance/random.h"
#include "conformance/suite.h"
#include "model/sim_driver.h"
#include "support/boot.h"
#include <stdlib.h>

#define OPS_WANTED 12000

static struct driver *create(void)
{
    struct sim_params params = test_params_hostile(random_seed);

    params.nframes = random_seed % 2 == 0 ? 128 : 1024;
    params.swap_pages = 8192;
    return sim_driver_create(&params);
}

int main(int argc, char **argv)
{
    int failed = argc > 1 ? 0 : suite_forks(native_forks_driver_create) + suite_forks(create);

    if (failed != 0)
        return EXIT_FAILURE;
    return random_forks_run("conformance_forks_test", create, native_forks_driver_create, OPS_WANTED, argc,
                            argv);
}
