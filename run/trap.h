/*
 * trap.h: system calls that are given managed memory, wherever they are made: the seccomp
 * filter sends a signal, and the call is made again with its memory held (trap.c).
 *
 * `mask` in the calls below: the signal mask that the program expects while
 * the call sleeps, and has afterwards. The caller has all signals blocked.
 */
#ifndef RUN_TRAP_H
#define RUN_TRAP_H

#include "shim.h"

/*
 * Moves linux_syscall to the address that every program's filter lets pass. First of all,
 * since the filter of the program that executed this one may be in force. Errors: of mmap(2).
 */
FL_NODISCARD int trap_gate(void);
/*
 * Installs the filter, unless this program inherited one. The
 * handler of SIGSYS is in place. Errors: of filter_install.
 */
FL_NODISCARD int trap_start(void);
/* The handler of SIGSYS. False: the signal is not one of the filter's. */
bool trap_signal(siginfo_t *info, void *ucontext);
/* The call, as the kernel would answer it. */
long trap_call(long number, const uint64_t arg[6], sigset_t *mask);
/* One system call with the program's own mask in force. */
long trap_issue(long number, const uint64_t arg[6], const sigset_t *mask);

#endif
