/*
 * io_calls.c: the system calls that move bytes, and those that bring them to the disk.
 *
 *   sys_read … ─▶ fdget ─▶ file_move ─▶ the file's position, locked if others can have the file ─▶ file_ops
 *   sys_pread64 … ─▶ fdget ─▶ file_move_at ─────────────────────────────────────────────────────▶ file_ops
 */
#include "fs/fs_calls.h"

#include "fs/file.h"
#include "fs/regular.h"
#include "fs/uio.h"
#include "kmem.h"
#include "proc/proc.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>

#define RW_MAX         UINT64_C(0x7ffff000) /* bytes that one call moves at most (MAX_RW_COUNT) */
#define SENDFILE_BYTES 32768                /* through the kernel at a time */

/* A call's file, and whether it has a reference to it. */
struct call_file {
    struct file *file;
    bool referenced;
};

/* Errors: -EBADF: there is none, or it was not opened for this. */
static inline int call_file_get(struct call_file *call, uint64_t fd, bool writes)
{
    call->referenced = fdget((int)fd, &call->file);
    if (call->file == NULL)
        return -EBADF;
    unsigned flags = call->file->flags, wrong = writes ? O_RDONLY : O_WRONLY;
    if (__builtin_expect((flags & O_PATH) || (flags & O_ACCMODE) == wrong || (flags & O_ACCMODE) == O_ACCMODE,
                         0)) {
        fdput(call->file, call->referenced);
        return -EBADF;
    }
    return 0;
}

static inline int64_t file_move_at(struct file *file, bool writes, const struct fl_iovec *iov, uint32_t niov,
                                   uint64_t *offset, unsigned rwf)
{
    if (file->ops == &regular_ops)
        return writes ? regular_write(file, iov, niov, offset, rwf)
                      : regular_read(file, iov, niov, offset, rwf);
    int64_t (*move)(struct file *, const struct fl_iovec *, uint32_t, uint64_t *) =
        writes ? file->ops->write : file->ops->read;
    if (rwf != 0)
        return -EOPNOTSUPP;
    return move != NULL ? move(file, iov, niov, offset) : -EINVAL;
}

/* At the file's position. Nobody else moves it if this thread has the only way to the file. */
static inline int64_t file_move(const struct call_file *call, bool writes, const struct fl_iovec *iov,
                                uint32_t niov, unsigned rwf)
{
    struct file *file = call->file;

    if (!file->ops->seekable || (!call->referenced && file->refs == 1))
        return file_move_at(file, writes, iov, niov, &file->offset, rwf);
    sleep_lock(&file->lock);
    int64_t result = file_move_at(file, writes, iov, niov, &file->offset, rwf);
    sleep_unlock(&file->lock);
    return result;
}

/* ---- read, write --------------------------------------------------------------------------------------- */

static inline int64_t move_one(const uint64_t arg[6], bool writes)
{
    struct fl_iovec iov = {(void *)arg[1], arg[2] < RW_MAX ? arg[2] : RW_MAX};
    struct call_file call;
    int error = call_file_get(&call, arg[0], writes);

    if (error != 0)
        return error;
    int64_t result = arg[2] > INT64_MAX           ? -EINVAL
                     : user_range(arg[1], arg[2]) ? file_move(&call, writes, &iov, 1, 0)
                                                  : -EFAULT;
    fdput(call.file, call.referenced);
    return result;
}

int64_t sys_read(const uint64_t arg[6])
{
    return move_one(arg, false);
}

int64_t sys_write(const uint64_t arg[6])
{
    return move_one(arg, true);
}

/* offset -1: at the file's position. */
static int64_t move_many(const uint64_t arg[6], bool writes, bool at, unsigned rwf)
{
    struct iovecs iovecs;
    struct call_file call;
    uint64_t offset = arg[3];
    int error = call_file_get(&call, arg[0], writes);

    if (error != 0)
        return error;
    error = iovecs_copyin(&iovecs, arg[1], arg[2]);
    if (error == 0) {
        int64_t result;
        if (!at)
            result = file_move(&call, writes, iovecs.iov, iovecs.niov, rwf);
        else if (!call.file->ops->seekable)
            result = -ESPIPE;
        else
            result = file_move_at(call.file, writes, iovecs.iov, iovecs.niov, &offset, rwf);
        iovecs_free(&iovecs);
        fdput(call.file, call.referenced);
        return result;
    }
    fdput(call.file, call.referenced);
    return error;
}

int64_t sys_readv(const uint64_t arg[6])
{
    return move_many(arg, false, false, 0);
}

int64_t sys_writev(const uint64_t arg[6])
{
    return move_many(arg, true, false, 0);
}

int64_t sys_preadv(const uint64_t arg[6])
{
    return (int64_t)arg[3] < 0 ? -EINVAL : move_many(arg, false, true, 0);
}

int64_t sys_pwritev(const uint64_t arg[6])
{
    return (int64_t)arg[3] < 0 ? -EINVAL : move_many(arg, true, true, 0);
}

