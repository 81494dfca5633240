/*
 * inode.h: a file, directory, link or device of a file system, in memory.
 *
 *   path ─▶ namei ─▶ inode ─▶ ops of its file system: ext2, tmpfs, devfs, procfs
 *                      └▶ vnode: a regular file's bytes, which the VM caches (vm.h)
 *
 * A file system keeps one struct inode for each of its files that is in use, so whoever finds the same file
 * twice gets the same inode. The file system embeds it as the first member of its own type, or keeps its own
 * data at `fs`.
 *
 * References: `refs` counts open files, working directories, and the callers between inode_get and
 * inode_put. With the last one the file system's `release` runs: a file without names is then removed.
 * Names (nlink) are no references.
 *
 * Locks: (D) inode->lock, a sleep lock, which may be held across I/O: a directory's entries, a link's
 * target, and the attributes. Where two are taken, the parent's goes first; rename takes the mount's
 * rename lock, then the directories' in the order of their addresses. Before all locks of the core. (VL)
 * vnodes_lock, a leaf: which inode has which vnode. (c) constant.
 *
 * (vnode(9), BSD; struct inode, Linux.)
 */
#ifndef KERNEL_FS_INODE_H
#define KERNEL_FS_INODE_H

#include <faultline/machine.h>
#include <faultline/vm.h>
#include <stdatomic.h>

/* A sleep lock whose holder may wait for I/O. All zero is unlocked. */
struct FL_CAPABILITY("mutex") sleep_lock {
    struct machine_lock lock;
    uint64_t owner; /* (lock) machine_self(); 0: none */
};
void sleep_lock(struct sleep_lock *lock) FL_ACQUIRE(lock);
void sleep_unlock(struct sleep_lock *lock) FL_RELEASE(lock);

struct inode;
struct mount;
struct file;

#define NAME_LEN_MAX 255 /* bytes of one name, without its 0 */
#define PATH_LEN_MAX 4096

/* What readdir tells of an entry. Returns 0 to go on, or a negative errno, which ends the readdir: the entry
 * was not taken. `type` is one of DT_* (Linux's). `next`: the position behind the entry. */
typedef int readdir_fn(void *arg, const char *name, size_t len_bytes, uint64_t ino, unsigned type,
                       uint64_t next);

/* NULL: the call says so with the error that Linux has for it (-ENOTDIR, -EPERM, -EINVAL …). Functions that
 * are called with (D) of `dir` say so. All may sleep. */
struct inode_ops {
    /* *inode: the entry, with a reference. (D) of dir. Errors: -ENOENT, -EIO. */
    FL_NODISCARD int (*lookup)(struct inode *dir, const char *name, size_t len_bytes, struct inode **inode);
    /* Makes an entry with a new inode of `mode` (type and rights); of devices, rdev. *inode has a reference.
     * (D) of dir; the name is not there. Errors: -ENOSPC, -EROFS, -EIO. */
    FL_NODISCARD int (*create)(struct inode *dir, const char *name, size_t len_bytes, uint32_t mode,
                               uint64_t rdev, struct inode **inode);
    FL_NODISCARD int (*symlink)(struct inode *dir, const char *name, size_t len_bytes, const char *target);
    FL_NODISCARD int (*link)(struct inode *dir, const char *name, size_t len_bytes, struct inode *inode);
    /* Removes the entry, which names `inode`; a directory is empty, or -ENOTEMPTY. (D) of dir. */
    FL_NODISCARD int (*unlink)(struct inode *dir, const char *name, size_t len_bytes, struct inode *inode);
    /* Both names are in this mount; `replaced` is what the new one names now, or NULL. (D) of both dirs, and
     * the mount's rename lock. */
    FL_NODISCARD int (*rename)(struct inode *from_dir, const char *from, size_t from_len_bytes,
                               struct inode *to_dir, const char *to, size_t to_len_bytes, struct inode *inode,
                               struct inode *replaced);
    /* The entries from position *pos on, 0 at first, "." and ".." among them; *pos is advanced past those
     * that `emit` took. (D) of dir. */
    FL_NODISCARD int (*readdir)(struct inode *dir, uint64_t *pos, readdir_fn *emit, void *arg);
    /* The target, without a 0. Returns its length. */
    FL_NODISCARD int (*readlink)(struct inode *inode, char *target, size_t max);
    /* *to: the very inode that the link leads to, with a reference, even if no path does (/proc/PID/fd/N).
     * NULL: readlink tells a path. Errors: -ENOENT; -ENXIO, it leads to what has no inode. */
    FL_NODISCARD int (*follow)(struct inode *link, struct inode **to);
    /* A regular file's bytes, with a reference to the vnode for the caller. One vnode for an inode as long as
     * it lives. A block device's too. Errors: -ENOMEM, -EIO. */
    FL_NODISCARD int (*vnode)(struct inode *inode, struct vnode **vnode);
    /* mode's rights, uid, gid and times were changed in the inode: they go to the disk. (D). */
    FL_NODISCARD int (*setattr)(struct inode *inode);
    /* The inode and all that is needed to find its bytes are on stable storage. The bytes themselves are the
     * caller's business (fl_vnode_fsync). */
    FL_NODISCARD int (*fsync)(struct inode *inode);
    /* Devices, pipes: sets file->ops and what belongs to it. NULL: file->ops stays as the type has it. */
    FL_NODISCARD int (*open)(struct inode *inode, struct file *file);
    /* The last reference is gone. Frees the inode; and the file, if it has no name. */
    void (*release)(struct inode *inode);
};

