/*
 * ext2_buf.c: buffers of metadata: found, filled, and written in their order.
 *
 *   ext2_bread ─▶ buf_find ─┬─ there
 *                           └─ buf_victim (clean, not held; half are dirty: buf_write_all) ─▶ a transfer
 *
 *   buf_write_all   level 0 ─▶ flush ─▶ level 1 ─▶ flush ─▶ …       and before all of it, once after each
 *                   clean sync, the superblock that says "not clean" ─▶ flush
 *
 * A buffer that others wait for (`awaited`) keeps its level. Where it would have to rise, ext2_border writes
 * everything instead, and then there is no order to keep. A write that fails leaves its buffers dirty, and
 * those of higher levels unwritten.
 *
 * Lock: (N). Transfers are waited for with it; ext2_mount.h says why that ends.
 */
#include "fs/ext2_mount.h"
#include "kmem.h"
#include <faultline/types.h>
#include <faultline/vm.h>
#include <linux/errno.h>

#define BUFS_MIN  64
#define BUFS_MAX  2048
#define LEVEL_MAX 8

/* ---- transfers ----------------------------------------------------------------------------------------- */

static void io_done(struct store_request *request, int error)
{
    ((struct ext2_io *)request)->error = error;
}

static void io_start(struct ext2_fs *fs, struct ext2_io *io, enum store_op op, uint64_t offset,
                     uint64_t len_bytes, void **addr)
{
    io->request = (struct store_request){
        .op = op,
        .offset = offset,
        .len_bytes = len_bytes,
        .npages = (uint32_t)(atop(offset + len_bytes - 1) - atop(offset) + 1),
        .addr = addr,
        .done = io_done,
    };
    fs->store->ops->submit(fs->store, &io->request);
}

static int io_wait(struct ext2_fs *fs, struct ext2_io *io)
{
    if (fs->store->ops->wait != NULL)
        fs->store->ops->wait(fs->store, &io->request);
    return io->error;
}

int ext2_transfer(struct ext2_fs *fs, enum store_op op, uint64_t offset, uint64_t len_bytes, void **addr)
{
    struct ext2_io io;
    io_start(fs, &io, op, offset, len_bytes, addr);
    return io_wait(fs, &io);
}

/* Where the page of a block's bytes would begin, had it one: a request names pages. */
static void *buf_page(const struct ext2_fs *fs, uint32_t blkno, uint8_t *data)
{
    uint64_t offset = (uint64_t)blkno << fs->block_shift;
    return (void *)((uintptr_t)data - (offset & VM_PAGE_MASK));
}

static int buf_read(struct ext2_fs *fs, struct ext2_buf *buf)
{
    void *addr = buf_page(fs, buf->blkno, buf->data);
    return ext2_transfer(fs, STORE_READ, (uint64_t)buf->blkno << fs->block_shift, fs->block_bytes, &addr);
}

static int device_flush(struct ext2_fs *fs)
{
    return fs->store->ops->flush(fs->store);
}

/* ---- the table ----------------------------------------------------------------------------------------- */

static struct ext2_buf **buf_bucket(struct ext2_bufs *bufs, uint32_t blkno)
{
    return &bufs->hash[blkno * UINT32_C(0x9e3779b1) >> 22];
}
_Static_assert(EXT2_BUF_HASH == 1 << (32 - 22), "the hash has so many bits");

static struct ext2_buf *buf_find(struct ext2_bufs *bufs, uint32_t blkno)
{
    struct ext2_buf *buf = *buf_bucket(bufs, blkno);
    while (buf != NULL && buf->blkno != blkno)
        buf = buf->hash_next;
    return buf;
}

static void lru_remove(struct ext2_bufs *bufs, struct ext2_buf *buf)
{
    *(buf->lru_prev != NULL ? &buf->lru_prev->lru_next : &bufs->lru_first) = buf->lru_next;
    *(buf->lru_next != NULL ? &buf->lru_next->lru_prev : &bufs->lru_last) = buf->lru_prev;
}

static void lru_add(struct ext2_bufs *bufs, struct ext2_buf *buf, bool first)
{
    buf->lru_prev = first ? NULL : bufs->lru_last;
    buf->lru_next = first ? bufs->lru_first : NULL;
    *(buf->lru_prev != NULL ? &buf->lru_prev->lru_next : &bufs->lru_first) = buf;
    *(buf->lru_next != NULL ? &buf->lru_next->lru_prev : &bufs->lru_last) = buf;
}

