/*
 * change.h: who changed a file: its store, or another program past it.
 *
 * The kernel stamps every change of a file with the time (st_ctim); also a store through a mapping, when
 * it is the first to a page that was clean. What the VM has in its cache was read past the kernel's page
 * cache, which cleans the page there first. So every later change of these bytes moves the stamp. The
 * store reads the stamp before and after each change of its own: what moved in between is its own doing,
 * and anything else is not.
 *
 *     begin ─▶ look: has it moved since the last look, with no change of ours under way? ─▶ another program
 *     (the change)
 *     end   ─▶ look: that is ours
 *
 * It cannot tell a change that another program makes while one of ours is under way. Programs that
 * share a file do not write it at the same time without a lock, and the VM writes what is dirty
 * before a lock is released.
 *
 * Before Linux 6.13 the stamp has the grain of the timer (1 to 10 ms). There a young change may hide another
 * one, so it counts as another program's when it is looked at again.
 */
#ifndef STORES_CHANGE_H
#define STORES_CHANGE_H

#include <faultline/store.h>
#include <stdatomic.h>

struct stat;

/* Whether every change after a look moves the stamp, however soon it comes: since Linux 6.13. */
FL_NODISCARD bool file_stamps_are_fine(void);

struct file_change {
    _Atomic uint64_t ctime_ns; /* at the last look; atomics: no lock */
    _Atomic uint64_t mtime_ns;
    _Atomic uint32_t under_way; /* changes of our own */
    _Atomic uint32_t what;      /* STORE_*: changes that were not told yet */
};

/* Begins to watch the file. st: what fstat said, now or before. */
void file_change_open(struct file_change *change, const struct stat *st);
/* Surround each change that the store makes. st: what fstat says right before it. */
void file_change_begin(struct file_change *change, const struct stat *st);
void file_change_end(struct file_change *change, int fd);
/* store_ops.changed. Errors: of fstat(2). */
FL_NODISCARD int file_change_what(struct file_change *change, int fd, enum store_ask how, unsigned *what);

#endif
