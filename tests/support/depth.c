/* depth.c: see depth.h. */
#include "support/depth.h"

static uint64_t most;

static void look(struct sim_disk *disk, void *arg)
{
    (void)arg;
    uint64_t now = sim_disk_counts(disk).in_flight;
    if (now > most)
        most = now;
}

void depth_watch(struct sim_disk *disk)
{
    most = 0;
    sim_disk_on_write(disk, look, NULL);
}

void depth_unwatch(struct sim_disk *disk)
{
    sim_disk_on_write(disk, NULL, NULL);
}

uint64_t depth_most(void)
{
    return most;
}
