/* fsx_posix.c: the calls by the system's own: for a native run, and for `faultline run`. */
#include "fsx.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static int fds[FSX_FDS];

static int64_t told(int64_t result)
{
    return result < 0 ? -errno : result;
}

int calls_start(const struct fsx_options *options)
{
    (void)options;
    return 0;
}

int calls_stop(void)
{
    return 0;
}

int calls_open(int fd, const char *path, int flags)
{
    fds[fd] = open(path, flags | O_CLOEXEC);
    return fds[fd] < 0 ? -errno : 0;
}

int calls_close(int fd)
{
    return (int)told(close(fds[fd]));
}

int64_t calls_preadv(int fd, const struct iovec *iov, int n, uint64_t offset)
{
    if (n == 1)
        return told(pread(fds[fd], iov->iov_base, iov->iov_len, (off_t)offset));
    return told(preadv(fds[fd], iov, n, (off_t)offset));
}

int64_t calls_pwritev(int fd, const struct iovec *iov, int n, uint64_t offset)
{
    if (n == 1)
        return told(pwrite(fds[fd], iov->iov_base, iov->iov_len, (off_t)offset));
    return told(pwritev(fds[fd], iov, n, (off_t)offset));
}

int64_t calls_read(int fd, void *to, size_t len, uint64_t offset)
{
    if (lseek(fds[fd], (off_t)offset, SEEK_SET) < 0)
        return -errno;
    int64_t result = told(read(fds[fd], to, len));
    off_t at = lseek(fds[fd], 0, SEEK_CUR);
    if (result >= 0 && at != (off_t)offset + result)
        fail("read of %ld bytes at %#lx leaves the position at %#lx", (long)result, (long)offset, (long)at);
    return result;
}

int64_t calls_write(int fd, const void *from, size_t len, uint64_t offset)
{
    if (lseek(fds[fd], (off_t)offset, SEEK_SET) < 0)
        return -errno;
    return told(write(fds[fd], from, len));
}

/* sendfile writes at the target's position. */
static int64_t copy_some(int fd, uint64_t from, uint64_t to, size_t len, unsigned way)
{
    loff_t in = (loff_t)from, out = (loff_t)to;

    if (way % 2 == 0)
        return told(copy_file_range(fds[fd], &in, fds[fd], &out, len, 0));
    if (lseek(fds[fd], (off_t)to, SEEK_SET) < 0)
        return -errno;
    return told(sendfile(fds[fd], fds[fd], &in, len));
}

int64_t calls_copy(int fd, uint64_t from, uint64_t to, size_t len, unsigned way)
{
    size_t done = 0;

    while (done < len) {
        int64_t r = copy_some(fd, from + done, to + done, len - done, way);
        if (r <= 0)
            return done > 0 ? (int64_t)done : r;
        done += (size_t)r;
    }
    return (int64_t)done;
}

int calls_truncate(int fd, uint64_t len)
{
    return (int)told(ftruncate(fds[fd], (off_t)len));
}

int calls_punch(int fd, uint64_t offset, uint64_t len)
{
    return (int)told(
        fallocate(fds[fd], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len));
}

int calls_zero(int fd, uint64_t offset, uint64_t len)
{
    return (int)told(fallocate(fds[fd], FALLOC_FL_ZERO_RANGE, (off_t)offset, (off_t)len));
}

int calls_allocate(int fd, uint64_t offset, uint64_t len)
{
    return (int)told(fallocate(fds[fd], 0, (off_t)offset, (off_t)len));
}

int calls_fsync(int fd, bool data)
{
    return (int)told(data ? fdatasync(fds[fd]) : fsync(fds[fd]));
}

int calls_sync_range(int fd, uint64_t offset, uint64_t len, unsigned flags)
{
    return (int)told(sync_file_range(fds[fd], (off_t)offset, (off_t)len, flags));
}

int calls_fadvise(int fd, uint64_t offset, uint64_t len, int advice)
{
    return -posix_fadvise(fds[fd], (off_t)offset, (off_t)len, advice);
}

int64_t calls_size(int fd)
{
    struct stat st;

    return fstat(fds[fd], &st) != 0 ? -errno : (int64_t)st.st_size;
}

int calls_mmap(void **addr, size_t len, int prot, int flags, int fd, uint64_t offset)
{
    void *at = mmap(NULL, len, prot, flags, fds[fd], (off_t)offset);

    if (at == MAP_FAILED)
        return -errno;
    *addr = at;
    return 0;
}

int calls_munmap(void *addr, size_t len)
{
    return (int)told(munmap(addr, len));
}

int calls_mremap(void **addr, size_t old_len, size_t new_len)
{
    void *at = mremap(*addr, old_len, new_len, MREMAP_MAYMOVE);

    if (at == MAP_FAILED)
        return -errno;
    *addr = at;
    return 0;
}

int calls_mprotect(void *addr, size_t len, int prot)
{
    return (int)told(mprotect(addr, len, prot));
}

int calls_msync(void *addr, size_t len, int flags)
{
    return (int)told(msync(addr, len, flags));
}

int calls_madvise(void *addr, size_t len, int advice)
{
    return (int)told(madvise(addr, len, advice));
}

int calls_mincore(void *addr, size_t len, unsigned char *vec)
{
    return (int)told(mincore(addr, len, vec));
}

int calls_mlock(void *addr, size_t len, bool lock)
{
    return (int)told(lock ? mlock(addr, len) : munlock(addr, len));
}

int calls_prefetch(const struct iovec *range, unsigned n)
{
    int result = 0;

    for (unsigned i = 0; i < n && result == 0; i++) {
        uintptr_t start = (uintptr_t)range[i].iov_base & ~(FSX_PAGE - 1);
        size_t len = (uintptr_t)range[i].iov_base + range[i].iov_len - start;
        result = (int)told(madvise((void *)start, len, MADV_WILLNEED));
    }
    return result;
}
