/*
 * lock.h: the core's locks: a mutex, and a reader/writer lock, made of what machine.h offers.
 *
 * The lock order is in docs/locking.md. The comment of a shared field names the lock that guards it by a
 * letter, such as (M) or (O); the opening comment of each header says which lock a letter means.
 *
 * Clang's -Wthread-safety checks the annotations of faultline/thread_safety.h. What they can say in C:
 *
 *   a field whose lock is a global      FL_GUARDED_BY(vm_rmap_lock) behind the field
 *   a global whose lock is a global     FL_GUARDED_BY(vm_phys.lock) behind the global
 *   a field whose lock is its sibling   nothing: C has no name for the structure that the field is in. So
 *                                       the functions that use the field say FL_REQUIRES(object->lock).
 *
 * A function that is called with a lock held says so with FL_REQUIRES, or FL_REQUIRES_SHARED if a reader's
 * hold is enough, when one of its parameters leads to the lock. Otherwise its comment names the lock's
 * letter.
 *
 * Invariants: LK1 a thread that releases a lock, or asserts that it holds one, holds it. LK2 a reader/writer
 * lock has one writer or any number of readers, never both. LK3 nobody takes one that was destroyed.
 */
#ifndef CORE_LIB_LOCK_H
#define CORE_LIB_LOCK_H

#include <faultline/machine.h>

#include <stdatomic.h>

/* A mutex; all zero is unlocked. */
struct FL_CAPABILITY("mutex") vm_lock {
    struct machine_lock machine;
};

void vm_lock(struct vm_lock *lock) FL_ACQUIRE(lock);
FL_NODISCARD bool vm_trylock(struct vm_lock *lock) FL_TRY_ACQUIRE(true, lock);
void vm_unlock(struct vm_lock *lock) FL_RELEASE(lock);
/* Panics (LK1) if this thread does not hold the lock. */
void vm_lock_assert(const struct vm_lock *lock) FL_ASSERT_CAPABILITY(lock);
/*
 * Sleeps on the channel `chan`, an address, until machine_wake of it. The lock is released meanwhile, and
 * held again on return. A wake-up that comes after the release is not missed. It may return early, so callers
 * loop over their condition.
 */
void vm_sleep(const void *chan, struct vm_lock *lock) FL_REQUIRES(lock);
/* The same, until machine_time_ns() >= deadline_ns at the latest. Returns 0, or -ETIMEDOUT. */
int vm_sleep_until(const void *chan, struct vm_lock *lock, uint64_t deadline_ns) FL_REQUIRES(lock);

/*
 * A reader/writer lock; all zero is unlocked. A waiting writer goes before readers that come later, so a
 * thread must not take it shared twice. Context: may sleep.
 */
struct FL_CAPABILITY("rwlock") vm_rwlock {
    struct machine_lock machine; /* guards the rest, but for `state` */
    _Atomic uint32_t state;      /* threads that hold it shared; RWLOCK_CLOSED: no reader may join them */
    uint32_t readers_waiting, writers_waiting;
    uint64_t writer; /* machine_self() of the exclusive holder, or 0 */
};
#define RWLOCK_CLOSED UINT32_C(0x80000000)

/* The lock's memory is about to be freed. Whoever takes the lock afterwards breaks LK3. */
void vm_rwlock_destroy(struct vm_rwlock *lock);
void vm_rwlock_read(struct vm_rwlock *lock) FL_ACQUIRE_SHARED(lock);
void vm_rwlock_read_done(struct vm_rwlock *lock) FL_RELEASE_SHARED(lock);
void vm_rwlock_write(struct vm_rwlock *lock) FL_ACQUIRE(lock);
void vm_rwlock_write_done(struct vm_rwlock *lock) FL_RELEASE(lock);
/* The exclusive holder becomes a shared one; no other thread has the lock in between. */
void vm_rwlock_downgrade(struct vm_rwlock *lock) FL_RELEASE(lock) FL_ACQUIRE_SHARED(lock);
/* Panics (LK1) if this thread does not hold the lock exclusively. */
void vm_rwlock_assert_write(const struct vm_rwlock *lock) FL_ASSERT_CAPABILITY(lock);

#endif
