/* seeds.c: a test of many seeds, each in a child of its own. See seeds.h. */
#include "model/seeds.h"
#include "support/seed.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static bool seeds_run_one(const char *test, uint64_t seed, unsigned seconds_max, bool (*run)(uint64_t seed))
{
    pid_t child;
    int status;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        alarm(seconds_max);
        _exit(run(seed) ? 0 : 1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        abort();
    if (status != 0)
        fprintf(stderr, "%s: FAULTLINE_SEED=%" PRIu64 " failed\n", test, seed);
    return status == 0;
}

int seeds_run(const char *test, uint64_t first, uint64_t count, unsigned seconds_max,
              bool (*run)(uint64_t seed))
{
    uint64_t seed, rounds = test_rounds(getenv("FAULTLINE_SEED") != NULL ? 1 : count);

    first = test_seed(first);
    for (seed = first; seed - first < rounds; seed++)
        if (!seeds_run_one(test, seed, seconds_max, run))
            return EXIT_FAILURE;
    printf("%s: %" PRIu64 " seeds\n", test, rounds);
    return EXIT_SUCCESS;
}
