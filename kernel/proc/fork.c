/*
 * fork.c: new processes and new threads.
 *
 *   fork, vfork, clone, clone3 ─▶ clone_create ─┬─ CLONE_THREAD: clone_thread: one thread more
 *                                               └─ clone_process: space, files, signals: copied or shared
 *   the child begins in clone_child, and goes to its program with the parent's registers, and 0 in rax
 *
 * A kernel stack is made of neighbouring frames, which may be missing while memory is used to the last page:
 * then the call waits for a while for page-out.
 *
 * A vfork waits until the child has another space, or none; only a deadly signal ends that wait sooner.
 *
 * Locks: (P), for the tree.
 * Does not do: namespaces, pidfds (-EINVAL); signal actions shared between processes (CLONE_SIGHAND without
 * CLONE_THREAD copies them).
 */
#include <linux/errno.h>
#include <linux/sched.h>

#include "fs/file.h"
#include "kernel.h"
#include "lib/copy.h"
#include "string.h"
#include "proc/calls.h"
#include "proc/proc.h"

#define CLONE_KNOWN                                                                                          \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_PTRACE | CLONE_VFORK | CLONE_PARENT |         \
     CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID |              \
     CLONE_DETACHED | CLONE_UNTRACED | CLONE_CHILD_SETTID | CLONE_IO | CLONE_CLEAR_SIGHAND)

struct clone {
    uint64_t flags; /* CLONE_* */
    int exit_signal;
    uint64_t stack; /* its end; 0: the parent's */
    uint64_t parent_tid, child_tid, tls;
};

/* Writes the number where the program wants it; where it cannot, Linux does not tell either. */
static void tell_tid(uint64_t user, int tid)
{
    int error = copyout(&tid, user, sizeof(tid));

    (void)error;
}

/* The child's first steps, in its own space. */
static void clone_child(void *child_tid)
{
    if (child_tid != NULL)
        tell_tid((uint64_t)child_tid, curthread()->td_tid);
}

/* A thread with the caller's registers. NULL: no memory. */
static struct thread *clone_regs(const struct clone *c)
{
    const struct thread *self = curthread();
    bool set_tid = (c->flags & CLONE_CHILD_SETTID) != 0;
    struct thread *td = thread_create("user", clone_child, set_tid ? (void *)c->child_tid : NULL, true);
    struct trapframe *frame;

    if (td == NULL)
        return NULL;
    frame = thread_frame(td);
    *frame = *thread_frame(self);
    frame->rax = 0;
    if (c->stack != 0)
        frame->rsp = c->stack;
    fpu_save(td->td_fpu);
    td->td_fsbase = (c->flags & CLONE_SETTLS) != 0 ? c->tls : self->td_fsbase;
    td->td_gsbase = self->td_gsbase;
    td->td_sigmask = self->td_sigmask;
    td->td_altstack_flags = SS_DISABLE;
    if ((c->flags & (CLONE_VM | CLONE_VFORK)) != CLONE_VM) {
        td->td_altstack = self->td_altstack;
        td->td_altstack_size = self->td_altstack_size;
        td->td_altstack_flags = self->td_altstack_flags;
    }
    if ((c->flags & CLONE_CHILD_CLEARTID) != 0)
        td->td_clear_child_tid = c->child_tid;
    return td;
}

/* The thread is in the tree; both sides are told, and it runs. */
static void clone_start(const struct clone *c, struct thread *td)
{
    if ((c->flags & CLONE_PARENT_SETTID) != 0)
        tell_tid(c->parent_tid, td->td_tid);
    thread_start(td);
}

static int64_t clone_thread(const struct clone *c)
{
    struct proc *proc = curproc();
    struct thread *td = clone_regs(c);
    int tid;

    if (td == NULL)
        return -ENOMEM;
    td->td_proc = proc;
    td->td_space = fl_space_machine(proc->map);
    machine_lock(&proc_lock);
    tid = proc->exiting || proc->exec_thread != NULL ? -EAGAIN : tid_alloc_locked();
    if (tid > 0) {
        td->td_tid = tid;
        thread_insert_locked(proc, td);
    }
    machine_unlock(&proc_lock);
    if (tid > 0)
        clone_start(c, td);
    else
        thread_free(td);
    return tid;
}

