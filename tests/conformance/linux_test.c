/*
 * linux_test.c: the suite on the machine linux with both fault engines,
 * and random operations on it and on the real kernel side by side.
 */
#include "conformance/random.h"
#include "conformance/suite.h"
#include "conformance/linux_driver.h"
#include <stdlib.h>

#define OPS_WANTED 20000 /* of each mix */

static struct driver *create(void)
{
    return linux_driver_create(FL_FAULT_SIGNAL);
}

static struct driver *create_with_handler_threads(void)
{
    return linux_driver_create(FL_FAULT_THREAD);
}

int main(int argc, char **argv)
{
    int failed = argc > 1 ? 0 : suite_run(create) + suite_run(create_with_handler_threads);

    if (failed != 0)
        return EXIT_FAILURE;
    return random_run("conformance_linux_test", create, native_driver_create, OPS_WANTED, argc, argv);
}
