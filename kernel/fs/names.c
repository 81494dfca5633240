/*
 * names.c: changes of directories: names are made, removed, and moved.
 *
 *   walk_parent ─▶ (D) of the directory ─▶ dir_lookup: is the name there? ─▶ the file system's operation
 *                                                                         ─▶ the cache of names
 *
 * A rename takes the mount's rename lock first. So directories do not move while it looks whether a directory
 * would come to lie in itself.
 *
 * A file that loses its last name while it is in use remembers the path, which /proc shows
 * (inode->last_path).
 */
#include "fs/mount.h"
#include "fs/namecache.h"
#include "fs/namei.h"
#include "kmem.h"
#include "string.h"
#include "proc/proc.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

/* ---- making names -------------------------------------------------------------------------------------- */

/* Walks to the directory in which `path` can be made. On success (D) of walk->dir is held, and the name is
 * not there. walk_end follows in any case. */
static int create_lock(struct walk *walk, int dirfd, const char *path,
                       bool directory) FL_NO_THREAD_SAFETY_ANALYSIS /* keeps the lock */
{
    struct inode *inode;
    int error = walk_start(walk, dirfd, path);

    if (error == 0)
        error = walk_parent(walk);
    if (error != 0)
        return error;
    if (walk->type != WALK_NAME)
        return -EEXIST;
    sleep_lock(&walk->dir->lock);
    error = dir_lookup(walk->dir, walk->last, walk->last_len, &inode);
    if (error == 0) {
        inode_put(inode);
        error = -EEXIST;
    } else if (error == -ENOENT) {
        error = walk->slash && !directory ? -ENOENT : walk->dir->mount->read_only ? -EROFS : 0;
    }
    if (error != 0)
        sleep_unlock(&walk->dir->lock);
    return error;
}

/* The file is its maker's. */
static int inode_set_owner(struct inode *inode)
{
    struct proc *proc = curproc();
    int error = 0;

    if (proc->euid == 0 && proc->egid == 0)
        return 0;
    sleep_lock(&inode->lock);
    inode->uid = proc->euid;
    inode->gid = proc->egid;
    if (inode->ops->setattr != NULL)
        error = inode->ops->setattr(inode);
    sleep_unlock(&inode->lock);
    return error;
}

int dir_create(struct inode *dir, const char *name, size_t len_bytes, uint32_t mode, uint64_t rdev,
               struct inode **inode)
{
    if (dir->ops->create == NULL)
        return dir->mount->uncached ? -ENOENT : -EPERM; /* what Linux says of /proc */
    mode &= ~fs_context_umask(curproc()->fs) | S_IFMT | S_ISUID | S_ISGID | S_ISVTX;
    int error = dir->ops->create(dir, name, len_bytes, mode, rdev, inode);
    if (error != 0)
        return error;
    namecache_enter(dir, name, len_bytes, *inode);
    error = inode_set_owner(*inode);
    if (error != 0)
        inode_put(*inode);
    return error;
}

int name_create(int dirfd, const char *path, uint32_t mode, uint64_t rdev,
                struct inode **inode) FL_NO_THREAD_SAFETY_ANALYSIS /* create_lock */
{
    struct inode *fresh;
    struct walk walk;
    int error = create_lock(&walk, dirfd, path, S_ISDIR(mode));

    if (error == 0) {
        error = dir_create(walk.dir, walk.last, walk.last_len, mode, rdev, &fresh);
        sleep_unlock(&walk.dir->lock);
    }
    walk_end(&walk);
    if (error == 0 && inode != NULL)
        *inode = fresh;
    else if (error == 0)
        inode_put(fresh);
    return error;
}

/* No analysis: of create_lock. */
int name_symlink(const char *target, int dirfd, const char *path) FL_NO_THREAD_SAFETY_ANALYSIS
{
    struct walk walk;
    int error = create_lock(&walk, dirfd, path, false);

    if (error == 0) {
        error = walk.dir->ops->symlink != NULL
                    ? walk.dir->ops->symlink(walk.dir, walk.last, walk.last_len, target)
                    : -EPERM;
        sleep_unlock(&walk.dir->lock);
    }
    walk_end(&walk);
    return error;
}

int name_link(struct inode *inode, int dirfd, const char *path) FL_NO_THREAD_SAFETY_ANALYSIS /* create_lock */
{
    struct walk walk;
    int error = create_lock(&walk, dirfd, path, false);

    if (error == 0) {
        if (inode->mount != walk.dir->mount)
            error = -EXDEV;
        else if (S_ISDIR(inode->mode) || walk.dir->ops->link == NULL)
            error = -EPERM;
        else if (inode->nlink == 0)
            error = -ENOENT;
        else
            error = walk.dir->ops->link(walk.dir, walk.last, walk.last_len, inode);
        if (error == 0)
            namecache_enter(walk.dir, walk.last, walk.last_len, inode);
        sleep_unlock(&walk.dir->lock);
    }
    walk_end(&walk);
    return error;
}

