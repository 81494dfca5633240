/*
 * vm_commit.h: how much memory is promised to programs, and whether more may be (overcommit).
 *
 *   committed   private memory that was ever writable, shared anonymous memory, files without a store
 *               (shmem.c): whatever a program may fill with bytes that are nowhere else
 *   limit       frames + slots of swap, but for the pages that page-out keeps free
 *
 *   FL_OVERCOMMIT_LAZY     any promise is made. When too many are kept, an access fails
 *   FL_OVERCOMMIT_STRICT   committed <= limit: a call that would exceed it says ENOMEM, and an access finds
 *                          the memory that was promised
 *
 * A call reserves what it is about to promise, makes it, and gives the reservation back: meanwhile it counts
 * twice. So two threads never pass the limit together, and near to it one may be refused that would have
 * fitted alone. No lock: the counter is atomic.
 *
 * Strict is not exact where memory is used that no program was promised: wired and dirty pages of files, and
 * pages that all of many forks have replaced, until the chain is shortened (of few, they go at once:
 * vm_object_page_replaced). So keep some swap beside what programs need.
 *
 * Invariant: CM1 with nothing reserved, the counter is the sum of all maps' entries that are committed, and
 * of what pagers have promised (pagerops.promised).
 *
 * Does not do: a program's own limits (vm_map_limit.c). (vm_committed_as and vm.overcommit_memory, Linux;
 * swap_reserve, FreeBSD.)
 */
#ifndef CORE_VM_VM_COMMIT_H
#define CORE_VM_VM_COMMIT_H

#include "vm/vm_map.h"

/* Context: boot. nframes: what anonymous memory may use. */
void vm_commit_startup(enum fl_overcommit mode, uint32_t nframes);
/* There are so many slots of swap more. */
void vm_commit_swapon(uint64_t nslots);

/* Reserves npages for a promise. False: it would exceed the limit, and nothing is reserved. Any lock. */
FL_NODISCARD bool vm_commit_reserve(uint64_t npages);
/* Gives a reservation back. Any lock. */
void vm_commit_release(uint64_t npages);
/* npages more are promised, or, modulo 2^64, less. Any lock. */
void vm_commit_account(uint64_t npages);
/* What is promised and reserved, in pages; *limit: how much may be, whether or not that is enforced. */
FL_NODISCARD uint64_t vm_committed(uint64_t *limit);

/* Is memory of such a mapping committed from the start, or from a change of its protection on? */
FL_NODISCARD bool vm_commit_covers(unsigned eflags, vm_prot_t prot, const struct vm_object *object);

#endif
