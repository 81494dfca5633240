/*
 * namei.c: from a path to an inode.
 *
 *   walk_parent: for each name but the last ─▶ walk_step ─▶ lookup ─▶ the cache of names, or the file system
 *                                                │ a link: walk_link puts its target in front of the rest
 *                                                └ a directory: walk->dir
 *
 * Locks: (D) of one directory at a time, for its lookup only.
 */
#include "fs/namei.h"

#include "fs/mount.h"
#include "fs/namecache.h"
#include "lib/copy.h"
#include "kmem.h"
#include "string.h"
#include "proc/proc.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#define LINKS_MAX 40 /* in one walk (MAXSYMLINKS, Linux) */

/* ---- paths of programs --------------------------------------------------------------------------------- */

int pathname_copyin(struct pathname *pathname, uint64_t user, bool empty)
{
    pathname->path = pathname->fast;
    int64_t n = copyinstr(user, pathname->path, sizeof(pathname->fast));
    if (n == -ENAMETOOLONG) {
        pathname->path = kmalloc(PATH_LEN_MAX);
        if (pathname->path == NULL)
            return -ENOMEM;
        n = copyinstr(user, pathname->path, PATH_LEN_MAX);
    }
    if (n == 0 && !empty)
        n = -ENOENT;
    if (n < 0)
        pathname_free(pathname);
    return n < 0 ? (int)n : 0;
}

void pathname_free(struct pathname *pathname)
{
    if (pathname->path != pathname->fast)
        kfree(pathname->path);
}

/* ---- one name ------------------------------------------------------------------------------------------ */

int dir_lookup(struct inode *dir, const char *name, size_t len_bytes, struct inode **inode)
{
    *inode = namecache_lookup(dir, name, len_bytes);
    if (*inode != NULL)
        return 0;
    if (dir->ops->lookup == NULL)
        return -ENOTDIR;
    int error = dir->ops->lookup(dir, name, len_bytes, inode);
    if (error == 0)
        namecache_enter(dir, name, len_bytes, *inode);
    return error;
}

/* dir_lookup without (D) held. */
static int lookup(struct inode *dir, const char *name, size_t len_bytes, struct inode **inode)
{
    *inode = namecache_lookup(dir, name, len_bytes);
    if (*inode != NULL)
        return 0;
    sleep_lock(&dir->lock);
    int error = dir_lookup(dir, name, len_bytes, inode);
    sleep_unlock(&dir->lock);
    return error;
}

/* The directory above; above a mount's root, that of the directory which it covers. */
static int lookup_parent(struct walk *walk, struct inode **parent)
{
    struct inode *dir = inode_get(walk->dir), *on;
    char name[NAME_LEN_MAX + 1];
    int error = 0;

    while (dir != walk->root && mount_is_root(dir, &on) && on != NULL) {
        inode_put(dir);
        dir = on;
    }
    if (dir == walk->root || dir == root_mount->root) {
        *parent = dir;
        return 0;
    }
    if (namecache_name(dir, parent, name) != 0) {
        sleep_lock(&dir->lock);
        error = dir->ops->lookup != NULL ? dir->ops->lookup(dir, "..", 2, parent) : -ENOTDIR;
        sleep_unlock(&dir->lock);
    }
    inode_put(dir);
    return error;
}

static bool is_dot(const char *name, size_t len_bytes)
{
    return len_bytes == 1 && name[0] == '.';
}

static bool is_dotdot(const char *name, size_t len_bytes)
{
    return len_bytes == 2 && name[0] == '.' && name[1] == '.';
}

/* What the name in walk->dir leads to. */
static int walk_lookup(struct walk *walk, const char *name, size_t len_bytes, struct inode **inode)
{
    int error = 0;

    if (!S_ISDIR(walk->dir->mode))
        return -ENOTDIR;
    if (is_dot(name, len_bytes))
        *inode = inode_get(walk->dir);
    else if (is_dotdot(name, len_bytes))
        error = lookup_parent(walk, inode);
    else
        error = lookup(walk->dir, name, len_bytes, inode);
    if (error == 0)
        *inode = mount_cross(*inode);
    return error;
}

/* ---- the walk ------------------------------------------------------------------------------------------ */

