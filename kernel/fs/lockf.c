/*
 * lockf.c: locks of files: POSIX record locks, those of open file descriptions, and flock(2).
 *
 *   lockf_set ─▶ is another owner's lock in the way? ─ no ─▶ cut the owner's locks out of the range, add
 *                   │ yes: wait on the list ─▶ look again          this one, merge it with its neighbours
 *
 * A change of an owner's locks needs at most two locks of fresh memory: the new one, and one for a lock that
 * is cut in the middle. Both are allocated before anything changes.
 *
 * Deadlock: a wait of owner A for B is refused if B waits, over any number of others, for A. Each owner has
 * at most one wait that counts: a thread of a process that waits (EDEADLK is for POSIX locks alone, as on
 * Linux).
 */
#include "fs/lockf.h"

#include "kmem.h"
#include "proc/sleep.h"

#include <linux/errno.h>

#define LOCKF_BUCKETS 64

/* The locks of one inode, as long as there are some or someone waits. */
struct lockf_head {
    struct inode *inode;     /* with a reference */
    struct lockf *locks;     /* (LF) by start */
    uint32_t waiters;        /* (LF); the address is their channel */
    struct lockf_head *next; /* (LF) of the bucket */
};

/* A thread that waits; on its stack. */
struct lockf_wait {
    const void *owner, *holder; /* who waits for whom now */
    struct lockf_wait *next;
};

static struct machine_lock lockf_lock;
static struct lockf_head *bucket[LOCKF_BUCKETS] FL_GUARDED_BY(lockf_lock);
static struct lockf_wait *waits FL_GUARDED_BY(lockf_lock);
/* How many heads there are. Read without the lock by those who close files, of which most have no locks: a
 * file that has one was locked by a call that is over. */
static _Atomic uint32_t heads;

/* ---- heads, (LF) --------------------------------------------------------------------------------------- */

static struct lockf_head **head_link(const struct inode *inode) FL_REQUIRES(lockf_lock)
{
    struct lockf_head **link = &bucket[(uint64_t)inode / 64 % LOCKF_BUCKETS];

    while (*link != NULL && (*link)->inode != inode)
        link = &(*link)->next;
    return link;
}

static struct lockf_head *head_find(const struct inode *inode) FL_REQUIRES(lockf_lock)
{
    return *head_link(inode);
}

/* Errors: -ENOMEM. */
static int head_get(struct inode *inode, struct lockf_head **head) FL_REQUIRES(lockf_lock)
{
    struct lockf_head **link = head_link(inode);

    if (*link == NULL) {
        struct lockf_head *fresh = kmalloc(sizeof(*fresh));
        if (fresh == NULL)
            return -ENOMEM;
        fresh->inode = inode_get(inode);
        *link = fresh;
        atomic_fetch_add(&heads, 1);
    }
    *head = *link;
    return 0;
}

/* The head goes if nobody needs it. Returns the inode whose reference the caller drops after it unlocked, or
 * NULL. */
static struct inode *head_put(struct inode *inode) FL_REQUIRES(lockf_lock)
{
    struct lockf_head **link = head_link(inode), *head = *link;

    if (head == NULL || head->locks != NULL || head->waiters > 0)
        return NULL;
    *link = head->next;
    kfree(head);
    atomic_fetch_sub(&heads, 1);
    return inode;
}

static void inode_drop(struct inode *inode)
{
    if (inode != NULL)
        inode_put(inode);
}

/* ---- ranges, (LF) -------------------------------------------------------------------------------------- */

static bool overlaps(const struct lockf *a, const struct lockf *b)
{
    return a->kind == b->kind && a->start < b->end && b->start < a->end;
}

static bool same_owner(const struct lockf *a, const struct lockf *b)
{
    return a->kind == b->kind && a->owner == b->owner;
}

/* A lock of another owner in the way of `lock`; NULL: none. */
static struct lockf *conflict(struct lockf_head *head, const struct lockf *lock) FL_REQUIRES(lockf_lock)
{
    for (struct lockf *other = head != NULL ? head->locks : NULL; other != NULL; other = other->next)
        if (overlaps(other, lock) && !same_owner(other, lock) && (other->exclusive || lock->exclusive))
            return other;
    return NULL;
}

static void insert(struct lockf_head *head, struct lockf *lock) FL_REQUIRES(lockf_lock)
{
    struct lockf **link = &head->locks;

    while (*link != NULL && (*link)->start < lock->start)
        link = &(*link)->next;
    lock->next = *link;
    *link = lock;
}

/* Takes the range out of the owner's locks. *spare: for the rear of a lock that has the range in its middle;
 * NULL if it was used. */
static void cut(struct lockf_head *head, const struct lockf *range, struct lockf **spare)
    FL_REQUIRES(lockf_lock)
{
    struct lockf **link = &head->locks, *lock, *rear = NULL, *front = NULL;

    while ((lock = *link) != NULL) {
        if (!same_owner(lock, range) || !overlaps(lock, range)) {
            link = &lock->next;
        } else if (lock->start < range->start && lock->end > range->end) {
            rear = *spare;
            *spare = NULL;
            *rear = *lock;
            rear->start = range->end;
            lock->end = range->start;
            break; /* an owner's locks do not overlap: there is no other one in the range */
        } else if (lock->start < range->start) {
            lock->end = range->start;
            link = &lock->next;
        } else if (lock->end > range->end) {
            *link = lock->next; /* it moves in the order of starts */
            lock->start = range->end;
            front = lock;
        } else {
            *link = lock->next;
            kfree(lock);
        }
    }
    if (rear != NULL)
        insert(head, rear);
    if (front != NULL)
        insert(head, front);
}

