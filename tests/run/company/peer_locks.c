/*
 * peer_locks.c: every way in which processes lock each other out, or wait for each other, by two calls.
 *
 *   kind                                  object, at         what
 *   setlk setlkw ofd ofdw                 file, 0            fcntl: F_SETLK, F_SETLKW, F_OFD_SETLK(W)
 *   flock lockf tlockf                    file, 0            flock, lockf's F_LOCK, lockf's F_TLOCK
 *   rdlock ofdrd flocksh                  file, 0            the same, shared
 *   mutex trymutex timedmutex             mapping, offset    process-shared mutex: lock, trylock, timedlock
 *   wrlock trywrlock timedwrlock          mapping, offset    rwlock
 *   prlock tryrdlock                      mapping, offset    rwlock, shared
 *   sem trysem timedsem                   mapping, offset    sem_init's: wait, trywait, timedwait; post
 *   semopen                               name, 0            sem_open's
 *   cond                                  mapping, offset    mutex, condition and word: drop lets one take
 *   barrier                               mapping, offset    of two; both take it
 *
 * Calls that only try are repeated until they succeed.
 */
#include "peer.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

struct condition {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int posted;
};

static sem_t *named; /* the one that semopen opened */

static struct timespec soon(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += 30;
    return now;
}

static void *object_at(char **arg)
{
    return peer_map(arg[2])->at + strtoul(arg[3], NULL, 0);
}

static long told(int result)
{
    return result < 0 ? -errno : result;
}

/* ---- locks of files -------------------------------------------------------------------------------- */

static const struct file_lock {
    const char *kind;
    int command; /* fcntl's; 0: flock or lockf */
    short type;  /* fcntl's, or flock's or lockf's operation */
    enum { BY_FCNTL, BY_FLOCK, BY_LOCKF } by;
} file_locks[] = {
    {"setlk", F_SETLK, F_WRLCK, BY_FCNTL},
    {"setlkw", F_SETLKW, F_WRLCK, BY_FCNTL},
    {"rdlock", F_SETLKW, F_RDLCK, BY_FCNTL},
    {"ofd", F_OFD_SETLK, F_WRLCK, BY_FCNTL},
    {"ofdw", F_OFD_SETLKW, F_WRLCK, BY_FCNTL},
    {"ofdrd", F_OFD_SETLKW, F_RDLCK, BY_FCNTL},
    {"flock", 0, LOCK_EX, BY_FLOCK},
    {"flocksh", 0, LOCK_SH, BY_FLOCK},
    {"tflock", 0, LOCK_EX | LOCK_NB, BY_FLOCK},
    {"lockf", 0, F_LOCK, BY_LOCKF},
    {"tlockf", 0, F_TLOCK, BY_LOCKF},
};

static const struct file_lock *file_lock(const char *kind)
{
    for (size_t i = 0; i < sizeof file_locks / sizeof file_locks[0]; i++)
        if (strcmp(kind, file_locks[i].kind) == 0)
            return &file_locks[i];
    return NULL;
}

static int file_lock_call(const struct file_lock *lock, int fd, int drop)
{
    struct flock range = {.l_type = drop ? F_UNLCK : lock->type, .l_whence = SEEK_SET};

    switch (lock->by) {
    case BY_FCNTL:
        return fcntl(fd, lock->command, &range);
    case BY_FLOCK:
        return flock(fd, drop ? LOCK_UN : lock->type);
    case BY_LOCKF:
        return lseek(fd, 0, SEEK_SET) < 0 ? -1 : lockf(fd, drop ? F_ULOCK : lock->type, 0);
    }
    return -1;
}

static long file_lock_take(const struct file_lock *lock, int fd)
{
    int r;

    while ((r = file_lock_call(lock, fd, 0)) < 0 && (errno == EAGAIN || errno == EACCES || errno == EINTR))
        sched_yield();
    return told(r);
}

/* ---- locks in memory ------------------------------------------------------------------------------- */

static int init_mutex(pthread_mutex_t *mutex, int robust)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    if (robust)
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    return pthread_mutex_init(mutex, &attr);
}

static int init_condition(struct condition *condition)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    condition->posted = 0;
    return init_mutex(&condition->mutex, 0) | pthread_cond_init(&condition->cond, &attr);
}

static int init_rwlock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    return pthread_rwlock_init(lock, &attr);
}

static int init_barrier(pthread_barrier_t *barrier)
{
    pthread_barrierattr_t attr;

    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    return pthread_barrier_init(barrier, &attr, 2);
}

