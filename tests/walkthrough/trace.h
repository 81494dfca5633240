/* trace.h: starts and stops the recording of function calls (trace.c). */
#ifndef TESTS_WALKTHROUGH_TRACE_H
#define TESTS_WALKTHROUGH_TRACE_H

#include <stdbool.h>

/* Reads the table of the functions' parameters (trace.c). False: it cannot be read. */
bool trace_read_table(const char *path, const void *main_function);

void trace_start(const char *scenario); /* a new recording, with its name, one line on standard output */
void trace_stop(void); /* prints its events: thread, + or -, the function's address, values */

#endif
