/*
 * reservation.h: addresses that the program reserves in order to map files
 * over them (reservation.c). They lie in the window's zone (window.h).
 */
#ifndef RUN_RESERVATION_H
#define RUN_RESERVATION_H

#include "shim.h"

/* Gives the zone back to the kernel. Once. Errors: of fl_space_reserve, munmap. */
FL_NODISCARD int reservation_start(void);
/*
 * mmap of anonymous memory, at a place where files can be managed later. Returns the address. Errors:
 * -EINVAL: it is no reservation; -ENOMEM, -EEXIST: the zone has no place, let the kernel choose one.
 */
long reservation_place(vm_offset_t addr, size_t len, int prot, int flags);
/*
 * [start, end), in the zone, becomes a part of the window, since something will be managed there. Errors: of
 * filter_install; -EMFILE: there are enough filters; -ENOTSUP: there is no zone.
 */
FL_NODISCARD int reservation_open(vm_offset_t start, vm_offset_t end) FL_REQUIRES(shim_lock);
/* What is not managed in [start, end) of the zone is reserved for the kernel again, and unmapped. */
void reservation_settle(vm_offset_t start, vm_offset_t end) FL_REQUIRES(shim_lock);

#endif
