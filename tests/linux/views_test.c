/*
 * views_test.c: free views, in which the kernel enters resident pages and takes first stores by itself. What
 * is reported of stores, for every way into the memfd; freezing; attaching and detaching.
 */
#include "machine_fixture.h"
#include "bounce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGES  64
#define VIEW_C (LINUX_WINDOW_START + ((vm_offset_t)3 << 30))

/* Returns what is harvested of one page. */
static unsigned harvest(vm_offset_t view, vm_pindex_t pindex, unsigned clear)
{
    vm_offset_t va = view + ptoa(pindex);
    uint8_t bits = 0;

    machine_harvest(space, va, va + ptoa(1), clear, &bits);
    machine_sync(space);
    return bits;
}

static bool dirty(vm_offset_t view, vm_pindex_t pindex)
{
    return (harvest(view, pindex, 0) & MACHINE_DIRTY) != 0;
}

static void load(vm_offset_t view, vm_pindex_t pindex)
{
    (void)*(volatile uint8_t *)(view + ptoa(pindex));
}

static void store(vm_offset_t view, vm_pindex_t pindex)
{
    (*(volatile uint8_t *)(view + ptoa(pindex)))++;
}

/* The bytes of filled pages go to the memfd, past all views. */
static void flush(vm_pindex_t pindex, uint32_t npages)
{
    for (vm_pindex_t i = pindex; i < pindex + npages; i++)
        assert_int_equal(linux_bounce_flush(frame_of[i], false), 0);
}

/* The kernel enters the page in the view for a load, where it is clean, and dirty after a store. */
static void assert_enters_clean(vm_offset_t view, vm_pindex_t pindex)
{
    unsigned before = faults;

    assert_false(dirty(view, pindex));
    load(view, pindex);
    assert_int_equal(harvest(view, pindex, 0), MACHINE_REFERENCED);
    store(view, pindex);
    assert_int_equal(harvest(view, pindex, MACHINE_DIRTY), MACHINE_REFERENCED | MACHINE_DIRTY);
    assert_int_equal(harvest(view, pindex, 0), MACHINE_REFERENCED);
    assert_int_equal(faults, before);
}

static void a_copied_page_is_clean_until_its_first_store(void **state)
{
    (void)state;
    uint8_t bits[PAGES] = {0};

    start(1 << 20);
    attach(VIEW_A, PAGES, VM_PROT_RW, 0);
    assert_true(load_faults(VIEW_A));
    faults = 0;
    fill(0, PAGES, 1);
    map(VIEW_A, 0, PAGES - 1, VM_PROT_RW, 0);
    map(VIEW_A, PAGES - 1, 1, VM_PROT_RW, MACHINE_MAP_DIRTY);
    machine_harvest(space, VIEW_A, VIEW_A + ptoa(PAGES - 1), MACHINE_REFERENCED | MACHINE_DIRTY, bits);
    machine_sync(space);
    for (unsigned i = 0; i < PAGES - 1; i++)
        assert_int_equal(bits[i], MACHINE_REFERENCED);
    assert_int_equal(harvest(VIEW_A, 3, 0), 0);
    for (unsigned i = 0; i < PAGES - 1; i += 3)
        store(VIEW_A, i);
    memset(bits, 0, sizeof(bits));
    machine_harvest(space, VIEW_A, VIEW_A + ptoa(PAGES - 1), MACHINE_DIRTY, bits);
    for (unsigned i = 0; i < PAGES - 1; i++)
        assert_int_equal(bits[i], i % 3 == 0 ? MACHINE_REFERENCED | MACHINE_DIRTY : 0);
    assert_false(dirty(VIEW_A, 3));
    assert_int_equal(machine_query(space, VIEW_A + ptoa(1)), 0);
    load(VIEW_A, 1);
    assert_int_equal(machine_query(space, VIEW_A + ptoa(1)), MACHINE_MAPPED | MACHINE_REFERENCED);
    store(VIEW_A, 1);
    assert_int_equal(machine_query(space, VIEW_A + ptoa(1)),
                     MACHINE_MAPPED | MACHINE_REFERENCED | MACHINE_DIRTY);
    /* A right to write is neither taken nor given here. */
    machine_wrprotect(space, VIEW_A, VIEW_A + ptoa(PAGES));
    map(VIEW_A, 0, PAGES, VM_PROT_READ, 0);
    assert_true(dirty(VIEW_A, 1));
    assert_false(store_faults(VIEW_A + ptoa(2)));
    assert_int_equal(faults, 0);
    release(0, PAGES);
    finish();
}

