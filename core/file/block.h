/*
 * block.h: the block layer: transfers between pages and a store, collected, sorted, merged, and handed over
 * together.
 *
 *   submit_bio ─▶ plug (on its owner's stack) ──blk_finish_plug──▶ sorted by offset ─▶ neighbours merged
 *                                                                        ─▶ store->submit_batch
 *   bio   bio bio   bio          three bios that touch each other, of one store and one direction, become
 *    │     └───┼─────┘           one request; each hears of its end by its own end_io
 *   request  request
 *
 * A bio is the owner's memory and stays until its end_io was called, and started too, if it has one. Only who
 * waits for what a plug holds must finish the plug first: nobody else can start it.
 * An error is a bio's own: when a merged request fails, each of its bios is tried alone.
 * Locks: none is held when these are called; end_io and started are called with none held.
 * (Linux: struct bio, struct blk_plug.)
 */
#ifndef CORE_FILE_BLOCK_H
#define CORE_FILE_BLOCK_H

#include <faultline/store.h>
#include <faultline/types.h>

struct blk_request; /* a merged request, block.c's own */

struct bio {
    /* what is asked; the submitter's */
    struct store *store;
    enum store_op op;
    bool wait;           /* bio_wait follows at once (STORE_REQUEST_WAIT) */
    vm_ooffset_t offset; /* a multiple of the store's block */
    uint64_t len_bytes;
    uint32_t npages; /* that the bytes touch; 1 <= npages <= MACHINE_RUN_MAX */
    void **addr;     /* one for each page; valid until end_io */
    /* Called once, by any thread. The bio is its owner's again. */
    void (*end_io)(struct bio *bio, int error);
    /* NULL: the owner calls bio_wait only after submit_bio without a plug, or blk_finish_plug, returned. Else
     * called once when a store has the bio, perhaps after end_io, by who finishes the plug: others may call
     * bio_wait from then on. */
    void (*started)(struct bio *bio);
    /* block.c's own */
    struct bio *next;            /* in the plug, then in the merged request */
    bool merged;                 /* (c) from its start on */
    struct blk_request *request; /* (B) of a merged one, until it ends */
    struct store_request own;    /* of one that goes alone */
};

/* Collected transfers. On the stack of the thread that collects; not shared. All zero is an empty one. */
struct blk_plug {
    struct bio *first, *last;
    uint32_t count;
};

void blk_startup(void);
void blk_start_plug(struct blk_plug *plug);
/* Starts everything that is in the plug; it is empty then, and may be used on. */
void blk_finish_plug(struct blk_plug *plug);
/* plug NULL: starts it at once. A plug that is full is finished first. */
void submit_bio(struct bio *bio, struct blk_plug *plug);
/* In place of submit_bio: the bio ends with the error before a store has seen it. */
void bio_endio(struct bio *bio, int error);
/* Returns when the bio's end_io was called or is about to be by another thread: the owner looks for itself
 * whether it was. The bio was started, and stays. */
void bio_wait(struct bio *bio);

#endif
