/*
 * ext2_bmap.c: which block of the disk is which block of a file; how a hole gets blocks, and how they go.
 *
 *   lblk   0 … 11          i_block[lblk]
 *          12 …            i_block[12] ─▶ | n0 | n1 | … |               p: numbers in a block
 *          12 + p …        i_block[13] ─▶ | … | ─▶ | n0 | … |
 *          12 + p + p² …   i_block[14] ─▶ | … | ─▶ | … | ─▶ | n0 | … |
 *                                          └ root    └ … ┘    └ leaf
 *
 * Fresh blocks. A block that was allocated and never written has old bytes on the disk, but is read as zeros,
 * because ip->fresh names it. Space is allocated when a page becomes dirty (store_ops.allocate) or when it is
 * written, and the blocks stop being fresh when their write begins: until it is done the page is in memory.
 * What is fresh when the file is synced, or leaves memory, gets zeros on the disk. There are EXT2_FRESH
 * ranges; where one more would be needed, blocks get their zeros at once.
 *
 * Order on the disk (ext2_border): a new block of numbers, or of a directory, before what points to it. So
 * after a power cut no pointer leads to old bytes that look like numbers or names.
 *
 * Lock: (N). Numbers from the disk are checked before they are used.
 */
#include "fs/ext2_mount.h"
#include <faultline/types.h>
#include <linux/errno.h>
#include <linux/stat.h>

#define SECTORS(fs) ((fs)->block_bytes / 512)

/* ---- where a block's number stands --------------------------------------------------------------------- */

/* The way to a block: i_block[root], then index[0 … levels) in blocks of numbers. */
struct bmap_path {
    uint32_t root, levels;
    uint32_t index[3];
};

/* False: no file is so long. */
static bool bmap_path(const struct ext2_fs *fs, uint64_t lblk, struct bmap_path *path)
{
    uint64_t span = 1;
    *path = (struct bmap_path){.root = (uint32_t)lblk};
    if (lblk < EXT2_NDIR_BLOCKS)
        return true;
    lblk -= EXT2_NDIR_BLOCKS;
    for (path->levels = 1; path->levels <= 3; path->levels++) {
        span *= fs->pointers;
        if (lblk < span)
            break;
        lblk -= span;
    }
    if (path->levels > 3)
        return false;
    path->root = EXT2_IND_BLOCK + path->levels - 1;
    for (uint32_t i = path->levels; i-- > 0; lblk /= fs->pointers)
        path->index[i] = (uint32_t)(lblk % fs->pointers);
    return true;
}

/* The numbers that the last step of a path looks at: number[at … end), in d or in buf, which is held. */
struct bmap_leaf {
    struct ext2_buf *buf; /* NULL: they are in d.i_block, or there are none */
    uint32_t *number;     /* NULL: the way ends before; blocks up to `end` are a hole */
    uint32_t at, end;
};

static void leaf_put(struct bmap_leaf *leaf)
{
    if (leaf->buf != NULL)
        ext2_brelse(leaf->buf);
}

static uint32_t *numbers(struct ext2_buf *buf)
{
    return (uint32_t *)(void *)buf->data;
}

/* The block of numbers blkno, held. Errors: -EIO. */
static int numbers_read(struct ext2_fs *fs, uint32_t blkno, struct ext2_buf **buf) FL_REQUIRES(fs->meta)
{
    if (!ext2_data_blocks(fs, blkno, 1))
        return ext2_error(fs, "a block of block numbers is none");
    return ext2_bread(fs, blkno, buf);
}

/*
 * A new block of numbers, in *slot, which is in `parent`, or, if that is NULL, in d. *buf: the block, held.
 * Errors: -ENOSPC, -EIO.
 */
static int numbers_alloc(struct ext2_inode *ip, uint32_t *slot, struct ext2_buf *parent,
                         struct ext2_buf **buf) FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    struct ext2_buf *holder = parent;
    struct ext2_dinode *d;
    uint32_t blkno, n = 1;
    ext2_assert_meta(fs);
    int error = ext2_alloc_blocks(fs, ip->goal_pblk, &blkno, &n);
    if (error != 0)
        return error;
    error = ext2_getblk(fs, blkno, buf);
    if (error == 0) {
        if (parent == NULL)
            error = ext2_iread(fs, (uint32_t)ip->inode.ino, &holder, &d);
        if (error == 0)
            error = ext2_border(fs, *buf, holder);
        if (parent == NULL && holder != NULL)
            ext2_brelse(holder);
        if (error != 0)
            ext2_brelse(*buf);
    }
    if (error != 0) {
        (void)!ext2_free_blocks(fs, blkno, 1);
        return error;
    }
    *slot = blkno;
    ip->goal_pblk = blkno + 1;
    ip->d.i_blocks += SECTORS(fs);
    if (parent != NULL)
        ext2_bdirty(fs, parent);
    return 0;
}

