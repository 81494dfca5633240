/*
 * file_io.c: reads and writes of managed files: through the core's cache, which their mappings show, so
 * that one file has one truth.
 *
 *   read, pwritev2 … ─▶ fd_is_other? ─ yes ─▶ the kernel
 *                          │ no
 *                       fd_begin ─ io_prepare ─▶ position ─▶ in turns: hold, fl_vnode_read/_write ─▶ position
 *                                      │ refused by the kernel, or not to be done here
 *                                      └▶ the kernel ─▶ file_io_after: drops the pages that it wrote
 *
 * A call with arguments that the kernel refuses is passed on to the kernel as it came.
 *
 * These bypass the cache: reads and writes of a file that a child of fork shares, which does not see
 * the cache; writes of a file that cannot be opened for reading and writing; writes of a process with
 * a limit on the length of its files (RLIMIT_FSIZE). Dirty pages are written back first, and clean
 * ones are dropped after a write. A store to the same page in between replaces the written bytes.
 *
 * The position of a descriptor belongs to the open file, which other descriptors may
 * share. So calls move it under one lock for each file, (P), by whichever descriptor.
 *
 * Locks: (P) file.position, then (S) and the core's. Signals are blocked throughout.
 */
#include "file_io.h"
#include "gate.h"
#include "hold.h"
#include "locks.h"
#include "self_memory.h"
#include "user_copy.h"
#include "vector.h"
#include "window.h"
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/resource.h>

#define IO_MAX_BYTES 0x7ffff000u /* of one call: MAX_RW_COUNT of the kernel */

/* Flags of pwritev2 in kernels that are newer than these headers. */
#define IO_NOAPPEND  0x20
#define IO_ATOMIC    0x40
#define IO_DONTCACHE 0x80
#define IO_FLAGS     (RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND | IO_NOAPPEND | IO_DONTCACHE)

/* ---- checks ---------------------------------------------------------------------------------------- */

/* The sum of the pieces' lengths; 0: nothing to do, or more than the kernel accepts. */
static uint64_t io_total(const struct iovec *piece, size_t n)
{
    uint64_t total = 0;

    for (size_t i = 0; i < n; i++) {
        if (piece[i].iov_len > SSIZE_MAX - total)
            return 0;
        total += piece[i].iov_len;
    }
    return total;
}

/* Cuts the vector to `most` bytes. */
static void io_cap(struct vector *vector, uint64_t most)
{
    for (size_t i = 0; i < vector->npieces; i++) {
        if (vector->piece[i].iov_len > most)
            vector->piece[i].iov_len = most;
        most -= vector->piece[i].iov_len;
    }
}

/* Beyond the end of any file: the kernel refuses it, even where O_APPEND ignores the offset. */
static bool io_is_beyond(const struct file_io *io, uint64_t total)
{
    if (!io->own && total > IO_MAX_BYTES)
        total = IO_MAX_BYTES; /* the kernel cuts a vector before it checks */
    return io->offset > 0 && (uint64_t)io->offset > INT64_MAX - total;
}

static bool io_appends(const struct file_io *io, const struct fd_call *call)
{
    return io->writes && (io->flags & IO_NOAPPEND) == 0 &&
           ((call->flags & O_APPEND) != 0 || (io->flags & RWF_APPEND) != 0);
}

static unsigned io_iocb_flags(const struct file_io *io, const struct fd_call *call)
{
    unsigned flags = (call->flags & O_DIRECT) != 0 ? FL_IOCB_DIRECT : 0;

    if (io->writes && ((call->flags & O_DSYNC) != 0 || (io->flags & (RWF_DSYNC | RWF_SYNC)) != 0))
        flags |= FL_IOCB_DSYNC;
    return io_appends(io, call) ? flags | FL_IOCB_APPEND : flags;
}

/* Whether the process has a limit on the length of files. The kernel enforces it. */
static bool io_is_limited(void)
{
    struct rlimit limit;

    return linux_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit) == 0 &&
           limit.rlim_cur != RLIM_INFINITY;
}

/*
 * 1: the core does it; 0: the kernel does. Errors: -EOPNOTSUPP, -EINVAL;
 * -EAGAIN for RWF_NOWAIT, since the core cannot tell whether it would wait.
 */
