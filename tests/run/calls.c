/*
 * calls.c: system calls on mapped memory, signals, and fork, in a program that
 * knows nothing of Faultline. It prints what it sees; the test (calls_test)
 * compares a native run with runs under limits smaller than the file.
 *
 *   calls CASE FILE      FILE is 16 MiB or more of numbered pages, made by the test; it may change
 */
#include "given_file.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned char *map(int prot, int flags, int open_flags)
{
    int fd = open(path, open_flags);
    void *p;

    CHECK(fd >= 0);
    p = mmap(NULL, size, prot, flags, fd, 0);
    CHECK(p != MAP_FAILED);
    CHECK(close(fd) == 0);
    return p;
}

/* A shared mapping of a file of its own, of the same length, for results. */
static unsigned char *scratch(void)
{
    char name[4096];
    void *p;
    int fd;

    snprintf(name, sizeof name, "%s.scratch.%d", path, (int)getpid());
    fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && unlink(name) == 0 && ftruncate(fd, (off_t)size) == 0);
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED && close(fd) == 0);
    return p;
}

/* ---- system calls ---------------------------------------------------------------------------------- */

static void *drain(void *arg)
{
    static unsigned char got[1 << 20];
    int fd = *(int *)arg;
    ssize_t n;
    size_t total = 0;
    uint64_t h = 0;

    while ((n = read(fd, got, sizeof got)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            h = h * 31 + got[i];
        total += (size_t)n;
    }
    printf("drained %zu %lx\n", total, h);
    return NULL;
}

/* A pipe is written from one mapping, longer than any hold, and read into another. */
static void case_pipe(void)
{
    unsigned char *from = map(PROT_READ, MAP_PRIVATE, O_RDONLY);
    unsigned char *to = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, O_RDONLY);
    pthread_t thread;
    int fd[2];
    ssize_t n;

    CHECK(pipe(fd) == 0);
    CHECK(pthread_create(&thread, NULL, drain, &fd[0]) == 0);
    CHECK(write(fd[1], from + 100, size - 100) == (ssize_t)(size - 100));
    CHECK(close(fd[1]) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    close(fd[0]);

    CHECK(pipe(fd) == 0);
    CHECK(write(fd[1], "hello, mapping", 14) == 14);
    n = read(fd[0], to + 5 * PAGE - 7, 64); /* across two pages that are not resident */
    printf("read %zd '%.14s'\n", n, (char *)to + 5 * PAGE - 7);
    printf("%lx\n", sum(to, size));
}

static void case_vector(void)
{
    unsigned char *from = map(PROT_READ, MAP_SHARED, O_RDONLY);
    unsigned char *to = scratch();
    struct iovec iov[40];
    char name[64];
    char own[100] = "own memory";
    int fd;

    snprintf(name, sizeof name, "%s.vector.%d", path, (int)getpid());
    fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && unlink(name) == 0);
    for (int i = 0; i < 40; i++)
        iov[i] = i % 5 == 0 ? (struct iovec){own, sizeof own}
                            : (struct iovec){from + (size_t)i * 37 * PAGE + (size_t)i, (size_t)i * 3000};
    printf("writev %zd\n", writev(fd, iov, 40));
    iov[0] = (struct iovec){from + 3, size - 3};
    iov[1] = (struct iovec){own, 10};
    iov[2] = (struct iovec){from, size / 2};
    printf("pwritev %zd\n", pwritev(fd, iov, 3, 1000));
    iov[0] = (struct iovec){to + 99, size / 2};
    iov[1] = (struct iovec){own, 50};
    iov[2] = (struct iovec){to + size / 2 + 200, size / 4};
    printf("preadv %zd\n", preadv(fd, iov, 3, 7));
    printf("%lx %lx\n", sum(to, size), sum((unsigned char *)own, sizeof own));
    lseek(fd, 0, SEEK_SET);
    iov[0] = (struct iovec){to + size / 3, size / 3};
    printf("readv %zd %lx\n", readv(fd, iov, 1), sum(to, size));
    printf("pread %zd %lx\n", pread(fd, to + 1, size - 1, 4097), sum(to, size));
    printf("fault %zd", readv(fd, (struct iovec[]){{(void *)8, 8}, {to, 1}}, 2));
    printf(" %s\n", strerror(errno));
}

