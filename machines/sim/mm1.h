/*
 * mm1.h: what the machine does by itself (MM1, machine.h) under the torture enters_itself_permille.
 *
 *   access ─▶ no mapping, or a right is missing ─▶ attached without WRITENOTIFY, and the page's frame is
 *             filled? ─▶ entry with X86_PG_SELF and the attachment's rights ─▶ the access goes on, no trap
 *
 *   not frozen ──machine_freeze──▶ frozen: not entered with VM_PROT_WRITE ──machine_thaw──▶ not frozen
 *                                    └──machine_writenotify──▶ MACHINE_ATTACH_WRITENOTIFY, not frozen
 *
 * To the core such an entry is none: machine_release ends it (mm1_release), and a store through it is not in
 * machine_unmap's bits; the next harvest reports it. Where a mapping that the core entered lacks a right, the
 * machine forgets that mapping first, unless it is wired. What is frozen is recorded and checked also where
 * the torture is off.
 */
#ifndef MACHINES_SIM_MM1_H
#define MACHINES_SIM_MM1_H

#include "space.h"

/* The hardware enters the page at va for an access. Returns false where MM1 does not allow it, or by chance:
 * then the access traps. Does not switch fibers. */
FL_NODISCARD bool mm1_enter(struct machine_space *space, vm_offset_t va, vm_prot_t access);
/* Ends the mappings of page pindex of `object`, the frame's, that the machine entered by itself, and counts
 * stores through them that were not harvested. Does not switch fibers. */
void mm1_release(void *object, vm_pindex_t pindex, vm_frame_t frame);

#endif