static int io_prepare(const struct file_io *io, struct fd_call *call)
{
    if (!(io->writes ? fd_may_write(call) : fd_may_read(call)) || io->offset < FILE_IO_POSITION)
        return 0;
    if ((io->flags & ~IO_FLAGS) != 0)
        return -EOPNOTSUPP;
    if ((io->flags & RWF_APPEND) != 0 && (io->flags & IO_NOAPPEND) != 0)
        return -EINVAL;
    if ((io->flags & RWF_NOWAIT) != 0)
        return -EAGAIN;
    if (call->file->bypass || (io->writes && io_is_limited()))
        return 0;
    return !io->writes || file_make_writable(call->file, call->fd, call->flags);
}

/* Another process may have changed the file's length since the last call. Errors: of the store. */
static int io_look_at_size(struct fd_call *call)
{
    uint64_t size = (uint64_t)call->st.st_size;

    if (call->file->size_seen == size)
        return 0;
    call->file->size_seen = size;
    return fl_vnode_setsize(call->file->vnode);
}

/* ---- transfer -------------------------------------------------------------------------------------- */

/*
 * Reads or writes at iocb->offset. A direct transfer that the store refuses
 * as unaligned is made through the cache, as the kernel may be less strict.
 */
static int64_t io_core(const struct fd_call *call, bool writes, const struct iovec *iov, size_t n,
                       struct fl_iocb *iocb)
{
    const struct fl_iovec *pieces = (const struct fl_iovec *)iov;
    struct vnode *vnode = call->file->vnode;
    int64_t r = writes ? fl_vnode_write(vnode, pieces, (uint32_t)n, iocb)
                       : fl_vnode_read(vnode, pieces, (uint32_t)n, iocb);

    if (r != -EINVAL || (iocb->flags & FL_IOCB_DIRECT) == 0)
        return r;
    iocb->flags &= ~(unsigned)FL_IOCB_DIRECT;
    return writes ? fl_vnode_write(vnode, pieces, (uint32_t)n, iocb)
                  : fl_vnode_read(vnode, pieces, (uint32_t)n, iocb);
}

/* As io_core; *bypass: nothing was done, since the file was handed to the kernel. */
static int64_t io_turn(const struct fd_call *call, bool writes, const struct iovec *iov, size_t n,
                       struct fl_iocb *iocb, bool *bypass)
{
    int64_t r = 0;

    *bypass = !file_cache_enter(call->file);
    if (*bypass)
        return 0;
    r = io_core(call, writes, iov, n, iocb);
    file_cache_leave(call->file);
    return r;
}

/*
 * The core could not reach the source of a write though it was held. Either another thread took it
 * away. Or the source is an unwritten page of a private mapping of the very page that is written,
 * which is unmapped for the write: so at most a page is copied first, and written from the copy.
 */
static int64_t io_write_copy(const struct fd_call *call, const struct iovec *piece, struct fl_iocb *iocb,
                             bool *bypass)
{
    size_t len = piece->iov_len < VM_PAGE_SIZE ? piece->iov_len : VM_PAGE_SIZE;
    long memory = shim_memory(VM_PAGE_SIZE);
    struct iovec copy = {(void *)memory, len};
    int64_t r;

    if (linux_syscall_failed(memory))
        return memory;
    r = user_copy_in(copy.iov_base, piece->iov_base, len);
    if (r == 0)
        r = io_turn(call, true, &copy, 1, iocb, bypass);
    shim_memory_free(copy.iov_base, VM_PAGE_SIZE);
    return r;
}

/* In each turn as many of the managed pieces are held as there is room for. */
static long io_in_turns(const struct file_io *io, const struct fd_call *call, struct vector *vector,
                        struct fl_iocb *iocb, bool *bypass)
{
    vm_prot_t access = io->writes ? VM_PROT_READ : VM_PROT_WRITE;
    size_t done = 0;
    unsigned tries = 0;
    bool more;
    int64_t r;

