/*
 * snapshot_test.c: snapshots never show what came later.
 *
 *   random    3 spaces with private, shared and file memory. Stores, writes, truncations, holes, forks,
 *             page-out, and snapshots of all of it and of snapshots, in any order; in many runs with too
 *             little memory, with a disk for swap or without. Every page of every space and snapshot has the
 *             bytes that a model of plain arrays says
 *   threads   some count up in shared memory and a file, by stores and writes, while others take snapshots:
 *             each word of a snapshot is one that was there during the call, and stays
 *   failures  the Nth allocation fails, of a snapshot and of the stores after it
 *   calls     errors, and what other calls do to a snapshot
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "support/boot.h"
#include "vm/vm_fault.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BASE       ((vm_offset_t)0x200000)
#define VA(p)      (BASE + ptoa(p))
#define NSPACES    3
#define NSNAPSHOTS 4
#define NPAGES     36 /* of a space; four stretches of one kind each: */
#define STRETCH    9
#define NSHARED    512 /* shared memories that a run may make */
#define RW         (VM_PROT_READ | VM_PROT_WRITE)

enum kind { ANON, SHARED, FILE_PRIVATE, FILE_SHARED };

/* Two bytes stand for a page: so a change of a part of it is seen. */
static const uint32_t probe[2] = {0, 3000};

struct bytes {
    uint8_t b[2];
};

struct model_page {
    bool mapped;
    bool own;          /* a private page with bytes of its own; else the file's, or zeros */
    struct bytes byte; /* with own */
    uint32_t shared;   /* SHARED: which memory */
};

struct model_snapshot {
    vm_offset_t at; /* 0: none */
    uint32_t n;
    struct {
        bool mapped, there; /* there: within the file, if it is one */
        struct bytes byte;
    } page[NPAGES];
};

struct model_space {
    struct vm_map *map;
    struct model_page page[NPAGES];
    struct model_snapshot snapshot[NSNAPSHOTS];
};

static struct model_space space[NSPACES];
static struct bytes shared_byte[NSHARED][STRETCH];
static uint32_t nshared;
static struct bytes file_byte[STRETCH];
static uint64_t file_len;
static bool tight; /* too little memory, and no swap: accesses and snapshots may fail */
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

static bool of_file(uint32_t p)
{
    return kind_of(p) == FILE_PRIVATE || kind_of(p) == FILE_SHARED;
}

/* ---- the model --------------------------------------------------------------------------------------- */

static struct bytes *model_bytes(struct model_space *s, uint32_t p)
{
    struct model_page *page = &s->page[p];
    static struct bytes zero;
    zero = (struct bytes){0};
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

/* What an access to the page says. */
static int model_error(const struct model_space *s, uint32_t p)
{
    if (!s->page[p].mapped)
        return -EFAULT;
    return of_file(p) && ptoa(p % STRETCH) >= file_len ? -ENXIO : 0;
}

static void model_store(struct model_space *s, uint32_t p, uint32_t i, uint8_t byte)
{
    struct bytes now = *model_bytes(s, p);
    now.b[i] = byte;
    if (kind_of(p) == ANON || kind_of(p) == FILE_PRIVATE) {
        s->page[p].own = true;
        s->page[p].byte = now;
    } else {
        *model_bytes(s, p) = now;
    }
}

static void compare_at(struct vm_map *map, vm_offset_t va, int error, struct bytes expect, const char *what,
                       uint32_t p)
{
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t byte = 0;
        int got = sim_load(map, va + probe[i], &byte, 1, NULL);
        if (tight && got == -ENOMEM)
            continue;
        if (got != error || (error == 0 && byte != expect.b[i]))
            fail_msg("%s page %u, byte %u: %d, %#x, and is to be %d, %#x", what, p, probe[i], got, byte,
                     error, expect.b[i]);
    }
}

static void compare(struct model_space *s, uint32_t p)
{
    compare_at(s->map, VA(p), model_error(s, p), *model_bytes(s, p), "a mapping's", p);
}

