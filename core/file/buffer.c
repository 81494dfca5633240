/*
 * buffer.c: buffer heads: which blocks of a page are up to date, which are dirty, and their transfers.
 *
 *   block_write_begin ─▶ create_empty_buffers ─▶ alloc_page_buffers     no block of the page is up to date
 *        └─▶ __block_write_begin                                        reads blocks overwritten in part
 *   block_write_end ─▶ __block_commit_write ─▶ mark_buffer_dirty        valid, if all are up to date now
 *   block_read_full_page                                                reads the others: valid
 *   block_write_full_page ─▶ __block_write_full_page                    writes dirty blocks
 *        all three: ll_rw_block ─▶ submit_bio                           a plug merges neighbours
 *   block_invalidatepage ─▶ try_to_release_page ─▶ try_to_free_buffers
 *
 * A page with buffer heads has its frame and bytes; the bytes of a block that is not up to date mean nothing.
 * Blocks behind the file's end are never read or written; where their bytes are needed they are zeros.
 *
 * Write-back makes the blocks clean when it has made the page clean. A page that is dirty all the same,
 * because it is held or a program has stored into it since, keeps its dirty blocks: a store through a mapping
 * does not identify the block.
 *
 * Invariants BH1 … BH4: buffer.h. Locks: (O) → (z). (X) block_io.lock. Windows are opened and stores called
 * with no lock held.
 */
#include "file/buffer.h"
#include "file/block.h"
#include "file/vnode.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/pmap.h"
#include "vm/vm_meter.h"

#define BUFFERS_MAX     (VM_PAGE_SIZE / 512)
#define FRAMES_PER_HEAD 2 /* one buffer head for so many pages: the radix tree needs memory, too */

static struct vm_zone buffer_zone;
static _Atomic uint32_t buffer_heads; /* in use */

/* A transfer of some blocks of one page. */
struct block_io {
    struct vm_page *m;
    enum store_op op;
    struct machine_run run;
    vm_frame_t frame;
    void *addr;
    struct vm_lock lock; /* (X); the structure's address is the channel */
    uint32_t pending;    /* (X) of b[0 … n), the transfers that have not ended */
    uint32_t n;
    struct block_bio {
        struct bio bio;
        struct block_io *io;
        struct buffer_head *bh;
        int error; /* (X) until pending is 0 */
    } b[BUFFERS_MAX];
};

void buffer_startup(void)
{
    vm_zone_init(&buffer_zone, "buffer head", sizeof(struct buffer_head));
    atomic_store(&buffer_heads, 0);
}

size_t buffer_meta_size(uint32_t nframes)
{
    return (size_t)(nframes / FRAMES_PER_HEAD + BUFFERS_MAX) * sizeof(struct buffer_head);
}

/* ---- a page's buffers ---------------------------------------------------------------------------------- */

bool page_has_buffers(const struct vm_page *m)
{
    return (m->flags & PG_PRIVATE) != 0;
}

/* The first one. (O). */
static struct buffer_head *page_buffers(const struct vm_page *m)
{
    return vm_meta_pointer(m->private);
}

/* The buffer after bh. *offset: where bh lies in the page, and then that one. NULL: bh was the last. (O). */
static struct buffer_head *buffer_next(const struct vm_page *m, struct buffer_head *bh, uint32_t *offset)
{
    *offset += bh->b_size;
    return bh->b_this_page == page_buffers(m) ? NULL : bh->b_this_page;
}

static void free_buffer_head(struct buffer_head *bh)
{
    vm_zone_free(&buffer_zone, bh);
    atomic_fetch_sub(&buffer_heads, 1);
}

/* Frees a list, which ends in NULL. */
static void free_page_buffers(struct buffer_head *bh)
{
    while (bh != NULL) {
        struct buffer_head *next = bh->b_this_page;
        free_buffer_head(bh);
        bh = next;
    }
}

static struct buffer_head *alloc_buffer_head(void)
{
    if (atomic_fetch_add(&buffer_heads, 1) < vm_page_count / FRAMES_PER_HEAD + BUFFERS_MAX) {
        struct buffer_head *bh = vm_zone_alloc(&buffer_zone);
        if (bh != NULL)
            return bh;
    }
    atomic_fetch_sub(&buffer_heads, 1);
    return NULL;
}

