/*
 * hold_test.c: the memory that a system call holds, and what other threads may do to it meanwhile. Each rule
 * of docs/locking.md, "Holds", has a test here.
 *
 *   A hold stays open for as long as the test likes: a fiber that waited for it would wait for ever, and the
 *   machine sim panics when all fibers wait.
 */
#include "file/flusher.h"
#include "lib/errno.h"
#include "support/one_file.h"
#include "support/pages.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_phys.h"
#include "file/vnode_pager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NPAGES 16
#define MS     UINT64_C(1000000)

static vm_offset_t shared, private, anon;

static vm_offset_t map_pages(int flags)
{
    bool anonymous = (flags & FL_MAP_ANONYMOUS) != 0;
    int64_t va = fl_sys_mmap(map, 0, ptoa(NPAGES), PROT_RW, flags, anonymous ? NULL : &file, 0);
    assert_true(va > 0);
    return (vm_offset_t)va;
}

static void begin(struct sim_params params)
{
    one_file_boot(&params, test_disk(ptoa(NPAGES), VM_PAGE_SIZE, params.seed), RW);
    shared = map_pages(FL_MAP_SHARED);
    private = map_pages(FL_MAP_PRIVATE);
    anon = map_pages(FL_MAP_PRIVATE | FL_MAP_ANONYMOUS);
}

static struct fl_hold hold_pages(vm_offset_t va, uint32_t npages, vm_prot_t access)
{
    struct fl_hold hold;
    assert_int_equal(fl_hold(map, va, ptoa(npages), access, &hold), 0);
    assert_int_equal(hold.npages, npages);
    return hold;
}

/*
 * The held page as the kernel finds it at va: by the mapping, without a fault. NULL: nothing is mapped there.
 */
static uint8_t *seen(vm_offset_t va, const struct fl_hold *hold, uint32_t i)
{
    vm_frame_t frame;
    vm_prot_t prot;
    bool wired;
    if (!sim_mapped(fl_space_machine(map), va + ptoa(i), &frame, &prot, &wired))
        return NULL;
    assert_int_equal(frame, vm_page_frame(hold->page[i]));
    assert_true((prot & hold->access) == hold->access);
    return sim_frame(frame);
}

static bool is_orphan(const struct fl_hold *hold, uint32_t i)
{
    const struct vm_page *m = hold->page[i];
    return m->object == NULL && m->hold_count == (VM_HOLD_ORPHAN | 1);
}

static uint32_t frames_free(void)
{
    vm_lock(&vm_phys.lock);
    uint32_t n = vm_phys.free_count;
    vm_unlock(&vm_phys.lock);
    return n;
}

/* ---- a hold does not sleep while it holds -------------------------------------------------------------- */

static int held_error;

static void hold_two(void *arg)
{
    struct fl_hold *hold = arg;
    held_error = fl_hold(map, shared, ptoa(2), VM_PROT_WRITE, hold);
}

/* Page 1 is busy: while the hold waits for it, page 0 is not held. */
static void who_waits_holds_nothing(void **state)
{
    (void)state;
    struct fl_hold hold = {.npages = 0};
    begin(test_params(1));
    test_store8(map, shared, 1);
    (void)test_load8(map, shared + ptoa(1));
    struct vm_object *object = test_object(file.vnode);
    vm_lock(&object->lock);
    struct vm_page *first = vm_page_lookup(object, 0), *busy = vm_page_lookup(object, 1);
    vm_page_xbusy(busy);
    vm_unlock(&object->lock);
    held_error = 1;
    sim_run("hold", hold_two, &hold);
    sim_sleep_ns(10 * MS);
    assert_int_equal(held_error, 1);
    assert_true(first->hold_count == 0 && busy->hold_count == 0);
    vm_lock(&object->lock);
    vm_page_xunbusy(busy);
    vm_unlock(&object->lock);
    sim_join_all();
    assert_int_equal(held_error, 0);
    assert_true(first->hold_count == 1 && busy->hold_count == 1);
    fl_unhold(&hold);
    assert_true(first->hold_count == 0 && busy->hold_count == 0);
    vm_object_deallocate(object);
    one_file_end();
}

