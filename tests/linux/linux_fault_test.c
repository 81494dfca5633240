/*
 * linux_fault_test.c: what the program sees of faults that fail, with both
 * fault engines: errors of system calls, signals with the kernel's own
 * siginfo, the program's own handlers; and which privileges the engines need.
 *
 * Each case runs in a process of its own, because each starts a VM, and some are meant to die.
 */
#include <faultline/faultline.h>
#include <faultline/vm.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define LIMIT_BYTES ((size_t)2 << 20)
#define FILE_PAGES  1024 /* twice the limit */
#define TAIL_BYTES  100  /* of the last page that is in the file */

/* Each case's process reports by its exit status. */
#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                 \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static uint8_t *mapping; /* one page longer than the file */
static struct fl_file *file;

static uint8_t byte_at(size_t offset)
{
    return (uint8_t)(offset * 31 + offset / 4096 * 17 + 5);
}

static void write_file(int fd)
{
    static uint8_t bytes[1 << 16];
    size_t len = (FILE_PAGES - 1) * VM_PAGE_SIZE + TAIL_BYTES;

    for (size_t offset = 0; offset < len; offset += sizeof(bytes)) {
        size_t n = len - offset < sizeof(bytes) ? len - offset : sizeof(bytes);
        for (size_t i = 0; i < n; i++)
            bytes[i] = byte_at(offset + i);
        CHECK(pwrite(fd, bytes, n, (off_t)offset) == (ssize_t)n);
    }
}

static void start(enum fl_fault_engine engine)
{
    struct fl_options options = {.memory_limit_bytes = LIMIT_BYTES, .fault = engine};
    char path[] = "linux_fault_test.XXXXXX";
    void *addr = NULL;

    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK(unlink(path) == 0);
    write_file(fd);
    if (fl_init(&options) != 0) {
        (void)fprintf(stderr, "%s\n", fl_init_error());
        _exit(1);
    }
    CHECK(fl_open_fd(fd, &file) == 0);
    CHECK(fl_mmap(&addr, ptoa(FILE_PAGES + 1), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) == 0);
    mapping = addr;
}

/* The wait status of a process that runs the case. */
static int run(void (*body)(enum fl_fault_engine engine), enum fl_fault_engine engine)
{
    int status;

    (void)fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (int signo = 1; signo < 32; signo++)
            (void)signal(signo, SIG_DFL);
        (void)alarm(60);
        body(engine);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void run_on_both(void (*body)(enum fl_fault_engine engine))
{
    assert_int_equal(run(body, FL_FAULT_SIGNAL), 0);
    assert_int_equal(run(body, FL_FAULT_THREAD), 0);
}

/* ---- system calls ------------------------------------------------------------------------------------- */

static void call_with_absent_pages(enum fl_fault_engine engine)
{
    int pipes[2];
    char byte[2] = "x";

    start(engine);
    CHECK(pipe(pipes) == 0);
    CHECK(write(pipes[1], byte, 1) == 1);
    ssize_t n = read(pipes[0], mapping + ptoa(3), 1);
    if (engine == FL_FAULT_SIGNAL) {
        CHECK(n == -1 && errno == EFAULT); /* what fl_pin is for */
        struct fl_hold pin;
        CHECK(fl_pin(mapping + ptoa(3), 1, PROT_WRITE, &pin) == 0);
        n = read(pipes[0], mapping + ptoa(3), 1);
        fl_unpin(&pin);
    }
    CHECK(n == 1);
    CHECK(mapping[ptoa(3)] == 'x');
    CHECK(mapping[ptoa(3) + 1] == byte_at(ptoa(3) + 1));
}

static void system_calls_meet_absent_pages(void **state)
{
    (void)state;
    run_on_both(call_with_absent_pages);
}

/*
 * A system call that reaches beyond the end of the file fails, as it does on a mapping of the kernel, and the
 * memory before the end is usable afterwards.
 */
static void call_beyond_the_end(enum fl_fault_engine engine)
{
    int pipes[2];

    start(engine);
    CHECK(pipe(pipes) == 0);
    for (int i = 0; i < 3; i++) {
        errno = 0;
        CHECK(write(pipes[1], mapping + ptoa(FILE_PAGES), 1) == -1 && errno == EFAULT);
    }
    CHECK(mapping[0] == byte_at(0));
}

static void system_calls_beyond_the_end_fail(void **state)
{
    (void)state;
    run_on_both(call_beyond_the_end);
}

/* ---- signals ------------------------------------------------------------------------------------------ */

static sigjmp_buf back;
static siginfo_t seen;

static void on_signal(int signo, siginfo_t *info, void *ucontext)
{
    (void)signo;
    (void)ucontext;
    seen = *info;
    CHECK(mapping[ptoa(700)] == byte_at(ptoa(700))); /* a fault inside the handler */
    siglongjmp(back, 1);
}

static void expect(uint8_t *at, bool store, int signo, int code)
{
    if (sigsetjmp(back, 1) == 0) {
        if (store)
            *(volatile uint8_t *)at = 1;
        else
            (void)*(volatile uint8_t *)at;
        CHECK(!"the access went through");
    }
    CHECK(seen.si_signo == signo);
    CHECK(seen.si_code == code);
    CHECK(seen.si_addr == at);
    CHECK(fl_madvise(mapping + ptoa(700), VM_PAGE_SIZE, MADV_DONTNEED) == 0);
}

static void catch_errors(enum fl_fault_engine engine)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    start(engine);
    for (int i = 0; i < 3; i++) {
        expect(mapping + ptoa(FILE_PAGES) + 5, false, SIGBUS, BUS_ADRERR);
        expect(mapping + ptoa(FILE_PAGES) + 6, true, SIGBUS, BUS_ADRERR);
    }
    CHECK(fl_mprotect(mapping, ptoa(1), PROT_READ) == 0);
    expect(mapping + 9, true, SIGSEGV, SEGV_ACCERR);
    CHECK(mapping[9] == byte_at(9));
    CHECK(fl_mprotect(mapping, ptoa(1), PROT_NONE) == 0);
    expect(mapping + 9, false, SIGSEGV, SEGV_ACCERR);
    CHECK(fl_munmap(mapping, ptoa(1)) == 0);
    expect(mapping + 9, false, SIGSEGV, SEGV_MAPERR);
}