static void buf_clean(struct ext2_bufs *bufs, struct ext2_buf *buf)
{
    bufs->ndirty -= buf->dirty;
    buf->dirty = buf->awaited = false;
    buf->level = 0;
}

/* The buffer has no block any more, and is the next one to be used. */
static void buf_forget(struct ext2_bufs *bufs, struct ext2_buf *buf)
{
    struct ext2_buf **link = buf_bucket(bufs, buf->blkno);
    while (*link != buf)
        link = &(*link)->hash_next;
    *link = buf->hash_next;
    buf_clean(bufs, buf);
    buf->blkno = EXT2_NO_BLOCK;
    lru_remove(bufs, buf);
    lru_add(bufs, buf, true);
}

int ext2_bufs_init(struct ext2_fs *fs)
{
    struct ext2_bufs *bufs = &fs->bufs;
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    uint64_t count = stats.nframes / 64 * (VM_PAGE_SIZE / fs->block_bytes);
    bufs->count = count < BUFS_MIN ? BUFS_MIN : count > BUFS_MAX ? BUFS_MAX : (uint32_t)count;
    bufs->all = kmalloc(bufs->count * sizeof *bufs->all);
    bufs->sorted = kmalloc(bufs->count * sizeof(struct ext2_buf *));
    bufs->io = kmalloc(EXT2_IO_DEPTH * sizeof *bufs->io);
    if (bufs->all == NULL || bufs->sorted == NULL || bufs->io == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < bufs->count; i++) {
        struct ext2_buf *buf = &bufs->all[i];
        buf->blkno = EXT2_NO_BLOCK;
        buf->data = kmalloc(fs->block_bytes);
        if (buf->data == NULL)
            return -ENOMEM;
        lru_add(bufs, buf, false);
    }
    return 0;
}

void ext2_bufs_free(struct ext2_fs *fs)
{
    struct ext2_bufs *bufs = &fs->bufs;
    for (uint32_t i = 0; bufs->all != NULL && i < bufs->count; i++)
        kfree(bufs->all[i].data);
    kfree(bufs->all);
    kfree(bufs->sorted);
    kfree(bufs->io);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* Shell's sort: the buffers of a level, by block. */
static void bufs_sort(struct ext2_buf **buf, uint32_t n)
{
    for (uint32_t gap = n / 2; gap > 0; gap /= 2)
        for (uint32_t i = gap; i < n; i++) {
            struct ext2_buf *moving = buf[i];
            uint32_t at = i;
            for (; at >= gap && buf[at - gap]->blkno > moving->blkno; at -= gap)
                buf[at] = buf[at - gap];
            buf[at] = moving;
        }
}

/* Sorted dirty buffers of the level. Returns how many. */
static uint32_t bufs_collect(struct ext2_bufs *bufs, uint32_t level)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < bufs->count; i++)
        if (bufs->all[i].dirty && bufs->all[i].level == level)
            bufs->sorted[n++] = &bufs->all[i];
    bufs_sort(bufs->sorted, n);
    return n;
}

/* Starts one transfer with as many of the n sorted buffers as are neighbours. Returns how many. */
static uint32_t bufs_start(struct ext2_fs *fs, struct ext2_io *io, struct ext2_buf **buf, uint32_t n)
{
    uint32_t most = fs->block_bytes == VM_PAGE_SIZE ? EXT2_IO_BLOCKS : 1;
    for (io->nbufs = 0; io->nbufs < n && io->nbufs < most; io->nbufs++) {
        if (buf[io->nbufs]->blkno != buf[0]->blkno + io->nbufs)
            break;
        io->buf[io->nbufs] = buf[io->nbufs];
        io->addr[io->nbufs] = buf_page(fs, buf[io->nbufs]->blkno, buf[io->nbufs]->data);
    }
    io_start(fs, io, STORE_WRITE, (uint64_t)buf[0]->blkno << fs->block_shift,
             (uint64_t)io->nbufs << fs->block_shift, io->addr);
    return io->nbufs;
}

/* Writes n sorted buffers, some transfers at a time. Those that were written are clean, when the flush that
 * follows succeeds: its failure leaves the disk unknown, as it does everywhere. */
