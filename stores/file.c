/*
 * file.c: the store behind fl_open: a regular file, read and written past the kernel's page cache where its
 * file system can do that.
 *
 *                            ┌─ wait flag, writes ─▶ preadv / pwritev in the calling thread
 *   submit ─▶ runs of memory ┤
 *                            └─ read-ahead ────────▶ aio.c ─▶ file_read_complete
 *
 *   file:    |<------------- body: whole blocks, direct ------------->|<- tail ->|end
 *                                                                       buffered, then dropped from the page
 * cache
 *
 * Each file has a plain descriptor and, if the file system has direct I/O, a direct one beside it, opened
 * anew through /proc/self/fd: O_DIRECT belongs to the open file, and the program's own descriptor must not
 * change under it. Without direct I/O all goes through the plain one, and what the page cache took is dropped
 * after each transfer, so that memory is not used twice over.
 *
 *   F1  No write extends the file: every one is trimmed to the size that fstat says then.
 *   F2  A page that lies beyond the end altogether is not read as zeros: the request fails with ENXIO, for
 * the file has shrunk behind the VM's back, and the program must see SIGBUS as under the kernel's mapping.
 * The tail of the last page is zeros. F3  Two stores of one file may live at a time; the VM keeps the first.
 * If that was read-only and the second is not, the first takes over the right to write (file_lend), for the
 * VM then closes the second. Mixing direct and buffered transfers of one block is coherent on ext4, xfs and
 * btrfs: a direct transfer first writes out and drops the cached pages in its way. The tail is moreover
 * synced at once, so also elsewhere a direct read finds it on the disk. Lock: files.lock guards the list of
 * stores and the lending; nothing is called with it held but the kernel.
 */
#include "aio.h"
#include "linux_machine.h"
#include "linux_pool.h"
#include "linux_syscall.h"
#include "stores.h"

#include <errno.h>
#include <faultline/faultline.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define FILE_FD_MIN 512 /* our descriptors stay out of the way of programs that count theirs */

/* One way of opening the file. -1: not open. */
struct file_fds {
    _Atomic int plain;
    _Atomic int direct;
};

struct store_file {
    struct store store;
    struct file_fds read;  /* (c) */
    struct file_fds write; /* set once: by file_open to what `read` holds, or by file_lend to its own;
                              `direct` before `plain` */
    uint32_t block; /* (c) what direct transfers are multiples of, in bytes; a power of two, at most a page */
    struct store_file *next; /* (files.lock) */
};

static struct {
    struct machine_lock lock;
    struct store_file *first; /* (lock) */
} files;

/* ---- runs: the request's memory as the kernel wants it
 * ---------------------------------------------------------------- */

/* Describes [done_bytes, end_bytes) of the request in at most AIO_SEGMENTS segments, neighbours merged;
 * returns their number. */
static unsigned file_segments(const struct store_request *request, uint64_t done_bytes, uint64_t end_bytes,
                              struct iovec *iov)
{
    unsigned n = 0;
    while (done_bytes < end_bytes) {
        char *addr = (char *)request->addr[atop(done_bytes)] + (done_bytes & VM_PAGE_MASK);
        size_t len = VM_PAGE_SIZE - (done_bytes & VM_PAGE_MASK);
        if (len > end_bytes - done_bytes)
            len = end_bytes - done_bytes;
        if (n > 0 && (char *)iov[n - 1].iov_base + iov[n - 1].iov_len == addr) {
            iov[n - 1].iov_len += len;
        } else {
            if (n == AIO_SEGMENTS)
                break;
            iov[n++] = (struct iovec){.iov_base = addr, .iov_len = len};
        }
        done_bytes += len;
    }
    return n;
}

/* One preadv or pwritev; -EINTR is tried again. */
static int64_t file_transfer(int fd, long number, const struct store_request *request, uint64_t done_bytes,
                             uint64_t end_bytes)
{
    struct iovec iov[AIO_SEGMENTS];
    unsigned n = file_segments(request, done_bytes, end_bytes, iov);
    long moved;
    do {
        moved = linux_syscall(number, fd, iov, n, request->offset + done_bytes, 0);
    } while (moved == -EINTR);
    return moved;
}

