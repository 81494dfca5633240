/*
 * ext2_store.c: a regular file as a store: its pages go to and come from the blocks of the device's store.
 *
 *   ext2_submit ─▶ file_map ─┬─ all of it is one extent ─▶ the request itself, at its place on the disk
 *                            └─ pieces ─▶ several requests to the device, which are waited for
 *                               hole, fresh ─▶ zeros of a read; a write gets blocks
 *
 *   piece   within one page of memory if the disk's block has another place in its page (small blocks)
 *
 * A request that goes on has its offset on the disk until it is done (ext2_done). Pieces are transferred
 * PIECES at a time, with requests on the stack: so nothing is allocated, and the depth is bounded.
 *
 * Space. A store into a mapping has its blocks allocated before (ext2_allocate), because ext2_room says that
 * there is never much; so does a write, if its caller asks fl_vnode_allocate first. What comes without gets
 * its blocks when it is written, and a full disk fails that write-back.
 *
 * Length. No block behind the file's end is written. On the disk the rest of the last block is zeros: the VM
 * writes zeros there, and ext2_truncate does.
 *
 * A file without names that nobody has open or mapped is closed for the last time by the thread that deletes
 * it (inode_end). What that thread writes is dropped; if the file is mapped still, its close writes nothing.
 *
 * A hole may be punched while a page that is partly in it is written. So writes wait while it is
 * (writes_fence).
 *
 * Locks: (E) for extents that were lately used, otherwise (N); ext2_mount.h has the argument why that ends.
 */
#include "fs/ext2_mount.h"
#include "kmem.h"
#include <faultline/types.h>
#include <linux/errno.h>

#define PIECES 8

struct ext2_file_store {
    struct store store;    /* the first field */
    struct ext2_inode *ip; /* (c) one of its `stores` */
};

static struct ext2_inode *store_inode(struct store *store)
{
    return ((struct ext2_file_store *)store)->ip;
}

/* ---- where a block is ---------------------------------------------------------------------------------- */

static bool extent_find(struct ext2_inode *ip, uint32_t lblk, uint32_t max, struct ext2_extent *found)
{
    bool hit = false;
    machine_lock(&ip->extent_lock);
    for (uint32_t i = 0; i < EXT2_EXTENTS && !hit; i++) {
        const struct ext2_extent *extent = &ip->extent[i];
        uint32_t into = lblk - extent->lblk;
        hit = lblk >= extent->lblk && into < extent->len;
        if (hit)
            *found = (struct ext2_extent){lblk, extent->pblk + into,
                                          extent->len - into < max ? extent->len - into : max};
    }
    machine_unlock(&ip->extent_lock);
    return hit;
}

/* (N), so that no truncation comes between the look at the blocks and this. */
static void extent_remember(struct ext2_inode *ip, const struct ext2_extent *extent)
{
    machine_lock(&ip->extent_lock);
    struct ext2_extent *slot = NULL;
    for (uint32_t i = 0; i < EXT2_EXTENTS; i++) {
        struct ext2_extent *old = &ip->extent[i];
        if (old->len > 0 && old->lblk <= extent->lblk && extent->lblk <= old->lblk + old->len &&
            extent->pblk - old->pblk == extent->lblk - old->lblk)
            slot = old;
    }
    if (slot != NULL) { /* it goes on */
        uint32_t end = extent->lblk + extent->len;
        if (end > slot->lblk + slot->len)
            slot->len = end - slot->lblk;
    } else {
        ip->extent[ip->extent_next] = *extent;
        ip->extent_next = (ip->extent_next + 1) % EXT2_EXTENTS;
    }
    machine_unlock(&ip->extent_lock);
}

/* What a read finds from lblk on; pblk 0: zeros. */
static int map_read(struct ext2_inode *ip, uint32_t lblk, uint32_t max, struct ext2_extent *extent)
    FL_REQUIRES(ip->fs->meta)
{
    bool fresh = false;
    int error = ext2_bmap(ip, lblk, UINT32_MAX - lblk, extent);
    if (error != 0)
        return error;
    extent->len = ext2_fresh_run(ip, lblk, extent->len, &fresh);
    if (fresh)
        extent->pblk = 0;
    if (extent->pblk != 0)
        extent_remember(ip, extent);
    extent->len = extent->len < max ? extent->len : max;
    return 0;
}

