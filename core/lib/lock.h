/*
 * lock.h: the core's locks: a mutex and a reader/writer lock over machine.h, with the annotations of
 * faultline/thread_safety.h, which Clang's -Wthread-safety checks.
 *
 * Lock order: docs/locking.md. A field's comment names the lock that guards it by a letter; each header has
 * its key. A function whose name ends in _locked is called with the lock held.
 *
 * Invariants: L1 who releases a lock, or says that it is held, holds it. L2 a reader/writer lock has one
 * writer or any number of readers, never both.
 */
#ifndef CORE_LIB_LOCK_H
#define CORE_LIB_LOCK_H

#include <faultline/machine.h>

/* A mutex; all zero is unlocked. */
struct FL_CAPABILITY("mutex") vm_lock {
    struct machine_lock machine;
};

void vm_lock(struct vm_lock *lock) FL_ACQUIRE(lock);
FL_NODISCARD bool vm_trylock(struct vm_lock *lock) FL_TRY_ACQUIRE(true, lock);
void vm_unlock(struct vm_lock *lock) FL_RELEASE(lock);
void vm_lock_assert(const struct vm_lock *lock) FL_ASSERT_CAPABILITY(lock);
/* Sleeps on chan with the lock released; see machine_wait. Callers loop over their condition. */
void vm_sleep(const void *chan, struct vm_lock *lock) FL_REQUIRES(lock);
/* The same, until machine_time_ns() >= deadline_ns at the latest. Returns 0, or -ETIMEDOUT. */
int vm_sleep_until(const void *chan, struct vm_lock *lock, uint64_t deadline_ns) FL_REQUIRES(lock);

/*
 * A reader/writer lock; all zero is unlocked. Writers go before readers that come later, so a reader must
 * not take it twice. Context: may sleep.
 */
struct FL_CAPABILITY("rwlock") vm_rwlock {
    struct machine_lock machine; /* guards the rest */
    uint32_t readers;            /* how many hold it shared */
    uint32_t readers_waiting, writers_waiting;
    uint64_t writer; /* machine_self() of the exclusive holder, or 0 */
};

void vm_rwlock_read(struct vm_rwlock *lock) FL_ACQUIRE_SHARED(lock);
void vm_rwlock_read_done(struct vm_rwlock *lock) FL_RELEASE_SHARED(lock);
void vm_rwlock_write(struct vm_rwlock *lock) FL_ACQUIRE(lock);
void vm_rwlock_write_done(struct vm_rwlock *lock) FL_RELEASE(lock);
/* The exclusive holder becomes a shared one, with nobody in between. */
void vm_rwlock_downgrade(struct vm_rwlock *lock) FL_RELEASE(lock) FL_ACQUIRE_SHARED(lock);
void vm_rwlock_assert_write(const struct vm_rwlock *lock) FL_ASSERT_CAPABILITY(lock);

#endif
