/*
 * blkdev.h: block devices by name: vda, vdb …, each a store (faultline/store.h).
 *
 *   virtio_blk ─▶ blkdev ─▶ its store: /dev/vda, ext2, swap
 */
#ifndef KERNEL_DEV_BLKDEV_H
#define KERNEL_DEV_BLKDEV_H

#include <faultline/store.h>

#define BLKDEV_NAME_MAX 8

struct blkdev {
    char name[BLKDEV_NAME_MAX];
    struct store *store;
};

/* Finds the computer's disks. Context: kernel_main, once. */
void blkdev_init(void);
/* NULL: there is no such device. The store stays the device's: closing it does nothing. */
FL_NODISCARD struct store *blkdev_find(const char *name);
/* The n-th device, from 0; NULL: there are fewer. */
FL_NODISCARD const struct blkdev *blkdev_get(uint32_t n);

#endif
