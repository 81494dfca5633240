/*
 * mount.h: which file systems there are, and which directories they cover.
 *
 *   root_mount ─next─▶ mount of /dev ─next─▶ mount of /tmp …
 *        on NULL            on ─▶ inode of /dev, whose `covered` leads back
 *
 * Locks: (MT) mount_lock, a sleep lock, taken before all locks of inodes: mounting, unmounting, and going
 * through the list.
 */
#ifndef KERNEL_FS_MOUNT_H
#define KERNEL_FS_MOUNT_H

#include "fs/inode.h"

extern struct mount *root_mount; /* (c) after fs_boot */
extern struct sleep_lock mount_lock;

/* A number for st_dev of a file system that is on no device. */
FL_NODISCARD uint64_t mount_anonymous_dev(void);
/* The mount covers the directory `on` (NULL: it becomes the root of all), to which it takes a reference.
 * Errors: -EBUSY, something covers it already; -ENOTDIR. */
FL_NODISCARD int mount_add(struct mount *mount, struct inode *on);
/* The mount of this root inode is written back and ends. Drops the caller's reference. Errors: -EINVAL, it is
 * no root; -EBUSY, files of it are in use, or mounts on it; of its last writes: it is gone nevertheless. */
FL_NODISCARD int mount_remove(struct inode *root);
/* The mount's root, if the directory is covered, instead of it: drops one reference and takes the other. */
FL_NODISCARD struct inode *mount_cross(struct inode *inode);
/* Whether the inode is the root of a mount that covers a directory; *on: that directory, with a reference. */
FL_NODISCARD bool mount_is_root(struct inode *inode, struct inode **on);
/* Calls each of all mounts, first one first, until it returns other than 0. */
int mount_each(int (*each)(struct mount *mount, void *arg), void *arg);

#endif