/* Where a write goes from lblk on: a hole gets blocks. */
static int map_write(struct ext2_inode *ip, uint32_t lblk, uint32_t max, struct ext2_extent *extent)
    FL_REQUIRES(ip->fs->meta)
{
    int error = ext2_balloc(ip, lblk, max, extent);
    if (error == 0)
        error = ext2_fresh_written(ip, extent->lblk, extent->len);
    if (error == 0)
        extent_remember(ip, extent);
    return error;
}

/* *extent: up to `max` blocks from lblk on. No lock held. Errors: -EIO; of a write, -ENOSPC. */
static int file_map(struct ext2_inode *ip, enum store_op op, uint32_t lblk, uint32_t max,
                    struct ext2_extent *extent)
{
    if (extent_find(ip, lblk, max, extent))
        return 0;
    sleep_lock(&ip->fs->meta);
    int error = op == STORE_READ ? map_read(ip, lblk, max, extent) : map_write(ip, lblk, max, extent);
    sleep_unlock(&ip->fs->meta);
    return error;
}

/* ---- writes under way ---------------------------------------------------------------------------------- */

static void write_begin(struct ext2_inode *ip)
{
    machine_lock(&ip->extent_lock);
    while (ip->fenced)
        (void)machine_wait(&ip->writes, &ip->extent_lock, UINT64_MAX);
    ip->writes++;
    machine_unlock(&ip->extent_lock);
}

/* Any thread; no lock held. */
static void write_end(struct ext2_inode *ip)
{
    machine_lock(&ip->extent_lock);
    bool wake = --ip->writes == 0 && ip->fenced;
    machine_unlock(&ip->extent_lock);
    if (wake)
        machine_wake(&ip->writes);
}

/* Writes wait until `up` is false again, and none is under way. Without (N), which these may need. vn_lock,
 * so one thread at a time does it. */
static void writes_fence(struct ext2_inode *ip, bool up)
{
    machine_lock(&ip->extent_lock);
    ip->fenced = up;
    while (up && ip->writes > 0)
        (void)machine_wait(&ip->writes, &ip->extent_lock, UINT64_MAX);
    machine_unlock(&ip->extent_lock);
    if (!up)
        machine_wake(&ip->writes);
}

/* ---- memory of a request ------------------------------------------------------------------------------- */

/* Where byte `at` of the file, which the request is about, is in memory. */
static uint8_t *request_byte(const struct store_request *request, uint64_t at)
{
    return (uint8_t *)request->addr[atop(at) - atop(request->offset)] + (at & VM_PAGE_MASK);
}

/* Bytes [start, end) of the file become zeros in the request's memory. */
static void request_zero(const struct store_request *request, uint64_t start, uint64_t end)
{
    while (start < end) {
        uint64_t page_end = trunc_page(start) + VM_PAGE_SIZE, stop = page_end < end ? page_end : end;
        __builtin_memset(request_byte(request, start), 0, stop - start);
        start = stop;
    }
}

/* A read is done: whatever lies behind the file's end is zeros. */
static void request_zero_tail(const struct ext2_inode *ip, const struct store_request *request)
{
    uint64_t end = request->offset + request->len_bytes, size = ip->size;
    if (size < end)
        request_zero(request, size > request->offset ? size : request->offset, end);
}

/* The request has been transferred. It is the core's again. */
static void request_end(struct ext2_inode *ip, struct store_request *request, int error)
{
    if (request->op == STORE_WRITE)
        write_end(ip);
    else if (error == 0)
        request_zero_tail(ip, request);
    request->done(request, error);
}

/* ---- a request that goes on ---------------------------------------------------------------------------- */

/* request.upper_private */
enum {
    UPPER_INODE, /* of a request that the device has or had; otherwise 0 */
    UPPER_DONE,  /* the core's `done` */
    UPPER_OFFSET /* in the file */
};

static void ext2_done(struct store_request *request, int error)
{
    struct ext2_inode *ip = (struct ext2_inode *)request->upper_private[UPPER_INODE];
    request->done = (void (*)(struct store_request *, int))request->upper_private[UPPER_DONE];
    request->offset = request->upper_private[UPPER_OFFSET];
    request_end(ip, request, error);
}

