/*
 * superpage_test.c: promotion to 2 MiB and demotion.
 *
 *   tables   x86-64 page tables, which promote, against a plain array of what is mapped, which does not
 *   machine  TLB entries of 2 MiB, and what only a TLB knows
 *   core     anonymous memory of two superpages, with everything that the core does to a part of one, in the
 *            computer's tortures, against a plain array of bytes
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "support/boot.h"
#include "support/seed.h"
#include "sim/pmap_machine.h"
#include "x86/pmap.h"

#define NSUPER 2
#define NPAGES (NSUPER * X86_PT_NENTRIES)
#define BASE   ((vm_offset_t)0x40000000)
#define VA(i)  (BASE + ptoa((uint64_t)(i)))
#define BLOCKS 3 /* of frames; the superpage at block b shows block b, or another one */

static struct prng prng;

static uint32_t below(uint32_t bound)
{
    return (uint32_t)prng_below(&prng, bound);
}

static bool chance(uint32_t permille)
{
    return prng_chance(&prng, permille);
}

/* Draws [*first, *end) of the pages: often whole superpages, often few pages. */
static void draw_range(uint32_t *first, uint32_t *end)
{
    *first = below(NPAGES);
    *end = *first + 1 + below(chance(500) ? 8 : NPAGES);
    if (chance(200)) {
        *first -= *first % X86_PT_NENTRIES;
        *end = *first + X86_PT_NENTRIES * (1 + below(NSUPER));
    }
    *end = *end < NPAGES ? *end : NPAGES;
}

/* ---- tables against a model ------------------------------------------------------------------ */

struct model_page {
    bool mapped, wired, modified;
    vm_frame_t frame;
    vm_prot_t prot;
};

static struct model_page model[NPAGES];
static struct pmap pmap;
static struct {
    uint64_t promoted, demoted, shrunk;
} met;

static void compare(void)
{
    uint64_t resident = 0;

    for (uint32_t i = 0; i < NPAGES; i++) {
        pt_entry_t pte = pmap_extract(&pmap, VA(i));

        assert_int_equal(pte != 0, model[i].mapped);
        if (!model[i].mapped)
            continue;
        resident++;
        assert_int_equal(atop(pte & X86_PG_FRAME), model[i].frame);
        assert_int_equal(pte_prot(pte), model[i].prot);
        assert_int_equal((pte & X86_PG_W) != 0, model[i].wired);
        assert_int_equal((pte & X86_PG_M) != 0, model[i].modified);
    }
    assert_int_equal(pmap.resident_count, resident);
    for (uint32_t n = 0; n < 16; n++) {
        vm_frame_t frame = below(BLOCKS * X86_PT_NENTRIES);
        uint32_t count = 0;

        for (uint32_t i = 0; i < NPAGES; i++)
            count += model[i].mapped && model[i].frame == frame;
        assert_int_equal(sim_frame_mappings(frame), count);
    }
    pmap_check(&pmap);
}

static struct model_page draw_page(void)
{
    struct model_page page = {.mapped = true, .prot = VM_PROT_READ};

    if (chance(700))
        page.prot |= VM_PROT_WRITE;
    if (chance(200))
        page.prot |= VM_PROT_EXECUTE;
    page.wired = chance(100);
    page.modified = (page.prot & VM_PROT_WRITE) && chance(800);
    return page;
}

static void enter(uint32_t i, struct model_page page, bool quick)
{
    const pt_entry_t also = (page.wired ? X86_PG_W : 0) | (page.modified ? X86_PG_M : 0);
    pt_entry_t was;

    if (quick) {
        bool entered = pmap_enter_quick_locked(&pmap, VA(i), page.frame, page.prot, also);

        assert_false(entered && model[i].mapped);
        if (entered)
            model[i] = page;
        return;
    }
    assert_int_equal(pmap_enter_pte(&pmap, VA(i), page.frame, page.prot, also, &was), 0);
    assert_int_equal((was & X86_PG_V) != 0, model[i].mapped);
    if (model[i].mapped) {
        assert_int_equal(atop(was & X86_PG_FRAME), model[i].frame);
        assert_int_equal((was & X86_PG_M) != 0, model[i].modified);
    }
    if (model[i].mapped && model[i].frame == page.frame)
        page.modified = page.modified || model[i].modified;
    model[i] = page;
}

