/*
 * odd.c: odd CASE FOLDER: every call that the shim intercepts, with odd arguments: unmapped pointers, extreme
 * lengths and offsets, descriptors of the wrong kind. It prints results, errors, positions, offsets and the
 * bytes afterwards; the test (odd_test) compares a native run with runs on managed files.
 *
 *      a, b   files of three pages and a bit, mapped and so managed; made anew before each call
 *      pipe   with "hello" in it, made anew before each call
 */
#include "cases.h"
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE     4096ul
#define LEN      (3 * PAGE + 100)
#define MOST     INT64_MAX
#define N(array) (sizeof(array) / sizeof(array)[0])

static int a, b, a_ro, a_wo, b_ro, b_wo, b_append, folder, pipe_in, pipe_out, closed;
static char *map_a, *map_b;
static char *nowhere; /* a page that is not mapped, behind one that is */
static char memory[4 * PAGE];

/* ---- the files -------------------------------------------------------------------------------------- */

static int opened(const char *name, int flags)
{
    int fd = open(name, flags | O_CREAT, 0644);

    CHECK(fd >= 0);
    return fd;
}

static char *mapped(int fd)
{
    char *map = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    CHECK(map != MAP_FAILED);
    return map;
}

static void fill(int fd, char first)
{
    char bytes[LEN];

    for (size_t i = 0; i < LEN; i++)
        bytes[i] = (char)(first + (char)(i % 23));
    CHECK(ftruncate(fd, (off_t)LEN) == 0 && pwrite(fd, bytes, LEN, 0) == (ssize_t)LEN);
}

static void anew(void)
{
    static const int positions[] = {10, 20, 30, 40, 50, 60, 70};
    const int fds[] = {a, b, a_ro, a_wo, b_ro, b_wo, b_append};
    char rest[100];

    fill(a, 'a');
    fill(b, 'A');
    for (size_t i = 0; i < N(fds); i++)
        CHECK(lseek(fds[i], positions[i], SEEK_SET) == positions[i]);
    while (read(pipe_in, rest, sizeof rest) > 0)
        ;
    CHECK(write(pipe_out, "hello", 5) == 5);
}

static uint64_t sum(const char *p, size_t n)
{
    uint64_t h = 1469598103934665603u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 1099511628211u;
    return h;
}

/* The state after a call: positions, lengths, bytes of the files and of the pipe. */
static void told(const char *what, const char *arguments, long r)
{
    const char *error = r < 0 ? strerrorname_np(errno) : "";
    char bytes[LEN + PAGE] = {0};
    struct stat st_a, st_b;
    ssize_t n;

    printf("%s(%s): %ld %s", what, arguments, r, error);
    printf(" at %ld %ld %ld %ld", (long)lseek(a, 0, SEEK_CUR), (long)lseek(b, 0, SEEK_CUR),
           (long)lseek(b_wo, 0, SEEK_CUR), (long)lseek(b_append, 0, SEEK_CUR));
    CHECK(fstat(a, &st_a) == 0 && fstat(b, &st_b) == 0);
    printf(" long %ld %ld", (long)st_a.st_size, (long)st_b.st_size);
    n = pread(b, bytes, sizeof bytes, 0);
    printf(" read %zd %lx mapped %lx %lx", n, sum(bytes, sizeof bytes), sum(map_a, LEN), sum(map_b, LEN));
    n = read(pipe_in, bytes, 20);
    printf(" pipe %zd %.5s\n", n, n > 0 ? bytes : "");
}

static void prepared(const char *path)
{
    int fds[2];

    CHECK(chdir(path) == 0);
    a = opened("a", O_RDWR);
    b = opened("b", O_RDWR);
    fill(a, 'a');
    fill(b, 'A');
    a_ro = opened("a", O_RDONLY);
    a_wo = opened("a", O_WRONLY);
    b_ro = opened("b", O_RDONLY);
    b_wo = opened("b", O_WRONLY);
    b_append = opened("b", O_WRONLY | O_APPEND);
    folder = open(".", O_RDONLY);
    CHECK(folder >= 0 && pipe2(fds, O_NONBLOCK) == 0);
    pipe_in = fds[0];
    pipe_out = fds[1];
    closed = dup(a);
    CHECK(close(closed) == 0);
    map_a = mapped(a);
    map_b = mapped(b);
    nowhere = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(nowhere != MAP_FAILED && munmap(nowhere + PAGE, PAGE) == 0);
    nowhere += PAGE;
}

