/*
 * processes.c: a Linux program that tries what a kernel owes to processes, threads, signals, futexes and
 * timers. It runs on Linux and on kernel/, and must print the same there.
 *
 *   each case: a function; prints its name and "ok", or where it failed. The status says how many failed.
 *
 * With an argument it is a helper of itself, which a case executes: "exit N", "args …", "signals".
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/* futex(2): what the C libraries do not define. */
#define WAIT        0
#define WAKE        1
#define CMP_REQUEUE 4
#define WAKE_OP     5
#define WAIT_BITSET 9
#define PRIVATE     128
#define ADD_3_IF_5  (1u << 28 | 3u << 12 | 5u) /* of WAKE_OP: adds 3, and asks whether it was 5 */

static const char *self; /* this program's path */
static bool failed;

#define EXPECT(condition)                                                                                    \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            printf("%s:%d: not true: %s (errno %d)\n", __func__, __LINE__, #condition, errno);               \
            failed = true;                                                                                   \
        }                                                                                                    \
    } while (0)

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void sleep_ms(int ms)
{
    const struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

    nanosleep(&ts, NULL);
}

/* ---- processes ------------------------------------------------------------------------------------- */

static void fork_has_a_copy(void)
{
    static volatile int value = 1;
    volatile char *heap = malloc(1 << 16);
    int status;
    pid_t child;

    heap[5000] = 'p';
    child = fork();
    if (child == 0) {
        bool same = value == 1 && heap[5000] == 'p';

        value = 2;
        heap[5000] = 'c';
        _exit(same && getppid() != getpid() ? 17 : 1);
    }
    EXPECT(child > 0);
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 17);
    EXPECT(value == 1 && heap[5000] == 'p');
    EXPECT(waitpid(child, &status, 0) == -1 && errno == ECHILD);
    free((void *)heap);
}

static void wait_kinds(void)
{
    siginfo_t info;
    int status;
    pid_t child = fork();

    if (child == 0) {
        sleep_ms(50);
        _exit(3);
    }
    EXPECT(waitpid(child, &status, WNOHANG) == 0);
    memset(&info, 0, sizeof(info));
    EXPECT(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
    EXPECT(info.si_pid == child && info.si_code == CLD_EXITED && info.si_status == 3);
    EXPECT(info.si_signo == SIGCHLD);
    EXPECT(wait4(-1, &status, 0, NULL) == child && WEXITSTATUS(status) == 3);
    child = fork();
    if (child == 0) {
        kill(getpid(), SIGUSR1);
        _exit(0);
    }
    EXPECT(waitpid(-getpgrp(), &status, 0) == child);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
}

static void orphans_go_to_init(void)
{
    int fds[2], status;
    pid_t child, reported = 0;

    EXPECT(pipe(fds) == 0);
    child = fork();
    if (child == 0) {
        if (fork() == 0) {
            pid_t middle = getppid();

            while (getppid() == middle)
                sleep_ms(1);
            reported = getppid();
            _exit(write(fds[1], &reported, sizeof(reported)) != sizeof(reported));
        }
        sleep_ms(20);
        _exit(0);
    }
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(read(fds[0], &reported, sizeof(reported)) == sizeof(reported) && reported != child);
    close(fds[0]);
    close(fds[1]);
}

static void vfork_and_exec(void)
{
    volatile int shared = 1;
    int status;
    pid_t child = vfork();

    if (child == 0) {
        shared = 2;
        execl(self, "self", "exit", "23", (char *)NULL);
        _exit(99);
    }
    EXPECT(shared == 2);
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 23);
}

static void exec_errors(void)
{
    char *const argv[] = {"x", NULL};
    const char *volatile bad_string = (const char *)8;
    char *const *volatile bad_vector = (char *const *)16;

    EXPECT(execv("/no/such/file", argv) == -1 && errno == ENOENT);
    EXPECT(execv("/", argv) == -1 && errno == EACCES);
    EXPECT(execv(bad_string, argv) == -1 && errno == EFAULT);
    EXPECT(execv(self, bad_vector) == -1 && errno == EFAULT);
}

#define ARGS 300

