/*
 * self_memory.c: a program that reads and writes its own memory from outside,
 * as unwinders and crash reporters do to be safe from bad pointers. The
 * kernel does not serve a fault there: an absent page would be EFAULT or EIO.
 *
 *   process_vm_readv   remote ─▶ user_copy_in ─▶ page ─▶ user_copy_out ─▶ local      writev: the other way
 *   /proc/self/mem     managed memory in the same way; the rest by the kernel's pread and pwrite
 *
 * The transfer goes page by page, and ends at the first byte that cannot
 * be reached, as the kernel's does. Only one side is held at a time.
 *
 * A descriptor of /proc/PID/mem, or of /proc/PID/task/TID/mem, may have been
 * opened or received in any way, so it is recognised by its name, at each call
 * on it. Any other descriptor costs a look at its fstat, once (fdtable.c).
 *
 * Does not do: accesses that the mapping forbids (the kernel allows them by /proc/self/mem); streams of
 * stdio on such a descriptor; other processes' memory, where an absent page is EFAULT or EIO (docs/run.md).
 */
#include "self_memory.h"
#include "user_copy.h"
#include "vector.h"
#include "window.h"
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

bool self_is_pid(int pid)
{
    long self = linux_syscall(SYS_getpid);

    return pid == self || (pid > 0 && linux_syscall(SYS_tgkill, self, pid, 0) == 0);
}

/* How much of len lies on the page of va. */
static size_t within_page(vm_offset_t va, size_t len)
{
    size_t n = VM_PAGE_SIZE - (va & VM_PAGE_MASK);

    return n < len ? n : len;
}

/* ---- process_vm_readv and process_vm_writev --------------------------------------------------------- */

/* The first piece that is neither done nor empty; NULL: none. */
static struct iovec *piece_next(struct vector *vector)
{
    while (vector->first < vector->npieces && vector->piece[vector->first].iov_len == 0)
        vector->first++;
    return vector->first < vector->npieces ? &vector->piece[vector->first] : NULL;
}

static void piece_advance(struct iovec *piece, size_t n)
{
    piece->iov_base = (char *)piece->iov_base + n;
    piece->iov_len -= n;
}

static long process_vm(bool writes, struct vector *local, struct vector *remote)
{
    char page[VM_PAGE_SIZE];
    struct iovec *near, *far;
    long done = 0;
    int error = 0;

    while (error == 0 && (near = piece_next(local)) != NULL && (far = piece_next(remote)) != NULL) {
        struct iovec *from = writes ? near : far, *to = writes ? far : near;
        size_t n = within_page((vm_offset_t)far->iov_base, far->iov_len);

        n = within_page((vm_offset_t)near->iov_base, n < near->iov_len ? n : near->iov_len);
        error = user_copy_in(page, from->iov_base, n);
        if (error == 0)
            error = user_copy_out(to->iov_base, page, n);
        if (error == 0) {
            piece_advance(near, n);
            piece_advance(far, n);
            done += (long)n;
        }
    }
    return done > 0 ? done : error;
}

long self_process_vm(long number, const uint64_t arg[6])
{
    struct vector local, remote;
    long r;

    if (arg[5] != 0 || !self_is_pid((int)arg[0]))
        return -ENOSYS;
    r = vector_open(&local, (const struct iovec *)arg[1], arg[2]);
    if (r != 0)
        return r;
    r = vector_is_user(&local) ? vector_open(&remote, (const struct iovec *)arg[3], arg[4]) : -EFAULT;
    if (r == 0) {
        r = process_vm(number == SYS_process_vm_writev, &local, &remote);
        vector_close(&remote);
    }
    vector_close(&local);
    return r;
}

/* ---- /proc/self/mem --------------------------------------------------------------------------------- */

/* "/proc/123/mem", "/proc/123/task/125/mem", wherever procfs is mounted. */
static bool mem_path_is_ours(char *path)
{
    char *end = strrchr(path, '/');
    const char *number;

    if (end == NULL || strcmp(end, "/mem") != 0)
        return false;
    *end = '\0';
    number = strrchr(path, '/');
    return number != NULL && self_is_pid(atoi(number + 1));
}

