/*
 * tree_test.c: the balanced tree against a sorted array, with random
 * insertions, removals and changes; and its cost.
 */
#include "lib/tree.h"
#include "support/boot.h"
#include "support/seed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NITEMS 400

struct item {
    struct tree_node node;
    uint32_t key, value;
    uint32_t max_value; /* of the subtree */
    bool in;
};

static struct item items[NITEMS];
static struct tree tree;
static uint64_t nsummarized;

static struct item *item_of(const struct tree_node *node)
{
    return tree_entry(node, struct item, node);
}

static uint32_t summary(const struct tree_node *node)
{
    uint32_t max = item_of(node)->value;

    if (node->left != NULL && item_of(node->left)->max_value > max)
        max = item_of(node->left)->max_value;
    if (node->right != NULL && item_of(node->right)->max_value > max)
        max = item_of(node->right)->max_value;
    return max;
}

static void summarize(struct tree_node *node)
{
    nsummarized++;
    item_of(node)->max_value = summary(node);
}

static bool same(const struct tree_node *node)
{
    return item_of(node)->max_value == summary(node);
}

static void insert(struct item *item)
{
    struct tree_node *parent = NULL;
    bool left = false;

    for (struct tree_node *at = tree.root; at != NULL; at = left ? at->left : at->right) {
        parent = at;
        left = item->key < item_of(at)->key;
    }
    item->in = true;
    tree_insert(&tree, &item->node, parent, left);
}

/*
 * Forwards and backwards, the tree holds exactly the items that were
 * inserted, by key: items[] is sorted by key.
 */
static void compare_with_array(void)
{
    struct tree_node *at = tree_first(&tree);
    uint32_t max = 0;

    for (int i = 0; i < NITEMS; i++) {
        if (!items[i].in)
            continue;
        assert_ptr_equal(at, &items[i].node);
        at = tree_next(at);
        max = items[i].value > max ? items[i].value : max;
    }
    assert_null(at);
    at = tree_last(&tree);
    for (int i = NITEMS - 1; i >= 0; i--) {
        if (!items[i].in)
            continue;
        assert_ptr_equal(at, &items[i].node);
        at = tree_prev(at);
    }
    assert_null(at);
    if (tree.root != NULL)
        assert_int_equal(item_of(tree.root)->max_value, max);
}

static void test_random(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(11));
    memset(items, 0, sizeof items);
    tree = (struct tree){NULL, summarize};
    for (uint32_t i = 0; i < NITEMS; i++)
        items[i].key = i;
    for (uint64_t step = 0; step < test_rounds(20000); step++) {
        /* The number of items drifts between none and all. */
        bool grow = step / 2000 % 2 == 0;
        struct item *item = &items[prng_below(&prng, NITEMS)];
        if (item->in && prng_chance(&prng, grow ? 300 : 800)) {
            tree_remove(&tree, &item->node);
            item->in = false;
        } else if (item->in) {
            item->value = (uint32_t)prng_below(&prng, 1000);
            tree_update(&tree, &item->node);
        } else if (prng_chance(&prng, grow ? 900 : 200)) {
            item->value = (uint32_t)prng_below(&prng, 1000);
            insert(item);
        }
        tree_check(&tree, same);
        compare_with_array();
    }
}

/*
 * In whatever order the keys come, an operation touches one or two paths, and never a fraction of the tree.
 */
static void test_cost(void **state)
{
    (void)state;
    const uint32_t n = 100000;
    struct item *many = calloc(n, sizeof *many);
    assert_non_null(many);
    tree = (struct tree){NULL, summarize};
    uint64_t worst = 0;
    for (uint32_t i = 0; i < n; i++) {
        many[i].key = i;
        nsummarized = 0;
        tree_insert(&tree, &many[i].node, tree_last(&tree), false);
        worst = nsummarized > worst ? nsummarized : worst;
    }
    tree_check(&tree, same);
    assert_in_range(worst, 1, 24 + 4); /* 1.44 log2 of 100,000 = 24, and two rotations */
    for (uint32_t i = 0; i < n; i++) {
        nsummarized = 0;
        tree_remove(&tree, &many[i].node);
        assert_in_range(nsummarized, 0, 24 + 24 * 4); /* a removal may rotate at every level */
    }
    assert_null(tree.root);
    free(many);
}

static void build_seven(void)
{
    memset(items, 0, sizeof items);
    tree = (struct tree){NULL, summarize};
    for (uint32_t i = 0; i < 7; i++) {
        items[i].key = items[i].value = i;
        insert(&items[i]);
    }
}

static void corrupt(void *how)
{
    build_seven();
    switch (*(const char *)how) {
    case 'p':
        tree.root->left->parent = NULL;
        break;
    case 'b':
        tree.root->balance = 1;
        break;
    case 's':
        item_of(tree.root)->max_value++;
        break;
    default:
        break;
    }
    tree_check(&tree, same);
}

static void test_check_catches(void **state)
{
    (void)state;
    assert_true(test_panics(corrupt, "p", "TR1"));
    assert_true(test_panics(corrupt, "b", "TR2"));
    assert_true(test_panics(corrupt, "s", "TR3"));
    corrupt("-"); /* and without any of these mistakes: no panic */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_check_catches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
