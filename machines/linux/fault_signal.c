/*
 * fault_signal.c: a fault as a signal in the thread that faulted.
 *
 *     load or store ─▶ kernel: SIGBUS (absent, write-protected)    ─▶ linux_fault_signal ─▶ fl_fault
 *                              SIGSEGV (beyond the area's rights)                            │
 *                              the access is tried again ◀── return ◀── 0 ────────────────────┤
 *                                                           deliver ◀── error ────────────────┘
 *
 * SIGSEGV goes to the core, too: the reserved parts of the window are PROT_NONE areas, so only the
 * core knows why an access failed (nothing is mapped there, or it is forbidden), and a stack that
 * grows down grows there.
 *
 * The thread engine sends its errors as signals to the thread that faulted. A thread cannot send another one
 * a signal that looks like the kernel's, so these come with si_code SI_QUEUE, and si_errno holds the error.
 *
 * The handler runs on the program's stack, with every signal blocked, possibly inside the program's
 * allocator: it takes no lock and no memory of the program's. Lock: none; the state is constant
 * between start and stop.
 */
#include "fault.h"
#include "linux_sigaction.h"
#include "linux_syscall.h"
#include "space.h"

#include <errno.h>
#include <ucontext.h>

/* The error code that an x86 processor pushes for a page fault. */
#define PGEX_PRESENT 0x1
#define PGEX_WRITE   0x2
#define PGEX_FETCH   0x10

_Thread_local vm_offset_t linux_fault_mapped __attribute__((tls_model("initial-exec")));
_Thread_local vm_offset_t linux_fault_asleep __attribute__((tls_model("initial-exec")));

static struct {
    struct vm_map *map;
    void (*deliver)(int signo, siginfo_t *info, void *ucontext, int error);
    bool installed;
    struct linux_sigaction old_bus, old_segv;
} fault;

int linux_fault_siginfo(int error, vm_offset_t va, siginfo_t *info)
{
    bool segv = error == -EFAULT || error == -EACCES;

    *info = (siginfo_t){.si_signo = segv ? SIGSEGV : SIGBUS};
    info->si_code = !segv ? BUS_ADRERR : error == -EFAULT ? SEGV_MAPERR : SEGV_ACCERR;
    info->si_addr = (void *)va;
    return info->si_signo;
}

static vm_prot_t access_of(uint64_t code)
{
    if ((code & PGEX_WRITE) != 0)
        return VM_PROT_WRITE;
    return (code & PGEX_FETCH) != 0 ? VM_PROT_EXECUTE : VM_PROT_READ;
}

static void deliver(int error, vm_offset_t va, void *ucontext)
{
    siginfo_t info;
    int signo = linux_fault_siginfo(error, va, &info);

    if (fault.deliver != NULL)
        fault.deliver(signo, &info, ucontext, error);
    else
        linux_fault_chain(signo, &info, ucontext);
}

bool linux_fault_signal(int signo, siginfo_t *info, void *ucontext)
{
    vm_offset_t va = (vm_offset_t)info->si_addr;
    bool fault_here = signo == SIGBUS ? info->si_code == BUS_ADRERR
                                      : info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR;
    bool answer = info->si_code == SI_QUEUE && info->si_errno > 0;
    int error = -info->si_errno;

    if (linux_peek_fault(info, ucontext))
        return true;
    if ((!fault_here && !answer) || fault.map == NULL || !linux_window_contains(va))
        return false;
    if (!answer) {
        uint64_t code = (uint64_t)((const ucontext_t *)ucontext)->uc_mcontext.gregs[REG_ERR];
        bool mapped = (code & (PGEX_PRESENT | PGEX_WRITE)) == (PGEX_PRESENT | PGEX_WRITE);
        linux_fault_mapped = mapped ? trunc_page(va) : 0;
        error = fl_fault(fault.map, trunc_page(va), access_of(code));
        linux_fault_mapped = 0;
    }
    if (error != 0)
        deliver(error, va, ucontext);
    return true;
}

/* Arranges for the default action as soon as this handler returns and the signal is unblocked: at the access
 * itself, with the same siginfo. */
static void die_of(int signo, siginfo_t *info)
{
    linux_sigaction_default(signo);
    /* A fault's siginfo is sent again. One that was sent by a process cannot be: the kernel does not let this
     * process send it in the other's name. */
    if (info->si_code > 0)
        (void)linux_syscall(SYS_rt_tgsigqueueinfo, linux_syscall(SYS_getpid), machine_self(), signo, info);
    else
        (void)linux_syscall(SYS_tgkill, linux_syscall(SYS_getpid), machine_self(), signo);
}

/*
 * The old handler runs with the mask that the kernel would have given it, except that SIGBUS and SIGSEGV are
 * not blocked: it needs them as soon as it touches managed memory. It runs on the stack of this handler, even
 * if it asked for another one (SA_ONSTACK).
 */
void linux_fault_chain(int signo, siginfo_t *info, void *ucontext)
{
    const struct linux_sigaction *old = signo == SIGBUS ? &fault.old_bus : &fault.old_segv;
    uint64_t mask, all;

    if (old->handler == SIG_DFL || (old->handler == SIG_IGN && info->si_code > 0)) {
        die_of(signo, info);
        return;
    }
    if (old->handler == SIG_IGN)
        return;
    __builtin_memcpy(&mask, &((const ucontext_t *)ucontext)->uc_sigmask, sizeof(mask));
    mask = (mask | old->mask) & ~(LINUX_SIGMASK(SIGBUS) | LINUX_SIGMASK(SIGSEGV));
    linux_sigmask_set(mask, &all);
    if ((old->flags & SA_SIGINFO) != 0)
        old->action(signo, info, ucontext);
    else
        old->handler(signo);
    linux_sigmask_set(all, NULL);
}

static void handler(int signo, siginfo_t *info, void *ucontext)
{
    if (!linux_fault_signal(signo, info, ucontext))
        linux_fault_chain(signo, info, ucontext);
}

int linux_fault_signal_start(struct vm_map *map, const struct linux_machine_params *params)
{
    fault.map = map;
    fault.deliver = params->deliver;
    fault.installed = params->own_signal;
    if (!params->own_signal)
        return 0;
    int error = linux_sigaction_handler(SIGBUS, handler, &fault.old_bus);
    if (error == 0)
        error = linux_sigaction_handler(SIGSEGV, handler, &fault.old_segv);
    return error;
}

void linux_fault_set_deliver(void (*deliver_to)(int signo, siginfo_t *info, void *ucontext, int error))
{
    fault.deliver = deliver_to;
}

/* Puts back what was there, unless the program has installed something else since. */
static void restore(int signo, const struct linux_sigaction *old)
{
    struct linux_sigaction now;

    if (linux_sigaction(signo, NULL, &now) == 0 && now.action == handler &&
        linux_sigaction(signo, old, NULL) != 0)
        machine_panic("the kernel does not take a signal action back that it gave out");
}

void linux_fault_signal_stop(void)
{
    if (fault.installed) {
        restore(SIGBUS, &fault.old_bus);
        restore(SIGSEGV, &fault.old_segv);
    }
    fault.map = NULL;
    fault.installed = false;
}

/* The kernel's set is the first word of libc's. It includes the two signals that glibc's
 * own call leaves out. */
void linux_signals_block(sigset_t *saved)
{
    linux_sigmask_set(LINUX_SIGMASK_ALL, (uint64_t *)saved);
}

void linux_signals_restore(const sigset_t *saved)
{
    linux_sigmask_set(*(const uint64_t *)saved, NULL);
}