static void compare_snapshot(const struct model_space *s, const struct model_snapshot *snapshot)
{
    for (uint32_t p = 0; p < snapshot->n; p++)
        if (snapshot->page[p].mapped)
            compare_at(s->map, snapshot->at + ptoa(p), snapshot->page[p].there ? 0 : -ENXIO,
                       snapshot->page[p].byte, "a snapshot's", p);
}

static void compare_all(void)
{
    for (uint32_t i = 0; i < NSPACES; i++) {
        if (space[i].map == NULL)
            continue;
        for (uint32_t p = 0; p < NPAGES; p++)
            compare(&space[i], p);
        for (uint32_t k = 0; k < NSNAPSHOTS; k++)
            if (space[i].snapshot[k].at != 0)
                compare_snapshot(&space[i], &space[i].snapshot[k]);
    }
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
    return 1 + below(STRETCH - *p % STRETCH);
}

static bool range_mapped(const struct model_space *s, uint32_t p, uint32_t n)
{
    for (uint32_t i = p; i < p + n; i++)
        if (!s->page[i].mapped)
            return false;
    return true;
}

static void map_range(struct model_space *s, uint32_t p, uint32_t n)
{
    enum kind kind = kind_of(p);
    say("map", s, p, n);
    int flags = FL_MAP_FIXED | (kind == SHARED || kind == FILE_SHARED ? FL_MAP_SHARED : FL_MAP_PRIVATE);
    if (!of_file(p))
        flags |= FL_MAP_ANONYMOUS;
    int64_t at = fl_sys_mmap(s->map, VA(p), ptoa(n), RW, flags, of_file(p) ? &file : NULL,
                             of_file(p) ? ptoa(p % STRETCH) : 0);
    assert_int_equal(at, VA(p));
    for (uint32_t i = p; i < p + n; i++)
        s->page[i] = (struct model_page){.mapped = true, .shared = nshared};
    nshared += kind == SHARED;
}

static void step_store(void)
{
    struct model_space *s = some_space();
    uint32_t p = below(NPAGES), i = below(2);
    uint8_t byte = (uint8_t)(1 + below(255));
    if (kind_of(p) == FILE_SHARED && ptoa(p % STRETCH) + probe[i] >= file_len && model_error(s, p) == 0)
        return; /* behind the end in its last page, where any byte may become zero */
    int error = sim_store(s->map, VA(p) + probe[i], &byte, 1, NULL);
    say("store", s, p, byte);
    if (tight && error == -ENOMEM)
        return;
    assert_int_equal(error, model_error(s, p));
    if (error == 0)
        model_store(s, p, i, byte);
}

static void step_load(void)
{
    compare(some_space(), below(NPAGES));
}

/* The model's snapshot of pages [p, p + n), all mapped, into `to`. */
static void model_snapshot(struct model_space *s, uint32_t p, uint32_t n, struct model_snapshot *to)
{
    to->n = n;
    for (uint32_t i = 0; i < n; i++) {
        to->page[i].mapped = true;
        to->page[i].there = model_error(s, p + i) == 0;
        to->page[i].byte = *model_bytes(s, p + i);
    }
}

static struct model_snapshot *some_snapshot(struct model_space *s, bool taken)
{
    struct model_snapshot *snapshot = &s->snapshot[below(NSNAPSHOTS)];
    return (snapshot->at != 0) == taken ? snapshot : NULL;
}

/* False: there was no memory. */
static bool take(struct model_space *s, vm_offset_t va, uint32_t n, struct model_snapshot *to)
{
    int64_t at = fl_sys_snapshot(s->map, va, ptoa(n));
    if (tight && at == -ENOMEM)
        return false;
    assert_true(at > 0);
    to->at = (vm_offset_t)at;
    return true;
}

static void step_snapshot(void)
{
    struct model_space *s = some_space();
    struct model_snapshot *to = some_snapshot(s, false);
    uint32_t p = below(NPAGES), n = 1 + below(NPAGES - p);
    if (to == NULL || !range_mapped(s, p, n))
        return;
    say("snapshot", s, p, n);
    if (take(s, VA(p), n, to))
        model_snapshot(s, p, n, to);
}

