/*
 * vm_map_told.c: which failed writes a mapping was told of. Like a descriptor, a mapping has a cursor of its
 * own (errseq.h), in its entry.
 *
 *   mmap    the cursor is as the descriptor's is
 *   clip    both halves get the cursor
 *   merge   the older of the two cursors: better told twice than never
 *   msync   vm_map_check_wb_err: told
 *
 * Locks: a cursor changes under (M) exclusive, or under (M) shared in pagerops.check_errors (e).
 * Does not do: private mappings. Their own pages are never written, and msync leaves them out.
 */
#include "lib/kassert.h"
#include "vm/vm_map_entry.h"
#include "vm/vm_pager.h"

/* The first entry that ends after *va and shows the object; *va moves to its end. NULL: none before `end`. */
static struct vm_map_entry *next_of_object(struct vm_map *map, vm_offset_t *va, vm_offset_t end,
                                           const struct vm_object *object) FL_REQUIRES_SHARED(map->lock)
{
    struct vm_map_entry *entry = vm_map_first_after(map, *va);
    while (entry != &map->header && entry->start < end && entry->object != object)
        entry = entry->next;
    if (entry == &map->header || entry->start >= end)
        return NULL;
    *va = entry->end;
    return entry;
}

void vm_map_told_older(struct vm_map *map, vm_offset_t start, vm_offset_t end, const struct vm_object *object,
                       errseq_t told)
{
    struct vm_map_entry *entry;
    vm_map_lock(map);
    while (start < end && (entry = next_of_object(map, &start, end, object)) != NULL)
        entry->wb_told = errseq_older(entry->wb_told, told);
    vm_map_unlock(map);
}

int vm_map_check_wb_err(struct vm_map *map, vm_offset_t start, vm_offset_t end, struct vm_object *object)
{
    struct vm_map_entry *entry;
    int first = 0;
    vm_map_lock_read(map);
    while (start < end && (entry = next_of_object(map, &start, end, object)) != NULL) {
        int error = vm_pager_ops(object)->check_errors(object, &entry->wb_told);
        first = first != 0 ? first : error;
    }
    vm_map_unlock_read(map);
    return first;
}
