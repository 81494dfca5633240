/*
 * user_copy.h: the program's memory as the shim reads and writes it: it may be managed, or be nowhere, and
 * then the program gets the kernel's EFAULT and lives (user_copy.c).
 */
#ifndef RUN_USER_COPY_H
#define RUN_USER_COPY_H

#include "shim.h"

/*
 * Copies between the shim's memory and the program's. What comes before a place that cannot be reached may
 * have been copied. Signals are blocked; no lock is held but a fork's (S). Errors: -EFAULT, -ENOMEM.
 */
int user_copy_in(void *own, const void *program, size_t len);
int user_copy_out(void *program, const void *own, size_t len);

/*
 * Reads for one of libc's names, with the program's own signal mask: no system call unless the memory is
 * managed. False: it cannot be read. Only while shim_on().
 */
bool user_read(void *own, const void *program, size_t len);

#endif
