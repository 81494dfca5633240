/*
 * ext2_vnops.c: what a path's walk and the system calls ask of an inode.
 *
 *   lookup   (D) ─▶ (N): the entry's number ─▶ ext2_iget
 *   create   an inode ─▶ (N): its first block, if it is a directory; the entry
 *   unlink   (N): the entry goes; one name less. The last reference deletes the file (ext2_inode.c)
 *   rename   (N): the new entry ─▶ on the disk before ─▶ the old one goes; ".." and the counts follow
 *
 * An operation that fails half-way puts back what it did, or leaves the more names or blocks, never fewer.
 *
 * Locks: (D) of directories is the caller's. That of the file that an entry names is taken here, after its
 * directory's; then (N).
 */
#include "fs/ext2_mount.h"
#include "proc/proc.h"
#include <linux/errno.h>
#include <linux/stat.h>

#define LINK_MAX 32000

/* May entries be made in the directory? */
static int may_create(struct inode *dir, size_t len_bytes)
{
    if (dir->mount->read_only)
        return -EROFS;
    return dir->nlink == 0 ? -ENOENT : len_bytes > NAME_LEN_MAX ? -ENAMETOOLONG : 0;
}

static int ext2_lookup(struct inode *dir, const char *name, size_t len_bytes, struct inode **inode)
{
    struct ext2_inode *dp = ext2_i(dir), *ip;
    struct ext2_entry entry;
    sleep_lock(&dp->fs->meta);
    int error = len_bytes > NAME_LEN_MAX ? -ENAMETOOLONG : ext2_dir_find(dp, name, len_bytes, &entry);
    if (error == 0)
        ext2_brelse(entry.buf);
    sleep_unlock(&dp->fs->meta);
    if (error == 0)
        error = ext2_iget(dp->fs, entry.ino, &ip);
    if (error == 0)
        *inode = &ip->inode;
    return error;
}

/* ---- new files ----------------------------------------------------------------------------------------- */

/* ip, a new inode, gets its name. On failure it has none. */
static int create_entry(struct ext2_inode *dp, const char *name, size_t len_bytes, struct ext2_inode *ip)
    FL_REQUIRES(dp->fs->meta)
{
    bool directory = S_ISDIR(ip->inode.mode);
    int error = 0;
    ext2_assert_meta(ip->fs);
    if (directory) {
        ip->inode.nlink = 2;
        error = dp->inode.nlink >= LINK_MAX ? -EMLINK : ext2_dir_make(ip, (uint32_t)dp->inode.ino);
    }
    if (error == 0)
        error = ext2_iattr(ip);
    if (error == 0)
        error = ext2_dir_add(dp, name, len_bytes, (uint32_t)ip->inode.ino, ip->inode.mode, NULL);
    if (error != 0) {
        ip->inode.nlink = 0;
        return error;
    }
    dp->inode.nlink += directory;
    return ext2_iattr(dp);
}

static int ext2_create(struct inode *dir, const char *name, size_t len_bytes, uint32_t mode, uint64_t rdev,
                       struct inode **inode)
{
    struct ext2_inode *dp = ext2_i(dir), *ip;
    int error = may_create(dir, len_bytes);
    if (error == 0)
        error = ext2_inew(dp, mode, &ip);
    if (error != 0)
        return error;
    sleep_lock(&dp->fs->meta);
    ext2_assert_meta(ip->fs);
    if (S_ISCHR(mode) || S_ISBLK(mode))
        ext2_set_rdev(ip, rdev);
    error = create_entry(dp, name, len_bytes, ip);
    sleep_unlock(&dp->fs->meta);
    if (error != 0)
        inode_put(&ip->inode);
    else
        *inode = &ip->inode;
    return error;
}

/* The target goes into the inode if it fits, else into a block. */
static int symlink_set(struct ext2_inode *ip, const char *target, size_t len_bytes) FL_REQUIRES(ip->fs->meta)
{
    struct ext2_extent extent;
    struct ext2_buf *buf;
    int error = 0;
    if (len_bytes < sizeof ip->d.i_block) {
        __builtin_memcpy(ip->d.i_block, target, len_bytes);
    } else {
        error = ext2_balloc(ip, 0, 1, &extent);
        if (error == 0)
            error = ext2_fresh_written(ip, 0, 1);
        if (error == 0)
            error = ext2_getblk(ip->fs, extent.pblk, &buf);
        if (error != 0)
            return error;
        __builtin_memcpy(buf->data, target, len_bytes);
        ext2_brelse(buf);
    }
    ext2_set_size(ip, len_bytes);
    return 0;
}

