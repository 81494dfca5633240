/*
 * ext2_inode.c: inodes in memory.
 *
 *   ext2_iget ─▶ hash ─┬─ there ─▶ one reference more
 *                      └─ not: busy ─▶ read from its table ─▶ not busy
 *
 *   inode_put, the last ─▶ ext2_release ─┬─ it has names: on the lru list, with its vnode and its pages
 *                                        └─ none, or too many on the list: inode_end
 *
 *   inode_end   busy ─▶ vnode closed (dirty pages are written) ─┬─ all stores gone ─▶ settled, or deleted
 *                                                               └─ mapped: it stays, until the mapping goes
 *                                                                  (ext2_store_gone)
 *
 * So a file that is opened again has its pages still; the page daemon takes those that are not used. One that
 * is mapped, or open, keeps its bytes when its last name goes.
 *
 * The memory of an inode that has ended is used for others, and stays an inode's until the mount ends: who
 * has dropped the last reference may come to ext2_release late, when another thread has found the inode,
 * dropped it again, and ended it. What it finds is then in order, in use or unused.
 *
 * Locks: (H) for all of that; (N) for d. Neither is held while a vnode is opened or closed.
 * Loops: a wait for a busy inode is one for its I/O.
 */
#include "fs/ext2_mount.h"
#include "kmem.h"
#include "proc/proc.h"
#include <faultline/vm.h>
#include <linux/errno.h>
#include <linux/stat.h>

#define NS_PER_S INT64_C(1000000000)

/* ---- on the disk --------------------------------------------------------------------------------------- */

int ext2_iread(struct ext2_fs *fs, uint32_t ino, struct ext2_buf **buf, struct ext2_dinode **d)
{
    uint32_t g = (ino - 1) / fs->sb.s_inodes_per_group, i = (ino - 1) % fs->sb.s_inodes_per_group;
    uint64_t at = (uint64_t)i * fs->inode_bytes;
    int error = ext2_bread(fs, fs->group[g].inode_table + (uint32_t)(at >> fs->block_shift), buf);
    if (error == 0)
        *d = (struct ext2_dinode *)(void *)((*buf)->data + (at & (fs->block_bytes - 1)));
    return error;
}

int ext2_iupdate(struct ext2_inode *ip)
{
    struct ext2_buf *buf;
    struct ext2_dinode *d;
    int error = ext2_iread(ip->fs, (uint32_t)ip->inode.ino, &buf, &d);
    if (error != 0)
        return error;
    *d = ip->d;
    ext2_bdirty(ip->fs, buf);
    ext2_brelse(buf);
    __atomic_store_n(&ip->inode.blocks, ip->d.i_blocks, __ATOMIC_RELAXED);
    return 0;
}

static uint32_t seconds(int64_t ns)
{
    return (uint32_t)(ns >= 0 ? ns / NS_PER_S : -((-ns + NS_PER_S - 1) / NS_PER_S));
}

/* The attributes of the inode go to d. (D), (N). */
static void attributes_to_disk(struct ext2_inode *ip)
{
    const struct inode *inode = &ip->inode;
    struct ext2_dinode *d = &ip->d;
    d->i_mode = (uint16_t)inode->mode;
    d->i_links_count = (uint16_t)inode->nlink;
    d->i_uid = (uint16_t)inode->uid;
    d->i_uid_high = (uint16_t)(inode->uid >> 16);
    d->i_gid = (uint16_t)inode->gid;
    d->i_gid_high = (uint16_t)(inode->gid >> 16);
    d->i_atime = seconds(inode->atime_ns);
    d->i_mtime = seconds(inode->mtime_ns);
    d->i_ctime = seconds(inode->ctime_ns);
}

int ext2_iattr(struct ext2_inode *ip)
{
    if (ip->inode.nlink == 0 && !ip->orphan) {
        ip->orphan = true;
        ip->fs->orphans++;
    }
    attributes_to_disk(ip);
    return ext2_iupdate(ip);
}

/* A device's number: in 16 bits where it fits, or as stat has it. */
static uint64_t rdev_of(const struct ext2_dinode *d)
{
    uint32_t old = d->i_block[0];
    return old != 0 ? old & 0xffff : d->i_block[1];
}

