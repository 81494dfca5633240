/* space.h: the window of addresses as a whole. */
#ifndef MACHINES_LINUX_SPACE_H
#define MACHINES_LINUX_SPACE_H

#include "linux_machine.h"

/* Reserves the window. Errors: negative errno, with the remedy in linux_machine_error(). */
FL_NODISCARD int linux_window_reserve(void);
void linux_window_unreserve(void);

static inline bool linux_window_contains(vm_offset_t va)
{
    return va >= LINUX_WINDOW_START && va < LINUX_WINDOW_END;
}

#endif
