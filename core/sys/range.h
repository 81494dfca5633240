/*
 * range.h: walks through what is mapped in a range of addresses, with no lock held between two steps.
 *
 *     [va ───────────────────────────── end)
 *      ├─ range ─┤  gap  ├─ range ─┤  gap        a range has a reference to its object, so its user may sleep
 *
 * The map may change between two steps: each step shows what is mapped at that moment. Addresses that
 * fl_space_reserve set aside count as a gap.
 */
#ifndef CORE_SYS_RANGE_H
#define CORE_SYS_RANGE_H

#include "vm/vm_map.h"

struct sys_walk {
    struct vm_map *map;
    vm_offset_t va, end; /* [va, end): the part that is still to be walked */
    bool gap;            /* a part that was walked is not mapped */
};

struct sys_range {
    vm_offset_t start, end;
    struct vm_object *object; /* with a reference; NULL: untouched anonymous memory */
    vm_pindex_t pindex;       /* of `start` in the object */
    vm_prot_t protection, max_protection;
    unsigned eflags; /* MAP_ENTRY_* */
};

/* The next range, until sys_range_done. False: there is none. Takes (M) shared and (O); no lock held. */
FL_NODISCARD bool sys_walk_next(struct sys_walk *walk, struct sys_range *range);
/* Drops the range's reference; it may be the last one. No lock held. */
void sys_range_done(struct sys_range *range);

/*
 * The file's object at the end of the range's chain, or NULL. *pindex: of the range's start in it. The
 * range's reference keeps it.
 */
FL_NODISCARD struct vm_object *sys_range_file(const struct sys_range *range, vm_pindex_t *pindex);

/* *end: addr plus len_bytes rounded up to whole pages. False: that is beyond 2^64. */
FL_NODISCARD bool sys_range_end(vm_offset_t addr, size_t len_bytes, vm_offset_t *end);

/* Faults in the pages of [start, end) up to the first error. No lock held. Errors: as vm_fault. */
FL_NODISCARD int sys_populate(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t access);

/*
 * Brings in [start, end), a new mapping, or locks it if `wire` is set. Pages that cannot be had are left out,
 * and the call that made the mapping succeeds, as on Linux. `access`: how they are touched if they are not
 * locked; VM_PROT_NONE: not at all. No lock held. (mm_populate, Linux.)
 */
void mm_populate(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t access, bool wire);

#endif
