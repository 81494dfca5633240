/*
 * devfs.c: devices: what a device's number leads to, and the directory /dev.
 *
 * Locks: (DV) devices_lock, a leaf: the table of block devices.
 */
#include "fs/devfs.h"

#include "fs/regular.h"
#include "fs/tty.h"
#include "fs/uio.h"
#include "lib/random.h"
#include "string.h"
#include "proc/proc.h"

#include <asm/poll.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#define BLOCK_DEVICES_MAX 8
#define DEVICE_NAME_MAX   16

struct block_device {
    char name[DEVICE_NAME_MAX];
    uint64_t rdev;
    struct vnode *vnode; /* with a reference; NULL: the place is free */
};

static struct machine_lock devices_lock;
static struct block_device block_device[BLOCK_DEVICES_MAX]; /* (DV) */

/* ---- memory devices ------------------------------------------------------------------------------------ */

static int64_t null_read(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    (void)file, (void)iov, (void)niov, (void)offset;
    return 0;
}

static int64_t null_write(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    struct uio uio;

    (void)file, (void)offset;
    uio_init(&uio, iov, niov);
    return (int64_t)uio.left;
}

static int64_t full_write(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    (void)file, (void)iov, (void)niov, (void)offset;
    return -ENOSPC;
}

static int64_t zero_read(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    struct uio uio;
    int64_t done = 0;

    (void)file, (void)offset;
    uio_init(&uio, iov, niov);
    while (uio.left > 0 && !signal_waiting()) {
        struct fl_iovec piece = uio_piece(&uio);
        if (piece.len_bytes > VM_PAGE_SIZE)
            piece.len_bytes = VM_PAGE_SIZE;
        if (zeroout((uint64_t)piece.base, piece.len_bytes) != 0)
            return done > 0 ? done : -EFAULT;
        uio_advance(&uio, piece.len_bytes);
        done += (int64_t)piece.len_bytes;
    }
    return done > 0 || uio.left == 0 ? done : -EINTR;
}

static int64_t random_read(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    struct uio uio;
    char bytes[256];
    int64_t done = 0;

    (void)file, (void)offset;
    uio_init(&uio, iov, niov);
    while (uio.left > 0 && !signal_waiting()) {
        size_t n = uio.left < sizeof(bytes) ? uio.left : sizeof(bytes);
        random_bytes(bytes, n);
        if (uio_copyout(&uio, bytes, n) != 0)
            return done > 0 ? done : -EFAULT;
        done += (int64_t)n;
    }
    return done > 0 || uio.left == 0 ? done : -EINTR;
}

static unsigned memory_poll(struct file *file)
{
    (void)file;
    return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
}

static const struct file_ops null_ops = {
    .read = null_read, .write = null_write, .poll = memory_poll, .seekable = true, .type = S_IFCHR};
static const struct file_ops zero_ops = {
    .read = zero_read, .write = null_write, .poll = memory_poll, .seekable = true, .type = S_IFCHR};
static const struct file_ops full_ops = {
    .read = zero_read, .write = full_write, .poll = memory_poll, .seekable = true, .type = S_IFCHR};
static const struct file_ops random_ops = {
    .read = random_read, .write = null_write, .poll = memory_poll, .seekable = true, .type = S_IFCHR};

/* ---- character devices --------------------------------------------------------------------------------- */

#define RDEV(major, minor) ((uint64_t)(major) << 8 | (minor))
#define RDEV_TTY           RDEV(5, 0)
#define RDEV_CONSOLE       RDEV(5, 1)

struct char_device {
    const char *name;
    uint64_t rdev;
    uint32_t rights;
    const struct file_ops *ops;
};

static const struct char_device char_device[] = {
    {"null", RDEV(1, 3), 0666, &null_ops},      {"zero", RDEV(1, 5), 0666, &zero_ops},
    {"full", RDEV(1, 7), 0666, &full_ops},      {"random", RDEV(1, 8), 0666, &random_ops},
    {"urandom", RDEV(1, 9), 0666, &random_ops}, {"tty", RDEV_TTY, 0666, &tty_ops},
    {"console", RDEV_CONSOLE, 0600, &tty_ops},  {"ttyS0", RDEV(4, 64), 0660, &tty_ops},
};
#define CHAR_DEVICES (sizeof(char_device) / sizeof(char_device[0]))

static int char_open(struct file *file)
{
    uint64_t rdev = file->inode->rdev;

    if (rdev == RDEV_TTY && !tty_is_controlling())
        return -ENXIO;
    for (size_t i = 0; i < CHAR_DEVICES; i++) {
        if (char_device[i].rdev == rdev) {
            file->ops = char_device[i].ops;
            return 0;
        }
    }
    return -ENXIO;
}

