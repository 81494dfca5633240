/*
 * itimer.c: alarms: ITIMER_REAL of each process, whose SIGALRM a thread of the kernel's sends.
 *
 *   setitimer ─▶ proc.alarm_ns ─▶ wakes the thread ─▶ it sleeps until the first alarm of all ─▶ SIGALRM
 *
 * Locks: (P).
 * Does not do: alarms of processor time (-EINVAL), which is not counted by ticks.
 */
#include <linux/errno.h>
#include <linux/time.h>

#include "kernel.h"
#include "lib/copy.h"
#include "proc/calls.h"
#include "proc/proc.h"

#define NS    UINT64_C(1000000000)
#define NS_US UINT64_C(1000)

struct itimer {
    uint64_t ns, interval_ns; /* until the alarm, 0: none; between alarms, 0: only one */
};

static uint64_t next_alarm_ns FL_GUARDED_BY(proc_lock); /* when the thread wakes by itself */

/* Sends what is due. Returns when the next alarm is; UINT64_MAX: there is none. */
static uint64_t alarms_send_locked(void) FL_REQUIRES(proc_lock)
{
    uint64_t now = machine_time_ns(), first = UINT64_MAX;

    for (struct proc *proc = proc_next(NULL); proc != NULL; proc = proc_next(proc)) {
        if (proc->alarm_ns == 0)
            continue;
        if (proc->alarm_ns <= now) {
            psignal_locked(proc, SIGALRM, NULL);
            proc->alarm_ns += proc->alarm_interval_ns;
            if (proc->alarm_interval_ns == 0)
                proc->alarm_ns = 0;
            else if (proc->alarm_ns <= now) /* those that were missed are one */
                proc->alarm_ns = now + proc->alarm_interval_ns;
        }
        if (proc->alarm_ns != 0 && proc->alarm_ns < first)
            first = proc->alarm_ns;
    }
    return first;
}

void itimer_run(void *arg __attribute__((unused)))
{
    machine_lock(&proc_lock);
    for (;;) {
        next_alarm_ns = alarms_send_locked();
        (void)machine_wait(&next_alarm_ns, &proc_lock, next_alarm_ns);
    }
}

static struct itimer itimer_get_locked(const struct proc *proc) FL_REQUIRES(proc_lock)
{
    uint64_t now = machine_time_ns();
    struct itimer timer = {0, proc->alarm_interval_ns};

    if (proc->alarm_ns != 0)
        timer.ns = proc->alarm_ns > now ? proc->alarm_ns - now : NS_US;
    return timer;
}

/* Returns what was set before. */
static struct itimer itimer_set(const struct itimer *timer)
{
    struct proc *proc = curproc();
    struct itimer old;

    machine_lock(&proc_lock);
    old = itimer_get_locked(proc);
    proc->alarm_ns = timer->ns != 0 ? deadline_after(timer->ns) : 0;
    proc->alarm_interval_ns = timer->interval_ns;
    if (proc->alarm_ns != 0 && proc->alarm_ns < next_alarm_ns)
        machine_wake(&next_alarm_ns);
    machine_unlock(&proc_lock);
    return old;
}

int64_t sys_alarm(const uint64_t arg[6])
{
    const struct itimer timer = {(uint64_t)(uint32_t)arg[0] * NS, 0};
    const struct itimer old = itimer_set(&timer);

    return (int64_t)((old.ns + NS - 1) / NS);
}

/* struct itimerval: the interval, and until the alarm; each in seconds and microseconds. */
static int itimer_copyout(const struct itimer *timer, uint64_t user)
{
    const uint64_t words[4] = {timer->interval_ns / NS, timer->interval_ns % NS / NS_US, timer->ns / NS,
                               timer->ns % NS / NS_US};

    return copyout(words, user, sizeof(words));
}

static int itimer_copyin(uint64_t user, struct itimer *timer)
{
    uint64_t words[4];

    if (copyin(user, words, sizeof(words)) != 0)
        return -EFAULT;
    if (words[0] > INT64_MAX || words[2] > INT64_MAX || words[1] >= 1000000 || words[3] >= 1000000)
        return -EINVAL;
    for (int i = 0; i < 4; i += 2)
        if (words[i] > INT64_MAX / NS - 1)
            words[i] = INT64_MAX / NS - 1;
    *timer = (struct itimer){words[2] * NS + words[3] * NS_US, words[0] * NS + words[1] * NS_US};
    return 0;
}

int64_t sys_getitimer(const uint64_t arg[6])
{
    struct itimer timer;

    if ((int)arg[0] != ITIMER_REAL)
        return -EINVAL;
    machine_lock(&proc_lock);
    timer = itimer_get_locked(curproc());
    machine_unlock(&proc_lock);
    return itimer_copyout(&timer, arg[1]);
}

int64_t sys_setitimer(const uint64_t arg[6])
{
    struct itimer timer = {0}, old;
    int error = 0;

    if ((int)arg[0] != ITIMER_REAL)
        return -EINVAL;
    if (arg[1] != 0)
        error = itimer_copyin(arg[1], &timer);
    if (error != 0)
        return error;
    old = itimer_set(&timer);
    return arg[2] != 0 ? itimer_copyout(&old, arg[2]) : 0;
}
