/*
 * devfs.h: devices: what a device's number leads to, and the directory /dev.
 *
 *   inode (S_IFCHR, rdev) ─▶ character device: its file_ops
 *   inode (S_IFBLK, rdev) ─▶ block device: a vnode, so its bytes are cached and mapped as a file's
 *
 * An inode of any file system may be a device. /dev is a tmpfs with one node for each device that is known.
 */
#ifndef KERNEL_FS_DEVFS_H
#define KERNEL_FS_DEVFS_H

#include "fs/file.h"

/* Encodes a number as Linux does in st_rdev. */
static inline uint64_t makedev(uint32_t major, uint32_t minor)
{
    return (minor & 0xff) | (uint64_t)(major & 0xfff) << 8 | (uint64_t)(minor & ~UINT32_C(0xff)) << 12;
}
static inline uint32_t dev_major(uint64_t rdev)
{
    return (uint32_t)(rdev >> 8) & 0xfff;
}
static inline uint32_t dev_minor(uint64_t rdev)
{
    return (uint32_t)(rdev & 0xff) | ((uint32_t)(rdev >> 12) & ~UINT32_C(0xff));
}

/* A block device, whose reference to the vnode it takes over. Context: before fs_boot, or later. Errors:
 * -ENOSPC, there are too many. */
FL_NODISCARD int devfs_add_block(const char *name, uint64_t rdev, struct vnode *vnode);
/* The vnode of the block device, with a reference. Errors: -ENXIO. */
FL_NODISCARD int device_vnode(uint64_t rdev, struct vnode **vnode);
/* Errors: -ENXIO. */
FL_NODISCARD int device_number(const char *name, uint64_t *rdev);
/* "vda"; NULL: unknown. */
FL_NODISCARD const char *device_name(uint64_t rdev);

/* Sets what belongs to an open device. Errors: -ENXIO, there is none of this number. */
FL_NODISCARD int device_open(struct file *file);
/* The file was opened without O_NOCTTY: a terminal may become the session's. */
void device_opened(struct file *file);
/* Makes a node for each device in the tmpfs, and the links fd, stdin, stdout, stderr. */
FL_NODISCARD int devfs_populate(struct mount *mount);

#endif
