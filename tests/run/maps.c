/*
 * maps.c: a program that places its mappings itself: files over addresses that it reserved, mappings that it
 * moves, mappings that a child does not inherit. It prints what it sees; the test (maps_test) compares a
 * native run with runs under limits smaller than the file.
 *
 *   maps CASE FILE      FILE is 16 MiB or more of numbered pages, made by the test; it may change
 */
#include "given_file.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#define MADV_KEEPONFORK 19
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static int open_file(int flags)
{
    int fd = open(path, flags);

    CHECK(fd >= 0);
    return fd;
}

static unsigned char *map_at(void *at, size_t len, int prot, int flags, off_t offset)
{
    int fd = open_file((flags & MAP_TYPE) == MAP_SHARED && (prot & PROT_WRITE) ? O_RDWR : O_RDONLY);
    void *p = mmap(at, len, prot, flags | (at != NULL ? MAP_FIXED : 0), fd, offset);

    CHECK(p != MAP_FAILED && close(fd) == 0);
    return p;
}

static unsigned char *reserve(size_t len, int prot, int flags)
{
    void *p = mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

    CHECK(p != MAP_FAILED);
    return p;
}

/* ---- what can be done with a page ------------------------------------------------------------------ */

static sigjmp_buf out;

static void on_fault(int signo)
{
    siglongjmp(out, signo);
}

/* "r" with the byte, and "w" if it can be written; or the signal; '-' where nothing is mapped. */
static void show(const char *what, volatile unsigned char *p)
{
    unsigned char vec;
    int signo;

    printf("%s:", what);
    if (mincore((void *)((uintptr_t)p & ~(uintptr_t)(PAGE - 1)), PAGE, &vec) != 0)
        printf(" %s", strerror(errno));
    signo = sigsetjmp(out, 1);
    if (signo == 0)
        printf(" r%02x", *p);
    else
        printf(" signal %d", signo);
    if (signo == 0) {
        signo = sigsetjmp(out, 1);
        if (signo == 0) {
            *p = (unsigned char)(*p + 1);
            *p = (unsigned char)(*p - 1);
            printf(" w");
        } else {
            printf(" signal %d", signo);
        }
    }
    printf("\n");
}

static void show_result(const char *what, long r)
{
    printf("%s: %s\n", what, r == -1 ? strerror(errno) : "done");
}

static void reap(pid_t pid)
{
    int status;

    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    printf("child: %d\n", status);
}

/* ---- reservations ---------------------------------------------------------------------------------- */

static void child_of_reserved(unsigned char *r, unsigned char *m)
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        show("child, reserved", r + (3 << 20));
        show("child, memory", r);
        show("child, hole", m + 95 * PAGE);
        show("child, moved from", m + 1000 * PAGE);
        printf("child %lx\n", sum(m + 110 * PAGE, 800 * PAGE));
        fflush(stdout);
        _exit(0);
    }
    reap(pid);
}

