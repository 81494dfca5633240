/*
 * range.h: what the calls that work on a range of addresses share: stepping through what is mapped there,
 * with no lock held in between.
 *
 *     [va ───────────────────────────── end)
 *      ├─ range ─┤  gap  ├─ range ─┤  gap        each with a reference to its object: it may be slept over
 *
 * The map may change between two steps, as it may for any caller of these system calls: each step shows
 * what is mapped when it is made.
 * What fl_space_reserve set aside is not ours and counts as a gap.
 */
#ifndef CORE_SYS_RANGE_H
#define CORE_SYS_RANGE_H

#include "vm/vm_map.h"

struct sys_walk {
    struct vm_map *map;
    vm_offset_t va, end; /* va: up to where the walk is */
    bool gap;            /* something of what was walked is not mapped */
};

struct sys_range {
    vm_offset_t start, end;
    struct vm_object *object; /* with a reference; NULL: untouched anonymous memory */
    vm_pindex_t pindex;       /* of start */
    vm_prot_t protection, max_protection;
    unsigned eflags; /* MAP_ENTRY_* */
};

/* The next range, which the caller gives back with sys_range_done; false: there is none. No lock held. */
FL_NODISCARD bool sys_walk_next(struct sys_walk *walk, struct sys_range *range);
void sys_range_done(struct sys_range *range);

/*
 * The file's object at the bottom of the range's chain, or NULL; *pindex: of the range's start in it. The
 * range keeps it alive.
 */
FL_NODISCARD struct vm_object *sys_range_file(const struct sys_range *range, vm_pindex_t *pindex);

/* *end = addr + len_bytes rounded up to whole pages. False: that is beyond 2^64. */
FL_NODISCARD bool sys_range_end(vm_offset_t addr, size_t len_bytes, vm_offset_t *end);

/* Faults in the pages of [start, end), up to the first error. No lock held. Errors: as vm_fault. */
FL_NODISCARD int sys_populate(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t access);

#endif
