/*
 * inode.c: what all file systems share: the sleep lock, the end of a reference to an inode, and the way from
 * a vnode to its inode.
 *
 *   vnode ─hash─▶ inode ─next_listed─▶ inode …        of the files that were opened since they are in memory
 */
#include "fs/inode.h"

#include "kmem.h"

#define VNODE_BUCKETS 512

static struct machine_lock vnodes_lock;
static struct inode *vnodes[VNODE_BUCKETS]; /* (VL) */

/* The analysis does not know that `owner` is the lock. */
FL_NO_THREAD_SAFETY_ANALYSIS void sleep_lock(struct sleep_lock *lock)
{
    uint64_t self = machine_self();
    machine_lock(&lock->lock);
    if (lock->owner == self)
        machine_panic("a sleep lock is taken twice");
    while (lock->owner != 0)
        (void)machine_wait(lock, &lock->lock, UINT64_MAX);
    lock->owner = self;
    machine_unlock(&lock->lock);
}

FL_NO_THREAD_SAFETY_ANALYSIS void sleep_unlock(struct sleep_lock *lock)
{
    machine_lock(&lock->lock);
    if (lock->owner != machine_self())
        machine_panic("a sleep lock is released by who has not got it");
    lock->owner = 0;
    machine_unlock(&lock->lock);
    machine_wake(lock);
}

void inode_put(struct inode *inode)
{
    uint32_t refs = atomic_fetch_sub(&inode->refs, 1);
    if (refs == 0)
        machine_panic("an inode has lost more references than it had");
    if (refs == 1)
        inode->ops->release(inode);
}

/* ---- from a vnode to its inode ------------------------------------------------------------------------- */

static struct inode **vnode_bucket(const struct vnode *vnode)
{
    return &vnodes[((uint32_t)((uint64_t)vnode >> 4) * 2654435761u) >> 16 & (VNODE_BUCKETS - 1)];
}

static void unlist(struct inode *inode) FL_REQUIRES(vnodes_lock)
{
    struct inode **link;

    if (inode->listed == NULL)
        return;
    link = vnode_bucket(inode->listed);
    while (*link != inode)
        link = &(*link)->next_listed;
    *link = inode->next_listed;
    inode->listed = NULL;
}

void inode_list_vnode(struct inode *inode, const struct vnode *vnode)
{
    struct inode **bucket = vnode_bucket(vnode);

    if (__atomic_load_n(&inode->listed, __ATOMIC_RELAXED) == vnode)
        return;
    machine_lock(&vnodes_lock);
    unlist(inode);
    inode->listed = vnode;
    inode->next_listed = *bucket;
    *bucket = inode;
    machine_unlock(&vnodes_lock);
}

/* A reference to an inode that somebody uses; one that nobody uses may be about to end. */
static bool inode_try_get(struct inode *inode)
{
    uint32_t refs = atomic_load(&inode->refs);

    while (refs > 0)
        if (atomic_compare_exchange_weak(&inode->refs, &refs, refs + 1))
            return true;
    return false;
}

bool inode_find_vnode(const struct vnode *vnode, uint64_t *dev, uint64_t *ino, struct inode **inode)
{
    machine_lock(&vnodes_lock);
    struct inode *found = *vnode_bucket(vnode);
    while (found != NULL && found->listed != vnode)
        found = found->next_listed;
    if (found != NULL) {
        *dev = found->mount->dev;
        *ino = found->ino;
        *inode = inode_try_get(found) ? found : NULL;
    }
    machine_unlock(&vnodes_lock);
    return found != NULL;
}

void inode_end_common(struct inode *inode)
{
    machine_lock(&vnodes_lock);
    unlist(inode);
    machine_unlock(&vnodes_lock);
    kfree(inode->last_path);
    inode->last_path = NULL;
}
