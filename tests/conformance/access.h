/* access.h: real loads and stores of this process, whose signals become results. Not for several threads. */
#ifndef TESTS_CONFORMANCE_ACCESS_H
#define TESTS_CONFORMANCE_ACCESS_H

#include <stddef.h>

/* From begin to end, SIGSEGV and SIGBUS are handled here; Faultline's handlers chain to this one. Nests. */
void access_begin(void);
void access_end(void);
/* Copies. Errors: -EFAULT and -EACCES (SIGSEGV), -ENXIO (SIGBUS). */
int access_bytes(void *to, const void *from, size_t len);

#endif
