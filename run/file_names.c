/*
 * file_names.c: libc's names for reading and writing a
 * descriptor, and for its position, as the program calls them.
 *
 * A call on a file that is not managed goes to libc's own function; with a vector, by way
 * of vector_names.c, since the vector may name managed memory. All are cancellation points.
 */
#include "file_io.h"
#include "real.h"
#include "vector.h"

/* Only preadv2 and pwritev2 accept the offset -1, which means the position. */
static int64_t name_offset(off_t offset)
{
    return offset < 0 ? INT64_MIN : offset;
}

static inline bool name_io(struct file_io *io, long *result)
{
    io->generation = files_generation;
    if (fd_is_other(io->fd))
        return false;
    pthread_testcancel();
    return file_io_managed(io, result);
}

/* The read by the core, or else the call. */
#define NAME_READ(io, call)                                                                                  \
    ({                                                                                                       \
        long result_;                                                                                        \
        name_io((io), &result_) ? shim_return(result_) : (call);                                             \
    })

/* The write by the core, or else the call and file_io_after; errno is the call's. */
#define NAME_WRITE(io, call)                                                                                 \
    ({                                                                                                       \
        long result_;                                                                                        \
        if (name_io((io), &result_)) {                                                                       \
            result_ = shim_return(result_);                                                                  \
        } else {                                                                                             \
            result_ = (call);                                                                                \
            file_io_after(io);                                                                               \
        }                                                                                                    \
        result_;                                                                                             \
    })

/* ---- one piece ------------------------------------------------------------------------------------- */

FL_EXPORT ssize_t read(int fd, void *to, size_t len)
{
    struct iovec piece = {to, len};
    struct file_io io = {.fd = fd, .own = true, .offset = FILE_IO_POSITION, .iov = &piece, .niov = 1};

    return NAME_READ(&io, shim_real()->read(fd, to, len));
}

FL_EXPORT ssize_t pread(int fd, void *to, size_t len, off_t offset)
{
    struct iovec piece = {to, len};
    struct file_io io = {.fd = fd, .own = true, .offset = name_offset(offset), .iov = &piece, .niov = 1};

    return NAME_READ(&io, shim_real()->pread(fd, to, len, offset));
}

FL_EXPORT ssize_t pread64(int fd, void *to, size_t len, off64_t offset)
{
    return pread(fd, to, len, offset);
}

FL_EXPORT ssize_t write(int fd, const void *from, size_t len)
{
    struct iovec piece = {(void *)(uintptr_t)from, len};
    struct file_io io = {
        .fd = fd, .writes = true, .own = true, .offset = FILE_IO_POSITION, .iov = &piece, .niov = 1};

    return NAME_WRITE(&io, shim_real()->write(fd, from, len));
}

FL_EXPORT ssize_t pwrite(int fd, const void *from, size_t len, off_t offset)
{
    struct iovec piece = {(void *)(uintptr_t)from, len};
    struct file_io io = {
        .fd = fd, .writes = true, .own = true, .offset = name_offset(offset), .iov = &piece, .niov = 1};

    return NAME_WRITE(&io, shim_real()->pwrite(fd, from, len, offset));
}

FL_EXPORT ssize_t pwrite64(int fd, const void *from, size_t len, off64_t offset)
{
    return pwrite(fd, from, len, offset);
}

/*
 * Programs that were compiled with _FORTIFY_SOURCE call these
 * instead. A read that is longer than its buffer ends them.
 */
extern _Noreturn void __chk_fail(void);
FL_EXPORT ssize_t __read_chk(int fd, void *to, size_t len, size_t room);
FL_EXPORT ssize_t __pread_chk(int fd, void *to, size_t len, off_t offset, size_t room);
FL_EXPORT ssize_t __pread64_chk(int fd, void *to, size_t len, off64_t offset, size_t room);

ssize_t __read_chk(int fd, void *to, size_t len, size_t room)
{
    if (len > room)
        __chk_fail();
    return read(fd, to, len);
}

ssize_t __pread_chk(int fd, void *to, size_t len, off_t offset, size_t room)
{
    if (len > room)
        __chk_fail();
    return pread(fd, to, len, offset);
}

ssize_t __pread64_chk(int fd, void *to, size_t len, off64_t offset, size_t room)
{
    return __pread_chk(fd, to, len, offset, room);
}

/* ---- vectors --------------------------------------------------------------------------------------- */

/* A negative number of pieces becomes a number that is too large. */
static struct file_io vector_io(int fd, bool writes, const struct iovec *iov, int n, int64_t offset,
                                int flags)
{
    return (struct file_io){
        .fd = fd, .writes = writes, .flags = flags, .offset = offset, .iov = iov, .niov = (size_t)n};
}

FL_EXPORT ssize_t readv(int fd, const struct iovec *iov, int n)
{
    struct file_io io = vector_io(fd, false, iov, n, FILE_IO_POSITION, 0);

    return NAME_READ(&io, vector_readv(fd, iov, n));
}

FL_EXPORT ssize_t writev(int fd, const struct iovec *iov, int n)
{
    struct file_io io = vector_io(fd, true, iov, n, FILE_IO_POSITION, 0);

    return NAME_WRITE(&io, vector_writev(fd, iov, n));
}

FL_EXPORT ssize_t preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
    struct file_io io = vector_io(fd, false, iov, n, name_offset(offset), 0);

    return NAME_READ(&io, vector_preadv(fd, iov, n, offset));
}

FL_EXPORT ssize_t preadv64(int fd, const struct iovec *iov, int n, off64_t offset)
{
    return preadv(fd, iov, n, offset);
}

FL_EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
    struct file_io io = vector_io(fd, true, iov, n, name_offset(offset), 0);

    return NAME_WRITE(&io, vector_pwritev(fd, iov, n, offset));
}

FL_EXPORT ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t offset)
{
    return pwritev(fd, iov, n, offset);
}

FL_EXPORT ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    struct file_io io = vector_io(fd, false, iov, n, offset, flags);

    return NAME_READ(&io, vector_preadv2(fd, iov, n, offset, flags));
}

FL_EXPORT ssize_t preadv64v2(int fd, const struct iovec *iov, int n, off64_t offset, int flags)
{
    return preadv2(fd, iov, n, offset, flags);
}

FL_EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    struct file_io io = vector_io(fd, true, iov, n, offset, flags);

    return NAME_WRITE(&io, vector_pwritev2(fd, iov, n, offset, flags));
}

FL_EXPORT ssize_t pwritev64v2(int fd, const struct iovec *iov, int n, off64_t offset, int flags)
{
    return pwritev2(fd, iov, n, offset, flags);
}

/* ---- lseek ----------------------------------------------------------------------------------------- */

/*
 * Not while a call moves the position. Dirty pages over a
 * hole are data, so SEEK_DATA and SEEK_HOLE write back first.
 */
FL_EXPORT off_t lseek(int fd, off_t offset, int whence)
{
    struct fd_call call;
    long r;

    if (fd_is_other(fd) || !fd_begin(fd, &call))
        return shim_real()->lseek(fd, offset, whence);
    if (whence == SEEK_DATA || whence == SEEK_HOLE)
        (void)!fl_vnode_sync(call.file->vnode, 0, UINT64_MAX);
    shim_mutex_lock(&call.file->position);
    r = linux_syscall(SYS_lseek, fd, offset, whence);
    shim_mutex_unlock(&call.file->position);
    fd_end(&call);
    return shim_return(r);
}

FL_EXPORT off64_t lseek64(int fd, off64_t offset, int whence)
{
    return lseek(fd, offset, whence);
}
