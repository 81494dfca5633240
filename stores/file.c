/*
 * file.c: the store behind fl_open: a regular file, read and written past the kernel's page cache where its
 * file system can do that.
 *
 *                            ┌─ waited for at once: writes, several readers ─▶ preadv, pwritev in the caller
 *   submit ─▶ runs of memory ┤
 *                            └─ waited for later or never, a single reader  ─▶ aio.c ─▶ file_…_complete
 *
 *   file:    |<------------- body: whole pages, direct -------------->|<- tail: buffered ->|end
 *
 * Each file has one descriptor, opened anew: O_DIRECT, advice and O_APPEND belong to the open file, and the
 * program's own must not change. A tail is moved through the page cache with that descriptor, too: by a
 * shared mapping that lives as long as the transfer, and that the kernel itself copies to
 * (process_vm_writev), so that an error is one of the call and no SIGBUS. A second descriptor would have to
 * be closed at some time, which costs the process its record locks on the file (linux_fd.h). So one is
 * opened, for a moment, only where the mapping fails, to learn why, or where that call is missing. After each
 * transfer the page cache drops what went through it, so that memory is not used twice.
 *
 *   SF1  No write extends the file: each is trimmed to the size that fstat returns then. The core has no
 *        write of the last page under way while file_truncate changes the size.
 *   SF2  A page that lies wholly beyond the end is not read as zeros: the request fails with ENXIO, because
 *        the file has shrunk behind the VM's back, and the program must get SIGBUS as with the kernel's
 *        mapping. The tail of the last page is zeros.
 *
 * Mixing direct and buffered transfers of one block is coherent on ext4, xfs and btrfs: a direct transfer
 * first writes out and drops the cached pages in its way. The tail is also synced at once, so that a direct
 * read finds it on the disk elsewhere, too.
 *
 * Lock: none. A store does not change between its opening and its end; file_readers is atomic.
 *
 * Does not do: rights. The VM keeps the first store of a file for reading, and the first one that may write
 * for writing (vnode_pager.c).
 */
#include "aio.h"
#include "change.h"
#include "file_space.h"
#include "linux_fd.h"
#include "linux_machine.h"
#include "linux_pool.h"
#include "linux_syscall.h"
#include "stores.h"

#include <errno.h>
#include <faultline/faultline.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define FILE_BLOCK_MIN 512 /* the least that store.h allows; some file systems would take single bytes */

struct store_file {
    struct store store;
    int fd;
    bool direct;    /* fd is O_DIRECT; false: the file system has no direct I/O */
    uint32_t block; /* direct transfers are multiples of it; bytes, a power of two, at most a page */
    struct file_change change; /* atomics */
};

/* ---- runs: the request's memory as the kernel wants it ------------------------------------------------- */

/* Describes [done_bytes, end_bytes) of the request in at most AIO_SEGMENTS segments, neighbours
 * merged. Returns their number. */
