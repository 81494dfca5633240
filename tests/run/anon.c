/*
 * anon.c: what a program does with anonymous memory and the heap, under `faultline run --anon`.
 *
 *   PROGRAM CASE ─▶ lines, which anon_test.py compares with those of a native run
 *
 * Most cases first push what they are about to use out of memory, by touching FILLER bytes.
 */
#include "cases.h"
#include "check.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <time.h>
#include <unistd.h>

#define PAGE   4096u
#define FILLER ((size_t)3 << 20) /* more than the limits of anon_test.py */

static unsigned char *filler;

/* What was touched before is not in memory afterwards, but for what is used all the time. */
static void push_out(void)
{
    if (filler == NULL)
        filler = malloc(FILLER);
    CHECK(filler != NULL);
    for (size_t i = 0; i < FILLER; i += PAGE)
        filler[i]++;
}

/* A copy in a page of the heap of its own. */
static void *own_page(const void *bytes, size_t len)
{
    void *copy = aligned_alloc(PAGE, (len + PAGE) & ~(size_t)(PAGE - 1));

    CHECK(copy != NULL);
    return memcpy(copy, bytes, len);
}

static void *anonymous(size_t len, int prot, int flags)
{
    void *p = mmap(NULL, len, prot, flags | MAP_ANONYMOUS, -1, 0);

    CHECK(p != MAP_FAILED);
    return p;
}

