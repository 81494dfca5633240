/*
 * handover.h: a managed file becomes the kernel's, while the program runs.
 */
#ifndef RUN_HANDOVER_H
#define RUN_HANDOVER_H

#include "shim.h"

/*
 * All managed mappings of the file become the kernel's own, with the bytes that they show, at the same
 * addresses; what was dirty is in the file before. Shared ones and private ones: pages that a private
 * mapping wrote are copied over. Calls on the file go to the kernel from now on. `reason`: for the account
 * (stats.c). The file itself goes with the last call on it (file_reap). (S) held, signals blocked. Errors:
 * of write-backs, and the kernel's own of mmap: the file stays managed, and nothing is lost.
 */
FL_NODISCARD int handover_file(struct file *file, enum left_reason reason);

/*
 * True when va was just being handed to the kernel: it is the kernel's now, or managed as before. Whoever
 * met a fault, or EFAULT, there tries again.
 */
bool handover_waited(vm_offset_t va);
/* Changes when the gate is shut and when it opens. */
unsigned handover_count(void);
/*
 * [start, end) is mapped over (MAP_FIXED): natively one step, here several, and whoever finds nothing there
 * meanwhile waits, and looks again. (S) held.
 */
void handover_replace_begin(vm_offset_t start, vm_offset_t end);
void handover_replace_end(void);

/*
 * Around a futex wait at va, which may be managed memory, for that wait has to begin anew when the memory
 * becomes the kernel's: whoever wakes it afterwards wakes another futex. handover_futex_begin waits while
 * the memory is handed over. The slot is for handover_futex_end; no slot is left: HANDOVER_NO_SLOT, and the
 * wait must be a short one.
 */
#define HANDOVER_NO_SLOT (-1)
int handover_futex_begin(vm_offset_t va);
void handover_futex_end(int slot);

/* For the child of a fork: no hand-over is under way. */
void handover_fork_child(void);

#endif
