/*
 * store_file_test.c: the file store beside the kernel's own pread: random transfers of every shape, on a disk
 * file system and on tmpfs; the ends of files, files that shrink, the kernel's page cache, which must stay
 * empty, and many threads that wait for each other's reads.
 */
#include <faultline/faultline.h>
#include <faultline/machine.h>
#include <faultline/store.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define FILE_PAGES 300
#define FILE_LEN   (FILE_PAGES * 4096L - 1000)
#define RUN_MAX    64

struct transfer {
    struct store_request request;
    void *addr[RUN_MAX];
    atomic_int error;
    atomic_uint done_calls;
};

static void done(struct store_request *request, int error)
{
    struct transfer *t = (struct transfer *)request;
    atomic_store(&t->error, error);
    atomic_fetch_add(&t->done_calls, 1);
}

/* The request for bytes [offset, offset + len) of the file, whose pages' memory is at addr[i]. */
static struct store_request *request_make(struct transfer *t, enum store_op op, unsigned flags,
                                          uint64_t offset, uint64_t len)
{
    t->request = (struct store_request){.op = op,
                                        .flags = flags,
                                        .offset = offset,
                                        .len_bytes = len,
                                        .npages = (uint32_t)(atop(offset + len - 1) - atop(offset) + 1),
                                        .addr = t->addr,
                                        .done = done};
    atomic_store(&t->done_calls, 0);
    return &t->request;
}

/* Starts a transfer of npages pages whose memory is at addr[i]. */
static void start(struct store *store, struct transfer *t, enum store_op op, unsigned flags, uint64_t page,
                  uint32_t npages)
{
    store->ops->submit(store, request_make(t, op, flags, ptoa(page), ptoa(npages)));
}

static int finish(struct store *store, struct transfer *t)
{
    store->ops->wait(store, &t->request);
    assert_int_equal(atomic_load(&t->done_calls), 1);
    return atomic_load(&t->error);
}

static int run(struct store *store, enum store_op op, unsigned flags, uint64_t page, uint32_t npages,
               char *bytes)
{
    struct transfer t;
    for (uint32_t i = 0; i < npages; i++)
        t.addr[i] = bytes + ptoa(i);
    start(store, &t, op, flags, page, npages);
    return finish(store, &t);
}

static char *pages_alloc(size_t npages)
{
    char *pages = mmap(NULL, ptoa(npages), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(pages, MAP_FAILED);
    return pages;
}

/* A file without a name, of len bytes that differ in every page. */
static int file_make(const char *dir, size_t len)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    char *bytes = malloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 31 + i / 4096);
    assert_int_equal(pwrite(fd, bytes, len, 0), (ssize_t)len);
    free(bytes);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    return fd;
}

