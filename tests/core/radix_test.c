/*
 * radix_test.c: the radix tree against a plain list of (index, page, marks), with indices from several
 * distributions; failing allocations; and what nodes cost in the worst known cases.
 */
#include "vm/vm_radix.h"
#include "lib/errno.h"
#include "support/boot.h"
#include "support/parts.h"
#include "support/seed.h"
#include "vm/vm_reserv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NPAGES 300

static bool in_tree[NPAGES];      /* the model: page i is in, at its pindex, … */
static unsigned marks_of[NPAGES]; /* … with these marks */
static struct vm_radix rtree;

/* ---- the model --------------------------------------------------------------------------------------- */

static struct vm_page *model_at(vm_pindex_t pindex)
{
    for (uint32_t i = 0; i < NPAGES; i++)
        if (in_tree[i] && vm_page_of(i)->pindex == pindex)
            return vm_page_of(i);
    return NULL;
}

static struct vm_page *model_ge(vm_pindex_t pindex, unsigned marks)
{
    struct vm_page *best = NULL;

    for (uint32_t i = 0; i < NPAGES; i++) {
        struct vm_page *m = vm_page_of(i);
        if (in_tree[i] && (marks == 0 || (marks_of[i] & marks) != 0) && m->pindex >= pindex &&
            (best == NULL || m->pindex < best->pindex))
            best = m;
    }
    return best;
}

static struct vm_page *model_le(vm_pindex_t pindex)
{
    struct vm_page *best = NULL;

    for (uint32_t i = 0; i < NPAGES; i++) {
        struct vm_page *m = vm_page_of(i);
        if (in_tree[i] && m->pindex <= pindex && (best == NULL || m->pindex > best->pindex))
            best = m;
    }
    return best;
}

static unsigned model_marks(void)
{
    unsigned marks = 0;

    for (uint32_t i = 0; i < NPAGES; i++)
        marks |= in_tree[i] ? marks_of[i] : 0;
    return marks;
}

/* ---- random operations ------------------------------------------------------------------------------- */

enum spread { DENSE, CLUSTERS, SPARSE, EDGES, POWERS, NSPREADS };

static vm_pindex_t random_pindex(struct prng *prng, enum spread spread)
{
    switch (spread) {
    case DENSE:
        return prng_below(prng, 2 * NPAGES);
    case CLUSTERS: /* a few pages together, the clusters far apart */
        return (prng_below(prng, 40) << 30) + prng_below(prng, 10);
    case SPARSE:
        return prng_next(prng);
    case EDGES: /* around multiples of 16^n, and around both ends */
        return ((uint64_t)1 << (4 * prng_below(prng, 16))) * prng_below(prng, 17) + prng_below(prng, 3) - 1;
    case POWERS: /* deep chains: one branch at each level */
        return (uint64_t)1 << prng_below(prng, 64) | prng_below(prng, 2);
    case NSPREADS:
        break;
    }
    abort();
}

/* An index to look up: often one that is in the tree, or its neighbour. */
static vm_pindex_t random_query(struct prng *prng, enum spread spread)
{
    if (prng_chance(prng, 500))
        return vm_page_of((vm_frame_t)prng_below(prng, NPAGES))->pindex + prng_below(prng, 3) - 1;
    return random_pindex(prng, spread);
}

static void compare_lookups(struct prng *prng, enum spread spread)
{
    vm_pindex_t pindex = random_query(prng, spread);

    assert_ptr_equal(vm_radix_lookup(&rtree, pindex), model_at(pindex));
    assert_ptr_equal(vm_radix_lookup_ge(&rtree, pindex), model_ge(pindex, 0));
    assert_ptr_equal(vm_radix_lookup_le(&rtree, pindex), model_le(pindex));
    for (unsigned mark = 0; mark < RADIX_MARKS; mark++)
        assert_ptr_equal(vm_radix_lookup_mark(&rtree, pindex, mark), model_ge(pindex, 1u << mark));
    assert_int_equal(rtree.root_marks, model_marks());
}

