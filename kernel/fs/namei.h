/*
 * namei.h: from a path to an inode.
 *
 *   "/bin/../lib/x"    walk_start ─▶ walk_parent ─▶ dir: /lib, last: "x" ─▶ walk_last ─▶ inode
 *                                        │ links are put before what is left of the path; 40, then -ELOOP
 *                                        └ a directory that is mounted on gives way to the mount's root
 *
 * A call that changes a directory (create, unlink, rename …) stops at walk_parent, and looks the last name up
 * under (D) of the directory. (namei(9), BSD.)
 */
#ifndef KERNEL_FS_NAMEI_H
#define KERNEL_FS_NAMEI_H

#include "fs/file.h"

#define PATH_SHORT 128 /* paths up to this length need no memory of the heap */

/* A path that a program has given. */
struct pathname {
    char *path;
    char fast[PATH_SHORT];
};
/* Errors: -EFAULT, -ENAMETOOLONG, -ENOMEM; -ENOENT, it is empty, unless `empty` allows that. */
FL_NODISCARD int pathname_copyin(struct pathname *pathname, uint64_t user, bool empty);
void pathname_free(struct pathname *pathname);

enum walk_last {
    WALK_NAME,   /* a name, which may exist or not */
    WALK_DOT,    /* "." or ".." */
    WALK_NOTHING /* the path is "/" or slashes only: dir itself */
};

struct walk {
    struct inode *root; /* with a reference: where absolute links begin, and ".." ends */
    struct inode *dir;  /* with a reference */
    const char *rest;   /* of the path, behind `last` */
    char *link;         /* memory of the heap that `rest` lies in; NULL: the caller's path */
    unsigned nlinks;    /* links that were followed */
    const char *last;   /* after walk_parent: the last name, and its length */
    size_t last_len;
    enum walk_last type;
    bool slash; /* slashes stand behind it: it must be a directory */
};

/* Begins at the directory of descriptor dirfd (AT_FDCWD), or at the root. `path` lives until walk_end, which
 * follows also after an error. Errors: -EBADF, -ENOTDIR. */
FL_NODISCARD int walk_start(struct walk *walk, int dirfd, const char *path);
/* walk->dir becomes the directory of the path's last name. Errors: -ENOENT, -ENOTDIR, -ELOOP,
 * -ENAMETOOLONG, -ENOMEM, of lookup. */
FL_NODISCARD int walk_parent(struct walk *walk);
/* What the last name leads to, or a mount over it, with a reference. Takes (D) of walk->dir if it must.
 * Errors: -ENOENT, of lookup. */
FL_NODISCARD int walk_last(struct walk *walk, struct inode **inode);
/* The last name is this link: the walk goes on in its target with walk_parent. Errors: -ELOOP, -ENOMEM, of
 * readlink. */
FL_NODISCARD int walk_link(struct walk *walk, struct inode *link);
/* The same of the last name's link *inode, whose reference the call takes over. *inode: what such a link
 * leads to that is more than a path, with a reference; NULL: the walk goes on. Errors: of walk_link, of
 * follow. */
FL_NODISCARD int walk_last_link(struct walk *walk, struct inode **inode);
void walk_end(struct walk *walk);

/* The entry of dir, with a reference. (D) of dir. Errors: -ENOENT, of lookup. */
FL_NODISCARD int dir_lookup(struct inode *dir, const char *name, size_t len_bytes, struct inode **inode);

/* The inode of a path, with a reference. flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH (dirfd itself). Errors: as
 * walk_parent and walk_last. */
FL_NODISCARD int namei(int dirfd, const char *path, unsigned flags, struct inode **inode);
/* The same of a path of the program's. */
FL_NODISCARD int namei_user(int dirfd, uint64_t path, unsigned flags, struct inode **inode);
/* The inode of a descriptor, with a reference; AT_FDCWD: the working directory. Errors: -EBADF; -EINVAL: it
 * has none. */
FL_NODISCARD int fd_inode(int fd, struct inode **inode);

/* ---- where paths start (fs_context.c) ------------------------------------------------------------------ */

/* With references. */
FL_NODISCARD struct inode *fs_context_root(struct fs_context *fs);
FL_NODISCARD struct inode *fs_context_cwd(struct fs_context *fs);
void fs_context_set_root(struct fs_context *fs, struct inode *root);
void fs_context_set_cwd(struct fs_context *fs, struct inode *cwd);
FL_NODISCARD uint32_t fs_context_umask(struct fs_context *fs);
/* Returns the one before. */
uint32_t fs_context_set_umask(struct fs_context *fs, uint32_t umask);

/* ---- changes of directories (names.c) ------------------------------------------------------------------ */

/* The errors are Linux's. `mode` has the type; umask is taken off by these functions. *inode, if not NULL:
 * what was made, with a reference. */
FL_NODISCARD int name_create(int dirfd, const char *path, uint32_t mode, uint64_t rdev, struct inode **inode);
/* The same of a name in dir that is not there. (D) of dir. *inode has a reference. */
FL_NODISCARD int dir_create(struct inode *dir, const char *name, size_t len_bytes, uint32_t mode,
                            uint64_t rdev, struct inode **inode);
FL_NODISCARD int name_symlink(const char *target, int dirfd, const char *path);
FL_NODISCARD int name_link(struct inode *inode, int dirfd, const char *path);
/* directory: rmdir(2), otherwise unlink(2). */
FL_NODISCARD int name_unlink(int dirfd, const char *path, bool directory);
FL_NODISCARD int name_rename(int from_dirfd, const char *from, int to_dirfd, const char *to, bool noreplace);

/* ---- opening (open.c) ---------------------------------------------------------------------------------- */

/* open(2). mode: of a file that is made. *file has a reference. */
FL_NODISCARD int file_open(int dirfd, const char *path, unsigned flags, uint32_t mode, struct file **file);
/* A file of an inode, to which the call takes a reference of its own. */
FL_NODISCARD int file_open_inode(struct inode *inode, unsigned flags, struct file **file);

#endif
