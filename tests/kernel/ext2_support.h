/*
 * ext2_support.h: what the tests of ext2 share: the kernel's heap and clock, file systems made and checked by
 * e2fsprogs, and paths.
 *
 *   image_make (mke2fs) ─▶ image_disk ─▶ fs_mount … fs_unmount ─▶ image_save ─▶ image_is_clean, image_run
 *
 * The calls on paths do what a kernel's do: they walk from the root, and take the locks that inode.h names.
 */
#ifndef TESTS_KERNEL_EXT2_SUPPORT_H
#define TESTS_KERNEL_EXT2_SUPPORT_H

#include "fs/ext2.h"
#include "fs/inode.h"
#include "support/boot.h"
#include <sys/stat.h>

/* ---- the heap ------------------------------------------------------------------------------------------ */

/* Counts down: 1 fails the next kmalloc, and kmem_fail_more after it; 0 fails none. */
extern uint32_t kmem_fail_nth, kmem_fail_more;
/* Pieces that are allocated now. */
extern uint64_t kmem_pieces;

/* ---- images -------------------------------------------------------------------------------------------- */

/* The path of a file in the test's own folder, which is removed at its end. The result lives until the fourth
 * call after. */
const char *image_path(const char *name);
/* Runs a command of the shell's, printf-like, silently, and returns its exit status; what it said is in
 * image_said. */
int image_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern char image_said[65536];
/* Makes the file `name` an ext2 of kib KiB with mke2fs; options: its others. Free blocks have old bytes. */
void image_make(const char *name, uint32_t kib, const char *options);
/* A disk with the image's bytes, in blocks of block_bytes. */
struct sim_disk *image_disk(const char *name, uint32_t block_bytes, uint64_t seed);
/* The disk's bytes become the image. */
void image_save(const struct sim_disk *disk, const char *name);
/* e2fsck -fn of the disk finds nothing, or the test fails. */
void image_is_clean(const struct sim_disk *disk);

/* ---- mounts -------------------------------------------------------------------------------------------- */

FL_NODISCARD int fs_try_mount(struct sim_disk *disk, bool read_only, struct mount **mount);
struct mount *fs_mount(struct sim_disk *disk, bool read_only);
void fs_unmount(struct mount *mount);

/* ---- paths: "/a/b"; 0, or a negative errno ------------------------------------------------------------- */

/* *inode: with a reference. */
FL_NODISCARD int fs_walk(struct mount *mount, const char *path, struct inode **inode);
FL_NODISCARD int fs_create(struct mount *mount, const char *path, uint32_t mode, uint64_t rdev);
FL_NODISCARD int fs_symlink(struct mount *mount, const char *path, const char *target);
FL_NODISCARD int fs_link(struct mount *mount, const char *old, const char *path);
FL_NODISCARD int fs_unlink(struct mount *mount, const char *path);
FL_NODISCARD int fs_rename(struct mount *mount, const char *from, const char *to);
/* As write(2) is made: space first. Returns bytes. */
FL_NODISCARD int64_t fs_write(struct mount *mount, const char *path, uint64_t offset, const void *bytes,
                              size_t len_bytes);
FL_NODISCARD int64_t fs_read(struct mount *mount, const char *path, uint64_t offset, void *bytes,
                             size_t len_bytes);
FL_NODISCARD int fs_truncate(struct mount *mount, const char *path, uint64_t len_bytes);
FL_NODISCARD int fs_allocate(struct mount *mount, const char *path, uint64_t offset, uint64_t len_bytes);
FL_NODISCARD int fs_punch(struct mount *mount, const char *path, uint64_t offset, uint64_t len_bytes);
/* data_only: fdatasync(2). */
FL_NODISCARD int fs_fsync(struct mount *mount, const char *path, bool data_only);
FL_NODISCARD int fs_readlink(struct mount *mount, const char *path, char *target, size_t max);
FL_NODISCARD int fs_stat(struct mount *mount, const char *path, struct stat *st);
/* Calls fn for each entry but the two dots; fn may not call these functions. */
FL_NODISCARD int fs_readdir(struct mount *mount, const char *path,
                            void (*fn)(void *arg, const char *name, unsigned type, uint64_t ino), void *arg);

#endif
