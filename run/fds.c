/*
 * fds.c: the shim's own descriptors, and programs that close descriptors that they did not open.
 *
 *      close_range(3, ~0):   | the program's | the shim's | the program's | the shim's | …
 *                            └── closed ─────┘            └── closed ─────┘
 *
 * For the program the shim's descriptors do not exist: closing one is EBADF. So is replacing one by
 * dup2, which no program does on purpose with numbers so high. A child of a fork may close them.
 */
#include "fdtable.h"
#include "fresh.h"
#include "locks.h"
#include "real.h"
#include <linux_fd.h>

static bool is_ours(int fd)
{
    return shim_on() && linux_fd_is_ours(fd);
}

static int bad_fd(void)
{
    errno = EBADF;
    return -1;
}

FL_EXPORT int close(int fd)
{
    if (is_ours(fd))
        return bad_fd();
    if (files_mapped != 0) {
        locks_closing(fd);
        fresh_closing(fd);
        fd_forget(fd); /* before the close: another thread may get the number at once */
    }
    return shim_real()->close(fd);
}

/* The number r belongs to another open file from now on. */
static int replaced(int r)
{
    if (r >= 0 && files_mapped != 0)
        fd_forget(r);
    return r;
}

FL_EXPORT int dup2(int fd, int target)
{
    locks_closing(target);
    return is_ours(target) ? bad_fd() : replaced(shim_real()->dup2(fd, target));
}

FL_EXPORT int dup3(int fd, int target, int flags)
{
    locks_closing(target);
    return is_ours(target) ? bad_fd() : replaced(shim_real()->dup3(fd, target, flags));
}

FL_EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    unsigned from = first;

    if (!shim_on() || first > last)
        return shim_real()->close_range(first, last, flags);
    for (int fd = first <= INT_MAX ? linux_fd_next_ours((int)first) : -1; fd >= 0 && (unsigned)fd <= last;
         fd = linux_fd_next_ours(fd + 1)) {
        if ((unsigned)fd > from && shim_real()->close_range(from, (unsigned)fd - 1, flags) != 0)
            return -1;
        from = (unsigned)fd + 1;
    }
    return from <= last ? shim_real()->close_range(from, last, flags) : 0;
}

FL_EXPORT void closefrom(int lowest)
{
    (void)close_range(lowest < 0 ? 0 : (unsigned)lowest, UINT_MAX, 0);
}
