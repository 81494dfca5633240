/*
 * vm_radix.c: the radix tree of vm_radix.h.
 *
 *   pindex 0x00012a7   digit(2) = 2, digit(1) = a, digit(0) = 7        level n looks at bits 4n … 4n+3
 *
 *   narrow node, 24 bytes:  key | ways | tag  tag  tag  | slot slot slot      sorted by digit
 *   wide node, 80 bytes:    key | ways | count | marks[] | slot[16]           slot[digit]
 *                           │            └ a narrow node's tag is digit | marks << 4
 *                           └ the prefix of all keys below; the level is in its low 4 bits, always free
 *
 * A position is an index into a node's slots. Both kinds of node keep the slots in the order of their digits,
 * so rising positions have rising keys. A place is a slot with its marks: one of a node's, or the root.
 *
 * Insertion: if the way ends at a slot of another key, a narrow node with two children replaces it. A full
 * narrow node becomes a wide one. Removal: if one child is left, it replaces its node. A wide node whose
 * children fit becomes a narrow one, if there is memory.
 *
 * Invariants RX1 … RX3 and the lock: vm_radix.h. Does not do: lookups without the object's lock.
 */
#include "vm/vm_radix.h"
#include "lib/kassert.h"
#include "lib/errno.h"
#include "lib/zone.h"

#define RADIX_BITS   4
#define RADIX_WIDE   16
#define RADIX_NARROW 3
#define RADIX_DEPTH  16          /* 64 bits of key, 4 for each level */
#define SLOT_PAGE    0x80000000u /* the slot holds a page number; without it, a node's metadata index */

struct vm_radix_node {
    uint64_t key;
    uint8_t ways; /* RADIX_NARROW, or RADIX_WIDE: then it is a vm_radix_wide */
    uint8_t tag[RADIX_NARROW];
    uint32_t slot[RADIX_NARROW]; /* the unused ones are last, and 0 */
};

struct vm_radix_wide {
    uint64_t key;
    uint8_t ways;
    uint8_t count;
    uint16_t marks[RADIX_MARKS];
    uint32_t slot[RADIX_WIDE];
};

_Static_assert(sizeof(struct vm_radix_node) == 24, "n - 1 nodes for n pages: less than 24 bytes for each");
_Static_assert(sizeof(struct vm_radix_wide) == 80, "4 children or more: less than 27 bytes for each page");
_Static_assert(VM_RADIX_NODE_BYTES * 30 >= 24 * 31 + 80 * 31 / 3,
               "both widths in turn, and 1/30 for the rest of slabs");
_Static_assert(RADIX_MARKS <= 4, "marks have four bits of a tag");

struct radix_place {
    struct vm_radix_node *node; /* NULL: the root */
    int pos;
};

static struct vm_zone narrow_zone, wide_zone;

/* ---- nodes ------------------------------------------------------------------------------------------- */

static unsigned node_level(const struct vm_radix_node *n)
{
    return n->key & (RADIX_WIDE - 1);
}

static unsigned digit(vm_pindex_t pindex, unsigned level)
{
    return (pindex >> (level * RADIX_BITS)) & (RADIX_WIDE - 1);
}

/* pindex without the digits of `level` and below. */
static vm_pindex_t prefix(vm_pindex_t pindex, unsigned level)
{
    unsigned shift = (level + 1) * RADIX_BITS;

    return shift >= 64 ? 0 : pindex >> shift << shift;
}

static vm_pindex_t node_prefix(const struct vm_radix_node *n)
{
    return n->key & ~(vm_pindex_t)(RADIX_WIDE - 1);
}

static bool node_covers(const struct vm_radix_node *n, vm_pindex_t pindex)
{
    return prefix(pindex, node_level(n)) == node_prefix(n);
}

static bool slot_is_node(uint32_t slot)
{
    return slot != 0 && (slot & SLOT_PAGE) == 0;
}

static struct vm_page *slot_page(uint32_t slot)
{
    return vm_page_of(slot & ~SLOT_PAGE);
}

static struct vm_radix_node *slot_node(uint32_t slot)
{
    return vm_meta_pointer(slot);
}

