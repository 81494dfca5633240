/*
 * streams.c: FILE streams of managed files. libc calls the kernel for a
 * stream internally, by no name that the shim could replace; so a stream
 * that is opened on a managed file gets functions of its own (fopencookie).
 *
 *   fopen, fdopen ─▶ managed? ─ no ─▶ libc's own
 *                       │ yes
 *                    fopencookie: read, write, lseek, close of this library, on the descriptor
 *
 * fileno works, since the descriptor's number, which libc leaves at -2 for such a stream, is filled in.
 *
 * Does not do: streams that were open before their file became managed, which bypass
 * the cache; wide characters, which libc does not allow for such streams (docs/run.md).
 */
#include "fdtable.h"
#include "fresh.h"
#include "real.h"
#include <stdio.h>
#include <string.h>

/* ---- the functions --------------------------------------------------------------------------------- */

static int cookie_fd(void *cookie)
{
    return (int)(intptr_t)cookie;
}

static ssize_t stream_read(void *cookie, char *to, size_t len)
{
    return read(cookie_fd(cookie), to, len);
}

/* Returns less than len only for an error, as libc expects. */
static ssize_t stream_write(void *cookie, const char *from, size_t len)
{
    size_t done = 0;
    ssize_t r;

    do {
        r = write(cookie_fd(cookie), from + done, len - done);
        done += r > 0 ? (size_t)r : 0;
    } while (r > 0 && done < len);
    return (ssize_t)done;
}

static int stream_seek(void *cookie, off64_t *offset, int whence)
{
    off_t r = lseek(cookie_fd(cookie), *offset, whence);

    if (r < 0)
        return -1;
    *offset = r;
    return 0;
}

static int stream_close(void *cookie)
{
    return close(cookie_fd(cookie));
}

/* ---- opening --------------------------------------------------------------------------------------- */

/* The open flags of "r+", "wbe" …; -1: libc's own ("ccs=" wants wide characters, or the mode is wrong). */
static int stream_flags(const char *mode)
{
    int flags;

    if (strchr(mode, ',') != NULL)
        return -1;
    switch (mode[0]) {
    case 'r':
        flags = O_RDONLY;
        break;
    case 'w':
        flags = O_WRONLY | O_CREAT | O_TRUNC;
        break;
    case 'a':
        flags = O_WRONLY | O_CREAT | O_APPEND;
        break;
    default:
        return -1;
    }
    if (strchr(mode, '+') != NULL)
        flags = (flags & ~O_ACCMODE) | O_RDWR;
    flags |= strchr(mode, 'x') != NULL ? O_EXCL : 0;
    return flags | (strchr(mode, 'e') != NULL ? O_CLOEXEC : 0);
}

static FILE *stream_open(int fd, const char *mode)
{
    static const cookie_io_functions_t functions = {stream_read, stream_write, stream_seek, stream_close};
    const char plain[] = {mode[0], strchr(mode, '+') != NULL ? '+' : '\0', '\0'};
    FILE *stream = fopencookie((void *)(intptr_t)fd, plain, functions);

    if (stream != NULL)
        stream->_fileno = fd;
    return stream;
}

/* libc has opened a descriptor internally. */
static FILE *opened(FILE *stream, const char *mode)
{
    int flags = stream_flags(mode);

    if (stream == NULL)
        return NULL;
    if (files_mapped != 0)
        fd_forget(fileno(stream));
    fresh_opened(fileno(stream), flags < 0 ? O_RDWR : flags); /* "ccs=": perhaps for writing */
    return stream;
}

FL_EXPORT FILE *fopen(const char *path, const char *mode)
{
    int flags = files_mapped != 0 && shim_on() ? stream_flags(mode) : -1;
    FILE *stream;
    int fd;

    if (flags < 0 || !fd_path_is_managed(AT_FDCWD, path, 0))
        return opened(shim_real()->fopen(path, mode), mode);
    fd = open(path, flags, 0666);
    if (fd < 0)
        return NULL;
    stream = stream_open(fd, mode);
    if (stream == NULL)
        close(fd);
    return stream;
}

FL_EXPORT FILE *fopen64(const char *path, const char *mode)
{
    return fopen(path, mode);
}

/* Checks that the descriptor allows what the stream is to do; "a" makes it append. Errors: as fdopen's. */
static int fdopen_prepare(const struct fd_call *call, int flags)
{
    if (((flags & O_ACCMODE) != O_WRONLY && !fd_may_read(call)) ||
        ((flags & O_ACCMODE) != O_RDONLY && !fd_may_write(call)))
        return -EINVAL;
    if ((flags & O_APPEND) != 0 && (call->flags & O_APPEND) == 0)
        return (int)linux_syscall(SYS_fcntl, call->fd, F_SETFL, call->flags | O_APPEND);
    return 0;
}

FL_EXPORT FILE *fdopen(int fd, const char *mode)
{
    int flags = files_mapped != 0 ? stream_flags(mode) : -1;
    struct fd_call call;
    int error;

    if (flags < 0 || fd_is_other(fd) || !fd_begin(fd, &call))
        return shim_real()->fdopen(fd, mode);
    error = fdopen_prepare(&call, flags);
    fd_end(&call);
    return shim_return(error) == 0 ? stream_open(fd, mode) : NULL;
}

/* The stream becomes an ordinary one of libc's. */
FL_EXPORT FILE *freopen(const char *path, const char *mode, FILE *stream)
{
    return opened(shim_real()->freopen(path, mode, stream), mode);
}

FL_EXPORT FILE *freopen64(const char *path, const char *mode, FILE *stream)
{
    return freopen(path, mode, stream);
}
