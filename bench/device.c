/*
 * device.c: what the device gives a program that does nothing but direct I/O, with a queue that is always
 * full: the reference of streams and of prefetching.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK        ((size_t)1 << 20)
#define CHUNK_DEPTH  8
#define PAGE_DEPTH   32
#define RANDOM_READS 40000

struct device {
    struct io_uring ring;
    int fd;
    char *buffer;
    size_t chunk; /* bytes of one read */
    unsigned depth;
};

static void device_open(struct device *d, int fd, size_t chunk, unsigned depth)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    *d = (struct device){.chunk = chunk, .depth = depth};
    d->fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    d->buffer = aligned_alloc(BENCH_PAGE, chunk * depth);
    int error = io_uring_queue_init(depth, &d->ring, 0);
    if (d->fd < 0 || d->buffer == NULL || error != 0)
        bench_fail("direct reads through io_uring", error != 0 ? error : errno);
}

static void device_close(struct device *d)
{
    io_uring_queue_exit(&d->ring);
    close(d->fd);
    free(d->buffer);
}

/* Begins the read of chunk number `at` into buffer `slot`. */
static void device_read(struct device *d, unsigned slot, uint64_t at)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&d->ring);
    io_uring_prep_read(sqe, d->fd, d->buffer + slot * d->chunk, (unsigned)d->chunk, at * d->chunk);
    io_uring_sqe_set_data64(sqe, slot);
    if (io_uring_submit(&d->ring) != 1)
        bench_fail("io_uring_submit", errno);
}

/* Returns the slot of a read that has ended. */
static unsigned device_reap(struct device *d)
{
    struct io_uring_cqe *cqe;
    int error = io_uring_wait_cqe(&d->ring, &cqe);
    if (error == 0 && cqe->res != (int)d->chunk)
        error = cqe->res < 0 ? cqe->res : -EIO;
    if (error != 0)
        bench_fail("a direct read", error);
    unsigned slot = (unsigned)io_uring_cqe_get_data64(cqe);
    io_uring_cqe_seen(&d->ring, cqe);
    return slot;
}

double bench_device_sequential(int fd)
{
    struct device d;
    uint64_t nchunks = BENCH_FILE / CHUNK, next = 0;
    device_open(&d, fd, CHUNK, CHUNK_DEPTH);
    double start = bench_now();
    while (next < CHUNK_DEPTH)
        device_read(&d, (unsigned)next, next), next++;
    for (uint64_t done = 0; done < nchunks; done++) {
        unsigned slot = device_reap(&d);
        bench_sink += bench_sum(d.buffer + slot * CHUNK, CHUNK);
        if (next < nchunks)
            device_read(&d, slot, next++);
    }
    double rate = BENCH_FILE / (bench_now() - start) / 1e6;
    device_close(&d);
    return rate;
}

double bench_device_random(int fd)
{
    struct device d;
    uint64_t state = 3, begun = 0;
    device_open(&d, fd, BENCH_PAGE, PAGE_DEPTH);
    double start = bench_now();
    while (begun < PAGE_DEPTH)
        device_read(&d, (unsigned)begun++, bench_random(&state) % (BENCH_FILE / BENCH_PAGE));
    for (uint64_t done = 0; done < RANDOM_READS; done++) {
        unsigned slot = device_reap(&d);
        if (begun++ < RANDOM_READS)
            device_read(&d, slot, bench_random(&state) % (BENCH_FILE / BENCH_PAGE));
    }
    double rate = RANDOM_READS / (bench_now() - start);
    device_close(&d);
    return rate;
}
