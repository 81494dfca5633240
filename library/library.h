/* library.h: what the library offers beside faultline.h, to the shim of `faultline run` and to tests. */
#ifndef LIBRARY_LIBRARY_H
#define LIBRARY_LIBRARY_H

#include "linux_machine.h"

#include <faultline/faultline.h>
#include <faultline/vm.h>

/* The address space behind fl_mmap, for vm.h's finer calls; NULL before fl_init. */
FL_NODISCARD struct vm_map *fl_space(void);

#endif
