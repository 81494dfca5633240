/*
 * record.h: what the program of the walkthroughs (walk.c) asks of the kernel's recorder (record.c): two calls
 * that only a tracing kernel has, by numbers that no system call has.
 */
#ifndef TESTS_WALKTHROUGH_KERNEL_RECORD_H
#define TESTS_WALKTHROUGH_KERNEL_RECORD_H

#define RECORD_START 0x7f00 /* (const char *pages, const char *scenario): a recording begins */
#define RECORD_STOP  0x7f01 /* it ends, and goes to the console */

#define RECORD_NAME_MAX 128 /* bytes of each text, with its end */

#endif