/* All pages of a superpage, most often alike and with the frames of one block. */
static void fill(void)
{
    uint32_t first = below(NSUPER) * X86_PT_NENTRIES, frame = below(BLOCKS) * X86_PT_NENTRIES,
             start = below(X86_PT_NENTRIES);
    struct model_page page = draw_page();
    bool quick = chance(300);

    if (chance(100))
        frame = frame + 1 < BLOCKS * X86_PT_NENTRIES - X86_PT_NENTRIES ? frame + 1 : 0; /* not aligned */
    for (uint32_t n = 0; n < X86_PT_NENTRIES; n++) {
        uint32_t i = (start + n) % X86_PT_NENTRIES;

        page.frame = frame + i;
        enter(first + i, page, quick && chance(900));
    }
}

static void enter_some(void)
{
    for (uint32_t i = below(NPAGES), n = 1 + below(4); n > 0 && i < NPAGES; n--, i++) {
        struct model_page page = draw_page();

        page.frame = chance(700) && model[i].mapped ? model[i].frame : below(BLOCKS * X86_PT_NENTRIES);
        if (chance(500))
            page.prot = model[i].mapped ? model[i].prot : page.prot;
        page.modified = page.modified && (page.prot & VM_PROT_WRITE);
        enter(i, page, chance(300));
    }
}

static void remove_some(void)
{
    uint8_t bits[NPAGES] = {0};
    uint32_t first, end;
    bool wanted = chance(700);

    draw_range(&first, &end);
    pmap_remove(&pmap, VA(first), VA(end), wanted ? bits : NULL);
    for (uint32_t i = first; i < end; i++) {
        if (wanted)
            assert_int_equal(bits[i - first], model[i].mapped && model[i].modified ? MACHINE_DIRTY : 0);
        model[i] = (struct model_page){0};
    }
}

static void protect_some(void)
{
    const vm_prot_t prot = chance(50) ? VM_PROT_NONE : draw_page().prot;
    uint32_t first, end;

    draw_range(&first, &end);
    pmap_protect(&pmap, VA(first), VA(end), prot);
    for (uint32_t i = first; i < end; i++) {
        if (prot == VM_PROT_NONE)
            model[i] = (struct model_page){0};
        else if (model[i].mapped)
            model[i].prot &= prot;
    }
}

static void harvest_some(void)
{
    const unsigned clear = below(4); /* any of MACHINE_REFERENCED, MACHINE_DIRTY */
    uint8_t bits[NPAGES] = {0};
    uint32_t first, end;

    draw_range(&first, &end);
    pmap_harvest(&pmap, VA(first), VA(end), clear, bits);
    for (uint32_t i = first; i < end; i++) {
        assert_int_equal((bits[i - first] & MACHINE_DIRTY) != 0, model[i].mapped && model[i].modified);
        model[i].modified = model[i].modified && !(clear & MACHINE_DIRTY);
    }
}

/* What a processor does at a load, and at a store where it may. */
static void touch(uint32_t i)
{
    uint64_t pa = pmap.pm_root->pa;
    pt_entry_t *pte = NULL;

    if (!model[i].mapped)
        return;
    for (unsigned level = X86_PT_LEVELS; level > 0; level--) {
        pte = &((pt_entry_t *)(void *)sim_frame((vm_frame_t)atop(pa)))[pt_index(VA(i), level)];
        if (*pte & X86_PG_PS)
            break;
        pa = *pte & X86_PG_FRAME;
    }
    pte_set_bits(pte, X86_PG_A);
    if ((model[i].prot & VM_PROT_WRITE) && chance(500)) {
        pte_set_bits(pte, X86_PG_M);
        model[i].modified = true;
    }
}

