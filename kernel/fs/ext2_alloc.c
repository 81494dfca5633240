/*
 * ext2_alloc.c: which blocks and which inodes are free: a bitmap of each in each group.
 *
 *   a block       the goal's bit ─▶ a free byte behind it ─▶ a free bit ─▶ the next group; its neighbours
 *   an inode      a file: the parent's group, or the next that has one
 *                 a directory: of the groups with many free inodes the one with the most free blocks
 *
 * The counts of the groups and of the superblock follow at once. A bitmap that says a group's own block is
 * free is wrong: the bit is set, and the search goes on.
 *
 * Lock: (N). (fs/ext2/balloc.c and ialloc.c, Linux: for the field's rules.)
 */
#include "fs/ext2_mount.h"
#include <faultline/types.h>
#include <linux/errno.h>

/* ---- bits ---------------------------------------------------------------------------------------------- */

static bool bit_test(const uint8_t *map, uint32_t bit)
{
    return map[bit / 8] >> bit % 8 & 1;
}

static void bit_set(uint8_t *map, uint32_t bit)
{
    map[bit / 8] |= (uint8_t)(1u << bit % 8);
}

static void bit_clear(uint8_t *map, uint32_t bit)
{
    map[bit / 8] &= (uint8_t) ~(1u << bit % 8);
}

/* The first clear bit of [bit, end); end: there is none. */
static uint32_t bit_find_clear(const uint8_t *map, uint32_t bit, uint32_t end)
{
    while (bit < end && bit_test(map, bit))
        bit = bit % 8 == 0 && map[bit / 8] == 0xff ? bit + 8 : bit + 1;
    return bit < end ? bit : end;
}

/* The first of eight clear bits, a byte of the map, in [bit, end); end: there is none. */
static uint32_t byte_find_clear(const uint8_t *map, uint32_t bit, uint32_t end)
{
    for (bit = (bit + 7) / 8 * 8; bit + 8 <= end; bit += 8)
        if (map[bit / 8] == 0)
            return bit;
    return end;
}

/* ---- groups -------------------------------------------------------------------------------------------- */

static uint32_t group_first(const struct ext2_fs *fs, uint32_t g)
{
    return fs->sb.s_first_data_block + g * fs->sb.s_blocks_per_group;
}

/* How many blocks group g has. */
static uint32_t group_blocks(const struct ext2_fs *fs, uint32_t g)
{
    uint32_t left = fs->sb.s_blocks_count - group_first(fs, g);
    return left < fs->sb.s_blocks_per_group ? left : fs->sb.s_blocks_per_group;
}

/* The counts of group g go to the buffer of its descriptor. Errors: -EIO. */
static int group_update(struct ext2_fs *fs, uint32_t g) FL_REQUIRES(fs->meta)
{
    uint32_t each = fs->block_bytes / (uint32_t)sizeof(struct ext2_group_desc);
    struct ext2_buf *buf;
    int error = ext2_bread(fs, (EXT2_SUPER_OFFSET >> fs->block_shift) + 1 + g / each, &buf);
    if (error != 0)
        return error;
    struct ext2_group_desc *desc = (struct ext2_group_desc *)(void *)buf->data + g % each;
    desc->bg_free_blocks_count = (uint16_t)fs->group[g].free_blocks;
    desc->bg_free_inodes_count = (uint16_t)fs->group[g].free_inodes;
    desc->bg_used_dirs_count = (uint16_t)fs->group[g].used_dirs;
    ext2_bdirty(fs, buf);
    ext2_brelse(buf);
    fs->sb_dirty = true;
    return 0;
}

/* A count falls by n; a corrupt one not below 0. */
static uint32_t less(uint32_t count, uint32_t n)
{
    return count < n ? 0 : count - n;
}