static int bufs_write(struct ext2_fs *fs, uint32_t n)
{
    struct ext2_bufs *bufs = &fs->bufs;
    int error = 0;
    for (uint32_t done = 0; done < n && error == 0;) {
        uint32_t nio = 0;
        for (; nio < EXT2_IO_DEPTH && done < n; nio++)
            done += bufs_start(fs, &bufs->io[nio], bufs->sorted + done, n - done);
        for (uint32_t i = 0; i < nio; i++) {
            int one = io_wait(fs, &bufs->io[i]);
            for (uint32_t k = 0; one == 0 && k < bufs->io[i].nbufs; k++)
                buf_clean(bufs, bufs->io[i].buf[k]);
            error = error != 0 ? error : one;
        }
    }
    return error;
}

/* Writes the superblock, as fs->sb has it. */
static int super_write(struct ext2_fs *fs)
{
    struct ext2_buf *buf = fs->super;
    __builtin_memcpy(buf->data + (EXT2_SUPER_OFFSET & (fs->block_bytes - 1)), &fs->sb, sizeof fs->sb);
    void *addr = buf_page(fs, buf->blkno, buf->data);
    int error =
        ext2_transfer(fs, STORE_WRITE, (uint64_t)buf->blkno << fs->block_shift, fs->block_bytes, &addr);
    if (error == 0)
        fs->sb_dirty = false;
    return error;
}

/* Before metadata changes on the disk, this says that it does. */
static int super_invalidate(struct ext2_fs *fs)
{
    if (!fs->valid_on_disk)
        return 0;
    fs->valid_on_disk = false;
    fs->sb.s_state &= (uint16_t)~EXT2_VALID_FS;
    int error = super_write(fs);
    if (error == 0)
        error = device_flush(fs);
    if (error != 0)
        fs->valid_on_disk = true;
    return error;
}

/* Writes all dirty buffers, with a flush between levels and none behind the last. */
static int buf_write_all(struct ext2_fs *fs)
{
    struct ext2_bufs *bufs = &fs->bufs;
    int error = bufs->ndirty == 0 ? 0 : super_invalidate(fs);
    for (uint32_t level = 0; error == 0 && bufs->ndirty > 0 && level <= LEVEL_MAX; level++) {
        uint32_t n = bufs_collect(bufs, level);
        if (n > 0 && level > 0) /* what was written before, also by an earlier call */
            error = device_flush(fs);
        if (error == 0)
            error = bufs_write(fs, n);
    }
    return error;
}

int ext2_bsync(struct ext2_fs *fs, bool clean)
{
    if (fs->mount.read_only)
        return 0;
    int error = buf_write_all(fs);
    if (error == 0 && fs->sb_dirty) {
        error = super_invalidate(fs);
        if (error == 0 && fs->sb_dirty)
            error = super_write(fs);
    }
    int flush = device_flush(fs);
    error = error != 0 ? error : flush;
    if (error != 0 || !clean || !fs->trusted || fs->valid_on_disk || fs->orphans > 0)
        return error;
    fs->sb.s_state |= EXT2_VALID_FS;
    error = super_write(fs);
    if (error == 0)
        error = device_flush(fs);
    fs->valid_on_disk = true; /* also when it is unknown: then it is said anew that it is not */
    return error;
}

int ext2_border(struct ext2_fs *fs, struct ext2_buf *first, struct ext2_buf *then)
{
    if (!first->dirty || first == then)
        return 0;
    if (then->level <= first->level && (then->awaited || first->level == LEVEL_MAX)) {
        int error = buf_write_all(fs);
        return error != 0 ? error : device_flush(fs);
    }
    first->awaited = true;
    if (then->level <= first->level)
        then->level = (uint16_t)(first->level + 1);
    return 0;
}

/* ---- getting a buffer ---------------------------------------------------------------------------------- */

/* A clean buffer that nobody holds. NULL: there is none. */
static struct ext2_buf *buf_clean_one(struct ext2_bufs *bufs)
{
    struct ext2_buf *buf = bufs->lru_first;
    while (buf != NULL && (buf->dirty || buf->holds > 0))
        buf = buf->lru_next;
    return buf;
}

