/*
 * signal.c: sending signals, and taking them before a thread returns to its program.
 *
 *   psignal_locked ─▶ ignored? ─▶ pending (+ queue) ─▶ a thread that does not block it is kicked
 *                                                                 │
 *   kernel_ast ◀──────────────────────────────────────────────────┘
 *     process ends ──▶ exit_thread          default: end, stop, nothing
 *     stopped ──▶ waits for SIGCONT         handler ──▶ sigframe_push; a call that was interrupted: again, or
 *                                                       -EINTR
 *
 * Invariants: a thread that could take a pending signal was kicked after the signal became pending, and after
 * its mask last changed. Kicking is thread_interrupt and thread_signal_ast, so that neither a sleep nor the
 * program keeps it from kernel_ast.
 *
 * Process 1 gets no signal whose action is the default, but for faults of its own.
 *
 * Locks: (P).
 * Does not do: orphaned groups, whose members should not stop by the terminal; core files.
 */
#include "proc/signal.h"

#include <linux/errno.h>

#include "kernel.h"
#include "kmem.h"
#include "proc/proc.h"
#include "proc/sleep.h"

#define SIGSET_FAULTS                                                                                        \
    (sigbit(SIGSEGV) | sigbit(SIGBUS) | sigbit(SIGILL) | sigbit(SIGTRAP) | sigbit(SIGFPE) | sigbit(SIGSYS))
#define SIGSET_STOPS (sigbit(SIGSTOP) | sigbit(SIGTSTP) | sigbit(SIGTTIN) | sigbit(SIGTTOU))
/* The default is to do nothing. */
#define SIGSET_QUIET (sigbit(SIGCHLD) | sigbit(SIGCONT) | sigbit(SIGURG) | sigbit(SIGWINCH))

#define QUEUE_MAX 1024 /* per process */

void thread_kick(struct thread *td)
{
    thread_interrupt(td);
    thread_signal_ast(td);
}

static void proc_kick_locked(struct proc *proc) FL_REQUIRES(proc_lock)
{
    for (struct thread *td = proc->threads; td != NULL; td = td->td_next)
        thread_kick(td);
}

bool signal_waiting(void)
{
    const struct thread *td = curthread();
    const struct proc *proc = td->td_proc;
    sigset pending;

    if (proc == NULL)
        return false;
    pending = __atomic_load_n(&td->td_sigpending, __ATOMIC_RELAXED) |
              __atomic_load_n(&proc->pending, __ATOMIC_RELAXED);
    return (pending & ~td->td_sigmask) != 0 || __atomic_load_n(&proc->exiting, __ATOMIC_RELAXED) ||
           __atomic_load_n(&proc->state, __ATOMIC_RELAXED) == PROC_STOPPED ||
           (proc->exec_thread != NULL && proc->exec_thread != td);
}

/* ---- what is pending ------------------------------------------------------------------------------- */

/* Errors: -EAGAIN: a real-time signal that is pending already could not be queued once more. */
static int sigpend_locked(struct proc *proc, sigset *pending, struct sigqueue **queue, int signal,
                          const struct siginfo_kernel *info) FL_REQUIRES(proc_lock)
{
    bool was_pending = (*pending & sigbit(signal)) != 0;
    struct sigqueue *q;

    if (was_pending && signal < SIGRTMIN)
        return 0;
    *pending |= sigbit(signal);
    if (info == NULL)
        return 0;
    q = proc->nqueued < QUEUE_MAX ? kmalloc(sizeof(*q)) : NULL;
    if (q == NULL)
        return was_pending ? -EAGAIN : 0;
    q->info = *info;
    while (*queue != NULL)
        queue = &(*queue)->next;
    *queue = q;
    proc->nqueued++;
    return 0;
}

/* Takes the signal, which is pending there, out. */
static void sigpend_take_locked(struct proc *proc, sigset *pending, struct sigqueue **queue, int signal,
                                struct siginfo_kernel *info) FL_REQUIRES(proc_lock)
{
    struct sigqueue *q;

    *info = (struct siginfo_kernel){.signo = signal, .code = SI_KERNEL};
    *pending &= ~sigbit(signal);
    while (*queue != NULL && (*queue)->info.signo != signal)
        queue = &(*queue)->next;
    if (*queue == NULL)
        return;
    q = *queue;
    *info = q->info;
    *queue = q->next;
    proc->nqueued--;
    kfree(q);
    for (q = *queue; q != NULL; q = q->next)
        if (q->info.signo == signal)
            *pending |= sigbit(signal);
}

static void sigpend_flush_locked(struct proc *proc, sigset *pending, struct sigqueue **queue, sigset which)
    FL_REQUIRES(proc_lock)
{
    *pending &= ~which;
    while (*queue != NULL) {
        struct sigqueue *q = *queue;

        if ((which & sigbit(q->info.signo)) != 0) {
            *queue = q->next;
            proc->nqueued--;
            kfree(q);
        } else {
            queue = &q->next;
        }
    }
}

