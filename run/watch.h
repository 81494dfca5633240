/* watch.h: other processes that open or change a managed file are noticed (watch.c). */
#ifndef RUN_WATCH_H
#define RUN_WATCH_H

#include "file.h"

/* Starts the watcher's thread, before the program runs, since it uses libc's memory. Errors: -ENOMEM. */
FL_NODISCARD int watch_start(void);
/* The child of a fork has no watcher. */
void watch_fork_child(void);

/* ---- watched files --------------------------------------------------------------------------------- */

/* Notices from now on what another process does to the file. With --verbose it says once when it cannot. */
void watch_file(struct file *file) FL_REQUIRES(shim_lock);
/* The file is about to be closed. */
void watch_forget(struct file *file) FL_REQUIRES(shim_lock);
/* A child has descriptors of the file: what it writes through them must be noticed as well. */
void watch_forked(struct file *file) FL_REQUIRES(shim_lock);

/* ---- files that another process uses ---------------------------------------------------------------- */

/*
 * Whether another process has the file of fd open in a way that keeps it from being managed here: for
 * writing, or, if this process `writes` it, at all. *with: which process, or 0 where that is not known. fd is
 * the program's, and the shim has no descriptor of the file. May take milliseconds if another process has.
 */
bool watch_used_elsewhere(int fd, const struct stat *st, bool writes, pid_t *with) FL_EXCLUDES(shim_lock);
/* Says on standard error why the file of fd is the kernel's. `with`: another process, or 0. */
void watch_say_shared(int fd, ino_t ino, pid_t with);
/*
 * Hands the file over, and says so, because process `with`,
 * or an unknown one (0), uses it. Signals are blocked.
 */
void watch_hand_over(struct file *file, pid_t with) FL_REQUIRES(shim_lock);

#endif
