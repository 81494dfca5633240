/* fault.h: how faults reach fl_fault, and how its errors reach the program. */
#ifndef MACHINES_LINUX_FAULT_H
#define MACHINES_LINUX_FAULT_H

#include "linux_machine.h"
#include <faultline/vm.h>

/*
 * The page that the calling thread faults on, if it is mapped and lacks the right to write; otherwise 0. The
 * TLS model is initial-exec, so that no access in a signal handler ever allocates.
 */
extern _Thread_local vm_offset_t linux_fault_mapped __attribute__((tls_model("initial-exec")));

/*
 * The page that the calling handler thread serves, until entering it has woken the threads that wait for it;
 * then 0. A second wake-up could hit a thread that sleeps in its next fault on that page: it would fault
 * again and queue one message too many.
 */
extern _Thread_local vm_offset_t linux_fault_asleep __attribute__((tls_model("initial-exec")));

/* *info: what the program is to see of an error of fl_fault at va. Returns the signal. */
int linux_fault_siginfo(int error, vm_offset_t va, siginfo_t *info);

/* Installs the signal handlers, for both engines. Errors: negative errno. */
FL_NODISCARD int linux_fault_signal_start(struct vm_map *map, const struct linux_machine_params *params);
void linux_fault_signal_stop(void);

/* Starts the handler threads of LINUX_FAULT_THREAD. Errors: negative errno. */
FL_NODISCARD int linux_fault_thread_start(struct vm_map *map);
void linux_fault_thread_stop(void);

/* Starts a thread of the machine's own: it has a small stack, and never handles a signal of the
 * program's. Errors: -ENOMEM. */
FL_NODISCARD int linux_thread_create(uint64_t *thread, void *(*run)(void *), void *arg);
void linux_thread_join(uint64_t thread);

#endif
