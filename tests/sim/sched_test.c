/*
 * sched_test.c: the sim's fibers, locks, waits and clock; its checks; and that one seed replays one run.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "sim/sched.h"
#include "support/boot.h"

#define NFIBERS 8
#define NROUNDS 50

static struct sim_params busy(uint64_t seed)
{
    struct sim_params params = test_params(seed);

    params.torture.preempt_permille = 300;
    params.torture.spurious_permille = 200;
    return params;
}

/* ---- locks ----------------------------------------------------------------------------------- */

static struct machine_lock lock, other_lock;
static uint64_t shared, inside;

static void add_under_lock(void *arg)
{
    (void)arg;
    for (int i = 0; i < NROUNDS; i++) {
        machine_lock(&lock);
        assert_true(machine_lock_held(&lock));
        assert_int_equal(inside++, 0);
        uint64_t before = shared;
        sim_yield();
        shared = before + 1;
        assert_int_equal(--inside, 0);
        machine_unlock(&lock);
        assert_false(machine_lock_held(&lock));
    }
}

static void test_lock_excludes(void **state)
{
    (void)state;
    struct sim_params params = busy(test_seed(1));

    sim_machine_init(&params);
    shared = 0;
    for (int i = 0; i < NFIBERS; i++)
        sim_run("add", add_under_lock, NULL);
    sim_join_all();
    assert_int_equal(shared, NFIBERS * NROUNDS);
    assert_true(sim_stats().preemptions > 0);
    sim_machine_fini();
}

static uint64_t order[NFIBERS], norder;

static void take_a_number(void *arg)
{
    machine_lock(&lock);
    order[norder++] = *(uint64_t *)arg;
    machine_unlock(&lock);
}

/* Waiters get the lock in the order in which they came. */
static void test_lock_is_fair(void **state)
{
    (void)state;
    struct sim_params params = test_params(test_seed(2));
    uint64_t ticket[NFIBERS];

    sim_machine_init(&params);
    norder = 0;
    machine_lock(&lock);
    for (uint64_t i = 0; i < NFIBERS; i++) {
        ticket[i] = i;
        sim_run("ticket", take_a_number, &ticket[i]);
        sim_sleep_ns(1000); /* it runs and queues up */
    }
    assert_int_equal(norder, 0);
    machine_unlock(&lock);
    sim_join_all();
    for (uint64_t i = 0; i < NFIBERS; i++)
        assert_int_equal(order[i], i);
    sim_machine_fini();
}

static void hold_for_a_while(void *arg)
{
    (void)arg;
    machine_lock(&lock);
    sim_sleep_ns(1000000);
    machine_unlock(&lock);
}

static void test_trylock(void **state)
{
    (void)state;
    struct sim_params params = test_params(test_seed(3));

    sim_machine_init(&params);
    assert_true(machine_trylock(&lock));
    assert_false(machine_trylock(&lock));
    machine_unlock(&lock);
    sim_run("hold", hold_for_a_while, NULL);
    sim_sleep_ns(1000);
    assert_false(machine_trylock(&lock));
    machine_lock(&lock); /* main waits as any fiber does */
    assert_true(machine_time_ns() >= 1000000);
    machine_unlock(&lock);
    sim_machine_fini();
}

/* ---- waits ----------------------------------------------------------------------------------- */

static uint64_t buffered, produced, consumed;

static void produce(void *arg)
{
    (void)arg;
    for (int i = 0; i < NROUNDS; i++) {
        machine_lock(&lock);
        while (buffered == 2)
            (void)machine_wait(&buffered, &lock, UINT64_MAX);
        assert_true(machine_lock_held(&lock));
        buffered++;
        produced++;
        machine_unlock(&lock);
        machine_wake(&buffered);
    }
}

static void consume(void *arg)
{
    (void)arg;
    for (int i = 0; i < NROUNDS; i++) {
        machine_lock(&lock);
        while (buffered == 0)
            (void)machine_wait(&buffered, &lock, UINT64_MAX);
        assert_true(buffered <= 2);
        buffered--;
        consumed++;
        machine_unlock(&lock);
        machine_wake(&buffered);
    }
}

