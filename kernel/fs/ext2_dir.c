/*
 * ext2_dir.c: the entries of a directory.
 *
 *   block   | ino 12 rec_len 12 "."  | ino 2 rec_len 16 ".."  | ino 15 rec_len 4068 "name" |  slack         |
 *                                                              └ a new entry takes what the name leaves ┘
 *
 * The entries of a block fill it. One that goes is joined to the one before it; the first of a block keeps
 * its place, without an inode. A search begins in the block of the last one, since directories are read and
 * filled in order. A block that contradicts itself, or a hole, is an error (-EIO), so a walk always ends.
 *
 * A directory that changes loses its hash index (EXT2_INDEX_FL): the index's blocks look like free entries.
 *
 * Locks: (D) of the directory, and (N).
 */
#include "fs/ext2_mount.h"
#include "proc/proc.h"
#include <linux/errno.h>
#include <linux/stat.h>

#define ALIGN(n) (((n) + 3u) & ~3u)

static const uint16_t mode_of_type[EXT2_FT_MAX] = {
    [EXT2_FT_REG_FILE] = S_IFREG, [EXT2_FT_DIR] = S_IFDIR,  [EXT2_FT_CHRDEV] = S_IFCHR,
    [EXT2_FT_BLKDEV] = S_IFBLK,   [EXT2_FT_FIFO] = S_IFIFO, [EXT2_FT_SOCK] = S_IFSOCK,
    [EXT2_FT_SYMLINK] = S_IFLNK,
};

static uint8_t type_of_mode(const struct ext2_fs *fs, uint32_t mode)
{
    for (uint8_t type = 1; fs->filetype && type < EXT2_FT_MAX; type++)
        if (mode_of_type[type] == (mode & S_IFMT))
            return type;
    return EXT2_FT_UNKNOWN;
}

static struct ext2_dir_entry *entry_at(const struct ext2_buf *buf, uint32_t offset)
{
    return (struct ext2_dir_entry *)(void *)(buf->data + offset);
}

/* How many bytes an entry with a name of that length needs. */
static uint32_t entry_bytes(size_t len_bytes)
{
    return ALIGN(EXT2_DIR_ENTRY + (uint32_t)len_bytes);
}

/* How many bytes of its place an entry uses. */
static uint32_t entry_used(const struct ext2_dir_entry *entry)
{
    return entry->inode == 0 ? 0 : entry_bytes(entry->name_len);
}

static uint32_t dir_blocks(const struct ext2_inode *dir)
{
    return (uint32_t)(dir->size >> dir->fs->block_shift);
}

/* Do the entries of the block fit each other? */
static bool block_is_sound(const struct ext2_fs *fs, const struct ext2_buf *buf)
{
    for (uint32_t at = 0; at < fs->block_bytes;) {
        const struct ext2_dir_entry *entry = entry_at(buf, at);
        uint32_t left = fs->block_bytes - at;
        if (left < EXT2_DIR_ENTRY || entry->rec_len < EXT2_DIR_ENTRY || entry->rec_len % 4 != 0 ||
            entry->rec_len > left || entry_used(entry) > entry->rec_len ||
            entry->inode > fs->sb.s_inodes_count || (entry->inode != 0 && entry->name_len == 0))
            return false;
        at += entry->rec_len;
    }
    return true;
}

/* *buf: block lblk of the directory, held. Errors: -EIO. */
static int dir_read(struct ext2_inode *dir, uint32_t lblk, struct ext2_buf **buf) FL_REQUIRES(dir->fs->meta)
{
    struct ext2_extent extent;
    int error = ext2_bmap(dir, lblk, 1, &extent);
    if (error == 0 && extent.pblk == 0)
        error = ext2_error(dir->fs, "a directory has a hole");
    if (error == 0)
        error = ext2_bread(dir->fs, extent.pblk, buf);
    if (error == 0 && !block_is_sound(dir->fs, *buf)) {
        ext2_brelse(*buf);
        error = ext2_error(dir->fs, "a block of a directory is none");
    }
    return error;
}

/* ---- finding ------------------------------------------------------------------------------------------- */

