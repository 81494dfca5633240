/*
 * filter.c: the seccomp filter: which system calls are trapped (trap.c says why).
 *
 *   head    any register in the range?  ─ no ─▶ allow                    nearly every call ends here
 *              │ yes
 *   caller  made by linux_syscall? ─ yes ─▶ allow
 *              │
 *   calls   used by the call: 1, 2, 3, 4 registers ─┐   more, or unknown ─▶ trap
 *   tail    one of these in the range?  ◀───────────┘   no ─▶ allow
 *
 * The range is the window without the zone. Each part of the zone that is opened (reservation.c)
 * has a filter of its own; the kernel runs all filters, and the strictest answer counts.
 *
 * The filter outlives execve, and a program that was just started has no handler until the shim is loaded.
 * Registers that a call does not use hold chance values. So for the calls that every program makes first,
 * and for other frequent ones, the table says how many registers the call uses. For the rest all six count.
 */
#include "filter.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>

#define FILTER_FIELD(field)         offsetof(struct seccomp_data, field)
#define FILTER_LOAD(field)          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FILTER_FIELD(field))
#define FILTER_LOAD_HIGH(field)     BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FILTER_FIELD(field) + 4)
#define FILTER_EQUAL(k, yes, no)    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(k), yes, no)
#define FILTER_AT_LEAST(k, yes, no) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)(k), yes, no)
#define FILTER_RETURN(k)            BPF_STMT(BPF_RET | BPF_K, k)
/*
 * Stand for the ends of the range, until filter_build
 * replaces them: nothing else is compared by FILTER_AT_LEAST.
 */
#define FILTER_FROM 0
#define FILTER_TO   1
/* Skips `hit` instructions behind these three when the argument lies in the range. */
#define FILTER_ARG(n, hit)                                                                                   \
    FILTER_LOAD_HIGH(args[n]), FILTER_AT_LEAST(FILTER_FROM, 0, 1), FILTER_AT_LEAST(FILTER_TO, 0, hit)

#define FILTER_LENGTH(part) (sizeof(part) / sizeof(part)[0])

/*
 * Calls, and how many registers they use. FILTER_NONE: calls that the handler cannot make for the program,
 * and calls without pointers, of those that libc makes where every signal is blocked: in the child of
 * posix_spawn, and, to change the process's user or groups, in every thread. With --anon chance values are
 * often of the heap.
 */
#define FILTER_NONE 0
static const struct {
    uint16_t number;
    uint8_t registers;
} calls[] = {
    {SYS_clone, FILTER_NONE},
    {SYS_clone3, FILTER_NONE},
    {SYS_fork, FILTER_NONE},
    {SYS_vfork, FILTER_NONE},
    {SYS_rt_sigreturn, FILTER_NONE},
    {SYS_close_range, FILTER_NONE},
    {SYS_fchdir, FILTER_NONE},
    {SYS_getegid, FILTER_NONE},
    {SYS_geteuid, FILTER_NONE},
    {SYS_getgid, FILTER_NONE},
    {SYS_getpid, FILTER_NONE},
    {SYS_getppid, FILTER_NONE},
    {SYS_gettid, FILTER_NONE},
    {SYS_getuid, FILTER_NONE},
    {SYS_sched_yield, FILTER_NONE},
    {SYS_setgid, FILTER_NONE},
    {SYS_setpgid, FILTER_NONE},
    {SYS_setregid, FILTER_NONE},
    {SYS_setresgid, FILTER_NONE},
    {SYS_setresuid, FILTER_NONE},
    {SYS_setreuid, FILTER_NONE},
    {SYS_setsid, FILTER_NONE},
    {SYS_setuid, FILTER_NONE},
    {SYS_tkill, FILTER_NONE},
    {SYS_umask, FILTER_NONE},
    {SYS_brk, 1},
    {SYS_chdir, 1},
    {SYS_close, 1},
    {SYS_dup, 1},
    {SYS_exit, 1},
    {SYS_exit_group, 1},
    {SYS_fdatasync, 1},
    {SYS_fsync, 1},
    {SYS_pipe, 1},
    {SYS_set_tid_address, 1},
    {SYS_sysinfo, 1},
    {SYS_uname, 1},
    {SYS_unlink, 1},
    {SYS_access, 2},
    {SYS_arch_prctl, 2},
    {SYS_clock_gettime, 2},
    {SYS_dup2, 2},
    {SYS_fstat, 2},
    {SYS_fstatfs, 2},
    {SYS_ftruncate, 2},
    {SYS_getcwd, 2},
    {SYS_getrlimit, 2},
    {SYS_kill, 2},
    {SYS_lstat, 2},
    {SYS_munmap, 2},
    {SYS_nanosleep, 2},
    {SYS_pipe2, 2},
    {SYS_rename, 2},
    {SYS_sched_setparam, 2},
    {SYS_set_robust_list, 2},
    {SYS_setgroups, 2},
    {SYS_sigaltstack, 2},
    {SYS_stat, 2},
    {SYS_statfs, 2},
    {SYS_execve, 3},
    {SYS_fcntl, 3},
    {SYS_getdents64, 3},
    {SYS_getrandom, 3},
    {SYS_ioctl, 3},
    {SYS_lseek, 3},
    {SYS_madvise, 3},
    {SYS_mprotect, 3},
    {SYS_open, 3},
    {SYS_poll, 3},
    {SYS_read, 3},
    {SYS_readlink, 3},
    {SYS_readv, 3},
    {SYS_sched_getaffinity, 3},
    {SYS_sched_setaffinity, 3},
    {SYS_sched_setscheduler, 3},
    {SYS_socket, 3},
    {SYS_tgkill, 3},
    {SYS_write, 3},
    {SYS_writev, 3},
    {SYS_epoll_ctl, 4},
    {SYS_epoll_wait, 4},
    {SYS_faccessat2, 4},
    {SYS_futex, 4}, /* libc's own locks, also with every signal blocked; only a requeue uses more */
    {SYS_newfstatat, 4},
    {SYS_openat, 4},
    {SYS_pread64, 4},
    {SYS_prlimit64, 4},
    {SYS_pwrite64, 4},
    {SYS_readlinkat, 4},
    {SYS_rseq, 4},
    {SYS_rt_sigaction, 4},
    {SYS_rt_sigprocmask, 4},
    {SYS_wait4, 4},
};

