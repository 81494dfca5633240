/*
 * ext2_vfsops.c: the file system as a whole: its beginning, its sync, its end.
 *
 *   ext2_mount   the device's pages written and forgotten ─▶ superblock: known? sound? ─▶ buffers
 *                ─▶ group descriptors ─▶ the root
 *   write_back   metadata, every few seconds
 *   sync         files' pages ─▶ fresh and surplus blocks ─▶ metadata ─▶ "clean"
 *   unmount      sync ─▶ all inodes end ─▶ metadata, "clean" ─▶ memory
 *
 * Clean. On the disk the superblock says EXT2_VALID_FS after a sync and until metadata is written next: so a
 * computer may be switched off after a sync; but not while a file without names is in use, for its inode is
 * allocated then. A file system that was not clean when it was mounted, or has contradicted itself since, is
 * never said to be.
 *
 * Numbers from the disk are checked here once, and where they are used if they can change.
 */
#include "fs/ext2.h"
#include "fs/ext2_mount.h"
#include "kernel.h"
#include "kmem.h"
#include "proc/proc.h"
#include <asm/statfs.h>
#include <faultline/types.h>
#include <faultline/vm.h>
#include <linux/errno.h>
#include <linux/stat.h>

#define LRU_MIN 16
#define LRU_MAX 4096

int ext2_error(struct ext2_fs *fs, const char *what)
{
    if ((fs->sb.s_state & EXT2_ERROR_FS) == 0)
        printf("ext2: %s: it needs e2fsck\n", what);
    fs->sb.s_state |= EXT2_ERROR_FS;
    fs->sb_dirty = true;
    fs->trusted = false;
    return -EIO;
}

/* ---- what is mounted ----------------------------------------------------------------------------------- */

static int refuse(const char *why, uint32_t number)
{
    printf("ext2: not mounted: %s (0x%x)\n", why, number);
    return -EINVAL;
}

/* Does the superblock tell of an ext2 that is known here? */
static int super_known(const struct ext2_super_block *sb, bool read_only)
{
    if (sb->s_magic != EXT2_SUPER_MAGIC)
        return refuse("no ext2 superblock", sb->s_magic);
    if (sb->s_rev_level > 1)
        return refuse("unknown revision", sb->s_rev_level);
    if (sb->s_log_block_size > 2)
        return refuse("blocks larger than 4 KiB", sb->s_log_block_size);
    if (sb->s_rev_level == 0)
        return 0;
    if (sb->s_feature_incompat & ~(uint32_t)EXT2_INCOMPAT_KNOWN)
        return refuse("unknown incompatible features",
                      sb->s_feature_incompat & ~(uint32_t)EXT2_INCOMPAT_KNOWN);
    uint32_t ro = sb->s_feature_ro_compat & ~(uint32_t)EXT2_RO_COMPAT_KNOWN;
    return ro != 0 && !read_only ? refuse("unknown features that allow only to read", ro) : 0;
}

