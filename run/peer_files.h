/*
 * peer_files.h: which files a process has, as /proc tells.
 */
#ifndef RUN_PEER_FILES_H
#define RUN_PEER_FILES_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Each descriptor of process pid (0: this one), until visit returns other than 0, which is returned. Errors: of
 * open(2) on /proc.
 */
int peer_files_each(pid_t pid, int (*visit)(int fd, void *arg), void *arg);

/* Whether the process has the file open, or mapped and shared, for writing. What cannot be told is a yes. */
bool peer_may_write(pid_t pid, dev_t dev, ino_t ino);

#endif