static void a_page_that_leaves_its_buffer_is_clean(void **state)
{
    (void)state;
    start(1 << 20);
    attach(VIEW_A, PAGES, VM_PROT_RW, 0);
    attach(VIEW_B, PAGES, VM_PROT_RW, 0);
    for (unsigned round = 0; round < 3; round++) { /* later ones where pages were stored to, and released */
        fill(0, PAGES, 1);
        flush(0, PAGES);
        assert_enters_clean(VIEW_A, 3);
        assert_enters_clean(VIEW_B, 3);
        store(VIEW_A, 4);
        assert_false(dirty(VIEW_B, 4));
        assert_true(dirty(VIEW_A, 4));
        store(VIEW_B, 5);
        release(0, PAGES);
    }
    finish();
}

static void a_page_that_another_view_entered_is_clean(void **state)
{
    (void)state;
    start(1 << 20);
    attach(VIEW_A, PAGES, VM_PROT_RW, 0);
    attach(VIEW_B, PAGES, VM_PROT_RW, 0);
    attach(VIEW_C, PAGES, VM_PROT_READ, 0);
    fill(0, PAGES, 1);
    map(VIEW_B, 0, 4, VM_PROT_RW, 0);
    map(VIEW_B, 4, 4, VM_PROT_RW, MACHINE_MAP_DIRTY);
    map(VIEW_C, 8, 4, VM_PROT_READ, 0);
    for (vm_pindex_t i = 0; i < 12; i++)
        assert_enters_clean(VIEW_A, i);
    assert_true(dirty(VIEW_B, 5));
    assert_false(dirty(VIEW_B, 1));
    machine_detach(space, VIEW_C, VIEW_C + ptoa(PAGES));
    attach(VIEW_C, PAGES, VM_PROT_RW, MACHINE_ATTACH_WRITENOTIFY);
    map(VIEW_C, 12, 4, VM_PROT_RW, MACHINE_MAP_DIRTY);
    for (vm_pindex_t i = 12; i < 16; i++)
        assert_enters_clean(VIEW_A, i);
    release(0, PAGES);
    finish();
}

static void windows_and_copies_hide_no_store(void **state)
{
    (void)state;
    struct machine_run run;
    void *addr[2];
    size_t done;

    start(1 << 20);
    attach(VIEW_A, PAGES, VM_PROT_RW, 0);
    fill(0, PAGES, 1);
    run = run_of(0, 2); /* in slots: the window moves them to the memfd */
    assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_EDIT, false, addr), 0);
    machine_window_put(&run, MACHINE_WINDOW_EDIT, addr, true);
    assert_enters_clean(VIEW_A, 1);
    store(VIEW_A, 0);
    assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_EDIT, false, addr), 0);
    machine_window_put(&run, MACHINE_WINDOW_EDIT, addr, true);
    assert_true(dirty(VIEW_A, 0));
    run = run_of(2, 1);
    assert_int_equal(machine_copyout(&run, 0, (uint8_t[1]){0}, 1, &done), 0);
    assert_enters_clean(VIEW_A, 2);
    store(VIEW_A, 2);
    assert_int_equal(machine_copyin(&run, 100, "x", 1, &done), 0);
    assert_true(dirty(VIEW_A, 2));
    /* A page that a copy brings may be reported: the core knows it as dirty. After a harvest it is exact. */
    run = run_of(3, 1);
    release(3, 1);
    uint8_t *bytes = malloc(VM_PAGE_SIZE);
    page_bytes(bytes, 3, 2);
    assert_int_equal(machine_copyin(&run, 0, bytes, VM_PAGE_SIZE, &done), 0);
    free(bytes);
    (void)harvest(VIEW_A, 3, MACHINE_DIRTY);
    assert_page((void *)(VIEW_A + ptoa(3)), 3, 2);
    assert_enters_clean(VIEW_A, 3);
    release(0, PAGES);
    finish();
}

