/*
 * frame.h: simulated physical memory and the sim's records of it.
 *
 *   physical address:  | frame 0 … nframes-1: the core's pages | nframes … nframes+ntables-1: page tables |
 *
 *   a frame:   free (poisoned) ──window, copy, mapping──▶ page pindex of object ──machine_release──▶ free
 *
 *   (object, pindex) ─▶ hash ─▶ a chain of frames
 *
 * The records exist to check the core, not to serve it. Only MM1 (mm1.h) finds pages through them.
 */
#ifndef MACHINES_SIM_FRAME_H
#define MACHINES_SIM_FRAME_H

#include "computer.h"
#include "x86/pmap.h"

/* What machine_object_init gives the core. */
struct sim_object {
    uint64_t id;
    uint32_t nframes;      /* its pages now */
    uint32_t nattachments; /* ranges that show it */
};

struct frame {
    struct sim_object *object; /* NULL: the frame is free */
    vm_pindex_t pindex;
    bool filled;    /* its bytes are valid */
    uint32_t nptes; /* page-table entries that have it */
    uint32_t nwindows;
    uint32_t chain; /* the next frame, + 1, whose object and page have the same hash; 0: none */
};

struct physmem {
    uint8_t *bytes; /* all of it */
    struct frame *frame;
    uint32_t *hash; /* nframes heads of chains, each a frame + 1; 0: empty */
    struct pmap_table *table;
    struct pmap_table *table_free;
    uint32_t nobjects, nwindows;
    uint64_t object_ids;
};
extern struct physmem physmem;

void physmem_init(void);
/* Panics if objects, windows, mappings or page tables are left over. */
void physmem_fini(void);
/* Records that the frame is page pindex of object; panics if it is another page. */
void frame_bind(vm_frame_t frame, void *object, vm_pindex_t pindex);
/* *frame: the frame of that page, whose bytes are kept (MO4). Returns false if there is none. */
FL_NODISCARD bool frame_lookup(const void *object, vm_pindex_t pindex, vm_frame_t *frame);

#endif