/* The name in the block; false: it is not there. */
static bool block_find(const struct ext2_fs *fs, const struct ext2_buf *buf, const char *name,
                       size_t len_bytes, struct ext2_entry *found)
{
    uint32_t before = 0;
    for (uint32_t at = 0; at < fs->block_bytes; at += entry_at(buf, at)->rec_len) {
        const struct ext2_dir_entry *entry = entry_at(buf, at);
        if (entry->inode != 0 && entry->name_len == len_bytes &&
            __builtin_memcmp(entry->name, name, len_bytes) == 0) {
            found->offset = at;
            found->before = before;
            found->ino = entry->inode;
            return true;
        }
        before = at;
    }
    return false;
}

int ext2_dir_find(struct ext2_inode *dir, const char *name, size_t len_bytes, struct ext2_entry *entry)
{
    uint32_t n = dir_blocks(dir), first = dir->dir_hint < n ? dir->dir_hint : 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t lblk = (first + i) % n;
        int error = dir_read(dir, lblk, &entry->buf);
        if (error != 0)
            return error;
        if (block_find(dir->fs, entry->buf, name, len_bytes, entry)) {
            dir->dir_hint = entry->lblk = lblk;
            return 0;
        }
        ext2_brelse(entry->buf);
    }
    return -ENOENT;
}

int ext2_dir_empty(struct ext2_inode *dir)
{
    for (uint32_t lblk = 0, n = dir_blocks(dir); lblk < n; lblk++) {
        struct ext2_buf *buf;
        bool empty = true;
        int error = dir_read(dir, lblk, &buf);
        if (error != 0)
            return error;
        for (uint32_t at = 0; at < dir->fs->block_bytes; at += entry_at(buf, at)->rec_len) {
            const struct ext2_dir_entry *entry = entry_at(buf, at);
            bool dots = entry->name[0] == '.' &&
                        (entry->name_len == 1 || (entry->name_len == 2 && entry->name[1] == '.'));
            empty = empty && (entry->inode == 0 || dots);
        }
        ext2_brelse(buf);
        if (!empty)
            return -ENOTEMPTY;
    }
    return 0;
}

/* The entry at `at` is told to readdir. */
static void dirent_fill(const struct ext2_dir_entry *from, struct ext2_dirent *entry)
{
    entry->ino = from->inode;
    entry->len = from->name_len;
    entry->type = from->file_type < EXT2_FT_MAX ? (uint8_t)(mode_of_type[from->file_type] >> 12) : 0;
    __builtin_memcpy(entry->name, from->name, from->name_len);
}

int ext2_dir_next(struct ext2_inode *dir, uint64_t *pos, struct ext2_dirent *entry)
{
    struct ext2_fs *fs = dir->fs;
    ext2_assert_meta(fs);
    while (*pos < dir->size) {
        uint32_t lblk = (uint32_t)(*pos >> fs->block_shift), want = (uint32_t)*pos & (fs->block_bytes - 1);
        struct ext2_buf *buf;
        int error = dir_read(dir, lblk, &buf);
        if (error != 0)
            return error;
        uint32_t at = 0; /* the entries may have changed: the first one that begins at `want` or later */
        while (at < fs->block_bytes && (at < want || entry_at(buf, at)->inode == 0))
            at += entry_at(buf, at)->rec_len;
        if (at < fs->block_bytes) {
            dirent_fill(entry_at(buf, at), entry);
            at += entry_at(buf, at)->rec_len;
            *pos = ((uint64_t)lblk << fs->block_shift) + at;
            ext2_brelse(buf);
            return 0;
        }
        ext2_brelse(buf);
        *pos = (uint64_t)(lblk + 1) << fs->block_shift;
    }
    return -ENOENT;
}

/* ---- changing ------------------------------------------------------------------------------------------ */

/* The directory has changed. d is to be updated. */
static void dir_touch(struct ext2_inode *dir)
{
    dir->d.i_flags &= ~(uint32_t)EXT2_INDEX_FL;
    dir->inode.mtime_ns = dir->inode.ctime_ns = wall_time_ns();
}

static void entry_set(const struct ext2_fs *fs, struct ext2_dir_entry *entry, uint32_t ino, uint32_t mode)
{
    entry->inode = ino;
    entry->file_type = type_of_mode(fs, mode);
}

