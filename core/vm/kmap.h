/*
 * kmap.h: kernel addresses for pages in high memory: beyond what the machine maps directly (struct
 * machine_kmap, machine.h). (Linux, mm/highmem.c.)
 *
 *   frames:   | 0 … ndirect-1: always mapped |          high memory           |
 *                                                  │          │
 *   slots:    | 2 | 1 | 0 | 0 | 3 | …  nslots |    └─ kmap ───┘       count of the slot
 *   of CPUs:  | a b . . | c . . . |  kmap_local: a small stack for each CPU
 *
 * kmap maps the pages of a run, each in a slot. A page has one slot however many users it has, and keeps it
 * after the last kunmap until slots are scarce: then flush_all_zero_pkmaps empties all slots without users,
 * and flushes the TLBs once for all of them. So most calls find the page mapped, and a slot never shows a new
 * page before every TLB has forgotten the old one.
 *
 * kmap_local is for a few instructions on one CPU: no slot is searched, nothing is waited for, and only that
 * CPU's TLB is flushed. Its user does not sleep.
 *
 * WHY THE WAIT ENDS (docs/locking.md has it, too). A thread that waits for slots holds no slot of the same
 * run, since kmap takes all of a run's slots or none. It holds none of another run, unless that is in a plug
 * or under way (see below). It holds no lock of the core. So each slot belongs to one of three:
 *   - a thread that waits for its own transfer, or copies: it returns the slots without any further one;
 *   - a transfer that nobody waits for, in a plug or under way. It may stay for long: perhaps until the very
 *     thread that waits here starts it. But all of these together have at most half of the slots (KM5),
 *     because `nowait` says -EAGAIN beyond that;
 *   - nobody: flush_all_zero_pkmaps empties the slot.
 * A run that waits is at most half of the slots long. So it finds room at the latest when those of the first
 * kind are done. It may be overtaken by shorter runs.
 *
 * Invariants:
 *   KM1  A slot with count 0 has no page, and no TLB has an entry of it; count n > 0 means n - 1 users.
 *   KM2  page_address finds the slot of each page that has one (checker).
 *   KM3  Who unmaps a page has it mapped.
 *   KM4  A CPU's local slots are released in reverse order, and it uses at most MACHINE_KMAP_LOCAL.
 *   KM5  `used` counts the slots with users, and `nowait` takes none beyond half of all.
 *
 * Lock: (J) kmap_lock, a leaf: also the TLBs are flushed under it. A machine without high memory gives no
 * struct machine_kmap; then its windows say where the bytes are, and nothing here is called.
 */
#ifndef CORE_VM_KMAP_H
#define CORE_VM_KMAP_H

#include "lib/lock.h"

/* machine NULL: there is no high memory. Context: boot. Errors: -ENOMEM. */
FL_NODISCARD int kmap_startup(const struct machine_kmap *machine);
/* Whether there is high memory. */
FL_NODISCARD bool kmap_used(void);

/* Where the frame is mapped: directly, or by a kmap that the caller has. NULL: nowhere. For high memory with
 * (J) held. */
FL_NODISCARD void *page_address(vm_frame_t frame);

/*
 * Maps the frames [0, npages) of the array; addr[i]: where frame i's bytes are until kunmap. Sleeps until
 * there are slots for all of them; with nowait it returns -EAGAIN instead. npages is at most half of the
 * slots. Context: no lock of the core's held, nor a kmap_local.
 */
FL_NODISCARD int kmap(const vm_frame_t *frame, uint32_t npages, bool nowait, void **addr);
/* Ends it, for each of the frames. Context: also under the core's locks. */
void kunmap(const vm_frame_t *frame, uint32_t npages);

/*
 * Maps the frame until kunmap_local, which comes in reverse order of the calls and by the same thread. It
 * does not sleep in between, nor takes a lock that another thread may hold. Never waits.
 */
FL_NODISCARD void *kmap_local(vm_frame_t frame);
void kunmap_local(void *addr);

/* Panics unless KM1, KM2 and KM5 hold. Takes (J). */
void kmap_check(void);

#endif
