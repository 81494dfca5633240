/*
 * syscall.c: from the instruction to the call's function, and back (syscall.h).
 *
 * The number stays in the frame's `err`, for a call that a signal interrupts and kernel_ast makes again.
 */
#include "sys/syscall.h"

#include <linux/errno.h>
#include <stdatomic.h>

#include "kernel.h"
#include "proc/proc.h"
#include "proc/sleep.h"

bool syscall_tells_unknown, syscall_tells_all;

static void tell(const char *what, uint64_t number, const uint64_t arg[6], int64_t result)
{
    const char *name = number < SYSCALL_MAX ? sysent[number].name : NULL;

    printf("%s%d %s: %s (%lu) %lx %lx %lx %lx %lx %lx = %ld\n", what, curthread()->td_tid, curproc()->comm,
           name != NULL ? name : "?", (unsigned long)number, (unsigned long)arg[0], (unsigned long)arg[1],
           (unsigned long)arg[2], (unsigned long)arg[3], (unsigned long)arg[4], (unsigned long)arg[5],
           (long)result);
}

/* Says once that a call is missing. */
static void tell_missing(uint64_t number, const uint64_t arg[6])
{
    static _Atomic uint64_t told[SYSCALL_MAX / 64 + 1];
    const uint64_t slot = number < SYSCALL_MAX ? number / 64 : SYSCALL_MAX / 64;
    const uint64_t bit = UINT64_C(1) << number % 64;

    if ((atomic_fetch_or(&told[slot], bit) & bit) == 0)
        tell("missing: ", number, arg, -ENOSYS);
}

/* A call that may not come back is told of before. */
static bool call_ends(uint64_t number)
{
    return sysent[number].name != NULL && sysent[number].name[0] == 'e' && sysent[number].name[1] == 'x';
}

void kernel_syscall(struct trapframe *frame)
{
    const uint64_t arg[6] = {frame->rdi, frame->rsi, frame->rdx, frame->r10, frame->r8, frame->r9};
    const uint64_t number = frame->rax;
    syscall_fn *call = number < SYSCALL_MAX ? sysent[number].call : NULL;
    int64_t result = -ENOSYS;

    frame->err = number;
    if (call != NULL) {
        if (syscall_tells_all && call_ends(number))
            tell("", number, arg, 0);
        result = call(arg);
    } else if (syscall_tells_unknown) {
        tell_missing(number, arg);
    }
    if (syscall_tells_all)
        tell("", number, arg, result);
    frame->rax = (uint64_t)result;
    if ((result == -ERESTART || result == -ERESTARTNOHAND) && frame->trapno == T_SYSCALL)
        thread_signal_ast(curthread());
}