    do { /* ends: each turn moves something, or is counted */
        struct hold *held = NULL;
        struct iovec *piece = vector->piece + vector->first;
        bool managed, reached;
        size_t n, rest;

        more = false;
        r = vector_hold(vector, access, hold_turn_bytes(), &held, &n, &rest);
        reached = r == 0;
        managed = held != NULL;
        if (reached)
            r = io_turn(call, io->writes, piece, n, iocb, bypass);
        hold_drop(&held);
        if (r == -EFAULT && reached && io->writes && tries > 0 && window_has((uintptr_t)piece->iov_base))
            r = io_write_copy(call, piece, iocb, bypass);
        if (r > 0) {
            done += (size_t)r;
            /* A turn is short, too, when its managed memory was taken away. */
            more = vector_advance(vector, n, rest, (size_t)r) || managed;
            tries = 0;
        } else if (r == -EFAULT && reached && managed) {
            (void)vector_advance(vector, n, rest, 0);
            more = hold_again((uintptr_t)vector->piece[vector->first].iov_base, &tries);
        }
    } while (more && vector->first < vector->npieces);
    return done > 0 ? (long)done : (long)r;
}

/* By the core, `total` bytes at iocb->offset. False: the call is the kernel's. */
static bool io_move(struct file_io *io, const struct fd_call *call, struct vector *vector, uint64_t total,
                    struct fl_iocb *iocb, long *result)
{
    uint64_t at = (iocb->flags & FL_IOCB_APPEND) != 0 ? (uint64_t)call->st.st_size : iocb->offset;
    uint64_t len = total;
    bool bypass = false;

    if (at > INT64_MAX - total)
        return false;
    if (io->writes) {
        /* A full disk is told to this write, not to a later fsync. */
        *result = fl_vnode_allocate(call->file->vnode, at, &len);
        if (*result != 0)
            return true;
    }
    io_cap(vector, len < IO_MAX_BYTES ? len : IO_MAX_BYTES);
    *result = io_in_turns(io, call, vector, iocb, &bypass);
    if (io->writes && *result > 0 && locks_want_write_through(call->fd))
        /* An error is told by the next fsync. */
        (void)!fl_vnode_sync(call->file->vnode, iocb->offset - (uint64_t)*result, (uint64_t)*result);
    return !bypass || *result > 0;
}

/*
 * Before the kernel does it: writes dirty pages back, and notes which clean ones to drop after a write. While
 * the file is handed over, a fault that began earlier may still dirty a page, and the hand-over's last sync
 * would write it over what the kernel wrote. So the call waits for the end of the hand-over.
 */
static void io_bypass(struct file_io *io, const struct fd_call *call, uint64_t at, uint64_t total)
{
    gate_wait();
    if (io_appends(io, call)) {
        at = (uint64_t)call->st.st_size;
        total = INT64_MAX - at; /* another process may append first */
    }
    (void)!fl_vnode_sync(call->file->vnode, at, total); /* an error is told by the next fsync */
    if (io->writes) {
        io->stale_at = at;
        io->stale_len = total;
    }
}

/* At iocb->offset. False: the call is the kernel's. */
static bool io_at(struct file_io *io, struct fd_call *call, struct vector *vector, bool core,
                  struct fl_iocb *iocb, long *result)
{
    uint64_t total = io_total(vector->piece, vector->npieces), at = iocb->offset;
    bool done = core && io_move(io, call, vector, total, iocb, result);

    if (!core || (!done && call->file->bypass))
        io_bypass(io, call, at, total);
    return done;
}

/* At the descriptor's position, which moves. */
static bool io_at_position(struct file_io *io, struct fd_call *call, struct vector *vector, bool core,
                           struct fl_iocb *iocb, long *result)
{
    bool done;

    shim_mutex_lock(&call->file->position);
    iocb->offset = (uint64_t)linux_syscall(SYS_lseek, call->fd, 0, SEEK_CUR);
    done = io_at(io, call, vector, core, iocb, result);
    if (done && *result > 0)
        linux_syscall(SYS_lseek, call->fd, iocb->offset, SEEK_SET);
    shim_mutex_unlock(&call->file->position);
    return done;
}

static bool io_vector(struct file_io *io, struct fd_call *call, struct vector *vector, bool core,
                      long *result)
{
    struct fl_iocb iocb = {(vm_ooffset_t)io->offset, io_iocb_flags(io, call)};
    uint64_t total = io_total(vector->piece, vector->npieces);

    if (total == 0 || !vector_is_user(vector) || io_is_beyond(io, total))
        return false;
    if (io->offset == FILE_IO_POSITION)
        return io_at_position(io, call, vector, core, &iocb, result);
    return io_at(io, call, vector, core, &iocb, result);
}