static struct vm_radix_wide *wide(struct vm_radix_node *n)
{
    return n->ways == RADIX_WIDE ? (struct vm_radix_wide *)n : NULL;
}

static uint32_t *node_slots(struct vm_radix_node *n)
{
    return n->ways == RADIX_WIDE ? wide(n)->slot : n->slot;
}

static unsigned node_digit(const struct vm_radix_node *n, int pos)
{
    return n->ways == RADIX_WIDE ? (unsigned)pos : n->tag[pos] & (RADIX_WIDE - 1);
}

static unsigned node_marks(struct vm_radix_node *n, int pos)
{
    unsigned marks = 0;

    if (n->ways == RADIX_NARROW)
        return n->tag[pos] >> RADIX_BITS;
    for (unsigned mark = 0; mark < RADIX_MARKS; mark++)
        marks |= (wide(n)->marks[mark] >> pos & 1u) << mark;
    return marks;
}

static void node_set_marks(struct vm_radix_node *n, int pos, unsigned marks)
{
    if (n->ways == RADIX_NARROW) {
        n->tag[pos] = (uint8_t)(node_digit(n, pos) | marks << RADIX_BITS);
        return;
    }
    for (unsigned mark = 0; mark < RADIX_MARKS; mark++) {
        uint16_t *bits = &wide(n)->marks[mark];
        *bits = (uint16_t)((*bits & ~(1u << pos)) | (marks >> mark & 1u) << pos);
    }
}

/* The marks of all pages below n, together. */
static unsigned node_all_marks(struct vm_radix_node *n)
{
    unsigned marks = 0;

    if (n->ways == RADIX_NARROW)
        return (n->tag[0] | n->tag[1] | n->tag[2]) >> RADIX_BITS;
    for (unsigned mark = 0; mark < RADIX_MARKS; mark++)
        marks |= (unsigned)(wide(n)->marks[mark] != 0) << mark;
    return marks;
}

static unsigned node_count(struct vm_radix_node *n)
{
    return n->ways == RADIX_WIDE ? wide(n)->count : n->slot[RADIX_NARROW - 1] != 0 ? 3 : 2;
}

/* The position of digit d, or -1. */
static int node_pos(struct vm_radix_node *n, unsigned d)
{
    if (n->ways == RADIX_WIDE)
        return wide(n)->slot[d] != 0 ? (int)d : -1;
    for (int pos = 0; pos < RADIX_NARROW; pos++)
        if (n->slot[pos] != 0 && node_digit(n, pos) == d)
            return pos;
    return -1;
}

/* The first position whose digit is >= d, with one of `marks` unless that is 0; or -1. */
static int node_next(struct vm_radix_node *n, unsigned d, unsigned marks)
{
    const uint32_t *slot = node_slots(n);

    for (int pos = n->ways == RADIX_WIDE ? (int)d : 0; pos < n->ways; pos++)
        if (slot[pos] != 0 && node_digit(n, pos) >= d && (marks == 0 || (node_marks(n, pos) & marks) != 0))
            return pos;
    return -1;
}

/* The last position whose digit is <= d, or -1. */
static int node_prev(struct vm_radix_node *n, unsigned d)
{
    const uint32_t *slot = node_slots(n);

    for (int pos = n->ways == RADIX_WIDE ? (int)d : RADIX_NARROW - 1; pos >= 0; pos--)
        if (slot[pos] != 0 && node_digit(n, pos) <= d)
            return pos;
    return -1;
}

/* Adds a child that n has room for. */
static void node_put(struct vm_radix_node *n, unsigned d, uint32_t slot, unsigned marks)
{
    int pos = (int)d;

    if (n->ways == RADIX_NARROW) {
        for (pos = RADIX_NARROW - 1; pos > 0; pos--) {
            if (n->slot[pos - 1] != 0 && node_digit(n, pos - 1) < d)
                break;
            n->slot[pos] = n->slot[pos - 1];
            n->tag[pos] = n->tag[pos - 1];
        }
        n->tag[pos] = (uint8_t)d;
    } else {
        wide(n)->count++;
    }
    node_slots(n)[pos] = slot;
    if (marks != 0) /* an unused slot has none */
        node_set_marks(n, pos, marks);
}

