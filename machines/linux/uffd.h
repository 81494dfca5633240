/*
 * uffd.h: userfaultfd: the descriptors through which the kernel reports faults and takes pages.
 *
 * Functions that can fail return 0 or a negative errno value. *done: how many bytes, from the first, were
 * done, also on failure.
 */
#ifndef MACHINES_LINUX_UFFD_H
#define MACHINES_LINUX_UFFD_H

#include "linux_machine.h"

/* What the kernel does by itself in a range. */
enum linux_uffd_kind {
    LINUX_UFFD_NOTIFY, /* nothing: every fault is reported */
    LINUX_UFFD_FREE,   /* it enters resident pages and takes first stores; only absent pages are reported */
};

/* Opens them for the engine and agrees on features. Only the signal engine has LINUX_UFFD_FREE. Errors:
 * -EMFILE, -EPERM, -ENOSYS, with the remedy in linux_machine_error(). */
FL_NODISCARD int linux_uffd_open(enum linux_fault_engine engine);
void linux_uffd_close(void);
/* Returns the descriptor of LINUX_UFFD_NOTIFY, which is non-blocking: the handler threads read it. */
FL_NODISCARD int linux_uffd_fd(void);

/* Registers [start, end), which is registered nowhere yet. Errors: -ENOMEM. */
FL_NODISCARD int linux_uffd_register(vm_offset_t start, vm_offset_t end, enum linux_uffd_kind kind);
/* Allocates pages in the memfd, fills them from `from` and maps them at va. Errors: -EEXIST (the memfd has
 * a page there), -ENOENT (not registered, or more than one of the kernel's areas), -ENOMEM. */
FL_NODISCARD int linux_uffd_copy(vm_offset_t va, const void *from, size_t len_bytes, bool writable,
                                 size_t *done);
/* Maps pages that the memfd has. Never in a free view: it forgets what was stored. Errors: -EEXIST (mapped
 * already), -EFAULT (the memfd has none), -ENOENT as above, -ENOMEM. */
FL_NODISCARD int linux_uffd_continue(vm_offset_t va, size_t len_bytes, bool writable, size_t *done);
/* protect: takes the right to write from the pages, else gives it. In a free view: they count as clean, or as
 * stored to. Errors: -ENOENT (not registered), -ENOMEM (only when it is taken). */
FL_NODISCARD int linux_uffd_writeprotect(vm_offset_t va, size_t len_bytes, bool protect);
/* Wakes the threads that sleep in a fault of the range: they try again. */
void linux_uffd_wake(vm_offset_t va, size_t len_bytes);
/* Makes accesses to the page fail, system calls with EFAULT, until it is unmapped. Errors: -EEXIST (mapped,
 * or marked), -ENOENT, -ENOMEM. */
FL_NODISCARD int linux_uffd_poison(vm_offset_t va);

/* Sets what linux_machine_error() returns. */
void linux_machine_set_error(const char *message);
/* Moves a descriptor above the low numbers, which programs count on. Returns the new one; fd itself
 * when there is no room. */
FL_NODISCARD int linux_fd_move_high(int fd);

#endif
