/* disk_fiber.h: the fiber that completes transfers when their simulated time has come. */
#ifndef MACHINES_SIM_DISK_FIBER_H
#define MACHINES_SIM_DISK_FIBER_H

void disk_fiber_start(void);
/* Waits until nothing is in flight. */
void disk_fiber_drain(void);
/* The same, and ends the fiber. Panics if a store is still open. */
void disk_fiber_stop(void);

#endif
