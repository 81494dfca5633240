/*
 * attr_calls.c: the system calls that change what a file is: rights, owner, times, length, space.
 *
 *   the inode of a path or a descriptor ─▶ (D) ─▶ change ─▶ ctime ─▶ inode_ops.setattr
 */
#include "fs/fs_calls.h"

#include "fs/namei.h"
#include "fs/regular.h"
#include "lib/copy.h"
#include "proc/proc.h"

#include <linux/errno.h>
#include <linux/falloc.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#define NS         INT64_C(1000000000)
#define UTIME_NOW  ((1l << 30) - 1l)
#define UTIME_OMIT ((1l << 30) - 2l)

/* What is to change. */
struct change {
    bool mode_set, owner_set, times_set;
    uint32_t mode;
    uint32_t uid, gid; /* UINT32_MAX: stays */
    int64_t atime_ns, mtime_ns;
    bool atime_omit, mtime_omit; /* stays */
};

/* ---- the change ---------------------------------------------------------------------------------------- */

static void change_owner(struct inode *inode, const struct change *change)
{
    if (change->uid != UINT32_MAX)
        inode->uid = change->uid;
    if (change->gid != UINT32_MAX)
        inode->gid = change->gid;
    if (!S_ISDIR(inode->mode)) {
        inode->mode &= ~(uint32_t)S_ISUID;
        if (inode->mode & S_IXGRP)
            inode->mode &= ~(uint32_t)S_ISGID;
    }
}

static int change_inode(struct inode *inode, const struct change *change)
{
    int error = 0;

    if (inode->mount->read_only)
        return -EROFS;
    sleep_lock(&inode->lock);
    if (change->mode_set)
        inode->mode = (inode->mode & S_IFMT) | (change->mode & 07777);
    if (change->owner_set)
        change_owner(inode, change);
    if (change->times_set && !change->atime_omit)
        inode->atime_ns = change->atime_ns;
    if (change->times_set && !change->mtime_omit)
        inode->mtime_ns = change->mtime_ns;
    inode->ctime_ns = wall_time_ns();
    if (inode->ops->setattr != NULL)
        error = inode->ops->setattr(inode);
    sleep_unlock(&inode->lock);
    return error;
}

static int64_t change_path(int dirfd, uint64_t path, unsigned flags, const struct change *change)
{
    struct inode *inode;
    int error = namei_user(dirfd, path, flags, &inode);

    if (error != 0)
        return error;
    /* A link has no rights of its own. */
    error = change->mode_set && S_ISLNK(inode->mode) ? -EOPNOTSUPP : change_inode(inode, change);
    inode_put(inode);
    return error;
}

static int64_t change_fd(int fd, const struct change *change)
{
    struct file *file;
    int error = fget(fd, &file);

    if (error != 0)
        return error;
    if (file->flags & O_PATH)
        error = -EBADF;
    else if (file->inode != NULL) /* a pipe's are nobody's business, and may be set */
        error = change_inode(file->inode, change);
    fput(file);
    return error;
}

/* ---- rights and owner ---------------------------------------------------------------------------------- */

int64_t sys_chmod(const uint64_t arg[6])
{
    return change_path(AT_FDCWD, arg[0], 0, &(struct change){.mode_set = true, .mode = (uint32_t)arg[1]});
}

int64_t sys_fchmod(const uint64_t arg[6])
{
    return change_fd((int)arg[0], &(struct change){.mode_set = true, .mode = (uint32_t)arg[1]});
}

int64_t sys_fchmodat(const uint64_t arg[6])
{
    return change_path((int)arg[0], arg[1], 0, &(struct change){.mode_set = true, .mode = (uint32_t)arg[2]});
}

static struct change owner_change(uint64_t uid, uint64_t gid)
{
    return (struct change){.owner_set = true, .uid = (uint32_t)uid, .gid = (uint32_t)gid};
}

int64_t sys_chown(const uint64_t arg[6])
{
    struct change change = owner_change(arg[1], arg[2]);

    return change_path(AT_FDCWD, arg[0], 0, &change);
}

int64_t sys_lchown(const uint64_t arg[6])
{
    struct change change = owner_change(arg[1], arg[2]);

    return change_path(AT_FDCWD, arg[0], AT_SYMLINK_NOFOLLOW, &change);
}

int64_t sys_fchown(const uint64_t arg[6])
{
    struct change change = owner_change(arg[1], arg[2]);

    return change_fd((int)arg[0], &change);
}

