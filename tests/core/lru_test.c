/*
 * lru_test.c: the batches of queue operations against a naive model: to which queue each
 * page belongs, and where it is after the entries of each kind of batch are applied in
 * order. From one thread, where the order is known, and from many, where only the queue
 * is. Pages are wired and freed while a batch has them. And what mark_page_accessed does.
 */
#include "vm/lru.h"
#include "support/boot.h"
#include "support/parts.h"
#include "support/seed.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NFRAMES 256
#define SIZE    200 /* pages of the object, of which at most this many are resident */
#define BATCH   31
#define THREADS 12

/* The kinds of batches, in the order in which they are drained. */
enum kind { NOTHING, ADD, ROTATE, DROP, DEACTIVATE, LAZYFREE, ACTIVATE, KINDS };

static const struct {
    enum vm_page_queue queue;
    bool head;
} goes[KINDS] = {{0},
                 {PQ_INACTIVE, false},
                 {PQ_INACTIVE, true},
                 {PQ_INACTIVE, true},
                 {PQ_INACTIVE, false},
                 {PQ_INACTIVE, true},
                 {PQ_ACTIVE, false}};

struct place {
    struct vm_page *m; /* NULL: not resident */
    bool wired, dirty, referenced, tested, ahead;
    enum vm_page_queue belongs; /* its queue once every batch is drained */
    enum kind todo;
};

static struct {
    struct vm_object *object;
    struct place place[SIZE];
    struct place *of_frame[NFRAMES];
    bool ordered; /* one thread: the order of the queues is compared */
    uint32_t queue[PQ_COUNT][NFRAMES], count[PQ_COUNT];
    uint32_t entry[KINDS][BATCH], entries[KINDS];
} model;

/* ---- the model ----------------------------------------------------------------------------------------- */

static void queue_remove(uint32_t frame)
{
    for (int q = PQ_INACTIVE; q < PQ_COUNT; q++) {
        for (uint32_t i = 0; i < model.count[q]; i++) {
            if (model.queue[q][i] != frame)
                continue;
            model.count[q]--;
            memmove(&model.queue[q][i], &model.queue[q][i + 1],
                    (model.count[q] - i) * sizeof model.queue[q][0]);
            return;
        }
    }
}

static void queue_insert(uint32_t frame, enum vm_page_queue queue, bool head)
{
    uint32_t at = head ? 0 : model.count[queue];
    memmove(&model.queue[queue][at + 1], &model.queue[queue][at],
            (model.count[queue] - at) * sizeof model.queue[0][0]);
    model.queue[queue][at] = frame;
    model.count[queue]++;
}

static void model_flush(enum kind kind)
{
    for (uint32_t i = 0; i < model.entries[kind]; i++) {
        uint32_t frame = model.entry[kind][goes[kind].head ? model.entries[kind] - 1 - i : i];
        struct place *p = model.of_frame[frame];
        if (p == NULL || p->todo != kind)
            continue;
        p->todo = NOTHING;
        queue_remove(frame);
        queue_insert(frame, goes[kind].queue, goes[kind].head);
    }
    model.entries[kind] = 0;
}

static void model_drain(void)
{
    for (enum kind kind = ADD; kind < KINDS; kind++)
        model_flush(kind);
}

static void model_defer(struct place *p, enum kind kind)
{
    p->belongs = goes[kind].queue;
    if (p->todo == kind)
        return;
    p->todo = kind;
    if (!model.ordered)
        return;
    model.entry[kind][model.entries[kind]++] = vm_page_frame(p->m);
    if (model.entries[kind] == BATCH)
        model_flush(kind);
}

static void compare_order(enum vm_page_queue queue)
{
    uint32_t frame = vm_queues.q[queue].head;
    for (uint32_t i = 0; i < model.count[queue]; i++) {
        assert_int_equal(frame, model.queue[queue][i]);
        frame = vm_page_of(frame)->q_next;
    }
    assert_int_equal(frame, VM_PAGE_NONE);
}

static void compare(void)
{
    uint32_t count[PQ_COUNT] = {0};
    lru_add_drain_all();
    model_drain();
    for (int i = 0; i < SIZE; i++) {
        const struct place *p = &model.place[i];
        assert_ptr_equal(vm_page_lookup(model.object, (vm_pindex_t)i), p->m);
        if (p->m == NULL)
            continue;
        assert_int_equal(p->m->queue, p->belongs);
        assert_int_equal((p->m->lru & PL_REFERENCED) != 0, p->referenced);
        assert_int_equal((p->m->flags & PG_TESTED) != 0, p->tested);
        count[p->belongs]++;
    }
    for (int q = PQ_INACTIVE; q < PQ_COUNT; q++) {
        assert_int_equal(vm_queues.q[q].count, count[q]);
        if (model.ordered)
            compare_order((enum vm_page_queue)q);
    }
    vm_page_check_all();
}

