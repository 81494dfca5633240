/*
 * fork_test.c: copies of address spaces.
 *
 *   random    up to 6 spaces with private, shared and file memory are forked, stored to, wired, held,
 *             unmapped, given up and ended in any order; in many runs with too little memory, and a disk for
 *             swap. Every page of every space has the byte that a model of plain arrays says
 *   orders    every order of fork, store, unmap, page-out and exit up to a depth, over few pages and spaces
 *   long      thousands of generations: chains stay short, and memory flat
 *   together  children end while the parent forks again: each makes the same chain shorter
 *   failures  the Nth allocation fails: the parent is as it was
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "support/boot.h"
#include "support/seed.h"
#include "vm/vm_fault.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BASE    ((vm_offset_t)0x200000)
#define VA(p)   (BASE + ptoa(p))
#define NSPACES 6
#define NPAGES  36 /* of a space; four stretches of one kind each: */
#define STRETCH 9

enum kind { ANON, SHARED, FILE_PRIVATE, FILE_SHARED };

/* What a page of a space shows. */
struct model_page {
    bool mapped;
    bool own;        /* a private page with a byte of its own; else the file's, or 0 */
    bool wired;      /* as far as mlock succeeded */
    uint8_t byte;    /* with own */
    uint32_t shared; /* SHARED: which memory */
};

struct model_space {
    struct vm_map *map;
    struct model_page page[NPAGES];
};

#define NSHARED 512 /* shared memories that a run may make */

static struct model_space space[NSPACES];
static uint8_t shared_byte[NSHARED][STRETCH];
static uint32_t nshared;
static uint8_t file_byte[STRETCH];
static struct sim_disk *disk;
static struct fl_file file;
static struct prng prng;

/* Says what is done, for whoever looks into a run that failed (FAULTLINE_VERBOSE). */
static void say(const char *what, const struct model_space *s, uint32_t p, uint32_t n)
{
    static int verbose = -1;
    if (verbose < 0)
        verbose = getenv("FAULTLINE_VERBOSE") != NULL;
    if (verbose)
        print_error("space %u: %s %u, %u\n", (unsigned)(s - space), what, p, n);
}

static uint32_t below(uint32_t bound)
{
    return (uint32_t)prng_below(&prng, bound);
}

static enum kind kind_of(uint32_t p)
{
    return (enum kind)(p / STRETCH);
}

/* ---- the model --------------------------------------------------------------------------------------- */

static uint8_t *model_byte(struct model_space *s, uint32_t p)
{
    struct model_page *page = &s->page[p];
    static uint8_t zero;
    zero = 0;
    switch (kind_of(p)) {
    case SHARED:
        return &shared_byte[page->shared][p % STRETCH];
    case FILE_SHARED:
        return &file_byte[p % STRETCH];
    case FILE_PRIVATE:
        return page->own ? &page->byte : &file_byte[p % STRETCH];
    default:
        return page->own ? &page->byte : &zero;
    }
}

static void model_store(struct model_space *s, uint32_t p, uint8_t byte)
{
    if (kind_of(p) == ANON || kind_of(p) == FILE_PRIVATE) {
        s->page[p].own = true;
        s->page[p].byte = byte;
    } else {
        *model_byte(s, p) = byte;
    }
}

static void compare(struct model_space *s, uint32_t p)
{
    uint8_t byte = 0;
    int error = sim_load(s->map, VA(p), &byte, 1, NULL);
    assert_int_equal(error, s->page[p].mapped ? 0 : -EFAULT);
    if (error == 0 && byte != *model_byte(s, p))
        fail_msg("page %u of space %u is %#x, and is to be %#x", p, (unsigned)(s - space), byte,
                 *model_byte(s, p));
}

static void compare_all(void)
{
    for (uint32_t i = 0; i < NSPACES; i++)
        for (uint32_t p = 0; space[i].map != NULL && p < NPAGES; p++)
            compare(&space[i], p);
}

static void model_fork(const struct model_space *s, struct model_space *child, struct vm_map *map)
{
    say("fork", s, (uint32_t)(child - space), 0);
    *child = *s;
    child->map = map;
    for (uint32_t p = 0; p < NPAGES; p++)
        child->page[p].wired = false;
}

/* ---- steps ------------------------------------------------------------------------------------------- */

/* A space that lives. */
static struct model_space *some_space(void)
{
    uint32_t i;
    do
        i = below(NSPACES);
    while (space[i].map == NULL);
    return &space[i];
}

