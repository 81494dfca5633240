/*
 * ext2_mount.h: a mounted ext2, its inodes in memory, and what the files of ext2 offer each other.
 *
 *   ext2_vfsops.c   mount, sync, statfs, unmount     ext2_inode.c   inodes in memory: found, kept, ended
 *   ext2_vnops.c    inode_ops                        ext2_dir.c     entries of directories
 *   ext2_store.c    a regular file as a store        ext2_bmap.c    file block ─▶ disk block; truncation
 *   ext2_alloc.c    bitmaps                          ext2_buf.c     blocks of metadata in memory
 *
 * Locks, in this order:
 *   (D)  inode->lock, of directories and of attributes.
 *        … all locks of the core's, and its waits for memory …
 *   (N)  fs->meta, a sleep lock for all metadata: buffers, groups, the superblock, ext2_inode.d. It is held
 *        across I/O of metadata.
 *   (H)  fs->hash_lock: which inodes are in memory, in what state, with which vnode.
 *   (E)  ext2_inode.extent_lock, a leaf: extents lately used, and how many writes are under way.
 *
 * Why write-back cannot deadlock. The page daemon, or any thread that waits for memory, writes a file's page:
 * ext2_store.c maps it to a block, for which it takes (N), reads blocks of numbers, and may allocate blocks.
 * Who has (N) waits for the device alone: metadata has buffers of its own, which the mount allocated, and
 * transfers go to the device's store directly, and need no page. Nothing under (N) calls the core, allocates
 * memory that it may have to wait for (kmalloc never waits), or touches a program's memory. So (N) is always
 * released, and a page is always written, however little memory there is. (The device must end a transfer
 * without memory, too, and without being waited for.)
 *
 * Why not through the pages of the device, as the files' data? With blocks smaller than a page, one page of
 * the device holds metadata and data of files at once, and to write it would write old data. And a page of
 * the device needs memory while memory is made.
 */
#ifndef KERNEL_FS_EXT2_MOUNT_H
#define KERNEL_FS_EXT2_MOUNT_H

#include "fs/ext2_buf.h"
#include "fs/ext2_fs.h"
#include "fs/inode.h"
#include <faultline/store.h>

#define EXT2_HASH 512 /* buckets */

struct ext2_group {
    uint32_t block_bitmap, inode_bitmap, inode_table; /* (c) */
    uint32_t free_blocks, free_inodes, used_dirs;     /* (N) */
};

struct ext2_fs {
    struct mount mount;   /* the first field */
    struct vnode *device; /* (c) with a reference */
    struct store *store;  /* (c) the device's */

    /* ---- (c) the superblock's numbers ---- */
    uint32_t block_bytes, block_shift;
    uint32_t pointers; /* block numbers in a block */
    uint32_t inode_bytes, first_ino;
    uint32_t itable_blocks; /* of each group */
    uint32_t ngroups;
    bool filetype;      /* entries say the type */
    uint64_t max_bytes; /* of a file */

    struct sleep_lock meta;     /* (N) */
    struct ext2_super_block sb; /* (N) as it is to be on the disk */
    bool sb_dirty;              /* (N) */
    bool trusted;               /* (N) it was valid when it was mounted, and no error was seen since */
    bool valid_on_disk;         /* (N) the disk's superblock says EXT2_VALID_FS */
    struct ext2_group *group;   /* (N) ngroups of them */
    struct ext2_bufs bufs;      /* (N) */
    uint8_t *zeros;             /* (c) a page of them */
    uint32_t generation;        /* (N) of the next new inode */
    uint32_t orphans;           /* (N) files without names that are in use, so that the disk is not clean */
    struct ext2_buf *super;     /* (N) the superblock's buffer, held: it is always there */

    struct machine_lock hash_lock;           /* (H) */
    struct ext2_inode *hash[EXT2_HASH];      /* (H) by inode number */
    struct ext2_inode *lru_first, *lru_last; /* (H) inodes that nobody uses, the oldest first */
    uint32_t lru_count, lru_max;             /* (H); lru_max (c) */
    struct ext2_inode *unused;               /* (H) memory of inodes that ended, by hash_next */