/* A wake-up after the release of the lock is never missed; if it were, this would deadlock. */
static void test_wait_misses_nothing(void **state)
{
    (void)state;
    uint64_t seed = test_seed(4);

    for (uint64_t round = 0; round < 20; round++) {
        struct sim_params params = busy(seed + round);

        sim_machine_init(&params);
        buffered = produced = consumed = 0;
        for (int i = 0; i < NFIBERS / 2; i++) {
            sim_run("produce", produce, NULL);
            sim_run("consume", consume, NULL);
        }
        sim_join_all();
        assert_int_equal(produced, NFIBERS / 2 * NROUNDS);
        assert_int_equal(consumed, produced);
        sim_machine_fini();
    }
}

static void test_deadlines(void **state)
{
    (void)state;
    struct sim_params params = test_params(test_seed(5));

    sim_machine_init(&params);
    uint64_t before = machine_time_ns();
    machine_lock(&lock);
    assert_int_equal(machine_wait(&shared, &lock, before + 5000), -ETIMEDOUT);
    assert_true(machine_lock_held(&lock));
    assert_true(machine_time_ns() >= before + 5000 && machine_time_ns() < before + 6000);
    assert_int_equal(machine_wait(&shared, &lock, before), -ETIMEDOUT);
    machine_unlock(&lock);
    sim_machine_fini();
}

/* ns between two sleepers' deadlines; all sleepers together take less than that. */
#define APART 10000

struct sleeper {
    struct machine_lock lock;
    uint64_t deadline_ns;
    bool woken; /* before its deadline */
};

static void sleep_until_deadline(void *arg)
{
    struct sleeper *s = arg;

    machine_lock(&s->lock);
    int error = machine_wait(s, &s->lock, s->deadline_ns);
    machine_unlock(&s->lock);
    if (s->woken) {
        assert_int_equal(error, 0);
        assert_true(machine_time_ns() < APART);
    } else {
        assert_int_equal(error, -ETIMEDOUT);
        assert_true(machine_time_ns() >= s->deadline_ns && machine_time_ns() < s->deadline_ns + APART);
    }
}

/* Sleepers wake at their deadlines, in whatever order they went to sleep, and whoever was woken before. */
static void test_deadlines_in_any_order(void **state)
{
    (void)state;
    uint64_t seed = test_seed(8);

    for (uint64_t round = 0; round < 50; round++) {
        struct sim_params params = test_params(seed + round);
        struct sleeper sleeper[NFIBERS] = {0};

        params.torture = (struct sim_torture){0};
        sim_machine_init(&params);
        /* Two and two are alike: 3 and NFIBERS have no common factor. */
        for (uint64_t i = 0; i < NFIBERS; i++) {
            sleeper[i].deadline_ns = (1 + (i * 3 + round) % NFIBERS / 2) * APART;
            sleeper[i].woken = i % 3 == round % 3;
            sim_run("sleeper", sleep_until_deadline, &sleeper[i]);
        }
        sim_settle();
        for (int i = 0; i < NFIBERS; i++)
            if (sleeper[i].woken)
                machine_wake(&sleeper[i]);
        sim_join_all();
        sim_machine_fini();
    }
}

static void test_many_fibers_one_after_another(void **state)
{
    (void)state;
    struct sim_params params = busy(test_seed(6));

    sim_machine_init(&params);
    shared = 0;
    for (int i = 0; i < 3 * SIM_FIBERS_MAX; i++) {
        sim_run("add", add_under_lock, NULL);
        if (i % 16 == 0)
            sim_join_all();
    }
    sim_join_all();
    assert_int_equal(shared, 3 * SIM_FIBERS_MAX * NROUNDS);
    sim_machine_fini();
}

/* ---- replay ---------------------------------------------------------------------------------- */

static uint64_t run_once(uint64_t seed)
{
    struct sim_params params = busy(seed);

    sim_machine_init(&params);
    buffered = 0;
    sim_run("add", add_under_lock, NULL);
    sim_run("add", add_under_lock, NULL);
    for (int i = 0; i < 3; i++) {
        sim_run("produce", produce, NULL);
        sim_run("consume", consume, NULL);
    }
    sim_join_all();
    uint64_t hash = sim_hash();
    sim_machine_fini();
    return hash;
}