static void handlers_from_before_see_errors(void **state)
{
    (void)state;
    run_on_both(catch_errors);
}

static volatile sig_atomic_t plain_calls;

static void on_plain_signal(int signo)
{
    plain_calls += signo == SIGBUS;
}

/* A signal that is sent is no fault: it reaches the program's own handler. */
static void send_a_signal(enum fl_fault_engine engine)
{
    CHECK(signal(SIGBUS, on_plain_signal) != SIG_ERR);
    start(engine);
    CHECK(raise(SIGBUS) == 0);
    CHECK(plain_calls == 1);
    CHECK(kill(getpid(), SIGBUS) == 0);
    CHECK(plain_calls == 2);
    CHECK(mapping[0] == byte_at(0));
    CHECK(plain_calls == 2);
}

static void sent_signals_reach_the_program(void **state)
{
    (void)state;
    run_on_both(send_a_signal);
}

static void ignore_and_die(enum fl_fault_engine engine)
{
    CHECK(signal(SIGBUS, SIG_IGN) != SIG_ERR);
    start(engine);
    CHECK(raise(SIGBUS) == 0);
    (void)*(volatile uint8_t *)(mapping + ptoa(FILE_PAGES));
}

static void block_and_die(enum fl_fault_engine engine)
{
    sigset_t all;

    start(engine);
    (void)sigfillset(&all);
    CHECK(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
    (void)*(volatile uint8_t *)(mapping + ptoa(FILE_PAGES));
}

static void jump_and_die(enum fl_fault_engine engine)
{
    start(engine);
    ((void (*)(void))(mapping + ptoa(5)))();
}

static void dies_of(void (*body)(enum fl_fault_engine engine), enum fl_fault_engine engine, int signo)
{
    int status = run(body, engine);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), signo);
}

/*
 * As with the kernel: neither ignoring nor blocking the signal helps against an access that cannot be made.
 */