/* ---- a process ------------------------------------------------------------------------------------- */

static int clone_space(const struct clone *c, struct proc *self, struct proc *proc)
{
    struct vm_map *map;
    int error;

    if ((c->flags & CLONE_VM) != 0) {
        machine_lock(&proc_lock);
        proc->vmspace = vmspace_of(self);
        machine_unlock(&proc_lock);
        proc->map = self->map;
        return 0;
    }
    error = fl_space_fork(self->map, &map);
    if (error != 0)
        return error;
    proc->vmspace = vmspace_wrap(map);
    proc->map = map;
    if (proc->vmspace == NULL)
        fl_space_destroy(map);
    return proc->vmspace != NULL ? 0 : -ENOMEM;
}

/* What the child has of the parent's files. */
static int clone_files(const struct clone *c, struct proc *self, struct proc *proc)
{
    proc->fd = (c->flags & CLONE_FILES) != 0 ? filedesc_ref(self->fd) : filedesc_copy(self->fd);
    proc->fs = (c->flags & CLONE_FS) != 0 ? fs_context_ref(self->fs) : fs_context_copy(self->fs);
    if (self->exe != NULL)
        proc->exe = file_ref(self->exe);
    return proc->fd != NULL && proc->fs != NULL ? 0 : -ENOMEM;
}

static void clone_attributes_locked(const struct clone *c, const struct proc *self, struct proc *proc)
    FL_REQUIRES(proc_lock)
{
    proc->pgid = self->pgid;
    proc->sid = self->sid;
    proc->exit_signal = c->exit_signal;
    memcpy(proc->comm, self->comm, sizeof(proc->comm));
    proc->uid = self->uid;
    proc->gid = self->gid;
    proc->euid = self->euid;
    proc->egid = self->egid;
    memcpy(proc->rlimit_cur, self->rlimit_cur, sizeof(proc->rlimit_cur));
    memcpy(proc->rlimit_max, self->rlimit_max, sizeof(proc->rlimit_max));
    proc->mmap_base = self->mmap_base;
    proc->brk_start = self->brk_start;
    proc->stack_top = self->stack_top;
    proc->arg_start = self->arg_start;
    proc->arg_end = self->arg_end;
    proc->dumpable = self->dumpable;
    memcpy(proc->action, self->action, sizeof(proc->action));
    if ((c->flags & CLONE_CLEAR_SIGHAND) != 0)
        sigacts_exec_locked(proc);
}

/* The process was never in the tree. */
static void clone_undo(struct proc *proc, struct thread *td)
{
    if (td != NULL)
        thread_free(td);
    if (proc->fd != NULL)
        filedesc_put(proc->fd);
    if (proc->fs != NULL)
        fs_context_put(proc->fs);
    if (proc->exe != NULL)
        fput(proc->exe);
    if (proc->vmspace != NULL)
        vmspace_put(proc->vmspace);
    proc_free(proc);
}

/* The process takes its place in the tree. Errors: -EAGAIN. */
static int clone_insert(const struct clone *c, struct proc *proc, struct thread *td, struct vfork_wait *vfork)
{
    struct proc *self = curproc();
    bool sibling = (c->flags & CLONE_PARENT) != 0 && self->parent != NULL;
    int error;

    machine_lock(&proc_lock);
    clone_attributes_locked(c, self, proc);
    error = self->exiting ? -EAGAIN : proc_insert_locked(proc, sibling ? self->parent : self);
    if (error == 0) {
        td->td_tid = proc->pid;
        thread_insert_locked(proc, td);
        if ((c->flags & CLONE_VFORK) != 0)
            proc->vfork = vfork;
    }
    machine_unlock(&proc_lock);
    return error;
}

/* The child is in the tree as long as vfork is not done, and knows it. */
static void vfork_wait(struct proc *child, struct vfork_wait *vfork)
{
    struct thread *self = curthread();

    machine_lock(&proc_lock);
    while (!vfork->done && !self->td_proc->exiting) {
        if (thread_sleep(vfork, &proc_lock, UINT64_MAX, true) == -EINTR)
            thread_clear_interrupt(self); /* the signal is pending still, and is taken after the call */
    }
    if (!vfork->done)
        child->vfork = NULL;
    machine_unlock(&proc_lock);
}