static void one_step(void)
{
    const uint64_t before = pmap.superpages;

    switch (below(8)) {
    case 0:
    case 1:
        fill();
        met.promoted += pmap.superpages > before;
        break;
    case 2:
        enter_some();
        met.demoted += pmap.superpages < before;
        met.promoted += pmap.superpages > before;
        break;
    case 3:
        if (chance(300))
            remove_some();
        met.shrunk += pmap.superpages < before;
        break;
    case 4:
        protect_some();
        met.demoted += pmap.superpages < before;
        break;
    case 5:
        harvest_some();
        met.demoted += pmap.superpages < before;
        break;
    case 6:
        for (uint32_t n = 0; n < 20; n++)
            touch(below(NPAGES));
        break;
    default:
        pmap_free_pt_pages(&pmap);
    }
}

static void tables_up(uint64_t seed)
{
    struct sim_params params = test_params(seed);

    params.nframes = BLOCKS * X86_PT_NENTRIES;
    sim_machine_init(&params);
    prng_init(&prng, seed);
    memset(model, 0, sizeof(model));
    assert_int_equal(pmap_pinit(&pmap), 0);
}

static void tables_down(void)
{
    pmap_remove(&pmap, 0, 1ull << 47, NULL);
    assert_int_equal(pmap.superpages, 0);
    pmap_free_pt_pages(&pmap);
    assert_int_equal(sim_stats().ntables, 1); /* nothing but the root */
    pmap_release_tables(&pmap);
    sim_machine_fini();
}

static void test_model(void **state)
{
    (void)state;
    tables_up(test_seed(1));
    memset(&met, 0, sizeof(met));
    for (uint64_t round = test_rounds(1500); round > 0; round--) {
        one_step();
        compare();
    }
    if (test_rounds(1500) >= 1500)
        assert_true(met.promoted > 100 && met.demoted > 50 && met.shrunk > 10);
    tables_down();
}

static void fill_alike(vm_prot_t prot, pt_entry_t also)
{
    pt_entry_t was;

    for (vm_frame_t i = 0; i < X86_PT_NENTRIES; i++)
        assert_int_equal(pmap_enter_pte(&pmap, VA(i), i, prot, also, &was), 0);
}

/* A page that may be written and is clean keeps an entry of its own, which tells of its first store. */
static void test_clean_writable_stays(void **state)
{
    (void)state;
    pt_entry_t was;

    tables_up(test_seed(2));
    fill_alike(VM_PROT_READ | VM_PROT_WRITE, 0);
    assert_int_equal(pmap.superpages, 0);
    pmap_remove(&pmap, VA(0), VA(512), NULL);
    fill_alike(VM_PROT_READ, X86_PG_SELF); /* nor does what the machine entered by itself */
    assert_int_equal(pmap.superpages, 0);
    pmap_remove(&pmap, VA(0), VA(512), NULL);
    fill_alike(VM_PROT_READ, 0);
    assert_int_equal(pmap.superpages, 1);
    assert_int_equal(pmap_enter_pte(&pmap, VA(7), 7, VM_PROT_READ | VM_PROT_WRITE, X86_PG_M, &was), 0);
    assert_int_equal(pmap.superpages, 0);
    pmap_remove(&pmap, VA(0), VA(512), NULL);
    fill_alike(VM_PROT_READ | VM_PROT_WRITE, X86_PG_M);
    assert_int_equal(pmap.superpages, 1);
    tables_down();
}

