/*
 * file_copy.c: calls that copy between descriptors inside the kernel, when one of them is a managed file; and
 * lseek.
 *
 *   from managed, to another      dirty pages of the range ─▶ file ─▶ the kernel's call
 *   to managed                    read, a buffer at a time ─▶ buffer ─▶ write, both by file_io
 *
 * What goes to a managed file goes through the core, so that a store to the same page meanwhile is not lost.
 * What the kernel would refuse it is asked to refuse: a copy of no byte.
 *
 * Does not do: sharing blocks between files (reflinks), if the file that is written is managed.
 */
#include "file_io.h"
#include "real.h"
#include <sys/mman.h>
#include <sys/sendfile.h>

#define COPY_BYTES ((size_t)256 << 10)

static bool is_managed(int fd)
{
    struct fd_call call;

    if (fd_is_other(fd) || !fd_begin(fd, &call))
        return false;
    fd_end(&call);
    return true;
}

/* Before the kernel reads the descriptor. An error is told by the next fsync. */
static void write_back_before(int fd, const int64_t *offset, size_t len)
{
    struct fd_call call;
    int64_t at;

    if (fd_is_other(fd) || !fd_begin(fd, &call))
        return;
    at = offset != NULL ? *offset : linux_syscall(SYS_lseek, fd, 0, SEEK_CUR);
    if (at >= 0)
        (void)!fl_vnode_sync(call.file->vnode, (uint64_t)at, len);
    fd_end(&call);
}

/* ---- through a buffer ------------------------------------------------------------------------------ */

struct copy {
    int in, out;
    int64_t *in_offset, *out_offset; /* NULL: the descriptor's own */
    size_t len;
    bool pipe; /* what there is, and no more */
};

/*
 * One buffer. Less was written than was read: the position of a file goes back, where a pipe has lost its
 * bytes; so the pipe is read in pieces that are written whole unless the disk is full or broken.
 */
static long copy_buffer(const struct copy *copy, char *buffer, size_t len)
{
    long got = file_io_own(copy->in, false, buffer, len, copy->in_offset);
    long done = 0;
    long r = 0;

    while (done < got) {
        r = file_io_own(copy->out, true, buffer + done, (size_t)(got - done), copy->out_offset);
        if (r <= 0)
            break;
        done += r;
    }
    if (got > done && copy->in_offset != NULL)
        *copy->in_offset -= got - done;
    else if (got > done && !copy->pipe)
        linux_syscall(SYS_lseek, copy->in, done - got, SEEK_CUR);
    if (got <= 0)
        return got;
    return done > 0 ? done : r;
}

static long copy_through(const struct copy *copy)
{
    size_t most = copy->len < COPY_BYTES ? copy->len : COPY_BYTES;
    size_t done = 0;
    long r = 0;
    long memory =
        linux_syscall(SYS_mmap, 0, round_page(most), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

    if (linux_syscall_failed(memory))
        return memory;
    while (done < copy->len) {
        size_t n = copy->len - done < most ? copy->len - done : most;

        r = copy_buffer(copy, (char *)memory, n);
        if (r <= 0)
            break;
        done += (size_t)r;
        if (copy->pipe)
            break;
    }
    linux_syscall(SYS_munmap, memory, round_page(most));
    return done > 0 ? (long)done : r;
}

/* The program's offsets, which may be managed memory: looked at here, and nowhere inside. */
static long copy_with_offsets(struct copy *copy, off64_t *in_offset, off64_t *out_offset)
{
    int64_t in = in_offset != NULL ? *in_offset : 0;
    int64_t out = out_offset != NULL ? *out_offset : 0;
    long r;

    copy->in_offset = in_offset != NULL ? &in : NULL;
    copy->out_offset = out_offset != NULL ? &out : NULL;
    r = copy_through(copy);
    if (in_offset != NULL)
        *in_offset = in;
    if (out_offset != NULL)
        *out_offset = out;
    return r;
}

/* ---- the calls ------------------------------------------------------------------------------------- */

/*
 * How much of copy->len there is to copy, which is not more while the file grows by that; -EINVAL when the two
 * ranges of one file meet, as the kernel says.
 */
static long copy_room(const struct copy *copy, const off64_t *in_offset, const off64_t *out_offset)
{
    struct stat a, b;
    int64_t from = in_offset != NULL ? *in_offset : linux_syscall(SYS_lseek, copy->in, 0, SEEK_CUR);
    int64_t to = out_offset != NULL ? *out_offset : linux_syscall(SYS_lseek, copy->out, 0, SEEK_CUR);
    int64_t len;

    if (linux_syscall(SYS_fstat, copy->in, &a) != 0 || linux_syscall(SYS_fstat, copy->out, &b) != 0)
        return -EBADF;
    if (from < 0 || to < 0)
        return -EINVAL;
    if (copy->len > (uint64_t)INT64_MAX - (uint64_t)(from > to ? from : to))
        return -EOVERFLOW;
    if (from >= a.st_size)
        return 0;
    len = (int64_t)copy->len < a.st_size - from ? (int64_t)copy->len : a.st_size - from;
    if (a.st_dev == b.st_dev && a.st_ino == b.st_ino && from - to < len && to - from < len)
        return -EINVAL;
    return len;
}

FL_EXPORT ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len,
                                  unsigned flags)
{
    struct copy copy = {.in = in, .out = out, .len = len};
    long room;

    if (!is_managed(out)) {
        if (!fd_is_other(in))
            write_back_before(in, in_offset, len);
        return shim_real()->copy_file_range(in, in_offset, out, out_offset, len, flags);
    }
    if (shim_real()->copy_file_range(in, NULL, out, NULL, 0, flags) < 0)
        return -1;
    room = copy_room(&copy, in_offset, out_offset);
    if (room <= 0)
        return shim_return(room);
    copy.len = (size_t)room;
    return shim_return(copy_with_offsets(&copy, in_offset, out_offset));
}

