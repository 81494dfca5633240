/*
 * ext2_fs.h: ext2 as it lies on the disk. All numbers are little-endian, as this machine's are.
 *
 *   block  | boot | superblock |  group 0 …                                   | group 1 … |
 *   group  | (superblock, group descriptors) | block bitmap | inode bitmap | inode table | data … |
 *
 *   inode  i_block[0 … 11] ─▶ data      [12] ─▶ block of block numbers ─▶ data      [13] two such levels
 *                                       [14] three
 *   directory   | inode, rec_len, name_len, type, name … | … |    entries do not cross blocks
 *
 * The superblock is at byte 1024; the descriptors follow in the next block. Inode numbers and groups' inode
 * tables start with inode 1. A block number 0 is a hole.
 */
#ifndef KERNEL_FS_EXT2_FS_H
#define KERNEL_FS_EXT2_FS_H

#include <stdint.h>

#define EXT2_SUPER_MAGIC   0xef53
#define EXT2_SUPER_OFFSET  1024 /* bytes */
#define EXT2_ROOT_INO      2
#define EXT2_OLD_FIRST_INO 11

#define EXT2_VALID_FS 0x1 /* s_state: cleanly unmounted */
#define EXT2_ERROR_FS 0x2

#define EXT2_FEATURE_INCOMPAT_FILETYPE      0x2
#define EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER 0x1
#define EXT2_FEATURE_RO_COMPAT_LARGE_FILE   0x2
#define EXT2_FEATURE_RO_COMPAT_BTREE_DIR    0x4
/* What this file system can write, and what it can read. */
#define EXT2_INCOMPAT_KNOWN EXT2_FEATURE_INCOMPAT_FILETYPE
#define EXT2_RO_COMPAT_KNOWN                                                                                 \
    (EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |                               \
     EXT2_FEATURE_RO_COMPAT_BTREE_DIR)

struct ext2_super_block {
    uint32_t s_inodes_count;
    uint32_t s_blocks_count;
    uint32_t s_r_blocks_count; /* kept for the super-user */
    uint32_t s_free_blocks_count;
    uint32_t s_free_inodes_count;
    uint32_t s_first_data_block; /* 1 with blocks of 1 KiB, otherwise 0 */
    uint32_t s_log_block_size;   /* 1024 << it */
    uint32_t s_log_frag_size;
    uint32_t s_blocks_per_group;
    uint32_t s_frags_per_group;
    uint32_t s_inodes_per_group;
    uint32_t s_mtime, s_wtime; /* seconds */
    uint16_t s_mnt_count, s_max_mnt_count;
    uint16_t s_magic;
    uint16_t s_state;
    uint16_t s_errors, s_minor_rev_level;
    uint32_t s_lastcheck, s_checkinterval;
    uint32_t s_creator_os;
    uint32_t s_rev_level;
    uint16_t s_def_resuid, s_def_resgid;
    /* revision 1 */
    uint32_t s_first_ino;
    uint16_t s_inode_size;
    uint16_t s_block_group_nr;
    uint32_t s_feature_compat, s_feature_incompat, s_feature_ro_compat;
    uint8_t s_uuid[16];
    uint8_t rest[904];
};
_Static_assert(sizeof(struct ext2_super_block) == 1024, "the disk's layout");

struct ext2_group_desc {
    uint32_t bg_block_bitmap, bg_inode_bitmap, bg_inode_table; /* blocks */
    uint16_t bg_free_blocks_count, bg_free_inodes_count, bg_used_dirs_count;
    uint16_t bg_pad;
    uint32_t bg_reserved[3];
};
_Static_assert(sizeof(struct ext2_group_desc) == 32, "the disk's layout");

#define EXT2_NDIR_BLOCKS 12
#define EXT2_IND_BLOCK   12
#define EXT2_N_BLOCKS    15

#define EXT2_INDEX_FL 0x1000 /* i_flags: the directory has a hash index over its entries */

struct ext2_dinode {
    uint16_t i_mode;
    uint16_t i_uid;
    uint32_t i_size;
    uint32_t i_atime, i_ctime, i_mtime, i_dtime; /* seconds */
    uint16_t i_gid;
    uint16_t i_links_count;
    uint32_t i_blocks; /* of 512 bytes */
    uint32_t i_flags;
    uint32_t i_osd1;
    uint32_t i_block[EXT2_N_BLOCKS];
    uint32_t i_generation;
    uint32_t i_file_acl;  /* the block of extended attributes */
    uint32_t i_size_high; /* of regular files */
    uint32_t i_faddr;
    uint16_t i_osd2[2];
    uint16_t i_uid_high, i_gid_high;
    uint32_t i_osd2_reserved;
};
_Static_assert(sizeof(struct ext2_dinode) == 128, "the disk's layout");

struct ext2_dir_entry {
    uint32_t inode;   /* 0: free */
    uint16_t rec_len; /* to the next entry; the last one's ends with the block */
    uint8_t name_len;
    uint8_t file_type; /* EXT2_FT_*; without EXT2_FEATURE_INCOMPAT_FILETYPE 0 */
    char name[];
};
#define EXT2_DIR_ENTRY 8 /* bytes before the name */

enum {
    EXT2_FT_UNKNOWN,
    EXT2_FT_REG_FILE,
    EXT2_FT_DIR,
    EXT2_FT_CHRDEV,
    EXT2_FT_BLKDEV,
    EXT2_FT_FIFO,
    EXT2_FT_SOCK,
    EXT2_FT_SYMLINK,
    EXT2_FT_MAX,
};

/* The head of a block of extended attributes, which several inodes may share. */
#define EXT2_XATTR_MAGIC UINT32_C(0xea020000)
struct ext2_xattr_header {
    uint32_t h_magic;
    uint32_t h_refcount;
};

#endif