/* ---- arguments -------------------------------------------------------------------------------------- */

struct fd_argument {
    const char *name;
    const int *fd;
};

static const struct fd_argument inputs[] = {{"a", &a},           {"a_ro", &a_ro},     {"a_wo", &a_wo},
                                            {"b", &b},           {"folder", &folder}, {"pipe", &pipe_in},
                                            {"closed", &closed}, {"other", &pipe_out}};
static const struct fd_argument outputs[] = {
    {"b", &b}, {"b_wo", &b_wo},     {"b_ro", &b_ro},    {"append", &b_append},
    {"a", &a}, {"folder", &folder}, {"closed", &closed}};

enum where {
    NONE,
    NOWHERE,
    EDGE,
    AT,
};
struct offset_argument {
    const char *name;
    enum where where;
    int64_t value;
};

static const struct offset_argument offsets[] = {
    {"none", NONE, 0},        {"nowhere", NOWHERE, 0},   {"edge", EDGE, 0},        {"0", AT, 0},
    {"-1", AT, -1},           {"100", AT, 100},          {"least", AT, INT64_MIN}, {"most", AT, MOST},
    {"most-5", AT, MOST - 5}, {"end", AT, (int64_t)LEN}, {"beyond", AT, 20000},
};

static const struct {
    const char *name;
    size_t value;
} counts[] = {
    {"0", 0},
    {"3", 3},
    {"5000", 5000},
    {"most", SIZE_MAX},
    {"positive", (size_t)SSIZE_MAX},
    {"negative", (size_t)SSIZE_MAX + 1},
};

static int64_t *placed(const struct offset_argument *argument, int64_t *own)
{
    *own = argument->value;
    return argument->where == NONE      ? NULL
           : argument->where == NOWHERE ? (int64_t *)nowhere
           : argument->where == EDGE    ? (int64_t *)(nowhere - 4)
                                        : own;
}

/* ---- copies ----------------------------------------------------------------------------------------- */

/* A file into itself, to an overlapping range: the kernel passes pages, not bytes. */
static void case_sendfile(void)
{
    char arguments[200];
    int64_t own;
    ssize_t r;

    for (size_t in = 0; in < N(inputs); in++)
        for (size_t out = 0; out < N(outputs); out++)
            for (size_t at = 0; at < N(offsets); at++)
                for (size_t n = 0; n < N(counts); n++) {
                    int64_t *offset = placed(&offsets[at], &own);

                    if (*inputs[in].name == *outputs[out].name && counts[n].value > 3 && out != 3)
                        continue;
                    anew();
                    snprintf(arguments, sizeof arguments, "%s to %s from %s of %s", inputs[in].name,
                             outputs[out].name, offsets[at].name, counts[n].name);
                    r = sendfile(*outputs[out].fd, *inputs[in].fd, offset, counts[n].value);
                    told("sendfile", arguments, r);
                    printf("%ld\n", (long)own);
                }
}

static void case_copy_file_range(void)
{
    char arguments[200];
    int64_t own, other;
    ssize_t r;

    for (size_t in = 0; in < N(inputs); in++)
        for (size_t out = 0; out < N(outputs); out++)
            for (size_t at = 0; at < N(offsets); at++)
                for (size_t to = at % 3; to < N(offsets); to += 3)
                    for (size_t n = 0; n < N(counts); n++) {
                        int64_t *from_offset = placed(&offsets[at], &own);
                        int64_t *to_offset = placed(&offsets[to], &other);

                        anew();
                        snprintf(arguments, sizeof arguments, "%s to %s from %s to %s of %s", inputs[in].name,
                                 outputs[out].name, offsets[at].name, offsets[to].name, counts[n].name);
                        r = copy_file_range(*inputs[in].fd, from_offset, *outputs[out].fd, to_offset,
                                            counts[n].value, (at + n) % 17 == 16);
                        told("copy_file_range", arguments, r);
                        printf("%ld %ld\n", (long)own, (long)other);
                    }
}

