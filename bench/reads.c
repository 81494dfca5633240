/*
 * reads.c: a file four times the limit, read through a mapping: in order against a plain direct-I/O
 * loop, at
 * random against the kernel's own mmap in a memory cgroup of the same size.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <fcntl.h>
#include <faultline/faultline.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIRECT_CHUNK ((size_t)1 << 20)
#define THREADS_MAX  8
#define WARM_READS   30000 /* in all threads together, until the limit is filled and eviction runs */
#define READS        60000

static volatile uint64_t sink;

static char *map_ours(int fd, int advice)
{
    struct fl_options options = {.memory_limit_bytes = BENCH_LIMIT};
    struct fl_file *file;
    void *view = NULL;
    if (fl_init(&options) != 0)
        bench_skip("reads through a mapping", fl_init_error());
    int error = fl_open_fd(fd, &file);
    if (error == 0)
        error = fl_mmap(&view, BENCH_FILE, PROT_READ, MAP_SHARED, file, 0);
    if (error == 0)
        error = fl_madvise(view, BENCH_FILE, advice);
    if (error != 0)
        bench_fail("a mapping of ours", error);
    return view;
}

static uint64_t sum(const char *bytes, size_t len)
{
    const uint64_t *word = (const uint64_t *)bytes;
    uint64_t total = 0;
    for (size_t i = 0; i < len / sizeof(*word); i++)
        total += word[i];
    return total;
}

static double direct_loop(int fd)
{
    char path[64], *buffer = aligned_alloc(BENCH_PAGE, DIRECT_CHUNK);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (direct < 0 || buffer == NULL)
        bench_fail("O_DIRECT", errno);
    double start = bench_now();
    for (size_t at = 0; at < BENCH_FILE; at += DIRECT_CHUNK) {
        if (pread(direct, buffer, DIRECT_CHUNK, (off_t)at) != (ssize_t)DIRECT_CHUNK)
            bench_fail("pread", errno);
        sink += sum(buffer, DIRECT_CHUNK);
    }
    double seconds = bench_now() - start;
    close(direct);
    free(buffer);
    return seconds;
}

void bench_sequential(void)
{
    enum { N = 5 };
    double direct[N], ours[N];
    int fd = bench_open();
    char *view = map_ours(fd, MADV_NORMAL);
    for (int i = 0; i < N; i++) {
        direct[i] = direct_loop(fd);
        double start = bench_now();
        for (size_t at = 0; at < BENCH_FILE; at += DIRECT_CHUNK)
            sink += sum(view + at, DIRECT_CHUNK);
        ours[i] = bench_now() - start;
    }
    double a = BENCH_FILE / bench_median(ours, N) / 1e6, b = BENCH_FILE / bench_median(direct, N) / 1e6;
    bench_report(&(struct bench_result){"sequential read, against direct I/O of 1 MiB", "MB/s", a, b, a / b,
                                        0.8, true});
}

/* ---- random reads ---- */

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
    sink += total;
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

/* The kernel's side, in a child, because a process cannot leave its limits again. 0: *why not. */
static double kernel_rate(int fd, int nthreads, const char **why)
{
    int fds[2];
    double rate = 0;
    if (pipe(fds) != 0)
        bench_fail("pipe", errno);
    pid_t pid = fork();
    if (pid == 0) {
        if (!bench_cgroup_enter(why))
            _exit(2);
        char *view = mmap(NULL, BENCH_FILE, PROT_READ, MAP_SHARED, fd, 0);
        if (view == MAP_FAILED || madvise(view, BENCH_FILE, MADV_RANDOM) != 0)
            _exit(1);
        rate = random_rate(view, nthreads);
        _exit(write(fds[1], &rate, sizeof(rate)) != sizeof(rate));
    }
    close(fds[1]);
    if (read(fds[0], &rate, sizeof(rate)) != sizeof(rate))
        rate = 0;
    close(fds[0]);
    waitpid(pid, NULL, 0);
    *why = "needs root and a memory cgroup";
    return rate;
}

void bench_random_reads(void)
{
    static const int threads[] = {1, 8};
    static const char *const names[] = {"random 4 KiB reads, 1 thread, against mmap in a cgroup",
                                        "random 4 KiB reads, 8 threads, against mmap in a cgroup"};
    const char *why = NULL;
    int fd = bench_open();
    double kernel[2];
    for (int i = 0; i < 2; i++) { /* before fl_init: the child is to have nothing of ours */
        kernel[i] = kernel_rate(fd, threads[i], &why);
        if (kernel[i] == 0)
            bench_skip(names[i], why);
        bench_drop_cache(fd);
    }
    char *view = map_ours(fd, MADV_RANDOM);
    for (int i = 0; i < 2; i++) {
        double ours = random_rate(view, threads[i]);
        bench_report(
            &(struct bench_result){names[i], "reads/s", ours, kernel[i], ours / kernel[i], 0.95, true});
    }
}

/* ---- what it costs in memory ---- */

void bench_metadata(void)
{
    int fd = bench_open();
    (void)random_rate(map_ours(fd, MADV_RANDOM), 1);
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
    char *view = map_ours(s.fd, MADV_NORMAL);
    pthread_t thread;
    if (pthread_create(&thread, NULL, sampler_run, &s) != 0)
        bench_fail("pthread_create", EAGAIN);
    sink += sum(view, BENCH_FILE);
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
