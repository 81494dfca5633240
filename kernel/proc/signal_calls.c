/*
 * signal_calls.c: the system calls about signals. What signals do is signal.c's; the frame, signal_frame.c's.
 *
 * Locks: (P).
 */
#include <linux/errno.h>

#include "kernel.h"
#include "lib/copy.h"
#include "proc/calls.h"
#include "proc/proc.h"
#include "proc/sleep.h"

#define SIG_BLOCK   0
#define SIG_UNBLOCK 1
#define SIG_SETMASK 2

#define MINSIGSTKSZ 2048

/* ---- actions and masks ----------------------------------------------------------------------------- */

int64_t sys_rt_sigaction(const uint64_t arg[6])
{
    int signal = (int)arg[0];
    struct proc *proc = curproc();
    struct sigaction_kernel set, old;

    if (signal < 1 || signal > NSIG || arg[3] != sizeof(sigset))
        return -EINVAL;
    if (arg[1] != 0 && (SIGSET_UNBLOCKABLE & sigbit(signal)) != 0)
        return -EINVAL;
    if (arg[1] != 0 && copyin(arg[1], &set, sizeof(set)) != 0)
        return -EFAULT;
    machine_lock(&proc_lock);
    old = proc->action[signal];
    if (arg[1] != 0) {
        set.mask &= ~SIGSET_UNBLOCKABLE;
        proc->action[signal] = set;
        sigaction_changed_locked(proc, signal);
    }
    machine_unlock(&proc_lock);
    return arg[2] != 0 ? copyout(&old, arg[2], sizeof(old)) : 0;
}

int64_t sys_rt_sigprocmask(const uint64_t arg[6])
{
    const sigset old = curthread()->td_sigmask;
    sigset set;

    if (arg[3] != sizeof(set))
        return -EINVAL;
    if (arg[1] != 0) {
        if (copyin(arg[1], &set, sizeof(set)) != 0)
            return -EFAULT;
        switch ((int)arg[0]) {
        case SIG_BLOCK:
            set_sigmask(old | set);
            break;
        case SIG_UNBLOCK:
            set_sigmask(old & ~set);
            break;
        case SIG_SETMASK:
            set_sigmask(set);
            break;
        default:
            return -EINVAL;
        }
    }
    return arg[2] != 0 ? copyout(&old, arg[2], sizeof(old)) : 0;
}

int64_t sys_rt_sigpending(const uint64_t arg[6])
{
    const struct thread *td = curthread();
    sigset pending;

    if (arg[1] > sizeof(pending))
        return -EINVAL;
    machine_lock(&proc_lock);
    pending = (td->td_sigpending | td->td_proc->pending) & td->td_sigmask;
    machine_unlock(&proc_lock);
    return copyout(&pending, arg[0], arg[1]);
}

int64_t sys_sigaltstack(const uint64_t arg[6])
{
    struct thread *td = curthread();
    const uint64_t sp = thread_frame(td)->rsp;
    bool on = sp > td->td_altstack && sp - td->td_altstack <= td->td_altstack_size;
    struct {
        uint64_t sp;
        int32_t flags, pad;
        uint64_t size;
    } set, old = {td->td_altstack, on ? SS_ONSTACK : 0, 0, td->td_altstack_size};

    if (td->td_altstack_size == 0)
        old.flags = SS_DISABLE;
    if (arg[0] != 0) {
        if (copyin(arg[0], &set, sizeof(set)) != 0)
            return -EFAULT;
        if (on)
            return -EPERM;
        if ((set.flags & ~(SS_DISABLE | SS_ONSTACK)) != 0)
            return -EINVAL;
        if ((set.flags & SS_DISABLE) != 0)
            set.sp = set.size = 0;
        else if (set.size < MINSIGSTKSZ)
            return -ENOMEM;
        td->td_altstack = set.sp;
        td->td_altstack_size = set.size;
        td->td_altstack_flags = (uint32_t)set.flags & SS_DISABLE;
    }
    return arg[1] != 0 ? copyout(&old, arg[1], sizeof(old)) : 0;
}

int64_t sys_rt_sigreturn(const uint64_t arg[6] __attribute__((unused)))
{
    struct trapframe *frame = thread_frame(curthread());
    const struct siginfo_kernel segv = {.signo = SIGSEGV, .code = SI_KERNEL};
    sigset mask;

    if (sigframe_pop(frame, &mask) != 0)
        trapsignal(&segv);
    else
        set_sigmask(mask);
    return (int64_t)frame->rax;
}

