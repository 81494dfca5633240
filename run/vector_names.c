/*
 * vector_names.c: libc's names for the calls of vector_calls.c; file_names.c calls those that read and write
 * files. Without managed memory in the vector they call libc's own, which are cancellation points.
 */
#include "fdtable.h"
#include "real.h"
#include "self_memory.h"
#include "user_copy.h"
#include "vector.h"
#include "window.h"
#include <limits.h>

/* False when the vector cannot be read: the kernel refuses it. */
static bool iov_is_managed(const struct iovec *iov, size_t npieces)
{
    struct iovec piece[VECTOR_SMALL];

    if (!shim_on() || npieces > IOV_MAX)
        return false;
    if (window_has((uintptr_t)iov))
        return true;
    for (size_t done = 0, n; done < npieces; done += n) {
        n = npieces - done < VECTOR_SMALL ? npieces - done : VECTOR_SMALL;
        if (!user_read(piece, iov + done, n * sizeof *piece))
            return false;
        for (size_t i = 0; i < n; i++)
            if (window_has((uintptr_t)piece[i].iov_base))
                return true;
    }
    return false;
}

/* *ancillary is set when the message has room for descriptors. */
static bool message_is_managed(const struct msghdr *program, bool *ancillary)
{
    struct msghdr message;

    if (!shim_on() || !user_read(&message, program, sizeof message))
        return false;
    *ancillary |= message.msg_controllen != 0;
    return window_has((uintptr_t)program) || window_has((uintptr_t)message.msg_name) ||
           window_has((uintptr_t)message.msg_control) || iov_is_managed(message.msg_iov, message.msg_iovlen);
}

/* The kernel takes no more than IOV_MAX at a time. */
static bool messages_are_managed(const struct mmsghdr *message, unsigned n, bool *ancillary)
{
    bool managed = false;

    for (unsigned i = 0; i < n && i < IOV_MAX; i++)
        managed |= message_is_managed(&message[i].msg_hdr, ancillary);
    return managed;
}

static long managed(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    const uint64_t arg[6] = {a, b, c, d, e, f};
    sigset_t mask;
    long r;

    linux_signals_block(&mask);
    r = vector_call(number, arg, &mask);
    linux_signals_restore(&mask);
    return shim_return(r);
}

#define U(x) ((uint64_t)(x))

ssize_t vector_readv(int fd, const struct iovec *iov, int n)
{
    if (!iov_is_managed(iov, (size_t)n))
        return shim_real()->readv(fd, iov, n);
    return managed(SYS_readv, U(fd), U(iov), U(n), 0, 0, 0);
}

ssize_t vector_writev(int fd, const struct iovec *iov, int n)
{
    if (!iov_is_managed(iov, (size_t)n))
        return shim_real()->writev(fd, iov, n);
    return managed(SYS_writev, U(fd), U(iov), U(n), 0, 0, 0);
}

ssize_t vector_preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
    if (!iov_is_managed(iov, (size_t)n))
        return shim_real()->preadv(fd, iov, n, offset);
    return managed(SYS_preadv, U(fd), U(iov), U(n), U(offset), 0, 0);
}

ssize_t vector_pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
    if (!iov_is_managed(iov, (size_t)n))
        return shim_real()->pwritev(fd, iov, n, offset);
    return managed(SYS_pwritev, U(fd), U(iov), U(n), U(offset), 0, 0);
}

ssize_t vector_preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    if (!iov_is_managed(iov, (size_t)n))
        return shim_real()->preadv2(fd, iov, n, offset, flags);
    return managed(SYS_preadv2, U(fd), U(iov), U(n), U(offset), 0, U(flags));
}

ssize_t vector_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    if (!iov_is_managed(iov, (size_t)n))
        return shim_real()->pwritev2(fd, iov, n, offset, flags);
    return managed(SYS_pwritev2, U(fd), U(iov), U(n), U(offset), 0, U(flags));
}

FL_EXPORT ssize_t vmsplice(int fd, const struct iovec *iov, size_t n, unsigned flags)
{
    if (!iov_is_managed(iov, n))
        return shim_real()->vmsplice(fd, iov, n, flags);
    return managed(SYS_vmsplice, U(fd), U(iov), U(n), U(flags), 0, 0);
}

static bool transfer_is_ours(pid_t pid, const struct iovec *local, unsigned long nlocal,
                             const struct iovec *remote, unsigned long nremote)
{
    return iov_is_managed(local, nlocal) || (iov_is_managed(remote, nremote) && self_is_pid(pid));
}

FL_EXPORT ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long nlocal,
                                   const struct iovec *remote, unsigned long nremote, unsigned long flags)
{
    if (!transfer_is_ours(pid, local, nlocal, remote, nremote))
        return shim_real()->process_vm_readv(pid, local, nlocal, remote, nremote, flags);
    return managed(SYS_process_vm_readv, U(pid), U(local), nlocal, U(remote), nremote, flags);
}

FL_EXPORT ssize_t process_vm_writev(pid_t pid, const struct iovec *local, unsigned long nlocal,
                                    const struct iovec *remote, unsigned long nremote, unsigned long flags)
{
    if (!transfer_is_ours(pid, local, nlocal, remote, nremote))
        return shim_real()->process_vm_writev(pid, local, nlocal, remote, nremote, flags);
    return managed(SYS_process_vm_writev, U(pid), U(local), nlocal, U(remote), nremote, flags);
}

FL_EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    bool ancillary = false;

    if (!message_is_managed(message, &ancillary))
        return shim_real()->sendmsg(fd, message, flags);
    return managed(SYS_sendmsg, U(fd), U(message), U(flags), 0, 0, 0);
}

/* A message may have brought descriptors of managed files (SCM_RIGHTS). */
static long received(long r)
{
    if (r >= 0 && files_mapped != 0)
        fd_forget_all();
    return r;
}

FL_EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    bool ancillary = false;
    ssize_t r;

    if (!message_is_managed(message, &ancillary))
        r = shim_real()->recvmsg(fd, message, flags);
    else
        r = managed(SYS_recvmsg, U(fd), U(message), U(flags), 0, 0, 0);
    return ancillary ? received(r) : r;
}

FL_EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags)
{
    bool ancillary = false;

    if (!messages_are_managed(messages, n, &ancillary))
        return shim_real()->sendmmsg(fd, messages, n, flags);
    return (int)managed(SYS_sendmmsg, U(fd), U(messages), n, U(flags), 0, 0);
}

FL_EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags, struct timespec *timeout)
{
    bool ancillary = false;
    long r;

    if (!messages_are_managed(messages, n, &ancillary))
        r = shim_real()->recvmmsg(fd, messages, n, flags, timeout);
    else
        r = managed(SYS_recvmmsg, U(fd), U(messages), n, U(flags), U(timeout), 0);
    return (int)(ancillary ? received(r) : r);
}
