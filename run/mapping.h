/*
 * mapping.h: the mmap family, as the exported names (names.c) and the trap
 * (trap.c) call it. Every function answers as the kernel does: a result, or a
 * negative errno value. Calls on addresses outside the window go to the kernel.
 *
 *   mapping_mmap   mmap.c (eligible.c decides what is managed)     mapping_mlockall, _munlockall   lockall.c
 *   mapping_mremap mremap.c (areas.c adopts what has grown)        mapping_remap_file_pages        remap.c
 *   the others     mapping.c
 *
 * Context: signals as the program has them, or blocked; (S) not held. Addresses and lengths are in bytes.
 */
#ifndef RUN_MAPPING_H
#define RUN_MAPPING_H

#include "shim.h"

long mapping_mmap(vm_offset_t addr, size_t len, int prot, int flags, int fd, uint64_t offset);
long mapping_munmap(vm_offset_t addr, size_t len);
long mapping_mprotect(vm_offset_t addr, size_t len, int prot);
long mapping_mremap(vm_offset_t old_addr, size_t old_len, size_t new_len, int flags, vm_offset_t new_addr);
long mapping_msync(vm_offset_t addr, size_t len, int flags);
long mapping_madvise(vm_offset_t addr, size_t len, int advice);
long mapping_mincore(vm_offset_t addr, size_t len, unsigned char *vec);
long mapping_mlock(vm_offset_t addr, size_t len, unsigned flags);
long mapping_munlock(vm_offset_t addr, size_t len);
long mapping_mlockall(int flags);
long mapping_munlockall(void);
long mapping_remap_file_pages(vm_offset_t start, size_t len, int prot, uint64_t pgoff, int flags);

/*
 * A managed shared mapping of len bytes of the file that the kernel maps at `old`, at
 * an address of the core's choice. Errors: of mmap(2); -ENODEV: it cannot be managed.
 */
long mapping_mmap_grown(vm_offset_t old, size_t len, int prot, int fd, uint64_t offset);

#endif
