/*
 * pmap_test.c: x86-64 page tables against a plain array of what is mapped;
 * and the rules of machine.h that the sim checks beside them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/boot.h"
#include "x86/pmap.h"

/* ---- the model: what is mapped at each of some addresses on both sides of every kind of table's edge  */

#define NREGIONS 6
#define NPAGES   24 /* of each region */
#define NVAS     (NREGIONS * NPAGES)

static const vm_offset_t region_start[NREGIONS] = {
    0x10000,                      /* low */
    (1ull << 21) - 12 * 4096,     /* two page tables */
    (1ull << 30) - 12 * 4096,     /* two directories */
    (1ull << 39) - 12 * 4096,     /* two pointer tables */
    (1ull << 46),                 /* alone in the upper half */
    (1ull << 47) - NPAGES * 4096, /* the end */
};

struct model_page {
    bool mapped;
    vm_frame_t frame;
    vm_prot_t prot;
    bool wired, referenced, modified;
};

static struct model_page model[NVAS];
static struct pmap pmap;
static struct prng prng;

static vm_offset_t va_of(unsigned i)
{
    return region_start[i / NPAGES] + (i % NPAGES) * VM_PAGE_SIZE;
}

static vm_prot_t some_prot(void)
{
    vm_prot_t prot = VM_PROT_READ;

    if (prng_chance(&prng, 500))
        prot |= VM_PROT_WRITE;
    if (prng_chance(&prng, 500))
        prot |= VM_PROT_EXECUTE;
    return prot;
}

static void compare(void)
{
    uint64_t resident = 0;

    for (unsigned i = 0; i < NVAS; i++) {
        pt_entry_t pte = pmap_extract(&pmap, va_of(i));

        assert_int_equal(pte != 0, model[i].mapped);
        if (!model[i].mapped)
            continue;
        resident++;
        assert_int_equal(atop(pte & X86_PG_FRAME), model[i].frame);
        assert_int_equal(pte_prot(pte), model[i].prot);
        assert_int_equal((pte & X86_PG_W) != 0, model[i].wired);
        assert_int_equal((pte & X86_PG_A) != 0, model[i].referenced);
        assert_int_equal((pte & X86_PG_M) != 0, model[i].modified);
    }
    assert_int_equal(pmap.resident_count, resident);
    for (vm_frame_t frame = 0; frame < 16; frame++) {
        uint32_t count = 0;

        for (unsigned i = 0; i < NVAS; i++)
            count += model[i].mapped && model[i].frame == frame;
        assert_int_equal(sim_frame_mappings(frame), count);
    }
    pmap_check(&pmap);
}

static void enter(unsigned i)
{
    struct model_page page = {
        .mapped = true, .frame = (vm_frame_t)prng_below(&prng, 16), .prot = some_prot()};
    pt_entry_t was;

    page.wired = prng_chance(&prng, 200);
    page.modified = prng_chance(&prng, 200);
    pt_entry_t also = (page.wired ? X86_PG_W : 0) | (page.modified ? X86_PG_M : 0);
    int error = pmap_enter_pte(&pmap, va_of(i), page.frame, page.prot, also, &was);
    if (error != 0) {
        assert_int_equal(error, -ENOMEM);
        assert_false(model[i].mapped); /* replacing a mapping takes no memory */
        return;
    }
    assert_int_equal((was & X86_PG_V) != 0, model[i].mapped);
    if (model[i].mapped && model[i].frame == page.frame) {
        page.referenced = model[i].referenced;
        page.modified = page.modified || model[i].modified;
    }
    model[i] = page;
}

static void enter_quick(unsigned i)
{
    vm_frame_t frame = (vm_frame_t)prng_below(&prng, 16);
    vm_prot_t prot = some_prot();
    uint32_t before = sim_stats().ntables;
    bool modified = prng_chance(&prng, 200);
    bool entered = pmap_enter_quick_locked(&pmap, va_of(i), frame, prot, modified ? X86_PG_M : 0);

    assert_int_equal(sim_stats().ntables, before);
    if (model[i].mapped)
        assert_false(entered);
    if (entered)
        model[i] = (struct model_page){.mapped = true, .frame = frame, .prot = prot, .modified = modified};
}

/* Draws a range of addresses that starts and ends anywhere, most often a short one: or little would ever be
 * mapped. */
