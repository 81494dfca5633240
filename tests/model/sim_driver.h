/* sim_driver.h: the core on the machine sim, behind driver.h. */
#ifndef TESTS_MODEL_SIM_DRIVER_H
#define TESTS_MODEL_SIM_DRIVER_H

#include "model/driver.h"
#include "sim/sim.h"

/* Boots a computer of these parameters with one space and the files on disks of their own. One at a time. */
struct driver *sim_driver_create(const struct sim_params *params);
struct vm_map *sim_driver_map(struct driver *d);
struct sim_disk *sim_driver_disk(struct driver *d, int file);

#endif
