/* fsx_api.c: the calls by faultline.h. */
#include "fsx.h"
#include "linux_machine.h"

#include <errno.h>
#include <faultline/faultline.h>
#include <faultline/vm.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static struct {
    struct fl_file *file;
    unsigned flags; /* FL_IOCB_* */
} files[FSX_FDS];

int calls_start(const struct fsx_options *options)
{
    struct fl_options own = {
        .memory_limit_bytes = options->memory_limit_bytes,
        .fault = options->thread_engine ? FL_FAULT_THREAD : FL_FAULT_SIGNAL,
    };
    return fl_init(&own);
}

int calls_stop(void)
{
    struct fl_stats stats;

    fl_stats(&stats);
    if (stats.peak_resident_bytes > stats.memory_limit_bytes)
        fail("%zu bytes were held", (size_t)stats.peak_resident_bytes);
    return fl_shutdown();
}

int calls_open(int fd, const char *path, int flags)
{
    files[fd].flags = ((flags & O_APPEND) != 0 ? FL_IOCB_APPEND : 0) |
                      ((flags & O_DIRECT) != 0 ? FL_IOCB_DIRECT : 0) |
                      ((flags & O_DSYNC) != 0 ? FL_IOCB_DSYNC : 0);
    return fl_open(path, flags & O_ACCMODE, &files[fd].file);
}

int calls_close(int fd)
{
    return fl_close(files[fd].file);
}

static int64_t read_piece(int fd, const struct iovec *piece, uint64_t offset)
{
    return fl_pread(files[fd].file, piece->iov_base, piece->iov_len, offset,
                    files[fd].flags & FL_IOCB_DIRECT);
}

static int64_t write_piece(int fd, const struct iovec *piece, uint64_t offset)
{
    return fl_pwrite(files[fd].file, piece->iov_base, piece->iov_len, offset, files[fd].flags);
}

/* The library has no calls with vectors: piece by piece, up to the first that is short. */
static int64_t each_piece(int64_t (*move)(int fd, const struct iovec *piece, uint64_t offset), int fd,
                          const struct iovec *iov, int n, uint64_t offset)
{
    size_t done = 0;

    for (int i = 0; i < n; i++) {
        int64_t r = move(fd, &iov[i], offset + done);
        if (r < 0)
            return r;
        done += (size_t)r;
        if ((size_t)r < iov[i].iov_len)
            break;
    }
    return (int64_t)done;
}

int64_t calls_preadv(int fd, const struct iovec *iov, int n, uint64_t offset)
{
    return each_piece(read_piece, fd, iov, n, offset);
}

int64_t calls_pwritev(int fd, const struct iovec *iov, int n, uint64_t offset)
{
    return each_piece(write_piece, fd, iov, n, offset);
}

int64_t calls_read(int fd, void *to, size_t len, uint64_t offset)
{
    return fl_pread(files[fd].file, to, len, offset, files[fd].flags & FL_IOCB_DIRECT);
}

int64_t calls_write(int fd, const void *from, size_t len, uint64_t offset)
{
    return fl_pwrite(files[fd].file, from, len, offset, files[fd].flags);
}

int64_t calls_copy(int fd, uint64_t from, uint64_t to, size_t len, unsigned way)
{
    (void)fd, (void)from, (void)to, (void)len, (void)way;
    return -EOPNOTSUPP;
}

int calls_truncate(int fd, uint64_t len)
{
    return fl_truncate(files[fd].file, len);
}

int calls_punch(int fd, uint64_t offset, uint64_t len)
{
    return fl_punch(files[fd].file, offset, len);
}

int calls_zero(int fd, uint64_t offset, uint64_t len)
{
    (void)fd, (void)offset, (void)len;
    return -EOPNOTSUPP;
}

int calls_allocate(int fd, uint64_t offset, uint64_t len)
{
    (void)fd, (void)offset, (void)len;
    return -EOPNOTSUPP;
}

int calls_fsync(int fd, bool data)
{
    return fl_fsync(files[fd].file, data ? FL_FSYNC_DATA : 0);
}

/* These two are the core's own: they are called with signals blocked, as faultline.h's functions call it. */
int calls_sync_range(int fd, uint64_t offset, uint64_t len, unsigned flags)
{
    sigset_t saved;

    linux_signals_block(&saved);
    int result = fl_vnode_sync_range(files[fd].file->vnode, offset, len, flags, &files[fd].file->told);
    linux_signals_restore(&saved);
    return result;
}

int calls_fadvise(int fd, uint64_t offset, uint64_t len, int advice)
{
    sigset_t saved;

    linux_signals_block(&saved);
    int result = fl_vnode_fadvise(files[fd].file->vnode, offset, len, advice);
    linux_signals_restore(&saved);
    return result;
}

int64_t calls_size(int fd)
{
    (void)fd;
    return (int64_t)model_len; /* there is no such call; reads at the end show the length */
}

int calls_mmap(void **addr, size_t len, int prot, int flags, int fd, uint64_t offset)
{
    *addr = NULL;
    return fl_mmap(addr, len, prot, flags, files[fd].file, offset);
}

int calls_munmap(void *addr, size_t len)
{
    return fl_munmap(addr, len);
}

int calls_mremap(void **addr, size_t old_len, size_t new_len)
{
    return fl_mremap(addr, old_len, new_len, MREMAP_MAYMOVE);
}

int calls_mprotect(void *addr, size_t len, int prot)
{
    return fl_mprotect(addr, len, prot);
}

int calls_msync(void *addr, size_t len, int flags)
{
    return fl_msync(addr, len, flags);
}

int calls_madvise(void *addr, size_t len, int advice)
{
    return fl_madvise(addr, len, advice);
}

int calls_mincore(void *addr, size_t len, unsigned char *vec)
{
    return fl_mincore(addr, len, vec);
}

int calls_mlock(void *addr, size_t len, bool lock)
{
    return lock ? fl_mlock(addr, len) : fl_munlock(addr, len);
}

int calls_prefetch(const struct iovec *range, unsigned n)
{
    return fl_prefetch((const struct fl_iovec *)range, n);
}
