/*
 * page_test.c: pages against a naive model: the state of each page, and both
 * queues as plain arrays; the reserve; which sleepers are woken; the bytes.
 * On the machine sim, without a page daemon: only the test moves pages.
 */
#include "vm/vm_page.h"
#include "vm/lru.h"
#include "support/boot.h"
#include "support/parts.h"
#include "support/seed.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_pageout.h"
#include "vm/vm_phys.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define NFRAMES  96
#define NOBJECTS 3
#define SIZE     60 /* pages of an object: together more than there are frames */

struct place {
    struct vm_page *m; /* NULL: not resident */
    bool busy, valid, dirty, writeback;
    uint32_t wired, held;
    enum vm_page_queue queue;
    uint8_t byte; /* all of a valid page's bytes */
};

static struct vm_object *objects[NOBJECTS];
static struct place places[NOBJECTS][SIZE];
static struct {
    struct place *at[NFRAMES];
    uint32_t count;
} queues[PQ_COUNT];
static uint64_t reactivations;

/* ---- the model --------------------------------------------------------------------------------------- */

static void queue_remove(struct place *p)
{
    uint32_t i = 0;

    if (p->queue == PQ_NONE)
        return;
    while (queues[p->queue].at[i] != p)
        i++;
    queues[p->queue].count--;
    memmove(&queues[p->queue].at[i], &queues[p->queue].at[i + 1],
            (queues[p->queue].count - i) * sizeof(struct place *));
    p->queue = PQ_NONE;
}

static void queue_append(struct place *p, enum vm_page_queue queue)
{
    p->queue = queue;
    if (queue != PQ_NONE)
        queues[queue].at[queues[queue].count++] = p;
}

static uint32_t resident(int o)
{
    uint32_t n = 0;

    for (int i = 0; i < SIZE; i++)
        n += places[o][i].m != NULL;
    return n;
}

static void compare_queue(enum vm_page_queue queue)
{
    uint32_t frame = vm_queues.q[queue].head;

    for (uint32_t i = 0; i < queues[queue].count; i++) {
        assert_int_not_equal(frame, VM_PAGE_NONE);
        assert_ptr_equal(vm_page_of(frame), queues[queue].at[i]->m);
        frame = vm_page_of(frame)->q_next;
    }
    assert_int_equal(frame, VM_PAGE_NONE);
}

static void compare_place(int o, int i)
{
    const struct place *p = &places[o][i];
    const struct vm_page *m = vm_page_lookup(objects[o], (vm_pindex_t)i);

    assert_ptr_equal(m, p->m);
    if (m == NULL)
        return;
    assert_ptr_equal(m->object, objects[o]);
    assert_int_equal((m->flags & PG_BUSY) != 0, p->busy);
    assert_int_equal((m->flags & PG_VALID) != 0, p->valid);
    assert_int_equal((m->flags & PG_DIRTY) != 0, p->dirty);
    assert_int_equal((m->flags & PG_WRITEBACK) != 0, p->writeback);
    assert_int_equal(m->wire_count, p->wired);
    assert_int_equal(m->hold_count, p->held);
    assert_int_equal(m->queue, p->queue);
    if (p->valid) {
        const uint8_t *bytes = sim_frame(vm_page_frame(m));
        assert_int_equal(bytes[0], p->byte);
        assert_int_equal(bytes[VM_PAGE_SIZE - 1], p->byte);
    }
}

static void compare_all(void)
{
    uint32_t all = 0, wired = 0;

    for (int o = 0; o < NOBJECTS; o++) {
        assert_int_equal(objects[o]->resident_count, resident(o));
        all += resident(o);
        for (int i = 0; i < SIZE; i++) {
            compare_place(o, i);
            wired += places[o][i].wired != 0;
        }
    }
    assert_int_equal(vm_phys.free_count, NFRAMES - all);
    assert_int_equal(vm_queues.wired, wired);
    assert_int_equal(vm_counted(&vm_cnt.reactivations), reactivations);
    compare_queue(PQ_ACTIVE);
    compare_queue(PQ_INACTIVE);
    vm_page_check_all();
}

/* ---- operations, each on the real thing and on the model; with the object's lock held ---------------- */

static void op_alloc(int o, int i, bool fail)
{
    struct place *p = &places[o][i];
    uint32_t free = vm_phys.free_count, generation = objects[o]->generation, asked = parts_asked();

    parts_fail_nth(fail);
    struct vm_page *m = vm_page_alloc(objects[o], (vm_pindex_t)i, VM_ALLOC_NORMAL);
    bool failed = fail && parts_asked() > asked;
    parts_fail_nth(0);
    assert_int_equal(m == NULL, failed || free == 0);
    assert_int_equal(objects[o]->generation - generation, m != NULL);
    if (m == NULL)
        return;
    assert_int_equal(m->flags, PG_BUSY);
    *p = (struct place){.m = m, .busy = true};
}

