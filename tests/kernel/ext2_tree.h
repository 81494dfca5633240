/*
 * ext2_tree.h: a naive model of a tree of files, and random operations on it and on a mounted ext2 together.
 *
 *   tree_step: an operation from the generator ─▶ the model says what comes of it ─▶ the same on the mount
 *   tree_compare: names, types, links and bytes of all that the tree has
 *
 * Several trees may stand beside each other in one mount, each under a directory of its own, and be driven by
 * a fiber each.
 */
#ifndef TESTS_KERNEL_EXT2_TREE_H
#define TESTS_KERNEL_EXT2_TREE_H

#include "kernel/ext2_support.h"

struct tree_entry;

/* A file, directory, link, or pipe. */
struct tree_body {
    uint32_t type; /* S_IF* */
    uint32_t nlink;
    uint8_t *bytes; /* of a file, or a link's target */
    uint64_t size;
    struct tree_entry *entries; /* of a directory */
    struct tree_body *parent;   /* of a directory */
    uint64_t ino;               /* of a file that was synced */
    /* So many bytes from the first are what a successful fsync has put on stable storage. */
    uint64_t synced_bytes;
    bool synced; /* it was synced, and not changed since */
};

struct tree_entry {
    struct tree_entry *next;
    struct tree_body *body;
    char name[NAME_LEN_MAX + 1];
};

struct tree {
    struct mount *mount;
    const char *top; /* "/t0" */
    struct prng prng;
    struct tree_body *root;
    uint32_t max_bytes; /* of a file */
    struct vm_map *map; /* for stores through mappings; NULL: there are none */
    bool may_fail;      /* -ENOMEM is an answer, after which nothing has changed */
};

/* An empty tree; makes its directory, unless `top` is "". */
void tree_init(struct tree *tree, struct mount *mount, const char *top, uint64_t seed);
void tree_free(struct tree *tree);
void tree_step(struct tree *tree);
void tree_compare(struct tree *tree);
/* mount->sync has succeeded, and nothing else has run meanwhile: all is synced. */
void tree_synced(struct tree *tree);
/* Calls fn for each file that has synced bytes. */
void tree_each_synced(struct tree *tree, void (*fn)(void *arg, const struct tree_body *body), void *arg);

#endif
