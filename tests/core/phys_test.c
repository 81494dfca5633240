/*
 * phys_test.c: the buddy allocator against a plain map of which frames are
 * free. Freed buddies always join, so a block can be allocated exactly when an
 * aligned run of that many frames is free, which the model finds by searching.
 */
#include "vm/vm_phys.h"
#include "support/boot.h"
#include "support/parts.h"
#include "support/seed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define NFRAMES_MAX 3000
#define NBLOCKS     NFRAMES_MAX

static bool in_use[NFRAMES_MAX];
static struct block {
    vm_frame_t frame;
    unsigned order;
} blocks[NBLOCKS];
static uint32_t nblocks;

static bool run_is_free(vm_frame_t frame, unsigned order)
{
    for (uint32_t i = 0; i < 1u << order; i++)
        if (in_use[frame + i])
            return false;
    return true;
}

static bool model_has(unsigned order)
{
    for (vm_frame_t frame = 0; frame + (1u << order) <= vm_page_count; frame += 1u << order)
        if (run_is_free(frame, order))
            return true;
    return false;
}

static void set_use(const struct block *block, bool use)
{
    for (uint32_t i = 0; i < 1u << block->order; i++)
        in_use[block->frame + i] = use;
}

static void try_alloc(unsigned order)
{
    bool expected = model_has(order);

    vm_lock(&vm_phys.lock);
    struct vm_page *m = vm_phys_alloc_pages(order);
    if (m != NULL)
        vm_phys_freecnt_adj(-(1 << order));
    vm_unlock(&vm_phys.lock);
    assert_int_equal(m != NULL, expected);
    if (m == NULL)
        return;
    struct block *block = &blocks[nblocks++];
    *block = (struct block){vm_page_frame(m), order};
    assert_int_equal(block->frame % (1u << order), 0);
    assert_true(block->frame + (1u << order) <= vm_page_count);
    assert_true(run_is_free(block->frame, order));
    set_use(block, true);
}

/* Frees a block, or a part of it: the rest stays allocated as smaller blocks. */
static void free_some(struct prng *prng)
{
    struct block *block = &blocks[prng_below(prng, nblocks)];

    while (block->order > 0 && prng_chance(prng, 300)) {
        block->order--;
        struct block *other = &blocks[nblocks++];
        *other = (struct block){block->frame + (1u << block->order), block->order};
    }
    vm_lock(&vm_phys.lock);
    vm_phys_free_pages(vm_page_of(block->frame), block->order);
    vm_phys_freecnt_adj(1 << block->order);
    vm_unlock(&vm_phys.lock);
    set_use(block, false);
    *block = blocks[--nblocks];
}

static uint32_t model_free(void)
{
    uint32_t n = 0;

    for (uint32_t frame = 0; frame < vm_page_count; frame++)
        n += !in_use[frame];
    return n;
}

static void run_random(uint32_t nframes, uint64_t seed, uint64_t rounds)
{
    struct prng prng;
    uint32_t low = nframes;

    prng_init(&prng, seed);
    parts_boot(nframes, false);
    memset(in_use, 0, sizeof in_use);
    nblocks = 0;
    for (uint64_t step = 0; step < rounds; step++) {
        bool fill = step / 500 % 2 == 0;
        if (nblocks == 0 || prng_chance(&prng, fill ? 700 : 300))
            try_alloc((unsigned)(prng_chance(&prng, 700) ? 0 : prng_below(&prng, VM_PHYS_ORDERS)));
        else
            free_some(&prng);
        low = model_free() < low ? model_free() : low;
        assert_int_equal(vm_phys.free_count, model_free());
        assert_int_equal(vm_phys.free_low, low);
        vm_phys_check();
    }
    while (nblocks > 0)
        free_some(&prng);
    /* All frames are free: those that were used are in blocks as large as can be. */
    assert_true(vm_phys.fresh == nframes || vm_phys.fresh % (1u << (VM_PHYS_ORDERS - 1)) == 0);
    assert_int_equal(vm_phys.nblocks[VM_PHYS_ORDERS - 1], vm_phys.fresh >> (VM_PHYS_ORDERS - 1));
    for (unsigned order = 0; order < VM_PHYS_ORDERS - 1; order++)
        assert_int_equal(vm_phys.nblocks[order], vm_phys.fresh >> order & 1);
    parts_halt();
}

