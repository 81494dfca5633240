/* sides.c: the sides of a measure: a mapping of ours, the kernel in a memory cgroup, the bare device. */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS         3
#define ENOUGH_SECONDS 60 /* no further round begins later */

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
        bench_fail(fl_init_error(), error);
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

char *bench_map_kernel(int fd, size_t len_bytes, int prot, int advice)
{
    char *view = mmap(NULL, len_bytes, prot, MAP_SHARED, fd, 0);
    if (view == MAP_FAILED || madvise(view, len_bytes, advice) != 0)
        bench_fail("mmap", errno);
    return view;
}

int bench_kernel_msync(void *addr, size_t len_bytes, int flags)
{
    return msync(addr, len_bytes, flags) == 0 ? 0 : -errno;
}

/* One run in a child. 0; -EPERM: it has no cgroup; -ETIME. Other failures end the measure. */
static int side_run(int fd, const struct bench_side *side, struct bench_score *score)
{
    enum { NO_CGROUP = 2 };
    struct bench_score *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        bench_fail("mmap", errno);
    bench_drop_cache(fd);
    pid_t pid = bench_fork();
    if (pid == 0) {
        if (side->cgroup_bytes != 0 && !bench_cgroup_enter(side->cgroup_bytes))
            _exit(NO_CGROUP);
        *shared = side->run(fd, side->arg);
        _exit(0);
    }
    int status = bench_wait(pid, BENCH_RUN_SECONDS);
    *score = *shared;
    munmap(shared, sizeof(*shared));
    bench_drop_cache(fd);
    if (status == 0 || status == -ETIME)
        return status;
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_CGROUP)
        return -EPERM;
    bench_fail(side->who, ECANCELED);
}

static void skip_late(const char *name, const char *who)
{
    char why[128];
    snprintf(why, sizeof(why), "%s was not done after %d s", who, BENCH_RUN_SECONDS);
    bench_skip(name, why);
}

void bench_compare(const char *name, int fd, const struct bench_side *sides, size_t nsides,
                   struct bench_score *scores)
{
    double value[BENCH_SIDES_MAX][ROUNDS], processor[BENCH_SIDES_MAX][ROUNDS], start = bench_now();
    size_t rounds = 0;
    while (rounds < ROUNDS && bench_now() - start < ENOUGH_SECONDS) {
        for (size_t i = 0; i < nsides; i++) {
            struct bench_score score;
            int error = side_run(fd, &sides[i], &score);
            if (error == -EPERM)
                bench_skip(name, "needs root and a memory cgroup");
            if (error == -ETIME)
                skip_late(name, sides[i].who);
            value[i][rounds] = score.value;
            processor[i][rounds] = score.processor_seconds;
        }
        rounds++;
    }
    for (size_t i = 0; i < nsides; i++)
        scores[i] = (struct bench_score){bench_median(value[i], rounds), bench_median(processor[i], rounds)};
}

const struct bench_side *bench_best(const char *name, int fd, const struct bench_side *sides, size_t nsides)
{
    const struct bench_side *best = NULL;
    double most = 0;
    for (size_t i = 0; i < nsides; i++) {
        struct bench_score score;
        int error = side_run(fd, &sides[i], &score);
        if (error == -EPERM)
            bench_skip(name, "needs root and a memory cgroup");
        if (error == 0 && score.value > most) {
            most = score.value;
            best = &sides[i];
        }
    }
    if (best == NULL)
        skip_late(name, sides[0].who);
    return best;
}
