/* gate.h: addresses whose mappings are just being replaced, and the threads that meet them (gate.c). */
#ifndef RUN_GATE_H
#define RUN_GATE_H

#include "shim.h"

/* ---- shutting the gate ----------------------------------------------------------------------------- */

/*
 * The list of regions that the gate can be shut for, with room for n. The gate is open. Errors: of mmap(2).
 */
FL_NODISCARD int gate_list(size_t n, struct fl_region **list) FL_REQUIRES(shim_lock);
/* Shuts the gate for the first n regions of the list. */
void gate_shut(size_t n) FL_REQUIRES(shim_lock);
/* Wakes the threads that sleep on futexes in these regions, until none does. */
void gate_wake_sleepers(void) FL_REQUIRES(shim_lock);
void gate_open(void) FL_REQUIRES(shim_lock);

/*
 * Shuts the gate for a MAP_FIXED over [start, end), which is a single step
 * in the kernel and several here. Without memory for the list it stays open:
 * then a thread may find nothing there for a moment. gate_open ends it.
 */
void gate_shut_range(vm_offset_t start, vm_offset_t end) FL_REQUIRES(shim_lock);

/* ---- meeting it ------------------------------------------------------------------------------------ */

/* Waits while the gate is shut for va. True: it was, and an access that failed there is to be tried again. */
bool gate_waited(vm_offset_t va) FL_EXCLUDES(shim_lock);
/* Waits while the gate is shut, wherever it is. Context: in no file's cache (file_cache_enter). */
void gate_wait(void) FL_EXCLUDES(shim_lock);
/* A number that changes when the gate is shut and when it opens. */
unsigned gate_count(void);

/*
 * Around a futex wait at va in managed memory: the wait has to begin anew when the memory becomes the
 * kernel's, since a later wake-up goes to the kernel's page. gate_futex_begin first waits for the gate. It
 * returns a slot for gate_futex_end, or GATE_NO_SLOT when all are taken: then the wait must be a short one.
 */
#define GATE_NO_SLOT (-1)
int gate_futex_begin(vm_offset_t va) FL_EXCLUDES(shim_lock);
void gate_futex_end(int slot);

/* In the child of a fork the gate is open. */
void gate_fork_child(void);

#endif