static void an_error_without_a_handler_kills(void **state)
{
    (void)state;
    dies_of(ignore_and_die, FL_FAULT_SIGNAL, SIGBUS);
    dies_of(ignore_and_die, FL_FAULT_THREAD, SIGBUS);
    dies_of(block_and_die, FL_FAULT_SIGNAL, SIGBUS);
    dies_of(block_and_die, FL_FAULT_THREAD, SIGBUS);
    dies_of(jump_and_die, FL_FAULT_SIGNAL, SIGSEGV);
    dies_of(jump_and_die, FL_FAULT_THREAD, SIGSEGV);
}

/* ---- faults that are over ----------------------------------------------------------------------------- */

#define PARTS      7 /* of the file, each of which is mapped alone; together longer than the limit */
#define PART_PAGES 128
#define ROUNDS     400

/*
 * Reads the first pages of a part and unmaps it at once, again and again at the same address. Serving a fault
 * maps the next pages, too, which are busy meanwhile. The program faults on one of them, and a second handler
 * thread waits for that page. When the first one has mapped it, the program goes on and unmaps it, and the
 * second one may look the fault up only then.
 */
static void unmap_at_once(enum fl_fault_engine engine)
{
    start(engine);
    for (int i = 0; i < ROUNDS; i++) {
        size_t part = ptoa(PART_PAGES) * (size_t)(i % PARTS);
        size_t len = ptoa(16 + (size_t)(i / PARTS)); /* each length in each part */
        void *addr = NULL;

        CHECK(fl_mmap(&addr, ptoa(PART_PAGES), PROT_READ, MAP_SHARED, file, part) == 0);
        for (size_t at = 0; at < len; at++)
            CHECK(((volatile uint8_t *)addr)[at] == byte_at(part + at));
        CHECK(fl_munmap(addr, ptoa(PART_PAGES)) == 0);
    }
}

static void a_fault_that_is_over_is_no_error(void **state)
{
    (void)state;
    run_on_both(unmap_at_once);
}

/* ---- without privilege -------------------------------------------------------------------------------- */

#define NOBODY 65534

static void run_as_nobody(enum fl_fault_engine engine)
{
    CHECK(geteuid() != 0 || (setgid(NOBODY) == 0 && setuid(NOBODY) == 0));
    CHECK(prctl(PR_SET_DUMPABLE, 1) == 0); /* as after execve: root does not own /proc/self any more */
    CHECK(chdir("/tmp") == 0);
    start(engine);
    for (vm_pindex_t i = 0; i < FILE_PAGES; i++)
        CHECK(mapping[ptoa(i)] == byte_at(ptoa(i)));
    mapping[0] = 1;
    CHECK(fl_msync(mapping, VM_PAGE_SIZE, MS_SYNC) == 0);
}

static void no_privilege_is_needed_for_the_signal_engine(void **state)
{
    (void)state;
    assert_int_equal(run(run_as_nobody, FL_FAULT_SIGNAL), 0);
}

static void fail_as_nobody(enum fl_fault_engine engine)
{
    struct fl_options options = {.memory_limit_bytes = LIMIT_BYTES, .fault = engine};
    FILE *sysctl = fopen("/proc/sys/vm/unprivileged_userfaultfd", "r");
    int allowed = sysctl != NULL && fgetc(sysctl) == '1';

    CHECK(geteuid() != 0 || (setgid(NOBODY) == 0 && setuid(NOBODY) == 0));
    int error = fl_init(&options);
    if (allowed || access("/dev/userfaultfd", R_OK | W_OK) == 0) {
        CHECK(error == 0);
        return;
    }
    CHECK(error == -EPERM);
    CHECK(strstr(fl_init_error(), "vm.unprivileged_userfaultfd") != NULL);
}

static void the_thread_engine_says_what_it_needs(void **state)
{
    (void)state;
    assert_int_equal(run(fail_as_nobody, FL_FAULT_THREAD), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(system_calls_meet_absent_pages),
        cmocka_unit_test(system_calls_beyond_the_end_fail),
        cmocka_unit_test(handlers_from_before_see_errors),
        cmocka_unit_test(sent_signals_reach_the_program),
        cmocka_unit_test(an_error_without_a_handler_kills),
        cmocka_unit_test(a_fault_that_is_over_is_no_error),
        cmocka_unit_test(no_privilege_is_needed_for_the_signal_engine),
        cmocka_unit_test(the_thread_engine_says_what_it_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