int walk_start(struct walk *walk, int dirfd, const char *path)
{
    struct fs_context *fs = curproc()->fs;
    int error = 0;

    *walk = (struct walk){.rest = path, .root = fs_context_root(fs)};
    if (path[0] == '/')
        walk->dir = inode_get(walk->root);
    else
        error = fd_inode(dirfd, &walk->dir);
    if (error == -EINVAL || (error == 0 && !S_ISDIR(walk->dir->mode)))
        error = -ENOTDIR;
    return error;
}

void walk_end(struct walk *walk)
{
    if (walk->dir != NULL)
        inode_put(walk->dir);
    inode_put(walk->root);
    kfree(walk->link);
}

static void walk_set_dir(struct walk *walk, struct inode *dir)
{
    inode_put(walk->dir);
    walk->dir = dir;
}

int walk_link(struct walk *walk, struct inode *link)
{
    size_t rest_len = strlen(walk->rest);

    if (++walk->nlinks > LINKS_MAX)
        return -ELOOP;
    if (link->ops->readlink == NULL)
        return -EINVAL;
    char *path = kmalloc(PATH_LEN_MAX + rest_len + 2);
    if (path == NULL)
        return -ENOMEM;
    int n = link->ops->readlink(link, path, PATH_LEN_MAX);
    if (n <= 0) {
        kfree(path);
        return n < 0 ? n : -ENOENT;
    }
    if (walk->slash)
        path[n++] = '/';
    memcpy(path + n, walk->rest, rest_len + 1);
    kfree(walk->link);
    walk->link = path;
    walk->rest = path;
    if (path[0] == '/')
        walk_set_dir(walk, inode_get(walk->root));
    return 0;
}

/* The name is not the last: goes into the directory or the link. */
static int walk_step(struct walk *walk, const char *name, size_t len_bytes)
{
    struct inode *inode;
    int error = walk_lookup(walk, name, len_bytes, &inode);

    if (error != 0)
        return error;
    if (S_ISLNK(inode->mode)) {
        error = walk_link(walk, inode);
    } else if (S_ISDIR(inode->mode)) {
        walk_set_dir(walk, inode_get(inode));
    } else {
        error = -ENOTDIR;
    }
    inode_put(inode);
    return error;
}

static const char *skip_slashes(const char *path)
{
    while (*path == '/')
        path++;
    return path;
}

int walk_parent(struct walk *walk)
{
    for (;;) { /* each turn takes a name off the path; links that make it longer are counted */
        const char *name = skip_slashes(walk->rest);
        size_t len_bytes = 0;
        while (name[len_bytes] != 0 && name[len_bytes] != '/')
            len_bytes++;
        walk->rest = skip_slashes(name + len_bytes);
        walk->slash = name[len_bytes] == '/';
        if (len_bytes == 0) {
            walk->type = WALK_NOTHING;
            return 0;
        }
        if (len_bytes > NAME_LEN_MAX)
            return -ENAMETOOLONG;
        if (*walk->rest == 0) {
            walk->last = name;
            walk->last_len = len_bytes;
            walk->type = is_dot(name, len_bytes) || is_dotdot(name, len_bytes) ? WALK_DOT : WALK_NAME;
            return S_ISDIR(walk->dir->mode) ? 0 : -ENOTDIR;
        }
        int error = walk_step(walk, name, len_bytes);
        if (error != 0)
            return error;
    }
}

int walk_last(struct walk *walk, struct inode **inode)
{
    if (walk->type == WALK_NOTHING) {
        *inode = inode_get(walk->dir);
        return 0;
    }
    return walk_lookup(walk, walk->last, walk->last_len, inode);
}

/* ---- whole paths --------------------------------------------------------------------------------------- */

static int walk_to_end(struct walk *walk, bool follow, struct inode **inode)
{
    for (;;) { /* walk_link counts the turns */
        int error = walk_parent(walk);
        if (error == 0)
            error = walk_last(walk, inode);
        if (error != 0)
            return error;
        if (!S_ISLNK((*inode)->mode) || !(follow || walk->slash))
            break;
        error = walk_link(walk, *inode);
        inode_put(*inode);
        if (error != 0)
            return error;
    }
    if (walk->slash && !S_ISDIR((*inode)->mode)) {
        inode_put(*inode);
        return -ENOTDIR;
    }
    return 0;
}

