/*
 * time_calls.c: clocks, sleeping for a time, and what processes have used.
 *
 * The machine's clock counts from boot; the wall clock is that and boot_time_ns, which setting it changes.
 * Processor time is one sum: how much of it was the kernel's is not told apart, and counts as the program's.
 */
#include <linux/errno.h>
#include <linux/resource.h>
#include <linux/time.h>

#include "kernel.h"
#include "lib/copy.h"
#include "proc/calls.h"
#include "proc/proc.h"
#include "proc/sleep.h"

#define NS          UINT64_C(1000000000) /* in a second */
#define NS_US       1000
#define CLOCK_TICKS 100 /* in a second, of times(2) */
#define TIMER_ABS   1   /* TIMER_ABSTIME */

_Static_assert(sizeof(struct timespec_user) == 16, "struct timespec of the ABI");

int64_t wall_time_ns(void)
{
    return boot_time_ns + (int64_t)machine_time_ns();
}

uint64_t deadline_after(uint64_t ns)
{
    uint64_t now = machine_time_ns();

    return ns < UINT64_MAX - now ? now + ns : UINT64_MAX;
}

int timespec_copyin(uint64_t user, uint64_t *ns)
{
    struct timespec_user ts;

    if (copyin(user, &ts, sizeof(ts)) != 0)
        return -EFAULT;
    if (ts.sec < 0 || (uint64_t)ts.nsec >= NS)
        return -EINVAL;
    *ns = (uint64_t)ts.sec < UINT64_MAX / 2 / NS ? (uint64_t)ts.sec * NS + (uint64_t)ts.nsec : UINT64_MAX / 2;
    return 0;
}

int timespec_copyout(uint64_t user, uint64_t ns)
{
    const struct timespec_user ts = {(int64_t)(ns / NS), (int64_t)(ns % NS)};

    return copyout(&ts, user, sizeof(ts));
}

/* ---- clocks ---------------------------------------------------------------------------------------- */

static uint64_t self_time_ns(void)
{
    uint64_t time_ns;

    machine_lock(&proc_lock);
    time_ns = proc_time_ns(curproc());
    machine_unlock(&proc_lock);
    return time_ns;
}

/* Errors: -EINVAL: there is no such clock. */
static int clock_read(uint64_t clock, uint64_t *ns)
{
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI:
        *ns = (uint64_t)wall_time_ns();
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        *ns = machine_time_ns();
        return 0;
    case CLOCK_PROCESS_CPUTIME_ID:
        *ns = self_time_ns();
        return 0;
    case CLOCK_THREAD_CPUTIME_ID:
        *ns = thread_time_ns(curthread());
        return 0;
    default:
        return -EINVAL;
    }
}

int64_t sys_clock_gettime(const uint64_t arg[6])
{
    uint64_t ns;
    int error = clock_read((uint32_t)arg[0], &ns);

    return error != 0 ? error : timespec_copyout(arg[1], ns);
}

int64_t sys_clock_getres(const uint64_t arg[6])
{
    uint64_t ns;
    int error = clock_read((uint32_t)arg[0], &ns);

    return error != 0 || arg[1] == 0 ? error : timespec_copyout(arg[1], 1);
}

static int set_wall_time(uint64_t ns)
{
    if (curproc()->euid != 0)
        return -EPERM;
    boot_time_ns = (int64_t)(ns - machine_time_ns());
    return 0;
}

int64_t sys_clock_settime(const uint64_t arg[6])
{
    uint64_t ns;
    int error;

    if ((uint32_t)arg[0] != CLOCK_REALTIME)
        return -EINVAL;
    error = timespec_copyin(arg[1], &ns);
    return error != 0 ? error : set_wall_time(ns);
}

struct timeval_user {
    int64_t sec, usec;
};

static struct timeval_user timeval_of(uint64_t ns)
{
    return (struct timeval_user){(int64_t)(ns / NS), (int64_t)(ns % NS / NS_US)};
}

int64_t sys_gettimeofday(const uint64_t arg[6])
{
    const struct timeval_user tv = timeval_of((uint64_t)wall_time_ns());
    const int zone[2] = {0, 0};

    if (arg[0] != 0 && copyout(&tv, arg[0], sizeof(tv)) != 0)
        return -EFAULT;
    return arg[1] != 0 ? copyout(zone, arg[1], sizeof(zone)) : 0;
}

