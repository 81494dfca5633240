/*
 * file_sync.c: calls that write to the disk, and advice:
 * fsync, fdatasync, sync_file_range, sync, posix_fadvise.
 *
 *   fsync ─▶ fl_vnode_sync_range: dirty pages ─▶ file ─▶ the kernel's fsync, on the program's descriptor
 *
 * The kernel's own call follows, and takes care of the times, the length and the disk's
 * cache, and of errors of the descriptor. Each descriptor is told of a failed write-back
 * once; a new open file under the same number has been told of nothing (fdtable.c).
 */
#include "fdtable.h"
#include "real.h"

#define SYNC_ALL (FL_SYNC_FILE_RANGE_WAIT_BEFORE | FL_SYNC_FILE_RANGE_WRITE | FL_SYNC_FILE_RANGE_WAIT_AFTER)

/* Writes the range back. Errors: of write-backs that the descriptor has not been told of. */
static int sync_range(const struct fd_call *call, uint64_t offset, uint64_t len, unsigned flags)
{
    _Atomic(fl_errseq_t) *told = fd_told(call->fd);
    fl_errseq_t since = told != NULL ? *told : 0;
    int error = fl_vnode_sync_range(call->file->vnode, offset, len, flags, &since);

    if (told != NULL)
        *told = since;
    return error;
}

/* Writes the whole file back, before the kernel's own fsync. Errors: as fsync's. */
static int sync_before(int fd)
{
    struct fd_call call;
    int error;

    if (fd_is_other(fd) || !fd_begin(fd, &call))
        return 0;
    error = sync_range(&call, 0, 0, SYNC_ALL);
    fd_end(&call);
    return error;
}

/* The kernel's call is made in any case; the first error is returned. */
#define SYNC_FD(fd, call)                                                                                    \
    ({                                                                                                       \
        int error_ = sync_before(fd);                                                                        \
        int result_ = (call);                                                                                \
        error_ != 0 && result_ == 0 ? (int)shim_return(error_) : result_;                                    \
    })

FL_EXPORT int fsync(int fd)
{
    return SYNC_FD(fd, shim_real()->fsync(fd));
}

FL_EXPORT int fdatasync(int fd)
{
    return SYNC_FD(fd, shim_real()->fdatasync(fd));
}

FL_EXPORT int syncfs(int fd)
{
    struct stat st;
    int error = 0;
    int r;

    if (files_mapped != 0 && linux_syscall(SYS_fstat, fd, &st) == 0)
        error = files_sync(&st.st_dev);
    r = shim_real()->syncfs(fd);
    return error != 0 && r == 0 ? (int)shim_return(error) : r;
}

/* Cannot return an error: the next fsync does. */
FL_EXPORT void sync(void)
{
    (void)!files_sync(NULL);
    shim_real()->sync();
}

/* The kernel checks the arguments; it has nothing to write yet. */
FL_EXPORT int sync_file_range(int fd, off64_t offset, off64_t len, unsigned flags)
{
    int r = shim_real()->sync_file_range(fd, offset, len, flags);
    struct fd_call call;
    int error;

    if (r != 0 || fd_is_other(fd) || !fd_begin(fd, &call))
        return r;
    error = sync_range(&call, (uint64_t)offset, (uint64_t)len, flags & SYNC_ALL);
    fd_end(&call);
    return (int)shim_return(error);
}

/* ---- advice ---------------------------------------------------------------------------------------- */

static int advise(int fd, off_t offset, off_t len, int advice)
{
    struct fd_call call;
    int error;

    if (fd_is_other(fd) || !fd_begin(fd, &call))
        return 0;
    error = fl_vnode_fadvise(call.file->vnode, (uint64_t)offset, (uint64_t)len, advice);
    fd_end(&call);
    return error;
}

/* Returns the error. The kernel's call checks the arguments; its own cache has nothing of the file. */
FL_EXPORT int posix_fadvise(int fd, off_t offset, off_t len, int advice)
{
    int error = shim_real()->posix_fadvise(fd, offset, len, advice);

    if (error != 0 || offset < 0 || len < 0)
        return error;
    return -advise(fd, offset, len, advice);
}

FL_EXPORT int posix_fadvise64(int fd, off64_t offset, off64_t len, int advice)
{
    return posix_fadvise(fd, offset, len, advice);
}

/* A managed file is read into the core's cache and not into the kernel's. */
FL_EXPORT ssize_t readahead(int fd, off64_t offset, size_t len)
{
    struct fd_call call;
    int error;

    if (fd_is_other(fd) || offset < 0 || !fd_begin(fd, &call))
        return shim_real()->readahead(fd, offset, len);
    error = fd_may_read(&call) ? 0 : -EBADF;
    if (error == 0 && len > 0)
        error = fl_vnode_fadvise(call.file->vnode, (uint64_t)offset, len, FL_FADV_WILLNEED);
    fd_end(&call);
    return (ssize_t)shim_return(error);
}
