/*
 * map_test.c: address maps through the system calls, against a plain array with one element for each page.
 *
 *     random call ─▶ the core     result; every page: what is mapped there, its protection, the word at its
 *                 ─▶ the array    start; findspace from both ends; what the space has; vm_map_check
 *
 * What Linux would call one mapping is, in the array, a run of pages that continue each other.
 */
#include <faultline/vm.h>
#include "lib/errno.h"
#include "support/boot.h"
#include "support/seed.h"
#include "vm/vm_map.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BASE   ((vm_offset_t)0x100000)
#define NPAGES 72
#define NFILE  40 /* pages of each file */
#define NSHM   8  /* shared anonymous memories that exist at one time, at most */
#define VA(p)  (BASE + ptoa(p))

enum kind { FREE, ANON, SHM, FILE_RW, FILE_RO, RESERVED };

struct mpage {
    enum kind kind;
    bool private, own, wired; /* own: a private copy with contents of its own */
    bool in;                  /* it was brought in when it was wired */
    int prot, max, behavior;
    bool dont_fork, wipe;
    uint32_t shm;
    uint64_t index; /* in the file or the shared memory */
    uint64_t word;  /* of an own page */
};

static struct mpage pages[NPAGES];                           /* the model … */
static uint64_t file_word[2][NFILE], shm_word[NSHM][NPAGES]; /* … and what is shared */
static uint32_t shm_pages[NSHM];
static uint64_t next_word;
static uint32_t mmap_base;                    /* a page: the highest place is looked for below it first */
static uint32_t most, most_data, most_locked; /* limits, in pages */
static bool wire_future;
#define NO_LIMIT 100000

static struct vm_map *map;
static struct fl_file file[2];
static struct prng prng;

static uint32_t below(uint32_t bound)
{
    return (uint32_t)prng_below(&prng, bound);
}

/* ---- the model --------------------------------------------------------------------------------------- */

static bool mapped(uint32_t p)
{
    return pages[p].kind != FREE && pages[p].kind != RESERVED;
}

static bool beyond_end(const struct mpage *m)
{
    if (m->own || m->kind == ANON)
        return false;
    return m->index >= (m->kind == SHM ? shm_pages[m->shm] : NFILE);
}

/* Where the word of a page that can be touched is. */
static uint64_t *word_of(struct mpage *m)
{
    static uint64_t zero;

    if (m->own)
        return &m->word;
    zero = 0;
    switch (m->kind) {
    case SHM:
        return &shm_word[m->shm][m->index];
    case FILE_RW:
        return &file_word[0][m->index];
    case FILE_RO:
        return &file_word[1][m->index];
    default:
        return &zero;
    }
}

/* The result of an access, 0 if it succeeds; a store to a private page makes a private copy. */
static int model_touch(uint32_t p, int access)
{
    struct mpage *m = &pages[p];

    if (!mapped(p))
        return -EFAULT;
    if (m->prot == 0 || (access == VM_PROT_WRITE && !(m->prot & VM_PROT_WRITE)))
        return -EACCES;
    if (beyond_end(m))
        return -ENXIO;
    if (access == VM_PROT_WRITE && m->private && !m->own) {
        m->word = *word_of(m);
        m->own = true;
    }
    return 0;
}

static bool continues(uint32_t p)
{
    const struct mpage *a = &pages[p], *b = &pages[p + 1];

    if (p + 1 >= NPAGES || a->kind != b->kind || a->private != b->private || a->wired != b->wired ||
        a->prot != b->prot || a->max != b->max || a->behavior != b->behavior ||
        a->dont_fork != b->dont_fork || a->wipe != b->wipe)
        return false;
    return a->kind == ANON || (a->shm == b->shm && a->index + 1 == b->index);
}

/* The first page behind the run that p lies in. */
static uint32_t run_end(uint32_t p)
{
    while (continues(p))
        p++;
    return p + 1;
}