static void exec_arguments(void)
{
    static char longest[100 * 1024];
    char *argv[ARGS + 3], *envp[] = {"ONE=1", "TWO=2", NULL};
    int status;
    pid_t child;

    memset(longest, 'a', sizeof(longest) - 1);
    argv[0] = "self";
    argv[1] = "args";
    for (int i = 2; i < ARGS; i++)
        argv[i] = i == 77 ? longest : "argument";
    argv[ARGS] = NULL;
    child = fork();
    if (child == 0) {
        execve(self, argv, envp);
        _exit(99);
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int args_main(int argc, char **argv)
{
    bool sound = argc == ARGS && argv[ARGS] == NULL && strlen(argv[77]) == 100 * 1024 - 1 &&
                 strcmp(argv[78], "argument") == 0 && strcmp(argv[ARGS - 1], "argument") == 0;

    sound = sound && strcmp(getenv("ONE"), "1") == 0 && strcmp(getenv("TWO"), "2") == 0;
    sound = sound && getauxval(AT_PAGESZ) == 4096 && getauxval(AT_ENTRY) != 0 && getauxval(AT_RANDOM) != 0;
    sound = sound && strcmp((const char *)getauxval(AT_PLATFORM), "x86_64") == 0;
    sound = sound && strcmp((const char *)getauxval(AT_EXECFN), self) == 0;
    return sound ? 0 : 1;
}

static void exec_resets_signals(void)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        sigset_t set;

        signal(SIGUSR1, SIG_IGN);
        signal(SIGUSR2, (void (*)(int))exit);
        sigemptyset(&set);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        kill(getpid(), SIGHUP);
        execl(self, "self", "signals", (char *)NULL);
        _exit(99);
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int signals_main(void)
{
    struct sigaction one, two;
    sigset_t mask, pending;

    sigaction(SIGUSR1, NULL, &one);
    sigaction(SIGUSR2, NULL, &two);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    sigpending(&pending);
    return one.sa_handler == SIG_IGN && two.sa_handler == SIG_DFL && sigismember(&mask, SIGHUP) == 1 &&
                   sigismember(&pending, SIGHUP) == 1
               ? 0
               : 1;
}

static void *exec_thread(void *arg)
{
    (void)arg;
    execl(self, "self", "exit", "31", (char *)NULL);
    return NULL;
}

static void *sleeping_thread(void *arg)
{
    for (;;)
        sleep_ms(arg != NULL ? 1 : 100000);
    return NULL;
}

static void exec_ends_threads(void)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        pthread_t td;

        pthread_create(&td, NULL, sleeping_thread, NULL);
        pthread_create(&td, NULL, sleeping_thread, &failed);
        pthread_create(&td, NULL, exec_thread, NULL);
        for (;;)
            pause();
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 31);
}

static void many_processes(void)
{
    int status, sum = 0, n = 0;

    for (int i = 0; i < 100; i++) {
        pid_t child = fork();

        if (child == 0)
            _exit(i);
        EXPECT(child > 0);
    }
    while (wait(&status) > 0) {
        sum += WEXITSTATUS(status);
        n++;
    }
    EXPECT(n == 100 && sum == 4950);
}

static void groups_and_sessions(void)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        bool sound = setpgid(0, 0) == 0 && getpgrp() == getpid() && getpgid(0) == getpid();
        pid_t grandchild = fork();

        if (grandchild == 0)
            _exit(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid() ? 0 : 1);
        sound = sound && waitpid(grandchild, &status, 0) == grandchild && status == 0;
        sound = sound && setsid() == -1 && errno == EPERM;
        _exit(sound ? 0 : 1);
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    EXPECT(getsid(getpid()) == getsid(0));
    EXPECT(kill(-99999, 0) == -1 && errno == ESRCH);
}

/* ---- signals --------------------------------------------------------------------------------------- */

static volatile sig_atomic_t caught, caught_code, caught_depth;
static void *volatile caught_addr;
static volatile pid_t caught_pid;
static volatile int caught_value;
static sigjmp_buf jump;

static void catch (int signal, siginfo_t *info, void *context)
{
    (void)context;
    caught = signal;
    caught_code = info->si_code;
    caught_addr = info->si_addr;
    caught_pid = info->si_pid;
    caught_value = info->si_value.sival_int;
}

