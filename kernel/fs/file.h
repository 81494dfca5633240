/*
 * file.h: an open file, and the table of descriptors of a process.
 *
 *   descriptor ─▶ struct filedesc ─▶ struct file (offset, flags) ─▶ file_ops: regular, directory, pipe, tty …
 *                                          └▶ inode, vnode
 *
 * Locks: (FD) filedesc->lock, a leaf: the table. (f) file->lock: the offset, for as long as a read or write
 * at it takes. `refs` counts descriptors and system calls that are using the file. (struct file, BSD and
 * Linux.)
 */
#ifndef KERNEL_FS_FILE_H
#define KERNEL_FS_FILE_H

#include "fs/inode.h"

#define POLL_FOREVER UINT64_MAX

/* NULL: -EINVAL, or what Linux says. iov: memory of the program's (USER_START …), or of the kernel's for
 * kernel_read. All may sleep; where a read or write would wait and the file has O_NONBLOCK,
 * -EAGAIN. */
struct file_ops {
    /* *offset is advanced by what was moved. A pipe or a tty ignores it. Returns bytes. */
    FL_NODISCARD int64_t (*read)(struct file *file, const struct fl_iovec *iov, uint32_t niov,
                                 uint64_t *offset);
    FL_NODISCARD int64_t (*write)(struct file *file, const struct fl_iovec *iov, uint32_t niov,
                                  uint64_t *offset);
    FL_NODISCARD int64_t (*ioctl)(struct file *file, uint64_t request, uint64_t arg);
    /* Returns the POLL* events that are true now. Whoever changes the answer calls poll_wake(). */
    FL_NODISCARD unsigned (*poll)(struct file *file);
    /* The last reference is gone. */
    void (*close)(struct file *file);
    bool seekable;
    uint32_t type; /* S_IF*, for fstat where there is no inode */
};

struct file {
    const struct file_ops *ops; /* (c) after open */
    struct inode *inode;        /* (c) with a reference, or NULL */
    struct vnode *vnode;        /* (c) with a reference, or NULL: it can be mapped */
    _Atomic uint32_t refs;
    _Atomic uint32_t flags; /* O_* of Linux: access mode, O_APPEND, O_NONBLOCK, O_DIRECT … */
    struct sleep_lock lock; /* (f) */
    uint64_t offset;        /* (f) */
    fl_errseq_t told;       /* (f) for fl_vnode_fsync */
    void *private;          /* the ops' own */
};

/* A process's descriptors. Shared by threads; copied by fork. */
struct filedesc;
/* What paths start from: root, working directory, umask. Shared by threads; copied by fork. */
struct fs_context;

FL_NODISCARD struct filedesc *filedesc_create(void);
FL_NODISCARD struct filedesc *filedesc_copy(struct filedesc *from);
struct filedesc *filedesc_ref(struct filedesc *fd);
/* Drops a reference; with the last one all files are closed. */
void filedesc_put(struct filedesc *fd);
void filedesc_close_on_exec(struct filedesc *fd);

FL_NODISCARD struct fs_context *fs_context_create(void);
FL_NODISCARD struct fs_context *fs_context_copy(struct fs_context *from);
struct fs_context *fs_context_ref(struct fs_context *fs);
void fs_context_put(struct fs_context *fs);

/* The file of descriptor fd of the calling process, with a reference. Errors: -EBADF. */
FL_NODISCARD int fget(int fd, struct file **file);
void fput(struct file *file);
static inline struct file *file_ref(struct file *file)
{
    atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
    return file;
}
/*
 * fget for the length of a system call. A process with one thread and a table of its own takes no reference:
 * nobody else can close the file meanwhile. Returns whether there is one to drop: fdput. *file: NULL, -EBADF.
 */
FL_NODISCARD bool fdget(int fd, struct file **file);
static inline void fdput(struct file *file, bool referenced)
{
    if (referenced)
        fput(file);
}
/* A file with one reference, and no ops or inode yet. Errors: -ENFILE, -ENOMEM. */
FL_NODISCARD int file_create(const struct file_ops *ops, unsigned flags, struct file **file);
/* The lowest free descriptor >= least names the file, whose reference it takes over. flags: O_CLOEXEC.
 * Returns it. Errors, and the caller's reference is dropped: -EMFILE. */
FL_NODISCARD int fd_install(struct file *file, int least, unsigned flags);
/* The same at exactly `fd`; what that named before is closed. dup2(2), dup3(2). */
FL_NODISCARD int fd_install_at(struct file *file, int fd, unsigned flags);
/* Errors: -EBADF. */
FL_NODISCARD int fd_close(int fd);
/* Closes the descriptors [first, last]; or, with cloexec, marks them. */
void fd_close_range(unsigned first, unsigned last, bool cloexec);
/* FD_CLOEXEC of the descriptor; set < 0: only asks. Errors: -EBADF. */
FL_NODISCARD int fd_cloexec(int fd, int set);
/* *file: that of the first descriptor >= *fd of the table, with a reference; NULL: there are no more. For
 * /proc/PID/fd. */
void filedesc_next(struct filedesc *table, int *fd, struct file **file);

/* Opens a path for the kernel itself (init, exec). *file has a reference. */
FL_NODISCARD int kernel_open(const char *path, unsigned flags, uint32_t mode, struct file **file);
/* Reads exactly into the kernel's memory, unless the file ends. Returns bytes. */
FL_NODISCARD int64_t kernel_read(struct file *file, void *buffer, size_t len_bytes, uint64_t offset);
/* The path of an inode as seen from the root, for /proc/self/exe, maps and getcwd. Errors: -ENOENT,
 * -ERANGE. */
FL_NODISCARD int inode_path(struct inode *inode, char *path, size_t max);

/* Some file's poll answer changed: whoever polls looks again. Cheap when nobody does. Context: any thread,
 * also under the kernel's locks; not an interrupt. */
void poll_wake(void);

/* Mounts everything and opens /dev/console; the first thing that the first process does. root_device: "vda".
 * Context: boot. */
FL_NODISCARD int fs_boot(const char *root_device);
/* Writes everything back (sync(2), poweroff). */
FL_NODISCARD int fs_sync(void);

#endif
