/*
 * user_copy.h: how the shim reads and writes memory whose address the program gave it. It may be
 * managed, or not mapped at all: then the program gets the kernel's EFAULT, and goes on (user_copy.c).
 */
#ifndef RUN_USER_COPY_H
#define RUN_USER_COPY_H

#include "shim.h"

/*
 * Copies between the shim's memory and the program's. On an error a beginning may have been
 * copied. Context: signals blocked; (S) not held, but by fork. Errors: -EFAULT, -ENOMEM.
 */
FL_NODISCARD int user_copy_in(void *own, const void *program, size_t len);
FL_NODISCARD int user_copy_out(void *program, const void *own, size_t len);

/*
 * Reads for an exported name, with the program's own signal mask; without a system
 * call unless the memory is managed. False: it cannot be read. Only while shim_on().
 */
bool user_read(void *own, const void *program, size_t len);

#endif