static void catch_and_jump(int signal, siginfo_t *info, void *context)
{
    catch (signal, info, context);
    siglongjmp(jump, 1);
}

static void set_handler(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_sigaction = handler;
    action.sa_flags = flags | SA_SIGINFO;
    sigaction(signal, &action, NULL);
    caught = 0;
}

static void signal_to_self(void)
{
    sigset_t set, old;

    set_handler(SIGUSR1, catch, 0);
    kill(getpid(), SIGUSR1);
    EXPECT(caught == SIGUSR1 && caught_code == SI_USER);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    caught = 0;
    raise(SIGUSR1);
    EXPECT(caught == 0);
    sigpending(&set);
    EXPECT(sigismember(&set, SIGUSR1) == 1);
    sigprocmask(SIG_SETMASK, &old, NULL);
    EXPECT(caught == SIGUSR1 && caught_code == SI_TKILL);
    signal(SIGUSR1, SIG_IGN);
    EXPECT(kill(getpid(), SIGUSR1) == 0);
    signal(SIGUSR1, SIG_DFL);
    EXPECT(kill(getpid(), 65) == -1 && errno == EINVAL);
    EXPECT(kill(getpid(), 0) == 0);
}

static void queued_signals(void)
{
    const union sigval value = {.sival_int = 4711};
    const struct timespec soon = {0, 1000000};
    sigset_t set, old;
    siginfo_t info;

    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, &old);
    EXPECT(sigtimedwait(&set, &info, &soon) == -1 && errno == EAGAIN);
    for (int i = 0; i < 3; i++)
        EXPECT(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i}) == 0);
    for (int i = 0; i < 3; i++)
        EXPECT(sigwaitinfo(&set, &info) == SIGRTMIN + 1 && info.si_value.sival_int == i &&
               info.si_code == SI_QUEUE && info.si_pid == getpid());
    EXPECT(sigtimedwait(&set, &info, &soon) == -1 && errno == EAGAIN);
    sigprocmask(SIG_SETMASK, &old, NULL);
    set_handler(SIGRTMIN + 1, catch, 0);
    EXPECT(sigqueue(getpid(), SIGRTMIN + 1, value) == 0);
    EXPECT(caught == SIGRTMIN + 1 && caught_value == 4711);
}

static void fault_signals(void)
{
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    set_handler(SIGSEGV, catch_and_jump, 0);
    if (sigsetjmp(jump, 1) == 0)
        *(volatile char *)(page + 7) = 1;
    EXPECT(caught == SIGSEGV && caught_code == SEGV_ACCERR && caught_addr == page + 7);
    munmap(page, 4096);
    caught = 0;
    if (sigsetjmp(jump, 1) == 0)
        *(volatile char *)(page + 9) = 1;
    EXPECT(caught == SIGSEGV && caught_code == SEGV_MAPERR && caught_addr == page + 9);
    caught = 0;
    if (sigsetjmp(jump, 1) == 0)
        (void)*(volatile char *)UINT64_C(0xffffffff80000000);
    EXPECT(caught == SIGSEGV);
    caught = 0;
    if (sigsetjmp(jump, 1) == 0)
        (void)*(volatile char *)UINT64_C(0x1234567890abcdef); /* no address at all: general protection */
    EXPECT(caught == SIGSEGV && caught_code == SI_KERNEL && caught_addr == NULL);
    signal(SIGSEGV, SIG_DFL);
    set_handler(SIGFPE, catch_and_jump, 0);
    if (sigsetjmp(jump, 1) == 0)
        __asm__ volatile("xorl %%edx, %%edx; movl $1, %%eax; xorl %%ecx, %%ecx; idivl %%ecx" ::
                             : "eax", "ecx", "edx");
    EXPECT(caught == SIGFPE && caught_code == FPE_INTDIV);
    signal(SIGFPE, SIG_DFL);
    set_handler(SIGILL, catch_and_jump, 0);
    if (sigsetjmp(jump, 1) == 0)
        __asm__ volatile("ud2");
    EXPECT(caught == SIGILL && caught_code == ILL_ILLOPN);
    set_handler(SIGTRAP, catch, 0);
    __asm__ volatile("int3");
    EXPECT(caught == SIGTRAP && caught_code == SI_KERNEL);
}

