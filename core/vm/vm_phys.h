/*
 * vm_phys.h: the buddy allocator of physical pages.
 *
 *   head[0]   1 page      ─▶ block ⇄ block ⇄ block
 *   head[1]   2 pages     ─▶ block
 *     …                                              lists of free blocks: a block of 2^order pages starts at
 *   head[9]   512 pages   ─▶ block ⇄ block           a multiple of its size, and is linked by its first page
 *
 * A freed block joins its buddy if that one is free and of the same order, and so on upwards. The links are
 * vm_page.q_next and q_prev of the blocks' first pages.
 *
 * free_count also counts the frames that reservations keep without using them (vm_reserv.h), because they can
 * be allocated. So adding a block to the lists, or removing it, does not change free_count. The caller that
 * takes frames into use, or frees them, says so with vm_phys_freecnt_adj.
 *
 * The host's frames (vm_frames.c) are of two kinds. `taken` ones stay on the lists, and are only not counted
 * as free. `allocated` ones are on no list, and the `order` of each is VM_PHYS_HOST.
 *
 * Frames [fresh, vm_page_count) were never used. They are free, on no list, and nothing has touched their
 * descriptors: so descriptors take memory as frames come into use.
 *
 * Invariants: PH1 a free block starts at a multiple of its size, and the `order` of its first page says so;
 * all other pages below `fresh` have VM_PHYS_NOFREE or VM_PHYS_HOST. PH2 two free buddies of one order are
 * one block. PH3 free_count and `taken` are, together, the pages on the lists, the unused frames of
 * reservations and the fresh frames. PH4 the descriptor of a fresh frame is all zero. PH5 the host gives back
 * what it took. PH6 `allocated` counts the frames of VM_PHYS_HOST, which have no object; the host frees only
 * these.
 *
 * Lock: (F) vm_phys.lock, a leaf. (McKusick et al., 2nd ed., 6.10; FreeBSD 11 vm_phys.)
 */
#ifndef CORE_VM_VM_PHYS_H
#define CORE_VM_VM_PHYS_H

#include "vm/vm_page.h"

#define VM_PHYS_ORDERS 10 /* the largest block is 2^9 pages: 2 MiB */
#define VM_PHYS_NOFREE 0xff
#define VM_PHYS_HOST   0xfe /* fl_frames_alloc */

struct vm_phys {
    struct vm_lock lock;              /* (F) */
    uint32_t free_count;              /* (F) pages */
    vm_frame_t fresh;                 /* (F) the first frame that was never used */
    uint32_t head[VM_PHYS_ORDERS];    /* (F) the first block's frame, or VM_PAGE_NONE */
    uint32_t nblocks[VM_PHYS_ORDERS]; /* (F) */
    uint32_t free_low;                /* (F) the lowest free_count ever: peak use */
    uint32_t taken;                   /* (F) by the host, as a number (vm_frames.c) */
    uint32_t allocated;               /* (F) to the host, certain ones */
    uint32_t waiters;                 /* (F) threads in vm_wait, which sleep on &vm_phys */
};
/* Declared twice, because the annotation names the variable itself. */
extern struct vm_phys vm_phys;
extern struct vm_phys vm_phys FL_GUARDED_BY(vm_phys.lock);

/* Empty lists: every frame is free and fresh. Context: boot. */
void vm_phys_init(uint32_t nframes);
/* The first page of a free block of 2^order pages, cut from a larger one if need be. NULL: there is none. */
FL_NODISCARD struct vm_page *vm_phys_alloc_pages(unsigned order) FL_REQUIRES(vm_phys.lock);
/* The 2^order pages from m on, a multiple of 2^order, become a free block. */
void vm_phys_free_pages(struct vm_page *m, unsigned order) FL_REQUIRES(vm_phys.lock);
/* `adj` pages became free, or (negative) came into use. */
void vm_phys_freecnt_adj(int32_t adj) FL_REQUIRES(vm_phys.lock);
/* How many pages are on the lists, or fresh. */
FL_NODISCARD uint32_t vm_phys_listed(void) FL_REQUIRES(vm_phys.lock);
/* Panics unless PH1 and PH2 hold, and the block counts are right. PH3: vm_reserv_check. Takes (F). */
void vm_phys_check(void);

#endif
