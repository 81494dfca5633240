/*
 * vm_radix.h: an object's pages by index: a path-compressed radix tree, 16 ways, with marks.
 *
 *   root ─▶ node(level, prefix) ─slot─▶ node … ─slot─▶ page
 *           a slot is 32 bits: 0 empty, a page number, or a node's metadata index (zone.h)
 *           a subtree with a single page is that page's slot, higher up: n pages need n - 1 nodes at most
 *
 * Nodes come in two widths: up to 3 children in 24 bytes, up to 16 in 80. So the tree costs less than 27
 * bytes for each page however the pages are spread.
 *
 * Invariants: X1 a page is found at its pindex, once. X2 a node has at least two children, and a level and
 * prefix that all below it share. X3 a slot's marks are those of the pages below it, together. X4 a wide
 * node has more than 3 children, unless there was no memory to make it narrow.
 *
 * Marks: for each slot one bit each, set when a page below it has the mark. Write-back walks marked pages
 * only. Lock: the object's. No locks of its own but the node zone's. (FreeBSD 11 vm_radix; the marks are
 * Linux's xarray's.)
 */
#ifndef CORE_VM_VM_RADIX_H
#define CORE_VM_VM_RADIX_H

#include "vm/vm_page.h"

/* Metadata memory for nodes that each page of the VM can need at most, over any history: at one time
 * every page is the second child of a narrow node, at another the fourth of a wide one, and zones never
 * give memory back. In use at one time: less than 27. */
#define VM_RADIX_NODE_BYTES 53

enum vm_radix_mark {
    RADIX_DIRTY,     /* PG_DIRTY */
    RADIX_WRITEBACK, /* PG_WRITEBACK */
    RADIX_TOWRITE,   /* dirty when this write-back began */
    RADIX_MARKS,
};

struct vm_radix {
    uint32_t root;      /* a slot, as above */
    uint8_t root_marks; /* the marks of the tree as a whole, a bit each */
};

void vm_radix_startup(void); /* makes the node zone */
FL_NODISCARD int vm_radix_insert(struct vm_radix *rtree,
                                 struct vm_page *m); /* at m->pindex, where none is. -ENOMEM */
void vm_radix_remove(struct vm_radix *rtree, struct vm_page *m);
FL_NODISCARD struct vm_page *vm_radix_lookup(const struct vm_radix *rtree, vm_pindex_t pindex);
FL_NODISCARD struct vm_page *vm_radix_lookup_ge(const struct vm_radix *rtree,
                                                vm_pindex_t pindex); /* least >= */
FL_NODISCARD struct vm_page *vm_radix_lookup_le(const struct vm_radix *rtree,
                                                vm_pindex_t pindex); /* greatest <= */
/* The least page >= pindex with the mark, or NULL. */
FL_NODISCARD struct vm_page *vm_radix_lookup_mark(const struct vm_radix *rtree, vm_pindex_t pindex,
                                                  enum vm_radix_mark mark);
void vm_radix_set_mark(struct vm_radix *rtree, struct vm_page *m, enum vm_radix_mark mark);
void vm_radix_clear_mark(struct vm_radix *rtree, struct vm_page *m, enum vm_radix_mark mark);
FL_NODISCARD bool vm_radix_get_mark(const struct vm_radix *rtree, const struct vm_page *m,
                                    enum vm_radix_mark mark);
FL_NODISCARD size_t vm_radix_node_bytes(void); /* of all nodes in use */
/* X1 … X3: panics unless prefixes, counts and marks agree with the pages. */
void vm_radix_check(const struct vm_radix *rtree);

#endif
