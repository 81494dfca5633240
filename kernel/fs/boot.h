/*
 * boot.h: what fs_boot makes besides what file.h says.
 */
#ifndef KERNEL_FS_BOOT_H
#define KERNEL_FS_BOOT_H

#include "fs/mount.h"

/* Where memfd_create's files live: a tmpfs that is mounted nowhere. */
extern struct mount *memfd_mount; /* (c) after fs_boot */

/* For poweroff: writes everything back, and ends what is on disks, so that they are clean. Context: no
 * process uses files any more. Errors: of the disks. */
FL_NODISCARD int fs_unmount_all(void);

#endif