/* [*p, *p + the result) in one stretch. */
static uint32_t some_range(uint32_t *p)
{
    *p = below(NPAGES);
    uint32_t room = STRETCH - *p % STRETCH;
    return 1 + below(room);
}

/* Maps pages [p, p + n) of one stretch, where something may be mapped already. */
static void map_range(struct model_space *s, uint32_t p, uint32_t n)
{
    enum kind kind = kind_of(p);
    say("map", s, p, n);
    bool of_file = kind == FILE_PRIVATE || kind == FILE_SHARED;
    int flags = FL_MAP_FIXED | (kind == SHARED || kind == FILE_SHARED ? FL_MAP_SHARED : FL_MAP_PRIVATE);
    if (!of_file)
        flags |= FL_MAP_ANONYMOUS;
    int64_t at = fl_sys_mmap(s->map, VA(p), ptoa(n), VM_PROT_READ | VM_PROT_WRITE, flags,
                             of_file ? &file : NULL, of_file ? ptoa(p % STRETCH) : 0);
    assert_int_equal(at, VA(p));
    for (uint32_t i = p; i < p + n; i++)
        s->page[i] = (struct model_page){.mapped = true, .shared = nshared};
    nshared += kind == SHARED;
}

static void step_store(void)
{
    struct model_space *s = some_space();
    uint32_t p = below(NPAGES);
    uint8_t byte = (uint8_t)(1 + below(255));
    int error = sim_store(s->map, VA(p), &byte, 1, NULL);
    assert_int_equal(error, s->page[p].mapped ? 0 : -EFAULT);
    if (error == 0)
        model_store(s, p, byte);
    say("store", s, p, byte);
}

static void step_load(void)
{
    compare(some_space(), below(NPAGES));
}

static void step_fork(void)
{
    struct model_space *s = some_space(), *child = &space[below(NSPACES)];
    if (child->map != NULL)
        return;
    struct vm_map *map;
    assert_int_equal(fl_space_fork(s->map, &map), 0);
    model_fork(s, child, map);
}

static void step_exit(void)
{
    struct model_space *s = some_space();
    uint32_t alive = 0;
    for (uint32_t i = 0; i < NSPACES; i++)
        alive += space[i].map != NULL;
    if (alive == 1)
        return;
    say("exit", s, 0, 0);
    fl_space_destroy(s->map);
    s->map = NULL;
}

static void step_unmap(void)
{
    struct model_space *s = some_space();
    uint32_t p, n = some_range(&p);
    say("unmap", s, p, n);
    assert_int_equal(fl_sys_munmap(s->map, VA(p), ptoa(n)), 0);
    for (uint32_t i = p; i < p + n; i++)
        s->page[i].mapped = false;
}

static void step_map(void)
{
    struct model_space *s = some_space();
    uint32_t p, n = some_range(&p);
    if (nshared < NSHARED)
        map_range(s, p, n);
}

/* Is all of the range mapped? */
static bool range_mapped(const struct model_space *s, uint32_t p, uint32_t n)
{
    for (uint32_t i = p; i < p + n; i++)
        if (!s->page[i].mapped)
            return false;
    return true;
}

static void step_dontneed(void)
{
    struct model_space *s = some_space();
    uint32_t p, n = some_range(&p);
    if (!range_mapped(s, p, n))
        return;
    say("dontneed", s, p, n);
    assert_int_equal(fl_sys_munlock(s->map, VA(p), ptoa(n)), 0); /* else a wired part is -EINVAL */
    assert_int_equal(fl_sys_madvise(s->map, VA(p), ptoa(n), FL_MADV_DONTNEED), 0);
    for (uint32_t i = p; i < p + n; i++)
        s->page[i].own = s->page[i].wired = false;
}

/* A page that is wired and may be written is the mapping's own. */
static void model_wired(struct model_space *s, uint32_t p)
{
    if (s->page[p].wired && kind_of(p) == FILE_PRIVATE)
        model_store(s, p, *model_byte(s, p));
}

static void step_wire(void)
{
    struct model_space *s = some_space();
    uint32_t p, n = some_range(&p);
    if (!range_mapped(s, p, n))
        return;
    if (below(2)) {
        say("unwire", s, p, n);
        assert_int_equal(fl_sys_munlock(s->map, VA(p), ptoa(n)), 0);
        for (uint32_t i = p; i < p + n; i++)
            s->page[i].wired = false;
        return;
    }
    int error = fl_sys_mlock(s->map, VA(p), ptoa(n));
    say(error == 0 ? "wire" : "wire failed", s, p, n);
    assert_true(error == 0 || error == -EAGAIN);
    for (uint32_t i = p; i < p + n; i++) {
        if (error != 0 && kind_of(p) == FILE_PRIVATE) { /* some are copied, and some are not */
            test_store8(s->map, VA(i), 1);
            model_store(s, i, 1);
        }
        s->page[i].wired |= error == 0;
        model_wired(s, i);
    }
}