/* Puts the entry into the block, if it has room. */
static bool block_add(struct ext2_fs *fs, struct ext2_buf *buf, const char *name, size_t len_bytes,
                      uint32_t ino, uint32_t mode) FL_REQUIRES(fs->meta)
{
    uint32_t need = entry_bytes(len_bytes), at = 0;
    while (at < fs->block_bytes && entry_at(buf, at)->rec_len - entry_used(entry_at(buf, at)) < need)
        at += entry_at(buf, at)->rec_len;
    if (at == fs->block_bytes)
        return false;
    struct ext2_dir_entry *entry = entry_at(buf, at);
    uint32_t used = entry_used(entry), whole = entry->rec_len;
    if (used > 0) {
        entry->rec_len = (uint16_t)used;
        entry = entry_at(buf, at + used);
        entry->rec_len = (uint16_t)(whole - used);
    }
    entry->name_len = (uint8_t)len_bytes;
    __builtin_memcpy(entry->name, name, len_bytes);
    entry_set(fs, entry, ino, mode);
    ext2_bdirty(fs, buf);
    return true;
}

/* A block more, with one free entry; *buf: it, held. */
static int dir_grow(struct ext2_inode *dir, struct ext2_buf **buf) FL_REQUIRES(dir->fs->meta)
{
    struct ext2_extent extent;
    uint32_t n = dir_blocks(dir);
    int error =
        (uint64_t)(n + 1) << dir->fs->block_shift > INT32_MAX ? -ENOSPC : ext2_balloc(dir, n, 1, &extent);
    if (error != 0)
        return error;
    error = ext2_bread(dir->fs, extent.pblk, buf);
    if (error != 0)
        return error;
    ext2_set_size(dir, (uint64_t)(n + 1) << dir->fs->block_shift);
    return ext2_iupdate(dir);
}

int ext2_dir_add(struct ext2_inode *dir, const char *name, size_t len_bytes, uint32_t ino, uint32_t mode,
                 struct ext2_buf **buf)
{
    uint32_t n = dir_blocks(dir), first = dir->dir_hint < n ? dir->dir_hint : 0;
    struct ext2_buf *block = NULL;
    bool added = false;
    for (uint32_t i = 0; i < n && !added; i++) {
        uint32_t lblk = (first + i) % n;
        int error = dir_read(dir, lblk, &block);
        if (error != 0)
            return error;
        added = block_add(dir->fs, block, name, len_bytes, ino, mode);
        if (added)
            dir->dir_hint = lblk;
        else
            ext2_brelse(block);
    }
    if (!added) {
        int error = dir_grow(dir, &block);
        if (error != 0)
            return error;
        (void)block_add(dir->fs, block, name, len_bytes, ino, mode); /* a whole block has room */
        dir->dir_hint = n;
    }
    if (buf != NULL)
        *buf = block;
    else
        ext2_brelse(block);
    dir_touch(dir);
    return 0;
}

void ext2_dir_set(struct ext2_inode *dir, const struct ext2_entry *entry, uint32_t ino, uint32_t mode)
{
    entry_set(dir->fs, entry_at(entry->buf, entry->offset), ino, mode);
    ext2_bdirty(dir->fs, entry->buf);
    dir_touch(dir);
}

void ext2_dir_remove(struct ext2_inode *dir, const struct ext2_entry *entry)
{
    struct ext2_dir_entry *gone = entry_at(entry->buf, entry->offset);
    if (entry->offset > 0) {
        struct ext2_dir_entry *before = entry_at(entry->buf, entry->before);
        before->rec_len = (uint16_t)(before->rec_len + gone->rec_len);
    }
    gone->inode = 0;
    ext2_bdirty(dir->fs, entry->buf);
    dir_touch(dir);
}

int ext2_dir_make(struct ext2_inode *dir, uint32_t parent)
{
    struct ext2_buf *buf;
    int error = dir_grow(dir, &buf);
    if (error != 0)
        return error;
    struct ext2_dir_entry *dot = entry_at(buf, 0);
    bool added = block_add(dir->fs, buf, ".", 1, (uint32_t)dir->inode.ino, S_IFDIR) &&
                 block_add(dir->fs, buf, "..", 2, parent, S_IFDIR);
    ext2_brelse(buf);
    return added && dot->rec_len == entry_bytes(1) ? 0 : -EIO;
}