/* ---- operations, each on the real thing and on the model; with the object's lock held ------------------ */

static void op_alloc(struct place *p, vm_pindex_t pindex)
{
    struct vm_page *m = vm_page_alloc(model.object, pindex, VM_ALLOC_SYSTEM);
    assert_non_null(m);
    m->flags |= PG_VALID;
    vm_page_xunbusy(m);
    *p = (struct place){.m = m, .belongs = PQ_NONE};
    model.of_frame[vm_page_frame(m)] = p;
}

static void op_free(struct place *p)
{
    uint32_t frame = vm_page_frame(p->m);
    if (p->wired)
        vm_page_unwire(p->m, PQ_NONE);
    if (p->dirty)
        vm_page_undirty(p->m);
    vm_page_xbusy(p->m);
    vm_page_free(p->m);
    queue_remove(frame);
    model.of_frame[frame] = NULL;
    *p = (struct place){.m = NULL};
}

static void op_wire(struct place *p, bool active)
{
    enum vm_page_queue queue = active ? PQ_ACTIVE : PQ_INACTIVE;
    if (!p->wired) {
        vm_page_wire(p->m);
        queue_remove(vm_page_frame(p->m));
        p->belongs = PQ_NONE;
        p->todo = NOTHING;
        p->referenced = false;
    } else {
        vm_page_unwire(p->m, queue);
        queue_insert(vm_page_frame(p->m), queue, false);
        p->belongs = queue;
    }
    p->wired = !p->wired;
}

static void model_activate(struct place *p)
{
    if (p->wired || p->belongs == PQ_ACTIVE)
        return;
    p->referenced = p->tested = false;
    model_defer(p, ACTIVATE);
}

static void op_place(struct place *p, enum kind kind)
{
    switch (kind) {
    case ADD:
        lru_cache_add(p->m);
        if (!p->wired && p->belongs == PQ_NONE)
            model_defer(p, ADD);
        return;
    case ACTIVATE:
        activate_page(p->m);
        model_activate(p);
        return;
    case ROTATE:
        rotate_reclaimable_page(p->m);
        if (p->belongs == PQ_INACTIVE && !p->dirty)
            model_defer(p, ROTATE);
        return;
    default:
        break;
    }
    bool moves = p->belongs != PQ_NONE && (kind != DEACTIVATE || p->belongs == PQ_ACTIVE);
    if (kind == DEACTIVATE)
        deactivate_page(p->m);
    else if (kind == DROP)
        deactivate_file_page(p->m);
    else
        mark_page_lazyfree(p->m);
    p->referenced = p->referenced && p->belongs == PQ_NONE;
    if (moves)
        model_defer(p, kind == DROP && p->dirty ? DEACTIVATE : kind);
}

/* What mark_page_accessed must do to a page, written out. */
static void op_accessed(struct place *p)
{
    bool homeless = p->dirty; /* the object is anonymous */
    mark_page_accessed(p->m);
    if (p->belongs == PQ_ACTIVE)
        p->referenced = true;
    else if (p->tested || homeless || p->referenced)
        model_activate(p);
    else if (!p->wired && p->belongs == PQ_NONE)
        model_defer(p, ADD);
    if (p->belongs == PQ_INACTIVE && !p->ahead)
        p->referenced = true;
    p->tested = p->ahead = false;
}

static void op_flags(struct prng *prng, struct place *p)
{
    switch (prng_below(prng, 3)) {
    case 0:
        p->m->flags |= PG_AHEAD;
        p->ahead = true;
        break;
    case 1:
        p->m->flags |= PG_TESTED;
        p->tested = true;
        break;
    default:
        if (p->dirty)
            vm_page_undirty(p->m);
        else
            vm_page_dirty(p->m);
        p->dirty = !p->dirty;
        break;
    }
}