int namei(int dirfd, const char *path, unsigned flags, struct inode **inode)
{
    struct walk walk;

    if (path[0] == 0)
        return flags & AT_EMPTY_PATH ? fd_inode(dirfd, inode) : -ENOENT;
    int error = walk_start(&walk, dirfd, path);
    if (error == 0)
        error = walk_to_end(&walk, !(flags & AT_SYMLINK_NOFOLLOW), inode);
    walk_end(&walk);
    return error;
}

int namei_user(int dirfd, uint64_t path, unsigned flags, struct inode **inode)
{
    struct pathname pathname;
    int error = pathname_copyin(&pathname, path, flags & AT_EMPTY_PATH);

    if (error != 0)
        return error;
    error = namei(dirfd, pathname.path, flags, inode);
    pathname_free(&pathname);
    return error;
}

int fd_inode(int fd, struct inode **inode)
{
    struct file *file;

    if (fd == AT_FDCWD) {
        *inode = fs_context_cwd(curproc()->fs);
        return 0;
    }
    int error = fget(fd, &file);
    if (error != 0)
        return error;
    if (file->inode != NULL)
        *inode = inode_get(file->inode);
    else
        error = -EINVAL;
    fput(file);
    return error;
}

/* ---- from an inode to its path ------------------------------------------------------------------------- */

/* A directory is searched for the name that leads to an inode. */
struct search {
    uint64_t ino;
    char *name;
    bool found;
};

static int search_emit(void *arg, const char *name, size_t len_bytes, uint64_t ino, unsigned type,
                       uint64_t next)
{
    struct search *search = arg;

    (void)type, (void)next;
    if (ino != search->ino || is_dot(name, len_bytes) || is_dotdot(name, len_bytes))
        return 0;
    memcpy(search->name, name, len_bytes);
    search->name[len_bytes] = 0;
    search->found = true;
    return -EEXIST; /* ends the readdir */
}

/* Parent and name of a directory that the cache does not know. Errors: -ENOENT, of the file system. */
static int directory_name(struct inode *inode, struct inode **dir, char *name)
{
    struct search search = {.ino = inode->ino, .name = name};
    uint64_t pos = 0;

    if (!S_ISDIR(inode->mode) || inode->nlink == 0)
        return -ENOENT;
    sleep_lock(&inode->lock);
    int error = inode->ops->lookup(inode, "..", 2, dir);
    sleep_unlock(&inode->lock);
    if (error != 0)
        return error;
    sleep_lock(&(*dir)->lock);
    error = (*dir)->ops->readdir(*dir, &pos, search_emit, &search);
    sleep_unlock(&(*dir)->lock);
    if (search.found)
        return 0;
    inode_put(*dir);
    return error != 0 ? error : -ENOENT;
}

/* Puts the names of the path in front of path[*start], which moves. Drops the reference to the inode. */
static int path_prepend(struct inode *inode, char *path, size_t *start)
{
    char name[NAME_LEN_MAX + 1];
    struct inode *on, *dir;
    int error = 0;

    while (error == 0) { /* each turn takes room, or leaves a mount */
        if (mount_is_root(inode, &on)) {
            if (on == NULL)
                break;
            inode_put(inode);
            inode = on;
            continue;
        }
        error = namecache_name(inode, &dir, name);
        if (error != 0)
            error = directory_name(inode, &dir, name);
        if (error != 0)
            break;
        inode_put(inode);
        inode = dir;
        size_t len_bytes = strlen(name);
        if (*start < len_bytes + 1) {
            error = -ERANGE;
            break;
        }
        *start -= len_bytes;
        memcpy(path + *start, name, len_bytes);
        path[--*start] = '/';
    }
    inode_put(inode);
    return error;
}

int inode_path(struct inode *inode, char *path, size_t max)
{
    size_t start = max - 1;

    if (max < 2)
        return -ERANGE;
    path[start] = 0;
    int error = path_prepend(inode_get(inode), path, &start);
    if (error != 0)
        return error;
    if (start == max - 1)
        path[--start] = '/';
    memmove(path, path + start, max - start);
    return 0;
}
