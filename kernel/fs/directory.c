/*
 * directory.c: an open directory, which is read by getdents64(2).
 *
 *   readdir ─emit─▶ | ino, next, length, type, "name"\0 … | | … |    a page of the kernel's ─▶ the program
 *
 * The entries go through a page of the kernel's, since the program's memory is not touched with (D) held.
 */
#include "fs/directory.h"

#include "lib/copy.h"
#include "kmem.h"
#include "string.h"

#include <linux/errno.h>
#include <linux/stat.h>

#define DIRENTS_BYTES 4096 /* of one call at most */

/* The ABI's. */
struct linux_dirent64 {
    uint64_t d_ino;
    int64_t d_off;
    uint16_t d_reclen;
    uint8_t d_type;
    char d_name[];
};
#define DIRENT_NAME 19 /* where d_name lies */

struct dirents {
    char *bytes;
    size_t used, max;
};

static int dirents_emit(void *arg, const char *name, size_t len_bytes, uint64_t ino, unsigned type,
                        uint64_t next)
{
    struct dirents *dirents = arg;
    size_t reclen = (DIRENT_NAME + len_bytes + 1 + 7) & ~(size_t)7;
    struct linux_dirent64 *entry = (void *)(dirents->bytes + dirents->used);

    if (reclen > dirents->max - dirents->used)
        return -EINVAL; /* no room: told only if it is the first */
    entry->d_ino = ino;
    entry->d_off = (int64_t)next;
    entry->d_reclen = (uint16_t)reclen;
    entry->d_type = (uint8_t)type;
    memcpy(entry->d_name, name, len_bytes);
    memset(entry->d_name + len_bytes, 0, reclen - DIRENT_NAME - len_bytes);
    dirents->used += reclen;
    return 0;
}

/* file->lock. */
static int64_t getdents_locked(struct file *file, struct dirents *dirents, uint64_t buffer)
{
    struct inode *dir = file->inode;
    uint64_t pos = file->offset;
    int error = -ENOENT;

    sleep_lock(&dir->lock);
    if (dir->nlink > 0)
        error = dir->ops->readdir(dir, &pos, dirents_emit, dirents);
    sleep_unlock(&dir->lock);
    if (dirents->used == 0)
        return error;
    error = copyout(dirents->bytes, buffer, dirents->used);
    if (error != 0)
        return error;
    file->offset = pos;
    return (int64_t)dirents->used;
}

int64_t directory_getdents(struct file *file, uint64_t buffer, size_t len_bytes)
{
    if (file->ops != &directory_ops)
        return -ENOTDIR;
    struct dirents dirents = {.max = len_bytes < DIRENTS_BYTES ? len_bytes : DIRENTS_BYTES};
    dirents.bytes = kmalloc(DIRENTS_BYTES);
    if (dirents.bytes == NULL)
        return -ENOMEM;
    sleep_lock(&file->lock);
    int64_t result = getdents_locked(file, &dirents, buffer);
    sleep_unlock(&file->lock);
    kfree(dirents.bytes);
    return result;
}

static int64_t directory_read(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    (void)file, (void)iov, (void)niov, (void)offset;
    return -EISDIR;
}

const struct file_ops directory_ops = {
    .read = directory_read,
    .seekable = true,
    .type = S_IFDIR,
};
