/*
 * mount_calls.c: mount(2) and umount2(2).
 */
#include "fs/fs_calls.h"

#include "fs/devfs.h"
#include "fs/ext2.h"
#include "fs/mount.h"
#include "fs/namei.h"
#include "fs/procfs.h"
#include "fs/tmpfs.h"
#include "lib/copy.h"
#include "string.h"
#include "proc/proc.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/stat.h>

#define TYPE_MAX     32
#define MNT_FORCE    1
#define MNT_DETACH   2
#define MNT_NOFOLLOW 8
#define UMOUNT_FLAGS (MNT_FORCE | MNT_DETACH | MNT_NOFOLLOW)

/* The file system on the block device of that path. */
static int mount_device(uint64_t source, bool read_only, struct mount **mount)
{
    struct inode *inode;
    struct vnode *vnode;
    int error = namei_user(AT_FDCWD, source, 0, &inode);

    if (error != 0)
        return error;
    error = S_ISBLK(inode->mode) ? device_vnode(inode->rdev, &vnode) : -ENOTBLK;
    if (error == 0) {
        error = ext2_mount(vnode, read_only, mount);
        int closed = fl_vnode_close(vnode); /* the mount has a reference of its own */
        error = error != 0 ? error : closed;
    }
    if (error == 0)
        (*mount)->dev = inode->rdev;
    inode_put(inode);
    return error;
}

static int mount_type(const char *type, uint64_t source, bool read_only, struct mount **mount)
{
    if (strcmp(type, "ext2") == 0)
        return mount_device(source, read_only, mount);
    if (strcmp(type, "proc") == 0)
        return procfs_mount(mount);
    if (strcmp(type, "tmpfs") == 0 || strcmp(type, "ramfs") == 0)
        return tmpfs_mount("tmpfs", mount);
    if (strcmp(type, "devtmpfs") != 0)
        return -ENODEV;
    int error = tmpfs_mount("devtmpfs", mount);
    return error != 0 ? error : devfs_populate(*mount);
}

/* Whether a device is mounted already. */
static int device_is(struct mount *mount, void *arg)
{
    return mount->dev == *(uint64_t *)arg;
}

/* Only the right to write changes. */
static int remount(struct inode *root, bool read_only)
{
    struct mount *mount = root->mount;

    if (root != mount->root)
        return -EINVAL;
    if (mount->read_only && !read_only && dev_major(mount->dev) != 0)
        return -EROFS; /* the file system has not told the disk that it is in use */
    if (!mount->read_only && read_only && mount->sync != NULL) {
        int error = mount->sync(mount);
        if (error != 0)
            return error;
    }
    mount->read_only = read_only;
    return 0;
}

static int mount_on(struct inode *on, const uint64_t arg[6])
{
    bool read_only = (arg[3] & MS_RDONLY) != 0;
    struct mount *mount;
    char type[TYPE_MAX];

    if (arg[3] & MS_REMOUNT)
        return remount(on, read_only);
    if (arg[3] & (MS_BIND | MS_MOVE))
        return -EINVAL;
    int64_t n = copyinstr(arg[2], type, sizeof(type));
    if (n < 0)
        return n == -ENAMETOOLONG ? -ENODEV : (int)n;
    int error = mount_type(type, arg[0], read_only, &mount);
    if (error != 0)
        return error;
    if (mount_each(device_is, &mount->dev) != 0) {
        error = -EBUSY;
    } else {
        mount->read_only |= read_only;
        error = mount_add(mount, on);
    }
    if (error != 0 && mount->unmount != NULL)
        (void)!mount->unmount(mount); /* the first error counts */
    return error;
}

int64_t sys_mount(const uint64_t arg[6])
{
    struct inode *on;

    if (curproc()->euid != 0)
        return -EPERM;
    int error = namei_user(AT_FDCWD, arg[1], 0, &on);
    if (error != 0)
        return error;
    error = mount_on(on, arg);
    inode_put(on);
    return error;
}

int64_t sys_umount2(const uint64_t arg[6])
{
    struct inode *root;

    if (curproc()->euid != 0)
        return -EPERM;
    if (arg[1] & ~(uint64_t)UMOUNT_FLAGS)
        return -EINVAL;
    int error = namei_user(AT_FDCWD, arg[0], 0, &root);
    if (error != 0)
        return error;
    return mount_remove(root);
}
