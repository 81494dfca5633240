/*
 * handed.c: handed FILE SECONDS forks|opened calls|no-calls: threads store to every mapping
 * of the file, read and write it, change its mappings and sleep on futexes in it, while it is
 * handed over to the kernel: because another process opens it, or because this process forks.
 * Each thread knows what it stored: no store may be lost, and no thread may sleep for ever.
 * no-calls: without system calls whose memory is a mapping, and without futexes. Says "ready"
 * when all have begun. Exits 0, or 1 with a line about the first thing that went wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE   4096u
#define NPAGES 1024u
#define LEN    ((size_t)NPAGES * PAGE)
#define STORES 4

static int fd;
static uint64_t *shared, *again, *private;
static bool with_calls;
static atomic_bool stop;
static atomic_int failures;
static atomic_int begun;

static void fail(const char *what, unsigned long at)
{
    if (atomic_fetch_add(&failures, 1) == 0)
        fprintf(stderr, "%s at %lu: errno %s\n", what, at, strerror(errno));
}

/* Stores to words of this thread's own in every page, through both mappings. */
static void *stores(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    static uint64_t value[STORES][NPAGES];
    unsigned seed = me;

    atomic_fetch_add(&begun, 1);
    while (!stop) {
        unsigned page = (unsigned)rand_r(&seed) % NPAGES;
        size_t at = page * (PAGE / 8) + me * 8;
        volatile uint64_t *word = &(rand_r(&seed) % 2 ? shared : again)[at];

        if (*word != value[me][page])
            fail("a store was lost", page);
        *word = ++value[me][page];
    }
    for (unsigned page = 0; page < NPAGES; page++)
        if (shared[page * (PAGE / 8) + me * 8] != value[me][page])
            fail("a store was lost in the end", page);
    return NULL;
}

static void *private_stores(void *arg)
{
    static uint64_t value[NPAGES];
    unsigned seed = 77;

    atomic_fetch_add(&begun, 1);
    while (!stop) {
        unsigned page = (unsigned)rand_r(&seed) % NPAGES;
        volatile uint64_t *word = &private[page * (PAGE / 8) + 500];

        if (*word != value[page])
            fail("a private store was lost", page);
        *word = ++value[page];
    }
    return arg;
}

/* pread, pwrite, and calls whose buffer is the mapping. */
static void *calls(void *arg)
{
    static uint64_t value[NPAGES];
    unsigned seed = 99;
    int other = memfd_create("other", 0); /* an ordinary file, which the shim does not manage */

    if (ftruncate(other, PAGE) != 0)
        fail("ftruncate", 0);

    atomic_fetch_add(&begun, 1);
    while (!stop) {
        unsigned page = (unsigned)rand_r(&seed) % NPAGES;
        uint64_t got = 0;
        off_t at = (off_t)page * PAGE + 400 * 8;

        if (pread(fd, &got, 8, at) != 8 || got != value[page])
            fail("a write was lost", page);
        value[page]++;
        if (pwrite(fd, &value[page], 8, at) != 8)
            fail("pwrite", page);
        if (with_calls && (pread(other, &shared[page * (PAGE / 8) + 450], 16, 0) != 16 ||
                           pwrite(other, &again[page * (PAGE / 8)], PAGE, 0) != PAGE))
            fail("a call with mapped memory", page);
    }
    close(other);
    return arg;
}

static void *changes(void *arg)
{
    unsigned seed = 5;

    atomic_fetch_add(&begun, 1);
    while (!stop) {
        size_t page = (unsigned)rand_r(&seed) % (NPAGES - 8);

        if (mprotect((char *)again + page * PAGE, 8 * PAGE, PROT_READ | PROT_WRITE) != 0)
            fail("mprotect", page);
        if (msync((char *)shared + page * PAGE, 8 * PAGE, MS_ASYNC) != 0)
            fail("msync", page);
        usleep(200);
    }
    return arg;
}

/* Two threads that wake each other by a word of the file. */
static void *ping(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;
    _Atomic uint32_t *turn = (_Atomic uint32_t *)&shared[480];
    const struct timespec patience = {10, 0};

    atomic_fetch_add(&begun, 1);
    while (!stop) {
        uint32_t now = *turn;

        if (now % 2 != me) {
            if (syscall(SYS_futex, turn, FUTEX_WAIT, now, &patience, NULL, 0) != 0 && errno == ETIMEDOUT &&
                !stop)
                fail("the futex was not woken", now);
            continue;
        }
        *turn = now + 1;
        syscall(SYS_futex, turn, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
    syscall(SYS_futex, turn, FUTEX_WAKE, 10, NULL, NULL, 0);
    return NULL;
}

static uint64_t sum(void)
{
    uint64_t all = 0;

    for (unsigned page = 0; page < NPAGES; page++)
        all += ((volatile uint64_t *)shared)[page * (PAGE / 8)];
    return all;
}

/* The child sees later stores of the parent's threads, because the memory is shared. */
static void fork_and_look(void)
{
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        uint64_t before = sum();

        for (int i = 0; i < 5000 && sum() == before; i++)
            usleep(1000);
        _exit(sum() == before);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        fail("the child does not share the memory", (unsigned long)status);
}

int main(int argc, char **argv)
{
    pthread_t thread[STORES + 5];
    int n = 0;

    fd = open(argv[1], O_RDWR | O_CREAT, 0600);
    if (argc < 5 || fd < 0 || ftruncate(fd, LEN) != 0)
        return 2;
    with_calls = strcmp(argv[4], "calls") == 0;
    shared = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    again = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    private = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (shared == MAP_FAILED || again == MAP_FAILED || private == MAP_FAILED)
        return 2;
    for (uintptr_t i = 0; i < STORES; i++)
        pthread_create(&thread[n++], NULL, stores, (void *)i);
    pthread_create(&thread[n++], NULL, private_stores, NULL);
    pthread_create(&thread[n++], NULL, calls, NULL);
    pthread_create(&thread[n++], NULL, changes, NULL);
    for (uintptr_t i = 0; with_calls && i < 2; i++)
        pthread_create(&thread[n++], NULL, ping, (void *)i);
    while (begun < n)
        usleep(1000);
    puts("ready");
    fflush(stdout);
    usleep((useconds_t)(atof(argv[2]) * 5e5));
    if (strcmp(argv[3], "forks") == 0)
        fork_and_look();
    usleep((useconds_t)(atof(argv[2]) * 5e5));
    stop = true;
    while (n > 0)
        pthread_join(thread[--n], NULL);
    return failures != 0;
}
