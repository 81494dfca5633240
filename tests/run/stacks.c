/*
 * stacks.c: stacks CASE DATA FILE (of one length): a thread, a coroutine and a signal handler whose stacks
 * lie in a mapping of the file, and are used deeply while other mapped memory is accessed and signals arrive.
 * What it prints is the same natively and under `faultline run` (stacks_test).
 */
#include "cases.h"
#include <pthread.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE     4096ul
#define STACK    (600 * PAGE)
#define DEPTH    250
#define CHECK(x) ((x) ? (void)0 : (void)(printf("line %d: %s\n", __LINE__, #x), exit(1)))

static size_t size;
static char *data, *memory; /* a mapping to read; one for stacks */
static volatile sig_atomic_t alarms;

static char *mapped(const char *path, int flags, int prot)
{
    int fd = open(path, O_RDWR);
    struct stat st;
    char *map;

    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    size = (size_t)st.st_size;
    map = mmap(NULL, size, prot, flags, fd, 0);
    CHECK(map != MAP_FAILED && close(fd) == 0);
    return map;
}

/* Uses a page of stack for each level, and accesses a mapped page that is probably absent. */
__attribute__((noinline)) static unsigned long deep(unsigned level)
{
    volatile char frame[PAGE];
    unsigned long below;

    frame[0] = frame[PAGE - 1] = (char)level;
    below = level < DEPTH ? deep(level + 1) : 0;
    below += (unsigned char)data[(level * 997ul * PAGE + 7) % size];
    return below * 31 + (unsigned char)frame[0] + (unsigned char)frame[PAGE - 1];
}

static void on_alarm(int signo)
{
    volatile char frame[3 * PAGE];

    frame[0] = frame[3 * PAGE - 1] = (char)signo;
    alarms += data[(size_t)alarms * 61 * PAGE % size] != 0;
}

static void alarms_start(void)
{
    struct itimerval often = {{0, 500}, {0, 500}};
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
}

/* The buffers of calls are on the stack, too. */
static unsigned long work(void)
{
    char name[3 * PAGE];
    unsigned long total = 0;
    int fds[2];

    for (int i = 0; i < 20; i++)
        total = total * 7 + deep(0);
    CHECK(pipe(fds) == 0);
    CHECK(write(fds[1], "by a pipe", 9) == 9 && read(fds[0], name, sizeof name) == 9);
    name[9] = '\0';
    printf("%s", name);
    CHECK(getcwd(name, sizeof name) != NULL && name[0] == '/');
    close(fds[0]);
    close(fds[1]);
    return total;
}

static int within(const void *p)
{
    return (const char *)p >= memory && (const char *)p < memory + size;
}

static void *thread(void *arg)
{
    int local = 0;

    printf("on it %d, ", within(&local));
    *(unsigned long *)arg = work();
    return arg;
}

static void *thread_exits(void *arg)
{
    pthread_exit(thread(arg));
}

static void threads(void)
{
    unsigned long result[3] = {0};
    pthread_t id[3];
    pthread_attr_t attr;
    void *r;

    alarms_start();
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_attr_init(&attr) == 0);
        CHECK(pthread_attr_setstack(&attr, memory + (size_t)i * STACK, STACK) == 0);
        CHECK(pthread_create(&id[i], &attr, i == 1 ? thread_exits : thread, &result[i]) == 0);
        CHECK(pthread_join(id[i], &r) == 0 && r == &result[i]);
        printf(" %lx\n", result[i]);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&id[i], NULL, thread, &result[i]) == 0);
        CHECK(pthread_join(id[i], &r) == 0 && r == &result[i]);
        printf(" %lx\n", result[i]);
    }
}

static ucontext_t home, coroutine[2];

static void co(int number, int a, int b, int c, int d, int e)
{
    int local = 0;

    for (int i = 0; i < 3; i++) {
        printf("coroutine %d on it %d, ", number + a + b + c + d + e, within(&local));
        printf(" %lx\n", work());
        CHECK(swapcontext(&coroutine[number], i < 2 ? &coroutine[!number] : &home) == 0);
    }
}

static void coroutines(void)
{
    alarms_start();
    for (int i = 0; i < 2; i++) {
        CHECK(getcontext(&coroutine[i]) == 0);
        coroutine[i].uc_stack.ss_sp = memory + PAGE / 2 + (size_t)i * 2 * STACK;
        coroutine[i].uc_stack.ss_size = STACK;
        coroutine[i].uc_link = &home;
        makecontext(&coroutine[i], (void (*)(void))co, 6, i, 1, 2, 3, 4, 5);
    }
    CHECK(swapcontext(&home, &coroutine[0]) == 0);
    printf("home\n");
}

static void on_user(int signo)
{
    int local = 0;

    printf("signal %d on it %d, ", signo, within(&local));
    printf(" %lx\n", work());
}

static void handler(void)
{
    stack_t stack = {.ss_sp = memory + 3 * PAGE, .ss_size = STACK}, old;
    struct sigaction action = {.sa_handler = on_user, .sa_flags = SA_ONSTACK};

    CHECK(sigaltstack(&stack, NULL) == 0 && sigaltstack(NULL, &old) == 0);
    CHECK(old.ss_sp == stack.ss_sp && old.ss_size == stack.ss_size);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int i = 0; i < 3; i++) {
        raise(SIGUSR1);
        for (size_t at = 0; at < size; at += PAGE)
            alarms += data[at];
    }
}

int main(int argc, char **argv)
{
    static const struct named_case cases[] = {
        {"threads", threads}, {"coroutines", coroutines}, {"handler", handler}};
    uint64_t sum = 0;

    if (argc != 4)
        return 2;
    setvbuf(stdout, NULL, _IONBF, 0);
    data = mapped(argv[2], MAP_SHARED, PROT_READ);
    memory = mapped(argv[3], argv[1][0] == 's' ? MAP_SHARED : MAP_PRIVATE, PROT_READ | PROT_WRITE);
    memory[2 * PAGE] = 's'; /* a page that was written before it becomes part of a stack */
    memory[size - PAGE] = 'e';
    (void)CASE_RUN(cases, argv[1] + 1);
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    for (size_t at = size / 2; at < size; at += PAGE)
        sum = sum * 31 + (unsigned char)memory[at];
    printf("rest %lx\n", sum);
    return 0;
}
