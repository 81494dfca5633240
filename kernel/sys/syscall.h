/*
 * syscall.h: the system calls: Linux's numbers, arguments and errors on x86-64.
 *
 *   syscall instruction ─▶ machines/x86_64 ─▶ kernel_syscall ─▶ sysent[number].call(arguments)
 *
 * A call is a function of its six arguments as the registers have them (rdi rsi rdx r10 r8 r9); it returns
 * its result or a negative errno. It asks curproc() and curthread() (proc/proc.h) who calls. Context: the
 * calling thread, no lock held, interrupts on; may sleep.
 */
#ifndef KERNEL_SYS_SYSCALL_H
#define KERNEL_SYS_SYSCALL_H

#include <faultline/common.h>

typedef int64_t syscall_fn(const uint64_t arg[6]);

struct sysent {
    syscall_fn *call; /* NULL: -ENOSYS */
    const char *name; /* also of many calls that are missing; NULL: nobody knows it */
};

#define SYSCALL_MAX 512
/* By number; sys/sysent.c lists all calls. */
extern const struct sysent sysent[SYSCALL_MAX];

/* What is said on the console: calls that are missing, or all calls with their results. */
extern bool syscall_tells_unknown, syscall_tells_all; /* (c) after boot */

#endif
