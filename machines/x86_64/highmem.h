/*
 * highmem.h: a test configuration: the core reaches only the first frames by the direct map, and maps each of
 * the others for a moment (struct machine_kmap, machine.h).
 *
 *   highmem=16 on the command line: the direct map that the core is told of ends 16 MiB above its frame 0
 *
 * The machine's own memory (stacks, page tables, the heap) goes on being reached by the whole direct map.
 */
#ifndef MACHINES_X86_64_HIGHMEM_H
#define MACHINES_X86_64_HIGHMEM_H

#include <faultline/machine.h>

/* For fl_vm_params.kmap; NULL: the command line does not ask for it. Context: boot, once. */
FL_NODISCARD const struct machine_kmap *highmem_init(const char *command_line, uint64_t nframes);

#endif
