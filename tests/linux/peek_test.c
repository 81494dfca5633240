/*
 * peek_test.c: reads of hot pages, which are copied from a view of the pool without a system call (peek.h):
 * their bytes, while the bytes change and the pages are evicted, and reads into memory that is not mapped.
 */
#include <errno.h>
#include <faultline/faultline.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE  ((size_t)4096)
#define FILE_ ((size_t)12 << 20)
#define HOT   ((size_t)3 << 20) /* more than one view covers */
#define STEP  ((size_t)64 << 10)

static char path[] = "/tmp/faultline-peek-XXXXXX";
static struct fl_file *file;
static char *buffer;

static unsigned char byte_at(size_t offset)
{
    return (unsigned char)(offset / PAGE * 7 + offset % 251);
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    buffer = aligned_alloc(PAGE, STEP);
    if (fd < 0 || buffer == NULL)
        return -1;
    for (size_t at = 0; at < FILE_; at += STEP) {
        for (size_t i = 0; i < STEP; i++)
            buffer[i] = (char)byte_at(at + i);
        if (write(fd, buffer, STEP) != (ssize_t)STEP)
            return -1;
    }
    return close(fd);
}

static int teardown(void **state)
{
    (void)state;
    free(buffer);
    return unlink(path);
}

static void begin(size_t limit)
{
    struct fl_options options = {.memory_limit_bytes = limit};
    assert_int_equal(fl_init(&options), 0);
    assert_int_equal(fl_open(path, O_RDWR, &file), 0);
}

static void end(void)
{
    assert_int_equal(fl_close(file), 0);
    assert_int_equal(fl_shutdown(), 0);
}

static void expect(const char *got, size_t offset, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++)
        assert_int_equal((unsigned char)got[i], byte_at(offset + i));
}

/* Reads [0, HOT) so often that it gets views. */
static void heat(void)
{
    for (int pass = 0; pass < 8; pass++)
        for (size_t at = 0; at < HOT; at += STEP)
            assert_int_equal(fl_pread(file, buffer, STEP, at, 0), STEP);
}

static void hot_reads_have_the_bytes(void **state)
{
    (void)state;
    begin((size_t)16 << 20);
    heat();
    for (size_t at = 0; at < HOT; at += STEP) {
        assert_int_equal(fl_pread(file, buffer, STEP, at, 0), STEP);
        expect(buffer, at, STEP);
    }
    assert_int_equal(fl_pread(file, buffer, 5000, ((size_t)2 << 20) - 3001, 0), 5000); /* across two views */
    expect(buffer, ((size_t)2 << 20) - 3001, 5000);
    end();
}

/*
 * Reads see what mappings and writes changed. Evicted pages, and pages
 * past the views, are read as any others.
 */
static void hot_reads_see_changes(void **state)
{
    (void)state;
    char back, *view = NULL;
    begin((size_t)16 << 20);
    heat();
    assert_int_equal(fl_mmap((void **)&view, FILE_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), 0);
    back = view[5 * PAGE + 1];
    view[5 * PAGE + 1] = 'm';
    assert_int_equal(fl_pread(file, buffer, STEP, 0, 0), STEP);
    assert_int_equal(buffer[5 * PAGE + 1], 'm');
    assert_int_equal(fl_pwrite(file, &back, 1, 5 * PAGE + 1, 0), 1);
    assert_int_equal(fl_pread(file, buffer, STEP, 0, 0), STEP);
    expect(buffer, 0, STEP);
    assert_int_equal(fl_madvise(view, HOT, MADV_PAGEOUT), 0);
    heat();
    expect(buffer, HOT - STEP, STEP);
    assert_int_equal(fl_munmap(view, FILE_), 0);
    end();
}

static volatile sig_atomic_t handled;

static void count_signal(int signo)
{
    handled += signo == SIGSEGV || signo == SIGBUS;
}

static void memory_that_cannot_be_reached_is_an_error(void **state)
{
    (void)state;
    char *holes = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(holes != MAP_FAILED);
    assert_int_equal(mprotect(holes + 2 * PAGE, PAGE, PROT_READ), 0);
    assert_int_equal(munmap(holes + 3 * PAGE, PAGE), 0);
    struct sigaction action = {.sa_handler = count_signal}, old_segv, old_bus;
    assert_int_equal(sigaction(SIGSEGV, &action, &old_segv), 0);
    assert_int_equal(sigaction(SIGBUS, &action, &old_bus), 0);
    begin((size_t)16 << 20);
    heat();
    /* up to the first page that is not writable */
    assert_int_equal(fl_pread(file, holes + 100, 4 * PAGE - 100, 77, 0), 2 * PAGE - 100);
    expect(holes + 100, 77, 2 * PAGE - 100);
    assert_int_equal(fl_pread(file, holes + 2 * PAGE, 100, 0, 0), -EFAULT);
    assert_int_equal(fl_pread(file, holes + 3 * PAGE, STEP, 0, 0), -EFAULT);
    assert_int_equal(fl_pread(file, NULL, STEP, 0, 0), -EFAULT);
    assert_int_equal(fl_pread(file, buffer, STEP, 0, 0), STEP); /* and later reads work */
    expect(buffer, 0, STEP);
    end();
    assert_int_equal(handled, 0);
    assert_int_equal(sigaction(SIGSEGV, &old_segv, NULL), 0);
    assert_int_equal(sigaction(SIGBUS, &old_bus, NULL), 0);
    munmap(holes, 3 * PAGE);
}

static void *read_at_random(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    char *own = aligned_alloc(PAGE, STEP);
    for (int i = 0; i < 1500 && own != NULL; i++) {
        size_t at = (size_t)rand_r(&seed) % (i % 8 == 0 ? FILE_ - STEP : HOT),
               len = (size_t)rand_r(&seed) % STEP;
        if (fl_pread(file, own, len, at, 0) != (int64_t)len)
            return "a read";
        for (size_t k = 0; k < len; k += 997)
            if ((unsigned char)own[k] != byte_at(at + k))
                return "bytes";
    }
    free(own);
    return NULL;
}

/* The limit is smaller than the file, so pages under the views are evicted. */
static void threads_read_while_pages_go(void **state)
{
    (void)state;
    pthread_t thread[4];
    begin((size_t)6 << 20);
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, read_at_random, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++) {
        void *trouble;
        pthread_join(thread[i], &trouble);
        assert_null(trouble);
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hot_reads_have_the_bytes),
        cmocka_unit_test(hot_reads_see_changes),
        cmocka_unit_test(memory_that_cannot_be_reached_is_an_error),
        cmocka_unit_test(threads_read_while_pages_go),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
