/*
 * peek.h: copying out of what is read again and again, past the kernel.
 */
#ifndef MACHINES_LINUX_PEEK_H
#define MACHINES_LINUX_PEEK_H

#include <faultline/machine.h>

/*
 * Copies bytes [offset, offset + len_bytes) of the memfd, whose pages are there and stay, to a program's
 * memory. Returns how many, from the first: fewer, or none, where there is no view of them or the program's
 * memory cannot be reached; the kernel does the rest, or knows why not. Not under the core's locks.
 */
FL_NODISCARD size_t linux_peek(void *to, uint64_t offset, size_t len_bytes);
/* Nothing is shown any more. Nobody is inside. */
void linux_peek_close(void);

#endif