void ext2_set_rdev(struct ext2_inode *ip, uint64_t rdev)
{
    ip->inode.rdev = rdev;
    ip->d.i_block[rdev > 0xffff ? 1 : 0] = (uint32_t)rdev;
}

void ext2_set_size(struct ext2_inode *ip, uint64_t size)
{
    ip->d.i_size = (uint32_t)size;
    if (S_ISREG(ip->d.i_mode) && ip->fs->sb.s_rev_level > 0)
        ip->d.i_size_high = (uint32_t)(size >> 32);
    ip->size = size;
    __atomic_store_n(&ip->inode.size_bytes, size, __ATOMIC_RELAXED);
}

/* The inode's fields from d, which was read. Errors: -EIO, it is none. */
static int inode_fill(struct ext2_inode *ip) FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    struct inode *inode = &ip->inode;
    const struct ext2_dinode *d = &ip->d;
    ext2_assert_meta(fs);
    inode->ops = ext2_ops(d->i_mode);
    if (inode->ops == NULL || d->i_links_count == 0)
        return ext2_error(fs, "a directory names an inode that is none");
    uint64_t high = S_ISREG(d->i_mode) && fs->sb.s_rev_level > 0 ? (uint64_t)d->i_size_high << 32 : 0;
    ip->size = high | d->i_size;
    if (ip->size > fs->max_bytes)
        return ext2_error(fs, "a file is longer than any can be");
    inode->mode = d->i_mode;
    inode->nlink = d->i_links_count;
    inode->uid = d->i_uid | (uint32_t)d->i_uid_high << 16;
    inode->gid = d->i_gid | (uint32_t)d->i_gid_high << 16;
    inode->atime_ns = (int32_t)d->i_atime * NS_PER_S;
    inode->mtime_ns = (int32_t)d->i_mtime * NS_PER_S;
    inode->ctime_ns = (int32_t)d->i_ctime * NS_PER_S;
    inode->size_bytes = ip->size;
    inode->blocks = d->i_blocks;
    inode->rdev = S_ISCHR(d->i_mode) || S_ISBLK(d->i_mode) ? rdev_of(d) : 0;
    return 0;
}

static int inode_load(struct ext2_inode *ip)
{
    struct ext2_fs *fs = ip->fs;
    struct ext2_buf *buf;
    struct ext2_dinode *d;
    sleep_lock(&fs->meta);
    int error = ext2_iread(fs, (uint32_t)ip->inode.ino, &buf, &d);
    if (error == 0) {
        ip->d = *d;
        ext2_brelse(buf);
        ext2_assert_meta(ip->fs);
        error = inode_fill(ip);
    }
    sleep_unlock(&fs->meta);
    return error;
}

/* ---- the table and the list: (H) all ------------------------------------------------------------------- */

static struct ext2_inode **hash_bucket(struct ext2_fs *fs, uint64_t ino)
{
    return &fs->hash[ino % EXT2_HASH];
}

static struct ext2_inode *hash_find(struct ext2_fs *fs, uint64_t ino)
{
    struct ext2_inode *ip = *hash_bucket(fs, ino);
    while (ip != NULL && ip->inode.ino != ino)
        ip = ip->hash_next;
    return ip;
}

static void hash_add(struct ext2_inode *ip)
{
    struct ext2_inode **bucket = hash_bucket(ip->fs, ip->inode.ino);
    ip->hash_next = *bucket;
    *bucket = ip;
    ip->hashed = true;
}

static void lru_add(struct ext2_inode *ip)
{
    struct ext2_fs *fs = ip->fs;
    ip->lru_prev = fs->lru_last;
    ip->lru_next = NULL;
    *(fs->lru_last != NULL ? &fs->lru_last->lru_next : &fs->lru_first) = ip;
    fs->lru_last = ip;
    ip->on_lru = true;
    fs->lru_count++;
}

static void lru_remove(struct ext2_inode *ip)
{
    struct ext2_fs *fs = ip->fs;
    if (!ip->on_lru)
        return;
    *(ip->lru_prev != NULL ? &ip->lru_prev->lru_next : &fs->lru_first) = ip->lru_next;
    *(ip->lru_next != NULL ? &ip->lru_next->lru_prev : &fs->lru_last) = ip->lru_prev;
    ip->on_lru = false;
    fs->lru_count--;
}

