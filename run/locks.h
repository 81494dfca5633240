/*
 * locks.h: the program's record locks, for the names that
 * also do other things: fcntl (opens.c), close (fds.c).
 */
#ifndef RUN_LOCKS_H
#define RUN_LOCKS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the fcntl command sets a record lock. */
bool locks_is_command(int command);
/* fcntl with such a command. */
int locks_fcntl(int fd, int command, void *lock);
/* The descriptor is about to be closed, and its locks are dropped: what was stored is written back. */
void locks_closing(int fd);

/*
 * Whether a lock was taken by the descriptor of a file so small that processes may use its bytes
 * between two locks, at any moment (SQLite's index of its log): such a file is not managed.
 */
bool locks_forbid_managing(int fd, uint64_t size_bytes);
/*
 * Whether the program may announce what it writes by the descriptor in shared memory, without a lock
 * that is released: a lock was taken by the descriptor, and a small locked file is mapped as well.
 */
bool locks_want_write_through(int fd);

#endif