static void model_free(struct place *p)
{
    /* The machine poisons frames that are released, so this one was. */
    assert_int_equal(sim_frame(vm_page_frame(p->m))[0], SIM_POISON);
    queue_remove(p);
    p->m = NULL;
}

static bool can_free(const struct place *p)
{
    return p->m != NULL && p->busy && !p->writeback && p->wired == 0 && p->held == 0;
}

/* Frees every page of the object that can be freed, from place i on, in one batch of at most n. */
static void op_free(int o, int i, uint32_t n)
{
    struct vm_page *batch[SIZE];
    struct place *freed[SIZE];
    uint32_t count = 0;

    for (; i < SIZE && count < n; i++) {
        if (!can_free(&places[o][i]))
            continue;
        freed[count] = &places[o][i];
        batch[count++] = places[o][i].m;
    }
    vm_page_free_batch(batch, count);
    for (uint32_t k = 0; k < count; k++)
        model_free(freed[k]);
}

static void op_busy(struct place *p)
{
    if (p->busy)
        vm_page_xunbusy(p->m);
    else
        vm_page_xbusy(p->m);
    p->busy = !p->busy;
}

static void op_dirty(struct place *p, bool dirty)
{
    if (dirty && p->valid)
        vm_page_dirty(p->m);
    else if (!dirty)
        vm_page_undirty(p->m);
    p->dirty = dirty && p->valid;
}

static void op_writeback(struct place *p)
{
    if (!p->writeback && !p->valid)
        return;
    if (p->writeback)
        vm_page_writeback_done(p->m);
    else
        vm_page_writeback_start(p->m);
    p->writeback = !p->writeback;
}

static void op_activate(struct place *p)
{
    activate_page(p->m);
    lru_add_drain();
    if (p->queue != PQ_ACTIVE && p->wired == 0) {
        reactivations += p->queue == PQ_INACTIVE;
        queue_remove(p);
        queue_append(p, PQ_ACTIVE);
    }
}

static void op_deactivate(struct place *p)
{
    lru_cache_add(p->m);
    deactivate_page(p->m);
    lru_add_drain();
    if (p->wired == 0 && p->queue != PQ_INACTIVE) {
        queue_remove(p);
        queue_append(p, PQ_INACTIVE);
    }
}

static void op_wire(struct place *p, bool wire, enum vm_page_queue queue)
{
    if (wire) {
        vm_page_wire(p->m);
        queue_remove(p);
        p->wired++;
    } else if (p->wired > 0) {
        vm_page_unwire(p->m, queue);
        if (--p->wired == 0)
            queue_append(p, queue);
    }
}

static void op_hold(struct place *p, bool hold)
{
    if (hold) {
        vm_page_hold(p->m);
        p->held++;
    } else if (p->held > 0) {
        vm_page_unhold(p->m);
        p->held--;
    }
}

/* Bytes: with no lock held. */
static void op_bytes(struct place *p, struct place *from)
{
    if (!p->busy)
        return;
    if (from->m != NULL && from->valid && from->busy && from != p) {
        assert_int_equal(vm_page_copy(from->m, p->m), 0);
        p->byte = from->byte;
    } else {
        assert_int_equal(vm_page_zero_fill(p->m), 0);
        p->byte = 0;
    }
    p->valid = true;
}

static void step_locked(struct prng *prng, int o, int i)
{
    struct place *p = &places[o][i];

    switch (prng_below(prng, 9)) {
    case 0:
        op_free(o, i, (uint32_t)prng_range(prng, 1, 6));
        break;
    case 1:
    case 2:
        op_busy(p);
        break;
    case 3:
        op_dirty(p, prng_chance(prng, 500));
        break;
    case 4:
        op_writeback(p);
        break;
    case 5:
        op_activate(p);
        break;
    case 6:
        op_deactivate(p);
        break;
    case 7:
        op_wire(p, prng_chance(prng, 300), (enum vm_page_queue)prng_below(prng, PQ_COUNT));
        break;
    default:
        op_hold(p, prng_chance(prng, 300));
        break;
    }
}

static void boot(void)
{
    parts_boot(NFRAMES, false);
    memset(places, 0, sizeof places);
    memset(queues, 0, sizeof queues);
    reactivations = 0;
    for (int o = 0; o < NOBJECTS; o++) {
        objects[o] = vm_object_allocate(OBJT_SWAP, SIZE, NULL);
        assert_non_null(objects[o]);
    }
}