void sigflush_locked(struct proc *proc, struct thread *td, sigset which)
{
    sigpend_flush_locked(proc, &proc->pending, &proc->queue, which);
    if (td != NULL)
        sigpend_flush_locked(proc, &td->td_sigpending, &td->td_sigqueue, which);
}

static int first_signal(sigset set)
{
    if ((set & SIGSET_FAULTS) != 0)
        set &= SIGSET_FAULTS;
    return set == 0 ? 0 : __builtin_ctzll(set) + 1;
}

int sigtake_locked(struct thread *td, sigset wanted, struct siginfo_kernel *info)
{
    struct proc *proc = td->td_proc;
    int signal = first_signal(td->td_sigpending & wanted);

    if (signal != 0) {
        sigpend_take_locked(proc, &td->td_sigpending, &td->td_sigqueue, signal, info);
        return signal;
    }
    signal = first_signal(proc->pending & wanted);
    if (signal != 0)
        sigpend_take_locked(proc, &proc->pending, &proc->queue, signal, info);
    return signal;
}

/* ---- sending --------------------------------------------------------------------------------------- */

static bool action_ignores(const struct proc *proc, int signal) FL_REQUIRES(proc_lock)
{
    uint64_t handler = proc->action[signal].handler;

    return handler == SIG_IGN ||
           (handler == SIG_DFL && ((SIGSET_QUIET & sigbit(signal)) != 0 || proc == proc_init()));
}

/* Who blocks a signal may want it later. td NULL: any thread of the process. */
static bool signal_ignored(const struct proc *proc, const struct thread *td, int signal)
    FL_REQUIRES(proc_lock)
{
    if (!action_ignores(proc, signal))
        return false;
    if (td != NULL)
        return (td->td_sigmask & sigbit(signal)) == 0;
    for (td = proc->threads; td != NULL; td = td->td_next)
        if ((td->td_sigmask & sigbit(signal)) != 0)
            return false;
    return true;
}

/* Kicks the oldest thread that can take one of the signals; each of them is pending for the process. */
static void signal_notify_locked(struct proc *proc, sigset signals) FL_REQUIRES(proc_lock)
{
    struct thread *taker = NULL;

    for (struct thread *td = proc->threads; td != NULL; td = td->td_next)
        if ((signals & (~td->td_sigmask | td->td_sigwait)) != 0)
            taker = td;
    if (taker != NULL)
        thread_kick(taker);
}

static void proc_continue_locked(struct proc *proc) FL_REQUIRES(proc_lock)
{
    sigflush_locked(proc, NULL, SIGSET_STOPS);
    for (struct thread *td = proc->threads; td != NULL; td = td->td_next)
        sigpend_flush_locked(proc, &td->td_sigpending, &td->td_sigqueue, SIGSET_STOPS);
    if (proc->state != PROC_STOPPED)
        return;
    proc->state = PROC_ALIVE;
    proc->report = REPORT_CONTINUED;
    machine_wake(&proc->state);
    proc_tell_parent_locked(proc, SIGCHLD, CLD_CONTINUED, SIGCONT);
}

static int signal_send_locked(struct proc *proc, struct thread *td, int signal,
                              const struct siginfo_kernel *info) FL_REQUIRES(proc_lock)
{
    int error;

    if (proc->state == PROC_ZOMBIE || proc->exiting)
        return 0;
    if (signal == SIGKILL) {
        if (proc != proc_init())
            proc_kill_locked(proc, SIGKILL);
        return 0;
    }
    if (signal == SIGCONT)
        proc_continue_locked(proc);
    if ((SIGSET_STOPS & sigbit(signal)) != 0)
        sigflush_locked(proc, td, sigbit(SIGCONT));
    if (signal_ignored(proc, td, signal))
        return 0;
    if (td == NULL) {
        error = sigpend_locked(proc, &proc->pending, &proc->queue, signal, info);
        signal_notify_locked(proc, sigbit(signal));
        return error;
    }
    error = sigpend_locked(proc, &td->td_sigpending, &td->td_sigqueue, signal, info);
    if ((sigbit(signal) & (~td->td_sigmask | td->td_sigwait)) != 0)
        thread_kick(td);
    return error;
}

int psignal_queue_locked(struct proc *proc, int signal, const struct siginfo_kernel *info)
{
    return signal_send_locked(proc, NULL, signal, info);
}

void psignal_locked(struct proc *proc, int signal, const struct siginfo_kernel *info)
{
    /* A full queue loses what is told, and not the signal: it is pending then. */
    (void)signal_send_locked(proc, NULL, signal, info);
}

