/* sides.c: the two sides of a measure: a mapping of ours, and the kernel in a memory cgroup. */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

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
    if (fl_space() == NULL && fl_init(&options) != 0)
        bench_skip("a mapping of ours", fl_init_error());
    int error = fl_open_fd(fd, &opened);
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

double bench_kernel(const char *name, int fd, double (*side)(int fd, const void *arg), const void *arg)
{
    int fds[2];
    double value = 0;
    const char *why = "needs root and a memory cgroup";
    if (pipe(fds) != 0)
        bench_fail("pipe", errno);
    bench_drop_cache(fd);
    pid_t pid = fork();
    if (pid == 0) {
        if (!bench_cgroup_enter(&why))
            _exit(2);
        value = side(fd, arg);
        _exit(write(fds[1], &value, sizeof(value)) != sizeof(value));
    }
    close(fds[1]);
    bool measured = read(fds[0], &value, sizeof(value)) == sizeof(value);
    close(fds[0]);
    waitpid(pid, NULL, 0);
    bench_drop_cache(fd);
    if (!measured)
        bench_skip(name, why);
    return value;
}
