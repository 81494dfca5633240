/*
 * kassert.h: assertions that cite an invariant of docs/invariants.md.
 *
 * KASSERT is always compiled in, so its conditions are cheap. The checkers of whole structures, such as
 * vm_map_check, use it too; the tests call them.
 */
#ifndef CORE_LIB_KASSERT_H
#define CORE_LIB_KASSERT_H

#include <faultline/machine.h>

#define KASSERT_STR2(x) #x
#define KASSERT_STR(x)  KASSERT_STR2(x)

/* Panics unless cond is true. `invariant` is its number, as a string literal: "PG3". */
#define KASSERT(cond, invariant)                                                                             \
    do {                                                                                                     \
        if (__builtin_expect(!(cond), 0))                                                                    \
            machine_panic("invariant " invariant " broken: " #cond " (" __FILE__                             \
                          ":" KASSERT_STR(__LINE__) ")");                                                    \
    } while (0)

#endif
