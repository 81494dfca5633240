/*
 * procfs.h: /proc: what the kernel says of itself and of processes, as text.
 */
#ifndef KERNEL_FS_PROCFS_H
#define KERNEL_FS_PROCFS_H

#include "fs/inode.h"

/* Errors: -ENOMEM. */
FL_NODISCARD int procfs_mount(struct mount **mount);

#endif
