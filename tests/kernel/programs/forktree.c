/*
 * forktree.c: forktree [PROCESSES]: a tree of processes (500), all alive at once; node n has the children 2n
 * and 2n + 1. Each sees its parent's private memory as it was at the fork, writes its own over it, and still
 * sees its own after its children have done the same. A shared page counts them.
 */
#include "program.h"
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PRIVATE_PAGES 8

struct shared {
    atomic_uint arrived, gone;
};
static struct shared *shared;
static unsigned *private, nprocesses;

static void write_private(unsigned node)
{
    for (size_t i = 0; i < PRIVATE_PAGES; i++)
    private[i * PAGE / sizeof(*private)] = node * PRIVATE_PAGES + (unsigned)i;
}

static void check_private(unsigned node)
{
    for (size_t i = 0; i < PRIVATE_PAGES; i++)
        must(private[i * PAGE / sizeof(*private)] == node * PRIVATE_PAGES + (unsigned)i);
}

static void run(unsigned node);

static pid_t start(unsigned child, unsigned parent)
{
    pid_t pid;

    if (child > nprocesses)
        return 0;
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        check_private(parent);
        run(child);
        _exit(EXIT_SUCCESS);
    }
    return pid;
}

static void run(unsigned node)
{
    pid_t children[2];
    int status;

    write_private(node);
    atomic_fetch_add(&shared->arrived, 1);
    for (unsigned i = 0; i < 2; i++)
        children[i] = start(2 * node + i, node);
    while (atomic_load(&shared->arrived) < nprocesses) /* all are alive at once */
        usleep(10000);
    for (unsigned i = 0; i < 2; i++) {
        if (children[i] == 0)
            continue;
        must(waitpid(children[i], &status, 0) == children[i]);
        must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    check_private(node);
    atomic_fetch_add(&shared->gone, 1);
}

int main(int argc, char **argv)
{
    nprocesses = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 500;
    shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    private = mmap(NULL, PRIVATE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(shared != MAP_FAILED && private != MAP_FAILED);
    run(1);
    must(shared->gone == nprocesses);
    must(wait(NULL) == -1 && errno == ECHILD);
    printf("%u processes\n", nprocesses);
    return ok();
}
