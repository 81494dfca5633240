/*
 * stats.h: what the process had mapped, inside and outside the limit, and the end of the process (stats.c).
 */
#ifndef RUN_STATS_H
#define RUN_STATS_H

#include "shim.h"

/* Why an eligible mapping, or one of a file in memory, is outside the limit. */
enum left_reason {
    LEFT_FIXED,       /* at an address where nothing can be managed: MAP_FIXED, MREMAP_FIXED */
    LEFT_IMAGE,       /* private and writable, over a reservation: like a part of a program */
    LEFT_FORK,        /* handed over because the process forked */
    LEFT_STACK,       /* handed over because a stack lies in it */
    LEFT_SHARED,      /* another process uses the file */
    LEFT_REOPEN,      /* the file cannot be opened a second time */
    LEFT_DESCRIPTORS, /* … for want of a descriptor */
    LEFT_BESIDE,      /* the kernel has mapped it before, when it was small */
    LEFT_MEMORY,      /* it is a file in memory */
    LEFT_REASONS,
    LEFT_NOT = LEFT_REASONS, /* it is managed */
};

/* ---- counting: any context -------------------------------------------------------------------------- */

/* An eligible mapping of `bytes` was made, or has grown by so many, managed or not. */
void stats_eligible(uint64_t bytes);
/* A mapping is left to the kernel, or is handed over to it. */
void stats_left(enum left_reason reason, uint64_t bytes);
/* The reason in words. */
const char *stats_why(enum left_reason reason);

/* ---- children -------------------------------------------------------------------------------------- */

/*
 * The child of the fork that begins inherits so many bytes of mappings that are managed, or were until now.
 */
void stats_forks(uint64_t bytes) FL_REQUIRES(shim_lock);
/* In the child: it lives on; it executes a program (true), or could not (false). */
void stats_forked_child(void);
void stats_child_execs(bool execs);

/* ---- the end --------------------------------------------------------------------------------------- */

/* The process exits, or executes a program: writes back all files, then the stats. */
void stats_finish(void) FL_EXCLUDES(shim_lock);

#endif