static void request_forward(struct ext2_inode *ip, struct store_request *request, uint64_t offset)
{
    struct store *below = ip->fs->store;
    request->upper_private[UPPER_INODE] = (uintptr_t)ip;
    request->upper_private[UPPER_DONE] = (uintptr_t)request->done;
    request->upper_private[UPPER_OFFSET] = request->offset;
    request->done = ext2_done;
    request->offset = offset;
    below->ops->submit(below, request);
}

/* ---- pieces -------------------------------------------------------------------------------------------- */

struct piece {
    struct store_request request;
    void *page;
    int error;
};

/* Pieces under way, of one request. */
struct pieces {
    struct ext2_fs *fs;
    struct piece piece[PIECES];
    uint32_t n;
    int error;
};

static void piece_done(struct store_request *request, int error)
{
    ((struct piece *)request)->error = error;
}

/* Waits for all of them. */
static void pieces_wait(struct pieces *pieces)
{
    struct store *below = pieces->fs->store;
    for (uint32_t i = 0; i < pieces->n; i++) {
        if (below->ops->wait != NULL)
            below->ops->wait(below, &pieces->piece[i].request);
        if (pieces->error == 0)
            pieces->error = pieces->piece[i].error;
    }
    pieces->n = 0;
}

static struct piece *piece_next(struct pieces *pieces)
{
    if (pieces->n == PIECES)
        pieces_wait(pieces);
    return &pieces->piece[pieces->n++];
}

/*
 * Transfers bytes [start, end) of the file, which are at `offset` on the disk: at once if pages there and in
 * memory have the same borders; else so that no piece crosses a border of either.
 */
static void pieces_add(struct pieces *pieces, const struct store_request *request, uint64_t start,
                       uint64_t end, uint64_t offset)
{
    struct store *below = pieces->fs->store;
    bool aligned = ((start ^ offset) & VM_PAGE_MASK) == 0;
    while (start < end) {
        uint64_t len = end - start;
        uint64_t here = VM_PAGE_SIZE - (start & VM_PAGE_MASK), there = VM_PAGE_SIZE - (offset & VM_PAGE_MASK);
        if (!aligned)
            len = len < here ? len : here;
        if (!aligned)
            len = len < there ? len : there;
        struct piece *piece = piece_next(pieces);
        piece->page = (void *)((uintptr_t)request_byte(request, start) - (offset & VM_PAGE_MASK));
        piece->request = (struct store_request){
            .op = request->op,
            .offset = offset,
            .len_bytes = len,
            .npages = (uint32_t)(atop(offset + len - 1) - atop(offset) + 1),
            .addr = aligned ? &request->addr[atop(start) - atop(request->offset)] : &piece->page,
            .done = piece_done,
        };
        below->ops->submit(below, &piece->request);
        start += len;
        offset += len;
    }
}

/* Blocks [lblk, end) of the file. Errors: -EIO; -ENOSPC. */
static int request_pieces(struct ext2_inode *ip, const struct store_request *request, uint32_t lblk,
                          uint32_t end)
{
    uint32_t shift = ip->fs->block_shift;
    struct pieces pieces = {.fs = ip->fs, .n = 0};
    struct ext2_extent extent;
    int error = 0;
    for (; lblk < end && error == 0 && pieces.error == 0; lblk += extent.len) {
        error = file_map(ip, request->op, lblk, end - lblk, &extent);
        if (error != 0)
            break;
        uint64_t start = (uint64_t)lblk << shift, stop = start + ((uint64_t)extent.len << shift);
        if (extent.pblk == 0)
            request_zero(request, start, stop);
        else
            pieces_add(&pieces, request, start, stop, (uint64_t)extent.pblk << shift);
    }
    pieces_wait(&pieces);
    return error != 0 ? error : pieces.error;
}

/* ---- the store ----------------------------------------------------------------------------------------- */

