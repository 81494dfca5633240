/*
 * regular.c: files with bytes that the VM caches: regular files and block devices.
 *
 *   regular_read, regular_write ─▶ vnode_move ─▶ fl_vnode_read, fl_vnode_write     nearly always all there is
 *                                     │ -EFAULT: the program's page is not there
 *                                     └▶ move_slowly: fault_in, again; then through a page of the kernel's
 *
 * The VM copies without taking faults. So a page of the program's that is absent is faulted in between two
 * copies. That may be in vain: memory is short, or the page is a private mapping's clean copy of the very
 * page of the file that is to be written. Then the bytes go through a page of the kernel's, which cannot be
 * absent.
 *
 * Locks: none here; the offset is the caller's (f). (D) of the inode, for its times.
 * Does not do: access times. Files are as on a mount with noatime.
 */
#include "fs/regular.h"

#include "fs/namecache.h"
#include "fs/uio.h"
#include "lib/copy.h"
#include "kmem.h"
#include "string.h"
#include "proc/proc.h"

#include <asm/ioctls.h>
#include <linux/errno.h>
#include <linux/falloc.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>

#define FAULT_IN_MAX (64 * VM_PAGE_SIZE) /* of the program's memory at a time */
#define TOUCH_NS     INT64_C(4000000)    /* times are as fine as this; so few writes change the inode */
#define RLIMIT_FSIZE 1                   /* asm-generic/resource.h */

/* ---- moving bytes -------------------------------------------------------------------------------------- */

static int64_t vnode_move_once(struct vnode *vnode, bool writes, const struct fl_iovec *iov, uint32_t niov,
                               struct fl_iocb *iocb)
{
    return writes ? fl_vnode_write(vnode, iov, niov, iocb) : fl_vnode_read(vnode, iov, niov, iocb);
}

/* Brings in the beginning of the piece, which is the program's. Errors: -EFAULT, of its first page. */
static int fault_in(struct fl_iovec piece, bool writes)
{
    vm_offset_t start = trunc_page((vm_offset_t)piece.base), end = (vm_offset_t)piece.base + piece.len_bytes;
    struct vm_map *map = curproc()->map;

    if ((vm_offset_t)piece.base >= USER_END)
        return -EFAULT;
    for (vm_offset_t va = start; va < end && va - start < FAULT_IN_MAX; va += VM_PAGE_SIZE)
        if (fl_fault(map, va, writes ? VM_PROT_READ : VM_PROT_WRITE) != 0)
            return va == start ? -EFAULT : 0;
    return 0;
}

/* Moves the beginning of the piece, at most a page, through a page of the kernel's. */
static int64_t move_bounced(struct vnode *vnode, bool writes, struct fl_iovec piece, struct fl_iocb *iocb)
{
    char *page = kmalloc(VM_PAGE_SIZE);
    struct fl_iovec here = {page, piece.len_bytes < VM_PAGE_SIZE ? piece.len_bytes : VM_PAGE_SIZE};
    int64_t result = 0;
    int error = 0;

    if (page == NULL)
        return -ENOMEM;
    if (writes)
        result = copyin((uint64_t)piece.base, page, here.len_bytes);
    if (result == 0)
        result = vnode_move_once(vnode, writes, &here, 1, iocb);
    if (!writes && result > 0)
        error = copyout(page, (uint64_t)piece.base, (size_t)result);
    kfree(page);
    return error != 0 ? error : result;
}

/* Goes on behind the bytes that were moved already, where the program's memory is absent or the file ends. */
static int64_t move_slowly(struct vnode *vnode, bool writes, struct uio *uio, struct fl_iocb *iocb)
{
    uint64_t total = uio->left;
    int64_t result = 0;
    bool tried = false;

    while (uio->left > 0) {
        struct fl_iovec piece = uio_piece(uio);
        result = vnode_move_once(vnode, writes, &piece, 1, iocb);
        if (result == -EFAULT)
            result = fault_in(piece, writes);
        else if (result <= 0)
            break;
        if (result == 0 && tried) /* it was faulted in before, and is absent again */
            result = move_bounced(vnode, writes, piece, iocb);
        if (result < 0)
            break;
        tried = result == 0;
        uio_advance(uio, (uint64_t)result);
    }
    return total > uio->left ? (int64_t)(total - uio->left) : result;
}

