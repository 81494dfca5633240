/*
 * child.c: processes of the benchmark: each ends with its parent, at its time limit, or when it is done.
 *
 *   main ─▶ measure ─▶ side ─▶ program      a time limit kills one of them; those to its right end with it
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t bench_fork(void)
{
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        bench_fail("fork", errno);
    if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent))
        _exit(1);
    return pid;
}

int bench_wait(pid_t pid, unsigned seconds)
{
    struct pollfd ended = {.fd = pidfd_open(pid, 0), .events = POLLIN};
    int status;
    if (ended.fd < 0)
        bench_fail("pidfd_open", errno);
    bool late = poll(&ended, 1, (int)seconds * 1000) == 0;
    close(ended.fd);
    if (late)
        kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid)
        bench_fail("waitpid", errno);
    return late ? -ETIME : status;
}

void bench_beside(const char *name, char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    if (n < 0)
        bench_fail("/proc/self/exe", errno);
    path[n] = 0;
    char *file = strrchr(path, '/') + 1;
    if (strlen(name) >= size - (size_t)(file - path))
        bench_fail(name, ENAMETOOLONG);
    strcpy(file, name);
}

struct bench_score bench_program(const char *const argv[])
{
    char path[4096];
    int status;
    bench_beside(argv[0], path, sizeof(path));
    double start = bench_now(), processor = bench_processor_seconds(RUSAGE_CHILDREN);
    pid_t pid = bench_fork();
    if (pid == 0) {
        execv(path, (char *const *)argv);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid)
        bench_fail("waitpid", errno);
    double seconds = bench_now() - start;
    if (status != 0) {
        fprintf(stderr, "bench: %s: status %#x\n", path, (unsigned)status);
        _exit(1);
    }
    return (struct bench_score){seconds, bench_processor_seconds(RUSAGE_CHILDREN) - processor};
}
