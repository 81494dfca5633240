/*
 * iov_iter.h: where a read or a write is in the caller's memory: pieces, walked once from the first byte to
 * the last.
 *
 *     iov[0] |=========|   iov[1] |====|   iov[2] |=======|
 *     done   #############              count: the bytes from here on
 *
 * Lock: none; an iterator is one thread's. The caller's memory may be bad: a copy then ends early with
 * -EFAULT.
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

/* Errors: -EINVAL: the lengths' sum is more than a file can have. */
FL_NODISCARD int iov_iter_init(struct iov_iter *iter, const struct fl_iovec *iov, uint32_t niov);

/* How many of the bytes that are left lie one behind the other. Not 0 unless the iterator is at its end. */
FL_NODISCARD size_t iov_iter_single_seg_count(struct iov_iter *iter);

/* len_bytes, which the iterator has, are done. */
void iov_iter_advance(struct iov_iter *iter, uint64_t len_bytes);

/*
 * Copies len_bytes, which the iterator has, from bytes [start, …) of m[0 … npages), neighbours, at most
 * PMAP_BATCH, valid and held, and advances by *copied. Errors: -EFAULT, -ENOMEM; *copied may be more than 0.
 * No lock held.
 */
FL_NODISCARD int copy_page_to_iter(struct vm_page *const *m, uint32_t npages, uint32_t start,
                                   uint64_t len_bytes, struct iov_iter *iter, uint64_t *copied);
/* The other way, for one page, which is busy: takes no fault. */
FL_NODISCARD int copy_page_from_iter_atomic(struct vm_page *m, uint32_t start, uint64_t len_bytes,
                                            struct iov_iter *iter, uint64_t *copied);

#endif
