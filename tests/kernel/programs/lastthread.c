/*
 * lastthread.c: processes whose threads end while the process gets another space, or none.
 *
 *   lastthread ROUNDS     each round a child with THREADS threads; they end by themselves, or sleep until the
 *                         child executes this program again, or exits
 *
 * A thread that has left its process may be on a processor still when the space goes.
 */
#include "program.h"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 3
#define STATUS  31

static const char *self;

static void *thread_main(void *arg)
{
    unsigned spins = (unsigned)(uintptr_t)arg;

    if (spins == 0)
        for (;;)
            pause();
    for (volatile unsigned i = 0; i < spins; i++)
        ;
    return NULL;
}

static void child_main(uint64_t seed)
{
    pthread_t thread;

    for (unsigned i = 0; i < THREADS; i++) {
        uintptr_t spins = random_next(&seed) % 4 == 0 ? 0 : random_next(&seed) % 4000;
        must(pthread_create(&thread, NULL, thread_main, (void *)spins) == 0);
    }
    if (random_next(&seed) % 2)
        _exit(STATUS);
    execl(self, self, "exit", (char *)NULL);
    _exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    uint64_t seed = 4711;
    int status;

    must(argc == 2);
    if (strcmp(argv[1], "exit") == 0)
        _exit(STATUS);
    self = argv[0];
    for (int i = atoi(argv[1]); i > 0; i--) {
        random_next(&seed);
        pid_t child = fork();

        must(child >= 0);
        if (child == 0)
            child_main(seed);
        must(waitpid(child, &status, 0) == child);
        must(WIFEXITED(status) && WEXITSTATUS(status) == STATUS);
    }
    return ok();
}