/* Removes the child at pos. */
static void node_take(struct vm_radix_node *n, int pos)
{
    node_set_marks(n, pos, 0);
    node_slots(n)[pos] = 0;
    if (n->ways == RADIX_WIDE) {
        wide(n)->count--;
        return;
    }
    for (; pos < RADIX_NARROW - 1; pos++) {
        n->slot[pos] = n->slot[pos + 1];
        n->tag[pos] = n->tag[pos + 1];
    }
    n->slot[pos] = 0;
    n->tag[pos] = 0;
}

static struct vm_radix_node *node_alloc(unsigned ways, uint64_t key)
{
    struct vm_radix_node *n = vm_zone_alloc(ways == RADIX_WIDE ? &wide_zone : &narrow_zone);

    if (n != NULL) {
        n->key = key;
        n->ways = (uint8_t)ways;
    }
    return n;
}

static void node_free(struct vm_radix *rtree, struct vm_radix_node *n)
{
    if (rtree->leaf == vm_meta_index(n))
        rtree->leaf = 0;
    vm_zone_free(n->ways == RADIX_WIDE ? &wide_zone : &narrow_zone, n);
}

/* ---- the leaf ----------------------------------------------------------------------------------------- */

/* The leaf, if pindex belongs below it; or NULL. Its key is the prefix alone, for its level is 0. */
static struct vm_radix_wide *leaf_of(const struct vm_radix *rtree, vm_pindex_t pindex)
{
    if (rtree->leaf == 0)
        return NULL;
    struct vm_radix_node *n = slot_node(rtree->leaf);
    return ((n->key ^ pindex) & ~(vm_pindex_t)(RADIX_WIDE - 1)) == 0 ? wide(n) : NULL;
}

/* n was used: it becomes the leaf if it can. The leaf is a hint, which a lookup may change: (O) is held. */
static void leaf_remember(const struct vm_radix *rtree, struct vm_radix_node *n)
{
    if (n->ways == RADIX_WIDE && node_level(n) == 0)
        ((struct vm_radix *)(uintptr_t)rtree)->leaf = vm_meta_index(n);
}

/* ---- places ------------------------------------------------------------------------------------------ */

static uint32_t *place_slot(struct vm_radix *rtree, struct radix_place at)
{
    return at.node == NULL ? &rtree->root : &node_slots(at.node)[at.pos];
}

static unsigned place_marks(const struct vm_radix *rtree, struct radix_place at)
{
    return at.node == NULL ? rtree->root_marks : node_marks(at.node, at.pos);
}

static void place_set_marks(struct vm_radix *rtree, struct radix_place at, unsigned marks)
{
    if (at.node == NULL)
        rtree->root_marks = (uint8_t)marks;
    else
        node_set_marks(at.node, at.pos, marks);
}

/* path[]: the places from the root down to that of m, which is in the tree. Returns how many. */
static int radix_path(struct vm_radix *rtree, const struct vm_page *m, struct radix_place *path)
{
    int n = 0;

    path[n++] = (struct radix_place){NULL, 0};
    for (uint32_t slot = rtree->root; slot_is_node(slot); slot = *place_slot(rtree, path[n - 1])) {
        struct vm_radix_node *node = slot_node(slot);
        KASSERT(n <= RADIX_DEPTH && node_covers(node, m->pindex), "RX2");
        int pos = node_pos(node, digit(m->pindex, node_level(node)));
        KASSERT(pos >= 0, "RX1");
        path[n++] = (struct radix_place){node, pos};
    }
    KASSERT(*place_slot(rtree, path[n - 1]) == (SLOT_PAGE | vm_page_frame(m)), "RX1");
    return n;
}

