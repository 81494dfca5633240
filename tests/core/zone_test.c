/*
 * zone_test.c: zones against a list of the allocated items: items never overlap, are zeroed, and no byte
 * outside of allocated items is touched.
 */
#include "lib/zone.h"
#include "support/boot.h"
#include "support/parts.h"
#include "support/seed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define META_BYTES ((size_t)512 << 10)
#define NZONES     4
#define NITEMS     2000

static const size_t sizes[NZONES] = {9, 24, 80, 3200};

struct item {
    uint8_t *at; /* NULL: none */
    int zone;
    uint8_t fill; /* every byte of it */
};

static bool all_bytes(const uint8_t *at, size_t len, uint8_t value)
{
    for (size_t i = 0; i < len; i++)
        if (at[i] != value)
            return false;
    return true;
}

static void take(struct vm_zone *zone, const uint8_t *meta, struct item *item, struct prng *prng)
{
    uint32_t before = zone->nitems;
    uint8_t *at = vm_zone_alloc(zone);

    if (at == NULL) {
        assert_int_equal(zone->nitems, before);
        return;
    }
    assert_true(at >= meta && at + zone->size <= meta + vm_meta_used());
    assert_int_equal((uintptr_t)at % 8, 0);
    assert_true(all_bytes(at, zone->size, 0));
    assert_int_not_equal(vm_meta_index(at), 0);
    assert_ptr_equal(vm_meta_pointer(vm_meta_index(at)), at);
    item->at = at;
    item->fill = (uint8_t)(1 + prng_below(prng, 255));
    memset(at, item->fill, zone->size);
}

static void test_random(void **state)
{
    (void)state;
    static struct item items[NITEMS];
    struct vm_zone zones[NZONES];
    uint8_t *meta = parts_boot_meta(META_BYTES);
    struct prng prng;
    uint32_t in_use[NZONES] = {0};

    prng_init(&prng, test_seed(12));
    memset(items, 0, sizeof items);
    for (int z = 0; z < NZONES; z++)
        vm_zone_init(&zones[z], "test", sizes[z]);
    for (uint64_t step = 0; step < test_rounds(50000); step++) {
        struct item *item = &items[prng_below(&prng, NITEMS)];
        if (item->at != NULL) {
            /* Its bytes did not change meanwhile, so no other item overlaps it. */
            assert_true(all_bytes(item->at, zones[item->zone].size, item->fill));
            vm_zone_free(&zones[item->zone], item->at);
            in_use[item->zone]--;
            item->at = NULL;
        } else {
            item->zone = (int)prng_below(&prng, NZONES);
            take(&zones[item->zone], meta, item, &prng);
            in_use[item->zone] += item->at != NULL;
        }
        assert_int_equal(zones[item->zone].nitems, in_use[item->zone]);
    }
    assert_true(all_bytes(meta + vm_meta_used(), META_BYTES - vm_meta_used(), 0));
    parts_halt();
}

static void test_untouched(void **state)
{
    (void)state;
    struct vm_zone zone;
    uint8_t *meta = parts_boot_meta(META_BYTES);

    /* One item of a new slab: the rest of the slab belongs to the zone, and is not touched yet. */
    vm_zone_init(&zone, "test", 64);
    uint8_t *item = vm_zone_alloc(&zone);
    assert_non_null(item);
    memset(item, 0xff, 64);
    assert_true(all_bytes(item + 64, (size_t)(meta + META_BYTES - (item + 64)), 0));
    parts_halt();
}

static void test_exhausted(void **state)
{
    (void)state;
    struct vm_zone zone;
    uint8_t *last = NULL;

    (void)parts_boot_meta(3 * 4096);
    vm_zone_init(&zone, "test", 512);
    for (uint8_t *item = vm_zone_alloc(&zone); item != NULL; item = vm_zone_alloc(&zone))
        last = item;
    assert_int_equal(zone.nitems, 16); /* two slabs: the third page's begin is index 0's */
    vm_zone_free(&zone, last);
    assert_ptr_equal(vm_zone_alloc(&zone), last);
    assert_null(vm_meta_alloc("test", 8192, 8));
    assert_null(vm_meta_alloc("test", SIZE_MAX - 64, 8)); /* no wrap-around */
    parts_halt();
}

static void test_meta_alloc(void **state)
{
    (void)state;
    uint8_t *meta = parts_boot_meta(META_BYTES);
    uint8_t *end = meta;

    for (size_t align = 1; align <= 4096; align *= 2) {
        uint8_t *at = vm_meta_alloc("test", 100, align);
        assert_non_null(at);
        assert_int_equal((uintptr_t)at % align, 0);
        assert_true(at >= end);
        end = at + 100;
    }
    assert_ptr_equal(meta + vm_meta_used(), end);
    parts_halt();
}

static void test_injection(void **state)
{
    (void)state;
    struct vm_zone zone;

    (void)parts_boot_meta(META_BYTES);
    vm_zone_init(&zone, "the name", 64);
    for (uint32_t nth = 1; nth <= 3; nth++) {
        uint32_t asked = parts_asked(), nitems = zone.nitems;
        parts_fail_nth(nth);
        for (uint32_t i = 1; i <= 3; i++)
            assert_true((vm_zone_alloc(&zone) == NULL) == (i == nth));
        assert_int_equal(parts_asked() - asked, 3);
        assert_string_equal(parts_asked_what(), "the name");
        assert_int_equal(zone.nitems, nitems + 2);
    }
    parts_fail_nth(1);
    assert_null(vm_meta_alloc("other", 8, 8));
    assert_string_equal(parts_asked_what(), "other");
    parts_halt();
}

static void free_foreign(void *arg)
{
    struct vm_zone zone;
    static uint64_t foreign[8];

    (void)arg;
    (void)parts_boot_meta(META_BYTES);
    vm_zone_init(&zone, "test", 64);
    vm_zone_free(&zone, foreign);
}

static void free_twice(void *arg)
{
    struct vm_zone zone;

    (void)arg;
    (void)parts_boot_meta(META_BYTES);
    vm_zone_init(&zone, "test", 64);
    void *item = vm_zone_alloc(&zone);
    vm_zone_free(&zone, item);
    vm_zone_free(&zone, item);
}

static void test_asserts(void **state)
{
    (void)state;
    assert_true(test_panics(free_foreign, NULL, "ZN1"));
    assert_true(test_panics(free_twice, NULL, "ZN1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),     cmocka_unit_test(test_untouched), cmocka_unit_test(test_exhausted),
        cmocka_unit_test(test_meta_alloc), cmocka_unit_test(test_injection), cmocka_unit_test(test_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
