/*
 * vm_harvest_test.c: what the machine knows of a file's pages, brought into their descriptors, and ranges
 * that are frozen meanwhile; on machines that enter pages themselves or not, whose bits come late or not.
 *
 *   map ── | shared: the file, written without faults |
 *          | again:  the same                         |
 */
#include "vm/vm_harvest.h"
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/pages.h"
#include "vm/vm_page.h"
#include "vm/vm_rmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NPAGES  16
#define NSTORED 120
#define MS      UINT64_C(1000000)

static vm_offset_t shared, again;
static struct vm_object *object;

static vm_offset_t page_at(vm_pindex_t pindex)
{
    return shared + ptoa(pindex);
}

/* Two mappings of the file, which show all of its pages, and all are clean. */
static void begin(struct sim_params params)
{
    params.no_flusher = true; /* only the test cleans pages */
    one_file_boot(&params, test_disk(ptoa(NPAGES), VM_PAGE_SIZE, params.seed), RW);
    shared = test_mmap(map, &file, FL_MAP_SHARED, NPAGES);
    again = test_mmap(map, &file, FL_MAP_SHARED, NPAGES);
    object = test_object(file.vnode);
    for (vm_pindex_t i = 0; i < NPAGES; i++) {
        assert_int_equal(test_load8(map, page_at(i)), test_byte(ptoa(i)));
        assert_int_equal(test_load8(map, again + ptoa(i)), test_byte(ptoa(i)));
    }
}

static void end(void)
{
    vm_object_deallocate(object);
    one_file_end();
}

/* Runs fn on each kind of machine. */
static void each_machine(void (*fn)(void))
{
    for (uint32_t i = 0; i < 16; i++) {
        struct sim_params params = test_params(test_seed(1 + i));
        params.torture.stale_tlb = (i & 1) != 0;
        params.torture.late_bits = (i & 2) != 0;
        params.torture.enters_itself_permille = (i & 4) != 0 ? 1000 : 0;
        params.torture.forgetful_permille = (i & 8) != 0 ? 20 : 0;
        begin(params);
        fn();
        end();
    }
}

/* A store into a page that the machine has forgotten faults, and the core knows of it at once. */
static bool may_have_faulted(void)
{
    return sim_torture()->forgetful_permille > 0;
}

static bool is_dirty(vm_pindex_t pindex)
{
    return (test_page_flags(object, pindex) & PG_DIRTY) != 0;
}

static void harvest(vm_pindex_t start, vm_pindex_t stop, unsigned clear)
{
    vm_lock(&object->lock);
    vm_harvest(object, start, stop, clear);
    vm_unlock(&object->lock);
}

/* As write-back does it, without the write. */
static void clean(const vm_pindex_t *pindex, uint32_t n)
{
    struct vm_page *m[NPAGES];
    vm_lock(&object->lock);
    for (uint32_t i = 0; i < n; i++)
        m[i] = vm_page_lookup(object, pindex[i]);
    vm_harvest_clean(object, m, n);
    for (uint32_t i = 0; i < n; i++)
        if (m[i]->flags & PG_DIRTY)
            vm_page_undirty(m[i]);
    vm_unlock(&object->lock);
}

static uint64_t faults(void)
{
    struct fl_vm_stats stats;
    fl_vm_stats(&stats);
    return stats.faults;
}

/* ---- harvests ------------------------------------------------------------------------------------------ */

static void stores_are_found(void)
{
    test_store8(map, page_at(3), 1);
    test_store8(map, again + ptoa(5), 1);
    harvest(0, 4, 0);
    assert_true(is_dirty(3) && (!is_dirty(5) || may_have_faulted()));
    harvest(4, UINT64_MAX, 0);
    for (vm_pindex_t i = 0; i < NPAGES; i++)
        assert_int_equal(is_dirty(i), i == 3 || i == 5);
}