/* ---- waiting for signals --------------------------------------------------------------------------- */

/* Waits with another mask until a handler ran. The mask comes back with the handler's frame, or in
 * kernel_ast. */
static int64_t wait_with_mask(sigset mask)
{
    struct thread *td = curthread();
    int error = 0;

    td->td_oldmask = td->td_sigmask;
    td->td_restoremask = true;
    set_sigmask(mask);
    machine_lock(&proc_lock);
    while (error == 0)
        error = sleep_interruptible(&td->td_sigmask, &proc_lock, UINT64_MAX);
    machine_unlock(&proc_lock);
    return -ERESTARTNOHAND;
}

int64_t sys_rt_sigsuspend(const uint64_t arg[6])
{
    sigset mask;

    if (arg[1] != sizeof(mask))
        return -EINVAL;
    if (copyin(arg[0], &mask, sizeof(mask)) != 0)
        return -EFAULT;
    return wait_with_mask(mask);
}

int64_t sys_pause(const uint64_t arg[6] __attribute__((unused)))
{
    return wait_with_mask(curthread()->td_sigmask);
}

/* Returns the signal, or -EAGAIN at the deadline, or -EINTR. */
static int sigtimedwait(sigset wanted, uint64_t deadline_ns, struct siginfo_kernel *info)
{
    struct thread *td = curthread();
    int signal, error = 0;

    machine_lock(&proc_lock);
    td->td_sigwait = wanted;
    while ((signal = sigtake_locked(td, wanted, info)) == 0 && error == 0) {
        error = sleep_interruptible(&td->td_sigwait, &proc_lock, deadline_ns);
        if (error == -ERESTART && !signal_waiting()) {
            thread_clear_interrupt(td); /* one of those that are wanted has come, or has gone again */
            error = 0;
        }
    }
    td->td_sigwait = 0;
    machine_unlock(&proc_lock);
    if (signal != 0)
        return signal;
    return error == -ETIMEDOUT ? -EAGAIN : -EINTR;
}

int64_t sys_rt_sigtimedwait(const uint64_t arg[6])
{
    uint64_t ns, deadline_ns = UINT64_MAX;
    struct siginfo_kernel info;
    unsigned char user[SIGINFO_BYTES];
    sigset wanted;
    int signal;

    if (arg[3] != sizeof(wanted))
        return -EINVAL;
    if (copyin(arg[0], &wanted, sizeof(wanted)) != 0)
        return -EFAULT;
    if (arg[2] != 0) {
        int error = timespec_copyin(arg[2], &ns);

        if (error != 0)
            return error;
        deadline_ns = deadline_after(ns);
    }
    signal = sigtimedwait(wanted & ~SIGSET_UNBLOCKABLE, deadline_ns, &info);
    if (signal > 0 && arg[1] != 0) {
        siginfo_to_user(&info, user);
        if (copyout(user, arg[1], sizeof(user)) != 0)
            return -EFAULT;
    }
    return signal;
}

/* ---- sending --------------------------------------------------------------------------------------- */

static struct siginfo_kernel sender(int signal, int code)
{
    return (struct siginfo_kernel){
        .signo = signal, .code = code, .pid = curproc()->pid, .uid = (int)curproc()->uid};
}

static bool signal_number(int signal)
{
    return signal >= 0 && signal <= NSIG;
}

/* Who is not root sends to his own processes. */
static bool may_signal(const struct proc *to, int signal) FL_REQUIRES(proc_lock)
{
    const struct proc *self = curproc();

    return self->euid == 0 || self->euid == to->uid || self->uid == to->uid ||
           (signal == SIGCONT && self->sid == to->sid);
}

/* To all processes of the group; pgid 0: to all processes but process 1 and the caller. */
static int kill_many(int pgid, int signal)
{
    const struct siginfo_kernel info = sender(signal, SI_USER);
    int error = -ESRCH;

    machine_lock(&proc_lock);
    for (struct proc *proc = proc_next(NULL); proc != NULL; proc = proc_next(proc)) {
        bool wanted = pgid != 0 ? proc->pgid == pgid : proc != proc_init() && proc != curproc();

        if (!wanted)
            continue;
        if (!may_signal(proc, signal)) {
            error = error == -ESRCH ? -EPERM : error;
            continue;
        }
        if (signal != 0)
            psignal_locked(proc, signal, &info);
        error = 0;
    }
    machine_unlock(&proc_lock);
    return error;
}

