/*
 * workingset_test.c: which pages stay resident. A hot set of half the memory while a scan of four times the
 * memory passes, on a machine with referenced bits and on one without, however the hot set was read; a hot
 * set that changes; and random loads, whose best hit rate is known.
 *
 * A hit is a touch of a resident page. All loads are drawn from one seed.
 */
#include "vm/lru.h"
#include "support/boot.h"
#include "support/pages.h"
#include "vm/vm_meter.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NFRAMES 4096
#define HOT     (NFRAMES / 2)
#define SCAN    (4 * NFRAMES)
#define PAGES   (2 * HOT + SCAN) /* the file: one hot set, another, and the scanned part */

static struct {
    struct prng prng;
    struct sim_disk *disk;
    struct fl_file file;
    struct vm_object *object;
    struct vm_map *map;
    vm_offset_t va;
    bool by_read; /* touched by read(), not through the mapping */
    uint64_t touches, hits;
} load;

static void begin(bool enters_itself, bool by_read)
{
    struct sim_params params = test_params(test_seed(21));
    params.nframes = NFRAMES;
    params.torture.enters_itself_permille = enters_itself ? 500 : 0; /* marks are seen at times */
    load.by_read = by_read;
    prng_init(&load.prng, params.seed);
    load.disk = sim_disk_create(ptoa(PAGES), params.seed);
    test_boot(&params);
    load.file = test_file(load.disk, FL_FREAD | FL_FWRITE);
    load.object = test_object(load.file.vnode);
    load.map = test_space();
    int64_t va = fl_sys_mmap(load.map, 0, ptoa(PAGES), VM_PROT_READ, FL_MAP_SHARED, &load.file, 0);
    assert_true(va > 0);
    load.va = (vm_offset_t)va;
    load.touches = load.hits = 0;
}

static void end(void)
{
    fl_space_destroy(load.map);
    vm_object_deallocate(load.object);
    assert_int_equal(fl_vnode_close(load.file.vnode), 0);
    sim_shutdown();
    sim_disk_destroy(load.disk);
}

static void touch(vm_pindex_t page)
{
    load.touches++;
    load.hits += (test_page_flags(load.object, page) & PG_VALID) != 0;
    if (load.by_read) {
        uint8_t byte[64];
        struct fl_iovec iov = {byte, sizeof byte};
        struct fl_iocb iocb = {.offset = ptoa(page)};
        assert_int_equal(fl_vnode_read(load.file.vnode, &iov, 1, &iocb), (int64_t)sizeof byte);
    } else {
        (void)test_load8(load.map, load.va + ptoa(page));
    }
}

static void touch_at_random(vm_pindex_t start, uint32_t npages, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++)
        touch(start + prng_below(&load.prng, npages));
}

static void touch_in_order(vm_pindex_t start, uint32_t npages)
{
    for (uint32_t i = 0; i < npages; i++)
        touch(start + i);
}

/*
 * Scans, and touches one page of the hot set for each scanned page.
 * Returns the hit rate of the hot set, in permille.
 */
static uint32_t scan_beside(vm_pindex_t hot, uint32_t nhot, vm_pindex_t scan, uint32_t nscan)
{
    uint64_t touches = 0, hits = 0;
    for (uint32_t i = 0; i < nscan; i++) {
        touch(scan + i);
        uint64_t before = load.hits;
        touch_at_random(hot, nhot, 1);
        hits += load.hits - before;
        touches++;
    }
    return (uint32_t)(1000 * hits / touches);
}

/* ---- a scan -------------------------------------------------------------------------------------------- */

static void hot_set_stays(const char *name, bool enters_itself, bool by_read, bool in_order, uint32_t warm)
{
    begin(enters_itself, by_read);
    if (in_order)
        touch_in_order(0, HOT);
    touch_at_random(0, HOT, warm * HOT);
    uint32_t permille = scan_beside(0, HOT, 2 * HOT, SCAN);
    print_message("%s: %u permille of the hot set's touches are hits\n", name, permille);
    assert_true(permille >= 900);
    end();
}

static void a_hot_set_outlives_a_scan(void **state)
{
    (void)state;
    hot_set_stays("warmed at random", false, false, false, 4);
    hot_set_stays("warmed in order", false, false, true, 4);
}