static void step_snapshot_again(void)
{
    struct model_space *s = some_space();
    struct model_snapshot *to = some_snapshot(s, false), *from = some_snapshot(s, true);
    if (to == NULL || from == NULL)
        return;
    for (uint32_t p = 0; p < from->n; p++)
        if (!from->page[p].mapped)
            return;
    if (take(s, from->at, from->n, to)) {
        vm_offset_t at = to->at;
        *to = *from;
        to->at = at;
    }
}

/* A part of a snapshot, or all of it, is unmapped. */
static void step_drop(void)
{
    struct model_space *s = some_space();
    struct model_snapshot *from = some_snapshot(s, true);
    if (from == NULL)
        return;
    uint32_t p = below(2) ? 0 : below(from->n), n = p == 0 ? from->n : 1 + below(from->n - p);
    say("drop", s, p, n);
    for (uint32_t i = p, stop; i < p + n; i = stop) { /* what is not mapped any more may be another's */
        for (stop = i + 1; stop < p + n && from->page[stop].mapped == from->page[i].mapped;)
            stop++;
        if (from->page[i].mapped)
            assert_int_equal(fl_sys_munmap(s->map, from->at + ptoa(i), ptoa(stop - i)), 0);
    }
    for (uint32_t i = p; i < p + n; i++)
        from->page[i].mapped = false;
    if (n == from->n)
        from->at = 0;
}

