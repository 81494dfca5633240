/* peek.h: copying out of hot pages without a system call. */
#ifndef MACHINES_LINUX_PEEK_H
#define MACHINES_LINUX_PEEK_H

#include <faultline/machine.h>

/*
 * Copies bytes [offset, offset + len_bytes) of the memfd, whose pages are resident and stay, to a program's
 * memory. Returns how many bytes, from the first, were copied. They are fewer where there is no view of them,
 * or where the program's memory cannot be reached: the caller asks the kernel for the rest, which finds the
 * error. Context: not under the core's locks.
 */
FL_NODISCARD size_t linux_peek(void *to, uint64_t offset, size_t len_bytes);
/* Unmaps all views. Context: no thread is inside linux_peek. */
void linux_peek_close(void);

#endif
