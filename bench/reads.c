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
#include <sys/resource.h>
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

/* Reads a second of nthreads together, after others that fill memory. */
static struct bench_score random_rate(const char *view, int nthreads)
{
    static uint64_t seed = 7;
    double seconds = 0, processor = 0;
    for (int pass = 0; pass < 2; pass++) {
        struct reader r[THREADS_MAX];
        size_t reads = pass == 0 ? WARM_READS : READS;
        double start = bench_now(), used = bench_processor_seconds(RUSAGE_SELF);
        for (int i = 0; i < nthreads; i++) {
            r[i] = (struct reader){.view = view, .seed = seed += 1000003, .reads = reads / (size_t)nthreads};
            if (pthread_create(&r[i].thread, NULL, reader_run, &r[i]) != 0)
                bench_fail("pthread_create", EAGAIN);
        }
        for (int i = 0; i < nthreads; i++)
            pthread_join(r[i].thread, NULL);
        seconds = bench_now() - start;
        processor = bench_processor_seconds(RUSAGE_SELF) - used;
    }
    return (struct bench_score){READS / seconds, processor};
}

static struct bench_score kernel_side(int fd, const void *nthreads)
{
    return random_rate(bench_map_kernel(fd, BENCH_FILE, PROT_READ, MADV_RANDOM), *(const int *)nthreads);
}

static struct bench_score our_side(int fd, const void *nthreads)
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
        const struct bench_side sides[] = {{"Faultline", our_side, &threads[i], 0},
                                           {"the kernel", kernel_side, &threads[i], BENCH_LIMIT}};
        struct bench_score score[2];
        bench_compare(names[i], fd, sides, 2, score);
        bench_report_at_least(names[i], "reads/s", score[0], score[1], 1.0);
    }
}

/* ---- what it costs in memory --------------------------------------------------------------------------- */

void bench_metadata(void)
{
    int fd = bench_open();
    (void)random_rate(bench_map_ours(fd, BENCH_FILE, PROT_READ, MADV_RANDOM, NULL), 1);
    struct fl_stats stats;
    fl_stats(&stats);
    double bytes = (double)stats.vm.meta_page_bytes / (double)stats.vm.nframes;
    bench_report_at_most("core metadata for each page of budget", "bytes", (struct bench_score){bytes, 0},
                         (struct bench_score){72, 0}, 1.0);
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
    bench_report_at_most("peak of resident pages and page cache over the limit", "MiB",
                         (struct bench_score){over, 0}, (struct bench_score){2, 0}, 1.0);
}
