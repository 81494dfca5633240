/*
 * file_size.c: calls that change the length or the holes of a managed file. They go through the
 * core, so that mappings see the change, and no write-back of an old page extends the file again.
 *
 *   ftruncate, truncate, O_TRUNC ─▶ fl_vnode_truncate     read-only here: the kernel, then fl_vnode_setsize
 *   fallocate  0                 ─▶ blocks by the kernel ─▶ fl_vnode_extend
 *              KEEP_SIZE         ─▶ the kernel's
 *              PUNCH_HOLE        ─▶ fl_vnode_punch
 *              ZERO_RANGE        ─▶ fl_vnode_punch ─▶ as 0 or KEEP_SIZE
 *              COLLAPSE, INSERT  ─▶ EOPNOTSUPP: bytes cannot move under mappings that are stored to
 *
 * A file that the shim could not open for writing has no dirty pages: the kernel changes
 * it, and the core asks for the new length afterwards. The kernel refuses wrong arguments.
 */
#include "file_size.h"
#include "fdtable.h"
#include "fresh.h"
#include "real.h"
#include "window.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

/* After a change by the kernel: the core asks for the new length, and for what else has changed. */
static void size_changed(struct file *file)
{
    int error = fl_vnode_setsize(file->vnode);
    unsigned what;

    (void)!fl_vnode_revalidate(file->vnode, true, &what);
    if (error != 0)
        shim_say("inode %lu was truncated and its new end cannot be read: %s", (unsigned long)file->ino,
                 strerrordesc_np(-error));
}

void file_size_changed(const struct stat *st)
{
    struct file *file;
    sigset_t saved;

    if (files_mapped == 0 || !shim_on())
        return;
    linux_signals_block(&saved);
    file = file_lookup(st->st_dev, st->st_ino);
    if (file != NULL) {
        size_changed(file);
        file_release(file);
    }
    linux_signals_restore(&saved);
}

/* ---- truncate -------------------------------------------------------------------------------------- */

bool file_truncate_fd(int fd, off_t len, long *result)
{
    struct fd_call call;

    if (fd_is_other(fd) || !fd_begin(fd, &call))
        return false;
    if (fd_may_write(&call) && len >= 0 && file_make_writable(call.file, fd, call.flags) &&
        file_cache_enter(call.file)) {
        *result = fl_vnode_truncate(call.file->vnode, (uint64_t)len);
        file_cache_leave(call.file);
    } else {
        *result = linux_syscall(SYS_ftruncate, fd, len);
        if (*result == 0)
            size_changed(call.file);
    }
    fd_end(&call);
    return true;
}

FL_EXPORT int ftruncate(int fd, off_t len)
{
    long r;

    return file_truncate_fd(fd, len, &r) ? (int)shim_return(r) : shim_real()->ftruncate(fd, len);
}

FL_EXPORT int ftruncate64(int fd, off64_t len)
{
    return ftruncate(fd, len);
}

/* The file at the path, if it is managed and the core can write it; referenced. Signals are blocked. */
static struct file *writable_at(const char *path)
{
    struct stat st;
    struct file *file;

    if (linux_syscall(SYS_stat, path, &st) != 0 || !S_ISREG(st.st_mode))
        return NULL;
    file = file_lookup(st.st_dev, st.st_ino);
    if (file != NULL && (file->mode & FL_FWRITE) == 0) {
        file_release(file);
        file = NULL;
    }
    return file;
}

/* A path in managed memory is left to libc's call, which the trap serves. */
bool file_truncate_path(const char *path, off_t len, long *result)
{
    struct file *file;
    sigset_t saved;

    if (files_mapped == 0 || !shim_on() || len < 0 || window_has((uintptr_t)path))
        return false;
    linux_signals_block(&saved);
    file = writable_at(path);
    if (file != NULL) {
        *result = linux_syscall(SYS_faccessat2, AT_FDCWD, path, W_OK, AT_EACCESS);
        if (*result == 0 && file_cache_enter(file)) {
            *result = fl_vnode_truncate(file->vnode, (uint64_t)len);
            file_cache_leave(file);
        } else if (*result == 0) {
            *result = linux_syscall(SYS_truncate, path, len);
        }
        file_release(file);
    }
    linux_signals_restore(&saved);
    return file != NULL;
}

