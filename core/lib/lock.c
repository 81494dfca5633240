/*
 * lock.c: the mutex is the machine's. The reader/writer lock is a mutex, counts, and two sleep channels.
 *
 *              sleeps on                  until                            woken by
 *   a reader   &lock->readers_waiting     no writer holds it, or waits     vm_rwlock_write_done, _downgrade
 *   a writer   &lock->writer              no thread holds it               _write_done, the last _read_done
 *
 * A reader that finds no writer, and leaves none waiting, changes `state` and nothing else. A writer closes
 * `state` before it looks at the readers in it, and reads and sleeps under `machine`: so the last reader, who
 * finds `state` closed, and then takes `machine` to wake it, cannot come between. `machine` is held for a few
 * instructions only, not for as long as the reader/writer lock is. Threads are woken only if some wait: the
 * writers first, all of them, of which one gets the lock.
 *
 * Invariants LK1, LK2: lock.h. Does not do: priorities, recursion, upgrading.
 *
 * The functions that take or release one of these locks opt out of Clang's thread-safety analysis, because
 * it takes the machine's mutex inside for a lock of its own.
 */
#include "lib/lock.h"
#include "lib/kassert.h"

#define RWLOCK_GONE UINT64_MAX /* the writer of a lock that is no more */

void vm_lock(struct vm_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    machine_lock(&lock->machine);
}

bool vm_trylock(struct vm_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    return machine_trylock(&lock->machine);
}

void vm_unlock(struct vm_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    machine_unlock(&lock->machine);
}

void vm_lock_assert(const struct vm_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    KASSERT(machine_lock_held(&lock->machine), "LK1");
}

int vm_sleep_until(const void *chan, struct vm_lock *lock, uint64_t deadline_ns) FL_NO_THREAD_SAFETY_ANALYSIS
{
    return machine_wait(chan, &lock->machine, deadline_ns);
}

void vm_sleep(const void *chan, struct vm_lock *lock)
{
    /* The result says nothing without a deadline; the caller looks at its condition. */
    (void)vm_sleep_until(chan, lock, UINT64_MAX);
}

/* Sleeps on chan with lock->machine released, and takes it again. */
static void rwlock_wait(struct vm_rwlock *lock, const void *chan) FL_REQUIRES(lock->machine)
{
    (void)machine_wait(chan, &lock->machine, UINT64_MAX);
}

static uint32_t rwlock_readers(struct vm_rwlock *lock)
{
    return atomic_load_explicit(&lock->state, memory_order_acquire) & ~RWLOCK_CLOSED;
}

/* A thread released the lock, and no writer holds it: wakes the threads that may have it now. */
static void rwlock_wake(struct vm_rwlock *lock) FL_REQUIRES(lock->machine)
{
    if (lock->writers_waiting != 0) {
        if (rwlock_readers(lock) == 0)
            machine_wake(&lock->writer);
        return;
    }
    atomic_fetch_and_explicit(&lock->state, ~RWLOCK_CLOSED, memory_order_release);
    if (lock->readers_waiting != 0)
        machine_wake(&lock->readers_waiting);
}

/* Joins the readers, unless it is closed. The loop ends: each turn, another thread has got its change in. */
static bool rwlock_join(struct vm_rwlock *lock)
{
    uint32_t state = atomic_load_explicit(&lock->state, memory_order_relaxed);

    while ((state & RWLOCK_CLOSED) == 0)
        if (atomic_compare_exchange_weak_explicit(&lock->state, &state, state + 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    return false;
}

void vm_rwlock_destroy(struct vm_rwlock *lock)
{
    lock->writer = RWLOCK_GONE;
    atomic_store_explicit(&lock->state, RWLOCK_CLOSED, memory_order_relaxed);
}

void vm_rwlock_read(struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (rwlock_join(lock))
        return;
    machine_lock(&lock->machine);
    KASSERT(lock->writer != RWLOCK_GONE, "LK3");
    lock->readers_waiting++;
    while (!rwlock_join(lock))
        rwlock_wait(lock, &lock->readers_waiting);
    lock->readers_waiting--;
    machine_unlock(&lock->machine);
}

void vm_rwlock_read_done(struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    uint32_t was = atomic_fetch_sub_explicit(&lock->state, 1, memory_order_acq_rel);
    KASSERT((was & ~RWLOCK_CLOSED) > 0, "LK2");
    if (was != (RWLOCK_CLOSED | 1))
        return;
    machine_lock(&lock->machine);
    if (lock->writer == 0) /* else one that came meanwhile has it, and has found no reader */
        rwlock_wake(lock);
    machine_unlock(&lock->machine);
}

void vm_rwlock_write(struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    machine_lock(&lock->machine);
    KASSERT(lock->writer != machine_self(), "LK1");
    lock->writers_waiting++;
    atomic_fetch_or_explicit(&lock->state, RWLOCK_CLOSED, memory_order_acq_rel);
    while (lock->writer != 0 || rwlock_readers(lock) != 0)
        rwlock_wait(lock, &lock->writer);
    lock->writers_waiting--;
    lock->writer = machine_self();
    machine_unlock(&lock->machine);
}

void vm_rwlock_write_done(struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    machine_lock(&lock->machine);
    KASSERT(lock->writer == machine_self(), "LK1");
    KASSERT(rwlock_readers(lock) == 0, "LK2");
    lock->writer = 0;
    rwlock_wake(lock);
    machine_unlock(&lock->machine);
}

void vm_rwlock_downgrade(struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    machine_lock(&lock->machine);
    KASSERT(lock->writer == machine_self(), "LK1");
    lock->writer = 0;
    atomic_fetch_add_explicit(&lock->state, 1, memory_order_relaxed);
    rwlock_wake(lock);
    machine_unlock(&lock->machine);
}

void vm_rwlock_assert_write(const struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    KASSERT(lock->writer == machine_self(), "LK1");
}