static bool io_call(struct file_io *io, struct fd_call *call, long *result)
{
    struct vector vector = {.piece = vector.small, .npieces = 1};
    int core = io_prepare(io, call);
    bool done;

    *result = core < 0 ? core : io_look_at_size(call);
    if (*result != 0)
        return true;
    if (io->own) {
        vector.small[0] = *io->iov;
    } else {
        *result = vector_open(&vector, io->iov, io->niov);
        if (*result != 0)
            return true;
    }
    done = io_vector(io, call, &vector, core == 1, result);
    vector_close(&vector);
    return done;
}

bool file_io_managed(struct file_io *io, long *result)
{
    struct fd_call call;
    bool done;

    call.st.st_mode = 0;
    if (!fd_begin(io->fd, &call))
        return self_mem_io(io, &call.st, result);
    done = io_call(io, &call, result);
    fd_end(&call);
    return done;
}

/* ---- after a write by the kernel ------------------------------------------------------------------- */

void file_io_drop_stale(const struct file_io *io)
{
    struct fd_call call;
    unsigned what;

    if (!fd_begin(io->fd, &call))
        return;
    (void)!fl_vnode_setsize(call.file->vnode); /* on an error the next access behind the end asks again */
    (void)!fl_vnode_revalidate(call.file->vnode, true, &what);
    if (io->stale_len != 0)
        fl_vnode_invalidate(call.file->vnode, io->stale_at, io->stale_len);
    else
        fl_vnode_invalidate(call.file->vnode, 0, UINT64_MAX);
    fd_end(&call);
}

/* ---- for the trap ---------------------------------------------------------------------------------- */

/* False: the call neither reads nor writes a descriptor. */
static bool call_of(long number, struct file_io *io, const uint64_t arg[6])
{
    switch (number) {
    case SYS_pread64:
    case SYS_pwrite64:
        io->own = true;
        io->offset = (int64_t)arg[3] < 0 ? INT64_MIN : (int64_t)arg[3];
        return true;
    case SYS_read:
    case SYS_write:
        io->own = true;
        return true;
    case SYS_preadv:
    case SYS_pwritev:
        io->offset = (int64_t)arg[3] < 0 ? INT64_MIN : (int64_t)arg[3];
        return true;
    case SYS_preadv2:
    case SYS_pwritev2:
        io->offset = (int64_t)arg[3];
        io->flags = (int)arg[5];
        return true;
    case SYS_readv:
    case SYS_writev:
        return true;
    default:
        return false;
    }
}

bool file_io_of_call(long number, const uint64_t arg[6], struct file_io *io, struct iovec *piece)
{
    *io = (struct file_io){.fd = (int)arg[0], .offset = FILE_IO_POSITION};
    if (!call_of(number, io, arg))
        return false;
    io->writes = number == SYS_write || number == SYS_pwrite64 || number == SYS_writev ||
                 number == SYS_pwritev || number == SYS_pwritev2;
    io->iov = (const struct iovec *)arg[1];
    io->niov = arg[2];
    if (io->own) {
        *piece = (struct iovec){(void *)arg[1], arg[2]};
        io->iov = piece;
        io->niov = 1;
    }
    return true;
}

long file_io_own(int fd, bool writes, void *memory, size_t len, int64_t *offset)
{
    struct iovec piece = {memory, len};
    struct file_io io = {.fd = fd,
                         .writes = writes,
                         .own = true,
                         .offset = offset != NULL ? *offset : FILE_IO_POSITION,
                         .iov = &piece,
                         .niov = 1};
    long r;

    if (!file_io(&io, &r)) {
        if (offset != NULL)
            r = linux_syscall(writes ? SYS_pwrite64 : SYS_pread64, fd, memory, len, *offset);
        else
            r = linux_syscall(writes ? SYS_write : SYS_read, fd, memory, len);
        if (writes)
            file_io_after(&io);
    }
    if (r > 0 && offset != NULL)
        *offset += r;
    return r;
}
