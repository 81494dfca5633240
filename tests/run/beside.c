/*
 * beside.c: one thread is in a system call whose buffer is a mapping of a file, and others change the mapping
 * and the file, in a program that knows nothing of Faultline. Its checks hold natively, so it prints "right",
 * or prints what is wrong and exits with 1. A scene that takes too long is killed and prints where it was.
 *
 *   beside SCENE FILE
 *
 *      reader  ─ read, pread, readv ─▶ |mapping| ◀─ punch, truncate, map anew, protect, fork … ─  meddler
 *      writer  ─ write ◀──────────────
 */
#include "cases.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(x)                                                                                             \
    ((x) ? (void)0                                                                                           \
         : (void)(printf("line %d: %s: %s\n", __LINE__, #x, strerror(errno)), fflush(stdout), _exit(1)))

#define PAGE      4096
#define PAGES     16
#define LEN       ((size_t)PAGES * PAGE)
#define WHILE_NS  300000000
#define SCENE_MAX 40 /* seconds: only a hang takes so long */

static const char *path;
static const char *volatile doing = "?";
static int fd, source; /* the mapped file; the file that is read from */
static unsigned char *map;
static atomic_bool over;

static void late(int signo)
{
    (void)signo;
    (void)!write(1, "hangs in ", 9);
    (void)!write(1, doing, strlen(doing));
    (void)!write(1, "\n", 1);
    _exit(9);
}

static int file_of_pages(const char *name)
{
    unsigned char page[PAGE];
    int file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);

    CHECK(file >= 0);
    for (int i = 0; i < PAGES; i++) {
        memset(page, 'a' + i, PAGE);
        CHECK(write(file, page, PAGE) == PAGE);
    }
    return file;
}

static void map_anew(void)
{
    int flags = map == NULL ? MAP_SHARED : MAP_SHARED | MAP_FIXED;
    unsigned char *at = mmap(map, LEN, PROT_READ | PROT_WRITE, flags, fd, 0);

    CHECK(at != MAP_FAILED);
    map = at;
}

static pthread_t start(void *(*run)(void *))
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
    return thread;
}

static void for_a_while(void (*step)(void))
{
    struct timespec start, now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &start) == 0);
    do {
        step();
        CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    } while ((now.tv_sec - start.tv_sec) * 1000000000L + now.tv_nsec - start.tv_nsec < WHILE_NS);
}

/* ---- what meddles -------------------------------------------------------------------------------------- */

static void (*meddle)(void);

static void punch(void)
{
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LEN) == 0);
}

static void cut_and_grow(void)
{
    CHECK(ftruncate(fd, 2 * PAGE) == 0 && ftruncate(fd, LEN) == 0);
}

