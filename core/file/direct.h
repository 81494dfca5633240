/*
 * direct.h: between the caller's memory and the store, past the cache (FL_IOCB_DIRECT).
 */
#ifndef CORE_FILE_DIRECT_H
#define CORE_FILE_DIRECT_H

#include "file/filemap.h"
#include "file/iov_iter.h"
#include "vm/pmap.h"
#include <faultline/store.h>

#define DIRECT_PAGES PMAP_BATCH /* that one transfer touches at most, and that a call takes for it */

/* What is dirty of the object's bytes [pos, pos + count), count > 0, is written. No lock held. Errors: of
 * write-back. */
FL_NODISCARD int kiocb_write_and_wait(struct vm_object *object, vm_ooffset_t pos, uint64_t count);
/*
 * Moves len_bytes, which the iterator has, between it and the store, at iocb->pos; a multiple of the file's
 * block, as pos is. Both advance by what was moved, also on failure. The cache is the caller's business. No
 * lock held but vn_lock. Errors: the store's, -EFAULT, -ENOMEM.
 */
FL_NODISCARD int blkdev_direct_IO(struct kiocb *iocb, struct iov_iter *iter, enum store_op op,
                                  uint64_t len_bytes);
/*
 * Reads from iocb->pos, which advances, until the iterator or the file ends. No lock held. Returns how many
 * bytes. Errors: -EINVAL (alignment), of write-back, and as blkdev_direct_IO.
 */
FL_NODISCARD int64_t generic_file_direct_read(struct kiocb *iocb, struct iov_iter *iter);

#endif
