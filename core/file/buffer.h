/*
 * buffer.h: buffer heads: the blocks of a page one by one, where a store's block is smaller than a page.
 *
 *      page   | block 0 | block 1 | block 2 | block 3 |
 *      bh        U D        U          -         U D       U: up to date   D: dirty
 *
 * A page gets buffer heads when it is first written in part without having been read: what is overwritten
 * whole is not read first. Such a page is not PG_VALID; it has PG_PRIVATE, and may be dirty; nothing maps it.
 * Whoever needs all of it reads the blocks that are missing (block_read_full_page), after which it is
 * valid. A valid page's buffer heads say only which blocks are dirty, so that no more is written; a page
 * without buffer heads is written whole.
 *
 * Locks: (O) of the page's object guards the buffers of a page; they change only while the page is busy, or
 * in write-back by whoever writes it, or to dirty with the whole page. Never both busy and in write-back
 * while the page is not valid: who wants such a page waits for the write first. Invariants: U1 … U4 in
 * buffer.c. (fs/buffer.c, Linux: the names are its.)
 */
#ifndef CORE_FILE_BUFFER_H
#define CORE_FILE_BUFFER_H

#include "vm/vm_object.h"

struct vnode;

struct buffer_head {
    struct buffer_head *b_this_page; /* ring of the page's buffers, by offset */
    struct vm_page *b_page;
    uint16_t b_size; /* bytes */
    uint8_t b_state; /* BH_* */
};
#define BH_UPTODATE 0x1
#define BH_DIRTY    0x2
#define BH_MAPPED   0x4 /* lies within the file */

void buffer_startup(void);
/* Bytes of metadata memory that buffer heads may take at most, with nframes pages. */
FL_NODISCARD size_t buffer_meta_size(uint32_t nframes);

/* The block of the vnode's file: VM_PAGE_SIZE: its pages need no buffer heads. */
FL_NODISCARD uint32_t i_blocksize(struct vnode *vnode);

/* Does the page have buffer heads? (O). */
FL_NODISCARD bool page_has_buffers(const struct vm_page *m);
/*
 * Gives busy m, without bytes, its buffer heads, none of them up to date. (O). Errors: -ENOMEM, also when too
 * many pages have some: the caller reads the page then.
 */
FL_NODISCARD int create_empty_buffers(struct vm_page *m, uint32_t block_bytes);
/*
 * Busy m becomes valid: the blocks that are not up to date are read, neighbours together. No lock held.
 * Errors: the store's, -ENOMEM; m is as before then.
 */
FL_NODISCARD int block_read_full_page(struct vm_page *m);
/*
 * Bytes [start, start + len) of busy m, which is not valid: new, or with buffers, are about to be written: of
 * their blocks, those that are overwritten in part are read. No lock held. Errors: the store's, -ENOMEM: a
 * new m may have no buffers.
 */
FL_NODISCARD int block_write_begin(struct vm_page *m, uint32_t start, uint32_t len);
/* `copied` of these bytes were written; the rest of them is unknown. Returns how many count, which are dirty.
 * m, with buffers, may be valid now. (O). */
FL_NODISCARD uint32_t block_write_end(struct vm_page *m, uint32_t start, uint32_t len, uint32_t copied);
/*
 * m, in write-back and not busy, undirtied and write-protected unless it is held, whose buffers say what is
 * dirty: those are written, and m is no longer in write-back. No lock held; waits. Errors: the store's,
 * -ENOMEM; the blocks are dirty again then, m has PG_WRITEERROR, and the vnode was told.
 */
FL_NODISCARD int block_write_full_page(struct vm_page *m);
/*
 * Busy m is cut off from byte `offset` on: the buffers wholly behind it are discarded. offset 0: all go,
 * dirty or not. A valid page is not followed by blocks any more. (O).
 */
void block_invalidatepage(struct vm_page *m, uint32_t offset);
/* try_to_free_buffers, unless m is in write-back. (O). */
FL_NODISCARD bool try_to_release_page(struct vm_page *m);
/* Takes m's buffer heads away if none is dirty and m is valid or about to go. False: not now. (O). */
FL_NODISCARD bool try_to_free_buffers(struct vm_page *m);
/* All of valid m is dirty. (O). */
void __set_page_dirty_buffers(struct vm_page *m);

void buffer_check(const struct vm_page *m); /* U1 … U4. (O), or nothing else runs. */

#endif