static bool range_free(uint32_t p, uint32_t n)
{
    for (uint32_t i = p; i < p + n; i++)
        if (i >= NPAGES || pages[i].kind != FREE)
            return false;
    return true;
}

static bool range_mapped(uint32_t p, uint32_t n)
{
    for (uint32_t i = p; i < p + n; i++)
        if (i >= NPAGES || !mapped(i))
            return false;
    return true;
}

/* The highest free place for n pages below `limit`, or NPAGES. */
static uint32_t highest(uint32_t limit, uint32_t n)
{
    for (uint32_t p = limit - n + 1; n <= limit && p-- > 0;)
        if (range_free(p, n))
            return p;
    return NPAGES;
}

static uint32_t lowest(uint32_t from, uint32_t n)
{
    for (uint32_t p = from; p + n <= NPAGES; p++)
        if (range_free(p, n))
            return p;
    return NPAGES;
}

/* Where mmap and mremap place n pages. */
static uint32_t chosen(uint32_t n)
{
    uint32_t p = highest(mmap_base, n);

    return p != NPAGES ? p : lowest(0, n);
}

/* ---- what the space has, and may have ---------------------------------------------------------------- */

static bool is_data(const struct mpage *m)
{
    return m->private && (m->prot & VM_PROT_WRITE);
}

static struct fl_space_usage usage(void)
{
    struct fl_space_usage u = {0};

    for (uint32_t p = 0; p < NPAGES; p++) {
        u.as_bytes += mapped(p) ? ptoa(1) : 0;
        u.data_bytes += mapped(p) && is_data(&pages[p]) ? ptoa(1) : 0;
        u.memlock_bytes += mapped(p) && pages[p].wired ? ptoa(1) : 0;
    }
    return u;
}

static bool may_have(bool data, uint32_t n)
{
    struct fl_space_usage u = usage();

    return atop(u.as_bytes) + n <= most && (!data || atop(u.data_bytes) + n <= most_data);
}

static bool may_lock(uint32_t n)
{
    return atop(usage().memlock_bytes) + n <= most_locked;
}

/* Sets or lifts limits that are near to what the space has. */
static void op_limit(void)
{
    struct fl_space_limits limits = {FL_NO_LIMIT, FL_NO_LIMIT, FL_NO_LIMIT, FL_NO_LIMIT};
    uint32_t which = below(6);

    most = most_data = most_locked = NO_LIMIT;
    if (which == 0)
        limits.as_bytes = ptoa(most = (uint32_t)atop(usage().as_bytes) + below(16)) + below(4096);
    if (which == 1)
        limits.data_bytes = ptoa(most_data = (uint32_t)atop(usage().data_bytes) + below(16)) + below(4096);
    if (which == 2) {
        most_locked = below(16);
        limits.memlock_bytes = ptoa(most_locked) + (most_locked == 0 ? 0 : below(4096));
    }
    fl_space_set_limits(map, &limits);
    mmap_base = below(2) ? NPAGES : below(NPAGES);
    fl_space_set_mmap_base(map, VA(mmap_base));
}

static void model_clear(uint32_t p, uint32_t n)
{
    for (uint32_t i = p; i < p + n && i < NPAGES; i++)
        pages[i] = (struct mpage){.kind = FREE};
}

/* ---- comparing --------------------------------------------------------------------------------------- */

