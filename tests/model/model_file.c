/*
 * model_file.c: the model's files as read, write, truncate and the other
 * calls on files see them. See model.h.
 */
#include "model/model.h"
#include <errno.h>
#include <faultline/vm.h>
#include <stdlib.h>
#include <string.h>

#define PAGE DRIVER_PAGE

static struct model_file *file_of(struct driver *d, int handle)
{
    return &model_of(d)->file[driver_handles[handle].file];
}

static uint64_t sum(const struct fl_iovec *iov, unsigned niov)
{
    uint64_t len = 0;

    while (niov-- > 0)
        len += iov[niov].len_bytes;
    return len;
}

/* FL_IOCB_DIRECT wants whole blocks. 0, or -EINVAL. */
static int check_iocb(struct driver *d, uint64_t off, uint64_t len, unsigned flags)
{
    if (flags & ~(unsigned)(FL_IOCB_APPEND | FL_IOCB_DIRECT | FL_IOCB_DSYNC))
        return -EINVAL;
    return (flags & FL_IOCB_DIRECT) && (off | len) % model_of(d)->block != 0 ? -EINVAL : 0;
}

int64_t model_read(struct driver *d, int handle, const struct fl_iovec *iov, unsigned niov, uint64_t off,
                   unsigned flags)
{
    struct model_file *file = file_of(d, handle);
    uint64_t at = off, left;
    unsigned i;
    int error = driver_may_read(handle);

    if (error == 0)
        error = check_iocb(d, off, sum(iov, niov), flags);
    if (error != 0)
        return error;
    for (i = 0; i < niov && at < file->size; i++) {
        left = file->size - at < iov[i].len_bytes ? file->size - at : iov[i].len_bytes;
        memcpy(iov[i].base, file->bytes + at, left);
        at += left;
    }
    return (int64_t)(at - off);
}

/* The file became longer: bytes that were stored beyond its old end are not in it. */
static void grow(struct model_file *file, uint64_t size)
{
    if (size <= file->size)
        return;
    if (size / PAGE != file->size / PAGE)
        file->tail_stored = false;
    file->size = size;
}

int64_t model_write(struct driver *d, int handle, const struct fl_iovec *iov, unsigned niov, uint64_t off,
                    unsigned flags)
{
    struct model_file *file = file_of(d, handle);
    uint64_t len = sum(iov, niov), end, at, n;
    int error = driver_may_write(handle);

    if (flags & FL_IOCB_APPEND)
        off = file->size;
    if (error == 0)
        error = check_iocb(d, off, len, flags);
    if (error != 0 || len == 0)
        return error;
    if (off >= file->capacity)
        return -ENOSPC;
    end = off + len < file->capacity ? off + len : file->capacity;
    if (off > file->size && model_of(d)->bug != MODEL_BUG_STALE_TAIL)
        memset(file->bytes + file->size, 0, off - file->size);
    for (at = off; at < end; at += n, iov++) {
        n = end - at < iov->len_bytes ? end - at : iov->len_bytes;
        memcpy(file->bytes + at, iov->base, n);
    }
    if (model_of(d)->bug == MODEL_BUG_SHORT_WRITE && len > PAGE)
        file->bytes[end - 1] = (uint8_t)~file->bytes[end - 1];
    grow(file, end);
    return (int64_t)(end - off);
}

int model_truncate(struct driver *d, int handle, uint64_t len)
{
    if (!driver_handles[handle].write)
        return -EINVAL;
    if (len > file_of(d, handle)->capacity)
        return -ENOSPC;
    return model_set_size(d, driver_handles[handle].file, len);
}

/* Bytes [off, end) become zeros, up to the end of the file. */
static void punch(struct model_file *file, uint64_t off, uint64_t end)
{
    end = end < file->size ? end : file->size;
    if (off < end)
        memset(file->bytes + off, 0, end - off);
}

int model_punch(struct driver *d, int handle, uint64_t off, uint64_t len)
{
    int error = len == 0 || off + len < off ? -EINVAL : driver_may_write(handle);

    if (error != 0)
        return error;
    punch(file_of(d, handle), off, off + len);
    return 0;
}

int model_remove(struct model *model, struct model_page *page)
{
    if (page->locked || page->file < 0)
        return -EINVAL;
    if (!page->shared || !page->may_write)
        return -EACCES;
    punch(&model->file[page->file], page->pindex * PAGE, (page->pindex + 1) * PAGE);
    return 0;
}

int model_fsync(struct driver *d, int handle, unsigned flags)
{
    (void)d;
    (void)handle;
    return flags & ~(unsigned)FL_FSYNC_DATA ? -EINVAL : 0;
}

int model_sync_range(struct driver *d, int handle, uint64_t off, uint64_t len, unsigned flags)
{
    (void)d;
    (void)handle;
    return flags > 7 || off + len < off ? -EINVAL : 0;
}

int model_fadvise(struct driver *d, int handle, uint64_t off, uint64_t len, int advice)
{
    (void)d;
    (void)handle;
    (void)off;
    (void)len;
    return advice < FL_FADV_NORMAL || advice > FL_FADV_NOREUSE ? -EINVAL : 0;
}

uint64_t model_file_size(struct driver *d, int file)
{
    return model_of(d)->file[file].size;
}
