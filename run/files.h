/* files.h: the table of managed files, and calls on all of them (files.c). */
#ifndef RUN_FILES_H
#define RUN_FILES_H

#include "file.h"

/* ---- without (S) ----------------------------------------------------------------------------------- */

extern _Atomic uint32_t files_mapped;   /* how many files there are */
extern _Atomic uint32_t files_writable; /* … with a descriptor that may write: others have no dirty page */
/*
 * The files, while they are few: an empty place is NULL, and files_more counts those
 * without a place. A file found here may be closed, or another one, at any moment (file.h).
 */
#define FILES_FEW 8
extern struct file *_Atomic files_few[FILES_FEW];
extern _Atomic uint32_t files_more;
extern _Atomic uint32_t files_generation; /* changes with each new file; never 0 */

void files_generation_next(void);
/* False: the file is certainly not managed. Two loads, which save the lookup for nearly all other files. */
bool file_may_be(dev_t dev, ino_t ino);

/* ---- lookup ---------------------------------------------------------------------------------------- */

/* The file of (device, inode), of a vnode, of a handle_hash, or mapped at va; NULL: it is not managed. */
struct file *file_find(dev_t dev, ino_t ino) FL_REQUIRES(shim_lock);
struct file *file_of_vnode(const struct vnode *vnode) FL_REQUIRES(shim_lock);
struct file *file_of_handle(uint64_t hash) FL_REQUIRES(shim_lock);
struct file *file_at(vm_offset_t va) FL_REQUIRES(shim_lock);
/* The file that the region maps; NULL: the region is reserved. */
struct file *file_of_region(const struct fl_region *region) FL_REQUIRES(shim_lock);
/* All files in turn; NULL behind the last. */
struct file *file_first(void) FL_REQUIRES(shim_lock);
struct file *file_next(const struct file *file) FL_REQUIRES(shim_lock);

/* ---- membership: for file.c ------------------------------------------------------------------------ */

void files_add(struct file *file) FL_REQUIRES(shim_lock);
void files_remove(struct file *file) FL_REQUIRES(shim_lock);

/* ---- all files ------------------------------------------------------------------------------------- */

/* Writes back all files, or those on one device. Errors: the first one. Signals as they are. */
FL_NODISCARD int files_sync(const dev_t *dev) FL_EXCLUDES(shim_lock);
FL_NODISCARD int files_sync_locked(const dev_t *dev) FL_REQUIRES(shim_lock);
/* Clears `written` and `inherited` of each. */
void files_unmark(void) FL_REQUIRES(shim_lock);
/* A child of a fork shares the descriptors of all files from now on. */
void files_forked(void) FL_REQUIRES(shim_lock);

#endif
