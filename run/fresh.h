/*
 * fresh.h: what other processes wrote to a managed file is seen when the program asks for it, and what was
 * written here is in the file when it lets others know.
 *
 *      acquire   a lock of any kind                                        ─▶ fresh_all
 *      release   a lock of any kind                                        ─▶ fresh_release
 *      ask       open, read, fstat, stat, statx of the file                ─▶ fresh_stat, file_revalidate
 *                msync(MS_INVALIDATE), MADV_DONTNEED, POSIX_FADV_DONTNEED  ─▶ fresh_range, file_revalidate
 *
 * The kernel's stamp of the last change (st_ctim) tells whether anything happened. (Close-to-open
 * consistency, NFS.)
 */
#ifndef RUN_FRESH_H
#define RUN_FRESH_H

#include "shim.h"

/*
 * st is what the file is like now: if another process changed it since the last look, the cache forgets
 * what is clean of it, and knows the new length. Returns whether one did. Signals are blocked; (S) or not.
 */
bool file_revalidate(struct file *file, const struct stat *st);

/* All managed files are as others left them. errno stays. */
void fresh_all(void);
/* The files that show in [start, end). errno stays. */
void fresh_range(vm_offset_t start, vm_offset_t end);
/* st was just asked for: if it is of a managed file, that one is looked at. errno stays. */
void fresh_stat(const struct stat *st);
/*
 * The same of a descriptor that is about to be closed; dirty pages of a file that nothing maps are
 * written.
 */
void fresh_closing(int fd);
/* What was stored here is in its file: others may look. errno stays; an error is told by the next fsync. */
void fresh_release(void);
/*
 * fd was just opened, with these open flags: other processes under Faultline learn of it before the program
 * does. errno stays.
 */
void fresh_opened(int fd, int flags);
/* The file at the path is about to be changed past any descriptor (truncate(2)). errno stays. */
void fresh_changing_path(const char *path);

#endif
