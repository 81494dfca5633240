/*
 * stat_calls.c: the system calls that ask about files.
 *
 *   inode, or a file without one ─▶ struct stat ─▶ the program; statx, from the same
 */
#include "fs/fs_calls.h"

#include "fs/devfs.h"
#include "fs/mount.h"
#include "fs/namei.h"
#include "lib/copy.h"
#include "kmem.h"
#include "string.h"
#include "proc/proc.h"

#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#define NS         INT64_C(1000000000)
#define ST_RDONLY  0x0001 /* f_flags of statfs */
#define ST_VALID   0x0020
#define ST_NOATIME 0x0400
#define F_OK_R_W_X 7u

/* ---- stat ---------------------------------------------------------------------------------------------- */

static void time_split(int64_t ns, unsigned long *sec, unsigned long *nsec)
{
    int64_t rest = ns % NS < 0 ? ns % NS + NS : ns % NS;

    *sec = (unsigned long)((ns - rest) / NS);
    *nsec = (unsigned long)rest;
}

/* A regular file's length, or a block device's, which their vnodes know. Disks' file systems keep it, too. */
static int inode_size(struct inode *inode, uint64_t *size_bytes)
{
    struct vnode *vnode;
    int error = 0;

    *size_bytes = inode->size_bytes;
    if (!S_ISREG(inode->mode) || dev_major(inode->mount->dev) != 0 || inode->ops->vnode == NULL)
        return 0;
    error = inode->ops->vnode(inode, &vnode);
    if (error != 0)
        return error;
    *size_bytes = fl_vnode_size(vnode);
    return fl_vnode_close(vnode);
}

/* Of a file system in memory: as if files had no holes. */
static uint64_t memory_blocks(uint64_t size_bytes)
{
    return round_page(size_bytes) / 512;
}

static int stat_inode(struct inode *inode, struct stat *st)
{
    uint64_t size_bytes;
    int error = inode_size(inode, &size_bytes);

    if (error != 0)
        return error;
    memset(st, 0, sizeof(*st));
    sleep_lock(&inode->lock);
    st->st_dev = inode->mount->dev;
    st->st_ino = inode->ino;
    st->st_nlink = inode->nlink;
    st->st_mode = inode->mode;
    st->st_uid = inode->uid;
    st->st_gid = inode->gid;
    st->st_rdev = inode->rdev;
    st->st_size = (long)size_bytes;
    st->st_blksize = VM_PAGE_SIZE;
    st->st_blocks =
        (long)(S_ISREG(inode->mode) && dev_major(inode->mount->dev) == 0 ? memory_blocks(size_bytes)
                                                                         : inode->blocks);
    time_split(inode->atime_ns, &st->st_atime, &st->st_atime_nsec);
    time_split(inode->mtime_ns, &st->st_mtime, &st->st_mtime_nsec);
    time_split(inode->ctime_ns, &st->st_ctime, &st->st_ctime_nsec);
    sleep_unlock(&inode->lock);
    return 0;
}

static int stat_file(struct file *file, struct stat *st)
{
    if (file->inode != NULL)
        return stat_inode(file->inode, st);
    memset(st, 0, sizeof(*st));
    st->st_mode = file->ops->type;
    st->st_nlink = 1;
    st->st_ino = (uint64_t)file->private / 16 & UINT32_MAX; /* both ends of a pipe are one file */
    st->st_blksize = VM_PAGE_SIZE;
    return 0;
}

static int stat_fd(int fd, struct stat *st)
{
    struct file *file;
    bool referenced = fdget(fd, &file);

    if (file == NULL)
        return -EBADF;
    int error = stat_file(file, st);
    fdput(file, referenced);
    return error;
}

static int stat_path(int dirfd, uint64_t path, unsigned flags, struct stat *st)
{
    struct inode *inode;
    int error;

    if (flags & AT_EMPTY_PATH) { /* a file without an inode, too */
        char first;
        error = path != 0 ? copyin(path, &first, 1) : 0;
        if (error != 0)
            return error;
        if ((path == 0 || first == 0) && dirfd != AT_FDCWD)
            return stat_fd(dirfd, st);
    }
    error = namei_user(dirfd, path, flags, &inode);
    if (error != 0)
        return error;
    error = stat_inode(inode, st);
    inode_put(inode);
    return error;
}

