/*
 * kassert.h: assertions that cite an invariant of docs/invariants.md.
 *
 * KASSERT is always compiled in: cheap conditions only. Whole-structure checkers (vm_map_check …) call it
 * too, from tests.
 */
#ifndef CORE_LIB_KASSERT_H
#define CORE_LIB_KASSERT_H

#include <faultline/machine.h>

#define KASSERT_STR2(x) #x
#define KASSERT_STR(x)  KASSERT_STR2(x)

/* `invariant` is its number, as a string: "P3". */
#define KASSERT(cond, invariant)                                                                             \
    do {                                                                                                     \
        if (__builtin_expect(!(cond), 0))                                                                    \
            machine_panic("invariant " invariant " broken: " #cond " (" __FILE__                             \
                          ":" KASSERT_STR(__LINE__) ")");                                                    \
    } while (0)

#endif