static void compare_page(uint32_t p, const struct fl_region *r)
{
    const struct mpage *m = &pages[p];
    bool is_file = m->kind == FILE_RW || m->kind == FILE_RO;
    struct vm_map_entry *entry;

    assert_int_equal(r->reserved, m->kind == RESERVED);
    if (m->kind == RESERVED)
        return;
    assert_int_equal(r->prot, m->prot);
    assert_int_equal(r->max_prot, m->max);
    assert_int_equal(r->shared, !m->private);
    assert_int_equal(r->wired, m->wired);
    assert_int_equal(r->inherit, m->dont_fork ? FL_INHERIT_NONE
                                 : m->wipe    ? FL_INHERIT_ZERO
                                 : m->private ? FL_INHERIT_COPY
                                              : FL_INHERIT_SHARE);
    assert_int_equal(r->anonymous, !is_file);
    assert_ptr_equal(r->vnode, is_file ? file[m->kind == FILE_RO].vnode : NULL);
    if (is_file)
        assert_int_equal(r->offset + (VA(p) - r->start), ptoa(m->index));
    assert_true(vm_map_lookup_entry(map, VA(p), &entry));
    assert_int_equal(vm_map_entry_behavior(entry), m->behavior);
}

static void compare_map(void)
{
    struct fl_region r;
    uint32_t p = 0;

    vm_map_check(map);
    for (vm_offset_t va = BASE; fl_space_region(map, va, &r) == 0; va = r.end) {
        for (; VA(p) < r.start; p++)
            assert_int_equal(pages[p].kind, FREE);
        for (; VA(p) < r.end; p++)
            compare_page(p, &r);
    }
    for (; p < NPAGES; p++)
        assert_int_equal(pages[p].kind, FREE);
    struct fl_space_usage want = usage(), got;
    fl_space_usage(map, &got);
    assert_int_equal(got.as_bytes, want.as_bytes);
    assert_int_equal(got.data_bytes, want.data_bytes);
    assert_int_equal(got.memlock_bytes, want.memlock_bytes);
}

static void compare_findspace(void)
{
    uint32_t n = 1 + below(NPAGES / 2), from = below(NPAGES), limit = below(NPAGES + 2);
    uint32_t want = highest(limit > NPAGES ? NPAGES : limit, n);
    vm_offset_t addr;
    int error = vm_map_findspace_topdown(map, VA(limit), ptoa(n), &addr);

    assert_int_equal(error, want == NPAGES ? -ENOMEM : 0);
    if (error == 0)
        assert_int_equal(addr, VA(want));
    want = lowest(from, n);
    error = vm_map_findspace(map, VA(from), ptoa(n), &addr);
    assert_int_equal(error, want == NPAGES ? -ENOMEM : 0);
    if (error == 0)
        assert_int_equal(addr, VA(want));
}

/* The word at the start of page p, as a program sees it. */
static void compare_word(uint32_t p)
{
    uint64_t word;
    int want = model_touch(p, VM_PROT_READ);

    assert_int_equal(sim_load(map, VA(p), &word, sizeof(word), NULL), want);
    if (want == 0)
        assert_int_equal(word, *word_of(&pages[p]));
}

/* ---- the calls --------------------------------------------------------------------------------------- */

/* A shared memory that no page shows, or NSHM. */
static uint32_t unused_shm(void)
{
    for (uint32_t s = 0; s < NSHM; s++) {
        bool used = false;

        for (uint32_t p = 0; p < NPAGES; p++)
            used |= pages[p].kind == SHM && pages[p].shm == s;
        if (!used)
            return s;
    }
    return NSHM;
}

static void model_map(uint32_t p, uint32_t n, struct mpage first)
{
    for (uint32_t i = p; i < p + n; i++, first.index += first.kind != ANON)
        pages[i] = first;
}

static void wire_reachable(uint32_t p, uint32_t n);

/* What limits say of n new pages like m at p; what they replace does not count. */
static int limited(uint32_t p, uint32_t n, const struct mpage *m, bool wire)
{
    uint32_t replaced = 0;

    if (wire && !may_lock(n))
        return -EAGAIN;
    for (uint32_t i = p; i < p + n; i++)
        replaced += mapped(i);
    return may_have(is_data(m), n) || may_have(is_data(m), n - replaced) ? 0 : -ENOMEM;
}

