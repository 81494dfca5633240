/*
 * check.h: CHECK, for programs that are tested under Faultline: it ends the program where something that must
 * hold does not, with a line on standard output, which the test compares.
 */
#ifndef TESTS_RUN_CHECK_H
#define TESTS_RUN_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(x) ((x) ? (void)0 : (void)(printf("line %d: %s: %s\n", __LINE__, #x, strerror(errno)), exit(1)))

#endif