static int ext2_symlink(struct inode *dir, const char *name, size_t len_bytes, const char *target)
{
    struct ext2_inode *dp = ext2_i(dir), *ip;
    size_t target_bytes = __builtin_strlen(target);
    int error = may_create(dir, len_bytes);
    if (error == 0 && target_bytes >= dp->fs->block_bytes)
        error = -ENAMETOOLONG;
    if (error == 0)
        error = ext2_inew(dp, S_IFLNK | 0777, &ip);
    if (error != 0)
        return error;
    sleep_lock(&dp->fs->meta);
    ext2_assert_meta(ip->fs);
    error = symlink_set(ip, target, target_bytes);
    if (error == 0)
        error = create_entry(dp, name, len_bytes, ip);
    else
        ip->inode.nlink = 0;
    sleep_unlock(&dp->fs->meta);
    inode_put(&ip->inode);
    return error;
}

/* The inode has names more, or fewer. (D) of it. */
static int links_add(struct ext2_inode *ip, int more) FL_REQUIRES(ip->fs->meta)
{
    ip->inode.nlink += (uint32_t)more;
    ip->inode.ctime_ns = wall_time_ns();
    return ext2_iattr(ip);
}

static int ext2_link(struct inode *dir, const char *name, size_t len_bytes, struct inode *inode)
{
    struct ext2_inode *dp = ext2_i(dir), *ip = ext2_i(inode);
    int error = S_ISDIR(inode->mode) ? -EPERM : may_create(dir, len_bytes);
    if (error != 0)
        return error;
    sleep_lock(&inode->lock);
    sleep_lock(&dp->fs->meta);
    ext2_assert_meta(ip->fs);
    if (inode->nlink == 0)
        error = -ENOENT;
    else if (inode->nlink >= LINK_MAX)
        error = -EMLINK;
    else
        error = links_add(ip, 1);
    if (error == 0) {
        error = ext2_dir_add(dp, name, len_bytes, (uint32_t)inode->ino, inode->mode, NULL);
        int attr = error == 0 ? ext2_iattr(dp) : links_add(ip, -1);
        error = error != 0 ? error : attr;
    }
    sleep_unlock(&dp->fs->meta);
    sleep_unlock(&inode->lock);
    return error;
}

/* ---- names that go ------------------------------------------------------------------------------------- */

/* The entry, which names `inode`. Errors: -ENOENT, it does not; -EIO. */
static int find_named(struct ext2_inode *dp, const char *name, size_t len_bytes, const struct inode *inode,
                      struct ext2_entry *entry) FL_REQUIRES(dp->fs->meta)
{
    int error = ext2_dir_find(dp, name, len_bytes, entry);
    if (error == 0 && entry->ino != inode->ino) {
        ext2_brelse(entry->buf);
        error = -ENOENT;
    }
    return error;
}

/* A name of `inode` in dp has gone. (D) of it. */
static int name_gone(struct ext2_inode *dp, struct inode *inode) FL_REQUIRES(dp->fs->meta)
{
    struct ext2_inode *ip = ext2_i(inode);
    bool directory = S_ISDIR(inode->mode);
    ext2_assert_meta(ip->fs);
    if (directory)
        dp->inode.nlink--;
    int error = directory ? links_add(ip, -(int)inode->nlink) : inode->nlink > 0 ? links_add(ip, -1) : 0;
    int attr = ext2_iattr(dp);
    return error != 0 ? error : attr;
}

static int ext2_unlink(struct inode *dir, const char *name, size_t len_bytes, struct inode *inode)
{
    struct ext2_inode *dp = ext2_i(dir), *ip = ext2_i(inode);
    struct ext2_entry entry;
    int error = 0;
    if (dir->mount->read_only)
        return -EROFS;
    if (inode == dir) /* ".", or a directory that contradicts itself */
        return -EINVAL;
    sleep_lock(&inode->lock);
    sleep_lock(&dp->fs->meta);
    ext2_assert_meta(ip->fs);
    if (S_ISDIR(inode->mode))
        error = ext2_dir_empty(ip);
    if (error == 0)
        error = find_named(dp, name, len_bytes, inode, &entry);
    if (error == 0) {
        ext2_dir_remove(dp, &entry);
        ext2_brelse(entry.buf);
        error = name_gone(dp, inode);
    }
    sleep_unlock(&dp->fs->meta);
    sleep_unlock(&inode->lock);
    return error;
}

/* ---- rename -------------------------------------------------------------------------------------------- */

struct rename {
    struct ext2_inode *from_dir, *to_dir;
    const char *from, *to;
    size_t from_len_bytes, to_len_bytes;
    struct inode *inode, *replaced;
};

