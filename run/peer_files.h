/* peer_files.h: which files a process has open or mapped, as /proc tells (peer_files.c). */
#ifndef RUN_PEER_FILES_H
#define RUN_PEER_FILES_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Each descriptor of process pid (0: this one), until visit
 * returns other than 0, which is returned. Errors: of open(2).
 */
int peer_files_each(pid_t pid, int (*visit)(int fd, void *arg), void *arg);

/*
 * Another process that has the file open, or mapped and shared; with `writes`,
 * for writing. 0: /proc shows none, and it does not show other users'
 * processes. Costs some microseconds for each open descriptor of the machine.
 */
pid_t peer_with(dev_t dev, ino_t ino, bool writes);

/* Whether the process has the file open, or mapped and shared, for writing. True when /proc does not tell. */
bool peer_may_write(pid_t pid, dev_t dev, ino_t ino);

#endif
