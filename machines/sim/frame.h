/*
 * frame.h: simulated physical memory and the books that the sim keeps of it.
 *
 *   physical address:  | frame 0 … nframes-1: the core's pages | nframes … nframes+ntables-1: page tables |
 *
 *   a frame:   nobody's (poisoned) ──window FILL, mapping──▶ (object, pindex)'s ──machine_release──▶ nobody's
 *
 * The books exist to catch the core, not to serve it: no page is found through them.
 */
#ifndef MACHINES_SIM_FRAME_H
#define MACHINES_SIM_FRAME_H

#include "computer.h"
#include "x86/pmap.h"

/* What machine_object_init gives the core. */
struct sim_object {
    uint64_t id;
    uint32_t nframes;      /* that are its pages now */
    uint32_t nattachments; /* ranges that show it */
};

struct frame {
    struct sim_object *object; /* whose page it is; NULL: nobody's */
    vm_pindex_t pindex;
    bool filled;    /* its bytes mean something */
    uint32_t nptes; /* page-table entries that have it */
    uint32_t nwindows;
};

struct physmem {
    uint8_t *bytes; /* all of it */
    struct frame *frame;
    struct pmap_table *table;
    struct pmap_table *table_free;
    uint32_t nobjects, nwindows;
    uint64_t object_ids;
};
extern struct physmem physmem;

void physmem_init(void);
/* Panics if objects, windows, mappings or page tables are left over. */
void physmem_fini(void);
/* The frame is page pindex of object: panics when it is another page's. */
void frame_bind(vm_frame_t frame, void *object, vm_pindex_t pindex);

#endif
