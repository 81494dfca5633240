/*
 * exit.c: how threads and processes end, and how parents hear of it.
 *
 *   exit_process ─▶ proc.exiting, all threads kicked
 *   exit_thread ─┬─ not the last: robust list, clear_child_tid; buried
 *                └─ the last: files, space given back ─▶ ZOMBIE, children to process 1, parent told ─▶ buried
 *   wait4 ─▶ the zombie's status; proc_free            threads_reap (proc.c) frees the buried threads
 *
 * An exit needs no memory, so that a process which is ended for want of memory can end: what it tells its
 * program's memory (the robust list, clear_child_tid) may fail there, and a fault of a process that ends does
 * not wait for a page (kernel_page_fault).
 *
 * Locks: (P); nothing else is held while files and the space are given back.
 * Does not do: SIGHUP to the terminal's group when its session's leader ends.
 */
#include <linux/errno.h>

#include "fs/file.h"
#include "kernel.h"
#include "lib/copy.h"
#include "proc/calls.h"
#include "proc/proc.h"
#include "proc/sleep.h"

/* wait4 and waitid */
#define WNOHANG    0x1
#define WUNTRACED  0x2 /* WSTOPPED of waitid */
#define WEXITED    0x4
#define WCONTINUED 0x8
#define WNOWAIT    0x1000000
#define WKINDS     0xe0000000u /* __WALL, __WCLONE, __WNOTHREAD: all children are waited for in any case */

#define P_ALL  0
#define P_PID  1
#define P_PGID 2

/* ---- robust mutexes -------------------------------------------------------------------------------- */

#define FUTEX_WAITERS    0x80000000u
#define FUTEX_OWNER_DIED 0x40000000u
#define FUTEX_TID_MASK   0x3fffffffu
#define ROBUST_MAX       2048 /* entries of a list, which may be a circle (ROBUST_LIST_LIMIT, Linux) */

struct robust_head { /* (struct robust_list_head, Linux) */
    uint64_t next;
    int64_t futex_offset;
    uint64_t pending;
};

/* The mutex that the list's entry is part of is the next one's who takes it. */
static void robust_release(const struct thread *td, uint64_t word)
{
    uint32_t value, seen, died;

    if ((word & 3) != 0 || copyin(word, &value, sizeof(value)) != 0)
        return;
    do { /* again when another thread has said meanwhile that it waits: the mutex is ours */
        if ((value & FUTEX_TID_MASK) != (uint32_t)td->td_tid)
            return;
        seen = value;
        died = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        if (casuword(word, &value, died) != 0)
            return;
    } while (value != seen);
    if ((died & FUTEX_WAITERS) != 0)
        futex_wake_address(word, 1);
}

static void robust_list_exit(const struct thread *td)
{
    const uint64_t list = td->td_robust_list;
    struct robust_head head;
    uint64_t entry;

    if (list == 0 || copyin(list, &head, sizeof(head)) != 0)
        return;
    entry = head.next;
    for (int n = 0; n < ROBUST_MAX && (entry & ~UINT64_C(1)) != list; n++) {
        uint64_t next;
        bool more = copyin(entry & ~UINT64_C(1), &next, sizeof(next)) == 0;

        if (entry != head.pending)
            robust_release(td, (entry & ~UINT64_C(1)) + (uint64_t)head.futex_offset);
        if (!more)
            break;
        entry = next;
    }
    if (head.pending != 0)
        robust_release(td, (head.pending & ~UINT64_C(1)) + (uint64_t)head.futex_offset);
}

/* What the program is told of the thread's end, in its memory. */
static void thread_tell_program(struct thread *td)
{
    struct proc *proc = td->td_proc;
    const uint32_t zero = 0;

    if (proc->map == NULL || (td->td_robust_list == 0 && td->td_clear_child_tid == 0))
        return;
    robust_list_exit(td);
    if (td->td_clear_child_tid != 0 && (proc->nthreads > 1 || proc->vmspace->refs > 1)) {
        if (copyout(&zero, td->td_clear_child_tid, sizeof(zero)) == 0)
            futex_wake_address(td->td_clear_child_tid, 1);
    }
}

/* ---- the end of a process -------------------------------------------------------------------------- */

void vfork_done_locked(struct proc *proc)
{
    if (proc->vfork == NULL)
        return;
    proc->vfork->done = true;
    machine_wake(proc->vfork);
    proc->vfork = NULL;
}

