/*
 * limits.c: resource limits: those that the core enforces go to the process's space, that of descriptors is
 * asked for by fd_install; the others are only remembered.
 *
 * Locks: (P).
 */
#include <linux/errno.h>
#include <linux/resource.h>

#include "lib/copy.h"
#include "proc/calls.h"
#include "proc/proc.h"

_Static_assert(RLIM_NLIMITS == RLIMITS, "limits of the ABI");

void vmspace_limits(struct proc *proc, struct vm_map *map)
{
    struct fl_space_limits limits;

    machine_lock(&proc_lock);
    limits = (struct fl_space_limits){.as_bytes = proc->rlimit_cur[RLIMIT_AS],
                                      .data_bytes = proc->rlimit_cur[RLIMIT_DATA],
                                      .stack_bytes = proc->rlimit_cur[RLIMIT_STACK],
                                      .memlock_bytes = FL_NO_LIMIT};
    if (proc->euid != 0)
        limits.memlock_bytes = proc->rlimit_cur[RLIMIT_MEMLOCK];
    machine_unlock(&proc_lock);
    fl_space_set_limits(map, &limits);
}

/* set, old: NULL: not asked for. Errors: -EINVAL, -EPERM, -ESRCH. */
static int proc_rlimit(int pid, uint64_t resource, const struct rlimit64 *set, struct rlimit64 *old)
{
    struct proc *self = curproc(), *proc;
    int error = 0;

    if (resource >= RLIMITS || (set != NULL && set->rlim_cur > set->rlim_max))
        return -EINVAL;
    machine_lock(&proc_lock);
    proc = pid == 0 ? self : proc_find(pid);
    if (proc == NULL) {
        error = -ESRCH;
    } else {
        if (old != NULL)
            *old = (struct rlimit64){proc->rlimit_cur[resource], proc->rlimit_max[resource]};
        if (set != NULL && set->rlim_max > proc->rlimit_max[resource] && self->euid != 0)
            error = -EPERM;
        if (set != NULL && error == 0) {
            proc->rlimit_cur[resource] = set->rlim_cur;
            proc->rlimit_max[resource] = set->rlim_max;
        }
    }
    machine_unlock(&proc_lock);
    if (error == 0 && set != NULL && proc == self)
        vmspace_limits(self, self->map);
    return error;
}

int64_t sys_prlimit64(const uint64_t arg[6])
{
    struct rlimit64 set, old;
    int error;

    if (arg[2] != 0 && copyin(arg[2], &set, sizeof(set)) != 0)
        return -EFAULT;
    error = proc_rlimit((int)arg[0], (uint32_t)arg[1], arg[2] != 0 ? &set : NULL, &old);
    if (error == 0 && arg[3] != 0)
        error = copyout(&old, arg[3], sizeof(old));
    return error;
}

int64_t sys_getrlimit(const uint64_t arg[6])
{
    struct rlimit64 old;
    int error = proc_rlimit(0, (uint32_t)arg[0], NULL, &old);

    return error != 0 ? error : copyout(&old, arg[1], sizeof(old));
}

int64_t sys_setrlimit(const uint64_t arg[6])
{
    struct rlimit64 set;

    if (copyin(arg[1], &set, sizeof(set)) != 0)
        return -EFAULT;
    return proc_rlimit(0, (uint32_t)arg[0], &set, NULL);
}
