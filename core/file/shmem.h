/*
 * shmem.h: files without a store: their pages are anonymous memory.
 *
 * What tmpfs, memfd and shared memory of System V are made of. (mm/shmem.c, Linux; tmpfs, FreeBSD.)
 */
#ifndef CORE_FILE_SHMEM_H
#define CORE_FILE_SHMEM_H

#include <faultline/types.h>

/* Registers their pager. Context: boot, after vnode_startup and swap_pager_startup. */
void shmem_startup(void);

#endif
