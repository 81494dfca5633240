/*
 * library_prefetch_test.c: fl_prefetch on real files: the bytes are right whatever ranges are given, also
 * when the array of ranges lies in managed memory, and many pages come without a read of their own.
 */
#include "support/numbered_file.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE   ((size_t)4096)
#define NPAGES ((size_t)4096)
#define BATCH  32

static char path[] = "/tmp/faultline-prefetch-XXXXXX";
static struct fl_file *file;
static char *view;

static int setup(void **state)
{
    (void)state;
    return numbered_file_make(path, NPAGES);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void begin(void)
{
    struct fl_options options = {.memory_limit_bytes = (size_t)4 << 20};
    view = NULL;
    assert_int_equal(fl_init(&options), 0);
    assert_int_equal(fl_open(path, O_RDWR, &file), 0);
    assert_int_equal(fl_mmap((void **)&view, NPAGES * PAGE, PROT_READ, MAP_SHARED, file, 0), 0);
}

static void end(void)
{
    assert_int_equal(fl_close(file), 0);
    assert_int_equal(fl_shutdown(), 0);
}

static void touch(size_t page)
{
    size_t word = page * 31 % (PAGE / 8);
    assert_int_equal(((volatile uint64_t *)(view + page * PAGE))[word], numbered_word(page, word));
}

static void scattered_pages_come_together(void **state)
{
    (void)state;
    begin();
    assert_int_equal(fl_madvise(view, NPAGES * PAGE, MADV_RANDOM), 0);
    unsigned seed = 3;
    for (int round = 0; round < 200; round++) { /* six times what memory holds */
        struct fl_iovec range[BATCH];
        size_t page[BATCH];
        for (int i = 0; i < BATCH; i++) {
            page[i] = (size_t)rand_r(&seed) % NPAGES;
            range[i] = (struct fl_iovec){view + page[i] * PAGE + (size_t)rand_r(&seed) % PAGE, 1};
        }
        assert_int_equal(fl_prefetch(range, BATCH), 0);
        for (int i = 0; i < BATCH; i++)
            touch(page[i]);
    }
    struct fl_stats stats;
    fl_stats(&stats);
    assert_true(stats.vm.page_ins > 4000);
    assert_true(stats.vm.page_ins - stats.vm.readahead < 200); /* page-ins by faults */
    assert_true(stats.peak_resident_bytes <= (size_t)4 << 20);
    end();
}

/* A thousand ranges, far apart; the array of ranges lies in pages that are faulted in as it is read. */
static void ranges_may_lie_in_managed_memory(void **state)
{
    (void)state;
    struct fl_iovec *range = NULL;
    begin();
    assert_int_equal(fl_mmap((void **)&range, 1000 * sizeof(*range), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0),
                     0);
    for (size_t i = 0; i < 1000; i++)
        range[i] = (struct fl_iovec){view + i * 4 * PAGE, PAGE};
    assert_int_equal(fl_prefetch(range, 1000), 0);
    for (size_t i = 0; i < 1000; i++)
        touch(i * 4);
    range[999].len_bytes = SIZE_MAX;
    assert_int_equal(fl_prefetch(range, 1000), -EINVAL);
    assert_int_equal(fl_prefetch(range, 0), 0);
    end();
}

static void willneed_reads_a_stretch(void **state)
{
    (void)state;
    begin();
    struct fl_stats before, after;
    assert_int_equal(fl_madvise(view + 100 * PAGE, 40 * PAGE, MADV_WILLNEED), 0);
    fl_stats(&before);
    for (size_t i = 100; i < 140; i++)
        touch(i);
    fl_stats(&after);
    assert_int_equal(after.vm.page_ins - after.vm.readahead, before.vm.page_ins - before.vm.readahead);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scattered_pages_come_together),
        cmocka_unit_test(ranges_may_lie_in_managed_memory),
        cmocka_unit_test(willneed_reads_a_stretch),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
