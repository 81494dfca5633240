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

void bench_resident(void)
{
    double kernel[ROUNDS], ours[ROUNDS];
    int fd = bench_open();
    struct fl_file *file;
    (void)bench_map_ours(fd, BENCH_FILE, PROT_READ, MADV_NORMAL, &file);
    buffer = aligned_alloc(BENCH_PAGE, CHUNK);
    if (buffer == NULL)
        bench_fail("memory", ENOMEM);
    (void)read_rate(kernel_read, &fd);
    (void)read_rate(ours_read, file);
    for (int i = 0; i < ROUNDS; i++) {
        kernel[i] = read_rate(kernel_read, &fd);
        ours[i] = read_rate(ours_read, file);
    }
    double a = bench_median(ours, ROUNDS), b = bench_median(kernel, ROUNDS);
    bench_report(&(struct bench_result){"read() of resident data, 64 KiB, against kernel pread", "MB/s", a, b,
                                        a / b, 0.7, true});
}
