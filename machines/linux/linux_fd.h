/*
 * linux_fd.h: our own descriptors in a process that is the program's.
 *
 * A program can see three things of our descriptors: low numbers that it counts on; an open file that it
 * shares with us (O_APPEND, advice, flock); and its record locks (fcntl), because the kernel drops all record
 * locks that the process has on a file as soon as the process closes any descriptor of that file.
 */
#ifndef MACHINES_LINUX_LINUX_FD_H
#define MACHINES_LINUX_LINUX_FD_H

#include <faultline/machine.h>

/* Returns another descriptor of the same open file, above the low numbers and closed on exec.
 * Errors: -EBADF, -EMFILE. */
FL_NODISCARD int linux_fd_dup(int fd);

/* Opens the file of fd anew and returns the descriptor. Errors: of open(2); -ENOENT: there is no /proc. */
FL_NODISCARD int linux_fd_reopen(int fd, int flags);

/* The program closed a descriptor without which we cannot go on: ends the process with
 * a line that says so. */
_Noreturn void linux_fd_lost(void);

/* Closes a descriptor of ours. While the process has record locks on its file, the descriptor stays open. */
void linux_fd_close(int fd);

/*
 * Surrounds a call of the program that sets a record lock: nothing is closed meanwhile, or the lock would be
 * lost between the look for such locks and the close. When the call is left by siglongjmp or cancellation,
 * descriptors stay open for good.
 */
void linux_fd_locking(bool begins);

/* Whether the descriptor is one of ours: a program that closes what it did not open (daemons
 * do) must not close it. */
FL_NODISCARD bool linux_fd_is_ours(int fd);
/* Returns the lowest of ours that is >= from, or -1. */
FL_NODISCARD int linux_fd_next_ours(int from);
/* Marks a descriptor as ours that was made elsewhere. */
void linux_fd_mark(int fd);

/*
 * Surround a change of the process's limit on open files. While linux_fd_limit is held by others, the limit
 * may not be the one that the program set. Context: signals are blocked.
 */
extern struct machine_lock linux_fd_limit;
void linux_fd_limit_lock(void) FL_ACQUIRE(linux_fd_limit);
void linux_fd_limit_unlock(void) FL_RELEASE(linux_fd_limit);

#endif
