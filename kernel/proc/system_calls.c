/*
 * system_calls.c: what the system says of itself, scheduling, a thread's registers, and the end of it all.
 *
 * There is one scheduling class and one priority, and every thread may run on every CPU; who asks for
 * something else is told that it has it where Linux would only take it as a wish.
 *
 * Locks: (P), for names.
 */
#include <asm/prctl.h>
#include <linux/errno.h>
#include <linux/prctl.h>
#include <linux/random.h>
#include <linux/reboot.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sysinfo.h>

#include "kernel.h"
#include "lib/copy.h"
#include "lib/random.h"
#include "string.h"
#include "proc/calls.h"
#include "proc/proc.h"

#define UNUSED    __attribute__((unused))
#define NAME_MAX  65 /* of uname's fields */
#define NICE_ZERO 20 /* what getpriority returns for nice 0 */
#define RT_MIN    1  /* priorities of SCHED_FIFO and SCHED_RR on Linux */
#define RT_MAX    99

#define GRND_FLAGS (GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE)

/* ---- names and numbers ----------------------------------------------------------------------------- */

static char hostname[NAME_MAX] FL_GUARDED_BY(proc_lock) = "faultline";
static char domainname[NAME_MAX] FL_GUARDED_BY(proc_lock) = "(none)";

int64_t sys_uname(const uint64_t arg[6])
{
    struct {
        char sysname[NAME_MAX], nodename[NAME_MAX], release[NAME_MAX], version[NAME_MAX], machine[NAME_MAX],
            domainname[NAME_MAX];
    } name;

    memset(&name, 0, sizeof(name));
    strlcpy(name.sysname, "Linux", NAME_MAX);
    strlcpy(name.release, "6.1.0-faultline", NAME_MAX);
    strlcpy(name.version, "#1", NAME_MAX);
    strlcpy(name.machine, "x86_64", NAME_MAX);
    machine_lock(&proc_lock);
    strlcpy(name.nodename, hostname, NAME_MAX);
    strlcpy(name.domainname, domainname, NAME_MAX);
    machine_unlock(&proc_lock);
    return copyout(&name, arg[0], sizeof(name));
}

/* Errors: -EINVAL, -EFAULT, -EPERM. */
static int set_name(char *to, const uint64_t arg[6])
{
    char name[NAME_MAX] = {0};

    if (arg[1] >= NAME_MAX)
        return -EINVAL;
    if (curproc()->euid != 0)
        return -EPERM;
    if (copyin(arg[0], name, arg[1]) != 0)
        return -EFAULT;
    machine_lock(&proc_lock);
    memcpy(to, name, NAME_MAX);
    machine_unlock(&proc_lock);
    return 0;
}

int64_t sys_sethostname(const uint64_t arg[6])
{
    return set_name(hostname, arg);
}

int64_t sys_setdomainname(const uint64_t arg[6])
{
    return set_name(domainname, arg);
}

int64_t sys_sysinfo(const uint64_t arg[6])
{
    struct fl_vm_stats stats;
    struct sysinfo info = {0};

    fl_vm_stats(&stats);
    info.uptime = (int64_t)(machine_time_ns() / 1000000000);
    info.totalram = ptoa(stats.nframes);
    info.freeram = ptoa(stats.free);
    info.totalswap = ptoa(stats.swap_pages);
    info.freeswap = ptoa(stats.swap_free);
    info.mem_unit = 1;
    machine_lock(&proc_lock);
    for (struct proc *proc = proc_next(NULL); proc != NULL; proc = proc_next(proc))
        info.procs = (uint16_t)(info.procs + proc->nthreads);
    machine_unlock(&proc_lock);
    return copyout(&info, arg[0], sizeof(info));
}

int64_t sys_syslog(const uint64_t arg[6] UNUSED)
{
    return 0;
}

int64_t sys_getrandom(const uint64_t arg[6])
{
    unsigned char bytes[256];
    uint64_t done = 0, len_bytes = arg[1] < INT32_MAX ? arg[1] : INT32_MAX;

    if (((uint32_t)arg[2] & ~(uint32_t)GRND_FLAGS) != 0)
        return -EINVAL;
    while (done < len_bytes) {
        uint64_t n = len_bytes - done < sizeof(bytes) ? len_bytes - done : sizeof(bytes);

        random_bytes(bytes, n);
        if (copyout(bytes, arg[0] + done, n) != 0)
            return -EFAULT;
        done += n;
        if (done < len_bytes && signal_waiting())
            break;
    }
    return (int64_t)done;
}

/* ---- scheduling ------------------------------------------------------------------------------------ */

int64_t sys_sched_yield(const uint64_t arg[6] UNUSED)
{
    thread_yield();
    return 0;
}

/* The mask is one word, which has room for CPUS_MAX. */
int64_t sys_sched_getaffinity(const uint64_t arg[6])
{
    const uint64_t mask = (UINT64_C(1) << ncpus) - 1;

    if ((uint32_t)arg[1] < sizeof(mask) || (arg[1] & 7) != 0)
        return -EINVAL;
    return copyout(&mask, arg[2], sizeof(mask)) != 0 ? -EFAULT : (int64_t)sizeof(mask);
}

int64_t sys_sched_setaffinity(const uint64_t arg[6])
{
    uint64_t mask = 0, len_bytes = arg[1] < sizeof(mask) ? arg[1] : sizeof(mask);

    if (copyin(arg[2], &mask, len_bytes) != 0)
        return -EFAULT;
    return (mask & ((UINT64_C(1) << ncpus) - 1)) == 0 ? -EINVAL : 0;
}

