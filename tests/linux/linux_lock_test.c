/*
 * linux_lock_test.c: the machine's mutexes, sleeping and waking, between threads and between processes.
 */
#include <faultline/machine.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define NTHREADS 8
#define ROUNDS   20000

static struct shared {
    struct machine_lock lock;
    uint64_t count;
    unsigned turn;
} * shared;

static int setup(void **state)
{
    (void)state;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared == MAP_FAILED;
}

static int teardown(void **state)
{
    (void)state;
    return munmap(shared, sizeof(*shared));
}

static void *count_up(void *arg)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        machine_lock(&shared->lock);
        if (!machine_lock_held(&shared->lock))
            abort();
        *(volatile uint64_t *)&shared->count += 1;
        machine_unlock(&shared->lock);
        if (machine_lock_held(&shared->lock))
            abort();
    }
    return arg;
}

static void one_holder_at_a_time(void **state)
{
    (void)state;
    pthread_t thread[NTHREADS];

    for (int i = 0; i < NTHREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, count_up, NULL), 0);
    for (int i = 0; i < NTHREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(shared->count, NTHREADS * ROUNDS);
    machine_lock(&shared->lock);
    assert_false(machine_trylock(&shared->lock));
    machine_unlock(&shared->lock);
    assert_true(machine_trylock(&shared->lock));
    machine_unlock(&shared->lock);
}

static void one_holder_among_processes(void **state)
{
    (void)state;
    int status;

    pid_t pid = fork();
    if (pid == 0) {
        (void)count_up(NULL);
        _exit(machine_self() == (uint64_t)getpid() ? 0 : 1);
    }
    (void)count_up(NULL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(shared->count, 2 * ROUNDS);
    assert_int_equal(machine_self(), (uint64_t)getpid());
}

static void *take_turns(void *arg)
{
    unsigned me = *(unsigned *)arg;

    machine_lock(&shared->lock);
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (shared->turn % 2 != me)
            (void)machine_wait(&shared->turn, &shared->lock, UINT64_MAX);
        shared->turn++;
        machine_wake(&shared->turn);
    }
    machine_unlock(&shared->lock);
    return NULL;
}

static void no_wake_is_missed(void **state)
{
    (void)state;
    unsigned me[2] = {0, 1};
    pthread_t other;

    assert_int_equal(pthread_create(&other, NULL, take_turns, &me[1]), 0);
    (void)take_turns(&me[0]);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(shared->turn, 2 * ROUNDS);
}

static void a_deadline_ends_a_wait(void **state)
{
    (void)state;
    uint64_t begun = machine_time_ns(), deadline = begun + 20000000;
    int error = 0;

    machine_lock(&shared->lock);
    while (error == 0)
        error = machine_wait(&shared->turn, &shared->lock, deadline);
    assert_true(machine_lock_held(&shared->lock));
    machine_unlock(&shared->lock);
    assert_int_equal(error, -ETIMEDOUT);
    assert_true(machine_time_ns() >= deadline);
    assert_true(machine_time_ns() < begun + 5000000000u);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_holder_at_a_time),
        TEST(one_holder_among_processes),
        TEST(no_wake_is_missed),
        TEST(a_deadline_ends_a_wait),
    };
    (void)alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