/* Messages: one datagram of many pieces, ancillary data and names in mapped memory. */
static void case_message(void)
{
    unsigned char *from = map(PROT_READ, MAP_PRIVATE, O_RDONLY);
    unsigned char *to = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, O_RDONLY);
    struct iovec out[3] = {{from + 10 * PAGE - 5, 9000}, {from + 99 * PAGE, 1}, {from + 1000 * PAGE, 20000}};
    struct iovec in[2] = {{to + 7 * PAGE - 1, 10000}, {to + 2000 * PAGE, 60000}};
    struct msghdr send = {.msg_iov = out, .msg_iovlen = 3};
    struct msghdr receive = {.msg_iov = in, .msg_iovlen = 2};
    struct mmsghdr many[3] = {{.msg_hdr = send}, {.msg_hdr = send}, {.msg_hdr = send}};
    struct mmsghdr got[3] = {{.msg_hdr = receive}, {.msg_hdr = receive}, {.msg_hdr = receive}};
    int fd[2];

    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd) == 0);
    printf("sendmsg %zd\n", sendmsg(fd[0], &send, 0));
    printf("recvmsg %zd flags %x %lx\n", recvmsg(fd[1], &receive, 0), receive.msg_flags, sum(to, size));
    printf("sendto %zd\n", sendto(fd[0], from + 3 * PAGE, 50000, 0, NULL, 0));
    printf("recvfrom %zd %lx\n", recvfrom(fd[1], to + 40 * PAGE + 9, 60000, 0, NULL, NULL), sum(to, size));
    printf("sendmmsg %d\n", sendmmsg(fd[0], many, 3, 0));
    printf("recvmmsg %d", recvmmsg(fd[1], got, 3, MSG_DONTWAIT, NULL));
    for (int i = 0; i < 3; i++)
        printf(" %u", got[i].msg_len);
    printf(" %lx\n", sum(to, size));
}

/*
 * Paths, structures, directories, futexes in mapped memory; libc calls the kernel for most of these itself.
 */
