/*
 * fresh.h: the program sees what other processes wrote to a managed file when
 * it asks for it, and what it stored is in the file when it lets others know.
 *
 *      acquire   a lock of any kind                                        ─▶ fresh_all
 *      release   a lock of any kind                                        ─▶ fresh_release
 *      ask       open, read, fstat, stat, statx of the file                ─▶ fresh_stat, file_revalidate
 *                msync(MS_INVALIDATE), MADV_DONTNEED, POSIX_FADV_DONTNEED  ─▶ fresh_range, file_revalidate
 *
 * The time of the last change (st_ctim) tells whether
 * anything happened. This is NFS's close-to-open consistency.
 *
 * errno stays as it is, in every function here.
 */
#ifndef RUN_FRESH_H
#define RUN_FRESH_H

#include "file.h"

/*
 * st is the file's status now. If another process changed the file since the last look, clean
 * pages are dropped, and the new length counts: true. Signals are blocked; with or without (S).
 */
bool file_revalidate(struct file *file, const struct stat *st);

/* ---- acquiring and asking -------------------------------------------------------------------------- */

/* Revalidates all managed files. */
void fresh_all(void) FL_EXCLUDES(shim_lock);
/* … the files that are mapped in [start, end). */
void fresh_range(vm_offset_t start, vm_offset_t end) FL_EXCLUDES(shim_lock);
/* … the file that st, which the program was just given, belongs to, if it is managed. */
void fresh_stat(const struct stat *st) FL_EXCLUDES(shim_lock);

/* ---- releasing and opening ------------------------------------------------------------------------- */

/* Writes back what was stored to managed files. An error is told by the next fsync. */
void fresh_release(void) FL_EXCLUDES(shim_lock);
/* A descriptor is about to be closed: revalidates its file, and writes it back if nothing maps it. */
void fresh_closing(int fd) FL_EXCLUDES(shim_lock);
/*
 * fd was just opened with these open flags: tells other processes under Faultline before the program goes on.
 */
void fresh_opened(int fd, int flags) FL_EXCLUDES(shim_lock);
/* The file at the path is about to be changed without a descriptor (truncate(2)). */
void fresh_changing_path(const char *path) FL_EXCLUDES(shim_lock);

#endif