static int64_t clone_process(const struct clone *c)
{
    struct proc *self = curproc(), *proc = proc_alloc();
    struct vfork_wait vfork = {false};
    struct thread *td = NULL;
    int error, pid;

    if (proc == NULL)
        return -ENOMEM;
    error = clone_files(c, self, proc);
    if (error == 0)
        error = clone_space(c, self, proc);
    if (error == 0 && (td = clone_regs(c)) == NULL)
        error = -ENOMEM;
    if (error == 0) {
        td->td_proc = proc;
        td->td_space = fl_space_machine(proc->map);
        error = clone_insert(c, proc, td, &vfork);
    }
    if (error != 0) {
        clone_undo(proc, td);
        return error;
    }
    pid = proc->pid;
    clone_start(c, td);
    if ((c->flags & CLONE_VFORK) != 0)
        vfork_wait(proc, &vfork);
    return pid;
}

static int64_t clone_create(const struct clone *c)
{
    uint32_t tries = 0;
    int64_t result;

    if ((c->flags & ~(uint64_t)CLONE_KNOWN) != 0 || c->exit_signal < 0 || c->exit_signal > NSIG)
        return -EINVAL;
    if ((c->flags & CLONE_SIGHAND) != 0 && (c->flags & CLONE_VM) == 0)
        return -EINVAL;
    if ((c->flags & CLONE_THREAD) != 0 && (c->flags & CLONE_SIGHAND) == 0)
        return -EINVAL;
    if (c->stack > USER_END || ((c->flags & CLONE_SETTLS) != 0 && c->tls >= USER_END))
        return -EPERM;
    do {
        threads_reap();
        result = (c->flags & CLONE_THREAD) != 0 ? clone_thread(c) : clone_process(c);
    } while (result == -ENOMEM && memory_wait(tries++));
    return result;
}

/* ---- the calls ------------------------------------------------------------------------------------- */

int64_t sys_fork(const uint64_t arg[6] __attribute__((unused)))
{
    const struct clone c = {.exit_signal = SIGCHLD};

    return clone_create(&c);
}

int64_t sys_vfork(const uint64_t arg[6] __attribute__((unused)))
{
    const struct clone c = {.flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD};

    return clone_create(&c);
}

int64_t sys_clone(const uint64_t arg[6])
{
    const struct clone c = {.flags = (uint32_t)arg[0] & ~(uint32_t)CSIGNAL,
                            .exit_signal = (int)(arg[0] & CSIGNAL),
                            .stack = arg[1],
                            .parent_tid = arg[2],
                            .child_tid = arg[3],
                            .tls = arg[4]};

    return clone_create(&c);
}

int64_t sys_clone3(const uint64_t arg[6])
{
    struct clone_args args = {0};
    struct clone c;

    if (arg[1] < CLONE_ARGS_SIZE_VER0 || arg[1] > VM_PAGE_SIZE)
        return arg[1] > VM_PAGE_SIZE ? -E2BIG : -EINVAL;
    if (copyin(arg[0], &args, arg[1] < sizeof(args) ? arg[1] : sizeof(args)) != 0)
        return -EFAULT;
    if (args.set_tid_size != 0 || args.exit_signal > CSIGNAL || (args.flags & CSIGNAL) != 0 ||
        (args.stack == 0) != (args.stack_size == 0) || args.stack + args.stack_size < args.stack)
        return -EINVAL;
    c = (struct clone){.flags = args.flags,
                       .exit_signal = (int)args.exit_signal,
                       .stack = args.stack + args.stack_size,
                       .parent_tid = args.parent_tid,
                       .child_tid = args.child_tid,
                       .tls = args.tls};
    return clone_create(&c);
}

int64_t sys_set_tid_address(const uint64_t arg[6])
{
    curthread()->td_clear_child_tid = arg[0];
    return curthread()->td_tid;
}