static void case_odd(void)
{
    unsigned char *m = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, O_RDONLY);
    unsigned char *from = map(PROT_READ, MAP_SHARED, O_RDONLY);
    unsigned char *to = scratch();
    char *name = (char *)m + 20 * PAGE - 3;
    struct stat *st = (struct stat *)(m + 50 * PAGE - 40);
    uint32_t *word = (uint32_t *)(m + 77 * PAGE);
    struct timespec *timeout = (struct timespec *)(m + 90 * PAGE);
    struct pollfd *polls = (struct pollfd *)(m + 110 * PAGE - 8);
    unsigned char *vec = m + 130 * PAGE - 100;
    sigset_t *set = (sigset_t *)(m + 150 * PAGE - 8);
    FILE *file;

    strcpy(name, "/proc/self/stat");
    CHECK(madvise(m, size, MADV_DONTNEED) == 0); /* private: the written bytes are gone */
    printf("gone %d\n", strcmp(name, "/proc/self/stat") != 0);
    strcpy(name, "/etc/passwd");
    printf("stat %d %d\n", stat(name, st), S_ISREG(st->st_mode));
    printf("access %d\n", access(name, R_OK));
    printf("getcwd %d\n", getcwd((char *)m + 30 * PAGE - 2, PAGE) != NULL && m[30 * PAGE - 2] == '/');
    printf("readlink %d\n", readlink("/proc/self/exe", (char *)m + 33 * PAGE - 2, 2000) > 0);
    *word = 5;
    timeout->tv_sec = 0;
    timeout->tv_nsec = 1000000;
    printf("futex %ld", syscall(SYS_futex, word, 0, 5, timeout, NULL, 0));
    printf(" %s\n", strerror(errno));
    polls[0] = (struct pollfd){-1, 0, 0};
    polls[1] = (struct pollfd){-1, 0, 0};
    printf("poll %d\n", poll(polls, 2, 1));
    printf("mincore %d\n", mincore(m, 200 * PAGE, vec));
    sigemptyset(set);
    sigaddset(set, SIGUSR1);
    printf("sigprocmask %ld\n", syscall(SYS_rt_sigprocmask, SIG_BLOCK, set, set + 1, 8));
    CHECK(sigprocmask(SIG_SETMASK, NULL, set + 2) == 0);
    printf("blocked %d\n", sigismember(set + 2, SIGUSR1));
    printf("getrandom %ld\n", (long)syscall(SYS_getrandom, m + 500 * PAGE, 20 * PAGE, 0));
    file = tmpfile();
    CHECK(file != NULL);
    printf("fwrite %zu\n", fwrite(from + 900 * PAGE, 1, 2000 * PAGE + 17, file));
    rewind(file);
    printf("fread %zu\n", fread(to + 3 * PAGE + 1, 1, 1800 * PAGE + 5, file));
    printf("%lx\n", sum(to, size));
    printf("nowhere %zd", read(open("/dev/zero", O_RDONLY), (void *)(m + size + 4096 * PAGE), 10));
    printf(" %s\n", strerror(errno));
    printf("readonly %d\n", mprotect(m, 10 * PAGE, PROT_READ));
    printf("into it %zd", read(open("/dev/zero", O_RDONLY), m + PAGE, 10));
    printf(" %s\n", strerror(errno));
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signo)
{
    (void)signo;
    alarms++;
}

/* A read into mapped memory that waits is interrupted by a signal, as any other. */
static void case_interrupt(void)
{
    unsigned char *m = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, O_RDONLY);
    struct sigaction action = {.sa_handler = on_alarm};
    int fd[2];
    ssize_t n;

    CHECK(pipe(fd) == 0);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    ualarm(50000, 50000); /* repeated, because one may come before the read waits */
    n = read(fd[0], m + 3 * PAGE - 1, 5);
    ualarm(0, 0);
    printf("read %zd %s alarms %d\n", n, strerror(errno), alarms > 0);
}

/* ---- signals --------------------------------------------------------------------------------------- */

static sigjmp_buf out;
static volatile sig_atomic_t seen;
static void *volatile seen_addr;

static void on_bus(int signo, siginfo_t *info, void *context)
{
    (void)context;
    seen = signo;
    seen_addr = info->si_addr;
    siglongjmp(out, 1);
}

static void *blocked_thread(void *arg)
{
    sigset_t all, old;

    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &old) == 0);
    printf("blocks SIGBUS %d SIGINT %d\n", sigismember(&old, SIGBUS), sigismember(&old, SIGINT));
    printf("sum %lx\n", sum(arg, size));
    return NULL;
}

static void case_blocked(void)
{
    unsigned char *m = map(PROT_READ, MAP_SHARED, O_RDONLY);
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, blocked_thread, m) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/*
 * A file becomes shorter: accesses to the lost part raise SIGBUS each time, from which the handler leaves by
 * siglongjmp; the rest stays accessible.
 */
