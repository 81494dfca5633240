/*
 * reserv_test.c: reservations against a naive model of them: which block is reserved for which range of which
 * object, and when it was last used. The model must allow the frame of every allocation, and must predict
 * exactly when a reservation is broken.
 */
#include "vm/vm_reserv.h"
#include "support/boot.h"
#include "support/parts.h"
#include "support/seed.h"
#include "vm/vm_object.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define N         VM_LEVEL_0_NPAGES
#define NBLOCKS   6
#define NFRAMES   (NBLOCKS * N + 100) /* the last 100 belong to no whole block */
#define NOBJECTS  4
#define SIZE_MAX_ (6 * N)

static const vm_pindex_t sizes[NOBJECTS] = {6 * N, 3 * N + 7, N,
                                            N - 1}; /* the last is too small for a reservation */
static struct vm_object *objects[NOBJECTS];
static struct vm_page *pages[NOBJECTS][SIZE_MAX_]; /* the model: which pages are resident */

static struct kept {
    struct vm_object *object; /* the block is reserved for this object, or NULL */
    vm_pindex_t first;
    uint64_t last_use;
    uint32_t used;
} kept[NBLOCKS];
static uint64_t now;

/* What a random run met: a run that never met it has not tested it. */
static struct {
    uint32_t made, broken, refused, full;
} met;

/* ---- the model --------------------------------------------------------------------------------------- */

static bool stretch_is_empty(int o, vm_pindex_t first)
{
    for (vm_pindex_t pindex = first; pindex < first + N && pindex < sizes[o]; pindex++)
        if (pages[o][pindex] != NULL)
            return false;
    return true;
}

static struct kept *kept_for(int o, vm_pindex_t first)
{
    for (int b = 0; b < NBLOCKS; b++)
        if (kept[b].object == objects[o] && kept[b].first == first)
            return &kept[b];
    return NULL;
}

static struct kept *kept_of_frame(vm_frame_t frame)
{
    return frame / N < NBLOCKS && kept[frame / N].object != NULL ? &kept[frame / N] : NULL;
}

/* The partly filled reservation that was used longest ago. */
static struct kept *oldest_partial(void)
{
    struct kept *oldest = NULL;

    for (int b = 0; b < NBLOCKS; b++)
        if (kept[b].object != NULL && kept[b].used < N &&
            (oldest == NULL || kept[b].last_use < oldest->last_use))
            oldest = &kept[b];
    return oldest;
}

static void model_use(struct kept *k, int used)
{
    k->used += (uint32_t)used;
    k->last_use = ++now;
    if (k->used == 0)
        k->object = NULL;
}

static uint32_t blocks_free(void)
{
    vm_lock(&vm_phys.lock);
    uint32_t n = vm_phys.nblocks[VM_LEVEL_0_ORDER] + (vm_page_count - vm_phys.fresh) / VM_LEVEL_0_NPAGES;
    vm_unlock(&vm_phys.lock);
    return n;
}

static uint32_t pages_listed(void)
{
    vm_lock(&vm_phys.lock);
    uint32_t n = vm_phys_listed();
    vm_unlock(&vm_phys.lock);
    return n;
}

/* ---- operations -------------------------------------------------------------------------------------- */

static void boot(void)
{
    parts_boot(NFRAMES, true);
    memset(pages, 0, sizeof pages);
    memset(kept, 0, sizeof kept);
    memset(&met, 0, sizeof met);
    now = 0;
    for (int o = 0; o < NOBJECTS; o++) {
        objects[o] = vm_object_allocate(OBJT_SWAP, sizes[o], NULL);
        assert_non_null(objects[o]);
    }
}

static void halt(void)
{
    for (int o = 0; o < NOBJECTS; o++)
        vm_object_deallocate(objects[o]);
    assert_int_equal(vm_phys.free_count, NFRAMES);
    assert_int_equal(pages_listed(), NFRAMES);
    assert_int_equal(blocks_free(), NBLOCKS);
    parts_halt();
}

