/*
 * store.h: how to write a backing store: where the pages of a file come from and go to.
 *
 *      vnode_pager ──submit──▶ store ──▶ disk, memory, network …
 *            ◀──── request.done ────
 *
 * A store is a file: an array of bytes with a size. The core asks it for transfers of whole pages, or of
 * whole blocks if the store says that it has smaller ones. A request describes the transfer, and the store
 * calls request->done exactly once: from submit itself, or later from wait or from a thread of its own.
 *
 *   offset                                      a request to a store with blocks of half a page:
 *      │      ┌─ len_bytes ─┐                   npages 2, addr[0] and addr[1]; the first byte is
 *   |  .  ####|######  .    |                   addr[0][offset % FL_PAGE_SIZE]
 *
 * Bytes at or beyond the store's size read as zero, and bytes beyond it are never written: the store trims
 * the transfer to its size, so the zeros after the end of a file in its last page never reach it.
 *
 * Names here start with fl_, FL_, store_ or STORE_. (strategy routines and struct buf,
 * BSD; ->readpage, Linux.)
 */
#ifndef FAULTLINE_STORE_H
#define FAULTLINE_STORE_H

#include <faultline/common.h>

struct store;

enum store_op {
    STORE_READ,
    STORE_WRITE,
};

#define STORE_REQUEST_WAIT 0x1 /* the caller calls wait at once: doing all the work in submit is welcome */

/* One transfer of [offset, offset + len_bytes). It belongs to the core; the store may use
 * it until it calls done. */
struct store_request {
    enum store_op op;
    unsigned flags;     /* STORE_REQUEST_* */
    uint64_t offset;    /* of the first byte; a multiple of the store's block */
    uint64_t len_bytes; /* a multiple of the store's block */
    uint32_t npages;    /* the pages that the bytes touch; 1 <= npages <= 256 */
    void **addr;        /* addr[i]: where page i's bytes are; neighbours may be contiguous */
    /* Called once, by any thread, with none of the store's locks held. error: 0, or -EIO, -ENOSPC …
     * for the whole request. */
    void (*done)(struct store_request *request, int error);
    uint64_t store_private[4]; /* the store's own, from submit to done */
    uint64_t upper_private[3]; /* the same, of a store that stands on the one which has the request */
};

/* Returns how many bytes of page i (addr[i]) the request is about; *start: from which byte of the page on. */
static inline size_t store_request_piece(const struct store_request *request, uint32_t i, size_t *start)
{
    uint64_t lead = request->offset % FL_PAGE_SIZE; /* in the first page, before the transfer */
    uint64_t first = i == 0 ? lead : 0;
    uint64_t before = i == 0 ? 0 : i * FL_PAGE_SIZE - lead; /* the transfer's bytes in earlier pages */
    uint64_t len_bytes = FL_PAGE_SIZE - first;
    *start = (size_t)first;
    return (size_t)(request->len_bytes - before < len_bytes ? request->len_bytes - before : len_bytes);
}

/* What store_ops.changed is asked for. */
enum store_ask {
    STORE_LOOK,   /* what happened, which stays untold */
    STORE_TAKE,   /* what happened, which is told by that */
    STORE_FORGET, /* nothing: all of it was the caller's own doing, past the store */
};

/* What store_ops.changed answers. */
#define STORE_CHANGED     0x1 /* the file was changed past the store: perhaps only its name or its rights */
#define STORE_REWRITTEN   0x2 /* its bytes were changed */
#define STORE_OVERWRITTEN 0x4 /* the store wrote to it afterwards without knowing of the change */

#define STORE_ROOM_NO_HOLES UINT64_MAX

/*
 * A store's operations. Unless a comment says otherwise they may sleep, are called with no lock of the core's
 * held, from any thread and from several at a time, and return 0 or a negative errno value.
 */
struct store_ops {
    const char *name;
    /* Starts the transfer. Cannot fail itself: an error goes to done. */
    void (*submit)(struct store *store, struct store_request *request);
    /* Optional; NULL: submit for each. Starts n transfers together, which come sorted by direction and then
     * by offset. The array is the store's until it returns. */
    void (*submit_batch)(struct store *store, struct store_request **request, uint32_t n);
    /* Returns when the request's done was called. Several threads may wait, for one request or for several.
     * NULL: done is always called within submit. */
    void (*wait)(struct store *store, struct store_request *request);
    /* *len_bytes: how long the file is now. Errors: -EIO … */
    FL_NODISCARD int (*size)(struct store *store, uint64_t *len_bytes);
    /* All writes that are done are on stable storage when it returns (fsync). Errors: -EIO … */
    FL_NODISCARD int (*flush)(struct store *store);
    /* Frees the store. Called when the last reference is dropped. */
    void (*close)(struct store *store);
    /*
     * Optional; NULL: the VM cannot change the file's length (-EOPNOTSUPP). Makes the file len_bytes long.
     * What is cut off is gone: when the file grows again, zeros are there. No transfer of the page in which
     * the shorter of the two ends lies, or of a page behind it, is under way. Errors, nothing changed:
     * -ENOSPC, -EFBIG, -EIO …
     */
    FL_NODISCARD int (*truncate)(struct store *store, uint64_t len_bytes);
    /*
     * Optional; NULL: -EOPNOTSUPP. Makes [offset, offset + len_bytes) zeros; the range lies within the file
     * and need not be aligned. Its space may be freed. No transfer of a page that lies wholly in the range is
     * under way. Errors: -EIO …
     */
    FL_NODISCARD int (*punch)(struct store *store, uint64_t offset, uint64_t len_bytes);
    /*
     * Optional; NULL: nothing. The bytes [offset, offset + len_bytes), whole pages, are not wanted any more,
     * and are written before they are read again. No transfer of them is under way. Called under the core's
     * locks, so it does not sleep. For a swap space.
     */
    void (*discard)(struct store *store, uint64_t offset, uint64_t len_bytes);
    /*
     * Optional; NULL: only the VM changes the file. Answers in *what, as STORE_* bits, what happened to
     * the file past the store since that was taken last. With STORE_FORGET *what is 0, and the store
     * starts anew. Errors: -EIO …
     */
    FL_NODISCARD int (*changed)(struct store *store, enum store_ask how, unsigned *what);
    /*
     * Optional; NULL: unknown, and a write tells when there is no space. Reserves space for the bytes
     * [offset, offset + len_bytes), within the file or beyond its end: no later write of them fails for want
     * of it. The bytes and the file's length stay. Transfers may be under way. Errors: -ENOSPC, -EDQUOT,
     * -EIO; -EOPNOTSUPP: this store can promise nothing.
     */
    FL_NODISCARD int (*allocate)(struct store *store, uint64_t offset, uint64_t len_bytes);
    /*
     * Present exactly when allocate is. Returns how many bytes could be allocated now;
     * STORE_ROOM_NO_HOLES: each byte within the file has its space already. An estimate: it may be too
     * low, and may change at any time.
     */
    FL_NODISCARD uint64_t (*room)(struct store *store);
};

/* A store embeds this as its first member. Constant from fl_open_store on. */
struct store {
    const struct store_ops *ops;
    bool read_only;
    uint32_t block_bytes; /* the smallest transfer: a power of two from 512 to FL_PAGE_SIZE; 0: a page */
    /* Its identity, such as device and inode: stores of equal keys are one file and get one object. 0,
     * 0: unlike every other. */
    uint64_t key[2];
};

#endif
