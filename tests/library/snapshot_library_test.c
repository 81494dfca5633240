/*
 * snapshot_library_test.c: fl_snapshot beside a thread that stores: what is saved from a snapshot is what the
 * memory was at the call, of a file that is mapped shared or private, and of memory without a file, under a
 * limit of which the copies take a part.
 */
#include "support/numbered_file.h"
#include "support/require.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE   4096ul
#define NPAGES 1024ul /* of each memory */
#define LIMIT  (24ul << 20)
#define ROUNDS 12

/*
 * A memory whose pages each have one word that the thread changes: of word[i] the place varies with the page.
 */
struct memory {
    uint64_t *at;
    uint64_t word[NPAGES]; /* what is there */
    struct fl_file *file;  /* also changed by fl_pwrite; or NULL */
};

static struct worker {
    pthread_mutex_t lock; /* the snapshot's moment: no store is half done */
    struct memory memory;
    atomic_bool stop;
    unsigned seed;
    uint64_t stores;
} worker;

static char path[] = "/tmp/faultline-snapshot-XXXXXX";

static size_t place(size_t page)
{
    return page * (PAGE / 8) + page * 37 % (PAGE / 8);
}

static void *store_on(void *arg)
{
    struct worker *w = arg;
    while (!atomic_load(&w->stop)) {
        size_t page = (size_t)rand_r(&w->seed) % NPAGES;
        pthread_mutex_lock(&w->lock);
        uint64_t value = ++w->stores;
        if (w->memory.file != NULL && value % 4 == 0)
            require(fl_pwrite(w->memory.file, &value, sizeof(value), place(page) * 8, 0) == sizeof(value),
                    "fl_pwrite");
        else
            w->memory.at[place(page)] = value;
        w->memory.word[page] = value;
        pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

/* Saves the snapshot to a file, page by page, while the thread stores, and compares that with `word`. */
static void save_and_compare(const uint64_t *snapshot, const uint64_t *word)
{
    char saved[] = "/tmp/faultline-saved-XXXXXX";
    uint64_t page[PAGE / 8];
    int fd = mkstemp(saved);
    assert_true(fd >= 0);
    for (size_t i = 0; i < NPAGES; i++) {
        memcpy(page, snapshot + i * (PAGE / 8), PAGE);
        assert_int_equal(pwrite(fd, page, PAGE, (off_t)(i * PAGE)), PAGE);
    }
    for (size_t i = 0; i < NPAGES; i++) {
        assert_int_equal(pread(fd, page, PAGE, (off_t)(i * PAGE)), PAGE);
        assert_int_equal(page[place(i) - i * (PAGE / 8)], word[i]);
    }
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(saved), 0);
}

static void snapshot_round(struct worker *w)
{
    static uint64_t word[NPAGES];
    void *copy;
    pthread_mutex_lock(&w->lock);
    memcpy(word, w->memory.word, sizeof(word));
    int error = fl_snapshot(w->memory.at, NPAGES * PAGE, &copy);
    pthread_mutex_unlock(&w->lock);
    assert_int_equal(error, 0);
    save_and_compare(copy, word);
    assert_int_equal(fl_munmap(copy, NPAGES * PAGE), 0);
}

/* flags: MAP_* of the memory. */
static void run(int flags)
{
    struct fl_options options = {.memory_limit_bytes = LIMIT};
    struct fl_file *file = NULL;
    struct memory *memory = &worker.memory;
    worker = (struct worker){.lock = PTHREAD_MUTEX_INITIALIZER, .seed = 7};
    assert_int_equal(fl_init(&options), 0);
    if ((flags & MAP_ANONYMOUS) == 0)
        assert_int_equal(fl_open(path, O_RDWR, &file), 0);
    void *at = NULL;
    assert_int_equal(fl_mmap(&at, NPAGES * PAGE, PROT_READ | PROT_WRITE, flags, file, 0), 0);
    memory->at = at;
    memory->file = (flags & MAP_TYPE) == MAP_SHARED ? file : NULL;
    for (size_t i = 0; i < NPAGES; i++)
        memory->word[i] = memory->at[place(i)];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, store_on, &worker), 0);
    for (unsigned i = 0; i < ROUNDS; i++)
        snapshot_round(&worker);
    atomic_store(&worker.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (size_t i = 0; i < NPAGES; i++)
        assert_int_equal(memory->at[place(i)], memory->word[i]);
    if (file != NULL)
        assert_int_equal(fl_close(file), 0);
    assert_int_equal(fl_shutdown(), 0);
}

static void shared_file(void **state)
{
    (void)state;
    run(MAP_SHARED);
}

static void private_file(void **state)
{
    (void)state;
    run(MAP_PRIVATE);
}

static void private_memory(void **state)
{
    (void)state;
    run(MAP_PRIVATE | MAP_ANONYMOUS);
}

static void shared_memory(void **state)
{
    (void)state;
    run(MAP_SHARED | MAP_ANONYMOUS);
}

/* The copy outlives what it is a copy of, and cannot be stored to. */
static void alone(void **state)
{
    struct fl_options options = {.memory_limit_bytes = LIMIT};
    (void)state;
    void *at = NULL, *copy = NULL;
    assert_int_equal(fl_init(&options), 0);
    assert_int_equal(fl_mmap(&at, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, NULL, 0), 0);
    memset(at, 5, 3 * PAGE);
    assert_int_equal(fl_snapshot(at, 4 * PAGE, &copy), -ENOMEM); /* a gap */
    assert_int_equal(fl_snapshot((char *)at + 8, PAGE, &copy), -EINVAL);
    assert_int_equal(fl_snapshot(at, 3 * PAGE, &copy), 0);
    memset(at, 6, 3 * PAGE);
    assert_int_equal(fl_madvise(at, 3 * PAGE, MADV_REMOVE), 0);
    assert_int_equal(((unsigned char *)at)[PAGE], 0);
    assert_int_equal(fl_munmap(at, 3 * PAGE), 0);
    for (size_t i = 0; i < 3 * PAGE; i++)
        assert_int_equal(((unsigned char *)copy)[i], 5);
    assert_int_equal(fl_mprotect(copy, PAGE, PROT_READ | PROT_WRITE), -EACCES);
    assert_int_equal(fl_shutdown(), 0);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_file),   cmocka_unit_test(private_file), cmocka_unit_test(private_memory),
        cmocka_unit_test(shared_memory), cmocka_unit_test(alone),
    };
    return cmocka_run_group_tests_name("snapshot in the library", tests, setup, teardown);
}
