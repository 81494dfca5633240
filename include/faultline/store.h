/*
 * store.h: how to write a backing store: where the pages of a file object come from and go to.
 *
 *      vnode_pager ──submit──▶ store ──▶ disk, memory, network …
 *            ◀──── request.done ────
 *
 * A store is a file: an array of bytes with a size. The core asks it for transfers of whole pages, or of
 * whole blocks if the store says that it has smaller ones, described by a request, and the store calls
 * request->done exactly once, from submit itself or later from wait or from a thread of its own.
 *
 *   offset                                      a request of a store with blocks of half a page:
 *      │      ┌─ len_bytes ─┐                   npages 2, addr[0] and addr[1]; the first byte is
 *   |  .  ####|######  .    |                   addr[0][offset & VM_PAGE_MASK]
 *
 * Bytes at or beyond the store's size read as zero, and bytes beyond it are never written: the store trims
 * the transfer to its size, so the zeros after the end of a file in its last page never reach it.
 */
#ifndef FAULTLINE_STORE_H
#define FAULTLINE_STORE_H

#include <faultline/types.h>

struct store;

enum store_op {
    STORE_READ,
    STORE_WRITE,
};

#define STORE_REQUEST_WAIT 0x1 /* the caller calls wait at once: doing all the work in submit is welcome */

struct store_request {
    enum store_op op;
    unsigned flags;      /* STORE_REQUEST_* */
    vm_ooffset_t offset; /* of the first byte, a multiple of the store's block */
    uint64_t len_bytes;  /* a multiple of the store's block */
    uint32_t npages;     /* that the bytes touch; 1 <= npages <= MACHINE_RUN_MAX */
    void **addr; /* addr[i]: where page i's bytes are; neighbours may be contiguous. Valid until done. */
    /* Called once, by any thread, with no lock of the store's held. error: 0, or -EIO, -ENOSPC … for the
     * whole request. */
    void (*done)(struct store_request *request, int error);
    uint64_t store_private[4]; /* the store's own, from submit to done */
};

/* How many bytes of page i (addr[i]) the request is about, and from which byte of it on. */
static inline size_t store_request_piece(const struct store_request *request, uint32_t i, size_t *start)
{
    uint64_t first = i == 0 ? request->offset & VM_PAGE_MASK : 0;
    uint64_t before = i == 0 ? 0 : ptoa(i) - (request->offset & VM_PAGE_MASK); /* in the pages before */
    uint64_t len_bytes = VM_PAGE_SIZE - first;
    *start = (size_t)first;
    return (size_t)(request->len_bytes - before < len_bytes ? request->len_bytes - before : len_bytes);
}

#define STORE_ROOM_NO_HOLES UINT64_MAX

enum store_ask {
    STORE_LOOK,
    STORE_TAKE,
    STORE_FORGET,
};

struct store_ops {
    const char *name;
    /* Starts the transfer. Never fails itself: an error goes to done. May sleep; called with no lock
     * held. */
    void (*submit)(struct store *store, struct store_request *request);
    /* Optional; NULL: submit, one after the other. Starts n transfers together, of one direction after the
     * other, each sorted by offset: as submit for each. The array is the store's until it returns. */
    void (*submit_batch)(struct store *store, struct store_request **request, uint32_t n);
    /* Returns when the request's done was called. Several threads may wait, for one request or for
     * several. NULL: done is always called within submit. */
    void (*wait)(struct store *store, struct store_request *request);
    /* Asks how long the file is now. Errors: -EIO … */
    FL_NODISCARD int (*size)(struct store *store, uint64_t *len_bytes);
    /* All writes that are done are on stable storage when it returns (fsync). Errors: -EIO … */
    FL_NODISCARD int (*flush)(struct store *store);
    /* The last reference went: free everything. */
    void (*close)(struct store *store);
    /*
     * Optional; NULL: the file's length is not the VM's to change (-EOPNOTSUPP). The file is len_bytes long
     * from now on. What is cut off is gone: when the file grows again, zeros are there. No transfer of a
     * page behind the shorter of the two ends, or that it lies in, is under way. Errors, nothing changed:
     * -ENOSPC, -EFBIG, -EIO …
     */
    FL_NODISCARD int (*truncate)(struct store *store, uint64_t len_bytes);
    /*
     * Optional; NULL: -EOPNOTSUPP. [offset, offset + len_bytes), not aligned, within the file, reads as
     * zeros from now on; its space may be free. Of the pages that lie in it wholly, no transfer is under
     * way. Errors: -EIO …
     */
    FL_NODISCARD int (*punch)(struct store *store, vm_ooffset_t offset, uint64_t len_bytes);
    /*
     * Optional; NULL: nobody but the VM changes the file. *what: what happened to it since it was taken
     * last, STORE_*. `how`: looked at; taken, so that it is not told again; or forgotten: all that was the
     * caller's doing, past the store, *what is 0, and the store starts anew from here. Errors: -EIO …
     */
    FL_NODISCARD int (*changed)(struct store *store, enum store_ask how, unsigned *what);
    /*
     * Optional; NULL: nobody can say, and a write tells when there is no space. The bytes [offset, offset +
     * len_bytes), within the file or beyond its end, have their space from now on: no later write of them
     * fails for want of it. They are what they were, and so is the length. Transfers may be under way.
     * Errors: -ENOSPC, -EDQUOT, -EIO; -EOPNOTSUPP: this store can promise nothing.
     */
    FL_NODISCARD int (*allocate)(struct store *store, vm_ooffset_t offset, uint64_t len_bytes);
    /*
     * Beside allocate: how many bytes could get their space now; STORE_ROOM_NO_HOLES: each byte within the
     * file has its own already. A guess: less is always allowed, and a change meanwhile.
     */
    FL_NODISCARD uint64_t (*room)(struct store *store);
};
#define STORE_CHANGED     0x1 /* it was changed past the store: perhaps only its name or its rights */
#define STORE_REWRITTEN   0x2 /* … its bytes were */
#define STORE_OVERWRITTEN 0x4 /* … and the store wrote to it afterwards, unknowing */

/* A store embeds this as its first member. */
struct store {
    const struct store_ops *ops;
    bool read_only;
    uint32_t block_bytes; /* the smallest transfer: a power of two from 512 to VM_PAGE_SIZE; 0: a page */
    uint64_t key
        [2]; /* who it is (device and inode): stores of equal keys are one file and get one object. 0, 0: only itself. */
};

#endif
