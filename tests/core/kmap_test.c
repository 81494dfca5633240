/*
 * kmap_test.c: kmap against a model of it: for each frame how many users it has, where they see it, and what
 * is in it. Threads map runs, write into them and unmap them; then the waits, the short-lived kind, and what
 * the machine and the assertions must catch.
 */
#include "vm/kmap.h"
#include "lib/errno.h"
#include "lib/zone.h"
#include "support/boot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NFRAMES  64
#define NSLOTS   16
#define NTHREADS 6
#define RUN      (NSLOTS / 2)
#define HIGH     (NFRAMES / 8) /* the first frame in high memory */

static _Alignas(64) uint8_t meta[1u << 14];
static struct machine_kmap machine; /* the sim's, with what a test changed */
static uint32_t fail_nth;

/* The model. */
static struct {
    uint32_t users;
    void *at;      /* while there are users */
    uint64_t word; /* at both ends of the page */
} model[NFRAMES];
static struct {
    uint32_t shared, waited, refused, reused, local;
} met;
static struct prng prng;

static bool fail_alloc(const char *what)
{
    (void)what;
    return fail_nth > 0 && --fail_nth == 0;
}

static int start(void)
{
    memset(meta, 0, sizeof(meta));
    vm_meta_init(meta, sizeof(meta), NULL, fail_alloc);
    return kmap_startup(&machine);
}

static void up(uint64_t seed, struct sim_torture torture)
{
    struct sim_params params = test_params(seed);

    params.nframes = NFRAMES;
    params.ncpus = 3;
    params.highmem = true;
    params.kmap_slots = NSLOTS;
    params.torture = torture;
    sim_machine_init(&params);
    machine = *sim_kmap();
    memset(model, 0, sizeof(model));
    memset(&met, 0, sizeof(met));
    prng_init(&prng, seed);
    for (vm_frame_t f = 0; f < NFRAMES; f++)
        memset(sim_frame(f), 0, VM_PAGE_SIZE);
    assert_int_equal(start(), 0);
}

static void down(void)
{
    kmap_check();
    sim_machine_fini();
}

static uint64_t *word_at(void *page, size_t offset)
{
    return (uint64_t *)(void *)((char *)page + offset);
}

#define LAST_WORD (VM_PAGE_SIZE - sizeof(uint64_t))

/* ---- against the model --------------------------------------------------------------------------------- */

static void model_mapped(vm_frame_t f, void *at)
{
    assert_non_null(at);
    if (model[f].users++ == 0) {
        met.reused += model[f].at == at;
        model[f].at = at;
    } else {
        met.shared += f >= HIGH;
        assert_ptr_equal(model[f].at, at); /* one slot for each page */
    }
}

/* The page shows what was written last, by whomever, and takes a new word. */
static void use(vm_frame_t f, void *at)
{
    assert_int_equal(*word_at(at, 0), model[f].word);
    assert_int_equal(*word_at(at, LAST_WORD), model[f].word);
    model[f].word = prng_next(&prng);
    *word_at(at, 0) = model[f].word;
    *word_at(at, LAST_WORD) = model[f].word;
    assert_int_equal(*word_at(sim_frame(f), 0), model[f].word);
}

static uint32_t draw_run(vm_frame_t *frame)
{
    uint32_t n = (uint32_t)prng_range(&prng, 1, RUN);
    uint32_t first = (uint32_t)prng_below(&prng, NFRAMES), step = (uint32_t)prng_below(&prng, 5) * 2 + 1;

    for (uint32_t i = 0; i < n; i++)
        frame[i] = (first + i * step) % NFRAMES; /* no frame twice: steps are odd */
    return n;
}

static void thread_unmap(const vm_frame_t *frame, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        model[frame[i]].users--;
    kunmap(frame, n);
}

static bool thread_map(const vm_frame_t *frame, uint32_t n, bool nowait, void **at)
{
    const uint64_t before = sim_stats().switches;

    int error = kmap(frame, n, nowait, at);
    if (error != 0) {
        assert_true(nowait && error == -EAGAIN);
        met.refused++;
        return false;
    }
    met.waited += !nowait && sim_stats().switches > before + 20;
    for (uint32_t i = 0; i < n; i++)
        model_mapped(frame[i], at[i]);
    return true;
}

