/*
 * namecache.h: which names in which directories lead to which inodes, of those that were looked up lately.
 *
 *   (directory, "name") ─hash─▶ entry ◀─hash─ inode        an entry has a reference to both inodes
 *                                 └ a list by age: the oldest goes when there are NAMECACHE_MAX
 *
 * A path walk that finds a name here takes no lock of the directory's and asks no file system. In the other
 * direction the cache tells the path of a file that is open, running or mapped. The references keep inodes in
 * memory, and with them what is cached of their files, after the last program has closed them.
 *
 * An entry is made and removed under (D) of the directory, together with the change of the directory. So it
 * is true for as long as a walk could have come to it.
 *
 * Locks: (NC) namecache_lock, a leaf; references are dropped after it is released. (vfs_cache.c, BSD.)
 * Does not do: names that are not there.
 */
#ifndef KERNEL_FS_NAMECACHE_H
#define KERNEL_FS_NAMECACHE_H

#include "fs/inode.h"

/* The inode, with a reference; NULL: not known. */
FL_NODISCARD struct inode *namecache_lookup(struct inode *dir, const char *name, size_t len_bytes);
/* (D) of dir. Without memory the name is not kept. */
void namecache_enter(struct inode *dir, const char *name, size_t len_bytes, struct inode *inode);
/* The name is gone, or is about to lead elsewhere. (D) of dir. */
void namecache_purge(struct inode *dir, const char *name, size_t len_bytes);
/* Forgets all names of a mount, or with NULL of all: their references end. */
void namecache_purge_mount(struct mount *mount);
/* The inode's vnode, which is one as long as the inode lives; the cache does not use it, but compares. */
void namecache_set_vnode(struct inode *inode, const struct vnode *vnode);
/* An inode with this vnode, with a reference; NULL: none is known. */
FL_NODISCARD struct inode *namecache_find_vnode(const struct vnode *vnode);
/* A name of the inode: *dir, with a reference, and name[NAME_LEN_MAX + 1]. Errors: -ENOENT: none is known. */
FL_NODISCARD int namecache_name(struct inode *inode, struct inode **dir, char *name);

#endif