static void ext2_submit(struct store *store, struct store_request *request)
{
    struct ext2_inode *ip = store_inode(store);
    uint32_t shift = ip->fs->block_shift;
    uint64_t size = ip->size, mask = ip->fs->block_bytes - 1;
    uint64_t stop = request->offset + request->len_bytes, end = (size + mask) & ~mask;
    uint32_t lblk = (uint32_t)(request->offset >> shift);
    struct ext2_extent extent = {0};
    int error = 0;
    request->upper_private[UPPER_INODE] = 0;
    end = stop < end ? stop : end;
    if (request->op == STORE_WRITE && ip->ender == machine_self())
        end = 0;
    if (request->op == STORE_WRITE)
        write_begin(ip);
    if (request->offset < end) {
        uint32_t n = (uint32_t)((end - request->offset) >> shift);
        error = file_map(ip, request->op, lblk, n, &extent);
        uint64_t offset = (uint64_t)extent.pblk << shift;
        if (error == 0 && extent.pblk != 0 && extent.len == n && end == stop &&
            ((request->offset ^ offset) & VM_PAGE_MASK) == 0) {
            request_forward(ip, request, offset);
            return;
        }
        if (error == 0)
            error = request_pieces(ip, request, lblk, lblk + n);
    }
    request_end(ip, request, error);
}

static void ext2_wait(struct store *store, struct store_request *request)
{
    struct store *below = store_inode(store)->fs->store;
    if (request->upper_private[UPPER_INODE] != 0 && below->ops->wait != NULL)
        below->ops->wait(below, request);
}

static int ext2_size(struct store *store, uint64_t *len_bytes)
{
    *len_bytes = store_inode(store)->size;
    return 0;
}

static int ext2_flush(struct store *store)
{
    struct ext2_inode *ip = store_inode(store);
    sleep_lock(&ip->fs->meta);
    int error = ext2_settle(ip);
    if (error == 0)
        error = ext2_bsync(ip->fs, false);
    sleep_unlock(&ip->fs->meta);
    return error;
}

static void ext2_close(struct store *store)
{
    struct ext2_inode *ip = store_inode(store);
    kfree(store);
    ext2_store_gone(ip);
}

/* A file of that length needs the flag that files may be long. Errors: -EFBIG. */
static int large_file(struct ext2_fs *fs, uint64_t len_bytes) FL_REQUIRES(fs->meta)
{
    if (len_bytes > fs->max_bytes)
        return -EFBIG;
    if (len_bytes <= INT32_MAX || (fs->sb.s_feature_ro_compat & EXT2_FEATURE_RO_COMPAT_LARGE_FILE))
        return 0;
    fs->sb.s_feature_ro_compat |= EXT2_FEATURE_RO_COMPAT_LARGE_FILE;
    fs->sb_dirty = true;
    return 0;
}

/* Bytes [start, end) of one block of the file become zeros on the disk. */
static int block_zero(struct ext2_inode *ip, uint64_t start, uint64_t end) FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    struct ext2_extent extent;
    bool fresh = false;
    ext2_assert_meta(fs);
    if (start >= end)
        return 0;
    uint32_t lblk = (uint32_t)(start >> fs->block_shift);
    int error = ext2_bmap(ip, lblk, 1, &extent);
    if (error != 0 || extent.pblk == 0)
        return error;
    (void)!ext2_fresh_run(ip, lblk, 1, &fresh);
    return fresh ? 0
                 : ext2_zero_bytes(fs, extent.pblk, (uint32_t)start & (fs->block_bytes - 1),
                                   (uint32_t)(end - start));
}

/* The file becomes shorter. Blocks that cannot be freed for an error are left to e2fsck, which the log asks
 * for: the file is shorter nevertheless. Errors, nothing changed: -EIO. */
static int file_cut(struct ext2_inode *ip, uint64_t len_bytes) FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    uint64_t mask = fs->block_bytes - 1, end = (len_bytes + mask) & ~mask;
    ext2_assert_meta(fs);
    int error = block_zero(ip, len_bytes, end);
    if (error != 0)
        return error;
    ext2_set_size(ip, len_bytes);
    if (ext2_bfree(ip, (uint32_t)(end >> fs->block_shift), UINT32_MAX) == 0)
        ip->alloc_end = 0;
    else
        (void)!ext2_error(fs, "blocks of a file that was cut stay allocated");
    return ext2_iupdate(ip);
}

static int ext2_truncate(struct store *store, uint64_t len_bytes)
{
    struct ext2_inode *ip = store_inode(store);
    struct ext2_fs *fs = ip->fs;
    sleep_lock(&ip->fs->meta);
    ext2_assert_meta(fs);
    int error = large_file(fs, len_bytes);
    if (error == 0 && len_bytes < ip->size) {
        error = file_cut(ip, len_bytes);
    } else if (error == 0) {
        uint64_t old = ip->size;
        ext2_set_size(ip, len_bytes);
        error = ext2_iupdate(ip);
        if (error != 0)
            ext2_set_size(ip, old);
    }
    sleep_unlock(&ip->fs->meta);
    return error;
}

