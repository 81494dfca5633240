/*
 * file_calls_test.c: fl_pread, fl_pwrite and the other calls on files, on the machine linux, on real files
 * and on the memory store, beside an array of bytes: threads that read, write, punch and map stripes of one
 * file, while one changes its length; then the kernel's view of the file. Buffers that are not mapped,
 * managed, or mappings of the file itself. A store that fails.
 */
#include "linux_machine.h"
#include "support/require.h"

#include <faultline/faultline.h>
#include <faultline/vm.h>
#include <faultline/store.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define MIB     (1ul << 20)
#define LIMIT   (1 * MIB)
#define STRIPES 3
#define STRIPE  5000ul
#define BASE    (STRIPE * STRIPES * 120 + 777) /* the stripes end here, not at a page's edge */
#define LEN_MAX (BASE + 600000)

static unsigned char model[LEN_MAX]; /* each thread changes its own bytes */
static size_t model_len;
static struct fl_file *file;
static unsigned char *view;

static void begin(size_t limit, enum fl_fault_engine engine)
{
    struct fl_options options = {.memory_limit_bytes = limit, .fault = engine};
    assert_int_equal(fl_init(&options), 0);
}

static void finish(void)
{
    struct fl_stats stats;
    fl_stats(&stats);
    assert_true(stats.peak_resident_bytes <= stats.memory_limit_bytes);
    assert_int_equal(fl_shutdown(), 0);
}

/* ---- the calls ----------------------------------------------------------------------------------------- */

static int64_t call_read(void *base, size_t len, uint64_t offset)
{
    return fl_pread(file, base, len, offset, 0);
}

static int64_t call_write(const void *base, size_t len, uint64_t offset)
{
    return fl_pwrite(file, base, len, offset, 0);
}

static int call_truncate(uint64_t len)
{
    return fl_truncate(file, len);
}

static int call_punch(uint64_t offset, uint64_t len)
{
    return fl_punch(file, offset, len);
}

static int call_fsync(void)
{
    return fl_fsync(file, 0);
}

/* As a host calls it: with signals blocked, and without holding the memory. */
static int64_t bare_read(void *base, size_t len, uint64_t offset)
{
    struct fl_iovec iov = {base, len};
    sigset_t saved;
    linux_signals_block(&saved);
    int64_t result = fl_vnode_read(file->vnode, &iov, 1, &(struct fl_iocb){.offset = offset});
    linux_signals_restore(&saved);
    return result;
}

/* ---- many threads -------------------------------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    unsigned id, seed; /* id STRIPES: the bytes from BASE on, and the length */
    int rounds;
};

static size_t below(struct worker *w, size_t n)
{
    return (((size_t)rand_r(&w->seed) << 16) ^ (size_t)rand_r(&w->seed)) % n;
}

static bool owned(const struct worker *w, size_t offset)
{
    return w->id == (offset < BASE ? offset / STRIPE % STRIPES : STRIPES);
}

static bool own_piece(struct worker *w, size_t *offset, size_t *len)
{
    size_t start = BASE, end;
    if (w->id == STRIPES) {
        end = model_len;
    } else {
        start = (below(w, 120) * STRIPES + w->id) * STRIPE;
        end = start + STRIPE;
    }
    if (start == end)
        return false;
    *offset = start + below(w, end - start);
    *len = 1 + below(w, end - *offset);
    return true;
}

static void op_read(struct worker *w, unsigned char *buf)
{
    size_t limit = w->id == STRIPES ? model_len : BASE; /* other threads would race with the length */
    size_t offset = below(w, limit);
    size_t len = 1 + below(w, 200000 < LEN_MAX - offset ? 200000 : LEN_MAX - offset);
    int64_t got = call_read(buf, len, offset);
    require(got > 0, "a read failed");
    if (w->id == STRIPES)
        require((size_t)got == (offset + len < model_len ? len : model_len - offset),
                "a read ends at the wrong place");
    else if (offset + len <= BASE)
        require((size_t)got == len, "a read was short");
    for (size_t i = 0; i < (size_t)got; i++)
        require(!owned(w, offset + i) || buf[i] == model[offset + i], "a read shows other bytes");
}

