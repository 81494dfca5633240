/*
 * signal_frame.c: a handler's frame on the program's stack, and the way back (sendsig and sigreturn, BSD;
 * setup_rt_frame, Linux). The layout is sigframe.h's.
 *
 * What comes back from the program is the program's own, and is not believed: the address and the flags are
 * limited to what user mode may have, the segments are never read, and MXCSR loses the bits that would fault.
 */
#include "proc/sigframe.h"

#include <linux/errno.h>

#include "kernel.h"
#include "lib/copy.h"
#include "string.h"
#include "proc/proc.h"

#define RED_ZONE 128 /* below rsp, the program's still */

#define UC_SIGCONTEXT_SS     0x2
#define UC_STRICT_RESTORE_SS 0x4

/* Flags that a program may set: AC RF OF DF TF SF ZF AF PF CF; and IF, which is always on. */
#define RFLAGS_USER   UINT64_C(0x50dd5)
#define RFLAGS_ALWAYS UINT64_C(0x202)

#define MXCSR_AT           24 /* in the memory of fxsave: mxcsr, and the mask of the bits that there are */
#define MXCSR_MASK_AT      28
#define MXCSR_MASK_DEFAULT 0xffbf

/* ---- siginfo --------------------------------------------------------------------------------------- */

struct siginfo_user { /* siginfo_t: its common part, and the three shapes that are used */
    int32_t signo, error, code, pad;
    union {
        struct {
            int32_t pid, uid;
            union {
                uint64_t value;
                int32_t status;
            } of;
        } sent;
        uint64_t addr;
        unsigned char bytes[112];
    } u;
};
_Static_assert(sizeof(struct siginfo_user) == SIGINFO_BYTES, "siginfo_t of the ABI");

static bool siginfo_is_fault(const struct siginfo_kernel *info)
{
    switch (info->signo) {
    case SIGILL:
    case SIGTRAP:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
        return info->code > 0;
    default:
        return false;
    }
}

void siginfo_to_user(const struct siginfo_kernel *info, void *siginfo)
{
    struct siginfo_user *user = siginfo;

    memset(user, 0, sizeof(*user));
    user->signo = info->signo;
    user->error = info->error;
    user->code = info->code;
    if (siginfo_is_fault(info)) {
        user->u.addr = info->addr;
        return;
    }
    user->u.sent.pid = info->pid;
    user->u.sent.uid = info->uid;
    if (info->signo == SIGCHLD && info->code > 0)
        user->u.sent.of.status = info->status;
    else
        user->u.sent.of.value = info->value;
}

void siginfo_from_user(const void *siginfo, struct siginfo_kernel *info)
{
    const struct siginfo_user *user = siginfo;

    *info = (struct siginfo_kernel){.signo = user->signo,
                                    .error = user->error,
                                    .code = user->code,
                                    .addr = user->u.addr,
                                    .pid = user->u.sent.pid,
                                    .uid = user->u.sent.uid,
                                    .value = user->u.sent.of.value};
}

/* ---- the way to the handler ------------------------------------------------------------------------ */

static bool on_altstack(const struct thread *td, uint64_t sp)
{
    return sp > td->td_altstack && sp - td->td_altstack <= td->td_altstack_size;
}

/* Where the frame's memory ends. */
static uint64_t sigframe_top(const struct thread *td, const struct trapframe *frame, uint64_t flags)
{
    bool alternate = (flags & SA_ONSTACK) != 0 && (td->td_altstack_flags & SS_DISABLE) == 0 &&
                     td->td_altstack_size != 0 && !on_altstack(td, frame->rsp);

    return alternate ? td->td_altstack + td->td_altstack_size : frame->rsp - RED_ZONE;
}

static void context_save(struct sigframe_context *context, const struct trapframe *frame)
{
    *context = (struct sigframe_context){
        .r8 = frame->r8,
        .r9 = frame->r9,
        .r10 = frame->r10,
        .r11 = frame->r11,
        .r12 = frame->r12,
        .r13 = frame->r13,
        .r14 = frame->r14,
        .r15 = frame->r15,
        .rdi = frame->rdi,
        .rsi = frame->rsi,
        .rbp = frame->rbp,
        .rbx = frame->rbx,
        .rdx = frame->rdx,
        .rax = frame->rax,
        .rcx = frame->rcx,
        .rsp = frame->rsp,
        .rip = frame->rip,
        .rflags = frame->rflags,
        .cs = GSEL_UCODE,
        .ss = GSEL_UDATA,
        .err = frame->trapno == T_SYSCALL ? 0 : frame->err,
        .trapno = frame->trapno == T_SYSCALL ? 0 : frame->trapno,
    };
}

