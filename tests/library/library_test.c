/*
 * library_test.c: the library as a program uses it, on the machine linux: files several times the limit,
 * errors and limits, compared with what the kernel's own mappings would show.
 */
#include "support/require.h"
#include <faultline/faultline.h>
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define PAGE   4096ul
#define MIB    (1ul << 20)
#define LIMIT  (8 * MIB)
#define LEN    (4 * LIMIT + 1234) /* of the file */
#define NPAGES (LEN / PAGE + 1)

/* ---- what every test needs ----------------------------------------------------------------------------- */

static unsigned test_seed;

static void init(size_t limit, enum fl_fault_engine fault)
{
    struct fl_options options = {.memory_limit_bytes = limit, .fault = fault};
    int error = fl_init(&options);
    if (error != 0)
        fprintf(stderr, "fl_init: %d: %s\n", error, fl_init_error());
    assert_int_equal(error, 0);
}

/* The peak of resident pages does not exceed the limit, and the shutdown succeeds. */
static void finish(void)
{
    struct fl_stats stats;
    fl_stats(&stats);
    assert_true(stats.peak_resident_bytes <= stats.memory_limit_bytes);
    assert_int_equal(fl_shutdown(), 0);
}

/* The byte at `offset` of every file here. */
static unsigned char byte_at(uint64_t offset)
{
    return (unsigned char)((offset * 0x9e3779b97f4a7c15u) >> 56);
}

static void fill(unsigned char *bytes, uint64_t offset, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at(offset + i);
}

static int file_make(size_t len)
{
    static unsigned char block[MIB];
    int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (size_t offset = 0; offset < len; offset += sizeof(block)) {
        size_t n = len - offset < sizeof(block) ? len - offset : sizeof(block);
        fill(block, offset, n);
        assert_int_equal(pwrite(fd, block, n, (off_t)offset), (ssize_t)n);
    }
    assert_int_equal(fsync(fd), 0);
    return fd;
}

static unsigned char *map_file(struct fl_file *file, size_t len, int prot, int flags)
{
    void *addr = NULL;
    assert_int_equal(fl_mmap(&addr, len, prot, flags, file, 0), 0);
    return addr;
}

/* Opens fd's file and maps its len bytes. The handle is closed at once: mappings live on. */
static unsigned char *map_fd(int fd, size_t len, int prot, int flags)
{
    struct fl_file *file;
    assert_int_equal(fl_open_fd(fd, &file), 0);
    unsigned char *addr = map_file(file, len, prot, flags);
    assert_int_equal(fl_close(file), 0);
    return addr;
}

/* ---- a program's own signal handler -------------------------------------------------------------------- */

static _Thread_local sigjmp_buf caught_env;
static _Thread_local volatile sig_atomic_t caught_armed;
static _Thread_local siginfo_t caught_info;

static void catch_signal(int signo, siginfo_t *info, void *ucontext)
{
    (void)ucontext;
    require(caught_armed, "an unexpected signal");
    caught_armed = 0;
    caught_info = *info;
    siglongjmp(caught_env, signo);
}

static void install_handlers(void)
{
    struct sigaction action = {.sa_sigaction = catch_signal, .sa_flags = SA_SIGINFO};
    assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
    assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
}

/* Reads or writes a byte; returns 0 or the signal that it raised. */
static int touch(volatile unsigned char *addr, bool write)
{
    int signo = sigsetjmp(caught_env, 1);
    if (signo == 0) {
        caught_armed = 1;
        if (write)
            *addr = 0x5a;
        else
            (void)*addr;
        caught_armed = 0;
    }
    return signo;
}

