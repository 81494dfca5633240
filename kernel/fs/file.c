/*
 * file.c: an open file, from its creation to the last reference.
 *
 *   file_create ─▶ (open.c sets ops, inode, vnode) ─▶ descriptors, system calls ─▶ fput ─▶ ops->close
 *                                                                                       locks, vnode, inode
 *
 * A file's number of references counts descriptors, mappings do not: they have the vnode.
 */
#include "fs/file.h"

#include "fs/lockf.h"
#include "kmem.h"

#include <linux/errno.h>

int file_create(const struct file_ops *ops, unsigned flags, struct file **file)
{
    struct file *fresh = kmalloc(sizeof(*fresh));

    *file = fresh;
    if (fresh == NULL)
        return -ENOMEM;
    fresh->ops = ops;
    fresh->refs = 1;
    fresh->flags = flags;
    return 0;
}

static void file_destroy(struct file *file)
{
    lockf_release_file(file);
    if (file->ops != NULL && file->ops->close != NULL)
        file->ops->close(file);
    /* close(2) tells of errors that are known by then; those of this last write-back go to whoever opens the
     * file next, by the vnode's or the disk's own state. */
    if (file->vnode != NULL)
        (void)!fl_vnode_close(file->vnode);
    if (file->inode != NULL)
        inode_put(file->inode);
    kfree(file);
}

void fput(struct file *file)
{
    if (atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) == 1)
        file_destroy(file);
}

int64_t kernel_read(struct file *file, void *buffer, size_t len_bytes, uint64_t offset)
{
    size_t done = 0;

    if (file->ops->read == NULL)
        return -EINVAL;
    while (done < len_bytes) {
        struct fl_iovec piece = {(char *)buffer + done, len_bytes - done};
        int64_t n = file->ops->read(file, &piece, 1, &offset);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int64_t)done;
}
