/*
 * world.h: what every scenario runs in: a computer without torture and with a fixed seed, so that the
 * recording is the ordinary path and the same each time; one address space; one file of FILE_LEN bytes.
 */
#ifndef TESTS_WALKTHROUGH_WORLD_H
#define TESTS_WALKTHROUGH_WORLD_H

#include "support/boot.h"
#include <stdint.h>

#define PAGE     ((uint64_t)4096)
#define FILE_LEN (64 * PAGE)

struct world {
    struct vm_map *map;
    struct sim_disk *disk;
    struct fl_file file;
};

struct world world_make(uint32_t nframes, bool superpages);
/* The same, with blocks of block_bytes on the disk. */
struct world world_make_blocks(uint32_t nframes, bool superpages, uint32_t block_bytes);
/* The same, with high memory, and so many slots of kmap. */
struct world world_make_highmem(uint32_t nframes, uint32_t nslots);
/* The file is closed, unless its vnode is NULL, and the computer ends. Never recorded. */
void world_end(struct world *w);

/* Ends the program with a message if the result is negative. */
void must(int64_t result, const char *what);

/* Mappings that must succeed; prot, flags: as for fl_sys_mmap. Both return the address. */
vm_offset_t map_file(struct world *w, int prot, int flags, uint64_t npages);
vm_offset_t map_anonymous(struct world *w, int flags, uint64_t npages);
/* A byte of each of the npages pages is read. */
void read_each(struct world *w, vm_offset_t at, uint64_t npages);

/* Records what runs between the two, as one scenario, and which of the VM's counters changed. */
void scenario_begin(const char *name);
void scenario_end(void);

#endif
