/*
 * uio.c: a cursor over the memory that a read or a write moves to or from.
 */
#include "fs/uio.h"

#include "kmem.h"
#include "string.h"

#include <linux/errno.h>

#define RW_MAX UINT64_C(0x7ffff000) /* bytes that one call moves at most (MAX_RW_COUNT) */

void uio_init(struct uio *uio, const struct fl_iovec *iov, uint32_t niov)
{
    *uio = (struct uio){.iov = iov, .niov = niov};
    for (uint32_t i = 0; i < niov; i++)
        uio->left += iov[i].len_bytes;
}

struct fl_iovec uio_piece(struct uio *uio)
{
    while (uio->skip == uio->iov->len_bytes) {
        uio->iov++;
        uio->niov--;
        uio->skip = 0;
    }
    return (struct fl_iovec){(char *)uio->iov->base + uio->skip, uio->iov->len_bytes - uio->skip};
}

void uio_advance(struct uio *uio, uint64_t len_bytes)
{
    uio->left -= len_bytes;
    while (len_bytes > 0) {
        struct fl_iovec piece = uio_piece(uio);
        uint64_t n = piece.len_bytes < len_bytes ? piece.len_bytes : len_bytes;
        uio->skip += n;
        len_bytes -= n;
    }
}

static int copy_piece(void *memory, void *kernel, size_t len_bytes, bool out)
{
    if ((uint64_t)memory > USER_END) {
        memcpy(out ? memory : kernel, out ? kernel : memory, len_bytes);
        return 0;
    }
    return out ? copyout(kernel, (uint64_t)memory, len_bytes) : copyin((uint64_t)memory, kernel, len_bytes);
}

static int uio_move(struct uio *uio, char *kernel, size_t len_bytes, bool out)
{
    struct uio at = *uio;

    while (len_bytes > 0) {
        struct fl_iovec piece = uio_piece(&at);
        size_t n = piece.len_bytes < len_bytes ? piece.len_bytes : len_bytes;
        int error = copy_piece(piece.base, kernel, n, out);
        if (error != 0)
            return error;
        uio_advance(&at, n);
        kernel += n;
        len_bytes -= n;
    }
    *uio = at;
    return 0;
}

int uio_copyout(struct uio *uio, const void *from, size_t len_bytes)
{
    return uio_move(uio, (char *)(uintptr_t)from, len_bytes, true);
}

int uio_copyin(struct uio *uio, void *to, size_t len_bytes)
{
    return uio_move(uio, to, len_bytes, false);
}

/* Checks the pieces, and cuts them at what one call moves. */
static int iovecs_check(struct iovecs *iovecs)
{
    for (uint32_t i = 0; i < iovecs->niov; i++) {
        struct fl_iovec *piece = &iovecs->iov[i];
        if (piece->len_bytes > INT64_MAX)
            return -EINVAL;
        if (!user_range((uint64_t)piece->base, piece->len_bytes))
            return -EFAULT;
        if (piece->len_bytes > RW_MAX - iovecs->len_bytes)
            piece->len_bytes = RW_MAX - iovecs->len_bytes;
        iovecs->len_bytes += piece->len_bytes;
    }
    return 0;
}

int iovecs_copyin(struct iovecs *iovecs, uint64_t user, uint64_t niov)
{
    iovecs->iov = iovecs->fast;
    iovecs->niov = (uint32_t)niov;
    iovecs->len_bytes = 0;
    if (niov > IOV_MAX_KERNEL)
        return -EINVAL;
    if (niov > IOV_FAST)
        iovecs->iov = kmalloc(niov * sizeof(struct fl_iovec));
    if (iovecs->iov == NULL)
        return -ENOMEM;
    int error = copyin(user, iovecs->iov, niov * sizeof(struct fl_iovec));
    if (error == 0)
        error = iovecs_check(iovecs);
    if (error != 0)
        iovecs_free(iovecs);
    return error;
}

void iovecs_free(struct iovecs *iovecs)
{
    if (iovecs->iov != iovecs->fast)
        kfree(iovecs->iov);
}
