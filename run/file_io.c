/*
 * file_io.c: reads and writes of files that are mapped at the same time: both ways see one file.
 *
 *   read, pread, readv …    file_io_begin(reads)   dirty pages ─▶ file    libc's read
 *   write, pwrite, writev … file_io_begin(writes)  dirty pages ─▶ file    libc's write
 *                           file_io_end            clean pages forgotten
 *   fsync, fdatasync        file_io_begin          dirty pages ─▶ file    libc's fsync
 *
 * Databases do this: they read through a mapping and write by pwrite, or write through a mapping and fsync
 * the file. The range counts, at the descriptor's own offset where the call has none. While nothing is mapped
 * the price is one load; while no mapping can write, reads pay nothing.
 *
 * Does not do: calls that libc makes inside itself (fwrite, fread of a mapped file), sendfile, splice,
 * copy_file_range, and other processes: docs/run.md.
 */
#include "shim.h"
#include "real.h"

#define WHOLE_FILE UINT64_MAX

struct file_io {
    struct vnode *vnode; /* referenced; NULL: the file is not mapped */
    uint64_t offset, len;
};

/* The mapped file behind fd, with a reference to its vnode, or NULL. */
static struct vnode *mapped_file(int fd, struct stat *st)
{
    struct vnode *vnode = NULL;
    struct file *file;
    sigset_t saved;

    if (linux_syscall(SYS_fstat, fd, st) != 0 || !S_ISREG(st->st_mode))
        return NULL;
    shim_enter(&saved);
    file = file_find(st->st_dev, st->st_ino);
    if (file != NULL) {
        vnode = file->handle->vnode;
        fl_vnode_ref(vnode);
    }
    shim_leave(&saved);
    return vnode;
}

static void let_go(struct vnode *vnode)
{
    sigset_t saved;
    int error;

    linux_signals_block(&saved);
    error = fl_vnode_close(vnode);
    linux_signals_restore(&saved);
    if (error != 0)
        shim_say("data written to a mapping is lost: %s", strerrordesc_np(-error));
}

/* offset -1: the descriptor's own. A write that fails now fails again at msync, where it is told. */
static struct file_io file_io_begin(int fd, int64_t offset, uint64_t len, bool writes)
{
    struct file_io io = {NULL, 0, len};
    struct stat st;
    sigset_t saved;

    if (!shim_on() || (writes ? files_mapped : files_writable) == 0 || len == 0)
        return io;
    io.vnode = mapped_file(fd, &st);
    if (io.vnode == NULL)
        return io;
    if (offset < 0)
        offset = linux_syscall(SYS_lseek, fd, 0, SEEK_CUR);
    if (writes && (linux_syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND) != 0)
        offset = st.st_size;
    io.offset = offset < 0 ? 0 : (uint64_t)offset;
    linux_signals_block(&saved);
    (void)!fl_vnode_sync(io.vnode, io.offset, io.len);
    linux_signals_restore(&saved);
    return io;
}

/* errno stays what the call made it. */
static void file_io_end(const struct file_io *io, bool writes)
{
    int saved_errno = errno;
    sigset_t saved;

    if (io->vnode == NULL)
        return;
    if (writes) {
        linux_signals_block(&saved);
        fl_vnode_invalidate(io->vnode, io->offset, io->len);
        linux_signals_restore(&saved);
    }
    let_go(io->vnode);
    errno = saved_errno;
}

/* The call, between begin and end. */
#define FILE_IO(fd, offset, len, writes, call)                                                               \
    ({                                                                                                       \
        struct file_io io_ = file_io_begin((fd), (offset), (len), (writes));                                 \
        ssize_t result_ = (call);                                                                            \
        file_io_end(&io_, (writes));                                                                         \
        result_;                                                                                             \
    })

FL_EXPORT ssize_t read(int fd, void *to, size_t len)
{
    return FILE_IO(fd, -1, len, false, shim_real()->read(fd, to, len));
}

FL_EXPORT ssize_t pread(int fd, void *to, size_t len, off_t offset)
{
    return FILE_IO(fd, offset, len, false, shim_real()->pread(fd, to, len, offset));
}

FL_EXPORT ssize_t pread64(int fd, void *to, size_t len, off64_t offset)
{
    return pread(fd, to, len, offset);
}

FL_EXPORT ssize_t write(int fd, const void *from, size_t len)
{
    return FILE_IO(fd, -1, len, true, shim_real()->write(fd, from, len));
}

FL_EXPORT ssize_t pwrite(int fd, const void *from, size_t len, off_t offset)
{
    return FILE_IO(fd, offset, len, true, shim_real()->pwrite(fd, from, len, offset));
}

FL_EXPORT ssize_t pwrite64(int fd, const void *from, size_t len, off64_t offset)
{
    return pwrite(fd, from, len, offset);
}

FL_EXPORT int fsync(int fd)
{
    return (int)FILE_IO(fd, 0, WHOLE_FILE, false, shim_real()->fsync(fd));
}

FL_EXPORT int fdatasync(int fd)
{
    return (int)FILE_IO(fd, 0, WHOLE_FILE, false, shim_real()->fdatasync(fd));
}

/* ---- vectors: whatever they point at, the file's range is the sum of their lengths ----------------- */

static uint64_t vector_len(const struct iovec *iov, int n)
{
    uint64_t len = 0;

    if (!shim_on() || files_mapped == 0)
        return 0;
    for (int i = 0; i < n; i++)
        len += iov[i].iov_len;
    return len;
}

FL_EXPORT ssize_t readv(int fd, const struct iovec *iov, int n)
{
    return FILE_IO(fd, -1, vector_len(iov, n), false, vector_readv(fd, iov, n));
}

FL_EXPORT ssize_t writev(int fd, const struct iovec *iov, int n)
{
    return FILE_IO(fd, -1, vector_len(iov, n), true, vector_writev(fd, iov, n));
}

FL_EXPORT ssize_t preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
    return FILE_IO(fd, offset, vector_len(iov, n), false, vector_preadv(fd, iov, n, offset));
}

FL_EXPORT ssize_t preadv64(int fd, const struct iovec *iov, int n, off64_t offset)
{
    return preadv(fd, iov, n, offset);
}

FL_EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
    return FILE_IO(fd, offset, vector_len(iov, n), true, vector_pwritev(fd, iov, n, offset));
}

FL_EXPORT ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t offset)
{
    return pwritev(fd, iov, n, offset);
}

FL_EXPORT ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    return FILE_IO(fd, offset, vector_len(iov, n), false, vector_preadv2(fd, iov, n, offset, flags));
}

FL_EXPORT ssize_t preadv64v2(int fd, const struct iovec *iov, int n, off64_t offset, int flags)
{
    return preadv2(fd, iov, n, offset, flags);
}

FL_EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    return FILE_IO(fd, offset, vector_len(iov, n), true, vector_pwritev2(fd, iov, n, offset, flags));
}

FL_EXPORT ssize_t pwritev64v2(int fd, const struct iovec *iov, int n, off64_t offset, int flags)
{
    return pwritev2(fd, iov, n, offset, flags);
}
