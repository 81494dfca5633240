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
#define BENCH_HOT   (BENCH_LIMIT / 2)         /* behind the data in the same file: the hot set */
#define BENCH_PAGE  ((size_t)4096)

struct fl_file;

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

/* The data under a mapping of ours, with this advice; `file` may be NULL. */
char *bench_map_ours(int fd, size_t len_bytes, int prot, int advice, struct fl_file **file);
/* The sum of what is there, so that nothing is optimised away. */
uint64_t bench_sum(const char *bytes, size_t len_bytes);
extern volatile uint64_t bench_sink;

/*
 * One side of a measure: what it reached with the file, in a process of its own, since neither a limit of the
 * kernel's nor a VM of ours is left again. The file's pages are out of the cache before and after.
 */
typedef double bench_side(int fd, const void *arg);
/* The kernel's side, under a memory cgroup of BENCH_LIMIT. Skips the measure `name` where there is none. */
double bench_kernel(const char *name, int fd, bench_side *side, const void *arg);
/* Both in turn, several times, since devices and machines change their speed: the medians. */
struct bench_sides {
    double ours, kernel;
};
struct bench_sides bench_compare(const char *name, int fd, bench_side *ours, const void *ours_arg,
                                 bench_side *kernel, const void *kernel_arg);

/* What the device gives, by direct I/O through io_uring: MB/s in chunks of 1 MiB, 8 at a time, each summed up
 * as it comes; random pages a second, 32 at a time. */
double bench_device_sequential(int fd);
double bench_device_random(int fd);

/* Puts the calling process under a memory cgroup of BENCH_LIMIT. False: not possible here (*why). Leaves
 * nothing behind: the parent removes it. */
bool bench_cgroup_enter(const char **why);
void bench_cgroup_remove(void);

/* The measures. Each runs in its own process. */
void bench_refault(void);
void bench_mapped(void);
void bench_sequential(void);
void bench_interleaved(void);
void bench_strided(void);
void bench_random_reads(void);
void bench_prefetch(void);
void bench_random_writes(void);
void bench_hot_set(void);
void bench_resident(void);
void bench_metadata(void);
void bench_peak(void);

#endif
