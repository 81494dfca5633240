/*
 * linux_sigaction.c: signal actions and masks as the kernel keeps them.
 *
 *     kernel ─▶ handler ─ return ─▶ linux_sigreturn ─▶ kernel: restores the registers and the mask
 *
 * x86-64 only: the restorer is that processor's.
 */
#include "linux_sigaction.h"
#include "linux_syscall.h"

#define LINUX_SA_RESTORER 0x04000000ul

/* Debuggers and unwinders recognise a signal frame by exactly these bytes. 15: rt_sigreturn. */
void linux_sigreturn(void);
__asm__(".pushsection .text\n"
        ".globl linux_sigreturn\n"
        ".hidden linux_sigreturn\n"
        ".type linux_sigreturn, @function\n"
        "    nop\n" /* unwinders look one byte before the return address */
        "linux_sigreturn:\n"
        "    movq $15, %rax\n"
        "    syscall\n"
        ".size linux_sigreturn, . - linux_sigreturn\n"
        ".popsection\n");

int linux_sigaction(int signo, const struct linux_sigaction *action, struct linux_sigaction *old)
{
    return (int)linux_syscall(SYS_rt_sigaction, signo, action, old, sizeof(uint64_t));
}

int linux_sigaction_handler(int signo, void (*action)(int signo, siginfo_t *info, void *ucontext),
                            struct linux_sigaction *old)
{
    struct linux_sigaction new = {
        .action = action,
        .flags = SA_SIGINFO | LINUX_SA_RESTORER,
        .restorer = linux_sigreturn,
        .mask = LINUX_SIGMASK_ALL,
    };

    return linux_sigaction(signo, &new, old);
}

void linux_sigaction_default(int signo)
{
    struct linux_sigaction dfl = {.handler = SIG_DFL};

    if (linux_sigaction(signo, &dfl, NULL) != 0)
        __builtin_trap(); /* a signal that has no action: the caller's mistake */
}

void linux_sigmask_set(uint64_t mask, uint64_t *old)
{
    (void)linux_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, old, sizeof(mask));
}