/* ---- removing ------------------------------------------------------------------------------------------ */

/* The inode, to which the caller has a reference, has lost a name. No locks. Without memory: forgotten. */
static void remember_path(struct inode *dir, const char *name, size_t len_bytes, struct inode *inode)
{
    char *path, *none = NULL;

    if (inode->nlink > 0 || atomic_load(&inode->refs) == 1)
        return;
    char *whole = kmalloc(PATH_LEN_MAX);
    if (whole == NULL)
        return;
    size_t dir_len = inode_path(dir, whole, PATH_LEN_MAX) == 0 ? strlen(whole) : 0;
    if (dir_len == 1)
        dir_len = 0; /* of the root: its slash is the one before the name */
    path = kmalloc(dir_len + len_bytes + 2);
    if (path != NULL) {
        memcpy(path, whole, dir_len);
        path[dir_len] = '/';
        memcpy(path + dir_len + 1, name, len_bytes);
        path[dir_len + 1 + len_bytes] = 0;
        /* Two threads may remove two names of a file at a time: both may be the last one for them. */
        if (!__atomic_compare_exchange_n(&inode->last_path, &none, path, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
            kfree(path);
    }
    kfree(whole);
}

/* (D) of walk->dir. *inode: what was removed, with a reference; NULL: nothing was. */
static int unlink_locked(struct walk *walk, bool directory, struct inode **inode)
{
    struct inode *dir = walk->dir;
    int error = dir->mount->read_only ? -EROFS : dir_lookup(dir, walk->last, walk->last_len, inode);

    if (error != 0)
        return error;
    if (!S_ISDIR((*inode)->mode) && (directory || walk->slash))
        return -ENOTDIR;
    if (S_ISDIR((*inode)->mode) && !directory)
        return -EISDIR;
    if ((*inode)->covered != NULL)
        return -EBUSY;
    if (dir->ops->unlink == NULL)
        return -EPERM;
    error = dir->ops->unlink(dir, walk->last, walk->last_len, *inode);
    if (error == 0)
        namecache_purge(dir, walk->last, walk->last_len);
    return error;
}

/* Why a path that does not end in a name cannot be removed. */
static int unlink_last_error(const struct walk *walk, bool directory)
{
    if (!directory)
        return -EISDIR;
    if (walk->type == WALK_NOTHING)
        return -EBUSY;
    return walk->last_len == 1 ? -EINVAL : -ENOTEMPTY;
}

int name_unlink(int dirfd, const char *path, bool directory)
{
    struct inode *inode = NULL;
    struct walk walk;
    int error = walk_start(&walk, dirfd, path);

    if (error == 0)
        error = walk_parent(&walk);
    if (error == 0 && walk.type != WALK_NAME)
        error = unlink_last_error(&walk, directory);
    if (error == 0) {
        sleep_lock(&walk.dir->lock);
        error = unlink_locked(&walk, directory, &inode);
        sleep_unlock(&walk.dir->lock);
    }
    if (error == 0)
        remember_path(walk.dir, walk.last, walk.last_len, inode);
    walk_end(&walk);
    if (inode != NULL)
        inode_put(inode);
    return error;
}

/* ---- moving -------------------------------------------------------------------------------------------- */

/* What is to be moved, and what its new name leads to now. */
struct rename {
    struct walk from, to;
    struct inode *inode, *replaced; /* with references; NULL: none */
    bool noreplace;
};

/* *is: dir is `inode`, or lies below it. The mount's rename lock is held. Errors: of lookup. */
static int lies_below(struct inode *dir, const struct inode *inode, bool *is)
{
    struct inode *parent, *root = dir->mount->root;
    int error = 0;

    *is = false;
    dir = inode_get(dir);
    while (error == 0 && !(*is = dir == inode) && dir != root) { /* up to the root */
        sleep_lock(&dir->lock);
        error = dir->ops->lookup(dir, "..", 2, &parent);
        sleep_unlock(&dir->lock);
        if (error == 0) {
            inode_put(dir);
            dir = parent;
        }
    }
    inode_put(dir);
    return error;
}

/* Both directories in the order of their addresses. */
static void lock_two(struct inode *a, struct inode *b) FL_NO_THREAD_SAFETY_ANALYSIS /* one or two */
{
    if (a == b) {
        sleep_lock(&a->lock);
        return;
    }
    sleep_lock((uint64_t)a < (uint64_t)b ? &a->lock : &b->lock);
    sleep_lock((uint64_t)a < (uint64_t)b ? &b->lock : &a->lock);
}

static void unlock_two(struct inode *a, struct inode *b) FL_NO_THREAD_SAFETY_ANALYSIS /* one or two */
{
    sleep_unlock(&a->lock);
    if (a != b)
        sleep_unlock(&b->lock);
}

/* Looks at both names. (D) of both directories. */
static int rename_lookup(struct rename *r)
{
    int error = dir_lookup(r->from.dir, r->from.last, r->from.last_len, &r->inode);

    if (error != 0)
        return error;
    error = dir_lookup(r->to.dir, r->to.last, r->to.last_len, &r->replaced);
    return error == -ENOENT ? 0 : error;
}

static void rename_put(struct rename *r)
{
    if (r->inode != NULL)
        inode_put(r->inode);
    if (r->replaced != NULL)
        inode_put(r->replaced);
    r->inode = r->replaced = NULL;
}

/* Whether the one may take the other's name. */
static int rename_check(const struct rename *r)
{
    bool directory = S_ISDIR(r->inode->mode);

    if (r->replaced != NULL && r->noreplace)
        return -EEXIST;
    if (!directory && (r->from.slash || r->to.slash))
        return -ENOTDIR;
    if (r->replaced != NULL && directory && !S_ISDIR(r->replaced->mode))
        return -ENOTDIR;
    if (r->replaced != NULL && !directory && S_ISDIR(r->replaced->mode))
        return -EISDIR;
    if (r->inode->covered != NULL || (r->replaced != NULL && r->replaced->covered != NULL))
        return -EBUSY;
    return r->from.dir->ops->rename == NULL ? -EPERM : 0;
}

/* (D) of both directories; r->inode and r->replaced are what they show. */
static int rename_locked(struct rename *r)
{
    int error = rename_check(r);

    if (error != 0 || r->inode == r->replaced)
        return error;
    error = r->from.dir->ops->rename(r->from.dir, r->from.last, r->from.last_len, r->to.dir, r->to.last,
                                     r->to.last_len, r->inode, r->replaced);
    if (error != 0)
        return error;
    namecache_purge(r->from.dir, r->from.last, r->from.last_len);
    namecache_purge(r->to.dir, r->to.last, r->to.last_len);
    namecache_enter(r->to.dir, r->to.last, r->to.last_len, r->inode);
    return 0;
}

/*
 * The mount's rename lock is held, so whatever lies below a directory stays there. The names may change until
 * both directories are locked; then it is begun anew, after another thread's progress.
 */
static int rename_try(struct rename *r, bool *again)
{
    struct inode *from = r->from.dir, *to = r->to.dir;
    bool below = false, above = false;

    *again = false;
    lock_two(from, to);
    int error = rename_lookup(r);
    unlock_two(from, to);
    if (error == 0 && S_ISDIR(r->inode->mode))
        error = lies_below(to, r->inode, &below);
    if (error == 0 && r->replaced != NULL && r->replaced != r->inode)
        error = lies_below(from, r->replaced, &above);
    if (error == 0 && (below || above))
        error = below ? -EINVAL : r->noreplace ? -EEXIST : -ENOTEMPTY;
    if (error != 0)
        return error;
    struct inode *inode = r->inode, *replaced = r->replaced;
    struct rename now = *r;
    now.inode = now.replaced = NULL;
    lock_two(from, to);
    error = rename_lookup(&now);
    *again = error == 0 && (now.inode != inode || now.replaced != replaced);
    if (error == 0 && !*again)
        error = rename_locked(&now);
    unlock_two(from, to);
    rename_put(&now);
    if (error == 0 && !*again && replaced != NULL && replaced != inode)
        remember_path(to, r->to.last, r->to.last_len, replaced);
    return error;
}

static int rename_walked(struct rename *r)
{
    struct mount *mount = r->from.dir->mount;
    bool again;
    int error;

    if (mount != r->to.dir->mount)
        return -EXDEV;
    if (r->from.type != WALK_NAME || r->to.type != WALK_NAME)
        return r->noreplace && r->to.type != WALK_NAME ? -EEXIST : -EBUSY;
    if (mount->read_only)
        return -EROFS;
    sleep_lock(&mount->rename_lock);
    do {
        error = rename_try(r, &again);
        rename_put(r);
    } while (again);
    sleep_unlock(&mount->rename_lock);
    return error;
}

int name_rename(int from_dirfd, const char *from, int to_dirfd, const char *to, bool noreplace)
{
    struct rename r = {.noreplace = noreplace};
    int error = walk_start(&r.from, from_dirfd, from);

    if (error == 0)
        error = walk_parent(&r.from);
    if (error == 0) {
        error = walk_start(&r.to, to_dirfd, to);
        if (error == 0)
            error = walk_parent(&r.to);
        if (error == 0)
            error = rename_walked(&r);
        walk_end(&r.to);
    }
    walk_end(&r.from);
    return error;
}
