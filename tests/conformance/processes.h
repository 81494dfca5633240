/*
 * processes.h: real processes that obey: each makes the system calls and accesses that it is told to, and can
 * be told to fork.
 *
 *   this process ──a byte──▶ process i: runs what its box says ──a byte──▶ this process
 *                 box[i], in memory that all share: the call, its arguments, its result, bytes
 *
 * A process ends when it is told to, or when this process ends, whose end closes its socket. Not for several
 * threads.
 */
#ifndef TESTS_CONFORMANCE_PROCESSES_H
#define TESTS_CONFORMANCE_PROCESSES_H

#include "model/driver.h"
#include <sys/types.h>

#define PROCESSES_BYTES DRIVER_PAGE

struct processes;

/* Process 0 begins as a copy of this one. */
struct processes *processes_start(void);
/* Ends those that are left. */
void processes_end(struct processes *processes);

/* System call `number` in process i. Returns what it returns, or a negative errno. */
long processes_call(struct processes *processes, unsigned i, long number, const unsigned long arg[6]);
/* Memory that has the same address in all processes, PROCESSES_BYTES long: for what a call points to. */
void *processes_bytes(struct processes *processes, unsigned i);
/* A copy within process i, of at most PROCESSES_BYTES. Errors: as access_bytes. */
int processes_access(struct processes *processes, unsigned i, void *to, const void *from, size_t len);
/* Process i forks, and its child is number `to`. Returns 0 or a negative errno. */
int processes_fork(struct processes *processes, unsigned i, unsigned to);
void processes_exit(struct processes *processes, unsigned i);
/* Its process id; 0: it does not live. */
pid_t processes_pid(const struct processes *processes, unsigned i);

#endif
