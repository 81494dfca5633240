/*
 * zone.h: the zone allocator: items of fixed size, out of the metadata memory that fl_vm_boot was given.
 * (uma, FreeBSD; zalloc, Mach.)
 *
 *   meta: | page descriptors | reservations | slab | slab | slab | … not used yet … |
 *                                             └ each slab belongs to one zone for ever
 *
 * An item has an address and a 32-bit index: its distance from the start of the metadata memory in units of 8
 * bytes, which is never 0. Structures that come in millions (radix nodes) store the index.
 *
 * A freed item goes to its zone's free list; slabs never go back. Memory is used from the bottom up, and
 * touched only when it is handed out: a slab's items are carved one by one.
 *
 * Locks: (z) each zone's own, then the metadata memory's, a leaf. (c) constant after vm_zone_init.
 * Fault injection: each allocation asks fl_vm_params.fail_alloc first, with the zone's name.
 *
 * Invariants: ZN1 an item that is freed lies in the metadata memory and was in use. ZN2 the metadata memory
 * is at most 16 GiB, so that an index fits in 31 bits.
 */
#ifndef CORE_LIB_ZONE_H
#define CORE_LIB_ZONE_H

#include "lib/lock.h"

struct vm_zone {
    struct vm_lock lock; /* (z) */
    const char *name;    /* (c) */
    uint32_t size;       /* (c) bytes of an item, a multiple of 8 */
    void *free;          /* (z) freed items, each pointing to the next */
    uint8_t *fresh;      /* (z) the rest of the newest slab, never used yet */
    uint32_t nfresh;     /* (z) items in it */
    uint32_t nitems;     /* (z) in use */
    uint32_t nslabs;     /* (z) */
};

/*
 * Makes the zeroed bytes [meta, meta + len_bytes) the metadata memory; 8-byte aligned. back, as
 * fl_vm_params.back_meta, and fail_alloc may be NULL. Context: boot.
 */
void vm_meta_init(void *meta, size_t len_bytes, bool (*back)(void *start, size_t len_bytes),
                  bool (*fail_alloc)(const char *what));
/* Asks fail_alloc whether an allocation of `what` is to fail. For memory that comes from elsewhere. */
FL_NODISCARD bool vm_meta_fails(const char *what);
/* Bytes handed out so far. */
FL_NODISCARD size_t vm_meta_used(void);
/*
 * Memory that is never freed, zeroed, aligned to `align`, a power of two. `what` is what fail_alloc is asked.
 * NULL: no memory. Never sleeps.
 */
FL_NODISCARD void *vm_meta_alloc(const char *what, size_t len_bytes, size_t align);

/* An empty zone of items of `size` bytes, at most 16384. `name` is kept. Context: boot. */
void vm_zone_init(struct vm_zone *zone, const char *name, size_t size);
/* A zeroed item, or NULL: no memory. Never sleeps. */
FL_NODISCARD void *vm_zone_alloc(struct vm_zone *zone);
void vm_zone_free(struct vm_zone *zone, void *item);

/* An item's index, and back. */
FL_NODISCARD uint32_t vm_meta_index(const void *item);
FL_NODISCARD void *vm_meta_pointer(uint32_t index);

#endif