static void case_splice(void)
{
    static const unsigned flags[] = {0, SPLICE_F_NONBLOCK, SPLICE_F_MOVE | SPLICE_F_MORE, 0x100};
    char arguments[200];
    int64_t own;
    ssize_t r;

    for (size_t in = 0; in < N(inputs); in++)
        for (size_t out = 0; out < N(outputs); out++)
            for (size_t to = 0; to < N(offsets); to++)
                for (size_t n = 0; n < N(counts); n++)
                    for (int empty = 0; empty < 2; empty++) {
                        int64_t *offset = placed(&offsets[to], &own);
                        char rest[10];

                        anew();
                        if (empty)
                            CHECK(read(pipe_in, rest, sizeof rest) == 5);
                        snprintf(arguments, sizeof arguments, "%s to %s at %s of %s%s", inputs[in].name,
                                 outputs[out].name, offsets[to].name, counts[n].name, empty ? ", empty" : "");
                        r = splice(*inputs[in].fd, NULL, *outputs[out].fd, offset, counts[n].value,
                                   flags[(to + n) % N(flags)]);
                        told("splice", arguments, r);
                        printf("%ld\n", (long)own);
                    }
    for (size_t at = 0; at < N(offsets); at++) {
        int64_t *offset = placed(&offsets[at], &own);

        anew();
        r = splice(a, offset, pipe_out, NULL, 7, SPLICE_F_NONBLOCK);
        told("splice", offsets[at].name, r);
        anew();
        r = splice(pipe_in, offset, b, NULL, 7, SPLICE_F_NONBLOCK);
        told("splice", offsets[at].name, r);
    }
}

static void on_alarm(int signo)
{
    (void)signo;
    CHECK(write(pipe_out, "late!", 5) == 5);
}

/*
 * A call that must wait for bytes or for an interruption; and one that its file refuses, which must not wait.
 */
static void case_splice_waits(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    char rest[10];
    int fds[2];

    anew();
    CHECK(fcntl(pipe_in, F_SETFL, 0) == 0 && read(pipe_in, rest, sizeof rest) == 5);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    printf("refused %zd", splice(pipe_in, NULL, b_append, NULL, 5, 0));
    printf(" %s\n", strerror(errno));
    printf("refused %zd", splice(pipe_in, NULL, b_ro, NULL, 5, 0));
    printf(" %s\n", strerror(errno));
    ualarm(100000, 0);
    printf("interrupted %zd", splice(pipe_in, NULL, b, NULL, 5, 0));
    printf(" %s\n", strerror(errno));
    action.sa_flags = SA_RESTART;
    CHECK(read(pipe_in, rest, sizeof rest) == 5 && sigaction(SIGALRM, &action, NULL) == 0);
    ualarm(100000, 0);
    printf("restarted %zd\n", splice(pipe_in, NULL, b, NULL, 5, 0));
    CHECK(fcntl(pipe_in, F_SETFL, O_NONBLOCK) == 0);
    told("splice", "restarted", 0);

    CHECK(pipe(fds) == 0 && fcntl(fds[1], F_SETPIPE_SZ, 1 << 20) >= 1 << 20);
    for (size_t i = 0; i < 200; i++)
        CHECK(write(fds[1], map_a, PAGE) == PAGE);
    CHECK(close(fds[1]) == 0);
    printf("much %zd\n", splice(fds[0], NULL, b, NULL, 819000, 0));
    printf("rest %zd\n", splice(fds[0], NULL, b, NULL, 819000, 0));
    printf("end %zd\n", splice(fds[0], NULL, b, NULL, 819000, 0));
    anew();
}

/* ---- reads and writes ------------------------------------------------------------------------------- */

struct buffer_argument {
    const char *name;
    char *const *base;
    long plus;
    size_t len;
};

static char *own_memory = memory, *kernels = (char *)0xffff800000000000ul,
            *odd_address = (char *)0x800000000000ul, *low = (char *)8;

static const struct buffer_argument buffers[] = {
    {"own", &own_memory, 0, 100},  {"nowhere", &nowhere, 0, 100}, {"edge", &nowhere, -50, 100},
    {"empty", &nowhere, 0, 0},     {"kernel's", &kernels, 0, 10}, {"kernel's empty", &kernels, 0, 0},
    {"odd", &odd_address, 0, 5},   {"low", &low, 0, 5},           {"map", &map_a, 5000, 100},
    {"map's end", &map_a, LEN, 0},
};

static const int64_t places[] = {
    0, 50, -1, INT64_MIN, MOST, MOST - 50, (int64_t)LEN - 20, 1 << 20, (int64_t)1 << 62};

