/*
 * streams.c: a file four times the limit, read through a mapping in some order that can be foreseen: one
 * stream against what the device gives, two streams interleaved and a stride against the kernel's own mmap.
 *
 *   sequential   0 1 2 3 …            interleaved   0 h 1 h+1 2 h+2 …  (h: half of the file)
 *   strided      0 16 32 … 1 17 33 …  one pass over every 16th page, four passes
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <sys/mman.h>

#define ROUNDS 5
#define STRIDE 16 /* pages */
#define PASSES 4  /* of a stride, each with other pages */

static double sequential_rate(const char *view)
{
    double start = bench_now();
    bench_sink += bench_sum(view, BENCH_FILE);
    return BENCH_FILE / (bench_now() - start) / 1e6;
}

void bench_sequential(void)
{
    double device[ROUNDS], ours[ROUNDS];
    int fd = bench_open();
    char *view = bench_map_ours(fd, BENCH_FILE, PROT_READ, MADV_NORMAL, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        device[i] = bench_device_sequential(fd);
        ours[i] = sequential_rate(view);
    }
    double a = bench_median(ours, ROUNDS), b = bench_median(device, ROUNDS);
    bench_report(&(struct bench_result){"sequential read, against direct I/O, 8 x 1 MiB in flight", "MB/s", a,
                                        b, a / b, 0.95, true});
}

/* ---- against the kernel's mmap ---- */

static double interleaved_rate(const char *view)
{
    size_t half = BENCH_FILE / 2;
    double start = bench_now();
    for (size_t at = 0; at < half; at += BENCH_PAGE)
        bench_sink += bench_sum(view + at, BENCH_PAGE) + bench_sum(view + half + at, BENCH_PAGE);
    return BENCH_FILE / (bench_now() - start) / 1e6;
}

static double strided_rate(const char *view)
{
    size_t npages = BENCH_FILE / BENCH_PAGE;
    double start = bench_now();
    for (size_t pass = 0; pass < PASSES; pass++)
        for (size_t page = pass; page < npages; page += STRIDE)
            bench_sink += bench_sum(view + page * BENCH_PAGE, BENCH_PAGE);
    return (double)(npages / STRIDE * PASSES) / (bench_now() - start);
}

struct stream {
    double (*rate)(const char *view);
    int advice; /* of the kernel's side */
};

static double kernel_side(int fd, const void *arg)
{
    const struct stream *stream = arg;
    char *view = mmap(NULL, BENCH_FILE, PROT_READ, MAP_SHARED, fd, 0);
    if (view == MAP_FAILED || madvise(view, BENCH_FILE, stream->advice) != 0)
        bench_fail("mmap", errno);
    (void)stream->rate(view); /* fills memory */
    return stream->rate(view);
}

static double our_side(int fd, const void *arg)
{
    const struct stream *stream = arg;
    char *view = bench_map_ours(fd, BENCH_FILE, PROT_READ, MADV_NORMAL, NULL);
    (void)stream->rate(view);
    return stream->rate(view);
}

/* Ours without advice, the kernel with whichever is best for it. */
static void against_kernel(const char *name, const char *unit, double (*rate)(const char *view))
{
    static const int advices[] = {MADV_NORMAL, MADV_SEQUENTIAL, MADV_RANDOM};
    struct stream best = {rate, MADV_NORMAL};
    double most = 0;
    int fd = bench_open();
    for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
        struct stream stream = {rate, advices[i]};
        double got = bench_kernel(name, fd, kernel_side, &stream);
        if (got > most) {
            most = got;
            best = stream;
        }
    }
    struct bench_sides sides = bench_compare(name, fd, our_side, &best, kernel_side, &best);
    bench_report(
        &(struct bench_result){name, unit, sides.ours, sides.kernel, sides.ours / sides.kernel, 0.85, true});
}

void bench_interleaved(void)
{
    against_kernel("two interleaved streams, against mmap in a cgroup", "MB/s", interleaved_rate);
}

void bench_strided(void)
{
    against_kernel("stride of 16 pages, against mmap in a cgroup", "pages/s", strided_rate);
}