static void fault_without_handler(void)
{
    volatile int *volatile nothing = (volatile int *)16;
    int status;
    pid_t child = fork();

    if (child == 0) {
        sigset_t set;

        sigfillset(&set);
        sigprocmask(SIG_BLOCK, &set, NULL); /* does not help */
        *nothing = 1;
        _exit(0);
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static char alternate[1 << 14];
static volatile bool was_on_alternate;

static void on_alternate(int signal, siginfo_t *info, void *context)
{
    char here;

    was_on_alternate = &here >= alternate && &here < alternate + sizeof(alternate);
    catch (signal, info, context);
    if (signal == SIGSEGV)
        siglongjmp(jump, 1);
}

static int overflow(volatile char *above, int depth)
{
    volatile char here[4096];

    here[0] = above[0];
    return depth == 0 ? 0 : overflow(here, depth - 1) + here[0];
}

static void alternate_stack(void)
{
    const stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    const stack_t off = {.ss_flags = SS_DISABLE};
    struct rlimit limit = {1 << 20, RLIM_INFINITY};
    stack_t old;
    char first = 0;

    EXPECT(sigaltstack(&stack, &old) == 0 && (old.ss_flags & SS_DISABLE) != 0);
    set_handler(SIGUSR1, on_alternate, SA_ONSTACK);
    raise(SIGUSR1);
    EXPECT(was_on_alternate);
    EXPECT(sigaltstack(NULL, &old) == 0 && old.ss_sp == alternate && old.ss_flags == 0);
    setrlimit(RLIMIT_STACK, &limit);
    was_on_alternate = false;
    set_handler(SIGSEGV, on_alternate, SA_ONSTACK);
    if (sigsetjmp(jump, 1) == 0)
        overflow(&first, 100000);
    EXPECT(caught == SIGSEGV && was_on_alternate);
    signal(SIGSEGV, SIG_DFL);
    EXPECT(sigaltstack(&off, NULL) == 0);
}

static void change_context(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    catch (signal, info, context);
    uc->uc_mcontext.gregs[REG_RAX] = 77;
    uc->uc_mcontext.gregs[REG_RIP] += 2; /* over ud2 */
}

static void handler_changes_registers(void)
{
    uint64_t rax = 0, r[6] = {11, 12, 13, 14, 15, 3};
    double x = 1.5, y = 2.25;

    set_handler(SIGILL, change_context, 0);
    __asm__ volatile("movl $5, %%eax\n\tud2\n\tmovq %%rax, %0" : "=r"(rax)::"rax");
    EXPECT(caught == SIGILL && rax == 77);
    __asm__ volatile("movq 0(%0), %%r8; movq 8(%0), %%r9; movq 16(%0), %%r10; movq 24(%0), %%r12\n\t"
                     "movq 32(%0), %%r13; movq 40(%0), %%rcx; ud2\n\t"
                     "movq %%r8, 0(%0); movq %%r9, 8(%0); movq %%r10, 16(%0); movq %%r12, 24(%0)\n\t"
                     "movq %%r13, 32(%0); movq %%rcx, 40(%0)" ::"r"(r)
                     : "rax", "rcx", "r8", "r9", "r10", "r12", "r13", "memory");
    EXPECT(r[0] == 11 && r[1] == 12 && r[2] == 13 && r[3] == 14 && r[4] == 15 && r[5] == 3);
    __asm__ volatile("ud2" : "+x"(x), "+x"(y)::"rax");
    EXPECT(x == 1.5 && y == 2.25);
}

static void nested(int signal, siginfo_t *info, void *context)
{
    sigset_t now;

    (void)info;
    (void)context;
    caught_depth++;
    sigprocmask(SIG_BLOCK, NULL, &now);
    if (signal == SIGUSR1 && caught_depth == 1) {
        EXPECT(sigismember(&now, SIGUSR1) == 1 && sigismember(&now, SIGUSR2) == 0);
        raise(SIGUSR1); /* blocked until the handler's end */
        EXPECT(caught_depth == 1);
        raise(SIGUSR2); /* not blocked */
        EXPECT(caught_depth == 2);
    }
}

static void handlers_nest(void)
{
    sigset_t now;

    caught_depth = 0;
    set_handler(SIGUSR1, nested, 0);
    set_handler(SIGUSR2, nested, 0);
    raise(SIGUSR1);
    EXPECT(caught_depth == 3);
    sigprocmask(SIG_BLOCK, NULL, &now);
    EXPECT(sigismember(&now, SIGUSR1) == 0);
    set_handler(SIGUSR1, catch, (int)SA_RESETHAND);
    raise(SIGUSR1);
    EXPECT(caught == SIGUSR1);
    struct sigaction action;
    sigaction(SIGUSR1, NULL, &action);
    EXPECT(action.sa_handler == SIG_DFL);
}

/* A child that sends us the signal every `ms`: however slow the computer is, one comes while we wait. */
static pid_t keep_killing(int signal, int ms)
{
    const pid_t parent = getpid(), child = fork();

    while (child == 0) {
        sleep_ms(ms);
        kill(parent, signal);
    }
    return child;
}

static void end_child(pid_t child)
{
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) == -1 && errno == EINTR)
        ;
}

