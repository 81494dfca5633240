/*
 * cases.h: the cases of a program that is tested under Faultline: `PROGRAM CASE …` runs the one of that name.
 */
#ifndef TESTS_RUN_CASES_H
#define TESTS_RUN_CASES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct named_case {
    const char *name;
    void (*run)(void);
};

/* False: there is no such case. */
static inline bool case_run(const struct named_case *cases, size_t ncases, const char *name)
{
    for (size_t i = 0; i < ncases; i++) {
        if (strcmp(cases[i].name, name) == 0) {
            cases[i].run();
            return true;
        }
    }
    return false;
}

#define CASE_RUN(cases, name) case_run(cases, sizeof(cases) / sizeof((cases)[0]), name)

#endif
