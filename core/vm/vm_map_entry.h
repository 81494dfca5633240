/*
 * vm_map_entry.h: what the files vm_map*.c share among themselves: an entry's life, its place in the list and
 * the tree, and its state in transition. No other file includes this.
 *
 *   vm_map_entry_create ─▶ vm_map_entry_link ⇄ vm_map_entry_resize ─▶ vm_map_entry_unlink
 *                                                                          ─▶ vm_map_entry_dispose
 *
 * Locks: (M) exclusive, unless a comment says otherwise. Invariants: vm_map.h.
 */
#ifndef CORE_VM_VM_MAP_ENTRY_H
#define CORE_VM_VM_MAP_ENTRY_H

#include "vm/vm_map.h"

static inline vm_pindex_t vm_map_entry_npages(const struct vm_map_entry *entry)
{
    return atop(entry->end - entry->start);
}

/* The rights that the machine is told: x86-64 lets a page that may be written or executed be read. */
static inline vm_prot_t vm_map_prot_rights(vm_prot_t prot)
{
    return prot == VM_PROT_NONE ? VM_PROT_NONE : (vm_prot_t)(prot | VM_PROT_READ);
}

static inline bool vm_map_entry_is_private_anonymous(const struct vm_map_entry *entry)
{
    return (entry->eflags & (MAP_ENTRY_COW | MAP_ENTRY_RESERVED)) == MAP_ENTRY_COW &&
           (entry->object == NULL ||
            (entry->object->type == OBJT_SWAP && entry->object->backing_object == NULL));
}

/* AM2: what adj_free must be. */
static inline vm_offset_t vm_map_entry_free_behind(const struct vm_map_entry *entry)
{
    vm_offset_t end = vm_start_gap(entry->next);

    return end > entry->end ? end - entry->end : 0;
}

/* A zeroed entry of the map, in no list, or NULL: no memory. No lock needed. */
FL_NODISCARD struct vm_map_entry *vm_map_entry_create(struct vm_map *map);
/* Frees an entry that is in no list. No lock needed. */
void vm_map_entry_dispose(struct vm_map_entry *entry);
void vm_map_entry_zone_startup(void);

/* Puts the entry into list and tree, behind `after` (which may be the header) / takes it out. */
void vm_map_entry_link(struct vm_map *map, struct vm_map_entry *after, struct vm_map_entry *entry)
    FL_REQUIRES(map->lock);
void vm_map_entry_unlink(struct vm_map *map, struct vm_map_entry *entry) FL_REQUIRES(map->lock);
/* The entry becomes [start, end) from page pindex on; no other entry is there. Takes (R). */
void vm_map_entry_resize(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end,
                         vm_pindex_t pindex) FL_REQUIRES(map->lock);
/*
 * `bytes` more of the entry's kind, or modulo 2^64 less, count in the map's totals (AM14). Called for each
 * change of an entry's length, and around each change of what its kind depends on.
 */
void vm_map_entry_account(struct vm_map *map, const struct vm_map_entry *entry, uint64_t bytes)
    FL_REQUIRES(map->lock);
/* The tree's summary (tree.h): the node's max_free, from its own adj_free and its children's max_free. */
void vm_map_entry_set_max_free(struct tree_node *node);

/* Whether `next` continues `prev`, so that they can become one entry (AM3). */
FL_NODISCARD bool vm_map_entry_mergeable(const struct vm_map_entry *prev, const struct vm_map_entry *next);
/* Clips at start and at end. *first: as vm_map_first_after(start). Errors: -ENOMEM, nothing changed. */
FL_NODISCARD int vm_map_clip_range(struct vm_map *map, vm_offset_t start, vm_offset_t end,
                                   struct vm_map_entry **first) FL_REQUIRES(map->lock);
/* Merges the entries of [start, end) that can merge, with each other and with their neighbours. */
void vm_map_simplify_range(struct vm_map *map, vm_offset_t start, vm_offset_t end) FL_REQUIRES(map->lock);

/*
 * machine_attach of [start, end), for the entry, under (R) exclusive. A walk of reverse mapping finds the
 * entry by its object, with (R) shared, and may be unmapping at that address, which machine.h does not allow
 * beside an attach (CO1). Waits while a range of the object is frozen, so no mapping begins or ends
 * meanwhile. Takes (O). Errors: -ENOMEM.
 */
FL_NODISCARD int vm_map_attach(struct vm_map *map, vm_offset_t start, vm_offset_t end,
                               struct vm_map_entry *entry, struct vm_object *object, vm_pindex_t pindex)
    FL_REQUIRES(map->lock);
/*
 * The entry shows the object from now on, with its present rights: tells the pager if pages may become dirty
 * without a fault. (M) exclusive.
 */
void vm_map_entry_mark(const struct vm_map_entry *entry, struct vm_object *object) FL_REQUIRES(object->lock);
/*
 * The entry is about to lose the write right, or to go. Stores through it are stopped, and those that were
 * made are known. Afterwards the caller changes the entry's rights in the machine, or detaches it, without
 * releasing (O) before. `object`: the entry's.
 */
void vm_map_entry_settle(struct vm_map *map, struct vm_map_entry *entry, struct vm_object *object)
    FL_REQUIRES(map->lock, object->lock);

/* Entries left transition: wakes the threads that wait for that. */
void vm_map_wakeup_transition(struct vm_map *map) FL_REQUIRES(map->lock);
/*
 * The entries of [start, end) are in transition. Faults in and wires the pages of those that have a
 * wired_count and no MAP_ENTRY_WIRED yet; then all leave transition. Takes (M). flags and errors: as
 * vm_map_wire; on an error those entries are not wired.
 */
FL_NODISCARD int vm_map_wire_pages(struct vm_map *map, vm_offset_t start, vm_offset_t end, unsigned flags);

#endif