/* One reference is reported for each page once, then no more. */
static void test_referenced(void **state)
{
    (void)state;
    tables_up(test_seed(3));
    fill_alike(VM_PROT_READ, 0);
    memset(model, 0, sizeof(model));
    model[5] = (struct model_page){.mapped = true};
    touch(5);
    for (int sweep = 0; sweep < 2; sweep++) {
        for (uint32_t i = X86_PT_NENTRIES; i-- > 0;) {
            uint8_t bits = 0, looked = 0;

            pmap_harvest(&pmap, VA(i), VA(i + 1), 0, &looked); /* a look changes nothing */
            pmap_harvest(&pmap, VA(i), VA(i + 1), MACHINE_REFERENCED, &bits);
            assert_int_equal(bits, sweep == 0 ? MACHINE_REFERENCED : 0);
            assert_int_equal(looked, bits);
        }
    }
    assert_int_equal(pmap.superpages, 1);
    tables_down();
}

/* A demotion takes no memory, though all table pages are in use. */
static void test_demotion_without_memory(void **state)
{
    (void)state;
    struct sim_params params = test_params(test_seed(4));

    params.nframes = X86_PT_NENTRIES;
    params.ntables = 4;
    sim_machine_init(&params);
    assert_int_equal(pmap_pinit(&pmap), 0);
    fill_alike(VM_PROT_READ | VM_PROT_WRITE, X86_PG_M);
    assert_int_equal(pmap.superpages, 1);
    assert_int_equal(sim_stats().ntables, 4);
    pmap_protect(&pmap, VA(1), VA(2), VM_PROT_READ);
    assert_int_equal(pmap.superpages, 0);
    assert_int_equal(pte_prot(pmap_extract(&pmap, VA(1))), VM_PROT_READ);
    assert_int_equal(pte_prot(pmap_extract(&pmap, VA(2))), VM_PROT_READ | VM_PROT_WRITE);
    tables_down();
}

/* ---- the core over it ------------------------------------------------------------------------ */

struct byte_page {
    bool mapped, writable;
    uint8_t byte;
};

static struct byte_page bytes[NPAGES];
static struct vm_map *map;

static struct machine_space *space(void)
{
    return fl_space_machine(map);
}

static void core_mmap(uint32_t first, uint32_t end)
{
    const size_t len_bytes = ptoa((size_t)end - first);

    assert_int_equal(fl_sys_mmap(map, VA(first), len_bytes, VM_PROT_READ | VM_PROT_WRITE,
                                 FL_MAP_PRIVATE | FL_MAP_ANONYMOUS | FL_MAP_FIXED, NULL, 0),
                     VA(first));
    for (uint32_t i = first; i < end; i++)
        bytes[i] = (struct byte_page){.mapped = true, .writable = true};
}

static void core_store(uint32_t i)
{
    const uint8_t byte = (uint8_t)prng_next(&prng);
    int error = sim_store(map, VA(i) + i % VM_PAGE_SIZE, &byte, 1, NULL);

    assert_int_equal(error, bytes[i].mapped && bytes[i].writable ? 0 : bytes[i].mapped ? -EACCES : -EFAULT);
    if (error == 0)
        bytes[i].byte = byte;
}

static void core_load(struct vm_map *of, uint32_t i)
{
    uint8_t byte;
    int error = sim_load(of, VA(i) + i % VM_PAGE_SIZE, &byte, 1, NULL);

    assert_int_equal(error, bytes[i].mapped ? 0 : -EFAULT);
    if (error == 0)
        assert_int_equal(byte, bytes[i].byte);
}

/* Every page of one superpage, from anywhere on. */
static void core_fill(uint32_t super)
{
    const uint32_t first = super * X86_PT_NENTRIES, start = below(X86_PT_NENTRIES);

    for (uint32_t n = 0; n < X86_PT_NENTRIES; n++)
        core_store(first + (start + n) % X86_PT_NENTRIES);
}