static void a_view_of_resident_pages_finds_them_clean(void **state)
{
    (void)state;
    start(1 << 20);
    attach(VIEW_A, NFRAMES, VM_PROT_RW, 0);
    fill(0, PAGES, 1);
    fill(NFRAMES - PAGES, PAGES, 1);
    map(VIEW_A, 0, PAGES, VM_PROT_RW, MACHINE_MAP_DIRTY);
    flush(NFRAMES - PAGES, PAGES);
    attach(VIEW_B, NFRAMES, VM_PROT_RW, 0);
    attach(VIEW_C, NFRAMES, VM_PROT_READ, 0);
    load(VIEW_C, 1);
    assert_int_equal(machine_protect(space, VIEW_C + ptoa(1), VIEW_C + ptoa(PAGES), VM_PROT_RW), 0);
    fill(PAGES, 8, 1);
    flush(PAGES, 8); /* a page that comes later */
    for (vm_pindex_t i = 0; i < 3; i++) {
        assert_enters_clean(VIEW_B, i);
        assert_enters_clean(VIEW_B, PAGES + i);
        assert_enters_clean(VIEW_B, NFRAMES - 1 - i);
        assert_enters_clean(VIEW_C, 1 + i);
    }
    assert_true(store_faults(VIEW_C));
    assert_true(dirty(VIEW_A, 0));
    release(0, PAGES + 8);
    release(NFRAMES - PAGES, PAGES);
    finish();
}

/* Also where a whole page table becomes empty. */
static void forgetting_pages_keeps_what_was_stored(void **state)
{
    (void)state;
    uint8_t bits[MACHINE_RUN_MAX];

    start(1 << 20);
    attach(VIEW_A, NFRAMES, VM_PROT_RW, 0);
    for (vm_pindex_t i = 0; i < NFRAMES; i += PAGES) {
        fill(i, PAGES, 1);
        map(VIEW_A, i, PAGES, VM_PROT_RW, 0);
    }
    for (vm_pindex_t i = 0; i < NFRAMES; i++) {
        if (i / 512 % 2 == 0 || i % 7 == 0)
            store(VIEW_A, i);
    }
    machine_unmap(space, VIEW_A, VIEW_A + ptoa(NFRAMES), 0, NULL);
    machine_sync(space);
    for (vm_pindex_t i = 0; i < NFRAMES; i += MACHINE_RUN_MAX) {
        memset(bits, 0, sizeof(bits));
        machine_harvest(space, VIEW_A + ptoa(i), VIEW_A + ptoa(i + MACHINE_RUN_MAX), 0, bits);
        for (vm_pindex_t k = 0; k < MACHINE_RUN_MAX; k++)
            assert_int_equal(bits[k], (i + k) / 512 % 2 == 0 || (i + k) % 7 == 0 ? MACHINE_DIRTY : 0);
    }
    assert_int_equal(faults, 0);
    for (vm_pindex_t i = 0; i < NFRAMES; i += MACHINE_RUN_MAX)
        release(i, MACHINE_RUN_MAX);
    finish();
}

static void a_right_that_is_taken_takes_no_report(void **state)
{
    (void)state;
    start(1 << 20);
    attach(VIEW_A, PAGES, VM_PROT_RW, 0);
    fill(0, PAGES, 1);
    map(VIEW_A, 0, PAGES, VM_PROT_RW, 0);
    store(VIEW_A, 1);
    assert_int_equal(machine_protect(space, VIEW_A, VIEW_A + ptoa(8), VM_PROT_READ), 0);
    assert_true(store_faults(VIEW_A + ptoa(2)));
    assert_true(dirty(VIEW_A, 1));
    assert_int_equal(machine_protect(space, VIEW_A, VIEW_A + ptoa(8), VM_PROT_NONE), 0);
    assert_true(load_faults(VIEW_A + ptoa(2)));
    assert_true(dirty(VIEW_A, 1));
    assert_int_equal(machine_protect(space, VIEW_A, VIEW_A + ptoa(8), VM_PROT_RW), 0);
    assert_true(dirty(VIEW_A, 1));
    assert_enters_clean(VIEW_A, 2);
    release(0, PAGES);
    finish();
}