/* The new name. *buf: its block, held. */
static int rename_add(const struct rename *r, struct ext2_buf **buf) FL_REQUIRES(r->to_dir->fs->meta)
{
    struct ext2_fs *fs = r->to_dir->fs;
    uint32_t ino = (uint32_t)r->inode->ino;
    struct ext2_entry entry;
    ext2_assert_meta(fs);
    if (r->replaced != NULL) {
        int error = find_named(r->to_dir, r->to, r->to_len_bytes, r->replaced, &entry);
        if (error != 0)
            return error;
        ext2_dir_set(r->to_dir, &entry, ino, r->inode->mode);
        *buf = entry.buf;
        return 0;
    }
    uint64_t old_bytes = r->to_dir->size;
    int error = ext2_dir_add(r->to_dir, r->to, r->to_len_bytes, ino, r->inode->mode, buf);
    if (error == 0 &&
        r->to_dir->size != old_bytes) { /* several blocks lead to the name: all go to the disk */
        error = ext2_bsync(fs, false);
        if (error != 0)
            ext2_brelse(*buf);
    }
    return error;
}

/* The new name goes again, or names again what it did. */
static void rename_undo(const struct rename *r) FL_REQUIRES(r->to_dir->fs->meta)
{
    struct ext2_entry entry;
    if (find_named(r->to_dir, r->to, r->to_len_bytes, r->inode, &entry) != 0)
        return;
    if (r->replaced != NULL)
        ext2_dir_set(r->to_dir, &entry, (uint32_t)r->replaced->ino, r->replaced->mode);
    else
        ext2_dir_remove(r->to_dir, &entry);
    ext2_brelse(entry.buf);
}

/* The old name goes, on the disk after the new one in `buf`. */
static int rename_remove(const struct rename *r, struct ext2_buf *buf) FL_REQUIRES(r->from_dir->fs->meta)
{
    struct ext2_entry entry;
    int error = find_named(r->from_dir, r->from, r->from_len_bytes, r->inode, &entry);
    if (error != 0)
        return error;
    error = ext2_border(r->from_dir->fs, buf, entry.buf);
    if (error == 0)
        ext2_dir_remove(r->from_dir, &entry);
    ext2_brelse(entry.buf);
    return error;
}

/* A directory has another parent: its "..", and the parents' counts. */
static int rename_parent(const struct rename *r) FL_REQUIRES(r->from_dir->fs->meta)
{
    struct ext2_inode *ip = ext2_i(r->inode);
    struct ext2_entry entry;
    r->from_dir->inode.nlink--;
    r->to_dir->inode.nlink++;
    if (r->from_dir == r->to_dir)
        return 0;
    ext2_assert_meta(ip->fs);
    int error = ext2_dir_find(ip, "..", 2, &entry);
    if (error != 0)
        return error;
    ext2_dir_set(ip, &entry, (uint32_t)r->to_dir->inode.ino, S_IFDIR);
    ext2_brelse(entry.buf);
    return 0;
}

static int rename_names(const struct rename *r) FL_REQUIRES(r->from_dir->fs->meta)
{
    bool directory = S_ISDIR(r->inode->mode);
    struct ext2_inode *replaced = r->replaced != NULL ? ext2_i(r->replaced) : NULL;
    struct ext2_buf *buf;
    int error = 0;
    ext2_assert_meta(r->to_dir->fs);
    if (directory && r->replaced == NULL && r->from_dir != r->to_dir && r->to_dir->inode.nlink >= LINK_MAX)
        error = -EMLINK;
    if (error == 0 && replaced != NULL && S_ISDIR(replaced->inode.mode)) {
        ext2_assert_meta(replaced->fs);
        error = ext2_dir_empty(replaced);
    }
    if (error == 0)
        error = rename_add(r, &buf);
    if (error != 0)
        return error;
    error = rename_remove(r, buf);
    ext2_brelse(buf);
    if (error != 0) {
        rename_undo(r);
        return error;
    }
    if (directory)
        error = rename_parent(r);
    int gone = replaced != NULL ? name_gone(r->to_dir, r->replaced) : ext2_iattr(r->to_dir);
    int attr = ext2_iattr(r->from_dir);
    return error != 0 ? error : gone != 0 ? gone : attr;
}

/* (D) of the replaced file, if there is one, around all of it: the analysis cannot follow that. */
FL_NO_THREAD_SAFETY_ANALYSIS static int rename_replacing(const struct rename *r)
{
    struct ext2_fs *fs = r->from_dir->fs;
    if (r->replaced != NULL)
        sleep_lock(&r->replaced->lock);
    sleep_lock(&fs->meta);
    int error = rename_names(r);
    sleep_unlock(&fs->meta);
    if (r->replaced != NULL)
        sleep_unlock(&r->replaced->lock);
    return error;
}