static struct iovec piece_of(size_t which)
{
    const struct buffer_argument *buffer = &buffers[which];

    return (struct iovec){*buffer->base + buffer->plus, buffer->len};
}

static void case_buffers(void)
{
    static const struct fd_argument files[] = {
        {"b", &b}, {"b_ro", &b_ro}, {"b_wo", &b_wo}, {"append", &b_append}};
    volatile size_t most = SIZE_MAX; /* volatile, so that the compiler does not know it */
    char arguments[200];

    for (size_t f = 0; f < N(files); f++)
        for (size_t i = 0; i < N(buffers); i++) {
            struct iovec piece = piece_of(i);
            int fd = *files[f].fd;

            snprintf(arguments, sizeof arguments, "%s %s", files[f].name, buffers[i].name);
            anew();
            told("read", arguments, read(fd, piece.iov_base, piece.iov_len));
            anew();
            told("write", arguments, write(fd, piece.iov_base, piece.iov_len));
            for (size_t at = 0; at < N(places); at++) {
                snprintf(arguments, sizeof arguments, "%s %s at %ld", files[f].name, buffers[i].name,
                         (long)places[at]);
                anew();
                told("pread", arguments, pread(fd, piece.iov_base, piece.iov_len, places[at]));
                if (places[at] < 1 << 20 || places[at] > MOST / 2) {
                    anew();
                    told("pwrite", arguments, pwrite(fd, piece.iov_base, piece.iov_len, places[at]));
                }
            }
        }
    anew();
    told("read", "most", read(b, memory, most));
    anew();
    told("pwrite", "negative", pwrite(b, memory, most / 2 + 1, 0));
}

static void case_vectors(void)
{
    static const int lengths[] = {0, 1, 2, 3, -1, 1025};
    struct iovec pieces[1025];
    char arguments[200];

    for (size_t i = 0; i < N(buffers); i++)
        for (size_t k = 0; k < N(buffers); k++)
            for (size_t n = 0; n < N(lengths); n++) {
                for (size_t p = 0; p < N(pieces); p++)
                    pieces[p] = (struct iovec){memory, 1};
                pieces[0] = piece_of(i);
                pieces[1] = piece_of(k);
                snprintf(arguments, sizeof arguments, "%s, %s; %d", buffers[i].name, buffers[k].name,
                         lengths[n]);
                anew();
                told("readv", arguments, readv(b, pieces, lengths[n]));
                anew();
                told("writev", arguments, writev(b, pieces, lengths[n]));
                anew();
                told("preadv", arguments, preadv(b, pieces, lengths[n], 100));
                anew();
                told("pwritev2", arguments, pwritev2(b, pieces, lengths[n], 100, 0));
                anew();
                told("pwritev to append", arguments, pwritev(b_append, pieces, lengths[n], MOST - 20));
                anew();
                told("writev to a pipe", arguments, writev(pipe_out, pieces, lengths[n]));
                anew();
                told("readv of a pipe", arguments, readv(pipe_in, pieces, lengths[n]));
            }
    for (size_t i = 1; i < N(buffers) - 2; i++) {
        const struct iovec *vector = (const struct iovec *)(piece_of(i).iov_base);

        anew();
        told("readv", buffers[i].name, readv(b, vector, 3));
        anew();
        told("pwritev", buffers[i].name, pwritev(b, vector, 3, 0));
        anew();
        told("preadv2", buffers[i].name, preadv2(b, vector, 20, -1, 0));
        anew();
        told("writev to a pipe", buffers[i].name, writev(pipe_out, vector, 3));
    }
    anew();
    pieces[0] = (struct iovec){memory, SIZE_MAX};
    told("readv", "most", readv(b, pieces, 1));
    pieces[1] = pieces[0] = (struct iovec){memory, SSIZE_MAX};
    told("writev", "too much together", writev(b, pieces, 2));
    told("preadv2", "flags", preadv2(b, pieces, 1, 0, 0x4000));
}

/* ---- other pointers --------------------------------------------------------------------------------- */