static void protect(void)
{
    CHECK(mprotect(map, LEN, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    CHECK(mprotect(map, LEN, PROT_READ | PROT_WRITE) == 0);
}

static void advise(void)
{
    CHECK(msync(map, LEN, MS_SYNC) == 0);
    CHECK(madvise(map, LEN, MADV_DONTNEED) == 0);
    CHECK(fsync(fd) == 0);
    CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
}

static void look_privately(void)
{
    unsigned char *own = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

    CHECK(own != MAP_FAILED);
    own[0] = own[PAGE];
    for (int i = 0; i < PAGES; i++)
        CHECK(own[i * PAGE + 1] != 255);
    CHECK(munmap(own, LEN) == 0);
}

static void fork_a_child(void)
{
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0)
        _exit(0);
    CHECK(waitpid(child, NULL, 0) == child);
}

static void *meddler(void *arg)
{
    (void)arg;
    while (!over) {
        meddle();
        usleep(100);
    }
    return NULL;
}

static void beside(void (*step)(void), void (*what)(void))
{
    pthread_t thread;

    meddle = what;
    over = false;
    thread = start(meddler);
    for_a_while(step);
    over = true;
    CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void read_all(void)
{
    struct iovec iov[2] = {{map, 3 * PAGE + 5}, {map + 5 * PAGE, 4 * PAGE}};

    doing = "pread";
    CHECK(pread(source, map, LEN, 0) == (ssize_t)LEN);
    doing = "preadv";
    CHECK(preadv(source, iov, 2, 7) == (ssize_t)(iov[0].iov_len + iov[1].iov_len));
}

static void write_all(void)
{
    doing = "pwrite";
    CHECK(pwrite(source, map, LEN, 0) == (ssize_t)LEN);
}

/* Bytes that are cut off are not accessible natively either: EFAULT, or the bytes before them. */
static void write_what_is_there(void)
{
    doing = "pwrite";
    CHECK(pwrite(source, map, LEN, 0) > 0 || errno == EFAULT);
}

/* The managed file itself is read and written, from and to its own mapping. */
static void move_within(void)
{
    doing = "pread within";
    CHECK(pread(fd, map + 8 * PAGE, 4 * PAGE, 0) == 4 * PAGE);
    doing = "pwrite within";
    CHECK(pwrite(fd, map, 4 * PAGE, 4 * PAGE) == 4 * PAGE);
}

static void files(void)
{
    static void (*const whats[])(void) = {punch, protect, advise, look_privately};

    for (size_t i = 0; i < sizeof whats / sizeof whats[0]; i++) {
        beside(read_all, whats[i]);
        beside(write_all, whats[i]);
        beside(move_within, whats[i]);
    }
    beside(write_what_is_there, cut_and_grow);
}

static void files_anew(void)
{
    beside(read_all, map_anew);
    beside(write_all, map_anew);
    beside(move_within, map_anew);
}

/* The buffer of a write may be a private, unwritten page of the page that it writes. */
static void overlap(void)
{
    unsigned char *own = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

    CHECK(own != MAP_FAILED);
    for (int i = 0; i < PAGES - 1; i++) {
        doing = "pwrite of what is written";
        CHECK(pwrite(fd, own + i * PAGE, PAGE, i * PAGE) == PAGE);
        CHECK(pwrite(fd, own + i * PAGE, 2 * PAGE, i * PAGE) == 2 * PAGE);
        CHECK(own[i * PAGE] == 'a' + i && map[i * PAGE + 9] == 'a' + i);
    }
}

/* ---- streams: no byte is lost and none comes twice ----------------------------------------------------- */

static int stream[2];

static void *feed(void *arg)
{
    unsigned char bytes[5000];
    unsigned next = 0;

    (void)arg;
    while (!over) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (unsigned char)(next++ % 251);
        for (size_t done = 0; done < sizeof bytes;) {
            ssize_t n = write(stream[1], bytes + done, sizeof bytes - done);

            CHECK(n > 0);
            done += (size_t)n;
        }
    }
    CHECK(shutdown(stream[1], SHUT_WR) == 0 || close(stream[1]) == 0);
    return NULL;
}

static unsigned seen;

static bool take(void)
{
    ssize_t n = 0;

    doing = "read of a stream";
    n = seen % 2 == 0 ? read(stream[0], map + seen % PAGE, 6000)
                      : readv(stream[0], (struct iovec[]){{map + 100, 50}, {map + 2 * PAGE, 3000}}, 2);
    CHECK(n >= 0);
    for (ssize_t i = 0; i < n; i++) {
        const unsigned char *at = seen % 2 == 0 ? map + seen % PAGE + i
                                  : i < 50      ? map + 100 + i
                                                : map + 2 * PAGE + i - 50;

        if (*at != (unsigned char)((seen + (unsigned)i) % 251)) {
            printf("byte %u of the stream is %d\n", seen + (unsigned)i, *at);
            exit(1);
        }
    }
    seen += (unsigned)n;
    return n > 0;
}

static void take_once(void)
{
    (void)take();
}

/* `what` leaves the mapping's bytes as they are. */
static void streams_beside(void (*what)(void))
{
    for (int kind = 0; kind < 2; kind++) {
        pthread_t feeder;

        CHECK((kind == 0 ? pipe(stream) : socketpair(AF_UNIX, SOCK_STREAM, 0, stream)) == 0);
        seen = 0;
        over = false;
        feeder = start(feed);
        beside(take_once, what);
        while (take())
            continue;
        CHECK(pthread_join(feeder, NULL) == 0);
        CHECK(seen > 0 && close(stream[0]) == 0);
        close(stream[1]);
    }
}

static void streams_anew(void)
{
    streams_beside(map_anew);
}

static void streams(void)
{
    streams_beside(protect);
    streams_beside(advise);
}

/* Each fork hands the mappings over to the kernel, so each round maps anew. */
static void fork_steps(void)
{
    doing = "fork";
    CHECK(munmap(map, LEN) == 0);
    map = NULL;
    map_anew();
    for (int i = 0; i < 3; i++)
        read_all();
}

static void *fork_later(void *arg)
{
    (void)arg;
    usleep(300);
    fork_a_child();
    return NULL;
}

static void fork_beside(void)
{
    pthread_t forker = start(fork_later);

    fork_steps();
    CHECK(pthread_join(forker, NULL) == 0);
}

static void forks(void)
{
    for_a_while(fork_beside);
}

/* ---- a call that waits --------------------------------------------------------------------------------- */

static int quiet[2]; /* a pipe in which nothing comes */
static ssize_t got;
static int got_errno;

static void *wait_for_bytes(void *arg)
{
    (void)arg;
    got = read(quiet[0], map, 2 * PAGE);
    got_errno = errno;
    return NULL;
}

static pthread_t begin_to_wait(void)
{
    pthread_t thread;

    CHECK(pipe(quiet) == 0);
    map[0] = map[PAGE] = 1;
    thread = start(wait_for_bytes);
    usleep(100000);
    return thread;
}

static void end_to_wait(pthread_t thread, ssize_t expected)
{
    doing = "the end of the read";
    CHECK(write(quiet[1], "hello", 5) == 5);
    CHECK(pthread_join(thread, NULL) == 0);
    errno = got_errno;
    CHECK(got == expected);
    CHECK(close(quiet[0]) == 0 && close(quiet[1]) == 0);
}

/* The bytes come at last, and go into a hole. */
static void punched(void)
{
    pthread_t thread = begin_to_wait();

    doing = "punch";
    punch();
    CHECK(map[PAGE] == 0);
    end_to_wait(thread, 5);
    CHECK(memcmp(map, "hello", 6) == 0);
    CHECK(fsync(fd) == 0);
}

/*
 * … into a mapping that was replaced, or handed over to the kernel,
 * meanwhile. No late write reaches the old file.
 */
static void handed_over(void)
{
    unsigned char bytes[8];
    pthread_t thread = begin_to_wait();

    doing = "fork";
    fork_a_child();
    memcpy(map + PAGE, "newest", 6);
    CHECK(msync(map, LEN, MS_SYNC) == 0);
    end_to_wait(thread, 5);
    CHECK(memcmp(map, "hello", 5) == 0);
    memcpy(map, "HELLO", 5);
    CHECK(munmap(map, LEN) == 0);
    sleep(2); /* the VM has written all dirty pages of it */
    CHECK(pread(fd, bytes, 6, PAGE) == 6 && memcmp(bytes, "newest", 6) == 0);
    CHECK(pread(fd, bytes, 6, 0) == 6 && memcmp(bytes, "HELLO", 5) == 0);
}

static void mapped_anew(void)
{
    pthread_t thread = begin_to_wait();

    doing = "mmap";
    map_anew();
    end_to_wait(thread, 5);
    CHECK(memcmp(map, "hello", 5) == 0);
}

static void everything_else(void)
{
    char bytes[10];
    unsigned char *other = mmap(NULL, LEN, PROT_READ, MAP_SHARED, fd, 0);
    pthread_t thread = begin_to_wait();

#define DO(x)                                                                                                \
    do {                                                                                                     \
        doing = #x;                                                                                          \
        CHECK(x);                                                                                            \
    } while (0)
    CHECK(other != MAP_FAILED);
    DO(pread(fd, bytes, 10, 0) == 10);
    DO(pwrite(fd, "zz", 2, 100) == 2);
    DO(fsync(fd) == 0);
    DO(msync(map, LEN, MS_SYNC) == 0);
    DO(madvise(map, LEN, MADV_DONTNEED) == 0);
    DO(madvise(map, LEN, MADV_WILLNEED) == 0);
    DO(mlock(map, LEN) == 0 && munlock(map, LEN) == 0);
    DO(mprotect(map, LEN, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    DO(mremap(other, LEN, LEN / 2, 0) == other);
    DO(munmap(other, LEN / 2) == 0);
    DO(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LEN) == 0);
    DO(ftruncate(fd, 0) == 0);
    DO(ftruncate(fd, LEN) == 0);
    fork_a_child();
    DO(munmap(map, LEN) == 0);
    end_to_wait(thread, -1);
    CHECK(got_errno == EFAULT);
}

/* ---- */

static const struct named_case scenes[] = {
    {"files", files},
    {"files_anew", files_anew},
    {"overlap", overlap},
    {"streams", streams},
    {"streams_anew", streams_anew},
    {"forks", forks},
    {"punched", punched},
    {"handed_over", handed_over},
    {"mapped_anew", mapped_anew},
    {"everything_else", everything_else},
};

int main(int argc, char **argv)
{
    char name[4200];

    CHECK(argc == 3);
    path = argv[2];
    signal(SIGALRM, late);
    alarm(SCENE_MAX);
    fd = file_of_pages(path);
    snprintf(name, sizeof name, "%s.source", path);
    source = file_of_pages(name);
    map_anew();
    if (!CASE_RUN(scenes, argv[1]))
        return 2;
    printf("right\n");
    return 0;
}