/* The page cache is not to keep what a buffered transfer of [start, end) left there. Advice: it cannot fail
 * in a way that matters. */
static void file_uncache(int fd, uint64_t start, uint64_t end)
{
    start = trunc_page(start);
    linux_syscall(SYS_fadvise64, fd, start, round_page(end) - start, POSIX_FADV_DONTNEED);
}

static int file_size_fd(int fd, uint64_t *len_bytes)
{
    struct stat st;
    int error = (int)linux_syscall(SYS_fstat, fd, &st);
    if (error == 0)
        *len_bytes = (uint64_t)st.st_size;
    return error;
}

/* ---- reading
 * ------------------------------------------------------------------------------------------------------------
 */

/* The transfer stopped at done_bytes because the file ends: zeros from there on, unless whole pages are
 * missing (F2). */
static int file_read_tail(struct store_file *file, struct store_request *request, uint64_t done_bytes)
{
    uint64_t size;
    int error = file_size_fd(file->read.plain, &size);
    if (error != 0)
        return error;
    if (size <= request->offset + ptoa(request->npages - 1))
        return -ENXIO;
    while (done_bytes < ptoa(request->npages)) {
        size_t len = VM_PAGE_SIZE - (done_bytes & VM_PAGE_MASK);
        __builtin_memset((char *)request->addr[atop(done_bytes)] + (done_bytes & VM_PAGE_MASK), 0, len);
        done_bytes += len;
    }
    return 0;
}

/*
 * Reads what is left of the request from done_bytes on, in this thread. Short transfers are continued; where
 * one stopped off a block's edge, or direct I/O refuses (a tail on a file system that wants the end aligned
 * too), by the plain descriptor.
 */
static int file_read_rest(struct store_file *file, struct store_request *request, uint64_t done_bytes)
{
    uint64_t end_bytes = ptoa(request->npages);
    int direct = file->read.direct;
    bool buffered = false;
    int error = 0;
    while (done_bytes < end_bytes) {
        bool aligned = direct >= 0 && (done_bytes & (file->block - 1)) == 0;
        int64_t moved =
            file_transfer(aligned ? direct : file->read.plain, SYS_preadv, request, done_bytes, end_bytes);
        buffered |= !aligned;
        if (moved == -EINVAL && aligned) {
            direct = -1;
            continue;
        }
        if (moved <= 0) {
            error = moved < 0 ? (int)moved : file_read_tail(file, request, done_bytes);
            break;
        }
        done_bytes += (uint64_t)moved;
    }
    if (buffered)
        file_uncache(file->read.plain, request->offset, request->offset + end_bytes);
    return error;
}

/* An asynchronous read is over: as a rule all of it, else the rest is read here. */
static void file_read_complete(struct store_request *request, int64_t result)
{
    struct store_file *file = (struct store_file *)request->store_private[AIO_PRIVATE];
    int error = 0;
    if (result < 0 && result != -EINVAL && result != -EAGAIN)
        error = (int)result;
    else if (result < (int64_t)ptoa(request->npages))
        error = file_read_rest(file, request, result < 0 ? 0 : (uint64_t)result);
    request->done(request, error);
}

static void file_read(struct store_file *file, struct store_request *request)
{
    if ((request->flags & STORE_REQUEST_WAIT) || file->read.direct < 0) {
        request->done(request, file_read_rest(file, request, 0));
        return;
    }
    struct iovec iov[AIO_SEGMENTS];
    unsigned n = file_segments(request, 0, ptoa(request->npages), iov);
    request->store_private[AIO_PRIVATE] = (uintptr_t)file;
    aio_read(file->read.direct, request, iov, n, request->offset, file_read_complete);
}

/* ---- writing
 * ------------------------------------------------------------------------------------------------------------
 */

/* Writes [done_bytes, end_bytes) of the request through fd. */
static int file_write_range(int fd, struct store_request *request, uint64_t done_bytes, uint64_t end_bytes)
{
    while (done_bytes < end_bytes) {
        int64_t moved = file_transfer(fd, SYS_pwritev, request, done_bytes, end_bytes);
        if (moved <= 0)
            return moved < 0 ? (int)moved : -EIO;
        done_bytes += (uint64_t)moved;
    }
    return 0;
}

