/*
 * depth.h: how many transfers a simulated disk had in flight at once,
 * while it was watched. One disk at a time.
 */
#ifndef TESTS_SUPPORT_DEPTH_H
#define TESTS_SUPPORT_DEPTH_H

#include "sim/disk.h"

/* Counts from 0 on. Takes the place of the disk's sim_disk_on_write hook; depth_unwatch empties it. */
void depth_watch(struct sim_disk *disk);
void depth_unwatch(struct sim_disk *disk);
/* The most transfers in flight at any submission or end of a write, or end of a flush, since depth_watch. */
uint64_t depth_most(void);

#endif
