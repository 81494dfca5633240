/*
 * linux_sigaction.h: signal actions and masks as the kernel keeps them, without libc: the shim replaces
 * libc's functions for them (linux_syscall.h).
 */
#ifndef MACHINES_LINUX_LINUX_SIGACTION_H
#define MACHINES_LINUX_LINUX_SIGACTION_H

#include <faultline/types.h>
#include <signal.h>

/* The kernel's own structure. */
struct linux_sigaction {
    union {
        void (*handler)(int signo);
        void (*action)(int signo, siginfo_t *info, void *ucontext);
    };
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

/* Installs a handler for signo; every signal is blocked while it runs. *old (may be NULL): the action before.
 * Errors: negative errno. */
FL_NODISCARD int linux_sigaction_handler(int signo,
                                         void (*action)(int signo, siginfo_t *info, void *ucontext),
                                         struct linux_sigaction *old);
/* Sets `action` unless it is NULL. *old (may be NULL): the action before. Errors: negative errno. */
FL_NODISCARD int linux_sigaction(int signo, const struct linux_sigaction *action,
                                 struct linux_sigaction *old);
void linux_sigaction_default(int signo);

/* Replaces the calling thread's mask. Bit signo - 1 stands for signo. */
void linux_sigmask_set(uint64_t mask, uint64_t *old);
#define LINUX_SIGMASK(signo) ((uint64_t)1 << ((signo)-1))
#define LINUX_SIGMASK_ALL    UINT64_MAX

#endif
