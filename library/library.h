/* library.h: what the library offers beside faultline.h, to the shim of `faultline run` and to tests. */
#ifndef LIBRARY_LIBRARY_H
#define LIBRARY_LIBRARY_H

#include "linux_machine.h"

#include <faultline/faultline.h>
#include <faultline/vm.h>

/* The address space behind fl_mmap, for vm.h's finer calls; NULL before fl_init. */
FL_NODISCARD struct vm_map *fl_space(void);

/*
 * text[size]: why no page can be freed (-ENOMEM), or a page cannot be written to swap, and the remedy, in one
 * line. memory, swap: what the user calls the two limits. Context: also a signal handler.
 */
void library_memory_text(char *text, size_t size, const char *memory, const char *swap);

#endif