/* A reservation of 64 MiB with a file mapped in its middle, which is then changed in every way. */
static void reserved_around(int prot, int flags, int file_prot, int type)
{
    unsigned char *r = reserve(64 << 20, prot, flags);
    unsigned char *m = r + (16 << 20), *p;
    unsigned char vec[64];
    int pipe_fd[2], fd;

    show("reserved", r);
    p = map_at(m, size, file_prot, type, 0);
    CHECK(p == m);
    printf("file %lx\n", sum(m, size));
    show("before", m - 1);
    show("first", m);
    show("last", m + size - 1);
    show("behind", m + size);
    if ((file_prot & PROT_WRITE) != 0)
        m[5 * PAGE] = 'x';
    /* a part becomes anonymous memory, and is the buffer of system calls */
    show_result("mprotect", mprotect(r, 1 << 20, PROT_READ | PROT_WRITE));
    memset(r, 'h', 1 << 20);
    CHECK(pipe(pipe_fd) == 0);
    fd = open_file(O_RDONLY);
    printf("read %zd\n", read(fd, r + PAGE, 64 << 10));
    printf("read %zd\n", read(fd, m + 20 * PAGE, 64 << 10));
    printf("write %zd\n", write(pipe_fd[1], r + PAGE, 100));
    printf("read %zd %.8s\n", read(pipe_fd[0], r, 100), (char *)r);
    printf("read %d", (int)read(fd, m - PAGE, PAGE));
    printf(" %s\n", prot == PROT_NONE || prot == PROT_READ ? strerror(errno) : "");
    printf("memory %lx file %lx\n", sum(r, 1 << 20), sum(m, size));
    show_result("dontneed", madvise(r, 1 << 20, MADV_DONTNEED));
    show("dropped", r);
    /* across the edges */
    show_result("mprotect across", mprotect(m - 4 * PAGE, 8 * PAGE, PROT_READ));
    show("before", m - 1);
    show("first", m);
    show_result("mincore", mincore(m - 4 * PAGE, 8 * PAGE, vec));
    show_result("mlock", mlock(m - 4 * PAGE, 8 * PAGE));
    show_result("munlock", munlock(m - 4 * PAGE, 8 * PAGE));
    show_result("msync", msync(m - 4 * PAGE, 8 * PAGE, MS_SYNC));
    show_result("mprotect back", mprotect(m - 4 * PAGE, 8 * PAGE, file_prot));
    /* anonymous memory in the file's place, and then a file there again */
    p = mmap(m + 100 * PAGE, 50 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0);
    CHECK(p == m + 100 * PAGE);
    show("anonymous", p);
    map_at(m + 120 * PAGE, 300 * PAGE, PROT_READ, MAP_SHARED, (off_t)(500 * PAGE));
    show("file again", m + 121 * PAGE);
    printf("all %lx\n", sum(m, size));
    /* holes */
    show_result("munmap", munmap(m + 90 * PAGE, 20 * PAGE));
    show("hole", m + 95 * PAGE);
    show("not a hole", m + 111 * PAGE);
    show_result("mprotect hole", mprotect(m + 80 * PAGE, 20 * PAGE, PROT_READ));
    p = mmap(m + 91 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
             -1, 0);
    show_result("noreplace in a hole", p == MAP_FAILED ? -1 : 0);
    p = mmap(m + 89 * PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    show_result("noreplace", p == MAP_FAILED ? -1 : 0);
    p = mmap(m + 93 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0);
    show_result("file in a hole", p == MAP_FAILED ? -1 : 0);
    show("file in a hole", m + 93 * PAGE);
    /* moved about */
    p = mremap(m + 1000 * PAGE, 100 * PAGE, 100 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, r + (2 << 20));
    CHECK(p == r + (2 << 20));
    show("moved from", m + 1000 * PAGE);
    printf("moved %lx\n", sum(p, 100 * PAGE));
    p = mremap(r + (2 << 20), 100 * PAGE, 200 * PAGE, MREMAP_MAYMOVE);
    CHECK(p != MAP_FAILED);
    printf("grown %lx\n", sum(p, 200 * PAGE));
    show("grown from", r + (2 << 20));
    CHECK(munmap(p, 200 * PAGE) == 0);
    child_of_reserved(r, m);
    printf("parent %lx\n", sum(m + 110 * PAGE, 800 * PAGE));
    show_result("munmap", munmap(r, 64 << 20));
    show("gone", m);
    show("gone", r);
    CHECK(close(fd) == 0 && close(pipe_fd[0]) == 0 && close(pipe_fd[1]) == 0);
}

static void case_reserve(void)
{
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    reserved_around(PROT_READ, 0, PROT_READ, MAP_PRIVATE);
    reserved_around(PROT_NONE, MAP_NORESERVE, PROT_READ, MAP_SHARED);
    reserved_around(PROT_NONE, 0, PROT_READ | PROT_WRITE, MAP_SHARED);
}

/* As dynamic loaders map programs. */
static void case_image(void)
{
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    for (int i = 0; i < 3; i++)
        reserved_around(i == 1 ? PROT_READ : PROT_NONE, MAP_NORESERVE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

static void say_filters(void)
{
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");

    CHECK(status != NULL);
    while (fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "Seccomp_filters:", 16) == 0)
            fprintf(stderr, "filters %d\n", atoi(line + 16));
    fclose(status);
}

/* As ugrep does: reserve, map over it, look, unmap; with other reservations that stay. */
static void case_again(void)
{
    unsigned char *kept[20];

    for (int i = 0; i < 300; i++) {
        size_t len = i % 50 == 49 ? (size_t)5 << 30 : (size_t)1 << 30;
        unsigned char *r = reserve(len, PROT_READ, MAP_NORESERVE);

        map_at(r + (i % 3) * PAGE, size, PROT_READ, MAP_PRIVATE, 0);
        printf("%lx ", sum(r + (i % 100) * 64 * PAGE / 4, PAGE));
        if (i % 15 == 0)
            kept[i / 15] = r;
        else
            CHECK(munmap(r, len) == 0);
    }
    printf("\n");
    for (int i = 0; i < 20; i++)
        printf("%lx\n", sum(kept[i] + 10 * PAGE, size / 16));
    say_filters();
}

/* Reservations as long as the part of the file that is mapped there, each of another length; and a heap. */
static void case_lengths(void)
{
    unsigned char *heap = reserve(64 << 20, PROT_NONE, MAP_NORESERVE), *late, *p;
    int zero = open("/dev/zero", O_RDONLY);

    CHECK(mprotect(heap, 8 << 20, PROT_READ | PROT_WRITE) == 0);
    for (int i = 0; i < 200; i++) {
        size_t len = (size_t)(1000 + 17 * i) * PAGE;
        unsigned char *r = reserve(len, PROT_NONE, 0);

        map_at(r, len, PROT_READ, MAP_SHARED, (off_t)(i * PAGE));
        printf("%lx ", sum(r + len - PAGE, PAGE));
        if (i % 10 != 0)
            CHECK(munmap(r, len) == 0);
    }
    late = reserve(64 << 20, PROT_NONE, MAP_NORESERVE);
    CHECK(mprotect(late, 8 << 20, PROT_READ | PROT_WRITE) == 0);
    for (int i = 0; i < 2; i++) {
        p = i == 0 ? heap : late;
        memset(p, i + 1, 8 << 20);
        CHECK(read(zero, p, 1 << 20) == 1 << 20 && p[0] == 0 && p[1 << 20] == i + 1);
        CHECK(readv(zero, (struct iovec[]){{p, 4 << 20}, {p + (5 << 20), 2 << 20}}, 2) == 6 << 20 &&
              p[3 << 20] == 0);
    }
    printf("\n");
    say_filters();
}

/* Reservations that become heaps, which must cost no more than natively. */
static void case_heap(void)
{
    int zero = open("/dev/zero", O_RDONLY);

    for (int i = 0; i < 40; i++) {
        unsigned char *r = reserve((size_t)256 << 20, PROT_NONE, MAP_NORESERVE), *p;

        CHECK(mprotect(r, 4 << 20, PROT_READ | PROT_WRITE) == 0);
        p = mmap(r + (8 << 20), 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                 0);
        CHECK(p == r + (8 << 20));
        memset(r, i, 4 << 20);
        memset(p, i, 4 << 20);
        CHECK(read(zero, r, 1 << 20) == 1 << 20 && r[0] == 0 && r[1 << 20] == i);
        p = mremap(p, 4 << 20, 8 << 20, 0); /* the page behind it is mapped */
        printf("%s", p == MAP_FAILED ? "-" : "+");
        CHECK(madvise(r, 4 << 20, MADV_DONTNEED) == 0 && r[1 << 20] == 0);
        CHECK(munmap(r + (12 << 20), (256 - 12) << 20) == 0);
        p = mremap(r + (8 << 20), 4 << 20, 8 << 20, 0); /* now nothing is */
        printf("%s", p == MAP_FAILED ? "-" : "+");
    }
    printf("\n");
    say_filters();
}

/* ---- moved away ------------------------------------------------------------------------------------ */

struct writer {
    unsigned char *p;
    size_t len;
    volatile int go_on;
    uint64_t n;
};

/* Each byte in turn, with the number of the round. */
static void *write_on(void *arg)
{
    struct writer *w = arg;

    for (; w->go_on; w->n++)
        w->p[w->n * 64 % w->len] = (unsigned char)(w->n * 64 / w->len);
    return NULL;
}

/* Whether each place holds what was last written there. */
static bool written_right(const struct writer *w)
{
    uint64_t places = w->len / 64;

    for (uint64_t i = w->n > places ? w->n - places : 0; i < w->n; i++)
        if (w->p[i * 64 % w->len] != (unsigned char)(i * 64 / w->len))
            return false;
    return true;
}

/*
 * A part of one mapping moves to `to`, while threads write to the rest of it and to another mapping of the
 * same file: none of their stores is lost, and all show the same bytes as before.
 */
static void move(int type, size_t old_pages, size_t new_pages, int flags, unsigned char *to)
{
    unsigned char *m = map_at(NULL, size, PROT_READ | PROT_WRITE, type, 0);
    unsigned char *other = map_at(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    unsigned char *hidden = map_at(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
    struct writer writers[2] = {{.p = m + 2048 * PAGE, .len = 64 * PAGE, .go_on = 1},
                                {.p = other + 3000 * PAGE, .len = 512 * PAGE, .go_on = 1}};
    pthread_t threads[2];
    unsigned char *p;

    for (int i = 0; i < 150; i++)
        m[i * PAGE] = (unsigned char)(i * 7);
    hidden[77 * PAGE] = 'h';
    CHECK(mprotect(hidden, size, PROT_NONE) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, write_on, &writers[i]) == 0);
    usleep(10000);
    p = mremap(m + 10 * PAGE, old_pages * PAGE, new_pages * PAGE, flags, to);
    if (p == MAP_FAILED)
        printf("mremap: %s\n", strerror(errno));
    else
        printf("moved: %d %lx\n", to == NULL || p == to,
               sum(p, (old_pages < new_pages ? old_pages : new_pages) * PAGE));
    usleep(10000);
    for (int i = 0; i < 2; i++) {
        writers[i].go_on = 0;
        CHECK(pthread_join(threads[i], NULL) == 0);
        printf("writer %d: %s\n", i, written_right(&writers[i]) ? "right" : "WRONG");
    }
    CHECK(mprotect(hidden, size, PROT_READ) == 0);
    printf("hidden %c, ", hidden[77 * PAGE]);
    show("from", m + 10 * PAGE);
    show("beside", m + 9 * PAGE);
    if (p != MAP_FAILED) {
        show("there", p + 5 * PAGE);
        p[6 * PAGE] = 'n';
        printf("other sees %c, hidden sees %c\n", other[16 * PAGE] == 'n' ? 'n' : '-',
               hidden[16 * PAGE] == 'n' ? 'n' : '-');
        CHECK(munmap(p, new_pages * PAGE) == 0);
    }
    memset(writers[0].p, 0, writers[0].len); /* the file's digest is compared, too */
    memset(writers[1].p, 0, writers[1].len);
    CHECK(munmap(m, size) == 0 && munmap(other, size) == 0 && munmap(hidden, size) == 0);
}

static void case_move(void)
{
    /* an address outside of anything; the program's own memory; a reservation too small to be of interest */
    unsigned char *far = (unsigned char *)0x10000000000;
    unsigned char *own = mmap(NULL, 200 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *big = reserve(64 << 20, PROT_NONE, MAP_NORESERVE);
    static const int types[] = {MAP_PRIVATE, MAP_SHARED};
    const int to = MREMAP_MAYMOVE | MREMAP_FIXED;

    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    CHECK(own != MAP_FAILED);
    for (int i = 0; i < 2; i++) {
        move(types[i], 100, 100, to, far);
        move(types[i], 100, 200, to, own);
        move(types[i], 100, 50, to, reserve(128 * PAGE, PROT_NONE, 0));
        move(types[i], 100, 100, to | MREMAP_DONTUNMAP, far);
        move(types[i], 100, 100, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
        move(types[i], 100, 100, to, big + (1 << 20));
        move(types[i], 100, 100, to, far + 1);               /* EINVAL */
        move(types[i], 100, 100, MREMAP_FIXED, far);         /* EINVAL */
        move(types[i], 100, 90, to | MREMAP_DONTUNMAP, far); /* EINVAL */
    }
}

/* ---- children -------------------------------------------------------------------------------------- */

/* The bytes that a child, and a child of the child, see of pages 0, 10, 20, … */
static void show_child(const char *what, unsigned char *m, int pages)
{
    printf("%s\n", what);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < pages; i += 10)
            show("child", m + i * PAGE);
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            show("grandchild", m);
            fflush(stdout);
            _exit(0);
        }
        reap(pid);
        fflush(stdout);
        _exit(0);
    }
    reap(pid);
}

static void dont_fork(int prot, int type)
{
    unsigned char *m = map_at(NULL, size, prot, type, 0), *p;

    show_result("dontfork", madvise(m + 15 * PAGE, 20 * PAGE, MADV_DONTFORK));
    show_child("a part", m, 50);
    if ((prot & PROT_WRITE) != 0)
        m[16 * PAGE] = 'a'; /* the parent still has it */
    show("parent", m + 16 * PAGE);
    show_result("mprotect", mprotect(m + 10 * PAGE, 20 * PAGE, PROT_READ));
    show_child("protected", m, 50);
    show_result("dofork", madvise(m + 25 * PAGE, 100 * PAGE, MADV_DOFORK));
    show_child("less", m, 50);
    p = mremap(m + 10 * PAGE, 10 * PAGE, 20 * PAGE, MREMAP_MAYMOVE);
    show_result("mremap of two", p == MAP_FAILED ? -1 : 0);
    p = mremap(m + 15 * PAGE, 4 * PAGE, 30 * PAGE, MREMAP_MAYMOVE);
    CHECK(p != MAP_FAILED);
    show_child("moved and grown", p, 30);
    show_result("all", madvise(m + 40 * PAGE, size - 40 * PAGE, MADV_DONTFORK));
    show_child("the rest", m, 100);
    show_result("a hole", madvise(m, 40 * PAGE, MADV_DONTFORK));
    show_child("nothing", m, 100);
    show_result("wipe", madvise(m + 40 * PAGE, PAGE, MADV_WIPEONFORK));
    show_result("keep", madvise(m + 40 * PAGE, PAGE, MADV_KEEPONFORK));
    CHECK(munmap(m, size) == 0 && munmap(p, 30 * PAGE) == 0);
}

/*
 * Threads write to one page through two mappings of it, while the process
 * forks: each has its bytes there afterwards, and in the file.
 */
static void case_fork_two(void)
{
    unsigned char *a = map_at(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    unsigned char *b = map_at(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    struct writer writers[2] = {{.p = a + 100 * PAGE, .len = 32 * PAGE, .go_on = 1},
                                {.p = b + 100 * PAGE + 1, .len = 32 * PAGE, .go_on = 1}};
    pthread_t threads[2];

    memset(a + 100 * PAGE, 0, 33 * PAGE);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, write_on, &writers[i]) == 0);
    usleep(10000);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    reap(pid);
    usleep(20000);
    for (int i = 0; i < 2; i++) {
        writers[i].go_on = 0;
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    printf("%d %d\n", written_right(&writers[0]), written_right(&writers[1]));
    printf("%d\n", memcmp(a, b, size));
    memset(a + 100 * PAGE, 0, 33 * PAGE);
}

static void case_dontfork(void)
{
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    dont_fork(PROT_READ | PROT_WRITE, MAP_PRIVATE);
    dont_fork(PROT_READ, MAP_PRIVATE);
    dont_fork(PROT_READ, MAP_SHARED);
    dont_fork(PROT_READ | PROT_WRITE, MAP_SHARED);
}

/* No child inherits it, so nothing needs to be handed over to the kernel. */
static void case_private(void)
{
    unsigned char *m = map_at(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);

    CHECK(madvise(m, size, MADV_DONTFORK) == 0);
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(0);
        reap(pid);
        printf("%lx\n", sum(m, size));
    }
}

/* ---- the line at the end --------------------------------------------------------------------------- */

static void case_inside(void)
{
    printf("%lx\n", sum(map_at(NULL, size, PROT_READ, MAP_SHARED, 0), size));
}

static void case_outside(void)
{
    case_inside();
    printf("%lx\n", sum(map_at((void *)0x10000000000, size, PROT_READ, MAP_PRIVATE, 0), size));
}

/* One child executes another program; another one fails to, and ends. */
static void case_exec_child(void)
{
    unsigned char *m = map_at(NULL, size, PROT_READ, MAP_PRIVATE, 0);

    printf("%lx\n", sum(m, size));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/nonexistent", "nonexistent", NULL);
        execl("/bin/true", "true", NULL);
        _exit(9);
    }
    reap(pid);
}

static void case_child(void)
{
    unsigned char *m = map_at(NULL, size, PROT_READ, MAP_PRIVATE, 0);

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/nonexistent", "nonexistent", NULL);
        printf("%lx\n", sum(m, size));
        exit(0);
    }
    reap(pid);
}

int main(int argc, char **argv)
{
    static const struct named_case cases[] = {
        {"reserve", case_reserve}, {"image", case_image},       {"again", case_again},
        {"heap", case_heap},       {"move", case_move},         {"fork_two", case_fork_two},
        {"lengths", case_lengths}, {"dontfork", case_dontfork}, {"private", case_private},
        {"inside", case_inside},   {"outside", case_outside},   {"exec_child", case_exec_child},
        {"child", case_child},
    };
    return given_file_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