/* A list of one buffer for each block of the page, which ends with *last. NULL: no memory. */
static struct buffer_head *alloc_page_buffers(struct vm_page *m, uint32_t block_bytes,
                                              struct buffer_head **last)
{
    struct buffer_head *head = NULL;
    for (uint32_t offset = 0; offset < VM_PAGE_SIZE; offset += block_bytes) {
        struct buffer_head *bh = alloc_buffer_head();
        if (bh == NULL) {
            free_page_buffers(head);
            return NULL;
        }
        *bh = (struct buffer_head){.b_this_page = head, .b_page = m, .b_size = (uint16_t)block_bytes};
        if (head == NULL)
            *last = bh;
        head = bh;
    }
    return head;
}

/* Gives busy m, of whose bytes none is known, its buffers, none of them up to date. (O). Errors: -ENOMEM. */
static int create_empty_buffers(struct vm_page *m, uint32_t block_bytes)
{
    struct buffer_head *last, *head = alloc_page_buffers(m, block_bytes, &last);
    KASSERT((m->flags & (PG_BUSY | PG_VALID | PG_PRIVATE)) == PG_BUSY, "BH1");
    if (head == NULL)
        return -ENOMEM;
    last->b_this_page = head;
    m->private = vm_meta_index(head);
    m->flags |= PG_PRIVATE;
    return 0;
}

/* Takes the page's buffer heads off it. Returns them as a list, which is the caller's. (O). */
static struct buffer_head *detach_page_private(struct vm_page *m)
{
    struct buffer_head *head = page_buffers(m), *last = head;
    while (last->b_this_page != head)
        last = last->b_this_page;
    last->b_this_page = NULL;
    m->flags &= (uint16_t)~PG_PRIVATE;
    m->private = 0;
    return head;
}

/* Has every buffer of m all these BH_*? (O). */
static bool buffers_all(const struct vm_page *m, uint8_t state)
{
    uint32_t offset = 0;
    for (struct buffer_head *bh = page_buffers(m); bh != NULL; bh = buffer_next(m, bh, &offset))
        if ((bh->b_state & state) != state)
            return false;
    return true;
}

/* Has a buffer of m one of these BH_*? (O). */
static bool buffers_any(const struct vm_page *m, uint8_t state)
{
    uint32_t offset = 0;
    for (struct buffer_head *bh = page_buffers(m); bh != NULL; bh = buffer_next(m, bh, &offset))
        if (bh->b_state & state)
            return true;
    return false;
}

/*
 * Does the block lie within the file, as it is now? That of a page wholly behind the end does: a truncation
 * is under way, which waits for this page before it calls the store, and the store may refuse. (O).
 */
static bool blkdev_get_block(struct buffer_head *bh, uint32_t offset)
{
    const struct vm_page *m = bh->b_page;
    if (m->pindex >= m->object->size || ptoa(m->pindex) + offset < vm_object_vnode(m->object)->size_bytes)
        bh->b_state |= BH_MAPPED;
    else
        bh->b_state &= (uint8_t)~BH_MAPPED;
    return (bh->b_state & BH_MAPPED) != 0;
}

/*
 * m becomes valid if all its buffers are up to date. A valid m loses its buffers if all or none of them are
 * dirty, because the page's own flag says the same. (O).
 */
static void buffers_settle(struct vm_page *m)
{
    KASSERT((m->flags & PG_WRITEBACK) == 0, "BH4");
    if (buffers_all(m, BH_UPTODATE))
        m->flags |= PG_VALID;
    if ((m->flags & PG_VALID) == 0)
        return;
    if (buffers_all(m, BH_DIRTY) || !buffers_any(m, BH_DIRTY))
        free_page_buffers(detach_page_private(m));
}

/* ---- dirtiness ----------------------------------------------------------------------------------------- */

/* The block and its page become dirty. (O). */
static void mark_buffer_dirty(struct buffer_head *bh)
{
    KASSERT((bh->b_state & BH_UPTODATE) != 0, "BH2");
    bh->b_state |= BH_DIRTY;
    __set_page_dirty(bh->b_page);
}

void __set_page_dirty_buffers(struct vm_page *m)
{
    uint32_t offset = 0;
    for (struct buffer_head *bh = page_buffers(m); bh != NULL; bh = buffer_next(m, bh, &offset))
        mark_buffer_dirty(bh);
}

/* ---- release ------------------------------------------------------------------------------------------- */

/* Takes m's buffers away, which makes it clean. False: one of them is dirty. (O). */
static bool try_to_free_buffers(struct vm_page *m)
{
    if (buffers_any(m, BH_DIRTY))
        return false;
    struct buffer_head *list = detach_page_private(m);
    vm_page_undirty(m);
    free_page_buffers(list);
    return true;
}

bool try_to_release_page(struct vm_page *m)
{
    return (m->flags & PG_WRITEBACK) == 0 && try_to_free_buffers(m);
}

