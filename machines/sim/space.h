/*
 * space.h: an address space: page tables, and what the core said is attached where.
 *
 *   attachments, sorted:   [start, end) ─▶ object from pindex, with at most prot  (AM7: as the map's entries)
 *
 * Hardware does not look at attachments. They are here so that each mapping can be checked against them.
 */
#ifndef MACHINES_SIM_SPACE_H
#define MACHINES_SIM_SPACE_H

#include "computer.h"
#include "x86/pmap.h"

/* A call that changes [start, end) and is under way (CO1). It lies on the caller's stack. */
struct space_call {
    vm_offset_t start, end;
    bool exclusive; /* attach, detach */
    struct space_call *next;
};

struct machine_space {
    uint64_t id;
    vm_offset_t start, end;
    struct pmap pmap;
    struct sim_attachment *attachment;
    uint32_t nattachments, capacity;
    struct space_call *calls;
    struct machine_space *next;
};

/* Torture: some unwired mapping of some space vanishes, and its TLB entries with it: the core did not ask, so
 * it does not have to sync. */
void space_forget_one(void);
/* Panics if a space is left over. */
void space_fini(void);

#endif
