/*
 * vm_reserv.h: reservations: a 2 MiB block of frames is kept for one aligned 2 MiB stretch of an object, so
 * that pages which arrive one by one end up where one superpage could map them. (Navarro et al., OSDI 2002;
 * FreeBSD 11 vm_reserv.)
 *
 *   object   |....|page|page|....|   the stretch starts at a multiple of 512 pages
 *   frames   |free|used|used|free|   popmap: one bit for each frame that is used
 *
 * A reservation is partial, or full, or was broken: then its unused frames went back to vm_phys, and it is a
 * reservation no more. When vm_phys is empty, vm_reserv_reclaim_inactive breaks the partial reservation that
 * was used longest ago.
 *
 * The used frames of a reservation are pages of its object in its stretch. While the stretch has a page from
 * elsewhere, no reservation is made for it. So any page of the stretch leads to its reservation, if it has
 * one.
 *
 * Without fl_vm_params.superpages there are no reservations, and every function says "none".
 *
 * Invariants: RV1 a reservation's popcnt is the number of bits in its popmap, and not 0. RV2 a reservation is
 * on the partial queue unless it is full. RV3 a reservation is on its object's list. RV4 a frame that is not
 * in its reservation's popmap is free.
 *
 * Lock: (F) vm_phys.lock. The structures are in the metadata memory, one for each 2 MiB of frames.
 */
#ifndef CORE_VM_VM_RESERV_H
#define CORE_VM_VM_RESERV_H

#include "vm/vm_phys.h"

#define VM_LEVEL_0_ORDER  9
#define VM_LEVEL_0_NPAGES (1u << VM_LEVEL_0_ORDER)
#define VM_RESERV_BYTES   104 /* of a reservation's structure */

/* Context: boot. Errors: -ENOMEM. */
FL_NODISCARD int vm_reserv_init(uint32_t nframes, bool superpages);
/* Whether there are reservations in this VM. */
FL_NODISCARD bool vm_reserv_used(void);
/*
 * The frame that a reservation keeps for page pindex of the object, which the object does not have. Makes the
 * reservation if there is none, a whole block is free, and the object reaches to the end of the stretch.
 * NULL: no reservation. Called with (O) held too.
 */
FL_NODISCARD struct vm_page *vm_reserv_alloc_page(struct vm_object *object, vm_pindex_t pindex)
    FL_REQUIRES(vm_phys.lock);
/* Gives the page back to its reservation. False: it belongs to none, and the caller frees it to vm_phys. */
FL_NODISCARD bool vm_reserv_free_page(struct vm_page *m) FL_REQUIRES(vm_phys.lock);
/*
 * Breaks the partial reservation that was used longest ago, of those whose unused frames hold a block of
 * 2^order pages. False: there is none.
 */
FL_NODISCARD bool vm_reserv_reclaim_inactive(unsigned order) FL_REQUIRES(vm_phys.lock);
/* Breaks all reservations of an object that ends. Takes (F). */
void vm_reserv_break_all(struct vm_object *object);
/* Whether the page's reservation is full, so that a superpage could map it. */
FL_NODISCARD bool vm_reserv_full(const struct vm_page *m) FL_REQUIRES(vm_phys.lock);
/* Panics unless RV1 … RV4, and PH3 of vm_phys.h, hold. Takes (F). */
void vm_reserv_check(void);

#endif
