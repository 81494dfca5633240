/* common.c: the clock, the data file and the cgroup behind bench.h. */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CGROUP_V1 "/sys/fs/cgroup/memory"
#define CGROUP_V2 "/sys/fs/cgroup"
#define CGROUP    "faultline-bench"

#define CGROUP_TRIES 200 /* a process that was killed leaves the cgroup a little later */

static void report(const char *name, const char *unit, struct bench_score ours, struct bench_score reference,
                   double target, bool at_least)
{
    printf("result\t%s\t%s\t%.6g\t%.6g\t%.4g\t%.4g\t%d\t%.2f\t%.2f\n", name, unit, ours.value,
           reference.value, ours.value / reference.value, target, at_least, ours.processor_seconds,
           reference.processor_seconds);
    fflush(stdout);
}

void bench_report_at_least(const char *name, const char *unit, struct bench_score ours,
                           struct bench_score reference, double target)
{
    report(name, unit, ours, reference, target, true);
}

void bench_report_at_most(const char *name, const char *unit, struct bench_score ours,
                          struct bench_score reference, double target)
{
    report(name, unit, ours, reference, target, false);
}

void bench_skip(const char *name, const char *why)
{
    printf("skip\t%s\t%s\n", name, why);
    fflush(stdout);
    exit(0);
}

void bench_fail(const char *what, int error)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(error < 0 ? -error : error));
    exit(1);
}

double bench_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

double bench_processor_seconds(int who)
{
    struct rusage used;
    if (getrusage(who, &used) != 0)
        bench_fail("getrusage", errno);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

uint64_t bench_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), compare);
    return values[n / 2];
}

static void fill(int fd, size_t len_bytes)
{
    size_t chunk = 1 << 20;
    uint64_t state = 1, *buf = malloc(chunk);
    if (buf == NULL)
        bench_fail("memory", ENOMEM);
    for (size_t done = 0; done < len_bytes; done += chunk) {
        for (size_t i = 0; i < chunk / sizeof(*buf); i++)
            buf[i] = bench_random(&state);
        if (write(fd, buf, chunk) != (ssize_t)chunk)
            bench_fail("writing the data file", errno);
    }
    free(buf);
}

static const char *data_path(void)
{
    const char *path = getenv("BENCH_DATA");
    return path == NULL ? "bench.data" : path;
}

int bench_open(void)
{
    int fd = open(data_path(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        bench_fail("the data file", errno);
    if ((size_t)st.st_size != BENCH_FILE + BENCH_HOT)
        fill(fd, BENCH_FILE + BENCH_HOT);
    bench_drop_cache(fd);
    return fd;
}

void bench_scratch(size_t len_bytes, char *path, size_t size)
{
    if ((size_t)snprintf(path, size, "%s.scratch", data_path()) >= size)
        bench_fail(data_path(), ENAMETOOLONG);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        bench_fail(path, errno);
    fill(fd, len_bytes);
    bench_drop_cache(fd);
    close(fd);
}

void bench_drop_cache(int fd)
{
    if (fsync(fd) != 0) /* dirty pages stay */
        bench_fail("fsync of the data file", errno);
    int error = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (error != 0)
        bench_fail("dropping the kernel's cache of the data file", error);
}

uint64_t bench_cached_bytes(int fd)
{
#ifndef __NR_cachestat
#define __NR_cachestat 451
#endif
    struct {
        uint64_t off, len;
    } range = {0, 0};
    struct {
        uint64_t cache, dirty, writeback, evicted, recently_evicted;
    } stat = {0};
    if (syscall(__NR_cachestat, fd, &range, &stat, 0) != 0)
        bench_fail("cachestat (Linux 6.5)", errno);
    return stat.cache * BENCH_PAGE;
}

static bool put(const char *dir, const char *file, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

bool bench_cgroup_enter(size_t limit_bytes)
{
    char limit[32], self[32];
    snprintf(limit, sizeof(limit), "%zu", limit_bytes);
    snprintf(self, sizeof(self), "%d", (int)getpid());
    bool v1 =
        access(CGROUP_V1 "/memory.limit_in_bytes", F_OK) == 0 || access(CGROUP_V1 "/cgroup.procs", F_OK) == 0;
    const char *dir = v1 ? CGROUP_V1 "/" CGROUP : CGROUP_V2 "/" CGROUP;
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return false;
    return put(dir, v1 ? "memory.limit_in_bytes" : "memory.max", limit) && put(dir, "cgroup.procs", self);
}

void bench_cgroup_remove(void)
{
    for (int tries = 0; tries < CGROUP_TRIES; tries++) {
        errno = 0;
        if (rmdir(CGROUP_V1 "/" CGROUP) == 0 || rmdir(CGROUP_V2 "/" CGROUP) == 0 || errno != EBUSY)
            return;
        usleep(10000);
    }
}
