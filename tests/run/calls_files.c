/*
 * calls_files.c: what calls on mapped files promise to several threads, processes and descriptors, in a
 * program that knows nothing of Faultline. It prints what it sees; the test (calls_files_test) compares a
 * native run with runs under limits smaller than the file.
 *
 *   calls_files CASE FILE      FILE is 16 MiB or more of numbered pages, made by the test; it may change
 */
#include "given_file.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4

static unsigned char *map(int fd, int prot)
{
    void *p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

    CHECK(p != MAP_FAILED);
    return p;
}

static int opened(int flags)
{
    int fd = open(path, flags);

    CHECK(fd >= 0);
    return fd;
}

static void told(const char *what, long r)
{
    printf("%s %ld%s%s\n", what, r, r < 0 ? " " : "", r < 0 ? strerror(errno) : "");
}

/* ---- threads --------------------------------------------------------------------------------------- */

#define STRIPE  1500u /* bytes of each thread in turn: not aligned, so that threads share pages */
#define RECORD  733u
#define RECORDS 400

static unsigned char *view;
static int shared_fd;

struct worker {
    pthread_t thread;
    unsigned id, seed;
    uint64_t result;
};

/* Each thread has bytes of its own, and sees there only what it wrote itself, by whatever call. */
static void *work_stripes(void *arg)
{
    struct worker *w = arg;
    unsigned char expect[STRIPE], got[STRIPE];
    size_t stripes = size / (STRIPE * THREADS);

    for (int round = 0; round < 600; round++) {
        size_t at = (rand_r(&w->seed) % stripes * THREADS + w->id) * STRIPE;

        memset(expect, rand_r(&w->seed) & 0xff, STRIPE);
        if (rand_r(&w->seed) % 2 == 0)
            memcpy(view + at, expect, STRIPE);
        else
            CHECK(pwrite(shared_fd, expect, STRIPE, (off_t)at) == STRIPE);
        if (rand_r(&w->seed) % 2 == 0)
            memcpy(got, view + at, STRIPE);
        else
            CHECK(pread(shared_fd, got, STRIPE, (off_t)at) == STRIPE);
        w->result += memcmp(got, expect, STRIPE) != 0;
    }
    return NULL;
}

/* A record is written in one piece, behind all others, also where the position is shared. */
static void *work_records(void *arg)
{
    struct worker *w = arg;
    unsigned char record[RECORD];

    for (unsigned i = 0; i < RECORDS; i++) {
        memset(record, (int)(w->id * 50 + i % 50 + 1), RECORD);
        CHECK(write(shared_fd, record, RECORD) == RECORD);
    }
    return NULL;
}

/* Each record is read once. */
static void *work_read(void *arg)
{
    struct worker *w = arg;
    unsigned char record[RECORD];
    ssize_t n;

    while ((n = read(shared_fd, record, RECORD)) == RECORD) {
        for (unsigned i = 1; i < RECORD; i++)
            CHECK(record[i] == record[0]);
        w->result += record[0];
    }
    return NULL;
}