static void a_store_without_a_fault_is_found(void **state)
{
    (void)state;
    each_machine(stores_are_found);
}

static void uses_are_found(void)
{
    vm_lock(&object->lock);
    vm_harvest(object, 0, UINT64_MAX, MACHINE_REFERENCED);
    for (vm_pindex_t i = 0; i < NPAGES; i++)
        vm_page_lookup(object, i)->lru &= (uint8_t)~PL_YOUNG;
    vm_unlock(&object->lock);
    (void)test_load8(map, page_at(2));
    harvest(0, UINT64_MAX, 0);
    assert_true((vm_page_lookup(object, 2)->lru & PL_YOUNG) || may_have_faulted());
    assert_int_equal(vm_page_lookup(object, 9)->lru & PL_YOUNG, 0);
}

static void a_use_is_found(void **state)
{
    (void)state;
    each_machine(uses_are_found);
}

/* The pages between those that become clean keep their dirtiness, though the machine looks at them, too. */
static void cleaned_pages_become_dirty_again(void)
{
    const vm_pindex_t two[] = {2, 5};
    for (vm_pindex_t i = 2; i <= 5; i++)
        test_store8(map, page_at(i), 1);
    clean(two, 2);
    assert_true(!is_dirty(2) && is_dirty(3) && is_dirty(4) && !is_dirty(5));
    harvest(0, UINT64_MAX, 0);
    assert_true(!is_dirty(2) && !is_dirty(5));
    test_store8(map, page_at(5), 2);
    test_store8(map, again + ptoa(2), 2);
    harvest(0, UINT64_MAX, 0);
    assert_true(is_dirty(2) && is_dirty(5));
}

static void what_becomes_clean_is_told_of_later_stores(void **state)
{
    (void)state;
    each_machine(cleaned_pages_become_dirty_again);
}

static void unmapped_pages_are_known(void)
{
    test_store8(map, page_at(7), 1);
    vm_lock(&object->lock);
    vm_harvest_unmap(object, 6, 9);
    vm_unlock(&object->lock);
    harvest(0, UINT64_MAX, 0); /* what MM1 entered */
    for (vm_pindex_t i = 0; i < NPAGES; i++)
        assert_int_equal(is_dirty(i), i == 7);
    assert_int_equal(test_load8(map, page_at(7)), 1);
}

static void an_unmapping_loses_no_store(void **state)
{
    (void)state;
    each_machine(unmapped_pages_are_known);
}

/* ---- freezing ------------------------------------------------------------------------------------------ */

static bool freeze(vm_pindex_t start, vm_pindex_t stop)
{
    vm_lock(&object->lock);
    bool frozen = vm_freeze(object, start, stop);
    vm_unlock(&object->lock);
    return frozen;
}

static void thaw(void)
{
    vm_lock(&object->lock);
    vm_thaw(object);
    vm_unlock(&object->lock);
}

/* As the machine knows it. */
static bool is_frozen(vm_offset_t va)
{
    struct sim_attachment a;
    assert_true(sim_attached(fl_space_machine(map), va, &a));
    return a.frozen;
}

static bool done;

static void store_into_4(void *arg)
{
    (void)arg;
    test_store8(map, page_at(4), 9);
    done = true;
}

/* Returns after fn has had time enough, with the range [3, 6) frozen. */
static void run_beside_freeze(void (*fn)(void *arg))
{
    done = false;
    assert_true(freeze(3, 6));
    sim_run("beside", fn, NULL);
    sim_sleep_ns(5 * MS);
}

static void a_store_waits(void)
{
    test_store8(map, page_at(4), 1);
    run_beside_freeze(store_into_4);
    bool silent = sim_torture()->enters_itself_permille > 0;
    assert_true(!done || !silent);
    assert_int_equal(test_load8(map, page_at(4)), done ? 9 : 1); /* loads go on */
    test_store8(map, page_at(6), 5);                             /* and so do stores beside the range */
    assert_false(freeze(8, 9));                                  /* HV1 */
    thaw();
    sim_join_all();
    assert_true(done);
    harvest(0, UINT64_MAX, 0);
    assert_true(is_dirty(4) && is_dirty(6));
    assert_int_equal(test_load8(map, page_at(4)), 9);
}