static void calls_are_interrupted(void)
{
    int fds[2];
    char c;
    sigset_t set, old;
    pid_t killer, writer;

    EXPECT(pipe(fds) == 0);
    set_handler(SIGUSR1, catch, 0);
    killer = keep_killing(SIGUSR1, 30);
    EXPECT(read(fds[0], &c, 1) == -1 && errno == EINTR && caught == SIGUSR1);
    end_child(killer);
    set_handler(SIGUSR1, catch, SA_RESTART);
    killer = keep_killing(SIGUSR1, 30);
    writer = fork();
    if (writer == 0) {
        sleep_ms(90);
        _exit(write(fds[1], "x", 1) != 1);
    }
    EXPECT(read(fds[0], &c, 1) == 1 && c == 'x' && caught == SIGUSR1);
    end_child(writer);
    end_child(killer);
    close(fds[0]);
    close(fds[1]);
    killer = keep_killing(SIGUSR1, 30);
    EXPECT(pause() == -1 && errno == EINTR && caught == SIGUSR1);
    end_child(killer);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    caught = 0;
    killer = keep_killing(SIGUSR1, 30);
    EXPECT(sigsuspend(&old) == -1 && errno == EINTR && caught == SIGUSR1);
    sigprocmask(SIG_BLOCK, NULL, &set);
    EXPECT(sigismember(&set, SIGUSR1) == 1);
    end_child(killer);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void sleeping(void)
{
    struct timespec ts = {100, 0}, left = {0, 0};
    int64_t start = now_ms();
    pid_t killer;

    sleep_ms(50);
    EXPECT(now_ms() - start >= 50);
    set_handler(SIGUSR1, catch, SA_RESTART);
    killer = keep_killing(SIGUSR1, 30);
    EXPECT(nanosleep(&ts, &left) == -1 && errno == EINTR);
    EXPECT(left.tv_sec < 100 && left.tv_sec > 10 && left.tv_nsec > 0);
    end_child(killer);
    ts.tv_nsec = 1000000000;
    EXPECT(nanosleep(&ts, NULL) == -1 && errno == EINVAL);
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_nsec += 20000000;
    ts.tv_sec += ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;
    start = now_ms();
    EXPECT(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == 0);
    EXPECT(now_ms() - start >= 15);
}

static void stop_and_continue(void)
{
    siginfo_t info;
    int status;
    pid_t child;

    signal(SIGUSR1, SIG_DFL);
    child = fork();
    if (child == 0) {
        sleep_ms(100000); /* goes on where it was */
        _exit(5);
    }
    sleep_ms(20);
    kill(child, SIGSTOP);
    EXPECT(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    EXPECT(waitpid(child, &status, WNOHANG | WUNTRACED) == 0);
    kill(child, SIGUSR1); /* waits until it goes on; and SIGKILL would not */
    sleep_ms(20);
    EXPECT(waitpid(child, &status, WNOHANG) == 0);
    kill(child, SIGCONT);
    EXPECT(waitid(P_PID, (id_t)child, &info, WCONTINUED | WEXITED) == 0);
    EXPECT(info.si_code == CLD_CONTINUED || info.si_code == CLD_KILLED);
    if (info.si_code == CLD_CONTINUED)
        EXPECT(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    child = fork();
    if (child == 0) {
        sleep_ms(1000);
        _exit(6);
    }
    sleep_ms(10);
    kill(child, SIGSTOP);
    EXPECT(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    kill(child, SIGCONT);
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 6);
    child = fork();
    if (child == 0)
        for (;;)
            pause();
    kill(child, SIGSTOP);
    EXPECT(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    kill(child, SIGKILL);
    EXPECT(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void child_signals(void)
{
    int status;
    pid_t child;

    set_handler(SIGCHLD, catch, 0);
    child = fork();
    if (child == 0)
        _exit(9);
    while (caught == 0)
        sleep_ms(5);
    EXPECT(caught == SIGCHLD && caught_code == CLD_EXITED && caught_pid == child);
    EXPECT(waitpid(child, &status, 0) == child);
    signal(SIGCHLD, SIG_IGN); /* nobody waits for them */
    child = fork();
    if (child == 0)
        _exit(0);
    EXPECT(waitpid(child, &status, 0) == -1 && errno == ECHILD);
    signal(SIGCHLD, SIG_DFL);
}

static void alarms(void)
{
    const struct itimerval often = {{0, 5000}, {0, 5000}}, off = {{0, 0}, {0, 0}};
    struct itimerval old;
    int n = 0;

    set_handler(SIGALRM, catch, 0);
    EXPECT(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int64_t start = now_ms(); n < 3 && now_ms() - start < 5000;) {
        n += caught == SIGALRM;
        caught = 0;
        pause();
    }
    EXPECT(n == 3);
    EXPECT(setitimer(ITIMER_REAL, &off, &old) == 0 && old.it_interval.tv_usec == 5000);
    EXPECT(alarm(100) == 0);
    EXPECT(alarm(0) >= 99);
    EXPECT(getitimer(ITIMER_REAL, &old) == 0 && old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0);
}

/* ---- threads and futexes --------------------------------------------------------------------------- */

#define THREADS 8
#define ROUNDS  2000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int counter, turn;

static void *count(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return arg;
}

static void *take_turns(void *arg)
{
    int mine = (int)(intptr_t)arg;

    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % THREADS != mine)
            pthread_cond_wait(&cond, &mutex);
        turn++;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void threads_and_locks(void)
{
    pthread_t td[THREADS];
    void *result;

    counter = turn = 0;
    for (intptr_t i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&td[i], NULL, count, (void *)i) == 0);
    if (failed)
        return; /* there are not so many to join */
    for (intptr_t i = 0; i < THREADS; i++)
        EXPECT(pthread_join(td[i], &result) == 0 && result == (void *)i);
    EXPECT(counter == THREADS * ROUNDS);
    for (intptr_t i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&td[i], NULL, take_turns, (void *)i) == 0);
    if (failed)
        return;
    for (intptr_t i = 0; i < THREADS; i++)
        EXPECT(pthread_join(td[i], NULL) == 0);
    EXPECT(turn == THREADS * 50);
}

static _Thread_local int own;
static volatile pid_t thread_tid;
static volatile int thread_caught;

static void count_in_thread(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    thread_caught = (int)syscall(SYS_gettid);
}

static void *wait_for_signal(void *arg)
{
    own = 7;
    thread_tid = (pid_t)syscall(SYS_gettid);
    while (thread_caught == 0)
        sleep_ms(1000);
    return (void *)(intptr_t)(own + (arg != NULL));
}

static void signal_to_thread(void)
{
    pthread_t td;
    void *result;

    own = 1;
    thread_caught = 0;
    thread_tid = 0;
    set_handler(SIGUSR1, count_in_thread, 0);
    EXPECT(pthread_create(&td, NULL, wait_for_signal, NULL) == 0);
    while (thread_tid == 0)
        sleep_ms(1);
    EXPECT(thread_tid != getpid());
    EXPECT(syscall(SYS_tgkill, getpid(), thread_tid, SIGUSR1) == 0);
    EXPECT(pthread_join(td, &result) == 0 && result == (void *)7 && own == 1);
    EXPECT(thread_caught == thread_tid);
    EXPECT(syscall(SYS_tgkill, getpid(), thread_tid, 0) == -1 && errno == ESRCH);
}

static void exit_ends_threads(void)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        pthread_t td;

        for (int i = 0; i < 3; i++)
            pthread_create(&td, NULL, sleeping_thread, i == 0 ? &failed : NULL);
        sleep_ms(10);
        exit(12);
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 12);
    child = fork();
    if (child == 0) {
        pthread_t td;

        pthread_create(&td, NULL, sleeping_thread, &failed);
        syscall(SYS_exit, 0); /* the first thread; the other one stays */
    }
    sleep_ms(20);
    EXPECT(waitpid(child, &status, WNOHANG) == 0);
    kill(child, SIGTERM);
    EXPECT(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static long futex(uint32_t *word, int op, uint32_t value, const void *more, uint32_t *second, uint32_t third)
{
    return syscall(SYS_futex, word, op, value, more, second, third);
}

static void futex_answers(void)
{
    const struct timespec soon = {0, 20000000};
    static uint32_t word, second;
    int64_t start = now_ms();

    word = 1;
    EXPECT(futex(&word, WAIT, 2, NULL, NULL, 0) == -1 && errno == EAGAIN);
    EXPECT(futex(&word, WAIT | PRIVATE, 1, &soon, NULL, 0) == -1 && errno == ETIMEDOUT);
    EXPECT(now_ms() - start >= 19);
    EXPECT(futex(&word, WAKE, 1, NULL, NULL, 0) == 0);
    EXPECT(futex((uint32_t *)((char *)&word + 1), WAKE, 1, NULL, NULL, 0) == -1 && errno == EINVAL);
    EXPECT(futex((uint32_t *)64, WAIT, 1, NULL, NULL, 0) == -1 && errno == EFAULT);
    EXPECT(futex(&word, CMP_REQUEUE, 1, (void *)1, &second, 9) == -1 && errno == EAGAIN);
    second = 5;
    EXPECT(futex(&word, WAKE_OP, 1, (void *)1, &second, ADD_3_IF_5) == 0);
    EXPECT(second == 8);
    EXPECT(futex(&word, WAIT_BITSET, 1, NULL, NULL, 0) == -1 && errno == EINVAL);
}

static void futex_between_processes(void)
{
    uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t child = fork();

    if (child == 0) {
        while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == 0)
            futex(word, WAIT, 0, NULL, NULL, 0);
        _exit(8);
    }
    while (futex(word, WAKE, 1, NULL, NULL, 0) == 0) /* until it sleeps; it looks, and sleeps again */
        sleep_ms(1);
    __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
    EXPECT(futex(word, WAKE, 1, NULL, NULL, 0) >= 0);
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 8);
    munmap(word, 4096);
}

static void robust_mutex(void)
{
    pthread_mutexattr_t attr;
    pthread_mutex_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    volatile int *locked = (volatile int *)(shared + 1);
    int status;
    pid_t child;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(shared, &attr);
    child = fork();
    if (child == 0) {
        pthread_mutex_lock(shared);
        *locked = 1;
        sleep_ms(30);
        _exit(0);
    }
    while (*locked == 0)
        sleep_ms(1);
    EXPECT(pthread_mutex_lock(shared) == EOWNERDEAD);
    EXPECT(pthread_mutex_consistent(shared) == 0 && pthread_mutex_unlock(shared) == 0);
    EXPECT(waitpid(child, &status, 0) == child);
    munmap(shared, 4096);
}

/* ---- the rest -------------------------------------------------------------------------------------- */

static void memory_calls(void)
{
    unsigned char vec[4];
    char *at = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *brk0 = (char *)syscall(SYS_brk, 0);

    EXPECT(at != MAP_FAILED);
    at[0] = at[3 * 4096] = 1;
    EXPECT(mincore(at, 4 * 4096, vec) == 0 && (vec[0] & 1) == 1 && (vec[1] & 1) == 0 && (vec[3] & 1) == 1);
    EXPECT(mincore(at, 4 * 4096, (unsigned char *)16) == -1 && errno == EFAULT);
    EXPECT(mincore(at + 1, 4096, vec) == -1 && errno == EINVAL);
    EXPECT(madvise(at, 4096, MADV_DONTNEED) == 0 && at[0] == 0);
    EXPECT(mprotect(at, 4096, PROT_READ) == 0 && mprotect(at, 4096, PROT_READ | PROT_WRITE) == 0);
    at = mremap(at, 4 * 4096, 8 * 4096, MREMAP_MAYMOVE);
    EXPECT(at != MAP_FAILED && at[3 * 4096] == 1);
    EXPECT(munmap(at, 8 * 4096) == 0);
    EXPECT(munmap(at + 1, 4096) == -1 && errno == EINVAL);
    EXPECT(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    EXPECT(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 999, 0) == MAP_FAILED && errno == EBADF);
    EXPECT(syscall(SYS_brk, brk0 + 10000) == (long)(brk0 + 10000));
    brk0[9999] = 3;
    EXPECT(syscall(SYS_brk, brk0) == (long)brk0);
    EXPECT(syscall(SYS_brk, 0) == (long)brk0);
}

static void clocks_and_limits(void)
{
    struct timespec one, two;
    struct rlimit limit;
    struct rusage usage;
    struct utsname name;
    struct tms tms;
    volatile unsigned spin = 0;

    for (int i = 0; i < 3000000; i++)
        spin += (unsigned)i;
    EXPECT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &one) == 0 && one.tv_sec + one.tv_nsec > 0);
    EXPECT(clock_gettime(CLOCK_MONOTONIC, &one) == 0 && clock_gettime(CLOCK_MONOTONIC, &two) == 0);
    EXPECT(two.tv_sec > one.tv_sec || (two.tv_sec == one.tv_sec && two.tv_nsec >= one.tv_nsec));
    EXPECT(clock_gettime(99, &one) == -1 && errno == EINVAL);
    EXPECT(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8) == -1 && errno == EFAULT);
    EXPECT(getrusage(RUSAGE_SELF, &usage) == 0 && getrusage(77, &usage) == -1 && errno == EINVAL);
    EXPECT(times(&tms) != (clock_t)-1);
    EXPECT(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 0);
    limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ? 100 : limit.rlim_max + 1;
    EXPECT(getrlimit(99, &limit) == -1 && errno == EINVAL);
    EXPECT(uname(&name) == 0 && strcmp(name.sysname, "Linux") == 0 && strcmp(name.machine, "x86_64") == 0);
    EXPECT(sched_yield() == 0);
    EXPECT(syscall(SYS_getrandom, &limit, sizeof(limit), 0) == sizeof(limit));
    EXPECT(syscall(499) == -1 && errno == ENOSYS);
}

