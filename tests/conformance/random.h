/* random.h: random sequences on a driver, with the real kernel beside it in the same process. */
#ifndef TESTS_CONFORMANCE_RANDOM_H
#define TESTS_CONFORMANCE_RANDOM_H

#include "model/driver.h"

/* The seed of the sequence under way, for a driver that is to differ from sequence to sequence. */
extern uint64_t random_seed;

/*
 * Runs nops operations, and then a fraction of nops of calls on files, on the driver that create makes and on
 * the reference, which is the real kernel, or the model if NULL. Arguments and result as runner_main.
 */
int random_run(const char *name, struct driver *(*create)(void), struct driver *(*reference)(void),
               uint64_t nops, int argc, char **argv);

/* The same on drivers with several spaces, which fork (OP_MIX_FORKS). */
int random_forks_run(const char *name, struct driver *(*create)(void), struct driver *(*reference)(void),
                     uint64_t nops, int argc, char **argv);

#endif