void block_invalidatepage(struct vm_page *m, uint32_t from)
{
    uint32_t offset = 0;
    KASSERT((m->flags & (PG_BUSY | PG_WRITEBACK)) == PG_BUSY, "BH4");
    /* A program may go on storing into a mapping of a valid page: if it is dirty, it is as a whole. */
    if ((m->flags & PG_VALID) && from != 0) {
        free_page_buffers(detach_page_private(m));
        return;
    }
    for (struct buffer_head *bh = page_buffers(m); bh != NULL; bh = buffer_next(m, bh, &offset))
        if (offset >= from)
            bh->b_state = 0;
    if (from == 0) {
        bool released = try_to_release_page(m);
        KASSERT(released, "BH4");
    }
}

/* ---- transfers ----------------------------------------------------------------------------------------- */

static void block_io_init(struct block_io *io, struct vm_page *m, enum store_op op)
{
    io->m = m;
    io->op = op;
    io->frame = vm_page_frame(m);
    io->run = (struct machine_run){
        .object = m->object->machine, .pindex = m->pindex, .npages = 1, .frame = &io->frame};
    io->lock = (struct vm_lock){0};
    io->pending = io->n = 0;
}

/* Adds the block bh, at `offset` of the page, to the transfer. Context: (O), or the page is busy. */
static void block_io_add(struct block_io *io, struct buffer_head *bh, uint32_t offset)
{
    struct vnode *vnode = vm_object_vnode(io->m->object);
    struct block_bio *b = &io->b[io->n++];
    *b = (struct block_bio){.io = io, .bh = bh, .error = -EIO};
    b->bio.store = io->op == STORE_READ ? vnode->store : atomic_load(&vnode->writer);
    b->bio.op = io->op;
    b->bio.wait = true;
    b->bio.offset = ptoa(io->m->pindex) + offset;
    b->bio.len_bytes = bh->b_size;
    b->bio.npages = 1;
    b->bio.addr = &io->addr;
}

/* Any thread, no lock held. */
static void end_buffer_io(struct bio *bio, int error)
{
    struct block_bio *b = (struct block_bio *)bio;
    struct block_io *io = b->io;
    vm_lock(&io->lock);
    b->error = error;
    io->pending--;
    vm_unlock(&io->lock);
    machine_wake(io); /* its owner may have ended it already: only the address is used */
}

static void wait_on_buffers(struct block_io *io)
{
    for (uint32_t i = 0; i < io->n; i++)
        bio_wait(&io->b[i].bio);
    vm_lock(&io->lock);
    while (io->pending > 0)
        vm_sleep(io, &io->lock);
    vm_unlock(&io->lock);
}

/*
 * Moves the blocks that were added. b[i].error: of each, 0 or its
 * error. No lock held. Errors: the first of these;
 * -ENOMEM, no window, and each block has it.
 */
static int ll_rw_block(struct block_io *io)
{
    enum machine_window how = io->op == STORE_READ ? MACHINE_WINDOW_EDIT : MACHINE_WINDOW_READ;
    struct blk_plug plug;
    if (io->n == 0)
        return 0;
    int error = pmap_window_get(&io->run, how, false, &io->addr);
    if (error != 0) {
        for (uint32_t i = 0; i < io->n; i++)
            io->b[i].error = error;
        return error;
    }
    io->pending = io->n;
    blk_start_plug(&plug);
    for (uint32_t i = 0; i < io->n; i++) {
        io->b[i].bio.end_io = end_buffer_io;
        submit_bio(&io->b[i].bio, &plug);
    }
    blk_finish_plug(&plug);
    wait_on_buffers(io);
    pmap_window_put(&io->run, how, &io->addr, true); /* bytes of a block that failed mean nothing anyway */
    for (uint32_t i = 0; i < io->n && error == 0; i++)
        error = io->b[i].error;
    if (error == 0)
        vm_count(io->op == STORE_READ ? &vm_cnt.page_ins : &vm_cnt.write_backs, 1);
    return error;
}

/* The blocks that were read are up to date. (O). */
static void end_buffer_read(struct block_io *io)
{
    for (uint32_t i = 0; i < io->n; i++)
        if (io->b[i].error == 0)
            io->b[i].bh->b_state |= BH_UPTODATE;
}