static void some_range(vm_offset_t *start, vm_offset_t *end)
{
    vm_offset_t a = va_of((unsigned)prng_below(&prng, NVAS)), b = va_of((unsigned)prng_below(&prng, NVAS));

    *start = a < b ? a : b;
    *end = (a < b ? b : a) + VM_PAGE_SIZE;
    if (prng_chance(&prng, 800))
        *end = *start + ptoa(prng_range(&prng, 1, 6));
}

/* Removes a short range with its bits, or any range without. */
static void remove_range(vm_offset_t start, vm_offset_t end)
{
    uint8_t bits[6] = {0};
    bool wanted = end - start <= ptoa(6) && prng_chance(&prng, 800);

    pmap_remove(&pmap, start, end, wanted ? bits : NULL);
    for (unsigned i = 0; i < NVAS; i++) {
        if (va_of(i) < start || va_of(i) >= end)
            continue;
        if (wanted)
            assert_int_equal(bits[atop(va_of(i) - start)],
                             model[i].mapped && model[i].modified ? MACHINE_DIRTY : 0);
        model[i] = (struct model_page){0};
    }
}

static void protect_range(vm_offset_t start, vm_offset_t end)
{
    vm_prot_t prot = prng_chance(&prng, 100) ? VM_PROT_NONE : some_prot();

    pmap_protect(&pmap, start, end, prot);
    for (unsigned i = 0; i < NVAS; i++) {
        if (va_of(i) < start || va_of(i) >= end || !model[i].mapped)
            continue;
        if (prot == VM_PROT_NONE)
            model[i] = (struct model_page){0};
        else
            model[i].prot &= prot;
    }
}

static void harvest_range(vm_offset_t start, vm_offset_t end)
{
    unsigned clear = (unsigned)prng_below(&prng, 4); /* any of MACHINE_REFERENCED, MACHINE_DIRTY */
    uint8_t bits[6] = {MACHINE_MAPPED};              /* what is set already stays */

    if (end - start > ptoa(6))
        end = start + ptoa(6);
    pmap_harvest(&pmap, start, end, clear, bits);
    assert_true(bits[0] & MACHINE_MAPPED);
    bits[0] &= (uint8_t)~MACHINE_MAPPED;
    for (unsigned i = 0; i < NVAS; i++) {
        if (va_of(i) < start || va_of(i) >= end)
            continue;
        unsigned want = model[i].mapped * ((model[i].referenced ? MACHINE_REFERENCED : 0u) |
                                           (model[i].modified ? MACHINE_DIRTY : 0u));
        assert_int_equal(bits[atop(va_of(i) - start)], want);
        model[i].referenced = model[i].referenced && !(clear & MACHINE_REFERENCED);
        model[i].modified = model[i].modified && !(clear & MACHINE_DIRTY);
    }
}

static void change_range(void)
{
    vm_offset_t start, end;

    some_range(&start, &end);
    if (prng_chance(&prng, 400))
        remove_range(start, end);
    else
        protect_range(start, end);
}

/* What the hardware does to an entry, and then a harvest. */
static void touch(unsigned i)
{
    vm_offset_t start, end;

    if (model[i].mapped) {
        uint64_t pa = pmap.pm_root->pa;

        for (unsigned level = X86_PT_LEVELS; level > 1; level--)
            pa = ((pt_entry_t *)(void *)sim_frame((vm_frame_t)atop(pa)))[pt_index(va_of(i), level)] &
                 X86_PG_FRAME;
        pte_set_bits(&((pt_entry_t *)(void *)sim_frame((vm_frame_t)atop(pa)))[pt_index(va_of(i), 1)],
                     X86_PG_A | X86_PG_M);
        model[i].referenced = model[i].modified = true;
    }
    if (prng_chance(&prng, 400)) {
        some_range(&start, &end);
        harvest_range(start, end);
    }
}

static void next_mapped(void)
{
    unsigned from = (unsigned)prng_below(&prng, NVAS), i = from;
    vm_offset_t va;

    while (i < NVAS && !model[i].mapped)
        i++;
    bool found = pmap_next_mapped(&pmap, va_of(from), 1ull << 47, &va);
    assert_int_equal(found, i < NVAS);
    if (found)
        assert_int_equal(va, va_of(i));
}

static void one_step(void)
{
    unsigned i = (unsigned)prng_below(&prng, NVAS);

    switch (prng_below(&prng, 8)) {
    case 0:
    case 1:
    case 2:
        enter(i);
        break;
    case 3:
        enter_quick(i);
        break;
    case 4:
        change_range();
        break;
    case 5:
        touch(i);
        break;
    case 6:
        next_mapped();
        break;
    default:
        pmap_free_pt_pages(&pmap);
    }
}