/*
 * A buffer for another block. Of dirty ones at most half are kept, so that the others can be kept for
 * reading. Errors: of the writes, if all are dirty.
 */
static int buf_victim(struct ext2_fs *fs, struct ext2_buf **victim)
{
    struct ext2_bufs *bufs = &fs->bufs;
    int error = bufs->ndirty > bufs->count / 2 ? buf_write_all(fs) : 0;
    *victim = buf_clean_one(bufs);
    if (*victim == NULL)
        return error != 0 ? error : -EIO;
    if ((*victim)->blkno != EXT2_NO_BLOCK)
        buf_forget(bufs, *victim);
    return 0;
}

/* *buf: the block's buffer, held; *there: its bytes are there. */
static int buf_get(struct ext2_fs *fs, uint32_t blkno, struct ext2_buf **buf, bool *there)
{
    struct ext2_bufs *bufs = &fs->bufs;
    *buf = buf_find(bufs, blkno);
    *there = *buf != NULL;
    if (!*there) {
        int error = buf_victim(fs, buf);
        if (error != 0)
            return error;
        (*buf)->blkno = blkno;
        struct ext2_buf **bucket = buf_bucket(bufs, blkno);
        (*buf)->hash_next = *bucket;
        *bucket = *buf;
    }
    (*buf)->holds++;
    lru_remove(bufs, *buf);
    lru_add(bufs, *buf, false);
    return 0;
}

int ext2_bread(struct ext2_fs *fs, uint32_t blkno, struct ext2_buf **buf)
{
    bool there;
    int error = blkno < fs->sb.s_blocks_count ? buf_get(fs, blkno, buf, &there) : -EIO;
    if (error != 0 || there)
        return error;
    error = buf_read(fs, *buf);
    if (error != 0) {
        ext2_brelse(*buf);
        buf_forget(&fs->bufs, *buf);
    }
    return error;
}

int ext2_getblk(struct ext2_fs *fs, uint32_t blkno, struct ext2_buf **buf)
{
    bool there;
    int error = blkno < fs->sb.s_blocks_count ? buf_get(fs, blkno, buf, &there) : -EIO;
    if (error != 0)
        return error;
    __builtin_memset((*buf)->data, 0, fs->block_bytes);
    ext2_bdirty(fs, *buf);
    return 0;
}

void ext2_brelse(struct ext2_buf *buf)
{
    buf->holds--;
}

void ext2_bdirty(struct ext2_fs *fs, struct ext2_buf *buf)
{
    fs->bufs.ndirty += !buf->dirty;
    buf->dirty = true;
}

void ext2_bforget(struct ext2_fs *fs, uint32_t blkno)
{
    struct ext2_buf *buf = buf_find(&fs->bufs, blkno);
    if (buf != NULL && buf->holds == 0)
        buf_forget(&fs->bufs, buf);
}

/* ---- blocks of files ----------------------------------------------------------------------------------- */

int ext2_zero_bytes(struct ext2_fs *fs, uint32_t blkno, uint32_t start, uint32_t len_bytes)
{
    struct ext2_buf *buf;
    int error = ext2_bread(fs, blkno, &buf);
    if (error != 0)
        return error;
    __builtin_memset(buf->data + start, 0, len_bytes);
    void *addr = buf_page(fs, blkno, buf->data);
    error = ext2_transfer(fs, STORE_WRITE, (uint64_t)blkno << fs->block_shift, fs->block_bytes, &addr);
    ext2_brelse(buf);
    ext2_bforget(fs, blkno);
    return error;
}

int ext2_zero_blocks(struct ext2_fs *fs, uint32_t blkno, uint32_t n)
{
    void *addr[EXT2_IO_BLOCKS];
    uint64_t offset = (uint64_t)blkno << fs->block_shift, end = offset + ((uint64_t)n << fs->block_shift);
    for (uint32_t i = 0; i < EXT2_IO_BLOCKS; i++)
        addr[i] = fs->zeros;
    while (offset < end) {
        uint64_t most = trunc_page(offset) + EXT2_IO_BLOCKS * VM_PAGE_SIZE;
        uint64_t len_bytes = (end < most ? end : most) - offset;
        int error = ext2_transfer(fs, STORE_WRITE, offset, len_bytes, addr);
        if (error != 0)
            return error;
        offset += len_bytes;
    }
    return 0;
}
