/*
 * bench.h: what every measure shares: a score, a clock, the data file, the processes of its sides, the memory
 * cgroup of the kernel's side.
 *
 *   bench ─▶ each measure: a process ─▶ each side, in turn: a process with a time limit ─▶ a score
 *                     │
 *                     └─▶ result lines ─▶ table, JSON
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_LIMIT ((size_t)64 << 20)        /* the memory limit of both sides, but for the sort */
#define BENCH_FILE  ((size_t)4 * BENCH_LIMIT) /* the data */
#define BENCH_HOT   (BENCH_LIMIT / 2)         /* behind the data in the same file: the hot set */
#define BENCH_PAGE  ((size_t)4096)

/* Time limits: of one run of a side, and of a measure with all of its runs. */
#define BENCH_RUN_SECONDS     120
#define BENCH_MEASURE_SECONDS 1200

struct fl_file;

/* What a run reached. */
struct bench_score {
    double value;
    double processor_seconds; /* of the part that was measured; 0: it explains nothing and was not taken */
};

/*
 * One line of the table: ours against the reference of the same run, for the parent to read. The ratio
 * ours / reference must be at least or at most the target.
 */
void bench_report_at_least(const char *name, const char *unit, struct bench_score ours,
                           struct bench_score reference, double target);
void bench_report_at_most(const char *name, const char *unit, struct bench_score ours,
                          struct bench_score reference, double target);
/* This measure cannot be taken here: says why, for the parent to read, and ends the process. */
_Noreturn void bench_skip(const char *name, const char *why);
/* An unexpected failure: says what, and ends the process with an error. */
_Noreturn void bench_fail(const char *what, int error);

double bench_now(void); /* seconds, monotonic */
/* What this process used until now (who: RUSAGE_SELF, all threads), or its children that ended. */
double bench_processor_seconds(int who);
uint64_t bench_random(uint64_t *state);
double bench_median(double *values, size_t n); /* sorts them */

/* The data file, made at first use, and its descriptor (O_RDWR). Its pages are not in the kernel's cache on
 * return. */
int bench_open(void);
/* Makes a file of random bytes, always the same, beside the data file, for a run to change: `path` gets its
 * name. No process has it open, and its pages are not in the kernel's cache. The caller unlinks it. */
void bench_scratch(size_t len_bytes, char *path, size_t size);
void bench_drop_cache(int fd);
/* Bytes of the file in the kernel's page cache now. */
uint64_t bench_cached_bytes(int fd);

/* The data under a mapping of ours, with this advice; `file` may be NULL. */
char *bench_map_ours(int fd, size_t len_bytes, int prot, int advice, struct fl_file **file);
/* The same under the kernel's mmap. */
char *bench_map_kernel(int fd, size_t len_bytes, int prot, int advice);
/* The kernel's msync with results as fl_msync has them. */
int bench_kernel_msync(void *addr, size_t len_bytes, int flags);
/* The sum of what is there, so that nothing is optimised away. */
uint64_t bench_sum(const char *bytes, size_t len_bytes);
extern volatile uint64_t bench_sink;

/* ---- child.c: processes that end with their parent ---- */

/* As fork, but the child is killed when this process ends, and so is what it executes. Context: the main
 * thread. */
pid_t bench_fork(void);
/* Waits for the end of the child, and kills it after `seconds`. 0; -ETIME; or its status, as of waitpid. */
int bench_wait(pid_t pid, unsigned seconds);
/* Runs a program of the folder that this one lies in (argv[0]: its name) to its end; value: seconds. Fails if
 * its status is not 0. */
struct bench_score bench_program(const char *const argv[]);
/* The path of `name` in the folder that this program lies in. */
void bench_beside(const char *name, char *path, size_t size);

/* ---- sides.c: the sides of a measure ---- */

/*
 * One side: what it reaches with the file, in a process of its own, since neither a limit of the kernel's nor
 * a VM of ours is left again. The file's pages are out of the cache before and after.
 */
struct bench_side {
    const char *who; /* "Faultline", "the kernel": for the message when it is late */
    struct bench_score (*run)(int fd, const void *arg);
    const void *arg;
    size_t cgroup_bytes; /* under a memory cgroup of this size; 0: in none */
};
#define BENCH_SIDES_MAX 3
/*
 * All sides in turn, several times, since devices and machines change their speed: the medians. Skips the
 * measure `name` where there is no memory cgroup or a run takes longer than BENCH_RUN_SECONDS.
 */
void bench_compare(const char *name, int fd, const struct bench_side *sides, size_t nsides,
                   struct bench_score *scores);
/* The side, of those that differ in advice alone, which reaches the most in one run. */
const struct bench_side *bench_best(const char *name, int fd, const struct bench_side *sides, size_t nsides);

/* What the device gives, by direct I/O through io_uring: MB/s in chunks of 1 MiB, 8 at a time, each summed up
 * as it comes; random pages a second, 32 at a time. */
double bench_device_sequential(int fd);
double bench_device_random(int fd);

/* Puts the calling process under a memory cgroup of this size. False: not possible here. */
bool bench_cgroup_enter(size_t limit_bytes);
/* Removes it, when all processes that were in it have ended. */
void bench_cgroup_remove(void);

/* The measures. Each runs in its own process. */
void bench_mapped(void);
void bench_refault(void);
void bench_first_store(void);
void bench_sequential(void);
void bench_interleaved(void);
void bench_strided(void);
void bench_random_reads(void);
void bench_prefetch(void);
void bench_random_writes(void);
void bench_sort(void);
void bench_hot_set(void);
void bench_start(void);
void bench_resident(void);
void bench_metadata(void);
void bench_peak(void);

#endif