static void alloc(int o, vm_pindex_t pindex)
{
    vm_pindex_t first = pindex / N * N;
    struct kept *k = kept_for(o, first);
    bool makes = k == NULL && first + N <= sizes[o] && stretch_is_empty(o, first) && blocks_free() > 0;
    uint32_t before = vm_phys.free_count, listed = pages_listed();

    vm_lock(&objects[o]->lock);
    struct vm_page *m = vm_page_alloc(objects[o], pindex, VM_ALLOC_NORMAL);
    if (m != NULL)
        vm_page_xunbusy(m);
    vm_unlock(&objects[o]->lock);
    assert_int_equal(m != NULL, before > 0);
    met.refused += m == NULL;
    if (m == NULL)
        return;
    vm_frame_t frame = vm_page_frame(m);
    pages[o][pindex] = m;
    assert_int_equal(vm_phys.free_count, before - 1);
    if (makes) {
        met.made++;
        k = &kept[frame / N];
        assert_null(kept_of_frame(frame));
        *k = (struct kept){objects[o], first, 0, 0};
    }
    if (k != NULL) { /* the frame that was reserved for it */
        assert_ptr_equal(k, kept_of_frame(frame));
        assert_int_equal(frame % N, pindex - first);
        model_use(k, 1);
    } else if (listed == 0) { /* one had to be broken */
        met.broken++;
        assert_non_null(oldest_partial());
        assert_ptr_equal(kept_of_frame(frame), oldest_partial());
        oldest_partial()->object = NULL;
    } else {
        assert_null(kept_of_frame(frame)); /* never one that is reserved for another object */
    }
}

static void release(int o, vm_pindex_t pindex)
{
    struct vm_page *m = pages[o][pindex];
    struct kept *k = kept_of_frame(vm_page_frame(m));

    vm_lock(&objects[o]->lock);
    vm_page_xbusy(m);
    vm_page_free(m);
    vm_unlock(&objects[o]->lock);
    pages[o][pindex] = NULL;
    if (k != NULL)
        model_use(k, -1);
}

static void break_all(int o)
{
    vm_reserv_break_all(objects[o]);
    for (int b = 0; b < NBLOCKS; b++)
        if (kept[b].object == objects[o])
            kept[b].object = NULL;
}

static void release_all(void)
{
    for (int o = 0; o < NOBJECTS; o++)
        for (vm_pindex_t pindex = 0; pindex < sizes[o]; pindex++)
            if (pages[o][pindex] != NULL)
                release(o, pindex);
}

static void compare_full(int o, vm_pindex_t pindex)
{
    const struct kept *k = kept_of_frame(vm_page_frame(pages[o][pindex]));

    vm_lock(&vm_phys.lock);
    bool full = vm_reserv_full(pages[o][pindex]);
    vm_unlock(&vm_phys.lock);
    assert_int_equal(full, k != NULL && k->used == N);
    met.full += full;
}

static void test_random(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(17));
    boot();
    for (uint64_t step = 0; step < test_rounds(4000); step++) {
        /*
         * Runs of pages, mostly short, sometimes a stretch as a whole; memory runs
         * full and empty again and again.
         */
        bool grow = prng_chance(&prng, step / 20 % 2 == 0 ? 800 : 300);
        int o = (int)prng_below(&prng, NOBJECTS);
        bool whole = prng_chance(&prng, 200);
        vm_pindex_t start = whole ? prng_below(&prng, sizes[o]) / N * N : prng_below(&prng, sizes[o]);
        vm_pindex_t end = start + (whole ? N : 1 + prng_below(&prng, 20));
        for (vm_pindex_t pindex = start; pindex < end && pindex < sizes[o]; pindex++) {
            if (grow == (pages[o][pindex] != NULL))
                continue;
            if (grow)
                alloc(o, pindex);
            else
                release(o, pindex);
            if (pages[o][pindex] != NULL)
                compare_full(o, pindex);
        }
        if (prng_chance(&prng, 5))
            break_all(o);
        if (step % 100 == 0)
            release_all();
        vm_reserv_check();
        if (step % 16 == 0)
            vm_page_check_all();
    }
    print_message("made %u, broken %u, refused %u, full %u\n", met.made, met.broken, met.refused, met.full);
    assert_true(met.made > 0 && met.broken > 0 && met.refused > 0 && met.full > 0);
    halt();
}

/*
 * Pages that are allocated in any order get frames in the order of the
 * object, and a full range is one aligned block.
 */
