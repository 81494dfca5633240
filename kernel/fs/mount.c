/*
 * mount.c: which file systems there are, and which directories they cover.
 */
#include "fs/mount.h"

#include "fs/file.h"
#include "fs/namecache.h"
#include "kmem.h"
#include "lib/string.h"

#include <linux/errno.h>
#include <linux/stat.h>

struct mount *root_mount;
struct sleep_lock mount_lock;

uint64_t mount_anonymous_dev(void)
{
    static _Atomic uint64_t last;

    return atomic_fetch_add(&last, 1) + 1; /* major 0 (get_anon_bdev, Linux) */
}

static struct mount *covered_load(struct inode *inode)
{
    return __atomic_load_n(&inode->covered, __ATOMIC_ACQUIRE);
}

int mount_add(struct mount *mount, struct inode *on)
{
    struct mount **end = &root_mount;
    int error = 0;

    sleep_lock(&mount_lock);
    if (on == NULL ? root_mount != NULL : on->covered != NULL)
        error = -EBUSY;
    else if (on != NULL && !S_ISDIR(on->mode))
        error = -ENOTDIR;
    if (error == 0) {
        while (*end != NULL)
            end = &(*end)->next;
        mount->on = on != NULL ? inode_get(on) : NULL;
        mount->next = NULL;
        *end = mount;
        if (on != NULL)
            __atomic_store_n(&on->covered, mount, __ATOMIC_RELEASE);
    }
    sleep_unlock(&mount_lock);
    return error;
}

/* Whether a mount covers a directory of this one. mount_lock. */
static bool mount_has_mounts(const struct mount *mount)
{
    for (const struct mount *other = root_mount; other != NULL; other = other->next)
        if (other->on != NULL && other->on->mount == mount)
            return true;
    return false;
}

/* mount_lock. */
static int mount_detach(struct mount *mount)
{
    struct mount **link = &root_mount;

    namecache_purge_mount(mount);
    /* The mount's own reference, and the caller's. */
    if (mount->on == NULL || mount_has_mounts(mount) || atomic_load(&mount->root->refs) > 2)
        return -EBUSY;
    int error = mount->sync != NULL ? mount->sync(mount) : 0;
    if (error != 0)
        return error;
    while (*link != mount)
        link = &(*link)->next;
    *link = mount->next;
    __atomic_store_n(&mount->on->covered, NULL, __ATOMIC_RELEASE);
    return 0;
}

int mount_remove(struct inode *root)
{
    struct mount *mount = root->mount;

    if (root != mount->root)
        return -EINVAL;
    sleep_lock(&mount_lock);
    int error = mount_detach(mount);
    sleep_unlock(&mount_lock);
    /* The mount itself stays in memory: an inode of it may still be open, and leads to it. */
    if (error == 0)
        inode_put(mount->on);
    return error;
}

struct inode *mount_cross(struct inode *inode)
{
    struct mount *mount;

    while ((mount = covered_load(inode)) != NULL) { /* mounts on mounts */
        struct inode *root = inode_get(mount->root);
        inode_put(inode);
        inode = root;
    }
    return inode;
}

bool mount_is_root(struct inode *inode, struct inode **on)
{
    struct mount *mount = inode->mount;

    if (inode != mount->root)
        return false;
    *on = mount->on != NULL ? inode_get(mount->on) : NULL;
    return true;
}

int mount_each(int (*each)(struct mount *mount, void *arg), void *arg)
{
    int result = 0;

    sleep_lock(&mount_lock);
    for (struct mount *mount = root_mount; mount != NULL && result == 0; mount = mount->next)
        result = each(mount, arg);
    sleep_unlock(&mount_lock);
    return result;
}