/* The page at which the mapping must be placed; or an error in *result. */
static uint32_t place(uint32_t hint, uint32_t n, int flags, int *result)
{
    uint32_t p = hint;

    *result = 0;
    if (flags & (FL_MAP_FIXED | FL_MAP_FIXED_NOREPLACE)) {
        if (p + n > NPAGES)
            *result = -ENOMEM;
        else if ((flags & FL_MAP_FIXED_NOREPLACE) && !range_free(p, n))
            *result = -EEXIST;
        return p;
    }
    if (hint == 0 || !range_free(p, n))
        p = chosen(n);
    *result = p == NPAGES ? -ENOMEM : 0;
    return p;
}

static void op_mmap(void)
{
    uint32_t hint = below(3) != 0 ? below(NPAGES) : 0, n = 1 + below(12), want;
    int prot = (int)below(8), result, type = below(2) ? FL_MAP_PRIVATE : FL_MAP_SHARED;
    int flags = type | (int[]){0, 0, FL_MAP_FIXED, FL_MAP_FIXED_NOREPLACE}[below(4)];
    struct mpage m = {.private = type == FL_MAP_PRIVATE, .prot = prot, .max = VM_PROT_ALL};
    const struct fl_file *f = NULL;
    vm_offset_t addr = hint == 0 && !(flags & (FL_MAP_FIXED | FL_MAP_FIXED_NOREPLACE)) ? 0 : VA(hint);

    if (below(2)) {
        m.kind = below(3) ? FILE_RW : FILE_RO;
        f = &file[m.kind == FILE_RO];
        m.index = below(NFILE + 4);
    } else {
        flags |= FL_MAP_ANONYMOUS;
        m.kind = m.private ? ANON : SHM;
        m.shm = m.private ? 0 : unused_shm();
        if (m.shm == NSHM)
            return;
    }
    if (below(8) == 0)
        flags |= FL_MAP_LOCKED;
    want = place(addr == 0 ? 0 : hint, n, flags, &result);
    /* Linux looks for a place first, so it returns -ENOMEM or -EEXIST where both errors apply. */
    if (m.kind == FILE_RO && !m.private && (prot & VM_PROT_WRITE) &&
        !((flags & (FL_MAP_FIXED | FL_MAP_FIXED_NOREPLACE)) && result == -ENOMEM))
        result = -EACCES;
    if (m.kind == FILE_RO && !m.private)
        m.max &= ~VM_PROT_WRITE;
    bool wire = wire_future || (flags & FL_MAP_LOCKED);
    if (result == 0)
        result = (flags & FL_MAP_LOCKED) && most_locked == 0 ? -EPERM : limited(want, n, &m, wire);
    int64_t got = fl_sys_mmap(map, addr, ptoa(n), prot, flags, f, ptoa(m.index));
    assert_int_equal(got, result != 0 ? result : (int64_t)VA(want));
    if (result != 0)
        return;
    if (m.kind == SHM) {
        shm_pages[m.shm] = n;
        memset(shm_word[m.shm], 0, sizeof(shm_word[m.shm]));
    }
    model_map(want, n, m);
    if (wire)
        wire_reachable(want, n);
}

static void op_munmap(void)
{
    uint32_t p = below(NPAGES), n = 1 + below(16);
    int want = p + n > NPAGES ? -EINVAL : 0;

    assert_int_equal(fl_sys_munmap(map, VA(p), ptoa(n)), want);
    if (want == 0)
        model_clear(p, n);
}