/* The lock takes over neighbours of its owner that touch it and are like it. */
static void merge(struct lockf_head *head, struct lockf *lock) FL_REQUIRES(lockf_lock)
{
    struct lockf **link = &head->locks, *other;

    while ((other = *link) != NULL) {
        if (other == lock || !same_owner(other, lock) || other->exclusive != lock->exclusive ||
            (other->end != lock->start && other->start != lock->end)) {
            link = &other->next;
            continue;
        }
        lock->start = other->start < lock->start ? other->start : lock->start;
        lock->end = other->end > lock->end ? other->end : lock->end;
        *link = other->next;
        kfree(other);
    }
}

/* ---- waiting, (LF) ------------------------------------------------------------------------------------- */

/* Whether `holder` waits for `owner`, over others. A circle would have been refused, so the walk ends. */
static bool waits_for(const void *holder, const void *owner) FL_REQUIRES(lockf_lock)
{
    const struct lockf_wait *wait = waits;

    while (wait != NULL && holder != owner) {
        if (wait->owner != holder) {
            wait = wait->next;
        } else {
            holder = wait->holder;
            wait = waits;
        }
    }
    return holder == owner;
}

/* Sleeps until the locks of the inode have changed. Errors: -EDEADLK, -ERESTART. (LF), released meanwhile. */
static int wait_for(struct lockf_head *head, const struct lockf *lock, const struct lockf *other)
    FL_REQUIRES(lockf_lock)
{
    struct lockf_wait wait = {.owner = lock->owner, .holder = other->owner}, **link;
    /* The owner of a POSIX lock is a process; of others it is an open file, which waits for nothing. */
    bool counts = lock->kind == LOCKF_RECORD && lock->pid >= 0;

    if (counts && waits_for(other->owner, lock->owner))
        return -EDEADLK;
    if (counts) {
        wait.next = waits;
        waits = &wait;
    }
    head->waiters++;
    int error = sleep_interruptible(&head->waiters, &lockf_lock, UINT64_MAX);
    head->waiters--;
    if (counts) {
        for (link = &waits; *link != &wait; link = &(*link)->next)
            ;
        *link = wait.next;
    }
    return error;
}

/* Waits until nothing is in the way. Errors: as wait_for; -EAGAIN. (LF), released meanwhile. */
static int wait_free(struct lockf_head *head, const struct lockf *lock, bool wait) FL_REQUIRES(lockf_lock)
{
    struct lockf *other;
    int error = 0;

    while (error == 0 && (other = conflict(head, lock)) != NULL)
        error = wait ? wait_for(head, lock, other) : -EAGAIN;
    return error;
}

/* ---- what lockf.h offers ------------------------------------------------------------------------------- */

/* Sets the lock, which becomes a part of the list, or is NULL: then the range is only cut out. Errors: as
 * wait_free; -ENOMEM; fresh is freed then. */
static int change(struct inode *inode, const struct lockf *range, struct lockf *fresh, bool wait)
{
    struct lockf *spare = kmalloc(sizeof(*spare));
    struct lockf_head *head;

    if (spare == NULL) {
        kfree(fresh);
        return -ENOMEM;
    }
    machine_lock(&lockf_lock);
    int error = head_get(inode, &head);
    if (error == 0 && fresh != NULL)
        error = wait_free(head, range, wait);
    if (error == 0) {
        cut(head, range, &spare);
        if (fresh != NULL) {
            insert(head, fresh);
            merge(head, fresh);
        }
        if (head->waiters > 0)
            machine_wake(&head->waiters);
    }
    struct inode *drop = head_put(inode);
    machine_unlock(&lockf_lock);
    inode_drop(drop);
    kfree(spare);
    if (error != 0)
        kfree(fresh);
    return error;
}

int lockf_set(struct inode *inode, const struct lockf *lock, bool wait)
{
    struct lockf *fresh = kmalloc(sizeof(*fresh));

    if (fresh == NULL)
        return -ENOMEM;
    *fresh = *lock;
    return change(inode, lock, fresh, wait);
}

int lockf_clear(struct inode *inode, const struct lockf *range)
{
    return change(inode, range, NULL, false);
}

bool lockf_test(struct inode *inode, struct lockf *lock)
{
    machine_lock(&lockf_lock);
    struct lockf *other = conflict(head_find(inode), lock);
    if (other != NULL)
        *lock = *other;
    machine_unlock(&lockf_lock);
    return other != NULL;
}

/* All locks of the owner on the inode end. */
static void release(struct inode *inode, const void *owner)
{
    struct lockf **link, *lock;

    machine_lock(&lockf_lock);
    struct lockf_head *head = head_find(inode);
    for (link = head != NULL ? &head->locks : NULL; link != NULL && (lock = *link) != NULL;) {
        if (lock->owner != owner) {
            link = &lock->next;
        } else {
            *link = lock->next;
            kfree(lock);
        }
    }
    if (head != NULL && head->waiters > 0)
        machine_wake(&head->waiters);
    struct inode *drop = head_put(inode);
    machine_unlock(&lockf_lock);
    inode_drop(drop);
}

void lockf_release_owner(struct file *file, const void *owner)
{
    if (file->inode != NULL && atomic_load(&heads) > 0)
        release(file->inode, owner);
}

void lockf_release_file(struct file *file)
{
    if (file->inode != NULL && atomic_load(&heads) > 0)
        release(file->inode, file);
}