static uint64_t all(void *(*work)(void *))
{
    struct worker w[THREADS];
    uint64_t total = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.id = i, .seed = i + 1};
        CHECK(pthread_create(&w[i].thread, NULL, work, &w[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        CHECK(pthread_join(w[i].thread, NULL) == 0);
        total += w[i].result;
    }
    return total;
}

static void case_stripes(void)
{
    shared_fd = opened(O_RDWR);
    view = map(shared_fd, PROT_READ | PROT_WRITE);
    printf("wrong %lu\n", all(work_stripes));
}

static void records(int flags)
{
    shared_fd = opened(flags);
    view = map(shared_fd, PROT_READ);
    if ((flags & O_APPEND) == 0)
        CHECK(ftruncate(shared_fd, 0) == 0);
    printf("%lu\n", all(work_records));
    printf("position %ld end %ld\n", (long)lseek(shared_fd, 0, SEEK_CUR),
           (long)lseek(shared_fd, 0, SEEK_END));
    lseek(shared_fd, (flags & O_APPEND) != 0 ? (off_t)size : 0, SEEK_SET);
    printf("read %lu\n", all(work_read));
}

static void case_position(void)
{
    records(O_RDWR);
}

static void case_append(void)
{
    records(O_RDWR | O_APPEND);
}

static volatile int go_on = 1;

static void *work_mapping(void *arg)
{
    int fd = opened(O_RDWR);

    (void)arg;
    while (go_on) {
        unsigned char *p = map(fd, PROT_READ | PROT_WRITE);

        p[7] ^= 1;
        CHECK(munmap(p, size) == 0);
    }
    close(fd);
    return NULL;
}

/* A file becomes managed, and is released again, while other threads make calls on it. */
static void case_comes_and_goes(void)
{
    int fd = opened(O_RDWR);
    unsigned char b[300], got[300];
    pthread_t thread;
    unsigned wrong = 0;

    CHECK(pthread_create(&thread, NULL, work_mapping, NULL) == 0);
    for (unsigned i = 0; i < 3000; i++) {
        off_t at = (off_t)(8 + i * 7919 % 100000);

        memset(b, (int)i, sizeof b);
        CHECK(pwrite(fd, b, sizeof b, at) == sizeof b);
        CHECK(pread(fd, got, sizeof got, at) == sizeof got);
        wrong += memcmp(b, got, sizeof b) != 0;
    }
    go_on = 0;
    CHECK(pthread_join(thread, NULL) == 0);
    printf("wrong %u\n", wrong);
}

/* ---- processes ------------------------------------------------------------------------------------- */

static void reap(pid_t pid)
{
    int status;

    CHECK(waitpid(pid, &status, 0) == pid);
    printf("child %d\n", status);
}

/* Both processes read by descriptor what was written before the fork and after it. */
static void case_fork(void)
{
    int fd = opened(O_RDWR);
    const unsigned char *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    int up[2], down[2];
    char b[8] = {0};
    pid_t pid;

    CHECK(p != MAP_FAILED && pipe(up) == 0 && pipe(down) == 0);
    printf("%u\n", p[100]);
    CHECK(pwrite(fd, "before", 6, 100) == 6);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        CHECK(pread(fd, b, 6, 100) == 6 && printf("child sees %.6s %.6s\n", b, (const char *)p + 100) > 0);
        CHECK(pwrite(fd, "child", 5, 5000) == 5 && write(up[1], "", 1) == 1 && read(down[0], b, 1) == 1);
        CHECK(pread(fd, b, 6, 9000) == 6 && printf("child sees %.6s\n", b) > 0);
        fflush(stdout);
        _exit(0);
    }
    CHECK(read(up[0], b, 1) == 1 && pread(fd, b, 5, 5000) == 5);
    printf("parent sees %.5s\n", b);
    fflush(stdout);
    CHECK(pwrite(fd, "parent", 6, 9000) == 6 && write(down[1], "", 1) == 1);
    reap(pid);
    printf("%c\n", p[9000]);
}

/* Child programs see what was written, and may write. */
static void case_system(void)
{
    int fd = opened(O_RDWR);
    unsigned char *p = map(fd, PROT_READ | PROT_WRITE);
    char command[5000];
    FILE *out;
    int c;

    CHECK(pwrite(fd, "written", 7, 3 * PAGE) == 7);
    p[5 * PAGE] = '#';
    snprintf(command, sizeof command, "cksum < %s", path);
    fflush(stdout);
    CHECK(system(command) == 0);
    CHECK(pwrite(fd, "again", 5, 7 * PAGE) == 5);
    out = popen(command, "r");
    while ((c = fgetc(out)) != EOF)
        putchar(c);
    CHECK(pclose(out) == 0);
    fflush(stdout);
    if (vfork() == 0) {
        execlp("cksum", "cksum", path, (char *)NULL);
        _exit(127);
    }
    wait(NULL);
}

/* A process that ends writes back its dirty pages, whether they are mapped at the end or not. */
static void case_exit(void)
{
    int fd = opened(O_RDWR);
    unsigned char *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

    CHECK(p != MAP_FAILED && pwrite(fd, p + PAGE, size / 2, 100) == (ssize_t)(size / 2));
    CHECK(ftruncate(fd, (off_t)(size - 5000)) == 0);
    _exit(0);
}