static void step(struct prng *prng)
{
    vm_pindex_t pindex = prng_below(prng, SIZE);
    struct place *p = &model.place[pindex];
    uint32_t what = (uint32_t)prng_below(prng, 20);
    vm_lock(&model.object->lock);
    if (p->m == NULL)
        op_alloc(p, pindex);
    else if (what < 12)
        op_place(p, (enum kind)(1 + what % (KINDS - 1)));
    else if (what < 15)
        op_accessed(p);
    else if (what < 16)
        op_wire(p, prng_chance(prng, 500));
    else if (what < 18)
        op_flags(prng, p);
    else if (prng_chance(prng, 300))
        op_free(p);
    vm_unlock(&model.object->lock);
    if (prng_chance(prng, 5)) {
        lru_add_drain();
        if (model.ordered)
            model_drain();
    }
}

static void begin(bool ordered)
{
    memset(&model, 0, sizeof model);
    parts_boot(NFRAMES, false);
    model.ordered = ordered;
    model.object = vm_object_allocate(OBJT_SWAP, SIZE, NULL);
    assert_non_null(model.object);
}

static void end(void)
{
    vm_lock(&model.object->lock);
    for (int i = 0; i < SIZE; i++)
        if (model.place[i].m != NULL)
            op_free(&model.place[i]);
    vm_unlock(&model.object->lock);
    compare();
    vm_object_deallocate(model.object);
    parts_halt();
}

/* ---- at random ----------------------------------------------------------------------------------------- */

static void queues_are_the_models(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, test_seed(31));
    begin(true);
    for (uint64_t i = 0; i < test_rounds(60000); i++) {
        step(&prng);
        if (prng_chance(&prng, 10))
            compare();
    }
    end();
}

struct worker {
    struct prng prng;
    uint64_t steps;
};

static void worker_main(void *arg)
{
    struct worker *worker = arg;
    while (worker->steps-- > 0) {
        step(&worker->prng);
        sim_yield();
    }
}

/* Each thread has batches of its own, and uses pages that are in other threads' batches. */
static void threads_agree_on_the_places(void **state)
{
    (void)state;
    struct worker worker[THREADS];
    struct prng prng;
    prng_init(&prng, test_seed(32));
    begin(false);
    for (uint64_t round = 0; round < test_rounds(100); round++) {
        for (int i = 0; i < THREADS; i++) {
            worker[i].steps = 50;
            prng_init(&worker[i].prng, prng_next(&prng));
            sim_run("worker", worker_main, &worker[i]);
        }
        sim_join_all();
        compare();
    }
    end();
}

/* ---- one by one ---------------------------------------------------------------------------------------- */

/* Adds n new pages in order, so that the batches of the others are drained. */
static void some_pages(vm_pindex_t n)
{
    vm_lock(&model.object->lock);
    for (vm_pindex_t i = 0; i < n; i++) {
        op_alloc(&model.place[i], i);
        op_place(&model.place[i], ADD);
    }
    vm_unlock(&model.object->lock);
}

static void a_batch_takes_the_queues_lock_once(void **state)
{
    (void)state;
    begin(true);
    some_pages(BATCH - 1);
    assert_int_equal(vm_queues.q[PQ_INACTIVE].count, 0); /* none of them needed it */
    vm_lock(&model.object->lock);
    op_alloc(&model.place[BATCH], BATCH);
    op_place(&model.place[BATCH], ADD);
    vm_unlock(&model.object->lock);
    assert_int_equal(vm_queues.q[PQ_INACTIVE].count, BATCH);
    vm_lock(&model.object->lock);
    for (int i = 0; i < 10; i++)
        op_place(&model.place[i], ACTIVATE);
    vm_unlock(&model.object->lock);
    assert_int_equal(vm_queues.q[PQ_ACTIVE].count, 0);
    compare();
    assert_int_equal(vm_queues.q[PQ_ACTIVE].count, 10);
    end();
}

static void a_page_freed_in_a_batch_is_left_alone(void **state)
{
    (void)state;
    begin(true);
    some_pages(10);
    struct vm_page *m = model.place[3].m;
    vm_lock(&model.object->lock);
    op_free(&model.place[3]);
    op_wire(&model.place[4], false);
    vm_unlock(&model.object->lock);
    lru_add_drain();
    model_drain();
    assert_true(m->queue == PQ_NONE && model.place[4].m->queue == PQ_NONE);
    compare();
    end();
}

