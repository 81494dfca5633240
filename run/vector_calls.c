/*
 * vector_calls.c: calls with pointers in memory, which the seccomp filter does not see: readv
 * and its family, sendmsg and its family, process_vm_readv and process_vm_writev, vmsplice.
 *
 *   vector_call ─▶ vector_open ─▶ in turns: vector_hold, trap_issue, vector_advance ─▶ vector_close
 *
 * A vector whose managed bytes fit in one chunk is one call to the kernel, as the program
 * made it. So every datagram stays whole, since a chunk is at least 128 KiB (hold.c).
 */
#include "vector.h"
#include "self_memory.h"
#include "trap.h"
#include "user_copy.h"
#include "window.h"
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* ---- transfers ------------------------------------------------------------------------------------- */

bool vector_keeps_data(int fd, unsigned mode, bool writes)
{
    int type = 0;
    socklen_t len = sizeof type;

    if (S_ISREG(mode) || S_ISBLK(mode) || S_ISFIFO(mode))
        return true;
    if (!S_ISSOCK(mode))
        return false;
    return writes ||
           (linux_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM);
}

struct vector_io {
    long number;
    vm_prot_t access;       /* what the kernel does with the pieces */
    uint64_t arg[6];        /* arg[1] is the vector or the message */
    bool in_turns;          /* goes on after a complete prefix; else a short transfer is the answer */
    bool to_the_end;        /* and after a part of one: a file, whose end is 0 or an error */
    bool again;             /* EFAULT loses nothing: the call can be repeated */
    bool positioned;        /* arg[3] is the file's offset */
    struct msghdr *message; /* of sendmsg and recvmsg: the shim's copy; its vector is set for each prefix */
};

/* The first managed address that is not done; 0: none. */
static vm_offset_t vector_managed(const struct vector *vector)
{
    for (size_t i = vector->first; i < vector->npieces; i++)
        if (window_has((uintptr_t)vector->piece[i].iov_base) && vector->piece[i].iov_len > 0)
            return (uintptr_t)vector->piece[i].iov_base;
    return 0;
}

static long vector_transfer(struct vector_io *io, struct vector *vector, const sigset_t *mask)
{
    size_t done = 0;
    unsigned tries = 0;
    bool more;
    long r;

    do { /* ends: each turn moves something, or is counted */
        struct hold *held = NULL;
        vm_offset_t va = vector_managed(vector);
        bool called = false;
        size_t n, rest;

        more = false;
        r = vector_hold(vector, io->access, hold_chunk_bytes(), &held, &n, &rest);
        if (r == 0) {
            if (io->message != NULL) {
                io->message->msg_iov = vector->piece + vector->first;
                io->message->msg_iovlen = n;
            } else {
                io->arg[1] = (uint64_t)(vector->piece + vector->first);
                io->arg[2] = n;
            }
            r = trap_issue(io->number, io->arg, mask);
            called = true;
        }
        hold_drop(&held);
        if (r > 0) {
            done += (size_t)r;
            more = (vector_advance(vector, n, rest, (size_t)r) && io->in_turns) || io->to_the_end;
            tries = 0;
            if (io->positioned && (int64_t)io->arg[3] >= 0)
                io->arg[3] += (uint64_t)r;
        } else if (r == -EFAULT && called && io->again && va != 0) {
            (void)vector_advance(vector, n, rest, 0);
            more = hold_again(va, &tries);
        }
    } while (more && vector->first < vector->npieces);
    return done > 0 ? (long)done : r;
}

/*
 * A read of a file goes on to the file's end, one of a pipe
 * ends with what is there (trap.c). A write goes on.
 */
static void look_at_file(struct vector_io *io, int fd)
{
    bool writes = io->access == VM_PROT_READ, file;
    struct stat st = {0};

    if (linux_syscall(SYS_fstat, fd, &st) != 0)
        return;
    file = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
    io->in_turns = writes || file;
    io->to_the_end = file;
    io->again = vector_keeps_data(fd, st.st_mode, writes);
}

static long vector_file(long number, const uint64_t arg[6], const sigset_t *mask)
{
    bool splices = number == SYS_vmsplice;
    bool writes = number == SYS_writev || number == SYS_pwritev || number == SYS_pwritev2 || splices;
    struct vector_io io = {.number = number, .access = writes ? VM_PROT_READ : VM_PROT_WRITE};
    struct vector vector;
    long r = vector_open(&vector, (const struct iovec *)arg[1], arg[2]);

    if (r != 0)
        return r;
    memcpy(io.arg, arg, sizeof io.arg);
    if (!splices)
        look_at_file(&io, (int)arg[0]);
    io.positioned = number != SYS_readv && number != SYS_writev && !splices;
    r = vector_is_user(&vector) ? vector_transfer(&io, &vector, mask) : -EFAULT;
    vector_close(&vector);
    return r;
}

/*
 * Another process's memory (self_memory.c has this one's): only
 * the local side is held. One prefix, since the call may be short.
 */