static void step_absent(struct prng *prng, enum spread spread, uint32_t i)
{
    struct vm_page *m = vm_page_of(i);
    vm_pindex_t pindex = random_pindex(prng, spread);

    if (model_at(pindex) != NULL)
        return;
    m->pindex = pindex;
    size_t bytes = vm_radix_node_bytes();
    bool fail = prng_chance(prng, 100);
    parts_fail_nth(fail);
    int rc = vm_radix_insert(&rtree, m);
    parts_fail_nth(0);
    if (rc != 0) {
        assert_true(fail);
        assert_int_equal(rc, -ENOMEM);
        assert_int_equal(vm_radix_node_bytes(), bytes);
        return;
    }
    in_tree[i] = true;
    marks_of[i] = 0;
}

static void step_present(struct prng *prng, uint32_t i, bool grow)
{
    struct vm_page *m = vm_page_of(i);
    unsigned mark = (unsigned)prng_below(prng, RADIX_MARKS);

    if (prng_chance(prng, grow ? 150 : 500)) {
        /* a removal that finds no memory for a smaller node still removes */
        parts_fail_nth(prng_chance(prng, 200));
        vm_radix_remove(&rtree, m);
        parts_fail_nth(0);
        in_tree[i] = false;
    } else if (prng_chance(prng, 600)) {
        vm_radix_set_mark(&rtree, m, mark);
        marks_of[i] |= 1u << mark;
    } else {
        vm_radix_clear_mark(&rtree, m, mark);
        marks_of[i] &= ~(1u << mark);
    }
    for (mark = 0; in_tree[i] && mark < RADIX_MARKS; mark++)
        assert_int_equal(vm_radix_get_mark(&rtree, m, mark), marks_of[i] >> mark & 1);
}

static void run_random(enum spread spread, uint64_t seed)
{
    struct prng prng;

    prng_init(&prng, seed + spread);
    parts_boot(NPAGES, false);
    memset(in_tree, 0, sizeof in_tree);
    rtree = (struct vm_radix){0};
    for (uint64_t step = 0; step < test_rounds(12000); step++) {
        bool grow = step / 1500 % 2 == 0;
        uint32_t i = (uint32_t)prng_below(&prng, NPAGES);
        if (in_tree[i])
            step_present(&prng, i, grow);
        else
            step_absent(&prng, spread, i);
        compare_lookups(&prng, spread);
        vm_radix_check(&rtree);
    }
    for (uint32_t i = 0; i < NPAGES; i++)
        if (in_tree[i])
            vm_radix_remove(&rtree, vm_page_of(i));
    assert_int_equal(rtree.root, 0);
    assert_int_equal(vm_radix_node_bytes(), 0);
    parts_halt();
}

static void test_random(void **state)
{
    (void)state;
    uint64_t seed = test_seed(14);
    for (enum spread spread = 0; spread < NSPREADS; spread++)
        run_random(spread, seed);
}

/* Every allocation on the way fails once; the insertion that failed succeeds afterwards. */
static void test_fail_nth(void **state)
{
    (void)state;
    for (uint32_t nth = 1; nth < 2000; nth++) {
        struct prng prng;
        uint32_t failures = 0;
        prng_init(&prng, 15);
        parts_boot(200, false);
        rtree = (struct vm_radix){0};
        parts_fail_nth(nth);
        for (uint32_t i = 0; i < 200; i++) {
            vm_page_of(i)->pindex = (uint64_t)i * i * 7;
            if (vm_radix_insert(&rtree, vm_page_of(i)) != 0) {
                failures++;
                assert_null(vm_radix_lookup(&rtree, vm_page_of(i)->pindex));
                assert_int_equal(vm_radix_insert(&rtree, vm_page_of(i)), 0);
            }
        }
        vm_radix_check(&rtree);
        for (uint32_t i = 0; i < 200; i++)
            assert_ptr_equal(vm_radix_lookup(&rtree, (uint64_t)i * i * 7), vm_page_of(i));
        parts_halt();
        if (failures == 0) {
            assert_in_range(nth, 20, 2000); /* the loop made at least one allocation fail */
            return;
        }
        assert_int_equal(failures, 1);
    }
    fail();
}

