/*
 * tmpfs.c: a file system in memory.
 *
 *   directory ─▶ tmpfs_dirent ─▶ tmpfs_dirent ─▶ …       in the order in which they were made
 *        └ bucket[hash] ─▶ tmpfs_dirent "name" ─▶ node
 *   node:  inode | vnode: a regular file's bytes | target: a link's | entries, parent: a directory's
 *
 * A regular file's bytes are anonymous memory of the VM (fl_vnode_anonymous): they are swapped out when
 * memory is short. Nodes, names and links lie in the kernel's heap.
 *
 * A node with a name has one reference for its names together. So inode_put meets zero only when the last
 * name and the last user are gone, and nothing can find the node any more: release frees it at once.
 *
 * Locks: (TM) tmpfs->lock, a leaf: which nodes there are. (D) of a directory guards its entries, and nlink of
 * itself; of another node, its own nlink. A directory that is removed is locked after its parent.
 */
#include "fs/tmpfs.h"

#include "fs/mount.h"
#include "kmem.h"
#include "string.h"
#include "proc/proc.h"

#include <asm/statfs.h>
#include <linux/errno.h>
#include <linux/magic.h>
#include <linux/stat.h>

#define BUCKETS_FIRST 8
#define FIRST_ENTRY   2  /* the position of the first entry behind "." and ".." */
#define DIRENT_SIZE   20 /* what an entry counts for in a directory's size, as on Linux */

struct tmpfs_node;

struct tmpfs_dirent {
    struct tmpfs_node *node; /* (D) of the directory, as all of it */
    struct tmpfs_dirent *same_hash;
    struct tmpfs_dirent *before, *behind; /* by position */
    uint64_t pos;
    uint32_t hash;
    uint32_t len_bytes;
    char name[];
};

struct tmpfs_node {
    struct inode inode;
    struct vnode *vnode;             /* (c) of a regular file */
    char *target;                    /* (c) of a link */
    struct tmpfs_node *next, **prev; /* (TM) all nodes of the mount */
    /* Of a directory, (D): */
    struct tmpfs_node *parent; /* without a reference, since who has entries is not removed; … */
    bool retired;              /* … with one, since this one was */
    struct tmpfs_dirent *first, *last;
    struct tmpfs_dirent **bucket;
    uint32_t nbuckets; /* a power of two */
    uint32_t nentries;
    uint64_t next_pos;
};

struct tmpfs {
    struct mount mount;
    struct machine_lock lock; /* (TM) */
    struct tmpfs_node *nodes; /* (TM) */
    uint64_t nnodes;          /* (TM) */
    uint64_t next_ino;        /* (TM) */
};

static const struct inode_ops tmpfs_dir_ops, tmpfs_file_ops, tmpfs_link_ops, tmpfs_device_ops;

static struct tmpfs_node *node_of(struct inode *inode)
{
    return (struct tmpfs_node *)inode;
}

static struct tmpfs *tmpfs_of(const struct inode *inode)
{
    return (struct tmpfs *)inode->mount->fs;
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

static const struct inode_ops *ops_for(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return &tmpfs_dir_ops;
    case S_IFREG:
        return &tmpfs_file_ops;
    case S_IFLNK:
        return &tmpfs_link_ops;
    default:
        return &tmpfs_device_ops;
    }
}

static void node_free(struct tmpfs_node *node)
{
    kfree(node->bucket);
    kfree(node->target);
    if (node->vnode != NULL)
        (void)!fl_vnode_close(node->vnode); /* its memory goes: nothing is written */
    kfree(node);
}

/* The node is one of the mount's, and gets its number. */
static void node_list(struct tmpfs *tmpfs, struct tmpfs_node *node)
{
    machine_lock(&tmpfs->lock);
    node->inode.ino = ++tmpfs->next_ino;
    node->next = tmpfs->nodes;
    node->prev = &tmpfs->nodes;
    if (node->next != NULL)
        node->next->prev = &node->next;
    tmpfs->nodes = node;
    tmpfs->nnodes++;
    machine_unlock(&tmpfs->lock);
}

static void node_unlist(struct tmpfs *tmpfs, struct tmpfs_node *node)
{
    machine_lock(&tmpfs->lock);
    *node->prev = node->next;
    if (node->next != NULL)
        node->next->prev = node->prev;
    tmpfs->nnodes--;
    machine_unlock(&tmpfs->lock);
}

