/* file_idle.h: what is mapped of each file, and files that nothing maps any more (file_idle.c). */
#ifndef RUN_FILE_IDLE_H
#define RUN_FILE_IDLE_H

#include "file.h"

/* Adds (sign 1) or subtracts (sign -1) the managed bytes of [start, end) to their files. */
void file_account(vm_offset_t start, vm_offset_t end, int sign) FL_REQUIRES(shim_lock);
/* Lets file_reap look at the file, unless it is mapped. */
void file_unmapped_push(struct file *file) FL_REQUIRES(shim_lock);
/*
 * Makes unmapped files idle, or closes them. Before (S) is released by a call that may have unmapped a file.
 */
void file_reap(void) FL_REQUIRES(shim_lock);
/*
 * Closes idle files: the oldest while there are more than
 * `most`, and all that are idle since before `before_ns`.
 */
void file_idle_trim(uint32_t most, uint64_t before_ns) FL_REQUIRES(shim_lock);
/* Closes files that were idle for long. About once a second. */
void file_idle_tick(void) FL_EXCLUDES(shim_lock);
/*
 * The program is about to close a descriptor, of which st is
 * true: dirty pages of an idle file are written back.
 */
void file_closing(const struct stat *st) FL_EXCLUDES(shim_lock);
/*
 * The kernel is about to map the file, or another process to look at it: writes
 * it back, and closes it if nothing maps it and no call refers to it: true.
 */
bool file_let_go(struct file *file) FL_REQUIRES(shim_lock);

#endif
