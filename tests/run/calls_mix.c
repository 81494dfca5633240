/*
 * calls_mix.c: every call on files, mixed at random with mappings of the same files, in a program that knows
 * nothing of Faultline. It prints what it sees; the test (calls_mix_test) compares a native run with runs
 * under limits smaller than the files, and the files afterwards.
 *
 *   calls_mix SEED OPERATIONS DIRECTORY
 *
 *   file 0 … 2 ── descriptors: rw, ro, wo, append, direct, dsync; some shared by dup
 *      └───────── mappings: shared rw, shared ro, private; made and removed on the way
 *
 * An operation never touches a mapping beyond the end of its file, and never reads and writes ranges of one
 * file that overlap: there the kernel promises nothing.
 */
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES     3
#define FDS       7
#define MAPS      4
#define SIZE_MAX_ ((size_t)1400 << 10)
#define LEN_MAX   ((size_t)90 << 10)
#define PAGE      4096u

static struct {
    char path[512];
    int fd[FDS];
    unsigned char *map[MAPS]; /* SIZE_MAX_ long, or NULL */
} file[FILES];

static const int fd_flags[FDS] = {O_RDWR,           O_RDONLY, O_WRONLY, O_RDWR | O_APPEND, O_RDWR | O_DIRECT,
                                  O_RDWR | O_DSYNC, O_RDWR};
static const struct {
    int prot, flags, fd;
} map_kind[MAPS] = {{PROT_READ | PROT_WRITE, MAP_SHARED, 0},
                    {PROT_READ, MAP_SHARED, 1},
                    {PROT_READ, MAP_PRIVATE, 1},
                    {PROT_READ | PROT_WRITE, MAP_SHARED, 5}};

static uint64_t state;
static unsigned char *buffer; /* LEN_MAX + 2 pages, aligned */
static int pipe_fd[2];

static size_t below(size_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 11) % n;
}

static uint64_t sum(const unsigned char *p, size_t n)
{
    uint64_t h = 1469598103934665603u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static void fill(unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)below(256);
}

/* Mostly small, at times long; the offset mostly within the file. */
static size_t any_len(void)
{
    return below(4) == 0 ? 1 + below(LEN_MAX - 1) : 1 + below(3 * PAGE);
}

static size_t size_of(int f)
{
    struct stat st;

    CHECK(stat(file[f].path, &st) == 0);
    return (size_t)st.st_size;
}

static off_t any_offset(int f)
{
    size_t size = size_of(f);

    return (off_t)(below(8) == 0 ? below(SIZE_MAX_ - LEN_MAX) : size == 0 ? 0 : below(size));
}

static int any_fd(int f)
{
    return file[f].fd[below(FDS)];
}

/* A range of len bytes that is mapped, of that kind, and inside the file; or NULL. */
static unsigned char *any_place(int f, bool writable, size_t *len, size_t *at)
{
    size_t m = below(MAPS), size = size_of(f);

    if (file[f].map[m] == NULL || size == 0 || (writable && (map_kind[m].prot & PROT_WRITE) == 0))
        return NULL;
    if (*len > size)
        *len = size;
    *at = below(size - *len + 1);
    return file[f].map[m] + *at;
}

static void told(const char *what, long r)
{
    int error = errno;

    printf("%s %ld%s%s\n", what, r, r < 0 ? " " : "", r < 0 ? strerror(error) : "");
}

/* Prints what was read; a direct descriptor may refuse the call. */
static void told_bytes(const char *what, long r, const unsigned char *p)
{
    told(what, r);
    if (r > 0)
        printf("  %lx\n", sum(p, (size_t)r));
}

/* ---- reads and writes ------------------------------------------------------------------------------ */

static void op_pread(int f)
{
    size_t len = any_len();

    told_bytes("pread", pread(file[f].fd[below(2) * 6], buffer, len, any_offset(f)), buffer);
}

static void op_pread_any(int f)
{
    int fd = any_fd(f);

    if (fd != file[f].fd[4])
        told_bytes("pread any", pread(fd, buffer, any_len(), any_offset(f)), buffer);
}

static void op_pwrite(int f)
{
    size_t len = any_len();
    int fd = any_fd(f);

    if (fd == file[f].fd[4] || (fd == file[f].fd[3] && size_of(f) > SIZE_MAX_ - LEN_MAX))
        return;
    fill(buffer, len);
    told("pwrite", pwrite(fd, buffer, len, any_offset(f)));
}