static void a_store_waits_for_the_thaw(void **state)
{
    (void)state;
    each_machine(a_store_waits);
}

static void unmap_again(void *arg)
{
    (void)arg;
    assert_int_equal(fl_sys_munmap(map, again, ptoa(NPAGES)), 0);
    done = true;
}

static void protect_again(void *arg)
{
    (void)arg;
    assert_int_equal(fl_sys_mprotect(map, again, ptoa(NPAGES), VM_PROT_READ), 0);
    done = true;
}

static void map_once_more(void *arg)
{
    (void)arg;
    (void)test_mmap(map, &file, FL_MAP_SHARED, NPAGES);
    done = true;
}

static void store_privately(void *arg)
{
    (void)arg;
    vm_offset_t private = test_mmap(map, &file, FL_MAP_PRIVATE, NPAGES);
    test_store8(map, private + ptoa(4), 3);
    done = true;
}

static void (*change)(void *arg);

static void a_change_waits(void)
{
    test_store8(map, again + ptoa(4), 1);
    run_beside_freeze(change);
    assert_false(done);
    thaw();
    sim_join_all();
    assert_true(done);
    harvest(0, UINT64_MAX, 0);
    assert_true(is_dirty(4));
    assert_int_equal(test_load8(map, page_at(4)), 1);
}

static void a_change_of_the_mappings_waits_for_the_thaw(void **state)
{
    (void)state;
    void (*const changes[])(void *arg) = {unmap_again, protect_again, map_once_more, store_privately};
    for (uint32_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        change = changes[i];
        each_machine(a_change_waits);
    }
}

/* Its system call may be storing. */
static void held_pages_are_not_frozen(void)
{
    const vm_prot_t accesses[] = {VM_PROT_READ, VM_PROT_WRITE};
    for (uint32_t i = 0; i < 2; i++) {
        struct fl_hold hold;
        assert_int_equal(fl_hold(map, page_at(4), 1, accesses[i], &hold), 0);
        assert_false(freeze(3, 6));
        assert_true(freeze(5, 6));
        thaw();
        fl_unhold(&hold);
        assert_true(freeze(3, 6));
        thaw();
    }
}

static void a_held_page_is_not_frozen(void **state)
{
    (void)state;
    each_machine(held_pages_are_not_frozen);
}

/* Whichever mapping the machine cannot freeze, in the end none is. */
static void failed_freezes_leave_nothing(void)
{
    for (uint32_t n = 1; n <= 2; n++) {
        sim_torture()->fail_map_nth = n;
        assert_false(freeze(3, 6));
        assert_int_equal(sim_torture()->fail_map_nth, 0);
        assert_true(!is_frozen(shared + ptoa(4)) && !is_frozen(again + ptoa(4)));
        test_store8(map, page_at(4), 1);
        test_store8(map, again + ptoa(4), 1);
    }
}

static void a_freeze_that_fails_freezes_nothing(void **state)
{
    (void)state;
    each_machine(failed_freezes_leave_nothing);
}

/* ---- stores that must be told -------------------------------------------------------------------------- */

static int make_writenotify(void)
{
    vm_lock(&object->lock);
    int error = vm_object_writenotify(object);
    vm_unlock(&object->lock);
    return error;
}

static void told_of_each_store(void)
{
    test_store8(map, page_at(1), 1);
    assert_int_equal(make_writenotify(), 0);
    assert_true(object->writenotify && is_dirty(1) && !is_dirty(2));
    uint64_t before = faults();
    test_store8(map, page_at(2), 1);
    assert_true(is_dirty(2) && faults() > before); /* at once */
    clean(&(vm_pindex_t){2}, 1);
    assert_false(is_dirty(2));
    test_store8(map, page_at(2), 2);
    assert_true(is_dirty(2));
    assert_int_equal(make_writenotify(), 0); /* once more changes nothing */
}