static void step_protect(void)
{
    struct model_space *s = some_space();
    uint32_t p, n = some_range(&p);
    if (!range_mapped(s, p, n))
        return;
    say("protect", s, p, n);
    assert_int_equal(fl_sys_mprotect(s->map, VA(p), ptoa(n), VM_PROT_READ), 0);
    compare(s, p);
    assert_int_equal(fl_sys_mprotect(s->map, VA(p), ptoa(n), VM_PROT_READ | VM_PROT_WRITE), 0);
    for (uint32_t i = p; i < p + n; i++)
        model_wired(s, i);
}

/*
 * A system call stores into a page that it holds, without a fault, after the space forked: what it stores is
 * the parent's alone, if the page is private.
 */
static void step_held_fork(void)
{
    struct model_space *s = some_space(), *child = &space[below(NSPACES)];
    uint32_t p = below(2 * STRETCH);
    uint8_t byte = (uint8_t)(1 + below(255));
    struct vm_page *m;
    if (child->map != NULL || !s->page[p].mapped)
        return;
    assert_int_equal(vm_fault_hold(s->map, VA(p), VM_PROT_WRITE, VM_FAULT_HOLD, &m), 0);
    struct vm_map *map;
    assert_int_equal(fl_space_fork(s->map, &map), 0);
    model_fork(s, child, map);
    *sim_frame(vm_page_frame(m)) = byte;
    vm_page_unhold(m);
    say("held", s, p, byte);
    model_store(s, p, byte);
}

/* ---- runs -------------------------------------------------------------------------------------------- */

static void begin(const struct sim_params *params)
{
    test_boot(params);
    disk = test_disk(ptoa(STRETCH), VM_PAGE_SIZE, params->seed);
    file = test_file(disk, FL_FREAD | FL_FWRITE);
    for (uint32_t p = 0; p < STRETCH; p++)
        file_byte[p] = test_byte(ptoa(p));
    memset(space, 0, sizeof(space));
    memset(shared_byte, 0, sizeof(shared_byte));
    nshared = 0;
    assert_int_equal(fl_space_create(BASE - ptoa(16), VA(NPAGES + 16), &space[0].map), 0);
}

