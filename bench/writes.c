/*
 * writes.c: random pages of a file four times the limit written through a mapping, then msync, against the
 * kernel's own mmap in a memory cgroup of the same size.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <faultline/faultline.h>
#include <sys/mman.h>

#define WRITES 40000

static struct bench_score write_rate(char *view, int (*sync)(void *, size_t, int))
{
    uint64_t state = 5;
    double seconds = 0;
    for (int pass = 0; pass < 2; pass++) { /* the first fills memory */
        double start = bench_now();
        for (int i = 0; i < WRITES; i++) {
            size_t page = bench_random(&state) % (BENCH_FILE / BENCH_PAGE);
            *(volatile uint64_t *)(view + page * BENCH_PAGE) = state;
        }
        int error = sync(view, BENCH_FILE, MS_SYNC);
        if (error != 0)
            bench_fail("msync", error);
        seconds = bench_now() - start;
    }
    return (struct bench_score){WRITES / seconds, 0};
}

static struct bench_score kernel_side(int fd, const void *arg)
{
    (void)arg;
    return write_rate(bench_map_kernel(fd, BENCH_FILE, PROT_READ | PROT_WRITE, MADV_RANDOM),
                      bench_kernel_msync);
}

static struct bench_score our_side(int fd, const void *arg)
{
    (void)arg;
    return write_rate(bench_map_ours(fd, BENCH_FILE, PROT_READ | PROT_WRITE, MADV_RANDOM, NULL), fl_msync);
}

void bench_random_writes(void)
{
    static const char *const name = "random 4 KiB stores and msync, against mmap in a cgroup";
    static const struct bench_side sides[] = {{"Faultline", our_side, NULL, 0},
                                              {"the kernel", kernel_side, NULL, BENCH_LIMIT}};
    struct bench_score score[2];
    bench_compare(name, bench_open(), sides, 2, score);
    bench_report_at_least(name, "stores/s", score[0], score[1], 1.1);
}
