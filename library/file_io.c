/*
 * file_io.c: reading and writing without a mapping: fl_pread and fl_pwrite.
 *
 *     file_io: for each piece of the caller's memory ─▶ move_piece
 *     move_piece: hold_some ─▶ fl_vnode_read, fl_vnode_write ─▶ fl_unhold
 *                   ▲                    │ -EFAULT: another thread took the memory away
 *                   └────────────────────┘ (a write goes on from a copy)
 *
 * The caller's memory may be managed itself. The core takes no fault while it copies, so such memory is held,
 * as much of it at a time as the limit allows.
 */
#include "library_state.h"
#include "linux_syscall.h"

#include <errno.h>
#include <sys/uio.h>

#define TRIES_MAX 100 /* how often in a row other threads may take away the memory of one call */

static bool in_window(const void *addr)
{
    return (vm_offset_t)addr >= LINUX_WINDOW_START && (vm_offset_t)addr < LINUX_WINDOW_END;
}

/*
 * Holds the beginning of [va, va + *len_bytes); *len_bytes becomes the length that is held. That is at most
 * an eighth of the memory, because the call needs pages besides. When so much cannot be held, half of it is
 * tried, and so on down to one page. Errors, of the first page: -EFAULT, -ENOMEM.
 */
static int hold_some(vm_offset_t va, size_t *len_bytes, vm_prot_t access, struct fl_hold *hold)
{
    size_t lead = va & VM_PAGE_MASK;
    size_t eighth = atop(library.options.memory_limit_bytes / 8);
    for (size_t npages = eighth < FL_HOLD_MAX ? eighth : FL_HOLD_MAX; npages > 0; npages /= 2) {
        size_t n = ptoa(npages) - lead < *len_bytes ? ptoa(npages) - lead : *len_bytes;
        int error = fl_hold(library.map, va, n, access, hold);
        if (error == 0) {
            *len_bytes = n;
            return 0;
        }
        if (npages == 1)
            return error == -ENOMEM ? -ENOMEM : -EFAULT;
    }
    return -EFAULT;
}

/* Moves the piece; of managed memory, as much as can be held at once. */
static int64_t move_once(struct fl_file *file, bool writes, struct fl_iovec *piece, struct fl_iocb *iocb)
{
    struct fl_hold hold = {.npages = 0};
    int64_t result = 0;
    if (in_window(piece->base))
        result = hold_some((vm_offset_t)piece->base, &piece->len_bytes, writes ? VM_PROT_READ : VM_PROT_WRITE,
                           &hold);
    if (result == 0)
        result =
            writes ? fl_vnode_write(file->vnode, piece, 1, iocb) : fl_vnode_read(file->vnode, piece, 1, iocb);
    fl_unhold(&hold);
    return result;
}

/* Reserves the write's space first, so that the write itself says that the disk is full. *len_bytes
 * becomes what has space. */
static int allocate(struct fl_file *file, uint64_t offset, size_t *len_bytes)
{
    uint64_t len = *len_bytes;
    if (offset + len < offset) /* fl_vnode_write refuses it */
        return 0;
    int error = fl_vnode_allocate(file->vnode, offset, &len);
    *len_bytes = len;
    return error;
}

/*
 * Writes the first page of the piece, from a copy. The page may be an unwritten page of a private mapping of
 * the very page that is written: that is a clean copy, which the write drops first.
 */
static int64_t write_copy(struct fl_file *file, struct fl_iovec *piece, struct fl_iocb *iocb)
{
    char bytes[VM_PAGE_SIZE] __attribute__((aligned(VM_PAGE_SIZE)));
    struct iovec here = {bytes, sizeof(bytes)}, there = {piece->base, piece->len_bytes};
    struct fl_hold hold = {.npages = 0};
    piece->len_bytes = piece->len_bytes < sizeof(bytes) ? piece->len_bytes : sizeof(bytes);
    int64_t result = hold_some((vm_offset_t)piece->base, &piece->len_bytes, VM_PROT_READ, &hold);
    here.iov_len = there.iov_len = piece->len_bytes;
    if (result == 0)
        result = linux_syscall(SYS_process_vm_readv, linux_syscall(SYS_getpid), &here, 1, &there, 1, 0);
    fl_unhold(&hold);
    if (result <= 0)
        return result;
    piece->len_bytes = (size_t)result;
    struct fl_iovec copy = {bytes, piece->len_bytes};
    return fl_vnode_write(file->vnode, &copy, 1, iocb);
}

/*
 * Moves the beginning of the piece. Memory that is held can still be gone before it is copied, when another
 * thread unmaps it, maps something else there, or truncates its file. Then it is held again, as long as
 * there is something to hold.
 */
static int64_t move_piece(struct fl_file *file, bool writes, struct fl_iovec *piece, struct fl_iocb *iocb)
{
    size_t len_bytes = piece->len_bytes;
    int64_t result = move_once(file, writes, piece, iocb);
    for (int tries = 0; result == -EFAULT && in_window(piece->base) && tries < TRIES_MAX; tries++) {
        piece->len_bytes = len_bytes;
        result = writes ? write_copy(file, piece, iocb) : move_once(file, writes, piece, iocb);
    }
    return result;
}

static int64_t file_io(struct fl_file *file, bool writes, void *memory, size_t len_bytes, uint64_t offset,
                       unsigned flags)
{
    struct fl_iocb iocb = {.offset = offset, .flags = flags};
    size_t done = 0;
    int64_t result;
    struct fl_iovec piece;
    if (len_bytes > INT64_MAX)
        return -EINVAL;
    if (writes && !(flags & FL_IOCB_APPEND)) {
        result = allocate(file, offset, &len_bytes);
        if (result != 0)
            return result;
    }
    do {
        piece = (struct fl_iovec){(char *)memory + done, len_bytes - done};
        result = move_piece(file, writes, &piece, &iocb);
        done += result > 0 ? (size_t)result : 0;
        /* A short move of managed memory may mean that less was held; only otherwise is it
         * the end of the file. */
    } while (result > 0 && ((size_t)result == piece.len_bytes || in_window(memory)) && done < len_bytes);
    return done > 0 ? (int64_t)done : result;
}

int64_t fl_pread(struct fl_file *file, void *to, size_t len_bytes, uint64_t offset, unsigned flags)
{
    return LIBRARY_CALL(int64_t, file_io(file, false, to, len_bytes, offset, flags));
}

int64_t fl_pwrite(struct fl_file *file, const void *from, size_t len_bytes, uint64_t offset, unsigned flags)
{
    if (!(file->mode & FL_FWRITE))
        return -EBADF;
    return LIBRARY_CALL(int64_t, file_io(file, true, (void *)(uintptr_t)from, len_bytes, offset, flags));
}
