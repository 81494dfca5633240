/*
 * fsx.h: the exerciser of one real file: random reads, writes, mapped reads and writes, truncations, holes
 * and syncs, beside an array of bytes that says what it must hold. (The idea: fsx, by Apple and others.)
 *
 *      fsx.c        arguments, the loop, the end: the kernel's view of the file
 *      fsx_ops.c    one operation: drawn from (seed, number) alone, fitted to the file as it is
 *      fsx_model.c  the bytes, who wrote them last, the comparison
 *      fsx_api.c    calls_* by faultline.h            ─▶ the program fsx_api
 *      fsx_posix.c  calls_* by the system's own calls ─▶ the program fsx_posix, also under `faultline run`
 *
 * An operation does not depend on those before it, so any of them can be
 * left out: fsx_test.py shortens a failing run that way.
 */
#ifndef TESTS_LIBRARY_FSX_FSX_H
#define TESTS_LIBRARY_FSX_FSX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define FSX_LEN_MAX ((size_t)6 << 20) /* bytes; the file's length is at most that */
#define FSX_FDS     5                 /* descriptors */
#define FSX_MAPS    4                 /* shared mappings */
#define FSX_PAGE    ((size_t)4096)

/* ---- the calls: as those of the system, results and negative errno alike ------------------------------- */

struct fsx_options {
    size_t memory_limit_bytes; /* API */
    bool thread_engine;        /* API */
};

int calls_start(const struct fsx_options *options);
int calls_stop(void);
/* fd: [0, FSX_FDS), which is closed. flags: O_RDONLY or O_RDWR; O_APPEND, O_DIRECT, O_DSYNC. */
int calls_open(int fd, const char *path, int flags);
int calls_close(int fd);
int64_t calls_preadv(int fd, const struct iovec *iov, int n, uint64_t offset);
/* O_APPEND: the offset does not count. */
int64_t calls_pwritev(int fd, const struct iovec *iov, int n, uint64_t offset);
/* By the descriptor's own position, which is set to offset before. */
int64_t calls_read(int fd, void *to, size_t len, uint64_t offset);
int64_t calls_write(int fd, const void *from, size_t len, uint64_t offset);
/* Copies inside the file; the ranges do not overlap. -EOPNOTSUPP: this program has no such call. */
int64_t calls_copy(int fd, uint64_t from, uint64_t to, size_t len, unsigned way);
int calls_truncate(int fd, uint64_t len);
int calls_punch(int fd, uint64_t offset, uint64_t len);
/* Writes zeros; the file grows if they lie beyond its end. -EOPNOTSUPP: this program has no such call. */
int calls_zero(int fd, uint64_t offset, uint64_t len);
/* The file becomes at least that long, and its bytes stay. -EOPNOTSUPP: this program has no such call. */
int calls_allocate(int fd, uint64_t offset, uint64_t len);
int calls_fsync(int fd, bool data);
int calls_sync_range(int fd, uint64_t offset, uint64_t len, unsigned flags);
int calls_fadvise(int fd, uint64_t offset, uint64_t len, int advice);
/* The file's length, or a negative errno. */
int64_t calls_size(int fd);
int calls_mmap(void **addr, size_t len, int prot, int flags, int fd, uint64_t offset);
int calls_munmap(void *addr, size_t len);
int calls_mremap(void **addr, size_t old_len, size_t new_len);
int calls_mprotect(void *addr, size_t len, int prot);
int calls_msync(void *addr, size_t len, int flags);
int calls_madvise(void *addr, size_t len, int advice);
int calls_mincore(void *addr, size_t len, unsigned char *vec);
int calls_mlock(void *addr, size_t len, bool lock);
int calls_prefetch(const struct iovec *range, unsigned n);

/* ---- fsx_model.c --------------------------------------------------------------------------------------- */

extern unsigned char model_bytes[FSX_LEN_MAX];
extern size_t model_len;
extern unsigned op_number; /* the operation that is being done */

/* Says what went wrong in which operation, and exits with 1. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/*
 * The bytes that the operation writes at [offset, offset + len), which
 * differ from those of all other operations.
 */
void model_fill(unsigned char *to, uint64_t offset, size_t len, uint32_t data);
/*
 * The model of [offset, offset + len) becomes the bytes of `from`, or zeros if it is NULL; the file may grow.
 */
void model_write(uint64_t offset, const unsigned char *from, size_t len);
void model_truncate(size_t len);
/*
 * Fails unless the bytes read at offset are the model's, or zeros beyond
 * the end; `by` says how they were read.
 */
void model_compare(const unsigned char *is, uint64_t offset, size_t len, const char *by);
/* The kernel's own view of [offset, offset + len), past Faultline, of a file that was synced. */
void model_compare_kernel(int kernel_fd, uint64_t offset, size_t len);

/* ---- fsx_ops.c ----------------------------------------------------------------------------------------- */

struct fsx_run {
    const char *path;
    uint64_t seed;
    int kernel_fd; /* for the kernel's own view */
    bool verbose;  /* each operation is printed */
};

/* Opens every descriptor of the file. */
void ops_start(const struct fsx_run *run);
/* Does operation `number`. */
void ops_do(unsigned number);
/* Reads everything again, and closes what is open. */
void ops_finish(void);
/* The handler of SIGBUS, installed before calls_start. */
void ops_on_bus(int signo);
/* Whether an access ends in SIGBUS. */
bool ops_cannot_reach(volatile unsigned char *at, bool writes);

#endif
