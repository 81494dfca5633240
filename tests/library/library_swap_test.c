/*
 * library_swap_test.c: the library's swap space: private and anonymous mappings several times the limit,
 * written by threads, against what each page was given; with and without the compressed tier; and each option
 * that cannot be had.
 */
#include "support/require.h"
#include <faultline/faultline.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define PAGE    4096ul
#define LIMIT   (8ul << 20)
#define NPAGES  (4 * LIMIT / PAGE) /* of each of the two mappings */
#define THREADS 4
#define STEPS   4000 /* of each thread */

static char dir[] = "library_swap_test.XXXXXX";

/* ---- pages that are written by threads ----------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    unsigned seed;
    size_t number;
};

static unsigned char *mapping[2];            /* of a file, privately; anonymous */
static uint32_t given[2][NPAGES];            /* what was written to each page last; 0: nothing */
static const char text[] = "a line of text"; /* a third of the pages compress */

/* Page i of the file begins with i. */
static uint32_t original(unsigned which, size_t page)
{
    return which == 0 ? (uint32_t)page : 0;
}

static void page_write(unsigned char *page, uint32_t value, unsigned *seed)
{
    for (size_t i = sizeof value; i < PAGE - 16; i += 16)
        if (value % 3 == 0)
            memcpy(page + i, text, sizeof text);
        else if (value % 3 == 1)
            for (size_t j = 0; j < 16; j += sizeof(int))
                memcpy(page + i + j, &(int){rand_r(seed)}, sizeof(int));
        else
            memset(page + i, 0, 16);
    memcpy(page, &value, sizeof value);
    memcpy(page + PAGE - sizeof value, &value, sizeof value);
}

static void page_check(unsigned which, size_t page)
{
    uint32_t begin, end, want = given[which][page];
    memcpy(&begin, mapping[which] + page * PAGE, sizeof begin);
    memcpy(&end, mapping[which] + page * PAGE + PAGE - sizeof end, sizeof end);
    require(begin == (want != 0 ? want : original(which, page)) && end == want, "the page's bytes");
    if (want % 3 == 0 && want != 0)
        require(memcmp(mapping[which] + page * PAGE + 2004, text, sizeof text) == 0, "the page's text");
}

/* Thread i has every fourth page. */
static void *work(void *arg)
{
    struct worker *w = arg;
    for (uint32_t i = 0; i < STEPS; i++) {
        unsigned which = (unsigned)rand_r(&w->seed) % 2;
        size_t page = (size_t)rand_r(&w->seed) % (NPAGES / THREADS) * THREADS + w->number;
        page_check(which, page);
        if (rand_r(&w->seed) % 3 == 0)
            continue;
        given[which][page] = (i + 1) * THREADS + (uint32_t)w->number;
        page_write(mapping[which] + page * PAGE, given[which][page], &w->seed);
    }
    return NULL;
}

