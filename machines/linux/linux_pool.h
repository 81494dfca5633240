/*
 * linux_pool.h: small blocks of memory for stores and open files, without the program's allocator.
 *
 * A mapping may be made or dropped while the program is inside malloc: its allocator maps a file, or a fault
 * drops the last reference to a store. So what stands behind a mapping must not call malloc.
 */
#ifndef MACHINES_LINUX_LINUX_POOL_H
#define MACHINES_LINUX_LINUX_POOL_H

#include <faultline/types.h>

#define LINUX_POOL_BLOCK ((size_t)128)

/* Returns a zeroed block of LINUX_POOL_BLOCK bytes; NULL: no memory. */
FL_NODISCARD void *linux_pool_alloc(void);
void linux_pool_free(void *block);

#endif
