/*
 * vm_phys.h: the buddy allocator of physical pages.
 *
 *   free[order]: blocks of 2^order pages, order 0 … VM_PHYS_ORDERS-1, each starting at a multiple of its
 *   size
 *
 * A freed block joins its buddy as long as that one is free and of the same order. The lists run through
 * vm_page.q_next / q_prev of the head pages. free_count also counts the frames that a reservation keeps
 * without using them (vm_reserv.h): they can be had. So the lists do not change it; who takes frames into
 * use or gives them back says so with vm_phys_freecnt_adj.
 *
 * Frames [fresh, vm_page_count) were never used. They are free, on no list, and nothing has touched their
 * descriptors, so that memory for descriptors is taken as pages come into use.
 *
 * Invariants: B1 a free block starts at a multiple of its size and its head's `order` says so; all other
 * pages have VM_PHYS_NOFREE. B2 two free buddies of one order are one block. B3 free_count = pages on the
 * lists + unused frames of reservations + fresh frames. B4 the descriptor of a fresh frame is all zero.
 *
 * Lock: (F) vm_phys.lock, a leaf. (McKusick et al., 2nd ed., 6.10; FreeBSD 11 vm_phys.)
 */
#ifndef CORE_VM_VM_PHYS_H
#define CORE_VM_VM_PHYS_H

#include "vm/vm_page.h"

#define VM_PHYS_ORDERS 10 /* the largest block is 2^9 pages: 2 MiB */
#define VM_PHYS_NOFREE 0xff

struct vm_phys {
    struct vm_lock lock;              /* (F) */
    uint32_t free_count;              /* (F) pages; read without the lock as a hint */
    vm_frame_t fresh;                 /* (F) the first frame that was never used */
    uint32_t head[VM_PHYS_ORDERS];    /* (F) */
    uint32_t nblocks[VM_PHYS_ORDERS]; /* (F) */
    uint32_t free_low;                /* (F) the lowest free_count ever: peak use */
    uint32_t waiters; /* (F) threads in vm_wait, which sleep on &vm_phys: woken when pages were freed */
};
extern struct vm_phys vm_phys;

void vm_phys_init(uint32_t nframes); /* every frame is free and fresh afterwards */
/* A block of 2^order pages, or NULL; splits larger ones. Called with (F) held. */
FL_NODISCARD struct vm_page *vm_phys_alloc_pages(unsigned order) FL_REQUIRES(vm_phys.lock);
void vm_phys_free_pages(struct vm_page *m, unsigned order) FL_REQUIRES(vm_phys.lock);
/* `adj` pages became free, or (negative) came into use. */
void vm_phys_freecnt_adj(int32_t adj) FL_REQUIRES(vm_phys.lock);
/* Pages on the free lists, and fresh ones. Called with (F) held. */
FL_NODISCARD uint32_t vm_phys_listed(void) FL_REQUIRES(vm_phys.lock);
/* B1, B2: panics unless the lists, orders, buddies and block counts agree. B3 is vm_reserv_check's. */
void vm_phys_check(void);

#endif