/* The inode is in the table no more, and its memory is for another one. Its waiters look again. */
static void inode_free(struct ext2_inode *ip)
{
    struct ext2_fs *fs = ip->fs;
    struct ext2_inode **link = hash_bucket(fs, ip->inode.ino);
    while (*link != ip)
        link = &(*link)->hash_next;
    *link = ip->hash_next;
    ip->hashed = ip->busy = false;
    ip->hash_next = fs->unused;
    fs->unused = ip;
    machine_wake(ip);
}

static bool in_use(const struct ext2_inode *ip)
{
    return atomic_load(&ip->inode.refs) > 0;
}

/* Memory for an inode, all zero but for `fs`. NULL: there is none. (H) held on entry and return, released in
 * between only if there is none at once. */
static struct ext2_inode *inode_memory(struct ext2_fs *fs) FL_REQUIRES(fs->hash_lock)
{
    struct ext2_inode *ip = fs->unused;
    if (ip != NULL)
        fs->unused = ip->hash_next;
    else
        ip = kmalloc(sizeof *ip);
    if (ip == NULL && fs->lru_first != NULL) { /* one that nobody uses ends for it */
        uint32_t most = fs->lru_count - 1;
        machine_unlock(&fs->hash_lock);
        (void)!ext2_inode_trim(fs, most); /* the file's vnode and the next fsync have the error */
        machine_lock(&fs->hash_lock);
        ip = fs->unused;
        if (ip != NULL)
            fs->unused = ip->hash_next;
    }
    if (ip == NULL)
        return NULL;
    __builtin_memset(ip, 0, sizeof *ip);
    ip->fs = fs;
    return ip;
}

/* ---- the end ------------------------------------------------------------------------------------------- */

/* Drops the inode's use of its block of attributes, which others may share. */
static int xattr_release(struct ext2_inode *ip) FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    uint32_t blkno = ip->d.i_file_acl;
    struct ext2_buf *buf;
    ext2_assert_meta(fs);
    if (blkno == 0)
        return 0;
    if (!ext2_data_blocks(fs, blkno, 1))
        return ext2_error(fs, "an inode has a block of attributes that is none");
    int error = ext2_bread(fs, blkno, &buf);
    if (error != 0)
        return error;
    struct ext2_xattr_header *header = (struct ext2_xattr_header *)(void *)buf->data;
    bool last = header->h_refcount <= 1;
    bool valid = header->h_magic == EXT2_XATTR_MAGIC;
    if (valid && !last) {
        header->h_refcount--;
        ext2_bdirty(fs, buf);
    }
    ext2_brelse(buf);
    if (!valid)
        return ext2_error(fs, "a block of attributes is none");
    if (last) {
        ext2_bforget(fs, blkno);
        error = ext2_free_blocks(fs, blkno, 1);
    }
    ip->d.i_file_acl = 0;
    ip->d.i_blocks -= fs->block_bytes / 512;
    return error;
}

/* The file without a name is deleted: its blocks and its inode are free. What cannot be freed for an error
 * stays allocated, for e2fsck. */
static int inode_delete(struct ext2_inode *ip) FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    uint32_t mode = ip->d.i_mode;
    bool fast = S_ISLNK(mode) && ip->d.i_blocks == (ip->d.i_file_acl != 0 ? fs->block_bytes / 512 : 0);
    ext2_assert_meta(fs);
    int error = xattr_release(ip);
    fs->orphans -= ip->orphan;
    ip->orphan = false;
    ip->d.i_links_count = 0;
    ip->d.i_dtime = seconds(wall_time_ns());
    if (error == 0 && !fast && (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode)))
        error = ext2_bfree(ip, 0, UINT32_MAX);
    ext2_set_size(ip, 0);
    int update = ext2_iupdate(ip);
    error = error != 0 ? error : update;
    return error != 0 ? error : ext2_free_inode(fs, (uint32_t)ip->inode.ino, S_ISDIR(mode));
}

