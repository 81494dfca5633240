/*
 * mutex.h: a pthread mutex that Clang's thread-safety analysis knows
 * (faultline/thread_safety.h), so that a field can name the mutex that guards it.
 */
#ifndef RUN_MUTEX_H
#define RUN_MUTEX_H

#include <faultline/thread_safety.h>
#include <pthread.h>

/* Zeroed memory is an unlocked one, and so is what {PTHREAD_MUTEX_INITIALIZER} makes. */
struct FL_CAPABILITY("mutex") shim_mutex {
    pthread_mutex_t mutex;
};

/* pthread's functions have no annotations, so the analysis believes these two instead of looking inside. */
static inline void shim_mutex_lock(struct shim_mutex *lock) FL_ACQUIRE(lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_lock(&lock->mutex);
}

static inline void shim_mutex_unlock(struct shim_mutex *lock) FL_RELEASE(lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    pthread_mutex_unlock(&lock->mutex);
}

/* In the child of a fork: unlocked, whichever thread of the parent held it. */
static inline void shim_mutex_reset(struct shim_mutex *lock)
{
    pthread_mutex_init(&lock->mutex, NULL);
}

#endif
