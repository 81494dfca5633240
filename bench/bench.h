/*
 * bench.h: what every measure shares: a result, a clock, the data file, the memory cgroup that the kernel's
 * side runs in.
 *
 *   bench DIR ─▶ for each measure: a process of its own ─▶ result lines ─▶ table, JSON
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_LIMIT ((size_t)64 << 20)        /* the memory limit of both sides */
#define BENCH_FILE  ((size_t)4 * BENCH_LIMIT) /* the data */
#define BENCH_PAGE  ((size_t)4096)

/* One line of the table: ours against the reference of the same run. `ratio` must be <= target, or >= when
 * `at_least`. */
struct bench_result {
    const char *name;
    const char *unit;
    double ours, reference;
    double ratio, target;
    bool at_least;
};

/* Prints the result for the parent to read. */
void bench_report(const struct bench_result *result);
/* This measure cannot be taken here: says why, for the parent to read, and ends the process. */
_Noreturn void bench_skip(const char *name, const char *why);
/* An unexpected failure: says what, and ends the process with an error. */
_Noreturn void bench_fail(const char *what, int error);

double bench_now(void); /* seconds, monotonic */
uint64_t bench_random(uint64_t *state);
double bench_median(double *values, size_t n); /* sorts them */

/* The data file, made at first use, and its descriptor (O_RDWR). Its pages are not in the kernel's cache on
 * return. */
int bench_open(void);
void bench_drop_cache(int fd);
/* Bytes of the file in the kernel's page cache now. */
uint64_t bench_cached_bytes(int fd);

/* Puts the calling process under a memory cgroup of BENCH_LIMIT. False: not possible here (*why). Leaves
 * nothing behind: the parent removes it. */
bool bench_cgroup_enter(const char **why);
void bench_cgroup_remove(void);

/* The measures. Each runs in its own process. */
void bench_refault(void);
void bench_mapped(void);
void bench_sequential(void);
void bench_random_reads(void);
void bench_metadata(void);
void bench_peak(void);

#endif
