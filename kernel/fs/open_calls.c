/*
 * open_calls.c: the system calls of descriptors: they come, are copied, are asked and changed, and go.
 */
#include "fs/fs_calls.h"

#include "fs/boot.h"
#include "fs/lockf.h"
#include "fs/namei.h"
#include "fs/pipe.h"
#include "fs/regular.h"
#include "fs/tmpfs.h"
#include "lib/copy.h"
#include "string.h"
#include "proc/proc.h"

#include <asm/ioctls.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#define O_LARGEFILE_64      0100000 /* what open(2) adds on x86-64, and F_GETFL shows */
#define MFD_CLOEXEC         1u      /* linux/memfd.h, whose name a header of machines/ has, too */
#define MFD_ALLOW_SEALING   2u
#define MEMFD_NAME_MAX      249
#define RLIMIT_NOFILE       7 /* asm-generic/resource.h */
#define SETFL_FLAGS         (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | FASYNC)
#define CLOSE_RANGE_CLOEXEC 4u /* linux/close_range.h */

/* ---- coming and going ---------------------------------------------------------------------------------- */

static int64_t open_at(int dirfd, uint64_t user_path, unsigned flags, uint32_t mode)
{
    struct pathname pathname;
    struct file *file;
    int error = pathname_copyin(&pathname, user_path, false);

    if (error != 0)
        return error;
    if (flags & __O_TMPFILE)
        error = -EOPNOTSUPP;
    else
        error = file_open(dirfd, pathname.path, flags | O_LARGEFILE_64, mode, &file);
    pathname_free(&pathname);
    return error != 0 ? error : fd_install(file, 0, flags);
}

int64_t sys_open(const uint64_t arg[6])
{
    return open_at(AT_FDCWD, arg[0], (unsigned)arg[1], (uint32_t)arg[2]);
}

int64_t sys_openat(const uint64_t arg[6])
{
    return open_at((int)arg[0], arg[1], (unsigned)arg[2], (uint32_t)arg[3]);
}

int64_t sys_openat2(const uint64_t arg[6])
{
    struct open_how how;

    if (arg[3] < sizeof(how))
        return -EINVAL;
    if (arg[3] > sizeof(how))
        return -E2BIG;
    int error = copyin(arg[2], &how, sizeof(how));
    if (error != 0)
        return error;
    if (how.flags > UINT32_MAX || how.resolve != 0 || (how.mode & ~UINT64_C(07777)) ||
        (how.mode != 0 && !(how.flags & (O_CREAT | __O_TMPFILE))))
        return -EINVAL;
    return open_at((int)arg[0], arg[1], (unsigned)how.flags, (uint32_t)how.mode);
}

int64_t sys_creat(const uint64_t arg[6])
{
    return open_at(AT_FDCWD, arg[0], O_CREAT | O_WRONLY | O_TRUNC, (uint32_t)arg[1]);
}

int64_t sys_close(const uint64_t arg[6])
{
    return fd_close((int)arg[0]);
}

int64_t sys_close_range(const uint64_t arg[6])
{
    unsigned first = (unsigned)arg[0], last = (unsigned)arg[1], flags = (unsigned)arg[2];

    if (first > last || (flags & ~CLOSE_RANGE_CLOEXEC))
        return -EINVAL;
    fd_close_range(first, last, (flags & CLOSE_RANGE_CLOEXEC) != 0);
    return 0;
}

int64_t sys_dup(const uint64_t arg[6])
{
    struct file *file;
    int error = fget((int)arg[0], &file);

    return error != 0 ? error : fd_install(file, 0, 0);
}

int64_t sys_dup2(const uint64_t arg[6])
{
    struct file *file;
    int error = fget((int)arg[0], &file);

    if (error != 0)
        return error;
    if ((int)arg[0] == (int)arg[1]) {
        fput(file);
        return (int)arg[1];
    }
    return fd_install_at(file, (int)arg[1], 0);
}

int64_t sys_dup3(const uint64_t arg[6])
{
    struct file *file;

    if ((arg[2] & ~(uint64_t)O_CLOEXEC) || (int)arg[0] == (int)arg[1])
        return -EINVAL;
    int error = fget((int)arg[0], &file);
    return error != 0 ? error : fd_install_at(file, (int)arg[1], (unsigned)arg[2]);
}

