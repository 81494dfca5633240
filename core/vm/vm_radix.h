/*
 * vm_radix.h: an object's pages by index: a path-compressed radix tree, 16 ways, with marks.
 *
 *   root ─▶ node(level, prefix) ─slot─▶ node … ─slot─▶ page
 *           a slot is 32 bits: 0 empty, a page number, or a node's metadata index (zone.h)
 *           a subtree with a single page is that page's slot, higher up: n pages need n - 1 nodes at most
 *
 * Nodes come in two widths: up to 3 children in 24 bytes, up to 16 in 80. So the tree costs less than 27
 * bytes for each page, however the pages are spread.
 *
 * A mark is one bit for each slot: set if a page below the slot has the mark. So write-back visits marked
 * pages only.
 *
 * Neighbours are looked up and inserted one after another, and 16 of them have one node. So the tree
 * remembers the last one, its leaf, and goes there without a walk.
 *
 * Invariants: RX1 a page is found at its pindex, once. RX2 a node has at least two children, and a level and
 * a prefix that all below it share. RX3 a slot's marks are those of the pages below it, together. RX4 the
 * leaf, if any, is a wide node of this tree at level 0. A wide node has more than 3 children, unless there
 * was no memory to make it narrow.
 *
 * Lock: (O) of the object whose tree it is, for every function that has a tree as its parameter; a tree does
 * not lead to its object, so the annotations cannot say it. The zones of nodes have locks of their own.
 * (FreeBSD 11 vm_radix; the marks are those of Linux's xarray.)
 */
#ifndef CORE_VM_VM_RADIX_H
#define CORE_VM_VM_RADIX_H

#include "vm/vm_page.h"

/*
 * Metadata memory that the nodes can need for each page of the VM, over any history: at one time every page
 * is the second child of a narrow node, at another the fourth of a wide one, and zones never give memory
 * back. In use at one time are less than 27.
 */
#define VM_RADIX_NODE_BYTES 53

enum vm_radix_mark {
    RADIX_DIRTY,     /* PG_DIRTY */
    RADIX_WRITEBACK, /* PG_WRITEBACK */
    RADIX_TOWRITE,   /* dirty when this write-back began */
    RADIX_MARKS,
};

struct vm_radix {
    uint32_t root;      /* a slot, as above */
    uint32_t leaf;      /* the wide node just above pages that was used last; 0: none (RX4) */
    uint8_t root_marks; /* the marks of the tree as a whole, a bit each */
};

/* Makes the zones of nodes. Context: boot. */
void vm_radix_startup(void);
/* Inserts m at m->pindex, where no page is. Errors: -ENOMEM. */
FL_NODISCARD int vm_radix_insert(struct vm_radix *rtree, struct vm_page *m);
/* Removes m, and its marks. Needs no memory. */
void vm_radix_remove(struct vm_radix *rtree, struct vm_page *m);
/* The page at pindex; the least one >= pindex; the greatest one <= pindex. NULL: there is none. */
FL_NODISCARD struct vm_page *vm_radix_lookup(const struct vm_radix *rtree, vm_pindex_t pindex);
FL_NODISCARD struct vm_page *vm_radix_lookup_ge(const struct vm_radix *rtree, vm_pindex_t pindex);
FL_NODISCARD struct vm_page *vm_radix_lookup_le(const struct vm_radix *rtree, vm_pindex_t pindex);
/* m[0 … max): the first pages of [start, end), by rising index. Returns how many. */
FL_NODISCARD uint32_t vm_radix_lookup_range(const struct vm_radix *rtree, vm_pindex_t start, vm_pindex_t end,
                                            struct vm_page **m, uint32_t max);
/* The least page >= pindex that has the mark, or NULL. */
FL_NODISCARD struct vm_page *vm_radix_lookup_mark(const struct vm_radix *rtree, vm_pindex_t pindex,
                                                  enum vm_radix_mark mark);
/* The mark of page m, which is in the tree. */
void vm_radix_set_mark(struct vm_radix *rtree, struct vm_page *m, enum vm_radix_mark mark);
void vm_radix_clear_mark(struct vm_radix *rtree, struct vm_page *m, enum vm_radix_mark mark);
FL_NODISCARD bool vm_radix_get_mark(const struct vm_radix *rtree, const struct vm_page *m,
                                    enum vm_radix_mark mark);
/* Bytes of all nodes in use, of all trees. No lock held. */
FL_NODISCARD size_t vm_radix_node_bytes(void);
/* Panics unless RX1, RX2 and RX3 hold. */
void vm_radix_check(const struct vm_radix *rtree);

#endif