int tsignal_locked(struct thread *td, int signal, const struct siginfo_kernel *info)
{
    return signal_send_locked(td->td_proc, td, signal, info);
}

void psignal(struct proc *proc, int signal)
{
    machine_lock(&proc_lock);
    psignal_locked(proc, signal, NULL);
    machine_unlock(&proc_lock);
}

int pgsignal(int pgid, int signal)
{
    int error = -ESRCH;

    machine_lock(&proc_lock);
    for (struct proc *proc = proc_next(NULL); proc != NULL; proc = proc_next(proc)) {
        if (proc->pgid != pgid || proc->state == PROC_ZOMBIE)
            continue;
        psignal_locked(proc, signal, NULL);
        error = 0;
    }
    machine_unlock(&proc_lock);
    return error;
}

void proc_kill_locked(struct proc *proc, int signal)
{
    if (proc->exiting)
        return;
    proc->exiting = true;
    proc->status = signal;
    if (proc->state == PROC_STOPPED)
        proc->state = PROC_ALIVE;
    machine_wake(&proc->state);
    proc_kick_locked(proc);
}

void proc_tell_parent_locked(struct proc *proc, int signal, int code, int status)
{
    struct proc *parent = proc->parent;
    const struct siginfo_kernel info = {
        .signo = signal, .code = code, .pid = proc->pid, .uid = (int)proc->uid, .status = status};
    bool lives = code == CLD_STOPPED || code == CLD_CONTINUED;

    if (parent == NULL)
        return;
    if (signal != 0 && !(lives && (parent->action[SIGCHLD].flags & SA_NOCLDSTOP) != 0))
        psignal_locked(parent, signal, &info);
    machine_wake(parent);
}

/* The signal is pending for the thread, which will take it whatever it wanted. */
static void force_signal_locked(struct thread *td, const struct siginfo_kernel *info, bool end)
    FL_REQUIRES(proc_lock)
{
    struct proc *proc = td->td_proc;
    int signal = info->signo;
    bool blocked = (td->td_sigmask & sigbit(signal)) != 0;

    if (end || blocked || proc->action[signal].handler == SIG_IGN)
        proc->action[signal] = (struct sigaction_kernel){.handler = SIG_DFL};
    td->td_sigmask &= ~sigbit(signal);
    (void)sigpend_locked(proc, &td->td_sigpending, &td->td_sigqueue, signal, info); /* no real-time signal */
    thread_kick(td);
}

void trapsignal(const struct siginfo_kernel *info)
{
    machine_lock(&proc_lock);
    force_signal_locked(curthread(), info, false);
    machine_unlock(&proc_lock);
}

/* ---- masks and actions ----------------------------------------------------------------------------- */

void set_sigmask(sigset mask)
{
    struct thread *td = curthread();
    struct proc *proc = td->td_proc;
    sigset blocked;

    machine_lock(&proc_lock);
    blocked = mask & ~td->td_sigmask;
    td->td_sigmask = mask & ~SIGSET_UNBLOCKABLE;
    if ((proc->pending & blocked) != 0 && proc->nthreads > 1)
        signal_notify_locked(proc, proc->pending & blocked);
    if (((td->td_sigpending | proc->pending) & ~td->td_sigmask) != 0)
        thread_signal_ast(td);
    machine_unlock(&proc_lock);
}

void thread_forget_signals_locked(struct thread *td)
{
    struct proc *proc = td->td_proc;

    sigpend_flush_locked(proc, &td->td_sigpending, &td->td_sigqueue, ~UINT64_C(0));
    td->td_sigmask = ~UINT64_C(0);
    td->td_sigwait = 0;
    if (proc->pending != 0)
        signal_notify_locked(proc, proc->pending);
}

void sigaction_changed_locked(struct proc *proc, int signal)
{
    if (!action_ignores(proc, signal))
        return;
    sigflush_locked(proc, NULL, sigbit(signal));
    for (struct thread *td = proc->threads; td != NULL; td = td->td_next)
        sigpend_flush_locked(proc, &td->td_sigpending, &td->td_sigqueue, sigbit(signal));
}

void sigacts_exec_locked(struct proc *proc)
{
    for (int signal = 1; signal <= NSIG; signal++) {
        bool ignored = proc->action[signal].handler == SIG_IGN;

        proc->action[signal] = (struct sigaction_kernel){.handler = ignored ? SIG_IGN : SIG_DFL};
    }
}

/* ---- taking ---------------------------------------------------------------------------------------- */

/* The process stops; its threads wait in kernel_ast. */
static void proc_stop_locked(struct proc *proc, int signal) FL_REQUIRES(proc_lock)
{
    proc->state = PROC_STOPPED;
    proc->stop_signal = signal;
    proc->report = REPORT_STOPPED;
    proc_kick_locked(proc);
    proc_tell_parent_locked(proc, SIGCHLD, CLD_STOPPED, signal);
}