static void case_messages(void)
{
    struct mmsghdr many[3];
    struct msghdr message;
    struct iovec piece;
    int fds[2];

    anew();
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds) == 0);
    for (size_t i = 1; i < N(buffers) - 2; i++) {
        void *bad = piece_of(i).iov_base;
        const char *name = buffers[i].name;

        told("sendmsg", name, sendmsg(fds[0], bad, 0));
        told("recvmsg", name, recvmsg(fds[1], bad, 0));
        told("sendmmsg", name, sendmmsg(fds[0], bad, 2, 0));
        told("recvmmsg", name, recvmmsg(fds[1], bad, 2, 0, NULL));
        piece = piece_of(i);
        message = (struct msghdr){.msg_iov = &piece, .msg_iovlen = 1};
        told("sendmsg of", name, sendmsg(fds[0], &message, 0));
        told("recvmsg of", name, recvmsg(fds[1], &message, 0));
        message.msg_iov = bad;
        told("sendmsg with", name, sendmsg(fds[0], &message, 0));
        message.msg_iov = &(struct iovec){map_a, 10};
        message.msg_name = bad;
        message.msg_namelen = 10;
        told("sendmsg to", name, sendmsg(fds[0], &message, 0));
        message.msg_name = NULL;
        message.msg_control = bad;
        message.msg_controllen = 100;
        told("sendmsg beside", name, sendmsg(fds[0], &message, 0));
        message.msg_control = NULL;
        message.msg_iovlen = 2000;
        told("sendmsg long", name, sendmsg(fds[0], &message, 0));
    }
    memset(many, 0, sizeof many);
    piece = (struct iovec){map_a, 10};
    for (size_t i = 0; i < N(many); i++)
        many[i].msg_hdr = (struct msghdr){.msg_iov = &piece, .msg_iovlen = 1};
    many[2].msg_hdr.msg_iov = (struct iovec *)nowhere;
    told("sendmmsg", "two good", sendmmsg(fds[0], many, 3, 0));
    told("recvmmsg", "two good", recvmmsg(fds[1], many, 3, 0, NULL));
}

static void case_masks(void)
{
    struct timespec soon = {0, 1000};
    struct epoll_event event;
    int poller = epoll_create1(0);

    anew();
    for (size_t i = 1; i < N(buffers) - 2; i++) {
        sigset_t *bad = (sigset_t *)(piece_of(i).iov_base);
        const char *name = buffers[i].name;

        if (i == 2) /* the kernel reads eight bytes, and these are there */
            bad = (sigset_t *)(nowhere - 4);
        told("sigsuspend", name, sigsuspend(bad));
        told("ppoll", name, ppoll(NULL, 0, &soon, bad));
        told("pselect", name, pselect(0, NULL, NULL, NULL, &soon, bad));
        told("epoll_pwait", name, epoll_pwait(poller, &event, 1, 0, bad));
        told("mincore", name, mincore(map_a, 4 * PAGE, (unsigned char *)bad));
        told("truncate", name, truncate((const char *)bad, 0));
        told("open", name, open((const char *)bad, O_RDWR | O_TRUNC));
        told("openat", name, openat(folder, (const char *)bad, O_RDWR | O_TRUNC));
    }
    {
        struct iovec piece = {memory, 10};
        sigset_t all, old;

        sigfillset(&all);
        told("sigprocmask", "all", sigprocmask(SIG_SETMASK, &all, NULL));
        told("readv", "with all blocked", readv(pipe_in, (struct iovec *)nowhere, 1));
        told("readv", "with all blocked", readv(b, (struct iovec *)nowhere, 1));
        told("process_vm_readv", "with all blocked",
             process_vm_readv(getpid(), (struct iovec *)nowhere, 1, &piece, 1, 0));
        sigemptyset(&all);
        told("sigprocmask", "none", sigprocmask(SIG_SETMASK, &all, &old));
        printf("blocked %d %d %d %d\n", sigismember(&old, SIGSEGV), sigismember(&old, SIGBUS),
               sigismember(&old, SIGSYS), sigismember(&old, SIGINT));
    }
    memset(nowhere - 8, 0, 8);
    told("ppoll", "eight bytes", ppoll(NULL, 0, &soon, (sigset_t *)(nowhere - 8)));
    told("mincore", "edge", mincore(map_a, 4 * PAGE, (unsigned char *)nowhere - 3));
    told("mincore", "one before", mincore(map_a, 4 * PAGE, (unsigned char *)nowhere - 4));
    told("mincore", "odd", mincore(map_a + 1, PAGE, (unsigned char *)nowhere));
}

