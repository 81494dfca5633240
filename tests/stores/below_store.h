/*
 * below_store.h: the store below one that is tested: an array of pages that counts, fails and hesitates.
 *
 *   submit ─▶ hook of a write ─▶ fails? ─┬─▶ moved at once ─▶ hook of a read ─▶ done     in the caller
 *                                        └─▶ queue ─▶ moved, in any order ─▶ done        by a thread (slow)
 *
 * Lock: its own mutex. A failed write leaves the pages as they were.
 */
#ifndef TESTS_STORES_BELOW_STORE_H
#define TESTS_STORES_BELOW_STORE_H

#include <faultline/store.h>

#include <pthread.h>

#define BELOW_QUEUE 64 /* transfers at a time, when it is slow */

struct below_store {
    struct store store;
    unsigned char *bytes;
    uint64_t npages;
    /* Optional: called for a write before anything else happens, for a read when the bytes are there. Not by
     * a slow store. */
    void (*hook)(struct below_store *below, const struct store_request *request);
    void *hook_arg;
    uint64_t fail_nth;  /* this transfer fails, counted from 1; 0: none does */
    unsigned fail_of_n; /* 1 of so many fails; 0: none does */

    /* the rest: (lock) */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t transfers, pages_read, pages_written, last_npages;
    unsigned seed;
    bool slow, closing;
    pthread_t thread;
    struct store_request *queue[BELOW_QUEUE];
    unsigned nqueued;
};

/* A store of npages zero pages; `slow`: transfers are done by a thread of its own. */
struct below_store *below_store(uint64_t npages, bool slow);

/* Moves npages between `bytes` and the store, and returns the transfer's error. */
int store_transfer(struct store *store, enum store_op op, uint64_t page, uint32_t npages, void *bytes);

#endif