static void run_workers(void)
{
    struct worker worker[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        worker[i] = (struct worker){.number = i, .seed = (unsigned)i + 1};
        assert_int_equal(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(worker[i].thread, NULL);
    for (unsigned which = 0; which < 2; which++)
        for (size_t page = 0; page < NPAGES; page++)
            page_check(which, page);
}

/* ---- the library --------------------------------------------------------------------------------------- */

static int file_make(void)
{
    static unsigned char page[PAGE];
    int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (uint32_t i = 0; i < NPAGES; i++) {
        memcpy(page, &i, sizeof i);
        assert_int_equal(write(fd, page, PAGE), PAGE);
    }
    return fd;
}

static void map_both(int fd)
{
    struct fl_file *file;
    void *addr = NULL;
    assert_int_equal(fl_open_fd(fd, &file), 0);
    assert_int_equal(fl_mmap(&addr, NPAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0), 0);
    assert_int_equal(fl_close(file), 0);
    mapping[0] = addr;
    addr = NULL;
    assert_int_equal(
        fl_mmap(&addr, NPAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0), 0);
    mapping[1] = addr;
    memset(given, 0, sizeof given);
}

static struct fl_stats now(void)
{
    struct fl_stats stats;
    fl_stats(&stats);
    return stats;
}

static uint32_t names_in(const char *path)
{
    uint32_t n = 0;
    DIR *names = opendir(path);
    assert_non_null(names);
    for (struct dirent *name = readdir(names); name != NULL; name = readdir(names))
        n += name->d_name[0] != '.' || strstr(name->d_name, "swap") != NULL;
    closedir(names);
    return n;
}

static void mappings_exceed_the_limit(const struct fl_options *options)
{
    int fd = file_make();
    int error = fl_init(options);
    if (error != 0)
        fprintf(stderr, "fl_init: %d: %s\n", error, fl_init_error());
    assert_int_equal(error, 0);
    assert_string_equal(fl_init_error(), "");
    assert_int_equal(names_in(dir), 0);
    uint64_t taken = now().vm.taken;
    assert_true((taken > 0) == (options->compress_percent != 0));
    map_both(fd);
    run_workers();
    assert_true(now().vm.write_backs > NPAGES / 8 && now().vm.io_errors == 0);
    assert_true(now().peak_resident_bytes <= LIMIT);
    for (unsigned which = 0; which < 2; which++)
        assert_int_equal(fl_munmap(mapping[which], NPAGES * PAGE), 0);
    assert_int_equal(now().vm.swap_free, now().vm.swap_pages);
    assert_int_equal(now().vm.taken, taken); /* what was compressed is gone with its pages */
    assert_int_equal(fl_shutdown(), 0);
    close(fd);
}

static void to_an_unnamed_file(void **state)
{
    (void)state;
    struct fl_options options = {.memory_limit_bytes = LIMIT};
    mappings_exceed_the_limit(&options);
}

static void to_a_directory(void **state)
{
    (void)state;
    struct fl_options options = {
        .memory_limit_bytes = LIMIT, .swap_path = dir, .swap_max_bytes = 2 * NPAGES * PAGE - 5};
    mappings_exceed_the_limit(&options);
}

static void to_a_named_file(void **state)
{
    (void)state;
    char name[64];
    snprintf(name, sizeof name, "%s/swap", dir);
    struct fl_options options = {.memory_limit_bytes = LIMIT, .swap_path = name, .fault = FL_FAULT_SIGNAL};
    mappings_exceed_the_limit(&options);
}

static void through_the_compressed_tier(void **state)
{
    (void)state;
    struct fl_options options = {.memory_limit_bytes = LIMIT, .compress_percent = 75};
    mappings_exceed_the_limit(&options);
    options.compress_percent = 10;
    mappings_exceed_the_limit(&options);
}

/* ---- what cannot be had -------------------------------------------------------------------------------- */

static void cannot(struct fl_options options, int error, const char *word)
{
    if (options.memory_limit_bytes == 0)
        options.memory_limit_bytes = LIMIT;
    assert_int_equal(fl_init(&options), error);
    if (strstr(fl_init_error(), word) == NULL)
        fail_msg("'%s' does not say '%s'", fl_init_error(), word);
}

static void errors_say_what_to_change(void **state)
{
    (void)state;
    cannot((struct fl_options){.swap_path = "/nonexistent/swap"}, -ENOENT, "/nonexistent/swap");
    cannot((struct fl_options){.swap_path = "/proc/version"}, -EEXIST, "name a new file");
    cannot((struct fl_options){.swap_max_bytes = FL_SWAP_MAX + 1}, -EINVAL, "at most 8796093022208");
    cannot((struct fl_options){.compress_percent = 91}, -EINVAL, "at most 90");
    cannot((struct fl_options){.compress_percent = 5, .swap_max_bytes = FL_SWAP_NONE}, -EINVAL,
           "without swap");
    cannot((struct fl_options){.compress_percent = 1, .memory_limit_bytes = FL_MEMORY_MIN}, -EINVAL,
           "raise the memory limit");
    struct fl_options right = {.memory_limit_bytes = LIMIT};
    assert_int_equal(fl_init(&right), 0); /* and nothing of all that is left */
    assert_string_equal(fl_init_error(), "");
    assert_int_equal(fl_shutdown(), 0);
}

static void the_default_is_done_without(void **state)
{
    (void)state;
    struct fl_options options = {.memory_limit_bytes = LIMIT};
    char *before = getenv("TMPDIR");
    before = before != NULL ? strdup(before) : NULL;
    assert_int_equal(setenv("TMPDIR", "/nonexistent", 1), 0);
    assert_int_equal(fl_init(&options), 0);
    assert_non_null(strstr(fl_init_error(), "/nonexistent"));
    assert_int_equal(now().vm.swap_pages, 0);
    assert_int_equal(fl_shutdown(), 0);
    options.swap_max_bytes = LIMIT;
    assert_int_equal(fl_init(&options), -ENOENT);
    assert_int_equal(before != NULL ? setenv("TMPDIR", before, 1) : unsetenv("TMPDIR"), 0);
    free(before);
}

/* Writes more than memory and swap hold; what is said goes to said. Returns the wait status. */
static int overflow(const struct fl_options *options, char *said, size_t size)
{
    int status, fd = file_make(), error[2];
    assert_int_equal(pipe(error), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(error[1], 2);
        signal(SIGABRT, SIG_DFL);
        if (fl_init(options) != 0)
            _exit(99);
        map_both(fd);
        for (size_t page = 0; page < NPAGES; page++)
            memset(mapping[0] + page * PAGE, 1 + (int)page % 255, PAGE);
        _exit(0);
    }
    close(error[1]);
    close(fd);
    ssize_t n = read(error[0], said, size - 1);
    said[n > 0 ? n : 0] = '\0';
    close(error[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void what_is_full_is_said(void **state)
{
    (void)state;
    char said[512];
    struct fl_options options = {.memory_limit_bytes = LIMIT, .swap_max_bytes = LIMIT};
    int status = overflow(&options, said, sizeof said);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_string_equal(said,
                        "faultline: out of memory: 8388608 bytes of memory and 8388608 bytes of swap are "
                        "full: raise swap_max_bytes or memory_limit_bytes\n");
    options.swap_max_bytes = FL_SWAP_NONE;
    status = overflow(&options, said, sizeof said);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(said, "nowhere else to go"));
    options.swap_max_bytes = 4 * LIMIT;
    status = overflow(&options, said, sizeof said);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_string_equal(said, "");
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* first: the children start without a VM */
        cmocka_unit_test(what_is_full_is_said),
        cmocka_unit_test(to_an_unnamed_file),
        cmocka_unit_test(to_a_directory),
        cmocka_unit_test(to_a_named_file),
        cmocka_unit_test(through_the_compressed_tier),
        cmocka_unit_test(errors_say_what_to_change),
        cmocka_unit_test(the_default_is_done_without),
    };
    return cmocka_run_group_tests_name("library swap", tests, setup, teardown);
}
