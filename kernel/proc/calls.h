/*
 * calls.h: the system calls of processes, signals, time and memory (syscall.h says how a call looks), and
 * what their files share.
 */
#ifndef KERNEL_PROC_CALLS_H
#define KERNEL_PROC_CALLS_H

#include "sys/syscall.h"

#define CALL(name) int64_t sys_##name(const uint64_t arg[6])

/* exit.c */
CALL(exit);
CALL(exit_group);
CALL(wait4);
CALL(waitid);

/* fork.c */
CALL(fork);
CALL(vfork);
CALL(clone);
CALL(clone3);
CALL(set_tid_address);

/* exec.c */
CALL(execve);

/* signal_calls.c */
CALL(rt_sigaction);
CALL(rt_sigprocmask);
CALL(rt_sigpending);
CALL(rt_sigsuspend);
CALL(rt_sigtimedwait);
CALL(rt_sigqueueinfo);
CALL(rt_tgsigqueueinfo);
CALL(rt_sigreturn);
CALL(sigaltstack);
CALL(pause);
CALL(kill);
CALL(tkill);
CALL(tgkill);

/* futex.c */
CALL(futex);
CALL(set_robust_list);
CALL(get_robust_list);

/* time_calls.c */
CALL(clock_gettime);
CALL(clock_settime);
CALL(clock_getres);
CALL(clock_nanosleep);
CALL(gettimeofday);
CALL(settimeofday);
CALL(time);
CALL(nanosleep);
CALL(times);
CALL(getrusage);

/* itimer.c */
CALL(alarm);
CALL(getitimer);
CALL(setitimer);

/* memory_calls.c */
CALL(mmap);
CALL(munmap);
CALL(mprotect);
CALL(mremap);
CALL(msync);
CALL(madvise);
CALL(mincore);
CALL(mlock);
CALL(mlock2);
CALL(munlock);
CALL(mlockall);
CALL(munlockall);
CALL(brk);

/* ids.c */
CALL(getpid);
CALL(gettid);
CALL(getppid);
CALL(getuid);
CALL(geteuid);
CALL(getgid);
CALL(getegid);
CALL(getresuid);
CALL(getresgid);
CALL(setuid);
CALL(setgid);
CALL(setreuid);
CALL(setregid);
CALL(setresuid);
CALL(setresgid);
CALL(setfsuid);
CALL(setfsgid);
CALL(getgroups);
CALL(setgroups);
CALL(getpgrp);
CALL(getpgid);
CALL(setpgid);
CALL(getsid);
CALL(setsid);

/* limits.c */
CALL(getrlimit);
CALL(setrlimit);
CALL(prlimit64);

/* system_calls.c */
CALL(uname);
CALL(sethostname);
CALL(setdomainname);
CALL(sysinfo);
CALL(syslog);
CALL(sched_yield);
CALL(sched_getaffinity);
CALL(sched_setaffinity);
CALL(sched_getparam);
CALL(sched_getscheduler);
CALL(sched_setscheduler);
CALL(sched_get_priority_max);
CALL(sched_get_priority_min);
CALL(getpriority);
CALL(setpriority);
CALL(getcpu);
CALL(getrandom);
CALL(arch_prctl);
CALL(prctl);
CALL(personality);
CALL(reboot);
CALL(swapon);

#undef CALL

/* Writes struct rusage, of which only the processor time is known. Errors: -EFAULT. */
FL_NODISCARD int rusage_copyout(uint64_t user, uint64_t time_ns);

/* struct timespec of the ABI. Errors of the reader: -EFAULT, -EINVAL. */
struct timespec_user {
    int64_t sec, nsec;
};
FL_NODISCARD int timespec_copyin(uint64_t user, uint64_t *ns);
FL_NODISCARD int timespec_copyout(uint64_t user, uint64_t ns);
/* now + ns, or for ever. */
FL_NODISCARD uint64_t deadline_after(uint64_t ns);

#endif
