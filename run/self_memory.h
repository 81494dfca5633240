/*
 * self_memory.h: a program that reads and writes its own memory from outside,
 * by process_vm_readv, process_vm_writev and /proc/self/mem (self_memory.c).
 */
#ifndef RUN_SELF_MEMORY_H
#define RUN_SELF_MEMORY_H

#include "file_io.h"

/* Whether pid is this process, or one of its threads. Signals as they are. */
bool self_is_pid(int pid);
/* process_vm_readv, process_vm_writev. Signals are blocked. -ENOSYS: the call is the kernel's. */
long self_process_vm(long number, const uint64_t arg[6]);

/*
 * Whether the descriptor, of which st is true, is this
 * process's memory. A look at st rules out nearly all others.
 */
bool self_mem_is(int fd, const struct stat *st);
/* A read or write of such a descriptor. Returns as file_io: false: the call is the kernel's. */
bool self_mem_io(const struct file_io *io, const struct stat *st, long *result);

#endif