/* ---- one's own memory ------------------------------------------------------------------------------- */

static void case_self(void)
{
    static char *const names[] = {"/proc/self/mem", "/proc/thread-self/mem"};
    char path[100];
    char *private = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, b, 0);
    char *hidden = mmap(NULL, LEN, PROT_NONE, MAP_SHARED, b, 0);

    anew();
    CHECK(private != MAP_FAILED && hidden != MAP_FAILED);
    for (size_t i = 0; i < N(buffers); i++)
        for (size_t k = 0; k < N(buffers); k++) {
            struct iovec local[2] = {piece_of(i), {memory, 30}};
            struct iovec remote[3] = {{private + 4000, 200}, piece_of(k), {map_b + 2 * PAGE, 300}};

            snprintf(path, sizeof path, "%s, %s", buffers[i].name, buffers[k].name);
            told("process_vm_readv", path, process_vm_readv(getpid(), local, 2, remote, 3, 0));
            told("process_vm_writev", path, process_vm_writev(getpid(), local, 2, remote, 3, 0));
            told("process_vm_readv", path, process_vm_readv(getpid(), local, 2, remote + 1, 2, 0));
            told("process_vm_writev", path, process_vm_writev(getpid(), local, 2, remote + 1, 2, 0));
            anew();
        }
    {
        struct iovec local = {memory, 100}, remote = {hidden, 100};

        told("process_vm_readv", "hidden", process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
        told("process_vm_readv", "flags", process_vm_readv(getpid(), &local, 1, &remote, 1, 1));
        told("process_vm_readv", "nobody", process_vm_readv(-1, &local, 1, &remote, 1, 0));
        remote.iov_base = private;
        told("process_vm_readv", "nobody", process_vm_readv(0, &local, 1, &remote, 1, 0));
        told("syscall", "process_vm_readv",
             syscall(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1, 0));
        told("syscall", "flags", syscall(SYS_process_vm_writev, getpid(), &local, 1, &remote, 1, 5));
        told("process_vm_readv", "a thread", process_vm_readv(gettid(), &local, 1, &remote, 1, 0));
        told("process_vm_readv", "bad vector", process_vm_readv(getpid(), &local, 1, (void *)nowhere, 1, 0));
        told("process_vm_readv", "many", process_vm_readv(getpid(), &local, 1, &remote, 1025, 0));
    }
    for (size_t i = 0; i < N(names); i++) {
        int mem = open(names[i], O_RDWR), ro = open(names[i], O_RDONLY);
        struct iovec pieces[3] = {{memory, 10}, {map_b + PAGE, 30}, {memory + 20, 5000}};

        CHECK(mem >= 0 && ro >= 0);
        memset(memory, 0, sizeof memory);
        told("pread", "map", pread(mem, memory, 5000, (off_t)(map_a + 4000)));
        told("pread", "end", pread(mem, memory, 4000, (off_t)(map_a + LEN - 50)));
        told("pread", "into a map", pread(ro, map_b + 100, 500, (off_t)(map_a + PAGE)));
        told("preadv", "map", preadv(ro, pieces, 3, (off_t)(map_a + 99)));
        printf("%lx\n", sum(memory, sizeof memory));
        told("pwrite", "map", pwrite(mem, "written here", 12, (off_t)(map_b + PAGE - 5)));
        told("pwrite", "private", pwrite(mem, "written here", 12, (off_t)(private + 2 * PAGE - 5)));
        told("pwritev", "private", pwritev(mem, pieces, 2, (off_t) private));
        printf("%lx\n", sum(private, LEN));
        told("pwrite", "read-only", pwrite(ro, "written here", 12, (off_t)(map_b + PAGE - 5)));
        CHECK(lseek(mem, (off_t)(map_a + 8000), SEEK_SET) == (off_t)(map_a + 8000));
        told("read", "map", read(mem, memory, 1000));
        told("read", "map", read(mem, memory + 1000, 1000));
        printf("%lx moved %ld\n", sum(memory, sizeof memory), (long)lseek(mem, 0, SEEK_CUR) - (long)map_a);
        told("read", "nowhere", pread(mem, nowhere, 10, (off_t)map_a));
        told("read", "of nowhere", pread(mem, memory, 10, (off_t)nowhere));
        told("read", "of an edge", pread(mem, memory, 100, (off_t)nowhere - 50));
        told("read", "own", pread(mem, memory, 100, (off_t)memory + 4000));
        told("read", "free", pread(mem, memory, 100, (off_t)0x2ff000000000));
        close(mem);
        close(ro);
    }
}

