/*
 * watch.h: other processes that open or change a managed file are noticed.
 */
#ifndef RUN_WATCH_H
#define RUN_WATCH_H

#include "shim.h"

/* Starts the watcher's thread, before the program runs: it takes memory of libc's. Errors: -ENOMEM. */
FL_NODISCARD int watch_start(void);
/* The child of a fork has no watcher. */
void watch_fork_child(void);

/*
 * What another process does to the file is noticed from now on. (S) held. What cannot be watched is told
 * once.
 */
void watch_file(struct file *file);
/* … not any more: the file is about to be closed. (S) held. */
void watch_forget(struct file *file);
/* A child has descriptors of the file: what it writes through them is to be noticed as well. (S) held. */
void watch_forked(struct file *file);

/*
 * Whether another process has the file of fd open in a way that keeps it from being managed here: for
 * writing, or, where this process `writes` it, at all. *with: which, or 0: not known. fd is the program's,
 * and no other descriptor of the file is ours. Without (S): it may take milliseconds when somebody has.
 */
bool watch_has_company(int fd, const struct stat *st, bool writes, pid_t *with);
/* The line that says why a file is the kernel's. `with`: another process, or 0. fd: of the file. */
void watch_say_shared(int fd, ino_t ino, pid_t with);

/*
 * The file becomes the kernel's because process `with` has it, too (0: not known which), with a line on
 * standard error. (S) held, signals blocked.
 */
void watch_hand_over(struct file *file, pid_t with);

#endif