static void a_hot_set_outlives_a_scan_where_use_is_not_seen(void **state)
{
    (void)state;
    hot_set_stays("warmed at random", true, false, false, 4);
    hot_set_stays("warmed in order", true, false, true, 4);
}

static void a_hot_set_outlives_a_scan_by_read(void **state)
{
    (void)state;
    hot_set_stays("warmed at random", true, true, false, 4);
    hot_set_stays("warmed in order", true, true, true, 4);
}

/*
 * A search that then counts the lines up to what it found: each part is read twice, soon after one another.
 */
static void what_a_scan_reads_again_soon_is_kept(void **state)
{
    (void)state;
    for (int enters_itself = 0; enters_itself < 2; enters_itself++) {
        uint32_t part = NFRAMES / 3;
        struct fl_vm_stats stats;
        begin(enters_itself != 0, false);
        for (vm_pindex_t at = 0; at + part <= SCAN; at += part) {
            touch_in_order(at, part);
            touch_in_order(at, part);
        }
        fl_vm_stats(&stats);
        print_message("%lu pages read of %u\n", (unsigned long)stats.page_ins, SCAN);
        assert_true(stats.page_ins < SCAN + SCAN / 4);
        end();
    }
}

/* ---- a set that moves on ------------------------------------------------------------------------------- */

/* The old hot set must give way to the new one, though the new one is larger than the rest of memory. */
static void moves_on(bool enters_itself, bool in_order)
{
    begin(enters_itself, false);
    touch_at_random(0, HOT, 8 * HOT);
    uint32_t turns = 0, permille = 0;
    for (; turns < 40 && permille < 900; turns++) {
        uint64_t before = load.hits;
        if (in_order)
            touch_in_order(HOT, 3 * HOT / 2);
        else
            touch_at_random(HOT, 3 * HOT / 2, 3 * HOT / 2);
        permille = (uint32_t)(1000 * (load.hits - before) / (3 * HOT / 2));
    }
    print_message("%s: %u permille in turn %u\n", in_order ? "in order" : "at random", permille, turns);
    assert_true(permille >= 900);
    end();
}

static void what_was_hot_gives_way(void **state)
{
    (void)state;
    moves_on(false, false);
    moves_on(false, true);
    moves_on(true, false);
    moves_on(true, true);
}

/* ---- random loads -------------------------------------------------------------------------------------- */

/* Of 2 × memory: nothing can do better than half. */
static void random_touches_hit_as_often_as_they_can(void **state)
{
    (void)state;
    for (int enters_itself = 0; enters_itself < 2; enters_itself++) {
        begin(enters_itself != 0, false);
        assert_int_equal(fl_sys_madvise(load.map, load.va, ptoa(PAGES), FL_MADV_RANDOM), 0);
        touch_at_random(0, 2 * NFRAMES, 4 * NFRAMES);
        load.touches = load.hits = 0;
        touch_at_random(0, 2 * NFRAMES, 8 * NFRAMES);
        uint32_t uniform = (uint32_t)(1000 * load.hits / load.touches);
        load.touches = load.hits = 0;
        for (uint32_t i = 0; i < 8 * NFRAMES; i++) /* four of five touches go to one fifth of the pages */
            touch_at_random(0, prng_chance(&load.prng, 800) ? SCAN / 5 : SCAN, 1);
        uint32_t skewed = (uint32_t)(1000 * load.hits / load.touches);
        print_message("uniform: %u permille are hits; skewed: %u\n", uniform, skewed);
        assert_true(uniform >= 420);
        assert_true(skewed >= 650);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hot_set_outlives_a_scan),
        cmocka_unit_test(a_hot_set_outlives_a_scan_where_use_is_not_seen),
        cmocka_unit_test(a_hot_set_outlives_a_scan_by_read),
        cmocka_unit_test(what_a_scan_reads_again_soon_is_kept),
        cmocka_unit_test(what_was_hot_gives_way),
        cmocka_unit_test(random_touches_hit_as_often_as_they_can),
    };
    return cmocka_run_group_tests_name("workingset", tests, NULL, NULL);
}