static void assert_raises(int signo, int code, unsigned char *addr, bool write)
{
    assert_int_equal(touch(addr, write), signo);
    assert_int_equal(caught_info.si_signo, signo);
    assert_int_equal(caught_info.si_code, code);
    assert_ptr_equal(caught_info.si_addr, addr);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

struct reader {
    pthread_t thread;
    const unsigned char *addr;
    int fd;
    unsigned seed;
    size_t start, end; /* sequential: the part to read */
};

static void compare(struct reader *reader, size_t offset, size_t len)
{
    unsigned char want[64 * 1024];
    require(pread(reader->fd, want, len, (off_t)offset) == (ssize_t)len, "pread");
    require(memcmp(want, reader->addr + offset, len) == 0, "the mapping differs from the file");
}

static void *read_sequentially(void *arg)
{
    struct reader *reader = arg;
    for (size_t offset = reader->start; offset < reader->end; offset += 64 * 1024)
        compare(reader, offset, reader->end - offset < 64 * 1024 ? reader->end - offset : 64 * 1024);
    return NULL;
}

static void *read_at_random(void *arg)
{
    struct reader *reader = arg;
    for (int i = 0; i < 2500; i++) {
        size_t offset = (((size_t)rand_r(&reader->seed) << 16) ^ (size_t)rand_r(&reader->seed)) % LEN;
        size_t len = 1 + (size_t)rand_r(&reader->seed) % 9000;
        compare(reader, offset, LEN - offset < len ? LEN - offset : len);
    }
    return NULL;
}

static void read_with(void *(*run)(void *), unsigned nthreads, int flags)
{
    struct reader reader[4];
    int fd = file_make(LEN);
    printf("seed %u\n", test_seed);
    init(LIMIT, FL_FAULT_AUTO);
    unsigned char *addr = map_fd(fd, LEN, PROT_READ, flags);
    for (unsigned i = 0; i < nthreads; i++) {
        reader[i] = (struct reader){.addr = addr, .fd = fd, .seed = test_seed + i};
        reader[i].start = LEN / nthreads * i;
        reader[i].end = i + 1 == nthreads ? LEN : LEN / nthreads * (i + 1);
        assert_int_equal(pthread_create(&reader[i].thread, NULL, run, &reader[i]), 0);
    }
    for (unsigned i = 0; i < nthreads; i++)
        pthread_join(reader[i].thread, NULL);
    struct fl_stats stats;
    fl_stats(&stats);
    assert_true(stats.vm.evictions > 0);
    assert_true(stats.vm.page_ins >= LIMIT / PAGE);
    finish();
    close(fd);
}

static void sequential_reads(void **state)
{
    (void)state;
    read_with(read_sequentially, 1, MAP_SHARED);
    read_with(read_sequentially, 4, MAP_SHARED);
    read_with(read_sequentially, 4, MAP_PRIVATE);
}

static void random_reads(void **state)
{
    (void)state;
    read_with(read_at_random, 1, MAP_SHARED);
    read_with(read_at_random, 4, MAP_SHARED);
    read_with(read_at_random, 4, MAP_PRIVATE);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

struct writer {
    pthread_t thread;
    unsigned char *addr;
    unsigned char *model; /* of the whole file; each thread has its own pages of it */
    unsigned index, seed;
};

static void *write_at_random(void *arg)
{
    struct writer *writer = arg;
    for (int i = 0; i < 4000; i++) {
        size_t page = (size_t)rand_r(&writer->seed) % NPAGES / 4 * 4 + writer->index;
        size_t offset = page * PAGE + (size_t)rand_r(&writer->seed) % PAGE;
        if (offset >= LEN)
            continue;
        require(writer->addr[offset] == writer->model[offset], "a byte written before is lost");
        writer->addr[offset] = writer->model[offset] = (unsigned char)rand_r(&writer->seed);
    }
    return NULL;
}

static void assert_file_equals(int fd, const unsigned char *model, size_t len)
{
    unsigned char *bytes = malloc(len + 1);
    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, len + 1, 0), (ssize_t)len);
    assert_memory_equal(bytes, model, len);
    free(bytes);
}

static void shared_writes_reach_the_file(void **state)
{
    (void)state;
    struct writer writer[4];
    int fd = file_make(LEN);
    unsigned char *model = malloc(LEN);
    fill(model, 0, LEN);
    printf("seed %u\n", test_seed);
    init(LIMIT, FL_FAULT_AUTO);
    unsigned char *addr = map_fd(fd, LEN, PROT_READ | PROT_WRITE, MAP_SHARED);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 4; i++) {
            writer[i] = (struct writer){
                .addr = addr, .model = model, .index = i, .seed = test_seed + 4 * (unsigned)round + i};
            assert_int_equal(pthread_create(&writer[i].thread, NULL, write_at_random, &writer[i]), 0);
        }
        for (unsigned i = 0; i < 4; i++)
            pthread_join(writer[i].thread, NULL);
        assert_int_equal(fl_msync(addr, LEN, MS_SYNC), 0);
        assert_file_equals(fd, model, LEN);
    }
    addr[17] = model[17] = 0x99; /* no msync: the end of the mapping writes it too */
    assert_int_equal(fl_munmap(addr, LEN), 0);
    assert_file_equals(fd, model, LEN);
    finish();
    free(model);
    close(fd);
}