static void step_fork(void)
{
    struct model_space *s = some_space(), *child = &space[below(NSPACES)];
    struct vm_map *map;
    if (child->map != NULL || tight)
        return;
    assert_int_equal(fl_space_fork(s->map, &map), 0);
    say("fork", s, (uint32_t)(child - space), 0);
    *child = *s;
    child->map = map;
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
    memset(s, 0, sizeof(*s));
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

static void step_dontneed(void)
{
    struct model_space *s = some_space();
    uint32_t p, n = some_range(&p);
    if (!range_mapped(s, p, n) || tight)
        return;
    say("dontneed", s, p, n);
    assert_int_equal(fl_sys_munlock(s->map, VA(p), ptoa(n)), 0);
    assert_int_equal(fl_sys_madvise(s->map, VA(p), ptoa(n), FL_MADV_DONTNEED), 0);
    for (uint32_t i = p; i < p + n; i++)
        s->page[i].own = false;
}

/* Anonymous memory only: what mlock does to a private page of a file is another test's concern. */
static void step_wire(void)
{
    struct model_space *s = some_space();
    uint32_t p, n = some_range(&p);
    if (of_file(p) || !range_mapped(s, p, n))
        return;
    if (below(2)) {
        assert_int_equal(fl_sys_munlock(s->map, VA(p), ptoa(n)), 0);
        return;
    }
    int error = fl_sys_mlock(s->map, VA(p), ptoa(n));
    assert_true(error == 0 || error == -EAGAIN);
}

/* Page-out of a range of a space or a snapshot, as if memory were short. */
static void step_pageout(void)
{
    struct model_space *s = some_space();
    struct model_snapshot *snapshot = some_snapshot(s, true);
    uint32_t p, n = some_range(&p);
    vm_offset_t va = snapshot != NULL ? snapshot->at : VA(p);
    n = snapshot != NULL ? snapshot->n : n;
    (void)!fl_sys_madvise(s->map, va, ptoa(n), FL_MADV_PAGEOUT); /* gaps, and wired parts, are errors */
}

static void file_zeros(uint64_t start, uint64_t end)
{
    for (uint32_t p = 0; p < STRETCH; p++)
        for (uint32_t i = 0; i < 2; i++)
            if (ptoa(p) + probe[i] >= start && ptoa(p) + probe[i] < end)
                file_byte[p].b[i] = 0;
}

static void step_truncate(void)
{
    uint64_t len = ptoa(below(STRETCH + 1)) + (below(2) ? 0 : 1500);
    if (tight || len > ptoa(STRETCH))
        return;
    say("truncate", space, (uint32_t)len, (uint32_t)file_len);
    assert_int_equal(fl_vnode_truncate(file.vnode, len), 0);
    for (uint32_t i = 0; i < NSPACES; i++)
        for (uint32_t p = 0; p < NPAGES; p++)
            if (kind_of(p) == FILE_PRIVATE && ptoa(p % STRETCH) >= len)
                space[i].page[p].own = false;
    file_zeros(len < file_len ? len : file_len, UINT64_MAX);
    file_len = len;
}

static void step_punch(void)
{
    uint32_t p = below(STRETCH), n = 1 + below(STRETCH - p), head = below(2) ? 0 : 1000;
    if (tight)
        return;
    say("punch", space, p, n);
    assert_int_equal(fl_vnode_punch(file.vnode, ptoa(p) + head, ptoa(n) - head), 0);
    file_zeros(ptoa(p) + head, ptoa(p + n));
}

static void step_write(void)
{
    static uint8_t buffer[2 * VM_PAGE_SIZE];
    uint32_t p = below(STRETCH), how = below(4), n = how < 2 ? 1 + below(2) : 0, i = below(2);
    uint64_t start = n > 0 ? ptoa(p) : ptoa(p) + probe[i], len = n > 0 ? ptoa(n) : 50;
    uint8_t byte = (uint8_t)(1 + below(255));
    if (start + len > file_len)
        return;
    memset(buffer, byte, sizeof(buffer));
    struct fl_iovec iov = {buffer, len};
    struct fl_iocb iocb = {start, how == 0 ? FL_IOCB_DIRECT : 0};
    int64_t done = fl_vnode_write(file.vnode, &iov, 1, &iocb);
    say(how == 0 ? "write direct" : "write", space, (uint32_t)start, (uint32_t)len);
    if (tight && (done == -ENOMEM || done < (int64_t)len))
        done = done < 0 ? 0 : done;
    else
        assert_int_equal(done, len);
    for (uint64_t at = 0; at < (uint64_t)done; at += VM_PAGE_SIZE)
        for (uint32_t k = 0; k < 2; k++)
            if (n > 0 || k == i)
                file_byte[atop(start + at)].b[k] = byte;
}

/* MADV_REMOVE: zeros in shared memory, a hole in a file. */
static void step_remove(void)
{
    struct model_space *s = some_space();
    uint32_t p, n = some_range(&p);
    if (tight || kind_of(p) == ANON || kind_of(p) == FILE_PRIVATE || !range_mapped(s, p, n))
        return;
    assert_int_equal(fl_sys_munlock(s->map, VA(p), ptoa(n)), 0);
    say("remove", s, p, n);
    assert_int_equal(fl_sys_madvise(s->map, VA(p), ptoa(n), FL_MADV_REMOVE), 0);
    for (uint32_t i = p; i < p + n; i++)
        *model_bytes(s, i) = (struct bytes){0};
}

/* A system call stores into a page that it holds, without a fault, after the snapshot was taken. */
static void step_held(void)
{
    struct model_space *s = some_space();
    struct model_snapshot *to = some_snapshot(s, false);
    uint32_t p, n = some_range(&p), held = p + below(n);
    uint8_t byte = (uint8_t)(1 + below(255));
    struct vm_page *m;
    if (tight || to == NULL || !range_mapped(s, p, n) || model_error(s, held) != 0)
        return;
    assert_int_equal(vm_fault_hold(s->map, VA(held), VM_PROT_WRITE, VM_FAULT_HOLD, &m), 0);
    model_store(s, held, 0, model_bytes(s, held)->b[0]); /* a private page is its own now */
    if (take(s, VA(p), n, to))
        model_snapshot(s, p, n, to);
    *sim_frame(vm_page_frame(m)) = byte;
    vm_page_unhold(m);
    say("held", s, held, byte);
    model_store(s, held, 0, byte);
}

/* ---- runs -------------------------------------------------------------------------------------------- */

static void begin(const struct sim_params *params)
{
    test_boot(params);
    disk = test_disk(ptoa(STRETCH), VM_PAGE_SIZE, params->seed);
    file = test_file(disk, FL_FREAD | FL_FWRITE);
    file_len = ptoa(STRETCH);
    for (uint32_t p = 0; p < STRETCH; p++)
        for (uint32_t i = 0; i < 2; i++)
            file_byte[p].b[i] = test_byte(ptoa(p) + probe[i]);
    memset(space, 0, sizeof(space));
    memset(shared_byte, 0, sizeof(shared_byte));
    nshared = 0;
    assert_int_equal(fl_space_create(BASE - ptoa(16), VA(NPAGES * 64), &space[0].map), 0);
    for (uint32_t p = 0; p < NPAGES; p += STRETCH)
        map_range(&space[0], p, STRETCH);
}

static void end(void)
{
    for (uint32_t i = 0; i < NSPACES; i++)
        if (space[i].map != NULL)
            fl_space_destroy(space[i].map);
    assert_int_equal(fl_vnode_close(file.vnode), 0);
    sim_shutdown();
    sim_disk_destroy(disk);
    tight = false;
}

static void random_run(uint64_t seed, uint32_t steps)
{
    static void (*const step[])(void) = {
        step_store, step_store,    step_store, step_store,    step_load,    step_fork,
        step_exit,  step_unmap,    step_map,   step_dontneed, step_wire,    step_snapshot,
        step_write, step_snapshot, step_drop,  step_truncate, step_pageout, step_snapshot_again,
        step_write, step_remove,   step_held,  step_punch,    step_pageout,
    };
    struct sim_params params = test_params_hostile(seed);
    prng_init(&prng, seed);
    bool few = prng_chance(&prng, 600), swaps = prng_chance(&prng, 600);
    params.nframes = few ? 96 : 1024;
    params.swap_pages = swaps ? 1024 : 0;
    params.torture.copy_first = prng_chance(&prng, 400);
    tight = few && !swaps;
    begin(&params);
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
    uint64_t seed = test_seed(0x54a9), rounds = test_rounds(test_budget(300));
    (void)state;
    for (uint64_t i = 0; i < rounds; i++) {
        (void)test_seed(seed + i);
        random_run(seed + i, 600);
    }
}

/* ---- threads ----------------------------------------------------------------------------------------- */

/*
 * Words that only count up: the first of each page of shared memory, which threads add to, and of each page
 * of the file, which they add to or write.
 */
#define WORDS (2 * STRETCH)

struct counters {
    uint64_t begun[WORDS]; /* the last value that a thread began to bring there */
    uint64_t done[WORDS];  /* … and that is there */
    bool busy[WORDS];      /* a thread is at work there */
    uint32_t snapshots;
};

static struct counters counters;

static vm_offset_t word_va(uint32_t w)
{
    return w < STRETCH ? VA(SHARED * STRETCH + w) : VA(FILE_SHARED * STRETCH + (w - STRETCH));
}

/* Writes the page with the word: whole, in part, or past the cache. */
static void count_by_write(uint32_t w, uint64_t value, uint32_t how)
{
    _Alignas(4096) uint8_t page[VM_PAGE_SIZE];
    memset(page, (int)value, sizeof(page));
    memcpy(page, &value, sizeof(value));
    struct fl_iovec iov = {page, how == 0 ? sizeof(value) : sizeof(page)};
    struct fl_iocb iocb = {ptoa(w - STRETCH), how == 2 ? FL_IOCB_DIRECT : 0};
    assert_int_equal(fl_vnode_write(file.vnode, &iov, 1, &iocb), iov.len_bytes);
}

static void counter_thread(void *arg)
{
    struct prng own;
    prng_init(&own, (uint64_t)(uintptr_t)arg);
    for (uint32_t i = 0; i < 120; i++) {
        uint32_t w = (uint32_t)prng_below(&own, WORDS), how = (uint32_t)prng_below(&own, 6);
        if (counters.busy[w])
            continue;
        counters.busy[w] = true;
        uint64_t value = ++counters.begun[w], old;
        if (w >= STRETCH && how < 3)
            count_by_write(w, value, how);
        else
            assert_int_equal(sim_fetch_add(space[0].map, word_va(w), 1, &old), 0);
        counters.done[w] = value;
        counters.busy[w] = false;
        if (how == 5)
            (void)!fl_sys_madvise(space[0].map, word_va(w), VM_PAGE_SIZE, FL_MADV_PAGEOUT);
    }
}

static uint64_t word_of(vm_offset_t va)
{
    uint64_t word = 0;
    assert_int_equal(sim_load(space[0].map, va, &word, sizeof(word), NULL), 0);
    return word;
}

/* Takes a snapshot of shared and file memory, looks at it at once and later, and gives it up. */
static void snapshot_thread(void *arg)
{
    struct counters before;
    uint64_t after[WORDS], word[WORDS];
    (void)arg;
    for (uint32_t i = 0; i < 12; i++) {
        before = counters;
        int64_t at = fl_sys_snapshot(space[0].map, VA(SHARED * STRETCH), ptoa(3 * STRETCH));
        assert_true(at > 0);
        memcpy(after, counters.begun, sizeof(after));
        for (uint32_t round = 0; round < 3; round++) {
            for (uint32_t w = 0; w < WORDS; w++) {
                uint64_t now = word_of((vm_offset_t)at + (word_va(w) - VA(SHARED * STRETCH)));
                assert_true(round > 0 || (now >= before.done[w] && now <= after[w]));
                assert_true(round == 0 || now == word[w]);
                word[w] = now;
            }
            sim_yield();
        }
        counters.snapshots++;
        assert_int_equal(fl_sys_munmap(space[0].map, (vm_offset_t)at, ptoa(3 * STRETCH)), 0);
    }
}

static void threads_run(uint64_t seed)
{
    struct sim_params params = test_params_hostile(seed);
    params.nframes = seed % 2 ? 96 : 512;
    params.swap_pages = 1024;
    params.torture.copy_first = seed % 3 == 0;
    begin(&params);
    memset(&counters, 0, sizeof(counters));
    for (uint32_t w = STRETCH; w < WORDS; w++) {
        uint64_t zero = 0;
        assert_int_equal(sim_store(space[0].map, word_va(w), &zero, sizeof(zero), NULL), 0);
    }
    for (uint64_t i = 0; i < 4; i++)
        sim_run("counter", counter_thread, (void *)(uintptr_t)(seed * 16 + i + 1));
    sim_run("snapshot", snapshot_thread, NULL);
    sim_run("snapshot", snapshot_thread, NULL);
    sim_join_all();
    assert_int_equal(counters.snapshots, 24);
    sim_vm_check();
    end();
}

static void test_threads(void **state)
{
    uint64_t seed = test_seed(0x54aa), rounds = test_rounds(test_budget(40));
    (void)state;
    for (uint64_t i = 0; i < rounds; i++) {
        (void)test_seed(seed + i);
        threads_run(seed + i);
    }
}

/* ---- failures ---------------------------------------------------------------------------------------- */

static void store_all(uint8_t byte)
{
    for (uint32_t p = 0; p < NPAGES; p++) {
        int error = sim_store(space[0].map, VA(p), &byte, 1, NULL);
        assert_true(error == 0 || error == -ENOMEM);
        if (error == 0)
            model_store(&space[0], p, 0, byte);
    }
}

static void failing_run(uint64_t nth, bool later, bool copy_first)
{
    struct sim_params params = test_params(3);
    struct model_snapshot *to = &space[0].snapshot[0];
    params.torture.copy_first = copy_first;
    begin(&params);
    store_all(7);
    assert_int_equal(fl_sys_mlock(space[0].map, VA(2), ptoa(3)), 0);
    tight = true;
    sim_torture()->fail_alloc_nth = later ? 0 : (uint32_t)nth;
    if (take(&space[0], VA(0), NPAGES, to))
        model_snapshot(&space[0], 0, NPAGES, to);
    sim_torture()->fail_alloc_nth = later ? (uint32_t)nth : 0;
    store_all(8);
    sim_torture()->fail_alloc_nth = 0;
    tight = false;
    compare_all();
    store_all(9);
    compare_all();
    sim_vm_check();
    end();
}

static void test_failures(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 60; nth++) {
        failing_run(nth, false, nth % 2 == 0);
        failing_run(nth, true, nth % 2 == 0);
    }
}

