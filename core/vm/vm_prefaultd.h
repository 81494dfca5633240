/*
 * vm_prefaultd.h: the prefault daemon: a thread that maps what a stream reads ahead, so that the stream's own
 * thread finds it mapped and takes one fault for a window.
 *
 * Lock: (N) prefaultd_lock, a leaf.
 */
#ifndef CORE_VM_VM_PREFAULTD_H
#define CORE_VM_VM_PREFAULTD_H

#include "vm/vm_map.h"

/* Nothing was asked for. Context: boot. */
void vm_prefaultd_startup(void);
/*
 * A stream has come to `start`; its pages up to `end` are there, or on their way. False: nothing will come of
 * it, because too many wait, or no thread runs vm_prefaultd. (M) shared; any lock but (N).
 */
FL_NODISCARD bool vm_prefaultd_wakeup(struct vm_map *map, vm_offset_t start, vm_offset_t end);
/* The map ends: forgets its wishes, and returns when none of them is being served. No lock held. */
void vm_prefaultd_forget(struct vm_map *map);
/* Serves until vm_prefaultd_stop. Context: a thread of its own (fl_prefault_run). */
void vm_prefaultd(void);
void vm_prefaultd_stop(void);

#endif