static void private_writes_stay_here(void **state)
{
    (void)state;
    int fd = file_make(LEN);
    unsigned char *model = malloc(LEN), *file = malloc(LEN);
    fill(file, 0, LEN);
    memcpy(model, file, LEN);
    init(LIMIT, FL_FAULT_AUTO);
    unsigned char *addr = map_fd(fd, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    unsigned char *shared = map_fd(fd, LEN, PROT_READ, MAP_SHARED);
    for (size_t offset = 100; offset < LEN; offset += 10 * PAGE)
        addr[offset] = model[offset] = (unsigned char)~model[offset];
    assert_memory_equal(addr, model, LEN);
    assert_memory_equal(shared, file, LEN);
    assert_int_equal(fl_msync(addr, LEN, MS_SYNC), 0);
    assert_int_equal(fl_munmap(addr, LEN), 0);
    assert_int_equal(fl_munmap(shared, LEN), 0);
    assert_file_equals(fd, file, LEN);
    finish();
    free(model);
    free(file);
    close(fd);
}

/* Opened read-only first, then for writing: it is one file with one set of pages, and writes reach it. */
static void a_file_opened_twice_is_one(void **state)
{
    (void)state;
    struct fl_file *reads, *writes;
    int fd = file_make(3 * PAGE);
    char name[64];
    unsigned char *model = malloc(3 * PAGE);
    void *addr = NULL;
    fill(model, 0, 3 * PAGE);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    init(LIMIT, FL_FAULT_AUTO);
    assert_int_equal(fl_open(name, O_RDONLY, &reads), 0);
    assert_int_equal(fl_mmap(&addr, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reads, 0), -EACCES);
    unsigned char *read_view = map_file(reads, 3 * PAGE, PROT_READ, MAP_SHARED);
    assert_memory_equal(read_view, model, 3 * PAGE);
    assert_int_equal(fl_open(name, O_RDWR, &writes), 0);
    unsigned char *write_view = map_file(writes, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    assert_int_equal(fl_close(writes), 0);
    write_view[PAGE + 5] = model[PAGE + 5] = 0xa5;
    assert_int_equal(read_view[PAGE + 5], 0xa5);
    assert_int_equal(fl_munmap(write_view, 3 * PAGE), 0);
    assert_int_equal(fl_msync(read_view, 3 * PAGE, MS_SYNC), 0);
    assert_file_equals(fd, model, 3 * PAGE);
    assert_int_equal(fl_close(reads), 0);
    finish();
    free(model);
    close(fd);
}

/* ---- ends of files ------------------------------------------------------------------------------------- */

static void the_last_page_ends_in_zeros(void **state)
{
    (void)state;
    int fd = file_make(PAGE + 100);
    unsigned char model[PAGE + 100];
    fill(model, 0, sizeof(model));
    init(LIMIT, FL_FAULT_AUTO);
    unsigned char *addr = map_fd(fd, PAGE + 100, PROT_READ | PROT_WRITE, MAP_SHARED);
    for (size_t i = PAGE + 100; i < 2 * PAGE; i++)
        assert_int_equal(addr[i], 0);
    memset(addr + PAGE, 0x42, PAGE);
    memset(model + PAGE, 0x42, 100);
    assert_int_equal(fl_msync(addr, PAGE + 100, MS_SYNC), 0);
    assert_file_equals(fd, model, sizeof(model));
    finish();
    close(fd);
}

static void beyond_the_end_is_sigbus(void **state)
{
    (void)state;
    int fd = file_make(10 * PAGE);
    install_handlers();
    init(LIMIT, FL_FAULT_AUTO);
    unsigned char *addr = map_fd(fd, 20 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    assert_int_equal(touch(addr + 10 * PAGE - 1, false), 0);
    assert_raises(SIGBUS, BUS_ADRERR, addr + 10 * PAGE + 7, false);
    assert_raises(SIGBUS, BUS_ADRERR, addr + 19 * PAGE, true);
    /*
     * The file shrinks behind the VM's back: pages that were not resident are gone, and the process goes on.
     */
    assert_int_equal(fl_madvise(addr, 20 * PAGE, MADV_DONTNEED), 0);
    assert_int_equal(fl_shutdown(), 0);
    init(LIMIT, FL_FAULT_AUTO);
    addr = map_fd(fd, 10 * PAGE, PROT_READ, MAP_SHARED);
    assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
    assert_int_equal(touch(addr + PAGE, false), 0);
    assert_int_equal(addr[PAGE], byte_at(PAGE));
    assert_int_equal(addr[4 * PAGE - 1], byte_at(4 * PAGE - 1));
    assert_raises(SIGBUS, BUS_ADRERR, addr + 4 * PAGE, false);
    assert_raises(SIGBUS, BUS_ADRERR, addr + 9 * PAGE, false);
    finish();
    close(fd);
}

static void forbidden_is_sigsegv(void **state)
{
    (void)state;
    int fd = file_make(4 * PAGE);
    install_handlers();
    init(LIMIT, FL_FAULT_AUTO);
    unsigned char *addr = map_fd(fd, 4 * PAGE, PROT_READ, MAP_SHARED);
    assert_raises(SIGSEGV, SEGV_ACCERR, addr + 5, true);
    assert_int_equal(addr[5], byte_at(5));
    assert_raises(SIGSEGV, SEGV_ACCERR, addr + 5, true); /* also once it is resident */
    assert_int_equal(fl_mprotect(addr, PAGE, PROT_NONE), 0);
    assert_raises(SIGSEGV, SEGV_ACCERR, addr + 5, false);
    assert_int_equal(fl_mprotect(addr, PAGE, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(touch(addr + 5, true), 0);
    assert_int_equal(fl_munmap(addr, 4 * PAGE), 0);
    assert_raises(SIGSEGV, SEGV_MAPERR, addr + 5, false);
    finish();
    close(fd);
}

/* ---- a store that fails -------------------------------------------------------------------------------- */

#define BAD_PAGES 512

/* A store of the program's own: bytes in memory, and pages that fail to be read or written. */
struct bad_store {
    struct store store;
    unsigned char bytes[BAD_PAGES * PAGE];
    atomic_bool bad_read[BAD_PAGES], bad_write[BAD_PAGES];
    atomic_int write_error; /* of all writes; 0: only writes of bad pages fail */
    bool *closed;
};

static void bad_submit(struct store *store, struct store_request *request)
{
    struct bad_store *bad = (struct bad_store *)store;
    int error = 0;
    for (uint32_t i = 0; i < request->npages; i++) {
        size_t page = request->offset / PAGE + i;
        if (atomic_load(request->op == STORE_READ ? &bad->bad_read[page] : &bad->bad_write[page]))
            error = -EIO;
        else if (request->op == STORE_WRITE && bad->write_error != 0)
            error = bad->write_error;
        else if (request->op == STORE_READ)
            memcpy(request->addr[i], bad->bytes + page * PAGE, PAGE);
        else
            memcpy(bad->bytes + page * PAGE, request->addr[i], PAGE);
    }
    request->done(request, error);
}

static int bad_size(struct store *store, uint64_t *len_bytes)
{
    (void)store;
    *len_bytes = BAD_PAGES * PAGE;
    return 0;
}

static int bad_flush(struct store *store)
{
    (void)store;
    return 0;
}

static void bad_close(struct store *store)
{
    *((struct bad_store *)store)->closed = true;
    free(store);
}

static const struct store_ops bad_ops = {
    .name = "bad",
    .submit = bad_submit,
    .size = bad_size,
    .flush = bad_flush,
    .close = bad_close,
};

static struct bad_store *bad_make(bool *closed)
{
    struct bad_store *bad = calloc(1, sizeof(*bad));
    bad->store.ops = &bad_ops;
    bad->closed = closed;
    *closed = false;
    fill(bad->bytes, 0, sizeof(bad->bytes));
    return bad;
}

static struct fl_error told;
static unsigned told_times;

static void on_error(const struct fl_error *error, void *arg)
{
    require(arg == &told, "on_error's argument");
    told = *error;
    told_times++;
}

static void a_read_error_is_sigbus_there(void **state)
{
    (void)state;
    bool closed;
    struct bad_store *bad = bad_make(&closed);
    struct fl_options options = {.memory_limit_bytes = LIMIT, .on_error = on_error, .on_error_arg = &told};
    struct fl_file *file;
    install_handlers();
    assert_int_equal(fl_init(&options), 0);
    assert_int_equal(fl_open_store(&bad->store, FL_FREAD | FL_FWRITE, &file), 0);
    unsigned char *addr = map_file(file, BAD_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    bad->bad_read[20] = true;
    for (size_t page = 0; page < BAD_PAGES; page++) {
        if (page == 20)
            assert_raises(SIGBUS, BUS_ADRERR, addr + page * PAGE + 3, false);
        else
            assert_memory_equal(addr + page * PAGE, bad->bytes + page * PAGE, PAGE);
    }
    assert_int_equal(told_times, 1);
    assert_int_equal(told.error, EIO);
    assert_ptr_equal(told.addr, addr + 20 * PAGE + 3);
    assert_non_null(told.what);
    bad->bad_read[20] = false;
    assert_memory_equal(addr, bad->bytes, BAD_PAGES * PAGE); /* the store recovered, and so does the page */
    assert_int_equal(fl_close(file), 0);
    finish();
    assert_true(closed);
}

static void a_write_error_keeps_the_page(void **state)
{
    (void)state;
    bool closed;
    struct bad_store *bad = bad_make(&closed);
    struct fl_file *file;
    unsigned char *model = malloc(BAD_PAGES * PAGE);
    memcpy(model, bad->bytes, BAD_PAGES * PAGE);
    init(LIMIT, FL_FAULT_AUTO);
    assert_int_equal(fl_open_store(&bad->store, FL_FREAD | FL_FWRITE, &file), 0);
    unsigned char *addr = map_file(file, BAD_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    bad->bad_write[7] = true;
    for (size_t page = 5; page < 10; page++)
        memset(addr + page * PAGE, 0x71, PAGE);
    memset(model + 5 * PAGE, 0x71, 5 * PAGE);
    assert_int_equal(fl_msync(addr, BAD_PAGES * PAGE, MS_SYNC), -EIO);
    assert_memory_equal(addr, model, BAD_PAGES * PAGE);
    assert_int_equal(fl_msync(addr, BAD_PAGES * PAGE, MS_SYNC), -EIO); /* still dirty, tried again */
    bad->bad_write[7] = false;
    assert_int_equal(fl_msync(addr, BAD_PAGES * PAGE, MS_SYNC), 0);
    assert_memory_equal(bad->bytes, model, BAD_PAGES * PAGE);
    /* At the last close the page cannot be kept any more: the error is returned. */
    bad->bad_write[1] = true;
    addr[PAGE] ^= 1;
    assert_int_equal(fl_shutdown(), -EIO);
    assert_true(closed);
    free(model);
}

/*
 * Memory is full of pages that the disk refuses: an access that needs one
 * more gets the error, and succeeds later.
 */
static void memory_full_of_failed_writes_is_the_disks_error(void **state)
{
    (void)state;
    bool closed;
    struct bad_store *bad = bad_make(&closed);
    struct fl_options options = {
        .memory_limit_bytes = FL_MEMORY_MIN, .on_error = on_error, .on_error_arg = &told};
    struct fl_file *file;
    size_t n = 0;
    install_handlers();
    assert_int_equal(fl_init(&options), 0);
    assert_int_equal(fl_open_store(&bad->store, FL_FREAD | FL_FWRITE, &file), 0);
    unsigned char *addr = map_file(file, BAD_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    bad->write_error = -ENOSPC;
    told_times = 0;
    while (n < BAD_PAGES && told_times == 0)
        if (touch(addr + n * PAGE, true) == 0)
            addr[n++ * PAGE] = 0x55;
    assert_true(n > 0 && n < FL_MEMORY_MIN / PAGE);
    assert_int_equal(told.error, ENOSPC);
    assert_non_null(strstr(told.what, "disk is full"));
    assert_raises(SIGBUS, BUS_ADRERR, addr + n * PAGE, true);
    assert_int_equal(fl_msync(addr, BAD_PAGES * PAGE, MS_SYNC), -ENOSPC);
    bad->write_error = 0;
    for (; n < BAD_PAGES; n++)
        addr[n * PAGE] = 0x55;
    /* 0, or the error of a write that failed since the last call */
    (void)!fl_msync(addr, BAD_PAGES * PAGE, MS_SYNC);
    assert_int_equal(fl_msync(addr, BAD_PAGES * PAGE, MS_SYNC), 0);
    for (n = 0; n < BAD_PAGES; n++)
        assert_int_equal(bad->bytes[n * PAGE], 0x55);
    assert_int_equal(fl_close(file), 0);
    finish();
    assert_true(closed);
}

/* ---- system calls, limits ------------------------------------------------------------------------------ */

static void pinned_memory_serves_system_calls(void **state)
{
    (void)state;
    int fd = file_make(LEN), copy = file_make(0);
    struct fl_hold pin;
    unsigned char want[8 * PAGE];
    init(LIMIT, FL_FAULT_SIGNAL);
    unsigned char *addr = map_fd(fd, LEN, PROT_READ | PROT_WRITE, MAP_SHARED);
    for (size_t offset = 123; offset + 8 * PAGE < LEN; offset += 37 * PAGE) {
        assert_int_equal(fl_pin(addr + offset, 8 * PAGE, PROT_READ, &pin), 0);
        assert_int_equal(pwrite(copy, addr + offset, 8 * PAGE, 0), 8 * PAGE);
        fl_unpin(&pin);
        assert_int_equal(pread(copy, want, 8 * PAGE, 0), 8 * PAGE);
        assert_memory_equal(addr + offset, want, 8 * PAGE);
    }
    memset(want, 0x66, sizeof(want));
    assert_int_equal(pwrite(copy, want, 8 * PAGE, 0), 8 * PAGE);
    assert_int_equal(fl_pin(addr + 50, 8 * PAGE, PROT_WRITE, &pin), 0);
    assert_int_equal(pread(copy, addr + 50, 8 * PAGE, 0), 8 * PAGE);
    fl_unpin(&pin);
    assert_int_equal(fl_msync(addr, LEN, MS_SYNC), 0);
    assert_int_equal(pread(fd, want, 8 * PAGE, 50), 8 * PAGE);
    for (size_t i = 0; i < 8 * PAGE; i++)
        assert_int_equal(want[i], 0x66);
    assert_int_equal(fl_pin(addr, PAGE, 0, &pin), -EINVAL);
    assert_int_equal(fl_pin(addr + LEN + PAGE, PAGE, PROT_READ, &pin), -EFAULT);
    finish();
    close(copy);
    close(fd);
}

/* With handler threads a system call waits for its page like any access. */
static void the_thread_engine_serves_system_calls(void **state)
{
    (void)state;
    int fd = file_make(LEN), copy = file_make(0);
    struct fl_options options = {.memory_limit_bytes = LIMIT, .fault = FL_FAULT_THREAD};
    int error = fl_init(&options);
    if (error == -EPERM) {
        printf("not allowed to handle the kernel's faults: %s\n", fl_init_error());
        close(fd);
        close(copy);
        skip();
    }
    assert_int_equal(error, 0);
    unsigned char *addr = map_fd(fd, LEN, PROT_READ, MAP_PRIVATE), *want = malloc(LEN);
    for (size_t done = 0; done < LEN;) {
        ssize_t n = write(copy, addr + done, LEN - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    fill(want, 0, LEN);
    assert_file_equals(copy, want, LEN);
    free(want);
    finish();
    close(copy);
    close(fd);
}

/*
 * Every second page is resident, and there are more of them than areas
 * that the kernel's vm.max_map_count allows.
 */
static void scattered_pages_need_no_areas(void **state)
{
    (void)state;
    long areas = 65530;
    FILE *sysctl = fopen("/proc/sys/vm/max_map_count", "r");
    if (sysctl == NULL || fscanf(sysctl, "%ld", &areas) != 1 || areas > 200000) {
        printf("max_map_count is unknown, or too high to be exceeded here\n");
        skip();
    }
    fclose(sysctl);
    size_t count = (size_t)areas + 1000, resident = 0, len = 2 * count * PAGE;
    unsigned char *vec = malloc(2 * count);
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    init((count + 4096) * PAGE, FL_FAULT_AUTO);
    unsigned char *addr = map_fd(fd, len, PROT_READ, MAP_SHARED);
    assert_int_equal(fl_madvise(addr, len, MADV_RANDOM), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(addr[2 * i * PAGE], 0);
    assert_int_equal(fl_mincore(addr, len, vec), 0);
    for (size_t i = 0; i < 2 * count; i++)
        resident += vec[i] & 1;
    assert_true(resident >= (size_t)areas);
    free(vec);
    finish();
    close(fd);
}

static void locked_pages_stay(void **state)
{
    (void)state;
    int fd = file_make(LEN);
    unsigned char vec[16];
    init(LIMIT, FL_FAULT_AUTO);
    unsigned char *addr = map_fd(fd, LEN, PROT_READ, MAP_SHARED);
    assert_int_equal(fl_mlock(addr + 100 * PAGE, 16 * PAGE), 0);
    for (size_t offset = 0; offset < LEN; offset += PAGE)
        assert_int_equal(addr[offset], byte_at(offset));
    assert_int_equal(fl_mincore(addr + 100 * PAGE, 16 * PAGE, vec), 0);
    for (int i = 0; i < 16; i++)
        assert_int_equal(vec[i] & 1, 1);
    assert_int_equal(fl_munlock(addr + 100 * PAGE, 16 * PAGE), 0);
    finish();
    close(fd);
}

static void remapping_moves_the_bytes(void **state)
{
    (void)state;
    int fd = file_make(64 * PAGE);
    void *addr;
    init(LIMIT, FL_FAULT_AUTO);
    addr = map_fd(fd, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    ((unsigned char *)addr)[5] = 0xcc;
    assert_int_equal(fl_mremap(&addr, 8 * PAGE, 64 * PAGE, MREMAP_MAYMOVE), 0);
    assert_int_equal(((unsigned char *)addr)[5], 0xcc);
    assert_int_equal(((unsigned char *)addr)[63 * PAGE], byte_at(63 * PAGE));
    assert_int_equal(fl_mremap(&addr, 64 * PAGE, PAGE, MREMAP_FIXED | MREMAP_MAYMOVE), -EINVAL);
    finish();
    close(fd);
}

/* ---- beginnings and ends ------------------------------------------------------------------------------- */

static void bad_options_say_what_to_change(void **state)
{
    (void)state;
    struct fl_options options = {.memory_limit_bytes = FL_MEMORY_MIN - 1};
    struct fl_file *file;
    void *addr = NULL;
    assert_int_equal(fl_init(&options), -EINVAL);
    assert_non_null(strstr(fl_init_error(), "1048576"));
    options = (struct fl_options){.memory_limit_bytes = SIZE_MAX};
    assert_int_equal(fl_init(&options), -EINVAL);
    options = (struct fl_options){.memory_limit_bytes = LIMIT, .fault = (enum fl_fault_engine)7};
    assert_int_equal(fl_init(&options), -EINVAL);
    assert_int_equal(fl_shutdown(), -EINVAL);
    assert_int_equal(fl_mmap(&addr, PAGE, PROT_READ, MAP_SHARED, NULL, 0), -EINVAL);
    init(FL_MEMORY_MIN, FL_FAULT_AUTO);
    options = (struct fl_options){.memory_limit_bytes = LIMIT};
    assert_int_equal(fl_init(&options), -EALREADY);
    assert_int_equal(fl_open("/nonexistent", O_RDONLY, &file), -ENOENT);
    assert_int_equal(fl_open(".", O_RDONLY, &file), -ENODEV);
    assert_int_equal(fl_open("/dev/zero", O_RDONLY, &file), -ENODEV);
    assert_int_equal(fl_open(".", O_WRONLY, &file), -EINVAL);
    assert_int_equal(fl_open_fd(-1, &file), -EBADF);
    finish();
}

/* The smallest limit there is still carries a file of any length. */
static void the_smallest_limit_runs(void **state)
{
    (void)state;
    int fd = file_make(LEN);
    init(FL_MEMORY_MIN, FL_FAULT_AUTO);
    unsigned char *addr = map_fd(fd, LEN, PROT_READ | PROT_WRITE, MAP_SHARED), *want = malloc(LEN);
    fill(want, 0, LEN);
    assert_memory_equal(addr, want, LEN);
    for (size_t offset = 0; offset < LEN; offset += 3 * PAGE)
        addr[offset] = want[offset] = 0x11;
    assert_int_equal(fl_munmap(addr, LEN), 0);
    assert_file_equals(fd, want, LEN);
    free(want);
    finish();
    close(fd);
}

/* Runs `body` in a child; its standard error goes to text. Returns the wait status. */
static int in_child(void (*body)(int fd), int fd, char *text, size_t text_len)
{
    int status, err[2];
    size_t n = 0;
    ssize_t got;
    assert_int_equal(pipe(err), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(err[1], 2);
        signal(SIGBUS, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        body(fd);
        _exit(0);
    }
    close(err[1]);
    while (n < text_len - 1 && (got = read(err[0], text + n, text_len - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = 0;
    close(err[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static unsigned char *child_map(int fd, size_t limit, size_t len, int prot, int flags)
{
    struct fl_options options = {.memory_limit_bytes = limit, .swap_max_bytes = FL_SWAP_NONE};
    struct fl_file *file;
    void *addr = NULL;
    if (fl_init(&options) != 0 || fl_open_fd(fd, &file) != 0 ||
        fl_mmap(&addr, len, prot, flags, file, 0) != 0)
        _exit(99);
    return addr;
}

static void die_beyond_the_end(int fd)
{
    volatile unsigned char *addr = child_map(fd, LIMIT, LEN + 8 * PAGE, PROT_READ, MAP_SHARED);
    (void)addr[LEN + 4 * PAGE];
}

static void die_by_writing(int fd)
{
    volatile unsigned char *addr = child_map(fd, LIMIT, LEN, PROT_READ, MAP_SHARED);
    addr[5] = 1;
}

static void die_of_private_pages(int fd)
{
    volatile unsigned char *addr = child_map(fd, LIMIT, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    for (size_t offset = 0; offset < LEN; offset += PAGE)
        addr[offset] = 1;
}

static void without_a_handler_the_process_dies_properly(void **state)
{
    (void)state;
    int fd = file_make(LEN);
    char text[1024];
    int status = in_child(die_beyond_the_end, fd, text, sizeof(text));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    assert_string_equal(text, "");
    status = in_child(die_by_writing, fd, text, sizeof(text));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = in_child(die_of_private_pages, fd, text, sizeof(text));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_string_equal(text,
                        "faultline: out of memory: written pages of private mappings, which have nowhere "
                        "else to go, and locked pages exceed the limit of 8388608 bytes: raise "
                        "memory_limit_bytes\n");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* first: the children start without a VM */
        cmocka_unit_test(without_a_handler_the_process_dies_properly),
        cmocka_unit_test(bad_options_say_what_to_change),
        cmocka_unit_test(sequential_reads),
        cmocka_unit_test(random_reads),
        cmocka_unit_test(shared_writes_reach_the_file),
        cmocka_unit_test(private_writes_stay_here),
        cmocka_unit_test(a_file_opened_twice_is_one),
        cmocka_unit_test(the_last_page_ends_in_zeros),
        cmocka_unit_test(beyond_the_end_is_sigbus),
        cmocka_unit_test(forbidden_is_sigsegv),
        cmocka_unit_test(a_read_error_is_sigbus_there),
        cmocka_unit_test(a_write_error_keeps_the_page),
        cmocka_unit_test(memory_full_of_failed_writes_is_the_disks_error),
        cmocka_unit_test(pinned_memory_serves_system_calls),
        cmocka_unit_test(the_thread_engine_serves_system_calls),
        cmocka_unit_test(scattered_pages_need_no_areas),
        cmocka_unit_test(locked_pages_stay),
        cmocka_unit_test(remapping_moves_the_bytes),
        cmocka_unit_test(the_smallest_limit_runs),
    };
    test_seed = (unsigned)time(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
