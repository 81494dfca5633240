/*
 * seed.h: the seed of a test run: FAULTLINE_SEED in the environment, or
 * the test's own default. A test that fails prints it.
 */
#ifndef TESTS_SUPPORT_SEED_H
#define TESTS_SUPPORT_SEED_H

#include "sim/prng.h"

/*
 * The seed to use where `otherwise` is the default. An abort or a non-zero
 * exit prints the last seed that was returned.
 */
uint64_t test_seed(uint64_t otherwise);
/* FAULTLINE_ROUNDS in the environment, or `otherwise`: how long a random test runs. */
uint64_t test_rounds(uint64_t otherwise);
/* How much of `work` a test should do in this build: all of it, or a part where a sanitizer makes it slow. */
uint64_t test_budget(uint64_t work);

#endif
