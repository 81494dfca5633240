/* trace.h: starts and stops the recording of function calls (trace.c). */
#ifndef TESTS_WALKTHROUGH_TRACE_H
#define TESTS_WALKTHROUGH_TRACE_H

void trace_start(const char *scenario); /* a new recording, with its name, one line on standard output */
void trace_stop(void);                  /* prints its events: thread, + or -, the function's address */

#endif
