/*
 * change.h: who changed a file: its store, or somebody past it.
 *
 * The kernel stamps every change of a file with the time (st_ctim), also a store through a mapping, when it
 * is the first to a page that was clean. Whatever the VM has in its cache was read past the kernel's page
 * cache, by which the kernel cleans the page first; so a later change of these bytes, by whatever way,
 * moves the stamp. The store reads it before and after each change of its own: what moved in between is its
 * own doing, anything else is not.
 *
 *     begin ─▶ look: moved since the last look, and no change of ours under way? ─▶ somebody else's
 *     (the change)
 *     end   ─▶ look: that is ours
 *
 * Not told apart: a change that another makes while one of ours is under way. Programs that share a file do
 * not write it at one time without a lock, and the VM writes what is dirty before a lock is released.
 *
 * Before Linux 6.13 the stamp has the grain of the timer (1 to 10 ms): there a change that is so young may
 * hide another, and counts as one by somebody else when it is looked at again.
 */
#ifndef STORES_CHANGE_H
#define STORES_CHANGE_H

#include <faultline/store.h>
#include <stdatomic.h>

struct stat;

/* Whether a change that comes after a look moves the stamp, however soon: since Linux 6.13. */
FL_NODISCARD bool file_stamps_are_fine(void);

struct file_change {
    _Atomic uint64_t ctime_ns; /* at the last look; atomics: no lock */
    _Atomic uint64_t mtime_ns;
    _Atomic uint32_t under_way; /* changes of our own */
    _Atomic uint32_t what;      /* STORE_CHANGED, STORE_OVERWRITTEN: not told yet */
};

/* From now on; st is what fstat said at the latest now. */
void file_change_open(struct file_change *change, const struct stat *st);
/* Around each change that the store makes; st is what fstat says right before. */
void file_change_begin(struct file_change *change, const struct stat *st);
void file_change_end(struct file_change *change, int fd);
/* store_ops.changed. Errors: of fstat(2). */
FL_NODISCARD int file_change_what(struct file_change *change, int fd, enum store_ask how, unsigned *what);

#endif