static int ext2_rename(struct inode *from_dir, const char *from, size_t from_len_bytes, struct inode *to_dir,
                       const char *to, size_t to_len_bytes, struct inode *inode, struct inode *replaced)
{
    const struct rename r = {ext2_i(from_dir), ext2_i(to_dir), from,  to,
                             from_len_bytes,   to_len_bytes,   inode, replaced};
    struct ext2_inode *ip = ext2_i(inode);
    int error = may_create(to_dir, to_len_bytes);
    if (error != 0 || replaced == inode) /* two names of one file stay */
        return error;
    if (replaced == from_dir)
        return -ENOTEMPTY;
    if (inode == to_dir || inode == from_dir || replaced == to_dir)
        return -EINVAL;
    error = rename_replacing(&r);
    if (error != 0)
        return error;
    sleep_lock(&inode->lock);
    sleep_lock(&ip->fs->meta);
    error = links_add(ip, 0); /* the time of its change */
    sleep_unlock(&ip->fs->meta);
    sleep_unlock(&inode->lock);
    return error;
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

static int ext2_readdir(struct inode *dir, uint64_t *pos, readdir_fn *emit, void *arg)
{
    struct ext2_inode *dp = ext2_i(dir);
    struct ext2_dirent entry;
    uint64_t next = *pos;
    for (;;) {
        sleep_lock(&dp->fs->meta);
        int error = ext2_dir_next(dp, &next, &entry);
        sleep_unlock(&dp->fs->meta);
        if (error != 0)
            return error == -ENOENT ? 0 : error;
        error = emit(arg, entry.name, entry.len, entry.ino, entry.type, next); /* no lock but (D) */
        if (error != 0)
            return error;
        *pos = next;
    }
}

static int ext2_readlink(struct inode *inode, char *target, size_t max)
{
    struct ext2_inode *ip = ext2_i(inode);
    struct ext2_fs *fs = ip->fs;
    struct ext2_extent extent;
    struct ext2_buf *buf = NULL;
    const void *from = ip->d.i_block;
    int error = 0;
    sleep_lock(&ip->fs->meta);
    ext2_assert_meta(fs);
    size_t len = ip->size < fs->block_bytes ? (size_t)ip->size : 0;
    bool fast = ip->d.i_blocks == (ip->d.i_file_acl != 0 ? fs->block_bytes / 512 : 0);
    if (len == 0 || (fast && len >= sizeof ip->d.i_block))
        error = ext2_error(fs, "a symbolic link has no target");
    else if (!fast)
        error = ext2_bmap(ip, 0, 1, &extent);
    if (error == 0 && !fast)
        error = extent.pblk == 0 ? -EIO : ext2_bread(fs, extent.pblk, &buf);
    if (error == 0) {
        len = len < max ? len : max;
        __builtin_memcpy(target, buf != NULL ? buf->data : from, len);
        if (buf != NULL)
            ext2_brelse(buf);
    }
    sleep_unlock(&ip->fs->meta);
    return error != 0 ? error : (int)len;
}

static int ext2_setattr(struct inode *inode)
{
    struct ext2_inode *ip = ext2_i(inode);
    if (inode->mount->read_only)
        return -EROFS;
    sleep_lock(&ip->fs->meta);
    int error = ext2_iattr(ip);
    sleep_unlock(&ip->fs->meta);
    return error;
}

static int ext2_fsync(struct inode *inode)
{
    struct ext2_fs *fs = ext2_i(inode)->fs;
    sleep_lock(&fs->meta);
    int error = ext2_bsync(fs, false);
    sleep_unlock(&fs->meta);
    return error;
}

static const struct inode_ops file_ops = {
    .vnode = ext2_vnode,
    .setattr = ext2_setattr,
    .fsync = ext2_fsync,
    .release = ext2_release,
};

static const struct inode_ops dir_ops = {
    .lookup = ext2_lookup,
    .create = ext2_create,
    .symlink = ext2_symlink,
    .link = ext2_link,
    .unlink = ext2_unlink,
    .rename = ext2_rename,
    .readdir = ext2_readdir,
    .setattr = ext2_setattr,
    .fsync = ext2_fsync,
    .release = ext2_release,
};

static const struct inode_ops symlink_ops = {
    .readlink = ext2_readlink,
    .setattr = ext2_setattr,
    .fsync = ext2_fsync,
    .release = ext2_release,
};

/* What such a file does is not this file system's business. */
static const struct inode_ops special_ops = {
    .setattr = ext2_setattr,
    .fsync = ext2_fsync,
    .release = ext2_release,
};

const struct inode_ops *ext2_ops(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return &file_ops;
    case S_IFDIR:
        return &dir_ops;
    case S_IFLNK:
        return &symlink_ops;
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return &special_ops;
    default:
        return NULL;
    }
}
