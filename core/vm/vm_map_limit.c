/*
 * vm_map_limit.c: how much an address space has, and how much it may have.
 *
 *     size_bytes    all entries but reserved ones     limits.as_bytes        mmap, brk, mremap, stacks
 *     data_bytes    private, writable, no stack       limits.data_bytes      the same, and mprotect
 *     locked_bytes  wired                             limits.memlock_bytes   mlock, and what is mapped wired
 *
 * Who checks which limit, and the errors, are Linux's. Limits are in bytes; a part of a page does not count.
 * Invariant: AM14 (vm_map.h). Lock: (M).
 *
 * Does not do: the length of a stack (vm_map_growstack); who may exceed a limit: the host sets FL_NO_LIMIT.
 */
#include "vm/vm_map_entry.h"
#include "vm/vm_commit.h"

void vm_map_entry_account(struct vm_map *map, const struct vm_map_entry *entry, uint64_t bytes)
{
    if ((entry->eflags & MAP_ENTRY_RESERVED) != 0)
        return;
    map->size_bytes += bytes;
    if (vm_map_is_data(entry->eflags, entry->protection))
        map->data_bytes += bytes;
    if (entry->wired_count != 0)
        map->locked_bytes += bytes;
    if (entry->committed)
        vm_commit_account((uint64_t)((int64_t)bytes / (int64_t)VM_PAGE_SIZE));
}

bool may_expand_vm(const struct vm_map *map, bool data, uint64_t bytes)
{
    if (map->size_bytes + bytes > trunc_page(map->limits.as_bytes))
        return false;
    return !data || map->data_bytes + bytes <= trunc_page(map->limits.data_bytes);
}

bool mlock_future_ok(const struct vm_map *map, uint64_t bytes)
{
    return map->locked_bytes + bytes <= trunc_page(map->limits.memlock_bytes);
}
