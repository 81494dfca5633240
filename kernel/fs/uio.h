/*
 * uio.h: a cursor over the memory that a read or a write moves to or from.
 *
 *   iov:  | piece | pie▲ce | piece |
 *                      └ skip bytes of the first piece are done; `left` bytes are not
 *
 * The memory is the program's, or the kernel's own: whoever takes addresses from a program checks with
 * user_range that they are the program's, so an address above USER_END can only come from the kernel itself.
 * (struct uio and uiomove, BSD; struct iov_iter, Linux.)
 */
#ifndef KERNEL_FS_UIO_H
#define KERNEL_FS_UIO_H

#include "lib/copy.h"

#define IOV_MAX_KERNEL 1024 /* pieces of one call */
#define IOV_FAST       8    /* … which need no memory of the heap */

struct uio {
    const struct fl_iovec *iov;
    uint32_t niov;
    size_t skip;
    uint64_t left;
};

/* Pieces that a system call was given. */
struct iovecs {
    struct fl_iovec *iov;
    uint32_t niov;
    uint64_t len_bytes;
    struct fl_iovec fast[IOV_FAST];
};

/* Whether [addr, addr + len_bytes) has no byte of the kernel's. */
static inline bool user_range(uint64_t addr, uint64_t len_bytes)
{
    return addr <= USER_END && len_bytes <= USER_END - addr;
}

void uio_init(struct uio *uio, const struct fl_iovec *iov, uint32_t niov);
/* What is left of the first piece that is not done; uio->left > 0. */
FL_NODISCARD struct fl_iovec uio_piece(struct uio *uio);
void uio_advance(struct uio *uio, uint64_t len_bytes);
/* len_bytes <= uio->left. Errors: -EFAULT, and nothing counts as moved. */
FL_NODISCARD int uio_copyout(struct uio *uio, const void *from, size_t len_bytes);
FL_NODISCARD int uio_copyin(struct uio *uio, void *to, size_t len_bytes);

/* Copies the program's array of pieces in. Errors: -EINVAL, -EFAULT, -ENOMEM. */
FL_NODISCARD int iovecs_copyin(struct iovecs *iovecs, uint64_t user, uint64_t niov);
void iovecs_free(struct iovecs *iovecs);

#endif
