/*
 * prng.h: the only source of random numbers of the machine sim and of its tests: splitmix64. A seed is the
 * whole state, and streams can be split off without disturbing each other.
 */
#ifndef MACHINES_SIM_PRNG_H
#define MACHINES_SIM_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t prng_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void prng_init(struct prng *prng, uint64_t seed)
{
    prng->state = prng_mix(seed + 0x9e3779b97f4a7c15u);
}

static inline uint64_t prng_next(struct prng *prng)
{
    prng->state += 0x9e3779b97f4a7c15u;
    return prng_mix(prng->state);
}

/* Returns a number in [0, bound), bound > 0. The bias of the remainder is below 2^-32
 * for the bounds used here. */
static inline uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    return prng_next(prng) % bound;
}

/* Returns a number in [low, high], both included. */
static inline uint64_t prng_range(struct prng *prng, uint64_t low, uint64_t high)
{
    return low + prng_below(prng, high - low + 1);
}

/* Returns true with a chance of `permille` in a thousand. Draws nothing when the answer is fixed, so that
 * switching a torture off leaves the rest of a run as it was. */
static inline bool prng_chance(struct prng *prng, uint32_t permille)
{
    return permille != 0 && (permille >= 1000 || prng_below(prng, 1000) < permille);
}

#endif