    struct sleep_lock sync_lock; /* one sync at a time */
    uint64_t sync_pass;          /* (H); grows under sync_lock */
};

/* Neighbouring blocks of a file that are neighbours on the disk. */
struct ext2_extent {
    uint32_t lblk, pblk; /* in the file, on the disk; pblk 0: a hole */
    uint32_t len;        /* blocks */
};
#define EXT2_EXTENTS 4
#define EXT2_FRESH   8

struct ext2_inode {
    struct inode inode; /* the first field */
    struct ext2_fs *fs; /* (c) also after the end */

    /* ---- (H) ---- */
    struct ext2_inode *hash_next, *lru_next, *lru_prev;
    bool hashed, on_lru;
    bool busy;           /* it is being read, or ends: others wait; its address is the channel */
    uint32_t stores;     /* that a vnode has, perhaps only because the file is mapped */
    struct vnode *vnode; /* with a reference; NULL: not open */
    uint64_t sync_pass;  /* the last sync that saw it */

    /* ---- (N) ---- */
    struct ext2_dinode d; /* as it is to be on the disk; the buffer of its block has the same bytes */
    uint32_t goal_lblk, goal_pblk; /* the next block of the file, and the best place for it */
    /* Allocated and never written: they read as zeros. By number of the file's block; sorted; pblk is not
     * used. */
    struct ext2_extent fresh[EXT2_FRESH];
    uint32_t nfresh;
    uint32_t alloc_end; /* no block of the file at or behind this one was allocated since it was read */
    bool orphan;        /* it is one of fs->orphans */
    uint32_t dir_hint;  /* of a directory: the block in which the last entry was found or made */

    _Atomic uint64_t size; /* bytes, of all types; changes under (N) */
    /* The thread that ends a file without names: what it writes back would be deleted. 0: none. */
    _Atomic uint64_t ender;

    struct machine_lock extent_lock; /* (E) */
    /* (E) lately used ones, none of them fresh or a hole; len 0: none */
    struct ext2_extent extent[EXT2_EXTENTS];
    uint32_t extent_next; /* (E) which is replaced next */
    uint32_t writes;      /* (E) to the file, under way; its address is the channel */
    bool fenced;          /* (E) none may begin */
};

static inline struct ext2_fs *ext2_fs_of(struct mount *mount)
{
    return (struct ext2_fs *)mount;
}
static inline struct ext2_inode *ext2_i(struct inode *inode)
{
    return (struct ext2_inode *)inode;
}

/* (N) is held: for the compiler, too, which does not see that two names mean one mount. */
static inline void ext2_assert_meta(struct ext2_fs *fs) FL_ASSERT_CAPABILITY(fs->meta)
{
    if (fs->meta.owner != machine_self())
        machine_panic("ext2: metadata is used without its lock");
}

/* ---- ext2_vfsops.c ------------------------------------------------------------------------------------- */

/* The file system contradicts itself. Says so once, and asks for e2fsck. Returns -EIO. (N). */
FL_NODISCARD int ext2_error(struct ext2_fs *fs, const char *what) FL_REQUIRES(fs->meta);

/* ---- ext2_alloc.c: (N) all ----------------------------------------------------------------------------- */

/* May n blocks from blkno on be a file's: within the file system, and none of a group's own? */
FL_NODISCARD bool ext2_data_blocks(const struct ext2_fs *fs, uint32_t blkno, uint32_t n);
/* Takes *n neighbours, or fewer, but one at least, near `goal`. Errors: -ENOSPC, -EIO. */
FL_NODISCARD int ext2_alloc_blocks(struct ext2_fs *fs, uint32_t goal, uint32_t *blkno, uint32_t *n)
    FL_REQUIRES(fs->meta);