static int64_t move_many_flags(const uint64_t arg[6], bool writes)
{
    unsigned rwf = (unsigned)arg[5];

    if (rwf & ~(unsigned)(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND))
        return -EOPNOTSUPP;
    if ((int64_t)arg[3] < -1)
        return -EINVAL;
    return move_many(arg, writes, arg[3] != UINT64_MAX, rwf & ~(unsigned)RWF_HIPRI);
}

int64_t sys_preadv2(const uint64_t arg[6])
{
    return move_many_flags(arg, false);
}

int64_t sys_pwritev2(const uint64_t arg[6])
{
    return move_many_flags(arg, true);
}

static int64_t move_one_at(const uint64_t arg[6], bool writes)
{
    struct fl_iovec iov = {(void *)arg[1], arg[2] < RW_MAX ? arg[2] : RW_MAX};
    struct call_file call;
    uint64_t offset = arg[3];

    if ((int64_t)offset < 0)
        return -EINVAL;
    int error = call_file_get(&call, arg[0], writes);
    if (error != 0)
        return error;
    int64_t result = -ESPIPE;
    if (call.file->ops->seekable)
        result = user_range(arg[1], arg[2]) ? file_move_at(call.file, writes, &iov, 1, &offset, 0) : -EFAULT;
    fdput(call.file, call.referenced);
    return result;
}

int64_t sys_pread64(const uint64_t arg[6])
{
    return move_one_at(arg, false);
}

int64_t sys_pwrite64(const uint64_t arg[6])
{
    return move_one_at(arg, true);
}

/* ---- lseek --------------------------------------------------------------------------------------------- */

static uint64_t file_size(const struct file *file)
{
    return file->vnode != NULL   ? fl_vnode_size(file->vnode)
           : file->inode != NULL ? file->inode->size_bytes
                                 : 0;
}

/* Returns the new position. Errors: -EINVAL, -ENXIO. (f). */
static int64_t seek_to(const struct file *file, int64_t by, unsigned whence)
{
    uint64_t size = file_size(file);
    int64_t from = 0;

    switch (whence) {
    case SEEK_SET:
        break;
    case SEEK_CUR:
        from = (int64_t)file->offset;
        break;
    case SEEK_END:
        from = (int64_t)size;
        break;
    case SEEK_DATA: /* all of a file counts as data, as on file systems that do not know better */
        return by < 0 || (uint64_t)by >= size ? -ENXIO : by;
    case SEEK_HOLE:
        return by < 0 || (uint64_t)by >= size ? -ENXIO : (int64_t)size;
    default:
        return -EINVAL;
    }
    int64_t to;
    return __builtin_add_overflow(from, by, &to) ? -EOVERFLOW : to < 0 ? -EINVAL : to;
}

int64_t sys_lseek(const uint64_t arg[6])
{
    struct call_file call;

    call.referenced = fdget((int)arg[0], &call.file);
    if (call.file == NULL)
        return -EBADF;
    struct file *file = call.file;
    int64_t to = file->flags & O_PATH ? -EBADF : -ESPIPE;
    if (file->ops->seekable) {
        sleep_lock(&file->lock);
        to = seek_to(file, (int64_t)arg[1], (unsigned)arg[2]);
        if (to >= 0)
            file->offset = (uint64_t)to;
        sleep_unlock(&file->lock);
    }
    fdput(file, call.referenced);
    return to;
}

/* ---- sendfile ------------------------------------------------------------------------------------------ */

/* Writes all of the kernel's bytes. Returns how many; errors, if none. */
static int64_t send_bytes(struct file *out, char *bytes, size_t len_bytes)
{
    size_t done = 0;

    while (done < len_bytes) {
        struct fl_iovec piece = {bytes + done, len_bytes - done};
        int64_t n = file_move_at(out, true, &piece, 1, &out->offset, 0);
        if (n <= 0)
            return done > 0 ? (int64_t)done : n;
        done += (size_t)n;
    }
    return (int64_t)done;
}

/* *offset advances by what was sent. */
static int64_t send_loop(struct file *in, struct file *out, uint64_t *offset, uint64_t len_bytes, char *bytes)
{
    uint64_t done = 0;

    while (done < len_bytes && !(done > 0 && signal_waiting())) {
        uint64_t at = *offset, left = len_bytes - done;
        struct fl_iovec piece = {bytes, left < SENDFILE_BYTES ? left : SENDFILE_BYTES};
        int64_t n = file_move_at(in, false, &piece, 1, &at, 0);
        if (n > 0)
            n = send_bytes(out, bytes, (size_t)n);
        if (n <= 0)
            return done > 0 ? (int64_t)done : n;
        done += (uint64_t)n;
        *offset += (uint64_t)n;
    }
    return (int64_t)done;
}