/* init KIND OBJECT AT; a semaphore starts with 1. "unlink": takes away the name of semopen's. */
long peer_lock_init(char **arg)
{
    const char *kind = arg[1];

    if (strcmp(kind, "semopen") == 0) {
        named = sem_open(arg[2], O_CREAT, 0600, 1);
        return named == SEM_FAILED ? -errno : 0;
    }
    if (strcmp(kind, "unlink") == 0)
        return told(sem_unlink(arg[2]));
    if (strstr(kind, "mutex") != NULL)
        return -init_mutex(object_at(arg), 0);
    if (strcmp(kind, "robust") == 0)
        return -init_mutex(object_at(arg), 1);
    if (strstr(kind, "wrlock") != NULL || strcmp(kind, "prlock") == 0 || strcmp(kind, "tryrdlock") == 0)
        return -init_rwlock(object_at(arg));
    if (strstr(kind, "sem") != NULL)
        return told(sem_init(object_at(arg), 1, 1));
    if (strcmp(kind, "cond") == 0)
        return -init_condition(object_at(arg));
    return strcmp(kind, "barrier") == 0 ? -init_barrier(object_at(arg)) : -EINVAL;
}

static int take_mutex(const char *kind, pthread_mutex_t *mutex)
{
    struct timespec until = soon();
    int r;

    if (strcmp(kind, "timedmutex") == 0)
        return pthread_mutex_timedlock(mutex, &until);
    if (strcmp(kind, "trymutex") != 0)
        r = pthread_mutex_lock(mutex);
    else
        while ((r = pthread_mutex_trylock(mutex)) == EBUSY)
            sched_yield();
    return r == EOWNERDEAD ? pthread_mutex_consistent(mutex) : r;
}

static int take_rwlock(const char *kind, pthread_rwlock_t *lock)
{
    struct timespec until = soon();
    int r;

    if (strcmp(kind, "timedwrlock") == 0)
        return pthread_rwlock_timedwrlock(lock, &until);
    if (strcmp(kind, "prlock") == 0)
        return pthread_rwlock_rdlock(lock);
    if (strcmp(kind, "wrlock") == 0)
        return pthread_rwlock_wrlock(lock);
    while ((r = strcmp(kind, "tryrdlock") == 0 ? pthread_rwlock_tryrdlock(lock)
                                               : pthread_rwlock_trywrlock(lock)) == EBUSY)
        sched_yield();
    return r;
}

static int take_sem(const char *kind, sem_t *sem)
{
    struct timespec until = soon();
    int r;

    if (strcmp(kind, "timedsem") == 0)
        return sem_timedwait(sem, &until);
    while ((r = strcmp(kind, "trysem") == 0 ? sem_trywait(sem) : sem_wait(sem)) < 0 &&
           (errno == EAGAIN || errno == EINTR))
        sched_yield();
    return r;
}

static int take_condition(struct condition *condition)
{
    int r = pthread_mutex_lock(&condition->mutex);

    while (r == 0 && !condition->posted)
        r = pthread_cond_wait(&condition->cond, &condition->mutex);
    condition->posted = 0;
    return r != 0 ? r : pthread_mutex_unlock(&condition->mutex);
}

static int drop_condition(struct condition *condition)
{
    int r = pthread_mutex_lock(&condition->mutex);

    condition->posted = 1;
    return r != 0 ? r : pthread_cond_signal(&condition->cond) | pthread_mutex_unlock(&condition->mutex);
}

long peer_lock_take(char **arg)
{
    const char *kind = arg[1];
    const struct file_lock *lock = file_lock(kind);
    int r;

    if (lock != NULL)
        return file_lock_take(lock, peer_fd(arg[2]));
    if (strcmp(kind, "semopen") == 0)
        return told(take_sem("sem", named));
    if (strstr(kind, "mutex") != NULL || strcmp(kind, "robust") == 0)
        return -take_mutex(kind, object_at(arg));
    if (strstr(kind, "wrlock") != NULL || strcmp(kind, "prlock") == 0 || strcmp(kind, "tryrdlock") == 0)
        return -take_rwlock(kind, object_at(arg));
    if (strstr(kind, "sem") != NULL)
        return told(take_sem(kind, object_at(arg)));
    if (strcmp(kind, "cond") == 0)
        return -take_condition(object_at(arg));
    if (strcmp(kind, "barrier") != 0)
        return -EINVAL;
    r = pthread_barrier_wait(object_at(arg));
    return r == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : -r;
}

long peer_lock_drop(char **arg)
{
    const char *kind = arg[1];
    const struct file_lock *lock = file_lock(kind);

    if (lock != NULL)
        return told(file_lock_call(lock, peer_fd(arg[2]), 1));
    if (strcmp(kind, "semopen") == 0)
        return told(sem_post(named));
    if (strstr(kind, "mutex") != NULL || strcmp(kind, "robust") == 0)
        return -pthread_mutex_unlock(object_at(arg));
    if (strstr(kind, "wrlock") != NULL || strcmp(kind, "prlock") == 0 || strcmp(kind, "tryrdlock") == 0)
        return -pthread_rwlock_unlock(object_at(arg));
    if (strstr(kind, "sem") != NULL)
        return told(sem_post(object_at(arg)));
    return strcmp(kind, "cond") == 0 ? -drop_condition(object_at(arg)) : -EINVAL;
}