static void a_frozen_range_takes_no_store(void **state)
{
    (void)state;
    vm_offset_t low = VIEW_A + ptoa(8), high = VIEW_A + ptoa(16);

    start(1 << 20);
    attach(VIEW_A, PAGES, VM_PROT_RW, 0);
    attach(VIEW_B, PAGES, VM_PROT_READ, 0);
    attach(VIEW_C, PAGES, VM_PROT_RW, MACHINE_ATTACH_WRITENOTIFY);
    fill(0, PAGES, 1);
    map(VIEW_A, 0, 8, VM_PROT_RW, 0);
    map(VIEW_A, 8, 4, VM_PROT_RW, 0);
    store(VIEW_A, 9);
    assert_int_equal(machine_freeze(space, low, high, VM_PROT_RW), 0);
    assert_true(store_faults(VIEW_A + ptoa(8)));
    assert_true(store_faults(VIEW_A + ptoa(9)));
    assert_false(load_faults(VIEW_A + ptoa(9)));
    assert_false(store_faults(VIEW_A + ptoa(7)));
    map(VIEW_A, 12, PAGES - 12, VM_PROT_RW, 0); /* past the end of the frozen part */
    assert_page((void *)(VIEW_A + ptoa(15)), 15, 1);
    assert_page((void *)(VIEW_A + ptoa(16)), 16, 1);
    assert_true(store_faults(VIEW_A + ptoa(15)));
    assert_enters_clean(VIEW_A, 16);
    assert_true((harvest(VIEW_A, 9, MACHINE_DIRTY) & MACHINE_DIRTY) != 0);
    assert_false(dirty(VIEW_A, 9));
    machine_thaw(space, low, high, VM_PROT_RW);
    assert_enters_clean(VIEW_A, 9);
    assert_enters_clean(VIEW_A, 15);
    /* Other views have nothing to freeze. */
    map(VIEW_C, 1, 1, VM_PROT_RW, MACHINE_MAP_DIRTY);
    assert_int_equal(machine_freeze(space, VIEW_B, VIEW_B + ptoa(PAGES), VM_PROT_READ), 0);
    assert_int_equal(machine_freeze(space, VIEW_C, VIEW_C + ptoa(PAGES), VM_PROT_RW), 0);
    assert_false(store_faults(VIEW_C + ptoa(1)));
    machine_thaw(space, VIEW_B, VIEW_B + ptoa(PAGES), VM_PROT_READ);
    assert_true(store_faults(VIEW_B));
    machine_thaw(space, VIEW_C, VIEW_C + ptoa(PAGES), VM_PROT_RW);
    release(0, PAGES);
    finish();
}

static void a_part_is_turned_to_notification(void **state)
{
    (void)state;
    vm_offset_t low = VIEW_A + ptoa(8), high = VIEW_A + ptoa(16);

    start(1 << 20);
    attach(VIEW_A, PAGES, VM_PROT_RW, 0);
    fill(0, PAGES, 1);
    map(VIEW_A, 0, 12, VM_PROT_RW, 0);
    store(VIEW_A, 9);
    store(VIEW_A, 20 - 13);
    assert_int_equal(machine_freeze(space, low, high, VM_PROT_RW), 0);
    assert_int_equal(harvest(VIEW_A, 9, MACHINE_DIRTY) & MACHINE_DIRTY, MACHINE_DIRTY);
    assert_int_equal(machine_writenotify(space, low, high, VM_PROT_RW, test_object, 8), 0);
    machine_thaw(space, low, high, VM_PROT_RW); /* harmless */
    map(VIEW_A, 4, PAGES - 4, VM_PROT_READ, 0); /* over both ends */
    for (vm_pindex_t i = 8; i < 16; i++) {
        assert_true(store_faults(VIEW_A + ptoa(i)));
        assert_false(load_faults(VIEW_A + ptoa(i)));
        assert_false(dirty(VIEW_A, i));
    }
    assert_true(dirty(VIEW_A, 7));
    assert_enters_clean(VIEW_A, 6);
    assert_enters_clean(VIEW_A, 16);
    map(VIEW_A, 8, 1, VM_PROT_RW, MACHINE_MAP_DIRTY);
    assert_false(store_faults(VIEW_A + ptoa(8)));
    assert_int_equal(harvest(VIEW_A, 8, MACHINE_REFERENCED), MACHINE_REFERENCED);
    assert_true(load_faults(VIEW_A + ptoa(8))); /* the kernel does not enter it here */
    release(0, PAGES);
    finish();
}

