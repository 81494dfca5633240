/*
 * bare.h: one object's pages in one space on the machine sim, for tests of the machine. The core is on, but
 * has no part in it: pages, mappings and faults are the test's own. An access that traps ends with -EFAULT.
 */
#ifndef TESTS_SUPPORT_BARE_H
#define TESTS_SUPPORT_BARE_H

#include "sim/sim.h"

#define NPAGES   8
#define RW       (VM_PROT_READ | VM_PROT_WRITE)
#define VA(page) ((vm_offset_t)0x1000000 + ptoa(page))

extern struct bare {
    struct vm_map *map;
    struct machine_space *space;
    void *object;
    const vm_frame_t frames[NPAGES]; /* of its pages */
    bool resident[NPAGES];           /* bare_down releases it */
} bare;

/* Boots, and makes the space and the object. */
void bare_up(struct sim_torture torture);
/* Unmaps, detaches and releases everything, and shuts down. */
void bare_down(void);
/* Returns the run of these pages. */
struct machine_run bare_run(vm_pindex_t page, uint32_t npages);
/* Attaches all pages at VA(0). */
void bare_attach(vm_prot_t prot, unsigned flags);
/* Fills the pages through a window. */
void bare_fill(vm_pindex_t page, uint32_t npages, int byte);
/* machine_map, machine_release and machine_freeze, which must succeed. */
void bare_enter(vm_pindex_t page, uint32_t npages, vm_prot_t prot, unsigned flags);
void bare_release(vm_pindex_t page);
void bare_freeze(vm_pindex_t start, vm_pindex_t end);
/* Access the page on that CPU. Errors: as sim_load. */
FL_NODISCARD int bare_load(uint32_t cpu, vm_pindex_t page);
FL_NODISCARD int bare_store(uint32_t cpu, vm_pindex_t page);
/* Returns what a harvest says of one page. */
FL_NODISCARD unsigned bare_harvest(vm_pindex_t page, unsigned clear);

#endif
