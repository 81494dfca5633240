/*
 * blist.c: the free map of slots: finding a run, and keeping the nodes true.
 *
 *   find a run of 5, at or behind slot 70:
 *
 *        ┌────────── up: its right neighbours ────────▶ best >= 5, or last + first >= 5 across two
 *        │                                                   │
 *   word 1 (bits 6 …), and across into word 2                └─ down: the first child of which that is true
 *
 * The nodes of each level are an array, and so are the words: child c of node i of level l is node
 * 16 * i + c of level l - 1. The last node of a level may have fewer children.
 *
 * Invariants BL1 … BL5: blist.h. Lock: the caller's.
 */
#include "lib/blist.h"
#include "lib/kassert.h"
#include <stdbool.h>

#define WORD_SHIFT 6 /* slots in a word: 64, at least twice BLIST_RUN_MAX */
#define WORD_SLOTS (1u << WORD_SHIFT)
#define NODE_SHIFT 4 /* children of a node: 16 */
#define LEVELS_MAX 16

/* The lengths of free runs, each at most BLIST_RUN_MAX. */
struct blist_node {
    uint8_t first; /* from its first slot on; 0: that one is in use */
    uint8_t best;  /* the longest */
    uint8_t last;  /* up to its last slot */
};

struct blist {
    uint64_t nslots;     /* that exist */
    uint64_t nslots_max; /* constant */
    uint64_t avail;
    uint64_t cursor;  /* where the next search begins: 0 <= cursor <= nslots */
    uint64_t visits;  /* nodes that allocations looked at */
    uint64_t *word;   /* constant */
    unsigned nlevels; /* constant; the top level is one node */
    struct {
        uint64_t nnodes;
        struct blist_node *node;
    } level[LEVELS_MAX]; /* constant; level 0: one node for each word */
};

static uint64_t blist_nwords(uint64_t nslots)
{
    uint64_t nwords = (nslots >> WORD_SHIFT) + (nslots % WORD_SLOTS != 0);
    return nwords == 0 ? 1 : nwords;
}

/* How many nodes n > 0 children have as parents. */
static uint64_t blist_parents(uint64_t n)
{
    return ((n - 1) >> NODE_SHIFT) + 1;
}

size_t blist_bytes(uint64_t nslots)
{
    uint64_t n = blist_nwords(nslots);
    uint64_t bytes = sizeof(struct blist) + n * sizeof(uint64_t) + n * sizeof(struct blist_node);
    while (n > 1) {
        n = blist_parents(n);
        bytes += n * sizeof(struct blist_node);
    }
    return (size_t)((bytes + 7) & ~(uint64_t)7);
}

struct blist *blist_init(void *memory, uint64_t nslots)
{
    struct blist *bl = memory;
    uint64_t n = blist_nwords(nslots);
    bl->nslots_max = nslots;
    bl->word = (uint64_t *)(bl + 1);
    struct blist_node *node = (struct blist_node *)(bl->word + n);
    for (;;) {
        bl->level[bl->nlevels].nnodes = n;
        bl->level[bl->nlevels].node = node;
        bl->nlevels++;
        if (n == 1)
            return bl;
        node += n;
        n = blist_parents(n);
    }
}

/* ---- keeping the nodes true ---------------------------------------------------------------------------- */

static uint8_t run_cap(unsigned length)
{
    return (uint8_t)(length < BLIST_RUN_MAX ? length : BLIST_RUN_MAX);
}

/* How many of the word's bits are set from its highest one down. */
static unsigned word_last(uint64_t word)
{
    return word == UINT64_MAX ? WORD_SLOTS : (unsigned)__builtin_clzll(~word);
}

static struct blist_node node_of_word(uint64_t word)
{
    unsigned first = word == UINT64_MAX ? WORD_SLOTS : (unsigned)__builtin_ctzll(~word);
    unsigned best = 0;
    for (uint64_t longer = word; longer != 0 && best < BLIST_RUN_MAX; longer &= longer >> 1)
        best++; /* `longer` has a bit where a run of more than `best` begins */
    return (struct blist_node){run_cap(first), (uint8_t)best, run_cap(word_last(word))};
}