static const struct sock_filter head[] = {
    FILTER_LOAD(arch),
    FILTER_EQUAL(AUDIT_ARCH_X86_64, 1, 0),
    FILTER_RETURN(SECCOMP_RET_ALLOW),
    FILTER_ARG(0, 16),
    FILTER_ARG(1, 13),
    FILTER_ARG(2, 10),
    FILTER_ARG(3, 7),
    FILTER_ARG(4, 4),
    FILTER_ARG(5, 1),
    FILTER_RETURN(SECCOMP_RET_ALLOW),
};

static const struct sock_filter tail[] = {
    FILTER_RETURN(SECCOMP_RET_TRAP),
    FILTER_ARG(3, 10),
    FILTER_ARG(2, 7),
    FILTER_ARG(1, 4),
    FILTER_ARG(0, 1),
    FILTER_RETURN(SECCOMP_RET_ALLOW),
    FILTER_RETURN(SECCOMP_RET_TRAP),
};

/* The instruction of the tail where a call of so many registers enters. */
static size_t tail_entry(unsigned registers)
{
    return registers == FILTER_NONE ? FILTER_LENGTH(tail) - 2 : 1 + 3 * (4 - registers);
}

#define FILTER_CALLER 6
#define FILTER_ALL    (FILTER_LENGTH(head) + FILTER_CALLER + FILTER_LENGTH(calls) + FILTER_LENGTH(tail))

static void filter_build(struct sock_filter code[FILTER_ALL], vm_offset_t start, vm_offset_t end)
{
    const uint64_t ip = linux_syscall_ip();
    const struct sock_filter caller[FILTER_CALLER] = {
        FILTER_LOAD_HIGH(instruction_pointer), FILTER_EQUAL(ip >> 32, 0, 3),
        FILTER_LOAD(instruction_pointer),      FILTER_EQUAL(ip, 0, 1),
        FILTER_RETURN(SECCOMP_RET_ALLOW),      FILTER_LOAD(nr),
    };
    struct sock_filter *call = code + FILTER_LENGTH(head) + FILTER_CALLER;

    memcpy(code, head, sizeof head);
    memcpy(code + FILTER_LENGTH(head), caller, sizeof caller);
    for (size_t i = 0; i < FILTER_LENGTH(calls); i++) {
        size_t behind = FILTER_LENGTH(calls) - i - 1;

        call[i] = (struct sock_filter)FILTER_EQUAL(calls[i].number,
                                                   (uint8_t)(behind + tail_entry(calls[i].registers)), 0);
    }
    memcpy(call + FILTER_LENGTH(calls), tail, sizeof tail);
    for (size_t i = 0; i < FILTER_ALL; i++)
        if (code[i].code == (BPF_JMP | BPF_JGE | BPF_K))
            code[i].k = (uint32_t)((code[i].k == FILTER_FROM ? start : end) >> 32);
}

int filter_install(vm_offset_t start, vm_offset_t end)
{
    struct sock_filter code[FILTER_ALL];
    struct sock_fprog program = {FILTER_ALL, code};
    long r;

    _Static_assert(FILTER_LENGTH(calls) + FILTER_LENGTH(tail) < UINT8_MAX, "a jump goes that far");
    filter_build(code, start, end);
    r = linux_syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (r != -EACCES)
        return r > 0 ? -EBUSY : (int)r; /* positive: the thread that has a filter of its own */
    /*
     * Without CAP_SYS_ADMIN the kernel requires a promise first: programs
     * that this one starts gain no rights (sudo, ping: docs/run.md).
     */
    r = linux_syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (r == 0)
        r = linux_syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    return (int)r;
}
