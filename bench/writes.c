/*
 * writes.c: random pages of a file four times the limit written through a mapping, then msync, against the
 * kernel's own mmap in a memory cgroup of the same size.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <sys/mman.h>

#define ROUNDS 3
#define WRITES 40000

static int kernel_msync(void *view, size_t len_bytes, int flags)
{
    return msync(view, len_bytes, flags) == 0 ? 0 : -errno;
}

static double write_rate(char *view, int (*sync)(void *, size_t, int))
{
    static uint64_t state = 5;
    double rate[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double start = bench_now();
        for (int i = 0; i < WRITES; i++)
            *(volatile uint64_t *)(view + bench_random(&state) % (BENCH_FILE / BENCH_PAGE) * BENCH_PAGE) =
                state;
        int error = sync(view, BENCH_FILE, MS_SYNC);
        if (error != 0)
            bench_fail("msync", error);
        rate[round] = WRITES / (bench_now() - start);
    }
    return bench_median(rate, ROUNDS);
}

static double kernel_rate(int fd, const void *arg)
{
    (void)arg;
    char *view = mmap(NULL, BENCH_FILE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (view == MAP_FAILED || madvise(view, BENCH_FILE, MADV_RANDOM) != 0)
        bench_fail("mmap", errno);
    return write_rate(view, kernel_msync);
}

void bench_random_writes(void)
{
    static const char *const name = "random 4 KiB writes and msync, against mmap in a cgroup";
    int fd = bench_open();
    double kernel = bench_kernel(name, fd, kernel_rate, NULL);
    char *view = bench_map_ours(fd, BENCH_FILE, PROT_READ | PROT_WRITE, MADV_RANDOM, NULL);
    double ours = write_rate(view, fl_msync);
    bench_report(&(struct bench_result){name, "writes/s", ours, kernel, ours / kernel, 1.0, true});
}