/*
 * What node i of `level`, which is not 0, sums up. `first` is its first child's: that child has at least
 * BLIST_RUN_MAX slots, so a run that reaches into the second one is as long as is counted. So with `last`.
 */
static struct blist_node node_of_children(const struct blist *bl, unsigned level, uint64_t i)
{
    const struct blist_node *node = bl->level[level - 1].node;
    uint64_t child = i << NODE_SHIFT, end = child + (1u << NODE_SHIFT);
    if (end > bl->level[level - 1].nnodes)
        end = bl->level[level - 1].nnodes;
    struct blist_node sum = node[child];
    while (++child < end) {
        uint8_t across = run_cap(node[child - 1].last + node[child].first);
        sum.best = across > sum.best ? across : sum.best;
        sum.best = node[child].best > sum.best ? node[child].best : sum.best;
    }
    sum.last = node[end - 1].last;
    return sum;
}

/* The words [first, last] changed: so do all nodes above them. */
static void blist_update(struct blist *bl, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++)
        bl->level[0].node[i] = node_of_word(bl->word[i]);
    for (unsigned level = 1; level < bl->nlevels; level++) {
        first >>= NODE_SHIFT;
        last >>= NODE_SHIFT;
        for (uint64_t i = first; i <= last; i++)
            bl->level[level].node[i] = node_of_children(bl, level, i);
    }
}

/* Makes the slots [slot, end) free or not; all of them are the other now (BL1). */
static void blist_set(struct blist *bl, uint64_t slot, uint64_t end, bool is_free)
{
    uint64_t first = slot >> WORD_SHIFT, last = (end - 1) >> WORD_SHIFT;
    for (uint64_t i = first; i <= last; i++) {
        uint64_t mask = UINT64_MAX;
        if (i == first)
            mask &= UINT64_MAX << slot % WORD_SLOTS;
        if (i == last)
            mask &= UINT64_MAX >> (WORD_SLOTS - 1 - (end - 1) % WORD_SLOTS);
        KASSERT((bl->word[i] & mask) == (is_free ? 0 : mask), "BL1");
        bl->word[i] ^= mask;
    }
    blist_update(bl, first, last);
    bl->avail += is_free ? end - slot : slot - end;
}

/* ---- finding a run ------------------------------------------------------------------------------------- */

/* Has a bit set where a run of `count` set bits of the word begins; 1 <= count <= BLIST_RUN_MAX. */
static uint64_t word_runs(uint64_t word, uint32_t count)
{
    while (count > 1) {
        uint32_t half = count / 2; /* a run of `count`, after this: one of count - half */
        word &= word >> half;
        count -= half;
    }
    return word;
}

/* The run that begins in node i of `level` and lies across its end: its first slot, or BLIST_NONE. The node's
 * `best` is below count. */
static uint64_t run_across(const struct blist *bl, unsigned level, uint64_t i, uint32_t count)
{
    const struct blist_node *node = bl->level[level].node;
    if (i + 1 == bl->level[level].nnodes || (uint32_t)(node[i].last + node[i + 1].first) < count)
        return BLIST_NONE;
    return ((i + 1) << (WORD_SHIFT + level * NODE_SHIFT)) - node[i].last;
}

/* The first run in node i of `level`, whose `best` says that it has one: down to its word. */
static uint64_t run_below(struct blist *bl, unsigned level, uint64_t i, uint32_t count)
{
    while (level > 0) {
        level--;
        i <<= NODE_SHIFT;
        for (;; i++) { /* ends within the node, which has a run (BL3) */
            bl->visits++;
            if (bl->level[level].node[i].best >= count)
                break;
            uint64_t slot = run_across(bl, level, i, count);
            if (slot != BLIST_NONE)
                return slot;
        }
    }
    uint64_t runs = word_runs(bl->word[i], count);
    KASSERT(runs != 0, "BL3");
    return (i << WORD_SHIFT) + (unsigned)__builtin_ctzll(runs);
}

