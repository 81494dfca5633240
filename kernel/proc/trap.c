/*
 * trap.c: faults and traps of programs become pages or signals.
 *
 *   page fault ─▶ kernel_page_fault ─▶ fl_fault ─┬─ 0: again
 *                                                ├─ -ENOMEM: oom_wait, again
 *                                                └─ an error: SIGSEGV, SIGBUS; of a copy: it fails
 *   another trap ─▶ kernel_trap ─▶ SIGFPE, SIGILL, SIGTRAP, SIGSEGV, SIGBUS
 */
#include <linux/errno.h>

#include "kernel.h"
#include "lib/copy.h"
#include "string.h"
#include "proc/proc.h"

/* Vectors. */
#define T_DIVIDE    0
#define T_DEBUG     1
#define T_BREAK     3
#define T_OPCODE    6
#define T_NO_FPU    7
#define T_STACK     12
#define T_X87       16
#define T_ALIGNMENT 17
#define T_SIMD      19

/* ---- page faults ----------------------------------------------------------------------------------- */

/* The loop ends: oom_wait says false at last, for each time some process has ended or memory has become
 * free. */
static int page_fault(struct vm_map *map, vm_offset_t va, vm_prot_t access)
{
    uint32_t tries = 0;
    int error;

    do {
        error = fl_fault(map, va, access);
    } while (error == -ENOMEM && oom_wait(tries++));
    return error;
}

static void page_fault_signal(vm_offset_t va, int error)
{
    struct siginfo_kernel info = {.addr = va};

    switch (error) {
    case -EFAULT:
        info.signo = SIGSEGV;
        info.code = SEGV_MAPERR;
        break;
    case -EACCES:
        info.signo = SIGSEGV;
        info.code = SEGV_ACCERR;
        break;
    default: /* beyond the end of the file, or the store failed */
        info.signo = SIGBUS;
        info.code = BUS_ADRERR;
        break;
    }
    trapsignal(&info);
}

int kernel_page_fault(struct trapframe *frame __attribute__((unused)), vm_offset_t va, vm_prot_t access,
                      bool user)
{
    const struct proc *proc = curproc();
    int error = -EFAULT;

    if (proc != NULL && proc->map != NULL && va >= USER_START && va < USER_END)
        error = page_fault(proc->map, va, access);
    if (error != 0 && user)
        page_fault_signal(va, error);
    return error;
}

/* ---- other traps ----------------------------------------------------------------------------------- */

/* FPE_* of the exceptions that are raised and not masked. MXCSR and the x87's words have the same bits. */
static int fpe_code(uint32_t raised)
{
    static const int code[6] = {7 /* FLTINV */, 7, 3 /* FLTDIV */, 4 /* FLTOVF */,
                                5 /* FLTUND */, 6 /* FLTRES */};

    return (raised & 0x3f) != 0 ? code[__builtin_ctz(raised & 0x3f)] : FPE_FLTINV;
}

static int fpe_code_now(bool simd)
{
    _Alignas(16) unsigned char area[512];
    uint16_t control, status;
    uint32_t mxcsr;

    fpu_save(area);
    memcpy(&control, area, sizeof(control));
    memcpy(&status, area + 2, sizeof(status));
    memcpy(&mxcsr, area + 24, sizeof(mxcsr));
    return simd ? fpe_code(mxcsr & ~(mxcsr >> 7)) : fpe_code((uint32_t)(status & ~control));
}

void kernel_trap(struct trapframe *frame)
{
    struct siginfo_kernel info = {.signo = SIGSEGV, .code = SI_KERNEL};

    switch (frame->trapno) {
    case T_DIVIDE:
        info = (struct siginfo_kernel){.signo = SIGFPE, .code = FPE_INTDIV, .addr = frame->rip};
        break;
    case T_DEBUG:
        info = (struct siginfo_kernel){.signo = SIGTRAP, .code = TRAP_TRACE, .addr = frame->rip};
        frame->rflags &= ~UINT64_C(0x100); /* the trap flag */
        break;
    case T_BREAK:
        info = (struct siginfo_kernel){.signo = SIGTRAP, .code = SI_KERNEL};
        break;
    case T_OPCODE:
    case T_NO_FPU:
        info = (struct siginfo_kernel){.signo = SIGILL, .code = ILL_ILLOPN, .addr = frame->rip};
        break;
    case T_STACK:
        info = (struct siginfo_kernel){.signo = SIGBUS, .code = SI_KERNEL};
        break;
    case T_X87:
    case T_SIMD:
        info = (struct siginfo_kernel){
            .signo = SIGFPE, .code = fpe_code_now(frame->trapno == T_SIMD), .addr = frame->rip};
        break;
    case T_ALIGNMENT:
        info = (struct siginfo_kernel){.signo = SIGBUS, .code = BUS_ADRALN};
        break;
    default: /* general protection, and whatever else no program should do */
        break;
    }
    trapsignal(&info);
}
