/*
 * odd_disk.h: a simulated disk's store that is at the edge of what store.h allows about when a transfer ends.
 *
 *   submit ─▶ odd store ─▶ the disk's own store: in submit, until it is done; or when somebody waits
 *
 * The bytes, the length, the failures and the power cuts are the disk's (sim/disk.h).
 */
#ifndef TESTS_SUPPORT_ODD_DISK_H
#define TESTS_SUPPORT_ODD_DISK_H

#include "sim/disk.h"
#include "support/odd_store.h"

/* A store over the disk, of the disk's key, for fl_vnode_open, which closes it. */
struct store *odd_disk_open(struct sim_disk *disk, enum odd_store_when when);

#endif