static void against_model(uint64_t seed, uint32_t ntables)
{
    struct sim_params params = test_params(seed);

    params.nframes = 16;
    params.ntables = ntables;
    sim_machine_init(&params);
    prng_init(&prng, seed);
    memset(model, 0, sizeof(model));
    assert_int_equal(pmap_pinit(&pmap), 0);
    for (uint64_t round = test_rounds(3000); round > 0; round--) {
        one_step();
        if (round % 8 == 0)
            compare();
    }
    pmap_remove(&pmap, 0, 1ull << 47, NULL);
    pmap_free_pt_pages(&pmap);
    assert_int_equal(sim_stats().ntables, 1); /* nothing but the root */
    pmap_release_tables(&pmap);
    sim_machine_fini();
}

static void test_model(void **state)
{
    (void)state;
    against_model(test_seed(1), 0);
}

/* Too few page-table pages for all mappings at once: an enter that fails changes nothing. */
static void test_model_short_of_tables(void **state)
{
    (void)state;
    uint64_t seed = test_seed(2);

    for (uint32_t ntables = 1; ntables < 20; ntables += 3)
        against_model(seed + ntables, ntables);
}

/* PT3: an unlinked table is not used again before pmap_free_pt_pages. */
static void test_unlinked_tables_wait(void **state)
{
    (void)state;
    struct sim_params params = test_params(test_seed(3));
    pt_entry_t was;

    params.ntables = 4;
    sim_machine_init(&params);
    assert_int_equal(pmap_pinit(&pmap), 0);
    assert_int_equal(pmap_enter_pte(&pmap, 0x1000, 1, VM_PROT_READ, 0, &was), 0);
    assert_int_equal(sim_stats().ntables, 4);
    pmap_remove(&pmap, 0, 0x2000, NULL);
    assert_int_equal(pmap_enter_pte(&pmap, 0x1000, 1, VM_PROT_READ, 0, &was), -ENOMEM);
    pmap_free_pt_pages(&pmap);
    assert_int_equal(sim_stats().ntables, 1);
    assert_int_equal(pmap_enter_pte(&pmap, 0x1000, 1, VM_PROT_READ, 0, &was), 0);
    pmap_remove(&pmap, 0, 0x2000, NULL);
    pmap_release_tables(&pmap);
    sim_machine_fini();
}

/* ---- machine.h over it ----------------------------------------------------------------------- */

#define SPACE_END ((vm_offset_t)1 << 47)
#define AT        ((vm_offset_t)0x100000)

static struct machine_space *space;
static void *object, *backing;
static const vm_frame_t frames[8] = {7, 3, 9, 4, 12, 5, 1, 2};

static void machine_up(struct sim_torture torture)
{
    struct sim_params params = test_params(test_seed(4));

    params.torture = torture;
    sim_machine_init(&params);
    assert_int_equal(machine_space_create(0x1000, SPACE_END, &space), 0);
    assert_int_equal(machine_object_init(&object), 0);
    assert_int_equal(machine_object_init(&backing), 0);
}

static int map_pages(vm_offset_t va, void *of, vm_pindex_t pindex, uint32_t npages, vm_prot_t prot,
                     unsigned flags, uint32_t *done)
{
    struct machine_run run = {.object = of, .pindex = pindex, .npages = npages, .frame = &frames[pindex]};

    return machine_map(space, va, &run, prot, flags, done);
}

static void release_pages(void *of, vm_pindex_t pindex, uint32_t npages)
{
    struct machine_run run = {.object = of, .pindex = pindex, .npages = npages, .frame = &frames[pindex]};

    machine_release(&run);
}

static void machine_down(void)
{
    machine_detach(space, 0x1000, SPACE_END);
    machine_sync(space);
    machine_space_destroy(space);
    machine_object_fini(object);
    machine_object_fini(backing);
    sim_machine_fini();
}

