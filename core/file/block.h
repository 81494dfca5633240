/*
 * block.h: the block layer: transfers between pages and a store,
 * collected, sorted, merged, and handed over together.
 *
 *   submit_bio ─▶ plug (on its owner's stack) ──blk_finish_plug──▶ sorted by offset ─▶ neighbours merged
 *                                                                        ─▶ store->submit_batch
 *
 *      bio      bio bio bio      bios of one store and one direction that touch each other become
 *       │        └───┼───┘       one request; each bio's end_io is called at its end
 *    request      request
 *
 * A bio is its owner's memory. It stays until its end_io was called, and also `started`, if it has one. A
 * thread that is about to wait for a bio in its own plug finishes the plug first: no other thread can start
 * what is in it. An error belongs to one bio: when a merged request fails, each of its bios is tried alone.
 * Locks: none is held when these functions are called; end_io and started are called with none held.
 * Invariants: BI1 a bio ends once. BI2 bio->request of a merged bio is its request exactly until the bio
 * ends, and the request stays while one of its bios has not ended, or a thread waits for it. (Linux: struct
 * bio, struct blk_plug.)
 */
#ifndef CORE_FILE_BLOCK_H
#define CORE_FILE_BLOCK_H

#include <faultline/store.h>
#include <faultline/types.h>

struct blk_request; /* a merged request, block.c's own */

struct bio {
    /* ---- set by the submitter ---- */
    struct store *store;
    enum store_op op;
    bool wait;           /* bio_wait follows at once (STORE_REQUEST_WAIT) */
    vm_ooffset_t offset; /* in bytes; a multiple of the store's block */
    uint64_t len_bytes;
    uint32_t npages; /* that the bytes touch; 1 <= npages <= MACHINE_RUN_MAX */
    void **addr;     /* of each page; valid until end_io */
    /* Called once, by any thread, with 0 or the bio's error. Then the bio is its owner's again. */
    void (*end_io)(struct bio *bio, int error);
    /*
     * Called once when the store has the bio, perhaps after end_io, by the thread that finishes the plug.
     * From then on other threads may call bio_wait. NULL: only the owner calls bio_wait, after submit_bio
     * without a plug, or blk_finish_plug, has returned.
     */
    void (*started)(struct bio *bio);

    /* ---- block.c's own ---- */
    struct bio *next;            /* in the plug, then in the merged request */
    bool merged;                 /* (c) from its start on */
    struct blk_request *request; /* (B) of a merged bio, until the bio ends */
    struct store_request own;    /* of a bio that goes alone */
};

/* Transfers that one thread collects, on its stack. All zero is an empty plug. */
struct blk_plug {
    struct bio *first, *last;
    uint32_t count;
};

void blk_startup(void);
/* The plug is empty. */
void blk_start_plug(struct blk_plug *plug);
/* Starts everything in the plug, which is empty then and may be used again. */
void blk_finish_plug(struct blk_plug *plug);
/* Puts the bio into the plug; a full plug is finished first. NULL: starts the bio at once. */
void submit_bio(struct bio *bio, struct blk_plug *plug);
/* Instead of submit_bio: the bio ends with the error, and no store sees it. */
void bio_endio(struct bio *bio, int error);
/*
 * Waits until end_io was called, or another thread is about to call it: the owner checks for itself whether
 * it was. The bio was started, and the caller keeps it.
 */
void bio_wait(struct bio *bio);

#endif
