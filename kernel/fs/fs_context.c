/*
 * fs_context.c: what paths start from: the root, the working directory, and the mask of new files.
 *
 * Locks: (FC) fs_context->lock, a leaf. References are dropped after it is released.
 */
#include "fs/mount.h"
#include "fs/namei.h"
#include "kmem.h"

struct fs_context {
    struct machine_lock lock;
    _Atomic uint32_t refs;
    struct inode *root, *cwd; /* (FC) with references; NULL: the root of all */
    uint32_t umask;           /* (FC) */
};

struct fs_context *fs_context_create(void)
{
    struct fs_context *fs = kmalloc(sizeof(*fs));

    if (fs == NULL)
        return NULL;
    fs->refs = 1;
    fs->umask = 022;
    return fs;
}

struct fs_context *fs_context_copy(struct fs_context *from)
{
    struct fs_context *fs = fs_context_create();

    if (fs == NULL)
        return NULL;
    machine_lock(&from->lock);
    fs->root = from->root != NULL ? inode_get(from->root) : NULL;
    fs->cwd = from->cwd != NULL ? inode_get(from->cwd) : NULL;
    fs->umask = from->umask;
    machine_unlock(&from->lock);
    return fs;
}

struct fs_context *fs_context_ref(struct fs_context *fs)
{
    atomic_fetch_add_explicit(&fs->refs, 1, memory_order_relaxed);
    return fs;
}

void fs_context_put(struct fs_context *fs)
{
    if (atomic_fetch_sub_explicit(&fs->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (fs->root != NULL)
        inode_put(fs->root);
    if (fs->cwd != NULL)
        inode_put(fs->cwd);
    kfree(fs);
}

/* The inode of one of the two fields, or the root of all. */
static struct inode *context_get(struct fs_context *fs, struct inode **field)
{
    machine_lock(&fs->lock);
    struct inode *inode = inode_get(*field != NULL ? *field : root_mount->root);
    machine_unlock(&fs->lock);
    return inode;
}

static void context_set(struct fs_context *fs, struct inode **field, struct inode *inode)
{
    machine_lock(&fs->lock);
    struct inode *before = *field;
    *field = inode_get(inode);
    machine_unlock(&fs->lock);
    if (before != NULL)
        inode_put(before);
}

struct inode *fs_context_root(struct fs_context *fs)
{
    return context_get(fs, &fs->root);
}

struct inode *fs_context_cwd(struct fs_context *fs)
{
    return context_get(fs, &fs->cwd);
}

void fs_context_set_root(struct fs_context *fs, struct inode *root)
{
    context_set(fs, &fs->root, root);
}

void fs_context_set_cwd(struct fs_context *fs, struct inode *cwd)
{
    context_set(fs, &fs->cwd, cwd);
}

uint32_t fs_context_umask(struct fs_context *fs)
{
    return fs->umask; /* one word; a change by another thread meanwhile comes before or after */
}

uint32_t fs_context_set_umask(struct fs_context *fs, uint32_t umask)
{
    machine_lock(&fs->lock);
    uint32_t before = fs->umask;
    fs->umask = umask & 0777;
    machine_unlock(&fs->lock);
    return before;
}
