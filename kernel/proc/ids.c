/*
 * ids.c: who a process is: its number, its user, its group and session.
 *
 * Users are remembered, and open no doors: only setting limits and locking memory ask who is root. There are
 * no saved and no file system ids: they are the effective ones.
 *
 * Locks: (P), for groups and sessions.
 */
#include <linux/errno.h>

#include "kernel.h"
#include "lib/copy.h"
#include "proc/calls.h"
#include "proc/proc.h"

#define UNUSED __attribute__((unused))
#define KEEP   UINT32_MAX /* setreuid and the like: this one stays */

int64_t sys_getpid(const uint64_t arg[6] UNUSED)
{
    return curproc()->pid;
}

int64_t sys_gettid(const uint64_t arg[6] UNUSED)
{
    return curthread()->td_tid;
}

int64_t sys_getppid(const uint64_t arg[6] UNUSED)
{
    int pid;

    machine_lock(&proc_lock);
    pid = curproc()->parent != NULL ? curproc()->parent->pid : 0;
    machine_unlock(&proc_lock);
    return pid;
}

/* ---- users ----------------------------------------------------------------------------------------- */

int64_t sys_getuid(const uint64_t arg[6] UNUSED)
{
    return curproc()->uid;
}

int64_t sys_geteuid(const uint64_t arg[6] UNUSED)
{
    return curproc()->euid;
}

int64_t sys_getgid(const uint64_t arg[6] UNUSED)
{
    return curproc()->gid;
}

int64_t sys_getegid(const uint64_t arg[6] UNUSED)
{
    return curproc()->egid;
}

static int copyout_three(const uint64_t arg[6], uint32_t real, uint32_t effective)
{
    if (copyout(&real, arg[0], sizeof(real)) != 0 || copyout(&effective, arg[1], sizeof(effective)) != 0 ||
        copyout(&effective, arg[2], sizeof(effective)) != 0)
        return -EFAULT;
    return 0;
}

int64_t sys_getresuid(const uint64_t arg[6])
{
    return copyout_three(arg, curproc()->uid, curproc()->euid);
}

int64_t sys_getresgid(const uint64_t arg[6])
{
    return copyout_three(arg, curproc()->gid, curproc()->egid);
}

/* Who is not root may become what he is already. Errors: -EPERM. */
static int set_ids(uint32_t *real, uint32_t *effective, uint32_t new_real, uint32_t new_effective)
{
    bool root = curproc()->euid == 0;

    new_real = new_real == KEEP ? *real : new_real;
    new_effective = new_effective == KEEP ? *effective : new_effective;
    if (!root && ((new_real != *real && new_real != *effective) ||
                  (new_effective != *real && new_effective != *effective)))
        return -EPERM;
    *real = new_real;
    *effective = new_effective;
    return 0;
}

int64_t sys_setuid(const uint64_t arg[6])
{
    struct proc *proc = curproc();
    uint32_t uid = (uint32_t)arg[0];

    return uid == KEEP ? -EINVAL : set_ids(&proc->uid, &proc->euid, proc->euid == 0 ? uid : KEEP, uid);
}

int64_t sys_setgid(const uint64_t arg[6])
{
    struct proc *proc = curproc();
    uint32_t gid = (uint32_t)arg[0];

    return gid == KEEP ? -EINVAL : set_ids(&proc->gid, &proc->egid, proc->euid == 0 ? gid : KEEP, gid);
}

int64_t sys_setreuid(const uint64_t arg[6])
{
    return set_ids(&curproc()->uid, &curproc()->euid, (uint32_t)arg[0], (uint32_t)arg[1]);
}

int64_t sys_setregid(const uint64_t arg[6])
{
    return set_ids(&curproc()->gid, &curproc()->egid, (uint32_t)arg[0], (uint32_t)arg[1]);
}

int64_t sys_setresuid(const uint64_t arg[6])
{
    return set_ids(&curproc()->uid, &curproc()->euid, (uint32_t)arg[0], (uint32_t)arg[1]);
}

int64_t sys_setresgid(const uint64_t arg[6])
{
    return set_ids(&curproc()->gid, &curproc()->egid, (uint32_t)arg[0], (uint32_t)arg[1]);
}

int64_t sys_setfsuid(const uint64_t arg[6] UNUSED)
{
    return curproc()->euid;
}

int64_t sys_setfsgid(const uint64_t arg[6] UNUSED)
{
    return curproc()->egid;
}

int64_t sys_getgroups(const uint64_t arg[6])
{
    return (int)arg[0] < 0 ? -EINVAL : 0;
}

int64_t sys_setgroups(const uint64_t arg[6] UNUSED)
{
    return curproc()->euid == 0 ? 0 : -EPERM;
}

/* ---- groups and sessions --------------------------------------------------------------------------- */

/* pid 0: the caller. NULL: there is none. */
static struct proc *proc_of(int pid) FL_REQUIRES(proc_lock)
{
    struct proc *proc = pid == 0 ? curproc() : proc_find(pid);

    return proc != NULL && proc->state != PROC_ZOMBIE ? proc : NULL;
}

int64_t sys_getpgrp(const uint64_t arg[6] UNUSED)
{
    return curproc()->pgid;
}

int64_t sys_getpgid(const uint64_t arg[6])
{
    const struct proc *proc;
    int pgid;

    machine_lock(&proc_lock);
    proc = proc_of((int)arg[0]);
    pgid = proc != NULL ? proc->pgid : -ESRCH;
    machine_unlock(&proc_lock);
    return pgid;
}

int64_t sys_getsid(const uint64_t arg[6])
{
    const struct proc *proc;
    int sid;

    machine_lock(&proc_lock);
    proc = proc_of((int)arg[0]);
    sid = proc != NULL ? proc->sid : -ESRCH;
    machine_unlock(&proc_lock);
    return sid;
}

static bool group_in_session(int pgid, int sid) FL_REQUIRES(proc_lock)
{
    for (struct proc *proc = proc_next(NULL); proc != NULL; proc = proc_next(proc))
        if (proc->pgid == pgid && proc->sid == sid)
            return true;
    return false;
}

static int setpgid_locked(struct proc *proc, int pgid) FL_REQUIRES(proc_lock)
{
    struct proc *self = curproc();

    if (proc == NULL || (proc != self && proc->parent != self))
        return -ESRCH;
    if (proc->sid != self->sid || proc->sid == proc->pid)
        return -EPERM;
    if (proc != self && proc->execed)
        return -EACCES;
    pgid = pgid == 0 ? proc->pid : pgid;
    if (pgid != proc->pid && !group_in_session(pgid, proc->sid))
        return -EPERM;
    proc->pgid = pgid;
    return 0;
}

int64_t sys_setpgid(const uint64_t arg[6])
{
    int error;

    if ((int)arg[1] < 0)
        return -EINVAL;
    machine_lock(&proc_lock);
    error = setpgid_locked(proc_of((int)arg[0]), (int)arg[1]);
    machine_unlock(&proc_lock);
    return error;
}

int64_t sys_setsid(const uint64_t arg[6] UNUSED)
{
    struct proc *proc = curproc();
    bool leads = false;

    machine_lock(&proc_lock);
    for (struct proc *other = proc_next(NULL); other != NULL; other = proc_next(other))
        leads = leads || other->pgid == proc->pid;
    if (!leads)
        proc->sid = proc->pgid = proc->pid;
    machine_unlock(&proc_lock);
    return leads ? -EPERM : proc->pid;
}
