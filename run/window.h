/*
 * window.h: the addresses where mappings are managed, and what lies where in them.
 *
 *   LINUX_WINDOW_START  ZONE_END                                             LINUX_WINDOW_END
 *            |   zone    |··free··| managed | managed |··free··| reserved |··free··|
 *                 │          │         │                            │
 *                 │          │         └ the core's entry           └ the core's entry says reserved:
 *                 │          └ PROT_NONE, the machine's               the kernel maps here (MAP_FIXED)
 *                 └ addresses that the program reserves (reservation.h)
 *
 * In the zone everything that is not managed is reserved, and stays reserved when it is unmapped.
 */
#ifndef RUN_WINDOW_H
#define RUN_WINDOW_H

#include "shim.h"

/* ---- which addresses ------------------------------------------------------------------------------- */

/*
 * The zone is the lowest quarter of the window, in slots: a seccomp filter compares upper words of addresses.
 */
#define ZONE_SLOT_BYTES ((vm_offset_t)1 << 32)
#define ZONE_SLOTS      ((LINUX_WINDOW_END - LINUX_WINDOW_START) / 4 / ZONE_SLOT_BYTES)
#define ZONE_END        (LINUX_WINDOW_START + ZONE_SLOTS * ZONE_SLOT_BYTES)

/* Whether something in the slot is managed, or was. Set under (S), and never cleared. */
extern _Atomic bool zone_opened[ZONE_SLOTS];

static inline bool zone_has(uint64_t va)
{
    return va >= LINUX_WINDOW_START && va < ZONE_END;
}

/* Whether something may be managed at va. A slot of the zone is outside the window until it is opened. */
static inline bool window_has(uint64_t va)
{
    if (va >= ZONE_END)
        return va < LINUX_WINDOW_END;
    return va >= LINUX_WINDOW_START &&
           atomic_load_explicit(&zone_opened[(va - LINUX_WINDOW_START) / ZONE_SLOT_BYTES],
                                memory_order_relaxed);
}

static inline bool window_has_range(vm_offset_t addr, size_t len)
{
    return window_has(addr) && len <= LINUX_WINDOW_END - addr;
}

/* ---- what lies there ------------------------------------------------------------------------------- */

/* A part of a range, of one kind. */
struct span {
    vm_offset_t start, end;
    bool reserved; /* the kernel maps it; else it is managed, or free */
};

/* Nothing in the window is reserved: no range needs to be taken apart. Two loads. */
bool window_is_whole(void);
/* The first span of [va, end). */
struct span window_span(vm_offset_t va, vm_offset_t end) FL_REQUIRES(shim_lock);
/* How many bytes from va on are reserved for the kernel; 0: none. With or without (S). */
size_t window_reserved_from(vm_offset_t va);
bool window_is_reserved(vm_offset_t va);

/* ---- changes --------------------------------------------------------------------------------------- */

/*
 * Removes whatever lies in [start, end), managed or reserved, from the core and from the files' accounts.
 * The range is free afterwards; in the zone it is reserved. Errors: of fl_sys_munmap, mmap, munmap.
 */
FL_NODISCARD long window_remove(vm_offset_t start, vm_offset_t end) FL_REQUIRES(shim_lock);
/* Reserves the free range [start, end), outside the zone, for the kernel. Errors: of fl_space_reserve. */
FL_NODISCARD int window_reserve(vm_offset_t start, vm_offset_t end) FL_REQUIRES(shim_lock);
/* Undoes window_reserve: the kernel maps nothing in [start, end). */
void window_unreserve(vm_offset_t start, vm_offset_t end) FL_REQUIRES(shim_lock);
/* Opens the slots of the zone that [addr, addr + len) needs. False: the range cannot be managed. */
bool window_open_zone(vm_offset_t addr, size_t len) FL_REQUIRES(shim_lock);

#endif
