/*
 * writes.c: random pages of a file four times the limit written through a mapping, then msync, against the
 * kernel's own mmap in a memory cgroup of the same size.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <sys/mman.h>

#define WRITES 40000

static int kernel_msync(void *view, size_t len_bytes, int flags)
{
    return msync(view, len_bytes, flags) == 0 ? 0 : -errno;
}

static double write_rate(char *view, int (*sync)(void *, size_t, int))
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
    return WRITES / seconds;
}

static double kernel_side(int fd, const void *arg)
{
    (void)arg;
    char *view = mmap(NULL, BENCH_FILE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (view == MAP_FAILED || madvise(view, BENCH_FILE, MADV_RANDOM) != 0)
        bench_fail("mmap", errno);
    return write_rate(view, kernel_msync);
}

static double our_side(int fd, const void *arg)
{
    (void)arg;
    return write_rate(bench_map_ours(fd, BENCH_FILE, PROT_READ | PROT_WRITE, MADV_RANDOM, NULL), fl_msync);
}

void bench_random_writes(void)
{
    static const char *const name = "random 4 KiB writes and msync, against mmap in a cgroup";
    struct bench_sides sides = bench_compare(name, bench_open(), our_side, NULL, kernel_side, NULL);
    bench_report(&(struct bench_result){name, "writes/s", sides.ours, sides.kernel, sides.ours / sides.kernel,
                                        1.0, true});
}
