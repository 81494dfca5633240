/*
 * syscall.h: the system calls: Linux's numbers, arguments and errors on x86-64.
 *
 *   syscall instruction ─▶ machines/x86_64 ─▶ kernel_syscall ─▶ sysent[number](arguments)
 *
 * A call is a function of its six arguments as the registers have them (rdi rsi rdx r10 r8 r9); it returns
 * its result or a negative errno. It asks curproc() and curthread() (proc/proc.h) who calls. Context: the
 * calling thread, no lock held, interrupts on; may sleep.
 */
#ifndef KERNEL_SYS_SYSCALL_H
#define KERNEL_SYS_SYSCALL_H

#include <faultline/common.h>

typedef int64_t syscall_fn(const uint64_t arg[6]);

#define SYSCALL_MAX 512
/* NULL: -ENOSYS. sys/sysent.c lists all calls. */
extern syscall_fn *const sysent[SYSCALL_MAX];

#endif