/* ---- descriptors ----------------------------------------------------------------------------------- */

/* A descriptor of the file is received in a message, under a number that stood for another file. */
static void case_passed(void)
{
    int fd = opened(O_RDWR), pair[2], other = open("/dev/null", O_RDWR), got;
    unsigned char *p = map(fd, PROT_READ | PROT_WRITE);
    char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
    struct iovec iov = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);

    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0 && write(other, "x", 1) == 1);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    /* closed past the shim, as libc does inside itself */
    CHECK(sendmsg(pair[0], &message, 0) == 1 && syscall(SYS_close, other) == 0);
    CHECK(recvmsg(pair[1], &message, 0) == 1);
    memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
    printf("same number %d\n", got == other);
    p[50] = 'p';
    CHECK(pread(got, &byte, 1, 50) == 1);
    printf("%c\n", byte);
    CHECK(pwrite(got, "q", 1, 51) == 1);
    printf("%c\n", p[51]);
}

/* Reads by the number, which was another file, was closed past the shim, and is the mapped file now. */
static void renumbered(const char *what, int number, int fd, off_t at)
{
    static char next = 'A';
    char byte = 0;

    view[at] = (unsigned char)++next;
    CHECK(fd == number && pread(fd, &byte, 1, at) == 1);
    printf("%s %c\n", what, byte);
    CHECK(syscall(SYS_close, fd) == 0 && open("/dev/null", O_RDWR) == number && write(number, "x", 1) == 1);
    CHECK(syscall(SYS_close, number) == 0);
}

static void case_numbers(void)
{
    int fd = opened(O_RDWR), number = open("/dev/null", O_RDWR);
    FILE *stream;

    view = map(fd, PROT_READ | PROT_WRITE);
    CHECK(write(number, "x", 1) == 1 && syscall(SYS_close, number) == 0);
    renumbered("open", number, open(path, O_RDWR), 100);
    renumbered("openat", number, openat(AT_FDCWD, path, O_RDWR), 200);
    renumbered("dup", number, dup(fd), 300);
    renumbered("dup2", number, dup2(fd, number), 400);
    renumbered("dup3", number, dup3(fd, number, O_CLOEXEC), 500);
    renumbered("F_DUPFD", number, fcntl(fd, F_DUPFD, 0), 600);
    renumbered("F_DUPFD_CLOEXEC", number, fcntl(fd, F_DUPFD_CLOEXEC, 0), 700);
    stream = fopen(path, "r+");
    CHECK(stream != NULL);
    renumbered("fopen", number, fileno(stream), 800);
    stream = fopen("/dev/null", "r");
    CHECK(stream != NULL && fileno(stream) == number && write(number, "", 0) <= 0);
    stream = freopen(path, "r+", stream);
    CHECK(stream != NULL);
    renumbered("freopen", number, fileno(stream), 900);
}

/* Streams: opened after the mapping, by name and by descriptor; their numbers are known. */
static void case_streams(void)
{
    int fd = opened(O_RDWR);
    unsigned char *p = map(fd, PROT_READ | PROT_WRITE);
    FILE *stream = fopen(path, "r+");
    char line[100];
    struct stat st;

    CHECK(stream != NULL && fstat(fileno(stream), &st) == 0 && (size_t)st.st_size == size);
    memcpy(p + 40000, "a line\nanother\n", 15);
    CHECK(fseek(stream, 40000, SEEK_SET) == 0 && fgets(line, sizeof line, stream) != NULL);
    printf("%s", line);
    CHECK(fseek(stream, 50000, SEEK_SET) == 0 && fprintf(stream, "number %d", 42) == 9 &&
          fflush(stream) == 0);
    printf("%.9s\n", (char *)p + 50000);
    CHECK(fclose(stream) == 0);
    stream = fopen(path, "a");
    CHECK(fputs("the end", stream) >= 0 && fclose(stream) == 0);
    printf("size %ld\n", (long)lseek(fd, 0, SEEK_END));
    stream = fdopen(dup(fd), "r");
    CHECK(stream != NULL && fseek(stream, -7, SEEK_END) == 0 && fgets(line, sizeof line, stream) != NULL);
    printf("%s\n", line);
    CHECK(fclose(stream) == 0);
    printf("wrong %d %s\n", fdopen(opened(O_RDONLY), "w") == NULL, strerror(errno));
    stream = fopen(path, "w");
    CHECK(stream != NULL && fputs("new", stream) >= 0 && fclose(stream) == 0);
    printf("%.3s %ld\n", (char *)p, (long)lseek(fd, 0, SEEK_END));
    stream = fopen("/etc/hostname", "r");
    CHECK(stream != NULL && fgetc(stream) != EOF && fclose(stream) == 0);
}

