/*
 * buffer.h: buffer heads: the blocks of a page one by one, where a store's block is smaller than a page.
 *
 *      page   | block 0 | block 1 | block 2 | block 3 |
 *      bh        U D        U          -         U D       U: up to date   D: dirty
 *
 * A page gets buffer heads when it is first written in part without having been read: what is overwritten
 * whole is not read first. Such a page is not PG_VALID; it has PG_PRIVATE, and may be dirty. Whoever needs
 * all of it reads the blocks that are missing (block_read_full_page), after which it is valid. A valid page's
 * buffer heads say only which blocks are dirty, so that no more is written; a page without buffer heads is
 * written whole.
 *
 * Locks: (O) of the page's object guards the buffers of a page; they change only while the page is busy, or
 * in write-back by whoever writes it. Invariants: B1 … in buffer.c.
 * (fs/buffer.c, Linux: the names are its.)
 */
#ifndef CORE_CACHE_BUFFER_H
#define CORE_CACHE_BUFFER_H

#include "vm/vm_object.h"

struct buffer_head {
    struct buffer_head *b_this_page; /* ring of the page's buffers, by offset */
    struct vm_page *b_page;
    uint8_t b_state; /* BH_* */
};
#define BH_UPTODATE 0x1
#define BH_DIRTY    0x2
#define BH_MAPPED   0x4 /* lies within the file */

void buffer_startup(void);

/* Does the page have buffer heads? (O). */
FL_NODISCARD bool page_has_buffers(const struct vm_page *m);
/* Gives busy m, without bytes, its buffer heads, none of them up to date. (O). Errors: -ENOMEM. */
FL_NODISCARD int create_empty_buffers(struct vm_page *m, uint32_t block_bytes);
/*
 * Busy m becomes valid: the blocks that are not up to date are read, neighbours together. No lock held.
 * Errors: the store's; m is as before then.
 */
FL_NODISCARD int block_read_full_page(struct vm_page *m);
/*
 * m, in write-back, whose buffers say what is dirty: those are written. No lock held; waits. Errors: the
 * store's; the blocks are dirty again.
 */
FL_NODISCARD int block_write_full_page(struct vm_page *m);
/* Bytes [offset, VM_PAGE_SIZE) of busy m are cut off: buffers wholly in there are discarded. offset 0: all go. (O). */
void block_invalidatepage(struct vm_page *m, uint32_t offset);
/* Takes m's buffer heads away if none is dirty and m is valid or about to go. False: not now. (O). */
FL_NODISCARD bool try_to_free_buffers(struct vm_page *m);

#endif
