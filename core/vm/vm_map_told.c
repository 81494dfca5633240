/*
 * vm_map_told.c: what a mapping was told of its file's failed write-backs: a mapping is a descriptor of its
 * own, and its cursor (errseq.h) is in its entry.
 *
 *   mmap ─▶ told what the descriptor was ─▶ clip: both halves ─▶ merge: the half that was told less
 *   msync ─▶ vm_map_check_wb_err ─▶ told
 *
 * Locks: cursors change under (M) exclusive, or under (M) shared with (V) of the file's vnode.
 * Does not do: private mappings, whose own pages no store has, and which msync passes over.
 */
#include "lib/kassert.h"
#include "vm/vm_map_entry.h"
#include "vm/vm_pager.h"

/* The first entry at or behind *va that shows the object; *va moves behind it. NULL: none before end. (M). */
static struct vm_map_entry *next_of_object(struct vm_map *map, vm_offset_t *va, vm_offset_t end,
                                           const struct vm_object *object)
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