static bool user_address(uint64_t address)
{
    return address >= USER_START && address < USER_END;
}

int sigframe_push(struct trapframe *frame, const struct sigaction_kernel *action,
                  const struct siginfo_kernel *info, sigset mask)
{
    struct thread *td = curthread();
    _Alignas(16) unsigned char fpu[SIGFRAME_FPU_BYTES];
    struct sigframe sf;
    uint64_t fpstate = (sigframe_top(td, frame, action->flags) - sizeof(fpu)) & ~UINT64_C(63);
    uint64_t sp = ((fpstate - sizeof(sf)) & ~UINT64_C(15)) - 8;

    if ((action->flags & SA_RESTORER) == 0 || !user_address(action->handler))
        return -EFAULT;
    memset(&sf, 0, sizeof(sf));
    context_save(&sf.uc.context, frame);
    sf.restorer = action->restorer;
    sf.uc.flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    sf.uc.stack =
        (struct sigframe_stack){td->td_altstack, (int32_t)td->td_altstack_flags, td->td_altstack_size};
    if (on_altstack(td, frame->rsp))
        sf.uc.stack.flags |= SS_ONSTACK;
    sf.uc.context.oldmask = mask;
    sf.uc.context.cr2 = info->addr;
    sf.uc.context.fpstate = fpstate;
    sf.uc.mask = mask;
    siginfo_to_user(info, sf.info);
    fpu_save(fpu);
    if (copyout(fpu, fpstate, sizeof(fpu)) != 0 || copyout(&sf, sp, sizeof(sf)) != 0)
        return -EFAULT;
    frame->rdi = (uint64_t)info->signo;
    frame->rsi = sp + offsetof(struct sigframe, info);
    frame->rdx = sp + offsetof(struct sigframe, uc);
    frame->rax = 0;
    frame->rsp = sp;
    frame->rip = action->handler;
    frame->rflags &= ~UINT64_C(0x10500); /* RF, DF, TF */
    frame->trapno = 0;                   /* all registers go back to the program */
    return 0;
}

/* ---- the way back ---------------------------------------------------------------------------------- */

static void context_restore(struct trapframe *frame, const struct sigframe_context *context)
{
    *frame = (struct trapframe){
        .r8 = context->r8,
        .r9 = context->r9,
        .r10 = context->r10,
        .r11 = context->r11,
        .r12 = context->r12,
        .r13 = context->r13,
        .r14 = context->r14,
        .r15 = context->r15,
        .rdi = context->rdi,
        .rsi = context->rsi,
        .rbp = context->rbp,
        .rbx = context->rbx,
        .rdx = context->rdx,
        .rax = context->rax,
        .rcx = context->rcx,
        .rsp = context->rsp,
        .rip = context->rip,
        .rflags = (context->rflags & RFLAGS_USER) | RFLAGS_ALWAYS,
        .cs = GSEL_UCODE,
        .ss = GSEL_UDATA,
    };
}

static int fpstate_restore(uint64_t fpstate)
{
    _Alignas(16) unsigned char fpu[SIGFRAME_FPU_BYTES], now[SIGFRAME_FPU_BYTES];
    uint32_t mxcsr, mask;

    if (fpstate == 0) {
        fpu_init(fpu);
        fpu_restore(fpu);
        return 0;
    }
    if (copyin(fpstate, fpu, sizeof(fpu)) != 0)
        return -EFAULT;
    fpu_save(now);
    memcpy(&mask, now + MXCSR_MASK_AT, sizeof(mask));
    memcpy(&mxcsr, fpu + MXCSR_AT, sizeof(mxcsr));
    mxcsr &= mask != 0 ? mask : MXCSR_MASK_DEFAULT;
    memcpy(fpu + MXCSR_AT, &mxcsr, sizeof(mxcsr));
    fpu_restore(fpu);
    return 0;
}

int sigframe_pop(struct trapframe *frame, sigset *mask)
{
    struct thread *td = curthread();
    struct sigframe_ucontext uc;
    uint64_t sp = frame->rsp - sizeof(uint64_t); /* the handler's return took the restorer away */

    if (copyin(sp + offsetof(struct sigframe, uc), &uc, sizeof(uc)) != 0)
        return -EFAULT;
    if (!user_address(uc.context.rip) || uc.context.rsp >= USER_END)
        return -EFAULT;
    if (fpstate_restore(uc.context.fpstate) != 0)
        return -EFAULT;
    context_restore(frame, &uc.context);
    *mask = uc.mask;
    td->td_altstack = uc.stack.sp;
    td->td_altstack_size = uc.stack.size;
    td->td_altstack_flags = (uint32_t)uc.stack.flags & SS_DISABLE;
    return 0;
}
