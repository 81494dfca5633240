/*
 * uffd.h: userfaultfd: the one descriptor through which the kernel tells of faults and takes pages.
 *
 * Everything that can fail returns 0 or a negative errno value. `done` says how many bytes, from the first,
 * were dealt with, also on failure.
 */
#ifndef MACHINES_LINUX_UFFD_H
#define MACHINES_LINUX_UFFD_H

#include "linux_machine.h"

/* Opens it for the engine and agrees on features. Errors: -EPERM, -ENOSYS, with the remedy in
 * linux_machine_error(). */
FL_NODISCARD int linux_uffd_open(enum linux_fault_engine engine);
void linux_uffd_close(void);
FL_NODISCARD int linux_uffd_fd(void); /* non-blocking, for the handler threads */

/* From now on faults of every kind in [start, end) are ours. Errors: -ENOMEM. */
FL_NODISCARD int linux_uffd_register(vm_offset_t start, vm_offset_t end);
/* Allocates pages in the memfd, fills them from `from` and maps them at va. Errors: -EEXIST (has bytes
 * already), -ENOMEM. */
FL_NODISCARD int linux_uffd_copy(vm_offset_t va, const void *from, size_t len_bytes, bool writable,
                                 size_t *done);
/* Maps pages that the memfd has. Errors: -EEXIST (mapped already), -EFAULT (not in the memfd), -ENOMEM. */
FL_NODISCARD int linux_uffd_continue(vm_offset_t va, size_t len_bytes, bool writable, size_t *done);
/* Takes or gives the right to write. Errors: -ENOENT (not registered), -ENOMEM (only when taking). */
FL_NODISCARD int linux_uffd_writeprotect(vm_offset_t va, size_t len_bytes, bool protect);
/* Lets threads that wait for a page of the range try again. */
void linux_uffd_wake(vm_offset_t va, size_t len_bytes);
/* Makes accesses to the page fail, system calls with EFAULT, until it is unmapped. Errors: -EINVAL before
 * Linux 6.6. */
FL_NODISCARD int linux_uffd_poison(vm_offset_t va);

/* Writes linux_machine_error(). */
void linux_machine_set_error(const char *message);
/* Moves a descriptor up, out of the way of a program that counts on small numbers. Returns the new one, or
 * fd when there is no room. */
FL_NODISCARD int linux_fd_move_high(int fd);

#endif
