/*
 * path_calls.c: the system calls that change directories, list them, and say where paths start.
 */
#include "fs/fs_calls.h"

#include "fs/directory.h"
#include "fs/namei.h"
#include "lib/copy.h"
#include "kmem.h"
#include "string.h"
#include "proc/proc.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>

/* ---- listing ------------------------------------------------------------------------------------------- */

int64_t sys_getdents64(const uint64_t arg[6])
{
    struct file *file;
    int error = fget((int)arg[0], &file);

    if (error != 0)
        return error;
    int64_t result = file->flags & O_PATH ? -EBADF : directory_getdents(file, arg[1], (uint32_t)arg[2]);
    fput(file);
    return result;
}

/* ---- where paths start --------------------------------------------------------------------------------- */

int64_t sys_getcwd(const uint64_t arg[6])
{
    char *path = kmalloc(PATH_LEN_MAX);

    if (path == NULL)
        return -ENOMEM;
    struct inode *cwd = fs_context_cwd(curproc()->fs);
    int64_t result = inode_path(cwd, path, PATH_LEN_MAX);
    inode_put(cwd);
    if (result == 0) {
        size_t len_bytes = strlen(path) + 1;
        result = len_bytes > arg[1] ? -ERANGE : copyout(path, arg[0], len_bytes);
        if (result == 0)
            result = (int64_t)len_bytes;
    }
    kfree(path);
    return result;
}

/* The inode, whose reference the call drops, becomes the working directory or the root. */
static int64_t set_directory(struct inode *inode, void (*set)(struct fs_context *fs, struct inode *inode))
{
    int error = S_ISDIR(inode->mode) ? 0 : -ENOTDIR;

    if (error == 0)
        set(curproc()->fs, inode);
    inode_put(inode);
    return error;
}

int64_t sys_chdir(const uint64_t arg[6])
{
    struct inode *inode;
    int error = namei_user(AT_FDCWD, arg[0], 0, &inode);

    return error != 0 ? error : set_directory(inode, fs_context_set_cwd);
}

int64_t sys_fchdir(const uint64_t arg[6])
{
    struct inode *inode;

    if ((int)arg[0] == AT_FDCWD)
        return -EBADF;
    int error = fd_inode((int)arg[0], &inode);
    if (error != 0)
        return error == -EINVAL ? -ENOTDIR : error;
    return set_directory(inode, fs_context_set_cwd);
}

int64_t sys_chroot(const uint64_t arg[6])
{
    struct inode *inode;
    int error = namei_user(AT_FDCWD, arg[0], 0, &inode);

    if (error != 0)
        return error;
    if (curproc()->euid != 0) {
        inode_put(inode);
        return -EPERM;
    }
    return set_directory(inode, fs_context_set_root);
}

int64_t sys_umask(const uint64_t arg[6])
{
    return fs_context_set_umask(curproc()->fs, (uint32_t)arg[0]);
}

/* ---- making -------------------------------------------------------------------------------------------- */

static int64_t create_at(int dirfd, uint64_t user_path, uint32_t mode, uint64_t rdev)
{
    struct pathname pathname;
    int error = pathname_copyin(&pathname, user_path, false);

    if (error != 0)
        return error;
    error = name_create(dirfd, pathname.path, mode, rdev, NULL);
    pathname_free(&pathname);
    return error;
}

int64_t sys_mkdir(const uint64_t arg[6])
{
    return create_at(AT_FDCWD, arg[0], S_IFDIR | ((uint32_t)arg[1] & 01777), 0);
}

int64_t sys_mkdirat(const uint64_t arg[6])
{
    return create_at((int)arg[0], arg[1], S_IFDIR | ((uint32_t)arg[2] & 01777), 0);
}

static int64_t mknod_at(int dirfd, uint64_t user_path, uint32_t mode, uint64_t rdev)
{
    switch (mode & S_IFMT) {
    case 0:
        mode |= S_IFREG;
        break;
    case S_IFREG:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        break;
    case S_IFDIR:
        return -EPERM;
    default:
        return -EINVAL;
    }
    bool device = S_ISCHR(mode) || S_ISBLK(mode);
    if (device && curproc()->euid != 0)
        return -EPERM;
    return create_at(dirfd, user_path, mode & (S_IFMT | 07777), device ? rdev & UINT32_MAX : 0);
}