/* More pages than there are frames cannot be held together, but each one alone can. */
static void a_hold_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct sim_params params = test_params(2);
    struct fl_hold hold;
    params.nframes = 64;
    one_file_boot(&params, sim_disk_create(ptoa(200), 2), RW);
    int64_t va = fl_sys_mmap(map, 0, ptoa(200), PROT_RW, FL_MAP_SHARED, &file, 0);
    assert_true(va > 0);
    assert_int_equal(fl_hold(map, (vm_offset_t)va, ptoa(200), VM_PROT_WRITE, &hold), -EAGAIN);
    assert_int_equal(hold.npages, 0);
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(fl_hold(map, (vm_offset_t)va + ptoa(i), 1, VM_PROT_WRITE, &hold), 0);
        fl_unhold(&hold);
    }
    assert_int_equal(fl_hold(map, (vm_offset_t)va, ptoa(16), VM_PROT_WRITE, &hold), 0);
    fl_unhold(&hold);
    one_file_end();
}

/* A caller that dirties too much is throttled before it holds pages, and never while it holds them. */
static void a_throttled_caller_holds_nothing(void **state)
{
    (void)state;
    struct sim_params params = test_params(3);
    params.dirty_background = 2;
    params.dirty_max = 4;
    begin(params);
    for (uint32_t i = 0; i < NPAGES; i++)
        (void)test_load8(map, shared + ptoa(i));
    struct fl_hold hold = hold_pages(shared, NPAGES, VM_PROT_WRITE);
    assert_true(sim_disk_counts(disk).writes > 0);
    fl_unhold(&hold);
    one_file_end();
}

static void resident_pages_are_held_as_they_are(void **state)
{
    (void)state;
    begin(test_params(4));
    for (uint32_t i = 0; i < NPAGES; i++)
        test_store8(map, shared + ptoa(i), 1);
    struct fl_vm_stats before, after;
    fl_vm_stats(&before);
    struct fl_hold hold = hold_pages(shared, NPAGES, VM_PROT_WRITE);
    fl_vm_stats(&after);
    assert_int_equal(after.faults - before.faults, NPAGES);
    fl_unhold(&hold);
    for (uint32_t i = 0; i < NPAGES; i++)
        /* shows the page of the object below, on a machine that can do so */
        (void)test_load8(map, private + ptoa(i));
    hold = hold_pages(private, NPAGES, VM_PROT_READ);
    fl_unhold(&hold);
    one_file_end();
}

/* ---- no call waits for a hold -------------------------------------------------------------------------- */

/* A punched page that is held reads as zeros and stays mapped; what the call stores then goes to the file. */
static void a_hole_is_punched_under_the_call(void **state)
{
    (void)state;
    for (unsigned copy_first = 0; copy_first < 2; copy_first++) {
        struct sim_params params = test_params(5);
        params.torture.copy_first = copy_first;
        begin(params);
        struct fl_hold hold = hold_pages(shared + ptoa(2), 3, VM_PROT_WRITE);
        assert_int_equal(test_load8(map, private + ptoa(3) + 9), test_byte(ptoa(3) + 9));
        assert_int_equal(fl_vnode_punch(file.vnode, ptoa(1), ptoa(5)), 0);
        for (uint32_t i = 0; i < 3; i++) {
            uint8_t *bytes = seen(shared + ptoa(2), &hold, i);
            assert_non_null(bytes);
            assert_true(bytes[0] == 0 && bytes[VM_PAGE_SIZE - 1] == 0);
            bytes[5] = (uint8_t)(40 + i); /* the call continues */
        }
        assert_int_equal(test_load8(map, shared + ptoa(1)), 0);
        assert_int_equal(test_load8(map, private + ptoa(3) + 9), 0);
        fl_unhold(&hold);
        assert_int_equal(test_load8(map, shared + ptoa(3) + 5), 41);
        assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
        assert_true(disk_byte(ptoa(2) + 5) == 40 && disk_byte(ptoa(4) + 5) == 42 && disk_byte(ptoa(4)) == 0 &&
                    disk_byte(ptoa(6)) == test_byte(ptoa(6)));
        one_file_end();
    }
}

static void a_punch_that_is_refused_leaves_the_held_bytes(void **state)
{
    (void)state;
    begin(test_params(6));
    test_store8(map, shared + ptoa(2), 7);
    struct fl_hold hold = hold_pages(shared + ptoa(2), 1, VM_PROT_READ);
    sim_disk_faults(disk)->fail_punch_nth = 1;
    assert_int_equal(fl_vnode_punch(file.vnode, 0, ptoa(5)), -EIO);
    assert_int_equal(seen(shared + ptoa(2), &hold, 0)[0], 7);
    fl_unhold(&hold);
    assert_int_equal(test_load8(map, shared + ptoa(2)), 7);
    one_file_end();
}

