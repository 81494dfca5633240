/*
 * linux_fd.h: descriptors of our own in a process that is somebody else's.
 *
 * Three things about descriptors would be seen by the program: low numbers that it counts on; an open file
 * that it shares with us (O_APPEND, advice, flock); and its record locks (fcntl), of which the kernel drops
 * all that the process has on a file as soon as the process closes any descriptor of that file.
 */
#ifndef MACHINES_LINUX_LINUX_FD_H
#define MACHINES_LINUX_LINUX_FD_H

#include <faultline/machine.h>

/*
 * Another descriptor of the same open file, out of the way of low numbers, closed on exec. Errors: -EBADF,
 * -EMFILE.
 */
FL_NODISCARD int linux_fd_dup(int fd);

/* Opens the file of fd anew, the same way. Errors: of open(2); -ENOENT where there is no /proc. */
FL_NODISCARD int linux_fd_reopen(int fd, int flags);

/* The kernel says EBADF of one that we cannot do without: ends the process, in one line that says why. */
_Noreturn void linux_fd_lost(void);

/* Closes a descriptor of ours; if the process has record locks on its file, later, when it has none. */
void linux_fd_close(int fd);

/*
 * Around a call that sets a record lock: nothing is closed meanwhile, or the lock would be lost between the
 * look for such locks and the close. A call that is left by siglongjmp or cancellation keeps what would be
 * closed open for good.
 */
void linux_fd_locking(bool begins);

/*
 * Whether a descriptor is one of those: a program that closes what it did not open (daemons do) must not
 * meet them.
 */
FL_NODISCARD bool linux_fd_is_ours(int fd);
/* The lowest of them from `from` on, or -1. */
FL_NODISCARD int linux_fd_next_ours(int from);
/*
 * Around a change of the process's limit on open files: for a moment it may not be what the program set.
 * Signals are blocked.
 */
extern struct machine_lock linux_fd_limit;
void linux_fd_limit_lock(void) FL_ACQUIRE(linux_fd_limit);
void linux_fd_limit_unlock(void) FL_RELEASE(linux_fd_limit);
/* From now on it is. For those who got it elsewhere. */
void linux_fd_mark(int fd);

#endif