/* path[depth] may have lost marks: updates the places above it. */
static void path_update_marks(struct vm_radix *rtree, const struct radix_place *path, int depth)
{
    for (; depth > 0; depth--) {
        unsigned marks = node_all_marks(path[depth].node);
        if (place_marks(rtree, path[depth - 1]) == marks)
            return;
        place_set_marks(rtree, path[depth - 1], marks);
    }
}

/* Replaces the node at `at` by one of `ways` with the same children. NULL: no memory, and nothing changed. */
static struct vm_radix_node *node_resize(struct vm_radix *rtree, struct radix_place at, unsigned ways)
{
    struct vm_radix_node *old = slot_node(*place_slot(rtree, at));
    struct vm_radix_node *n = node_alloc(ways, old->key);

    if (n == NULL)
        return NULL;
    for (int pos = 0; pos < old->ways; pos++)
        if (node_slots(old)[pos] != 0)
            node_put(n, node_digit(old, pos), node_slots(old)[pos], node_marks(old, pos));
    *place_slot(rtree, at) = vm_meta_index(n);
    node_free(rtree, old);
    return n;
}

/* ---- insertion and removal --------------------------------------------------------------------------- */

void vm_radix_startup(void)
{
    vm_zone_init(&narrow_zone, "radix node", sizeof(struct vm_radix_node));
    vm_zone_init(&wide_zone, "radix node", sizeof(struct vm_radix_wide));
}

/*
 * Puts a node with two children at the place: what is there now, with keys that begin like `there`, and the
 * new page. Errors: -ENOMEM.
 */
static int radix_branch(struct vm_radix *rtree, struct radix_place at, vm_pindex_t there, vm_pindex_t pindex,
                        uint32_t page_slot)
{
    KASSERT(there != pindex, "RX1");
    unsigned level = (63 - (unsigned)__builtin_clzll(there ^ pindex)) / RADIX_BITS;
    struct vm_radix_node *n = node_alloc(RADIX_NARROW, prefix(pindex, level) | level);

    if (n == NULL)
        return -ENOMEM;
    node_put(n, digit(there, level), *place_slot(rtree, at), place_marks(rtree, at));
    node_put(n, digit(pindex, level), page_slot, 0);
    *place_slot(rtree, at) = vm_meta_index(n);
    return 0;
}

int vm_radix_insert(struct vm_radix *rtree, struct vm_page *m)
{
    uint32_t page_slot = SLOT_PAGE | vm_page_frame(m);
    struct radix_place at = {NULL, 0};

    if (rtree->root == 0) {
        rtree->root = page_slot;
        rtree->root_marks = 0;
        return 0;
    }
    struct vm_radix_wide *leaf = leaf_of(rtree, m->pindex);
    if (leaf != NULL) {
        KASSERT(leaf->slot[digit(m->pindex, 0)] == 0, "RX1");
        leaf->slot[digit(m->pindex, 0)] = page_slot;
        leaf->count++;
        return 0;
    }
    for (;;) {
        uint32_t slot = *place_slot(rtree, at);
        if (!slot_is_node(slot))
            return radix_branch(rtree, at, slot_page(slot)->pindex, m->pindex, page_slot);
        struct vm_radix_node *n = slot_node(slot);
        if (!node_covers(n, m->pindex))
            return radix_branch(rtree, at, node_prefix(n), m->pindex, page_slot);
        unsigned d = digit(m->pindex, node_level(n));
        int pos = node_pos(n, d);
        if (pos < 0) {
            if (node_count(n) == n->ways)
                n = node_resize(rtree, at, RADIX_WIDE);
            if (n == NULL)
                return -ENOMEM;
            node_put(n, d, page_slot, 0);
            leaf_remember(rtree, n);
            return 0;
        }
        at = (struct radix_place){n, pos};
    }
}

/* Removes m from the leaf, where nothing above it changes by that. Returns false if something would. */
static bool leaf_remove(struct vm_radix *rtree, const struct vm_page *m)
{
    struct vm_radix_wide *leaf = leaf_of(rtree, m->pindex);
    const int pos = (int)digit(m->pindex, 0);

    if (leaf == NULL || leaf->count <= RADIX_NARROW + 1 || node_marks((struct vm_radix_node *)leaf, pos) != 0)
        return false;
    KASSERT(leaf->slot[pos] == (SLOT_PAGE | vm_page_frame(m)), "RX1");
    leaf->slot[pos] = 0;
    leaf->count--;
    return true;
}

