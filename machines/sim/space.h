/*
 * space.h: an address space: page tables, and what the core said is attached where.
 *
 *   page tables     x86/pmap.h       what is mapped
 *   attachments     attachment.h     what may be
 *   written         written.h        stores of which no page-table entry tells
 *   calls           CO1              calls that are under way
 */
#ifndef MACHINES_SIM_SPACE_H
#define MACHINES_SIM_SPACE_H

#include "computer.h"
#include "written.h"
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
    struct written written;
    struct space_call *calls;
    struct machine_space *next;
};

/* Returns the newest space; `next` leads to the others. */
struct machine_space *space_first(void);
/* Begin and end a call: check CO1, and switch fibers. */
void space_call_begin(struct machine_space *space, struct space_call *call, vm_offset_t start,
                      vm_offset_t end, bool exclusive);
void space_call_end(struct machine_space *space, struct space_call *call);
/* The machine forgets the mapping at va, with its TLB entries: the core did not ask, so it does not have to
 * sync, and stores through it are still to be reported (MO6). Does not switch fibers. */
void space_forget(struct machine_space *space, vm_offset_t va);
/* Torture: some unwired mapping of some space vanishes. */
void space_forget_one(void);
/* Panics if a space is left over. */
void space_fini(void);

#endif
