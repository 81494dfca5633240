/* real.h: libc's own functions behind the names that the shim exports. */
#ifndef RUN_REAL_H
#define RUN_REAL_H

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

/* What pthread_atfork calls, which is a part of each library that uses it. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);

#define SHIM_REAL_LIST(X)                                                                                    \
    X(__register_atfork)                                                                                     \
    X(sigaction)                                                                                             \
    X(pthread_sigmask)                                                                                       \
    X(sigsuspend)                                                                                            \
    X(ppoll)                                                                                                 \
    X(pselect)                                                                                               \
    X(epoll_pwait)                                                                                           \
    X(epoll_pwait2)                                                                                          \
    X(pthread_create)                                                                                        \
    X(sigaltstack)                                                                                           \
    X(makecontext)                                                                                           \
    X(pthread_attr_setsigmask_np)                                                                            \
    X(readv)                                                                                                 \
    X(writev)                                                                                                \
    X(preadv)                                                                                                \
    X(pwritev)                                                                                               \
    X(preadv2)                                                                                               \
    X(pwritev2)                                                                                              \
    X(sendmsg)                                                                                               \
    X(recvmsg)                                                                                               \
    X(sendmmsg)                                                                                              \
    X(recvmmsg)                                                                                              \
    X(vmsplice)                                                                                              \
    X(process_vm_readv)                                                                                      \
    X(process_vm_writev)                                                                                     \
    X(read)                                                                                                  \
    X(pread)                                                                                                 \
    X(write)                                                                                                 \
    X(pwrite)                                                                                                \
    X(fsync)                                                                                                 \
    X(fdatasync)                                                                                             \
    X(sync)                                                                                                  \
    X(syncfs)                                                                                                \
    X(sync_file_range)                                                                                       \
    X(posix_fadvise)                                                                                         \
    X(readahead)                                                                                             \
    X(lseek)                                                                                                 \
    X(ftruncate)                                                                                             \
    X(truncate)                                                                                              \
    X(fallocate)                                                                                             \
    X(posix_fallocate)                                                                                       \
    X(copy_file_range)                                                                                       \
    X(sendfile)                                                                                              \
    X(splice)                                                                                                \
    X(open)                                                                                                  \
    X(openat)                                                                                                \
    X(creat)                                                                                                 \
    X(open_by_handle_at)                                                                                     \
    X(dup)                                                                                                   \
    X(dup2)                                                                                                  \
    X(dup3)                                                                                                  \
    X(fcntl)                                                                                                 \
    X(close)                                                                                                 \
    X(close_range)                                                                                           \
    X(fopen)                                                                                                 \
    X(freopen)                                                                                               \
    X(fdopen)                                                                                                \
    X(posix_spawn)                                                                                           \
    X(posix_spawnp)                                                                                          \
    X(system)                                                                                                \
    X(popen)                                                                                                 \
    X(execve)                                                                                                \
    X(execv)                                                                                                 \
    X(execvp)                                                                                                \
    X(execvpe)                                                                                               \
    X(fexecve)                                                                                               \
    X(execveat)                                                                                              \
    X(_exit)                                                                                                 \
    X(quick_exit)                                                                                            \
    X(fstat)                                                                                                 \
    X(stat)                                                                                                  \
    X(lstat)                                                                                                 \
    X(fstatat)                                                                                               \
    X(statx)                                                                                                 \
    X(flock)                                                                                                 \
    X(lockf)                                                                                                 \
    X(pthread_mutex_lock)                                                                                    \
    X(pthread_mutex_trylock)                                                                                 \
    X(pthread_mutex_timedlock)                                                                               \
    X(pthread_mutex_clocklock)                                                                               \
    X(pthread_mutex_unlock)                                                                                  \
    X(pthread_rwlock_rdlock)                                                                                 \
    X(pthread_rwlock_wrlock)                                                                                 \
    X(pthread_rwlock_tryrdlock)                                                                              \
    X(pthread_rwlock_trywrlock)                                                                              \
    X(pthread_rwlock_timedrdlock)                                                                            \
    X(pthread_rwlock_timedwrlock)                                                                            \
    X(pthread_rwlock_clockrdlock)                                                                            \
    X(pthread_rwlock_clockwrlock)                                                                            \
    X(pthread_rwlock_unlock)                                                                                 \
    X(pthread_cond_wait)                                                                                     \
    X(pthread_cond_timedwait)                                                                                \
    X(pthread_cond_clockwait)                                                                                \
    X(pthread_barrier_wait)                                                                                  \
    X(sem_wait)                                                                                              \
    X(sem_trywait)                                                                                           \
    X(sem_timedwait)                                                                                         \
    X(sem_clockwait)                                                                                         \
    X(sem_post)                                                                                              \
    X(semop)                                                                                                 \
    X(semtimedop)                                                                                            \
    X(setgroups)                                                                                             \
    X(initgroups)

struct shim_real {
#define X(name) __typeof__(&name) name;
    SHIM_REAL_LIST(X)
#undef X
};

/*
 * Looks all of them up at the first call, which is the constructor's,
 * or that of a library that is initialised before the shim.
 */
const struct shim_real *shim_real(void);

#endif
