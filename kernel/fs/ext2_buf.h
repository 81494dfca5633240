/*
 * ext2_buf.h: buffers: blocks of metadata in memory.
 *
 *   ext2_bread ─▶ buf (held) ─ change, ext2_bdirty ─▶ ext2_brelse ─▶ … ─▶ ext2_bsync: to the disk
 *
 *   order      level 0: bitmaps, new blocks of numbers, …  ─flush─▶  level 1: what points to them  ─flush─▶ …
 *
 * A mount has a fixed number of them, allocated when it is mounted. A changed buffer goes to the disk with
 * ext2_bsync, or when half of the buffers are changed. Where one must not reach the disk before another,
 * ext2_border gives it a higher level; all of a level are on stable storage before the next one is written.
 *
 * Lock: (N) guards all; one thread at a time uses them. (buf(9) and bread, BSD.)
 */
#ifndef KERNEL_FS_EXT2_BUF_H
#define KERNEL_FS_EXT2_BUF_H

#include <faultline/store.h>

struct ext2_fs;

#define EXT2_BUF_HASH  1024 /* buckets */
#define EXT2_NO_BLOCK  UINT32_MAX
#define EXT2_IO_DEPTH  16 /* transfers under way at a time */
#define EXT2_IO_BLOCKS 16 /* neighbours in one */

struct ext2_buf {
    uint32_t blkno; /* EXT2_NO_BLOCK: it has none */
    uint32_t holds;
    uint16_t level; /* of a dirty one: it goes to the disk after those of lower levels */
    bool dirty;
    bool awaited; /* a buffer of a higher level was ordered after it */
    struct ext2_buf *hash_next, *lru_next, *lru_prev;
    uint8_t *data; /* a block */
};

/* A transfer of metadata. */
struct ext2_io {
    struct store_request request;
    void *addr[EXT2_IO_BLOCKS];
    struct ext2_buf *buf[EXT2_IO_BLOCKS];
    uint32_t nbufs;
    int error;
};

struct ext2_bufs {
    struct ext2_buf *all;
    struct ext2_buf **sorted; /* for ext2_bsync */
    struct ext2_io *io;       /* EXT2_IO_DEPTH of them */
    uint32_t count, ndirty;
    struct ext2_buf *hash[EXT2_BUF_HASH];
    struct ext2_buf *lru_first, *lru_last; /* the least lately used first */
};

/* fs->block_bytes and fs->store are set. Errors: -ENOMEM; ext2_bufs_free afterwards, too. */
FL_NODISCARD int ext2_bufs_init(struct ext2_fs *fs);
void ext2_bufs_free(struct ext2_fs *fs);

/* The rest is declared here and called with (N), which ext2_mount.h defines. */

/* *buf: the block, held. Errors: -EIO. */
FL_NODISCARD int ext2_bread(struct ext2_fs *fs, uint32_t blkno, struct ext2_buf **buf);
/* The same of a new block: zeros, and dirty. */
FL_NODISCARD int ext2_getblk(struct ext2_fs *fs, uint32_t blkno, struct ext2_buf **buf);
void ext2_brelse(struct ext2_buf *buf);
void ext2_bdirty(struct ext2_fs *fs, struct ext2_buf *buf);
/* The block is metadata no more: what its buffer has does not matter. Nobody holds it. */
void ext2_bforget(struct ext2_fs *fs, uint32_t blkno);
/* `then`, held and about to be changed, goes to the disk after `first` as it is now. Errors: -EIO. */
FL_NODISCARD int ext2_border(struct ext2_fs *fs, struct ext2_buf *first, struct ext2_buf *then);
/* All that is dirty goes to stable storage, and with it all writes that the device has done. clean: the
 * superblock says then that the file system needs no check, unless files without names are in use. Errors:
 * -EIO … */
FL_NODISCARD int ext2_bsync(struct ext2_fs *fs, bool clean);

/* Bytes [start, start + len_bytes) of a file's block, which has no buffer, become zeros on the disk. */
FL_NODISCARD int ext2_zero_bytes(struct ext2_fs *fs, uint32_t blkno, uint32_t start, uint32_t len_bytes);
/* n neighbours become zeros on the disk. */
FL_NODISCARD int ext2_zero_blocks(struct ext2_fs *fs, uint32_t blkno, uint32_t n);
/* One transfer, which is waited for. addr: npages addresses, as in a store_request. */
FL_NODISCARD int ext2_transfer(struct ext2_fs *fs, enum store_op op, uint64_t offset, uint64_t len_bytes,
                               void **addr);

#endif