FL_EXPORT int truncate(const char *path, off_t len)
{
    struct stat st;
    long r;

    if (file_truncate_path(path, len, &r))
        return (int)shim_return(r);
    fresh_changing_path(path);
    r = shim_real()->truncate(path, len);
    if (r == 0 && files_mapped != 0 && stat(path, &st) == 0)
        file_size_changed(&st);
    return (int)r;
}

FL_EXPORT int truncate64(const char *path, off64_t len)
{
    return truncate(path, len);
}

/* ---- fallocate ------------------------------------------------------------------------------------- */

/* The kernel allocates the blocks, the core sets the length. */
static long allocate(const struct fd_call *call, int mode, off_t offset, off_t len)
{
    long r = linux_syscall(SYS_fallocate, call->fd, FALLOC_FL_KEEP_SIZE, offset, len);
    unsigned what;

    (void)!fl_vnode_revalidate(call->file->vnode, true, &what);
    if (r != 0 || (mode & FALLOC_FL_KEEP_SIZE) != 0)
        return r;
    return fl_vnode_extend(call->file->vnode, (uint64_t)offset + (uint64_t)len);
}

static long size_fallocate(const struct fd_call *call, int mode, off_t offset, off_t len)
{
    struct vnode *vnode = call->file->vnode;
    long r = 0;

    switch (mode) {
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
        return fl_vnode_punch(vnode, (uint64_t)offset, (uint64_t)len);
    case FALLOC_FL_ZERO_RANGE:
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
        r = fl_vnode_punch(vnode, (uint64_t)offset, (uint64_t)len);
        return r != 0 ? r : allocate(call, mode, offset, len);
    case 0:
    case FALLOC_FL_KEEP_SIZE:
        return allocate(call, mode, offset, len);
    default:
        return -EOPNOTSUPP;
    }
}

bool file_fallocate(int fd, int mode, off_t offset, off_t len, long *result)
{
    struct fd_call call;
    bool bad;

    if (fd_is_other(fd) || !fd_begin(fd, &call))
        return false;
    bad = !fd_may_write(&call) || offset < 0 || len <= 0 || offset > INT64_MAX - len;
    if (!bad && file_make_writable(call.file, fd, call.flags) && file_cache_enter(call.file)) {
        *result = size_fallocate(&call, mode, offset, len);
        file_cache_leave(call.file);
    } else {
        *result = linux_syscall(SYS_fallocate, fd, mode, offset, len);
        if (!bad) {
            size_changed(call.file);
            fl_vnode_invalidate(call.file->vnode, (uint64_t)offset, UINT64_MAX - (uint64_t)offset);
        }
    }
    fd_end(&call);
    return true;
}

FL_EXPORT int fallocate(int fd, int mode, off_t offset, off_t len)
{
    long r;

    return file_fallocate(fd, mode, offset, len, &r) ? (int)shim_return(r)
                                                     : shim_real()->fallocate(fd, mode, offset, len);
}

FL_EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
    return fallocate(fd, mode, offset, len);
}

/* Returns the error: EOPNOTSUPP where the file system cannot; libc would write zeros there. */
FL_EXPORT int posix_fallocate(int fd, off_t offset, off_t len)
{
    long r;

    if (!file_fallocate(fd, 0, offset, len, &r))
        return shim_real()->posix_fallocate(fd, offset, len);
    return (int)-r;
}

FL_EXPORT int posix_fallocate64(int fd, off64_t offset, off64_t len)
{
    return posix_fallocate(fd, offset, len);
}