static void a_hole_in_a_view_shows_another_object(void **state)
{
    (void)state;
    vm_offset_t low = VIEW_A + ptoa(8), high = VIEW_A + ptoa(16);
    void *first, *second;

    start(1 << 20);
    first = test_object;
    assert_int_equal(machine_object_init(&second), 0);
    attach(VIEW_A, PAGES, VM_PROT_RW, 0);
    fill(0, 8, 1);
    map(VIEW_A, 0, 8, VM_PROT_RW, 0);
    store(VIEW_A, 7);
    machine_detach(space, low, high);
    assert_true(load_faults(low));
    assert_int_equal(machine_attach(space, low, high, VM_PROT_RW, second, 8, 0), 0);
    test_object = second;
    fill(8, 8, 2);
    map(VIEW_A, 8, 8, VM_PROT_RW, 0);
    store(VIEW_A, 9);
    test_object = first;
    struct machine_run run = run_of(9, 1); /* marks the first object's page in no view */
    vm_frame_t frame = NFRAMES - 1;
    void *addr;
    run.frame = &frame;
    assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr), 0);
    machine_window_put(&run, MACHINE_WINDOW_FILL, &addr, true);
    assert_int_equal(linux_bounce_flush(frame, false), 0);
    assert_true(dirty(VIEW_A, 9));
    assert_true(dirty(VIEW_A, 7));
    machine_release(&run);
    fill(16, 8, 1);
    flush(16, 8);
    assert_enters_clean(VIEW_A, 16);
    release(0, 8);
    release(16, 8);
    test_object = second;
    release(8, 8);
    machine_object_fini(first);
    finish();
}

#define NVIEWS 4096 /* as many as there are records */

static vm_offset_t view_at(unsigned i)
{
    return VIEW_C + ptoa(8) * i;
}

/* A view that finds no record tells of every store. A cut that needs one leaves the range inaccessible. */
static void views_beyond_the_table_are_told_of_stores(void **state)
{
    (void)state;
    start(1 << 20);
    attach(VIEW_A, PAGES, VM_PROT_RW, 0);
    for (unsigned i = 0; i < NVIEWS - 1; i++)
        assert_int_equal(
            machine_attach(space, view_at(i), view_at(i) + ptoa(4), VM_PROT_RW, test_object, 0, 0), 0);
    attach(VIEW_B, PAGES, VM_PROT_RW, 0);
    fill(0, 16, 1);
    map(VIEW_A, 0, 16, VM_PROT_RW, 0);
    assert_enters_clean(VIEW_A, 1);
    assert_enters_clean(view_at(NVIEWS - 2), 1);
    map(VIEW_B, 0, 16, VM_PROT_READ, 0);
    assert_true(store_faults(VIEW_B + ptoa(1)));
    machine_detach(space, VIEW_A + ptoa(4), VIEW_A + ptoa(8));
    assert_true(load_faults(VIEW_A + ptoa(4)));
    assert_true(load_faults(VIEW_A + ptoa(7)));
    assert_enters_clean(VIEW_A, 3);
    assert_enters_clean(VIEW_A, 8);
    assert_int_equal(machine_attach(space, VIEW_A + ptoa(4), VIEW_A + ptoa(8), VM_PROT_RW, test_object, 0, 0),
                     -ENOMEM);
    machine_detach(space, view_at(5), view_at(5) + ptoa(4));
    assert_int_equal(machine_attach(space, VIEW_A + ptoa(4), VIEW_A + ptoa(8), VM_PROT_RW, test_object, 4, 0),
                     0);
    map(VIEW_A, 4, 1, VM_PROT_READ, 0);
    assert_true(store_faults(VIEW_A + ptoa(4))); /* the cut took the record */
    machine_detach(space, VIEW_C, view_at(NVIEWS));
    release(0, 16);
    finish();
}