static void core_fork(void)
{
    struct vm_map *child;
    const uint8_t byte = 0xee;

    assert_int_equal(fl_space_fork(map, &child), 0);
    for (uint32_t n = 0; n < 8; n++)
        core_load(child, below(NPAGES));
    for (uint32_t n = 0; n < 8; n++) {
        uint32_t i = below(NPAGES);

        (void)!sim_store(child, VA(i) + i % VM_PAGE_SIZE, &byte, 1, NULL);
        core_load(map, i);
    }
    fl_space_destroy(child);
}

static void core_change(void)
{
    uint32_t first, end;
    bool writable = chance(700);

    draw_range(&first, &end);
    switch (below(4)) {
    case 0:
        assert_int_equal(fl_sys_munmap(map, VA(first), ptoa((size_t)end - first)), 0);
        for (uint32_t i = first; i < end; i++)
            bytes[i] = (struct byte_page){0};
        if (chance(700))
            core_mmap(first, end);
        break;
    case 1:
        for (uint32_t i = first; i < end; i++) {
            if (!bytes[i].mapped)
                core_mmap(i, i + 1);
        }
        assert_int_equal(fl_sys_mprotect(map, VA(first), ptoa((size_t)end - first),
                                         writable ? VM_PROT_READ | VM_PROT_WRITE : VM_PROT_READ),
                         0);
        for (uint32_t i = first; i < end; i++)
            bytes[i].writable = writable;
        break;
    case 2:
        for (uint32_t i = first; i < end; i++) {
            if (!bytes[i].mapped)
                return;
        }
        assert_int_equal(fl_sys_madvise(map, VA(first), ptoa((size_t)end - first), FL_MADV_DONTNEED), 0);
        for (uint32_t i = first; i < end; i++)
            bytes[i].byte = 0;
        break;
    default:
        core_fork();
    }
}

static void core_step(void)
{
    const uint64_t before = sim_superpages(space());

    switch (below(6)) {
    case 0:
    case 1:
        if (chance(500)) {
            core_mmap(0, NPAGES);
            core_fill(0);
        }
        core_fill(below(NSUPER));
        met.promoted += sim_superpages(space()) > before;
        break;
    case 2:
    case 3:
        core_change();
        met.shrunk += sim_superpages(space()) < before;
        break;
    default:
        for (uint32_t n = 0; n < 64; n++)
            chance(500) ? core_store(below(NPAGES)) : core_load(map, below(NPAGES));
    }
}

/* Another program, which takes memory away. */
static void hog(void *arg)
{
    struct vm_map *own = test_space();
    const uint32_t npages = *(const uint32_t *)arg;

    assert_int_equal(fl_sys_mmap(own, BASE, ptoa((size_t)npages), VM_PROT_READ | VM_PROT_WRITE,
                                 FL_MAP_PRIVATE | FL_MAP_ANONYMOUS | FL_MAP_FIXED, NULL, 0),
                     BASE);
    for (uint32_t i = 0; i < npages; i++)
        test_store8(own, VA(i), 1);
    fl_space_destroy(own);
}

static void core_run(uint64_t seed, const struct sim_torture *torture, uint32_t nframes)
{
    struct sim_params params = test_params(seed);
    static uint32_t npages;

    params.nframes = nframes;
    params.superpages = true;
    params.swap_pages = 8192;
    params.torture = *torture;
    test_boot(&params);
    prng_init(&prng, seed);
    map = test_space();
    memset(bytes, 0, sizeof(bytes));
    core_mmap(0, NPAGES);
    for (uint64_t step = 0; step < test_rounds(60); step++) {
        core_step();
        if (step % 8 == 7) {
            npages = 256 + below(512);
            sim_run("hog", hog, &npages);
            sim_join_all();
        }
        sim_settle();
        fl_vm_check();
    }
    for (uint32_t i = 0; i < NPAGES; i++)
        core_load(map, i);
    fl_space_destroy(map);
    sim_shutdown();
}

