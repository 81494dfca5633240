/*
 * self_memory.h: a program that looks at its own memory from outside: process_vm_readv and
 * process_vm_writev of oneself, and /proc/self/mem (self_memory.c).
 */
#ifndef RUN_SELF_MEMORY_H
#define RUN_SELF_MEMORY_H

#include "file_io.h"

/* Whether the process, or thread, is this one. Safe with signals blocked or not. */
bool self_is_pid(int pid);
/*
 * process_vm_readv, process_vm_writev; signals are blocked. -ENOSYS: of another process, or the kernel's to
 * refuse.
 */
long self_process_vm(long number, const uint64_t arg[6]);

/*
 * Whether the descriptor, of which st is true, is the memory of this process. One look at st for nearly all
 * others.
 */
bool self_mem_is(int fd, const struct stat *st);
/* A read or write of such a descriptor that meets managed memory: as file_io. */
bool self_mem_io(const struct file_io *io, const struct stat *st, long *result);

#endif