static void test_one_seed_one_run(void **state)
{
    (void)state;
    uint64_t seed = test_seed(7);

    assert_true(run_once(seed) == run_once(seed));
    assert_true(run_once(seed) != run_once(seed + 1));
}

/* ---- what the scheduler catches -------------------------------------------------------------- */

static void begin(void)
{
    struct sim_params params = test_params(test_seed(8));

    sim_machine_init(&params);
}

static void lock_twice(void *arg)
{
    (void)arg;
    begin();
    machine_lock(&lock);
    machine_lock(&lock);
}

static void unlock_anothers(void *arg)
{
    (void)arg;
    begin();
    sim_run("hold", hold_for_a_while, NULL);
    sim_sleep_ns(1000);
    machine_unlock(&lock);
}

static void lock_other_way(void *arg)
{
    (void)arg;
    machine_lock(&other_lock);
    sim_sleep_ns(1000);
    machine_lock(&lock);
    machine_unlock(&lock);
    machine_unlock(&other_lock);
}

static void deadlock(void *arg)
{
    (void)arg;
    begin();
    sim_run("other", lock_other_way, NULL);
    machine_lock(&lock);
    sim_sleep_ns(1000);
    machine_lock(&other_lock);
}

static void wait_without_a_waker(void *arg)
{
    (void)arg;
    begin();
    machine_lock(&lock);
    (void)machine_wait(&shared, &lock, UINT64_MAX);
}

static void tick(void *arg)
{
    (void)arg;
    for (;;)
        sim_sleep_ns(1000);
}

/* A lost wake-up, which a periodic daemon would hide from the detection of deadlocks. */
static void wait_beside_daemon(void *arg)
{
    (void)arg;
    begin();
    sched_daemon("tick", tick, NULL);
    machine_lock(&lock);
    (void)machine_wait(&shared, &lock, UINT64_MAX);
}

/* A deadlock that looks like a long wait, because a periodic fiber still runs. */
static void poll(void *arg)
{
    (void)arg;
    begin();
    machine_lock(&lock);
    for (;;)
        (void)machine_wait(&shared, &lock, machine_time_ns() + 1000000);
}

static void wait_without_lock(void *arg)
{
    (void)arg;
    begin();
    (void)machine_wait(&shared, &lock, UINT64_MAX);
}

static void keep_lock(void *arg)
{
    (void)arg;
    machine_lock(&lock);
}

static void end_with_lock(void *arg)
{
    (void)arg;
    begin();
    sim_run("keep", keep_lock, NULL);
    sim_join_all();
}

static void window_under_lock(void *arg)
{
    const vm_frame_t frame = 3;
    struct machine_run run = {.npages = 1, .frame = &frame};
    void *addr;

    (void)arg;
    begin();
    (void)!machine_object_init(&run.object);
    machine_lock(&lock);
    (void)!machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr);
}

static void test_catches(void **state)
{
    (void)state;
    assert_true(test_panics(lock_twice, NULL, "takes a lock that it holds"));
    assert_true(test_panics(unlock_anothers, NULL, "unlocks a lock that it does not hold"));
    assert_true(test_panics(deadlock, NULL, "deadlock"));
    assert_true(test_panics(wait_without_a_waker, NULL, "deadlock"));
    assert_true(test_panics(wait_beside_daemon, NULL, "stuck"));
    assert_true(test_panics(poll, NULL, "stuck"));
    assert_true(test_panics(wait_without_lock, NULL, "does not hold the lock"));
    assert_true(test_panics(end_with_lock, NULL, "ends with 1 locks"));
    assert_true(test_panics(window_under_lock, NULL, "CO3"));
    assert_true(test_panics(lock_twice, NULL, "FAULTLINE_SEED="));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lock_excludes),
        cmocka_unit_test(test_lock_is_fair),
        cmocka_unit_test(test_trylock),
        cmocka_unit_test(test_wait_misses_nothing),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_deadlines_in_any_order),
        cmocka_unit_test(test_many_fibers_one_after_another),
        cmocka_unit_test(test_one_seed_one_run),
        cmocka_unit_test(test_catches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
