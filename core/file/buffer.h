/*
 * buffer.h: buffer heads: the blocks of a page one by one, where a store's block is smaller than a page.
 *
 *      page   | block 0 | block 1 | block 2 | block 3 |
 *      bh        U D        U          -         U D       U: up to date   D: dirty
 *
 * A page gets buffer heads when it is first written in part without having been read: blocks that are
 * overwritten whole are not read first. Such a page is not PG_VALID; it has PG_PRIVATE, may be dirty, and is
 * mapped nowhere. A thread that needs all of it reads the blocks that are missing (block_read_full_page);
 * then the page is valid. The buffer heads of a valid page say only which blocks are dirty, so that no others
 * are written. A page without buffer heads is written whole.
 *
 * Locks: (O) of the page's object guards the buffers of a page. They change only while the page is busy; or
 * in write-back, by the thread that writes it; or all of them, to dirty, with the whole page. A page that is
 * not valid is never busy and in write-back at once: a thread that wants it waits for the write first.
 *
 * Invariants: BH1 a page's buffer heads are a ring of VM_PAGE_SIZE / b_size, in the
 * order of their blocks. BH2 a dirty block is up to date. BH3 of a valid page every
 * block is up to date. BH4 a page with a dirty block is dirty, busy or in write-back.
 * (fs/buffer.c, Linux: the names are its.)
 */
#ifndef CORE_FILE_BUFFER_H
#define CORE_FILE_BUFFER_H

#include "vm/vm_object.h"

struct buffer_head {
    struct buffer_head *b_this_page; /* ring of the page's buffers, by offset */
    struct vm_page *b_page;
    uint16_t b_size; /* bytes */
    uint8_t b_state; /* BH_* */
};
#define BH_UPTODATE 0x1
#define BH_DIRTY    0x2
#define BH_MAPPED   0x4 /* the block lies within the file */

void buffer_startup(void);
/* The most bytes of metadata memory that buffer heads take, with nframes pages. */
FL_NODISCARD size_t buffer_meta_size(uint32_t nframes);

/* Does the page have buffer heads? (O). */
FL_NODISCARD bool page_has_buffers(const struct vm_page *m);
/*
 * Busy m, with buffers, becomes valid: reads the blocks that are not up to date, neighbours together. No lock
 * held. Errors, and m is as before: the store's, -ENOMEM.
 */
FL_NODISCARD int block_read_full_page(struct vm_page *m);
/*
 * Bytes [start, start + len) of busy m are about to be written. m is not valid: it has buffers, or is new and
 * gets them. Reads the blocks that are overwritten in part. No lock held. Errors: the store's; -ENOMEM, also
 * when too many pages have buffers: a new m has none then.
 */
FL_NODISCARD int block_write_begin(struct vm_page *m, uint32_t start, uint32_t len);
/*
 * The first `copied` of these bytes were written, and the others are unknown. Returns how many of them count:
 * these are dirty now. m, which has buffers, may have become valid. (O).
 */
FL_NODISCARD uint32_t block_write_end(struct vm_page *m, uint32_t start, uint32_t len, uint32_t copied);
/*
 * Writes the dirty blocks of m, and ends its write-back. m is in write-back and not busy; it was undirtied,
 * after vm_harvest_clean, unless it is held. No lock held; waits. Errors: the store's, -ENOMEM; then the
 * blocks are dirty again, m has PG_WRITEERROR, and the vnode has the error.
 */
FL_NODISCARD int block_write_full_page(struct vm_page *m);
/*
 * The file ends at byte `from` of busy m: the buffers that begin there or later are discarded; a valid m
 * loses its buffers, and is dirty as a whole if it is. from 0: all buffers go, dirty or not. (O).
 */
void block_invalidatepage(struct vm_page *m, uint32_t from);
/*
 * Takes m's buffer heads away, which makes it clean. False: one of them is dirty, or m is in write-back. m is
 * valid or about to go. (O).
 */
FL_NODISCARD bool try_to_release_page(struct vm_page *m);
/* All blocks of valid m become dirty. (O). */
void __set_page_dirty_buffers(struct vm_page *m);

/* BH1 … BH4. Context: (O), or nothing else runs. */
void buffer_check(const struct vm_page *m);

/*
 * The file is about to be mapped. A machine may show a page as soon as it has bytes (MM1), so from now on a
 * page in memory has all of them: reads what is missing in pages of which only some blocks were written. No
 * lock held; the caller has a reference. Errors: the store's, -ENOMEM.
 */
FL_NODISCARD int block_complete_pages(struct vm_object *object) FL_EXCLUDES(object->lock);

#endif