static int ext2_punch(struct store *store, uint64_t offset, uint64_t len_bytes)
{
    struct ext2_inode *ip = store_inode(store);
    struct ext2_fs *fs = ip->fs;
    uint64_t mask = fs->block_bytes - 1, end = offset + len_bytes;
    uint64_t first = (offset + mask) & ~mask, last = end & ~mask;
    writes_fence(ip, true); /* of pages that are partly in the hole: their blocks are read and written here */
    sleep_lock(&ip->fs->meta);
    int error = block_zero(ip, offset, first < end ? first : end);
    if (error == 0 && last >= first)
        error = block_zero(ip, last, end);
    if (error == 0 && first < last)
        error = ext2_bfree(ip, (uint32_t)(first >> fs->block_shift), (uint32_t)(last >> fs->block_shift));
    sleep_unlock(&ip->fs->meta);
    writes_fence(ip, false);
    return error;
}

/* How many of blocks [lblk, end) are holes. */
static int count_holes(struct ext2_inode *ip, uint32_t lblk, uint32_t end, uint64_t *holes)
    FL_REQUIRES(ip->fs->meta)
{
    struct ext2_extent extent;
    int error = 0;
    *holes = 0;
    for (; lblk < end && error == 0; lblk += extent.len) {
        error = ext2_bmap(ip, lblk, end - lblk, &extent);
        if (error == 0 && extent.pblk == 0)
            *holes += extent.len;
    }
    return error;
}

/* Blocks [lblk, end) get their space, or none of them if there is not enough for all, as far as that can be
 * told before. */
static int file_allocate(struct ext2_inode *ip, uint32_t lblk, uint32_t end) FL_REQUIRES(ip->fs->meta)
{
    struct ext2_fs *fs = ip->fs;
    struct ext2_extent extent;
    uint64_t holes;
    ext2_assert_meta(fs);
    int error = count_holes(ip, lblk, end, &holes);
    if (error == 0 && holes > fs->sb.s_free_blocks_count)
        error = -ENOSPC;
    for (; lblk < end && error == 0; lblk += extent.len)
        error = ext2_balloc(ip, lblk, end - lblk, &extent);
    return error;
}

static int ext2_allocate(struct store *store, uint64_t offset, uint64_t len_bytes)
{
    struct ext2_inode *ip = store_inode(store);
    struct ext2_fs *fs = ip->fs;
    uint64_t mask = fs->block_bytes - 1, end = offset + len_bytes;
    if (len_bytes == 0)
        return 0;
    if (end > fs->max_bytes)
        return -EFBIG;
    sleep_lock(&ip->fs->meta);
    int error =
        file_allocate(ip, (uint32_t)(offset >> fs->block_shift), (uint32_t)((end + mask) >> fs->block_shift));
    sleep_unlock(&ip->fs->meta);
    return error;
}

/* Where there are holes, never much: so each page has its blocks before it is stored to. */
static uint64_t ext2_room(struct store *store)
{
    struct ext2_inode *ip = store_inode(store);
    sleep_lock(&ip->fs->meta);
    bool holes = ext2_has_holes(ip, ip->size);
    sleep_unlock(&ip->fs->meta);
    return holes ? 0 : STORE_ROOM_NO_HOLES;
}

static const struct store_ops ext2_store_ops = {
    .name = "ext2",
    .submit = ext2_submit,
    .wait = ext2_wait,
    .size = ext2_size,
    .flush = ext2_flush,
    .close = ext2_close,
    .truncate = ext2_truncate,
    .punch = ext2_punch,
    .allocate = ext2_allocate,
    .room = ext2_room,
};

struct store *ext2_store_create(struct ext2_inode *ip)
{
    struct ext2_file_store *file = kmalloc(sizeof *file);
    if (file == NULL)
        return NULL;
    file->ip = ip;
    file->store = (struct store){
        .ops = &ext2_store_ops,
        .read_only = ip->fs->mount.read_only,
        .block_bytes = ip->fs->block_bytes,
        .key = {(uintptr_t)ip->fs, ip->inode.ino},
    };
    return &file->store;
}
