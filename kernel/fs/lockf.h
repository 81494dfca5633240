/*
 * lockf.h: locks of files: POSIX record locks, those of open file descriptions, and flock(2).
 *
 *   inode ─▶ lockf_head ─▶ | owner A: read [0, 100) | ─▶ | owner B: write [200, ∞) | ─▶ …
 *
 *   kind        owner                              ends
 *   POSIX       the process's table of files       by F_UNLCK; any close of the file by the process
 *   OFD         the open file                      by F_UNLCK; with the open file
 *   flock       the open file; all of the file     by LOCK_UN; with the open file
 *
 * POSIX and OFD locks exclude each other; flock knows nothing of them. (kern_lockf.c, FreeBSD; locks.c,
 * Linux.)
 *
 * Locks: (LF) lockf_lock: all of it. A leaf.
 */
#ifndef KERNEL_FS_LOCKF_H
#define KERNEL_FS_LOCKF_H

#include "fs/file.h"

enum lockf_kind {
    LOCKF_RECORD, /* POSIX and OFD */
    LOCKF_FLOCK,
};

/* [start, end) of a file. */
struct lockf {
    enum lockf_kind kind;
    bool exclusive;
    uint64_t start, end;
    const void *owner;  /* struct filedesc *: POSIX; struct file * */
    int pid;            /* for F_GETLK; -1: not a process's */
    struct lockf *next; /* (LF) by start, for one owner and kind without overlaps */
};

/*
 * lockf_set: the range becomes the owner's, as `lock` says; what the owner had there is replaced. `wait`:
 * until nobody else is in the way. Errors: -EAGAIN, without wait; -EDEADLK, a circle of waits; -ERESTART;
 * -ENOMEM (-ENOLCK for programs). lockf_clear: the owner has none in the range. Errors: -ENOMEM, of a lock
 * that would be split. lockf_test: *lock becomes one that is in the way; returns whether there is one.
 */
FL_NODISCARD int lockf_set(struct inode *inode, const struct lockf *lock, bool wait);
FL_NODISCARD int lockf_clear(struct inode *inode, const struct lockf *range);
FL_NODISCARD bool lockf_test(struct inode *inode, struct lockf *lock);

/* A descriptor of the file in the table `owner` is closed: the POSIX locks of its inode end. */
void lockf_release_owner(struct file *file, const void *owner);
/* The open file ends. */
void lockf_release_file(struct file *file);

#endif
