/*
 * hotset.c: a hot set of half the limit, touched at random, while a scan of four times the limit passes: how
 * many of the touches find their page in memory, and how long a touch takes. Against the kernel's own mmap in
 * a memory cgroup of the same size, which gets the advice for the scan that is best for it; ours gets none.
 *
 *   | data, scanned in order, four times the limit |  hot: half the limit |     one file
 *
 * There is one hot touch for each page of the scan. BATCH of them follow each other, so that the clock does
 * not count. Two runs: mincore before each touch gives the rate, and would spoil the time.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <sys/mman.h>

#define WARM_TOUCHES 3 /* of each hot page before the scan */
#define BATCH        16

typedef int mincore_call(void *addr, size_t len_bytes, unsigned char *vec);

static char *hot_page(char *view, uint64_t *state)
{
    return view + BENCH_FILE + bench_random(state) % (BENCH_HOT / BENCH_PAGE) * BENCH_PAGE;
}

static void warm_up(const char *view)
{
    for (size_t i = 0; i < WARM_TOUCHES; i++)
        for (size_t at = 0; at < BENCH_HOT; at += BENCH_PAGE)
            bench_sink += (uint64_t)view[BENCH_FILE + at];
}

static void scan(const char *batch)
{
    for (size_t at = 0; at < BATCH * BENCH_PAGE; at += BENCH_PAGE)
        bench_sink += (uint64_t)batch[at];
}

/* The share of hot touches that found their page in memory. */
static double hit_rate(char *view, mincore_call *resident)
{
    uint64_t state = 9, hits = 0, touches = 0;
    warm_up(view);
    for (size_t at = 0; at < BENCH_FILE; at += BATCH * BENCH_PAGE) {
        scan(view + at);
        for (int i = 0; i < BATCH; i++) {
            char *page = hot_page(view, &state);
            unsigned char in = 0;
            if (resident(page, BENCH_PAGE, &in) != 0)
                bench_fail("mincore", errno);
            hits += in & 1;
            touches++;
            bench_sink += (uint64_t)*page;
        }
    }
    return (double)hits / (double)touches;
}

/* Hot touches a second, the scan's time not counted. */
static double touch_rate(char *view, mincore_call *resident)
{
    uint64_t state = 9, touches = 0;
    double seconds = 0;
    (void)resident;
    warm_up(view);
    for (size_t at = 0; at < BENCH_FILE; at += BATCH * BENCH_PAGE) {
        scan(view + at);
        double start = bench_now();
        for (int i = 0; i < BATCH; i++)
            bench_sink += (uint64_t)*hot_page(view, &state);
        seconds += bench_now() - start;
        touches += BATCH;
    }
    return (double)touches / seconds;
}

/* ---- the sides ----------------------------------------------------------------------------------------- */

struct scene {
    double (*rate)(char *view, mincore_call *resident);
    int advice; /* of the kernel's side, for what is scanned */
};

static struct bench_score kernel_side(int fd, const void *arg)
{
    const struct scene *scene = arg;
    char *view = bench_map_kernel(fd, BENCH_FILE + BENCH_HOT, PROT_READ, MADV_NORMAL);
    if (madvise(view, BENCH_FILE, scene->advice) != 0)
        bench_fail("madvise", errno);
    return (struct bench_score){scene->rate(view, mincore), 0};
}

static struct bench_score our_side(int fd, const void *arg)
{
    const struct scene *scene = arg;
    char *view = bench_map_ours(fd, BENCH_FILE + BENCH_HOT, PROT_READ, MADV_NORMAL, NULL);
    return (struct bench_score){scene->rate(view, fl_mincore), 0};
}

static void compare(const char *name, double (*rate)(char *, mincore_call *), struct bench_score *score)
{
    const struct scene scene[] = {{rate, MADV_NORMAL}, {rate, MADV_SEQUENTIAL}};
    const struct bench_side kernel[] = {{"the kernel", kernel_side, &scene[0], BENCH_LIMIT},
                                        {"the kernel", kernel_side, &scene[1], BENCH_LIMIT}};
    int fd = bench_open();
    const struct bench_side sides[] = {{"Faultline", our_side, &scene[0], 0},
                                       *bench_best(name, fd, kernel, sizeof(kernel) / sizeof(kernel[0]))};
    bench_compare(name, fd, sides, 2, score);
}

static struct bench_score ns_each(struct bench_score rate)
{
    return (struct bench_score){1e9 / rate.value, 0};
}

void bench_hot_set(void)
{
    static const char *const rate = "hot set beside a scan, hit rate, against mmap in a cgroup";
    static const char *const touch = "the same, time of a hot touch";
    struct bench_score score[2];
    compare(rate, hit_rate, score);
    bench_report_at_least(rate, "of 1", score[0], score[1], 1.0);
    compare(touch, touch_rate, score);
    bench_report_at_most(touch, "ns", ns_each(score[0]), ns_each(score[1]), 1.0);
}