static void op_mprotect(void)
{
    uint32_t p = below(NPAGES), n = 1 + below(16), i;
    int prot = (int)below(8), want = 0;

    for (i = p; i < p + n && i < NPAGES && most_data != NO_LIMIT; i++)
        if (mapped(i) && pages[i].private && (prot & VM_PROT_WRITE))
            return; /* refused for each entry as a whole: limits_test.c */
    for (i = p; i < p + n && want == 0; i++) {
        struct mpage *m = i < NPAGES ? &pages[i] : NULL;

        if (m == NULL || !mapped(i))
            want = -ENOMEM;
        else if (prot & ~m->max)
            want = -EACCES;
        if (want != 0)
            break;
        bool gains = m->wired && m->private && !(m->prot & VM_PROT_WRITE) && (prot & VM_PROT_WRITE);
        m->prot = prot;
        if (gains && model_touch(i, VM_PROT_WRITE) == 0)
            m->in = true;
    }
    assert_int_equal(fl_sys_mprotect(map, VA(p), ptoa(n), prot), want);
}

/*
 * Wires the pages that are not wired, until one fails. Then none is wired,
 * but private copies that were made stay.
 */
static void wire_range(uint32_t p, uint32_t n, int *result)
{
    bool fresh[NPAGES] = {false};
    uint32_t nfresh = 0;

    *result = range_mapped(p, n) ? 0 : -ENOMEM;
    for (uint32_t i = p; i < p + n && *result == 0; i++)
        nfresh += !pages[i].wired;
    if (*result == 0 && !may_lock(nfresh))
        *result = -ENOMEM;
    for (uint32_t i = p; i < p + n && *result == 0; i++) {
        struct mpage *m = &pages[i];
        bool write = m->private && (m->prot & VM_PROT_WRITE);

        fresh[i] = !m->wired; /* wired pages are touched too, and may fail by now */
        if (model_touch(i, write ? VM_PROT_WRITE : VM_PROT_READ) != 0)
            *result = -ENOMEM;
    }
    for (uint32_t i = p; i < p + n && *result == 0; i++)
        if (fresh[i])
            pages[i].wired = pages[i].in = true;
}

/* Wires the range; pages that cannot be had stay away. */
static void wire_reachable(uint32_t p, uint32_t n)
{
    for (uint32_t i = p; i < p + n; i++) {
        struct mpage *m = &pages[i];
        bool write = m->private && (m->prot & VM_PROT_WRITE);

        if (!mapped(i))
            continue;
        m->in = model_touch(i, write ? VM_PROT_WRITE : VM_PROT_READ) == 0 || (m->wired && m->in);
        m->wired = true;
    }
}

static void op_mlockall(void)
{
    int flags = (int)below(8), want = 0;
    uint32_t n = (uint32_t)atop(usage().as_bytes);

    if (below(3) != 0)
        flags = 0; /* munlockall, so that most pages can be evicted most of the time */
    if (flags == 0) {
        wire_future = false;
        for (uint32_t i = 0; i < NPAGES; i++)
            pages[i].wired = false;
        assert_int_equal(fl_sys_munlockall(map), 0);
        return;
    }
    if ((flags & (FL_MCL_CURRENT | FL_MCL_FUTURE)) == 0)
        want = -EINVAL;
    else if (most_locked == 0)
        want = -EPERM;
    else if ((flags & FL_MCL_CURRENT) && n > most_locked)
        want = -ENOMEM;
    else
        wire_future = flags & FL_MCL_FUTURE;
    if (want == 0 && (flags & FL_MCL_CURRENT))
        wire_reachable(0, NPAGES);
    assert_int_equal(fl_sys_mlockall(map, flags), want);
}

static void op_mlock(void)
{
    uint32_t p = below(NPAGES), n = 1 + below(6);
    int want;

    wire_range(p, n, &want);
    if (most_locked == 0)
        want = -EPERM;
    assert_int_equal(fl_sys_mlock(map, VA(p) + below(4096), ptoa(n - 1) + 1), want);
}

static void op_munlock(void)
{
    uint32_t p = below(NPAGES), n = 1 + below(20);
    int want = range_mapped(p, n) ? 0 : -ENOMEM;

    assert_int_equal(fl_sys_munlock(map, VA(p), ptoa(n)), want);
    for (uint32_t i = p; i < p + n && i < NPAGES; i++)
        pages[i].wired = false;
}