/* Unwires and frees everything, as the end of an object expects it. */
static void halt(void)
{
    for (int o = 0; o < NOBJECTS; o++) {
        vm_lock(&objects[o]->lock);
        for (int i = 0; i < SIZE; i++) {
            struct place *p = &places[o][i];
            if (p->m == NULL)
                continue;
            while (p->held > 0)
                op_hold(p, false);
            while (p->wired > 0)
                op_wire(p, false, PQ_NONE);
            if (p->writeback)
                op_writeback(p);
            if (!p->busy)
                op_busy(p);
        }
        op_free(o, 0, SIZE);
        vm_unlock(&objects[o]->lock);
    }
    compare_all();
    assert_int_equal(vm_phys.free_count, NFRAMES);
    for (int o = 0; o < NOBJECTS; o++)
        vm_object_deallocate(objects[o]);
    parts_halt();
}

static void test_random(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(18));
    boot();
    for (uint64_t step = 0; step < test_rounds(20000); step++) {
        int o = (int)prng_below(&prng, NOBJECTS), i = (int)prng_below(&prng, SIZE);
        struct place *p = &places[o][i];
        if (p->m != NULL && prng_chance(&prng, 250)) {
            op_bytes(p, &places[prng_below(&prng, NOBJECTS)][prng_below(&prng, SIZE)]);
        } else {
            vm_lock(&objects[o]->lock);
            if (p->m == NULL)
                op_alloc(o, i, prng_chance(&prng, 150));
            else
                step_locked(&prng, o, i);
            vm_unlock(&objects[o]->lock);
        }
        compare_all();
    }
    halt();
}

/* ---- the reserve ------------------------------------------------------------------------------------- */

/* Allocates with this kind of request until it fails. Returns how many pages are free then. */
static uint32_t drain(unsigned req)
{
    vm_pindex_t pindex = 0;
    struct vm_page *m;

    vm_lock(&objects[0]->lock);
    do {
        while (vm_page_lookup(objects[0], pindex) != NULL)
            pindex++;
        m = vm_page_alloc(objects[0], pindex, req);
    } while (m != NULL);
    vm_unlock(&objects[0]->lock);
    return vm_phys.free_count;
}

static void test_reserve(void **state)
{
    (void)state;
    boot();
    assert_int_equal(vm_pageout_startup(NFRAMES, 4, 9, 20, 64), 0);
    assert_int_equal(drain(VM_ALLOC_READAHEAD), 9);
    assert_int_equal(drain(VM_ALLOC_NORMAL), 4);
    assert_int_equal(drain(VM_ALLOC_READAHEAD), 4);
    assert_int_equal(drain(VM_ALLOC_SYSTEM), 0);
    assert_int_equal(vm_phys.free_low, 0);
    vm_page_check_all();
    while (objects[0]->resident_count > 0) {
        vm_lock(&objects[0]->lock);
        vm_page_free(vm_page_find_least(objects[0], 0));
        vm_unlock(&objects[0]->lock);
    }
    halt();
}

/* ---- waiting ----------------------------------------------------------------------------------------- */

static uint32_t awake; /* fibers that were woken */

/* Waits until page 0 of object 0 is gone, or neither busy nor in write-back. */
static void wait_for_page(void *arg)
{
    struct vm_page *m;

    (void)arg;
    vm_lock(&objects[0]->lock);
    for (;;) {
        m = vm_page_lookup(objects[0], 0);
        if (m == NULL || (m->flags & (PG_BUSY | PG_WRITEBACK)) == 0)
            break;
        vm_page_busy_sleep(m);
    }
    vm_unlock(&objects[0]->lock);
    awake++;
}

/* Three fibers that sleep on page 0 of object 0, which is busy. */
static struct place *sleepers(void)
{
    boot();
    awake = 0;
    vm_lock(&objects[0]->lock);
    op_alloc(0, 0, false);
    vm_unlock(&objects[0]->lock);
    op_bytes(&places[0][0], &places[0][0]);
    for (int i = 0; i < 3; i++)
        sim_run("sleeper", wait_for_page, NULL);
    sim_sleep_ns(1000000);
    assert_int_equal(awake, 0);
    assert_true((places[0][0].m->flags & PG_WANTED) != 0);
    return &places[0][0];
}

static void test_wake_unbusy(void **state)
{
    (void)state;
    struct place *p = sleepers();
    vm_lock(&objects[0]->lock);
    op_busy(p);
    vm_unlock(&objects[0]->lock);
    sim_join_all();
    assert_int_equal(awake, 3);
    assert_int_equal(p->m->flags, PG_VALID);
    halt();
}