/* ---- block devices ------------------------------------------------------------------------------------- */

int devfs_add_block(const char *name, uint64_t rdev, struct vnode *vnode)
{
    int error = -ENOSPC;

    machine_lock(&devices_lock);
    for (size_t i = 0; i < BLOCK_DEVICES_MAX && error != 0; i++) {
        if (block_device[i].vnode != NULL)
            continue;
        block_device[i].rdev = rdev;
        block_device[i].vnode = vnode;
        (void)strlcpy(block_device[i].name, name, sizeof(block_device[i].name));
        error = 0;
    }
    machine_unlock(&devices_lock);
    return error;
}

int device_vnode(uint64_t rdev, struct vnode **vnode)
{
    struct vnode *found = NULL;

    machine_lock(&devices_lock);
    for (size_t i = 0; i < BLOCK_DEVICES_MAX; i++)
        if (block_device[i].vnode != NULL && block_device[i].rdev == rdev)
            found = block_device[i].vnode;
    machine_unlock(&devices_lock);
    if (found == NULL)
        return -ENXIO;
    fl_vnode_ref(found); /* devices stay for ever */
    *vnode = found;
    return 0;
}

int device_number(const char *name, uint64_t *rdev)
{
    int error = -ENXIO;

    machine_lock(&devices_lock);
    for (size_t i = 0; i < BLOCK_DEVICES_MAX; i++) {
        if (block_device[i].vnode == NULL || strcmp(block_device[i].name, name) != 0)
            continue;
        *rdev = block_device[i].rdev;
        error = 0;
    }
    machine_unlock(&devices_lock);
    return error;
}

const char *device_name(uint64_t rdev)
{
    const char *name = NULL;

    machine_lock(&devices_lock);
    for (size_t i = 0; i < BLOCK_DEVICES_MAX; i++)
        if (block_device[i].vnode != NULL && block_device[i].rdev == rdev)
            name = block_device[i].name;
    machine_unlock(&devices_lock);
    return name;
}

static int block_open(struct file *file)
{
    int error = device_vnode(file->inode->rdev, &file->vnode);

    if (error != 0)
        return error;
    file->told = fl_vnode_errseq(file->vnode);
    file->ops = &regular_ops;
    return 0;
}

int device_open(struct file *file)
{
    return S_ISBLK(file->inode->mode) ? block_open(file) : char_open(file);
}

void device_opened(struct file *file)
{
    /* Neither the console nor /dev/tty becomes a session's terminal by being opened, as on Linux. */
    if (file->ops == &tty_ops && file->inode->rdev != RDEV_CONSOLE && file->inode->rdev != RDEV_TTY)
        tty_opened();
}

/* ---- /dev ---------------------------------------------------------------------------------------------- */

static int devfs_node(struct inode *root, const char *name, uint32_t mode, uint64_t rdev)
{
    struct inode *inode;
    int error = root->ops->create(root, name, strlen(name), mode, rdev, &inode);

    if (error == 0)
        inode_put(inode);
    return error;
}

/* (D) of the root. */
static int devfs_nodes(struct inode *root)
{
    int error = 0;

    for (size_t i = 0; i < CHAR_DEVICES && error == 0; i++)
        error = devfs_node(root, char_device[i].name, S_IFCHR | char_device[i].rights, char_device[i].rdev);
    for (size_t i = 0; i < BLOCK_DEVICES_MAX && error == 0; i++)
        if (block_device[i].vnode != NULL)
            error = devfs_node(root, block_device[i].name, S_IFBLK | 0660, block_device[i].rdev);
    return error != 0 ? error : devfs_node(root, "shm", S_IFDIR | S_ISVTX | 0777, 0);
}

int devfs_populate(struct mount *mount)
{
    static const char *const link[][2] = {
        {"fd", "/proc/self/fd"},
        {"stdin", "/proc/self/fd/0"},
        {"stdout", "/proc/self/fd/1"},
        {"stderr", "/proc/self/fd/2"},
    };
    struct inode *root = mount->root;

    sleep_lock(&root->lock);
    int error = devfs_nodes(root);
    for (size_t i = 0; i < sizeof(link) / sizeof(link[0]) && error == 0; i++)
        error = root->ops->symlink(root, link[i][0], strlen(link[i][0]), link[i][1]);
    sleep_unlock(&root->lock);
    return error;
}
