/*
 * boot.c: what is mounted when the first process begins, and how all of it ends.
 *
 *   /         the root device's ext2, or a tmpfs
 *   /dev      devices      /dev/shm  tmpfs
 *   /proc     processes
 *   /tmp /run tmpfs
 *
 * A directory that is missing in the root is made, where the root can be written; otherwise nothing is
 * mounted there.
 */
#include "fs/boot.h"

#include "dev/blkdev.h"
#include "fs/devfs.h"
#include "fs/ext2.h"
#include "fs/namecache.h"
#include "fs/namei.h"
#include "fs/procfs.h"
#include "fs/tmpfs.h"
#include "fs/tty.h"
#include "proc/proc.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

struct mount *memfd_mount;

#define VIRTBLK_MAJOR  254 /* as Debian's Linux numbers /dev/vda */
#define VIRTBLK_MINORS 16  /* of one disk and its partitions */

/* ---- boot ---------------------------------------------------------------------------------------------- */

/* Each disk becomes a device with a vnode. */
static int boot_disks(void)
{
    const struct blkdev *disk;
    struct vnode *vnode;
    int error = 0;

    for (uint32_t i = 0; error == 0 && (disk = blkdev_get(i)) != NULL; i++) {
        error = fl_vnode_open(disk->store, &vnode);
        if (error == 0)
            error = devfs_add_block(disk->name, makedev(VIRTBLK_MAJOR, i * VIRTBLK_MINORS), vnode);
    }
    return error;
}

static int boot_root(const char *device)
{
    struct mount *mount;
    struct vnode *vnode;
    uint64_t rdev = 0;
    int error;

    if (device == NULL) {
        error = tmpfs_mount("tmpfs", &mount);
    } else {
        error = device_number(device, &rdev);
        if (error == 0)
            error = device_vnode(rdev, &vnode);
        if (error != 0)
            return error;
        error = ext2_mount(vnode, false, &mount);
        int closed = fl_vnode_close(vnode); /* the mount has a reference of its own */
        error = error != 0 ? error : closed;
    }
    if (error != 0)
        return error;
    if (device != NULL)
        mount->dev = rdev;
    return mount_add(mount, NULL);
}

/* The mount covers the directory of that path. */
static int boot_mount(const char *path, struct mount *mount)
{
    struct inode *on;
    int error = name_create(AT_FDCWD, path, S_IFDIR | 0755, 0, NULL);

    if (error != 0 && error != -EEXIST)
        return error == -EROFS ? 0 : error;
    error = namei(AT_FDCWD, path, 0, &on);
    if (error != 0)
        return error;
    error = mount_add(mount, on);
    inode_put(on);
    return error;
}

static int boot_tmpfs(const char *path, uint32_t rights)
{
    struct mount *mount;
    int error = tmpfs_mount("tmpfs", &mount);

    if (error != 0)
        return error;
    mount->root->mode = S_IFDIR | rights;
    return boot_mount(path, mount);
}

static int boot_dev(void)
{
    struct mount *mount;
    int error = tmpfs_mount("devtmpfs", &mount);

    if (error == 0)
        error = devfs_populate(mount);
    return error != 0 ? error : boot_mount("/dev", mount);
}

static int boot_proc(void)
{
    struct mount *mount;
    int error = procfs_mount(&mount);

    return error != 0 ? error : boot_mount("/proc", mount);
}

/* Descriptors 0, 1 and 2. */
static int boot_console(void)
{
    struct file *file;
    int error = kernel_open("/dev/console", O_RDWR, 0, &file);

    for (int fd = 0; fd < 3 && error >= 0; fd++)
        error = fd_install(fd < 2 ? file_ref(file) : file, fd, 0);
    return error < 0 ? error : 0;
}

int fs_boot(const char *root_device)
{
    int error = boot_disks();

    if (error == 0)
        error = boot_root(root_device);
    if (error == 0)
        error = tmpfs_mount("tmpfs", &memfd_mount);
    if (error == 0)
        error = boot_dev();
    if (error == 0)
        error = boot_proc();
    if (error == 0)
        error = boot_tmpfs("/dev/shm", 01777);
    if (error == 0)
        error = boot_tmpfs("/tmp", 01777);
    if (error == 0)
        error = boot_tmpfs("/run", 0755);
    if (error == 0)
        error = tty_start();
    return error != 0 ? error : boot_console();
}

/* ---- to the disk --------------------------------------------------------------------------------------- */

/* Goes on after an error, and tells the first. */
static int sync_one(struct mount *mount, void *arg)
{
    int *first = arg, error = mount->sync != NULL && !mount->read_only ? mount->sync(mount) : 0;

    if (*first == 0)
        *first = error;
    return 0;
}

int fs_sync(void)
{
    int error = 0;

    (void)mount_each(sync_one, &error);
    return error;
}

/* The last mount but the root of all. */
static int mount_last(struct mount *mount, void *arg)
{
    if (mount->on != NULL)
        *(struct inode **)arg = mount->root;
    return 0;
}

int fs_unmount_all(void)
{
    int first = fs_sync();

    namecache_purge_mount(NULL);
    for (;;) { /* each turn ends a mount, or is the last */
        struct inode *root = NULL;
        (void)mount_each(mount_last, &root);
        int error = root != NULL ? mount_remove(inode_get(root)) : -EBUSY;
        if (error == -EBUSY)
            break;
        if (first == 0)
            first = error;
    }
    /* The root of all is where the caller stands, so it stays; on the disk it is clean after this. */
    int error = fs_sync();
    return first != 0 ? first : error;
}