static int64_t stat_out(int error, const struct stat *st, uint64_t user)
{
    return error != 0 ? error : copyout(st, user, sizeof(*st));
}

int64_t sys_stat(const uint64_t arg[6])
{
    struct stat st;

    return stat_out(stat_path(AT_FDCWD, arg[0], 0, &st), &st, arg[1]);
}

int64_t sys_lstat(const uint64_t arg[6])
{
    struct stat st;

    return stat_out(stat_path(AT_FDCWD, arg[0], AT_SYMLINK_NOFOLLOW, &st), &st, arg[1]);
}

int64_t sys_fstat(const uint64_t arg[6])
{
    struct stat st;

    return stat_out(stat_fd((int)arg[0], &st), &st, arg[1]);
}

int64_t sys_newfstatat(const uint64_t arg[6])
{
    unsigned flags = (unsigned)arg[3];
    struct stat st;

    if (flags & ~(unsigned)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
        return -EINVAL;
    return stat_out(stat_path((int)arg[0], arg[1], flags, &st), &st, arg[2]);
}

/* ---- statx --------------------------------------------------------------------------------------------- */

static struct statx_timestamp statx_time(unsigned long sec, unsigned long nsec)
{
    return (struct statx_timestamp){.tv_sec = (int64_t)sec, .tv_nsec = (uint32_t)nsec};
}

static void statx_fill(const struct stat *st, struct statx *stx)
{
    *stx = (struct statx){
        .stx_mask = STATX_BASIC_STATS,
        .stx_blksize = (uint32_t)st->st_blksize,
        .stx_nlink = (uint32_t)st->st_nlink,
        .stx_uid = st->st_uid,
        .stx_gid = st->st_gid,
        .stx_mode = (uint16_t)st->st_mode,
        .stx_ino = st->st_ino,
        .stx_size = (uint64_t)st->st_size,
        .stx_blocks = (uint64_t)st->st_blocks,
        .stx_atime = statx_time(st->st_atime, st->st_atime_nsec),
        .stx_mtime = statx_time(st->st_mtime, st->st_mtime_nsec),
        .stx_ctime = statx_time(st->st_ctime, st->st_ctime_nsec),
        .stx_rdev_major = dev_major(st->st_rdev),
        .stx_rdev_minor = dev_minor(st->st_rdev),
        .stx_dev_major = dev_major(st->st_dev),
        .stx_dev_minor = dev_minor(st->st_dev),
    };
}

int64_t sys_statx(const uint64_t arg[6])
{
    unsigned flags = (unsigned)arg[2];
    struct statx stx;
    struct stat st;

    if ((flags & ~(unsigned)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)) ||
        (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE || (arg[3] & STATX__RESERVED))
        return -EINVAL;
    int error = stat_path((int)arg[0], arg[1], flags & ~(unsigned)AT_STATX_SYNC_TYPE, &st);
    if (error != 0)
        return error;
    statx_fill(&st, &stx);
    return copyout(&stx, arg[4], sizeof(stx));
}

/* ---- access -------------------------------------------------------------------------------------------- */

/* rwx as 4 2 1. Root may do all, but for executing what nobody may. */
static int inode_access(struct inode *inode, unsigned wanted, uint32_t uid, uint32_t gid)
{
    uint32_t mode = inode->mode;
    unsigned granted = mode & 7;

    if ((wanted & 2) && inode->mount->read_only && !S_ISCHR(mode) && !S_ISBLK(mode) && !S_ISFIFO(mode))
        return -EROFS;
    if (uid == 0)
        granted = S_ISDIR(mode) || (mode & 0111) ? 7 : 6;
    else if (uid == inode->uid)
        granted = mode >> 6 & 7;
    else if (gid == inode->gid)
        granted = mode >> 3 & 7;
    return wanted & ~granted ? -EACCES : 0;
}

static int64_t access_at(int dirfd, uint64_t path, unsigned wanted, unsigned flags)
{
    struct proc *proc = curproc();
    bool effective = (flags & AT_EACCESS) != 0;
    struct inode *inode;

    if ((wanted & ~F_OK_R_W_X) || (flags & ~(unsigned)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
        return -EINVAL;
    int error = namei_user(dirfd, path, flags & ~(unsigned)AT_EACCESS, &inode);
    if (error != 0)
        return error;
    error =
        inode_access(inode, wanted, effective ? proc->euid : proc->uid, effective ? proc->egid : proc->gid);
    inode_put(inode);
    return error;
}

int64_t sys_access(const uint64_t arg[6])
{
    return access_at(AT_FDCWD, arg[0], (unsigned)arg[1], 0);
}

int64_t sys_faccessat(const uint64_t arg[6])
{
    return access_at((int)arg[0], arg[1], (unsigned)arg[2], 0);
}

int64_t sys_faccessat2(const uint64_t arg[6])
{
    return access_at((int)arg[0], arg[1], (unsigned)arg[2], (unsigned)arg[3]);
}

/* ---- readlink ------------------------------------------------------------------------------------------ */

static int64_t readlink_inode(struct inode *inode, uint64_t user, int64_t max)
{
    if (!S_ISLNK(inode->mode) || inode->ops->readlink == NULL)
        return -EINVAL;
    char *target = kmalloc(PATH_LEN_MAX);
    if (target == NULL)
        return -ENOMEM;
    int n = inode->ops->readlink(inode, target, PATH_LEN_MAX);
    if (n > max)
        n = (int)max;
    int error = n > 0 ? copyout(target, user, (size_t)n) : 0;
    kfree(target);
    return error != 0 ? error : n;
}

static int64_t readlink_at(int dirfd, uint64_t path, uint64_t user, int64_t max)
{
    struct inode *inode;

    if (max <= 0)
        return -EINVAL;
    int error =
        namei_user(dirfd, path, AT_SYMLINK_NOFOLLOW | (dirfd != AT_FDCWD ? AT_EMPTY_PATH : 0), &inode);
    if (error != 0)
        return error;
    int64_t result = readlink_inode(inode, user, max);
    inode_put(inode);
    return result;
}

int64_t sys_readlink(const uint64_t arg[6])
{
    return readlink_at(AT_FDCWD, arg[0], arg[1], (int)arg[2]);
}

int64_t sys_readlinkat(const uint64_t arg[6])
{
    return readlink_at((int)arg[0], arg[1], arg[2], (int)arg[3]);
}

/* ---- statfs -------------------------------------------------------------------------------------------- */

static int64_t statfs_inode(struct inode *inode, uint64_t user)
{
    struct mount *mount = inode->mount;
    struct statfs64 st;

    memset(&st, 0, sizeof(st));
    if (mount->statfs == NULL)
        return -ENOSYS;
    int error = mount->statfs(mount, &st);
    if (error != 0)
        return error;
    st.f_fsid.val[0] = (int)mount->dev;
    st.f_flags = ST_VALID | ST_NOATIME | (mount->read_only ? ST_RDONLY : 0);
    return copyout(&st, user, sizeof(st)); /* struct statfs is the same on x86-64 */
}

int64_t sys_statfs(const uint64_t arg[6])
{
    struct inode *inode;
    int error = namei_user(AT_FDCWD, arg[0], 0, &inode);

    if (error != 0)
        return error;
    int64_t result = statfs_inode(inode, arg[1]);
    inode_put(inode);
    return result;
}

int64_t sys_fstatfs(const uint64_t arg[6])
{
    struct inode *inode;

    if ((int)arg[0] == AT_FDCWD)
        return -EBADF;
    int error = fd_inode((int)arg[0], &inode);
    if (error != 0)
        return error == -EINVAL ? -ENOSYS : error;
    int64_t result = statfs_inode(inode, arg[1]);
    inode_put(inode);
    return result;
}