/* What is left to do when no vnode uses the file. */
static int inode_settle(struct ext2_inode *ip)
{
    int error = 0;
    if (ip->fs->mount.read_only)
        return 0;
    sleep_lock(&ip->fs->meta);
    if (ip->inode.nlink == 0)
        error = inode_delete(ip);
    else if (ip->nfresh > 0 || ip->alloc_end > 0)
        error = ext2_settle(ip);
    sleep_unlock(&ip->fs->meta);
    return error;
}

/*
 * The inode, which nobody uses, ends, unless it is mapped. (H) held on entry and return, released in between.
 * Errors: of write-back, of the disk: it has ended nevertheless.
 */
static int inode_end(struct ext2_fs *fs, struct ext2_inode *ip) FL_REQUIRES(fs->hash_lock)
{
    struct vnode *vnode = ip->vnode;
    int error = 0;
    lru_remove(ip);
    ip->busy = true;
    ip->vnode = NULL;
    if (vnode != NULL) {
        machine_unlock(&fs->hash_lock);
        ip->ender = ip->inode.nlink == 0 ? machine_self() : 0;
        error = fl_vnode_close(vnode);
        ip->ender = 0;
        machine_lock(&fs->hash_lock);
    }
    if (ip->stores > 0) {
        ip->busy = false;
        machine_wake(ip);
        return error;
    }
    machine_unlock(&fs->hash_lock);
    int settle = inode_settle(ip);
    machine_lock(&fs->hash_lock);
    inode_free(ip);
    return error != 0 ? error : settle;
}

/* Nobody uses the inode, perhaps: it goes on the list, or ends. (H), released in between. */
static void inode_unused(struct ext2_fs *fs, struct ext2_inode *ip) FL_REQUIRES(fs->hash_lock)
{
    if (!ip->hashed || ip->busy || ip->on_lru || in_use(ip))
        return;
    if (ip->inode.nlink > 0)
        lru_add(ip);
    else if (inode_end(fs, ip) != 0)
        machine_log("ext2: a deleted file could not be freed completely");
}

void ext2_release(struct inode *inode)
{
    struct ext2_inode *ip = ext2_i(inode);
    struct ext2_fs *fs = ip->fs;
    machine_lock(&ip->fs->hash_lock);
    inode_unused(ip->fs, ip);
    uint32_t count = fs->lru_count;
    machine_unlock(&ip->fs->hash_lock);
    if (count > fs->lru_max && ext2_inode_trim(fs, fs->lru_max) != 0)
        machine_log("ext2: a file that was closed could not be written");
}

void ext2_store_gone(struct ext2_inode *ip)
{
    machine_lock(&ip->fs->hash_lock);
    ip->stores--;
    if (ip->stores == 0 && ip->vnode == NULL)
        inode_unused(ip->fs, ip);
    machine_unlock(&ip->fs->hash_lock);
}

int ext2_inode_trim(struct ext2_fs *fs, uint32_t most)
{
    int error = 0;
    machine_lock(&fs->hash_lock);
    while (fs->lru_count > most) {
        int one = inode_end(fs, fs->lru_first);
        error = one != 0 ? one : error;
    }
    machine_unlock(&fs->hash_lock);
    return error;
}

bool ext2_inodes_used(struct ext2_fs *fs, uint32_t allowed)
{
    bool used = false;
    machine_lock(&fs->hash_lock);
    for (uint32_t i = 0; i < EXT2_HASH; i++)
        for (struct ext2_inode *ip = fs->hash[i]; ip != NULL; ip = ip->hash_next)
            used = used || ip->busy ||
                   (!ip->on_lru && (&ip->inode != fs->mount.root || ip->inode.refs > allowed));
    machine_unlock(&fs->hash_lock);
    return used;
}

void ext2_inodes_free(struct ext2_fs *fs)
{
    for (struct ext2_inode *ip = fs->unused, *next; ip != NULL; ip = next) {
        next = ip->hash_next;
        kfree(ip);
    }
}

/* ---- found --------------------------------------------------------------------------------------------- */

