/*
 * locks.c: what programs synchronise by with other processes: locks of files, and locks in memory that several
 * processes share. Taking one makes managed files fresh, releasing one writes what was stored (fresh.h).
 *
 *   fcntl, flock, lockf           by the command                  fcntl itself is in opens.c
 *   close                         releases what was locked        fds.c asks locks_closing
 *   pthread_mutex_*, _rwlock_*,   if they were made for several   of one process: two loads more
 *   _cond_*, sem_*                processes
 *   semop                         both: which it is nobody can tell
 *
 * A lock that is made weaker (F_WRLCK to F_RDLCK) is released and acquired. One that fails is neither.
 *
 * Does not do: locks of a program's own making (futexes, atomics), messages: pipes, sockets, signals. What is known
 * of another process by these alone is fresh within moments (watch.c).
 */
#include "locks.h"
#include "fdtable.h"
#include "fresh.h"
#include "real.h"
#include <pthread.h>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/sem.h>

/* ---- locks of files -------------------------------------------------------------------------------- */

/* Descriptors by which a lock was taken, ever: closing them may release it. */
static _Atomic uint64_t locked_by[FD_SLOTS / 64];

static void remember(int fd)
{
    if ((unsigned)fd < FD_SLOTS)
        locked_by[fd / 64] |= (uint64_t)1 << fd % 64;
}

void locks_closing(int fd)
{
    if ((unsigned)fd >= FD_SLOTS || (locked_by[fd / 64] >> fd % 64 & 1) == 0)
        return;
    locked_by[fd / 64] &= ~((uint64_t)1 << fd % 64);
    fresh_release();
}

bool locks_is_command(int command)
{
    return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

/* The calls without a mapped file cost a load. */
int locks_fcntl(int fd, int command, void *lock)
{
    short type = F_RDLCK;
    int r;

    if (files_mapped != 0) {
        struct flock copy;

        /* A bad pointer is the kernel's to refuse, which is what it does if the copy fails, too. */
        if (hold_copy_in(&copy, lock, sizeof copy) == 0)
            type = copy.l_type;
        if (type != F_WRLCK)
            fresh_release();
    }
    r = shim_real()->fcntl(fd, command, lock);
    if (r == 0) {
        remember(fd);
        if (type != F_UNLCK)
            fresh_all();
    }
    return r;
}

FL_EXPORT int flock(int fd, int operation)
{
    int r;

    if ((operation & ~LOCK_NB) != LOCK_EX)
        fresh_release();
    r = shim_real()->flock(fd, operation);
    if (r == 0) {
        remember(fd);
        if ((operation & LOCK_UN) == 0)
            fresh_all();
    }
    return r;
}

FL_EXPORT int lockf(int fd, int command, off_t len)
{
    int r;

    if (command == F_ULOCK)
        fresh_release();
    r = shim_real()->lockf(fd, command, len);
    if (r == 0 && (command == F_LOCK || command == F_TLOCK)) {
        remember(fd);
        fresh_all();
    }
    return r;
}

FL_EXPORT int lockf64(int fd, int command, off64_t len)
{
    return lockf(fd, command, len);
}

/* ---- locks in shared memory ------------------------------------------------------------------------ */

/* As glibc marks them (nptl/pthreadP.h, semaphoreP.h). */
#define MUTEX_SHARED 0x80

static bool mutex_is_shared(const pthread_mutex_t *mutex)
{
    return (mutex->__data.__kind & MUTEX_SHARED) != 0;
}

static bool rwlock_is_shared(const pthread_rwlock_t *rwlock)
{
    return rwlock->__data.__shared != 0;
}

static bool sem_is_shared(const sem_t *sem)
{
    return ((const int *)sem)[2] != 0;
}

/* The owner may have died: the lock is held all the same. */
static int acquired(bool shared, int r)
{
    if (shared && (r == 0 || r == EOWNERDEAD))
        fresh_all();
    return r;
}

static void releases(bool shared)
{
    if (shared)
        fresh_release();
}

FL_EXPORT int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    return acquired(mutex_is_shared(mutex), shim_real()->pthread_mutex_lock(mutex));
}

FL_EXPORT int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    return acquired(mutex_is_shared(mutex), shim_real()->pthread_mutex_trylock(mutex));
}

FL_EXPORT int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until)
{
    return acquired(mutex_is_shared(mutex), shim_real()->pthread_mutex_timedlock(mutex, until));
}

FL_EXPORT int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until)
{
    return acquired(mutex_is_shared(mutex), shim_real()->pthread_mutex_clocklock(mutex, clock, until));
}