/* A node without names, and with one reference. */
static int node_create(struct tmpfs *tmpfs, uint32_t mode, uint64_t rdev, struct tmpfs_node **node)
{
    struct tmpfs_node *fresh = kmalloc(sizeof(*fresh));
    int error = 0;

    if (fresh == NULL)
        return -ENOMEM;
    struct inode *inode = &fresh->inode;
    inode->ops = ops_for(mode);
    inode->mount = &tmpfs->mount;
    inode->rdev = rdev;
    inode->refs = 1;
    inode->mode = mode;
    inode->atime_ns = inode->mtime_ns = inode->ctime_ns = wall_time_ns();
    if (S_ISDIR(mode)) {
        fresh->next_pos = FIRST_ENTRY;
        fresh->nbuckets = BUCKETS_FIRST;
        fresh->bucket = kmalloc(BUCKETS_FIRST * sizeof(fresh->bucket[0]));
        error = fresh->bucket == NULL ? -ENOMEM : 0;
    } else if (S_ISREG(mode)) {
        error = fl_vnode_anonymous(0, &fresh->vnode);
    }
    if (error != 0) {
        fresh->vnode = NULL;
        node_free(fresh);
        return error;
    }
    node_list(tmpfs, fresh);
    *node = fresh;
    return 0;
}

/* A removed directory gives back its parent, which may go with it: a loop, since paths are deep. */
static void tmpfs_release(struct inode *inode)
{
    struct tmpfs_node *node = node_of(inode), *parent;

    do {
        parent = node->retired ? node->parent : NULL;
        node_unlist(tmpfs_of(&node->inode), node);
        node_free(node);
        node = parent;
    } while (parent != NULL && atomic_fetch_sub(&parent->inode.refs, 1) == 1);
}

/* A name more. The first one brings the reference of the names. (D) of the directory. */
static void node_link(struct tmpfs_node *node)
{
    if (node->inode.nlink++ == 0)
        (void)inode_get(&node->inode);
}

/* A name less. The caller has a reference of its own. */
static void node_unlink(struct tmpfs_node *node)
{
    node->inode.ctime_ns = wall_time_ns();
    if (--node->inode.nlink == 0)
        inode_put(&node->inode);
}

/* ---- entries, (D) of the directory --------------------------------------------------------------------- */

static uint32_t hash_name(const char *name, size_t len_bytes)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < len_bytes; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u; /* FNV-1a */
    return hash;
}

static struct tmpfs_dirent *dirent_find(struct tmpfs_node *dir, const char *name, size_t len_bytes)
{
    uint32_t hash = hash_name(name, len_bytes);
    struct tmpfs_dirent *entry = dir->bucket[hash & (dir->nbuckets - 1)];

    while (entry != NULL && !(entry->hash == hash && entry->len_bytes == len_bytes &&
                              memcmp(entry->name, name, len_bytes) == 0))
        entry = entry->same_hash;
    return entry;
}

static void dirent_hash(struct tmpfs_node *dir, struct tmpfs_dirent *entry)
{
    struct tmpfs_dirent **head = &dir->bucket[entry->hash & (dir->nbuckets - 1)];

    entry->same_hash = *head;
    *head = entry;
}

/* Twice as many buckets. Without memory the chains just become longer. */
static void buckets_grow(struct tmpfs_node *dir)
{
    uint32_t nbuckets = 2 * dir->nbuckets;
    struct tmpfs_dirent **bucket = kmalloc(nbuckets * sizeof(bucket[0]));

    if (bucket == NULL)
        return;
    kfree(dir->bucket);
    dir->bucket = bucket;
    dir->nbuckets = nbuckets;
    for (struct tmpfs_dirent *entry = dir->first; entry != NULL; entry = entry->behind)
        dirent_hash(dir, entry);
}

static void dir_changed(struct tmpfs_node *dir)
{
    dir->inode.mtime_ns = dir->inode.ctime_ns = wall_time_ns();
    dir->inode.size_bytes = (dir->nentries + 2) * DIRENT_SIZE;
}

