/*
 * locks.c: locks by which programs synchronise with other processes: of files, and in memory that processes
 * share. Taking one revalidates managed files, releasing one writes back what was stored (fresh.h).
 *
 *   fcntl, flock, lockf           by the command                  fcntl itself is in opens.c
 *   close                         releases                        fds.c calls locks_closing
 *   pthread_mutex_*, _rwlock_*,   only those made for several     others cost two loads more
 *   _cond_*, _barrier_*, sem_*    processes
 *   semop                         both, as it may be either
 *
 * Processes that lock a small file may share its bytes without
 * a lock for each access, so the file becomes the kernel's.
 *
 * A lock that is made weaker (F_WRLCK to F_RDLCK) counts as
 * released and taken. A lock that is not granted counts as neither.
 *
 * Does not do: locks that the program builds itself (futexes, atomics), and
 * messages (pipes, sockets, signals). Between processes that synchronise by
 * these alone, watch.c notices the other one within milliseconds.
 */
#include "locks.h"
#include "fdtable.h"
#include "file_idle.h"
#include "fresh.h"
#include "handover.h"
#include "real.h"
#include "user_copy.h"
#include "window.h"
#include <linux_fd.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/sem.h>

/* Shorter files are small. By default nothing smaller is managed (--min-size). */
#define LOCKED_SMALL_BYTES ((uint64_t)1 << 20)

/* ---- locks of files -------------------------------------------------------------------------------- */

/* Descriptors by which a lock was taken: closing one may release it. */
static _Atomic uint64_t locked_by[FD_SLOTS / 64];

static void remember(int fd)
{
    if ((unsigned)fd < FD_SLOTS)
        locked_by[fd / 64] |= (uint64_t)1 << fd % 64;
}

static bool was_locked(int fd)
{
    return (unsigned)fd < FD_SLOTS && (locked_by[fd / 64] >> fd % 64 & 1) != 0;
}

static _Atomic bool small_is_mapped; /* a small locked file is mapped, or was */

bool locks_forbid_managing(int fd, uint64_t size_bytes)
{
    bool small = size_bytes < LOCKED_SMALL_BYTES && was_locked(fd);

    if (small)
        small_is_mapped = true;
    return small;
}

bool locks_want_write_through(int fd)
{
    return small_is_mapped && was_locked(fd);
}

/* Hands the file over; NULL: nothing is managed. */
static void becomes_kernels(struct file *file, const char *why) FL_REQUIRES(shim_lock)
{
    if (file != NULL && handover_file(file, LEFT_SHARED) == 0)
        shim_verbose("inode %lu is the kernel's from now on: %s", (unsigned long)file->ino, why);
    file_reap();
}

/*
 * A lock was taken by fd. If its file is managed and small, it becomes the kernel's. Only
 * the first lock is looked at: locks_forbid_managing looks at files that are mapped later.
 */
static void locked(int fd)
{
    bool again = was_locked(fd);
    struct file *file;
    sigset_t saved;
    struct stat st;

    remember(fd);
    if (again || fd_is_other(fd) || !shim_on() || linux_syscall(SYS_fstat, fd, &st) != 0 ||
        (uint64_t)st.st_size >= LOCKED_SMALL_BYTES)
        return;
    shim_enter(&saved);
    file = file_find(st.st_dev, st.st_ino);
    small_is_mapped |= file != NULL;
    becomes_kernels(file, "it is small, and locked");
    shim_leave(&saved);
}

void locks_closing(int fd)
{
    if (!was_locked(fd))
        return;
    locked_by[fd / 64] &= ~((uint64_t)1 << fd % 64);
    fresh_release();
}

