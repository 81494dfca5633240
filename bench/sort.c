/*
 * sort.c: a file four times the limit, sorted in place through one shared mapping by two threads
 * (programs/parallel_sort.cpp): under `faultline run`, and by the kernel in a memory cgroup of the same size
 * with the advice that is best for it.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* Larger than in other measures, so that the kernel's side computes and does not only wait for its disk. */
#define LIMIT ((size_t)128 << 20)
#define DATA  (4 * LIMIT)
#define CHUNK ((size_t)1 << 20)

/* The sum of the numbers of the file. `ascending`: fails unless they ascend. */
static uint64_t sum_of_file(const char *path, bool ascending)
{
    static uint64_t number[CHUNK / sizeof(uint64_t)];
    uint64_t last = 0, sum = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (size_t at = 0; at < DATA; at += CHUNK) {
        if (pread(fd, number, CHUNK, (off_t)at) != (ssize_t)CHUNK)
            bench_fail(path, errno);
        sum += bench_sum((char *)number, CHUNK);
        for (size_t i = 0; ascending && i < CHUNK / sizeof(*number); i++) {
            if (number[i] < last)
                bench_fail("the file is not sorted", EILSEQ);
            last = number[i];
        }
    }
    bench_drop_cache(fd);
    close(fd);
    return sum;
}

/* Runs a program that sorts the file at `path`, and checks that it did. The file is gone afterwards. */
static struct bench_score sort(const char *const argv[], const char *path)
{
    uint64_t sum = sum_of_file(path, false);
    struct bench_score score = bench_program(argv);
    if (sum_of_file(path, true) != sum)
        bench_fail("the sorted file has other numbers", EILSEQ);
    unlink(path);
    score.value = DATA / score.value / 1e6;
    return score;
}

static struct bench_score kernel_side(int fd, const void *advice)
{
    char file[4096];
    const char *const argv[] = {"parallel_sort", file, advice, NULL};
    (void)fd;
    bench_scratch(DATA, file, sizeof(file));
    return sort(argv, file);
}

static struct bench_score our_side(int fd, const void *arg)
{
    char file[4096], limit[32], program[4096];
    const char *const argv[] = {"faultline", "run", "--memory", limit, "--", program, file, NULL};
    (void)fd;
    (void)arg;
    snprintf(limit, sizeof(limit), "%zu", LIMIT);
    bench_beside("parallel_sort", program, sizeof(program));
    bench_scratch(DATA, file, sizeof(file));
    return sort(argv, file);
}

void bench_sort(void)
{
    static const char *const name = "parallel sort, 512 MiB in 128, against mmap in a cgroup";
    static const struct bench_side kernel[] = {{"the kernel", kernel_side, "normal", LIMIT},
                                               {"the kernel", kernel_side, "sequential", LIMIT},
                                               {"the kernel", kernel_side, "random", LIMIT}};
    char path[4096];
    bench_beside("parallel_sort", path, sizeof(path));
    if (access(path, X_OK) != 0)
        bench_skip(name, "needs g++ when it is built");
    int fd = bench_open();
    const struct bench_side sides[] = {{"Faultline", our_side, NULL, 0},
                                       *bench_best(name, fd, kernel, sizeof(kernel) / sizeof(kernel[0]))};
    struct bench_score score[2];
    bench_compare(name, fd, sides, 2, score);
    bench_report_at_least(name, "MB/s", score[0], score[1], 1.0);
}