/* The process has one thread, which is the caller; its program will not run again. */
static void proc_give_back(struct proc *proc)
{
    struct vmspace *vm;

    if (proc->fd != NULL)
        filedesc_put(proc->fd);
    if (proc->fs != NULL)
        fs_context_put(proc->fs);
    if (proc->exe != NULL)
        fput(proc->exe);
    proc->fd = NULL;
    proc->fs = NULL;
    proc->exe = NULL;
    machine_lock(&proc_lock);
    vm = proc->vmspace;
    proc->vmspace = NULL;
    proc->map = NULL;
    vfork_done_locked(proc);
    machine_unlock(&proc_lock);
    if (vm != NULL)
        vmspace_put(vm);
}

/* Process 1 is the parent of who has lost his. */
static void proc_reparent_locked(struct proc *proc) FL_REQUIRES(proc_lock)
{
    struct proc *init = proc_init();

    while (proc->children != NULL) {
        struct proc *child = proc->children;

        proc->children = child->sibling;
        child->parent = init;
        child->sibling = init->children;
        init->children = child;
        child->exit_signal = SIGCHLD;
        if (child->state == PROC_ZOMBIE)
            proc_tell_parent_locked(child, SIGCHLD, CLD_EXITED, 0);
    }
}

/* Returns whether no parent will wait for the process: then it is in the table no more. */
static bool proc_zombie_locked(struct proc *proc) FL_REQUIRES(proc_lock)
{
    const struct sigaction_kernel *action = &proc->parent->action[SIGCHLD];
    bool killed = (proc->status & 0x7f) != 0;
    bool alone =
        proc->exit_signal == SIGCHLD && (action->handler == SIG_IGN || (action->flags & SA_NOCLDWAIT) != 0);

    proc_reparent_locked(proc);
    sigflush_locked(proc, proc->threads, ~UINT64_C(0));
    proc->alarm_ns = 0;
    proc->state = PROC_ZOMBIE;
    proc_tell_parent_locked(proc, proc->exit_signal, killed ? CLD_KILLED : CLD_EXITED,
                            killed ? proc->status & 0x7f : proc->status >> 8);
    if (alone)
        proc_remove_locked(proc);
    return alone;
}

static _Noreturn void proc_exit(struct thread *td)
{
    struct proc *proc = td->td_proc;
    bool alone;

    if (proc == proc_init())
        init_exited(proc->status);
    proc_give_back(proc);
    machine_lock(&proc_lock);
    alone = proc_zombie_locked(proc);
    proc->time_ns += thread_time_ns(td);
    thread_bury_locked(td);
    td->td_proc = NULL;
    machine_unlock(&proc_lock);
    if (alone)
        proc_free(proc);
    thread_exit();
}

void exit_thread(int status)
{
    struct thread *td = curthread();
    struct proc *proc = td->td_proc;

    thread_tell_program(td);
    thread_set_space(NULL); /* before it is buried: the last thread may give the space back at once */
    machine_lock(&proc_lock);
    if (proc->nthreads == 1) {
        if (!proc->exiting)
            proc->status = status;
        proc->exiting = true;
        machine_unlock(&proc_lock);
        proc_exit(td);
    }
    thread_forget_signals_locked(td);
    proc->time_ns += thread_time_ns(td);
    thread_bury_locked(td);
    machine_wake(&proc->nthreads);
    td->td_proc = NULL;
    machine_unlock(&proc_lock);
    thread_exit();
}

void exit_process(int status)
{
    struct proc *proc = curproc();

    machine_lock(&proc_lock);
    if (!proc->exiting) {
        proc->exiting = true;
        proc->status = status;
        for (struct thread *td = proc->threads; td != NULL; td = td->td_next)
            if (td != curthread())
                thread_kick(td);
    }
    machine_unlock(&proc_lock);
    exit_thread(status);
}

int64_t sys_exit(const uint64_t arg[6])
{
    exit_thread((int)(arg[0] & 0xff) << 8);
}

int64_t sys_exit_group(const uint64_t arg[6])
{
    exit_process((int)(arg[0] & 0xff) << 8);
}

/* ---- waiting for children -------------------------------------------------------------------------- */

struct wait {
    int idtype, id; /* P_* */
    unsigned options;
    int pid, uid, code, status; /* what was found: CLD_*, and the exit status or the signal */
    int wstatus;                /* the same, as wait4 has it */
    uint64_t time_ns;
};

static bool wait_wants(const struct wait *w, const struct proc *child) FL_REQUIRES(proc_lock)
{
    switch (w->idtype) {
    case P_PID:
        return child->pid == w->id;
    case P_PGID:
        return child->pgid == w->id;
    default:
        return true;
    }
}