/* The entry becomes the last one of the directory. */
static void dirent_insert(struct tmpfs_node *dir, struct tmpfs_dirent *entry)
{
    entry->pos = dir->next_pos++;
    entry->before = dir->last;
    entry->behind = NULL;
    *(dir->last != NULL ? &dir->last->behind : &dir->first) = entry;
    dir->last = entry;
    dirent_hash(dir, entry);
    if (++dir->nentries > 2 * dir->nbuckets)
        buckets_grow(dir);
    dir_changed(dir);
}

static void dirent_remove(struct tmpfs_node *dir, struct tmpfs_dirent *entry)
{
    struct tmpfs_dirent **link = &dir->bucket[entry->hash & (dir->nbuckets - 1)];

    while (*link != entry)
        link = &(*link)->same_hash;
    *link = entry->same_hash;
    *(entry->before != NULL ? &entry->before->behind : &dir->first) = entry->behind;
    *(entry->behind != NULL ? &entry->behind->before : &dir->last) = entry->before;
    dir->nentries--;
    dir_changed(dir);
}

static int dirent_create(const char *name, size_t len_bytes, struct tmpfs_node *node,
                         struct tmpfs_dirent **entry)
{
    struct tmpfs_dirent *fresh = kmalloc(sizeof(*fresh) + len_bytes);

    if (fresh == NULL)
        return -ENOSPC; /* as Linux says of a tmpfs */
    fresh->node = node;
    fresh->hash = hash_name(name, len_bytes);
    fresh->len_bytes = (uint32_t)len_bytes;
    memcpy(fresh->name, name, len_bytes);
    *entry = fresh;
    return 0;
}

/* ---- the operations of directories --------------------------------------------------------------------- */

static int tmpfs_lookup(struct inode *inode, const char *name, size_t len_bytes, struct inode **found)
{
    struct tmpfs_node *dir = node_of(inode);

    if (len_bytes == 2 && name[0] == '.' && name[1] == '.') {
        *found = inode_get(&dir->parent->inode);
        return 0;
    }
    struct tmpfs_dirent *entry = dirent_find(dir, name, len_bytes);
    if (entry == NULL)
        return -ENOENT;
    *found = inode_get(&entry->node->inode);
    return 0;
}

/* Gives the fresh node its name. On failure it is freed. */
static int dir_add(struct tmpfs_node *dir, const char *name, size_t len_bytes, struct tmpfs_node *node)
{
    struct tmpfs_dirent *entry;
    int error = dir->inode.nlink == 0 ? -ENOENT : dirent_create(name, len_bytes, node, &entry);

    if (error != 0) {
        inode_put(&node->inode);
        return error;
    }
    dirent_insert(dir, entry);
    node_link(node);
    if (S_ISDIR(node->inode.mode)) {
        node->parent = dir;
        node->inode.nlink++; /* its "." */
        dir->inode.nlink++;  /* its ".." */
        dir_changed(node);
    }
    return 0;
}

static int tmpfs_create(struct inode *dir, const char *name, size_t len_bytes, uint32_t mode, uint64_t rdev,
                        struct inode **inode)
{
    struct tmpfs_node *node;
    int error = node_create(tmpfs_of(dir), mode, rdev, &node);

    if (error == 0)
        error = dir_add(node_of(dir), name, len_bytes, node);
    if (error == 0)
        *inode = &node->inode;
    return error;
}

static int tmpfs_symlink(struct inode *dir, const char *name, size_t len_bytes, const char *target)
{
    struct tmpfs_node *node;
    size_t target_len = strlen(target);
    int error = node_create(tmpfs_of(dir), S_IFLNK | 0777, 0, &node);

    if (error != 0)
        return error;
    node->inode.size_bytes = target_len;
    node->target = kmalloc(target_len + 1);
    if (node->target == NULL) {
        inode_put(&node->inode);
        return -ENOSPC;
    }
    memcpy(node->target, target, target_len + 1);
    error = dir_add(node_of(dir), name, len_bytes, node);
    if (error == 0)
        inode_put(&node->inode); /* the name has its own */
    return error;
}

static int tmpfs_link(struct inode *dir, const char *name, size_t len_bytes, struct inode *inode)
{
    struct tmpfs_dirent *entry;
    int error =
        node_of(dir)->inode.nlink == 0 ? -ENOENT : dirent_create(name, len_bytes, node_of(inode), &entry);

    if (error != 0)
        return error;
    dirent_insert(node_of(dir), entry);
    sleep_lock(&inode->lock);
    node_link(node_of(inode));
    inode->ctime_ns = wall_time_ns();
    sleep_unlock(&inode->lock);
    return 0;
}

