/*
 * inode.c: what all file systems share: the sleep lock, and the end of a reference to an inode.
 */
#include "fs/inode.h"

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