int64_t sys_getcpu(const uint64_t arg[6])
{
    const uint32_t cpu = curcpu()->id, node = 0;

    if (arg[0] != 0 && copyout(&cpu, arg[0], sizeof(cpu)) != 0)
        return -EFAULT;
    return arg[1] != 0 ? copyout(&node, arg[1], sizeof(node)) : 0;
}

int64_t sys_sched_getparam(const uint64_t arg[6])
{
    const int priority = 0;

    return copyout(&priority, arg[1], sizeof(priority));
}

int64_t sys_sched_getscheduler(const uint64_t arg[6] UNUSED)
{
    return SCHED_NORMAL;
}

int64_t sys_sched_setscheduler(const uint64_t arg[6])
{
    return (int)arg[1] == SCHED_NORMAL || (int)arg[1] == SCHED_BATCH || (int)arg[1] == SCHED_IDLE ? 0
                                                                                                  : -EPERM;
}

static int64_t rt_priority(uint64_t policy, int64_t priority)
{
    switch ((int)policy) {
    case SCHED_FIFO:
    case SCHED_RR:
        return priority;
    case SCHED_NORMAL:
    case SCHED_BATCH:
    case SCHED_IDLE:
        return 0;
    default:
        return -EINVAL;
    }
}

int64_t sys_sched_get_priority_max(const uint64_t arg[6])
{
    return rt_priority(arg[0], RT_MAX);
}

int64_t sys_sched_get_priority_min(const uint64_t arg[6])
{
    return rt_priority(arg[0], RT_MIN);
}

int64_t sys_getpriority(const uint64_t arg[6])
{
    return (int)arg[0] < PRIO_PROCESS || (int)arg[0] > PRIO_USER ? -EINVAL : NICE_ZERO;
}

int64_t sys_setpriority(const uint64_t arg[6])
{
    return (int)arg[0] < PRIO_PROCESS || (int)arg[0] > PRIO_USER ? -EINVAL : 0;
}

/* ---- a thread's own -------------------------------------------------------------------------------- */

int64_t sys_arch_prctl(const uint64_t arg[6])
{
    const struct thread *td = curthread();

    switch ((int)arg[0]) {
    case ARCH_SET_FS:
    case ARCH_SET_GS:
        if (arg[1] >= USER_END)
            return -EPERM;
        if ((int)arg[0] == ARCH_SET_FS)
            thread_set_fsbase(arg[1]);
        else
            thread_set_gsbase(arg[1]);
        return 0;
    case ARCH_GET_FS:
        return copyout(&td->td_fsbase, arg[1], sizeof(td->td_fsbase));
    case ARCH_GET_GS:
        return copyout(&td->td_gsbase, arg[1], sizeof(td->td_gsbase));
    default:
        return -EINVAL;
    }
}

static int prctl_set_name(uint64_t user)
{
    struct proc *proc = curproc();
    char name[sizeof(proc->comm)];
    int64_t len_bytes = copyinstr(user, name, sizeof(name));

    if (len_bytes == -EFAULT)
        return -EFAULT;
    name[sizeof(name) - 1] = 0;
    machine_lock(&proc_lock);
    strlcpy(proc->comm, name, sizeof(proc->comm));
    machine_unlock(&proc_lock);
    return 0;
}

/* Threads have no names of their own: it is the process's that is set and read. */
int64_t sys_prctl(const uint64_t arg[6])
{
    struct proc *proc = curproc();

    switch ((int)arg[0]) {
    case PR_SET_NAME:
        return prctl_set_name(arg[1]);
    case PR_GET_NAME:
        return copyout(proc->comm, arg[1], sizeof(proc->comm));
    case PR_GET_DUMPABLE:
        return proc->dumpable;
    case PR_SET_DUMPABLE:
        if (arg[1] > 1)
            return -EINVAL;
        proc->dumpable = arg[1] != 0;
        return 0;
    case PR_SET_PDEATHSIG:
        return arg[1] > NSIG ? -EINVAL : 0;
    case PR_SET_NO_NEW_PRIVS:
        return arg[1] == 1 ? 0 : -EINVAL;
    default:
        return -EINVAL;
    }
}

int64_t sys_personality(const uint64_t arg[6] UNUSED)
{
    return 0; /* Linux's own */
}

/* ---- the end, and more memory ---------------------------------------------------------------------- */

int64_t sys_reboot(const uint64_t arg[6])
{
    if ((uint32_t)arg[0] != LINUX_REBOOT_MAGIC1 ||
        ((uint32_t)arg[1] != LINUX_REBOOT_MAGIC2 && (uint32_t)arg[1] != LINUX_REBOOT_MAGIC2A &&
         (uint32_t)arg[1] != LINUX_REBOOT_MAGIC2B && (uint32_t)arg[1] != LINUX_REBOOT_MAGIC2C))
        return -EINVAL;
    if (curproc()->euid != 0)
        return -EPERM;
    switch ((uint32_t)arg[2]) {
    case LINUX_REBOOT_CMD_POWER_OFF:
    case LINUX_REBOOT_CMD_HALT:
        kernel_down(false, 0);
    case LINUX_REBOOT_CMD_RESTART:
        kernel_down(true, 0);
    case LINUX_REBOOT_CMD_CAD_ON:
    case LINUX_REBOOT_CMD_CAD_OFF:
        return 0;
    default:
        return -EINVAL;
    }
}

int64_t sys_swapon(const uint64_t arg[6])
{
    char path[64];
    int64_t len_bytes = copyinstr(arg[0], path, sizeof(path));

    if (curproc()->euid != 0)
        return -EPERM;
    if (len_bytes < 0)
        return len_bytes;
    return kernel_swapon(path);
}
