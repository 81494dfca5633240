/*
 * iov_iter.c: walking the caller's memory.
 *
 *   copy_page_to_iter            for each piece: pmap_copyout
 *   copy_page_from_iter_atomic   for each piece: pmap_copyin
 *
 * A piece may be empty.
 * Does not do: making the caller's memory reachable (fl_hold).
 */
#include "file/iov_iter.h"
#include "lib/errno.h"
#include "vm/pmap.h"

int iov_iter_init(struct iov_iter *iter, const struct fl_iovec *iov, uint32_t niov)
{
    *iter = (struct iov_iter){.iov = iov};
    for (uint32_t i = 0; i < niov; i++) {
        iter->count += iov[i].len_bytes;
        if (iov[i].len_bytes > INT64_MAX || iter->count > INT64_MAX)
            return -EINVAL;
    }
    return 0;
}

size_t iov_iter_single_seg_count(struct iov_iter *iter)
{
    if (iter->count == 0)
        return 0;
    while (iter->iov_offset == iter->iov->len_bytes) {
        iter->iov++;
        iter->iov_offset = 0;
    }
    return iter->iov->len_bytes - iter->iov_offset;
}

/*
 * Where the next *len_bytes lie, at most max, in one piece. max > 0, and the iterator has as many bytes left.
 */
static void *iter_piece(struct iov_iter *iter, uint64_t max, size_t *len_bytes)
{
    size_t left = iov_iter_single_seg_count(iter);
    *len_bytes = left < max ? left : (size_t)max;
    return (char *)iter->iov->base + iter->iov_offset;
}

/* Within the piece at hand. */
static void iter_advance(struct iov_iter *iter, size_t len_bytes)
{
    iter->iov_offset += len_bytes;
    iter->count -= len_bytes;
}

void iov_iter_advance(struct iov_iter *iter, uint64_t len_bytes)
{
    while (len_bytes > 0) {
        size_t piece;
        (void)iter_piece(iter, len_bytes, &piece);
        iter_advance(iter, piece);
        len_bytes -= piece;
    }
}

int copy_page_to_iter(struct vm_page *const *m, uint32_t npages, uint32_t start, uint64_t len_bytes,
                      struct iov_iter *iter, uint64_t *copied)
{
    int error = 0;
    if (iter->iov->len_bytes - iter->iov_offset >= len_bytes) { /* nearly always */
        error = pmap_copyout(m, npages, start, (char *)iter->iov->base + iter->iov_offset, len_bytes, copied);
        iter_advance(iter, *copied);
        return error;
    }
    *copied = 0;
    while (error == 0 && *copied < len_bytes) {
        uint64_t at = start + *copied;
        size_t piece, done;
        void *to = iter_piece(iter, len_bytes - *copied, &piece);
        error = pmap_copyout(m + atop(at), npages - (uint32_t)atop(at), (uint32_t)(at & VM_PAGE_MASK), to,
                             piece, &done);
        iter_advance(iter, done);
        *copied += done;
    }
    return error;
}

int copy_page_from_iter_atomic(struct vm_page *m, uint32_t start, uint64_t len_bytes, struct iov_iter *iter,
                               uint64_t *copied)
{
    int error = 0;
    *copied = 0;
    while (error == 0 && *copied < len_bytes) {
        size_t piece, done;
        const void *from = iter_piece(iter, len_bytes - *copied, &piece);
        error = pmap_copyin(&m, 1, start + (uint32_t)*copied, from, piece, &done);
        iter_advance(iter, done);
        *copied += done;
    }
    return error;
}
