/*
 * object_test.c: objects: references, chains, removal of pages against a plain array, copies above.
 */
#include "vm/vm_object.h"
#include "vm/vm_phys.h"
#include "lib/errno.h"
#include "support/boot.h"
#include "support/pages.h"
#include "vm/vm_rmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct vm_object *anonymous(vm_pindex_t size)
{
    struct vm_object *object = vm_object_allocate(OBJT_SWAP, size, NULL);
    assert_non_null(object);
    return object;
}

static struct vm_object *shadow_of(struct vm_object *object, vm_pindex_t at, vm_pindex_t length)
{
    vm_object_reference(object); /* the test's own stays */
    assert_int_equal(vm_object_shadow(&object, &at, length), 0);
    assert_int_equal(at, 0);
    return object;
}

/* ---- birth and end ------------------------------------------------------------------------------------- */

static void references_keep_an_object(void **state)
{
    (void)state;
    struct sim_params params = test_params(1);
    test_boot(&params);
    struct vm_object *object = anonymous(8);
    test_page(object, 3, 0xa5, PG_DIRTY);
    vm_object_reference(object);
    vm_object_deallocate(object);
    assert_true(test_page_is(object, 3, 0xa5));
    vm_object_check_all();
    vm_object_deallocate(object);
    sim_shutdown(); /* panics if a page or an object was left */
}

static void no_memory_makes_no_object(void **state)
{
    (void)state;
    struct sim_params params = test_params(2);
    test_boot(&params);
    sim_torture()->fail_alloc_nth = 1;
    assert_null(vm_object_allocate(OBJT_SWAP, 8, NULL));
    sim_torture()->fail_map_nth = 1;
    assert_null(vm_object_allocate(OBJT_SWAP, 8, NULL));

    struct vm_object *object = anonymous(8), *same = object;
    vm_pindex_t pindex = 5;
    sim_torture()->fail_alloc_nth = 1;
    assert_int_equal(vm_object_shadow(&same, &pindex, 3), -ENOMEM);
    assert_true(same == object && pindex == 5);
    vm_object_deallocate(object);
    sim_shutdown();
}

static void a_chain_ends_from_the_top(void **state)
{
    (void)state;
    struct sim_params params = test_params(3);
    test_boot(&params);
    struct vm_object *bottom = anonymous(100), *top = bottom;
    for (uint32_t i = 0; i < 1000; i++) { /* each shadow takes the reference to the one below */
        vm_pindex_t pindex = i == 0 ? 7 : 0;
        assert_int_equal(vm_object_shadow(&top, &pindex, 50), 0);
        if (i % 10 == 0)
            test_page(top, i % 50, (uint8_t)i, PG_DIRTY);
    }
    assert_true(bottom->shadow_head != NULL);
    vm_object_check_all();
    vm_object_deallocate(top);
    sim_shutdown();
}

static void end_while_busy(void *arg)
{
    struct vm_object *object = arg;
    vm_object_deallocate(object);
}

static void an_end_waits_for_transfers_and_for_no_holder(void **state)
{
    (void)state;
    struct sim_params params = test_params(4);
    test_boot(&params);
    struct vm_object *object = anonymous(8);
    struct vm_page *busy = test_page_busy(object, 1), *held = test_page(object, 2, 1, PG_DIRTY);
    vm_lock(&object->lock);
    vm_page_hold(held);
    vm_object_pip_add(object);
    vm_unlock(&object->lock);
    sim_run("end", end_while_busy, object);
    sim_sleep_ns(10000000);
    assert_int_equal(object->resident_count, 2); /* its paging_in_progress keeps it from collapsing */
    vm_lock(&object->lock);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
    sim_sleep_ns(10000000);
    vm_lock(&object->lock);
    assert_true(vm_page_lookup(object, 1) == busy); /* the busy page's owner may still use it */
    vm_page_xunbusy(busy);
    vm_object_pip_add(object); /* as the page daemon may do while the object has pages */
    vm_unlock(&object->lock);
    sim_sleep_ns(10000000);
    vm_lock(&object->lock);
    assert_int_equal(object->resident_count, 0);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
    sim_join_all(); /* the object is freed, and the page belongs to its last user */
    uint32_t free = vm_phys.free_count;
    assert_true(held->object == NULL && held->hold_count == (VM_HOLD_ORPHAN | 1));
    sim_vm_check();
    vm_page_unhold(held);
    assert_int_equal(vm_phys.free_count, free + 1);
    sim_shutdown();
}

