/*
 * vm_reserv.h: reservations: a 2 MiB block of frames kept together for a 2 MiB-aligned stretch of one
 * object, so that the pages that arrive one by one end up where one superpage could map them (Navarro et
 * al., OSDI 2002; FreeBSD 11 vm_reserv).
 *
 *   object   |....|page|page|....|   pindex aligned to 512
 *   frames   |free|used|used|free|   popmap: one bit for each page
 *
 * A reservation is full, partial, or broken (its free frames went back to vm_phys). When vm_phys is empty,
 * vm_reserv_reclaim_inactive breaks the partial reservation that was least recently used. Off when
 * fl_vm_params.superpages is false: then every call says "none". A reservation's used frames are pages of
 * its object in its stretch; a page of the stretch that came from elsewhere keeps a reservation from being
 * made. So any page of the stretch leads to the reservation, if there is one.
 *
 * Invariants: S1 a reservation's popcnt is the number of bits in its popmap, and not 0. S2 it is on the
 * partial queue unless it is full. S3 it is on its object's list. S4 a page outside a reservation's popmap
 * is free.
 *
 * Lock: (F). Reservation structures lie in the metadata memory, one for each 2 MiB of frames.
 */
#ifndef CORE_VM_VM_RESERV_H
#define CORE_VM_VM_RESERV_H

#include "vm/vm_phys.h"

#define VM_LEVEL_0_ORDER  9
#define VM_LEVEL_0_NPAGES (1u << VM_LEVEL_0_ORDER)
#define VM_RESERV_BYTES   104 /* of one reservation's structure */

FL_NODISCARD int vm_reserv_init(uint32_t nframes, bool superpages); /* -ENOMEM */
/* The frame that the object's reservation keeps for pindex, making a reservation if a whole block is
 * free and the object is large enough for one; or NULL. */
FL_NODISCARD struct vm_page *vm_reserv_alloc_page(struct vm_object *object, vm_pindex_t pindex)
    FL_REQUIRES(vm_phys.lock);
/* True if the page belonged to a reservation and went back to it; else the caller frees it to vm_phys. */
FL_NODISCARD bool vm_reserv_free_page(struct vm_page *m) FL_REQUIRES(vm_phys.lock);
/* Breaks the least recently used partial reservation. False: there is none. */
FL_NODISCARD bool vm_reserv_reclaim_inactive(void) FL_REQUIRES(vm_phys.lock);
/* The object is dying: breaks its reservations. */
void vm_reserv_break_all(struct vm_object *object);
/* Whether the page's reservation is full, so that a superpage could map it. */
FL_NODISCARD bool vm_reserv_full(const struct vm_page *m) FL_REQUIRES(vm_phys.lock);
void vm_reserv_check(void); /* S1 … S4, and B3 (vm_phys.h); takes (F) */

#endif
