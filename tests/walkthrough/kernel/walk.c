/*
 * walk.c: the program behind the recordings from bare metal: the only one on its disk, as init. Each scenario
 * prepares something, and has one step of it recorded (record.h).
 *
 *   walk ─▶ scenario … ─▶ the end of init, which switches the computer off: status 0
 *
 * The file that is mapped is /file: 256 pages, of which nothing was read yet.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "walkthrough/kernel/record.h"

#define PAGE    4096
#define FAULTS  "freebsd11-page-fault freebsd21-page-fault"
#define FAULT_2 "freebsd21-page-fault"
#define MMAP    "freebsd11-mmap linux-mmap"

static int file;

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

static void record(const char *pages, const char *scenario)
{
    must(syscall(RECORD_START, pages, scenario) == 0, "the recording does not begin");
}

static void record_end(void)
{
    must(syscall(RECORD_STOP) == 0, "the recording is too long");
}

static volatile char *map(int prot, int flags, int fd, size_t npages, off_t first_page)
{
    void *at = mmap(NULL, npages * PAGE, prot, flags, fd, first_page * PAGE);

    must(at != MAP_FAILED, "mmap");
    return at;
}

static volatile char *map_anonymous(size_t npages)
{
    return map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, npages, 0);
}

/* ---- anonymous memory ------------------------------------------------------------------------------ */

static void scenario_zero_fill(void)
{
    volatile char *at = map_anonymous(600);

    record(FAULTS, "a store to anonymous memory: zero fill");
    at[0] = 1;
    record_end();
}

/* The child has the same page, and is stopped, so that nothing but the store is recorded. */
static void scenario_copy_on_write(void)
{
    volatile char *at = map_anonymous(16);
    int status;

    at[0] = 1;
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        raise(SIGSTOP);
        _exit(EXIT_SUCCESS);
    }
    must(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status), "the child does not stop");
    record(FAULTS, "a store to a page that a child has, too: it is copied");
    at[0] = 2;
    record_end();
    must(kill(child, SIGCONT) == 0 && waitpid(child, &status, 0) == child && status == 0, "the child");
}

static void scenario_stack(void)
{
    volatile char *page = (char *)((uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)(PAGE - 1));

    record(FAULT_2, "a store just below the stack: it grows");
    page[-64 * PAGE] = 1;
    record_end();
}

/* ---- files ----------------------------------------------------------------------------------------- */

/* Reads of single pages, none of them twice: the disk makes IOPS of them in a second
 * (tools/walkthrough/recording.py), so whatever is read next waits for its turn, and its reader sleeps. */
static void disk_keep_busy(void)
{
    static off_t next = 192;
    volatile char *at = map(PROT_READ, MAP_SHARED, file, 16, next);

    must(madvise((void *)at, 16 * PAGE, MADV_RANDOM) == 0, "madvise");
    for (size_t i = 0; i < 16; i += 4)
        (void)at[i * PAGE];
    next += 16;
}

/* The first misses that fit no stream read one page each: a stride could begin there. */
static volatile char *map_unread(off_t first_page)
{
    volatile char *at = map(PROT_READ, MAP_SHARED, file, 64, first_page);

    (void)at[50 * PAGE];
    (void)at[5 * PAGE];
    (void)at[37 * PAGE];
    disk_keep_busy();
    return at;
}

static void scenario_read(void)
{
    volatile char *at = map_unread(0);

    record(FAULTS,
           "a load from a file's page that is not resident: the disk reads it, and the thread sleeps");
    (void)at[20 * PAGE];
    record_end();
}

static volatile bool ready, go, gone;

/* A thread that is ready all the time, and gets the CPU when the other one sleeps. */
static void *touch(void *at)
{
    ready = true;
    while (!go)
        sched_yield();
    (void)*(volatile char *)at;
    gone = true;
    return NULL;
}

static void scenario_busy(void)
{
    volatile char *at = map_unread(64);
    pthread_t other;

    must(pthread_create(&other, NULL, touch, (void *)(at + 20 * PAGE)) == 0, "pthread_create");
    while (!ready)
        sched_yield();
    record(FAULT_2, "the same, and a second thread wants the page: it is busy");
    go = true;
    (void)at[20 * PAGE];
    while (!gone)
        sched_yield();
    record_end();
    pthread_join(other, NULL);
}

static void scenario_private_write(void)
{
    volatile char *at = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 8, 20);

    (void)at[0];
    record(FAULTS, "the first store to a private mapping: a shadow object, and a copy");
    at[0] = 1;
    record_end();
}

static void scenario_mmap(void)
{
    record(MMAP, "mmap of a file that nothing maps yet");
    (void)map(PROT_READ, MAP_SHARED, file, 64, 0);
    record_end();
}

static void scenario_mmap_resident(void)
{
    record(MMAP, "mmap of a file of which pages are resident");
    (void)map(PROT_READ, MAP_SHARED, file, 64, 0);
    record_end();
}

int main(void)
{
    file = open("/file", O_RDONLY);
    must(file >= 0, "/file");
    scenario_mmap();
    scenario_zero_fill();
    scenario_copy_on_write();
    scenario_stack();
    scenario_read();
    scenario_busy();
    scenario_private_write();
    scenario_mmap_resident();
    return 0;
}