/* *ip: the inode, busy if it is new, with a reference; *fresh: it is new. (H), released in between. */
static int inode_get_locked(struct ext2_fs *fs, uint64_t ino, struct ext2_inode **ip, bool *fresh)
    FL_REQUIRES(fs->hash_lock)
{
    struct ext2_inode *found, *memory = NULL;
    *fresh = false;
    for (;;) {
        while ((found = hash_find(fs, ino)) != NULL && found->busy)
            (void)machine_wait(found, &fs->hash_lock, UINT64_MAX);
        if (found != NULL || memory != NULL)
            break;
        memory = inode_memory(fs); /* it may have let (H) go: look again */
        if (memory == NULL)
            return -ENOMEM;
    }
    if (found == NULL) {
        *fresh = true;
        found = memory;
        found->inode.mount = &fs->mount;
        found->inode.ino = ino;
        found->busy = true;
        found->inode.refs = 1;
        hash_add(found);
    } else {
        lru_remove(found);
        inode_get(&found->inode);
        if (memory != NULL) {
            memory->hash_next = fs->unused;
            fs->unused = memory;
        }
    }
    *ip = found;
    return 0;
}

/* A new inode was read, or could not be. */
static void inode_ready(struct ext2_inode *ip, int error)
{
    struct ext2_fs *fs = ip->fs;
    machine_lock(&fs->hash_lock);
    if (error == 0) {
        ip->busy = false;
        machine_wake(ip);
    } else {
        ip->inode.refs = 0;
        inode_free(ip);
    }
    machine_unlock(&fs->hash_lock);
}

int ext2_iget(struct ext2_fs *fs, uint32_t ino, struct ext2_inode **ip)
{
    bool fresh;
    if ((ino != EXT2_ROOT_INO && ino < fs->first_ino) || ino > fs->sb.s_inodes_count) {
        sleep_lock(&fs->meta);
        int wrong = ext2_error(fs, "a directory names an inode that no file can have");
        sleep_unlock(&fs->meta);
        return wrong;
    }
    machine_lock(&fs->hash_lock);
    int error = inode_get_locked(fs, ino, ip, &fresh);
    machine_unlock(&fs->hash_lock);
    if (error != 0 || !fresh)
        return error;
    error = inode_load(*ip);
    inode_ready(*ip, error);
    return error;
}

/* ip gets an inode of the disk, all new. */
static int inode_init(struct ext2_inode *ip, uint32_t mode) FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    struct ext2_buf *buf;
    struct ext2_dinode *d;
    int64_t now = wall_time_ns();
    ext2_assert_meta(fs);
    int error = ext2_iread(fs, (uint32_t)ip->inode.ino, &buf, &d);
    if (error != 0)
        return error;
    __builtin_memset(d, 0, fs->inode_bytes);
    ext2_bdirty(fs, buf);
    ext2_brelse(buf);
    ip->inode.ops = ext2_ops(mode);
    ip->inode.mode = mode;
    ip->inode.nlink = 1;
    ip->inode.atime_ns = ip->inode.mtime_ns = ip->inode.ctime_ns = now;
    ip->d.i_generation = fs->generation++;
    attributes_to_disk(ip);
    return ext2_iupdate(ip);
}

/* The inode was taken from the bitmap for nothing. */
static void inode_untake(struct ext2_fs *fs, uint32_t ino, bool directory)
{
    sleep_lock(&fs->meta);
    if (ext2_free_inode(fs, ino, directory) != 0)
        machine_log("ext2: an inode stays allocated for nothing");
    sleep_unlock(&fs->meta);
}

int ext2_inew(struct ext2_inode *parent, uint32_t mode, struct ext2_inode **ip)
{
    struct ext2_fs *fs = parent->fs;
    bool fresh = false;
    uint32_t ino;
    sleep_lock(&fs->meta);
    int error = ext2_alloc_inode(fs, (uint32_t)parent->inode.ino, S_ISDIR(mode), &ino);
    sleep_unlock(&fs->meta);
    if (error != 0)
        return error;
    machine_lock(&fs->hash_lock);
    error = inode_get_locked(fs, ino, ip, &fresh);
    machine_unlock(&fs->hash_lock);
    if (error == 0 && !fresh) { /* the bitmap says free, and the inode is in use */
        inode_put(&(*ip)->inode);
        sleep_lock(&fs->meta);
        error = ext2_error(fs, "an inode in use is free");
        sleep_unlock(&fs->meta);
        return error;
    }
    if (error != 0) {
        inode_untake(fs, ino, S_ISDIR(mode));
        return error;
    }
    sleep_lock(&fs->meta);
    ext2_assert_meta((*ip)->fs);
    error = inode_init(*ip, mode);
    sleep_unlock(&fs->meta);
    inode_ready(*ip, error);
    if (error != 0)
        inode_untake(fs, ino, S_ISDIR(mode));
    return error;
}