/* A page that is cut off is unmapped at once; its frame belongs to the call until the call ends. */
static void a_file_is_cut_under_the_call(void **state)
{
    (void)state;
    uint8_t byte;
    begin(test_params(7));
    test_store8(map, private + ptoa(5), 3);
    struct fl_hold hold = hold_pages(shared + ptoa(3), 4, VM_PROT_WRITE),
                   own = hold_pages(private + ptoa(5), 1, VM_PROT_WRITE);
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(4) + 100), 0);
    assert_non_null(seen(shared + ptoa(3), &hold, 1));
    assert_true(!is_orphan(&hold, 1) && is_orphan(&hold, 2) && is_orphan(&hold, 3) && is_orphan(&own, 0));
    assert_null(seen(shared + ptoa(3), &hold, 2));
    assert_null(seen(private + ptoa(5), &own, 0));
    assert_int_equal(sim_load(map, shared + ptoa(5), &byte, 1, NULL), -ENXIO);
    sim_vm_check();
    /* and another page is mapped there at once */
    assert_int_equal(fl_vnode_truncate(file.vnode, ptoa(8)), 0);
    assert_int_equal(test_load8(map, shared + ptoa(5)), 0);
    test_store8(map, shared + ptoa(5), 9);
    /* a device that still writes to the frame */
    memset(sim_frame(vm_page_frame(hold.page[2])), 0x66, VM_PAGE_SIZE);
    assert_int_equal(test_load8(map, shared + ptoa(5)), 9);
    uint32_t free = frames_free();
    fl_unhold(&hold);
    fl_unhold(&own);
    assert_int_equal(frames_free(), free + 3);
    one_file_end();
}

static void memory_is_unmapped_under_the_call(void **state)
{
    (void)state;
    begin(test_params(8));
    struct fl_hold of_file = hold_pages(shared, 2, VM_PROT_WRITE),
                   own = hold_pages(private, 2, VM_PROT_WRITE), none = hold_pages(anon, 2, VM_PROT_WRITE);
    seen(shared, &of_file, 0)[3] = 77;
    assert_int_equal(fl_sys_munmap(map, shared, ptoa(NPAGES)), 0);
    assert_int_equal(fl_sys_munmap(map, private, ptoa(NPAGES)), 0);
    assert_int_equal(fl_sys_munmap(map, anon, ptoa(NPAGES)), 0);
    assert_true(is_orphan(&own, 0) && is_orphan(&own, 1) && is_orphan(&none, 0));
    /* the page of the file, whichever mapping shows it */
    assert_non_null(((struct vm_page *)of_file.page[0])->object);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_int_equal(disk_byte(3), 77);
    fl_unhold(&own);
    fl_unhold(&none);
    fl_unhold(&of_file);
    one_file_end();
}

/* A hold keeps neither the file nor the space: both end before it. */
static void everything_ends_under_the_call(void **state)
{
    (void)state;
    begin(test_params(9));
    struct fl_hold hold = hold_pages(shared, 3, VM_PROT_WRITE), none = hold_pages(anon, 1, VM_PROT_READ);
    seen(shared, &hold, 1)[1] = 55;
    fl_space_destroy(map);
    assert_int_equal(fl_vnode_close(file.vnode), 0); /* the last reference: every dirty page is written */
    assert_int_equal(disk_byte(ptoa(1) + 1), 55);
    assert_true(is_orphan(&hold, 0) && is_orphan(&hold, 2) && is_orphan(&none, 0));
    sim_vm_check();
    uint32_t free = frames_free();
    fl_unhold(&hold);
    fl_unhold(&none);
    assert_int_equal(frames_free(), free + 4);
    sim_shutdown();
    sim_disk_destroy(disk);
}

/* A held private page that is discarded reads as zeros, unless the mapping shows another page there. */
static void private_memory_is_discarded_under_the_call(void **state)
{
    (void)state;
    begin(test_params(10));
    test_store8(map, anon + 1, 5);
    test_store8(map, private + 1, 6);
    struct fl_hold hold = hold_pages(anon, 2, VM_PROT_WRITE), own = hold_pages(private, 1, VM_PROT_WRITE);
    assert_int_equal(fl_sys_madvise(map, anon, ptoa(4), FL_MADV_DONTNEED), 0);
    assert_int_equal(seen(anon, &hold, 0)[1], 0);
    seen(anon, &hold, 0)[1] = 8;
    assert_int_equal(test_load8(map, anon + 1), 8);
    assert_int_equal(fl_sys_madvise(map, private, ptoa(1), FL_MADV_DONTNEED), 0);
    assert_true(is_orphan(&own, 0));
    assert_int_equal(test_load8(map, private + 1), test_byte(1));
    fl_unhold(&hold);
    fl_unhold(&own);
    assert_int_equal(test_load8(map, anon + 1), 8);
    one_file_end();
}

