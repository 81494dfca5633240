/*
 * vm_map_find.c: free places in an address space.
 *
 *     min_offset                                        mmap_base          max_offset
 *        │    ┌────┐      ┌──────┐            ┌────┐        │      ┌─────────┐ │
 *        ├────┤    ├──────┤      ├────────────┤    ├────────┤ guard│  stack  ├─┤
 *        │    └────┘      └──────┘            └────┘   ◀────┤  gap │         │ │
 *                                        topdown: from here ┘      └─────────┘
 *        └────▶ findspace: the lowest place at or behind a start
 *
 *     get_unmapped_area    Linux's order: the hint if it is free, top-down below mmap_base, bottom-up
 *     vm_map_find          FreeBSD's: the lowest place at or behind the hint, aligned if that is asked for
 *
 * Each search looks at max_free only, and takes O(log n) steps. The guard gap below a stack is no free place
 * (vm_start_gap), but a mapping with a fixed address may lie in it; then the stack grows less.
 *
 * Lock: (M), at least shared. A caller that maps something at the place holds it exclusively until then.
 */
#include "vm/vm_map_entry.h"
#include "lib/errno.h"

#define node_entry(n) tree_entry(n, struct vm_map_entry, node)

static vm_offset_t node_max_free(const struct tree_node *node)
{
    return node == NULL ? 0 : node_entry(node)->max_free;
}

/* The lowest entry of the subtree with `length` bytes free behind it. There is one. */
static struct vm_map_entry *vm_map_lowest_gap(struct tree_node *node, vm_offset_t length)
{
    for (;;) {
        if (node_max_free(node->left) >= length)
            node = node->left;
        else if (node_entry(node)->adj_free >= length)
            return node_entry(node);
        else
            node = node->right;
    }
}

/* The highest such entry. */
static struct vm_map_entry *vm_map_highest_gap(struct tree_node *node, vm_offset_t length)
{
    for (;;) {
        if (node_max_free(node->right) >= length)
            node = node->right;
        else if (node_entry(node)->adj_free >= length)
            return node_entry(node);
        else
            node = node->left;
    }
}

/* The lowest entry above `entry` (which may be the header) with `length` bytes free behind it, or NULL. */
static struct vm_map_entry *vm_map_next_gap(struct vm_map *map, struct vm_map_entry *entry,
                                            vm_offset_t length) FL_REQUIRES_SHARED(map->lock)
{
    struct tree_node *node = &entry->node;

    if (entry == &map->header) {
        if (node_max_free(map->tree.root) < length)
            return NULL;
        return vm_map_lowest_gap(map->tree.root, length);
    }
    if (node_max_free(node->right) >= length)
        return vm_map_lowest_gap(node->right, length);
    for (; node->parent != NULL; node = node->parent) {
        struct tree_node *parent = node->parent;

        if (parent->right == node)
            continue;
        if (node_entry(parent)->adj_free >= length)
            return node_entry(parent);
        if (node_max_free(parent->right) >= length)
            return vm_map_lowest_gap(parent->right, length);
    }
    return NULL;
}

/* The highest entry below `entry`, or the header, with `length` bytes free behind it, or NULL. */
static struct vm_map_entry *vm_map_prev_gap(struct vm_map *map, struct vm_map_entry *entry,
                                            vm_offset_t length) FL_REQUIRES_SHARED(map->lock)
{
    struct tree_node *node = &entry->node;

    if (entry == &map->header)
        return NULL;
    if (node_max_free(node->left) >= length)
        return vm_map_highest_gap(node->left, length);
    for (; node->parent != NULL; node = node->parent) {
        struct tree_node *parent = node->parent;

        if (parent->left == node)
            continue;
        if (node_entry(parent)->adj_free >= length)
            return node_entry(parent);
        if (node_max_free(parent->left) >= length)
            return vm_map_highest_gap(parent->left, length);
    }
    return map->header.adj_free >= length ? &map->header : NULL;
}

int vm_map_findspace(struct vm_map *map, vm_offset_t start, vm_offset_t length, vm_offset_t *addr)
{
    struct vm_map_entry *entry;
    vm_offset_t end;

    if (start < map->min_offset)
        start = map->min_offset;
    if (start >= map->max_offset || length > map->max_offset - start)
        return -ENOMEM;
    if (vm_map_lookup_entry(map, start, &entry))
        start = entry->end;
    end = vm_start_gap(entry->next);
    if (start <= end && length <= end - start) {
        *addr = start;
        return 0;
    }
    entry = vm_map_next_gap(map, entry, length);
    if (entry == NULL)
        return -ENOMEM;
    *addr = entry->end;
    return 0;
}

int vm_map_findspace_topdown(struct vm_map *map, vm_offset_t limit, vm_offset_t length, vm_offset_t *addr)
{
    struct vm_map_entry *entry;
    vm_offset_t end;

    if (limit > map->max_offset)
        limit = map->max_offset;
    if (limit <= map->min_offset)
        return -ENOMEM;
    if (!vm_map_lookup_entry(map, limit - 1, &entry)) {
        /* Of this gap only the part below the limit counts. */
        end = vm_start_gap(entry->next);
        end = end < limit ? end : limit;
        if (end >= entry->end && end - entry->end >= length) {
            *addr = end - length;
            return 0;
        }
    }
    entry = vm_map_prev_gap(map, entry, length);
    if (entry == NULL)
        return -ENOMEM;
    *addr = vm_start_gap(entry->next) - length;
    return 0;
}

/* Whether [addr, addr + length) lies in the map and is free. */
static bool vm_map_place_is_free(struct vm_map *map, vm_offset_t addr, vm_offset_t length)
    FL_REQUIRES_SHARED(map->lock)
{
    struct vm_map_entry *below;

    if (addr < map->min_offset || addr >= map->max_offset || length > map->max_offset - addr)
        return false;
    return !vm_map_lookup_entry(map, addr, &below) && addr + length <= vm_start_gap(below->next);
}

int get_unmapped_area(struct vm_map *map, vm_offset_t hint, vm_offset_t length, vm_offset_t *addr)
{
    if (hint != 0 && vm_map_place_is_free(map, hint, length)) {
        *addr = hint;
        return 0;
    }
    if (vm_map_findspace_topdown(map, map->mmap_base, length, addr) == 0)
        return 0;
    return vm_map_findspace(map, map->min_offset, length, addr);
}

int vm_map_find(struct vm_map *map, vm_offset_t hint, vm_offset_t length, vm_offset_t align,
                vm_offset_t *addr)
{
    vm_offset_t start = hint;

    for (;;) {
        int error = vm_map_findspace(map, start, length, addr);
        if (error != 0)
            return error;
        start = (*addr + (align - 1)) & ~(align - 1);
        if (start == *addr)
            return 0;
        if (start < *addr)
            return -ENOMEM; /* beyond 2^64 */
    }
}
