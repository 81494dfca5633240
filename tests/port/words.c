/*
 * words.c: examples/port/words.c written out, for threads of a program: the nine functions with which the
 * core boots.
 *
 * Nothing is sleeping here: a thread that waits yields, and returns without a wake-up, as machine_wait may.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <faultline/machine.h>

static uint64_t *owner_of(const struct machine_lock *lock)
{
    return (uint64_t *)(uintptr_t)lock->word;
}

bool machine_trylock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    uint64_t nobody = 0;

    return __atomic_compare_exchange_n(owner_of(lock), &nobody, machine_self(), false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

void machine_lock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    while (!machine_trylock(lock))
        sched_yield();
}

void machine_unlock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    __atomic_store_n(owner_of(lock), 0, __ATOMIC_RELEASE);
}

bool machine_lock_held(const struct machine_lock *lock)
{
    return __atomic_load_n(owner_of(lock), __ATOMIC_RELAXED) == machine_self();
}

int machine_wait(const void *chan, struct machine_lock *lock, uint64_t deadline_ns)
{
    (void)chan;
    machine_unlock(lock);
    sched_yield();
    machine_lock(lock);
    return machine_time_ns() >= deadline_ns ? -ETIMEDOUT : 0;
}

void machine_wake(const void *chan)
{
    (void)chan;
}

uint64_t machine_self(void)
{
    static _Thread_local char self;

    return (uint64_t)(uintptr_t)&self;
}

uint64_t machine_time_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void machine_panic(const char *message)
{
    fprintf(stderr, "panic: %s\n", message);
    abort();
}