static void views_that_continue_each_other_are_one(void **state)
{
    (void)state;
    start(1 << 20);
    for (unsigned i = 0; i < NFRAMES; i++)
        for (unsigned k = 0; k < 4; k++) {
            vm_offset_t va = VIEW_A + ptoa(4) * i + ptoa(k);
            assert_int_equal(machine_attach(space, va, va + ptoa(1), VM_PROT_RW, test_object, 4 * i + k, 0),
                             0);
        }
    fill(NFRAMES - 1, 1, 1);
    map(VIEW_A, NFRAMES - 1, 1, VM_PROT_RW, 0);
    assert_enters_clean(VIEW_A, NFRAMES - 1);
    attach(VIEW_B, PAGES, VM_PROT_RW, 0);
    fill(0, 1, 1);
    flush(0, 1);
    assert_enters_clean(VIEW_B, 0); /* there is a record for it */
    release(0, 1);
    release(NFRAMES - 1, 1);
    finish();
}

/* At the limit on areas the kernel splits none: then the pages themselves are barred. */
static void the_limit_on_areas_leaves_nothing_accessible(void **state)
{
    (void)state;
    vm_offset_t va = VIEW_C;
    int error = 0;

    start(1 << 20);
    attach(VIEW_B, PAGES, VM_PROT_RW, 0);
    fill(0, 8, 1);
    map(VIEW_B, 0, 8, VM_PROT_RW, 0);
    store(VIEW_B, 5);
    for (unsigned i = 0; i < 1u << 20 && error == 0; i++, va += ptoa(2))
        error =
            machine_attach(space, va, va + ptoa(1), VM_PROT_READ, test_object, 0, MACHINE_ATTACH_WRITENOTIFY);
    assert_int_equal(error, -ENOMEM);
    assert_int_equal(machine_freeze(space, VIEW_B + ptoa(1), VIEW_B + ptoa(2), VM_PROT_RW), -ENOMEM);
    assert_false(store_faults(VIEW_B + ptoa(1)));
    machine_detach(space, VIEW_B + ptoa(4), VIEW_B + ptoa(16));
    assert_false(load_faults(VIEW_B + ptoa(3)));
    assert_true(load_faults(VIEW_B + ptoa(4)));
    assert_true(load_faults(VIEW_B + ptoa(5)));
    assert_true(load_faults(VIEW_B + ptoa(15)));
    machine_detach(space, VIEW_C, va);
    attach(VIEW_B, PAGES, VM_PROT_RW, 0);
    assert_enters_clean(VIEW_B, 5);
    release(0, 8);
    finish();
}

/* ---- everything, at random, beside a model ------------------------------------------------------------- */

#define NMODEL_VIEWS 3

static const vm_offset_t model_view[NMODEL_VIEWS] = {VIEW_A, VIEW_B, VIEW_C};
static struct {
    bool filled;
    bool dirty[NMODEL_VIEWS]; /* stored to through that view, or entered as dirty, and not harvested since */
} model[PAGES];

/* The page is absent from the memfd. */
static bool model_kept(vm_pindex_t i)
{
    return linux_bounce_kept(frame_of[i]);
}

static void model_harvest(unsigned *seed, unsigned view, vm_pindex_t first, vm_pindex_t end)
{
    unsigned clear = (unsigned)rand_r(seed) % 4;
    uint8_t bits[PAGES] = {0};

    machine_harvest(space, model_view[view] + ptoa(first), model_view[view] + ptoa(end), clear, bits);
    machine_sync(space);
    for (vm_pindex_t i = first; i < end; i++) {
        if (!model[i].filled || model_kept(i))
            continue;
        assert_int_equal((bits[i - first] & MACHINE_DIRTY) != 0, model[i].dirty[view]);
        model[i].dirty[view] = model[i].dirty[view] && (clear & MACHINE_DIRTY) == 0;
    }
}

static void model_map(unsigned *seed, unsigned view, vm_pindex_t first, vm_pindex_t end)
{
    unsigned flags = rand_r(seed) % 2 == 0 ? MACHINE_MAP_DIRTY : 0;
    vm_prot_t prot = rand_r(seed) % 2 == 0 ? VM_PROT_RW : VM_PROT_READ;

    for (vm_pindex_t i = first; i < end && model[i].filled; i++) {
        bool written = model_kept(i) && prot == VM_PROT_RW && flags == MACHINE_MAP_DIRTY;
        map(model_view[view], i, 1, prot, flags);
        model[i].dirty[view] = model[i].dirty[view] || written;
    }
}

