/*
 * vm_phys.h: the buddy allocator of physical pages.
 *
 *   free[order]: blocks of 2^order pages, order 0 … VM_PHYS_ORDERS-1, each starting at a multiple of its size
 *
 * A freed block joins its buddy as long as that one is free and of the same order. The lists run through vm_page.q_next / q_prev of the head pages.
 * Lock: (F) vm_phys.lock, a leaf. (McKusick et al., 2nd ed., 6.10; FreeBSD 11 vm_phys.)
 */
#ifndef CORE_VM_VM_PHYS_H
#define CORE_VM_VM_PHYS_H

#include "vm/vm_page.h"

#define VM_PHYS_ORDERS 10 /* the largest block is 2^9 pages: 2 MiB */
#define VM_PHYS_NOFREE 0xff

struct vm_phys {
    struct vm_lock lock; /* (F) */
    uint32_t free_count; /* (F) pages; read without the lock as a hint */
    uint32_t head[VM_PHYS_ORDERS]; /* (F) */
    uint32_t nblocks[VM_PHYS_ORDERS]; /* (F) */
    uint32_t free_low;   /* (F) the lowest free_count ever: peak use */
};
extern struct vm_phys vm_phys;

void vm_phys_init(uint32_t nframes); /* every frame is in use afterwards */
/* A block of 2^order pages, or NULL; splits larger ones. Called with (F) held. */
FL_NODISCARD struct vm_page *vm_phys_alloc_pages(unsigned order) REQUIRES(vm_phys.lock);
void vm_phys_free_pages(struct vm_page *m, unsigned order) REQUIRES(vm_phys.lock);
/* Panics unless the lists, orders, buddies and counts agree. */
void vm_phys_check(void);

#endif
