/* sides.c: the two sides of a measure: a mapping of ours, and the kernel in a memory cgroup. */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIDE_ROUNDS 3

volatile uint64_t bench_sink;

uint64_t bench_sum(const char *bytes, size_t len_bytes)
{
    const uint64_t *word = (const uint64_t *)bytes;
    uint64_t total = 0;
    for (size_t i = 0; i < len_bytes / sizeof(*word); i++)
        total += word[i];
    return total;
}

char *bench_map_ours(int fd, size_t len_bytes, int prot, int advice, struct fl_file **file)
{
    struct fl_options options = {.memory_limit_bytes = BENCH_LIMIT};
    struct fl_file *opened;
    void *view = NULL;
    int error = fl_init(&options);
    if (error != 0 && error != -EALREADY)
        bench_skip("a mapping of ours", fl_init_error());
    error = fl_open_fd(fd, &opened);
    if (error == 0)
        error = fl_mmap(&view, len_bytes, prot, MAP_SHARED, opened, 0);
    if (error == 0)
        error = fl_madvise(view, len_bytes, advice);
    if (error != 0)
        bench_fail("a mapping of ours", error);
    if (file != NULL)
        *file = opened;
    return view;
}

/* The side in a child. False: it has no cgroup, or failed and said why. */
static bool side_run(int fd, bench_side *side, const void *arg, bool limited, double *value)
{
    int fds[2];
    const char *why;
    if (pipe(fds) != 0)
        bench_fail("pipe", errno);
    bench_drop_cache(fd);
    pid_t pid = fork();
    if (pid == 0) {
        if (limited && !bench_cgroup_enter(&why))
            _exit(2);
        *value = side(fd, arg);
        _exit(write(fds[1], value, sizeof(*value)) != sizeof(*value));
    }
    close(fds[1]);
    bool measured = read(fds[0], value, sizeof(*value)) == sizeof(*value);
    close(fds[0]);
    waitpid(pid, NULL, 0);
    bench_drop_cache(fd);
    return measured;
}

double bench_kernel(const char *name, int fd, bench_side *side, const void *arg)
{
    double value;
    if (!side_run(fd, side, arg, true, &value))
        bench_skip(name, "needs root and a memory cgroup");
    return value;
}

struct bench_sides bench_compare(const char *name, int fd, bench_side *ours, const void *ours_arg,
                                 bench_side *kernel, const void *kernel_arg)
{
    double a[SIDE_ROUNDS], b[SIDE_ROUNDS];
    for (int i = 0; i < SIDE_ROUNDS; i++) {
        b[i] = bench_kernel(name, fd, kernel, kernel_arg);
        if (!side_run(fd, ours, ours_arg, false, &a[i]))
            bench_fail(name, ECANCELED);
    }
    return (struct bench_sides){bench_median(a, SIDE_ROUNDS), bench_median(b, SIDE_ROUNDS)};
}
