/* linux_driver.h: the core on the machine linux, behind driver.h. */
#ifndef TESTS_CONFORMANCE_LINUX_DRIVER_H
#define TESTS_CONFORMANCE_LINUX_DRIVER_H

#include "model/driver.h"
#include <faultline/faultline.h>

/* One at a time. */
struct driver *linux_driver_create(enum fl_fault_engine fault);

#endif
