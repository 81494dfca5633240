/*
 * tmpfs.h: a file system in memory.
 */
#ifndef KERNEL_FS_TMPFS_H
#define KERNEL_FS_TMPFS_H

#include "fs/inode.h"

/* type: "tmpfs", "devtmpfs" …; it lives as long as the mount. Errors: -ENOMEM. */
FL_NODISCARD int tmpfs_mount(const char *type, struct mount **mount);
/* A regular file without a name, with a reference (memfd_create). /proc shows last_path, which is copied, as
 * the name that it had. Errors: -ENOMEM. */
FL_NODISCARD int tmpfs_file(struct mount *mount, uint32_t mode, const char *last_path, struct inode **inode);

#endif