static int reap(pid_t pid)
{
    int status;

    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

/* ---- mappings ---------------------------------------------------------------------------------------- */

static uint64_t sum(const unsigned char *p, size_t len)
{
    uint64_t h = 1469598103934665603u;

    for (size_t i = 0; i < len; i += 512)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static void fill(unsigned char *p, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i += 512)
        p[i] = (unsigned char)((i >> 9) * 7 + seed);
}

static void case_maps(void)
{
    size_t len = 1024 * PAGE;
    unsigned char *p = anonymous(len, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    unsigned char *hidden = anonymous(8 * len, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
    unsigned char *code, *q;
    int (*seven)(void);

    fill(p, len, 1);
    push_out();
    printf("written %lx\n", sum(p, len));
    CHECK(madvise(p + 100 * PAGE, 50 * PAGE, MADV_DONTNEED) == 0);
    printf("discarded %lx, %d\n", sum(p, len), p[120 * PAGE]);
    CHECK(mmap(p + 200 * PAGE, 50 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
               0) == p + 200 * PAGE);
    printf("replaced %lx\n", sum(p, len));
    CHECK(munmap(p + 300 * PAGE, 10 * PAGE) == 0);
    CHECK(mprotect(p, 10 * PAGE, PROT_READ) == 0 && mprotect(p, 10 * PAGE, PROT_READ | PROT_WRITE) == 0);
    q = mremap(p + 400 * PAGE, 600 * PAGE, 2000 * PAGE, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED);
    printf("moved %lx, %d\n", sum(q, 600 * PAGE), q[1999 * PAGE]);
    push_out();
    CHECK(mprotect(hidden + len, len, PROT_READ | PROT_WRITE) == 0);
    fill(hidden + len, len, 3);
    push_out();
    CHECK(mprotect(hidden + len, len, PROT_NONE) == 0 && mprotect(hidden + len, len, PROT_READ) == 0);
    printf("reserved %lx, moved %lx\n", sum(hidden + len, len), sum(q, 2000 * PAGE));
    code = hidden + 4 * len;
    CHECK(mprotect(code, PAGE, PROT_READ | PROT_WRITE) == 0);
    memcpy(code, "\xb8\x07\x00\x00\x00\xc3", 6); /* mov $7, %eax; ret */
    CHECK(mprotect(code, PAGE, PROT_READ | PROT_EXEC) == 0);
    push_out();
    seven = (int (*)(void))(uintptr_t)code;
    printf("code %d\n", seven());
    CHECK(munmap(hidden, 8 * len) == 0 && munmap(q, 2000 * PAGE) == 0);
}

/* ---- system calls ------------------------------------------------------------------------------------ */

/* Reads and writes in every way, out of absent memory and into it. */
static void case_calls(void)
{
    char *name = own_page("/tmp/../dev/null", 17), *out = own_page("bytes out of the heap", 22);
    char *in = own_page("", 1), *half = own_page("", 1);
    struct iovec *iov = own_page(&(struct iovec[]){{out, 5}, {out + 5, 17}}, 2 * sizeof *iov);
    struct iovec *back = own_page(&(struct iovec[]){{in, 9}, {half, 13}}, 2 * sizeof *back);
    struct msghdr *message = own_page(&(struct msghdr){.msg_iov = iov, .msg_iovlen = 2}, sizeof *message);
    struct pollfd *polled = own_page(&(struct pollfd){0}, sizeof *polled);
    struct epoll_event *event =
        own_page(&(struct epoll_event){.events = EPOLLIN, .data.u64 = 77}, sizeof *event);
    struct stat *st = own_page(&(struct stat){0}, sizeof *st);
    int *ends = own_page(&(int[2]){0}, 2 * sizeof *ends), *pair = own_page(&(int[2]){0}, 2 * sizeof *pair);
    struct timespec *moment = own_page(&(struct timespec){0, 1000}, sizeof *moment);
    sigset_t *set = own_page(&(sigset_t){0}, sizeof *set);
    int fd, epoll = epoll_create1(0);

    for (int round = 0; round < 2; round++) {
        push_out();
        fd = open(name, O_RDWR);
        CHECK(fd >= 0);
        push_out();
        CHECK(fstat(fd, st) == 0 && stat(name, st) == 0 && S_ISCHR(st->st_mode));
        CHECK(close(fd) == 0 && pipe(ends) == 0);
        push_out();
        CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
        push_out();
        CHECK(write(ends[1], out, 22) == 22);
        push_out();
        *polled = (struct pollfd){ends[0], POLLIN, 0};
        push_out();
        CHECK(poll(polled, 1, -1) == 1 && polled->revents == POLLIN);
        push_out();
        CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], event) == 0);
        push_out();
        CHECK(epoll_wait(epoll, event, 1, -1) == 1 && event->data.u64 == 77);
        push_out();
        CHECK(readv(ends[0], back, 2) == 22);
        push_out();
        printf("read %.9s|%.13s\n", in, half);
        push_out();
        CHECK(sendmsg(pair[0], message, 0) == 22);
        message->msg_iov = back;
        push_out();
        CHECK(recvmsg(pair[1], message, 0) == 22);
        message->msg_iov = iov;
        push_out();
        printf("received %.9s|%.13s\n", in, half);
        push_out();
        CHECK(nanosleep(moment, NULL) == 0 && sigprocmask(SIG_BLOCK, NULL, set) == 0);
        push_out();
        CHECK(getcwd(in, PAGE) != NULL && readlink("/proc/self/exe", half, PAGE) > 0);
        CHECK(epoll_ctl(epoll, EPOLL_CTL_DEL, ends[0], NULL) == 0 && close(ends[0]) == 0 &&
              close(ends[1]) == 0);
        CHECK(close(pair[0]) == 0 && close(pair[1]) == 0);
    }
}

/* A call longer than the limit allows to hold. */
static void case_long(void)
{
    size_t len = (size_t)6 << 20;
    unsigned char *out = malloc(len), *in = malloc(len);
    FILE *file = tmpfile();

    CHECK(file != NULL && out != NULL && in != NULL);
    fill(out, len, 9);
    CHECK(fwrite(out, 1, len, file) == len && fflush(file) == 0);
    push_out();
    CHECK(pread(fileno(file), in, len, 0) == (ssize_t)len);
    printf("pread %d\n", memcmp(in, out, len));
    memset(in, 0, len);
    rewind(file);
    CHECK(fread(in, 1, len, file) == len);
    printf("fread %d\n", memcmp(in, out, len));
    fclose(file);
}

struct ring {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    _Atomic int word;
    int turn, turns;
};

static void *ring_run(void *arg)
{
    struct ring *ring = arg;
    int odd;

    pthread_mutex_lock(&ring->mutex);
    odd = ring->turns++ & 1;
    for (int i = 0; i < 200; i++) {
        while ((ring->turn & 1) != odd)
            pthread_cond_wait(&ring->changed, &ring->mutex);
        ring->turn++;
        pthread_cond_broadcast(&ring->changed);
    }
    pthread_mutex_unlock(&ring->mutex);
    while (ring->word == 0)
        syscall(SYS_futex, &ring->word, FUTEX_WAIT, 0, NULL, NULL, 0);
    return NULL;
}