/* The first run that begins in word i or behind it, or BLIST_NONE. */
static uint64_t run_from_word(struct blist *bl, uint64_t i, uint32_t count)
{
    for (unsigned level = 0; level < bl->nlevels && i < bl->level[level].nnodes; level++) {
        uint64_t end = blist_parents(i + 1) << NODE_SHIFT; /* from here on they have another parent */
        if (end > bl->level[level].nnodes)
            end = bl->level[level].nnodes;
        for (; i < end; i++) {
            bl->visits++;
            if (bl->level[level].node[i].best >= count)
                return run_below(bl, level, i, count);
            uint64_t slot = run_across(bl, level, i, count);
            if (slot != BLIST_NONE)
                return slot;
        }
        i = blist_parents(i); /* the one behind its parent */
    }
    return BLIST_NONE;
}

/* The first run at or behind `slot`, or BLIST_NONE. */
static uint64_t run_from(struct blist *bl, uint64_t slot, uint32_t count)
{
    uint64_t i = slot >> WORD_SHIFT;
    if (slot % WORD_SLOTS == 0)
        return run_from_word(bl, i, count);
    bl->visits++; /* a part of one word, of which no node knows */
    uint64_t word = bl->word[i] & UINT64_MAX << slot % WORD_SLOTS;
    uint64_t runs = word_runs(word, count);
    if (runs != 0)
        return (i << WORD_SHIFT) + (unsigned)__builtin_ctzll(runs);
    i++;
    if (i < bl->level[0].nnodes && word_last(word) + bl->level[0].node[i].first >= count)
        return (i << WORD_SHIFT) - word_last(word);
    return run_from_word(bl, i, count);
}

/* ---- the interface ------------------------------------------------------------------------------------- */

void blist_grow(struct blist *bl, uint64_t nslots)
{
    KASSERT(nslots >= bl->nslots && nslots <= bl->nslots_max, "BL4");
    uint64_t old = bl->nslots;
    bl->nslots = nslots;
    if (nslots > old)
        blist_set(bl, old, nslots, true);
}

uint64_t blist_alloc(struct blist *bl, uint32_t count)
{
    KASSERT(count >= 1 && count <= BLIST_RUN_MAX, "BL5");
    uint64_t slot = run_from(bl, bl->cursor, count);
    if (slot == BLIST_NONE && bl->cursor > 0)
        slot = run_from(bl, 0, count);
    if (slot == BLIST_NONE)
        return BLIST_NONE;
    blist_set(bl, slot, slot + count, false);
    bl->cursor = slot + count;
    return slot;
}

void blist_free(struct blist *bl, uint64_t slot, uint32_t count)
{
    KASSERT(count >= 1 && slot < bl->nslots && count <= bl->nslots - slot, "BL1");
    blist_set(bl, slot, slot + count, true);
}

uint64_t blist_avail(const struct blist *bl)
{
    return bl->avail;
}

uint64_t blist_visits(const struct blist *bl)
{
    return bl->visits;
}

static bool node_same(struct blist_node a, struct blist_node b)
{
    return a.first == b.first && a.best == b.best && a.last == b.last;
}

void blist_check(const struct blist *bl)
{
    uint64_t avail = 0, nwords = bl->level[0].nnodes;
    for (uint64_t i = 0; i < nwords; i++) {
        for (uint64_t word = bl->word[i]; word != 0; word &= word - 1)
            avail++;
        KASSERT(node_same(bl->level[0].node[i], node_of_word(bl->word[i])), "BL3");
        if ((i + 1) << WORD_SHIFT > bl->nslots) /* the word has slots behind the end */
            KASSERT(i << WORD_SHIFT >= bl->nslots ? bl->word[i] == 0
                                                  : bl->word[i] >> bl->nslots % WORD_SLOTS == 0,
                    "BL4");
    }
    KASSERT(avail == bl->avail, "BL2");
    for (unsigned level = 1; level < bl->nlevels; level++)
        for (uint64_t i = 0; i < bl->level[level].nnodes; i++)
            KASSERT(node_same(bl->level[level].node[i], node_of_children(bl, level, i)), "BL3");
}
