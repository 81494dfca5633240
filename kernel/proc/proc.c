/*
 * proc.c: the table of processes, their tree, their spaces, and the threads that have ended.
 *
 *   allproc ─▶ proc ─▶ proc …       pid_hash[pid % PID_HASH] ─▶ proc ─▶ hash_next …
 *   proc.children ─▶ sibling …      buried ─▶ thread ─▶ td_next …: they wait to be off their stacks
 *
 * Numbers of processes and threads come from one counter. It begins anew at PID_MAX, and passes over what is
 * still in use: also as a group's or a session's number.
 *
 * Locks: (P).
 */
#include "proc/proc.h"

#include <linux/errno.h>

#include "kernel.h"
#include "lib/copy.h"
#include "kmem.h"
#include "string.h"

#define PID_MAX   32768
#define PID_FIRST 300 /* after the counter began anew, as Linux has it */
#define PID_HASH  256

struct machine_lock proc_lock;

static struct proc *pid_hash[PID_HASH] FL_GUARDED_BY(proc_lock);
static struct proc *allproc FL_GUARDED_BY(proc_lock);
static struct thread *buried FL_GUARDED_BY(proc_lock);
static int last_pid FL_GUARDED_BY(proc_lock);
static bool pids_wrapped FL_GUARDED_BY(proc_lock);
static struct proc *initproc; /* (c) after boot */

struct proc *curproc(void)
{
    return curthread()->td_proc;
}

struct proc *proc_init(void)
{
    return initproc;
}

struct proc *proc_find(int pid)
{
    struct proc *proc = pid_hash[(uint32_t)pid % PID_HASH];

    while (proc != NULL && proc->pid != pid)
        proc = proc->hash_next;
    return proc;
}

struct proc *proc_next(struct proc *proc)
{
    return proc == NULL ? allproc : proc->next;
}

/* ---- numbers --------------------------------------------------------------------------------------- */

static bool pid_taken(int pid) FL_REQUIRES(proc_lock)
{
    for (const struct proc *proc = allproc; proc != NULL; proc = proc->next) {
        if (proc->pid == pid || proc->pgid == pid || proc->sid == pid)
            return true;
        for (const struct thread *td = proc->threads; td != NULL; td = td->td_next)
            if (td->td_tid == pid)
                return true;
    }
    return false;
}

int tid_alloc_locked(void)
{
    for (int tries = 0; tries < PID_MAX; tries++) {
        if (++last_pid >= PID_MAX) {
            last_pid = PID_FIRST;
            pids_wrapped = true;
        }
        if (!pids_wrapped || !pid_taken(last_pid))
            return last_pid;
    }
    return -EAGAIN;
}

/* ---- the tree -------------------------------------------------------------------------------------- */

struct proc *proc_alloc(void)
{
    return kmalloc(sizeof(struct proc));
}

void proc_free(struct proc *proc)
{
    kfree(proc);
}

int proc_insert_locked(struct proc *proc, struct proc *parent)
{
    int pid = tid_alloc_locked();

    if (pid < 0)
        return pid;
    proc->pid = pid;
    if (parent == NULL) {
        initproc = proc;
        proc->pgid = proc->sid = pid;
    } else {
        proc->parent = parent;
        proc->sibling = parent->children;
        parent->children = proc;
    }
    proc->hash_next = pid_hash[(uint32_t)pid % PID_HASH];
    pid_hash[(uint32_t)pid % PID_HASH] = proc;
    proc->next = allproc;
    proc->prev = &allproc;
    if (allproc != NULL)
        allproc->prev = &proc->next;
    allproc = proc;
    return 0;
}

void proc_remove_locked(struct proc *proc)
{
    struct proc **link = &pid_hash[(uint32_t)proc->pid % PID_HASH];

    while (*link != proc)
        link = &(*link)->hash_next;
    *link = proc->hash_next;
    for (link = &proc->parent->children; *link != proc;)
        link = &(*link)->sibling;
    *link = proc->sibling;
    *proc->prev = proc->next;
    if (proc->next != NULL)
        proc->next->prev = proc->prev;
}

/* ---- threads --------------------------------------------------------------------------------------- */

void thread_insert_locked(struct proc *proc, struct thread *td)
{
    td->td_next = proc->threads;
    proc->threads = td;
    proc->nthreads++;
}

void thread_bury_locked(struct thread *td)
{
    struct proc *proc = td->td_proc;
    struct thread **link = &proc->threads;

    while (*link != td)
        link = &(*link)->td_next;
    *link = td->td_next;
    proc->nthreads--;
    td->td_next = buried;
    buried = td;
}

void threads_reap(void)
{
    struct thread *gone = NULL;

    machine_lock(&proc_lock);
    for (struct thread **link = &buried; *link != NULL;) {
        struct thread *td = *link;

        if (thread_gone(td)) {
            *link = td->td_next;
            td->td_next = gone;
            gone = td;
        } else {
            link = &td->td_next;
        }
    }
    machine_unlock(&proc_lock);
    while (gone != NULL) {
        struct thread *td = gone;

        gone = td->td_next;
        thread_free(td);
    }
}

uint64_t thread_time_ns(const struct thread *td)
{
    uint64_t flags = intr_save(); /* the timer's interrupt counts, too */
    uint64_t time_ns = td->td_cputime_ns;

    if (td == curthread())
        time_ns += machine_time_ns() - td->td_started;
    intr_restore(flags);
    return time_ns;
}

uint64_t proc_time_ns(const struct proc *proc)
{
    uint64_t time_ns = proc->time_ns;

    for (const struct thread *td = proc->threads; td != NULL; td = td->td_next)
        time_ns += thread_time_ns(td);
    return time_ns;
}

/* ---- spaces ---------------------------------------------------------------------------------------- */

struct vmspace *vmspace_wrap(struct vm_map *map)
{
    struct vmspace *vm = kmalloc(sizeof(*vm));

    if (vm != NULL) {
        vm->map = map;
        vm->refs = 1;
    }
    return vm;
}

struct vmspace *vmspace_create(void)
{
    struct vm_map *map;
    struct vmspace *vm;

    if (fl_space_create(USER_START, USER_END, &map) != 0)
        return NULL;
    vm = vmspace_wrap(map);
    if (vm == NULL)
        fl_space_destroy(map);
    return vm;
}

struct vmspace *vmspace_of(struct proc *proc)
{
    if (proc->vmspace != NULL)
        proc->vmspace->refs++;
    return proc->vmspace;
}

void vmspace_put(struct vmspace *vm)
{
    bool last;

    machine_lock(&proc_lock);
    last = --vm->refs == 0;
    machine_unlock(&proc_lock);
    if (last) {
        fl_space_destroy(vm->map);
        kfree(vm);
    }
}