FL_EXPORT int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    releases(mutex_is_shared(mutex));
    return shim_real()->pthread_mutex_unlock(mutex);
}

FL_EXPORT int pthread_rwlock_rdlock(pthread_rwlock_t *rwlock)
{
    return acquired(rwlock_is_shared(rwlock), shim_real()->pthread_rwlock_rdlock(rwlock));
}

FL_EXPORT int pthread_rwlock_wrlock(pthread_rwlock_t *rwlock)
{
    return acquired(rwlock_is_shared(rwlock), shim_real()->pthread_rwlock_wrlock(rwlock));
}

FL_EXPORT int pthread_rwlock_tryrdlock(pthread_rwlock_t *rwlock)
{
    return acquired(rwlock_is_shared(rwlock), shim_real()->pthread_rwlock_tryrdlock(rwlock));
}

FL_EXPORT int pthread_rwlock_trywrlock(pthread_rwlock_t *rwlock)
{
    return acquired(rwlock_is_shared(rwlock), shim_real()->pthread_rwlock_trywrlock(rwlock));
}

FL_EXPORT int pthread_rwlock_timedrdlock(pthread_rwlock_t *rwlock, const struct timespec *until)
{
    return acquired(rwlock_is_shared(rwlock), shim_real()->pthread_rwlock_timedrdlock(rwlock, until));
}

FL_EXPORT int pthread_rwlock_timedwrlock(pthread_rwlock_t *rwlock, const struct timespec *until)
{
    return acquired(rwlock_is_shared(rwlock), shim_real()->pthread_rwlock_timedwrlock(rwlock, until));
}

FL_EXPORT int pthread_rwlock_clockrdlock(pthread_rwlock_t *rwlock, clockid_t clock, const struct timespec *until)
{
    return acquired(rwlock_is_shared(rwlock), shim_real()->pthread_rwlock_clockrdlock(rwlock, clock, until));
}

FL_EXPORT int pthread_rwlock_clockwrlock(pthread_rwlock_t *rwlock, clockid_t clock, const struct timespec *until)
{
    return acquired(rwlock_is_shared(rwlock), shim_real()->pthread_rwlock_clockwrlock(rwlock, clock, until));
}

FL_EXPORT int pthread_rwlock_unlock(pthread_rwlock_t *rwlock)
{
    releases(rwlock_is_shared(rwlock));
    return shim_real()->pthread_rwlock_unlock(rwlock);
}

/* A wait releases the mutex, and has it again also when the time is over. */
FL_EXPORT int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    bool shared = mutex_is_shared(mutex);
    int r;

    releases(shared);
    r = shim_real()->pthread_cond_wait(cond, mutex);
    (void)acquired(shared, 0);
    return r;
}

FL_EXPORT int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
    bool shared = mutex_is_shared(mutex);
    int r;

    releases(shared);
    r = shim_real()->pthread_cond_timedwait(cond, mutex, until);
    (void)acquired(shared, 0);
    return r;
}

FL_EXPORT int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
                                     const struct timespec *until)
{
    bool shared = mutex_is_shared(mutex);
    int r;

    releases(shared);
    r = shim_real()->pthread_cond_clockwait(cond, mutex, clock, until);
    (void)acquired(shared, 0);
    return r;
}

/* ---- semaphores ------------------------------------------------------------------------------------ */

FL_EXPORT int sem_wait(sem_t *sem)
{
    return acquired(sem_is_shared(sem), shim_real()->sem_wait(sem));
}

FL_EXPORT int sem_trywait(sem_t *sem)
{
    return acquired(sem_is_shared(sem), shim_real()->sem_trywait(sem));
}

FL_EXPORT int sem_timedwait(sem_t *sem, const struct timespec *until)
{
    return acquired(sem_is_shared(sem), shim_real()->sem_timedwait(sem, until));
}

FL_EXPORT int sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
    return acquired(sem_is_shared(sem), shim_real()->sem_clockwait(sem, clock, until));
}

FL_EXPORT int sem_post(sem_t *sem)
{
    releases(sem_is_shared(sem));
    return shim_real()->sem_post(sem);
}

FL_EXPORT int semop(int set, struct sembuf *ops, size_t n)
{
    fresh_release();
    return acquired(true, shim_real()->semop(set, ops, n));
}

FL_EXPORT int semtimedop(int set, struct sembuf *ops, size_t n, const struct timespec *timeout)
{
    fresh_release();
    return acquired(true, shim_real()->semtimedop(set, ops, n, timeout));
}