/* ---- removal ------------------------------------------------------------------------------------------- */

#define PAGES 300

enum place { ABSENT, CLEAN, DIRTY, WIRED, HELD };

static enum place random_place(struct prng *prng)
{
    static const enum place places[] = {ABSENT, ABSENT, CLEAN, CLEAN, CLEAN, DIRTY, DIRTY, WIRED, HELD};
    return places[prng_below(prng, sizeof places / sizeof *places)];
}

static void make_place(struct vm_object *object, vm_pindex_t pindex, enum place place)
{
    if (place == ABSENT)
        return;
    struct vm_page *m = test_page(object, pindex, (uint8_t)pindex, place == DIRTY ? PG_DIRTY : 0);
    vm_lock(&object->lock);
    if (place == WIRED)
        vm_page_wire(m);
    if (place == HELD)
        vm_page_hold(m);
    vm_unlock(&object->lock);
}

static bool inside_all(vm_pindex_t i, vm_pindex_t start, vm_pindex_t end, bool clean_only)
{
    return !clean_only && i >= start && i < end;
}

/*
 * A round: random pages, a random range removed, and the right pages
 * remain. A held page that was removed has no object.
 */
static void remove_round(struct vm_object *object, struct prng *prng)
{
    enum place model[PAGES];
    bool clean_only = prng_chance(prng, 500);
    vm_pindex_t start = prng_below(prng, PAGES), end = start + prng_below(prng, PAGES - start + 1);
    struct vm_page *held[PAGES];
    for (vm_pindex_t i = 0; i < PAGES; i++) {
        model[i] = random_place(prng);
        make_place(object, i, model[i]);
        vm_lock(&object->lock);
        held[i] = model[i] == HELD ? vm_page_lookup(object, i) : NULL;
        vm_unlock(&object->lock);
    }
    vm_lock(&object->lock);
    vm_object_page_remove(object, start, end, clean_only);
    vm_unlock(&object->lock);
    for (vm_pindex_t i = 0; i < PAGES; i++) {
        bool inside = i >= start && i < end;
        bool gone = model[i] == ABSENT || (inside && (!clean_only || model[i] == CLEAN));
        assert_int_equal(test_page_flags(object, i) != 0, !gone);
    }
    vm_object_check(object);
    vm_lock(&object->lock);
    for (vm_pindex_t i = 0; i < PAGES; i++)
        assert_true(held[i] == NULL ||
                    held[i]->object == (inside_all(i, start, end, clean_only) ? NULL : object));
    vm_object_page_remove(object, 0, PAGES, false);
    for (vm_pindex_t i = 0; i < PAGES; i++)
        if (held[i] != NULL)
            vm_page_unhold(held[i]);
    vm_unlock(&object->lock);
    assert_int_equal(object->resident_count, 0);
}

static void removal_agrees_with_an_array(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(5));
    struct sim_params params = test_params(prng_next(&prng));
    params.nframes = 1024;
    test_boot(&params);
    struct vm_object *object = anonymous(PAGES);
    for (uint64_t round = 0; round < test_rounds(60); round++)
        remove_round(object, &prng);
    vm_object_deallocate(object);
    sim_shutdown();
}

/* ---- copies above -------------------------------------------------------------------------------------- */

#define NSHADOWS 12
#define INDICES  24

struct family {
    struct vm_object *bottom;
    struct vm_object *shadow[NSHADOWS];
    vm_pindex_t offset[NSHADOWS]; /* to the bottom's indices */
    unsigned flags[NSHADOWS][INDICES];
};

