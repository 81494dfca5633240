/*
 * opens.c: calls that make descriptors. The table of descriptors forgets what it knew
 * of the number (fdtable.h), and O_TRUNC of a managed file goes through the core.
 *
 *   open, openat, creat, dup*, fcntl(F_DUPFD*) ─▶ the kernel ─▶ fd_forget
 *   fopen, freopen                             ─▶ streams.c
 *   recvmsg with ancillary data                ─▶ vector_names.c ─▶ fd_forget_all
 *
 * Only calls that can give a descriptor of an already managed file are here.
 * Pipes, sockets and new files (mkstemp, tmpfile) cannot be managed already,
 * and when a file becomes managed the whole table is forgotten anyway.
 */
#include "fdtable.h"
#include "file_size.h"
#include "fresh.h"
#include "locks.h"
#include "real.h"
#include "registry.h"
#include <stdarg.h>

/* fd is a new descriptor, or -1. Returns it. */
static int number_new(int fd)
{
    if (fd >= 0 && files_mapped != 0)
        fd_forget(fd);
    return fd;
}

/* fd is a descriptor of a newly opened file, or -1. Returns it. */
static int opened(int fd, int flags)
{
    (void)number_new(fd);
    if (fd >= 0)
        fresh_opened(fd, flags);
    return fd;
}

/* ---- open ------------------------------------------------------------------------------------------ */

/* Whether the call truncates a managed file, here or in another process. */
static bool truncates_managed(int dir, const char *path, int flags)
{
    if (!shim_on() || (flags & O_TRUNC) == 0 || (flags & O_ACCMODE) == O_RDONLY ||
        (files_mapped == 0 && !registry_is_shared()))
        return false;
    return fd_path_is_managed(dir, path, (flags & O_NOFOLLOW) != 0 ? AT_SYMLINK_NOFOLLOW : 0);
}

/* Opens without O_TRUNC, then truncates. */
static int open_and_truncate(int dir, const char *path, int flags, mode_t mode)
{
    int fd = opened(shim_real()->openat(dir, path, flags & ~O_TRUNC, mode), flags);
    long r;

    if (fd < 0)
        return fd;
    if (!file_truncate_fd(fd, 0, &r)) /* the name belongs to another file by now */
        r = linux_syscall(SYS_ftruncate, fd, 0);
    if (r == 0)
        return fd;
    linux_syscall(SYS_close, fd);
    return (int)shim_return(r);
}

/* After O_TRUNC by the kernel, of a file that became managed meanwhile, or was opened O_RDONLY. */
static int truncated(int fd, int flags)
{
    struct stat st;

    if (fd >= 0 && files_mapped != 0 && (flags & O_TRUNC) != 0 && linux_syscall(SYS_fstat, fd, &st) == 0)
        file_size_changed(&st);
    return opened(fd, flags);
}

/* The mode argument, which exists only with O_CREAT or O_TMPFILE; else 0. */
#define OPEN_MODE(flags)                                                                                     \
    ({                                                                                                       \
        mode_t mode_ = 0;                                                                                    \
        if (((flags)&O_CREAT) != 0 || ((flags)&O_TMPFILE) == O_TMPFILE) {                                    \
            va_list args_;                                                                                   \
            va_start(args_, flags);                                                                          \
            mode_ = va_arg(args_, mode_t);                                                                   \
            va_end(args_);                                                                                   \
        }                                                                                                    \
        mode_;                                                                                               \
    })

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    if (truncates_managed(dir, path, flags))
        return open_and_truncate(dir, path, flags, mode);
    return truncated(shim_real()->openat(dir, path, flags, mode), flags);
}

static int open_path(const char *path, int flags, mode_t mode)
{
    if (truncates_managed(AT_FDCWD, path, flags))
        return open_and_truncate(AT_FDCWD, path, flags, mode);
    return truncated(shim_real()->open(path, flags, mode), flags);
}

FL_EXPORT int open(const char *path, int flags, ...)
{
    return open_path(path, flags, OPEN_MODE(flags));
}

FL_EXPORT int open64(const char *path, int flags, ...)
{
    return open_path(path, flags | O_LARGEFILE, OPEN_MODE(flags));
}

FL_EXPORT int openat(int dir, const char *path, int flags, ...)
{
    return open_at(dir, path, flags, OPEN_MODE(flags));
}

FL_EXPORT int openat64(int dir, const char *path, int flags, ...)
{
    return open_at(dir, path, flags | O_LARGEFILE, OPEN_MODE(flags));
}

FL_EXPORT int creat(const char *path, mode_t mode)
{
    return open_path(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

FL_EXPORT int creat64(const char *path, mode_t mode)
{
    return creat(path, mode);
}

FL_EXPORT int open_by_handle_at(int mount, struct file_handle *handle, int flags)
{
    return truncated(shim_real()->open_by_handle_at(mount, handle, flags), flags);
}

/*
 * Programs that were compiled with _FORTIFY_SOURCE call these instead, without a
 * mode. Where the flags need one, libc's own end the program; here the mode is 0.
 */
FL_EXPORT int __open_2(const char *path, int flags);
FL_EXPORT int __open64_2(const char *path, int flags);
FL_EXPORT int __openat_2(int dir, const char *path, int flags);
FL_EXPORT int __openat64_2(int dir, const char *path, int flags);

int __open_2(const char *path, int flags)
{
    return open_path(path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return open_path(path, flags | O_LARGEFILE, 0);
}

int __openat_2(int dir, const char *path, int flags)
{
    return open_at(dir, path, flags, 0);
}

int __openat64_2(int dir, const char *path, int flags)
{
    return open_at(dir, path, flags | O_LARGEFILE, 0);
}

/* ---- duplicates ------------------------------------------------------------------------------------ */

FL_EXPORT int dup(int fd)
{
    return number_new(shim_real()->dup(fd));
}

/* dup2 and dup3 are in fds.c. */
static int duplicated(int command, int r)
{
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? number_new(r) : r;
}

/* fcntl's third argument: a long, a pointer, or none. */
#define FCNTL_ARG(command)                                                                                   \
    ({                                                                                                       \
        va_list args_;                                                                                       \
        va_start(args_, command);                                                                            \
        void *arg_ = va_arg(args_, void *);                                                                  \
        va_end(args_);                                                                                       \
        arg_;                                                                                                \
    })

static int fcntl_call(int fd, int command, void *arg)
{
    if (locks_is_command(command))
        return locks_fcntl(fd, command, arg);
    return duplicated(command, shim_real()->fcntl(fd, command, arg));
}

FL_EXPORT int fcntl(int fd, int command, ...)
{
    return fcntl_call(fd, command, FCNTL_ARG(command));
}

FL_EXPORT int fcntl64(int fd, int command, ...)
{
    return fcntl_call(fd, command, FCNTL_ARG(command));
}
