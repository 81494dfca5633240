/*
 * mount.c: which file systems there are, and which directories they cover.
 */
#include "fs/mount.h"

#include "fs/file.h"
#include "fs/namecache.h"
#include "kmem.h"
#include "string.h"

#include <linux/errno.h>
#include <linux/stat.h>

struct mount *root_mount;
struct sleep_lock mount_lock;
static struct machine_lock covered_lock; /* while a walk goes from a covered directory to the mount's root */

uint64_t mount_anonymous_dev(void)
{
    static _Atomic uint64_t last;

    return atomic_fetch_add(&last, 1) + 1; /* major 0 (get_anon_bdev, Linux) */
}

static struct mount *covered_load(struct inode *inode)
{
    return __atomic_load_n(&inode->covered, __ATOMIC_ACQUIRE);
}

/* The directory leads to itself, or to the mount again. */
static void mount_cover(struct inode *on, struct mount *mount)
{
    machine_lock(&covered_lock);
    __atomic_store_n(&on->covered, mount, __ATOMIC_RELEASE);
    machine_unlock(&covered_lock);
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
            mount_cover(on, mount);
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

/* Ends the file system. Its root is in use by nobody, or this fails. mount_lock. */
static int mount_end(struct mount *mount)
{
    /* Who is on the way to it has a reference to the root by now, or finds it no more. */
    if (atomic_load(&mount->root->refs) > 1)
        return -EBUSY;
    return mount->unmount != NULL ? mount->unmount(mount) : mount->sync != NULL ? mount->sync(mount) : 0;
}

/* mount_lock. *on: what it covered, with the mount's reference, if it does no more. */
static int mount_detach(struct mount *mount, struct inode **on)
{
    struct mount **link = &root_mount, *next = mount->next;
    struct inode *covered = mount->on;

    namecache_purge_mount(mount);
    if (covered == NULL || mount_has_mounts(mount))
        return -EBUSY;
    mount_cover(covered, NULL);
    while (*link != mount)
        link = &(*link)->next;
    int error = mount_end(mount);
    if (error == -EBUSY) {
        mount_cover(covered, mount);
        return error;
    }
    *link = next; /* the mount may be freed by now, also if its last writes have failed */
    *on = covered;
    return error;
}

int mount_remove(struct inode *root)
{
    struct mount *mount = root->mount;
    struct inode *on = NULL;
    int error = -EINVAL;

    sleep_lock(&mount_lock);
    bool is_root = root == mount->root;
    inode_put(root);
    if (is_root)
        error = mount_detach(mount, &on);
    sleep_unlock(&mount_lock);
    if (on != NULL)
        inode_put(on);
    return error;
}

struct inode *mount_cross(struct inode *inode)
{
    struct mount *mount;

    while (covered_load(inode) != NULL) { /* mounts on mounts */
        struct inode *root = NULL;
        machine_lock(&covered_lock);
        mount = covered_load(inode);
        if (mount != NULL)
            root = inode_get(mount->root);
        machine_unlock(&covered_lock);
        if (root == NULL)
            break;
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
