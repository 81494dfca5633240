/*
 * lock.c: machine_lock: a mutex whose waiters spin for a moment, in case the holder runs on another CPU, and
 * then sleep.
 *
 *   word[0]   0: free   1: held   2: held, and perhaps someone waits
 *   word[2], word[3]   the holder's machine_self()
 *
 * The waiters' channel is the address behind the lock's own, on which nobody else sleeps. ("Futexes are
 * tricky", U. Drepper: the second mutex.)
 */
#include "panic.h"
#include "sched.h"

#define LOCK_SPINS 200

static uint64_t *lock_owner(struct machine_lock *lock)
{
    return (uint64_t *)(void *)&lock->word[2];
}

static const void *lock_chan(const struct machine_lock *lock)
{
    return (const char *)lock + 1;
}

static bool lock_take(struct machine_lock *lock)
{
    uint32_t expected = 0;

    return __atomic_compare_exchange_n(&lock->word[0], &expected, 1, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

__attribute__((noinline, cold)) static void lock_wait(struct machine_lock *lock)
{
    for (unsigned i = 0; ncpus > 1 && i < LOCK_SPINS; i++) {
        if (__atomic_load_n(&lock->word[0], __ATOMIC_RELAXED) == 0 && lock_take(lock))
            return;
        cpu_pause();
    }
    if (panic_under_way())
        return; /* whoever holds it runs no more */
    uint64_t flags = spin_lock(&sched_lock);
    while (__atomic_exchange_n(&lock->word[0], 2, __ATOMIC_ACQUIRE) != 0)
        sched_sleep_locked(lock_chan(lock));
    spin_unlock(&sched_lock, flags);
}

inline void machine_lock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (__builtin_expect(!lock_take(lock), 0))
        lock_wait(lock);
    *lock_owner(lock) = machine_self();
}

inline bool machine_trylock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (!lock_take(lock))
        return false;
    *lock_owner(lock) = machine_self();
    return true;
}

__attribute__((noinline, cold)) static void lock_wake(struct machine_lock *lock)
{
    if (panic_under_way())
        return;
    uint64_t flags = spin_lock(&sched_lock);
    sched_wake_locked(lock_chan(lock), 1);
    spin_unlock(&sched_lock, flags);
}

inline void machine_unlock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    *lock_owner(lock) = 0;
    if (__builtin_expect(__atomic_exchange_n(&lock->word[0], 0, __ATOMIC_RELEASE) != 2, 1))
        return;
    lock_wake(lock);
}

void lock_release_locked(struct machine_lock *lock)
{
    *lock_owner(lock) = 0;
    if (__atomic_exchange_n(&lock->word[0], 0, __ATOMIC_RELEASE) == 2)
        sched_wake_locked(lock_chan(lock), 1);
}

inline bool machine_lock_held(const struct machine_lock *lock)
{
    return *lock_owner((struct machine_lock *)(uintptr_t)lock) == machine_self();
}

inline uint64_t machine_self(void)
{
    return (uint64_t)curthread();
}