int block_read_full_page(struct vm_page *m)
{
    struct vm_object *object = m->object;
    struct block_io io;
    uint32_t offset = 0, end = VM_PAGE_SIZE; /* of the blocks that lie within the file */
    int error = 0;
    block_io_init(&io, m, STORE_READ);
    vm_lock(&object->lock);
    KASSERT((m->flags & (PG_BUSY | PG_PRIVATE | PG_VALID | PG_WRITEBACK)) == (PG_BUSY | PG_PRIVATE), "BH3");
    for (struct buffer_head *bh = page_buffers(m); bh != NULL; bh = buffer_next(m, bh, &offset)) {
        if (!blkdev_get_block(bh, offset) && end == VM_PAGE_SIZE)
            end = offset;
        else if (offset < end && (bh->b_state & BH_UPTODATE) == 0)
            block_io_add(&io, bh, offset);
    }
    vm_unlock(&object->lock);
    if (end < VM_PAGE_SIZE)
        error = pmap_zero_page_area(m, end, VM_PAGE_SIZE);
    if (error == 0)
        error = ll_rw_block(&io);
    vm_lock(&object->lock);
    end_buffer_read(&io);
    if (error == 0) {
        offset = 0;
        for (struct buffer_head *bh = page_buffers(m); bh != NULL; bh = buffer_next(m, bh, &offset))
            bh->b_state |= BH_UPTODATE;
        buffers_settle(m);
    }
    vm_unlock(&object->lock);
    return error;
}

/*
 * Page m is not valid, and m is not busy: reads what it lacks. (O), released in between.
 */
static int block_complete_page(struct vm_object *object, struct vm_page *m) FL_REQUIRES(object->lock)
{
    vm_page_xbusy(m);
    vm_unlock(&object->lock);
    int error = block_read_full_page(m);
    vm_lock(&object->lock);
    vm_page_xunbusy(m);
    return error;
}

/* A page that is busy and not valid may be one that was begun before: its owner is waited for. */
int block_complete_pages(struct vm_object *object)
{
    vm_pindex_t next = 0;
    struct vm_page *m;
    int error = 0;
    vm_lock(&object->lock);
    bool whole = vm_object_vnode(object)->whole_pages;
    vm_object_vnode(object)->whole_pages = true;
    while (!whole && error == 0 && (m = vm_page_find_least(object, next)) != NULL) {
        next = m->pindex;
        if ((m->flags & PG_VALID) == 0 && (m->flags & (PG_BUSY | PG_WRITEBACK))) {
            vm_page_busy_sleep(m);
            continue;
        }
        if ((m->flags & PG_VALID) == 0)
            error = block_complete_page(object, m);
        if (next++ == UINT64_MAX)
            break;
    }
    if (error != 0)
        vm_object_vnode(object)->whole_pages = false;
    vm_unlock(&object->lock);
    return error;
}

/* ---- writing into a page ------------------------------------------------------------------------------- */

/*
 * Of the blocks that bytes [start, start + len) touch, reads those that are neither up to date nor
 * overwritten whole; zeroes those behind the file's end. No lock held. Errors: the store's, -ENOMEM.
 */
static int __block_write_begin(struct vm_page *m, uint32_t start, uint32_t len)
{
    struct vm_object *object = m->object;
    struct block_io io;
    uint32_t offset = 0, zero_start[2], zero_end[2], nzero = 0;
    int error = 0;
    block_io_init(&io, m, STORE_READ);
    vm_lock(&object->lock);
    for (struct buffer_head *bh = page_buffers(m); bh != NULL; bh = buffer_next(m, bh, &offset)) {
        uint32_t end = offset + bh->b_size;
        bool whole = start <= offset && end <= start + len;
        if (end <= start || start + len <= offset || whole || (bh->b_state & BH_UPTODATE))
            continue;
        if (blkdev_get_block(bh, offset)) {
            block_io_add(&io, bh, offset);
            continue;
        }
        zero_start[nzero] = offset; /* at most two: the first and the last block that the bytes touch */
        zero_end[nzero++] = end;
    }
    vm_unlock(&object->lock);
    for (uint32_t i = 0; i < nzero && error == 0; i++)
        error = pmap_zero_page_area(m, zero_start[i], zero_end[i]);
    if (error == 0)
        error = ll_rw_block(&io);
    vm_lock(&object->lock);
    end_buffer_read(&io);
    vm_unlock(&object->lock);
    return error;
}

int block_write_begin(struct vm_page *m, uint32_t start, uint32_t len)
{
    struct vm_object *object = m->object;
    int error = 0;
    vm_lock(&object->lock);
    bool fresh = !page_has_buffers(m);
    if (fresh)
        error = create_empty_buffers(m, i_blocksize(vm_object_vnode(object)));
    vm_unlock(&object->lock);
    if (error == 0 && fresh)
        error = pmap_zero_page(m); /* gives the frame its bytes */
    return error == 0 ? __block_write_begin(m, start, len) : error;
}

