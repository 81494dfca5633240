/*
 * file_copy.c: calls by which the kernel copies between descriptors, when one of them is a managed file.
 *
 *   from managed, to another      write back the range ─▶ the kernel's call
 *   from a file, to managed       read, a buffer at a time ─▶ buffer ─▶ write, both by file_io
 *   from a pipe, to managed       tee ─▶ own pipe ─▶ buffer ─▶ write ─▶ consume the written bytes of the pipe
 *
 * Bytes for a managed file go through the core, so that a store to the same page meanwhile is
 * not lost. Arguments are checked by the kernel: it gets the call as it came when no byte
 * could be copied, or else a copy of length 0. A pipe keeps its bytes until the file has them.
 *
 * Does not do: share blocks between files (reflinks) if the file that is written is managed;
 * exclude other readers of the pipe, which may take bytes that are on their way to the file.
 */
#include "file_io.h"
#include "real.h"
#include "user_copy.h"
#include <sys/sendfile.h>

#define COPY_BYTES   ((size_t)256 << 10)
#define COPY_MAX     0x7ffff000 /* of one call: MAX_RW_COUNT of the kernel */
#define SPLICE_FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

static bool is_managed(int fd)
{
    struct fd_call call;

    if (fd_is_other(fd) || !fd_begin(fd, &call))
        return false;
    fd_end(&call);
    return true;
}

/* ---- the program's offsets -------------------------------------------------------------------------- */

/*
 * An offset that the program gave, or the descriptor's own
 * position, which is set when the copy is done, as the kernel does.
 */
struct copy_offset {
    int fd;
    off64_t *program; /* NULL: the descriptor's own */
    int64_t value;    /* -1: the descriptor has no position */
};

/* False: it cannot be read. */
static bool offset_read(struct copy_offset *offset, int fd, off64_t *program)
{
    offset->fd = fd;
    offset->program = program;
    if (program != NULL)
        return user_read(&offset->value, program, sizeof offset->value);
    offset->value = linux_syscall(SYS_lseek, fd, 0, SEEK_CUR);
    if (offset->value < 0)
        offset->value = -1;
    return true;
}

/* A copy of it for the kernel, in a call that moves no bytes. */
static int64_t *offset_own(struct copy_offset *offset)
{
    return offset->program != NULL ? &offset->value : NULL;
}

/* Stores how far the copy came. Errors: -EFAULT, although the bytes were copied, as with the kernel. */
static int offset_tell(const struct copy_offset *offset, bool moved)
{
    sigset_t saved;
    int error;

    if (offset->program == NULL) {
        if (moved)
            linux_syscall(SYS_lseek, offset->fd, offset->value, SEEK_SET);
        return 0;
    }
    linux_signals_block(&saved);
    error = user_copy_out(offset->program, &offset->value, sizeof offset->value);
    linux_signals_restore(&saved);
    return error;
}

/* Beyond the end of any file: the kernel refuses it before a byte is copied. */
static bool range_is_beyond(int64_t offset, size_t len)
{
    return offset < 0 || len > (uint64_t)(INT64_MAX - offset);
}

/* Writes back what the kernel is about to read from the descriptor. An error is told by the next fsync. */
static void write_back_before(int fd, off64_t *program, size_t len)
{
    struct copy_offset offset;
    struct fd_call call;

    if (fd_is_other(fd) || !shim_on() || !offset_read(&offset, fd, program) || offset.value < 0 ||
        !fd_begin(fd, &call))
        return;
    (void)!fl_vnode_sync(call.file->vnode, (uint64_t)offset.value, len);
    fd_end(&call);
}

/* ---- through a buffer ------------------------------------------------------------------------------ */

struct copy {
    struct copy_offset from, to; /* a pipe has no `from` */
    size_t len;
    unsigned flags; /* of splice */
    int pipe;       /* the pipe that is read, or -1 */
    int own[2];     /* with a pipe: a pipe of the shim's, empty between the pieces */
};