static void op_direct(int f)
{
    size_t len = (1 + below(8)) * PAGE;
    off_t at = any_offset(f) / (off_t)PAGE * (off_t)PAGE;

    if (below(2) == 0) {
        told_bytes("direct read", pread(file[f].fd[4], buffer, len, at), buffer);
    } else {
        fill(buffer, len);
        told("direct write", pwrite(file[f].fd[4], buffer, len, at));
    }
}

static void op_position(int f)
{
    int fd = file[f].fd[(size_t[]){0, 5, 6}[below(3)]]; /* 6 is a duplicate of 0 */
    size_t len = any_len();

    if (below(3) == 0)
        told("lseek", lseek(fd, any_offset(f), SEEK_SET));
    if (below(2) == 0) {
        told_bytes("read", read(fd, buffer, len), buffer);
    } else {
        fill(buffer, len);
        if (lseek(fd, 0, SEEK_CUR) < (off_t)(SIZE_MAX_ - LEN_MAX))
            told("write", write(fd, buffer, len));
    }
    told("position", lseek(fd, 0, SEEK_CUR));
    told("end", lseek(fd, 0, SEEK_END));
    told("back", lseek(fd, -(off_t)below(1000), SEEK_END));
}

static void op_append(int f)
{
    size_t len = any_len();

    if (size_of(f) > SIZE_MAX_ - LEN_MAX)
        return;
    fill(buffer, len);
    told("append", write(file[f].fd[3], buffer, len));
    told("position", lseek(file[f].fd[3], 0, SEEK_CUR));
}

static void op_vector(int f)
{
    struct iovec iov[20];
    int n = (int)below(20) + 1;
    size_t at = 0;
    bool writes = below(2) == 0;
    off_t offset = any_offset(f);
    int flags = (int[]){0, RWF_DSYNC, RWF_SYNC, RWF_HIPRI, RWF_APPEND, 0x40000}[below(6)];

    for (int i = 0; i < n; i++) {
        iov[i].iov_base = buffer + at;
        iov[i].iov_len = below(LEN_MAX / 20);
        at += iov[i].iov_len;
    }
    fill(buffer, at);
    if (size_of(f) > SIZE_MAX_ - LEN_MAX)
        flags &= ~RWF_APPEND;
    if (!writes && flags == RWF_APPEND)
        flags = 0;
    switch (below(3)) {
    case 0:
        if (lseek(file[f].fd[0], offset, SEEK_SET) < 0)
            return;
        told_bytes("v", writes ? writev(file[f].fd[0], iov, n) : readv(file[f].fd[0], iov, n), buffer);
        break;
    case 1:
        told_bytes("pv",
                   writes ? pwritev(file[f].fd[0], iov, n, offset) : preadv(file[f].fd[0], iov, n, offset),
                   buffer);
        break;
    default:
        told_bytes("pv2",
                   writes ? pwritev2(file[f].fd[0], iov, n, offset, flags)
                          : preadv2(file[f].fd[0], iov, n, offset, flags),
                   buffer);
    }
}

/* ---- mappings -------------------------------------------------------------------------------------- */

static void op_load(int f)
{
    size_t len = any_len(), at;
    unsigned char *p = any_place(f, false, &len, &at);

    if (p != NULL)
        printf("load %zu %lx\n", len, sum(p, len));
}

static void op_store(int f)
{
    size_t len = any_len(), at;
    unsigned char *p = any_place(f, true, &len, &at);

    if (p != NULL)
        fill(p, len);
}

static void op_map(int f)
{
    size_t m = below(MAPS);

    if (file[f].map[m] != NULL) {
        CHECK(munmap(file[f].map[m], SIZE_MAX_) == 0);
        file[f].map[m] = NULL;
        return;
    }
    file[f].map[m] =
        mmap(NULL, SIZE_MAX_, map_kind[m].prot, map_kind[m].flags, file[f].fd[map_kind[m].fd], 0);
    CHECK(file[f].map[m] != MAP_FAILED);
}

