/*
 * file.h: one file of the program's that has managed mappings, or had some a
 * moment ago: its vnode, and the one descriptor that the shim keeps of it.
 *
 *   file_get ─▶ open ──mapped──▶ in use ──unmapped, no reference──▶ idle (file_idle.h) ─▶ closed ─▶ spare
 *                                  ▲                                  │
 *                                  └────────── mapped again ──────────┘
 *
 * A struct file is never freed, only used again for another file. So a pointer to one may be kept
 * without a lock and tried with file_ref, as long as its user compares device and inode afterwards.
 */
#ifndef RUN_FILE_H
#define RUN_FILE_H

#include "shim.h"
#include <limits.h>
#include <sys/stat.h>

#define FILE_DEAD UINT32_MAX

/* (c): constant from file_get until the file is closed. */
struct file {
    /* The table of files (files.c). */
    struct file *next_key FL_GUARDED_BY(shim_lock);
    struct file *next_vnode FL_GUARDED_BY(shim_lock);
    struct file *next FL_GUARDED_BY(shim_lock);
    struct file *prev FL_GUARDED_BY(shim_lock);

    /* Unmapped and idle files (file_idle.c). */
    struct file *next_unmapped FL_GUARDED_BY(shim_lock);
    struct file *next_idle FL_GUARDED_BY(shim_lock);
    struct file *prev_idle FL_GUARDED_BY(shim_lock);
    uint64_t idle_since_ns FL_GUARDED_BY(shim_lock);
    bool unmapped FL_GUARDED_BY(shim_lock);  /* on the list that file_reap looks at */
    bool idle FL_GUARDED_BY(shim_lock);      /* on the list of files that nothing maps and that stay known */
    bool came_back FL_GUARDED_BY(shim_lock); /* it was mapped while it was idle */

    struct fl_file *handle FL_GUARDED_BY(shim_lock); /* keeps the vnode alive */
    struct vnode *vnode;                             /* (c) */
    dev_t dev;                                       /* (c) */
    ino_t ino;                                       /* (c) */
    _Atomic int fd;        /* the shim's descriptor, the store's; changes under (S) */
    _Atomic unsigned mode; /* of fd: FL_FREAD | FL_FWRITE; grows, under (S) */

    bool written FL_GUARDED_BY(shim_lock);         /* fork.c: a shared mapping may write it */
    bool inherited FL_GUARDED_BY(shim_lock);       /* fork.c: the child has a shared mapping of it */
    uint64_t handle_hash FL_GUARDED_BY(shim_lock); /* watch.c: the kernel's name of it; 0: not watched */

    _Atomic bool bypass;           /* calls bypass the cache: a child has descriptors, or the kernel has it */
    _Atomic uint32_t in_cache;     /* calls between file_cache_enter and file_cache_leave */
    _Atomic uint32_t refs;         /* calls under way; FILE_DEAD: closed, or about to be */
    _Atomic uint64_t mapped_bytes; /* of managed mappings; changes under (S) */
    _Atomic uint64_t size_seen;    /* the file's length at the last call on it */
    _Atomic uint64_t ctime_seen;   /* fresh.c: st_ctim when the cache was last compared with the file */
    _Atomic bool told_overwritten; /* fresh.c */
    struct shim_mutex position;    /* (P) held by a call that moves a descriptor's position */
};

/* ---- life ------------------------------------------------------------------------------------------ */

/*
 * The file of the program's descriptor fd, of which st is true, opened here if it
 * is not known yet; `mode` is what the descriptor may do. Errors: of fl_open_fd.
 */
FL_NODISCARD int file_get(int fd, const struct stat *st, unsigned mode, struct file **file)
    FL_REQUIRES(shim_lock);
/* Writes back, drops the cache, and closes. The file is dead: nothing maps it, no call refers to it. */
void file_close(struct file *file) FL_REQUIRES(shim_lock);
/*
 * Opens the file for writing, too, by fd, with open flags
 * `flags`. False: it cannot be opened so. Signals are blocked.
 */
bool file_make_writable(struct file *file, int fd, int flags) FL_EXCLUDES(shim_lock);

/* ---- references ------------------------------------------------------------------------------------ */

/*
 * A reference keeps the file open though nothing maps it. file_ref fails for a
 * dead file. Context: signals blocked; file_release and file_lookup take (S).
 */
bool file_ref(struct file *file);
struct file *file_lookup(dev_t dev, ino_t ino) FL_EXCLUDES(shim_lock);
void file_release(struct file *file) FL_EXCLUDES(shim_lock);

/* ---- use ------------------------------------------------------------------------------------------- */

/*
 * Around every step of a call that may dirty pages of the file. False: the call must bypass the
 * cache and go to the kernel. Between the two a call does not wait for (S) or for a hand-over.
 */
static inline bool file_cache_enter(struct file *file)
{
    file->in_cache++;
    if (!file->bypass)
        return true;
    file->in_cache--;
    return false;
}

static inline void file_cache_leave(struct file *file)
{
    file->in_cache--;
}

/* The path of the file that fd is open on, or "inode N" where /proc does not tell. */
void file_path(int fd, ino_t ino, char path[PATH_MAX]);

#endif