/* ---- mappings --------------------------------------------------------------------------------------- */

static void case_remap(void)
{
    static const struct {
        size_t at, len;
        int prot;
        size_t pgoff;
        int flags;
    } calls[] = {
        {0, PAGE, 0, 3, 0},
        {0, PAGE, PROT_READ, 1, 0},
        {1, 2 * PAGE, 0, 1, 0},
        {PAGE, 2 * PAGE + 7, 0, 0, MAP_NONBLOCK},
        {PAGE, 0, 0, 0, 0},
        {PAGE, 100, 0, 0, 0},
        {PAGE, PAGE, 0, SIZE_MAX, 0},
        {PAGE, PAGE, 0, (size_t)1 << 52, 0},
        {PAGE, PAGE, 0, ((size_t)1 << 51) - 1, 0},
        {PAGE, PAGE, 0, 100, 0},
        {2 * PAGE, 2 * PAGE, 0, 0, 0xffff},
        {2 * PAGE, 3 * PAGE, 0, 0, 0},
        {3 * PAGE, SIZE_MAX, 0, 0, 0},
    };
    char arguments[100];
    char *map, *private;

    anew();
    for (int prot = PROT_READ; prot <= (PROT_READ | PROT_WRITE); prot += PROT_WRITE)
        for (size_t i = 0; i < N(calls); i++) {
            map = mmap(NULL, 4 * PAGE, prot, MAP_SHARED, prot == PROT_READ ? a_ro : a, 0);
            CHECK(map != MAP_FAILED);
            snprintf(arguments, sizeof arguments, "%zu", i);
            told("remap_file_pages", arguments,
                 remap_file_pages(map + calls[i].at, calls[i].len, calls[i].prot, calls[i].pgoff,
                                  calls[i].flags));
            for (size_t p = 0; p < 4; p++)
                if (i != 8 && i != 9) /* which shows what lies beyond the end */
                    printf(" %lx", sum(map + p * PAGE, 100));
            printf("\n");
            CHECK(munmap(map, 4 * PAGE) == 0);
        }
    private = mmap(NULL, LEN, PROT_READ, MAP_PRIVATE, a, 0);
    told("remap_file_pages", "private", remap_file_pages(private, PAGE, 0, 1, 0));
    told("remap_file_pages", "nowhere", remap_file_pages(nowhere, PAGE, 0, 1, 0));
    told("remap_file_pages", "anonymous", remap_file_pages(nowhere - PAGE, PAGE, 0, 1, 0));
    CHECK(munmap(private, LEN) == 0);
    told("remap_file_pages", "free", remap_file_pages(private, PAGE, 0, 1, 0));
    map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);
    CHECK(mprotect(map + 2 * PAGE, PAGE, PROT_READ) == 0);
    told("remap_file_pages", "two rights", remap_file_pages(map, 4 * PAGE, 0, 0, 0));
    CHECK(munmap(map + PAGE, PAGE) == 0);
    told("remap_file_pages", "a hole", remap_file_pages(map, 4 * PAGE, 0, 0, 0));
    told("remap_file_pages", "before the hole", remap_file_pages(map, PAGE, 0, 2, 0));
    map[5] = 'X';
    told("remap_file_pages", "written", map_b[2 * PAGE + 5]);
    CHECK(mmap(map + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, a, 0) == map + PAGE);
    told("remap_file_pages", "two files", remap_file_pages(map, 2 * PAGE, 0, 0, 0));
    CHECK(mmap(map, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == map);
    told("remap_file_pages", "two kinds", remap_file_pages(map, 2 * PAGE, 0, 0, 0));
    told("remap_file_pages", "anonymous", remap_file_pages(map, PAGE, 0, 0, 0));
}