static void op_sync(int f)
{
    switch (below(7)) {
    case 0:
        if (file[f].map[0] != NULL)
            told("msync", msync(file[f].map[0], SIZE_MAX_, MS_SYNC));
        break;
    case 1:
        told("fsync", fsync(any_fd(f)));
        break;
    case 2:
        told("fdatasync", fdatasync(any_fd(f)));
        break;
    case 3:
        told("sync_file_range", sync_file_range(file[f].fd[0], any_offset(f), (off_t)any_len(),
                                                SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
        break;
    case 4:
        told("fadvise", posix_fadvise(file[f].fd[0], any_offset(f), (off_t)any_len(), (int)below(6)));
        break;
    case 5:
        told("readahead", readahead(file[f].fd[0], any_offset(f), any_len()));
        break;
    default:
        if (below(4) == 0)
            told("syncfs", syncfs(file[f].fd[0]));
    }
}

/* Between a file and a mapping of another file, or of another part of the same one. */
static void op_managed_buffer(int f)
{
    int g = (int)below(FILES);
    size_t len = any_len(), at;
    bool writes = below(2) == 0;
    unsigned char *p = any_place(g, !writes, &len, &at);
    off_t offset = any_offset(f);

    if (p == NULL || (f == g && (size_t)offset < at + len && at < (size_t)offset + len))
        return;
    if (writes)
        told("pwrite mapped", pwrite(file[f].fd[0], p, len, offset));
    else
        told_bytes("pread mapped", pread(file[f].fd[0], p, len, offset), p);
}

/* ---- lengths --------------------------------------------------------------------------------------- */

static void op_length(int f)
{
    off_t len = (off_t)(below(6) == 0 ? below(PAGE) : below(SIZE_MAX_ - LEN_MAX));
    int fd;

    switch (below(5)) {
    case 0:
        told("ftruncate", ftruncate(any_fd(f), len));
        break;
    case 1:
        told("truncate", truncate(file[f].path, len));
        break;
    case 2:
        fd = below(2) == 0 ? open(file[f].path, O_WRONLY | O_TRUNC) : creat(file[f].path, 0600);
        told("trunc", fd < 0 ? -1 : 0);
        told("close", close(fd));
        break;
    default:
        told("ftruncate", ftruncate(file[f].fd[0], len));
    }
    told("size", (long)size_of(f));
}

static void op_allocate(int f)
{
    static const int mode[] = {0,
                               FALLOC_FL_KEEP_SIZE,
                               FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               FALLOC_FL_ZERO_RANGE,
                               FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                               FALLOC_FL_PUNCH_HOLE};
    off_t offset = any_offset(f);
    off_t len = (off_t)any_len();

    if (below(4) == 0)
        told("posix_fallocate", posix_fallocate(any_fd(f), offset, len));
    else
        told("fallocate", fallocate(any_fd(f), mode[below(6)], offset, len));
    told("size", (long)size_of(f));
}

/* ---- copies ---------------------------------------------------------------------------------------- */

static void op_copy(int f)
{
    int g = (int)below(FILES);
    off_t from = any_offset(f), to = any_offset(g);
    size_t len = any_len();

    told("copy_file_range", copy_file_range(file[f].fd[0], &from, file[g].fd[0], &to, len, 0));
    printf("  %ld %ld\n", (long)from, (long)to);
}

static void op_sendfile(int f)
{
    int g = (int)below(FILES);
    off_t from = any_offset(f), to = any_offset(g);
    size_t len = any_len() % 60000;

    if (f == g && (size_t)from < (size_t)to + len && (size_t)to < (size_t)from + len)
        return;
    if (below(2) == 0) {
        if (lseek(file[g].fd[0], to, SEEK_SET) < 0)
            return;
        told("sendfile", sendfile(file[g].fd[0], file[f].fd[1], &from, len));
        told("position", lseek(file[g].fd[0], 0, SEEK_CUR));
    } else {
        ssize_t n = sendfile(pipe_fd[1], file[f].fd[1], &from, len);

        told("sendfile pipe", n);
        if (n > 0)
            told_bytes("pipe", read(pipe_fd[0], buffer, (size_t)n), buffer);
    }
}

static void op_splice(int f)
{
    int g = (f + 1) % FILES; /* the pipe holds the page itself, so later stores show in it */
    loff_t from = any_offset(f), to = any_offset(g);
    ssize_t n = splice(file[f].fd[1], &from, pipe_fd[1], NULL, any_len() % 30000, 0);

    told("splice", n);
    for (ssize_t done = 0; done < n;) {
        ssize_t r = splice(pipe_fd[0], NULL, file[g].fd[0], &to, (size_t)(n - done), 0);

        CHECK(r > 0);
        done += r;
    }
    printf("  %ld %ld\n", (long)from, (long)to);
}

static void op_stream(int f)
{
    size_t len = any_len();
    FILE *stream = fopen(file[f].path, below(2) == 0 ? "r+" : "r");
    size_t got;

    if (stream == NULL || fseek(stream, any_offset(f), SEEK_SET) != 0)
        return;
    got = fread(buffer, 1, len, stream);
    printf("fread %zu %lx at %ld\n", got, sum(buffer, got), ftell(stream));
    fill(buffer, len);
    if (fseek(stream, any_offset(f), SEEK_SET) == 0 && ftell(stream) < (long)(SIZE_MAX_ - LEN_MAX))
        printf("fwrite %zu\n", fwrite(buffer, 1, len, stream));
    told("fclose", fclose(stream));
}

/* ---- descriptors ----------------------------------------------------------------------------------- */

static void open_all(int f)
{
    for (size_t i = 0; i < FDS - 1; i++) {
        file[f].fd[i] = open(file[f].path, fd_flags[i]);
        CHECK(file[f].fd[i] >= 0);
    }
    file[f].fd[FDS - 1] = dup(file[f].fd[0]);
}

/* Descriptor numbers change their file, also by libc's own opens. */
static void op_reopen(int f)
{
    int g = (int)below(FILES);
    int fd;

    switch (below(3)) {
    case 0:
        for (size_t i = 0; i < FDS; i++)
            CHECK(close(file[f].fd[i]) == 0);
        fclose(fopen("/etc/passwd", "r"));
        open_all(f);
        break;
    case 1:
        fd = file[f].fd[6];
        CHECK(dup2(pipe_fd[0], fd) == fd && lseek(fd, 0, SEEK_SET) < 0);
        CHECK(dup2(file[f].fd[0], fd) == fd);
        break;
    default:
        fd = fcntl(file[g].fd[1], F_DUPFD_CLOEXEC, 0);
        told_bytes("duplicate", pread(fd, buffer, 100, any_offset(g)), buffer);
        CHECK(close(fd) == 0);
    }
}

static void op_wrong(int f)
{
    void *volatile nowhere = (void *)8;
    volatile int minus = -1;
    int fd = any_fd(f);

    told("negative", pread(fd, buffer, 10, -1));
    told("negative", pwrite(file[f].fd[0], buffer, 10, -5));
    told("far", pwrite(file[f].fd[0], buffer, 10, INT64_MAX - 5));
    told("none", read(fd, buffer, 0));
    told("nowhere", pread(file[f].fd[0], nowhere, size_of(f) == 0 ? 0 : 1, 0));
    told("nowhere", pwrite(file[f].fd[0], nowhere, 10, 0));
    told("vector", readv(file[f].fd[0], nowhere, 3));
    told("many", readv(file[f].fd[0], (struct iovec[]){{buffer, 1}}, minus));
    told("long", readv(file[f].fd[0], (struct iovec[]){{buffer, SSIZE_MAX}, {buffer, SSIZE_MAX}}, 2));
    told("reader", pwrite(file[f].fd[1], buffer, 10, 0));
    told("writer", pread(file[f].fd[2], buffer, 10, 0));
    told("short", ftruncate(file[f].fd[0], -1));
    told("cannot", ftruncate(file[f].fd[1], 10));
    told("closed", read(1000, buffer, 10));
    told("hole", fallocate(file[f].fd[0], 0, 0, 0));
    told("both", preadv2(file[f].fd[0], (struct iovec[]){{buffer, 10}}, 1, -2, 0));
}

static void op_view(int f)
{
    for (size_t at = 0, size = size_of(f); at < size;) {
        ssize_t n = pread(file[f].fd[0], buffer, LEN_MAX, (off_t)at);

        CHECK(n > 0);
        printf("view %lx\n", sum(buffer, (size_t)n));
        at += (size_t)n;
    }
}

int main(int argc, char **argv)
{
    static const struct {
        unsigned weight;
        void (*run)(int f);
    } ops[] = {
        {12, op_pread},   {4, op_pread_any}, {14, op_pwrite},        {5, op_direct},   {8, op_position},
        {4, op_append},   {8, op_vector},    {20, op_load},          {20, op_store},   {3, op_map},
        {4, op_sync},     {6, op_length},    {8, op_managed_buffer}, {6, op_allocate}, {4, op_copy},
        {4, op_sendfile}, {3, op_splice},    {4, op_stream},         {2, op_reopen},   {1, op_wrong},
        {1, op_view},
    };
    size_t total = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 4)
        return 2;
    state = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
    buffer = mmap(NULL, LEN_MAX + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(buffer != MAP_FAILED && pipe(pipe_fd) == 0);
    for (int f = 0; f < FILES; f++) {
        snprintf(file[f].path, sizeof file[f].path, "%s/mix%d", argv[3], f);
        open_all(f);
    }
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        total += ops[i].weight;
    for (unsigned long n = strtoul(argv[2], NULL, 10); n > 0; n--) {
        size_t draw = below(total), i = 0;

        for (; draw >= ops[i].weight; i++)
            draw -= ops[i].weight;
        ops[i].run((int)below(FILES));
    }
    for (int f = 0; f < FILES; f++)
        op_view(f);
    return 0;
}
