/* panic.h: the end: registers, a backtrace with names, and a status for whoever started the computer. */
#ifndef MACHINES_X86_64_PANIC_H
#define MACHINES_X86_64_PANIC_H

#include "thread.h"

/* A trap of the kernel's own that nothing explains. */
_Noreturn void trap_fatal(struct trapframe *frame, uint64_t va);
/* One CPU is panicking, and the others halt. It takes locks as if they were free, and does not sleep. */
FL_NODISCARD bool panic_under_way(void);
/* The timer's interrupt, when panic_under_way. */
_Noreturn void panic_timeout(void);
/* Another CPU has panicked. */
_Noreturn void panic_halt(void);

#endif