/* Errors: -EIO; some may be free. */
FL_NODISCARD int ext2_free_blocks(struct ext2_fs *fs, uint32_t blkno, uint32_t n) FL_REQUIRES(fs->meta);
/* Errors: -ENOSPC, -EIO. */
FL_NODISCARD int ext2_alloc_inode(struct ext2_fs *fs, uint32_t parent, bool directory, uint32_t *ino)
    FL_REQUIRES(fs->meta);
FL_NODISCARD int ext2_free_inode(struct ext2_fs *fs, uint32_t ino, bool directory) FL_REQUIRES(fs->meta);

/* ---- ext2_bmap.c: (N) all ------------------------------------------------------------------------------ */

/* *extent: where block lblk of the file is, and as many behind it as are easily seen, at most `max`. Errors:
 * -EIO. */
FL_NODISCARD int ext2_bmap(struct ext2_inode *ip, uint32_t lblk, uint32_t max, struct ext2_extent *extent)
    FL_REQUIRES(ip->fs->meta);
/*
 * The same; a hole gets blocks, which become fresh. The new block of a directory has one free entry. Errors:
 * -ENOSPC, -EIO.
 */
FL_NODISCARD int ext2_balloc(struct ext2_inode *ip, uint32_t lblk, uint32_t max, struct ext2_extent *extent)
    FL_REQUIRES(ip->fs->meta);
/* Makes blocks [start, end) of the file holes. Errors: -EIO; some may be. */
FL_NODISCARD int ext2_bfree(struct ext2_inode *ip, uint32_t start, uint32_t end) FL_REQUIRES(ip->fs->meta);
/* Has the file holes before byte `size`, as far as is easily known? */
FL_NODISCARD bool ext2_has_holes(const struct ext2_inode *ip, uint64_t size) FL_REQUIRES(ip->fs->meta);
/* Blocks [lblk, lblk + n) are about to be written. Errors: -EIO, of zeros written beside them. */
FL_NODISCARD int ext2_fresh_written(struct ext2_inode *ip, uint32_t lblk, uint32_t n)
    FL_REQUIRES(ip->fs->meta);
/* How many of the n blocks from lblk on, which have one of both states, are fresh, or are not. */
FL_NODISCARD uint32_t ext2_fresh_run(const struct ext2_inode *ip, uint32_t lblk, uint32_t n, bool *fresh)
    FL_REQUIRES(ip->fs->meta);
/* What lies behind the file's end is freed, or e2fsck would make the file longer; fresh blocks of the file
 * get their zeros. Errors: -EIO. */
FL_NODISCARD int ext2_settle(struct ext2_inode *ip) FL_REQUIRES(ip->fs->meta);

/* ---- ext2_inode.c -------------------------------------------------------------------------------------- */

/* *ip: inode ino, with a reference. No lock but (D). Errors: -EIO, -ENOMEM. */
FL_NODISCARD int ext2_iget(struct ext2_fs *fs, uint32_t ino, struct ext2_inode **ip);
/* *ip: a new inode of that mode in the parent's group, with a reference and one name. Errors: -ENOSPC, -EIO,
 * -ENOMEM. */
FL_NODISCARD int ext2_inew(struct ext2_inode *parent, uint32_t mode, struct ext2_inode **ip);
/* d goes to its buffer. Errors: -EIO. */
FL_NODISCARD int ext2_iupdate(struct ext2_inode *ip) FL_REQUIRES(ip->fs->meta);
/* The attributes in ip->inode go to its buffer. (D) of it. Errors: -EIO. */
FL_NODISCARD int ext2_iattr(struct ext2_inode *ip) FL_REQUIRES(ip->fs->meta);
/* A new inode is a device with that number. */
void ext2_set_rdev(struct ext2_inode *ip, uint64_t rdev) FL_REQUIRES(ip->fs->meta);
/* *buf: the buffer of d, held; *d: its place there. */
FL_NODISCARD int ext2_iread(struct ext2_fs *fs, uint32_t ino, struct ext2_buf **buf, struct ext2_dinode **d)
    FL_REQUIRES(fs->meta);
