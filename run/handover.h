/* handover.h: a managed file becomes the kernel's, while the program runs (handover.c). */
#ifndef RUN_HANDOVER_H
#define RUN_HANDOVER_H

#include "file.h"
#include "stats.h"

/*
 * Replaces all managed mappings of the file by the kernel's own, with the same bytes at the
 * same addresses. Dirty pages are written back first, and the pages that a private mapping
 * has written are copied over. Calls on the file go to the kernel from now on; file_reap
 * closes it after the last of them. `reason`: for the stats. Signals are blocked. Errors:
 * of write-backs, and of mmap(2): the file stays managed, and nothing is lost.
 */
FL_NODISCARD int handover_file(struct file *file, enum left_reason reason) FL_REQUIRES(shim_lock);

/* ---- threads that meet a hand-over ----------------------------------------------------------------- */

/* Waits while va is being handed over. True: it was, and an access that failed there is to be tried again. */
bool handover_waited(vm_offset_t va);
/* A number that changes when a hand-over begins and when it ends. */
unsigned handover_count(void);
/*
 * Around a MAP_FIXED over [start, end), which is a single step in the kernel and
 * several here: a thread that finds nothing there meanwhile waits, and looks again.
 */
void handover_replace_begin(vm_offset_t start, vm_offset_t end) FL_REQUIRES(shim_lock);
void handover_replace_end(void) FL_REQUIRES(shim_lock);

/*
 * Around a futex wait at va in managed memory: the wait has to begin anew when the memory
 * becomes the kernel's, since a later wake-up goes to the kernel's page. handover_futex_begin
 * first waits for a hand-over of va. It returns a slot for handover_futex_end, or
 * HANDOVER_NO_SLOT when all are taken: then the wait must be a short one.
 */
#define HANDOVER_NO_SLOT (-1)
int handover_futex_begin(vm_offset_t va);
void handover_futex_end(int slot);

/* In the child of a fork no hand-over is under way. */
void handover_fork_child(void);

#endif