static void case_mmap(void)
{
    static const off_t far[] = {0,
                                1,
                                -1,
                                -(off_t)PAGE,
                                MOST,
                                MOST - 4095,
                                MOST - 8191,
                                (off_t)1 << 43,
                                (off_t)1 << 44,
                                (off_t)1 << 46,
                                (off_t)1 << 47,
                                (off_t)1 << 52,
                                (off_t)1 << 62};
    static const size_t lengths[] = {0,        1, PAGE, 2 * PAGE, (size_t)1 << 40, SIZE_MAX, SIZE_MAX - PAGE,
                                     SSIZE_MAX};
    char arguments[100];

    anew();
    for (size_t i = 0; i < N(far); i++)
        for (size_t n = 0; n < N(lengths); n++)
            for (int type = MAP_SHARED; type <= MAP_PRIVATE; type++) {
                char *map = mmap(NULL, lengths[n], PROT_READ, type, a, far[i]);

                snprintf(arguments, sizeof arguments, "%lx %lx %d", (long)lengths[n], (long)far[i], type);
                told("mmap", arguments, map == MAP_FAILED ? -1 : 0);
                if (map != MAP_FAILED)
                    CHECK(munmap(map, lengths[n]) == 0);
            }
}

/* mlockall does not fail because of pages beyond the end of the file, or of inaccessible ones. */
static void case_lockall(void)
{
    char *map = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0);
    char *hidden = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE, b, 0);

    anew();
    CHECK(map != MAP_FAILED && hidden != MAP_FAILED);
    told("mlockall", "current", mlockall(MCL_CURRENT));
    told("munlockall", "", munlockall());
    told("mlockall", "on fault", mlockall(MCL_CURRENT | MCL_ONFAULT));
    told("munlockall", "", munlockall());
    told("mlockall", "0", mlockall(0));
    told("mlockall", "odd", mlockall(0x100));
    told("mlockall", "only on fault", mlockall(MCL_ONFAULT));
}

/* ---- descriptors ------------------------------------------------------------------------------------ */

/*
 * Closes all descriptors that it did not open, as daemons do, past libc;
 * the mappings stay. The shim has no descriptor 0, 1 or 2.
 */
static void case_descriptors(void)
{
    char *large;
    int fd = opened("large", O_RDWR);

    for (off_t at = 0; at < 2000; at++)
        CHECK(pwrite(fd, map_a + at, 300, at * (off_t)PAGE) == 300);
    large = mmap(NULL, 2000 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(large != MAP_FAILED);
    printf("%lx\n", sum(large, 500 * PAGE));
    for (long number = 3; number < 2000; number++)
        syscall(SYS_close, number);
    printf("closed %ld", syscall(SYS_close, fd));
    printf(" %s\n", strerror(errno));
    printf("%lx\n", sum(large, 2000 * PAGE));
    CHECK(opened("a", O_RDWR) == 3 && syscall(SYS_dup2, 3, 8) == 8 && syscall(SYS_dup3, 8, 9, 0) == 9);
    for (size_t at = 0; at < 2000; at++)
        large[at * PAGE + 77] = (char)at;
    printf("close_range %ld %ld", syscall(SYS_close_range, 3u, ~0u, 0u),
           syscall(SYS_close_range, 5u, 3u, 0u));
    printf(" %s\n", strerror(errno));
    CHECK(msync(large, 2000 * PAGE, MS_SYNC) == 0);
    fd = opened("large", O_RDONLY);
    for (size_t at = 0; at < 2000 * PAGE; at += 100 * PAGE) {
        CHECK(pread(fd, memory, 300, (off_t)at) == 300);
        printf("%lx ", sum(memory, 300));
    }
    printf("%d %lx\n", fd, sum(large, 2000 * PAGE));
    printf("other calls %ld %ld", syscall(SYS_getppid) - getppid(), syscall(SYS_lseek, fd, 5, 77));
    printf(" %s\n", strerror(errno));
    printf("six arguments %d\n",
           (void *)syscall(SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}

int main(int argc, char **argv)
{
    static const struct named_case cases[] = {
        {"sendfile", case_sendfile},
        {"copy_file_range", case_copy_file_range},
        {"splice", case_splice},
        {"splice_waits", case_splice_waits},
        {"buffers", case_buffers},
        {"vectors", case_vectors},
        {"messages", case_messages},
        {"masks", case_masks},
        {"self", case_self},
        {"remap", case_remap},
        {"mmap", case_mmap},
        {"lockall", case_lockall},
        {"descriptors", case_descriptors},
    };

    if (argc != 3)
        return 2;
    prepared(argv[2]);
    return CASE_RUN(cases, argv[1]) ? 0 : 2;
}