static void op_madvise(void)
{
    uint32_t p = below(NPAGES), n = 1 + below(16);
    int advice = (int[]){FL_MADV_NORMAL,   FL_MADV_RANDOM, FL_MADV_SEQUENTIAL, FL_MADV_DONTNEED,
                         FL_MADV_WILLNEED, FL_MADV_COLD,   FL_MADV_PAGEOUT,    FL_MADV_DONTNEED,
                         FL_MADV_DONTFORK, FL_MADV_DOFORK, FL_MADV_WIPEONFORK, FL_MADV_KEEPONFORK}[below(12)];
    bool forks = advice == FL_MADV_DONTFORK || advice == FL_MADV_DOFORK, wipes = advice == FL_MADV_WIPEONFORK;
    bool forgets = advice == FL_MADV_DONTNEED;
    bool locked_ok = advice <= FL_MADV_WILLNEED || forks || wipes || advice == FL_MADV_KEEPONFORK;
    int want = range_mapped(p, n) ? 0 : -ENOMEM;

    for (uint32_t i = p; i < p + n && i < NPAGES; i++) {
        if (!mapped(i))
            continue;
        if (pages[i].wired && !locked_ok) {
            want = -EINVAL;
            break;
        }
        if (wipes && (!pages[i].private || pages[i].kind != ANON)) {
            want = -EINVAL;
            break;
        }
        if (forks)
            pages[i].dont_fork = advice == FL_MADV_DONTFORK;
        else if (wipes || advice == FL_MADV_KEEPONFORK)
            pages[i].wipe = wipes;
        if (advice <= FL_MADV_SEQUENTIAL)
            pages[i].behavior = advice == FL_MADV_RANDOM       ? MAP_BEHAV_RANDOM
                                : advice == FL_MADV_SEQUENTIAL ? MAP_BEHAV_SEQUENTIAL
                                                               : MAP_BEHAV_NORMAL;
        if (forgets && pages[i].private)
            pages[i].own = false;
    }
    assert_int_equal(fl_sys_madvise(map, VA(p), ptoa(n), advice), want);
}

static void op_msync(void)
{
    uint32_t p = below(NPAGES), n = 1 + below(16);
    bool invalidate = below(3) == 0;
    int want = range_mapped(p, n) ? 0 : -ENOMEM;

    for (uint32_t i = p; i < p + n && i < NPAGES && invalidate; i++)
        if (mapped(i) && pages[i].wired)
            want = -EBUSY;
    assert_int_equal(
        fl_sys_msync(map, VA(p), ptoa(n),
                     (below(2) ? FL_MS_SYNC : FL_MS_ASYNC) | (invalidate ? FL_MS_INVALIDATE : 0)),
        want);
}

static void op_mincore(void)
{
    uint32_t p = below(NPAGES), n = 1 + below(16);
    unsigned char vec[16];
    int want = range_mapped(p, n) ? 0 : -ENOMEM;

    assert_int_equal(fl_sys_mincore(map, VA(p), ptoa(n), vec), want);
    for (uint32_t i = 0; i < n && want == 0; i++) {
        if ((pages[p + i].wired && pages[p + i].in) || (pages[p + i].own && sim_swap_disk() == NULL))
            assert_int_equal(vec[i], 1);
        if (pages[p + i].kind == ANON && !pages[p + i].own && !(pages[p + i].prot & VM_PROT_READ))
            assert_true(vec[i] <= 1);
        if (beyond_end(&pages[p + i]))
            assert_int_equal(vec[i], 0);
    }
}

static void op_reserve(void)
{
    uint32_t p = below(NPAGES), n = 1 + below(4);
    int want = p + n > NPAGES ? -EINVAL : range_free(p, n) ? 0 : -EEXIST;

    assert_int_equal(fl_space_reserve(map, VA(p), VA(p + n)), want);
    if (want == 0)
        model_map(p, n, (struct mpage){.kind = RESERVED});
}

