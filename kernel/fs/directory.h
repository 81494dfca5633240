/*
 * directory.h: an open directory, which is read by getdents64(2).
 */
#ifndef KERNEL_FS_DIRECTORY_H
#define KERNEL_FS_DIRECTORY_H

#include "fs/file.h"

extern const struct file_ops directory_ops;

/* Fills the program's buffer with entries from the file's offset on. Returns bytes. Errors: -ENOTDIR;
 * -EINVAL: not even one entry has room; -EFAULT; -ENOENT: the directory was removed; of readdir. */
FL_NODISCARD int64_t directory_getdents(struct file *file, uint64_t buffer, size_t len_bytes);

#endif
