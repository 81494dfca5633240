/*
 * vm_map_check.c: the checker of a whole map: panics with the number of the invariant that is broken.
 *
 * Context: tests, after every step; nothing else changes the map. Locks: (M) and (R), shared. Costs O(entries
 * + pages asked of the machine).
 *
 * AM7 is checked as far as machine_query tells: no page is mapped in a gap, in an untouched range or under
 * PROT_NONE, and none is writable unless the entry says so. What machine_attach was told cannot be asked for.
 */
#include "vm/vm_map_entry.h"
#include "lib/kassert.h"
#include "vm/vm_commit.h"
#include "vm/vm_rmap.h"

/* Pages of one entry or gap, from each end: an address space may have 2^35 pages. */
#define CHECK_PAGES_MAX 1024

#define node_entry(n) tree_entry(n, struct vm_map_entry, node)

static bool vm_map_same_max_free(const struct tree_node *node)
{
    struct tree_node copy = *node;
    const struct vm_map_entry *entry = node_entry(node);
    vm_offset_t max = entry->adj_free;

    if (copy.left != NULL && node_entry(copy.left)->max_free > max)
        max = node_entry(copy.left)->max_free;
    if (copy.right != NULL && node_entry(copy.right)->max_free > max)
        max = node_entry(copy.right)->max_free;
    return entry->max_free == max;
}

/* No page of [start, end) has any of `forbidden` (MACHINE_*). */
static void vm_map_check_pages(struct vm_map *map, vm_offset_t start, vm_offset_t end, unsigned forbidden)
{
    vm_offset_t va, max = ptoa(CHECK_PAGES_MAX);

    for (va = start; va < end; va += VM_PAGE_SIZE) {
        if (va - start == max && end - va > max)
            va = end - max;
        KASSERT((machine_query(map->space, va) & forbidden) == 0, "AM7");
    }
}

/* AM4, AM5. */
static void vm_map_check_object(struct vm_map_entry *entry)
{
    const struct tree_node *node = &entry->rmap_node;

    KASSERT(entry->object->ref_count > 0 && !entry->object->dead, "AM4");
    vm_rwlock_read(&vm_rmap_lock);
    while (node->parent != NULL)
        node = node->parent;
    KASSERT(entry->object->entries.root == node, "AM5");
    vm_rwlock_read_done(&vm_rmap_lock);
}

static void vm_map_check_entry(struct vm_map *map, struct vm_map_entry *entry)
{
    unsigned forbidden = 0;

    KASSERT(entry->map == map && entry->start < entry->end, "AM1");
    KASSERT(((entry->start | entry->end) & VM_PAGE_MASK) == 0, "AM1");
    KASSERT(entry->next->prev == entry && entry->end <= entry->next->start, "AM1");
    KASSERT(entry->adj_free == vm_map_entry_free_behind(entry), "AM2");
    KASSERT(entry->next == &map->header || !vm_map_entry_mergeable(entry, entry->next), "AM3");
    KASSERT((entry->protection & ~entry->max_protection) == 0, "AM7");
    KASSERT(entry->wired_count <= 1, "AM11");
    KASSERT((entry->wired_count != 0) == ((entry->eflags & MAP_ENTRY_WIRED) != 0) ||
                (entry->eflags & MAP_ENTRY_IN_TRANSITION) != 0,
            "AM11");
    if (entry->object != NULL)
        vm_map_check_object(entry);
    if (entry->object == NULL || entry->protection == VM_PROT_NONE)
        forbidden = MACHINE_MAPPED;
    else if ((entry->protection & VM_PROT_WRITE) == 0 || (entry->eflags & MAP_ENTRY_NEEDS_COPY) != 0)
        forbidden = MACHINE_WRITABLE;
    if ((entry->eflags & MAP_ENTRY_RESERVED) != 0)
        KASSERT(entry->object == NULL, "AM7");
    else if (forbidden != 0)
        vm_map_check_pages(map, entry->start, entry->end, forbidden);
    vm_map_check_pages(map, entry->end, entry->next->start, MACHINE_MAPPED);
}

void vm_map_check(struct vm_map *map)
{
    struct vm_map_entry *entry;
    const struct tree_node *node;
    uint64_t nentries = 0, size_bytes = 0, data_bytes = 0, locked_bytes = 0;

    vm_map_lock_read(map);
    KASSERT(map->dead == NULL, "AM8");
    KASSERT(map->header.end == map->min_offset && map->header.start == map->max_offset, "AM1");
    KASSERT(map->header.adj_free == vm_map_entry_free_behind(&map->header), "AM2");
    tree_check(&map->tree, vm_map_same_max_free);
    node = tree_first(&map->tree);
    for (entry = map->header.next; entry != &map->header; entry = entry->next) {
        KASSERT(node != NULL && node_entry(node) == entry, "AM1");
        node = tree_next(node);
        vm_map_check_entry(map, entry);
        nentries++;
        uint64_t len = (entry->eflags & MAP_ENTRY_RESERVED) != 0 ? 0 : entry->end - entry->start;
        size_bytes += len;
        data_bytes += vm_map_is_data(entry->eflags, entry->protection) ? len : 0;
        KASSERT(entry->committed || !vm_commit_covers(entry->eflags, entry->protection, entry->object),
                "CM1");
        locked_bytes += entry->wired_count != 0 ? len : 0;
    }
    KASSERT(node == NULL && map->nentries == nentries, "AM6");
    KASSERT(map->size_bytes == size_bytes && map->data_bytes == data_bytes &&
                map->locked_bytes == locked_bytes,
            "AM14");
    vm_map_check_pages(map, map->min_offset, map->header.next->start, MACHINE_MAPPED);
    vm_map_unlock_read(map);
}

uint64_t vm_map_check_committed(struct vm_map *map)
{
    uint64_t npages = 0;

    vm_map_lock_read(map);
    for (const struct vm_map_entry *entry = map->header.next; entry != &map->header; entry = entry->next)
        npages += entry->committed ? vm_map_entry_npages(entry) : 0;
    vm_map_unlock_read(map);
    return npages;
}
