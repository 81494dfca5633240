/*
 * require.h: an assertion for threads and signal handlers, where cmocka's
 * may not be used: it ends the whole program.
 */
#ifndef TESTS_SUPPORT_REQUIRE_H
#define TESTS_SUPPORT_REQUIRE_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static inline void require(bool truth, const char *what)
{
    if (!truth) {
        fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
        abort();
    }
}

#endif