/* ---- single calls ------------------------------------------------------------------------------------ */

static void test_calls(void **state)
{
    struct sim_params params = test_params(4);
    (void)state;
    begin(&params);
    struct vm_map *map = space[0].map;
    assert_int_equal(fl_sys_snapshot(map, VA(0) + 1, VM_PAGE_SIZE), -EINVAL);
    assert_int_equal(fl_sys_snapshot(map, VA(0), 0), -EINVAL);
    assert_int_equal(fl_sys_snapshot(map, VA(0), SIZE_MAX), -EINVAL);
    assert_int_equal(fl_sys_munmap(map, VA(3), VM_PAGE_SIZE), 0);
    assert_int_equal(fl_sys_snapshot(map, VA(2), ptoa(3)), -ENOMEM);
    assert_int_equal(fl_sys_mprotect(map, VA(4), VM_PAGE_SIZE, VM_PROT_NONE), 0);
    assert_int_equal(fl_sys_snapshot(map, VA(4), ptoa(2)), -EACCES);

    test_store8(map, VA(FILE_SHARED * STRETCH), 5);
    int64_t at = fl_sys_snapshot(map, VA(FILE_SHARED * STRETCH), ptoa(STRETCH));
    vm_offset_t va = (vm_offset_t)at;
    assert_true(at > 0);
    uint8_t byte = 6;
    assert_int_equal(sim_store(map, va, &byte, 1, NULL), -EACCES);
    assert_int_equal(fl_sys_mprotect(map, va, VM_PAGE_SIZE, RW), -EACCES);
    assert_int_equal(fl_sys_mremap(map, va, ptoa(STRETCH), ptoa(STRETCH + 1), FL_MREMAP_MAYMOVE, 0), -EINVAL);
    test_store8(map, VA(FILE_SHARED * STRETCH), 6);
    assert_int_equal(fl_sys_madvise(map, va, VM_PAGE_SIZE, FL_MADV_DONTNEED), 0);
    assert_int_equal(test_load8(map, va), 5); /* the copy is not given up for what the file has now */

    /* It outlives the mapping and the file's pages, and moves. */
    assert_int_equal(fl_sys_munmap(map, VA(FILE_SHARED * STRETCH), ptoa(STRETCH)), 0);
    assert_int_equal(fl_vnode_truncate(file.vnode, 0), 0);
    at = fl_sys_mremap(map, va, ptoa(STRETCH), ptoa(STRETCH), FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED,
                       BASE - ptoa(16));
    assert_int_equal(at, BASE - ptoa(16));
    assert_int_equal(test_load8(map, (vm_offset_t)at), 5);
    assert_int_equal(test_load8(map, (vm_offset_t)at + ptoa(1)), test_byte(ptoa(1)));
    end();
}

