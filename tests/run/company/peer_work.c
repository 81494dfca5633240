/*
 * peer_work.c: the peer's commands that take many steps by themselves: count under a lock, watch for bytes,
 * map from several threads at once.
 */
#include "peer.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/*
 * count M AT N KIND OBJECT AT: N times: takes the lock, adds 1 to the eight bytes, and releases it. Now and
 * then it sleeps a little, with the lock and without, so that the others come in between.
 */
long peer_count(char **arg, char *more)
{
    volatile uint64_t *counter = (void *)(peer_map(arg[1])->at + strtoul(arg[2], NULL, 0));
    unsigned long turns = strtoul(arg[3], NULL, 0);
    char *lock[] = {arg[0], arg[4], arg[5], arg[6]};
    struct timespec pause = {.tv_nsec = 20000};

    for (unsigned long i = 0; i < turns; i++) {
        long r = peer_lock_take(lock);
        uint64_t before = *counter;

        if (i % 16 == 0)
            nanosleep(&pause, NULL);
        *counter = before + 1;
        r = r != 0 ? r : peer_lock_drop(lock);
        if (r != 0)
            return r;
        if (i % 16 == 8)
            nanosleep(&pause, NULL);
    }
    sprintf(more, "%lu", (unsigned long)*counter);
    return 0;
}

static long milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * watch HOW OBJECT AT BYTES MS: polls, by loads from a mapping or pread of a file, until the bytes are there;
 * the answer is the milliseconds that it took. ETIMEDOUT after MS milliseconds, but no sooner than after MS /
 * 5 looks: on a busy machine the other process runs as rarely as this one.
 */
long peer_watch(char **arg, char *more)
{
    static unsigned char expected[4096], found[4096];
    size_t len = peer_unhex(arg[4], expected);
    off_t at = (off_t)strtoull(arg[3], NULL, 0);
    long most = strtol(arg[5], NULL, 0), start = milliseconds();
    struct timespec pause = {.tv_nsec = 3000000};

    for (long looks = 0; looks <= most / 5 || milliseconds() - start <= most; looks++) {
        long r = strcmp(arg[1], "load") == 0 ? peer_load(peer_map(arg[2])->at + at, found, len)
                                             : pread(peer_fd(arg[2]), found, len, at);

        if (r >= 0 && memcmp(expected, found, len) == 0)
            return milliseconds() - start;
        nanosleep(&pause, NULL);
    }
    peer_hex(found, len, more);
    return -ETIMEDOUT;
}

/* ---- threads --------------------------------------------------------------------------------------- */

struct mapper {
    pthread_t thread;
    pthread_barrier_t *start;
    const char *path;
    size_t len_bytes;
    int flags; /* open's */
    long result;
};

static void *map_once(void *arg)
{
    struct mapper *mapper = arg;
    int writes = (mapper->flags & O_ACCMODE) == O_RDWR;
    int prot = PROT_READ | (writes ? PROT_WRITE : 0), fd;
    unsigned long sum = 0;
    unsigned char *at;

    pthread_barrier_wait(mapper->start);
    fd = open(mapper->path, mapper->flags);
    at = fd < 0 ? MAP_FAILED : mmap(NULL, mapper->len_bytes, prot, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        mapper->result = -errno;
        return NULL;
    }
    close(fd);
    for (size_t i = 0; i < mapper->len_bytes; i += 4096)
        sum += at[i];
    mapper->result = (long)sum;
    munmap(at, mapper->len_bytes);
    return NULL;
}

/*
 * threads N PATH LEN (r|rw): N threads open, map and sum the file at the same moment; all sums are the same.
 */
long peer_threads(char **arg, char *more)
{
    enum { MOST = 16 };
    struct mapper mapper[MOST];
    pthread_barrier_t start;
    int n = atoi(arg[1]) < MOST ? atoi(arg[1]) : MOST;

    (void)more;
    pthread_barrier_init(&start, NULL, (unsigned)n);
    for (int i = 0; i < n; i++) {
        mapper[i] = (struct mapper){.start = &start,
                                    .path = arg[2],
                                    .len_bytes = strtoul(arg[3], NULL, 0),
                                    .flags = strchr(arg[4], 'w') != NULL ? O_RDWR : O_RDONLY};
        if (pthread_create(&mapper[i].thread, NULL, map_once, &mapper[i]) != 0)
            return -EAGAIN;
    }
    for (int i = 0; i < n; i++)
        pthread_join(mapper[i].thread, NULL);
    for (int i = 1; i < n; i++)
        if (mapper[i].result != mapper[0].result)
            return mapper[i].result < 0 ? mapper[i].result : -EILSEQ;
    return mapper[0].result;
}
