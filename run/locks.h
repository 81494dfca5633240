/*
 * locks.h: record locks, for the names that have other tasks besides: fcntl (opens.c), close (fds.c).
 */
#ifndef RUN_LOCKS_H
#define RUN_LOCKS_H

#include <stdbool.h>

/* Whether the fcntl command sets a record lock. */
bool locks_is_command(int command);
/* fcntl with such a command. */
int locks_fcntl(int fd, int command, void *lock);
/* The descriptor is about to be closed: its locks go. */
void locks_closing(int fd);

#endif
