/*
 * lock.c: the mutex is the machine's; the reader/writer lock is made of one and of
 * machine_wait and machine_wake.
 *
 *   readers wait on &lock->readers ─┐                       ┌─ a writer leaves: the next one, else readers
 *                                   ├─▶ lock->machine held ─┤
 *   writers wait on &lock->writer  ─┘                       └─ the last reader leaves: the writers
 *
 * `machine` is held for a few instructions only, never while the reader/writer lock itself is. Nobody is
 * woken when nobody waits. Invariants L1, L2: lock.h. Does not do: priorities, recursion, upgrading.
 *
 * Functions that take or drop one of these locks are outside Clang's thread-safety analysis: it knows the
 * machine's mutex inside as a lock of its own.
 */
#include "lib/lock.h"
#include "lib/kassert.h"

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
    KASSERT(machine_lock_held(&lock->machine), "L1");
}

int vm_sleep_until(const void *chan, struct vm_lock *lock, uint64_t deadline_ns) FL_NO_THREAD_SAFETY_ANALYSIS
{
    return machine_wait(chan, &lock->machine, deadline_ns);
}

void vm_sleep(const void *chan, struct vm_lock *lock)
{
    /* Without a deadline there is nothing to learn from the result: the caller looks at its condition. */
    (void)vm_sleep_until(chan, lock, UINT64_MAX);
}

/* Called with lock->machine held: sleeps on chan, and holds it again. */
static void rwlock_wait(struct vm_rwlock *lock, const void *chan) FL_REQUIRES(lock->machine)
{
    (void)machine_wait(chan, &lock->machine, UINT64_MAX);
}

/* Called with lock->machine held, when no writer holds the lock any more. */
static void rwlock_wake(struct vm_rwlock *lock) FL_REQUIRES(lock->machine)
{
    if (lock->writers_waiting != 0) {
        if (lock->readers == 0)
            machine_wake(&lock->writer);
    } else if (lock->readers_waiting != 0) {
        machine_wake(&lock->readers);
    }
}

void vm_rwlock_read(struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    machine_lock(&lock->machine);
    lock->readers_waiting++;
    while (lock->writer != 0 || lock->writers_waiting != 0)
        rwlock_wait(lock, &lock->readers);
    lock->readers_waiting--;
    lock->readers++;
    machine_unlock(&lock->machine);
}

void vm_rwlock_read_done(struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    machine_lock(&lock->machine);
    KASSERT(lock->readers > 0 && lock->writer == 0, "L2");
    lock->readers--;
    if (lock->readers == 0)
        rwlock_wake(lock);
    machine_unlock(&lock->machine);
}

void vm_rwlock_write(struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    machine_lock(&lock->machine);
    KASSERT(lock->writer != machine_self(), "L1");
    lock->writers_waiting++;
    while (lock->writer != 0 || lock->readers != 0)
        rwlock_wait(lock, &lock->writer);
    lock->writers_waiting--;
    lock->writer = machine_self();
    machine_unlock(&lock->machine);
}

void vm_rwlock_write_done(struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    machine_lock(&lock->machine);
    KASSERT(lock->writer == machine_self(), "L1");
    KASSERT(lock->readers == 0, "L2");
    lock->writer = 0;
    rwlock_wake(lock);
    machine_unlock(&lock->machine);
}

void vm_rwlock_downgrade(struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    machine_lock(&lock->machine);
    KASSERT(lock->writer == machine_self(), "L1");
    lock->writer = 0;
    lock->readers = 1;
    rwlock_wake(lock);
    machine_unlock(&lock->machine);
}

void vm_rwlock_assert_write(const struct vm_rwlock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    KASSERT(lock->writer == machine_self(), "L1");
}
