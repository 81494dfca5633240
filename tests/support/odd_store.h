/*
 * odd_store.h: a store over another one, at the edge of what store.h allows about when a transfer ends.
 *
 *   submit ─▶ odd store ─▶ the inner store: within submit, until the transfer is done; or when a caller waits
 *
 * The bytes, the length, the key, the failures and the power cuts are the inner store's.
 */
#ifndef TESTS_SUPPORT_ODD_STORE_H
#define TESTS_SUPPORT_ODD_STORE_H

#include <faultline/store.h>

enum odd_store_when {
    ODD_IN_SUBMIT, /* done is called within submit, which sleeps before and after; there is no wait */
    ODD_IN_WAIT,   /* nothing is transferred until a caller waits for it */
};

/* A store over `inner`, for fl_vnode_open. Closing it closes `inner`. */
struct store *odd_store(struct store *inner, enum odd_store_when when);

#endif