/* The directory's own "." and, in the parent, its ".." are gone. Errors: -ENOTEMPTY. (D) of dir. */
static int dir_retire(struct tmpfs_node *dir, struct tmpfs_node *node)
{
    int error = 0;

    sleep_lock(&node->inode.lock);
    if (node->nentries > 0) {
        error = -ENOTEMPTY;
    } else {
        node->inode.nlink--;
        node->retired = true;
        (void)inode_get(&node->parent->inode);
    }
    sleep_unlock(&node->inode.lock);
    if (error == 0)
        dir->inode.nlink--;
    return error;
}

/* The entry's node loses the name. */
static int entry_drop(struct tmpfs_node *dir, struct tmpfs_node *node)
{
    int error = S_ISDIR(node->inode.mode) ? dir_retire(dir, node) : 0;

    if (error != 0)
        return error;
    sleep_lock(&node->inode.lock);
    node_unlink(node);
    sleep_unlock(&node->inode.lock);
    return 0;
}

static int tmpfs_unlink(struct inode *inode, const char *name, size_t len_bytes, struct inode *victim)
{
    struct tmpfs_node *dir = node_of(inode);
    int error = entry_drop(dir, node_of(victim));

    if (error != 0)
        return error;
    struct tmpfs_dirent *entry = dirent_find(dir, name, len_bytes);
    dirent_remove(dir, entry);
    kfree(entry);
    return 0;
}

static int tmpfs_rename(struct inode *from_inode, const char *from, size_t from_len, struct inode *to_inode,
                        const char *to, size_t to_len, struct inode *inode, struct inode *replaced)
{
    struct tmpfs_node *from_dir = node_of(from_inode), *to_dir = node_of(to_inode);
    struct tmpfs_dirent *entry;

    if (inode == replaced) /* two names of one file: rename(2) does nothing */
        return 0;
    int error = to_inode->nlink == 0 ? -ENOENT : dirent_create(to, to_len, node_of(inode), &entry);

    if (error == 0 && replaced != NULL) {
        error = entry_drop(to_dir, node_of(replaced));
        if (error != 0)
            kfree(entry);
    }
    if (error != 0)
        return error;
    struct tmpfs_dirent *old = replaced != NULL ? dirent_find(to_dir, to, to_len) : NULL;
    if (old != NULL) {
        dirent_remove(to_dir, old);
        kfree(old);
    }
    old = dirent_find(from_dir, from, from_len);
    dirent_remove(from_dir, old);
    kfree(old);
    dirent_insert(to_dir, entry);
    if (S_ISDIR(inode->mode)) {
        from_inode->nlink--;
        to_inode->nlink++;
        node_of(inode)->parent = to_dir;
    }
    inode->ctime_ns = wall_time_ns();
    return 0;
}

/* "." and "..". */
static int readdir_dots(struct tmpfs_node *dir, uint64_t *pos, readdir_fn *emit, void *arg)
{
    int error = 0;

    if (*pos == 0) {
        error = emit(arg, ".", 1, dir->inode.ino, S_IFDIR >> 12, 1);
        *pos = error == 0 ? 1 : 0;
    }
    if (error == 0 && *pos == 1) {
        error = emit(arg, "..", 2, dir->parent->inode.ino, S_IFDIR >> 12, FIRST_ENTRY);
        *pos = error == 0 ? FIRST_ENTRY : 1;
    }
    return error;
}

static int tmpfs_readdir(struct inode *inode, uint64_t *pos, readdir_fn *emit, void *arg)
{
    struct tmpfs_node *dir = node_of(inode);
    int error = readdir_dots(dir, pos, emit, arg);

    for (struct tmpfs_dirent *entry = dir->first; entry != NULL && error == 0; entry = entry->behind) {
        if (entry->pos < *pos)
            continue;
        const struct inode *node = &entry->node->inode;
        error =
            emit(arg, entry->name, entry->len_bytes, node->ino, (node->mode & S_IFMT) >> 12, entry->pos + 1);
        if (error == 0)
            *pos = entry->pos + 1;
    }
    return error;
}

/* ---- of the other types -------------------------------------------------------------------------------- */