/* Locks in the heap, while their page is pushed out again and again. */
static void case_futex(void)
{
    struct ring *ring =
        own_page(&(struct ring){.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER},
                 sizeof *ring);
    pthread_t thread[2];

    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&thread[i], NULL, ring_run, ring) == 0);
    for (int i = 0; i < 10; i++)
        push_out();
    ring->word = 1;
    push_out();
    syscall(SYS_futex, &ring->word, FUTEX_WAKE, 2, NULL, NULL, 0);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    printf("turns %d\n", ring->turn);
}

static _Atomic int ticks;

static void tick(union sigval value)
{
    free(malloc(1000));
    ticks += value.sival_int;
}

/* libc's helper thread, which has every signal blocked, uses the heap. */
static void case_timer(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 1};
    struct itimerspec *often = own_page(&(struct itimerspec){{0, 10000000}, {0, 10000000}}, sizeof *often);
    timer_t timer;

    event.sigev_notify_function = tick;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    push_out();
    CHECK(timer_settime(timer, 0, often, NULL) == 0);
    while (ticks < 5)
        push_out();
    CHECK(timer_delete(timer) == 0);
    printf("ticked\n");
}

/* ---- stacks ------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t handled;

static void handler(int signo)
{
    volatile char room[4096] = {0};

    handled += signo + room[100];
}

static ucontext_t *contexts;

static void coroutine(int n)
{
    for (int i = 0; i < n; i++) {
        push_out();
        swapcontext(&contexts[1], &contexts[0]);
    }
}

static void case_stacks(void)
{
    stack_t stack = {.ss_sp = malloc(64 << 10), .ss_size = 64 << 10};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};

    contexts = calloc(2, sizeof *contexts);
    CHECK(sigaltstack(&stack, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    for (int i = 0; i < 3; i++) {
        push_out();
        CHECK(raise(SIGUSR1) == 0);
    }
    printf("handled %d\n", handled);
    CHECK(getcontext(&contexts[1]) == 0);
    contexts[1].uc_link = &contexts[0];
    contexts[1].uc_stack = (stack_t){.ss_sp = malloc(64 << 10), .ss_size = 64 << 10};
    makecontext(&contexts[1], (void (*)(void))coroutine, 1, 3);
    for (int i = 0; i < 3; i++) {
        push_out();
        CHECK(raise(SIGUSR1) == 0 && swapcontext(&contexts[0], &contexts[1]) == 0);
    }
    printf("handled %d\n", handled);
}

static void *pinned_run(void *arg)
{
    cpu_set_t cpus;

    CHECK(pthread_getaffinity_np(pthread_self(), sizeof cpus, &cpus) == 0);
    *(int *)arg = CPU_COUNT(&cpus);
    return arg;
}

/* A thread whose attributes, with a set of processors, lie in the heap. */
static void case_pinned(void)
{
    pthread_attr_t *attr = own_page(&(pthread_attr_t){0}, sizeof *attr);
    int *count = own_page(&(int){0}, sizeof *count);
    pthread_t thread;
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(sched_getcpu(), &cpus);
    CHECK(pthread_attr_init(attr) == 0 && pthread_attr_setstacksize(attr, 256 << 10) == 0);
    CHECK(pthread_attr_setaffinity_np(attr, sizeof cpus, &cpus) == 0);
    push_out();
    CHECK(pthread_create(&thread, attr, pinned_run, count) == 0 && pthread_join(thread, NULL) == 0);
    printf("pinned to %d\n", *count);
    CHECK(pthread_attr_destroy(attr) == 0);
}

/* ---- other processes ---------------------------------------------------------------------------------- */

