/*
 * limits.c: the program reads and sets its limit on open files. The machine raises that limit for a moment
 * when it opens a descriptor (linux_fd.h); a change by the program waits for that, since it would be undone.
 *
 * Does not do: changes by another process (prlimit with this one's pid), or by syscall(2).
 */
#include "user_copy.h"
#include <linux_fd.h>
#include <sys/resource.h>
#include <unistd.h>

/* The pointers may lead to managed memory. Signals are blocked. */
static long limit_change_locked(pid_t pid, const struct rlimit *new, struct rlimit *old)
{
    struct rlimit set, was;
    long r = new != NULL ? user_copy_in(&set, new, sizeof set) : 0;

    if (r != 0)
        return r;
    linux_fd_limit_lock();
    r = linux_syscall(SYS_prlimit64, pid, RLIMIT_NOFILE, new != NULL ? &set : NULL, &was);
    linux_fd_limit_unlock();
    return r == 0 && old != NULL ? user_copy_out(old, &was, sizeof was) : r;
}

static int limit_change(pid_t pid, int resource, const struct rlimit *new, struct rlimit *old)
{
    sigset_t saved;
    long r;

    if (resource != RLIMIT_NOFILE || !shim_on())
        return (int)syscall(SYS_prlimit64, pid, resource, new, old);
    linux_signals_block(&saved);
    r = limit_change_locked(pid, new, old);
    linux_signals_restore(&saved);
    return (int)shim_return(r);
}

FL_EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    return limit_change(0, (int)resource, limit, NULL);
}

FL_EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
    return limit_change(0, (int)resource, (const struct rlimit *)limit, NULL);
}

FL_EXPORT int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
    return limit_change(0, (int)resource, NULL, limit);
}

FL_EXPORT int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *limit)
{
    return limit_change(0, (int)resource, NULL, (struct rlimit *)limit);
}

FL_EXPORT int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *new,
                      struct rlimit *old)
{
    return limit_change(pid, (int)resource, new, old);
}

FL_EXPORT int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *new,
                        struct rlimit64 *old)
{
    return limit_change(pid, (int)resource, (const struct rlimit *)new, (struct rlimit *)old);
}