struct inode {
    const struct inode_ops *ops; /* (c) */
    struct mount *mount;         /* (c) */
    uint64_t ino;                /* (c) */
    uint64_t rdev;               /* (c) of a device: its number, as Linux encodes it */
    _Atomic uint32_t refs;
    struct sleep_lock lock;               /* (D) */
    uint32_t mode;                        /* (D) S_IF* and rights; the type is constant */
    uint32_t nlink;                       /* (D) */
    uint32_t uid, gid;                    /* (D) */
    int64_t atime_ns, mtime_ns, ctime_ns; /* (D) since 1970 */
    /* (D) of directories, links and devices. Of a regular file its vnode knows the length; a file system on a
     * disk keeps it here, too, whenever it changes, so that stat needs no vnode. */
    uint64_t size_bytes;
    uint64_t blocks;       /* (D) of 512 bytes, for stat */
    struct mount *covered; /* (D) what is mounted on this directory, or NULL */
    char *last_path; /* NULL, until the last name goes while others use the inode; then (c), see names.c */
    const struct vnode *listed; /* (VL) the vnode by which the inode is found; NULL: it is not */
    struct inode *next_listed;  /* (VL) */
    void *fs;                   /* the file system's own */
};

struct mount {
    const char *type;   /* (c) "ext2" */
    struct inode *root; /* (c) with a reference */
    struct inode *on;   /* (c) the directory that it covers, with a reference; NULL: the root of all */
    struct sleep_lock rename_lock;
    bool read_only; /* (c) */
    bool uncached;  /* (c) names come and go by themselves, so namecache.h must not know them (proc) */
    uint64_t dev;   /* (c) st_dev */
    void *fs;       /* the file system's own */
    /* All that the file system knows goes to stable storage: its files' dirty pages, its metadata. */
    FL_NODISCARD int (*sync)(struct mount *mount);
    /* What the file system knows of files goes to the disk, not their pages. NULL: it has no disk. */
    FL_NODISCARD int (*write_back)(struct mount *mount);
    FL_NODISCARD int (*statfs)(struct mount *mount, void *statfs); /* struct statfs64 of Linux */
    /* Syncs, and ends the mount, which is freed. Nothing of it is in use but the root. NULL: it lives for
     * ever. Errors: -EBUSY, it goes on; of the sync: it is gone nevertheless. */
    FL_NODISCARD int (*unmount)(struct mount *mount);
    struct mount *next; /* (c) after boot */
};

static inline struct inode *inode_get(struct inode *inode)
{
    atomic_fetch_add_explicit(&inode->refs, 1, memory_order_relaxed);
    return inode;
}
/*
 * Drops a reference. A file system whose lookup finds inodes in a table of its own takes that table's lock in
 * `release`, and looks at refs again: a lookup may have found the inode meanwhile, and may even have dropped
 * it again, so the memory of such an inode stays an inode's as long as the mount lives.
 */
void inode_put(struct inode *inode);

/* From now on the inode is found by its vnode, also when neither has a name. */
void inode_list_vnode(struct inode *inode, const struct vnode *vnode);
/* Of the inode with this vnode: st_dev, st_ino; *inode with a reference, or NULL: nobody uses it but
 * mappings. Returns whether there is one. */
FL_NODISCARD bool inode_find_vnode(const struct vnode *vnode, uint64_t *dev, uint64_t *ino,
                                   struct inode **inode);
/* A file system calls it before it frees an inode or uses its memory for another. */
void inode_end_common(struct inode *inode);

#endif