static void case_truncate(void)
{
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction old;
    static unsigned char altstack[65536];
    stack_t stack = {.ss_sp = altstack, .ss_size = sizeof altstack};
    unsigned char *m = map(PROT_READ | PROT_WRITE, MAP_SHARED, O_RDWR);
    volatile unsigned caught = 0;
    sigset_t mask;

    CHECK(sigaltstack(&stack, NULL) == 0);
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
    CHECK(sigaction(SIGBUS, NULL, &old) == 0);
    printf("ours %d\n", old.sa_sigaction == on_bus);
    printf("before %u\n", m[size - 1]);
    CHECK(truncate(path, (off_t)(size / 2 + 100)) == 0);
    for (volatile unsigned i = 0; i < 3; i++) {
        if (sigsetjmp(out, 1) == 0)
            printf("impossible %u\n", m[size / 2 + PAGE + i * 1000 * PAGE]);
        else
            caught += seen == SIGBUS && seen_addr == m + size / 2 + PAGE + i * 1000 * PAGE;
    }
    if (sigsetjmp(out, 1) == 0)
        m[size - 1] = 1;
    else
        caught += seen_addr == m + size - 1;
    printf("caught %u\n", caught);
    printf("tail %u %u\n", m[size / 2 + 99], m[size / 2 + 100]);
    CHECK(sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
    printf("mask %d\n", sigismember(&mask, SIGBUS));
    CHECK(truncate(path, (off_t)size) == 0);
    printf("again %u\n", m[size - 1]);
    m[0] = 'x';
    printf("%lx\n", sum(m, size));
}

static void on_usr(int signo)
{
    static volatile unsigned char *m;

    (void)signo;
    if (m == NULL)
        m = map(PROT_READ, MAP_PRIVATE, O_RDONLY);
    seen += m[(size_t)seen * 997 % size] != 0;
}

/* Handlers that touch mapped memory, with everything blocked while they run. */
static void case_handler(void)
{
    struct sigaction action = {.sa_handler = on_usr};
    unsigned char *m = map(PROT_READ, MAP_PRIVATE, O_RDONLY);
    uint64_t total = 0;

    sigfillset(&action.sa_mask);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (size_t at = 0; at < size; at += PAGE) {
        total += m[at];
        if (at % (64 * PAGE) == 0)
            raise(SIGUSR1);
    }
    printf("%lu\n", total);
}

static void case_die(void)
{
    unsigned char *m = map(PROT_READ, MAP_SHARED, O_RDONLY);

    CHECK(truncate(path, PAGE) == 0);
    printf("%u\n", m[0]);
    fflush(stdout);
    printf("impossible %u\n", m[size - 1]);
}

static void case_segv(void)
{
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    unsigned char *m = map(PROT_READ, MAP_PRIVATE, O_RDONLY);

    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    if (sigsetjmp(out, 1) == 0)
        *(volatile unsigned char *)(m + 5 * PAGE) = 1;
    else
        printf("signal %d at %zd\n", (int)seen, (unsigned char *)seen_addr - m);
    CHECK(munmap(m, 4 * PAGE) == 0);
    if (sigsetjmp(out, 1) == 0)
        printf("impossible %u\n", *(volatile unsigned char *)m);
    else
        printf("signal %d at %zd\n", (int)seen, (unsigned char *)seen_addr - m);
    CHECK(signal(SIGSEGV, SIG_DFL) != SIG_ERR);
    fflush(stdout);
    *(volatile unsigned char *)(m + 5 * PAGE) = 1;
}

/* ---- mappings -------------------------------------------------------------------------------------- */

/* Fixed mappings over managed ones and next to them, which are moved and cut. */
static void case_fixed(void)
{
    unsigned char *m = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, O_RDONLY);
    unsigned char *p, *q;
    int fd = open(path, O_RDWR);

    CHECK(fd >= 0);
    p = mmap(m + 100 * PAGE, 50 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0);
    CHECK(p == m + 100 * PAGE);
    printf("zero %u %u\n", p[0], p[50 * PAGE - 1]);
    memset(p, 7, 50 * PAGE);
    printf("around %u %u\n", m[100 * PAGE - 1], m[150 * PAGE]);
    printf("noreplace %d",
           mmap(m, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
    printf(" %s\n", strerror(errno));
    printf("mprotect %d\n", mprotect(m + 90 * PAGE, 70 * PAGE, PROT_READ));
    printf("mincore %d\n", mincore(m + 90 * PAGE, 70 * PAGE, (unsigned char[70]){0}));
    printf("mprotect %d\n", mprotect(m + 90 * PAGE, 70 * PAGE, PROT_READ | PROT_WRITE));
    q = mmap(m + 120 * PAGE, 20 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 300 * PAGE);
    CHECK(q == m + 120 * PAGE);
    printf("file over anonymous %lx\n", sum(m, 200 * PAGE));
    q = mremap(m, size, size / 2, 0);
    printf("shrink %d\n", q == m);
    p = mremap(m + 200 * PAGE, 100 * PAGE, 200 * PAGE, MREMAP_MAYMOVE);
    CHECK(p != MAP_FAILED);
    printf("moved %lx\n", sum(p, 200 * PAGE));
    printf("munmap %d\n", munmap(m, 500 * PAGE));
    printf("munmap %d\n", munmap(p, 200 * PAGE));
    p = mmap((void *)0x10000000000, 1024 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
    CHECK(p == (void *)0x10000000000);
    printf("outside %lx\n", sum(p, 1024 * PAGE));
    printf("badf %d", mmap(NULL, size, PROT_READ, MAP_PRIVATE, 999, 0) == MAP_FAILED);
    printf(" %s\n", strerror(errno));
    printf("odd %d", mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 5) == MAP_FAILED);
    printf(" %s\n", strerror(errno));
    close(fd);
    fd = open(path, O_RDONLY);
    printf("rights %d", mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    printf(" %s\n", strerror(errno));
    printf("msync %d", msync(m + 600 * PAGE + 1, PAGE, MS_SYNC));
    printf(" %s\n", strerror(errno));
}

/*
 * Written through a small and a large mapping, opened read-only first, and through the file itself: one file.
 */
static void case_coherent(void)
{
    int ro = open(path, O_RDONLY), rw = open(path, O_RDWR);
    unsigned char *r = mmap(NULL, size, PROT_READ, MAP_SHARED, ro, 0);
    unsigned char *w = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0);
    unsigned char *s = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 10 * PAGE);
    char b[16];

    CHECK(r != MAP_FAILED && w != MAP_FAILED && s != MAP_FAILED);
    w[11 * PAGE] = 'w';
    s[1] = 's';
    printf("%c %c %c\n", r[11 * PAGE], r[10 * PAGE + 1], w[10 * PAGE + 1]);
    CHECK(msync(w, size, MS_SYNC) == 0);
    CHECK(pread(ro, b, 1, 11 * PAGE) == 1);
    printf("%c\n", b[0]);
    for (size_t i = 0; i < size; i += 3 * PAGE)
        w[i] = (unsigned char)(i >> 12);
    CHECK(munmap(w, size) == 0 && munmap(s, PAGE) == 0 && munmap(r, size) == 0);
    w = mmap(NULL, size, PROT_READ, MAP_PRIVATE, ro, 0);
    printf("%lx\n", sum(w, size));
}

/*
 * As databases do: written by pwrite and read through a mapping; written
 * through a mapping and read by pread, or written back by fsync.
 */
static void case_database(void)
{
    int fd = open(path, O_RDWR), direct = open(path, O_RDWR | O_APPEND);
    unsigned char *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    unsigned char *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    char b[PAGE + 8] = {0};
    uint64_t total = 0;

    CHECK(m != MAP_FAILED && p != MAP_FAILED);
    for (size_t at = 100; at + PAGE < size; at += 211 * PAGE) {
        total += m[at] + p[at + 1];
        m[at + 2] = 'm'; /* the page is dirty when the file is written */
        memset(b, (int)(at / PAGE), sizeof b);
        CHECK(pwrite(fd, b, 2, (off_t)at) == 2);
        CHECK(pread(fd, b, 3, (off_t)at) == 3);
        printf("%u %u %c ", m[at], p[at + 1], b[2]);
        m[at + 3] = 'n';
        CHECK(lseek(fd, (off_t)at, SEEK_SET) == (off_t)at);
        CHECK(readv(fd, (struct iovec[]){{b, 2}, {b + 2, 5}}, 2) == 7);
        printf("%c %c\n", b[2], b[3]);
        CHECK(writev(fd, (struct iovec[]){{b, 3}, {b, PAGE}}, 2) == PAGE + 3);
        printf("%c\n", m[at + 7 + 2]);
    }
    CHECK(write(direct, "end", 3) == 3);
    m[0] = '!';
    CHECK(fsync(fd) == 0);
    CHECK(close(fd) == 0 && close(direct) == 0);
    printf("%lu %lx\n", total, sum(m, size));
}

/*
 * Closes every descriptor that it did not open, and then executes another
 * program while pages are still dirty.
 */
static void case_exec(void)
{
    unsigned char *m = map(PROT_READ | PROT_WRITE, MAP_SHARED, O_RDWR);
    char number[32];

    m[PAGE] = 'e';
    closefrom(3);
    for (int fd = 3; fd < 2000; fd++)
        CHECK(close(fd) == -1 && errno == EBADF);
    printf("%lx\n", sum(m, size));
    m[size - 1] = 'x';
    snprintf(number, sizeof number, "%d", 'x');
    fflush(stdout);
    execlp("tail", "tail", "-c", "1", path, (char *)NULL);
}

/*
 * A fork past libc, which the shim does not notice: its child has no
 * managed memory, and cannot harm its parent's.
 */
static void case_raw_fork(void)
{
    unsigned char *m = map(PROT_READ, MAP_PRIVATE, O_RDONLY);
    int status;
    pid_t pid;

    fflush(stdout);
    pid = (pid_t)syscall(SYS_fork);
    if (pid == 0) {
        char c;

        CHECK(read(open("/dev/zero", O_RDONLY), &c, 1) == 1);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    printf("child %d, parent %lx\n", status, sum(m, size));
}

/* Many threads, each with a large transfer into the mapping under way. */
static void *transfer(void *arg)
{
    unsigned char *to = arg;
    int fd = open(path, O_RDONLY);

    for (int i = 0; i < 3; i++)
        CHECK(pread(fd, to, size / 16, (off_t)(size / 16 * (unsigned)i)) == (ssize_t)(size / 16));
    close(fd);
    return NULL;
}

static void case_threads(void)
{
    unsigned char *to = scratch();
    pthread_t thread[16];

    for (size_t i = 0; i < 16; i++)
        CHECK(pthread_create(&thread[i], NULL, transfer, to + i * (size / 16)) == 0);
    for (size_t i = 0; i < 16; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    printf("%lx\n", sum(to, size));
}

/* ---- fork ------------------------------------------------------------------------------------------ */

static void reap(pid_t pid)
{
    int status;

    CHECK(waitpid(pid, &status, 0) == pid);
    printf("child %s %d\n", WIFEXITED(status) ? "exit" : "signal",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static void case_fork(void)
{
    unsigned char *p = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, O_RDONLY);
    unsigned char *r = map(PROT_READ, MAP_SHARED, O_RDONLY);
    pid_t pid;

    for (size_t i = 0; i < 200; i++)
        p[i * 17 * PAGE + i] = (unsigned char)(i + 1);
    CHECK(mprotect(p + 17 * PAGE, PAGE, PROT_NONE) == 0);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        CHECK(mprotect(p + 17 * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
        printf("child %lx %lx\n", sum(p, size), sum(r, size));
        p[1] = 99;
        printf("child write %zd\n", write(open("/dev/null", O_WRONLY), p, size));
        fflush(stdout);
        if (fork() == 0) {
            printf("grandchild %lx\n", sum(p, size));
            exit(0);
        }
        wait(NULL);
        exit(3);
    }
    p[2 * 17 * PAGE] = 55; /* after the fork: not the child's */
    reap(pid);
    printf("parent %lx %u\n", sum(p + 18 * PAGE, size - 18 * PAGE), p[1]);
}

static void case_fork_shared(void)
{
    unsigned char *s = map(PROT_READ | PROT_WRITE, MAP_SHARED, O_RDWR);
    unsigned char *r = map(PROT_READ, MAP_SHARED, O_RDONLY);
    int up[2], down[2];
    char c = 0;
    pid_t pid;

    CHECK(pipe(up) == 0 && pipe(down) == 0);
    s[5 * PAGE] = 'b'; /* before the fork */
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        printf("child sees %c\n", s[5 * PAGE]);
        s[6 * PAGE] = 'c';
        CHECK(write(up[1], &c, 1) == 1 && read(down[0], &c, 1) == 1);
        printf("child sees %c %c\n", s[7 * PAGE], r[7 * PAGE]);
        fflush(stdout);
        _exit(0);
    }
    CHECK(read(up[0], &c, 1) == 1);
    printf("parent sees %c %c\n", s[6 * PAGE], r[6 * PAGE]);
    fflush(stdout);
    s[7 * PAGE] = 'p';
    CHECK(write(down[1], &c, 1) == 1);
    reap(pid);
    printf("%lx\n", sum(s, size));
}

static volatile int go_on = 1;

static void *writer(void *arg)
{
    unsigned char *s = arg;
    uint64_t n = 0;

    for (; go_on; n++)
        s[(n * 7919 * 64) % size] = (unsigned char)n;
    return (void *)n;
}

/* Counts the bytes of the mapping, and then of the file, that are not what another thread last stored. */
static void fork_while_written(size_t wrong[2])
{
    unsigned char *s = map(PROT_READ | PROT_WRITE, MAP_SHARED, O_RDWR);
    unsigned char *check = malloc(size);
    pthread_t thread;
    void *n;
    uint64_t most, first;
    int fd;

    memset(s, 0, size);
    go_on = 1;
    CHECK(pthread_create(&thread, NULL, writer, s) == 0);
    usleep(20000);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    reap(pid);
    usleep(20000);
    go_on = 0;
    CHECK(pthread_join(thread, &n) == 0);
    /* The last value of each place, by the rule of the writer; its places repeat after `size` steps. */
    memset(check, 0, size);
    most = (uint64_t)n;
    first = most > size ? most - size : 0;
    for (uint64_t i = first; i < most; i++)
        check[(i * 7919 * 64) % size] = (unsigned char)i;
    for (size_t at = 0; at < size; at++)
        wrong[0] += check[at] != s[at];
    CHECK(munmap(s, size) == 0);
    fd = open(path, O_RDONLY);
    s = malloc(size);
    for (size_t at = 0; at < size;)
        at += (size_t)read(fd, s + at, size - at);
    CHECK(close(fd) == 0);
    for (size_t at = 0; at < size; at++)
        wrong[1] += check[at] != s[at];
    free(check);
    free(s);
}

/* Other threads write while the process forks: nothing is lost on the way to the kernel's mapping. */
static void case_fork_threads(void)
{
    size_t wrong[2] = {0};

    for (int i = 0; i < 5; i++)
        fork_while_written(wrong);
    printf("wrong in the mappings %zu, in the files %zu\n", wrong[0], wrong[1]);
}

int main(int argc, char **argv)
{
    static const struct named_case cases[] = {
        {"pipe", case_pipe},
        {"vector", case_vector},
        {"message", case_message},
        {"odd", case_odd},
        {"interrupt", case_interrupt},
        {"blocked", case_blocked},
        {"truncate", case_truncate},
        {"handler", case_handler},
        {"die", case_die},
        {"segv", case_segv},
        {"fixed", case_fixed},
        {"coherent", case_coherent},
        {"database", case_database},
        {"exec", case_exec},
        {"raw_fork", case_raw_fork},
        {"threads", case_threads},
        {"fork", case_fork},
        {"fork_shared", case_fork_shared},
        {"fork_threads", case_fork_threads},
    };
    return given_file_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
