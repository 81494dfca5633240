/*
 * direct.h: reads and writes that move bytes between the caller's memory and the store, past the file's pages
 * (FL_IOCB_DIRECT). direct.c has the picture.
 */
#ifndef CORE_FILE_DIRECT_H
#define CORE_FILE_DIRECT_H

#include "file/filemap.h"
#include "file/iov_iter.h"
#include "vm/pmap.h"
#include <faultline/store.h>

#define DIRECT_PAGES PMAP_BATCH /* pages that one transfer touches at most */

/*
 * Moves len_bytes between the iterator, which has as many, and the store at iocb->pos. Both are multiples of
 * the file's block. The position and the iterator advance by what was moved, also on failure. The file's own
 * pages are the caller's business. No lock held but vn_lock. Errors: the store's, -EFAULT, -ENOMEM.
 */
FL_NODISCARD int blkdev_direct_IO(struct kiocb *iocb, struct iov_iter *iter, enum store_op op,
                                  uint64_t len_bytes);
/*
 * Reads from iocb->pos, which advances, until the iterator or the file ends. Returns how many bytes. No lock
 * held. Errors: -EINVAL (alignment), of write-back, and as blkdev_direct_IO.
 */
FL_NODISCARD int64_t generic_file_direct_read(struct kiocb *iocb, struct iov_iter *iter);

#endif
