/*
 * seed.c: test_seed, and the line that names the seed of a test that failed.
 */
#include "support/seed.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t last_seed;

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

/*
 * Runs at every exit, and prints only if the test program failed: cmocka
 * exits with the number of failed tests.
 */
static void tell_seed(int status, void *arg)
{
    (void)arg;
    if (status != 0)
        fprintf(stderr, "the last seed was %llu: FAULTLINE_SEED=%llu replays it\n",
                (unsigned long long)last_seed, (unsigned long long)last_seed);
}

/* An assertion that aborts. stdio is safe enough here, because the process dies of its own abort(). */
static void tell_seed_and_die(int signo)
{
    tell_seed(1, NULL);
    signal(signo, SIG_DFL);
    raise(signo);
}

uint64_t test_seed(uint64_t otherwise)
{
    static bool told;

    if (!told) {
        on_exit(tell_seed, NULL);
        signal(SIGABRT, tell_seed_and_die);
    }
    told = true;
    last_seed = from_environment("FAULTLINE_SEED", otherwise);
    return last_seed;
}

uint64_t test_rounds(uint64_t otherwise)
{
    return from_environment("FAULTLINE_ROUNDS", otherwise);
}

uint64_t test_budget(uint64_t work)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return work / 4;
#else
    return work;
#endif
}