static void family_grow(struct family *family, struct prng *prng)
{
    family->bottom = anonymous(INDICES);
    for (uint32_t s = 0; s < NSHADOWS; s++) {
        uint32_t parent = (uint32_t)prng_below(prng, s + 1); /* s: the bottom itself */
        vm_pindex_t base = parent == s ? 0 : family->offset[parent], at = prng_below(prng, 4);
        struct vm_object *below = parent == s ? family->bottom : family->shadow[parent];
        family->shadow[s] = shadow_of(below, at, INDICES);
        family->offset[s] = base + at;
        for (uint32_t i = 0; i < INDICES; i++) {
            static const unsigned kinds[] = {0, PG_COPY, PG_COPY, PG_DIRTY};
            family->flags[s][i] = kinds[prng_below(prng, 4)];
            if (family->flags[s][i] != 0)
                test_page(family->shadow[s], i, (uint8_t)i, family->flags[s][i]);
        }
    }
}

static void family_end(struct family *family)
{
    for (uint32_t s = 0; s < NSHADOWS; s++)
        vm_object_deallocate(family->shadow[s]);
    vm_object_deallocate(family->bottom);
}

/*
 * Of the pages above [start, end) of the bottom object, those with one of
 * the bits of `what` were removed; all others remain.
 */
static void family_check(const struct family *family, vm_pindex_t start, vm_pindex_t end, unsigned what)
{
    for (uint32_t s = 0; s < NSHADOWS; s++) {
        for (uint32_t i = 0; i < INDICES; i++) {
            vm_pindex_t below = i + family->offset[s];
            bool gone = below >= start && below < end && (family->flags[s][i] & what) != 0;
            bool there = test_page_flags(family->shadow[s], i) != 0;
            assert_int_equal(there, family->flags[s][i] != 0 && !gone);
        }
    }
}

/* Grows a random family, has `change` change it and check it, and ends it: test_rounds(20) times. */
static void family_rounds(uint64_t seed, void (*change)(struct family *family, struct prng *prng))
{
    struct prng prng;
    prng_init(&prng, test_seed(seed));
    for (uint64_t round = 0; round < test_rounds(20); round++) {
        struct family family;
        struct sim_params params = test_params(prng_next(&prng));
        params.nframes = 1024;
        test_boot(&params);
        family_grow(&family, &prng);
        change(&family, &prng);
        family_end(&family);
        sim_shutdown();
    }
}

static void change_the_original(struct family *family, struct prng *prng)
{
    vm_pindex_t pindex = prng_below(prng, INDICES);
    struct vm_page *m = test_page(family->bottom, pindex, 1, PG_COPIED);
    vm_lock(&family->bottom->lock);
    assert_int_equal(vm_object_invalidate_copies(family->bottom, m), 0);
    assert_int_equal(m->flags & PG_COPIED, 0);
    vm_unlock(&family->bottom->lock);
    family_check(family, pindex, pindex + 1, PG_COPY);
}

static void copies_go_when_the_original_changes(void **state)
{
    (void)state;
    family_rounds(6, change_the_original);
}

static void truncate_the_original(struct family *family, struct prng *prng)
{
    vm_pindex_t start = prng_below(prng, INDICES), end = start + prng_below(prng, INDICES);
    vm_object_remove_above(family->bottom, start, end, false);
    family_check(family, start, end, PG_COPY | PG_DIRTY);
}

static void truncation_takes_private_pages_too(void **state)
{
    (void)state;
    family_rounds(7, truncate_the_original);
}