FL_EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
    struct copy copy = {.in = in, .out = out, .len = len};

    if (!is_managed(out)) {
        if (!fd_is_other(in))
            write_back_before(in, offset, len);
        return shim_real()->sendfile(out, in, offset, len);
    }
    if (shim_real()->sendfile(out, in, NULL, 0) < 0)
        return -1;
    return shim_return(copy_with_offsets(&copy, offset, NULL));
}

FL_EXPORT ssize_t sendfile64(int out, int in, off64_t *offset, size_t len)
{
    return sendfile(out, in, offset, len);
}

/*
 * From a pipe, and not to be refused: a pipe that would wait, if that is not wanted, and a file that is only
 * appended to are left to the kernel.
 */
static bool splice_is_ours(int in, int out, unsigned flags)
{
    struct pollfd poll = {.fd = in, .events = POLLIN};
    struct stat st;

    if (linux_syscall(SYS_fstat, in, &st) != 0 || !S_ISFIFO(st.st_mode) ||
        (linux_syscall(SYS_fcntl, out, F_GETFL) & O_APPEND) != 0)
        return false;
    return (flags & SPLICE_F_NONBLOCK) == 0 || linux_syscall(SYS_poll, &poll, 1, 0) == 1;
}

FL_EXPORT ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len, unsigned flags)
{
    struct copy copy = {.in = in, .out = out, .len = len, .pipe = true};

    if (is_managed(out) && in_offset == NULL && splice_is_ours(in, out, flags))
        return shim_return(copy_with_offsets(&copy, NULL, out_offset));
    if (!fd_is_other(in))
        write_back_before(in, in_offset, len);
    return shim_real()->splice(in, in_offset, out, out_offset, len, flags);
}

/* ---- lseek ----------------------------------------------------------------------------------------- */

/*
 * Not while a call moves the position; and what is dirty is data, wherever the file still has a hole.
 */
FL_EXPORT off_t lseek(int fd, off_t offset, int whence)
{
    struct fd_call call;
    long r;

    if (fd_is_other(fd) || !fd_begin(fd, &call))
        return shim_real()->lseek(fd, offset, whence);
    if (whence == SEEK_DATA || whence == SEEK_HOLE)
        (void)!fl_vnode_sync(call.file->vnode, 0, UINT64_MAX);
    pthread_mutex_lock(&call.file->position);
    r = linux_syscall(SYS_lseek, fd, offset, whence);
    pthread_mutex_unlock(&call.file->position);
    fd_end(&call);
    return shim_return(r);
}

FL_EXPORT off64_t lseek64(int fd, off64_t offset, int whence)
{
    return lseek(fd, offset, whence);
}
