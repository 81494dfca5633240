/*
 * prefetch.c: random reads by one thread that says 32 addresses ahead what it will touch, against what the
 * device gives 32 direct reads at a time.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <faultline/faultline.h>
#include <sys/mman.h>

#define BATCH 32
#define READS 40000

/*
 * Page i of an order that comes to every page of the file once, far from the page before: what was read a
 * pass earlier is gone, so that each address is a read.
 */
static size_t scattered(uint64_t i)
{
    uint64_t npages = BENCH_FILE / BENCH_PAGE; /* a power of two: an odd step comes to all of them */
    return (size_t)(i * 40503 % npages) * BENCH_PAGE;
}

static void hand_over(char *view, struct fl_iovec *range)
{
    static uint64_t next;
    for (int i = 0; i < BATCH; i++)
        range[i] = (struct fl_iovec){view + scattered(next++), BENCH_PAGE};
    int error = fl_prefetch(range, BATCH);
    if (error != 0)
        bench_fail("fl_prefetch", error);
}

static void touch(const struct fl_iovec *range)
{
    for (int i = 0; i < BATCH; i++)
        bench_sink += *(volatile uint64_t *)range[i].base;
}

/* early: each batch is handed over before the one ahead of it is touched. */
static double prefetch_rate(char *view, bool early)
{
    struct fl_iovec range[2][BATCH];
    double start = bench_now();
    if (early)
        hand_over(view, range[0]);
    for (int done = 0, i = 0; done < READS; done += BATCH, i ^= 1) {
        hand_over(view, range[early ? i ^ 1 : i]);
        touch(range[i]);
    }
    return READS / (bench_now() - start);
}

static struct bench_score our_side(int fd, const void *early)
{
    char *view = bench_map_ours(fd, BENCH_FILE, PROT_READ, MADV_RANDOM, NULL);
    (void)prefetch_rate(view, *(const bool *)early); /* fills memory */
    return (struct bench_score){prefetch_rate(view, *(const bool *)early), 0};
}

static struct bench_score device_side(int fd, const void *arg)
{
    (void)arg;
    return (struct bench_score){bench_device_random(fd), 0};
}

static void against_device(const char *name, bool early, double target)
{
    const struct bench_side sides[] = {{"Faultline", our_side, &early, 0},
                                       {"the device", device_side, NULL, 0}};
    struct bench_score score[2];
    bench_compare(name, bench_open(), sides, 2, score);
    bench_report_at_least(name, "reads/s", score[0], score[1], target);
}

void bench_prefetch(void)
{
    against_device("random reads, 32 prefetched, against the device 32 deep", false, 0.75);
    against_device("the same, prefetched while the 32 before are touched", true, 0.9);
}