static bool power_of_two(uint32_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* Do the superblock's numbers fit each other, and the device? The fields of fs follow from them. */
static int super_numbers(struct ext2_fs *fs, uint64_t device_bytes)
{
    const struct ext2_super_block *sb = &fs->sb;
    uint32_t bits = 8 * fs->block_bytes, blocks = sb->s_blocks_count - sb->s_first_data_block;
    fs->inode_bytes = sb->s_rev_level == 0 ? (uint32_t)sizeof(struct ext2_dinode) : sb->s_inode_size;
    fs->first_ino = sb->s_rev_level == 0 ? EXT2_OLD_FIRST_INO : sb->s_first_ino;
    fs->filetype = sb->s_rev_level > 0 && (sb->s_feature_incompat & EXT2_FEATURE_INCOMPAT_FILETYPE);
    if (sb->s_first_data_block != (fs->block_bytes == 1024) || sb->s_blocks_count <= sb->s_first_data_block ||
        (uint64_t)sb->s_blocks_count << fs->block_shift > device_bytes)
        return refuse("wrong number of blocks", sb->s_blocks_count);
    if (sb->s_blocks_per_group == 0 || sb->s_blocks_per_group > bits || sb->s_inodes_per_group == 0 ||
        sb->s_inodes_per_group > bits)
        return refuse("wrong size of groups", sb->s_blocks_per_group);
    if (fs->inode_bytes < sizeof(struct ext2_dinode) || fs->inode_bytes > fs->block_bytes ||
        !power_of_two(fs->inode_bytes))
        return refuse("wrong size of inodes", fs->inode_bytes);
    fs->ngroups = (blocks - 1) / sb->s_blocks_per_group + 1;
    if ((uint64_t)fs->ngroups * sb->s_inodes_per_group != sb->s_inodes_count ||
        fs->first_ino < EXT2_OLD_FIRST_INO || fs->first_ino > sb->s_inodes_per_group)
        return refuse("wrong number of inodes", sb->s_inodes_count);
    uint64_t itable_bytes = (uint64_t)sb->s_inodes_per_group * fs->inode_bytes;
    fs->itable_blocks = (uint32_t)((itable_bytes + fs->block_bytes - 1) >> fs->block_shift);
    fs->pointers = fs->block_bytes / 4;
    uint64_t p = fs->pointers, most = (EXT2_NDIR_BLOCKS + p + p * p + p * p * p) << fs->block_shift;
    /* i_blocks counts sectors in 32 bits, blocks of numbers among them */
    uint64_t sectors = UINT64_C(1) << 40;
    fs->max_bytes = sb->s_rev_level == 0 ? INT32_MAX : most < sectors ? most : sectors;
    return 0;
}

/* The superblock comes from the device, past all caches. */
static int super_read(struct ext2_fs *fs, bool read_only)
{
    const struct store_ops *ops = fs->store->ops;
    uint32_t sector = fs->store->block_bytes == 0 ? (uint32_t)VM_PAGE_SIZE : fs->store->block_bytes;
    uint64_t device_bytes;
    void *page = fs->zeros; /* it has no use yet */
    int error = ops->size(fs->store, &device_bytes);
    if (error != 0)
        return error;
    if (device_bytes < VM_PAGE_SIZE)
        return refuse("a device without room for a superblock", (uint32_t)device_bytes);
    error = ext2_transfer(fs, STORE_READ, 0, VM_PAGE_SIZE, &page);
    if (error != 0)
        return error;
    __builtin_memcpy(&fs->sb, fs->zeros + EXT2_SUPER_OFFSET, sizeof fs->sb);
    __builtin_memset(fs->zeros, 0, VM_PAGE_SIZE);
    error = super_known(&fs->sb, read_only);
    if (error != 0)
        return error;
    fs->block_shift = 10 + fs->sb.s_log_block_size;
    fs->block_bytes = 1u << fs->block_shift;
    if (sector > fs->block_bytes)
        return refuse("the device's blocks are larger than the file system's", sector);
    return super_numbers(fs, device_bytes);
}

/* Is [blkno, blkno + n) within the file system? */
static bool blocks_exist(const struct ext2_fs *fs, uint32_t blkno, uint32_t n)
{
    return blkno > fs->sb.s_first_data_block && blkno < fs->sb.s_blocks_count &&
           n <= fs->sb.s_blocks_count - blkno;
}

static int group_read(struct ext2_fs *fs, uint32_t g) FL_REQUIRES(fs->meta)
{
    uint32_t each = fs->block_bytes / (uint32_t)sizeof(struct ext2_group_desc);
    struct ext2_buf *buf;
    int error = ext2_bread(fs, (EXT2_SUPER_OFFSET >> fs->block_shift) + 1 + g / each, &buf);
    if (error != 0)
        return error;
    const struct ext2_group_desc *desc = (struct ext2_group_desc *)(void *)buf->data + g % each;
    fs->group[g] = (struct ext2_group){
        .block_bitmap = desc->bg_block_bitmap,
        .inode_bitmap = desc->bg_inode_bitmap,
        .inode_table = desc->bg_inode_table,
        .free_blocks = desc->bg_free_blocks_count,
        .free_inodes = desc->bg_free_inodes_count,
        .used_dirs = desc->bg_used_dirs_count,
    };
    ext2_brelse(buf);
    const struct ext2_group *group = &fs->group[g];
    if (!blocks_exist(fs, group->block_bitmap, 1) || !blocks_exist(fs, group->inode_bitmap, 1) ||
        !blocks_exist(fs, group->inode_table, fs->itable_blocks) ||
        group->free_blocks > fs->sb.s_blocks_per_group || group->free_inodes > fs->sb.s_inodes_per_group)
        return refuse("a group's descriptor is none", g);
    return 0;
}

/* The groups' counts are newer than the superblock's, after a power cut. */
static int groups_read(struct ext2_fs *fs) FL_REQUIRES(fs->meta)
{
    uint32_t free_blocks = 0, free_inodes = 0;
    if (fs->ngroups > (2 << 20) / sizeof *fs->group)
        return refuse("too many groups", fs->ngroups);
    fs->group = kmalloc(fs->ngroups * sizeof *fs->group);
    if (fs->group == NULL)
        return -ENOMEM;
    for (uint32_t g = 0; g < fs->ngroups; g++) {
        int error = group_read(fs, g);
        if (error != 0)
            return error;
        free_blocks += fs->group[g].free_blocks;
        free_inodes += fs->group[g].free_inodes;
    }
    fs->sb.s_free_blocks_count = free_blocks;
    fs->sb.s_free_inodes_count = free_inodes;
    return 0;
}

/* ---- the mount's operations ---------------------------------------------------------------------------- */

/* Metadata goes to the disk, which is clean then, unless a file could not be written (`error`). */
static int meta_sync(struct ext2_fs *fs, int error)
{
    sleep_lock(&fs->meta);
    int sync = ext2_bsync(fs, error == 0);
    sleep_unlock(&fs->meta);
    return error != 0 ? error : sync;
}

static int ext2_sync(struct mount *mount)
{
    struct ext2_fs *fs = ext2_fs_of(mount);
    if (mount->read_only)
        return 0;
    sleep_lock(&fs->sync_lock);
    int error = meta_sync(fs, ext2_inodes_sync(fs));
    sleep_unlock(&fs->sync_lock);
    return error;
}

static int ext2_write_back(struct mount *mount)
{
    struct ext2_fs *fs = ext2_fs_of(mount);
    sleep_lock(&fs->meta);
    int error = fs->bufs.ndirty > 0 || fs->sb_dirty ? ext2_bsync(fs, false) : 0;
    sleep_unlock(&fs->meta);
    return error;
}

static int ext2_statfs(struct mount *mount, void *to)
{
    struct ext2_fs *fs = ext2_fs_of(mount);
    struct statfs64 *statfs = to;
    sleep_lock(&fs->meta);
    const struct ext2_super_block *sb = &fs->sb;
    uint32_t kept = sb->s_r_blocks_count, free_blocks = sb->s_free_blocks_count;
    *statfs = (struct statfs64){
        .f_type = EXT2_SUPER_MAGIC,
        .f_bsize = fs->block_bytes,
        .f_frsize = fs->block_bytes,
        .f_blocks = sb->s_blocks_count,
        .f_bfree = free_blocks,
        .f_bavail = free_blocks < kept ? 0 : free_blocks - kept,
        .f_files = sb->s_inodes_count,
        .f_ffree = sb->s_free_inodes_count,
        .f_namelen = NAME_LEN_MAX,
    };
    __builtin_memcpy(&statfs->f_fsid, sb->s_uuid, sizeof statfs->f_fsid);
    sleep_unlock(&fs->meta);
    return 0;
}

/* All that a mount has, or a part of it, goes. */
static void fs_free(struct ext2_fs *fs)
{
    ext2_inodes_free(fs);
    ext2_bufs_free(fs);
    kfree(fs->group);
    kfree(fs->zeros);
    kfree(fs);
}

static int ext2_unmount(struct mount *mount)
{
    struct ext2_fs *fs = ext2_fs_of(mount);
    struct vnode *device = fs->device;
    if (ext2_inodes_used(fs, 1))
        return -EBUSY;
    int error = ext2_sync(mount);
    inode_put(mount->root);
    int ends = ext2_inode_trim(fs, 0);
    if (ext2_inodes_used(fs, 0)) /* a file is mapped still */
        machine_panic("ext2: a file came into use while its file system was unmounted");
    error = error != 0 ? error : ends;
    error = mount->read_only ? error : meta_sync(fs, error);
    fs_free(fs);
    fl_vnode_invalidate(device, 0, UINT64_MAX);
    int close = fl_vnode_close(device);
    return error != 0 ? error : close;
}

/* ---- mounting ------------------------------------------------------------------------------------------ */

static void lru_size(struct ext2_fs *fs)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    uint64_t most = stats.nframes / 32;
    fs->lru_max = most < LRU_MIN ? LRU_MIN : most > LRU_MAX ? LRU_MAX : (uint32_t)most;
}

