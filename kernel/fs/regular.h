/*
 * regular.h: files with bytes that the VM caches: regular files and block devices.
 */
#ifndef KERNEL_FS_REGULAR_H
#define KERNEL_FS_REGULAR_H

#include "fs/file.h"

extern const struct file_ops regular_ops;

/* Sets ops and vnode of the file by its inode. Errors: of inode_ops.vnode; -EINVAL: it has none. */
FL_NODISCARD int regular_open(struct file *file);
/* *offset becomes that of the end. flags: RWF_* of preadv2(2), beside what the file has. */
FL_NODISCARD int64_t regular_read(struct file *file, const struct fl_iovec *iov, uint32_t niov,
                                  uint64_t *offset, unsigned rwf);
FL_NODISCARD int64_t regular_write(struct file *file, const struct fl_iovec *iov, uint32_t niov,
                                   uint64_t *offset, unsigned rwf);
/* Its bytes, then what is needed to find them again. flags: 0 or FL_FSYNC_DATA. */
FL_NODISCARD int regular_fsync(struct file *file, unsigned flags);
FL_NODISCARD int regular_truncate(struct inode *inode, struct vnode *vnode, uint64_t len_bytes);
/* The file was changed: mtime and ctime are now. */
void regular_touch(struct inode *inode);
/* fallocate(2). */
FL_NODISCARD int regular_allocate(struct file *file, unsigned mode, uint64_t offset, uint64_t len_bytes);

#endif