/* Errors: of the first write. */
static long write_all(struct copy *copy, const char *buffer, size_t len)
{
    size_t done = 0;
    long r = 0;

    while (done < len) {
        r = file_io_own(copy->to.fd, true, (char *)(uintptr_t)buffer + done, len - done, &copy->to.value);
        if (r <= 0)
            break;
        done += (size_t)r;
    }
    return done > 0 ? (long)done : r;
}

/* Bytes that were not written count as not read. */
static long copy_from_file(struct copy *copy, char *buffer, size_t len)
{
    int64_t at = copy->from.value;
    long got = file_io_own(copy->from.fd, false, buffer, len, &at);
    long r = got > 0 ? write_all(copy, buffer, (size_t)got) : got;

    copy->from.value += r > 0 ? r : 0;
    return r;
}

/* Consumes the written bytes of the pipe, by way of the shim's own pipe and the buffer. */
static void pipe_consume(const struct copy *copy, char *buffer, size_t len)
{
    while (len > 0) {
        long n = linux_syscall(SYS_splice, copy->pipe, NULL, copy->own[1], NULL, len, SPLICE_F_NONBLOCK);

        if (n <= 0)
            return; /* another thread or process has read them */
        len -= (size_t)n;
        for (long r = 1; n > 0 && r > 0; n -= r)
            r = linux_syscall(SYS_read, copy->own[0], buffer, n);
    }
}

/* Waits for the first byte as splice does, and is interrupted and restarted in the same way. */
static long copy_from_pipe(struct copy *copy, char *buffer, size_t len, unsigned flags)
{
    long got = linux_syscall(SYS_tee, copy->pipe, copy->own[1], len, flags);
    long r;

    if (got <= 0)
        return got;
    got = linux_syscall(SYS_read, copy->own[0], buffer, got);
    r = got > 0 ? write_all(copy, buffer, (size_t)got) : got;
    if (r > 0)
        pipe_consume(copy, buffer, (size_t)r);
    return r;
}

static long copy_pieces(struct copy *copy, char *buffer, size_t most)
{
    size_t done = 0;
    long r = 0;

    while (done < copy->len) {
        size_t n = copy->len - done < most ? copy->len - done : most;

        if (copy->pipe >= 0)
            r = copy_from_pipe(copy, buffer, n, done > 0 ? copy->flags | SPLICE_F_NONBLOCK : copy->flags);
        else
            r = copy_from_file(copy, buffer, n);
        if (r <= 0)
            break;
        done += (size_t)r;
    }
    return done > 0 ? (long)done : r;
}

static long copy_through_buffer(struct copy *copy)
{
    size_t most = copy->len < COPY_BYTES ? copy->len : COPY_BYTES;
    long memory = shim_memory(most);
    long r = 0;

    if (linux_syscall_failed(memory))
        return memory;
    if (copy->pipe >= 0)
        r = linux_syscall(SYS_pipe2, copy->own, O_CLOEXEC);
    if (r == 0) {
        r = copy_pieces(copy, (char *)memory, most);
        if (copy->pipe >= 0) {
            linux_syscall(SYS_close, copy->own[0]);
            linux_syscall(SYS_close, copy->own[1]);
        }
    }
    shim_memory_free((void *)memory, most);
    return r;
}

/* If both are positions of one descriptor, it ends up where the reading ended, as with the kernel. */
static long copy_through(struct copy *copy)
{
    long r = copy_through_buffer(copy);
    int error = offset_tell(&copy->to, r > 0);

    if (error == 0 && copy->pipe < 0)
        error = offset_tell(&copy->from, r > 0);
    return error != 0 ? error : r;
}

/* ---- copy_file_range -------------------------------------------------------------------------------- */

/*
 * How much of copy->len there is to copy, fixed before the copy makes the file
 * longer. Errors, as the kernel's: -EINVAL when the ranges overlap in one file.
 */
static long copy_room(const struct copy *copy)
{
    int64_t from = copy->from.value, to = copy->to.value;
    struct stat a, b;
    int64_t len;

    if (linux_syscall(SYS_fstat, copy->from.fd, &a) != 0 || linux_syscall(SYS_fstat, copy->to.fd, &b) != 0)
        return -EBADF;
    if (from >= a.st_size)
        return 0;
    len = copy->len < (uint64_t)(a.st_size - from) ? (int64_t)copy->len : a.st_size - from;
    if (a.st_dev == b.st_dev && a.st_ino == b.st_ino && from - to < len && to - from < len)
        return -EINVAL;
    return len > COPY_MAX ? COPY_MAX : len;
}