/* How many of the file's pages the kernel's page cache holds. */
static unsigned cached_pages(int fd, size_t npages)
{
    unsigned char *vec = malloc(npages);
    unsigned count = 0;
    void *view = mmap(NULL, ptoa(npages), PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(view, MAP_FAILED);
    assert_int_equal(mincore(view, ptoa(npages), vec), 0);
    for (size_t i = 0; i < npages; i++)
        count += vec[i] & 1;
    munmap(view, ptoa(npages));
    free(vec);
    return count;
}

/* A file and the array of bytes that it ought to be. */
struct pair {
    int fd;
    struct store *store;
    char *model, *pages;
    unsigned seed;
};

static unsigned draw(struct pair *pair, unsigned below)
{
    return (unsigned)rand_r(&pair->seed) % below;
}

/* The memory of one transfer: in one piece, in several pieces, or with each page on its own. */
static void scatter(struct pair *pair, struct transfer *t, uint32_t npages)
{
    unsigned stride = 1 + draw(pair, 3), start_page = draw(pair, 4), piece = 1 + draw(pair, npages);
    for (uint32_t i = 0; i < npages; i++)
        t->addr[i] = pair->pages + ptoa(start_page + i + (stride - 1) * (i / piece));
}

static void write_step(struct pair *pair, struct transfer *t, uint64_t page, uint32_t npages)
{
    for (uint32_t i = 0; i < npages; i++) {
        memset(t->addr[i], 1 + (int)draw(pair, 255), VM_PAGE_SIZE);
        memcpy(pair->model + ptoa(page + i), t->addr[i], VM_PAGE_SIZE);
    }
    memset(pair->model + FILE_LEN, 0, FILE_PAGES * VM_PAGE_SIZE - FILE_LEN);
    start(pair->store, t, STORE_WRITE, draw(pair, 2) ? STORE_REQUEST_WAIT : 0, page, npages);
    assert_int_equal(finish(pair->store, t), 0);
}

static void read_step(struct pair *pair, struct transfer *t, uint64_t page, uint32_t npages)
{
    for (uint32_t i = 0; i < npages; i++)
        memset(t->addr[i], 0xee, VM_PAGE_SIZE);
    start(pair->store, t, STORE_READ, draw(pair, 2) ? STORE_REQUEST_WAIT : 0, page, npages);
    assert_int_equal(finish(pair->store, t), 0);
    for (uint32_t i = 0; i < npages; i++)
        assert_memory_equal(t->addr[i], pair->model + ptoa(page + i), VM_PAGE_SIZE);
}

/* Where byte `at` of the file is in the transfer's memory. */
static char *memory_of(const struct transfer *t, uint64_t at)
{
    return (char *)t->addr[atop(at) - atop(t->request.offset)] + (at & VM_PAGE_MASK);
}

#define BATCH 32

/*
 * Up to BATCH short transfers at once, in the store's smallest blocks, that do not overlap; each with one
 * flag or none. The other bytes in memory and in the file stay.
 */
static void batch_step(struct pair *pair, struct transfer *t)
{
    uint32_t block = pair->store->block_bytes != 0 ? pair->store->block_bytes : VM_PAGE_SIZE, n = 0;
    struct store_request *request[BATCH];
    uint64_t at = (uint64_t)draw(pair, FILE_PAGES / 2) * VM_PAGE_SIZE;
    unsigned count = 1 + draw(pair, BATCH);
    if (draw(pair, 16) == 0) /* around the end of the file */
        at = (uint64_t)(FILE_PAGES - 3) * VM_PAGE_SIZE;
    for (; n < count; n++) {
        at += (uint64_t)draw(pair, 20) * block;
        uint64_t len = (uint64_t)(1 + draw(pair, draw(pair, 4) ? 4 : 8)) * block;
        if (at + len > (uint64_t)FILE_PAGES * VM_PAGE_SIZE)
            break;
        for (uint32_t i = 0; i < 8; i++)
            t[n].addr[i] = pair->pages + ptoa(8 * n + i);
        memset(pair->pages + ptoa(8 * n), 0xee, 8 * VM_PAGE_SIZE);
        request[n] = request_make(&t[n], draw(pair, 2) ? STORE_READ : STORE_WRITE,
                                  draw(pair, 4) ? 0 : STORE_REQUEST_WAIT, at, len);
        for (uint64_t i = at; t[n].request.op == STORE_WRITE && i < at + len; i++)
            *memory_of(&t[n], i) = pair->model[i] = (char)draw(pair, 256);
        at += len;
    }
    memset(pair->model + FILE_LEN, 0, FILE_PAGES * VM_PAGE_SIZE - FILE_LEN);
    pair->store->ops->submit_batch(pair->store, request, n);
    while (n-- > 0) {
        uint64_t first = t[n].request.offset, end = first + t[n].request.len_bytes;
        assert_int_equal(finish(pair->store, &t[n]), 0);
        for (uint64_t i = first; t[n].request.op == STORE_READ && i < end; i++)
            assert_int_equal(*memory_of(&t[n], i), pair->model[i]);
        for (uint64_t i = trunc_page(first); i < round_page(end); i++)
            if (i < first || i >= end)
                assert_int_equal(*memory_of(&t[n], i), (char)0xee);
    }
}

/*
 * From now on this process runs on a system without direct I/O: opening a
 * file with O_DIRECT fails with EINVAL.
 */
static void forbid_direct_io(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_DIRECT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void random_transfers_in(const char *dir, bool disk)
{
    struct pair pair = {.seed = (unsigned)time(NULL)};
    static struct transfer t, batch[BATCH];
    printf("%s: seed %u\n", dir, pair.seed);
    pair.fd = file_make(dir, FILE_LEN);
    pair.model = pages_alloc(FILE_PAGES);
    pair.pages = pages_alloc(8 * BATCH);
    assert_int_equal(pread(pair.fd, pair.model, FILE_LEN, 0), FILE_LEN);
    assert_int_equal(posix_fadvise(pair.fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    assert_int_equal(fl_store_file(pair.fd, &pair.store), 0);
    printf("blocks of %u bytes\n", pair.store->block_bytes);
    for (int step = 0; step < 600; step++) {
        if (draw(&pair, 3) == 0) {
            batch_step(&pair, batch);
            continue;
        }
        uint64_t page = draw(&pair, FILE_PAGES);
        uint32_t most = FILE_PAGES - page < RUN_MAX ? (uint32_t)(FILE_PAGES - page) : RUN_MAX;
        uint32_t npages = 1 + draw(&pair, most);
        scatter(&pair, &t, npages);
        if (draw(&pair, 3) == 0)
            write_step(&pair, &t, page, npages);
        else
            read_step(&pair, &t, page, npages);
    }
    if (disk)
        assert_int_equal(cached_pages(pair.fd, FILE_PAGES), 0);
    assert_int_equal(pair.store->ops->flush(pair.store), 0);
    char *bytes = malloc(FILE_LEN + 1);
    assert_int_equal(pread(pair.fd, bytes, FILE_LEN + 1, 0), FILE_LEN); /* the file is as long as before */
    assert_memory_equal(bytes, pair.model, FILE_LEN);
    free(bytes);
    pair.store->ops->close(pair.store);
    close(pair.fd);
}

static void random_transfers_match_the_file(void **state)
{
    (void)state;
    random_transfers_in(".", true);
}

static void random_transfers_match_without_direct_io(void **state)
{
    (void)state;
    forbid_direct_io();
    random_transfers_in(".", true);
}

static void random_transfers_match_on_tmpfs(void **state)
{
    (void)state;
    random_transfers_in("/dev/shm", false);
}

/* SF2: bytes that were cut off give an error and not zeros; bytes that remain are read. */
static void a_file_that_shrank_says_so(void **state)
{
    (void)state;
    int fd = file_make(".", FILE_LEN);
    char *pages = pages_alloc(RUN_MAX);
    struct store *store;
    uint64_t len_bytes;
    assert_int_equal(fl_store_file(fd, &store), 0);
    assert_int_equal(ftruncate(fd, 10 * 4096 + 5), 0);
    for (unsigned flags = 0; flags <= STORE_REQUEST_WAIT; flags++) {
        assert_int_equal(run(store, STORE_READ, flags, 50, 1, pages), -ENXIO);
        assert_int_equal(run(store, STORE_READ, flags, 8, 4, pages), -ENXIO);
        memset(pages, 0xee, 4096);
        assert_int_equal(run(store, STORE_READ, flags, 10, 1, pages), 0);
        for (int i = 5; i < 4096; i++)
            assert_int_equal(pages[i], 0);
        assert_int_equal(pages[0], (char)(10 * 4096 * 31 + 10));
    }
    memset(pages, 0x77, 4 * 4096);
    for (unsigned flags = 0; flags <= STORE_REQUEST_WAIT; flags++) {
        assert_int_equal(run(store, STORE_WRITE, flags, 8, 4, pages), 0);
        assert_int_equal(run(store, STORE_WRITE, flags, 20, 4, pages), 0);
    }
    assert_int_equal(store->ops->size(store, &len_bytes), 0);
    assert_int_equal(len_bytes, 10 * 4096 + 5);
    store->ops->close(store);
    close(fd);
}

static void only_regular_files_that_can_be_read(void **state)
{
    (void)state;
    struct store *store;
    int null = open("/dev/zero", O_RDWR), dir = open(".", O_RDONLY), path = open(".", O_PATH);
    int fd = file_make(".", 4096);
    char name[64];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    int write_only = open(name, O_WRONLY);
    assert_int_equal(fl_store_file(null, &store), -ENODEV);
    assert_int_equal(fl_store_file(dir, &store), -ENODEV);
    assert_int_equal(fl_store_file(path, &store), -EBADF);
    assert_int_equal(fl_store_file(-1, &store), -EBADF);
    assert_int_equal(fl_store_file(write_only, &store), -EACCES);
    close(null);
    close(dir);
    close(path);
    close(write_only);
    close(fd);
}

static unsigned open_fds(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 2048; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* The file that fd is open on, opened once more. */
static int open_again(int fd, int flags)
{
    char name[64];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    int again = open(name, flags);
    assert_true(again >= 0);
    return again;
}

static void a_read_only_store_refuses_writes(void **state)
{
    (void)state;
    int fd = file_make(".", 4096), read_only = open_again(fd, O_RDONLY);
    char *pages = pages_alloc(1);
    struct store *store;
    assert_int_equal(fl_store_file(read_only, &store), 0);
    assert_true(store->read_only);
    assert_int_equal(run(store, STORE_WRITE, STORE_REQUEST_WAIT, 0, 1, pages), -EBADF);
    assert_int_equal(run(store, STORE_WRITE, 0, 0, 1, pages), -EBADF);
    assert_int_equal(run(store, STORE_READ, STORE_REQUEST_WAIT, 0, 1, pages), 0);
    assert_int_equal(store->ops->flush(store), 0);
    store->ops->close(store);
    close(read_only);
    close(fd);
}

/* Through a descriptor that appends, pwrite would append. */
static void a_file_opened_to_append_is_written_in_place(void **state)
{
    (void)state;
    int fd = file_make(".", 4096 + 10), append = open_again(fd, O_RDWR | O_APPEND);
    char *pages = pages_alloc(2), back[4096 + 11];
    struct store *store;
    assert_int_equal(fl_store_file(append, &store), 0);
    memset(pages, 0x33, 2 * 4096);
    assert_int_equal(run(store, STORE_WRITE, STORE_REQUEST_WAIT, 0, 2, pages), 0);
    assert_int_equal(pread(fd, back, sizeof(back), 0), 4096 + 10);
    assert_memory_equal(back, pages, 4096 + 10);
    store->ops->close(store);
    close(append);
    close(fd);
}

/* Whether another process finds a record lock on the file. */
static bool seen_locked(int fd)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        _exit(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status) != 0;
}

/* Closing any descriptor of a file drops the process's record locks on it: the store must not. */
static void record_locks_of_the_program_survive(void **state)
{
    (void)state;
    int fd = file_make(".", 4096);
    unsigned before = open_fds();
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1};
    struct store *store;
    assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
    assert_int_equal(fl_store_file(fd, &store), 0);
    store->ops->close(store);
    assert_true(seen_locked(fd));
    lock.l_type = F_UNLCK;
    assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
    assert_int_equal(fl_store_file(fd, &store), 0);
    store->ops->close(store);
    assert_int_equal(open_fds(), before); /* the descriptors that had to stay open are closed by now */
    close(fd);
}

/* The child has no AIO of its own and must neither fail nor wait for its parent's. */
static void a_forked_child_reads_and_writes_too(void **state)
{
    (void)state;
    int fd = file_make(".", FILE_LEN), status;
    char *pages = pages_alloc(8), *model = pages_alloc(8);
    struct store *store;
    assert_int_equal(pread(fd, model, 8 * 4096, 4096), 8 * 4096);
    assert_int_equal(fl_store_file(fd, &store), 0);
    assert_int_equal(run(store, STORE_READ, 0, 1, 8, pages), 0);
    memset(pages, 0, 8 * 4096);
    pid_t child = fork();
    if (child == 0)
        _exit(run(store, STORE_READ, 0, 1, 8, pages) == 0 && memcmp(pages, model, 8 * 4096) == 0 &&
                      run(store, STORE_WRITE, 0, 1, 8, pages) == 0
                  ? 0
                  : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    store->ops->close(store);
    close(fd);
}

/*
 * A read that ends must not look like a signal to the thread that started
 * it (aio.c says which interface does that).
 */
static void reads_interrupt_no_system_call(void **state)
{
    (void)state;
    int fd = file_make(".", FILE_LEN), epoll = epoll_create1(0);
    char *pages = pages_alloc(4 * RUN_MAX);
    struct transfer t[4];
    struct epoll_event event;
    struct store *store;
    assert_int_equal(fl_store_file(fd, &store), 0);
    for (int round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 4; i++) {
            for (uint32_t page = 0; page < RUN_MAX; page++)
                t[i].addr[page] = pages + ptoa(i * RUN_MAX + page);
            start(store, &t[i], STORE_READ, 0, (uint64_t)i * RUN_MAX, RUN_MAX);
        }
        assert_int_equal(epoll_wait(epoll, &event, 1, 5), 0);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(finish(store, &t[i]), 0);
    }
    store->ops->close(store);
    close(epoll);
    close(fd);
}

static void closing_returns_every_descriptor(void **state)
{
    (void)state;
    int fd = file_make(".", 4096);
    int read_only = open_again(fd, O_RDONLY);
    unsigned before = open_fds();
    for (int i = 0; i < 100; i++) {
        struct store *first, *second;
        assert_int_equal(fl_store_file(read_only, &first), 0);
        assert_int_equal(fl_store_file(fd, &second), 0);
        first->ops->close(first);
        second->ops->close(second);
    }
    assert_int_equal(open_fds(), before);
    close(read_only);
    close(fd);
}

/* ---- threads ------------------------------------------------------------------------------------------- */

#define THREADS 4
#define SLOTS   16

/*
 * Transfers in flight that every thread may start and every thread may wait for, as with read-ahead and
 * write-back. What is written is what is there.
 */
static struct {
    struct store *store;
    char *model;
    struct slot {
        pthread_mutex_t lock;
        bool flying;
        unsigned waiters;
        uint64_t page;
        uint32_t npages;
        struct transfer transfer;
    } slot[SLOTS];
    atomic_uint waits, shared_waits;
} shared;

/* Called with slot->lock held, while no thread waits. The transfer has ended: the bytes must be right. */
static void slot_check(struct slot *slot)
{
    if (atomic_load(&slot->transfer.done_calls) != 1 || atomic_load(&slot->transfer.error) != 0)
        abort();
    for (uint32_t i = 0; i < slot->npages; i++)
        if (memcmp(slot->transfer.addr[i], shared.model + ptoa(slot->page + i), VM_PAGE_SIZE) != 0)
            abort();
    slot->flying = false;
}

static void slot_start(struct slot *slot, unsigned *seed)
{
    slot->page = (uint64_t)rand_r(seed) % FILE_PAGES;
    uint32_t most = FILE_PAGES - slot->page < RUN_MAX ? (uint32_t)(FILE_PAGES - slot->page) : RUN_MAX;
    slot->npages = 1 + (uint32_t)rand_r(seed) % most;
    slot->flying = true;
    bool write = rand_r(seed) % 4 == 0;
    for (uint32_t i = 0; i < slot->npages; i++)
        memcpy(slot->transfer.addr[i], write ? shared.model + ptoa(slot->page + i) : "",
               write ? VM_PAGE_SIZE : 1);
    start(shared.store, &slot->transfer, write ? STORE_WRITE : STORE_READ, 0, slot->page, slot->npages);
}

static void *reader(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (int step = 0; step < 1500; step++) {
        struct slot *slot = &shared.slot[rand_r(&seed) % SLOTS];
        pthread_mutex_lock(&slot->lock);
        if (!slot->flying) {
            slot_start(slot, &seed);
        } else {
            atomic_fetch_add(&shared.waits, 1);
            if (slot->waiters++ > 0)
                atomic_fetch_add(&shared.shared_waits, 1);
            pthread_mutex_unlock(&slot->lock);
            shared.store->ops->wait(shared.store, &slot->transfer.request);
            pthread_mutex_lock(&slot->lock);
            if (--slot->waiters == 0)
                slot_check(slot);
        }
        pthread_mutex_unlock(&slot->lock);
    }
    return NULL;
}

static void threads_wait_for_each_others_transfers(void **state)
{
    (void)state;
    pthread_t thread[THREADS];
    unsigned seed = (unsigned)time(NULL);
    int fd = file_make(".", FILE_LEN);
    printf("seed %u\n", seed);
    shared.model = pages_alloc(FILE_PAGES);
    assert_int_equal(pread(fd, shared.model, FILE_LEN, 0), FILE_LEN);
    assert_int_equal(fl_store_file(fd, &shared.store), 0);
    for (int i = 0; i < SLOTS; i++) {
        char *pages = pages_alloc(RUN_MAX);
        pthread_mutex_init(&shared.slot[i].lock, NULL);
        for (int page = 0; page < RUN_MAX; page++)
            shared.slot[i].transfer.addr[page] = pages + ptoa(page);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, reader, (void *)(uintptr_t)(seed + (unsigned)i)),
                         0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < SLOTS; i++)
        if (shared.slot[i].flying) {
            shared.store->ops->wait(shared.store, &shared.slot[i].transfer.request);
            slot_check(&shared.slot[i]);
        }
    printf("%u waits, %u of them together with another thread\n", shared.waits, shared.shared_waits);
    assert_true(shared.waits > 0);
    assert_int_equal(shared.store->ops->flush(shared.store), 0);
    shared.store->ops->close(shared.store);
    char *bytes = pages_alloc(FILE_PAGES);
    assert_int_equal(pread(fd, bytes, FILE_LEN, 0), FILE_LEN);
    assert_memory_equal(bytes, shared.model, FILE_LEN);
    close(fd);
}

static long blocks_of(int fd, struct stat *st)
{
    assert_int_equal(fstat(fd, st), 0);
    return (long)st->st_blocks;
}

/* A hole gets space. Parts that have space are left alone, as are the file's times, length and bytes. */
static void a_hole_gets_its_space(void **state)
{
    (void)state;
    struct store *store;
    struct stat before, after;
    int fd = file_make(".", FILE_LEN);
    assert_int_equal(fl_store_file(fd, &store), 0);
    assert_true(store->ops->room(store) == STORE_ROOM_NO_HOLES);
    assert_int_equal(ftruncate(fd, 2 * FILE_LEN), 0);
    assert_true(store->ops->room(store) != STORE_ROOM_NO_HOLES);
    long blocks = blocks_of(fd, &before);

    assert_int_equal(store->ops->allocate(store, ptoa(7), ptoa(3)), 0);
    assert_int_equal(blocks_of(fd, &after), blocks);
    assert_memory_equal(&before.st_ctim, &after.st_ctim, sizeof before.st_ctim);
    assert_int_equal(store->ops->allocate(store, ptoa(FILE_PAGES + 7), ptoa(3)), 0);
    assert_true(blocks_of(fd, &after) >= blocks + 3 * 8);
    assert_int_equal(store->ops->allocate(store, 0, 2 * FILE_LEN), 0);
    assert_true(store->ops->room(store) == STORE_ROOM_NO_HOLES);
    assert_int_equal(store->ops->allocate(store, 2 * FILE_LEN, ptoa(5)), 0); /* beyond the end, too */
    (void)blocks_of(fd, &after);
    assert_int_equal(after.st_size, 2 * FILE_LEN);
    char *bytes = pages_alloc(1), zeros[4096] = {0};
    assert_int_equal(pread(fd, bytes, 4096, ptoa(FILE_PAGES + 8)), 4096);
    assert_memory_equal(bytes, zeros, 4096);
    store->ops->close(store);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_transfers_match_the_file),
        cmocka_unit_test(random_transfers_match_on_tmpfs),
        cmocka_unit_test(a_file_that_shrank_says_so),
        cmocka_unit_test(only_regular_files_that_can_be_read),
        cmocka_unit_test(a_read_only_store_refuses_writes),
        cmocka_unit_test(a_file_opened_to_append_is_written_in_place),
        cmocka_unit_test(record_locks_of_the_program_survive),
        cmocka_unit_test(a_forked_child_reads_and_writes_too),
        cmocka_unit_test(reads_interrupt_no_system_call),
        cmocka_unit_test(closing_returns_every_descriptor),
        cmocka_unit_test(threads_wait_for_each_others_transfers),
        cmocka_unit_test(a_hole_gets_its_space),
        cmocka_unit_test(random_transfers_match_without_direct_io), /* last, because it cannot be undone */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
