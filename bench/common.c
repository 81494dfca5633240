/* common.c: the clock, the data file and the cgroup behind bench.h. */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CGROUP_V1 "/sys/fs/cgroup/memory"
#define CGROUP_V2 "/sys/fs/cgroup"
#define CGROUP    "faultline-bench"

void bench_report(const struct bench_result *r)
{
    printf("result\t%s\t%s\t%.6g\t%.6g\t%.4g\t%.4g\t%d\n", r->name, r->unit, r->ours, r->reference, r->ratio,
           r->target, r->at_least);
    fflush(stdout);
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

static void make_file(int fd)
{
    size_t chunk = 1 << 20;
    uint64_t state = 1, *buf = malloc(chunk);
    if (buf == NULL)
        bench_fail("memory", ENOMEM);
    for (size_t done = 0; done < BENCH_FILE + BENCH_HOT; done += chunk) {
        for (size_t i = 0; i < chunk / sizeof(*buf); i++)
            buf[i] = bench_random(&state);
        if (write(fd, buf, chunk) != (ssize_t)chunk)
            bench_fail("writing the data file", errno);
    }
    free(buf);
    if (fsync(fd) != 0)
        bench_fail("fsync of the data file", errno);
}

int bench_open(void)
{
    const char *path = getenv("BENCH_DATA");
    int fd = open(path == NULL ? "bench.data" : path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        bench_fail("the data file", errno);
    if ((size_t)st.st_size != BENCH_FILE + BENCH_HOT)
        make_file(fd);
    bench_drop_cache(fd);
    return fd;
}

void bench_drop_cache(int fd)
{
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

bool bench_cgroup_enter(const char **why)
{
    char limit[32], self[32];
    snprintf(limit, sizeof(limit), "%zu", BENCH_LIMIT);
    snprintf(self, sizeof(self), "%d", (int)getpid());
    bool v1 =
        access(CGROUP_V1 "/memory.limit_in_bytes", F_OK) == 0 || access(CGROUP_V1 "/cgroup.procs", F_OK) == 0;
    const char *dir = v1 ? CGROUP_V1 "/" CGROUP : CGROUP_V2 "/" CGROUP;
    *why = "needs root and a memory cgroup";
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return false;
    return put(dir, v1 ? "memory.limit_in_bytes" : "memory.max", limit) && put(dir, "cgroup.procs", self);
}

void bench_cgroup_remove(void)
{
    rmdir(CGROUP_V1 "/" CGROUP);
    rmdir(CGROUP_V2 "/" CGROUP);
}