/* Beyond 2^64: the kernel refuses it before anything else. */
static bool range_wraps(int64_t offset, size_t len)
{
    return (uint64_t)offset + len < len;
}

FL_EXPORT ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len,
                                  unsigned flags)
{
    struct copy copy = {.len = len, .pipe = -1};
    long room;

    if (!is_managed(out) || !offset_read(&copy.from, in, in_offset) ||
        !offset_read(&copy.to, out, out_offset) || range_wraps(copy.from.value, len) ||
        range_wraps(copy.to.value, len)) {
        write_back_before(in, in_offset, len);
        return shim_real()->copy_file_range(in, in_offset, out, out_offset, len, flags);
    }
    if (shim_real()->copy_file_range(in, offset_own(&copy.from), out, offset_own(&copy.to), 0, flags) < 0)
        return -1;
    room = copy_room(&copy);
    if (room <= 0)
        return shim_return(room);
    copy.len = (size_t)room;
    return shim_return(copy_through(&copy));
}

/* ---- sendfile --------------------------------------------------------------------------------------- */

/* The kernel refuses the call, or finds nothing to read. */
static bool sendfile_is_refused(const struct copy *copy, size_t len)
{
    struct stat st;

    if (range_is_beyond(copy->from.value, len) || range_is_beyond(copy->to.value, copy->len) ||
        linux_syscall(SYS_fstat, copy->from.fd, &st) != 0)
        return true;
    return S_ISDIR(st.st_mode) || (S_ISREG(st.st_mode) && copy->from.value >= st.st_size);
}

FL_EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
    struct copy copy = {.len = len < COPY_MAX ? len : COPY_MAX, .pipe = -1};

    if (!is_managed(out) || !offset_read(&copy.from, in, offset) || !offset_read(&copy.to, out, NULL) ||
        sendfile_is_refused(&copy, len)) {
        write_back_before(in, offset, len);
        return shim_real()->sendfile(out, in, offset, len);
    }
    if (shim_real()->sendfile(out, in, offset_own(&copy.from), 0) < 0)
        return -1;
    return len == 0 ? 0 : shim_return(copy_through(&copy));
}

FL_EXPORT ssize_t sendfile64(int out, int in, off64_t *offset, size_t len)
{
    return sendfile(out, in, offset, len);
}

/* ---- splice ----------------------------------------------------------------------------------------- */

/* From a readable pipe to a writable place of the file. The kernel refuses everything else. */
static bool splice_is_ours(int in, int out, const struct copy_offset *to, size_t len, unsigned flags)
{
    long in_flags = linux_syscall(SYS_fcntl, in, F_GETFL);
    long out_flags = linux_syscall(SYS_fcntl, out, F_GETFL);
    struct stat st;

    if (in_flags < 0 || (in_flags & O_PATH) != 0 || (in_flags & O_ACCMODE) == O_WRONLY || out_flags < 0 ||
        (out_flags & (O_PATH | O_APPEND)) != 0 || (out_flags & O_ACCMODE) == O_RDONLY)
        return false;
    if (len == 0 || range_is_beyond(to->value, len) || (flags & ~SPLICE_FLAGS) != 0)
        return false;
    return linux_syscall(SYS_fstat, in, &st) == 0 && S_ISFIFO(st.st_mode);
}

FL_EXPORT ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len, unsigned flags)
{
    struct copy copy = {
        .len = len < COPY_MAX ? len : COPY_MAX, .flags = flags & SPLICE_F_NONBLOCK, .pipe = in};

    if (in_offset != NULL || !is_managed(out) || !offset_read(&copy.to, out, out_offset) ||
        !splice_is_ours(in, out, &copy.to, len, flags)) {
        write_back_before(in, in_offset, len);
        return shim_real()->splice(in, in_offset, out, out_offset, len, flags);
    }
    pthread_testcancel();
    return shim_return(copy_through(&copy));
}