static void test_core(void **state)
{
    static const struct sim_torture tortures[] = {
        {0},
        {.stale_tlb = true, .preempt_permille = 20},
        {.stale_tlb = true, .late_bits = true, .preempt_permille = 20},
        {.stale_tlb = true, .late_bits = true, .forgetful_permille = 2},
        {.stale_tlb = true, .enters_itself_permille = 100, .late_bits = true},
        {.copy_first = true, .stale_tlb = true},
    };
    (void)state;
    memset(&met, 0, sizeof(met));
    for (uint64_t seed = test_seed(1), n = 0; n < test_rounds(24); n++)
        core_run(seed + n, &tortures[n % 6], n % 4 == 3 ? 1400 : 4096);
    if (test_rounds(24) >= 12)
        assert_true(met.promoted > 10 && met.shrunk > 5);
}

/* What superpages are for: few TLB misses. */
static void test_tlb_reach(void **state)
{
    uint64_t misses[2];

    (void)state;
    for (int superpages = 0; superpages < 2; superpages++) {
        struct sim_params params = test_params(test_seed(9));

        params.nframes = 2048;
        params.superpages = superpages != 0;
        test_boot(&params);
        prng_init(&prng, 9);
        map = test_space();
        core_mmap(0, NPAGES);
        if (superpages == 0) /* the frames of another page in between */
            core_store(NPAGES - 1);
        core_fill(0);
        assert_int_equal(sim_superpages(space()), superpages);
        misses[superpages] = sim_stats().tlb_misses;
        for (uint32_t n = 0; n < 4096; n++)
            core_load(map, below(X86_PT_NENTRIES));
        misses[superpages] = sim_stats().tlb_misses - misses[superpages];
        fl_space_destroy(map);
        sim_shutdown();
    }
    assert_true(misses[0] > 2000);
    assert_true(misses[1] <= 2);
}

/* ---- the machine, without the core ----------------------------------------------------------- */

static void *object;

static void machine_map_pages(uint32_t first, uint32_t npages, vm_prot_t prot, unsigned flags)
{
    vm_frame_t frame[MACHINE_RUN_MAX];
    struct machine_run run = {.object = object, .pindex = first, .npages = npages, .frame = frame};
    uint32_t done;

    for (uint32_t i = 0; i < npages; i++)
        frame[i] = X86_PT_NENTRIES + first + i;
    assert_int_equal(machine_map(space(), VA(first), &run, prot, flags, &done), 0);
}

static void machine_up(struct sim_torture torture)
{
    struct sim_params params = test_params(test_seed(8));

    params.ncpus = 1;
    params.nframes = 2 * X86_PT_NENTRIES;
    params.no_flusher = true;
    params.torture = torture;
    test_boot(&params);
    map = test_space();
    assert_int_equal(machine_object_init(&object), 0);
    assert_int_equal(machine_attach(space(), VA(0), VA(512), VM_PROT_READ | VM_PROT_WRITE, object, 0, 0), 0);
}

/* A superpage, of which the TLB knows. */
static void machine_up_super(struct sim_torture torture)
{
    uint8_t byte;

    machine_up(torture);
    machine_map_pages(0, 256, VM_PROT_READ | VM_PROT_WRITE, MACHINE_MAP_DIRTY);
    machine_map_pages(256, 256, VM_PROT_READ | VM_PROT_WRITE, MACHINE_MAP_DIRTY);
    assert_int_equal(sim_superpages(space()), 1);
    assert_int_equal(sim_load(map, VA(9), &byte, 1, NULL), 0);
}

static void machine_release_pages(uint32_t first, uint32_t npages)
{
    vm_frame_t frame[MACHINE_RUN_MAX];
    struct machine_run run = {.object = object, .pindex = first, .npages = npages, .frame = frame};

    for (uint32_t i = 0; i < npages; i++)
        frame[i] = X86_PT_NENTRIES + first + i;
    machine_release(&run);
}

static void machine_down(void)
{
    machine_detach(space(), VA(0), VA(512));
    machine_sync(space());
    machine_release_pages(0, 256);
    machine_release_pages(256, 256);
    machine_object_fini(object);
    fl_space_destroy(map);
    sim_shutdown();
}