int64_t sys_settimeofday(const uint64_t arg[6])
{
    struct timeval_user tv;

    if (arg[0] == 0)
        return 0;
    if (copyin(arg[0], &tv, sizeof(tv)) != 0)
        return -EFAULT;
    if (tv.sec < 0 || tv.sec > INT64_MAX / (int64_t)NS - 1 || (uint64_t)tv.usec >= 1000000)
        return -EINVAL;
    return set_wall_time((uint64_t)tv.sec * NS + (uint64_t)tv.usec * NS_US);
}

int64_t sys_time(const uint64_t arg[6])
{
    const int64_t seconds = wall_time_ns() / (int64_t)NS;

    if (arg[0] != 0 && copyout(&seconds, arg[0], sizeof(seconds)) != 0)
        return -EFAULT;
    return seconds;
}

/* ---- sleeping -------------------------------------------------------------------------------------- */

/* Returns 0; or -ERESTARTNOHAND. */
static int sleep_until(uint64_t deadline_ns)
{
    struct thread *td = curthread();
    int error = 0;

    machine_lock(&proc_lock);
    while (error == 0 && machine_time_ns() < deadline_ns)
        error = sleep_interruptible(&td->td_sleep_until, &proc_lock, deadline_ns);
    machine_unlock(&proc_lock);
    return error == -ERESTART ? -ERESTARTNOHAND : 0;
}

/* A call that is made again, after a signal without a handler, sleeps until the first one's end. */
static int64_t sleep_for(uint64_t ns, uint64_t left)
{
    struct thread *td = curthread();
    uint64_t deadline_ns = td->td_sleep_until != 0 ? td->td_sleep_until : deadline_after(ns);
    int error = sleep_until(deadline_ns);
    uint64_t now;

    td->td_sleep_until = error != 0 ? deadline_ns : 0;
    if (error == 0 || left == 0)
        return error;
    now = machine_time_ns();
    return timespec_copyout(left, now < deadline_ns ? deadline_ns - now : 0) != 0 ? -EFAULT : error;
}

int64_t sys_nanosleep(const uint64_t arg[6])
{
    uint64_t ns;
    int error = timespec_copyin(arg[0], &ns);

    return error != 0 ? error : sleep_for(ns, arg[1]);
}

int64_t sys_clock_nanosleep(const uint64_t arg[6])
{
    uint64_t ns, now;
    int error = clock_read((uint32_t)arg[0], &now);

    if (error == 0)
        error = timespec_copyin(arg[2], &ns);
    if (error != 0)
        return error;
    if (((uint32_t)arg[1] & TIMER_ABS) == 0)
        return sleep_for(ns, arg[3]);
    return sleep_until(ns > now ? deadline_after(ns - now) : 0);
}

/* ---- what was used --------------------------------------------------------------------------------- */

int rusage_copyout(uint64_t user, uint64_t time_ns)
{
    const struct timeval_user tv = timeval_of(time_ns);
    struct rusage usage = {0};

    usage.ru_utime.tv_sec = tv.sec;
    usage.ru_utime.tv_usec = tv.usec;
    return copyout(&usage, user, sizeof(usage));
}

int64_t sys_getrusage(const uint64_t arg[6])
{
    uint64_t ns;

    switch ((int)arg[0]) {
    case RUSAGE_SELF:
        ns = self_time_ns();
        break;
    case RUSAGE_CHILDREN:
        ns = curproc()->child_time_ns;
        break;
    case RUSAGE_THREAD:
        ns = thread_time_ns(curthread());
        break;
    default:
        return -EINVAL;
    }
    return rusage_copyout(arg[1], ns);
}

int64_t sys_times(const uint64_t arg[6])
{
    const int64_t tms[4] = {(int64_t)(self_time_ns() / (NS / CLOCK_TICKS)), 0,
                            (int64_t)(curproc()->child_time_ns / (NS / CLOCK_TICKS)), 0};

    if (arg[0] != 0 && copyout(tms, arg[0], sizeof(tms)) != 0)
        return -EFAULT;
    return (int64_t)(machine_time_ns() / (NS / CLOCK_TICKS));
}
