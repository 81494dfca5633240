/* areas.h: what the kernel maps, as /proc/PID/maps tells it (areas.c). */
#ifndef RUN_AREAS_H
#define RUN_AREAS_H

#include "shim.h"
#include <sys/types.h>

/* Each line of /proc/self/maps, until visit returns other than 0, which is returned. Errors: of open(2). */
int areas_each(int (*visit)(const char *line, void *arg), void *arg);
/* Whether the kernel has a shared mapping of the file, other than the area that starts at `except`. */
bool areas_map(dev_t dev, ino_t ino, vm_offset_t except);
/*
 * Whether process pid has a shared mapping of the file, with
 * `writes` a writable one: 1 or 0. Errors: of open(2) on /proc.
 */
int areas_of_process(pid_t pid, dev_t dev, ino_t ino, bool writes);
/*
 * Replaces the kernel's shared mapping at addr by a managed one of new_len
 * bytes elsewhere: *result is its address. False: nothing was done.
 */
bool areas_adopt(vm_offset_t addr, size_t old_len, size_t new_len, long *result);

#endif