static long vector_process(long number, const uint64_t arg[6], const sigset_t *mask)
{
    struct vector_io io = {.number = number,
                           .access = number == SYS_process_vm_readv ? VM_PROT_WRITE : VM_PROT_READ};
    struct vector vector;
    long r = vector_open(&vector, (const struct iovec *)arg[1], arg[2]);

    if (r != 0)
        return r;
    memcpy(io.arg, arg, sizeof io.arg);
    r = vector_is_user(&vector) ? vector_transfer(&io, &vector, mask) : -EFAULT;
    vector_close(&vector);
    return r;
}

/* ---- messages -------------------------------------------------------------------------------------- */

/* Holds a message's name and control buffers. */
static int message_hold(const struct msghdr *message, vm_prot_t access, struct hold **held)
{
    const struct iovec side[] = {{message->msg_name, message->msg_namelen},
                                 {message->msg_control, message->msg_controllen}};

    for (int i = 0; i < 2; i++) {
        size_t len = side[i].iov_len;
        int error;

        if (!window_has((uintptr_t)side[i].iov_base) || len == 0)
            continue;
        error = hold_add(held, (uintptr_t)side[i].iov_base, &len, access);
        if (error != 0)
            return error;
    }
    return 0;
}

static long message_call(long number, int fd, struct msghdr *program, int flags, const sigset_t *mask)
{
    bool sends = number == SYS_sendmsg;
    struct msghdr message;
    struct vector_io io = {.number = number,
                           .access = sends ? VM_PROT_READ : VM_PROT_WRITE,
                           .arg = {(uint64_t)fd, (uint64_t)&message, (uint64_t)flags},
                           .in_turns = sends || (flags & MSG_WAITALL) != 0,
                           .message = &message};
    struct hold *held = NULL;
    struct vector vector;
    long r = user_copy_in(&message, program, sizeof message);

    if (r == 0 && message.msg_iovlen > IOV_MAX)
        r = -EMSGSIZE;
    if (r == 0)
        r = vector_open(&vector, message.msg_iov, message.msg_iovlen);
    if (r != 0)
        return r;
    /* The kernel gives a sender's name and control data only once. */
    io.again = (sends || (message.msg_name == NULL && message.msg_control == NULL)) &&
               vector_keeps_data(fd, S_IFSOCK, sends);
    r = vector_is_user(&vector) ? message_hold(&message, io.access, &held) : -EFAULT;
    if (r == 0)
        r = vector_transfer(&io, &vector, mask);
    hold_drop(&held);
    vector_close(&vector);
    if (r >= 0 && !sends) { /* what recvmsg says about the bytes */
        struct msghdr answer;

        if (user_copy_in(&answer, program, sizeof answer) != 0)
            return -EFAULT;
        answer.msg_namelen = message.msg_namelen;
        answer.msg_controllen = message.msg_controllen;
        answer.msg_flags = message.msg_flags;
        if (user_copy_out(program, &answer, sizeof answer) != 0)
            return -EFAULT;
    }
    return r;
}

/*
 * One message after the other. The kernel checks recvmmsg's timeout between messages;
 * here the first message waits without a limit, and the others do not wait.
 */
static long messages_call(long number, const uint64_t arg[6], const sigset_t *mask)
{
    struct mmsghdr *program = (struct mmsghdr *)arg[1];
    bool sends = number == SYS_sendmmsg;
    long one = sends ? SYS_sendmsg : SYS_recvmsg;
    int flags = (int)arg[3] & ~MSG_WAITFORONE;
    unsigned done;

    for (done = 0; done < (unsigned)arg[2] && done < IOV_MAX; done++) {
        long r = message_call(one, (int)arg[0], &program[done].msg_hdr, flags, mask);
        unsigned len = (unsigned)r;

        if (r < 0)
            return done > 0 ? (long)done : r;
        if (user_copy_out(&program[done].msg_len, &len, sizeof len) != 0)
            return done > 0 ? (long)done : -EFAULT;
        if (!sends && ((arg[3] & MSG_WAITFORONE) != 0 || arg[4] != 0))
            flags |= MSG_DONTWAIT;
    }
    return done;
}

long vector_call(long number, const uint64_t arg[6], const sigset_t *mask)
{
    long r;

    switch (number) {
    case SYS_readv:
    case SYS_writev:
    case SYS_preadv:
    case SYS_pwritev:
    case SYS_preadv2:
    case SYS_pwritev2:
    case SYS_vmsplice:
        return vector_file(number, arg, mask);
    case SYS_process_vm_readv:
    case SYS_process_vm_writev:
        r = self_process_vm(number, arg);
        return r != -ENOSYS ? r : vector_process(number, arg, mask);
    case SYS_sendmsg:
    case SYS_recvmsg:
        return message_call(number, (int)arg[0], (struct msghdr *)arg[1], (int)arg[2], mask);
    case SYS_sendmmsg:
    case SYS_recvmmsg:
        return messages_call(number, arg, mask);
    default:
        return -ENOSYS;
    }
}
