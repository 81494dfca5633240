/*
 * streams.c: a file four times the limit, read through a mapping in some order that can be foreseen: one
 * stream, two streams interleaved and a stride, against the kernel's own mmap; one stream also against what
 * the device gives.
 *
 *   sequential   0 1 2 3 …            interleaved   0 h 1 h+1 2 h+2 …  (h: half of the file)
 *   strided      0 16 32 … 1 17 33 …  one pass over every 16th page, four passes
 */
#define _GNU_SOURCE
#include "bench.h"
#include <faultline/faultline.h>
#include <sys/mman.h>

#define STRIDE 16 /* pages */
#define PASSES 4  /* of a stride, each with other pages */

static double sequential_rate(const char *view)
{
    double start = bench_now();
    bench_sink += bench_sum(view, BENCH_FILE);
    return BENCH_FILE / (bench_now() - start) / 1e6;
}

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

/* ---- the sides ----------------------------------------------------------------------------------------- */

struct stream {
    double (*rate)(const char *view);
    int advice; /* of the kernel's side */
};

static struct bench_score stream_score(const char *view, const struct stream *stream)
{
    (void)stream->rate(view); /* fills memory */
    return (struct bench_score){stream->rate(view), 0};
}

static struct bench_score kernel_side(int fd, const void *arg)
{
    const struct stream *stream = arg;
    return stream_score(bench_map_kernel(fd, BENCH_FILE, PROT_READ, stream->advice), stream);
}

/* Without advice. */
static struct bench_score our_side(int fd, const void *arg)
{
    return stream_score(bench_map_ours(fd, BENCH_FILE, PROT_READ, MADV_NORMAL, NULL), arg);
}

static struct bench_score device_side(int fd, const void *arg)
{
    (void)arg;
    return (struct bench_score){bench_device_sequential(fd), 0};
}

/* Ours; the kernel with the advice that is best for it; and the device. The first nsides of them. */
static void compare(const char *name, double (*rate)(const char *view), size_t nsides,
                    struct bench_score *score)
{
    const struct stream stream[] = {{rate, MADV_NORMAL}, {rate, MADV_SEQUENTIAL}, {rate, MADV_RANDOM}};
    const struct bench_side kernel[] = {{"the kernel", kernel_side, &stream[0], BENCH_LIMIT},
                                        {"the kernel", kernel_side, &stream[1], BENCH_LIMIT},
                                        {"the kernel", kernel_side, &stream[2], BENCH_LIMIT}};
    int fd = bench_open();
    const struct bench_side sides[] = {{"Faultline", our_side, &stream[0], 0},
                                       *bench_best(name, fd, kernel, sizeof(kernel) / sizeof(kernel[0])),
                                       {"the device", device_side, NULL, 0}};
    bench_compare(name, fd, sides, nsides, score);
}

void bench_sequential(void)
{
    static const char *const name = "sequential read, against the better of mmap and direct I/O";
    struct bench_score score[3];
    compare(name, sequential_rate, 3, score);
    bench_report_at_least(name, "MB/s", score[0], score[1].value > score[2].value ? score[1] : score[2],
                          0.95);
}

void bench_interleaved(void)
{
    static const char *const name = "two interleaved streams, against mmap in a cgroup";
    struct bench_score score[2];
    compare(name, interleaved_rate, 2, score);
    bench_report_at_least(name, "MB/s", score[0], score[1], 0.95);
}

void bench_strided(void)
{
    static const char *const name = "stride of 16 pages, against mmap in a cgroup";
    struct bench_score score[2];
    compare(name, strided_rate, 2, score);
    bench_report_at_least(name, "pages/s", score[0], score[1], 1.0);
}
