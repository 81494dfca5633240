/* fork.h: what becomes of managed mappings when the process forks (fork.c). */
#ifndef RUN_FORK_H
#define RUN_FORK_H

#include "shim.h"

/* Registers the fork handlers. Once. Errors: -ENOMEM. */
FL_NODISCARD int fork_start(void);

#endif
