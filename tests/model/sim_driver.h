/* sim_driver.h: the core on the machine sim, behind driver.h. */
#ifndef TESTS_MODEL_SIM_DRIVER_H
#define TESTS_MODEL_SIM_DRIVER_H

#include "model/driver.h"
#include "sim/sim.h"

/* The disks of the files: their block size, 0: a page; and when their transfers end. */
enum sim_files_when {
    SIM_FILES_ANYHOW,    /* when the disk has moved the bytes */
    SIM_FILES_IN_SUBMIT, /* odd_store.h */
    SIM_FILES_IN_WAIT,
};
/* pages: room for every file, and yet so few that the disk is always asked for room */
#define SIM_FILES_ROOM 4096
struct sim_files {
    uint32_t block_bytes;
    enum sim_files_when when;
    bool thin;      /* the files are all holes, for which there is room: sim_disk_make_thin */
    bool anonymous; /* the files have no disks: fl_vnode_anonymous */
};
/* Draws one by the seed: half of them have SIM_FILES_ANYHOW. */
struct sim_files sim_files_draw(uint64_t seed);

/* Boots a computer of these parameters with one space and the files on disks of their own. One at a time. */
struct driver *sim_driver_create(const struct sim_params *params);
struct driver *sim_driver_create_on(const struct sim_params *params, struct sim_files files);

/*
 * The same with n windows in the one space, each with files of its own, but for the last file, which all of
 * them read. For fibers that run at once: a slice uses only its own window. sim_slices_destroy ends them all.
 */
#define SIM_SLICES_MAX 8
void sim_slices_create(const struct sim_params *params, unsigned n, struct driver *slice[]);
void sim_slices_destroy(unsigned n, struct driver *slice[]);

struct vm_map *sim_driver_map(struct driver *d);
/* NULL: the file has none. */
struct sim_disk *sim_driver_disk(struct driver *d, int file);

#endif