/* ---- the vnode ----------------------------------------------------------------------------------------- */

/* *vnode: the file's, opened by a new store, with a reference. Errors: -ENOMEM … */
static int vnode_open(struct ext2_inode *ip, struct vnode **vnode)
{
    struct ext2_fs *fs = ip->fs;
    struct store *store = ext2_store_create(ip);
    if (store == NULL)
        return -ENOMEM;
    machine_lock(&fs->hash_lock);
    ip->stores++;
    machine_unlock(&fs->hash_lock);
    int error = fl_vnode_open(store, vnode);
    if (error != 0)
        store->ops->close(store);
    return error;
}

int ext2_vnode(struct inode *inode, struct vnode **vnode)
{
    struct ext2_inode *ip = ext2_i(inode);
    struct ext2_fs *fs = ip->fs;
    struct vnode *opened = NULL;
    machine_lock(&fs->hash_lock);
    if (ip->vnode == NULL) {
        machine_unlock(&fs->hash_lock);
        int error = vnode_open(ip, &opened);
        if (error == -ENOMEM) { /* perhaps the unused inodes have it */
            (void)!ext2_inode_trim(fs, 0);
            error = vnode_open(ip, &opened);
        }
        if (error != 0)
            return error;
        machine_lock(&fs->hash_lock);
    }
    if (ip->vnode == NULL) {
        ip->vnode = opened;
        opened = NULL;
    }
    fl_vnode_ref(ip->vnode);
    *vnode = ip->vnode;
    machine_unlock(&fs->hash_lock);
    /* Another thread has opened it, too: it is the same vnode. */
    return opened != NULL ? fl_vnode_close(opened) : 0;
}

/* ---- sync ---------------------------------------------------------------------------------------------- */

/* An inode of the bucket that is open or mapped and that the pass has not seen, with a reference. NULL: there
 * is none. */
static struct ext2_inode *sync_next(struct ext2_fs *fs, uint32_t bucket) FL_REQUIRES(fs->hash_lock)
{
    struct ext2_inode *ip = fs->hash[bucket];
    while (ip != NULL && (ip->busy || ip->stores == 0 || ip->sync_pass == fs->sync_pass))
        ip = ip->hash_next;
    if (ip != NULL) {
        ip->sync_pass = fs->sync_pass;
        lru_remove(ip);
        inode_get(&ip->inode);
    }
    return ip;
}

static int inode_sync(struct ext2_inode *ip)
{
    struct vnode *vnode;
    int error = ext2_vnode(&ip->inode, &vnode);
    if (error != 0)
        return error;
    error = fl_vnode_sync(vnode, 0, UINT64_MAX);
    sleep_lock(&ip->fs->meta);
    int settle = ip->fs->mount.read_only ? 0 : ext2_settle(ip);
    sleep_unlock(&ip->fs->meta);
    int close = fl_vnode_close(vnode);
    return error != 0 ? error : settle != 0 ? settle : close;
}

int ext2_inodes_sync(struct ext2_fs *fs)
{
    struct ext2_inode *ip;
    int error = 0;
    machine_lock(&fs->hash_lock);
    fs->sync_pass++;
    for (uint32_t i = 0; i < EXT2_HASH; i++)
        while ((ip = sync_next(fs, i)) != NULL) {
            machine_unlock(&fs->hash_lock);
            int one = inode_sync(ip);
            error = error != 0 ? error : one;
            inode_put(&ip->inode);
            machine_lock(&fs->hash_lock);
        }
    machine_unlock(&fs->hash_lock);
    return error;
}
