/*
 * program.h: what the test programs share. A program prints "ok" at its end, or says what failed and exits
 * with 1. It knows nothing of the kernel that it runs on: what it prints must be the same on all of them.
 */
#ifndef TESTS_KERNEL_PROGRAM_H
#define TESTS_KERNEL_PROGRAM_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE ((size_t)4096)

#define must(truth)                                                                                          \
    do {                                                                                                     \
        if (!(truth)) {                                                                                      \
            printf("%s:%d: %s (errno %d: %s)\n", __FILE__, __LINE__, #truth, errno, strerror(errno));        \
            fflush(stdout);                                                                                  \
            _Exit(EXIT_FAILURE);                                                                             \
        }                                                                                                    \
    } while (0)

/* xorshift64: the same numbers everywhere. state != 0. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* FNV-1a, continued from `hash`; begin with HASH_START. */
#define HASH_START UINT64_C(0xcbf29ce484222325)
static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static inline int ok(void)
{
    puts("ok");
    return EXIT_SUCCESS;
}

#endif