/* A stack of local ones, written in turn. */
static void thread_local_ones(void)
{
    vm_frame_t frame[MACHINE_KMAP_LOCAL];
    void *at[MACHINE_KMAP_LOCAL];
    uint32_t n = (uint32_t)prng_range(&prng, 1, MACHINE_KMAP_LOCAL);

    for (uint32_t i = 0; i < n; i++) {
        frame[i] = (vm_frame_t)prng_below(&prng, NFRAMES);
        at[i] = kmap_local(frame[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        use(frame[i], at[i]);
    for (uint32_t i = n; i-- > 0;)
        kunmap_local(at[i]);
    met.local++;
}

static void thread(void *arg)
{
    (void)arg;
    for (uint64_t round = test_rounds(600); round > 0; round--) {
        vm_frame_t frame[RUN], ahead[RUN];
        void *at[RUN], *ahead_at[RUN];
        uint32_t n = draw_run(frame), nahead = draw_run(ahead);
        /* A thread that waits for slots may hold some that it got without waiting, as a plug does. */
        bool has_ahead = prng_chance(&prng, 300) && thread_map(ahead, nahead, true, ahead_at);

        (void)thread_map(frame, n, false, at);
        for (uint32_t i = 0; i < n; i++) {
            use(frame[i], at[i]);
            sim_yield();
        }
        if (prng_chance(&prng, 300))
            thread_local_ones();
        thread_unmap(frame, n);
        if (has_ahead) {
            use(ahead[0], ahead_at[0]);
            thread_unmap(ahead, nahead);
        }
        if (round % 16 == 0)
            kmap_check();
    }
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = test_seed(1), n = 0; n < 8; seed++, n++) {
        up(seed,
           (struct sim_torture){.preempt_permille = 100, .spurious_permille = 100, .stale_tlb = n % 4 != 0});
        for (int i = 0; i < NTHREADS; i++)
            sim_run("mapper", thread, NULL);
        sim_join_all();
        for (vm_frame_t f = 0; f < NFRAMES; f++)
            assert_int_equal(model[f].users, 0);
        assert_true(met.shared > 0 && met.waited > 0 && met.refused > 0 && met.reused > 0 && met.local > 0);
        assert_true(sim_stats().kmap_flushes > 0 && sim_stats().kmaps > NSLOTS);
        down();
    }
}

/* ---- exhaustion ---------------------------------------------------------------------------------------- */

static bool waiter_done;

static void waiter(void *arg)
{
    const vm_frame_t *frame = arg;
    void *at;

    assert_int_equal(kmap(frame, 1, false, &at), 0);
    assert_int_equal(*word_at(at, 0), *frame);
    waiter_done = true;
    kunmap(frame, 1);
}

static void test_wait(void **state)
{
    (void)state;
    static vm_frame_t frame[NSLOTS + 1];
    void *at[NSLOTS];

    up(test_seed(3), (struct sim_torture){.stale_tlb = true});
    for (uint32_t i = 0; i <= NSLOTS; i++) {
        frame[i] = HIGH + i;
        *word_at(sim_frame(frame[i]), 0) = frame[i];
    }
    assert_int_equal(kmap(frame, RUN, true, at), 0);
    /* half of the slots are for those that wait */
    assert_int_equal(kmap(&frame[RUN], 1, true, &at[RUN]), -EAGAIN);
    assert_int_equal(kmap(&frame[RUN], RUN, false, &at[RUN]), 0);
    /* a page that is mapped needs no slot, and one of the direct map neither */
    void *again;
    vm_frame_t low = 1;
    assert_int_equal(kmap(&frame[3], 1, false, &again), 0);
    assert_ptr_equal(again, at[3]);
    kunmap(&frame[3], 1);
    assert_int_equal(kmap(&low, 1, true, &again), 0);
    assert_ptr_equal(again, (char *)machine.direct + VM_PAGE_SIZE);
    kunmap(&low, 1);

    waiter_done = false;
    sim_run("waiter", waiter, &frame[NSLOTS]);
    sim_settle();
    assert_false(waiter_done);
    kunmap(&frame[5], 1);
    sim_join_all();
    assert_true(waiter_done);
    kunmap(frame, 5);
    kunmap(&frame[6], NSLOTS - 6);
    down();
}

/* All of a run's slots or none: two runs that need all slots together do not wait for each other's half. */
static void half_mapper(void *arg)
{
    const vm_frame_t *frame = arg;

    for (int round = 0; round < 50; round++) {
        void *at[RUN];

        assert_int_equal(kmap(frame, RUN, false, at), 0);
        sim_yield();
        kunmap(frame, RUN);
    }
}

static void test_runs_do_not_deadlock(void **state)
{
    (void)state;
    static vm_frame_t frame[5][RUN];

    up(test_seed(4), (struct sim_torture){.preempt_permille = 300, .stale_tlb = true});
    for (uint32_t t = 0; t < 5; t++) {
        for (uint32_t i = 0; i < RUN; i++)
            frame[t][i] = HIGH + t * RUN + i;
        sim_run("half", half_mapper, frame[t]);
    }
    sim_join_all();
    down();
}

/* ---- what must be caught ------------------------------------------------------------------------------- */

static void no_flush(void *start_, void *end)
{
    (void)start_;
    (void)end;
}

static void no_flush_self(void *va)
{
    (void)va;
}

/* More pages than slots, one after the other. */
static void cycle(void *arg)
{
    (void)arg;
    assert_int_equal(start(), 0);
    for (vm_frame_t f = HIGH; f < NFRAMES; f++) {
        void *at;

        assert_int_equal(kmap(&f, 1, false, &at), 0);
        kunmap(&f, 1);
        kunmap_local(kmap_local(f));
    }
}

static void unmap_unmapped(void *arg)
{
    vm_frame_t f = HIGH;

    (void)arg;
    kunmap(&f, 1);
}

static void too_deep(void *arg)
{
    (void)arg;
    for (vm_frame_t f = HIGH; f < NFRAMES; f++)
        (void)!kmap_local(f);
}

static void wrong_order(void *arg)
{
    void *first = kmap_local(HIGH), *second = kmap_local(HIGH + 1);

    (void)arg;
    kunmap_local(first);
    kunmap_local(second);
}

static void sleeps_with_local(void *arg)
{
    (void)arg;
    (void)!kmap_local(HIGH);
    sim_sleep_ns(100);
}

static void run_too_long(void *arg)
{
    vm_frame_t frame[RUN + 1];
    void *at[RUN + 1];

    (void)arg;
    for (uint32_t i = 0; i <= RUN; i++)
        frame[i] = HIGH + i;
    (void)!kmap(frame, RUN + 1, false, at);
}

static void test_caught(void **state)
{
    (void)state;
    up(test_seed(5), (struct sim_torture){.stale_tlb = true});
    machine.flush_tlb = no_flush;
    assert_true(test_panics(cycle, NULL, "flush_tlb is owed"));
    machine = *sim_kmap();
    machine.flush_tlb_self = no_flush_self;
    assert_true(test_panics(cycle, NULL, "flush_tlb is owed"));
    machine = *sim_kmap();
    assert_true(test_panics(unmap_unmapped, NULL, "KM3"));
    assert_true(test_panics(too_deep, NULL, "KM4"));
    assert_true(test_panics(wrong_order, NULL, "KM4"));
    assert_true(test_panics(sleeps_with_local, NULL, "is pinned"));
    assert_true(test_panics(run_too_long, NULL, "KM5"));
    cycle(NULL);
    down();
}

/* A child's stores do not reach its parent's memory. */
static void scribble(void *arg)
{
    (void)arg;
    memset(sim_frame(HIGH), 0xee, VM_PAGE_SIZE);
    sim_sleep_ns(UINT64_MAX / 2);
    machine_panic("scribbled");
}

static void test_child_has_its_own_memory(void **state)
{
    (void)state;
    vm_frame_t f = HIGH;
    void *at;

    up(test_seed(6), (struct sim_torture){0});
    assert_int_equal(kmap(&f, 1, false, &at), 0);
    *word_at(at, 0) = 7;
    assert_true(test_panics(scribble, NULL, "scribbled"));
    assert_int_equal(*word_at(at, 0), 7);
    kunmap(&f, 1);
    down();
}

static void test_fail_nth(void **state)
{
    (void)state;
    up(test_seed(7), (struct sim_torture){0});
    for (uint32_t nth = 1;; nth++) {
        fail_nth = nth;
        int error = start();
        bool failed = fail_nth == 0;

        assert_int_equal(error, failed ? -ENOMEM : 0);
        if (!failed)
            break;
        assert_false(kmap_used());
    }
    fail_nth = 0;
    cycle(NULL);
    down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_runs_do_not_deadlock),
        cmocka_unit_test(test_caught),
        cmocka_unit_test(test_child_has_its_own_memory),
        cmocka_unit_test(test_fail_nth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
