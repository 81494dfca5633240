/*
 * reads.c: a file four times the limit, read through a mapping at random, against the kernel's own mmap in a
 * memory cgroup of the same size; and what it costs in memory.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS_MAX 8
#define WARM_READS  30000 /* in all threads together, until the limit is filled and eviction runs */
#define READS       60000

struct reader {
    pthread_t thread;
    const volatile char *view;
    uint64_t seed;
    size_t reads;
};

static void *reader_run(void *arg)
{
    struct reader *r = arg;
    uint64_t total = 0;
    for (size_t i = 0; i < r->reads; i++)
        total += (uint64_t)r->view[bench_random(&r->seed) % (BENCH_FILE / BENCH_PAGE) * BENCH_PAGE];
    bench_sink += total;
    return NULL;
}

/* Reads a second of nthreads together, after as many again to fill memory. */
static double random_rate(const char *view, int nthreads)
{
    static uint64_t seed = 7;
    double seconds = 0;
    for (int pass = 0; pass < 2; pass++) {
        struct reader r[THREADS_MAX];
        size_t reads = pass == 0 ? WARM_READS : READS;
        double start = bench_now();
        for (int i = 0; i < nthreads; i++) {
            r[i] = (struct reader){.view = view, .seed = seed += 1000003, .reads = reads / (size_t)nthreads};
            if (pthread_create(&r[i].thread, NULL, reader_run, &r[i]) != 0)
                bench_fail("pthread_create", EAGAIN);
        }
        for (int i = 0; i < nthreads; i++)
            pthread_join(r[i].thread, NULL);
        seconds = bench_now() - start;
    }
    return READS / seconds;
}

static double kernel_side(int fd, const void *nthreads)
{
    char *view = mmap(NULL, BENCH_FILE, PROT_READ, MAP_SHARED, fd, 0);
    if (view == MAP_FAILED || madvise(view, BENCH_FILE, MADV_RANDOM) != 0)
        bench_fail("mmap", errno);
    return random_rate(view, *(const int *)nthreads);
}

static double our_side(int fd, const void *nthreads)
{
    return random_rate(bench_map_ours(fd, BENCH_FILE, PROT_READ, MADV_RANDOM, NULL), *(const int *)nthreads);
}

void bench_random_reads(void)
{
    static const int threads[] = {1, 8};
    static const char *const names[] = {"random 4 KiB reads, 1 thread, against mmap in a cgroup",
                                        "random 4 KiB reads, 8 threads, against mmap in a cgroup"};
    int fd = bench_open();
    for (int i = 0; i < 2; i++) {
        struct bench_sides sides =
            bench_compare(names[i], fd, our_side, &threads[i], kernel_side, &threads[i]);
        bench_report(&(struct bench_result){names[i], "reads/s", sides.ours, sides.kernel,
                                            sides.ours / sides.kernel, 0.95, true});
    }
}

/* ---- what it costs in memory ---- */

void bench_metadata(void)
{
    int fd = bench_open();
    (void)random_rate(bench_map_ours(fd, BENCH_FILE, PROT_READ, MADV_RANDOM, NULL), 1);
    struct fl_stats stats;
    fl_stats(&stats);
    double bytes = (double)stats.vm.meta_page_bytes / (double)stats.vm.nframes;
    bench_report(&(struct bench_result){"core metadata for each page of budget", "bytes", bytes, 72, bytes,
                                        72, false});
}

struct sampler {
    int fd;
    atomic_bool stop;
    uint64_t peak;
};

/* The most that the file ever had in memory, ours and the kernel's page cache together, asked for all the
 * time. */
static void *sampler_run(void *arg)
{
    struct sampler *s = arg;
    while (!atomic_load(&s->stop)) {
        struct fl_stats stats;
        fl_stats(&stats);
        uint64_t now = stats.resident_bytes + bench_cached_bytes(s->fd);
        if (now > s->peak)
            s->peak = now;
        usleep(200);
    }
    return NULL;
}

void bench_peak(void)
{
    struct sampler s = {.fd = bench_open()};
    char *view = bench_map_ours(s.fd, BENCH_FILE, PROT_READ, MADV_NORMAL, NULL);
    pthread_t thread;
    if (pthread_create(&thread, NULL, sampler_run, &s) != 0)
        bench_fail("pthread_create", EAGAIN);
    bench_sink += bench_sum(view, BENCH_FILE);
    (void)random_rate(view, 2);
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    struct fl_stats stats;
    fl_stats(&stats);
    uint64_t peak = s.peak > stats.peak_resident_bytes ? s.peak : stats.peak_resident_bytes;
    double over = ((double)peak - (double)BENCH_LIMIT) / 1048576;
    bench_report(&(struct bench_result){"peak of resident pages and page cache over the limit", "MiB", over,
                                        2, over, 2, false});
}