static void end(void)
{
    for (uint32_t i = 0; i < NSPACES; i++)
        if (space[i].map != NULL)
            fl_space_destroy(space[i].map);
    assert_int_equal(fl_vnode_close(file.vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
}

static void random_run(uint64_t seed, uint32_t steps)
{
    static void (*const step[])(void) = {step_store, step_store, step_store,   step_load, step_fork,
                                         step_exit,  step_unmap, step_map,     step_fork, step_dontneed,
                                         step_wire,  step_store, step_protect, step_load, step_held_fork};
    struct sim_params params = test_params_hostile(seed);
    prng_init(&prng, seed);
    bool swaps = prng_chance(&prng, 600); /* and has memory for a part of what the spaces store */
    params.nframes = swaps ? 96 : 1024;
    params.swap_pages = swaps ? 1024 : 0;
    params.torture.copy_first = prng_chance(&prng, 300);
    begin(&params);
    for (uint32_t p = 0; p < NPAGES; p += STRETCH)
        map_range(&space[0], p, STRETCH);
    for (uint32_t i = 0; i < steps; i++) {
        step[below(sizeof(step) / sizeof(step[0]))]();
        if (i % 64 == 0) {
            compare_all();
            sim_vm_check();
        }
    }
    compare_all();
    end();
}

static void test_random(void **state)
{
    uint64_t seed = test_seed(0xf04c), rounds = test_rounds(test_budget(60));
    (void)state;
    for (uint64_t i = 0; i < rounds; i++) {
        (void)test_seed(seed + i);
        random_run(seed + i, 600);
    }
}

/* ---- every order ------------------------------------------------------------------------------------- */

#define ORDER_SPACES 3
#define ORDER_PAGES  3
#define ORDER_OPS    (ORDER_SPACES * (3 + 2 * ORDER_PAGES)) /* fork, exit, page-out; store, unmap a page */

/* How often the end of a space made a chain shorter, and how often past an object that stayed. */
static uint64_t order_collapses, order_bypasses;

/* What each space's first chain is: its length, and its last object. */
struct order_chain {
    unsigned length;
    const struct vm_object *bottom;
};

static void order_chains(struct order_chain chain[ORDER_SPACES])
{
    for (uint32_t i = 0; i < ORDER_SPACES; i++) {
        const struct vm_object *o = space[i].map == NULL ? NULL : space[i].map->header.next->object;
        chain[i] = (struct order_chain){0};
        for (; o != NULL; o = o->backing_object)
            chain[i] = (struct order_chain){chain[i].length + 1, o};
    }
}

static void order_exit(struct model_space *s)
{
    struct order_chain before[ORDER_SPACES], after[ORDER_SPACES];
    order_chains(before);
    fl_space_destroy(s->map);
    s->map = NULL;
    order_chains(after);
    for (uint32_t i = 0; i < ORDER_SPACES; i++) {
        if (space[i].map == NULL || after[i].length == before[i].length)
            continue;
        order_collapses++;
        for (uint32_t j = 0; j < ORDER_SPACES; j++)
            order_bypasses += j != i && after[j].bottom != NULL && after[j].bottom == before[i].bottom &&
                              after[i].bottom != before[i].bottom;
    }
}

/* All that the space has goes to swap, whoever shares it. False: it has nothing of its own. */
static bool order_page_out(const struct model_space *s)
{
    bool some = false;
    for (unsigned p = 0; p < ORDER_PAGES; p++)
        some |= s->page[p].mapped && s->page[p].own;
    if (!some)
        return false;
    int error = fl_sys_madvise(s->map, VA(0), ptoa(ORDER_PAGES), FL_MADV_PAGEOUT);
    assert_true(error == 0 || error == -ENOMEM); /* a part may be unmapped */
    return true;
}

/* Makes operation `op`. False: it is impossible now, or the same as one with a smaller number. */
static bool order_op(unsigned op, uint8_t stamp)
{
    struct model_space *s = &space[op % ORDER_SPACES];
    unsigned what = op / ORDER_SPACES, p = (what - 3) % ORDER_PAGES;
    if (s->map == NULL)
        return false;
    if (what == 0) {
        struct model_space *child = space;
        while (child < space + ORDER_SPACES && child->map != NULL)
            child++;
        if (child == space + ORDER_SPACES)
            return false;
        *child = *s;
        assert_int_equal(fl_space_fork(s->map, &child->map), 0);
        return true;
    }
    if (what == 1) {
        order_exit(s);
        return true;
    }
    if (what == 2)
        return order_page_out(s);
    if (!s->page[p].mapped || (p > 0 && s->page[p - 1].mapped && !s->page[p - 1].own && !s->page[p].own))
        return false; /* pages that nothing has touched are alike: the first one stands for them */
    if (what < 3 + ORDER_PAGES) {
        test_store8(s->map, VA(p), stamp);
        model_store(s, p, stamp);
    } else {
        assert_int_equal(fl_sys_munmap(s->map, VA(p), VM_PAGE_SIZE), 0);
        s->page[p].mapped = false;
    }
    return true;
}

static bool order_run(const unsigned *ops, unsigned depth)
{
    bool possible = true;
    memset(space, 0, sizeof(space));
    assert_int_equal(fl_space_create(BASE, VA(NPAGES), &space[0].map), 0);
    map_range(&space[0], 0, ORDER_PAGES);
    for (unsigned i = 0; i < depth && possible; i++)
        possible = order_op(ops[i], (uint8_t)(i + 1));
    for (uint32_t i = 0; i < ORDER_SPACES; i++) {
        if (space[i].map == NULL)
            continue;
        for (uint32_t p = 0; possible && p < ORDER_PAGES; p++)
            compare(&space[i], p);
        fl_space_destroy(space[i].map);
    }
    return possible;
}

/* Runs all possible sequences that continue ops[0 … depth) up to `most` operations. Returns how many. */
static uint64_t orders_from(unsigned *ops, unsigned depth, unsigned most)
{
    uint64_t runs = 0;
    for (ops[depth] = 0; ops[depth] < ORDER_OPS; ops[depth]++) {
        if (!order_run(ops, depth + 1))
            continue;
        runs++;
        if (depth + 1 < most)
            runs += orders_from(ops, depth + 1, most);
    }
    return runs;
}

static void test_orders(void **state)
{
    unsigned ops[8],
        depth = getenv("FAULTLINE_DEPTH") != NULL ? (unsigned)atoi(getenv("FAULTLINE_DEPTH")) : 6;
    struct sim_params params = test_params(1);
    (void)state;
    params.swap_pages = 64;
    begin(&params);
    fl_space_destroy(space[0].map);
    uint64_t runs = orders_from(ops, 0, depth < 8 ? depth : 8);
    print_message("%llu orders of up to %u operations: %llu collapses, %llu bypasses\n",
                  (unsigned long long)runs, depth, (unsigned long long)order_collapses,
                  (unsigned long long)order_bypasses);
    assert_true(runs > 100 && (depth < 6 || (order_collapses > 0 && order_bypasses > 0)));
    assert_true(sim_disk_counts(sim_swap_disk()).reads > 0);
    memset(space, 0, sizeof(space));
    end();
}

/* ---- generations ------------------------------------------------------------------------------------- */

/* The longest chain of objects that a page of the space is looked for in. */
static unsigned chain_length(struct vm_map *map)
{
    unsigned longest = 0;
    struct vm_map_entry *entry;
    vm_map_lock_read(map);
    for (entry = map->header.next; entry != &map->header; entry = entry->next) {
        unsigned length = 0;
        for (const struct vm_object *o = entry->object; o != NULL; o = o->backing_object)
            length++;
        longest = length > longest ? length : longest;
    }
    vm_map_unlock_read(map);
    return longest;
}

/* One generation: fork, and both or one of the two store before one of them exits. */
static void generation(uint32_t i)
{
    struct vm_map *parent = space[0].map, *child;
    uint32_t p = i % STRETCH;
    uint8_t byte = (uint8_t)(i % 250 + 1);
    assert_int_equal(fl_space_fork(parent, &child), 0);
    bool child_lives = (i / 3) % 2 != 0;
    if (i % 3 != 0)
        test_store8(parent, VA(p), (uint8_t)(byte + 1));
    if (i % 3 != 1)
        test_store8(child, VA(p), byte);
    fl_space_destroy(child_lives ? parent : child);
    space[0].map = child_lives ? child : parent;
    if (i % 3 != (child_lives ? 1 : 0))
        model_store(&space[0], p, child_lives ? byte : (uint8_t)(byte + 1));
}

static void generations(bool copy_first)
{
    struct sim_params params = test_params(7);
    struct fl_vm_stats before = {0}, stats;
    params.torture.copy_first = copy_first;
    begin(&params);
    map_range(&space[0], ANON * STRETCH, STRETCH);
    map_range(&space[0], FILE_PRIVATE * STRETCH, STRETCH);
    uint32_t n = (uint32_t)test_budget(10000);
    for (uint32_t i = 0; i < n; i++) {
        generation(i);
        assert_true(chain_length(space[0].map) <= 3);
        if (i == n / 10)
            fl_vm_stats(&before);
    }
    fl_vm_stats(&stats);
    assert_true(stats.free + 2 * STRETCH >= before.free);
    compare_all();
    sim_vm_check();
    end();
}

static void test_generations(void **state)
{
    (void)state;
    generations(false);
    generations(true);
}

#define NCHILDREN 40

/*
 * A server with children that stay, and stores between: each has an object for what it shares with its child,
 * and needs none of the earlier ones. Neither do the children's children.
 */
static void children_stay(bool copy_first)
{
    struct sim_params params = test_params(7);
    struct vm_map *child[NCHILDREN];
    params.nframes = 2048;
    params.torture.copy_first = copy_first;
    begin(&params);
    map_range(&space[0], ANON * STRETCH, STRETCH);
    map_range(&space[0], FILE_PRIVATE * STRETCH, STRETCH);
    for (uint32_t i = 0; i < NCHILDREN; i++) {
        for (uint32_t p = 0; p < NPAGES; p++) {
            if (!space[0].page[p].mapped)
                continue;
            test_store8(space[0].map, VA(p), (uint8_t)(i + 1));
            model_store(&space[0], p, (uint8_t)(i + 1));
        }
        assert_int_equal(fl_space_fork(space[0].map, &child[i]), 0);
        assert_true(chain_length(space[0].map) <= 3 && chain_length(child[i]) <= 3);
    }
    for (uint32_t i = 0; i < NCHILDREN; i++) {
        assert_int_equal(test_load8(child[i], VA(0)), i + 1);
        fl_space_destroy(child[i]);
    }
    compare_all();
    sim_vm_check();
    end();
}

static void test_children_stay(void **state)
{
    (void)state;
    children_stay(false);
    children_stay(true);
}

/* ---- failures ---------------------------------------------------------------------------------------- */

static void failing_run(uint64_t nth)
{
    struct sim_params params = test_params(3);
    begin(&params);
    for (uint32_t p = 0; p < NPAGES; p += STRETCH)
        map_range(&space[0], p, STRETCH);
    for (uint32_t p = 0; p < NPAGES; p += 2) {
        test_store8(space[0].map, VA(p), (uint8_t)(p + 1));
        model_store(&space[0], p, (uint8_t)(p + 1));
    }
    assert_int_equal(fl_sys_mlock(space[0].map, VA(2), ptoa(3)), 0);
    sim_torture()->fail_alloc_nth = (uint32_t)nth;
    space[1] = space[0];
    int error = fl_space_fork(space[0].map, &space[1].map);
    sim_torture()->fail_alloc_nth = 0;
    assert_true(error == 0 || error == -ENOMEM);
    if (error != 0)
        space[1].map = NULL;
    compare_all();
    for (uint32_t i = 0; i < 60; i++)
        step_store();
    compare_all();
    sim_vm_check();
    end();
}

/* ---- together ------------------------------------------------------------------------------------------ */

#define GENERATIONS 4

static void end_child(void *child)
{
    fl_space_destroy(child);
}

static void fork_and_end(void *parent)
{
    struct vm_map *child;

    if (fl_space_fork(parent, &child) == 0)
        fl_space_destroy(child);
}

static void store_again(void *map)
{
    for (uint32_t p = 0; p < STRETCH; p += 2)
        test_store8(map, VA(p), space[0].page[p].byte);
}

/* Each child holds one more object of the parent's chain, until all end at once. */
static void together_run(uint64_t seed)
{
    struct sim_params params = seed % 2 ? test_params(seed) : test_params_hostile(seed);
    struct vm_map *child[GENERATIONS];

    params.torture.preempt_permille = 300;
    if (seed % 4 == 0) {
        params.nframes = 64;
        params.swap_pages = 1024;
    }
    begin(&params);
    map_range(&space[0], 0, STRETCH);
    for (uint32_t g = 0; g < GENERATIONS; g++) {
        for (uint32_t p = g; p < STRETCH; p += g + 1) {
            test_store8(space[0].map, VA(p), (uint8_t)(16 * g + p + 1));
            model_store(&space[0], p, (uint8_t)(16 * g + p + 1));
        }
        assert_int_equal(fl_space_fork(space[0].map, &child[g]), 0);
    }
    test_store8(space[0].map, VA(0), 99);
    model_store(&space[0], 0, 99);
    for (uint32_t g = 0; g < GENERATIONS; g++)
        sim_run("child ends", end_child, child[g]);
    sim_run("forks", fork_and_end, space[0].map);
    sim_run("forks", fork_and_end, space[0].map);
    sim_run("stores", store_again, space[0].map);
    sim_join_all();
    compare_all();
    sim_vm_check();
    end();
}

static void store_and_end(void *child)
{
    for (uint32_t p = 0; p < STRETCH; p += 2)
        test_store8(child, VA(p), 77);
    fl_space_destroy(child);
}

/* Children of one generation store, and end: their pages hide the parent's, which are still the parent's. */
static void siblings_run(uint64_t seed)
{
    struct sim_params params = test_params(seed);
    struct vm_map *child[GENERATIONS];

    params.torture.preempt_permille = 300;
    begin(&params);
    map_range(&space[0], 0, STRETCH);
    for (uint32_t p = 0; p < STRETCH; p++) {
        test_store8(space[0].map, VA(p), (uint8_t)(p + 1));
        model_store(&space[0], p, (uint8_t)(p + 1));
    }
    for (uint32_t g = 0; g < GENERATIONS; g++)
        assert_int_equal(fl_space_fork(space[0].map, &child[g]), 0);
    for (uint32_t g = 0; g < GENERATIONS; g++)
        sim_run("child stores", store_and_end, child[g]);
    sim_join_all();
    compare_all();
    sim_vm_check();
    end();
}

static void test_together(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= test_budget(400); seed++) {
        together_run(seed);
        siblings_run(seed);
    }
}

static void test_failures(void **state)
{
    (void)state;
    prng_init(&prng, 3);
    for (uint64_t nth = 1; nth <= 60; nth++)
        failing_run(nth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),      cmocka_unit_test(test_orders),
        cmocka_unit_test(test_generations), cmocka_unit_test(test_children_stay),
        cmocka_unit_test(test_together),    cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