bool ext2_data_blocks(const struct ext2_fs *fs, uint32_t blkno, uint32_t n)
{
    uint32_t each = fs->block_bytes / (uint32_t)sizeof(struct ext2_group_desc);
    uint32_t descriptors = (EXT2_SUPER_OFFSET >> fs->block_shift) + (fs->ngroups + each - 1) / each;
    if (blkno <= descriptors || blkno >= fs->sb.s_blocks_count || n > fs->sb.s_blocks_count - blkno)
        return false;
    uint32_t last = (blkno + n - 1 - fs->sb.s_first_data_block) / fs->sb.s_blocks_per_group;
    for (uint32_t g = (blkno - fs->sb.s_first_data_block) / fs->sb.s_blocks_per_group; g <= last; g++) {
        const struct ext2_group *group = &fs->group[g];
        if (group->block_bitmap - blkno < n || group->inode_bitmap - blkno < n ||
            (blkno < group->inode_table + fs->itable_blocks && group->inode_table < blkno + n))
            return false;
    }
    return true;
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

/* A clear bit of group g's map, `start` if it can be, whose block may be a file's. `end`: there is none. */
static uint32_t block_search(struct ext2_fs *fs, uint32_t g, uint8_t *map, uint32_t start, uint32_t end)
{
    uint32_t bit = start;
    for (;;) {
        uint32_t found = bit < end && !bit_test(map, bit) ? bit : byte_find_clear(map, bit, end);
        if (found == end)
            found = bit_find_clear(map, bit, end);
        if (found == end)
            found = bit_find_clear(map, 0, end);
        if (found == end || ext2_data_blocks(fs, group_first(fs, g) + found, 1))
            return found;
        bit_set(map, found); /* so each turn finds another one */
        bit = found;
    }
}

/* Takes up to *n neighbours of group g, `start` its best bit. Errors: -ENOSPC, -EIO. */
static int group_alloc(struct ext2_fs *fs, uint32_t g, uint32_t start, uint32_t *blkno, uint32_t *n)
    FL_REQUIRES(fs->meta)
{
    struct ext2_group *group = &fs->group[g];
    uint32_t end = group_blocks(fs, g), got = 0;
    struct ext2_buf *buf;
    if (group->free_blocks == 0)
        return -ENOSPC;
    int error = ext2_bread(fs, group->block_bitmap, &buf);
    if (error != 0)
        return error;
    uint32_t bit = block_search(fs, g, buf->data, start, end);
    *blkno = group_first(fs, g) + bit;
    while (got < *n && bit + got < end && !bit_test(buf->data, bit + got) &&
           ext2_data_blocks(fs, *blkno + got, 1))
        bit_set(buf->data, bit + got++);
    if (got == 0) { /* the count was wrong */
        ext2_brelse(buf);
        return -ENOSPC;
    }
    *n = got;
    ext2_bdirty(fs, buf);
    ext2_brelse(buf);
    group->free_blocks = less(group->free_blocks, got);
    fs->sb.s_free_blocks_count = less(fs->sb.s_free_blocks_count, got);
    return group_update(fs, g);
}

int ext2_alloc_blocks(struct ext2_fs *fs, uint32_t goal, uint32_t *blkno, uint32_t *n)
{
    if (goal < fs->sb.s_first_data_block || goal >= fs->sb.s_blocks_count)
        goal = fs->sb.s_first_data_block;
    uint32_t first = (goal - fs->sb.s_first_data_block) / fs->sb.s_blocks_per_group;
    uint32_t bit = (goal - fs->sb.s_first_data_block) % fs->sb.s_blocks_per_group;
    int error = -ENOSPC;
    for (uint32_t i = 0; i < fs->ngroups && error == -ENOSPC; i++)
        error = group_alloc(fs, (first + i) % fs->ngroups, i == 0 ? bit : 0, blkno, n);
    return error;
}

/* Frees blocks of one group. */
static int group_free(struct ext2_fs *fs, uint32_t g, uint32_t bit, uint32_t n) FL_REQUIRES(fs->meta)
{
    struct ext2_group *group = &fs->group[g];
    struct ext2_buf *buf;
    int error = ext2_bread(fs, group->block_bitmap, &buf);
    if (error != 0)
        return error;
    uint32_t freed = 0;
    for (; freed < n && bit_test(buf->data, bit + freed); freed++)
        bit_clear(buf->data, bit + freed);
    ext2_bdirty(fs, buf);
    ext2_brelse(buf);
    group->free_blocks += freed;
    fs->sb.s_free_blocks_count += freed;
    error = group_update(fs, g);
    return error != 0 ? error : freed < n ? ext2_error(fs, "a block is freed that is free") : 0;
}

int ext2_free_blocks(struct ext2_fs *fs, uint32_t blkno, uint32_t n)
{
    if (!ext2_data_blocks(fs, blkno, n))
        return ext2_error(fs, "a block is freed that no file can have");
    int error = 0;
    while (n > 0 && error == 0) {
        uint32_t g = (blkno - fs->sb.s_first_data_block) / fs->sb.s_blocks_per_group;
        uint32_t bit = blkno - group_first(fs, g), left = group_blocks(fs, g) - bit;
        uint32_t here = n < left ? n : left;
        error = group_free(fs, g, bit, here);
        blkno += here;
        n -= here;
    }
    return error;
}

/* ---- inodes -------------------------------------------------------------------------------------------- */

/* The group for a new directory: with at least the average of free inodes, and then the most free blocks. */
static uint32_t directory_group(const struct ext2_fs *fs, uint32_t parent)
{
    uint32_t average = fs->sb.s_free_inodes_count / fs->ngroups, best = parent, most = 0;
    for (uint32_t i = 0; i < fs->ngroups; i++) {
        uint32_t g = (parent + i) % fs->ngroups;
        if (fs->group[g].free_inodes == 0 || fs->group[g].free_inodes < average ||
            fs->group[g].free_blocks <= most)
            continue;
        best = g;
        most = fs->group[g].free_blocks;
    }
    return best;
}

/* Takes an inode of group g. Errors: -ENOSPC, -EIO. */
static int group_alloc_inode(struct ext2_fs *fs, uint32_t g, bool directory, uint32_t *ino)
    FL_REQUIRES(fs->meta)
{
    struct ext2_group *group = &fs->group[g];
    uint32_t end = fs->sb.s_inodes_per_group;
    struct ext2_buf *buf;
    if (group->free_inodes == 0)
        return -ENOSPC;
    int error = ext2_bread(fs, group->inode_bitmap, &buf);
    if (error != 0)
        return error;
    uint32_t bit = bit_find_clear(buf->data, g == 0 ? fs->first_ino - 1 : 0, end);
    if (bit == end) {
        ext2_brelse(buf);
        return -ENOSPC;
    }
    bit_set(buf->data, bit);
    ext2_bdirty(fs, buf);
    ext2_brelse(buf);
    *ino = g * fs->sb.s_inodes_per_group + bit + 1;
    group->free_inodes--;
    group->used_dirs += directory;
    fs->sb.s_free_inodes_count = less(fs->sb.s_free_inodes_count, 1);
    return group_update(fs, g);
}

int ext2_alloc_inode(struct ext2_fs *fs, uint32_t parent, bool directory, uint32_t *ino)
{
    uint32_t first = (parent - 1) / fs->sb.s_inodes_per_group;
    int error = -ENOSPC;
    if (directory)
        first = directory_group(fs, first);
    for (uint32_t i = 0; i < fs->ngroups && error == -ENOSPC; i++)
        error = group_alloc_inode(fs, (first + i) % fs->ngroups, directory, ino);
    return error;
}

int ext2_free_inode(struct ext2_fs *fs, uint32_t ino, bool directory)
{
    uint32_t g = (ino - 1) / fs->sb.s_inodes_per_group, bit = (ino - 1) % fs->sb.s_inodes_per_group;
    struct ext2_group *group = &fs->group[g];
    struct ext2_buf *buf;
    int error = ext2_bread(fs, group->inode_bitmap, &buf);
    if (error != 0)
        return error;
    bool used = bit_test(buf->data, bit);
    bit_clear(buf->data, bit);
    ext2_bdirty(fs, buf);
    ext2_brelse(buf);
    if (!used)
        return ext2_error(fs, "an inode is freed that is free");
    group->free_inodes++;
    group->used_dirs = less(group->used_dirs, directory);
    fs->sb.s_free_inodes_count++;
    return group_update(fs, g);
}
