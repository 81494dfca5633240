/*
 * fdtable.h: which of the program's descriptors are managed files: the question that every read and write
 * asks.
 *
 *   fd ─▶ slot:  | version | generation |      generation == files_generation: no managed file, ask no more
 *                | file, told           |      else: unknown; fstat answers, on the slow way
 *
 * FD1  A slot that says "no managed file" is true. It is said of what a descriptor was at an fstat, and
 *      forgotten whenever the descriptor may have become a managed file since: the number is a new open file
 *      (fd_forget: version + 1, so that nobody who asked before can say so afterwards), or one more file is
 *      managed (files_generation + 1).
 * FD2  "Managed" is never believed: fd_begin compares device and inode each time. A slot whose descriptor
 * was
 *      closed inside libc does no harm.
 *
 * So only what makes a descriptor of a file that is already managed must be seen (opens.c, docs/run.md),
 * and nothing has to be seen that closes one. Descriptors behind the table are asked each time.
 */
#ifndef RUN_FDTABLE_H
#define RUN_FDTABLE_H

#include "shim.h"

#define FD_SLOTS 65536

struct fd_slot {
    _Atomic uint64_t known;      /* version << 32 | generation; generation 0: unknown */
    _Atomic(struct file *) file; /* where to look first; may be stale */
    _Atomic(fl_errseq_t) told;   /* of the file's failed write-backs */
};

extern struct fd_slot fd_slots[FD_SLOTS];

/* Certainly no managed file. Two loads; one while there is none at all. */
static inline bool fd_is_other(int fd)
{
    if (atomic_load_explicit(&files_mapped, memory_order_acquire) == 0)
        return true;
    return (unsigned)fd < FD_SLOTS &&
           (uint32_t)atomic_load_explicit(&fd_slots[fd].known, memory_order_acquire) == files_generation;
}

/* The number may be another open file from now on. Safe in signal handlers and children of vfork. */
void fd_forget(int fd);
/* All numbers may be. */
void fd_forget_all(void);

/* A call on a descriptor of a managed file. */
struct fd_call {
    int fd;
    int flags; /* F_GETFL's */
    struct file *file;
    struct stat st; /* at the beginning; the length is the file's, whatever is dirty */
    sigset_t saved;
};

/*
 * True: fd is a managed file, which stays so until fd_end; all signals are blocked. False: the call is the
 * kernel's alone.
 */
bool fd_begin(int fd, struct fd_call *call);
void fd_end(struct fd_call *call);
/* Whose failed write-backs the descriptor has heard of; NULL: it has no slot. */
static inline _Atomic(fl_errseq_t) *fd_told(int fd)
{
    return (unsigned)fd < FD_SLOTS ? &fd_slots[fd].told : NULL;
}

/* What the descriptor has heard of, which is of this file; 0: nothing. For mmap. */
fl_errseq_t fd_told_of(int fd, const struct file *file);

/* Whether the path is a managed file, here or in another process; flags: of fstatat. errno stays. */
bool fd_path_is_managed(int dir, const char *path, int flags);

static inline bool fd_may_read(const struct fd_call *call)
{
    return (call->flags & O_ACCMODE) != O_WRONLY && (call->flags & O_PATH) == 0;
}

static inline bool fd_may_write(const struct fd_call *call)
{
    return (call->flags & O_ACCMODE) != O_RDONLY && (call->flags & O_PATH) == 0;
}

#endif
