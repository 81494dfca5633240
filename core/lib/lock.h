/*
 * lock.h: the core's locks: a mutex and a reader/writer lock over machine.h, with the annotations that
 * Clang's -Wthread-safety checks.
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

#if defined(__clang__)
#define CAPABILITY(x)             __attribute__((capability(x)))
#define GUARDED_BY(x)             __attribute__((guarded_by(x)))
#define PT_GUARDED_BY(x)          __attribute__((pt_guarded_by(x)))
#define REQUIRES(...)             __attribute__((requires_capability(__VA_ARGS__)))
#define REQUIRES_SHARED(...)      __attribute__((requires_shared_capability(__VA_ARGS__)))
#define ACQUIRE(...)              __attribute__((acquire_capability(__VA_ARGS__)))
#define ACQUIRE_SHARED(...)       __attribute__((acquire_shared_capability(__VA_ARGS__)))
#define RELEASE(...)              __attribute__((release_capability(__VA_ARGS__)))
#define RELEASE_SHARED(...)       __attribute__((release_shared_capability(__VA_ARGS__)))
#define TRY_ACQUIRE(...)          __attribute__((try_acquire_capability(__VA_ARGS__)))
#define EXCLUDES(...)             __attribute__((locks_excluded(__VA_ARGS__)))
#define ASSERT_CAPABILITY(x)      __attribute__((assert_capability(x)))
#define NO_THREAD_SAFETY_ANALYSIS __attribute__((no_thread_safety_analysis)) /* with the reason beside it */
#else
#define CAPABILITY(x)
#define GUARDED_BY(x)
#define PT_GUARDED_BY(x)
#define REQUIRES(...)
#define REQUIRES_SHARED(...)
#define ACQUIRE(...)
#define ACQUIRE_SHARED(...)
#define RELEASE(...)
#define RELEASE_SHARED(...)
#define TRY_ACQUIRE(...)
#define EXCLUDES(...)
#define ASSERT_CAPABILITY(x)
#define NO_THREAD_SAFETY_ANALYSIS
#endif

/* A mutex; all zero is unlocked. */
struct CAPABILITY("mutex") vm_lock {
    struct machine_lock machine;
};

void vm_lock(struct vm_lock *lock) ACQUIRE(lock);
FL_NODISCARD bool vm_trylock(struct vm_lock *lock) TRY_ACQUIRE(true, lock);
void vm_unlock(struct vm_lock *lock) RELEASE(lock);
void vm_lock_assert(const struct vm_lock *lock) ASSERT_CAPABILITY(lock);
/* Sleeps on chan with the lock released; see machine_wait. Callers loop over their condition. */
void vm_sleep(const void *chan, struct vm_lock *lock) REQUIRES(lock);

/*
 * A reader/writer lock; all zero is unlocked. Writers go before readers that come later, so a reader must
 * not take it twice. Context: may sleep.
 */
struct CAPABILITY("rwlock") vm_rwlock {
    struct machine_lock machine; /* guards the rest */
    uint32_t readers;            /* how many hold it shared */
    uint32_t readers_waiting, writers_waiting;
    uint64_t writer; /* machine_self() of the exclusive holder, or 0 */
};

void vm_rwlock_read(struct vm_rwlock *lock) ACQUIRE_SHARED(lock);
void vm_rwlock_read_done(struct vm_rwlock *lock) RELEASE_SHARED(lock);
void vm_rwlock_write(struct vm_rwlock *lock) ACQUIRE(lock);
void vm_rwlock_write_done(struct vm_rwlock *lock) RELEASE(lock);
/* The exclusive holder becomes a shared one, with nobody in between. */
void vm_rwlock_downgrade(struct vm_rwlock *lock) RELEASE(lock) ACQUIRE_SHARED(lock);
void vm_rwlock_assert_write(const struct vm_rwlock *lock) ASSERT_CAPABILITY(lock);

#endif
