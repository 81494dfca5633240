/*
 * fdtable.h: which of the program's descriptors are managed
 * files: the question that every read and write asks.
 *
 *   fd ─▶ slot:  | version | generation |      generation == files_generation: certainly not managed
 *                | file, told           |      else: unknown; an fstat answers, slowly
 *
 * FD1  A slot that says "not managed" is right. The answer is true of what the descriptor was at an
 *      fstat, and is forgotten whenever the descriptor may have become a managed file since: its
 *      number belongs to a new open file (fd_forget raises the version, so that an answer from
 *      before cannot be entered any more), or one more file is managed (files_generation is raised).
 * FD2  "Managed" is never remembered: fd_begin compares device and inode each
 *      time. So a slot does no harm when libc closed its descriptor internally.
 *
 * So the shim must see every call that makes a descriptor of a file that
 * is managed already (opens.c, docs/run.md), and need not see the calls
 * that close one. A descriptor beyond the table is asked for each time.
 */
#ifndef RUN_FDTABLE_H
#define RUN_FDTABLE_H

#include "files.h"
#include <fcntl.h>

#define FD_SLOTS 65536

struct fd_slot {
    _Atomic uint64_t known;      /* version << 32 | generation; generation 0: unknown */
    _Atomic(struct file *) file; /* where to look first; may be stale */
    _Atomic(fl_errseq_t) told;   /* the file's write-back errors that the descriptor has been told of */
};

extern struct fd_slot fd_slots[FD_SLOTS];

/* True: certainly not managed. Two loads; one while no file is managed. */
static inline bool fd_is_other(int fd)
{
    if (atomic_load_explicit(&files_mapped, memory_order_acquire) == 0)
        return true;
    return (unsigned)fd < FD_SLOTS &&
           (uint32_t)atomic_load_explicit(&fd_slots[fd].known, memory_order_acquire) == files_generation;
}

/*
 * The number, or every number, may belong to another open
 * file from now on. Safe in signal handlers and after vfork.
 */
void fd_forget(int fd);
void fd_forget_all(void);

/* ---- calls on a managed file ----------------------------------------------------------------------- */

struct fd_call {
    int fd;
    int flags; /* F_GETFL's */
    struct file *file;
    struct stat st; /* at fd_begin; st_size is the file's length, whatever is dirty */
    sigset_t saved;
};

/*
 * True: fd is a managed file, and stays managed until fd_end,
 * with all signals blocked. False: the call goes to the kernel.
 */
bool fd_begin(int fd, struct fd_call *call) FL_EXCLUDES(shim_lock);
void fd_end(struct fd_call *call) FL_EXCLUDES(shim_lock);

static inline bool fd_may_read(const struct fd_call *call)
{
    return (call->flags & O_ACCMODE) != O_WRONLY && (call->flags & O_PATH) == 0;
}

static inline bool fd_may_write(const struct fd_call *call)
{
    return (call->flags & O_ACCMODE) != O_RDONLY && (call->flags & O_PATH) == 0;
}

/* ---- write-back errors ----------------------------------------------------------------------------- */

/* What the descriptor has been told of; NULL: it has no slot. */
static inline _Atomic(fl_errseq_t) *fd_told(int fd)
{
    return (unsigned)fd < FD_SLOTS ? &fd_slots[fd].told : NULL;
}

/* … of this file; 0: nothing. For mmap. */
fl_errseq_t fd_told_of(int fd, const struct file *file);

/* ---- paths ----------------------------------------------------------------------------------------- */

/* Whether the file at the path is managed, here or in another process; flags: of fstatat. errno stays. */
bool fd_path_is_managed(int dir, const char *path, int flags) FL_EXCLUDES(shim_lock);

#endif