static void test_wake_free(void **state)
{
    (void)state;
    (void)sleepers();
    vm_lock(&objects[0]->lock);
    op_free(0, 0, 1);
    vm_unlock(&objects[0]->lock);
    sim_join_all();
    assert_int_equal(awake, 3);
    halt();
}

static void test_wake_writeback(void **state)
{
    (void)state;
    struct place *p = sleepers();
    vm_lock(&objects[0]->lock);
    op_writeback(p);
    op_busy(p);
    vm_unlock(&objects[0]->lock);
    sim_sleep_ns(1000000);
    assert_int_equal(awake, 0); /* not busy, but still in write-back */
    vm_lock(&objects[0]->lock);
    op_writeback(p);
    vm_unlock(&objects[0]->lock);
    sim_join_all();
    assert_int_equal(awake, 3);
    halt();
}

/* As vm_wait does. */
static void wait_for_memory(void *arg)
{
    (void)arg;
    vm_lock(&vm_phys.lock);
    vm_phys.waiters++;
    while (vm_phys.free_count == 0)
        vm_sleep(&vm_phys, &vm_phys.lock);
    vm_phys.waiters--;
    vm_unlock(&vm_phys.lock);
    awake++;
}

static void test_wake_memory(void **state)
{
    (void)state;
    boot();
    awake = 0;
    for (int i = 0; vm_phys.free_count > 0; i++) {
        struct vm_object *object = objects[i / SIZE];
        vm_lock(&object->lock);
        op_alloc(i / SIZE, i % SIZE, false);
        vm_unlock(&object->lock);
    }
    sim_run("waiter", wait_for_memory, NULL);
    sim_sleep_ns(1000000);
    assert_int_equal(awake, 0);
    vm_lock(&objects[0]->lock);
    op_free(0, 5, 1);
    vm_unlock(&objects[0]->lock);
    sim_join_all();
    assert_int_equal(awake, 1);
    halt();
}

/* ---- what must panic --------------------------------------------------------------------------------- */

static void misuse_page(struct vm_page *m, char how)
{
    switch (how) {
    case 'f': /* freed while not busy */
        vm_page_free(m);
        break;
    case 'w': /* freed while wired */
        vm_page_xbusy(m);
        vm_page_wire(m);
        vm_page_free(m);
        break;
    case 'b': /* busy twice */
        vm_page_xbusy(m);
        vm_page_xbusy(m);
        break;
    case 'd': /* dirty, not valid */
        m->flags = 0;
        vm_page_dirty(m);
        break;
    case 'u':
        vm_page_unwire(m, PQ_NONE);
        break;
    case 'm': /* the mark without the flag */
        vm_radix_set_mark(&m->object->pages, m, RADIX_DIRTY);
        break;
    case 'q': /* a count that is wrong */
        activate_page(m);
        lru_add_drain();
        vm_queues.q[PQ_ACTIVE].count++;
        break;
    case 'o': /* a page that its object does not know */
        m->object = objects[1];
        break;
    default:
        break;
    }
}

/* On a valid page that is not busy; and then a look at all pages. */
static void misuse(void *how)
{
    struct place *p = &places[0][0];

    boot();
    vm_lock(&objects[0]->lock);
    op_alloc(0, 0, false);
    vm_unlock(&objects[0]->lock);
    op_bytes(p, p);
    vm_lock(&objects[0]->lock);
    op_busy(p);
    misuse_page(p->m, *(const char *)how);
    vm_unlock(&objects[0]->lock);
    vm_page_check_all();
}

static void misuse_lock(void *arg)
{
    misuse(arg);
    vm_page_xbusy(places[0][0].m); /* the object's lock is not held */
}

static void test_asserts(void **state)
{
    (void)state;
    assert_true(test_panics(misuse, "f", "PG3"));
    assert_true(test_panics(misuse, "w", "PG6"));
    assert_true(test_panics(misuse, "b", "PG3"));
    assert_true(test_panics(misuse, "d", "PG4"));
    assert_true(test_panics(misuse, "u", "PG9"));
    assert_true(test_panics(misuse_lock, "-", "LK1"));
    assert_true(test_panics(misuse, "m", "PG7"));
    assert_true(test_panics(misuse, "q", "PG8"));
    assert_true(test_panics(misuse, "o", "PG1"));
    misuse("-"); /* and without any of these mistakes: no panic */
    halt();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),         cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_wake_unbusy),    cmocka_unit_test(test_wake_free),
        cmocka_unit_test(test_wake_writeback), cmocka_unit_test(test_wake_memory),
        cmocka_unit_test(test_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
