/*
 * fault.h: how faults reach fl_fault, and how its errors reach the program.
 */
#ifndef MACHINES_LINUX_FAULT_H
#define MACHINES_LINUX_FAULT_H

#include "linux_machine.h"
#include <faultline/vm.h>

/*
 * The page that the calling thread faults on, if it was mapped and lacked the right to write; else 0.
 * Initial-exec, so that no access in a signal handler ever allocates.
 */
extern _Thread_local vm_offset_t linux_fault_mapped __attribute__((tls_model("initial-exec")));

/*
 * The page that a handler thread serves, until entering it has woken whoever waits for it; then 0. To wake once
 * more would wake a thread that waits for its next fault on that page: it faults again, and a message too many
 * is in the queue.
 */
extern _Thread_local vm_offset_t linux_fault_asleep __attribute__((tls_model("initial-exec")));

/* What the program is to see of an error of fl_fault at va; returns the signal. */
int linux_fault_siginfo(int error, vm_offset_t va, siginfo_t *info);

/* The signal handlers, for both engines. Errors: negative errno. */
FL_NODISCARD int linux_fault_signal_start(struct vm_map *map, const struct linux_machine_params *params);
void linux_fault_signal_stop(void);

/* The handler threads of LINUX_FAULT_THREAD. Errors: negative errno. */
FL_NODISCARD int linux_fault_thread_start(struct vm_map *map);
void linux_fault_thread_stop(void);

/* A thread of the machine's: on which no signal of the program's is ever handled, with a small stack.
 * Errors: -ENOMEM. */
FL_NODISCARD int linux_thread_create(uint64_t *thread, void *(*run)(void *), void *arg);
void linux_thread_join(uint64_t thread);

#endif