static void op_write(struct worker *w, unsigned char *buf)
{
    size_t offset, len;
    if (w->id == STRIPES && (model_len == BASE || below(w, 3) == 0)) {
        offset = BASE + below(w, LEN_MAX - BASE);
        len = 1 + below(w, LEN_MAX - offset);
    } else if (!own_piece(w, &offset, &len)) {
        return;
    }
    for (size_t i = 0; i < len; i++)
        buf[i] = (unsigned char)(rand_r(&w->seed) | 1);
    require(call_write(buf, len, offset) == (int64_t)len, "a write failed");
    memcpy(model + offset, buf, len);
    if (w->id == STRIPES && offset + len > model_len)
        model_len = offset + len;
}

static void op_map(struct worker *w, bool store)
{
    size_t offset, len;
    if (!own_piece(w, &offset, &len))
        return;
    for (size_t i = offset; i < offset + len; i++) {
        require(view[i] == model[i], "the mapping shows other bytes");
        if (store)
            view[i] = model[i] = (unsigned char)(i * 7 + w->seed);
    }
}

static void op_punch(struct worker *w)
{
    size_t offset, len;
    if (!own_piece(w, &offset, &len))
        return;
    require(call_punch(offset, len) == 0, "a punch failed");
    memset(model + offset, 0, len);
}

static void op_truncate(struct worker *w)
{
    size_t len = BASE + below(w, LEN_MAX - BASE);
    require(call_truncate(len) == 0, "a truncation failed");
    if (len < model_len)
        memset(model + len, 0, model_len - len);
    model_len = len;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    unsigned char *buf = malloc(LEN_MAX);
    require(buf != NULL, "no memory");
    for (int i = 0; i < w->rounds; i++) {
        size_t op = below(w, 100);
        if (op < 25)
            op_read(w, buf);
        else if (op < 50)
            op_write(w, buf);
        else if (op < 90)
            op_map(w, op < 70);
        else if (op < 93)
            op_punch(w);
        else if (op < 95)
            require(call_fsync() == 0, "fsync failed");
        else if (w->id == STRIPES)
            op_truncate(w);
    }
    free(buf);
    return NULL;
}

/* file is open and BASE long. */
static void mix(unsigned seed, int rounds)
{
    struct worker w[STRIPES + 1];
    void *addr = NULL;
    printf("seed %u\n", seed);
    model_len = BASE;
    memset(model, 0, sizeof(model));
    require(call_read(model, BASE, 0) == (int64_t)BASE, "the first read failed");
    assert_int_equal(fl_mmap(&addr, LEN_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), 0);
    view = addr;
    for (unsigned i = 0; i <= STRIPES; i++) {
        w[i] = (struct worker){.id = i, .seed = seed * 31 + i, .rounds = rounds};
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (unsigned i = 0; i <= STRIPES; i++)
        pthread_join(w[i].thread, NULL);
    assert_int_equal(call_fsync(), 0);
}

static int file_make(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (size_t i = 0; i < BASE; i++)
        model[i] = (unsigned char)(i * 31 + i / 4096);
    assert_int_equal(pwrite(fd, model, BASE, 0), (ssize_t)BASE);
    assert_int_equal(fsync(fd), 0);
    return fd;
}

static void a_file(const char *dir, enum fl_fault_engine engine, unsigned seed)
{
    static unsigned char kernel[LEN_MAX];
    struct stat st;
    int fd = file_make(dir);
    begin(LIMIT, engine);
    assert_int_equal(fl_open_fd(fd, &file), 0);
    mix(seed, 250);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, model_len);
    assert_int_equal(pread(fd, kernel, LEN_MAX, 0), (ssize_t)model_len);
    assert_memory_equal(kernel, model, model_len);
    assert_int_equal(fl_close(file), 0);
    finish();
    close(fd);
}

static void a_file_on_disk(void **state)
{
    (void)state;
    a_file(".", FL_FAULT_SIGNAL, 1);
    a_file(".", FL_FAULT_SIGNAL, 2);
}