/* The superblock, the buffers and the groups are there. */
static int fs_read(struct ext2_fs *fs, bool read_only)
{
    int error = super_read(fs, read_only);
    if (error == 0)
        error = ext2_bufs_init(fs);
    if (error != 0)
        return error;
    sleep_lock(&fs->meta);
    error = ext2_bread(fs, EXT2_SUPER_OFFSET >> fs->block_shift, &fs->super);
    if (error == 0)
        error = groups_read(fs);
    sleep_unlock(&fs->meta);
    return error;
}

/* It is mounted: the superblock counts that, from the first write of metadata on. */
static void super_mounted(struct ext2_fs *fs)
{
    fs->valid_on_disk = (fs->sb.s_state & EXT2_VALID_FS) != 0;
    fs->trusted = fs->valid_on_disk && (fs->sb.s_state & EXT2_ERROR_FS) == 0;
    if (!fs->trusted)
        printf("ext2: it was not unmounted, or has errors: it needs e2fsck\n");
    fs->sb.s_mnt_count++;
    fs->sb.s_mtime = (uint32_t)(wall_time_ns() / 1000000000);
    fs->generation = fs->sb.s_mtime;
}

static int root_get(struct ext2_fs *fs)
{
    struct ext2_inode *root;
    int error = ext2_iget(fs, EXT2_ROOT_INO, &root);
    if (error != 0)
        return error;
    fs->mount.root = &root->inode;
    if (S_ISDIR(root->inode.mode))
        return 0;
    inode_put(&root->inode);
    (void)!ext2_inode_trim(fs, 0);
    return refuse("the root is no directory", root->inode.mode);
}