/* Both ends get descriptors, which are told at `user`. */
static int64_t pipe_at(uint64_t user, unsigned flags)
{
    struct file *end[2];
    int fd[2];

    if (flags & ~(unsigned)(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    int error = pipe_create(flags & O_NONBLOCK, end);
    if (error != 0)
        return error;
    fd[0] = fd_install(end[0], 0, flags);
    if (fd[0] < 0) {
        fput(end[1]);
        return fd[0];
    }
    fd[1] = fd_install(end[1], 0, flags);
    error = fd[1] < 0 ? fd[1] : copyout(fd, user, sizeof(fd));
    if (error == 0)
        return 0;
    /* Another thread may have closed them by now: then there is nothing to do. */
    (void)!fd_close(fd[0]);
    if (fd[1] >= 0)
        (void)!fd_close(fd[1]);
    return error;
}

int64_t sys_pipe(const uint64_t arg[6])
{
    return pipe_at(arg[0], 0);
}

int64_t sys_pipe2(const uint64_t arg[6])
{
    return pipe_at(arg[0], (unsigned)arg[1]);
}

int64_t sys_memfd_create(const uint64_t arg[6])
{
    char name[MEMFD_NAME_MAX + 1];
    struct inode *inode;
    struct file *file;
    int64_t n = copyinstr(arg[0], name, sizeof(name));

    if (n < 0)
        return n == -ENAMETOOLONG ? -EINVAL : n;
    if (arg[1] & ~(uint64_t)(MFD_CLOEXEC | MFD_ALLOW_SEALING))
        return -EINVAL;
    int error = tmpfs_file(memfd_mount, 0777, &inode);
    if (error != 0)
        return error;
    error = file_open_inode(inode, O_RDWR | O_LARGEFILE_64, &file);
    inode_put(inode);
    return error != 0 ? error : fd_install(file, 0, arg[1] & MFD_CLOEXEC ? O_CLOEXEC : 0);
}

int64_t sys_socket(const uint64_t arg[6])
{
    (void)arg;
    return -EAFNOSUPPORT; /* there is no network, and there are no sockets */
}

/* ---- record locks -------------------------------------------------------------------------------------- */

/* [start, end) of what the program calls (whence, start, len). Errors: -EINVAL, -EOVERFLOW. */
static int flock_range(const struct file *file, const struct flock *user, struct lockf *lock)
{
    int64_t from = 0, start, end;

    if (user->l_whence == SEEK_CUR)
        from = (int64_t)file->offset;
    else if (user->l_whence == SEEK_END)
        from = file->vnode != NULL ? (int64_t)fl_vnode_size(file->vnode) : 0;
    else if (user->l_whence != SEEK_SET)
        return -EINVAL;
    if (__builtin_add_overflow(from, user->l_start, &start))
        return -EOVERFLOW;
    if (start < 0)
        return -EINVAL;
    if (__builtin_add_overflow(start, user->l_len, &end))
        return -EOVERFLOW;
    if (end < 0 || (user->l_len < 0 && end == start))
        return -EINVAL;
    lock->start = (uint64_t)(user->l_len < 0 ? end : start);
    lock->end = user->l_len == 0 ? UINT64_MAX : (uint64_t)(user->l_len < 0 ? start : end);
    return 0;
}

static int64_t flock_get(struct file *file, struct flock *user, struct lockf *lock, uint64_t arg)
{
    if (user->l_type != F_RDLCK && user->l_type != F_WRLCK)
        return -EINVAL;
    if (!lockf_test(file->inode, lock)) {
        user->l_type = F_UNLCK;
    } else {
        user->l_type = lock->exclusive ? F_WRLCK : F_RDLCK;
        user->l_whence = SEEK_SET;
        user->l_start = (int64_t)lock->start;
        user->l_len = lock->end == UINT64_MAX ? 0 : (int64_t)(lock->end - lock->start);
        user->l_pid = lock->pid;
    }
    return copyout(user, arg, sizeof(*user));
}

static int64_t flock_set(struct file *file, const struct flock *user, const struct lockf *lock, bool wait)
{
    unsigned mode = file->flags & O_ACCMODE;
    int error;

    switch (user->l_type) {
    case F_RDLCK:
        error = mode == O_WRONLY ? -EBADF : lockf_set(file->inode, lock, wait);
        break;
    case F_WRLCK:
        error = mode == O_RDONLY ? -EBADF : lockf_set(file->inode, lock, wait);
        break;
    case F_UNLCK:
        error = lockf_clear(file->inode, lock);
        break;
    default:
        return -EINVAL;
    }
    return error == -ENOMEM ? -ENOLCK : error;
}

static int64_t fcntl_lock(struct file *file, unsigned command, uint64_t arg)
{
    bool ofd = command >= F_OFD_GETLK, get = command == F_GETLK || command == F_OFD_GETLK;
    bool wait = command == F_SETLKW || command == F_OFD_SETLKW;
    struct lockf lock = {.kind = LOCKF_RECORD};
    struct flock user;
    int error = copyin(arg, &user, sizeof(user));

    if (error != 0)
        return error;
    if (file->inode == NULL || (ofd && user.l_pid != 0))
        return file->inode == NULL ? -EBADF : -EINVAL;
    error = flock_range(file, &user, &lock);
    if (error != 0)
        return error;
    lock.exclusive = user.l_type == F_WRLCK;
    lock.owner = ofd ? (const void *)file : (const void *)curproc()->fd;
    lock.pid = ofd ? -1 : curproc()->pid;
    return get ? flock_get(file, &user, &lock, arg) : flock_set(file, &user, &lock, wait);
}

int64_t sys_flock(const uint64_t arg[6])
{
    struct lockf lock = {.kind = LOCKF_FLOCK, .end = UINT64_MAX, .pid = curproc()->pid};
    unsigned operation = (unsigned)arg[1] & ~(unsigned)LOCK_NB;
    struct file *file;
    int error = fget((int)arg[0], &file);

    if (error != 0)
        return error;
    lock.owner = file;
    lock.exclusive = operation == LOCK_EX;
    if (file->inode == NULL || (file->flags & O_PATH))
        error = -EBADF;
    else if (operation == LOCK_UN)
        error = lockf_clear(file->inode, &lock);
    else if (operation == LOCK_SH || operation == LOCK_EX)
        error = lockf_set(file->inode, &lock, !(arg[1] & LOCK_NB));
    else
        error = -EINVAL;
    fput(file);
    return error == -ENOMEM ? -ENOLCK : error;
}

/* ---- fcntl --------------------------------------------------------------------------------------------- */

static int64_t fcntl_setfl(struct file *file, unsigned flags)
{
    if ((flags & O_DIRECT) && file->ops != &regular_ops)
        return -EINVAL;
    unsigned before = file->flags;
    /* Two threads may set flags at a time: one of them is last. */
    file->flags = (before & ~(unsigned)SETFL_FLAGS) | (flags & SETFL_FLAGS);
    return 0;
}

static int64_t fcntl_dup(struct file *file, uint64_t least, unsigned flags)
{
    if (least > INT32_MAX || least >= curproc()->rlimit_cur[RLIMIT_NOFILE])
        return -EINVAL;
    return fd_install(file_ref(file), (int)least, flags);
}

static int64_t fcntl_pipe_size(struct file *file, unsigned command, uint64_t arg)
{
    if (!file_is_pipe(file))
        return -EBADF;
    if (command == F_SETPIPE_SZ && arg > PIPE_BYTES)
        return arg > INT32_MAX ? -EINVAL : -EPERM; /* a pipe has one size, which is also the largest */
    return PIPE_BYTES;
}

static int64_t fcntl_file(int fd, struct file *file, unsigned command, uint64_t arg)
{
    switch (command) {
    case F_DUPFD:
        return fcntl_dup(file, arg, 0);
    case F_DUPFD_CLOEXEC:
        return fcntl_dup(file, arg, O_CLOEXEC);
    case F_GETFD:
        return fd_cloexec(fd, -1);
    case F_SETFD: {
        int before = fd_cloexec(fd, (int)arg & FD_CLOEXEC);
        return before < 0 ? before : 0;
    }
    case F_GETFL:
        return file->flags;
    default:
        break;
    }
    if (file->flags & O_PATH)
        return -EBADF;
    switch (command) {
    case F_SETFL:
        return fcntl_setfl(file, (unsigned)arg);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return fcntl_lock(file, command, arg);
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ:
        return fcntl_pipe_size(file, command, arg);
    default:
        return -EINVAL;
    }
}

int64_t sys_fcntl(const uint64_t arg[6])
{
    struct file *file;
    bool referenced = fdget((int)arg[0], &file);

    if (file == NULL)
        return -EBADF;
    int64_t result = fcntl_file((int)arg[0], file, (unsigned)arg[1], arg[2]);
    fdput(file, referenced);
    return result;
}

/* ---- ioctl --------------------------------------------------------------------------------------------- */

static int64_t ioctl_nonblock(struct file *file, uint64_t arg)
{
    int on;
    int error = copyin(arg, &on, sizeof(on));

    if (error != 0)
        return error;
    if (on)
        atomic_fetch_or(&file->flags, O_NONBLOCK);
    else
        atomic_fetch_and(&file->flags, ~(uint32_t)O_NONBLOCK);
    return 0;
}

static int64_t ioctl_file(int fd, struct file *file, uint64_t request, uint64_t arg)
{
    if (file->flags & O_PATH)
        return -EBADF;
    switch (request) {
    case FIOCLEX:
    case FIONCLEX: {
        int before = fd_cloexec(fd, request == FIOCLEX ? FD_CLOEXEC : 0);
        return before < 0 ? before : 0;
    }
    case FIONBIO:
        return ioctl_nonblock(file, arg);
    default:
        return file->ops->ioctl != NULL ? file->ops->ioctl(file, request, arg) : -ENOTTY;
    }
}

int64_t sys_ioctl(const uint64_t arg[6])
{
    struct file *file;
    bool referenced = fdget((int)arg[0], &file);

    if (file == NULL)
        return -EBADF;
    int64_t result = ioctl_file((int)arg[0], file, (uint32_t)arg[1], arg[2]);
    fdput(file, referenced);
    return result;
}