static unsigned file_segments(const struct store_request *request, uint64_t done_bytes, uint64_t end_bytes,
                              struct iovec *iov)
{
    uint64_t start = request->offset & VM_PAGE_MASK;
    unsigned n = 0;
    while (done_bytes < end_bytes) {
        uint64_t at = start + done_bytes; /* from the first page's first byte on */
        char *addr = (char *)request->addr[atop(at)] + (at & VM_PAGE_MASK);
        size_t len = VM_PAGE_SIZE - (at & VM_PAGE_MASK);
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

/* One preadv or pwritev of [done_bytes, end_bytes), which may be short. -EINTR is tried again. */
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

static int file_size_fd(int fd, uint64_t *len_bytes)
{
    struct stat st;
    int error = (int)linux_syscall(SYS_fstat, fd, &st);
    if (error == 0)
        *len_bytes = (uint64_t)st.st_size;
    return error;
}

/* ---- through the page cache ---------------------------------------------------------------------------- */

/* Transfers through another descriptor, which is not O_DIRECT. */
static int64_t file_transfer_reopened(const struct store_file *file, long number,
                                      const struct store_request *request, uint64_t done_bytes,
                                      uint64_t end_bytes)
{
    int plain = linux_fd_reopen(file->fd, file->store.read_only ? O_RDONLY : O_RDWR);
    if (plain < 0)
        return plain;
    int64_t moved = file_transfer(plain, number, request, done_bytes, end_bytes);
    linux_fd_close(plain);
    return moved;
}

/* Lets the kernel copy between the segments and `map`, which shows the file. */
static int64_t file_copy_mapped(long number, const struct iovec *iov, unsigned n, char *map,
                                uint64_t len_bytes)
{
    struct iovec remote = {.iov_base = map, .iov_len = len_bytes};
    long pid = linux_syscall(SYS_getpid);
    return linux_syscall(number == SYS_preadv ? SYS_process_vm_readv : SYS_process_vm_writev, pid, iov, n,
                         &remote, 1, 0);
}

/* Transfers through a mapping. Errors: of mmap and of process_vm_readv; -EFAULT: the file could not be
 * read or written there. */
static int64_t file_transfer_mapped(const struct store_file *file, long number,
                                    const struct store_request *request, uint64_t done_bytes,
                                    uint64_t end_bytes)
{
    struct iovec iov[AIO_SEGMENTS];
    unsigned n = file_segments(request, done_bytes, end_bytes, iov);
    uint64_t start = request->offset + done_bytes, len_bytes = 0, size;
    int error = file_size_fd(file->fd, &size);
    if (error != 0)
        return error;
    for (unsigned i = 0; i < n; i++)
        len_bytes += iov[i].iov_len;
    len_bytes = store_trim(size, start, len_bytes);
    if (len_bytes == 0)
        return 0;
    size_t map_bytes = round_page(start + len_bytes) - trunc_page(start);
    int prot = number == SYS_preadv ? PROT_READ : PROT_READ | PROT_WRITE;
    long map = linux_syscall(SYS_mmap, 0, map_bytes, prot, MAP_SHARED, file->fd, trunc_page(start));
    if (linux_syscall_failed(map))
        return map;
    linux_syscall(SYS_madvise, map, map_bytes, MADV_DONTFORK);
    linux_syscall(SYS_madvise, map, map_bytes, MADV_RANDOM);
    int64_t moved = file_copy_mapped(number, iov, n, (char *)map + (start & VM_PAGE_MASK), len_bytes);
    linux_syscall(SYS_munmap, map, map_bytes);
    return moved;
}

/* One transfer through the page cache. Returns what preadv and pwritev would. */
static int64_t file_transfer_buffered(const struct store_file *file, long number,
                                      const struct store_request *request, uint64_t done_bytes,
                                      uint64_t end_bytes)
{
    if (!file->direct)
        return file_transfer(file->fd, number, request, done_bytes, end_bytes);
    int64_t moved = file_transfer_mapped(file, number, request, done_bytes, end_bytes);
    return moved >= 0 ? moved : file_transfer_reopened(file, number, request, done_bytes, end_bytes);
}

/* Makes the page cache drop what a buffered transfer of [start, end) left there. It is advice: a
 * failure does not matter. */
static void file_uncache(int fd, uint64_t start, uint64_t end)
{
    start = trunc_page(start);
    linux_syscall(SYS_fadvise64, fd, start, round_page(end) - start, POSIX_FADV_DONTNEED);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

/* The transfer stopped at done_bytes because the file ends: fills the rest with zeros. -ENXIO: whole
 * pages are missing (SF2). */
static int file_read_tail(struct store_file *file, struct store_request *request, uint64_t done_bytes)
{
    uint64_t size;
    int error = file_size_fd(file->fd, &size);
    if (error != 0)
        return error;
    if (size <= trunc_page(request->offset) + ptoa(request->npages - 1))
        return -ENXIO;
    uint64_t start = request->offset & VM_PAGE_MASK, end_bytes = request->len_bytes;
    while (done_bytes < end_bytes) {
        uint64_t at = start + done_bytes;
        size_t len = VM_PAGE_SIZE - (at & VM_PAGE_MASK);
        if (len > end_bytes - done_bytes)
            len = end_bytes - done_bytes;
        __builtin_memset((char *)request->addr[atop(at)] + (at & VM_PAGE_MASK), 0, len);
        done_bytes += len;
    }
    return 0;
}

/*
 * Reads the rest of the request, from done_bytes on, in this thread. Short transfers are continued. It goes
 * through the page cache from where one stopped inside a block, or where direct I/O fails (a tail, on a file
 * system that wants the end aligned, too).
 */
static int file_read_rest(struct store_file *file, struct store_request *request, uint64_t done_bytes)
{
    uint64_t end_bytes = request->len_bytes;
    bool direct = file->direct;
    bool buffered = false;
    int error = 0;
    while (done_bytes < end_bytes) {
        bool aligned = direct && (done_bytes & (file->block - 1)) == 0;
        int64_t moved = aligned ? file_transfer(file->fd, SYS_preadv, request, done_bytes, end_bytes)
                                : file_transfer_buffered(file, SYS_preadv, request, done_bytes, end_bytes);
        buffered |= !aligned;
        if (moved == -EINVAL && aligned) {
            direct = false;
            continue;
        }
        if (moved <= 0) {
            error = moved < 0 ? (int)moved : file_read_tail(file, request, done_bytes);
            break;
        }
        done_bytes += (uint64_t)moved;
    }
    if (buffered)
        file_uncache(file->fd, request->offset, request->offset + end_bytes);
    return error;
}

/*
 * How many threads wait for a read of their own. A single one reads through aio.c, where it can poll for the
 * end instead of sleeping. Several would take each other's processors by that, so they read by plain calls;
 * so does a single one for a while after there were several.
 */
static _Atomic uint32_t file_readers;

/* An asynchronous read ended. When it was short, the rest is read here. */
static void file_read_complete(struct store_request *request, int64_t result)
{
    struct store_file *file = (struct store_file *)request->store_private[AIO_PRIVATE];
    int error = 0;
    if (result < 0 && result != -EINVAL && result != -EAGAIN)
        error = (int)result;
    else if (result < (int64_t)request->len_bytes)
        error = file_read_rest(file, request, result < 0 ? 0 : (uint64_t)result);
    if (request->flags & STORE_REQUEST_WAIT)
        atomic_fetch_sub(&file_readers, 1);
    request->done(request, error);
}

static void file_read_add(struct store_file *file, struct aio_batch *batch, struct store_request *request)
{
    unsigned n = file_segments(request, 0, request->len_bytes, aio_batch_room(batch, request->op));
    request->store_private[AIO_PRIVATE] = (uintptr_t)file;
    aio_batch_add(batch, file->fd, request, n, request->offset, file_read_complete);
}

/* Reads for a thread that waits. */
static void file_read(struct store_file *file, struct store_request *request)
{
    struct aio_batch batch;
    bool alone = atomic_fetch_add(&file_readers, 1) == 0;
    if (!alone)
        aio_look_no_more();
    if (file->direct && alone && aio_quick()) {
        aio_batch_begin(&batch);
        file_read_add(file, &batch, request);
        aio_batch_submit(&batch);
        return;
    }
    int error = file_read_rest(file, request, 0);
    atomic_fetch_sub(&file_readers, 1);
    request->done(request, error);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* Writes [done_bytes, end_bytes) of the request, past the page cache or through it. */
static int file_write_range(struct store_file *file, struct store_request *request, uint64_t done_bytes,
                            uint64_t end_bytes, bool buffered)
{
    while (done_bytes < end_bytes) {
        int64_t moved = buffered ? file_transfer_buffered(file, SYS_pwritev, request, done_bytes, end_bytes)
                                 : file_transfer(file->fd, SYS_pwritev, request, done_bytes, end_bytes);
        if (moved <= 0)
            return moved < 0 ? (int)moved : -EIO;
        done_bytes += (uint64_t)moved;
    }
    return 0;
}

/* The same through the page cache, which is synced and dropped at once. */
static int file_write_buffered(struct store_file *file, struct store_request *request, uint64_t done_bytes,
                               uint64_t end_bytes)
{
    int error = file_write_range(file, request, done_bytes, end_bytes, true);
    if (error == 0)
        error = (int)linux_syscall(SYS_fdatasync, file->fd);
    file_uncache(file->fd, request->offset + done_bytes, request->offset + end_bytes);
    return error;
}

/*
 * Writes [done_bytes, end_bytes) of the request, which lie in the file's body, past the page cache; through
 * it where this part of the file allows nothing else: encrypted, compressed, inline.
 */
static int file_write_body(struct store_file *file, struct store_request *request, uint64_t done_bytes,
                           uint64_t end_bytes)
{
    int error = file_write_range(file, request, done_bytes, end_bytes, false);
    if (error == -EINVAL)
        error = file_write_buffered(file, request, done_bytes, end_bytes);
    return error;
}

/*
 * Returns how many of the request's bytes lie within the file, which has `size` bytes (SF1); the others are
 * dropped, as with the kernel's mapping. *body_bytes: how many of these are written past the page cache.
 * They are whole pages of the file, even where blocks are smaller: no page is written both ways
 * (file_settle says why).
 */
static uint64_t file_write_trim(const struct store_file *file, const struct store_request *request,
                                uint64_t size, uint64_t *body_bytes)
{
    *body_bytes = file->direct ? store_trim(trunc_page(size), request->offset, request->len_bytes) : 0;
    return store_trim(size, request->offset, request->len_bytes);
}

/* Begins a change of ours, which file_change_end ends. *st: the file before it. Errors: of fstat(2). */
static int file_change_here(struct store_file *file, struct stat *st)
{
    int error = (int)linux_syscall(SYS_fstat, file->fd, st);
    if (error == 0)
        file_change_begin(&file->change, st);
    return error;
}

static int file_write(struct store_file *file, struct store_request *request)
{
    struct stat st;
    uint64_t body_bytes;
    int error = file_change_here(file, &st);
    if (error != 0)
        return error;
    uint64_t end_bytes = file_write_trim(file, request, (uint64_t)st.st_size, &body_bytes);
    if (body_bytes > 0)
        error = file_write_body(file, request, 0, body_bytes);
    if (error == 0 && body_bytes < end_bytes)
        error = file_write_buffered(file, request, body_bytes, end_bytes);
    file_change_end(&file->change, file->fd);
    return error;
}

/* An asynchronous write ended. All of it lay in the body. */
static void file_write_complete(struct store_request *request, int64_t result)
{
    struct store_file *file = (struct store_file *)request->store_private[AIO_PRIVATE];
    uint64_t done_bytes = result < 0 ? 0 : (uint64_t)result;
    int error = 0;
    if (result < 0 && result != -EINVAL && result != -EAGAIN)
        error = (int)result;
    else if (done_bytes < request->len_bytes)
        error = file_write_body(file, request, done_bytes, request->len_bytes);
    file_change_end(&file->change, file->fd);
    request->done(request, error);
}

/* st: the file right before. */
static void file_write_add(struct store_file *file, struct aio_batch *batch, struct store_request *request,
                           const struct stat *st)
{
    unsigned n = file_segments(request, 0, request->len_bytes, aio_batch_room(batch, request->op));
    request->store_private[AIO_PRIVATE] = (uintptr_t)file;
    file_change_begin(&file->change, st);
    aio_batch_add(batch, file->fd, request, n, request->offset, file_write_complete);
}

/* ---- the store ----------------------------------------------------------------------------------------- */

static void file_submit_here(struct store_file *file, struct store_request *request)
{
    int error = request->op == STORE_READ ? file_read_rest(file, request, 0) : file_write(file, request);
    request->done(request, error);
}

/* Whether the request can be asynchronous: it is direct, and a write lies wholly in the
 * body of a file of `size`. */
static bool file_async(const struct store_file *file, const struct store_request *request, uint64_t size)
{
    return file->direct &&
           (request->op == STORE_READ || request->offset + request->len_bytes <= trunc_page(size));
}

static bool file_any_write(struct store_request **request, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (request[i]->op == STORE_WRITE)
            return true;
    return false;
}

/* What this thread must do itself comes last, while the rest is under way. */
static void file_submit_batch(struct store *store, struct store_request **request, uint32_t n)
{
    struct store_file *file = (struct store_file *)store;
    struct aio_batch batch;
    struct stat st = {.st_size = 0}; /* while the size is not known, no write lies in the body */
    uint32_t here = 0;
    if (file_any_write(request, n) && linux_syscall(SYS_fstat, file->fd, &st) != 0)
        st.st_size = 0; /* file_write will ask again, and return the error */
    aio_batch_begin(&batch);
    for (uint32_t i = 0; i < n; i++) {
        request[i]->store_private[AIO_STATE] = AIO_REAPED;
        if (!file_async(file, request[i], (uint64_t)st.st_size))
            request[here++] = request[i];
        else if (request[i]->op == STORE_READ)
            file_read_add(file, &batch, request[i]);
        else
            file_write_add(file, &batch, request[i], &st);
    }
    aio_batch_submit(&batch);
    for (uint32_t i = 0; i < here; i++)
        file_submit_here(file, request[i]);
}

static void file_submit(struct store *store, struct store_request *request)
{
    struct store_file *file = (struct store_file *)store;
    request->store_private[AIO_STATE] = AIO_REAPED;
    if (!(request->flags & STORE_REQUEST_WAIT))
        file_submit_batch(store, &request, 1);
    else if (request->op == STORE_READ)
        file_read(file, request);
    else
        file_submit_here(file, request);
}

static void file_wait(struct store *store, struct store_request *request)
{
    (void)store;
    aio_wait(request);
}

static int file_size(struct store *store, uint64_t *len_bytes)
{
    return file_size_fd(((struct store_file *)store)->fd, len_bytes);
}

/* fdatasync is enough: it also writes the size that file_truncate set. */
static int file_flush(struct store *store)
{
    struct store_file *file = (struct store_file *)store;
    long error;
    do {
        error = linux_syscall(SYS_fdatasync, file->fd);
    } while (error == -EINTR);
    return (int)error;
}

/* The kernel zeroed a part of a page through its page cache: syncs and drops it, as
 * file_write_buffered does. */
static int file_cut_done(struct store_file *file, long error, uint64_t start, uint64_t end)
{
    if (error != 0 || !file->direct || ((start | end) & VM_PAGE_MASK) == 0)
        return (int)error;
    error = linux_syscall(SYS_fdatasync, file->fd);
    file_uncache(file->fd, start, end);
    return (int)error;
}

static int file_truncate(struct store *store, uint64_t len_bytes)
{
    struct store_file *file = (struct store_file *)store;
    struct stat st;
    int error = file_change_here(file, &st);
    if (error != 0)
        return error;
    long result;
    do {
        result = linux_syscall(SYS_ftruncate, file->fd, len_bytes);
    } while (result == -EINTR);
    /* Longer: the rest of the last block is zeros on the disk already. */
    error =
        len_bytes < (uint64_t)st.st_size ? file_cut_done(file, result, len_bytes, len_bytes) : (int)result;
    file_change_end(&file->change, file->fd);
    return error;
}

static int file_punch(struct store *store, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct store_file *file = (struct store_file *)store;
    struct stat st;
    int error = file_change_here(file, &st);
    if (error != 0)
        return error;
    long result;
    do {
        result = linux_syscall(SYS_fallocate, file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                               len_bytes);
    } while (result == -EINTR);
    error = file_cut_done(file, result, offset, offset + len_bytes);
    file_change_end(&file->change, file->fd);
    return error;
}

static int file_changed(struct store *store, enum store_ask how, unsigned *what)
{
    struct store_file *file = (struct store_file *)store;
    return file_change_what(&file->change, file->fd, how, what);
}

static int file_allocate(struct store *store, vm_ooffset_t offset, uint64_t len_bytes)
{
    struct store_file *file = (struct store_file *)store;
    struct stat st;
    int error = file_change_here(file, &st);
    if (error != 0)
        return error;
    error = file_space_allocate(file->fd, offset, len_bytes);
    file_change_end(&file->change, file->fd);
    return error;
}

static uint64_t file_room(struct store *store)
{
    return file_space_room(((struct store_file *)store)->fd);
}

static void file_close(struct store *store)
{
    struct store_file *file = (struct store_file *)store;
    linux_fd_close(file->fd);
    linux_pool_free(file);
}

static const struct store_ops file_ops = {
    .name = "file",
    .submit = file_submit,
    .submit_batch = file_submit_batch,
    .wait = file_wait,
    .size = file_size,
    .flush = file_flush,
    .close = file_close,
    .truncate = file_truncate,
    .punch = file_punch,
    .changed = file_changed,
    .allocate = file_allocate,
    .room = file_room,
};

/* ---- opening ------------------------------------------------------------------------------------------- */

/* Returns what direct transfers have to be multiples of; 0: there is no direct I/O, or none in pages. */
static uint32_t file_direct_block(int fd)
{
    struct statx stx;
    if (linux_syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) != 0)
        return VM_PAGE_SIZE;
    if (!(stx.stx_mask & STATX_DIOALIGN)) /* the file system does not say: whole pages suit all of them */
        return VM_PAGE_SIZE;
    uint32_t block = stx.stx_dio_offset_align;
    if (block == 0 || block > VM_PAGE_SIZE || stx.stx_dio_mem_align > VM_PAGE_SIZE)
        return 0;
    if (block < stx.stx_dio_mem_align) /* a block's memory begins as far into its page as the block does */
        block = stx.stx_dio_mem_align;
    return block < FILE_BLOCK_MIN ? FILE_BLOCK_MIN : block;
}

/*
 * Returns a descriptor without O_DIRECT: the file opened anew, or, if that fails (no /proc, no right
 * to the file by its name), a duplicate of the program's own. The kernel must not read ahead into its
 * page cache through it.
 */
static int file_open_plain(int fd, int mode)
{
    int access = mode & O_ACCMODE;
    int plain = linux_fd_reopen(fd, access);
    if (plain >= 0)
        linux_syscall(SYS_fadvise64, plain, 0, 0, POSIX_FADV_RANDOM);
    else if (access == O_RDONLY || !(mode & O_APPEND)) /* O_APPEND would ignore the offset of pwrite */
        plain = linux_fd_dup(fd);
    return plain;
}

/*
 * Writes to the disk, and drops from the page cache, what other descriptors wrote before the first direct
 * write. A page that the file system still keeps for its journal cannot be dropped when a direct write passes
 * it; Linux then marks the file as damaged, and the next fsync fails with EIO. An error here concerns the
 * earlier writer, whose own fsync reports it, too.
 */
static void file_settle(int fd)
{
    linux_syscall(SYS_fdatasync, fd);
    linux_syscall(SYS_fadvise64, fd, 0, 0, POSIX_FADV_DONTNEED);
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
    file->fd = file->block != 0 ? linux_fd_reopen(fd, access | O_DIRECT) : -1;
    file->direct = file->fd >= 0;
    if (!file->direct)
        file->fd = file_open_plain(fd, (int)mode);
    if (file->fd < 0)
        return file->fd;
    if (file->direct && access == O_RDWR)
        file_settle(file->fd);
    file_change_open(&file->change, &st);
    file->store = (struct store){
        .ops = &file_ops,
        .read_only = access == O_RDONLY,
        .block_bytes = file->direct ? file->block : VM_PAGE_SIZE,
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
    *store = &file->store;
    return 0;
}

int fl_store_file_fd(const struct store *store)
{
    return ((const struct store_file *)store)->fd;
}

int fl_store_file(int fd, struct store **store)
{
    sigset_t saved;
    linux_signals_block(&saved);
    int error = file_create(fd, store);
    linux_signals_restore(&saved);
    return error;
}