/* A TLB's entry of 2 MiB outlives the end of one of its pages, until machine_sync; or not at all. */
static void test_stale_until_sync(void **state)
{
    uint8_t byte;

    (void)state;
    for (int stale = 0; stale < 2; stale++) {
        machine_up_super((struct sim_torture){.stale_tlb = stale != 0});
        machine_unmap(space(), VA(3), VA(4), 0, NULL);
        assert_int_equal(sim_superpages(space()), 0);
        assert_int_equal(sim_load(map, VA(3), &byte, 1, NULL), stale ? 0 : -EFAULT);
        assert_int_equal(sim_stats().tlb_stale_uses, stale);
        machine_sync(space());
        assert_int_equal(sim_load(map, VA(3), &byte, 1, NULL), -EFAULT);
        assert_int_equal(sim_load(map, VA(4), &byte, 1, NULL), 0);
        machine_down();
    }
}

/* A store that only a TLB knows of stays the store of one page. */
static void test_late_store(void **state)
{
    uint8_t byte = 1, bits[MACHINE_RUN_MAX] = {0};

    (void)state;
    machine_up((struct sim_torture){.stale_tlb = true, .late_bits = true});
    machine_map_pages(5, 1, VM_PROT_READ | VM_PROT_WRITE, 0);
    assert_int_equal(sim_store(map, VA(5), &byte, 1, NULL), 0);
    machine_wrprotect(space(), VA(5), VA(6));
    machine_map_pages(0, 5, VM_PROT_READ, 0);
    machine_map_pages(6, 250, VM_PROT_READ, 0);
    machine_map_pages(256, 256, VM_PROT_READ, 0);
    machine_harvest(space(), VA(0), VA(256), 0, bits);
    for (uint32_t i = 0; i < 256; i++)
        assert_int_equal((bits[i] & MACHINE_DIRTY) != 0, i == 5);
    machine_down();
}

/* ---- what must be caught --------------------------------------------------------------------- */

/* Returns the PD in which the superpage at BASE is. */
static uint64_t pd_pa(void)
{
    uint64_t pa = pmap.pm_root->pa;

    for (unsigned level = X86_PT_LEVELS; level > 2; level--)
        pa = pmap_machine_pointer(pa)[pt_index(BASE, level)] & X86_PG_FRAME;
    return pa;
}

static void loses_kept_table(void *arg)
{
    (void)arg;
    tables_up(5);
    fill_alike(VM_PROT_READ, 0);
    pmap_machine_table(pd_pa())->kept = NULL;
    pmap_check(&pmap);
}

static void clean_and_writable(void *arg)
{
    (void)arg;
    tables_up(6);
    fill_alike(VM_PROT_READ, 0);
    pte_set_bits(&pmap_machine_pointer(pd_pa())[pt_index(BASE, 2)], X86_PG_RW);
    pmap_check(&pmap);
}

/* Page 3 goes to another use, and a TLB has it in an entry of 2 MiB. */
static void releases_unsynced(void *arg)
{
    (void)arg;
    machine_up_super((struct sim_torture){.stale_tlb = true});
    machine_unmap(space(), VA(3), VA(4), 0, NULL);
    machine_release_pages(3, 1);
}

static void test_caught(void **state)
{
    (void)state;
    assert_true(test_panics(releases_unsynced, NULL, "MO2"));
    assert_true(test_panics(loses_kept_table, NULL, "SP2"));
    assert_true(test_panics(clean_and_writable, NULL, "SP1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_clean_writable_stays),
        cmocka_unit_test(test_referenced),
        cmocka_unit_test(test_demotion_without_memory),
        cmocka_unit_test(test_core),
        cmocka_unit_test(test_tlb_reach),
        cmocka_unit_test(test_stale_until_sync),
        cmocka_unit_test(test_late_store),
        cmocka_unit_test(test_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