static void a_store_is_told_after_a_conversion(void **state)
{
    (void)state;
    each_machine(told_of_each_store);
}

/* Two mappings are frozen, then converted. Wherever that fails, stores go on and are known. */
static void failed_conversions(void)
{
    for (uint32_t n = 1; n <= 4; n++) {
        test_store8(map, page_at(n), 1);
        sim_torture()->fail_map_nth = n;
        assert_int_equal(make_writenotify(), -ENOMEM);
        assert_int_equal(sim_torture()->fail_map_nth, 0);
        assert_false(object->writenotify);
        assert_true(!is_frozen(shared) && !is_frozen(again));
        test_store8(map, page_at(n), 2);
        test_store8(map, again + ptoa(8 + n), 2);
        harvest(0, UINT64_MAX, 0);
        assert_true(is_dirty(n) && is_dirty(8 + n));
    }
    assert_int_equal(make_writenotify(), 0);
}

static void a_conversion_that_fails_loses_nothing(void **state)
{
    (void)state;
    each_machine(failed_conversions);
}

/* A page that is held to be stored to stays so: the conversion waits for no system call. */
static void held_pages_are_converted(void)
{
    struct fl_hold hold;
    assert_int_equal(fl_hold(map, page_at(4), 1, VM_PROT_WRITE, &hold), 0);
    assert_int_equal(make_writenotify(), 0);
    assert_true(is_dirty(4));
    vm_frame_t frame;
    vm_prot_t prot;
    bool wired, mapped = sim_mapped(fl_space_machine(map), page_at(4), &frame, &prot, &wired);
    assert_true(may_have_faulted() || (mapped && (prot & VM_PROT_WRITE) != 0));
    *sim_frame(vm_page_frame(hold.page[0])) = 77; /* the call stores now */
    fl_unhold(&hold);
    assert_int_equal(fl_sys_msync(map, shared, ptoa(NPAGES), FL_MS_SYNC), 0);
    assert_int_equal(disk_byte(ptoa(4)), 77);
}

static void a_conversion_passes_over_holds(void **state)
{
    (void)state;
    each_machine(held_pages_are_converted);
}

/* ---- mappings that change ------------------------------------------------------------------------------ */

static void known_after_protect(void)
{
    test_store8(map, page_at(3), 1);
    assert_int_equal(fl_sys_mprotect(map, page_at(3), ptoa(1), VM_PROT_READ), 0);
    assert_true(is_dirty(3));
    clean(&(vm_pindex_t){3}, 1);
    assert_int_equal(fl_sys_mprotect(map, page_at(3), ptoa(1), PROT_RW), 0);
    harvest(0, UINT64_MAX, 0);
    assert_false(is_dirty(3));
    test_store8(map, page_at(3), 2);
    harvest(0, UINT64_MAX, 0);
    assert_true(is_dirty(3));
}

static void known_after_munmap(void)
{
    test_store8(map, again + ptoa(3), 1);
    assert_int_equal(fl_sys_munmap(map, again, ptoa(NPAGES)), 0);
    assert_true(is_dirty(3) && !is_dirty(4));
}

static void known_after_mremap(void)
{
    test_store8(map, again + ptoa(3), 1);
    int64_t to = fl_sys_mremap(map, again, ptoa(NPAGES), ptoa(NPAGES), FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED,
                               0x40000000);
    assert_int_equal(to, 0x40000000);
    assert_true(is_dirty(3) && !is_dirty(4));
    test_store8(map, (vm_offset_t)to + ptoa(4), 1);
    harvest(0, UINT64_MAX, 0);
    assert_true(is_dirty(4));
}

