/*
 * hotset.c: a hot set of half the limit, touched at random, while a scan of four times the limit passes: how
 * many of the touches find their page in memory. Against the kernel's own mmap in a memory cgroup of the same
 * size, which is told nothing either.
 *
 *   | data, scanned in order, four times the limit |  hot: half the limit |     one file
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <sys/mman.h>

#define WARM_TOUCHES 3 /* of each hot page before the scan */

typedef int mincore_call(void *addr, size_t len_bytes, unsigned char *vec);

static double hit_rate(char *view, mincore_call *resident)
{
    char *hot = view + BENCH_FILE;
    uint64_t state = 9, hits = 0, touches = 0;
    for (size_t i = 0; i < WARM_TOUCHES; i++)
        for (size_t at = 0; at < BENCH_HOT; at += BENCH_PAGE)
            bench_sink += (uint64_t)hot[at];
    for (size_t at = 0; at < BENCH_FILE; at += BENCH_PAGE) {
        char *page = hot + bench_random(&state) % (BENCH_HOT / BENCH_PAGE) * BENCH_PAGE;
        unsigned char in = 0;
        bench_sink += (uint64_t)view[at];
        if (resident(page, BENCH_PAGE, &in) != 0)
            bench_fail("mincore", errno);
        hits += in & 1;
        touches++;
        bench_sink += (uint64_t)*page;
    }
    return (double)hits / (double)touches;
}

static double kernel_side(int fd, const void *arg)
{
    (void)arg;
    char *view = mmap(NULL, BENCH_FILE + BENCH_HOT, PROT_READ, MAP_SHARED, fd, 0);
    if (view == MAP_FAILED)
        bench_fail("mmap", errno);
    return hit_rate(view, mincore);
}

static double our_side(int fd, const void *arg)
{
    (void)arg;
    return hit_rate(bench_map_ours(fd, BENCH_FILE + BENCH_HOT, PROT_READ, MADV_NORMAL, NULL), fl_mincore);
}

void bench_hot_set(void)
{
    static const char *const name = "hot set of half the limit beside a scan, hit rate";
    struct bench_sides sides = bench_compare(name, bench_open(), our_side, NULL, kernel_side, NULL);
    bench_report(&(struct bench_result){name, "of 1", sides.ours, sides.kernel, sides.ours, 0.9, true});
    bench_report(&(struct bench_result){"the same, against mmap in a cgroup", "of 1", sides.ours,
                                        sides.kernel, sides.ours / sides.kernel, 1.0, true});
}