static int64_t vnode_move(struct vnode *vnode, bool writes, const struct fl_iovec *iov, uint32_t niov,
                          struct fl_iocb *iocb)
{
    struct uio uio;
    int64_t done = vnode_move_once(vnode, writes, iov, niov, iocb);

    if (niov == 1 && (uint64_t)done == iov->len_bytes)
        return done;
    uio_init(&uio, iov, niov);
    if ((uint64_t)done == uio.left || (done < 0 && done != -EFAULT))
        return done;
    uio_advance(&uio, done > 0 ? (uint64_t)done : 0);
    int64_t rest = move_slowly(vnode, writes, &uio, iocb);
    if (done <= 0)
        return rest;
    return rest > 0 ? done + rest : done;
}

/* ---- reading and writing ------------------------------------------------------------------------------- */

static unsigned iocb_flags(const struct file *file, bool writes, unsigned rwf)
{
    unsigned flags = file->flags, iocb = 0;

    if (flags & O_DIRECT)
        iocb |= FL_IOCB_DIRECT;
    if (writes && ((flags & O_APPEND) || (rwf & RWF_APPEND)))
        iocb |= FL_IOCB_APPEND;
    if (writes && ((flags & O_DSYNC) || (rwf & (RWF_DSYNC | RWF_SYNC))))
        iocb |= FL_IOCB_DSYNC;
    return iocb;
}

int64_t regular_read(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset,
                     unsigned rwf)
{
    struct fl_iocb iocb = {.offset = *offset, .flags = iocb_flags(file, false, rwf)};
    int64_t result = vnode_move(file->vnode, false, iov, niov, &iocb);

    if (result > 0)
        *offset = iocb.offset;
    return result;
}

/* *len_bytes: how much of the write may be made. Errors: -EFBIG; -ENOSPC and what else the store says. */
static int write_checks(struct file *file, const struct fl_iocb *iocb, uint64_t *len_bytes)
{
    struct proc *proc = curproc();
    uint64_t limit = proc->rlimit_cur[RLIMIT_FSIZE];
    uint64_t offset = iocb->flags & FL_IOCB_APPEND ? fl_vnode_size(file->vnode) : iocb->offset;

    if (offset > INT64_MAX || *len_bytes == 0)
        return 0; /* fl_vnode_write says what is wrong */
    if (offset >= limit && limit != UINT64_MAX) {
        psignal(proc, SIGXFSZ);
        return -EFBIG;
    }
    if (*len_bytes > limit - offset)
        *len_bytes = limit - offset;
    return fl_vnode_allocate(file->vnode, offset, len_bytes);
}

/* Cuts the pieces at len_bytes, and writes them. */
static int64_t write_part(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t len_bytes,
                          struct fl_iocb *iocb)
{
    int64_t done = 0;

    for (uint32_t i = 0; i < niov && len_bytes > 0; i++) {
        struct fl_iovec piece = iov[i];
        if (piece.len_bytes > len_bytes)
            piece.len_bytes = len_bytes;
        int64_t result = vnode_move(file->vnode, true, &piece, 1, iocb);
        if (result < 0)
            return done > 0 ? done : result;
        done += result;
        len_bytes -= (uint64_t)result;
        if ((uint64_t)result < piece.len_bytes)
            break;
    }
    return done;
}

int64_t regular_write(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset,
                      unsigned rwf)
{
    struct fl_iocb iocb = {.offset = *offset, .flags = iocb_flags(file, true, rwf)};
    struct uio uio;

    uio_init(&uio, iov, niov);
    uint64_t len_bytes = uio.left;
    int64_t result = write_checks(file, &iocb, &len_bytes);
    if (result != 0)
        return result;
    if (len_bytes == uio.left)
        result = vnode_move(file->vnode, true, iov, niov, &iocb);
    else
        result = write_part(file, iov, niov, len_bytes, &iocb);
    if (result <= 0)
        return result;
    *offset = iocb.offset;
    regular_touch(file->inode);
    if ((iocb.flags & FL_IOCB_DSYNC) && file->inode->ops->fsync != NULL) {
        int error = file->inode->ops->fsync(file->inode);
        if (error != 0)
            return error;
    }
    return result;
}

