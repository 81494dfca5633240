/*
 * tree.c: the AVL tree of tree.h.
 *
 * Insertion and removal link first, then recompute the summaries from the changed place up to the root, and
 * then rebalance. A rotation leaves the set of nodes below every other node unchanged. So it recomputes only
 * the two nodes that turn, the lower one first.
 *
 *        p              c
 *       / \            / \
 *      c   3    ──▶   1   p       rotate(p, from the left): the order 1 c 2 p 3 stays
 *     / \                / \
 *    1   2              2   3
 *
 * Invariants TR1 … TR3: tree.h. Does not do: comparing, locking, allocating.
 */
#include "lib/tree.h"
#include "lib/kassert.h"

static struct tree_node **child(struct tree_node *node, bool left)
{
    return left ? &node->left : &node->right;
}

static bool is_left(const struct tree_node *node)
{
    return node->parent != NULL && node->parent->left == node;
}

/* The balance of a node whose subtree on that side is taller by one. */
static int8_t weight(bool left)
{
    return left ? -1 : 1;
}

/* Links `with`, which may be NULL, in the place of `node`. */
static void replace(struct tree *tree, struct tree_node *node, struct tree_node *with)
{
    if (node->parent == NULL)
        tree->root = with;
    else
        *child(node->parent, is_left(node)) = with;
    if (with != NULL)
        with->parent = node->parent;
}

/*
 * p's child on the given side takes p's place, and p becomes its other child. The caller sets the balances.
 */
static struct tree_node *rotate(struct tree *tree, struct tree_node *p, bool left)
{
    struct tree_node *c = *child(p, left);
    struct tree_node *inner = *child(c, !left);

    replace(tree, p, c);
    *child(c, !left) = p;
    p->parent = c;
    *child(p, left) = inner;
    if (inner != NULL)
        inner->parent = p;
    if (tree->summarize != NULL) {
        tree->summarize(p);
        tree->summarize(c);
    }
    return c;
}

/*
 * p's subtree on the given side is too tall, by two. Returns the node that takes p's place; its balance is 0
 * if the whole became lower.
 */
static struct tree_node *restore(struct tree *tree, struct tree_node *p, bool left)
{
    struct tree_node *c = *child(p, left);
    int8_t w = weight(left);

    if (c->balance != -w) {
        p->balance = c->balance == 0 ? w : 0;
        c->balance = c->balance == 0 ? (int8_t)-w : 0;
        return rotate(tree, p, left);
    }
    /* c's inner child is the tall one: it becomes the parent of both. */
    struct tree_node *g = *child(c, !left);
    p->balance = g->balance == w ? (int8_t)-w : 0;
    c->balance = g->balance == -w ? w : 0;
    g->balance = 0;
    (void)rotate(tree, c, !left);
    return rotate(tree, p, left);
}

void tree_update(struct tree *tree, struct tree_node *node)
{
    for (; node != NULL && tree->summarize != NULL; node = node->parent)
        tree->summarize(node);
}

void tree_insert(struct tree *tree, struct tree_node *node, struct tree_node *parent, bool left)
{
    node->left = node->right = NULL;
    node->parent = parent;
    node->balance = 0;
    if (parent == NULL) {
        KASSERT(tree->root == NULL, "TR1");
        tree->root = node;
    } else {
        KASSERT(*child(parent, left) == NULL, "TR1");
        *child(parent, left) = node;
    }
    tree_update(tree, node);

    for (struct tree_node *p = parent; p != NULL; node = p, p = p->parent) {
        bool grown = p->left == node;
        if (p->balance == weight(grown)) {
            (void)restore(tree, p, grown);
            return;
        }
        p->balance += weight(grown);
        if (p->balance == 0)
            return; /* the lower side caught up */
    }
}

/* The subtree of p on the given side became lower by one: restores the balances from p upwards. */
static void rebalance_shrunk(struct tree *tree, struct tree_node *p, bool left)
{
    while (p != NULL) {
        if (p->balance == 0) {
            p->balance = weight(!left);
            return; /* the other side still holds the height */
        }
        if (p->balance == weight(left)) {
            p->balance = 0;
        } else {
            p = restore(tree, p, !left);
            if (p->balance != 0)
                return;
        }
        left = is_left(p);
        p = p->parent;
    }
}

void tree_remove(struct tree *tree, struct tree_node *node)
{
    struct tree_node *from; /* the lowest node that lost height, on side `left` */
    bool left;

    if (node->left == NULL || node->right == NULL) {
        from = node->parent;
        left = is_left(node);
        replace(tree, node, node->left != NULL ? node->left : node->right);
    } else {
        struct tree_node *next = tree_next(node); /* has no left child */
        from = next->parent == node ? next : next->parent;
        left = next->parent != node;
        replace(tree, next, next->right);
        next->left = node->left;
        next->right = node->right;
        next->balance = node->balance;
        next->left->parent = next;
        if (next->right != NULL)
            next->right->parent = next;
        replace(tree, node, next);
    }
    tree_update(tree, from);
    rebalance_shrunk(tree, from, left);
}

static struct tree_node *outermost(struct tree_node *node, bool left)
{
    while (node != NULL && *child(node, left) != NULL)
        node = *child(node, left);
    return node;
}

struct tree_node *tree_first(const struct tree *tree)
{
    return outermost(tree->root, true);
}

struct tree_node *tree_last(const struct tree *tree)
{
    return outermost(tree->root, false);
}

/* The neighbour of node in order, towards the given side. */
static struct tree_node *neighbour(const struct tree_node *node, bool left)
{
    struct tree_node *side = left ? node->left : node->right;

    if (side != NULL)
        return outermost(side, !left);
    while (node->parent != NULL && is_left(node) == left)
        node = node->parent;
    return node->parent;
}

struct tree_node *tree_next(const struct tree_node *node)
{
    return neighbour(node, false);
}

struct tree_node *tree_prev(const struct tree_node *node)
{
    return neighbour(node, true);
}

/* The height that the balances imply. If it agrees with the balance of every node, it is the true height. */
static int told_height(const struct tree_node *node)
{
    int height = 0;

    for (; node != NULL; node = node->balance < 0 ? node->left : node->right)
        height++;
    return height;
}

void tree_check(const struct tree *tree, bool (*same)(const struct tree_node *node))
{
    const struct tree_node *last = NULL;

    KASSERT(tree->root == NULL || tree->root->parent == NULL, "TR1");
    for (const struct tree_node *n = tree_first(tree); n != NULL; n = tree_next(n)) {
        KASSERT(n->left == NULL || n->left->parent == n, "TR1");
        KASSERT(n->right == NULL || n->right->parent == n, "TR1");
        KASSERT(n->balance >= -1 && n->balance <= 1, "TR2");
        KASSERT(told_height(n->right) - told_height(n->left) == n->balance, "TR2");
        KASSERT(same == NULL || same(n), "TR3");
        last = n;
    }
    KASSERT(last == tree_last(tree), "TR1"); /* a wrong parent could have ended the walk early */
}
