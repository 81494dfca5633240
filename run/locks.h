/*
 * locks.h: record locks, for the names that have other tasks besides: fcntl (opens.c), close (fds.c).
 */
#ifndef RUN_LOCKS_H
#define RUN_LOCKS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the fcntl command sets a record lock. */
bool locks_is_command(int command);
/* fcntl with such a command. */
int locks_fcntl(int fd, int command, void *lock);
/*
 * Whether a lock was taken by the descriptor, of a file so small that processes may use its bytes at any
 * moment between two locks (SQLite's index of its log): such a file is not to be managed.
 */
bool locks_make_shared(int fd, uint64_t size_bytes);
/*
 * Whether what is written by the descriptor may be announced to other processes in memory, without a lock
 * that is released: a lock was taken by it, and the program maps a small file that is locked as well.
 */
bool locks_are_beside_memory(int fd);
/* The descriptor is about to be closed: its locks go. */
void locks_closing(int fd);

#endif