/* The same through the page cache, out of which it is pushed at once. */
static int file_write_buffered(int fd, struct store_request *request, uint64_t done_bytes, uint64_t end_bytes)
{
    int error = file_write_range(fd, request, done_bytes, end_bytes);
    if (error == 0)
        error = (int)linux_syscall(SYS_fdatasync, fd);
    file_uncache(fd, request->offset + done_bytes, request->offset + end_bytes);
    return error;
}

/* Trims to the file (F1): what lies beyond its end now has no place any more, as with the kernel's own
 * mapping. */
static int file_write(struct store_file *file, struct store_request *request)
{
    int plain = file->write.plain, direct = file->write.direct;
    uint64_t size;
    if (plain < 0)
        return -EBADF;
    int error = file_size_fd(plain, &size);
    if (error != 0)
        return error;
    uint64_t end_bytes = store_trim(size, request->offset, ptoa(request->npages));
    uint64_t body_bytes = direct >= 0 ? end_bytes & ~(uint64_t)(file->block - 1) : 0;
    error = file_write_range(direct, request, 0, body_bytes);
    if (error == -EINVAL) /* the file system changed its mind about direct I/O (a remount, an encrypted or
                             compressed part) */
        body_bytes = 0;
    else if (error != 0)
        return error;
    return body_bytes < end_bytes ? file_write_buffered(plain, request, body_bytes, end_bytes) : 0;
}

/* ---- the store
 * ----------------------------------------------------------------------------------------------------------
 */

static void file_submit(struct store *store, struct store_request *request)
{
    struct store_file *file = (struct store_file *)store;
    request->store_private[AIO_STATE] = AIO_REAPED;
    if (request->op == STORE_READ)
        file_read(file, request);
    else
        request->done(request, file_write(file, request));
}

static void file_wait(struct store *store, struct store_request *request)
{
    (void)store;
    aio_wait(request);
}

static int file_size(struct store *store, uint64_t *len_bytes)
{
    return file_size_fd(((struct store_file *)store)->read.plain, len_bytes);
}

/* fdatasync is enough: no write here changes the size. */
static int file_flush(struct store *store)
{
    struct store_file *file = (struct store_file *)store;
    int fd = file->write.plain >= 0 ? file->write.plain : file->read.plain;
    long error;
    do {
        error = linux_syscall(SYS_fdatasync, fd);
    } while (error == -EINTR);
    return (int)error;
}

static void file_close_fds(struct file_fds *fds)
{
    if (fds->plain >= 0)
        linux_syscall(SYS_close, fds->plain);
    if (fds->direct >= 0)
        linux_syscall(SYS_close, fds->direct);
}

static void file_close(struct store *store)
{
    struct store_file *file = (struct store_file *)store;
    machine_lock(&files.lock);
    struct store_file **link = &files.first;
    while (*link != file)
        link = &(*link)->next;
    *link = file->next;
    machine_unlock(&files.lock);
    if (file->write.plain != file->read.plain)
        file_close_fds(&file->write);
    file_close_fds(&file->read);
    linux_pool_free(file);
}

static const struct store_ops file_ops = {
    .name = "file",
    .submit = file_submit,
    .wait = file_wait,
    .size = file_size,
    .flush = file_flush,
    .close = file_close,
};

/* ---- opening
 * ------------------------------------------------------------------------------------------------------------
 */

/* A descriptor of ours for the same open file, above FILE_FD_MIN if the process may have so many. */
static int file_dup(int fd)
{
    long copy = linux_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FILE_FD_MIN);
    if (copy == -EINVAL || copy == -EMFILE)
        copy = linux_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
    return (int)copy;
}

/* What direct transfers have to be multiples of; 0: the file system has none that our pages fit. */
static uint32_t file_direct_block(int fd)
{
    struct statx stx;
    if (linux_syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) != 0)
        return VM_PAGE_SIZE;
    if (!(stx.stx_mask &
          STATX_DIOALIGN)) /* a kernel or file system that does not say: whole pages suit everyone */
        return VM_PAGE_SIZE;
    if (stx.stx_dio_offset_align > VM_PAGE_SIZE || stx.stx_dio_mem_align > VM_PAGE_SIZE)
        return 0;
    return stx.stx_dio_offset_align;
}