/* The child of a fork has the heap, also what was pushed out, and shares what is shared. */
static void case_fork(void)
{
    size_t len = (size_t)6 << 20;
    unsigned char *heap = malloc(len), *wiped = anonymous(len, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    unsigned char *shared = anonymous(len, PROT_READ | PROT_WRITE, MAP_SHARED);
    FILE *stream = fopen("/dev/null", "w");
    pid_t pid;

    fill(heap, len, 4);
    fill(wiped, len, 5);
    fill(shared, len, 6);
    CHECK(mprotect(shared + len / 2, PAGE, PROT_READ) == 0);
    CHECK(madvise(wiped, len, MADV_WIPEONFORK) == 0);
    push_out();
    for (int i = 0; i < 3; i++) {
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            printf("child %lx %lx %lx\n", sum(heap, len), sum(wiped, len), sum(shared, len));
            heap[512 * i] = 99;
            shared[512 * i] = (unsigned char)(50 + i);
            free(malloc(len));
            fprintf(stream, "x");
            exit(0);
        }
        printf("status %d\n", reap(pid));
        printf("parent %lx %lx %lx\n", sum(heap, len), sum(wiped, len), sum(shared, len));
    }
    CHECK(munmap(shared, len) == 0);
}

static void *malloc_run(void *arg)
{
    for (uintptr_t i = 0; atomic_load((_Atomic int *)arg) == 0; i++) {
        size_t len = (i * 7919) % 300000 + 1;
        char *p = malloc(len);

        CHECK(p != NULL);
        p[len - 1] = 1;
        free(p);
    }
    return NULL;
}

/* Forks while other threads are in the allocator. */
static void case_fork_malloc(void)
{
    static _Atomic int stop;
    pthread_t thread[3];

    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&thread[i], NULL, malloc_run, &stop) == 0);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            for (size_t k = 1; k < 1000; k++)
                free(malloc(k * 100));
            _exit(3);
        }
        CHECK(WEXITSTATUS(reap(pid)) == 3);
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    printf("forked\n");
}

/* A child of vfork touches absent memory and executes a program with absent arguments. */
static void case_vfork(void)
{
    char *name = own_page("/bin/echo", 10), *word = own_page("heap", 5);
    char **argv = own_page(&(char *[]){name, word, NULL}, 3 * sizeof *argv);
    int *count = own_page(&(int){1}, sizeof *count);

    for (int i = 0; i < 4; i++) {
        pid_t pid;

        fflush(stdout);
        push_out();
        pid = vfork();
        if (pid == 0) {
            ++*count;
            if (i < 2)
                execv(name, argv);
            else
                execlp("echo", "echo", word, (char *)NULL);
            _exit(99);
        }
        CHECK(reap(pid) == 0);
    }
    printf("count %d\n", *count);
}

static void case_spawn(void)
{
    char *name = own_page("/bin/sh", 8), *word = own_page("echo spawned $A $B; cat", 24);
    char **argv = own_page(&(char *[]){name, own_page("-c", 3), word, NULL}, 4 * sizeof *argv);
    posix_spawn_file_actions_t *actions = own_page(&(posix_spawn_file_actions_t){0}, sizeof *actions);
    pid_t *pid = own_page(&(pid_t){0}, sizeof *pid);
    char line[100];
    FILE *stream;

    CHECK(setenv("A", "value", 1) == 0 && setenv("B", "other", 1) == 0);
    CHECK(posix_spawn_file_actions_init(actions) == 0 &&
          posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0) == 0);
    for (int i = 0; i < 2; i++) {
        fflush(stdout);
        push_out();
        CHECK((i == 0 ? posix_spawn(pid, name, actions, NULL, argv, environ)
                      : posix_spawnp(pid, "sh", actions, NULL, argv, environ)) == 0);
        printf("spawned %d\n", reap(*pid));
        fflush(stdout);
        push_out();
        printf("system %d\n", system(own_page("echo system $A $B", 18)));
        push_out();
        stream = popen(own_page("echo popen $A $B", 17), "r");
        CHECK(stream != NULL && fgets(line, sizeof line, stream) != NULL);
        printf("%s", line);
        CHECK(pclose(stream) == 0 && setenv("B", "next", 1) == 0);
    }
}

int main(int argc, char **argv)
{
    static const struct named_case cases[] = {
        {"maps", case_maps},     {"calls", case_calls}, {"long", case_long},
        {"futex", case_futex},   {"timer", case_timer}, {"stacks", case_stacks},
        {"pinned", case_pinned}, {"fork", case_fork},   {"fork_malloc", case_fork_malloc},
        {"vfork", case_vfork},   {"spawn", case_spawn},
    };

    return argc == 2 && case_run(cases, sizeof(cases) / sizeof(cases[0]), argv[1]) ? 0 : 2;
}