bool locks_is_command(int command)
{
    return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

/* Closing any descriptor of a file drops the process's record locks on it: the shim closes none meanwhile. */
static void record_locking(int command, bool begins)
{
    if (command != F_OFD_SETLK && command != F_OFD_SETLKW && shim_on())
        linux_fd_locking(begins);
}

/* While no file is mapped, the call costs a few loads more. */
int locks_fcntl(int fd, int command, void *lock)
{
    short type = F_RDLCK;
    int r;

    if (files_mapped != 0) {
        struct flock copy;

        if (user_read(&copy, lock, sizeof copy)) /* the kernel refuses a bad pointer */
            type = copy.l_type;
        if (type != F_WRLCK)
            fresh_release();
    }
    record_locking(command, true);
    r = shim_real()->fcntl(fd, command, lock);
    record_locking(command, false);
    if (r == 0 && type != F_UNLCK) {
        locked(fd);
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
    if (r == 0 && (operation & LOCK_UN) == 0) {
        locked(fd);
        fresh_all();
    }
    return r;
}

FL_EXPORT int lockf(int fd, int command, off_t len)
{
    int r;

    if (command == F_ULOCK)
        fresh_release();
    record_locking(F_SETLK, true);
    r = shim_real()->lockf(fd, command, len);
    record_locking(F_SETLK, false);
    if (r == 0 && (command == F_LOCK || command == F_TLOCK)) {
        locked(fd);
        fresh_all();
    }
    return r;
}

FL_EXPORT int lockf64(int fd, int command, off64_t len)
{
    return lockf(fd, command, len);
}

/* ---- locks in shared memory ------------------------------------------------------------------------ */

/* As glibc marks them (nptl/pthreadP.h, semaphoreP.h, pthread_barrier_wait.c). */
#define MUTEX_SHARED   0x80
#define SEM_SHARED     2 /* the word that says so */
#define BARRIER_SHARED 3

/*
 * A lock that processes share and that lies in a managed file is the same bytes for all of them only in
 * the kernel's cache. So the file becomes the kernel's before the lock is touched. Returns `shared`.
 */
static bool shared_at(const void *lock, bool shared)
{
    sigset_t saved;

    if (!shared || files_mapped == 0 || !shim_on() || !window_has((uintptr_t)lock))
        return shared;
    shim_enter(&saved);
    becomes_kernels(file_at((uintptr_t)lock), "a lock that processes share lies in it");
    shim_leave(&saved);
    return shared;
}

static bool mutex_is_shared(const pthread_mutex_t *mutex)
{
    return shared_at(mutex, (mutex->__data.__kind & MUTEX_SHARED) != 0);
}

static bool rwlock_is_shared(const pthread_rwlock_t *rwlock)
{
    return shared_at(rwlock, rwlock->__data.__shared != 0);
}

static bool sem_is_shared(const sem_t *sem)
{
    return shared_at(sem, ((const int *)sem)[SEM_SHARED] != 0);
}

static bool barrier_is_shared(const pthread_barrier_t *barrier)
{
    return shared_at(barrier, ((const int *)barrier)[BARRIER_SHARED] != 0);
}

/* EOWNERDEAD: the lock is held as well. */
static int acquired(bool shared, int r)
{
    if (shared && (r == 0 || r == EOWNERDEAD))
        fresh_all();
    return r;
}

static bool releases(bool shared)
{
    if (shared)
        fresh_release();
    return shared;
}

/* libc's name(lock, …), which acquires the lock, or releases it. */
#define ACQUIRES(kind, name, lock, ...)                                                                      \
    ({                                                                                                       \
        bool shared_ = kind##_is_shared(lock);                                                               \
        acquired(shared_, shim_real()->name(lock __VA_OPT__(, ) __VA_ARGS__));                               \
    })
#define RELEASES(kind, name, lock)                                                                           \
    ({                                                                                                       \
        (void)releases(kind##_is_shared(lock));                                                              \
        shim_real()->name(lock);                                                                             \
    })
/* A wait releases the mutex, and holds it again afterwards, also after a timeout. */
#define WAITS(name, cond, mutex, ...)                                                                        \
    ({                                                                                                       \
        bool shared_ = releases(mutex_is_shared(mutex));                                                     \
        int result_ = shim_real()->name(cond, mutex __VA_OPT__(, ) __VA_ARGS__);                             \
        (void)acquired(shared_, 0);                                                                          \
        result_;                                                                                             \
    })

FL_EXPORT int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    return ACQUIRES(mutex, pthread_mutex_lock, mutex);
}

FL_EXPORT int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    return ACQUIRES(mutex, pthread_mutex_trylock, mutex);
}

FL_EXPORT int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until)
{
    return ACQUIRES(mutex, pthread_mutex_timedlock, mutex, until);
}

