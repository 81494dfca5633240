/*
 * linux_start_test.c: what the machine linux says where it cannot run: one line that names the remedy.
 *
 * Each case runs in a process of its own. A seccomp filter plays the older kernel: one system call, or one
 * request of ioctl, returns what that kernel would. An empty root directory has no /proc; root enters it.
 */
#include "linux_machine.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define PAGEMAP_SCAN_REQUEST 0xc0606610u

static const enum linux_fault_engine both[] = {LINUX_FAULT_SIGNAL, LINUX_FAULT_THREAD};

/* The call, with this second argument (0: any), returns -error: 0 does nothing and succeeds. */
static void deny_call(uint32_t number, uint32_t request, uint32_t error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, request, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JA, request != 0, 0, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(2);
}

/* Exits with 0 when the start fails with this error, and says this. */
static void start_and_exit(enum linux_fault_engine engine, int expected, const char *message)
{
    struct linux_machine_params params = {.nframes = 64, .buffer_len_bytes = ptoa(64), .fault = engine};
    void *meta;

    int error = linux_machine_init(&params, 1 << 20, &meta);
    if (error == expected && (message == NULL || strstr(linux_machine_error(), message) != NULL))
        _exit(0);
    (void)fprintf(stderr, "%d: %s\n", error, linux_machine_error());
    _exit(1);
}

static void assert_child_succeeds(pid_t pid)
{
    int status;

    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void assert_denied(enum linux_fault_engine engine, uint32_t number, uint32_t request, uint32_t denied,
                          int expected, const char *message)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(20);
        deny_call(number, request, denied);
        start_and_exit(engine, expected, message);
    }
    assert_child_succeeds(pid);
}

static void an_older_kernel_is_named(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        assert_denied(both[i], SYS_ioctl, (uint32_t)UFFDIO_API, EINVAL, -ENOSYS, "needs Linux 6.7 or newer");
        assert_denied(both[i], SYS_ioctl, PAGEMAP_SCAN_REQUEST, ENOTTY, -ENOSYS, "needs Linux 6.7 or newer");
    }
    assert_denied(LINUX_FAULT_SIGNAL, SYS_memfd_create, 0, EINVAL, -ENOSYS, "needs Linux 6.7 or newer");
}

/* A kernel whose scans and marks do nothing: the machine tries what it counts on. */
static void a_kernel_that_is_not_exact_is_found_out(void **state)
{
    (void)state;
    assert_denied(LINUX_FAULT_SIGNAL, SYS_ioctl, PAGEMAP_SCAN_REQUEST, 0, -ENOSYS, "WP_ASYNC");
    assert_denied(LINUX_FAULT_SIGNAL, SYS_ioctl, (uint32_t)UFFDIO_WRITEPROTECT, 0, -ENOSYS, "WP_ASYNC");
}

/* On a kernel that zaps one range at a time, and on one without pidfd. */
static void older_ways_do_as_well(void **state)
{
    (void)state;
    assert_denied(LINUX_FAULT_SIGNAL, SYS_process_madvise, 0, ENOSYS, 0, NULL);
    assert_denied(LINUX_FAULT_SIGNAL, SYS_pidfd_open, 0, ENOSYS, 0, NULL);
}

static void without_proc_it_does_not_start(void **state)
{
    (void)state;
    char root[] = "/tmp/linux_start_test.XXXXXX";

    if (geteuid() != 0)
        skip();
    assert_non_null(mkdtemp(root));
    for (unsigned i = 0; i < 2; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (chroot(root) != 0 || chdir("/") != 0)
                _exit(2);
            start_and_exit(both[i], -ENOENT, "mount /proc");
        }
        assert_child_succeeds(pid);
    }
    assert_int_equal(rmdir(root), 0);
}

static void a_process_that_cannot_be_dumped_is_told(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(2);
        start_and_exit(LINUX_FAULT_SIGNAL, -EACCES, "PR_SET_DUMPABLE");
    }
    assert_child_succeeds(pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_older_kernel_is_named),
        cmocka_unit_test(a_kernel_that_is_not_exact_is_found_out),
        cmocka_unit_test(older_ways_do_as_well),
        cmocka_unit_test(without_proc_it_does_not_start),
        cmocka_unit_test(a_process_that_cannot_be_dumped_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
