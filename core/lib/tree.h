/*
 * tree.h: an intrusive balanced binary tree in which each node carries a summary of its subtree.
 *
 *            [k] summary = f(own, left's, right's)
 *           /   \
 *        [<k]   [>k]      heights of siblings differ by at most one (AVL), so depth <= 1.44 log2 n
 *
 * Users: vm_map (the largest free gap below a node), vm_rmap (the largest end below a node), and swap_pager,
 * which needs no summary. The user orders the nodes: it finds the place, and tree_insert links the node
 * there. No recursion, no allocation, no lock: the user's lock guards the tree.
 *
 * A summary must depend only on which nodes are in the subtree, not on their arrangement: then a rotation
 * changes the summaries of the two nodes that turn, and of no node above.
 *
 * Invariants: TR1 a child's `parent` is its parent. TR2 `balance` is the difference of the heights, -1, 0 or
 * 1. TR3 every summary is what `summarize` would compute.
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
    /* Recomputes the node's summary from its own data and its children's summaries. NULL: there is none. */
    void (*summarize)(struct tree_node *node);
};

#define tree_entry(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

/*
 * Links node as the left or right child of `parent`, which has none there (NULL: as the root), and
 * rebalances.
 */
void tree_insert(struct tree *tree, struct tree_node *node, struct tree_node *parent, bool left);
/* Unlinks node and rebalances. */
void tree_remove(struct tree *tree, struct tree_node *node);
/* The node's own data changed: recomputes the summaries from it up to the root. O(depth). */
void tree_update(struct tree *tree, struct tree_node *node);
/* In order; NULL at the end, and for an empty tree. */
FL_NODISCARD struct tree_node *tree_first(const struct tree *tree);
FL_NODISCARD struct tree_node *tree_last(const struct tree *tree);
FL_NODISCARD struct tree_node *tree_next(const struct tree_node *node);
FL_NODISCARD struct tree_node *tree_prev(const struct tree_node *node);
/*
 * Panics if a link, a balance or a summary is wrong. `same` says whether a node's summary is right; NULL: the
 * summaries are not checked. For tests.
 */
void tree_check(const struct tree *tree, bool (*same)(const struct tree_node *node));

#endif
