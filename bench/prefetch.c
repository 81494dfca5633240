/*
 * prefetch.c: random reads by one thread that says 32 addresses ahead what it will touch, against what the
 * device gives 32 direct reads at a time.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <faultline/faultline.h>
#include <sys/mman.h>

#define BATCH  32
#define ROUNDS 5
#define READS  40000

/*
 * Page i of an order that comes to every page of the file once, far from the page before: what was read a pass
 * earlier is gone, so that each address is a read.
 */
static size_t scattered(uint64_t i)
{
    uint64_t npages = BENCH_FILE / BENCH_PAGE; /* a power of two: an odd step comes to all of them */
    return (size_t)(i * 40503 % npages) * BENCH_PAGE;
}

static double prefetch_rate(char *view)
{
    static uint64_t next;
    struct fl_iovec range[BATCH];
    double start = bench_now();
    for (int done = 0; done < READS; done += BATCH) {
        for (int i = 0; i < BATCH; i++)
            range[i] = (struct fl_iovec){view + scattered(next++), BENCH_PAGE};
        int error = fl_prefetch(range, BATCH);
        if (error != 0)
            bench_fail("fl_prefetch", error);
        for (int i = 0; i < BATCH; i++)
            bench_sink += *(volatile uint64_t *)range[i].base;
    }
    return READS / (bench_now() - start);
}

void bench_prefetch(void)
{
    double device[ROUNDS], ours[ROUNDS];
    int fd = bench_open();
    char *view = bench_map_ours(fd, BENCH_FILE, PROT_READ, MADV_RANDOM, NULL);
    (void)prefetch_rate(view); /* fills memory */
    for (int i = 0; i < ROUNDS; i++) {
        device[i] = bench_device_random(fd);
        ours[i] = prefetch_rate(view);
    }
    double a = bench_median(ours, ROUNDS), b = bench_median(device, ROUNDS);
    bench_report(&(struct bench_result){"random reads, 32 prefetched, against the device 32 deep", "reads/s",
                                        a, b, a / b, 0.8, true});
}