/* Written by a write-only descriptor, while the mapping is read-only. */
static void case_write_only(void)
{
    int ro = opened(O_RDONLY), wo = opened(O_WRONLY);
    unsigned char *p = map(ro, PROT_READ);

    printf("%u\n", p[4 * PAGE]);
    CHECK(pwrite(wo, "only", 4, 4 * PAGE) == 4);
    printf("%.4s\n", (char *)p + 4 * PAGE);
    CHECK(lseek(wo, 8 * PAGE, SEEK_SET) == 8 * PAGE && write(wo, "more", 4) == 4 && fsync(wo) == 0);
    printf("%.4s %ld\n", (char *)p + 8 * PAGE, (long)lseek(wo, 0, SEEK_CUR));
    CHECK(ftruncate(wo, (off_t)(size - 3 * PAGE)) == 0);
    printf("%lx\n", sum(p, size - 3 * PAGE));
    told("mapped so", mprotect(p, PAGE, PROT_READ | PROT_WRITE));
}

/* ---- limits and lengths ---------------------------------------------------------------------------- */

static volatile sig_atomic_t exceeded;

static void on_xfsz(int signo)
{
    (void)signo;
    exceeded++;
}

static void case_limit(void)
{
    struct rlimit limit = {size + 1000, size + 1000};
    int fd = opened(O_RDWR);
    char b[4000] = {1};
    unsigned char *p = map(fd, PROT_READ | PROT_WRITE);

    p[size - 3] = 'm';
    CHECK(signal(SIGXFSZ, on_xfsz) != SIG_ERR && setrlimit(RLIMIT_FSIZE, &limit) == 0);
    told("within", pwrite(fd, b, 500, (off_t)size));
    told("before", pwrite(fd, "bef", 2, (off_t)size - 5));
    printf("%.3s\n", (char *)p + size - 5);
    told("across", pwrite(fd, b, 4000, (off_t)size));
    printf("signals %d\n", exceeded);
    told("behind", pwrite(fd, b, 10, (off_t)size + 1000));
    printf("signals %d\n", exceeded);
    told("longer", ftruncate(fd, (off_t)size + 2000));
    printf("signals %d\n", exceeded);
    told("shorter", ftruncate(fd, (off_t)size));
    printf("signals %d end %ld\n", exceeded, (long)lseek(fd, 0, SEEK_END));
}

/* Written bytes count as data, also where the file had a hole. */
static void case_holes(void)
{
    int fd = opened(O_RDWR);
    unsigned char *p;

    CHECK(ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)size) == 0);
    p = map(fd, PROT_READ | PROT_WRITE);
    p[100 * PAGE] = 1;
    CHECK(pwrite(fd, "x", 1, 300 * PAGE) == 1);
    for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0;) {
        printf("data %ld", (long)at);
        at = lseek(fd, at, SEEK_HOLE);
        printf(" to %ld\n", (long)at);
    }
    told("no more", lseek(fd, 301 * PAGE, SEEK_DATA));
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 200 * PAGE) == 0);
    printf("data %ld, %u\n", (long)lseek(fd, 0, SEEK_DATA), p[100 * PAGE]);
}

/* Another process, forked before anything was mapped, which reports the bytes of the file at an offset. */
static struct {
    int ask, answer;
} observer;