/*
 * *leaf: where the number of block lblk is. create: blocks of numbers that are missing are made; then d is to
 * be updated, also on failure. Errors: -EIO; -EFBIG; -ENOSPC.
 */
static int leaf_get(struct ext2_inode *ip, uint32_t lblk, bool create, struct bmap_leaf *leaf)
    FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    struct bmap_path path;
    struct ext2_buf *buf = NULL, *next;
    ext2_assert_meta(fs);
    if (!bmap_path(fs, lblk, &path))
        return -EFBIG;
    uint32_t *slot = &ip->d.i_block[path.root];
    *leaf = (struct bmap_leaf){.number = ip->d.i_block, .at = path.root, .end = EXT2_NDIR_BLOCKS};
    uint64_t span = 1; /* blocks that the slot stands for */
    for (uint32_t i = 0; i < path.levels; i++)
        span *= fs->pointers;
    for (uint32_t i = 0; i < path.levels; i++) {
        int error = 0;
        span /= fs->pointers;
        if (*slot == 0 && !create) {
            uint64_t into = 0, whole = span * fs->pointers;
            for (uint32_t k = i; k < path.levels; k++)
                into = into * fs->pointers + path.index[k];
            *leaf = (struct bmap_leaf){.buf = buf, .at = 0, .end = (uint32_t)(whole - into)};
            return 0;
        }
        error = *slot != 0 ? numbers_read(fs, *slot, &next) : numbers_alloc(ip, slot, buf, &next);
        if (buf != NULL)
            ext2_brelse(buf);
        if (error != 0)
            return error;
        buf = next;
        slot = &numbers(buf)[path.index[i]];
        *leaf = (struct bmap_leaf){buf, numbers(buf), path.index[i], fs->pointers};
    }
    return 0;
}

/* How many numbers from leaf->at on, at most `max`, are neighbours on the disk, or are holes. */
static uint32_t leaf_run(const struct bmap_leaf *leaf, uint32_t max)
{
    uint32_t n = 1, most = leaf->end - leaf->at < max ? leaf->end - leaf->at : max;
    if (leaf->number == NULL)
        return most;
    uint32_t first = leaf->number[leaf->at];
    while (n < most && leaf->number[leaf->at + n] == (first == 0 ? 0 : first + n))
        n++;
    return n;
}

static int leaf_extent(struct ext2_inode *ip, const struct bmap_leaf *leaf, uint32_t lblk, uint32_t max,
                       struct ext2_extent *extent) FL_REQUIRES(ip->fs->meta)
{
    *extent =
        (struct ext2_extent){lblk, leaf->number == NULL ? 0 : leaf->number[leaf->at], leaf_run(leaf, max)};
    if (extent->pblk != 0 && !ext2_data_blocks(ip->fs, extent->pblk, extent->len))
        return ext2_error(ip->fs, "a file has a block that no file can have");
    return 0;
}

int ext2_bmap(struct ext2_inode *ip, uint32_t lblk, uint32_t max, struct ext2_extent *extent)
{
    struct bmap_leaf leaf;
    int error = leaf_get(ip, lblk, false, &leaf);
    if (error != 0)
        return error;
    error = leaf_extent(ip, &leaf, lblk, max, extent);
    leaf_put(&leaf);
    return error;
}

/* ---- fresh blocks -------------------------------------------------------------------------------------- */

static void fresh_delete(struct ext2_inode *ip, uint32_t i)
{
    ip->nfresh--;
    for (; i < ip->nfresh; i++)
        ip->fresh[i] = ip->fresh[i + 1];
}

/* Blocks [lblk, lblk + n), all of them allocated, get zeros on the disk. */
static int fresh_zero(struct ext2_inode *ip, uint32_t lblk, uint32_t n) FL_REQUIRES(ip->fs->meta)
{
    struct ext2_extent extent;
    int error = 0;
    for (; n > 0 && error == 0; lblk += extent.len, n -= extent.len) {
        error = ext2_bmap(ip, lblk, n, &extent);
        if (error == 0 && extent.pblk != 0)
            error = ext2_zero_blocks(ip->fs, extent.pblk, extent.len);
    }
    return error;
}