/*
 * A snapshot has a clean copy of a page that shared memory has in swap, and outlives the memory: the copy is
 * all that is left, and does not get lost by page-out.
 */
static void test_copy_of_swap(void **state)
{
    struct sim_params params = test_params(5);
    vm_offset_t va = VA(SHARED * STRETCH);
    (void)state;
    params.swap_pages = 64;
    params.torture.copy_first = true;
    begin(&params);
    struct vm_map *map = space[0].map;
    test_store8(map, va, 5);
    assert_int_equal(fl_sys_madvise(map, va, VM_PAGE_SIZE, FL_MADV_PAGEOUT), 0);
    vm_offset_t copy = (vm_offset_t)fl_sys_snapshot(map, va, VM_PAGE_SIZE);
    assert_int_equal(test_load8(map, copy), 5);
    assert_int_equal(fl_sys_madvise(map, va, VM_PAGE_SIZE, FL_MADV_PAGEOUT), 0);
    assert_int_equal(fl_sys_munmap(map, va, ptoa(STRETCH)), 0);
    assert_int_equal(fl_sys_madvise(map, copy, VM_PAGE_SIZE, FL_MADV_PAGEOUT), 0);
    assert_int_equal(test_load8(map, copy), 5);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random), cmocka_unit_test(test_threads),      cmocka_unit_test(test_failures),
        cmocka_unit_test(test_calls),  cmocka_unit_test(test_copy_of_swap),
    };
    return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
