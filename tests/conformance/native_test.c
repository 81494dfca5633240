/*
 * native_test.c: the suite on the real kernel: are the tables right? And
 * is the model? It is compared with the kernel.
 */
#include "conformance/random.h"
#include "conformance/suite.h"
#include <stdlib.h>

#define OPS_WANTED 20000 /* of each mix */

int main(int argc, char **argv)
{
    int failed = argc > 1 ? 0 : suite_run(native_driver_create);

    if (failed != 0)
        return EXIT_FAILURE;
    return random_run("conformance_native_test", native_driver_create, NULL, OPS_WANTED, argc, argv);
}