/* Blocks [lblk, lblk + n), just allocated from blkno on, are fresh. Errors: -EIO, of zeros. */
static int fresh_add(struct ext2_inode *ip, uint32_t lblk, uint32_t blkno, uint32_t n)
    FL_REQUIRES(ip->fs->meta)
{
    uint32_t i = 0;
    while (i < ip->nfresh && ip->fresh[i].lblk + ip->fresh[i].len < lblk)
        i++;
    struct ext2_extent *range = &ip->fresh[i];
    if (i < ip->nfresh && range->lblk + range->len == lblk) {
        range->len += n;
        if (i + 1 < ip->nfresh && range[1].lblk == lblk + n) {
            range->len += range[1].len;
            fresh_delete(ip, i + 1);
        }
    } else if (i < ip->nfresh && range->lblk == lblk + n) {
        range->lblk = lblk;
        range->len += n;
    } else if (ip->nfresh < EXT2_FRESH) {
        for (uint32_t k = ip->nfresh++; k > i; k--)
            ip->fresh[k] = ip->fresh[k - 1];
        *range = (struct ext2_extent){.lblk = lblk, .len = n};
    } else {
        return ext2_zero_blocks(ip->fs, blkno, n);
    }
    return 0;
}

/* Blocks [lblk, end) are fresh no more; without room for what stays on both sides, the shorter side gets its
 * zeros. Errors: of these. */
static int fresh_remove(struct ext2_inode *ip, uint32_t lblk, uint32_t end) FL_REQUIRES(ip->fs->meta)
{
    int error = 0;
    for (uint32_t i = 0; i < ip->nfresh && error == 0; i++) {
        struct ext2_extent *range = &ip->fresh[i];
        uint32_t start = range->lblk, stop = range->lblk + range->len;
        if (stop <= lblk || end <= start)
            continue;
        uint32_t left = lblk > start ? lblk - start : 0, right = stop > end ? stop - end : 0;
        if (left > 0 && right > 0 && ip->nfresh == EXT2_FRESH) {
            error = left < right ? fresh_zero(ip, start, left) : fresh_zero(ip, end, right);
            if (error != 0)
                break;
            *(left < right ? &left : &right) = 0;
        }
        if (left == 0 && right == 0) {
            fresh_delete(ip, i--);
        } else if (left > 0 && right > 0) {
            for (uint32_t k = ip->nfresh++; k > i + 1; k--)
                ip->fresh[k] = ip->fresh[k - 1];
            range[0].len = left;
            range[1] = (struct ext2_extent){.lblk = end, .len = right};
            i++;
        } else {
            *range = (struct ext2_extent){.lblk = left > 0 ? start : end, .len = left + right};
        }
    }
    return error;
}

int ext2_fresh_written(struct ext2_inode *ip, uint32_t lblk, uint32_t n)
{
    return fresh_remove(ip, lblk, lblk + n);
}

uint32_t ext2_fresh_run(const struct ext2_inode *ip, uint32_t lblk, uint32_t n, bool *fresh)
{
    *fresh = false;
    for (uint32_t i = 0; i < ip->nfresh; i++) {
        uint32_t start = ip->fresh[i].lblk, end = start + ip->fresh[i].len;
        if (end <= lblk)
            continue;
        *fresh = start <= lblk;
        uint32_t run = *fresh ? end - lblk : start - lblk;
        return run < n ? run : n;
    }
    return n;
}

static uint32_t size_blocks(const struct ext2_fs *fs, uint64_t size)
{
    return (uint32_t)((size + fs->block_bytes - 1) >> fs->block_shift);
}

int ext2_settle(struct ext2_inode *ip)
{
    uint32_t end = size_blocks(ip->fs, ip->size);
    int error = 0;
    if (ip->alloc_end > end) {
        error = ext2_bfree(ip, end, UINT32_MAX);
        if (error == 0)
            ip->alloc_end = end;
    }
    while (error == 0 && ip->nfresh > 0 && ip->fresh[0].lblk < end) {
        struct ext2_extent range = ip->fresh[0];
        uint32_t n = range.len < end - range.lblk ? range.len : end - range.lblk;
        error = fresh_zero(ip, range.lblk, n);
        if (error == 0)
            error = fresh_remove(ip, range.lblk, range.lblk + n);
    }
    return error;
}

/* ---- allocation ---------------------------------------------------------------------------------------- */

/* The best place for block lblk. */
static uint32_t balloc_goal(const struct ext2_inode *ip, const struct bmap_leaf *leaf, uint32_t lblk)
{
    const struct ext2_fs *fs = ip->fs;
    if (ip->goal_lblk == lblk && ip->goal_pblk != 0)
        return ip->goal_pblk;
    if (leaf->at > 0 && leaf->number[leaf->at - 1] != 0)
        return leaf->number[leaf->at - 1] + 1;
    if (leaf->buf != NULL)
        return leaf->buf->blkno + 1;
    return fs->sb.s_first_data_block +
           ((uint32_t)ip->inode.ino - 1) / fs->sb.s_inodes_per_group * fs->sb.s_blocks_per_group;
}

