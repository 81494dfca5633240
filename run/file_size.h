/*
 * file_size.h: calls that change a managed file's length, for those who make them without a name of libc's.
 */
#ifndef RUN_FILE_SIZE_H
#define RUN_FILE_SIZE_H

#include "shim.h"

/* False: no managed file; the call is the kernel's. Else *result is the answer as the kernel's. */
bool file_truncate_fd(int fd, off_t len, long *result);
bool file_truncate_path(const char *path, off_t len, long *result);
bool file_fallocate(int fd, int mode, off_t offset, off_t len, long *result);
/* The kernel has changed the length of what may be a managed file: what is mapped beyond its end goes. */
void file_size_changed(const struct stat *st);

#endif