int64_t sys_fchownat(const uint64_t arg[6])
{
    struct change change = owner_change(arg[2], arg[3]);

    if (arg[4] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return change_path((int)arg[0], arg[1], (unsigned)arg[4], &change);
}

/* ---- times --------------------------------------------------------------------------------------------- */

static struct change times_now(void)
{
    int64_t now = wall_time_ns();

    return (struct change){.times_set = true, .atime_ns = now, .mtime_ns = now};
}

int64_t sys_utime(const uint64_t arg[6])
{
    struct change change = times_now();
    int64_t seconds[2];

    if (arg[1] != 0) {
        int error = copyin(arg[1], seconds, sizeof(seconds));
        if (error != 0)
            return error;
        change.atime_ns = seconds[0] * NS;
        change.mtime_ns = seconds[1] * NS;
    }
    return change_path(AT_FDCWD, arg[0], 0, &change);
}

static int64_t utimes_at(int dirfd, uint64_t path, uint64_t times)
{
    struct change change = times_now();
    int64_t time[2][2]; /* seconds, microseconds */

    if (times != 0) {
        int error = copyin(times, time, sizeof(time));
        if (error != 0)
            return error;
        if (time[0][1] < 0 || time[0][1] >= NS / 1000 || time[1][1] < 0 || time[1][1] >= NS / 1000)
            return -EINVAL;
        change.atime_ns = time[0][0] * NS + time[0][1] * 1000;
        change.mtime_ns = time[1][0] * NS + time[1][1] * 1000;
    }
    return change_path(dirfd, path, 0, &change);
}

int64_t sys_utimes(const uint64_t arg[6])
{
    return utimes_at(AT_FDCWD, arg[0], arg[1]);
}

int64_t sys_futimesat(const uint64_t arg[6])
{
    return utimes_at((int)arg[0], arg[1], arg[2]);
}

/* One struct timespec, or its special values. */
static int time_take(const int64_t time[2], int64_t *ns, bool *omit)
{
    if (time[1] == UTIME_OMIT)
        *omit = true;
    else if (time[1] >= 0 && time[1] < NS)
        *ns = time[0] * NS + time[1];
    else if (time[1] != UTIME_NOW)
        return -EINVAL;
    return 0;
}

int64_t sys_utimensat(const uint64_t arg[6])
{
    struct change change = times_now();
    int64_t time[2][2]; /* seconds, nanoseconds */

    if (arg[2] != 0) {
        int error = copyin(arg[2], time, sizeof(time));
        if (error == 0)
            error = time_take(time[0], &change.atime_ns, &change.atime_omit);
        if (error == 0)
            error = time_take(time[1], &change.mtime_ns, &change.mtime_omit);
        if (error != 0)
            return error;
        if (change.atime_omit && change.mtime_omit)
            return 0;
    }
    if (arg[3] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (arg[1] == 0)
        return (int)arg[0] == AT_FDCWD ? -EFAULT : change_fd((int)arg[0], &change);
    return change_path((int)arg[0], arg[1], (unsigned)arg[3], &change);
}

/* ---- length and space ---------------------------------------------------------------------------------- */

static int truncate_inode(struct inode *inode, uint64_t len_bytes)
{
    struct vnode *vnode;

    if (!S_ISREG(inode->mode) || inode->ops->vnode == NULL)
        return S_ISDIR(inode->mode) ? -EISDIR : -EINVAL;
    if (inode->mount->read_only)
        return -EROFS;
    int error = inode->ops->vnode(inode, &vnode);
    if (error != 0)
        return error;
    error = regular_truncate(inode, vnode, len_bytes);
    int closed = fl_vnode_close(vnode);
    return error != 0 ? error : closed;
}

int64_t sys_truncate(const uint64_t arg[6])
{
    struct inode *inode;

    if ((int64_t)arg[1] < 0)
        return -EINVAL;
    int error = namei_user(AT_FDCWD, arg[0], 0, &inode);
    if (error != 0)
        return error;
    error = truncate_inode(inode, arg[1]);
    inode_put(inode);
    return error;
}

int64_t sys_ftruncate(const uint64_t arg[6])
{
    struct file *file;

    if ((int64_t)arg[1] < 0)
        return -EINVAL;
    int error = fget((int)arg[0], &file);
    if (error != 0)
        return error;
    if (file->flags & O_PATH)
        error = -EBADF;
    else if (file->inode == NULL || !S_ISREG(file->inode->mode) || file->vnode == NULL ||
             (file->flags & O_ACCMODE) == O_RDONLY)
        error = -EINVAL;
    else
        error = regular_truncate(file->inode, file->vnode, arg[1]);
    fput(file);
    return error;
}

static int fallocate_check(const struct file *file, unsigned mode, int64_t offset, int64_t len_bytes)
{
    if (offset < 0 || len_bytes <= 0)
        return -EINVAL;
    if ((mode & ~(unsigned)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) ||
        ((mode & FALLOC_FL_PUNCH_HOLE) && mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)))
        return -EOPNOTSUPP;
    if ((file->flags & O_PATH) || (file->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    uint32_t type = file->inode != NULL ? file->inode->mode : file->ops->type;
    if (S_ISFIFO(type))
        return -ESPIPE;
    if (S_ISDIR(type))
        return -EISDIR;
    return S_ISREG(type) && file->vnode != NULL ? 0 : -ENODEV;
}

int64_t sys_fallocate(const uint64_t arg[6])
{
    struct file *file;
    int error = fget((int)arg[0], &file);

    if (error != 0)
        return error;
    error = fallocate_check(file, (unsigned)arg[1], (int64_t)arg[2], (int64_t)arg[3]);
    if (error == 0)
        error = regular_allocate(file, (unsigned)arg[1], arg[2], arg[3]);
    fput(file);
    return error;
}