static void a_file_on_tmpfs(void **state)
{
    (void)state;
    a_file("/dev/shm", FL_FAULT_SIGNAL, 3);
}

static void handler_threads(void **state)
{
    (void)state;
    struct fl_options options = {.memory_limit_bytes = LIMIT, .fault = FL_FAULT_THREAD};
    int error = fl_init(&options);
    if (error == -EPERM) /* this kernel does not let a process handle the kernel's own faults */
        skip();
    assert_int_equal(error, 0);
    assert_int_equal(fl_shutdown(), 0);
    a_file(".", FL_FAULT_THREAD, 4);
}

static void a_store_in_memory(void **state)
{
    (void)state;
    struct store *store;
    static unsigned char bytes[LEN_MAX];
    begin(LIMIT, FL_FAULT_SIGNAL);
    assert_int_equal(fl_store_memory(BASE, &store), 0);
    assert_int_equal(fl_open_store(store, FL_FREAD | FL_FWRITE, &file), 0);
    mix(5, 250);
    assert_int_equal(fl_madvise(view, LEN_MAX, FL_MADV_PAGEOUT), 0); /* so that the store is read */
    assert_int_equal(call_read(bytes, LEN_MAX, 0), model_len);
    assert_memory_equal(bytes, model, model_len);
    assert_int_equal(fl_close(file), 0);
    finish();
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static void bad_memory_is_efault(void **state)
{
    (void)state;
    int fd = file_make(".");
    unsigned char *bytes = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct stat st;
    assert_ptr_not_equal(bytes, MAP_FAILED);
    /* Protected, not unmapped: fl_init could map something there. */
    assert_int_equal(mprotect(bytes + 4096, 4096, PROT_NONE), 0);
    begin(LIMIT, FL_FAULT_SIGNAL);
    assert_int_equal(fl_open_fd(fd, &file), 0);
    assert_int_equal(call_read(bytes + 4096, 10, 0), -EFAULT);
    assert_int_equal(call_read(bytes, 8192, 100), 4096);
    assert_memory_equal(bytes, model + 100, 4096);
    assert_int_equal(call_write(bytes + 4096, 10, 0), -EFAULT);
    assert_int_equal(call_write(bytes + 4096, 10, BASE + 100000), -EFAULT);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, BASE);

    void *addr = NULL; /* managed memory that is neither resident nor held */
    assert_int_equal(fl_mmap(&addr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0), 0);
    assert_int_equal(bare_read(addr, 10, 0), -EFAULT);
    assert_int_equal(call_read(addr, 10, 0), 10);
    assert_memory_equal(addr, model, 10);
    assert_int_equal(fl_mprotect(addr, 8192, PROT_READ), 0);
    assert_int_equal(call_read(addr, 10, 0), -EFAULT);
    assert_int_equal(fl_munmap((char *)addr + 4096, 4096), 0);
    assert_int_equal(fl_mprotect(addr, 4096, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(call_read(addr, 8192, 50), 4096); /* as far as can be reached */
    assert_memory_equal(addr, model + 50, 4096);
    assert_int_equal(call_read(bytes, SIZE_MAX, 0), -EINVAL);
    assert_int_equal(fl_close(file), 0);
    finish();
    close(fd);
}

static void held_memory_of_our_own_works(void **state)
{
    (void)state;
    struct fl_hold pin;
    int fd = file_make(".");
    void *addr = NULL, *own = NULL;
    begin(LIMIT, FL_FAULT_SIGNAL);
    assert_int_equal(fl_open_fd(fd, &file), 0);
    assert_int_equal(fl_mmap(&addr, BASE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), 0);
    assert_int_equal(fl_mmap(&own, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0), 0);
    view = addr;
    assert_int_equal(fl_pin(own, 65536, PROT_WRITE, &pin), 0);
    assert_int_equal(call_read(own, 65536, 12345), 65536);
    fl_unpin(&pin);
    assert_memory_equal(own, model + 12345, 65536);
    /* from the file's own page into the same page */
    assert_int_equal(fl_pin(view + 8192, 4096, PROT_READ, &pin), 0);
    assert_int_equal(call_write(view + 8200, 100, 8192 + 2000), 100);
    fl_unpin(&pin);
    memcpy(model + 8192 + 2000, model + 8200, 100);
    assert_int_equal(fl_pin(view + 8192, 4096, PROT_WRITE, &pin), 0);
    assert_int_equal(call_read(view + 8192, 4096, 20000), 4096);
    fl_unpin(&pin);
    memcpy(model + 8192, model + 20000, 4096);
    assert_memory_equal(view, model, 40000);
    assert_int_equal(call_fsync(), 0);
    assert_int_equal(pread(fd, own, 40000, 0), 40000); /* the pages are resident by now */
    assert_memory_equal(own, model, 40000);
    assert_int_equal(fl_close(file), 0);
    finish();
    close(fd);
}

/*
 * An unwritten page of a private mapping is a copy of the page that is
 * written from it, and is removed before the write.
 */
static void a_page_is_written_from_its_own_copy(void **state)
{
    (void)state;
    int fd = file_make(".");
    void *own = NULL;
    begin(LIMIT, FL_FAULT_SIGNAL);
    assert_int_equal(fl_open_fd(fd, &file), 0);
    assert_int_equal(fl_mmap(&own, BASE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0), 0);
    for (size_t at = 0; at < 40960; at += 4096) {
        assert_int_equal(call_write((char *)own + at, 8192, at), 8192);
        assert_int_equal(call_write((char *)own + at + 100, 50, at + 200), 50);
        memmove(model + at + 200, model + at + 100, 50);
    }
    assert_memory_equal(own, model, 40000);
    assert_int_equal(fl_close(file), 0);
    finish();
    close(fd);
}

/*
 * Buffers longer than can be held at once, and longer than the limit:
 * mappings of another file, and of other parts of the same file.
 */
static void mapped_memory_is_read_and_written(enum fl_fault_engine engine)
{
    static unsigned char other[BASE];
    int fd = file_make("."), other_fd = file_make(".");
    struct fl_file *second;
    void *addr = NULL, *to = NULL;
    struct stat st;
    begin(LIMIT, engine);
    assert_int_equal(fl_open_fd(fd, &file), 0);
    assert_int_equal(fl_open_fd(other_fd, &second), 0);
    assert_int_equal(fl_mmap(&addr, BASE, PROT_READ, MAP_SHARED, file, 0), 0);
    assert_int_equal(fl_mmap(&to, BASE, PROT_READ | PROT_WRITE, MAP_SHARED, second, 0), 0);
    memcpy(other, model, BASE);
    /* from one file into the other */
    assert_int_equal(call_read((char *)to + 777, BASE - 777, 100), BASE - 777);
    memcpy(other + 777, model + 100, BASE - 777);
    assert_memory_equal(to, other, BASE);
    assert_int_equal(call_write((char *)to + 5, BASE - 5000, 4000), BASE - 5000); /* and back, elsewhere */
    memcpy(model + 4000, other + 5, BASE - 5000);
    assert_memory_equal(addr, model, BASE);
    assert_int_equal(call_write((char *)addr + 8, 700000, 1000008), 700000); /* onto itself */
    memcpy(model + 1000008, model + 8, 700000);
    assert_memory_equal(addr, model, BASE);
    assert_int_equal(fl_pwrite(file, addr, 10000, 0, FL_IOCB_APPEND), 10000);
    assert_int_equal(fl_fsync(file, FL_FSYNC_DATA), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, BASE + 10000);
    assert_int_equal(fl_close(file), 0);
    assert_int_equal(fl_close(second), 0);
    finish();
    close(fd);
    close(other_fd);
}

static void mapped_memory(void **state)
{
    (void)state;
    mapped_memory_is_read_and_written(FL_FAULT_SIGNAL);
}

static void mapped_memory_with_handler_threads(void **state)
{
    (void)state;
    struct fl_options options = {.memory_limit_bytes = LIMIT, .fault = FL_FAULT_THREAD};
    int error = fl_init(&options);
    if (error == -EPERM)
        skip();
    assert_int_equal(error, 0);
    assert_int_equal(fl_shutdown(), 0);
    mapped_memory_is_read_and_written(FL_FAULT_THREAD);
}

static void a_reader_cannot_write(void **state)
{
    (void)state;
    char path[32];
    int fd = file_make("."), reader;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    reader = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(reader >= 0);
    begin(LIMIT, FL_FAULT_SIGNAL);
    assert_int_equal(fl_open_fd(reader, &file), 0);
    assert_int_equal(call_write("x", 1, 0), -EBADF);
    assert_int_equal(call_truncate(0), -EBADF);
    assert_int_equal(call_punch(0, 4096), -EBADF);
    assert_int_equal(call_fsync(), 0);
    assert_int_equal(fl_close(file), 0);
    finish();
    close(reader);
    close(fd);
}

/* ---- a store that fails -------------------------------------------------------------------------------- */

/* A store in memory whose writes fail with `error` while that is not 0. */
struct failing {
    struct store store;
    struct store *real;
    atomic_int error;
};

static void failing_submit(struct store *store, struct store_request *request)
{
    struct failing *failing = (struct failing *)store;
    if (request->op == STORE_WRITE && failing->error != 0)
        request->done(request, failing->error);
    else
        failing->real->ops->submit(failing->real, request);
}

static int failing_size(struct store *store, uint64_t *len_bytes)
{
    struct failing *failing = (struct failing *)store;
    return failing->real->ops->size(failing->real, len_bytes);
}

static int failing_flush(struct store *store)
{
    (void)store;
    return 0;
}

static void failing_close(struct store *store)
{
    struct failing *failing = (struct failing *)store;
    failing->real->ops->close(failing->real);
}

static const struct store_ops failing_ops = {
    .name = "failing",
    .submit = failing_submit,
    .size = failing_size,
    .flush = failing_flush,
    .close = failing_close,
};

/*
 * Each handle is told of a failed write once, whichever handle asked for
 * it; and the bytes are written once the store works.
 */
static void each_handle_is_told_once(void **state)
{
    (void)state;
    static struct failing failing;
    struct fl_file *second;
    struct store *again;
    char byte;
    begin(LIMIT, FL_FAULT_SIGNAL);
    failing = (struct failing){.store = {.ops = &failing_ops, .key = {1, 2}}};
    assert_int_equal(fl_store_memory(BASE, &failing.real), 0);
    assert_int_equal(fl_open_store(&failing.store, FL_FREAD | FL_FWRITE, &file), 0);
    assert_int_equal(fl_store_memory(BASE, &again), 0);
    again->key[0] = 1;
    again->key[1] = 2;
    assert_int_equal(fl_open_store(again, FL_FREAD | FL_FWRITE, &second), 0); /* the same file */
    failing.error = -EIO;
    assert_int_equal(call_write("w", 1, 5000), 1);
    assert_int_equal(fl_fsync(file, 0), -EIO);
    failing.error = 0;
    assert_int_equal(fl_fsync(second, 0), -EIO);
    assert_int_equal(fl_fsync(second, 0), 0);
    assert_int_equal(fl_fsync(file, 0), 0);
    assert_int_equal(call_read(&byte, 1, 5000), 1);
    assert_int_equal(byte, 'w');
    assert_int_equal(fl_close(second), 0);
    assert_int_equal(fl_close(file), 0);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_on_disk),
        cmocka_unit_test(a_file_on_tmpfs),
        cmocka_unit_test(handler_threads),
        cmocka_unit_test(a_store_in_memory),
        cmocka_unit_test(bad_memory_is_efault),
        cmocka_unit_test(held_memory_of_our_own_works),
        cmocka_unit_test(a_page_is_written_from_its_own_copy),
        cmocka_unit_test(mapped_memory),
        cmocka_unit_test(mapped_memory_with_handler_threads),
        cmocka_unit_test(a_reader_cannot_write),
        cmocka_unit_test(each_handle_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