/* Has the child something to tell? */
static bool wait_event_locked(struct wait *w, struct proc *child) FL_REQUIRES(proc_lock)
{
    w->pid = child->pid;
    w->uid = (int)child->uid;
    if (child->state == PROC_ZOMBIE && (w->options & WEXITED) != 0) {
        w->wstatus = child->status;
        w->code = (child->status & 0x7f) != 0 ? CLD_KILLED : CLD_EXITED;
        w->status = (child->status & 0x7f) != 0 ? child->status & 0x7f : child->status >> 8;
        w->time_ns = child->time_ns + child->child_time_ns;
        return true;
    }
    if (child->report == REPORT_STOPPED && (w->options & WUNTRACED) != 0) {
        w->wstatus = child->stop_signal << 8 | 0x7f;
        w->code = CLD_STOPPED;
        w->status = child->stop_signal;
        return true;
    }
    if (child->report == REPORT_CONTINUED && (w->options & WCONTINUED) != 0) {
        w->wstatus = 0xffff;
        w->code = CLD_CONTINUED;
        w->status = SIGCONT;
        return true;
    }
    return false;
}

/* *dead: the child, which left the table and is the caller's to free. Returns 1: found; 0: not yet; or
 * -ECHILD. */
static int wait_once_locked(struct wait *w, struct proc **dead) FL_REQUIRES(proc_lock)
{
    struct proc *self = curproc();
    bool any = false;

    for (struct proc *child = self->children; child != NULL; child = child->sibling) {
        if (!wait_wants(w, child))
            continue;
        any = true;
        if (!wait_event_locked(w, child))
            continue;
        if ((w->options & WNOWAIT) != 0)
            return 1;
        child->report = REPORT_NONE;
        if (child->state == PROC_ZOMBIE) {
            self->child_time_ns += w->time_ns;
            proc_remove_locked(child);
            *dead = child;
        }
        return 1;
    }
    return any ? 0 : -ECHILD;
}

/* Returns 1: found; 0: nothing yet, with WNOHANG; or -ECHILD, -ERESTART. */
static int wait_child(struct wait *w)
{
    struct proc *dead = NULL;
    int found;

    machine_lock(&proc_lock);
    while ((found = wait_once_locked(w, &dead)) == 0 && (w->options & WNOHANG) == 0) {
        int error = sleep_interruptible(curproc(), &proc_lock, UINT64_MAX);

        if (error != 0) {
            found = error;
            break;
        }
    }
    machine_unlock(&proc_lock);
    if (dead != NULL) {
        proc_free(dead);
        threads_reap();
    }
    return found;
}

int64_t sys_wait4(const uint64_t arg[6])
{
    int pid = (int)arg[0];
    struct wait w = {.options = (unsigned)arg[2] | WEXITED};
    int found;

    if (((unsigned)arg[2] & ~(WNOHANG | WUNTRACED | WCONTINUED | WKINDS)) != 0)
        return -EINVAL;
    if (pid == INT32_MIN)
        return -ESRCH;
    w.idtype = pid == -1 ? P_ALL : pid > 0 ? P_PID : P_PGID;
    w.id = pid > 0 ? pid : pid == 0 ? curproc()->pgid : -pid;
    found = wait_child(&w);
    if (found <= 0)
        return found;
    if (arg[1] != 0 && copyout(&w.wstatus, arg[1], sizeof(w.wstatus)) != 0)
        return -EFAULT;
    if (arg[3] != 0 && rusage_copyout(arg[3], w.time_ns) != 0)
        return -EFAULT;
    return w.pid;
}

int64_t sys_waitid(const uint64_t arg[6])
{
    struct wait w = {.idtype = (int)arg[0], .id = (int)arg[1], .options = (unsigned)arg[3]};
    unsigned char siginfo[SIGINFO_BYTES] = {0};
    int found;

    if ((w.options & ~(WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | WKINDS)) != 0 ||
        (w.options & (WEXITED | WUNTRACED | WCONTINUED)) == 0)
        return -EINVAL;
    if (w.idtype < P_ALL || w.idtype > P_PGID || (w.idtype != P_ALL && w.id < 0))
        return -EINVAL;
    if (w.idtype == P_PGID && w.id == 0)
        w.id = curproc()->pgid;
    found = wait_child(&w);
    if (found < 0)
        return found;
    if (found > 0) {
        const struct siginfo_kernel info = {
            .signo = SIGCHLD, .code = w.code, .pid = w.pid, .uid = w.uid, .status = w.status};

        siginfo_to_user(&info, siginfo);
    }
    if (arg[2] != 0 && copyout(siginfo, arg[2], sizeof(siginfo)) != 0)
        return -EFAULT;
    if (arg[4] != 0 && rusage_copyout(arg[4], w.time_ns) != 0)
        return -EFAULT;
    return 0;
}