FL_EXPORT int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until)
{
    return ACQUIRES(mutex, pthread_mutex_clocklock, mutex, clock, until);
}

FL_EXPORT int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    return RELEASES(mutex, pthread_mutex_unlock, mutex);
}

FL_EXPORT int pthread_rwlock_rdlock(pthread_rwlock_t *rwlock)
{
    return ACQUIRES(rwlock, pthread_rwlock_rdlock, rwlock);
}

FL_EXPORT int pthread_rwlock_wrlock(pthread_rwlock_t *rwlock)
{
    return ACQUIRES(rwlock, pthread_rwlock_wrlock, rwlock);
}

FL_EXPORT int pthread_rwlock_tryrdlock(pthread_rwlock_t *rwlock)
{
    return ACQUIRES(rwlock, pthread_rwlock_tryrdlock, rwlock);
}

FL_EXPORT int pthread_rwlock_trywrlock(pthread_rwlock_t *rwlock)
{
    return ACQUIRES(rwlock, pthread_rwlock_trywrlock, rwlock);
}

FL_EXPORT int pthread_rwlock_timedrdlock(pthread_rwlock_t *rwlock, const struct timespec *until)
{
    return ACQUIRES(rwlock, pthread_rwlock_timedrdlock, rwlock, until);
}

FL_EXPORT int pthread_rwlock_timedwrlock(pthread_rwlock_t *rwlock, const struct timespec *until)
{
    return ACQUIRES(rwlock, pthread_rwlock_timedwrlock, rwlock, until);
}

FL_EXPORT int pthread_rwlock_clockrdlock(pthread_rwlock_t *rwlock, clockid_t clock,
                                         const struct timespec *until)
{
    return ACQUIRES(rwlock, pthread_rwlock_clockrdlock, rwlock, clock, until);
}

FL_EXPORT int pthread_rwlock_clockwrlock(pthread_rwlock_t *rwlock, clockid_t clock,
                                         const struct timespec *until)
{
    return ACQUIRES(rwlock, pthread_rwlock_clockwrlock, rwlock, clock, until);
}

FL_EXPORT int pthread_rwlock_unlock(pthread_rwlock_t *rwlock)
{
    return RELEASES(rwlock, pthread_rwlock_unlock, rwlock);
}

FL_EXPORT int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    return WAITS(pthread_cond_wait, cond, mutex);
}

FL_EXPORT int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                     const struct timespec *until)
{
    return WAITS(pthread_cond_timedwait, cond, mutex, until);
}

FL_EXPORT int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
                                     const struct timespec *until)
{
    return WAITS(pthread_cond_clockwait, cond, mutex, clock, until);
}

/* A thread that arrives publishes its stores, and then sees those of the others. */
FL_EXPORT int pthread_barrier_wait(pthread_barrier_t *barrier)
{
    bool shared = releases(barrier_is_shared(barrier));
    int r = shim_real()->pthread_barrier_wait(barrier);

    (void)acquired(shared, 0);
    return r;
}

FL_EXPORT int sem_wait(sem_t *sem)
{
    return ACQUIRES(sem, sem_wait, sem);
}

FL_EXPORT int sem_trywait(sem_t *sem)
{
    return ACQUIRES(sem, sem_trywait, sem);
}

FL_EXPORT int sem_timedwait(sem_t *sem, const struct timespec *until)
{
    return ACQUIRES(sem, sem_timedwait, sem, until);
}

FL_EXPORT int sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
    return ACQUIRES(sem, sem_clockwait, sem, clock, until);
}

FL_EXPORT int sem_post(sem_t *sem)
{
    return RELEASES(sem, sem_post, sem);
}

/* An operation may take, or release, or both. */
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