bool self_mem_is(int fd, const struct stat *st)
{
    char path[256];
    struct statfs fs;
    long len;

    if (!S_ISREG(st->st_mode) || st->st_size != 0 || st->st_blocks != 0)
        return false;
    if (linux_syscall(SYS_fstatfs, fd, &fs) != 0 || fs.f_type != PROC_SUPER_MAGIC)
        return false;
    len = shim_fd_path(fd, path, sizeof path - 1);
    if (len <= 0)
        return false;
    path[len] = '\0';
    return mem_path_is_ours(path);
}

/*
 * Transfers at most a page, of managed memory or by the
 * kernel. Returns as pread and pwrite of the descriptor.
 */
static long mem_move(const struct file_io *io, vm_offset_t va, void *memory, size_t len)
{
    bool managed = window_has(va) && !window_is_reserved(va);
    char page[VM_PAGE_SIZE];
    long n = (long)len;

    if (io->writes && user_copy_in(page, memory, len) != 0)
        return -EFAULT;
    if (!managed)
        n = linux_syscall(io->writes ? SYS_pwrite64 : SYS_pread64, io->fd, page, len, va);
    else if (io->writes ? user_copy_out((void *)va, page, len) != 0
                        : user_copy_in(page, (void *)va, len) != 0)
        return -EIO;
    if (n > 0 && !io->writes && user_copy_out(memory, page, (size_t)n) != 0)
        return -EFAULT;
    return n;
}

static long mem_transfer(const struct file_io *io, vm_offset_t *va, struct vector *vector)
{
    struct iovec *piece;
    long done = 0;
    long r = 0;

    while ((piece = piece_next(vector)) != NULL) {
        size_t n = within_page(*va, piece->iov_len);

        r = mem_move(io, *va, piece->iov_base, n);
        if (r <= 0)
            break;
        piece_advance(piece, (size_t)r);
        *va += (size_t)r;
        done += r;
    }
    return done > 0 ? done : r;
}

/* The kernel refuses the call, or can do all of it, since it does not touch the window. */
static bool mem_is_not_ours(const struct file_io *io, vm_offset_t va, const struct vector *vector)
{
    long flags = linux_syscall(SYS_fcntl, io->fd, F_GETFL);
    size_t total = 0;

    if (flags < 0 || (flags & O_PATH) != 0 || (flags & O_ACCMODE) == (io->writes ? O_RDONLY : O_WRONLY))
        return true;
    for (size_t i = 0; i < vector->npieces; i++) {
        if (vector->piece[i].iov_len > SSIZE_MAX - total)
            return true;
        total += vector->piece[i].iov_len;
    }
    return total == 0 || va >= LINUX_WINDOW_END || va + total <= LINUX_WINDOW_START;
}

/* Signals are blocked. */
static bool mem_call(const struct file_io *io, struct vector *vector, long *result)
{
    bool positioned = io->offset == FILE_IO_POSITION;
    vm_offset_t va = (vm_offset_t)io->offset;

    if (positioned)
        va = (vm_offset_t)linux_syscall(SYS_lseek, io->fd, 0, SEEK_CUR);
    if (mem_is_not_ours(io, va, vector))
        return false;
    *result = mem_transfer(io, &va, vector);
    if (positioned && *result > 0)
        linux_syscall(SYS_lseek, io->fd, va, SEEK_SET);
    return true;
}

bool self_mem_io(const struct file_io *io, const struct stat *st, long *result)
{
    struct vector vector = {.piece = vector.small, .npieces = 1};
    sigset_t saved;
    bool done = false;

    if (io->flags != 0 || io->offset < FILE_IO_POSITION || !self_mem_is(io->fd, st))
        return false;
    linux_signals_block(&saved);
    if (io->own)
        vector.small[0] = *io->iov;
    if (io->own || vector_open(&vector, io->iov, io->niov) == 0) {
        done = mem_call(io, &vector, result);
        vector_close(&vector);
    }
    linux_signals_restore(&saved);
    return done;
}
