/*
 * iov_iter.h: where a read or a write is in the caller's memory:
 * pieces, walked once from the first byte to the last.
 *
 *     iov[0] |=========|   iov[1] |====|   iov[2] |=======|
 *     done   ###########          ##       count: the bytes from here on
 *
 * Lock: none; an iterator is one thread's. A copy ends early with
 * -EFAULT where the caller's memory cannot be reached.
 */
#ifndef CORE_FILE_IOV_ITER_H
#define CORE_FILE_IOV_ITER_H

#include "vm/vm_page.h"
#include <faultline/vm.h>

struct iov_iter {
    const struct fl_iovec *iov; /* the piece at hand */
    size_t iov_offset;          /* bytes of it that are done */
    uint64_t count;             /* bytes left in all of them */
};

/*
 * At the first byte of iov[0 … niov), which must stay. Errors: -EINVAL: together longer than a file can be.
 */
FL_NODISCARD int iov_iter_init(struct iov_iter *iter, const struct fl_iovec *iov, uint32_t niov);

/* How many bytes are left of the first piece that is not empty. 0: the iterator is at its end. */
FL_NODISCARD size_t iov_iter_single_seg_count(struct iov_iter *iter);

/* Skips len_bytes; the iterator has as many left. */
void iov_iter_advance(struct iov_iter *iter, uint64_t len_bytes);

/*
 * Copies len_bytes, which the iterator has left, from byte `start` on of m[0 … npages) to the caller's
 * memory, and advances by *copied. The pages are neighbours, at most PMAP_BATCH, and stay valid. No lock
 * held. Errors: -EFAULT, -ENOMEM; *copied may be more than 0.
 */
FL_NODISCARD int copy_page_to_iter(struct vm_page *const *m, uint32_t npages, uint32_t start,
                                   uint64_t len_bytes, struct iov_iter *iter, uint64_t *copied);
/* The other way, into one busy page. Takes no fault. */
FL_NODISCARD int copy_page_from_iter_atomic(struct vm_page *m, uint32_t start, uint64_t len_bytes,
                                            struct iov_iter *iter, uint64_t *copied);

#endif
