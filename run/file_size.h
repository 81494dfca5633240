/*
 * file_size.h: calls that change a managed file's length, for callers other than libc's names (file_size.c).
 */
#ifndef RUN_FILE_SIZE_H
#define RUN_FILE_SIZE_H

#include "shim.h"
#include <sys/stat.h>

/* True: *result is the kernel's answer. False: the file is not managed, the call is the kernel's. */
bool file_truncate_fd(int fd, off_t len, long *result);
bool file_truncate_path(const char *path, off_t len, long *result);
bool file_fallocate(int fd, int mode, off_t offset, off_t len, long *result);
/* The kernel has changed the length of a file that may be managed: pages behind its new end are dropped. */
void file_size_changed(const struct stat *st);

#endif
