/*
 * lock.c: mutexes, sleeping and waking, over futexes; and the calling thread's identity.
 *
 *     machine_lock.word[0]: 0 free, 1 held, 2 held and a thread may sleep (Drepper, "Futexes are tricky")
 *     machine_lock.word[1]: the holder's thread id
 *
 *     chan ──hash──▶ channel[256]: sequence (a futex), sleepers
 *
 * The futexes are not FUTEX_PRIVATE: a lock in memory that several processes share works between them. The
 * channels are this process's own.
 */
#include "linux_syscall.h"
#include <faultline/machine.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <time.h>

#define NCHANNELS 256 /* a power of two */
#define SPINS     100 /* about as long as a short critical section */

static struct {
    _Alignas(64) uint32_t sequence; /* grows with each wake */
    uint32_t sleepers;
} channel[NCHANNELS];

static _Thread_local uint64_t self __attribute__((tls_model("initial-exec")));

static void forget_self(void)
{
    self = 0;
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, forget_self);
}

uint64_t machine_self(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (__builtin_expect(self == 0, 0)) {
        (void)pthread_once(&once, watch_forks);
        self = (uint64_t)linux_syscall(SYS_gettid);
    }
    return self;
}

static int futex_wait(uint32_t *word, uint32_t value, const struct timespec *deadline)
{
    return (int)linux_syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, deadline, NULL,
                              FUTEX_BITSET_MATCH_ANY);
}

static void futex_wake(uint32_t *word, int how_many)
{
    (void)linux_syscall(SYS_futex, word, FUTEX_WAKE, how_many);
}

static bool try_lock(struct machine_lock *lock)
{
    uint32_t unlocked = 0;

    return __atomic_compare_exchange_n(&lock->word[0], &unlocked, 1, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

static bool spin_lock(struct machine_lock *lock)
{
    for (unsigned i = 0; i < SPINS; i++) {
        if (__atomic_load_n(&lock->word[0], __ATOMIC_RELAXED) == 0 && try_lock(lock))
            return true;
        __builtin_ia32_pause();
    }
    return false;
}

/* The three functions that are the lock's implementation stay outside of the analysis. */
void machine_lock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (!try_lock(lock) && !spin_lock(lock)) {
        while (__atomic_exchange_n(&lock->word[0], 2, __ATOMIC_ACQUIRE) != 0)
            (void)futex_wait(&lock->word[0], 2, NULL); /* for whatever reason it returns, the loop goes on */
    }
    __atomic_store_n(&lock->word[1], (uint32_t)machine_self(), __ATOMIC_RELAXED);
}

bool machine_trylock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    if (!try_lock(lock))
        return false;
    __atomic_store_n(&lock->word[1], (uint32_t)machine_self(), __ATOMIC_RELAXED);
    return true;
}

void machine_unlock(struct machine_lock *lock) FL_NO_THREAD_SAFETY_ANALYSIS
{
    __atomic_store_n(&lock->word[1], 0, __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&lock->word[0], 0, __ATOMIC_RELEASE) == 2)
        futex_wake(&lock->word[0], 1);
}

bool machine_lock_held(const struct machine_lock *lock)
{
    return __atomic_load_n(&lock->word[1], __ATOMIC_RELAXED) == (uint32_t)machine_self();
}

static unsigned channel_of(const void *chan)
{
    return (unsigned)(((uint64_t)chan * 0x9e3779b97f4a7c15u) >> 56) % NCHANNELS;
}

/*
 * The sleeper counts itself and reads the sequence before it releases the lock. The waker changes what is
 * waited for, then sees the sleeper and advances the sequence. So either the waker wakes it, or the futex
 * finds another sequence and does not sleep.
 */
int machine_wait(const void *chan, struct machine_lock *lock, uint64_t deadline_ns)
{
    unsigned i = channel_of(chan);
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                                .tv_nsec = (long)(deadline_ns % 1000000000u)};

    (void)__atomic_add_fetch(&channel[i].sleepers, 1, __ATOMIC_SEQ_CST);
    uint32_t sequence = __atomic_load_n(&channel[i].sequence, __ATOMIC_SEQ_CST);
    machine_unlock(lock);
    int error = futex_wait(&channel[i].sequence, sequence, deadline_ns == UINT64_MAX ? NULL : &deadline);
    (void)__atomic_sub_fetch(&channel[i].sleepers, 1, __ATOMIC_SEQ_CST);
    machine_lock(lock);
    return error == -ETIMEDOUT ? -ETIMEDOUT : 0;
}

void machine_wake(const void *chan)
{
    unsigned i = channel_of(chan);

    /*
     * A read-modify-write and not a load: a sleeper that counts itself later must see what was changed
     * before. (A fence would do, but TSan knows none.)
     */
    if (__atomic_fetch_add(&channel[i].sleepers, 0, __ATOMIC_SEQ_CST) == 0)
        return;
    (void)__atomic_add_fetch(&channel[i].sequence, 1, __ATOMIC_SEQ_CST);
    futex_wake(&channel[i].sequence, INT_MAX);
}

uint64_t machine_time_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