/* By the time the entry is applied, its frame is another page of another kind. */
static void an_entry_of_a_page_that_went_does_no_harm(void **state)
{
    (void)state;
    begin(true);
    some_pages(1);
    struct vm_page *m = model.place[0].m;
    vm_lock(&model.object->lock);
    op_place(&model.place[0], ACTIVATE);
    op_free(&model.place[0]);
    vm_pindex_t pindex = 0;
    do {
        op_alloc(&model.place[pindex], pindex);
    } while (model.place[pindex++].m != m && pindex < SIZE);
    assert_ptr_equal(model.place[pindex - 1].m, m);
    op_place(&model.place[pindex - 1], ADD);
    vm_unlock(&model.object->lock);
    compare();
    assert_int_equal(m->queue, PQ_INACTIVE);
    end();
}

static void neighbours_at_the_head_stand_in_their_order(void **state)
{
    (void)state;
    begin(true);
    some_pages(100);
    compare();
    vm_lock(&model.object->lock);
    for (int i = 60; i < 80; i++)
        op_place(&model.place[i], i < 70 ? DROP : LAZYFREE);
    vm_unlock(&model.object->lock);
    compare();
    uint32_t frame = vm_queues.q[PQ_INACTIVE].head;
    for (vm_pindex_t i = 0; i < 20; i++, frame = vm_page_of(frame)->q_next)
        assert_int_equal(vm_page_of(frame)->pindex, i < 10 ? 70 + i : 50 + i);
    end();
}

static void pages_that_were_read_are_let_go_together(void **state)
{
    (void)state;
    struct vm_page *read[20];
    begin(true);
    some_pages(20);
    vm_lock(&model.object->lock);
    for (int i = 0; i < 20; i++) {
        read[i] = model.place[i].m;
        vm_page_reader_add(read[i]);
        vm_page_reader_add(read[i]);
    }
    release_pages(read, 20);
    release_pages(read + 5, 15);
    for (int i = 0; i < 20; i++)
        assert_int_equal(read[i]->readers, i < 5);
    release_pages(read, 5);
    vm_unlock(&model.object->lock);
    end();
}

/* Page-out wants the page, which is in write-back; the end of the write-back rotates it. */
static void a_page_that_was_waited_for_is_next(void **state)
{
    (void)state;
    begin(true);
    some_pages(10);
    compare();
    struct vm_page *m = model.place[7].m, *other = model.place[8].m;
    vm_lock(&model.object->lock);
    m->lru |= PL_RECLAIM;
    vm_page_writeback_start(m);
    vm_page_writeback_start(other);
    vm_page_writeback_done(other);
    vm_page_writeback_done(m);
    vm_unlock(&model.object->lock);
    lru_add_drain();
    assert_int_equal(vm_queues.q[PQ_INACTIVE].head, vm_page_frame(m));
    assert_int_equal(m->lru, PL_LRU);
    assert_int_equal(vm_queues.q[PQ_INACTIVE].tail, vm_page_frame(model.place[9].m));
    model.ordered = false;
    end();
}

static void a_page_passed_over_comes_back_to_the_head(void **state)
{
    (void)state;
    begin(true);
    some_pages(3);
    compare();
    struct vm_page *m = model.place[0].m;
    vm_lock(&vm_queues.lock);
    bool rotate = lru_pass_over(m);
    vm_unlock(&vm_queues.lock);
    assert_true(rotate);
    assert_int_equal(vm_queues.q[PQ_INACTIVE].tail, vm_page_frame(m));
    lru_passed_over(m);
    compare();
    vm_lock(&vm_queues.lock);
    rotate = lru_pass_over(m);
    vm_unlock(&vm_queues.lock);
    assert_true(rotate);
    vm_lock(&model.object->lock);
    op_place(&model.place[0], ACTIVATE); /* by the holder of the lock; the rotation comes too late */
    vm_unlock(&model.object->lock);
    lru_passed_over(m);
    compare();
    assert_int_equal(m->queue, PQ_ACTIVE);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queues_are_the_models),
        cmocka_unit_test(threads_agree_on_the_places),
        cmocka_unit_test(a_batch_takes_the_queues_lock_once),
        cmocka_unit_test(a_page_freed_in_a_batch_is_left_alone),
        cmocka_unit_test(an_entry_of_a_page_that_went_does_no_harm),
        cmocka_unit_test(neighbours_at_the_head_stand_in_their_order),
        cmocka_unit_test(pages_that_were_read_are_let_go_together),
        cmocka_unit_test(a_page_that_was_waited_for_is_next),
        cmocka_unit_test(a_page_passed_over_comes_back_to_the_head),
    };
    return cmocka_run_group_tests_name("lru", tests, NULL, NULL);
}