static int exec_main(int argc, char **argv)
{
    if (strcmp(argv[1], "exit") == 0)
        return atoi(argv[2]);
    if (strcmp(argv[1], "args") == 0)
        return args_main(argc, argv);
    return signals_main();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {
#define CASE(name) {#name, name}
        CASE(fork_has_a_copy),
        CASE(wait_kinds),
        CASE(orphans_go_to_init),
        CASE(vfork_and_exec),
        CASE(exec_errors),
        CASE(exec_arguments),
        CASE(exec_resets_signals),
        CASE(exec_ends_threads),
        CASE(many_processes),
        CASE(groups_and_sessions),
        CASE(signal_to_self),
        CASE(queued_signals),
        CASE(fault_signals),
        CASE(fault_without_handler),
        CASE(alternate_stack),
        CASE(handler_changes_registers),
        CASE(handlers_nest),
        CASE(calls_are_interrupted),
        CASE(sleeping),
        CASE(stop_and_continue),
        CASE(child_signals),
        CASE(alarms),
        CASE(threads_and_locks),
        CASE(signal_to_thread),
        CASE(exit_ends_threads),
        CASE(futex_answers),
        CASE(futex_between_processes),
        CASE(robust_mutex),
        CASE(memory_calls),
        CASE(clocks_and_limits),
    };
    int nfailed = 0;

    setvbuf(stdout, NULL, _IONBF, 0);
    self = (const char *)getauxval(AT_EXECFN);
    if (argc > 1)
        return exec_main(argc, argv);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        failed = false;
        cases[i].run();
        printf("%s %s\n", cases[i].name, failed ? "FAILED" : "ok");
        nfailed += failed;
    }
    printf("%d failed\n", nfailed);
    return nfailed;
}
