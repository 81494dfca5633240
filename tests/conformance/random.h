/* random.h: random sequences on a driver, with the real kernel beside it in the same process. */
#ifndef TESTS_CONFORMANCE_RANDOM_H
#define TESTS_CONFORMANCE_RANDOM_H

#include "model/driver.h"

/*
 * Runs nops operations, and a part of that of calls on files, on what create makes, each also on the
 * reference: the real kernel's mmap, or NULL for the model. Arguments and result as runner_main.
 */
int random_run(const char *name, struct driver *(*create)(void), struct driver *(*reference)(void),
               uint64_t nops, int argc, char **argv);

#endif