/* ---- cost -------------------------------------------------------------------------------------------- */

/* Each bit of i is a digit of its own: as many nodes of two children as there can be. */
static vm_pindex_t spread_bits(uint32_t i)
{
    vm_pindex_t pindex = 0;

    for (unsigned bit = 0; bit < 16; bit++)
        pindex |= (vm_pindex_t)(i >> bit & 1) << (4 * bit);
    return pindex;
}

static vm_pindex_t cost_pindex(struct prng *prng, unsigned pattern, uint32_t i, uint32_t n)
{
    switch (pattern) {
    case 0: /* a whole file is resident */
        return i;
    case 1: /* every eighth page */
        return (vm_pindex_t)i * 8;
    case 2:
        return spread_bits(i);
    case 3: /* four of sixteen */
        return (vm_pindex_t)(i / 4) * 16 + i % 4;
    default: /* pairs of random pages of a file 2^pattern times the memory */
        return prng_below(prng, (vm_pindex_t)n << (pattern - 4)) * 2 + i % 2;
    }
}

static void test_cost(void **state)
{
    (void)state;
    const uint32_t n = 8192;
    struct prng prng;

    prng_init(&prng, test_seed(16));
    for (unsigned pattern = 0; pattern < 20; pattern++) {
        uint32_t used = 0;
        parts_boot(n, true);
        rtree = (struct vm_radix){0};
        for (uint32_t i = 0; i < n; i++) {
            struct vm_page *m = vm_page_of(used);
            m->pindex = cost_pindex(&prng, pattern, i, n);
            if (vm_radix_lookup(&rtree, m->pindex) == NULL) {
                assert_int_equal(vm_radix_insert(&rtree, m), 0);
                used++;
            }
        }
        vm_radix_check(&rtree);
        size_t per_page = sizeof(struct vm_page) * 1000 + vm_radix_node_bytes() * 1000 / used +
                          VM_RESERV_BYTES * 1000 / VM_LEVEL_0_NPAGES;
        print_message("pattern %2u: %zu.%03zu bytes for each page\n", pattern, per_page / 1000,
                      per_page % 1000);
        assert_in_range(per_page, 40000, 68000);
        parts_halt();
    }
}

/* ---- what must panic --------------------------------------------------------------------------------- */

/* Pages 0 … 4 at indices 0 … 4. */
static void insert_five(void)
{
    parts_boot(16, false);
    rtree = (struct vm_radix){0};
    for (uint32_t i = 0; i < 5; i++) {
        vm_page_of(i)->pindex = i;
        if (vm_radix_insert(&rtree, vm_page_of(i)) != 0)
            abort();
    }
}

static void insert_twice(void *arg)
{
    (void)arg;
    insert_five();
    vm_page_of(5)->pindex = 3;
    if (vm_radix_insert(&rtree, vm_page_of(5)) != 0)
        abort();
}

static void remove_absent(void *arg)
{
    (void)arg;
    insert_five();
    vm_page_of(5)->pindex = 3;
    vm_radix_remove(&rtree, vm_page_of(5));
}

static void corrupt_index(void *arg)
{
    (void)arg;
    insert_five();
    vm_page_of(2)->pindex = 77;
    vm_radix_check(&rtree);
}

static void corrupt_marks(void *arg)
{
    (void)arg;
    insert_five();
    rtree.root_marks = 1;
    vm_radix_check(&rtree);
}

static void test_asserts(void **state)
{
    (void)state;
    assert_true(test_panics(insert_twice, NULL, "RX1"));
    assert_true(test_panics(remove_absent, NULL, "RX1"));
    assert_true(test_panics(corrupt_index, NULL, "RX2"));
    assert_true(test_panics(corrupt_marks, NULL, "RX3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_fail_nth),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