void vm_radix_remove(struct vm_radix *rtree, struct vm_page *m)
{
    struct radix_place path[RADIX_DEPTH + 1];

    if (leaf_remove(rtree, m))
        return;
    int depth = radix_path(rtree, m, path) - 1;
    if (depth == 0) {
        rtree->root = 0;
        rtree->root_marks = 0;
        return;
    }
    struct vm_radix_node *n = path[depth].node;
    struct radix_place above = path[depth - 1];
    node_take(n, path[depth].pos);
    place_set_marks(rtree, above, node_all_marks(n));
    int only = node_next(n, 0, 0);
    if (node_next(n, node_digit(n, only) + 1, 0) < 0) {
        *place_slot(rtree, above) = node_slots(n)[only];
        node_free(rtree, n);
    } else if (n->ways == RADIX_WIDE && node_count(n) <= RADIX_NARROW) {
        (void)node_resize(rtree, above, RADIX_NARROW); /* without memory it stays wide */
    }
    path_update_marks(rtree, path, depth - 1);
}

/* ---- lookup ------------------------------------------------------------------------------------------ */

struct vm_page *vm_radix_lookup(const struct vm_radix *rtree, vm_pindex_t pindex)
{
    const struct vm_radix_wide *leaf = leaf_of(rtree, pindex);
    uint32_t slot = rtree->root;

    if (leaf != NULL) {
        slot = leaf->slot[digit(pindex, 0)];
        return slot != 0 ? slot_page(slot) : NULL;
    }
    while (slot_is_node(slot)) {
        struct vm_radix_node *n = slot_node(slot);
        if (!node_covers(n, pindex))
            return NULL;
        int pos = node_pos(n, digit(pindex, node_level(n)));
        if (pos < 0)
            return NULL;
        slot = node_slots(n)[pos];
        if (!slot_is_node(slot))
            leaf_remember(rtree, n);
    }
    return slot != 0 && slot_page(slot)->pindex == pindex ? slot_page(slot) : NULL;
}

/* The first page below the slot, with one of `marks` unless that is 0; the slot has that mark. */
static struct vm_page *radix_first(const struct vm_radix *rtree, uint32_t slot, unsigned marks)
{
    while (slot_is_node(slot)) {
        struct vm_radix_node *n = slot_node(slot);
        int pos = node_next(n, 0, marks);
        KASSERT(pos >= 0, "RX3");
        slot = node_slots(n)[pos];
        leaf_remember(rtree, n);
    }
    return slot == 0 ? NULL : slot_page(slot);
}

/* The last page below the slot. */
static struct vm_page *radix_last(uint32_t slot)
{
    while (slot_is_node(slot)) {
        struct vm_radix_node *n = slot_node(slot);
        slot = node_slots(n)[node_prev(n, RADIX_WIDE - 1)];
    }
    return slot == 0 ? NULL : slot_page(slot);
}

/*
 * The least page >= pindex, with one of `marks` unless that is 0. Goes down towards pindex once. `higher` is
 * the nearest subtree of larger keys with such a page: the answer is its first one if the way down has none.
 */
static struct vm_page *radix_ge(const struct vm_radix *rtree, vm_pindex_t pindex, unsigned marks)
{
    uint32_t slot = rtree->root, higher = 0;

    if (marks != 0 && (rtree->root_marks & marks) == 0)
        return NULL;
    while (slot_is_node(slot)) {
        struct vm_radix_node *n = slot_node(slot);
        if (!node_covers(n, pindex))
            return radix_first(rtree, node_prefix(n) > pindex ? slot : higher, marks);
        unsigned d = digit(pindex, node_level(n));
        int next = node_next(n, d, marks);
        if (next < 0)
            return radix_first(rtree, higher, marks);
        if (node_digit(n, next) > d)
            return radix_first(rtree, node_slots(n)[next], marks);
        int after = node_next(n, d + 1, marks);
        if (after >= 0)
            higher = node_slots(n)[after];
        slot = node_slots(n)[next];
        leaf_remember(rtree, n);
    }
    if (slot != 0 && slot_page(slot)->pindex >= pindex)
        return slot_page(slot);
    return radix_first(rtree, higher, marks);
}

