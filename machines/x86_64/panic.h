/* panic.h: the end: registers, a backtrace with names, and a status for whoever started the computer. */
#ifndef MACHINES_X86_64_PANIC_H
#define MACHINES_X86_64_PANIC_H

#include "thread.h"

/* A trap of the kernel's own that nothing explains. */
_Noreturn void trap_fatal(struct trapframe *frame, uint64_t va);
/* Another CPU has panicked. */
_Noreturn void panic_halt(void);

#endif