static void observer_start(void)
{
    int ask[2], answer[2];
    off_t at;
    char got[6] = {0};

    CHECK(pipe(ask) == 0 && pipe(answer) == 0);
    observer.ask = ask[1];
    observer.answer = answer[0];
    if (fork() != 0)
        return;
    close(ask[1]);
    for (int fd = opened(O_RDONLY); read(ask[0], &at, sizeof at) == sizeof at;)
        CHECK(pread(fd, got, 5, at) == 5 && write(answer[1], got, sizeof got) == sizeof got);
    _exit(0);
}

static void observe(const char *what, off_t at)
{
    char got[6];

    CHECK(write(observer.ask, &at, sizeof at) == sizeof at &&
          read(observer.answer, got, sizeof got) == sizeof got);
    printf("%s %s\n", what, got);
}

/* Bytes that a call reported as synced have left the process. */
static void case_synced(void)
{
    int fd, synced;
    unsigned char *p;

    observer_start();
    fd = opened(O_RDWR);
    synced = opened(O_RDWR | O_DSYNC);
    p = map(fd, PROT_READ | PROT_WRITE);
    memcpy(p + 10 * PAGE, "stored", 6);
    CHECK(fdatasync(fd) == 0);
    observe("fdatasync", 10 * PAGE);
    CHECK(pwrite(synced, "dsync", 5, 12 * PAGE) == 5);
    observe("O_DSYNC", 12 * PAGE);
    CHECK(pwritev2(fd, (struct iovec[]){{(char[]){"vector"}, 6}}, 1, 13 * PAGE, RWF_SYNC) == 6);
    observe("RWF_SYNC", 13 * PAGE);
    CHECK(pwrite(fd, "later", 5, 14 * PAGE) == 5 && fsync(fd) == 0);
    observe("fsync", 14 * PAGE);
    CHECK(pwrite(fd, "range", 5, 15 * PAGE) == 5);
    CHECK(sync_file_range(fd, 15 * PAGE, 5, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) == 0);
    observe("sync_file_range", 15 * PAGE);
    CHECK(pwrite(fd, "syncf", 5, 16 * PAGE) == 5 && syncfs(fd) == 0);
    observe("syncfs", 16 * PAGE);
    CHECK(pwrite(fd, "sync!", 5, 17 * PAGE) == 5);
    sync();
    observe("sync", 17 * PAGE);
    CHECK(pwrite(fd, "close", 5, 18 * PAGE) == 5 && munmap(p, size) == 0);
    observe("munmap", 18 * PAGE);
}

/*
 * Reads a file that is not mapped, while another is: this must be as fast
 * as natively. Prints only what it read.
 */
static void case_cost(void)
{
    char other[5000];
    unsigned char b[PAGE];
    uint64_t total = 0;
    unsigned rounds = getenv("CALLS_ROUNDS") != NULL ? (unsigned)atoi(getenv("CALLS_ROUNDS")) : 1000;
    struct timespec begin, end;
    int fd;

    view = map(opened(O_RDWR), PROT_READ);
    total += view[5];
    snprintf(other, sizeof other, "%s.other", path);
    fd = open(other, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && unlink(other) == 0 && pwrite(fd, view, 64 * PAGE, 0) == 64 * PAGE);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (unsigned i = 0; i < rounds; i++) {
        CHECK(pread(fd, b, PAGE, (off_t)(i % 64 * PAGE)) == PAGE);
        total += b[i % PAGE];
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%lu\n", total);
    fprintf(stderr, "%.1f ns a read\n",
            ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / rounds);
}

int main(int argc, char **argv)
{
    static const struct named_case cases[] = {
        {"stripes", case_stripes},
        {"position", case_position},
        {"append", case_append},
        {"comes_and_goes", case_comes_and_goes},
        {"fork", case_fork},
        {"system", case_system},
        {"exit", case_exit},
        {"passed", case_passed},
        {"numbers", case_numbers},
        {"streams", case_streams},
        {"write_only", case_write_only},
        {"limit", case_limit},
        {"holes", case_holes},
        {"synced", case_synced},
        {"cost", case_cost},
    };
    return given_file_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
