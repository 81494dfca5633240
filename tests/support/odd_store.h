/*
 * odd_store.h: a store that is at the edge of what store.h allows about when a transfer ends.
 */
#ifndef TESTS_SUPPORT_ODD_STORE_H
#define TESTS_SUPPORT_ODD_STORE_H

#include <faultline/store.h>

enum odd_store_when {
    ODD_IN_SUBMIT, /* done is called within submit, which sleeps before and after; there is no wait */
    ODD_IN_WAIT,   /* nothing happens until somebody waits */
};

/* A file of npages pages, page i full of the byte i; what is written is forgotten. Closing it frees it. */
struct store *odd_store(uint32_t npages, enum odd_store_when when);
/* A file of len_bytes zeros, in memory: blocks of 512 bytes, written, truncated and punched like any. */
struct store *odd_store_sized(uint64_t len_bytes, enum odd_store_when when);

#endif
