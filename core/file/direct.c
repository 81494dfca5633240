/*
 * direct.c: reads and writes past the file's pages.
 *
 *   generic_file_direct_read ─▶ dirty pages written ──┐
 *   generic_file_direct_write (filemap_write.c) ──────┴▶ blkdev_direct_IO, up to DIRECT_PAGES at a time
 *
 *     caller's memory ◀──────copy_page_to_iter─────── bounce pages ◀─window─▶ submit_bio ─▶ store
 *                     ──copy_page_from_iter_atomic──▶
 *
 * A transfer cannot reach the caller's memory, which may be a program's. So a bounded number of bounce pages
 * lie between: pages of an object that only this call knows, busy as long as they exist.
 *
 * Consistency with the file's pages. A read sees what is dirty, since that is written back first. A write
 * removes the pages and keeps them out of memory while the bytes change (filemap_invalidate_lock); where a
 * page cannot go, the write goes through the pages. So afterwards a page differs from the store only by what
 * programs stored into mappings meanwhile.
 *
 * Locks: none but vn_lock, and (O) of the bounce object. (X) direct_io.lock.
 * Does not do: transfers right from the caller's memory.
 */
#include "file/direct.h"
#include "file/block.h"
#include "file/vnode.h"
#include "file/writeback.h"
#include "lib/errno.h"
#include "vm/pmap.h"
#include "vm/vm_pageout.h"
#include <faultline/vm.h>

#define DIRECT_SHARE 8  /* one call has at most one part in so many of all pages */
#define DIRECT_TRIES 64 /* waits for memory that other threads take every time, before the call gives up */

/* One transfer. */
struct direct_io {
    struct vm_object *bounce; /* its page 0 stands for the page of the file that the transfer begins in */
    struct vm_page *m[DIRECT_PAGES];
    vm_frame_t frame[DIRECT_PAGES];
    void *addr[DIRECT_PAGES];
    uint32_t npages;
    uint32_t start; /* of the bytes, in page 0 */
    uint64_t len_bytes;
    struct bio bio;
    struct vm_lock lock; /* (X); the structure's address is the channel */
    bool done;           /* (X) */
    int error;           /* (X) until done */
};

/* ---- bounce pages -------------------------------------------------------------------------------------- */

/* Allocates busy pages: up to `want`, as many as are free, and one at least. Errors: of vm_wait; -ENOMEM. */
static int bounce_get(struct direct_io *io, uint32_t want)
{
    int error = 0;
    io->npages = 0;
    for (uint32_t tries = 0; error == 0 && io->npages == 0 && tries < DIRECT_TRIES; tries++) {
        vm_lock(&io->bounce->lock);
        while (io->npages < want) {
            struct vm_page *m = vm_page_alloc(io->bounce, io->npages, VM_ALLOC_NORMAL);
            if (m == NULL)
                break;
            io->frame[io->npages] = vm_page_frame(m);
            io->m[io->npages++] = m;
        }
        vm_unlock(&io->bounce->lock);
        if (io->npages == 0)
            error = vm_wait();
    }
    return io->npages > 0 ? 0 : error != 0 ? error : -ENOMEM;
}

static void bounce_put(struct direct_io *io)
{
    vm_lock(&io->bounce->lock);
    vm_page_free_batch(io->m, io->npages);
    vm_unlock(&io->bounce->lock);
}

/* ---- one transfer -------------------------------------------------------------------------------------- */

static void direct_end_io(struct bio *bio, int error)
{
    struct direct_io *io = (struct direct_io *)((char *)bio - offsetof(struct direct_io, bio));
    vm_lock(&io->lock);
    io->error = error;
    io->done = true;
    vm_unlock(&io->lock);
    machine_wake(io); /* its owner may have ended it already: only the address is used */
}

/*
 * One transfer between the bounce pages and the store, at file offset
 * pos. Errors: the store's; -ENOMEM, no window.
 */
static int direct_transfer(struct direct_io *io, struct store *store, enum store_op op, vm_ooffset_t pos)
{
    enum machine_window how = op == STORE_READ ? MACHINE_WINDOW_FILL : MACHINE_WINDOW_READ;
    /* After a short copy the bytes touch fewer pages than there are. */
    uint32_t npages = (uint32_t)atop(io->start + io->len_bytes + VM_PAGE_MASK);
    struct machine_run run = {
        .object = io->bounce->machine, .pindex = 0, .npages = npages, .frame = io->frame};
    int error = pmap_window_get(&run, how, false, io->addr);
    if (error != 0)
        return error;
    io->done = false;
    io->bio = (struct bio){
        .store = store,
        .op = op,
        .wait = true,
        .offset = pos,
        .len_bytes = io->len_bytes,
        .npages = npages,
        .addr = io->addr,
        .end_io = direct_end_io,
    };
    submit_bio(&io->bio, NULL);
    bio_wait(&io->bio);
    vm_lock(&io->lock);
    while (!io->done)
        vm_sleep(io, &io->lock);
    vm_unlock(&io->lock);
    pmap_window_put(&run, how, io->addr, io->error == 0);
    return io->error;
}

