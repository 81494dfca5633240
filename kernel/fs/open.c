/*
 * open.c: from a path to an open file.
 *
 *   file_open ─▶ open_walk: the inode, made if O_CREAT says so ─▶ file_open_inode ─▶ ops, vnode by the type:
 *
 *     regular    directory    character or block device    fifo
 *     regular.c  directory.c  devfs.c                      pipe.c     (first inode_ops.open, if there is one)
 */
#include "fs/devfs.h"
#include "fs/directory.h"
#include "fs/mount.h"
#include "fs/namei.h"
#include "fs/pipe.h"
#include "fs/regular.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

/* What belongs to the call, and not to the open file. */
#define OPEN_CALL_FLAGS (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)

/* O_PATH: the file only says where it is. */
static const struct file_ops path_ops = {0};

/* ---- the inode ----------------------------------------------------------------------------------------- */

/* The last name, with O_CREAT. *made: it was not there. */
static int open_create(struct walk *walk, unsigned flags, uint32_t mode, struct inode **inode, bool *made)
{
    struct inode *dir = walk->dir;

    if (walk->type != WALK_NAME)
        return flags & O_EXCL ? -EEXIST : -EISDIR;
    if (walk->slash)
        return -EISDIR;
    sleep_lock(&dir->lock);
    int error = dir_lookup(dir, walk->last, walk->last_len, inode);
    if (error == -ENOENT) {
        *made = true;
        error = dir->mount->read_only
                    ? -EROFS
                    : dir_create(dir, walk->last, walk->last_len, S_IFREG | (mode & 07777), 0, inode);
    } else if (error == 0 && (flags & O_EXCL)) {
        inode_put(*inode);
        error = -EEXIST;
    }
    sleep_unlock(&dir->lock);
    if (error == 0)
        *inode = mount_cross(*inode);
    return error;
}

/* Whether open's flags go with what was found. */
static int open_check(const struct walk *walk, const struct inode *inode, unsigned flags)
{
    bool directory = S_ISDIR(inode->mode);

    if (!directory && ((flags & O_DIRECTORY) || walk->slash))
        return -ENOTDIR;
    if (S_ISLNK(inode->mode) && !(flags & O_PATH))
        return -ELOOP;
    return directory && (flags & O_CREAT) ? -EISDIR : 0;
}

static int open_walk(struct walk *walk, unsigned flags, uint32_t mode, struct inode **inode, bool *made)
{
    for (;;) { /* walk_link counts the turns */
        int error = walk_parent(walk);
        if (error == 0)
            error = flags & O_CREAT ? open_create(walk, flags, mode, inode, made) : walk_last(walk, inode);
        if (error != 0)
            return error;
        if (!S_ISLNK((*inode)->mode) || ((flags & O_NOFOLLOW) && !walk->slash))
            break;
        error = walk_link(walk, *inode);
        inode_put(*inode);
        if (error != 0)
            return error;
    }
    int error = open_check(walk, *inode, flags);
    if (error != 0)
        inode_put(*inode);
    return error;
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static int open_by_type(struct file *file)
{
    switch (file->inode->mode & S_IFMT) {
    case S_IFREG:
        return regular_open(file);
    case S_IFDIR:
        file->ops = &directory_ops;
        return 0;
    case S_IFCHR:
    case S_IFBLK:
        return device_open(file);
    case S_IFIFO:
        return fifo_open(file);
    default:
        return -ENXIO; /* a socket's name */
    }
}

/* Whether a file of this inode can be opened so. */
static int inode_check(const struct inode *inode, unsigned flags)
{
    uint32_t type = inode->mode & S_IFMT;
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);

    if (type == S_IFDIR && writes)
        return -EISDIR;
    if (writes && inode->mount->read_only && (type == S_IFREG || type == S_IFDIR))
        return -EROFS;
    if ((flags & O_DIRECT) && type != S_IFREG && type != S_IFBLK)
        return -EINVAL;
    return 0;
}

int file_open_inode(struct inode *inode, unsigned flags, struct file **file)
{
    bool path_only = (flags & O_PATH) != 0;
    int error = path_only ? 0 : inode_check(inode, flags);

    if (error == 0)
        error = file_create(path_only ? &path_ops : NULL, flags & ~(unsigned)OPEN_CALL_FLAGS, file);
    if (error != 0)
        return error;
    (*file)->inode = inode_get(inode);
    if (!path_only)
        error = inode->ops->open != NULL ? inode->ops->open(inode, *file) : open_by_type(*file);
    if (error == 0 && !path_only && (flags & O_NOCTTY) == 0)
        device_opened(*file);
    if (error == 0 && !path_only && (flags & O_TRUNC) && S_ISREG(inode->mode) && (*file)->vnode != NULL)
        error = regular_truncate(inode, (*file)->vnode, 0);
    if (error != 0)
        fput(*file);
    return error;
}

int file_open(int dirfd, const char *path, unsigned flags, uint32_t mode, struct file **file)
{
    struct inode *inode;
    struct walk walk;
    bool made = false;

    if (flags & O_PATH)
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        flags |= O_NOFOLLOW;
    int error = walk_start(&walk, dirfd, path);
    if (error == 0)
        error = open_walk(&walk, flags, mode, &inode, &made);
    walk_end(&walk);
    if (error != 0)
        return error;
    error = file_open_inode(inode, made ? flags & ~(unsigned)O_TRUNC : flags, file);
    inode_put(inode);
    return error;
}

int kernel_open(const char *path, unsigned flags, uint32_t mode, struct file **file)
{
    return file_open(AT_FDCWD, path, flags, mode, file);
}
