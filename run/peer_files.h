/*
 * peer_files.h: which files a process has, as /proc tells.
 */
#ifndef RUN_PEER_FILES_H
#define RUN_PEER_FILES_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Each descriptor of process pid (0: this one), until visit returns other than 0, which is returned.
 * Errors: of open(2) on /proc.
 */
int peer_files_each(pid_t pid, int (*visit)(int fd, void *arg), void *arg);

/*
 * A process other than this one that has the file open, or mapped and shared; `writes`: for writing. 0:
 * none that /proc shows: those of other users it does not. Some microseconds for each descriptor that there
 * is.
 */
pid_t peer_with(dev_t dev, ino_t ino, bool writes);

/* Whether the process has the file open, or mapped and shared, for writing. What cannot be told is a yes. */
bool peer_may_write(pid_t pid, dev_t dev, ino_t ino);

#endif
