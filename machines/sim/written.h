/*
 * written.h: what a space knows of stores that no page-table entry tells of (MO6).
 *
 *   marks, sorted:  page of the space ─▶ it was stored to through a mapping that is gone, and whose
 *                                        mapping that was: the core's, or one by MM1
 *   unmappings:     [start, end) ─▶ bits[], which machine_sync completes (late_bits)
 *
 * A mark is made when the machine forgets a mapping whose modified bit is set, and where machine_unmap
 * removes one that the machine made by itself. A harvest reports and clears it. (The written marks that Linux
 * keeps in entries that are not present.) Nothing here switches fibers.
 */
#ifndef MACHINES_SIM_WRITTEN_H
#define MACHINES_SIM_WRITTEN_H

#include "computer.h"

/* Through whose mapping the store went. */
#define WRITTEN_BY_CORE 0x1
#define WRITTEN_BY_MM1  0x2

struct written_mark {
    uint64_t vpn;
    unsigned by;
    bool reported; /* a harvest has told of it, and left it */
};

/* One call of machine_unmap. */
struct written_unmap {
    vm_offset_t start, end;
    uint8_t *bits;    /* the caller's */
    uint8_t *removed; /* what was found meanwhile, in the same form */
    bool under_way;   /* the call has not returned */
    struct written_unmap *next;
};

struct written {
    struct written_mark *mark;
    uint32_t nmarks, capacity;
    struct written_unmap *unmaps;
};

void written_note(struct written *written, vm_offset_t va, unsigned by);
/* bits[i] |= MACHINE_DIRTY where page i of [start, end) has a mark by one of `by`. */
void written_report(struct written *written, vm_offset_t start, vm_offset_t end, unsigned by, uint8_t *bits);
/* Clears the marks by `by` in [start, end). Returns how many pages had one by MM1 that was not reported. */
uint32_t written_clear(struct written *written, vm_offset_t start, vm_offset_t end, unsigned by);

/* Begins an unmapping whose bits are to be late. What the caller finds out goes into `removed`. */
struct written_unmap *written_unmap_begin(struct written *written, vm_offset_t start, vm_offset_t end,
                                          uint8_t *bits);
/* A store through a TLB entry of the core's mapping, which may have been unmapped since, is known now. */
void written_unmap_found(struct written *written, vm_offset_t va);
/* machine_sync: completes the bits of all unmappings, and forgets those that are not under way. */
void written_sync(struct written *written);
/* The space ends. */
void written_fini(struct written *written);

#endif