static void test_map_query_release(void **state)
{
    (void)state;
    struct sim_attachment a;
    uint32_t done;

    machine_up((struct sim_torture){0});
    assert_int_equal(machine_attach(space, AT, AT + ptoa(8), VM_PROT_ALL, object, 0, 0), 0);
    assert_int_equal(map_pages(AT, object, 0, 4, VM_PROT_READ, 0, &done), 0);
    assert_int_equal(done, 4);
    assert_int_equal(map_pages(AT, object, 0, 8, VM_PROT_READ | VM_PROT_WRITE, MACHINE_MAP_QUICK, &done), 0);
    assert_int_equal(machine_query(space, AT), MACHINE_MAPPED);
    assert_int_equal(machine_query(space, AT + ptoa(7)), MACHINE_MAPPED | MACHINE_WRITABLE);
    machine_wrprotect(space, AT + ptoa(6), AT + ptoa(8));
    assert_int_equal(machine_query(space, AT + ptoa(7)), MACHINE_MAPPED);
    assert_int_equal(machine_protect(space, AT, AT + ptoa(2), VM_PROT_READ), 0);
    assert_true(sim_attached(space, AT + ptoa(1), &a));
    assert_int_equal(a.prot, VM_PROT_READ);
    assert_int_equal(a.end, AT + ptoa(2));
    assert_true(sim_attached(space, AT + ptoa(2), &a));
    assert_int_equal(a.prot, VM_PROT_ALL);
    assert_int_equal(a.pindex, 2);
    assert_int_equal(a.end, AT + ptoa(8));
    assert_false(sim_attached(space, AT + ptoa(8), &a));
    machine_unmap(space, AT, AT + ptoa(8), MACHINE_UNMAP_RELEASE, NULL);
    machine_sync(space);
    release_pages(object, 0, 8);
    assert_int_equal(sim_frame(frames[0])[0], SIM_POISON);
    machine_down();
}

/* The nth call that may fail does, for every n, and nothing is left over. */
static void test_fail_map_nth(void **state)
{
    (void)state;
    uint32_t done;

    for (uint32_t nth = 1; nth <= 6; nth++) {
        machine_up((struct sim_torture){0});
        sim_torture()->fail_map_nth = nth;
        int error = machine_attach(space, AT, AT + ptoa(4), VM_PROT_ALL, object, 0, 0);
        assert_int_equal(error, nth == 1 ? -ENOMEM : 0);
        if (error == 0) {
            error = map_pages(AT, object, 0, 4, VM_PROT_READ, 0, &done);
            assert_int_equal(error, nth <= 5 ? -ENOMEM : 0);
            assert_int_equal(done, nth <= 5 ? nth - 2 : 4);
        }
        assert_int_equal(sim_torture()->fail_map_nth, nth == 6 ? 1 : 0);
        machine_unmap(space, AT, AT + ptoa(4), 0, NULL);
        machine_sync(space);
        release_pages(object, 0, 4);
        machine_down();
    }
}

static void test_forgetful(void **state)
{
    (void)state;
    uint32_t done;

    machine_up((struct sim_torture){.forgetful_permille = 1000});
    assert_int_equal(machine_attach(space, AT, AT + ptoa(8), VM_PROT_ALL, object, 0, 0), 0);
    assert_int_equal(map_pages(AT, object, 0, 4, VM_PROT_READ, MACHINE_MAP_WIRED, &done), 0);
    assert_int_equal(map_pages(AT + ptoa(4), object, 4, 4, VM_PROT_READ, 0, &done), 0);
    for (int i = 0; i < 100; i++)
        machine_wake(&done); /* any call will do */
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(machine_query(space, AT + ptoa(i)) != 0, i < 4); /* MO3 */
    assert_int_equal(sim_stats().forgotten, 4);
    machine_unmap(space, AT, AT + ptoa(8), 0, NULL);
    machine_sync(space);
    release_pages(object, 0, 8);
    machine_down();
}

/* ---- what the sim catches -------------------------------------------------------------------- */

static void attach_and_map(vm_prot_t prot)
{
    uint32_t done;

    machine_up((struct sim_torture){0});
    assert_int_equal(machine_attach(space, AT, AT + ptoa(4), VM_PROT_READ | VM_PROT_WRITE, object, 0, 0), 0);
    assert_int_equal(map_pages(AT, object, 0, 4, prot, 0, &done), 0);
}

static void release_mapped(void *arg)
{
    (void)arg;
    attach_and_map(VM_PROT_READ);
    release_pages(object, 0, 1);
}

static void map_unattached(void *arg)
{
    uint32_t done;

    (void)arg;
    attach_and_map(VM_PROT_READ);
    (void)!map_pages(AT + ptoa(3), object, 3, 2, VM_PROT_READ, 0, &done);
}