static int64_t ops_read(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    return regular_read(file, iov, niov, offset, 0);
}

static int64_t ops_write(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    return regular_write(file, iov, niov, offset, 0);
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

void regular_touch(struct inode *inode)
{
    int64_t now = wall_time_ns();

    now -= now % TOUCH_NS;
    /* Without the lock: the worst is that two writers both set the same time. */
    if (inode->mtime_ns == now && inode->ctime_ns == now)
        return;
    sleep_lock(&inode->lock);
    inode->mtime_ns = inode->ctime_ns = now;
    /* A time that does not reach the disk costs no write its success; fsync asks again. */
    if (inode->ops->setattr != NULL && !inode->mount->read_only)
        (void)!inode->ops->setattr(inode);
    sleep_unlock(&inode->lock);
}

int regular_fsync(struct file *file, unsigned flags)
{
    int error = fl_vnode_fsync(file->vnode, flags, &file->told);
    int inode_error = file->inode->ops->fsync != NULL ? file->inode->ops->fsync(file->inode) : 0;

    return error != 0 ? error : inode_error;
}

int regular_truncate(struct inode *inode, struct vnode *vnode, uint64_t len_bytes)
{
    struct proc *proc = curproc();
    uint64_t limit = proc->rlimit_cur[RLIMIT_FSIZE];

    if (len_bytes > limit && len_bytes > fl_vnode_size(vnode)) {
        psignal(proc, SIGXFSZ);
        return -EFBIG;
    }
    int error = fl_vnode_truncate(vnode, len_bytes);
    if (error == 0)
        regular_touch(inode);
    return error;
}

int regular_allocate(struct file *file, unsigned mode, uint64_t offset, uint64_t len_bytes)
{
    struct vnode *vnode = file->vnode;
    uint64_t end = offset + len_bytes, reserved = len_bytes;
    int error;

    if (end > INT64_MAX || end < offset)
        return -EFBIG;
    if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
        error = offset < fl_vnode_size(vnode) ? fl_vnode_punch(vnode, offset, len_bytes) : 0;
    } else {
        error = fl_vnode_allocate(vnode, offset, &reserved);
        if (error == 0 && reserved < len_bytes)
            error = -ENOSPC;
    }
    if (error == 0 && !(mode & FALLOC_FL_KEEP_SIZE))
        error = fl_vnode_extend(vnode, end);
    if (error == 0)
        regular_touch(file->inode);
    return error;
}

static int64_t block_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    uint64_t size_bytes = fl_vnode_size(file->vnode), sectors = size_bytes / 512;
    uint32_t block = 512;

    switch (request) {
    case BLKGETSIZE64:
        return copyout(&size_bytes, arg, sizeof(size_bytes));
    case BLKGETSIZE:
        return copyout(&sectors, arg, sizeof(sectors));
    case BLKSSZGET:
        return copyout(&block, arg, sizeof(block));
    case BLKFLSBUF:
        return fl_vnode_fsync(file->vnode, 0, &file->told);
    default:
        return -ENOTTY;
    }
}

static int64_t regular_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    uint64_t size_bytes = fl_vnode_size(file->vnode);

    if (S_ISBLK(file->inode->mode))
        return block_ioctl(file, request, arg);
    if (request != FIONREAD)
        return -ENOTTY;
    int left = size_bytes > file->offset ? (int)(size_bytes - file->offset) : 0;
    return copyout(&left, arg, sizeof(left));
}

const struct file_ops regular_ops = {
    .read = ops_read,
    .write = ops_write,
    .ioctl = regular_ioctl,
    .seekable = true,
    .type = S_IFREG,
};

int regular_open(struct file *file)
{
    if (file->inode->ops->vnode == NULL)
        return -EINVAL;
    int error = file->inode->ops->vnode(file->inode, &file->vnode);
    if (error != 0)
        return error;
    file->told = fl_vnode_errseq(file->vnode);
    file->ops = &regular_ops;
    namecache_set_vnode(file->inode, file->vnode);
    return 0;
}