struct vm_page *vm_radix_lookup_ge(const struct vm_radix *rtree, vm_pindex_t pindex)
{
    struct vm_radix_wide *leaf = leaf_of(rtree, pindex);

    for (unsigned d = digit(pindex, 0); leaf != NULL && d < RADIX_WIDE; d++)
        if (leaf->slot[d] != 0)
            return slot_page(leaf->slot[d]);
    return radix_ge(rtree, pindex, 0);
}

struct radix_range {
    vm_pindex_t start, last; /* both are in it */
    struct vm_page **m;
    uint32_t n, max;
};

/* Adds the pages below the slot. The recursion is bounded: the level falls with every step (RX2). */
static void radix_range(uint32_t slot, struct radix_range *range)
{
    if (!slot_is_node(slot)) {
        struct vm_page *m = slot_page(slot);
        if (m->pindex >= range->start && m->pindex <= range->last)
            range->m[range->n++] = m;
        return;
    }
    struct vm_radix_node *n = slot_node(slot);
    vm_pindex_t first = node_prefix(n), span = prefix(UINT64_MAX, node_level(n));
    if (first > range->last || (first | ~span) < range->start)
        return;
    unsigned from = first < range->start ? digit(range->start, node_level(n)) : 0;
    for (int pos = node_next(n, from, 0); pos >= 0 && pos < n->ways && range->n < range->max; pos++)
        if (node_slots(n)[pos] != 0)
            radix_range(node_slots(n)[pos], range);
}

uint32_t vm_radix_lookup_range(const struct vm_radix *rtree, vm_pindex_t start, vm_pindex_t end,
                               struct vm_page **m, uint32_t max)
{
    struct radix_range range = {.start = start, .last = end - 1, .m = m, .max = max};
    if (start < end && rtree->root != 0 && max > 0)
        radix_range(rtree->root, &range);
    return range.n;
}

struct vm_page *vm_radix_lookup_mark(const struct vm_radix *rtree, vm_pindex_t pindex,
                                     enum vm_radix_mark mark)
{
    return radix_ge(rtree, pindex, 1u << mark);
}

/* radix_ge mirrored, without marks. */
struct vm_page *vm_radix_lookup_le(const struct vm_radix *rtree, vm_pindex_t pindex)
{
    uint32_t slot = rtree->root, lower = 0;

    while (slot_is_node(slot)) {
        struct vm_radix_node *n = slot_node(slot);
        if (!node_covers(n, pindex))
            return radix_last(node_prefix(n) < pindex ? slot : lower);
        unsigned d = digit(pindex, node_level(n));
        int prev = node_prev(n, d);
        if (prev < 0)
            return radix_last(lower);
        if (node_digit(n, prev) < d)
            return radix_last(node_slots(n)[prev]);
        int before = d == 0 ? -1 : node_prev(n, d - 1);
        if (before >= 0)
            lower = node_slots(n)[before];
        slot = node_slots(n)[prev];
    }
    if (slot != 0 && slot_page(slot)->pindex <= pindex)
        return slot_page(slot);
    return radix_last(lower);
}

/* ---- marks ------------------------------------------------------------------------------------------- */

void vm_radix_set_mark(struct vm_radix *rtree, struct vm_page *m, enum vm_radix_mark mark)
{
    struct radix_place path[RADIX_DEPTH + 1];

    for (int depth = radix_path(rtree, m, path) - 1; depth >= 0; depth--) {
        unsigned marks = place_marks(rtree, path[depth]);
        if ((marks & 1u << mark) != 0)
            return; /* the places above have it too (RX3) */
        place_set_marks(rtree, path[depth], marks | 1u << mark);
    }
}