int64_t sys_mknod(const uint64_t arg[6])
{
    return mknod_at(AT_FDCWD, arg[0], (uint32_t)arg[1], arg[2]);
}

int64_t sys_mknodat(const uint64_t arg[6])
{
    return mknod_at((int)arg[0], arg[1], (uint32_t)arg[2], arg[3]);
}

static int64_t symlink_at(uint64_t user_target, int dirfd, uint64_t user_path)
{
    struct pathname target, path;
    int error = pathname_copyin(&target, user_target, false);

    if (error != 0)
        return error;
    error = pathname_copyin(&path, user_path, false);
    if (error == 0) {
        error = name_symlink(target.path, dirfd, path.path);
        pathname_free(&path);
    }
    pathname_free(&target);
    return error;
}

int64_t sys_symlink(const uint64_t arg[6])
{
    return symlink_at(arg[0], AT_FDCWD, arg[1]);
}

int64_t sys_symlinkat(const uint64_t arg[6])
{
    return symlink_at(arg[0], (int)arg[1], arg[2]);
}

static int64_t link_at(int from_dirfd, uint64_t from, int to_dirfd, uint64_t to, unsigned flags)
{
    struct pathname path;
    struct inode *inode;

    if (flags & ~(unsigned)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    unsigned walk = (flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW) | (flags & AT_EMPTY_PATH);
    int error = namei_user(from_dirfd, from, walk, &inode);
    if (error != 0)
        return error;
    error = pathname_copyin(&path, to, false);
    if (error == 0) {
        error = name_link(inode, to_dirfd, path.path);
        pathname_free(&path);
    }
    inode_put(inode);
    return error;
}

int64_t sys_link(const uint64_t arg[6])
{
    return link_at(AT_FDCWD, arg[0], AT_FDCWD, arg[1], 0);
}

int64_t sys_linkat(const uint64_t arg[6])
{
    return link_at((int)arg[0], arg[1], (int)arg[2], arg[3], (unsigned)arg[4]);
}

/* ---- removing and moving ------------------------------------------------------------------------------- */

static int64_t unlink_at(int dirfd, uint64_t user_path, bool directory)
{
    struct pathname pathname;
    int error = pathname_copyin(&pathname, user_path, false);

    if (error != 0)
        return error;
    error = name_unlink(dirfd, pathname.path, directory);
    pathname_free(&pathname);
    return error;
}

int64_t sys_rmdir(const uint64_t arg[6])
{
    return unlink_at(AT_FDCWD, arg[0], true);
}

int64_t sys_unlink(const uint64_t arg[6])
{
    return unlink_at(AT_FDCWD, arg[0], false);
}

int64_t sys_unlinkat(const uint64_t arg[6])
{
    if (arg[2] & ~(uint64_t)AT_REMOVEDIR)
        return -EINVAL;
    return unlink_at((int)arg[0], arg[1], (arg[2] & AT_REMOVEDIR) != 0);
}

static int64_t rename_at(int from_dirfd, uint64_t user_from, int to_dirfd, uint64_t user_to, bool noreplace)
{
    struct pathname from, to;
    int error = pathname_copyin(&from, user_from, false);

    if (error != 0)
        return error;
    error = pathname_copyin(&to, user_to, false);
    if (error == 0) {
        error = name_rename(from_dirfd, from.path, to_dirfd, to.path, noreplace);
        pathname_free(&to);
    }
    pathname_free(&from);
    return error;
}

int64_t sys_rename(const uint64_t arg[6])
{
    return rename_at(AT_FDCWD, arg[0], AT_FDCWD, arg[1], false);
}

int64_t sys_renameat(const uint64_t arg[6])
{
    return rename_at((int)arg[0], arg[1], (int)arg[2], arg[3], false);
}

int64_t sys_renameat2(const uint64_t arg[6])
{
    if (arg[4] & ~(uint64_t)RENAME_NOREPLACE) /* no file system here can exchange */
        return -EINVAL;
    return rename_at((int)arg[0], arg[1], (int)arg[2], arg[3], (arg[4] & RENAME_NOREPLACE) != 0);
}