/* The new block of a directory gets its form, and is to reach the disk before the leaf. Errors: -EIO. */
static int balloc_directory(struct ext2_inode *ip, const struct bmap_leaf *leaf, uint32_t blkno)
    FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    struct ext2_buf *buf, *holder = leaf->buf;
    struct ext2_dinode *d;
    ext2_assert_meta(fs);
    int error = ext2_getblk(fs, blkno, &buf);
    if (error != 0)
        return error;
    ((struct ext2_dir_entry *)(void *)buf->data)->rec_len = (uint16_t)fs->block_bytes;
    if (holder == NULL)
        error = ext2_iread(fs, (uint32_t)ip->inode.ino, &holder, &d);
    if (error == 0)
        error = ext2_border(fs, buf, holder);
    if (leaf->buf == NULL && holder != NULL)
        ext2_brelse(holder);
    ext2_brelse(buf);
    return error;
}

/* The holes from leaf->at on, n at most, get blocks. Errors: -ENOSPC, -EIO. */
static int balloc_leaf(struct ext2_inode *ip, struct bmap_leaf *leaf, uint32_t lblk, uint32_t n)
    FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    bool directory = S_ISDIR(ip->d.i_mode);
    uint32_t blkno;
    ext2_assert_meta(fs);
    int error = ext2_alloc_blocks(fs, balloc_goal(ip, leaf, lblk), &blkno, &n);
    if (error != 0)
        return error;
    error = directory ? balloc_directory(ip, leaf, blkno) : fresh_add(ip, lblk, blkno, n);
    if (error != 0) {
        (void)!ext2_free_blocks(fs, blkno, n);
        return error;
    }
    if (!directory) /* what was metadata before has a buffer still, but is written past it now */
        for (uint32_t i = 0; i < n; i++)
            ext2_bforget(fs, blkno + i);
    for (uint32_t i = 0; i < n; i++)
        leaf->number[leaf->at + i] = blkno + i;
    if (leaf->buf != NULL)
        ext2_bdirty(fs, leaf->buf);
    ip->goal_lblk = lblk + n;
    ip->goal_pblk = blkno + n;
    ip->alloc_end = ip->alloc_end > lblk + n ? ip->alloc_end : lblk + n;
    ip->d.i_blocks += n * SECTORS(fs);
    return 0;
}

/* How many blocks of numbers the way to lblk may lack. */
static uint32_t missing_levels(const struct ext2_inode *ip, uint32_t lblk)
{
    struct bmap_path path;
    if (!bmap_path(ip->fs, lblk, &path) || path.levels == 0)
        return 0;
    return ip->d.i_block[path.root] == 0 ? path.levels : path.levels - 1;
}

int ext2_balloc(struct ext2_inode *ip, uint32_t lblk, uint32_t max, struct ext2_extent *extent)
{
    struct bmap_leaf leaf;
    int error = ext2_bmap(ip, lblk, max, extent);
    if (error != 0 || extent->pblk != 0)
        return error;
    /* So that no block of numbers is made in vain; where there is little, the last blocks may stay free. */
    if (ip->fs->sb.s_free_blocks_count <= missing_levels(ip, lblk))
        return -ENOSPC;
    error = leaf_get(ip, lblk, true, &leaf);
    if (error == 0) {
        error = balloc_leaf(ip, &leaf, lblk, leaf_run(&leaf, max));
        if (error == 0)
            error = leaf_extent(ip, &leaf, lblk, max, extent);
        leaf_put(&leaf);
    }
    int update = ext2_iupdate(ip);
    return error != 0 ? error : update;
}

/* How many blocks of numbers a file of n blocks without holes has. */
static uint64_t numbers_blocks(const struct ext2_fs *fs, uint64_t n)
{
    uint64_t p = fs->pointers, count = 0;
    for (uint64_t level = 1, span = p; n > EXT2_NDIR_BLOCKS && level <= 3; level++, span *= p) {
        uint64_t left = n - EXT2_NDIR_BLOCKS, before = 0;
        for (uint64_t l = 1, s = p; l < level; l++, s *= p)
            before += s;
        if (left <= before)
            break;
        left = left - before < span ? left - before : span;
        for (uint64_t l = 0; l < level; l++) {
            left = (left + p - 1) / p;
            count += left;
        }
    }
    return count;
}