static void map_wrong_page(void *arg)
{
    uint32_t done;

    (void)arg;
    attach_and_map(VM_PROT_READ);
    (void)!map_pages(AT, object, 1, 1, VM_PROT_READ, 0, &done);
}

static void map_beyond_rights(void *arg)
{
    attach_and_map(VM_PROT_READ);
    (void)arg;
    (void)!machine_protect(space, AT, AT + ptoa(4), VM_PROT_READ);
    uint32_t done;
    (void)!map_pages(AT, object, 0, 1, VM_PROT_READ | VM_PROT_WRITE, 0, &done);
}

static void map_backing_writable(void *arg)
{
    uint32_t done;

    (void)arg;
    attach_and_map(VM_PROT_READ);
    (void)!map_pages(AT, backing, 5, 1, VM_PROT_READ | VM_PROT_WRITE, 0, &done);
}

static void map_though_copy_first(void *arg)
{
    uint32_t done;

    (void)arg;
    attach_and_map(VM_PROT_READ);
    sim_torture()->copy_first = true;
    assert_false(machine_can_map(object, backing));
    (void)!map_pages(AT, backing, 5, 1, VM_PROT_READ, 0, &done);
}

static void frame_of_two_pages(void *arg)
{
    (void)arg;
    attach_and_map(VM_PROT_READ);
    struct machine_run run = {.object = backing, .pindex = 0, .npages = 1, .frame = &frames[0]};
    void *addr;
    (void)!machine_window_get(&run, MACHINE_WINDOW_READ, false, &addr);
}

static void window_onto_nothing(void *arg)
{
    (void)arg;
    attach_and_map(VM_PROT_READ);
    struct machine_run run = {.object = object, .pindex = 5, .npages = 1, .frame = &frames[5]};
    void *addr;
    (void)!machine_window_get(&run, MACHINE_WINDOW_READ, false, &addr);
}

static void release_in_window(void *arg)
{
    (void)arg;
    attach_and_map(VM_PROT_READ);
    struct machine_run run = {.object = object, .pindex = 5, .npages = 1, .frame = &frames[5]};
    void *addr;
    (void)!machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr);
    machine_release(&run);
}

static void object_dies_shown(void *arg)
{
    (void)arg;
    machine_up((struct sim_torture){0});
    (void)!machine_attach(space, AT, AT + ptoa(4), VM_PROT_READ, object, 0, 0);
    machine_object_fini(object);
}

static void object_dies_with_pages(void *arg)
{
    (void)arg;
    attach_and_map(VM_PROT_READ);
    machine_detach(space, AT, AT + ptoa(4));
    machine_object_fini(object);
}

static void map_slowly(void *arg)
{
    uint32_t done;

    (void)arg;
    (void)!map_pages(AT, object, 0, 4, VM_PROT_READ, 0, &done);
}

static void detach_while_mapping(void *arg)
{
    (void)arg;
    attach_and_map(VM_PROT_READ);
    sim_torture()->preempt_permille = 1000;
    for (int i = 0; i < 20; i++)
        sim_run("map", map_slowly, NULL);
    for (int i = 0; i < 20; i++)
        machine_detach(space, AT, AT + ptoa(1));
}

static void test_catches(void **state)
{
    (void)state;
    assert_true(test_panics(release_mapped, NULL, "MO2"));
    assert_true(test_panics(map_unattached, NULL, "AM7"));
    assert_true(test_panics(map_wrong_page, NULL, "AM7"));
    assert_true(test_panics(map_beyond_rights, NULL, "MO1"));
    assert_true(test_panics(map_backing_writable, NULL, "MO1"));
    assert_true(test_panics(map_though_copy_first, NULL, "machine_can_map"));
    assert_true(test_panics(frame_of_two_pages, NULL, "MO4"));
    assert_true(test_panics(window_onto_nothing, NULL, "MO4"));
    assert_true(test_panics(release_in_window, NULL, "CO2"));
    assert_true(test_panics(object_dies_shown, NULL, "AM7"));
    assert_true(test_panics(object_dies_with_pages, NULL, "were not released"));
    assert_true(test_panics(detach_while_mapping, NULL, "CO1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_model_short_of_tables),
        cmocka_unit_test(test_unlinked_tables_wait),
        cmocka_unit_test(test_map_query_release),
        cmocka_unit_test(test_fail_map_nth),
        cmocka_unit_test(test_forgetful),
        cmocka_unit_test(test_catches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