static int kill_one(int pid, const struct siginfo_kernel *info)
{
    struct proc *proc;
    int error = 0;

    machine_lock(&proc_lock);
    proc = proc_find(pid);
    if (proc == NULL)
        error = -ESRCH;
    else if (!may_signal(proc, info->signo))
        error = -EPERM;
    else if (info->signo != 0)
        error = psignal_queue_locked(proc, info->signo, info);
    machine_unlock(&proc_lock);
    return error;
}

int64_t sys_kill(const uint64_t arg[6])
{
    int pid = (int)arg[0], signal = (int)arg[1];
    const struct siginfo_kernel info = sender(signal, SI_USER);

    if (!signal_number(signal))
        return -EINVAL;
    if (pid > 0)
        return kill_one(pid, &info);
    if (pid == INT32_MIN)
        return -ESRCH;
    return kill_many(pid == 0 ? curproc()->pgid : pid == -1 ? 0 : -pid, signal);
}

static struct thread *thread_of(const struct proc *proc, int tid) FL_REQUIRES(proc_lock)
{
    struct thread *td = proc->threads;

    while (td != NULL && td->td_tid != tid)
        td = td->td_next;
    return td;
}

/* tgid -1: of whatever process. */
static int kill_thread(int tgid, int tid, const struct siginfo_kernel *info)
{
    struct thread *td = NULL;
    int error;

    machine_lock(&proc_lock);
    for (struct proc *proc = proc_next(NULL); td == NULL && proc != NULL; proc = proc_next(proc))
        if (tgid == -1 || proc->pid == tgid)
            td = thread_of(proc, tid);
    if (td == NULL)
        error = -ESRCH;
    else if (!may_signal(td->td_proc, info->signo))
        error = -EPERM;
    else
        error = info->signo != 0 ? tsignal_locked(td, info->signo, info) : 0;
    machine_unlock(&proc_lock);
    return error;
}

int64_t sys_tgkill(const uint64_t arg[6])
{
    const struct siginfo_kernel info = sender((int)arg[2], SI_TKILL);

    if (!signal_number((int)arg[2]) || (int)arg[0] <= 0 || (int)arg[1] <= 0)
        return -EINVAL;
    return kill_thread((int)arg[0], (int)arg[1], &info);
}

int64_t sys_tkill(const uint64_t arg[6])
{
    const struct siginfo_kernel info = sender((int)arg[1], SI_TKILL);

    if (!signal_number((int)arg[1]) || (int)arg[0] <= 0)
        return -EINVAL;
    return kill_thread(-1, (int)arg[0], &info);
}

/* The program's siginfo for the signal, which must not say that the kernel sent it. Errors: -EFAULT,
 * -EINVAL, -EPERM. */
static int siginfo_copyin(uint64_t addr, int signal, bool self, struct siginfo_kernel *info)
{
    unsigned char user[SIGINFO_BYTES];

    if (copyin(addr, user, sizeof(user)) != 0)
        return -EFAULT;
    if (!signal_number(signal))
        return -EINVAL;
    siginfo_from_user(user, info);
    info->signo = signal;
    return !self && (info->code >= 0 || info->code == SI_TKILL) ? -EPERM : 0;
}

int64_t sys_rt_sigqueueinfo(const uint64_t arg[6])
{
    struct siginfo_kernel info;
    int error = siginfo_copyin(arg[2], (int)arg[1], (int)arg[0] == curproc()->pid, &info);

    return error != 0 ? error : kill_one((int)arg[0], &info);
}

int64_t sys_rt_tgsigqueueinfo(const uint64_t arg[6])
{
    struct siginfo_kernel info;
    int error = siginfo_copyin(arg[3], (int)arg[2], (int)arg[0] == curproc()->pid, &info);

    if ((int)arg[0] <= 0 || (int)arg[1] <= 0)
        return -EINVAL;
    return error != 0 ? error : kill_thread((int)arg[0], (int)arg[1], &info);
}
