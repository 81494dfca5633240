/*
 * lock_test.c: the reader/writer lock under fibers that are switched at random: a writer holds it alone,
 * readers hold it together, no later reader overtakes a writer, and no fiber stays asleep.
 */
#include "lib/lock.h"
#include "support/boot.h"
#include "support/seed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define NFIBERS 8

static struct vm_rwlock lock;
static uint32_t readers, writers; /* holders of the lock, counted by the holders */
static uint32_t most_readers, reads, writes, downgrades;
static struct prng prng;

/* Holds the lock for a while, during which fibers are switched. */
static void inside(void)
{
    for (uint64_t n = prng_below(&prng, 4); n > 0; n--) {
        assert_true(writers == 0 || (writers == 1 && readers == 0));
        sim_yield();
    }
    most_readers = readers > most_readers ? readers : most_readers;
}

static void read_once(void)
{
    vm_rwlock_read(&lock);
    readers++;
    inside();
    readers--;
    vm_rwlock_read_done(&lock);
    reads++;
}

static void write_once(bool downgrade)
{
    vm_rwlock_write(&lock);
    vm_rwlock_assert_write(&lock);
    writers++;
    inside();
    writers--;
    writes++;
    if (!downgrade) {
        vm_rwlock_write_done(&lock);
        return;
    }
    uint32_t before = writes;
    readers++;
    vm_rwlock_downgrade(&lock);
    inside();
    assert_int_equal(writes, before); /* no writer in between */
    readers--;
    vm_rwlock_read_done(&lock);
    downgrades++;
}

static void worker(void *arg)
{
    (void)arg;
    for (uint64_t n = test_rounds(300); n > 0; n--) {
        if (prng_chance(&prng, 700))
            read_once();
        else
            write_once(prng_chance(&prng, 300));
        if (prng_chance(&prng, 200))
            sim_yield();
    }
}

static void start(uint64_t seed)
{
    struct sim_params params = test_params(seed);

    params.torture.preempt_permille = 100;
    params.torture.spurious_permille = 50;
    sim_machine_init(&params);
    prng_init(&prng, seed);
    memset(&lock, 0, sizeof lock);
    readers = writers = most_readers = reads = writes = downgrades = 0;
}

static void test_random(void **state)
{
    (void)state;
    start(test_seed(19));
    for (int i = 0; i < NFIBERS; i++)
        sim_run("worker", worker, NULL);
    sim_join_all(); /* the scheduler panics when all fibers sleep */
    assert_int_equal(reads + writes, NFIBERS * test_rounds(300));
    assert_true(most_readers > 1 && downgrades > 0);
    assert_int_equal(lock.state + lock.readers_waiting + lock.writers_waiting, 0);
    assert_int_equal(lock.writer, 0);
    sim_machine_fini();
}

static void late_reader(void *arg)
{
    (void)arg;
    read_once();
    assert_int_equal(writes, 1); /* the writer came first, so it went first */
}

static void early_writer(void *arg)
{
    (void)arg;
    write_once(false);
}

static void test_writer_first(void **state)
{
    (void)state;
    start(20);
    vm_rwlock_read(&lock);
    sim_run("writer", early_writer, NULL);
    sim_sleep_ns(1000000);
    for (int i = 0; i < 4; i++)
        sim_run("reader", late_reader, NULL);
    sim_sleep_ns(1000000);
    assert_int_equal(reads + writes, 0);
    vm_rwlock_read_done(&lock);
    sim_join_all();
    assert_int_equal(writes, 1);
    assert_int_equal(reads, 4);
    sim_machine_fini();
}

/* Outside Clang's analysis, which would reject these mistakes. */
static void misuse(void *how) FL_NO_THREAD_SAFETY_ANALYSIS
{
    start(21);
    switch (*(const char *)how) {
    case 'r':
        vm_rwlock_read_done(&lock);
        break;
    case 'w':
        vm_rwlock_write_done(&lock);
        break;
    case 't':
        vm_rwlock_write(&lock);
        vm_rwlock_write(&lock);
        break;
    case 'a':
        vm_rwlock_read(&lock);
        vm_rwlock_assert_write(&lock);
        break;
    default:
        break;
    }
}

static void test_asserts(void **state)
{
    (void)state;
    assert_true(test_panics(misuse, "r", "LK2"));
    assert_true(test_panics(misuse, "w", "LK1"));
    assert_true(test_panics(misuse, "t", "LK1"));
    assert_true(test_panics(misuse, "a", "LK1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_writer_first),
        cmocka_unit_test(test_asserts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