/* The store's bytes into the caller's memory. Errors: the store's, -EFAULT, -ENOMEM. */
static int direct_read(struct direct_io *io, struct kiocb *iocb, struct iov_iter *iter)
{
    uint64_t copied = 0;
    int error = direct_transfer(io, iocb->vnode->store, STORE_READ, iocb->pos);
    if (error == 0) {
        uint64_t wanted = min_u64(io->len_bytes, iter->count);
        error = copy_page_to_iter(io->m, io->npages, io->start, wanted, iter, &copied);
    }
    iocb->pos += copied;
    return error;
}

/* The caller's bytes into the bounce pages. *copied: how many, also on failure. Errors: -EFAULT, -ENOMEM. */
static int direct_copy_from(struct direct_io *io, struct iov_iter *iter, uint64_t *copied)
{
    int error = 0;
    *copied = 0;
    for (uint32_t i = 0; i < io->npages && error == 0; i++)
        error = pmap_zero_page(io->m[i]); /* gives the frame its bytes */
    while (error == 0 && *copied < io->len_bytes) {
        uint64_t at = io->start + *copied, done;
        uint64_t piece = min_u64(VM_PAGE_SIZE - (at & VM_PAGE_MASK), io->len_bytes - *copied);
        uint32_t offset = (uint32_t)(at & VM_PAGE_MASK);
        error = copy_page_from_iter_atomic(io->m[atop(at)], offset, piece, iter, &done);
        *copied += done;
    }
    return error;
}

/*
 * The caller's bytes into the store: whole blocks only, so a block that
 * was copied in part is not written. Errors: as direct_read.
 */
static int direct_write(struct direct_io *io, struct kiocb *iocb, struct iov_iter *iter)
{
    struct iov_iter before = *iter;
    uint64_t copied;
    int fault = direct_copy_from(io, iter, &copied), error = 0;
    io->len_bytes = copied & ~(uint64_t)(i_blocksize(iocb->vnode) - 1);
    if (io->len_bytes > 0)
        error = direct_transfer(io, atomic_load(&iocb->vnode->writer), STORE_WRITE, iocb->pos);
    *iter = before; /* it may be inside a block */
    if (error == 0) {
        iov_iter_advance(iter, io->len_bytes);
        iocb->pos += io->len_bytes;
    }
    return error != 0 ? error : fault;
}

/* One transfer: the first bytes of len_bytes, as many as `max` pages hold. */
static int direct_piece(struct direct_io *io, struct kiocb *iocb, struct iov_iter *iter, enum store_op op,
                        uint64_t len_bytes, uint32_t max)
{
    io->start = (uint32_t)(iocb->pos & VM_PAGE_MASK);
    uint64_t npages = atop(io->start + len_bytes + VM_PAGE_MASK);
    int error = bounce_get(io, npages < max ? (uint32_t)npages : max);
    if (error != 0)
        return error;
    io->len_bytes = min_u64(len_bytes, ptoa(io->npages) - io->start);
    error = op == STORE_READ ? direct_read(io, iocb, iter) : direct_write(io, iocb, iter);
    bounce_put(io);
    return error;
}

int blkdev_direct_IO(struct kiocb *iocb, struct iov_iter *iter, enum store_op op, uint64_t len_bytes)
{
    struct direct_io io = {.bounce = vm_object_allocate(OBJT_SWAP, DIRECT_PAGES, NULL)};
    uint32_t max = vm_page_count / DIRECT_SHARE < DIRECT_PAGES ? vm_page_count / DIRECT_SHARE : DIRECT_PAGES;
    vm_ooffset_t end = iocb->pos + len_bytes;
    int error = 0;
    if (io.bounce == NULL)
        return -ENOMEM;
    /* Without a window for so many pages at once, tries with half as many. */
    while (error == 0 && iocb->pos < end && iter->count > 0) { /* a read may end inside a block */
        error = direct_piece(&io, iocb, iter, op, end - iocb->pos, max);
        /* A copy may have failed inside a block. */
        bool aligned = (iocb->pos & (i_blocksize(iocb->vnode) - 1)) == 0;
        if (error == -ENOMEM && max > 1 && aligned) {
            max /= 2;
            error = 0;
        }
    }
    vm_object_deallocate(io.bounce);
    return error;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

int64_t generic_file_direct_read(struct kiocb *iocb, struct iov_iter *iter)
{
    vm_ooffset_t start = iocb->pos;
    uint64_t size_bytes = i_size_read(iocb->vnode), block = i_blocksize(iocb->vnode);
    int error = 0;
    if (((start | iter->count) & (block - 1)) != 0)
        return -EINVAL;
    if (size_bytes < iter->count || start > size_bytes - iter->count)
        error = fl_vnode_setsize(iocb->vnode);
    size_bytes = i_size_read(iocb->vnode);
    if (error != 0 || start >= size_bytes)
        return error;
    iter->count = min_u64(iter->count, size_bytes - start);
    error = filemap_write_and_wait_range(iocb->object, atop(start), range_end(start, iter->count));
    if (error == 0)
        error = blkdev_direct_IO(iocb, iter, STORE_READ, (iter->count + block - 1) & ~(block - 1));
    return iocb->pos > start ? (int64_t)(iocb->pos - start) : error;
}
