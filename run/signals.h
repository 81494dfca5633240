/* signals.h: SIGBUS, SIGSEGV and SIGSYS are the shim's (signals.c). */
#ifndef RUN_SIGNALS_H
#define RUN_SIGNALS_H

#include "shim.h"

/* Remembers the program's actions. Before fl_init, which takes SIGBUS and SIGSEGV. */
void signals_remember(void);
/* Takes the signals. Errors: of sigaction(2). */
FL_NODISCARD int signals_start(void);
/* Gives the child of a fork its own handlers back, but for SIGSYS, since it inherits the filter. */
void signals_fork_child(void);

#endif