void vm_radix_clear_mark(struct vm_radix *rtree, struct vm_page *m, enum vm_radix_mark mark)
{
    struct radix_place path[RADIX_DEPTH + 1];
    int depth = radix_path(rtree, m, path) - 1;

    place_set_marks(rtree, path[depth], place_marks(rtree, path[depth]) & ~(1u << mark));
    path_update_marks(rtree, path, depth);
}

bool vm_radix_get_mark(const struct vm_radix *rtree, const struct vm_page *m, enum vm_radix_mark mark)
{
    uint32_t slot = rtree->root;
    unsigned marks = rtree->root_marks;

    while (slot_is_node(slot)) {
        struct vm_radix_node *n = slot_node(slot);
        int pos = node_pos(n, digit(m->pindex, node_level(n)));
        KASSERT(pos >= 0 && node_covers(n, m->pindex), "RX1");
        marks = node_marks(n, pos);
        slot = node_slots(n)[pos];
    }
    KASSERT(slot == (SLOT_PAGE | vm_page_frame(m)), "RX1");
    return (marks >> mark & 1u) != 0;
}

/* ---- accounts and checks ----------------------------------------------------------------------------- */

static size_t zone_bytes_in_use(struct vm_zone *zone)
{
    vm_lock(&zone->lock);
    size_t bytes = (size_t)zone->nitems * zone->size;
    vm_unlock(&zone->lock);
    return bytes;
}

size_t vm_radix_node_bytes(void)
{
    return zone_bytes_in_use(&narrow_zone) + zone_bytes_in_use(&wide_zone);
}

/* The recursion is bounded: the level falls with every step, which is asserted first. */
static unsigned radix_check_below(uint32_t slot, unsigned marks, vm_pindex_t above, unsigned level_above)
{
    if (!slot_is_node(slot)) {
        KASSERT(slot != 0 && (slot & ~SLOT_PAGE) < vm_page_count, "RX1");
        KASSERT(level_above > RADIX_DEPTH - 1 || prefix(slot_page(slot)->pindex, level_above) == above,
                "RX1");
        return marks; /* a page has no marks but its slot's */
    }
    struct vm_radix_node *n = slot_node(slot);
    unsigned level = node_level(n), count = 0, below = 0;
    KASSERT(level < level_above && prefix(node_prefix(n), level) == node_prefix(n), "RX2");
    for (int pos = 0; pos < n->ways; pos++) {
        if (node_slots(n)[pos] == 0)
            continue;
        uint32_t child = node_slots(n)[pos];
        vm_pindex_t key = slot_is_node(child) ? node_prefix(slot_node(child)) : slot_page(child)->pindex;
        KASSERT(node_covers(n, key) && digit(key, level) == node_digit(n, pos), "RX2");
        unsigned child_marks = radix_check_below(child, node_marks(n, pos), node_prefix(n), level);
        KASSERT(child_marks == node_marks(n, pos), "RX3");
        below |= child_marks;
        count++;
    }
    KASSERT(count >= 2 && count == node_count(n), "RX2");
    return below;
}

/* RX4: the way down to the leaf's keys leads to the leaf. */
static void leaf_check(const struct vm_radix *rtree)
{
    uint32_t slot = rtree->root;

    if (rtree->leaf == 0)
        return;
    struct vm_radix_node *leaf = slot_node(rtree->leaf);
    KASSERT(leaf->ways == RADIX_WIDE && node_level(leaf) == 0, "RX4");
    while (slot_is_node(slot) && slot != rtree->leaf) {
        int pos = node_pos(slot_node(slot), digit(leaf->key, node_level(slot_node(slot))));
        slot = pos < 0 ? 0 : node_slots(slot_node(slot))[pos];
    }
    KASSERT(slot == rtree->leaf, "RX4");
}

void vm_radix_check(const struct vm_radix *rtree)
{
    leaf_check(rtree);
    if (rtree->root == 0)
        KASSERT(rtree->root_marks == 0, "RX3");
    else
        KASSERT(radix_check_below(rtree->root, rtree->root_marks, 0, RADIX_DEPTH) == rtree->root_marks,
                "RX3");
}