static void op_touch(void)
{
    uint32_t p = below(NPAGES);
    uint64_t word = ++next_word;
    int want = model_touch(p, VM_PROT_WRITE);

    assert_int_equal(sim_store(map, VA(p), &word, sizeof(word), NULL), want);
    if (want == 0)
        *word_of(&pages[p]) = word;
}

/* ---- mremap ------------------------------------------------------------------------------------------ */

/* The page that p's mapping gets, `distance` pages behind p, when it grows. */
static struct mpage growth(uint32_t p, uint32_t distance)
{
    struct mpage m = pages[p];

    m.own = m.wired = m.in = false;
    if (m.kind != ANON)
        m.index += distance;
    return m;
}

static void model_move(uint32_t old, uint32_t n, uint32_t to)
{
    struct mpage moved[NPAGES];

    memcpy(moved, &pages[old], n * sizeof(moved[0]));
    model_clear(old, n);
    memcpy(&pages[to], moved, n * sizeof(moved[0]));
}

/* The mapping moved away from here, where the same is mapped anew. */
static void model_leave(uint32_t old, uint32_t n, uint32_t to)
{
    for (uint32_t i = 0; i < n; i++) {
        pages[old + i] = pages[to + i];
        pages[old + i].own = pages[old + i].wired = pages[old + i].in = false;
    }
}

static int mremap_limited(const struct mpage *m, uint32_t old_n, uint32_t new_n, bool leaves)
{
    if (new_n == old_n && !leaves)
        return 0;
    if (m->wired && !may_lock(new_n - old_n))
        return -EAGAIN;
    return may_have(is_data(m), leaves ? new_n : new_n - old_n) ? 0 : -ENOMEM;
}

/* Linux's rules; the resulting page, or an error below 0. */
static int model_mremap(uint32_t old, uint32_t old_n, uint32_t new_n, int flags, uint32_t to)
{
    bool fixed = flags & FL_MREMAP_FIXED, leaves = flags & FL_MREMAP_DONTUNMAP, wired = pages[old].wired;
    struct mpage more, first = pages[old];
    int error;

    if (leaves && old_n != new_n)
        return -EINVAL;
    if (fixed && old_n == 0 && to == old && to + new_n <= NPAGES)
        return -EFAULT;
    if (fixed && (to + new_n > NPAGES || (old + old_n > to && to + new_n > old)))
        return -EINVAL;
    if (!mapped(old))
        return -EFAULT;
    if (old_n == 0 && pages[old].private)
        return -EINVAL;
    if (!fixed && !leaves && old_n >= new_n) {
        if (old_n > new_n && old + old_n > NPAGES)
            return -EINVAL;
        model_clear(old + new_n, old_n - new_n);
        return (int)old;
    }
    uint32_t end = run_end(old);
    if (old + old_n > end)
        return -EFAULT;
    if (old_n > new_n) {
        model_clear(old + new_n, old_n - new_n);
        old_n = new_n;
    }
    more = growth(old, old_n);
    if (!fixed && !leaves && (error = mremap_limited(&first, old_n, new_n, false)) != 0)
        return error;
    if (!fixed && !leaves && end == old + old_n && range_free(end, new_n - old_n)) {
        to = old;
    } else {
        if (!(flags & FL_MREMAP_MAYMOVE))
            return -ENOMEM;
        if (fixed)
            model_clear(to, new_n);
        else if ((to = chosen(new_n)) == NPAGES)
            return -ENOMEM;
        if ((error = mremap_limited(&first, old_n, new_n, leaves)) != 0)
            return error;
        model_move(old, old_n, to);
        if (leaves)
            model_leave(old, old_n, to);
    }
    model_map(to + old_n, new_n - old_n, more);
    if (wired && new_n > old_n)
        wire_reachable(to + old_n, new_n - old_n);
    return (int)to;
}