/* The file's length in d, and where else it is kept. */
void ext2_set_size(struct ext2_inode *ip, uint64_t size) FL_REQUIRES(ip->fs->meta);
/* inode_ops.release, and the same when a store has closed. */
void ext2_release(struct inode *inode);
/* The store of a vnode of ip is gone. */
void ext2_store_gone(struct ext2_inode *ip);
/* inode_ops.vnode. */
FL_NODISCARD int ext2_vnode(struct inode *inode, struct vnode **vnode);
/* Ends inodes that nobody uses until there are at most `most` of them. No lock but (D). Errors: of the last
 * write-back of a file that ended. */
FL_NODISCARD int ext2_inode_trim(struct ext2_fs *fs, uint32_t most);
/* Writes the dirty pages of all files. Errors: of the writes. */
FL_NODISCARD int ext2_inodes_sync(struct ext2_fs *fs) FL_REQUIRES(fs->sync_lock);
/* Is an inode in use, but for `allowed` references to the root? */
FL_NODISCARD bool ext2_inodes_used(struct ext2_fs *fs, uint32_t allowed);
/* All inodes have ended: their memory goes. */
void ext2_inodes_free(struct ext2_fs *fs);

/* ---- ext2_store.c -------------------------------------------------------------------------------------- */

/* A store for a vnode of the file. NULL: no memory. */
FL_NODISCARD struct store *ext2_store_create(struct ext2_inode *ip);

/* ---- ext2_dir.c: (D) of dir, and (N) ------------------------------------------------------------------- */

/* An entry that was found: at `offset` of block lblk, which buf, held, has. */
struct ext2_entry {
    struct ext2_buf *buf;
    uint32_t lblk, offset;
    uint32_t before; /* offset of the entry before it in the block; its own if it is the first */
    uint32_t ino;
};
/* Errors: -ENOENT, -EIO. */
FL_NODISCARD int ext2_dir_find(struct ext2_inode *dir, const char *name, size_t len_bytes,
                               struct ext2_entry *entry) FL_REQUIRES(dir->fs->meta);
/* *buf (NULL: nobody wants it): the block that has the new entry, held. Errors: -ENOSPC, -EIO. */
FL_NODISCARD int ext2_dir_add(struct ext2_inode *dir, const char *name, size_t len_bytes, uint32_t ino,
                              uint32_t mode, struct ext2_buf **buf) FL_REQUIRES(dir->fs->meta);
/* The entry names that inode from now on. */
void ext2_dir_set(struct ext2_inode *dir, const struct ext2_entry *entry, uint32_t ino, uint32_t mode)
    FL_REQUIRES(dir->fs->meta);
/* The entry goes. */
void ext2_dir_remove(struct ext2_inode *dir, const struct ext2_entry *entry) FL_REQUIRES(dir->fs->meta);
/* The first block of a new directory. Errors: -ENOSPC, -EIO. */
FL_NODISCARD int ext2_dir_make(struct ext2_inode *dir, uint32_t parent) FL_REQUIRES(dir->fs->meta);
/* Errors: -ENOTEMPTY, -EIO. */
FL_NODISCARD int ext2_dir_empty(struct ext2_inode *dir) FL_REQUIRES(dir->fs->meta);
/* One entry for readdir, copied. */
struct ext2_dirent {
    uint32_t ino;
    uint8_t type, len; /* type: DT_* */
    char name[NAME_LEN_MAX];
};
/* *entry: the first entry at or behind byte *pos; *pos: the next one's. Errors: -ENOENT, the end; -EIO. */
FL_NODISCARD int ext2_dir_next(struct ext2_inode *dir, uint64_t *pos, struct ext2_dirent *entry)
    FL_REQUIRES(dir->fs->meta);

/* ---- ext2_vnops.c -------------------------------------------------------------------------------------- */

/* The operations of an inode of that mode. */
FL_NODISCARD const struct inode_ops *ext2_ops(uint32_t mode);

#endif