static void model_release(vm_pindex_t first, vm_pindex_t end)
{
    release(first, (uint32_t)(end - first));
    for (vm_pindex_t i = first; i < end; i++)
        memset(&model[i], 0, sizeof(model[i]));
}

static void model_access(unsigned *seed, unsigned view, vm_pindex_t i)
{
    vm_offset_t va = model_view[view] + ptoa(i);

    if (!model[i].filled) {
        assert_true(load_faults(va));
    } else if (rand_r(seed) % 2 == 0) {
        load(model_view[view], i); /* a page in a slot is entered by the handler, as clean */
    } else {
        store(model_view[view], i);
        model[i].dirty[view] = true;
    }
}

static void model_detach(unsigned view, vm_pindex_t first, vm_pindex_t end)
{
    vm_offset_t at = model_view[view] + ptoa(first), stop = model_view[view] + ptoa(end);

    machine_detach(space, at, stop);
    assert_int_equal(
        machine_attach(space, at, stop, first % 2 == 0 ? VM_PROT_RW : VM_PROT_READ, test_object, first, 0),
        0);
    assert_int_equal(machine_protect(space, at, stop, VM_PROT_RW), 0);
    for (vm_pindex_t i = first; i < end; i++)
        model[i].dirty[view] = false;
}

static void model_step(unsigned *seed)
{
    vm_pindex_t first = (vm_pindex_t)rand_r(seed) % PAGES, end = first + 1 + (vm_pindex_t)rand_r(seed) % 12;
    unsigned view = (unsigned)rand_r(seed) % NMODEL_VIEWS;

    end = end < PAGES ? end : PAGES;
    switch (rand_r(seed) % 12) {
    case 0:
        for (vm_pindex_t i = first; i < end; i++) {
            if (!model[i].filled)
                fill(i, 1, 1);
            model[i].filled = true;
        }
        break;
    case 1:
        model_map(seed, view, first, end);
        break;
    case 2:
        machine_unmap(space, model_view[view] + ptoa(first), model_view[view] + ptoa(end), 0, NULL);
        break;
    case 3:
        model_harvest(seed, view, first, end);
        break;
    case 4:
        if (rand_r(seed) % 2 == 0)
            model_release(first, end);
        break;
    case 5:
        flush(first, (uint32_t)(end - first));
        break;
    case 6:
        if (rand_r(seed) % 4 == 0)
            model_detach(view, first, end);
        break;
    case 7:
        first = model_view[view] + ptoa(first);
        end = model_view[view] + ptoa(end);
        assert_int_equal(machine_freeze(space, first, end, VM_PROT_RW), 0);
        machine_thaw(space, first, end, VM_PROT_RW);
        break;
    default:
        model_access(seed, view, first);
        break;
    }
}

static void random_steps_report_every_store_and_no_other(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);

    print_message("seed %u\n", seed);
    start(32 * VM_PAGE_SIZE);
    memset(model, 0, sizeof(model));
    for (unsigned i = 0; i < NMODEL_VIEWS; i++)
        attach(model_view[i], PAGES, VM_PROT_RW, 0);
    for (int i = 0; i < 60000; i++)
        model_step(&seed);
    release(0, PAGES);
    finish();
}

#define TEST(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_copied_page_is_clean_until_its_first_store),
        TEST(a_page_that_leaves_its_buffer_is_clean),
        TEST(a_page_that_another_view_entered_is_clean),
        TEST(windows_and_copies_hide_no_store),
        TEST(a_view_of_resident_pages_finds_them_clean),
        TEST(forgetting_pages_keeps_what_was_stored),
        TEST(a_right_that_is_taken_takes_no_report),
        TEST(a_frozen_range_takes_no_store),
        TEST(a_part_is_turned_to_notification),
        TEST(a_hole_in_a_view_shows_another_object),
        TEST(views_beyond_the_table_are_told_of_stores),
        TEST(views_that_continue_each_other_are_one),
        TEST(the_limit_on_areas_leaves_nothing_accessible),
        TEST(random_steps_report_every_store_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
