/*
 * tree.h: an intrusive balanced binary tree whose nodes carry a value about their whole subtree, kept true
 * through every rotation.
 *
 *            [k] summary = f(own, left's, right's)
 *           /   \
 *        [<k]   [>k]      heights of siblings differ by at most one (AVL), so depth <= 1.44 log2 n
 *
 * Two users: vm_map (largest free gap below a node) and vm_rmap (largest end below a node). The user orders
 * the nodes: it finds the place and links there. No recursion, no allocation, no lock of its own.
 *
 * A summary must depend on the set of nodes in the subtree only, not on their arrangement: a rotation
 * changes it for the nodes that turn, and for none above. Invariants: T1 a child's parent is its parent. T2
 * balance is the difference of heights, -1 … 1. T3 every summary is true.
 */
#ifndef CORE_LIB_TREE_H
#define CORE_LIB_TREE_H

#include <faultline/types.h>

struct tree_node {
    struct tree_node *left, *right, *parent;
    int8_t balance; /* height(right) - height(left), -1 … 1 */
};

struct tree {
    struct tree_node *root;
    /* Recomputes the node's summary from its own data and its children's summaries. */
    void (*summarize)(struct tree_node *node);
};

#define tree_entry(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

/* Links node as the child of `parent` (NULL: as the root), on the left or right, where no child is, and
 * rebalances. */
void tree_insert(struct tree *tree, struct tree_node *node, struct tree_node *parent, bool left);
void tree_remove(struct tree *tree, struct tree_node *node);
/* node's own data changed: recomputes the summaries from it up to the root. */
void tree_update(struct tree *tree, struct tree_node *node);
FL_NODISCARD struct tree_node *tree_first(const struct tree *tree);
FL_NODISCARD struct tree_node *tree_last(const struct tree *tree);
FL_NODISCARD struct tree_node *tree_next(const struct tree_node *node);
FL_NODISCARD struct tree_node *tree_prev(const struct tree_node *node);
/* Panics if a link, a balance or (when `same` is given) a summary is wrong. For tests. */
void tree_check(const struct tree *tree, bool (*same)(const struct tree_node *node));

#endif
