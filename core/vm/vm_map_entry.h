/*
 * vm_map_entry.h: what the files vm_map*.c share among themselves: an entry's life, its place in the list
 * and the tree, and its state in transition.
 *
 *   vm_map_entry_create ─▶ vm_map_entry_link ⇄ vm_map_entry_resize ─▶ vm_map_entry_unlink
 *                                                                          ─▶ vm_map_entry_dispose
 *
 * All under (M) exclusive unless a comment says otherwise. Nobody outside vm_map*.c includes this.
 */
#ifndef CORE_VM_VM_MAP_ENTRY_H
#define CORE_VM_VM_MAP_ENTRY_H

#include "vm/vm_map.h"

static inline vm_pindex_t vm_map_entry_npages(const struct vm_map_entry *entry)
{
    return atop(entry->end - entry->start);
}

/*
 * What x86-64 can express: whatever may be written or executed may be read. It is what the machine is told.
 */
static inline vm_prot_t vm_map_prot_rights(vm_prot_t prot)
{
    return prot == VM_PROT_NONE ? VM_PROT_NONE : (vm_prot_t)(prot | VM_PROT_READ);
}

static inline bool vm_map_entry_is_private_anonymous(const struct vm_map_entry *entry)
{
    return (entry->eflags & (MAP_ENTRY_COW | MAP_ENTRY_RESERVED)) == MAP_ENTRY_COW &&
           (entry->object == NULL ||
            (entry->object->type == OBJT_DEFAULT && entry->object->backing_object == NULL));
}

/* A zeroed entry, or NULL: no memory. No lock needed. */
FL_NODISCARD struct vm_map_entry *vm_map_entry_create(struct vm_map *map);
void vm_map_entry_dispose(struct vm_map_entry *entry);
void vm_map_entry_zone_startup(void);

/* Puts the entry behind `after` (or the header) into list and tree / takes it out. */
void vm_map_entry_link(struct vm_map *map, struct vm_map_entry *after, struct vm_map_entry *entry)
    FL_REQUIRES(map->lock);
void vm_map_entry_unlink(struct vm_map *map, struct vm_map_entry *entry) FL_REQUIRES(map->lock);
/* Moves the edges of a linked entry to where nothing else is. */
void vm_map_entry_resize(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end,
                         vm_pindex_t pindex) FL_REQUIRES(map->lock);
/* The tree's summary (tree.h): the node's max_free from its own adj_free and its children's max_free. */
void vm_map_entry_set_max_free(struct tree_node *node);

/* Whether `next` continues `prev` and they may become one entry (A3). */
FL_NODISCARD bool vm_map_entry_mergeable(const struct vm_map_entry *prev, const struct vm_map_entry *next);
/* Clips at start and at end; *first: as vm_map_first_after(start). Errors: -ENOMEM; nothing is split then. */
FL_NODISCARD int vm_map_clip_range(struct vm_map *map, vm_offset_t start, vm_offset_t end,
                                   struct vm_map_entry **first) FL_REQUIRES(map->lock);
/* Merges what can merge among the entries of [start, end) and with their neighbours. */
void vm_map_simplify_range(struct vm_map *map, vm_offset_t start, vm_offset_t end) FL_REQUIRES(map->lock);

/*
 * machine_attach, with (R) exclusively: whoever looks for a page's mappings finds the entry by its object
 * and may be unmapping at that address, which machine.h does not allow beside an attach (C1). Errors:
 * -ENOMEM.
 */
FL_NODISCARD int vm_map_attach(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t prot,
                               struct vm_object *object, vm_pindex_t pindex) FL_REQUIRES(map->lock);

/* Entries left transition: whoever waits looks again. */
void vm_map_wakeup_transition(struct vm_map *map) FL_REQUIRES(map->lock);
/*
 * Entries of [start, end) are IN_TRANSITION; those with a wired_count but not yet MAP_ENTRY_WIRED get their
 * pages faulted in and wired, then all leave transition. Takes (M). Errors: as vm_map_wire; those entries
 * are not wired then.
 */
FL_NODISCARD int vm_map_wire_pages(struct vm_map *map, vm_offset_t start, vm_offset_t end);

#endif