/* No other call on a range with a held page waits for the hold. */
static void all_other_calls_go_on(void **state)
{
    (void)state;
    uint8_t bytes[100] = {1, 2, 3};
    struct fl_iovec iov = {bytes, sizeof bytes};
    begin(test_params(11));
    struct fl_hold hold = hold_pages(shared, 2, VM_PROT_WRITE);
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &(struct fl_iocb){.offset = 50}), sizeof bytes);
    assert_int_equal(fl_vnode_read(file.vnode, &iov, 1, &(struct fl_iocb){.offset = 50}), sizeof bytes);
    assert_int_equal(bytes[1], 2);
    assert_int_equal(fl_vnode_fsync(file.vnode, 0, NULL), 0);
    assert_int_equal(fl_sys_msync(map, shared, ptoa(NPAGES), FL_MS_SYNC | FL_MS_INVALIDATE), 0);
    assert_int_equal(fl_sys_madvise(map, shared, ptoa(NPAGES), FL_MADV_PAGEOUT), 0);
    assert_int_equal(fl_sys_madvise(map, shared, ptoa(NPAGES), FL_MADV_DONTNEED), 0);
    assert_int_equal(fl_vnode_fadvise(file.vnode, 0, 0, FL_FADV_DONTNEED), 0);
    assert_int_equal(fl_sys_mlock(map, shared, ptoa(NPAGES)), 0);
    assert_int_equal(fl_sys_munlock(map, shared, ptoa(NPAGES)), 0);
    assert_non_null(seen(shared, &hold, 0)); /* none of the calls unmapped it */
    int64_t to = fl_sys_mremap(map, shared, ptoa(NPAGES), ptoa(NPAGES + 4), FL_MREMAP_MAYMOVE, 0);
    assert_true(to > 0);
    assert_int_equal(fl_sys_mprotect(map, (vm_offset_t)to, ptoa(NPAGES), VM_PROT_READ), 0);
    assert_int_equal(fl_sys_munmap(map, (vm_offset_t)to, ptoa(NPAGES)), 0);
    fl_unhold(&hold);
    one_file_end();
}

static void read_page(void *arg)
{
    uint8_t *got = arg;
    struct fl_iovec iov = {got, VM_PAGE_SIZE};
    assert_int_equal(fl_vnode_read(file.vnode, &iov, 1, &(struct fl_iocb){.offset = ptoa(1)}), VM_PAGE_SIZE);
}

/*
 * The core's own copies of a page are short, so a removal waits for them; if it did not, the machine sim
 * would panic. The reader sees the page as it was, or the hole.
 */
static void a_removal_waits_for_a_reader(void **state)
{
    (void)state;
    uint8_t got[VM_PAGE_SIZE];
    for (uint64_t seed = 1; seed < 80; seed++) {
        struct sim_params params = test_params(seed);
        params.torture.preempt_permille = 300;
        begin(params);
        (void)test_load8(map, shared + ptoa(1));
        sim_run("read", read_page, got);
        assert_int_equal(fl_vnode_punch(file.vnode, 0, ptoa(4)), 0);
        sim_join_all();
        for (uint32_t i = 0; i < VM_PAGE_SIZE; i++)
            assert_true(got[i] == 0 || got[i] == test_byte(ptoa(1) + i));
        one_file_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_holds_nothing),
        cmocka_unit_test(a_hold_that_does_not_fit_is_refused),
        cmocka_unit_test(a_throttled_caller_holds_nothing),
        cmocka_unit_test(resident_pages_are_held_as_they_are),
        cmocka_unit_test(a_hole_is_punched_under_the_call),
        cmocka_unit_test(a_punch_that_is_refused_leaves_the_held_bytes),
        cmocka_unit_test(a_file_is_cut_under_the_call),
        cmocka_unit_test(memory_is_unmapped_under_the_call),
        cmocka_unit_test(everything_ends_under_the_call),
        cmocka_unit_test(private_memory_is_discarded_under_the_call),
        cmocka_unit_test(all_other_calls_go_on),
        cmocka_unit_test(a_removal_waits_for_a_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