/* The machine cannot stop the stores: all pages count as stored to. */
static void known_without_memory(void)
{
    sim_torture()->fail_map_nth = 1;
    assert_int_equal(fl_sys_munmap(map, again, ptoa(NPAGES)), 0);
    assert_int_equal(sim_torture()->fail_map_nth, 0);
    for (vm_pindex_t i = 0; i < NPAGES; i++)
        assert_true(is_dirty(i));
}

static void a_mapping_that_goes_tells_of_its_stores(void **state)
{
    (void)state;
    each_machine(known_after_protect);
    each_machine(known_after_munmap);
    each_machine(known_after_mremap);
    each_machine(known_without_memory);
}

/* ---- who decides by dirtiness -------------------------------------------------------------------------- */

static void expect_on_disk(uint8_t byte)
{
    for (vm_pindex_t i = 0; i < NPAGES; i++)
        assert_int_equal(disk_byte(ptoa(i)), byte);
}

static void store_all(uint8_t byte)
{
    for (vm_pindex_t i = 0; i < NPAGES; i++)
        test_store8(map, i % 2 ? page_at(i) : again + ptoa(i), byte);
}

static void every_way_to_the_disk(void)
{
    store_all(1);
    assert_int_equal(fl_sys_msync(map, shared, ptoa(NPAGES), FL_MS_SYNC), 0);
    expect_on_disk(1);
    store_all(2);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    expect_on_disk(2);
    store_all(3);
    assert_int_equal(fl_vnode_sync(file.vnode, 0, ptoa(NPAGES)), 0);
    expect_on_disk(3);
    store_all(4);
    fl_errseq_t since = 0;
    const unsigned all =
        FL_SYNC_FILE_RANGE_WAIT_BEFORE | FL_SYNC_FILE_RANGE_WRITE | FL_SYNC_FILE_RANGE_WAIT_AFTER;
    assert_int_equal(fl_vnode_sync_range(file.vnode, 0, 0, all, &since), 0);
    expect_on_disk(4);
}

static void every_sync_harvests(void **state)
{
    (void)state;
    each_machine(every_way_to_the_disk);
}

static void stored_pages_stay(void)
{
    store_all(1);
    fl_vnode_invalidate(file.vnode, 0, ptoa(NPAGES));
    for (vm_pindex_t i = 0; i < NPAGES; i++)
        assert_int_equal(test_load8(map, page_at(i)), 1);
    assert_int_equal(fl_sys_madvise(map, shared, ptoa(NPAGES), FL_MADV_PAGEOUT), 0);
    for (vm_pindex_t i = 0; i < NPAGES; i++)
        assert_int_equal(test_load8(map, page_at(i)), 1);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    expect_on_disk(1);
}

static void what_forgets_clean_pages_harvests(void **state)
{
    (void)state;
    each_machine(stored_pages_stay);
}

/* ---- stores beside what frees pages -------------------------------------------------------------------- */

#define STORERS 3
#define STORES  600

static uint8_t stored[NSTORED];
static uint32_t storing;

/* Stores to pages that no other fiber stores to, and finds what it stored before. */
static void store_often(void *arg)
{
    const uint32_t me = (uint32_t)(uintptr_t)arg;
    struct prng prng;
    prng_init(&prng, 7 + me);
    for (uint32_t i = 0; i < STORES; i++) {
        vm_pindex_t p = prng_below(&prng, NSTORED / STORERS) * STORERS + me;
        vm_offset_t va = (prng_chance(&prng, 500) ? shared : again) + ptoa(p);
        assert_int_equal(test_load8(map, va), stored[p]);
        stored[p] = (uint8_t)prng_below(&prng, 256);
        test_store8(map, va, stored[p]);
    }
    storing--;
}

