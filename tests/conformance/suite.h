/*
 * suite.h: what the manual pages promise, tested on a driver: every errno
 * in a table, and small scenes of what a program sees.
 *
 * One source for all machines. Run against the real kernel, it proves that the tables are right.
 */
#ifndef TESTS_CONFORMANCE_SUITE_H
#define TESTS_CONFORMANCE_SUITE_H

#include "model/driver.h"

/*
 * Runs everything, with a fresh driver for each case. Returns how many
 * failed, each with a line on standard error.
 */
int suite_run(struct driver *(*create)(void));

/* ---- cases.c: one call, one result ---- */
int suite_cases(struct driver *(*create)(void));
/* ---- scenes.c: several calls and what they show ---- */
int suite_scenes(struct driver *(*create)(void));
/* ---- calls.c: calls on files, beside mappings of them ---- */
int suite_calls(struct driver *(*create)(void));
/* ---- views.c: one page of a file through shared and private mappings ---- */
int suite_views(struct driver *(*create)(void));
/* ---- forks.c: several spaces, on drivers that have them (DRIVER_HAS_FORK); not a part of suite_run ---- */
int suite_forks(struct driver *(*create)(void));

#endif