static void op_mremap(void)
{
    uint32_t old = below(NPAGES), old_n = below(8), new_n = 1 + below(10), to = below(NPAGES);
    int flags = (int[]){0, FL_MREMAP_MAYMOVE, FL_MREMAP_MAYMOVE, FL_MREMAP_MAYMOVE | FL_MREMAP_FIXED,
                        FL_MREMAP_MAYMOVE | FL_MREMAP_DONTUNMAP}[below(5)];

    if (below(2) && mapped(old)) /* often the whole mapping: growth in place is possible then */
        old_n = run_end(old) - old;
    if ((flags & FL_MREMAP_DONTUNMAP) && below(8) && old_n > 0)
        new_n = old_n;
    if ((flags & FL_MREMAP_DONTUNMAP) && below(2))
        flags |= FL_MREMAP_FIXED;
    int want = model_mremap(old, old_n, new_n, flags, to);
    int64_t got = fl_sys_mremap(map, VA(old), ptoa(old_n), ptoa(new_n), flags, VA(to));
    assert_int_equal(got, want < 0 ? want : (int64_t)VA((uint32_t)want));
}

/* ---- runs -------------------------------------------------------------------------------------------- */

static struct sim_disk *disks[2];

static void begin(const struct sim_params *params)
{
    test_boot(params);
    assert_int_equal(fl_space_create(BASE, VA(NPAGES), &map), 0);
    for (uint32_t f = 0; f < 2; f++) {
        disks[f] = sim_disk_create(ptoa(NFILE), params->seed * 2 + f + 1);
        file[f] = test_file(disks[f], f == 0 ? FL_FREAD | FL_FWRITE : FL_FREAD);
    }
    mmap_base = NPAGES;
    most = most_data = most_locked = NO_LIMIT;
    wire_future = false;
    memset(pages, 0, sizeof(pages));
    memset(file_word, 0, sizeof(file_word));
    prng_init(&prng, params->seed);
}

static void finish(void)
{
    fl_space_destroy(map);
    for (uint32_t f = 0; f < 2; f++) {
        assert_int_equal(fl_vnode_close(file[f].vnode), 0);
        for (uint64_t i = 0; i < NFILE; i++) {
            uint64_t word;

            sim_disk_read(disks[f], ptoa(i), &word, sizeof(word));
            assert_int_equal(word, file_word[f][i]);
        }
    }
    sim_shutdown();
    sim_disk_destroy(disks[0]);
    sim_disk_destroy(disks[1]);
}

static void random_run(uint64_t seed, uint32_t steps, bool hostile)
{
    static void (*const ops[])(void) = {op_mmap,  op_mmap,    op_mmap,    op_munmap, op_mprotect,
                                        op_mlock, op_munlock, op_madvise, op_msync,  op_mincore,
                                        op_touch, op_touch,   op_touch,   op_mremap, op_mremap};
    struct sim_params params = hostile ? test_params_hostile(seed) : test_params(seed);

    begin(&params);
    for (uint32_t i = 0; i < steps; i++) {
        if (below(60) == 0)
            op_reserve();
        else if (below(40) == 0)
            op_limit();
        else if (below(40) == 0)
            op_mlockall();
        else
            ops[below(sizeof(ops) / sizeof(ops[0]))]();
        compare_map();
        compare_findspace();
        compare_word(below(NPAGES));
        if (i % 16 == 0)
            sim_vm_check();
    }
    for (uint32_t p = 0; p < NPAGES; p++)
        compare_word(p);
    finish();
}

static void test_random(void **state)
{
    uint64_t seed = test_seed(0x3a9);

    (void)state;
    for (uint64_t i = 0; i < test_rounds(24); i++) {
        print_message("seed %#llx\n", (unsigned long long)(seed + i));
        random_run(seed + i, 1500, i % 2 == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
