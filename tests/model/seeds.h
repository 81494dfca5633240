/*
 * seeds.h: a test of many seeds, each in a child of its own, so that a panic fails one seed and names it.
 */
#ifndef TESTS_MODEL_SEEDS_H
#define TESTS_MODEL_SEEDS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Runs run(seed) for `count` seeds from `first` on; FAULTLINE_SEED in the environment: that one alone,
 * FAULTLINE_ROUNDS: so many. Stops at the first that returns false, dies, or takes longer than seconds_max,
 * and prints which. Returns main's result.
 */
int seeds_run(const char *test, uint64_t first, uint64_t count, unsigned seconds_max,
              bool (*run)(uint64_t seed));

#endif