static void what_is_kept_for_a_copy_is_not_waited_for(void **state)
{
    (void)state;
    struct sim_params params = test_params(8);
    test_boot(&params);
    struct vm_object *bottom = anonymous(4), *shadow = shadow_of(bottom, 0, 4);
    struct vm_page *place = test_page_busy(shadow, 1), *held = test_page(shadow, 2, 9, PG_COPY);
    vm_lock(&shadow->lock);
    vm_page_hold(held);
    vm_unlock(&shadow->lock);
    vm_object_remove_above(bottom, 0, 4, true); /* a deadlock if it waited */
    vm_lock(&shadow->lock);
    assert_true(vm_page_lookup(shadow, 1) == place);
    assert_null(vm_page_lookup(shadow, 2)); /* the call still holds the page, which has no object any more */
    assert_null(held->object);
    vm_unlock(&shadow->lock);
    vm_page_unhold(held);
    vm_object_remove_above(bottom, 0, 4, false);
    vm_lock(&shadow->lock);
    assert_true(vm_page_lookup(shadow, 1) == place);
    assert_null(vm_page_lookup(shadow, 2));
    assert_int_equal(vm_object_invalidate_copies(shadow, place), 0); /* nothing above */
    vm_page_free(place);
    vm_unlock(&shadow->lock);
    vm_object_deallocate(shadow);
    vm_object_deallocate(bottom);
    sim_shutdown();
}

/* Shadows come and go while copies are dropped. */
static void come_and_go(void *arg)
{
    struct vm_object *bottom = arg;
    for (uint32_t i = 0; i < 200; i++) {
        struct vm_object *shadow = shadow_of(bottom, 0, 4);
        test_page(shadow, i % 4, (uint8_t)i, PG_COPY);
        struct vm_object *higher = shadow_of(shadow, 0, 4);
        test_page(higher, i % 4, (uint8_t)i, PG_COPY);
        sim_yield();
        vm_object_deallocate(shadow);
        sim_yield();
        vm_object_deallocate(higher);
    }
}

static void shadows_end_under_the_walk(void **state)
{
    (void)state;
    struct sim_params params = test_params_hostile(test_seed(9));
    params.torture.preempt_permille = 100;
    test_boot(&params);
    struct vm_object *bottom = anonymous(4);
    for (uint32_t i = 0; i < 4; i++)
        sim_run("come and go", come_and_go, bottom);
    uint32_t walks = 0;
    for (uint32_t i = 0; i < 600; i++) {
        struct vm_page *m = test_page(bottom, i % 4, 1, 0);
        vm_lock(&bottom->lock);
        vm_page_xbusy(m);
        walks += vm_rmap_mapped(bottom, 0, 4); /* there are no entries, so there is a shadow */
        assert_int_equal(vm_object_invalidate_copies(bottom, m), 0);
        vm_page_free(m); /* a shadow leaves an object without pages */
        vm_unlock(&bottom->lock);
        vm_object_remove_above(bottom, 0, 4, i % 2 == 0);
        sim_yield();
    }
    sim_join_all();
    assert_true(walks > 10); /* otherwise nothing ran at the same time */
    vm_object_check_all();
    vm_object_deallocate(bottom);
    sim_shutdown();
}

/* ---- the checker checks -------------------------------------------------------------------------------- */

static void miscount(void *arg)
{
    struct vm_object *object = arg;
    object->resident_count++;
    vm_object_check_all();
}

static void shrink_under_a_page(void *arg)
{
    struct vm_object *object = arg;
    object->size = 1;
    vm_object_check_all();
}

static void the_checker_finds_faults(void **state)
{
    (void)state;
    struct sim_params params = test_params(10);
    test_boot(&params);
    struct vm_object *object = anonymous(8);
    test_page(object, 3, 1, 0);
    assert_true(test_panics(miscount, object, "OB1"));
    assert_true(test_panics(shrink_under_a_page, object, "OB3"));
    vm_object_deallocate(object);
    sim_shutdown();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_keep_an_object),
        cmocka_unit_test(no_memory_makes_no_object),
        cmocka_unit_test(a_chain_ends_from_the_top),
        cmocka_unit_test(an_end_waits_for_transfers_and_for_no_holder),
        cmocka_unit_test(removal_agrees_with_an_array),
        cmocka_unit_test(copies_go_when_the_original_changes),
        cmocka_unit_test(truncation_takes_private_pages_too),
        cmocka_unit_test(what_is_kept_for_a_copy_is_not_waited_for),
        cmocka_unit_test(shadows_end_under_the_walk),
        cmocka_unit_test(the_checker_finds_faults),
    };
    return cmocka_run_group_tests_name("object", tests, NULL, NULL);
}