static int device_prepare(struct vnode *device)
{
    int error = fl_vnode_sync(device, 0, UINT64_MAX);
    fl_vnode_invalidate(device, 0, UINT64_MAX);
    return error;
}

int ext2_mount(struct vnode *device, bool read_only, struct mount **mount)
{
    struct store *store = fl_vnode_store(device);
    if (store->read_only && !read_only)
        return -EROFS;
    int error = device_prepare(device);
    if (error != 0)
        return error;
    struct ext2_fs *fs = kmalloc(sizeof *fs);
    if (fs == NULL)
        return -ENOMEM;
    fs->device = device;
    fs->store = store;
    fs->mount = (struct mount){.type = "ext2",
                               .read_only = read_only,
                               .sync = ext2_sync,
                               .write_back = ext2_write_back,
                               .statfs = ext2_statfs,
                               .unmount = ext2_unmount};
    fs->zeros = kmalloc(VM_PAGE_SIZE);
    lru_size(fs);
    error = fs->zeros == NULL ? -ENOMEM : fs_read(fs, read_only);
    if (error == 0)
        error = root_get(fs);
    if (error != 0) {
        fs_free(fs);
        return error;
    }
    super_mounted(fs);
    fl_vnode_ref(device);
    *mount = &fs->mount;
    return 0;
}