/* Bytes [start, end) of m were written: their blocks become up to date and dirty. (O). */
static void __block_commit_write(struct vm_page *m, uint32_t start, uint32_t end)
{
    uint32_t offset = 0;
    for (struct buffer_head *bh = page_buffers(m); bh != NULL; bh = buffer_next(m, bh, &offset)) {
        if (offset + bh->b_size <= start || end <= offset)
            continue;
        bh->b_state |= BH_UPTODATE | BH_MAPPED;
        mark_buffer_dirty(bh);
    }
    buffers_settle(m);
}

uint32_t block_write_end(struct vm_page *m, uint32_t start, uint32_t len, uint32_t copied)
{
    uint32_t offset = 0, end = start + copied;
    KASSERT((m->flags & (PG_BUSY | PG_WRITEBACK)) == PG_BUSY, "BH4");
    /* After a short copy a block that was to be overwritten whole does not count: its rest was not read. */
    for (struct buffer_head *bh = page_buffers(m); copied < len && bh != NULL;
         bh = buffer_next(m, bh, &offset))
        if (offset < end && end < offset + bh->b_size && (bh->b_state & BH_UPTODATE) == 0)
            end = offset > start ? offset : start;
    if (end > start)
        __block_commit_write(m, start, end);
    return end - start;
}

/* ---- writing back -------------------------------------------------------------------------------------- */

/* Adds m's dirty blocks, as far as they are in the file, to the transfer. No lock held. */
static void buffers_collect_dirty(struct block_io *io, struct vm_page *m)
{
    uint32_t offset = 0;
    vm_lock(&m->object->lock);
    KASSERT((m->flags & (PG_WRITEBACK | PG_PRIVATE)) == (PG_WRITEBACK | PG_PRIVATE), "WB1");
    for (struct buffer_head *bh = page_buffers(m); bh != NULL; bh = buffer_next(m, bh, &offset)) {
        if ((bh->b_state & BH_DIRTY) && blkdev_get_block(bh, offset))
            block_io_add(io, bh, offset);
        if ((m->flags & PG_DIRTY) == 0)
            bh->b_state &= (uint8_t)~BH_DIRTY;
    }
    vm_unlock(&m->object->lock);
}

/* b[i].error: of each block. Errors: the first of these; -EBADF, no store is writable. */
static int __block_write_full_page(struct block_io *io, struct vm_page *m)
{
    buffers_collect_dirty(io, m);
    if (io->n == 0)
        return 0;
    int error = io->b[0].bio.store == NULL ? -EBADF : vnode_clean_tail(m->object, &m, 1);
    if (error == 0)
        return ll_rw_block(io);
    for (uint32_t i = 0; i < io->n; i++)
        io->b[i].error = error;
    return error;
}

int block_write_full_page(struct vm_page *m)
{
    struct vm_object *object = m->object;
    struct block_io io;
    block_io_init(&io, m, STORE_WRITE);
    int error = __block_write_full_page(&io, m);
    if (error != 0) /* before PG_WRITEERROR, so that a thread that sees the flag finds the error */
        vnode_seterror(vm_object_vnode(object), error);
    vm_lock(&object->lock);
    m->flags &= (uint16_t)~PG_WRITEERROR;
    for (uint32_t i = 0; i < io.n; i++)
        if (io.b[i].error != 0)
            mark_buffer_dirty(io.b[i].bh);
    if (error != 0)
        m->flags |= PG_WRITEERROR;
    vm_page_writeback_done(m);
    if ((m->flags & PG_DIRTY) == 0)
        buffers_settle(m);
    vm_unlock(&object->lock);
    return error;
}

/* ---- checks -------------------------------------------------------------------------------------------- */

void buffer_check(const struct vm_page *m)
{
    uint32_t offset = 0;
    bool dirty = false;
    for (struct buffer_head *bh = page_buffers(m); bh != NULL; bh = buffer_next(m, bh, &offset)) {
        KASSERT(bh->b_page == m && bh->b_size == page_buffers(m)->b_size && offset < VM_PAGE_SIZE, "BH1");
        KASSERT((bh->b_state & (BH_DIRTY | BH_UPTODATE)) != BH_DIRTY, "BH2");
        KASSERT((m->flags & PG_VALID) == 0 || (bh->b_state & BH_UPTODATE) != 0, "BH3");
        dirty = dirty || (bh->b_state & BH_DIRTY) != 0;
    }
    KASSERT(offset == VM_PAGE_SIZE, "BH1");
    KASSERT(!dirty || (m->flags & (PG_DIRTY | PG_BUSY | PG_WRITEBACK)) != 0, "BH4");
}
