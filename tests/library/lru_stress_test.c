/*
 * lru_stress_test.c: threads that move pages between the queues in every way at once:
 * faults, reads and writes by call, locking, advice, and page-out under a limit a
 * quarter of the file; each knows its own bytes. Built with ThreadSanitizer, it shows
 * whether the locks and barriers of the batches of queue operations suffice.
 */
#include "support/require.h"
#include <faultline/faultline.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE     4096ul
#define LIMIT    (4ul << 20)
#define NPAGES   (4 * LIMIT / PAGE)
#define NTHREADS 4
#define STEPS    6000
#define OWN      64 /* anonymous pages of each thread */

#ifndef MADV_COLD
#define MADV_COLD 20
#endif

struct worker {
    pthread_t thread;
    struct fl_file *file;
    unsigned char *shared, *own;
    unsigned number, seed;
    unsigned char byte[NPAGES];  /* this thread's byte of each page of the file */
    unsigned char own_byte[OWN]; /* the first byte of each of its own pages … */
    bool own_free[OWN];          /* … which may be 0 instead */
};

static unsigned below(struct worker *w, unsigned n)
{
    return (unsigned)rand_r(&w->seed) % n;
}

/* Accesses the file through the mapping, or by a call. */
static void touch_file(struct worker *w)
{
    unsigned page = below(w, NPAGES);
    size_t offset = page * PAGE + w->number * 700;
    unsigned char byte;
    if (below(w, 2) != 0)
        byte = w->shared[offset];
    else
        require(fl_pread(w->file, &byte, 1, offset, 0) == 1, "fl_pread");
    require(byte == w->byte[page], "a byte of the file is lost");
    if (below(w, 3) != 0)
        return;
    byte = w->byte[page] = (unsigned char)below(w, 256);
    if (below(w, 2) != 0)
        w->shared[offset] = byte;
    else
        require(fl_pwrite(w->file, &byte, 1, offset, 0) == 1, "fl_pwrite");
}

static void touch_own(struct worker *w)
{
    unsigned page = below(w, OWN);
    unsigned char *at = w->own + page * PAGE;
    require(*at == w->own_byte[page] || (w->own_free[page] && *at == 0), "a private byte is lost");
    if (below(w, 2) != 0) {
        *at = w->own_byte[page] = (unsigned char)(1 + below(w, 255));
        w->own_free[page] = false;
    } else if (below(w, 4) == 0) {
        require(fl_madvise(at, PAGE, MADV_FREE) == 0, "MADV_FREE");
        w->own_free[page] = true;
    }
}

/* Advice on pages that another thread locks at that moment fails with -EINVAL, as under Linux. */
static void advise(struct worker *w)
{
    static const int advice[] = {MADV_COLD, MADV_DONTNEED, MADV_WILLNEED, MADV_NORMAL};
    unsigned first = below(w, NPAGES - 40), npages = 1 + below(w, 40), which = below(w, 4);
    int error = fl_madvise(w->shared + first * PAGE, npages * PAGE, advice[which]);
    require(error == 0 || (error == -EINVAL && which < 2), "fl_madvise");
}

/* Other threads may lock and unlock the same pages: the last call decides. */
static void lock_some(struct worker *w)
{
    unsigned char *at = w->shared + below(w, NPAGES - 4) * PAGE;
    if (fl_mlock(at, 4 * PAGE) == 0)
        (void)!fl_munlock(at, 4 * PAGE);
}

static void scan(struct worker *w)
{
    unsigned first = below(w, NPAGES - 200);
    for (unsigned page = first; page < first + 200; page++)
        require(w->shared[page * PAGE + w->number * 700] == w->byte[page], "a scanned byte is lost");
}

static void *work(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned what = below(w, 100);
        if (what < 60)
            touch_file(w);
        else if (what < 90)
            touch_own(w);
        else if (what < 96)
            advise(w);
        else if (what < 99)
            lock_some(w);
        else
            scan(w);
    }
    return NULL;
}

static void pages_move_and_nothing_is_lost(void **state)
{
    (void)state;
    static struct worker worker[NTHREADS];
    struct fl_options options = {.memory_limit_bytes = LIMIT};
    struct fl_file *file;
    struct fl_stats stats;
    void *shared = NULL;
    unsigned seed =
        getenv("FAULTLINE_SEED") != NULL ? (unsigned)atoi(getenv("FAULTLINE_SEED")) : (unsigned)time(NULL);
    printf("seed %u\n", seed);
    int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(NPAGES * PAGE)), 0);
    assert_int_equal(fl_init(&options), 0);
    assert_int_equal(fl_open_fd(fd, &file), 0);
    assert_int_equal(fl_mmap(&shared, NPAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), 0);
    for (unsigned i = 0; i < NTHREADS; i++) {
        void *own = NULL;
        assert_int_equal(
            fl_mmap(&own, OWN * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0), 0);
        worker[i].file = file;
        worker[i].shared = shared;
        worker[i].own = own;
        worker[i].number = i;
        worker[i].seed = seed + i;
        assert_int_equal(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
    }
    for (unsigned i = 0; i < NTHREADS; i++)
        pthread_join(worker[i].thread, NULL);
    fl_stats(&stats);
    assert_true(stats.vm.evictions > NPAGES / 4 && stats.vm.reactivations > 0);
    assert_true(stats.peak_resident_bytes <= stats.memory_limit_bytes);
    assert_int_equal(fl_close(file), 0);
    assert_int_equal(fl_shutdown(), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pages_move_and_nothing_is_lost)};
    return cmocka_run_group_tests_name("lru_stress", tests, NULL, NULL);
}