/* Opens the file of fd anew. Negative: it cannot be (no /proc; a name that may not be opened any more; flags that the file system lacks). */
static int file_reopen(int fd, int flags)
{
    char path[32] = "/proc/self/fd/";
    char digits[12];
    size_t n = __builtin_strlen(path), d = 0;
    for (int rest = fd; d == 0 || rest != 0; rest /= 10)
        digits[d++] = (char)('0' + rest % 10);
    while (d > 0)
        path[n++] = digits[--d];
    path[n] = 0;
    long low = linux_syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC);
    if (low < 0)
        return (int)low;
    int high = file_dup((int)low);
    if (high < 0)
        return (int)low;
    linux_syscall(SYS_close, low);
    return high;
}

/* Without direct I/O the kernel must at least not read ahead into its page cache. Advice belongs to the open file, so not to the program's. */
static int file_open_plain(int fd, int access, bool alone)
{
    int plain = alone ? file_reopen(fd, access) : -1;
    if (plain < 0)
        return file_dup(fd);
    linux_syscall(SYS_fadvise64, plain, 0, 0, POSIX_FADV_RANDOM);
    return plain;
}

/* F3: `from` gives `to` the right to write that it lacks. A failure shows when `to` is written: EBADF. =>
 * files.lock is held. */
static void file_lend(struct store_file *from, struct store_file *to)
{
    bool same = from->store.key[0] == to->store.key[0] && from->store.key[1] == to->store.key[1];
    if (!same || from->write.plain < 0 || to->write.plain >= 0)
        return;
    int plain = file_dup(from->write.plain);
    if (plain < 0)
        return;
    to->write.direct = from->write.direct >= 0 ? file_dup(from->write.direct) : -1;
    to->write.plain = plain;
    to->store.read_only = false;
}

/* The store joins the others; whichever of one file's stores the VM meets first is to have all rights (F3).
 */
static void file_publish(struct store_file *file)
{
    machine_lock(&files.lock);
    for (struct store_file *other = files.first; other != NULL; other = other->next) {
        file_lend(file, other);
        file_lend(other, file);
    }
    file->next = files.first;
    files.first = file;
    machine_unlock(&files.lock);
}

static int file_open(struct store_file *file, int fd)
{
    struct stat st;
    long mode = linux_syscall(SYS_fcntl, fd, F_GETFL, 0);
    if (mode < 0)
        return (int)mode;
    if (mode & O_PATH)
        return -EBADF;
    if ((mode & O_ACCMODE) == O_WRONLY)
        return -EACCES;
    int error = (int)linux_syscall(SYS_fstat, fd, &st);
    if (error != 0)
        return error;
    if (!S_ISREG(st.st_mode))
        return -ENODEV;
    int access = (int)(mode & O_ACCMODE);
    file->block = file_direct_block(fd);
    int direct = file->block != 0 ? file_reopen(fd, access | O_DIRECT) : -1;
    int plain = file_open_plain(fd, access, direct < 0);
    if (plain < 0) {
        if (direct >= 0)
            linux_syscall(SYS_close, direct);
        return plain;
    }
    bool writes = access == O_RDWR;
    file->read.plain = plain;
    file->read.direct = direct < 0 ? -1 : direct;
    file->write.plain = writes ? plain : -1;
    file->write.direct = writes ? file->read.direct : -1;
    file->store = (struct store){
        .ops = &file_ops,
        .read_only = !writes,
        .key = {(uint64_t)st.st_dev, (uint64_t)st.st_ino},
    };
    return 0;
}

static int file_create(int fd, struct store **store)
{
    _Static_assert(sizeof(struct store_file) <= LINUX_POOL_BLOCK, "a store fits into a block");
    struct store_file *file = linux_pool_alloc();
    if (file == NULL)
        return -ENOMEM;
    int error = file_open(file, fd);
    if (error != 0) {
        linux_pool_free(file);
        return error;
    }
    file_publish(file);
    *store = &file->store;
    return 0;
}

int fl_store_file(int fd, struct store **store)
{
    sigset_t saved;
    linux_signals_block(&saved);
    int error = file_create(fd, store);
    linux_signals_restore(&saved);
    return error;
}
