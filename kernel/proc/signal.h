/*
 * signal.h: signals: their numbers and structures as programs see them on Linux x86-64, and the parts of the
 * kernel that only kernel/proc calls.
 *
 *   psignal_locked ─▶ pending, queue (of the process, or of a thread) ─▶ a thread wakes ─▶ kernel_ast
 *                                                                             └▶ sigframe_push, stop, end
 *
 * A signal below SIGRTMIN is pending once, however often it is sent; real-time signals queue. What is told of
 * a signal lies in the queue; where there was no memory for it, the signal comes without.
 */
#ifndef KERNEL_PROC_SIGNAL_H
#define KERNEL_PROC_SIGNAL_H

#include <faultline/machine.h>

#define NSIG     64 /* signals are 1 … NSIG */
#define SIGRTMIN 32

#define SIGHUP    1
#define SIGINT    2
#define SIGQUIT   3
#define SIGILL    4
#define SIGTRAP   5
#define SIGABRT   6
#define SIGBUS    7
#define SIGFPE    8
#define SIGKILL   9
#define SIGUSR1   10
#define SIGSEGV   11
#define SIGUSR2   12
#define SIGPIPE   13
#define SIGALRM   14
#define SIGTERM   15
#define SIGCHLD   17
#define SIGCONT   18
#define SIGSTOP   19
#define SIGTSTP   20
#define SIGTTIN   21
#define SIGTTOU   22
#define SIGURG    23
#define SIGXCPU   24
#define SIGXFSZ   25
#define SIGVTALRM 26
#define SIGPROF   27
#define SIGWINCH  28
#define SIGIO     29
#define SIGPWR    30
#define SIGSYS    31

#define SIG_DFL 0
#define SIG_IGN 1

#define SA_NOCLDSTOP UINT64_C(0x00000001)
#define SA_NOCLDWAIT UINT64_C(0x00000002)
#define SA_SIGINFO   UINT64_C(0x00000004)
#define SA_RESTORER  UINT64_C(0x04000000)
#define SA_ONSTACK   UINT64_C(0x08000000)
#define SA_RESTART   UINT64_C(0x10000000)
#define SA_NODEFER   UINT64_C(0x40000000)
#define SA_RESETHAND UINT64_C(0x80000000)

#define SS_ONSTACK 1
#define SS_DISABLE 2

/* siginfo_kernel.code */
#define SI_USER       0
#define SI_KERNEL     0x80
#define SI_QUEUE      (-1)
#define SI_TKILL      (-6)
#define ILL_ILLOPN    2
#define FPE_INTDIV    1
#define FPE_FLTINV    7
#define SEGV_MAPERR   1
#define SEGV_ACCERR   2
#define BUS_ADRALN    1
#define BUS_ADRERR    2
#define TRAP_BRKPT    1
#define TRAP_TRACE    2
#define CLD_EXITED    1
#define CLD_KILLED    2
#define CLD_STOPPED   5
#define CLD_CONTINUED 6

typedef uint64_t sigset; /* bit signal - 1 */
static inline sigset sigbit(int signal)
{
    return UINT64_C(1) << (signal - 1);
}
/* What no program can block, catch or ignore. */
#define SIGSET_UNBLOCKABLE (sigbit(SIGKILL) | sigbit(SIGSTOP))

struct sigaction_kernel { /* the layout of the ABI's */
    uint64_t handler;
    uint64_t flags;
    uint64_t restorer;
    uint64_t mask;
};

struct siginfo_kernel { /* what is told of a signal */
    int signo, code, error;
    uint64_t addr;        /* of faults */
    int pid, uid, status; /* of SIGCHLD, kill */
    uint64_t value;       /* of sigqueue */
};

/* A pending signal of which something is told. */
struct sigqueue {
    struct sigqueue *next;
    struct siginfo_kernel info;
};

struct proc;
struct thread;
struct trapframe;

extern struct machine_lock proc_lock;

/* ---- signal.c -------------------------------------------------------------------------------------- */

/* Sends a signal to one thread of its process. Errors: -EAGAIN, its queue is full (real-time signals). */
int tsignal_locked(struct thread *td, int signal, const struct siginfo_kernel *info) FL_REQUIRES(proc_lock);
/* psignal_locked with that answer. */
int psignal_queue_locked(struct proc *proc, int signal, const struct siginfo_kernel *info)
    FL_REQUIRES(proc_lock);
/* The calling thread's program has done what the signal says, and goes on nowhere else: it takes the signal
 * even if it blocks or ignores it, which ends it. */
void trapsignal(const struct siginfo_kernel *info);
/* The process ends by the signal: its threads end when they notice. */
void proc_kill_locked(struct proc *proc, int signal) FL_REQUIRES(proc_lock);
/* The calling thread has another mask from now on. What it blocks now, others may take. */
void set_sigmask(sigset mask);
/*
 * Takes a signal of `wanted` that is pending for the calling thread, faults first, then the lowest number.
 * Returns it; 0: none is.
 */
FL_NODISCARD int sigtake_locked(struct thread *td, sigset wanted, struct siginfo_kernel *info)
    FL_REQUIRES(proc_lock);
/* Forgets pending signals: of the process, and of the thread (NULL: of none). */
void sigflush_locked(struct proc *proc, struct thread *td, sigset which) FL_REQUIRES(proc_lock);
/* The calling thread leaves its process, which goes on: others may take what this one was to take. */
void thread_forget_signals_locked(struct thread *td) FL_REQUIRES(proc_lock);
/* The signal's action changed: if it ignores the signal now, pending ones are forgotten. */
void sigaction_changed_locked(struct proc *proc, int signal) FL_REQUIRES(proc_lock);
/* exec: handlers belong to the old program. */
void sigacts_exec_locked(struct proc *proc) FL_REQUIRES(proc_lock);
/* The parent is told that the process stopped, goes on, or ended (code: CLD_*). */
void proc_tell_parent_locked(struct proc *proc, int signal, int code, int status) FL_REQUIRES(proc_lock);
/* The thread wakes from an interruptible sleep, and looks at kernel_ast before it returns to its program. */
void thread_kick(struct thread *td);

/* ---- signal_frame.c -------------------------------------------------------------------------------- */

/* The program will run the action's handler. `mask` is what the handler's end brings back. Errors: -EFAULT,
 * its stack cannot be written, or the handler is no address. */
FL_NODISCARD int sigframe_push(struct trapframe *frame, const struct sigaction_kernel *action,
                               const struct siginfo_kernel *info, sigset mask);
/* rt_sigreturn: the registers and *mask are those of before the handler. Errors: -EFAULT. */
FL_NODISCARD int sigframe_pop(struct trapframe *frame, sigset *mask);
/* The ABI's siginfo, 128 bytes. */
#define SIGINFO_BYTES 128
void siginfo_to_user(const struct siginfo_kernel *info, void *siginfo);
void siginfo_from_user(const void *siginfo, struct siginfo_kernel *info);

#endif
