/*
 * signals.c: what a program sees of signals: of faults the code and the address, on an alternate stack and
 * nested; alarms; children; calls that are interrupted, and those that go on; masks; SIGKILL.
 */
#include "program.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile int signo, code, on_alternate;
static void *volatile address;
static volatile sig_atomic_t count, nested_order;
static unsigned char alternate[64 * 1024];

static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

    must(sigaction(signal, &action, NULL) == 0);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    unsigned char here;

    (void)context;
    signo = signal;
    code = info->si_code;
    address = info->si_addr;
    on_alternate = &here >= alternate && &here < alternate + sizeof(alternate);
    siglongjmp(back, 1);
}

static void expect_fault(void *at, bool store, int want_signal, int want_code)
{
    signo = 0;
    if (sigsetjmp(back, 1) == 0) {
        if (store)
            *(volatile unsigned char *)at = 1;
        else
            (void)*(volatile unsigned char *)at;
    }
    if (signo == want_signal && code == want_code && address == at && on_alternate)
        return;
    printf("fault at %p: signal %d code %d address %p alternate %d, wanted signal %d code %d\n", at, signo,
           code, address, on_alternate, want_signal, want_code);
    exit(EXIT_FAILURE);
}

static void faults(void)
{
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    char name[] = "signals.file";
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    unsigned char *read_only, *file, *gone;

    must(sigaltstack(&stack, NULL) == 0);
    install(SIGSEGV, on_fault, SA_ONSTACK);
    install(SIGBUS, on_fault, SA_ONSTACK);
    must(fd >= 0 && ftruncate(fd, 100) == 0);
    read_only = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    gone = mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    file = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(read_only != MAP_FAILED && gone != MAP_FAILED && file != MAP_FAILED);
    must(munmap(gone + PAGE, PAGE) == 0);
    for (int i = 0; i < 3; i++) {
        expect_fault(gone + PAGE + 5, false, SIGSEGV, SEGV_MAPERR);
        expect_fault((void *)16, true, SIGSEGV, SEGV_MAPERR);
        expect_fault(read_only + 7, true, SIGSEGV, SEGV_ACCERR);
        expect_fault(file + PAGE + 9, false, SIGBUS, BUS_ADRERR);
        expect_fault(file + PAGE + 9, true, SIGBUS, BUS_ADRERR);
    }
    file[99] = 1;
    must(close(fd) == 0 && unlink(name) == 0 && file[99] == 1);
}

static void on_count(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    count++;
}

static void after_ms(long ms)
{
    struct itimerval timer = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};

    must(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

/* A read that waits: an alarm ends it, or with SA_RESTART does not. */
static void interrupted(void)
{
    int ends[2];
    char byte;

    must(pipe(ends) == 0);
    count = 0;
    install(SIGALRM, on_count, 0);
    after_ms(50);
    must(read(ends[0], &byte, 1) == -1 && errno == EINTR && count == 1);
    install(SIGALRM, on_count, SA_RESTART);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        usleep(300000);
        _exit(write(ends[1], "x", 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    after_ms(50);
    must(read(ends[0], &byte, 1) == 1 && byte == 'x' && count == 2);
    must(waitpid(child, NULL, 0) == child);
    close(ends[0]);
    close(ends[1]);
}

static volatile pid_t child_told;
static void on_child(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    child_told = info->si_pid;
    code = info->si_code;
    signo = info->si_status;
}

static void children(void)
{
    sigset_t block, old;
    int status;

    install(SIGCHLD, on_child, SA_RESTART);
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    must(sigprocmask(SIG_BLOCK, &block, &old) == 0);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0)
        _exit(7);
    must(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    must(child_told == 0); /* it is blocked, and waits */
    must(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
    must(child_told == child && code == CLD_EXITED && signo == 7);
    child = fork();
    must(child >= 0);
    if (child == 0)
        for (;;)
            pause();
    must(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    must(child_told == child && code == CLD_KILLED && signo == SIGKILL);
    must(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
}

static void on_inner(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    must(nested_order == 1);
    nested_order = 2;
}

static void on_outer(int signal, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    must(nested_order == 0);
    nested_order = 1;
    must(raise(SIGUSR2) == 0); /* at once */
    must(nested_order == 2);
    must(raise(signal) == 0); /* its own is blocked until it returns */
    must(nested_order == 2);
    install(signal, on_count, 0);
}

static void nested(void)
{
    count = 0;
    install(SIGUSR1, on_outer, 0);
    install(SIGUSR2, on_inner, 0);
    must(raise(SIGUSR1) == 0);
    must(nested_order == 2 && count == 1);
}

/* The default actions: each in a process of its own. */
static void deaths(void)
{
    static const int deadly[] = {SIGSEGV, SIGTERM, SIGABRT, SIGUSR1, SIGPIPE};
    int status;

    for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        pid_t child = fork();
        must(child >= 0);
        if (child == 0) {
            signal(deadly[i], SIG_DFL);
            raise(deadly[i]);
            _exit(EXIT_FAILURE);
        }
        must(waitpid(child, &status, 0) == child);
        must(WIFSIGNALED(status) && WTERMSIG(status) == deadly[i]);
    }
}

/* Registers, the x87 and the SSE ones among them, survive a handler that uses all of them. */
static void on_arithmetic(int signal, siginfo_t *info, void *context)
{
    volatile double value = 1;

    (void)signal, (void)info, (void)context;
    for (int i = 0; i < 100; i++)
        value = value * 1.5 + 0.25;
    count++;
}

static void registers(void)
{
    struct itimerval often = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
    double sum = 0;

    count = 0;
    install(SIGALRM, on_arithmetic, 0);
    must(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int round = 0; count < 20; round++) {
        sum = 0;
        for (int i = 1; i <= 10000; i++)
            sum += i * 0.5;
        must(sum == 25002500.0);
    }
    must(setitimer(ITIMER_REAL, &off, NULL) == 0);
}

int main(void)
{
    faults();
    interrupted();
    children();
    nested();
    deaths();
    registers();
    return ok();
}