bool ext2_has_holes(const struct ext2_inode *ip, uint64_t size)
{
    const struct ext2_fs *fs = ip->fs;
    uint64_t n = size_blocks(fs, size);
    uint64_t whole = n + numbers_blocks(fs, n) + (ip->d.i_file_acl != 0);
    /* What was allocated behind the end may be counted in place of a hole. */
    return ip->alloc_end > n || ip->d.i_blocks / SECTORS(fs) < whole;
}

/* ---- holes, and truncation ----------------------------------------------------------------------------- */

/* Frees as many neighbours as there are among number[at … end), and clears their numbers; *n: how many
 * numbers were looked at. */
static int bfree_run(struct ext2_inode *ip, uint32_t *number, uint32_t at, uint32_t end, uint32_t *n)
    FL_REQUIRES(ip->fs->meta)
{
    struct bmap_leaf leaf = {.number = number, .at = at, .end = end};
    uint32_t blkno = number[at];
    *n = leaf_run(&leaf, UINT32_MAX);
    if (blkno == 0)
        return 0;
    if (S_ISDIR(ip->d.i_mode) || S_ISLNK(ip->d.i_mode))
        for (uint32_t i = 0; i < *n; i++)
            ext2_bforget(ip->fs, blkno + i);
    int error = ext2_free_blocks(ip->fs, blkno, *n);
    if (error != 0)
        return error;
    __builtin_memset(number + at, 0, *n * sizeof *number);
    ip->d.i_blocks -= *n * SECTORS(ip->fs);
    return 0;
}

static int bfree_numbers(struct ext2_inode *ip, uint32_t *number, uint32_t at, uint32_t end)
    FL_REQUIRES(ip->fs->meta)
{
    int error = 0;
    for (uint32_t n; at < end && error == 0; at += n)
        error = bfree_run(ip, number, at, end, &n);
    return error;
}

/*
 * *slot stands for `levels` levels of blocks of numbers, the first of whose file blocks is `base`; those in
 * [start, end) go. Recursion: three levels.
 */
static int bfree_tree(struct ext2_inode *ip, uint32_t *slot, uint32_t levels, uint64_t base, uint64_t start,
                      uint64_t end) FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    struct ext2_buf *buf;
    uint64_t span = 1;
    ext2_assert_meta(fs);
    for (uint32_t i = 1; i < levels; i++)
        span *= fs->pointers;
    uint64_t after = base + span * fs->pointers;
    if (*slot == 0 || end <= base || after <= start)
        return 0;
    int error = numbers_read(fs, *slot, &buf);
    if (error != 0)
        return error;
    uint32_t first = start <= base ? 0 : (uint32_t)((start - base) / span);
    uint32_t stop = end >= after ? fs->pointers : (uint32_t)((end - base + span - 1) / span);
    if (levels == 1)
        error = bfree_numbers(ip, numbers(buf), first, stop);
    for (uint32_t i = first; levels > 1 && i < stop && error == 0; i++)
        error = bfree_tree(ip, &numbers(buf)[i], levels - 1, base + i * span, start, end);
    ext2_bdirty(fs, buf);
    ext2_brelse(buf);
    if (error != 0 || start > base || end < after)
        return error;
    ext2_bforget(fs, *slot);
    error = ext2_free_blocks(fs, *slot, 1);
    if (error == 0) {
        *slot = 0;
        ip->d.i_blocks -= SECTORS(fs);
    }
    return error;
}

int ext2_bfree(struct ext2_inode *ip, uint32_t start, uint32_t end)
{
    struct ext2_fs *fs = ip->fs;
    uint64_t base = EXT2_NDIR_BLOCKS, span = fs->pointers;
    int error = fresh_remove(ip, start, end);
    uint32_t stop = end < EXT2_NDIR_BLOCKS ? end : EXT2_NDIR_BLOCKS;
    ext2_assert_meta(fs);
    machine_lock(&ip->extent_lock);
    __builtin_memset(ip->extent, 0, sizeof ip->extent);
    machine_unlock(&ip->extent_lock);
    if (error == 0)
        error = bfree_numbers(ip, ip->d.i_block, start, stop);
    for (uint32_t levels = 1; levels <= 3 && error == 0; levels++, base += span, span *= fs->pointers)
        error = bfree_tree(ip, &ip->d.i_block[EXT2_IND_BLOCK + levels - 1], levels, base, start,
                           end == UINT32_MAX ? UINT64_MAX : end);
    ip->goal_lblk = 0;
    ip->goal_pblk = 0;
    int update = ext2_iupdate(ip);
    return error != 0 ? error : update;
}