/* Fibers store, while `free_pages` is called again and again; NULL: while memory is short. */
static void stores_beside(void (*free_pages)(struct prng *prng), uint64_t seed)
{
    struct sim_params params = test_params(seed);
    struct prng prng;
    prng_init(&prng, seed);
    params.nframes = free_pages == NULL ? 64 : 256;
    params.torture.preempt_permille = 300;
    params.torture.late_bits = (seed & 1) != 0;
    params.torture.stale_tlb = (seed & 2) != 0;
    params.torture.enters_itself_permille = (seed & 4) != 0 ? 700 : 0;
    one_file_boot(&params, sim_disk_create(ptoa(NSTORED), seed), RW);
    shared = test_mmap(map, &file, FL_MAP_SHARED, NSTORED);
    again = test_mmap(map, &file, FL_MAP_SHARED, NSTORED);
    memset(stored, 0, sizeof stored);
    storing = STORERS;
    for (uintptr_t i = 0; i < STORERS; i++)
        sim_run("stores", store_often, (void *)i);
    while (storing > 0 && free_pages != NULL)
        free_pages(&prng);
    sim_join_all();
    for (vm_pindex_t p = 0; p < NSTORED; p++)
        assert_int_equal(test_load8(map, shared + ptoa(p)), stored[p]);
    assert_int_equal(fl_sys_msync(map, shared, ptoa(NSTORED), FL_MS_SYNC), 0);
    for (vm_pindex_t p = 0; p < NSTORED; p++)
        assert_int_equal(disk_byte(ptoa(p)), stored[p]);
    one_file_end();
}

static void invalidate(struct prng *prng)
{
    if (prng_chance(prng, 200))
        (void)!fl_vnode_fsync(file.vnode, 0, NULL); /* so that pages are clean */
    fl_vnode_invalidate(file.vnode, 0, ptoa(NSTORED));
}

static void page_out(struct prng *prng)
{
    (void)prng;
    assert_int_equal(fl_sys_madvise(map, shared, ptoa(NSTORED), FL_MADV_PAGEOUT), 0);
}

static void no_store_is_lost_beside_what_frees_pages(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < test_rounds(16); i++) {
        stores_beside(invalidate, test_seed(500 + i));
        stores_beside(page_out, test_seed(500 + i));
        stores_beside(NULL, test_seed(500 + i));
    }
}

/* The store refuses the new length: what was stored behind it is there still. */
static void stored_behind_a_refused_end(void)
{
    store_all(6);
    sim_disk_faults(disk)->fail_truncate_nth = 1;
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(2) + 7), -EIO);
    for (vm_pindex_t i = 0; i < NPAGES; i++)
        assert_int_equal(test_load8(map, page_at(i)), 6);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    expect_on_disk(6);
}

static void a_refused_truncation_loses_nothing(void **state)
{
    (void)state;
    each_machine(stored_behind_a_refused_end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_without_a_fault_is_found),
        cmocka_unit_test(a_use_is_found),
        cmocka_unit_test(what_becomes_clean_is_told_of_later_stores),
        cmocka_unit_test(an_unmapping_loses_no_store),
        cmocka_unit_test(a_store_waits_for_the_thaw),
        cmocka_unit_test(a_change_of_the_mappings_waits_for_the_thaw),
        cmocka_unit_test(a_held_page_is_not_frozen),
        cmocka_unit_test(a_freeze_that_fails_freezes_nothing),
        cmocka_unit_test(a_store_is_told_after_a_conversion),
        cmocka_unit_test(a_conversion_that_fails_loses_nothing),
        cmocka_unit_test(a_conversion_passes_over_holds),
        cmocka_unit_test(a_mapping_that_goes_tells_of_its_stores),
        cmocka_unit_test(every_sync_harvests),
        cmocka_unit_test(what_forgets_clean_pages_harvests),
        cmocka_unit_test(no_store_is_lost_beside_what_frees_pages),
        cmocka_unit_test(a_refused_truncation_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
