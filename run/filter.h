/* filter.h: the seccomp filter (filter.c). */
#ifndef RUN_FILTER_H
#define RUN_FILTER_H

#include "shim.h"

/* Traps calls with an argument in [start, end), multiples of 2^32, in all threads. Errors: of seccomp(2). */
FL_NODISCARD int filter_install(vm_offset_t start, vm_offset_t end);

#endif