static void test_random(void **state)
{
    static const uint32_t sizes[] = {1, 2, 17, 511, 512, 513, 1535, NFRAMES_MAX};

    (void)state;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        run_random(sizes[i], test_seed(13) + i, test_rounds(2000));
}

static void free_part_of_free(void *arg)
{
    (void)arg;
    parts_boot(64, false);
    vm_lock(&vm_phys.lock);
    struct vm_page *m = vm_phys_alloc_pages(2);
    vm_phys_free_pages(m, 2);
    vm_phys_free_pages(m, 6); /* the first frame of a free block, which is all of memory */
    vm_unlock(&vm_phys.lock);
}

static void free_misaligned(void *arg)
{
    (void)arg;
    parts_boot(64, false);
    vm_lock(&vm_phys.lock);
    struct vm_page *m = vm_phys_alloc_pages(3);
    vm_phys_free_pages(m + 1, 1);
    vm_unlock(&vm_phys.lock);
}

static void corrupt_order(void *arg)
{
    (void)arg;
    parts_boot(64, false);
    vm_lock(&vm_phys.lock);
    vm_phys_free_pages(vm_phys_alloc_pages(6), 6);
    vm_unlock(&vm_phys.lock);
    vm_phys_check(); /* so far in order */
    vm_page_of(5)->order = 0;
    vm_phys_check();
}

static void touch_fresh(void *arg)
{
    (void)arg;
    parts_boot(64, false);
    vm_page_of(5)->order = 1;
    vm_phys_check();
}

/* Memory for descriptors is taken as frames come into use, in the order of the frames. */
static void test_fresh(void **state)
{
    const uint32_t block = 1u << (VM_PHYS_ORDERS - 1);
    (void)state;
    parts_boot(3 * block + 1, false);
    assert_int_equal(vm_phys.fresh, 0);
    vm_lock(&vm_phys.lock);
    struct vm_page *m = vm_phys_alloc_pages(0);
    assert_int_equal(vm_phys.fresh, block);
    vm_phys_free_pages(m, 0);
    struct vm_page *large = vm_phys_alloc_pages(VM_PHYS_ORDERS - 1); /* what was used before is used again */
    assert_int_equal(vm_phys.fresh, block);
    vm_phys_free_pages(large, VM_PHYS_ORDERS - 1);
    assert_int_equal(vm_phys_listed(), 3 * block + 1);
    vm_unlock(&vm_phys.lock);
    vm_phys_check();
    parts_halt();
}

static void lose_buddies(void *arg)
{
    (void)arg;
    parts_boot(64, false);
    vm_lock(&vm_phys.lock);
    struct vm_page *m = vm_phys_alloc_pages(6);
    vm_phys_free_pages(m, 5);
    vm_unlock(&vm_phys.lock);
    vm_phys_check(); /* correct so far */
    vm_lock(&vm_phys.lock);
    vm_page_of(0)->order = VM_PHYS_NOFREE; /* hides the block from its buddy, so that they do not join */
    vm_phys_free_pages(m + 32, 5);
    vm_page_of(0)->order = 5;
    vm_unlock(&vm_phys.lock);
    vm_phys_check();
}

static void test_asserts(void **state)
{
    (void)state;
    assert_true(test_panics(free_part_of_free, NULL, "PH1"));
    assert_true(test_panics(free_misaligned, NULL, "PH1"));
    assert_true(test_panics(corrupt_order, NULL, "PH1"));
    assert_true(test_panics(lose_buddies, NULL, "PH2"));
    assert_true(test_panics(touch_fresh, NULL, "PH4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
