/* fork.h: what becomes of managed mappings when the process forks (fork.c). */
#ifndef RUN_FORK_H
#define RUN_FORK_H

#include "shim.h"

/* Registers the fork handlers. Once. Errors: -ENOMEM. */
FL_NODISCARD int fork_start(void);

/*
 * A fault in a process that is not under the shim. True: it is the child of a fork whose memory was not
 * there yet, and is now. libc looks at memory of the heap in the child before it runs the handlers.
 */
bool fork_child_fault(void);

#endif