static void test_contiguous(void **state)
{
    (void)state;
    boot();
    for (uint32_t i = 0; i < N; i++)
        alloc(0, N + i * 187 % N); /* 187 and 512 have no common factor: every page once */
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(vm_page_frame(pages[0][N + i]), vm_page_frame(pages[0][N]) + i);
    assert_int_equal(vm_page_frame(pages[0][N]) % N, 0);
    compare_full(0, N);
    vm_reserv_check();
    halt();
}

/* A reservation never makes an allocation fail: the one that was used longest ago is broken first. */
static void test_last_page(void **state)
{
    (void)state;
    boot();
    for (uint32_t b = 0; b < NBLOCKS; b++)
        alloc(0, (vm_pindex_t)b * N);
    alloc(0, 1); /* block 0 was used again: the next to go is block 1 */
    for (vm_pindex_t pindex = 0; pindex < 101; pindex++)
        alloc(3, pindex);
    assert_null(kept_for(0, N));
    assert_non_null(kept_for(0, 0));
    while (vm_phys.free_count > 0)
        for (vm_pindex_t pindex = 0; pindex < sizes[0] && vm_phys.free_count > 0; pindex++)
            if (pages[0][pindex] == NULL)
                alloc(0, pindex);
    vm_page_check_all();
    assert_int_equal(vm_phys.free_low, 0);
    halt();
}

static bool reclaim(unsigned order)
{
    vm_lock(&vm_phys.lock);
    bool broken = vm_reserv_reclaim_inactive(order);
    vm_unlock(&vm_phys.lock);
    vm_reserv_check();
    return broken;
}

/* Of the reservations whose unused frames have such a block, the one that was used longest ago goes. */
static void test_blocks(void **state)
{
    (void)state;
    boot();
    for (vm_pindex_t pindex = 0; pindex < N; pindex += 4) /* its blocks: 1 and 2-3 of each four */
        alloc(0, pindex);
    alloc(0, N + 255); /* 256-511, 0-127, … */
    alloc(0, 2 * N);   /* the same */
    assert_false(reclaim(9));
    assert_int_equal(pages_listed(), (NBLOCKS - 3) * N + 100);
    assert_true(reclaim(2));
    assert_int_equal(pages_listed(), (NBLOCKS - 2) * N + 99);
    assert_true(reclaim(0));
    assert_int_equal(pages_listed(), (NBLOCKS - 2) * N + 99 + N / 4 * 3);
    assert_true(reclaim(8));
    assert_false(reclaim(0));
    assert_int_equal(pages_listed(), vm_phys.free_count);
    memset(kept, 0, sizeof kept);
    release_all();
    halt();
}

static void test_off(void **state)
{
    (void)state;
    parts_boot(NFRAMES, false);
    struct vm_object *object = vm_object_allocate(OBJT_SWAP, 6 * N, NULL);
    vm_lock(&object->lock);
    vm_lock(&vm_phys.lock);
    assert_null(vm_reserv_alloc_page(object, 0));
    assert_false(vm_reserv_free_page(vm_page_of(0)));
    assert_false(vm_reserv_reclaim_inactive(0));
    assert_false(vm_reserv_full(vm_page_of(0)));
    vm_unlock(&vm_phys.lock);
    vm_unlock(&object->lock);
    vm_reserv_break_all(object);
    vm_reserv_check();
    vm_object_deallocate(object);
    parts_halt();
}

static void lose_free_frames(void *arg)
{
    (void)arg;
    boot();
    alloc(0, 0);
    vm_lock(&vm_phys.lock);
    vm_phys_freecnt_adj(-1);
    vm_unlock(&vm_phys.lock);
    vm_reserv_check();
}

static void free_unused_frame(void *arg)
{
    (void)arg;
    boot();
    alloc(0, 0);
    vm_lock(&vm_phys.lock);
    (void)!vm_reserv_free_page(pages[0][0] + 1);
    vm_unlock(&vm_phys.lock);
}

static void test_asserts(void **state)
{
    (void)state;
    assert_true(test_panics(lose_free_frames, NULL, "PH3"));
    assert_true(test_panics(free_unused_frame, NULL, "RV4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random), cmocka_unit_test(test_contiguous), cmocka_unit_test(test_last_page),
        cmocka_unit_test(test_blocks), cmocka_unit_test(test_off),        cmocka_unit_test(test_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