/* Is the frame that of a call which a signal ended before it began? */
static bool frame_restarts(const struct trapframe *frame, int64_t how)
{
    return frame->trapno == T_SYSCALL && (int64_t)frame->rax == -how;
}

/* The call is made again: back to the instruction, with its number, which kernel_syscall left in `err`. */
static void frame_restart(struct trapframe *frame)
{
    frame->rax = frame->err;
    frame->rip -= 2;
}

static void frame_restart_for(struct trapframe *frame, const struct sigaction_kernel *action)
{
    bool again = frame_restarts(frame, ERESTART) && (action->flags & SA_RESTART) != 0;

    curthread()->td_sleep_until = 0;
    if (again)
        frame_restart(frame);
    else if (frame_restarts(frame, ERESTART) || frame_restarts(frame, ERESTARTNOHAND))
        frame->rax = (uint64_t)-EINTR;
}

static void signal_handle(struct trapframe *frame, const struct sigaction_kernel *action,
                          const struct siginfo_kernel *info)
{
    struct thread *td = curthread();
    sigset back = td->td_restoremask ? td->td_oldmask : td->td_sigmask;
    const struct siginfo_kernel segv = {.signo = SIGSEGV, .code = SI_KERNEL};

    td->td_restoremask = false;
    frame_restart_for(frame, action);
    if (sigframe_push(frame, action, info, back) == 0) {
        set_sigmask(td->td_sigmask | action->mask |
                    ((action->flags & SA_NODEFER) != 0 ? 0 : sigbit(info->signo)));
        return;
    }
    machine_lock(&proc_lock);
    force_signal_locked(td, &segv, info->signo == SIGSEGV);
    machine_unlock(&proc_lock);
}

/* What kernel_ast has to do after (P) is released. */
enum ast {
    AST_AGAIN,
    AST_DONE,
    AST_HANDLE,
    AST_END_THREAD,
    AST_END_PROCESS,
};

static enum ast ast_signal_locked(struct thread *td, struct sigaction_kernel *action,
                                  struct siginfo_kernel *info) FL_REQUIRES(proc_lock)
{
    struct proc *proc = td->td_proc;
    int signal = sigtake_locked(td, ~td->td_sigmask, info);

    if (signal == 0) {
        if (!td->td_restoremask)
            return AST_DONE;
        td->td_sigmask = td->td_oldmask;
        td->td_restoremask = false;
        return AST_AGAIN;
    }
    *action = proc->action[signal];
    if (action->handler != SIG_DFL && action->handler != SIG_IGN) {
        if ((action->flags & SA_RESETHAND) != 0)
            proc->action[signal].handler = SIG_DFL;
        return AST_HANDLE;
    }
    if (action_ignores(proc, signal) && (SIGSET_FAULTS & sigbit(signal)) == 0)
        return AST_AGAIN;
    if ((SIGSET_STOPS & sigbit(signal)) == 0)
        return AST_END_PROCESS;
    proc_stop_locked(proc, signal);
    return AST_AGAIN;
}

static enum ast ast_locked(struct thread *td, struct sigaction_kernel *action, struct siginfo_kernel *info)
    FL_REQUIRES(proc_lock)
{
    struct proc *proc = td->td_proc;

    thread_clear_interrupt(td);
    if (proc->exiting || (proc->exec_thread != NULL && proc->exec_thread != td))
        return AST_END_THREAD;
    if (proc->state != PROC_STOPPED)
        return ast_signal_locked(td, action, info);
    (void)machine_wait(&proc->state, &proc_lock, UINT64_MAX);
    return AST_AGAIN;
}

/* Most calls of kernel_ast come from the end of a slice, and have nothing to do. */
static bool ast_idle(const struct thread *td, const struct trapframe *frame)
{
    return td->td_proc == NULL ||
           (!signal_waiting() && !td->td_restoremask && !frame_restarts(frame, ERESTART) &&
            !frame_restarts(frame, ERESTARTNOHAND));
}

void kernel_ast(struct trapframe *frame)
{
    struct thread *td = curthread();
    struct sigaction_kernel action;
    struct siginfo_kernel info;
    enum ast todo;

    if (ast_idle(td, frame))
        return;
    do {
        machine_lock(&proc_lock);
        todo = ast_locked(td, &action, &info);
        machine_unlock(&proc_lock);
        if (todo == AST_HANDLE)
            signal_handle(frame, &action, &info);
        else if (todo == AST_END_THREAD)
            exit_thread(0);
        else if (todo == AST_END_PROCESS)
            exit_process(info.signo);
    } while (todo != AST_DONE);
    if (frame_restarts(frame, ERESTART) || frame_restarts(frame, ERESTARTNOHAND))
        frame_restart(frame);
}