static int64_t send_files(struct file *in, struct file *out, uint64_t user_offset, uint64_t len_bytes)
{
    uint64_t offset = in->offset;
    int error = user_offset != 0 ? copyin(user_offset, &offset, sizeof(offset)) : 0;

    if (error != 0)
        return error;
    if (!in->ops->seekable)
        return user_offset != 0 ? -ESPIPE : -EINVAL;
    if ((int64_t)offset < 0 || (out->flags & O_APPEND))
        return -EINVAL;
    char *bytes = kmalloc(SENDFILE_BYTES);
    if (bytes == NULL)
        return -ENOMEM;
    int64_t result = send_loop(in, out, &offset, len_bytes < RW_MAX ? len_bytes : RW_MAX, bytes);
    kfree(bytes);
    if (user_offset == 0)
        in->offset = offset;
    else
        error = copyout(&offset, user_offset, sizeof(offset));
    return error != 0 ? error : result;
}

int64_t sys_sendfile(const uint64_t arg[6])
{
    struct call_file in, out;
    int error = call_file_get(&out, arg[0], true);

    if (error != 0)
        return error;
    error = call_file_get(&in, arg[1], false);
    if (error == 0) {
        int64_t result = send_files(in.file, out.file, arg[2], arg[3]);
        fdput(in.file, in.referenced);
        fdput(out.file, out.referenced);
        return result;
    }
    fdput(out.file, out.referenced);
    return error;
}

/* ---- to the disk --------------------------------------------------------------------------------------- */

/* Calls do(file, arg) with the descriptor's file. */
static int64_t with_file(const uint64_t arg[6], int64_t (*call)(struct file *file, const uint64_t arg[6]))
{
    struct file *file;
    bool referenced = fdget((int)arg[0], &file);

    if (file == NULL)
        return -EBADF;
    int64_t result = file->flags & O_PATH ? -EBADF : call(file, arg);
    fdput(file, referenced);
    return result;
}

static int64_t do_fsync(struct file *file, unsigned flags)
{
    if (file->vnode != NULL) {
        sleep_lock(&file->lock); /* `told` */
        int error = regular_fsync(file, flags);
        sleep_unlock(&file->lock);
        return error;
    }
    if (file->inode == NULL || !S_ISDIR(file->inode->mode))
        return -EINVAL;
    return file->inode->ops->fsync != NULL ? file->inode->ops->fsync(file->inode) : 0;
}

static int64_t fsync_file(struct file *file, const uint64_t arg[6])
{
    (void)arg;
    return do_fsync(file, 0);
}

static int64_t fdatasync_file(struct file *file, const uint64_t arg[6])
{
    (void)arg;
    return do_fsync(file, FL_FSYNC_DATA);
}

static int64_t syncfs_file(struct file *file, const uint64_t arg[6])
{
    struct mount *mount = file->inode != NULL ? file->inode->mount : NULL;

    (void)arg;
    return mount != NULL && mount->sync != NULL ? mount->sync(mount) : 0;
}

static int64_t sync_range_file(struct file *file, const uint64_t arg[6])
{
    unsigned flags = (unsigned)arg[3];

    if (flags & ~7u || (int64_t)arg[1] < 0 || (int64_t)arg[2] < 0 || (int64_t)(arg[1] + arg[2]) < 0)
        return -EINVAL;
    if (file->vnode == NULL)
        return -ESPIPE;
    sleep_lock(&file->lock); /* `told` */
    int error = fl_vnode_sync_range(file->vnode, arg[1], arg[2], flags, &file->told);
    sleep_unlock(&file->lock);
    return error;
}

static int64_t fadvise_file(struct file *file, const uint64_t arg[6])
{
    if (!file->ops->seekable)
        return -ESPIPE;
    if ((int64_t)arg[2] < 0 || (int)arg[3] < FL_FADV_NORMAL || (int)arg[3] > FL_FADV_NOREUSE)
        return -EINVAL;
    return file->vnode != NULL ? fl_vnode_fadvise(file->vnode, arg[1], arg[2], (int)arg[3]) : 0;
}

static int64_t readahead_file(struct file *file, const uint64_t arg[6])
{
    if ((file->flags & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    if (file->vnode == NULL)
        return -EINVAL;
    return arg[2] == 0 ? 0 : fl_vnode_fadvise(file->vnode, arg[1], arg[2], FL_FADV_WILLNEED);
}

int64_t sys_fsync(const uint64_t arg[6])
{
    return with_file(arg, fsync_file);
}

int64_t sys_fdatasync(const uint64_t arg[6])
{
    return with_file(arg, fdatasync_file);
}

int64_t sys_syncfs(const uint64_t arg[6])
{
    return with_file(arg, syncfs_file);
}

int64_t sys_sync(const uint64_t arg[6])
{
    (void)arg;
    (void)!fs_sync(); /* sync(2) has no way to tell; who needs to know calls fsync */
    return 0;
}

int64_t sys_sync_file_range(const uint64_t arg[6])
{
    return with_file(arg, sync_range_file);
}

int64_t sys_fadvise64(const uint64_t arg[6])
{
    return with_file(arg, fadvise_file);
}

int64_t sys_readahead(const uint64_t arg[6])
{
    return with_file(arg, readahead_file);
}
