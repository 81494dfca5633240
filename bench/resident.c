/*
 * resident.c: read() of what is in memory already, 64 KiB at a time, against the kernel's pread of cached
 * data.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS 9
#define PASSES 8 /* over the data, a quarter of the limit, in each round */
#define CHUNK  ((size_t)64 << 10)
#define DATA   (BENCH_LIMIT / 4)

static char *buffer;

static ssize_t ours_read(void *file, size_t at)
{
    return fl_pread(file, buffer, CHUNK, at, 0);
}

static ssize_t kernel_read(void *fd, size_t at)
{
    return pread(*(int *)fd, buffer, CHUNK, (off_t)at);
}

static double read_rate(ssize_t (*call)(void *, size_t), void *arg)
{
    double start = bench_now();
    for (int pass = 0; pass < PASSES; pass++)
        for (size_t at = 0; at < DATA; at += CHUNK)
            if (call(arg, at) != (ssize_t)CHUNK)
                bench_fail("a read", EIO);
    return PASSES * DATA / (bench_now() - start) / 1e6;
}

static struct bench_score median_rate(ssize_t (*call)(void *, size_t), void *arg)
{
    double rate[ROUNDS];
    buffer = aligned_alloc(BENCH_PAGE, CHUNK);
    if (buffer == NULL)
        bench_fail("memory", ENOMEM);
    (void)read_rate(call, arg);
    for (int i = 0; i < ROUNDS; i++)
        rate[i] = read_rate(call, arg);
    return (struct bench_score){bench_median(rate, ROUNDS), 0};
}

static struct bench_score our_side(int fd, const void *arg)
{
    struct fl_file *file;
    (void)arg;
    (void)bench_map_ours(fd, BENCH_FILE, PROT_READ, MADV_NORMAL, &file);
    return median_rate(ours_read, file);
}

static struct bench_score kernel_side(int fd, const void *arg)
{
    (void)arg;
    return median_rate(kernel_read, &fd);
}

void bench_resident(void)
{
    static const char *const name = "read() of resident data, 64 KiB, against kernel pread";
    static const struct bench_side sides[] = {{"Faultline", our_side, NULL, 0},
                                              {"the kernel", kernel_side, NULL, 0}};
    struct bench_score score[2];
    bench_compare(name, bench_open(), sides, 2, score);
    bench_report_at_least(name, "MB/s", score[0], score[1], 0.7);
}
