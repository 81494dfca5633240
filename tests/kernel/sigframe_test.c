/*
 * sigframe_test.c: the frame of a handler, as kernel/proc/sigframe.h has it, is the C library's, and Linux's.
 */
#include "proc/sigframe.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#include <cmocka.h>

#define SAME(field, theirs)                                                                                  \
    _Static_assert(offsetof(struct sigframe_ucontext, field) == offsetof(ucontext_t, theirs), #field)
#define SAME_REGISTER(field, number)                                                                         \
    _Static_assert(offsetof(struct sigframe_context, field) == (number) * sizeof(greg_t), #field)

SAME(flags, uc_flags);
SAME(link, uc_link);
SAME(stack.sp, uc_stack.ss_sp);
SAME(stack.flags, uc_stack.ss_flags);
SAME(stack.size, uc_stack.ss_size);
SAME(context, uc_mcontext);
SAME(context.fpstate, uc_mcontext.fpregs);
SAME(mask, uc_sigmask);
SAME_REGISTER(r8, REG_R8);
SAME_REGISTER(r9, REG_R9);
SAME_REGISTER(r10, REG_R10);
SAME_REGISTER(r11, REG_R11);
SAME_REGISTER(r12, REG_R12);
SAME_REGISTER(r13, REG_R13);
SAME_REGISTER(r14, REG_R14);
SAME_REGISTER(r15, REG_R15);
SAME_REGISTER(rdi, REG_RDI);
SAME_REGISTER(rsi, REG_RSI);
SAME_REGISTER(rbp, REG_RBP);
SAME_REGISTER(rbx, REG_RBX);
SAME_REGISTER(rdx, REG_RDX);
SAME_REGISTER(rax, REG_RAX);
SAME_REGISTER(rcx, REG_RCX);
SAME_REGISTER(rsp, REG_RSP);
SAME_REGISTER(rip, REG_RIP);
SAME_REGISTER(rflags, REG_EFL);
SAME_REGISTER(cs, REG_CSGSFS);
SAME_REGISTER(err, REG_ERR);
SAME_REGISTER(trapno, REG_TRAPNO);
SAME_REGISTER(oldmask, REG_OLDMASK);
SAME_REGISTER(cr2, REG_CR2);
_Static_assert(SIGFRAME_FPU_BYTES == sizeof(struct _libc_fpstate), "what fxsave writes");

static ptrdiff_t between, behind;
static bool aligned;

/* Linux has put the siginfo and the floating-point registers where struct sigframe says. */
static void handler(int signal, siginfo_t *info, void *context)
{
    const struct sigframe_ucontext *uc = context;
    (void)signal;
    between = (char *)info - (char *)context;
    behind = (char *)uc->context.fpstate - (char *)context;
    aligned = ((uintptr_t)context - offsetof(struct sigframe, uc)) % 16 == 8 && uc->context.fpstate % 64 == 0;
}

static void test_linux_agrees(void **state)
{
    struct sigaction action;
    (void)state;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(between, offsetof(struct sigframe, info) - offsetof(struct sigframe, uc));
    assert_true(behind >= (ptrdiff_t)(sizeof(struct sigframe) - offsetof(struct sigframe, uc)));
    assert_true(aligned);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_linux_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
