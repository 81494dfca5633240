/*
 * pin_stress_test.c: threads pin and unpin memory while another punches, truncates, unmaps and remaps it: the
 * last reference frees the frame, without a lock. Built with ThreadSanitizer, it shows whether one atomic
 * word is enough for that. If a page is missing in the end, fl_shutdown panics.
 */
#include "support/require.h"
#include <faultline/faultline.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE     4096ul
#define LIMIT    (4ul << 20)
#define NPAGES   32u
#define NPINNERS 3
#define STEPS    3000

static struct fl_file *file;
static void *shared, *own;
static atomic_bool over;

static void *pinner(void *arg)
{
    unsigned seed = *(unsigned *)arg;
    struct fl_hold pin;
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned first = (unsigned)rand_r(&seed) % NPAGES, n = 1 + (unsigned)rand_r(&seed) % 4;
        char *base = rand_r(&seed) % 2 ? shared : own;
        n = n < NPAGES - first ? n : NPAGES - first;
        int error = fl_pin(base + first * PAGE, n * PAGE, rand_r(&seed) % 2 ? PROT_READ : PROT_WRITE, &pin);
        require(error == 0 || error == -EFAULT || error == -ENXIO || error == -EAGAIN, "fl_pin");
        if (rand_r(&seed) % 8 == 0)
            usleep(50);
        fl_unpin(&pin);
    }
    return NULL;
}

static void meddle(unsigned *seed)
{
    unsigned first = (unsigned)rand_r(seed) % NPAGES;
    char *at = (char *)shared + first * PAGE;
    switch (rand_r(seed) % 6) {
    case 0:
        require(fl_punch(file, first * PAGE, 5 * PAGE) == 0, "fl_punch");
        break;
    case 1:
        require(fl_truncate(file, first * PAGE) == 0 && fl_truncate(file, NPAGES * PAGE) == 0, "fl_truncate");
        break;
    case 2:
        require(fl_msync(shared, NPAGES * PAGE, MS_SYNC) == 0, "fl_msync");
        break;
    case 3:
        require(fl_madvise((char *)own + first * PAGE, PAGE, MADV_DONTNEED) == 0, "MADV_DONTNEED");
        break;
    case 4: {
        void *again = own;
        require(fl_munmap(own, NPAGES * PAGE) == 0 &&
                    fl_mmap(&again, NPAGES * PAGE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0) == 0,
                "mapped anew");
        break;
    }
    default:
        require(fl_mprotect(at, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) == 0 &&
                    fl_mprotect(at, PAGE, PROT_READ | PROT_WRITE) == 0,
                "fl_mprotect");
        break;
    }
}

static void *meddler(void *arg)
{
    unsigned seed = 99;
    (void)arg;
    while (!over)
        meddle(&seed);
    return NULL;
}

static void pins_and_ends_meet(void **state)
{
    (void)state;
    char path[] = "pin-stress-XXXXXX";
    struct fl_options options = {.memory_limit_bytes = LIMIT};
    pthread_t thread[NPINNERS], other;
    unsigned seed[NPINNERS];
    int fd = mkstemp(path);
    assert_true(fd >= 0 && ftruncate(fd, NPAGES * PAGE) == 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fl_init(&options), 0);
    assert_int_equal(fl_open_fd(fd, &file), 0);
    assert_int_equal(fl_mmap(&shared, NPAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), 0);
    assert_int_equal(
        fl_mmap(&own, NPAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0), 0);
    assert_int_equal(pthread_create(&other, NULL, meddler, NULL), 0);
    for (unsigned i = 0; i < NPINNERS; i++) {
        seed[i] = i + 1;
        assert_int_equal(pthread_create(&thread[i], NULL, pinner, &seed[i]), 0);
    }
    for (unsigned i = 0; i < NPINNERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    over = true;
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(fl_munmap(shared, NPAGES * PAGE), 0);
    assert_int_equal(fl_munmap(own, NPAGES * PAGE), 0);
    assert_int_equal(fl_close(file), 0);
    assert_int_equal(fl_shutdown(), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pins_and_ends_meet)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
