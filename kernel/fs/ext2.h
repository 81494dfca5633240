/*
 * ext2.h: the file system on disks: Linux's second extended one, read and written. (ext2fs, BSD and Linux.)
 *
 * Known: blocks of 1, 2 and 4 KiB, both revisions, and what mke2fs -t ext2 sets by itself. Directories with a
 * hash index are searched from beginning to end; one that changes loses its index. Extended attributes stay
 * as they are. Whatever else is told to be incompatible is refused.
 */
#ifndef KERNEL_FS_EXT2_H
#define KERNEL_FS_EXT2_H

#include <faultline/common.h>

struct vnode;
struct mount;

/*
 * *mount: the file system on the device, whose root has a reference; `on`, `dev` and `next` are the caller's
 * to set. It takes its own reference to the device, and writes nothing if `read_only`. mount->unmount ends
 * it. While it is mounted the device's bytes are read and written past the device's own pages, so these may
 * be old. Says why it refuses. Errors: -EINVAL: no ext2, or none that it knows; -EROFS; -ENOMEM; -EIO.
 */
FL_NODISCARD int ext2_mount(struct vnode *device, bool read_only, struct mount **mount);

#endif