static int tmpfs_readlink(struct inode *inode, char *target, size_t max)
{
    size_t len_bytes = inode->size_bytes < max ? inode->size_bytes : max;

    memcpy(target, node_of(inode)->target, len_bytes);
    return (int)len_bytes;
}

static int tmpfs_vnode(struct inode *inode, struct vnode **vnode)
{
    *vnode = node_of(inode)->vnode;
    fl_vnode_ref(*vnode);
    return 0;
}

static const struct inode_ops tmpfs_dir_ops = {
    .lookup = tmpfs_lookup,
    .create = tmpfs_create,
    .symlink = tmpfs_symlink,
    .link = tmpfs_link,
    .unlink = tmpfs_unlink,
    .rename = tmpfs_rename,
    .readdir = tmpfs_readdir,
    .release = tmpfs_release,
};

static const struct inode_ops tmpfs_file_ops = {
    .vnode = tmpfs_vnode,
    .release = tmpfs_release,
};

static const struct inode_ops tmpfs_link_ops = {
    .readlink = tmpfs_readlink,
    .release = tmpfs_release,
};

static const struct inode_ops tmpfs_device_ops = {
    .release = tmpfs_release,
};

/* ---- the mount ----------------------------------------------------------------------------------------- */

/* Nothing limits it but memory and swap: so it is as large as these. */
static int tmpfs_statfs(struct mount *mount, void *statfs)
{
    struct statfs64 *st = statfs;
    struct fl_vm_stats vm;

    fl_vm_stats(&vm);
    memset(st, 0, sizeof(*st));
    st->f_type = TMPFS_MAGIC;
    st->f_bsize = st->f_frsize = VM_PAGE_SIZE;
    st->f_blocks = vm.nframes + vm.swap_pages;
    st->f_bfree = st->f_bavail = vm.free + vm.swap_free;
    st->f_files = vm.nframes;
    st->f_ffree = vm.nframes - ((struct tmpfs *)mount->fs)->nnodes; /* one word: then or now */
    st->f_namelen = NAME_LEN_MAX;
    return 0;
}

/* Whether someone has a node beside its names and, of the root, the mount. */
static bool tmpfs_busy(struct tmpfs *tmpfs)
{
    bool busy = false;

    machine_lock(&tmpfs->lock);
    for (struct tmpfs_node *node = tmpfs->nodes; node != NULL && !busy; node = node->next)
        busy = node->inode.nlink == 0 || atomic_load(&node->inode.refs) > 1;
    machine_unlock(&tmpfs->lock);
    return busy;
}

/* Nobody finds the way to the mount any more. */
static int tmpfs_unmount(struct mount *mount)
{
    struct tmpfs *tmpfs = mount->fs;

    if (tmpfs_busy(tmpfs))
        return -EBUSY;
    while (tmpfs->nodes != NULL) {
        struct tmpfs_node *node = tmpfs->nodes;
        node_unlist(tmpfs, node);
        while (node->first != NULL) {
            struct tmpfs_dirent *entry = node->first;
            node->first = entry->behind;
            kfree(entry);
        }
        node_free(node);
    }
    kfree(tmpfs);
    return 0;
}

int tmpfs_mount(const char *type, struct mount **mount)
{
    struct tmpfs *tmpfs = kmalloc(sizeof(*tmpfs));
    struct tmpfs_node *root;

    if (tmpfs == NULL)
        return -ENOMEM;
    tmpfs->mount.type = type;
    tmpfs->mount.dev = mount_anonymous_dev();
    tmpfs->mount.fs = tmpfs;
    tmpfs->mount.statfs = tmpfs_statfs;
    tmpfs->mount.unmount = tmpfs_unmount;
    int error = node_create(tmpfs, S_IFDIR | 0755, 0, &root);
    if (error != 0) {
        kfree(tmpfs);
        return error;
    }
    root->parent = root;
    root->inode.nlink = 2;
    dir_changed(root);
    tmpfs->mount.root = &root->inode;
    *mount = &tmpfs->mount;
    return 0;
}

int tmpfs_file(struct mount *mount, uint32_t mode, struct inode **inode)
{
    struct tmpfs_node *node;
    int error = node_create(mount->fs, S_IFREG | mode, 0, &node);

    if (error == 0)
        *inode = &node->inode;
    return error;
}
